/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A key is seen as nine bits a byte: a 1 that says "there is a byte", then the byte. The end of a
 * key is a 0, so that no key is a prefix of another one and lexicographic order is bit order. */

#include "lib/generic/trie.h"

#include <string.h>

#include "lib/generic/array.h"

/** Bit of the nine that says that there is a byte. */
#define BIT_EXISTS 0x100u

struct leaf {
	trie_val_t val;
	uint32_t len;
	char key[];
};

/** A node or a leaf; leaves have the lowest bit set. */
typedef uintptr_t ref_t;

struct node {
	ref_t child[2];
	uint32_t byte; /**< the byte in which the children differ first */
	uint32_t mask; /**< and the bit of its nine */
};

struct trie {
	ref_t root; /**< 0 = empty */
	size_t weight;
	knot_mm_t *mm;
};

struct trie_it {
	array_t(struct node *) path; /**< nodes whose right child is still to come */
	struct leaf *leaf;           /**< current one, NULL = finished */
};

static bool is_leaf(ref_t ref)
{
	return ref & 1;
}

static struct leaf *to_leaf(ref_t ref)
{
	return (struct leaf *)(ref - 1);
}

static struct node *to_node(ref_t ref)
{
	return (struct node *)ref;
}

/** The nine bits of a byte of a key. */
static inline uint32_t nine_bits(const char *key, uint32_t len, uint32_t byte)
{
	return byte < len ? BIT_EXISTS | (uint8_t)key[byte] : 0;
}

static inline unsigned direction(const struct node *node, const char *key, uint32_t len)
{
	return (nine_bits(key, len, node->byte) & node->mask) != 0;
}

trie_t *trie_create(knot_mm_t *mm)
{
	trie_t *tbl = mm_alloc(mm, sizeof(*tbl));
	if (tbl)
		*tbl = (trie_t){.mm = mm};
	return tbl;
}

static struct leaf *leftmost(ref_t ref)
{
	while (!is_leaf(ref))
		ref = to_node(ref)->child[0];
	return to_leaf(ref);
}

static struct leaf *rightmost(ref_t ref)
{
	while (!is_leaf(ref))
		ref = to_node(ref)->child[1];
	return to_leaf(ref);
}

/** Free everything without recursion: the tree is turned into a list along its left edge. */
void trie_clear(trie_t *tbl)
{
	if (!tbl)
		return;
	ref_t ref = tbl->root;
	while (ref) {
		if (is_leaf(ref)) {
			mm_free(tbl->mm, to_leaf(ref));
			break;
		}
		struct node *node = to_node(ref);
		if (is_leaf(node->child[0])) {
			ref = node->child[1];
			mm_free(tbl->mm, to_leaf(node->child[0]));
			mm_free(tbl->mm, node);
		} else { /* rotate right */
			struct node *left = to_node(node->child[0]);
			node->child[0] = left->child[1];
			left->child[1] = (ref_t)node;
			ref = (ref_t)left;
		}
	}
	tbl->root = 0;
	tbl->weight = 0;
}

void trie_free(trie_t *tbl)
{
	if (!tbl)
		return;
	trie_clear(tbl);
	mm_free(tbl->mm, tbl);
}

size_t trie_weight(const trie_t *tbl)
{
	return tbl ? tbl->weight : 0;
}

/** The only leaf that can have this key. The map must not be empty. */
static struct leaf *candidate(const trie_t *tbl, const char *key, uint32_t len)
{
	ref_t ref = tbl->root;
	while (!is_leaf(ref)) {
		const struct node *node = to_node(ref);
		ref = node->child[direction(node, key, len)];
	}
	return to_leaf(ref);
}

static bool has_key(const struct leaf *leaf, const char *key, uint32_t len)
{
	return leaf->len == len && memcmp(leaf->key, key, len) == 0;
}

