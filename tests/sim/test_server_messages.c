/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Messages no good server sends (the U- rows). Each comes once, to be followed by an honest answer;
 * then as noise before the honest answer; then for ever. Nothing of them may be believed. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include <libknot/packet/wire.h>

#include "tests/sim/rig.h"

#define QNAME "www.vic.tld."
#define HONEST "203.0.113.1"
#define EVIL "198.51.100.66"
#define EVIL_RAW "\xc6\x33\x64\x42"
#define PTR_QNAME "\xc0\x0c"
#define A_IN "\0\1\0\1"
#define TTL_60 "\0\0\0\x3c"

typedef void (*build_f)(struct rig_question *q, unsigned arg);

/** What may come of it when it arrives once. */
enum outcome {
	RETRY,  /**< unusable: the next try brings the honest answer */
	USABLE, /**< strange, yet good enough: any answer without a lie */
};

struct row {
	const char *id;
	build_f build;
	unsigned arg;
	enum outcome outcome;
};

static void count(struct rig_question *q, enum rig_section section, unsigned n)
{
	knot_wire_write_u16(q->reply + 6 + 2 * section, n);
}

static void raw(struct rig_question *q, const char *data, size_t len)
{
	q_raw(q, data, len);
}
#define RAW(q, text) raw((q), (text), sizeof(text) - 1)

static void evil_a(struct rig_question *q)
{
	q_a(q, R_ANSWER, q->name, EVIL);
}

static void evil(struct rig_question *q, uint16_t flags)
{
	q_begin(q, flags);
	evil_a(q);
}

/* ---- header and question ---- */

static void u_stub(struct rig_question *q, unsigned len)
{
	evil(q, R_AA);
	q->len = len;
}
static void u_cut(struct rig_question *q, unsigned octets)
{
	evil(q, R_AA);
	q->len -= octets;
}
static void u_trailing(struct rig_question *q, unsigned octets)
{
	evil(q, R_AA);
	memset(q->reply + q->len, 0, octets);
	q->len += octets;
}
static void u_not_a_response(struct rig_question *q, unsigned arg)
{
	evil(q, R_AA);
	knot_wire_clear_qr(q->reply);
}
static void u_other_id(struct rig_question *q, unsigned arg)
{
	evil(q, R_AA);
	q->reply[1] ^= 1;
}
static void u_other_name(struct rig_question *q, unsigned arg)
{
	evil(q, R_AA);
	q->reply[13] = 'x';
}
/** The question's letters in another case than they were sent in. */
static void u_other_case(struct rig_question *q, unsigned arg)
{
	q_begin(q, R_AA); /* over a stream it is believed: S-05 */
	q_a(q, R_ANSWER, q->name, q->is_stream ? HONEST : EVIL);
	q->reply[13] ^= 0x20;
}
static void u_other_type(struct rig_question *q, unsigned arg)
{
	evil(q, R_AA);
	q->reply[12 + 13 + 1] ^= 4;
}
static void u_other_class(struct rig_question *q, unsigned arg)
{
	evil(q, R_AA);
	q->reply[12 + 13 + 3] = 3;
}
static void u_no_question(struct rig_question *q, unsigned rcode)
{
	q_begin(q, R_AA | rcode);
	q->len = KNOT_WIRE_HEADER_SIZE;
	knot_wire_set_qdcount(q->reply, 0);
	if (rcode == 0)
		evil_a(q);
}
static void u_two_questions(struct rig_question *q, unsigned arg)
{
	q_begin(q, R_AA);
	RAW(q, PTR_QNAME A_IN);
	knot_wire_set_qdcount(q->reply, 2);
	evil_a(q);
}
static void u_opcode(struct rig_question *q, unsigned opcode)
{
	evil(q, R_AA);
	knot_wire_set_opcode(q->reply, opcode);
}
static void u_rcode(struct rig_question *q, unsigned rcode)
{
	evil(q, rcode);
}
static void u_rcode_opt(struct rig_question *q, unsigned rcode)
{
	q_begin(q, rcode & 15);
	evil_a(q);
	q_opt(q);
	q->reply[q->len - 6] = rcode >> 4;
}
static void u_empty(struct rig_question *q, unsigned flags)
{
	q_begin(q, flags);
}
static void u_counts(struct rig_question *q, unsigned n)
{
	evil(q, R_AA);
	count(q, R_ANSWER, n);
}
static void u_flags(struct rig_question *q, unsigned flags)
{
	q_begin(q, flags);
	q_a(q, R_ANSWER, q->name, HONEST);
}
static void u_truncated(struct rig_question *q, unsigned octets)
{
	evil(q, R_AA | R_TC);
	q->len -= octets;
}

