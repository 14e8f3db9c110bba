/* SPDX-License-Identifier: GPL-3.0-or-later */

#include "utils/cache_gc/score.h"

#include <string.h>
#include <libknot/descriptor.h>

#include "lib/cache/entry.h"
#include "lib/cache/key.h"

/** Score of an ordinary record that nothing speaks for or against. */
#define ORDINARY 60

static int by_depth(const knot_dname_t *owner)
{
	static const int score[] = {-45, -35, -10, 0, 3}; /* root, TLD, ... */
	const size_t labels = knot_dname_labels(owner, NULL);
	return labels < KR_COUNT_OF(score) ? score[labels] : 6;
}

static int by_type(uint8_t tag, uint16_t type)
{
	if (tag == CACHE_TAG_DELEG || tag == CACHE_TAG_ZONE)
		return -20;
	if (tag != CACHE_TAG_RR)
		return 0;
	switch (type) {
	case KNOT_RRTYPE_NS:
	case KNOT_RRTYPE_DS:
	case KNOT_RRTYPE_DNSKEY:
		return -20;
	case KNOT_RRTYPE_A:
	case KNOT_RRTYPE_AAAA:
		return -10;
	default:
		return 0;
	}
}

static int by_size(size_t size)
{
	return size > 4096 ? 20 : size > 1024 ? 10 : 0;
}

/** Each doubling of the uses counts. */
static int by_use(unsigned uses)
{
	int score = 0;
	for (; uses > 0; uses /= 2)
		score -= 8;
	return score;
}

int score_entry(const knot_db_val_t *key, const knot_db_val_t *val, const struct score_facts *facts,
	uint16_t *type)
{
	struct cache_key_parts parts;
	struct cache_entry_head head;
	*type = 0;
	if (!memchr(key->data, 0, key->len))
		return SCORE_NEVER;
	if (cache_key_unpack(&parts, key->data, key->len) != 0 ||
		cache_entry_head(&head, key, val) != 0)
		return SCORE_MAX;
	*type = parts.type;
	const int32_t left = cache_ttl_left(head.time, head.ttl, facts->now);
	if (left <= 0)
		return SCORE_MAX;
	int score = ORDINARY + by_depth(parts.owner) + by_type(parts.tag, parts.type) +
		    by_size(val->len) + by_use(facts->uses);
	if ((uint32_t)left < head.ttl / 10)
		score += 8;
	return KR_MAX(0, KR_MIN(score, SCORE_MAX - 1));
}
