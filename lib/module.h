/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Modules: named guests that bring a layer, properties callable from Lua, or both.
 * Finding and loading of C modules is done here; Lua modules are filled in by the daemon.
 */
#pragma once

#include "lib/defines.h"
#include "lib/layer.h"
#include "lib/generic/array.h"

struct kr_context;
struct kr_module;

/** Number of the module ABI; differs from every 5.x release because structures differ. */
#define KR_MODULE_API ((uint32_t)0x20261122)

/**
 * A property: text in, text out.
 * @param env    struct kr_context of the process
 * @param self   the module
 * @param input  argument, JSON for tables and booleans; NULL = none. Borrowed.
 * @return malloc()ed text that the caller frees, or NULL
 */
typedef char *(kr_prop_cb)(void *env, struct kr_module *self, const char *input);

/** One property; an array of them ends with all fields NULL. */
struct kr_prop {
	kr_prop_cb *cb;
	const char *name;
	const char *info;
};

/** A loaded module. */
struct kr_module {
	char *name;

	int (*init)(struct kr_module *self);
	int (*deinit)(struct kr_module *self);
	int (*config)(struct kr_module *self, const char *input);

	const kr_layer_api_t *layer; /**< owned by the module */
	const struct kr_prop *props; /**< owned by the module */

	void *lib;  /**< dlopen() handle; NULL for built-in and Lua modules */
	void *data; /**< module's own; the context before init() ran */
};

typedef array_t(struct kr_module *) module_array_t;
typedef int (*kr_module_init_cb)(struct kr_module *);

/** Mark a shared object as a C module of this ABI. */
#define KR_MODULE_EXPORT(module)                                                                   \
	KR_EXPORT uint32_t module##_api(void);                                                     \
	KR_EXPORT uint32_t module##_api(void)                                                      \
	{                                                                                          \
		return KR_MODULE_API;                                                              \
	}

/**
 * Load a C module: built-in, shared object in `path`, or symbols of the process. Runs its init().
 * @param module  zeroed; filled in
 * @param name    module name
 * @param path    directory with NAME.so; NULL = built-in and process symbols only
 * @return 0; kr_error(ENOENT) no such C module (try Lua); kr_error(ENOTSUP) foreign ABI;
 *         kr_error(ELIBBAD) the file exists but cannot be loaded (logged); what init() returned
 */
KR_EXPORT
int kr_module_load(struct kr_module *module, const char *name, const char *path);

/** Run deinit() and forget the module; the shared object stays mapped. */
KR_EXPORT
void kr_module_unload(struct kr_module *module);

/** init() function of a built-in layer (iterate, validate, cache) or NULL. */
KR_EXPORT
kr_module_init_cb kr_module_get_embedded(const char *name);

/**
 * Call a property of a loaded module.
 * @return malloc()ed text or NULL (no such module or property, or no result)
 */
KR_EXPORT
char *kr_module_call(
	struct kr_context *ctx, const char *module, const char *prop, const char *input);

/**
 * Rebuild the per-hook dispatch arrays of the context; call after every change of ctx->modules.
 * @return 0 or kr_error(ENOMEM) (arrays stay as they were)
 */
KR_EXPORT
int kr_modules_changed(struct kr_context *ctx);