/* ---- names ---- */

static void u_owner(struct rig_question *q, const char *owner, size_t len)
{
	q_begin(q, R_AA);
	raw(q, owner, len);
	RAW(q, A_IN TTL_60 "\0\4" EVIL_RAW);
	count(q, R_ANSWER, 1);
}
static void u_owner_loop(struct rig_question *q, unsigned hops)
{
	uint8_t name[8] = {0};
	const unsigned at = 12 + knot_dname_size(q->arrival->query.at + 12) + 4;
	for (unsigned i = 0; i < hops; ++i) {
		name[2 * i] = 0xc0;
		name[2 * i + 1] = at + 2 * ((i + 1) % hops);
	}
	u_owner(q, (char *)name, 2 * hops);
}
static void u_owner_forward(struct rig_question *q, unsigned arg)
{
	u_owner(q, "\xc0\xf0", 2);
}
static void u_owner_header(struct rig_question *q, unsigned arg)
{
	u_owner(q, "\xc0\x02", 2);
}
static void u_owner_label_type(struct rig_question *q, unsigned type)
{
	u_owner(q, (char[]){type, 'x', 0}, 3);
}
/** A name that goes on through pointers until it is longer than a name may be. */
static void u_owner_long(struct rig_question *q, unsigned arg)
{
	q_begin(q, R_AA);
	unsigned last = 12;
	for (int i = 0; i < 6; ++i) {
		const unsigned here = q->len;
		char label[66] = {63};
		memset(label + 1, 'a', 63);
		label[64] = 0xc0 | last >> 8;
		label[65] = last & 0xff;
		raw(q, label, sizeof(label));
		RAW(q, A_IN TTL_60 "\0\4" EVIL_RAW);
		last = here;
	}
	count(q, R_ANSWER, 6);
}
static void u_pointer_chain(struct rig_question *q, unsigned hops)
{
	q_begin(q, R_AA);
	RAW(q, "\0\0\x10\0\1\0\0\0\0"); /* an unknown record full of pointers */
	raw(q, (char[]){2 * hops >> 8, 2 * hops & 0xff}, 2);
	unsigned last = 12;
	for (unsigned i = 0; i < hops; ++i) {
		const unsigned here = q->len;
		raw(q, (char[]){0xc0 | last >> 8, last & 0xff}, 2);
		last = here;
	}
	raw(q, (char[]){0xc0 | last >> 8, last & 0xff}, 2);
	RAW(q, A_IN TTL_60 "\0\4" EVIL_RAW);
	count(q, R_ANSWER, 2);
}
static void u_owner_pointer(struct rig_question *q, unsigned arg)
{
	q_begin(q, R_AA);
	RAW(q, PTR_QNAME A_IN TTL_60 "\0\4\xcb\0\x71\1");
	count(q, R_ANSWER, 1);
}

/* ---- RDATA ---- */

