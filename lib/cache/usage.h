/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * How often entries were used lately, shared by all processes on a cache directory: one small
 * counter for each hash of a key, in a mapped file of fixed size. Counting is a byte store without
 * lock; a lost count does no harm. The garbage collector reads the counters and halves them as time
 * goes by, so that names in demand survive floods of names that nobody asks for twice.
 */
#pragma once

#include "lib/defines.h"

/** Counters in the file, one byte each. */
#define CACHE_USAGE_SLOTS (256 * 1024)
#define CACHE_USAGE_FILE "usage"

/** @return counters or NULL: then nothing is counted */
uint8_t *cache_usage_open(const char *dir);
void cache_usage_close(uint8_t *usage);
/** Place of a key. */
uint8_t *cache_usage_slot(uint8_t *usage, const void *key, size_t len);
/** Count a use; up to 255. */
static inline void cache_usage_touch(uint8_t *usage, const void *key, size_t len)
{
	if (!usage)
		return;
	uint8_t *slot = cache_usage_slot(usage, key, len);
	if (*slot < UINT8_MAX)
		*slot += 1;
}
/** Halve all counters. */
void cache_usage_age(uint8_t *usage);
