/* SPDX-License-Identifier: GPL-3.0-or-later */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include <libknot/packet/wire.h>
#include <libknot/rrtype/opt.h>

#include "daemon/upstream.h"
#include "daemon/worker.h"
#include "lib/mm.h"
#include "lib/resolve.h"
#include "tests/sim/simnet.h"

#define WAITERS 80

struct fixture;
typedef enum sim_reaction (*script_f)(struct fixture *fx, struct sim_arrival *arrival);

/** One that waits, and what it was told. */
struct asker {
	struct upstream_waiter waiter;
	struct upstream_ledger ledger;
	struct kr_request req;
	struct fixture *fx;
	int told;
	int misses;
	enum kr_selection_error error;
	bool no_budget;
	enum kr_transport_protocol protocol;
	uint8_t answer[512];
	size_t answer_len;
};

struct fixture {
	struct simnet net;
	struct kr_context ctx;
	struct worker_ctx worker;
	struct upstream *up;
	struct kr_query qry;
	knot_mm_t pool;
	script_f script;
	int arrivals, stream_arrivals;
	uint16_t ids[WAITERS];
	bool no_streams;
	struct asker askers[WAITERS];
};

static void on_done(struct upstream_waiter *waiter, const struct upstream_outcome *outcome)
{
	struct asker *asker = (struct asker *)waiter;
	asker->told += 1;
	asker->error = outcome->error;
	asker->no_budget = outcome->no_budget;
	asker->protocol = outcome->via->protocol;
	asker->answer_len = KR_MIN(outcome->answer.len, sizeof(asker->answer));
	if (outcome->answer.at)
		memcpy(asker->answer, outcome->answer.at, asker->answer_len);
}

static void on_miss(struct upstream_waiter *waiter, const struct kr_transport *via)
{
	((struct asker *)waiter)->misses += 1;
}

static enum sim_reaction serve(void *owner, struct sim_arrival *arrival)
{
	struct fixture *fx = owner;
	if (fx->arrivals < WAITERS)
		fx->ids[fx->arrivals] = knot_wire_get_id(arrival->query.at);
	fx->arrivals += 1;
	fx->stream_arrivals += arrival->is_stream;
	return fx->script(fx, arrival);
}

static bool accepts(void *owner, const union kr_sockaddr *server)
{
	return !((struct fixture *)owner)->no_streams;
}

static int setup(void **state)
{
	struct fixture *fx = calloc(1, sizeof(*fx));
	simnet_init(&fx->net, 5, 1700000000);
	fx->net.server = serve;
	fx->net.accepts = accepts;
	fx->net.owner = fx;
	mm_ctx_mempool2(&fx->pool, 4096);
	simnet_drive(&fx->net, &fx->ctx);
	fx->ctx.upstream_opt_rr = mm_alloc(&fx->pool, sizeof(knot_rrset_t));
	knot_edns_init(fx->ctx.upstream_opt_rr, 1232, 0, 0, &fx->pool);
	fx->worker.resolver = &fx->ctx;
	fx->worker.io = &fx->net.io;
	fx->worker.tcp_pipeline_max = 100;
	fx->up = upstream_new(&fx->worker, on_done, on_miss);
	fx->qry.request = &fx->askers[0].req;
	fx->qry.sclass = KNOT_CLASS_IN;
	fx->qry.zone_cut.name = (uint8_t *)"\7example";
	for (int i = 0; i < WAITERS; ++i) {
		struct asker *asker = &fx->askers[i];
		asker->fx = fx;
		asker->req.ctx = &fx->ctx;
		asker->waiter.req = &asker->req;
		asker->waiter.ledger = &asker->ledger;
	}
	*state = fx;
	return fx->up == NULL;
}

static int teardown(void **state)
{
	struct fixture *fx = *state;
	simnet_pass(&fx->net, 60000);
	upstream_free(fx->up);
	assert_int_equal(fx->net.open, 0);
	assert_int_equal(fx->net.timers, 0);
	simnet_deinit(&fx->net);
	mp_delete(fx->pool.ctx);
	free(fx);
	return 0;
}

