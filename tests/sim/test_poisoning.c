/* SPDX-License-Identifier: GPL-3.0-or-later */
/* an attacker's server adds records about others to its answers. None of them may change a
 * later answer, and nobody the attacker names may ever be asked. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "tests/sim/rig.h"

#define HONEST "203.0.113.1"
#define EVIL "198.51.100.66"
#define ROUNDS_PER_RIG 144

/** What the attacker's answer is besides the record added. */
enum kind { POSITIVE, NXDOMAIN, NODATA, REFERRAL, KINDS };

static const char *const owners[] = {"QNAME", "atk.tld.", "tld.", ".", "www.vic.tld.", "vic.tld.",
	"x.QNAME", "www.other.", "other."};

static const uint16_t types[] = {KNOT_RRTYPE_A, KNOT_RRTYPE_AAAA, KNOT_RRTYPE_NS, KNOT_RRTYPE_CNAME,
	KNOT_RRTYPE_DNAME, KNOT_RRTYPE_MX, KNOT_RRTYPE_SOA, KNOT_RRTYPE_TXT, KNOT_RRTYPE_PTR,
	KNOT_RRTYPE_DS, KNOT_RRTYPE_SRV, KNOT_RRTYPE_NSEC};

/** One crafted answer. */
struct craft {
	unsigned round;
	enum rig_section section;
	size_t owner, type;
	bool is_aa;
	enum kind kind;
};

static void add_crafted(struct rig_question *q, const struct craft *craft)
{
	static const uint8_t rdata[64] = {0, 1, 'x'};
	const uint16_t type = types[craft->type];
	char owner[KNOT_DNAME_TXT_MAXLEN + 8];
	if (strcmp(owners[craft->owner], "QNAME") == 0)
		snprintf(owner, sizeof(owner), "%s", q->name);
	else if (strcmp(owners[craft->owner], "x.QNAME") == 0)
		snprintf(owner, sizeof(owner), "x.%s", q->name);
	else
		snprintf(owner, sizeof(owner), "%s", owners[craft->owner]);
	switch (type) {
	case KNOT_RRTYPE_A:
		q_a(q, craft->section, owner, EVIL);
		break;
	case KNOT_RRTYPE_NS:
	case KNOT_RRTYPE_CNAME:
	case KNOT_RRTYPE_DNAME:
	case KNOT_RRTYPE_PTR:
	case KNOT_RRTYPE_MX:
		q_name(q, craft->section, owner, type, "ns.atk.tld.");
		break;
	case KNOT_RRTYPE_AAAA:
		q_rr_raw(q, craft->section, owner, type, 3600,
			"\x20\x01\xd\xb8\0\0\0\0\0\0\0\0\0\0\0\x66", 16);
		break;
	default:
		q_rr_raw(q, craft->section, owner, type, 3600, rdata,
			type == KNOT_RRTYPE_SOA    ? 22
			: type == KNOT_RRTYPE_DS   ? 36
			: type == KNOT_RRTYPE_TXT  ? 2
			: type == KNOT_RRTYPE_NSEC ? 5
						   : 7);
	}
}

/** What the answer is without the crafted record, up to and with this section. */
static void add_own(struct rig_question *q, const struct craft *craft, enum rig_section section)
{
	if (section == R_ANSWER && craft->kind == POSITIVE)
		q_a(q, R_ANSWER, q->name, HONEST);
	if (section == R_AUTHORITY && (craft->kind == NXDOMAIN || craft->kind == NODATA))
		q_soa(q, "atk.tld.");
	if (section == R_AUTHORITY && craft->kind == REFERRAL)
		q_name(q, R_AUTHORITY, q->name, KNOT_RRTYPE_NS, "ns.atk.tld.");
}

static enum sim_reaction attack(struct rig_question *q)
{
	const struct craft *craft = q->rig->server_data;
	unsigned round;
	if (sscanf(q->name, "q%u.", &round) != 1 || round != craft->round)
		return q_address(q, "atk.tld.", "192.0.2.10");
	q_begin(q, (craft->is_aa ? R_AA : 0) | (craft->kind == NXDOMAIN ? KNOT_RCODE_NXDOMAIN : 0));
	for (int section = R_ANSWER; section <= R_ADDITIONAL; ++section) {
		add_own(q, craft, section);
		if (section == (int)craft->section)
			add_crafted(q, craft);
	}
	return SIM_REPLY;
}

