/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * The time of the present loop turn. libuv reads the monotonic clock once a turn; whoever enters
 * lib/ or the worker from a callback of the loop calls clock_tick() first, which costs a comparison
 * unless the turn is new.
 */
#pragma once

#include "lib/defines.h"

struct kr_context;
struct uv_loop_s;

/** The loop whose time kr_now() tells; NULL: the monotonic clock itself. */
void clock_set_loop(struct uv_loop_s *loop);
/** Monotonic time of this loop turn in ms; may lag inside a long callback. */
KR_EXPORT
uint64_t kr_now(void);
/** Write the time of this turn into the context. @param ctx NULL is fine */
void clock_tick(struct kr_context *ctx);
