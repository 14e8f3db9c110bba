/* SPDX-License-Identifier: GPL-3.0-or-later */

#include "lib/layer/iterate.h"

#include <libknot/codes.h>
#include <libknot/descriptor.h>
#include <libknot/rrtype/rdname.h>
#include <libknot/rrtype/opt.h>
#include <libknot/rrtype/rrsig.h>
#include <libknot/rrtype/soa.h>
#include <libknot/wire.h>

#include "lib/log.h"
#include "lib/resolve.h"
#include "lib/scrub.h"
#include "lib/utils.h"
#include "lib/dnssec/ta.h"

#define VERBOSE(qry, ...) kr_log_q((qry), ITERATOR, __VA_ARGS__)

int kr_response_classify(const knot_pkt_t *pkt)
{
	const knot_pktsection_t *answer = knot_pkt_section(pkt, KNOT_ANSWER);
	switch (knot_wire_get_rcode(pkt->wire)) {
	case KNOT_RCODE_NOERROR:
		return answer->count == 0 ? PKT_NODATA : PKT_NOERROR;
	case KNOT_RCODE_NXDOMAIN:
		return PKT_NXDOMAIN;
	case KNOT_RCODE_REFUSED:
		return PKT_REFUSED;
	default:
		return PKT_ERROR;
	}
}

/* ---- questions ---- */

/**
 * How many labels of the name to ask for next (RFC 9156): one more than is known to exist, the
 * first four singly, the rest spread over the steps that are left.
 */
static int labels_to_ask(const struct kr_query *qry)
{
	const int all = knot_dname_labels(qry->sname, NULL);
	if (qry->flags.NO_MINIMIZE || qry->flags.STUB || qry->flags.FORWARD)
		return all;
	const int known = KR_MAX(knot_dname_labels(qry->zone_cut.name, NULL), qry->min_labels);
	const int left = KR_MINIMIZE_MAX - qry->min_steps;
	if (left <= 1)
		return all;
	if (qry->min_steps < KR_MINIMIZE_ONE_LABEL)
		return KR_MIN(known + 1, all);
	return KR_MIN(known + (all - known + left - 1) / left, all);
}

int kr_make_query(struct kr_query *query, knot_pkt_t *pkt)
{
	const int all = knot_dname_labels(query->sname, NULL);
	const int ask = labels_to_ask(query);
	knot_dname_t *name = query->sname;
	for (int i = ask; i < all; ++i)
		name = (knot_dname_t *)knot_wire_next_label(name, NULL);
	query->asked_name = name;
	query->asked_type = ask < all ? KNOT_RRTYPE_NS : query->stype;

	memset(pkt->wire, 0, KNOT_WIRE_HEADER_SIZE);
	kr_pkt_recycle(pkt);
	int ret = knot_pkt_put_question(pkt, name, query->sclass, query->asked_type);
	if (ret != KNOT_EOK)
		return kr_error(ret);
	uint16_t id;
	kr_ctx_rnd(query->request->ctx, &id, sizeof(id));
	knot_wire_set_id(pkt->wire, id);
	query->id = id;
	pkt->parsed = pkt->size;
	return kr_ok();
}

static bool is_minimized(const struct kr_query *qry)
{
	return qry->asked_name != qry->sname;
}

/** Give an answer without looking anything up. */
static int answer_at_once(struct kr_request *req, uint8_t rcode)
{
	knot_pkt_t *answer = kr_request_ensure_answer(req);
	if (!answer)
		return KR_STATE_FAIL;
	knot_wire_set_rcode(answer->wire, rcode);
	return KR_STATE_DONE;
}

/** The minimal answer to ANY (RFC 8482 section 4.2). */
static int answer_any(struct kr_request *req, const struct kr_query *qry)
{
	static const uint8_t hinfo[] = "\x07"
				       "RFC8482"
				       "\x00";
	knot_pkt_t *answer = kr_request_ensure_answer(req);
	if (!answer || knot_pkt_begin(answer, KNOT_ANSWER) != KNOT_EOK ||
		kr_pkt_put(answer, knot_pkt_qname(req->qsource.packet), KR_TTL_NEG_MAX_S,
			qry->sclass, KNOT_RRTYPE_HINFO, hinfo, sizeof(hinfo) - 1) != 0)
		return KR_STATE_FAIL;
	return KR_STATE_DONE;
}

