/* SPDX-License-Identifier: GPL-3.0-or-later */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include <libknot/packet/wire.h>
#include <libknot/rrtype/opt.h>

#include "daemon/answers.h"
#include "lib/mm.h"

static const uint8_t seed[16] = "a seed of a test";

/** A finished request with its answer. */
struct sample {
	knot_mm_t pool;
	struct kr_request req;
	struct kr_query qry;
	struct kr_query *resolved[1];
	knot_pkt_t *question;
	struct inquiry inq;
};

static void sample_init(
	struct sample *s, const char *name, uint16_t rcode, uint32_t ttl, int addresses)
{
	memset(s, 0, sizeof(*s));
	mm_ctx_mempool2(&s->pool, 4096);
	knot_dname_storage_t qname;
	assert_non_null(knot_dname_from_str(qname, name, sizeof(qname)));
	s->question = knot_pkt_new(NULL, 512, &s->pool);
	knot_pkt_put_question(s->question, qname, KNOT_CLASS_IN, KNOT_RRTYPE_A);
	knot_wire_set_id(s->question->wire, 0x1234);
	knot_wire_set_rd(s->question->wire);
	inquiry_examine(&s->inq, (struct bytes){s->question->wire, s->question->size}, false);
	assert_int_equal(s->inq.verdict, INQUIRY_RESOLVE);

	knot_pkt_t *answer = knot_pkt_new(NULL, 4096, &s->pool);
	knot_pkt_init_response(answer, s->question);
	knot_wire_set_rcode(answer->wire, rcode);
	knot_pkt_begin(answer, KNOT_ANSWER);
	knot_rrset_t *rr = knot_rrset_new(qname, KNOT_RRTYPE_A, KNOT_CLASS_IN, ttl, &s->pool);
	for (int i = 0; i < addresses; ++i) {
		const uint8_t rdata[4] = {192, 0, 2, i};
		knot_rrset_add_rdata(rr, rdata, sizeof(rdata), &s->pool);
	}
	if (addresses > 0)
		assert_int_equal(knot_pkt_put(answer, KNOT_COMPR_HINT_QNAME, rr, 0), 0);
	s->req.answer = answer;
	s->req.state = KR_STATE_DONE;
	s->req.extended_error.info_code = KR_EDE_NONE;
	s->resolved[0] = &s->qry;
	s->req.rplan.resolved.at = s->resolved;
	s->req.rplan.resolved.len = 1;
}

static void sample_deinit(struct sample *s)
{
	mp_delete(s->pool.ctx);
}

static struct answers_place at(uint32_t now_s)
{
	return (struct answers_place){
		.via = ANSWERS_UDP, .limit = 1232, .generation = 1, .now_s = now_s};
}

static void store_at(struct answers *l0, struct sample *s, const struct answers_place *place)
{
	answers_store(l0, &s->inq, &s->req, place);
}

static struct bytes find_at(struct answers *l0, struct sample *s, const struct answers_place *place)
{
	return answers_find(
		l0, &s->inq, (struct bytes){s->question->wire, s->question->size}, place, 0);
}

static void store(struct answers *l0, struct sample *s, uint32_t now_s)
{
	const struct answers_place place = at(now_s);
	store_at(l0, s, &place);
}

static struct bytes find(struct answers *l0, struct sample *s, uint32_t now_s)
{
	const struct answers_place place = at(now_s);
	return find_at(l0, s, &place);
}

static knot_pkt_t *parse(struct sample *s, struct bytes wire)
{
	knot_pkt_t *pkt = knot_pkt_new(mm_memdup(&s->pool, wire.at, wire.len), wire.len, &s->pool);
	assert_int_equal(knot_pkt_parse(pkt, KNOT_PF_KEEPWIRE), 0);
	return pkt;
}

static void hit_follows_the_question(void **state)
{
	struct answers *l0 = answers_new(1 << 20, seed);
	struct sample s, again;
	sample_init(&s, "www.example.com.", KNOT_RCODE_NOERROR, 300, 3);
	sample_init(&again, "wWw.EXAMPLE.com.", KNOT_RCODE_NOERROR, 300, 3);
	knot_wire_set_id(again.question->wire, 0xbeef);
	inquiry_examine(
		&again.inq, (struct bytes){again.question->wire, again.question->size}, false);
	store(l0, &s, 1000);
	const struct bytes wire = find(l0, &again, 1042);
	assert_non_null(wire.at);
	assert_int_equal(knot_wire_get_id(wire.at), 0xbeef);
	assert_memory_equal(wire.at + 12, again.question->wire + 12, again.question->qname_size);
	const knot_pkt_t *pkt = parse(&s, wire);
	const knot_pktsection_t *answer = knot_pkt_section(pkt, KNOT_ANSWER);
	assert_int_equal(answer->count, 3);
	for (int i = 0; i < 3; ++i)
		assert_int_equal(knot_pkt_rr(answer, i)->ttl, 300 - 42);
	answers_free(l0);
	sample_deinit(&s);
	sample_deinit(&again);
}

