/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Response policy zones: a master file whose owners are triggers and whose records are actions. */

#include <stdio.h>
#include <string.h>
#include <libknot/descriptor.h>
#include <libknot/wire.h>
#include <libzscanner/scanner.h>

#include "lib/addr.h"
#include "lib/log.h"
#include "lib/rules/list_impl.h"
#include "lib/utils.h"

#define TTL_DEFAULT_S 3600

/** What is known of a zone while it is read. */
struct zone {
	struct builder *b;
	knot_dname_storage_t origin;
	bool has_origin; /**< of a SOA */
	bool has_guess;  /**< of the parser */
	bool warned_soa, warned_outside;
	/* TTL of the set read last. */
	knot_dname_storage_t last_owner;
	uint16_t last_type;
	uint32_t last_ttl;
};

static bool is_banned(uint16_t type)
{
	switch (type) {
	case KNOT_RRTYPE_DNAME:
	case KNOT_RRTYPE_DNSKEY:
	case KNOT_RRTYPE_DS:
	case KNOT_RRTYPE_RRSIG:
	case KNOT_RRTYPE_NSEC:
	case KNOT_RRTYPE_NSEC3:
	case KNOT_RRTYPE_NS:
	case KNOT_RRTYPE_SOA:
		return true;
	default:
		return false;
	}
}

/* ---- triggers ---- */

/** Text of a label as a number. @return -1: none */
static long label_number(const uint8_t *label, int base)
{
	char text[64];
	char *end = NULL;
	const uint8_t len = *label;
	if (len == 0 || len > 5)
		return -1;
	memcpy(text, label + 1, len);
	text[len] = '\0';
	const long number = strtol(text, &end, base);
	return *end || text[0] == '-' || text[0] == '+' ? -1 : number;
}

/** `24.0.2.0.192`: prefix length and bytes, the last one first. */
static bool read_v4(const uint8_t *const labels[], unsigned count, long bits, uint8_t addr[16])
{
	if (count != 5 || bits < 1 || bits > 32)
		return false;
	for (unsigned i = 0; i < 4; ++i) {
		const long byte = label_number(labels[4 - i], 10);
		if (byte < 0 || byte > 255)
			return false;
		addr[i] = byte;
	}
	return true;
}

/** `48.zz.2.db8.2001`: prefix length and words, the last one first; `zz` for a run of zeros. */
static bool read_v6(const uint8_t *const labels[], unsigned count, long bits, uint8_t addr[16])
{
	unsigned at = 0;
	bool has_run = false;
	if (count < 3 || count > 9 || bits < 1 || bits > 128)
		return false;
	for (unsigned i = count - 1; i >= 1; --i) {
		const uint8_t *label = labels[i];
		if (label[0] == 2 && (label[1] | 0x20) == 'z' && (label[2] | 0x20) == 'z') {
			if (has_run || count > 8)
				return false;
			has_run = true;
			at += 8 - (count - 2);
			continue;
		}
		const long word = label_number(label, 16);
		if (word < 0 || word > 0xffff || label[0] > 4 || at >= 8)
			return false;
		knot_wire_write_u16(addr + (size_t)2 * at++, word);
	}
	return at == 8;
}

static bool has_host_bits(const uint8_t addr[16], size_t len, long bits)
{
	uint8_t masked[16];
	memcpy(masked, addr, 16);
	kr_bitmask(masked, len, bits);
	return memcmp(masked, addr, len) != 0;
}

/** Key of an address trigger from the labels before `rpz-ip`. @return length; 0 = malformed */
static size_t address_key(const uint8_t *const labels[], unsigned count, uint8_t key[18])
{
	uint8_t addr[16] = {0};
	const long bits = count > 1 ? label_number(labels[0], 10) : -1;
	const bool is_v4 = read_v4(labels, count, bits, addr);
	if (!is_v4) {
		memset(addr, 0, sizeof(addr));
		if (!read_v6(labels, count, bits, addr))
			return 0;
	}
	const size_t len = is_v4 ? 4 : 16;
	if (has_host_bits(addr, len, bits))
		return 0;
	key[0] = is_v4 ? 4 : 6;
	key[1] = bits;
	memcpy(key + 2, addr, len);
	return 2 + len;
}

static bool label_is(const uint8_t *label, const char *text)
{
	const size_t len = strlen(text);
	if (*label != len)
		return false;
	for (size_t i = 0; i < len; ++i) {
		if ((label[1 + i] | 0x20) != (text[i] | 0x20))
			return false;
	}
	return true;
}

/** Where an owner's trigger goes. */
struct trigger {
	enum kr_trigger kind;
	knot_dname_storage_t name; /**< of name triggers */
	uint8_t side;
	uint8_t key[18]; /**< of address triggers */
	size_t key_len;
};