static enum sim_reaction serve(struct rig_question *q)
{
	if (strcmp(q->server, EVIL) == 0 || strchr(q->server, ':'))
		fail_msg("%s is asked for %s", q->server, q->name);
	if (strcmp(q->server, RIG_ROOT) == 0) {
		if (q_under(q, "tld."))
			return q_refer(q, "tld.", "ns.nic.tld.", "192.0.2.2");
		if (q_under(q, "other."))
			return q_refer(q, "other.", "ns.other.", "192.0.2.3");
		return q_nxdomain(q, ".");
	}
	if (strcmp(q->server, "192.0.2.2") == 0) {
		if (q_under(q, "atk.tld."))
			return q_refer(q, "atk.tld.", "ns.atk.tld.", "192.0.2.10");
		if (q_under(q, "vic.tld."))
			return q_refer(q, "vic.tld.", "ns.vic.tld.", "192.0.2.4");
		return q_address(q, "tld.", HONEST);
	}
	if (strcmp(q->server, "192.0.2.10") == 0)
		return attack(q);
	return q_address(q, strcmp(q->server, "192.0.2.3") == 0 ? "other." : "vic.tld.", HONEST);
}

static void check_honest(struct rig *rig, const char *name, const struct craft *c)
{
	const int rcode = rig_ask_a(rig, name);
	if (rcode != 0 || !rig_answer_has_a(rig, HONEST) ||
		rig_answer_count(rig, KNOT_RRTYPE_A) != 1)
		fail_msg("section %d, %s type %u, aa %d, kind %d: %s has rcode %d", c->section,
			owners[c->owner], types[c->type], c->is_aa, c->kind, name, rcode);
}

/** The victims' names that are cached already, and some that have to be asked for. */
static void check_victims(struct rig *rig, const struct craft *c)
{
	static const char *const zones[] = {"vic.tld.", "other.", "tld."};
	check_honest(rig, "www.vic.tld.", c);
	check_honest(rig, "www.other.", c);
	for (size_t i = 0; i < KR_COUNT_OF(zones); ++i) {
		char name[64];
		snprintf(name, sizeof(name), "new%u.%s", c->round, zones[i]);
		check_honest(rig, name, c);
	}
}

static bool next(struct craft *c)
{
	c->round += 1;
	if (++c->kind < KINDS)
		return true;
	c->kind = 0;
	if (!(c->is_aa = !c->is_aa)) {
		if (++c->owner == KR_COUNT_OF(owners)) {
			c->owner = 0;
			if (++c->type == KR_COUNT_OF(types)) {
				c->type = 0;
				return ++c->section <= R_ADDITIONAL;
			}
		}
	}
	return true;
}

/** @param is_warm the victims were asked for before */
static void matrix(bool is_warm)
{
	struct craft craft = {0};
	struct rig *rig = NULL;
	do {
		if (craft.round % ROUNDS_PER_RIG == 0) { /* a new cache now and then */
			if (rig)
				rig_close(rig);
			rig = rig_open(serve, &craft, false);
			if (is_warm)
				check_victims(rig, &craft);
		}
		char name[64];
		snprintf(name, sizeof(name), "q%u.atk.tld.", craft.round);
		rig_ask_a(rig, name);
		if (rig_answer_has_a(rig, EVIL) && strcmp(owners[craft.owner], "QNAME") != 0)
			fail_msg("round %u: given to the client", craft.round);
		check_victims(rig, &craft);
	} while (next(&craft));
	assert_true(craft.round >= 400);
	rig_close(rig);
}

static void before_the_victims_are_known(void **state)
{
	matrix(false);
}

static void when_the_victims_are_cached(void **state)
{
	matrix(true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(before_the_victims_are_known),
		cmocka_unit_test(when_the_victims_are_cached),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
