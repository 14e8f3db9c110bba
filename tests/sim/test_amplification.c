/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Attacks that would make us a weapon: packets are counted at the servers. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include <libknot/packet/wire.h>

#include "tests/sim/rig.h"

#define ATK "192.0.2.10"
#define VIC "192.0.2.20"
#define WINDOW_MS 5000 /**< B-33 */

/** What servers of the victim do. */
enum failure { NXDOMAIN, NODATA, SERVFAIL, TIMEOUT, FAILURES };

static enum sim_reaction fail_with(struct rig_question *q, const char *zone, enum failure failure)
{
	switch (failure) {
	case NXDOMAIN:
		return q_nxdomain(q, zone);
	case NODATA:
		return q_nodata(q, zone);
	case SERVFAIL:
		return q_rcode(q, KNOT_RCODE_SERVFAIL);
	default:
		return SIM_SILENCE;
	}
}

/** The root knows three zones, each with one server. */
static enum sim_reaction root(struct rig_question *q)
{
	if (q_under(q, "atk."))
		return q_refer(q, "atk.", "ns.atk.", ATK);
	if (q_under(q, "vic."))
		return q_refer(q, "vic.", "ns.vic.", VIC);
	if (q_is(q, ".", KNOT_RRTYPE_NS)) {
		q_begin(q, R_AA);
		q_name(q, R_ANSWER, ".", KNOT_RRTYPE_NS, "k.root-servers.net.");
		return SIM_REPLY;
	}
	return q_nxdomain(q, ".");
}

static bool at(const struct rig_question *q, const char *server)
{
	return strcmp(q->server, server) == 0;
}

/** The first label of the question below `zone`, as text. */
static const char *child_of(const struct rig_question *q, const char *zone, char *buf, size_t size)
{
	const char *end = q->name + strlen(q->name) - strlen(zone);
	const char *start = end > q->name ? end - 1 : q->name;
	while (start > q->name && start[-1] != '.')
		start -= 1;
	snprintf(buf, size, "%.*s%s", (int)(end - start), start, zone);
	return buf;
}

/* ---- long referrals to servers that do not exist ---- */

struct referral {
	unsigned servers;
	enum failure failure;
};

static enum sim_reaction nxns(struct rig_question *q)
{
	const struct referral *r = q->rig->server_data;
	if (at(q, RIG_ROOT))
		return root(q);
	if (at(q, VIC))
		return fail_with(q, "vic.", r->failure);
	if (q_is(q, "atk.", q->type) || q_is(q, "ns.atk.", q->type))
		return q_address(q, "atk.", ATK);
	char zone[300], ns[600];
	child_of(q, "atk.", zone, sizeof(zone));
	q_begin(q, 0);
	for (unsigned i = 0; i < r->servers; ++i) {
		snprintf(ns, sizeof(ns), "x%u-%.*s.vic.", i, (int)strcspn(zone, "."), zone);
		q_name(q, R_AUTHORITY, zone, KNOT_RRTYPE_NS, ns);
	}
	if (!q->is_stream && q->len > 1232) {
		q_begin(q, R_TC);
	}
	return SIM_REPLY;
}

static void referrals_to_a_victim(void **state)
{
	static const unsigned lengths[] = {5, 13, 50, 135};
	for (size_t i = 0; i < KR_COUNT_OF(lengths); ++i) {
		for (int failure = 0; failure < FAILURES; ++failure) {
			const struct referral r = {lengths[i], failure};
			struct rig *rig = rig_open(nxns, &r, true);
			rig_ask_a(rig, "warm.vic.");
			for (int name = 0; name < 10; ++name) {
				char qname[64];
				snprintf(qname, sizeof(qname), "www.c%d.atk.", name);
				rig_reset_counts(rig);
				assert_int_equal(rig_ask_a(rig, qname), KNOT_RCODE_SERVFAIL);
				assert_true(rig->took_ms <= 8000);
				if (rig_packets(rig, VIC) > 12 || rig_packets(rig, "") > 30)
					fail_msg("%u servers, failure %d: %u packets to the "
						 "victim, %u in all",
						r.servers, failure, rig_packets(rig, VIC),
						rig_packets(rig, ""));
				rig_reset_counts(rig); /* the same delegation again */
				snprintf(qname, sizeof(qname), "ftp.c%d.atk.", name);
				rig_ask_a(rig, qname);
				if (rig_packets(rig, VIC) > 1)
					fail_msg("%u servers, failure %d: %u packets to the "
						 "victim when asked again",
						r.servers, failure, rig_packets(rig, VIC));
			}
			rig_close(rig);
		}
	}
}

