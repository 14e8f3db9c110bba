/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * The line protocol of the console and of control sockets: a line of Lua in, its result out. A
 * connection begins in text mode with a prompt; the line `__binary` turns it to answers with a
 * 4-byte big-endian length, `__json` to one JSON object a line ({"ok":true,"result":...} or
 * {"ok":false,"error":"..."}).
 */
#pragma once

struct control_listener;
struct engine;

/** Longest line, in bytes; a longer one is an error and ends the connection. */
#define CONTROL_LINE_MAX (1024 * 1024)
/** Answers that a client has not read, in bytes; more ends the connection. */
#define CONTROL_UNREAD_MAX (16 * 1024 * 1024)
/** Connections at a time. */
#define CONTROL_CONNECTIONS_MAX 128

/**
 * Accept control connections on a listening stream socket; the descriptor stays the caller's.
 * @param[out] out  to be given to control_listener_close()
 */
int control_listen(struct engine *engine, int fd, struct control_listener **out);
/** Stop accepting; NULL is fine. Open connections go on. */
void control_listener_close(struct control_listener *listener);

/**
 * Serve the console on standard input and output.
 * @return 0 or kr_error(EINVAL) if standard input is neither a terminal nor a pipe
 */
int control_console(struct engine *engine);

/** Close all connections; before the loop is emptied. */
void control_deinit(void);
