/* SPDX-License-Identifier: GPL-3.0-or-later */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "lib/dnssec/key.h"
#include "lib/dnssec/ta.h"
#include "lib/dnssec/test_fixtures.h"
#include "lib/dnssec/test_text.h"
#include "lib/resolve.h"

static const uint8_t ROOT[] = "";
static const uint8_t EXAMPLE[] = "\x07"
				 "example";
static const uint8_t SUB[] = "\x03"
			     "sub\x07"
			     "example";
static const uint8_t WWW[] = "\x03"
			     "www\x03"
			     "sub\x07"
			     "example";
static const uint8_t OTHER[] = "\x05"
			       "other";
static const uint8_t DS[4 + 32] = {0x12, 0x34, 8, 2};

static int setup(void **state)
{
	struct kr_context *ctx = calloc(1, sizeof(*ctx));
	ctx->trust_anchors = trie_create(NULL);
	ctx->negative_anchors = trie_create(NULL);
	*state = ctx;
	return 0;
}

static int teardown(void **state)
{
	struct kr_context *ctx = *state;
	kr_ta_clear(ctx->trust_anchors);
	kr_ta_clear(ctx->negative_anchors);
	trie_free(ctx->trust_anchors);
	trie_free(ctx->negative_anchors);
	free(ctx);
	return 0;
}

static int add_ds(trie_t *anchors, const uint8_t *name)
{
	return kr_ta_add(anchors, name, KNOT_RRTYPE_DS, 3600, DS, sizeof(DS));
}

static void anchors_are_found_again(void **state)
{
	struct kr_context *ctx = *state;
	assert_null(kr_ta_get(ctx->trust_anchors, EXAMPLE));
	assert_int_equal(add_ds(ctx->trust_anchors, EXAMPLE), 0);
	knot_rrset_t *set = kr_ta_get(ctx->trust_anchors, EXAMPLE);
	assert_non_null(set);
	assert_int_equal(set->type, KNOT_RRTYPE_DS);
	assert_int_equal(set->rrs.count, 1);
	assert_null(kr_ta_get(ctx->trust_anchors, SUB));
	assert_null(kr_ta_get(ctx->trust_anchors, ROOT));
	uint8_t more[sizeof(DS)];
	memcpy(more, DS, sizeof(DS));
	more[9] = 1;
	assert_int_equal(
		kr_ta_add(ctx->trust_anchors, EXAMPLE, KNOT_RRTYPE_DS, 3600, more, sizeof(more)),
		0);
	assert_int_equal(kr_ta_get(ctx->trust_anchors, EXAMPLE)->rrs.count, 2);
	assert_int_equal(kr_ta_del(ctx->trust_anchors, EXAMPLE), 0);
	assert_null(kr_ta_get(ctx->trust_anchors, EXAMPLE));
	assert_int_equal(kr_ta_del(ctx->trust_anchors, EXAMPLE), 0);
}

static void keys_become_ds(void **state)
{
	struct kr_context *ctx = *state;
	for (size_t i = 0; i < KR_COUNT_OF(fixtures); ++i) {
		struct text_sets sets;
		assert_true(text_parse(&sets, fixtures[i].text, strlen(fixtures[i].text)));
		const knot_rdata_t *key = text_find(&sets, KNOT_RRTYPE_DNSKEY)->rrs.rdata;
		assert_int_equal(kr_ta_add(ctx->trust_anchors, EXAMPLE, KNOT_RRTYPE_DNSKEY, 3600,
					 key->data, key->len),
			0);
		const knot_rdata_t *ds = kr_ta_get(ctx->trust_anchors, EXAMPLE)->rrs.rdata;
		assert_true(knot_rdataset_member(&text_find(&sets, KNOT_RRTYPE_DS)->rrs, ds));
		assert_true(kr_dnssec_key_ksk(key->data));
		assert_int_equal(kr_dnssec_key_tag(KNOT_RRTYPE_DNSKEY, key->data, key->len),
			kr_dnssec_key_tag(KNOT_RRTYPE_DS, ds->data, ds->len));
		kr_ta_del(ctx->trust_anchors, EXAMPLE);
		text_free(&sets);
	}
}

