/* SPDX-License-Identifier: GPL-3.0-or-later */

#include "lib/dnssec/signature.h"

#include <string.h>
#include <libknot/descriptor.h>
#include <libknot/rrtype/ds.h>
#include <libknot/rrtype/rrsig.h>
#include <libknot/wire.h>

#include "lib/dnssec/canon.h"

#define RRSIG_FIXED 18
#define DNSKEY_PROTOCOL 3 /* RFC 4034 section 2.1.2 */

/** One RRset being judged. */
struct trial {
	const knot_rrset_t *rr;
	struct dnssec_keyset *keys;
	const struct dnssec_key *only; /**< this key must have made the signature; NULL = any */
	bool is_farewell; /**< a revoked key may have made it: it speaks of itself only */
	const struct dnssec_env *env;
	struct dnssec_verdict *verdict;
	unsigned tried; /**< RRSIGs that cost anything (B-18) */
};

/** a is later than b (RFC 1982). */
static bool is_later(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b) > 0;
}

const knot_dname_t *dnssec_rrsig_signer(const knot_rdata_t *sig)
{
	if (sig->len <= RRSIG_FIXED)
		return NULL;
	const uint8_t *name = sig->data + RRSIG_FIXED;
	const uint8_t *end = sig->data + sig->len;
	int len = knot_dname_wire_check(name, end, NULL);
	return len > 0 && name + len < end ? name : NULL;
}

/** Labels as RRSIG counts them: without the root and a leading asterisk (RFC 4034 section 3.1.3).
 */
static unsigned signed_labels(const knot_dname_t *owner)
{
	return knot_dname_labels(owner, NULL) - (knot_dname_is_wildcard(owner) ? 1 : 0);
}

/** Records that exist once a zone or name, and proofs, never come from a wildcard. */
static bool may_be_expanded(uint16_t type)
{
	switch (type) {
	case KNOT_RRTYPE_SOA:
	case KNOT_RRTYPE_DNSKEY:
	case KNOT_RRTYPE_DS:
	case KNOT_RRTYPE_NSEC:
	case KNOT_RRTYPE_NSEC3:
	case KNOT_RRTYPE_NSEC3PARAM:
		return false;
	default:
		return true;
	}
}

/** Everything that needs no key. @return faults */
static uint32_t check_fields(const struct trial *trial, const knot_rdata_t *sig)
{
	const knot_dname_t *owner = trial->rr->owner;
	const knot_dname_t *zone = trial->keys->rrset->owner;
	const knot_dname_t *signer = dnssec_rrsig_signer(sig);
	if (!signer)
		return DNSSEC_FAULT_MALFORMED;
	if (!knot_dname_is_case_equal(signer, zone))
		return DNSSEC_FAULT_SIGNER;
	const unsigned labels = knot_rrsig_labels(sig);
	const unsigned have = signed_labels(owner);
	if (labels > have || labels < knot_dname_labels(zone, NULL) ||
		(labels < have && !may_be_expanded(trial->rr->type)))
		return DNSSEC_FAULT_LABELS;
	const uint32_t now = trial->env->now_s;
	const uint32_t until = knot_rrsig_sig_expiration(sig);
	const uint32_t since = knot_rrsig_sig_inception(sig);
	if (is_later(now, until) || is_later(since, until))
		return DNSSEC_FAULT_EXPIRED;
	if (is_later(since, now + DNSSEC_INCEPTION_SKEW_S))
		return DNSSEC_FAULT_NOT_YET;
	if (!dnssec_alg_is_supported(knot_rrsig_alg(sig)))
		return DNSSEC_FAULT_UNSUPPORTED;
	return 0;
}

/** Why a key may not be used, though tag and algorithm fit. @return faults */
static uint32_t check_key(const struct trial *trial, const struct dnssec_key *key)
{
	if (!(key->flags & DNSSEC_FLAG_ZONE) || key->protocol != DNSKEY_PROTOCOL)
		return DNSSEC_FAULT_KEY_BIT;
	if ((key->flags & DNSSEC_FLAG_REVOKE) && !trial->is_farewell)
		return DNSSEC_FAULT_REVOKED;
	return 0;
}

