/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "lib/cache/test_util.h"

#include "lib/rplan.h"

#define A KNOT_RRTYPE_A

/* ---- ranks and times ---- */

static uint8_t last_octet(struct fixture *f, const char *name)
{
	struct kr_cache_p p;
	knot_rdataset_t rrs;
	if (kr_cache_peek_exact(&f->cache, dname(f, name), A, &p) != 0)
		return 0;
	assert_int_equal(kr_cache_materialize(&rrs, &p, &f->pool), 6);
	assert_int_equal(rrs.count, 1);
	return rrs.rdata->data[3];
}

/** C-24, C-34. */
static void weaker_data_do_not_replace_stronger(void **state)
{
	static const uint8_t ranks[] = {
		KR_RANK_OMIT, UNCHECKED, KR_RANK_OMIT | KR_RANK_AUTH, INSECURE, SECURE};
	struct fixture *f = *state;
	for (size_t old = 0; old < KR_COUNT_OF(ranks); ++old) {
		for (size_t new = 0; new < KR_COUNT_OF(ranks); ++new) {
			kr_cache_clear(&f->cache);
			insert(f, rr_a(f, "x.", 100, 1), ranks[old]);
			insert(f, rr_a(f, "x.", 100, 2), ranks[new]);
			assert_int_equal(last_octet(f, "x."), ranks[new] >= ranks[old] ? 2 : 1);
			assert_int_equal(kr_cache_insert_rr(&f->cache, rr_a(f, "x.", 100, 3), NULL,
						 ranks[new], NOW + 101, false),
				0);
			assert_int_equal(last_octet(f, "x."), 3); /* what was there is over */
		}
	}
}

/** C-24. */
static void weaker_data_do_not_even_refresh(void **state)
{
	struct fixture *f = *state;
	insert(f, rr_a(f, "x.", 100, 1), SECURE);
	assert_int_equal(kr_cache_insert_rr(&f->cache, rr_a(f, "x.", 5000, 1), NULL, INSECURE,
				 NOW + 50, false),
		0);
	assert_int_equal(ttl_of(f, "x.", A), 100);
}

static void faulty_and_meta_data_are_skipped(void **state)
{
	static const uint8_t bad[] = {
		KR_RANK_BOGUS, KR_RANK_MISMATCH, KR_RANK_MISSING, KR_RANK_INDET};
	struct fixture *f = *state;
	for (size_t i = 0; i < KR_COUNT_OF(bad); ++i) {
		insert(f, rr_a(f, "x.", 100, 1), bad[i]);
		insert(f, rr_a(f, "x.", 100, 1), bad[i] | KR_RANK_AUTH);
	}
	insert(f, rr_a(f, "x.", 0, 1), SECURE); /* C-20 */
	assert_int_equal(last_octet(f, "x."), 0);
	static const uint16_t meta[] = {0, KNOT_RRTYPE_OPT, KNOT_RRTYPE_ANY, KNOT_RRTYPE_TSIG,
		KNOT_RRTYPE_AXFR, KNOT_RRTYPE_RRSIG};
	for (size_t i = 0; i < KR_COUNT_OF(meta); ++i) {
		insert(f, rrset(f, "x.", meta[i], 60, "abcd", 4), SECURE);
		assert_int_equal(ttl_of(f, "x.", meta[i]), 0);
	}
	knot_rrset_t *chaos = rr_a(f, "x.", 100, 1);
	chaos->rclass = KNOT_CLASS_CH;
	assert_int_equal(
		kr_cache_insert_rr(&f->cache, chaos, NULL, SECURE, NOW, false), kr_error(EINVAL));
}

/** B-41. */
static void ttl_is_kept_within_limits(void **state)
{
	struct fixture *f = *state;
	insert(f, rr_a(f, "a.", 1, 1), INSECURE);
	insert(f, rr_a(f, "b.", 7 * 86400, 1), INSECURE);
	assert_int_equal(ttl_of(f, "a.", A), KR_TTL_MIN_S);
	assert_int_equal(ttl_of(f, "b.", A), KR_TTL_MAX_S);
	f->cache.ttl_min = 30;
	f->cache.ttl_max = 60;
	insert(f, rr_a(f, "a.", 1, 1), INSECURE);
	insert(f, rr_a(f, "b.", 7 * 86400, 1), INSECURE);
	assert_int_equal(ttl_of(f, "a.", A), 30);
	assert_int_equal(ttl_of(f, "b.", A), 60);
}

