/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * A growing array of one type: `array_t(int) numbers = {0};`. {0} is a valid empty array.
 * Fields `at`, `len` and `cap` may be read directly; memory is the heap's or a pool's.
 */
#pragma once

#include <stdlib.h>
#include <string.h>

#include "lib/mm.h"

#define array_t(type)                                                                              \
	struct {                                                                                   \
		type *at;                                                                          \
		size_t len;                                                                        \
		size_t cap;                                                                        \
	}

/** Start with nothing allocated. */
#define array_init(array) ((array).at = NULL, (array).len = (array).cap = 0)
/** Give the heap memory back. */
#define array_clear(array) (free((array).at), array_init(array))
/** Give the pool memory back. @param mm knot_mm_t * or NULL */
#define array_clear_mm(array, mm) (mm_free((mm), (array).at), array_init(array))

/** Make room for n elements in all. @return 0 or kr_error(ENOMEM) */
#define array_reserve(array, n) array_reserve_mm(array, n, NULL)
#define array_reserve_mm(array, n, mm)                                                             \
	kr_array_reserve((mm), (void **)&(array).at, &(array).cap, (n), sizeof(*(array).at))

/** Append. @return index of the new element or kr_error(ENOMEM) */
#define array_push(array, val) array_push_mm(array, val, NULL)
#define array_push_mm(array, val, mm)                                                              \
	(array_reserve_mm(array, (array).len + 1, mm) < 0                                          \
			? kr_error(ENOMEM)                                                         \
			: ((array).at[(array).len] = (val), (int)((array).len++)))

/** Drop the last element. */
#define array_pop(array) ((array).len > 0 ? (void)--(array).len : (void)0)
/** Remove element i; the last one takes its place. @return 0 or kr_error(ENOENT) */
#define array_del(array, i)                                                                        \
	((size_t)(i) < (array).len                                                                 \
			? ((array).len -= 1, (array).at[i] = (array).at[(array).len], kr_ok())     \
			: kr_error(ENOENT))
/** The last element; the array must not be empty. */
#define array_tail(array) ((array).at[(array).len - 1])

/** Grow to at least `want` elements, by half of the present size at a time. */
static inline int kr_array_reserve(knot_mm_t *mm, void **at, size_t *cap, size_t want, size_t size)
{
	if (want <= *cap)
		return kr_ok();
	size_t grown = *cap + *cap / 2 + 4;
	if (grown < want)
		grown = want;
	if (grown > SIZE_MAX / size)
		return kr_error(ENOMEM);
	void *mem = mm_realloc(mm, *at, grown * size, *cap * size);
	if (!mem)
		return kr_error(ENOMEM);
	*at = mem;
	*cap = grown;
	return kr_ok();
}