/* ---- long referrals to servers that do not answer ---- */

static enum sim_reaction unresponsive(struct rig_question *q)
{
	if (at(q, RIG_ROOT))
		return root(q);
	if (!at(q, ATK))
		return SIM_SILENCE;
	char zone[300], ns[64], addr[32];
	if (strcmp(child_of(q, "atk.", zone, sizeof(zone)), "dead.atk.") != 0)
		return q_address(q, "atk.", ATK);
	if (!q->is_stream) {
		q_begin(q, R_TC);
		return SIM_REPLY;
	}
	q_begin(q, 0);
	for (unsigned i = 0; i < 1500; ++i) {
		snprintf(ns, sizeof(ns), "n%u.dead.atk.", i);
		q_name(q, R_AUTHORITY, zone, KNOT_RRTYPE_NS, ns);
	}
	for (unsigned i = 0; i < 250; ++i) {
		snprintf(ns, sizeof(ns), "n%u.dead.atk.", i);
		snprintf(addr, sizeof(addr), "198.51.%u.%u", 100 + i / 250, 1 + i % 250);
		q_a(q, R_ADDITIONAL, ns, addr);
	}
	return SIM_REPLY;
}

static void referral_to_the_dead(void **state)
{
	struct rig *rig = rig_open(unresponsive, NULL, true);
	assert_int_equal(rig_ask_a(rig, "www.dead.atk."), KNOT_RCODE_SERVFAIL);
	assert_in_range(rig->took_ms, 0, 8000);
	assert_in_range(rig_packets(rig, ""), 1, 30);
	rig_close(rig);
}

/* ---- zones that need each other ---- */

static enum sim_reaction cycle(struct rig_question *q)
{
	const unsigned length = *(const unsigned *)q->rig->server_data;
	if (at(q, RIG_ROOT) && !q_under(q, "atk."))
		return root(q);
	if (at(q, RIG_ROOT))
		return root(q);
	unsigned i;
	char zone[300], ns[64];
	child_of(q, "atk.", zone, sizeof(zone));
	if (sscanf(zone, "z%u.", &i) != 1)
		return q_address(q, "atk.", ATK);
	snprintf(ns, sizeof(ns), "ns.z%u.atk.", (i + 1) % length);
	q_begin(q, 0);
	q_name(q, R_AUTHORITY, zone, KNOT_RRTYPE_NS, ns);
	return SIM_REPLY;
}

/** A-03, B-08. */
static void cyclic_delegations(void **state)
{
	static const unsigned lengths[] = {1, 2, 3, 5};
	for (size_t i = 0; i < KR_COUNT_OF(lengths); ++i) {
		struct rig *rig = rig_open(cycle, &lengths[i], true);
		assert_int_equal(rig_ask_a(rig, "www.z0.atk."), KNOT_RCODE_SERVFAIL);
		assert_in_range(rig_packets(rig, ""), 1, 20);
		rig_reset_counts(rig);
		assert_int_equal(rig_ask_a(rig, "www.z0.atk."), KNOT_RCODE_SERVFAIL);
		assert_int_equal(rig_packets(rig, ""), 0);
		/* a thousand questions in a minute: windows of 5, 10, 20 and 40 s */
		for (int n = 0; n < 1000; ++n) {
			char qname[64];
			snprintf(qname, sizeof(qname), "w%d.z%u.atk.", n % 7, n % lengths[i]);
			rig_ask_a(rig, qname);
			simnet_pass(&rig->net, 60);
		}
		assert_in_range(rig_packets(rig, ""), 0, 20 * 7);
		rig_close(rig);
	}
}

