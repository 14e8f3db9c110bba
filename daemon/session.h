/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * One peer on a stream: a stack of stages, one timer, one lifetime. Clients' connections and those
 * to servers differ in parameters only. Messages go up by callback; the room above says how many of
 * them are still to be answered. Limits of time and memory are rows B-43 to B-45.
 */
#pragma once

#include "daemon/transport/stacks.h"
#include "lib/addr.h"

struct session;

/** Time limits in ms; 0 = none. Lent for the session's life; may be changed meanwhile. */
struct session_timers {
	uint64_t open_ms;    /**< until STAGE_OPEN: connect, handshake */
	uint64_t first_ms;   /**< from there to the first octet */
	uint64_t message_ms; /**< from the beginning of a message to its end */
	uint64_t idle_ms;    /**< nothing to answer, nothing coming */
	uint64_t write_ms;   /**< output that makes no progress */
};

/** Output of one session above which nothing more is read from it, B-45. */
#define SESSION_OUT_MAX (128 * 1024)
/** How long we wait for the peer's end after ours. */
#define SESSION_LINGER_MS 1000

struct session_ops {
	/** Messages may be sent and will arrive. */
	void (*open)(struct session *session);
	void (*message)(struct session *session, const struct stage_facts *facts, struct bytes msg);
	/** Messages handed up and not yet answered. NULL = not of interest */
	size_t (*pending)(const struct session *session);
	/** Called once unless session_close() was; the session is of no use after it. 0 = in peace
	 */
	void (*closed)(struct session *session, int err);
};

struct session_param {
	enum stack_kind kind;
	const struct stack_params *stages;
	const struct session_ops *ops;
	void *owner;
	struct turn *turn;
	const struct session_timers *timers;
	const struct sockaddr *peer;
	const struct sockaddr *local; /**< our address; NULL: not of interest */
	const size_t
		*pending_max; /**< stop reading there, go on below half; lent; NULL = no limit */
	bool is_outgoing;     /**< connecting */
};

/**
 * Start a session. Its file descriptor is in `stages` and belongs to the session even on failure.
 * @return 0 or an error
 */
int session_new(const struct session_param *param, struct session **out);
/** Close at once; no callback follows. Memory goes when the loop has let go of it. */
void session_close(struct session *session);
/** Close when everything pending is answered and sent: session_ops::closed follows. */
void session_finish(struct session *session);

/**
 * Send a message; it leaves at the end of the loop turn.
 * @param to   facts of the message this answers; NULL for servers
 * @param msg  at NULL: the message will get no answer
 * @return 0 or an error: session_ops::closed will be called at the end of the turn
 */
int session_send(struct session *session, const struct stage_facts *to, struct bytes msg);
/** The number of pending messages has changed. */
void session_wake(struct session *session);

void *session_owner(const struct session *session);
const struct sockaddr *session_peer(const struct session *session);
/** Loop time of the last sign of life, ms. */
uint64_t session_last_ms(const struct session *session);
bool session_is_closing(const struct session *session);

struct uv_handle_s;
/** Handle of the peer's socket, good for uv_fileno() and nothing that changes it; NULL: closing. */
KR_EXPORT
struct uv_handle_s *session_get_handle(const struct session *session);
