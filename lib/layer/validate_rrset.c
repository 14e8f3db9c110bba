/* SPDX-License-Identifier: GPL-3.0-or-later */
/* One RRset at a time: who signed it, is the signature good, may it do without. */

#include "lib/layer/validate_impl.h"

#include <libknot/descriptor.h>
#include <libknot/rrtype/rdname.h>
#include <libknot/rrtype/rrsig.h>

#include "lib/log.h"
#include "lib/utils.h"
#include "lib/dnssec/canon.h"
#include "lib/dnssec/ta.h"

#define VERBOSE(qry, ...) kr_log_q((qry), VALIDATOR, __VA_ARGS__)

/* ---- entries ---- */

bool vld_is_ours(const struct vld *v, const ranked_rr_array_entry_t *entry)
{
	return entry->qry_uid == v->qry->uid && !entry->in_progress;
}

/** Still to be validated? RRSIGs share the fate of what they cover. */
bool vld_is_open(const struct vld *v, const ranked_rr_array_entry_t *entry)
{
	return vld_is_ours(v, entry) && kr_rank_test(entry->rank, KR_RANK_INITIAL) &&
	       entry->rr->type != KNOT_RRTYPE_RRSIG;
}

ranked_rr_array_entry_t *vld_find_entry(const struct vld *v, const ranked_rr_array_t *array,
	const knot_dname_t *owner, uint16_t type)
{
	for (size_t i = 0; i < array->len; ++i) {
		ranked_rr_array_entry_t *entry = array->at[i];
		if (vld_is_ours(v, entry) && entry->rr->type == type &&
			knot_dname_is_equal(entry->rr->owner, owner))
			return entry;
	}
	return NULL;
}

/** The RRSIG set over an RRset. */
ranked_rr_array_entry_t *vld_find_rrsig(
	const struct vld *v, const ranked_rr_array_t *array, const knot_rrset_t *rr)
{
	for (size_t i = 0; i < array->len; ++i) {
		ranked_rr_array_entry_t *entry = array->at[i];
		if (vld_is_ours(v, entry) && entry->rr->type == KNOT_RRTYPE_RRSIG &&
			kr_rrset_type_maysig(entry->rr) == rr->type &&
			knot_dname_is_equal(entry->rr->owner, rr->owner))
			return entry;
	}
	return NULL;
}

/** Set the rank of an entry and of its signatures. */
void vld_set_rank(const struct vld *v, const ranked_rr_array_t *array,
	ranked_rr_array_entry_t *entry, uint8_t rank)
{
	kr_rank_set(&entry->rank, rank);
	entry->revalidation_cnt = 1;
	ranked_rr_array_entry_t *sigs = vld_find_rrsig(v, array, entry->rr);
	if (!sigs)
		return;
	kr_rank_set(&sigs->rank, rank);
	sigs->revalidation_cnt = 1;
}

void vld_cap_ttl(const struct vld *v, const ranked_rr_array_t *array,
	ranked_rr_array_entry_t *entry, uint32_t ttl_s)
{
	entry->rr->ttl = KR_MIN(entry->rr->ttl, ttl_s);
	ranked_rr_array_entry_t *sigs = vld_find_rrsig(v, array, entry->rr);
	if (sigs)
		sigs->rr->ttl = KR_MIN(sigs->rr->ttl, ttl_s);
}

/** Give everything that is still open a rank. */
void vld_set_open_ranks(struct vld *v, uint8_t rank)
{
	ranked_rr_array_t *all[] = {&v->req->answ_selected, &v->req->auth_selected};
	for (size_t i = 0; i < KR_COUNT_OF(all); ++i) {
		for (size_t j = 0; j < all[i]->len; ++j) {
			ranked_rr_array_entry_t *entry = all[i]->at[j];
			if (vld_is_ours(v, entry) && kr_rank_test(entry->rank, KR_RANK_INITIAL))
				kr_rank_set(&entry->rank, rank);
		}
	}
}

/**
 * Forget this pass over the message, because it has to wait. The next pass begins anew, with what
 * was noted about wildcards and proofs; signatures are not checked twice.
 */
