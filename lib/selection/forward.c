/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Among the targets that the operator gave: all of a group may be asked, the fastest first. The
 * next group is for when those before it have failed, or are known not to answer. */

#include "lib/selection/impl.h"

/** Time for a forwarder to do its work. */
#define FORWARD_TIMEOUT_MS 2000
/** The same, when there is another group to fall back on, or little hope. */
#define SHORT_TIMEOUT_MS 800
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

/** Targets of the request from `from` to `to` are of one group. */
struct group {
	size_t from, to;
	bool is_last;
};

/** @return false: there is no such group */
static bool group_get(const struct kr_request *req, unsigned n, struct group *group)
{
	const size_t len = req->selection_context.forwarding_targets.len;
	const uint8_t *ends = req->selection_context.group_ends;
	if (n >= KR_FORWARD_GROUPS_MAX || (n > 0 && ends[n] == 0))
		return false;
	group->from = n > 0 ? ends[n - 1] : 0;
	group->to = ends[n] > 0 ? KR_MIN(ends[n], len) : len;
	group->is_last = n + 1 == KR_FORWARD_GROUPS_MAX || ends[n + 1] == 0;
	return group->from < group->to;
}

/** Best target of a group that may still be tried, or NULL. */
static struct addr_try *group_best(struct kr_query *qry, const struct group *group)
{
	const kr_sockaddr_array_t *targets = &qry->request->selection_context.forwarding_targets;
	struct tries *tries = tries_of(qry);
	struct addr_try *best = NULL;
	uint64_t best_us = 0;
	for (size_t i = group->from; i < group->to; ++i) {
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
	return best;
}

/** The address has not answered for a while. */
static bool is_dead(const struct kr_query *qry, const struct sockaddr *addr)
{
	const struct kr_context *ctx = qry->request->ctx;
	const struct kr_server *server = kr_servers_peek(ctx->servers, addr, ctx->now_ms);
	return server && ctx->now_ms < server->dead_until;
}

static bool is_silent(const struct kr_query *qry, const struct group *group)
{
	const kr_sockaddr_array_t *targets = &qry->request->selection_context.forwarding_targets;
	for (size_t i = group->from; i < group->to; ++i) {
		if (!is_dead(qry, &targets->at[i].ip))
			return false;
	}
	return true;
}

/** The group has failed in this query: is that of a kind for which the next one is there? */
static bool may_fall_back(struct kr_query *qry, const struct group *group)
{
	const struct kr_request *req = qry->request;
	bool has_answered = false;
	for (size_t i = group->from; i < group->to; ++i) {
		const struct addr_try *tried = tries_of_address(
			tries_of(qry), &req->selection_context.forwarding_targets.at[i].ip);
		has_answered |= tried && tried->has_failed;
	}
	return has_answered ? !req->selection_context.no_fallback_on_servfail
			    : !req->selection_context.no_fallback_on_timeout;
}

/** First target among the groups. @param skip_silent  leave out groups that did not answer lately
 */
static struct addr_try *groups_best(struct kr_query *qry, bool skip_silent, bool *is_last)
{
	struct group group;
	for (unsigned n = 0; group_get(qry->request, n, &group); ++n) {
		*is_last = group.is_last;
		if (skip_silent && is_silent(qry, &group))
			continue;
		struct addr_try *best = group_best(qry, &group);
		if (best || !may_fall_back(qry, &group))
			return best;
	}
	return NULL;
}

static void forward_choose(struct kr_query *qry, struct kr_transport **transport)
{
	const struct kr_request *req = qry->request;
	const bool has_groups = req->selection_context.group_ends[1] > 0;
	struct addr_try *best = NULL;
	bool is_last = true;
	*transport = NULL;
	tries_mind_question(qry);
	if (has_groups && !req->selection_context.no_fallback_on_timeout)
		best = groups_best(qry, true, &is_last);
	if (!best)
		best = groups_best(qry, false, &is_last);
	if (!best)
		return;
	/* With nobody alive a failure should be told while the client still listens. */
	const struct kr_server *server =
		kr_servers_peek(req->ctx->servers, &best->addr.ip, req->ctx->now_ms);
	const bool is_short = !is_last || (server && server->timeouts >= KR_TRIES_UDP_MAX);
	*transport = selection_take(qry, best, (const knot_dname_t *)"", protocol_of(qry, best),
		is_short ? SHORT_TIMEOUT_MS : FORWARD_TIMEOUT_MS);
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
