/* SPDX-License-Identifier: GPL-3.0-or-later */

#include "lib/cache/cache.h"

#include <limits.h>
#include <string.h>
#include <unistd.h>
#include <libknot/rrtype/rrsig.h>

#include "lib/cache/cache_impl.h"
#include "lib/cache/usage.h"
#include "lib/check.h"
#include "lib/log.h"
#include "lib/rplan.h"

/** Keys taken in one step when a subtree is removed. */
#define REMOVE_STEP 128

/* ---- version ---- */

/** What has to agree between processes that share a store. */
struct version {
	char magic[8];
	uint32_t format;
	uint32_t byte_order;
	uint32_t page_size;
	uint32_t head_size;
};

static const char version_text[] = "\xffVERSION"; /* no name's key: those have a zero octet */

static struct version version_ours(void)
{
	return (struct version){
		.magic = "kresd-c",
		.format = CACHE_FORMAT,
		.byte_order = 0x01020304,
		.page_size = sysconf(_SC_PAGESIZE),
		.head_size = sizeof(struct cache_entry_head),
	};
}

static knot_db_val_t version_key(void)
{
	return (knot_db_val_t){.data = (void *)version_text, .len = sizeof(version_text) - 1};
}

static int version_write(struct kr_cache *cache)
{
	struct version ours = version_ours();
	knot_db_val_t key = version_key(), val = {.data = &ours, .len = sizeof(ours)};
	return cache->api->write(cache->db, &cache->stats, &key, &val, 1);
}

int cache_version_read(const struct kr_cdb_api *api, kr_cdb_pt db, struct kr_cdb_stats *stats)
{
	const struct version ours = version_ours();
	knot_db_val_t key = version_key(), val = {0};
	int ret = api->read(db, stats, &key, &val, 1);
	if (ret != 0)
		return ret;
	return val.len == sizeof(ours) && memcmp(val.data, &ours, sizeof(ours)) == 0;
}

/** Make sure that what is stored can be read by us; else empty the store. */
static int version_check(struct kr_cache *cache)
{
	int ret = cache_version_read(cache->api, cache->db, &cache->stats);
	if (ret > 0)
		return kr_ok();
	if (ret != 0 && ret != kr_error(ENOENT) && ret != kr_error(EILSEQ))
		return ret;
	int count = ret == kr_error(ENOENT) ? cache->api->count(cache->db, &cache->stats) : INT_MAX;
	if (count > 1) {
		kr_log_info(CACHE, "cache was written by an incompatible version, clearing it\n");
		ret = cache->api->clear(cache->db, &cache->stats);
		if (ret != 0)
			return ret;
	}
	ret = version_write(cache);
	return ret == 0 ? kr_cache_commit(cache) : ret;
}

/* ---- life ---- */

int kr_cache_open(struct kr_cache *cache, const struct kr_cdb_api *api, struct kr_cdb_opts *opts,
	knot_mm_t *mm)
{
	if (kr_fails_assert(cache && opts))
		return kr_error(EINVAL);
	kr_cache_close(cache);
	cache->api = api ? api : kr_cdb_lmdb();
	int ret = cache->api->open(&cache->db, &cache->stats, opts, mm);
	if (ret != 0) {
		cache->db = NULL;
		return ret;
	}
	if (cache->ttl_min == 0 && cache->ttl_max == 0) {
		cache->ttl_min = KR_TTL_MIN_S;
		cache->ttl_max = KR_TTL_MAX_S;
	}
	ret = version_check(cache);
	if (ret != 0)
		kr_cache_close(cache);
	else if (cache->api->path)
		cache->usage = cache_usage_open(cache->api->path(cache->db));
	return ret;
}

void kr_cache_close(struct kr_cache *cache)
{
	if (!kr_cache_is_open(cache))
		return;
	cache->api->close(cache->db, &cache->stats);
	cache->db = NULL;
	cache_usage_close(cache->usage);
	cache->usage = NULL;
}

