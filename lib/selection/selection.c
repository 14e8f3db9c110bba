/* SPDX-License-Identifier: GPL-3.0-or-later */

#include "lib/selection/selection.h"

#include <string.h>

#include "lib/log.h"
#include "lib/selection/impl.h"
#include "lib/utils.h"

#define VERBOSE(qry, ...) kr_log_q((qry), SELECTION, __VA_ARGS__)

static const char *const error_names[KR_SELECTION_NUMBER_OF_ERRORS] = {
	[KR_SELECTION_OK] = "ok",
	[KR_SELECTION_QUERY_TIMEOUT] = "timeout",
	[KR_SELECTION_TLS_HANDSHAKE_FAILED] = "TLS handshake failed",
	[KR_SELECTION_TCP_CONNECT_FAILED] = "TCP connect failed",
	[KR_SELECTION_TCP_CONNECT_TIMEOUT] = "TCP connect timeout",
	[KR_SELECTION_REFUSED] = "REFUSED",
	[KR_SELECTION_SERVFAIL] = "SERVFAIL",
	[KR_SELECTION_FORMERR] = "FORMERR",
	[KR_SELECTION_FORMERR_EDNS] = "FORMERR with OPT",
	[KR_SELECTION_NOTIMPL] = "NOTIMPL",
	[KR_SELECTION_OTHER_RCODE] = "unexpected RCODE",
	[KR_SELECTION_MALFORMED] = "malformed answer",
	[KR_SELECTION_MISMATCHED] = "mismatched answer",
	[KR_SELECTION_TRUNCATED] = "truncated answer",
	[KR_SELECTION_DNSSEC_ERROR] = "validation failed",
	[KR_SELECTION_LAME_DELEGATION] = "lame delegation",
	[KR_SELECTION_BAD_CNAME] = "bad alias",
};

void kr_server_selection_init(struct kr_query *qry)
{
	struct kr_server_selection *selection = &qry->server_selection;
	selection->local_state = mm_calloc(&qry->request->pool, 1, sizeof(*selection->local_state));
	if (!selection->local_state)
		return; /* stays uninitialised: the next round tries again */
	if (qry->flags.FORWARD || qry->flags.STUB)
		forward_selection_init(qry);
	else
		iter_selection_init(qry);
	selection->initialized = selection->local_state->private != NULL;
}

void kr_server_selection_no_address(
	struct kr_query *qry, const knot_dname_t *ns_name, uint16_t type)
{
	if (!qry->flags.FORWARD && !qry->flags.STUB && qry->server_selection.initialized)
		iter_no_address(qry, ns_name, type);
}

int selection_add_address(struct kr_query *qry, const knot_dname_t *ns_name, const knot_rdata_t *rd)
{
	union kr_sockaddr addr = {0};
	if (rd->len == 4) {
		addr.ip4.sin_family = AF_INET;
		memcpy(&addr.ip4.sin_addr, rd->data, rd->len);
	} else if (rd->len == 16) {
		addr.ip6.sin6_family = AF_INET6;
		memcpy(&addr.ip6.sin6_addr, rd->data, rd->len);
	} else {
		return kr_error(EINVAL);
	}
	if (!qry->flags.ALLOW_LOCAL && kr_addr_is_unusable(&addr.ip))
		return kr_error(EADDRNOTAVAIL);
	return kr_zonecut_add(&qry->zone_cut, ns_name, rd->data, rd->len);
}

/* ---- tries ---- */

void tries_mind_question(const struct kr_query *qry)
{
	struct tries *tries = tries_of(qry);
	const knot_dname_t *name = qry->asked_name ? qry->asked_name : qry->sname;
	const uint16_t type = qry->asked_name ? qry->asked_type : qry->stype;
	if (!name || (type == tries->type && knot_dname_is_equal(name, tries->name)))
		return;
	memcpy(tries->name, name, knot_dname_size(name));
	tries->type = type;
	tries->again = NULL;
	qry->server_selection.local_state->truncated = false;
	for (size_t i = 0; i < tries->len; ++i) {
		struct addr_try *it = &tries->at[i];
		it->udp = it->stream = 0;
		it->has_failed = false;
	}
}

struct addr_try *tries_of_address(struct tries *tries, const struct sockaddr *addr)
{
	for (size_t i = 0; i < tries->len; ++i) {
		if (kr_sockaddr_cmp(&tries->at[i].addr.ip, addr) == 0)
			return &tries->at[i];
	}
	const int len = kr_sockaddr_len(addr);
	if (tries->len == KR_COUNT_OF(tries->at) || len < 0)
		return NULL;
	struct addr_try *fresh = &tries->at[tries->len++];
	memcpy(&fresh->addr, addr, len);
	return fresh;
}

/* ---- choices ---- */

bool selection_needs_stream(const struct kr_query *qry)
{
	return qry->request->options.TCP || qry->server_selection.local_state->truncated;
}

