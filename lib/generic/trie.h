/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * An ordered map from byte strings (any bytes, any length) to pointers: a radix tree, good for a
 * million names. Order is lexicographic, a prefix comes before what it is a prefix of. The place of
 * a value stays the same until its key is removed.
 */
#pragma once

#include "lib/defines.h"
#include "lib/mm.h"

typedef void *trie_val_t;
typedef struct trie trie_t;
/** Iterator in key order; void as soon as the map changes. */
typedef struct trie_it trie_it_t;

/** @param mm NULL = heap @return NULL if out of memory */
KR_EXPORT
trie_t *trie_create(knot_mm_t *mm);
/** Values stay the caller's. NULL is fine. */
KR_EXPORT
void trie_free(trie_t *tbl);
KR_EXPORT
void trie_clear(trie_t *tbl);
/** Number of keys. */
KR_EXPORT KR_PURE size_t trie_weight(const trie_t *tbl);
/** Place of the value, or NULL if the key is absent. */
KR_EXPORT KR_PURE trie_val_t *trie_get_try(trie_t *tbl, const char *key, uint32_t len);
/** Place of the value; an absent key is added with value NULL. NULL if out of memory. */
KR_EXPORT
trie_val_t *trie_get_ins(trie_t *tbl, const char *key, uint32_t len);
/** Smallest key. @param[out] key, len may be NULL @return NULL if empty */
KR_EXPORT
trie_val_t *trie_get_first(trie_t *tbl, char **key, uint32_t *len);
/** Greatest key at or before the given. @return 0 equal, 1 smaller, kr_error(ENOENT) (*val NULL) */
KR_EXPORT
int trie_get_leq(trie_t *tbl, const char *key, uint32_t len, trie_val_t **val);
/** @param[out] val the removed value; may be NULL @return 0 or kr_error(ENOENT) */
KR_EXPORT
int trie_del(trie_t *tbl, const char *key, uint32_t len, trie_val_t *val);
/** Remove the smallest key. @param key buffer @param[in,out] len room, then length; ENOSPC leaves
 * the map alone */
KR_EXPORT
int trie_del_first(trie_t *tbl, char *key, uint32_t *len, trie_val_t *val);
/** Call f for each value in order; a non-zero result stops and is returned. f may change values
 * only. */
KR_EXPORT
int trie_apply(trie_t *tbl, int (*f)(trie_val_t *val, void *baton), void *baton);
KR_EXPORT
int trie_apply_with_key(trie_t *tbl,
	int (*f)(const char *key, uint32_t len, trie_val_t *val, void *baton), void *baton);

/** @return NULL if out of memory */
KR_EXPORT
trie_it_t *trie_it_begin(trie_t *tbl);
KR_EXPORT
void trie_it_next(trie_it_t *it);
KR_EXPORT KR_PURE bool trie_it_finished(const trie_it_t *it);
KR_EXPORT
void trie_it_free(trie_it_t *it);
KR_EXPORT
const char *trie_it_key(trie_it_t *it, size_t *len);
KR_EXPORT
trie_val_t *trie_it_val(trie_it_t *it);
