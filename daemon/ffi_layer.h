/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Lua functions as a layer. The hooks of a Lua module are bound once, when it is loaded, to
 * references in the registry; a call is then one protected call. What a hook is called with is
 * handed over in kr_layer_t_static, from which daemon/lua/kres.lua takes typed pointers.
 */
#pragma once

#include <libknot/rrset-dump.h>
#include <lua.h>

#include "lib/layer.h"
#include "lib/module.h"

struct engine;
struct kr_request;

/** How records are printed for people. */
KR_EXPORT extern const knot_dump_style_t KR_DUMP_STYLE_DEFAULT;
/** Arguments of the hook being called; read by the trampolines before anything else can run. */
KR_EXPORT extern kr_layer_t kr_layer_t_static;

/**
 * Load a Lua module: find the file, set its global, bind its hooks, run its init.
 * @return 0; kr_error(ENOENT) no such module; kr_error(EINVAL) an error in it. The reason is
 * logged.
 */
int ffi_layer_load(struct engine *engine, struct kr_module *module, const char *name);
/** Is this a module made by ffi_layer_load()? */
bool ffi_layer_is_lua(const struct kr_module *module);
/** Run the deinit function and let go of the module's references. */
void ffi_layer_unload(struct engine *engine, struct kr_module *module);
/**
 * Say whether the hooks of a Lua module need not see repeated answers (kr_layer_api::is_skippable).
 * @return 0; kr_error(ENOTSUP) it is a C module, which knows by itself
 */
int ffi_layer_set_skippable(struct engine *engine, struct kr_module *module, bool is_skippable);
/** Errors in hooks of the module since it was loaded; 0 for C modules. */
uint64_t ffi_layer_errors(const struct kr_module *module);
/** Push the module's table. */
void ffi_layer_push(struct engine *engine, const struct kr_module *module);

/** @name Lua functions that belong to a request @{ */
/**
 * Remember the Lua function at the top of the stack as the one to call when the request is
 * finished, and set req->trace_finish. The function is popped.
 */
void ffi_request_on_finish(lua_State *L, struct kr_request *req);
/**
 * trace_log and trace_finish of requests that Lua functions listen to
 * (req:trace_chain_callbacks()): no callback of LuaJIT, of which there are few, is spent on them.
 */
KR_EXPORT void ffi_trace_log(const struct kr_request *req, const char *msg);
KR_EXPORT void ffi_trace_finish(struct kr_request *req);
/** To be called when a request is freed: lets go of req:vars(). */
void ffi_request_free(struct kr_request *req);
/** @} */
