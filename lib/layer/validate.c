/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Judging a message as a whole: answers, denials, keys, delegations; and the hooks of the layer. */

#include "lib/layer/validate.h"

#include <stdarg.h>
#include <stdio.h>
#include <libknot/descriptor.h>
#include <libknot/rrtype/ds.h>
#include <libknot/rrtype/rdname.h>
#include <libknot/rrtype/rrsig.h>
#include <libknot/wire.h>

#include "lib/log.h"
#include "lib/module.h"
#include "lib/utils.h"
#include "lib/dnssec/canon.h"
#include "lib/dnssec/ta.h"
#include "lib/layer/validate_impl.h"

#define VERBOSE(qry, ...) kr_log_q((qry), VALIDATOR, __VA_ARGS__)

void vld_blame(struct vld *v, int ede_code, const char *fmt, ...)
{
	if (v->ede_text)
		return;
	char text[KR_EDE_TEXT_MAX + 1];
	va_list args;
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	v->ede_code = ede_code;
	v->ede_text = mm_strdup(&v->req->pool, text);
}

/* ---- allowances (B-14, B-15, B-16, B-21) ---- */

static void open_allowance(struct vld *v)
{
	struct kr_query *qry = v->qry;
	struct kr_request *req = v->req;
	if (qry->vld_limit_uid != qry->uid) {
		qry->vld_limit_uid = qry->uid;
		qry->vld_limit_crypto_remains = KR_MAX(req->ctx->vld_limit_crypto, 0);
		qry->vld_units_remain = KR_VERIFY_MSG_UNITS;
	}
	const uint32_t units = KR_MIN(
		(uint32_t)qry->vld_units_remain, kr_budget_left(req, KR_BUDGET_VERIFY_UNITS));
	v->has_more_units = units > KR_VERIFY_STEP_UNITS;
	v->given = (struct dnssec_allowance){
		.checks = KR_MIN((uint32_t)qry->vld_limit_crypto_remains,
			kr_budget_left(req, KR_BUDGET_VERIFY)),
		.units = KR_MIN(units, KR_VERIFY_STEP_UNITS),
		.fails = kr_budget_left(req, KR_BUDGET_VERIFY_FAIL),
		.fail_units = kr_budget_left(req, KR_BUDGET_VERIFY_FAIL_UNITS),
		.blocks = kr_budget_left(req, KR_BUDGET_NSEC3_BLOCKS),
	};
	v->left = v->given;
	v->env = (struct dnssec_env){
		.now_s = req->ctx->now.tv_sec,
		.left = &v->left,
		.memory = &v->known->memory,
	};
}

static void spend(struct kr_request *req, enum kr_budget_kind kind, uint32_t amount)
{
	if (amount > 0)
		(void)kr_budget_spend(req, kind, amount); /* it was there when it was used */
}

static void close_allowance(struct vld *v)
{
	const uint32_t checks = v->given.checks - v->left.checks;
	const uint32_t units = v->given.units - v->left.units;
	v->qry->vld_limit_crypto_remains -= checks;
	v->qry->vld_units_remain -= units;
	spend(v->req, KR_BUDGET_VERIFY, checks);
	spend(v->req, KR_BUDGET_VERIFY_UNITS, units);
	spend(v->req, KR_BUDGET_VERIFY_FAIL, v->given.fails - v->left.fails);
	spend(v->req, KR_BUDGET_VERIFY_FAIL_UNITS, v->given.fail_units - v->left.fail_units);
	spend(v->req, KR_BUDGET_NSEC3_BLOCKS, v->given.blocks - v->left.blocks);
}

/**
 * Was it only this step that ran out of units? Then others get their turn and judging begins anew,
 * where what was checked is remembered (B-32).
 */
static bool needs_a_break(const struct vld *v, int ret)
{
	return ret == kr_error(EDQUOT) && v->has_more_units && v->left.checks > 0 &&
	       v->left.fails > 0 && v->left.fail_units > 0 && v->left.units < DNSSEC_PRICE_MAX &&
	       v->left.units < v->given.units;
}

