/* SPDX-License-Identifier: GPL-3.0-or-later */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include <gnutls/crypto.h>

#include "lib/dnssec/proof.h"
#include "lib/dnssec/test_text.h"

/** The zone of RFC 5155 appendix A; all records have the opt-out flag there. FLAG is put in its
 * place. */
#define NSEC3(owner, next, types) owner ".example. NSEC3 1 FLAG 12 aabbccdd " next " " types "\n"
#define APEX /* example. */                                                                        \
	NSEC3("0p9mhaveqvm6t7vbl5lop2u3t2rp3tom", "2t7b4g4vsa5smi47k61mv5bv1a22bojr",              \
		"MX DNSKEY NS SOA NSEC3PARAM RRSIG")
#define NS1 NSEC3("2t7b4g4vsa5smi47k61mv5bv1a22bojr", "2vptu5timamqttgl4luu9kg21e0aor3s", "A RRSIG")
#define XYW                                                                                        \
	NSEC3("2vptu5timamqttgl4luu9kg21e0aor3s", "35mthgpgcu1qg68fab165klnsnk3dpvl", "MX RRSIG")
#define SIGNED_CUT /* a.example. */                                                                \
	NSEC3("35mthgpgcu1qg68fab165klnsnk3dpvl", "b4um86eghhds6nea196smvmlo4ors995", "NS DS RRSIG")
#define XW NSEC3("b4um86eghhds6nea196smvmlo4ors995", "gjeqe526plbf1g8mklp59enfd789njgi", "MX RRSIG")
#define AI                                                                                         \
	NSEC3("gjeqe526plbf1g8mklp59enfd789njgi", "ji6neoaepv8b5o6k4ev33abha8ht9fgc",              \
		"HINFO A AAAA RRSIG")
#define YW NSEC3("ji6neoaepv8b5o6k4ev33abha8ht9fgc", "k8udemvp1j2f7eg6jebps17vp3n8i58h", "")
#define W NSEC3("k8udemvp1j2f7eg6jebps17vp3n8i58h", "kohar7mbb8dc2ce8a9qvl8hon4k53uhi", "")
#define NS2 NSEC3("q04jkcevqvmu85r014c7dkba38o0ji5r", "r53bq7cc2uvmubfu5ocmm6pers9tk9en", "A RRSIG")
#define WILDCARD /* *.w.example. */                                                                \
	NSEC3("r53bq7cc2uvmubfu5ocmm6pers9tk9en", "t644ebqk9bibcna874givr6joj62mlhv", "MX RRSIG")
#define XX                                                                                         \
	NSEC3("t644ebqk9bibcna874givr6joj62mlhv", "0p9mhaveqvm6t7vbl5lop2u3t2rp3tom",              \
		"HINFO A AAAA RRSIG")

enum question { NXDOMAIN, NODATA, EXPANDED };

/** One question put to some records. */
struct row {
	const char *records;
	enum question question;
	const char *name;
	uint16_t type; /**< NODATA: type; EXPANDED: labels of the wildcard's parent */
	bool is_proven;
	bool is_proven_optout; /**< if the records have the opt-out flag */
};