static void u_a_length(struct rig_question *q, unsigned len)
{
	q_begin(q, R_AA);
	q_rr_raw(q, R_ANSWER, q->name, KNOT_RRTYPE_A, 60, EVIL_RAW EVIL_RAW, len);
}
static void u_rdlength_past_end(struct rig_question *q, unsigned len)
{
	q_begin(q, R_AA);
	RAW(q, PTR_QNAME A_IN TTL_60);
	raw(q, (char[]){len >> 8, len & 0xff}, 2);
	RAW(q, EVIL_RAW);
	count(q, R_ANSWER, 1);
}
static void u_cname_rdata(struct rig_question *q, unsigned variant)
{
	static const struct bytes rdata[] = {
		{(const uint8_t *)"\3www\4evil", 9},       /* no end */
		{(const uint8_t *)"\3www\4evil\0xyz", 13}, /* goes on behind the end */
		{(const uint8_t *)"\xc0", 1},              /* half a pointer */
		{(const uint8_t *)"\xc0\xff", 2},          /* forward */
		{(const uint8_t *)"", 0},
		{(const uint8_t *)"\x40", 1},
	};
	q_begin(q, R_AA);
	q_rr_raw(
		q, R_ANSWER, q->name, KNOT_RRTYPE_CNAME, 60, rdata[variant].at, rdata[variant].len);
	q_a(q, R_ANSWER, "www.evil.", EVIL);
}
static void u_soa_rdata(struct rig_question *q, unsigned len)
{
	static const uint8_t rdata[22] = {0};
	q_begin(q, R_AA);
	q_rr_raw(q, R_AUTHORITY, "vic.tld.", KNOT_RRTYPE_SOA, 60, rdata, len);
}
/** RDATA that is too short, for types of many shapes, beside the honest answer. */
static void u_rdata_of_type(struct rig_question *q, unsigned type)
{
	q_begin(q, R_AA);
	q_a(q, R_ANSWER, q->name, HONEST);
	q_rr_raw(q, R_AUTHORITY, "vic.tld.", type, 60, "\xff", type & 1);
}
static void u_pointers_in_rdata(struct rig_question *q, unsigned type)
{
	q_begin(q, R_AA);
	q_a(q, R_ANSWER, q->name, HONEST);
	q_rr_raw(q, R_ADDITIONAL, "vic.tld.", type, 60, "\0\1\0\1\0\1\xc0\x0c", 8);
}
static void u_ttl(struct rig_question *q, unsigned ttl)
{
	q_begin(q, R_AA);
	q_rr_raw(q, R_ANSWER, q->name, KNOT_RRTYPE_A, ttl, "\xcb\0\x71\1", 4);
}
static void u_dnssec_garbage(struct rig_question *q, unsigned type)
{
	uint8_t rdata[60];
	memset(rdata, type, sizeof(rdata));
	q_begin(q, R_AA);
	q_a(q, R_ANSWER, q->name, HONEST);
	q_rr_raw(q, R_ANSWER, q->name, type, 60, rdata, sizeof(rdata));
	q_rr_raw(q, R_AUTHORITY, "vic.tld.", type, 60, rdata, sizeof(rdata));
}
static void u_huge_unknown(struct rig_question *q, unsigned len)
{
	static const uint8_t rdata[65000];
	q_begin(q, R_AA);
	q_a(q, R_ANSWER, q->name, HONEST);
	q_rr_raw(q, R_ADDITIONAL, "vic.tld.", 65280, 60, rdata, len);
}

/* ---- records that do not fit together ---- */