static bool may_check(const struct dnssec_allowance *left, uint32_t price)
{
	return left->checks > 0 && left->units >= price && left->fails > 0 && left->fail_units > 0;
}

static void pay(struct dnssec_allowance *left, uint32_t price, bool is_good)
{
	left->checks -= 1;
	left->units -= price;
	if (is_good)
		return;
	left->fails -= 1;
	left->fail_units -= KR_MIN(left->fail_units, price);
}

/** @return 1 known good; 0 known bad; < 0 unknown. `id` is filled in. */
static int recall(const struct dnssec_memory *memory, uint8_t id[DNSSEC_SHA256_LEN])
{
	for (size_t i = 0; i < memory->memos.len; ++i) {
		const struct dnssec_memo *memo = &memory->memos.at[i];
		if (memcmp(memo->id, id, DNSSEC_SHA256_LEN) == 0)
			return memo->is_good;
	}
	return kr_error(ENOENT);
}

/** Identity of a check: hash of hashes, so that no two inputs can be mistaken for each other. */
static int identify(uint8_t id[DNSSEC_SHA256_LEN], const struct dnssec_key *key,
	const knot_rdata_t *sig, const uint8_t *data, size_t len)
{
	uint8_t parts[2 * DNSSEC_SHA256_LEN];
	int ret = dnssec_sha256(parts, key->rdata->data, key->rdata->len, NULL, 0);
	if (ret == 0)
		ret = dnssec_sha256(parts + DNSSEC_SHA256_LEN, data, len, NULL, 0);
	if (ret == 0)
		ret = dnssec_sha256(id, parts, sizeof(parts), sig->data, sig->len);
	return ret;
}

/** One signature, one key: the step that costs. @return 0, EBADMSG, EDQUOT */
static int check_signature(struct trial *trial, struct dnssec_key *key, const knot_rdata_t *sig,
	const uint8_t *data, size_t len)
{
	struct dnssec_memory *memory = trial->env->memory;
	struct dnssec_memo memo;
	const bool remembers = memory && identify(memo.id, key, sig, data, len) == 0;
	const int known = remembers ? recall(memory, memo.id) : -1;
	if (known >= 0) {
		if (!known)
			trial->verdict->faults |= DNSSEC_FAULT_CRYPTO;
		return known ? kr_ok() : kr_error(EBADMSG);
	}
	const uint32_t price = dnssec_alg_price(key->alg);
	if (!may_check(trial->env->left, price)) {
		trial->verdict->faults |= DNSSEC_FAULT_LIMIT;
		return kr_error(EDQUOT);
	}
	const uint8_t *mark = knot_rrsig_signature(sig);
	const size_t mark_len = knot_rrsig_signature_len(sig);
	int ret = dnssec_key_parse(key);
	if (ret == kr_error(ENOTSUP)) {
		trial->verdict->faults |= DNSSEC_FAULT_UNSUPPORTED;
		return kr_error(EBADMSG); /* costs nothing */
	}
	if (ret != 0) {
		trial->verdict->faults |= DNSSEC_FAULT_KEY;
	} else {
		ret = dnssec_pubkey_verify(key->pub, data, len, mark, mark_len);
		if (ret != 0)
			trial->verdict->faults |= DNSSEC_FAULT_CRYPTO;
	}
	pay(trial->env->left, price, ret == 0);
	if (remembers) {
		memo.is_good = ret == 0;
		(void)array_push_mm(memory->memos, memo, memory->mm); /* no room: forget it */
	}
	return ret == 0 ? kr_ok() : kr_error(EBADMSG);
}

static void note_success(struct trial *trial, const knot_rdata_t *sig)
{
	struct dnssec_verdict *verdict = trial->verdict;
	const uint32_t left = knot_rrsig_sig_expiration(sig) - trial->env->now_s;
	verdict->faults = 0;
	verdict->tag = knot_rrsig_key_tag(sig);
	verdict->alg = knot_rrsig_alg(sig);
	verdict->labels = knot_rrsig_labels(sig);
	verdict->is_expanded = verdict->labels < signed_labels(trial->rr->owner);
	verdict->ttl_s = KR_MIN(knot_rrsig_original_ttl(sig), left);
}

