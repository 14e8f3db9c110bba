/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Example of a module in C: counts the answers that clients got, by response code.
 *
 *     modules = { rcodes = { internal = true } }   -- count the resolver's own questions, too
 *     rcodes.list()                                -- { NOERROR = 3, SERVFAIL = 1 }
 *     rcodes.NOERROR                               -- 3, by the property `get`
 *     rcodes.clear()
 */
#include <ccan/json/json.h>
#include <libknot/codes.h>
#include <libknot/packet/wire.h>
#include <string.h>

#include "lib/layer.h"
#include "lib/module.h"
#include "lib/resolve.h"
#include "lib/utils.h"

#define CODES 16

/* What the module remembers; one per process. */
struct rcodes {
	uint64_t answers[CODES];
	bool count_internal;
};

static const char *code_name(int code)
{
	const knot_lookup_t *known = knot_lookup_by_id(knot_rcode_names, code);
	return known ? known->name : "OTHER";
}

/* ---- layer ---- */

/* A hook gets the state that the modules before left, and says what it shall be. */
static int count(kr_layer_t *ctx)
{
	struct kr_module *self = ctx->api->data;
	struct rcodes *rcodes = self->data;
	const struct kr_request *req = ctx->req;
	const bool is_internal = req->qsource.addr == NULL;
	if (!req->answer || (is_internal && !rcodes->count_internal))
		return ctx->state;
	rcodes->answers[knot_wire_get_rcode(req->answer->wire)] += 1;
	kr_log_req(req, 0, 0, MODULE, "counted %s\n",
		code_name(knot_wire_get_rcode(req->answer->wire)));
	return ctx->state;
}

/* ---- properties: text in, malloc()ed text out; JSON becomes a Lua value ---- */

static char *list(void *env, struct kr_module *self, const char *args)
{
	(void)env, (void)args;
	const struct rcodes *rcodes = self->data;
	JsonNode *root = json_mkobject();
	for (int i = 0; root && i < CODES; ++i)
		if (rcodes->answers[i] > 0)
			json_append_member(root, code_name(i), json_mknumber(rcodes->answers[i]));
	char *text = root ? json_encode(root) : NULL;
	json_delete(root);
	return text;
}

static char *get(void *env, struct kr_module *self, const char *name)
{
	(void)env;
	const struct rcodes *rcodes = self->data;
	const knot_lookup_t *known = name ? knot_lookup_by_name(knot_rcode_names, name) : NULL;
	if (!known || known->id >= CODES)
		return NULL;
	JsonNode *number = json_mknumber(rcodes->answers[known->id]);
	char *text = number ? json_encode(number) : NULL;
	json_delete(number);
	return text;
}

static char *clear(void *env, struct kr_module *self, const char *args)
{
	(void)env, (void)args;
	struct rcodes *rcodes = self->data;
	memset(rcodes->answers, 0, sizeof(rcodes->answers));
	return NULL;
}

/* ---- life ---- */

KR_EXPORT int rcodes_init(struct kr_module *module)
{
	static kr_layer_api_t layer = {.finish = count};
	static const struct kr_prop props[] = {
		{list, "list", "Answers by response code."},
		{get, "get", "Answers with one response code."},
		{clear, "clear", "Begin at zero."},
		{NULL, NULL, NULL},
	};
	struct rcodes *rcodes = calloc(1, sizeof(*rcodes));
	if (!rcodes)
		return kr_error(ENOMEM);
	layer.data = module; /* that is how hooks find us */
	module->data = rcodes;
	module->layer = &layer;
	module->props = props;
	return kr_ok();
}

KR_EXPORT int rcodes_deinit(struct kr_module *module)
{
	free(module->data);
	module->data = NULL;
	return kr_ok();
}

/* modules = { rcodes = VALUE }: the value as JSON, NULL if there is none. */
KR_EXPORT int rcodes_config(struct kr_module *module, const char *conf)
{
	struct rcodes *rcodes = module->data;
	if (!conf)
		return kr_ok();
	JsonNode *root = json_decode(conf);
	JsonNode *internal = json_find_member(root, "internal");
	const bool is_good = internal && internal->tag == JSON_BOOL;
	if (is_good)
		rcodes->count_internal = internal->bool_;
	else
		kr_log_error(MODULE, "rcodes: expected { internal = true or false }\n");
	json_delete(root);
	return is_good ? kr_ok() : kr_error(EINVAL);
}

KR_MODULE_EXPORT(rcodes)
