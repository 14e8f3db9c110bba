/* SPDX-License-Identifier: GPL-3.0-or-later */

#include "tests/sim/rpl.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <libknot/codes.h>
#include <libknot/descriptor.h>
#include <libknot/packet/wire.h>
#include <libknot/rrset-dump.h>
#include <libknot/rrtype/opt.h>

#define EDNS_PAYLOAD 4096
#define FLAGS_MASK 0x87b0 /* QR AA TC RD RA AD CD */

/* ---- comparing ---- */

KR_PRINTF(2, 3)
static bool differ(struct rpl_error *why, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	if (why)
		vsnprintf(why->text, sizeof(why->text), fmt, args);
	va_end(args);
	return false;
}

static const char *type_name(uint16_t type)
{
	static char names[2][16];
	static int turn;
	char *name = names[turn ^= 1];
	if (knot_rrtype_to_string(type, name, sizeof(names[0])) < 0)
		snprintf(name, sizeof(names[0]), "TYPE%u", type);
	return name;
}

static const char *dname_text(const knot_dname_t *name)
{
	static char texts[2][KNOT_DNAME_TXT_MAXLEN + 1];
	static int turn;
	char *text = texts[turn ^= 1];
	if (!knot_dname_to_str(text, name, KNOT_DNAME_TXT_MAXLEN))
		return "?";
	return text;
}

static uint16_t extended_rcode(const knot_pkt_t *pkt)
{
	return knot_pkt_ext_rcode(pkt);
}

static const char *rcode_text(uint16_t rcode)
{
	const knot_lookup_t *found = knot_lookup_by_id(knot_rcode_names, rcode);
	return found ? found->name : "?";
}

static const char *flags_text(uint16_t flags, char *buf, size_t size)
{
	static const struct {
		uint16_t bit;
		const char *name;
	} names[] = {{0x8000, "QR"}, {0x0400, "AA"}, {0x0200, "TC"}, {0x0100, "RD"}, {0x0080, "RA"},
		{0x0020, "AD"}, {0x0010, "CD"}};
	buf[0] = '\0';
	for (size_t i = 0; i < KR_COUNT_OF(names); ++i) {
		if (flags & names[i].bit)
			snprintf(buf + strlen(buf), size - strlen(buf), " %s", names[i].name);
	}
	return buf;
}

static uint16_t header_flags(const uint8_t *wire)
{
	return ((wire[2] << 8) | wire[3]) & FLAGS_MASK;
}

/** Same record but for TTL and letter case of names. */
static bool same_rr(const struct rpl_rr *rr, const knot_rrset_t *got, const knot_rdata_t *rdata)
{
	if (rr->type != got->type || rr->rclass != got->rclass ||
		!knot_dname_is_case_equal(rr->owner, got->owner))
		return false;
	knot_rdata_t *ours = malloc(knot_rdata_size(rr->rdlen));
	if (!ours)
		return false;
	knot_rdata_init(ours, rr->rdlen, rr->rdata);
	knot_rdataset_t ours_set = {0}, theirs_set = {0};
	knot_dname_t *owner = knot_dname_copy(rr->owner, NULL);
	bool same = false;
	/* Canonical form makes names inside of rdata comparable. */
	if (owner && knot_rdataset_add(&ours_set, ours, NULL) == 0 &&
		knot_rdataset_add(&theirs_set, rdata, NULL) == 0) {
		knot_rrset_t x = *got, y = *got;
		x.owner = owner;
		y.owner = owner;
		x.rrs = ours_set;
		y.rrs = theirs_set;
		same = knot_rrset_rr_to_canonical(&x) == 0 && knot_rrset_rr_to_canonical(&y) == 0 &&
		       knot_rdata_cmp(x.rrs.rdata, y.rrs.rdata) == 0;
		ours_set = x.rrs;
		theirs_set = y.rrs;
	}
	knot_rdataset_clear(&ours_set, NULL);
	knot_rdataset_clear(&theirs_set, NULL);
	knot_dname_free(owner, NULL);
	free(ours);
	return same;
}

