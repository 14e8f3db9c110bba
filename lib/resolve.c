/* SPDX-License-Identifier: GPL-3.0-or-later */

#include "lib/resolve.h"

#include <stdio.h>
#include <sys/socket.h>
#include <libknot/rrtype/opt.h>
#include <libknot/wire.h>

#include "lib/check.h"
#include "lib/log.h"
#include "lib/resolve_impl.h"
#include "lib/scrub.h"
#include "lib/rules/rules.h"
#include "lib/utils.h"
#include "lib/dnssec/ta.h"

#define VERBOSE(qry, ...) kr_log_q((qry), RESOLVER, __VA_ARGS__)

/* Programs with an engine of their own define it strongly. */
__attribute__((weak)) struct kr_context *the_resolver = NULL;

/* ---- context ---- */

static knot_rrset_t *opt_template(uint16_t payload, knot_mm_t *pool)
{
	knot_rrset_t *opt = mm_alloc(pool, sizeof(*opt));
	if (!opt || knot_edns_init(opt, payload, 0, KR_EDNS_VERSION, pool) != KNOT_EOK)
		return NULL;
	return opt;
}

int kr_context_config_init(struct kr_context *ctx)
{
	ctx->options.REORDER_RR = true;
	ctx->vld_limit_crypto = KR_VERIFY_MSG_MAX;
	ctx->tls_padding = -1;
	ctx->stream_idle_ms = 10000;
	ctx->cache_rtt_tout_retry_interval = 1000;
	ctx->cache.ttl_min = KR_TTL_MIN_S;
	ctx->cache.ttl_max = KR_TTL_MAX_S;
	ctx->downstream_opt_rr = opt_template(KR_EDNS_PAYLOAD, NULL);
	ctx->upstream_opt_rr = opt_template(KR_EDNS_PAYLOAD, NULL);
	ctx->trust_anchors = trie_create(NULL);
	ctx->negative_anchors = trie_create(NULL);
	int ret = kr_zonecut_init(&ctx->root_hints, (const uint8_t *)"", NULL);
	if (ret != 0 || !ctx->downstream_opt_rr || !ctx->upstream_opt_rr || !ctx->trust_anchors ||
		!ctx->negative_anchors)
		return kr_error(ENOMEM);
	return kr_ok();
}

static void anchors_free(trie_t *anchors)
{
	if (!anchors)
		return;
	kr_ta_clear(anchors);
	trie_free(anchors);
}

void kr_context_config_deinit(struct kr_context *ctx)
{
	kr_zonecut_deinit(&ctx->root_hints);
	kr_rulebooks_free(ctx);
	anchors_free(ctx->trust_anchors);
	anchors_free(ctx->negative_anchors);
	ctx->trust_anchors = ctx->negative_anchors = NULL;
	knot_rrset_free(ctx->downstream_opt_rr, NULL);
	knot_rrset_free(ctx->upstream_opt_rr, NULL);
	ctx->downstream_opt_rr = ctx->upstream_opt_rr = NULL;
	for (int i = 0; i < KR_HOOK_COUNT; ++i) {
		free(ctx->hooks[i]);
		ctx->hooks[i] = NULL;
	}
	for (size_t i = 0; i < ctx->hooks_retired.len; ++i)
		free(ctx->hooks_retired.at[i]);
	array_clear(ctx->hooks_retired);
	free(ctx->repeat_hooks);
	ctx->repeat_hooks = NULL;
	free(ctx->concern_hooks);
	ctx->concern_hooks = NULL;
}

void kr_context_config_swap(struct kr_context *a, struct kr_context *b)
{
	const struct kr_context was = *a;
#define SWAP(field)                                                                                \
	do {                                                                                       \
		a->field = b->field;                                                               \
		b->field = was.field;                                                              \
	} while (0)
	SWAP(options);
	SWAP(downstream_opt_rr);
	SWAP(upstream_opt_rr);
	SWAP(trust_anchors);
	SWAP(negative_anchors);
	SWAP(vld_limit_crypto);
	SWAP(root_hints);
	SWAP(tls_padding);
	SWAP(stream_idle_ms);
	SWAP(cache_rtt_tout_retry_interval);
	SWAP(answers_vary);
	SWAP(has_rules);
	SWAP(cookies_vary);
	SWAP(wants_expiring);
	SWAP(repeat_hooks);
	SWAP(concern_hooks);
	SWAP(client_class);
	SWAP(client_class_data);
	SWAP(layers_skippable);
	SWAP(layers_quick);
	SWAP(cache.ttl_min);
	SWAP(cache.ttl_max);
	for (int i = 0; i < KR_HOOK_COUNT; ++i)
		SWAP(hooks[i]);
	SWAP(hooks_retired);
	for (size_t i = 0; i < KR_COUNT_OF(a->rulebooks); ++i)
		SWAP(rulebooks[i]);
#undef SWAP
	a->generation += 1;
}

