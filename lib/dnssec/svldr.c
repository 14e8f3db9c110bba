/* SPDX-License-Identifier: GPL-3.0-or-later */

#include "lib/dnssec/svldr.h"

#include "lib/dnssec/signature.h"

struct kr_svldr_ctx {
	knot_rrset_t *dnskey;
	struct dnssec_keyset keys;
	uint32_t now_s;
};

static void count_faults(kr_rrset_validation_ctx_t *err_ctx, const knot_rdataset_t *sigs,
	uint32_t faults, int result)
{
	if (!err_ctx)
		return;
	*err_ctx = (kr_rrset_validation_ctx_t){
		.result = result,
		.rrs_counters =
			{
				.matching_name_type = sigs ? sigs->count : 0,
				.expired = !!(faults & DNSSEC_FAULT_EXPIRED),
				.notyet = !!(faults & DNSSEC_FAULT_NOT_YET),
				.signer_invalid = !!(faults & DNSSEC_FAULT_SIGNER),
				.labels_invalid = !!(faults & DNSSEC_FAULT_LABELS),
				.key_invalid = !!(
					faults & (DNSSEC_FAULT_NO_KEY | DNSSEC_FAULT_KEY_BIT |
							 DNSSEC_FAULT_REVOKED | DNSSEC_FAULT_KEY |
							 DNSSEC_FAULT_DIGEST)),
				.crypto_invalid = !!(faults & DNSSEC_FAULT_CRYPTO),
			},
	};
}

static struct dnssec_allowance no_limits(void)
{
	return (struct dnssec_allowance){
		UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX};
}

struct kr_svldr_ctx *kr_svldr_new_ctx(const knot_rrset_t *ds, knot_rrset_t *dnskey,
	const knot_rdataset_t *dnskey_sigs, uint32_t timestamp, kr_rrset_validation_ctx_t *err_ctx)
{
	struct dnssec_verdict verdict = {0};
	int ret = kr_error(EINVAL);
	struct kr_svldr_ctx *ctx = calloc(1, sizeof(*ctx));
	if (!ctx || !ds || !dnskey)
		goto failed;
	ctx->now_s = timestamp;
	ctx->dnskey = knot_rrset_copy(dnskey, NULL);
	if (!ctx->dnskey)
		goto failed;
	knot_dname_to_lower(ctx->dnskey->owner);
	ret = dnssec_keyset_init(&ctx->keys, ctx->dnskey);
	if (ret != 0)
		goto failed;
	struct dnssec_allowance left = no_limits();
	const struct dnssec_env env = {.now_s = timestamp, .left = &left};
	ret = dnssec_keyset_verify(&ctx->keys, dnskey_sigs, ds, &env, &verdict);
	if (ret != 0)
		goto failed;
	dnskey->ttl = KR_MIN(dnskey->ttl, verdict.ttl_s);
	count_faults(err_ctx, dnskey_sigs, 0, kr_ok());
	return ctx;
failed:
	count_faults(err_ctx, dnskey_sigs, verdict.faults, ret);
	kr_svldr_free_ctx(ctx);
	return NULL;
}

int kr_svldr_rrset(knot_rrset_t *rrs, const knot_rdataset_t *rrsigs, struct kr_svldr_ctx *ctx)
{
	if (!rrs || !ctx)
		return kr_error(EINVAL);
	struct dnssec_allowance left = no_limits();
	const struct dnssec_env env = {.now_s = ctx->now_s, .left = &left};
	struct dnssec_verdict verdict;
	int ret = dnssec_rrset_verify(rrs, rrsigs, &ctx->keys, &env, &verdict);
	if (ret != 0)
		return ret;
	if (verdict.is_expanded) /* a zone file holds wildcards themselves */
		return kr_error(EBADMSG);
	rrs->ttl = KR_MIN(rrs->ttl, verdict.ttl_s);
	return kr_ok();
}

void kr_svldr_free_ctx(struct kr_svldr_ctx *ctx)
{
	if (!ctx)
		return;
	dnssec_keyset_deinit(&ctx->keys);
	knot_rrset_free(ctx->dnskey, NULL);
	free(ctx);
}
