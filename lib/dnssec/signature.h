/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Is an RRset signed by this DNSKEY set (RFC 4035 section 5.3), and is a DNSKEY set the one that a
 * DS set or trust anchor speaks of (section 5.2)? Pure verdicts: RRsets, time and an allowance of
 * work go in.
 */
#pragma once

#include <libknot/rrset.h>

#include "lib/defines.h"
#include "lib/dnssec/key.h"
#include "lib/dnssec/verify.h"
#include "lib/generic/array.h"

/** Clock skew tolerated for signatures from the future; none for expired ones (F-46). */
#define DNSSEC_INCEPTION_SKEW_S 3600

/** What is wrong with signatures; a set of bits, because every RRSIG may fail in its own way. */
enum dnssec_fault {
	DNSSEC_FAULT_NO_RRSIG = 1 << 0,  /**< none covers the set */
	DNSSEC_FAULT_MALFORMED = 1 << 1, /**< RRSIG or RRset cannot be read */
	DNSSEC_FAULT_SIGNER = 1 << 2,    /**< signer is not the zone, or owner is not below it */
	DNSSEC_FAULT_LABELS =
		1 << 3, /**< label count out of bounds, or a wildcard where none may be */
	DNSSEC_FAULT_EXPIRED = 1 << 4,
	DNSSEC_FAULT_NOT_YET = 1 << 5,
	DNSSEC_FAULT_NO_KEY = 1 << 6,       /**< no key of that tag and algorithm */
	DNSSEC_FAULT_KEY_BIT = 1 << 7,      /**< such a key, but not a zone key */
	DNSSEC_FAULT_REVOKED = 1 << 8,      /**< such a key, but revoked */
	DNSSEC_FAULT_KEY = 1 << 9,          /**< the key cannot be parsed */
	DNSSEC_FAULT_UNSUPPORTED = 1 << 10, /**< algorithm, modulus or exponent is not taken */
	DNSSEC_FAULT_CRYPTO = 1 << 11,      /**< the signature is wrong */
	DNSSEC_FAULT_LIMIT = 1 << 12,       /**< not all were tried */
	DNSSEC_FAULT_DIGEST = 1 << 13,      /**< keys there, but none that a DS speaks of */
};

/** Work that may still be done; counted down. */
struct dnssec_allowance {
	uint32_t checks; /**< signature checks */
	uint32_t units;  /**< ... priced */
	uint32_t fails;  /**< wrong signatures */
	uint32_t fail_units;
	uint32_t blocks; /**< SHA-1 blocks of NSEC3 */
};

/** A verdict already given about these bytes, this key and this signature. */
struct dnssec_memo {
	uint8_t id[DNSSEC_SHA256_LEN];
	bool is_good;
};

/** Verdicts already given, so that none is worked out twice. Entries live on `mm`. */
struct dnssec_memory {
	knot_mm_t *mm;
	array_t(struct dnssec_memo) memos;
};

/** Surroundings of a verdict. */
struct dnssec_env {
	uint32_t now_s; /**< wall clock; serial arithmetic makes 32 bits enough */
	struct dnssec_allowance *left;
	struct dnssec_memory *memory; /**< may be NULL */
};

/** A verdict about an RRset. */
struct dnssec_verdict {
	uint32_t faults; /**< enum dnssec_fault */
	uint16_t tag;    /**< of the good key, else of the last one that failed */
	uint8_t alg;
	bool is_expanded; /**< came from a wildcard: a proof has to come along */
	uint8_t labels;   /**< of the wildcard's parent, if is_expanded */
	uint32_t ttl_s;   /**< longest time it may be kept: original TTL and expiration */
};

/**
 * Check an RRset.
 * @param sigs  RRSIG records, others than of its type are skipped
 * @param keys  validated keys of the zone
 * @return 0 secure; kr_error(EBADMSG) bogus, see verdict->faults; kr_error(EDQUOT) out of allowance
 */
int dnssec_rrset_verify(const knot_rrset_t *rr, const knot_rdataset_t *sigs,
	struct dnssec_keyset *keys, const struct dnssec_env *env, struct dnssec_verdict *verdict);

/**
 * Check a DNSKEY set by the DS set of its zone.
 * @return 0 secure; kr_error(ENOTSUP) the DS set has nothing that we support: insecure;
 *         kr_error(EBADMSG), kr_error(EDQUOT) as above
 */
int dnssec_keyset_verify(struct dnssec_keyset *keys, const knot_rdataset_t *sigs,
	const knot_rrset_t *ds, const struct dnssec_env *env, struct dnssec_verdict *verdict);

/**
 * Did a revoked key sign the set it stands in, which is what makes its revocation count (RFC 5011
 * section 2.1)? Nothing else of such a key is ever believed.
 * @param key  one of keys->keys
 * @return 0 yes; kr_error(EBADMSG), kr_error(EDQUOT) as above; kr_error(EINVAL) not revoked
 */
int dnssec_revocation_verify(struct dnssec_keyset *keys, const struct dnssec_key *key,
	const knot_rdataset_t *sigs, const struct dnssec_env *env, struct dnssec_verdict *verdict);

/** Signer name inside RRSIG rdata, or NULL if the rdata is malformed. */
const knot_dname_t *dnssec_rrsig_signer(const knot_rdata_t *sig);