int kr_context_init(struct kr_context *ctx, knot_mm_t *pool)
{
	uint64_t seeds[2];
	kr_ctx_rnd(ctx, seeds, sizeof(seeds));
	ctx->pool = pool;
	ctx->generation = 1;
	ctx->servers = kr_servers_new(16384, seeds[0]);
	ctx->failures = kr_failcache_new(KR_FAIL_CACHE_MAX, seeds[1]);
	int ret = kr_context_config_init(ctx);
	return ctx->servers && ctx->failures ? ret : kr_error(ENOMEM);
}

void kr_context_deinit(struct kr_context *ctx)
{
	kr_cache_close(&ctx->cache);
	kr_servers_free(ctx->servers);
	kr_failcache_free(ctx->failures);
	kr_context_config_deinit(ctx);
}

/* ---- walks ---- */

/** What a walk hands to each hook besides the state. */
struct walk {
	enum kr_hook hook;
	knot_pkt_t *pkt;
	struct sockaddr *dst;
	int sock_type;
};

static int call_hook(kr_layer_t *layer, const struct walk *walk)
{
	const kr_layer_api_t *api = layer->api;
	switch (walk->hook) {
	case KR_HOOK_BEGIN:
		return api->begin(layer);
	case KR_HOOK_RESET:
		return api->reset(layer);
	case KR_HOOK_FINISH:
		return api->finish(layer);
	case KR_HOOK_CONSUME:
		return api->consume(layer, walk->pkt);
	case KR_HOOK_PRODUCE:
		return api->produce(layer, walk->pkt);
	case KR_HOOK_CHECKOUT:
		return api->checkout(layer, walk->pkt, walk->dst, walk->sock_type);
	case KR_HOOK_ANSWER_FINALIZE:
		return api->answer_finalize(layer);
	default:
		return layer->state;
	}
}

/** Run a hook of the layers at `at` and after it. @return the layer that yielded, or NULL */
static const kr_layer_api_t *walk_from(
	struct kr_request *req, const kr_layer_api_t **at, const struct walk *walk)
{
	const kr_layer_api_t *yielded = NULL;
	req->ctx->walks += 1;
	for (; at && *at && !yielded; ++at) {
		kr_layer_t layer = {
			.state = req->state,
			.req = req,
			.api = *at,
			.pkt = walk->pkt,
			.dst = walk->dst,
			.is_stream = walk->sock_type == SOCK_STREAM,
		};
		int state = call_hook(&layer, walk);
		req->state = kr_state_is_valid(state) ? state : KR_STATE_FAIL;
		if (req->state == KR_STATE_YIELD)
			yielded = *at;
	}
	req->ctx->walks -= 1;
	return yielded;
}

int resolve_walk(struct kr_request *req, enum kr_hook hook, knot_pkt_t *pkt)
{
	const struct walk walk = {.hook = hook, .pkt = pkt};
	walk_from(req, req->ctx->hooks[hook], &walk);
	return req->state;
}

/* ---- yielding ---- */

static void mark_yielded(ranked_rr_array_t *array, uint32_t qry_uid, bool yielded)
{
	for (size_t i = 0; i < array->len; ++i) {
		if (array->at[i]->qry_uid == qry_uid)
			array->at[i]->yielded = yielded;
	}
}

static int park(struct kr_query *qry, const kr_layer_api_t *api, knot_pkt_t *pkt)
{
	struct kr_request *req = qry->request;
	struct kr_layer_pickle *pickle = mm_calloc(&req->pool, 1, sizeof(*pickle));
	if (!pickle)
		return kr_error(ENOMEM);
	/* Only the parsed form is looked at again; wire and RRsets stay on the pool. */
	knot_pkt_t *copy = mm_memdup(&req->pool, pkt, sizeof(*pkt));
	if (!copy)
		return kr_error(ENOMEM);
	size_t wire_len = pkt->size == KR_PKT_SIZE_NOWIRE
				  ? (size_t)KNOT_WIRE_HEADER_SIZE + pkt->qname_size + 4
				  : pkt->size;
	copy->wire = mm_memdup(&req->pool, pkt->wire, wire_len);
	size_t rrs = KR_MAX(pkt->rrset_count, 1);
	copy->rr = mm_memdup(&req->pool, pkt->rr, rrs * sizeof(*pkt->rr));
	copy->rr_info = mm_memdup(&req->pool, pkt->rr_info, rrs * sizeof(*pkt->rr_info));
	if (!copy->wire || (pkt->rr && !copy->rr) || (pkt->rr_info && !copy->rr_info))
		return kr_error(ENOMEM);
	copy->rrset_allocd = rrs;
	for (int i = 0; i < KNOT_PKT_SECTIONS; ++i)
		copy->sections[i].pkt = copy;
	pickle->api = api;
	pickle->pkt = copy;
	pickle->state = req->state;
	qry->deferred = pickle;
	mark_yielded(&req->answ_selected, qry->uid, true);
	mark_yielded(&req->auth_selected, qry->uid, true);
	return kr_ok();
}

