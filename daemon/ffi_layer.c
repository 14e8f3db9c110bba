/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/ffi_layer.h"

#include <lauxlib.h>
#include <string.h>

#include "daemon/engine.h"
#include "daemon/guard.h"
#include "lib/log.h"
#include "lib/rules/rules.h"

kr_layer_t kr_layer_t_static;
const knot_dump_style_t KR_DUMP_STYLE_DEFAULT = {
	.show_ttl = true,
	.show_class = true,
	.human_timestamp = true,
};

/** Field of the registry with the loader of Lua modules (daemon/lua/modules_glue.lua). */
#define LOADER_KEY "kres.module_loader"
/** Field of the registry with the table request -> function to call at its end. */
#define FINISH_KEY "kres.request_finish"
/** Field of the registry with the function that calls those. */
#define FINISH_CALL_KEY "kres.request_finish_call"
/** An error of the same hook is logged once in this time (F-33). */
#define HOOK_LOG_MS 10000
/** Slots of the Lua stack that a hook call takes. */
#define HOOK_STACK 8

/** Indexed by enum kr_hook. */
static const char *const hook_names[KR_HOOK_COUNT] = {
	[KR_HOOK_BEGIN] = "begin",
	[KR_HOOK_RESET] = "reset",
	[KR_HOOK_FINISH] = "finish",
	[KR_HOOK_CONSUME] = "consume",
	[KR_HOOK_PRODUCE] = "produce",
	[KR_HOOK_CHECKOUT] = "checkout",
	[KR_HOOK_ANSWER_FINALIZE] = "answer_finalize",
};

/** In which errors of a module are counted for lua_module::errors_max. */
#define ERRORS_MS 60000

#define QTYPES_MAX 8

/** Which questions the hooks are for; looked at before Lua is entered. */
struct filter {
	uint16_t qtypes[QTYPES_MAX];
	uint8_t qtypes_len;   /**< 0: all */
	uint8_t label_len;    /**< 0: all */
	char first_label[64]; /**< beginning of the client's name, lower case */
};

/** A Lua module, in kr_module::data. */
struct lua_module {
	int table_ref;
	char *name;         /**< the module's */
	bool skips_errors;  /**< a hook that fails counts as absent; else the request fails */
	bool sees_failures; /**< produce, consume and checkout run in state FAIL, too */
	struct filter filter;
	bool is_gone;        /**< unloaded while a hook was running */
	uint32_t errors_max; /**< in a minute, then its hooks are switched off; 0 = never */
	uint32_t errors_recent;
	uint64_t errors_since_ms; /**< since when errors_recent counts */
	uint64_t errors_all;
	struct lua_module *next_gone;
	struct {
		uint64_t logged_ms;
		uint32_t silent; /**< errors since then that were not logged */
	} errors[KR_HOOK_COUNT];
	kr_layer_api_t *api;
	const kr_layer_api_t *compiled; /**< hooks in C that come first, or NULL */
	uint8_t *tlds, *prefixes;       /**< what it cares for, see labels_new(); or NULL */
};

static void log_hook_error(struct lua_module *lm, enum kr_hook hook, const char *text)
{
	const uint64_t now = the_resolver->now_ms;
	if (lm->errors[hook].logged_ms && now - lm->errors[hook].logged_ms < HOOK_LOG_MS) {
		lm->errors[hook].silent += 1;
		return;
	}
	if (lm->errors[hook].silent)
		kr_log_error(SYSTEM, "error: module %s, hook %s (%u more since the last one): %s\n",
			lm->name, hook_names[hook], lm->errors[hook].silent, text);
	else
		kr_log_error(SYSTEM, "error: module %s, hook %s: %s\n", lm->name, hook_names[hook],
			text);
	lm->errors[hook].logged_ms = now ? now : 1;
	lm->errors[hook].silent = 0;
}

/** Modules that were unloaded by a hook; to be freed when none is running. */
static struct lua_module *gone;

static void api_fill(kr_layer_api_t *api);