static int begin(kr_layer_t *ctx)
{
	if (ctx->state & (KR_STATE_DONE | KR_STATE_FAIL))
		return ctx->state;
	struct kr_request *req = ctx->req;
	const struct kr_query *qry = req->current_query;
	if (qry->sclass != KNOT_CLASS_IN)
		return answer_at_once(req,
			qry->sclass == KNOT_CLASS_CH ? KNOT_RCODE_REFUSED : KNOT_RCODE_NOTIMPL);
	if (qry->stype == KNOT_RRTYPE_ANY)
		return answer_any(req, qry);
	if (qry->stype == 0 || knot_rrtype_is_metatype(qry->stype))
		return answer_at_once(req, KNOT_RCODE_NOTIMPL);
	return KR_STATE_PRODUCE;
}

static int produce(kr_layer_t *ctx, knot_pkt_t *pkt)
{
	if (ctx->state & (KR_STATE_DONE | KR_STATE_FAIL))
		return ctx->state;
	struct kr_request *req = ctx->req;
	struct kr_query *qry = req->current_query;
	if (!qry || !qry->sname)
		return KR_STATE_FAIL;
	qry->uid = ++req->rplan.next_uid;
	return kr_make_query(qry, pkt) == 0 ? KR_STATE_CONSUME : KR_STATE_FAIL;
}

/* ---- picking records ---- */

/** Rank that came along with a record of a cached answer; OMIT for answers made by modules. */
static uint8_t cached_rank(const knot_rrset_t *rr)
{
	return rr->additional ? *(const uint8_t *)rr->additional : KR_RANK_OMIT;
}

static uint32_t clamp_ttl(const struct kr_query *qry, uint32_t ttl)
{
	const struct kr_cache *cache = &qry->request->ctx->cache;
	if (qry->flags.CACHED || !kr_cache_is_open(cache))
		return ttl;
	return KR_MIN(KR_MAX(ttl, cache->ttl_min), cache->ttl_max);
}

/** Add one record of the packet. @return its set's entry, or NULL */
static ranked_rr_array_entry_t *pick_entry(struct kr_query *qry, ranked_rr_array_t *to,
	const knot_rrset_t *rr, uint8_t rank, bool to_wire)
{
	struct kr_request *req = qry->request;
	knot_rrset_t copy = *rr;
	if (qry->flags.CACHED)
		rank = cached_rank(rr);
	copy.additional = NULL;
	copy.ttl = clamp_ttl(qry, rr->ttl);
	if (rr->type == KNOT_RRTYPE_SOA) /* RFC 2308 section 3 */
		copy.ttl =
			KR_MIN(copy.ttl, KR_MAX(knot_soa_minimum(rr->rrs.rdata),
						 qry->flags.CACHED ? 0 : req->ctx->cache.ttl_min));
	const int index = kr_ranked_rrarray_add(to, &copy, rank, to_wire, qry->uid, &req->pool);
	if (index < 0)
		return NULL;
	if (qry->flags.CACHED)
		to->at[index]->cached = true;
	return to->at[index];
}

static int pick(struct kr_query *qry, ranked_rr_array_t *to, const knot_rrset_t *rr, uint8_t rank,
	bool to_wire)
{
	return pick_entry(qry, to, rr, rank, to_wire) ? kr_ok() : kr_error(ENOMEM);
}

static bool is_for_client(const struct kr_query *qry)
{
	return qry->parent == NULL;
}

static uint8_t answer_rank(const struct kr_query *qry)
{
	return qry->flags.STUB ? KR_RANK_OMIT | KR_RANK_AUTH : KR_RANK_INITIAL | KR_RANK_AUTH;
}

static int finalize(struct kr_query *qry)
{
	struct kr_request *req = qry->request;
	ranked_rr_array_t *all[] = kr_request_selected(req);
	for (size_t i = 0; i < KR_COUNT_OF(all); ++i) {
		int ret = kr_ranked_rrarray_finalize(all[i], qry->uid, &req->pool);
		if (ret != 0)
			return ret;
	}
	return kr_ok();
}

/** Pick the records of a set and its signatures from ANSWER. @return number of non-RRSIG records or
 * error */
static int pick_answer(
	struct kr_query *qry, const knot_pkt_t *pkt, const knot_dname_t *owner, uint16_t type)
{
	const knot_pktsection_t *answer = knot_pkt_section(pkt, KNOT_ANSWER);
	int found = 0;
	for (unsigned i = 0; i < answer->count; ++i) {
		const knot_rrset_t *rr = knot_pkt_rr(answer, i);
		const bool is_data = rr->type == type;
		if ((!is_data && kr_rrset_type_maysig(rr) != type) ||
			!knot_dname_is_case_equal(rr->owner, owner))
			continue;
		int ret = pick(qry, &qry->request->answ_selected, rr, answer_rank(qry),
			is_for_client(qry));
		if (ret != 0)
			return ret;
		found += is_data;
	}
	return found;
}

