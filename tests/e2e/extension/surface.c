/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Everything that a C module may use, used as modules of the 5.x line do. It is compiled against
 * the installed headers with warnings as errors and loaded, so that each symbol is looked up; the
 * functions of this file but surface_init() never run. */
#include <ccan/asprintf/asprintf.h>
#include <ccan/json/json.h>
#include <contrib/cleanup.h>
#include <libknot/libknot.h>
#include <netinet/in.h>
#include <ucw/mempool.h>

#include "contrib/mempattern.h"
#include "daemon/engine.h"
#include "daemon/network.h"
#include "daemon/session.h"
#include "daemon/worker.h"
#include "daemon/zimport.h"
#include "kresconfig.h"
#include "lib/cache/api.h"
#include "lib/cache/cdb_api.h"
#include "lib/cache/cdb_lmdb.h"
#include "lib/cache/impl.h"
#include "lib/defines.h"
#include "lib/dnssec.h"
#include "lib/dnssec/nsec.h"
#include "lib/dnssec/nsec3.h"
#include "lib/dnssec/signature.h"
#include "lib/dnssec/ta.h"
#include "lib/generic/array.h"
#include "lib/generic/lru.h"
#include "lib/generic/pack.h"
#include "lib/generic/queue.h"
#include "lib/generic/trie.h"
#include "lib/layer.h"
#include "lib/layer/iterate.h"
#include "lib/log.h"
#include "lib/module.h"
#include "lib/resolve.h"
#include "lib/rplan.h"
#include "lib/selection.h"
#include "lib/selection_forward.h"
#include "lib/selection_iter.h"
#include "lib/utils.h"
#include "lib/zonecut.h"

static volatile const void *sink;
#define USE(x) (sink = (const void *)(uintptr_t)(x))
static bool is_never; /* set by nobody */

static void driver(struct kr_request *req, struct kr_context *ctx, knot_pkt_t *pkt)
{
	struct kr_transport *transport = NULL;
	const struct sockaddr *sa = req->qsource.addr;
	int ret = kr_resolve_begin(req, ctx);
	ret += kr_resolve_consume(req, &transport, pkt);
	ret += kr_resolve_produce(req, &transport, pkt);
	ret += kr_resolve_checkout(req, sa, transport, pkt);
	ret += kr_resolve_finish(req, KR_STATE_DONE);
	struct kr_rplan *plan = kr_resolve_plan(req);
	knot_mm_t *pool = kr_resolve_pool(req);
	pkt = kr_request_ensure_answer(req);
	knot_rrset_t *opt = kr_request_ensure_edns(req);
	ret += kr_request_set_extended_error(req, KNOT_EDNS_EDE_BLOCKED, "TEST: text");
	struct kr_query *qry =
		kr_rplan_push(plan, NULL, (const knot_dname_t *)"", KNOT_CLASS_IN, KNOT_RRTYPE_NS);
	kr_server_selection_init(qry);
	ret += kr_forward_add_target(req, sa) + kr_make_query(qry, pkt);
	ret += kr_response_classify(pkt) &
	       (PKT_NOERROR | PKT_NODATA | PKT_NXDOMAIN | PKT_REFUSED | PKT_ERROR);
	USE(pool), USE(opt), USE(ret);
	USE(the_resolver);
}

static void plan(struct kr_request *req)
{
	const knot_dname_t *name = (const knot_dname_t *)"\4test";
	struct kr_rplan rplan;
	kr_rplan_init(&rplan, req, &req->pool);
	struct kr_query *qry = kr_rplan_resolved(&rplan);
	bool is = kr_rplan_empty(&rplan);
	is |= kr_rplan_satisfies(qry, name, KNOT_CLASS_IN, KNOT_RRTYPE_A);
	qry = kr_rplan_last(&rplan);
	qry = kr_rplan_find_resolved(&rplan, NULL, name, KNOT_CLASS_IN, KNOT_RRTYPE_A);
	int ret = kr_rplan_pop(&rplan, qry);
	struct kr_qflags flags = {.NO_CACHE = true, .STUB = 1};
	kr_qflags_set(&qry->flags, flags);
	kr_qflags_clear(&qry->flags, flags);
	kr_rplan_deinit(&rplan);
	USE(is), USE(ret);
}

