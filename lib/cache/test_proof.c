/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Aggressive use of cached NSEC and NSEC3. */
#include "lib/cache/test_util.h"

#include <gnutls/crypto.h>

#define A KNOT_RRTYPE_A
#define MX KNOT_RRTYPE_MX

/* ---- NSEC ---- */

/**
 * Zone z.: apex, b, *.c (A MX), d with e.d below it, s (delegation), x. The records form a whole
 * chain.
 */
static void load_nsec_zone(struct fixture *f)
{
	const uint16_t *apex =
		TYPES(KNOT_RRTYPE_NS, KNOT_RRTYPE_SOA, KNOT_RRTYPE_RRSIG, KNOT_RRTYPE_NSEC);
	const uint16_t *host = TYPES(A, KNOT_RRTYPE_RRSIG, KNOT_RRTYPE_NSEC);
	insert_signed(f, rr_soa(f, "z.", 300), "z.");
	insert_signed(f, rr_nsec(f, "z.", "b.z.", 300, apex), "z.");
	insert_signed(f, rr_nsec(f, "b.z.", "*.c.z.", 300, host), "z.");
	insert_signed(
		f, rr_nsec(f, "*.c.z.", "e.d.z.", 300, TYPES(A, MX, KNOT_RRTYPE_RRSIG)), "z.");
	insert_signed(f, rr_nsec(f, "e.d.z.", "s.z.", 300, host), "z.");
	insert_signed(
		f, rr_nsec(f, "s.z.", "x.z.", 300, TYPES(KNOT_RRTYPE_NS, KNOT_RRTYPE_RRSIG)), "z.");
	insert_signed(f, rr_nsec(f, "x.z.", "z.", 300, host), "z.");
}

static unsigned count_type(const struct cache_answer *answer, uint16_t type)
{
	unsigned count = 0;
	for (unsigned i = 0; i < answer->count; ++i)
		count += answer->rr[i].type == type;
	return count;
}

static void nsec_denies_names_it_spans(void **state)
{
	static const struct {
		const char *name;
		unsigned nsecs;
	} cases[] = {
		{"a.z.", 1}, /* wildcard in the same span */
		{"m.z.", 2},
		{"n.m.z.", 2},
		{"zz.z.", 2}, /* behind the last one */
		{"bb.z.", 2},
		{"b.b.z.", 1},
		{"f.d.z.", 2},
		{"y.x.z.", 1},
	};
	struct fixture *f = *state;
	struct cache_answer answer;
	load_nsec_zone(f);
	for (size_t i = 0; i < KR_COUNT_OF(cases); ++i) {
		assert_int_equal(peek(f, cases[i].name, A, &answer), 0);
		assert_int_equal(answer.rcode, KNOT_RCODE_NXDOMAIN);
		assert_true(answer.is_negative);
		assert_int_equal(answer.answer_count, 0);
		assert_int_equal(answer.rank, SECURE);
		assert_int_equal(count_type(&answer, KNOT_RRTYPE_SOA), 1);
		assert_int_equal(count_type(&answer, KNOT_RRTYPE_NSEC), cases[i].nsecs);
		assert_int_equal(count_type(&answer, KNOT_RRTYPE_RRSIG), 1 + cases[i].nsecs);
	}
}

static void nsec_denies_types(void **state)
{
	struct fixture *f = *state;
	struct cache_answer answer;
	load_nsec_zone(f);
	static const struct {
		const char *name;
		uint16_t type;
	} cases[] = {
		{"b.z.", MX},
		{"z.", MX},
		{"d.z.", A} /* empty non-terminal */,
		{"c.z.", A},
		{"q.c.z.", KNOT_RRTYPE_TXT} /* wildcard */,
		{"s.z.", KNOT_RRTYPE_DS},
		{"*.c.z.", 16},
	};
	for (size_t i = 0; i < KR_COUNT_OF(cases); ++i) {
		assert_int_equal(peek(f, cases[i].name, cases[i].type, &answer), 0);
		assert_int_equal(answer.rcode, KNOT_RCODE_NOERROR);
		assert_true(answer.is_negative);
		assert_true(count_type(&answer, KNOT_RRTYPE_NSEC) > 0);
	}
}