static const struct row table[] = {
	/* RFC 5155 appendix B, and with pieces missing */
	{APEX XW SIGNED_CUT, NXDOMAIN, "a.c.x.w.example.", 0, true, true}, /* B.1 */
	{APEX XW, NXDOMAIN, "a.c.x.w.example.", 0, false, false},          /* wildcard */
	{XW SIGNED_CUT, NXDOMAIN, "a.c.x.w.example.", 0, false, false},    /* next closer */
	{APEX SIGNED_CUT, NXDOMAIN, "a.c.x.w.example.", 0, false, false},  /* encloser */
	{APEX XYW, NXDOMAIN, "ns1.example.", 0, false, false},
	{NS1, NODATA, "ns1.example.", KNOT_RRTYPE_MX, true, true}, /* B.2 */
	{NS1, NODATA, "NS1.example.", KNOT_RRTYPE_MX, true, true},
	{NS1, NODATA, "ns1.example.", KNOT_RRTYPE_A, false, false},
	{YW, NODATA, "y.w.example.", KNOT_RRTYPE_A, true, true},              /* B.2.1 */
	{APEX SIGNED_CUT, NODATA, "c.example.", KNOT_RRTYPE_DS, false, true}, /* B.3 */
	{SIGNED_CUT, NODATA, "c.example.", KNOT_RRTYPE_DS, false, false},
	{APEX SIGNED_CUT, NODATA, "c.example.", KNOT_RRTYPE_A, false, true},
	{NS2, EXPANDED, "a.z.w.example.", 2, true, true}, /* B.4 */
	{XYW, EXPANDED, "a.z.w.example.", 2, false, false},
	{NS2, EXPANDED, "a.z.w.example.", 0, false, false},
	{NS2, EXPANDED, "a.z.w.example.", 4, false, false},
	{W NS2 WILDCARD, NODATA, "a.z.w.example.", KNOT_RRTYPE_AAAA, true, true}, /* B.5 */
	{W NS2 WILDCARD, NODATA, "a.z.w.example.", KNOT_RRTYPE_MX, false, false},
	{NS2 WILDCARD, NODATA, "a.z.w.example.", KNOT_RRTYPE_AAAA, false, false},
	{W WILDCARD, NODATA, "a.z.w.example.", KNOT_RRTYPE_AAAA, false, false},
	{W NS2, NODATA, "a.z.w.example.", KNOT_RRTYPE_AAAA, false, true},
	{APEX, NODATA, "example.", KNOT_RRTYPE_DS, false, false}, /* B.6 asks the parent */
	{APEX, NODATA, "example.", KNOT_RRTYPE_AAAA, true, true},
	/* a cut is silent about what is below it and about its own data */
	{SIGNED_CUT XYW AI YW NS2 XX XW, NXDOMAIN, "w.a.example.", 0, false, false},
	{SIGNED_CUT, NODATA, "a.example.", KNOT_RRTYPE_A, false, false},
	{SIGNED_CUT, NODATA, "a.example.", KNOT_RRTYPE_DS, false, false},
	{APEX XYW, NXDOMAIN, "other.", 0, false, false},
};

/** Put the flag in its place. */
static void set_flag(char *out, const char *records, char flag)
{
	while (*records) {
		if (strncmp(records, "FLAG", 4) == 0) {
			*out++ = flag;
			records += 4;
		} else {
			*out++ = *records++;
		}
	}
	*out = '\0';
}