trie_val_t *trie_get_try(trie_t *tbl, const char *key, uint32_t len)
{
	if (!tbl || !tbl->root)
		return NULL;
	struct leaf *leaf = candidate(tbl, key, len);
	return has_key(leaf, key, len) ? &leaf->val : NULL;
}

/** First bit in which two different keys differ. */
static void first_difference(
	const struct leaf *leaf, const char *key, uint32_t len, uint32_t *byte, uint32_t *mask)
{
	const uint32_t common = KR_MIN(leaf->len, len);
	uint32_t i = 0;
	while (i < common && leaf->key[i] == key[i])
		i += 1;
	uint32_t diff = nine_bits(leaf->key, leaf->len, i) ^ nine_bits(key, len, i);
	uint32_t top = BIT_EXISTS;
	while (!(diff & top))
		top >>= 1;
	*byte = i;
	*mask = top;
}

/** Does the node branch before that bit? */
static bool is_before(const struct node *node, uint32_t byte, uint32_t mask)
{
	return node->byte < byte || (node->byte == byte && node->mask > mask);
}

static struct leaf *leaf_new(trie_t *tbl, const char *key, uint32_t len)
{
	struct leaf *leaf = mm_alloc(tbl->mm, sizeof(*leaf) + len);
	if (!leaf)
		return NULL;
	leaf->val = NULL;
	leaf->len = len;
	if (len > 0)
		memcpy(leaf->key, key, len);
	return leaf;
}

trie_val_t *trie_get_ins(trie_t *tbl, const char *key, uint32_t len)
{
	if (!tbl)
		return NULL;
	struct leaf *near = tbl->root ? candidate(tbl, key, len) : NULL;
	if (near && has_key(near, key, len))
		return &near->val;
	struct leaf *leaf = leaf_new(tbl, key, len);
	if (!leaf)
		return NULL;
	const ref_t leaf_ref = (ref_t)leaf + 1;
	if (!near) {
		tbl->root = leaf_ref;
		tbl->weight = 1;
		return &leaf->val;
	}
	struct node *fresh = mm_alloc(tbl->mm, sizeof(*fresh));
	if (!fresh) {
		mm_free(tbl->mm, leaf);
		return NULL;
	}
	first_difference(near, key, len, &fresh->byte, &fresh->mask);
	ref_t *at = &tbl->root;
	while (!is_leaf(*at) && is_before(to_node(*at), fresh->byte, fresh->mask)) {
		struct node *node = to_node(*at);
		at = &node->child[direction(node, key, len)];
	}
	const unsigned side = direction(fresh, key, len);
	fresh->child[side] = leaf_ref;
	fresh->child[!side] = *at;
	*at = (ref_t)fresh;
	tbl->weight += 1;
	return &leaf->val;
}

trie_val_t *trie_get_first(trie_t *tbl, char **key, uint32_t *len)
{
	if (!tbl || !tbl->root)
		return NULL;
	struct leaf *leaf = leftmost(tbl->root);
	if (key)
		*key = leaf->key;
	if (len)
		*len = leaf->len;
	return &leaf->val;
}

int trie_get_leq(trie_t *tbl, const char *key, uint32_t len, trie_val_t **val)
{
	*val = NULL;
	if (!tbl || !tbl->root)
		return kr_error(ENOENT);
	struct leaf *near = candidate(tbl, key, len);
	if (has_key(near, key, len)) {
		*val = &near->val;
		return 0;
	}
	struct node split;
	first_difference(near, key, len, &split.byte, &split.mask);
	ref_t at = tbl->root;
	ref_t smaller = 0; /* the last subtree passed on the left */
	while (!is_leaf(at) && is_before(to_node(at), split.byte, split.mask)) {
		struct node *node = to_node(at);
		const unsigned side = direction(node, key, len);
		if (side)
			smaller = node->child[0];
		at = node->child[side];
	}
	if (direction(&split, key, len))
		smaller = at; /* the key is greater than all that is below */
	if (!smaller)
		return kr_error(ENOENT);
	*val = &rightmost(smaller)->val;
	return 1;
}

