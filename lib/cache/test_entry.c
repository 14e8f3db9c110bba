/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

/* The checksum is wanted here too, to hide damage behind a right one. */
#include "lib/cache/entry.c"

static uint64_t seed = 7;

static uint32_t rnd(uint32_t below)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (seed >> 33) % below;
}

static void make_key(struct cache_key *key, const char *text)
{
	knot_dname_storage_t name;
	struct cache_name enc;
	assert_non_null(knot_dname_from_str(name, text, sizeof(name)));
	cache_name_init(&enc, name);
	cache_key_type(key, &enc, enc.labels, CACHE_TAG_RR, KNOT_RRTYPE_A);
}

/** A negative answer: SOA and NSEC, both with signature. */
static void make_entry(struct cache_entry *entry, knot_rrset_t *rr)
{
	static uint8_t soa[] = "\x02ns\x00\x01h\x00\0\0\0\1\0\0\0\2\0\0\0\3\0\0\0\4\0\0\0\5";
	static uint8_t nsec[] = "\x01z\x00\x00\x01\x40";
	static uint8_t sig[] = "\0\6\5\1\0\0\0\1\0\0\0\2\0\0\0\3\0\1\x01z\x00"
			       "signature";
	const uint8_t *rdata[] = {soa, nsec, sig};
	const size_t len[] = {sizeof(soa) - 1, sizeof(nsec) - 1, sizeof(sig) - 1};
	const uint16_t types[] = {KNOT_RRTYPE_SOA, KNOT_RRTYPE_NSEC, KNOT_RRTYPE_RRSIG};
	for (int i = 0; i < 3; ++i) {
		knot_rrset_init(&rr[i], (knot_dname_t *)"\x01z", types[i], KNOT_CLASS_IN, 60);
		assert_int_equal(knot_rrset_add_rdata(&rr[i], rdata[i], len[i], NULL), 0);
	}
	*entry = (struct cache_entry){
		.time = 1000,
		.ttl = 60,
		.rank = KR_RANK_SECURE | KR_RANK_AUTH,
		.flags = CACHE_FLAG_OPTOUT,
		.count = 2,
		.sets = {{(knot_dname_t *)"\x01z", KNOT_RRTYPE_SOA, 60, rr[0].rrs, rr[2].rrs},
			{NULL, KNOT_RRTYPE_NSEC, 50, rr[1].rrs, rr[2].rrs}},
	};
}

static size_t encode(uint8_t *bytes, const struct cache_key *key)
{
	knot_rrset_t rr[3];
	struct cache_entry entry;
	make_entry(&entry, rr);
	const ssize_t size = cache_entry_size(&entry);
	assert_true(size > 0 && size < 1000);
	cache_entry_encode(&entry, key, bytes, size);
	for (int i = 0; i < 3; ++i)
		knot_rdataset_clear(&rr[i].rrs, NULL);
	return size;
}

static int decode(
	struct cache_entry *entry, const struct cache_key *key, const void *data, size_t len)
{
	const knot_db_val_t k = cache_key_val(key), v = {.data = (void *)data, .len = len};
	return cache_entry_decode(entry, &k, &v);
}

static void set_sum(const struct cache_key *key, uint8_t *bytes, size_t len)
{
	const uint32_t sum = checksum(key->data, key->len, bytes, len);
	memcpy(bytes, &sum, sizeof(sum));
}

static void entry_comes_back_as_it_was(void **state)
{
	struct cache_key key;
	knot_rrset_t rr[3];
	struct cache_entry in, out;
	uint8_t bytes[1001];
	make_key(&key, "www.z.");
	make_entry(&in, rr);
	const size_t len = encode(bytes + 1, &key); /* odd addresses are normal in LMDB */
	assert_int_equal(decode(&out, &key, bytes + 1, len), 0);
	assert_int_equal(out.time, in.time);
	assert_int_equal(out.ttl, in.ttl);
	assert_int_equal(out.rank, in.rank);
	assert_int_equal(out.flags, in.flags);
	assert_int_equal(out.count, in.count);
	for (int i = 0; i < in.count; ++i) {
		assert_int_equal(out.sets[i].type, in.sets[i].type);
		assert_int_equal(out.sets[i].ttl, in.sets[i].ttl);
		assert_int_equal(out.sets[i].data.count, in.sets[i].data.count);
		assert_int_equal(out.sets[i].data.size, in.sets[i].data.size);
		assert_memory_equal(
			out.sets[i].data.rdata, in.sets[i].data.rdata, in.sets[i].data.size);
		assert_memory_equal(
			out.sets[i].sigs.rdata, in.sets[i].sigs.rdata, in.sets[i].sigs.size);
	}
	assert_true(knot_dname_is_equal(out.sets[0].owner, in.sets[0].owner));
	assert_null(out.sets[1].owner);
	for (int i = 0; i < 3; ++i)
		knot_rdataset_clear(&rr[i].rrs, NULL);
}