/** Tell the operator which limit stopped us. */
static void report_exhaustion(struct vld *v)
{
	enum kr_budget_kind kind = KR_BUDGET_VERIFY_UNITS;
	if (v->left.fails == 0)
		kind = KR_BUDGET_VERIFY_FAIL;
	else if (v->left.fail_units == 0)
		kind = KR_BUDGET_VERIFY_FAIL_UNITS;
	else if (v->left.checks == 0)
		kind = KR_BUDGET_VERIFY;
	else if (v->left.blocks < v->given.blocks)
		kind = KR_BUDGET_NSEC3_BLOCKS;
	kr_budget_exhausted(v->req, kind);
	v->ede_text = NULL;
	vld_blame(v, KNOT_EDNS_EDE_BOGUS, "too much to verify");
}

/* ---- leftovers ---- */

/** What was not needed was not checked, and is not used. */
static void drop_open(struct vld *v, ranked_rr_array_t *array)
{
	for (size_t i = 0; i < array->len; ++i) {
		ranked_rr_array_entry_t *entry = array->at[i];
		if (!vld_is_ours(v, entry) || !kr_rank_test(entry->rank, KR_RANK_INITIAL))
			continue;
		kr_rank_set(&entry->rank, KR_RANK_OMIT);
		entry->to_wire = false;
		entry->dont_cache = true;
	}
}

/* ---- kinds of answers ---- */

/** A configured anchor that we cannot use means that nothing can be believed. */
static bool is_configured(const struct vld *v, const knot_dname_t *zone)
{
	return kr_ta_get(v->req->ctx->trust_anchors, zone) != NULL;
}

/** No DS of a zone can be used: say why. */
static void note_unsupported(struct vld *v, const knot_rrset_t *ds)
{
	bool has_algorithm = false;
	const knot_rdata_t *rd = ds->rrs.rdata;
	for (uint16_t i = 0; i < ds->rrs.count; ++i, rd = knot_rdataset_next((knot_rdata_t *)rd))
		has_algorithm =
			has_algorithm || (rd->len > 4 && dnssec_alg_is_supported(knot_ds_alg(rd)));
	if (has_algorithm && !kr_ds_algo_support(ds))
		kr_request_set_extended_error(
			v->req, KNOT_EDNS_EDE_DS_DIGEST, "unsupported DS digest");
	else
		kr_request_set_extended_error(
			v->req, KNOT_EDNS_EDE_DNSKEY_ALG, "unsupported algorithm");
}

/** DS set that the keys of the query's zone have to fit. @return 0, VLD_*, or an error */
static int find_anchor(struct vld *v, const knot_dname_t *zone, knot_rrset_t **ds)
{
	struct kr_zonecut *cut = &v->qry->zone_cut;
	const knot_rrset_t *configured = kr_ta_get(v->req->ctx->trust_anchors, zone);
	if (configured && configured->rrs.count > 0) {
		*ds = (knot_rrset_t *)configured;
		return kr_ok();
	}
	if (cut->trust_anchor && knot_dname_is_equal(cut->name, zone)) {
		*ds = cut->trust_anchor;
		return cut->trust_anchor->rrs.count > 0 ? 0 : VLD_INSECURE;
	}
	return vld_zone_ds(v, zone, ds);
}

