/* SPDX-License-Identifier: GPL-3.0-or-later */

#include "lib/cache/peek.h"

#include <string.h>
#include <libknot/rrtype/rdname.h>
#include <libknot/wire.h>

#include "lib/cache/chain.h"
#include "lib/cache/usage.h"
#include "lib/rplan.h"

/** RRsets tried for ANY, most wanted first. */
static const uint16_t any_types[] = {KNOT_RRTYPE_A, KNOT_RRTYPE_AAAA, KNOT_RRTYPE_HTTPS,
	KNOT_RRTYPE_MX, KNOT_RRTYPE_TXT, KNOT_RRTYPE_NS, KNOT_RRTYPE_SOA};

/** One look-up in progress. */
struct peek {
	struct kr_cache *cache;
	const struct cache_question *q;
	struct cache_answer *answer;
	struct cache_name enc;
	struct cache_entry entry; /**< last one read */
	uint32_t ttl;             /**< what is left of it */
	uint8_t *rank;            /**< on the pool, shared by all sets */
	bool is_nothing_there;    /**< the name itself has no entry at all */
};

/* ---- judging entries ---- */

static bool is_expiring(uint32_t left, uint32_t orig)
{
	return left < 5 + orig / 100;
}

/** Time left, stale data included if the query may have them. @return <= 0: not to be used */
static int32_t usable_ttl(struct peek *peek, uint16_t type, bool *stale)
{
	const struct cache_question *q = peek->q;
	const int32_t left = cache_ttl_left(peek->entry.time, peek->entry.ttl, q->now);
	*stale = false;
	/* The chain of trust is not made of what is over (C-40). */
	const bool is_chain = type == KNOT_RRTYPE_DS || type == KNOT_RRTYPE_DNSKEY;
	if (left > 0 || left == INT32_MIN || is_chain || !q->qry || !q->qry->stale_cb)
		return left;
	*stale = true;
	return q->qry->stale_cb(left, q->name, type, q->qry);
}

/** Read an entry that may be used. @return 0 or kr_error(ENOENT) */
static int get(struct peek *peek, const struct cache_key *key, uint8_t min_rank)
{
	if (cache_get(peek->cache, key, &peek->entry) != 0 || peek->entry.rank < min_rank ||
		peek->entry.count == 0)
		return kr_error(ENOENT);
	bool stale;
	const int32_t ttl = usable_ttl(peek, peek->q->type, &stale);
	if (ttl < 0 || (ttl == 0 && !stale))
		return kr_error(ENOENT);
	cache_usage_touch(peek->cache->usage, key->data, key->len);
	struct cache_answer *answer = peek->answer;
	peek->ttl = ttl;
	answer->count = answer->answer_count = 0; /* each entry starts over */
	answer->is_negative = answer->is_wildcard = false;
	answer->rank = peek->entry.rank;
	answer->is_stale = stale;
	answer->is_expiring = !stale && is_expiring(ttl, peek->entry.ttl);
	answer->is_optout = peek->entry.flags & CACHE_FLAG_OPTOUT;
	if (stale && kr_rank_test(answer->rank, KR_RANK_SECURE)) /* C-40: no AD any more */
		kr_rank_set(&answer->rank, KR_RANK_INSECURE);
	return kr_ok();
}

/* ---- making answers ---- */

static int add_rr(struct peek *peek, const knot_rrset_t *rr)
{
	struct cache_answer *answer = peek->answer;
	if (answer->count >= CACHE_ANSWER_MAX)
		return kr_error(ENOSPC);
	if (!peek->rank) {
		peek->rank = mm_alloc(peek->q->pool, sizeof(*peek->rank));
		if (!peek->rank)
			return kr_error(ENOMEM);
	}
	*peek->rank = answer->rank;
	knot_rrset_t *to = &answer->rr[answer->count++];
	*to = *rr;
	to->additional = peek->rank;
	return kr_ok();
}

