/* SPDX-License-Identifier: GPL-3.0-or-later */

#include "lib/cache/stash.h"

#include <string.h>
#include <libknot/rrtype/nsec3.h>
#include <libknot/rrtype/rrsig.h>

#include "lib/cache/chain.h"
#include "lib/cache/entry.h"
#include "lib/dnssec/canon.h"

/** Largest negative answer that is kept whole. */
#define WHOLE_MAX (16 * 1024)
/** What RRSIG begins with; a signer name follows. */
#define RRSIG_FIXED 18

static bool is_secure(uint8_t rank)
{
	return kr_rank_test(rank, KR_RANK_SECURE);
}

static bool is_proof(const knot_rrset_t *rr)
{
	return rr->type == KNOT_RRTYPE_NSEC || rr->type == KNOT_RRTYPE_NSEC3;
}

static bool has_sigs(const struct cache_judged *set)
{
	return set->sigs && set->sigs->rrs.count > 0 && set->sigs->rrs.rdata->len > RRSIG_FIXED;
}

/* ---- positive ---- */

/** Labels of the wildcard's parent that the set was made from, or -1 if it was signed as it is. */
static int expanded_from(const struct cache_judged *set)
{
	if (!is_secure(set->rank) || !has_sigs(set))
		return -1;
	const int labels = knot_dname_labels(set->rr->owner, NULL);
	const int signed_labels = knot_rrsig_labels(set->sigs->rrs.rdata);
	const int own = labels - knot_dname_is_wildcard(set->rr->owner);
	return signed_labels < own ? signed_labels : -1;
}

static int stash_under_wildcard(
	struct kr_cache *cache, const struct cache_judged *set, int labels, uint32_t now)
{
	uint8_t wildcard[KNOT_DNAME_MAXLEN + 2] = "\x01*";
	const knot_dname_t *parent = dnssec_ancestor(set->rr->owner, labels);
	memcpy(wildcard + 2, parent, knot_dname_size(parent));
	knot_rrset_t rr = *set->rr, sigs = *set->sigs;
	rr.owner = sigs.owner = wildcard;
	return kr_cache_insert_rr(cache, &rr, &sigs, set->rank, now, false);
}

/** Append the proofs of AUTHORITY to an entry; its TTL goes down to theirs. */
static void add_proofs(struct cache_entry *entry, const struct cache_message *msg)
{
	for (unsigned i = 0; i < msg->authority_count && entry->count < CACHE_SETS_MAX; ++i) {
		const struct cache_judged *set = &msg->authority[i];
		if (!is_proof(set->rr))
			continue;
		entry->sets[entry->count] = cache_set_from(set->rr, set->sigs);
		entry->sets[entry->count].owner = set->rr->owner;
		entry->count += 1;
		entry->ttl = KR_MIN(entry->ttl, set->rr->ttl);
		if (entry->rank > set->rank)
			entry->rank = set->rank;
	}
}

static int put_whole(struct kr_cache *cache, const struct cache_key *key, struct cache_entry *entry)
{
	if (entry->ttl == 0 || cache_entry_size(entry) > WHOLE_MAX)
		return kr_ok();
	for (unsigned i = 0; i < entry->count; ++i) {
		const struct cache_set *set = &entry->sets[i];
		if (is_secure(entry->rank) && set->sigs.count > 0)
			entry->ttl = KR_MIN(entry->ttl, cache_sigs_ttl(&set->sigs, entry->time));
	}
	entry->ttl = cache_clamp_ttl(cache, entry->ttl);
	return KR_MIN(0, cache_put_ranked(cache, key, entry));
}

/** An expanded set whose proof cannot be found again by way of a chain: keep both under this name.
 */
static int stash_expanded(
	struct kr_cache *cache, const struct cache_message *msg, const struct cache_judged *set)
{
	struct cache_name enc;
	struct cache_key key;
	struct cache_entry entry;
	cache_name_init(&enc, set->rr->owner);
	cache_key_type(&key, &enc, enc.labels, CACHE_TAG_RR, set->rr->type);
	entry.time = msg->now;
	entry.ttl = set->rr->ttl;
	entry.rank = set->rank;
	entry.flags = CACHE_FLAG_WEXPAND | (msg->is_optout ? CACHE_FLAG_OPTOUT : 0);
	entry.count = 1;
	entry.sets[0] = cache_set_from(set->rr, set->sigs);
	add_proofs(&entry, msg);
	if (entry.count == 1)
		return kr_ok(); /* its proof may not be kept: without it the answer would not be
				   whole */
	return put_whole(cache, &key, &entry);
}

/**
 * NSEC3 beside an expanded set only denies the name (RFC 5155 section 7.2.6): nothing shows the
 * closest encloser, which a search in the chain needs.
 */
static bool has_nsec3(const struct cache_message *msg)
{
	for (unsigned i = 0; i < msg->authority_count; ++i) {
		if (msg->authority[i].rr->type == KNOT_RRTYPE_NSEC3)
			return true;
	}
	return false;
}

static int stash_positive(struct kr_cache *cache, const struct cache_message *msg,
	const struct cache_judged *set, bool chain_suffices)
{
	const int labels = expanded_from(set);
	if (labels < 0)
		return kr_cache_insert_rr(cache, set->rr, set->sigs, set->rank, msg->now, false);
	int ret = stash_under_wildcard(cache, set, labels, msg->now);
	if (ret == 0 && (!chain_suffices || has_nsec3(msg)))
		ret = stash_expanded(cache, msg, set);
	return ret;
}

