/* SPDX-License-Identifier: GPL-3.0-or-later */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <libknot/rrtype/rrsig.h>
#include <libknot/wire.h>

#include "lib/dnssec/signature.h"
#include "lib/dnssec/svldr.h"
#include "lib/dnssec/verify.h"
#include "lib/dnssec/test_fixtures.h"
#include "lib/dnssec/test_text.h"
#include "lib/utils.h"

#define INCEPTION 1700000000u
#define EXPIRATION 1800000000u

/** A zone of the fixtures and everything needed to judge it. */
struct bench {
	struct text_sets sets;
	knot_rrset_t *dnskey, *ds, *mx, *txt;
	knot_rrset_t *key_sigs, *mx_sigs, *txt_sigs;
	struct dnssec_keyset keys;
	struct dnssec_allowance left;
	struct dnssec_memory memory;
	struct dnssec_env env;
	struct dnssec_verdict verdict;
};

static knot_rrset_t *find_sigs(const struct bench *b, const knot_dname_t *owner)
{
	for (size_t i = 0; i < b->sets.len; ++i) {
		if (b->sets.at[i]->type == KNOT_RRTYPE_RRSIG &&
			knot_dname_is_equal(b->sets.at[i]->owner, owner))
			return b->sets.at[i];
	}
	return NULL;
}

static void open_bench(struct bench *b, const char *text)
{
	memset(b, 0, sizeof(*b));
	assert_true(text_parse(&b->sets, text, strlen(text)));
	b->dnskey = text_find(&b->sets, KNOT_RRTYPE_DNSKEY);
	b->ds = text_find(&b->sets, KNOT_RRTYPE_DS);
	b->mx = text_find(&b->sets, KNOT_RRTYPE_MX);
	b->txt = text_find(&b->sets, KNOT_RRTYPE_TXT);
	b->key_sigs = find_sigs(b, b->dnskey->owner);
	b->mx_sigs = find_sigs(b, b->mx->owner);
	b->txt_sigs = find_sigs(b, b->txt->owner);
	b->left = (struct dnssec_allowance){100, 1000, 100, 1000, 0};
	b->env = (struct dnssec_env){.now_s = FIXTURE_NOW, .left = &b->left};
	assert_int_equal(dnssec_keyset_init(&b->keys, b->dnskey), 0);
}

static void close_bench(struct bench *b)
{
	dnssec_keyset_deinit(&b->keys);
	array_clear(b->memory.memos);
	text_free(&b->sets);
}

/** ECDSA P-256 serves where the algorithm does not matter. */
static void open_default(struct bench *b)
{
	for (size_t i = 0; i < KR_COUNT_OF(fixtures); ++i) {
		if (fixtures[i].alg == 13) {
			open_bench(b, fixtures[i].text);
			return;
		}
	}
	fail();
}

static int judge_mx(struct bench *b)
{
	return dnssec_rrset_verify(b->mx, &b->mx_sigs->rrs, &b->keys, &b->env, &b->verdict);
}

static void good_signatures_verify(void **state)
{
	for (size_t i = 0; i < KR_COUNT_OF(fixtures); ++i) {
		struct bench b;
		open_bench(&b, fixtures[i].text);
		assert_int_equal(judge_mx(&b), 0);
		assert_false(b.verdict.is_expanded);
		assert_int_equal(b.verdict.ttl_s, 3600);
		assert_int_equal(b.left.checks, 99);
		assert_int_equal(b.left.units, 1000 - dnssec_alg_price(fixtures[i].alg));
		assert_int_equal(b.left.fails, 100);
		assert_int_equal(
			dnssec_keyset_verify(&b.keys, &b.key_sigs->rrs, b.ds, &b.env, &b.verdict),
			0);
		close_bench(&b);
	}
}

static void wildcard_expansion_is_told(void **state)
{
	for (size_t i = 0; i < KR_COUNT_OF(fixtures); ++i) {
		struct bench b;
		open_bench(&b, fixtures[i].text);
		assert_int_equal(
			dnssec_rrset_verify(b.txt, &b.txt_sigs->rrs, &b.keys, &b.env, &b.verdict),
			0);
		assert_true(b.verdict.is_expanded);
		assert_int_equal(b.verdict.labels, 1);
		close_bench(&b);
	}
}

