/* SPDX-License-Identifier: GPL-3.0-or-later */

#include "lib/request.h"

#include <libknot/rrtype/opt.h>
#include <libknot/wire.h>

#include "lib/check.h"
#include "lib/log.h"
#include "lib/resolve.h"

struct kr_rplan *kr_resolve_plan(struct kr_request *req)
{
	return req ? &req->rplan : NULL;
}

knot_mm_t *kr_resolve_pool(struct kr_request *req)
{
	return req ? &req->pool : NULL;
}

/** Largest answer this client can take. */
static uint16_t answer_limit(const struct kr_request *req)
{
	const knot_pkt_t *question = req->qsource.packet;
	const bool is_stream =
		!req->qsource.addr || req->qsource.flags.tcp || req->qsource.flags.http;
	if (is_stream)
		return KR_DNS_WIRE_MAX;
	if (!question || !knot_pkt_has_edns(question))
		return KR_DNS_UDP_PLAIN;
	uint16_t theirs = knot_edns_get_payload(question->opt_rr);
	uint16_t ours = knot_edns_get_payload(req->ctx->downstream_opt_rr);
	return KR_MAX(KR_MIN(theirs, ours), KR_DNS_UDP_PLAIN);
}

/** Header and question of the answer follow those of the question. */
static int answer_start(knot_pkt_t *answer, const knot_pkt_t *question)
{
	int ret = knot_pkt_init_response(answer, question);
	if (ret != 0)
		return kr_error(EINVAL); /* only malformed questions get here */
	uint8_t *wire = answer->wire;
	knot_wire_set_rcode(wire, KNOT_RCODE_NOERROR);
	knot_wire_clear_z(wire);
	knot_wire_clear_ad(wire);
	knot_wire_clear_aa(wire);
	knot_wire_set_ra(wire);
	if (knot_wire_get_cd(question->wire))
		knot_wire_set_cd(wire);
	return kr_ok();
}

/** OPT of the answer, if the client sent one. */
static int answer_add_opt(struct kr_request *req, knot_pkt_t *answer)
{
	const knot_pkt_t *question = req->qsource.packet;
	if (!question || !knot_pkt_has_edns(question))
		return kr_ok();
	answer->opt_rr = knot_rrset_copy(req->ctx->downstream_opt_rr, &req->pool);
	if (!answer->opt_rr)
		return kr_error(ENOMEM);
	if (knot_pkt_has_dnssec(question))
		knot_edns_set_do(answer->opt_rr);
	return kr_ok();
}

static knot_pkt_t *answer_new(struct kr_request *req)
{
	uint16_t limit = answer_limit(req);
	uint8_t *wire = NULL;
	if (req->alloc_wire_cb) {
		wire = req->alloc_wire_cb(req, &limit);
		if (!wire)
			return NULL;
	}
	knot_pkt_t *answer = knot_pkt_new(wire, limit, &req->pool);
	if (!answer || answer_start(answer, req->qsource.packet) != 0 ||
		answer_add_opt(req, answer) != 0)
		return NULL;
	return answer;
}

knot_pkt_t *kr_request_ensure_answer(struct kr_request *req)
{
	if (req->options.NO_ANSWER) {
		kr_assert(req->state & KR_STATE_FAIL);
		return NULL;
	}
	if (!req->answer && !kr_fails_assert(req->qsource.packet))
		req->answer = answer_new(req);
	if (!req->answer)
		req->state = KR_STATE_FAIL;
	return req->answer;
}

knot_rrset_t *kr_request_ensure_edns(struct kr_request *req)
{
	if (kr_fails_assert(req->answer))
		return NULL;
	if (!req->answer->opt_rr)
		(void)answer_add_opt(req, req->answer);
	return req->answer->opt_rr;
}

/** Which of two codes tells the client more (daemon contract: EDE table). */
static int ede_priority(int code)
{
	switch (code) {
	case KR_EDE_NONE:
		return 0;
	case KNOT_EDNS_EDE_OTHER:
		return 100;
	case KNOT_EDNS_EDE_STALE:
	case KNOT_EDNS_EDE_STALE_NXD:
		return 300;
	case KNOT_EDNS_EDE_DNSKEY_ALG:
	case KNOT_EDNS_EDE_DS_DIGEST:
		return 500;
	case KNOT_EDNS_EDE_BLOCKED:
	case KNOT_EDNS_EDE_CENSORED:
	case KNOT_EDNS_EDE_PROHIBITED:
		return 600;
	case KNOT_EDNS_EDE_FORGED:
	case KNOT_EDNS_EDE_FILTERED:
		return 700;
	case KNOT_EDNS_EDE_BOGUS:
		return 800;
	case KNOT_EDNS_EDE_SIG_EXPIRED:
	case KNOT_EDNS_EDE_SIG_NOTYET:
	case KNOT_EDNS_EDE_DNSKEY_MISS:
	case KNOT_EDNS_EDE_RRSIG_MISS:
	case KNOT_EDNS_EDE_DNSKEY_BIT:
	case KNOT_EDNS_EDE_NSEC_MISS:
		return 900;
	default:
		return 200;
	}
}

int kr_request_set_extended_error(struct kr_request *req, int code, const char *text)
{
	struct kr_extended_error *ede = &req->extended_error;
	if (code == KR_EDE_NONE) {
		ede->info_code = KR_EDE_NONE;
		ede->extra_text = NULL;
		return KR_EDE_NONE;
	}
	if (code < 0 || code > UINT16_MAX - 1)
		return ede->info_code;
	if (ede_priority(code) > ede_priority(ede->info_code)) {
		ede->info_code = code;
		ede->extra_text = text;
	}
	return ede->info_code;
}

int kr_forward_add_target(struct kr_request *req, const struct sockaddr *sock)
{
	const int family = kr_inaddr_family(sock);
	const bool is_off = (family == AF_INET && req->options.NO_IPV4) ||
			    (family == AF_INET6 && req->options.NO_IPV6);
	if (is_off || (family != AF_INET && family != AF_INET6))
		return kr_error(EINVAL);
	union kr_sockaddr target = {0};
	memcpy(&target, sock, kr_sockaddr_len(sock));
	int ret = array_push_mm(req->selection_context.forwarding_targets, target, &req->pool);
	return ret < 0 ? ret : kr_ok();
}

void kr_request_clear_selected(struct kr_request *req)
{
	req->answ_selected.len = 0;
	req->auth_selected.len = 0;
	req->add_selected.len = 0;
}

void kr_request_set_repeat(struct kr_request *req, enum kr_repeat repeat)
{
	req->repeat = KR_MAX(req->repeat, repeat);
}