/**
 * Servers of the zone beside its SOA: handed on to the client, never believed (C-12). Unsigned as
 * they mostly come, they would only spoil a validated answer.
 */
static int pick_promiscuous_ns(struct kr_query *qry, const knot_rrset_t *rr, bool to_wire)
{
	if (qry->flags.DNSSEC_WANT || qry->flags.CACHED || !to_wire)
		return kr_ok();
	ranked_rr_array_entry_t *entry =
		pick_entry(qry, &qry->request->auth_selected, rr, KR_RANK_OMIT, to_wire);
	if (!entry)
		return kr_error(ENOMEM);
	entry->dont_cache = true;
	return kr_ok();
}

/** Pick what is left of AUTHORITY: SOA, proofs, and for referrals NS and DS. */
static int pick_authority(struct kr_query *qry, const knot_pkt_t *pkt, bool to_wire)
{
	const knot_pktsection_t *authority = knot_pkt_section(pkt, KNOT_AUTHORITY);
	for (unsigned i = 0; i < authority->count; ++i) {
		const knot_rrset_t *rr = knot_pkt_rr(authority, i);
		int ret = kr_ok();
		if (rr->type == KNOT_RRTYPE_NS && qry->shape != KR_SHAPE_REFERRAL)
			ret = pick_promiscuous_ns(qry, rr, to_wire);
		else
			ret = pick(qry, &qry->request->auth_selected, rr,
				rr->type == KNOT_RRTYPE_NS ? KR_RANK_TRY : answer_rank(qry),
				to_wire);
		if (ret != 0)
			return ret;
	}
	return kr_ok();
}

/* ---- aliases ---- */

static const knot_rrset_t *find_rr(const knot_pkt_t *pkt, const knot_dname_t *owner, uint16_t type)
{
	const knot_pktsection_t *answer = knot_pkt_section(pkt, KNOT_ANSWER);
	for (unsigned i = 0; i < answer->count; ++i) {
		const knot_rrset_t *rr = knot_pkt_rr(answer, i);
		if (rr->type == type && knot_dname_is_case_equal(rr->owner, owner))
			return rr;
	}
	return NULL;
}

/** A DNAME of ANSWER strictly above the name. */
static const knot_rrset_t *find_dname(const knot_pkt_t *pkt, const knot_dname_t *name)
{
	const knot_pktsection_t *answer = knot_pkt_section(pkt, KNOT_ANSWER);
	for (unsigned i = 0; i < answer->count; ++i) {
		const knot_rrset_t *rr = knot_pkt_rr(answer, i);
		if (rr->type == KNOT_RRTYPE_DNAME && knot_dname_in_bailiwick(name, rr->owner) > 0)
			return rr;
	}
	return NULL;
}

/** One link of an alias chain. */
struct alias {
	const knot_rrset_t *cname; /**< CNAME of the packet, or NULL */
	const knot_rrset_t *dname; /**< DNAME of the packet, or NULL */
	const knot_dname_t *target;
	bool is_too_long; /**< DNAME makes a name beyond 255 octets */
};

/** @return 0; 1 there is no alias at this name; < 0 error */
static int find_alias(
	struct kr_query *qry, const knot_pkt_t *pkt, const knot_dname_t *name, struct alias *alias)
{
	*alias = (struct alias){0};
	alias->dname = find_dname(pkt, name);
	if (!alias->dname) {
		alias->cname = find_rr(pkt, name, KNOT_RRTYPE_CNAME);
		if (!alias->cname)
			return 1;
		alias->target = knot_cname_name(alias->cname->rrs.rdata);
		return kr_ok();
	}
	const knot_rrset_t *dname = alias->dname;
	const size_t kept = knot_dname_labels(name, NULL) - knot_dname_labels(dname->owner, NULL);
	const knot_dname_t *to = knot_dname_target(dname->rrs.rdata);
	const size_t size =
		knot_dname_size(name) - knot_dname_size(dname->owner) + knot_dname_size(to);
	if (size > KNOT_DNAME_MAXLEN) {
		alias->is_too_long = true;
		return kr_ok();
	}
	alias->target = knot_dname_replace_suffix(
		name, knot_dname_labels(dname->owner, NULL), to, &qry->request->pool);
	return alias->target && kept > 0 ? kr_ok() : kr_error(ENOMEM);
}