static uint32_t first_ttl(struct sample *s, struct bytes wire)
{
	return knot_pkt_rr(knot_pkt_section(parse(s, wire), KNOT_ANSWER), 0)->ttl;
}

static void never_served_beyond_its_end(void **state)
{
	struct answers *l0 = answers_new(1 << 20, seed);
	struct sample s;
	sample_init(&s, "www.example.com.", KNOT_RCODE_NOERROR, 100, 1);
	store(l0, &s, 1000);
	assert_int_equal(first_ttl(&s, find(l0, &s, 1099)), 1);
	assert_null(find(l0, &s, 1100).at);
	assert_int_equal(answers_count(l0), 0);
	store(l0, &s, 1000);
	assert_null(find(l0, &s, 999).at); /* the clock was set back */
	assert_int_equal(answers_count(l0), 0);
	sample_deinit(&s);
	sample_init(&s, "www.example.com.", KNOT_RCODE_NOERROR, 0, 1);
	store(l0, &s, 1000);
	assert_int_equal(answers_count(l0), 0);
	answers_free(l0);
	sample_deinit(&s);
}

/** Somebody prefetches: the last seconds are seen by the layers. */
static void the_end_is_left_to_those_who_want_it(void **state)
{
	struct answers *l0 = answers_new(1 << 20, seed);
	struct sample s;
	sample_init(&s, "www.example.com.", KNOT_RCODE_NOERROR, 100, 1);
	struct answers_place place = at(1000);
	place.keep_off_end = true;
	store_at(l0, &s, &place);
	place.now_s = 1093;
	assert_non_null(find_at(l0, &s, &place).at);
	place.now_s = 1094;
	assert_null(find_at(l0, &s, &place).at);
	place.keep_off_end = false;
	assert_non_null(find_at(l0, &s, &place).at);
	answers_free(l0);
	sample_deinit(&s);
}

/** Everything an answer depends on has to be the same. */
static void other_circumstances_miss(void **state)
{
	struct answers *l0 = answers_new(1 << 20, seed);
	struct sample s;
	sample_init(&s, "www.example.com.", KNOT_RCODE_NOERROR, 300, 1);
	store(l0, &s, 1000);
	assert_non_null(find(l0, &s, 1002).at);
	for (int i = 0; i < 13; ++i) {
		struct answers_place place = at(1002);
		const struct inquiry same = s.inq;
		switch (i) {
		case 0:
			place.via = ANSWERS_TLS;
			break;
		case 1:
			place.via = ANSWERS_STREAM;
			break;
		case 2:
			place.via = ANSWERS_HTTPS;
			break;
		case 3:
			place.limit = 512;
			break;
		case 4:
			place.client_class = 1;
			break;
		case 5:
			s.inq.has_do = true;
			break;
		case 6:
			s.inq.cd = true;
			break;
		case 7:
			s.inq.rd = false;
			break;
		case 8:
			s.inq.ad = !s.inq.ad;
			break;
		case 9:
			s.inq.has_edns = true;
			break;
		case 10:
			s.inq.qtype = KNOT_RRTYPE_AAAA;
			break;
		case 11:
			s.inq.options = INQUIRY_OPTION_NSID;
			break;
		default:
			s.inq.options = INQUIRY_OPTION_OTHER;
			break;
		}
		if (find_at(l0, &s, &place).at)
			fail_msg("case %d was found", i);
		s.inq = same;
	}
	s.inq.options = INQUIRY_OPTION_MUTE; /* padding, say */
	assert_non_null(find(l0, &s, 1002).at);
	struct answers_place place = at(1002);
	place.generation = 2;
	assert_null(find_at(l0, &s, &place).at);
	assert_int_equal(answers_count(l0), 0); /* the other generation emptied the place */
	answers_free(l0);
	sample_deinit(&s);
}

static void unfit_answers_are_not_kept(void **state)
{
	struct answers *l0 = answers_new(1 << 20, seed);
	struct sample s;
	for (int i = 0; i < 11; ++i) {
		sample_init(&s, "www.example.com.",
			i == 0 ? KNOT_RCODE_SERVFAIL : KNOT_RCODE_NOERROR, 300, i == 1 ? 0 : 1);
		if (i == 2)
			s.req.repeat = KR_REPEAT_NEVER;
		else if (i == 3)
			knot_wire_set_aa(s.req.answer->wire);
		else if (i == 4)
			s.req.state = KR_STATE_FAIL;
		else if (i == 5)
			s.req.extended_error.info_code = KNOT_EDNS_EDE_STALE;
		else if (i == 6)
			s.req.options.NO_CACHE = true;
		else if (i == 7)
			s.qry.flags.EXPIRING = true;
		else if (i == 8)
			s.inq.options = INQUIRY_OPTION_OTHER;
		else if (i == 9)
			s.req.answer = NULL;
		else if (i == 10)
			s.req.answer->size -= 1; /* not all of a record */
		struct answers_place place = at(1000);
		place.keep_off_end = true;
		store_at(l0, &s, &place);
		if (answers_count(l0) != 0)
			fail_msg("case %d was kept", i);
		sample_deinit(&s);
	}
	answers_free(l0);
}