/** C-19. */
static void secure_data_do_not_outlive_their_signature(void **state)
{
	struct fixture *f = *state;
	knot_rrset_t *rr = rr_a(f, "x.", 1000, 1);
	assert_int_equal(
		kr_cache_insert_rr(&f->cache, rr, rr_sig_until(f, rr, ".", -1, 86400, NOW + 300),
			SECURE, NOW, false),
		0);
	assert_int_equal(ttl_of(f, "x.", A), 300);
	rr = rr_a(f, "y.", 1000, 1);
	assert_int_equal(kr_cache_insert_rr(&f->cache, rr,
				 rr_sig_until(f, rr, ".", -1, 200, NOW + 300), SECURE, NOW, false),
		0);
	assert_int_equal(ttl_of(f, "y.", A), 200); /* original TTL */
	rr = rr_a(f, "z.", 1000, 1);
	assert_int_equal(kr_cache_insert_rr(&f->cache, rr,
				 rr_sig_until(f, rr, ".", -1, 200, NOW - 1), SECURE, NOW, false),
		0);
	assert_int_equal(ttl_of(f, "z.", A), 0);
}

static void ttl_counts_down_and_ends(void **state)
{
	struct fixture *f = *state;
	struct cache_answer answer;
	insert(f, rr_a(f, "x.", 600, 1), INSECURE);
	assert_int_equal(peek_at(f, "x.", A, NOW + 100, 0, &answer), 0);
	assert_int_equal(answer.rr[0].ttl, 500);
	assert_false(answer.is_expiring);
	assert_int_equal(peek_at(f, "x.", A, NOW + 590, 0, &answer), 0);
	assert_true(answer.is_expiring);
	assert_int_equal(peek_at(f, "x.", A, NOW + 600, 0, &answer), kr_error(ENOENT));
	assert_int_equal(peek_at(f, "x.", A, NOW - 61, 0, &answer), kr_error(ENOENT)); /* F-44 */
	assert_int_equal(peek_at(f, "x.", A, NOW - 10, 0, &answer), 0);
	assert_int_equal(answer.rr[0].ttl, 600);
}

static int32_t stale_for_a_day(
	int32_t ttl, const knot_dname_t *owner, uint16_t type, const struct kr_query *qry)
{
	return ttl + 86400 > 0 ? 1 : -1;
}

/** C-40. */
static void stale_data_are_used_if_allowed_but_never_as_secure(void **state)
{
	struct fixture *f = *state;
	struct cache_answer answer;
	const struct kr_query qry = {.stale_cb = stale_for_a_day};
	struct cache_question q = {
		.name = dname(f, "x."),
		.type = A,
		.min_rank = INSECURE,
		.qry = &qry,
		.now = NOW + 1000,
		.pool = &f->pool,
	};
	insert_signed(f, rr_a(f, "x.", 100, 1), ".");
	assert_int_equal(cache_peek(&f->cache, &q, &answer), 0);
	assert_true(answer.is_stale);
	assert_int_equal(answer.rr[0].ttl, 1);
	assert_int_equal(answer.rank, INSECURE);
	q.now = NOW + 100 + 86400;
	assert_int_equal(cache_peek(&f->cache, &q, &answer), kr_error(ENOENT));
	/* keys that are over prove nothing */
	insert_signed(
		f, rrset(f, "x.", KNOT_RRTYPE_DS, 100, "\0\1\2\1abcdefghijklmnopqrst", 24), ".");
	q.type = KNOT_RRTYPE_DS;
	q.now = NOW + 101;
	assert_int_equal(cache_peek(&f->cache, &q, &answer), kr_error(ENOENT));
}

/* ---- answers ---- */

