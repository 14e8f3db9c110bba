/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * What all stacks of a loop share: the buffer into which streams read, the memory they hold
 * together, and the end of a loop turn, when everything gathered in it is sent at once.
 */
#pragma once

#include <uv.h>

#include "lib/defines.h"

struct stack;
struct udp_batch;

/** Bytes read from one stream at a time. Larger costs fairness, smaller costs system calls. */
#define TURN_READ_MAX (16 * 1024)
/** Memory held for peers by all stacks of a loop, in and out, B-45. */
#define TURN_HELD_MAX (64 * 1024 * 1024)
/** Messages of streams served in one turn, shared by those who have that many; else one peer that
 * pipelines without end would have all others wait. @{ */
#define TURN_MESSAGES_MAX 256
#define TURN_QUOTA_MAX 128 /**< of one stream */
#define TURN_QUOTA_MIN 2
/** @} */
/** Datagrams waiting for sockets that took no more, F-20. */
#define TURN_UDP_BACKLOG_MAX (1024 * 1024)

struct turn {
	uv_loop_t *loop;
	struct stack *flush_first; /**< stacks to be flushed at the end of this turn */
	size_t held_bytes;         /**< see TURN_HELD_MAX */
	size_t busy, busy_before;  /**< streams that had more to say, in this turn and the last */

	size_t udp_backlog_bytes;
	size_t udp_drops;      /**< datagrams the kernel would not take */
	struct udp_batch *udp; /**< made by the first UDP stage */

	void (*on_end)(void *baton); /**< called after everything was flushed; may be NULL */
	void *on_end_baton;
	uv_check_t check;
	uv_prepare_t prepare;
	size_t refs; /**< handles of ours and stacks that use this memory */
	uint8_t read_buf[TURN_READ_MAX];
};

/** @return NULL if out of memory */
struct turn *turn_new(uv_loop_t *loop);
/** Give the handles back; memory goes with the last stack. Its stacks must have been closed. */
void turn_free(struct turn *turn);
/** @name For stacks; NULL is fine @{ */
void turn_ref(struct turn *turn);
void turn_unref(struct turn *turn);
/** @} */
/** Send what was gathered now. */
void turn_flush(struct turn *turn);

/** Messages that one stream may hand up in this turn. */
static inline size_t turn_quota(const struct turn *turn)
{
	const size_t share = TURN_MESSAGES_MAX / (KR_MAX(turn->busy, turn->busy_before) + 1);
	return KR_MAX(KR_MIN(share, TURN_QUOTA_MAX), TURN_QUOTA_MIN);
}
/** A stream has reached its quota. */
static inline void turn_count_busy(struct turn *turn)
{
	turn->busy += 1;
}

/** Have the stack told STAGE_FLUSH at the end of this turn. */
void turn_schedule(struct stack *stack);
/** The stack goes away. */
void turn_forget(struct stack *stack);
/** Count memory held; see stage_hold(). @param turn NULL in tests of byte machines */
int turn_hold(struct turn *turn, size_t was, size_t is);
