/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#include "lib/generic/array.h"
#include "lib/generic/trie.h"

#define KEYS 3000
#define KEY_MAX 12

/** A key in the reference: a plain sorted array. */
struct key {
	uint32_t len;
	char bytes[KEY_MAX];
};

static uint32_t lcg = 1;

static uint32_t next_random(void)
{
	lcg = lcg * 1664525u + 1013904223u;
	return lcg >> 8;
}

/** Few different bytes, zero and 0xff among them: many prefixes, many collisions. Every third key
 * is short and of any bytes: nodes of many children. */
static struct key random_key(void)
{
	static const char bytes[] = {0, 1, 'a', '\x7f', '\x80', '\xff'};
	const bool is_any = next_random() % 3 == 0;
	struct key key = {.len = next_random() % (is_any ? 3 : KEY_MAX + 1)};
	for (uint32_t i = 0; i < key.len; ++i)
		key.bytes[i] = is_any ? (char)next_random() : bytes[next_random() % sizeof(bytes)];
	return key;
}

static int compare_keys(const void *a, const void *b)
{
	const struct key *left = a, *right = b;
	const int ret = memcmp(left->bytes, right->bytes, KR_MIN(left->len, right->len));
	return ret != 0 ? ret : (int)left->len - (int)right->len;
}

static size_t make_keys(struct key *keys)
{
	for (size_t i = 0; i < KEYS; ++i)
		keys[i] = random_key();
	qsort(keys, KEYS, sizeof(*keys), compare_keys);
	size_t unique = 0;
	for (size_t i = 0; i < KEYS; ++i) {
		if (unique == 0 || compare_keys(&keys[unique - 1], &keys[i]) != 0)
			keys[unique++] = keys[i];
	}
	return unique;
}

static struct key keys[KEYS];
static size_t count;

static trie_t *filled_trie(void)
{
	trie_t *tbl = trie_create(NULL);
	for (size_t i = 0; i < count; ++i) { /* in an order that is not theirs */
		const size_t at = (i * 7919) % count;
		trie_val_t *val = trie_get_ins(tbl, keys[at].bytes, keys[at].len);
		assert_non_null(val);
		*val = &keys[at];
	}
	return tbl;
}

static int setup(void **state)
{
	count = make_keys(keys);
	while (count % 7919 == 0)
		count -= 1;
	return 0;
}

static void every_key_is_found_with_its_value(void **state)
{
	trie_t *tbl = filled_trie();
	assert_int_equal(trie_weight(tbl), count);
	for (size_t i = 0; i < count; ++i) {
		trie_val_t *val = trie_get_try(tbl, keys[i].bytes, keys[i].len);
		assert_non_null(val);
		assert_ptr_equal(*val, &keys[i]);
	}
	trie_free(tbl);
}

static void absent_keys_are_not_found(void **state)
{
	trie_t *tbl = filled_trie();
	for (int i = 0; i < 100000; ++i) {
		struct key key = random_key();
		const bool is_there = bsearch(&key, keys, count, sizeof(key), compare_keys) != NULL;
		assert_int_equal(trie_get_try(tbl, key.bytes, key.len) != NULL, is_there);
	}
	trie_free(tbl);
}

static void iteration_is_in_byte_order(void **state)
{
	trie_t *tbl = filled_trie();
	size_t i = 0;
	trie_it_t *it = trie_it_begin(tbl);
	for (; !trie_it_finished(it); trie_it_next(it), ++i) {
		size_t len = 0;
		const char *key = trie_it_key(it, &len);
		assert_int_equal(len, keys[i].len);
		assert_memory_equal(key, keys[i].bytes, len);
	}
	trie_it_free(it);
	assert_int_equal(i, count);
	trie_free(tbl);
}

static void nearest_smaller_key_is_found(void **state)
{
	trie_t *tbl = filled_trie();
	for (int i = 0; i < 100000; ++i) {
		struct key key = random_key();
		size_t above = 0; /* first key greater than this one */
		for (size_t low = 0, high = count; low < high; above = low) {
			const size_t mid = (low + high) / 2;
			if (compare_keys(&keys[mid], &key) <= 0)
				low = mid + 1;
			else
				high = mid;
		}
		trie_val_t *val = NULL;
		const int ret = trie_get_leq(tbl, key.bytes, key.len, &val);
		if (above == 0) {
			assert_int_equal(ret, kr_error(ENOENT));
			assert_null(val);
			continue;
		}
		assert_ptr_equal(*val, &keys[above - 1]);
		assert_int_equal(ret, compare_keys(&keys[above - 1], &key) == 0 ? 0 : 1);
	}
	trie_free(tbl);
}

