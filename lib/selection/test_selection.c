/* SPDX-License-Identifier: GPL-3.0-or-later */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <arpa/inet.h>
#include <cmocka.h>
#include <libknot/libknot.h>

#include "lib/resolve.h"
#include "lib/selection/selection.h"
#include "lib/selection/servers.h"

/* ---- a resolver without network ---- */

struct world {
	struct kr_context ctx;
	struct kr_request req;
	knot_mm_t ctx_pool;
	uint64_t rnd;
};

static void next_random(void *data, void *buf, size_t len)
{
	uint64_t *state = data;
	uint8_t *to = buf;
	for (size_t i = 0; i < len; ++i) {
		*state = *state * 6364136223846793005ull + 1442695040888963407ull;
		to[i] = *state >> 56;
	}
}

static struct kr_query *ask_again(struct world *w, const char *cut, const char *name)
{
	knot_dname_storage_t cut_name, qname;
	knot_dname_from_str(cut_name, cut, sizeof(cut_name));
	knot_dname_from_str(qname, name, sizeof(qname));
	struct kr_query *qry =
		kr_rplan_push(&w->req.rplan, NULL, qname, KNOT_CLASS_IN, KNOT_RRTYPE_A);
	assert_non_null(qry);
	kr_zonecut_set(&qry->zone_cut, cut_name);
	qry->asked_name = qry->sname;
	qry->asked_type = qry->stype;
	return qry;
}

static struct kr_query *world_begin(struct world *w, const char *cut, const char *name)
{
	memset(w, 0, sizeof(*w));
	w->rnd = 42;
	w->ctx.rnd = next_random;
	w->ctx.rnd_data = &w->rnd;
	w->ctx.now_ms = 1000000;
	w->ctx.now.tv_sec = 1500000000;
	mm_ctx_mempool2(&w->ctx_pool, 4096);
	assert_int_equal(kr_context_init(&w->ctx, &w->ctx_pool), 0);
	mm_ctx_mempool2(&w->req.pool, 4096);
	assert_int_equal(kr_resolve_begin(&w->req, &w->ctx), KR_STATE_CONSUME);
	return ask_again(w, cut, name);
}

static void world_end(struct world *w)
{
	kr_context_deinit(&w->ctx);
	mp_delete(w->req.pool.ctx);
	mp_delete(w->ctx_pool.ctx);
}

static void sockaddr_of(union kr_sockaddr *dst, const char *text)
{
	struct sockaddr *addr = kr_straddr_socket(text, 53, NULL);
	assert_non_null(addr);
	memset(dst, 0, sizeof(*dst));
	memcpy(dst, addr, kr_sockaddr_len(addr));
	free(addr);
}

static void add_server(struct kr_query *qry, const char *ns, const char *text)
{
	knot_dname_storage_t name;
	knot_dname_from_str(name, ns, sizeof(name));
	union kr_sockaddr addr;
	if (!text) {
		assert_int_equal(kr_zonecut_add(&qry->zone_cut, name, NULL, 0), 0);
		return;
	}
	sockaddr_of(&addr, text);
	assert_int_equal(
		kr_zonecut_add(&qry->zone_cut, name, kr_inaddr(&addr.ip), kr_inaddr_len(&addr.ip)),
		0);
}

/** Choose as the driver does, each time for one round. */
static struct kr_transport *choose(struct kr_query *qry)
{
	struct kr_transport *transport = NULL;
	if (!qry->server_selection.initialized)
		kr_server_selection_init(qry);
	assert_true(qry->server_selection.initialized);
	qry->server_selection.choose_transport(qry, &transport);
	qry->timestamp_mono = qry->request->ctx->now_ms;
	return transport;
}

static void expect(
	const struct kr_transport *transport, enum kr_transport_protocol protocol, const char *text)
{
	assert_non_null(transport);
	assert_int_equal(transport->protocol, protocol);
	if (text) {
		union kr_sockaddr addr;
		sockaddr_of(&addr, text);
		assert_int_equal(kr_sockaddr_cmp(&transport->address.ip, &addr.ip), 0);
	}
}

static void error(
	struct kr_query *qry, const struct kr_transport *transport, enum kr_selection_error code)
{
	struct kr_context *ctx = qry->request->ctx;
	if (code == KR_SELECTION_QUERY_TIMEOUT || code == KR_SELECTION_TCP_CONNECT_TIMEOUT)
		ctx->now_ms += transport->timeout;
	qry->server_selection.error(qry, transport, code);
	/* the driver: a stream for this one round only */
	if (code != KR_SELECTION_MISMATCHED)
		qry->flags.TCP = qry->request->options.TCP;
}

static void answer(struct kr_query *qry, const struct kr_transport *transport, unsigned rtt)
{
	qry->request->ctx->now_ms += rtt;
	qry->server_selection.update_rtt(qry, transport, rtt);
}

static bool is_at(const struct kr_transport *transport, const char *text)
{
	union kr_sockaddr addr;
	sockaddr_of(&addr, text);
	return transport && kr_sockaddr_cmp(&transport->address.ip, &addr.ip) == 0;
}

/* ---- memory of servers ---- */

#define A1 "192.0.2.1"
#define A2 "192.0.2.2"
#define A3 "192.0.2.3"
#define V6A "2001:db8::1"
#define V6B "2001:db8::2"

static void rtt_is_smoothed_and_bounds_the_wait(void **state)
{
	struct kr_servers *servers = kr_servers_new(64, 1);
	union kr_sockaddr addr;
	sockaddr_of(&addr, A1);
	assert_null(kr_servers_peek(servers, &addr.ip, 1000));
	assert_int_equal(kr_server_timeout_ms(NULL), 400);
	for (int i = 0; i < 30; ++i)
		kr_servers_answered(servers, &addr.ip, 20, false, 1000 + i);
	const struct kr_server *server = kr_servers_peek(servers, &addr.ip, 2000);
	assert_in_range(server->srtt_us, 19000, 21000);
	assert_in_range(kr_server_timeout_ms(server), KR_TRY_TIME_MIN_MS, 90); /* B-30 */
	unsigned last = 0;
	for (int i = 0; i < 12; ++i) {
		const unsigned timeout = kr_server_timeout_ms(server);
		assert_in_range(timeout, KR_MAX(last, KR_TRY_TIME_MIN_MS), KR_TRY_TIME_MAX_MS);
		last = timeout;
		kr_servers_timeout(servers, &addr.ip, timeout, 1000, 3000);
		server = kr_servers_peek(servers, &addr.ip, 3000);
	}
	assert_int_equal(last, KR_TRY_TIME_MAX_MS);
	kr_servers_free(servers);
}

