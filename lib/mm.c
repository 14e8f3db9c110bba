/* SPDX-License-Identifier: GPL-3.0-or-later */

#include "lib/mm.h"

#include <stdalign.h>
#include <string.h>

#if defined(__SANITIZE_ADDRESS__)
#define POOL_POISON 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define POOL_POISON 1
#endif
#endif
#ifdef POOL_POISON
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(at, len) ((void)(at), (void)(len))
#define ASAN_UNPOISON_MEMORY_REGION(at, len) ((void)(at), (void)(len))
#endif

#define ALIGN alignof(max_align_t)
/** Chunks double up to this; a request that needs more takes several of them. */
#define CHUNK_MAX ((size_t)256 * 1024)

struct chunk {
	struct chunk *prev;
	size_t size; /**< bytes of data */
	alignas(max_align_t) uint8_t data[];
};

struct mempool {
	struct chunk *last;
	size_t used; /**< of the last chunk */
	size_t total;
	struct chunk *first;
};

static size_t align_up(size_t size)
{
	return (size + ALIGN - 1) & ~(ALIGN - 1);
}

static bool add_chunk(struct mempool *pool, size_t size)
{
	struct chunk *chunk = malloc(sizeof(*chunk) + size);
	if (!chunk)
		return false;
	chunk->prev = pool->last;
	chunk->size = size;
	pool->last = chunk;
	pool->used = 0;
	pool->total += sizeof(*chunk) + size;
	ASAN_POISON_MEMORY_REGION(chunk->data, chunk->size);
	return true;
}

struct mempool *mp_new(size_t chunk_size)
{
	struct mempool *pool = calloc(1, sizeof(*pool));
	if (!pool || !add_chunk(pool, align_up(KR_MAX(chunk_size, 512)))) {
		free(pool);
		return NULL;
	}
	pool->first = pool->last;
	return pool;
}

static void free_chunks(struct mempool *pool, const struct chunk *until)
{
	while (pool->last != until) {
		struct chunk *chunk = pool->last;
		pool->last = chunk->prev;
		pool->total -= sizeof(*chunk) + chunk->size;
		ASAN_UNPOISON_MEMORY_REGION(chunk->data, chunk->size);
		free(chunk);
	}
}

void mp_delete(struct mempool *pool)
{
	if (!pool)
		return;
	free_chunks(pool, NULL);
	free(pool);
}

void mp_flush(struct mempool *pool)
{
	free_chunks(pool, pool->first);
	pool->used = 0;
	ASAN_POISON_MEMORY_REGION(pool->first->data, pool->first->size);
}

void *mp_alloc(struct mempool *pool, size_t size)
{
	if (unlikely(size > SIZE_MAX / 2))
		return NULL;
	const size_t need = align_up(KR_MAX(size, 1));
	if (unlikely(need > pool->last->size - pool->used)) {
		const size_t grown = KR_MIN(pool->last->size * 2, CHUNK_MAX);
		if (!add_chunk(pool, KR_MAX(need, grown)))
			return NULL;
	}
	void *at = pool->last->data + pool->used;
	pool->used += need;
	ASAN_UNPOISON_MEMORY_REGION(at, size);
	return at;
}

/** Give the block that was taken last another size where it is. */
static bool resize_last(struct mempool *pool, const void *what, size_t size, size_t prev_size)
{
	struct chunk *chunk = pool->last;
	const size_t prev = align_up(KR_MAX(prev_size, 1));
	if (size > chunk->size || prev > pool->used || what != chunk->data + pool->used - prev)
		return false;
	const size_t at = pool->used - prev;
	const size_t need = align_up(KR_MAX(size, 1));
	if (need > chunk->size - at)
		return false;
	pool->used = at + need;
	ASAN_POISON_MEMORY_REGION(chunk->data + at, KR_MAX(prev, need));
	ASAN_UNPOISON_MEMORY_REGION(chunk->data + at, size);
	return true;
}

size_t mp_total_size(const struct mempool *pool)
{
	return pool->total;
}

void mm_ctx_mempool2(knot_mm_t *mm, size_t chunk_size)
{
	mm->ctx = mp_new(chunk_size);
	mm->alloc = (knot_mm_alloc_t)mp_alloc;
	mm->free = NULL;
}

void *mm_alloc(knot_mm_t *mm, size_t size)
{
	return mm ? mm->alloc(mm->ctx, size) : malloc(size);
}

void *mm_calloc(knot_mm_t *mm, size_t n, size_t size)
{
	size_t total = 0;
	if (__builtin_mul_overflow(n, size, &total))
		return NULL;
	void *at = mm_alloc(mm, total);
	if (at)
		memset(at, 0, total);
	return at;
}

void *mm_realloc(knot_mm_t *mm, void *what, size_t size, size_t prev_size)
{
	if (!mm)
		return realloc(what, size);
	if (what && mm->alloc == (knot_mm_alloc_t)mp_alloc &&
		resize_last(mm->ctx, what, size, prev_size))
		return what;
	void *at = mm->alloc(mm->ctx, size);
	if (!at)
		return NULL;
	if (what) {
		memcpy(at, what, KR_MIN(prev_size, size));
		mm_free(mm, what);
	}
	return at;
}

void *mm_memdup(knot_mm_t *mm, const void *what, size_t size)
{
	void *at = mm_alloc(mm, size);
	if (at && size > 0)
		memcpy(at, what, size);
	return at;
}

char *mm_strdup(knot_mm_t *mm, const char *text)
{
	return text ? mm_memdup(mm, text, strlen(text) + 1) : NULL;
}

void mm_free(knot_mm_t *mm, const void *what)
{
	if (!mm)
		free((void *)what);
	else if (mm->free)
		mm->free((void *)what);
}
