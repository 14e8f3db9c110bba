/* SPDX-License-Identifier: GPL-3.0-or-later */

#include "lib/cache/chain.h"

#include <string.h>
#include <libknot/rrtype/nsec3.h>
#include <libknot/rrtype/rrsig.h>
#include <libknot/wire.h>

/** Algorithm, flags, iterations, length of salt: what NSEC3 and NSEC3PARAM begin with. */
#define PARAM_FIXED 5
/** What RRSIG begins with. */
#define RRSIG_FIXED 18
/** Base32hex digits of a hash. */
#define HASH_LABEL_LEN 32
/** Hashes of three names have to fit into what synthesis may cost, twice: to find and to prove. */
#define PRICE_MAX (KR_NSEC3_AGGR_BLOCKS / 6)

/* ---- parameters ---- */

uint32_t cache_nsec3param_hash(const struct cache_nsec3param *param)
{
	uint32_t hash = 2166136261u; /* FNV-1a */
	const uint8_t head[] = {param->iterations >> 8, param->iterations & 0xff, param->salt_len};
	for (size_t i = 0; i < sizeof(head); ++i)
		hash = (hash ^ head[i]) * 16777619u;
	for (size_t i = 0; i < param->salt_len; ++i)
		hash = (hash ^ param->salt[i]) * 16777619u;
	return hash;
}

/** Parameters at the beginning of NSEC3 or NSEC3PARAM rdata. @return false: not usable */
static bool read_param(struct cache_nsec3param *param, const uint8_t *data, size_t len)
{
	if (len < PARAM_FIXED || data[0] != KNOT_NSEC3_ALGORITHM_SHA1 ||
		(data[1] & ~KNOT_NSEC3_FLAG_OPT_OUT) != 0 || len < PARAM_FIXED + (size_t)data[4])
		return false;
	param->iterations = knot_wire_read_u16(data + 2);
	param->salt_len = data[4];
	memcpy(param->salt, data + PARAM_FIXED, param->salt_len);
	return dnssec_nsec3_price(param->iterations, param->salt_len) <= PRICE_MAX;
}

/** rdata of a set that stands for a chain in the ZONE entry. @param to 2 + PARAM_FIXED + 256 bytes
 */
static knot_rdataset_t write_param(uint8_t *to, const struct cache_nsec3param *param)
{
	const uint16_t len = PARAM_FIXED + param->salt_len;
	memcpy(to, &len, sizeof(len));
	to[2] = KNOT_NSEC3_ALGORITHM_SHA1;
	to[3] = 0;
	knot_wire_write_u16(to + 4, param->iterations);
	to[6] = param->salt_len;
	memcpy(to + 7, param->salt, param->salt_len);
	to[7 + param->salt_len] = 0; /* padding */
	return (knot_rdataset_t){
		.count = 1, .size = knot_rdata_size(len), .rdata = (knot_rdata_t *)to};
}

static bool is_same_chain(const struct cache_chain *a, const struct cache_chain *b)
{
	if (a->is_nsec3 != b->is_nsec3)
		return false;
	return !a->is_nsec3 ||
	       (a->param.iterations == b->param.iterations &&
		       a->param.salt_len == b->param.salt_len &&
		       memcmp(a->param.salt, b->param.salt, a->param.salt_len) == 0);
}

/** The chain a set of the ZONE entry stands for. */
static bool read_chain(struct cache_chain *chain, const struct cache_set *set)
{
	chain->is_nsec3 = set->type == KNOT_RRTYPE_NSEC3PARAM;
	if (!chain->is_nsec3)
		return set->type == KNOT_RRTYPE_NSEC;
	const uint8_t *raw = (const uint8_t *)set->data.rdata;
	uint16_t len;
	if (set->data.count != 1)
		return false;
	memcpy(&len, raw, sizeof(len));
	return read_param(&chain->param, raw + sizeof(len), len);
}

unsigned cache_chains(struct kr_cache *cache, const struct cache_name *enc, unsigned zone_labels,
	uint32_t now, struct cache_chain chains[CACHE_CHAINS_MAX])
{
	struct cache_key key;
	struct cache_entry entry;
	unsigned found = 0;
	cache_key_tag(&key, enc, zone_labels, CACHE_TAG_ZONE);
	if (cache_get(cache, &key, &entry) != 0)
		return 0;
	for (unsigned i = 0; i < entry.count && found < CACHE_CHAINS_MAX; ++i) {
		if (cache_ttl_left(entry.time, entry.sets[i].ttl, now) > 0 &&
			read_chain(&chains[found], &entry.sets[i]))
			found += 1;
	}
	return found;
}

/* ---- insertion ---- */

/** Chains of the present entry that live on beside the new one; their sets with TTLs from now on.
 */
