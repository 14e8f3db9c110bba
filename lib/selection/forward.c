/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Among the targets that the operator gave: all may be asked, the fastest first. */

#include <string.h>

#include "lib/log.h"
#include "lib/selection/impl.h"
#include "lib/utils.h"

/** Time for a forwarder to do its work. */
#define FORWARD_TIMEOUT_MS 2000

struct forward_state {
	addr_tries_t tries;
	struct tried_question question;
};

static struct forward_state *state_of(const struct kr_query *qry)
{
	return qry->server_selection.local_state->private;
}

static uint64_t expected_us(struct kr_query *qry, const struct sockaddr *addr)
{
	struct kr_context *ctx = qry->request->ctx;
	const struct kr_server *server = kr_servers_peek(ctx->servers, addr, ctx->now_ms);
	uint64_t us = server && server->srtt_us > 0 ? server->srtt_us : 1000;
	if (server && server->timeouts > 0)
		us = (us + 100000) << KR_MIN(server->timeouts, 6);
	return us + kr_ctx_rnd32(ctx) % 2000;
}

static enum kr_transport_protocol protocol_of(const struct kr_query *qry, union kr_sockaddr *addr)
{
	const struct kr_request *req = qry->request;
	if (req->selection_context.is_tls_capable && req->selection_context.is_tls_capable(&addr->ip))
		return KR_TRANSPORT_TLS;
	const bool is_stream = qry->flags.TCP || qry->server_selection.local_state->truncated;
	return is_stream ? KR_TRANSPORT_TCP : KR_TRANSPORT_UDP;
}

static bool is_family_off(const struct kr_query *qry, const struct sockaddr *addr)
{
	return kr_inaddr_family(addr) == AF_INET ? qry->flags.NO_IPV4 : qry->flags.NO_IPV6;
}

static void forward_choose(struct kr_query *qry, struct kr_transport **transport)
{
	struct kr_request *req = qry->request;
	const kr_sockaddr_array_t *targets = &req->selection_context.forwarding_targets;
	union kr_sockaddr *best = NULL;
	struct addr_try *best_tried = NULL;
	uint64_t best_cost = 0;
	*transport = NULL;
	selection_mind_question(qry, &state_of(qry)->question, &state_of(qry)->tries);
	for (size_t i = 0; i < targets->len; ++i) {
		union kr_sockaddr *target = &targets->at[i];
		const bool is_stream = protocol_of(qry, target) != KR_TRANSPORT_UDP;
		struct addr_try *tried = selection_tries(&state_of(qry)->tries, &target->ip, &req->pool);
		if (!tried || is_family_off(qry, &target->ip) || !selection_may_try(tried, is_stream))
			continue;
		const uint64_t cost = expected_us(qry, &target->ip) +
				      (uint64_t)(tried->udp + tried->stream) * 10000000;
		if (best && cost >= best_cost)
			continue;
		best = target;
		best_cost = cost;
	}
	if (!best)
		return;
	best_tried = selection_tries(&state_of(qry)->tries, &best->ip, &req->pool);
	const enum kr_transport_protocol protocol = protocol_of(qry, best);
	if (protocol == KR_TRANSPORT_UDP)
		best_tried->udp += 1;
	else
		best_tried->stream += 1;
	*transport = selection_transport(qry, (const knot_dname_t *)"", &best->ip, protocol);
	if (!*transport)
		return;
	if ((*transport)->timeout < FORWARD_TIMEOUT_MS && !(*transport)->timeout_capped)
		(*transport)->timeout = FORWARD_TIMEOUT_MS;
	selection_log(qry, "forwarding to", *transport);
}

static void forward_error(struct kr_query *qry, const struct kr_transport *transport,
		enum kr_selection_error error)
{
	if (!transport || !qry->server_selection.initialized)
		return;
	struct addr_try *tried = selection_tries(
			&state_of(qry)->tries, &transport->address.ip, &qry->request->pool);
	bool give_up = error == KR_SELECTION_REFUSED || error == KR_SELECTION_SERVFAIL;
	if (!give_up)
		give_up = selection_learn_error(qry, transport, error);
	if (tried && give_up)
		tried->given_up = true;
}

void forward_selection_init(struct kr_query *qry)
{
	struct kr_server_selection *selection = &qry->server_selection;
	selection->choose_transport = forward_choose;
	selection->update_rtt = selection_update_rtt;
	selection->error = forward_error;
	selection->local_state->private =
			mm_calloc(&qry->request->pool, 1, sizeof(struct forward_state));
}