void vld_reopen(struct vld *v)
{
	ranked_rr_array_t *all[] = {&v->req->answ_selected, &v->req->auth_selected};
	for (size_t i = 0; i < KR_COUNT_OF(all); ++i) {
		for (size_t j = 0; j < all[i]->len; ++j) {
			ranked_rr_array_entry_t *entry = all[i]->at[j];
			if (!vld_is_ours(v, entry) || entry->revalidation_cnt == 0)
				continue;
			kr_rank_set(&entry->rank, KR_RANK_INITIAL);
			entry->revalidation_cnt = 0;
		}
	}
}

/* ---- one RRset ---- */

/** May the zone be the one to sign the set? @param anchor the trust anchor above the set */
static bool may_sign(const struct vld *v, const knot_dname_t *signer, const knot_rrset_t *rr,
	const knot_dname_t *anchor)
{
	if (knot_dname_in_bailiwick(rr->owner, signer) < 0 ||
		knot_dname_in_bailiwick(signer, anchor) < 0)
		return false;
	if (rr->type == KNOT_RRTYPE_DS && rr->owner[0] != '\0' &&
		knot_dname_is_equal(rr->owner, signer))
		return false; /* a child does not vouch for itself */
	if (rr->type == KNOT_RRTYPE_NSEC3 &&
		!knot_dname_is_equal(dnssec_parent_name(rr->owner), signer))
		return false; /* RFC 5155 section 3: one label below the apex */
	return v->qry->flags.FORWARD || knot_dname_in_bailiwick(signer, v->qry->zone_cut.name) >= 0;
}

/**
 * The zone that claims to have signed a set: the zone asked if it is one of them.
 * @return lower-case name, or NULL if no signature is of use
 */
const knot_dname_t *vld_claimed_signer(
	const struct vld *v, const knot_rrset_t *rr, const knot_rrset_t *sigs)
{
	const knot_dname_t *cut = v->qry->zone_cut.name;
	const knot_dname_t *anchor = kr_ta_closest(v->req->ctx, rr->owner, rr->type);
	const knot_rdata_t *sig = sigs->rrs.rdata;
	const unsigned count = anchor ? KR_MIN(sigs->rrs.count, KR_RRSIG_KEPT_MAX) : 0;
	const knot_dname_t *best = NULL;
	for (unsigned i = 0; i < count; ++i, sig = knot_rdataset_next((knot_rdata_t *)sig)) {
		const knot_dname_t *signer = dnssec_rrsig_signer(sig);
		knot_dname_storage_t lower;
		if (!signer)
			continue;
		knot_dname_copy_lower(lower, signer);
		if (!may_sign(v, lower, rr, anchor))
			continue;
		if (knot_dname_is_equal(lower, cut))
			return cut;
		if (!best) /* it ends the owner's name */
			best = dnssec_ancestor(rr->owner, knot_dname_labels(lower, NULL));
	}
	return best;
}

int vld_ede_of(uint32_t faults)
{
	if (faults & DNSSEC_FAULT_CRYPTO)
		return KNOT_EDNS_EDE_BOGUS;
	if (faults & DNSSEC_FAULT_EXPIRED)
		return KNOT_EDNS_EDE_SIG_EXPIRED;
	if (faults & DNSSEC_FAULT_NOT_YET)
		return KNOT_EDNS_EDE_SIG_NOTYET;
	if (faults & DNSSEC_FAULT_NO_RRSIG)
		return KNOT_EDNS_EDE_RRSIG_MISS;
	return KNOT_EDNS_EDE_BOGUS;
}

