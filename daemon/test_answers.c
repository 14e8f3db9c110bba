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

static void store(struct answers *l0, struct sample *s, uint64_t now_ms)
{
	answers_store(l0, &s->inq, &s->req, ANSWERS_UDP, 1232, 1, now_ms);
}

static struct bytes find(struct answers *l0, struct sample *s, uint64_t now_ms)
{
	return answers_find(l0, &s->inq, (struct bytes){s->question->wire, s->question->size},
		ANSWERS_UDP, 1232, 1, now_ms, 0);
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
	const struct bytes wire = find(l0, &again, 1000 + 42 * 1000);
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

static void never_served_near_or_beyond_its_end(void **state)
{
	struct answers *l0 = answers_new(1 << 20, seed);
	struct sample s;
	sample_init(&s, "www.example.com.", KNOT_RCODE_NOERROR, 100, 1);
	store(l0, &s, 1000);
	assert_non_null(find(l0, &s, 1000 + 89999).at);
	assert_null(
		find(l0, &s, 1000 + 90000).at); /* a tenth is left: somebody may want to prefetch */
	assert_int_equal(answers_count(l0), 0);
	sample_deinit(&s);
	sample_init(&s, "www.example.com.", KNOT_RCODE_NOERROR, 5, 1);
	store(l0, &s, 1000);
	assert_int_equal(answers_count(l0), 0);
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
	const struct bytes question = {s.question->wire, s.question->size};
	assert_non_null(answers_find(l0, &s.inq, question, ANSWERS_UDP, 1232, 1, 2000, 0).at);
	assert_null(answers_find(l0, &s.inq, question, ANSWERS_TLS, 1232, 1, 2000, 0).at);
	assert_null(answers_find(l0, &s.inq, question, ANSWERS_STREAM, 1232, 1, 2000, 0).at);
	assert_null(answers_find(l0, &s.inq, question, ANSWERS_UDP, 512, 1, 2000, 0).at);
	struct inquiry other = s.inq;
	other.has_do = true;
	assert_null(answers_find(l0, &other, question, ANSWERS_UDP, 1232, 1, 2000, 0).at);
	other = s.inq;
	other.cd = true;
	assert_null(answers_find(l0, &other, question, ANSWERS_UDP, 1232, 1, 2000, 0).at);
	other = s.inq;
	other.rd = false;
	assert_null(answers_find(l0, &other, question, ANSWERS_UDP, 1232, 1, 2000, 0).at);
	other = s.inq;
	other.has_edns = true;
	assert_null(answers_find(l0, &other, question, ANSWERS_UDP, 1232, 1, 2000, 0).at);
	other = s.inq;
	other.qtype = KNOT_RRTYPE_AAAA;
	assert_null(answers_find(l0, &other, question, ANSWERS_UDP, 1232, 1, 2000, 0).at);
	other = s.inq;
	other.has_options = true;
	assert_null(answers_find(l0, &other, question, ANSWERS_UDP, 1232, 1, 2000, 0).at);
	assert_null(answers_find(l0, &s.inq, question, ANSWERS_UDP, 1232, 2, 2000, 0).at);
	assert_int_equal(answers_count(l0), 0); /* the other generation emptied the place */
	answers_free(l0);
	sample_deinit(&s);
}

static void unfit_answers_are_not_kept(void **state)
{
	struct answers *l0 = answers_new(1 << 20, seed);
	struct sample s;
	for (int i = 0; i < 10; ++i) {
		sample_init(&s, "www.example.com.",
			i == 0 ? KNOT_RCODE_SERVFAIL : KNOT_RCODE_NOERROR, 300, i == 1 ? 0 : 1);
		if (i == 2)
			knot_wire_set_tc(s.req.answer->wire);
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
			s.inq.has_options = true;
		else if (i == 9)
			s.req.answer = NULL;
		store(l0, &s, 1000);
		if (answers_count(l0) != 0)
			fail_msg("case %d was kept", i);
		sample_deinit(&s);
	}
	answers_free(l0);
}

static void addresses_take_turns(void **state)
{
	struct answers *l0 = answers_new(1 << 20, seed);
	struct sample s;
	sample_init(&s, "www.example.com.", KNOT_RCODE_NOERROR, 300, 4);
	store(l0, &s, 1000);
	unsigned seen = 0;
	for (uint32_t rotate = 1; rotate <= 4; ++rotate) {
		const struct bytes wire =
			answers_find(l0, &s.inq, (struct bytes){s.question->wire, s.question->size},
				ANSWERS_UDP, 1232, 1, 2000, rotate);
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
		sample_deinit(&s);
	}
	assert_in_range(answers_count(l0), 100, max_bytes / 300);
	answers_free(l0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hit_follows_the_question),
		cmocka_unit_test(never_served_near_or_beyond_its_end),
		cmocka_unit_test(other_circumstances_miss),
		cmocka_unit_test(unfit_answers_are_not_kept),
		cmocka_unit_test(addresses_take_turns),
		cmocka_unit_test(memory_stays_bounded),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