static struct kr_transport server(const char *addr, enum kr_transport_protocol protocol)
{
	struct kr_transport transport = {
		.ns_name = (uint8_t *)"\2ns\7example", .protocol = protocol, .timeout = 500};
	struct sockaddr *sa = kr_straddr_socket(addr, 53, NULL);
	transport.address_len = kr_sockaddr_len(sa);
	memcpy(&transport.address, sa, transport.address_len);
	free(sa);
	return transport;
}

/** Ask for a name with mixed case; join if it is under way. */
static int ask(struct fixture *fx, int asker, const struct kr_transport *via, const char *name)
{
	struct upstream_waiter *waiter = &fx->askers[asker].waiter;
	knot_dname_storage_t qname;
	knot_dname_from_str(qname, name, sizeof(qname));
	struct upstream_key key;
	upstream_key_init(fx->up, &key, &fx->qry, via, qname, KNOT_RRTYPE_A);
	if (upstream_join(fx->up, waiter, &key))
		return 0;
	knot_pkt_t *pkt = knot_pkt_new(NULL, 512, &fx->pool);
	knot_pkt_put_question(pkt, qname, KNOT_CLASS_IN, KNOT_RRTYPE_A);
	knot_pkt_begin(pkt, KNOT_ADDITIONAL);
	knot_pkt_put(pkt, 0, fx->ctx.upstream_opt_rr, 0);
	return upstream_ask(fx->up, waiter, &key, &fx->qry, via, pkt);
}

static void echo(struct sim_arrival *arrival)
{
	memcpy(arrival->reply, arrival->query.at, arrival->query.len);
	arrival->reply_len = arrival->query.len;
	knot_wire_set_qr(arrival->reply);
}

static enum sim_reaction good(struct fixture *fx, struct sim_arrival *arrival)
{
	echo(arrival);
	return SIM_REPLY;
}

static enum sim_reaction silent(struct fixture *fx, struct sim_arrival *arrival)
{
	return SIM_SILENCE;
}

/* ---- one question ---- */

static void answer_reaches_the_asker(void **state)
{
	struct fixture *fx = *state;
	const struct kr_transport via = server("192.0.2.1", KR_TRANSPORT_UDP);
	fx->script = good;
	assert_int_equal(ask(fx, 0, &via, "wWw.eXample."), 0);
	simnet_pass(&fx->net, 100);
	assert_int_equal(fx->askers[0].told, 1);
	assert_int_equal(fx->askers[0].error, KR_SELECTION_OK);
	assert_int_equal(fx->worker.stats.udp, 1);
	assert_int_equal(fx->worker.stats.ipv4, 1);
	assert_int_equal(fx->askers[0].req.budget.spent[KR_BUDGET_PACKETS], 1);
}

static void silence_is_a_timeout(void **state)
{
	struct fixture *fx = *state;
	const struct kr_transport via = server("192.0.2.1", KR_TRANSPORT_UDP);
	fx->script = silent;
	assert_int_equal(ask(fx, 0, &via, "www.example."), 0);
	simnet_pass(&fx->net, 499);
	assert_int_equal(fx->askers[0].told, 0);
	simnet_pass(&fx->net, 2);
	assert_int_equal(fx->askers[0].error, KR_SELECTION_QUERY_TIMEOUT);
	assert_int_equal(fx->worker.stats.timeout, 1);
	assert_int_equal(fx->net.open, 0);
}

static enum sim_reaction unreachable(struct fixture *fx, struct sim_arrival *arrival)
{
	return SIM_ICMP;
}

/** S-12. */
static void icmp_ends_the_try_at_once(void **state)
{
	struct fixture *fx = *state;
	const struct kr_transport via = server("192.0.2.1", KR_TRANSPORT_UDP);
	fx->script = unreachable;
	assert_int_equal(ask(fx, 0, &via, "www.example."), 0);
	simnet_pass(&fx->net, 50);
	assert_int_equal(fx->askers[0].error, KR_SELECTION_QUERY_TIMEOUT);
}

