/* SPDX-License-Identifier: GPL-3.0-or-later */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include <libknot/packet/wire.h>
#include <libknot/rrtype/opt.h>

#include "tests/sim/house.h"

/** What a client sees. */
enum reaction {
	DROP,
	FE = KNOT_RCODE_FORMERR,
	NI = KNOT_RCODE_NOTIMPL,
	RF = KNOT_RCODE_REFUSED,
	BV = KNOT_RCODE_BADVERS,
	RESOLVE = 100,    /**< it becomes a request; on a dead network: SERVFAIL */
	ANY_ANSWER = 101, /**< FE or a request */
};

/** A message under construction. */
struct msg {
	uint8_t wire[KR_DNS_WIRE_MAX + 1];
	size_t len;
};

typedef void (*build_f)(struct msg *m, unsigned arg);

struct row {
	const char *id;
	build_f build;
	unsigned arg;
	enum reaction reaction;
	bool is_stream;
};

static void put(struct msg *m, const void *data, size_t len)
{
	memcpy(m->wire + m->len, data, len);
	m->len += len;
}

static void put_u16(struct msg *m, uint16_t value)
{
	knot_wire_write_u16(m->wire + m->len, value);
	m->len += 2;
}

static void header(
	struct msg *m, uint16_t flags, uint16_t qd, uint16_t an, uint16_t ns, uint16_t ar)
{
	put_u16(m, 0x4242);
	put_u16(m, flags);
	put_u16(m, qd);
	put_u16(m, an);
	put_u16(m, ns);
	put_u16(m, ar);
}

static void question(struct msg *m, uint16_t qtype, uint16_t qclass)
{
	put(m, "\3www\7example\3com", 17);
	put_u16(m, qtype);
	put_u16(m, qclass);
}

static void good(struct msg *m, uint16_t arcount)
{
	header(m, 0x0100, 1, 0, 0, arcount);
	question(m, KNOT_RRTYPE_A, KNOT_CLASS_IN);
}

static void opt_ttl(struct msg *m, uint16_t payload, uint32_t ttl, const void *options, size_t len)
{
	put(m, "", 1);
	put_u16(m, KNOT_RRTYPE_OPT);
	put_u16(m, payload);
	put_u16(m, ttl >> 16);
	put_u16(m, ttl & 0xffff);
	put_u16(m, len);
	put(m, options, len);
}

static void option(struct msg *m, uint16_t code, const void *data, size_t len)
{
	uint8_t buf[512] = {code >> 8, code & 0xff, len >> 8, len & 0xff};
	memcpy(buf + 4, data, len);
	good(m, 1);
	opt_ttl(m, 1232, 0, buf, 4 + len);
}

/* ---- header and question ---- */

