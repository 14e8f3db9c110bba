/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * NSEC and NSEC3 chains of zones in the cache (RFC 8198, C-36): validated records in canonical
 * order, and which chains a zone has. Records of different parameters are kept apart and never
 * mixed.
 */
#pragma once

#include "lib/cache/cache_impl.h"
#include "lib/dnssec/proof.h"

/** Chains remembered for a zone: NSEC and two sets of NSEC3 parameters (one more while salt is
 * changed). */
#define CACHE_CHAINS_MAX 3
/** Records that one proof can need: NSEC3 of encloser, next closer name and wildcard. */
#define CACHE_PROOF_MAX 3
/** Names that deep below their zone are asked upstream. */
#define CACHE_PROOF_LABELS_MAX 16

/** NSEC3 parameters. */
struct cache_nsec3param {
	uint16_t iterations;
	uint8_t salt_len;
	uint8_t salt[255];
};

/** A chain of a zone. */
struct cache_chain {
	bool is_nsec3;
	struct cache_nsec3param param; /**< if is_nsec3 */
};

/** Records found for a proof; they live on the pool. */
struct cache_proof {
	const knot_dname_t *zone;
	knot_mm_t *pool;
	uint32_t now;

	knot_rrset_t rr[CACHE_PROOF_MAX];
	knot_rrset_t sigs[CACHE_PROOF_MAX];
	uint8_t count;
	uint32_t ttl_left;    /**< of what ends first; UINT32_MAX = nothing yet */
	uint32_t ttl_orig;    /**< its original TTL */
	uint32_t blocks_left; /**< SHA-1 blocks that may still be spent (B-23) */
};

/** The 32 bits of NSEC3 parameters that are in keys. */
uint32_t cache_nsec3param_hash(const struct cache_nsec3param *param);
/** Live chains of a zone. @return their number */
unsigned cache_chains(struct kr_cache *cache, const struct cache_name *enc, unsigned zone_labels,
	uint32_t now, struct cache_chain chains[CACHE_CHAINS_MAX]);
/** Take the first set of an entry into a proof. @return its index; kr_error(ENOENT) not live or not
 * secure */
int cache_proof_add(struct cache_proof *proof, const struct cache_entry *entry, uint16_t type);
/** The sets for lib/dnssec. */
void cache_proof_fill(struct dnssec_proofs *to, struct cache_proof *from);

/** What a proof came to. */
enum cache_verdict {
	CACHE_NODATA,   /**< the name or its wildcard has not this type */
	CACHE_NXDOMAIN, /**< the name does not exist */
	CACHE_WILDCARD, /**< the wildcard under the encloser answers, whatever it has */
};

/**
 * Look for a proof about a name in the NSEC chain of a zone.
 * @param[out] encloser labels of the closest encloser, for CACHE_WILDCARD
 * @return enum cache_verdict; kr_error(ENOENT) nothing proven
 */
int cache_prove_nsec(struct kr_cache *cache, const struct cache_name *enc, unsigned zone_labels,
	const knot_dname_t *name, uint16_t type, struct cache_proof *proof, unsigned *encloser);
/** The same in an NSEC3 chain. */
int cache_prove_nsec3(struct kr_cache *cache, const struct cache_name *enc, unsigned zone_labels,
	const struct cache_nsec3param *param, const knot_dname_t *name, uint16_t type,
	struct cache_proof *proof, unsigned *encloser);