static void nsec_says_nothing_about_other_things(void **state)
{
	static const struct {
		const char *name;
		uint16_t type;
	} cases[] = {
		{"b.z.", A}, /* it exists, we just do not have it */
		{"s.z.", A}, /* the child knows */
		{"www.s.z.", A},
		{"www.s.z.", KNOT_RRTYPE_DS},
		{"z.", KNOT_RRTYPE_DS}, /* the parent knows */
		{"q.c.z.", A},          /* wildcard exists, data not known */
		{"y.", A},
		{"a.y.", A},
		{"zz.", A},
	};
	struct fixture *f = *state;
	struct cache_answer answer;
	load_nsec_zone(f);
	for (size_t i = 0; i < KR_COUNT_OF(cases); ++i)
		assert_int_equal(peek(f, cases[i].name, cases[i].type, &answer), kr_error(ENOENT));
}

/** C-37. */
static void wildcard_is_expanded_with_its_proof(void **state)
{
	struct fixture *f = *state;
	struct cache_answer answer;
	load_nsec_zone(f);
	insert_signed(f, rr_a(f, "*.c.z.", 200, 9), "z.");
	assert_int_equal(peek(f, "q.r.c.z.", A, &answer), 0);
	assert_true(answer.is_wildcard);
	assert_false(answer.is_negative);
	assert_int_equal(answer.answer_count, 2);
	assert_true(knot_dname_is_equal(answer.rr[0].owner, dname(f, "q.r.c.z.")));
	assert_true(knot_dname_is_equal(answer.rr[1].owner, dname(f, "q.r.c.z.")));
	assert_int_equal(answer.rr[0].rrs.rdata->data[3], 9);
	assert_int_equal(answer.rr[0].ttl, 200);
	assert_int_equal(count_type(&answer, KNOT_RRTYPE_NSEC), 1);
	assert_int_equal(
		peek(f, "q.r.c.z.", MX, &answer), kr_error(ENOENT)); /* exists, not known */
}

/** C-37. */
static void wildcard_answer_is_kept_under_the_wildcard(void **state)
{
	struct fixture *f = *state;
	struct cache_answer answer;
	knot_rrset_t *rr = rr_a(f, "q.c.z.", 200, 9);
	knot_rrset_t *nsec = rr_nsec(f, "*.c.z.", "e.d.z.", 300, TYPES(A, KNOT_RRTYPE_RRSIG));
	struct cache_message msg = {
		.name = rr->owner,
		.type = A,
		.now = NOW,
		.answer = {{rr, rr_sig_until(f, rr, "z.", 2, 300, NOW + 5000), SECURE}},
		.answer_count = 1,
		.authority = {{nsec, rr_sig(f, nsec, "z."), SECURE}},
		.authority_count = 1,
	};
	assert_int_equal(cache_stash(&f->cache, &msg), 0);
	assert_int_equal(ttl_of(f, "q.c.z.", A), 0);
	assert_int_equal(ttl_of(f, "*.c.z.", A), 200);
	static const char *const names[] = {"q.c.z.", "r.c.z.", "a.b.c.z."};
	for (size_t i = 0; i < KR_COUNT_OF(names); ++i) {
		assert_int_equal(peek(f, names[i], A, &answer), 0);
		assert_true(answer.is_wildcard);
		assert_int_equal(count_type(&answer, KNOT_RRTYPE_NSEC), 1);
	}
}

static void wildcard_alias_is_expanded(void **state)
{
	struct fixture *f = *state;
	struct cache_answer answer;
	insert_signed(f, rr_nsec(f, "*.c.z.", "e.d.z.", 300, TYPES(KNOT_RRTYPE_CNAME)), "z.");
	insert_signed(f, rr_name(f, "*.c.z.", KNOT_RRTYPE_CNAME, 100, "b.z."), "z.");
	assert_int_equal(peek(f, "q.c.z.", A, &answer), 0);
	assert_int_equal(answer.rr[0].type, KNOT_RRTYPE_CNAME);
	assert_true(answer.is_wildcard);
}

