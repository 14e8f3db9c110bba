/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * A queue of one type on the heap: `queue_t(int) q; queue_init(q);`. {0} is a valid empty queue.
 * Adding at either end and removing the head take constant time, on average over many.
 */
#pragma once

#include "lib/generic/array.h"

#define queue_t(type)                                                                              \
	struct {                                                                                   \
		type *at;                                                                          \
		size_t first; /* index of the head */                                              \
		size_t len;                                                                        \
		size_t cap;                                                                        \
	}

#define queue_init(q) ((q).at = NULL, (q).first = (q).len = (q).cap = 0)
/** Give the memory back; the queue is empty and may be used again. */
#define queue_deinit(q) (free((q).at), queue_init(q))
#define queue_len(q) ((q).len)
/** Append. @return 0 or kr_error(ENOMEM) */
#define queue_push(q, val)                                                                         \
	(queue_room_(q, false) < 0 ? kr_error(ENOMEM)                                              \
				   : ((q).at[(q).first + (q).len++] = (val), kr_ok()))
/** Put before all others. @return 0 or kr_error(ENOMEM) */
#define queue_push_head(q, val)                                                                    \
	(queue_room_(q, true) < 0 ? kr_error(ENOMEM)                                               \
				  : ((q).len += 1, (q).at[--(q).first] = (val), kr_ok()))
/** Drop the head. */
#define queue_pop(q) ((q).len > 0 ? (void)((q).first += 1, (q).len -= 1) : (void)0)
/** First and last element; the queue must not be empty. */
#define queue_head(q) ((q).at[(q).first])
#define queue_tail(q) ((q).at[(q).first + (q).len - 1])

/**
 * Walk from the head; void as soon as the queue changes.
 * `for (queue_it_t(int) it = queue_it_begin(q); !queue_it_finished(it); queue_it_next(it))`
 */
#define queue_it_t(type)                                                                           \
	struct {                                                                                   \
		type *at;                                                                          \
		size_t left;                                                                       \
	}
#define queue_it_begin(q)                                                                          \
	{                                                                                          \
		(q).len > 0 ? &queue_head(q) : NULL, (q).len                                       \
	}
#define queue_it_finished(it) ((it).left == 0)
#define queue_it_next(it) (++(it).at, --(it).left)
/** The current element; may be assigned. */
#define queue_it_val(it) (*(it).at)

#define queue_room_(q, in_front)                                                                   \
	kr_queue_room((void **)&(q).at, &(q).first, (q).len, &(q).cap, sizeof(*(q).at), (in_front))

/** Make room for one more; what is spare is shared among both ends. */
static inline int kr_queue_room(
	void **at, size_t *first, size_t len, size_t *cap, size_t size, bool in_front)
{
	if (in_front ? *first > 0 : *first + len < *cap)
		return kr_ok();
	int ret = kr_array_reserve(NULL, at, cap, len + len / 2 + 8, size);
	if (ret != 0)
		return ret;
	char *base = (char *)*at;
	const size_t to = (*cap - len) / 2;
	memmove(base + to * size, base + *first * size, len * size);
	*first = to;
	return kr_ok();
}
