/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * The addresses we serve on: open, close, list; and the tunables of client-side transports. Field
 * names inside struct network that Lua reaches through FFI are a contract (doc: net.*).
 */
#pragma once

#include <stdbool.h>
#include <sys/socket.h>

#include "lib/addr.h"
#include "lib/defines.h"
#include "lib/generic/array.h"
#include "lib/generic/trie.h"

struct worker_ctx;
struct uv_loop_s;
struct endpoint;
struct network;
struct network_listener;
struct network_conn;
struct proxy_peers;
struct tls_clients;
struct tls_client_param;
struct tls_server;
struct http2_param;
struct turn;

/** Default of network::conns_max, B-42. */
#define NETWORK_CONNS_MAX 2048
/** Default of network::conns_prefix_max, B-42. */
#define NETWORK_CONNS_PREFIX_MAX 64

/** What an endpoint is for. */
typedef struct {
	int sock_type; /**< SOCK_DGRAM or SOCK_STREAM */
	bool tls;
	bool http;
	bool xdp;
	bool freebind;
	const char *kind; /**< NULL = DNS (plain, tls, doh2, xdp); else "control", "webmgmt", ... */
} endpoint_flags_t;

struct net_tcp_param {
	uint64_t in_idle_timeout;       /**< ms, net.tcp_in_idle */
	uint64_t tls_handshake_timeout; /**< ms */
	unsigned int user_timeout;      /**< ms, TCP_USER_TIMEOUT of server sockets */
};

struct net_buflens {
	int snd, rcv; /**< bytes, 0 = the system's */
};

/**
 * Serves endpoints of foreign kinds (endpoint_flags_t::kind set). The socket is bound, listening
 * and non-blocking; accepting is the handler's business.
 * @param is_open  true: an endpoint is there to be served; false: it is about to be closed
 * @param key      `ADDR#PORT` or a path
 * @return 0 served; an error: nobody knows that kind (only looked at when opening)
 */
typedef int (*network_kind_f)(
	struct network *net, struct endpoint *ep, bool is_open, const char *key, void *baton);

/** Counters of what the worker never sees. */
struct network_stats {
	size_t udp_send_drops; /**< answers dropped as the socket did not take them (F-20) */
	size_t conns_refused;  /**< connections over the limits of B-42 */
	size_t conns_evicted;  /**< idle connections closed to make room */
	size_t conns_timeout;  /**< connections closed by the timers of B-43 */
};

struct network {
	struct uv_loop_s *loop;
	struct worker_ctx *worker;

	trie_t *endpoint_kinds;     /**< kind -> Lua reference of its handler; the engine's own */
	bool missing_kind_is_error; /**< true once configuration is over */
	bool is_staging;            /**< between network_stage() and network_stage_end() */
	bool is_rehearsal;          /**< addresses are checked, nothing is opened (kresd --check) */

	struct net_tcp_param tcp;
	int tcp_backlog;
	struct net_buflens listen_tcp_buflens, listen_udp_buflens;
	size_t tcp_pipeline;     /**< net.tcp_pipeline */
	size_t conns_max;        /**< client connections of the process */
	size_t conns_prefix_max; /**< ... of an IPv4 address or an IPv6 /56 */
	struct network_stats stats;

	/* The room's own. */
	struct tls_server *tls_server;   /**< daemon/tls/credentials.h */
	struct tls_clients *tls_clients; /**< daemon/tls/client.h */
	struct http2_param *http;        /**< daemon/transport/http2.h */
	network_kind_f kind_handler;
	void *kind_baton;
	struct proxy_peers *proxy;
	struct network_listener *listeners;
	struct network_private *priv;
};

struct endpoint {
	void *handle; /**< whoever serves a foreign kind may keep something here */
	int fd;
	int family;        /**< AF_INET, AF_INET6, AF_UNIX, or -1 */
	uint16_t port;     /**< 0 = not applicable */
	int16_t nic_queue; /**< XDP */
	bool engaged;      /**< served by somebody */
	endpoint_flags_t flags;
};
typedef array_t(struct endpoint) endpoint_array_t;

