/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Checks through libdnssec, that is GnuTLS: the engine that is always there. */

#include "lib/dnssec/verify_impl.h"

#include <string.h>
#include <libdnssec/error.h>
#include <libdnssec/key.h>
#include <libdnssec/sign.h>

static int key_new(void **handle, uint8_t alg, const uint8_t *data, size_t len)
{
	dnssec_key_t *key = NULL;
	if (dnssec_key_new(&key) != DNSSEC_EOK)
		return kr_error(ENOMEM);
	const dnssec_binary_t pub = {.data = (uint8_t *)data, .size = len};
	int ret = dnssec_key_set_algorithm(key, alg);
	if (ret == DNSSEC_EOK)
		ret = dnssec_key_set_pubkey(key, &pub);
	if (ret != DNSSEC_EOK) {
		dnssec_key_free(key);
		return ret == DNSSEC_ENOMEM ? kr_error(ENOMEM) : kr_error(EINVAL);
	}
	*handle = key;
	return kr_ok();
}

static void key_free(void *handle)
{
	dnssec_key_free(handle);
}

static int verify(void *handle, uint8_t alg, const uint8_t *data, size_t len, const uint8_t *sig,
	size_t sig_len)
{
	dnssec_sign_ctx_t *ctx = NULL;
	if (dnssec_sign_new(&ctx, handle) != DNSSEC_EOK)
		return kr_error(EBADMSG);
	const dnssec_binary_t text = {.data = (uint8_t *)data, .size = len};
	const dnssec_binary_t signature = {.data = (uint8_t *)sig, .size = sig_len};
	int ret = dnssec_sign_add(ctx, &text);
	if (ret == DNSSEC_EOK)
		ret = dnssec_sign_verify(ctx, false, &signature);
	dnssec_sign_free(ctx);
	return ret == DNSSEC_EOK ? kr_ok() : kr_error(EBADMSG);
}

const struct dnssec_engine dnssec_engine_libdnssec = {
	.name = "libdnssec",
	.key_new = key_new,
	.key_free = key_free,
	.verify = verify,
};