/* ---- proofs ---- */

/** Would the search in an NSEC3 chain cost more than it may (B-23)? */
static bool is_cheap(const knot_rrset_t *rr, unsigned depth)
{
	if (rr->type != KNOT_RRTYPE_NSEC3)
		return true;
	const knot_rdata_t *rd = rr->rrs.rdata;
	if (rd->len < 5)
		return false;
	const uint32_t price = dnssec_nsec3_price(knot_nsec3_iters(rd), knot_nsec3_salt_len(rd));
	return 2 * (depth + 2) * price <= KR_NSEC3_AGGR_BLOCKS;
}

/** Put NSEC and NSEC3 into chains. @return true if the same answer can be made from them again */
static bool stash_proofs(struct kr_cache *cache, const struct cache_message *msg)
{
	bool all = !msg->is_optout, any = false;
	for (unsigned i = 0; i < msg->authority_count; ++i) {
		const struct cache_judged *set = &msg->authority[i];
		if (!is_proof(set->rr))
			continue;
		any = true;
		if (!is_secure(set->rank) || !has_sigs(set)) {
			all = false;
			continue;
		}
		const knot_dname_t *zone = knot_rrsig_signer_name(set->sigs->rrs.rdata);
		const int depth = knot_dname_in_bailiwick(msg->name, zone);
		if (cache_insert_proof(cache, set->rr, set->sigs, zone, msg->now) != 0 ||
			depth < 0 || depth > CACHE_PROOF_LABELS_MAX || !is_cheap(set->rr, depth))
			all = false;
	}
	return any && all;
}

/* ---- negative ---- */

static const struct cache_judged *find_soa(const struct cache_message *msg)
{
	for (unsigned i = 0; i < msg->authority_count; ++i) {
		if (msg->authority[i].rr->type == KNOT_RRTYPE_SOA)
			return &msg->authority[i];
	}
	return NULL;
}

/** The whole answer under the question, RFC 2308 section 5. */
static int stash_whole(struct kr_cache *cache, const struct cache_message *msg,
	const struct cache_judged *soa, const struct cache_name *enc)
{
	struct cache_key key;
	struct cache_entry entry;
	if (msg->rcode == KNOT_RCODE_NXDOMAIN)
		cache_key_tag(&key, enc, enc->labels, CACHE_TAG_NXNAME);
	else
		cache_key_type(&key, enc, enc->labels, CACHE_TAG_NODATA, msg->type);
	entry.time = msg->now;
	entry.ttl = KR_MIN(soa->rr->ttl, KR_TTL_NEG_MAX_S);
	entry.rank = soa->rank;
	entry.flags = msg->is_optout ? CACHE_FLAG_OPTOUT : 0;
	entry.count = 1;
	entry.sets[0] = cache_set_from(soa->rr, soa->sigs);
	entry.sets[0].owner = soa->rr->owner;
	if (!kr_rank_test(soa->rank, KR_RANK_INSECURE)) /* nobody can make use of proofs there */
		add_proofs(&entry, msg);
	return put_whole(cache, &key, &entry);
}

/** A denial takes back what it denies, unless that is more credible. @return false if it is */
static bool take_back(struct kr_cache *cache, const struct cache_name *enc, uint16_t type,
	uint8_t rank, uint32_t now)
{
	struct cache_key key;
	cache_key_type(&key, enc, enc->labels, CACHE_TAG_RR, type);
	if (cache_live_rank(cache, &key, now) > rank)
		return false;
	cache_del(cache, &key);
	return true;
}

static int stash_negative(
	struct kr_cache *cache, const struct cache_message *msg, bool chain_suffices)
{
	const struct cache_judged *soa = find_soa(msg);
	struct cache_name enc;
	if (!soa || soa->rr->ttl == 0 || soa->rr->rrs.count != 1)
		return kr_ok(); /* without SOA there is no telling for how long (RFC 2308 section 5)
				 */
	cache_name_init(&enc, msg->name);
	if (!take_back(cache, &enc, msg->type, soa->rank, msg->now))
		return kr_ok();
	if (is_secure(soa->rank) && has_sigs(soa)) {
		int ret = kr_cache_insert_rr(cache, soa->rr, soa->sigs, soa->rank, msg->now, false);
		if (ret != 0 || chain_suffices)
			return ret;
	}
	return stash_whole(cache, msg, soa, &enc);
}

int cache_stash(struct kr_cache *cache, const struct cache_message *msg)
{
	if (!kr_cache_is_open(cache))
		return kr_ok();
	const bool chain_suffices = stash_proofs(cache, msg);
	int first = kr_ok();
	for (unsigned i = 0; i < msg->answer_count; ++i) {
		int ret = stash_positive(cache, msg, &msg->answer[i], chain_suffices);
		first = first ? first : ret;
	}
	for (unsigned i = 0; i < msg->authority_count; ++i) {
		const struct cache_judged *set = &msg->authority[i];
		if (set->rr->type != KNOT_RRTYPE_DS)
			continue;
		int ret = kr_cache_insert_rr(cache, set->rr, set->sigs, set->rank, msg->now, false);
		first = first ? first : ret;
	}
	if (msg->is_negative) {
		int ret = stash_negative(cache, msg, chain_suffices);
		first = first ? first : ret;
	}
	return first;
}
