/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/control.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "daemon/clock.h"
#include "daemon/engine.h"
#include "daemon/reload.h"
#include "lib/log.h"

enum control_mode {
	MODE_TEXT,
	MODE_BINARY,
	MODE_JSON,
};

/** One connection, or the console. */
struct control_conn {
	union {
		uv_handle_t handle;
		uv_stream_t stream;
		uv_pipe_t pipe;
		uv_tcp_t tcp;
		uv_tty_t tty;
	} in;
	struct engine *engine;
	struct control_conn *prev, *next;
	enum control_mode mode;
	bool is_console; /**< answers go to standard output */
	bool is_closing;
	bool is_waiting;    /**< for the end of a reload: nothing more is run before */
	char *result;       /**< to be sent then */
	array_t(char) held; /**< what came behind that command */
	array_t(char) line; /**< what came of the line so far */
};

struct control_listener {
	uv_poll_t poll;
	struct engine *engine;
	int fd;
};

/** An answer under way. */
struct control_write {
	uv_write_t req;
	char data[];
};

static struct control_conn *connections;
static size_t connection_count;

static void on_conn_closed(uv_handle_t *handle)
{
	struct control_conn *conn = handle->data;
	array_clear(conn->line);
	array_clear(conn->held);
	free(conn->result);
	free(conn);
}

static void conn_close(struct control_conn *conn)
{
	if (conn->is_closing)
		return;
	conn->is_closing = true;
	reload_forget(conn);
	if (conn->prev)
		conn->prev->next = conn->next;
	else
		connections = conn->next;
	if (conn->next)
		conn->next->prev = conn->prev;
	connection_count -= 1;
	uv_close(&conn->in.handle, on_conn_closed);
}

static struct control_conn *conn_new(struct engine *engine)
{
	struct control_conn *conn = calloc(1, sizeof(*conn));
	if (!conn)
		return NULL;
	conn->engine = engine;
	conn->next = connections;
	if (connections)
		connections->prev = conn;
	connections = conn;
	connection_count += 1;
	return conn;
}

/* ---- Output ---- */

static void on_written(uv_write_t *req, int status)
{
	struct control_conn *conn = req->handle->data;
	free(req->data);
	if (status < 0)
		conn_close(conn);
}

static void conn_send(struct control_conn *conn, const char *data, size_t len)
{
	if (conn->is_closing || len == 0)
		return;
	if (conn->is_console) {
		fwrite(data, 1, len, stdout);
		fflush(stdout);
		return;
	}
	if (uv_stream_get_write_queue_size(&conn->in.stream) + len > CONTROL_UNREAD_MAX) {
		conn_close(conn);
		return;
	}
	struct control_write *out = malloc(sizeof(*out) + len);
	if (!out) {
		conn_close(conn);
		return;
	}
	memcpy(out->data, data, len);
	out->req.data = out;
	uv_buf_t buf = uv_buf_init(out->data, len);
	if (uv_write(&out->req, &conn->in.stream, &buf, 1, on_written) != 0) {
		free(out);
		conn_close(conn);
	}
}

static void send_prompt(struct control_conn *conn)
{
	if (!conn->engine->is_quiet)
		conn_send(conn, "> ", 2);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf);
static void on_read(uv_stream_t *stream, ssize_t nread, const uv_buf_t *buf);

static void send_result(struct control_conn *conn, const char *text)
{
	const size_t len = text ? strlen(text) : 0;
	if (conn->mode == MODE_BINARY) {
		const uint32_t len_be = htonl(len);
		conn_send(conn, (const char *)&len_be, sizeof(len_be));
		conn_send(conn, text, len);
		return;
	}
	conn_send(conn, text, len);
	if (len > 0 || !conn->engine->is_quiet || conn->mode == MODE_JSON)
		conn_send(conn, "\n", 1);
	if (conn->mode == MODE_TEXT)
		send_prompt(conn);
}

/* ---- Input ---- */

