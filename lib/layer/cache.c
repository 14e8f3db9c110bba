/* SPDX-License-Identifier: GPL-3.0-or-later */

#include "lib/layer/cache.h"

#include <string.h>
#include <libknot/rrtype/rdname.h>
#include <libknot/rrtype/rrsig.h>
#include <libknot/wire.h>

#include "lib/log.h"
#include "lib/resolve.h"
#include "lib/scrub.h"
#include "lib/utils.h"
#include "lib/cache/peek.h"
#include "lib/cache/stash.h"
#include "lib/dnssec/ta.h"

#define VERBOSE(qry, ...) kr_log_q((qry), CACHE, __VA_ARGS__)

/* ---- answering ---- */

/** Lowest rank that may answer this query. */
static uint8_t lowest_rank(const struct kr_query *qry)
{
	if (qry->flags.NONAUTH)
		return 0;
	const bool is_checked = !qry->flags.DNSSEC_CD && !qry->flags.STUB &&
				kr_ta_closest(qry->request->ctx, qry->sname, qry->stype);
	return is_checked ? KR_RANK_INSECURE | KR_RANK_AUTH : KR_RANK_INITIAL | KR_RANK_AUTH;
}

static bool is_for_cache(const struct kr_query *qry)
{
	return !qry->flags.NO_CACHE && !qry->flags.CACHE_TRIED && qry->sclass == KNOT_CLASS_IN &&
	       qry->stype != KNOT_RRTYPE_RRSIG && qry->stype != 0 &&
	       (qry->stype == KNOT_RRTYPE_ANY || !knot_rrtype_is_metatype(qry->stype));
}

/** Room for RRsets in a packet without wire form. */
static int reserve_rrs(knot_pkt_t *pkt, size_t count)
{
	if (pkt->rrset_allocd >= count)
		return kr_ok();
	knot_rrset_t *rr = mm_alloc(&pkt->mm, count * sizeof(*rr));
	knot_rrinfo_t *info = mm_alloc(&pkt->mm, count * sizeof(*info));
	if (!rr || !info) {
		mm_free(&pkt->mm, rr);
		mm_free(&pkt->mm, info);
		return kr_error(ENOMEM);
	}
	mm_free(&pkt->mm, pkt->rr);
	mm_free(&pkt->mm, pkt->rr_info);
	pkt->rr = rr;
	pkt->rr_info = info;
	pkt->rrset_allocd = count;
	return kr_ok();
}

/** Make the packet a response with these records; only header and question have wire form. */
static int fill_packet(
	knot_pkt_t *pkt, const struct kr_query *qry, const struct cache_answer *answer)
{
	const uint16_t id = knot_wire_get_id(pkt->wire);
	memset(pkt->wire, 0, KNOT_WIRE_HEADER_SIZE);
	kr_pkt_recycle(pkt);
	int ret = knot_pkt_put_question(pkt, qry->sname, qry->sclass, qry->stype);
	if (ret != KNOT_EOK)
		return kr_error(ret);
	ret = reserve_rrs(pkt, answer->count);
	if (ret != 0)
		return ret;
	knot_wire_set_id(pkt->wire, id);
	knot_wire_set_qr(pkt->wire);
	knot_wire_set_rcode(pkt->wire, answer->rcode);
	memcpy(pkt->rr, answer->rr, answer->count * sizeof(*pkt->rr));
	memset(pkt->rr_info, 0, answer->count * sizeof(*pkt->rr_info));
	pkt->rrset_count = answer->count;
	const uint16_t count[KNOT_PKT_SECTIONS] = {
		answer->answer_count, answer->count - answer->answer_count, 0};
	uint16_t pos = 0;
	for (int i = 0; i < KNOT_PKT_SECTIONS; ++i) {
		pkt->sections[i] = (knot_pktsection_t){.pkt = pkt, .pos = pos, .count = count[i]};
		pos += count[i];
	}
	pkt->current = KNOT_ADDITIONAL;
	pkt->parsed = pkt->size = KR_PKT_SIZE_NOWIRE;
	return kr_ok();
}

