/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "lib/addr.h"
#include "lib/resolve.h"
#include "lib/rules/nets.h"
#include "lib/rules/rules.h"

static uint64_t rnd_state;

/** xorshift64*: the same numbers on each machine. */
static uint32_t rnd(uint32_t below)
{
	rnd_state ^= rnd_state >> 12;
	rnd_state ^= rnd_state << 25;
	rnd_state ^= rnd_state >> 27;
	return (uint32_t)((rnd_state * 0x2545F4914F6CDD1DULL) >> 32) % below;
}

/* ---- names ---- */

static void below_stands_for_what_is_below(void **state)
{
	(void)state;
	struct kr_names *names = kr_names_new();
	assert_int_equal(kr_names_add(names, (const uint8_t *)"\3org", true), 0);
	assert_int_equal(kr_names_add(names, (const uint8_t *)"\1A\3com", false), 0);
	assert_true(kr_names_have(names, (const uint8_t *)"\3ORG"));
	assert_true(kr_names_have(names, (const uint8_t *)"\1x\1y\3org"));
	assert_true(kr_names_have(names, (const uint8_t *)"\1a\3cOm"));
	assert_false(kr_names_have(names, (const uint8_t *)"\1b\1a\3com"));
	assert_false(kr_names_have(names, (const uint8_t *)"\4xorg"));
	assert_false(kr_names_have(names, (const uint8_t *)""));
	kr_names_unref(names);
}

static void bytes_in_labels_are_no_borders(void **state)
{
	(void)state;
	struct kr_names *names = kr_names_new();
	kr_names_add(names, (const uint8_t *)"\3com", true);
	assert_false(kr_names_have(names, (const uint8_t *)"\5a\3com"));
	assert_false(kr_names_have(names, (const uint8_t *)"\5\0\3com"));
	kr_names_unref(names);
}

/* ---- networks ---- */

static bool naive_in(const uint8_t *net, unsigned bits, const uint8_t *addr)
{
	return kr_bitcmp((const char *)net, (const char *)addr, (int)bits) == 0;
}

static void all_networks_of_an_address_are_found(void **state)
{
	(void)state;
	enum { COUNT = 200 };
	rnd_state = 88172645463325252ULL;
	for (int round = 0; round < 50; ++round) {
		struct kr_nets *nets = kr_nets_new();
		uint8_t net[COUNT][4];
		unsigned bits[COUNT];
		for (int i = 0; i < COUNT; ++i) {
			for (int j = 0; j < 4; ++j)
				net[i][j] = rnd(4) * 85;
			bits[i] = rnd(33);
			struct kr_net *at = kr_nets_add(nets, AF_INET, net[i], (int)bits[i]);
			assert_non_null(at);
			at->val = (void *)at;
			kr_bitmask(net[i], 4, (int)bits[i]);
		}
		for (int i = 0; i < COUNT; ++i) {
			const struct kr_net *found[KR_NETS_DEPTH_MAX];
			uint8_t addr[4] = {rnd(4) * 85, rnd(4) * 85, rnd(4) * 85, rnd(256)};
			const size_t count = kr_nets_find_raw(nets, AF_INET, addr, found);
			bool want[33] = {false};
			size_t wanted = 0;
			for (int k = 0; k < COUNT; ++k) {
				if (naive_in(net[k], bits[k], addr) && !want[bits[k]]) {
					want[bits[k]] = true;
					wanted += 1;
				}
			}
			assert_int_equal(count, wanted);
			for (size_t k = 0; k < count; ++k) {
				assert_true(want[found[k]->bits]);
				assert_true(naive_in(found[k]->addr, found[k]->bits, addr));
				assert_true(k == 0 || found[k]->bits > found[k - 1]->bits);
			}
		}
		kr_nets_free(nets);
	}
}

static void bad_networks_are_refused(void **state)
{
	(void)state;
	struct kr_nets *nets = kr_nets_new();
	const uint8_t addr[16] = {0};
	assert_null(kr_nets_add(nets, AF_INET, addr, 33));
	assert_null(kr_nets_add(nets, AF_INET6, addr, 129));
	assert_null(kr_nets_add(nets, AF_INET, addr, -1));
	assert_null(kr_nets_add(nets, AF_UNIX, addr, 0));
	kr_nets_free(nets);
}

