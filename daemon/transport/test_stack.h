/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * For tests of byte machines: a bottom stage made of arrays and a top that records. Feed bytes with
 * rig_feed(), look at rig.out and rig.messages.
 */
#pragma once

#include <string.h>

#include "daemon/transport/stage.h"
#include "lib/generic/array.h"

struct rig_message {
	uint8_t *wire;
	size_t len;
	union kr_sockaddr addr, dst;
	bool is_proxied;
	struct kr_request_qsource_flags flags, comm_flags;
	int32_t stream_id;
};

struct rig {
	struct stack *stack;
	array_t(uint8_t) out;
	array_t(struct rig_message) messages;
	size_t pause_after; /**< pause when that many messages have come; 0 = never */
	unsigned cuts;      /**< STAGE_CUT that reached the bottom */
	bool is_open, is_eof, is_shut, is_released;
};

static int rig_bottom_down(struct stage *st, struct bytes out)
{
	struct rig *rig = st->stack->owner;
	for (size_t i = 0; i < out.len; ++i)
		(void)array_push(rig->out, out.at[i]);
	return kr_ok();
}

static int rig_bottom_event(struct stage *st, enum stage_event ev)
{
	struct rig *rig = st->stack->owner;
	if (ev == STAGE_CUT)
		rig->cuts += 1;
	if (ev == STAGE_SHUTDOWN)
		rig->is_shut = true;
	if (ev == STAGE_CLOSE)
		stack_released(st->stack);
	return kr_ok();
}

static const struct stage_ops rig_bottom = {
	.name = "rig", .down = rig_bottom_down, .event = rig_bottom_event};

static int rig_message(struct stack *stack, struct bytes in)
{
	struct rig *rig = stack->owner;
	const struct stage_facts *facts = &stack->facts;
	struct rig_message msg = {.wire = malloc(in.len + 1),
		.len = in.len,
		.is_proxied = facts->comm_addr,
		.flags = facts->flags,
		.comm_flags = facts->comm_flags,
		.stream_id = facts->stream_id};
	memcpy(msg.wire, in.at, in.len);
	if (facts->addr)
		memcpy(&msg.addr, facts->addr, kr_sockaddr_len(facts->addr));
	if (facts->dst_addr)
		memcpy(&msg.dst, facts->dst_addr, kr_sockaddr_len(facts->dst_addr));
	(void)array_push(rig->messages, msg);
	if (rig->pause_after && rig->messages.len % rig->pause_after == 0)
		return stack_pause(stack, true);
	return kr_ok();
}

static void rig_event(struct stack *stack, enum stage_event ev)
{
	struct rig *rig = stack->owner;
	if (ev == STAGE_OPEN)
		rig->is_open = true;
	if (ev == STAGE_EOF)
		rig->is_eof = true;
}

static void rig_failed(struct stack *stack, int err) {}

static void rig_released(struct stack *stack)
{
	struct rig *rig = stack->owner;
	rig->is_released = true;
}

static const struct stack_ops rig_ops = {
	.message = rig_message, .event = rig_event, .failed = rig_failed, .released = rig_released};

/** Build a stack of our bottom and one or two stages. */
static inline int rig_init(struct rig *rig, const struct stack_item *items, size_t len)
{
	struct stack_item all[STACK_MAX] = {{&rig_bottom, NULL}};
	memcpy(all + 1, items, len * sizeof(*items));
	memset(rig, 0, sizeof(*rig));
	rig->stack = calloc(1, stack_size(all, len + 1));
	return stack_init(rig->stack, &rig_ops, rig, NULL, all, len + 1);
}

/** @return of the lowest stage, as the bottom would get it */
static inline int rig_feed(struct rig *rig, const void *at, size_t len)
{
	/* A copy of exact size, so that reading past the end is found. */
	uint8_t *copy = malloc(len ? len : 1);
	memcpy(copy, at, len);
	int ret = stage_up(&rig->stack->stages[0], (struct bytes){copy, len});
	free(copy);
	return ret;
}

static inline int rig_tell(struct rig *rig, enum stage_event ev)
{
	return STAGE_EVENT_IS_UP(ev) ? stage_event(&rig->stack->stages[0], ev)
				     : stack_event(rig->stack, ev);
}

static inline void rig_deinit(struct rig *rig)
{
	stack_close(rig->stack);
	stack_deinit(rig->stack);
	free(rig->stack);
	for (size_t i = 0; i < rig->messages.len; ++i)
		free(rig->messages.at[i].wire);
	array_clear(rig->messages);
	array_clear(rig->out);
}
