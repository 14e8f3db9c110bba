/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Validation of records that did not come through the resolver, such as an imported zone file: make
 * a validator of a zone from its DS and DNSKEY sets, then put RRsets to it. No limits apply: the
 * data are the operator's choice.
 */
#pragma once

#include <libknot/rrset.h>

#include "lib/defines.h"

struct kr_svldr_ctx;

/** Counts of what was wrong, for a message to the operator. */
typedef struct kr_rrset_validation_ctx {
	int32_t result; /**< 0 or an error code */
	struct {
		uint32_t matching_name_type; /**< RRSIGs that cover the set */
		uint32_t expired;
		uint32_t notyet;
		uint32_t signer_invalid;
		uint32_t labels_invalid;
		uint32_t key_invalid;
		uint32_t crypto_invalid;
		uint32_t nsec_invalid;
	} rrs_counters;
} kr_rrset_validation_ctx_t;

/**
 * Make a validator of a zone.
 * @param ds          DS set to trust
 * @param dnskey      DNSKEY set of the zone; copied
 * @param dnskey_sigs its RRSIG records
 * @param timestamp   wall clock, seconds
 * @param err_ctx     out: what is wrong; may be NULL
 * @return NULL if the keys are not valid; kr_svldr_free_ctx() it
 */
KR_EXPORT
struct kr_svldr_ctx *kr_svldr_new_ctx(const knot_rrset_t *ds, knot_rrset_t *dnskey,
	const knot_rdataset_t *dnskey_sigs, uint32_t timestamp, kr_rrset_validation_ctx_t *err_ctx);
/**
 * Validate a set, which must not come from a wildcard.
 * @param rrs  its TTL may be lowered
 * @return 0 or an error
 */
KR_EXPORT
int kr_svldr_rrset(knot_rrset_t *rrs, const knot_rdataset_t *rrsigs, struct kr_svldr_ctx *ctx);
/** NULL is fine. */
KR_EXPORT
void kr_svldr_free_ctx(struct kr_svldr_ctx *ctx);
