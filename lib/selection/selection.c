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

void kr_server_selection_no_address(struct kr_query *qry, const knot_dname_t *ns_name, uint16_t type)
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

void selection_mind_question(
		const struct kr_query *qry, struct tried_question *last, addr_tries_t *tries)
{
	const knot_dname_t *name = qry->asked_name ? qry->asked_name : qry->sname;
	const uint16_t type = qry->asked_name ? qry->asked_type : qry->stype;
	if (!name || (type == last->type && knot_dname_is_equal(name, last->name)))
		return;
	for (size_t i = 0; i < tries->len; ++i)
		tries->at[i].udp = tries->at[i].stream = 0;
	memcpy(last->name, name, knot_dname_size(name));
	last->type = type;
}

struct addr_try *selection_tries(addr_tries_t *tries, const struct sockaddr *addr, knot_mm_t *pool)
{
	for (size_t i = 0; i < tries->len; ++i) {
		if (kr_sockaddr_cmp(&tries->at[i].addr.ip, addr) == 0)
			return &tries->at[i];
	}
	struct addr_try fresh = {0};
	memcpy(&fresh.addr, addr, kr_sockaddr_len(addr));
	int index = array_push_mm(*tries, fresh, pool);
	return index < 0 ? NULL : &tries->at[index];
}

bool selection_may_try(const struct addr_try *tried, bool is_stream)
{
	if (tried->given_up)
		return false;
	return is_stream ? tried->stream < KR_TRIES_STREAM_MAX : tried->udp < KR_TRIES_UDP_MAX;
}

/** No try may last beyond the end of the request. */
static void limit_timeout(const struct kr_query *qry, struct kr_transport *transport)
{
	const uint64_t end = qry->creation_time_mono + KR_REQUEST_TIME_MS;
	const uint64_t now = qry->request->ctx->now_ms;
	const unsigned left = now < end ? end - now : 1;
	if (transport->timeout > left) {
		transport->timeout = left;
		transport->timeout_capped = true;
	}
}

struct kr_transport *selection_transport(struct kr_query *qry, const knot_dname_t *ns_name,
		const struct sockaddr *addr, enum kr_transport_protocol protocol)
{
	struct kr_request *req = qry->request;
	struct kr_transport *transport = mm_calloc(&req->pool, 1, sizeof(*transport));
	if (!transport)
		return NULL;
	transport->ns_name = knot_dname_copy(ns_name, &req->pool);
	if (!transport->ns_name)
		return NULL;
	transport->protocol = protocol;
	if (!addr)
		return transport;
	transport->address_len = kr_sockaddr_len(addr);
	memcpy(&transport->address, addr, transport->address_len);
	transport->timeout = kr_server_timeout_ms(
			kr_servers_peek(req->ctx->servers, addr, req->ctx->now_ms));
	if (protocol != KR_TRANSPORT_UDP) /* two round trips, and setting up */
		transport->timeout = KR_MIN(transport->timeout * 2 + 1000, KR_TRY_TIME_MAX_MS);
	limit_timeout(qry, transport);
	return transport;
}

void selection_update_rtt(struct kr_query *qry, const struct kr_transport *transport, unsigned rtt)
{
	struct kr_context *ctx = qry->request->ctx;
	if (transport && !transport->deduplicated)
		kr_servers_answered(ctx->servers, &transport->address.ip, rtt, ctx->now_ms);
}

/** Failing servers often dislike one of our habits: drop them one after the other. */
static bool drop_habit(struct kr_query *qry)
{
	if (!qry->flags.NO_MINIMIZE) {
		qry->flags.NO_MINIMIZE = true;
		return qry->asked_name == qry->sname; /* it was the whole name: nothing changed */
	}
	if (!qry->flags.NO_0X20) {
		qry->flags.NO_0X20 = true;
		qry->flags.TCP = true;
		return false;
	}
	return true;
}

bool selection_learn_error(struct kr_query *qry, const struct kr_transport *transport,
		enum kr_selection_error error)
{
	struct kr_context *ctx = qry->request->ctx;
	struct local_state *local = qry->server_selection.local_state;
	VERBOSE(qry, "<= %s: %s\n", kr_straddr(&transport->address.ip), error_names[error]);
	switch (error) {
	case KR_SELECTION_QUERY_TIMEOUT:
		local->timeouts += 1;
		if (!transport->deduplicated && !transport->timeout_capped)
			kr_servers_timeout(ctx->servers, &transport->address.ip, transport->timeout,
					ctx->cache_rtt_tout_retry_interval, ctx->now_ms);
		return false;
	case KR_SELECTION_TCP_CONNECT_FAILED:
	case KR_SELECTION_TCP_CONNECT_TIMEOUT:
		kr_servers_no_stream(ctx->servers, &transport->address.ip, ctx->now_ms);
		if (!local->truncated && !qry->request->options.TCP)
			qry->flags.TCP = false;
		return local->truncated;
	case KR_SELECTION_REFUSED:
	case KR_SELECTION_SERVFAIL:
		return drop_habit(qry);
	case KR_SELECTION_FORMERR:
		if (qry->flags.NO_EDNS)
			return true;
		qry->flags.NO_EDNS = true;
		return false;
	case KR_SELECTION_MISMATCHED:
		qry->flags.TCP = true;
		qry->flags.NO_0X20 = true;
		return false;
	case KR_SELECTION_TRUNCATED:
		local->truncated = true;
		return transport->protocol != KR_TRANSPORT_UDP;
	case KR_SELECTION_LAME_DELEGATION:
		qry->flags.NO_MINIMIZE = true;
		return true;
	default:
		return true;
	}
}

void selection_log(const struct kr_query *qry, const char *what, const struct kr_transport *transport)
{
	if (!kr_log_is_debug_qry(SELECTION, qry))
		return;
	KR_DNAME_GET_STR(name, transport->ns_name);
	VERBOSE(qry, "=> %s '%s'@'%s' timeout: %u ms\n", what, name,
			transport->address_len ? kr_straddr(&transport->address.ip) : "?",
			transport->timeout);
}