static void every_flipped_bit_is_noticed(void **state)
{
	struct cache_key key;
	struct cache_entry out;
	uint8_t bytes[1000];
	make_key(&key, "www.z.");
	const size_t len = encode(bytes, &key);
	for (size_t bit = 0; bit < len * 8; ++bit) {
		bytes[bit / 8] ^= 1 << bit % 8;
		assert_int_equal(decode(&out, &key, bytes, len), kr_error(EILSEQ));
		bytes[bit / 8] ^= 1 << bit % 8;
	}
	for (size_t bit = 0; bit < key.len * 8u; ++bit) {
		key.data[bit / 8] ^= 1 << bit % 8;
		assert_int_equal(decode(&out, &key, bytes, len), kr_error(EILSEQ));
		key.data[bit / 8] ^= 1 << bit % 8;
	}
	assert_int_equal(decode(&out, &key, bytes, len), 0);
}

static void cut_and_stretched_entries_are_refused(void **state)
{
	struct cache_key key;
	struct cache_entry out;
	uint8_t bytes[1000] = {0};
	make_key(&key, "www.z.");
	const size_t len = encode(bytes, &key);
	for (size_t cut = 0; cut < sizeof(bytes); ++cut) {
		if (cut == len)
			continue;
		assert_int_equal(decode(&out, &key, bytes, cut), kr_error(EILSEQ));
		/* the same with length and checksum made to fit */
		uint8_t copy[1000];
		memcpy(copy, bytes, sizeof(copy));
		const uint32_t now_len = cut;
		if (cut < sizeof(struct cache_entry_head))
			continue;
		memcpy(copy + offsetof(struct cache_entry_head, len), &now_len, sizeof(now_len));
		set_sum(&key, copy, cut);
		assert_int_equal(decode(&out, &key, copy, cut), kr_error(EILSEQ));
	}
}

/** Walk all that was decoded; sanitizers watch. */
static unsigned touch(const struct cache_entry *entry)
{
	unsigned sum = 0;
	for (int i = 0; i < entry->count; ++i) {
		const knot_rdataset_t *all[] = {&entry->sets[i].data, &entry->sets[i].sigs};
		for (int j = 0; j < 2; ++j) {
			const uint8_t *at = (const uint8_t *)all[j]->rdata;
			for (int k = 0; k < all[j]->count; ++k) {
				uint16_t len;
				memcpy(&len, at, sizeof(len));
				for (int l = 0; l < len; ++l)
					sum += at[2 + l];
				at += knot_rdata_size(len);
			}
		}
		if (entry->sets[i].owner)
			sum += knot_dname_size(entry->sets[i].owner);
	}
	return sum;
}

static void hostile_neighbour_with_right_checksum_does_no_harm(void **state)
{
	struct cache_key key;
	struct cache_entry out;
	uint8_t good[1000];
	make_key(&key, "www.z.");
	const size_t len = encode(good, &key);
	unsigned passed = 0, sum = 0;
	for (int i = 0; i < 200000; ++i) {
		uint8_t *bytes = malloc(len); /* exact, so that reading beyond shows */
		memcpy(bytes, good, len);
		for (unsigned n = 1 + rnd(3); n > 0; --n)
			bytes[8 + rnd(len - 8)] = rnd(4) ? rnd(256) : rnd(2) * 255;
		set_sum(&key, bytes, len);
		if (decode(&out, &key, bytes, len) == 0) {
			passed += 1;
			sum += touch(&out);
		}
		free(bytes);
	}
	assert_in_range(passed, 1000, 199999); /* TTLs and signatures may be anything */
	assert_true(sum > 0);
}