/** Add a set of an entry, and its signatures. */
static int add_set(
	struct peek *peek, const struct cache_set *set, knot_dname_t *owner, uint32_t ttl)
{
	knot_rrset_t rr, sigs;
	knot_rrset_init(&rr, owner, set->type, KNOT_CLASS_IN, ttl);
	int ret = cache_rdata_copy(&rr.rrs, &set->data, peek->q->pool);
	if (ret == 0)
		ret = add_rr(peek, &rr);
	if (ret != 0 || set->sigs.count == 0)
		return ret;
	knot_rrset_init(&sigs, owner, KNOT_RRTYPE_RRSIG, KNOT_CLASS_IN, ttl);
	ret = cache_rdata_copy(&sigs.rrs, &set->sigs, peek->q->pool);
	return ret == 0 ? add_rr(peek, &sigs) : ret;
}

/** Owner of a set on the pool; by default the name that was asked or its ancestor with those
 * labels. */
static knot_dname_t *owner_of(struct peek *peek, const struct cache_set *set, unsigned labels)
{
	if (set->owner)
		return knot_dname_copy(set->owner, peek->q->pool);
	const knot_dname_t *name = peek->q->name;
	for (unsigned i = labels; i < peek->enc.labels; ++i)
		name = knot_wire_next_label(name, NULL);
	return knot_dname_copy(name, peek->q->pool);
}

/** All sets of the entry: the first `in_answer` ones go to ANSWER. */
static int add_entry(struct peek *peek, unsigned labels, unsigned in_answer)
{
	for (unsigned i = 0; i < peek->entry.count; ++i) {
		const struct cache_set *set = &peek->entry.sets[i];
		knot_dname_t *owner = owner_of(peek, set, labels);
		int ret = owner ? add_set(peek, set, owner, peek->ttl) : kr_error(ENOMEM);
		if (ret != 0)
			return ret;
		if (i + 1 == in_answer)
			peek->answer->answer_count = peek->answer->count;
	}
	return kr_ok();
}

/** An entry of positive data: the set, and proofs if it was expanded. */
static int answer_positive(struct peek *peek, unsigned labels)
{
	peek->answer->rcode = KNOT_RCODE_NOERROR;
	peek->answer->is_wildcard = peek->entry.flags & CACHE_FLAG_WEXPAND;
	return add_entry(peek, labels, 1);
}

static int answer_negative(struct peek *peek, unsigned labels, uint8_t rcode)
{
	peek->answer->rcode = rcode;
	peek->answer->is_negative = true;
	return add_entry(peek, labels, 0);
}

/* ---- the name itself ---- */

static int peek_type(struct peek *peek, uint16_t type)
{
	struct cache_key key;
	cache_key_type(&key, &peek->enc, peek->enc.labels, CACHE_TAG_RR, type);
	int ret = get(peek, &key, peek->q->min_rank);
	return ret == 0 ? answer_positive(peek, peek->enc.labels) : ret;
}

static int peek_any(struct peek *peek)
{
	for (size_t i = 0; i < KR_COUNT_OF(any_types); ++i) {
		if (peek_type(peek, any_types[i]) == 0)
			return kr_ok();
	}
	return kr_error(ENOENT);
}

static int peek_negative(struct peek *peek)
{
	struct cache_key key;
	const unsigned labels = peek->enc.labels;
	cache_key_type(&key, &peek->enc, labels, CACHE_TAG_NODATA, peek->q->type);
	if (get(peek, &key, peek->q->min_rank) == 0)
		return answer_negative(peek, labels, KNOT_RCODE_NOERROR);
	cache_key_tag(&key, &peek->enc, labels, CACHE_TAG_NXNAME);
	if (get(peek, &key, peek->q->min_rank) == 0)
		return answer_negative(peek, labels, KNOT_RCODE_NXDOMAIN);
	return kr_error(ENOENT);
}

static bool may_be_alias(uint16_t type)
{
	return type != KNOT_RRTYPE_CNAME && type != KNOT_RRTYPE_DS && type != KNOT_RRTYPE_NSEC;
}

/** One look in place of four, for names that are asked for but not there. */
static bool has_nothing(struct peek *peek)
{
	const struct kr_cache *cache = peek->cache;
	struct cache_key key;
	if (!cache->api->is_empty)
		return false;
	cache_key_exact(&key, &peek->enc, peek->enc.labels);
	const knot_db_val_t prefix = {.data = key.data, .len = key.len};
	return cache->api->is_empty(cache->db, &prefix);
}

