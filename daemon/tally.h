/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Counts of things in flight per key (client prefix, zone cut, server address), with a limit per
 * key that may adapt. Keys are 64-bit keyed hashes; a key whose count is back to zero takes no
 * room, so memory is bounded by what is in flight.
 */
#pragma once

#include "lib/defines.h"

/** Shortest time between two steps down of a limit. */
#define TALLY_STEP_MS 1000

struct tally_slot {
	uint64_t key;
	uint32_t count; /**< 0 = free slot */
	uint32_t limit;
	uint64_t shrunk_ms; /**< when the limit went down last, 0 = never */
};

struct tally {
	struct tally_slot *slots;
	size_t mask; /**< slots - 1 */
	size_t used;
};

/** @param capacity most keys at a time, rounded up @return 0 or kr_error(ENOMEM) */
int tally_init(struct tally *tally, size_t capacity);
void tally_deinit(struct tally *tally);
/** @return things in flight for the key */
uint32_t tally_count(const struct tally *tally, uint64_t key);
/**
 * Count one more.
 * @param limit  initial limit of a new key
 * @return 0; kr_error(EDQUOT) the key is at its limit; kr_error(ENOSPC) too many keys
 */
int tally_take(struct tally *tally, uint64_t key, uint32_t limit);
/** Count one less. */
void tally_give(struct tally *tally, uint64_t key);
/**
 * It went badly: the limit of the key shrinks by a quarter, not below `floor`. What goes badly
 * together counts once: at most one step in TALLY_STEP_MS.
 */
void tally_shrink(struct tally *tally, uint64_t key, uint32_t floor, uint64_t now_ms);
/** It went well: the limit grows by one, not above `ceiling`. */
void tally_grow(struct tally *tally, uint64_t key, uint32_t ceiling);
