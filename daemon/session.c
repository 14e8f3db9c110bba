/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/session.h"

#include <string.h>
#include <uv.h>

#include "daemon/transport/tcp.h"
#include "daemon/transport/turn.h"

/** Look again at a session that waits for something without a deadline of its own. */
#define RECHECK_MS 10000
/** Unsent output below which reading goes on. */
#define OUT_RESUME (SESSION_OUT_MAX / 2)

struct session {
	const struct session_ops *ops;
	void *owner;
	const struct session_timers *timers;
	const size_t *pending_max;
	bool is_outgoing;
	union kr_sockaddr peer, local;

	uint64_t open_ms;    /**< when it began; after opening, when it was opened */
	uint64_t last_ms;    /**< last message or answer */
	uint64_t partial_ms; /**< when the unfinished message began; 0 = there is none */
	uint64_t fin_ms;     /**< when our end was sent; 0 = not yet */
	uint64_t armed_ms;   /**< when the timer fires */
	int broken;          /**< error with which it will be closed at the end of the turn */
	bool is_open;
	bool has_input; /**< at least one octet came */
	bool is_eof;
	bool is_finishing;
	bool is_told;           /**< ops->closed has been or must not be called */
	bool is_full;           /**< pending_max was reached */
	bool is_yielding;       /**< has had its share of this turn; goes on in the next */
	uint16_t turn_messages; /**< handed up in this turn */
	uint8_t handles;        /**< the loop's references to our memory */
	uv_timer_t timer;

	struct stack stack; /* last: the stages' states follow */
};

static struct session *session_of(struct stack *stack)
{
	return stack->owner;
}

static uint64_t now_ms(const struct session *s)
{
	return uv_now(s->stack.turn->loop);
}

static size_t pending(const struct session *s)
{
	return s->ops->pending ? s->ops->pending(s) : 0;
}

/* ---- end ---- */

static void let_go(struct session *s)
{
	if (--s->handles > 0)
		return;
	if (s->stack.len > 0)
		stack_deinit(&s->stack);
	free(s);
}

static void on_released(struct stack *stack)
{
	let_go(session_of(stack));
}

static void on_timer_closed(uv_handle_t *handle)
{
	let_go(handle->data);
}

void session_close(struct session *s)
{
	s->is_told = true;
	if (s->stack.is_closing)
		return;
	uv_timer_stop(&s->timer);
	uv_close((uv_handle_t *)&s->timer, on_timer_closed);
	stack_close(&s->stack);
}

static void close_and_tell(struct session *s, int err)
{
	const bool is_told = s->is_told;
	session_close(s);
	if (!is_told)
		s->ops->closed(s, err);
}

static void say_goodbye(struct session *s);

/** A stage that broke off (EPROTO) has told the peer why; that has to reach it. */
static void on_failed(struct stack *stack, int err)
{
	struct session *s = session_of(stack);
	if (err != kr_error(EPROTO) || s->fin_ms) {
		close_and_tell(s, err);
	} else if (s->is_outgoing) {
		stack_event(stack, STAGE_FLUSH);
		close_and_tell(s, err);
	} else {
		say_goodbye(s);
	}
}

uv_handle_t *session_get_handle(const struct session *s)
{
	return s && !s->stack.is_closing ? tcp_stage_handle(&s->stack.stages[0]) : NULL;
}

bool session_is_closing(const struct session *s)
{
	return s->stack.is_closing;
}

/* ---- time ---- */

static void earlier(uint64_t *due, uint64_t since, uint64_t limit_ms)
{
	if (limit_ms && since + limit_ms < *due)
		*due = since + limit_ms;
}

