/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include <libknot/libknot.h>

#include "lib/resolve.h"
#include "lib/zonecut.h"
#include "lib/dnssec/ta.h"

#define NOW 1700000000u
#define SECURE (KR_RANK_SECURE | KR_RANK_AUTH)

static const knot_dname_t *const ROOT = (const uint8_t *)"";
static const knot_dname_t *const com = (const uint8_t *)"\3com";
static const knot_dname_t *const example = (const uint8_t *)"\7example\3com";
static const knot_dname_t *const www = (const uint8_t *)"\3www\7example\3com";
static const knot_dname_t *const ns1 = (const uint8_t *)"\3ns1\7example\3com";
static const knot_dname_t *const ns2 = (const uint8_t *)"\3ns2\7example\3com";
static const uint8_t a1[4] = {192, 0, 2, 1}, a2[4] = {192, 0, 2, 2};
static const uint8_t v6[16] = {0x20, 0x01, 0x0d, 0xb8, [15] = 1};

static unsigned count(struct kr_zonecut *cut, const knot_dname_t *ns)
{
	unsigned n = 0;
	const pack_t *pack = kr_zonecut_find(cut, ns);
	for (uint8_t *it = pack ? pack_head(*pack) : NULL; it && it != pack_tail(*pack);
		it = pack_obj_next(it))
		n += 1;
	return n;
}

/* ---- the structure; on the heap, so that leaks show ---- */

static void servers_and_addresses_come_and_go(void **state)
{
	struct kr_zonecut cut;
	assert_int_equal(kr_zonecut_init(&cut, (const uint8_t *)"\7EXAMPLE\3com", NULL), 0);
	assert_true(knot_dname_is_equal(cut.name, example));
	assert_true(kr_zonecut_is_empty(&cut));
	assert_int_equal(kr_zonecut_add(&cut, ns1, NULL, 0), 0);
	assert_non_null(kr_zonecut_find(&cut, ns1));
	assert_true(kr_zonecut_is_empty(&cut)); /* a bare name is no address */
	assert_int_equal(kr_zonecut_add(&cut, ns1, a1, 4), 0);
	assert_int_equal(kr_zonecut_add(&cut, ns1, a1, 4), 0);
	assert_int_equal(kr_zonecut_add(&cut, (const uint8_t *)"\3NS1\7example\3COM", v6, 16), 0);
	assert_int_equal(count(&cut, ns1), 2);
	assert_int_equal(count(&cut, (const uint8_t *)"\3Ns1\7example\3com"), 2);
	assert_false(kr_zonecut_is_empty(&cut));
	assert_int_equal(kr_zonecut_add(&cut, ns1, a1, 5), kr_error(EINVAL));
	assert_int_equal(kr_zonecut_add(&cut, NULL, a1, 4), kr_error(EINVAL));
	assert_int_equal(kr_zonecut_del(&cut, ns1, a2, 4), kr_error(ENOENT));
	assert_int_equal(kr_zonecut_del(&cut, ns2, a1, 4), kr_error(ENOENT));
	assert_int_equal(kr_zonecut_del(&cut, ns1, a1, 4), 0);
	assert_non_null(kr_zonecut_find(&cut, ns1));
	assert_int_equal(kr_zonecut_del(&cut, (const uint8_t *)"\3NS1\7example\3com", v6, 16), 0);
	assert_null(kr_zonecut_find(&cut, ns1)); /* the last address took it along */
	assert_int_equal(kr_zonecut_add(&cut, ns2, a2, 4), 0);
	assert_int_equal(kr_zonecut_del_all(&cut, ns1), kr_error(ENOENT));
	assert_int_equal(kr_zonecut_del_all(&cut, ns2), 0);
	assert_true(kr_zonecut_is_empty(&cut));
	kr_zonecut_deinit(&cut);
	kr_zonecut_deinit(&cut);
}

static void nothing_breaks_on_nothing(void **state)
{
	struct kr_zonecut cut = {0};
	assert_int_equal(kr_zonecut_init(NULL, ROOT, NULL), kr_error(EINVAL));
	assert_int_equal(kr_zonecut_init(&cut, NULL, NULL), kr_error(EINVAL));
	assert_true(kr_zonecut_is_empty(NULL));
	assert_true(kr_zonecut_is_empty(&cut));
	assert_null(kr_zonecut_find(&cut, ns1));
	assert_null(kr_zonecut_find(NULL, ns1));
	assert_int_equal(kr_zonecut_del_all(&cut, ns1), kr_error(EINVAL));
	assert_int_equal(kr_zonecut_copy(&cut, &cut), kr_error(EINVAL));
	kr_zonecut_set(NULL, ROOT);
	kr_zonecut_deinit(NULL);
	kr_zonecut_deinit(&cut);
}