/** Walk `consume` over a packet, from the start or from the layer that had yielded. */
static void consume_walk(struct kr_query *qry, const kr_layer_api_t *from, knot_pkt_t *pkt)
{
	struct kr_request *req = qry->request;
	const kr_layer_api_t **at = req->ctx->hooks[KR_HOOK_CONSUME];
	while (from && at && *at && *at != from)
		++at;
	if (from && (!at || !*at)) { /* that module is gone: start over */
		at = req->ctx->hooks[KR_HOOK_CONSUME];
		req->state = KR_STATE_CONSUME;
	}
	const struct walk walk = {.hook = KR_HOOK_CONSUME, .pkt = pkt};
	const kr_layer_api_t *yielded = walk_from(req, at, &walk);
	if (yielded && park(qry, yielded, pkt) != 0)
		req->state = KR_STATE_FAIL;
}

static void resume(struct kr_query *qry)
{
	struct kr_request *req = qry->request;
	struct kr_layer_pickle *pickle = qry->deferred;
	qry->deferred = pickle->next;
	mark_yielded(&req->answ_selected, qry->uid, false);
	mark_yielded(&req->auth_selected, qry->uid, false);
	req->state = KR_STATE_YIELD;
	VERBOSE(qry, "<= resuming yielded answer\n");
	consume_walk(qry, pickle->api, pickle->pkt);
}

/* ---- begin ---- */

int kr_resolve_begin(struct kr_request *req, struct kr_context *ctx)
{
	req->ctx = ctx;
	req->answer = NULL;
	req->options = ctx->options;
	req->state = KR_STATE_CONSUME;
	req->current_query = NULL;
	array_init(req->answ_selected);
	array_init(req->auth_selected);
	array_init(req->add_selected);
	array_init(req->selection_context.forwarding_targets);
	req->rank = KR_RANK_INITIAL;
	kr_rplan_init(&req->rplan, req, &req->pool);
	return KR_STATE_CONSUME;
}

static bool client_has_cd(const struct kr_request *req)
{
	return req->qsource.packet && knot_wire_get_cd(req->qsource.packet->wire);
}

/** Take the client's question in. */
static int first_question(struct kr_request *req, knot_pkt_t *question)
{
	struct kr_query *qry = kr_rplan_push(&req->rplan, NULL, knot_pkt_qname(question),
		knot_pkt_qclass(question), knot_pkt_qtype(question));
	if (!qry)
		return req->state = KR_STATE_FAIL;
	if (!req->qsource.packet)
		req->qsource.packet = question;
	qry->flags.AWAIT_CUT = true;
	if (client_has_cd(req))
		qry->flags.DNSSEC_CD = true;
	else if (kr_ta_closest(req->ctx, qry->sname, qry->stype))
		qry->flags.DNSSEC_WANT = true;

	req->current_query = qry;
	req->state = KR_STATE_CONSUME;
	resolve_walk(req, KR_HOOK_BEGIN, question);
	req->current_query = NULL;
	switch (req->state) {
	case KR_STATE_DONE:
		kr_rplan_pop(&req->rplan, qry);
		break;
	case KR_STATE_CONSUME:
		req->state = KR_STATE_PRODUCE;
		break;
	case KR_STATE_YIELD: /* only consume may */
		req->state = KR_STATE_FAIL;
		break;
	default:
		break;
	}
	return req->state;
}

/* ---- ends of queries ---- */

/** Give what a server address look-up found to the query that waits for it. */
static void deliver_addresses(struct kr_query *qry)
{
	struct kr_request *req = qry->request;
	struct kr_query *parent = qry->parent;
	bool found = false;
	for (size_t i = 0; i < req->answ_selected.len; ++i) {
		const ranked_rr_array_entry_t *entry = req->answ_selected.at[i];
		const knot_rrset_t *rr = entry->rr;
		if (entry->qry_uid != qry->uid || rr->type != qry->stype || entry->in_progress ||
			!knot_dname_is_equal(rr->owner, qry->sname))
			continue;
		for (int j = 0; j < rr->rrs.count; ++j) {
			if (selection_add_address(
				    parent, qry->sname, knot_rdataset_at(&rr->rrs, j)) == 0)
				found = true;
		}
	}
	if (found) {
		req->count_no_nsaddr = 0;
		return;
	}
	req->count_no_nsaddr += 1;
	kr_server_selection_no_address(parent, qry->sname, qry->stype);
}