int trie_del(trie_t *tbl, const char *key, uint32_t len, trie_val_t *val)
{
	if (!tbl || !tbl->root)
		return kr_error(ENOENT);
	ref_t *at = &tbl->root;
	ref_t *above = NULL;
	unsigned side = 0;
	while (!is_leaf(*at)) {
		struct node *node = to_node(*at);
		above = at;
		side = direction(node, key, len);
		at = &node->child[side];
	}
	struct leaf *leaf = to_leaf(*at);
	if (!has_key(leaf, key, len))
		return kr_error(ENOENT);
	if (val)
		*val = leaf->val;
	if (above) {
		struct node *node = to_node(*above);
		*above = node->child[!side];
		mm_free(tbl->mm, node);
	} else {
		tbl->root = 0;
	}
	mm_free(tbl->mm, leaf);
	tbl->weight -= 1;
	return kr_ok();
}

int trie_del_first(trie_t *tbl, char *key, uint32_t *len, trie_val_t *val)
{
	if (!tbl || !tbl->root)
		return kr_error(ENOENT);
	const struct leaf *leaf = leftmost(tbl->root);
	if (key) {
		if (!len || *len < leaf->len)
			return kr_error(ENOSPC);
		memcpy(key, leaf->key, leaf->len);
	}
	if (len)
		*len = leaf->len;
	return trie_del(tbl, leaf->key, leaf->len, val);
}

/* ---- iteration ---- */

/** Go down to the smallest leaf, noting the nodes passed. */
static int descend(trie_it_t *it, ref_t ref)
{
	while (!is_leaf(ref)) {
		if (array_push(it->path, to_node(ref)) < 0)
			return kr_error(ENOMEM);
		ref = to_node(ref)->child[0];
	}
	it->leaf = to_leaf(ref);
	return kr_ok();
}

trie_it_t *trie_it_begin(trie_t *tbl)
{
	trie_it_t *it = calloc(1, sizeof(*it));
	if (!it || !tbl || !tbl->root)
		return it;
	if (descend(it, tbl->root) != 0) {
		trie_it_free(it);
		return NULL;
	}
	return it;
}

void trie_it_next(trie_it_t *it)
{
	if (it->path.len == 0) {
		it->leaf = NULL;
		return;
	}
	struct node *node = array_tail(it->path);
	array_pop(it->path);
	if (descend(it, node->child[1]) != 0)
		it->leaf = NULL; /* out of memory ends the walk early */
}

bool trie_it_finished(const trie_it_t *it)
{
	return !it || !it->leaf;
}

void trie_it_free(trie_it_t *it)
{
	if (!it)
		return;
	array_clear(it->path);
	free(it);
}

const char *trie_it_key(trie_it_t *it, size_t *len)
{
	if (len)
		*len = it->leaf->len;
	return it->leaf->key;
}

trie_val_t *trie_it_val(trie_it_t *it)
{
	return &it->leaf->val;
}

int trie_apply_with_key(trie_t *tbl,
	int (*f)(const char *key, uint32_t len, trie_val_t *val, void *baton), void *baton)
{
	trie_it_t *it = trie_it_begin(tbl);
	int ret = it ? kr_ok() : kr_error(ENOMEM);
	for (; ret == 0 && !trie_it_finished(it); trie_it_next(it))
		ret = f(it->leaf->key, it->leaf->len, &it->leaf->val, baton);
	trie_it_free(it);
	return ret;
}

struct apply_env {
	int (*f)(trie_val_t *val, void *baton);
	void *baton;
};

static int apply_value(const char *key, uint32_t len, trie_val_t *val, void *baton)
{
	const struct apply_env *env = baton;
	return env->f(val, env->baton);
}

int trie_apply(trie_t *tbl, int (*f)(trie_val_t *val, void *baton), void *baton)
{
	struct apply_env env = {.f = f, .baton = baton};
	return trie_apply_with_key(tbl, apply_value, &env);
}
