/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Checks through libcrypto of OpenSSL 3. RSA goes without a digest set in the operation: the
 * recovered block is compared as a whole, which takes SHA-1 and short keys under any system policy
 * and leaves no room for lenient parsing of the padding. */

#include "kresconfig.h"

#if ENABLE_OPENSSL

#include "lib/dnssec/verify_impl.h"

#include <string.h>
#include <libdnssec/key.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>

#define EC_PART_MAX 48 /* bytes of a P-384 coordinate */

/** DigestInfo before the hash (RFC 8017 section 9.2, note 1). */
struct digest_info {
	size_t prefix_len;
	uint8_t prefix[19];
};

static const struct digest_info *rsa_digest(uint8_t alg)
{
	static const struct digest_info sha1 = {
		15, {0x30, 0x21, 0x30, 0x09, 0x06, 0x05, 0x2b, 0x0e, 0x03, 0x02, 0x1a, 0x05, 0x00,
			    0x04, 0x14}};
	static const struct digest_info sha256 = {
		19, {0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04,
			    0x02, 0x01, 0x05, 0x00, 0x04, 0x20}};
	static const struct digest_info sha512 = {
		19, {0x30, 0x51, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04,
			    0x02, 0x03, 0x05, 0x00, 0x04, 0x40}};
	switch (alg) {
	case DNSSEC_KEY_ALGORITHM_RSA_SHA1:
	case DNSSEC_KEY_ALGORITHM_RSA_SHA1_NSEC3:
		return &sha1;
	case DNSSEC_KEY_ALGORITHM_RSA_SHA256:
		return &sha256;
	default:
		return &sha512;
	}
}

static EVP_PKEY *from_params(const char *type, int selection, const OSSL_PARAM *params)
{
	EVP_PKEY *pkey = NULL;
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
	if (ctx && EVP_PKEY_fromdata_init(ctx) == 1)
		(void)EVP_PKEY_fromdata(ctx, &pkey, selection, (OSSL_PARAM *)params);
	EVP_PKEY_CTX_free(ctx);
	return pkey;
}

static EVP_PKEY *rsa_key(const uint8_t *data, size_t len)
{
	const uint8_t *exp, *mod;
	size_t exp_len, mod_len;
	if (dnssec_rsa_split(data, len, &exp, &exp_len, &mod, &mod_len) != 0)
		return NULL;
	EVP_PKEY *pkey = NULL;
	OSSL_PARAM *params = NULL;
	OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
	BIGNUM *n = BN_bin2bn(mod, mod_len, NULL);
	BIGNUM *e = BN_bin2bn(exp, exp_len, NULL);
	if (bld && n && e && OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_N, n) == 1 &&
		OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_E, e) == 1)
		params = OSSL_PARAM_BLD_to_param(bld);
	if (params)
		pkey = from_params("RSA", EVP_PKEY_PUBLIC_KEY, params);
	OSSL_PARAM_free(params);
	OSSL_PARAM_BLD_free(bld);
	BN_free(n);
	BN_free(e);
	return pkey;
}

/** A key and an operation on it that is set up: done once for many signatures. */
struct crypto_key {
	EVP_PKEY *pkey;
	EVP_PKEY_CTX *ctx; /**< NULL for algorithms that take the data as a whole */
};

/** Looking up what implements a hash costs more than hashing a few hundred octets. */
static struct {
	EVP_MD *sha1, *sha256, *sha384, *sha512;
	EVP_MD_CTX *ctx;
} hashes;

/** Keys without a point: making a copy is several times cheaper than making the curve. */
static EVP_PKEY *curves[2];

static EVP_PKEY *curve_new(const char *group)
{
	const OSSL_PARAM params[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, (char *)group, 0),
		OSSL_PARAM_construct_end(),
	};
	return from_params("EC", EVP_PKEY_KEY_PARAMETERS, params);
}

static void init(void)
{
	if (!hashes.ctx) {
		hashes.sha1 = EVP_MD_fetch(NULL, "SHA1", NULL);
		hashes.sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
		hashes.sha384 = EVP_MD_fetch(NULL, "SHA384", NULL);
		hashes.sha512 = EVP_MD_fetch(NULL, "SHA512", NULL);
		hashes.ctx = EVP_MD_CTX_new();
	}
	if (!curves[0])
		curves[0] = curve_new("P-256");
	if (!curves[1])
		curves[1] = curve_new("P-384");
	ERR_clear_error();
}

