/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Bottom stage of a listening UDP socket. Datagrams are read in batches and answers leave in
 * batches at the end of the loop turn; nothing is allocated for either. What the kernel does not
 * take waits in a bounded backlog, then is dropped and counted (F-20).
 */
#pragma once

#include "daemon/transport/stage.h"
#include "lib/addr.h"

/** Datagrams read in one wake-up, so that others get their turn, and sent by one call. */
#define UDP_BATCH_MAX 64
/** Octets read of a datagram. More is cut off and thus malformed. */
#define UDP_QUERY_MAX 4096

struct udp_batch;

struct udp_param {
	int fd; /**< bound and non-blocking; ours from now on, also if init fails */
	const union kr_sockaddr *local; /**< where it is bound; copied */
};

extern const struct stage_ops udp_stage;

/** Read until the queue is empty (F-38); what is read goes up as usual. */
void udp_read_all(struct stack *stack);

/** @name For turn.c @{ */
void udp_batch_flush(struct udp_batch *batch);
void udp_batch_free(struct udp_batch *batch);
/** @} */
