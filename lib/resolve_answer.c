/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The final packet: selected records, AD, RCODE, EDNS and padding. */

#include "lib/resolve_impl.h"

#include <libknot/descriptor.h>
#include <libknot/rrtype/opt.h>
#include <libknot/wire.h>

#include "lib/check.h"
#include "lib/log.h"
#include "lib/utils.h"

#define VERBOSE(qry, ...) kr_log_q((qry), RESOLVER, __VA_ARGS__)

/** Types that a client without DO gets only by asking for them. */
static bool is_dnssec_type(uint16_t type)
{
	return type == KNOT_RRTYPE_RRSIG || type == KNOT_RRTYPE_NSEC || type == KNOT_RRTYPE_NSEC3;
}

/** What has been seen while sections are written. */
struct answer_facts {
	bool all_secure;
	bool all_alias; /**< ANSWER has nothing but aliases */
	bool is_truncated;
	size_t written;
};

static bool is_wanted(const struct kr_request *req, uint16_t type)
{
	return !is_dnssec_type(type) || knot_pkt_has_dnssec(req->qsource.packet) ||
	       type == knot_pkt_qtype(req->qsource.packet);
}

/** Write the chosen sets of one section. */
static void write_section(struct kr_request *req, const ranked_rr_array_t *selected,
	knot_section_t section, struct answer_facts *facts)
{
	knot_pkt_t *answer = req->answer;
	const struct kr_query *last = kr_rplan_last(&req->rplan);
	const uint16_t rotate = last ? last->reorder : 0;
	if (facts->is_truncated || knot_pkt_begin(answer, section) != KNOT_EOK)
		return;
	for (size_t i = 0; i < selected->len; ++i) {
		const ranked_rr_array_entry_t *entry = selected->at[i];
		if (!entry->to_wire || kr_fails_assert(!entry->in_progress))
			continue;
		const knot_rrset_t *rr = entry->rr;
		if (section != KNOT_ADDITIONAL && !kr_rank_test(entry->rank, KR_RANK_SECURE))
			facts->all_secure = false;
		if (!is_wanted(req, rr->type))
			continue;
		const uint16_t type = kr_rrset_type_maysig(rr);
		if (section == KNOT_ANSWER && type != KNOT_RRTYPE_CNAME &&
			type != KNOT_RRTYPE_DNAME)
			facts->all_alias = false;
		int ret = knot_pkt_put_rotate(answer, KNOT_COMPR_HINT_NONE, rr, rotate, 0);
		facts->written += ret == KNOT_EOK;
		if (ret == KNOT_ESPACE) {
			knot_wire_set_tc(answer->wire);
			facts->is_truncated = true;
			return;
		}
	}
}

/** Does the answer deserve AD? (P-01, RFC 6840 section 5.7) */
static bool is_authenticated(const struct kr_request *req, const struct answer_facts *facts)
{
	const knot_pkt_t *question = req->qsource.packet;
	const struct kr_query *last = kr_rplan_resolved((struct kr_rplan *)&req->rplan);
	if (!last || !facts->all_secure || req->state != KR_STATE_DONE || facts->is_truncated ||
		last->stype == KNOT_RRTYPE_RRSIG || last->flags.STUB)
		return false;
	for (const struct kr_query *q = last; q; q = q->cname_parent) {
		if (q->flags.DNSSEC_OPTOUT)
			return false;
	}
	const bool is_negative =
		knot_wire_get_rcode(req->answer->wire) != KNOT_RCODE_NOERROR || facts->all_alias;
	if (is_negative && (!last->flags.DNSSEC_WANT || last->flags.DNSSEC_BOGUS ||
				   last->flags.DNSSEC_INSECURE))
		return false;
	const bool has_data = req->answ_selected.len > 0 || req->auth_selected.len > 0;
	return has_data && !knot_wire_get_cd(question->wire);
}

