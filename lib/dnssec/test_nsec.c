/* SPDX-License-Identifier: GPL-3.0-or-later */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "lib/dnssec/proof.h"
#include "lib/dnssec/test_text.h"

/** The zone of RFC 4035 appendix A, with a few names more. */
#define APEX "example. NSEC a.example. NS SOA MX RRSIG NSEC DNSKEY\n"
#define SIGNED_CUT "a.example. NSEC ai.example. NS DS RRSIG NSEC\n"
#define AI "ai.example. NSEC b.example. A HINFO AAAA RRSIG NSEC\n"
#define CUT "b.example. NSEC d.example. NS RRSIG NSEC\n"
#define DNAME "d.example. NSEC ns1.example. DNAME RRSIG NSEC\n"
#define NS1 "ns1.example. NSEC ns2.example. A RRSIG NSEC\n"
#define NS2 "ns2.example. NSEC *.w.example. A RRSIG NSEC\n"
#define WILDCARD "*.w.example. NSEC x.w.example. MX RRSIG NSEC\n"
#define XW "x.w.example. NSEC x.y.w.example. MX RRSIG NSEC\n"
#define XYW "x.y.w.example. NSEC xx.example. MX RRSIG NSEC\n"
#define XX "xx.example. NSEC example. A HINFO AAAA CNAME RRSIG NSEC\n"

enum question { NXDOMAIN, NODATA, EXPANDED };

/** One question put to some records. */
struct row {
	const char *records;
	enum question question;
	const char *name;
	uint16_t type; /**< NODATA: type; EXPANDED: labels of the wildcard's parent */
	bool is_proven, is_delegation, is_wildcard;
};

static const struct row table[] = {
	/* names that are not there */
	{NS1 APEX, NXDOMAIN, "ns1a.example.", 0, true}, {CUT APEX, NXDOMAIN, "c.example.", 0, true},
	{XX APEX, NXDOMAIN, "zz.example.", 0, true},
	{"example. NSEC example. SOA NS\n", NXDOMAIN, "a.b.c.example.", 0, true},
	{CUT, NXDOMAIN, "c.example.", 0, false},          /* wildcard not denied */
	{APEX, NXDOMAIN, "c.example.", 0, false},         /* name not denied */
	{NS1 APEX, NXDOMAIN, "ns1.example.", 0, false},   /* it exists */
	{NS2 APEX, NXDOMAIN, "w.example.", 0, false},     /* empty non-terminal */
	{CUT APEX, NXDOMAIN, "www.b.example.", 0, false}, /* the parent of a cut is silent */
	{SIGNED_CUT APEX, NXDOMAIN, "www.a.example.", 0, false},
	{DNAME APEX, NXDOMAIN, "www.d.example.", 0, false},
	{XYW WILDCARD, NXDOMAIN, "z.w.example.", 0, false}, /* the wildcard is there */
	{XYW WILDCARD, NXDOMAIN, "a.y.w.example.", 0, false},
	{XW XYW, NXDOMAIN, "a.y.w.example.", 0, true}, /* the first denies name and wildcard */
	{APEX, NXDOMAIN, "other.", 0, false},
	{"a.example. NSEC z.other. A\n" APEX, NXDOMAIN, "c.example.", 0, false},
	{"a.other. NSEC z.other. A\n", NXDOMAIN, "c.other.", 0, false},
	/* types that are not there */
	{NS1, NODATA, "ns1.example.", KNOT_RRTYPE_MX, true},
	{NS1, NODATA, "NS1.example.", KNOT_RRTYPE_MX, true},
	{NS1, NODATA, "ns1.example.", KNOT_RRTYPE_A, false},
	{XX, NODATA, "xx.example.", KNOT_RRTYPE_MX, false}, /* there is an alias */
	{NS2, NODATA, "w.example.", KNOT_RRTYPE_A, true},   /* empty non-terminal */
	{XW, NODATA, "y.w.example.", KNOT_RRTYPE_A, true},
	{NS1, NODATA, "ns1a.example.", KNOT_RRTYPE_MX, false},
	{CUT, NODATA, "b.example.", KNOT_RRTYPE_A, false}, /* the child's business */
	{SIGNED_CUT, NODATA, "a.example.", KNOT_RRTYPE_A, false},
	{APEX, NODATA, "example.", KNOT_RRTYPE_A, true},
	/* delegations */
	{CUT, NODATA, "b.example.", KNOT_RRTYPE_DS, true, true},
	{SIGNED_CUT, NODATA, "a.example.", KNOT_RRTYPE_DS, false, true},
	{NS1, NODATA, "ns1.example.", KNOT_RRTYPE_DS, true, false},
	{APEX, NODATA, "example.", KNOT_RRTYPE_DS, false, false}, /* the child denies its own DS */
	{NS2, NODATA, "w.example.", KNOT_RRTYPE_DS, true, false},
	/* nothing but a wildcard */
	{XYW WILDCARD, NODATA, "z.w.example.", KNOT_RRTYPE_A, true, false, true},
	{XYW WILDCARD, NODATA, "z.w.example.", KNOT_RRTYPE_MX, false},
	{XYW, NODATA, "z.w.example.", KNOT_RRTYPE_A, false},
	{WILDCARD, NODATA, "z.w.example.", KNOT_RRTYPE_A, false},
	{XW WILDCARD, NODATA, "a.y.w.example.", KNOT_RRTYPE_A,
		false}, /* not the closest encloser */
	{XW "*.w.example. NSEC x.w.example. NS\n", NODATA, "xa.w.example.", KNOT_RRTYPE_A, false},
	/* expanded from a wildcard */
	{XYW, EXPANDED, "z.w.example.", 2, true}, {XYW, EXPANDED, "a.z.w.example.", 2, true},
	{XYW, EXPANDED, "z.w.example.", 1, false}, /* w.example. is closer */
	{XW, EXPANDED, "a.y.w.example.", 2, false},
	{XW, EXPANDED, "x.w.example.", 2, false}, /* it exists */
	{NS1, EXPANDED, "z.w.example.", 2, false},
	{NS2, EXPANDED, "w.example.", 1, false}, /* an empty non-terminal is there */
};

