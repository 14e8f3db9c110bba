/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * daemon/netio.h over sockets and libuv: connected UDP sockets on random ports, streams to servers,
 * timers.
 */
#pragma once

#include "daemon/netio.h"

struct kr_context;
struct uv_loop_s;

/** @return NULL if out of memory */
struct netio *netio_uv_new(struct uv_loop_s *loop);
/** The context whose clock is set before the worker is called; may be set later than created. */
void netio_uv_set_context(struct netio *io, struct kr_context *ctx);
/**
 * Close everything. The loop has to run until it is empty, then netio_uv_free().
 * No event follows.
 */
void netio_uv_close(struct netio *io);
/** Free it; the loop must not hold any of its handles any more. NULL is fine. */
void netio_uv_free(struct netio *io);