static void rank_decides_who_may_read(void **state)
{
	struct fixture *f = *state;
	struct cache_answer answer;
	insert(f, rr_a(f, "x.", 600, 1), UNCHECKED);
	assert_int_equal(peek_at(f, "x.", A, NOW, INSECURE, &answer), kr_error(ENOENT));
	assert_int_equal(peek_at(f, "x.", A, NOW, UNCHECKED, &answer), 0);
	assert_int_equal(*(uint8_t *)answer.rr[0].additional, UNCHECKED);
	insert(f, rr_a(f, "x.", 600, 1), INSECURE);
	assert_int_equal(peek_at(f, "x.", A, NOW, INSECURE, &answer), 0);
	insert(f, rr_a(f, "glue.", 600, 1), KR_RANK_OMIT);
	assert_int_equal(peek_at(f, "glue.", A, NOW, UNCHECKED, &answer), kr_error(ENOENT));
	assert_int_equal(peek_at(f, "glue.", A, NOW, 0, &answer), 0);
}

static void signatures_come_along(void **state)
{
	struct fixture *f = *state;
	struct cache_answer answer;
	insert_signed(f, rr_a(f, "x.", 600, 1), ".");
	assert_int_equal(peek(f, "x.", A, &answer), 0);
	assert_int_equal(answer.count, 2);
	assert_int_equal(answer.answer_count, 2);
	assert_int_equal(answer.rr[1].type, KNOT_RRTYPE_RRSIG);
	assert_int_equal(*(uint8_t *)answer.rr[1].additional, SECURE);
	const uint64_t reads = f->cache.stats.read;
	assert_int_equal(peek(f, "x.", A, &answer), 0);
	assert_int_equal(f->cache.stats.read - reads, 1); /* a promise: one look-up */
}

static void surplus_signatures_are_dropped(void **state)
{
	struct fixture *f = *state;
	struct cache_answer answer;
	knot_rrset_t *rr = rr_a(f, "x.", 600, 1), *sigs = rr_sig(f, rr, ".");
	for (uint8_t i = 1; i < 30; ++i) {
		uint8_t one[64];
		const knot_rdata_t *first = sigs->rrs.rdata;
		memcpy(one, first->data, first->len);
		one[first->len - 1] = i;
		assert_int_equal(knot_rrset_add_rdata(sigs, one, first->len, &f->pool), 0);
	}
	assert_int_equal(kr_cache_insert_rr(&f->cache, rr, sigs, SECURE, NOW, false), 0);
	assert_int_equal(peek(f, "x.", A, &answer), 0);
	assert_int_equal(answer.rr[1].rrs.count, KR_RRSIG_KEPT_MAX);
}

static void alias_answers_other_types(void **state)
{
	struct fixture *f = *state;
	struct cache_answer answer;
	insert(f, rr_name(f, "www.x.", KNOT_RRTYPE_CNAME, 60, "y."), INSECURE);
	assert_int_equal(peek(f, "www.x.", A, &answer), 0);
	assert_int_equal(answer.rr[0].type, KNOT_RRTYPE_CNAME);
	assert_int_equal(peek(f, "www.x.", KNOT_RRTYPE_DS, &answer), kr_error(ENOENT));
	assert_int_equal(peek(f, "a.www.x.", A, &answer), kr_error(ENOENT));
}

static void dname_answers_below_with_a_cname_made_here(void **state)
{
	struct fixture *f = *state;
	struct cache_answer answer;
	insert_signed(f, rr_name(f, "old.", KNOT_RRTYPE_DNAME, 60, "new."), ".");
	assert_int_equal(peek(f, "a.b.old.", A, &answer), 0);
	assert_int_equal(answer.answer_count, 3);
	assert_int_equal(answer.rr[0].type, KNOT_RRTYPE_DNAME);
	const knot_rrset_t *cname = answer_rr(&answer, KNOT_RRTYPE_CNAME);
	assert_non_null(cname);
	assert_true(knot_dname_is_equal(cname->owner, dname(f, "a.b.old.")));
	assert_true(knot_dname_is_equal(knot_cname_name(cname->rrs.rdata), dname(f, "a.b.new.")));
	assert_int_equal(peek(f, "old.", A, &answer), kr_error(ENOENT)); /* not at its owner */
}

