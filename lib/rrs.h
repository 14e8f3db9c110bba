/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Trust ranks and the arrays of ranked RRsets that a request collects for its answer.
 * Everything added lives on the request's pool.
 */
#pragma once

#include <libknot/rrset.h>
#include <libknot/packet/pkt.h>

#include "lib/defines.h"
#include "lib/generic/array.h"

/**
 * How much an RRset is to be trusted: one exclusive state and the independent bit KR_RANK_AUTH.
 * Numeric order decides what replaces what in the cache (RFC 2181 section 5.4.1).
 */
enum kr_rank {
	KR_RANK_INITIAL = 0,  /**< not validated yet; must be, or be proven insecure */
	KR_RANK_OMIT = 1,     /**< do not validate and do not mind */
	KR_RANK_TRY = 2,      /**< validate if possible; failure is harmless */
	KR_RANK_INDET = 4,    /**< cannot tell whether it should be secure */
	KR_RANK_BOGUS = 5,    /**< should be secure but is not */
	KR_RANK_MISMATCH = 6, /**< signed by an unexpected zone */
	KR_RANK_MISSING = 7,  /**< RRSIG needed and not found */
	KR_RANK_INSECURE = 8, /**< proven insecure, or below a negative trust anchor */
	KR_RANK_AUTH = 16,    /**< flag: from an authority for the zone */
	KR_RANK_SECURE = 32,  /**< full chain of trust verified */
};

/** True for a combination that makes sense. */
KR_EXPORT KR_PURE bool kr_rank_check(uint8_t rank);

/** KR_RANK_AUTH: is the bit set; anything else: is that the state. */
KR_EXPORT KR_PURE bool kr_rank_test(uint8_t rank, uint8_t kr_flag);

/** Change the state, keep KR_RANK_AUTH. */
static inline void kr_rank_set(uint8_t *rank, uint8_t state)
{
	*rank = state | (*rank & KR_RANK_AUTH);
}

/** One RRset with what we think of it. */
struct ranked_rr_array_entry {
	uint32_t qry_uid;         /**< uid of the query at the round it came from */
	uint8_t rank;             /**< enum kr_rank */
	uint8_t revalidation_cnt; /**< validator's retry counter */
	bool cached : 1;          /**< already written to the cache */
	bool yielded : 1;         /**< belongs to a parked response */
	bool to_wire : 1;         /**< goes into the answer */
	bool expiring : 1;        /**< little of its TTL is left */
	bool in_progress : 1;     /**< between add and finalize: rr->rrs is not a valid set yet */
	bool dont_cache : 1;      /**< never store */
	knot_rrset_t *rr; /**< on the request's pool; RRSIGs make one set per covered type */
};
typedef struct ranked_rr_array_entry ranked_rr_array_entry_t;
typedef array_t(ranked_rr_array_entry_t *) ranked_rr_array_t;

/**
 * Add an RRset. Records of the same owner, class, type (covered type for RRSIG) and uid are merged.
 * @param rr       at least one record, rr->additional NULL; rdata memory must stay until
 *                 kr_ranked_rrarray_finalize(), owner is copied
 * @param to_wire  put it into the answer; an equal set of another uid then loses its to_wire
 * @return index >= 0 of the entry, or an error
 */
KR_EXPORT
int kr_ranked_rrarray_add(ranked_rr_array_t *array, const knot_rrset_t *rr, uint8_t rank,
	bool to_wire, uint32_t qry_uid, knot_mm_t *pool);

/** Sort, remove duplicates of and copy all sets of qry_uid that are in progress. O(n log n). */
KR_EXPORT
int kr_ranked_rrarray_finalize(ranked_rr_array_t *array, uint32_t qry_uid, knot_mm_t *pool);

/**
 * Set or clear to_wire of all entries of a uid.
 * @param check_dups clear it of equal sets of other uids
 */
KR_EXPORT
int kr_ranked_rrarray_set_wire(ranked_rr_array_t *array, bool to_wire, uint32_t qry_uid,
	bool check_dups, bool (*extra_check)(const ranked_rr_array_entry_t *));

/** Type, or the covered type of an RRSIG set. */
KR_EXPORT KR_PURE uint16_t kr_rrset_type_maysig(const knot_rrset_t *rr);

/** @name libknot inlines made callable (Lua) @{ */
KR_EXPORT
void kr_rrset_init(
	knot_rrset_t *rrset, knot_dname_t *owner, uint16_t type, uint16_t rclass, uint32_t ttl);
KR_EXPORT KR_PURE uint32_t kr_rrsig_sig_inception(const knot_rdata_t *rdata);
KR_EXPORT KR_PURE uint32_t kr_rrsig_sig_expiration(const knot_rdata_t *rdata);
KR_EXPORT KR_PURE uint16_t kr_rrsig_type_covered(const knot_rdata_t *rdata);
/** @} */

/** Text of a ranked array for people, malloc()ed. */
KR_EXPORT
char *kr_ranked_rrarray_text(const ranked_rr_array_t *array);
