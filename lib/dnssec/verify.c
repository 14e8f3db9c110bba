/* SPDX-License-Identifier: GPL-3.0-or-later */

#include "lib/dnssec/verify.h"

#include <string.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <libdnssec/crypto.h>
#include <libdnssec/key.h>

#include "kresconfig.h"
#include "lib/dnssec/verify_impl.h"

const struct dnssec_engine *const dnssec_engines[] = {
#if ENABLE_OPENSSL
	&dnssec_engine_libcrypto,
#endif
	&dnssec_engine_libdnssec,
	NULL,
};

/** Keys kept set up; one place for each hash, the latest stays. */
#define KEPT_KEYS 256

struct dnssec_pubkey {
	const struct dnssec_engine *engine;
	void *handle;
	unsigned refs;
	uint8_t alg;
	uint16_t len;
	uint8_t data[];
};

/**
 * Setting a key up costs a good part of a check, and each zone signs with the same key again and
 * again. What is kept depends on the octets of the key alone, so requests may share it.
 */
static struct dnssec_pubkey *kept[KEPT_KEYS];

bool dnssec_alg_is_supported(uint8_t alg)
{
	switch (alg) {
	case DNSSEC_KEY_ALGORITHM_RSA_SHA1: /* RFC 8624: still to be validated */
	case DNSSEC_KEY_ALGORITHM_RSA_SHA1_NSEC3:
	case DNSSEC_KEY_ALGORITHM_RSA_SHA256:
	case DNSSEC_KEY_ALGORITHM_RSA_SHA512:
	case DNSSEC_KEY_ALGORITHM_ECDSA_P256_SHA256:
	case DNSSEC_KEY_ALGORITHM_ECDSA_P384_SHA384:
	case DNSSEC_KEY_ALGORITHM_ED25519:
	case DNSSEC_KEY_ALGORITHM_ED448:
		return true;
	default:
		return false;
	}
}

bool dnssec_digest_is_supported(uint8_t type)
{
	return type == DNSSEC_KEY_DIGEST_SHA1 || type == DNSSEC_KEY_DIGEST_SHA256 ||
	       type == DNSSEC_KEY_DIGEST_SHA384;
}

uint32_t dnssec_alg_price(uint8_t alg)
{
	switch (alg) {
	case DNSSEC_KEY_ALGORITHM_ED25519:
		return 2;
	case DNSSEC_KEY_ALGORITHM_ECDSA_P256_SHA256:
		return 3;
	case DNSSEC_KEY_ALGORITHM_ECDSA_P384_SHA384:
	case DNSSEC_KEY_ALGORITHM_ED448:
		return 6;
	default:
		return 1;
	}
}

int dnssec_rsa_split(const uint8_t *data, size_t len, const uint8_t **exp, size_t *exp_len,
	const uint8_t **mod, size_t *mod_len)
{
	if (len < 3)
		return kr_error(EINVAL);
	size_t head = 1, n = data[0];
	if (n == 0) {
		head = 3;
		n = (size_t)data[1] << 8 | data[2];
	}
	if (n == 0 || len < head + n + 1)
		return kr_error(EINVAL);
	*exp = data + head;
	*exp_len = n;
	*mod = *exp + n;
	*mod_len = len - head - n;
	for (; *exp_len > 1 && **exp == 0; --*exp_len)
		++*exp;
	for (; *mod_len > 1 && **mod == 0; --*mod_len)
		++*mod;
	return kr_ok();
}

/** A key may be well-formed and yet not worth its price. */
static int check_rsa(const uint8_t *data, size_t len)
{
	const uint8_t *exp, *mod;
	size_t exp_len, mod_len;
	int ret = dnssec_rsa_split(data, len, &exp, &exp_len, &mod, &mod_len);
	if (ret != 0)
		return ret;
	const size_t bits = mod_len * 8 - (mod[0] ? __builtin_clz(mod[0]) - 24 : 8);
	/* Of what is longer than 32 bits only 2^32 + 1 (F5) is in use. */
	const bool is_f5 = exp_len == 5 && memcmp(exp, "\x01\x00\x00\x00\x01", 5) == 0;
	if (bits > DNSSEC_RSA_BITS_MAX || (exp_len > 4 && !is_f5))
		return kr_error(ENOTSUP);
	if (bits < DNSSEC_RSA_BITS_MIN)
		return kr_error(EINVAL);
	return kr_ok();
}