static void rdata_has_to_suit_its_type(void **state)
{
	static const struct {
		uint16_t type;
		const char *rdata;
		uint16_t len;
		int ret;
	} cases[] = {
		{KNOT_RRTYPE_A, "\1\2\3\4", 4, 0},
		{KNOT_RRTYPE_A, "\1\2\3", 3, -EILSEQ},
		{KNOT_RRTYPE_A, "\1\2\3\4\5", 5, -EILSEQ},
		{KNOT_RRTYPE_AAAA, "\1\2\3\4", 4, -EILSEQ},
		{KNOT_RRTYPE_CNAME, "\1a\0", 3, 0},
		{KNOT_RRTYPE_CNAME, "\1a", 2, -EILSEQ},
		{KNOT_RRTYPE_CNAME, "\1a\0x", 4, -EILSEQ},
		{KNOT_RRTYPE_CNAME, "\x40", 1, -EILSEQ},
		{KNOT_RRTYPE_CNAME, "\xc0\x0c", 2, -EILSEQ},
		{KNOT_RRTYPE_CNAME, "", 0, -EILSEQ},
		{KNOT_RRTYPE_MX, "\0\1\1a\0", 5, 0},
		{KNOT_RRTYPE_MX, "\0", 1, -EILSEQ},
		{KNOT_RRTYPE_NAPTR, "\0\1\0\1\1s\1x\1y\1r\0", 13, 0},
		{KNOT_RRTYPE_NAPTR, "\0\1\0\1\xff", 5, -EILSEQ},
		{KNOT_RRTYPE_RRSIG, "\0\1", 2, -EILSEQ},
		{KNOT_RRTYPE_TXT, "\1a", 2, 0},
		{65280, "", 0, 0},
	};
	struct cache_key key;
	make_key(&key, "a.");
	for (size_t i = 0; i < KR_COUNT_OF(cases); ++i) {
		knot_rrset_t rr;
		uint8_t bytes[200];
		knot_rrset_init(&rr, NULL, cases[i].type, KNOT_CLASS_IN, 1);
		assert_int_equal(knot_rrset_add_rdata(
					 &rr, (const uint8_t *)cases[i].rdata, cases[i].len, NULL),
			0);
		struct cache_entry in = {.ttl = 1,
					   .count = 1,
					   .sets = {{.type = cases[i].type, .data = rr.rrs}}},
				   out;
		const ssize_t size = cache_entry_size(&in);
		cache_entry_encode(&in, &key, bytes, size);
		assert_int_equal(decode(&out, &key, bytes, size), cases[i].ret);
		knot_rdataset_clear(&rr.rrs, NULL);
	}
}

static void time_left_survives_clocks(void **state)
{
	assert_int_equal(cache_ttl_left(1000, 60, 1000), 60);
	assert_int_equal(cache_ttl_left(1000, 60, 1059), 1);
	assert_true(cache_ttl_left(1000, 60, 1060) < 0);
	assert_true(cache_ttl_left(1000, 60, 5000) < 0);
	assert_int_equal(cache_ttl_left(1000, 60, 990), 60);          /* a neighbour's clock */
	assert_int_equal(cache_ttl_left(1000, 60, 939), INT32_MIN);   /* ours went back */
	assert_int_equal(cache_ttl_left(UINT32_MAX - 5, 60, 10), 44); /* 2106 */
	assert_true(cache_ttl_left(0, UINT32_MAX, 1) == INT32_MAX);
	assert_true(cache_ttl_left(0, 5, 0x80000000u) < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(entry_comes_back_as_it_was),
		cmocka_unit_test(every_flipped_bit_is_noticed),
		cmocka_unit_test(cut_and_stretched_entries_are_refused),
		cmocka_unit_test(hostile_neighbour_with_right_checksum_does_no_harm),
		cmocka_unit_test(rdata_has_to_suit_its_type),
		cmocka_unit_test(time_left_survives_clocks),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