/* ---- everything at once ---- */

struct product {
	unsigned servers, aliases, labels;
	enum failure failure;
};

/** Aliases lead from zone to zone; each zone has many servers, and few of them are any good. */
static enum sim_reaction composed(struct rig_question *q)
{
	const struct product *p = q->rig->server_data;
	if (at(q, RIG_ROOT))
		return root(q);
	unsigned i = 0;
	char zone[300], text[1200];
	child_of(q, "atk.", zone, sizeof(zone));
	if (sscanf(zone, "z%u.", &i) != 1)
		return q_address(q, "atk.", ATK);
	if (at(q, ATK)) {
		q_begin(q, 0);
		for (unsigned s = 0; s < p->servers; ++s) {
			snprintf(text, sizeof(text), "n%u.%s", s, zone);
			q_name(q, R_AUTHORITY, zone, KNOT_RRTYPE_NS, text);
		}
		for (unsigned s = 0; s < p->servers; ++s) {
			char addr[32];
			snprintf(text, sizeof(text), "n%u.%s", s, zone);
			snprintf(addr, sizeof(addr), "198.51.%u.%u", 100 + i, 1 + s);
			q_a(q, R_ADDITIONAL, text, addr);
		}
		return SIM_REPLY;
	}
	const char *last = strrchr(q->server, '.') + 1;
	if ((unsigned)atoi(last) != p->servers) /* only one server works */
		return fail_with(q, zone, p->failure == TIMEOUT ? TIMEOUT : SERVFAIL);
	unsigned labels = 0;
	for (const char *c = q->name; *c; ++c)
		labels += *c == '.';
	if (labels < p->labels + 2)
		return q_nodata(q, zone);
	if (i >= p->aliases)
		return fail_with(q, zone, p->failure);
	size_t len = 0;
	for (unsigned l = 0; l < p->labels; ++l)
		len += snprintf(text + len, sizeof(text) - len, "l%u.", l);
	snprintf(text + len, sizeof(text) - len, "z%u.atk.", i + 1);
	q_begin(q, R_AA);
	q_name(q, R_ANSWER, q->name, KNOT_RRTYPE_CNAME, text);
	return SIM_REPLY;
}

static void products_of_amplifiers(void **state)
{
	static const unsigned servers[] = {1, 6, 13}, aliases[] = {0, 6, 12},
			      labels[] = {1, 10, 30};
	unsigned most = 0;
	for (int i = 0; i < 27 * FAILURES; ++i) {
		const struct product p = {
			servers[i % 3], aliases[i / 3 % 3], labels[i / 9 % 3], i / 27};
		struct rig *rig = rig_open(composed, &p, true);
		char qname[300] = "";
		size_t len = 0;
		for (unsigned l = 0; l < p.labels; ++l)
			len += snprintf(qname + len, sizeof(qname) - len, "l%u.", l);
		snprintf(qname + len, sizeof(qname) - len, "z0.atk.");
		rig_ask_a(rig, qname);
		assert_true(rig->answer_len > 0);
		assert_true(rig->took_ms <= 8000);
		most = KR_MAX(most, rig_packets(rig, ""));
		if (rig_packets(rig, "") > KR_BUDGET_PACKETS_MAX)
			fail_msg("%u servers, %u aliases, %u labels, failure %d: %u packets",
				p.servers, p.aliases, p.labels, p.failure, rig_packets(rig, ""));
		rig_close(rig);
	}
	assert_in_range(most, 20, KR_BUDGET_PACKETS_MAX); /* it was an attack */
}