static void log_command(const char *line, const char *result, bool is_error)
{
	if (is_error) {
		kr_log_warning(CONTROL, "> %s\n", line);
		kr_log_warning(CONTROL, "%s\n", result ? result : "");
	} else {
		kr_log_debug(CONTROL, "> %s\n", line);
		kr_log_debug(CONTROL, "%s\n", result ? result : "");
	}
}

static void take_input(struct control_conn *conn, const char *data, size_t len);

/** The reload that a command asked for is over: its answer can be given. */
static void on_reloaded(void *baton, const char *error)
{
	struct control_conn *conn = baton;
	char *result = conn->result;
	conn->result = NULL;
	conn->is_waiting = false;
	if (error && conn->mode == MODE_JSON) {
		free(result);
		result = engine_json_error(conn->engine, error);
	}
	send_result(conn, error && conn->mode != MODE_JSON ? error : result);
	free(result);
	char *held = conn->held.at;
	const size_t held_len = conn->held.len;
	array_init(conn->held);
	take_input(conn, held, held_len);
	free(held);
	if (!conn->is_closing && !conn->is_waiting)
		uv_read_start(&conn->in.stream, on_alloc, on_read);
}

/** Keep what comes behind a command that has not ended, and read no more. */
static void hold_input(struct control_conn *conn, const char *data, size_t len)
{
	uv_read_stop(&conn->in.stream);
	if (len == 0)
		return;
	if (array_reserve(conn->held, conn->held.len + len) != 0) {
		conn_close(conn);
		return;
	}
	memcpy(conn->held.at + conn->held.len, data, len);
	conn->held.len += len;
}

static void run_line(struct control_conn *conn, const char *line)
{
	if (strcmp(line, "__binary") == 0) {
		conn->mode = MODE_BINARY;
		return;
	}
	if (strcmp(line, "__json") == 0) {
		conn->mode = MODE_JSON;
		return;
	}
	clock_tick(&conn->engine->resolver);
	char *result = NULL;
	reload_was_asked();
	int ret = conn->mode == MODE_JSON ? engine_cmd_json(conn->engine, line, &result)
					  : engine_cmd(conn->engine, line, false, &result);
	log_command(line, result, ret != 0);
	if (ret == 0 && reload_was_asked() && !conn->is_closing && reload_wait(on_reloaded, conn)) {
		conn->is_waiting = true;
		conn->result = result;
		return;
	}
	send_result(conn, result);
	free(result);
}

/** Take in bytes, run every line that is complete. */
static void take_input(struct control_conn *conn, const char *data, size_t len)
{
	if (len > 0 && data[0] == '\n' && conn->line.len == 0)
		send_result(conn, NULL);
	while (len > 0 && !conn->is_closing) {
		const char *end = memchr(data, '\n', len);
		const size_t part = end ? (size_t)(end - data) : len;
		if (conn->line.len + part > CONTROL_LINE_MAX) {
			send_result(conn, "the line is too long");
			conn_close(conn);
			return;
		}
		if (array_reserve(conn->line, conn->line.len + part + 1) != 0) {
			conn_close(conn);
			return;
		}
		memcpy(conn->line.at + conn->line.len, data, part);
		conn->line.len += part;
		if (!end)
			return;
		conn->line.at[conn->line.len] = '\0';
		/* A NUL would cut the command short without a word. */
		const bool is_text = !memchr(conn->line.at, '\0', conn->line.len);
		if (!is_text)
			send_result(conn, "the command has a NUL byte");
		else if (conn->line.len > 0)
			run_line(conn, conn->line.at);
		conn->line.len = 0;
		data = end + 1;
		len -= part + 1;
		if (conn->is_waiting) {
			hold_input(conn, data, len);
			return;
		}
	}
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
	static char data[16 * 1024]; /* used up before the next read */
	*buf = uv_buf_init(data, sizeof(data));
}

static void on_read(uv_stream_t *stream, ssize_t nread, const uv_buf_t *buf)
{
	struct control_conn *conn = stream->data;
	if (nread > 0) {
		/* Commands may run the loop's other business, and that may read into the same
		 * buffer. */
		char *copy = malloc(nread);
		if (!copy) {
			conn_close(conn);
			return;
		}
		memcpy(copy, buf->base, nread);
		take_input(conn, copy, nread);
		free(copy);
	} else if (nread < 0) {
		conn_close(conn);
	}
}

