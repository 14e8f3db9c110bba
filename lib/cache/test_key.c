/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>
#include <libknot/descriptor.h>

#include "lib/cache/key.h"

#define ROUNDS 100000

static uint64_t seed = 1;

static uint32_t rnd(uint32_t below)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (seed >> 33) % below;
}

/** Few octets, so that prefixes and equal labels are frequent; those that need care are among them.
 */
static uint8_t octet(void)
{
	static const uint8_t some[] = {0, 1, 2, '*', 'A', 'a', 'b', 'Z', '[', 0xff};
	return some[rnd(sizeof(some))];
}

static void random_name(uint8_t *name)
{
	const unsigned labels = rnd(5);
	size_t len = 0;
	for (unsigned i = 0; i < labels; ++i) {
		const uint8_t label = 1 + rnd(rnd(20) ? 3 : 63);
		if (len + label + 2 > KNOT_DNAME_MAXLEN)
			break;
		name[len++] = label;
		for (unsigned j = 0; j < label; ++j)
			name[len++] = octet();
	}
	name[len] = 0;
}

/** Append labels of one name to the root side of another. */
static void random_below(uint8_t *name, const uint8_t *above)
{
	random_name(name);
	const size_t len = knot_dname_size(name), more = knot_dname_size(above);
	if (len - 1 + more <= KNOT_DNAME_MAXLEN)
		memcpy(name + len - 1, above, more);
}

/** RFC 4034 section 6.1, written for being read. */
static int canonical_cmp(const uint8_t *a, const uint8_t *b)
{
	const uint8_t *la[128], *lb[128];
	int na = 0, nb = 0;
	for (; *a; a += 1 + *a)
		la[na++] = a;
	for (; *b; b += 1 + *b)
		lb[nb++] = b;
	while (na > 0 && nb > 0) {
		const uint8_t *x = la[--na], *y = lb[--nb];
		for (int i = 1; i <= x[0] && i <= y[0]; ++i) {
			const int cx = x[i] >= 'A' && x[i] <= 'Z' ? x[i] + 32 : x[i];
			const int cy = y[i] >= 'A' && y[i] <= 'Z' ? y[i] + 32 : y[i];
			if (cx != cy)
				return cx - cy;
		}
		if (x[0] != y[0])
			return x[0] - y[0];
	}
	return na - nb;
}

static int sign(int x)
{
	return (x > 0) - (x < 0);
}

static int key_cmp(const struct cache_key *a, const struct cache_key *b)
{
	int ret = memcmp(a->data, b->data, KR_MIN(a->len, b->len));
	return sign(ret ? ret : (int)a->len - (int)b->len);
}

static void key_order_is_canonical_order(void **state)
{
	for (int i = 0; i < ROUNDS; ++i) {
		knot_dname_storage_t a, b;
		random_name(a);
		if (i % 3)
			random_name(b);
		else
			random_below(b, a);
		struct cache_name ea, eb;
		struct cache_key ka, kb;
		cache_name_init(&ea, a);
		cache_name_init(&eb, b);
		cache_key_type(&ka, &ea, ea.labels, CACHE_TAG_RR, 1);
		cache_key_type(&kb, &eb, eb.labels, CACHE_TAG_RR, 1);
		assert_int_equal(key_cmp(&ka, &kb), sign(canonical_cmp(a, b)));
	}
}

static void keys_unpack_to_what_they_were_made_of(void **state)
{
	for (int i = 0; i < ROUNDS; ++i) {
		knot_dname_storage_t name, lower;
		random_name(name);
		knot_dname_copy_lower(lower, name);
		struct cache_name enc;
		struct cache_key key;
		struct cache_key_parts parts;
		cache_name_init(&enc, name);
		const uint16_t type = rnd(65536);
		cache_key_type(
			&key, &enc, enc.labels, i & 1 ? CACHE_TAG_RR : CACHE_TAG_NODATA, type);
		assert_int_equal(cache_key_unpack(&parts, key.data, key.len), 0);
		assert_int_equal(parts.type, type);
		assert_true(knot_dname_is_equal(parts.owner, lower));
		cache_key_nsec(&key, &enc, rnd(enc.labels + 1));
		assert_int_equal(cache_key_unpack(&parts, key.data, key.len), 0);
		assert_int_equal(parts.tag, CACHE_TAG_NSEC);
		assert_true(knot_dname_is_equal(parts.owner, lower));
	}
}

static void subtree_is_a_prefix_range(void **state)
{
	for (int i = 0; i < ROUNDS; ++i) {
		knot_dname_storage_t a, b, la, lb;
		random_name(a);
		if (i & 1)
			random_name(b);
		else
			random_below(b, a);
		knot_dname_copy_lower(la, a);
		knot_dname_copy_lower(lb, b);
		struct cache_name ea, eb;
		struct cache_key subtree, exact, key;
		cache_name_init(&ea, a);
		cache_name_init(&eb, b);
		cache_key_subtree(&subtree, &ea, ea.labels);
		cache_key_exact(&exact, &ea, ea.labels);
		cache_key_tag(&key, &eb, eb.labels, CACHE_TAG_DELEG);
		const knot_db_val_t val = cache_key_val(&key);
		assert_int_equal(
			cache_key_is_prefix(&subtree, &val), knot_dname_in_bailiwick(lb, la) >= 0);
		assert_int_equal(cache_key_is_prefix(&exact, &val), knot_dname_is_equal(la, lb));
	}
}