static bool read_trigger(struct trigger *trigger, const knot_dname_t *owner, size_t len)
{
	static const char *const words[KR_TRIGGER_COUNT] = {
		[KR_TRIGGER_CLIENT_IP] = "rpz-client-ip",
		[KR_TRIGGER_IP] = "rpz-ip",
		[KR_TRIGGER_NSDNAME] = "rpz-nsdname",
		[KR_TRIGGER_NSIP] = "rpz-nsip",
	};
	const uint8_t *labels[KNOT_DNAME_MAXLABELS];
	unsigned count = 0;
	for (size_t at = 0; at < len && count < KNOT_DNAME_MAXLABELS; at += 1 + owner[at])
		labels[count++] = owner + at;
	trigger->kind = KR_TRIGGER_QNAME;
	for (unsigned i = KR_TRIGGER_CLIENT_IP; count > 0 && i < KR_TRIGGER_COUNT; ++i) {
		if (label_is(labels[count - 1], words[i]))
			trigger->kind = i;
	}
	if (trigger->kind != KR_TRIGGER_QNAME)
		len = labels[--count] - owner;
	if (trigger->kind != KR_TRIGGER_QNAME && trigger->kind != KR_TRIGGER_NSDNAME) {
		trigger->key_len = address_key(labels, count, trigger->key);
		return trigger->key_len > 0;
	}
	const bool is_wild = count > 0 && label_is(labels[0], "*");
	const size_t from = is_wild ? 2 : 0;
	memcpy(trigger->name, owner + from, len - from);
	trigger->name[len - from] = 0;
	trigger->side = is_wild ? ITEM_BELOW : ITEM_ITSELF;
	trigger->key_len = 0;
	return true;
}

static void add(struct zone *zone, const struct trigger *trigger, uint8_t verdict, const void *data,
	size_t len)
{
	if (trigger->key_len > 0)
		builder_add(zone->b, trigger->kind, trigger->key, trigger->key_len,
			ITEM_ITSELF | verdict, data, len);
	else
		builder_add_name(
			zone->b, trigger->kind, trigger->name, trigger->side | verdict, data, len);
}

/* ---- actions ---- */

static uint8_t verdict_of(const knot_dname_t *target)
{
	static const struct {
		const char *name;
		uint8_t verdict;
	} words[] = {
		{"", KR_VERDICT_LISTED},
		{"\1*", KR_VERDICT_NODATA},
		{"\14rpz-passthru", KR_VERDICT_PASS},
		{"\10rpz-drop", KR_VERDICT_DROP},
		{"\14rpz-tcp-only", KR_VERDICT_TC},
	};
	for (size_t i = 0; i < KR_COUNT_OF(words); ++i) {
		if (knot_dname_is_case_equal(target, (const knot_dname_t *)words[i].name))
			return words[i].verdict;
	}
	return KR_VERDICT_ALIAS;
}

static void add_cname(struct zone *zone, const zs_scanner_t *s, const struct trigger *trigger)
{
	uint8_t data[4 + KNOT_DNAME_MAXLEN];
	const uint8_t verdict = verdict_of(s->r_data);
	if (verdict != KR_VERDICT_ALIAS) {
		add(zone, trigger, verdict, NULL, 0);
		return;
	}
	const uint8_t *last = s->r_data;
	while (*last && last[1 + *last])
		last += 1 + *last;
	if (*last > 4 && strncasecmp((const char *)last + 1, "rpz-", 4) == 0) {
		builder_skip(zone->b, s->line_counter, "unknown action %.*s (ignored)", *last,
			(const char *)last + 1);
		return;
	}
	knot_wire_write_u32(data, s->r_ttl);
	memcpy(data + 4, s->r_data, s->r_data_length);
	add(zone, trigger, KR_VERDICT_ALIAS, data, 4 + s->r_data_length);
}

static void add_data(struct zone *zone, const zs_scanner_t *s, const struct trigger *trigger)
{
	const size_t len = 8 + s->r_data_length;
	uint8_t *data = len <= LIST_DATA_MAX ? malloc(len) : NULL;
	if (!data) {
		builder_skip(zone->b, s->line_counter, "the record is too large (ignored)");
		return;
	}
	knot_wire_write_u16(data, s->r_type);
	knot_wire_write_u32(data + 2, s->r_ttl);
	knot_wire_write_u16(data + 6, s->r_data_length);
	memcpy(data + 8, s->r_data, s->r_data_length);
	add(zone, trigger, KR_VERDICT_DATA, data, len);
	free(data);
	const bool same = zone->last_type == s->r_type &&
			  knot_dname_is_case_equal(zone->last_owner, s->r_owner);
	if (same && zone->last_ttl != s->r_ttl)
		builder_warn(zone->b, s->line_counter,
			"warning: different TTLs in a set (minimum taken)");
	memcpy(zone->last_owner, s->r_owner, knot_dname_size(s->r_owner));
	zone->last_type = s->r_type;
	zone->last_ttl = s->r_ttl;
}

