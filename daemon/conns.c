/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/conns.h"

#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include <uv.h>

#include "daemon/answer_age.h"
#include "daemon/clock.h"
#include "daemon/rnd.h"
#include "daemon/session.h"
#include "daemon/siphash.h"
#include "daemon/tally.h"
#include "daemon/transport/proxyv2.h"
#include "daemon/transport/tcp.h"
#include "daemon/transport/tls.h"
#include "daemon/transport/turn.h"
#include "daemon/worker.h"
#include "lib/log.h"

/** Prefixes counted at a time. */
#define PREFIXES_MAX 16384
/** Connections looked at when one has to make room. */
#define EVICT_SCAN 16

/** One client connection; in a ring ordered by activity, the longest idle first. */
struct network_conn {
	struct network_conn *prev, *next;
	struct conns *conns;
	struct session *session;
	struct worker_client client;
	uint64_t prefix; /**< key in conns::prefixes */
	unsigned requests;
};

struct conns {
	struct network *net;
	struct turn *turn;
	struct network_conn ring; /**< sentinel */
	size_t count;
	bool is_finishing;
	struct tally prefixes;
	struct sip_key key;
	struct session_timers timers;
};

/* ---- the ring ---- */

static void ring_unlink(struct network_conn *conn)
{
	conn->prev->next = conn->next;
	conn->next->prev = conn->prev;
}

static void ring_append(struct conns *conns, struct network_conn *conn)
{
	conn->prev = conns->ring.prev;
	conn->next = &conns->ring;
	conn->prev->next = conn->next->prev = conn;
}

static void touch(struct network_conn *conn)
{
	if (conn->conns->ring.prev == conn)
		return;
	ring_unlink(conn);
	ring_append(conn->conns, conn);
}

/** Key of the client's IPv4 address or IPv6 /56. */
static uint64_t prefix_of(const struct conns *conns, const struct sockaddr *peer)
{
	uint8_t bytes[8] = {peer->sa_family & 0xff};
	if (peer->sa_family == AF_INET)
		memcpy(bytes + 1, kr_inaddr(peer), 4);
	else if (peer->sa_family == AF_INET6)
		memcpy(bytes + 1, kr_inaddr(peer), 7);
	return siphash24(&conns->key, bytes, sizeof(bytes));
}

/* ---- one connection ---- */

static void conn_free(struct network_conn *conn)
{
	struct conns *conns = conn->conns;
	worker_client_gone(conns->net->worker, &conn->client);
	ring_unlink(conn);
	tally_give(&conns->prefixes, conn->prefix);
	conns->count -= 1;
	free(conn);
}

static void on_open(struct session *session)
{
	/* There is nothing to be said before the client does. */
}

static void on_message(struct session *session, const struct stage_facts *facts, struct bytes msg)
{
	struct network_conn *conn = session_owner(session);
	struct worker_ctx *worker = conn->conns->net->worker;
	touch(conn);
	if (++conn->requests >= CONN_REQUESTS_MAX || conn->conns->is_finishing)
		session_finish(session); /* this message is still served */
	const struct worker_query query = {.wire = msg,
		.addr = facts->addr,
		.comm_addr = facts->comm_addr,
		.dst_addr = facts->dst_addr,
		.flags = facts->flags,
		.comm_flags = facts->comm_flags,
		.stream_id = facts->stream_id,
		.headers = facts->headers};
	clock_tick(worker->resolver);
	if (worker_submit(worker, &conn->client, &query) == kr_error(EBADMSG))
		session_send(session,
			&(struct stage_facts){.stream_id = facts->stream_id, .is_malformed = true},
			(struct bytes){NULL, 0});
}

static void on_answer(struct worker_client *client, const struct worker_query *query,
	struct bytes wire, const struct kr_request *req)
{
	struct network_conn *conn =
		(struct network_conn *)((char *)client - offsetof(struct network_conn, client));
	const struct kr_cache *cache = &conn->conns->net->worker->resolver->cache;
	struct stage_facts to = {.addr = query->addr,
		.comm_addr = query->comm_addr,
		.dst_addr = query->dst_addr,
		.stream_id = query->stream_id};
	if (query->stream_id >= 0 && wire.at)
		to.max_age_s = answer_max_age(wire, cache->ttl_min, cache->ttl_max);
	touch(conn);
	session_send(conn->session, &to, wire);
}

static size_t on_pending(const struct session *session)
{
	const struct network_conn *conn = session_owner(session);
	return conn->client.in_flight;
}

static void on_closed(struct session *session, int err)
{
	struct network_conn *conn = session_owner(session);
	if (err == kr_error(ETIMEDOUT))
		conn->conns->net->stats.conns_timeout += 1;
	conn_free(conn);
}

static const struct session_ops session_ops = {
	.open = on_open,
	.message = on_message,
	.pending = on_pending,
	.closed = on_closed,
};

/* ---- limits ---- */

/** Connections we may have, B-42. */
static size_t capacity(const struct conns *conns)
{
	struct rlimit limit;
	size_t max = conns->net->conns_max;
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur / 2 < max)
		max = limit.rlim_cur / 2;
	return max;
}