static void keep_others(struct cache_entry *to, const struct cache_entry *old,
	const struct cache_chain *but, uint32_t now)
{
	for (unsigned i = 0; i < old->count && to->count < CACHE_CHAINS_MAX; ++i) {
		struct cache_chain chain;
		const int32_t left = cache_ttl_left(old->time, old->sets[i].ttl, now);
		if (left <= 0 || !read_chain(&chain, &old->sets[i]) || is_same_chain(&chain, but))
			continue;
		to->sets[to->count] = old->sets[i];
		to->sets[to->count].ttl = left;
		to->ttl = KR_MAX(to->ttl, (uint32_t)left);
		to->count += 1;
	}
}

static bool is_known(
	const struct cache_entry *zone, const struct cache_chain *chain, uint32_t ttl, uint32_t now)
{
	for (unsigned i = 0; i < zone->count; ++i) {
		struct cache_chain have;
		if (read_chain(&have, &zone->sets[i]) && is_same_chain(&have, chain))
			return cache_ttl_left(zone->time, zone->sets[i].ttl, now) >=
			       (int32_t)ttl / 2;
	}
	return false;
}

/** Note that the zone has this chain. It may be forgotten a little early: records outlive it,
 * unused. */
static int note_chain(struct kr_cache *cache, const struct cache_name *enc, unsigned zone_labels,
	const struct cache_chain *chain, uint32_t ttl, uint32_t now)
{
	struct cache_key key;
	struct cache_entry old;
	cache_key_tag(&key, enc, zone_labels, CACHE_TAG_ZONE);
	int ret = cache_get(cache, &key, &old);
	if (ret == 0 && is_known(&old, chain, ttl, now))
		return kr_ok();
	uint8_t raw[2 + PARAM_FIXED + 256];
	struct cache_entry entry = {
		.time = now,
		.ttl = ttl,
		.rank = KR_RANK_SECURE | KR_RANK_AUTH,
		.count = 1,
		.sets = {{.type = KNOT_RRTYPE_NSEC, .ttl = ttl}},
	};
	if (chain->is_nsec3) {
		entry.sets[0].type = KNOT_RRTYPE_NSEC3PARAM;
		entry.sets[0].data = write_param(raw, &chain->param);
	}
	if (ret == 0)
		keep_others(&entry, &old, chain, now);
	return cache_put(cache, &key, &entry);
}

/** Made for one question only ("black lies"): the next name is the least one below the owner. */
static bool is_minimal_nsec(const knot_rrset_t *rr)
{
	const uint8_t *next = rr->rrs.rdata->data;
	return next[0] == 1 && next[1] == 0 && knot_dname_is_case_equal(next + 2, rr->owner);
}

static int nsec_key(struct cache_key *key, struct cache_chain *chain, const struct cache_name *enc,
	const knot_rrset_t *rr, const knot_dname_t *zone, unsigned zone_labels)
{
	const knot_rdata_t *rd = rr->rrs.rdata;
	knot_dname_storage_t next;
	chain->is_nsec3 = false;
	if (knot_dname_wire_check(rd->data, rd->data + rd->len, NULL) <= 0)
		return kr_error(EINVAL);
	knot_dname_copy_lower(next, rd->data);
	if (knot_dname_in_bailiwick(next, zone) < 0 || is_minimal_nsec(rr))
		return kr_error(EINVAL);
	cache_key_nsec(key, enc, zone_labels);
	return kr_ok();
}

/** Digits of base32hex (RFC 4648 section 7) to bytes. @return false: no hash */
static bool decode_hash(uint8_t hash[CACHE_HASH_LEN], const uint8_t *text)
{
	uint32_t bits = 0;
	unsigned have = 0, at = 0;
	for (size_t i = 0; i < HASH_LABEL_LEN; ++i) {
		const uint8_t c = text[i] | 0x20;
		int digit = -1;
		if (text[i] >= '0' && text[i] <= '9')
			digit = text[i] - '0';
		else if (c >= 'a' && c <= 'v')
			digit = c - 'a' + 10;
		if (digit < 0)
			return false;
		bits = bits << 5 | digit;
		have += 5;
		if (have >= 8) {
			have -= 8;
			hash[at++] = bits >> have;
		}
	}
	return true;
}

/** Made for one question only ("white lies"): the span holds a single hash. */
static bool is_minimal_nsec3(const uint8_t *owner, const uint8_t *next)
{
	unsigned diff = 0;
	int borrow = 0;
	for (int i = CACHE_HASH_LEN - 1; i >= 0; --i) {
		int digit = next[i] - owner[i] - borrow;
		borrow = digit < 0;
		if (i < CACHE_HASH_LEN - 1 && (digit & 0xff) != 0)
			return false;
		diff += digit & 0xff;
	}
	return diff == 1 || diff == 2; /* 0: the only record of its chain spans all the rest */
}