static int judge_dnskey(struct vld *v, ranked_rr_array_entry_t *entry)
{
	ranked_rr_array_t *array = &v->req->answ_selected;
	knot_rrset_t *rr = entry->rr;
	struct kr_query *qry = v->qry;
	if (!kr_ta_closest(v->req->ctx, rr->owner, rr->type)) {
		vld_set_rank(v, array, entry, KR_RANK_INSECURE);
		return kr_ok();
	}
	knot_rrset_t *ds = NULL;
	int ret = find_anchor(v, rr->owner, &ds);
	if (ret == kr_error(ENOENT)) /* not a zone of its own: just a set in the zone above */
		return vld_judge_entry(v, array, entry);
	const ranked_rr_array_entry_t *sigs = vld_find_rrsig(v, array, rr);
	struct dnssec_verdict verdict = {0};
	struct dnssec_keyset keys = {0};
	if (ret == 0)
		ret = dnssec_keyset_init(&keys, rr);
	if (ret == 0)
		ret = dnssec_keyset_verify(
			&keys, sigs ? &sigs->rr->rrs : NULL, ds, &v->env, &verdict);
	dnssec_keyset_deinit(&keys);
	if (ret == kr_error(ENOTSUP) && !is_configured(v, rr->owner)) {
		note_unsupported(v, ds);
		ret = VLD_INSECURE;
	}
	const bool is_asked = knot_dname_is_equal(qry->sname, rr->owner);
	if (ret == VLD_INSECURE) {
		vld_set_rank(v, array, entry, KR_RANK_INSECURE);
		return is_asked ? kr_validate_deliver_ds(qry, KR_ZONE_INSECURE, NULL) : kr_ok();
	}
	if (ret == 0) {
		vld_set_rank(v, array, entry, KR_RANK_SECURE);
		vld_cap_ttl(v, array, entry, verdict.ttl_s);
		if (knot_dname_is_equal(qry->zone_cut.name, rr->owner))
			qry->zone_cut.key = rr;
		return is_asked ? kr_validate_deliver_key(qry, rr) : kr_ok();
	}
	if (vld_is_fatal(ret) && ret != kr_error(ENOTSUP))
		return ret;
	vld_set_rank(v, array, entry, KR_RANK_BOGUS);
	int ede = vld_ede_of(verdict.faults);
	if (ede == KNOT_EDNS_EDE_BOGUS && !(verdict.faults & DNSSEC_FAULT_CRYPTO))
		ede = verdict.faults & DNSSEC_FAULT_KEY_BIT ? KNOT_EDNS_EDE_DNSKEY_BIT
							    : KNOT_EDNS_EDE_DNSKEY_MISS;
	vld_blame_rrset(v, ede, vld_fault_name(verdict.faults), rr, verdict.tag, rr->owner);
	return kr_error(EBADMSG);
}

static int deliver_ds(struct vld *v, enum kr_zone_fact fact, knot_rrset_t *ds)
{
	int ret = kr_validate_deliver_ds(v->qry, fact, ds);
	if (ret == kr_error(EBADMSG))
		vld_blame(v, KNOT_EDNS_EDE_BOGUS, "delegation is denied by its parent");
	return ret;
}

/** The answer to a DS question, which is secure or insecure by now. */
static int conclude_ds(struct vld *v, ranked_rr_array_entry_t *entry)
{
	if (kr_rank_test(entry->rank, KR_RANK_INSECURE))
		return deliver_ds(v, KR_ZONE_INSECURE, NULL);
	if (!kr_rank_test(entry->rank, KR_RANK_SECURE))
		return kr_ok();
	if (kr_ds_algo_support(entry->rr))
		return deliver_ds(v, KR_ZONE_SECURE, entry->rr);
	note_unsupported(v, entry->rr);
	return deliver_ds(v, KR_ZONE_INSECURE, NULL);
}

/** ANSWER, set by set. @return 0, VLD_YIELD, or an error */
static int judge_answer(struct vld *v)
{
	ranked_rr_array_t *array = &v->req->answ_selected;
	for (size_t i = 0; i < array->len; ++i) {
		ranked_rr_array_entry_t *entry = array->at[i];
		if (!vld_is_open(v, entry))
			continue;
		const bool is_keyset = entry->rr->type == KNOT_RRTYPE_DNSKEY;
		int ret = is_keyset ? judge_dnskey(v, entry) : vld_judge_entry(v, array, entry);
		if (ret != 0)
			return ret;
	}
	return kr_ok();
}

/** Does ANSWER hold data? Signatures alone are not an answer. */
static bool has_answer(const struct vld *v)
{
	const ranked_rr_array_t *array = &v->req->answ_selected;
	for (size_t i = 0; i < array->len; ++i) {
		if (vld_is_ours(v, array->at[i]) &&
			(v->qry->stype == KNOT_RRTYPE_RRSIG ||
				array->at[i]->rr->type != KNOT_RRTYPE_RRSIG))
			return true;
	}
	return false;
}

/** Any set of the message with this state? */
static bool has_rank(const struct vld *v, uint8_t rank)
{
	const ranked_rr_array_t *all[] = {&v->req->answ_selected, &v->req->auth_selected};
	for (size_t i = 0; i < KR_COUNT_OF(all); ++i) {
		for (size_t j = 0; j < all[i]->len; ++j) {
			const ranked_rr_array_entry_t *entry = all[i]->at[j];
			if (vld_is_ours(v, entry) && kr_rank_test(entry->rank, rank) &&
				!(rank == KR_RANK_INSECURE && entry->rr->type == KNOT_RRTYPE_NS))
				return true;
		}
	}
	return false;
}