static void switch_off(struct lua_module *lm)
{
	kr_log_error(SYSTEM, "module %s: its hooks are switched off after %u errors in a minute\n",
		lm->name, lm->errors_recent);
	for (int i = 0; i < KR_HOOK_COUNT; ++i) {
		luaL_unref(the_engine->L, LUA_REGISTRYINDEX, lm->api->cb_slots[i]);
		lm->api->cb_slots[i] = LUA_NOREF;
	}
	kr_modules_changed(the_resolver); /* while the functions are there: a walk may stand here */
}

/** A hook failed. @return the state after it */
static int hook_failed(kr_layer_t *ctx, struct lua_module *lm, enum kr_hook hook, const char *text)
{
	const uint64_t now = the_resolver->now_ms;
	const int state = lm->skips_errors ? ctx->state : KR_STATE_FAIL;
	if (lm->is_gone)
		return state;
	log_hook_error(lm, hook, text);
	lm->errors_all += 1;
	if (now - lm->errors_since_ms >= ERRORS_MS) {
		lm->errors_since_ms = now;
		lm->errors_recent = 0;
	}
	lm->errors_recent += 1;
	if (lm->errors_max && lm->errors_recent >= lm->errors_max)
		switch_off(lm);
	return state;
}

/** What the hook's result means; the result is at the top of the stack. */
static int hook_result(lua_State *L, kr_layer_t *ctx, struct lua_module *lm, enum kr_hook hook)
{
	const int type = lua_type(L, -1);
	if (type == LUA_TNIL)
		return ctx->req->state; /* the hook may have set it by hand */
	double state = type == LUA_TNUMBER ? lua_tonumber(L, -1) : -1;
	if (state >= 0 && state <= 31 && state == (int)state)
		return state;
	char text[128];
	snprintf(text, sizeof(text), "the result must be a state or nil, not %s %s",
		lua_typename(L, type), type == LUA_TNUMBER ? lua_tostring(L, -1) : "");
	return hook_failed(ctx, lm, hook, text);
}

/** Is the question one the module wants to see? */
static bool is_wanted(const struct filter *filter, const struct kr_request *req)
{
	const struct kr_query *initial = req->rplan.initial;
	const struct kr_query *qry = req->current_query ? req->current_query : initial;
	if (filter->label_len > 0) {
		const uint8_t *name = initial ? initial->sname : NULL;
		if (!name || name[0] < filter->label_len ||
			strncasecmp((const char *)name + 1, filter->first_label,
				filter->label_len) != 0)
			return false;
	}
	if (filter->qtypes_len == 0)
		return true;
	for (int i = 0; qry && i < filter->qtypes_len; ++i) {
		if (qry->stype == filter->qtypes[i])
			return true;
	}
	return false;
}

static int call_hook(kr_layer_t *ctx, enum kr_hook hook)
{
	lua_State *L = the_engine->L;
	struct lua_module *lm = ctx->api->data;
	if (!is_wanted(&lm->filter, ctx->req))
		return ctx->state;
	if (ctx->api->cb_slots[hook] == LUA_NOREF)
		return ctx->state; /* switched off during this walk */
	if (!lua_checkstack(L, HOOK_STACK))
		return hook_failed(ctx, lm, hook, "the Lua stack is full");
	const int top = lua_gettop(L);
	kr_layer_t_static = *ctx;
	lua_rawgeti(L, LUA_REGISTRYINDEX, engine_traceback_ref);
	lua_rawgeti(L, LUA_REGISTRYINDEX, ctx->api->cb_slots[hook]);
	lua_pushinteger(L, ctx->state);
	const int saved = guard_enter(GUARD_HOOK_MS);
	int state = lua_pcall(L, 1, 1, top + 1);
	guard_leave(saved);
	if (state == 0)
		state = hook_result(L, ctx, lm, hook);
	else
		state = hook_failed(ctx, lm, hook, lua_tostring(L, -1));
	lua_settop(L, top);
	return state;
}

static int on_begin(kr_layer_t *ctx)
{
	return call_hook(ctx, KR_HOOK_BEGIN);
}

static int on_reset(kr_layer_t *ctx)
{
	return call_hook(ctx, KR_HOOK_RESET);
}

static int on_finish(kr_layer_t *ctx)
{
	ctx->pkt = ctx->req->answer;
	return call_hook(ctx, KR_HOOK_FINISH);
}