/* ---- order: the engine against going through the rules one by one ---- */

enum { RULES_MAX = 12, NAMES_MAX = 3, LABELS = 3 };

/** A rule as a naive evaluator sees it. */
struct naive {
	struct kr_rule *rule;
	enum kr_filter_kind filter;
	size_t len;
	knot_dname_storage_t name[NAMES_MAX];
	bool below[NAMES_MAX];
	enum kr_filter_side side;
	uint8_t net[4];
	int bits;
	bool suspended, deleted;
};

/** A name of few letters, so that names meet. */
static void random_name(uint8_t *name)
{
	for (uint32_t n = rnd(LABELS + 1); n > 0; --n) {
		*name++ = 1;
		*name++ = 'a' + rnd(3);
	}
	*name = 0;
}

static void random_addr(uint8_t addr[4])
{
	for (int i = 0; i < 4; ++i)
		addr[i] = rnd(2) * 128;
}

static void random_rule(struct kr_rulebook *book, struct naive *naive, uint32_t id)
{
	memset(naive, 0, sizeof(*naive));
	struct kr_rule_def def = {.id = id};
	static const enum kr_filter_kind filters[] = {
		KR_FILTER_ALL, KR_FILTER_NAMES, KR_FILTER_NAMES, KR_FILTER_NAMES, KR_FILTER_ASK};
	def.filter = naive->filter = filters[rnd(KR_COUNT_OF(filters))];
	if (def.filter == KR_FILTER_NAMES) {
		def.names = kr_names_new();
		naive->len = rnd(NAMES_MAX + 1);
		for (size_t i = 0; i < naive->len; ++i) {
			random_name(naive->name[i]);
			naive->below[i] = rnd(2);
			kr_names_add(def.names, naive->name[i], naive->below[i]);
		}
	}
	if (rnd(3) == 0) {
		def.side = naive->side = KR_SIDE_SOURCE + rnd(2);
		def.family = AF_INET;
		def.bits = naive->bits = (int)rnd(33);
		random_addr(naive->net);
		memcpy(def.net, naive->net, 4);
	}
	naive->rule = kr_rule_ref(kr_rule_add(book, KR_POLICY_USER, &def));
	kr_names_unref(def.names);
	assert_non_null(naive->rule);
	if (rnd(10) == 0) {
		naive->suspended = true;
		kr_rule_suspend(book, naive->rule, true);
	}
}

static bool naive_matches(const struct naive *rule, const knot_dname_t *name,
	const struct sockaddr_in *source, const struct sockaddr_in *destination)
{
	if (rule->suspended || rule->deleted)
		return false;
	if (rule->side != KR_SIDE_ANY) {
		const struct sockaddr_in *addr =
			rule->side == KR_SIDE_SOURCE ? source : destination;
		if (!addr || !naive_in(rule->net, rule->bits, (const uint8_t *)&addr->sin_addr))
			return false;
	}
	if (rule->filter != KR_FILTER_NAMES)
		return true;
	for (size_t i = 0; i < rule->len; ++i) {
		const int depth = knot_dname_in_bailiwick(name, rule->name[i]);
		if (depth == 0 || (depth > 0 && rule->below[i]))
			return true;
	}
	return false;
}

static void compare_once(struct kr_rulebook *book, struct naive *rules, size_t len)
{
	knot_dname_storage_t name;
	struct sockaddr_in source = {.sin_family = AF_INET};
	struct sockaddr_in destination = source;
	random_name(name);
	random_addr((uint8_t *)&source.sin_addr);
	random_addr((uint8_t *)&destination.sin_addr);
	const bool has_source = rnd(5) > 0;
	const struct kr_rule_question question = {
		.name = name,
		.source = has_source ? (const struct sockaddr *)&source : NULL,
		.destination = (const struct sockaddr *)&destination,
	};
	uint64_t from = 0;
	for (size_t i = 0; i < len; ++i) {
		if (!naive_matches(&rules[i], name, has_source ? &source : NULL, &destination))
			continue;
		struct kr_rule *next = kr_rulebook_next(book, &question, from);
		assert_ptr_equal(next, rules[i].rule);
		from = next->place;
	}
	assert_null(kr_rulebook_next(book, &question, from));
}