/** Longest idle connection without work, if it has been idle for that long. */
static struct network_conn *find_idle(struct conns *conns, uint64_t idle_ms)
{
	const uint64_t now = uv_now(conns->net->loop);
	struct network_conn *conn = conns->ring.next;
	for (int i = 0; i < EVICT_SCAN && conn != &conns->ring; ++i, conn = conn->next)
		if (conn->client.in_flight == 0 && session_last_ms(conn->session) + idle_ms <= now)
			return conn;
	return NULL;
}

static bool close_idle(struct conns *conns, uint64_t idle_ms)
{
	struct network_conn *conn = find_idle(conns, idle_ms);
	if (!conn)
		return false;
	session_close(conn->session);
	conn_free(conn);
	conns->net->stats.conns_evicted += 1;
	return true;
}

bool conns_evict(struct conns *conns)
{
	return close_idle(conns, CONN_IDLE_EVICT_MS);
}

/** Current settings; the structure is lent to all sessions. */
static void update_timers(struct conns *conns)
{
	const struct net_tcp_param *tcp = &conns->net->tcp;
	const bool is_crowded = conns->count >= capacity(conns) / 4 * 3;
	const uint64_t idle =
		is_crowded ? KR_MIN(tcp->in_idle_timeout, CONN_IDLE_FULL_MS) : tcp->in_idle_timeout;
	conns->timers = (struct session_timers){
		.open_ms = KR_MIN(tcp->tls_handshake_timeout, CONN_HANDSHAKE_MS),
		.first_ms = KR_MIN(tcp->in_idle_timeout, CONN_FIRST_MS),
		.message_ms = KR_MIN(tcp->in_idle_timeout, CONN_MESSAGE_MS),
		.idle_ms = idle,
		.write_ms = CONN_WRITE_MS};
	/* Timers already set are not moved; whoever they would keep too long goes now. */
	while (is_crowded && close_idle(conns, idle))
		;
}

static bool may_add(struct conns *conns, uint64_t prefix)
{
	if (conns->is_finishing)
		return false;
	update_timers(conns);
	if (conns->count >= capacity(conns) && !conns_evict(conns))
		return false;
	return tally_take(&conns->prefixes, prefix, conns->net->conns_prefix_max) == 0;
}

void conns_add(struct conns *conns, int fd, enum stack_kind kind, const struct sockaddr *peer,
	const struct sockaddr *local)
{
	const uint64_t prefix = prefix_of(conns, peer);
	if (!may_add(conns, prefix)) {
		conns->net->stats.conns_refused += 1;
		close(fd);
		return;
	}
	struct network_conn *conn = calloc(1, sizeof(*conn));
	if (!conn) {
		tally_give(&conns->prefixes, prefix);
		close(fd);
		return;
	}
	*conn = (struct network_conn){
		.conns = conns, .prefix = prefix, .client = {.answer = on_answer}};
	ring_append(conns, conn);
	conns->count += 1;
	const struct tcp_param tcp = {.fd = fd};
	const struct tls_param tls = {
		.server = conns->net->tls_server, .alpn = kind == STACK_DOH_SERVER ? "h2" : "dot"};
	const struct stack_params stages = {
		.tcp = &tcp, .tls = &tls, .http = conns->net->http, .proxy = conns->net->proxy};
	const struct session_param param = {.kind = kind,
		.stages = &stages,
		.ops = &session_ops,
		.owner = conn,
		.turn = conns->turn,
		.timers = &conns->timers,
		.peer = peer,
		.local = local,
		.pending_max = &conns->net->tcp_pipeline};
	int ret = session_new(&param, &conn->session);
	if (ret == 0) {
		conn->client.session = conn->session;
		return;
	}
	kr_log_debug(IO, "cannot serve a connection: %s\n", strerror(-ret));
	conn_free(conn);
}

/* ---- all of them ---- */

struct conns *conns_new(struct network *net, struct turn *turn)
{
	struct conns *conns = calloc(1, sizeof(*conns));
	if (!conns || tally_init(&conns->prefixes, PREFIXES_MAX) != 0) {
		free(conns);
		return NULL;
	}
	conns->net = net;
	conns->turn = turn;
	conns->ring.next = conns->ring.prev = &conns->ring;
	kr_rnd_buffered(&conns->key, sizeof(conns->key));
	return conns;
}

void conns_free(struct conns *conns)
{
	if (!conns)
		return;
	while (conns->ring.next != &conns->ring) {
		struct network_conn *conn = conns->ring.next;
		session_close(conn->session);
		conn_free(conn);
	}
	tally_deinit(&conns->prefixes);
	free(conns);
}

void conns_finish(struct conns *conns)
{
	conns->is_finishing = true;
	/* Who has just been accepted may have sent a question already. */
	for (struct network_conn *conn = conns->ring.next; conn != &conns->ring; conn = conn->next)
		if (conn->requests > 0)
			session_finish(conn->session);
}

size_t conns_count(const struct conns *conns)
{
	return conns ? conns->count : 0;
}
