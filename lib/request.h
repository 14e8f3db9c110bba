/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * One client request: where it came from, its plan, what it collected for the answer, its arena and
 * its budget; and the small verbs on it. Facts travel with the request: whoever wants to know how
 * the client talked to us reads qsource.
 */
#pragma once

#include <libknot/packet/pkt.h>

#include "lib/addr.h"
#include "lib/budget.h"
#include "lib/defines.h"
#include "lib/layer.h"
#include "lib/rplan.h"
#include "lib/rrs.h"

struct kr_context;
struct kr_validation;

/** Groups of forwarding targets: the first one and those to fall back on. */
#define KR_FORWARD_GROUPS_MAX 4

/** EDE codes beyond libknot's table (RFC 8914 and registry). */
#define KR_EDE_NONE (-1)

struct kr_extended_error {
	int32_t info_code;      /**< KR_EDE_NONE = none */
	const char *extra_text; /**< NULL, static, or on the request's pool */
};

/** May the finished answer be given to others who ask the same (answer cache of the daemon)? */
enum kr_repeat {
	KR_REPEAT_RESOLVED, /**< if it comes from resolution */
	/** Yes, though it is hand-made: it follows from question and configuration alone. The same
	 * octets, TTLs included, until ctx->generation is raised. */
	KR_REPEAT_MADE,
	KR_REPEAT_NEVER, /**< it depends on the client, the time or chance */
};

typedef struct kr_http_header_array_entry {
	char *name;
	char *value;
} kr_http_header_array_entry_t;
typedef array_t(kr_http_header_array_entry_t) kr_http_header_array_t;
typedef array_t(union kr_sockaddr) kr_sockaddr_array_t;

/** Line about a request; text is valid during the call only. */
typedef void (*trace_log_f)(const struct kr_request *req, const char *msg);
typedef void (*trace_callback_f)(struct kr_request *req);
/** Room for the answer; called at most once. */
typedef uint8_t *(*alloc_wire_f)(struct kr_request *req, uint16_t *maxlen);
typedef bool (*addr_info_f)(struct sockaddr *addr);

struct kr_event;
/** Listener for events of a request (lib/events.h). */
typedef void (*kr_event_f)(const struct kr_request *req, const struct kr_event *event, void *data);

/** One client request. */
struct kr_request {
	/* Identity: written by the driver before begin. */
	struct kr_context *ctx;
	struct {
		const struct sockaddr *addr;      /**< client; NULL = internal */
		const struct sockaddr *comm_addr; /**< peer really talking to us (proxy) */
		const struct sockaddr *dst_addr;  /**< local address; NULL = internal */
		const knot_pkt_t *packet;         /**< the question; valid for the whole request */
		struct kr_request_qsource_flags flags;      /**< of the client */
		struct kr_request_qsource_flags comm_flags; /**< of the peer */
		size_t size;                                /**< bytes of the question */
		int32_t stream_id;                          /**< HTTP/2 stream or -1 */
		kr_http_header_array_t headers;             /**< those of net.doh_headers */
	} qsource;
	struct {
		bool (*is_tls_capable)(struct sockaddr *);
		bool (*is_tcp_connected)(struct sockaddr *);
		bool (*is_tcp_waiting)(struct sockaddr *);
		kr_sockaddr_array_t forwarding_targets; /**< on the pool; len may be reset */
		/** Targets in the first n + 1 groups: later groups are asked when all of the
		 * earlier ones failed. All zero: there is but one group. */
		uint8_t group_ends[KR_FORWARD_GROUPS_MAX];
		bool no_fallback_on_timeout;  /**< silence does not make the next group try */
		bool no_fallback_on_servfail; /**< bad answers do not */
	} selection_context;
	alloc_wire_f alloc_wire_cb;
	unsigned int uid; /**< for logs; >= 65536: internal */
	knot_mm_t pool;

	/* Configuration of this request. */
	struct kr_qflags options; /**< inherited by new queries */

	/* Progress. */
	knot_pkt_t *answer; /**< NULL until kr_request_ensure_answer() */
	struct kr_query *current_query;
	int state; /**< latest state of a walk */
	struct kr_rplan rplan;
	struct {
		unsigned int rtt; /**< ms; during consume of a network answer only */
		const struct kr_transport *transport;
	} upstream;
	ranked_rr_array_t answ_selected;
	ranked_rr_array_t auth_selected;
	ranked_rr_array_t add_selected;
	bool answ_validated;
	bool auth_validated;
	uint8_t rank; /**< after finalisation: SECURE or INITIAL */
	struct kr_extended_error extended_error;
	struct kr_budget budget;
	struct kr_validation *validation; /**< what the validator found out; its own, on the pool */
	unsigned int count_no_nsaddr;     /**< server names without address in a row */
	unsigned int count_fail_row;      /**< failed answers in a row */
	bool is_finished;                 /**< finish walk has run */
	uint64_t rules_end; /**< place of the policy rule that had the last word; 0 = none had */
	uint8_t repeat;     /**< enum kr_repeat, kr_request_set_repeat() */

	/* Listeners and the Lua side. */
	trace_log_f trace_log;
	trace_callback_f trace_finish;
	kr_event_f event_cb;
	void *event_data;
	int vars_ref;         /**< slot of req:vars(), -2 = none */
	void *daemon_context; /**< the driver's own */
};

/** The three arrays indexed by section. */
#define kr_request_selected(req)                                                                   \
	{                                                                                          \
		&(req)->answ_selected, &(req)->auth_selected, &(req)->add_selected                 \
	}

/** @return NULL for NULL */
KR_EXPORT KR_PURE struct kr_rplan *kr_resolve_plan(struct kr_request *req);
KR_EXPORT KR_PURE knot_mm_t *kr_resolve_pool(struct kr_request *req);

/** The answer packet, made at first use; call when the answer is about to be decided. NULL: state
 * is FAIL. */
KR_EXPORT
knot_pkt_t *kr_request_ensure_answer(struct kr_request *req);
/** OPT of the answer or NULL if the client sent none. */
KR_EXPORT
knot_rrset_t *kr_request_ensure_edns(struct kr_request *req);
/**
 * Set the extended DNS error (RFC 8914) unless one of at least that priority is in force.
 * @param code  0..65534, or KR_EDE_NONE to clear
 * @param text  NULL, static, or on the pool
 * @return code in force
 */
KR_EXPORT
int kr_request_set_extended_error(struct kr_request *req, int code, const char *text);
/** Add a target and copy it. @return 0 or kr_error(EINVAL) (family off or unknown) */
KR_EXPORT
int kr_forward_add_target(struct kr_request *req, const struct sockaddr *sock);
/** Forget all selected records (before hand-making an answer). */
KR_EXPORT
void kr_request_clear_selected(struct kr_request *req);
/**
 * Say whether the finished answer may be repeated to others with the same question; among several
 * opinions the highest value holds. Whoever looks at the client, at headers or at a clock for this
 * request says KR_REPEAT_NEVER, even if it then does nothing.
 */
KR_EXPORT
void kr_request_set_repeat(struct kr_request *req, enum kr_repeat repeat);