static void deinit(void)
{
	for (size_t i = 0; i < KR_COUNT_OF(curves); ++i) {
		EVP_PKEY_free(curves[i]);
		curves[i] = NULL;
	}
	EVP_MD_free(hashes.sha1);
	EVP_MD_free(hashes.sha256);
	EVP_MD_free(hashes.sha384);
	EVP_MD_free(hashes.sha512);
	EVP_MD_CTX_free(hashes.ctx);
	memset(&hashes, 0, sizeof(hashes));
}

/** @return length of the hash, 0 if it cannot be had */
static size_t hash_of(const EVP_MD *md, const uint8_t *data, size_t len, uint8_t *out)
{
	unsigned out_len = 0;
	if (!md || EVP_DigestInit_ex2(hashes.ctx, md, NULL) != 1 ||
		EVP_DigestUpdate(hashes.ctx, data, len) != 1 ||
		EVP_DigestFinal_ex(hashes.ctx, out, &out_len) != 1)
		return 0;
	return out_len;
}

static EVP_PKEY *ec_key(unsigned curve, const uint8_t *data, size_t len)
{
	uint8_t point[1 + 2 * EC_PART_MAX];
	point[0] = 0x04; /* uncompressed */
	memcpy(point + 1, data, len);
	EVP_PKEY *pkey = curves[curve] ? EVP_PKEY_dup(curves[curve]) : NULL;
	if (pkey && EVP_PKEY_set1_encoded_public_key(pkey, point, len + 1) != 1) {
		EVP_PKEY_free(pkey);
		return NULL;
	}
	return pkey;
}

static EVP_PKEY *pkey_new(uint8_t alg, const uint8_t *data, size_t len)
{
	switch (alg) {
	case DNSSEC_KEY_ALGORITHM_ECDSA_P256_SHA256:
		return ec_key(0, data, len);
	case DNSSEC_KEY_ALGORITHM_ECDSA_P384_SHA384:
		return ec_key(1, data, len);
	case DNSSEC_KEY_ALGORITHM_ED25519:
		return EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, data, len);
	case DNSSEC_KEY_ALGORITHM_ED448:
		return EVP_PKEY_new_raw_public_key(EVP_PKEY_ED448, NULL, data, len);
	default:
		return rsa_key(data, len);
	}
}

/** @return false if the operation cannot be set up */
static bool set_up(struct crypto_key *key, uint8_t alg)
{
	if (alg == DNSSEC_KEY_ALGORITHM_ED25519 || alg == DNSSEC_KEY_ALGORITHM_ED448)
		return true;
	key->ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key->pkey, NULL);
	if (!key->ctx)
		return false;
	if (alg == DNSSEC_KEY_ALGORITHM_ECDSA_P256_SHA256 ||
		alg == DNSSEC_KEY_ALGORITHM_ECDSA_P384_SHA384)
		return EVP_PKEY_verify_init(key->ctx) == 1;
	return EVP_PKEY_verify_recover_init(key->ctx) == 1 &&
	       EVP_PKEY_CTX_set_rsa_padding(key->ctx, RSA_PKCS1_PADDING) == 1;
}

static void key_free(void *handle)
{
	struct crypto_key *key = handle;
	EVP_PKEY_CTX_free(key->ctx);
	EVP_PKEY_free(key->pkey);
	free(key);
}

static int key_new(void **handle, uint8_t alg, const uint8_t *data, size_t len)
{
	init(); /* an embedding program need not call kr_crypto_init() first */
	struct crypto_key *key = calloc(1, sizeof(*key));
	if (!key)
		return kr_error(ENOMEM);
	key->pkey = pkey_new(alg, data, len);
	const bool is_good = key->pkey && set_up(key, alg);
	ERR_clear_error();
	if (!is_good) {
		key_free(key);
		return kr_error(EINVAL);
	}
	*handle = key;
	return kr_ok();
}

static const EVP_MD *rsa_hash(uint8_t alg)
{
	switch (alg) {
	case DNSSEC_KEY_ALGORITHM_RSA_SHA1:
	case DNSSEC_KEY_ALGORITHM_RSA_SHA1_NSEC3:
		return hashes.sha1;
	case DNSSEC_KEY_ALGORITHM_RSA_SHA256:
		return hashes.sha256;
	default:
		return hashes.sha512;
	}
}