static void b_empty(struct msg *m, unsigned len)
{
	memset(m->wire, 0, len);
	m->len = len;
}
static void b_header_only(struct msg *m, unsigned qd)
{
	header(m, 0x0100, qd, 0, 0, 0);
}
static void b_good(struct msg *m, unsigned arg)
{
	good(m, 0);
}
static void b_flags(struct msg *m, unsigned flags)
{
	header(m, flags, 1, 0, 0, 0);
	question(m, KNOT_RRTYPE_A, KNOT_CLASS_IN);
}
static void b_two_questions(struct msg *m, unsigned qtype)
{
	header(m, 0x0100, 2, 0, 0, 0);
	question(m, KNOT_RRTYPE_A, KNOT_CLASS_IN);
	question(m, qtype, KNOT_CLASS_IN);
}
static void b_cut(struct msg *m, unsigned octets)
{
	good(m, 0);
	m->len -= octets;
}
static void b_name_unterminated(struct msg *m, unsigned arg)
{
	header(m, 0x0100, 1, 0, 0, 0);
	put(m, "\3www\7example", 12);
}
static void b_name_long(struct msg *m, unsigned octets)
{
	header(m, 0x0100, 1, 0, 0, 0);
	unsigned left = octets - 1;
	for (; left > 0;) {
		unsigned label = KR_MIN(left - 1, 63u);
		if (left - 1 - label == 1) /* no room for a label of one more octet */
			label -= 1;
		m->wire[m->len++] = label;
		memset(m->wire + m->len, 'a', label);
		m->len += label;
		left -= label + 1;
	}
	m->wire[m->len++] = 0;
	put_u16(m, KNOT_RRTYPE_A);
	put_u16(m, KNOT_CLASS_IN);
}
static void b_name_deep(struct msg *m, unsigned labels)
{
	header(m, 0x0100, 1, 0, 0, 0);
	for (unsigned i = 0; i < labels; ++i)
		put(m, "\1a", 2);
	put(m, "", 1);
	put_u16(m, KNOT_RRTYPE_A);
	put_u16(m, KNOT_CLASS_IN);
}
static void b_label(struct msg *m, unsigned length_octet)
{
	good(m, 0);
	m->wire[12] = length_octet;
}
static void b_pointer(struct msg *m, unsigned target)
{
	header(m, 0x0100, 1, 0, 0, 0);
	put_u16(m, 0xc000 | target);
	put_u16(m, KNOT_RRTYPE_A);
	put_u16(m, KNOT_CLASS_IN);
	put(m, "\3www\7example\3com", 17);
}
static void b_class(struct msg *m, unsigned qclass)
{
	header(m, 0x0100, 1, 0, 0, 0);
	question(m, KNOT_RRTYPE_A, qclass);
}
static void b_type(struct msg *m, unsigned qtype)
{
	header(m, 0x0100, 1, 0, 0, 0);
	question(m, qtype, KNOT_CLASS_IN);
}
static void b_odd_octets(struct msg *m, unsigned arg)
{
	header(m, 0x0100, 1, 0, 0, 0);
	put(m, "\4\0.\xffZ\3cOm", 10);
	put_u16(m, KNOT_RRTYPE_A);
	put_u16(m, KNOT_CLASS_IN);
}

/* ---- records ---- */

static void rr_a(struct msg *m)
{
	put(m, "\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\xc0\0\2\1", 16);
}
static void b_record(struct msg *m, unsigned section)
{
	header(m, 0x0100, 1, section == 1, section == 2, section == 3);
	question(m, KNOT_RRTYPE_A, KNOT_CLASS_IN);
	rr_a(m);
}
static void b_record_missing(struct msg *m, unsigned section)
{
	b_record(m, section);
	m->len -= 16;
}
static void b_arcount(struct msg *m, unsigned count)
{
	good(m, count);
	opt_ttl(m, 1232, 0, "", 0);
}
static void b_trailing(struct msg *m, unsigned octets)
{
	good(m, 0);
	memset(m->wire + m->len, 0, octets);
	m->len += octets;
}
static void b_tsig(struct msg *m, unsigned arg)
{
	good(m, 1);
	put(m, "\3key\0\0\xfa\0\xff\0\0\0\0\0\4bad!", 19);
}

/* ---- EDNS ---- */

