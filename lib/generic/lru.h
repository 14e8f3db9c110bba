/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * A lossy map of fixed capacity: `typedef lru_t(unsigned) counts_t; counts_t *c; lru_create(&c,
 * 500, NULL, NULL);` Keys are byte strings, values are of one type. When a group of slots is full,
 * the one used least often lately makes room; a new key has to come more than once to push out a
 * frequent one.
 */
#pragma once

#include <sys/types.h>

#include "lib/defines.h"
#include "lib/mm.h"

/** Untyped part; opaque. */
struct lru;

enum lru_apply_do {
	LRU_APPLY_DO_NOTHING,
	LRU_APPLY_DO_EVICT,
};
typedef enum lru_apply_do (*lru_apply_fun)(const char *key, uint len, void *val, void *baton);

#define lru_t(type)                                                                                \
	union {                                                                                    \
		type *pdata_t; /* only its type matters */                                         \
		struct {                                                                           \
			type *pval;                                                                \
			struct lru *map;                                                           \
		} u;                                                                               \
	}

/**
 * Create; NULL is stored if out of memory.
 * @param ptable     pointer to lru_t *
 * @param max_slots  rounded up to less than double
 * @param mm_table, mm_values  where to take memory; NULL = heap
 */
#define lru_create(ptable, max_slots, mm_table, mm_values)                                         \
	lru_create_((void **)(ptable), (max_slots), (mm_table), (mm_values))
/** Free all. NULL is fine. */
#define lru_free(table) lru_free_((void *)(table))
/** Forget all keys. */
#define lru_reset(table) lru_free_items_impl((table)->u.map)
/** Value of a key or NULL. */
#define lru_get_try(table, key, len)                                                               \
	((__typeof__((table)->pdata_t))lru_get_impl((table)->u.map, (key), (len), 0, false, NULL))
/** Value of a key, zeroed if it is new; NULL if there is no room for it now. @param is_new bool *
 * or NULL */
#define lru_get_new(table, key, len, is_new)                                                       \
	((__typeof__((table)->pdata_t))lru_get_impl(                                               \
		(table)->u.map, (key), (len), sizeof(*(table)->pdata_t), true, (is_new)))
/** Call f(key, len, value, baton) for each; it may evict. */
#define lru_apply(table, f, baton) lru_apply_impl((table)->u.map, (lru_apply_fun)(f), (baton))
/** Number of slots. */
#define lru_capacity(table) lru_capacity_impl((table)->u.map)

KR_EXPORT
void lru_create_(void **table, uint max_slots, knot_mm_t *mm_table, knot_mm_t *mm_values);
KR_EXPORT
void lru_free_(void *table);
/** Keys are hashed under a secret of the table (spec H-11). @param val_alignment at most 16 */
KR_EXPORT
struct lru *lru_create_impl(uint max_slots, uint val_alignment, knot_mm_t *mm_array, knot_mm_t *mm);
KR_EXPORT
void lru_free_impl(struct lru *lru);
KR_EXPORT
void lru_free_items_impl(struct lru *lru);
/** @param val_len bytes of the value; a value stored shorter is not returned */
KR_EXPORT
void *lru_get_impl(
	struct lru *lru, const char *key, uint key_len, uint val_len, bool do_insert, bool *is_new);
KR_EXPORT
void lru_apply_impl(struct lru *lru, lru_apply_fun f, void *baton);
KR_EXPORT KR_PURE uint lru_capacity_impl(const struct lru *lru);
