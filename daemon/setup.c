/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/setup.h"

#include <stdlib.h>
#include <string.h>

#include "daemon/guard.h"
#include "daemon/tls/credentials.h"
#include "daemon/zimport.h"
#include "lib/check.h"

#define SWAP(a, b)                                                                                 \
	do {                                                                                       \
		__typeof__(a) was_ = (a);                                                          \
		(a) = (b);                                                                         \
		(b) = was_;                                                                        \
	} while (0)

static void net_swap(struct network *net, struct setup_net *other)
{
	SWAP(net->tcp, other->tcp);
	SWAP(net->listen_tcp_buflens, other->listen_tcp_buflens);
	SWAP(net->listen_udp_buflens, other->listen_udp_buflens);
	SWAP(net->tcp_pipeline, other->tcp_pipeline);
	SWAP(net->conns_max, other->conns_max);
	SWAP(net->conns_prefix_max, other->conns_prefix_max);
	SWAP(net->tls_server->credentials, other->credentials);
	SWAP(*net->tls_clients, other->tls_clients);
	SWAP(*net->proxy, other->proxy);
	SWAP(*net->http, other->http);
}

static void log_swap(struct setup *other)
{
	const kr_log_target_t target = kr_log_target_get();
	kr_log_target_set(other->log_target);
	other->log_target = target;
	SWAP(kr_log_level, other->log_level);
	SWAP(kr_log_groups_mask, other->log_groups);
	SWAP(kr_dbg_assertion_abort, other->assertion_abort);
	SWAP(kr_dbg_assertion_fork, other->assertion_fork);
}

/** Exchange what is in force with `other`. */
static void setup_swap(struct engine *engine, struct setup *other)
{
	struct worker_ctx *worker = &engine->worker;
	SWAP(engine->L, other->L);
	SWAP(engine->modules, other->modules);
	SWAP(engine->hostname, other->hostname);
	SWAP(engine->cache_place, other->cache);
	SWAP(worker->out_addr4, other->out_addr4);
	SWAP(worker->out_addr6, other->out_addr6);
	SWAP(worker->tcp_pipeline_max, other->tcp_pipeline_max);
	luab_event_swap(&other->events);
	zi_swap(&other->imports);
	kr_context_config_swap(&engine->resolver, &other->context);
	net_swap(&engine->net, &other->net);
	log_swap(other);
	guard_watch(engine->L);
}

/** What was swapped out and is not wanted any more, but for Lua and modules. */
static void setup_free(struct setup *setup)
{
	kr_context_config_deinit(&setup->context);
	array_clear(setup->modules);
	tls_credentials_unref(setup->net.credentials);
	tls_clients_clear(&setup->net.tls_clients);
	proxy_peers_clear(&setup->net.proxy);
	for (size_t i = 0; i < setup->net.http.headers.len; ++i)
		free(setup->net.http.headers.at[i]);
	array_clear(setup->net.http.headers);
	free((void *)setup->out_addr4);
	free((void *)setup->out_addr6);
	free(setup->hostname);
	free(setup->cache.path);
	memset(setup, 0, sizeof(*setup));
}

static size_t l0_bytes(const struct worker_ctx *worker)
{
	return worker->l0_enabled ? worker->l0_max_bytes : 0;
}

static void l0_resize(struct worker_ctx *worker, size_t bytes)
{
	if (l0_bytes(worker) != bytes && worker_set_l0(worker, bytes) != 0)
		kr_log_error(CACHE, "cannot change the size of the answer cache: %s\n",
			strerror(ENOMEM));
}

int setup_begin(struct engine *engine, struct setup *old)
{
	*old = (struct setup){
		.tcp_pipeline_max = engine->start.tcp_pipeline_max,
		.l0_bytes = l0_bytes(&engine->worker),
		.log_level = engine->start.log_level,
		.log_target = LOG_TARGET_DEFAULT,
		.assertion_abort = engine->start.assertion_abort,
		.assertion_fork = engine->start.assertion_fork,
	};
	network_defaults(&old->net.tcp, &old->net.tcp_pipeline, &old->net.conns_max,
		&old->net.conns_prefix_max);
	int ret = kr_context_config_init(&old->context);
	if (ret != 0) {
		setup_free(old);
		return ret;
	}
	network_stage(&engine->net);
	setup_swap(engine, old);
	l0_resize(&engine->worker, engine->start.l0_bytes);
	return kr_ok();
}

/** Callbacks of a request in flight belong to a Lua state that goes away. */
static void forget_lua(struct kr_request *req)
{
	struct kr_rplan *plan = &req->rplan;
	req->vars_ref = -2;
	req->trace_log = NULL;
	req->trace_finish = NULL;
	for (size_t i = 0; i < plan->pending.len; ++i)
		plan->pending.at[i]->stale_cb = NULL;
	for (size_t i = 0; i < plan->resolved.len; ++i)
		plan->resolved.at[i]->stale_cb = NULL;
}

void setup_commit(struct engine *engine, struct setup *old)
{
	worker_foreach(&engine->worker, forget_lua);
	setup_swap(engine, old); /* what is taken down sees itself in force */
	network_disengage_others(&engine->net, "control");
	engine_lua_close(engine);
	setup_swap(engine, old);
	setup_free(old);
	if (!engine->cache_place.path)
		engine_cache_close(engine);
	engine->cache_place.is_moved = false;
	network_stage_end(&engine->net, true);
	network_engage_endpoints(&engine->net);
}

/** A cache that the failed configuration has opened elsewhere gives way to the one before. */
static void restore_cache(struct engine *engine, const struct engine_cache_place *tried)
{
	const struct engine_cache_place *place = &engine->cache_place;
	if (!tried->is_moved)
		return;
	if (!place->path) {
		engine_cache_close(engine);
		return;
	}
	int ret = engine_cache_open(engine, place->api, place->path, place->size);
	if (ret != 0)
		kr_log_error(CACHE, "cannot open the cache '%s' again: %s\n", place->path,
			strerror(abs(ret)));
}

void setup_rollback(struct engine *engine, struct setup *old)
{
	engine_lua_close(engine);
	setup_swap(engine, old);
	l0_resize(&engine->worker, old->l0_bytes);
	restore_cache(engine, &old->cache);
	engine->cache_place.is_moved = false;
	network_stage_end(&engine->net, false);
	setup_free(old);
}