/** When this session will have been waiting for too long. */
static uint64_t deadline(const struct session *s)
{
	const struct session_timers *t = s->timers;
	uint64_t due = UINT64_MAX;
	if (s->fin_ms) {
		earlier(&due, s->fin_ms, SESSION_LINGER_MS);
		return due;
	}
	if (s->stack.out_bytes > 0)
		earlier(&due, s->stack.out_progress_ms, t->write_ms);
	if (!s->is_open) {
		earlier(&due, s->open_ms, t->open_ms);
		return due;
	}
	if (!s->has_input)
		earlier(&due, s->open_ms, t->first_ms);
	if (s->partial_ms && !s->stack.is_paused)
		earlier(&due, s->partial_ms, t->message_ms);
	if (!s->partial_ms && pending(s) == 0)
		earlier(&due, s->last_ms, t->idle_ms);
	return due;
}

static void on_timer(uv_timer_t *timer);

/** Make sure the timer does not fire later than it should; that it may be too early saves work. */
static void arm(struct session *s)
{
	if (s->stack.is_closing)
		return;
	const uint64_t now = now_ms(s);
	uint64_t due = deadline(s);
	if (due > now + RECHECK_MS)
		due = now + RECHECK_MS;
	if (s->armed_ms && s->armed_ms <= due)
		return;
	s->armed_ms = due;
	uv_timer_start(&s->timer, on_timer, due > now ? due - now : 0, 0);
}

static void say_goodbye(struct session *s)
{
	if (s->fin_ms || s->stack.is_closing)
		return;
	s->fin_ms = now_ms(s);
	int ret = stack_event(&s->stack, STAGE_SHUTDOWN);
	if (ret < 0) {
		close_and_tell(s, ret);
		return;
	}
	s->armed_ms = 0;
	arm(s);
}

static bool is_idle(const struct session *s)
{
	return s->is_open && s->stack.out_bytes == 0 && pending(s) == 0;
}

static void on_timer(uv_timer_t *timer)
{
	struct session *s = timer->data;
	s->armed_ms = 0;
	if (s->is_yielding) {
		s->is_yielding = false;
		s->turn_messages = 0;
		session_wake(s);
	}
	if (deadline(s) > now_ms(s)) {
		arm(s);
	} else if (!s->fin_ms && is_idle(s) && !s->is_outgoing) {
		say_goodbye(s); /* the peer sees an orderly end, and ours if it lingers on */
	} else {
		close_and_tell(s, s->fin_ms ? kr_ok() : kr_error(ETIMEDOUT));
	}
}

/* ---- messages ---- */

/** It is others' turn now, however much this peer has sent. */
static void yield(struct session *s)
{
	if (s->is_yielding || s->stack.is_closing)
		return;
	s->is_yielding = true;
	turn_count_busy(s->stack.turn);
	s->armed_ms = now_ms(s);
	uv_timer_start(&s->timer, on_timer, 0, 0);
}

static int on_message(struct stack *stack, struct bytes in)
{
	struct session *s = session_of(stack);
	if (s->is_finishing)
		return kr_ok(); /* too late */
	s->last_ms = now_ms(s);
	s->partial_ms = 0;
	s->has_input = true;
	s->ops->message(s, &stack->facts, in);
	if (++s->turn_messages >= turn_quota(stack->turn))
		yield(s);
	if (s->pending_max && pending(s) >= KR_MAX(*s->pending_max, 1))
		s->is_full = true;
	if (!s->is_full && !s->is_yielding && stack->out_bytes <= SESSION_OUT_MAX)
		return kr_ok();
	session_wake(s);
	return stack_pause(stack, true); /* at once, between two messages of one read */
}

/** Note what the last bytes meant for the timers. Runs at the end of each turn with traffic. */
static void note_progress(struct session *s)
{
	if (!s->stack.partial) {
		s->partial_ms = 0;
		return;
	}
	s->has_input = true;
	if (!s->partial_ms)
		s->partial_ms = now_ms(s);
}

static int resume_or_pause(struct session *s)
{
	const bool was_paused = s->stack.is_paused;
	const size_t limit = was_paused ? OUT_RESUME : SESSION_OUT_MAX;
	if (s->is_full && pending(s) * 2 < KR_MAX(*s->pending_max, 1))
		s->is_full = false;
	const bool is_paused = s->is_full || s->is_yielding || s->stack.out_bytes > limit;
	if (was_paused && !is_paused)
		s->partial_ms = 0; /* the time of our pause is not the peer's fault */
	return stack_pause(&s->stack, is_paused);
}