static void four_timeouts_one_of_them_long_make_a_server_dead(void **state)
{
	struct kr_servers *servers = kr_servers_new(64, 1);
	union kr_sockaddr addr;
	sockaddr_of(&addr, A1);
	kr_servers_timeout(servers, &addr.ip, 900, 1000, 5000);
	for (int i = 0; i < 2; ++i)
		kr_servers_timeout(servers, &addr.ip, 100, 1000, 5000);
	assert_int_equal(kr_servers_peek(servers, &addr.ip, 5000)->dead_until, 0);
	kr_servers_timeout(servers, &addr.ip, 100, 1000, 5000);
	assert_int_equal(kr_servers_peek(servers, &addr.ip, 5000)->dead_until, 6000);
	kr_servers_answered(servers, &addr.ip, 10, false, 5500);
	assert_int_equal(kr_servers_peek(servers, &addr.ip, 5500)->dead_until, 0);
	assert_int_equal(kr_servers_peek(servers, &addr.ip, 5500)->timeouts, 0);
	for (int i = 0; i < 20; ++i) /* short waits only say that we were impatient */
		kr_servers_timeout(servers, &addr.ip, 100, 1000, 6000);
	assert_int_equal(kr_servers_peek(servers, &addr.ip, 6000)->dead_until, 0);
	kr_servers_free(servers);
}

static void c41_nothing_is_remembered_beyond_15_minutes(void **state)
{
	struct kr_servers *servers = kr_servers_new(64, 1);
	union kr_sockaddr addr;
	sockaddr_of(&addr, A1);
	kr_servers_answered(servers, &addr.ip, 20, false, 1000);
	assert_non_null(kr_servers_peek(servers, &addr.ip, 1000 + 15 * 60 * 1000 - 1));
	assert_null(kr_servers_peek(servers, &addr.ip, 1000 + 15 * 60 * 1000));
	kr_servers_clear(servers);
	assert_null(kr_servers_peek(servers, &addr.ip, 1000));
	kr_servers_free(servers);
}

static void the_table_is_bounded(void **state)
{
	struct kr_servers *servers = kr_servers_new(64, 7);
	unsigned known = 0;
	for (uint32_t i = 0; i < 10000; ++i) {
		union kr_sockaddr addr = {
			.ip4 = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(i + 1)}};
		kr_servers_answered(servers, &addr.ip, 20, false, 1000 + i);
		assert_non_null(kr_servers_peek(servers, &addr.ip, 1000 + i));
	}
	for (uint32_t i = 0; i < 10000; ++i) {
		union kr_sockaddr addr = {
			.ip4 = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(i + 1)}};
		known += kr_servers_peek(servers, &addr.ip, 11000) != NULL;
	}
	assert_in_range(known, 1, 64);
	kr_servers_free(servers);
}

static void c11_lameness_belongs_to_address_and_zone_for_some_seconds(void **state)
{
	struct kr_servers *servers = kr_servers_new(64, 1);
	const knot_dname_t *zone = (const uint8_t *)"\4test", *other = (const uint8_t *)"\4tost";
	union kr_sockaddr a1, a2;
	sockaddr_of(&a1, A1);
	sockaddr_of(&a2, A2);
	kr_servers_lame(servers, &a1.ip, zone, 1000);
	assert_true(kr_servers_is_lame(servers, &a1.ip, zone, 1000));
	assert_false(kr_servers_is_lame(servers, &a2.ip, zone, 1000));
	assert_false(kr_servers_is_lame(servers, &a1.ip, other, 1000));
	assert_true(kr_servers_is_lame(servers, &a1.ip, zone, 1000 + KR_FAIL_TTL_MIN_S * 1000 - 1));
	assert_false(kr_servers_is_lame(servers, &a1.ip, zone, 1000 + KR_FAIL_TTL_MIN_S * 1000));
	kr_servers_free(servers);
}

static void s12_one_network_error_does_not_ban(void **state)
{
	struct kr_servers *servers = kr_servers_new(64, 1);
	union kr_sockaddr addr;
	sockaddr_of(&addr, A1);
	kr_servers_unreachable(servers, &addr.ip, 1000);
	kr_servers_unreachable(servers, &addr.ip, 2000);
	assert_int_equal(kr_servers_peek(servers, &addr.ip, 2000)->dead_until, 0);
	kr_servers_unreachable(servers, &addr.ip, 3000);
	assert_true(kr_servers_peek(servers, &addr.ip, 3000)->dead_until > 3000);
	sockaddr_of(&addr, A2);
	for (int i = 0; i < 6; ++i) /* too rare */
		kr_servers_unreachable(servers, &addr.ip, 10000 + i * 9000);
	assert_int_equal(kr_servers_peek(servers, &addr.ip, 60000)->dead_until, 0);
	kr_servers_free(servers);
}

static void f25_a_broken_family_is_left_alone_for_a_while_never_for_good(void **state)
{
	struct kr_servers *servers = kr_servers_new(64, 1);
	union kr_sockaddr a, b, v4;
	sockaddr_of(&a, V6A);
	sockaddr_of(&b, V6B);
	sockaddr_of(&v4, A1);
	uint64_t now = 1000;
	assert_int_equal(kr_servers_family(servers, AF_INET6, now), KR_FAMILY_UNPROVEN);
	kr_servers_answered(servers, &a.ip, 20, false, now);
	assert_int_equal(kr_servers_family(servers, AF_INET6, now), KR_FAMILY_WORKS);
	for (int i = 0; i < 9; ++i) /* one silent server is not a family */
		kr_servers_timeout(servers, &a.ip, 400, 1000, now);
	assert_int_equal(kr_servers_family(servers, AF_INET6, now), KR_FAMILY_WORKS);
	kr_servers_unreachable(servers, &a.ip, now);
	kr_servers_unreachable(servers, &b.ip, now);
	kr_servers_unreachable(servers, &a.ip, now);
	assert_int_equal(kr_servers_family(servers, AF_INET6, now), KR_FAMILY_BROKEN);
	assert_int_equal(kr_servers_family(servers, AF_INET, now), KR_FAMILY_UNPROVEN);
	for (int i = 0; i < 20; ++i) {
		uint64_t end = now;
		while (kr_servers_family(servers, AF_INET6, end) == KR_FAMILY_BROKEN)
			end += 1000;
		assert_in_range(end - now, 1000, 10 * 60 * 1000 + 1000);
		now = end;
		kr_servers_timeout(servers, i % 2 ? &a.ip : &b.ip, 400, 1000, now);
		assert_int_equal(kr_servers_family(servers, AF_INET6, now), KR_FAMILY_BROKEN);
	}
	kr_servers_answered(servers, &b.ip, 20, false, now);
	assert_int_equal(kr_servers_family(servers, AF_INET6, now), KR_FAMILY_WORKS);
	kr_servers_free(servers);
}

/* ---- among the servers of a cut ---- */