static void b_two_opts(struct msg *m, unsigned arg)
{
	good(m, 2);
	opt_ttl(m, 1232, 0, "", 0);
	opt_ttl(m, 1232, 0, "", 0);
}
static void b_opt_owner(struct msg *m, unsigned arg)
{
	good(m, 1);
	put(m, "\3com\0\0\x29\4\xd0\0\0\0\0\0\0", 15);
}
static void b_opt_in_answer(struct msg *m, unsigned arg)
{
	header(m, 0x0100, 1, 1, 0, 0);
	question(m, KNOT_RRTYPE_A, KNOT_CLASS_IN);
	opt_ttl(m, 1232, 0, "", 0);
}
static void b_opt_rdlength(struct msg *m, unsigned rdlength)
{
	good(m, 1);
	opt_ttl(m, 1232, 0, "\0\3\0\0", 4);
	knot_wire_write_u16(m->wire + m->len - 6, rdlength);
}
static void b_option_length(struct msg *m, unsigned length)
{
	good(m, 1);
	const uint8_t data[6] = {0, 3, length >> 8, length & 0xff, 1, 2};
	opt_ttl(m, 1232, 0, data, sizeof(data));
}
static void b_many_options(struct msg *m, unsigned count)
{
	static uint8_t data[4 * 16000];
	for (unsigned i = 0; i < count; ++i)
		memcpy(data + 4 * i, "\xfd\xe9\0\0", 4);
	good(m, 1);
	opt_ttl(m, 1232, 0, data, 4 * count);
}
static void b_version(struct msg *m, unsigned version)
{
	good(m, 1);
	opt_ttl(m, 1232, version << 16, "", 0);
}
static void b_payload(struct msg *m, unsigned payload)
{
	good(m, 1);
	opt_ttl(m, payload, 0, "", 0);
}
static void b_edns_flags(struct msg *m, unsigned flags)
{
	good(m, 1);
	opt_ttl(m, 1232, flags, "", 0);
}
static void b_ext_rcode(struct msg *m, unsigned rcode)
{
	good(m, 1);
	opt_ttl(m, 1232, rcode << 24, "", 0);
}
static void b_cookie(struct msg *m, unsigned len)
{
	option(m, KNOT_EDNS_OPTION_COOKIE, "0123456789abcdef0123456789abcdef012345678", len);
}
static void b_keepalive(struct msg *m, unsigned len)
{
	option(m, KNOT_EDNS_OPTION_TCP_KEEPALIVE, "\0\1", len);
}
static void b_odd_option(struct msg *m, unsigned code)
{
	option(m, code, "abc", 3);
}
static void b_padding(struct msg *m, unsigned len)
{
	static uint8_t data[65100];
	knot_wire_write_u16(data, KNOT_EDNS_OPTION_PADDING);
	knot_wire_write_u16(data + 2, len);
	good(m, 1);
	opt_ttl(m, 1232, 0, data, 4 + len);
}

struct subnet {
	uint8_t data[8];
	size_t len;
};
static const struct subnet subnets[] = {
	{{0, 0, 24, 0, 192, 0, 2}, 7},    /* no family */
	{{0, 3, 24, 0, 192, 0, 2}, 7},    /* unknown family */
	{{0, 1, 33, 0, 192, 0, 2, 1}, 8}, /* too long a prefix */
	{{0, 1, 20, 0, 192, 0, 2}, 7},    /* host bits set: .2 under /20 */
	{{0, 1, 24, 8, 192, 0, 2}, 7},    /* scope in a query */
	{{0, 1, 24}, 3},                  /* cut */
	{{0, 1, 24, 0, 192, 0}, 6},       /* address shorter than the prefix */
	{{0, 1, 24, 0, 192, 0, 2}, 7},    /* good */
	{{0, 1, 0, 0}, 4},                /* good: do not tell */
};
static void b_subnet(struct msg *m, unsigned i)
{
	option(m, KNOT_EDNS_OPTION_CLIENT_SUBNET, subnets[i].data, subnets[i].len);
}