static void packets(knot_pkt_t *pkt, struct kr_request *req, struct kr_query *qry)
{
	knot_dname_t *name = (knot_dname_t *)"\4test";
	int ret = kr_pkt_recycle(pkt) + kr_pkt_clear_payload(pkt);
	ret += kr_pkt_put(pkt, name, 60, KNOT_CLASS_IN, KNOT_RRTYPE_A, (const uint8_t *)"abcd", 4);
	kr_pkt_make_auth_header(pkt);
	ret += kr_pkt_has_wire(pkt) + kr_pkt_has_dnssec(pkt) + kr_pkt_qclass(pkt) +
	       kr_pkt_qtype(pkt);
	USE(kr_pkt_qname_raw(pkt));
	USE(KR_PKT_SIZE_NOWIRE);
	auto_free char *text = kr_pkt_text(pkt);
	auto_free char *name_text = kr_dname_text(name);
	auto_free char *type_text = kr_rrtype_text(KNOT_RRTYPE_A);
	knot_rrset_t rr;
	kr_rrset_init(&rr, name, KNOT_RRTYPE_A, KNOT_CLASS_IN, 60);
	ret += packet_ttl(pkt) + kr_rrset_type_maysig(&rr);
	ret += kr_rrsig_sig_inception(rr.rrs.rdata) + kr_rrsig_sig_expiration(rr.rrs.rdata) +
	       kr_rrsig_type_covered(rr.rrs.rdata);
	int at = kr_ranked_rrarray_add(&req->answ_selected, &rr, KR_RANK_SECURE | KR_RANK_AUTH,
		true, qry->uid, &req->pool);
	ranked_rr_array_entry_t *entry = req->answ_selected.at[at];
	ret += kr_ranked_rrarray_finalize(&req->answ_selected, qry->uid, &req->pool);
	kr_rank_set(&entry->rank, KR_RANK_INSECURE);
	ret += kr_rank_test(entry->rank, KR_RANK_AUTH) + kr_rank_check(entry->rank);
	ret += entry->qry_uid + entry->revalidation_cnt + entry->cached + entry->yielded +
	       entry->to_wire + entry->expiring + entry->in_progress + entry->dont_cache +
	       entry->rr->type;
	char key[KR_RRKEY_LEN];
	ret += kr_rrkey(key, KNOT_CLASS_IN, name, KNOT_RRTYPE_A, 0);
	KR_DNAME_GET_STR(name_str, name);
	KR_RRTYPE_GET_STR(type_str, KNOT_RRTYPE_A);
	ranked_rr_array_t *selected[] = kr_request_selected(req);
	USE(selected[KNOT_ADDITIONAL]->len), USE(name_str), USE(type_str), USE(ret);
	USE(text), USE(name_text), USE(type_text);
}

static void zone_cuts(struct kr_context *ctx, struct kr_query *qry, knot_mm_t *pool)
{
	const knot_dname_t *name = (const knot_dname_t *)"\4test";
	struct kr_zonecut cut, other;
	int ret = kr_zonecut_init(&cut, name, pool) + kr_zonecut_init(&other, name, pool);
	kr_zonecut_set(&cut, name);
	ret += kr_zonecut_copy(&cut, &other) + kr_zonecut_copy_trust(&cut, &other);
	ret += kr_zonecut_add(&cut, name, "abcd", 4) + kr_zonecut_del(&cut, name, "abcd", 4) +
	       kr_zonecut_del_all(&cut, name);
	pack_t *addresses = kr_zonecut_find(&cut, name);
	ret += kr_zonecut_set_sbelt(ctx, &cut);
	bool is_secured = true;
	ret += kr_zonecut_find_cached(ctx, &cut, name, qry, &is_secured);
	ret += kr_zonecut_is_empty(&cut);
	kr_zonecut_move(&other, &cut);
	kr_zonecut_deinit(&other);
	USE(cut.name), USE(cut.key), USE(cut.trust_anchor), USE(cut.parent), USE(cut.nsset);
	USE(addresses), USE(ret);
}

