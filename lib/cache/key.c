/* SPDX-License-Identifier: GPL-3.0-or-later */

#include "lib/cache/key.h"

#include <string.h>
#include <libknot/descriptor.h>
#include <libknot/wire.h>

/** Ends a label, and the name. Below everything that a label holds. */
#define END 0x00
/** Before an octet that was 0x00 or 0x01, which is then one higher. */
#define ESCAPE 0x01

static inline uint8_t lower(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? c | 0x20 : c;
}

static size_t pack_label(uint8_t *to, const uint8_t *label)
{
	uint8_t *at = to;
	const uint8_t *end = label + 1 + label[0];
	for (const uint8_t *it = label + 1; it < end; ++it) {
		const uint8_t c = lower(*it);
		if (c > ESCAPE) {
			*at++ = c;
		} else {
			*at++ = ESCAPE;
			*at++ = c + 1;
		}
	}
	*at++ = END;
	return at - to;
}

void cache_name_init(struct cache_name *enc, const knot_dname_t *name)
{
	const uint8_t *label[KNOT_DNAME_MAXLABELS];
	unsigned labels = 0;
	for (; *name != 0 && labels < KNOT_DNAME_MAXLABELS; name += 1 + name[0])
		label[labels++] = name;
	enc->labels = labels;
	enc->end[0] = 0;
	size_t len = 0;
	for (unsigned i = 1; i <= labels; ++i) {
		len += pack_label(enc->data + len, label[labels - i]);
		enc->end[i] = len;
	}
}

/** Length of the label's encoding without its end, or 0 if it is none. */
static size_t unpack_label(uint8_t *to, size_t *to_len, const uint8_t *from, size_t len)
{
	size_t i = 0;
	*to_len = 0;
	for (; i < len && from[i] != END; ++i) {
		uint8_t c = from[i];
		if (c == ESCAPE) {
			if (++i >= len || from[i] < 1 || from[i] > 2)
				return 0;
			c = from[i] - 1;
		}
		if (*to_len >= KNOT_DNAME_MAXLABELLEN || lower(c) != c)
			return 0;
		to[(*to_len)++] = c;
	}
	return i < len ? i : 0;
}

int cache_name_unpack(knot_dname_storage_t out, const uint8_t *data, size_t len)
{
	/* Labels come from the root down, so the name grows backwards from its end. */
	uint8_t wire[KNOT_DNAME_MAXLEN];
	uint8_t label[KNOT_DNAME_MAXLABELLEN];
	size_t at = sizeof(wire) - 1;
	wire[at] = 0;
	while (len > 0) {
		size_t label_len;
		const size_t used = unpack_label(label, &label_len, data, len);
		if (used == 0 || label_len + 1 > at)
			return kr_error(EILSEQ);
		at -= label_len + 1;
		wire[at] = label_len;
		memcpy(wire + at + 1, label, label_len);
		data += used + 1;
		len -= used + 1;
	}
	memcpy(out, wire + at, sizeof(wire) - at);
	return kr_ok();
}

void cache_key_subtree(struct cache_key *key, const struct cache_name *enc, unsigned labels)
{
	key->len = enc->end[labels];
	memcpy(key->data, enc->data, key->len);
}

void cache_key_exact(struct cache_key *key, const struct cache_name *enc, unsigned labels)
{
	cache_key_subtree(key, enc, labels);
	key->data[key->len++] = END;
}

void cache_key_tag(
	struct cache_key *key, const struct cache_name *enc, unsigned labels, enum cache_tag tag)
{
	cache_key_exact(key, enc, labels);
	key->data[key->len++] = tag;
}

void cache_key_type(struct cache_key *key, const struct cache_name *enc, unsigned labels,
	enum cache_tag tag, uint16_t type)
{
	cache_key_tag(key, enc, labels, tag);
	knot_wire_write_u16(key->data + key->len, type);
	key->len += 2;
}

void cache_key_nsec(struct cache_key *key, const struct cache_name *enc, unsigned zone_labels)
{
	cache_key_tag(key, enc, zone_labels, CACHE_TAG_NSEC);
	const size_t rest = enc->end[enc->labels] - enc->end[zone_labels];
	memcpy(key->data + key->len, enc->data + enc->end[zone_labels], rest);
	key->len += rest;
}

int cache_key_append(struct cache_key *key, const void *data, size_t len)
{
	if (len > sizeof(key->data) - key->len)
		return kr_error(ENOSPC);
	memcpy(key->data + key->len, data, len);
	key->len += len;
	return kr_ok();
}

void cache_key_nsec3(
	struct cache_key *key, const struct cache_name *enc, unsigned zone_labels, uint32_t params)
{
	uint8_t raw[4];
	cache_key_tag(key, enc, zone_labels, CACHE_TAG_NSEC3);
	knot_wire_write_u32(raw, params);
	/* A zone this long has no room for hashed owners, and then nothing is ever found. */
	(void)cache_key_append(key, raw, sizeof(raw));
}

/** Where the name ends: the first END that does not end a label. @return its index or -1 */
static ssize_t find_tag(const uint8_t *data, size_t len)
{
	bool at_label_start = true;
	for (size_t i = 0; i < len; ++i) {
		if (data[i] == END) {
			if (at_label_start)
				return i + 1 < len ? (ssize_t)i : -1;
			at_label_start = true;
			continue;
		}
		at_label_start = false;
	}
	return -1;
}

static int unpack_nsec(struct cache_key_parts *parts, const uint8_t *data, size_t zone_len,
	const uint8_t *rest, size_t rest_len)
{
	uint8_t whole[CACHE_KEY_MAX];
	if (zone_len + rest_len > sizeof(whole))
		return kr_error(EILSEQ);
	memcpy(whole, data, zone_len);
	memcpy(whole + zone_len, rest, rest_len);
	parts->type = KNOT_RRTYPE_NSEC;
	return cache_name_unpack(parts->owner, whole, zone_len + rest_len);
}

int cache_key_unpack(struct cache_key_parts *parts, const uint8_t *data, size_t len)
{
	if (len > CACHE_KEY_MAX)
		return kr_error(EILSEQ);
	const ssize_t name_len = find_tag(data, len);
	if (name_len < 0)
		return kr_error(EILSEQ);
	parts->tag = data[name_len + 1];
	parts->type = 0;
	const uint8_t *rest = data + name_len + 2;
	const size_t rest_len = len - (name_len + 2);
	size_t wanted = 0;
	switch (parts->tag) {
	case CACHE_TAG_NSEC:
		return unpack_nsec(parts, data, name_len, rest, rest_len);
	case CACHE_TAG_NSEC3:
		parts->type = KNOT_RRTYPE_NSEC3;
		wanted = 4 + CACHE_HASH_LEN;
		break;
	case CACHE_TAG_RR:
	case CACHE_TAG_NODATA:
		wanted = 2;
		if (rest_len == wanted)
			parts->type = knot_wire_read_u16(rest);
		break;
	case CACHE_TAG_DELEG:
		parts->type = KNOT_RRTYPE_NS;
		break;
	case CACHE_TAG_NXNAME:
	case CACHE_TAG_ZONE:
		break;
	default:
		return kr_error(EILSEQ);
	}
	return rest_len == wanted ? cache_name_unpack(parts->owner, data, name_len)
				  : kr_error(EILSEQ);
}
