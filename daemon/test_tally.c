/* SPDX-License-Identifier: GPL-3.0-or-later */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "daemon/siphash.h"
#include "daemon/tally.h"

static void limit_holds_and_is_given_back(void **state)
{
	struct tally tally;
	assert_int_equal(tally_init(&tally, 8), 0);
	assert_int_equal(tally_take(&tally, 7, 2), 0);
	assert_int_equal(tally_take(&tally, 7, 2), 0);
	assert_int_equal(tally_take(&tally, 7, 2), kr_error(EDQUOT));
	assert_int_equal(tally_count(&tally, 7), 2);
	tally_give(&tally, 7);
	assert_int_equal(tally_take(&tally, 7, 2), 0);
	tally_give(&tally, 7);
	tally_give(&tally, 7);
	tally_give(&tally, 7); /* one too many is harmless */
	assert_int_equal(tally_count(&tally, 7), 0);
	tally_deinit(&tally);
}

static void limit_adapts_between_floor_and_ceiling(void **state)
{
	struct tally tally;
	assert_int_equal(tally_init(&tally, 8), 0);
	assert_int_equal(tally_take(&tally, 1, 16), 0);
	for (int i = 0; i < 20; ++i)
		tally_shrink(&tally, 1, 8, 1 + i * TALLY_STEP_MS);
	for (int i = 1; i < 8; ++i)
		assert_int_equal(tally_take(&tally, 1, 16), 0);
	assert_int_equal(tally_take(&tally, 1, 16), kr_error(EDQUOT));
	tally_grow(&tally, 1, 9);
	tally_grow(&tally, 1, 9);
	assert_int_equal(tally_take(&tally, 1, 16), 0);
	assert_int_equal(tally_take(&tally, 1, 16), kr_error(EDQUOT));
	tally_deinit(&tally);
}

static void what_goes_badly_together_counts_once(void **state)
{
	struct tally tally;
	assert_int_equal(tally_init(&tally, 8), 0);
	assert_int_equal(tally_take(&tally, 1, 16), 0);
	for (int i = 0; i < 100; ++i)
		tally_shrink(&tally, 1, 4, 5000 + i);
	for (int i = 1; i < 12; ++i)
		assert_int_equal(tally_take(&tally, 1, 16), 0);
	assert_int_equal(tally_take(&tally, 1, 16), kr_error(EDQUOT));
	tally_deinit(&tally);
}

/** Keys that fall into one run of slots are found whatever goes first. */
static void removal_keeps_neighbours(void **state)
{
	struct tally tally;
	assert_int_equal(tally_init(&tally, 8), 0); /* 16 slots */
	for (uint64_t order = 0; order < 5; ++order) {
		for (uint64_t i = 0; i < 5;
			++i) /* all at home in the last slot: the run wraps around */
			assert_int_equal(tally_take(&tally, 15 + 16 * i, 9), 0);
		const uint64_t gone = 15 + 16 * order;
		tally_give(&tally, gone);
		for (uint64_t i = 0; i < 5; ++i)
			assert_int_equal(tally_count(&tally, 15 + 16 * i), i == order ? 0 : 1);
		for (uint64_t i = 0; i < 5; ++i)
			tally_give(&tally, 15 + 16 * i);
		assert_int_equal(tally.used, 0);
	}
	tally_deinit(&tally);
}

static void full_table_says_so(void **state)
{
	struct tally tally;
	assert_int_equal(tally_init(&tally, 8), 0);
	int ret = 0, keys = 0;
	while (keys < 100 && (ret = tally_take(&tally, 1000 + keys, 1)) == 0)
		++keys;
	assert_int_equal(ret, kr_error(ENOSPC));
	assert_in_range(keys, 8, 15);
	tally_deinit(&tally);
}

/** Vectors of the reference paper's appendix: key 00..0f, input 00..0e. */
static void siphash_is_siphash(void **state)
{
	const uint8_t input[15] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14};
	const struct sip_key key = {0x0706050403020100ULL, 0x0f0e0d0c0b0a0908ULL};
	assert_true(siphash24(&key, input, sizeof(input)) == 0xa129ca6149be45e5ULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(limit_holds_and_is_given_back),
		cmocka_unit_test(limit_adapts_between_floor_and_ceiling),
		cmocka_unit_test(what_goes_badly_together_counts_once),
		cmocka_unit_test(removal_keeps_neighbours),
		cmocka_unit_test(full_table_says_so),
		cmocka_unit_test(siphash_is_siphash),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
