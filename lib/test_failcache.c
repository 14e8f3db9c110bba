/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>
#include <libknot/libknot.h>

#include "lib/failcache.h"

#define CAPACITY 64
#define MIN_MS (KR_FAIL_TTL_MIN_S * 1000)
#define MAX_MS (KR_FAIL_TTL_MAX_S * 1000)
#define A KNOT_RRTYPE_A
#define AAAA KNOT_RRTYPE_AAAA

static const knot_dname_t *const name = (const uint8_t *)"\3www\7example\3com";

static int setup(void **state)
{
	*state = kr_failcache_new(CAPACITY, 12345);
	return *state ? 0 : -1;
}

static int teardown(void **state)
{
	kr_failcache_free(*state);
	return 0;
}

static uint32_t check(struct kr_failcache *fc, uint64_t now)
{
	return kr_failcache_check(fc, KR_FAIL_QUESTION, name, A, NULL, now);
}

static void b33_five_seconds_then_twice_as_long_up_to_a_minute(void **state)
{
	struct kr_failcache *fc = *state;
	uint64_t now = 1000;
	uint32_t expected = MIN_MS;
	for (int i = 0; i < 8; ++i) {
		assert_int_equal(check(fc, now), 0);
		kr_failcache_add(fc, KR_FAIL_QUESTION, name, A, -1, now);
		assert_int_equal(check(fc, now), expected);
		assert_int_equal(check(fc, now + expected - 1), 1);
		now += expected;
		assert_int_equal(check(fc, now), 0);
		expected = KR_MIN(2 * expected, MAX_MS);
	}
	now += 2 * MAX_MS; /* it has not failed for long: from the start */
	kr_failcache_add(fc, KR_FAIL_QUESTION, name, A, -1, now);
	assert_int_equal(check(fc, now), MIN_MS);
}

static void asking_again_does_not_prolong(void **state)
{
	struct kr_failcache *fc = *state;
	kr_failcache_add(fc, KR_FAIL_QUESTION, name, A, -1, 1000);
	for (uint64_t now = 1000; now < 1000 + MIN_MS; now += 100)
		kr_failcache_add(fc, KR_FAIL_QUESTION, name, A, -1, now);
	assert_int_equal(check(fc, 1000 + MIN_MS), 0);
}

static void an_answer_ends_it(void **state)
{
	struct kr_failcache *fc = *state;
	kr_failcache_add(fc, KR_FAIL_QUESTION, name, A, -1, 1000);
	kr_failcache_del(fc, KR_FAIL_QUESTION, name, A);
	assert_int_equal(check(fc, 1000), 0);
	kr_failcache_add(fc, KR_FAIL_QUESTION, name, A, -1, 1000);
	assert_int_equal(check(fc, 1000), MIN_MS); /* the past is forgotten too */
}

static void kinds_types_and_names_are_apart(void **state)
{
	struct kr_failcache *fc = *state;
	kr_failcache_add(fc, KR_FAIL_QUESTION, name, A, 22, 1000);
	assert_int_equal(kr_failcache_check(fc, KR_FAIL_QUESTION, name, AAAA, NULL, 1000), 0);
	assert_int_equal(kr_failcache_check(fc, KR_FAIL_BOGUS, name, A, NULL, 1000), 0);
	assert_int_equal(kr_failcache_check(fc, KR_FAIL_ADDRESS, name, A, NULL, 1000), 0);
	assert_int_equal(kr_failcache_check(fc, KR_FAIL_CUT, name, A, NULL, 1000), 0);
	assert_int_equal(kr_failcache_check(fc, KR_FAIL_QUESTION, name + 4, A, NULL, 1000), 0);
	int ede = -1;
	assert_true(kr_failcache_check(fc, KR_FAIL_QUESTION, name, A, &ede, 1000) > 0);
	assert_int_equal(ede, 22);
}