static void cache(struct kr_query *qry, const knot_rrset_t *rr, knot_mm_t *pool)
{
	const knot_dname_t *name = (const knot_dname_t *)"\4test";
	struct kr_cache it = {0};
	struct kr_cdb_opts opts = {.path = ".", .maxsize = 1 << 20};
	int ret = kr_cache_open(&it, kr_cdb_lmdb(), &opts, pool) + kr_cache_is_open(&it);
	struct kr_cache_p peek;
	ret += kr_cache_insert_rr(&it, rr, NULL, KR_RANK_SECURE, 0, true);
	ret += kr_cache_peek_exact(&it, name, KNOT_RRTYPE_A, &peek);
	ret += kr_cache_ttl(&peek, qry, name, KNOT_RRTYPE_A) + peek.time + peek.ttl + peek.rank;
	knot_rdataset_t set;
	ret += kr_cache_materialize(&set, &peek, pool);
	ret += kr_cache_remove(&it, name, KNOT_RRTYPE_A);
	ret += kr_cache_remove_subtree(&it, name, true, 100);
	knot_db_val_t keyval[2][2];
	ret += kr_cache_match(&it, name, false, keyval, 2);
	knot_dname_t *apex = NULL, buf[KNOT_DNAME_MAXLEN];
	ret += kr_cache_closest_apex(&it, name, false, &apex);
	uint16_t type;
	ret += kr_unpack_cache_key(keyval[0][0], buf, &type);
	ret += kr_cache_check_health(&it, 0) + kr_cache_commit(&it) + kr_cache_clear(&it);
	kr_cache_make_checkpoint(&it);
	ret += it.checkpoint_walltime.tv_sec + it.checkpoint_monotime;
	kr_cache_close(&it);
	const struct kr_cdb_api *api = kr_cdb_lmdb();
	USE(api->name), USE(api->open), USE(api->close), USE(api->count), USE(api->clear);
	USE(api->commit), USE(api->read), USE(api->write), USE(api->remove), USE(api->match);
	USE(api->read_leq), USE(api->usage_percent), USE(api->get_maxsize), USE(api->check_health);
	USE(ret);
}

static void dnssec(struct kr_context *ctx, const knot_rrset_t *ds, knot_rrset_t *keys)
{
	const knot_dname_t *name = (const knot_dname_t *)"\4test";
	knot_rrset_t *found = kr_ta_get(ctx->trust_anchors, name);
	int ret = kr_ta_add(ctx->negative_anchors, name, KNOT_RRTYPE_DS, 0, NULL, 0);
	ret += kr_ta_del(ctx->negative_anchors, name) + kr_ta_clear(ctx->negative_anchors);
	USE(kr_ta_closest(ctx, name, KNOT_RRTYPE_A));
	const uint8_t *rdata = keys->rrs.rdata->data;
	ret += kr_dnssec_key_zsk(rdata) + kr_dnssec_key_ksk(rdata) + kr_dnssec_key_revoked(rdata);
	ret += kr_dnssec_key_tag(KNOT_RRTYPE_DNSKEY, rdata, 4);
	ret += kr_dnssec_key_match(rdata, 4, rdata, 4) + kr_ds_algo_support(ds);
	struct kr_svldr_ctx *svldr = kr_svldr_new_ctx(ds, keys, NULL, 0, NULL);
	ret += kr_svldr_rrset(keys, NULL, svldr);
	kr_svldr_free_ctx(svldr);
	kr_crypto_init();
	kr_crypto_reinit();
	kr_crypto_cleanup();
	USE(found), USE(ret);
}

static void addresses(struct sockaddr *sa, knot_mm_t *pool)
{
	char text[INET6_ADDRSTRLEN + 6];
	size_t len = sizeof(text);
	USE(kr_inaddr(sa));
	int ret = kr_inaddr_family(sa) + kr_inaddr_len(sa) + kr_inaddr_port(sa) +
		  kr_sockaddr_len(sa) + kr_inaddr_str(sa, text, &len) +
		  kr_ntop_str(AF_INET, "abcd", 53, text, &len) + kr_sockaddr_cmp(sa, sa);
	kr_inaddr_set_port(sa, 53);
	USE(kr_straddr(sa));
	uint8_t key[32];
	ssize_t key_len = kr_sockaddr_key(key, sa);
	union kr_sockaddr back;
	USE(kr_sockaddr_from_key(&back, key, key_len));
	ret += kr_sockaddr_key_same_addr(key, key);
	uint8_t subnet[16];
	uint16_t port;
	ret += kr_straddr_family("::1") + kr_straddr_subnet(subnet, "192.0.2.0/24") +
	       kr_straddr_split("192.0.2.1@53", text, &port) +
	       kr_straddr_join("192.0.2.1", 53, text, &len) + kr_family_len(AF_INET) +
	       kr_bitcmp("a", "b", 3);
	kr_bitmask(subnet, 16, 7);
	USE(kr_straddr_socket("192.0.2.1", 53, pool));
	union kr_sockaddr any = {.ip.sa_family = AF_INET};
	union kr_in_addr in;
	USE(any.ip4.sin_port), USE(any.ip6.sin6_port), USE(&in.ip4), USE(&in.ip6);
	USE(ret);
}

