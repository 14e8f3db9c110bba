/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Any answers from servers: what is behind a matching header and question is the input's. Input:
 * one byte that chooses the client's question; then one piece for each answer: two bytes of length
 * and flags, header flags (2), counts (3), and the rest of the message. When the pieces are used
 * up, servers are silent. */

#include <libknot/descriptor.h>
#include <libknot/packet/wire.h>

#include "tests/fuzz/resolver_rig.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct {
	const uint8_t *at, *end;
} input;

#define PIECE_HEAD 7

static enum sim_reaction answer(void *owner, struct sim_arrival *arrival)
{
	if (input.end - input.at < PIECE_HEAD)
		return SIM_SILENCE;
	const uint8_t *head = input.at;
	size_t len = (head[0] & 0x0f) << 8 | head[1];
	input.at += PIECE_HEAD;
	len = KR_MIN(len, (size_t)(input.end - input.at));
	const size_t question = knot_dname_size(arrival->query.at + KNOT_WIRE_HEADER_SIZE) + 4;
	uint8_t *out = arrival->reply;
	memcpy(out, arrival->query.at, KNOT_WIRE_HEADER_SIZE + question);
	out[2] = head[2] | 0x80;
	out[3] = head[3];
	if (!(head[0] & 0x80)) /* mostly a plain query's answer */
		out[2] &= 0x87;
	knot_wire_set_ancount(out, head[4]);
	knot_wire_set_nscount(out, head[5]);
	knot_wire_set_arcount(out, head[6]);
	memcpy(out + KNOT_WIRE_HEADER_SIZE + question, input.at, len);
	arrival->reply_len = KNOT_WIRE_HEADER_SIZE + question + len;
	input.at += len;
	if (head[0] & 0x40)
		out[1] ^= 1; /* a near miss */
	return head[0] & 0x20 ? SIM_CLOSE : SIM_REPLY;
}

static bool accept_all(void *owner, const union kr_sockaddr *server)
{
	return true;
}

static const uint16_t types[] = {KNOT_RRTYPE_A, KNOT_RRTYPE_AAAA, KNOT_RRTYPE_MX, KNOT_RRTYPE_DS,
	KNOT_RRTYPE_DNSKEY, KNOT_RRTYPE_TXT, KNOT_RRTYPE_NS, KNOT_RRTYPE_SVCB};

static size_t make_question(uint8_t choice, uint8_t *wire)
{
	static const uint8_t names[][20] = {"\3www\7example\3com", "\7example\3com",
		"\1*\7example\3com", "\1a\1b\1c\7example\3com"};
	const uint8_t *name = names[choice & 3];
	const size_t name_len = knot_dname_size(name);
	memset(wire, 0, KNOT_WIRE_HEADER_SIZE);
	wire[2] = 1;                        /* RD */
	wire[3] = choice & 0x80 ? 0x10 : 0; /* CD */
	knot_wire_set_qdcount(wire, 1);
	uint8_t *at = wire + KNOT_WIRE_HEADER_SIZE;
	memcpy(at, name, name_len);
	knot_wire_write_u16(at + name_len, types[choice >> 2 & 7]);
	knot_wire_write_u16(at + name_len + 2, KNOT_CLASS_IN);
	return KNOT_WIRE_HEADER_SIZE + name_len + 4;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rpl_option options[] = {{"stub-addr", "192.0.2.53", 0}};
	rig_open(answer, accept_all, options, KR_COUNT_OF(options));
	if (size < 1)
		return 0;
	input.at = data + 1;
	input.end = data + size;
	uint8_t question[64];
	const uint64_t sent = rig.net.sent;
	rig_ask(question, make_question(data[0], question), true);
	if (rig.net.sent - sent > KR_BUDGET_PACKETS_MAX || rig.answer_len < KNOT_WIRE_HEADER_SIZE)
		abort();
	/* What one input left behind must not change what the next one means. */
	kr_servers_clear(rig.worker->resolver->servers);
	kr_failcache_clear(rig.worker->resolver->failures);
	kr_cache_clear(&rig.worker->resolver->cache);
	return 0;
}