/** A-57, U-35. */
static void endless_dname_gives_no_cname(void **state)
{
	struct fixture *f = *state;
	struct cache_answer answer;
	char target[256], name[256];
	memset(target, 'a', 250);
	for (int i = 62; i < 250; i += 62)
		target[i] = '.';
	strcpy(target + 190, ".");
	snprintf(name, sizeof(name), "%.60s.%.60s.old.",
		"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb",
		"cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc");
	insert(f, rr_name(f, "old.", KNOT_RRTYPE_DNAME, 60, target), INSECURE);
	assert_int_equal(peek(f, name, A, &answer), 0);
	assert_null(answer_rr(&answer, KNOT_RRTYPE_CNAME));
}

/** B-25. */
static void any_gets_one_set(void **state)
{
	struct fixture *f = *state;
	struct cache_answer answer;
	struct cache_question q = {
		.name = dname(f, "x."),
		.type = KNOT_RRTYPE_ANY,
		.any_type = true,
		.now = NOW,
		.pool = &f->pool,
	};
	assert_int_equal(cache_peek(&f->cache, &q, &answer), kr_error(ENOENT));
	insert(f, rr_a(f, "x.", 60, 1), INSECURE);
	insert(f, rrset(f, "x.", KNOT_RRTYPE_TXT, 60, "\1a", 2), INSECURE);
	assert_int_equal(cache_peek(&f->cache, &q, &answer), 0);
	assert_int_equal(answer.count, 1);
}

/* ---- negative answers ---- */

static void deny(struct fixture *f, const char *name, uint16_t type, uint8_t rcode, uint8_t rank,
	uint32_t soa_ttl)
{
	knot_rrset_t *soa = rr_soa(f, "z.", soa_ttl);
	struct cache_message msg = {
		.name = dname(f, name),
		.type = type,
		.rcode = rcode,
		.is_negative = true,
		.now = NOW,
		.authority = {{soa, rr_sig(f, soa, "z."), rank}},
		.authority_count = soa_ttl ? 1 : 0,
	};
	assert_int_equal(cache_stash(&f->cache, &msg), 0);
}

/** C-35, A-51. */
static void nodata_is_for_exactly_that_question(void **state)
{
	struct fixture *f = *state;
	struct cache_answer answer;
	deny(f, "a.z.", A, KNOT_RCODE_NOERROR, INSECURE, 100);
	assert_int_equal(peek(f, "a.z.", A, &answer), 0);
	assert_true(answer.is_negative);
	assert_int_equal(answer.rcode, KNOT_RCODE_NOERROR);
	assert_int_equal(answer.answer_count, 0);
	assert_non_null(answer_rr(&answer, KNOT_RRTYPE_SOA));
	assert_int_equal(peek(f, "a.z.", KNOT_RRTYPE_AAAA, &answer), kr_error(ENOENT));
	assert_int_equal(peek(f, "b.a.z.", A, &answer), kr_error(ENOENT));
}

/** C-35. */
static void nxdomain_covers_what_is_below_only_if_validated(void **state)
{
	struct fixture *f = *state;
	struct cache_answer answer;
	deny(f, "a.z.", A, KNOT_RCODE_NXDOMAIN, INSECURE, 100);
	assert_int_equal(peek(f, "a.z.", KNOT_RRTYPE_TXT, &answer), 0);
	assert_int_equal(answer.rcode, KNOT_RCODE_NXDOMAIN);
	assert_int_equal(peek(f, "b.a.z.", A, &answer), kr_error(ENOENT));
	deny(f, "a.z.", A, KNOT_RCODE_NXDOMAIN, SECURE, 100);
	assert_int_equal(peek(f, "b.a.z.", A, &answer), 0);
	assert_int_equal(answer.rcode, KNOT_RCODE_NXDOMAIN);
	assert_true(knot_dname_is_equal(answer.rr[0].owner, dname(f, "z.")));
	assert_int_equal(peek(f, "b.z.", A, &answer), kr_error(ENOENT));
}

/** */
static void negative_answer_without_soa_is_not_kept(void **state)
{
	struct fixture *f = *state;
	struct cache_answer answer;
	deny(f, "a.z.", A, KNOT_RCODE_NXDOMAIN, INSECURE, 0);
	assert_int_equal(peek(f, "a.z.", A, &answer), kr_error(ENOENT));
}