/** Most modules have nothing to do for what has failed. */
static bool is_left_out(const kr_layer_t *ctx)
{
	const struct lua_module *lm = ctx->api->data;
	return (ctx->state & KR_STATE_FAIL) && !lm->sees_failures;
}

static int on_consume(kr_layer_t *ctx, knot_pkt_t *pkt)
{
	if (is_left_out(ctx))
		return ctx->state;
	ctx->pkt = pkt;
	return call_hook(ctx, KR_HOOK_CONSUME);
}

static int on_produce(kr_layer_t *ctx, knot_pkt_t *pkt)
{
	if (is_left_out(ctx))
		return ctx->state;
	ctx->pkt = pkt;
	return call_hook(ctx, KR_HOOK_PRODUCE);
}

static int on_checkout(kr_layer_t *ctx, knot_pkt_t *pkt, struct sockaddr *dst, int type)
{
	if (is_left_out(ctx))
		return ctx->state;
	ctx->pkt = pkt;
	ctx->dst = dst;
	ctx->is_stream = type == SOCK_STREAM;
	return call_hook(ctx, KR_HOOK_CHECKOUT);
}

static int on_answer_finalize(kr_layer_t *ctx)
{
	return call_hook(ctx, KR_HOOK_ANSWER_FINALIZE);
}

/* Rules that are compiled: the module's function is called if it has to be asked. */

static int after_compiled(kr_layer_t *ctx, enum kr_hook hook, int state)
{
	const bool has_hook = ctx->api->cb_slots[hook] != LUA_NOREF;
	if (state == KR_RULES_ASK && hook == KR_HOOK_FINISH)
		ctx->pkt = ctx->req->answer;
	return state != KR_RULES_ASK ? state : has_hook ? call_hook(ctx, hook) : ctx->state;
}

static int on_begin_compiled(kr_layer_t *ctx)
{
	const struct lua_module *lm = ctx->api->data;
	return after_compiled(ctx, KR_HOOK_BEGIN, lm->compiled->begin(ctx));
}

static int on_finish_compiled(kr_layer_t *ctx)
{
	const struct lua_module *lm = ctx->api->data;
	return after_compiled(ctx, KR_HOOK_FINISH, lm->compiled->finish(ctx));
}

static int on_answer_finalize_compiled(kr_layer_t *ctx)
{
	const struct lua_module *lm = ctx->api->data;
	return after_compiled(ctx, KR_HOOK_ANSWER_FINALIZE, lm->compiled->answer_finalize(ctx));
}

/** Put the hooks in C before those in Lua. */
static void api_put_compiled(kr_layer_api_t *api, const kr_layer_api_t *compiled)
{
	if (compiled->begin)
		api->begin = on_begin_compiled;
	if (compiled->finish)
		api->finish = on_finish_compiled;
	if (compiled->answer_finalize)
		api->answer_finalize = on_answer_finalize_compiled;
	api->repeated = compiled->repeated;
}

/** Let the table have a function for each hook that the Lua module has. */
static void api_fill(kr_layer_api_t *api)
{
#define HOOK(field, which) api->field = api->cb_slots[which] != LUA_NOREF ? on_##field : NULL
	HOOK(begin, KR_HOOK_BEGIN);
	HOOK(reset, KR_HOOK_RESET);
	HOOK(finish, KR_HOOK_FINISH);
	HOOK(consume, KR_HOOK_CONSUME);
	HOOK(produce, KR_HOOK_PRODUCE);
	HOOK(checkout, KR_HOOK_CHECKOUT);
	HOOK(answer_finalize, KR_HOOK_ANSWER_FINALIZE);
#undef HOOK
}

/** Is the option set in the table at the top of the stack? */
static bool option(lua_State *L, const char *name)
{
	lua_getfield(L, -1, name);
	const bool is_set = lua_toboolean(L, -1);
	lua_pop(L, 1);
	return is_set;
}

