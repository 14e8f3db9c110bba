/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Counters of requests and answers, the most frequent questions and the latest upstream answers. */

#include <arpa/inet.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <libknot/descriptor.h>
#include <libknot/wire.h>

#include "lib/module.h"
#include "lib/resolve.h"
#include "lib/utils.h"
#include "lib/generic/lru.h"
#include "lib/generic/trie.h"

/** Counters in the order of names[]. */
enum counter {
	REQ_TOTAL,
	REQ_INTERNAL,
	REQ_TOTAL4,
	REQ_TOTAL6,
	REQ_UDP4,
	REQ_UDP6,
	REQ_TCP4,
	REQ_TCP6,
	REQ_DOT4,
	REQ_DOT6,
	REQ_DOH4,
	REQ_DOH6,
	REQ_XDP4,
	REQ_XDP6,
	ANS_TOTAL,
	ANS_NOERROR,
	ANS_NODATA,
	ANS_NXDOMAIN,
	ANS_SERVFAIL,
	ANS_CACHED,
	ANS_1MS,
	ANS_10MS,
	ANS_50MS,
	ANS_100MS,
	ANS_250MS,
	ANS_500MS,
	ANS_1000MS,
	ANS_1500MS,
	ANS_SLOW,
	ANS_SUM_MS,
	ANS_AA,
	ANS_TC,
	ANS_RD,
	ANS_RA,
	ANS_AD,
	ANS_CD,
	ANS_EDNS0,
	ANS_DO,
	QRY_EDNS,
	QRY_DNSSEC,
	COUNTERS
};

static const char *const names[COUNTERS] = {
	"request.total",
	"request.internal",
	"request.total4",
	"request.total6",
	"request.udp4",
	"request.udp6",
	"request.tcp4",
	"request.tcp6",
	"request.dot4",
	"request.dot6",
	"request.doh4",
	"request.doh6",
	"request.xdp4",
	"request.xdp6",
	"answer.total",
	"answer.noerror",
	"answer.nodata",
	"answer.nxdomain",
	"answer.servfail",
	"answer.cached",
	"answer.1ms",
	"answer.10ms",
	"answer.50ms",
	"answer.100ms",
	"answer.250ms",
	"answer.500ms",
	"answer.1000ms",
	"answer.1500ms",
	"answer.slow",
	"answer.sum_ms",
	"answer.aa",
	"answer.tc",
	"answer.rd",
	"answer.ra",
	"answer.ad",
	"answer.cd",
	"answer.edns0",
	"answer.do",
	"query.edns",
	"query.dnssec",
};

/** Sums over the two families; read-only. */
static const struct {
	const char *name;
	enum counter v4, v6;
} sums[] = {
	{"request.udp", REQ_UDP4, REQ_UDP6},
	{"request.tcp", REQ_TCP4, REQ_TCP6},
	{"request.dot", REQ_DOT4, REQ_DOT6},
	{"request.doh", REQ_DOH4, REQ_DOH6},
	{"request.xdp", REQ_XDP4, REQ_XDP6},
};

/** Names remembered for frequent(). */
#define FREQUENT_SLOTS 5000
/** One in so many resolved questions is looked at. */
#define FREQUENT_SAMPLE 10
/** Upstream answers remembered; a power of two. */
#define UPSTREAMS 512

typedef lru_t(unsigned) frequent_t;

struct upstream {
	union kr_sockaddr addr;
	uint16_t rtt_ms;
	bool is_set;
};

struct stats {
	kr_layer_api_t layer;
	uint64_t counters[COUNTERS];
	trie_t *custom; /**< name -> count as pointer-sized integer */
	frequent_t *frequent;
	struct upstream upstreams[UPSTREAMS];
	size_t upstream_next;
};

static struct stats *stats_of(const kr_layer_t *ctx)
{
	const struct kr_module *module = ctx->api->data;
	return module->data;
}

/* ---- counting ---- */

static void count_request(
	struct stats *s, const struct sockaddr *addr, const struct kr_request_qsource_flags *flags)
{
	s->counters[REQ_TOTAL] += 1;
	if (!addr) {
		s->counters[REQ_INTERNAL] += 1;
		return;
	}
	const bool is_v6 = kr_inaddr_family(addr) == AF_INET6;
	const enum counter transport = flags->http  ? REQ_DOH4
				       : flags->tls ? REQ_DOT4
				       : flags->tcp ? REQ_TCP4
				       : flags->xdp ? REQ_XDP4
						    : REQ_UDP4;
	s->counters[transport + is_v6] += 1;
	s->counters[REQ_TOTAL4 + is_v6] += 1;
}

