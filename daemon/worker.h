/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Admits client queries, drives each through lib/resolve, counts, refuses when full. Knows neither
 * sockets nor the loop: clients are reached through struct worker_client, servers through netio.h.
 */
#pragma once

#include "daemon/netio.h"
#include "daemon/transport/bytes.h"
#include "lib/resolve.h"
#include "lib/generic/array.h"

struct engine;
struct worker_ctx;
struct qr_task;
struct session;
struct upstream;
struct uv_loop_s;

/** One client message with what the transport learned about it. Everything is lent. */
struct worker_query {
	struct bytes wire;
	const struct sockaddr *addr;      /**< the client */
	const struct sockaddr *comm_addr; /**< the peer; NULL = same as addr */
	const struct sockaddr *dst_addr;  /**< our address */
	struct kr_request_qsource_flags flags;
	struct kr_request_qsource_flags comm_flags;
	int32_t stream_id;                     /**< HTTP/2 stream, QUIC stream, or -1 */
	const kr_http_header_array_t *headers; /**< NULL = none */
};

/**
 * Where answers go: embedded in a session or UDP listener by the room that owns it. Before it goes
 * away the owner calls worker_client_gone().
 */
struct worker_client {
	/**
	 * Send an answer.
	 * @param q     addresses and stream_id of the query it belongs to (wire is not set)
	 * @param wire  lent; wire.at NULL = the query was dropped without answer
	 * @param req   the request, for facts like TTL or rcode; NULL for answers from L0 or early
	 * refusals
	 */
	void (*answer)(struct worker_client *client, const struct worker_query *q,
		struct bytes wire, const struct kr_request *req);
	/** Requests in flight for this client; kept by the worker, read by the owner for limits. */
	uint32_t in_flight;
	struct qr_task *tasks;   /**< the worker's list */
	struct session *session; /**< connection of a stream client; NULL for datagrams */
};

/** Counters, names as in worker.stats(). */
struct worker_stats {
	size_t queries;                             /**< requests, clients' and internal */
	size_t concurrent;                          /**< in flight now */
	size_t rconcurrent;                         /**< same without internal ones */
	size_t dropped;                             /**< malformed or silent */
	size_t timeout;                             /**< upstream timeouts */
	size_t udp, tcp, tls;                       /**< upstream queries by transport */
	size_t ipv4, ipv6;                          /**< upstream queries by family */
	size_t err_udp, err_tcp, err_tls, err_http; /**< send errors */
	size_t near_miss;    /**< upstream answers with wrong id or question (S-10) */
	size_t joined;       /**< questions that joined an identical one in flight */
	size_t refused_full; /**< client queries refused because too much was in flight */
	size_t quick;        /**< queries answered from the cache without a request; the same */
	size_t l0_hits;      /**< queries answered from the answer cache; part of `queries` */
};

/** The worker. Created by the engine; the_worker points at it. */
struct worker_ctx {
	struct engine *engine;
	struct uv_loop_s *loop; /**< NULL in the simulator */
	int count;              /**< legacy: number of forks */
	struct worker_stats stats;

	struct kr_context *resolver;
	struct netio *io;
	const struct sockaddr *out_addr4; /**< net.outgoing_v4 or NULL */
	const struct sockaddr *out_addr6;
	size_t tcp_pipeline_max; /**< per upstream connection; net.tcp_pipeline */
	/** Parameters of a TLS server (struct tls_client_param) or NULL; set by the engine, may be
	 * NULL. */
	const void *(*tls_params)(struct worker_ctx *worker, const struct sockaddr *addr);
	bool quick_enabled;  /**< answer from the cache without a request where that may be */
	bool l0_enabled;     /**< answer cache; in force unless a module has to see every query */
	size_t l0_max_bytes; /**< its size, worker_set_l0() */

	/** Told right before the memory of a request is given back; NULL = nobody listens. */
	void (*on_request_free)(struct kr_request *req);

	struct worker_private *priv; /**< task lists, free lists, upstream tables */
};

KR_EXPORT extern struct worker_ctx *the_worker;

/** Limits of the worker. @{ */
#define WORKER_REQUESTS_MAX 4096      /**< B-37 requests in flight per process */
#define WORKER_JOINED_MAX 64          /**< B-37 waiters per question */
#define WORKER_CLIENT_UDP_MAX 256     /**< B-35 pending per client prefix, UDP */
#define WORKER_CLIENT_STREAM_MAX 1024 /**< B-35 ... with cookie or stream */
#define WORKER_ANSWER_AGE_MAX_MS 4000 /**< B-36 an older UDP answer is not sent */
#define WORKER_CUT_INFLIGHT_MAX 200   /**< B-38 upstream questions per cut or address */
#define WORKER_CONNECT_TIMEOUT_MS 2000
#define WORKER_STREAM_IDLE_MS 10000 /**< idle upstream connections are kept that long */
/** @} */

/** @return 0 or an error */
int worker_init(struct worker_ctx *worker, struct kr_context *resolver, struct netio *io);
/** Ends all requests (their finish hooks run), closes upstream sockets. */
void worker_deinit(struct worker_ctx *worker);

/**
 * Take one client message in. Malformed ones are answered (FORMERR, NOTIMP, BADVERS ...) or dropped
 * as spec/security-reliability.md section 5.1 says. May call client->answer before it returns.
 * @return 0 taken; kr_error(EBADMSG) dropped as malformed; kr_error(EAGAIN) refused, too busy
 */
int worker_submit(
	struct worker_ctx *worker, struct worker_client *client, const struct worker_query *query);
/** The owner goes away: requests end silently or go on to fill the cache, nothing is sent to it. */
void worker_client_gone(struct worker_ctx *worker, struct worker_client *client);
/** Requests in flight whose client is still there. Draining waits for 0. */
size_t worker_pending(const struct worker_ctx *worker);
/** Size of the answer cache, which is emptied; 0 = off. @return 0 or kr_error(ENOMEM): as it was */
int worker_set_l0(struct worker_ctx *worker, size_t max_bytes);
/** Call fn for every request in flight; it must not end any. */
void worker_foreach(struct worker_ctx *worker, void (*fn)(struct kr_request *req));
/** To be called at the end of each loop turn: cache commit. */
void worker_loop_end(struct worker_ctx *worker);
/** Questions under way to servers. */
struct upstream *worker_upstream(const struct worker_ctx *worker);

/** @name Internal queries (resolve(), modules) @{ */
/** Question packet with RD, AD and OPT; DO and CD by the flags. malloc()ed, knot_pkt_free() it. */
KR_EXPORT
knot_pkt_t *worker_resolve_mk_pkt(
	const char *qname_str, uint16_t qtype, uint16_t qclass, const struct kr_qflags *options);
KR_EXPORT
knot_pkt_t *worker_resolve_mk_pkt_dname(
	knot_dname_t *qname, uint16_t qtype, uint16_t qclass, const struct kr_qflags *options);
/** Make a task; set callbacks in worker_task_request(task) before worker_resolve_exec(). NULL on
 * failure. */
KR_EXPORT
struct qr_task *worker_resolve_start(knot_pkt_t *query, struct kr_qflags options);
/** Run it; the packet stays the caller's. @return 0 running or done; error: finished with failure
 */
KR_EXPORT
int worker_resolve_exec(struct qr_task *task, knot_pkt_t *query);
KR_EXPORT
struct kr_request *worker_task_request(struct qr_task *task);
/** @} */

/** Connection a request came over (daemon/session.h); NULL: internal, a datagram, or gone. */
KR_EXPORT
struct session *worker_request_get_source_session(const struct kr_request *req);
