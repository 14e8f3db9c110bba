/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Memory of failed resolutions (RFC 9520, spec B-33, C-39): questions and dead zone cuts, in this
 * process only, at most KR_FAIL_CACHE_MAX of them, each for 5 s growing to 60 s while it keeps
 * failing.
 */
#pragma once

#include <libknot/dname.h>

#include "lib/defines.h"

struct kr_failcache;

/** What had failed. */
enum kr_fail_kind {
	KR_FAIL_QUESTION, /**< exactly this name and type */
	KR_FAIL_CUT,      /**< no server of this zone answers; type is ignored */
	KR_FAIL_BOGUS,    /**< validation of this name and type failed everywhere */
	KR_FAIL_ADDRESS,  /**< no address for this server name; type A or AAAA */
};

/** @param seed secret for hashing @return NULL if out of memory */
KR_EXPORT
struct kr_failcache *kr_failcache_new(size_t capacity, uint64_t seed);
KR_EXPORT
void kr_failcache_free(struct kr_failcache *fc);
KR_EXPORT
void kr_failcache_clear(struct kr_failcache *fc);
/** Forget one name (all kinds and types) or, with `subtree`, everything at and below it. */
KR_EXPORT
void kr_failcache_forget(struct kr_failcache *fc, const knot_dname_t *name, bool subtree);
/**
 * Remember a failure; doubles the time if the last one ended less than that time ago.
 * @param ede EDE code worth repeating, or -1
 */
KR_EXPORT
void kr_failcache_add(struct kr_failcache *fc, enum kr_fail_kind kind, const knot_dname_t *name,
	uint16_t type, int ede, uint64_t now_ms);
/** @param[out] ede may be NULL @return ms until it may be tried again, 0 = try now */
KR_EXPORT
uint32_t kr_failcache_check(struct kr_failcache *fc, enum kr_fail_kind kind,
	const knot_dname_t *name, uint16_t type, int *ede, uint64_t now_ms);
/** An answer came after all. */
KR_EXPORT
void kr_failcache_del(
	struct kr_failcache *fc, enum kr_fail_kind kind, const knot_dname_t *name, uint16_t type);