/* ---- chains without end ---- */

static enum sim_reaction chain(struct rig_question *q)
{
	const unsigned length = *(const unsigned *)q->rig->server_data;
	if (at(q, RIG_ROOT))
		return root(q);
	unsigned i;
	char target[64];
	if (sscanf(q->name, "c%u.atk.", &i) != 1)
		return q_nodata(q, "atk.");
	if (i >= length)
		return q_address(q, "atk.", "203.0.113.1");
	snprintf(target, sizeof(target), "c%u.atk.", i + 1);
	q_begin(q, R_AA);
	q_name(q, R_ANSWER, q->name, KNOT_RRTYPE_CNAME, target);
	return SIM_REPLY;
}

/** A-05, B-09. */
static void alias_chains(void **state)
{
	static const struct {
		unsigned length;
		int rcode;
	} chains[] = {{1, 0}, {11, 0}, {12, 0}, {13, 2}, {50, 2}, {100000, 2}};
	for (size_t i = 0; i < KR_COUNT_OF(chains); ++i) {
		struct rig *rig = rig_open(chain, &chains[i].length, true);
		assert_int_equal(rig_ask_a(rig, "c0.atk."), chains[i].rcode);
		if (chains[i].rcode == 0) {
			assert_int_equal(
				rig_answer_count(rig, KNOT_RRTYPE_CNAME), chains[i].length);
			assert_true(rig_answer_has_a(rig, "203.0.113.1"));
		}
		assert_in_range(rig_packets(rig, ""), 1, 20);
		rig_close(rig);
	}
}

/** Each label is a delegation to the same servers, for ever. */
static enum sim_reaction endless(struct rig_question *q)
{
	if (at(q, RIG_ROOT))
		return root(q);
	char ns[KNOT_DNAME_TXT_MAXLEN + 8], addr[32];
	static unsigned turn;
	snprintf(ns, sizeof(ns), "n.%s", q->name);
	snprintf(addr, sizeof(addr), "198.51.100.%u", 1 + turn++ % 200);
	if (strlen(ns) > 250)
		return q_nxdomain(q, q->name);
	return q_refer(q, q->name, ns, addr);
}

/** A-05, B-10. */
static void endless_delegations(void **state)
{
	char qname[300] = "";
	for (int i = 0; i < 100; ++i)
		strcat(qname, "d.");
	strcat(qname, "atk.");
	for (int minimize = 0; minimize < 2; ++minimize) {
		struct rig *rig = rig_open(endless, NULL, minimize);
		assert_int_equal(rig_ask_a(rig, qname), KNOT_RCODE_SERVFAIL);
		assert_in_range(rig_packets(rig, ""), 1, 45);
		rig_close(rig);
	}
}

static enum sim_reaction growing(struct rig_question *q)
{
	if (at(q, RIG_ROOT))
		return root(q);
	if (!q_under(q, "g.atk.") || strcmp(q->name, "g.atk.") == 0)
		return q_nodata(q, "atk.");
	q_begin(q, R_AA);
	q_name(q, R_ANSWER, "g.atk.", KNOT_RRTYPE_DNAME,
		"abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz.g.atk.");
	return SIM_REPLY;
}

static void growing_names(void **state)
{
	struct rig *rig = rig_open(growing, NULL, true);
	assert_int_equal(rig_ask_a(rig, "www.g.atk."), KNOT_RCODE_YXDOMAIN);
	assert_in_range(rig_packets(rig, ""), 1, 15);
	rig_close(rig);
}

/* ---- servers that provoke another try ---- */

struct provocation {
	uint16_t flags_rcode;
	bool with_opt;
	bool is_truncated; /**< by UDP */
	enum sim_reaction stream;
};

static enum sim_reaction provoke(struct rig_question *q)
{
	const struct provocation *p = q->rig->server_data;
	if (at(q, RIG_ROOT))
		return root(q);
	if (q->is_stream && p->stream != SIM_REPLY)
		return p->stream;
	q_begin(q, p->is_truncated && !q->is_stream ? R_TC : p->flags_rcode);
	if (p->with_opt)
		q_opt(q);
	return SIM_REPLY;
}