int kr_cache_commit(struct kr_cache *cache)
{
	if (!kr_cache_is_open(cache))
		return kr_error(EINVAL);
	int ret = cache->api->commit(cache->db, &cache->stats);
	if (ret == kr_error(ENOSPC) || ret > 0)
		cache->full += 1;
	if (ret > 0) { /* the version went away with the rest */
		ret = version_write(cache);
		if (ret == 0)
			ret = cache->api->commit(cache->db, &cache->stats);
	}
	return KR_MIN(ret, 0);
}

int kr_cache_clear(struct kr_cache *cache)
{
	if (!kr_cache_is_open(cache))
		return kr_error(EINVAL);
	int ret = cache->api->clear(cache->db, &cache->stats);
	if (ret == 0)
		ret = version_write(cache);
	return ret == 0 ? kr_cache_commit(cache) : ret;
}

int kr_cache_check_health(struct kr_cache *cache)
{
	if (!kr_cache_is_open(cache))
		return kr_error(EINVAL);
	int ret = cache->api->check_health(cache->db, &cache->stats);
	if (ret <= 0)
		return ret;
	int check = version_check(cache);
	return check == 0 ? ret : check;
}

/* ---- entries ---- */

bool cache_rank_is_bad(uint8_t rank)
{
	return kr_rank_test(rank, KR_RANK_BOGUS) || kr_rank_test(rank, KR_RANK_MISMATCH) ||
	       kr_rank_test(rank, KR_RANK_MISSING) || kr_rank_test(rank, KR_RANK_INDET);
}

static int drop_corrupt(struct kr_cache *cache, knot_db_val_t key)
{
	cache->corrupt += 1;
	cache->api->remove(cache->db, &cache->stats, &key, 1);
	return kr_error(ENOENT);
}

int cache_get(struct kr_cache *cache, const struct cache_key *key, struct cache_entry *entry)
{
	knot_db_val_t k = cache_key_val(key), v;
	int ret = cache->api->read(cache->db, &cache->stats, &k, &v, 1);
	if (ret != 0)
		return ret;
	return cache_entry_decode(entry, &k, &v) == 0 ? kr_ok() : drop_corrupt(cache, k);
}

int cache_get_leq(struct kr_cache *cache, const struct cache_key *key,
	const struct cache_key *prefix, struct cache_entry *entry)
{
	knot_db_val_t k = cache_key_val(key), v;
	int ret = cache->api->read_leq(cache->db, &cache->stats, &k, &v);
	if (ret < 0)
		return ret;
	if (!cache_key_is_prefix(prefix, &k))
		return kr_error(ENOENT);
	return cache_entry_decode(entry, &k, &v) == 0 ? ret : drop_corrupt(cache, k);
}

int cache_put(struct kr_cache *cache, const struct cache_key *key, const struct cache_entry *entry)
{
	const ssize_t size = cache_entry_size(entry);
	if (size < 0)
		return kr_ok(); /* larger than any message: not worth caching */
	knot_db_val_t k = cache_key_val(key), v = {.data = NULL, .len = size};
	int ret = cache->api->write(cache->db, &cache->stats, &k, &v, 1);
	if (ret == 0)
		cache_entry_encode(entry, key, v.data, size);
	return ret;
}

int cache_live_rank(struct kr_cache *cache, const struct cache_key *key, uint32_t now)
{
	struct cache_entry_head head;
	knot_db_val_t k = cache_key_val(key), v;
	if (cache->api->read(cache->db, &cache->stats, &k, &v, 1) != 0 ||
		cache_entry_head(&head, &k, &v) != 0)
		return -1;
	return cache_ttl_left(head.time, head.ttl, now) > 0 ? head.rank : -1;
}

int cache_put_ranked(
	struct kr_cache *cache, const struct cache_key *key, const struct cache_entry *entry)
{
	if (cache_live_rank(cache, key, entry->time) > entry->rank)
		return 1;
	return cache_put(cache, key, entry);
}

int cache_del(struct kr_cache *cache, const struct cache_key *key)
{
	knot_db_val_t k = cache_key_val(key);
	return cache->api->remove(cache->db, &cache->stats, &k, 1);
}

/* ---- sets ---- */

/** The first few records of a set. */
static knot_rdataset_t first_records(const knot_rdataset_t *all, uint16_t max)
{
	knot_rdataset_t some = *all;
	if (all->count <= max)
		return some;
	const knot_rdata_t *at = all->rdata;
	some.size = 0;
	for (some.count = 0; some.count < max; ++some.count) {
		some.size += knot_rdata_size(at->len);
		at = knot_rdataset_next((knot_rdata_t *)at);
	}
	return some;
}