static void helpers(struct kr_context *ctx, const struct kr_query *qry)
{
	uint8_t bytes[8];
	kr_rnd_buffered(bytes, sizeof(bytes));
	int ret = kr_now() + kr_rand_bytes(2) + kr_rand_coin(1, 2);
	double diff;
	USE(kr_strptime_diff("%Y", "2001", "2000", &diff));
	ret += kr_file_mtime("/") + kr_fssize("/");
	auto_free char *path = kr_absolutize_path("/a", "b");
	auto_free char *both = kr_strcatdup(2, "a", "b");
	USE(kr_dirent_name), USE(kr_memreserve), USE(kr_uv_free_cb);
	struct kr_module module = {0};
	ret += kr_module_load(&module, "none", "/");
	kr_module_unload(&module);
	USE(kr_module_get_embedded("iterate"));
	auto_free char *out = kr_module_call(ctx, "stats", "list", NULL);
	USE(path), USE(both), USE(out);
	kr_timer_t stopwatch;
	kr_timer_start(&stopwatch);
	ret += kr_timer_elapsed(&stopwatch) + kr_timer_elapsed_us(&stopwatch);
	ret += kr_ok() + kr_error(EINVAL);
	USE(kr_strerror(kr_error(EINVAL)));
	kr_require(ret <= 0);
	kr_assert(ret <= 0);
	if (kr_fails_assert(ret <= 0))
		return;
	kr_log_debug(MODULE, "%d\n", 1);
	kr_log_info(DEVEL, "%d\n", 1);
	kr_log_notice(SYSTEM, "%d\n", 1);
	kr_log_warning(MODULE, "%d\n", 1);
	kr_log_error(MODULE, "%d\n", 1);
	kr_log_crit(MODULE, "%d\n", 1);
	kr_log("%d\n", 1);
	kr_log_q(qry, MODULE, "%d\n", 1);
	kr_log_req(qry->request, 0, 0, MODULE, "%d\n", 1);
	if (kr_log_is_debug(MODULE, NULL) || kr_log_is_debug_qry(MODULE, qry))
		USE(kr_log_grp2name(LOG_GRP_MODULE));
	kr_log_group_add(kr_log_name2grp("module"));
	USE(kr_log_group_is_set(LOG_GRP_MODULE));
	kr_log_group_reset();
	kr_log_level_set(kr_log_name2level(kr_log_level2name(kr_log_level)));
	kr_log_target_set(kr_log_target);
	USE(kr_log_fmt), USE(kr_log_q1), USE(kr_log_req1), USE(kr_log_is_debug_fun);
}

static void arrays_and_packs(void)
{
	array_t(int) numbers;
	array_init(numbers);
	USE(array_reserve(numbers, 4));
	USE(array_push(numbers, 5));
	USE(array_tail(numbers));
	array_del(numbers, 0);
	array_pop(numbers);
	array_clear(numbers);
	pack_t pack;
	pack_init(pack);
	USE(pack_reserve(pack, 1, 4));
	USE(pack_obj_push(&pack, (const uint8_t *)"abcd", 4));
	for (uint8_t *at = pack_head(pack); at != pack_tail(pack); at = pack_obj_next(at)) {
		USE(pack_obj_len(at));
		USE(pack_obj_val(at));
	}
	USE(pack_last(pack));
	USE(pack_obj_find(&pack, (const uint8_t *)"abcd", 4));
	USE(pack_obj_del(&pack, (const uint8_t *)"abcd", 4));
	pack_clear(pack);
}

static enum lru_apply_do keep(const char *key, unsigned len, uint32_t *value, void *baton)
{
	USE(key), USE(len), USE(value), USE(baton);
	return is_never ? LRU_APPLY_DO_EVICT : LRU_APPLY_DO_NOTHING;
}

static int visit(trie_val_t *value, void *baton)
{
	USE(value), USE(baton);
	return kr_ok();
}