/** C-36. */
static void proof_needs_live_secure_records(void **state)
{
	struct fixture *f = *state;
	struct cache_answer answer;
	load_nsec_zone(f);
	assert_int_equal(peek_at(f, "a.z.", A, NOW + 299, INSECURE, &answer), 0);
	assert_int_equal(answer.rr[0].ttl, 1);
	assert_true(answer.is_expiring);
	assert_int_equal(peek_at(f, "a.z.", A, NOW + 300, INSECURE, &answer), kr_error(ENOENT));
	kr_cache_clear(&f->cache);
	knot_rrset_t *nsec = rr_nsec(f, "z.", "b.z.", 300, TYPES(KNOT_RRTYPE_SOA));
	insert_signed(f, rr_soa(f, "z.", 300), "z.");
	assert_int_equal(
		kr_cache_insert_rr(&f->cache, nsec, rr_sig(f, nsec, "z."), INSECURE, NOW, true), 0);
	assert_int_equal(
		kr_cache_insert_rr(&f->cache, nsec, rr_sig(f, nsec, "z."), SECURE, NOW, false), 0);
	assert_int_equal(kr_cache_insert_rr(&f->cache, nsec, NULL, SECURE, NOW, true), 0);
	assert_int_equal(peek(f, "a.z.", A, &answer), kr_error(ENOENT));
}

/** C-36. */
static void proof_lives_an_hour_at_most(void **state)
{
	struct fixture *f = *state;
	struct cache_answer answer;
	insert_signed(f, rr_soa(f, "z.", 80000), "z.");
	insert_signed(f, rr_nsec(f, "z.", "b.z.", 80000, TYPES(KNOT_RRTYPE_SOA)), "z.");
	assert_int_equal(peek(f, "a.z.", A, &answer), 0);
	assert_int_equal(answer.rr[0].ttl, KR_TTL_NEG_MAX_S);
	assert_int_equal(
		peek_at(f, "a.z.", A, NOW + KR_TTL_NEG_MAX_S, INSECURE, &answer), kr_error(ENOENT));
}

/** C-36. */
static void records_made_for_one_question_are_left_out(void **state)
{
	struct fixture *f = *state;
	knot_dname_t *owner = dname(f, "a.z.");
	const knot_rrset_t *black = rr_nsec(f, "a.z.", "\\000.a.z.", 300, TYPES(A));
	assert_int_equal(
		cache_insert_proof(&f->cache, black, rr_sig(f, black, "z."), dname(f, "z."), NOW),
		1);
	/* so the whole answer has to be kept */
	knot_rrset_t *soa = rr_soa(f, "z.", 300);
	struct cache_message msg = {
		.name = owner,
		.type = MX,
		.is_negative = true,
		.now = NOW,
		.authority = {{soa, rr_sig(f, soa, "z."), SECURE},
			{black, rr_sig(f, black, "z."), SECURE}},
		.authority_count = 2,
	};
	struct cache_answer answer;
	assert_int_equal(cache_stash(&f->cache, &msg), 0);
	assert_int_equal(peek(f, "a.z.", MX, &answer), 0);
	assert_int_equal(count_type(&answer, KNOT_RRTYPE_NSEC), 1);
	assert_int_equal(answer.rank, SECURE);
}

static void expanded_or_foreign_nsec_is_left_out(void **state)
{
	struct fixture *f = *state;
	const knot_rrset_t *rr = rr_nsec(f, "a.c.z.", "e.z.", 300, TYPES(A));
	assert_int_equal(cache_insert_proof(&f->cache, rr,
				 rr_sig_until(f, rr, "z.", 2, 300, NOW + 50), dname(f, "z."), NOW),
		1); /* *.c.z. */
	rr = rr_nsec(f, "a.z.", "a.y.", 300, TYPES(A));
	assert_int_equal(
		cache_insert_proof(&f->cache, rr, rr_sig(f, rr, "z."), dname(f, "z."), NOW), 1);
	rr = rr_nsec(f, "a.y.", "b.z.", 300, TYPES(A));
	assert_int_equal(
		cache_insert_proof(&f->cache, rr, rr_sig(f, rr, "z."), dname(f, "z."), NOW), 1);
}