/**
 * Keys that may have made a signature, those that did make one before first: among keys of one tag
 * they save failures. @return number, at most KR_KEYTAG_KEYS_MAX
 */
static unsigned find_keys(struct trial *trial, const knot_rdata_t *sig, struct dnssec_key **found)
{
	struct dnssec_verdict *verdict = trial->verdict;
	unsigned count = 0;
	bool is_known = false;
	for (uint16_t i = 0; i < trial->keys->count; ++i) {
		struct dnssec_key *key = &trial->keys->keys[i];
		if (key->tag != knot_rrsig_key_tag(sig) || key->alg != knot_rrsig_alg(sig) ||
			(trial->only && trial->only != key))
			continue;
		is_known = true;
		const uint32_t faults = check_key(trial, key);
		verdict->faults |= faults;
		if (faults)
			continue;
		if (count == KR_KEYTAG_KEYS_MAX) {
			verdict->faults |= DNSSEC_FAULT_LIMIT;
			break;
		}
		found[count] = key;
		if (key->has_signed) {
			found[count] = found[0];
			found[0] = key;
		}
		count += 1;
	}
	if (!is_known && !trial->only)
		verdict->faults |= DNSSEC_FAULT_NO_KEY;
	if (is_known) {
		verdict->tag = knot_rrsig_key_tag(sig);
		verdict->alg = knot_rrsig_alg(sig);
	}
	return count;
}

/** Try the keys that one RRSIG may have been made with. @return 0, EBADMSG, EDQUOT, ENOMEM */
static int try_rrsig(struct trial *trial, const knot_rdata_t *sig)
{
	struct dnssec_verdict *verdict = trial->verdict;
	struct dnssec_key *keys[KR_KEYTAG_KEYS_MAX];
	const uint32_t faults = check_fields(trial, sig);
	verdict->faults |= faults;
	const unsigned count = faults ? 0 : find_keys(trial, sig, keys);
	if (count == 0)
		return kr_error(EBADMSG);
	if (trial->tried == KR_RRSIG_TRIED_MAX) {
		verdict->faults |= DNSSEC_FAULT_LIMIT;
		return kr_error(EBADMSG);
	}
	trial->tried += 1;
	uint8_t *data = NULL;
	const ssize_t len = dnssec_signed_data(&data, trial->rr, sig);
	if (len < 0) {
		verdict->faults |= DNSSEC_FAULT_MALFORMED;
		return len == kr_error(ENOMEM) ? len : kr_error(EBADMSG);
	}
	int ret = kr_error(EBADMSG);
	for (unsigned i = 0; i < count && ret == kr_error(EBADMSG); ++i) {
		ret = check_signature(trial, keys[i], sig, data, len);
		keys[i]->has_signed = keys[i]->has_signed || ret == 0;
	}
	free(data);
	if (ret == 0)
		note_success(trial, sig);
	return ret;
}

static int try_all(struct trial *trial, const knot_rdataset_t *sigs)
{
	unsigned seen = 0;
	const knot_rdata_t *sig = sigs ? sigs->rdata : NULL;
	const uint16_t count = sigs ? sigs->count : 0;
	for (uint16_t i = 0; i < count; ++i, sig = knot_rdataset_next((knot_rdata_t *)sig)) {
		if (sig->len <= RRSIG_FIXED || knot_rrsig_type_covered(sig) != trial->rr->type)
			continue;
		if (++seen > KR_RRSIG_KEPT_MAX) {
			trial->verdict->faults |= DNSSEC_FAULT_LIMIT;
			break;
		}
		int ret = try_rrsig(trial, sig);
		if (ret != kr_error(EBADMSG))
			return ret;
	}
	if (seen == 0)
		trial->verdict->faults |= DNSSEC_FAULT_NO_RRSIG;
	return kr_error(EBADMSG);
}

