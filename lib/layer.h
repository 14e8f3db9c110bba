/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * The contract of a layer: the states of a request and the hooks a module may implement.
 * A hook is a function from (state, packet) to state. It does not send, sleep or free the packet;
 * to wait it pushes a sub-query (lib/rplan.h) and, in `consume` only, returns KR_STATE_YIELD.
 */
#pragma once

#include <stdbool.h>
#include <libknot/packet/pkt.h>

#include "lib/defines.h"

struct kr_request;
struct sockaddr;

/** How a message travelled. */
struct kr_request_qsource_flags {
	bool tcp : 1;      /**< a stream (TCP, TLS, HTTP) */
	bool tls : 1;      /**< encrypted */
	bool http : 1;     /**< DNS over HTTPS */
	bool xdp : 1;      /**< kernel bypass */
	bool internal : 1; /**< made by this process, not by a client */
};

/** State of a request; exactly one bit is set. */
enum kr_layer_state {
	KR_STATE_CONSUME = 1 << 0, /**< a packet is to be processed / an answer is awaited */
	KR_STATE_PRODUCE = 1 << 1, /**< a question (or a local answer) is to be made */
	KR_STATE_DONE = 1 << 2,    /**< finished well for this phase */
	KR_STATE_FAIL = 1 << 3,    /**< failed */
	KR_STATE_YIELD = 1 << 4,   /**< paused for a sub-query; on input: resumed */
};

/** True for a value that a hook may return. */
static inline bool kr_state_is_valid(int state)
{
	return state >= 0 && state <= 31;
}

typedef struct kr_layer kr_layer_t;
typedef struct kr_layer_api kr_layer_api_t;

/** What a hook is called with. */
struct kr_layer {
	int state; /**< state as the previous module left it */
	struct kr_request *req;
	const kr_layer_api_t
		*api; /**< the table the hook came from; api->data is the module's own */

	/* For the Lua glue, which has to hand them on. */
	knot_pkt_t *pkt;
	struct sockaddr *dst;
	bool is_stream;
};

/** Hooks in the order in which dispatch arrays are kept. */
enum kr_hook {
	KR_HOOK_BEGIN,
	KR_HOOK_RESET,
	KR_HOOK_FINISH,
	KR_HOOK_CONSUME,
	KR_HOOK_PRODUCE,
	KR_HOOK_CHECKOUT,
	KR_HOOK_ANSWER_FINALIZE,
	KR_HOOK_COUNT
};

/** A question that might be answered from the cache without a request (lib/quick.h). */
struct kr_quick_question {
	const knot_dname_t *name; /**< lower-case; of the question, or the target of an alias */
	uint16_t type;
	bool has_edns, has_do, has_ad;
};

/** A finished answer that the driver gave again, without a request. Pointers are lent. */
struct kr_repeated {
	const struct sockaddr *addr;      /**< client */
	const struct sockaddr *comm_addr; /**< peer really talking to us, NULL = the client */
	const struct sockaddr *dst_addr;  /**< local address */
	struct kr_request_qsource_flags flags;
	const uint8_t *query; /**< wire as it came */
	size_t query_len;
	const uint8_t *answer; /**< wire as it goes out */
	size_t answer_len;
	bool has_edns; /**< the query has OPT, so has the answer */
	bool has_do;
};

/** Table of hooks; owned by the module, constant while it is loaded. NULL = not implemented. */
struct kr_layer_api {
	int (*begin)(kr_layer_t *ctx);
	int (*reset)(kr_layer_t *ctx);
	int (*finish)(kr_layer_t *ctx);
	int (*consume)(kr_layer_t *ctx, knot_pkt_t *pkt);
	int (*produce)(kr_layer_t *ctx, knot_pkt_t *pkt);
	/** @param type SOCK_DGRAM or SOCK_STREAM */
	int (*checkout)(kr_layer_t *ctx, knot_pkt_t *pkt, struct sockaddr *dst, int type);
	int (*answer_finalize)(kr_layer_t *ctx);

	void *data; /**< the module's own */
	/** The hooks need not see a question whose finished answer is repeated (answer cache of the
	 * daemon): what they do follows from the question alone, and ctx->generation is raised when
	 * it changes. Requests for which that is not so can be marked one by one, see
	 * kr_request_set_repeat(). */
	bool is_skippable;
	/** Told of each answer that is repeated, in place of all other hooks; for counters and
	 * logs. Implies is_skippable. Costs something on the quickest path: no allocation here. */
	void (*repeated)(const kr_layer_api_t *api, const struct kr_repeated *what);
	/** Has the layer anything to do about this question, if its answer is in the cache? If not
	 * it is answered without any hook being called (and `repeated` is told). NULL = it has
	 * always. A layer that never has sets kr_layer_unconcerned(). No Lua, no allocation. */
	bool (*concerns)(const kr_layer_api_t *api, const struct kr_quick_question *question);
	int cb_slots[]; /**< for the Lua glue */
};

/** A response parked by KR_STATE_YIELD (lib/resolve.c). Lives on the request's pool. */
struct kr_layer_pickle {
	struct kr_layer_pickle *next;
	const kr_layer_api_t *api;
	knot_pkt_t *pkt;
	int state;
};

/** kr_layer_api::concerns of layers that answers out of the cache pass unchanged. @return false */
KR_EXPORT
bool kr_layer_unconcerned(const kr_layer_api_t *api, const struct kr_quick_question *question);