/** B-41. */
static void negative_ttl_is_an_hour_at_most(void **state)
{
	struct fixture *f = *state;
	struct cache_answer answer;
	deny(f, "a.z.", A, KNOT_RCODE_NXDOMAIN, INSECURE, 86400);
	assert_int_equal(peek(f, "a.z.", A, &answer), 0);
	assert_int_equal(answer.rr[0].ttl, KR_TTL_NEG_MAX_S);
}

/** C-34. */
static void credible_data_and_denials_do_not_yield_to_others(void **state)
{
	struct fixture *f = *state;
	struct cache_answer answer;
	deny(f, "a.z.", A, KNOT_RCODE_NXDOMAIN, SECURE, 100); /* C-34 */
	insert(f, rr_a(f, "a.z.", 60, 1), INSECURE);
	assert_int_equal(peek(f, "a.z.", A, &answer), 0);
	assert_true(answer.is_negative);
	insert_signed(f, rr_a(f, "a.z.", 60, 1), "z."); /* the name came into being */
	assert_int_equal(peek(f, "a.z.", A, &answer), 0);
	assert_false(answer.is_negative);
	deny(f, "a.z.", A, KNOT_RCODE_NOERROR, INSECURE, 100);
	assert_int_equal(peek(f, "a.z.", A, &answer), 0);
	assert_false(answer.is_negative);
	deny(f, "a.z.", A, KNOT_RCODE_NOERROR, SECURE, 100);
	assert_int_equal(peek(f, "a.z.", A, &answer), 0);
	assert_true(answer.is_negative);
}

static void new_name_is_not_hidden_by_an_old_denial(void **state)
{
	struct fixture *f = *state;
	struct cache_answer answer;
	deny(f, "a.z.", A, KNOT_RCODE_NXDOMAIN, INSECURE, 100);
	insert(f, rrset(f, "a.z.", KNOT_RRTYPE_TXT, 60, "\1a", 2), INSECURE);
	assert_int_equal(peek(f, "a.z.", A, &answer), kr_error(ENOENT));
}

/* ---- removal ---- */

static void clearing_takes_what_was_named(void **state)
{
	static const char *const names[] = {"x.", "a.x.", "b.a.x.", "xx.", "y.", "a.y."};
	struct fixture *f = *state;
	for (size_t i = 0; i < KR_COUNT_OF(names); ++i) {
		insert(f, rr_a(f, names[i], 60, 1), INSECURE);
		insert(f, rrset(f, names[i], KNOT_RRTYPE_TXT, 60, "\1a", 2), INSECURE);
	}
	assert_int_equal(kr_cache_commit(&f->cache), 0);
	assert_int_equal(kr_cache_remove(&f->cache, dname(f, "y."), A), 1);
	assert_int_equal(kr_cache_remove(&f->cache, dname(f, "y."), A), 0);
	assert_int_equal(last_octet(f, "y."), 0);
	assert_int_equal(last_octet(f, "a.y."), 1);
	knot_db_val_t keyval[20][2];
	assert_int_equal(kr_cache_match(&f->cache, dname(f, "x."), false, keyval, 20), 6);
	assert_int_equal(kr_cache_match(&f->cache, dname(f, "x."), true, keyval, 20), 2);
	assert_int_equal(kr_cache_match(&f->cache, dname(f, "x."), false, keyval, 4), 4);
	uint16_t type;
	knot_dname_storage_t owner;
	assert_true(kr_unpack_cache_key(keyval[0][0], owner, &type) > 0);
	assert_true(knot_dname_is_equal(owner, dname(f, "x.")));
	assert_int_equal(type, A);
	assert_int_equal(kr_cache_remove_subtree(&f->cache, dname(f, "a.x."), true, 100), 2);
	assert_int_equal(last_octet(f, "b.a.x."), 1);
	assert_int_equal(kr_cache_remove_subtree(&f->cache, dname(f, "x."), false, 3), 3);
	assert_int_equal(kr_cache_remove_subtree(&f->cache, dname(f, "x."), false, 100), 1);
	assert_int_equal(last_octet(f, "xx."), 1);
	assert_int_equal(kr_cache_remove_subtree(&f->cache, dname(f, "."), false, 1000), 5);
	assert_int_equal(kr_cache_commit(&f->cache), 0);
	kr_cache_close(&f->cache); /* the store's own records are still there: nothing is cleared */
	const uint64_t clears = f->cache.stats.clear;
	fixture_open(f, 4 << 20);
	assert_int_equal(f->cache.stats.clear, clears);
}