static void on_flushed(struct stack *stack)
{
	struct session *s = session_of(stack);
	int ret = s->broken ? s->broken : resume_or_pause(s);
	if (ret < 0) {
		close_and_tell(s, ret);
		return;
	}
	if (stack->is_closing)
		return;
	note_progress(s);
	if (!s->is_yielding)
		s->turn_messages = 0;
	if ((s->is_eof || s->is_finishing) && !s->fin_ms && s->stack.out_bytes == 0 &&
		pending(s) == 0 && !s->stack.is_paused)
		say_goodbye(s);
	arm(s);
}

static void on_event(struct stack *stack, enum stage_event ev)
{
	struct session *s = session_of(stack);
	if (ev == STAGE_EOF) {
		s->is_eof = true;
		session_wake(s);
	} else if (ev == STAGE_OPEN && !s->is_open) {
		s->is_open = true;
		s->open_ms = s->last_ms = now_ms(s);
		s->ops->open(s);
		arm(s);
	}
}

int session_send(struct session *s, const struct stage_facts *to, struct bytes msg)
{
	if (s->stack.is_closing || s->fin_ms)
		return kr_error(ECANCELED);
	s->last_ms = now_ms(s);
	int ret = stack_send(&s->stack, to, msg);
	if (ret < 0 && !s->broken)
		s->broken = ret; /* callers do not expect to be called back from here */
	session_wake(s);
	return ret;
}

void session_wake(struct session *s)
{
	if (!s->stack.is_closing)
		turn_schedule(&s->stack);
}

void session_finish(struct session *s)
{
	s->is_finishing = true;
	session_wake(s);
}

/* ---- life ---- */

static const struct stack_ops stack_ops = {
	.message = on_message,
	.event = on_event,
	.failed = on_failed,
	.flushed = on_flushed,
	.released = on_released,
};

static void close_unstarted(struct session *s)
{
	s->is_told = true;
	uv_close((uv_handle_t *)&s->timer, on_timer_closed);
	if (s->stack.len > 0)
		stack_close(&s->stack);
	else
		s->handles -= 1;
}

int session_new(const struct session_param *param, struct session **out)
{
	const size_t size = offsetof(struct session, stack) + stack_kind_size(param->kind);
	struct session *s = calloc(1, size);
	if (!s)
		return kr_error(ENOMEM);
	*s = (struct session){.ops = param->ops,
		.owner = param->owner,
		.timers = param->timers,
		.pending_max = param->pending_max,
		.is_outgoing = param->is_outgoing,
		.handles = 2};
	memcpy(&s->peer, param->peer, kr_sockaddr_len(param->peer));
	if (param->local)
		memcpy(&s->local, param->local, kr_sockaddr_len(param->local));
	uv_timer_init(param->turn->loop, &s->timer);
	s->timer.data = s;
	int ret = stack_start(&s->stack, param->kind, param->stages, &stack_ops, s, param->turn);
	if (ret != 0) {
		close_unstarted(s);
		return ret;
	}
	struct stage_facts *facts = &s->stack.facts;
	facts->addr = &s->peer.ip;
	facts->dst_addr = param->local ? &s->local.ip : NULL;
	facts->flags.tcp = facts->comm_flags.tcp = true;
	s->open_ms = s->last_ms = now_ms(s);
	*out = s;
	arm(s);
	if (param->is_outgoing)
		return kr_ok();
	ret = stage_event(&s->stack.stages[0], STAGE_OPEN);
	if (ret < 0)
		session_close(s);
	return ret;
}

void *session_owner(const struct session *s)
{
	return s->owner;
}

const struct sockaddr *session_peer(const struct session *s)
{
	return &s->peer.ip;
}

uint64_t session_last_ms(const struct session *s)
{
	return s->last_ms;
}