/** A-06, B-12. */
static void every_rcode(void **state)
{
	for (int i = 0; i < 24 * 4; ++i) {
		const struct provocation p = {i % 24, i / 24 % 2, i / 48, SIM_REPLY};
		const int rcode = p.flags_rcode & 15;
		if (rcode == 0 || rcode == KNOT_RCODE_NXDOMAIN || rcode == KNOT_RCODE_YXDOMAIN)
			continue;
		struct rig *rig = rig_open(provoke, &p, false);
		assert_int_equal(rig_ask_a(rig, "www.atk."), KNOT_RCODE_SERVFAIL);
		for (size_t j = 0; j < rig->counts_len; ++j) {
			const struct rig_count *count = &rig->counts[j];
			if (strcmp(count->server, ATK) == 0 &&
				(count->datagrams > 3 || count->stream_queries > 2))
				fail_msg("rcode %d%s: %u datagrams, %u by stream",
					p.flags_rcode & 15, p.with_opt ? " with OPT" : "",
					count->datagrams, count->stream_queries);
		}
		rig_close(rig);
	}
}

/** Thirteen servers that truncate and then close the stream in some way. */
static enum sim_reaction truncate_and_close(struct rig_question *q)
{
	const enum sim_reaction stream = *(const enum sim_reaction *)q->rig->server_data;
	if (at(q, RIG_ROOT) && q_under(q, "atk.")) {
		q_begin(q, 0);
		for (int i = 0; i < 13; ++i) {
			char ns[32];
			snprintf(ns, sizeof(ns), "n%d.atk.", i);
			q_name(q, R_AUTHORITY, "atk.", KNOT_RRTYPE_NS, ns);
		}
		for (int i = 0; i < 13; ++i) {
			char ns[32], addr[32];
			snprintf(ns, sizeof(ns), "n%d.atk.", i);
			snprintf(addr, sizeof(addr), "198.51.100.%d", i + 1);
			q_a(q, R_ADDITIONAL, ns, addr);
		}
		return SIM_REPLY;
	}
	if (at(q, RIG_ROOT))
		return root(q);
	if (!q->is_stream) {
		q_begin(q, R_TC);
		return SIM_REPLY;
	}
	if (stream != SIM_REPLY)
		return stream;
	q_begin(q, R_AA);
	q_a(q, R_ANSWER, q->name, "203.0.113.1");
	q->len /= 2; /* half a message */
	return SIM_REPLY;
}

static void reconnect_storms(void **state)
{
	static const enum sim_reaction ways[] = {SIM_CLOSE, SIM_SILENCE, SIM_REPLY};
	for (size_t i = 0; i <= KR_COUNT_OF(ways); ++i) {
		struct rig *rig = rig_open(truncate_and_close, &ways[i % KR_COUNT_OF(ways)], true);
		rig->refuses_streams = i == KR_COUNT_OF(ways);
		assert_int_equal(rig_ask_a(rig, "www.atk."), KNOT_RCODE_SERVFAIL);
		assert_in_range(rig->connects, 1, KR_BUDGET_CONNECTS_MAX);
		for (size_t j = 0; j < rig->counts_len; ++j)
			assert_in_range(
				rig->counts[j].stream_queries, 0, KR_BUDGET_CONNECTS_ADDR_MAX);
		rig_close(rig);
	}
}

/* ---- random subdomains of a zone that does not answer ---- */

static enum sim_reaction slow(struct rig_question *q)
{
	return at(q, RIG_ROOT) ? root(q) : SIM_SILENCE;
}

static enum sim_reaction drip(struct rig_question *q)
{
	q->arrival->delay_ms = at(q, RIG_ROOT) ? 0 : 2000;
	return at(q, RIG_ROOT) ? root(q) : q_address(q, "atk.", "203.0.113.1");
}