/** A signed SOA or proof tells which zone denies the name: no delegation lies in between. */
static bool is_denied_by_secure_zone(const struct vld *v)
{
	if (v->proof_count > 0)
		return true;
	const ranked_rr_array_t *array = &v->req->auth_selected;
	for (size_t i = 0; i < array->len; ++i) {
		const ranked_rr_array_entry_t *entry = array->at[i];
		if (vld_is_ours(v, entry) && entry->rr->type == KNOT_RRTYPE_SOA &&
			kr_rank_test(entry->rank, KR_RANK_SECURE))
			return true;
	}
	return false;
}

/** A negative answer without proof may stand only below an insecure delegation. */
static int excuse_missing_proof(struct vld *v, const knot_dname_t *name, uint16_t type)
{
	int ret =
		is_denied_by_secure_zone(v) ? kr_error(ENOENT) : vld_find_insecurity(v, name, type);
	if (ret != kr_error(ENOENT))
		return ret;
	char text[KNOT_DNAME_TXT_MAXLEN + 1];
	if (knot_dname_to_str(text, name, sizeof(text))) {
		VERBOSE(v->qry, "<= bad denial of %s\n", text);
		vld_blame(v, KNOT_EDNS_EDE_NSEC_MISS, "%s: %.40s",
			v->proof_count > 0 ? "proof does not hold" : "no proof", text);
	}
	return kr_error(EBADMSG);
}

/** What a proven denial of DS says about the name as a zone. */
static enum kr_zone_fact fact_of(const struct dnssec_proof *proof, bool is_nxdomain)
{
	if (proof->is_insecure || (proof->is_delegation && !is_nxdomain))
		return KR_ZONE_INSECURE;
	return proof->is_optout ? KR_ZONE_INSECURE : KR_ZONE_NO_CUT;
}

/** SOA shows AD (or not) of a negative answer, now and when it comes from the cache. */
static void weaken_negative(struct vld *v)
{
	ranked_rr_array_t *array = &v->req->auth_selected;
	for (size_t i = 0; i < array->len; ++i) {
		ranked_rr_array_entry_t *entry = array->at[i];
		if (vld_is_ours(v, entry) && entry->rr->type == KNOT_RRTYPE_SOA)
			vld_set_rank(v, array, entry, KR_RANK_INSECURE);
	}
}

/** There is no such name or no such data. @return 0, VLD_YIELD, VLD_INSECURE, or an error */
static int judge_negative(struct vld *v)
{
	struct kr_query *qry = v->qry;
	const knot_dname_t *name = qry->sname;
	const uint16_t type = qry->stype;
	const bool is_nxdomain = knot_wire_get_rcode(v->pkt->wire) == KNOT_RCODE_NXDOMAIN;
	int ret = vld_judge_authority(v);
	if (ret != 0)
		return ret;
	struct dnssec_proof proof;
	ret = vld_prove_denial(v, name, type, is_nxdomain, &proof);
	if (ret == kr_error(ENOENT)) {
		if (!qry->flags.CACHED || has_rank(v, KR_RANK_INITIAL))
			return excuse_missing_proof(v, name, type);
		proof = (struct dnssec_proof){
			0}; /* proven when it was cached, by records it did not keep */
		ret = kr_ok();
	} else if (ret != 0) {
		return ret;
	}
	vld_mark_optout(v, &proof);
	const bool is_weak = proof.is_optout || proof.is_insecure;
	if (is_weak)
		weaken_negative(v);
	if (type == KNOT_RRTYPE_DS) {
		qry->flags.DNSSEC_NODS = true;
		ret = deliver_ds(v, fact_of(&proof, is_nxdomain), NULL);
	}
	return ret == 0 && is_weak ? VLD_INSECURE : KR_MIN(ret, 0);
}

