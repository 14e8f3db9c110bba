/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Zone cuts of queries and their chain of trust: which DS or DNSKEY has to be known before a
 * question is sent, and what a referral changes. What the records are worth is the validator's
 * business. */

#include "lib/resolve_impl.h"

#include <libknot/consts.h>
#include <libknot/descriptor.h>

#include "lib/log.h"
#include "lib/utils.h"
#include "lib/dnssec/key.h"
#include "lib/dnssec/ta.h"

#define VERBOSE(qry, ...) kr_log_q((qry), RESOLVER, __VA_ARGS__)

/** Sub-queries for the chain of trust of one query. */
#define CHAIN_STEPS_MAX 30

static void become_insecure(struct kr_query *qry)
{
	if (!qry->flags.DNSSEC_WANT)
		return;
	VERBOSE(qry, ">< going insecure: no chain of trust here\n");
	qry->flags.DNSSEC_WANT = false;
	qry->flags.DNSSEC_INSECURE = true;
}

/** Forwarders are asked as if from the closest trust anchor down. */
static int find_forward_cut(struct kr_query *qry)
{
	const knot_dname_t *anchor = NULL;
	if (qry->flags.DNSSEC_WANT)
		anchor = kr_ta_closest(qry->request->ctx, qry->sname, qry->stype);
	return kr_zonecut_init(
		&qry->zone_cut, anchor ? anchor : (const knot_dname_t *)"", &qry->request->pool);
}

int resolve_find_cut(struct kr_query *qry)
{
	struct kr_request *req = qry->request;
	if (qry->flags.STUB || qry->flags.FORWARD)
		return find_forward_cut(qry);
	const knot_dname_t *name = qry->sname;
	if (qry->stype == KNOT_RRTYPE_DS && name[0] != '\0')
		name = knot_wire_next_label(name, NULL); /* the parent's side of the cut has it */
	bool secured = qry->flags.DNSSEC_WANT;
	struct kr_zonecut cut = {0};
	int ret = kr_zonecut_init(&cut, name, &req->pool);
	if (ret == 0)
		ret = kr_zonecut_find_cached(req->ctx, &cut, name, qry, &secured);
	if (ret != 0)
		return ret;
	kr_zonecut_move(&qry->zone_cut, &cut);
	kr_server_selection_init(qry); /* its servers are known only now */
	if (!secured)
		become_insecure(qry);
	return kr_ok();
}

/** Push a sub-query of the chain. @return 1 pushed, < 0 it cannot be */
static int push_chain_query(struct kr_query *qry, uint16_t type)
{
	struct kr_request *req = qry->request;
	const knot_dname_t *name = qry->zone_cut.name;
	if (qry->chain_steps >= CHAIN_STEPS_MAX ||
		kr_rplan_satisfies(qry, name, KNOT_CLASS_IN, type)) {
		kr_request_set_extended_error(
			req, KNOT_EDNS_EDE_BOGUS, "chain of trust does not end");
		qry->flags.DNSSEC_BOGUS = true;
		return kr_error(ELOOP);
	}
	struct kr_query *next = kr_rplan_push(&req->rplan, qry, name, KNOT_CLASS_IN, type);
	if (!next)
		return kr_error(ENOMEM);
	qry->chain_steps += 1;
	next->flags.DNSSEC_WANT = true;
	if (type == KNOT_RRTYPE_DS || qry->flags.FORWARD) {
		next->flags.AWAIT_CUT = true;
		return 1;
	}
	/* The key is asked of the very servers that the query itself will ask. */
	int ret = kr_zonecut_init(&next->zone_cut, name, &req->pool);
	if (ret == 0)
		ret = kr_zonecut_copy(&next->zone_cut, &qry->zone_cut);
	if (ret == 0)
		ret = kr_zonecut_copy_trust(&next->zone_cut, &qry->zone_cut);
	if (ret != 0)
		return ret;
	next->zone_cut.ttl_s = qry->zone_cut.ttl_s;
	next->zone_cut.depth = qry->zone_cut.depth;
	return 1;
}

int resolve_chain_check(struct kr_query *qry)
{
	struct kr_request *req = qry->request;
	struct kr_context *ctx = req->ctx;
	if (!qry->flags.DNSSEC_WANT || qry->flags.STUB)
		return kr_ok();
	const knot_dname_t *anchor = kr_ta_closest(ctx, qry->sname, qry->stype);
	if (!anchor) {
		become_insecure(qry);
		return kr_ok();
	}
	struct kr_zonecut *cut = &qry->zone_cut;
	if (knot_dname_in_bailiwick(cut->name, anchor) < 0)
		return kr_ok(); /* still above an island of trust: nothing here can be checked */
	if (!cut->trust_anchor) {
		const knot_rrset_t *ds = kr_ta_get(ctx->trust_anchors, cut->name);
		if (ds) {
			cut->trust_anchor = knot_rrset_copy(ds, &req->pool);
			if (!cut->trust_anchor)
				return kr_error(ENOMEM);
		}
	}
	if (!cut->trust_anchor)
		return push_chain_query(qry, KNOT_RRTYPE_DS);
	const bool is_usable = kr_ds_algo_support(cut->trust_anchor) ||
			       kr_ta_get(ctx->trust_anchors, cut->name) != NULL;
	if (cut->trust_anchor->rrs.count == 0 || !is_usable) { /* RFC 4035 section 5.2 */
		become_insecure(qry);
		return kr_ok();
	}
	const bool asks_key =
		qry->stype == KNOT_RRTYPE_DNSKEY && knot_dname_is_equal(qry->sname, cut->name);
	if (!cut->key && !asks_key)
		return push_chain_query(qry, KNOT_RRTYPE_DNSKEY);
	return kr_ok();
}

/** The DS set that came with the referral, if it was found valid. */
static knot_rrset_t *referral_ds(struct kr_query *qry)
{
	const ranked_rr_array_t *selected = &qry->request->auth_selected;
	for (size_t i = 0; i < selected->len; ++i) {
		const ranked_rr_array_entry_t *entry = selected->at[i];
		if (entry->qry_uid == qry->uid && entry->rr->type == KNOT_RRTYPE_DS &&
			kr_rank_test(entry->rank, KR_RANK_SECURE) &&
			knot_dname_is_equal(entry->rr->owner, qry->next_cut->name))
			return entry->rr;
	}
	return NULL;
}

void resolve_follow_referral(struct kr_query *qry)
{
	struct kr_request *req = qry->request;
	struct kr_zonecut *next = qry->next_cut;
	struct kr_zonecut *parent = mm_alloc(&req->pool, sizeof(*parent));
	if (parent) {
		kr_zonecut_move(parent, &qry->zone_cut);
		next->parent = parent;
	}
	if (!next->trust_anchor && qry->flags.DNSSEC_WANT)
		next->trust_anchor = referral_ds(qry);
	if (qry->flags.DNSSEC_NODS && !next->trust_anchor)
		become_insecure(qry);
	if (qry->flags.DNSSEC_WANT && !kr_ta_closest(req->ctx, next->name, KNOT_RRTYPE_NS) &&
		kr_ta_closest(req->ctx, qry->sname, qry->stype) == NULL)
		become_insecure(qry); /* below a negative anchor */
	kr_zonecut_move(&qry->zone_cut, next);
	qry->next_cut = NULL;
	qry->flags.DNSSEC_NODS = false;
	qry->flags.DNSSEC_OPTOUT = false;
	qry->flags.NO_NS_FOUND = false;
	qry->server_selection.initialized = false;
}
