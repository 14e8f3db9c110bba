/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * One request under way: its arena, its question, the crank between lib/resolve and
 * daemon/upstream, its deadlines. Tasks are recycled with their arena; a task that never waits
 * allocates nothing. daemon/worker admits tasks and is told when they end.
 */
#pragma once

#include "daemon/inquiry.h"
#include "daemon/netio.h"
#include "daemon/upstream.h"
#include "daemon/worker.h"
#include "lib/resolve.h"

struct qr_task;
struct task_scratch;

/** The task has ended and its finish hooks have run; the answer is in task->req.answer. */
typedef void (*task_end_f)(struct qr_task *task);

struct qr_task {
	struct kr_request req; /**< must be first */
	struct worker_ctx *worker;
	struct upstream *up;
	struct task_scratch *scratch;
	task_end_f on_end;

	/* Work. */
	struct upstream_waiter waiter;
	struct upstream_ledger ledger;
	struct kr_transport *transport; /**< whom we asked last */
	knot_pkt_t *pkt;                /**< working packet, its wire is lent for each step */
	struct netio_timer deadline;    /**< B-30 */
	struct netio_timer pause;       /**< B-31, B-32 */
	uint64_t start_ms;              /**< never changes: who came first goes first (A-09) */
	uint64_t cpu_us;
	bool is_running;
	bool is_ended;

	/* The worker's. */
	struct qr_task *prev, *next;               /**< all tasks, oldest first */
	struct qr_task *same_prev, *same_next;     /**< same bucket of questions, oldest first */
	struct qr_task *client_prev, *client_next; /**< same client */
	struct worker_client *client;              /**< NULL = internal or gone */
	struct worker_query query;                 /**< addresses point into this task */
	union kr_sockaddr addr, comm_addr, dst_addr;
	struct inquiry inquiry;
	uint32_t client_class; /**< for the answer cache */
	uint64_t generation;   /**< of the configuration the request began with */
	uint64_t question_hash;
	uint64_t prefix_key; /**< 0 = not counted */
	int *end_state;      /**< where to leave the state it ended with, or NULL */
	bool is_listed;
	bool is_silent; /**< pushed out: nothing is sent */
};

#define TASK_DEPTH_MAX 16 /**< requests started from hooks of requests */

/**
 * Wires of working packets. What is in one is dead between two steps, so requests share them; only
 * one that is started from inside a hook needs another.
 */
struct task_scratch {
	uint8_t *wires[TASK_DEPTH_MAX];
	int depth;
};
void task_scratch_deinit(struct task_scratch *scratch);

/** @return a task with an empty arena, or NULL; give it back with task_free() */
struct qr_task *task_new(struct worker_ctx *worker, struct upstream *up,
	struct task_scratch *scratch, task_end_f on_end);
/** Forget the request, keep task and arena for the next one. */
void task_reset(struct qr_task *task);
/**
 * Forget the request and give the arena back. The task itself stays, so that whoever kept a pointer
 * to the request (a Lua script) finds one that has ended. task_dress() makes it fit again.
 */
void task_strip(struct qr_task *task);
/** @return 0 or kr_error(ENOMEM) */
int task_dress(struct qr_task *task);
void task_free(struct qr_task *task);

/** Start over a request: kr_resolve_begin() with the callbacks of this daemon. */
void task_begin(struct qr_task *task);
/** Put the question in and work until something has to be waited for. May end the task. */
void task_start(struct qr_task *task, knot_pkt_t *question);
/** End now: state KR_STATE_FAIL or DONE. Not while it is running. */
void task_end(struct qr_task *task, int state);

/** Parse a copy of a message on the arena. @return NULL if malformed or out of memory */
knot_pkt_t *task_parse(struct qr_task *task, struct bytes wire);

static inline struct qr_task *task_of(struct upstream_waiter *waiter)
{
	return (struct qr_task *)((char *)waiter - offsetof(struct qr_task, waiter));
}

/** Callback of struct upstream. */
void task_answered(struct upstream_waiter *waiter, const struct upstream_outcome *outcome);
/** Callback of struct upstream. */
void task_near_miss(struct upstream_waiter *waiter, const struct kr_transport *via);
