/* SPDX-License-Identifier: GPL-3.0-or-later */

#include "lib/dnssec/nsec3.h"

#include <string.h>
#include <gnutls/crypto.h>
#include <libknot/descriptor.h>
#include <libknot/rrtype/nsec3.h>

#include "lib/dnssec/canon.h"

#define NSEC3_FIXED 5     /* algorithm, flags, iterations, salt length */
#define HASH_LABEL_LEN 32 /* base32hex of 20 bytes */
#define HASH_LEN DNSSEC_NSEC3_HASH_LEN

/** An NSEC3 record taken apart. */
struct nsec3 {
	uint8_t owner[HASH_LEN];
	uint8_t next[HASH_LEN];
	bool is_optout;
	const uint8_t *bitmap;
	size_t bitmap_len;
};

/** The records that go together. */
struct chain {
	const knot_dname_t *zone;
	struct nsec3 at[KR_NSEC3_MSG_MAX];
	size_t len;
	uint16_t iterations;
	uint8_t salt_len;
	const uint8_t *salt;
	uint32_t *blocks_left; /**< of the request or message */
	uint32_t blocks_proof; /**< of this proof */
};

/** One digit of base32hex (RFC 4648 section 7), either case. @return 0..31 or -1 */
static int base32hex_digit(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'v' ? c - 'a' + 10 : -1;
}

