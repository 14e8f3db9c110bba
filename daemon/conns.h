/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Clients' stream connections: accepted within limits (B-42), each a session whose messages go to
 * the worker and whose answers come back. When the process is full, the connection that has been
 * idle for longest makes room.
 */
#pragma once

#include "daemon/network.h"
#include "daemon/transport/stacks.h"

struct conns;

/** Requests after which a connection is closed, B-44. */
#define CONN_REQUESTS_MAX 10000
/** Limits of time, B-43. The idle time is net.tcp_in_idle. @{ */
#define CONN_FIRST_MS 3000
#define CONN_MESSAGE_MS 5000
#define CONN_HANDSHAKE_MS 5000
#define CONN_WRITE_MS 2000
#define CONN_IDLE_FULL_MS 1000 /**< idle time when three quarters of the places are taken */
#define CONN_IDLE_EVICT_MS 200 /**< who is idle for less is not evicted */
/** @} */

/** @return NULL if out of memory */
struct conns *conns_new(struct network *net, struct turn *turn);
/** Close all; memory goes when the loop has let go of it. NULL is fine. */
void conns_free(struct conns *conns);

/**
 * Serve an accepted socket.
 * @param fd     taken over
 * @param local  our address
 */
void conns_add(struct conns *conns, int fd, enum stack_kind kind, const struct sockaddr *peer,
	const struct sockaddr *local);
/** Close one connection that can be spared, now. @return false if there is none */
bool conns_evict(struct conns *conns);
/** No more messages; each is closed when its answers are out. */
void conns_finish(struct conns *conns);
size_t conns_count(const struct conns *conns);
