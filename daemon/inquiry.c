/* SPDX-License-Identifier: GPL-3.0-or-later */

#include "daemon/inquiry.h"

#include <string.h>
#include <libknot/consts.h>
#include <libknot/descriptor.h>
#include <libknot/packet/wire.h>
#include <libknot/rrtype/opt.h>

/** Why an examination ended early. */
enum {
	GOOD = 0,
	BAD = -1,
};

/** A reader that knows the end. */
struct cursor {
	const uint8_t *wire;
	size_t at, len;
};

static bool has(const struct cursor *cur, size_t octets)
{
	return cur->len - cur->at >= octets;
}

static uint16_t get_u16(struct cursor *cur)
{
	uint16_t value = knot_wire_read_u16(cur->wire + cur->at);
	cur->at += 2;
	return value;
}

/** The name of a question: nothing stands before it, so a pointer leads nowhere good. */
static int read_qname(struct inquiry *inq, struct cursor *cur)
{
	const size_t start = cur->at;
	for (;;) {
		if (!has(cur, 1))
			return BAD;
		const uint8_t label = cur->wire[cur->at];
		if (label > KNOT_DNAME_MAXLABELLEN || !has(cur, 1 + (size_t)label))
			return BAD;
		cur->at += 1 + (size_t)label;
		if (cur->at - start > KNOT_DNAME_MAXLEN)
			return BAD;
		if (label == 0)
			break;
	}
	inq->qname_len = cur->at - start;
	if (!has(cur, 4))
		return BAD;
	inq->qname = cur->wire + start;
	inq->qtype = get_u16(cur);
	inq->qclass = get_u16(cur);
	inq->question_end = cur->at;
	return GOOD;
}

/** Step over the owner of a record: labels, ended by the root or by one pointer backwards. */
static int skip_name(struct cursor *cur)
{
	for (size_t total = 0; total <= KNOT_DNAME_MAXLEN;) {
		if (!has(cur, 1))
			return BAD;
		const uint8_t label = cur->wire[cur->at];
		if ((label & 0xc0) == 0xc0) {
			if (!has(cur, 2))
				return BAD;
			const size_t target = get_u16(cur) & 0x3fff;
			return target >= KNOT_WIRE_HEADER_SIZE && target < cur->at - 2 ? GOOD : BAD;
		}
		if (label > KNOT_DNAME_MAXLABELLEN || !has(cur, 1 + (size_t)label))
			return BAD;
		cur->at += 1 + (size_t)label;
		total += 1 + (size_t)label;
		if (label == 0)
			return GOOD;
	}
	return BAD;
}

/** Client subnet, RFC 7871 section 6 and 7.1.2. */
static int check_subnet(const uint8_t *data, size_t len)
{
	if (len < 4)
		return BAD;
	const uint16_t family = knot_wire_read_u16(data);
	const uint8_t source = data[2], scope = data[3];
	const size_t octets = (source + 7u) / 8;
	const unsigned max = family == 1 ? 32 : family == 2 ? 128 : 0;
	if (max == 0 || source > max || scope != 0 || len != 4 + octets)
		return BAD;
	const unsigned spare = octets * 8 - source;
	return spare == 0 || (data[3 + octets] & ((1u << spare) - 1)) == 0 ? GOOD : BAD;
}

static int check_option(uint16_t code, const uint8_t *data, size_t len, bool is_stream)
{
	switch (code) {
	case KNOT_EDNS_OPTION_COOKIE: /* client part, or client and server part */
		return len == 8 || (len >= 16 && len <= 40) ? GOOD : BAD;
	case KNOT_EDNS_OPTION_CLIENT_SUBNET:
		return check_subnet(data, len);
	case KNOT_EDNS_OPTION_TCP_KEEPALIVE: /* RFC 7828 section 3.2.1 */
		return is_stream && len != 0 ? BAD : GOOD;
	default:
		return GOOD;
	}
}

static enum inquiry_option option_kind(uint16_t code)
{
	switch (code) {
	case KNOT_EDNS_OPTION_NSID:
		return INQUIRY_OPTION_NSID;
	case KNOT_EDNS_OPTION_TCP_KEEPALIVE:
		return INQUIRY_OPTION_KEEPALIVE;
	case KNOT_EDNS_OPTION_COOKIE:
		return INQUIRY_OPTION_COOKIE;
	case KNOT_EDNS_OPTION_PADDING:
	case KNOT_EDNS_OPTION_CLIENT_SUBNET:
		return INQUIRY_OPTION_MUTE;
	default:
		return INQUIRY_OPTION_OTHER;
	}
}

static int read_options(struct inquiry *inq, struct cursor cur, bool is_stream)
{
	for (int i = 0; cur.at < cur.len; ++i) {
		if (i >= KR_EDNS_OPTIONS_MAX || !has(&cur, 4))
			return BAD;
		const uint16_t code = get_u16(&cur);
		const uint16_t len = get_u16(&cur);
		if (!has(&cur, len) ||
			check_option(code, cur.wire + cur.at, len, is_stream) != GOOD)
			return BAD;
		cur.at += len;
		inq->options |= option_kind(code);
	}
	return GOOD;
}

