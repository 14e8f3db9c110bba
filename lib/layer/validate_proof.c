/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the NSEC and NSEC3 records of a message prove. */

#include "lib/layer/validate_impl.h"

#include <libknot/descriptor.h>

#include "lib/utils.h"

bool vld_is_proof_type(uint16_t type)
{
	return type == KNOT_RRTYPE_NSEC || type == KNOT_RRTYPE_NSEC3;
}

void vld_note_proof(
	struct vld *v, const ranked_rr_array_t *array, const ranked_rr_array_entry_t *entry)
{
	const ranked_rr_array_entry_t *sigs = vld_find_rrsig(v, array, entry->rr);
	if (!sigs || v->proof_count == KR_COUNT_OF(v->proofs))
		return;
	const knot_dname_t *zone = vld_claimed_signer(v, entry->rr, sigs->rr);
	if (zone)
		v->proofs[v->proof_count++] = (struct vld_proof){entry->rr, zone};
}

/**
 * Judge AUTHORITY. A proof that does not verify is not used, anything else that does not verify
 * spoils the message.
 */
int vld_judge_authority(struct vld *v)
{
	ranked_rr_array_t *array = &v->req->auth_selected;
	unsigned seen[2] = {0, 0};
	for (size_t i = 0; i < array->len; ++i) {
		ranked_rr_array_entry_t *entry = array->at[i];
		if (!vld_is_ours(v, entry) || entry->rr->type == KNOT_RRTYPE_RRSIG)
			continue;
		const bool is_proof = vld_is_proof_type(entry->rr->type);
		if (is_proof) {
			const bool is_nsec3 = entry->rr->type == KNOT_RRTYPE_NSEC3;
			if (++seen[is_nsec3] > (is_nsec3 ? KR_NSEC3_MSG_MAX : KR_NSEC_MSG_MAX)) {
				entry->to_wire = false;
				vld_set_rank(v, array, entry, KR_RANK_OMIT);
				entry->dont_cache = true;
				continue;
			}
		}
		int ret = vld_is_open(v, entry) ? vld_judge_entry(v, array, entry) : 0;
		if (vld_is_fatal(ret) || (ret != 0 && !is_proof))
			return ret;
		if (is_proof && kr_rank_test(entry->rank, KR_RANK_SECURE))
			vld_note_proof(v, array, entry);
	}
	return kr_ok();
}

/** The proofs that are of one zone. */
static struct dnssec_proofs proofs_of(struct vld *v, const knot_dname_t *zone)
{
	struct dnssec_proofs proofs = {.zone = zone, .blocks_left = &v->left.blocks};
	for (size_t i = 0; i < v->proof_count; ++i) {
		if (knot_dname_is_equal(v->proofs[i].zone, zone))
			dnssec_proofs_add(&proofs, v->proofs[i].rr);
	}
	return proofs;
}

/** Try to deny a name with the proofs of each zone above it. @return as dnssec_prove_denial() */
int vld_prove_denial(struct vld *v, const knot_dname_t *name, uint16_t type, bool is_nxdomain,
	struct dnssec_proof *proof)
{
	int result = kr_error(ENOENT);
	const knot_dname_t *last = NULL;
	for (size_t i = 0; i < v->proof_count; ++i) {
		const knot_dname_t *zone = v->proofs[i].zone;
		if ((last && knot_dname_is_equal(last, zone)) ||
			knot_dname_in_bailiwick(name, zone) < 0)
			continue;
		last = zone;
		const struct dnssec_proofs proofs = proofs_of(v, zone);
		int ret = dnssec_prove_denial(&proofs, name, type, is_nxdomain, proof);
		if (ret != kr_error(ENOENT))
			return ret;
	}
	return result;
}

/** The answer is true, but it is not signed all the way: it must not show AD, not even from cache.
 */
void vld_mark_optout(struct vld *v, const struct dnssec_proof *proof)
{
	if (proof->is_optout)
		v->qry->flags.DNSSEC_OPTOUT = true;
	if (proof->is_insecure)
		kr_request_set_extended_error(
			v->req, KNOT_EDNS_EDE_NSEC3_ITERS, "too many iterations");
}

/** Wildcards need to be shown to be the closest match. */
int vld_prove_expanded(struct vld *v)
{
	if (v->expanded_count > VLD_EXPANDED_MAX) {
		vld_blame(v, KNOT_EDNS_EDE_BOGUS, "too many wildcards");
		return kr_error(EBADMSG);
	}
	for (size_t i = 0; i < v->expanded_count; ++i) {
		const struct vld_expanded *expanded = &v->expanded[i];
		ranked_rr_array_entry_t *entry = expanded->entry;
		const struct dnssec_proofs proofs = proofs_of(v, expanded->zone);
		struct dnssec_proof proof;
		int ret =
			dnssec_prove_wildcard(&proofs, entry->rr->owner, expanded->labels, &proof);
		if (ret == kr_error(ENOENT)) {
			vld_set_rank(v, &v->req->answ_selected, entry, KR_RANK_BOGUS);
			vld_blame_rrset(v, KNOT_EDNS_EDE_NSEC_MISS, "wildcard not proven",
				entry->rr, 0, expanded->zone);
			return kr_error(EBADMSG);
		}
		if (ret != 0)
			return ret;
		vld_mark_optout(v, &proof);
		if (proof.is_optout || proof.is_insecure)
			vld_set_rank(v, &v->req->answ_selected, entry, KR_RANK_INSECURE);
	}
	return kr_ok();
}
