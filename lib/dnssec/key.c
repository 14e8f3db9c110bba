/* SPDX-License-Identifier: GPL-3.0-or-later */

#include "lib/dnssec/key.h"

#include <string.h>
#include <gnutls/crypto.h>
#include <libdnssec/key.h>
#include <libknot/descriptor.h>
#include <libknot/rrtype/ds.h>
#include <libknot/wire.h>

#include "lib/dnssec/verify.h"

#define DNSKEY_FIXED 4 /* flags, protocol, algorithm */
#define DS_FIXED 4     /* key tag, algorithm, digest type */

bool kr_dnssec_key_zsk(const uint8_t *rdata)
{
	const uint16_t flags = knot_wire_read_u16(rdata);
	return (flags & DNSSEC_FLAG_ZONE) && !(flags & DNSSEC_FLAG_REVOKE);
}

bool kr_dnssec_key_ksk(const uint8_t *rdata)
{
	return kr_dnssec_key_zsk(rdata) && (knot_wire_read_u16(rdata) & DNSSEC_FLAG_SEP);
}

bool kr_dnssec_key_revoked(const uint8_t *rdata)
{
	return knot_wire_read_u16(rdata) & DNSSEC_FLAG_REVOKE;
}

/** RFC 4034 appendix B; RSA/MD5 keys (B.1) are never used. */
static uint16_t tag_of(const uint8_t *rdata, size_t len)
{
	uint32_t sum = 0;
	for (size_t i = 0; i < len; ++i)
		sum += i & 1 ? rdata[i] : (uint32_t)rdata[i] << 8;
	return sum + (sum >> 16);
}

int kr_dnssec_key_tag(uint16_t rrtype, const uint8_t *rdata, size_t len)
{
	if (!rdata || len < 4 || len > UINT16_MAX)
		return kr_error(EINVAL);
	if (rrtype == KNOT_RRTYPE_DS || rrtype == KNOT_RRTYPE_CDS)
		return knot_wire_read_u16(rdata);
	if (rrtype == KNOT_RRTYPE_DNSKEY || rrtype == KNOT_RRTYPE_CDNSKEY)
		return tag_of(rdata, len);
	return kr_error(EINVAL);
}

int kr_dnssec_key_match(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len)
{
	if (!a || !b || a_len < DNSKEY_FIXED || b_len < DNSKEY_FIXED)
		return kr_error(EINVAL);
	/* Flags change when a key is revoked; the key does not. */
	return a_len == b_len && memcmp(a + 2, b + 2, a_len - 2) == 0 ? 0 : 1;
}

static bool ds_is_supported(const knot_rdata_t *ds)
{
	return ds->len > DS_FIXED && dnssec_alg_is_supported(knot_ds_alg(ds)) &&
	       dnssec_digest_is_supported(knot_ds_digest_type(ds));
}

bool kr_ds_algo_support(const knot_rrset_t *ds)
{
	if (!ds || ds->type != KNOT_RRTYPE_DS)
		return false;
	const knot_rdata_t *rd = ds->rrs.rdata;
	for (uint16_t i = 0; i < ds->rrs.count; ++i, rd = knot_rdataset_next((knot_rdata_t *)rd)) {
		if (ds_is_supported(rd))
			return true;
	}
	return false;
}

bool dnssec_ds_is_usable(const knot_rdataset_t *set, const knot_rdata_t *ds)
{
	if (!ds_is_supported(ds))
		return false;
	if (knot_ds_digest_type(ds) != DNSSEC_KEY_DIGEST_SHA1)
		return true;
	const knot_rdata_t *rd = set->rdata;
	for (uint16_t i = 0; i < set->count; ++i, rd = knot_rdataset_next((knot_rdata_t *)rd)) {
		if (ds_is_supported(rd) && knot_ds_digest_type(rd) != DNSSEC_KEY_DIGEST_SHA1)
			return false;
	}
	return true;
}

int dnssec_key_digest(
	uint8_t *digest, uint8_t type, const knot_dname_t *owner, const uint8_t *rdata, size_t len)
{
	gnutls_digest_algorithm_t alg;
	switch (type) {
	case DNSSEC_KEY_DIGEST_SHA1:
		alg = GNUTLS_DIG_SHA1;
		break;
	case DNSSEC_KEY_DIGEST_SHA256:
		alg = GNUTLS_DIG_SHA256;
		break;
	case DNSSEC_KEY_DIGEST_SHA384:
		alg = GNUTLS_DIG_SHA384;
		break;
	default:
		return kr_error(ENOTSUP);
	}
	if (len < DNSKEY_FIXED)
		return kr_error(EINVAL);
	knot_dname_storage_t name;
	const size_t name_len = knot_dname_store(name, owner);
	if (name_len == 0)
		return kr_error(EINVAL);
	knot_dname_to_lower(name);
	gnutls_hash_hd_t hash;
	if (gnutls_hash_init(&hash, alg) != 0)
		return kr_error(ENOTSUP);
	int ret = gnutls_hash(hash, name, name_len);
	if (ret == 0)
		ret = gnutls_hash(hash, rdata, len);
	gnutls_hash_deinit(hash, digest);
	return ret == 0 ? (int)gnutls_hash_get_len(alg) : kr_error(EINVAL);
}

int dnssec_ds_matches(const knot_rdata_t *ds, const knot_dname_t *owner, const knot_rdata_t *key)
{
	uint8_t digest[DNSSEC_HASH_LEN_MAX];
	if (ds->len <= DS_FIXED)
		return 1;
	int len = dnssec_key_digest(digest, knot_ds_digest_type(ds), owner, key->data, key->len);
	if (len < 0)
		return len;
	return ds->len - DS_FIXED == len && memcmp(ds->data + DS_FIXED, digest, len) == 0 ? 0 : 1;
}

int dnssec_keyset_init(struct dnssec_keyset *set, const knot_rrset_t *dnskey)
{
	*set = (struct dnssec_keyset){0};
	if (!dnskey || dnskey->type != KNOT_RRTYPE_DNSKEY || dnskey->rrs.count == 0)
		return kr_error(EINVAL);
	set->keys = calloc(dnskey->rrs.count, sizeof(*set->keys));
	if (!set->keys)
		return kr_error(ENOMEM);
	set->rrset = dnskey;
	const knot_rdata_t *rd = dnskey->rrs.rdata;
	for (uint16_t i = 0; i < dnskey->rrs.count;
		++i, rd = knot_rdataset_next((knot_rdata_t *)rd)) {
		if (rd->len <= DNSKEY_FIXED)
			continue; /* no key in it */
		set->keys[set->count++] = (struct dnssec_key){
			.rdata = rd,
			.flags = knot_wire_read_u16(rd->data),
			.tag = tag_of(rd->data, rd->len),
			.protocol = rd->data[2],
			.alg = rd->data[3],
		};
	}
	return kr_ok();
}

void dnssec_keyset_deinit(struct dnssec_keyset *set)
{
	for (uint16_t i = 0; i < set->count; ++i)
		dnssec_pubkey_free(set->keys[i].pub);
	free(set->keys);
	*set = (struct dnssec_keyset){0};
}

int dnssec_key_parse(struct dnssec_key *key)
{
	if (!key->is_parsed) {
		key->parse_result = dnssec_pubkey_new(&key->pub, NULL, key->alg,
			key->rdata->data + DNSKEY_FIXED, key->rdata->len - DNSKEY_FIXED);
		key->is_parsed = true;
	}
	return key->parse_result;
}