static int stats_begin(kr_layer_t *ctx)
{
	count_request(stats_of(ctx), ctx->req->qsource.addr, &ctx->req->qsource.flags);
	return ctx->state;
}

static int stats_consume(kr_layer_t *ctx, knot_pkt_t *pkt)
{
	struct stats *s = stats_of(ctx);
	const struct kr_request *req = ctx->req;
	const struct kr_query *qry = req->current_query;
	const struct kr_transport *from = req->upstream.transport;
	if (!qry || qry->flags.CACHED || !from)
		return ctx->state;
	struct upstream *slot = &s->upstreams[s->upstream_next];
	s->upstream_next = (s->upstream_next + 1) % UPSTREAMS;
	slot->addr = from->address;
	slot->rtt_ms = KR_MIN(req->upstream.rtt, UINT16_MAX);
	slot->is_set = true;
	return ctx->state;
}

static void count_latency(struct stats *s, const struct kr_request *req)
{
	static const uint16_t bounds[] = {1, 10, 50, 100, 250, 500, 1000, 1500};
	const struct kr_query *initial = req->rplan.initial;
	const uint64_t ms = initial ? req->ctx->now_ms - initial->creation_time_mono : 0;
	size_t i = 0;
	while (i < KR_COUNT_OF(bounds) && ms > bounds[i])
		i += 1;
	s->counters[ANS_1MS + i] += 1;
	s->counters[ANS_SUM_MS] += ms;
}

static void count_rcode(struct stats *s, const uint8_t *wire)
{
	switch (knot_wire_get_rcode(wire)) {
	case KNOT_RCODE_NOERROR:
		s->counters[knot_wire_get_ancount(wire) > 0 ? ANS_NOERROR : ANS_NODATA] += 1;
		break;
	case KNOT_RCODE_NXDOMAIN:
		s->counters[ANS_NXDOMAIN] += 1;
		break;
	case KNOT_RCODE_SERVFAIL:
		s->counters[ANS_SERVFAIL] += 1;
		break;
	default:
		break;
	}
}

static void count_flags(struct stats *s, const uint8_t *wire, bool edns, bool dnssec)
{
	s->counters[ANS_AA] += !!knot_wire_get_aa(wire);
	s->counters[ANS_TC] += !!knot_wire_get_tc(wire);
	s->counters[ANS_RD] += !!knot_wire_get_rd(wire);
	s->counters[ANS_RA] += !!knot_wire_get_ra(wire);
	s->counters[ANS_AD] += !!knot_wire_get_ad(wire);
	s->counters[ANS_CD] += !!knot_wire_get_cd(wire);
	s->counters[ANS_EDNS0] += edns;
	s->counters[QRY_EDNS] += edns;
	s->counters[ANS_DO] += dnssec;
	s->counters[QRY_DNSSEC] += dnssec;
}

/** Key of frequent(): type and name. @return its length */
static size_t frequent_key(char *key, const struct kr_query *qry)
{
	const size_t len = knot_dname_size(qry->sname);
	memcpy(key, &qry->stype, sizeof(qry->stype));
	memcpy(key + sizeof(qry->stype), qry->sname, len);
	return sizeof(qry->stype) + len;
}

static void sample_questions(struct stats *s, const struct kr_request *req)
{
	for (size_t i = 0; i < req->rplan.resolved.len; ++i) {
		const struct kr_query *qry = req->rplan.resolved.at[i];
		if (qry->flags.CACHED || !qry->sname ||
			kr_ctx_rnd32(req->ctx) % FREQUENT_SAMPLE != 0)
			continue;
		char key[sizeof(uint16_t) + KNOT_DNAME_MAXLEN];
		unsigned *count = lru_get_new(s->frequent, key, frequent_key(key, qry), NULL);
		if (count)
			*count += 1;
	}
}