static void every_engine_agrees(void **state)
{
	for (const struct dnssec_engine *const *engine = dnssec_engines; *engine; ++engine) {
		for (size_t i = 0; i < KR_COUNT_OF(fixtures); ++i) {
			struct bench b;
			open_bench(&b, fixtures[i].text);
			struct dnssec_key *key = &b.keys.keys[0];
			int ret = dnssec_pubkey_new(&key->pub, *engine, key->alg,
				key->rdata->data + 4, key->rdata->len - 4);
			assert_int_equal(ret, 0);
			key->is_parsed = true;
			assert_int_equal(judge_mx(&b), 0);
			knot_rdata_t *sig = b.mx_sigs->rrs.rdata;
			sig->data[sig->len - 9] ^= 1;
			assert_int_equal(judge_mx(&b), kr_error(EBADMSG));
			assert_int_equal(b.verdict.faults, DNSSEC_FAULT_CRYPTO);
			close_bench(&b);
		}
	}
}

static void any_changed_byte_is_noticed(void **state)
{
	struct bench b;
	open_default(&b);
	knot_rdata_t *sig = b.mx_sigs->rrs.rdata;
	for (unsigned i = 0; i < sig->len; ++i) {
		b.left = (struct dnssec_allowance){100, 1000, 100, 1000, 0};
		sig->data[i] ^= 0x04;
		assert_int_not_equal(judge_mx(&b), 0);
		sig->data[i] ^= 0x04;
	}
	knot_rdata_t *rd = b.mx->rrs.rdata;
	rd->data[1] ^= 1;
	assert_int_equal(judge_mx(&b), kr_error(EBADMSG));
	rd->data[1] ^= 1;
	rd->data[3] ^= 0x20; /* letter case does not matter */
	assert_int_equal(judge_mx(&b), 0);
	close_bench(&b);
}

static void set_time(struct bench *b, uint32_t since, uint32_t until)
{
	knot_rdata_t *sig = b->mx_sigs->rrs.rdata;
	knot_wire_write_u32(sig->data + 8, until);
	knot_wire_write_u32(sig->data + 12, since);
}

static void times_are_compared_to_the_second(void **state)
{
	static const struct {
		uint32_t now;
		int ret;
		uint32_t fault;
	} table[] = {
		{EXPIRATION, 0, 0},
		{EXPIRATION + 1, -EBADMSG, DNSSEC_FAULT_EXPIRED},
		{INCEPTION, 0, 0},
		{INCEPTION - DNSSEC_INCEPTION_SKEW_S, 0, 0},
		{INCEPTION - DNSSEC_INCEPTION_SKEW_S - 1, -EBADMSG, DNSSEC_FAULT_NOT_YET},
		{0, -EBADMSG, DNSSEC_FAULT_NOT_YET},
	};
	struct bench b;
	open_default(&b);
	for (size_t i = 0; i < KR_COUNT_OF(table); ++i) {
		b.env.now_s = table[i].now;
		assert_int_equal(judge_mx(&b), table[i].ret);
		assert_int_equal(b.verdict.faults, table[i].fault);
	}
	/* Beyond 2106 the counter wraps: the signature is wrong, but not for its time. */
	b.env.now_s = 100;
	set_time(&b, UINT32_MAX - 100, 1000);
	assert_int_equal(judge_mx(&b), kr_error(EBADMSG));
	assert_int_equal(b.verdict.faults, DNSSEC_FAULT_CRYPTO);
	/* Inception after expiration is never valid. */
	b.env.now_s = FIXTURE_NOW;
	set_time(&b, FIXTURE_NOW + 20, FIXTURE_NOW + 10);
	assert_int_equal(judge_mx(&b), kr_error(EBADMSG));
	assert_int_equal(b.verdict.faults, DNSSEC_FAULT_EXPIRED);
	close_bench(&b);
}

