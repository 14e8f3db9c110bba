/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * What the two strategies share. Stays in this folder.
 */
#pragma once

#include "lib/resolve.h"
#include "lib/selection/selection.h"
#include "lib/selection/servers.h"

/** Tries of one address for one question. */
struct addr_try {
	union kr_sockaddr addr;
	uint8_t udp;	/**< tries over UDP (B-13) */
	uint8_t stream; /**< tries over streams */
	bool given_up;	/**< not for this question any more */
};

/** All addresses tried by a query; on the request's pool. */
typedef array_t(struct addr_try) addr_tries_t;

/** The question that tries are counted for: minimisation asks several, one after the other. */
struct tried_question {
	knot_dname_storage_t name;
	uint16_t type;
};
/** Start counting anew if the query asks another question than the last time. */
void selection_mind_question(
		const struct kr_query *qry, struct tried_question *last, addr_tries_t *tries);

/** Tries of an address; made if there are none. NULL if out of memory. */
struct addr_try *selection_tries(addr_tries_t *tries, const struct sockaddr *addr, knot_mm_t *pool);
/** Has the address any try left on the kind of transport? */
bool selection_may_try(const struct addr_try *tried, bool is_stream);
/** Make a choice. */
struct kr_transport *selection_transport(struct kr_query *qry, const knot_dname_t *ns_name,
		const struct sockaddr *addr, enum kr_transport_protocol protocol);
/** What all strategies learn from an answer. */
void selection_update_rtt(struct kr_query *qry, const struct kr_transport *transport, unsigned rtt);
/** What all strategies learn from an error: memory of servers, fallbacks of the query. @return give the server up */
bool selection_learn_error(struct kr_query *qry, const struct kr_transport *transport,
		enum kr_selection_error error);
/** Log a choice or error. */
void selection_log(const struct kr_query *qry, const char *what, const struct kr_transport *transport);

void iter_selection_init(struct kr_query *qry);
void forward_selection_init(struct kr_query *qry);
void iter_no_address(struct kr_query *qry, const knot_dname_t *ns_name, uint16_t type);
