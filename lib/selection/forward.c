/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Among the targets that the operator gave: all may be asked, the fastest first. */

#include "lib/selection/impl.h"

/** Time for a forwarder to do its work. */
#define FORWARD_TIMEOUT_MS 2000
/** Assumed RTT of a target that nothing is known of: each gets its chance soon. */
#define UNKNOWN_RTT_US 1000
/** Expected cost of every failed try or timeout. */
#define FAILURE_US (500 * 1000)
/** Streams to forwarders are kept and may break at any time: one more try than for authorities. */
#define TRIES_STREAM_MAX (KR_TRIES_STREAM_MAX + 1)

static enum kr_transport_protocol protocol_of(const struct kr_query *qry, struct addr_try *tried)
{
	const struct kr_request *req = qry->request;
	if (req->selection_context.is_tls_capable &&
		req->selection_context.is_tls_capable(&tried->addr.ip))
		return KR_TRANSPORT_TLS;
	if (selection_needs_stream(qry))
		return KR_TRANSPORT_TCP;
	const bool may_stream = tried->stream < TRIES_STREAM_MAX;
	return selection_wants_stream(qry) && may_stream ? KR_TRANSPORT_TCP : KR_TRANSPORT_UDP;
}

static bool may_try(const struct addr_try *tried, enum kr_transport_protocol protocol)
{
	if (tried->given_up || tried->has_failed)
		return false;
	return protocol == KR_TRANSPORT_UDP ? tried->udp < KR_TRIES_UDP_MAX
					    : tried->stream < TRIES_STREAM_MAX;
}

/** Expected time of an answer, for comparing. */
static uint64_t expected_us(struct kr_query *qry, const struct addr_try *tried)
{
	struct kr_context *ctx = qry->request->ctx;
	const struct kr_server *server =
		kr_servers_peek(ctx->servers, &tried->addr.ip, ctx->now_ms);
	uint64_t us = server && server->srtt_us > 0 ? server->srtt_us : UNKNOWN_RTT_US;
	if (server)
		us += (uint64_t)server->timeouts * FAILURE_US;
	us += (uint64_t)(tried->udp + tried->stream) * FAILURE_US * 4;
	return us + kr_ctx_rnd32(ctx) % (us / 4 + UNKNOWN_RTT_US);
}

static void forward_choose(struct kr_query *qry, struct kr_transport **transport)
{
	const kr_sockaddr_array_t *targets = &qry->request->selection_context.forwarding_targets;
	struct tries *tries = tries_of(qry);
	struct addr_try *best = NULL;
	uint64_t best_us = 0;
	*transport = NULL;
	tries_mind_question(qry);
	for (size_t i = 0; i < targets->len; ++i) {
		const struct sockaddr *target = &targets->at[i].ip;
		struct addr_try *tried = tries_of_address(tries, target);
		if (!tried || is_family_off(qry, kr_inaddr_family(target)) ||
			!may_try(tried, protocol_of(qry, tried)))
			continue;
		const uint64_t us = tried == tries->again ? 0 : expected_us(qry, tried);
		if (best && us >= best_us)
			continue;
		best = tried;
		best_us = us;
	}
	if (best)
		*transport = selection_take(qry, best, (const knot_dname_t *)"",
			protocol_of(qry, best), FORWARD_TIMEOUT_MS);
}

void forward_selection_init(struct kr_query *qry)
{
	struct kr_server_selection *selection = &qry->server_selection;
	selection->choose_transport = forward_choose;
	selection->update_rtt = selection_update_rtt;
	/* Unlike an authority, a forwarder that refuses or fails does so whatever our habits are.
	 */
	selection->error = selection_error;
	selection->local_state->private = mm_calloc(&qry->request->pool, 1, sizeof(struct tries));
}