static void u_same_record(struct rig_question *q, unsigned n)
{
	q_begin(q, R_AA);
	for (unsigned i = 0; i < n; ++i) {
		RAW(q, PTR_QNAME A_IN TTL_60 "\0\4\xcb\0\x71\1");
	}
	count(q, R_ANSWER, n);
}
static void u_too_many_records(struct rig_question *q, unsigned n)
{
	q_begin(q, R_AA);
	for (unsigned i = 0; i < n; ++i) {
		RAW(q, PTR_QNAME A_IN TTL_60 "\0\4\xc6\x33");
		raw(q, (char[]){i >> 8, i & 0xff}, 2);
	}
	count(q, R_ANSWER, n);
}
static void u_class(struct rig_question *q, unsigned qclass)
{
	evil(q, R_AA);
	q->reply[q->len - 11] = qclass;
}
static void u_alias_and_data(struct rig_question *q, unsigned variant)
{
	q_begin(q, R_AA);
	switch (variant) {
	case 0: /* the asked type is there as well: unusable (C-07) */
		q_name(q, R_ANSWER, q->name, KNOT_RRTYPE_CNAME, "evil.");
		evil_a(q);
		break;
	case 1:
		q_name(q, R_ANSWER, q->name, KNOT_RRTYPE_CNAME, "one.evil.");
		q_name(q, R_ANSWER, q->name, KNOT_RRTYPE_CNAME, "two.evil.");
		break;
	case 2: /* two DNAMEs at one owner */
		q_name(q, R_ANSWER, "vic.tld.", KNOT_RRTYPE_DNAME, "one.evil.");
		q_name(q, R_ANSWER, "vic.tld.", KNOT_RRTYPE_DNAME, "two.evil.");
		break;
	default: /* the CNAME is not what the DNAME makes of the name (C-06) */
		q_name(q, R_ANSWER, "vic.tld.", KNOT_RRTYPE_DNAME, "one.tld.");
		q_name(q, R_ANSWER, q->name, KNOT_RRTYPE_CNAME, "www.evil.");
	}
}
static void u_foreign_owner(struct rig_question *q, unsigned variant)
{
	static const char *const owners[] = {"evil.", "tld.", ".", "x.www.vic.tld.", "vic.tld."};
	q_begin(q, R_AA);
	q_a(q, R_ANSWER, owners[variant], EVIL);
}
static void u_dname_elsewhere(struct rig_question *q, unsigned variant)
{
	static const char *const owners[] = {QNAME, "x.www.vic.tld.", ".", "tld.", "evil."};
	q_begin(q, R_AA);
	q_name(q, R_ANSWER, owners[variant], KNOT_RRTYPE_DNAME, "evil.");
}
static void u_opt_misplaced(struct rig_question *q, unsigned variant)
{
	q_begin(q, R_AA);
	switch (variant) {
	case 0: /* in ANSWER */
		q_rr_raw(q, R_ANSWER, ".", KNOT_RRTYPE_OPT, 0, "", 0);
		evil_a(q);
		break;
	case 1:
		evil_a(q);
		q_opt(q);
		q_opt(q);
		break;
	default: /* another owner */
		evil_a(q);
		q_rr_raw(q, R_ADDITIONAL, "x.", KNOT_RRTYPE_OPT, 0, "", 0);
	}
}
static void u_opt_version(struct rig_question *q, unsigned version)
{
	q_begin(q, R_AA);
	q_a(q, R_ANSWER, q->name, HONEST);
	q_opt(q);
	q->reply[q->len - 5] = version;
}
static void u_tsig(struct rig_question *q, unsigned type)
{
	q_begin(q, R_AA);
	q_a(q, R_ANSWER, q->name, HONEST);
	q_rr_raw(q, R_ADDITIONAL, "key.", type, 0, "\0\1\2\3\4\5\6\7", 8);
}
static void u_referral(struct rig_question *q, unsigned variant)
{
	static const char *const cuts[] = {"vic.tld.", "tld.", ".", "evil.", "sub.tld.", QNAME};
	q_begin(q, variant & 8 ? R_AA : 0);
	q_name(q, R_AUTHORITY, cuts[variant & 7], KNOT_RRTYPE_NS, "ns.evil.");
	q_a(q, R_ADDITIONAL, "ns.evil.", EVIL);
}
static void u_nodata_of(struct rig_question *q, unsigned variant)
{
	static const char *const owners[] = {"tld.", ".", "evil.", "x.www.vic.tld."};
	q_begin(q, R_AA | (variant & 8 ? KNOT_RCODE_NXDOMAIN : 0));
	q_soa(q, owners[variant & 7]);
}
static void u_two_soa(struct rig_question *q, unsigned arg)
{
	q_begin(q, R_AA);
	q_soa(q, "vic.tld.");
	q_soa(q, "tld.");
}