bool selection_wants_stream(const struct kr_query *qry)
{
	return selection_needs_stream(qry) ||
	       (qry->flags.TCP && !qry->server_selection.local_state->force_udp);
}

static void log_choice(const struct kr_query *qry, const struct kr_transport *transport)
{
	static const char *const names[] = {
		"looking up A of", "looking up AAAA of", "UDP", "TCP", "TLS"};
	if (!kr_log_is_debug_qry(SELECTION, qry))
		return;
	KR_DNAME_GET_STR(name, transport->ns_name);
	VERBOSE(qry, "=> %s '%s'@'%s' timeout: %u ms\n", names[transport->protocol], name,
		transport->address_len ? kr_straddr(&transport->address.ip) : "",
		transport->timeout);
}

struct kr_transport *selection_lookup(
	struct kr_query *qry, const knot_dname_t *ns_name, enum kr_transport_protocol protocol)
{
	knot_mm_t *pool = &qry->request->pool;
	struct kr_transport *transport = mm_calloc(pool, 1, sizeof(*transport));
	if (!transport)
		return NULL;
	transport->protocol = protocol;
	transport->ns_name = knot_dname_copy(ns_name, pool);
	if (!transport->ns_name)
		return NULL;
	log_choice(qry, transport);
	return transport;
}

/** Without EDNS only that server is asked which does not understand it. */
static void mind_edns(struct kr_query *qry, const struct addr_try *tried)
{
	struct tries *tries = tries_of(qry);
	if (!tries->no_edns || tries->no_edns == tried)
		return;
	tries->no_edns = NULL;
	qry->flags.NO_EDNS = qry->request->options.NO_EDNS;
}

struct kr_transport *selection_take(struct kr_query *qry, struct addr_try *tried,
	const knot_dname_t *ns_name, enum kr_transport_protocol protocol, unsigned timeout_ms)
{
	struct kr_request *req = qry->request;
	struct kr_transport *transport = mm_calloc(&req->pool, 1, sizeof(*transport));
	if (!transport)
		return NULL;
	transport->ns_name = knot_dname_copy(ns_name, &req->pool);
	if (!transport->ns_name)
		return NULL;
	transport->protocol = protocol;
	transport->address = tried->addr;
	transport->address_len = kr_sockaddr_len(&tried->addr.ip);
	transport->timeout = timeout_ms;
	const uint64_t end = qry->creation_time_mono + KR_REQUEST_TIME_MS;
	const uint64_t left = req->ctx->now_ms < end ? end - req->ctx->now_ms : 1;
	if (left < timeout_ms) {
		const struct kr_server *server =
			kr_servers_peek(req->ctx->servers, &tried->addr.ip, req->ctx->now_ms);
		transport->timeout = left;
		transport->timeout_capped = left < kr_server_timeout_ms(server);
	}
	if (protocol == KR_TRANSPORT_UDP)
		tried->udp += 1;
	else
		tried->stream += 1;
	mind_edns(qry, tried);
	tries_of(qry)->again = NULL;
	log_choice(qry, transport);
	return transport;
}

/* ---- feedback ---- */

void selection_update_rtt(struct kr_query *qry, const struct kr_transport *transport, unsigned rtt)
{
	struct kr_context *ctx = qry->request->ctx;
	if (!transport || transport->deduplicated || !qry->server_selection.initialized)
		return;
	const struct sockaddr *addr = &transport->address.ip;
	const bool is_stream = transport->protocol != KR_TRANSPORT_UDP;
	kr_servers_answered(ctx->servers, addr, rtt, is_stream, ctx->now_ms);
	struct tries *tries = tries_of(qry);
	if (tries->near_miss && is_stream &&
		kr_sockaddr_cmp(&tries->near_miss->addr.ip, addr) == 0) {
		kr_servers_case_missed(ctx->servers, addr, ctx->now_ms);
		tries->near_miss = NULL;
	}
}

static void learn_timeout(struct kr_query *qry, const struct kr_transport *transport)
{
	struct kr_context *ctx = qry->request->ctx;
	qry->server_selection.local_state->timeouts += 1;
	if (transport->deduplicated)
		return;
	const uint64_t waited = ctx->now_ms - KR_MIN(qry->timestamp_mono, ctx->now_ms);
	if (waited < transport->timeout / 4) /* nobody waited: the network refused */
		kr_servers_unreachable(ctx->servers, &transport->address.ip, ctx->now_ms);
	else if (!transport->timeout_capped)
		kr_servers_timeout(ctx->servers, &transport->address.ip, transport->timeout,
			ctx->cache_rtt_tout_retry_interval, ctx->now_ms);
}