static void the_fastest_is_asked_and_one_choice_in_20_explores(void **state)
{
	struct world w;
	struct kr_query *qry = world_begin(&w, "test.", "www.test.");
	union kr_sockaddr fast, slow;
	sockaddr_of(&fast, A1);
	sockaddr_of(&slow, A2);
	unsigned others = 0;
	for (int i = 0; i < 4000; ++i) {
		qry = ask_again(&w, "test.", "www.test.");
		add_server(qry, "ns1.test.", A1);
		add_server(qry, "ns2.test.", A2);
		kr_servers_answered(w.ctx.servers, &fast.ip, 10, false, w.ctx.now_ms);
		kr_servers_answered(w.ctx.servers, &slow.ip, 300, false, w.ctx.now_ms);
		struct kr_transport *transport = choose(qry);
		expect(transport, KR_TRANSPORT_UDP, NULL);
		others += is_at(transport, A2);
	}
	assert_in_range(
		others, 4000 / 20 / 2 - 50, 4000 / 20 / 2 + 50); /* half of them hit the fast one */
	world_end(&w);
}

static void strangers_are_chosen_by_chance(void **state)
{
	struct world w;
	struct kr_query *qry = world_begin(&w, "test.", "www.test.");
	unsigned first = 0;
	for (int i = 0; i < 400; ++i) {
		qry = ask_again(&w, "test.", "www.test.");
		add_server(qry, "ns1.test.", A1);
		add_server(qry, "ns2.test.", A2);
		first += is_at(choose(qry), A1);
	}
	assert_in_range(first, 140, 260);
	world_end(&w);
}

static void dead_server_is_skipped(void **state)
{
	struct world w;
	struct kr_query *qry = world_begin(&w, "test.", "www.test.");
	union kr_sockaddr dead;
	sockaddr_of(&dead, A1);
	for (int i = 0; i < 4; ++i)
		kr_servers_timeout(w.ctx.servers, &dead.ip, 1000, 1000000, w.ctx.now_ms);
	for (int i = 0; i < 500; ++i) { /* exploring does not meet it either (F-22: at most 5 %) */
		qry = ask_again(&w, "test.", "www.test.");
		add_server(qry, "ns1.test.", A1);
		add_server(qry, "ns2.test.", A2);
		expect(choose(qry), KR_TRANSPORT_UDP, A2);
	}
	qry = ask_again(
		&w, "test.", "www.test."); /* if it is the only one it is asked all the same */
	add_server(qry, "ns1.test.", A1);
	expect(choose(qry), KR_TRANSPORT_UDP, A1);
	world_end(&w);
}

static void b13_two_tries_of_each_address_and_no_more(void **state)
{
	struct world w;
	struct kr_query *qry = world_begin(&w, "test.", "www.test.");
	qry->creation_time_mono -= 1800; /* when stale data have been looked at */
	add_server(qry, "ns1.test.", A1);
	add_server(qry, "ns2.test.", A2);
	unsigned tries[2] = {0};
	struct kr_transport *transport;
	for (int i = 0; (transport = choose(qry)); ++i) {
		expect(transport, KR_TRANSPORT_UDP, NULL);
		tries[is_at(transport, A2)] += 1;
		if (i == 1) { /* each once before one twice */
			assert_int_equal(tries[0], 1);
			assert_int_equal(tries[1], 1);
		}
		error(qry, transport, KR_SELECTION_QUERY_TIMEOUT);
	}
	assert_int_equal(tries[0], KR_TRIES_UDP_MAX);
	assert_int_equal(tries[1], KR_TRIES_UDP_MAX);
	assert_true(w.ctx.now_ms - qry->creation_time_mono <= KR_REQUEST_TIME_MS);
	world_end(&w);
}

static int32_t any_age(
	int32_t ttl, const knot_dname_t *owner, uint16_t type, const struct kr_query *qry)
{
	return 1;
}

static void f23_stale_data_get_their_chance_after_1800_ms(void **state)
{
	for (int servers = 1; servers <= 13; ++servers) {
		struct world w;
		struct kr_query *qry = world_begin(&w, "test.", "www.test.");
		qry->stale_cb = any_age;
		for (int i = 1; i <= servers; ++i) {
			char ns[32], addr[32];
			snprintf(ns, sizeof(ns), "ns%d.test.", i);
			snprintf(addr, sizeof(addr), "192.0.2.%d", i);
			add_server(qry, ns, addr);
		}
		bool has_looked = false;
		unsigned sent = 0;
		struct kr_transport *transport;
		while ((transport = choose(qry))) {
			const uint64_t age = w.ctx.now_ms - qry->creation_time_mono;
			has_looked = has_looked || (age >= 1800 && age <= 1950);
			error(qry, transport, KR_SELECTION_QUERY_TIMEOUT);
			sent += 1;
			if (w.ctx.now_ms - qry->creation_time_mono >= KR_REQUEST_TIME_MS)
				break;
		}
		assert_true(has_looked);
		assert_true(sent <= (unsigned)servers * KR_TRIES_UDP_MAX + 1);
		world_end(&w);
	}
}

static void tries_belong_to_one_question(void **state)
{
	struct world w;
	struct kr_query *qry = world_begin(&w, "test.", "a.b.c.d.e.f.test.");
	add_server(qry, "ns1.test.", A1);
	const knot_dname_t *name = qry->sname;
	const knot_dname_t *suffix[6];
	for (int i = 0; i < 6; ++i) {
		suffix[i] = name;
		name = knot_wire_next_label(name, NULL);
	}
	for (int i = 5; i >= 0; --i) { /* minimised questions, one after the other */
		qry->asked_name = (knot_dname_t *)suffix[i];
		qry->asked_type = i ? KNOT_RRTYPE_NS : KNOT_RRTYPE_A;
		struct kr_transport *transport = choose(qry);
		expect(transport, KR_TRANSPORT_UDP, A1);
		error(qry, transport, KR_SELECTION_QUERY_TIMEOUT);
		transport = choose(qry);
		expect(transport, KR_TRANSPORT_UDP, A1);
		answer(qry, transport, 10);
	}
	world_end(&w);
}

static void the_last_server_gets_all_the_time_but_not_more(void **state)
{
	struct world w;
	struct kr_query *qry = world_begin(&w, "test.", "www.test.");
	add_server(qry, "ns1.test.", A1);
	struct kr_transport *transport = choose(qry);
	assert_int_equal(transport->timeout, 400);
	assert_false(transport->timeout_capped);
	error(qry, transport, KR_SELECTION_QUERY_TIMEOUT);
	transport = choose(qry);
	assert_int_equal(transport->timeout, KR_TRY_TIME_MAX_MS); /* until no client would listen */
	error(qry, transport, KR_SELECTION_QUERY_TIMEOUT);
	assert_null(choose(qry));
	qry = ask_again(&w, "test.", "ftp.test.");
	qry->stale_cb = any_age;
	add_server(qry, "ns1.test.", A2);
	error(qry, choose(qry), KR_SELECTION_QUERY_TIMEOUT);
	transport = choose(qry);
	assert_int_equal(transport->timeout, 1801 - 400);
	assert_true(transport->timeout_capped); /* says nothing of the server */
	error(qry, transport, KR_SELECTION_QUERY_TIMEOUT);
	transport = choose(qry);
	assert_int_equal(transport->timeout, 3600 - 1801);
	error(qry, transport, KR_SELECTION_QUERY_TIMEOUT);
	assert_null(choose(qry));
	qry = ask_again(&w, "test.", "www.test.");
	qry->creation_time_mono = w.ctx.now_ms - KR_REQUEST_TIME_MS + 30;
	add_server(qry, "ns1.test.", A1);
	transport = choose(qry);
	assert_int_equal(transport->timeout, 30);
	assert_true(transport->timeout_capped);
	world_end(&w);
}