static void ttl_ends_with_the_signature(void **state)
{
	struct bench b;
	open_default(&b);
	b.env.now_s = EXPIRATION - 10;
	assert_int_equal(judge_mx(&b), 0);
	assert_int_equal(b.verdict.ttl_s, 10);
	close_bench(&b);
}

static void label_count_has_bounds(void **state)
{
	struct bench b;
	open_default(&b);
	knot_rdata_t *sig = b.mx_sigs->rrs.rdata;
	sig->data[3] = 3; /* more than the owner has */
	assert_int_equal(judge_mx(&b), kr_error(EBADMSG));
	assert_int_equal(b.verdict.faults, DNSSEC_FAULT_LABELS);
	sig->data[3] = 0; /* a wildcard above the zone */
	assert_int_equal(judge_mx(&b), kr_error(EBADMSG));
	assert_int_equal(b.verdict.faults, DNSSEC_FAULT_LABELS);
	assert_int_equal(b.left.checks, 100);
	close_bench(&b);
}

static void keys_that_may_not_sign_are_not_used(void **state)
{
	static const struct {
		uint8_t at, mask;
		uint32_t fault;
	} table[] = {
		{0, 0x01, DNSSEC_FAULT_KEY_BIT},                                  /* ZONE off */
		{1, 0x80, DNSSEC_FAULT_REVOKED}, {2, 0x01, DNSSEC_FAULT_KEY_BIT}, /* protocol 2 */
	};
	for (size_t i = 0; i < KR_COUNT_OF(table); ++i) {
		struct bench b;
		open_default(&b);
		b.dnskey->rrs.rdata->data[table[i].at] ^= table[i].mask;
		struct dnssec_keyset keys;
		assert_int_equal(dnssec_keyset_init(&keys, b.dnskey), 0);
		/* Its tag changed with it; name the key. */
		knot_wire_write_u16(b.mx_sigs->rrs.rdata->data + 16, keys.keys[0].tag);
		int ret = dnssec_rrset_verify(b.mx, &b.mx_sigs->rrs, &keys, &b.env, &b.verdict);
		assert_int_equal(ret, kr_error(EBADMSG));
		assert_int_equal(b.verdict.faults, table[i].fault);
		assert_int_equal(b.left.checks, 100);
		dnssec_keyset_deinit(&keys);
		close_bench(&b);
	}
}

static void missing_and_foreign_signatures_are_told_apart(void **state)
{
	struct bench b;
	open_default(&b);
	assert_int_equal(
		dnssec_rrset_verify(b.mx, NULL, &b.keys, &b.env, &b.verdict), kr_error(EBADMSG));
	assert_int_equal(b.verdict.faults, DNSSEC_FAULT_NO_RRSIG);
	/* A signature over another type of the same owner is none. */
	assert_int_equal(dnssec_rrset_verify(b.mx, &b.txt_sigs->rrs, &b.keys, &b.env, &b.verdict),
		kr_error(EBADMSG));
	assert_int_equal(b.verdict.faults, DNSSEC_FAULT_NO_RRSIG);
	b.mx_sigs->rrs.rdata->data[20] ^= 0x01; /* signer name */
	assert_int_equal(judge_mx(&b), kr_error(EBADMSG));
	assert_int_equal(b.verdict.faults, DNSSEC_FAULT_SIGNER);
	close_bench(&b);
}

static void limits_end_the_work(void **state)
{
	struct bench b;
	open_default(&b);
	b.left.checks = 0;
	assert_int_equal(judge_mx(&b), kr_error(EDQUOT));
	assert_int_equal(b.verdict.faults, DNSSEC_FAULT_LIMIT);
	b.left = (struct dnssec_allowance){.checks = 9, .units = 2, .fails = 9, .fail_units = 9};
	assert_int_equal(judge_mx(&b), kr_error(EDQUOT)); /* P-256 costs 3 */
	b.left = (struct dnssec_allowance){.checks = 9, .units = 9, .fails = 0, .fail_units = 9};
	assert_int_equal(judge_mx(&b), kr_error(EDQUOT));
	close_bench(&b);
}

