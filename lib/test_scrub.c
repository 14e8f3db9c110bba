/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The allow-list of spec section 3.2, row by row: what comes in, what is left. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#include "lib/scrub.h"
#include "lib/utils.h"
#include "tests/unit/message.h"

#define UNUSABLE (-1)

struct row {
	const char *id;
	const char *cut;
	const char *message;
	int shape;	  /**< enum kr_scrub_shape or UNUSABLE */
	const char *left; /**< one record a line, as message_text() prints */
	bool is_forward, allow_local, permissive, strict;
};

#define RRSIG_A "RRSIG A 8 3 3600 20300101000000 20200101000000 1 "

static const struct row rows[] = {
		{"C-01 plain answer", "example.com.",
				"www.example.com. A\nAN www.example.com. 60 IN A 192.0.2.1", KR_SHAPE_ANSWER,
				"AN www.example.com. A 192.0.2.1\n"},
		{"C-02 class", "example.com.",
				"www.example.com. A\nAN www.example.com. 60 CH A 192.0.2.1", KR_SHAPE_EMPTY, ""},
		{"C-02 meta type", "example.com.",
				"www.example.com. A\nAN www.example.com. 60 IN A 192.0.2.1\n"
				"NS example.com. 60 IN TYPE249 \\# 1 00", KR_SHAPE_ANSWER,
				"AN www.example.com. A 192.0.2.1\n"},
		{"C-03 failure keeps nothing", "example.com.",
				"www.example.com. A REFUSED\nAN www.example.com. 60 IN A 192.0.2.1",
				KR_SHAPE_FAILURE, ""},
		{"C-04 foreign owner", "example.com.",
				"www.example.com. A\nAN www.example.com. 60 IN A 192.0.2.1\n"
				"AN mail.example.com. 60 IN A 192.0.2.2\nAN www.example.com. 60 IN TXT \"x\"",
				KR_SHAPE_ANSWER, "AN www.example.com. A 192.0.2.1\n"},
		{"C-04 answer out of the cut", "example.net.",
				"www.example.com. A\nAN www.example.com. 60 IN A 192.0.2.1", KR_SHAPE_EMPTY, ""},
		{"C-04 chain in any order", "example.com.",
				"a.example.com. A\nAN b.example.com. 60 IN A 192.0.2.1\n"
				"AN a.example.com. 60 IN CNAME b.example.com.", KR_SHAPE_ANSWER,
				"AN b.example.com. A 192.0.2.1\nAN a.example.com. CNAME b.example.com.\n"},
		{"C-05 chain leaves the cut", "example.com.",
				"a.example.com. A\nAN a.example.com. 60 IN CNAME b.example.net.\n"
				"AN b.example.net. 60 IN A 192.0.2.66", KR_SHAPE_ALIAS,
				"AN a.example.com. CNAME b.example.net.\n"},
		{"C-06 synthesised CNAME is ours to make", "example.com.",
				"a.d.example.com. A\nAN d.example.com. 60 IN DNAME e.example.net.\n"
				"AN a.d.example.com. 60 IN CNAME a.e.example.net.", KR_SHAPE_ALIAS,
				"AN d.example.com. DNAME e.example.net.\n"},
		{"C-06 wrong synthesised CNAME", "example.com.",
				"a.d.example.com. A\nAN d.example.com. 60 IN DNAME e.example.net.\n"
				"AN a.d.example.com. 60 IN CNAME evil.example.net.", KR_SHAPE_BAD_ALIAS,
				"AN d.example.com. DNAME e.example.net.\n"},
		{"C-06 two CNAMEs", "example.com.",
				"a.example.com. A\nAN a.example.com. 60 IN CNAME b.example.net.\n"
				"AN a.example.com. 60 IN CNAME c.example.net.", UNUSABLE, ""},
		{"C-06 two DNAMEs", "example.com.",
				"a.d.example.com. A\nAN d.example.com. 60 IN DNAME e.example.net.\n"
				"AN d.example.com. 60 IN DNAME f.example.net.", UNUSABLE, ""},
		{"C-07 CNAME beside the asked type", "example.com.",
				"a.example.com. A\nAN a.example.com. 60 IN CNAME b.example.net.\n"
				"AN a.example.com. 60 IN A 192.0.2.1", UNUSABLE, ""},
		{"C-08 data after the answer", "example.com.",
				"a.example.com. A\nAN a.example.com. 60 IN A 192.0.2.1\n"
				"AN z.example.com. 60 IN CNAME y.example.com.", KR_SHAPE_ANSWER,
				"AN a.example.com. A 192.0.2.1\n"},
		{"C-09 authority junk", "example.com.",
				"a.example.com. A NXDOMAIN\n"
				"NS example.com. 60 IN SOA a. b. 1 2 3 4 5\nNS example.com. 60 IN A 192.0.2.1\n"
				"NS example.com. 60 IN TXT \"x\"\nNS example.com. 60 IN NS ns.example.com.",
				KR_SHAPE_NEGATIVE, "NS example.com. SOA a. b. 1 2 3 4 5\nNS example.com. NS ns.example.com.\n"},
		{"C-10 referral", "com.",
				"www.example.com. A\nNS example.com. 60 IN NS ns.example.com.\n"
				"AR ns.example.com. 60 IN A 192.0.2.53", KR_SHAPE_REFERRAL,
				"NS example.com. NS ns.example.com.\nAR ns.example.com. A 192.0.2.53\n"},
		{"C-10 AA does not matter", "com.",
				"www.example.com. A aa\nNS example.com. 60 IN NS ns.example.com.",
				KR_SHAPE_REFERRAL, "NS example.com. NS ns.example.com.\n"},
		{"C-10 sideways", "com.",
				"www.example.com. A aa\nNS other.com. 60 IN NS ns.other.com.", KR_SHAPE_EMPTY, ""},
		{"C-10 below the question", "com.",
				"example.com. A aa\nNS www.example.com. 60 IN NS ns.example.com.",
				KR_SHAPE_EMPTY, ""},
		{"C-10 not with a SOA", "com.",
				"www.example.com. A\nNS com. 60 IN SOA a. b. 1 2 3 4 5\n"
				"NS example.com. 60 IN NS ns.example.com.", KR_SHAPE_NEGATIVE,
				"NS com. SOA a. b. 1 2 3 4 5\n"},
		{"C-11 upwards", "example.com.",
				"www.example.com. A\nNS . 60 IN NS a.root-servers.net.\n"
				"AR a.root-servers.net. 60 IN A 192.0.2.66", KR_SHAPE_LAME, ""},
		{"C-11 to itself", "example.com.",
				"www.example.com. A\nNS example.com. 60 IN NS ns.example.com.", KR_SHAPE_LAME,
				""},
		{"C-12 promiscuous NS", "example.com.",
				"a.example.com. A aa\nAN a.example.com. 60 IN A 192.0.2.1\n"
				"NS example.com. 60 IN NS ns.evil.example.\nAR ns.evil.example. 60 IN A 192.0.2.66",
				KR_SHAPE_ANSWER, "AN a.example.com. A 192.0.2.1\n"},
		{"C-13 glue of strangers", "com.",
				"www.example.com. A\nNS example.com. 60 IN NS ns.example.com.\n"
				"AR www.example.com. 60 IN A 192.0.2.66\nAR ns.example.com. 60 IN A 192.0.2.53\n"
				"AR ns.example.com. 60 IN TXT \"x\"", KR_SHAPE_REFERRAL,
				"NS example.com. NS ns.example.com.\nAR ns.example.com. A 192.0.2.53\n"},
		{"C-13 glue outside of the cut", "com.",
				"www.example.com. A\nNS example.com. 60 IN NS ns.example.net.\n"
				"AR ns.example.net. 60 IN A 192.0.2.66", KR_SHAPE_REFERRAL,
				"NS example.com. NS ns.example.net.\n"},
		{"C-13 outside, permissive", "com.",
				"www.example.com. A\nNS example.com. 60 IN NS ns.example.net.\n"
				"AR ns.example.net. 60 IN A 192.0.2.66", KR_SHAPE_REFERRAL,
				"NS example.com. NS ns.example.net.\nAR ns.example.net. A 192.0.2.66\n",
				.permissive = true},
		{"C-13 sibling glue alone", "com.",
				"www.example.com. A\nNS example.com. 60 IN NS ns.other.com.\n"
				"AR ns.other.com. 60 IN A 192.0.2.53", KR_SHAPE_REFERRAL,
				"NS example.com. NS ns.other.com.\nAR ns.other.com. A 192.0.2.53\n"},
		{"C-13 sibling glue, strict", "com.",
				"www.example.com. A\nNS example.com. 60 IN NS ns.other.com.\n"
				"AR ns.other.com. 60 IN A 192.0.2.53", KR_SHAPE_REFERRAL,
				"NS example.com. NS ns.other.com.\n", .strict = true},
		{"C-13 sibling beside in-domain glue", "com.",
				"www.example.com. A\nNS example.com. 60 IN NS ns.other.com.\n"
				"NS example.com. 60 IN NS ns.example.com.\nAR ns.other.com. 60 IN A 192.0.2.66\n"
				"AR ns.example.com. 60 IN A 192.0.2.53", KR_SHAPE_REFERRAL,
				"NS example.com. NS ns.other.com.\nNS example.com. NS ns.example.com.\n"
				"AR ns.example.com. A 192.0.2.53\n"},
		{"C-14 additional data of answers", "example.com.",
				"example.com. MX aa\nAN example.com. 60 IN MX 1 m.example.com.\n"
				"AR m.example.com. 60 IN A 192.0.2.66", KR_SHAPE_ANSWER,
				"AN example.com. MX 1 m.example.com.\n"},
		{"C-15 special addresses", "com.",
				"www.example.com. A\nNS example.com. 60 IN NS ns.example.com.\n"
				"AR ns.example.com. 60 IN A 127.0.0.1\nAR ns.example.com. 60 IN A 0.0.0.0\n"
				"AR ns.example.com. 60 IN A 169.254.1.1\nAR ns.example.com. 60 IN A 224.0.0.1\n"
				"AR ns.example.com. 60 IN AAAA ::\nAR ns.example.com. 60 IN AAAA ::1\n"
				"AR ns.example.com. 60 IN AAAA ::ffff:192.0.2.1\n"
				"AR ns.example.com. 60 IN AAAA fe80::1\nAR ns.example.com. 60 IN AAAA ff02::1\n"
				"AR ns.example.com. 60 IN AAAA 2001:db8::53", KR_SHAPE_REFERRAL,
				"NS example.com. NS ns.example.com.\nAR ns.example.com. AAAA 2001:db8::53\n"},
		{"C-15 allowed by the operator", "com.",
				"www.example.com. A\nNS example.com. 60 IN NS ns.example.com.\n"
				"AR ns.example.com. 60 IN A 127.0.0.1", KR_SHAPE_REFERRAL,
				"NS example.com. NS ns.example.com.\nAR ns.example.com. A 127.0.0.1\n",
				.allow_local = true},
		{"C-16 SOA of a stranger", "example.com.",
				"a.example.com. A NXDOMAIN\nNS example.net. 60 IN SOA a. b. 1 2 3 4 5",
				KR_SHAPE_EMPTY, ""},
		{"C-16 SOA beside the name", "example.com.",
				"a.example.com. A NXDOMAIN\nNS b.example.com. 60 IN SOA a. b. 1 2 3 4 5",
				KR_SHAPE_EMPTY, ""},
		{"C-16 two SOAs", "example.com.",
				"a.example.com. A NXDOMAIN\nNS example.com. 60 IN SOA a. b. 1 2 3 4 5\n"
				"NS example.com. 60 IN SOA a. b. 9 2 3 4 5", UNUSABLE, ""},
		{"C-18 good signature", "example.com.",
				"www.example.com. A\nAN www.example.com. 60 IN A 192.0.2.1\n"
				"AN www.example.com. 60 IN " RRSIG_A "example.com. AAAA", KR_SHAPE_ANSWER,
				"AN www.example.com. A 192.0.2.1\nAN www.example.com. RRSIG A 8 3 3600 "
				"20300101000000 20200101000000 1 example.com. AAAA\n"},
		{"C-18 signer is a stranger", "example.com.",
				"www.example.com. A\nAN www.example.com. 60 IN A 192.0.2.1\n"
				"AN www.example.com. 60 IN " RRSIG_A "example.net. AAAA", KR_SHAPE_ANSWER,
				"AN www.example.com. A 192.0.2.1\n"},
		{"C-18 labels below those of the signer", "example.com.",
				"www.example.com. A\nAN www.example.com. 60 IN A 192.0.2.1\n"
				"AN www.example.com. 60 IN RRSIG A 8 1 3600 20300101000000 20200101000000 1 "
				"example.com. AAAA", KR_SHAPE_ANSWER, "AN www.example.com. A 192.0.2.1\n"},
		{"C-18 covered set is absent", "example.com.",
				"www.example.com. A\nAN www.example.com. 60 IN A 192.0.2.1\n"
				"AN www.example.com. 60 IN RRSIG TXT 8 3 3600 20300101000000 20200101000000 1 "
				"example.com. AAAA", KR_SHAPE_ANSWER, "AN www.example.com. A 192.0.2.1\n"},
		{"C-23 truncated", "example.com.",
				"www.example.com. A tc\nAN www.example.com. 60 IN A 192.0.2.1", KR_SHAPE_EMPTY,
				""},
		{"A-46 forwarders do not delegate", ".",
				"www.example.com. A\nNS example.com. 60 IN NS ns.example.com.\n"
				"AR ns.example.com. 60 IN A 192.0.2.66", KR_SHAPE_EMPTY, "", .is_forward = true},
		{"A-46 nor speak of other names", "corp.",
				"www.corp. A\nAN www.corp. 60 IN CNAME www.example.com.\n"
				"AN www.example.com. 60 IN A 192.0.2.66", KR_SHAPE_ALIAS,
				"AN www.corp. CNAME www.example.com.\n", .is_forward = true},
};