/** The query is finished well. */
static void query_resolved(struct kr_query *qry)
{
	struct kr_request *req = qry->request;
	if (qry->is_ns_lookup && qry->parent)
		deliver_addresses(qry);
	if (!qry->flags.CACHED)
		kr_failcache_del(req->ctx->failures, KR_FAIL_QUESTION, qry->sname, qry->stype);
	kr_rplan_pop(&req->rplan, qry);
}

/** Remember that a question had no answer, unless the client's own limits were the reason. */
static void remember_failure(struct kr_query *qry)
{
	struct kr_request *req = qry->request;
	const struct kr_qflags *flags = &qry->flags;
	if (flags->STUB || flags->FORWARD || flags->NO_CACHE || qry->is_fail_remembered ||
		!qry->sname)
		return;
	qry->is_fail_remembered = true;
	kr_failcache_add(req->ctx->failures, flags->DNSSEC_BOGUS ? KR_FAIL_BOGUS : KR_FAIL_QUESTION,
		qry->sname, qry->stype, req->extended_error.info_code, req->ctx->now_ms);
}

/**
 * The query cannot be answered. A server address look-up only costs its zone cut one way in;
 * anything else ends the request.
 */
static int query_failed(struct kr_query *qry)
{
	struct kr_request *req = qry->request;
	struct kr_query *lookup = qry;
	while (lookup && !lookup->is_ns_lookup)
		lookup = lookup->parent;
	remember_failure(qry);
	if (!lookup || !lookup->parent) {
		if (!qry->parent) /* the question the client (or an alias) asked */
			remember_failure(req->rplan.initial);
		return req->state = KR_STATE_FAIL;
	}
	kr_failcache_add(req->ctx->failures, KR_FAIL_ADDRESS, lookup->sname, lookup->stype, -1,
		req->ctx->now_ms);
	while (!kr_rplan_empty(&req->rplan)) {
		struct kr_query *top = array_tail(req->rplan.pending);
		kr_rplan_pop(&req->rplan, top);
		if (top == lookup)
			break;
	}
	req->count_no_nsaddr += 1;
	req->count_fail_row = 0;
	kr_server_selection_no_address(lookup->parent, lookup->sname, lookup->stype);
	return req->state = KR_STATE_PRODUCE;
}

/** End of a round in which no packet has to be sent. */
static int end_round(struct kr_query *qry)
{
	struct kr_request *req = qry->request;
	if (qry->flags.RESOLVED && req->state != KR_STATE_YIELD)
		query_resolved(qry);
	req->state = KR_STATE_PRODUCE;
	resolve_walk(req, KR_HOOK_RESET, NULL);
	return req->state = kr_rplan_empty(&req->rplan) ? KR_STATE_DONE : KR_STATE_PRODUCE;
}

/* ---- consume ---- */

static bool is_out_of_time(struct kr_query *qry)
{
	struct kr_request *req = qry->request;
	if (req->ctx->now_ms < qry->creation_time_mono + KR_REQUEST_TIME_MS)
		return false;
	kr_budget_exhausted(req, KR_BUDGET_TIME);
	kr_request_set_extended_error(req, KNOT_EDNS_EDE_NREACH_AUTH, "QLPL: time limit");
	return true;
}

/** Undo random letter case: the question of the packet becomes the one we plan with. */
static void restore_case(struct kr_query *qry, knot_pkt_t *pkt)
{
	if (!qry->secret || pkt->qname_size == 0)
		return;
	knot_dname_to_lower(pkt->wire + KNOT_WIRE_HEADER_SIZE);
}

/** Servers that have no public address themselves may delegate to others of their kind. */
static bool is_inside(const struct sockaddr *addr)
{
	return kr_addr_is_private(addr) || kr_addr_is_unusable(addr);
}

/** Filter a network answer once, before anybody sees it. */
static int scrub_answer(struct kr_query *qry, const struct kr_transport *transport, knot_pkt_t *pkt)
{
	struct kr_request *req = qry->request;
	const bool is_forward = qry->flags.FORWARD || qry->flags.STUB;
	const struct kr_scrub_question question = {
		.name = qry->asked_name ? qry->asked_name : qry->sname,
		.type = qry->asked_name ? qry->asked_type : qry->stype,
		.cut = qry->zone_cut.name,
		.is_stream = transport && transport->protocol != KR_TRANSPORT_UDP,
		.is_forward = is_forward,
		.payload = knot_edns_get_payload(req->ctx->upstream_opt_rr),
		.allow_local = qry->flags.ALLOW_LOCAL,
		.allow_private =
			qry->flags.ALLOW_LOCAL || (transport && is_inside(&transport->address.ip)),
		.permissive = qry->flags.PERMISSIVE,
		.strict = qry->flags.STRICT,
		.random = kr_ctx_rnd32(req->ctx),
	};
	enum kr_scrub_shape shape = KR_SHAPE_EMPTY;
	int ret = kr_scrub(pkt, &question, &shape);
	qry->shape = shape;
	return ret;
}