static void set_flags(struct kr_query *qry, const struct cache_answer *answer)
{
	struct kr_qflags *flags = &qry->flags;
	flags->CACHED = true;
	flags->EXPIRING = answer->is_expiring;
	flags->DNSSEC_WEXPAND = answer->is_wildcard;
	flags->DNSSEC_OPTOUT = answer->is_optout;
	flags->DNSSEC_NODS = answer->is_negative && qry->stype == KNOT_RRTYPE_DS &&
			     kr_rank_test(answer->rank, KR_RANK_SECURE);
	if (kr_rank_test(answer->rank, KR_RANK_INSECURE)) {
		flags->DNSSEC_INSECURE = true;
		flags->DNSSEC_WANT = false;
	}
	qry->asked_name = qry->sname;
	qry->asked_type = qry->stype;
}

static int produce(kr_layer_t *ctx, knot_pkt_t *pkt)
{
	struct kr_request *req = ctx->req;
	struct kr_query *qry = req->current_query;
	struct kr_cache *cache = &req->ctx->cache;
	if ((ctx->state & (KR_STATE_FAIL | KR_STATE_DONE)) || !qry || !qry->sname ||
		!kr_cache_is_open(cache) || knot_wire_get_qr(pkt->wire) || !is_for_cache(qry))
		return ctx->state;
	qry->flags.CACHE_TRIED = true;
	const struct cache_question question = {
		.name = qry->sname,
		.type = qry->stype,
		.min_rank = lowest_rank(qry),
		.may_prove = !qry->flags.STUB,
		.any_type = qry->stype == KNOT_RRTYPE_ANY,
		.now = req->ctx->now.tv_sec,
		.qry = qry,
		.pool = &req->pool,
	};
	struct cache_answer answer;
	if (cache_peek(cache, &question, &answer) != 0)
		return ctx->state;
	if (fill_packet(pkt, qry, &answer) != 0)
		return KR_STATE_FAIL;
	set_flags(qry, &answer);
	VERBOSE(qry, "=> satisfied from cache: %s, rank 0%o, TTL %u%s\n",
		answer.is_negative ? "negative" : "positive", answer.rank, answer.rr[0].ttl,
		answer.is_stale ? ", stale" : "");
	return KR_STATE_DONE;
}

/* ---- storing ---- */

/** Is there a record with TTL 0 in the packet? Selected sets have their TTL raised already (C-20).
 */
static bool has_zero_ttl(const knot_pkt_t *pkt)
{
	for (unsigned i = 0; i < pkt->rrset_count; ++i) {
		if (pkt->rr[i].ttl == 0)
			return true;
	}
	return false;
}

static bool is_zero_ttl(const knot_pkt_t *pkt, const knot_rrset_t *rr)
{
	for (unsigned i = 0; i < pkt->rrset_count; ++i) {
		const knot_rrset_t *at = &pkt->rr[i];
		if (at->ttl == 0 && at->type == rr->type &&
			knot_dname_is_case_equal(at->owner, rr->owner))
			return true;
	}
	return false;
}

static bool is_of_round(const ranked_rr_array_entry_t *entry, const struct kr_query *qry)
{
	return entry->qry_uid == qry->uid && !entry->in_progress && !entry->yielded;
}

static bool is_storable(const ranked_rr_array_entry_t *entry, const struct kr_query *qry)
{
	return is_of_round(entry, qry) && !entry->cached && !entry->dont_cache &&
	       entry->rr->type != KNOT_RRTYPE_RRSIG && entry->rr->rclass == KNOT_CLASS_IN;
}

static const knot_rrset_t *find_sigs(
	const ranked_rr_array_t *array, const struct kr_query *qry, const knot_rrset_t *rr)
{
	for (size_t i = 0; i < array->len; ++i) {
		const ranked_rr_array_entry_t *entry = array->at[i];
		if (entry->rr->type == KNOT_RRTYPE_RRSIG && is_of_round(entry, qry) &&
			!entry->dont_cache && kr_rrset_type_maysig(entry->rr) == rr->type &&
			knot_dname_is_case_equal(entry->rr->owner, rr->owner))
			return entry->rr;
	}
	return NULL;
}