/** */
static void deep_names_are_asked_upstream(void **state)
{
	struct fixture *f = *state;
	struct cache_answer answer;
	load_nsec_zone(f);
	assert_int_equal(
		peek(f, "1.2.3.4.5.6.7.8.9.0.1.2.3.4.5.m.z.", A, &answer), 0); /* 16 below */
	assert_int_equal(
		peek(f, "0.1.2.3.4.5.6.7.8.9.0.1.2.3.4.5.m.z.", A, &answer), kr_error(ENOENT));
	const uint64_t reads = f->cache.stats.read_leq;
	assert_int_equal(peek(f, "a.b.d.z.", A, &answer), 0);
	assert_true(f->cache.stats.read_leq - reads <= 2);
}

static void negative_answer_with_nsec_is_not_kept_twice(void **state)
{
	struct fixture *f = *state;
	struct cache_answer answer;
	knot_rrset_t *soa = rr_soa(f, "z.", 300);
	knot_rrset_t *nsec = rr_nsec(f, "z.", "n.z.", 300, TYPES(KNOT_RRTYPE_SOA));
	struct cache_message msg = {
		.name = dname(f, "m.z."),
		.type = A,
		.rcode = KNOT_RCODE_NXDOMAIN,
		.is_negative = true,
		.now = NOW,
		.authority = {{soa, rr_sig(f, soa, "z."), SECURE},
			{nsec, rr_sig(f, nsec, "z."), SECURE}},
		.authority_count = 2,
	};
	assert_int_equal(cache_stash(&f->cache, &msg), 0);
	knot_db_val_t keyval[10][2];
	assert_int_equal(kr_cache_match(&f->cache, msg.name, true, keyval, 10), 0);
	assert_int_equal(peek(f, "m.z.", A, &answer), 0);
	assert_int_equal(peek(f, "a.z.", MX, &answer), 0);
	assert_int_equal(answer.rcode, KNOT_RCODE_NXDOMAIN);
	msg.authority[1].rank = msg.authority[0].rank = UNCHECKED; /* CD=1 */
	msg.name = dname(f, "p.z.");
	assert_int_equal(cache_stash(&f->cache, &msg), 0);
	assert_int_equal(peek_at(f, "p.z.", A, NOW, UNCHECKED, &answer), 0);
	assert_int_equal(count_type(&answer, KNOT_RRTYPE_NSEC), 1);
	assert_int_equal(peek(f, "p.z.", A, &answer), kr_error(ENOENT));
}

/* ---- NSEC3 ---- */

static void hash3(struct fixture *f, const char *name, uint16_t iterations, uint8_t hash[20])
{
	uint8_t input[300];
	const knot_dname_t *wire = dname(f, name);
	size_t len = knot_dname_size(wire);
	memcpy(input, wire, len);
	for (unsigned i = 0; i <= iterations; ++i) {
		memcpy(input + len, "\xab\xcd", 2);
		assert_int_equal(gnutls_hash_fast(GNUTLS_DIG_SHA1, input, len + 2, hash), 0);
		memcpy(input, hash, 20);
		len = 20;
	}
}

static void base32(char *to, const uint8_t *hash)
{
	for (int i = 0; i < 32; ++i) {
		int digit = 0;
		for (int bit = 0; bit < 5; ++bit)
			digit = digit << 1 |
				(hash[(i * 5 + bit) / 8] >> (7 - (i * 5 + bit) % 8) & 1);
		to[i] = "0123456789abcdefghijklmnopqrstuv"[digit];
	}
	to[32] = '\0';
}

static knot_rrset_t *rr_nsec3(struct fixture *f, const uint8_t *owner, const uint8_t *next,
	uint16_t iterations, bool optout, const uint16_t *types)
{
	char name[64];
	uint8_t rdata[80] = {1, optout, iterations >> 8, iterations & 0xff, 2, 0xab, 0xcd, 20};
	base32(name, owner);
	strcat(name, ".z.");
	memcpy(rdata + 8, next, 20);
	const size_t len = 28 + bitmap(rdata + 28, types);
	return rrset(f, name, KNOT_RRTYPE_NSEC3, 300, rdata, len);
}

struct host {
	const char *name;
	const uint16_t *types;
	uint8_t hash[20];
};

static int host_cmp(const void *a, const void *b)
{
	return memcmp(((const struct host *)a)->hash, ((const struct host *)b)->hash, 20);
}