static int check_key(uint8_t alg, const uint8_t *data, size_t len)
{
	switch (alg) {
	case DNSSEC_KEY_ALGORITHM_ECDSA_P256_SHA256:
		return len == 64 ? kr_ok() : kr_error(EINVAL);
	case DNSSEC_KEY_ALGORITHM_ECDSA_P384_SHA384:
		return len == 96 ? kr_ok() : kr_error(EINVAL);
	case DNSSEC_KEY_ALGORITHM_ED25519:
		return len == 32 ? kr_ok() : kr_error(EINVAL);
	case DNSSEC_KEY_ALGORITHM_ED448:
		return len == 57 ? kr_ok() : kr_error(EINVAL);
	default:
		return check_rsa(data, len);
	}
}

/** Distributions build libcrypto without its fast P-384, where GnuTLS needs half the time. */
static const struct dnssec_engine *best_engine(uint8_t alg)
{
	return alg == DNSSEC_KEY_ALGORITHM_ECDSA_P384_SHA384 ? &dnssec_engine_libdnssec
							     : dnssec_engines[0];
}

/** Keys are as good as random at their end. */
static struct dnssec_pubkey **place_of(uint8_t alg, const uint8_t *data, size_t len)
{
	uint32_t hash = alg;
	for (size_t i = len > 16 ? len - 16 : 0; i < len; ++i)
		hash = (hash ^ data[i]) * 16777619;
	return &kept[(hash ^ hash >> 16) % KEPT_KEYS];
}

static bool is_key(const struct dnssec_pubkey *key, uint8_t alg, const uint8_t *data, size_t len)
{
	return key && key->alg == alg && key->len == len && memcmp(key->data, data, len) == 0;
}

static int set_key_up(struct dnssec_pubkey **key, const struct dnssec_engine *engine, uint8_t alg,
	const uint8_t *data, size_t len)
{
	if (!dnssec_alg_is_supported(alg))
		return kr_error(ENOTSUP);
	int ret = len <= UINT16_MAX ? check_key(alg, data, len) : kr_error(EINVAL);
	if (ret != 0)
		return ret;
	struct dnssec_pubkey *new = malloc(sizeof(*new) + len);
	if (!new)
		return kr_error(ENOMEM);
	*new = (struct dnssec_pubkey){.engine = engine, .refs = 1, .alg = alg, .len = len};
	memcpy(new->data, data, len);
	ret = engine->key_new(&new->handle, alg, data, len);
	if (ret != 0) {
		free(new);
		return ret;
	}
	*key = new;
	return kr_ok();
}

int dnssec_pubkey_new(struct dnssec_pubkey **key, const struct dnssec_engine *engine, uint8_t alg,
	const uint8_t *data, size_t len)
{
	if (engine)
		return set_key_up(key, engine, alg, data, len);
	struct dnssec_pubkey **place = place_of(alg, data, len);
	if (!is_key(*place, alg, data, len)) {
		int ret = set_key_up(key, best_engine(alg), alg, data, len);
		if (ret != 0)
			return ret;
		dnssec_pubkey_free(*place);
		*place = *key;
	}
	(*place)->refs += 1;
	*key = *place;
	return kr_ok();
}

void dnssec_pubkey_free(struct dnssec_pubkey *key)
{
	if (!key || --key->refs > 0)
		return;
	key->engine->key_free(key->handle);
	free(key);
}

int dnssec_pubkey_verify(const struct dnssec_pubkey *key, const uint8_t *data, size_t len,
	const uint8_t *sig, size_t sig_len)
{
	if (sig_len == 0)
		return kr_error(EBADMSG);
	return key->engine->verify(key->handle, key->alg, data, len, sig, sig_len);
}

int dnssec_sha256(uint8_t out[DNSSEC_SHA256_LEN], const uint8_t *a, size_t a_len, const uint8_t *b,
	size_t b_len)
{
	gnutls_hash_hd_t hash;
	if (gnutls_hash_init(&hash, GNUTLS_DIG_SHA256) != 0)
		return kr_error(ENOMEM);
	int ret = gnutls_hash(hash, a, a_len);
	if (ret == 0 && b_len > 0)
		ret = gnutls_hash(hash, b, b_len);
	gnutls_hash_deinit(hash, out);
	return ret == 0 ? kr_ok() : kr_error(EINVAL);
}

void kr_crypto_init(void)
{
	dnssec_crypto_init();
	for (const struct dnssec_engine *const *engine = dnssec_engines; *engine; ++engine) {
		if ((*engine)->init)
			(*engine)->init();
	}
}

void kr_crypto_cleanup(void)
{
	for (size_t i = 0; i < KEPT_KEYS; ++i) {
		dnssec_pubkey_free(kept[i]);
		kept[i] = NULL;
	}
	for (const struct dnssec_engine *const *engine = dnssec_engines; *engine; ++engine) {
		if ((*engine)->deinit)
			(*engine)->deinit();
	}
	dnssec_crypto_cleanup();
}

void kr_crypto_reinit(void)
{
	dnssec_crypto_reinit();
}
