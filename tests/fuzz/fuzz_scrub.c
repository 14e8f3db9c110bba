/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The allow-list for upstream answers. Input: one byte of switches, one byte that says how many
 * labels of the question the zone cut has, and a message. What is left must be inside of the list
 * whatever came. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <libknot/descriptor.h>
#include <libknot/rrtype/rdname.h>
#include <libknot/wire.h>

#include "lib/scrub.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(cond)                                                                                \
	do {                                                                                       \
		if (!(cond)) {                                                                     \
			fprintf(stderr, "not in the list: %s\n", #cond);                           \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

static const knot_dname_t *cut_of(const knot_dname_t *name, uint8_t labels)
{
	size_t have = knot_dname_labels(name, NULL);
	for (labels %= have + 1; have > labels; --have)
		name = knot_wire_next_label(name, NULL);
	return name;
}

static bool is_in(uint16_t type, const uint16_t *list)
{
	for (; *list; ++list) {
		if (*list == type)
			return true;
	}
	return false;
}

static bool is_listed_server(const knot_pkt_t *pkt, const knot_dname_t *name)
{
	const knot_pktsection_t *authority = knot_pkt_section(pkt, KNOT_AUTHORITY);
	for (unsigned i = 0; i < authority->count; ++i) {
		const knot_rrset_t *rr = knot_pkt_rr(authority, i);
		if (rr->type == KNOT_RRTYPE_NS &&
			knot_dname_is_case_equal(knot_ns_name(rr->rrs.rdata), name))
			return true;
	}
	return false;
}

static void check_record(const knot_pkt_t *pkt, const struct kr_scrub_question *question,
	enum kr_scrub_shape shape, knot_section_t section, const knot_rrset_t *rr)
{
	const uint16_t answer[] = {
		question->type, KNOT_RRTYPE_CNAME, KNOT_RRTYPE_DNAME, KNOT_RRTYPE_RRSIG, 0};
	const uint16_t authority[] = {KNOT_RRTYPE_SOA, KNOT_RRTYPE_NS, KNOT_RRTYPE_DS,
		KNOT_RRTYPE_NSEC, KNOT_RRTYPE_NSEC3, KNOT_RRTYPE_RRSIG, 0};
	const uint16_t additional[] = {KNOT_RRTYPE_A, KNOT_RRTYPE_AAAA, 0};
	const bool is_in_cut = knot_dname_in_bailiwick(rr->owner, question->cut) >= 0;
	CHECK(rr->rclass == KNOT_CLASS_IN); /* C-02 */
	CHECK(rr->type != 0 && !(rr->type >= 128 && rr->type <= 255));
	CHECK(rr->ttl <= INT32_MAX); /* C-20 */
	CHECK(shape != KR_SHAPE_FAILURE && shape != KR_SHAPE_LAME && !knot_wire_get_tc(pkt->wire));
	if (section == KNOT_ADDITIONAL) { /* C-13 */
		CHECK(is_in(rr->type, additional) && shape == KR_SHAPE_REFERRAL &&
			!question->is_forward);
		CHECK(is_listed_server(pkt, rr->owner) && (is_in_cut || question->permissive));
		return;
	}
	CHECK(is_in_cut); /* C-04, C-09 */
	CHECK(is_in(rr->type, section == KNOT_ANSWER ? answer : authority));
	if (section == KNOT_AUTHORITY && rr->type == KNOT_RRTYPE_NS)
		CHECK(shape == KR_SHAPE_REFERRAL || shape == KR_SHAPE_NEGATIVE); /* C-12 */
	if (section == KNOT_AUTHORITY && shape == KR_SHAPE_REFERRAL &&
		rr->type == KNOT_RRTYPE_NS) /* C-10 */
		CHECK(knot_dname_in_bailiwick(rr->owner, question->cut) > 0 &&
			knot_dname_in_bailiwick(question->name, rr->owner) >= 0);
}

static void check_packet(
	const knot_pkt_t *pkt, const struct kr_scrub_question *question, enum kr_scrub_shape shape)
{
	size_t all = 0, ns = 0;
	for (int s = KNOT_ANSWER; s <= KNOT_ADDITIONAL; ++s) {
		const knot_pktsection_t *section = knot_pkt_section(pkt, s);
		for (unsigned i = 0; i < section->count; ++i) {
			const knot_rrset_t *rr = knot_pkt_rr(section, i);
			CHECK(rr == &pkt->rr[all]);
			all += 1;
			if (rr == pkt->opt_rr || rr == pkt->tsig_rr)
				continue;
			check_record(pkt, question, shape, s, rr);
			ns += s == KNOT_AUTHORITY && rr->type == KNOT_RRTYPE_NS;
		}
	}
	CHECK(all == pkt->rrset_count);
	CHECK(ns <= KR_NS_MAX); /* B-05 */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2 + KNOT_WIRE_HEADER_SIZE || size > KR_DNS_WIRE_MAX)
		return 0;
	knot_pkt_t *pkt = knot_pkt_new(NULL, size - 2, NULL);
	if (!pkt)
		return 0;
	memcpy(pkt->wire, data + 2, size - 2);
	pkt->size = size - 2;
	knot_dname_storage_t name, cut;
	if (knot_pkt_parse(pkt, 0) == KNOT_EOK && knot_pkt_qname(pkt) && knot_pkt_qtype(pkt) != 0 &&
		knot_dname_to_wire(name, knot_pkt_qname(pkt), sizeof(name)) > 0) {
		knot_dname_to_lower(name);
		knot_dname_to_wire(cut, cut_of(name, data[1]), sizeof(cut));
		const struct kr_scrub_question question = {
			.name = knot_pkt_qname(pkt),
			.type = knot_pkt_qtype(pkt),
			.cut = cut,
			.is_stream = data[0] & 1,
			.is_forward = data[0] & 2,
			.allow_local = data[0] & 4,
			.allow_private = data[0] & 8,
			.permissive = data[0] & 16,
			.strict = data[0] & 32,
			.payload = data[0] & 64 ? KR_EDNS_PAYLOAD : 0,
			.random = data[0] * 2654435761u,
		};
		enum kr_scrub_shape shape = KR_SHAPE_EMPTY;
		const int before = pkt->rrset_count;
		const int dropped = kr_scrub(pkt, &question, &shape);
		if (dropped >= 0) {
			CHECK(dropped == before - pkt->rrset_count);
			const struct kr_scrub_question lower = {.name = name,
				.type = question.type,
				.cut = cut,
				.is_forward = question.is_forward,
				.permissive = question.permissive};
			check_packet(pkt, &lower, shape);
			CHECK(kr_scrub(pkt, &question, NULL) ==
				0); /* what is clean stays as it is */
		}
	}
	knot_pkt_free(pkt);
	return 0;
}

#ifdef FUZZ_STANDALONE
/** Replays the files named on the command line, for compilers without libFuzzer. */
int main(int argc, char **argv)
{
	static uint8_t buf[KR_DNS_WIRE_MAX + 2];
	for (int i = 1; i < argc; ++i) {
		FILE *in = fopen(argv[i], "rb");
		if (!in) {
			perror(argv[i]);
			return 1;
		}
		const size_t len = fread(buf, 1, sizeof(buf), in);
		fclose(in);
		LLVMFuzzerTestOneInput(buf, len);
	}
	printf("%d inputs\n", argc - 1);
	return 0;
}
#endif