/** Fill in the settings that hold before any configuration. */
void network_defaults(struct net_tcp_param *tcp, size_t *tcp_pipeline, size_t *conns_max,
	size_t *conns_prefix_max);
void network_init(struct network *net, struct uv_loop_s *loop, int tcp_backlog);
void network_deinit(struct network *net);
/** Stop accepting, keep what is open until worker_pending() is 0 (draining). */
void network_stop_accepting(struct network *net);

/**
 * Listen on an address. @param addr IP text (with %scope) or UNIX path @param err_text out: a
 * sentence with address, protocol and reason, static; may be NULL
 * @return 0 or an error; nothing stays open on error
 */
int network_listen(struct network *net, const char *addr, uint16_t port, int16_t nic_queue,
	endpoint_flags_t flags, const char **err_text);
/** Serve an inherited socket. */
int network_listen_fd(struct network *net, int fd, endpoint_flags_t flags, const char **err_text);
/** @param port -1 = all ports of the address @return number closed, or kr_error(ENOENT) */
int network_close(struct network *net, const char *addr, int port);
/** Call fn for every endpoint. @param key text of the address or path */
int network_foreach(struct network *net,
	int (*fn)(const char *key, struct endpoint *ep, void *baton), void *baton);
/** Hand endpoints of foreign kinds to the handler; every unserved one is logged. @return their
 * number */
int network_engage_endpoints(struct network *net);
/** Set who serves endpoints of foreign kinds, "control" among them. */
void network_set_kind_handler(struct network *net, network_kind_f fn, void *baton);
/** Release endpoints of one kind whose handler goes away; they wait for network_engage_endpoints().
 */
void network_disengage_kind(struct network *net, const char *kind);
/** Same for all kinds but one. */
void network_disengage_others(struct network *net, const char *kind);

/** @name Change of configuration
 * Between the two calls network_listen() takes over a socket that is open already, and the others
 * are as good as closed; all of them go on being served. Inherited sockets stay as they are. @{ */
void network_stage(struct network *net);
/** @param is_good  true: close what is not wanted any more; false: close what was opened since */
void network_stage_end(struct network *net, bool is_good);
/** @} */

/** Connections open at present. */
size_t network_conns(const struct network *net);
/**
 * Attach a socket filter to all listening sockets, or take it off.
 * @param prog_fd  file descriptor of a loaded eBPF program; -1: detach
 */
int network_bpf(struct network *net, int prog_fd);

/** @name TLS and HTTP of our servers @{ */
/**
 * Use a certificate (chain) and key from PEM files for new connections (net.tls).
 * @param[out] why  reason of a failure; the present ones stay in use then
 */
int network_tls_load(
	struct network *net, const char *cert_file, const char *key_file, const char **why);
/** @return false if none is configured */
bool network_tls_files(const struct network *net, const char **cert_file, const char **key_file);
/** Secret of session tickets, 32 to 1024 octets; NULL: random. @return 0 or kr_error(EINVAL) */
int network_tls_ticket_secret(struct network *net, const void *secret, size_t len);
/** Set where the name in a certificate made on the spot comes from. */
void network_tls_hostname(struct network *net, const char *(*hostname)(void *baton), void *baton);
/** Headers of DoH requests that are kept for qsource.headers (net.doh_headers). @{ */
void network_doh_headers_reset(struct network *net);
int network_doh_headers_add(struct network *net, const char *name);
/** @return NULL behind the last one */
const char *network_doh_header(const struct network *net, size_t i);
/** @} */
/** @} */

/** @name Peers allowed to speak PROXYv2 (net.proxy_allowed) @{ */
/** Forget all. */
void network_proxy_reset(struct network *net);
/** Allow `ADDR[/LEN]`. @return 0; errors of kr_straddr_subnet(); kr_error(ENOMEM) */
int network_proxy_allow(struct network *net, const char *subnet);
/** Call fn with `ADDR/LEN` of each, host bits cleared; only `/0` of a family that has it. */
void network_proxy_foreach(
	struct network *net, void (*fn)(const char *subnet, void *baton), void *baton);
/** @} */