/** Add copies of a record that differ in their last byte. */
static void multiply(knot_rrset_t *rr, unsigned count, unsigned at_from_end)
{
	uint8_t copy[1024];
	const uint16_t len = rr->rrs.rdata->len;
	memcpy(copy, rr->rrs.rdata->data, len);
	for (unsigned i = 0; i < count; ++i) {
		copy[len - at_from_end] += 1;
		assert_int_equal(knot_rrset_add_rdata(rr, copy, len, NULL), 0);
	}
}

static void colliding_keys_and_signatures_are_bounded(void **state)
{
	struct bench b;
	open_default(&b);
	b.mx_sigs->rrs.rdata->data[b.mx_sigs->rrs.rdata->len - 9] ^= 1; /* none is right */
	multiply(b.mx_sigs, 50, 1);
	struct dnssec_key *keys = calloc(100, sizeof(*keys));
	for (int i = 0; i < 100; ++i)
		keys[i] = b.keys.keys[0];
	const struct dnssec_keyset many = {.rrset = b.dnskey, .keys = keys, .count = 100};
	struct dnssec_keyset copy = many;
	assert_int_equal(dnssec_rrset_verify(b.mx, &b.mx_sigs->rrs, &copy, &b.env, &b.verdict),
		kr_error(EBADMSG));
	assert_int_equal(100 - b.left.checks, KR_RRSIG_TRIED_MAX * KR_KEYTAG_KEYS_MAX);
	assert_true(b.verdict.faults & DNSSEC_FAULT_LIMIT);
	for (int i = 0; i < 100; ++i)
		dnssec_pubkey_free(keys[i].pub);
	free(keys);
	close_bench(&b);
}

static void the_right_one_of_colliding_keys_is_found_once(void **state)
{
	struct bench b;
	open_default(&b);
	/* Three keys of one tag; the last one is right. */
	struct dnssec_key keys[3] = {b.keys.keys[0], b.keys.keys[0], b.keys.keys[0]};
	uint8_t other[2][sizeof(knot_rdata_t) + 80];
	for (size_t i = 0; i < 2; ++i) {
		memcpy(other[i], keys[0].rdata, sizeof(knot_rdata_t) + keys[0].rdata->len);
		keys[i].rdata = (knot_rdata_t *)other[i];
		((knot_rdata_t *)other[i])->data[10 + i] ^= 0xff; /* not a point of the curve */
	}
	struct dnssec_keyset set = {.rrset = b.dnskey, .keys = keys, .count = 3};
	assert_int_equal(dnssec_rrset_verify(b.mx, &b.mx_sigs->rrs, &set, &b.env, &b.verdict), 0);
	assert_int_equal(b.left.fails, 98);
	assert_int_equal(dnssec_rrset_verify(b.txt, &b.txt_sigs->rrs, &set, &b.env, &b.verdict), 0);
	assert_int_equal(b.left.fails, 98);
	for (size_t i = 0; i < 3; ++i)
		dnssec_pubkey_free(keys[i].pub);
	close_bench(&b);
}

static void nothing_is_checked_twice(void **state)
{
	struct bench b;
	open_default(&b);
	b.env.memory = &b.memory;
	assert_int_equal(judge_mx(&b), 0);
	assert_int_equal(judge_mx(&b), 0);
	assert_int_equal(b.left.checks, 99);
	b.mx_sigs->rrs.rdata->data[b.mx_sigs->rrs.rdata->len - 1] ^= 1;
	assert_int_equal(judge_mx(&b), kr_error(EBADMSG));
	assert_int_equal(judge_mx(&b), kr_error(EBADMSG));
	assert_int_equal(b.verdict.faults, DNSSEC_FAULT_CRYPTO);
	assert_int_equal(b.left.checks, 98);
	assert_int_equal(b.left.fails, 99);
	close_bench(&b);
}

static int judge_keys(struct bench *b)
{
	return dnssec_keyset_verify(&b->keys, &b->key_sigs->rrs, b->ds, &b->env, &b->verdict);
}

