/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Groups of slots; each slot counts its uses. When a new key finds its group full, all counts of
 * the group go down by one, and the first that reaches zero is replaced: frequent keys survive a
 * flood. */

#include "lib/generic/lru.h"

#include <limits.h>
#include <string.h>

#include "lib/generic/siphash.h"

#define GROUP_SLOTS 8
#define GROUPS_MAX (1u << 24)
/** Alignment of the values. */
#define VAL_ALIGN 16

/* Lent by the driver program (lib/utils.h); one without it has only where its heap happens to be.
 */
KR_EXPORT extern __attribute__((weak)) void kr_rnd_buffered(void *data, unsigned int size);

struct item {
	uint key_len;
	uint val_len;
	uint val_at; /**< offset of the value in data */
	_Alignas(VAL_ALIGN) char data[];
};

struct slot {
	struct item *item;
	uint32_t hash;
	uint16_t uses;
};

struct lru {
	struct sip_key seed;
	uint groups; /**< a power of two */
	knot_mm_t *mm_array;
	knot_mm_t *mm; /**< of the items */
	struct slot slots[];
};

struct lru *lru_create_impl(uint max_slots, uint val_alignment, knot_mm_t *mm_array, knot_mm_t *mm)
{
	if (val_alignment > VAL_ALIGN)
		return NULL;
	uint groups = 1;
	while (groups * GROUP_SLOTS < max_slots && groups < GROUPS_MAX)
		groups *= 2;
	const size_t slots_size = (size_t)groups * GROUP_SLOTS * sizeof(struct slot);
	struct lru *lru = mm_calloc(mm_array, 1, sizeof(*lru) + slots_size);
	if (!lru)
		return NULL;
	lru->groups = groups;
	lru->mm_array = mm_array;
	lru->mm = mm;
	if (kr_rnd_buffered)
		kr_rnd_buffered(&lru->seed, sizeof(lru->seed));
	else
		lru->seed = (struct sip_key){(uintptr_t)lru, (uintptr_t)&lru};
	return lru;
}

static void forget(struct lru *lru, struct slot *slot)
{
	mm_free(lru->mm, slot->item);
	*slot = (struct slot){0};
}

void lru_free_items_impl(struct lru *lru)
{
	for (size_t i = 0; i < (size_t)lru->groups * GROUP_SLOTS; ++i)
		forget(lru, &lru->slots[i]);
}

void lru_free_impl(struct lru *lru)
{
	if (!lru)
		return;
	lru_free_items_impl(lru);
	mm_free(lru->mm_array, lru);
}

static bool is_item(const struct slot *slot, uint32_t hash, const char *key, uint len)
{
	return slot->item && slot->hash == hash && slot->item->key_len == len &&
	       memcmp(slot->item->data, key, len) == 0;
}

static struct item *item_new(struct lru *lru, const char *key, uint key_len, uint val_len)
{
	if (key_len > UINT_MAX - VAL_ALIGN)
		return NULL;
	const uint val_at = (key_len + VAL_ALIGN - 1) & ~(VAL_ALIGN - 1u);
	struct item *item = mm_calloc(lru->mm, 1, sizeof(*item) + (size_t)val_at + val_len);
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
	const uint64_t hash = siphash24(&lru->seed, key, key_len);
	struct slot *group = &lru->slots[(hash & (lru->groups - 1)) * GROUP_SLOTS];
	const uint32_t tag = hash >> 32;
	for (int i = 0; i < GROUP_SLOTS; ++i) {
		if (!is_item(&group[i], tag, key, key_len))
			continue;
		if (group[i].item->val_len < val_len)
			return NULL; /* not the type it was stored as */
		if (group[i].uses < UINT16_MAX)
			group[i].uses += 1;
		return group[i].item->data + group[i].item->val_at;
	}
	struct slot *slot = do_insert ? make_room(group) : NULL;
	if (!slot)
		return NULL;
	struct item *item = item_new(lru, key, key_len, val_len);
	if (!item)
		return NULL;
	forget(lru, slot);
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
		if (f(slot->item->data, slot->item->key_len, val, baton) == LRU_APPLY_DO_EVICT)
			forget(lru, slot);
	}
}

uint lru_capacity_impl(const struct lru *lru)
{
	return lru->groups * GROUP_SLOTS;
}

/** Shape shared by all lru_t(). */
typedef lru_t(char) any_lru_t;

void lru_create_(void **table, uint max_slots, knot_mm_t *mm_table, knot_mm_t *mm_values)
{
	struct lru *map = lru_create_impl(max_slots, VAL_ALIGN, mm_table, mm_values);
	any_lru_t *lru = map ? mm_calloc(mm_table, 1, sizeof(*lru)) : NULL;
	if (lru)
		lru->u.map = map;
	else
		lru_free_impl(map);
	*table = lru;
}

void lru_free_(void *table)
{
	any_lru_t *lru = table;
	if (!lru)
		return;
	knot_mm_t *mm_table = lru->u.map->mm_array;
	lru_free_impl(lru->u.map);
	mm_free(mm_table, lru);
}
