/* SPDX-License-Identifier: GPL-3.0-or-later */

#include "lib/zonecut.h"

#include <libknot/consts.h>
#include <libknot/descriptor.h>

#include "lib/addr.h"
#include "lib/log.h"
#include "lib/resolve.h"
#include "lib/dnssec/ta.h"

static int set_name(struct kr_zonecut *cut, const knot_dname_t *name)
{
	knot_dname_t *copy = knot_dname_copy(name, cut->pool);
	if (!copy)
		return kr_error(ENOMEM);
	knot_dname_to_lower(copy);
	knot_dname_free(cut->name, cut->pool);
	cut->name = copy;
	return kr_ok();
}

int kr_zonecut_init(struct kr_zonecut *cut, const knot_dname_t *name, knot_mm_t *pool)
{
	if (!cut || !name)
		return kr_error(EINVAL);
	*cut = (struct kr_zonecut){.pool = pool};
	cut->nsset = trie_create(pool);
	return cut->nsset ? set_name(cut, name) : kr_error(ENOMEM);
}

static int free_addresses(trie_val_t *val, void *pool)
{
	pack_t *pack = *val;
	if (pack)
		pack_clear_mm(*pack, pool);
	mm_free(pool, pack);
	return kr_ok();
}

static void clear_servers(struct kr_zonecut *cut)
{
	if (!cut->nsset)
		return;
	if (!cut->pool) /* a pool frees all at once */
		trie_apply(cut->nsset, free_addresses, cut->pool);
	trie_clear(cut->nsset);
}

void kr_zonecut_deinit(struct kr_zonecut *cut)
{
	if (!cut)
		return;
	knot_dname_free(cut->name, cut->pool);
	clear_servers(cut);
	trie_free(cut->nsset);
	knot_rrset_free(cut->key, cut->pool);
	knot_rrset_free(cut->trust_anchor, cut->pool);
	*cut = (struct kr_zonecut){0};
}

void kr_zonecut_move(struct kr_zonecut *to, const struct kr_zonecut *from)
{
	*to = *from;
}

void kr_zonecut_set(struct kr_zonecut *cut, const knot_dname_t *name)
{
	if (!cut || !name)
		return;
	clear_servers(cut);
	(void)set_name(cut, name);
}

/** Key of a server in the set: its lower-case wire form. @return length or kr_error(EINVAL) */
static int make_key(knot_dname_storage_t key, const knot_dname_t *ns)
{
	const int len = knot_dname_to_wire(key, ns, sizeof(knot_dname_storage_t));
	if (len <= 0)
		return kr_error(EINVAL);
	knot_dname_to_lower(key);
	return len;
}

static int copy_server(const char *key, uint32_t len, trie_val_t *val, void *baton)
{
	struct kr_zonecut *to = baton;
	pack_t *from = *val;
	int ret = kr_zonecut_add(to, (const knot_dname_t *)key, NULL, 0);
	for (uint8_t *it = from ? pack_head(*from) : NULL; ret == 0 && it && it != pack_tail(*from);
		it = pack_obj_next(it))
		ret = kr_zonecut_add(
			to, (const knot_dname_t *)key, pack_obj_val(it), pack_obj_len(it));
	return ret;
}

int kr_zonecut_copy(struct kr_zonecut *dst, const struct kr_zonecut *src)
{
	if (!dst || !src || !dst->nsset || !src->nsset)
		return kr_error(EINVAL);
	return trie_apply_with_key(src->nsset, copy_server, dst);
}

static int copy_set(knot_rrset_t **dst, const knot_rrset_t *src, knot_mm_t *pool)
{
	knot_rrset_t *copy = src ? knot_rrset_copy(src, pool) : NULL;
	if (src && !copy)
		return kr_error(ENOMEM);
	knot_rrset_free(*dst, pool);
	*dst = copy;
	return kr_ok();
}

int kr_zonecut_copy_trust(struct kr_zonecut *dst, const struct kr_zonecut *src)
{
	int ret = copy_set(&dst->key, src->key, dst->pool);
	return ret != 0 ? ret : copy_set(&dst->trust_anchor, src->trust_anchor, dst->pool);
}

static int count_addresses(trie_val_t *val, void *baton)
{
	size_t *count = baton;
	const pack_t *pack = *val;
	for (uint8_t *it = pack_head(*pack); it != pack_tail(*pack); it = pack_obj_next(it))
		*count += 1;
	return kr_ok();
}

/** Room for one more address (B-06)? */
static bool has_address_room(struct kr_zonecut *cut, const pack_t *pack)
{
	size_t own = 0, all = 0;
	trie_val_t val = (void *)pack;
	count_addresses(&val, &own);
	trie_apply(cut->nsset, count_addresses, &all);
	return own < KR_NS_ADDR_MAX && all < KR_CUT_ADDR_MAX;
}

int kr_zonecut_add(struct kr_zonecut *cut, const knot_dname_t *ns, const void *data, int len)
{
	if (!cut || !ns || !cut->nsset || (data && len != 4 && len != 16))
		return kr_error(EINVAL);
	knot_dname_storage_t key;
	const int key_len = make_key(key, ns);
	if (key_len < 0)
		return key_len;
	const bool is_known = trie_get_try(cut->nsset, (const char *)key, key_len) != NULL;
	if (!is_known && trie_weight(cut->nsset) >= KR_NS_MAX)
		return kr_ok(); /* surplus */
	trie_val_t *val = trie_get_ins(cut->nsset, (const char *)key, key_len);
	if (!val)
		return kr_error(ENOMEM);
	if (!*val)
		*val = mm_calloc(cut->pool, 1, sizeof(pack_t));
	pack_t *pack = *val;
	if (!pack)
		return kr_error(ENOMEM);
	if (!data || pack_obj_find(pack, data, len) || !has_address_room(cut, pack))
		return kr_ok();
	if (pack_reserve_mm(*pack, 1, len, cut->pool) != 0)
		return kr_error(ENOMEM);
	return pack_obj_push(pack, data, len);
}

