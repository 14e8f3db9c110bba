/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * The face of the cache: open, close, insert, look up, clear, count. Entries are RRsets with rank
 * and signatures, negative answers, NSEC and NSEC3 records in canonical order, and delegations
 * (parent-side NS with their glue, spec C-30 to C-33) kept apart from the child's own NS. The
 * format is private and carries a version; every read is bounds-checked as if a stranger had
 * written it. The layer (lib/layer/cache.c) turns packets into entries (stash.c) and entries into
 * answers (peek.c).
 */
#pragma once

#include <sys/time.h>
#include <libknot/rrset.h>

#include "lib/cache/backend.h"
#include "lib/defines.h"
#include "lib/rrs.h"
#include "lib/generic/array.h"

struct kr_query;
struct kr_context;

/** An open cache. {0} is a closed one. */
struct kr_cache {
	kr_cdb_pt db; /**< NULL = closed */
	const struct kr_cdb_api *api;
	struct kr_cdb_stats stats;
	uint32_t ttl_min, ttl_max; /**< s, B-41; kept across open() */

	struct timeval checkpoint_walltime; /**< both clocks at the last checkpoint */
	uint64_t checkpoint_monotime;       /**< ms */

	uint64_t corrupt;          /**< entries dropped because they could not be decoded */
	uint64_t full;             /**< writes refused by a full store */
	uint32_t health_checked_s; /**< wall time of the last check */
	uint8_t *usage;            /**< counters of use, shared by processes; NULL = none */
};

/** What a direct look-up found; raw pointers are valid until the next commit or write. */
struct kr_cache_p {
	uint32_t time; /**< wall time of insertion */
	uint32_t ttl;  /**< s, at that time */
	uint8_t rank;
	struct {
		void *raw_data;  /**< serialised RDATA set */
		void *raw_bound; /**< its end */
	};
};

/**
 * Open; closes what was open. Clears the store on a format mismatch. ttl_min and ttl_max get their
 * defaults only when both are 0.
 * @param api  NULL = LMDB
 * @return 0 or an error of the system or backend
 */
KR_EXPORT
int kr_cache_open(struct kr_cache *cache, const struct kr_cdb_api *api, struct kr_cdb_opts *opts,
	knot_mm_t *mm);
KR_EXPORT
void kr_cache_close(struct kr_cache *cache);
static inline bool kr_cache_is_open(const struct kr_cache *cache)
{
	return cache->db != NULL;
}
/** End the implicit transaction: call once at the end of a loop turn. */
KR_EXPORT
int kr_cache_commit(struct kr_cache *cache);
/** Remove everything. */
KR_EXPORT
int kr_cache_clear(struct kr_cache *cache);
/** Remember both clocks (time-jump detection). */
static inline void kr_cache_make_checkpoint(
	struct kr_cache *cache, const struct timeval *wall, uint64_t mono_ms)
{
	cache->checkpoint_walltime = *wall;
	cache->checkpoint_monotime = mono_ms;
}
/** Look after the file: replaced, resized, removed? Cheap; call every few seconds. */
KR_EXPORT
int kr_cache_check_health(struct kr_cache *cache);

/**
 * Insert an RRset of class IN. Weaker data do not replace stronger live data. Sets not worth
 * caching (meta types, BOGUS, TTL 0 beyond use) are skipped with success.
 * @param rrsig       its signatures or NULL
 * @param rank        enum kr_rank
 * @param timestamp   wall time the TTL counts from
 * @param ins_nsec_p  for NSEC and NSEC3: also make them usable for aggressive use (needs SECURE)
 */
KR_EXPORT
int kr_cache_insert_rr(struct kr_cache *cache, const knot_rrset_t *rr, const knot_rrset_t *rrsig,
	uint8_t rank, uint32_t timestamp, bool ins_nsec_p);

/** Find an RRset by exact name and type. @return 0, kr_error(ENOENT), kr_error(EINVAL) */
KR_EXPORT
int kr_cache_peek_exact(
	struct kr_cache *cache, const knot_dname_t *name, uint16_t type, struct kr_cache_p *peek);
/** Seconds left, negative = expired; consults qry->stale_cb. */
KR_EXPORT
int32_t kr_cache_ttl(const struct kr_cache_p *peek, const struct kr_query *qry,
	const knot_dname_t *name, uint16_t type);
/** Copy the RDATA out. @return bytes or an error */
KR_EXPORT
int kr_cache_materialize(knot_rdataset_t *dst, const struct kr_cache_p *ref, knot_mm_t *pool);

/** @return number of entries removed or an error */
KR_EXPORT
int kr_cache_remove(struct kr_cache *cache, const knot_dname_t *name, uint16_t type);
/** Remove names at (exact) or at and below. @return number <= maxcount, or an error */
KR_EXPORT
int kr_cache_remove_subtree(
	struct kr_cache *cache, const knot_dname_t *name, bool exact, int maxcount);
/** Entries at and below a name. @return number <= maxcount, or an error */
KR_EXPORT
int kr_cache_match(struct kr_cache *cache, const knot_dname_t *name, bool exact,
	knot_db_val_t keyval[][2], int maxcount);
/** Text-free name and type from a key. @return length of name or an error */
KR_EXPORT
int kr_unpack_cache_key(knot_db_val_t key, knot_dname_t *buf, uint16_t *type);
/** Labels to strip from `name` to the closest cached zone apex. @param apex malloc()ed */
KR_EXPORT
int kr_cache_closest_apex(
	struct kr_cache *cache, const knot_dname_t *name, bool is_DS, knot_dname_t **apex);

/** @name Delegations: the only source of server sets for iteration (C-30) @{ */

/** An address that came with a delegation. */
struct kr_deleg_glue {
	knot_dname_t *ns; /**< lower-case */
	uint8_t addr[16];
	uint8_t addr_len; /**< 4 or 16 */
};
struct kr_deleg {
	knot_dname_t *name;         /**< apex of the child */
	knot_dname_t *parent;       /**< cut that told us */
	uint32_t ttl;               /**< s left */
	uint32_t nods_ttl;          /**< s left of the proof that there is no DS */
	bool is_secure_nods;        /**< proven without DS (validated), and still so */
	array_t(knot_dname_t *) ns; /**< server names, lower-case */
	array_t(struct kr_deleg_glue) glue;
};
/**
 * Remember a referral. Replaces only an expired one, or one obtained from the same parent (C-31).
 * TTL is limited by KR_TTL_DELEG_MAX_S and `parent_ttl` (what is left of the enclosing delegation).
 */
KR_EXPORT
int kr_cache_deleg_insert(
	struct kr_cache *cache, const struct kr_deleg *deleg, uint32_t parent_ttl, uint32_t now_s);
/**
 * Deepest live delegation at or above a name.
 * @param out  filled in on the pool
 * @return 0 or kr_error(ENOENT)
 */
KR_EXPORT
int kr_cache_deleg_find(struct kr_cache *cache, const knot_dname_t *name, uint32_t now_s,
	struct kr_deleg *out, knot_mm_t *pool);
/** @} */
/**
 * Read a live RRset of at least a rank.
 * @param rr        out: set on the pool, TTL counted down
 * @param min_rank  lowest acceptable, e.g. KR_RANK_INSECURE | KR_RANK_AUTH
 * @param[out] rank may be NULL
 * @return 0 or kr_error(ENOENT)
 */
KR_EXPORT
int kr_cache_get_rr(struct kr_cache *cache, const knot_dname_t *name, uint16_t type,
	uint8_t min_rank, uint32_t now_s, knot_rrset_t **rr, uint8_t *rank, knot_mm_t *pool);