/** The catalogue of bad input, client messages; reactions are the contract. */
static const struct row rows[] = {
	{"I-01 empty", b_empty, 0, DROP},
	{"I-02 1 octet", b_empty, 1, DROP},
	{"I-02 11 octets", b_empty, 11, DROP},
	{"I-03 header only", b_header_only, 0, FE},
	{"I-04 QR", b_flags, 0x8100, DROP},
	{"I-05 two equal questions", b_two_questions, KNOT_RRTYPE_A, FE},
	{"I-06 two questions", b_two_questions, KNOT_RRTYPE_AAAA, FE},
	{"I-07 65535 questions", b_header_only, 65535, FE},
	{"I-08 question missing", b_header_only, 1, FE},
	{"I-09 name not terminated", b_name_unterminated, 0, FE},
	{"I-10 name of 256", b_name_long, 256, FE},
	{"I-11 name of 255", b_name_long, 255, RESOLVE},
	{"I-11 127 labels", b_name_deep, 127, RESOLVE},
	{"I-12 label type 01", b_label, 64, FE},
	{"I-12 label type 10", b_label, 0x80, FE},
	{"I-12 label 191", b_label, 191, FE},
	{"I-13 pointer to itself", b_pointer, 12, FE},
	{"I-14 pointer forward", b_pointer, 18, FE},
	{"I-14 pointer past the end", b_pointer, 500, FE},
	{"I-15 pointer into the header", b_pointer, 4, FE},
	{"I-16 pointer to later octets", b_pointer, 20, FE},
	{"I-17 cut by 1", b_cut, 1, FE},
	{"I-17 cut by 2", b_cut, 2, FE},
	{"I-17 cut by 3", b_cut, 3, FE},
	{"I-18 class 0", b_class, 0, NI},
	{"I-18 class ANY", b_class, KNOT_CLASS_ANY, NI},
	{"I-18 class NONE", b_class, KNOT_CLASS_NONE, NI},
	{"I-18 class CH", b_class, KNOT_CLASS_CH, RF},
	{"I-18 class HS", b_class, 4, NI},
	{"I-18 class 65535", b_class, 65535, NI},
	{"I-19 type 0", b_type, 0, FE},
	{"I-19 type OPT", b_type, 41, FE},
	{"I-19 type 128", b_type, 128, FE},
	{"I-19 type TKEY", b_type, 249, NI},
	{"I-19 type TSIG", b_type, 250, NI},
	{"I-19 type IXFR", b_type, 251, RF},
	{"I-19 type AXFR", b_type, 252, RF},
	{"I-19 type MAILA", b_type, 254, NI},
	{"I-20 type 65280", b_type, 65280, RESOLVE},
	{"I-20 type 65535", b_type, 65535, RESOLVE},
	{"I-21 record in ANSWER", b_record, 1, RESOLVE},
	{"I-21 record missing in ANSWER", b_record_missing, 1, FE},
	{"I-22 record in AUTHORITY", b_record, 2, RESOLVE},
	{"I-22 record missing in AUTHORITY", b_record_missing, 2, FE},
	{"I-23 65535 additional records, one there", b_arcount, 65535, FE},
	{"I-24 1 octet behind", b_trailing, 1, FE},
	{"I-24 400 octets behind", b_trailing, 400, FE},
	{"I-25 two OPT", b_two_opts, 0, FE},
	{"I-26 OPT below com", b_opt_owner, 0, FE},
	{"I-26 OPT in ANSWER", b_opt_in_answer, 0, FE},
	{"I-27 OPT longer than the message", b_opt_rdlength, 5, FE},
	{"I-27 OPT shorter than its option", b_opt_rdlength, 3, FE},
	{"I-28 option of 65535", b_option_length, 65535, FE},
	{"I-28 option of 3 in 2", b_option_length, 3, FE},
	{"I-29 16000 options", b_many_options, 16000, FE, true},
	{"I-29 32 options", b_many_options, 32, RESOLVE},
	{"I-30 EDNS version 1", b_version, 1, BV},
	{"I-30 EDNS version 255", b_version, 255, BV},
	{"I-31 payload 0", b_payload, 0, RESOLVE},
	{"I-31 payload 1", b_payload, 1, RESOLVE},
	{"I-31 payload 511", b_payload, 511, RESOLVE},
	{"I-31 payload 65535", b_payload, 65535, RESOLVE},
	{"I-32 DO and all Z bits", b_edns_flags, 0xffff, RESOLVE},
	{"I-33 extended rcode", b_ext_rcode, 255, RESOLVE},
	{"I-34 cookie of 0", b_cookie, 0, FE},
	{"I-34 cookie of 1", b_cookie, 1, FE},
	{"I-34 cookie of 7", b_cookie, 7, FE},
	{"I-34 cookie of 9", b_cookie, 9, FE},
	{"I-34 cookie of 15", b_cookie, 15, FE},
	{"I-34 cookie of 33 is legal", b_cookie, 33, RESOLVE},
	{"I-34 cookie of 41", b_cookie, 41, FE},
	{"I-35 cookie of 8", b_cookie, 8, RESOLVE},
	{"I-35 cookie of 24", b_cookie, 24, RESOLVE},
	{"I-36 subnet without family", b_subnet, 0, FE},
	{"I-36 subnet of unknown family", b_subnet, 1, FE},
	{"I-36 subnet prefix too long", b_subnet, 2, FE},
	{"I-36 subnet with host bits", b_subnet, 3, FE},
	{"I-36 subnet with scope", b_subnet, 4, FE},
	{"I-36 subnet cut", b_subnet, 5, FE},
	{"I-36 subnet address short", b_subnet, 6, FE},
	{"I-36 subnet good", b_subnet, 7, RESOLVE},
	{"I-36 subnet of nobody", b_subnet, 8, RESOLVE},
	{"I-37 keepalive over UDP", b_keepalive, 0, RESOLVE},
	{"I-37 keepalive with data over UDP", b_keepalive, 2, RESOLVE},
	{"I-37 keepalive over TCP", b_keepalive, 0, RESOLVE, true},
	{"I-37 keepalive with data over TCP", b_keepalive, 2, FE, true},
	{"I-38 padding of 65000", b_padding, 65000, RESOLVE, true},
	{"I-39 odd NSID", b_odd_option, 3, RESOLVE},
	{"I-39 odd DAU", b_odd_option, 5, RESOLVE},
	{"I-39 odd DHU", b_odd_option, 6, RESOLVE},
	{"I-39 odd N3U", b_odd_option, 7, RESOLVE},
	{"I-39 odd CHAIN", b_odd_option, 13, RESOLVE},
	{"I-39 odd KEY-TAG", b_odd_option, 14, RESOLVE},
	{"I-39 odd EDE", b_odd_option, 15, RESOLVE},
	{"I-39 odd REPORT-CHANNEL", b_odd_option, 18, RESOLVE},
	{"I-40 opcode 1", b_flags, 0x0900, NI},
	{"I-40 opcode STATUS", b_flags, 0x1100, NI},
	{"I-40 opcode 3", b_flags, 0x1900, NI},
	{"I-40 opcode NOTIFY", b_flags, 0x2100, NI},
	{"I-40 opcode UPDATE", b_flags, 0x2900, NI},
	{"I-40 opcode DSO", b_flags, 0x3100, NI},
	{"I-40 opcode 15", b_flags, 0x7900, NI},
	{"I-43 malformed TSIG", b_tsig, 0, ANY_ANSWER},
	{"I-44 odd octets in the name", b_odd_octets, 0, RESOLVE},
	{"I-47 65535 octets", b_trailing, 65502, FE, true},
	{"I-58 65507 octets", b_trailing, 65474, FE},
	{"good", b_good, 0, RESOLVE},
	{"good over TCP", b_good, 0, RESOLVE, true},
};

