/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/transport/turn.h"

#include "daemon/transport/stage.h"
#include "daemon/transport/udp.h"

static void flush_stacks(struct turn *turn)
{
	struct stack *stack;
	while ((stack = turn->flush_first)) {
		turn->flush_first = stack->turn_next;
		stack->is_flush_due = false;
		int ret = stack_event(stack, STAGE_FLUSH);
		if (ret < 0)
			stack_failed(stack, ret);
		else if (stack->ops->flushed && !stack->is_closing)
			stack->ops->flushed(stack);
	}
}

void turn_flush(struct turn *turn)
{
	flush_stacks(turn);
	if (turn->udp)
		udp_batch_flush(turn->udp);
}

static void on_end(struct turn *turn)
{
	turn_flush(turn);
	if (turn->on_end)
		turn->on_end(turn->on_end_baton);
}

/** After the callbacks of sockets. */
static void on_check(uv_check_t *check)
{
	on_end(check->data);
}

/** After timers, which come before or after the sockets depending on libuv's version. */
static void on_prepare(uv_prepare_t *prepare)
{
	struct turn *turn = prepare->data;
	on_end(turn);
	turn->busy_before = turn->busy;
	turn->busy = 0;
}

struct turn *turn_new(uv_loop_t *loop)
{
	struct turn *turn = calloc(1, sizeof(*turn));
	if (!turn)
		return NULL;
	turn->loop = loop;
	turn->check.data = turn->prepare.data = turn;
	turn->refs = 2;
	uv_check_init(loop, &turn->check);
	uv_check_start(&turn->check, on_check);
	uv_prepare_init(loop, &turn->prepare);
	uv_prepare_start(&turn->prepare, on_prepare);
	/* Alone they do not keep a loop running. */
	uv_unref((uv_handle_t *)&turn->check);
	uv_unref((uv_handle_t *)&turn->prepare);
	return turn;
}

void turn_ref(struct turn *turn)
{
	if (turn)
		turn->refs += 1;
}

void turn_unref(struct turn *turn)
{
	if (!turn || --turn->refs > 0)
		return;
	udp_batch_free(turn->udp);
	free(turn);
}

static void on_handle_closed(uv_handle_t *handle)
{
	turn_unref(handle->data);
}

void turn_free(struct turn *turn)
{
	if (!turn)
		return;
	turn->on_end = NULL;
	uv_close((uv_handle_t *)&turn->check, on_handle_closed);
	uv_close((uv_handle_t *)&turn->prepare, on_handle_closed);
}

void turn_schedule(struct stack *stack)
{
	if (stack->is_flush_due || !stack->turn)
		return;
	stack->is_flush_due = true;
	stack->turn_next = stack->turn->flush_first;
	stack->turn->flush_first = stack;
}

void turn_forget(struct stack *stack)
{
	if (!stack->is_flush_due)
		return;
	struct stack **at = &stack->turn->flush_first;
	while (*at && *at != stack)
		at = &(*at)->turn_next;
	if (*at)
		*at = stack->turn_next;
	stack->is_flush_due = false;
}

int turn_hold(struct turn *turn, size_t was, size_t is)
{
	if (!turn)
		return kr_ok();
	turn->held_bytes += is - was;
	return is > was && turn->held_bytes > TURN_HELD_MAX ? kr_error(ENOBUFS) : kr_ok();
}