static int ask(const struct row *row, struct dnssec_proof *proof)
{
	struct text_sets sets;
	assert_true(text_parse(&sets, row->records, strlen(row->records)));
	uint32_t blocks = 0;
	struct dnssec_proofs proofs = {.zone = (const uint8_t *)"\x07"
								"example",
		.blocks_left = &blocks};
	for (size_t i = 0; i < sets.len; ++i)
		dnssec_proofs_add(&proofs, sets.at[i]);
	knot_dname_t *name = knot_dname_from_str_alloc(row->name);
	int ret = row->question == EXPANDED ? dnssec_prove_wildcard(&proofs, name, row->type, proof)
					    : dnssec_prove_denial(&proofs, name, row->type,
						      row->question == NXDOMAIN, proof);
	knot_dname_free(name, NULL);
	text_free(&sets);
	return ret;
}

static void records_prove_what_they_say(void **state)
{
	for (size_t i = 0; i < KR_COUNT_OF(table); ++i) {
		struct dnssec_proof proof;
		int ret = ask(&table[i], &proof);
		if (ret != (table[i].is_proven ? 0 : kr_error(ENOENT)))
			fail_msg("row %zu, %s: %d", i, table[i].name, ret);
		assert_false(proof.is_optout);
		if (ret == 0 && table[i].question == NODATA) {
			assert_int_equal(proof.is_delegation, table[i].is_delegation);
			assert_int_equal(proof.is_wildcard, table[i].is_wildcard);
		}
	}
}

static void bitmaps_are_read_within_their_bounds(void **state)
{
	static const uint8_t a_and_caa[] = {0, 1, 0x40, 1, 1, 0x40};
	assert_true(dnssec_bitmap_has(a_and_caa, 6, KNOT_RRTYPE_A));
	assert_true(dnssec_bitmap_has(a_and_caa, 6, KNOT_RRTYPE_CAA));
	assert_false(dnssec_bitmap_has(a_and_caa, 5, KNOT_RRTYPE_CAA));
	assert_false(dnssec_bitmap_has(a_and_caa, 6, KNOT_RRTYPE_NS));
	assert_false(dnssec_bitmap_has(a_and_caa, 6, KNOT_RRTYPE_AAAA));
	assert_false(dnssec_bitmap_has(a_and_caa, 6, 65535));
	assert_false(dnssec_bitmap_has(a_and_caa, 0, KNOT_RRTYPE_A));
	static const uint8_t broken[] = {0, 33, 0xff};
	assert_false(dnssec_bitmap_has(broken, sizeof(broken), KNOT_RRTYPE_A));
	static const uint8_t empty[] = {0, 0, 0, 1, 0x40};
	assert_false(dnssec_bitmap_has(empty, sizeof(empty), KNOT_RRTYPE_A));
}

static void surplus_records_are_not_looked_at(void **state)
{
	char text[4096] = "";
	for (int i = 0; i < KR_NSEC_MSG_MAX; ++i)
		sprintf(text + strlen(text), "m%02d.example. NSEC m%02d.example. A\n", i, i + 1);
	struct dnssec_proof proof;
	const struct row few = {NS1 APEX, NXDOMAIN, "ns1a.example."};
	assert_int_equal(ask(&few, &proof), 0);
	strcat(text, NS1 APEX);
	const struct row many = {text, NXDOMAIN, "ns1a.example."};
	assert_int_equal(ask(&many, &proof), kr_error(ENOENT));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(records_prove_what_they_say),
		cmocka_unit_test(bitmaps_are_read_within_their_bounds),
		cmocka_unit_test(surplus_records_are_not_looked_at),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