/* ---- identical questions ---- */

/** S-08. */
static void one_question_for_all_who_want_it(void **state)
{
	struct fixture *fx = *state;
	const struct kr_transport a = server("192.0.2.1", KR_TRANSPORT_UDP);
	const struct kr_transport b = server("192.0.2.2", KR_TRANSPORT_UDP);
	fx->script = good;
	for (int i = 0; i < WAITERS; ++i) /* whatever server each would have chosen */
		assert_int_equal(
			ask(fx, i, i % 2 ? &a : &b, i % 3 ? "www.example." : "WWW.example."), 0);
	simnet_pass(&fx->net, 100);
	assert_int_equal(fx->arrivals, 1);
	assert_int_equal(fx->worker.stats.joined, WAITERS - 1);
	for (int i = 0; i < WAITERS; ++i) {
		assert_int_equal(fx->askers[i].told, 1);
		assert_int_equal(fx->askers[i].error, KR_SELECTION_OK);
		assert_int_equal(fx->askers[i].waiter.is_leader, i == 0);
	}
}

static void who_gives_up_leaves_the_others(void **state)
{
	struct fixture *fx = *state;
	const struct kr_transport via = server("192.0.2.1", KR_TRANSPORT_UDP);
	fx->script = good;
	for (int i = 0; i < 3; ++i)
		assert_int_equal(ask(fx, i, &via, "www.example."), 0);
	upstream_cancel(&fx->askers[0].waiter);
	upstream_cancel(&fx->askers[0].waiter);
	simnet_pass(&fx->net, 100);
	assert_int_equal(fx->askers[0].told, 0);
	assert_int_equal(fx->askers[1].told, 1);
	assert_int_equal(fx->askers[2].told, 1);
	assert_int_equal(ask(fx, 0, &via, "www.example."), 0);
	upstream_cancel(&fx->askers[0].waiter);
	assert_int_equal(fx->net.open, 0); /* the last one takes the socket along */
}

static void forwarders_and_flags_are_kept_apart(void **state)
{
	struct fixture *fx = *state;
	const struct kr_transport a = server("192.0.2.1", KR_TRANSPORT_UDP);
	const struct kr_transport b = server("192.0.2.2", KR_TRANSPORT_UDP);
	fx->script = good;
	fx->qry.flags.FORWARD = true;
	assert_int_equal(ask(fx, 0, &a, "www.example."), 0);
	assert_int_equal(ask(fx, 1, &b, "www.example."), 0);
	fx->qry.flags.NO_EDNS = true;
	assert_int_equal(ask(fx, 2, &b, "www.example."), 0);
	simnet_pass(&fx->net, 100);
	assert_int_equal(fx->arrivals, 3);
}

/* ---- matching ---- */

static enum sim_reaction wrong_id(struct fixture *fx, struct sim_arrival *arrival)
{
	echo(arrival);
	if (!arrival->is_stream)
		arrival->reply[0] ^= 0x80;
	return SIM_REPLY;
}

static void near_miss_goes_to_a_stream(void **state)
{
	struct fixture *fx = *state;
	const struct kr_transport via = server("192.0.2.1", KR_TRANSPORT_UDP);
	fx->script = wrong_id;
	assert_int_equal(ask(fx, 0, &via, "www.example."), 0);
	simnet_pass(&fx->net, 200);
	assert_int_equal(fx->askers[0].misses, 1);
	assert_int_equal(fx->askers[0].error, KR_SELECTION_OK);
	assert_int_equal(fx->askers[0].protocol, KR_TRANSPORT_TCP);
	assert_int_equal(fx->arrivals, 2);
	assert_int_equal(fx->worker.stats.near_miss, 1);
	assert_int_equal(fx->askers[0].req.budget.spent[KR_BUDGET_CONNECTS], 1);
}