/** Zone z.: apex, b, *.c (A), c (empty), s (delegation), x. */
static void load_nsec3_zone(struct fixture *f, uint16_t iterations, bool optout)
{
	struct host hosts[] = {
		{"z.", TYPES(KNOT_RRTYPE_NS, KNOT_RRTYPE_SOA)},
		{"b.z.", TYPES(A)},
		{"c.z.", TYPES(0)},
		{"*.c.z.", TYPES(A)},
		{"s.z.", TYPES(KNOT_RRTYPE_NS)},
		{"x.z.", TYPES(A)},
	};
	const size_t count = KR_COUNT_OF(hosts);
	for (size_t i = 0; i < count; ++i)
		hash3(f, hosts[i].name, iterations, hosts[i].hash);
	qsort(hosts, count, sizeof(*hosts), host_cmp);
	insert_signed(f, rr_soa(f, "z.", 300), "z.");
	for (size_t i = 0; i < count; ++i)
		insert_signed(f,
			rr_nsec3(f, hosts[i].hash, hosts[(i + 1) % count].hash, iterations, optout,
				hosts[i].types),
			"z.");
}

/** Names around the whole circle of hashes, so the wrap-around record gets its share. */
static void nsec3_denies_all_names_that_are_not_there(void **state)
{
	struct fixture *f = *state;
	struct cache_answer answer;
	load_nsec3_zone(f, 0, false);
	for (int i = 0; i < 500; ++i) {
		char name[64];
		snprintf(name, sizeof(name), i % 2 ? "n%d.z." : "a.n%d.b.z.", i);
		assert_int_equal(peek(f, name, A, &answer), 0);
		assert_int_equal(answer.rcode, KNOT_RCODE_NXDOMAIN);
		assert_in_range(count_type(&answer, KNOT_RRTYPE_NSEC3), 1, 3);
		assert_int_equal(count_type(&answer, KNOT_RRTYPE_SOA), 1);
	}
}

static void hash_below_the_first_owner_is_covered_by_the_last_record(void **state)
{
	struct fixture *f = *state;
	struct cache_answer answer;
	uint8_t apex[20], hash[20], next[20];
	hash3(f, "z.", 0, apex);
	insert_signed(f, rr_soa(f, "z.", 300), "z.");
	/* the apex is the only name: its record spans the circle from both sides */
	memcpy(next, apex, 20);
	insert_signed(f, rr_nsec3(f, apex, next, 0, false, TYPES(KNOT_RRTYPE_SOA)), "z.");
	bool below = false, above = false;
	for (int i = 0; i < 50; ++i) {
		char name[64];
		snprintf(name, sizeof(name), "n%d.z.", i);
		hash3(f, name, 0, hash);
		below |= memcmp(hash, apex, 20) < 0;
		above |= memcmp(hash, apex, 20) > 0;
		assert_int_equal(peek(f, name, A, &answer), 0);
		assert_int_equal(answer.rcode, KNOT_RCODE_NXDOMAIN);
	}
	assert_true(below && above);
}

static void nsec3_denies_types(void **state)
{
	struct fixture *f = *state;
	struct cache_answer answer;
	load_nsec3_zone(f, 3, false);
	static const struct {
		const char *name;
		uint16_t type;
	} cases[] = {
		{"b.z.", MX}, {"z.", MX}, {"c.z.", A}, {"q.c.z.", MX}, {"s.z.", KNOT_RRTYPE_DS}};
	for (size_t i = 0; i < KR_COUNT_OF(cases); ++i) {
		assert_int_equal(peek(f, cases[i].name, cases[i].type, &answer), 0);
		assert_int_equal(answer.rcode, KNOT_RCODE_NOERROR);
		assert_true(answer.is_negative);
	}
	assert_int_equal(peek(f, "b.z.", A, &answer), kr_error(ENOENT));
	assert_int_equal(peek(f, "s.z.", A, &answer), kr_error(ENOENT));
	assert_int_equal(peek(f, "a.s.z.", A, &answer), kr_error(ENOENT));
	assert_int_equal(peek(f, "q.c.z.", A, &answer), kr_error(ENOENT));
	insert_signed(f, rr_a(f, "*.c.z.", 200, 9), "z.");
	assert_int_equal(peek(f, "q.c.z.", A, &answer), 0);
	assert_true(answer.is_wildcard);
	assert_int_equal(answer.answer_count, 2);
	assert_true(count_type(&answer, KNOT_RRTYPE_NSEC3) > 0);
}

