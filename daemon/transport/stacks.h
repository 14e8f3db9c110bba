/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * The table: kind of endpoint -> its stages, bottom to top. A new transport is one file and one
 * row.
 */
#pragma once

#include "daemon/transport/stage.h"

enum stack_kind {
	STACK_UDP_SERVER,
	STACK_TCP_SERVER,
	STACK_TLS_SERVER,
	STACK_DOH_SERVER,
	STACK_TCP_CLIENT,
	STACK_TLS_CLIENT,
	STACK_DOH_CLIENT,
	STACK_KIND_COUNT
};

/** Parameters of the stages; those which the kind has are looked at. Lent for stack_new(). */
struct stack_params {
	const struct udp_param *udp;
	const struct tcp_param *tcp;
	const struct tls_param *tls;
	const struct http2_param *http;
	const struct http2_client_param *http_client;
	const struct proxy_peers *proxy; /**< lent for the life of the stack */
};

/** Bytes that stack_start() needs for this kind. */
size_t stack_kind_size(enum stack_kind kind);
/** stack_init() with the stages of the kind. @param stack  zeroed */
int stack_start(struct stack *stack, enum stack_kind kind, const struct stack_params *params,
	const struct stack_ops *ops, void *owner, struct turn *turn);