/** The CNAME that a DNAME stands for (RFC 6672 section 3.3); always made by us. */
static int pick_synthesized_cname(
	struct kr_query *qry, const knot_dname_t *owner, const struct alias *alias)
{
	struct kr_request *req = qry->request;
	knot_rrset_t rr;
	knot_rrset_init(
		&rr, (knot_dname_t *)owner, KNOT_RRTYPE_CNAME, KNOT_CLASS_IN, alias->dname->ttl);
	int ret = knot_rrset_add_rdata(
		&rr, alias->target, knot_dname_size(alias->target), &req->pool);
	if (ret != KNOT_EOK)
		return kr_error(ENOMEM);
	rr.additional = alias->dname->additional;
	ranked_rr_array_entry_t *entry =
		pick_entry(qry, &req->answ_selected, &rr, answer_rank(qry), is_for_client(qry));
	if (!entry)
		return kr_error(ENOMEM);
	entry->dont_cache = true;
	return kr_ok();
}

static int pick_alias(struct kr_query *qry, const knot_pkt_t *pkt, const knot_dname_t *name,
	const struct alias *alias)
{
	if (alias->cname)
		return KR_MIN(0, pick_answer(qry, pkt, name, KNOT_RRTYPE_CNAME));
	int ret = pick_answer(qry, pkt, alias->dname->owner, KNOT_RRTYPE_DNAME);
	if (ret < 0 || alias->is_too_long)
		return KR_MIN(0, ret);
	return pick_synthesized_cname(qry, name, alias);
}

/** Everything at the name is signed by the zone we asked, or nothing is. */
static bool is_signed_by_cut(
	const struct kr_query *qry, const knot_pkt_t *pkt, const knot_dname_t *owner, uint16_t type)
{
	const knot_pktsection_t *answer = knot_pkt_section(pkt, KNOT_ANSWER);
	for (unsigned i = 0; i < answer->count; ++i) {
		const knot_rrset_t *rr = knot_pkt_rr(answer, i);
		if (rr->type != KNOT_RRTYPE_RRSIG || kr_rrset_type_maysig(rr) != type ||
			!knot_dname_is_case_equal(rr->owner, owner))
			continue;
		if (!knot_dname_is_case_equal(
			    knot_rrsig_signer_name(rr->rrs.rdata), qry->zone_cut.name))
			return false;
	}
	return true;
}

/**
 * May the next name of the chain be taken from the same message (C-05)? Only inside of the zone
 * asked: an alias that leads into another zone is asked anew.
 */
static bool may_continue(
	const struct kr_query *qry, const knot_pkt_t *pkt, const knot_dname_t *name)
{
	if (qry->flags.CACHED || qry->flags.STUB)
		return true;
	if (knot_dname_in_bailiwick(name, qry->zone_cut.name) < 0)
		return false;
	/* A forwarder may be asked about an insecure name and answer with a secure one. */
	if (qry->flags.FORWARD && !knot_wire_get_cd(qry->request->qsource.packet->wire) &&
		kr_ta_closest(qry->request->ctx, name, qry->stype))
		return false;
	const uint16_t type = find_rr(pkt, name, qry->stype) ? qry->stype : KNOT_RRTYPE_CNAME;
	if (!find_rr(pkt, name, type))
		return false;
	return !qry->flags.DNSSEC_WANT ||
	       (!qry->flags.FORWARD && is_signed_by_cut(qry, pkt, name, type));
}

/** Did this chain of queries ask for the name before? */
static bool is_loop(const struct kr_query *qry, const knot_dname_t *target)
{
	for (; qry; qry = qry->cname_parent) {
		if (knot_dname_is_case_equal(qry->sname, target))
			return true;
	}
	return false;
}