static void answer_fail(struct kr_request *req)
{
	knot_pkt_t *answer = req->answer;
	uint8_t *wire = answer->wire;
	kr_request_clear_selected(req);
	knot_rrset_t *opt = answer->opt_rr;
	if (knot_wire_get_rcode(wire) == KNOT_RCODE_NOERROR ||
		knot_wire_get_rcode(wire) == KNOT_RCODE_NXDOMAIN)
		knot_wire_set_rcode(wire, KNOT_RCODE_SERVFAIL);
	kr_pkt_clear_payload(answer);
	answer->opt_rr = opt;
	knot_wire_clear_ad(wire);
	knot_wire_clear_aa(wire);
	knot_wire_clear_tc(wire);
}

/** Room that OPT will take, so that records leave it. */
static void reserve_opt(knot_pkt_t *answer)
{
	if (answer->opt_rr)
		knot_pkt_reserve(answer, knot_edns_wire_size(answer->opt_rr));
}

static void unreserve_opt(knot_pkt_t *answer)
{
	if (answer->opt_rr)
		knot_pkt_reclaim(answer, knot_edns_wire_size(answer->opt_rr));
}

/** RFC 8467: pad answers over encrypted transports. */
static int add_padding(struct kr_request *req, knot_pkt_t *answer)
{
	const int32_t policy = req->ctx->tls_padding;
	if (!req->qsource.flags.tls || !answer->opt_rr || policy == 0 || policy == 1)
		return kr_ok();
	int32_t size = policy < 0 ? knot_pkt_default_padding_size(answer, answer->opt_rr)
				  : knot_edns_alignment_size(
					    answer->size, knot_rrset_size(answer->opt_rr), policy);
	if (size < 0)
		return kr_ok();
	uint8_t *zeros = NULL;
	int ret = knot_edns_reserve_option(
		answer->opt_rr, KNOT_EDNS_OPTION_PADDING, size, &zeros, &req->pool);
	if (ret != KNOT_EOK)
		return kr_error(ENOMEM);
	memset(zeros, 0, size);
	return kr_ok();
}

/** Copy of an OPT without the options named. */
static knot_rrset_t *opt_without(
	const knot_rrset_t *opt, const uint16_t *codes, size_t len, knot_mm_t *pool)
{
	knot_rrset_t *copy = knot_rrset_copy(opt, pool);
	if (!copy)
		return NULL;
	knot_rdataset_clear(&copy->rrs, pool);
	if (knot_rrset_add_rdata(copy, NULL, 0, pool) != KNOT_EOK)
		return NULL;
	const knot_rdata_t *rdata = opt->rrs.rdata;
	for (size_t at = 0; at + KNOT_EDNS_OPTION_HDRLEN <= rdata->len;) {
		const uint8_t *option = rdata->data + at;
		const uint16_t code = knot_wire_read_u16(option);
		const uint16_t size = knot_wire_read_u16(option + 2);
		bool is_dropped = false;
		for (size_t i = 0; i < len; ++i)
			is_dropped |= codes[i] == code;
		if (!is_dropped && knot_edns_add_option(copy, code, size,
					   option + KNOT_EDNS_OPTION_HDRLEN, pool) != KNOT_EOK)
			return NULL;
		at += KNOT_EDNS_OPTION_HDRLEN + size;
	}
	return copy;
}

void resolve_renew_edns(struct kr_request *req, const knot_rrset_t *opt, int old_code)
{
	const struct kr_extended_error *ede = &req->extended_error;
	static const uint16_t stale[] = {KNOT_EDNS_OPTION_PADDING, KNOT_EDNS_OPTION_EDE};
	const bool is_new = ede->info_code != old_code && ede->info_code != KR_EDE_NONE;
	knot_rrset_t *fresh = opt_without(opt, stale, is_new ? 2 : 1, &req->pool);
	if (!fresh)
		return;
	if (is_new) {
		uint8_t value[2 + KR_EDE_TEXT_MAX];
		const size_t len = ede->extra_text ? strnlen(ede->extra_text, KR_EDE_TEXT_MAX) : 0;
		knot_wire_write_u16(value, ede->info_code);
		if (len > 0)
			memcpy(value + 2, ede->extra_text, len);
		(void)knot_edns_add_option(fresh, KNOT_EDNS_OPTION_EDE, 2 + len, value, &req->pool);
	}
	knot_pkt_reclaim(req->answer, req->answer->reserved);
	req->answer->opt_rr = fresh;
	resolve_append_edns(req);
}