/** What rules made of question and configuration stays as it is, TTLs too. */
static void made_answers_do_not_age(void **state)
{
	struct answers *l0 = answers_new(1 << 20, seed);
	struct sample s;
	sample_init(&s, "blocked.example.com.", KNOT_RCODE_NXDOMAIN, 10800, 1);
	knot_wire_set_aa(s.req.answer->wire);
	s.req.rplan.resolved.len = 0;
	store(l0, &s, 1000);
	assert_int_equal(answers_count(l0), 0); /* nobody said so */
	s.req.repeat = KR_REPEAT_MADE;
	s.req.extended_error.info_code = KNOT_EDNS_EDE_BLOCKED;
	store(l0, &s, 1000);
	assert_int_equal(first_ttl(&s, find(l0, &s, 1500)), 10800);
	struct answers_place place = at(1500);
	place.generation = 2;
	assert_null(find_at(l0, &s, &place).at);
	answers_free(l0);
	sample_deinit(&s);
}

/** A truncated answer is as good as what did not fit, and only for those who take as little. */
static void truncated_answers_last_as_long_as_what_is_left_out(void **state)
{
	struct answers *l0 = answers_new(1 << 20, seed);
	struct sample s;
	sample_init(&s, "www.example.com.", KNOT_RCODE_NOERROR, 300, 0);
	knot_wire_set_tc(s.req.answer->wire);
	store(l0, &s, 1000);
	assert_int_equal(answers_count(l0), 0); /* nothing says for how long */
	knot_rrset_t rr = {.ttl = 60};
	ranked_rr_array_entry_t entry = {.to_wire = true, .rr = &rr};
	ranked_rr_array_entry_t *list[] = {&entry};
	s.req.answ_selected = (ranked_rr_array_t){.at = list, .len = 1};
	store(l0, &s, 1000);
	assert_non_null(find(l0, &s, 1059).at);
	assert_null(find(l0, &s, 1060).at);
	answers_free(l0);
	sample_deinit(&s);
}

static void addresses_take_turns(void **state)
{
	struct answers *l0 = answers_new(1 << 20, seed);
	struct sample s;
	sample_init(&s, "www.example.com.", KNOT_RCODE_NOERROR, 300, 4);
	store(l0, &s, 1000);
	unsigned seen = 0;
	for (uint32_t rotate = 1; rotate <= 4; ++rotate) {
		const struct answers_place place = at(1001);
		const struct bytes wire = answers_find(l0, &s.inq,
			(struct bytes){s.question->wire, s.question->size}, &place, rotate);
		const knot_pkt_t *pkt = parse(&s, wire);
		const knot_pktsection_t *answer = knot_pkt_section(pkt, KNOT_ANSWER);
		assert_int_equal(answer->count, 4);
		const uint8_t first = knot_pkt_rr(answer, 0)->rrs.rdata->data[3];
		seen |= 1u << first;
		for (int i = 0; i < 4; ++i) {
			assert_int_equal(knot_pkt_rr(answer, i)->ttl, 299);
			assert_int_equal(
				knot_pkt_rr(answer, i)->rrs.rdata->data[3], (first + i) % 4);
		}
	}
	assert_int_equal(seen, 15);
	answers_free(l0);
	sample_deinit(&s);
}

static void memory_stays_bounded(void **state)
{
	const size_t max_bytes = 256 * 1024;
	struct answers *l0 = answers_new(max_bytes, seed);
	struct sample s;
	for (int i = 0; i < 3000; ++i) {
		char name[40];
		snprintf(name, sizeof(name), "n%d.example.com.", i);
		sample_init(&s, name, KNOT_RCODE_NOERROR, 300, 8);
		store(l0, &s, 1000 + i);
		assert_non_null(find(l0, &s, 1000 + i).at); /* the latest is there */
		assert_true(answers_bytes(l0) <= max_bytes);
		sample_deinit(&s);
	}
	assert_in_range(answers_count(l0), 100, max_bytes / 200);
	answers_free(l0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hit_follows_the_question),
		cmocka_unit_test(never_served_beyond_its_end),
		cmocka_unit_test(the_end_is_left_to_those_who_want_it),
		cmocka_unit_test(other_circumstances_miss),
		cmocka_unit_test(unfit_answers_are_not_kept),
		cmocka_unit_test(made_answers_do_not_age),
		cmocka_unit_test(truncated_answers_last_as_long_as_what_is_left_out),
		cmocka_unit_test(addresses_take_turns),
		cmocka_unit_test(memory_stays_bounded),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