static void deletion_leaves_the_others(void **state)
{
	trie_t *tbl = filled_trie();
	for (size_t i = 0; i < count; i += 2) {
		trie_val_t val = NULL;
		assert_int_equal(trie_del(tbl, keys[i].bytes, keys[i].len, &val), 0);
		assert_ptr_equal(val, &keys[i]);
		assert_int_equal(trie_del(tbl, keys[i].bytes, keys[i].len, NULL), kr_error(ENOENT));
	}
	for (size_t i = 0; i < count; ++i)
		assert_int_equal(trie_get_try(tbl, keys[i].bytes, keys[i].len) != NULL, i % 2);
	char key[KEY_MAX];
	uint32_t len = sizeof(key);
	assert_int_equal(trie_del_first(tbl, key, &len, NULL), 0);
	assert_memory_equal(key, keys[1].bytes, keys[1].len);
	trie_clear(tbl);
	assert_int_equal(trie_weight(tbl), 0);
	assert_null(trie_get_first(tbl, NULL, NULL));
	trie_free(tbl);
}

/** Add and remove at random; the map has to agree with a table of flags all the time. */
static void churn(trie_t *tbl)
{
	static bool is_in[KEYS];
	size_t weight = 0;
	memset(is_in, 0, sizeof(is_in));
	for (int i = 0; i < 100000; ++i) {
		const size_t at = next_random() % count;
		trie_val_t *val = trie_get_try(tbl, keys[at].bytes, keys[at].len);
		assert_int_equal(val != NULL, is_in[at]);
		if (is_in[at]) {
			trie_val_t old = NULL;
			assert_int_equal(trie_del(tbl, keys[at].bytes, keys[at].len, &old), 0);
			assert_ptr_equal(old, &keys[at]);
			weight -= 1;
		} else {
			val = trie_get_ins(tbl, keys[at].bytes, keys[at].len);
			assert_null(*val);
			*val = &keys[at];
			weight += 1;
		}
		is_in[at] = !is_in[at];
		assert_int_equal(trie_weight(tbl), weight);
	}
	size_t seen = 0;
	trie_it_t *it = trie_it_begin(tbl);
	for (; !trie_it_finished(it); trie_it_next(it), ++seen)
		assert_true(is_in[(struct key *)*trie_it_val(it) - keys]);
	trie_it_free(it);
	assert_int_equal(seen, weight);
}

static void additions_and_removals_mix(void **state)
{
	trie_t *tbl = trie_create(NULL);
	churn(tbl);
	trie_free(tbl);
}

static void a_pool_will_do(void **state)
{
	knot_mm_t pool;
	mm_ctx_mempool2(&pool, 4096);
	trie_t *tbl = trie_create(&pool);
	churn(tbl);
	trie_clear(tbl);
	assert_null(trie_get_first(tbl, NULL, NULL));
	assert_non_null(trie_get_ins(tbl, "again", 5));
	trie_free(tbl);
	mp_delete(pool.ctx);
}

static void the_place_of_a_value_stays(void **state)
{
	trie_t *tbl = trie_create(NULL);
	trie_val_t *place = trie_get_ins(tbl, "fixed", 5);
	for (int i = 0; i < 256; ++i) {
		const char key[] = {'f', (char)i};
		assert_non_null(trie_get_ins(tbl, key, sizeof(key)));
	}
	assert_ptr_equal(trie_get_try(tbl, "fixed", 5), place);
	trie_free(tbl);
}

static void a_deep_chain_of_prefixes_is_walked_and_freed(void **state)
{
	static char key[4000];
	trie_t *tbl = trie_create(NULL);
	for (uint32_t len = 0; len <= sizeof(key); ++len)
		assert_non_null(trie_get_ins(tbl, key, len));
	size_t expected = 0;
	trie_it_t *it = trie_it_begin(tbl);
	for (; !trie_it_finished(it); trie_it_next(it), ++expected) {
		size_t len = 0;
		(void)trie_it_key(it, &len);
		assert_int_equal(len, expected);
	}
	trie_it_free(it);
	assert_int_equal(expected, sizeof(key) + 1);
	trie_free(tbl);
}

static int count_to_three(trie_val_t *val, void *baton)
{
	return ++*(int *)baton == 3 ? 42 : 0;
}

static void a_callback_may_stop_the_walk(void **state)
{
	trie_t *tbl = filled_trie();
	int calls = 0;
	assert_int_equal(trie_apply(tbl, count_to_three, &calls), 42);
	assert_int_equal(calls, 3);
	trie_free(tbl);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_key_is_found_with_its_value),
		cmocka_unit_test(absent_keys_are_not_found),
		cmocka_unit_test(iteration_is_in_byte_order),
		cmocka_unit_test(nearest_smaller_key_is_found),
		cmocka_unit_test(deletion_leaves_the_others),
		cmocka_unit_test(additions_and_removals_mix),
		cmocka_unit_test(a_pool_will_do),
		cmocka_unit_test(the_place_of_a_value_stays),
		cmocka_unit_test(a_deep_chain_of_prefixes_is_walked_and_freed),
		cmocka_unit_test(a_callback_may_stop_the_walk),
	};
	return cmocka_run_group_tests(tests, setup, NULL);
}