static void f22_strangers_get_less_time_when_many_were_silent(void **state)
{
	struct world w;
	struct kr_query *qry = world_begin(&w, "test.", "www.test.");
	for (int i = 1; i <= 13; ++i) {
		char ns[32], addr[32];
		snprintf(ns, sizeof(ns), "ns%d.test.", i);
		snprintf(addr, sizeof(addr), "192.0.2.%d", i);
		add_server(qry, ns, addr);
	}
	for (int i = 0; i < 12; ++i) {
		struct kr_transport *transport = choose(qry);
		expect(transport, KR_TRANSPORT_UDP, NULL);
		error(qry, transport, KR_SELECTION_QUERY_TIMEOUT);
	}
	assert_non_null(choose(qry)); /* the thirteenth, in time */
	assert_true(w.ctx.now_ms - 1000000 <= 3000);
	world_end(&w);
}

static void a11_shared_addresses_are_asked_as_one(void **state)
{
	struct world w;
	struct kr_query *qry = world_begin(&w, "test.", "www.test.");
	for (int i = 0; i < 10; ++i) {
		char ns[32];
		snprintf(ns, sizeof(ns), "ns%d.test.", i);
		add_server(qry, ns, A1);
		add_server(qry, ns, A2);
		add_server(qry, ns, A3);
	}
	unsigned sent = 0;
	struct kr_transport *transport;
	while ((transport = choose(qry))) {
		expect(transport, KR_TRANSPORT_UDP, NULL);
		error(qry, transport, KR_SELECTION_QUERY_TIMEOUT);
		sent += 1;
	}
	assert_in_range(sent, 3 * KR_TRIES_UDP_MAX, 3 * KR_TRIES_UDP_MAX + 1);
	world_end(&w);
}

static void a_family_that_is_off_is_not_asked(void **state)
{
	for (int off6 = 0; off6 < 2; ++off6) {
		struct world w;
		struct kr_query *qry = world_begin(&w, "test.", "www.test.");
		add_server(qry, "ns1.test.", A1);
		add_server(qry, "ns1.test.", V6A);
		add_server(qry, "ns.other.", NULL);
		qry->flags.NO_IPV6 = off6;
		qry->flags.NO_IPV4 = !off6;
		struct kr_transport *transport;
		unsigned looked_up = 0;
		while ((transport = choose(qry))) {
			if (transport->protocol <= KR_TRANSPORT_RESOLVE_AAAA) {
				assert_int_equal(transport->protocol,
					off6 ? KR_TRANSPORT_RESOLVE_A : KR_TRANSPORT_RESOLVE_AAAA);
				looked_up += 1;
				continue;
			}
			assert_true(is_at(transport, off6 ? A1 : V6A));
			error(qry, transport, KR_SELECTION_QUERY_TIMEOUT);
		}
		assert_int_equal(looked_up, 1);
		world_end(&w);
	}
}

static void f25_ipv6_that_never_worked_is_only_explored(void **state)
{
	struct world w;
	struct kr_query *qry = world_begin(&w, "test.", "www.test.");
	union kr_sockaddr v4, v6;
	sockaddr_of(&v4, A1);
	sockaddr_of(&v6, V6A);
	unsigned sixes = 0, waited = 0;
	for (int i = 0; i < 1000; ++i) {
		qry = ask_again(&w, "test.", "www.test.");
		add_server(qry, "ns1.test.", A1);
		add_server(qry, "ns1.test.", V6A);
		struct kr_transport *transport = choose(qry);
		if (!is_at(transport, V6A)) {
			answer(qry, transport, 20);
			continue;
		}
		sixes += 1;
		waited = KR_MAX(waited, transport->timeout);
		error(qry, transport, KR_SELECTION_QUERY_TIMEOUT);
		expect(choose(qry), KR_TRANSPORT_UDP, A1); /* the very next */
	}
	assert_in_range(sixes, 1, 50);
	assert_in_range(waited, KR_TRY_TIME_MIN_MS, 250);
	kr_servers_answered(w.ctx.servers, &v6.ip, 5, false, w.ctx.now_ms);
	qry = ask_again(&w, "test.", "www.test.");
	add_server(qry, "ns1.test.", A1);
	add_server(qry, "ns1.test.", V6A);
	sixes = 0;
	for (int i = 0; i < 100; ++i) {
		qry->server_selection.initialized = false;
		sixes += is_at(choose(qry), V6A);
	}
	assert_true(sixes >= 85); /* it works, and it is faster */
	world_end(&w);
}

/* ---- look-ups ---- */

static void glue_is_enough(void **state)
{
	struct world w;
	struct kr_query *qry = world_begin(&w, "test.", "www.test.");
	add_server(qry, "ns1.test.", A1);
	add_server(qry, "ns1.other.", NULL);
	struct kr_transport *transport = choose(qry);
	expect(transport, KR_TRANSPORT_UDP, A1);
	error(qry, transport, KR_SELECTION_QUERY_TIMEOUT);
	/* the others are looked for before the silent one is asked again */
	transport = choose(qry);
	expect(transport, KR_TRANSPORT_RESOLVE_A, NULL);
	assert_true(knot_dname_is_equal(transport->ns_name, (const uint8_t *)"\3ns1\5other"));
	add_server(qry, "ns1.other.", A2);
	expect(choose(qry), KR_TRANSPORT_UDP, A2);
	world_end(&w);
}

static void names_that_need_themselves_are_not_looked_up(void **state)
{
	struct world w;
	struct kr_query *qry = world_begin(&w, "test.", "www.test.");
	add_server(qry, "ns1.test.", NULL);
	assert_null(choose(qry));
	qry = ask_again(&w, "test.", "www.test.");
	add_server(qry, "ns1.test.", NULL);
	add_server(qry, "ns.other.", NULL);
	struct kr_transport *transport = choose(qry);
	expect(transport, KR_TRANSPORT_RESOLVE_A, NULL);
	assert_true(knot_dname_is_equal(transport->ns_name, (const uint8_t *)"\2ns\5other"));
	add_server(qry, "ns.other.", A1);
	transport = choose(qry);
	expect(transport, KR_TRANSPORT_UDP, A1);
	error(qry, transport, KR_SELECTION_QUERY_TIMEOUT);
	transport = choose(qry); /* now there is somebody to ask for it */
	expect(transport, KR_TRANSPORT_RESOLVE_A, NULL);
	assert_true(knot_dname_is_equal(transport->ns_name, (const uint8_t *)"\3ns1\4test"));
	world_end(&w);
}