static int ask_within(
	const struct row *row, char flag, uint32_t *blocks, struct dnssec_proof *proof)
{
	char text[4096];
	struct text_sets sets;
	set_flag(text, row->records, flag);
	assert_true(text_parse(&sets, text, strlen(text)));
	struct dnssec_proofs proofs = {.zone = (const uint8_t *)"\x07"
								"example",
		.blocks_left = blocks};
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

static int ask(const struct row *row, char flag, struct dnssec_proof *proof)
{
	uint32_t blocks = KR_NSEC3_BLOCKS_REQ;
	return ask_within(row, flag, &blocks, proof);
}

static void records_prove_what_they_say(void **state)
{
	for (size_t i = 0; i < KR_COUNT_OF(table); ++i) {
		struct dnssec_proof proof;
		int ret = ask(&table[i], '0', &proof);
		if (ret != (table[i].is_proven ? 0 : kr_error(ENOENT)))
			fail_msg("row %zu, %s: %d", i, table[i].name, ret);
		assert_false(proof.is_optout);
	}
}

static void optout_proves_more_and_claims_less(void **state)
{
	for (size_t i = 0; i < KR_COUNT_OF(table); ++i) {
		struct dnssec_proof proof;
		int ret = ask(&table[i], '1', &proof);
		if (ret != (table[i].is_proven_optout ? 0 : kr_error(ENOENT)))
			fail_msg("row %zu, %s: %d", i, table[i].name, ret);
		if (ret == 0 && !table[i].is_proven)
			assert_true(proof.is_optout);
	}
}

static void unknown_flags_and_algorithms_prove_nothing(void **state)
{
	struct dnssec_proof proof;
	const struct row row = {NS1, NODATA, "ns1.example.", KNOT_RRTYPE_MX};
	assert_int_equal(ask(&row, '0', &proof), 0);
	assert_int_equal(ask(&row, '2', &proof), kr_error(ENOENT));
	const struct row other = {"2t7b4g4vsa5smi47k61mv5bv1a22bojr.example. NSEC3 2 0 12 aabbccdd "
				  "2vptu5timamqttgl4luu9kg21e0aor3s A RRSIG\n",
		NODATA, "ns1.example.", KNOT_RRTYPE_MX};
	assert_int_equal(ask(&other, '0', &proof), kr_error(ENOENT));
	/* One label too deep, hence not of this zone. */
	const struct row deep = {
		"2t7b4g4vsa5smi47k61mv5bv1a22bojr.a.example. NSEC3 1 0 12 aabbccdd "
		"2vptu5timamqttgl4luu9kg21e0aor3s A RRSIG\n",
		NODATA, "ns1.example.", KNOT_RRTYPE_MX};
	assert_int_equal(ask(&deep, '0', &proof), kr_error(ENOENT));
}

static void expensive_records_make_insecure(void **state)
{
	static const struct {
		const char *iterations, *salt;
		bool is_insecure;
	} rows[] = {
		{"50", "aabbccdd", false},
		{"51", "aabbccdd", true},
		{"150", "-", true},
		{"65535", "-", true},
	};
	for (size_t i = 0; i < KR_COUNT_OF(rows); ++i) {
		char text[256];
		snprintf(text, sizeof(text),
			"2t7b4g4vsa5smi47k61mv5bv1a22bojr.example. NSEC3 1 0 %s %s "
			"2vptu5timamqttgl4luu9kg21e0aor3s A RRSIG\n",
			rows[i].iterations, rows[i].salt);
		const struct row row = {text, NODATA, "ns1.example.", KNOT_RRTYPE_MX};
		struct dnssec_proof proof;
		uint32_t blocks = KR_NSEC3_BLOCKS_REQ;
		int ret = ask_within(&row, '0', &blocks, &proof);
		assert_int_equal(proof.is_insecure, rows[i].is_insecure);
		assert_int_equal(ret == 0, rows[i].is_insecure);
		assert_int_equal(blocks == KR_NSEC3_BLOCKS_REQ, rows[i].is_insecure);
	}
	assert_true(dnssec_nsec3_is_expensive(50, 45));
	assert_false(dnssec_nsec3_is_expensive(50, 44));
	assert_false(dnssec_nsec3_is_expensive(0, 255));
}

static void hashes_are_paid_for(void **state)
{
	struct dnssec_proof proof;
	const struct row row = {APEX XW SIGNED_CUT, NXDOMAIN, "a.c.x.w.example."};
	/* a.c.x.w, c.x.w, x.w and *.x.w: 13 blocks each */
	uint32_t blocks = 52;
	assert_int_equal(ask_within(&row, '0', &blocks, &proof), 0);
	assert_int_equal(blocks, 0);
	blocks = 51;
	assert_int_equal(ask_within(&row, '0', &blocks, &proof), kr_error(EDQUOT));
	/* A long name does not get beyond the allowance of one proof. */
	char name[256] = "";
	for (int i = 0; i < 110; ++i)
		strcat(name, "a.");
	strcat(name, "example.");
	const struct row deep = {APEX XW SIGNED_CUT, NXDOMAIN, name};
	blocks = KR_NSEC3_BLOCKS_REQ;
	assert_int_equal(ask_within(&deep, '0', &blocks, &proof), kr_error(EDQUOT));
	assert_in_range(KR_NSEC3_BLOCKS_REQ - blocks, 1, KR_NSEC3_BLOCKS_PROOF);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(records_prove_what_they_say),
		cmocka_unit_test(optout_proves_more_and_claims_less),
		cmocka_unit_test(unknown_flags_and_algorithms_prove_nothing),
		cmocka_unit_test(expensive_records_make_insecure),
		cmocka_unit_test(hashes_are_paid_for),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