/** Judge the state that the walk over a network answer left. */
static int after_consume(struct kr_query *qry, bool was_tcp)
{
	struct kr_request *req = qry->request;
	if (req->state & KR_STATE_FAIL) {
		qry->flags.RESOLVED = false;
		qry->next_cut = NULL;
		req->count_fail_row += 1;
		if (req->count_fail_row >= KR_CONSUME_FAIL_ROW_MAX) {
			VERBOSE(qry, "=> too many failed answers in a row\n");
			qry->flags.NO_NS_FOUND = true;
		}
	} else if (req->state == KR_STATE_YIELD) {
		return req->state = KR_STATE_PRODUCE;
	} else {
		req->count_fail_row = 0;
		if (qry->next_cut)
			resolve_follow_referral(qry);
	}
	if (qry->flags.RESOLVED) {
		query_resolved(qry);
	} else if (!was_tcp && qry->flags.TCP) {
		return req->state = KR_STATE_PRODUCE; /* the same question over a stream */
	} else {
		qry->flags.CACHED = false;
		qry->flags.TCP = req->options.TCP;
	}
	req->state = KR_STATE_PRODUCE;
	resolve_walk(req, KR_HOOK_RESET, NULL);
	if (qry->flags.DNSSEC_BOGUS && !qry->flags.RESOLVED) {
		const bool is_final = qry->flags.FORWARD || qry->flags.STUB ||
				      kr_budget_left(req, KR_BUDGET_VERIFY) == 0 ||
				      kr_budget_left(req, KR_BUDGET_VERIFY_FAIL) == 0;
		if (is_final)
			return query_failed(qry);
		qry->flags.DNSSEC_BOGUS = false; /* another server may do better */
	}
	return req->state = kr_rplan_empty(&req->rplan) ? KR_STATE_DONE : KR_STATE_PRODUCE;
}

int kr_resolve_consume(struct kr_request *req, struct kr_transport **transport, knot_pkt_t *packet)
{
	if (kr_rplan_empty(&req->rplan)) {
		if (!packet || req->rplan.resolved.len > 0)
			return req->state = KR_STATE_FAIL;
		return first_question(req, packet);
	}
	struct kr_query *qry = array_tail(req->rplan.pending);
	if (!packet || packet->size == 0) {
		if (!kr_budget_spend(req, KR_BUDGET_TIMEOUTS, 1)) {
			kr_request_set_extended_error(req, KNOT_EDNS_EDE_NREACH_AUTH, "QLPL");
			return query_failed(qry);
		}
		return req->state = KR_STATE_PRODUCE;
	}
	const struct kr_transport *from = transport ? *transport : NULL;
	const bool was_tcp = qry->flags.TCP;
	restore_case(qry, packet);
	req->current_query = qry;
	req->upstream.transport = from;
	req->upstream.rtt = from ? req->ctx->now_ms - qry->timestamp_mono : 0;
	if (scrub_answer(qry, from, packet) < 0) {
		VERBOSE(qry, "<= unusable answer\n");
		if (from)
			qry->server_selection.error(qry, from, KR_SELECTION_MALFORMED);
		req->state = KR_STATE_FAIL;
	} else {
		req->state = KR_STATE_CONSUME;
		consume_walk(qry, NULL, packet);
	}
	req->upstream.transport = NULL;
	req->upstream.rtt = 0;
	after_consume(qry, was_tcp);
	req->current_query = NULL;
	return req->state;
}

/* ---- produce ---- */

/** Ask for an address of a server of this query's zone cut. */
static int lookup_ns_address(struct kr_query *qry, const struct kr_transport *transport)
{
	struct kr_request *req = qry->request;
	const uint16_t type =
		transport->protocol == KR_TRANSPORT_RESOLVE_A ? KNOT_RRTYPE_A : KNOT_RRTYPE_AAAA;
	const char *why = NULL;
	if (kr_rplan_satisfies(qry, transport->ns_name, KNOT_CLASS_IN, type))
		why = "cyclic dependency";
	else if (kr_failcache_check(req->ctx->failures, KR_FAIL_ADDRESS, transport->ns_name, type,
			 NULL, req->ctx->now_ms) > 0)
		why = "failed a moment ago";
	else if (qry->ns_depth >= KR_NS_DEPTH_MAX) {
		kr_budget_exhausted(req, KR_BUDGET_NS_DEPTH);
		why = "nested too deep";
	}
	if (why) {
		VERBOSE(qry, "=> server address is not looked up: %s\n", why);
		kr_server_selection_no_address(qry, transport->ns_name, type);
		return kr_ok();
	}
	if (!kr_budget_spend(req, KR_BUDGET_NS_LOOKUPS, 1))
		return kr_error(EDQUOT);
	struct kr_query *next =
		kr_rplan_push(&req->rplan, qry, transport->ns_name, KNOT_CLASS_IN, type);
	if (!next)
		return kr_error(ENOMEM);
	next->is_ns_lookup = true;
	next->ns_depth = qry->ns_depth + 1;
	next->flags.AWAIT_CUT = true;
	next->flags.NONAUTH = true; /* it only directs packets: what they bring is validated */
	return kr_ok();
}

