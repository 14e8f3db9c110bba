/* SPDX-License-Identifier: GPL-3.0-or-later */
/* F-17: memory that cannot be had costs a request at most. One allocation after the other fails, in
 * a script that touches every room; nothing may crash, hang or leak (run with ASan). The linker
 * leads our allocations through the functions here (--wrap). */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "tests/sim/rig.h"

#define HONEST "203.0.113.1"
/** Of the allocations of the script every so many-th is made to fail; OOM_STEP=1 for all,
 * OOM_AT for one. */
#define STEP_DEFAULT 7

static uint64_t allocations; /**< since counting began */
static uint64_t fails_at;    /**< this one fails; 0 = none */
static bool is_counting;

static bool fails(void)
{
	return is_counting && ++allocations == fails_at;
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *ptr, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *ptr, size_t size);

void *__wrap_malloc(size_t size)
{
	return fails() ? NULL : __real_malloc(size);
}
void *__wrap_calloc(size_t count, size_t size)
{
	return fails() ? NULL : __real_calloc(count, size);
}
void *__wrap_realloc(void *ptr, size_t size)
{
	return fails() ? NULL : __real_realloc(ptr, size);
}

/* The pool of a request asks for memory now and then only, so its users are led here as well. */
void *__real_mm_alloc(knot_mm_t *mm, size_t size);
void *__real_mm_calloc(knot_mm_t *mm, size_t n, size_t size);
void *__real_mm_realloc(knot_mm_t *mm, void *what, size_t size, size_t prev_size);
void *__real_mm_memdup(knot_mm_t *mm, const void *what, size_t size);
void *__wrap_mm_alloc(knot_mm_t *mm, size_t size);
void *__wrap_mm_calloc(knot_mm_t *mm, size_t n, size_t size);
void *__wrap_mm_realloc(knot_mm_t *mm, void *what, size_t size, size_t prev_size);
void *__wrap_mm_memdup(knot_mm_t *mm, const void *what, size_t size);

void *__wrap_mm_alloc(knot_mm_t *mm, size_t size)
{
	return fails() ? NULL : __real_mm_alloc(mm, size);
}
void *__wrap_mm_calloc(knot_mm_t *mm, size_t n, size_t size)
{
	return fails() ? NULL : __real_mm_calloc(mm, n, size);
}
void *__wrap_mm_realloc(knot_mm_t *mm, void *what, size_t size, size_t prev_size)
{
	return fails() ? NULL : __real_mm_realloc(mm, what, size, prev_size);
}
void *__wrap_mm_memdup(knot_mm_t *mm, const void *what, size_t size)
{
	return fails() ? NULL : __real_mm_memdup(mm, what, size);
}

/* ---- the world ---- */

static enum sim_reaction answer(struct rig_question *q)
{
	if (q_under(q, "alias.zone.")) {
		q_begin(q, R_AA);
		q_name(q, R_ANSWER, q->name, KNOT_RRTYPE_CNAME, "www.zone.");
		return SIM_REPLY;
	}
	if (q_under(q, "below.dname.zone.")) {
		q_begin(q, R_AA);
		q_name(q, R_ANSWER, "dname.zone.", KNOT_RRTYPE_DNAME, "zone.");
		return SIM_REPLY;
	}
	if (q_under(q, "big.zone.") && !q->is_stream) {
		q_begin(q, R_TC);
		return SIM_REPLY;
	}
	if (q_under(q, "servfail.zone."))
		return q_rcode(q, KNOT_RCODE_SERVFAIL);
	if (q_under(q, "silent.zone."))
		return SIM_SILENCE;
	if (q_under(q, "no.zone."))
		return q_nxdomain(q, "zone.");
	return q_address(q, "zone.", HONEST);
}

static enum sim_reaction serve(struct rig_question *q)
{
	/* what a server does is not ours */
	const bool was_counting = is_counting;
	is_counting = false;
	enum sim_reaction reaction;
	if (strcmp(q->server, RIG_ROOT) != 0) {
		reaction = answer(q);
	} else if (q_under(q, "glueless.")) {
		q_begin(q, 0);
		q_name(q, R_AUTHORITY, "glueless.", KNOT_RRTYPE_NS, "www.zone.");
		reaction = SIM_REPLY;
	} else {
		reaction = q_under(q, "zone.") ? q_refer(q, "zone.", "ns.zone.", "192.0.2.10")
					       : q_nxdomain(q, ".");
	}
	is_counting = was_counting;
	return reaction;
}

static const char *const script[] = {"www.zone.", "a.b.c.zone.", "alias.zone.", "www.zone.",
	"below.dname.zone.", "big.zone.", "no.zone.", "x.no.zone.", "servfail.zone.",
	"www.glueless.", "silent.zone.", "www.zone.", "no.such.tld."};

/** @return allocations of the script */
static uint64_t play(uint64_t fail)
{
	is_counting = false;
	struct rig *rig = rig_open(serve, NULL, true);
	allocations = 0;
	fails_at = fail;
	for (size_t i = 0; i < KR_COUNT_OF(script); ++i) {
		is_counting = true;
		const int rcode =
			rig_ask(rig, (struct rig_ask){.name = script[i], .is_stream = i & 1});
		is_counting = false;
		if (rcode == KNOT_RCODE_NOERROR && !rig_answer_has_a(rig, HONEST))
			fail_msg("allocation %u fails: wrong answer for %s", (unsigned)fail,
				script[i]);
		if (rig->took_ms > 8000 && rcode >= 0)
			fail_msg("allocation %u fails: %s takes %u ms", (unsigned)fail, script[i],
				(unsigned)rig->took_ms);
	}
	/* it goes on as if nothing had been */
	simnet_pass(&rig->net, 70000);
	if (rig_ask_a(rig, "after.zone.") != 0 || !rig_answer_has_a(rig, HONEST))
		fail_msg("allocation %u failed: nothing works any more", (unsigned)fail);
	rig_close(rig);
	return allocations;
}

static void each_allocation_fails_once(void **state)
{
	const char *only = getenv("OOM_AT"), *text = getenv("OOM_STEP");
	if (only) {
		play(atoi(only));
		return;
	}
	const unsigned step = text ? atoi(text) : STEP_DEFAULT;
	const uint64_t all = play(0);
	assert_true(all > 200);
	for (uint64_t i = 1; i <= all; i += step)
		play(i);
	print_message("%u allocations\n", (unsigned)all);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(each_allocation_fails_once)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
