/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Public-key checks behind one interface: a parsed key and "does it verify these bytes". Two
 * engines implement it, libcrypto (preferred: P-256 takes a third of the time) and libdnssec. Also
 * what is known of DNSSEC algorithm numbers: which are supported (RFC 8624) and what a check costs
 * (spec 2.2.1).
 */
#pragma once

#include "lib/defines.h"

/** Hash lengths in use. */
#define DNSSEC_SHA1_LEN 20
#define DNSSEC_SHA256_LEN 32
#define DNSSEC_HASH_LEN_MAX 64
/** Largest RSA modulus taken; beyond it a key counts as an unsupported algorithm. */
#define DNSSEC_RSA_BITS_MAX 4096
/** Smallest RSA modulus, RFC 3110 section 3. */
#define DNSSEC_RSA_BITS_MIN 512

/** A public key ready for checking signatures. */
struct dnssec_pubkey;

/** One way of doing the mathematics. */
struct dnssec_engine {
	const char *name;
	/** Process set-up and its end; may be NULL. */
	void (*init)(void);
	void (*deinit)(void);
	/** @return 0, kr_error(EINVAL) malformed key, kr_error(ENOMEM) */
	int (*key_new)(void **key, uint8_t alg, const uint8_t *data, size_t len);
	void (*key_free)(void *key);
	/** @return 0 or kr_error(EBADMSG) */
	int (*verify)(void *key, uint8_t alg, const uint8_t *data, size_t len, const uint8_t *sig,
		size_t sig_len);
};

/** Engines that are built in, the generally better one first; NULL-ended. */
extern const struct dnssec_engine *const dnssec_engines[];

/** Can signatures of this algorithm be checked? */
KR_EXPORT KR_PURE bool dnssec_alg_is_supported(uint8_t alg);
/** Can DS digests of this type be checked? */
KR_EXPORT KR_PURE bool dnssec_digest_is_supported(uint8_t type);
/** Highest price there is. */
#define DNSSEC_PRICE_MAX 6
/** Units (about 0.2 ms of the slower engine) of one check. */
KR_EXPORT KR_PURE uint32_t dnssec_alg_price(uint8_t alg);

/**
 * Parse a public key as it stands in a DNSKEY record after its first four bytes. Keys used lately
 * are kept ready and shared.
 * @param engine  NULL = the best one for the algorithm; another one is never shared
 * @return 0; kr_error(ENOTSUP) for an algorithm, modulus or exponent we do not take;
 *         kr_error(EINVAL) for a malformed key; kr_error(ENOMEM)
 */
int dnssec_pubkey_new(struct dnssec_pubkey **key, const struct dnssec_engine *engine, uint8_t alg,
	const uint8_t *data, size_t len);
/** NULL is fine. */
void dnssec_pubkey_free(struct dnssec_pubkey *key);
/** @return 0 if sig is the key's signature of data; kr_error(EBADMSG) otherwise */
int dnssec_pubkey_verify(const struct dnssec_pubkey *key, const uint8_t *data, size_t len,
	const uint8_t *sig, size_t sig_len);

/** Take an RSA key apart (RFC 3110). @return 0 or kr_error(EINVAL) */
int dnssec_rsa_split(const uint8_t *data, size_t len, const uint8_t **exp, size_t *exp_len,
	const uint8_t **mod, size_t *mod_len);

/** SHA-256 of two pieces one after the other. */
int dnssec_sha256(uint8_t out[DNSSEC_SHA256_LEN], const uint8_t *a, size_t a_len, const uint8_t *b,
	size_t b_len);

/** Set cryptography up; call before anything else of this folder. */
KR_EXPORT
void kr_crypto_init(void);
KR_EXPORT
void kr_crypto_cleanup(void);
/** Call in the child after fork(). */
KR_EXPORT
void kr_crypto_reinit(void);
