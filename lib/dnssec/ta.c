/* SPDX-License-Identifier: GPL-3.0-or-later */

#include "lib/dnssec/ta.h"

#include <string.h>
#include <libdnssec/key.h>
#include <libknot/descriptor.h>
#include <libknot/wire.h>

#include "lib/resolve.h"
#include "lib/dnssec/canon.h"
#include "lib/dnssec/key.h"
#include "lib/dnssec/verify.h"

#define DS_FIXED 4
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

const knot_dname_t *kr_ta_closest(
	const struct kr_context *ctx, const knot_dname_t *name, uint16_t type)
{
	if (!ctx || !name || !ctx->trust_anchors || trie_weight(ctx->trust_anchors) == 0)
		return NULL;
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