static int peek_exact(struct peek *peek)
{
	const uint16_t type = peek->q->type;
	if (peek->q->any_type)
		return peek_any(peek);
	if (peek_type(peek, type) == 0)
		return kr_ok();
	peek->is_nothing_there = has_nothing(peek);
	if (peek->is_nothing_there)
		return kr_error(ENOENT);
	if (may_be_alias(type) && peek_type(peek, KNOT_RRTYPE_CNAME) == 0)
		return kr_ok();
	return peek_negative(peek);
}

/* ---- ancestors ---- */

/** The CNAME that a DNAME makes of the name (RFC 6672). None if it would be too long. */
static int add_synthesized_cname(struct peek *peek, unsigned labels)
{
	const struct cache_question *q = peek->q;
	const knot_rrset_t *dname = &peek->answer->rr[0];
	const knot_dname_t *to = knot_dname_target(dname->rrs.rdata);
	if (knot_dname_size(q->name) - knot_dname_size(dname->owner) + knot_dname_size(to) >
		KNOT_DNAME_MAXLEN)
		return kr_ok();
	knot_dname_t *target = knot_dname_replace_suffix(q->name, labels, to, q->pool);
	knot_dname_t *owner = knot_dname_copy(q->name, q->pool);
	if (!target || !owner)
		return kr_error(ENOMEM);
	knot_rrset_t cname;
	knot_rrset_init(&cname, owner, KNOT_RRTYPE_CNAME, KNOT_CLASS_IN, dname->ttl);
	if (knot_rrset_add_rdata(&cname, target, knot_dname_size(target), q->pool) != KNOT_EOK)
		return kr_error(ENOMEM);
	int ret = add_rr(peek, &cname);
	peek->answer->answer_count = peek->answer->count;
	return ret;
}

static int peek_dname(struct peek *peek, unsigned labels)
{
	struct cache_key key;
	cache_key_type(&key, &peek->enc, labels, CACHE_TAG_RR, KNOT_RRTYPE_DNAME);
	if (get(peek, &key, peek->q->min_rank) != 0)
		return kr_error(ENOENT);
	peek->answer->rcode = KNOT_RCODE_NOERROR;
	int ret = add_entry(peek, labels, 1);
	peek->answer->answer_count = peek->answer->count;
	return ret == 0 ? add_synthesized_cname(peek, labels) : ret;
}

/** What does not exist has nothing below it; only if that was validated (C-35). */
static int peek_nxname_above(struct peek *peek, unsigned labels)
{
	struct cache_key key;
	cache_key_tag(&key, &peek->enc, labels, CACHE_TAG_NXNAME);
	if (get(peek, &key, KR_RANK_SECURE) != 0 || peek->answer->is_optout)
		return kr_error(ENOENT);
	return answer_negative(peek, labels, KNOT_RCODE_NXDOMAIN);
}

/** Proofs found in a chain become AUTHORITY. */
static int add_proof(struct peek *peek, struct cache_proof *proof, uint32_t ttl)
{
	int ret = kr_ok();
	for (int i = 0; ret == 0 && i < proof->count; ++i) {
		proof->rr[i].ttl = proof->sigs[i].ttl = ttl;
		ret = add_rr(peek, &proof->rr[i]);
		if (ret == 0)
			ret = add_rr(peek, &proof->sigs[i]);
	}
	return ret;
}

static int answer_proven(
	struct peek *peek, struct cache_proof *proof, unsigned zone_labels, int verdict)
{
	struct cache_key key;
	cache_key_type(&key, &peek->enc, zone_labels, CACHE_TAG_RR, KNOT_RRTYPE_SOA);
	if (get(peek, &key, KR_RANK_SECURE) != 0 || peek->answer->is_stale)
		return kr_error(ENOENT);
	peek->ttl = KR_MIN(KR_MIN(peek->ttl, proof->ttl_left), KR_TTL_NEG_MAX_S);
	peek->answer->is_expiring |= is_expiring(proof->ttl_left, proof->ttl_orig);
	int ret = answer_negative(peek, zone_labels,
		verdict == CACHE_NXDOMAIN ? KNOT_RCODE_NXDOMAIN : KNOT_RCODE_NOERROR);
	return ret == 0 ? add_proof(peek, proof, peek->ttl) : ret;
}