/* ---- the resolver on a dead network ---- */

struct place {
	struct rpl_scenario sc;
	struct rpl_option options[1];
	struct simnet net;
	struct house *house;
	struct worker_ctx *worker;
	struct worker_client client;
	char dir[32];
	int answers, silences;
	uint8_t answer[KR_DNS_WIRE_MAX];
	size_t answer_len;
	struct msg msg;
};

static void take(struct worker_client *client, const struct worker_query *q, struct bytes wire,
	const struct kr_request *req)
{
	struct place *place = (struct place *)((char *)client - offsetof(struct place, client));
	if (!wire.at) {
		place->silences += 1;
		return;
	}
	place->answers += 1;
	place->answer_len = wire.len;
	memcpy(place->answer, wire.at, wire.len);
}

static enum sim_reaction dead(void *owner, struct sim_arrival *arrival)
{
	return SIM_SILENCE;
}

static bool refuses(void *owner, const union kr_sockaddr *addr)
{
	return false;
}

static int setup(void **state)
{
	struct place *place = calloc(1, sizeof(*place));
	struct rpl_error error = {""};
	strcpy(place->dir, "/tmp/kres-msg-XXXXXX");
	assert_non_null(mkdtemp(place->dir));
	place->options[0] = (struct rpl_option){"stub-addr", "192.0.2.53", 0};
	place->sc.options.at = (void *)place->options;
	place->sc.options.len = 1;
	simnet_init(&place->net, 3, 1700000000);
	place->net.server = dead;
	place->net.accepts = refuses;
	place->net.owner = place;
	place->client.answer = take;
	const struct house_params params = {.scenario = &place->sc,
		.net = &place->net,
		.cache_dir = place->dir,
		.minimize = true};
	place->house = house_open(&params, &error);
	if (!place->house)
		fail_msg("%s", error.text);
	place->worker = house_worker(place->house);
	*state = place;
	return 0;
}