/** Which questions the table at the top of the stack asks for. */
static void read_filter(lua_State *L, struct filter *filter)
{
	lua_getfield(L, -1, "qtypes");
	for (int i = 1; lua_istable(L, -1) && i <= QTYPES_MAX; ++i) {
		lua_rawgeti(L, -1, i);
		if (lua_isnumber(L, -1))
			filter->qtypes[filter->qtypes_len++] = lua_tonumber(L, -1);
		lua_pop(L, 1);
	}
	lua_pop(L, 1);
	lua_getfield(L, -1, "first_label");
	size_t len = 0;
	const char *label = lua_tolstring(L, -1, &len);
	if (label && len < sizeof(filter->first_label)) {
		memcpy(filter->first_label, label, len);
		filter->label_len = len;
	}
	lua_pop(L, 1);
}

#define LABELS_MAX 1024

/** Labels in wire form, one after another, from the list in a field of the table at the top. */
static uint8_t *labels_new(lua_State *L, const char *field)
{
	uint8_t *labels = calloc(1, LABELS_MAX);
	size_t used = 0;
	lua_getfield(L, -1, field);
	for (int i = 1; labels && i < LABELS_MAX; ++i) {
		lua_rawgeti(L, -1, i);
		size_t len = 0;
		const char *text = lua_tolstring(L, -1, &len);
		if (text && len > 0 && len <= KNOT_DNAME_MAXLABELLEN &&
			used + 1 + len < LABELS_MAX) {
			labels[used] = len;
			memcpy(labels + used + 1, text, len);
			used += 1 + len;
		}
		lua_pop(L, 1);
		if (!text)
			break;
	}
	lua_pop(L, 1);
	return labels;
}

static bool has_label(const uint8_t *labels, const uint8_t *label, bool is_prefix)
{
	for (const uint8_t *at = labels; *at; at += 1 + *at) {
		const size_t len = *at;
		if ((is_prefix ? label[0] >= len : label[0] == len) &&
			memcmp(at + 1, label + 1, len) == 0)
			return true;
	}
	return false;
}

static bool lua_concerns(const kr_layer_api_t *api, const struct kr_quick_question *question)
{
	const struct lua_module *lm = api->data;
	const uint8_t *label = question->name;
	if (*label == 0)
		return false;
	if (has_label(lm->prefixes, label, true))
		return true;
	while (label[1 + label[0]] != 0)
		label += 1 + label[0];
	return has_label(lm->tlds, label, false);
}

/** What the layer says it cares for: {tlds = {...}, prefixes = {...}} */
static void read_concerns(lua_State *L, struct lua_module *lm)
{
	lua_getfield(L, -1, "concerns");
	if (lua_istable(L, -1)) {
		lm->tlds = labels_new(L, "tlds");
		lm->prefixes = labels_new(L, "prefixes");
		if (lm->tlds && lm->prefixes)
			lm->api->concerns =
				*lm->tlds || *lm->prefixes ? lua_concerns : kr_layer_unconcerned;
	}
	lua_pop(L, 1);
}

/** Bind the hooks of the table at the top of the stack. @return NULL if out of memory */
static kr_layer_api_t *api_new(lua_State *L, struct lua_module *lm)
{
	kr_layer_api_t *api = calloc(1, sizeof(*api) + KR_HOOK_COUNT * sizeof(int));
	if (!api)
		return NULL;
	api->data = lm;
	for (int i = 0; i < KR_HOOK_COUNT; ++i) {
		lua_getfield(L, -1, hook_names[i]);
		if (lua_isfunction(L, -1)) {
			api->cb_slots[i] = luaL_ref(L, LUA_REGISTRYINDEX);
		} else {
			api->cb_slots[i] = LUA_NOREF;
			lua_pop(L, 1);
		}
	}
	api_fill(api);
	api->is_skippable = option(L, "skippable");
	read_filter(L, &lm->filter);
	lm->skips_errors = option(L, "skips_errors");
	lm->sees_failures = option(L, "sees_failures");
	lua_getfield(L, -1, "max_errors");
	lm->errors_max = lua_tonumber(L, -1);
	lua_pop(L, 1);
	lm->compiled = option(L, "compiled") ? kr_rules_layer(lm->name) : NULL;
	if (lm->compiled)
		api_put_compiled(api, lm->compiled);
	return api;
}