/** Everything there is to be judged. @return 0, VLD_YIELD, VLD_INSECURE, or an error */
static int judge_message(struct vld *v)
{
	struct kr_query *qry = v->qry;
	if (!kr_ta_closest(v->req->ctx, qry->sname, qry->stype))
		return VLD_INSECURE;
	if (!has_answer(v))
		return judge_negative(v);
	int ret = judge_answer(v);
	if (ret == 0 && v->expanded_count > 0) {
		ret = vld_judge_authority(v);
		if (ret == 0)
			ret = vld_prove_expanded(v);
	}
	if (ret != 0 || qry->stype != KNOT_RRTYPE_DS)
		return ret;
	ranked_rr_array_entry_t *ds =
		vld_find_entry(v, &v->req->answ_selected, qry->sname, KNOT_RRTYPE_DS);
	if (ds)
		return conclude_ds(v, ds);
	/* An alias is not a zone; what it leads to is another question. */
	return deliver_ds(
		v, has_rank(v, KR_RANK_INSECURE) ? KR_ZONE_INSECURE : KR_ZONE_NO_CUT, NULL);
}

/* ---- referrals ---- */

static void conclude_referral(
	struct vld *v, const knot_dname_t *child, bool is_insecure, knot_rrset_t *ds)
{
	struct kr_zonecut *next = v->qry->next_cut;
	if (is_insecure) {
		ds = knot_rrset_new(child, KNOT_RRTYPE_DS, KNOT_CLASS_IN, 0, &v->req->pool);
		v->qry->flags.DNSSEC_NODS = true;
	}
	next->trust_anchor = ds;
}

/**
 * Take from a referral what it proves about the child. Nothing here fails: what stays unknown is
 * asked for before the child is.
 */
static void judge_referral(struct vld *v)
{
	const knot_dname_t *child = v->qry->next_cut->name;
	ranked_rr_array_t *array = &v->req->auth_selected;
	if (!v->qry->zone_cut.key || vld_use_zone(v, v->qry->zone_cut.name) != 0 ||
		!kr_ta_closest(v->req->ctx, child, KNOT_RRTYPE_DS))
		return;
	for (size_t i = 0; i < array->len; ++i) {
		ranked_rr_array_entry_t *entry = array->at[i];
		if (!vld_is_open(v, entry))
			continue;
		ranked_rr_array_entry_t *sigs = vld_find_rrsig(v, array, entry->rr);
		const knot_dname_t *signer =
			sigs ? vld_claimed_signer(v, entry->rr, sigs->rr) : NULL;
		if (!signer || !knot_dname_is_equal(signer, v->zone->name) ||
			vld_verify_entry(v, array, entry, sigs) != 0)
			continue;
		if (vld_is_proof_type(entry->rr->type))
			vld_note_proof(v, array, entry);
	}
	ranked_rr_array_entry_t *ds = vld_find_entry(v, array, child, KNOT_RRTYPE_DS);
	struct dnssec_proof proof;
	if (ds && kr_rank_test(ds->rank, KR_RANK_SECURE)) {
		const bool is_supported = kr_ds_algo_support(ds->rr);
		if (!is_supported)
			note_unsupported(v, ds->rr);
		conclude_referral(v, child, !is_supported, ds->rr);
	} else if (!ds && vld_prove_denial(v, child, KNOT_RRTYPE_DS, false, &proof) == 0 &&
		   fact_of(&proof, false) == KR_ZONE_INSECURE) {
		conclude_referral(v, child, true, NULL);
	}
	vld_set_open_ranks(v, KR_RANK_TRY);
}

/* ---- the layer ---- */

/**
 * A failed message has nothing for the client. What was found secure in it is true all the same and
 * may be kept, but for data of wildcards, which are not true for every name.
 */
static void discard_message(struct vld *v)
{
	struct kr_request *req = v->req;
	ranked_rr_array_t *all[] = kr_request_selected(req);
	vld_set_open_ranks(v, KR_RANK_BOGUS);
	for (size_t i = 0; i < KR_MIN(v->expanded_count, VLD_EXPANDED_MAX); ++i)
		vld_set_rank(v, &req->answ_selected, v->expanded[i].entry, KR_RANK_BOGUS);
	const bool has_surplus = v->expanded_count > VLD_EXPANDED_MAX;
	for (size_t i = 0; i < KR_COUNT_OF(all); ++i) {
		for (size_t j = 0; j < all[i]->len; ++j) {
			ranked_rr_array_entry_t *entry = all[i]->at[j];
			if (!vld_is_ours(v, entry))
				continue;
			entry->to_wire = false;
			if (has_surplus || !kr_rank_test(entry->rank, KR_RANK_SECURE))
				entry->dont_cache = true;
		}
	}
}