static void check_row(const struct row *row)
{
	knot_pkt_t *pkt = message_make(row->message);
	knot_dname_storage_t cut;
	assert_non_null(knot_dname_from_str(cut, row->cut, sizeof(cut)));
	const struct kr_scrub_question question = {
			.name = knot_pkt_qname(pkt),
			.type = knot_pkt_qtype(pkt),
			.cut = cut,
			.is_forward = row->is_forward,
			.allow_local = row->allow_local,
			.permissive = row->permissive,
			.strict = row->strict,
	};
	enum kr_scrub_shape shape = KR_SHAPE_EMPTY;
	const int ret = kr_scrub(pkt, &question, &shape);
	if (row->shape == UNUSABLE) {
		if (ret != kr_error(EBADMSG))
			fail_msg("%s: not refused", row->id);
	} else {
		auto_free char *left = message_text(pkt);
		if (ret < 0 || (int)shape != row->shape || strcmp(left, row->left) != 0)
			fail_msg("%s: ret %d shape %d, left:\n%s", row->id, ret, shape, left);
	}
	knot_pkt_free(pkt);
}

static void only_the_allowed_is_left(void **state)
{
	for (size_t i = 0; i < KR_COUNT_OF(rows); ++i)
		check_row(&rows[i]);
}

/** C-20: the sign bit of a TTL means zero. */
static void huge_ttl_is_zero(void **state)
{
	knot_pkt_t *pkt = message_make("a.example. A\nAN a.example. 60 IN A 192.0.2.1");
	pkt->rr[0].ttl = 0x80000001u;
	const struct kr_scrub_question question = {.name = knot_pkt_qname(pkt),
			.type = KNOT_RRTYPE_A, .cut = (const uint8_t *)"\7example"};
	assert_int_equal(kr_scrub(pkt, &question, NULL), 0);
	assert_int_equal(knot_pkt_rr(knot_pkt_section(pkt, KNOT_ANSWER), 0)->ttl, 0);
	knot_pkt_free(pkt);
}