static void closest_apex_is_found(void **state)
{
	struct fixture *f = *state;
	knot_dname_t *apex;
	knot_rrset_t *soa = rr_soa(f, "x.", 60);
	insert(f, soa, INSECURE);
	assert_int_equal(kr_cache_closest_apex(&f->cache, dname(f, "b.a.x."), false, &apex), 2);
	assert_true(knot_dname_is_equal(apex, dname(f, "x.")));
	free(apex);
	assert_int_equal(kr_cache_closest_apex(&f->cache, dname(f, "x."), false, &apex), 0);
	free(apex);
	assert_int_equal(kr_cache_closest_apex(&f->cache, dname(f, "x."), true, &apex), 1);
	free(apex);
}

static void everything_is_gone_after_clear(void **state)
{
	struct fixture *f = *state;
	insert(f, rr_a(f, "x.", 60, 1), INSECURE);
	assert_int_equal(kr_cache_commit(&f->cache), 0);
	insert(f, rr_a(f, "y.", 60, 1), INSECURE);
	assert_int_equal(kr_cache_clear(&f->cache), 0);
	assert_int_equal(last_octet(f, "x."), 0);
	assert_int_equal(last_octet(f, "y."), 0);
}

/* ---- delegations ---- */

static void delegate(struct fixture *f, const char *name, const char *parent, uint32_t ttl,
	uint32_t parent_ttl, uint32_t now, uint8_t last)
{
	struct kr_deleg deleg = {
		.name = dname(f, name),
		.parent = dname(f, parent),
		.ttl = ttl,
	};
	struct kr_deleg_glue glue = {
		.ns = dname(f, "ns1."), .addr = {192, 0, 2, last}, .addr_len = 4};
	array_push_mm(deleg.ns, dname(f, "ns1."), &f->pool);
	array_push_mm(deleg.ns, dname(f, "ns2."), &f->pool);
	array_push_mm(deleg.glue, glue, &f->pool);
	glue.addr_len = 16;
	array_push_mm(deleg.glue, glue, &f->pool);
	assert_int_equal(kr_cache_deleg_insert(&f->cache, &deleg, parent_ttl, now), 0);
}

static void deepest_delegation_is_found(void **state)
{
	struct fixture *f = *state;
	struct kr_deleg deleg;
	assert_int_equal(kr_cache_deleg_find(&f->cache, dname(f, "a.x."), NOW, &deleg, &f->pool),
		kr_error(ENOENT));
	delegate(f, "x.", ".", 1000, 0, NOW, 1);
	delegate(f, "a.x.", "x.", 1000, 1000, NOW, 2);
	assert_int_equal(
		kr_cache_deleg_find(&f->cache, dname(f, "b.a.x."), NOW + 10, &deleg, &f->pool), 0);
	assert_true(knot_dname_is_equal(deleg.name, dname(f, "a.x.")));
	assert_true(knot_dname_is_equal(deleg.parent, dname(f, "x.")));
	assert_int_equal(deleg.ttl, 990);
	assert_int_equal(deleg.ns.len, 2);
	assert_int_equal(deleg.glue.len, 2);
	assert_int_equal(deleg.glue.at[0].addr[3], 2);
	assert_int_equal(deleg.glue.at[1].addr_len, 16);
	assert_false(deleg.is_secure_nods);
	assert_int_equal(
		kr_cache_deleg_find(&f->cache, dname(f, "b.x."), NOW, &deleg, &f->pool), 0);
	assert_true(knot_dname_is_equal(deleg.name, dname(f, "x.")));
	/* and never is an answer (C-30) */
	struct cache_answer answer;
	assert_int_equal(peek_at(f, "x.", KNOT_RRTYPE_NS, NOW, 0, &answer), kr_error(ENOENT));
	assert_int_equal(peek_at(f, "ns1.", A, NOW, 0, &answer), kr_error(ENOENT));
}