static int teardown(void **state)
{
	struct place *place = *state;
	house_close(place->house);
	assert_int_equal(place->net.open, 0);
	assert_int_equal(place->net.timers, 0);
	assert_int_equal(place->client.in_flight, 0);
	simnet_deinit(&place->net);
	char path[64];
	static const char *const files[] = {"data.mdb", "lock.mdb", "krcachelock"};
	for (size_t i = 0; i < KR_COUNT_OF(files); ++i) {
		snprintf(path, sizeof(path), "%s/%s", place->dir, files[i]);
		unlink(path);
	}
	rmdir(place->dir);
	free(place);
	return 0;
}

static int submit_from(struct place *place, const char *from, uint16_t port, bool is_stream)
{
	struct sockaddr *client = kr_straddr_socket(from, port, NULL);
	struct sockaddr *server = kr_straddr_socket("192.0.2.99", 53, NULL);
	const struct worker_query query = {
		.wire = {place->msg.wire, place->msg.len},
		.addr = client,
		.dst_addr = server,
		.flags.tcp = is_stream,
		.comm_flags.tcp = is_stream,
		.stream_id = -1,
	};
	place->answers = place->silences = 0;
	place->answer_len = 0;
	int ret = worker_submit(place->worker, &place->client, &query);
	worker_loop_end(place->worker);
	free(client);
	free(server);
	return ret;
}

static uint16_t rcode_of(const struct place *place)
{
	knot_pkt_t *pkt = knot_pkt_new((void *)place->answer, place->answer_len, NULL);
	assert_int_equal(knot_pkt_parse(pkt, KNOT_PF_KEEPWIRE), 0);
	const uint16_t rcode = knot_pkt_ext_rcode(pkt);
	knot_pkt_free(pkt);
	return rcode;
}

/** Early refusals: id and opcode echoed, QR set, no state left, nothing asked of anybody. */
static void check_refusal(struct place *place, const struct row *row)
{
	if (place->answers != 1)
		fail_msg("%s: %d answers", row->id, place->answers);
	if (rcode_of(place) != row->reaction)
		fail_msg("%s: rcode %d instead of %d", row->id, rcode_of(place), row->reaction);
	assert_memory_equal(place->answer, place->msg.wire, 2);
	assert_true(knot_wire_get_qr(place->answer));
	assert_int_equal(
		knot_wire_get_opcode(place->answer), knot_wire_get_opcode(place->msg.wire));
	assert_int_equal(knot_wire_get_ancount(place->answer), 0);
	assert_true(place->answer_len <= place->msg.len + KNOT_EDNS_MIN_SIZE);
}

