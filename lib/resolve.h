/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * The driver of a request and the context it runs in. Sans-I/O: it is handed packets, time and
 * random bytes, and hands back "ask this server this".
 *
 *     kr_resolve_begin(&req, ctx); state = kr_resolve_consume(&req, &t, question);
 *     while (state == PRODUCE) {
 *         state = kr_resolve_produce(&req, &t, pkt);
 *         while (state == CONSUME) {
 *             kr_resolve_checkout(&req, NULL, t, pkt);
 *             ... send pkt to t, wait for the answer or t->timeout ms ...
 *             state = kr_resolve_consume(&req, &t, answer_or_NULL);
 *         }
 *     }
 *     kr_resolve_finish(&req, state);
 */
#pragma once

#include <sys/time.h>
#include <libknot/packet/pkt.h>

#include "lib/budget.h"
#include "lib/cache/cache.h"
#include "lib/defines.h"
#include "lib/failcache.h"
#include "lib/layer.h"
#include "lib/module.h"
#include "lib/request.h"
#include "lib/rplan.h"
#include "lib/selection/servers.h"
#include "lib/zonecut.h"
#include "lib/generic/trie.h"

struct sockaddr;

/** Function of the driver that fills a buffer with random bytes fit for cryptography. */
typedef void (*kr_rnd_f)(void *data, void *buf, size_t len);

/** Who asks, as far as rules may treat clients differently without a request. */
struct kr_client {
	const struct sockaddr *addr;     /**< client */
	const struct sockaddr *dst_addr; /**< address of ours */
	struct kr_request_qsource_flags flags;
};
/** This client's answers are neither kept nor taken from others. */
#define KR_CLIENT_UNIQUE UINT32_MAX
/**
 * Class of a client: finished answers are repeated within a class only. It holds as long as
 * kr_context::generation. No allocation and no Lua: this is on the path of each query.
 */
typedef uint32_t (*kr_client_class_f)(void *data, const struct kr_client *client);

/** What all requests of a process share. Written by the driver and configuration. */
struct kr_context {
	/* Configuration. */
	struct kr_qflags options;        /**< defaults of every request */
	knot_rrset_t *downstream_opt_rr; /**< OPT template towards clients */
	knot_rrset_t *upstream_opt_rr;   /**< OPT template towards servers */
	trie_t *trust_anchors;           /**< lib/dnssec/ta.h */
	trie_t *negative_anchors;
	int32_t vld_limit_crypto; /**< signature checks per answer */
	struct kr_zonecut root_hints;
	int32_t tls_padding;     /**< -1 RFC 8467, 0 off, >= 2 block size */
	uint64_t stream_idle_ms; /**< how long idle client streams are kept (told to clients, RFC
				    7828) */
	uint32_t cache_rtt_tout_retry_interval; /**< ms a dead server is left alone */
	bool cookies_vary; /**< answers to who shows a DNS cookie have one: they are not repeated */
	bool answers_vary; /**< some rule looks at more than can be said here: no finished answer is
			      repeated */
	bool has_rules; /**< rules of the user have to see questions even if the answer is cached */
	bool wants_expiring; /**< a module wants to see questions for records near their end:
				finished answers are not repeated until the last moment */

	/* State. */
	struct kr_cache cache;
	struct kr_servers *servers;
	struct kr_failcache *failures;
	module_array_t *modules; /**< in processing order; the driver's own array */
	const kr_layer_api_t *
		*hooks[KR_HOOK_COUNT]; /**< NULL-ended dispatch arrays, kr_modules_changed() */
	array_t(const kr_layer_api_t **)
		hooks_retired;                /**< former ones on which a walk may stand */
	unsigned walks;                       /**< walks under way, one inside of the other */
	const kr_layer_api_t **repeat_hooks;  /**< those with kr_layer_api::repeated, NULL-ended */
	bool layers_skippable;                /**< all layers are (kr_layer_api::is_skippable) */
	const kr_layer_api_t **concern_hooks; /**< layers to be asked by concerns(), NULL-ended */
	bool layers_quick;                    /**< all layers can tell (kr_layer_api::concerns) */
	uint64_t generation; /**< changes with configuration, rules, anchors, cache clearing */
	struct kr_rulebook *rulebooks[2]; /**< lib/rules/rules.h */
	/** Which clients rules treat alike, for the answer cache; NULL: all. */
	kr_client_class_f client_class;
	void *client_class_data;
	/** Round trip time of the client's connection, µs; 0 = unknown. NULL: the driver cannot
	 * tell. */
	uint32_t (*client_rtt)(const struct kr_request *req);
	uint64_t budget_hits[KR_BUDGET_COUNT];
	uint64_t budget_logged_ms[KR_BUDGET_COUNT];