int dnssec_rrset_verify(const knot_rrset_t *rr, const knot_rdataset_t *sigs,
	struct dnssec_keyset *keys, const struct dnssec_env *env, struct dnssec_verdict *verdict)
{
	*verdict = (struct dnssec_verdict){0};
	if (knot_dname_in_bailiwick(rr->owner, keys->rrset->owner) < 0) {
		verdict->faults = DNSSEC_FAULT_SIGNER;
		return kr_error(EBADMSG);
	}
	struct trial trial = {.rr = rr, .keys = keys, .env = env, .verdict = verdict};
	return try_all(&trial, sigs);
}

/** What was found while going through the DS set. */
struct anchoring {
	unsigned usable;      /**< DS of supported algorithm and digest */
	unsigned unsupported; /**< ... whose key turned out to be beyond our limits (A-28) */
	unsigned mismatches;  /**< digests that did not fit (B-19) */
};

/** Try the keys that a DS may speak of. @return as try_all() */
static int try_ds(struct trial *trial, const knot_rdataset_t *sigs, const knot_rdata_t *ds,
	struct anchoring *found)
{
	struct dnssec_verdict *verdict = trial->verdict;
	for (uint16_t i = 0; i < trial->keys->count; ++i) {
		struct dnssec_key *key = &trial->keys->keys[i];
		if (key->tag != knot_ds_key_tag(ds) || key->alg != knot_ds_alg(ds))
			continue;
		if (found->mismatches == KR_DS_MISMATCH_MAX) {
			verdict->faults |= DNSSEC_FAULT_LIMIT;
			break;
		}
		if (dnssec_ds_matches(ds, trial->keys->rrset->owner, key->rdata) != 0) {
			found->mismatches += 1;
			verdict->faults |= DNSSEC_FAULT_DIGEST;
			continue;
		}
		verdict->tag = key->tag;
		verdict->alg = key->alg;
		const uint32_t faults = check_key(trial, key);
		verdict->faults |= faults;
		if (faults)
			continue;
		if (dnssec_key_parse(key) == kr_error(ENOTSUP)) {
			found->unsupported += 1;
			return kr_error(EBADMSG);
		}
		trial->only = key;
		int ret = try_all(trial, sigs);
		if (ret != kr_error(EBADMSG))
			return ret;
	}
	return kr_error(EBADMSG);
}

int dnssec_keyset_verify(struct dnssec_keyset *keys, const knot_rdataset_t *sigs,
	const knot_rrset_t *ds, const struct dnssec_env *env, struct dnssec_verdict *verdict)
{
	*verdict = (struct dnssec_verdict){0};
	struct trial trial = {.rr = keys->rrset, .keys = keys, .env = env, .verdict = verdict};
	struct anchoring found = {0};
	const knot_rdata_t *rd = ds->rrs.rdata;
	for (uint16_t i = 0; i < ds->rrs.count; ++i, rd = knot_rdataset_next((knot_rdata_t *)rd)) {
		if (!dnssec_ds_is_usable(&ds->rrs, rd))
			continue;
		if (found.usable == KR_DS_MAX) {
			verdict->faults |= DNSSEC_FAULT_LIMIT;
			break;
		}
		found.usable += 1;
		int ret = try_ds(&trial, sigs, rd, &found);
		if (ret != kr_error(EBADMSG))
			return ret;
	}
	if (found.usable == found.unsupported) {
		verdict->faults |= DNSSEC_FAULT_UNSUPPORTED;
		return kr_error(ENOTSUP);
	}
	if (verdict->faults == 0)
		verdict->faults = DNSSEC_FAULT_NO_KEY;
	return kr_error(EBADMSG);
}

int dnssec_revocation_verify(struct dnssec_keyset *keys, const struct dnssec_key *key,
	const knot_rdataset_t *sigs, const struct dnssec_env *env, struct dnssec_verdict *verdict)
{
	*verdict = (struct dnssec_verdict){0};
	if (!(key->flags & DNSSEC_FLAG_REVOKE))
		return kr_error(EINVAL);
	struct trial trial = {.rr = keys->rrset,
		.keys = keys,
		.only = key,
		.is_farewell = true,
		.env = env,
		.verdict = verdict};
	return try_all(&trial, sigs);
}
