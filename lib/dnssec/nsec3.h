/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * What NSEC3 records prove (RFC 5155 section 8, RFC 9276). Pure functions of records that were
 * found secure and of one zone. Every hash is paid for from an allowance of SHA-1 blocks (B-21).
 */
#pragma once

#include <libknot/rrset.h>

#include "lib/defines.h"
#include "lib/dnssec/nsec.h"

/** Length of the only hash there is (RFC 5155 section 11). */
#define DNSSEC_NSEC3_HASH_LEN 20

/** NSEC3 sets of one zone. Those of other parameters than the first usable one are passed over. */
struct dnssec_nsec3s {
	const knot_dname_t *zone;
	const knot_rrset_t *const *rrs; /**< one record each is looked at */
	size_t count;          /**< beyond KR_NSEC3_MSG_MAX they are not looked at (B-22) */
	uint32_t *blocks_left; /**< counted down */
};

/** SHA-1 blocks that one hash costs (B-20). */
static inline uint32_t dnssec_nsec3_price(uint16_t iterations, uint8_t salt_len)
{
	return (iterations + 1u) * ((DNSSEC_NSEC3_HASH_LEN + salt_len + 63u) / 64u);
}
/** Iterations and salt cost more than RFC 9276 and B-20 let a validator pay. */
static inline bool dnssec_nsec3_is_expensive(uint16_t iterations, uint8_t salt_len)
{
	return iterations > KR_NSEC3_ITERATIONS_MAX ||
	       dnssec_nsec3_price(iterations, salt_len) > KR_NSEC3_PRICE_MAX;
}

/**
 * The name does not exist, nor does a wildcard for it. proof->is_optout: an unsigned delegation may
 * be there nevertheless.
 * @return 0 proven (or proof->is_insecure); kr_error(ENOENT) not proven; kr_error(EDQUOT) too many
 * hashes
 */
int dnssec_nsec3_nxdomain(
	const struct dnssec_nsec3s *nsec3s, const knot_dname_t *name, struct dnssec_proof *proof);
/** The name or its wildcard has no records of the type; DS may be absent by opt-out. @return as
 * above */
int dnssec_nsec3_nodata(const struct dnssec_nsec3s *nsec3s, const knot_dname_t *name, uint16_t type,
	struct dnssec_proof *proof);
/** No name closer than the wildcard whose parent has `labels` labels answers for the name. @return
 * as above */
int dnssec_nsec3_wildcard(const struct dnssec_nsec3s *nsec3s, const knot_dname_t *name,
	unsigned labels, struct dnssec_proof *proof);
