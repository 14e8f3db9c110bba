/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Server selection: which server, which address, which transport, how long to wait. iter.c chooses
 * among the servers of a zone cut, forward.c among forwarding targets. Memory of RTTs and failures
 * is in servers.h, per process, bounded, and forgets within 15 minutes (spec C-41).
 */
#pragma once

#include <libknot/dname.h>
#include <libknot/rdata.h>

#include "lib/addr.h"
#include "lib/defines.h"

struct kr_query;

/** What went wrong with a server; layers report it through kr_server_selection::error. */
enum kr_selection_error {
	KR_SELECTION_OK = 0,
	KR_SELECTION_QUERY_TIMEOUT,
	KR_SELECTION_TLS_HANDSHAKE_FAILED,
	KR_SELECTION_TCP_CONNECT_FAILED,
	KR_SELECTION_TCP_CONNECT_TIMEOUT,
	KR_SELECTION_REFUSED,
	KR_SELECTION_SERVFAIL,
	KR_SELECTION_FORMERR, /**< reply without OPT */
	KR_SELECTION_FORMERR_EDNS,
	KR_SELECTION_NOTIMPL,
	KR_SELECTION_OTHER_RCODE,
	KR_SELECTION_MALFORMED,
	KR_SELECTION_MISMATCHED, /**< near miss: right address, wrong id or question */
	KR_SELECTION_TRUNCATED,
	KR_SELECTION_DNSSEC_ERROR,
	KR_SELECTION_LAME_DELEGATION,
	KR_SELECTION_BAD_CNAME,
	KR_SELECTION_NUMBER_OF_ERRORS
};

enum kr_transport_protocol {
	KR_TRANSPORT_RESOLVE_A = 0, /**< no address: look the A of ns_name up */
	KR_TRANSPORT_RESOLVE_AAAA = 1,
	KR_TRANSPORT_UDP = 2,
	KR_TRANSPORT_TCP = 3,
	KR_TRANSPORT_TLS = 4,
};

/** A choice: ask this server this way. On the request's pool. */
struct kr_transport {
	knot_dname_t *ns_name; /**< server name; `.` for forwarders */
	union kr_sockaddr address;
	size_t address_len;
	enum kr_transport_protocol protocol;
	unsigned timeout;    /**< ms to wait for the answer */
	bool timeout_capped; /**< cut short by a limit: a timeout says little of the server */
	bool deduplicated;   /**< joined an identical question under way: RTT is not ours */
};

/** What a query remembers of its own tries. */
struct local_state {
	int timeouts;       /**< timeouts so far */
	bool truncated;     /**< last answer was: use a stream */
	bool force_resolve; /**< no address worked: look up more server names */
	bool force_udp;     /**< streams failed */
	void *private;      /**< strategy's own, on the request's pool */
};

/** Strategy of a query. */
struct kr_server_selection {
	bool initialized;
	/** Set *transport to a new choice, or to NULL if nobody is left to ask. */
	void (*choose_transport)(struct kr_query *qry, struct kr_transport **transport);
	/** An answer came. @param rtt ms */
	void (*update_rtt)(
		struct kr_query *qry, const struct kr_transport *transport, unsigned rtt);
	/** Something is wrong with the server or its answer. */
	void (*error)(struct kr_query *qry, const struct kr_transport *transport,
		enum kr_selection_error error);
	struct local_state *local_state;
};

/** (Re)create the selection state of a query from its flags and the forwarding targets. */
KR_EXPORT
void kr_server_selection_init(struct kr_query *qry);

/**
 * Add a looked-up address of a server to the query's zone cut, unless no server can have it (C-15).
 * @param rd  RDATA of A or AAAA @return 0; kr_error(EADDRNOTAVAIL), EINVAL, ENOMEM
 */
KR_EXPORT
int selection_add_address(
	struct kr_query *qry, const knot_dname_t *ns_name, const knot_rdata_t *rd);

/** A sub-query for a server's address ended without one (failed or negative). */
KR_EXPORT
void kr_server_selection_no_address(
	struct kr_query *qry, const knot_dname_t *ns_name, uint16_t type);