const char *vld_fault_name(uint32_t faults)
{
	static const struct {
		uint32_t fault;
		const char *name;
	} names[] = {
		{DNSSEC_FAULT_LIMIT, "too many signatures"},
		{DNSSEC_FAULT_CRYPTO, "wrong signature"},
		{DNSSEC_FAULT_EXPIRED, "signature expired"},
		{DNSSEC_FAULT_NOT_YET, "signature not yet valid"},
		{DNSSEC_FAULT_DIGEST, "key is not the DS's"},
		{DNSSEC_FAULT_KEY_BIT, "not a zone key"},
		{DNSSEC_FAULT_REVOKED, "key revoked"},
		{DNSSEC_FAULT_KEY, "malformed key"},
		{DNSSEC_FAULT_LABELS, "wrong label count"},
		{DNSSEC_FAULT_UNSUPPORTED, "unsupported algorithm"},
		{DNSSEC_FAULT_NO_KEY, "no such key"},
		{DNSSEC_FAULT_SIGNER, "wrong signer"},
		{DNSSEC_FAULT_MALFORMED, "malformed"},
		{DNSSEC_FAULT_NO_RRSIG, "no signature"},
	};
	for (size_t i = 0; i < KR_COUNT_OF(names); ++i) {
		if (faults & names[i].fault)
			return names[i].name;
	}
	return "bogus";
}

/** Name what is wrong with a set: why, whose, which key. The text has little room. */
void vld_blame_rrset(struct vld *v, int ede_code, const char *why, const knot_rrset_t *rr,
	uint16_t tag, const knot_dname_t *zone)
{
	char owner[KNOT_DNAME_TXT_MAXLEN + 1], apex[KNOT_DNAME_TXT_MAXLEN + 1], type[16];
	if (!knot_dname_to_str(owner, rr->owner, sizeof(owner)) ||
		!knot_dname_to_str(apex, zone, sizeof(apex)) ||
		knot_rrtype_to_string(rr->type, type, sizeof(type)) < 0)
		return;
	VERBOSE(v->qry, "<= %s: %s %s, key %u of %s\n", why, owner, type, tag, apex);
	vld_blame(v, ede_code, "%s: %.28s %s, %u %.20s", why, owner, type, tag, apex);
}

static void note_expanded(
	struct vld *v, ranked_rr_array_entry_t *entry, const struct dnssec_verdict *verdict)
{
	v->qry->flags.DNSSEC_WEXPAND = true;
	if (v->expanded_count < VLD_EXPANDED_MAX)
		v->expanded[v->expanded_count] =
			(struct vld_expanded){entry, v->zone->name, verdict->labels};
	v->expanded_count += 1; /* one too many is found out when they are proven */
}

/** Check a signed set with the keys in v. @return 0, EBADMSG, EDQUOT */
int vld_verify_entry(struct vld *v, const ranked_rr_array_t *array, ranked_rr_array_entry_t *entry,
	const ranked_rr_array_entry_t *sigs)
{
	struct dnssec_verdict verdict;
	knot_rrset_t *rr = entry->rr;
	int ret = dnssec_rrset_verify(rr, &sigs->rr->rrs, &v->keys, &v->env, &verdict);
	if (ret == 0 && rr->type == KNOT_RRTYPE_SOA &&
		!knot_dname_is_equal(rr->owner, v->zone->name)) {
		verdict.faults = DNSSEC_FAULT_SIGNER; /* the apex is where the keys are */
		ret = kr_error(EBADMSG);
	}
	if (ret != 0) {
		vld_blame_rrset(v, vld_ede_of(verdict.faults), vld_fault_name(verdict.faults), rr,
			verdict.tag, v->zone->name);
		vld_set_rank(v, array, entry, KR_RANK_BOGUS);
		return ret;
	}
	vld_set_rank(v, array, entry, KR_RANK_SECURE);
	vld_cap_ttl(v, array, entry, verdict.ttl_s);
	if (verdict.is_expanded)
		note_expanded(v, entry, &verdict);
	return kr_ok();
}

/** The DNAME of the same message that covers a name. */
static const ranked_rr_array_entry_t *find_dname(
	const struct vld *v, const ranked_rr_array_t *array, const knot_dname_t *name)
{
	for (size_t i = 0; i < array->len; ++i) {
		const ranked_rr_array_entry_t *entry = array->at[i];
		if (vld_is_ours(v, entry) && entry->rr->type == KNOT_RRTYPE_DNAME &&
			entry->rr->rrs.count == 1 &&
			knot_dname_in_bailiwick(name, entry->rr->owner) > 0)
			return entry;
	}
	return NULL;
}

