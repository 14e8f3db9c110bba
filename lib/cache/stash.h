/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * A judged message in, entries out: positive sets, wildcards under their own name with proof
 * (C-37), NSEC and NSEC3 into their chains, and whole negative answers where the chains would not
 * do.
 */
#pragma once

#include <libknot/rrset.h>

#include "lib/cache/cache.h"

/** Sets of a message that are stored; the rest is not worth it. */
#define CACHE_STASH_MAX 32

/** A set as it was judged. */
struct cache_judged {
	const knot_rrset_t *rr;
	const knot_rrset_t *sigs; /**< or NULL */
	uint8_t rank;
};

struct cache_message {
	const knot_dname_t *name; /**< of the question */
	uint16_t type;
	uint8_t rcode;
	bool is_negative; /**< denies just this question */
	bool is_optout;   /**< the proof used opt-out */
	uint32_t now;     /**< wall clock, s */

	struct cache_judged answer[CACHE_STASH_MAX];
	struct cache_judged authority[CACHE_STASH_MAX];
	uint8_t answer_count, authority_count;
};

/** Store what may be stored. @return 0 or the first error */
int cache_stash(struct kr_cache *cache, const struct cache_message *msg);