static const struct row rows[] = {
	{"U-44 no octets", u_stub, 0, RETRY},
	{"U-44 one octet", u_stub, 1, RETRY},
	{"U-44 11 octets", u_stub, 11, RETRY},
	{"U-01 header only", u_stub, 12, RETRY},
	{"U-01 one octet missing", u_cut, 1, RETRY},
	{"U-01 half a record", u_cut, 10, RETRY},
	{"U-01 one octet too many", u_trailing, 1, RETRY},
	{"U-01 400 octets too many", u_trailing, 400, RETRY},
	{"U-01 a question", u_not_a_response, 0, RETRY},
	{"U-02 another id", u_other_id, 0, RETRY},
	{"U-02 another name", u_other_name, 0, RETRY},
	{"U-02 another case", u_other_case, 0, RETRY},
	{"U-02 another type", u_other_type, 0, RETRY},
	{"U-02 another class", u_other_class, 0, RETRY},
	{"U-03 no question", u_no_question, 0, RETRY},
	{"U-03 no question, SERVFAIL", u_no_question, 2, RETRY},
	{"U-04 two questions", u_two_questions, 0, RETRY},
	{"U-05 compressed owner", u_owner_pointer, 0, USABLE},
	{"U-06 opcode 1", u_opcode, 1, RETRY},
	{"U-06 opcode 15", u_opcode, 15, RETRY},
	{"U-07 FORMERR", u_rcode, 1, RETRY},
	{"U-07 SERVFAIL", u_rcode, 2, RETRY},
	{"U-07 NOTIMP", u_rcode, 4, RETRY},
	{"U-07 REFUSED", u_rcode, 5, RETRY},
	{"U-07 YXRRSET", u_rcode, 7, RETRY},
	{"U-07 NOTAUTH", u_rcode, 9, RETRY},
	{"U-07 rcode 11", u_rcode, 11, RETRY},
	{"U-07 rcode 15", u_rcode, 15, RETRY},
	{"U-07 FORMERR with OPT", u_rcode_opt, 1, RETRY},
	{"U-07 BADVERS", u_rcode_opt, 16, RETRY},
	{"U-07 BADCOOKIE", u_rcode_opt, 23, RETRY},
	{"U-07 rcode 4095", u_rcode_opt, 4095, RETRY},
	{"U-08 nothing, AA", u_empty, R_AA, USABLE},
	{"U-08 nothing", u_empty, 0, RETRY},
	{"U-11 more records announced", u_counts, 2, RETRY},
	{"U-11 65535 records announced", u_counts, 65535, RETRY},
	{"U-11 fewer records announced", u_counts, 0, RETRY},
	{"U-12 owner points to itself", u_owner_loop, 1, RETRY},
	{"U-12 loop of two", u_owner_loop, 2, RETRY},
	{"U-12 loop of three", u_owner_loop, 3, RETRY},
	{"U-12 forward pointer", u_owner_forward, 0, RETRY},
	{"U-12 pointer into the header", u_owner_header, 0, RETRY},
	{"U-12 200 hops", u_pointer_chain, 200, RETRY},
	{"U-12 label type 01", u_owner_label_type, 0x41, RETRY},
	{"U-12 label type 10", u_owner_label_type, 0x81, RETRY},
	{"U-13 name too long through pointers", u_owner_long, 0, RETRY},
	{"U-14 pointers in SRV", u_pointers_in_rdata, KNOT_RRTYPE_SRV, USABLE},
	{"U-14 pointers in NAPTR", u_pointers_in_rdata, KNOT_RRTYPE_NAPTR, USABLE},
	{"U-14 pointers in RRSIG", u_pointers_in_rdata, KNOT_RRTYPE_RRSIG, USABLE},
	{"U-14 pointers in DNAME", u_pointers_in_rdata, KNOT_RRTYPE_DNAME, USABLE},
	{"U-16 C-21 A of 3 octets", u_a_length, 3, RETRY},
	{"U-16 C-21 A of 5 octets", u_a_length, 5, RETRY},
	{"U-16 C-21 A of 8 octets", u_a_length, 8, RETRY},
	{"U-17 RDLENGTH past the end by one", u_rdlength_past_end, 5, RETRY},
	{"U-17 RDLENGTH 65535", u_rdlength_past_end, 65535, RETRY},
	{"U-18 target without end", u_cname_rdata, 0, RETRY},
	{"U-18 target shorter than RDATA", u_cname_rdata, 1, RETRY},
	{"U-18 half a pointer", u_cname_rdata, 2, RETRY},
	{"U-18 forward pointer", u_cname_rdata, 3, RETRY},
	{"U-18 empty CNAME", u_cname_rdata, 4, RETRY},
	{"U-18 label type 01", u_cname_rdata, 5, RETRY},
	{"U-19 empty SOA", u_soa_rdata, 0, RETRY},
	{"U-19 SOA of one name", u_soa_rdata, 1, RETRY},
	{"U-19 SOA, serial cut", u_soa_rdata, 5, RETRY},
	{"U-25 RRSIG garbage", u_dnssec_garbage, KNOT_RRTYPE_RRSIG, USABLE},
	{"U-23 NSEC3 garbage", u_dnssec_garbage, KNOT_RRTYPE_NSEC3, USABLE},
	{"U-22 NSEC garbage", u_dnssec_garbage, KNOT_RRTYPE_NSEC, USABLE},
	{"U-27 DNSKEY garbage", u_dnssec_garbage, KNOT_RRTYPE_DNSKEY, USABLE},
	{"U-28 DS garbage", u_dnssec_garbage, KNOT_RRTYPE_DS, USABLE},
	{"U-30 TTL 0", u_ttl, 0, USABLE},
	{"U-30 TTL 2^31-1", u_ttl, 0x7fffffff, USABLE},
	{"U-30 TTL 2^31", u_ttl, 0x80000000, USABLE},
	{"U-30 TTL 2^32-1", u_ttl, 0xffffffff, USABLE},
	{"U-32 one record 4000 times", u_same_record, 4000, USABLE},
	{"U-33 4000 records", u_too_many_records, 4000, RETRY},
	{"U-34 CNAME and data", u_alias_and_data, 0, RETRY},
	{"U-34 two CNAMEs", u_alias_and_data, 1, RETRY},
	{"U-35 two DNAMEs", u_alias_and_data, 2, RETRY},
	{"U-35 wrong synthesis", u_alias_and_data, 3, RETRY},
	{"U-35 DNAME at the name", u_dname_elsewhere, 0, RETRY},
	{"U-35 DNAME below", u_dname_elsewhere, 1, RETRY},
	{"U-35 DNAME at the root", u_dname_elsewhere, 2, RETRY},
	{"U-35 DNAME at the parent", u_dname_elsewhere, 3, RETRY},
	{"U-35 DNAME at a stranger", u_dname_elsewhere, 4, RETRY},
	{"U-36 a stranger's data", u_foreign_owner, 0, RETRY},
	{"U-36 the parent's data", u_foreign_owner, 1, RETRY},
	{"U-36 the root's data", u_foreign_owner, 2, RETRY},
	{"U-36 a child's data", u_foreign_owner, 3, RETRY},
	{"U-36 the apex's data", u_foreign_owner, 4, RETRY},
	{"U-39 class CH", u_class, 3, RETRY},
	{"U-39 class NONE", u_class, 254, RETRY},
	{"U-39 class ANY", u_class, 255, RETRY},
	{"U-40 OPT in ANSWER", u_opt_misplaced, 0, RETRY},
	{"U-40 two OPT", u_opt_misplaced, 1, RETRY},
	{"U-40 OPT not at the root", u_opt_misplaced, 2, RETRY},
	{"U-40 OPT version 3", u_opt_version, 3, USABLE},
	{"U-41 TSIG", u_tsig, KNOT_RRTYPE_TSIG, USABLE},
	{"U-41 SIG", u_tsig, KNOT_RRTYPE_SIG, USABLE},
	{"U-41 TKEY", u_tsig, KNOT_RRTYPE_TKEY, USABLE},
	{"U-42 TC with all data", u_truncated, 0, RETRY},
	{"U-42 TC with half a record", u_truncated, 3, RETRY},
	{"U-49 not authoritative", u_flags, 0, USABLE},
	{"U-49 RA, AD, CD", u_flags, R_AA | 0xb0, USABLE},
	{"U-50 referral to the same cut", u_referral, 0, RETRY},
	{"U-50 referral upwards", u_referral, 1, RETRY},
	{"U-50 referral to the root", u_referral, 2, RETRY},
	{"U-50 referral to a stranger", u_referral, 3, RETRY},
	{"U-50 referral sideways", u_referral, 4, RETRY},
	{"U-50 the own NS set for no data", u_referral, 8, USABLE},
	{"U-50 referral to the root, AA", u_referral, 10, RETRY},
	{"U-51 NODATA of the parent", u_nodata_of, 0, RETRY},
	{"U-51 NODATA of the root", u_nodata_of, 1, RETRY},
	{"U-51 NODATA of a stranger", u_nodata_of, 2, RETRY},
	{"U-51 NODATA of a child", u_nodata_of, 3, RETRY},
	{"U-51 NXDOMAIN of the parent", u_nodata_of, 8, RETRY},
	{"U-51 NXDOMAIN of a stranger", u_nodata_of, 10, RETRY},
	{"C-16 two SOA", u_two_soa, 0, RETRY},
	{"U-57 unknown type of 60000 octets", u_huge_unknown, 60000, USABLE},
	{"U-43 reply of 5000 octets", u_huge_unknown, 5000, USABLE},
};

