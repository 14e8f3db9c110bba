/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/clock.h"

#include <sys/time.h>
#include <time.h>
#include <uv.h>

#include "lib/resolve.h"

/* Modules call kr_now() without any context at hand. */
static uv_loop_t *the_loop;

void clock_set_loop(uv_loop_t *loop)
{
	the_loop = loop;
}

uint64_t kr_now(void)
{
	if (the_loop)
		return uv_now(the_loop);
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000ULL + ts.tv_nsec / 1000000;
}

void clock_tick(struct kr_context *ctx)
{
	if (!ctx)
		return;
	const uint64_t now_ms = kr_now();
	if (now_ms == ctx->now_ms)
		return;
	ctx->now_ms = now_ms;
	gettimeofday(&ctx->now, NULL);
}
