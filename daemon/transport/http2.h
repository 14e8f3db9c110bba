/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * DNS over HTTPS, the server's side: HTTP/2 (RFC 9113) as a byte machine over nghttp2, carrying DNS
 * messages as RFC 8484 says. Frames are counted before the library sees them, so that floods of
 * cheap ones end the connection (B-46, B-47).
 */
#pragma once

#include "daemon/transport/stage.h"
#include "lib/generic/array.h"

/** Limits, B-46 and B-47. @{ */
#define HTTP2_STREAMS_MAX 100
#define HTTP2_HEADER_LIST_MAX (16 * 1024)
#define HTTP2_CONTINUATIONS_MAX 4
#define HTTP2_PATH_MAX 8192
#define HTTP2_BODIES_MAX (256 * 1024) /**< octets of unfinished requests of a connection */
#define HTTP2_KEPT_HEADER_MAX 1024    /**< longest value kept for qsource.headers */
#define HTTP2_FLOOD_WINDOW_S 10       /**< the following ones are per window */
#define HTTP2_RESETS_MAX 100
#define HTTP2_SETTINGS_MAX 20
#define HTTP2_PINGS_MAX 20
#define HTTP2_EMPTY_DATA_MAX 50
#define HTTP2_PRIORITIES_MAX 200
#define HTTP2_WINDOW_UPDATES_MAX 2000
#define HTTP2_UNKNOWN_MAX 200
/** @} */

struct http2_param {
	array_t(char *) headers; /**< names whose values are kept for qsource.headers */
};

/** param: const struct http2_param *, lent for the life of the stack */
extern const struct stage_ops http2_stage;