static void b07_five_failed_lookups_in_a_row_are_enough(void **state)
{
	struct world w;
	struct kr_query *qry = world_begin(&w, "test.", "www.test.");
	for (int i = 0; i < 13; ++i) {
		char ns[32];
		snprintf(ns, sizeof(ns), "ns%d.victim.", i);
		add_server(qry, ns, NULL);
	}
	unsigned lookups[2] = {0};
	struct kr_transport *transport;
	while ((transport = choose(qry))) {
		assert_true(transport->protocol <= KR_TRANSPORT_RESOLVE_AAAA);
		lookups[transport->protocol] += 1;
		kr_server_selection_no_address(qry, transport->ns_name,
			transport->protocol == KR_TRANSPORT_RESOLVE_A ? KNOT_RRTYPE_A
								      : KNOT_RRTYPE_AAAA);
	}
	assert_int_equal(lookups[0] + lookups[1], KR_NS_LOOKUP_FAIL_MAX);
	assert_true(lookups[0] >= 2 && lookups[1] >= 2); /* a zone with AAAA only is found, too */
	world_end(&w);
}

static void b07_twelve_lookups_for_one_delegation(void **state)
{
	struct world w;
	struct kr_query *qry = world_begin(&w, "test.", "www.test.");
	for (int i = 0; i < 13; ++i) {
		char ns[32];
		snprintf(ns, sizeof(ns), "ns%d.victim.", i);
		add_server(qry, ns, NULL);
	}
	unsigned lookups = 0;
	struct kr_transport *transport;
	for (int i = 0; (transport = choose(qry)); ++i) {
		assert_true(i < 100);
		if (transport->protocol > KR_TRANSPORT_RESOLVE_AAAA) {
			error(qry, transport, KR_SELECTION_QUERY_TIMEOUT);
			continue;
		}
		uint8_t addr[16] = {0x20, 0x01, [15] = i};
		kr_zonecut_add(&qry->zone_cut, transport->ns_name, addr,
			transport->protocol == KR_TRANSPORT_RESOLVE_A ? 4 : 16);
		lookups += 1;
	}
	assert_int_equal(lookups, KR_NS_LOOKUP_CUT_MAX);
	world_end(&w);
}

static void c15_looked_up_addresses_are_real_ones(void **state)
{
	static const char *const bad[] = {"127.0.0.1", "0.0.0.0", "0.1.2.3", "169.254.1.1",
		"224.0.0.1", "255.255.255.255", "::", "::1", "::ffff:192.0.2.1", "fe80::1",
		"ff02::1"};
	struct world w;
	struct kr_query *qry = world_begin(&w, "test.", "www.test.");
	for (size_t i = 0; i < KR_COUNT_OF(bad); ++i) {
		union kr_sockaddr addr;
		sockaddr_of(&addr, bad[i]);
		uint8_t buf[sizeof(knot_rdata_t) + 16];
		knot_rdata_t *rd = (knot_rdata_t *)buf;
		knot_rdata_init(rd, kr_inaddr_len(&addr.ip), (const uint8_t *)kr_inaddr(&addr.ip));
		assert_int_equal(selection_add_address(qry, (const uint8_t *)"\2ns", rd),
			kr_error(EADDRNOTAVAIL));
		qry->flags.ALLOW_LOCAL = true;
		assert_int_equal(selection_add_address(qry, (const uint8_t *)"\2ns", rd), 0);
		qry->flags.ALLOW_LOCAL = false;
	}
	world_end(&w);
}

/* ---- bad answers ---- */

/** */
static void failing_servers_make_us_give_up_habits_in_order(void **state)
{
	static const enum kr_selection_error errors[] = {KR_SELECTION_SERVFAIL,
		KR_SELECTION_REFUSED, KR_SELECTION_NOTIMPL, KR_SELECTION_FORMERR_EDNS};
	for (size_t i = 0; i < KR_COUNT_OF(errors); ++i) {
		struct world w;
		struct kr_query *qry = world_begin(&w, "test.", "a.www.test.");
		add_server(qry, "ns1.test.", A1);
		qry->asked_name = (knot_dname_t *)knot_wire_next_label(qry->sname, NULL);
		qry->asked_type = KNOT_RRTYPE_NS;
		struct kr_transport *transport = choose(qry);
		expect(transport, KR_TRANSPORT_UDP, A1);
		error(qry, transport, errors[i]);
		assert_true(qry->flags.NO_MINIMIZE);
		assert_false(qry->flags.NO_0X20);
		qry->asked_name = qry->sname; /* the driver follows the flag */
		qry->asked_type = qry->stype;
		transport = choose(qry);
		expect(transport, KR_TRANSPORT_UDP, A1);
		error(qry, transport, errors[i]);
		transport = choose(qry);
		expect(transport, KR_TRANSPORT_TCP, A1);
		assert_true(qry->flags.NO_0X20);
		assert_true(qry->flags.TCP);
		error(qry, transport, errors[i]);
		assert_null(choose(qry));
		world_end(&w);
	}
}

static void a_good_server_is_asked_before_a_failing_one_again(void **state)
{
	struct world w;
	struct kr_query *qry = world_begin(&w, "test.", "www.test.");
	add_server(qry, "ns1.test.", A1);
	add_server(qry, "ns2.test.", A2);
	struct kr_transport *first = choose(qry);
	error(qry, first, KR_SELECTION_REFUSED);
	struct kr_transport *second = choose(qry);
	expect(second, KR_TRANSPORT_UDP, NULL);
	assert_int_not_equal(kr_sockaddr_cmp(&first->address.ip, &second->address.ip), 0);
	assert_false(qry->flags.NO_0X20);
	world_end(&w);
}

/** S-11, C-41. */
static void formerr_switches_edns_off_for_that_server_only(void **state)
{
	struct world w;
	struct kr_query *qry = world_begin(&w, "test.", "www.test.");
	add_server(qry, "ns1.test.", A1);
	add_server(qry, "ns2.test.", A2);
	struct kr_transport *first = choose(qry);
	error(qry, first, KR_SELECTION_FORMERR);
	assert_true(qry->flags.NO_EDNS);
	struct kr_transport *again = choose(qry);
	assert_int_equal(kr_sockaddr_cmp(&first->address.ip, &again->address.ip), 0);
	assert_true(qry->flags.NO_EDNS);
	error(qry, again, KR_SELECTION_FORMERR);
	struct kr_transport *second = choose(qry);
	assert_int_not_equal(kr_sockaddr_cmp(&first->address.ip, &second->address.ip), 0);
	assert_false(qry->flags.NO_EDNS);
	world_end(&w);
}

