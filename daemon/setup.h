/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Everything that a configuration decides, as one thing that can be exchanged: the Lua state with
 * its events and modules, the configured part of the resolver's context, settings of network and
 * worker, log, name of the host. A new configuration is tried on a fresh setup while the one in
 * force waits aside, and either of them is thrown away as a whole: nothing is ever half-applied.
 * What is not here outlives a change: sockets (network_stage()), requests in flight, the memory of
 * servers, counters.
 */
#pragma once

#include "daemon/bindings/impl.h"
#include "daemon/engine.h"
#include "daemon/tls/client.h"
#include "daemon/transport/http2.h"
#include "daemon/transport/proxyv2.h"
#include "lib/log.h"

struct tls_credentials;
struct zone_import_ctx;

/** Settings of struct network; its structures stay where they are, because open stacks hold
 * pointers to them. */
struct setup_net {
	struct net_tcp_param tcp;
	struct net_buflens listen_tcp_buflens, listen_udp_buflens;
	size_t tcp_pipeline, conns_max, conns_prefix_max;
	struct tls_credentials *credentials;
	struct tls_clients tls_clients;
	struct proxy_peers proxy;
	struct http2_param http;
};

struct setup {
	struct lua_State *L;
	module_array_t modules;
	event_array_t events;
	struct zone_import_ctx *imports;
	struct kr_context context; /**< kr_context_config_swap() */
	struct setup_net net;
	char *hostname;
	const struct sockaddr *out_addr4, *out_addr6;
	size_t tcp_pipeline_max;
	size_t l0_bytes; /**< size of the answer cache, to be restored */
	kr_log_level_t log_level;
	uint64_t log_groups;
	kr_log_target_t log_target;
	bool assertion_abort;
	int assertion_fork;
	struct engine_cache_place cache;
};

/**
 * Put the setup in force aside and a fresh one in its place, without a Lua state.
 * @param[out] old  for setup_commit() or setup_rollback()
 * @return 0 or kr_error(ENOMEM); nothing has changed then
 */
int setup_begin(struct engine *engine, struct setup *old);
/** The fresh one stays: take down the old one. Call between loop turns, outside of Lua. */
void setup_commit(struct engine *engine, struct setup *old);
/** Throw the fresh one away; the old one is in force again. */
void setup_rollback(struct engine *engine, struct setup *old);