static int verify_rsa(const struct crypto_key *key, uint8_t alg, const uint8_t *data, size_t len,
	const uint8_t *sig, size_t sig_len)
{
	uint8_t want[sizeof(((struct digest_info *)0)->prefix) + DNSSEC_HASH_LEN_MAX];
	uint8_t got[DNSSEC_RSA_BITS_MAX / 8];
	size_t got_len = sizeof(got);
	const struct digest_info *info = rsa_digest(alg);
	memcpy(want, info->prefix, info->prefix_len);
	const size_t hash_len = hash_of(rsa_hash(alg), data, len, want + info->prefix_len);
	const size_t want_len = info->prefix_len + hash_len;
	const bool is_good = hash_len > 0 &&
			     EVP_PKEY_verify_recover(key->ctx, got, &got_len, sig, sig_len) == 1 &&
			     got_len == want_len && memcmp(got, want, want_len) == 0;
	return is_good ? kr_ok() : kr_error(EBADMSG);
}

/** One INTEGER of the DER form of an ECDSA signature. @return bytes written */
static size_t der_integer(uint8_t *out, const uint8_t *part, size_t len)
{
	for (; len > 1 && *part == 0; --len)
		++part;
	const size_t pad = *part & 0x80 ? 1 : 0;
	out[0] = 0x02;
	out[1] = len + pad;
	out[2] = 0;
	memcpy(out + 2 + pad, part, len);
	return 2 + pad + len;
}

/** RFC 6605 has r | s, libcrypto wants SEQUENCE { r, s }. */
static size_t der_signature(uint8_t *out, const uint8_t *sig, size_t part_len)
{
	size_t len = der_integer(out + 2, sig, part_len);
	len += der_integer(out + 2 + len, sig + part_len, part_len);
	out[0] = 0x30;
	out[1] = len; /* at most 2 * (3 + 48): one length byte is enough */
	return len + 2;
}

/** Edwards curves: the hash is part of the operation. */
static int verify_eddsa(const struct crypto_key *key, const uint8_t *data, size_t len,
	const uint8_t *sig, size_t sig_len)
{
	int ret = kr_error(EBADMSG);
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	if (ctx && EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, key->pkey) == 1 &&
		EVP_DigestVerify(ctx, sig, sig_len, data, len) == 1)
		ret = kr_ok();
	EVP_MD_CTX_free(ctx);
	return ret;
}

static int verify_ec(const struct crypto_key *key, const EVP_MD *md, size_t part_len,
	const uint8_t *data, size_t len, const uint8_t *sig, size_t sig_len)
{
	uint8_t der[2 + 2 * (3 + EC_PART_MAX)], hash[DNSSEC_HASH_LEN_MAX];
	if (sig_len != 2 * part_len)
		return kr_error(EBADMSG);
	const size_t der_len = der_signature(der, sig, part_len);
	const size_t hash_len = hash_of(md, data, len, hash);
	return hash_len > 0 && EVP_PKEY_verify(key->ctx, der, der_len, hash, hash_len) == 1
		       ? kr_ok()
		       : kr_error(EBADMSG);
}

static int verify(void *handle, uint8_t alg, const uint8_t *data, size_t len, const uint8_t *sig,
	size_t sig_len)
{
	const struct crypto_key *key = handle;
	int ret;
	switch (alg) {
	case DNSSEC_KEY_ALGORITHM_ECDSA_P256_SHA256:
		ret = verify_ec(key, hashes.sha256, 32, data, len, sig, sig_len);
		break;
	case DNSSEC_KEY_ALGORITHM_ECDSA_P384_SHA384:
		ret = verify_ec(key, hashes.sha384, 48, data, len, sig, sig_len);
		break;
	case DNSSEC_KEY_ALGORITHM_ED25519:
	case DNSSEC_KEY_ALGORITHM_ED448:
		ret = verify_eddsa(key, data, len, sig, sig_len);
		break;
	default:
		ret = verify_rsa(key, alg, data, len, sig, sig_len);
		break;
	}
	if (ret != 0)
		ERR_clear_error();
	return ret;
}

const struct dnssec_engine dnssec_engine_libcrypto = {
	.name = "libcrypto",
	.init = init,
	.deinit = deinit,
	.key_new = key_new,
	.key_free = key_free,
	.verify = verify,
};

#endif