static void near_miss_without_streams_tries_udp_once_more(void **state)
{
	struct fixture *fx = *state;
	const struct kr_transport via = server("192.0.2.1", KR_TRANSPORT_UDP);
	fx->script = wrong_id;
	fx->no_streams = true;
	assert_int_equal(ask(fx, 0, &via, "www.example."), 0);
	simnet_pass(&fx->net, 2000);
	assert_int_equal(fx->arrivals, 2); /* two datagrams, from two ports */
	assert_int_equal(fx->askers[0].error, KR_SELECTION_MISMATCHED);
	assert_int_equal(fx->askers[0].told, 1);
}

static enum sim_reaction wrong_case(struct fixture *fx, struct sim_arrival *arrival)
{
	echo(arrival);
	knot_dname_to_lower(arrival->reply + KNOT_WIRE_HEADER_SIZE);
	return SIM_REPLY;
}

/** S-05, S-09. */
static void letter_case_counts_over_udp_only(void **state)
{
	struct fixture *fx = *state;
	const struct kr_transport via = server("192.0.2.1", KR_TRANSPORT_UDP);
	fx->script = wrong_case;
	assert_int_equal(ask(fx, 0, &via, "wWw.example."), 0);
	simnet_pass(&fx->net, 200);
	assert_int_equal(fx->askers[0].misses, 1);
	assert_int_equal(fx->askers[0].error, KR_SELECTION_OK);
	assert_int_equal(fx->arrivals, 2); /* S-05: at most two more packets */
}

/** What comes in front of the good answer; it may cost one switch to a stream, never the answer. */
static const struct odd {
	const char *what;
	bool is_miss;
	void (*spoil)(uint8_t *wire, size_t *len);
} odds[];

static const struct odd *odd_now;

static void spoil_qr(uint8_t *wire, size_t *len)
{
	knot_wire_clear_qr(wire);
}
static void spoil_short(uint8_t *wire, size_t *len)
{
	*len = 11;
}
static void spoil_empty(uint8_t *wire, size_t *len)
{
	*len = 1;
}
static void spoil_opcode(uint8_t *wire, size_t *len)
{
	knot_wire_set_opcode(wire, 5);
}
static void spoil_id(uint8_t *wire, size_t *len)
{
	wire[1] ^= 1;
}
static void spoil_type(uint8_t *wire, size_t *len)
{
	wire[12 + 13 + 1] ^= 2;
}
static void spoil_name(uint8_t *wire, size_t *len)
{
	wire[14] ^= 1;
}
static void spoil_count(uint8_t *wire, size_t *len)
{
	knot_wire_set_qdcount(wire, 2);
}
static void spoil_noquestion(uint8_t *wire, size_t *len)
{
	knot_wire_set_qdcount(wire, 0);
}
static void spoil_cut(uint8_t *wire, size_t *len)
{
	*len = 20;
}

static const struct odd odds[] = {
	{"a question", false, spoil_qr},
	{"11 octets", false, spoil_short},
	{"1 octet", false, spoil_empty},
	{"another opcode", false, spoil_opcode},
	{"wrong id", true, spoil_id},
	{"wrong type", true, spoil_type},
	{"wrong name", true, spoil_name},
	{"two questions", true, spoil_count},
	{"no question and NOERROR", true, spoil_noquestion},
	{"cut in the question", true, spoil_cut},
};

static enum sim_reaction odd_on_udp(struct fixture *fx, struct sim_arrival *arrival)
{
	echo(arrival);
	if (!arrival->is_stream)
		odd_now->spoil(arrival->reply, &arrival->reply_len);
	return SIM_REPLY;
}

