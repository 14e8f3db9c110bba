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
	int shape;        /**< enum kr_scrub_shape or UNUSABLE */
	const char *left; /**< one record a line, as message_text() prints */
	bool is_forward, allow_local, allow_private, permissive, strict;
};

#define RRSIG_A "RRSIG A 8 3 3600 20300101000000 20200101000000 1 "
#define RRSIG_NSEC "RRSIG NSEC 8 3 3600 20300101000000 20200101000000 1 "
#define RRSIG_NSEC3 "RRSIG NSEC3 8 3 3600 20300101000000 20200101000000 1 "
#define SOA_COM "NS example.com. 60 IN SOA a. b. 1 2 3 4 5\n"
#define SOA_COM_LEFT "NS example.com. SOA a. b. 1 2 3 4 5\n"
#define HASH "2t7b4g4vsa5smi47k61mv5bv1a22bojr"

static const struct row rows[] = {
	{"C-01 plain answer", "example.com.",
		"www.example.com. A\nAN www.example.com. 60 IN A 192.0.2.1", KR_SHAPE_ANSWER,
		"AN www.example.com. A 192.0.2.1\n"},
	{"C-02 class", "example.com.", "www.example.com. A\nAN www.example.com. 60 CH A 192.0.2.1",
		KR_SHAPE_NONSENSE, ""},
	{"C-02 meta type", "example.com.",
		"www.example.com. A\nAN www.example.com. 60 IN A 192.0.2.1\n"
		"NS example.com. 60 IN TYPE249 \\# 1 00",
		KR_SHAPE_ANSWER, "AN www.example.com. A 192.0.2.1\n"},
	{"C-03 failure keeps nothing", "example.com.",
		"www.example.com. A REFUSED\nAN www.example.com. 60 IN A 192.0.2.1",
		KR_SHAPE_FAILURE, ""},
	{"C-04 foreign owner", "example.com.",
		"www.example.com. A\nAN www.example.com. 60 IN A 192.0.2.1\n"
		"AN mail.example.com. 60 IN A 192.0.2.2\nAN www.example.com. 60 IN TXT \"x\"",
		KR_SHAPE_ANSWER, "AN www.example.com. A 192.0.2.1\n"},
	{"C-04 answer out of the cut", "example.net.",
		"www.example.com. A\nAN www.example.com. 60 IN A 192.0.2.1", KR_SHAPE_NONSENSE, ""},
	{"C-04 chain in any order", "example.com.",
		"a.example.com. A\nAN b.example.com. 60 IN A 192.0.2.1\n"
		"AN a.example.com. 60 IN CNAME b.example.com.",
		KR_SHAPE_ANSWER,
		"AN b.example.com. A 192.0.2.1\nAN a.example.com. CNAME b.example.com.\n"},
	{"C-05 chain leaves the cut", "example.com.",
		"a.example.com. A\nAN a.example.com. 60 IN CNAME b.example.net.\n"
		"AN b.example.net. 60 IN A 192.0.2.66",
		KR_SHAPE_ALIAS, "AN a.example.com. CNAME b.example.net.\n"},
	{"C-06 synthesised CNAME is ours to make", "example.com.",
		"a.d.example.com. A\nAN d.example.com. 60 IN DNAME e.example.net.\n"
		"AN a.d.example.com. 60 IN CNAME a.e.example.net.",
		KR_SHAPE_ALIAS, "AN d.example.com. DNAME e.example.net.\n"},
	{"C-06 wrong synthesised CNAME", "example.com.",
		"a.d.example.com. A\nAN d.example.com. 60 IN DNAME e.example.net.\n"
		"AN a.d.example.com. 60 IN CNAME evil.example.net.",
		KR_SHAPE_BAD_ALIAS, "AN d.example.com. DNAME e.example.net.\n"},
	{"C-06 two CNAMEs", "example.com.",
		"a.example.com. A\nAN a.example.com. 60 IN CNAME b.example.net.\n"
		"AN a.example.com. 60 IN CNAME c.example.net.",
		UNUSABLE, ""},
	{"C-06 two DNAMEs", "example.com.",
		"a.d.example.com. A\nAN d.example.com. 60 IN DNAME e.example.net.\n"
		"AN d.example.com. 60 IN DNAME f.example.net.",
		UNUSABLE, ""},
	{"C-07 CNAME beside the asked type", "example.com.",
		"a.example.com. A\nAN a.example.com. 60 IN CNAME b.example.net.\n"
		"AN a.example.com. 60 IN A 192.0.2.1",
		UNUSABLE, ""},
	{"C-08 data after the answer", "example.com.",
		"a.example.com. A\nAN a.example.com. 60 IN A 192.0.2.1\n"
		"AN z.example.com. 60 IN CNAME y.example.com.",
		KR_SHAPE_ANSWER, "AN a.example.com. A 192.0.2.1\n"},
	{"C-09 authority junk", "example.com.",
		"a.example.com. A NXDOMAIN\n"
		"NS example.com. 60 IN SOA a. b. 1 2 3 4 5\nNS example.com. 60 IN A 192.0.2.1\n"
		"NS example.com. 60 IN TXT \"x\"\nNS example.com. 60 IN NS ns.example.com.",
		KR_SHAPE_NEGATIVE,
		"NS example.com. SOA a. b. 1 2 3 4 5\nNS example.com. NS ns.example.com.\n"},
	{"C-10 referral", "com.",
		"www.example.com. A\nNS example.com. 60 IN NS ns.example.com.\n"
		"AR ns.example.com. 60 IN A 192.0.2.53",
		KR_SHAPE_REFERRAL,
		"NS example.com. NS ns.example.com.\nAR ns.example.com. A 192.0.2.53\n"},
	{"C-10 AA does not matter", "com.",
		"www.example.com. A aa\nNS example.com. 60 IN NS ns.example.com.",
		KR_SHAPE_REFERRAL, "NS example.com. NS ns.example.com.\n"},
	{"C-10 sideways", "com.", "www.example.com. A aa\nNS other.com. 60 IN NS ns.other.com.",
		KR_SHAPE_NONSENSE, ""},
	{"C-10 below the question", "com.",
		"example.com. A aa\nNS www.example.com. 60 IN NS ns.example.com.",
		KR_SHAPE_NONSENSE, ""},
	{"C-10 not with a SOA", "com.",
		"www.example.com. A\nNS com. 60 IN SOA a. b. 1 2 3 4 5\n"
		"NS example.com. 60 IN NS ns.example.com.",
		KR_SHAPE_NEGATIVE, "NS com. SOA a. b. 1 2 3 4 5\n"},
	{"C-11 upwards", "example.com.",
		"www.example.com. A\nNS . 60 IN NS a.root-servers.net.\n"
		"AR a.root-servers.net. 60 IN A 192.0.2.66",
		KR_SHAPE_LAME, ""},
	{"C-11 to itself", "example.com.",
		"www.example.com. A\nNS example.com. 60 IN NS ns.example.com.", KR_SHAPE_LAME, ""},
	{"C-12 promiscuous NS", "example.com.",
		"a.example.com. A aa\nAN a.example.com. 60 IN A 192.0.2.1\n"
		"NS example.com. 60 IN NS ns.evil.example.\nAR ns.evil.example. 60 IN A 192.0.2.66",
		KR_SHAPE_ANSWER, "AN a.example.com. A 192.0.2.1\n"},
	{"C-13 glue of strangers", "com.",
		"www.example.com. A\nNS example.com. 60 IN NS ns.example.com.\n"
		"AR www.example.com. 60 IN A 192.0.2.66\nAR ns.example.com. 60 IN A 192.0.2.53\n"
		"AR ns.example.com. 60 IN TXT \"x\"",
		KR_SHAPE_REFERRAL,
		"NS example.com. NS ns.example.com.\nAR ns.example.com. A 192.0.2.53\n"},
	{"C-13 glue outside of the cut", "com.",
		"www.example.com. A\nNS example.com. 60 IN NS ns.example.net.\n"
		"AR ns.example.net. 60 IN A 192.0.2.66",
		KR_SHAPE_REFERRAL, "NS example.com. NS ns.example.net.\n"},
	{"C-13 outside, permissive", "com.",
		"www.example.com. A\nNS example.com. 60 IN NS ns.example.net.\n"
		"AR ns.example.net. 60 IN A 192.0.2.66",
		KR_SHAPE_REFERRAL,
		"NS example.com. NS ns.example.net.\nAR ns.example.net. A 192.0.2.66\n",
		.permissive = true},
	{"C-13 sibling glue alone", "com.",
		"www.example.com. A\nNS example.com. 60 IN NS ns.other.com.\n"
		"AR ns.other.com. 60 IN A 192.0.2.53",
		KR_SHAPE_REFERRAL,
		"NS example.com. NS ns.other.com.\nAR ns.other.com. A 192.0.2.53\n"},
	{"C-13 sibling glue, strict", "com.",
		"www.example.com. A\nNS example.com. 60 IN NS ns.other.com.\n"
		"AR ns.other.com. 60 IN A 192.0.2.53",
		KR_SHAPE_REFERRAL, "NS example.com. NS ns.other.com.\n", .strict = true},
	{"C-13 sibling beside in-domain glue", "com.",
		"www.example.com. A\nNS example.com. 60 IN NS ns.other.com.\n"
		"NS example.com. 60 IN NS ns.example.com.\nAR ns.other.com. 60 IN A 192.0.2.66\n"
		"AR ns.example.com. 60 IN A 192.0.2.53",
		KR_SHAPE_REFERRAL,
		"NS example.com. NS ns.other.com.\nNS example.com. NS ns.example.com.\n"
		"AR ns.example.com. A 192.0.2.53\n"},
	{"C-14 additional data of answers", "example.com.",
		"example.com. MX aa\nAN example.com. 60 IN MX 1 m.example.com.\n"
		"AR m.example.com. 60 IN A 192.0.2.66",
		KR_SHAPE_ANSWER, "AN example.com. MX 1 m.example.com.\n"},
	{"C-15 special addresses", "com.",
		"www.example.com. A\nNS example.com. 60 IN NS ns.example.com.\n"
		"AR ns.example.com. 60 IN A 127.0.0.1\nAR ns.example.com. 60 IN A 0.0.0.0\n"
		"AR ns.example.com. 60 IN A 169.254.1.1\nAR ns.example.com. 60 IN A 224.0.0.1\n"
		"AR ns.example.com. 60 IN AAAA ::\nAR ns.example.com. 60 IN AAAA ::1\n"
		"AR ns.example.com. 60 IN AAAA ::ffff:192.0.2.1\n"
		"AR ns.example.com. 60 IN AAAA fe80::1\nAR ns.example.com. 60 IN AAAA ff02::1\n"
		"AR ns.example.com. 60 IN AAAA 2001:db8::53",
		KR_SHAPE_REFERRAL,
		"NS example.com. NS ns.example.com.\nAR ns.example.com. AAAA 2001:db8::53\n"},
	{"C-15 allowed by the operator", "com.",
		"www.example.com. A\nNS example.com. 60 IN NS ns.example.com.\n"
		"AR ns.example.com. 60 IN A 127.0.0.1",
		KR_SHAPE_REFERRAL,
		"NS example.com. NS ns.example.com.\nAR ns.example.com. A 127.0.0.1\n",
		.allow_local = true},
	{"C-16 SOA of a stranger", "example.com.",
		"a.example.com. A NXDOMAIN\nNS example.net. 60 IN SOA a. b. 1 2 3 4 5",
		KR_SHAPE_NONSENSE, ""},
	{"C-16 SOA beside the name", "example.com.",
		"a.example.com. A NXDOMAIN\nNS b.example.com. 60 IN SOA a. b. 1 2 3 4 5",
		KR_SHAPE_NONSENSE, ""},
	{"C-16 two SOAs", "example.com.",
		"a.example.com. A NXDOMAIN\nNS example.com. 60 IN SOA a. b. 1 2 3 4 5\n"
		"NS example.com. 60 IN SOA a. b. 9 2 3 4 5",
		UNUSABLE, ""},
	{"U-09 a denied name has no data", "example.com.",
		"a.example.com. A NXDOMAIN\nAN a.example.com. 60 IN A 192.0.2.1", UNUSABLE, ""},
	{"U-10 alias and SOA", "example.com.",
		"a.example.com. A\nAN a.example.com. 60 IN CNAME b.example.com.\n" SOA_COM,
		KR_SHAPE_ALIAS, "AN a.example.com. CNAME b.example.com.\n"},
	{"U-36 referral with the root as server name", "com.",
		"www.example.com. A\nNS example.com. 60 IN NS .\nAR . 60 IN A 192.0.2.66",
		KR_SHAPE_REFERRAL, "NS example.com. NS .\n"},
	{"U-51 SOA below the name", "com.",
		"example.com. A\nNS a.example.com. 60 IN SOA a. b. 1 2 3 4 5", KR_SHAPE_NONSENSE,
		""},
	{"NS asked for is an answer, not a referral", ".",
		"com. NS\nAN com. 60 IN NS a.gtld-servers.net.\n"
		"AR a.gtld-servers.net. 60 IN A 192.5.6.30",
		KR_SHAPE_ANSWER, "AN com. NS a.gtld-servers.net.\n"},
	{"NS asked for may be a referral", ".",
		"com. NS\nNS com. 60 IN NS a.gtld-servers.net.\n"
		"AR a.gtld-servers.net. 60 IN A 192.5.6.30",
		KR_SHAPE_REFERRAL,
		"NS com. NS a.gtld-servers.net.\nAR a.gtld-servers.net. A 192.5.6.30\n"},
	{"C-09 DS of another zone", "com.",
		"www.example.com. A\nNS example.com. 60 IN NS ns.example.com.\n"
		"NS example.com. 60 IN DS 1 8 2 AA\nNS other.com. 60 IN DS 1 8 2 AA",
		KR_SHAPE_REFERRAL,
		"NS example.com. NS ns.example.com.\nNS example.com. DS 1 8 2 AA\n"},
	{"C-15 private addresses", "com.",
		"www.example.com. A\nNS example.com. 60 IN NS ns.example.com.\n"
		"AR ns.example.com. 60 IN A 10.0.0.1\nAR ns.example.com. 60 IN A 192.168.0.1\n"
		"AR ns.example.com. 60 IN A 172.31.0.1\nAR ns.example.com. 60 IN AAAA fd00::1",
		KR_SHAPE_REFERRAL, "NS example.com. NS ns.example.com.\n"},
	{"C-15 private addresses from a private server", "com.",
		"www.example.com. A\nNS example.com. 60 IN NS ns.example.com.\n"
		"AR ns.example.com. 60 IN A 10.0.0.1",
		KR_SHAPE_REFERRAL,
		"NS example.com. NS ns.example.com.\nAR ns.example.com. A 10.0.0.1\n",
		.allow_private = true},
	{"C-17 NSEC inside of the zone", "example.com.",
		"b.example.com. A NXDOMAIN\n" SOA_COM
		"NS a.example.com. 60 IN NSEC C.Example.Com. A\n"
		"NS a.example.com. 60 IN " RRSIG_NSEC "example.com. AAAA",
		KR_SHAPE_NEGATIVE,
		SOA_COM_LEFT
		"NS a.example.com. NSEC C.Example.Com. A\n"
		"NS a.example.com. RRSIG NSEC 8 3 3600 20300101000000 20200101000000 1 "
		"example.com. AAAA\n"},
	{"C-17 NSEC that ends outside of the cut", "example.com.",
		"b.example.com. A NXDOMAIN\n" SOA_COM
		"NS a.example.com. 60 IN NSEC c.example.net. A",
		KR_SHAPE_NEGATIVE, SOA_COM_LEFT},
	{"C-17 NSEC that ends outside of the signer's zone", "example.com.",
		"b.sub.example.com. A NXDOMAIN\n" SOA_COM
		"NS a.sub.example.com. 60 IN NSEC z.example.com. A\n"
		"NS a.sub.example.com. 60 IN RRSIG NSEC 8 4 3600 20300101000000 20200101000000 1 "
		"sub.example.com. AAAA",
		KR_SHAPE_NEGATIVE, SOA_COM_LEFT},
	{"C-17 NSEC3 of the zone", "example.com.",
		"b.example.com. A NXDOMAIN\n" SOA_COM "NS " HASH
		".example.com. 60 IN NSEC3 1 0 0 - " HASH " A\n"
		"NS " HASH ".example.com. 60 IN " RRSIG_NSEC3 "example.com. AAAA",
		KR_SHAPE_NEGATIVE,
		SOA_COM_LEFT "NS " HASH ".example.com. NSEC3 1 0 0 - " HASH " A\n"
			     "NS " HASH
			     ".example.com. RRSIG NSEC3 8 3 3600 20300101000000 20200101000000 1 "
			     "example.com. AAAA\n"},
	{"C-17 NSEC3 of another zone than the signer's", "com.",
		"b.example.com. A NXDOMAIN\n" SOA_COM "NS " HASH
		".example.com. 60 IN NSEC3 1 0 0 - " HASH " A\n"
		"NS " HASH
		".example.com. 60 IN RRSIG NSEC3 8 3 3600 20300101000000 20200101000000 1 "
		"com. AAAA",
		KR_SHAPE_NEGATIVE, SOA_COM_LEFT},
	{"C-17 NSEC3 whose owner is no hash", "example.com.",
		"b.example.com. A NXDOMAIN\n" SOA_COM
		"NS short.example.com. 60 IN NSEC3 1 0 0 - " HASH " A",
		KR_SHAPE_NEGATIVE, SOA_COM_LEFT},
	{"C-18 good signature", "example.com.",
		"www.example.com. A\nAN www.example.com. 60 IN A 192.0.2.1\n"
		"AN www.example.com. 60 IN " RRSIG_A "example.com. AAAA",
		KR_SHAPE_ANSWER,
		"AN www.example.com. A 192.0.2.1\nAN www.example.com. RRSIG A 8 3 3600 "
		"20300101000000 20200101000000 1 example.com. AAAA\n"},
	{"C-18 signer is a stranger", "example.com.",
		"www.example.com. A\nAN www.example.com. 60 IN A 192.0.2.1\n"
		"AN www.example.com. 60 IN " RRSIG_A "example.net. AAAA",
		KR_SHAPE_ANSWER, "AN www.example.com. A 192.0.2.1\n"},
	{"C-18 labels below those of the signer", "example.com.",
		"www.example.com. A\nAN www.example.com. 60 IN A 192.0.2.1\n"
		"AN www.example.com. 60 IN RRSIG A 8 1 3600 20300101000000 20200101000000 1 "
		"example.com. AAAA",
		KR_SHAPE_ANSWER, "AN www.example.com. A 192.0.2.1\n"},
	{"C-18 covered set is absent", "example.com.",
		"www.example.com. A\nAN www.example.com. 60 IN A 192.0.2.1\n"
		"AN www.example.com. 60 IN RRSIG TXT 8 3 3600 20300101000000 20200101000000 1 "
		"example.com. AAAA",
		KR_SHAPE_ANSWER, "AN www.example.com. A 192.0.2.1\n"},
	{"C-23 truncated", "example.com.",
		"www.example.com. A tc\nAN www.example.com. 60 IN A 192.0.2.1", KR_SHAPE_NONSENSE,
		""},
	{"A-46 forwarders do not delegate", ".",
		"www.example.com. A\nNS example.com. 60 IN NS ns.example.com.\n"
		"AR ns.example.com. 60 IN A 192.0.2.66",
		KR_SHAPE_NONSENSE, "", .is_forward = true},
	{"A-46 nor speak of other names", "corp.",
		"www.corp. A\nAN www.corp. 60 IN CNAME www.example.com.\n"
		"AN www.example.com. 60 IN A 192.0.2.66",
		KR_SHAPE_ALIAS, "AN www.corp. CNAME www.example.com.\n", .is_forward = true},
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
		.allow_private = row->allow_private,
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
		.type = KNOT_RRTYPE_A,
		.cut = (const uint8_t *)"\7example"};
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
			.type = KNOT_RRTYPE_A,
			.cut = (const uint8_t *)"\3com",
			.random = random};
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