static void lua_module_free(lua_State *L, struct lua_module *lm)
{
	for (int i = 0; lm->api && i < KR_HOOK_COUNT; ++i)
		luaL_unref(L, LUA_REGISTRYINDEX, lm->api->cb_slots[i]);
	luaL_unref(L, LUA_REGISTRYINDEX, lm->table_ref);
	free(lm->api);
	free(lm->name);
	free(lm->tlds);
	free(lm->prefixes);
	free(lm);
}

/** Free, but not under the feet of a hook that is running. */
static void lua_module_release(lua_State *L, struct lua_module *lm)
{
	lm->is_gone = true;
	lm->next_gone = gone;
	gone = lm;
	while (gone && the_resolver->walks == 0) {
		struct lua_module *next = gone->next_gone;
		lua_module_free(L, gone);
		gone = next;
	}
}

/** Marks kr_module::init of Lua modules; it is never called. */
static int lua_module_init(struct kr_module *module)
{
	return kr_ok();
}

bool ffi_layer_is_lua(const struct kr_module *module)
{
	return module->init == lua_module_init;
}

int ffi_layer_set_skippable(struct engine *engine, struct kr_module *module, bool is_skippable)
{
	struct lua_module *lm = ffi_layer_is_lua(module) ? module->data : NULL;
	if (!lm)
		return kr_error(ENOTSUP);
	if (!lm->api || lm->api->is_skippable == is_skippable)
		return kr_ok();
	lm->api->is_skippable = is_skippable;
	return kr_modules_changed(&engine->resolver);
}

uint64_t ffi_layer_errors(const struct kr_module *module)
{
	const struct lua_module *lm = ffi_layer_is_lua(module) ? module->data : NULL;
	return lm ? lm->errors_all : 0;
}

void ffi_layer_push(struct engine *engine, const struct kr_module *module)
{
	const struct lua_module *lm = module->data;
	lua_rawgeti(engine->L, LUA_REGISTRYINDEX, lm->table_ref);
}

/** Fill the module from the loader's results: table of the module, table of trampolines or nil. */
static int module_bind(lua_State *L, struct kr_module *module, const char *name)
{
	struct lua_module *lm = calloc(1, sizeof(*lm));
	if (!lm)
		return kr_error(ENOMEM);
	lm->name = strdup(name);
	lm->table_ref = LUA_NOREF;
	lm->errors_since_ms = the_resolver->now_ms;
	if (lm->name && lua_istable(L, -1))
		lm->api = api_new(L, lm);
	if (!lm->name || (lua_istable(L, -1) && !lm->api)) {
		lua_module_free(L, lm);
		return kr_error(ENOMEM);
	}
	if (lm->api)
		read_concerns(L, lm);
	lua_pushvalue(L, -2);
	lm->table_ref = luaL_ref(L, LUA_REGISTRYINDEX);
	module->init = lua_module_init;
	module->layer = lm->api;
	module->data = lm;
	return kr_ok();
}

int ffi_layer_load(struct engine *engine, struct kr_module *module, const char *name)
{
	lua_State *L = engine->L;
	const int top = lua_gettop(L);
	int ret = kr_error(EINVAL);
	lua_getfield(L, LUA_REGISTRYINDEX, LOADER_KEY);
	lua_getfield(L, -1, "load");
	lua_pushstring(L, name);
	if (engine_pcall(L, 1, 2, GUARD_CONFIG_MS) != 0) {
		kr_log_error(SYSTEM, "module %s: %s\n", name, lua_tostring(L, -1));
		goto cleanup;
	}
	if (!lua_istable(L, -2)) {
		kr_log_error(SYSTEM, "module %s: %s\n", name, lua_tostring(L, -1));
		ret = kr_error(ENOENT);
		goto cleanup;
	}
	ret = module_bind(L, module, name);
	if (ret != 0)
		goto cleanup;
	const int table_at = lua_gettop(L) - 1;
	lua_getfield(L, top + 1, "init");
	lua_pushvalue(L, table_at);
	lua_pushlightuserdata(L, module);
	if (engine_pcall(L, 2, 0, GUARD_CONFIG_MS) != 0) {
		kr_log_error(SYSTEM, "module %s, init: %s\n", name, lua_tostring(L, -1));
		lua_module_release(L, module->data);
		module->data = NULL;
		module->layer = NULL;
		module->init = NULL;
		ret = kr_error(EINVAL);
	}
cleanup:
	lua_settop(L, top);
	return ret;
}

