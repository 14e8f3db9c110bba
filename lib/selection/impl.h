/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * What the two strategies share. Stays in this folder.
 */
#pragma once

#include "lib/resolve.h"
#include "lib/selection/selection.h"
#include "lib/selection/servers.h"

/** What became of one address in this query. */
struct addr_try {
	union kr_sockaddr addr;
	uint8_t udp;     /**< tries of the present question over UDP (B-13) */
	uint8_t stream;  /**< tries of the present question over streams */
	bool has_failed; /**< answered badly: UDP will not do better */
	bool given_up;   /**< not in this query any more */
};

/** How far a query has gone in giving up habits that some servers choke on; only ever rises.
 */
enum habit {
	HABIT_ALL,          /**< minimised name, random letter case, UDP */
	HABIT_WHOLE_NAME,   /**< NO_MINIMIZE */
	HABIT_PLAIN_STREAM, /**< NO_0X20 and TCP */
};

/** State of both strategies; first member of theirs. */
struct tries {
	struct addr_try at[KR_CUT_ADDR_MAX];
	size_t len;

	/* The question that is being counted: minimisation asks several, one after the other. */
	knot_dname_storage_t name;
	uint16_t type;

	enum habit habit;
	struct addr_try *again;     /**< the next try is this one's: only it can do better */
	struct addr_try *no_edns;   /**< for its sake EDNS was switched off */
	struct addr_try *near_miss; /**< it, or somebody in its name, got id or letter case wrong */
};

static inline struct tries *tries_of(const struct kr_query *qry)
{
	return qry->server_selection.local_state->private;
}

/** Start counting anew if the query asks another question than the last time. */
void tries_mind_question(const struct kr_query *qry);
/** Tries of an address; made if there are none. NULL: too many. */
struct addr_try *tries_of_address(struct tries *tries, const struct sockaddr *addr);

static inline bool is_family_off(const struct kr_query *qry, int family)
{
	return family == AF_INET ? qry->flags.NO_IPV4 : qry->flags.NO_IPV6;
}

/** Is the question to go over a stream whoever is asked? */
bool selection_wants_stream(const struct kr_query *qry);
/** The operator or a truncated answer leaves no choice. */
bool selection_needs_stream(const struct kr_query *qry);
/** A choice without address: this name has to be looked up. NULL: out of memory */
struct kr_transport *selection_lookup(
	struct kr_query *qry, const knot_dname_t *ns_name, enum kr_transport_protocol protocol);
/** Choose an address; counts the try. @param timeout_ms to wait @return NULL: out of memory */
struct kr_transport *selection_take(struct kr_query *qry, struct addr_try *tried,
	const knot_dname_t *ns_name, enum kr_transport_protocol protocol, unsigned timeout_ms);
/** What all strategies learn from an answer. */
void selection_update_rtt(struct kr_query *qry, const struct kr_transport *transport, unsigned rtt);
/** What all strategies learn from an error: memory of servers, tries and habits of the query. */
void selection_error(
	struct kr_query *qry, const struct kr_transport *transport, enum kr_selection_error error);

void iter_selection_init(struct kr_query *qry);
void iter_no_address(struct kr_query *qry, const knot_dname_t *ns_name, uint16_t type);
/** The server is lame: so are the other addresses of its name. */
void iter_name_is_lame(struct kr_query *qry, const knot_dname_t *ns_name);
void forward_selection_init(struct kr_query *qry);
