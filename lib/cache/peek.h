/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Question in, answer out: what the cache can say about a name and type. Looked for in this order:
 * the RRset itself, a CNAME, a denial of exactly this; then from the name upwards a DNAME, a
 * validated NXDOMAIN of an ancestor (RFC 8020) and proofs from the zone's NSEC or NSEC3 chain (RFC
 * 8198).
 */
#pragma once

#include <libknot/rrset.h>

#include "lib/cache/cache.h"
#include "lib/cache/entry.h"

/** RRsets in an answer: those of an entry with their signatures, and a CNAME made from a DNAME. */
#define CACHE_ANSWER_MAX (2 * CACHE_SETS_MAX)

struct cache_question {
	const knot_dname_t *name; /**< lower-case */
	uint16_t type;
	uint8_t min_rank;           /**< of what may be used */
	bool may_prove;             /**< use proofs that were made for other names */
	bool any_type;              /**< the type is ANY: one RRset is enough (RFC 8482) */
	uint32_t now;               /**< wall clock, s */
	const struct kr_query *qry; /**< consulted for the use of stale data; may be NULL */
	knot_mm_t *pool;
};

struct cache_answer {
	uint8_t rcode;
	uint8_t rank;     /**< lowest of what is in it */
	bool is_expiring; /**< near its end: time to ask anew */
	bool is_stale;
	bool is_wildcard; /**< expanded from a wildcard */
	bool is_optout;   /**< the proof uses opt-out */
	bool is_negative;
	uint16_t answer_count; /**< sets of ANSWER; what follows is AUTHORITY */
	uint16_t count;
	knot_rrset_t
		rr[CACHE_ANSWER_MAX]; /**< on the pool; TTLs counted down; `additional` -> rank */
};

/** @return 0 or kr_error(ENOENT): ask upstream */
int cache_peek(
	struct kr_cache *cache, const struct cache_question *question, struct cache_answer *answer);