/** C-22, B-05: of many servers a bounded choice stays, and the choice varies. */
static void surplus_servers_are_dropped(void **state)
{
	char text[8192] = "www.example.com. A\n";
	for (int i = 0; i < 40; ++i)
		sprintf(text + strlen(text), "NS example.com. 60 IN NS ns%02d.example.com.\n", i);
	char *first = NULL;
	bool varies = false;
	for (uint32_t random = 0; random < 20; ++random) {
		knot_pkt_t *pkt = message_make(text);
		const struct kr_scrub_question question = {.name = knot_pkt_qname(pkt),
				.type = KNOT_RRTYPE_A, .cut = (const uint8_t *)"\3com", .random = random};
		assert_int_equal(kr_scrub(pkt, &question, NULL), 40 - KR_NS_MAX);
		assert_int_equal(knot_pkt_section(pkt, KNOT_AUTHORITY)->count, KR_NS_MAX);
		char *left = message_text(pkt);
		varies = varies || (first && strcmp(first, left) != 0);
		free(first);
		first = left;
		knot_pkt_free(pkt);
	}
	free(first);
	assert_true(varies);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test(only_the_allowed_is_left),
			cmocka_unit_test(huge_ttl_is_zero),
			cmocka_unit_test(surplus_servers_are_dropped),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
