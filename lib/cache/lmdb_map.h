/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Where in our address space the cache file is mapped. LMDB does not tell, but lengths that were
 * read from a file which anybody may have damaged have to be held against it.
 */
#pragma once

#include <sys/types.h>

#include "lib/defines.h"

/** Addresses of the map; {0} = not known, then everything is taken to be inside. */
struct lmdb_range {
	uintptr_t from, to;
};

/** Find the largest mapping of a file in /proc/self/maps. */
void lmdb_find_range(struct lmdb_range *range, dev_t dev, ino_t ino);

static inline bool lmdb_in_range(const struct lmdb_range *range, const void *data, size_t len)
{
	const uintptr_t at = (uintptr_t)data;
	return range->from == 0 || (at >= range->from && at <= range->to && len <= range->to - at);
}
