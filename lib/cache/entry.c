/* SPDX-License-Identifier: GPL-3.0-or-later */

#include "lib/cache/entry.h"

#include <string.h>
#include <libknot/rrtype/naptr.h>

#include "lib/rrs.h"

/** Entries may be this many seconds ahead of our clock: processes look at theirs at different
 * moments. */
#define CLOCK_SKEW_S 60

/** An RRset of the entry as it is written; owner, rdata and signatures follow. */
struct set_head {
	uint16_t type;
	uint16_t owner_len; /**< padded to even */
	uint32_t ttl;
	uint32_t data_size;
	uint32_t sigs_size;
	uint16_t data_count;
	uint16_t sigs_count;
};

/* ---- checksum ---- */

static inline uint64_t mix(uint64_t sum, uint64_t word)
{
	sum = (sum ^ word) * 0x9e3779b97f4a7c15u;
	return sum ^ sum >> 32;
}

/** Every step is a bijection of the sum: damage to one word is lost only in the final cut to 32
 * bits. */
static uint64_t mix_bytes(uint64_t sum, const uint8_t *data, size_t len)
{
	uint64_t word;
	for (; len >= sizeof(word); data += sizeof(word), len -= sizeof(word)) {
		memcpy(&word, data, sizeof(word));
		sum = mix(sum, word);
	}
	word = len;
	memcpy((uint8_t *)&word + 1, data, len);
	return mix(sum, word);
}

static uint32_t checksum(const uint8_t *key, size_t key_len, const uint8_t *val, size_t val_len)
{
	uint64_t sum = mix_bytes(CACHE_FORMAT, key, key_len);
	sum = mix_bytes(sum, val + sizeof(uint32_t), val_len - sizeof(uint32_t));
	sum = mix(sum, val_len);
	return sum >> 16;
}

/* ---- writing ---- */

static inline size_t even(size_t len)
{
	return len + (len & 1);
}

static size_t owner_size(const struct cache_set *set)
{
	return set->owner ? even(knot_dname_size(set->owner)) : 0;
}

ssize_t cache_entry_size(const struct cache_entry *entry)
{
	size_t size = sizeof(struct cache_entry_head);
	for (unsigned i = 0; i < entry->count; ++i) {
		const struct cache_set *set = &entry->sets[i];
		size += sizeof(struct set_head) + owner_size(set) + set->data.size + set->sigs.size;
		if (size > CACHE_ENTRY_MAX)
			return kr_error(ENOSPC);
	}
	return size;
}

static uint8_t *put(uint8_t *to, const void *data, size_t len)
{
	if (len > 0)
		memcpy(to, data, len);
	return to + len;
}

static uint8_t *put_set(uint8_t *to, const struct cache_set *set)
{
	const struct set_head head = {
		.type = set->type,
		.owner_len = owner_size(set),
		.ttl = set->ttl,
		.data_size = set->data.size,
		.sigs_size = set->sigs.size,
		.data_count = set->data.count,
		.sigs_count = set->sigs.count,
	};
	to = put(to, &head, sizeof(head));
	if (set->owner) {
		to[head.owner_len - 1] = 0;
		put(to, set->owner, knot_dname_size(set->owner));
		to += head.owner_len;
	}
	to = put(to, set->data.rdata, set->data.size);
	return put(to, set->sigs.rdata, set->sigs.size);
}

void cache_entry_encode(
	const struct cache_entry *entry, const struct cache_key *key, void *to, size_t size)
{
	struct cache_entry_head head = {
		.len = size,
		.time = entry->time,
		.ttl = entry->ttl,
		.format = CACHE_FORMAT,
		.rank = entry->rank,
		.flags = entry->flags,
		.count = entry->count,
	};
	uint8_t *at = put(to, &head, sizeof(head));
	for (unsigned i = 0; i < entry->count; ++i)
		at = put_set(at, &entry->sets[i]);
	head.sum = checksum(key->data, key->len, to, size);
	memcpy(to, &head.sum, sizeof(head.sum));
}

/* ---- reading ---- */

/** Bytes not read yet. */
struct cursor {
	const uint8_t *at;
	size_t left;
};

static const uint8_t *take(struct cursor *cur, size_t len)
{
	if (len > cur->left)
		return NULL;
	const uint8_t *at = cur->at;
	cur->at += len;
	cur->left -= len;
	return at;
}