static void random_subdomains(void **state)
{
	struct rig *rig = rig_open(drip, NULL, true);
	assert_int_equal(rig_ask_a(rig, "first.atk."), KNOT_RCODE_NOERROR);
	rig_reset_counts(rig);
	unsigned most_open = 0;
	for (unsigned i = 0; i < 2500; ++i) { /* 500 a second */
		char qname[64];
		snprintf(qname, sizeof(qname), "r%u.atk.", i);
		rig_submit(rig, (struct rig_ask){.name = qname}, i);
		simnet_pass(&rig->net, 2);
		most_open = KR_MAX(most_open, (unsigned)rig->net.open);
	}
	assert_in_range(most_open, 1, 201); /* B-38 */
	assert_in_range(rig_packets(rig, ATK), 0, 2500);
	rig_close(rig);
}

/* ---- many labels ---- */

static enum sim_reaction non_terminals(struct rig_question *q)
{
	return at(q, RIG_ROOT) ? root(q) : q_nodata(q, "atk.");
}

/** A-10, B-11. */
static void many_labels(void **state)
{
	char qname[300] = "";
	for (int i = 0; i < 118; ++i)
		strcat(qname, "a.");
	strcat(qname, "atk.");
	struct rig *rig = rig_open(non_terminals, NULL, true);
	assert_int_equal(rig_ask_a(rig, qname), KNOT_RCODE_NOERROR);
	assert_in_range(rig_packets(rig, ""), 1, 14);
	rig_close(rig);
}

/* ---- glue ---- */

static enum sim_reaction overlapping(struct rig_question *q)
{
	unsigned *asked = (unsigned *)q->rig->server_data;
	if (!at(q, RIG_ROOT)) {
		asked[atoi(strrchr(q->server, '.') + 1)] += q_is(q, "www.atk.", KNOT_RRTYPE_A);
		return SIM_SILENCE;
	}
	if (!q_under(q, "atk."))
		return root(q);
	q_begin(q, 0);
	for (int i = 0; i < 10; ++i) {
		char ns[32];
		snprintf(ns, sizeof(ns), "n%d.atk.", i);
		q_name(q, R_AUTHORITY, "atk.", KNOT_RRTYPE_NS, ns);
	}
	for (int i = 0; i < 30; ++i) {
		char ns[32], addr[32];
		snprintf(ns, sizeof(ns), "n%d.atk.", i / 3);
		snprintf(addr, sizeof(addr), "198.51.100.%d", 1 + i % 3);
		q_a(q, R_ADDITIONAL, ns, addr);
	}
	return SIM_REPLY;
}

static void shared_addresses(void **state)
{
	unsigned asked[4] = {0};
	struct rig *rig = rig_open(overlapping, asked, false);
	assert_int_equal(rig_ask_a(rig, "www.atk."), KNOT_RCODE_SERVFAIL);
	for (size_t i = 1; i < KR_COUNT_OF(asked); ++i)
		assert_in_range(asked[i], 1, KR_TRIES_UDP_MAX + KR_TRIES_STREAM_MAX);
	rig_close(rig);
}

static const char *const special_addresses[] = {"127.0.0.1", "0.0.0.0", "0.1.2.3", "169.254.1.1",
	"224.0.0.1", "239.255.255.255", "255.255.255.255", "240.0.0.1", "127.255.0.1"};

static enum sim_reaction special_glue(struct rig_question *q)
{
	if (!at(q, RIG_ROOT))
		fail_msg("asked %s", q->server);
	if (!q_under(q, "atk."))
		return root(q);
	q_begin(q, 0);
	for (size_t i = 0; i < KR_COUNT_OF(special_addresses); ++i) {
		char ns[32];
		snprintf(ns, sizeof(ns), "n%u.atk.", (unsigned)i);
		q_name(q, R_AUTHORITY, "atk.", KNOT_RRTYPE_NS, ns);
	}
	for (size_t i = 0; i < KR_COUNT_OF(special_addresses); ++i) {
		char ns[32];
		snprintf(ns, sizeof(ns), "n%u.atk.", (unsigned)i);
		q_a(q, R_ADDITIONAL, ns, special_addresses[i]);
	}
	return SIM_REPLY;
}