/** Leave only DS of these digest types. */
static void keep_ds(struct bench *b, uint8_t one, uint8_t other)
{
	for (int i = b->ds->rrs.count - 1; i >= 0; --i) {
		knot_rdata_t *rd = b->ds->rrs.rdata;
		for (int j = 0; j < i; ++j)
			rd = knot_rdataset_next(rd);
		if (rd->data[3] != one && rd->data[3] != other) {
			knot_rdata_t *copy = malloc(sizeof(*copy) + rd->len + 1);
			memcpy(copy, rd, sizeof(*copy) + rd->len);
			knot_rdataset_t one_set = {
				.count = 1, .size = knot_rdata_size(rd->len), .rdata = copy};
			assert_int_equal(knot_rdataset_subtract(&b->ds->rrs, &one_set, NULL), 0);
			free(copy);
		}
	}
}

static void each_digest_leads_to_the_key(void **state)
{
	for (uint8_t type = 1; type <= 4; ++type) {
		if (type == 3)
			continue;
		struct bench b;
		open_default(&b);
		keep_ds(&b, type, type);
		assert_int_equal(b.ds->rrs.count, 1);
		assert_int_equal(judge_keys(&b), 0);
		b.ds->rrs.rdata->data[10] ^= 1;
		assert_int_equal(judge_keys(&b), kr_error(EBADMSG));
		assert_true(b.verdict.faults & DNSSEC_FAULT_DIGEST);
		close_bench(&b);
	}
}

static void sha1_does_not_count_beside_sha256(void **state)
{
	struct bench b;
	open_default(&b);
	keep_ds(&b, 1, 2);
	assert_int_equal(b.ds->rrs.count, 2);
	knot_rdataset_next(b.ds->rrs.rdata)->data[10] ^= 1; /* the stronger one is wrong */
	assert_int_equal(judge_keys(&b), kr_error(EBADMSG));
	close_bench(&b);
}

static void unknown_algorithms_and_digests_make_insecure(void **state)
{
	static const uint8_t algorithms[] = {0, 1, 3, 6, 12, 17, 252, 253, 255};
	for (size_t i = 0; i < sizeof(algorithms); ++i) {
		struct bench b;
		open_default(&b);
		keep_ds(&b, 2, 2);
		b.ds->rrs.rdata->data[2] = algorithms[i];
		assert_false(kr_ds_algo_support(b.ds));
		assert_int_equal(judge_keys(&b), kr_error(ENOTSUP));
		close_bench(&b);
	}
	struct bench b;
	open_default(&b);
	keep_ds(&b, 2, 2);
	b.ds->rrs.rdata->data[3] = 3; /* GOST */
	assert_int_equal(judge_keys(&b), kr_error(ENOTSUP));
	close_bench(&b);
}

static void many_ds_of_one_tag_are_bounded(void **state)
{
	struct bench b;
	open_default(&b);
	keep_ds(&b, 2, 2);
	b.ds->rrs.rdata->data[10] ^= 1;
	multiply(b.ds, 100, 1);
	assert_int_equal(judge_keys(&b), kr_error(EBADMSG));
	assert_true(b.verdict.faults & DNSSEC_FAULT_LIMIT);
	assert_int_equal(b.left.checks, 100);
	close_bench(&b);
}

/** RSA key rdata of that many modulus bits and exponent bytes. */
static size_t make_rsa(uint8_t *out, unsigned bits, unsigned exp_len)
{
	uint8_t *at = out;
	*at++ = exp_len;
	memset(at, 0, exp_len);
	at[0] = at[exp_len - 1] = 1;
	at += exp_len;
	memset(at, 0xa5, bits / 8);
	return at + bits / 8 - out;
}