/** changing type or letter case does not get around it. */
static void a16_variations_share_the_failure(void **state)
{
	struct kr_failcache *fc = *state;
	const knot_dname_t *loud = (const uint8_t *)"\3WWW\7eXaMpLe\3COM";
	kr_failcache_add(fc, KR_FAIL_CUT, name, 0, -1, 1000);
	for (int type = 1; type < 300; ++type)
		assert_true(kr_failcache_check(fc, KR_FAIL_CUT, loud, type, NULL, 1000) > 0);
	kr_failcache_add(fc, KR_FAIL_QUESTION, loud, A, -1, 1000);
	assert_true(check(fc, 1000) > 0);
	kr_failcache_forget(fc, loud, false);
	assert_int_equal(check(fc, 1000), 0);
	assert_int_equal(kr_failcache_check(fc, KR_FAIL_CUT, name, 0, NULL, 1000), 0);
}

static void forgetting_takes_a_name_or_a_subtree(void **state)
{
	struct kr_failcache *fc = *state;
	const knot_dname_t *parent = name + 4;
	const knot_dname_t *other = (const uint8_t *)"\3www\7exemple\3com";
	const knot_dname_t *similar = (const uint8_t *)"\3www\12notexample\3com";
	const knot_dname_t *long_name =
		(const uint8_t *)"\50aaaaaaaaaabbbbbbbbbbccccccccccdddddddddd\3www\7example\3com";
	const knot_dname_t *all[] = {name, parent, other, similar, long_name};
	for (int round = 0; round < 3; ++round) {
		kr_failcache_clear(fc);
		for (size_t i = 0; i < KR_COUNT_OF(all); ++i)
			kr_failcache_add(fc, KR_FAIL_QUESTION, all[i], A, -1, 1000);
		if (round == 0)
			kr_failcache_forget(fc, name, false);
		else
			kr_failcache_forget(fc, round == 1 ? parent : (const uint8_t *)"", true);
		const bool gone[3][5] = {{true, false, false, false, false},
			{true, true, false, false, true}, {true, true, true, true, true}};
		for (size_t i = 0; i < KR_COUNT_OF(all); ++i)
			assert_int_equal(kr_failcache_check(
						 fc, KR_FAIL_QUESTION, all[i], A, NULL, 1000) == 0,
				gone[round][i]);
	}
}

/** C-39: bounded, and the latest failures are those that count. (B-33) */
static void it_is_bounded(void **state)
{
	struct kr_failcache *fc = *state;
	unsigned known = 0;
	for (int pass = 0; pass < 2; ++pass) {
		for (int i = 0; i < 5000; ++i) {
			char text[32];
			knot_dname_storage_t many;
			snprintf(text, sizeof(text), "n%d.example.", i);
			knot_dname_from_str(many, text, sizeof(many));
			if (pass == 0) {
				kr_failcache_add(fc, KR_FAIL_QUESTION, many, A, -1, 1000 + i / 10);
				assert_true(kr_failcache_check(fc, KR_FAIL_QUESTION, many, A, NULL,
						    1000 + i / 10) > 0);
			} else {
				known += kr_failcache_check(
						 fc, KR_FAIL_QUESTION, many, A, NULL, 1500) > 0;
			}
		}
	}
	assert_in_range(known, CAPACITY / 2, CAPACITY);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			b33_five_seconds_then_twice_as_long_up_to_a_minute, setup, teardown),
		cmocka_unit_test_setup_teardown(asking_again_does_not_prolong, setup, teardown),
		cmocka_unit_test_setup_teardown(an_answer_ends_it, setup, teardown),
		cmocka_unit_test_setup_teardown(kinds_types_and_names_are_apart, setup, teardown),
		cmocka_unit_test_setup_teardown(a16_variations_share_the_failure, setup, teardown),
		cmocka_unit_test_setup_teardown(
			forgetting_takes_a_name_or_a_subtree, setup, teardown),
		cmocka_unit_test_setup_teardown(it_is_bounded, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