/** One record; OPT is looked into. `version` is that of EDNS. */
static int read_record(struct inquiry *inq, struct cursor *cur, bool is_additional, bool is_stream,
	uint8_t *version)
{
	const bool is_root = has(cur, 1) && cur->wire[cur->at] == 0;
	if (skip_name(cur) != GOOD || !has(cur, 10))
		return BAD;
	const uint16_t type = get_u16(cur);
	const size_t class_at = cur->at;
	const uint16_t rclass = get_u16(cur);
	const uint8_t *ttl = cur->wire + cur->at;
	cur->at += 4;
	const uint16_t rdlen = get_u16(cur);
	if (!has(cur, rdlen))
		return BAD;
	const struct cursor rdata = {cur->wire, cur->at, cur->at + rdlen};
	cur->at += rdlen;
	if (type != KNOT_RRTYPE_OPT) {
		inq->has_records = true;
		return GOOD;
	}
	if (!is_additional || !is_root || inq->has_edns)
		return BAD;
	inq->has_edns = true;
	inq->payload = rclass;
	inq->payload_at = class_at;
	*version = ttl[1];
	inq->has_do = ttl[2] & 0x80;
	return read_options(inq, rdata, is_stream);
}

static int read_records(struct inquiry *inq, struct cursor *cur, bool is_stream, uint8_t *version)
{
	const uint16_t before = knot_wire_get_ancount(cur->wire);
	const uint32_t answers = (uint32_t)before + knot_wire_get_nscount(cur->wire);
	const uint32_t total = answers + knot_wire_get_arcount(cur->wire);
	for (uint32_t i = 0; i < total; ++i) {
		if (read_record(inq, cur, i >= answers, is_stream, version) != GOOD)
			return BAD;
	}
	return cur->at == cur->len ? GOOD : BAD;
}

/** Types that cannot be the type of a question to a resolver (RFC 6895 section 3.1, RFC 9824
 * section 3). */
static int check_type(uint16_t qtype)
{
	switch (qtype) {
	case 0:
	case KNOT_RRTYPE_OPT:
	case 128: /* NXNAME */
		return KNOT_RCODE_FORMERR;
	case KNOT_RRTYPE_AXFR:
	case KNOT_RRTYPE_IXFR:
		return KNOT_RCODE_REFUSED;
	case KNOT_RRTYPE_ANY:
		return KNOT_RCODE_NOERROR;
	default:
		return qtype > 128 && qtype < 255 ? KNOT_RCODE_NOTIMPL : KNOT_RCODE_NOERROR;
	}
}

static void refuse(struct inquiry *inq, uint16_t rcode)
{
	inq->verdict = INQUIRY_REFUSE;
	inq->rcode = rcode;
}

void inquiry_examine(struct inquiry *inq, struct bytes msg, bool is_stream)
{
	memset(inq, 0, sizeof(*inq));
	inq->verdict = INQUIRY_DROP;
	if (msg.len < KNOT_WIRE_HEADER_SIZE || msg.len > KR_DNS_WIRE_MAX ||
		knot_wire_get_qr(msg.at))
		return;
	inq->id = knot_wire_get_id(msg.at);
	inq->opcode = knot_wire_get_opcode(msg.at);
	inq->rd = knot_wire_get_rd(msg.at) != 0;
	inq->ad = knot_wire_get_ad(msg.at) != 0;
	inq->cd = knot_wire_get_cd(msg.at) != 0;

	struct cursor cur = {msg.at, KNOT_WIRE_HEADER_SIZE, msg.len};
	const bool has_question =
		knot_wire_get_qdcount(msg.at) == 1 && read_qname(inq, &cur) == GOOD;
	if (inq->opcode != KNOT_OPCODE_QUERY) {
		refuse(inq, KNOT_RCODE_NOTIMPL);
		return;
	}
	uint8_t version = 0;
	if (!has_question || read_records(inq, &cur, is_stream, &version) != GOOD) {
		inq->has_edns = false; /* do not rely on any of it */
		refuse(inq, KNOT_RCODE_FORMERR);
		return;
	}
	if (version != KR_EDNS_VERSION) {
		refuse(inq, KNOT_RCODE_BADVERS);
		return;
	}
	if (inq->qclass != KNOT_CLASS_IN) {
		refuse(inq, inq->qclass == KNOT_CLASS_CH ? KNOT_RCODE_REFUSED : KNOT_RCODE_NOTIMPL);
		return;
	}
	const int type_rcode = check_type(inq->qtype);
	if (type_rcode != KNOT_RCODE_NOERROR) {
		refuse(inq, type_rcode);
		return;
	}
	inq->verdict = INQUIRY_RESOLVE;
}

size_t inquiry_refusal(const struct inquiry *inq, struct bytes msg, uint16_t rcode,
	uint16_t payload, uint8_t buf[static INQUIRY_REFUSAL_MAX])
{
	size_t len = KNOT_WIRE_HEADER_SIZE;
	memset(buf, 0, len);
	knot_wire_set_id(buf, inq->id);
	knot_wire_set_qr(buf);
	knot_wire_set_opcode(buf, inq->opcode);
	if (inq->rd)
		knot_wire_set_rd(buf);
	if (inq->cd)
		knot_wire_set_cd(buf);
	knot_wire_set_ra(buf);
	knot_wire_set_rcode(buf, rcode & 0xf);
	if (inq->qname) {
		const size_t question = inq->question_end - KNOT_WIRE_HEADER_SIZE;
		memcpy(buf + len, msg.at + KNOT_WIRE_HEADER_SIZE, question);
		knot_wire_set_qdcount(buf, 1);
		len += question;
	}
	if (inq->has_edns) {
		uint8_t *opt = buf + len;
		memset(opt, 0, KNOT_EDNS_MIN_SIZE);
		knot_wire_write_u16(opt + 1, KNOT_RRTYPE_OPT);
		knot_wire_write_u16(opt + 3, payload);
		opt[5] = rcode >> 4;
		opt[7] = inq->has_do ? 0x80 : 0;
		knot_wire_set_arcount(buf, 1);
		len += KNOT_EDNS_MIN_SIZE;
	}
	return len;
}