/* ---- records ---- */

static void read_soa(struct zone *zone, const zs_scanner_t *s)
{
	if (zone->has_origin) {
		builder_skip(zone->b, s->line_counter,
			"warning: RR type SOA is not allowed in RPZ (ignored)");
		return;
	}
	memcpy(zone->origin, s->r_owner, s->r_owner_length);
	knot_dname_to_lower(zone->origin);
	zone->has_origin = zone->has_guess = true;
	if (s->r_data_length >= 20)
		zone->b->meta.serial = knot_wire_read_u32(s->r_data + s->r_data_length - 20);
}

/** Bytes of the owner before the origin. @return false: it is outside */
static bool inside_len(
	struct zone *zone, const zs_scanner_t *s, const knot_dname_t *owner, size_t *len)
{
	if (!zone->has_origin && !zone->warned_soa) {
		zone->warned_soa = true;
		builder_warn(zone->b, s->line_counter, "warning: SOA missing as the first record");
	}
	if (!zone->has_guess) {
		memcpy(zone->origin, s->zone_origin, s->zone_origin_length);
		knot_dname_to_lower(zone->origin);
		zone->has_guess = true;
	}
	if (knot_dname_in_bailiwick(owner, zone->origin) < 0) {
		zone->b->meta.skipped += 1;
		if (zone->warned_outside)
			return false;
		zone->warned_outside = true;
		KR_DNAME_GET_STR(name, owner);
		builder_warn(zone->b, s->line_counter,
			"RR owner \"%s\" outside the zone (ignored; reported once per file)", name);
		return false;
	}
	*len = knot_dname_size(owner) - knot_dname_size(zone->origin);
	return true;
}

static void read_record(struct zone *zone, const zs_scanner_t *s)
{
	knot_dname_storage_t owner;
	struct trigger trigger;
	size_t len = 0;
	memcpy(owner, s->r_owner, s->r_owner_length);
	knot_dname_to_lower(owner);
	if (s->r_type == KNOT_RRTYPE_SOA) {
		read_soa(zone, s);
		return;
	}
	if (!inside_len(zone, s, owner, &len) || (s->r_type == KNOT_RRTYPE_NS && len == 0))
		return;
	if (is_banned(s->r_type)) {
		KR_RRTYPE_GET_STR(type, s->r_type);
		builder_skip(zone->b, s->line_counter,
			"warning: RR type %s is not allowed in RPZ (ignored)", type);
		return;
	}
	if (!read_trigger(&trigger, owner, len)) {
		const knot_dname_t *at = owner;
		KR_DNAME_GET_STR(name, at);
		builder_skip(
			zone->b, s->line_counter, "malformed address in \"%s\" (ignored)", name);
		return;
	}
	if (s->r_type == KNOT_RRTYPE_CNAME)
		add_cname(zone, s, &trigger);
	else
		add_data(zone, s, &trigger);
}

static void read_error(struct zone *zone, const zs_scanner_t *s)
{
	builder_skip(zone->b, s->line_counter, "%s", zs_strerror(s->error.code));
}

static void read_all(struct zone *zone, zs_scanner_t *s)
{
	while (zs_parse_record(s) == 0) {
		switch (s->state) {
		case ZS_STATE_DATA:
			read_record(zone, s);
			break;
		case ZS_STATE_ERROR:
			read_error(zone, s);
			if (s->error.fatal)
				return;
			break;
		case ZS_STATE_INCLUDE:
			builder_skip(zone->b, s->line_counter, "$INCLUDE is not supported");
			break;
		default:
			return;
		}
	}
}

int list_parse_rpz(struct builder *b)
{
	zs_scanner_t *s = malloc(sizeof(*s));
	struct zone *zone = calloc(1, sizeof(*zone));
	int ret = s && zone ? kr_ok() : kr_error(ENOMEM);
	if (ret == 0 && zs_init(s, ".", KNOT_CLASS_IN, TTL_DEFAULT_S) != 0)
		ret = kr_error(ENOMEM);
	if (ret == 0) {
		zone->b = b;
		if (zs_set_input_file(s, b->path) == 0) {
			read_all(zone, s);
		} else if (b->meta.size > 0) { /* an empty file is an empty zone */
			snprintf(b->error, KR_LIST_ERROR_MAX, "%s", zs_strerror(s->error.code));
			ret = kr_error(EIO);
		}
		zs_deinit(s);
	}
	free(zone);
	free(s);
	return ret;
}
