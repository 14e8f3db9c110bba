/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Memory contexts: one interface (libknot's knot_mm_t) for heap and pools, and the pool itself:
 * a chunked arena from which everything of a request is taken and which is emptied in one call.
 * A NULL context means the heap.
 */
#pragma once

#include <libknot/mm_ctx.h>

#include "lib/defines.h"

/** An arena. Chunks grow as needed; nothing is freed singly. */
struct mempool;

/** @param chunk_size bytes of the first chunk @return NULL if out of memory; mp_delete() it */
KR_EXPORT
struct mempool *mp_new(size_t chunk_size);
/** Free the pool and all that was taken from it. NULL is fine. */
KR_EXPORT
void mp_delete(struct mempool *pool);
/** Forget everything taken from the pool; keeps its first chunk, so reuse allocates nothing. */
KR_EXPORT
void mp_flush(struct mempool *pool);
/** @return memory aligned for any type, or NULL */
KR_EXPORT
void *mp_alloc(struct mempool *pool, size_t size);
/** Bytes held from the heap by the pool. */
KR_EXPORT
size_t mp_total_size(const struct mempool *pool);

/** Make `mm` a context over a new pool. `mm->ctx` is NULL if out of memory. */
KR_EXPORT
void mm_ctx_mempool2(knot_mm_t *mm, size_t chunk_size);

KR_EXPORT
void *mm_alloc(knot_mm_t *mm, size_t size);
/** Zeroed memory for n elements; NULL also if n * size overflows. */
KR_EXPORT
void *mm_calloc(knot_mm_t *mm, size_t n, size_t size);
/** @param prev_size bytes of `what` to keep; matters for pools only */
KR_EXPORT
void *mm_realloc(knot_mm_t *mm, void *what, size_t size, size_t prev_size);
KR_EXPORT
char *mm_strdup(knot_mm_t *mm, const char *text);
/** Copy `size` bytes. */
KR_EXPORT
void *mm_memdup(knot_mm_t *mm, const void *what, size_t size);
/** No-op for pools and NULL. */
KR_EXPORT
void mm_free(knot_mm_t *mm, const void *what);
