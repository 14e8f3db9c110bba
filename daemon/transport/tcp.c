/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/transport/tcp.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "daemon/transport/turn.h"

/** Reads of one wake-up; then it is others' turn. */
#define READS_MAX 4
/** First size of the output buffer. */
#define OUT_MIN 1024

struct tcp_state {
	struct stage *st;
	uv_poll_t poll;
	int fd;
	int watched; /**< events asked of libuv */
	bool is_connecting;
	bool is_eof;      /**< the peer will send no more */
	bool wants_fin;   /**< after all output */
	bool is_fin_sent; /**< input is thrown away now */
	uint8_t *out;
	size_t out_len, out_sent, out_cap;
};

static void on_poll(uv_poll_t *poll, int status, int events);

static void watch(struct tcp_state *tcp)
{
	const struct stack *stack = tcp->st->stack;
	int events = 0;
	if (tcp->is_connecting || tcp->out_len > 0)
		events |= UV_WRITABLE;
	if (!tcp->is_connecting && !tcp->is_eof && (!stack->is_paused || tcp->is_fin_sent))
		events |= UV_READABLE;
	if (events == tcp->watched)
		return;
	tcp->watched = events;
	if (events)
		uv_poll_start(&tcp->poll, events, on_poll);
	else
		uv_poll_stop(&tcp->poll);
}

/* ---- sending ---- */

static void drop_output(struct tcp_state *tcp)
{
	stage_hold(tcp->st, tcp->out_cap, 0);
	free(tcp->out);
	tcp->out = NULL;
	tcp->out_len = tcp->out_sent = tcp->out_cap = 0;
	tcp->st->stack->out_bytes = 0;
}

static int reserve_output(struct tcp_state *tcp, size_t more)
{
	if (more <= tcp->out_cap - tcp->out_len)
		return kr_ok();
	size_t cap = tcp->out_cap ? tcp->out_cap : OUT_MIN;
	while (cap - tcp->out_len < more)
		cap *= 2;
	uint8_t *out = realloc(tcp->out, cap);
	if (!out)
		return kr_error(ENOMEM);
	int ret = stage_hold(tcp->st, tcp->out_cap, cap);
	tcp->out = out;
	tcp->out_cap = cap;
	return ret;
}

static int tcp_down(struct stage *st, struct bytes out)
{
	struct tcp_state *tcp = stage_state(st);
	if (out.len == 0)
		return kr_ok();
	if (tcp->wants_fin)
		return kr_error(EPIPE);
	int ret = reserve_output(tcp, out.len);
	if (ret != 0)
		return ret;
	if (tcp->out_len == 0)
		st->stack->out_progress_ms = uv_now(st->stack->turn->loop);
	memcpy(tcp->out + tcp->out_len, out.at, out.len);
	tcp->out_len += out.len;
	st->stack->out_bytes += out.len;
	stage_want_flush(st);
	return kr_ok();
}