static void log_sending(struct kr_query *qry, const struct kr_transport *transport, knot_pkt_t *pkt)
{
	if (!kr_log_is_debug_qry(RESOLVER, qry))
		return;
	static const char *const names[] = {"A", "AAAA", "udp", "tcp", "tls"};
	KR_DNAME_GET_STR(qname, knot_pkt_qname(pkt));
	KR_DNAME_GET_STR(ns_name, transport->ns_name);
	KR_DNAME_GET_STR(cut, qry->zone_cut.name);
	KR_RRTYPE_GET_STR(type, knot_pkt_qtype(pkt));
	VERBOSE(qry,
		"=> id: '%05u' querying: '%s'@'%s' zone cut: '%s' qname: '%s' qtype: '%s' proto: "
		"'%s'\n",
		qry->id, ns_name, kr_straddr(&transport->address.ip), cut, qname, type,
		names[transport->protocol]);
}

/**
 * Is it the zone that has no server that answers? Not if we only stopped looking for them: whoever
 * wastes the budgets of a request must not get other zones shunned.
 */
static bool is_cut_dead(struct kr_query *qry)
{
	const struct kr_budget *budget = &qry->request->budget;
	if (qry->flags.FORWARD || qry->flags.STUB)
		return false;
	return budget->spent[KR_BUDGET_TIMEOUTS] > 0 ||
	       (budget->spent[KR_BUDGET_NS_LOOKUPS] > 0 && kr_zonecut_is_empty(&qry->zone_cut) &&
		       !budget->exhausted[KR_BUDGET_NS_LOOKUPS] &&
		       !budget->exhausted[KR_BUDGET_NS_DEPTH]);
}

/** No server is left. One round with NO_NS_FOUND set gives serve_stale its chance. */
static int no_server_left(struct kr_query *qry)
{
	struct kr_request *req = qry->request;
	if (!qry->flags.NO_NS_FOUND) {
		VERBOSE(qry, "=> no server is left to ask\n");
		qry->flags.NO_NS_FOUND = true;
		return req->state = KR_STATE_PRODUCE;
	}
	if (is_cut_dead(qry)) {
		kr_failcache_add(req->ctx->failures, KR_FAIL_CUT, qry->zone_cut.name, 0, -1,
			req->ctx->now_ms);
	}
	kr_request_set_extended_error(req, KNOT_EDNS_EDE_NREACH_AUTH, "QLPL");
	return query_failed(qry);
}

/** For the client of a failure that is not looked into anew. @return NULL if out of memory */
static const char *remembered_text(const struct kr_query *qry)
{
	char name[KNOT_DNAME_TXT_MAXLEN + 1], type[16], text[KR_EDE_TEXT_MAX + 1];
	if (!knot_dname_to_str(name, qry->sname, sizeof(name)) ||
		knot_rrtype_to_string(qry->stype, type, sizeof(type)) < 0)
		return NULL;
	snprintf(text, sizeof(text), "failed a moment ago: %.30s %.10s", name, type);
	return mm_strdup(&qry->request->pool, text);
}

/** Is this question, or its whole zone, known to fail right now? */
static bool failed_recently(struct kr_query *qry)
{
	struct kr_request *req = qry->request;
	if (qry->flags.STUB || qry->flags.FORWARD || qry->flags.NO_CACHE)
		return false;
	int ede = KR_EDE_NONE;
	struct kr_failcache *fc = req->ctx->failures;
	const uint64_t now = req->ctx->now_ms;
	const bool is_bogus = !client_has_cd(req) && kr_failcache_check(fc, KR_FAIL_BOGUS,
							     qry->sname, qry->stype, &ede, now) > 0;
	if (!is_bogus &&
		kr_failcache_check(fc, KR_FAIL_QUESTION, qry->sname, qry->stype, &ede, now) == 0 &&
		kr_failcache_check(fc, KR_FAIL_CUT, qry->zone_cut.name, 0, &ede, now) == 0)
		return false;
	VERBOSE(qry, "=> failed a moment ago, not tried again yet\n");
	qry->is_fail_remembered = true; /* being refused does not prolong it */
	kr_request_set_extended_error(
		req, ede >= 0 ? ede : KNOT_EDNS_EDE_CACHED_ERR, remembered_text(qry));
	return true;
}

