/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * The few verbs by which the worker reaches the network and the clock. libuv implements them in the
 * daemon (netio_uv.c), the simulator in tests (tests/sim). No socket and no loop is seen through
 * it.
 *
 * Calls never call back into the worker before they return.
 */
#pragma once

#include <sys/socket.h>

#include "daemon/transport/bytes.h"
#include "lib/defines.h"

struct netio;
/** One connected UDP socket with a random port of its own, for one question. */
struct netio_udp;
/** One stream to a server that carries DNS messages (TCP or TLS below; framing is done there). */
struct netio_stream;

/** A one-shot timer embedded in its owner. {0} is a stopped one. */
struct netio_timer {
	void (*fire)(struct netio_timer *timer);
	void *impl;      /**< the implementation's own */
	uint64_t due_ms; /**< when it fires, 0 = stopped */
};

/** What the network tells the worker; set once with netio_ops::listen. */
struct netio_events {
	/** A datagram, or (in.at NULL) an error of this socket: err < 0. The socket stays open. */
	void (*udp)(void *owner, struct bytes in, int err);
	/** The stream is up (TLS: authenticated). */
	void (*stream_open)(void *owner);
	/** One whole DNS message. */
	void (*stream_message)(void *owner, struct bytes in);
	/** The stream is gone and must not be used again: 0 = closed by the peer, < 0 = error
	 * (ETIMEDOUT: connecting). */
	void (*stream_closed)(void *owner, int err);
};

enum netio_stream_kind {
	NETIO_TCP,
	NETIO_TLS, /**< or HTTPS, if its parameters say so */
};

struct netio_ops {
	void (*listen)(struct netio *io, const struct netio_events *events);

	/**
	 * Open a UDP socket connected to dst from a fresh random port (S-02, S-03).
	 * @param src  outgoing address or NULL
	 */
	int (*udp_open)(struct netio *io, const struct sockaddr *dst, const struct sockaddr *src,
		void *owner, struct netio_udp **out);
	/** Send one datagram; `in` is copied or sent at once. */
	int (*udp_send)(struct netio_udp *udp, struct bytes in);
	void (*udp_close)(struct netio_udp *udp);

	/** Start connecting. @param tls_params for NETIO_TLS: struct tls_client_param *, else NULL
	 */
	int (*stream_open)(struct netio *io, enum netio_stream_kind kind,
		const struct sockaddr *dst, const struct sockaddr *src, const void *tls_params,
		void *owner, struct netio_stream **out);
	/** Queue one DNS message (without length); copied. Allowed before the stream is up. */
	int (*stream_send)(struct netio_stream *stream, struct bytes msg);
	/** Close; no event follows. */
	void (*stream_close)(struct netio_stream *stream);

	/** (Re)start a timer. */
	int (*timer_start)(struct netio *io, struct netio_timer *timer, uint64_t after_ms);
	void (*timer_stop)(struct netio *io, struct netio_timer *timer);
	/** CPU time used by this process, in µs (B-31). */
	uint64_t (*cpu_us)(struct netio *io);
};

/** Implementations embed this first. */
struct netio {
	const struct netio_ops *ops;
};