/** C-31, A-33. */
static void delegation_is_not_prolonged_by_others(void **state)
{
	struct fixture *f = *state;
	struct kr_deleg deleg;
	delegate(f, "a.x.", "x.", 1000, 600, NOW, 1); /* not longer than the parent's own */
	assert_int_equal(
		kr_cache_deleg_find(&f->cache, dname(f, "a.x."), NOW, &deleg, &f->pool), 0);
	assert_int_equal(deleg.ttl, 600);
	delegate(f, "a.x.", ".", 1000, 1000, NOW + 100, 2); /* from another cut */
	assert_int_equal(
		kr_cache_deleg_find(&f->cache, dname(f, "a.x."), NOW + 100, &deleg, &f->pool), 0);
	assert_int_equal(deleg.ttl, 500);
	assert_int_equal(deleg.glue.at[0].addr[3], 1);
	delegate(f, "a.x.", "x.", 1000, 1000, NOW + 100, 3); /* from the same parent */
	assert_int_equal(
		kr_cache_deleg_find(&f->cache, dname(f, "a.x."), NOW + 100, &deleg, &f->pool), 0);
	assert_int_equal(deleg.ttl, 1000);
	assert_int_equal(deleg.glue.at[0].addr[3], 3);
	delegate(f, "a.x.", ".", 1000, 1000, NOW + 1101, 4); /* after its end */
	assert_int_equal(
		kr_cache_deleg_find(&f->cache, dname(f, "a.x."), NOW + 1101, &deleg, &f->pool), 0);
	assert_int_equal(deleg.glue.at[0].addr[3], 4);
	/* child's NS and addresses of its servers change nothing */
	insert_signed(f, rr_name(f, "a.x.", KNOT_RRTYPE_NS, 86400, "evil."), "a.x.");
	insert_signed(f, rr_a(f, "ns1.", 86400, 66), ".");
	assert_int_equal(
		kr_cache_deleg_find(&f->cache, dname(f, "a.x."), NOW + 1101, &deleg, &f->pool), 0);
	assert_int_equal(deleg.glue.at[0].addr[3], 4);
	assert_int_equal(deleg.ns.len, 2);
	assert_int_equal(
		kr_cache_deleg_find(&f->cache, dname(f, "a.x."), NOW + 2101, &deleg, &f->pool),
		kr_error(ENOENT));
}

/** B-41, C-31. */
static void delegation_ttl_has_limits(void **state)
{
	struct fixture *f = *state;
	struct kr_deleg deleg;
	f->cache.ttl_max = 10 * 86400;
	delegate(f, "x.", ".", 7 * 86400, 0, NOW, 1);
	assert_int_equal(kr_cache_deleg_find(&f->cache, dname(f, "x."), NOW, &deleg, &f->pool), 0);
	assert_int_equal(deleg.ttl, KR_TTL_DELEG_MAX_S);
	delegate(f, "y.", ".", 0, 0, NOW, 1);
	assert_int_equal(kr_cache_deleg_find(&f->cache, dname(f, "y."), NOW, &deleg, &f->pool), 0);
	assert_int_equal(deleg.ttl, KR_TTL_MIN_S);
}

/** C-32. */
static void delegation_keeps_what_it_may_only(void **state)
{
	struct fixture *f = *state;
	struct kr_deleg deleg = {.name = dname(f, "x."),
				.parent = dname(f, "."),
				.ttl = 100,
				.is_secure_nods = true,
				.nods_ttl = 50},
			out;
	char name[32];
	for (int i = 0; i < 50; ++i) {
		snprintf(name, sizeof(name), "ns%d.x.", i);
		array_push_mm(deleg.ns, dname(f, name), &f->pool);
		for (int j = 0; j < 20; ++j) {
			struct kr_deleg_glue glue = {
				.ns = dname(f, name), .addr = {i, j}, .addr_len = 4};
			array_push_mm(deleg.glue, glue, &f->pool);
		}
	}
	assert_int_equal(kr_cache_deleg_insert(&f->cache, &deleg, 0, NOW), 0);
	assert_int_equal(kr_cache_deleg_find(&f->cache, dname(f, "x."), NOW, &out, &f->pool), 0);
	assert_int_equal(out.ns.len, KR_NS_MAX);
	assert_int_equal(out.glue.len, KR_CUT_ADDR_MAX);
	assert_true(out.is_secure_nods);
	assert_int_equal(
		kr_cache_deleg_find(&f->cache, dname(f, "x."), NOW + 51, &out, &f->pool), 0);
	assert_false(out.is_secure_nods); /* the proof is over before the delegation */
}

