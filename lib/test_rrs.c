/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#include "lib/rrs.h"
#include "lib/utils.h"

static const knot_dname_t *const owner = (const uint8_t *)"\3WwW\7example";
static const knot_dname_t *const lower = (const uint8_t *)"\3www\7example";

static int setup(void **state)
{
	knot_mm_t *mm = malloc(sizeof(*mm));
	mm_ctx_mempool2(mm, 4096);
	*state = mm;
	return 0;
}

static int teardown(void **state)
{
	knot_mm_t *mm = *state;
	mp_delete(mm->ctx);
	free(mm);
	return 0;
}

static knot_rrset_t make_a(uint32_t number, uint32_t ttl, knot_mm_t *mm)
{
	knot_rrset_t rr;
	knot_rrset_init(&rr, (knot_dname_t *)owner, KNOT_RRTYPE_A, KNOT_CLASS_IN, ttl);
	assert_int_equal(knot_rrset_add_rdata(&rr, (uint8_t *)&number, 4, mm), 0);
	return rr;
}

static void records_become_one_sorted_set(void **state)
{
	knot_mm_t *mm = *state;
	ranked_rr_array_t array = {0};
	for (uint32_t i = 0; i < 4000; ++i) {
		knot_rrset_t rr = make_a((i * 7919) % 1000, 100 + i, mm);
		assert_int_equal(
			kr_ranked_rrarray_add(&array, &rr, KR_RANK_INITIAL, true, 1, mm), 0);
	}
	assert_int_equal(kr_ranked_rrarray_finalize(&array, 1, mm), 0);
	const knot_rrset_t *rr = array.at[0]->rr;
	assert_int_equal(rr->rrs.count, 1000); /* duplicates are gone */
	assert_int_equal(rr->ttl, 100);        /* C-19: the least */
	assert_true(knot_dname_is_equal(rr->owner, lower));
	for (int i = 1; i < rr->rrs.count; ++i)
		assert_true(knot_rdata_cmp(knot_rdataset_at(&rr->rrs, i - 1),
				    knot_rdataset_at(&rr->rrs, i)) < 0);
	assert_false(array.at[0]->in_progress);
}

static void other_rounds_are_apart_and_lose_their_place(void **state)
{
	knot_mm_t *mm = *state;
	ranked_rr_array_t array = {0};
	knot_rrset_t rr = make_a(1, 60, mm);
	assert_int_equal(kr_ranked_rrarray_add(&array, &rr, KR_RANK_INITIAL, true, 1, mm), 0);
	assert_int_equal(kr_ranked_rrarray_finalize(&array, 1, mm), 0);
	assert_int_equal(kr_ranked_rrarray_add(&array, &rr, KR_RANK_INITIAL, true, 2, mm), 1);
	assert_false(array.at[0]->to_wire);
	assert_true(array.at[1]->to_wire);
}

static void impossible_sets_are_refused(void **state)
{
	knot_mm_t *mm = *state;
	ranked_rr_array_t array = {0};
	knot_rrset_t empty;
	knot_rrset_init(&empty, (knot_dname_t *)owner, KNOT_RRTYPE_A, KNOT_CLASS_IN, 1);
	assert_int_equal(kr_ranked_rrarray_add(&array, &empty, 0, true, 1, mm), kr_error(EINVAL));
	assert_int_equal(kr_ranked_rrarray_add(&array, NULL, 0, true, 1, mm), kr_error(EINVAL));
}

static void ranks_are_tested_by_state_or_bit(void **state)
{
	assert_true(kr_rank_test(KR_RANK_SECURE | KR_RANK_AUTH, KR_RANK_SECURE));
	assert_true(kr_rank_test(KR_RANK_SECURE | KR_RANK_AUTH, KR_RANK_AUTH));
	assert_false(kr_rank_test(KR_RANK_SECURE, KR_RANK_AUTH));
	assert_true(kr_rank_test(KR_RANK_AUTH, KR_RANK_INITIAL));
	assert_false(kr_rank_check(KR_RANK_SECURE | KR_RANK_OMIT));
	uint8_t rank = KR_RANK_INITIAL | KR_RANK_AUTH;
	kr_rank_set(&rank, KR_RANK_SECURE);
	assert_int_equal(rank, KR_RANK_SECURE | KR_RANK_AUTH);
	/* Their order decides what replaces what in the cache. */
	assert_true(KR_RANK_AUTH > KR_RANK_INSECURE &&
		    (KR_RANK_AUTH | KR_RANK_INSECURE) > KR_RANK_AUTH);
	assert_true(KR_RANK_SECURE > (KR_RANK_AUTH | KR_RANK_INSECURE));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(records_become_one_sorted_set, setup, teardown),
		cmocka_unit_test_setup_teardown(
			other_rounds_are_apart_and_lose_their_place, setup, teardown),
		cmocka_unit_test_setup_teardown(impossible_sets_are_refused, setup, teardown),
		cmocka_unit_test(ranks_are_tested_by_state_or_bit),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