/** Text of n records, `format` taking the number. */
static void append(char *text, size_t size, const char *format, int n)
{
	size_t len = strlen(text);
	for (int i = 0; i < n; ++i) {
		len += snprintf(text + len, size - len, format, i / 250, i % 250 + 1);
		assert_true(len < size);
	}
}

static int count_left(const char *text, const char *cut, int section)
{
	knot_dname_storage_t cut_name;
	knot_pkt_t *pkt = message_make(text);
	knot_dname_from_str(cut_name, cut, sizeof(cut_name));
	const struct kr_scrub_question question = {
		.name = knot_pkt_qname(pkt), .type = knot_pkt_qtype(pkt), .cut = cut_name};
	int ret = kr_scrub(pkt, &question, NULL);
	if (ret >= 0)
		ret = knot_pkt_section(pkt, section)->count;
	knot_pkt_free(pkt);
	return ret;
}

/** Rows of C-22: what is too much goes. */
static void surplus_records_are_dropped(void **state)
{
	static char text[400000];
	strcpy(text, "www.example.com. A\nNS example.com. 60 IN NS ns.example.com.\n");
	append(text, sizeof(text), "AR ns.example.com. 60 IN A 192.%d.2.%d\n", 20); /* B-06 */
	assert_int_equal(count_left(text, "com.", KNOT_ADDITIONAL), KR_NS_ADDR_MAX);
	strcpy(text, "www.example.com. A\nNS example.com. 60 IN NS ns.example.com.\n");
	append(text, sizeof(text), "NS example.com. 60 IN DS %d 8 2 %02d\n", 90); /* B-19 */
	assert_int_equal(count_left(text, "com.", KNOT_AUTHORITY), 1 + KR_DS_MAX);
	strcpy(text, "www.example.com. A NXDOMAIN\n" SOA_COM);
	append(text, sizeof(text), "NS n%d-%d.example.com. 60 IN NSEC z.example.com. A\n",
		200); /* B-22 */
	assert_int_equal(count_left(text, "example.com.", KNOT_AUTHORITY), 1 + KR_NSEC_MSG_MAX);
	strcpy(text, "www.example.com. A NXDOMAIN\n" SOA_COM);
	append(text, sizeof(text),
		"NS 2t7b4g4vsa5smi47k61mv5bv1a2%d%04d.example.com. 60 IN NSEC3 1 0 0 - " HASH
		" A\n",
		200);
	assert_int_equal(count_left(text, "example.com.", KNOT_AUTHORITY), 1 + KR_NSEC3_MSG_MAX);
	strcpy(text, "www.example.com. A\nAN www.example.com. 60 IN A 192.0.2.1\n");
	append(text, sizeof(text),
		"AN www.example.com. 60 IN "
		"RRSIG A 8 3 3600 20300101000000 20200101000000 "
		"%d%d example.com. AAAA\n",
		200); /* B-18 */
	assert_int_equal(count_left(text, "example.com.", KNOT_ANSWER), 1 + KR_RRSIG_KEPT_MAX);
	strcpy(text, "www.example.com. A\n");
	append(text, sizeof(text), "AN www.example.com. 60 IN A 192.%d.2.%d\n",
		KR_RRSET_RRS_MAX); /* B-24 */
	assert_int_equal(count_left(text, "example.com.", KNOT_ANSWER), KR_RRSET_RRS_MAX);
	append(text, sizeof(text), "AN www.example.com. 60 IN A 193.%d.2.%d\n", 1);
	assert_int_equal(count_left(text, "example.com.", KNOT_ANSWER), kr_error(EBADMSG));
}