static void compare_set(struct kr_context *ctx)
{
	struct naive rules[RULES_MAX];
	struct kr_rulebook *book = kr_rulebook(ctx, KR_BOOK_POLICY);
	assert_non_null(book);
	const size_t len = rnd(RULES_MAX + 1);
	for (size_t i = 0; i < len; ++i)
		random_rule(book, &rules[i], i);
	for (int i = 0; i < 4; ++i)
		compare_once(book, rules, len);
	for (size_t i = 0; i < len; ++i) {
		if (rnd(4) > 0)
			continue;
		kr_rule_del(book, rules[i].rule);
		rules[i].deleted = true;
	}
	for (int i = 0; i < 2; ++i)
		compare_once(book, rules, len);
	kr_rulebooks_free(ctx);
	for (size_t i = 0; i < len; ++i)
		kr_rule_unref(rules[i].rule);
}

static void engine_finds_what_a_list_would(void **state)
{
	(void)state;
	const long sets = 100000;
	static struct kr_context ctx;
	for (long i = 0; i < sets; ++i) {
		rnd_state = 0x9e3779b97f4a7c15ULL * (uint64_t)(i + 1);
		compare_set(&ctx);
	}
}

static void longest_network_first_if_wanted(void **state)
{
	(void)state;
	static struct kr_context ctx;
	struct kr_rulebook *book = kr_rulebook(&ctx, KR_BOOK_VIEW);
	struct kr_rule_def def = {
		.filter = KR_FILTER_ALL, .side = KR_SIDE_SOURCE, .family = AF_INET, .net = {10}};
	struct kr_rule *wide = kr_rule_add(book, KR_VIEW_SOURCE, &def);
	def.bits = 8;
	struct kr_rule *narrow = kr_rule_add(book, KR_VIEW_SOURCE, &def);
	struct sockaddr_in addr = {.sin_family = AF_INET};
	memcpy(&addr.sin_addr, def.net, 4);
	const struct kr_rule_question question = {
		.name = (const uint8_t *)"\1a", .source = (const struct sockaddr *)&addr};
	assert_ptr_equal(kr_rulebook_next(book, &question, 0), wide);
	assert_ptr_equal(kr_rulebook_next(book, &question, wide->place), narrow);
	kr_rulebook_set_longest(book, true);
	assert_ptr_equal(kr_rulebook_next(book, &question, 0), narrow);
	assert_ptr_equal(kr_rulebook_next(book, &question, narrow->place), wide);
	kr_rulebooks_free(&ctx);
}

static void bad_rules_are_refused(void **state)
{
	(void)state;
	static struct kr_context ctx;
	struct kr_rulebook *book = kr_rulebook(&ctx, KR_BOOK_POLICY);
	struct kr_rule_def def = {.filter = KR_FILTER_NAMES};
	assert_null(kr_rule_add(book, KR_POLICY_USER, &def));
	def.filter = KR_FILTER_ALL;
	def.side = KR_SIDE_SOURCE;
	def.family = AF_INET;
	def.bits = 99;
	assert_null(kr_rule_add(book, KR_POLICY_USER, &def));
	assert_null(kr_rule_add(book, KR_VIEW_DESTINATION, &def));
	kr_rulebooks_free(&ctx);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(below_stands_for_what_is_below),
		cmocka_unit_test(bytes_in_labels_are_no_borders),
		cmocka_unit_test(all_networks_of_an_address_are_found),
		cmocka_unit_test(bad_networks_are_refused),
		cmocka_unit_test(engine_finds_what_a_list_would),
		cmocka_unit_test(longest_network_first_if_wanted),
		cmocka_unit_test(bad_rules_are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