/** Ask for the target of an alias as a query of its own. */
static int follow_alias(struct kr_query *qry, const knot_dname_t *target)
{
	struct kr_request *req = qry->request;
	qry->flags.RESOLVED = true;
	qry->flags.CNAME = true;
	const bool is_chain_query =
		qry->parent && (qry->stype == KNOT_RRTYPE_DS || qry->stype == KNOT_RRTYPE_DNSKEY);
	if (qry->is_ns_lookup || is_chain_query)
		return KR_STATE_DONE; /* neither servers nor keys have aliases */
	if (is_loop(qry, target)) {
		VERBOSE(qry, "<= alias loop\n");
		if (req->answer &&
			is_for_client(qry)) /* RFC 1034 section 3.6.2: an error, with the chain */
			knot_wire_set_rcode(req->answer->wire, KNOT_RCODE_SERVFAIL);
		return KR_STATE_DONE;
	}
	struct kr_query *next =
		kr_rplan_push(&req->rplan, qry->parent, target, qry->sclass, qry->stype);
	if (!next)
		return KR_STATE_FAIL;
	next->flags.AWAIT_CUT = true;
	next->flags.TRACE = qry->flags.TRACE;
	next->flags.ALWAYS_CUT = qry->flags.ALWAYS_CUT;
	next->flags.DNS64_MARK = qry->flags.DNS64_MARK;
	next->flags.NO_MINIMIZE = req->options.NO_MINIMIZE;
	next->cname_parent = qry;
	next->cname_depth = qry->cname_depth + 1;
	const bool validates = !knot_wire_get_cd(req->qsource.packet->wire) && !qry->flags.STUB;
	next->flags.DNSSEC_WANT = validates && kr_ta_closest(req->ctx, next->sname, next->stype);
	return KR_STATE_DONE;
}

/* ---- answers ---- */

/** The answer's RCODE so far; a later query of an alias chain overwrites it. */
static int set_rcode(struct kr_query *qry, const knot_pkt_t *pkt)
{
	if (!is_for_client(qry))
		return kr_ok();
	knot_pkt_t *answer = kr_request_ensure_answer(qry->request);
	if (!answer)
		return kr_error(ENOMEM);
	knot_wire_set_rcode(answer->wire, knot_wire_get_rcode(pkt->wire));
	knot_wire_clear_aa(answer->wire);
	return kr_ok();
}

static int alias_failed(struct kr_query *qry, const char *why)
{
	VERBOSE(qry, "<= %s\n", why);
	return KR_STATE_FAIL;
}

/** Take the alias chain of a message. @param[out] name where it ends @return state, or 0 to go on
 */
static int walk_chain(struct kr_query *qry, knot_pkt_t *pkt, const knot_dname_t **name)
{
	struct kr_request *req = qry->request;
	for (;;) {
		const bool asks_alias = qry->stype == KNOT_RRTYPE_CNAME;
		if (asks_alias ? *name != qry->sname || !find_dname(pkt, *name)
			       : find_rr(pkt, *name, qry->stype) != NULL)
			return 0;
		struct alias alias;
		int ret = find_alias(qry, pkt, *name, &alias);
		if (ret != 0)
			return ret > 0 ? 0 : KR_STATE_FAIL;
		if (!kr_budget_spend(req, KR_BUDGET_ALIASES, 1))
			return alias_failed(qry, "alias chain is too long");
		if (pick_alias(qry, pkt, *name, &alias) != 0)
			return KR_STATE_FAIL;
		if (alias.is_too_long) {
			knot_wire_set_rcode(pkt->wire, KNOT_RCODE_YXDOMAIN);
			qry->flags.RESOLVED = true;
			return set_rcode(qry, pkt) == 0 ? KR_STATE_DONE : KR_STATE_FAIL;
		}
		if (asks_alias) { /* what the DNAME yields is the answer */
			qry->flags.RESOLVED = true;
			return set_rcode(qry, pkt) == 0 ? KR_STATE_DONE : KR_STATE_FAIL;
		}
		*name = alias.target;
		if (!may_continue(qry, pkt, *name)) {
			knot_wire_set_rcode(pkt->wire, KNOT_RCODE_NOERROR);
			if (set_rcode(qry, pkt) != 0)
				return KR_STATE_FAIL;
			return follow_alias(qry, *name);
		}
	}
}

/** An answer to the whole question. */
static int process_answer(struct kr_query *qry, knot_pkt_t *pkt)
{
	const knot_dname_t *name = qry->sname;
	const int state = walk_chain(qry, pkt, &name);
	if (state == KR_STATE_FAIL)
		return state;
	if (state == 0) {
		int found = pick_answer(qry, pkt, name, qry->stype);
		if (found < 0)
			return KR_STATE_FAIL;
		if (found == 0 && name != qry->sname) { /* the chain leads on */
			knot_wire_set_rcode(pkt->wire, KNOT_RCODE_NOERROR);
			if (set_rcode(qry, pkt) != 0 || follow_alias(qry, name) == KR_STATE_FAIL)
				return KR_STATE_FAIL;
		} else {
			qry->flags.RESOLVED = true;
			if (set_rcode(qry, pkt) != 0)
				return KR_STATE_FAIL;
		}
	}
	if (pick_authority(qry, pkt, is_for_client(qry)) != 0)
		return KR_STATE_FAIL;
	return finalize(qry) == 0 ? KR_STATE_DONE : KR_STATE_FAIL;
}