/** @return 0 all sent or has to wait; an error of the socket */
static int write_output(struct tcp_state *tcp)
{
	struct stack *stack = tcp->st->stack;
	while (tcp->out_sent < tcp->out_len) {
		ssize_t ret = send(tcp->fd, tcp->out + tcp->out_sent, tcp->out_len - tcp->out_sent,
			MSG_NOSIGNAL | MSG_DONTWAIT);
		if (ret < 0 && errno == EINTR)
			continue;
		if (ret < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return kr_ok();
		if (ret < 0)
			return kr_error(errno);
		tcp->out_sent += ret;
		stack->out_bytes -= ret;
		stack->out_progress_ms = uv_now(stack->turn->loop);
	}
	if (tcp->out)
		drop_output(tcp);
	return kr_ok();
}

static int flush(struct tcp_state *tcp)
{
	if (tcp->is_connecting)
		return kr_ok();
	int ret = write_output(tcp);
	if (ret != 0)
		return ret;
	if (tcp->wants_fin && tcp->out_len == 0 && !tcp->is_fin_sent) {
		tcp->is_fin_sent = true;
		if (shutdown(tcp->fd, SHUT_WR) != 0)
			return kr_error(errno);
		if (tcp->is_eof)
			stack_failed(tcp->st->stack, kr_ok()); /* both have said all */
	}
	if (!tcp->st->stack->is_closing)
		watch(tcp);
	return kr_ok();
}

/* ---- receiving ---- */

static int on_connected(struct tcp_state *tcp)
{
	int err = 0;
	socklen_t len = sizeof(err);
	if (getsockopt(tcp->fd, SOL_SOCKET, SO_ERROR, &err, &len) != 0)
		err = errno;
	if (err)
		return kr_error(err);
	tcp->is_connecting = false;
	watch(tcp);
	stage_want_flush(tcp->st);
	return stage_event(tcp->st, STAGE_OPEN);
}

static int on_eof(struct tcp_state *tcp)
{
	tcp->is_eof = true;
	watch(tcp);
	if (tcp->is_fin_sent) {
		stack_failed(tcp->st->stack, kr_ok());
		return kr_ok();
	}
	return stage_event(tcp->st, STAGE_EOF);
}

/** Read what is there. @return 0 or an error: the stack cannot go on */
static int read_input(struct tcp_state *tcp)
{
	struct stack *stack = tcp->st->stack;
	for (int i = 0; i < READS_MAX && !stack->is_closing; ++i) {
		if (tcp->is_eof || (stack->is_paused && !tcp->is_fin_sent))
			return kr_ok();
		uint8_t *buf = stack->turn->read_buf;
		ssize_t got = recv(tcp->fd, buf, TURN_READ_MAX, MSG_DONTWAIT);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return errno == EAGAIN || errno == EWOULDBLOCK ? kr_ok() : kr_error(errno);
		if (got == 0)
			return on_eof(tcp);
		if (!tcp->is_fin_sent) {
			int ret = stage_up(tcp->st, (struct bytes){buf, got});
			if (ret < 0)
				return ret;
		}
		if (got < TURN_READ_MAX)
			return kr_ok();
	}
	return kr_ok();
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
	struct tcp_state *tcp = poll->data;
	struct stack *stack = tcp->st->stack;
	int ret = kr_ok();
	if (status < 0) {
		/* libuv has stopped watching: there is an error, maybe behind some data. */
		tcp->watched = 0;
		events = tcp->is_connecting ? UV_WRITABLE : UV_READABLE;
	}
	if (tcp->is_connecting && (events & UV_WRITABLE)) {
		ret = on_connected(tcp);
	} else if (events & UV_WRITABLE) {
		ret = flush(tcp);
		stage_want_flush(tcp->st); /* stages above may have held back more */
	}
	if (ret == 0 && (events & UV_READABLE) && !stack->is_closing)
		ret = read_input(tcp);
	if (ret == 0 && status < 0)
		ret = kr_error(ECONNRESET);
	if (ret < 0)
		stack_failed(stack, ret);
}

/* ---- life ---- */

static int tcp_init(struct stage *st, const void *param)
{
	const struct tcp_param *p = param;
	struct tcp_state *tcp = stage_state(st);
	tcp->st = st;
	tcp->fd = p->fd;
	tcp->is_connecting = p->is_connecting;
	int ret = uv_poll_init(st->stack->turn->loop, &tcp->poll, tcp->fd);
	if (ret < 0) {
		close(tcp->fd);
		return ret;
	}
	tcp->poll.data = tcp;
	watch(tcp);
	return kr_ok();
}

static void on_closed(uv_handle_t *handle)
{
	struct tcp_state *tcp = handle->data;
	stack_released(tcp->st->stack);
}

static int tcp_event(struct stage *st, enum stage_event ev)
{
	struct tcp_state *tcp = stage_state(st);
	switch (ev) {
	case STAGE_FLUSH:
		return flush(tcp);
	case STAGE_SHUTDOWN:
		tcp->wants_fin = true;
		return flush(tcp);
	case STAGE_PAUSE:
	case STAGE_RESUME:
		watch(tcp);
		return kr_ok();
	case STAGE_CLOSE:
		drop_output(tcp);
		uv_poll_stop(&tcp->poll);
		close(tcp->fd);
		uv_close((uv_handle_t *)&tcp->poll, on_closed);
		return kr_ok();
	default:
		return kr_ok();
	}
}

uv_handle_t *tcp_stage_handle(const struct stage *st)
{
	struct tcp_state *tcp = st->state;
	return (uv_handle_t *)&tcp->poll;
}

const struct stage_ops tcp_stage = {
	.name = "tcp",
	.state_size = sizeof(struct tcp_state),
	.init = tcp_init,
	.down = tcp_down,
	.event = tcp_event,
};