struct cache_set cache_set_from(const knot_rrset_t *rr, const knot_rrset_t *sigs)
{
	struct cache_set set = {.type = rr->type, .ttl = rr->ttl, .data = rr->rrs};
	if (sigs)
		set.sigs = first_records(&sigs->rrs, KR_RRSIG_KEPT_MAX);
	return set;
}

/** Shortest RRSIG whose fixed part may be read. */
#define RRSIG_MIN 19

uint32_t cache_sigs_ttl(const knot_rdataset_t *sigs, uint32_t now)
{
	uint32_t ttl = 0;
	const knot_rdata_t *sig = sigs->rdata;
	for (unsigned i = 0; i < sigs->count; ++i, sig = knot_rdataset_next((knot_rdata_t *)sig)) {
		if (sig->len < RRSIG_MIN)
			continue;
		const int32_t left = (int32_t)(knot_rrsig_sig_expiration(sig) - now);
		if (left > 0)
			ttl = KR_MAX(ttl, KR_MIN((uint32_t)left, knot_rrsig_original_ttl(sig)));
	}
	return ttl;
}

int cache_rdata_copy(knot_rdataset_t *dst, const knot_rdataset_t *src, knot_mm_t *pool)
{
	*dst = *src;
	if (src->size == 0)
		return kr_ok();
	dst->rdata = mm_memdup(pool, src->rdata, src->size);
	return dst->rdata ? kr_ok() : kr_error(ENOMEM);
}

/* ---- positive data ---- */

static bool is_cacheable_type(uint16_t type)
{
	return type != 0 && type != KNOT_RRTYPE_RRSIG && !knot_rrtype_is_metatype(type);
}

/**
 * Does something that was said about the name outrank new data (C-34)? Weaker denials are taken
 * back.
 */
static bool is_denied(struct kr_cache *cache, const struct cache_name *enc, uint16_t type,
	uint8_t rank, uint32_t now)
{
	struct cache_key denials[2];
	cache_key_tag(&denials[0], enc, enc->labels, CACHE_TAG_NXNAME);
	cache_key_type(&denials[1], enc, enc->labels, CACHE_TAG_NODATA, type);
	for (size_t i = 0; i < KR_COUNT_OF(denials); ++i) {
		if (cache_live_rank(cache, &denials[i], now) > rank)
			return true;
	}
	for (size_t i = 0; i < KR_COUNT_OF(denials); ++i)
		cache_del(cache, &denials[i]);
	return false;
}

int kr_cache_insert_rr(struct kr_cache *cache, const knot_rrset_t *rr, const knot_rrset_t *rrsig,
	uint8_t rank, uint32_t timestamp, bool ins_nsec_p)
{
	if (kr_fails_assert(cache && rr) || rr->rclass != KNOT_CLASS_IN)
		return kr_error(EINVAL);
	if (!kr_cache_is_open(cache) || !is_cacheable_type(rr->type) || cache_rank_is_bad(rank) ||
		rr->rrs.count == 0 || rr->rrs.count > KR_RRSET_RRS_MAX || rr->ttl == 0)
		return kr_ok();
	struct cache_entry entry = {
		.time = timestamp,
		.rank = rank,
		.count = 1,
		.sets = {cache_set_from(rr, rrsig)},
	};
	uint32_t ttl = rr->ttl;
	if (kr_rank_test(rank, KR_RANK_SECURE) && entry.sets[0].sigs.count > 0)
		ttl = KR_MIN(ttl, cache_sigs_ttl(&entry.sets[0].sigs, timestamp));
	if (ttl == 0)
		return kr_ok(); /* signatures ran out since they were checked */
	entry.ttl = entry.sets[0].ttl = cache_clamp_ttl(cache, ttl);

	struct cache_name enc;
	struct cache_key key;
	cache_name_init(&enc, rr->owner);
	if (is_denied(cache, &enc, rr->type, rank, timestamp))
		return kr_ok();
	cache_key_type(&key, &enc, enc.labels, CACHE_TAG_RR, rr->type);
	int ret = cache_put_ranked(cache, &key, &entry);
	const bool is_proof = rr->type == KNOT_RRTYPE_NSEC || rr->type == KNOT_RRTYPE_NSEC3;
	if (ret < 0 || !ins_nsec_p || !is_proof || entry.sets[0].sigs.count == 0 ||
		!kr_rank_test(rank, KR_RANK_SECURE) || rrsig->rrs.rdata->len < RRSIG_MIN)
		return KR_MIN(ret, 0);
	ret = cache_insert_proof(
		cache, rr, rrsig, knot_rrsig_signer_name(rrsig->rrs.rdata), timestamp);
	return KR_MIN(ret, 0);
}

