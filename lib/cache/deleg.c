/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Delegations: what a parent said about its child, in one entry that lives and dies as a whole
 * (C-30 to C-33). An entry's sets are: NS of the child; a marker SOA without records, whose owner
 * is the parent; a marker DS without records, if it is proven that there is no DS; then glue. */

#include <string.h>
#include <libknot/rrtype/rdname.h>

#include "lib/cache/cache_impl.h"
#include "lib/check.h"

/** Sets before the glue. */
enum { SET_NS, SET_PARENT, SET_NODS, SET_GLUE };

/** Part of its time during which a delegation may be refreshed although it lives (C-31). */
#define PREFETCH_PART 100

/** Records made up from parts of a struct kr_deleg, before they are encoded. */
struct builder {
	uint8_t data[KR_NS_MAX * (KNOT_DNAME_MAXLEN + 4) + KR_CUT_ADDR_MAX * 18];
	size_t used;
};

/** Append a record to the set that is being built. */
static void add_record(struct builder *b, knot_rdataset_t *rrs, const void *data, uint16_t len)
{
	const size_t size = knot_rdata_size(len);
	if (size > sizeof(b->data) - b->used)
		return;
	uint8_t *at = b->data + b->used;
	if (rrs->count == 0)
		rrs->rdata = (knot_rdata_t *)at;
	at[size - 1] = 0; /* padding */
	memcpy(at, &len, sizeof(len));
	memcpy(at + sizeof(len), data, len);
	b->used += size;
	rrs->size += size;
	rrs->count += 1;
}

static void build_ns(struct builder *b, struct cache_set *set, const struct kr_deleg *deleg)
{
	for (size_t i = 0; i < KR_MIN(deleg->ns.len, KR_NS_MAX); ++i) {
		const knot_dname_t *ns = deleg->ns.at[i];
		add_record(b, &set->data, ns, knot_dname_size(ns));
	}
}

/** Addresses of one family of one server. */
static void build_glue(struct builder *b, struct cache_entry *entry, const struct kr_deleg *deleg,
	const knot_dname_t *ns, uint8_t addr_len, unsigned *left)
{
	if (entry->count >= CACHE_SETS_MAX)
		return;
	struct cache_set *set = &entry->sets[entry->count];
	*set = (struct cache_set){
		.owner = ns,
		.type = addr_len == 4 ? KNOT_RRTYPE_A : KNOT_RRTYPE_AAAA,
		.ttl = entry->ttl,
	};
	for (size_t i = 0; i<deleg->glue.len && * left> 0; ++i) {
		const struct kr_deleg_glue *glue = &deleg->glue.at[i];
		if (glue->addr_len != addr_len || set->data.count >= KR_NS_ADDR_MAX ||
			!knot_dname_is_equal(glue->ns, ns))
			continue;
		add_record(b, &set->data, glue->addr, addr_len);
		*left -= 1;
	}
	if (set->data.count > 0)
		entry->count += 1;
}

/** May this entry give way to what the parent now says? */
static bool may_replace(const struct cache_entry *old, const struct kr_deleg *deleg, uint32_t now_s)
{
	const int32_t left = cache_ttl_left(old->time, old->ttl, now_s);
	if (left <= 0 || (uint32_t)left <= old->ttl / PREFETCH_PART)
		return true;
	return old->count > SET_PARENT && old->sets[SET_PARENT].owner && deleg->parent &&
	       knot_dname_is_case_equal(old->sets[SET_PARENT].owner, deleg->parent);
}

int kr_cache_deleg_insert(
	struct kr_cache *cache, const struct kr_deleg *deleg, uint32_t parent_ttl, uint32_t now_s)
{
	if (!kr_cache_is_open(cache) || kr_fails_assert(deleg && deleg->name))
		return kr_error(EINVAL);
	if (deleg->ns.len == 0 || deleg->name[0] == '\0')
		return kr_ok();
	struct cache_name enc;
	struct cache_key key;
	struct cache_entry entry, old;
	cache_name_init(&enc, deleg->name);
	cache_key_tag(&key, &enc, enc.labels, CACHE_TAG_DELEG);
	if (cache_get(cache, &key, &old) == 0 && !may_replace(&old, deleg, now_s))
		return kr_ok();