static void a49_formerr_never_switches_edns_off_where_data_are_signed(void **state)
{
	struct world w;
	struct kr_query *qry = world_begin(&w, "test.", "www.test.");
	add_server(qry, "ns1.test.", A1);
	static const uint8_t ds[] = {0, 1, 8, 2, 0, 0};
	knot_rrset_t *set =
		knot_rrset_new(qry->zone_cut.name, KNOT_RRTYPE_DS, KNOT_CLASS_IN, 60, &w.req.pool);
	knot_rrset_add_rdata(set, ds, sizeof(ds), &w.req.pool);
	qry->zone_cut.trust_anchor = set;
	qry->flags.DNSSEC_WANT = true;
	struct kr_transport *transport;
	for (int i = 0; (transport = choose(qry)); ++i) {
		assert_true(i < 5);
		error(qry, transport, KR_SELECTION_FORMERR);
		assert_false(qry->flags.NO_EDNS);
	}
	world_end(&w);
}

static void truncation_leads_to_a_stream_to_the_same_server(void **state)
{
	struct world w;
	struct kr_query *qry = world_begin(&w, "test.", "www.test.");
	add_server(qry, "ns1.test.", A1);
	add_server(qry, "ns2.test.", A2);
	struct kr_transport *first = choose(qry);
	error(qry, first, KR_SELECTION_TRUNCATED);
	struct kr_transport *stream = choose(qry);
	expect(stream, KR_TRANSPORT_TCP, NULL);
	assert_int_equal(kr_sockaddr_cmp(&first->address.ip, &stream->address.ip), 0);
	assert_in_range(stream->timeout, 1000, KR_TRY_TIME_MAX_MS);
	/* F-26: refused stream, or truncated again: next server; UDP would be truncated again */
	error(qry, stream, KR_SELECTION_TCP_CONNECT_FAILED);
	struct kr_transport *other = choose(qry);
	expect(other, KR_TRANSPORT_TCP, NULL);
	assert_int_not_equal(kr_sockaddr_cmp(&first->address.ip, &other->address.ip), 0);
	error(qry, other, KR_SELECTION_TRUNCATED);
	assert_null(choose(qry));
	world_end(&w);
}

static void s10_a_near_miss_is_settled_by_one_stream_then_udp(void **state)
{
	struct world w;
	struct kr_query *qry = world_begin(&w, "test.", "www.test.");
	add_server(qry, "ns1.test.", A1);
	add_server(qry, "ns2.test.", A2);
	struct kr_transport *first = choose(qry);
	error(qry, first, KR_SELECTION_MISMATCHED);
	assert_true(qry->flags.TCP);
	assert_true(qry->flags.NO_0X20);
	struct kr_transport *stream = choose(qry);
	expect(stream, KR_TRANSPORT_TCP, NULL);
	assert_int_equal(kr_sockaddr_cmp(&first->address.ip, &stream->address.ip), 0);
	error(qry, stream, KR_SELECTION_TCP_CONNECT_TIMEOUT);
	struct kr_transport *again = choose(qry);
	expect(again, KR_TRANSPORT_UDP, NULL);
	assert_int_equal(kr_sockaddr_cmp(&first->address.ip, &again->address.ip), 0);
	assert_false(qry->flags.NO_0X20);
	assert_false(qry->flags.TCP);
	world_end(&w);
}

static void s05_letter_case_is_learned_from_three_proven_cases(void **state)
{
	struct world w;
	struct kr_query *qry = world_begin(&w, "test.", "www.test.");
	for (int i = 0; i < 3; ++i) {
		qry = ask_again(&w, "test.", "www.test.");
		add_server(qry, "ns1.test.", A1);
		struct kr_transport *transport = choose(qry);
		expect(transport, KR_TRANSPORT_UDP, A1); /* S-20: not after the first */
		error(qry, transport, KR_SELECTION_MISMATCHED);
		transport = choose(qry);
		expect(transport, KR_TRANSPORT_TCP, A1);
		answer(qry, transport, 30);
	}
	qry = ask_again(&w, "test.", "www.test.");
	add_server(qry, "ns1.test.", A1);
	expect(choose(qry), KR_TRANSPORT_TCP, A1);
	qry = ask_again(&w, "test.", "www.test.");
	add_server(qry, "ns1.test.", A1);
	w.ctx.now_ms += 15 * 60 * 1000;
	qry->creation_time_mono = w.ctx.now_ms;
	expect(choose(qry), KR_TRANSPORT_UDP, A1);
	world_end(&w);
}

static void s20_near_misses_that_no_stream_confirms_teach_nothing(void **state)
{
	struct world w;
	struct kr_query *qry = world_begin(&w, "test.", "www.test.");
	for (int i = 0; i < 20; ++i) {
		qry = ask_again(&w, "test.", "www.test.");
		add_server(qry, "ns1.test.", A1);
		struct kr_transport *transport = choose(qry);
		expect(transport, KR_TRANSPORT_UDP, A1);
		error(qry, transport, KR_SELECTION_MISMATCHED);
	}
	world_end(&w);
}

static void lame_server_is_left_for_another_name(void **state)
{
	struct world w;
	struct kr_query *qry = world_begin(&w, "test.", "www.test.");
	union kr_sockaddr a1;
	sockaddr_of(&a1, A1);
	kr_servers_answered(w.ctx.servers, &a1.ip, 1, false, w.ctx.now_ms);
	add_server(qry, "ns1.test.", A1);
	add_server(qry, "ns1.test.", A3);
	struct kr_transport *transport = NULL;
	for (int i = 0; !is_at(transport, A1); ++i) {
		assert_true(i < 100);
		qry->server_selection.initialized = false;
		transport = choose(qry);
	}
	add_server(qry, "ns2.test.", A2);
	error(qry, transport, KR_SELECTION_LAME_DELEGATION);
	assert_true(qry->flags.NO_MINIMIZE);
	transport = choose(qry);
	expect(transport, KR_TRANSPORT_UDP, A2);
	error(qry, transport, KR_SELECTION_LAME_DELEGATION);
	assert_null(choose(qry));
	/* C-11: remembered for the window, as an order of preference */
	qry = ask_again(&w, "test.", "mail.test.");
	add_server(qry, "ns1.test.", A1);
	add_server(qry, "ns3.test.", A3);
	unsigned lame = 0;
	for (int i = 0; i < 100; ++i) {
		qry->server_selection.initialized = false;
		lame += is_at(choose(qry), A1);
	}
	assert_in_range(lame, 0, 12);
	world_end(&w);
}

static void a_lame_answer_to_a_minimised_question_is_asked_again_in_full(void **state)
{
	struct world w;
	struct kr_query *qry = world_begin(&w, "test.", "a.www.test.");
	add_server(qry, "ns1.test.", A1);
	qry->asked_name = (knot_dname_t *)knot_wire_next_label(qry->sname, NULL);
	qry->asked_type = KNOT_RRTYPE_NS;
	struct kr_transport *transport = choose(qry);
	error(qry, transport, KR_SELECTION_LAME_DELEGATION);
	assert_true(qry->flags.NO_MINIMIZE);
	qry->asked_name = qry->sname;
	qry->asked_type = qry->stype;
	transport = choose(qry);
	expect(transport, KR_TRANSPORT_UDP, A1);
	error(qry, transport, KR_SELECTION_LAME_DELEGATION);
	assert_null(choose(qry));
	world_end(&w);
}