static int visit_key(const char *key, uint32_t len, trie_val_t *value, void *baton)
{
	USE(key), USE(len);
	return visit(value, baton);
}

static void queues_and_maps(void)
{
	typedef queue_t(int) int_queue_t;
	int_queue_t queue;
	queue_init(queue);
	queue_push(queue, 1);
	queue_push_head(queue, 2);
	USE(queue_head(queue)), USE(queue_tail(queue)), USE(queue_len(queue));
	for (queue_it_t(int) it = queue_it_begin(queue); !queue_it_finished(it); queue_it_next(it))
		USE(queue_it_val(it));
	queue_pop(queue);
	queue_deinit(queue);
	typedef lru_t(uint32_t) u32_lru_t;
	u32_lru_t *lru = NULL;
	lru_create(&lru, 100, NULL, NULL);
	USE(lru_get_try(lru, "key", 3));
	bool is_new;
	USE(lru_get_new(lru, "key", 3, &is_new));
	lru_apply(lru, keep, NULL);
	USE(lru_capacity(lru));
	lru_reset(lru);
	lru_free(lru);
}

static void tries(void)
{
	trie_t *trie = trie_create(NULL);
	trie_val_t value, *at = trie_get_ins(trie, "key", 3);
	USE(trie_weight(trie)), USE(trie_get_try(trie, "key", 3)), USE(at);
	char *key;
	uint32_t len;
	USE(trie_get_first(trie, &key, &len));
	USE(trie_get_leq(trie, "key", 3, &at));
	USE(trie_apply(trie, visit, NULL) + trie_apply_with_key(trie, visit_key, NULL));
	trie_it_t *it = trie_it_begin(trie);
	for (size_t key_len; !trie_it_finished(it); trie_it_next(it)) {
		USE(trie_it_key(it, &key_len));
		USE(trie_it_val(it));
	}
	trie_it_free(it);
	char buf[8];
	len = sizeof(buf);
	USE(trie_del(trie, "key", 3, &value) + trie_del_first(trie, buf, &len, &value));
	trie_clear(trie);
	trie_free(trie);
}

static void daemon_functions(struct kr_request *req)
{
	struct kr_qflags flags = {.NO_CACHE = true};
	knot_dname_t name[] = "\4test";
	knot_pkt_t *pkt = worker_resolve_mk_pkt("test", KNOT_RRTYPE_A, KNOT_CLASS_IN, &flags);
	knot_pkt_t *other = worker_resolve_mk_pkt_dname(name, KNOT_RRTYPE_A, KNOT_CLASS_IN, &flags);
	struct qr_task *task = worker_resolve_start(pkt, flags);
	USE(worker_resolve_exec(task, pkt));
	knot_pkt_free(pkt);
	knot_pkt_free(other);
	struct session *session = worker_request_get_source_session(req);
	USE(session_get_handle(session));
	USE(engine_hint_root_file(the_resolver, "root.hints"));
	const zi_config_t import = {
		.zone_file = "z", .origin = "z.", .ttl = 60, .time_src = ZI_STAMP_NOW};
	USE(zi_zone_import(import));
	USE(import.downgrade), USE(import.zonemd), USE(import.ds), USE(import.cb);
	USE(import.cb_param), USE(ZI_STAMP_MTIM);
	struct engine *engine = the_worker->engine;
	USE(engine->resolver.root_hints.name), USE(engine->modules.len), USE(engine->backends.len);
	USE(engine->pool), USE(engine->hostname), USE(engine->L);
	USE(engine->net.tcp.in_idle_timeout), USE(the_worker->loop), USE(the_worker->count);
	USE(the_worker->stats.queries + the_worker->stats.concurrent +
		the_worker->stats.rconcurrent + the_worker->stats.dropped +
		the_worker->stats.timeout + the_worker->stats.udp + the_worker->stats.tcp +
		the_worker->stats.tls + the_worker->stats.ipv4 + the_worker->stats.ipv6 +
		the_worker->stats.err_udp + the_worker->stats.err_tcp + the_worker->stats.err_tls +
		the_worker->stats.err_http);
}

