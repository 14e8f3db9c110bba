/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * What this process remembers of server addresses: smoothed RTT and its variation, back-off after
 * timeouts, whether streams work, whether letter case survives, lameness per zone, and whether an
 * address family works at all (broken IPv6). The tables are bounded and lossy; nothing is believed
 * longer than 15 minutes (spec C-41), and nothing here is a ban: it only orders the candidates.
 */
#pragma once

#include <sys/socket.h>
#include <libknot/dname.h>

#include "lib/defines.h"

struct kr_servers;

/** What is known of one address. */
struct kr_server {
	uint64_t key;              /**< fingerprint of the address, 0 = free */
	uint64_t seen_ms;          /**< last answer or timeout */
	uint64_t dead_until;       /**< left alone until then, 0 = alive */
	uint64_t no_stream_until;  /**< streams failed */
	uint64_t stream_until;     /**< mangles letter case: asked over streams */
	uint64_t unreachable_ms;   /**< first of the unreachable_count errors */
	uint32_t srtt_us;          /**< smoothed RTT, 0 = unknown */
	uint32_t var_us;           /**< its mean deviation */
	uint16_t timeouts;         /**< in a row */
	uint16_t longest_ms;       /**< longest wait among them */
	uint8_t unreachable_count; /**< errors of the network within some seconds (S-12) */
	uint8_t case_misses; /**< near misses that a stream proved to be the server's (S-05) */
	bool is_stream_rtt;  /**< srtt_us was measured on streams */
};

/** Does an address family work? */
enum kr_family_state {
	KR_FAMILY_UNPROVEN, /**< no answer yet, or none since it was broken */
	KR_FAMILY_WORKS,
	KR_FAMILY_BROKEN,
};

/** @param seed secret for hashing @return NULL if out of memory */
KR_EXPORT
struct kr_servers *kr_servers_new(size_t capacity, uint64_t seed);
KR_EXPORT
void kr_servers_free(struct kr_servers *servers);
/** Forget everything. */
KR_EXPORT
void kr_servers_clear(struct kr_servers *servers);

/** What is known of an address; NULL: nothing. Valid until the next report. */
KR_EXPORT
const struct kr_server *kr_servers_peek(
	struct kr_servers *servers, const struct sockaddr *addr, uint64_t now_ms);

/** @name Reports @{ */
/** An answer came. @param is_stream over TCP or TLS */
KR_EXPORT
void kr_servers_answered(struct kr_servers *servers, const struct sockaddr *addr, unsigned rtt_ms,
	bool is_stream, uint64_t now_ms);
/**
 * No answer came in time.
 * @param waited_ms how long  @param retry_ms how long a dead server is left alone
 */
KR_EXPORT
void kr_servers_timeout(struct kr_servers *servers, const struct sockaddr *addr, unsigned waited_ms,
	uint32_t retry_ms, uint64_t now_ms);
/** The network said at once that there is no way to the address. */
KR_EXPORT
void kr_servers_unreachable(
	struct kr_servers *servers, const struct sockaddr *addr, uint64_t now_ms);
/** Streams to the address do not work now. */
KR_EXPORT
void kr_servers_no_stream(struct kr_servers *servers, const struct sockaddr *addr, uint64_t now_ms);
/** A near miss over UDP was followed by a good answer to the same question on a stream. */
KR_EXPORT
void kr_servers_case_missed(
	struct kr_servers *servers, const struct sockaddr *addr, uint64_t now_ms);
/** The address does not serve the zone (C-11). */
KR_EXPORT
void kr_servers_lame(struct kr_servers *servers, const struct sockaddr *addr,
	const knot_dname_t *zone, uint64_t now_ms);
/** @} */

/** Was the address lame for the zone a moment ago? */
KR_EXPORT
bool kr_servers_is_lame(struct kr_servers *servers, const struct sockaddr *addr,
	const knot_dname_t *zone, uint64_t now_ms);
KR_EXPORT KR_PURE enum kr_family_state kr_servers_family(
	const struct kr_servers *servers, int family, uint64_t now_ms);
/** ms to wait for an answer: RTT and its variation, backed off, within B-30; a default if unknown.
 */
KR_EXPORT KR_PURE unsigned kr_server_timeout_ms(const struct kr_server *server);
