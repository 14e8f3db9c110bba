/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * The interface of a transport stage and the stack that holds them. A stack is a list of stages
 * from the network (bottom) to DNS messages (top); bytes travel with stage_up() and stage_down(),
 * and a stage never sees who stands above or below. Only the bottom stage owns a handle of the
 * loop. Client and server side are the same files with another parameter.
 *
 * A stack may be closed while one of its stages is at work (a message is answered with closing);
 * memory is released later, from the loop. Stages that deliver several times in a row look at
 * stage_is_held() in between.
 */
#pragma once

#include <sys/socket.h>

#include "daemon/transport/bytes.h"
#include "lib/defines.h"
#include "lib/request.h"

struct stage;
struct stack;
struct turn;

/** What happens besides bytes. */
enum stage_event {
	/* Upwards. */
	STAGE_OPEN, /**< bytes may be sent: connected, handshake done */
	STAGE_EOF,  /**< the peer sends nothing more */
	/* Downwards. */
	STAGE_FLUSH,    /**< end of the loop turn: send what was gathered */
	STAGE_CUT,      /**< an answer ends here; records that are cut, are cut here */
	STAGE_PAUSE,    /**< deliver nothing until STAGE_RESUME */
	STAGE_RESUME,   /**< deliver what was held back, then go on */
	STAGE_SHUTDOWN, /**< all is said: say goodbye after it */
	STAGE_CLOSE, /**< give the handle back; the bottom stage calls stack_released() when done */
};
#define STAGE_EVENT_IS_UP(ev) ((ev) <= STAGE_EOF)

/** One floor of a transport stack. */
struct stage_ops {
	const char *name;
	size_t state_size; /**< bytes of zeroed state the stack keeps for us */
	/** @param param  of this kind of stage, lent; see stacks.h */
	int (*init)(struct stage *st, const void *param);
	/** network -> DNS; `in` is only lent. An error closes the stack. NULL = pass on */
	int (*up)(struct stage *st, struct bytes in);
	/** DNS -> network; copy to keep. in.at NULL: no answer will come for stack::to. NULL = pass
	 * on */
	int (*down)(struct stage *st, struct bytes out);
	int (*event)(struct stage *st, enum stage_event ev); /**< NULL = pass it on */
	void (*deinit)(struct stage *st);                    /**< NULL = nothing to do */
};

/** What the stages learn about a message; rides beside the bytes. Pointers are lent. */
struct stage_facts {
	const struct sockaddr *addr; /**< the client */
	const struct sockaddr
		*comm_addr; /**< the peer if it speaks for the client (PROXYv2), else NULL */
	const struct sockaddr *dst_addr;            /**< address the client asked */
	struct kr_request_qsource_flags flags;      /**< how the client came */
	struct kr_request_qsource_flags comm_flags; /**< how the peer came */
	int32_t stream_id;                          /**< or -1 */
	const kr_http_header_array_t *headers;      /**< NULL = none */
	uint32_t max_age_s; /**< downwards: how long the answer may be kept by HTTP caches */
	bool is_malformed;  /**< downwards, without an answer: because the message was no DNS query
			     */
};

/** Whoever stands on top of a stack. */
struct stack_ops {
	/** A whole message, described by stack->facts. @return error: close */
	int (*message)(struct stack *stack, struct bytes in);
	/** STAGE_OPEN or STAGE_EOF came through. */
	void (*event)(struct stack *stack, enum stage_event ev);
	/** The bottom stage cannot go on: 0 = the peer has closed. The owner should call
	 * stack_close(). */
	void (*failed)(struct stack *stack, int err);
	/** The turn ends and STAGE_FLUSH has been through. NULL = nothing to do */
	void (*flushed)(struct stack *stack);
	/** After stack_close(): the handles are gone; stack_deinit() and free the memory. */
	void (*released)(struct stack *stack);
};

#define STACK_MAX 5 /**< most stages of a stack */

struct stage {
	const struct stage_ops *ops;
	struct stack *stack;
	void *state;
	uint8_t index;
};

struct stack {
	const struct stack_ops *ops;
	void *owner;
	struct turn *turn;       /**< buffers shared by all stacks of a loop */
	struct stack *turn_next; /**< in the list of those to be flushed */

	struct stage_facts facts; /**< of the message on its way up */
	const struct stage_facts
		*to; /**< of the message on its way down; NULL: none in particular */

	size_t out_bytes;         /**< taken for sending, not yet taken by the kernel */
	uint64_t out_progress_ms; /**< when the kernel last took some, or out_bytes became > 0 */
	size_t held_bytes;        /**< memory held for the peer, see stage_hold() */

	uint8_t len;
	uint8_t partial; /**< bit per stage: holds a part of a message */
	bool is_flush_due;
	bool is_paused;
	bool is_closing;
	struct stage stages[STACK_MAX];
	/* The stages' states follow. */
};

/** What a stage is made of in a list of stages. */
struct stack_item {
	const struct stage_ops *ops;
	const void *param;
};

/** Bytes of a stack with these stages. */
size_t stack_size(const struct stack_item *items, size_t len);
/**
 * Start all stages, from the bottom to the top.
 * @param stack  zeroed memory of stack_size() bytes
 * @return 0 or the error of the stage that failed. If stack->len > 0 then, some are running: call
 *         stack_close() and go on from stack_ops::released. Else the memory may be freed.
 */
int stack_init(struct stack *stack, const struct stack_ops *ops, void *owner, struct turn *turn,
	const struct stack_item *items, size_t len);
/** Stop all stages, from the top to the bottom. Only after stack_ops::released. */
void stack_deinit(struct stack *stack);

/** Send a message. @param to  whom; NULL for stacks with one peer @return error: broken, close it
 */
int stack_send(struct stack *stack, const struct stage_facts *to, struct bytes msg);
/** Tell the stages from the top. */
int stack_event(struct stack *stack, enum stage_event ev);
/** Hold messages back, or go on. @return error: broken, close it */
int stack_pause(struct stack *stack, bool is_paused);
/** Stop at once; stack_ops::released follows, nothing else. */
void stack_close(struct stack *stack);
/** For bottom stages: the handles are gone. */
void stack_released(struct stack *stack);
/** For bottom stages: report a failure. */
void stack_failed(struct stack *stack, int err);

/** Hand bytes to the stage above. */
int stage_up(struct stage *st, struct bytes in);
/** Hand bytes to the stage below. */
int stage_down(struct stage *st, struct bytes out);
/** Hand an event on in its direction. */
int stage_event(struct stage *st, enum stage_event ev);
/** Ask for STAGE_FLUSH at the end of this loop turn. */
void stage_want_flush(struct stage *st);
/** Say whether a part of a message is held here; the peer has limited time to complete it. */
void stage_set_partial(struct stage *st, bool is_partial);
/**
 * Account for memory held on behalf of the peer.
 * @return 0; kr_error(ENOBUFS) the process holds too much (B-45): drop the connection
 */
int stage_hold(struct stage *st, size_t was, size_t is);

static inline void *stage_state(const struct stage *st)
{
	return st->state;
}
/** True if nothing may be delivered now. */
static inline bool stage_is_held(const struct stage *st)
{
	return st->stack->is_paused || st->stack->is_closing;
}