static void b05_b06_the_surplus_is_dropped(void **state)
{
	struct kr_zonecut cut;
	kr_zonecut_init(&cut, example, NULL);
	unsigned all = 0;
	for (int i = 0; i < 20; ++i) {
		knot_dname_storage_t ns;
		char text[32];
		snprintf(text, sizeof(text), "ns%d.example.", i);
		knot_dname_from_str(ns, text, sizeof(ns));
		for (int j = 0; j < 10; ++j) {
			const uint8_t addr[4] = {192, 0, i, j};
			assert_int_equal(kr_zonecut_add(&cut, ns, addr, 4), 0);
		}
		assert_in_range(count(&cut, ns), 0, KR_NS_ADDR_MAX);
		all += count(&cut, ns);
	}
	assert_int_equal(trie_weight(cut.nsset), KR_NS_MAX);
	assert_int_equal(all, KR_CUT_ADDR_MAX);
	kr_zonecut_deinit(&cut);
}

static knot_rrset_t *new_ds(const knot_dname_t *owner, knot_mm_t *pool)
{
	static const uint8_t rdata[] = {0x4a, 0x5c, 8, 2, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13,
		14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32};
	knot_rrset_t *rr = knot_rrset_new(owner, KNOT_RRTYPE_DS, KNOT_CLASS_IN, 3600, pool);
	assert_non_null(rr);
	assert_int_equal(knot_rrset_add_rdata(rr, rdata, sizeof(rdata), pool), 0);
	return rr;
}

static void copies_moves_and_renaming(void **state)
{
	struct kr_zonecut from, to, moved;
	kr_zonecut_init(&from, example, NULL);
	kr_zonecut_init(&to, example, NULL);
	kr_zonecut_add(&from, ns1, a1, 4);
	kr_zonecut_add(&from, ns2, NULL, 0);
	kr_zonecut_add(&to, ns1, a2, 4);
	from.trust_anchor = new_ds(example, NULL);
	assert_int_equal(kr_zonecut_copy(&to, &from), 0);
	assert_int_equal(count(&to, ns1), 2);
	assert_int_equal(count(&from, ns1), 1);
	assert_non_null(kr_zonecut_find(&to, ns2));
	for (int i = 0; i < 2; ++i) {
		assert_int_equal(kr_zonecut_copy_trust(&to, &from), 0);
		assert_non_null(to.trust_anchor);
		assert_ptr_not_equal(to.trust_anchor, from.trust_anchor);
		assert_null(to.key);
	}
	kr_zonecut_move(&moved, &to);
	assert_int_equal(count(&moved, ns1), 2);
	kr_zonecut_set(&moved, com);
	assert_true(knot_dname_is_equal(moved.name, com));
	assert_int_equal(trie_weight(moved.nsset), 0);
	assert_non_null(moved.trust_anchor);
	kr_zonecut_deinit(&from);
	kr_zonecut_deinit(&moved);
}

/* ---- from cache and hints ---- */

struct world {
	struct kr_context ctx;
	struct kr_request req;
	knot_mm_t ctx_pool;
	char dir[64];
};

static void no_random(void *data, void *buf, size_t len)
{
	memset(buf, 1, len);
}

static int world_setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	const char *tmp = getenv("TMPDIR");
	snprintf(w->dir, sizeof(w->dir), "%.40s/kr-cut-XXXXXX", tmp ? tmp : "/tmp");
	assert_non_null(mkdtemp(w->dir));
	w->ctx.rnd = no_random;
	w->ctx.now.tv_sec = NOW;
	w->ctx.now_ms = 1000;
	mm_ctx_mempool2(&w->ctx_pool, 4096);
	mm_ctx_mempool2(&w->req.pool, 4096);
	assert_int_equal(kr_context_init(&w->ctx, &w->ctx_pool), 0);
	struct kr_cdb_opts opts = {.path = w->dir, .maxsize = 4 << 20};
	assert_int_equal(kr_cache_open(&w->ctx.cache, NULL, &opts, NULL), 0);
	kr_resolve_begin(&w->req, &w->ctx);
	kr_zonecut_add(&w->ctx.root_hints, (const uint8_t *)"\1a", a1, 4);
	*state = w;
	return 0;
}