/** RD=0 and ANY never leave this house. */
static bool may_be_sent(const struct kr_query *qry)
{
	const struct kr_request *req = qry->request;
	const bool wants_recursion =
		!req->qsource.packet || knot_wire_get_rd(req->qsource.packet->wire);
	return qry->parent || (wants_recursion && qry->stype != KNOT_RRTYPE_ANY);
}

/** Everything between "this has to be asked" and "ask this server". */
static int prepare_sending(struct kr_query *qry, struct kr_transport **transport, knot_pkt_t *pkt)
{
	struct kr_request *req = qry->request;
	if (!may_be_sent(qry))
		return query_failed(qry);
	if (qry->flags.AWAIT_CUT) {
		if (resolve_find_cut(qry) != 0)
			return query_failed(qry);
		qry->flags.AWAIT_CUT = false;
	}
	if (failed_recently(qry))
		return qry->flags.NO_NS_FOUND ? query_failed(qry) : no_server_left(qry);
	int ret = resolve_chain_check(qry);
	if (ret != 0)
		return ret > 0 ? (req->state = KR_STATE_PRODUCE) : query_failed(qry);
	if (qry->flags.NO_NS_FOUND)
		return no_server_left(qry);

	*transport = NULL;
	if (!qry->server_selection.initialized)
		kr_server_selection_init(qry);
	if (qry->server_selection.initialized)
		qry->server_selection.choose_transport(qry, transport);
	if (!*transport)
		return no_server_left(qry);
	if ((*transport)->protocol <= KR_TRANSPORT_RESOLVE_AAAA) {
		if (lookup_ns_address(qry, *transport) != 0)
			return query_failed(qry);
		*transport = NULL;
		return req->state = KR_STATE_PRODUCE;
	}
	ret = kr_make_query(qry, pkt); /* the cut may be another one than the layers saw */
	if (ret != 0)
		return query_failed(qry);
	log_sending(qry, *transport, pkt);
	return req->state = KR_STATE_CONSUME;
}

/** Layers first: a local answer, or the question. */
static void produce_walk(struct kr_query *qry, knot_pkt_t *pkt)
{
	struct kr_request *req = qry->request;
	req->state = KR_STATE_PRODUCE;
	resolve_walk(req, KR_HOOK_PRODUCE, pkt);
	if (req->state == KR_STATE_YIELD)
		req->state = KR_STATE_FAIL;
	if (!(req->state & KR_STATE_FAIL) && knot_wire_get_qr(pkt->wire)) {
		req->state = KR_STATE_CONSUME;
		consume_walk(qry, NULL, pkt);
		if (req->state != KR_STATE_FAIL && req->state != KR_STATE_YIELD && qry->next_cut)
			resolve_follow_referral(qry);
		/* An answer that still needs another round is not a question to be sent. */
		if (req->state == KR_STATE_CONSUME)
			req->state = KR_STATE_PRODUCE;
	}
}

int kr_resolve_produce(struct kr_request *req, struct kr_transport **transport, knot_pkt_t *packet)
{
	if (kr_rplan_empty(&req->rplan))
		return req->state = KR_STATE_FAIL;
	struct kr_query *qry = array_tail(req->rplan.pending);
	if (!kr_budget_spend(req, KR_BUDGET_ROUNDS, 1)) {
		kr_request_set_extended_error(
			req, KNOT_EDNS_EDE_OTHER, "OGHD: exceeded iteration count limit");
		return req->state = KR_STATE_FAIL;
	}
	if (is_out_of_time(qry))
		return query_failed(qry);
	req->current_query = qry;
	if (qry->deferred) {
		resume(qry);
	} else {
		if (qry->flags.ALWAYS_CUT && qry->flags.AWAIT_CUT && !qry->flags.STUB) {
			if (resolve_find_cut(qry) == 0)
				qry->flags.AWAIT_CUT = false;
		}
		produce_walk(qry, packet);
	}
	if (req->state & KR_STATE_FAIL)
		query_failed(qry);
	else if (req->state == KR_STATE_CONSUME)
		prepare_sending(qry, transport, packet);
	else
		end_round(qry);
	req->current_query = NULL;
	return req->state;
}

/* ---- checkout ---- */

/** Random letter case for the question, one coin a letter (0x20). */
static void randomize_case(uint8_t *qname, size_t len, uint32_t secret)
{
	uint32_t bits = secret;
	int left = 32;
	for (size_t i = 0; i < len; ++i) {
		if ((qname[i] | 0x20) < 'a' || (qname[i] | 0x20) > 'z')
			continue;
		if (left == 0) { /* stretch one secret over long names */
			bits = secret = secret * 2654435761u + 0x9e3779b9u;
			left = 32;
		}
		qname[i] = (qname[i] | 0x20) ^ (bits & 1 ? 0x20 : 0);
		bits >>= 1;
		left -= 1;
	}
}