/** Take the record off the list of what is expected. */
static bool take_expected(
	rpl_rrs_t *left, const knot_rrset_t *got, const knot_rdata_t *rdata, bool with_ttl)
{
	for (size_t i = 0; i < left->len; ++i) {
		if (same_rr(&left->at[i], got, rdata) &&
			(!with_ttl || left->at[i].ttl == got->ttl)) {
			array_del(*left, i);
			return true;
		}
	}
	return false;
}

static bool same_section(const struct rpl_entry *entry, const knot_pkt_t *pkt, int section,
	bool with_ttl, struct rpl_error *why)
{
	static const char *const names[] = {"answer", "authority", "additional"};
	const rpl_rrs_t *expected = &entry->sections[section - KNOT_ANSWER];
	rpl_rrs_t left = {0};
	array_reserve(left, expected->len);
	for (size_t i = 0; i < expected->len; ++i)
		array_push(left, expected->at[i]);
	const knot_pktsection_t *sec = knot_pkt_section(pkt, section);
	bool same = true;
	for (unsigned i = 0; same && i < sec->count; ++i) {
		const knot_rrset_t *rr = knot_pkt_rr(sec, i);
		const knot_rdata_t *rdata = rr->rrs.rdata;
		for (int j = 0; same && j < rr->rrs.count;
			++j, rdata = knot_rdataset_next((void *)rdata)) {
			if (rr->type == KNOT_RRTYPE_OPT ||
				take_expected(&left, rr, rdata, with_ttl))
				continue;
			same = differ(why, "%s: unexpected %s %s", names[section - KNOT_ANSWER],
				dname_text(rr->owner), type_name(rr->type));
		}
	}
	if (same && left.len > 0)
		same = differ(why, "%s: missing %s %s (%zu in all)", names[section - KNOT_ANSWER],
			dname_text(left.at[0].owner), type_name(left.at[0].type), left.len);
	array_clear(left);
	return same;
}

static bool same_question(
	const struct rpl_entry *entry, unsigned match, const knot_pkt_t *pkt, struct rpl_error *why)
{
	const knot_dname_t *qname = pkt->qname_size ? pkt->wire + KNOT_WIRE_HEADER_SIZE : NULL;
	const unsigned any = RPL_QTYPE | RPL_QNAME | RPL_QCASE | RPL_SUBDOMAIN;
	if (!(match & any))
		return true;
	if (!entry->has_question || !qname)
		return !entry->has_question && !qname ? true : differ(why, "no question");
	if ((match & RPL_QTYPE) && entry->qtype != knot_pkt_qtype(pkt))
		return differ(why, "type: expected %s, got %s", type_name(entry->qtype),
			type_name(knot_pkt_qtype(pkt)));
	if ((match & RPL_QCASE) &&
		(knot_dname_size(entry->qname) != knot_dname_size(qname) ||
			memcmp(entry->qname, qname, knot_dname_size(qname)) != 0))
		return differ(why, "name with case: expected %s, got %s", dname_text(entry->qname),
			dname_text(qname));
	if ((match & RPL_QNAME) && !knot_dname_is_case_equal(entry->qname, qname))
		return differ(why, "name: expected %s, got %s", dname_text(entry->qname),
			dname_text(qname));
	if (match & RPL_SUBDOMAIN) {
		knot_dname_storage_t theirs, ours;
		memcpy(theirs, qname, knot_dname_size(qname));
		memcpy(ours, entry->qname, knot_dname_size(entry->qname));
		knot_dname_to_lower(theirs);
		knot_dname_to_lower(ours);
		if (knot_dname_in_bailiwick(theirs, ours) < 0)
			return differ(why, "name: %s is not below %s", dname_text(qname),
				dname_text(entry->qname));
	}
	return true;
}

static bool same_header(
	const struct rpl_entry *entry, unsigned match, const knot_pkt_t *pkt, struct rpl_error *why)
{
	char ours[40], theirs[40];
	const uint16_t flags = header_flags(pkt->wire);
	if ((match & RPL_OPCODE) && entry->opcode != knot_wire_get_opcode(pkt->wire))
		return differ(why, "opcode: expected %d, got %d", entry->opcode,
			knot_wire_get_opcode(pkt->wire));
	if ((match & RPL_RCODE) && entry->rcode != extended_rcode(pkt))
		return differ(why, "rcode: expected %s, got %s", rcode_text(entry->rcode),
			rcode_text(extended_rcode(pkt)));
	if ((match & RPL_FLAGS) && entry->flags != flags)
		return differ(why, "flags: expected%s, got%s",
			flags_text(entry->flags, ours, sizeof(ours)),
			flags_text(flags, theirs, sizeof(theirs)));
	return true;
}

