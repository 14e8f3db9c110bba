/* SPDX-License-Identifier: GPL-3.0-or-later */

#include "lib/dnssec/ta.h"

#include <string.h>
#include <libdnssec/key.h>
#include <libknot/descriptor.h>
#include <libknot/wire.h>

#include "lib/resolve.h"
#include "lib/dnssec/canon.h"
#include "lib/dnssec/key.h"
#include "lib/dnssec/signature.h"
#include "lib/dnssec/verify.h"

#define DS_FIXED 4 /* octets before the digest, as before the key in DNSKEY */
#define DNSKEY_PROTOCOL 3

knot_rrset_t *kr_ta_get(trie_t *trust_anchors, const knot_dname_t *name)
{
	if (!trust_anchors || !name)
		return NULL;
	trie_val_t *val = trie_get_try(trust_anchors, (const char *)name, knot_dname_size(name));
	return val ? *val : NULL;
}

/** DS rdata of a key. @return length or an error */
static int ds_from_key(uint8_t ds[DS_FIXED + DNSSEC_HASH_LEN_MAX], const knot_dname_t *name,
	const uint8_t *rdata, uint16_t rdlen)
{
	if (rdlen <= DS_FIXED || !kr_dnssec_key_zsk(rdata) || rdata[2] != DNSKEY_PROTOCOL)
		return kr_error(EINVAL);
	int tag = kr_dnssec_key_tag(KNOT_RRTYPE_DNSKEY, rdata, rdlen);
	if (tag < 0)
		return tag;
	struct dnssec_pubkey *pub = NULL; /* one cut short is found out now, not by every answer */
	int ret = dnssec_pubkey_new(&pub, NULL, rdata[3], rdata + DS_FIXED, rdlen - DS_FIXED);
	dnssec_pubkey_free(pub);
	if (ret != 0 && ret != kr_error(ENOTSUP))
		return ret;
	knot_wire_write_u16(ds, tag);
	ds[2] = rdata[3];
	ds[3] = DNSSEC_KEY_DIGEST_SHA256;
	int len = dnssec_key_digest(ds + DS_FIXED, DNSSEC_KEY_DIGEST_SHA256, name, rdata, rdlen);
	return len < 0 ? len : len + DS_FIXED;
}

/** The set of a name, made if it is not there. */
static knot_rrset_t *ensure_set(trie_t *trust_anchors, const knot_dname_t *name, uint32_t ttl)
{
	trie_val_t *val = trie_get_ins(trust_anchors, (const char *)name, knot_dname_size(name));
	if (!val)
		return NULL;
	if (*val)
		return *val;
	*val = knot_rrset_new(name, KNOT_RRTYPE_DS, KNOT_CLASS_IN, ttl, NULL);
	if (!*val)
		trie_del(trust_anchors, (const char *)name, knot_dname_size(name), NULL);
	return *val;
}

int kr_ta_add(trie_t *trust_anchors, const knot_dname_t *name, uint16_t type, uint32_t ttl,
	const uint8_t *rdata, uint16_t rdlen)
{
	uint8_t ds[DS_FIXED + DNSSEC_HASH_LEN_MAX];
	if (!trust_anchors || !name || (rdlen > 0 && !rdata))
		return kr_error(EINVAL);
	if (type == KNOT_RRTYPE_DNSKEY) {
		int len = ds_from_key(ds, name, rdata, rdlen);
		if (len < 0)
			return kr_error(EINVAL);
		rdata = ds;
		rdlen = len;
	} else if (type != KNOT_RRTYPE_DS || (rdlen > 0 && rdlen <= DS_FIXED)) {
		return kr_error(EINVAL);
	}
	knot_rrset_t *set = ensure_set(trust_anchors, name, ttl);
	if (!set)
		return kr_error(ENOMEM);
	if (rdlen == 0)
		return kr_ok();
	return knot_rrset_add_rdata(set, rdata, rdlen, NULL) == KNOT_EOK ? kr_ok()
									 : kr_error(ENOMEM);
}

int kr_ta_del(trie_t *trust_anchors, const knot_dname_t *name)
{
	trie_val_t val = NULL;
	if (trust_anchors && name &&
		trie_del(trust_anchors, (const char *)name, knot_dname_size(name), &val) == 0)
		knot_rrset_free(val, NULL);
	return kr_ok();
}

static int free_set(trie_val_t *val, void *data)
{
	knot_rrset_free(*val, NULL);
	return kr_ok();
}

int kr_ta_clear(trie_t *trust_anchors)
{
	if (trust_anchors) {
		trie_apply(trust_anchors, free_set, NULL);
		trie_clear(trust_anchors);
	}
	return kr_ok();
}

/** As mostly: the root has an anchor and nothing else has any. */
static bool is_root_only(const struct kr_context *ctx)
{
	return trie_weight(ctx->trust_anchors) == 1 &&
	       (!ctx->negative_anchors || trie_weight(ctx->negative_anchors) == 0) &&
	       kr_ta_get(ctx->trust_anchors, (const uint8_t *)"");
}

