/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * DNS over HTTPS, the asking side: HTTP/2 (RFC 9113) as a byte machine over nghttp2. Each message
 * that goes down is one POST request as RFC 8484 says, each answer comes up with the ID of its
 * question. What went wrong in HTTP alone is told as a SERVFAIL of the server.
 */
#pragma once

#include "daemon/transport/stage.h"

/** Octets of headers of one answer. */
#define HTTP2_CLIENT_HEADERS_MAX (16 * 1024)
/** Octets of all answers of a connection that are not complete yet. */
#define HTTP2_CLIENT_BODIES_MAX (1024 * 1024)

/** Where the requests go; lent for stack_init(). */
struct http2_client_param {
	const char *authority; /**< `NAME[:PORT]` */
	const char *path;      /**< begins with a slash */
};

/** param: const struct http2_client_param * */
extern const struct stage_ops http2_client_stage;