static int world_teardown(void **state)
{
	static const char *const files[] = {"data.mdb", "lock.mdb", "krcachelock"};
	struct world *w = *state;
	kr_context_deinit(&w->ctx);
	mp_delete(w->req.pool.ctx);
	mp_delete(w->ctx_pool.ctx);
	for (size_t i = 0; i < KR_COUNT_OF(files); ++i) {
		char path[128];
		snprintf(path, sizeof(path), "%s/%s", w->dir, files[i]);
		unlink(path);
	}
	rmdir(w->dir);
	free(w);
	return 0;
}

static void remember(struct world *w, const knot_dname_t *name, uint32_t ttl, bool is_insecure)
{
	knot_dname_t *servers[] = {(knot_dname_t *)ns1, (knot_dname_t *)ns2};
	struct kr_deleg_glue glue = {.ns = (knot_dname_t *)ns1, .addr_len = 4};
	memcpy(glue.addr, a2, 4);
	struct kr_deleg deleg = {
		.name = (knot_dname_t *)name,
		.parent = (knot_dname_t *)ROOT,
		.ttl = ttl,
		.nods_ttl = is_insecure ? ttl : 0,
		.is_secure_nods = is_insecure,
	};
	deleg.ns.at = servers;
	deleg.ns.len = 2;
	deleg.glue.at = &glue;
	deleg.glue.len = 1;
	assert_int_equal(kr_cache_deleg_insert(&w->ctx.cache, &deleg, 0, NOW), 0);
}

static struct kr_query *ask(struct world *w)
{
	return kr_rplan_push(&w->req.rplan, NULL, www, KNOT_CLASS_IN, KNOT_RRTYPE_A);
}

static int find(struct world *w, struct kr_zonecut *cut, bool *secured)
{
	assert_int_equal(kr_zonecut_init(cut, www, &w->req.pool), 0);
	return kr_zonecut_find_cached(&w->ctx, cut, www, ask(w), secured);
}

static void an_empty_cache_leads_to_the_hints(void **state)
{
	struct world *w = *state;
	struct kr_zonecut cut;
	bool secured = false;
	assert_int_equal(find(w, &cut, &secured), 0);
	assert_true(knot_dname_is_equal(cut.name, ROOT));
	assert_int_equal(count(&cut, (const uint8_t *)"\1a"), 1);
	kr_zonecut_set(&w->ctx.root_hints, ROOT);
	assert_int_equal(find(w, &cut, &secured), kr_error(ENOENT));
}

static void without_a_cache_there_are_the_hints(void **state)
{
	struct world *w = *state;
	struct kr_zonecut cut;
	kr_cache_close(&w->ctx.cache);
	knot_rrset_t *ds = new_ds(ROOT, &w->req.pool);
	kr_ta_add(w->ctx.trust_anchors, ROOT, KNOT_RRTYPE_DS, 60, ds->rrs.rdata->data,
		ds->rrs.rdata->len);
	bool secured = true;
	assert_int_equal(find(w, &cut, &secured), 0);
	assert_true(secured);
	assert_non_null(cut.trust_anchor);
}

static void the_deepest_live_delegation_is_found_with_its_glue(void **state)
{
	struct world *w = *state;
	struct kr_zonecut cut;
	bool secured = false;
	remember(w, com, 3600, false);
	remember(w, example, 60, false);
	assert_int_equal(find(w, &cut, &secured), 0);
	assert_true(knot_dname_is_equal(cut.name, example));
	assert_in_range(cut.ttl_s, 1, 60);
	assert_int_equal(count(&cut, ns1), 1);
	assert_non_null(kr_zonecut_find(&cut, ns2));
	assert_int_equal(count(&cut, ns2), 0);
	assert_false(cut.glueless);
	w->ctx.now.tv_sec = NOW + 61; /* it ends when the parent said so */
	assert_int_equal(find(w, &cut, &secured), 0);
	assert_true(knot_dname_is_equal(cut.name, com));
	w->ctx.now.tv_sec = NOW + 3601;
	assert_int_equal(find(w, &cut, &secured), 0);
	assert_true(knot_dname_is_equal(cut.name, ROOT));
}

static void add_anchor(struct world *w, trie_t *trie, const knot_dname_t *name)
{
	knot_rrset_t *ds = new_ds(name, &w->req.pool);
	assert_int_equal(
		kr_ta_add(trie, name, KNOT_RRTYPE_DS, 60, ds->rrs.rdata->data, ds->rrs.rdata->len),
		0);
}

