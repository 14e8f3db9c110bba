/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * What this process remembers of server addresses: smoothed RTT and its variation, back-off after
 * timeouts, whether streams work, and whether an address family works at all (broken IPv6). The table
 * is bounded and lossy; nothing is used longer than 15 minutes (spec C-41).
 */
#pragma once

#include <sys/socket.h>

#include "lib/defines.h"

struct kr_servers;

/** What is known of one address. */
struct kr_server {
	uint64_t key;	      /**< fingerprint of the address, 0 = free */
	uint64_t seen_ms;     /**< last answer or timeout */
	uint64_t dead_until;  /**< left alone until then, 0 = alive */
	uint64_t no_stream_until; /**< streams failed */
	uint32_t srtt_us;     /**< smoothed RTT, 0 = unknown */
	uint32_t var_us;      /**< its mean deviation */
	uint16_t timeouts;    /**< in a row */
	uint8_t family;	      /**< 4 or 6 */
};

/** @param seed secret for hashing @return NULL if out of memory */
KR_EXPORT
struct kr_servers *kr_servers_new(size_t capacity, uint64_t seed);
KR_EXPORT
void kr_servers_free(struct kr_servers *servers);
/** Forget everything. */
KR_EXPORT
void kr_servers_clear(struct kr_servers *servers);
/** What is known of an address; NULL: nothing. Valid until the next kr_servers_get(). */
KR_EXPORT
const struct kr_server *kr_servers_peek(
		struct kr_servers *servers, const struct sockaddr *addr, uint64_t now_ms);
/** The same, for writing; made if there is none. */
KR_EXPORT
struct kr_server *kr_servers_get(
		struct kr_servers *servers, const struct sockaddr *addr, uint64_t now_ms);
/** An answer came. */
KR_EXPORT
void kr_servers_answered(struct kr_servers *servers, const struct sockaddr *addr, unsigned rtt_ms,
		uint64_t now_ms);
/**
 * No answer came in time. @param waited_ms how long @param retry_ms how long a dead server is left alone
 */
KR_EXPORT
void kr_servers_timeout(struct kr_servers *servers, const struct sockaddr *addr, unsigned waited_ms,
		uint32_t retry_ms, uint64_t now_ms);
/** Streams to the address do not work now. */
KR_EXPORT
void kr_servers_no_stream(struct kr_servers *servers, const struct sockaddr *addr, uint64_t now_ms);
/** The family as a whole seems not to work now (F-25). */
KR_EXPORT KR_PURE
bool kr_servers_family_is_broken(
		const struct kr_servers *servers, int family, uint64_t now_ms);
/** ms to wait for an answer: RTT and its variation, within B-30; a default if nothing is known. */
KR_EXPORT KR_PURE
unsigned kr_server_timeout_ms(const struct kr_server *server);