static void addresses_of_nobody(void **state)
{
	struct rig *rig = rig_open(special_glue, NULL, true);
	assert_int_equal(rig_ask_a(rig, "www.atk."), KNOT_RCODE_SERVFAIL);
	assert_in_range(rig_packets(rig, ""), 1, 8);
	rig_close(rig);
}

/* ---- the same failure in a thousand disguises ---- */

static void disguised_failures(void **state)
{
	struct rig *rig = rig_open(slow, NULL, true);
	assert_int_equal(rig_ask_a(rig, "www.atk."), KNOT_RCODE_SERVFAIL);
	rig_reset_counts(rig);
	for (unsigned i = 0; i < 1000; ++i) {
		char qname[64];
		snprintf(qname, sizeof(qname), "%c%u.atk.", i & 1 ? 'W' : 'w', i % 50);
		rig_submit(rig,
			(struct rig_ask){.name = qname,
				.type = 1 + i % 40 + (i % 40 == 40),
				.cd = i & 2,
				.want_dnssec = i & 4},
			i);
		simnet_pass(&rig->net, WINDOW_MS / 1000);
	}
	assert_in_range(rig_packets(rig, ATK), 0, 40);
	rig_close(rig);
}

/* ---- what a victim of spoofing would get ---- */

static enum sim_reaction big(struct rig_question *q)
{
	if (at(q, RIG_ROOT))
		return root(q);
	if (!q_under(q, "big.atk.") && q->type != KNOT_RRTYPE_ANY)
		return q_nodata(q, "atk.");
	if (!q->is_stream) {
		q_begin(q, R_TC);
		return SIM_REPLY;
	}
	q_begin(q, R_AA);
	for (int i = 0; i < 500; ++i) {
		char addr[32];
		snprintf(addr, sizeof(addr), "203.0.%d.%d", i / 200, 1 + i % 200);
		q_a(q, R_ANSWER, q->name, addr);
	}
	for (int i = 0; i < 50; ++i)
		q_name(q, R_ANSWER, q->name, KNOT_RRTYPE_MX, "mail.atk.");
	return SIM_REPLY;
}

static void answers_by_udp_are_small(void **state)
{
	static const uint16_t types[] = {
		KNOT_RRTYPE_A, KNOT_RRTYPE_ANY, KNOT_RRTYPE_MX, KNOT_RRTYPE_TXT};
	struct rig *rig = rig_open(big, NULL, true);
	for (size_t i = 0; i < KR_COUNT_OF(types); ++i) {
		for (int edns = 0; edns < 2; ++edns) {
			rig_ask(rig,
				(struct rig_ask){
					.name = "big.atk.", .type = types[i], .no_edns = !edns});
			assert_in_range(rig->answer_len, 12, edns ? 1232 : 512);
		}
	}
	rig_close(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(referrals_to_a_victim),
		cmocka_unit_test(referral_to_the_dead),
		cmocka_unit_test(cyclic_delegations),
		cmocka_unit_test(products_of_amplifiers),
		cmocka_unit_test(alias_chains),
		cmocka_unit_test(endless_delegations),
		cmocka_unit_test(growing_names),
		cmocka_unit_test(every_rcode),
		cmocka_unit_test(reconnect_storms),
		cmocka_unit_test(random_subdomains),
		cmocka_unit_test(many_labels),
		cmocka_unit_test(shared_addresses),
		cmocka_unit_test(addresses_of_nobody),
		cmocka_unit_test(disguised_failures),
		cmocka_unit_test(answers_by_udp_are_small),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