/** Types whose RDATA may be cut too short: 1 to 65, and a few above. */
#define TYPES_MAX 65

/* ---- the world ---- */

enum when { ONCE, NOISE, ALWAYS };

struct plan {
	const struct row *row;
	enum when when;
	unsigned built;
	uint8_t noise[KR_DNS_WIRE_MAX];
};

static enum sim_reaction honest(struct rig_question *q)
{
	if (strcmp(q->server, EVIL) == 0)
		fail_msg("the attacker's server is asked for %s", q->name);
	if (strcmp(q->server, RIG_ROOT) == 0) {
		if (q_under(q, "tld."))
			return q_refer(q, "tld.", "ns.tld.", "192.0.2.2");
		return q_is(q, ".", KNOT_RRTYPE_NS) ? q_rcode(q, KNOT_RCODE_REFUSED)
						    : q_nxdomain(q, ".");
	}
	if (strcmp(q->server, "192.0.2.2") == 0) {
		if (!q_under(q, "vic.tld."))
			return q_nxdomain(q, "tld.");
		q_begin(q, 0);
		q_name(q, R_AUTHORITY, "vic.tld.", KNOT_RRTYPE_NS, "n1.vic.tld.");
		q_name(q, R_AUTHORITY, "vic.tld.", KNOT_RRTYPE_NS, "n2.vic.tld.");
		q_a(q, R_ADDITIONAL, "n1.vic.tld.", "192.0.2.21");
		q_a(q, R_ADDITIONAL, "n2.vic.tld.", "192.0.2.22");
		return SIM_REPLY;
	}
	return q_address(q, "vic.tld.", HONEST);
}

