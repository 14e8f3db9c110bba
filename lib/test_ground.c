/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The ground floor: pools, arrays, packs, queues, lossy maps. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "lib/generic/array.h"
#include "lib/generic/lru.h"
#include "lib/generic/pack.h"
#include "lib/generic/queue.h"
#include "lib/mm.h"
#include "lib/utils.h"

/** The driver's source of randomness; here it only has to differ from call to call. */
void kr_rnd_buffered(void *data, unsigned int size)
{
	static uint8_t calls;
	memset(data, ++calls, size);
}

static void pool_memory_is_aligned_and_separate(void **state)
{
	struct mempool *pool = mp_new(100);
	uint8_t *at[200];
	for (size_t i = 0; i < 200; ++i) {
		at[i] = mp_alloc(pool, i * 7);
		assert_non_null(at[i]);
		assert_int_equal((uintptr_t)at[i] % 16, 0);
		memset(at[i], (int)i, i * 7);
	}
	for (size_t i = 0; i < 200; ++i) {
		for (size_t j = 0; j < i * 7; ++j)
			assert_int_equal(at[i][j], i);
	}
	mp_delete(pool);
}

static void flushed_pool_reuses_its_first_chunk(void **state)
{
	struct mempool *pool = mp_new(4096);
	const size_t empty = mp_total_size(pool);
	void *first = mp_alloc(pool, 64);
	assert_non_null(mp_alloc(pool, 100000));
	assert_true(mp_total_size(pool) > empty);
	mp_flush(pool);
	assert_int_equal(mp_total_size(pool), empty);
	assert_ptr_equal(mp_alloc(pool, 64), first);
	mp_delete(pool);
}

static void impossible_sizes_are_refused(void **state)
{
	struct mempool *pool = mp_new(4096);
	assert_null(mp_alloc(pool, SIZE_MAX - 8));
	mp_delete(pool);
	assert_null(mm_calloc(NULL, SIZE_MAX / 2, 4));
}

static void realloc_in_a_pool_keeps_the_contents(void **state)
{
	knot_mm_t mm;
	mm_ctx_mempool2(&mm, 4096);
	char *text = mm_strdup(&mm, "keep me");
	text = mm_realloc(&mm, text, 10000, strlen(text) + 1);
	assert_string_equal(text, "keep me");
	mm_free(&mm, text); /* nothing happens */
	mp_delete(mm.ctx);
}

static void array_grows_and_shrinks(void **state)
{
	array_t(int) numbers = {0};
	for (int i = 0; i < 1000; ++i)
		assert_int_equal(array_push(numbers, i), i);
	assert_int_equal(array_tail(numbers), 999);
	assert_int_equal(array_del(numbers, 0), 0);
	assert_int_equal(numbers.at[0], 999);
	assert_int_equal(numbers.len, 999);
	assert_int_equal(array_del(numbers, 5000), kr_error(ENOENT));
	array_pop(numbers);
	assert_int_equal(numbers.len, 998);
	array_clear(numbers);
	array_pop(numbers); /* of an empty one: nothing */
	assert_int_equal(numbers.len, 0);
}

static void pack_finds_and_removes_by_content(void **state)
{
	pack_t pack = {0};
	static const char *const words[] = {"a", "", "long word", "bb"};
	assert_int_equal(pack_reserve(pack, 4, 12), 0);
	for (size_t i = 0; i < 4; ++i)
		assert_int_equal(pack_obj_push(&pack, words[i], strlen(words[i])), 0);
	assert_int_equal(
		pack_obj_push(&pack, "no room left for this one at all", 32), kr_error(ENOSPC));
	assert_non_null(pack_obj_find(&pack, "", 0));
	assert_null(pack_obj_find(&pack, "long", 4));
	assert_int_equal(pack_obj_del(&pack, "", 0), 0);
	assert_int_equal(pack_obj_del(&pack, "", 0), kr_error(ENOENT));
	size_t count = 0;
	for (uint8_t *it = pack_head(pack); it != pack_tail(pack); it = pack_obj_next(it))
		count += 1;
	assert_int_equal(count, 3);
	assert_memory_equal(pack_obj_val(pack_last(pack)), "bb", 2);
	pack_clear(pack);
	assert_null(pack_last(pack));
}

static void queue_is_first_in_first_out(void **state)
{
	queue_t(int) queue;
	queue_init(queue);
	int in = 0, out = 0;
	for (int round = 0; round < 1000; ++round) {
		for (int i = 0; i < 3; ++i)
			assert_int_equal(queue_push(queue, in++), 0);
		for (int i = 0; i < 2; ++i) {
			assert_int_equal(queue_head(queue), out++);
			queue_pop(queue);
		}
	}
	assert_int_equal(queue_len(queue), 1000);
	queue_push_head(queue, -1);
	assert_int_equal(queue_head(queue), -1);
	assert_int_equal(queue_tail(queue), in - 1);
	queue_deinit(queue);
	queue_pop(queue); /* of an empty one: nothing */
	queue_push_head(queue, 7);
	assert_int_equal(queue_head(queue), 7);
	assert_int_equal(queue_tail(queue), 7);
	queue_deinit(queue);
}