/** Collect the sets of this round. @return how many */
static unsigned collect(struct kr_query *qry, const knot_pkt_t *pkt, ranked_rr_array_t *array,
	struct cache_judged *to)
{
	const bool zero = has_zero_ttl(pkt);
	unsigned count = 0;
	for (size_t i = 0; i < array->len && count < CACHE_STASH_MAX; ++i) {
		ranked_rr_array_entry_t *entry = array->at[i];
		if (!is_storable(entry, qry) || (zero && is_zero_ttl(pkt, entry->rr)))
			continue;
		to[count++] = (struct cache_judged){
			.rr = entry->rr,
			.sigs = find_sigs(array, qry, entry->rr),
			.rank = entry->rank,
		};
		entry->cached = true;
	}
	return count;
}

static bool is_bad(uint8_t rank)
{
	return kr_rank_test(rank, KR_RANK_BOGUS) || kr_rank_test(rank, KR_RANK_MISMATCH) ||
	       kr_rank_test(rank, KR_RANK_MISSING) || kr_rank_test(rank, KR_RANK_INDET);
}

/** Leave out what the validator found fault with. @return false: there was such */
static bool drop_bad(struct cache_judged *sets, uint8_t *count)
{
	unsigned kept = 0;
	for (unsigned i = 0; i < *count; ++i) {
		if (!is_bad(sets[i].rank))
			sets[kept++] = sets[i];
	}
	const bool all = kept == *count;
	*count = kept;
	return all;
}

static bool is_negative(const struct kr_query *qry, const knot_pkt_t *pkt)
{
	const uint8_t rcode = knot_wire_get_rcode(pkt->wire);
	return (rcode == KNOT_RCODE_NOERROR || rcode == KNOT_RCODE_NXDOMAIN) &&
	       knot_pkt_section(pkt, KNOT_ANSWER)->count == 0 && !qry->flags.CNAME &&
	       qry->shape != KR_SHAPE_REFERRAL;
}

/** Smallest TTL of the proofs that there is no DS; 0 = none that was validated. */
static uint32_t nods_ttl(const struct kr_query *qry, const struct cache_message *msg)
{
	uint32_t ttl = UINT32_MAX;
	if (!qry->flags.DNSSEC_NODS)
		return 0;
	for (unsigned i = 0; i < msg->authority_count; ++i) {
		const struct cache_judged *set = &msg->authority[i];
		const uint16_t type = set->rr->type;
		if ((type == KNOT_RRTYPE_NSEC || type == KNOT_RRTYPE_NSEC3) &&
			kr_rank_test(set->rank, KR_RANK_SECURE))
			ttl = KR_MIN(ttl, set->rr->ttl);
	}
	return ttl == UINT32_MAX ? 0 : ttl;
}

static int add_ns(struct kr_deleg *deleg, const knot_rrset_t *ns, knot_mm_t *pool)
{
	const knot_rdata_t *rd = ns->rrs.rdata;
	for (int i = 0; i < ns->rrs.count && i < KR_NS_MAX; ++i) {
		knot_dname_t *name = knot_dname_copy(knot_ns_name(rd), pool);
		if (!name || array_push_mm(deleg->ns, name, pool) < 0)
			return kr_error(ENOMEM);
		knot_dname_to_lower(name);
		rd = knot_rdataset_next((knot_rdata_t *)rd);
	}
	return kr_ok();
}

static int add_glue(struct kr_deleg *deleg, const knot_rrset_t *rr, knot_mm_t *pool)
{
	const knot_rdata_t *rd = rr->rrs.rdata;
	for (int i = 0; i < rr->rrs.count && i < KR_NS_ADDR_MAX; ++i) {
		struct kr_deleg_glue glue = {.ns = rr->owner, .addr_len = rd->len};
		if (rd->len <= sizeof(glue.addr)) {
			memcpy(glue.addr, rd->data, rd->len);
			if (array_push_mm(deleg->glue, glue, pool) < 0)
				return kr_error(ENOMEM);
		}
		rd = knot_rdataset_next((knot_rdata_t *)rd);
	}
	return kr_ok();
}