	/* The driver's clock, written once a loop turn, and its source of randomness. */
	uint64_t now_ms;    /**< monotonic */
	struct timeval now; /**< wall clock */
	kr_rnd_f rnd;
	void *rnd_data;

	knot_mm_t *pool;
};

/** The context of this process, for modules; set by the driver program. */
KR_EXPORT extern struct kr_context *the_resolver;

/** Random bytes from the driver's source. */
static inline void kr_ctx_rnd(struct kr_context *ctx, void *buf, size_t len)
{
	ctx->rnd(ctx->rnd_data, buf, len);
}
/** A random number. */
static inline uint32_t kr_ctx_rnd32(struct kr_context *ctx)
{
	uint32_t value;
	kr_ctx_rnd(ctx, &value, sizeof(value));
	return value;
}

/**
 * Give a zeroed context its defaults (options, OPT templates, empty tries, server memory). The
 * clock and rnd must have been set. @return 0 or kr_error(ENOMEM)
 */
KR_EXPORT
int kr_context_init(struct kr_context *ctx, knot_mm_t *pool);
KR_EXPORT
void kr_context_deinit(struct kr_context *ctx);

/** @name What a configuration decides
 * The first part of the context, limits of TTL and the dispatch arrays, without the state that
 * outlives a change of configuration (cache, memory of servers and failures, clock). @{ */
/** Give that part of a zeroed context its defaults. @return 0 or kr_error(ENOMEM) */
KR_EXPORT
int kr_context_config_init(struct kr_context *ctx);
KR_EXPORT
void kr_context_config_deinit(struct kr_context *ctx);
/** Exchange that part between two contexts; finished answers made by `a` so far are forgotten. */
KR_EXPORT
void kr_context_config_swap(struct kr_context *a, struct kr_context *b);
/** @} */

/**
 * Start a request: zeroed but for pool, qsource, extended_error.info_code = -1, vars_ref = -2.
 * @return KR_STATE_CONSUME
 */
KR_EXPORT
int kr_resolve_begin(struct kr_request *req, struct kr_context *ctx);

/**
 * Hand in a packet: first the question, then answers.
 * @param transport  who answered; NULL with the question
 * @param packet     parsed answer whose question matched; NULL or empty: timeout or network failure
 * @return next state: PRODUCE, DONE, FAIL
 */
KR_EXPORT
int kr_resolve_consume(struct kr_request *req, struct kr_transport **transport, knot_pkt_t *packet);

/**
 * Work until a packet has to be sent or the request is over.
 * @param transport  out: whom to ask
 * @param packet     buffer for the question
 * @return CONSUME (send it), PRODUCE (call again), DONE, FAIL
 */
KR_EXPORT
int kr_resolve_produce(struct kr_request *req, struct kr_transport **transport, knot_pkt_t *packet);

/**
 * Finish the packet right before it is sent: EDNS, flags, letter case; runs the checkout hooks.
 * @return 0; kr_error(ECANCELED) a layer refused; kr_error(EINVAL)
 */
KR_EXPORT
int kr_resolve_checkout(struct kr_request *req, const struct sockaddr *src,
	struct kr_transport *transport, knot_pkt_t *packet);

/** Assemble the answer and run the finish hooks; the pool stays the caller's. @return DONE */
KR_EXPORT
int kr_resolve_finish(struct kr_request *req, int state);

/** Put the (minimised) question of a query into a cleared packet, with a fresh id. */
KR_EXPORT
int kr_make_query(struct kr_query *query, knot_pkt_t *pkt);
