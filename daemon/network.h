/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * The addresses we serve on: open, close, list; and the tunables of client-side transports. Field names
 * inside struct network that Lua reaches through FFI are a contract (doc: net.*).
 */
#pragma once

#include <stdbool.h>
#include <sys/socket.h>

#include "lib/addr.h"
#include "lib/defines.h"
#include "lib/generic/array.h"
#include "lib/generic/trie.h"

struct engine;
struct worker_ctx;
struct uv_loop_s;
struct endpoint;
struct tls_credentials;

/** What an endpoint is for. */
typedef struct {
	int sock_type;	/**< SOCK_DGRAM or SOCK_STREAM */
	bool tls;
	bool http;
	bool xdp;
	bool freebind;
	const char *kind; /**< NULL = DNS (plain, tls, doh2, xdp); else "control", "webmgmt", ... */
} endpoint_flags_t;

struct net_tcp_param {
	uint64_t in_idle_timeout;	/**< ms, net.tcp_in_idle */
	uint64_t tls_handshake_timeout; /**< ms */
	unsigned int user_timeout;	/**< ms, TCP_USER_TIMEOUT of server sockets */
};

struct net_buflens {
	int snd, rcv; /**< bytes, 0 = the system's */
};

struct network {
	struct uv_loop_s *loop;
	struct worker_ctx *worker;

	trie_t *endpoints;	/**< address key -> list of struct endpoint */
	trie_t *endpoint_kinds; /**< kind -> Lua reference of its handler */
	bool missing_kind_is_error; /**< true once configuration is over */

	trie_t *proxy_addrs4, *proxy_addrs6; /**< peers allowed to speak PROXYv2 */
	bool proxy_all4, proxy_all6;

	struct tls_credentials *tls_credentials;
	trie_t *tls_client_params;
	struct net_tcp_param tcp;
	int tcp_backlog;
	struct net_buflens listen_tcp_buflens, listen_udp_buflens;
	size_t tcp_pipeline;	/**< net.tcp_pipeline */
};

struct endpoint {
	void *handle;	 /**< the listening piece; type depends on flags */
	int fd;
	int family;	 /**< AF_INET, AF_INET6, AF_UNIX, or -1 */
	uint16_t port;	 /**< 0 = not applicable */
	int16_t nic_queue; /**< XDP */
	bool engaged;	 /**< served by somebody */
	endpoint_flags_t flags;
};
typedef array_t(struct endpoint) endpoint_array_t;

void network_init(struct network *net, struct uv_loop_s *loop, int tcp_backlog);
void network_deinit(struct network *net);
/** Stop accepting, keep what is open until worker_pending() is 0 (draining). */
void network_stop_accepting(struct network *net);

/**
 * Listen on an address. @param addr IP text (with %scope) or UNIX path @param err_text out: a sentence
 * with address, protocol and reason, static; may be NULL
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
/** Hand endpoints of foreign kinds to those who registered them; @return number of unserved kinds */
int network_engage_endpoints(struct network *net);