/** S-09, S-13. */
static void odd_datagrams_never_end_a_question(void **state)
{
	for (size_t i = 0; i < KR_COUNT_OF(odds); ++i) {
		void *inner = NULL;
		assert_int_equal(setup(&inner), 0);
		struct fixture *fx = inner;
		const struct kr_transport via = server("192.0.2.1", KR_TRANSPORT_UDP);
		odd_now = &odds[i];
		fx->script = odd_on_udp;
		assert_int_equal(ask(fx, 0, &via, "www.example."), 0);
		simnet_pass(&fx->net, 300);
		if (fx->askers[0].misses != odds[i].is_miss ||
			fx->askers[0].told != odds[i].is_miss)
			fail_msg("%s: %d misses, told %d times", odds[i].what, fx->askers[0].misses,
				fx->askers[0].told);
		if (odds[i].is_miss)
			assert_int_equal(fx->askers[0].protocol, KR_TRANSPORT_TCP);
		simnet_pass(&fx->net, 500);
		assert_int_equal(fx->askers[0].told, 1);
		teardown(&inner);
	}
}

static enum sim_reaction bare_refusal(struct fixture *fx, struct sim_arrival *arrival)
{
	echo(arrival);
	knot_wire_set_qdcount(arrival->reply, 0);
	knot_wire_set_arcount(arrival->reply, 0);
	knot_wire_set_rcode(arrival->reply, KNOT_RCODE_FORMERR);
	arrival->reply_len = KNOT_WIRE_HEADER_SIZE;
	return SIM_REPLY;
}

/** S-09. */
static void refusal_without_question_is_taken(void **state)
{
	struct fixture *fx = *state;
	const struct kr_transport via = server("192.0.2.1", KR_TRANSPORT_UDP);
	fx->script = bare_refusal;
	assert_int_equal(ask(fx, 0, &via, "www.example."), 0);
	simnet_pass(&fx->net, 100);
	const struct asker *asker = &fx->askers[0];
	assert_int_equal(asker->error, KR_SELECTION_OK);
	assert_int_equal(knot_wire_get_rcode(asker->answer), KNOT_RCODE_FORMERR);
	assert_int_equal(knot_wire_get_qdcount(asker->answer), 1);
	assert_int_equal(asker->answer_len, KNOT_WIRE_HEADER_SIZE + 13 + 4);
}

static enum sim_reaction oversized(struct fixture *fx, struct sim_arrival *arrival)
{
	echo(arrival);
	arrival->reply_len = arrival->is_stream ? arrival->query.len : 1233;
	return SIM_REPLY;
}

/** more than we asked for over UDP may be a forged fragment: only "truncated" is believed. */
static void oversized_datagram_counts_as_truncated(void **state)
{
	struct fixture *fx = *state;
	const struct kr_transport via = server("192.0.2.1", KR_TRANSPORT_UDP);
	fx->script = oversized;
	assert_int_equal(ask(fx, 0, &via, "www.example."), 0);
	simnet_pass(&fx->net, 100);
	assert_int_equal(fx->askers[0].error, KR_SELECTION_OK);
	assert_true(knot_wire_get_tc(fx->askers[0].answer));
	assert_int_equal(knot_wire_get_arcount(fx->askers[0].answer), 0);
}

/* ---- streams ---- */

static void stream_is_shared_and_reused(void **state)
{
	struct fixture *fx = *state;
	const struct kr_transport via = server("2001:db8::1", KR_TRANSPORT_TCP);
	fx->script = good;
	for (int i = 0; i < 20; ++i) {
		char name[32];
		snprintf(name, sizeof(name), "n%d.example.", i);
		assert_int_equal(ask(fx, i, &via, name), 0);
	}
	assert_int_equal(fx->net.open, 1);
	assert_true(upstream_is_connecting(fx->up, &via.address.ip));
	simnet_pass(&fx->net, 100);
	assert_true(upstream_is_connected(fx->up, &via.address.ip));
	for (int i = 0; i < 20; ++i)
		assert_int_equal(fx->askers[i].error, KR_SELECTION_OK);
	assert_int_equal(ask(fx, 20, &via, "again.example."), 0);
	simnet_pass(&fx->net, 100);
	assert_int_equal(fx->askers[20].told, 1);
	assert_int_equal(fx->askers[20].req.budget.spent[KR_BUDGET_CONNECTS], 0);
	for (int i = 0; i < 20; ++i) /* S-01: fresh ids, all different on one connection */
		for (int j = 0; j < i; ++j)
			assert_int_not_equal(fx->ids[i], fx->ids[j]);
	simnet_pass(&fx->net, WORKER_STREAM_IDLE_MS);
	assert_int_equal(fx->net.open, 0);
}

