/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * TLS 1.2 and 1.3 as a byte machine over GnuTLS, for servers and clients (RFC 7858, RFC 8310). What
 * was gathered in a loop turn is encrypted at its end, so that answers share records.
 */
#pragma once

#include "daemon/transport/stage.h"

struct tls_client_param;
struct tls_server;

/** Key updates a peer may ask for at once, and then one per second, A-36. */
#define TLS_KEY_UPDATES_MAX 4
/** Handshake messages from clients, and from servers, octets. @{ */
#define TLS_HELLO_MAX (16 * 1024)
#define TLS_SERVER_FLIGHT_MAX (64 * 1024)
/** @} */

struct tls_param {
	struct tls_server *server;       /**< we are the server; lent for the life of the stack */
	struct tls_client_param *client; /**< we are the client; a reference is taken */
	const char *alpn;                /**< the one protocol spoken */
	bool needs_alpn; /**< as a client: a server that does not agree to it is none of ours */
};

extern const struct stage_ops tls_stage;
