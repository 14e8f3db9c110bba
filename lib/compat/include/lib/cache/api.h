/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * The cache by the name and with the arguments that modules of the 5.x line use.
 */
#pragma once

#include "lib/cache/cache.h"
#include "lib/resolve.h"

/** The daemon looks after the cache by itself; the interval is of no effect. */
#define kr_cache_check_health(cache, interval_ms)                                                  \
	((void)(interval_ms), kr_cache_check_health(cache))

#define kr_cache_make_checkpoint(cache)                                                            \
	kr_cache_make_checkpoint((cache), &the_resolver->now, the_resolver->now_ms)