/** A stream does not work: back to UDP unless it is of no use either. */
static void learn_no_stream(
	struct kr_query *qry, const struct kr_transport *transport, struct addr_try *tried)
{
	struct kr_context *ctx = qry->request->ctx;
	if (!transport->deduplicated)
		kr_servers_no_stream(ctx->servers, &transport->address.ip, ctx->now_ms);
	if (selection_needs_stream(qry) || transport->protocol == KR_TRANSPORT_TLS ||
		tried->has_failed || tried->udp >= KR_TRIES_UDP_MAX)
		tried->given_up = true;
	else
		tries_of(qry)->again = tried;
	if (qry->request->options.TCP)
		return;
	qry->flags.TCP = false;
	if (tries_of(qry)->habit != HABIT_PLAIN_STREAM) /* what a stream would have made good */
		qry->flags.NO_0X20 = qry->request->options.NO_0X20;
}

/** Failing servers often dislike minimised questions; the next habits are given up by choosing. */
static void learn_failure(struct kr_query *qry, struct addr_try *tried)
{
	struct tries *tries = tries_of(qry);
	tried->has_failed = true;
	if (tries->habit == HABIT_ALL) {
		tries->habit = HABIT_WHOLE_NAME;
		qry->flags.NO_MINIMIZE = true;
	}
}

static void learn_formerr(struct kr_query *qry, struct addr_try *tried)
{
	/* What has to be validated is not asked without EDNS, whatever a server says. */
	const bool is_signed = qry->flags.DNSSEC_WANT && qry->zone_cut.trust_anchor &&
			       qry->zone_cut.trust_anchor->rrs.count > 0;
	if (qry->flags.NO_EDNS || is_signed) {
		learn_failure(qry, tried);
		return;
	}
	qry->flags.NO_EDNS = true;
	tries_of(qry)->no_edns = tries_of(qry)->again = tried;
}

/** Somebody got id or letter case wrong: a stream tells who it was (S-10). */
static void learn_near_miss(
	struct kr_query *qry, const struct kr_transport *transport, struct addr_try *tried)
{
	if (transport->protocol != KR_TRANSPORT_UDP) {
		tried->given_up = true;
		return;
	}
	struct tries *tries = tries_of(qry);
	tries->near_miss = tries->again = tried;
	qry->flags.TCP = true;
	qry->flags.NO_0X20 = true;
}

static void learn_truncated(
	struct kr_query *qry, const struct kr_transport *transport, struct addr_try *tried)
{
	if (transport->protocol != KR_TRANSPORT_UDP) {
		tried->given_up = true;
		return;
	}
	qry->server_selection.local_state->truncated = true;
	tries_of(qry)->again = tried;
}

/** A minimised question may only have hit a confused server; the whole name settles it. */
static void learn_lame(
	struct kr_query *qry, const struct kr_transport *transport, struct addr_try *tried)
{
	struct kr_context *ctx = qry->request->ctx;
	const bool was_minimized = qry->asked_name && qry->asked_name != qry->sname;
	qry->flags.NO_MINIMIZE = true;
	if (was_minimized)
		return;
	tried->given_up = true;
	if (qry->flags.FORWARD || qry->flags.STUB)
		return;
	kr_servers_lame(ctx->servers, &transport->address.ip, qry->zone_cut.name, ctx->now_ms);
	iter_name_is_lame(qry, transport->ns_name);
}

void selection_error(
	struct kr_query *qry, const struct kr_transport *transport, enum kr_selection_error error)
{
	if (!transport || !qry->server_selection.initialized ||
		error >= KR_SELECTION_NUMBER_OF_ERRORS)
		return;
	struct addr_try *tried = tries_of_address(tries_of(qry), &transport->address.ip);
	if (!tried)
		return;
	if (kr_log_is_debug_qry(SELECTION, qry))
		VERBOSE(qry, "<= '%s': %s\n", kr_straddr(&transport->address.ip),
			error_names[error]);
	switch (error) {
	case KR_SELECTION_OK:
		break;
	case KR_SELECTION_QUERY_TIMEOUT:
		learn_timeout(qry, transport);
		break;
	case KR_SELECTION_TCP_CONNECT_FAILED:
	case KR_SELECTION_TCP_CONNECT_TIMEOUT:
		learn_no_stream(qry, transport, tried);
		break;
	case KR_SELECTION_REFUSED:
	case KR_SELECTION_SERVFAIL:
	case KR_SELECTION_NOTIMPL:
	case KR_SELECTION_FORMERR_EDNS:
	case KR_SELECTION_MALFORMED:
		learn_failure(qry, tried);
		break;
	case KR_SELECTION_FORMERR:
		learn_formerr(qry, tried);
		break;
	case KR_SELECTION_MISMATCHED:
		learn_near_miss(qry, transport, tried);
		break;
	case KR_SELECTION_TRUNCATED:
		learn_truncated(qry, transport, tried);
		break;
	case KR_SELECTION_LAME_DELEGATION:
		learn_lame(qry, transport, tried);
		break;
	default:
		tried->given_up = true;
	}
}