/** C-36. */
static void optout_denies_no_name(void **state)
{
	struct fixture *f = *state;
	struct cache_answer answer;
	load_nsec3_zone(f, 0, true);
	for (int i = 0; i < 20; ++i) {
		char name[64];
		snprintf(name, sizeof(name), "n%d.z.", i);
		assert_int_equal(peek(f, name, A, &answer), kr_error(ENOENT));
		assert_int_equal(peek(f, name, KNOT_RRTYPE_DS, &answer), kr_error(ENOENT));
	}
	assert_int_equal(peek(f, "b.z.", MX, &answer), 0); /* needs no span */
}

/** B-23. */
static void costly_chains_are_left_alone(void **state)
{
	struct fixture *f = *state;
	struct cache_answer answer;
	load_nsec3_zone(f, 50, false); /* within RFC 9276, but dear */
	assert_int_equal(peek(f, "n.z.", A, &answer), kr_error(ENOENT));
	kr_cache_clear(&f->cache);
	load_nsec3_zone(f, 10, false);
	assert_int_equal(peek(f, "n.z.", A, &answer), 0);
	/* 11 blocks a name, to find and to prove: eight labels are too much */
	assert_int_equal(peek(f, "1.2.3.4.5.6.7.8.z.", A, &answer), kr_error(ENOENT));
}

static void missing_record_leaves_the_question_open(void **state)
{
	struct fixture *f = *state;
	struct cache_answer answer;
	uint8_t apex[20];
	hash3(f, "z.", 0, apex);
	load_nsec3_zone(f, 0, false);
	/* forget the apex' record: no encloser can be shown for names right below it */
	char name[64];
	base32(name, apex);
	strcat(name, ".z.");
	struct cache_name enc;
	struct cache_key key;
	const struct cache_nsec3param param = {.salt_len = 2, .salt = {0xab, 0xcd}};
	cache_name_init(&enc, dname(f, "z."));
	cache_key_nsec3(&key, &enc, 1, cache_nsec3param_hash(&param));
	assert_int_equal(cache_key_append(&key, apex, 20), 0);
	assert_int_equal(cache_del(&f->cache, &key), 1);
	for (int i = 0; i < 50; ++i) {
		snprintf(name, sizeof(name), "n%d.z.", i);
		assert_int_equal(peek(f, name, A, &answer), kr_error(ENOENT));
	}
}

/** C-36. */
static void chains_of_other_parameters_do_not_mix(void **state)
{
	struct fixture *f = *state;
	struct cache_answer answer;
	uint8_t apex[20], hash[20], next[20];
	/* the encloser in one chain, the span in the other */
	hash3(f, "z.", 0, apex);
	insert_signed(f, rr_soa(f, "z.", 300), "z.");
	memcpy(next, apex, 20);
	next[0] ^= 0x80;
	next[19] ^= 1;
	hash3(f, "n.z.", 1, hash);
	insert_signed(f, rr_nsec3(f, apex, apex, 1, false, TYPES(A)), "z.");
	uint8_t from[20], to[20];
	memcpy(from, hash, 20);
	memcpy(to, hash, 20);
	from[0] -= 1;
	to[0] += 1;
	insert_signed(f, rr_nsec3(f, from, to, 0, false, TYPES(A)), "z.");
	assert_int_equal(peek(f, "n.z.", A, &answer), kr_error(ENOENT));
	struct cache_name enc;
	struct cache_chain chains[CACHE_CHAINS_MAX];
	cache_name_init(&enc, dname(f, "z."));
	assert_int_equal(cache_chains(&f->cache, &enc, 1, NOW, chains), 2);
}