/**
 * An unsigned CNAME below a DNAME is worth what the DNAME is, if it is what the DNAME makes of the
 * name; below a secure DNAME there is nothing else (RFC 6672 section 5.3).
 * @return 0 rank is set; kr_error(ENOENT) no such case; kr_error(EBADMSG) it is another alias
 */
static int judge_synthesized(
	struct vld *v, const ranked_rr_array_t *array, ranked_rr_array_entry_t *entry)
{
	const knot_rrset_t *cname = entry->rr;
	if (cname->type != KNOT_RRTYPE_CNAME || cname->rrs.count != 1)
		return kr_error(ENOENT);
	const ranked_rr_array_entry_t *dname = find_dname(v, array, cname->owner);
	const bool is_secure = dname && kr_rank_test(dname->rank, KR_RANK_SECURE);
	if (!is_secure && !(dname && kr_rank_test(dname->rank, KR_RANK_INSECURE)))
		return kr_error(ENOENT);
	knot_dname_t *target =
		knot_dname_replace_suffix(cname->owner, knot_dname_labels(dname->rr->owner, NULL),
			knot_dname_target(dname->rr->rrs.rdata), &v->req->pool);
	if (target && knot_dname_is_case_equal(target, knot_cname_name(cname->rrs.rdata))) {
		vld_set_rank(v, array, entry, dname->rank & ~KR_RANK_AUTH);
		return kr_ok();
	}
	if (!is_secure)
		return kr_error(ENOENT);
	vld_set_rank(v, array, entry, KR_RANK_BOGUS);
	vld_blame_rrset(v, KNOT_EDNS_EDE_BOGUS, "not what DNAME says", cname, 0, dname->rr->owner);
	return kr_error(EBADMSG);
}

/** A set without usable signatures: fine below an insecure delegation only. */
static int judge_unsigned(struct vld *v, const ranked_rr_array_t *array,
	ranked_rr_array_entry_t *entry, bool has_rrsig)
{
	int ret = vld_find_insecurity(v, entry->rr->owner, entry->rr->type);
	if (ret == VLD_INSECURE) {
		vld_set_rank(v, array, entry, KR_RANK_INSECURE);
		return kr_ok();
	}
	if (ret != kr_error(ENOENT))
		return ret;
	vld_set_rank(v, array, entry, has_rrsig ? KR_RANK_MISMATCH : KR_RANK_MISSING);
	vld_blame_rrset(v, has_rrsig ? KNOT_EDNS_EDE_BOGUS : KNOT_EDNS_EDE_RRSIG_MISS,
		has_rrsig ? "signed by another zone" : "no signature", entry->rr, 0,
		v->qry->zone_cut.name);
	return kr_error(EBADMSG);
}

/** @return 0 (rank is set), VLD_YIELD, EBADMSG, EDQUOT, ENOMEM */
int vld_judge_entry(struct vld *v, const ranked_rr_array_t *array, ranked_rr_array_entry_t *entry)
{
	const knot_rrset_t *rr = entry->rr;
	if (!kr_ta_closest(v->req->ctx, rr->owner, rr->type)) {
		vld_set_rank(v, array, entry, KR_RANK_INSECURE);
		return kr_ok();
	}
	const ranked_rr_array_entry_t *sigs = vld_find_rrsig(v, array, rr);
	if (!sigs) {
		int ret = judge_synthesized(v, array, entry);
		if (ret != kr_error(ENOENT))
			return ret;
	}
	const knot_dname_t *signer = sigs ? vld_claimed_signer(v, rr, sigs->rr) : NULL;
	if (!signer)
		return judge_unsigned(v, array, entry, sigs != NULL);
	int ret = vld_use_zone(v, signer);
	if (ret == VLD_INSECURE) {
		vld_set_rank(v, array, entry, KR_RANK_INSECURE);
		return kr_ok();
	}
	return ret == 0 ? vld_verify_entry(v, array, entry, sigs) : ret;
}

bool vld_is_fatal(int ret)
{
	return ret == VLD_YIELD || (ret < 0 && ret != kr_error(EBADMSG));
}