/** Labels' length octets never are letters: they are below 64. */
static void set_case(struct kr_query *qry, bool is_udp, knot_pkt_t *pkt)
{
	struct kr_request *req = qry->request;
	uint8_t *qname = pkt->wire + KNOT_WIRE_HEADER_SIZE;
	knot_dname_to_lower(qname);
	qry->secret = 0;
	if (qry->flags.NO_0X20 || !is_udp)
		return;
	qry->secret = kr_ctx_rnd32(req->ctx) | 1;
	randomize_case(qname, pkt->qname_size, qry->secret);
}

static int attach_opt(struct kr_query *qry, knot_pkt_t *pkt)
{
	struct kr_request *req = qry->request;
	pkt->opt_rr = NULL;
	if (qry->flags.NO_EDNS)
		return kr_ok();
	pkt->opt_rr = knot_rrset_copy(req->ctx->upstream_opt_rr, &req->pool);
	if (!pkt->opt_rr)
		return kr_error(ENOMEM);
	if (!qry->flags.STUB)
		knot_edns_set_do(pkt->opt_rr);
	return kr_ok();
}

static void set_query_flags(struct kr_query *qry, knot_pkt_t *pkt)
{
	const bool is_forward = qry->flags.STUB || qry->flags.FORWARD;
	if (is_forward)
		knot_wire_set_rd(pkt->wire);
	const bool wants_cd = is_forward ? client_has_cd(qry->request) ||
						   (!qry->flags.STUB && !qry->flags.DNSSEC_WANT)
					 : !qry->flags.NO_EDNS;
	if (wants_cd)
		knot_wire_set_cd(pkt->wire);
}

static int write_opt(knot_pkt_t *pkt)
{
	if (!pkt->opt_rr)
		return kr_ok();
	knot_rrset_t *opt = pkt->opt_rr;
	int ret = knot_pkt_begin(pkt, KNOT_ADDITIONAL);
	if (ret == KNOT_EOK)
		ret = knot_pkt_put(pkt, KNOT_COMPR_HINT_NONE, opt, 0);
	return ret == KNOT_EOK ? kr_ok() : kr_error(EINVAL);
}

int kr_resolve_checkout(struct kr_request *req, const struct sockaddr *src,
	struct kr_transport *transport, knot_pkt_t *packet)
{
	if (knot_wire_get_qr(packet->wire))
		return kr_ok();
	if (kr_rplan_empty(&req->rplan) || !transport)
		return kr_error(EINVAL);
	struct kr_query *qry = array_tail(req->rplan.pending);
	const bool is_udp = transport->protocol == KR_TRANSPORT_UDP;

	kr_pkt_clear_payload(packet);
	set_query_flags(qry, packet);
	if (attach_opt(qry, packet) != 0)
		return kr_error(ENOMEM);
	const struct walk walk = {
		.hook = KR_HOOK_CHECKOUT,
		.pkt = packet,
		.dst = &transport->address.ip,
		.sock_type = is_udp ? SOCK_DGRAM : SOCK_STREAM,
	};
	req->current_query = qry;
	req->state = KR_STATE_CONSUME;
	walk_from(req, req->ctx->hooks[KR_HOOK_CHECKOUT], &walk);
	req->current_query = NULL;
	if (req->state & KR_STATE_FAIL)
		return kr_error(ECANCELED);
	req->state = KR_STATE_CONSUME;
	set_case(qry, is_udp, packet);
	int ret = write_opt(packet);
	if (ret != 0)
		return ret;
	qry->timestamp_mono = req->ctx->now_ms;
	return kr_ok();
}

/* ---- finish ---- */

/** Is OPT written already? */
static bool has_opt(const knot_pkt_t *pkt)
{
	const knot_pktsection_t *additional = knot_pkt_section(pkt, KNOT_ADDITIONAL);
	for (uint16_t i = 0; i < additional->count; ++i) {
		if (knot_pkt_rr(additional, i)->type == KNOT_RRTYPE_OPT)
			return true;
	}
	return false;
}

int kr_resolve_finish(struct kr_request *req, int state)
{
	if (req->is_finished)
		return KR_STATE_DONE;
	req->is_finished = true;
	req->state = state;
	req->current_query = NULL;
	resolve_make_answer(req);
	knot_rrset_t opt = {0}; /* a copy: records put later may take its place in the packet */
	const bool has_edns = req->answer && req->answer->opt_rr;
	if (has_edns)
		opt = *req->answer->opt_rr;
	const int old_code = req->extended_error.info_code;
	resolve_walk(req, KR_HOOK_FINISH, req->answer);
	if (has_edns && req->answer && !has_opt(req->answer)) /* a hook rebuilt the packet */
		resolve_renew_edns(req, &opt, old_code);
	if (req->trace_finish)
		req->trace_finish(req);
	req->trace_log = NULL;
	req->trace_finish = NULL;
	return KR_STATE_DONE;
}