static void memory_and_json(knot_mm_t *pool)
{
	knot_mm_t own;
	mm_ctx_mempool2(&own, 4096);
	char *text = mm_alloc(&own, 10);
	text = mm_realloc(&own, text, 20, 10);
	mm_free(&own, text);
	USE(mm_calloc(pool, 2, 4)), USE(mm_strdup(pool, "x"));
	struct mempool *mp = mp_new(4096);
	USE(mp_alloc(mp, 10));
	mp_flush(mp);
	mp_delete(mp);
	auto_free char *formatted = afmt("%d", 5);
	auto_close int fd = -1;
	auto_fclose FILE *file = NULL;
	USE(fd), USE(file), USE(formatted), USE(PACKAGE_VERSION), USE(LIBDIR), USE(LIBEXT);
	JsonNode *root = json_mkobject(), *list = json_mkarray(), *i;
	json_append_member(root, "a", json_mknumber(1));
	json_prepend_member(root, "b", json_mkbool(true));
	json_append_element(list, json_mkstring("x"));
	json_prepend_element(list, json_mknull());
	json_foreach(i, list) USE(i->tag == JSON_STRING ? i->string_ : i->key);
	USE(json_find_element(list, 0)), USE(json_find_member(root, "a"));
	USE(json_check(root, NULL)), USE(json_validate("{}"));
	json_remove_from_parent(json_first_child(list));
	free(json_encode(root));
	free(json_encode_string("x"));
	free(json_stringify(root, " "));
	json_delete(json_decode("[]"));
	json_delete(list);
	json_delete(root);
}

/* ---- the fields of structures that modules look into ---- */

static void request_fields(struct kr_request *req)
{
	USE(req->ctx), USE(req->answer), USE(req->current_query), USE(req->qsource.addr);
	USE(req->qsource.comm_addr), USE(req->qsource.dst_addr), USE(req->qsource.packet);
	USE(req->qsource.flags.tcp | req->qsource.flags.tls | req->qsource.flags.http |
		req->qsource.flags.xdp | req->qsource.comm_flags.tcp);
	USE(req->qsource.size + req->qsource.stream_id + req->qsource.headers.len);
	USE(req->upstream.rtt), USE(req->upstream.transport), USE(req->options.TCP);
	USE(req->state), USE(req->answ_validated | req->auth_validated), USE(req->rank);
	USE(req->rplan.pending.len + req->rplan.resolved.len), USE(req->rplan.initial);
	USE(req->trace_log), USE(req->trace_finish), USE(req->vars_ref), USE(&req->pool);
	USE(req->uid), USE(req->selection_context.is_tls_capable);
	USE(req->selection_context.is_tcp_connected), USE(req->selection_context.is_tcp_waiting);
	USE(req->selection_context.forwarding_targets.len), USE(req->count_no_nsaddr);
	USE(req->count_fail_row), USE(req->alloc_wire_cb), USE(req->extended_error.info_code);
	USE(req->extended_error.extra_text), USE(req->add_selected.len + req->auth_selected.len);
}

static void query_fields(struct kr_query *qry)
{
	USE(qry->parent), USE(qry->cname_parent), USE(qry->sname), USE(qry->stype);
	USE(qry->sclass + qry->id + qry->reorder + qry->secret + qry->uid);
	USE(qry->flags.RESOLVED | qry->forward_flags.CNAME);
	USE(qry->vld_limit_crypto_remains + qry->vld_limit_uid);
	USE(qry->creation_time_mono + qry->timestamp_mono + qry->timestamp.tv_sec);
	USE(qry->zone_cut.name), USE(qry->deferred), USE(qry->cname_depth), USE(qry->request);
	USE(qry->stale_cb), USE(qry->server_selection.initialized);
	USE(qry->server_selection.choose_transport), USE(qry->server_selection.update_rtt);
	USE(qry->server_selection.error), USE(qry->server_selection.local_state->timeouts);
	USE(qry->server_selection.local_state->truncated);
	USE(qry->server_selection.local_state->force_resolve);
	USE(qry->server_selection.local_state->force_udp);
}

