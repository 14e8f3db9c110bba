/* SPDX-License-Identifier: GPL-3.0-or-later */

#include "lib/module.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/resolve.h"
#include "lib/utils.h"
#include "lib/layer/cache.h"
#include "lib/layer/iterate.h"
#include "lib/layer/validate.h"

static const struct {
	const char *name;
	kr_module_init_cb init;
} embedded[] = {
	{"iterate", iterate_init},
	{"validate", validate_init},
	{"cache", cache_init},
};

kr_module_init_cb kr_module_get_embedded(const char *name)
{
	for (size_t i = 0; i < KR_COUNT_OF(embedded); ++i) {
		if (strcmp(embedded[i].name, name) == 0)
			return embedded[i].init;
	}
	return NULL;
}

static void *find_symbol(void *lib, const char *module, const char *suffix)
{
	char symbol[128];
	const int len = snprintf(symbol, sizeof(symbol), "%s_%s", module, suffix);
	return len > 0 && (size_t)len < sizeof(symbol) ? dlsym(lib, symbol) : NULL;
}

/** Open the shared object of a module. @return 0; ENOENT no such file; ELIBBAD it does not load */
static int open_library(struct kr_module *module, const char *name, const char *path)
{
	char file[PATH_MAX];
	const int len = path ? snprintf(file, sizeof(file), "%s/%s.so", path, name) : -1;
	if (len <= 0 || (size_t)len >= sizeof(file) || access(file, F_OK) != 0)
		return kr_error(ENOENT);
	module->lib = dlopen(file, RTLD_NOW);
	if (!module->lib) {
		kr_log_error(MODULE, "cannot load '%s': %s\n", file, dlerror());
		return kr_error(ELIBBAD);
	}
	return kr_ok();
}

static int bind_symbols(struct kr_module *module, const char *name)
{
	void *lib = module->lib ? module->lib : RTLD_DEFAULT;
	uint32_t (*api)(void) = find_symbol(lib, name, "api");
	if (!api)
		return kr_error(ENOENT);
	if (api() != KR_MODULE_API) {
		kr_log_error(MODULE,
			"module '%s' has unsupported ABI %#x, %#x is needed: rebuild it\n", name,
			api(), KR_MODULE_API);
		return kr_error(ENOTSUP);
	}
	if (find_symbol(lib, name, "layer") || find_symbol(lib, name, "props")) {
		kr_log_error(MODULE,
			"module '%s' uses the old way of telling its layer or properties: "
			"set them in %s_init() instead\n",
			name, name);
		return kr_error(ENOTSUP);
	}
	module->init = find_symbol(lib, name, "init");
	module->deinit = find_symbol(lib, name, "deinit");
	module->config = find_symbol(lib, name, "config");
	return kr_ok();
}

static int find_module(struct kr_module *module, const char *name, const char *path)
{
	module->init = kr_module_get_embedded(name);
	if (module->init)
		return kr_ok();
	int ret = open_library(module, name, path);
	if (ret != 0 && ret != kr_error(ENOENT))
		return ret;
	return bind_symbols(module, name);
}

int kr_module_load(struct kr_module *module, const char *name, const char *path)
{
	if (!module || !name)
		return kr_error(EINVAL);
	module->name = strdup(name);
	if (!module->name)
		return kr_error(ENOMEM);
	int ret = find_module(module, name, path);
	if (ret == 0 && module->init) {
		ret = module->init(module);
		if (ret != 0)
			kr_log_error(MODULE, "module '%s': %s_init() failed: %s\n", name, name,
				kr_strerror(ret));
	}
	if (ret != 0)
		kr_module_unload(module);
	return ret;
}

void kr_module_unload(struct kr_module *module)
{
	if (!module)
		return;
	if (module->deinit)
		module->deinit(module);
	free(module->name);
	/* The object stays mapped: its code may still be on the stack. */
	memset(module, 0, sizeof(*module));
}

char *kr_module_call(
	struct kr_context *ctx, const char *module, const char *prop, const char *input)
{
	if (!ctx || !ctx->modules || !module || !prop)
		return NULL;
	for (size_t i = 0; i < ctx->modules->len; ++i) {
		struct kr_module *mod = ctx->modules->at[i];
		if (strcmp(mod->name, module) != 0)
			continue;
		for (const struct kr_prop *p = mod->props; p && p->name; ++p) {
			if (p->cb && strcmp(p->name, prop) == 0)
				return p->cb(ctx, mod, input);
		}
	}
	return NULL;
}

