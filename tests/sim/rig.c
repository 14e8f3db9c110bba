/* SPDX-License-Identifier: GPL-3.0-or-later */

#include "tests/sim/rig.h"
#include "lib/log.h"

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <arpa/inet.h>
#include <cmocka.h>
#include <libknot/packet/pkt.h>
#include <libknot/packet/wire.h>
#include <libknot/rrtype/opt.h>

#define TTL_S 3600
#define QR 0x8000

/* ---- servers ---- */

static struct rig_count *count_of(struct rig *rig, const char *server)
{
	for (size_t i = 0; i < rig->counts_len; ++i) {
		if (strcmp(rig->counts[i].server, server) == 0)
			return &rig->counts[i];
	}
	/* the last one stands for all that have no place of their own */
	struct rig_count *count = &rig->counts[KR_MIN(rig->counts_len, RIG_ADDRS_MAX - 1u)];
	if (rig->counts_len < RIG_ADDRS_MAX) {
		rig->counts_len += 1;
		strcpy(count->server, server);
	}
	return count;
}

static void read_question(struct rig_question *q)
{
	const struct bytes query = q->arrival->query;
	knot_pkt_t *pkt = knot_pkt_new((void *)query.at, query.len, NULL);
	assert_non_null(pkt);
	assert_int_equal(knot_pkt_parse(pkt, KNOT_PF_KEEPWIRE), 0);
	knot_dname_to_str(q->name, knot_pkt_wire_qname(pkt), sizeof(q->name));
	for (char *c = q->name; *c; ++c)
		*c = tolower((unsigned char)*c);
	q->type = knot_pkt_qtype(pkt);
	q->has_edns = pkt->opt_rr != NULL;
	knot_pkt_free(pkt);
}

static enum sim_reaction serve(void *owner, struct sim_arrival *arrival)
{
	struct rig *rig = owner;
	struct rig_question q = {
		.rig = rig,
		.arrival = arrival,
		.is_stream = arrival->is_stream,
		.reply = arrival->reply,
	};
	const struct sockaddr *addr = &arrival->server->ip;
	inet_ntop(addr->sa_family, kr_inaddr(addr), q.server, sizeof(q.server));
	read_question(&q);
	struct rig_count *count = count_of(rig, q.server);
	count->datagrams += !q.is_stream;
	count->stream_queries += q.is_stream;
	const enum sim_reaction reaction = rig->server(&q);
	if (getenv("RIG_TRACE"))
		printf("%6u ms %s %s %s %u -> %d, %zu octets\n", (unsigned)rig->net.now_ms,
			q.server, q.is_stream ? "stream" : "datagram", q.name, q.type, reaction,
			q.len);
	arrival->reply_len = q.len;
	return reaction;
}

static bool accepts(void *owner, const union kr_sockaddr *server)
{
	struct rig *rig = owner;
	rig->connects += 1;
	return !rig->refuses_streams;
}

/* ---- the client ---- */

static void take(struct worker_client *client, const struct worker_query *query, struct bytes wire,
	const struct kr_request *req)
{
	struct rig *rig = (struct rig *)((char *)client - offsetof(struct rig, client));
	rig->answers += 1;
	rig->answer_len = wire.at ? wire.len : 0;
	if (wire.at)
		memcpy(rig->answer, wire.at, wire.len);
}

static size_t write_query(struct rig *rig, const struct rig_ask *ask, uint8_t *wire)
{
	memset(wire, 0, KNOT_WIRE_HEADER_SIZE);
	knot_wire_set_id(wire, simnet_random(&rig->net, UINT16_MAX));
	knot_wire_set_rd(wire);
	if (ask->cd)
		knot_wire_set_cd(wire);
	knot_wire_set_qdcount(wire, 1);
	size_t len = KNOT_WIRE_HEADER_SIZE;
	assert_non_null(knot_dname_from_str(wire + len, ask->name, KNOT_DNAME_MAXLEN));
	len += knot_dname_size(wire + len);
	knot_wire_write_u16(wire + len, ask->type ? ask->type : KNOT_RRTYPE_A);
	knot_wire_write_u16(wire + len + 2, KNOT_CLASS_IN);
	len += 4;
	if (!ask->no_edns) {
		const uint8_t opt[] = {
			0, 0, KNOT_RRTYPE_OPT, 4, 0xd0, 0, 0, ask->want_dnssec ? 0x80 : 0, 0, 0, 0};
		knot_wire_set_arcount(wire, 1);
		memcpy(wire + len, opt, sizeof(opt));
		len += sizeof(opt);
	}
	return len;
}

