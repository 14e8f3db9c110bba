/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Denial by cached NSEC (RFC 8198 section 5.1 to 5.3): find the records, let lib/dnssec judge them.
 */

#include <string.h>

#include "lib/cache/chain.h"
#include "lib/dnssec/canon.h"

/** Look up the NSEC at or before a name. @return 0 it owns one; 1 it is in a span perhaps; ENOENT
 */
static int find(struct kr_cache *cache, const struct cache_name *enc, unsigned zone_labels,
	struct cache_proof *proof, int *index)
{
	struct cache_key key, prefix;
	struct cache_entry entry;
	cache_key_nsec(&key, enc, zone_labels);
	cache_key_tag(&prefix, enc, zone_labels, CACHE_TAG_NSEC);
	int ret = cache_get_leq(cache, &key, &prefix, &entry);
	if (ret < 0)
		return kr_error(ENOENT);
	*index = cache_proof_add(proof, &entry, KNOT_RRTYPE_NSEC);
	return *index < 0 ? *index : ret;
}

/** Labels of the closest encloser, as the span around a name shows it. */
static unsigned encloser_labels(const knot_rrset_t *nsec, const knot_dname_t *name)
{
	knot_dname_storage_t owner, next;
	knot_dname_copy_lower(owner, nsec->owner);
	knot_dname_copy_lower(next, nsec->rrs.rdata->data);
	return KR_MAX(
		knot_dname_matched_labels(name, owner), knot_dname_matched_labels(name, next));
}

static bool is_before_next(
	const knot_rrset_t *nsec, const knot_dname_t *name, const knot_dname_t *zone)
{
	knot_dname_storage_t next;
	knot_dname_copy_lower(next, nsec->rrs.rdata->data);
	return knot_dname_cmp(name, next) < 0 || knot_dname_is_equal(next, zone);
}

static int prove(
	struct cache_proof *proof, const knot_dname_t *name, uint16_t type, bool is_nxdomain)
{
	struct dnssec_proofs proofs;
	struct dnssec_proof verdict;
	cache_proof_fill(&proofs, proof);
	if (dnssec_prove_denial(&proofs, name, type, is_nxdomain, &verdict) != 0 ||
		verdict.is_insecure || verdict.is_optout)
		return kr_error(ENOENT);
	return is_nxdomain ? CACHE_NXDOMAIN : CACHE_NODATA;
}

int cache_prove_nsec(struct kr_cache *cache, const struct cache_name *enc, unsigned zone_labels,
	const knot_dname_t *name, uint16_t type, struct cache_proof *proof, unsigned *encloser)
{
	int index;
	int ret = find(cache, enc, zone_labels, proof, &index);
	if (ret < 0)
		return kr_error(ENOENT);
	if (ret == 0)
		return prove(proof, name, type, false);
	const knot_rrset_t *nsec = &proof->rr[index];
	if (!is_before_next(nsec, name, proof->zone))
		return kr_error(ENOENT);
	*encloser = encloser_labels(nsec, name);
	if (*encloser >= enc->labels) /* an empty non-terminal */
		return prove(proof, name, type, false);

	uint8_t wildcard[KNOT_DNAME_MAXLEN + 2] = "\x01*";
	const knot_dname_t *parent = dnssec_ancestor(name, *encloser);
	memcpy(wildcard + 2, parent, knot_dname_size(parent));
	struct cache_name wildcard_enc;
	cache_name_init(&wildcard_enc, wildcard);
	ret = find(cache, &wildcard_enc, zone_labels, proof, &index);
	if (ret > 0) {
		ret = prove(proof, name, type, true);
		if (ret >= 0)
			return ret;
	} else if (ret == 0) {
		ret = prove(proof, name, type, false);
		if (ret >= 0)
			return ret;
	}
	/* The wildcard may exist: its data will do, if they are known and this name is known not to
	 * be. */
	struct dnssec_proofs proofs;
	struct dnssec_proof verdict;
	proof->count = 1;
	cache_proof_fill(&proofs, proof);
	ret = dnssec_prove_wildcard(&proofs, name, *encloser, &verdict);
	return ret == 0 ? (int)CACHE_WILDCARD : kr_error(ENOENT);
}