/** What is known of trust: C-33 and RFC 7646. */
static void trust_follows_anchors_and_proofs(void **state)
{
	struct world *w = *state;
	static const struct {
		const char *what;
		const uint8_t *anchor, *negative;
		bool is_nods;
		bool secured;
		bool has_anchor;
	} cases[] = {
		{"no anchor at all", NULL, NULL, false, false, false},
		{"anchor above", (const uint8_t *)"", NULL, false, true, false},
		{"negative anchor between", (const uint8_t *)"", (const uint8_t *)"\3com", false,
			false, false},
		{"proven without DS", (const uint8_t *)"", NULL, true, false, false},
		{"anchor at the cut", (const uint8_t *)"\7example\3com", NULL, false, true, true},
		{"anchor at the cut, no DS", (const uint8_t *)"\7example\3com", NULL, true, true,
			true},
		{"anchor below, no DS", (const uint8_t *)"\3www\7example\3com", NULL, true, true,
			false},
	};
	for (size_t i = 0; i < KR_COUNT_OF(cases); ++i) {
		kr_cache_clear(&w->ctx.cache);
		kr_ta_clear(w->ctx.trust_anchors);
		kr_ta_clear(w->ctx.negative_anchors);
		if (cases[i].anchor)
			add_anchor(w, w->ctx.trust_anchors, cases[i].anchor);
		if (cases[i].negative)
			assert_int_equal(kr_ta_add(w->ctx.negative_anchors, cases[i].negative,
						 KNOT_RRTYPE_DS, 0, NULL, 0),
				0);
		remember(w, example, 60, cases[i].is_nods);
		struct kr_zonecut cut;
		bool secured = true;
		assert_int_equal(find(w, &cut, &secured), 0);
		if (secured != cases[i].secured ||
			(cut.trust_anchor != NULL) != cases[i].has_anchor)
			fail_msg("%s: secured %d, anchor %d", cases[i].what, secured,
				cut.trust_anchor != NULL);
		secured = false; /* not wanted: nothing is looked up */
		assert_int_equal(find(w, &cut, &secured), 0);
		assert_false(secured);
		assert_null(cut.trust_anchor);
	}
}

static void validated_ds_and_keys_come_from_the_cache(void **state)
{
	struct world *w = *state;
	static const uint8_t key_rdata[] = {1, 1, 3, 8, 1, 2, 3, 4};
	add_anchor(w, w->ctx.trust_anchors, ROOT);
	remember(w, example, 60, false);
	knot_rrset_t *ds = new_ds(example, &w->req.pool);
	knot_rrset_t *key =
		knot_rrset_new(example, KNOT_RRTYPE_DNSKEY, KNOT_CLASS_IN, 60, &w->req.pool);
	knot_rrset_add_rdata(key, key_rdata, sizeof(key_rdata), &w->req.pool);
	struct kr_zonecut cut;
	bool secured = true;
	const uint8_t weak = KR_RANK_INITIAL | KR_RANK_AUTH;
	assert_int_equal(kr_cache_insert_rr(&w->ctx.cache, ds, NULL, weak, NOW, false), 0);
	assert_int_equal(kr_cache_insert_rr(&w->ctx.cache, key, NULL, weak, NOW, false), 0);
	assert_int_equal(find(w, &cut, &secured), 0);
	assert_null(cut.trust_anchor); /* nobody has checked them */
	assert_null(cut.key);
	assert_int_equal(kr_cache_insert_rr(&w->ctx.cache, ds, NULL, SECURE, NOW, false), 0);
	assert_int_equal(kr_cache_insert_rr(&w->ctx.cache, key, NULL, SECURE, NOW, false), 0);
	assert_int_equal(find(w, &cut, &secured), 0);
	assert_true(secured);
	assert_non_null(cut.trust_anchor);
	assert_non_null(cut.key);
	assert_int_equal(cut.trust_anchor->type, KNOT_RRTYPE_DS);
	assert_int_equal(cut.key->type, KNOT_RRTYPE_DNSKEY);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(servers_and_addresses_come_and_go),
		cmocka_unit_test(nothing_breaks_on_nothing),
		cmocka_unit_test(b05_b06_the_surplus_is_dropped),
		cmocka_unit_test(copies_moves_and_renaming),
		cmocka_unit_test_setup_teardown(
			an_empty_cache_leads_to_the_hints, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(
			without_a_cache_there_are_the_hints, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(the_deepest_live_delegation_is_found_with_its_glue,
			world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(
			trust_follows_anchors_and_proofs, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(
			validated_ds_and_keys_come_from_the_cache, world_setup, world_teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