void ffi_layer_unload(struct engine *engine, struct kr_module *module)
{
	lua_State *L = engine->L;
	const int top = lua_gettop(L);
	lua_getfield(L, LUA_REGISTRYINDEX, LOADER_KEY);
	lua_getfield(L, -1, "deinit");
	ffi_layer_push(engine, module);
	lua_pushlightuserdata(L, module);
	if (engine_pcall(L, 2, 0, GUARD_CONFIG_MS) != 0)
		kr_log_error(SYSTEM, "module %s, deinit: %s\n", module->name, lua_tostring(L, -1));
	lua_settop(L, top);
	lua_module_release(L, module->data);
	module->data = NULL;
	module->layer = NULL;
}

/** trace_finish of requests started from Lua. */
static void on_request_finish(struct kr_request *req)
{
	lua_State *L = the_engine->L;
	const int top = lua_gettop(L);
	if (!lua_checkstack(L, HOOK_STACK)) {
		kr_log_error(SYSTEM, "error: finish of a query: the Lua stack is full\n");
		return;
	}
	lua_getfield(L, LUA_REGISTRYINDEX, FINISH_CALL_KEY);
	lua_getfield(L, LUA_REGISTRYINDEX, FINISH_KEY);
	lua_pushlightuserdata(L, req);
	lua_rawget(L, -2);
	lua_pushlightuserdata(L, req); /* forget it first: the function may start other queries */
	lua_pushnil(L);
	lua_rawset(L, -4);
	lua_remove(L, -2);
	kr_layer_t_static = (kr_layer_t){.state = req->state, .req = req, .pkt = req->answer};
	if (lua_isfunction(L, -1) && engine_pcall(L, 1, 0, GUARD_HOOK_MS) != 0)
		kr_log_error(SYSTEM, "error: finish of a query: %s\n", lua_tostring(L, -1));
	lua_settop(L, top);
}

/** Call a function of the registry that takes the request from kr_layer_t_static. */
static void call_listeners(const struct kr_request *req, const char *key, const char *msg)
{
	lua_State *L = the_engine ? the_engine->L : NULL;
	if (!L || !lua_checkstack(L, HOOK_STACK))
		return;
	const int top = lua_gettop(L);
	lua_getfield(L, LUA_REGISTRYINDEX, key);
	lua_pushstring(L, msg);
	const kr_layer_t saved =
		kr_layer_t_static; /* a hook may log before it took its arguments */
	kr_layer_t_static = (kr_layer_t){.state = req->state, .req = (struct kr_request *)req};
	if (engine_pcall(L, 1, 0, GUARD_HOOK_MS) != 0)
		kr_log_error(SYSTEM, "error: trace of a query: %s\n", lua_tostring(L, -1));
	kr_layer_t_static = saved;
	lua_settop(L, top);
}

void ffi_trace_log(const struct kr_request *req, const char *msg)
{
	call_listeners(req, "kres.trace_log", msg);
}

void ffi_trace_finish(struct kr_request *req)
{
	call_listeners(req, "kres.trace_finish", NULL);
}

void ffi_request_on_finish(lua_State *L, struct kr_request *req)
{
	lua_getfield(L, LUA_REGISTRYINDEX, FINISH_KEY);
	lua_pushlightuserdata(L, req);
	lua_pushvalue(L, -3);
	lua_rawset(L, -3);
	lua_pop(L, 2);
	req->trace_finish = on_request_finish;
}

void ffi_request_free(struct kr_request *req)
{
	if (req->vars_ref < 0 || !the_engine || !the_engine->L)
		return;
	lua_State *L = the_engine->L;
	lua_getglobal(L, "worker");
	lua_getfield(L, -1, "vars");
	if (lua_istable(L, -1))
		luaL_unref(L, -1, req->vars_ref);
	lua_pop(L, 2);
	req->vars_ref = -2;
}
