/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * The resolution plan of a request: questions still open (a stack) and questions answered. Pushing
 * from a hook makes the new question the next one worked on. Everything lives on the request's
 * pool.
 */
#pragma once

#include <sys/time.h>
#include <libknot/dname.h>
#include <libknot/packet/pkt.h>

#include "lib/defines.h"
#include "lib/layer.h"
#include "lib/selection/selection.h"
#include "lib/zonecut.h"
#include "lib/generic/array.h"

struct kr_request;
struct kr_query;

/** Flags of a request or query; names are a contract, positions are not. */
struct kr_qflags {
	/* Set by users and modules. */
	bool NO_MINIMIZE : 1;     /**< no QNAME minimisation */
	bool NO_IPV6 : 1;         /**< do not ask servers over IPv6 */
	bool NO_IPV4 : 1;         /**< do not ask servers over IPv4 */
	bool TCP : 1;             /**< use a stream; in req->options: for all queries */
	bool NO_ANSWER : 1;       /**< send nothing; state must be FAIL */
	bool RESOLVED : 1;        /**< this query is finished */
	bool AWAIT_IPV4 : 1;      /**< waits for an A sub-query of a server */
	bool AWAIT_IPV6 : 1;      /**< waits for an AAAA sub-query of a server */
	bool AWAIT_CUT : 1;       /**< zone cut has to be looked up before sending */
	bool NO_EDNS : 1;         /**< plain DNS to the server */
	bool CACHED : 1;          /**< answer is the cache's or a module's, not the network's */
	bool NO_CACHE : 1;        /**< do not answer from the cache */
	bool EXPIRING : 1;        /**< cached answer near its end */
	bool ALLOW_LOCAL : 1;     /**< servers in loopback and other special ranges are fine */
	bool DNSSEC_WANT : 1;     /**< validate */
	bool DNSSEC_BOGUS : 1;    /**< validation failed */
	bool DNSSEC_INSECURE : 1; /**< provably insecure */
	bool DNSSEC_CD : 1;       /**< internal queries: CD in the question */
	bool STUB : 1;            /**< ask the forwarding targets and take the answer as it is */
	bool ALWAYS_CUT : 1;      /**< find the zone cut even if the cache would answer */
	bool DNSSEC_WEXPAND : 1;  /**< answer was expanded from a wildcard */
	bool PERMISSIVE : 1;      /**< glue and lameness: tolerant */
	bool STRICT : 1;          /**< glue and lameness: strict */
	bool BADCOOKIE_AGAIN : 1; /**< repeat with the server's cookie */
	bool CNAME : 1;           /**< answer had an alias that is being followed */
	bool REORDER_RR : 1;      /**< rotate records within sets */
	bool TRACE : 1;           /**< log full answers */
	bool NO_0X20 : 1;         /**< no random letter case */
	bool DNSSEC_NODS : 1;     /**< proven that there is no DS */
	bool DNSSEC_OPTOUT : 1;   /**< the proof used opt-out */
	bool NONAUTH : 1;         /**< non-authoritative in-bailiwick data suffice */
	bool FORWARD : 1;         /**< ask the forwarding targets and validate */
	bool DNS64_MARK : 1;      /**< the A sub-query of DNS64 */
	bool CACHE_TRIED : 1;     /**< the cache was consulted for this query */
	bool NO_NS_FOUND : 1;     /**< no usable server in the last round */
	bool PKT_IS_SANE : 1;     /**< current answer passed the basic checks */
	bool DNS64_DISABLE : 1;   /**< no DNS64 */
	bool NO_RULES : 1;        /**< upkeep of the resolver itself: policy and view leave it alone
				   */
};

/** Union of two sets of flags. */
KR_EXPORT
void kr_qflags_set(struct kr_qflags *dst, struct kr_qflags src);
/** Difference. */
KR_EXPORT
void kr_qflags_clear(struct kr_qflags *dst, struct kr_qflags src);

/**
 * Says whether an expired record may be used (serve_stale).
 * @param ttl seconds left, negative
 * @return TTL to use, or negative = not usable
 */
typedef int32_t (*kr_stale_cb)(
	int32_t ttl, const knot_dname_t *owner, uint16_t type, const struct kr_query *qry);