static void expensive_keys_are_not_taken(void **state)
{
	static const struct {
		unsigned bits, exp_len;
		int ret;
	} table[] = {
		{1024, 3, 0},
		{4096, 4, 0},
		{4104, 3, -ENOTSUP},
		{16384, 3, -ENOTSUP},
		{2048, 5, 0}, /* 2^32 + 1, which zones do use */
		{2048, 6, -ENOTSUP},
		{2048, 9, -ENOTSUP},
		{256, 3, -EINVAL},
	};
	uint8_t rsa[16384 / 8 + 16];
	for (size_t i = 0; i < KR_COUNT_OF(table); ++i) {
		struct dnssec_pubkey *key = NULL;
		size_t len = make_rsa(rsa, table[i].bits, table[i].exp_len);
		assert_int_equal(dnssec_pubkey_new(&key, NULL, 8, rsa, len), table[i].ret);
		dnssec_pubkey_free(key);
	}
}

static void malformed_keys_are_refused(void **state)
{
	uint8_t junk[256];
	memset(junk, 0x5a, sizeof(junk));
	static const uint8_t algorithms[] = {5, 7, 8, 10, 13, 14, 15, 16};
	for (size_t i = 0; i < sizeof(algorithms); ++i) {
		for (size_t len = 0; len < 8; ++len) {
			struct dnssec_pubkey *key = NULL;
			assert_int_not_equal(
				dnssec_pubkey_new(&key, NULL, algorithms[i], junk, len), 0);
		}
	}
	struct dnssec_pubkey *key = NULL;
	assert_int_equal(
		dnssec_pubkey_new(&key, NULL, 13, junk, 64), kr_error(EINVAL)); /* off the curve */
	assert_int_equal(dnssec_pubkey_new(&key, NULL, 3, junk, 64), kr_error(ENOTSUP));
}

static void zone_data_is_validated(void **state)
{
	struct bench b;
	open_default(&b);
	kr_rrset_validation_ctx_t err = {0};
	struct kr_svldr_ctx *ctx =
		kr_svldr_new_ctx(b.ds, b.dnskey, &b.key_sigs->rrs, FIXTURE_NOW, &err);
	assert_non_null(ctx);
	assert_int_equal(err.result, 0);
	b.mx->ttl = 86400;
	assert_int_equal(kr_svldr_rrset(b.mx, &b.mx_sigs->rrs, ctx), 0);
	assert_int_equal(b.mx->ttl, 3600);
	/* An expanded record has no place in a zone file. */
	assert_int_not_equal(kr_svldr_rrset(b.txt, &b.txt_sigs->rrs, ctx), 0);
	kr_svldr_free_ctx(ctx);
	assert_null(kr_svldr_new_ctx(b.ds, b.dnskey, &b.key_sigs->rrs, EXPIRATION + 1, &err));
	assert_int_equal(err.rrs_counters.expired, 1);
	assert_int_not_equal(err.result, 0);
	close_bench(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_signatures_verify),
		cmocka_unit_test(wildcard_expansion_is_told),
		cmocka_unit_test(every_engine_agrees),
		cmocka_unit_test(any_changed_byte_is_noticed),
		cmocka_unit_test(times_are_compared_to_the_second),
		cmocka_unit_test(ttl_ends_with_the_signature),
		cmocka_unit_test(label_count_has_bounds),
		cmocka_unit_test(keys_that_may_not_sign_are_not_used),
		cmocka_unit_test(missing_and_foreign_signatures_are_told_apart),
		cmocka_unit_test(limits_end_the_work),
		cmocka_unit_test(colliding_keys_and_signatures_are_bounded),
		cmocka_unit_test(the_right_one_of_colliding_keys_is_found_once),
		cmocka_unit_test(nothing_is_checked_twice),
		cmocka_unit_test(each_digest_leads_to_the_key),
		cmocka_unit_test(sha1_does_not_count_beside_sha256),
		cmocka_unit_test(unknown_algorithms_and_digests_make_insecure),
		cmocka_unit_test(many_ds_of_one_tag_are_bounded),
		cmocka_unit_test(expensive_keys_are_not_taken),
		cmocka_unit_test(malformed_keys_are_refused),
		cmocka_unit_test(zone_data_is_validated),
	};
	kr_crypto_init();
	int ret = cmocka_run_group_tests(tests, NULL, NULL);
	kr_crypto_cleanup();
	return ret;
}