static int stats_finish(kr_layer_t *ctx)
{
	struct stats *s = stats_of(ctx);
	struct kr_request *req = ctx->req;
	if (req->rplan.resolved.len > 0)
		sample_questions(s, req);
	const knot_pkt_t *answer = req->answer;
	if (!answer)
		return ctx->state;
	s->counters[ANS_TOTAL] += 1;
	const bool edns = answer->opt_rr != NULL;
	count_rcode(s, answer->wire);
	count_flags(s, answer->wire, edns, edns && knot_pkt_has_dnssec(answer));
	count_latency(s, req);
	const struct kr_query *last = kr_rplan_last(&req->rplan);
	s->counters[ANS_CACHED] += last && last->flags.CACHED;
	return ctx->state;
}

/** An answer from the answer cache of the daemon. */
static void stats_repeated(const kr_layer_api_t *api, const struct kr_repeated *what)
{
	const struct kr_module *module = api->data;
	struct stats *s = module->data;
	count_request(s, what->addr, &what->flags);
	s->counters[ANS_TOTAL] += 1;
	count_rcode(s, what->answer);
	count_flags(s, what->answer, what->has_edns, what->has_do);
	s->counters[ANS_1MS] += 1;
	s->counters[ANS_CACHED] += 1;
}

/* ---- properties ---- */

static bool find_counter(struct stats *s, const char *name, uint64_t *value)
{
	for (size_t i = 0; i < COUNTERS; ++i) {
		if (strcmp(names[i], name) == 0) {
			*value = s->counters[i];
			return true;
		}
	}
	for (size_t i = 0; i < KR_COUNT_OF(sums); ++i) {
		if (strcmp(sums[i].name, name) == 0) {
			*value = s->counters[sums[i].v4] + s->counters[sums[i].v6];
			return true;
		}
	}
	trie_val_t *val = trie_get_try(s->custom, name, strlen(name));
	if (val)
		*value = (uintptr_t)*val;
	return val != NULL;
}

static char *stats_get(void *env, struct kr_module *module, const char *name)
{
	uint64_t value = 0;
	char *text = NULL;
	if (!name || !find_counter(module->data, name, &value))
		return NULL;
	return asprintf(&text, "%llu", (unsigned long long)value) > 0 ? text : NULL;
}

static bool is_sum(const char *name)
{
	for (size_t i = 0; i < KR_COUNT_OF(sums); ++i) {
		if (strcmp(sums[i].name, name) == 0)
			return true;
	}
	return false;
}

static void set_counter(struct stats *s, const char *name, uint64_t value)
{
	for (size_t i = 0; i < COUNTERS; ++i) {
		if (strcmp(names[i], name) == 0) {
			s->counters[i] = value;
			return;
		}
	}
	if (is_sum(name))
		return;
	trie_val_t *val = trie_get_ins(s->custom, name, strlen(name));
	if (val)
		*val = (trie_val_t)(uintptr_t)value;
}

/** "KEY VALUE". */
static char *stats_set(void *env, struct kr_module *module, const char *input)
{
	auto_free char *text = input ? strdup(input) : NULL;
	char *space = text ? strrchr(text, ' ') : NULL;
	if (!space)
		return NULL;
	*space = '\0';
	char *end = NULL;
	errno = 0;
	const unsigned long long value = strtoull(space + 1, &end, 10);
	if (errno == 0 && end != space + 1 && *end == '\0' && space[1] != '-')
		set_counter(module->data, text, value);
	return NULL;
}

static char *json_text(json_t *value)
{
	char *text = json_dumps(value, JSON_COMPACT);
	json_decref(value);
	return text;
}

struct list_env {
	json_t *all;
	const char *prefix;
};

static void list_one(const struct list_env *env, const char *name, uint64_t value)
{
	if (!env->prefix || strncmp(name, env->prefix, strlen(env->prefix)) == 0)
		json_object_set_new(env->all, name, json_integer((json_int_t)value));
}

static int list_custom(const char *key, uint32_t len, trie_val_t *val, void *baton)
{
	auto_free char *name = strndup(key, len);
	if (name)
		list_one(baton, name, (uintptr_t)*val);
	return kr_ok();
}

