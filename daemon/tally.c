/* SPDX-License-Identifier: GPL-3.0-or-later */

#include "daemon/tally.h"

int tally_init(struct tally *tally, size_t capacity)
{
	size_t slots = 16;
	while (slots < 2 * capacity) /* at most half full: probes stay short */
		slots *= 2;
	tally->slots = calloc(slots, sizeof(*tally->slots));
	tally->mask = slots - 1;
	tally->used = 0;
	return tally->slots ? kr_ok() : kr_error(ENOMEM);
}

void tally_deinit(struct tally *tally)
{
	free(tally->slots);
	tally->slots = NULL;
}

/** The slot of the key, or the free one where it belongs. */
static struct tally_slot *find(const struct tally *tally, uint64_t key)
{
	size_t at = key & tally->mask;
	while (tally->slots[at].count != 0 && tally->slots[at].key != key)
		at = (at + 1) & tally->mask;
	return &tally->slots[at];
}

uint32_t tally_count(const struct tally *tally, uint64_t key)
{
	return find(tally, key)->count;
}

int tally_take(struct tally *tally, uint64_t key, uint32_t limit)
{
	struct tally_slot *slot = find(tally, key);
	if (slot->count == 0) {
		if (tally->used > tally->mask / 2)
			return kr_error(ENOSPC);
		slot->key = key;
		slot->limit = limit;
		slot->shrunk_ms = 0;
		tally->used += 1;
	} else if (slot->count >= slot->limit) {
		return kr_error(EDQUOT);
	}
	slot->count += 1;
	return kr_ok();
}

/** Close the gap that a freed slot leaves in a run, so that later keys are still found. */
static void close_gap(struct tally *tally, size_t gap)
{
	for (size_t at = (gap + 1) & tally->mask; tally->slots[at].count != 0;
		at = (at + 1) & tally->mask) {
		const size_t home = tally->slots[at].key & tally->mask;
		if (((at - home) & tally->mask) < ((at - gap) & tally->mask))
			continue; /* it lies behind the gap by right */
		tally->slots[gap] = tally->slots[at];
		tally->slots[at].count = 0;
		gap = at;
	}
}

void tally_give(struct tally *tally, uint64_t key)
{
	struct tally_slot *slot = find(tally, key);
	if (slot->count == 0 || --slot->count > 0)
		return;
	tally->used -= 1;
	close_gap(tally, slot - tally->slots);
}

void tally_shrink(struct tally *tally, uint64_t key, uint32_t floor, uint64_t now_ms)
{
	struct tally_slot *slot = find(tally, key);
	const bool is_soon = slot->shrunk_ms != 0 && now_ms < slot->shrunk_ms + TALLY_STEP_MS;
	if (slot->count == 0 || is_soon)
		return;
	slot->shrunk_ms = now_ms;
	slot->limit = KR_MAX(floor, slot->limit - slot->limit / 4);
}

void tally_grow(struct tally *tally, uint64_t key, uint32_t ceiling)
{
	struct tally_slot *slot = find(tally, key);
	if (slot->count > 0)
		slot->limit = KR_MIN(ceiling, slot->limit + 1);
}