static void transport_fields(struct kr_transport *t)
{
	USE(t->ns_name), USE(t->address.ip.sa_family), USE(t->address_len), USE(t->timeout);
	USE(t->timeout_capped | t->deduplicated);
	USE(t->protocol == KR_TRANSPORT_RESOLVE_A || t->protocol == KR_TRANSPORT_RESOLVE_AAAA ||
		t->protocol == KR_TRANSPORT_UDP || t->protocol == KR_TRANSPORT_TCP ||
		t->protocol == KR_TRANSPORT_TLS);
	_Static_assert(KR_SELECTION_OK == 0 && KR_SELECTION_QUERY_TIMEOUT == 1 &&
			       KR_SELECTION_TLS_HANDSHAKE_FAILED == 2 &&
			       KR_SELECTION_TCP_CONNECT_FAILED == 3 &&
			       KR_SELECTION_TCP_CONNECT_TIMEOUT == 4 && KR_SELECTION_REFUSED == 5 &&
			       KR_SELECTION_SERVFAIL == 6 && KR_SELECTION_FORMERR == 7 &&
			       KR_SELECTION_FORMERR_EDNS == 8 && KR_SELECTION_NOTIMPL == 9 &&
			       KR_SELECTION_OTHER_RCODE == 10 && KR_SELECTION_MALFORMED == 11 &&
			       KR_SELECTION_MISMATCHED == 12 && KR_SELECTION_TRUNCATED == 13 &&
			       KR_SELECTION_DNSSEC_ERROR == 14 &&
			       KR_SELECTION_LAME_DELEGATION == 15 && KR_SELECTION_BAD_CNAME == 16 &&
			       KR_SELECTION_NUMBER_OF_ERRORS == 17,
		"codes that modules report");
	_Static_assert(KR_RANK_INITIAL == 0 && KR_RANK_OMIT == 1 && KR_RANK_TRY == 2 &&
			       KR_RANK_INDET == 4 && KR_RANK_BOGUS == 5 && KR_RANK_MISMATCH == 6 &&
			       KR_RANK_MISSING == 7 && KR_RANK_INSECURE == 8 &&
			       KR_RANK_AUTH == 16 && KR_RANK_SECURE == 32,
		"ranks");
	_Static_assert(KR_STATE_CONSUME == 1 && KR_STATE_PRODUCE == 2 && KR_STATE_DONE == 4 &&
			       KR_STATE_FAIL == 8 && KR_STATE_YIELD == 16,
		"states");
	_Static_assert(KR_MODULE_API != 0x20210125, "binaries of the 5.x line do not fit");
}

static void context_fields(struct kr_context *ctx, struct kr_layer_pickle *pickle)
{
	USE(ctx->options.TCP), USE(ctx->downstream_opt_rr), USE(ctx->upstream_opt_rr);
	USE(ctx->trust_anchors), USE(ctx->negative_anchors), USE(ctx->vld_limit_crypto);
	USE(ctx->root_hints.nsset), USE(ctx->cache.api), USE(ctx->cache.ttl_min);
	USE(ctx->cache.ttl_max), USE(ctx->cache_rtt_tout_retry_interval), USE(ctx->modules->len);
	USE(ctx->tls_padding), USE(ctx->pool), USE(pickle->next), USE(pickle->api);
	USE(pickle->pkt), USE(pickle->state);
}

static int on_begin(kr_layer_t *ctx)
{
	USE(ctx->req), USE(ctx->api->data);
	return ctx->state;
}

static int on_packet(kr_layer_t *ctx, knot_pkt_t *pkt)
{
	USE(pkt);
	return ctx->state;
}

static int on_checkout(kr_layer_t *ctx, knot_pkt_t *pkt, struct sockaddr *dst, int type)
{
	USE(pkt), USE(dst), USE(type);
	return ctx->state;
}

KR_EXPORT int surface_init(struct kr_module *module)
{
	static const kr_layer_api_t layer = {
		.begin = on_begin,
		.reset = on_begin,
		.finish = on_begin,
		.consume = on_packet,
		.produce = on_packet,
		.checkout = on_checkout,
		.answer_finalize = on_begin,
	};
	module->layer = &layer;
	if (!is_never)
		return kr_ok();
	driver(NULL, NULL, NULL);
	plan(NULL);
	packets(NULL, NULL, NULL);
	zone_cuts(NULL, NULL, NULL);
	cache(NULL, NULL, NULL);
	dnssec(NULL, NULL, NULL);
	addresses(NULL, NULL);
	helpers(NULL, NULL);
	arrays_and_packs();
	queues_and_maps();
	tries();
	daemon_functions(NULL);
	memory_and_json(NULL);
	request_fields(NULL);
	query_fields(NULL);
	transport_fields(NULL);
	context_fields(NULL, NULL);
	return kr_ok();
}

KR_MODULE_EXPORT(surface)
