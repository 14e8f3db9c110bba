/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Questions under way to servers: one in flight per question and zone cut (or forwarder), with
 * those who want the same waiting for it too; fresh message id and port for every UDP try; matching
 * of answers (rules S-08 to S-14); a stream instead of UDP after a near miss; reuse and pipelining
 * of stream connections. What the question is about and what the answer means is the business of
 * lib/resolve. Called by daemon/task; reaches the network through daemon/netio.h.
 */
#pragma once

#include "daemon/netio.h"
#include "lib/request.h"
#include "lib/selection/selection.h"

struct upstream;
struct upstream_question;
struct worker_ctx;

/** What the tries for one request have cost so far, as far as lib/budget.h does not count it
 * itself. */
struct upstream_ledger {
	uint64_t names[KR_BUDGET_PACKETS_MAX];       /**< hashes of owner names asked for */
	uint8_t name_packets[KR_BUDGET_PACKETS_MAX]; /**< B-02 */
	uint64_t addrs[KR_BUDGET_CONNECTS_MAX];
	uint8_t addr_connects[KR_BUDGET_CONNECTS_MAX]; /**< B-04 */
	uint8_t names_len, addrs_len;
};

/** One request that waits for an answer; embedded in its owner. {0} waits for nothing. */
struct upstream_waiter {
	struct upstream_waiter *prev, *next;
	struct upstream_question *question; /**< NULL = waits for nothing */
	struct kr_request *req;             /**< whose budget pays */
	struct upstream_ledger *ledger;
	bool is_leader; /**< asked itself, did not join */
};

/** How it ended. Valid during the callback only. */
struct upstream_outcome {
	enum kr_selection_error error;  /**< KR_SELECTION_OK: there is an answer */
	bool no_budget;                 /**< the request may not go on */
	struct bytes answer;            /**< id and question match; still unparsed */
	const struct kr_transport *via; /**< server and protocol that were really used */
	unsigned rtt_ms;
};
typedef void (*upstream_done_f)(
	struct upstream_waiter *waiter, const struct upstream_outcome *outcome);
/** A near miss happened: the server selection should hear of it. */
typedef void (*upstream_miss_f)(struct upstream_waiter *waiter, const struct kr_transport *via);

/** @return NULL if out of memory */
struct upstream *upstream_new(
	struct worker_ctx *worker, upstream_done_f on_done, upstream_miss_f on_miss);
/** Close everything; nobody is told. */
void upstream_free(struct upstream *up);

/** What makes two questions the same. */
struct upstream_key {
	size_t len;
	uint64_t hash;
	uint8_t at[2 * KNOT_DNAME_MAXLEN + 48];
};
/**
 * Key of the question that the query is about to ask.
 * @param qname  name in the packet, any letter case
 */
void upstream_key_init(struct upstream *up, struct upstream_key *key, const struct kr_query *qry,
	const struct kr_transport *transport, const knot_dname_t *qname, uint16_t qtype);

/** Wait for the same question if it is under way. @return true if it is */
bool upstream_join(
	struct upstream *up, struct upstream_waiter *waiter, const struct upstream_key *key);
/**
 * Ask.
 * @param transport  copied
 * @param pkt        finished question; its id is replaced; copied
 * @return 0 waiting; kr_error(EDQUOT) budget used up; kr_error(EBUSY) too much in flight to there;
 *         another error: it could not be sent
 */
int upstream_ask(struct upstream *up, struct upstream_waiter *waiter,
	const struct upstream_key *key, const struct kr_query *qry,
	const struct kr_transport *transport, const knot_pkt_t *pkt);
/** Stop waiting; no callback follows. */
void upstream_cancel(struct upstream_waiter *waiter);

/** @name For the server selection @{ */
bool upstream_is_connected(const struct upstream *up, const struct sockaddr *addr);
bool upstream_is_connecting(const struct upstream *up, const struct sockaddr *addr);
/** @} */