/** Whatever is wrong with the denial of a zone's keys: there should have been keys. */
static void blame_missing_keys(struct vld *v)
{
	const struct kr_query *qry = v->qry;
	char zone[KNOT_DNAME_TXT_MAXLEN + 1];
	if (qry->stype != KNOT_RRTYPE_DNSKEY || has_answer(v) || !qry->zone_cut.name ||
		!knot_dname_is_equal(qry->zone_cut.name, qry->sname) ||
		!knot_dname_to_str(zone, qry->sname, sizeof(zone)))
		return;
	v->ede_text = NULL;
	vld_blame(v, KNOT_EDNS_EDE_DNSKEY_MISS, "DS but no DNSKEY: %.40s", zone);
}

static int fail(struct vld *v, int ret)
{
	struct kr_query *qry = v->qry;
	struct kr_request *req = v->req;
	if (ret == kr_error(EDQUOT))
		report_exhaustion(v);
	else
		blame_missing_keys(v);
	VERBOSE(qry, "<= bogus: %s\n", v->ede_text ? v->ede_text : "not validated");
	discard_message(v);
	qry->flags.DNSSEC_BOGUS = true;
	kr_request_set_extended_error(
		req, v->ede_text ? v->ede_code : KNOT_EDNS_EDE_BOGUS, v->ede_text);
	if (req->upstream.transport)
		qry->server_selection.error(
			qry, req->upstream.transport, KR_SELECTION_DNSSEC_ERROR);
	return KR_STATE_FAIL;
}

/** Another server's failure is forgotten once an answer is good. */
static void clear_error(struct kr_request *req)
{
	switch (req->extended_error.info_code) {
	case KNOT_EDNS_EDE_BOGUS:
	case KNOT_EDNS_EDE_SIG_EXPIRED:
	case KNOT_EDNS_EDE_SIG_NOTYET:
	case KNOT_EDNS_EDE_DNSKEY_MISS:
	case KNOT_EDNS_EDE_RRSIG_MISS:
	case KNOT_EDNS_EDE_DNSKEY_BIT:
	case KNOT_EDNS_EDE_NSEC_MISS:
		kr_request_set_extended_error(req, KR_EDE_NONE, NULL);
		break;
	default:
		break;
	}
}

static int succeed(struct vld *v, int ret, int state)
{
	struct kr_query *qry = v->qry;
	if (ret == VLD_INSECURE)
		vld_set_open_ranks(v, KR_RANK_INSECURE);
	if (qry->stype != KNOT_RRTYPE_RRSIG)
		drop_open(v, &v->req->answ_selected);
	drop_open(v, &v->req->auth_selected);
	if (ret == VLD_INSECURE || has_rank(v, KR_RANK_INSECURE)) {
		if (ret == VLD_INSECURE &&
			(qry->stype == KNOT_RRTYPE_DS || qry->stype == KNOT_RRTYPE_DNSKEY))
			(void)kr_validate_deliver_ds(qry, KR_ZONE_INSECURE, NULL);
		vld_become_insecure(qry);
	} else {
		VERBOSE(qry, "<= answer valid, OK\n");
	}
	clear_error(v->req);
	return state;
}

/** What an unvalidated query tells those that wait for it. */
static int pass_insecure(struct vld *v)
{
	struct kr_query *qry = v->qry;
	if (!qry->flags.DNSSEC_INSECURE)
		return v->req->state;
	vld_set_open_ranks(v, KR_RANK_INSECURE);
	if (qry->parent && !qry->next_cut &&
		(qry->stype == KNOT_RRTYPE_DS || qry->stype == KNOT_RRTYPE_DNSKEY))
		(void)kr_validate_deliver_ds(qry, KR_ZONE_INSECURE, NULL);
	return v->req->state;
}