static bool same_edns(unsigned match, const knot_pkt_t *pkt, struct rpl_error *why)
{
	const knot_rrset_t *opt = pkt->opt_rr;
	if (!(match & RPL_EDNS))
		return true;
	if (!opt || knot_edns_get_version(opt) != 0 || knot_edns_get_payload(opt) != EDNS_PAYLOAD)
		return differ(why, "edns: expected version 0, payload %d", EDNS_PAYLOAD);
	return true;
}

bool rpl_matches(const struct rpl_entry *entry, unsigned match, const knot_pkt_t *pkt,
	struct rpl_way way, struct rpl_error *why)
{
	if (!same_header(entry, match, pkt, why) || !same_question(entry, match, pkt, why) ||
		!same_edns(match, pkt, why))
		return false;
	if ((match & RPL_TCP) && !way.is_stream)
		return differ(why, "expected over TCP");
	if ((match & RPL_UDP) && way.is_stream)
		return differ(why, "expected over UDP");
	if ((match & RPL_NSID) &&
		(!pkt->opt_rr || !knot_edns_get_option(pkt->opt_rr, KNOT_EDNS_OPTION_NSID, NULL)))
		return differ(why, "expected an NSID");
	static const unsigned sections[] = {RPL_ANSWER, RPL_AUTHORITY, RPL_ADDITIONAL};
	for (int i = 0; i < 3; ++i) {
		if ((match & sections[i]) &&
			!same_section(entry, pkt, KNOT_ANSWER + i, match & RPL_TTL, why))
			return false;
	}
	return true;
}

/* ---- writing ---- */

/** Output that knows its end. */
struct writer {
	uint8_t *wire;
	size_t len;
	bool is_full;
};

static uint8_t *room(struct writer *wr, size_t octets)
{
	if (wr->is_full || KR_DNS_WIRE_MAX - wr->len < octets) {
		wr->is_full = true;
		return NULL;
	}
	uint8_t *at = wr->wire + wr->len;
	wr->len += octets;
	return at;
}

static void put(struct writer *wr, const void *data, size_t octets)
{
	uint8_t *at = room(wr, octets);
	if (at)
		memcpy(at, data, octets);
}

static void put_u16(struct writer *wr, uint16_t value)
{
	uint8_t *at = room(wr, 2);
	if (at)
		knot_wire_write_u16(at, value);
}

static void put_rr(struct writer *wr, const struct rpl_rr *rr)
{
	put(wr, rr->owner, knot_dname_size(rr->owner));
	put_u16(wr, rr->type);
	put_u16(wr, rr->rclass);
	put_u16(wr, rr->ttl >> 16);
	put_u16(wr, rr->ttl & 0xffff);
	put_u16(wr, rr->rdlen);
	put(wr, rr->rdata, rr->rdlen);
}

/** @return question of the query, its octets, or NULL */
static const uint8_t *asked(struct bytes query, size_t *len)
{
	if (!query.at || query.len < KNOT_WIRE_HEADER_SIZE || knot_wire_get_qdcount(query.at) != 1)
		return NULL;
	*len = knot_dname_size(query.at + KNOT_WIRE_HEADER_SIZE) + 4;
	return query.at + KNOT_WIRE_HEADER_SIZE;
}

static void put_question(struct writer *wr, const struct rpl_entry *entry, struct bytes query)
{
	size_t len = 0;
	const uint8_t *theirs = asked(query, &len);
	if (theirs && (entry->adjust & RPL_COPY_QUERY)) {
		put(wr, theirs, len);
	} else if (entry->has_question) {
		if (theirs && (entry->adjust & RPL_COPY_ID))
			put(wr, theirs, len - 4);
		else
			put(wr, entry->qname, knot_dname_size(entry->qname));
		put_u16(wr, entry->qtype);
		put_u16(wr, entry->qclass);
	} else {
		return;
	}
	knot_wire_set_qdcount(wr->wire, 1);
}