static int nsec3_key(struct cache_key *key, struct cache_chain *chain, const struct cache_name *enc,
	const knot_rrset_t *rr, const knot_dname_t *zone, unsigned zone_labels)
{
	const knot_rdata_t *rd = rr->rrs.rdata;
	uint8_t hash[CACHE_HASH_LEN];
	chain->is_nsec3 = true;
	if (!read_param(&chain->param, rd->data, rd->len) || rr->owner[0] != HASH_LABEL_LEN ||
		!decode_hash(hash, rr->owner + 1) ||
		!knot_dname_is_case_equal(knot_wire_next_label(rr->owner, NULL), zone))
		return kr_error(EINVAL);
	const size_t next_at = PARAM_FIXED + chain->param.salt_len + 1;
	if (rd->len < next_at + CACHE_HASH_LEN || rd->data[next_at - 1] != CACHE_HASH_LEN ||
		is_minimal_nsec3(hash, rd->data + next_at))
		return kr_error(EINVAL);
	cache_key_nsec3(key, enc, zone_labels, cache_nsec3param_hash(&chain->param));
	return cache_key_append(key, hash, sizeof(hash));
}

/** Signed as it stands, not an expansion of a wildcard. */
static bool is_signed_at_owner(const knot_rrset_t *rr, const knot_rrset_t *rrsig)
{
	if (!rrsig || rrsig->rrs.count == 0 || rrsig->rrs.rdata->len <= RRSIG_FIXED)
		return false;
	const unsigned labels =
		knot_dname_labels(rr->owner, NULL) - knot_dname_is_wildcard(rr->owner);
	return knot_rrsig_labels(rrsig->rrs.rdata) == labels;
}

int cache_insert_proof(struct kr_cache *cache, const knot_rrset_t *rr, const knot_rrset_t *rrsig,
	const knot_dname_t *zone, uint32_t now)
{
	if (rr->rrs.count != 1 || knot_dname_in_bailiwick(rr->owner, zone) < 0 || rr->ttl == 0 ||
		!is_signed_at_owner(rr, rrsig))
		return 1;
	struct cache_name enc;
	struct cache_key key;
	struct cache_chain chain;
	const unsigned zone_labels = knot_dname_labels(zone, NULL);
	cache_name_init(&enc, rr->owner);
	int ret = rr->type == KNOT_RRTYPE_NSEC
			  ? nsec_key(&key, &chain, &enc, rr, zone, zone_labels)
			  : nsec3_key(&key, &chain, &enc, rr, zone, zone_labels);
	if (ret != 0)
		return 1;
	struct cache_entry entry = {
		.time = now,
		.rank = KR_RANK_SECURE | KR_RANK_AUTH,
		.count = 1,
		.sets = {cache_set_from(rr, rrsig)},
	};
	const uint32_t ttl =
		KR_MIN(cache_sigs_ttl(&entry.sets[0].sigs, now), KR_MIN(rr->ttl, KR_TTL_NEG_MAX_S));
	if (ttl == 0)
		return 1;
	entry.ttl = entry.sets[0].ttl = cache_clamp_ttl(cache, ttl);
	entry.sets[0].owner = rr->owner;
	ret = cache_put(cache, &key, &entry);
	return ret == 0 ? note_chain(cache, &enc, zone_labels, &chain, entry.ttl, now) : ret;
}

/* ---- proofs ---- */

int cache_proof_add(struct cache_proof *proof, const struct cache_entry *entry, uint16_t type)
{
	const struct cache_set *set = &entry->sets[0];
	if (proof->count >= CACHE_PROOF_MAX || entry->count != 1 || set->type != type ||
		!set->owner || !kr_rank_test(entry->rank, KR_RANK_SECURE) || set->sigs.count == 0)
		return kr_error(ENOENT);
	const int32_t left = cache_ttl_left(entry->time, entry->ttl, proof->now);
	if (left <= 0)
		return kr_error(ENOENT);
	for (int i = 0; i < proof->count; ++i) {
		if (knot_dname_is_equal(proof->rr[i].owner, set->owner))
			return i;
	}
	knot_rrset_t *rr = &proof->rr[proof->count], *sigs = &proof->sigs[proof->count];
	knot_dname_t *owner = knot_dname_copy(set->owner, proof->pool);
	knot_rrset_init(rr, owner, type, KNOT_CLASS_IN, left);
	knot_rrset_init(sigs, owner, KNOT_RRTYPE_RRSIG, KNOT_CLASS_IN, left);
	if (!owner || cache_rdata_copy(&rr->rrs, &set->data, proof->pool) != 0 ||
		cache_rdata_copy(&sigs->rrs, &set->sigs, proof->pool) != 0)
		return kr_error(ENOMEM);
	if ((uint32_t)left < proof->ttl_left) {
		proof->ttl_left = left;
		proof->ttl_orig = entry->ttl;
	}
	return proof->count++;
}

void cache_proof_fill(struct dnssec_proofs *to, struct cache_proof *from)
{
	*to = (struct dnssec_proofs){.zone = from->zone, .blocks_left = &from->blocks_left};
	for (int i = 0; i < from->count; ++i)
		dnssec_proofs_add(to, &from->rr[i]);
}