void resolve_append_edns(struct kr_request *req)
{
	knot_pkt_t *answer = req->answer;
	knot_rrset_t *opt = answer->opt_rr;
	if (!opt || add_padding(req, answer) != 0)
		return;
	if (answer->current != KNOT_ADDITIONAL &&
		knot_pkt_begin(answer, KNOT_ADDITIONAL) != KNOT_EOK)
		return;
	if (knot_pkt_put(answer, KNOT_COMPR_HINT_NONE, opt, 0) != KNOT_EOK)
		knot_wire_set_tc(answer->wire);
}

static bool is_handmade(const knot_pkt_t *answer)
{
	for (int i = 0; i < KNOT_PKT_SECTIONS; ++i) {
		if (answer->sections[i].count > 0)
			return true;
	}
	return false;
}

static bool anything_selected(const ranked_rr_array_t *selected)
{
	for (size_t i = 0; i < selected->len; ++i) {
		if (selected->at[i]->to_wire)
			return true;
	}
	return false;
}

/** Choose what the answer is: hand-made, failure, or the selected records. */
static void fill_answer(struct kr_request *req)
{
	knot_pkt_t *answer = req->answer;
	const struct kr_query *last = kr_rplan_last(&req->rplan);
	if (is_handmade(answer)) {
		if (kr_fails_assert(!anything_selected(&req->answ_selected)))
			answer_fail(req);
		else
			unreserve_opt(answer);
		return;
	}
	if (req->rplan.resolved.len == 0) {
		knot_wire_set_rcode(answer->wire, KNOT_RCODE_SERVFAIL);
		answer_fail(req);
		return;
	}
	if (last && last->flags.DNSSEC_BOGUS && !knot_wire_get_cd(req->qsource.packet->wire)) {
		knot_wire_set_rcode(answer->wire, KNOT_RCODE_SERVFAIL);
		answer_fail(req);
		return;
	}
	if (req->state != KR_STATE_DONE) {
		answer_fail(req);
		return;
	}
	struct answer_facts facts = {.all_secure = true, .all_alias = true};
	reserve_opt(answer);
	write_section(req, &req->answ_selected, KNOT_ANSWER, &facts);
	write_section(req, &req->auth_selected, KNOT_AUTHORITY, &facts);
	write_section(req, &req->add_selected, KNOT_ADDITIONAL, &facts);
	unreserve_opt(answer);

	const knot_pkt_t *question = req->qsource.packet;
	const bool secure = is_authenticated(req, &facts);
	req->rank = secure ? KR_RANK_SECURE : KR_RANK_INITIAL;
	if (secure && (knot_wire_get_ad(question->wire) || knot_pkt_has_dnssec(question)))
		knot_wire_set_ad(answer->wire);
	if (last)
		VERBOSE(last, "AD: request%s classified as SECURE\n", secure ? "" : " NOT");
}

void resolve_make_answer(struct kr_request *req)
{
	if (req->options.NO_ANSWER || !kr_request_ensure_answer(req)) {
		req->answer = NULL;
		return;
	}
	/* Options are added by hooks while OPT is not yet written. */
	resolve_walk(req, KR_HOOK_ANSWER_FINALIZE, NULL);
	if (!req->answer)
		return;
	fill_answer(req);
	if (req->state != KR_STATE_DONE) {
		uint8_t *wire = req->answer->wire;
		const uint8_t rcode = knot_wire_get_rcode(wire);
		if (rcode == KNOT_RCODE_NOERROR || rcode == KNOT_RCODE_NXDOMAIN)
			knot_wire_set_rcode(wire, KNOT_RCODE_SERVFAIL);
		if (knot_wire_get_rcode(wire) == KNOT_RCODE_SERVFAIL) {
			knot_wire_clear_aa(wire);
			knot_wire_clear_ad(wire);
		}
	}
	resolve_append_edns(req);
}
