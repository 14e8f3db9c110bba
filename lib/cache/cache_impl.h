/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * What the files of this folder share: entries by key, ranks and times applied.
 */
#pragma once

#include "lib/cache/cache.h"
#include "lib/cache/entry.h"
#include "lib/cache/key.h"

/** Is the store of our version? @return 1 yes, 0 no, kr_error(ENOENT) it does not say, other errors
 */
int cache_version_read(const struct kr_cdb_api *api, kr_cdb_pt db, struct kr_cdb_stats *stats);

/** TTL within the limits of the configuration. */
static inline uint32_t cache_clamp_ttl(const struct kr_cache *cache, uint32_t ttl)
{
	return KR_MIN(KR_MAX(ttl, cache->ttl_min), cache->ttl_max);
}
/** Never to be stored: somebody found fault with it. */
bool cache_rank_is_bad(uint8_t rank);

/**
 * Read and decode; what cannot be decoded is removed and counted.
 * @return 0; kr_error(ENOENT); error of the store
 */
int cache_get(struct kr_cache *cache, const struct cache_key *key, struct cache_entry *entry);
/**
 * Read the entry nearest to a key, at it or before it, if it begins with a prefix.
 * @return 0 equal; 1 smaller; kr_error(ENOENT)
 */
int cache_get_leq(struct kr_cache *cache, const struct cache_key *key,
	const struct cache_key *prefix, struct cache_entry *entry);
/** Write. @return 0 or error */
int cache_put(struct kr_cache *cache, const struct cache_key *key, const struct cache_entry *entry);
/** Write unless a live entry of higher rank is there. @return 0; 1 refused; < 0 error */
int cache_put_ranked(
	struct kr_cache *cache, const struct cache_key *key, const struct cache_entry *entry);
/** Rank of a live entry, or -1. */
int cache_live_rank(struct kr_cache *cache, const struct cache_key *key, uint32_t now);
/** Remove one key. @return number removed or error */
int cache_del(struct kr_cache *cache, const struct cache_key *key);

/** A set of an entry from RRsets. @param sigs may be NULL; at most KR_RRSIG_KEPT_MAX are taken */
struct cache_set cache_set_from(const knot_rrset_t *rr, const knot_rrset_t *sigs);
/** For how long signatures in force let a set live. @return s, 0 = none is in force */
uint32_t cache_sigs_ttl(const knot_rdataset_t *sigs, uint32_t now);
/** Copy records out of an entry. @return 0 or kr_error(ENOMEM) */
int cache_rdata_copy(knot_rdataset_t *dst, const knot_rdataset_t *src, knot_mm_t *pool);

/**
 * Make an NSEC or NSEC3 usable for names it covers (chain.c).
 * @param zone signer of the record
 * @return 0; 1 it is no good for that; < 0 error
 */
int cache_insert_proof(struct kr_cache *cache, const knot_rrset_t *rr, const knot_rrset_t *rrsig,
	const knot_dname_t *zone, uint32_t now);