int rig_submit(struct rig *rig, struct rig_ask ask, unsigned client)
{
	uint8_t wire[512];
	union kr_sockaddr from = {0}, to = {0};
	from.ip4 = (struct sockaddr_in){.sin_family = AF_INET,
		.sin_port = htons(40000),
		.sin_addr.s_addr = htonl(0x0a000001 + client * 256)};
	to.ip4 = (struct sockaddr_in){.sin_family = AF_INET,
		.sin_port = htons(KR_DNS_PORT),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	const struct worker_query query = {
		.wire = {wire, write_query(rig, &ask, wire)},
		.addr = &from.ip,
		.dst_addr = &to.ip,
		.flags.tcp = ask.is_stream,
		.comm_flags.tcp = ask.is_stream,
		.stream_id = -1,
	};
	int ret = worker_submit(rig->worker, &rig->client, &query);
	worker_loop_end(rig->worker);
	return ret;
}

static bool is_over(void *owner)
{
	return ((struct rig *)owner)->answers > 0;
}

int rig_ask(struct rig *rig, struct rig_ask ask)
{
	rig->answers = 0;
	rig->answer_len = 0;
	const uint64_t asked_ms = rig->net.now_ms;
	rig_submit(rig, ask, 0);
	simnet_run(&rig->net, asked_ms + 30000, is_over, rig);
	rig->took_ms = rig->net.now_ms - asked_ms;
	assert_true(rig->answers <= 1);
	return rig->answer_len > 0 ? knot_wire_get_rcode(rig->answer) : -1;
}

int rig_ask_a(struct rig *rig, const char *name)
{
	return rig_ask(rig, (struct rig_ask){.name = name, .is_stream = true});
}

unsigned rig_packets(const struct rig *rig, const char *server_prefix)
{
	unsigned sum = 0;
	for (size_t i = 0; i < rig->counts_len; ++i) {
		const struct rig_count *count = &rig->counts[i];
		if (strncmp(count->server, server_prefix, strlen(server_prefix)) == 0)
			sum += count->datagrams + count->stream_queries;
	}
	return server_prefix[0] ? sum : sum + rig->connects;
}

void rig_reset_counts(struct rig *rig)
{
	rig->counts_len = 0;
	memset(rig->counts, 0, sizeof(rig->counts));
	rig->connects = 0;
}

/** Call `visit` on each record of ANSWER until it says true. */
static bool any_answer(const struct rig *rig,
	bool (*visit)(const knot_rrset_t *rr, const void *data), const void *data)
{
	knot_pkt_t *pkt = knot_pkt_new((void *)rig->answer, rig->answer_len, NULL);
	assert_int_equal(knot_pkt_parse(pkt, KNOT_PF_KEEPWIRE), 0);
	const knot_pktsection_t *section = knot_pkt_section(pkt, KNOT_ANSWER);
	bool is_found = false;
	for (unsigned i = 0; i < section->count && !is_found; ++i)
		is_found = visit(knot_pkt_rr(section, i), data);
	knot_pkt_free(pkt);
	return is_found;
}

static bool is_address(const knot_rrset_t *rr, const void *addr)
{
	return rr->type == KNOT_RRTYPE_A && memcmp(rr->rrs.rdata->data, addr, 4) == 0;
}

bool rig_answer_has_a(const struct rig *rig, const char *addr)
{
	uint8_t raw[4];
	assert_int_equal(inet_pton(AF_INET, addr, raw), 1);
	return rig->answer_len > 0 && any_answer(rig, is_address, raw);
}

struct type_count {
	uint16_t type;
	unsigned *count;
};

static bool add_if_type(const knot_rrset_t *rr, const void *data)
{
	const struct type_count *wanted = data;
	*wanted->count += rr->type == wanted->type;
	return false;
}

unsigned rig_answer_count(const struct rig *rig, uint16_t type)
{
	unsigned count = 0;
	if (rig->answer_len > 0)
		any_answer(rig, add_if_type, &(struct type_count){type, &count});
	return count;
}

/* ---- replies ---- */

bool q_under(const struct rig_question *q, const char *suffix)
{
	const size_t len = strlen(q->name), suffix_len = strlen(suffix);
	if (strcmp(suffix, ".") == 0)
		return true;
	return len >= suffix_len && strcmp(q->name + len - suffix_len, suffix) == 0 &&
	       (len == suffix_len || q->name[len - suffix_len - 1] == '.');
}

bool q_is(const struct rig_question *q, const char *name, uint16_t type)
{
	return q->type == type && strcmp(q->name, name) == 0;
}

void q_raw(struct rig_question *q, const void *data, size_t len)
{
	assert_true(q->len + len <= KR_DNS_WIRE_MAX);
	memcpy(q->reply + q->len, data, len);
	q->len += len;
}

static void put_u16(struct rig_question *q, uint16_t value)
{
	const uint8_t raw[] = {value >> 8, value & 0xff};
	q_raw(q, raw, sizeof(raw));
}

static void put_name(struct rig_question *q, const char *name)
{
	knot_dname_storage_t dname;
	assert_non_null(knot_dname_from_str(dname, name, sizeof(dname)));
	q_raw(q, dname, knot_dname_size(dname));
}

void q_begin(struct rig_question *q, uint16_t flags_rcode)
{
	const struct bytes query = q->arrival->query;
	const size_t qname_len = knot_dname_size(query.at + KNOT_WIRE_HEADER_SIZE);
	q->len = 0;
	q_raw(q, query.at, KNOT_WIRE_HEADER_SIZE + qname_len + 4);
	knot_wire_set_flags1(q->reply, (QR | flags_rcode) >> 8);
	knot_wire_set_flags2(q->reply, flags_rcode & 0xff);
	knot_wire_set_arcount(q->reply, 0);
}

static void count_up(struct rig_question *q, enum rig_section section)
{
	for (int later = section + 1; later <= R_ADDITIONAL; ++later) /* sections come in order */
		assert_int_equal(knot_wire_read_u16(q->reply + 6 + 2 * later), 0);
	uint8_t *count = q->reply + 6 + 2 * section;
	knot_wire_write_u16(count, knot_wire_read_u16(count) + 1);
}

void q_rr_raw(struct rig_question *q, enum rig_section section, const char *owner, uint16_t type,
	uint32_t ttl, const void *rdata, size_t len)
{
	put_name(q, owner);
	put_u16(q, type);
	put_u16(q, KNOT_CLASS_IN);
	put_u16(q, ttl >> 16);
	put_u16(q, ttl & 0xffff);
	put_u16(q, len);
	q_raw(q, rdata, len);
	count_up(q, section);
}

void q_a(struct rig_question *q, enum rig_section section, const char *owner, const char *addr)
{
	uint8_t raw[4];
	assert_int_equal(inet_pton(AF_INET, addr, raw), 1);
	q_rr_raw(q, section, owner, KNOT_RRTYPE_A, TTL_S, raw, sizeof(raw));
}

void q_name(struct rig_question *q, enum rig_section section, const char *owner, uint16_t type,
	const char *target)
{
	uint8_t rdata[KNOT_DNAME_MAXLEN + 2] = {0, 10};
	const size_t skip = type == KNOT_RRTYPE_MX ? 2 : 0;
	assert_non_null(knot_dname_from_str(rdata + skip, target, KNOT_DNAME_MAXLEN));
	q_rr_raw(q, section, owner, type, TTL_S, rdata, skip + knot_dname_size(rdata + skip));
}

void q_soa(struct rig_question *q, const char *zone)
{
	static const uint8_t rdata[] = {
		0, 0, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 60};
	q_rr_raw(q, R_AUTHORITY, zone, KNOT_RRTYPE_SOA, TTL_S, rdata, sizeof(rdata));
}

void q_opt(struct rig_question *q)
{
	static const uint8_t opt[] = {0, 0, KNOT_RRTYPE_OPT, 4, 0xd0, 0, 0, 0, 0, 0, 0};
	q_raw(q, opt, sizeof(opt));
	count_up(q, R_ADDITIONAL);
}

enum sim_reaction q_refer(
	struct rig_question *q, const char *zone, const char *ns, const char *addr)
{
	q_begin(q, 0);
	q_name(q, R_AUTHORITY, zone, KNOT_RRTYPE_NS, ns);
	q_a(q, R_ADDITIONAL, ns, addr);
	return SIM_REPLY;
}

enum sim_reaction q_address(struct rig_question *q, const char *zone, const char *addr)
{
	if (q->type != KNOT_RRTYPE_A)
		return q_nodata(q, zone);
	q_begin(q, R_AA);
	q_a(q, R_ANSWER, q->name, addr);
	return SIM_REPLY;
}

enum sim_reaction q_nxdomain(struct rig_question *q, const char *zone)
{
	q_begin(q, R_AA | KNOT_RCODE_NXDOMAIN);
	q_soa(q, zone);
	return SIM_REPLY;
}

enum sim_reaction q_nodata(struct rig_question *q, const char *zone)
{
	q_begin(q, R_AA);
	q_soa(q, zone);
	return SIM_REPLY;
}

enum sim_reaction q_rcode(struct rig_question *q, uint16_t rcode)
{
	q_begin(q, rcode);
	return SIM_REPLY;
}

/* ---- life ---- */

static void turn_end(void *owner)
{
	struct rig *rig = owner;
	worker_loop_end(rig->worker);
}

struct rig *rig_open(rig_server_f server, const void *data, bool minimize)
{
	struct rig *rig = calloc(1, sizeof(*rig));
	struct rpl_error error = {""};
	if (getenv("RIG_TRACE"))
		kr_log_level_set(LOG_DEBUG);
	assert_non_null(rig);
	strcpy(rig->dir, "/tmp/kres-rig-XXXXXX");
	assert_non_null(mkdtemp(rig->dir));
	rig->options[0] = (struct rpl_option){"stub-addr", RIG_ROOT, 0};
	rig->sc.options.at = (void *)rig->options;
	rig->sc.options.len = 1;
	simnet_init(&rig->net, 3, 1700000000);
	rig->net.server = serve;
	rig->net.accepts = accepts;
	rig->net.owner = rig;
	rig->net.turn_end = turn_end;
	rig->server = server;
	rig->server_data = data;
	rig->client.answer = take;
	const struct house_params params = {.scenario = &rig->sc,
		.net = &rig->net,
		.cache_dir = rig->dir,
		.minimize = minimize};
	rig->house = house_open(&params, &error);
	if (!rig->house)
		fail_msg("%s", error.text);
	rig->worker = house_worker(rig->house);
	return rig;
}

void rig_close(struct rig *rig)
{
	simnet_pass(&rig->net, 10000);
	assert_int_equal(rig->worker->stats.concurrent, 0);
	rig->net.turn_end = NULL;
	house_close(rig->house);
	assert_int_equal(rig->net.open, 0);
	assert_int_equal(rig->net.timers, 0);
	assert_int_equal(rig->client.in_flight, 0);
	simnet_deinit(&rig->net);
	char path[64];
	static const char *const files[] = {"data.mdb", "lock.mdb", "krcachelock"};
	for (size_t i = 0; i < KR_COUNT_OF(files); ++i) {
		snprintf(path, sizeof(path), "%s/%s", rig->dir, files[i]);
		unlink(path);
	}
	rmdir(rig->dir);
	free(rig);
}