	uint32_t ttl = KR_MIN(deleg->ttl, KR_TTL_DELEG_MAX_S);
	ttl = cache_clamp_ttl(cache, ttl); /* C-20: zero becomes the lower limit here */
	if (parent_ttl > 0)
		ttl = KR_MIN(ttl, parent_ttl);
	struct builder b = {.used = 0};
	entry.time = now_s;
	entry.ttl = ttl;
	entry.rank = KR_RANK_TRY;
	entry.flags = deleg->is_secure_nods ? CACHE_FLAG_SECURE_NODS : 0;
	entry.count = SET_GLUE;
	entry.sets[SET_NS] = (struct cache_set){.type = KNOT_RRTYPE_NS, .ttl = ttl};
	entry.sets[SET_PARENT] =
		(struct cache_set){.owner = deleg->parent, .type = KNOT_RRTYPE_SOA};
	entry.sets[SET_NODS] = (struct cache_set){.type = KNOT_RRTYPE_DS, .ttl = deleg->nods_ttl};
	build_ns(&b, &entry.sets[SET_NS], deleg);
	unsigned left = KR_CUT_ADDR_MAX;
	for (size_t i = 0; i < KR_MIN(deleg->ns.len, KR_NS_MAX); ++i) {
		build_glue(&b, &entry, deleg, deleg->ns.at[i], 4, &left);
		build_glue(&b, &entry, deleg, deleg->ns.at[i], 16, &left);
	}
	return cache_put(cache, &key, &entry);
}

/** Next record of a set inside of an entry: bytes there need not be aligned. */
static const uint8_t *next_record(const uint8_t **at, uint16_t *len)
{
	memcpy(len, *at, sizeof(*len));
	const uint8_t *data = *at + sizeof(*len);
	*at += knot_rdata_size(*len);
	return data;
}

static int read_ns(struct kr_deleg *out, const knot_rdataset_t *rrs, knot_mm_t *pool)
{
	const uint8_t *at = (const uint8_t *)rrs->rdata;
	for (unsigned i = 0; i < rrs->count; ++i) {
		uint16_t len;
		knot_dname_t *ns = knot_dname_copy(next_record(&at, &len), pool);
		if (!ns || array_push_mm(out->ns, ns, pool) < 0)
			return kr_error(ENOMEM);
	}
	return kr_ok();
}

static int read_glue(struct kr_deleg *out, const struct cache_set *set, knot_mm_t *pool)
{
	if (!set->owner || (set->type != KNOT_RRTYPE_A && set->type != KNOT_RRTYPE_AAAA))
		return kr_ok();
	knot_dname_t *ns = knot_dname_copy(set->owner, pool);
	if (!ns)
		return kr_error(ENOMEM);
	const uint8_t *at = (const uint8_t *)set->data.rdata;
	for (unsigned i = 0; i < set->data.count; ++i) {
		struct kr_deleg_glue glue = {.ns = ns};
		uint16_t len;
		const uint8_t *addr = next_record(&at, &len);
		if (len > sizeof(glue.addr))
			continue;
		glue.addr_len = len;
		memcpy(glue.addr, addr, len);
		if (array_push_mm(out->glue, glue, pool) < 0)
			return kr_error(ENOMEM);
	}
	return kr_ok();
}

static int read_deleg(struct kr_deleg *out, const struct cache_entry *entry,
	const knot_dname_t *name, uint32_t now_s, knot_mm_t *pool)
{
	*out = (struct kr_deleg){
		.name = knot_dname_copy(name, pool),
		.ttl = cache_ttl_left(entry->time, entry->ttl, now_s),
	};
	if (!out->name)
		return kr_error(ENOMEM);
	if (entry->sets[SET_PARENT].owner)
		out->parent = knot_dname_copy(entry->sets[SET_PARENT].owner, pool);
	const int32_t nods_left = cache_ttl_left(entry->time, entry->sets[SET_NODS].ttl, now_s);
	out->is_secure_nods = (entry->flags & CACHE_FLAG_SECURE_NODS) && nods_left > 0;
	out->nods_ttl = out->is_secure_nods ? nods_left : 0;
	int ret = read_ns(out, &entry->sets[SET_NS].data, pool);
	for (unsigned i = SET_GLUE; ret == 0 && i < entry->count; ++i)
		ret = read_glue(out, &entry->sets[i], pool);
	return ret;
}

static bool is_usable(const struct cache_entry *entry, uint32_t now_s)
{
	return entry->count >= SET_GLUE && entry->sets[SET_NS].type == KNOT_RRTYPE_NS &&
	       entry->sets[SET_NS].data.count > 0 &&
	       cache_ttl_left(entry->time, entry->ttl, now_s) > 0;
}

int kr_cache_deleg_find(struct kr_cache *cache, const knot_dname_t *name, uint32_t now_s,
	struct kr_deleg *out, knot_mm_t *pool)
{
	if (!kr_cache_is_open(cache) || !name || !out)
		return kr_error(ENOENT);
	struct cache_name enc;
	struct cache_key key;
	struct cache_entry entry;
	cache_name_init(&enc, name);
	for (unsigned labels = enc.labels; labels > 0; --labels) {
		cache_key_tag(&key, &enc, labels, CACHE_TAG_DELEG);
		if (cache_get(cache, &key, &entry) == 0 && is_usable(&entry, now_s))
			return read_deleg(out, &entry, name, now_s, pool);
		name = knot_wire_next_label(name, NULL);
	}
	return kr_error(ENOENT);
}