static char *stats_list(void *env, struct kr_module *module, const char *prefix)
{
	struct stats *s = module->data;
	struct list_env list = {.all = json_object(), .prefix = prefix};
	for (size_t i = 0; i < COUNTERS; ++i)
		list_one(&list, names[i], s->counters[i]);
	for (size_t i = 0; i < KR_COUNT_OF(sums); ++i)
		list_one(&list, sums[i].name, s->counters[sums[i].v4] + s->counters[sums[i].v6]);
	trie_apply_with_key(s->custom, list_custom, &list);
	return json_text(list.all);
}

static enum lru_apply_do list_frequent(const char *key, uint len, unsigned *val, void *baton)
{
	uint16_t type = 0;
	char name[KNOT_DNAME_TXT_MAXLEN + 1], type_text[32];
	if (len <= sizeof(type))
		return LRU_APPLY_DO_NOTHING;
	memcpy(&type, key, sizeof(type));
	if (!knot_dname_to_str(name, (const uint8_t *)key + sizeof(type), sizeof(name)) ||
		knot_rrtype_to_string(type, type_text, sizeof(type_text)) < 0)
		return LRU_APPLY_DO_NOTHING;
	json_t *item = json_object();
	json_object_set_new(item, "count", json_integer(*val));
	json_object_set_new(item, "name", json_string(name));
	json_object_set_new(item, "type", json_string(type_text));
	json_array_append_new(baton, item);
	return LRU_APPLY_DO_NOTHING;
}

static char *stats_frequent(void *env, struct kr_module *module, const char *input)
{
	struct stats *s = module->data;
	json_t *list = json_array();
	lru_apply(s->frequent, list_frequent, list);
	return json_text(list);
}

static char *stats_clear_frequent(void *env, struct kr_module *module, const char *input)
{
	struct stats *s = module->data;
	lru_reset(s->frequent);
	return NULL;
}

static char *stats_upstreams(void *env, struct kr_module *module, const char *input)
{
	const struct stats *s = module->data;
	json_t *all = json_object();
	for (size_t i = 1; i < UPSTREAMS; ++i) { /* newest first */
		const struct upstream *up =
			&s->upstreams[(s->upstream_next + UPSTREAMS - i) % UPSTREAMS];
		char text[INET6_ADDRSTRLEN];
		const char *addr = up->is_set ? kr_inaddr(&up->addr.ip) : NULL;
		if (!addr || !inet_ntop(kr_inaddr_family(&up->addr.ip), addr, text, sizeof(text)))
			continue;
		json_t *list = json_object_get(all, text);
		if (!list) {
			list = json_array();
			json_object_set_new(all, text, list);
		}
		json_array_append_new(list, json_integer(up->rtt_ms));
	}
	return json_text(all);
}

/* ---- module ---- */

KR_EXPORT
int stats_init(struct kr_module *module);
KR_EXPORT
int stats_deinit(struct kr_module *module);

int stats_deinit(struct kr_module *module)
{
	struct stats *s = module->data;
	if (!s)
		return kr_ok();
	if (s->custom)
		trie_free(s->custom);
	lru_free(s->frequent);
	free(s);
	module->data = NULL;
	return kr_ok();
}

int stats_init(struct kr_module *module)
{
	static const struct kr_prop props[] = {
		{stats_set, "set", "Set a counter: 'KEY VALUE'"},
		{stats_get, "get", "Value of a counter"},
		{stats_list, "list", "All counters, or those with a prefix"},
		{stats_frequent, "frequent", "Frequent questions"},
		{stats_clear_frequent, "clear_frequent", "Forget frequent questions"},
		{stats_upstreams, "upstreams", "RTTs of latest upstream answers"},
		{NULL, NULL, NULL},
	};
	struct stats *s = calloc(1, sizeof(*s));
	if (!s)
		return kr_error(ENOMEM);
	module->data = s;
	s->custom = trie_create(NULL);
	lru_create(&s->frequent, FREQUENT_SLOTS, NULL, NULL);
	if (!s->custom || !s->frequent) {
		stats_deinit(module);
		return kr_error(ENOMEM);
	}
	s->layer.begin = stats_begin;
	s->layer.consume = stats_consume;
	s->layer.finish = stats_finish;
	s->layer.repeated = stats_repeated;
	s->layer.concerns = kr_layer_unconcerned;
	s->layer.data = module;
	module->layer = &s->layer;
	module->props = props;
	return kr_ok();
}

KR_MODULE_EXPORT(stats)