static bool has_hook(const kr_layer_api_t *api, enum kr_hook hook)
{
	switch (hook) {
	case KR_HOOK_BEGIN:
		return api->begin;
	case KR_HOOK_RESET:
		return api->reset;
	case KR_HOOK_FINISH:
		return api->finish;
	case KR_HOOK_CONSUME:
		return api->consume;
	case KR_HOOK_PRODUCE:
		return api->produce;
	case KR_HOOK_CHECKOUT:
		return api->checkout;
	case KR_HOOK_ANSWER_FINALIZE:
		return api->answer_finalize;
	default:
		return false;
	}
}

bool kr_layer_unconcerned(const kr_layer_api_t *api, const struct kr_quick_question *question)
{
	return false;
}

/** Layers that are told of repeated answers, and those to be asked before the short way. */
static int list_repeat_hooks(struct kr_context *ctx, size_t count)
{
	const kr_layer_api_t **repeat = calloc(count + 1, sizeof(*repeat));
	const kr_layer_api_t **concern = calloc(count + 1, sizeof(*concern));
	if (!repeat || !concern) {
		free(repeat);
		free(concern);
		return kr_error(ENOMEM);
	}
	size_t repeat_len = 0, concern_len = 0;
	ctx->layers_skippable = ctx->layers_quick = true;
	for (size_t i = 0; i < count; ++i) {
		const kr_layer_api_t *api = ctx->modules->at[i]->layer;
		if (!api)
			continue;
		if (api->repeated)
			repeat[repeat_len++] = api;
		else if (!api->is_skippable)
			ctx->layers_skippable = false;
		if (!api->concerns)
			ctx->layers_quick = false;
		else if (api->concerns != kr_layer_unconcerned)
			concern[concern_len++] = api;
	}
	free(ctx->repeat_hooks);
	free(ctx->concern_hooks);
	ctx->repeat_hooks = repeat;
	ctx->concern_hooks = concern;
	return kr_ok();
}

/* ---- stand-in for layers that go away while a walk is under way ---- */

static int keep_state(kr_layer_t *ctx)
{
	return ctx->state;
}

static int keep_state_pkt(kr_layer_t *ctx, knot_pkt_t *pkt)
{
	return ctx->state;
}

static int keep_state_checkout(kr_layer_t *ctx, knot_pkt_t *pkt, struct sockaddr *dst, int type)
{
	return ctx->state;
}

static const kr_layer_api_t gone = {
	.begin = keep_state,
	.reset = keep_state,
	.finish = keep_state,
	.consume = keep_state_pkt,
	.produce = keep_state_pkt,
	.checkout = keep_state_checkout,
	.answer_finalize = keep_state,
};

static bool is_loaded(const struct kr_context *ctx, const kr_layer_api_t *api)
{
	for (size_t i = 0; i < ctx->modules->len; ++i)
		if (ctx->modules->at[i]->layer == api)
			return true;
	return false;
}

/** Hooks of unloaded modules must not be called by walks that go on over former arrays. */
static void retire(struct kr_context *ctx)
{
	for (size_t i = 0; i < ctx->hooks_retired.len; ++i) {
		const kr_layer_api_t **at = ctx->hooks_retired.at[i];
		if (ctx->walks == 0)
			free(at);
		for (; ctx->walks > 0 && *at; ++at)
			if (!is_loaded(ctx, *at))
				*at = &gone;
	}
	if (ctx->walks == 0)
		ctx->hooks_retired.len = 0;
}

int kr_modules_changed(struct kr_context *ctx)
{
	const size_t count = ctx->modules ? ctx->modules->len : 0;
	const kr_layer_api_t **fresh[KR_HOOK_COUNT] = {NULL};
	if (array_reserve(ctx->hooks_retired, ctx->hooks_retired.len + KR_HOOK_COUNT) < 0)
		return kr_error(ENOMEM);
	for (int hook = 0; hook < KR_HOOK_COUNT; ++hook) {
		fresh[hook] = calloc(count + 1, sizeof(*fresh[hook]));
		if (!fresh[hook]) {
			while (hook > 0)
				free(fresh[--hook]);
			return kr_error(ENOMEM);
		}
		size_t n = 0;
		for (size_t i = 0; i < count; ++i) {
			const kr_layer_api_t *api = ctx->modules->at[i]->layer;
			if (api && has_hook(api, hook))
				fresh[hook][n++] = api;
		}
	}
	for (int hook = 0; hook < KR_HOOK_COUNT; ++hook) {
		if (ctx->hooks[hook])
			array_push(ctx->hooks_retired, ctx->hooks[hook]);
		ctx->hooks[hook] = fresh[hook];
	}
	retire(ctx);
	ctx->generation += 1;
	return list_repeat_hooks(ctx, count);
}