/** An answer to a minimised question only tells how to go on. */
static int process_minimized(struct kr_query *qry, const knot_pkt_t *pkt)
{
	qry->min_steps += 1;
	if (knot_wire_get_rcode(pkt->wire) != KNOT_RCODE_NOERROR) {
		VERBOSE(qry, "<= minimised question denied, asking for the whole name\n");
		qry->flags.NO_MINIMIZE = true; /* a broken server denies empty non-terminals */
		return KR_STATE_CONSUME;
	}
	qry->min_labels = knot_dname_labels(qry->asked_name, NULL);
	/* "No data" without a SOA comes from servers that do not know empty non-terminals. */
	if (qry->shape == KR_SHAPE_ALIAS || qry->shape == KR_SHAPE_EMPTY ||
		qry->shape == KR_SHAPE_NONSENSE)
		qry->flags.NO_MINIMIZE = true;
	VERBOSE(qry, "<= minimised question answered, continuing with more labels\n");
	return KR_STATE_CONSUME;
}

/* ---- referrals ---- */

static const knot_rrset_t *first_ns(const knot_pkt_t *pkt)
{
	const knot_pktsection_t *authority = knot_pkt_section(pkt, KNOT_AUTHORITY);
	for (unsigned i = 0; i < authority->count; ++i) {
		const knot_rrset_t *rr = knot_pkt_rr(authority, i);
		if (rr->type == KNOT_RRTYPE_NS)
			return rr;
	}
	return NULL;
}

/** Servers of the new cut from AUTHORITY, their addresses from ADDITIONAL. */
static int fill_cut(struct kr_query *qry, const knot_pkt_t *pkt, struct kr_zonecut *cut)
{
	const knot_pktsection_t *authority = knot_pkt_section(pkt, KNOT_AUTHORITY);
	for (unsigned i = 0; i < authority->count; ++i) {
		const knot_rrset_t *rr = knot_pkt_rr(authority, i);
		if (rr->type != KNOT_RRTYPE_NS)
			continue;
		cut->ttl_s = KR_MIN(cut->ttl_s, rr->ttl);
		for (int j = 0; j < rr->rrs.count; ++j) {
			if (kr_zonecut_add(cut, knot_ns_name(knot_rdataset_at(&rr->rrs, j)), NULL,
				    0) == kr_error(ENOMEM))
				return kr_error(ENOMEM);
		}
	}
	const knot_pktsection_t *additional = knot_pkt_section(pkt, KNOT_ADDITIONAL);
	for (unsigned i = 0; i < additional->count; ++i) {
		const knot_rrset_t *rr = knot_pkt_rr(additional, i);
		if ((rr->type != KNOT_RRTYPE_A && rr->type != KNOT_RRTYPE_AAAA) ||
			!kr_zonecut_find(cut, rr->owner))
			continue;
		for (int j = 0; j < rr->rrs.count; ++j) {
			const knot_rdata_t *rd = knot_rdataset_at(&rr->rrs, j);
			if (kr_zonecut_add(cut, rr->owner, rd->data, rd->len) == kr_error(ENOMEM))
				return kr_error(ENOMEM);
		}
		if (pick(qry, &qry->request->add_selected, rr, KR_RANK_OMIT, false) != 0)
			return kr_error(ENOMEM);
	}
	return kr_ok();
}

static int process_referral(struct kr_query *qry, const knot_pkt_t *pkt)
{
	struct kr_request *req = qry->request;
	const knot_rrset_t *ns = first_ns(pkt);
	if (!ns)
		return KR_STATE_FAIL;
	if (qry->stype == KNOT_RRTYPE_DS && knot_dname_is_case_equal(ns->owner, qry->sname)) {
		/* A parent without DS sometimes sends the delegation instead of a negative answer.
		 */
		VERBOSE(qry, "<= delegation in place of a DS answer\n");
		qry->flags.RESOLVED = true;
		if (set_rcode(qry, pkt) != 0 || pick_authority(qry, pkt, false) != 0)
			return KR_STATE_FAIL;
		return finalize(qry) == 0 ? KR_STATE_DONE : KR_STATE_FAIL;
	}
	if (qry->zone_cut.depth >= KR_REFERRAL_MAX) {
		kr_budget_exhausted(req, KR_BUDGET_REFERRALS);
		return KR_STATE_FAIL;
	}
	struct kr_zonecut *cut = mm_calloc(&req->pool, 1, sizeof(*cut));
	if (!cut || kr_zonecut_init(cut, ns->owner, &req->pool) != 0)
		return KR_STATE_FAIL;
	cut->depth = qry->zone_cut.depth + 1;
	cut->ttl_s = qry->zone_cut.ttl_s ? qry->zone_cut.ttl_s : KR_TTL_DELEG_MAX_S;
	if (fill_cut(qry, pkt, cut) != 0 || pick_authority(qry, pkt, false) != 0 ||
		finalize(qry) != 0)
		return KR_STATE_FAIL;
	qry->next_cut = cut;
	qry->min_labels = 0;
	if (kr_log_is_debug_qry(ITERATOR, qry)) {
		KR_DNAME_GET_STR(name, cut->name);
		VERBOSE(qry, "<= referral to '%s'\n", name);
	}
	return KR_STATE_DONE;
}