const knot_dname_t *kr_ta_closest(
	const struct kr_context *ctx, const knot_dname_t *name, uint16_t type)
{
	if (!ctx || !name || !ctx->trust_anchors || trie_weight(ctx->trust_anchors) == 0)
		return NULL;
	if (is_root_only(ctx))
		return name + knot_dname_size(name) - 1;
	if (type == KNOT_RRTYPE_DS && name[0] != '\0')
		name = dnssec_parent_name(name);
	for (;; name = dnssec_parent_name(name)) {
		if (kr_ta_get(ctx->negative_anchors, name))
			return NULL;
		if (kr_ta_get(ctx->trust_anchors, name))
			return name;
		if (name[0] == '\0')
			return NULL;
	}
}

/* ---- RFC 5011 ---- */

/** Copies of rdata with its length in front; at most what fits a message. */
static knot_rdata_t *make_rdata(const uint8_t *data, size_t len)
{
	if (!data || len > UINT16_MAX)
		return NULL;
	knot_rdata_t *rd = malloc(knot_rdata_size(len));
	if (rd)
		knot_rdata_init(rd, len, data);
	return rd;
}

int kr_ta_ds_matches(const knot_dname_t *owner, const uint8_t *ds, size_t ds_len,
	const uint8_t *key, size_t key_len)
{
	if (!owner || !ds || !key || ds_len <= DS_FIXED || key_len <= DS_FIXED)
		return kr_error(EINVAL);
	knot_rdata_t *ds_rdata = make_rdata(ds, ds_len);
	knot_rdata_t *key_rdata = make_rdata(key, key_len);
	int ret = ds_rdata && key_rdata ? kr_ok() : kr_error(ENOMEM);
	if (ret == 0) {
		key_rdata->data[1] &= ~DNSSEC_FLAG_REVOKE;
		ret = ds[2] == key[3] ? dnssec_ds_matches(ds_rdata, owner, key_rdata) : 1;
	}
	free(ds_rdata);
	free(key_rdata);
	return ret;
}

/** The records of a name and type in ANSWER as one set. */
static int collect(
	knot_rrset_t *set, const knot_pkt_t *pkt, const knot_dname_t *owner, uint16_t type)
{
	const knot_pktsection_t *answer = knot_pkt_section(pkt, KNOT_ANSWER);
	knot_rrset_init(set, NULL, type, KNOT_CLASS_IN, 0);
	set->owner = knot_dname_copy(owner, NULL);
	if (!set->owner)
		return kr_error(ENOMEM);
	for (unsigned i = 0; i < answer->count; ++i) {
		const knot_rrset_t *rr = knot_pkt_rr(answer, i);
		if (rr->type != type || !knot_dname_is_case_equal(rr->owner, owner))
			continue;
		if (knot_rdataset_merge(&set->rrs, &rr->rrs, NULL) != KNOT_EOK)
			return kr_error(ENOMEM);
	}
	return set->rrs.count > 0 ? kr_ok() : kr_error(ENOENT);
}

int kr_ta_is_revoked(const knot_pkt_t *pkt, const knot_dname_t *zone, const uint8_t *key,
	size_t key_len, uint32_t now_s)
{
	if (!pkt || !zone || !key)
		return kr_error(EINVAL);
	knot_rrset_t set = {0}, sigs = {0};
	struct dnssec_keyset keys = {0};
	int ret = collect(&set, pkt, zone, KNOT_RRTYPE_DNSKEY);
	if (ret == 0)
		ret = collect(&sigs, pkt, zone, KNOT_RRTYPE_RRSIG);
	if (ret == 0)
		ret = dnssec_keyset_init(&keys, &set);
	const struct dnssec_key *found = NULL;
	for (uint16_t i = 0; ret == 0 && i < keys.count; ++i) {
		const knot_rdata_t *rd = keys.keys[i].rdata;
		if (rd->len == key_len && memcmp(rd->data, key, key_len) == 0)
			found = &keys.keys[i];
	}
	if (ret == 0 && (!found || !kr_dnssec_key_revoked(key)))
		ret = kr_error(ENOENT);
	if (ret == 0) {
		struct dnssec_allowance left = {.checks = KR_RRSIG_TRIED_MAX,
			.units = UINT32_MAX,
			.fails = KR_RRSIG_TRIED_MAX,
			.fail_units = UINT32_MAX};
		const struct dnssec_env env = {.now_s = now_s, .left = &left};
		struct dnssec_verdict verdict;
		ret = dnssec_revocation_verify(&keys, found, &sigs.rrs, &env, &verdict);
		ret = ret == kr_error(EDQUOT) ? kr_error(EBADMSG) : ret;
	}
	dnssec_keyset_deinit(&keys);
	knot_rrset_clear(&set, NULL);
	knot_rrset_clear(&sigs, NULL);
	return ret;
}