pack_t *kr_zonecut_find(struct kr_zonecut *cut, const knot_dname_t *ns)
{
	knot_dname_storage_t key;
	if (!cut || !ns || !cut->nsset)
		return NULL;
	const int key_len = make_key(key, ns);
	trie_val_t *val = key_len > 0 ? trie_get_try(cut->nsset, (const char *)key, key_len) : NULL;
	return val ? *val : NULL;
}

int kr_zonecut_del_all(struct kr_zonecut *cut, const knot_dname_t *ns)
{
	knot_dname_storage_t key;
	if (!cut || !ns || !cut->nsset)
		return kr_error(EINVAL);
	const int key_len = make_key(key, ns);
	if (key_len < 0)
		return key_len;
	trie_val_t val = NULL;
	if (trie_del(cut->nsset, (const char *)key, key_len, &val) != 0)
		return kr_error(ENOENT);
	free_addresses(&val, cut->pool);
	return kr_ok();
}

int kr_zonecut_del(struct kr_zonecut *cut, const knot_dname_t *ns, const void *data, int len)
{
	pack_t *pack = kr_zonecut_find(cut, ns);
	if (!pack || pack_obj_del(pack, data, len) != 0)
		return kr_error(ENOENT);
	return pack->len == 0 ? kr_zonecut_del_all(cut, ns) : kr_ok();
}

int kr_zonecut_set_sbelt(struct kr_context *ctx, struct kr_zonecut *cut)
{
	if (!ctx || !cut || !ctx->root_hints.nsset)
		return kr_error(EINVAL);
	kr_zonecut_set(cut, (const knot_dname_t *)"");
	return kr_zonecut_copy(cut, &ctx->root_hints);
}

static int has_address(trie_val_t *val, void *baton)
{
	const pack_t *pack = *val;
	return pack && pack->len > 0;
}

bool kr_zonecut_is_empty(struct kr_zonecut *cut)
{
	return !cut || !cut->nsset || trie_apply(cut->nsset, has_address, NULL) == 0;
}

/* ---- from the cache ---- */

/** Servers and glue of a cached delegation. */
static int take_delegation(struct kr_zonecut *cut, const struct kr_deleg *deleg)
{
	int ret = set_name(cut, deleg->name);
	for (size_t i = 0; ret == 0 && i < deleg->ns.len; ++i)
		ret = kr_zonecut_add(cut, deleg->ns.at[i], NULL, 0);
	for (size_t i = 0; ret == 0 && i < deleg->glue.len; ++i) {
		const struct kr_deleg_glue *glue = &deleg->glue.at[i];
		if (!kr_zonecut_find(cut, glue->ns))
			continue; /* glue is bound to its delegation (C-32) */
		ret = kr_zonecut_add(cut, glue->ns, glue->addr, glue->addr_len);
	}
	cut->ttl_s = deleg->ttl;
	cut->depth = knot_dname_labels(deleg->name, NULL);
	cut->glueless = deleg->glue.len == 0;
	return ret;
}

/** Validated DS and DNSKEY of the cut, as far as the cache has them. */
static void take_trust(struct kr_context *ctx, struct kr_zonecut *cut, const struct kr_query *qry)
{
	const uint8_t rank = KR_RANK_SECURE | KR_RANK_AUTH;
	const uint32_t now = qry->timestamp.tv_sec;
	const knot_rrset_t *anchor = kr_ta_get(ctx->trust_anchors, cut->name);
	if (anchor)
		cut->trust_anchor = knot_rrset_copy(anchor, cut->pool);
	if (!kr_cache_is_open(&ctx->cache))
		return;
	if (!anchor)
		(void)kr_cache_get_rr(&ctx->cache, cut->name, KNOT_RRTYPE_DS, rank, now,
			&cut->trust_anchor, NULL, cut->pool);
	(void)kr_cache_get_rr(
		&ctx->cache, cut->name, KNOT_RRTYPE_DNSKEY, rank, now, &cut->key, NULL, cut->pool);
}

/** Is there no chain of trust to the cut? */
static bool is_insecure(const struct kr_context *ctx, const struct kr_zonecut *cut,
	const struct kr_query *qry, const struct kr_deleg *deleg)
{
	const knot_dname_t *anchor = kr_ta_closest(ctx, qry->sname, qry->stype);
	/* An anchor at the cut or below it does not need the parent's word. */
	return !anchor || (deleg->is_secure_nods && knot_dname_in_bailiwick(cut->name, anchor) > 0);
}

int kr_zonecut_find_cached(struct kr_context *ctx, struct kr_zonecut *cut, const knot_dname_t *name,
	const struct kr_query *qry, bool *restrict secured)
{
	struct kr_deleg deleg = {0};
	int ret = kr_error(ENOENT);
	if (kr_cache_is_open(&ctx->cache))
		ret = kr_cache_deleg_find(
			&ctx->cache, name, qry->timestamp.tv_sec, &deleg, cut->pool);
	if (ret == 0 && deleg.ns.len == 0)
		ret = kr_error(ENOENT);
	ret = ret == 0 ? take_delegation(cut, &deleg) : kr_zonecut_set_sbelt(ctx, cut);
	if (ret != 0)
		return ret;
	if (trie_weight(cut->nsset) == 0)
		return kr_error(ENOENT);
	if (*secured && is_insecure(ctx, cut, qry, &deleg))
		*secured = false;
	else if (*secured)
		take_trust(ctx, cut, qry);
	return kr_ok();
}