static bool decode_hash(uint8_t hash[HASH_LEN], const uint8_t *text)
{
	uint32_t bits = 0;
	unsigned have = 0;
	size_t at = 0;
	for (size_t i = 0; i < HASH_LABEL_LEN; ++i) {
		int digit = base32hex_digit(text[i]);
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

/** The rdata is whole and of a kind that we understand (RFC 5155 section 8.2). */
static bool is_readable(const knot_rdata_t *rd)
{
	if (rd->len < NSEC3_FIXED + 1 ||
		rd->len < NSEC3_FIXED + 1 + (size_t)knot_nsec3_salt_len(rd))
		return false;
	const size_t head = NSEC3_FIXED + 1 + knot_nsec3_salt_len(rd) + knot_nsec3_next_len(rd);
	return rd->len >= head && knot_nsec3_next_len(rd) == HASH_LEN &&
	       knot_nsec3_alg(rd) == KNOT_NSEC3_ALGORITHM_SHA1 &&
	       (knot_nsec3_flags(rd) & ~KNOT_NSEC3_FLAG_OPT_OUT) == 0;
}

static bool has_same_parameters(const struct chain *chain, const knot_rdata_t *rd)
{
	return knot_nsec3_iters(rd) == chain->iterations &&
	       knot_nsec3_salt_len(rd) == chain->salt_len &&
	       memcmp(knot_nsec3_salt(rd), chain->salt, chain->salt_len) == 0;
}

static void add_record(struct chain *chain, const knot_rrset_t *rr)
{
	if (rr->type != KNOT_RRTYPE_NSEC3 || rr->rrs.count != 1 || !is_readable(rr->rrs.rdata))
		return;
	const knot_rdata_t *rd = rr->rrs.rdata;
	struct nsec3 *nsec3 = &chain->at[chain->len];
	/* One label below the apex of its own zone (C-17). */
	if (rr->owner[0] != HASH_LABEL_LEN || !decode_hash(nsec3->owner, rr->owner + 1) ||
		!knot_dname_is_case_equal(dnssec_parent_name(rr->owner), chain->zone))
		return;
	if (chain->len == 0) {
		chain->iterations = knot_nsec3_iters(rd);
		chain->salt_len = knot_nsec3_salt_len(rd);
		chain->salt = knot_nsec3_salt(rd);
	} else if (!has_same_parameters(chain, rd)) {
		return;
	}
	memcpy(nsec3->next, knot_nsec3_next(rd), HASH_LEN);
	nsec3->is_optout = knot_nsec3_flags(rd) & KNOT_NSEC3_FLAG_OPT_OUT;
	nsec3->bitmap = knot_nsec3_bitmap(rd);
	nsec3->bitmap_len = knot_nsec3_bitmap_len(rd);
	chain->len += 1;
}

static void load(struct chain *chain, const struct dnssec_nsec3s *nsec3s)
{
	*chain = (struct chain){
		.zone = nsec3s->zone,
		.blocks_left = nsec3s->blocks_left,
		.blocks_proof = KR_NSEC3_BLOCKS_PROOF,
	};
	for (size_t i = 0; i < KR_MIN(nsec3s->count, KR_NSEC3_MSG_MAX); ++i)
		add_record(chain, nsec3s->rrs[i]);
}

static bool has(const struct nsec3 *nsec3, uint16_t type)
{
	return dnssec_bitmap_has(nsec3->bitmap, nsec3->bitmap_len, type);
}

static bool is_delegation(const struct nsec3 *nsec3)
{
	return has(nsec3, KNOT_RRTYPE_NS) && !has(nsec3, KNOT_RRTYPE_SOA);
}

/** Hash a lower-case name (RFC 5155 section 5). @return 0 or kr_error(EDQUOT) */
static int hash_name(struct chain *chain, uint8_t hash[HASH_LEN], const knot_dname_t *name)
{
	const uint32_t price = dnssec_nsec3_price(chain->iterations, chain->salt_len);
	if (price > chain->blocks_proof || price > *chain->blocks_left)
		return kr_error(EDQUOT);
	chain->blocks_proof -= price;
	*chain->blocks_left -= price;
	gnutls_hash_hd_t ctx;
	if (gnutls_hash_init(&ctx, GNUTLS_DIG_SHA1) != 0)
		return kr_error(ENOMEM);
	int ret = gnutls_hash(ctx, name, knot_dname_size(name));
	for (unsigned i = 0;; ++i) {
		if (ret == 0 && chain->salt_len > 0)
			ret = gnutls_hash(ctx, chain->salt, chain->salt_len);
		gnutls_hash_output(ctx, hash);
		if (ret != 0 || i == chain->iterations)
			break;
		ret = gnutls_hash(ctx, hash, HASH_LEN);
	}
	gnutls_hash_deinit(ctx, NULL);
	return ret == 0 ? kr_ok() : kr_error(EINVAL);
}

static const struct nsec3 *find_match(const struct chain *chain, const uint8_t *hash)
{
	for (size_t i = 0; i < chain->len; ++i) {
		if (memcmp(chain->at[i].owner, hash, HASH_LEN) == 0)
			return &chain->at[i];
	}
	return NULL;
}

/** Strictly between owner and next; the last record of the chain wraps around. */
static bool spans(const struct nsec3 *nsec3, const uint8_t *hash)
{
	const bool is_after = memcmp(nsec3->owner, hash, HASH_LEN) < 0;
	const bool is_before = memcmp(hash, nsec3->next, HASH_LEN) < 0;
	if (memcmp(nsec3->owner, nsec3->next, HASH_LEN) < 0)
		return is_after && is_before;
	return is_after || is_before;
}

static const struct nsec3 *find_cover(const struct chain *chain, const uint8_t *hash)
{
	/* A hash that has its own record exists, whatever other records span. */
	if (find_match(chain, hash))
		return NULL;
	for (size_t i = 0; i < chain->len; ++i) {
		if (spans(&chain->at[i], hash))
			return &chain->at[i];
	}
	return NULL;
}

/** A closest encloser that is proven, RFC 5155 section 8.3. */
struct encloser {
	unsigned labels;           /**< 0..; of the encloser */
	const struct nsec3 *match; /**< at the encloser */
	const struct nsec3 *cover; /**< of the next closer name */
};

/**
 * Find the closest encloser of a name that is not matched itself.
 * @param known hash of the name if it was worked out already, or NULL
 * @return 0; kr_error(ENOENT) not proven; kr_error(EDQUOT)
 */
static int find_encloser(
	struct chain *chain, const knot_dname_t *name, const uint8_t *known, struct encloser *found)
{
	const unsigned zone_labels = knot_dname_labels(chain->zone, NULL);
	unsigned labels = knot_dname_labels(name, NULL);
	uint8_t hash[HASH_LEN];
	const struct nsec3 *next_cover = NULL;
	for (;; --labels, known = NULL) {
		int ret = known ? kr_ok() : hash_name(chain, hash, name);
		if (ret != 0)
			return ret;
		const uint8_t *at = known ? known : hash;
		const struct nsec3 *match = find_match(chain, at);
		if (match) {
			*found = (struct encloser){labels, match, next_cover};
			break;
		}
		next_cover = find_cover(chain, at);
		if (labels == zone_labels)
			return kr_error(ENOENT);
		name = dnssec_parent_name(name);
	}
	/* A cut or DNAME knows nothing of what is below it. */
	if (!found->cover || has(found->match, KNOT_RRTYPE_DNAME) || is_delegation(found->match))
		return kr_error(ENOENT);
	return kr_ok();
}

/** Hash of the wildcard below an encloser. @return 0, kr_error(EDQUOT), kr_error(ERANGE) no such
 * name */
static int hash_wildcard(
	struct chain *chain, uint8_t hash[HASH_LEN], const knot_dname_t *name, unsigned labels)
{
	uint8_t wildcard[KNOT_DNAME_MAXLEN + 2];
	const knot_dname_t *encloser = dnssec_ancestor(name, labels);
	const size_t len = knot_dname_size(encloser);
	if (len + 2 > KNOT_DNAME_MAXLEN)
		return kr_error(ERANGE);
	memcpy(wildcard, "\x01*", 2);
	memcpy(wildcard + 2, encloser, len);
	return hash_name(chain, hash, wildcard);
}

/** Lower-case copy and records. @return 0; 1 the proof is not to be looked at; kr_error(ENOENT) */
static int prepare(struct chain *chain, const struct dnssec_nsec3s *nsec3s,
	const knot_dname_t *name, knot_dname_storage_t qname, struct dnssec_proof *proof)
{
	*proof = (struct dnssec_proof){0};
	load(chain, nsec3s);
	knot_dname_copy_lower(qname, name);
	if (chain->len == 0 || knot_dname_in_bailiwick(qname, chain->zone) < 0)
		return kr_error(ENOENT);
	if (dnssec_nsec3_is_expensive(chain->iterations, chain->salt_len)) {
		proof->is_insecure = true;
		return 1;
	}
	return kr_ok();
}

int dnssec_nsec3_nxdomain(
	const struct dnssec_nsec3s *nsec3s, const knot_dname_t *name, struct dnssec_proof *proof)
{
	struct chain chain;
	knot_dname_storage_t qname;
	struct encloser encloser;
	uint8_t hash[HASH_LEN];
	int ret = prepare(&chain, nsec3s, name, qname, proof);
	if (ret != 0)
		return KR_MIN(ret, 0);
	ret = find_encloser(&chain, qname, NULL, &encloser);
	if (ret != 0)
		return ret;
	proof->is_optout = encloser.cover->is_optout;
	ret = hash_wildcard(&chain, hash, qname, encloser.labels);
	if (ret != 0)
		return ret == kr_error(ERANGE) ? kr_ok() : ret;
	return find_cover(&chain, hash) ? kr_ok() : kr_error(ENOENT);
}

/** Does the record of a name deny the type? */
static bool denies_type(const struct nsec3 *nsec3, uint16_t type, const knot_dname_t *zone)
{
	if (has(nsec3, type) || has(nsec3, KNOT_RRTYPE_CNAME))
		return false;
	if (type == KNOT_RRTYPE_DS) /* child's side knows nothing of it */
		return !has(nsec3, KNOT_RRTYPE_SOA) || zone[0] == '\0';
	return !is_delegation(nsec3);
}

int dnssec_nsec3_nodata(const struct dnssec_nsec3s *nsec3s, const knot_dname_t *name, uint16_t type,
	struct dnssec_proof *proof)
{
	struct chain chain;
	knot_dname_storage_t qname;
	struct encloser encloser;
	uint8_t hash[HASH_LEN];
	int ret = prepare(&chain, nsec3s, name, qname, proof);
	if (ret == 0)
		ret = hash_name(&chain, hash, qname);
	if (ret != 0)
		return KR_MIN(ret, 0);
	const struct nsec3 *match = find_match(&chain, hash);
	if (match) {
		proof->is_delegation = is_delegation(match);
		return denies_type(match, type, chain.zone) ? kr_ok() : kr_error(ENOENT);
	}
	ret = find_encloser(&chain, qname, hash, &encloser);
	if (ret != 0)
		return ret;
	ret = hash_wildcard(&chain, hash, qname, encloser.labels);
	if (ret != 0 && ret != kr_error(ERANGE))
		return ret;
	const struct nsec3 *wildcard = ret == 0 ? find_match(&chain, hash) : NULL;
	if (wildcard && denies_type(wildcard, type, chain.zone)) {
		proof->is_wildcard = true;
		proof->is_optout = encloser.cover->is_optout;
		return kr_ok();
	}
	/* Opt-out leaves unsigned delegations out of the chain, and the empty names above them
	 * (RFC 5155 sections 8.6 and 7.1): nothing can be said, so nothing is claimed. */
	proof->is_optout = encloser.cover->is_optout;
	proof->is_delegation = type == KNOT_RRTYPE_DS;
	return !wildcard && proof->is_optout ? kr_ok() : kr_error(ENOENT);
}

int dnssec_nsec3_wildcard(const struct dnssec_nsec3s *nsec3s, const knot_dname_t *name,
	unsigned labels, struct dnssec_proof *proof)
{
	struct chain chain;
	knot_dname_storage_t qname;
	uint8_t hash[HASH_LEN];
	int ret = prepare(&chain, nsec3s, name, qname, proof);
	if (ret != 0)
		return KR_MIN(ret, 0);
	const unsigned have = knot_dname_labels(qname, NULL);
	if (labels < knot_dname_labels(chain.zone, NULL) || labels >= have)
		return kr_error(ENOENT);
	/* The wildcard's signature shows its parent to exist: the next closer name decides. */
	ret = hash_name(&chain, hash, dnssec_ancestor(qname, labels + 1));
	if (ret != 0)
		return ret;
	const struct nsec3 *cover = find_cover(&chain, hash);
	if (!cover)
		return kr_error(ENOENT);
	proof->is_optout = cover->is_optout;
	return kr_ok();
}