static void queue_takes_at_both_ends_in_turn(void **state)
{
	queue_t(int) queue = {0};
	for (int i = 1; i <= 20000; ++i) { /* moving all for each would be felt */
		assert_int_equal(queue_push(queue, i), 0);
		assert_int_equal(queue_push_head(queue, -i), 0);
	}
	int expected = -20000;
	for (queue_it_t(int) it = queue_it_begin(queue); !queue_it_finished(it);
		queue_it_next(it)) {
		assert_int_equal(queue_it_val(it), expected);
		queue_it_val(it) = 0;
		expected += expected == -1 ? 2 : 1;
	}
	assert_int_equal(expected, 20001);
	assert_int_equal(queue_tail(queue), 0);
	queue_deinit(queue);
	queue_it_t(int) none = queue_it_begin(queue);
	assert_true(queue_it_finished(none));
}

static void last_block_of_a_pool_grows_in_its_place(void **state)
{
	knot_mm_t mm;
	mm_ctx_mempool2(&mm, 4096);
	char *first = mm_strdup(&mm, "first");
	char *last = mm_strdup(&mm, "last");
	assert_ptr_equal(mm_realloc(&mm, last, 1000, 5), last);
	memset(last + 5, 'x', 995);
	char *moved = mm_realloc(&mm, first, 1000, 6);
	assert_ptr_not_equal(moved, first);
	assert_string_equal(moved, "first");
	assert_ptr_equal(mm_realloc(&mm, moved, 6, 1000), moved); /* and shrinks */
	assert_ptr_not_equal(mm_realloc(&mm, moved, SIZE_MAX, 6), moved);
	char *next = mm_alloc(&mm, 16);
	memset(next, 'n', 16);
	assert_string_equal(moved, "first");
	assert_memory_equal(last, "last", 5);
	mp_delete(mm.ctx);
}

typedef lru_t(unsigned) counts_t;

static enum lru_apply_do sum_up(const char *key, uint len, unsigned *val, void *baton)
{
	*(unsigned *)baton += *val;
	return *val == 1 ? LRU_APPLY_DO_EVICT : LRU_APPLY_DO_NOTHING;
}

static void lossy_map_keeps_what_is_used_often(void **state)
{
	counts_t *counts = NULL;
	lru_create(&counts, 64, NULL, NULL);
	assert_in_range(lru_capacity(counts), 64, 127);
	bool is_new = false;
	for (int i = 0; i < 1000; ++i) {
		char key[16];
		unsigned *frequent = lru_get_new(counts, "frequent", 8, &is_new);
		assert_non_null(frequent);
		assert_int_equal(is_new, i == 0);
		*frequent += 1;
		snprintf(key, sizeof(key), "rare%d", i);
		unsigned *rare = lru_get_new(counts, key, strlen(key), NULL);
		if (rare)
			*rare = 1;
	}
	assert_int_equal(*lru_get_try(counts, "frequent", 8), 1000);
	assert_null(lru_get_try(counts, "absent", 6));
	unsigned sum = 0;
	lru_apply(counts, sum_up, &sum);
	assert_in_range(sum, 1001, 1000 + lru_capacity(counts));
	sum = 0;
	lru_apply(counts, sum_up, &sum);
	assert_int_equal(sum, 1000); /* the rare ones were evicted */
	lru_reset(counts);
	assert_null(lru_get_try(counts, "frequent", 8));
	lru_free(counts);
}

/** Which of many keys survive in a table that holds about as many? */
static void survivors(char *marks, size_t count)
{
	counts_t *map = NULL;
	lru_create(&map, count, NULL, NULL);
	for (size_t i = 0; i < count; ++i)
		lru_get_new(map, (char *)&i, sizeof(i), NULL);
	for (size_t i = 0; i < count; ++i)
		marks[i] = lru_get_try(map, (char *)&i, sizeof(i)) != NULL;
	lru_free(map);
}

static void nobody_can_tell_which_keys_share_a_group(void **state)
{
	char once[4096], again[4096];
	survivors(once, sizeof(once));
	survivors(again, sizeof(again));
	assert_memory_not_equal(once, again, sizeof(once));
}

static void lossy_map_lives_in_a_pool(void **state)
{
	knot_mm_t mm;
	mm_ctx_mempool2(&mm, 4096);
	counts_t *counts = NULL;
	lru_create(&counts, 64, &mm, &mm);
	*lru_get_new(counts, "key", 3, NULL) = 5;
	assert_int_equal(*lru_get_try(counts, "key", 3), 5);
	assert_null(lru_get_impl(counts->u.map, "key", 3, 1000, true, NULL)); /* other type */
	assert_null(lru_create_impl(8, 64, &mm, &mm)); /* nobody aligns to that */
	mp_delete(mm.ctx);                             /* no lru_free() needed */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pool_memory_is_aligned_and_separate),
		cmocka_unit_test(flushed_pool_reuses_its_first_chunk),
		cmocka_unit_test(impossible_sizes_are_refused),
		cmocka_unit_test(realloc_in_a_pool_keeps_the_contents),
		cmocka_unit_test(array_grows_and_shrinks),
		cmocka_unit_test(pack_finds_and_removes_by_content),
		cmocka_unit_test(last_block_of_a_pool_grows_in_its_place),
		cmocka_unit_test(queue_is_first_in_first_out),
		cmocka_unit_test(queue_takes_at_both_ends_in_turn),
		cmocka_unit_test(lossy_map_keeps_what_is_used_often),
		cmocka_unit_test(nobody_can_tell_which_keys_share_a_group),
		cmocka_unit_test(lossy_map_lives_in_a_pool),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