/** What the cache held was judged before; only its news for waiting queries is of interest. */
static int judge_cached(struct vld *v)
{
	struct kr_query *qry = v->qry;
	ranked_rr_array_t *answer = &v->req->answ_selected;
	if (qry->stype == KNOT_RRTYPE_DNSKEY) {
		ranked_rr_array_entry_t *key =
			vld_find_entry(v, answer, qry->sname, KNOT_RRTYPE_DNSKEY);
		if (key && kr_rank_test(key->rank, KR_RANK_SECURE))
			return kr_validate_deliver_key(qry, key->rr);
		if (key && kr_rank_test(key->rank, KR_RANK_INSECURE))
			return kr_validate_deliver_ds(qry, KR_ZONE_INSECURE, NULL);
		return kr_ok();
	}
	if (qry->stype != KNOT_RRTYPE_DS)
		return kr_ok();
	ranked_rr_array_entry_t *ds = vld_find_entry(v, answer, qry->sname, KNOT_RRTYPE_DS);
	if (ds)
		return conclude_ds(v, ds);
	if (has_rank(v, KR_RANK_INSECURE))
		return deliver_ds(v, KR_ZONE_INSECURE, NULL);
	return has_answer(v) ? deliver_ds(v, KR_ZONE_NO_CUT, NULL) : judge_negative(v);
}

static bool acts_on(const kr_layer_t *ctx, const struct kr_query *qry)
{
	if (!qry || qry->flags.STUB || (ctx->state & KR_STATE_FAIL))
		return false;
	return ctx->state != KR_STATE_CONSUME;
}

static int judge(struct vld *v, int state)
{
	struct kr_query *qry = v->qry;
	if (!qry->flags.DNSSEC_WANT)
		return pass_insecure(v);
	if (qry->next_cut) {
		judge_referral(v);
		return state;
	}
	int ret = qry->flags.CACHED && !has_rank(v, KR_RANK_INITIAL) ? judge_cached(v)
								     : judge_message(v);
	if (ret == VLD_YIELD || needs_a_break(v, ret)) {
		vld_reopen(v);
		return KR_STATE_YIELD;
	}
	return ret < 0 ? fail(v, ret) : succeed(v, ret, state);
}

static int consume(kr_layer_t *ctx, knot_pkt_t *pkt)
{
	struct kr_request *req = ctx->req;
	struct kr_query *qry = req->current_query;
	if (!acts_on(ctx, qry))
		return ctx->state;
	struct vld v = {
		.req = req,
		.qry = qry,
		.pkt = pkt,
		.known = vld_known(req),
	};
	if (!v.known)
		return KR_STATE_FAIL;
	const int state = ctx->state == KR_STATE_YIELD ? KR_STATE_DONE : ctx->state;
	req->state = state;
	qry->flags.DNSSEC_BOGUS = false;
	open_allowance(&v);
	int result = judge(&v, state);
	close_allowance(&v);
	dnssec_keyset_deinit(&v.keys);
	return result;
}

/** Clients that did not ask for unchecked data do not get data that failed the check. */
static int answer_finalize(kr_layer_t *ctx)
{
	struct kr_request *req = ctx->req;
	if (!req->qsource.packet || knot_wire_get_cd(req->qsource.packet->wire))
		return ctx->state;
	ranked_rr_array_t *all[] = kr_request_selected(req);
	for (size_t i = 0; i < KR_COUNT_OF(all); ++i) {
		for (size_t j = 0; j < all[i]->len; ++j) {
			ranked_rr_array_entry_t *entry = all[i]->at[j];
			const uint8_t rank = entry->rank;
			if (kr_rank_test(rank, KR_RANK_INDET) ||
				kr_rank_test(rank, KR_RANK_BOGUS) ||
				kr_rank_test(rank, KR_RANK_MISMATCH) ||
				kr_rank_test(rank, KR_RANK_MISSING))
				entry->to_wire = false;
		}
	}
	return ctx->state;
}

int validate_init(struct kr_module *self)
{
	static const kr_layer_api_t layer = {
		.consume = consume,
		.answer_finalize = answer_finalize,
		.is_skippable = true,
		.concerns = kr_layer_unconcerned,
	};
	self->layer = &layer;
	return kr_ok();
}