static void unfit_keys_are_refused(void **state)
{
	struct kr_context *ctx = *state;
	uint8_t key[40] = {0x01, 0x01, 3, 8, 3, 1, 0, 1};
	static const struct {
		uint8_t at, value;
	} changes[] = {{0, 0x00}, {1, 0x81}, {2, 2}};
	for (size_t i = 0; i < KR_COUNT_OF(changes); ++i) {
		uint8_t bad[sizeof(key)];
		memcpy(bad, key, sizeof(key));
		bad[changes[i].at] = changes[i].value;
		assert_int_equal(kr_ta_add(ctx->trust_anchors, EXAMPLE, KNOT_RRTYPE_DNSKEY, 0, bad,
					 sizeof(bad)),
			kr_error(EINVAL));
	}
	assert_int_equal(kr_ta_add(ctx->trust_anchors, EXAMPLE, KNOT_RRTYPE_DNSKEY, 0, key, 4),
		kr_error(EINVAL));
	assert_int_equal(
		kr_ta_add(ctx->trust_anchors, EXAMPLE, KNOT_RRTYPE_DS, 0, DS, 4), kr_error(EINVAL));
	assert_int_equal(
		kr_ta_add(ctx->trust_anchors, EXAMPLE, KNOT_RRTYPE_A, 0, DS, 4), kr_error(EINVAL));
	assert_null(kr_ta_get(ctx->trust_anchors, EXAMPLE));
}

static void closest_anchor_counts(void **state)
{
	struct kr_context *ctx = *state;
	assert_null(kr_ta_closest(ctx, WWW, KNOT_RRTYPE_A));
	add_ds(ctx->trust_anchors, EXAMPLE);
	assert_ptr_equal(kr_ta_closest(ctx, WWW, KNOT_RRTYPE_A), WWW + 8);
	assert_null(kr_ta_closest(ctx, OTHER, KNOT_RRTYPE_A));
	/* DS of the anchor's zone belongs to the zone above. */
	assert_null(kr_ta_closest(ctx, EXAMPLE, KNOT_RRTYPE_DS));
	assert_non_null(kr_ta_closest(ctx, EXAMPLE, KNOT_RRTYPE_DNSKEY));
	add_ds(ctx->trust_anchors, ROOT);
	assert_non_null(kr_ta_closest(ctx, OTHER, KNOT_RRTYPE_A));
	assert_non_null(kr_ta_closest(ctx, ROOT, KNOT_RRTYPE_DS));
	/* A negative one in between. */
	assert_int_equal(kr_ta_add(ctx->negative_anchors, SUB, KNOT_RRTYPE_DS, 0, NULL, 0), 0);
	assert_null(kr_ta_closest(ctx, WWW, KNOT_RRTYPE_A));
	assert_null(kr_ta_closest(ctx, SUB, KNOT_RRTYPE_A));
	assert_non_null(kr_ta_closest(ctx, SUB, KNOT_RRTYPE_DS));
	assert_non_null(kr_ta_closest(ctx, EXAMPLE, KNOT_RRTYPE_A));
	/* A positive one below it. */
	add_ds(ctx->trust_anchors, WWW);
	assert_ptr_equal(kr_ta_closest(ctx, WWW, KNOT_RRTYPE_A), WWW);
	/* Both at one name: negative wins. */
	kr_ta_add(ctx->negative_anchors, WWW, KNOT_RRTYPE_DS, 0, NULL, 0);
	assert_null(kr_ta_closest(ctx, WWW, KNOT_RRTYPE_A));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(anchors_are_found_again, setup, teardown),
		cmocka_unit_test_setup_teardown(keys_become_ds, setup, teardown),
		cmocka_unit_test_setup_teardown(unfit_keys_are_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(closest_anchor_counts, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
