/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * DNSKEY and DS records: key tags, flags, digests (RFC 4034, RFC 4509, RFC 5011), and a DNSKEY set
 * made ready for checking signatures. Keys are parsed when first needed and kept for the life of
 * the set.
 */
#pragma once

#include <libknot/rrset.h>

#include "lib/defines.h"

struct dnssec_pubkey;

#define DNSSEC_FLAG_ZONE 0x0100   /**< RFC 4034 section 2.1.1 */
#define DNSSEC_FLAG_REVOKE 0x0080 /**< RFC 5011 section 7 */
#define DNSSEC_FLAG_SEP 0x0001    /**< RFC 4034 section 2.1.1 */

/** @name Raw DNSKEY rdata of at least 4 bytes @{ */
/** ZONE bit set, not revoked: may sign data of the zone. */
KR_EXPORT KR_PURE bool kr_dnssec_key_zsk(const uint8_t *rdata);
/** ZONE and SEP bits set, not revoked. */
KR_EXPORT KR_PURE bool kr_dnssec_key_ksk(const uint8_t *rdata);
KR_EXPORT KR_PURE bool kr_dnssec_key_revoked(const uint8_t *rdata);
/** @} */

/**
 * Key tag of DNSKEY rdata, or the tag noted in DS rdata.
 * @return 0..65535; kr_error(EINVAL) other type or too short
 */
KR_EXPORT
int kr_dnssec_key_tag(uint16_t rrtype, const uint8_t *rdata, size_t len);
/** Do two DNSKEY rdata hold the same key, whatever their flags? @return 0; 1 no; kr_error(EINVAL)
 */
KR_EXPORT
int kr_dnssec_key_match(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len);

/** Can any record of the DS set be used: algorithm and digest both supported (RFC 6840
 * section 5.2)? */
KR_EXPORT KR_PURE bool kr_ds_algo_support(const knot_rrset_t *ds);
/** SHA-1 counts only where nothing better stands in the set (RFC 4509 section 3). */
KR_PURE
bool dnssec_ds_is_usable(const knot_rdataset_t *set, const knot_rdata_t *ds);

/**
 * Digest of a DNSKEY for DS.
 * @param digest out: at least DNSSEC_HASH_LEN_MAX bytes
 * @return length; kr_error(ENOTSUP) digest type; kr_error(EINVAL) malformed
 */
int dnssec_key_digest(
	uint8_t *digest, uint8_t type, const knot_dname_t *owner, const uint8_t *rdata, size_t len);
/** @return 0 the DS is of this key; 1 it is not; kr_error(ENOTSUP) */
int dnssec_ds_matches(const knot_rdata_t *ds, const knot_dname_t *owner, const knot_rdata_t *key);

/** One key of a set. */
struct dnssec_key {
	const knot_rdata_t *rdata; /**< borrowed from the set */
	uint16_t flags;
	uint16_t tag;
	uint8_t protocol;
	uint8_t alg;

	bool has_signed; /**< made a good signature before: tried first of those with its tag */
	bool is_parsed;
	int parse_result;          /**< of dnssec_pubkey_new() */
	struct dnssec_pubkey *pub; /**< if parse_result is 0 */
};

/** A DNSKEY set. {0} is an empty one. */
struct dnssec_keyset {
	const knot_rrset_t *rrset; /**< borrowed */
	struct dnssec_key *keys;
	uint16_t count;
};

/** @param dnskey must outlive the set @return 0, kr_error(EINVAL), kr_error(ENOMEM) */
int dnssec_keyset_init(struct dnssec_keyset *set, const knot_rrset_t *dnskey);
void dnssec_keyset_deinit(struct dnssec_keyset *set);
/** Parse on first use. @return 0; kr_error(ENOTSUP) too expensive or unknown; kr_error(EINVAL)
 * malformed */
int dnssec_key_parse(struct dnssec_key *key);