/** The proof that comes with it does not show the closest encloser. */
static void expansion_with_nsec3_is_found_again(void **state)
{
	struct fixture *f = *state;
	struct cache_answer answer;
	struct host hosts[] = {{.name = "z."}, {.name = "c.z."}};
	uint8_t asked[20];
	hash3(f, "n.c.z.", 0, asked);
	uint8_t *from = hosts[0].hash, *to = hosts[1].hash;
	memcpy(from, asked, 20);
	memcpy(to, asked, 20);
	from[10] -= 5;
	to[10] += 5;
	const knot_rrset_t *nsec3 = rr_nsec3(f, from, to, 0, false, TYPES(A));
	const knot_rrset_t *rr = rr_a(f, "n.c.z.", 300, 1);
	const struct cache_message msg = {
		.name = rr->owner,
		.type = A,
		.now = NOW,
		.answer = {{(knot_rrset_t *)rr, rr_sig_until(f, rr, "z.", 2, 300, NOW + 1000),
			SECURE}},
		.answer_count = 1,
		.authority = {{(knot_rrset_t *)nsec3, rr_sig(f, nsec3, "z."), SECURE}},
		.authority_count = 1,
	};
	assert_int_equal(cache_stash(&f->cache, &msg), 0);
	assert_int_equal(peek(f, "n.c.z.", A, &answer), 0);
	assert_true(answer.is_wildcard);
	assert_int_equal(answer.answer_count, 2);
	assert_int_equal(count_type(&answer, KNOT_RRTYPE_NSEC3), 1);
}

/** C-36, F-27. */
static void zone_may_go_from_nsec_to_nsec3(void **state)
{
	struct fixture *f = *state;
	struct cache_answer answer;
	struct cache_name enc;
	struct cache_chain chains[CACHE_CHAINS_MAX];
	insert_signed(f, rr_nsec(f, "z.", "b.z.", 300, TYPES(KNOT_RRTYPE_SOA)), "z.");
	load_nsec3_zone(f, 0, false);
	cache_name_init(&enc, dname(f, "z."));
	assert_int_equal(cache_chains(&f->cache, &enc, 1, NOW, chains), 2);
	assert_int_equal(peek(f, "a.z.", A, &answer), 0);
	assert_int_equal(peek(f, "m.z.", A, &answer), 0);
	assert_int_equal(count_type(&answer, KNOT_RRTYPE_NSEC), 0);
	load_nsec3_zone(f, 1, false);
	load_nsec3_zone(f, 2, false);
	assert_int_equal(cache_chains(&f->cache, &enc, 1, NOW, chains), CACHE_CHAINS_MAX);
	assert_int_equal(chains[0].param.iterations, 2); /* the newest first */
	assert_int_equal(cache_chains(&f->cache, &enc, 1, NOW + 300, chains), 0);
}

/** C-36. */
static void minimal_nsec3_is_left_out(void **state)
{
	struct fixture *f = *state;
	uint8_t from[20], to[20];
	hash3(f, "n.z.", 0, from);
	memcpy(to, from, 20);
	from[19] = 0x10;
	to[19] = 0x12;
	const knot_rrset_t *rr = rr_nsec3(f, from, to, 0, false, TYPES(A));
	assert_int_equal(
		cache_insert_proof(&f->cache, rr, rr_sig(f, rr, "z."), dname(f, "z."), NOW), 1);
	to[19] = 0x13;
	rr = rr_nsec3(f, from, to, 0, false, TYPES(A));
	assert_int_equal(
		cache_insert_proof(&f->cache, rr, rr_sig(f, rr, "z."), dname(f, "z."), NOW), 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(nsec_denies_names_it_spans),
		TEST(nsec_denies_types),
		TEST(nsec_says_nothing_about_other_things),
		TEST(wildcard_is_expanded_with_its_proof),
		TEST(wildcard_answer_is_kept_under_the_wildcard),
		TEST(wildcard_alias_is_expanded),
		TEST(proof_needs_live_secure_records),
		TEST(proof_lives_an_hour_at_most),
		TEST(records_made_for_one_question_are_left_out),
		TEST(expanded_or_foreign_nsec_is_left_out),
		TEST(deep_names_are_asked_upstream),
		TEST(negative_answer_with_nsec_is_not_kept_twice),
		TEST(nsec3_denies_all_names_that_are_not_there),
		TEST(hash_below_the_first_owner_is_covered_by_the_last_record),
		TEST(nsec3_denies_types),
		TEST(optout_denies_no_name),
		TEST(costly_chains_are_left_alone),
		TEST(missing_record_leaves_the_question_open),
		TEST(chains_of_other_parameters_do_not_mix),
		TEST(expansion_with_nsec3_is_found_again),
		TEST(zone_may_go_from_nsec_to_nsec3),
		TEST(minimal_nsec3_is_left_out),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