static void forced_streams_are_the_only_way(void **state)
{
	struct world w;
	struct kr_query *qry = world_begin(&w, "test.", "www.test.");
	w.req.options.TCP = qry->flags.TCP = true;
	add_server(qry, "ns1.test.", A1);
	struct kr_transport *transport;
	for (int i = 0; (transport = choose(qry)); ++i) {
		assert_true(i < KR_TRIES_STREAM_MAX);
		expect(transport, KR_TRANSPORT_TCP, A1);
		error(qry, transport, KR_SELECTION_TCP_CONNECT_FAILED);
	}
	world_end(&w);
}

/** whatever servers do, the number of tries is small and choosing comes to an
 * end. */
static void any_sequence_of_errors_ends_within_the_budgets(void **state)
{
	for (uint64_t seed = 1; seed <= 300; ++seed) {
		struct world w;
		struct kr_query *qry = world_begin(&w, "test.", "a.www.test.");
		w.rnd = seed;
		for (int i = 0; i < 13; ++i) {
			char ns[32], addr[64];
			snprintf(ns, sizeof(ns), i % 3 ? "ns%d.test." : "ns%d.other.", i);
			for (int j = 0; j < (int)(seed % 6); ++j) {
				snprintf(addr, sizeof(addr), j % 2 ? "2001:db8::%d" : "192.0.2.%d",
					i * 6 + j);
				add_server(qry, ns, addr);
			}
			add_server(qry, ns, NULL);
		}
		if (seed % 2) {
			qry->asked_name = (knot_dname_t *)knot_wire_next_label(qry->sname, NULL);
			qry->asked_type = KNOT_RRTYPE_NS;
		}
		struct {
			union kr_sockaddr addr;
			unsigned udp, stream;
		} sent[64] = {0};
		size_t sent_len = 0;
		unsigned lookups = 0, steps = 0;
		struct kr_transport *transport;
		while ((transport = choose(qry))) {
			assert_true(++steps < 300);
			if (transport->protocol <= KR_TRANSPORT_RESOLVE_AAAA) {
				lookups += 1;
				kr_server_selection_no_address(
					qry, transport->ns_name, KNOT_RRTYPE_A);
				continue;
			}
			size_t at = 0;
			while (at < sent_len &&
				kr_sockaddr_cmp(&sent[at].addr.ip, &transport->address.ip) != 0)
				++at;
			if (at == sent_len) {
				assert_true(sent_len < KR_COUNT_OF(sent));
				sent[sent_len++].addr = transport->address;
			}
			*(transport->protocol == KR_TRANSPORT_UDP ? &sent[at].udp
								  : &sent[at].stream) += 1;
			error(qry, transport, kr_ctx_rnd32(&w.ctx) % KR_SELECTION_NUMBER_OF_ERRORS);
			if (qry->flags.NO_MINIMIZE && qry->asked_name != qry->sname) {
				qry->asked_name = qry->sname;
				qry->asked_type = qry->stype;
				memset(sent, 0, sizeof(sent)); /* another question */
				sent_len = 0;
			}
		}
		unsigned extra = 0; /* one wait may be cut short for the sake of stale data */
		for (size_t i = 0; i < sent_len; ++i) {
			assert_in_range(sent[i].udp, 0, KR_TRIES_UDP_MAX + 1);
			extra += sent[i].udp > KR_TRIES_UDP_MAX;
			assert_true(extra <= 1);
			assert_in_range(sent[i].stream, 0, KR_TRIES_STREAM_MAX);
		}
		assert_true(lookups <= KR_NS_LOOKUP_CUT_MAX);
		world_end(&w);
	}
}

/* ---- forwarding ---- */

static struct kr_query *forward_begin(struct world *w, const char *first, const char *second)
{
	struct kr_query *qry = world_begin(w, ".", "www.test.");
	kr_sockaddr_array_t *targets = &w->req.selection_context.forwarding_targets;
	union kr_sockaddr addr;
	sockaddr_of(&addr, first);
	kr_inaddr_set_port(&addr.ip, 5353);
	assert_true(array_push_mm(*targets, addr, &w->req.pool) >= 0);
	if (second) {
		sockaddr_of(&addr, second);
		kr_inaddr_set_port(&addr.ip, 5353);
		assert_true(array_push_mm(*targets, addr, &w->req.pool) >= 0);
	}
	qry->flags.FORWARD = true;
	return qry;
}

static void targets_are_asked_with_their_port_for_two_seconds(void **state)
{
	struct world w;
	struct kr_query *qry = forward_begin(&w, A1, NULL);
	unsigned sent = 0;
	struct kr_transport *transport;
	while ((transport = choose(qry))) {
		assert_int_equal(transport->protocol, KR_TRANSPORT_UDP);
		assert_int_equal(kr_inaddr_port(&transport->address.ip), 5353);
		assert_int_equal(transport->timeout, 2000);
		assert_int_equal(transport->ns_name[0], 0);
		error(qry, transport, KR_SELECTION_QUERY_TIMEOUT);
		sent += 1;
	}
	assert_int_equal(sent, KR_TRIES_UDP_MAX);
	world_end(&w);
}

static void a_target_that_refuses_is_not_asked_again(void **state)
{
	static const enum kr_selection_error errors[] = {
		KR_SELECTION_REFUSED, KR_SELECTION_SERVFAIL};
	for (size_t i = 0; i < KR_COUNT_OF(errors); ++i) {
		struct world w;
		struct kr_query *qry = forward_begin(&w, A1, A2);
		struct kr_transport *first = choose(qry);
		error(qry, first, errors[i]);
		struct kr_transport *second = choose(qry);
		assert_non_null(second);
		assert_int_not_equal(kr_sockaddr_cmp(&first->address.ip, &second->address.ip), 0);
		error(qry, second, errors[i]);
		assert_null(choose(qry));
		world_end(&w);
	}
}

static void the_second_target_is_next_after_a_timeout(void **state)
{
	struct world w;
	struct kr_query *qry = forward_begin(&w, A1, A2);
	struct kr_transport *first = choose(qry);
	error(qry, first, KR_SELECTION_QUERY_TIMEOUT);
	struct kr_transport *second = choose(qry);
	assert_int_not_equal(kr_sockaddr_cmp(&first->address.ip, &second->address.ip), 0);
	world_end(&w);
}

/** Two groups of one target each. */
static struct kr_query *groups_begin(struct world *w)
{
	struct kr_query *qry = forward_begin(w, A1, A2);
	w->req.selection_context.group_ends[0] = 1;
	w->req.selection_context.group_ends[1] = 2;
	return qry;
}