/* ---- failures ---- */

static void report(struct kr_query *qry, enum kr_selection_error error)
{
	const struct kr_transport *from = qry->request->upstream.transport;
	if (from)
		qry->server_selection.error(qry, from, error);
}

/** A forwarder's verdict about the data is worth passing on. */
static void copy_forwarder_ede(struct kr_query *qry, knot_pkt_t *pkt)
{
	if (!qry->flags.FORWARD || !knot_pkt_has_edns(pkt))
		return;
	const uint8_t *option = knot_pkt_edns_option(pkt, KNOT_EDNS_OPTION_EDE);
	if (!option || knot_edns_opt_get_length(option) < 2)
		return;
	const uint16_t code = knot_wire_read_u16(knot_edns_opt_get_data((uint8_t *)option));
	if (code >= KNOT_EDNS_EDE_INDETERMINATE && code <= KNOT_EDNS_EDE_NSEC_MISS)
		kr_request_set_extended_error(qry->request, code, "V5T7: forwarded EDE code");
}

static int process_failure(struct kr_query *qry, knot_pkt_t *pkt)
{
	const bool has_opt = knot_pkt_has_edns(pkt);
	switch (knot_pkt_ext_rcode(pkt)) {
	case KNOT_RCODE_REFUSED:
		report(qry, KR_SELECTION_REFUSED);
		break;
	case KNOT_RCODE_SERVFAIL:
		copy_forwarder_ede(qry, pkt);
		report(qry, KR_SELECTION_SERVFAIL);
		break;
	case KNOT_RCODE_FORMERR:
		report(qry, has_opt ? KR_SELECTION_FORMERR_EDNS : KR_SELECTION_FORMERR);
		break;
	case KNOT_RCODE_NOTIMPL:
		report(qry, KR_SELECTION_NOTIMPL);
		break;
	default:
		report(qry, KR_SELECTION_OTHER_RCODE);
		break;
	}
	return KR_STATE_FAIL;
}

/** Truncation is answered by a stream; a truncated stream is a broken server. */
static int process_truncated(struct kr_query *qry)
{
	const struct kr_transport *from = qry->request->upstream.transport;
	report(qry, KR_SELECTION_TRUNCATED);
	if (from && from->protocol != KR_TRANSPORT_UDP) {
		VERBOSE(qry, "<= truncated answer on a stream\n");
		return KR_STATE_FAIL;
	}
	VERBOSE(qry, "<= truncated answer, asking over TCP\n");
	qry->flags.TCP = true;
	return KR_STATE_CONSUME;
}

static bool is_rcode_usable(uint16_t rcode)
{
	return rcode == KNOT_RCODE_NOERROR || rcode == KNOT_RCODE_NXDOMAIN ||
	       rcode == KNOT_RCODE_YXDOMAIN;
}

/** Does the packet answer what was asked? Servers that fail may leave the question out (S-09). */
static bool is_question_ours(const struct kr_query *qry, const knot_pkt_t *pkt)
{
	const knot_dname_t *qname = knot_pkt_qname(pkt);
	if (knot_wire_get_qdcount(pkt->wire) == 0)
		return !is_rcode_usable(knot_wire_get_rcode(pkt->wire));
	if (qry->flags.CACHED) /* modules may answer for the whole name though less was written */
		return true;
	return qname && qry->asked_name && knot_pkt_qtype(pkt) == qry->asked_type &&
	       knot_pkt_qclass(pkt) == qry->sclass &&
	       knot_dname_is_case_equal(qname, qry->asked_name);
}