static void play(struct place *place, const struct row *row)
{
	const size_t queries = place->worker->stats.queries;
	const uint64_t sent = place->net.sent;
	place->msg.len = 0;
	row->build(&place->msg, row->arg);
	const int ret = submit_from(place, "192.0.2.7", 40000, row->is_stream);
	const bool became_request = place->worker->stats.queries > queries;
	switch (row->reaction) {
	case DROP:
		if (ret != kr_error(EBADMSG) || place->answers > 0 || became_request)
			fail_msg("%s: not dropped", row->id);
		break;
	case RESOLVE:
		if (!became_request)
			fail_msg("%s: refused with %d", row->id,
				place->answer_len ? rcode_of(place) : -1);
		break;
	case ANY_ANSWER:
		if (!became_request && place->answers != 1)
			fail_msg("%s: neither answered nor resolved", row->id);
		break;
	default:
		if (became_request)
			fail_msg("%s: taken for a good question", row->id);
		check_refusal(place, row);
		assert_int_equal(place->net.sent, sent);
		break;
	}
	simnet_pass(&place->net, 10000);
	if (place->worker->stats.concurrent != 0)
		fail_msg("%s: a request does not end", row->id);
	if (became_request && row->is_stream && (place->answers != 1 || place->silences != 0))
		fail_msg("%s: %d answers, %d silences", row->id, place->answers, place->silences);
}

static void catalogue(void **state)
{
	for (size_t i = 0; i < KR_COUNT_OF(rows); ++i)
		play(*state, &rows[i]);
}

/** I-41: no combination of flags is anything but answered, and Z is never echoed. */
static void every_flag(void **state)
{
	struct place *place = *state;
	for (unsigned flags = 0; flags < 2048; ++flags) {
		/* AA TC RD RA Z AD CD and rcode, spread over the header word */
		const uint16_t word = ((flags >> 8) & 7) << 8 | (flags & 0xff);
		const struct row row = {"I-41", b_flags, word, RESOLVE, true};
		play(place, &row);
		assert_false(knot_wire_get_z(place->answer));
		assert_int_equal(!!knot_wire_get_rd(place->answer), !!(word & 0x0100));
	}
}

/** I-45, I-46. */
static void impossible_sources(void **state)
{
	static const struct {
		const char *addr;
		uint16_t port;
		bool is_dropped;
	} sources[] = {
		{"192.0.2.7", 0, true},
		{"192.0.2.7", 7, true},
		{"192.0.2.7", 19, true},
		{"192.0.2.7", 53, false},
		{"224.0.0.1", 40000, true},
		{"255.255.255.255", 40000, true},
		{"ff02::1", 40000, true},
		{"192.0.2.99", 53, true},
		{"192.0.2.99", 40000, false},
	};
	struct place *place = *state;
	for (size_t i = 0; i < KR_COUNT_OF(sources); ++i) {
		place->msg.len = 0;
		b_header_only(&place->msg, 0);
		const int ret = submit_from(place, sources[i].addr, sources[i].port, false);
		if ((ret == kr_error(EBADMSG)) != sources[i].is_dropped ||
			(place->answers == 0) != sources[i].is_dropped)
			fail_msg("source %s#%d", sources[i].addr, sources[i].port);
	}
}

/** B-35 and A-14: one prefix has a bounded number of questions pending, and of answers in a pulse.
 */
static void one_client_is_bounded(void **state)
{
	struct place *place = *state;
	for (unsigned i = 0; i < 2000; ++i) {
		place->msg.len = 0;
		good(&place->msg, 0);
		memcpy(place->msg.wire + 13,
			&(char[]){'a' + i % 26, 'a' + i / 26 % 26, 'a' + i / 676}, 3);
		char from[32];
		snprintf(from, sizeof(from), "2001:db8:0:1%02x::%x", i & 0xff, i);
		submit_from(place, from, 40000, false);
	}
	assert_int_equal(place->worker->stats.rconcurrent, WORKER_CLIENT_UDP_MAX);
	assert_true(place->worker->stats.refused_full > 0);
	place->msg.len = 0;
	good(&place->msg, 0);
	assert_int_equal(submit_from(place, "192.0.2.7", 40000, false), 0); /* others are served */
}