static bool is_target(const struct kr_transport *transport, const char *text)
{
	union kr_sockaddr addr;
	sockaddr_of(&addr, text);
	kr_inaddr_set_port(&addr.ip, 5353);
	return transport && kr_sockaddr_cmp(&transport->address.ip, &addr.ip) == 0;
}

static void the_next_group_is_for_when_the_first_failed(void **state)
{
	for (int i = 0; i < 20; ++i) { /* whatever the dice say */
		struct world w;
		struct kr_query *qry = groups_begin(&w);
		for (int n = 0; n < KR_TRIES_UDP_MAX; ++n) {
			struct kr_transport *transport = choose(qry);
			assert_true(is_target(transport, A1));
			error(qry, transport, KR_SELECTION_QUERY_TIMEOUT);
		}
		assert_true(is_target(choose(qry), A2));
		world_end(&w);
	}
}

static void groups_fall_back_only_on_what_was_asked_for(void **state)
{
	struct world w;
	struct kr_query *qry = groups_begin(&w);
	w.req.selection_context.no_fallback_on_servfail = true;
	error(qry, choose(qry), KR_SELECTION_SERVFAIL);
	assert_null(choose(qry));
	world_end(&w);

	qry = groups_begin(&w);
	w.req.selection_context.no_fallback_on_timeout = true;
	error(qry, choose(qry), KR_SELECTION_SERVFAIL);
	assert_true(is_target(choose(qry), A2));
	world_end(&w);

	qry = groups_begin(&w);
	w.req.selection_context.no_fallback_on_timeout = true;
	for (int n = 0; n < KR_TRIES_UDP_MAX; ++n)
		error(qry, choose(qry), KR_SELECTION_QUERY_TIMEOUT);
	assert_null(choose(qry));
	world_end(&w);
}

static bool everything_speaks_tls(struct sockaddr *addr)
{
	return true;
}

static void f24_tls_targets_are_never_asked_in_clear_text(void **state)
{
	static const enum kr_selection_error errors[] = {KR_SELECTION_TLS_HANDSHAKE_FAILED,
		KR_SELECTION_TCP_CONNECT_FAILED, KR_SELECTION_TCP_CONNECT_TIMEOUT,
		KR_SELECTION_QUERY_TIMEOUT, KR_SELECTION_MISMATCHED, KR_SELECTION_TRUNCATED,
		KR_SELECTION_FORMERR};
	for (size_t i = 0; i < KR_COUNT_OF(errors); ++i) {
		struct world w;
		struct kr_query *qry = forward_begin(&w, A1, A2);
		w.req.selection_context.is_tls_capable = everything_speaks_tls;
		struct kr_transport *transport;
		unsigned sent = 0;
		while ((transport = choose(qry))) {
			assert_int_equal(transport->protocol, KR_TRANSPORT_TLS);
			error(qry, transport, errors[i]);
			assert_true(++sent <= 4); /* two handshakes a target at most */
		}
		world_end(&w);
	}
}

static void a_truncating_target_is_asked_over_tcp(void **state)
{
	struct world w;
	struct kr_query *qry = forward_begin(&w, A1, A2);
	struct kr_transport *first = choose(qry);
	error(qry, first, KR_SELECTION_TRUNCATED);
	struct kr_transport *stream = choose(qry);
	assert_int_equal(stream->protocol, KR_TRANSPORT_TCP);
	assert_int_equal(kr_sockaddr_cmp(&first->address.ip, &stream->address.ip), 0);
	world_end(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rtt_is_smoothed_and_bounds_the_wait),
		cmocka_unit_test(four_timeouts_one_of_them_long_make_a_server_dead),
		cmocka_unit_test(c41_nothing_is_remembered_beyond_15_minutes),
		cmocka_unit_test(the_table_is_bounded),
		cmocka_unit_test(c11_lameness_belongs_to_address_and_zone_for_some_seconds),
		cmocka_unit_test(s12_one_network_error_does_not_ban),
		cmocka_unit_test(f25_a_broken_family_is_left_alone_for_a_while_never_for_good),
		cmocka_unit_test(the_fastest_is_asked_and_one_choice_in_20_explores),
		cmocka_unit_test(strangers_are_chosen_by_chance),
		cmocka_unit_test(dead_server_is_skipped),
		cmocka_unit_test(b13_two_tries_of_each_address_and_no_more),
		cmocka_unit_test(f23_stale_data_get_their_chance_after_1800_ms),
		cmocka_unit_test(tries_belong_to_one_question),
		cmocka_unit_test(the_last_server_gets_all_the_time_but_not_more),
		cmocka_unit_test(f22_strangers_get_less_time_when_many_were_silent),
		cmocka_unit_test(a11_shared_addresses_are_asked_as_one),
		cmocka_unit_test(a_family_that_is_off_is_not_asked),
		cmocka_unit_test(f25_ipv6_that_never_worked_is_only_explored),
		cmocka_unit_test(glue_is_enough),
		cmocka_unit_test(names_that_need_themselves_are_not_looked_up),
		cmocka_unit_test(b07_five_failed_lookups_in_a_row_are_enough),
		cmocka_unit_test(b07_twelve_lookups_for_one_delegation),
		cmocka_unit_test(c15_looked_up_addresses_are_real_ones),
		cmocka_unit_test(failing_servers_make_us_give_up_habits_in_order),
		cmocka_unit_test(a_good_server_is_asked_before_a_failing_one_again),
		cmocka_unit_test(formerr_switches_edns_off_for_that_server_only),
		cmocka_unit_test(a49_formerr_never_switches_edns_off_where_data_are_signed),
		cmocka_unit_test(truncation_leads_to_a_stream_to_the_same_server),
		cmocka_unit_test(s10_a_near_miss_is_settled_by_one_stream_then_udp),
		cmocka_unit_test(s05_letter_case_is_learned_from_three_proven_cases),
		cmocka_unit_test(s20_near_misses_that_no_stream_confirms_teach_nothing),
		cmocka_unit_test(lame_server_is_left_for_another_name),
		cmocka_unit_test(a_lame_answer_to_a_minimised_question_is_asked_again_in_full),
		cmocka_unit_test(forced_streams_are_the_only_way),
		cmocka_unit_test(any_sequence_of_errors_ends_within_the_budgets),
		cmocka_unit_test(targets_are_asked_with_their_port_for_two_seconds),
		cmocka_unit_test(a_target_that_refuses_is_not_asked_again),
		cmocka_unit_test(the_second_target_is_next_after_a_timeout),
		cmocka_unit_test(the_next_group_is_for_when_the_first_failed),
		cmocka_unit_test(groups_fall_back_only_on_what_was_asked_for),
		cmocka_unit_test(f24_tls_targets_are_never_asked_in_clear_text),
		cmocka_unit_test(a_truncating_target_is_asked_over_tcp),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