static enum sim_reaction serve(struct rig_question *q)
{
	struct plan *plan = (struct plan *)q->rig->server_data;
	const bool is_target = strncmp(q->server, "192.0.2.2", 9) == 0 &&
			       q_is(q, QNAME, KNOT_RRTYPE_A) && strcmp(q->server, "192.0.2.2") != 0;
	if (!is_target || (plan->when != ALWAYS && plan->built > 0))
		return honest(q);
	plan->built += 1;
	plan->row->build(q, plan->row->arg);
	if (plan->when != NOISE)
		return SIM_REPLY;
	memcpy(plan->noise, q->reply, q->len);
	q->arrival->noise = (struct bytes){plan->noise, q->len};
	q->arrival->noise_count = 50;
	return honest(q);
}

static int complaints;

/** All of them are told, not only the first. */
KR_PRINTF(1, 2)
static void complain(const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	printf("\n");
	complaints += 1;
}

static void play(const struct row *row, enum when when)
{
	static const char *const names[] = {"once", "as noise", "always"};
	struct plan *plan = calloc(1, sizeof(*plan));
	assert_non_null(plan);
	*plan = (struct plan){.row = row, .when = when};
	struct rig *rig = rig_open(serve, plan, false);
	const int rcode = rig_ask(
		rig, (struct rig_ask){.name = QNAME, .is_stream = true, .want_dnssec = true});
	if (plan->built == 0)
		complain("%s was not played", row->id);
	if (rcode < 0 || rig->took_ms > 8000 || rig_packets(rig, "") > KR_BUDGET_PACKETS_MAX)
		complain("%s %s: rcode %d after %u ms and %u packets", row->id, names[when], rcode,
			(unsigned)rig->took_ms, rig_packets(rig, ""));
	if (rig_answer_has_a(rig, EVIL))
		complain("%s %s: it was believed", row->id, names[when]);
	if (knot_wire_get_ad(rig->answer))
		complain("%s %s: AD is set", row->id, names[when]);
	if (row->outcome == RETRY && when != ALWAYS && !rig_answer_has_a(rig, HONEST))
		complain("%s %s: no honest answer, rcode %d", row->id, names[when], rcode);
	/* nothing of it stays */
	plan->when = ONCE;
	simnet_pass(&rig->net, 70000);
	rig_ask_a(rig, QNAME);
	if (!rig_answer_has_a(rig, HONEST))
		complain("%s %s: something stays", row->id, names[when]);
	rig_close(rig);
	free(plan);
}

static void play_all(enum when when)
{
	complaints = 0;
	for (size_t i = 0; i < KR_COUNT_OF(rows); ++i)
		play(&rows[i], when);
	assert_int_equal(complaints, 0);
}

static void once(void **state)
{
	play_all(ONCE);
}

static void as_noise_before_the_answer(void **state)
{
	play_all(NOISE);
}

static void for_ever(void **state)
{
	play_all(ALWAYS);
}

/** U-16, U-20, U-56: RDATA that is too short for its type. */
static void short_rdata_of_every_type(void **state)
{
	complaints = 0;
	for (unsigned type = 1; type <= TYPES_MAX + 10; ++type) {
		char id[32];
		const struct row row = {id, u_rdata_of_type,
			type <= TYPES_MAX ? type : 256 + type - TYPES_MAX, USABLE};
		if (row.arg == KNOT_RRTYPE_OPT)
			continue;
		snprintf(id, sizeof(id), "U-16 type %u", row.arg);
		play(&row, ONCE);
		play(&row, ALWAYS);
	}
	assert_int_equal(complaints, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(once),
		cmocka_unit_test(as_noise_before_the_answer),
		cmocka_unit_test(for_ever),
		cmocka_unit_test(short_rdata_of_every_type),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