static size_t write_raw(const struct rpl_entry *entry, struct bytes query, uint8_t *out)
{
	memcpy(out, entry->raw, entry->raw_len);
	if ((entry->adjust & RPL_RAW_ID) && query.at && query.len >= 2 && entry->raw_len >= 2)
		memcpy(out, query.at, 2);
	return entry->raw_len;
}

size_t rpl_write(const struct rpl_entry *entry, struct bytes query, uint8_t *out)
{
	if (entry->raw)
		return write_raw(entry, query, out);
	struct writer wr = {.wire = out};
	memset(room(&wr, KNOT_WIRE_HEADER_SIZE), 0, KNOT_WIRE_HEADER_SIZE);
	if (query.at && (entry->adjust & RPL_COPY_ID))
		memcpy(out, query.at, 2);
	out[2] = (entry->flags >> 8) | (entry->opcode << 3);
	out[3] = (entry->flags & 0xff) | (entry->rcode & 0x0f);
	put_question(&wr, entry, query);
	for (int i = 0; i < 3; ++i) {
		for (size_t j = 0; j < entry->sections[i].len; ++j)
			put_rr(&wr, &entry->sections[i].at[j]);
		knot_wire_write_u16(out + 6 + 2 * i, entry->sections[i].len);
	}
	const uint8_t opt[] = {0, 0, KNOT_RRTYPE_OPT, EDNS_PAYLOAD >> 8, EDNS_PAYLOAD & 0xff,
		entry->rcode >> 4, 0, entry->dnssec_ok ? 0x80 : 0, 0, 0, 0};
	put(&wr, opt, sizeof(opt));
	knot_wire_set_arcount(out, entry->sections[2].len + 1);
	return wr.is_full ? 0 : wr.len;
}

/* ---- printing ---- */

static void print_section(const knot_pkt_t *pkt, int section, const char *indent)
{
	static const char *const names[] = {"ANSWER", "AUTHORITY", "ADDITIONAL"};
	const knot_pktsection_t *sec = knot_pkt_section(pkt, section);
	if (sec->count > 0)
		printf("%s%s\n", indent, names[section - KNOT_ANSWER]);
	for (unsigned i = 0; i < sec->count; ++i) {
		const knot_rrset_t *rr = knot_pkt_rr(sec, i);
		size_t size = 65536;
		char *text = malloc(size);
		if (!text || rr->type == KNOT_RRTYPE_OPT) {
			free(text);
			continue;
		}
		knot_dump_style_t style = KNOT_DUMP_STYLE_DEFAULT;
		style.show_class = true;
		if (knot_rrset_txt_dump(rr, &text, &size, &style) > 0)
			printf("%s  %s", indent, text);
		free(text);
	}
}

void rpl_print(struct bytes msg, const char *indent)
{
	knot_pkt_t *pkt = msg.len >= KNOT_WIRE_HEADER_SIZE
				  ? knot_pkt_new((void *)msg.at, msg.len, NULL)
				  : NULL;
	if (!pkt || knot_pkt_parse(pkt, KNOT_PF_KEEPWIRE) != 0) {
		printf("%s(%zu octets, malformed)\n", indent, msg.len);
		knot_pkt_free(pkt);
		return;
	}
	char flags[40];
	printf("%sid %u%s %s %s %s%s\n", indent, knot_wire_get_id(msg.at),
		flags_text(header_flags(msg.at), flags, sizeof(flags)),
		rcode_text(extended_rcode(pkt)),
		pkt->qname_size ? dname_text(pkt->wire + KNOT_WIRE_HEADER_SIZE) : "(no question)",
		pkt->qname_size ? type_name(knot_pkt_qtype(pkt)) : "",
		knot_pkt_has_dnssec(pkt) ? " DO" : "");
	for (int i = KNOT_ANSWER; i <= KNOT_ADDITIONAL; ++i)
		print_section(pkt, i, indent);
	knot_pkt_free(pkt);
}