static void full_pipeline_opens_another(void **state)
{
	struct fixture *fx = *state;
	const struct kr_transport via = server("192.0.2.1", KR_TRANSPORT_TCP);
	fx->script = good;
	fx->worker.tcp_pipeline_max = 2;
	for (int i = 0; i < 5; ++i) {
		char name[32];
		snprintf(name, sizeof(name), "n%d.example.", i);
		assert_int_equal(ask(fx, i, &via, name), 0);
	}
	assert_int_equal(fx->net.open, 3);
}

static void refused_connection_is_told(void **state)
{
	struct fixture *fx = *state;
	const struct kr_transport via = server("192.0.2.1", KR_TRANSPORT_TCP);
	fx->no_streams = true;
	assert_int_equal(ask(fx, 0, &via, "www.example."), 0);
	simnet_pass(&fx->net, 100);
	assert_int_equal(fx->askers[0].error, KR_SELECTION_TCP_CONNECT_FAILED);
}

static enum sim_reaction close_second(struct fixture *fx, struct sim_arrival *arrival)
{
	echo(arrival);
	return fx->arrivals == 2 ? SIM_CLOSE : SIM_REPLY;
}

/** RFC 7766 section 6.2.4: a server may close an idle connection while we are using it again. */
static void reused_stream_that_closes_is_opened_again(void **state)
{
	struct fixture *fx = *state;
	const struct kr_transport via = server("192.0.2.1", KR_TRANSPORT_TCP);
	fx->script = close_second;
	assert_int_equal(ask(fx, 0, &via, "a.example."), 0);
	simnet_pass(&fx->net, 100);
	assert_int_equal(ask(fx, 1, &via, "b.example."), 0);
	simnet_pass(&fx->net, 100);
	assert_int_equal(fx->askers[1].error, KR_SELECTION_OK);
	assert_int_equal(fx->arrivals, 3);
}

static enum sim_reaction close_always(struct fixture *fx, struct sim_arrival *arrival)
{
	return SIM_CLOSE;
}

/** at most two connects to one address for one request. (B-04, A-07) */
static void reconnects_are_bounded(void **state)
{
	struct fixture *fx = *state;
	const struct kr_transport via = server("192.0.2.1", KR_TRANSPORT_TCP);
	fx->script = close_always;
	int refused = 0;
	for (int i = 0; i < 10; ++i) {
		if (ask(fx, 0, &via, "a.example.") != 0)
			++refused;
		simnet_pass(&fx->net, 100);
	}
	assert_int_equal(fx->arrivals, 2);
	assert_int_equal(refused, 8);
	assert_int_equal(fx->askers[0].req.budget.spent[KR_BUDGET_CONNECTS], 2);
}

static enum sim_reaction babble(struct fixture *fx, struct sim_arrival *arrival)
{
	echo(arrival);
	arrival->reply[0] ^= 0x55;
	return SIM_REPLY;
}

/** S-14: three unsolicited messages and the connection is closed. */
static void babbling_stream_is_closed(void **state)
{
	struct fixture *fx = *state;
	const struct kr_transport via = server("192.0.2.1", KR_TRANSPORT_TCP);
	fx->script = babble;
	for (int i = 0; i < 3; ++i) {
		char name[32];
		snprintf(name, sizeof(name), "n%d.example.", i);
		assert_int_equal(ask(fx, i, &via, name), 0);
	}
	simnet_pass(&fx->net, 100);
	for (int i = 0; i < 3; ++i)
		assert_int_equal(fx->askers[i].error, KR_SELECTION_MISMATCHED);
	assert_int_equal(fx->net.open, 0);
}

/* ---- budgets ---- */

