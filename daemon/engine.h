/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * The one context structure of the process; opens the other rooms in order and closes them in
 * reverse.
 */
#pragma once

#include "daemon/network.h"
#include "daemon/worker.h"
#include "lib/log.h"
#include "lib/module.h"
#include "lib/resolve.h"

struct lua_State;

/** Where the cache was opened by the configuration. */
struct engine_cache_place {
	const struct kr_cdb_api *api;
	char *path; /**< NULL = not opened */
	size_t size;
	bool is_moved; /**< it was another one before: in a change of configuration that may fail */
};

/** What holds before any configuration: built in, or from the command line. */
struct engine_start {
	kr_log_level_t log_level;
	size_t tcp_pipeline_max;
	size_t l0_bytes; /**< of the answer cache; 0 = off */
	bool assertion_abort;
	int assertion_fork;
};

struct engine {
	struct network net;
	struct kr_context resolver;
	module_array_t modules;
	array_t(const struct kr_cdb_api *) backends; /**< the first is LMDB */
	knot_mm_t *pool;
	char *hostname;
	struct lua_State *L;
	struct worker_ctx worker;
	struct netio *io;
	struct engine_start start;
	struct engine_cache_place cache_place;
	size_t cache_size; /**< with which the cache was opened; 0 = closed */
	bool is_rehearsal; /**< --check: nothing outside of the process is changed */
	bool is_stopping;  /**< quit() was called, maybe before the loop ran */
	int exit_status;
	bool is_quiet; /**< -q: no prompts */
};

KR_EXPORT extern struct engine *the_engine;

/**
 * Open everything but sockets: context, Lua state with bindings and the sandbox, worker over `io`.
 * @param io  network implementation: libuv's in the daemon, the simulator's in tests
 */
int engine_init(struct engine *engine, struct netio *io);
/** Load the sandbox and built-in modules; the default trust anchors. */
int engine_load_sandbox(struct engine *engine);
/** A new Lua state with the bindings, not watched by the guard. @return 0 or kr_error(ENOMEM) */
int engine_lua_open(struct engine *engine);
/** Unload modules, end events and imports, close the Lua state. */
void engine_lua_close(struct engine *engine);
/** Run a configuration file; errors are logged. */
int engine_loadconf(struct engine *engine, const char *path);
/** Text of a configuration file as a function at the top of the stack, or an error text there.
 * @return 0 or LUA_ERR* */
int engine_compile(struct lua_State *L, const char *path);
/** Check configuration files (kres_check.lua) of an engine that is_rehearsal. @return number of
 * problems, which were printed */
int engine_check(struct engine *engine, const char *const *files, size_t count);
/** Text of the last error of a configuration, until the next one. */
const char *engine_config_error(void);
/**
 * Open the cache, or keep it if it is this one already.
 * @param path  of its folder; copied
 */
int engine_cache_open(
	struct engine *engine, const struct kr_cdb_api *api, const char *path, size_t size);
void engine_cache_close(struct engine *engine);
/** Run a piece of Lua as if it were a configuration file. @param name for error messages */
int engine_loadstr(struct engine *engine, const char *code, const char *name);
/** Evaluate a console line. @param[out] out malloc()ed text or NULL @return 0, or 1 if it is an
 * error's text */
int engine_cmd(struct engine *engine, const char *line, bool raw, char **out);
/** Same with the result as one JSON object: {"ok":bool,"result":value} or
 * {"ok":false,"error":text}. */
int engine_cmd_json(struct engine *engine, const char *line, char **out);
/** What engine_cmd_json() would give for an error. @return malloc()ed or NULL */
char *engine_json_error(struct engine *engine, const char *error);
/**
 * lua_pcall() whose error value is a text with traceback.
 * @param limit_ms  CPU time after which the function is stopped (daemon/guard.h)
 */
int engine_pcall(struct lua_State *L, int argc, int retc, unsigned limit_ms);
/** Place in the registry of the message handler of engine_pcall(), for those who call by
 * themselves. */
extern int engine_traceback_ref;
/** Leave the loop; the process ends with this status. */
void engine_stop(struct engine *engine, int exit_status);
/** Defaults for what the configuration left open (cache, root hints). */
int engine_start_defaults(struct engine *engine);
/** Unload modules, close Lua, worker and cache. */
void engine_deinit(struct engine *engine);

/** @return 0; kr_error(ENOENT), kr_error(EIDRM) precedence module missing, kr_error(EINVAL) ... */
int engine_register(
	struct engine *engine, const char *name, const char *precedence, const char *ref);
/** Unload; the others keep their order. */
int engine_unregister(struct engine *engine, const char *name);
/** Replace root addresses from a zone file (NULL: the built-in path). @return NULL or an error text
 */
KR_EXPORT
const char *engine_hint_root_file(struct kr_context *ctx, const char *file);
/** Name of this host as configured or known by the system. */
const char *engine_hostname(struct engine *engine);
int engine_set_hostname(struct engine *engine, const char *hostname);
