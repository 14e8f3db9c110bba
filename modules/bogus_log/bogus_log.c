/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Log every failed validation, and count the questions that failed. */

#include <jansson.h>
#include <string.h>
#include <libknot/descriptor.h>

#include "lib/module.h"
#include "lib/resolve.h"
#include "lib/utils.h"
#include "lib/generic/lru.h"

/** Questions remembered. */
#define FREQUENT_SLOTS 5000

typedef lru_t(unsigned) frequent_t;

struct bogus_log {
	kr_layer_api_t layer;
	frequent_t *frequent; /**< type and name -> count */
};

static void count(struct bogus_log *log, const struct kr_query *qry)
{
	char key[sizeof(uint16_t) + KNOT_DNAME_MAXLEN];
	const size_t len = knot_dname_size(qry->sname);
	memcpy(key, &qry->stype, sizeof(qry->stype));
	memcpy(key + sizeof(qry->stype), qry->sname, len);
	unsigned *value = lru_get_new(log->frequent, key, sizeof(qry->stype) + len, NULL);
	if (value)
		*value += 1;
}

static int bogus_consume(kr_layer_t *ctx, knot_pkt_t *pkt)
{
	const struct kr_module *module = ctx->api->data;
	const struct kr_query *qry = ctx->req->current_query;
	if (!(ctx->state & KR_STATE_FAIL) || !qry || !qry->flags.DNSSEC_BOGUS)
		return ctx->state;
	KR_DNAME_GET_STR(name, qry->sname);
	KR_RRTYPE_GET_STR(type, qry->stype);
	kr_log_notice(DNSSEC, "validation failure: %s %s\n", name, type);
	count(module->data, qry);
	return ctx->state;
}

static enum lru_apply_do list_one(const char *key, uint len, unsigned *value, void *baton)
{
	uint16_t number = 0;
	if (len <= sizeof(number))
		return LRU_APPLY_DO_NOTHING;
	memcpy(&number, key, sizeof(number));
	KR_DNAME_GET_STR(name, (const uint8_t *)key + sizeof(number));
	KR_RRTYPE_GET_STR(type, number);
	json_t *item = json_object();
	json_object_set_new(item, "count", json_integer(*value));
	json_object_set_new(item, "name", json_string(name));
	json_object_set_new(item, "type", json_string(type));
	json_array_append_new(baton, item);
	return LRU_APPLY_DO_NOTHING;
}

/** bogus_log.frequent() */
static char *bogus_frequent(void *env, struct kr_module *module, const char *input)
{
	struct bogus_log *log = module->data;
	json_t *list = json_array();
	lru_apply(log->frequent, list_one, list);
	char *text = json_dumps(list, JSON_COMPACT);
	json_decref(list);
	return text;
}

KR_EXPORT
int bogus_log_init(struct kr_module *module);
KR_EXPORT
int bogus_log_deinit(struct kr_module *module);

int bogus_log_init(struct kr_module *module)
{
	static const struct kr_prop props[] = {
		{bogus_frequent, "frequent", "Questions whose answers failed validation"},
		{NULL, NULL, NULL},
	};
	struct bogus_log *log = calloc(1, sizeof(*log));
	if (!log)
		return kr_error(ENOMEM);
	lru_create(&log->frequent, FREQUENT_SLOTS, NULL, NULL);
	if (!log->frequent) {
		free(log);
		return kr_error(ENOMEM);
	}
	log->layer.consume = bogus_consume;
	log->layer.concerns = kr_layer_unconcerned;
	log->layer.is_skippable = true; /* repeated answers are validated ones */
	log->layer.data = module;
	module->data = log;
	module->layer = &log->layer;
	module->props = props;
	return kr_ok();
}

int bogus_log_deinit(struct kr_module *module)
{
	struct bogus_log *log = module->data;
	if (!log)
		return kr_ok();
	lru_free(log->frequent);
	free(log);
	module->data = NULL;
	return kr_ok();
}

KR_MODULE_EXPORT(bogus_log)
