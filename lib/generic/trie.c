/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A radix tree that skips what all keys below a node have in common. A byte is seen in two steps:
 * its upper three bits, among which "no byte" comes first (so that no key is a prefix of another
 * one and order is preserved), then its lower five. Letters share their upper bits, so that a
 * name costs about one node a letter in which it differs from its neighbours. A node is one run of
 * memory: a map of the children there are, and the children without gaps. */

#include "lib/generic/trie.h"

#include <string.h>

#include "lib/generic/array.h"

/** Longest key: positions are counted in half bytes, in 32 bits. */
#define KEY_MAX (UINT32_MAX / 2 - 1)

struct leaf {
	trie_val_t val;
	uint32_t len;
	char key[];
};

/** A node or a leaf; leaves have the lowest bit set. */
typedef uintptr_t ref_t;

struct node {
	uint32_t map; /**< bit per value of the step that some key has */
	uint32_t at;  /**< the step: twice the byte, plus one for its lower bits */
	ref_t child[];
};

struct trie {
	ref_t root; /**< 0 = empty */
	size_t weight;
	knot_mm_t *mm;
};

/** A node above the current leaf, and the child taken there. */
struct passed {
	const struct node *node;
	unsigned child;
};

struct trie_it {
	array_t(struct passed) path;
	struct leaf *leaf; /**< current one, NULL = finished */
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

/** Set bits; the compiler's own is a call where the CPU at hand is not known. */
static inline unsigned count_bits(uint32_t map)
{
	map -= (map >> 1) & 0x55555555u;
	map = (map & 0x33333333u) + ((map >> 2) & 0x33333333u);
	return (((map + (map >> 4)) & 0x0f0f0f0fu) * 0x01010101u) >> 24;
}

/** Bit in the map of step `at` that belongs to the key. */
static inline uint32_t bit_of(const char *key, uint32_t len, uint32_t at)
{
	const uint32_t byte = at >> 1;
	if (byte >= len)
		return 1; /* "no byte" */
	const uint32_t value = (uint8_t)key[byte];
	return 1u << (at & 1 ? value & 31 : 1 + (value >> 5));
}

/** Number of children before the one of the bit. */
static inline unsigned rank_of(const struct node *node, uint32_t bit)
{
	return count_bits(node->map & (bit - 1));
}

/** Children that a node with `count` of them has room for. */
static unsigned room_for(unsigned count)
{
	return count <= 8 ? (count + 1) & ~1u : (count + 3) & ~3u;
}

static size_t node_size(unsigned count)
{
	return sizeof(struct node) + room_for(count) * sizeof(ref_t);
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
	while (!is_leaf(ref)) {
		const struct node *node = to_node(ref);
		ref = node->child[count_bits(node->map) - 1];
	}
	return to_leaf(ref);
}

/** Take the last child out of a node and keep the way back up in its place. */
static ref_t take_last(struct node *node, struct node *up)
{
	const unsigned last = count_bits(node->map) - 1;
	const ref_t child = node->child[last];
	node->map &= ~(1u << (31 - __builtin_clz(node->map)));
	node->child[last] = (ref_t)up;
	return child;
}

/** The way back up out of a node from which a child was taken. */
static struct node *way_up(const struct node *node)
{
	return to_node(node->child[count_bits(node->map)]);
}

/** Free all leaves and nodes; neither recursion nor memory is needed for it. */
static void free_tree(trie_t *tbl)
{
	struct node *node = NULL;
	ref_t ref = tbl->root;
	while (ref) {
		while (!is_leaf(ref)) {
			struct node *below = to_node(ref);
			ref = take_last(below, node);
			node = below;
		}
		mm_free(tbl->mm, to_leaf(ref));
		while (node && node->map == 0) {
			struct node *up = way_up(node);
			mm_free(tbl->mm, node);
			node = up;
		}
		ref = node ? take_last(node, way_up(node)) : 0;
	}
}

void trie_clear(trie_t *tbl)
{
	if (!tbl)
		return;
	if (!tbl->mm || tbl->mm->free) /* a pool takes nothing back */
		free_tree(tbl);
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

static bool has_key(const struct leaf *leaf, const char *key, uint32_t len)
{
	return leaf->len == len && memcmp(leaf->key, key, len) == 0;
}

trie_val_t *trie_get_try(trie_t *tbl, const char *key, uint32_t len)
{
	if (!tbl || !tbl->root)
		return NULL;
	ref_t ref = tbl->root;
	while (!is_leaf(ref)) {
		const struct node *node = to_node(ref);
		const uint32_t bit = bit_of(key, len, node->at);
		if (!(node->map & bit))
			return NULL;
		ref = node->child[rank_of(node, bit)];
	}
	struct leaf *leaf = to_leaf(ref);
	return has_key(leaf, key, len) ? &leaf->val : NULL;
}

/** Some leaf that has as much in common with the key as any. The map must not be empty. */
static struct leaf *nearest(const trie_t *tbl, const char *key, uint32_t len)
{
	ref_t ref = tbl->root;
	while (!is_leaf(ref)) {
		const struct node *node = to_node(ref);
		const uint32_t bit = bit_of(key, len, node->at);
		ref = node->child[node->map & bit ? rank_of(node, bit) : 0];
	}
	return to_leaf(ref);
}

/** First step at which two different keys part. */
static uint32_t parting(const struct leaf *leaf, const char *key, uint32_t len)
{
	const uint32_t common = KR_MIN(leaf->len, len);
	uint32_t i = 0;
	while (i < common && leaf->key[i] == key[i])
		i += 1;
	const bool is_upper = bit_of(leaf->key, leaf->len, 2 * i) != bit_of(key, len, 2 * i);
	return 2 * i + !is_upper;
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

/** Add a child to a node, which may move. */
static int add_child(trie_t *tbl, ref_t *at, uint32_t bit, ref_t child)
{
	struct node *node = to_node(*at);
	const unsigned count = count_bits(node->map);
	if (room_for(count + 1) > room_for(count)) {
		node = mm_realloc(tbl->mm, node, node_size(count + 1), node_size(count));
		if (!node)
			return kr_error(ENOMEM);
		*at = (ref_t)node;
	}
	const unsigned rank = rank_of(node, bit);
	memmove(&node->child[rank + 1], &node->child[rank], (count - rank) * sizeof(ref_t));
	node->child[rank] = child;
	node->map |= bit;
	return kr_ok();
}

/** Put a node in which `other` and `child` part in the place of `*at`. */
static int add_node(
	trie_t *tbl, ref_t *at, uint32_t step, uint32_t other_bit, uint32_t bit, ref_t child)
{
	struct node *node = mm_alloc(tbl->mm, node_size(2));
	if (!node)
		return kr_error(ENOMEM);
	*node = (struct node){.map = other_bit | bit, .at = step};
	node->child[bit > other_bit] = child;
	node->child[bit < other_bit] = *at;
	*at = (ref_t)node;
	return kr_ok();
}

/** Hang up a new leaf; `near` is the leaf found in its stead. */
static int add_leaf(trie_t *tbl, const struct leaf *near, struct leaf *leaf)
{
	const ref_t child = (ref_t)leaf + 1;
	if (!near) {
		tbl->root = child;
		return kr_ok();
	}
	const uint32_t step = parting(near, leaf->key, leaf->len);
	ref_t *at = &tbl->root;
	while (!is_leaf(*at) && to_node(*at)->at < step) {
		struct node *node = to_node(*at);
		at = &node->child[rank_of(node, bit_of(leaf->key, leaf->len, node->at))];
	}
	const uint32_t bit = bit_of(leaf->key, leaf->len, step);
	if (!is_leaf(*at) && to_node(*at)->at == step)
		return add_child(tbl, at, bit, child);
	return add_node(tbl, at, step, bit_of(near->key, near->len, step), bit, child);
}

trie_val_t *trie_get_ins(trie_t *tbl, const char *key, uint32_t len)
{
	if (!tbl || len > KEY_MAX)
		return NULL;
	struct leaf *near = tbl->root ? nearest(tbl, key, len) : NULL;
	if (near && has_key(near, key, len))
		return &near->val;
	struct leaf *leaf = leaf_new(tbl, key, len);
	if (!leaf)
		return NULL;
	if (add_leaf(tbl, near, leaf) != 0) {
		mm_free(tbl->mm, leaf);
		return NULL;
	}
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
	struct leaf *near = nearest(tbl, key, len);
	if (has_key(near, key, len)) {
		*val = &near->val;
		return 0;
	}
	const uint32_t step = parting(near, key, len);
	ref_t at = tbl->root;
	ref_t smaller = 0; /* the last subtree passed on the left */
	while (!is_leaf(at) && to_node(at)->at < step) {
		const struct node *node = to_node(at);
		const unsigned rank = rank_of(node, bit_of(key, len, node->at));
		if (rank > 0)
			smaller = node->child[rank - 1];
		at = node->child[rank];
	}
	const uint32_t bit = bit_of(key, len, step);
	if (!is_leaf(at) && to_node(at)->at == step) { /* all that is below parts here, too */
		const unsigned rank = rank_of(to_node(at), bit);
		if (rank > 0)
			smaller = to_node(at)->child[rank - 1];
	} else if (bit > bit_of(near->key, near->len, step)) {
		smaller = at; /* the key is greater than all that is below */
	}
	if (!smaller)
		return kr_error(ENOENT);
	*val = &rightmost(smaller)->val;
	return 1;
}

/** Take a child out of a node; a node with a single child gives way to it. */
static void del_child(trie_t *tbl, ref_t *at, uint32_t bit)
{
	struct node *node = to_node(*at);
	const unsigned count = count_bits(node->map);
	const unsigned rank = rank_of(node, bit);
	if (count == 2) {
		*at = node->child[!rank];
		mm_free(tbl->mm, node);
		return;
	}
	memmove(&node->child[rank], &node->child[rank + 1], (count - rank - 1) * sizeof(ref_t));
	node->map &= ~bit;
}

int trie_del(trie_t *tbl, const char *key, uint32_t len, trie_val_t *val)
{
	if (!tbl || !tbl->root)
		return kr_error(ENOENT);
	ref_t *at = &tbl->root;
	ref_t *above = NULL;
	uint32_t bit = 0;
	while (!is_leaf(*at)) {
		struct node *node = to_node(*at);
		bit = bit_of(key, len, node->at);
		if (!(node->map & bit))
			return kr_error(ENOENT);
		above = at;
		at = &node->child[rank_of(node, bit)];
	}
	struct leaf *leaf = to_leaf(*at);
	if (!has_key(leaf, key, len))
		return kr_error(ENOENT);
	if (val)
		*val = leaf->val;
	if (above)
		del_child(tbl, above, bit);
	else
		tbl->root = 0;
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
		const struct passed passed = {.node = to_node(ref)};
		if (array_push(it->path, passed) < 0)
			return kr_error(ENOMEM);
		ref = passed.node->child[0];
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
	it->leaf = NULL;
	while (it->path.len > 0) {
		struct passed *last = &array_tail(it->path);
		last->child += 1;
		if (last->child < count_bits(last->node->map)) {
			/* out of memory ends the walk early */
			(void)descend(it, last->node->child[last->child]);
			return;
		}
		array_pop(it->path);
	}
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