/** The wildcard's own data under the name that was asked (C-37). */
static int answer_wildcard(struct peek *peek, struct cache_proof *proof, unsigned encloser)
{
	uint8_t wildcard[KNOT_DNAME_MAXLEN + 2] = "\x01*";
	const knot_dname_t *parent = peek->q->name;
	for (unsigned i = encloser; i < peek->enc.labels; ++i)
		parent = knot_wire_next_label(parent, NULL);
	memcpy(wildcard + 2, parent, knot_dname_size(parent));
	struct cache_name enc;
	struct cache_key key;
	cache_name_init(&enc, wildcard);
	cache_key_type(&key, &enc, enc.labels, CACHE_TAG_RR, peek->q->type);
	int ret = get(peek, &key, KR_RANK_SECURE);
	if (ret != 0 && may_be_alias(peek->q->type)) {
		cache_key_type(&key, &enc, enc.labels, CACHE_TAG_RR, KNOT_RRTYPE_CNAME);
		ret = get(peek, &key, KR_RANK_SECURE);
	}
	if (ret != 0 || peek->answer->is_stale || peek->entry.sets[0].sigs.count == 0)
		return kr_error(ENOENT);
	peek->ttl = KR_MIN(peek->ttl, proof->ttl_left);
	peek->answer->is_expiring |= is_expiring(proof->ttl_left, proof->ttl_orig);
	ret = answer_positive(peek, peek->enc.labels);
	peek->answer->is_wildcard = true;
	return ret == 0 ? add_proof(peek, proof, peek->ttl) : ret;
}

/** Ask the chains of the zone of that many labels. */
static int peek_chains(struct peek *peek, unsigned labels, const knot_dname_t *zone)
{
	const struct cache_question *q = peek->q;
	struct cache_chain chains[CACHE_CHAINS_MAX];
	const unsigned count = cache_chains(peek->cache, &peek->enc, labels, q->now, chains);
	for (unsigned i = 0; i < count; ++i) {
		struct cache_proof proof = {
			.zone = zone,
			.pool = q->pool,
			.now = q->now,
			.ttl_left = UINT32_MAX,
			.blocks_left = KR_NSEC3_AGGR_BLOCKS,
		};
		unsigned encloser = 0;
		int ret = chains[i].is_nsec3
				  ? cache_prove_nsec3(peek->cache, &peek->enc, labels,
					    &chains[i].param, q->name, q->type, &proof, &encloser)
				  : cache_prove_nsec(peek->cache, &peek->enc, labels, q->name,
					    q->type, &proof, &encloser);
		if (ret == CACHE_WILDCARD)
			ret = answer_wildcard(peek, &proof, encloser);
		else if (ret >= 0)
			ret = answer_proven(peek, &proof, labels, ret);
		if (ret == 0)
			return ret;
	}
	return kr_error(ENOENT);
}

/** Walk from the name to the root. */
static int peek_above(struct peek *peek)
{
	const struct cache_question *q = peek->q;
	const knot_dname_t *name = q->name;
	const unsigned all = peek->enc.labels;
	for (unsigned labels = all;; --labels, name = knot_wire_next_label(name, NULL)) {
		const bool is_self = labels == all;
		if (!is_self && peek_dname(peek, labels) == 0)
			return kr_ok();
		if (!is_self && peek_nxname_above(peek, labels) == 0)
			return kr_ok();
		/* The parent's zone speaks of DS. */
		const bool may_prove = q->may_prove && all - labels <= CACHE_PROOF_LABELS_MAX &&
				       !(is_self && q->type == KNOT_RRTYPE_DS && all > 0) &&
				       !(is_self && peek->is_nothing_there);
		if (may_prove && peek_chains(peek, labels, name) == 0)
			return kr_ok();
		if (labels == 0)
			return kr_error(ENOENT);
	}
}

int cache_peek(
	struct kr_cache *cache, const struct cache_question *question, struct cache_answer *answer)
{
	struct peek peek; /* large, so only what is needed is set */
	if (!kr_cache_is_open(cache))
		return kr_error(ENOENT);
	peek.cache = cache;
	peek.q = question;
	peek.answer = answer;
	peek.rank = NULL;
	peek.is_nothing_there = false;
	cache_name_init(&peek.enc, question->name);
	int ret = peek_exact(&peek);
	return ret == 0 || question->any_type ? ret : peek_above(&peek);
}
