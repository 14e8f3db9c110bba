/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Denial by cached NSEC3 (RFC 8198, RFC 5155 section 8): hash the name and its ancestors until one
 * is found to exist, look for the spans around the others, let lib/dnssec judge what was found. */

#include <string.h>
#include <gnutls/crypto.h>

#include "lib/cache/chain.h"
#include "lib/dnssec/canon.h"

/** One search. */
struct search {
	struct kr_cache *cache;
	const struct cache_name *enc;
	unsigned zone_labels;
	const struct cache_nsec3param *param;
	struct cache_key prefix; /**< of the chain */
	struct cache_proof *proof;
};

/** Hash of a lower-case name (RFC 5155 section 5). @return 0 or kr_error(EDQUOT) */
static int hash_name(struct search *search, const knot_dname_t *name, uint8_t hash[CACHE_HASH_LEN])
{
	const struct cache_nsec3param *param = search->param;
	const uint32_t price = dnssec_nsec3_price(param->iterations, param->salt_len);
	if (price > search->proof->blocks_left)
		return kr_error(EDQUOT);
	search->proof->blocks_left -= price;
	uint8_t input[KNOT_DNAME_MAXLEN + 255];
	size_t len = knot_dname_size(name);
	memcpy(input, name, len);
	for (unsigned i = 0;; ++i) {
		memcpy(input + len, param->salt, param->salt_len);
		if (gnutls_hash_fast(GNUTLS_DIG_SHA1, input, len + param->salt_len, hash) != 0)
			return kr_error(EINVAL);
		if (i == param->iterations)
			return kr_ok();
		memcpy(input, hash, CACHE_HASH_LEN);
		len = CACHE_HASH_LEN;
	}
}

/**
 * Find the record that owns a hash or the one before it. Below the first owner that is the chain's
 * last record, whose span wraps around.
 * @return 0 owns it; 1 its span may hold it; < 0 nothing known
 */
static int find(struct search *search, const uint8_t hash[CACHE_HASH_LEN])
{
	static const uint8_t last[CACHE_HASH_LEN] = {[0 ... CACHE_HASH_LEN - 1] = 0xff};
	struct cache_key key = search->prefix;
	struct cache_entry entry;
	int ret = cache_key_append(&key, hash, CACHE_HASH_LEN);
	if (ret == 0)
		ret = cache_get_leq(search->cache, &key, &search->prefix, &entry);
	if (ret == kr_error(ENOENT)) {
		key = search->prefix;
		if (cache_key_append(&key, last, sizeof(last)) != 0 ||
			cache_get_leq(search->cache, &key, &search->prefix, &entry) < 0)
			return kr_error(ENOENT);
		ret = 1;
	}
	if (ret < 0)
		return ret;
	int index = cache_proof_add(search->proof, &entry, KNOT_RRTYPE_NSEC3);
	return index < 0 ? index : ret;
}

/** A record that was looked at on the way is not part of the proof. */
static void forget(struct cache_proof *proof, unsigned count)
{
	proof->count = count;
}

static int prove(struct search *search, const knot_dname_t *name, uint16_t type, bool is_nxdomain)
{
	struct dnssec_proofs proofs;
	struct dnssec_proof verdict;
	cache_proof_fill(&proofs, search->proof);
	/* Opt-out says nothing for sure about names that it spans (C-36). */
	if (dnssec_prove_denial(&proofs, name, type, is_nxdomain, &verdict) != 0 ||
		verdict.is_insecure || verdict.is_optout)
		return kr_error(ENOENT);
	return is_nxdomain ? CACHE_NXDOMAIN : CACHE_NODATA;
}

/**
 * Climb from the name to its closest encloser; the records of the encloser and of the next closer
 * name are in the proof then.
 * @return labels of the encloser or < 0
 */
static int find_encloser(struct search *search, const knot_dname_t *name)
{
	struct cache_proof *proof = search->proof;
	uint8_t hash[CACHE_HASH_LEN];
	for (unsigned labels = search->enc->labels;; --labels, name = dnssec_parent_name(name)) {
		const unsigned before = proof->count;
		int ret = hash_name(search, name, hash);
		if (ret == 0)
			ret = find(search, hash);
		if (ret == 0)
			return labels;
		/* The apex exists, proven or not; that is enough for what a wildcard has. */
		if (labels == search->zone_labels) {
			forget(proof, before);
			return before > 0 ? (int)labels : kr_error(ENOENT);
		}
		if (ret < 0)
			return kr_error(ENOENT);
		/* Only the last of these, next to the encloser, is needed. */
		if (before > 0 && proof->count > before) {
			proof->rr[0] = proof->rr[before];
			proof->sigs[0] = proof->sigs[before];
			forget(proof, 1);
		}
	}
}

/** What the wildcard below the encloser is found to be. */
static int judge_wildcard(
	struct search *search, const knot_dname_t *name, uint16_t type, unsigned encloser)
{
	uint8_t wildcard[KNOT_DNAME_MAXLEN + 2] = "\x01*";
	uint8_t hash[CACHE_HASH_LEN];
	struct dnssec_proofs proofs;
	struct dnssec_proof verdict;
	const knot_dname_t *parent = dnssec_ancestor(name, encloser);
	const unsigned before = search->proof->count;
	memcpy(wildcard + 2, parent, knot_dname_size(parent));
	int ret = hash_name(search, wildcard, hash);
	if (ret == 0)
		ret = find(search, hash);
	if (ret >= 0) {
		ret = prove(search, name, type, ret > 0);
		if (ret >= 0)
			return ret;
	}
	forget(search->proof, before);
	cache_proof_fill(&proofs, search->proof);
	ret = dnssec_prove_wildcard(&proofs, name, encloser, &verdict);
	return ret == 0 && !verdict.is_optout && !verdict.is_insecure ? (int)CACHE_WILDCARD
								      : kr_error(ENOENT);
}

int cache_prove_nsec3(struct kr_cache *cache, const struct cache_name *enc, unsigned zone_labels,
	const struct cache_nsec3param *param, const knot_dname_t *name, uint16_t type,
	struct cache_proof *proof, unsigned *encloser)
{
	struct search search = {
		.cache = cache,
		.enc = enc,
		.zone_labels = zone_labels,
		.param = param,
		.proof = proof,
	};
	cache_key_nsec3(&search.prefix, enc, zone_labels, cache_nsec3param_hash(param));
	int labels = find_encloser(&search, name);
	if (labels < 0)
		return kr_error(ENOENT);
	if ((unsigned)labels == enc->labels)
		return prove(&search, name, type, false);
	*encloser = labels;
	return judge_wildcard(&search, name, type, labels);
}