static void nsec_keys_are_in_canonical_order_of_owners(void **state)
{
	for (int i = 0; i < ROUNDS; ++i) {
		knot_dname_storage_t zone, a, b;
		random_name(zone);
		random_below(a, zone);
		random_below(b, zone);
		struct cache_name ez, ea, eb;
		struct cache_key ka, kb, prefix;
		cache_name_init(&ez, zone);
		cache_name_init(&ea, a);
		cache_name_init(&eb, b);
		if (ea.labels < ez.labels || eb.labels < ez.labels || canonical_cmp(a, zone) < 0 ||
			canonical_cmp(b, zone) < 0)
			continue;
		cache_key_nsec(&ka, &ea, ez.labels);
		cache_key_nsec(&kb, &eb, ez.labels);
		assert_int_equal(key_cmp(&ka, &kb), sign(canonical_cmp(a, b)));
		cache_key_tag(&prefix, &ez, ez.labels, CACHE_TAG_NSEC);
		const knot_db_val_t val = cache_key_val(&ka);
		knot_dname_storage_t lz, la;
		knot_dname_copy_lower(lz, zone);
		knot_dname_copy_lower(la, a);
		if (knot_dname_in_bailiwick(la, lz) >= 0)
			assert_true(cache_key_is_prefix(&prefix, &val));
	}
}

static void longest_names_fit(void **state)
{
	knot_dname_storage_t name;
	size_t len = 0;
	const uint8_t labels[] = {63, 63, 63, 61};
	for (size_t i = 0; i < sizeof(labels); ++i) {
		name[len++] = labels[i];
		memset(name + len, 0, labels[i]);
		len += labels[i];
	}
	name[len++] = 0;
	assert_int_equal(len, KNOT_DNAME_MAXLEN);
	struct cache_name enc;
	struct cache_key key;
	struct cache_key_parts parts;
	cache_name_init(&enc, name);
	assert_int_equal(enc.end[enc.labels], CACHE_NAME_MAX);
	cache_key_type(&key, &enc, enc.labels, CACHE_TAG_RR, 0xffff);
	assert_true(key.len <= CACHE_KEY_MAX);
	assert_int_equal(cache_key_unpack(&parts, key.data, key.len), 0);
	assert_true(knot_dname_is_equal(parts.owner, name));
	for (unsigned zone = 0; zone <= enc.labels; ++zone) {
		cache_key_nsec(&key, &enc, zone);
		assert_true(key.len <= CACHE_KEY_MAX);
		assert_int_equal(cache_key_unpack(&parts, key.data, key.len), 0);
		assert_true(knot_dname_is_equal(parts.owner, name));
	}
	/* 127 labels of one octet */
	for (len = 0; len < 254; len += 2)
		memcpy(name + len, "\x01\x00", 2);
	name[len] = 0;
	cache_name_init(&enc, name);
	assert_int_equal(enc.labels, 127);
	cache_key_type(&key, &enc, enc.labels, CACHE_TAG_RR, 1);
	assert_int_equal(cache_key_unpack(&parts, key.data, key.len), 0);
	assert_true(knot_dname_is_equal(parts.owner, name));
}

static void garbage_is_no_key(void **state)
{
	static const struct {
		const char *data;
		size_t len;
	} cases[] = {
		{"", 0},
		{"\x00", 1},
		{"a", 1},
		{"a\x00", 2},
		{"a\x00\x00", 3},                 /* no tag */
		{"a\x00\x00R\x00", 5},            /* half a type */
		{"a\x00\x00R\x00\x01\x02", 7},    /* more than a type */
		{"a\x00\x00q\x00\x01", 6},        /* no such tag */
		{"A\x00\x00R\x00\x01", 6},        /* upper case */
		{"\x01\x00\x00R\x00\x01", 6},     /* escape of nothing */
		{"\x01\x03\x00\x00R\x00\x01", 7}, /* no such escape */
		{"a\x00\x00"
		 "1b",
			5}, /* open label */
		{"a\x00\x00"
		 "3abc",
			7}, /* short hash */
		{"\xffVERSION", 8},
	};
	struct cache_key_parts parts;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); ++i)
		assert_int_equal(
			cache_key_unpack(&parts, (const uint8_t *)cases[i].data, cases[i].len),
			kr_error(EILSEQ));
	uint8_t bytes[CACHE_KEY_MAX + 1];
	for (int i = 0; i < ROUNDS; ++i) {
		const size_t len = rnd(sizeof(bytes) + 1);
		for (size_t j = 0; j < len; ++j)
			bytes[j] = rnd(3) ? octet() : rnd(256);
		if (cache_key_unpack(&parts, bytes, len) == 0)
			assert_true(knot_dname_wire_check(parts.owner,
					    parts.owner + sizeof(parts.owner), NULL) > 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(key_order_is_canonical_order),
		cmocka_unit_test(keys_unpack_to_what_they_were_made_of),
		cmocka_unit_test(subtree_is_a_prefix_range),
		cmocka_unit_test(nsec_keys_are_in_canonical_order_of_owners),
		cmocka_unit_test(longest_names_fit),
		cmocka_unit_test(garbage_is_no_key),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