/** Names and fixed fields are all there, so that code which trusts parsed rdata may have it. */
static bool is_rdata_sound(const knot_rdata_descriptor_t *desc, const uint8_t *at, size_t len)
{
	const uint8_t *end = at + len;
	for (int i = 0; i < KNOT_MAX_RDATA_BLOCKS && desc->block_types[i] != KNOT_RDATA_WF_END;
		++i) {
		int size = desc->block_types[i];
		switch (size) {
		case KNOT_RDATA_WF_FIXED_DNAME:
		case KNOT_RDATA_WF_COMPRESSIBLE_DNAME:
		case KNOT_RDATA_WF_DECOMPRESSIBLE_DNAME:
			size = knot_dname_wire_check(at, end, NULL);
			break;
		case KNOT_RDATA_WF_NAPTR_HEADER:
			size = knot_naptr_header_size(at, end);
			break;
		case KNOT_RDATA_WF_REMAINDER:
			return true;
		default:
			break;
		}
		if (size <= 0 || size > end - at)
			return false;
		at += size;
	}
	return at == end;
}

/** Take `size` bytes as `count` records. */
static bool take_rdataset(
	struct cursor *cur, knot_rdataset_t *rrs, uint16_t type, uint32_t size, uint16_t count)
{
	struct cursor rest = {cur->at, size};
	if (!take(cur, size))
		return false;
	*rrs = (knot_rdataset_t){.count = count, .size = size, .rdata = (knot_rdata_t *)rest.at};
	const knot_rdata_descriptor_t *desc = knot_get_rdata_descriptor(type);
	for (unsigned i = 0; i < count; ++i) {
		uint16_t len;
		const uint8_t *at = take(&rest, sizeof(len));
		if (!at)
			return false;
		memcpy(&len, at, sizeof(len));
		at = take(&rest, even(len));
		if (!at || !is_rdata_sound(desc, at, len))
			return false;
	}
	if (count == 0)
		rrs->rdata = NULL;
	return rest.left == 0;
}

static bool take_set(struct cursor *cur, struct cache_set *set)
{
	struct set_head head;
	const uint8_t *at = take(cur, sizeof(head));
	if (!at)
		return false;
	memcpy(&head, at, sizeof(head));
	set->type = head.type;
	set->ttl = head.ttl;
	set->owner = NULL;
	if (head.owner_len > 0) {
		set->owner = take(cur, head.owner_len);
		if (!set->owner)
			return false;
		const int size =
			knot_dname_wire_check(set->owner, set->owner + head.owner_len, NULL);
		if (size <= 0 || even(size) != head.owner_len)
			return false;
	}
	return take_rdataset(cur, &set->data, set->type, head.data_size, head.data_count) &&
	       take_rdataset(cur, &set->sigs, KNOT_RRTYPE_RRSIG, head.sigs_size, head.sigs_count);
}

int cache_entry_head(
	struct cache_entry_head *head, const knot_db_val_t *key, const knot_db_val_t *val)
{
	if (val->len < sizeof(*head) || val->len > CACHE_ENTRY_MAX)
		return kr_error(EILSEQ);
	memcpy(head, val->data, sizeof(*head));
	if (head->len != val->len || head->format != CACHE_FORMAT || head->count > CACHE_SETS_MAX ||
		!kr_rank_check(head->rank))
		return kr_error(EILSEQ);
	return head->sum == checksum(key->data, key->len, val->data, val->len) ? kr_ok()
									       : kr_error(EILSEQ);
}

int cache_entry_decode(
	struct cache_entry *entry, const knot_db_val_t *key, const knot_db_val_t *val)
{
	struct cache_entry_head head;
	int ret = cache_entry_head(&head, key, val);
	if (ret != 0)
		return ret;
	entry->time = head.time;
	entry->ttl = head.ttl;
	entry->rank = head.rank;
	entry->flags = head.flags;
	entry->count = head.count;
	struct cursor cur = {(const uint8_t *)val->data + sizeof(head), val->len - sizeof(head)};
	for (unsigned i = 0; i < entry->count; ++i) {
		if (!take_set(&cur, &entry->sets[i]))
			return kr_error(EILSEQ);
	}
	return cur.left == 0 ? kr_ok() : kr_error(EILSEQ);
}

/* ---- time ---- */

int32_t cache_ttl_left(uint32_t time, uint32_t ttl, uint32_t now)
{
	const int32_t age = (int32_t)(now - time); /* right across 2106 as well */
	if (age < -CLOCK_SKEW_S)
		return INT32_MIN;
	const int64_t left = (int64_t)ttl - KR_MAX(age, 0);
	return left > 0 ? KR_MIN(left, INT32_MAX) : left - 1;
}