int kr_cache_peek_exact(
	struct kr_cache *cache, const knot_dname_t *name, uint16_t type, struct kr_cache_p *peek)
{
	if (!kr_cache_is_open(cache) || !name || !peek)
		return kr_error(EINVAL);
	struct cache_name enc;
	struct cache_key key;
	struct cache_entry entry;
	cache_name_init(&enc, name);
	cache_key_type(&key, &enc, enc.labels, CACHE_TAG_RR, type);
	int ret = cache_get(cache, &key, &entry);
	if (ret != 0)
		return ret;
	if (entry.count == 0)
		return kr_error(ENOENT);
	const knot_rdataset_t *data = &entry.sets[0].data;
	*peek = (struct kr_cache_p){
		.time = entry.time,
		.ttl = entry.ttl,
		.rank = entry.rank,
		.raw_data = data->rdata,
		.raw_bound = (uint8_t *)data->rdata + data->size,
	};
	return kr_ok();
}

int32_t kr_cache_ttl(const struct kr_cache_p *peek, const struct kr_query *qry,
	const knot_dname_t *name, uint16_t type)
{
	const int32_t left = cache_ttl_left(peek->time, peek->ttl, qry->timestamp.tv_sec);
	if (left >= 0 || left == INT32_MIN || !qry->stale_cb)
		return left;
	return qry->stale_cb(left, name, type, qry);
}

int kr_cache_materialize(knot_rdataset_t *dst, const struct kr_cache_p *ref, knot_mm_t *pool)
{
	if (!dst || !ref || !ref->raw_data)
		return kr_error(EINVAL);
	const uint8_t *at = ref->raw_data, *end = ref->raw_bound;
	knot_rdataset_t raw = {.size = end - at, .rdata = ref->raw_data};
	while (at < end) {
		uint16_t len;
		memcpy(&len, at, sizeof(len)); /* decoding has checked the lengths */
		at += knot_rdata_size(len);
		raw.count += 1;
	}
	int ret = cache_rdata_copy(dst, &raw, pool);
	return ret == 0 ? (int)raw.size : ret;
}

int kr_cache_get_rr(struct kr_cache *cache, const knot_dname_t *name, uint16_t type,
	uint8_t min_rank, uint32_t now_s, knot_rrset_t **rr, uint8_t *rank, knot_mm_t *pool)
{
	struct kr_cache_p peek;
	int ret = kr_cache_peek_exact(cache, name, type, &peek);
	if (ret != 0)
		return kr_error(ENOENT);
	const int32_t left = cache_ttl_left(peek.time, peek.ttl, now_s);
	if (left <= 0 || peek.rank < min_rank)
		return kr_error(ENOENT);
	knot_rrset_t *set = knot_rrset_new(name, type, KNOT_CLASS_IN, left, pool);
	if (!set)
		return kr_error(ENOMEM);
	ret = kr_cache_materialize(&set->rrs, &peek, pool);
	if (ret < 0)
		return ret;
	*rr = set;
	if (rank)
		*rank = peek.rank;
	return kr_ok();
}

/* ---- removal ---- */