/* ---- direct reading ---- */

static void get_rr_heeds_rank_and_time(void **state)
{
	struct fixture *f = *state;
	knot_rrset_t *rr = NULL;
	uint8_t rank = 0;
	insert(f, rr_a(f, "x.", 60, 1), INSECURE);
	assert_int_equal(kr_cache_get_rr(&f->cache, dname(f, "x."), A, INSECURE, NOW + 10, &rr,
				 &rank, &f->pool),
		0);
	assert_int_equal(rr->ttl, 50);
	assert_int_equal(rank, INSECURE);
	assert_int_equal(kr_cache_get_rr(&f->cache, dname(f, "x."), A, KR_RANK_SECURE, NOW, &rr,
				 &rank, &f->pool),
		kr_error(ENOENT));
	assert_int_equal(
		kr_cache_get_rr(&f->cache, dname(f, "x."), A, 0, NOW + 60, &rr, &rank, &f->pool),
		kr_error(ENOENT));
}

static void closed_cache_is_harmless(void **state)
{
	struct fixture *f = *state;
	struct cache_answer answer;
	struct kr_cache_p p;
	struct kr_deleg deleg;
	knot_rrset_t *rr;
	kr_cache_close(&f->cache);
	kr_cache_close(&f->cache);
	insert(f, rr_a(f, "x.", 60, 1), INSECURE);
	assert_int_equal(peek(f, "x.", A, &answer), kr_error(ENOENT));
	assert_int_equal(kr_cache_get_rr(&f->cache, dname(f, "x."), A, 0, NOW, &rr, NULL, &f->pool),
		kr_error(ENOENT));
	assert_true(kr_cache_peek_exact(&f->cache, dname(f, "x."), A, &p) < 0);
	assert_true(kr_cache_deleg_find(&f->cache, dname(f, "x."), NOW, &deleg, &f->pool) < 0);
	assert_true(kr_cache_clear(&f->cache) < 0 && kr_cache_commit(&f->cache) < 0);
	assert_true(kr_cache_check_health(&f->cache) < 0);
	assert_true(kr_cache_remove(&f->cache, dname(f, "x."), A) < 0);
	deny(f, "a.z.", A, KNOT_RCODE_NXDOMAIN, INSECURE, 60);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(weaker_data_do_not_replace_stronger),
		TEST(weaker_data_do_not_even_refresh),
		TEST(faulty_and_meta_data_are_skipped),
		TEST(ttl_is_kept_within_limits),
		TEST(secure_data_do_not_outlive_their_signature),
		TEST(ttl_counts_down_and_ends),
		TEST(stale_data_are_used_if_allowed_but_never_as_secure),
		TEST(rank_decides_who_may_read),
		TEST(signatures_come_along),
		TEST(surplus_signatures_are_dropped),
		TEST(alias_answers_other_types),
		TEST(dname_answers_below_with_a_cname_made_here),
		TEST(endless_dname_gives_no_cname),
		TEST(any_gets_one_set),
		TEST(nodata_is_for_exactly_that_question),
		TEST(nxdomain_covers_what_is_below_only_if_validated),
		TEST(negative_answer_without_soa_is_not_kept),
		TEST(negative_ttl_is_an_hour_at_most),
		TEST(credible_data_and_denials_do_not_yield_to_others),
		TEST(new_name_is_not_hidden_by_an_old_denial),
		TEST(clearing_takes_what_was_named),
		TEST(closest_apex_is_found),
		TEST(everything_is_gone_after_clear),
		TEST(deepest_delegation_is_found),
		TEST(delegation_is_not_prolonged_by_others),
		TEST(delegation_ttl_has_limits),
		TEST(delegation_keeps_what_it_may_only),
		TEST(get_rr_heeds_rank_and_time),
		TEST(closed_cache_is_harmless),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
