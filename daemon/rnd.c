/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/rnd.h"

#include <pthread.h>
#include <string.h>
#include <sys/random.h>

#include "lib/check.h"

/** One page's worth of system calls saved; small enough to stay in the first cache. */
#define POOL_SIZE 1024

/* Randomness belongs to the process, not to an object of it. */
static uint8_t pool[POOL_SIZE];
static size_t pool_left;
static bool is_fork_watched;

/** getrandom() that never returns less than asked for. */
static void fill(uint8_t *buf, size_t len)
{
	while (len > 0) {
		ssize_t got = getrandom(buf, len, 0);
		if (got < 0 && errno == EINTR)
			continue;
		kr_require(got > 0);
		buf += got;
		len -= got;
	}
}

static void forget_pool(void)
{
	explicit_bzero(pool, sizeof(pool));
	pool_left = 0;
}

static void refill(void)
{
	if (!is_fork_watched)
		is_fork_watched = pthread_atfork(NULL, NULL, forget_pool) == 0;
	fill(pool, sizeof(pool));
	pool_left = sizeof(pool);
}

void kr_rnd_buffered(void *buf, unsigned int len)
{
	if (len > POOL_SIZE / 4) {
		fill(buf, len);
		return;
	}
	if (pool_left < len)
		refill();
	pool_left -= len;
	memcpy(buf, pool + pool_left, len);
	memset(pool + pool_left, 0, len);
	if (!is_fork_watched)
		forget_pool(); /* a child could repeat what is left */
}

void kr_rnd_source(void *data, void *buf, size_t len)
{
	uint8_t *at = buf;
	for (; len > UINT32_MAX; len -= UINT32_MAX, at += UINT32_MAX)
		kr_rnd_buffered(at, UINT32_MAX);
	kr_rnd_buffered(at, len);
}

uint64_t kr_rand_bytes(unsigned int size)
{
	uint64_t value = 0;
	if (kr_fails_assert(size >= 1 && size <= sizeof(value)))
		return 0;
	uint8_t bytes[sizeof(value)] = {0};
	kr_rnd_buffered(bytes, size);
	for (unsigned int i = 0; i < size; ++i)
		value = value << 8 | bytes[i];
	return value;
}