/** the work does not grow with the square of the message. */
static void large_messages_take_little_time(void **state)
{
	static char text[400000];
	strcpy(text, "www.example.com. A\n");
	append(text, sizeof(text), "NS example.com. 60 IN NS n%d-%d.example.com.\n", 1500);
	append(text, sizeof(text), "AR n%d-%d.example.com. 60 IN A 192.0.2.1\n", 1500);
	knot_pkt_t *pkt = message_make(text);
	const struct kr_scrub_question question = {.name = knot_pkt_qname(pkt),
		.type = KNOT_RRTYPE_A,
		.cut = (const uint8_t *)"\3com"};
	struct timespec begin, end;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &begin);
	assert_true(kr_scrub(pkt, &question, NULL) > 2900);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end);
	const int64_t us =
		(end.tv_sec - begin.tv_sec) * 1000000 + (end.tv_nsec - begin.tv_nsec) / 1000;
	assert_true(us < 20000); /* 1 ms without sanitizers */
	knot_pkt_free(pkt);
}

/** a datagram larger than what was offered came in fragments. */
static void oversized_datagrams_are_not_used(void **state)
{
	static const struct {
		uint16_t payload;
		bool is_stream, is_used;
	} cases[] = {{0, false, true}, {1232, false, true}, {64, false, false}, {64, true, true}};
	for (size_t i = 0; i < KR_COUNT_OF(cases); ++i) {
		knot_pkt_t *pkt =
			message_make("www.example.com. A\nAN www.example.com. 60 IN A 192.0.2.1\n"
				     "AN www.example.com. 60 IN A 192.0.2.2");
		const struct kr_scrub_question question = {.name = knot_pkt_qname(pkt),
			.type = KNOT_RRTYPE_A,
			.cut = (const uint8_t *)"\3com",
			.payload = cases[i].payload,
			.is_stream = cases[i].is_stream};
		assert_int_equal(
			kr_scrub(pkt, &question, NULL), cases[i].is_used ? 0 : kr_error(EBADMSG));
		knot_pkt_free(pkt);
	}
}