/* ---- Listening ---- */

/** A connection over a descriptor that was accepted. */
static int conn_open(struct engine *engine, int fd)
{
	struct sockaddr_storage addr;
	socklen_t addr_len = sizeof(addr);
	if (getsockname(fd, (struct sockaddr *)&addr, &addr_len) != 0)
		return kr_error(errno);
	struct control_conn *conn = conn_new(engine);
	if (!conn)
		return kr_error(ENOMEM);
	uv_loop_t *loop = engine->net.loop;
	int ret;
	if (addr.ss_family == AF_UNIX) {
		uv_pipe_init(loop, &conn->in.pipe, 0);
		ret = uv_pipe_open(&conn->in.pipe, fd);
	} else {
		uv_tcp_init(loop, &conn->in.tcp);
		ret = uv_tcp_open(&conn->in.tcp, fd);
	}
	conn->in.handle.data = conn;
	if (ret == 0)
		ret = uv_read_start(&conn->in.stream, on_alloc, on_read);
	if (ret != 0) {
		conn_close(conn);
		return ret;
	}
	send_prompt(conn);
	return kr_ok();
}

static void on_acceptable(uv_poll_t *poll, int status, int events)
{
	struct control_listener *listener = poll->data;
	int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd < 0)
		return;
	if (connection_count >= CONTROL_CONNECTIONS_MAX || conn_open(listener->engine, fd) != 0)
		close(fd);
}

int control_listen(struct engine *engine, int fd, struct control_listener **out)
{
	struct control_listener *listener = calloc(1, sizeof(*listener));
	if (!listener)
		return kr_error(ENOMEM);
	listener->engine = engine;
	listener->fd = fd;
	int ret = uv_poll_init(engine->net.loop, &listener->poll, fd);
	if (ret != 0) {
		free(listener);
		return ret;
	}
	listener->poll.data = listener;
	ret = uv_poll_start(&listener->poll, UV_READABLE, on_acceptable);
	if (ret != 0) {
		control_listener_close(listener);
		return ret;
	}
	*out = listener;
	return kr_ok();
}

static void on_listener_closed(uv_handle_t *handle)
{
	free(handle->data);
}

void control_listener_close(struct control_listener *listener)
{
	if (!listener)
		return;
	uv_poll_stop(&listener->poll);
	uv_close((uv_handle_t *)&listener->poll, on_listener_closed);
}

/* ---- Console ---- */

int control_console(struct engine *engine)
{
	uv_loop_t *loop = engine->net.loop;
	const uv_handle_type type = uv_guess_handle(STDIN_FILENO);
	if (type != UV_TTY && type != UV_NAMED_PIPE) {
		kr_log_error(SYSTEM, "standard input is neither a terminal nor a pipe, "
				     "use -n to start without a console\n");
		return kr_error(EINVAL);
	}
	struct control_conn *conn = conn_new(engine);
	if (!conn)
		return kr_error(ENOMEM);
	conn->is_console = true;
	int ret;
	if (type == UV_TTY) {
		ret = uv_tty_init(loop, &conn->in.tty, STDIN_FILENO, 1);
	} else {
		uv_pipe_init(loop, &conn->in.pipe, 0);
		ret = uv_pipe_open(&conn->in.pipe, STDIN_FILENO);
	}
	conn->in.handle.data = conn;
	if (ret == 0)
		ret = uv_read_start(&conn->in.stream, on_alloc, on_read);
	if (ret != 0) {
		kr_log_error(SYSTEM, "cannot read standard input: %s\n", uv_strerror(ret));
		conn_close(conn);
		return ret;
	}
	if (!engine->is_quiet)
		conn_send(conn, "Interactive mode:\n> ", 20);
	return kr_ok();
}

void control_deinit(void)
{
	while (connections)
		conn_close(connections);
}