/** B-01. */
static void packets_of_a_request_are_bounded(void **state)
{
	struct fixture *fx = *state;
	const struct kr_transport via = server("192.0.2.1", KR_TRANSPORT_UDP);
	fx->script = good;
	int ret = 0;
	for (int i = 0; i < 300 && ret == 0; ++i) {
		char name[32];
		snprintf(name, sizeof(name), "n%d.example.", i);
		ret = ask(fx, 0, &via, name);
		simnet_pass(&fx->net, 20);
	}
	assert_int_equal(ret, kr_error(EDQUOT));
	assert_int_equal(fx->arrivals, KR_BUDGET_PACKETS_MAX);
}

/** B-02. */
static void packets_about_one_name_are_bounded(void **state)
{
	struct fixture *fx = *state;
	const struct kr_transport via = server("192.0.2.1", KR_TRANSPORT_UDP);
	fx->script = good;
	int ret = 0;
	for (int i = 0; i < 300 && ret == 0; ++i) {
		ret = ask(fx, 0, &via, i % 2 ? "one.example." : "ONE.example.");
		simnet_pass(&fx->net, 20);
	}
	assert_int_equal(ret, kr_error(EDQUOT));
	assert_int_equal(fx->arrivals, KR_BUDGET_NAME_PACKETS_MAX);
}

/** B-38, and it adapts: a server that answers nothing gets less and less. */
static void questions_to_one_zone_are_bounded(void **state)
{
	struct fixture *fx = *state;
	const struct kr_transport via = server("192.0.2.1", KR_TRANSPORT_UDP);
	fx->script = silent;
	static struct asker many[WORKER_CUT_INFLIGHT_MAX + 1];
	memset(many, 0, sizeof(many));
	int ret = 0, asked = 0;
	for (; asked <= WORKER_CUT_INFLIGHT_MAX; ++asked) {
		struct asker *asker = &many[asked];
		asker->req.ctx = &fx->ctx;
		asker->waiter.req = &asker->req;
		asker->waiter.ledger = &asker->ledger;
		char name[32];
		snprintf(name, sizeof(name), "n%d.example.", asked);
		knot_dname_storage_t qname;
		knot_dname_from_str(qname, name, sizeof(qname));
		struct upstream_key key;
		upstream_key_init(fx->up, &key, &fx->qry, &via, qname, KNOT_RRTYPE_A);
		knot_pkt_t *pkt = knot_pkt_new(NULL, 512, &fx->pool);
		knot_pkt_put_question(pkt, qname, KNOT_CLASS_IN, KNOT_RRTYPE_A);
		ret = upstream_ask(fx->up, &asker->waiter, &key, &fx->qry, &via, pkt);
		if (ret != 0)
			break;
	}
	assert_int_equal(asked, WORKER_CUT_INFLIGHT_MAX);
	assert_int_equal(ret, kr_error(EBUSY));
	simnet_pass(&fx->net, 1000);
	assert_int_equal(many[0].error, KR_SELECTION_QUERY_TIMEOUT);
	assert_int_equal(ask(fx, 0, &via, "later.example."), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(answer_reaches_the_asker),
		TEST(silence_is_a_timeout),
		TEST(icmp_ends_the_try_at_once),
		TEST(one_question_for_all_who_want_it),
		TEST(who_gives_up_leaves_the_others),
		TEST(forwarders_and_flags_are_kept_apart),
		TEST(near_miss_goes_to_a_stream),
		TEST(near_miss_without_streams_tries_udp_once_more),
		TEST(letter_case_counts_over_udp_only),
		cmocka_unit_test(odd_datagrams_never_end_a_question),
		TEST(refusal_without_question_is_taken),
		TEST(oversized_datagram_counts_as_truncated),
		TEST(stream_is_shared_and_reused),
		TEST(full_pipeline_opens_another),
		TEST(refused_connection_is_told),
		TEST(reused_stream_that_closes_is_opened_again),
		TEST(reconnects_are_bounded),
		TEST(babbling_stream_is_closed),
		TEST(packets_of_a_request_are_bounded),
		TEST(packets_about_one_name_are_bounded),
		TEST(questions_to_one_zone_are_bounded),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