/** One question being worked on. */
struct kr_query {
	/* Identity; constant. */
	struct kr_query *parent;       /**< who waits for it, or NULL */
	struct kr_query *cname_parent; /**< whose alias it follows, or NULL */
	struct kr_request *request;
	knot_dname_t *sname; /**< lower-case */
	uint16_t stype;
	uint16_t sclass;
	uint64_t creation_time_mono; /**< ms, of the oldest ancestor */
	struct timeval timestamp;    /**< wall time of creation: TTLs and signatures */
	int8_t cname_depth;          /**< 0 unknown, 1 = no alias */
	uint8_t ns_depth;            /**< nesting of server address look-ups (B-08) */

	/* Progress. */
	struct kr_qflags flags;
	struct kr_qflags forward_flags; /**< for trust-chain queries of forwarding */
	uint32_t uid;                   /**< new at every produce round */
	uint16_t id;                    /**< message id */
	uint16_t reorder;               /**< rotation seed, 0 = off */
	uint32_t secret;                /**< letter-case seed, 0 = none */
	uint64_t timestamp_mono;        /**< ms, last send or creation */
	struct kr_zonecut zone_cut;
	struct kr_layer_pickle *deferred; /**< parked answer, or NULL */
	struct kr_server_selection server_selection;
	struct kr_zonecut *next_cut; /**< cut of the referral being consumed; the driver moves there
					after the walk */
	uint8_t shape;               /**< enum kr_scrub_shape of the answer being consumed */
	bool is_ns_lookup : 1;       /**< looks for an address of a server of parent's zone cut */
	bool is_fail_remembered : 1; /**< its failure is in (or came from) the failure cache */

	/* Minimisation (RFC 9156); iterate's. */
	uint8_t min_labels; /**< labels of sname known to be at or above an existing name; 0 = ask
			       cut + 1 */
	uint8_t min_steps;  /**< minimised questions asked so far (B-11) */
	knot_dname_t *asked_name; /**< name of the question last written: sname or minimised */
	uint16_t asked_type;

	/* Work of the validator. */
	int32_t vld_limit_crypto_remains; /**< signature checks left for the answer of vld_limit_uid
					     (B-14) */
	int32_t vld_units_remain;         /**< ... in units */
	uint32_t vld_limit_uid;
	uint8_t chain_steps; /**< trust chain sub-queries pushed for this query */

	kr_stale_cb stale_cb;
};

typedef array_t(struct kr_query *) kr_qarray_t;

/** The plan. `pending` is a stack: the last one is worked on. */
struct kr_rplan {
	kr_qarray_t pending;
	kr_qarray_t resolved;
	struct kr_query *initial;
	struct kr_request *request;
	knot_mm_t *pool;
	uint32_t next_uid;
};

KR_EXPORT
int kr_rplan_init(struct kr_rplan *rplan, struct kr_request *request, knot_mm_t *pool);
KR_EXPORT
void kr_rplan_deinit(struct kr_rplan *rplan);
/** Nothing is pending. */
KR_EXPORT KR_PURE bool kr_rplan_empty(const struct kr_rplan *rplan);
/** Push a question. The name is copied and lower-cased, options come from the request. @return NULL
 * on failure */
KR_EXPORT
struct kr_query *kr_rplan_push(struct kr_rplan *rplan, struct kr_query *parent,
	const knot_dname_t *name, uint16_t cls, uint16_t type);
/** Push a nameless query. */
KR_EXPORT
struct kr_query *kr_rplan_push_empty(struct kr_rplan *rplan, struct kr_query *parent);
/** Move to resolved; nothing is discarded. Unknown query: nothing happens. */
KR_EXPORT
int kr_rplan_pop(struct kr_rplan *rplan, struct kr_query *qry);
/** The query or one of its ancestors asks this. */
KR_EXPORT KR_PURE bool kr_rplan_satisfies(
	const struct kr_query *closure, const knot_dname_t *name, uint16_t cls, uint16_t type);
/** Last resolved or NULL. */
KR_EXPORT KR_PURE struct kr_query *kr_rplan_resolved(struct kr_rplan *rplan);
/** Top pending, else last resolved, else NULL. */
KR_EXPORT KR_PURE struct kr_query *kr_rplan_last(struct kr_rplan *rplan);
/** @param parent NULL = any */
KR_EXPORT KR_PURE struct kr_query *kr_rplan_find_resolved(struct kr_rplan *rplan,
	struct kr_query *parent, const knot_dname_t *name, uint16_t cls, uint16_t type);
