/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Groups of slots; each slot counts its uses. When a new key finds its group full, all counts of
 * the group go down by one, and the first that reaches zero is replaced: frequent keys survive a
 * flood. */

#include "lib/generic/lru.h"

#include <string.h>

#include "lib/resolve.h"

#define GROUP_SLOTS 8

struct item {
	uint key_len;
	uint val_len;
	uint val_at; /**< offset of the value in data */
	_Alignas(16) char data[];
};

struct slot {
	struct item *item;
	uint32_t hash;
	uint16_t uses;
};

struct lru {
	uint groups; /**< a power of two */
	uint64_t seed;
	struct slot slots[];
};

struct lru *lru_create_impl(uint max_slots, uint val_alignment, knot_mm_t *mm_array, knot_mm_t *mm)
{
	uint groups = 1;
	while (groups * GROUP_SLOTS < max_slots && groups < (1u << 24))
		groups *= 2;
	struct lru *lru =
		calloc(1, sizeof(*lru) + (size_t)groups * GROUP_SLOTS * sizeof(struct slot));
	if (!lru)
		return NULL;
	lru->groups = groups;
	lru->seed = (uintptr_t)lru;
	if (the_resolver && the_resolver->rnd)
		kr_ctx_rnd(the_resolver, &lru->seed, sizeof(lru->seed));
	return lru;
}

void lru_free_items_impl(struct lru *lru)
{
	for (size_t i = 0; i < (size_t)lru->groups * GROUP_SLOTS; ++i)
		free(lru->slots[i].item);
	memset(lru->slots, 0, (size_t)lru->groups * GROUP_SLOTS * sizeof(struct slot));
}

void lru_free_impl(struct lru *lru)
{
	if (!lru)
		return;
	lru_free_items_impl(lru);
	free(lru);
}

/** Keyed mixing of a byte string (multiply and fold, eight bytes a step). */
static uint64_t hash_key(uint64_t seed, const char *key, uint len)
{
	uint64_t h = seed ^ (len * 0x9e3779b97f4a7c15ull);
	while (len > 0) {
		uint64_t word = 0;
		const uint step = KR_MIN(len, 8);
		memcpy(&word, key, step);
		const __uint128_t product =
			(__uint128_t)(h ^ word) * (seed | 0xa0761d6478bd642full);
		h = (uint64_t)product ^ (uint64_t)(product >> 64);
		key += step;
		len -= step;
	}
	return h;
}

static bool is_item(const struct slot *slot, uint32_t hash, const char *key, uint len)
{
	return slot->item && slot->hash == hash && slot->item->key_len == len &&
	       memcmp(slot->item->data, key, len) == 0;
}

static struct item *item_new(const char *key, uint key_len, uint val_len)
{
	const uint val_at = (key_len + 15) & ~15u;
	struct item *item = calloc(1, sizeof(*item) + val_at + val_len);
	if (!item)
		return NULL;
	item->key_len = key_len;
	item->val_len = val_len;
	item->val_at = val_at;
	memcpy(item->data, key, key_len);
	return item;
}

/** A slot for a new key, or NULL if all are too popular. */
static struct slot *make_room(struct slot *group)
{
	struct slot *victim = NULL;
	for (int i = 0; i < GROUP_SLOTS; ++i) {
		if (!group[i].item)
			return &group[i];
	}
	for (int i = 0; i < GROUP_SLOTS; ++i) {
		if (group[i].uses > 0)
			group[i].uses -= 1;
		if (group[i].uses == 0 && !victim)
			victim = &group[i];
	}
	return victim;
}

void *lru_get_impl(
	struct lru *lru, const char *key, uint key_len, uint val_len, bool do_insert, bool *is_new)
{
	if (is_new)
		*is_new = false;
	const uint64_t hash = hash_key(lru->seed, key, key_len);
	struct slot *group = &lru->slots[(hash & (lru->groups - 1)) * GROUP_SLOTS];
	const uint32_t tag = hash >> 32;
	for (int i = 0; i < GROUP_SLOTS; ++i) {
		if (!is_item(&group[i], tag, key, key_len))
			continue;
		if (group[i].uses < UINT16_MAX)
			group[i].uses += 1;
		return group[i].item->data + group[i].item->val_at;
	}
	struct slot *slot = do_insert ? make_room(group) : NULL;
	if (!slot)
		return NULL;
	struct item *item = item_new(key, key_len, val_len);
	if (!item)
		return NULL;
	free(slot->item);
	*slot = (struct slot){.item = item, .hash = tag, .uses = 1};
	if (is_new)
		*is_new = true;
	return item->data + item->val_at;
}

void lru_apply_impl(struct lru *lru, lru_apply_fun f, void *baton)
{
	for (size_t i = 0; i < (size_t)lru->groups * GROUP_SLOTS; ++i) {
		struct slot *slot = &lru->slots[i];
		if (!slot->item)
			continue;
		void *val = slot->item->data + slot->item->val_at;
		if (f(slot->item->data, slot->item->key_len, val, baton) == LRU_APPLY_DO_EVICT) {
			free(slot->item);
			memset(slot, 0, sizeof(*slot));
		}
	}
}

uint lru_capacity_impl(const struct lru *lru)
{
	return lru->groups * GROUP_SLOTS;
}

/** Shape shared by all lru_t(). */
typedef lru_t(char) any_lru_t;

void lru_create_(void **table, uint max_slots, size_t val_size)
{
	any_lru_t *lru = calloc(1, sizeof(*lru));
	if (lru) {
		lru->u.map = lru_create_impl(max_slots, 16, NULL, NULL);
		if (!lru->u.map) {
			free(lru);
			lru = NULL;
		}
	}
	*table = lru;
}

void lru_free_(void *table)
{
	any_lru_t *lru = table;
	if (!lru)
		return;
	lru_free_impl(lru->u.map);
	free(lru);
}