/** U-15, U-21, U-23, U-28: rdata that the parser lets through. */
static void broken_rdata_are_dropped(void **state)
{
	static const struct {
		const char *id;
		uint16_t type;
		uint16_t len;
		uint8_t rdata[64];
		bool is_kept;
	} cases[] = {
		{"NSEC without types", KNOT_RRTYPE_NSEC, 5, "\3com", true},
		{"NSEC", KNOT_RRTYPE_NSEC, 8, "\3com\0\0\1\x40", true},
		{"NSEC empty window", KNOT_RRTYPE_NSEC, 7, "\3com\0\0\0", false},
		{"NSEC window of 33", KNOT_RRTYPE_NSEC, 40, "\3com\0\0\x21", false},
		{"NSEC window beyond the end", KNOT_RRTYPE_NSEC, 8, "\3com\0\0\2\x40", false},
		{"NSEC windows descending", KNOT_RRTYPE_NSEC, 11, "\3com\0\1\1\x40\0\1\x40", false},
		{"NSEC window twice", KNOT_RRTYPE_NSEC, 11, "\3com\0\0\1\x40\0\1\x40", false},
		{"NSEC one octet more", KNOT_RRTYPE_NSEC, 6, "\3com\0\0", false},
		{"NSEC3 empty", KNOT_RRTYPE_NSEC3, 1, "\1", false},
		{"NSEC3 salt beyond the end", KNOT_RRTYPE_NSEC3, 8, "\1\0\0\0\x40\0\0\0", false},
		{"NSEC3 without hash", KNOT_RRTYPE_NSEC3, 6, "\1\0\0\0\0\0", false},
		{"NSEC3 hash of 19", KNOT_RRTYPE_NSEC3, 26, "\1\0\0\0\0\x13", false},
		{"NSEC3 hash of 21", KNOT_RRTYPE_NSEC3, 27, "\1\0\0\0\0\x15", false},
		{"NSEC3 hash beyond the end", KNOT_RRTYPE_NSEC3, 25, "\1\0\0\0\0\x14", false},
		{"NSEC3", KNOT_RRTYPE_NSEC3, 26, "\1\0\0\0\0\x14", true},
		{"NSEC3 bad types", KNOT_RRTYPE_NSEC3, 28, "\1\0\0\0\0\x14", false},
		{"DS without digest", KNOT_RRTYPE_DS, 4, "\0\1\x8\2", false},
		{"DS", KNOT_RRTYPE_DS, 5, "\0\1\x8\2\1", true},
	};
	for (size_t i = 0; i < KR_COUNT_OF(cases); ++i) {
		const bool is_ds = cases[i].type == KNOT_RRTYPE_DS;
		knot_pkt_t *made = message_make(
			"www.example.com. A\nNS example.com. 60 IN NS ns.example.com.");
		uint8_t wire[512];
		size_t len = made->size;
		memcpy(wire, made->wire, len);
		knot_pkt_free(made);
		static const uint8_t hash_owner[] = "\x20" HASH "\7example\3com";
		const uint8_t *owner = is_ds ? hash_owner + 33 : hash_owner;
		memcpy(wire + len, owner, knot_dname_size(owner));
		len += knot_dname_size(owner);
		const uint8_t fixed[] = {0, cases[i].type, 0, 1, 0, 0, 0, 60, 0, cases[i].len};
		memcpy(wire + len, fixed, sizeof(fixed));
		memcpy(wire + len + sizeof(fixed), cases[i].rdata, cases[i].len);
		len += sizeof(fixed) + cases[i].len;
		knot_wire_set_nscount(wire, 2);
		knot_pkt_t *pkt = knot_pkt_new(wire, len, NULL);
		if (knot_pkt_parse(pkt, 0) != 0)
			fail_msg("%s: the parser does not let it through", cases[i].id);
		const struct kr_scrub_question question = {.name = knot_pkt_qname(pkt),
			.type = KNOT_RRTYPE_A,
			.cut = (const uint8_t *)"\3com"};
		if (kr_scrub(pkt, &question, NULL) != (cases[i].is_kept ? 0 : 1))
			fail_msg("%s: should be %s", cases[i].id,
				cases[i].is_kept ? "kept" : "dropped");
		knot_pkt_free(pkt);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_the_allowed_is_left),
		cmocka_unit_test(huge_ttl_is_zero),
		cmocka_unit_test(surplus_servers_are_dropped),
		cmocka_unit_test(surplus_records_are_dropped),
		cmocka_unit_test(large_messages_take_little_time),
		cmocka_unit_test(oversized_datagrams_are_not_used),
		cmocka_unit_test(broken_rdata_are_dropped),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