/** Glue of this round (C-13 has been seen to before). */
static int collect_glue(struct kr_deleg *deleg, struct kr_query *qry)
{
	struct kr_request *req = qry->request;
	for (size_t i = 0; i < req->add_selected.len; ++i) {
		ranked_rr_array_entry_t *entry = req->add_selected.at[i];
		const uint16_t type = entry->rr->type;
		if (!is_storable(entry, qry) ||
			(type != KNOT_RRTYPE_A && type != KNOT_RRTYPE_AAAA) ||
			deleg->glue.len >= KR_CUT_ADDR_MAX)
			continue;
		entry->cached = true;
		int ret = add_glue(deleg, entry->rr, &req->pool);
		if (ret != 0)
			return ret;
	}
	return kr_ok();
}

/** A referral strictly downwards from the cut that was asked (C-31). */
static const knot_rrset_t *referral_ns(const struct kr_query *qry, const struct cache_message *msg)
{
	if (qry->shape != KR_SHAPE_REFERRAL || qry->flags.STUB || qry->flags.FORWARD ||
		!qry->zone_cut.name)
		return NULL;
	for (unsigned i = 0; i < msg->authority_count; ++i) {
		const knot_rrset_t *rr = msg->authority[i].rr;
		if (rr->type == KNOT_RRTYPE_NS &&
			knot_dname_in_bailiwick(rr->owner, qry->zone_cut.name) > 0)
			return rr;
	}
	return NULL;
}

static int stash_referral(struct kr_query *qry, const struct cache_message *msg)
{
	struct kr_request *req = qry->request;
	const knot_rrset_t *ns = referral_ns(qry, msg);
	if (!ns)
		return kr_ok();
	struct kr_deleg deleg = {
		.name = ns->owner,
		.parent = qry->zone_cut.name,
		.ttl = ns->ttl,
		.nods_ttl = nods_ttl(qry, msg),
	};
	deleg.is_secure_nods = deleg.nods_ttl > 0;
	int ret = add_ns(&deleg, ns, &req->pool);
	if (ret == 0)
		ret = collect_glue(&deleg, qry);
	if (ret == 0)
		ret = kr_cache_deleg_insert(
			&req->ctx->cache, &deleg, qry->zone_cut.ttl_s, msg->now);
	return ret;
}

static int consume(kr_layer_t *ctx, knot_pkt_t *pkt)
{
	struct kr_request *req = ctx->req;
	struct kr_query *qry = req->current_query;
	struct kr_cache *cache = &req->ctx->cache;
	if ((ctx->state & KR_STATE_FAIL) || !qry || qry->flags.CACHED || !qry->flags.PKT_IS_SANE ||
		!kr_cache_is_open(cache) || qry->sclass != KNOT_CLASS_IN ||
		knot_wire_get_tc(pkt->wire))
		return ctx->state;
	struct cache_message msg;
	msg.name = qry->sname;
	msg.type = qry->stype;
	msg.rcode = knot_wire_get_rcode(pkt->wire);
	msg.is_optout = qry->flags.DNSSEC_OPTOUT;
	msg.now = req->ctx->now.tv_sec;
	msg.answer_count = collect(qry, pkt, &req->answ_selected, msg.answer);
	msg.authority_count = collect(qry, pkt, &req->auth_selected, msg.authority);
	if (msg.answer_count == 0 && msg.authority_count == 0)
		return ctx->state;
	drop_bad(msg.answer, &msg.answer_count);
	const bool is_sound = drop_bad(msg.authority, &msg.authority_count);
	msg.is_negative = is_sound && !qry->flags.DNSSEC_BOGUS && is_negative(qry, pkt);
	int ret = cache_stash(cache, &msg);
	if (ret == 0 && is_sound)
		ret = stash_referral(qry, &msg);
	if (ret != 0)
		VERBOSE(qry, "=> not all could be stored: %s\n", kr_strerror(ret));
	return ctx->state;
}

int cache_init(struct kr_module *self)
{
	static const kr_layer_api_t layer = {
		.produce = produce,
		.consume = consume,
		.is_skippable = true,
		.concerns = kr_layer_unconcerned,
	};
	self->layer = &layer;
	return kr_ok();
}
