/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * A first-in-first-out queue of one type on the heap: `queue_t(int) q; queue_init(q);`
 */
#pragma once

#include "lib/generic/array.h"

#define queue_t(type)                                                                              \
	struct {                                                                                   \
		array_t(type) items;                                                               \
		size_t first; /* index of the head */                                              \
	}

#define queue_init(q) (array_init((q).items), (q).first = 0)
#define queue_deinit(q) (array_clear((q).items), (q).first = 0)
#define queue_len(q) ((q).items.len - (q).first)
/** Append. @return index or kr_error(ENOMEM) */
#define queue_push(q, val) (queue_compact_(q), array_push((q).items, (val)))
/** Put before all others. */
#define queue_push_head(q, val)                                                                    \
	((q).first > 0 ? ((q).items.at[--(q).first] = (val), 0) : queue_insert_head_(q, val))
/** Drop the head; the queue must not be empty. */
#define queue_pop(q) (++(q).first)
#define queue_head(q) ((q).items.at[(q).first])
#define queue_tail(q) array_tail((q).items)

/** Iterate: `for (queue_it_t(T) it = queue_it_begin(q); !queue_it_finished(it, q);
 * queue_it_next(it))` */
typedef size_t queue_it_t;
#define queue_it_begin(q) ((q).first)
#define queue_it_finished(it, q) ((it) >= (q).items.len)
#define queue_it_next(it) (++(it))
#define queue_it_val(it, q) ((q).items.at[it])

/** Move the contents to the front once more than half is behind us. */
#define queue_compact_(q)                                                                          \
	((q).first > 16 && (q).first * 2 > (q).items.len                                           \
			? (memmove((q).items.at, (q).items.at + (q).first,                         \
				   queue_len(q) * sizeof(*(q).items.at)),                          \
				  (q).items.len -= (q).first, (q).first = 0)                       \
			: 0)
#define queue_insert_head_(q, val)                                                                 \
	(array_reserve((q).items, (q).items.len + 1) < 0                                           \
			? kr_error(ENOMEM)                                                         \
			: (memmove((q).items.at + 1, (q).items.at,                                 \
				   (q).items.len * sizeof(*(q).items.at)),                         \
				  (q).items.len += 1, (q).items.at[0] = (val), 0))