static void log_answer(const struct kr_query *qry, const knot_pkt_t *pkt)
{
	if (!kr_log_is_debug_qry(ITERATOR, qry))
		return;
	const uint16_t rcode = knot_pkt_ext_rcode(pkt);
	const knot_lookup_t *name = knot_lookup_by_id(knot_rcode_names, rcode);
	VERBOSE(qry, "<= rcode: %s\n", name ? name->name : "??");
	if (qry->flags.TRACE) {
		auto_free char *text = kr_pkt_text(pkt);
		VERBOSE(qry, "<= answer:\n%s\n", text ? text : "");
	}
}

/**
 * A DNAME came with a CNAME that it does not yield (C-06): the answer is no good, but a signed
 * DNAME may be validated and kept, so that the next question needs no answer from there.
 */
static int process_bad_alias(struct kr_query *qry, const knot_pkt_t *pkt)
{
	VERBOSE(qry, "<= CNAME is not what the DNAME yields\n");
	report(qry, KR_SELECTION_BAD_CNAME);
	const knot_rrset_t *dname = find_dname(pkt, qry->sname);
	if (!qry->flags.DNSSEC_WANT || !dname)
		return KR_STATE_FAIL;
	const knot_pktsection_t *answer = knot_pkt_section(pkt, KNOT_ANSWER);
	for (unsigned i = 0; i < answer->count; ++i) {
		const knot_rrset_t *rr = knot_pkt_rr(answer, i);
		if (kr_rrset_type_maysig(rr) == KNOT_RRTYPE_DNAME &&
			pick(qry, &qry->request->answ_selected, rr, answer_rank(qry), false) != 0)
			return KR_STATE_FAIL;
	}
	return finalize(qry) == 0 ? KR_STATE_DONE : KR_STATE_FAIL;
}

/**
 * Nothing usable is left: was it meant as "no data"? Not if there were records about something
 * else, nor if the server does not even claim authority.
 */
static bool is_no_answer(const struct kr_query *qry, const knot_pkt_t *pkt)
{
	return qry->shape == KR_SHAPE_NONSENSE ||
	       (!qry->flags.FORWARD && !knot_wire_get_aa(pkt->wire) &&
		       knot_wire_get_rcode(pkt->wire) == KNOT_RCODE_NOERROR);
}

/** A network answer passed the filter: what shape has it? */
static int process_shape(struct kr_query *qry, knot_pkt_t *pkt)
{
	switch (qry->shape) {
	case KR_SHAPE_REFERRAL:
		return process_referral(qry, pkt);
	case KR_SHAPE_BAD_ALIAS:
		return process_bad_alias(qry, pkt);
	case KR_SHAPE_LAME:
		VERBOSE(qry, "<= lame: delegates to itself or upwards\n");
		report(qry, KR_SELECTION_LAME_DELEGATION);
		return KR_STATE_FAIL;
	case KR_SHAPE_NONSENSE:
	case KR_SHAPE_EMPTY:
		if (!is_minimized(qry) && is_no_answer(qry, pkt)) {
			VERBOSE(qry, "<= nothing in it that is an answer\n");
			report(qry, KR_SELECTION_MALFORMED);
			return KR_STATE_FAIL;
		}
		break;
	default:
		break;
	}
	return is_minimized(qry) ? process_minimized(qry, pkt) : process_answer(qry, pkt);
}

static int consume(kr_layer_t *ctx, knot_pkt_t *pkt)
{
	struct kr_query *qry = ctx->req->current_query;
	if ((ctx->state & (KR_STATE_FAIL | KR_STATE_DONE)) || !qry)
		return ctx->state; /* a module before us has decided */
	qry->flags.PKT_IS_SANE = false;
	log_answer(qry, pkt);
	if (!is_question_ours(qry, pkt)) {
		report(qry, KR_SELECTION_MISMATCHED);
		return KR_STATE_FAIL;
	}
	if (qry->flags.CACHED) {
		qry->flags.PKT_IS_SANE = true;
		return process_answer(qry, pkt);
	}
	if (knot_wire_get_tc(pkt->wire))
		return process_truncated(qry);
	if (qry->flags.STUB) {
		qry->flags.PKT_IS_SANE = true;
		return process_answer(qry, pkt);
	}
	if (!is_rcode_usable(knot_pkt_ext_rcode(pkt)))
		return process_failure(qry, pkt);
	qry->flags.PKT_IS_SANE = true;
	return process_shape(qry, pkt);
}

/* ---- module ---- */

int iterate_init(struct kr_module *self)
{
	static const kr_layer_api_t layer = {
		.begin = begin,
		.produce = produce,
		.consume = consume,
		.is_skippable = true,
		.concerns = kr_layer_unconcerned,
	};
	self->layer = &layer;
	return kr_ok();
}