int kr_cache_remove(struct kr_cache *cache, const knot_dname_t *name, uint16_t type)
{
	if (!kr_cache_is_open(cache) || !name)
		return kr_error(EINVAL);
	struct cache_name enc;
	struct cache_key keys[3];
	knot_db_val_t vals[3];
	cache_name_init(&enc, name);
	cache_key_type(&keys[0], &enc, enc.labels, CACHE_TAG_RR, type);
	cache_key_type(&keys[1], &enc, enc.labels, CACHE_TAG_NODATA, type);
	cache_key_tag(&keys[2], &enc, enc.labels, CACHE_TAG_DELEG);
	for (size_t i = 0; i < KR_COUNT_OF(keys); ++i)
		vals[i] = cache_key_val(&keys[i]);
	return cache->api->remove(cache->db, &cache->stats, vals, type == KNOT_RRTYPE_NS ? 3 : 2);
}

int kr_cache_match(struct kr_cache *cache, const knot_dname_t *name, bool exact,
	knot_db_val_t keyval[][2], int maxcount)
{
	if (!kr_cache_is_open(cache) || !name || maxcount <= 0)
		return kr_error(EINVAL);
	struct cache_name enc;
	struct cache_key prefix;
	cache_name_init(&enc, name);
	if (exact)
		cache_key_exact(&prefix, &enc, enc.labels);
	else
		cache_key_subtree(&prefix, &enc, enc.labels);
	knot_db_val_t key = cache_key_val(&prefix);
	return cache->api->match(cache->db, &cache->stats, &key, keyval, maxcount);
}

/** Remove what was found. @return number removed or error */
static int remove_found(struct kr_cache *cache, knot_db_val_t keyval[][2], int found)
{
	int removed = 0;
	for (int i = 0; i < found; ++i) {
		const knot_db_val_t *key = &keyval[i][0];
		if (!memchr(key->data, 0, key->len))
			continue; /* a record of the store itself */
		int ret = cache->api->remove(cache->db, &cache->stats, &keyval[i][0], 1);
		if (ret < 0)
			return ret;
		removed += ret;
	}
	return removed;
}

int kr_cache_remove_subtree(
	struct kr_cache *cache, const knot_dname_t *name, bool exact, int maxcount)
{
	knot_db_val_t keyval[REMOVE_STEP][2];
	int removed = 0;
	while (removed < maxcount) {
		const int step = KR_MIN(maxcount - removed, REMOVE_STEP);
		int found = kr_cache_match(cache, name, exact, keyval, step);
		if (found < 0)
			return found;
		int ret = remove_found(cache, keyval, found);
		if (ret < 0)
			return ret;
		removed += ret;
		if (found < step || ret == 0)
			break;
	}
	return removed;
}

int kr_unpack_cache_key(knot_db_val_t key, knot_dname_t *buf, uint16_t *type)
{
	struct cache_key_parts parts;
	int ret = cache_key_unpack(&parts, key.data, key.len);
	if (ret != 0)
		return ret;
	const size_t size = knot_dname_size(parts.owner);
	memcpy(buf, parts.owner, size);
	if (type)
		*type = parts.type;
	return size;
}

/** Is there a sign of a zone at this ancestor? */
static bool is_apex(struct kr_cache *cache, const struct cache_name *enc, unsigned labels)
{
	struct cache_key key;
	knot_db_val_t k, v;
	cache_key_tag(&key, enc, labels, CACHE_TAG_ZONE);
	k = cache_key_val(&key);
	if (cache->api->read(cache->db, &cache->stats, &k, &v, 1) == 0)
		return true;
	cache_key_type(&key, enc, labels, CACHE_TAG_RR, KNOT_RRTYPE_SOA);
	k = cache_key_val(&key);
	return cache->api->read(cache->db, &cache->stats, &k, &v, 1) == 0;
}

int kr_cache_closest_apex(
	struct kr_cache *cache, const knot_dname_t *name, bool is_DS, knot_dname_t **apex)
{
	if (!kr_cache_is_open(cache) || !name || !apex)
		return kr_error(EINVAL);
	struct cache_name enc;
	cache_name_init(&enc, name);
	unsigned strip = is_DS && enc.labels > 0;
	while (strip < enc.labels && !is_apex(cache, &enc, enc.labels - strip))
		strip += 1;
	for (unsigned i = 0; i < strip; ++i)
		name = knot_wire_next_label(name, NULL);
	*apex = knot_dname_copy(name, NULL);
	return *apex ? (int)strip : kr_error(ENOMEM);
}