/** B-37, I-48: the same question a thousand times. */
static void same_question_is_bounded(void **state)
{
	struct place *place = *state;
	place->msg.len = 0;
	good(&place->msg, 0);
	const uint64_t sent = place->net.sent;
	for (unsigned i = 0; i < 1000; ++i) {
		char from[32];
		snprintf(from, sizeof(from), "10.%u.%u.1", i / 250, i % 250);
		submit_from(place, from, 40000, false);
	}
	assert_int_equal(place->worker->stats.rconcurrent, WORKER_JOINED_MAX);
	assert_int_equal(place->net.sent - sent, 1);
}

/** B-37, A-09: a full house makes room for the newcomer, at the cost of who is there longest. */
static void full_house_gives_way_to_the_new(void **state)
{
	struct place *place = *state;
	for (unsigned i = 0; i < WORKER_REQUESTS_MAX + 50; ++i) {
		place->msg.len = 0;
		good(&place->msg, 0);
		memcpy(place->msg.wire + 13,
			&(char[]){'a' + i % 26, 'a' + i / 26 % 26, 'a' + i / 676}, 3);
		char from[32];
		snprintf(from, sizeof(from), "10.%u.%u.1", i / 250, i % 250);
		submit_from(place, from, 40000, false);
		if (i % 64 == 0)
			simnet_pass(&place->net, 1);
	}
	assert_true(place->worker->stats.concurrent <= WORKER_REQUESTS_MAX);
	place->msg.len = 0;
	good(&place->msg, 0);
	simnet_pass(&place->net, 300);
	assert_int_equal(submit_from(place, "192.0.2.7", 40000, false), 0);
}

/** Whoever goes away hears nothing more, and nothing breaks. */
static void client_goes_away(void **state)
{
	struct place *place = *state;
	place->msg.len = 0;
	good(&place->msg, 0);
	assert_int_equal(submit_from(place, "192.0.2.7", 40000, true), 0);
	assert_int_equal(worker_pending(place->worker), 1);
	worker_client_gone(place->worker, &place->client);
	assert_int_equal(worker_pending(place->worker), 0);
	simnet_pass(&place->net, 10000);
	assert_int_equal(place->answers, 0);
	assert_int_equal(place->worker->stats.concurrent, 0);
}

/** The end in the middle of work. */
static void closing_with_requests_in_flight(void **state)
{
	struct place *place = *state;
	place->msg.len = 0;
	good(&place->msg, 0);
	submit_from(place, "192.0.2.7", 40000, true);
	knot_pkt_t *pkt =
		worker_resolve_mk_pkt("example.net", KNOT_RRTYPE_AAAA, KNOT_CLASS_IN, NULL);
	assert_non_null(pkt);
	assert_true(knot_wire_get_rd(pkt->wire) && knot_wire_get_ad(pkt->wire) && pkt->opt_rr);
	struct qr_task *task = worker_resolve_start(pkt, (struct kr_qflags){0});
	assert_non_null(task);
	assert_true(worker_task_request(task)->uid >= 65536);
	assert_null(worker_task_request(task)->qsource.addr);
	assert_int_equal(worker_resolve_exec(task, pkt), 0);
	knot_pkt_free(pkt);
	assert_int_equal(place->worker->stats.concurrent, 2);
	assert_int_equal(place->worker->stats.rconcurrent, 1);
}

static void internal_query_needs_a_name(void **state)
{
	assert_null(worker_resolve_mk_pkt("a..b", KNOT_RRTYPE_A, KNOT_CLASS_IN, NULL));
	assert_null(worker_resolve_mk_pkt(NULL, KNOT_RRTYPE_A, KNOT_CLASS_IN, NULL));
	assert_null(worker_resolve_start(NULL, (struct kr_qflags){0}));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(catalogue),
		TEST(every_flag),
		TEST(impossible_sources),
		TEST(one_client_is_bounded),
		TEST(same_question_is_bounded),
		TEST(full_house_gives_way_to_the_new),
		TEST(client_goes_away),
		TEST(closing_with_requests_in_flight),
		TEST(internal_query_needs_a_name),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
