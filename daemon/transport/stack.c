/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/transport/stage.h"

#include <stdalign.h>
#include <string.h>

#include "daemon/transport/turn.h"
#include "lib/check.h"

/** State sizes are rounded up to this. */
static size_t padded(size_t size)
{
	const size_t unit = alignof(max_align_t);
	return (size + unit - 1) / unit * unit;
}

size_t stack_size(const struct stack_item *items, size_t len)
{
	size_t size = padded(sizeof(struct stack));
	for (size_t i = 0; i < len; ++i)
		size += padded(items[i].ops->state_size);
	return size;
}

int stack_init(struct stack *stack, const struct stack_ops *ops, void *owner, struct turn *turn,
	const struct stack_item *items, size_t len)
{
	if (kr_fails_assert(len >= 1 && len <= STACK_MAX))
		return kr_error(EINVAL);
	stack->ops = ops;
	stack->owner = owner;
	stack->turn = turn;
	stack->facts.stream_id = -1;
	stack->len = len;
	uint8_t *state = (uint8_t *)stack + padded(sizeof(*stack));
	for (size_t i = 0; i < len; ++i) {
		stack->stages[i] = (struct stage){
			.ops = items[i].ops, .stack = stack, .state = state, .index = i};
		state += padded(items[i].ops->state_size);
	}
	turn_ref(turn);
	for (size_t i = 0; i < len; ++i) {
		struct stage *st = &stack->stages[i];
		int ret = st->ops->init ? st->ops->init(st, items[i].param) : kr_ok();
		if (ret == 0)
			continue;
		stack->len = i; /* those which have to be stopped */
		if (i == 0)
			turn_unref(turn);
		return ret;
	}
	return kr_ok();
}

void stack_deinit(struct stack *stack)
{
	turn_forget(stack);
	while (stack->len > 0) {
		struct stage *st = &stack->stages[--stack->len];
		if (st->ops->deinit)
			st->ops->deinit(st);
	}
	turn_unref(stack->turn);
}

int stage_up(struct stage *st, struct bytes in)
{
	struct stack *stack = st->stack;
	for (size_t i = st->index + 1; i < stack->len; ++i)
		if (stack->stages[i].ops->up)
			return stack->stages[i].ops->up(&stack->stages[i], in);
	return stack->ops->message(stack, in);
}

int stage_down(struct stage *st, struct bytes out)
{
	struct stack *stack = st->stack;
	for (size_t i = st->index; i > 0; --i)
		if (stack->stages[i - 1].ops->down)
			return stack->stages[i - 1].ops->down(&stack->stages[i - 1], out);
	return kr_error(ENOTSUP);
}

static int event_up(struct stack *stack, size_t from, enum stage_event ev)
{
	for (size_t i = from; i < stack->len; ++i)
		if (stack->stages[i].ops->event)
			return stack->stages[i].ops->event(&stack->stages[i], ev);
	stack->ops->event(stack, ev);
	return kr_ok();
}

static int event_down(struct stack *stack, size_t from, enum stage_event ev)
{
	for (size_t i = from; i > 0; --i)
		if (stack->stages[i - 1].ops->event)
			return stack->stages[i - 1].ops->event(&stack->stages[i - 1], ev);
	return kr_ok();
}

int stage_event(struct stage *st, enum stage_event ev)
{
	return STAGE_EVENT_IS_UP(ev) ? event_up(st->stack, st->index + 1, ev)
				     : event_down(st->stack, st->index, ev);
}

int stack_event(struct stack *stack, enum stage_event ev)
{
	return stack->is_closing ? kr_ok() : event_down(stack, stack->len, ev);
}

int stack_send(struct stack *stack, const struct stage_facts *to, struct bytes msg)
{
	if (stack->is_closing)
		return kr_error(ECANCELED);
	stack->to = to;
	struct stage *top = &stack->stages[stack->len - 1];
	int ret = top->ops->down ? top->ops->down(top, msg) : stage_down(top, msg);
	stack->to = NULL;
	return ret;
}

int stack_pause(struct stack *stack, bool is_paused)
{
	if (stack->is_paused == is_paused || stack->is_closing)
		return kr_ok();
	stack->is_paused = is_paused;
	return event_down(stack, stack->len, is_paused ? STAGE_PAUSE : STAGE_RESUME);
}

void stack_close(struct stack *stack)
{
	if (stack->is_closing)
		return;
	stack->is_closing = true;
	turn_forget(stack);
	struct stage *bottom = &stack->stages[0];
	if (bottom->ops->event)
		bottom->ops->event(bottom, STAGE_CLOSE);
	else
		stack_released(stack);
}

void stack_released(struct stack *stack)
{
	stack->ops->released(stack);
}

void stack_failed(struct stack *stack, int err)
{
	if (!stack->is_closing)
		stack->ops->failed(stack, err);
}

void stage_want_flush(struct stage *st)
{
	if (!st->stack->is_closing)
		turn_schedule(st->stack);
}

void stage_set_partial(struct stage *st, bool is_partial)
{
	const uint8_t bit = 1u << st->index;
	if (!is_partial) {
		st->stack->partial &= ~bit;
		return;
	}
	st->stack->partial |= bit;
	stage_want_flush(st); /* the end of the turn looks after the time limit */
}

int stage_hold(struct stage *st, size_t was, size_t is)
{
	struct stack *stack = st->stack;
	stack->held_bytes += is - was;
	return turn_hold(stack->turn, was, is);
}
