/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/engine.h"

#include <fcntl.h>
#include <libzscanner/scanner.h>
#include <limits.h>
#include <luajit.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "daemon/bindings/impl.h"
#include "daemon/ffi_layer.h"
#include "daemon/guard.h"
#include "daemon/libdir.h"
#include "daemon/session.h"
#include "daemon/zimport.h"
#include "kresconfig.h"
#include "lib/check.h"
#include "lib/log.h"
#include "lib/utils.h"

struct engine *the_engine;
struct kr_context *the_resolver;

/** Connections that may wait to be accepted. */
#define TCP_BACKLOG 128
/** Field of the registry with the function that puts the place of the configuration into an error.
 */
#define CONFIG_ERROR_KEY "kres.config_error"
/** Longest configuration file, bytes. */
#define CONFIG_SIZE_MAX ((size_t)64 * 1024 * 1024)
/** How long a pipe with a configuration may say nothing, ms. */
#define CONFIG_PIPE_MS 1000

/* ---- Lua state ---- */

/** Message handler: texts without a traceback get one. */
static int add_traceback(lua_State *L)
{
	const char *text = lua_tostring(L, 1);
	if (!text) {
		if (!luaL_callmeta(L, 1, "__tostring"))
			lua_pushfstring(L, "(error object is a %s value)", luaL_typename(L, 1));
		lua_replace(L, 1);
		text = lua_tostring(L, 1);
	}
	if (text && strstr(text, "\nERROR: "))
		return 1; /* traced where it was raised */
	luaL_traceback(L, L, text, 1);
	return 1;
}

int engine_traceback_ref = LUA_NOREF;

int engine_pcall(lua_State *L, int argc, int retc, unsigned limit_ms)
{
	const int handler = lua_gettop(L) - argc;
	lua_rawgeti(L, LUA_REGISTRYINDEX, engine_traceback_ref);
	lua_insert(L, handler);
	const int saved = guard_enter(limit_ms);
	int ret = lua_pcall(L, argc, retc, handler);
	guard_leave(saved);
	lua_remove(L, handler);
	return ret;
}

/** Round trip time of a client's connection as the kernel knows it. */
static uint32_t client_rtt(const struct kr_request *req)
{
#ifdef TCP_INFO
	const struct session *session = worker_request_get_source_session(req);
	const uv_handle_t *handle = session ? session_get_handle(session) : NULL;
	struct tcp_info info = {0};
	socklen_t len = sizeof(info);
	uv_os_fd_t fd = -1;
	if (handle && uv_fileno(handle, &fd) == 0 &&
		getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0)
		return info.tcpi_rtt;
#endif
	return 0;
}

/** Prepend our folders to the paths on which Lua looks for modules. */
static void set_package_path(lua_State *L)
{
	const char *dir = kr_libdir();
	lua_getglobal(L, "package");
	lua_getfield(L, -1, "path");
	lua_pushfstring(L, "%s/?.lua;%s/?/init.lua;%s", dir, dir, lua_tostring(L, -1));
	lua_setfield(L, -3, "path");
	lua_pop(L, 1);
	lua_getfield(L, -1, "cpath");
	lua_pushfstring(L, "%s/?%s;%s", dir, LIBEXT, lua_tostring(L, -1));
	lua_setfield(L, -3, "cpath");
	lua_pop(L, 2);
}

static void seed_math_random(lua_State *L)
{
	lua_getglobal(L, "math");
	lua_getfield(L, -1, "randomseed");
	lua_pushnumber(L, kr_ctx_rnd32(the_resolver));
	lua_call(L, 1, 0);
	lua_pop(L, 1);
}

int engine_lua_open(struct engine *engine)
{
	lua_State *L = engine->L = luaL_newstate();
	if (!L)
		return kr_error(ENOMEM);
	luaL_openlibs(L);
	lua_pushcfunction(L, add_traceback);
	engine_traceback_ref = luaL_ref(L, LUA_REGISTRYINDEX);
	set_package_path(L);
	seed_math_random(L);
	lua_newtable(L);
	lua_setfield(L, LUA_REGISTRYINDEX, "kres.request_finish");
	luab_register_all(L);
	return kr_ok();
}

/* ---- Life ---- */

int engine_init(struct engine *engine, struct netio *io)
{
	the_engine = engine;
	the_resolver = &engine->resolver;
	engine->pool = calloc(1, sizeof(*engine->pool));
	if (!engine->pool)
		return kr_error(ENOMEM);
	mm_ctx_mempool2(engine->pool, 4096);
	int ret = engine->pool->ctx ? kr_context_init(&engine->resolver, engine->pool)
				    : kr_error(ENOMEM);
	if (ret != 0)
		return ret;
	engine->resolver.modules = &engine->modules;
	engine->resolver.client_rtt = client_rtt;
	array_push(engine->backends, kr_cdb_lmdb());
	network_init(&engine->net, engine->net.loop, TCP_BACKLOG);
	engine->net.worker = &engine->worker;
	engine->worker.engine = engine;
	engine->worker.loop = engine->net.loop;
	if (!engine->worker.count)
		engine->worker.count = 1;
	engine->io = io;
	ret = worker_init(&engine->worker, &engine->resolver, io);
	if (ret != 0)
		return ret;
	engine->worker.on_request_free = ffi_request_free;
	engine->start = (struct engine_start){.log_level = kr_log_level,
		.tcp_pipeline_max = engine->worker.tcp_pipeline_max,
		.l0_bytes = engine->worker.l0_enabled ? engine->worker.l0_max_bytes : 0,
		.assertion_abort = kr_dbg_assertion_abort,
		.assertion_fork = kr_dbg_assertion_fork};
	return engine_lua_open(engine);
}

int engine_load_sandbox(struct engine *engine)
{
	lua_State *L = engine->L;
	char path[PATH_MAX];
	snprintf(path, sizeof(path), "%s/sandbox.lua", kr_libdir());
	int ret = luaL_loadfile(L, path);
	if (ret == 0)
		ret = engine_pcall(L, 0, 0, GUARD_CONFIG_MS);
	if (ret != 0) {
		kr_log_error(SYSTEM, "error: cannot start the Lua environment (%s): %s\n", path,
			lua_tostring(L, -1));
		lua_pop(L, 1);
		return kr_error(EINVAL);
	}
	return kr_ok();
}

/** Unload modules from the last to the first. */
static void unload_modules(struct engine *engine)
{
	while (engine->modules.len > 0) {
		struct kr_module *module = array_tail(engine->modules);
		engine_unregister(engine, module->name);
	}
	array_clear(engine->modules);
}

void engine_lua_close(struct engine *engine)
{
	if (!engine->L)
		return;
	unload_modules(engine);
	luab_event_deinit();
	zi_deinit();
	guard_watch(NULL);
	lua_close(engine->L);
	engine->L = NULL;
}

void engine_deinit(struct engine *engine)
{
	if (!engine || the_engine != engine)
		return;
	/* Requests first: their finish hooks want the modules. Modules next: they may close
	 * endpoints. */
	worker_deinit(&engine->worker);
	if (engine->L) {
		unload_modules(engine);
		luab_event_deinit();
		zi_deinit();
	}
	network_deinit(&engine->net);
	kr_cache_close(&engine->resolver.cache);
	if (engine->L) {
		guard_stop();
		lua_close(engine->L);
		engine->L = NULL;
	}
	free(engine->cache_place.path);
	engine->cache_place = (struct engine_cache_place){0};
	kr_context_deinit(&engine->resolver);
	array_clear(engine->backends);
	free(engine->hostname);
	engine->hostname = NULL;
	if (engine->pool)
		mp_delete(engine->pool->ctx);
	free(engine->pool);
	engine->pool = NULL;
	the_engine = NULL;
	the_resolver = NULL;
}

void engine_stop(struct engine *engine, int exit_status)
{
	engine->is_stopping = true;
	engine->exit_status = exit_status;
	if (engine->net.loop)
		uv_stop(engine->net.loop);
}

/* ---- Running Lua ---- */

/** What went wrong last, for who asked for the configuration. */
static char config_error[2048];

const char *engine_config_error(void)
{
	return config_error;
}

static void log_config_error(lua_State *L)
{
	char dir[PATH_MAX] = "?";
	const char *text = lua_tostring(L, -1);
	if (!getcwd(dir, sizeof(dir)))
		dir[0] = '?';
	kr_log_error(SYSTEM, "error while loading config: %s (workdir '%s')\n", text, dir);
	/* The last line says it all. */
	const char *last = strstr(text, "\nERROR: ");
	snprintf(config_error, sizeof(config_error), "%s", last ? last + 8 : text);
}

/** Message handler: as written in Lua, else like everywhere. */
static int on_config_error(lua_State *L)
{
	add_traceback(L);
	lua_settop(L, 1);
	lua_getfield(L, LUA_REGISTRYINDEX, CONFIG_ERROR_KEY);
	if (!lua_isfunction(L, -1)) {
		lua_pop(L, 1);
		return 1;
	}
	lua_insert(L, 1);
	lua_call(L, 1, 1);
	return 1;
}

/** KRESD_CONFIG_LIMIT in the environment is in seconds of CPU time. */
static unsigned config_limit_ms(void)
{
	const char *text = getenv("KRESD_CONFIG_LIMIT");
	const long seconds = text ? strtol(text, NULL, 10) : 0;
	return seconds > 0 && seconds <= 3600 ? seconds * 1000 : GUARD_CONFIG_MS;
}

/** Run the chunk (or log the error text) at the top of the stack. */
static int run_config(lua_State *L, int load_result)
{
	if (load_result == 0) {
		/* Compiled code could not be stopped (daemon/guard.h). */
		luaJIT_setmode(L, -1, LUAJIT_MODE_ALLFUNC | LUAJIT_MODE_OFF);
		lua_pushcfunction(L, on_config_error);
		lua_insert(L, -2);
		const int saved = guard_enter(config_limit_ms());
		load_result = lua_pcall(L, 0, 0, -2);
		guard_leave(saved);
		lua_remove(L, load_result == 0 ? -1 : -2);
	}
	if (load_result == 0)
		return kr_ok();
	log_config_error(L);
	lua_pop(L, 1);
	return kr_error(EINVAL);
}

/** Read it, but never wait for a pipe into which nobody writes. @return malloc()ed text or NULL */
static char *read_config(const char *path, size_t *len, const char **why)
{
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	struct stat st;
	char *text = NULL;
	size_t room = 0;
	ssize_t got = 1;
	*len = 0;
	if (fd < 0 || fstat(fd, &st) != 0) {
		*why = strerror(errno);
		goto cleanup;
	}
	while (got != 0) {
		if (*len == room) {
			room = KR_MAX(2 * room, (size_t)64 * 1024);
			char *more = room <= CONFIG_SIZE_MAX ? realloc(text, room) : NULL;
			if (!more) {
				*why = "the file is too long";
				got = -1;
				break;
			}
			text = more;
		}
		struct pollfd wait = {.fd = fd, .events = POLLIN};
		if (S_ISFIFO(st.st_mode) && poll(&wait, 1, CONFIG_PIPE_MS) == 0) {
			*why = "it is a pipe and nothing comes out of it";
			got = -1;
			break;
		}
		got = read(fd, text + *len, room - *len);
		if (got < 0) {
			*why = strerror(errno);
			break;
		}
		*len += got;
	}
	if (got < 0) {
		free(text);
		text = NULL;
	}
cleanup:
	if (fd >= 0)
		close(fd);
	return text;
}

int engine_compile(lua_State *L, const char *path)
{
	const char *why = NULL;
	size_t len;
	char *text = read_config(path, &len, &why);
	if (!text) {
		lua_pushfstring(L, "%s: %s", path, why);
		return LUA_ERRFILE;
	}
	lua_pushfstring(L, "@%s", path);
	int ret = luaL_loadbuffer(L, text, len, lua_tostring(L, -1));
	lua_remove(L, -2);
	free(text);
	return ret;
}

int engine_loadconf(struct engine *engine, const char *path)
{
	return run_config(engine->L, engine_compile(engine->L, path));
}

int engine_loadstr(struct engine *engine, const char *code, const char *name)
{
	char chunk[256];
	snprintf(chunk, sizeof(chunk), "=%s", name);
	return run_config(engine->L, luaL_loadbuffer(engine->L, code, strlen(code), chunk));
}

int engine_check(struct engine *engine, const char *const *files, size_t count)
{
	lua_State *L = engine->L;
	int problems = 1;
	lua_getglobal(L, "_check");
	lua_createtable(L, (int)count, 0);
	for (size_t i = 0; i < count; ++i) {
		lua_pushstring(L, files[i]);
		lua_rawseti(L, -2, (int)i + 1);
	}
	const int saved = guard_enter(GUARD_CONFIG_MS);
	if (lua_pcall(L, 1, 1, 0) == 0)
		problems = (int)lua_tointeger(L, -1);
	else
		fprintf(stderr, "%s\n", lua_tostring(L, -1));
	guard_leave(saved);
	lua_pop(L, 1);
	return problems;
}

/** Call a global of the sandbox that turns a line into text. */
static int eval_line(
	struct engine *engine, const char *function, const char *line, bool raw, char **out)
{
	lua_State *L = engine->L;
	const int top = lua_gettop(L);
	*out = NULL;
	lua_getglobal(L, function);
	lua_pushstring(L, line);
	lua_pushboolean(L, raw);
	const int saved = guard_enter(GUARD_EVENT_MS);
	const int ret = lua_pcall(L, 2, LUA_MULTRET, 0);
	guard_leave(saved);
	if (ret != 0 && !lua_isstring(L, -1))
		lua_pushfstring(L, "(error object is a %s value)", luaL_typename(L, -1));
	if (lua_gettop(L) > top && lua_isstring(L, -1)) {
		size_t len;
		const char *text = lua_tolstring(L, -1, &len);
		*out = malloc(len + 1);
		if (*out)
			memcpy(*out, text, len + 1);
	}
	lua_settop(L, top);
	return ret != 0;
}

int engine_cmd(struct engine *engine, const char *line, bool raw, char **out)
{
	return eval_line(engine, "eval_cmd", line, raw, out);
}

int engine_cmd_json(struct engine *engine, const char *line, char **out)
{
	return eval_line(engine, "_eval_cmd_json", line, true, out);
}

char *engine_json_error(struct engine *engine, const char *error)
{
	lua_State *L = engine->L;
	const int top = lua_gettop(L);
	char *text = NULL;
	lua_getglobal(L, "tojson");
	lua_createtable(L, 0, 2);
	lua_pushboolean(L, false);
	lua_setfield(L, -2, "ok");
	lua_pushstring(L, error);
	lua_setfield(L, -2, "error");
	if (lua_pcall(L, 1, 1, 0) == 0 && lua_isstring(L, -1))
		text = strdup(lua_tostring(L, -1));
	lua_settop(L, top);
	return text;
}

int engine_start_defaults(struct engine *engine)
{
	static const char code[] = "_postconfig_defaults()";
	return engine_loadstr(engine, code, "defaults");
}

/* ---- Cache ---- */

/** Is it the folder of the cache that is open? */
static bool is_open_cache(struct engine *engine, const struct kr_cdb_api *api, const char *path)
{
	struct kr_cache *cache = &engine->resolver.cache;
	struct stat ours, theirs;
	if (!kr_cache_is_open(cache) || cache->api != api || !api->path)
		return false;
	return stat(api->path(cache->db), &ours) == 0 && stat(path, &theirs) == 0 &&
	       ours.st_dev == theirs.st_dev && ours.st_ino == theirs.st_ino;
}

int engine_cache_open(
	struct engine *engine, const struct kr_cdb_api *api, const char *path, size_t size)
{
	struct engine_cache_place *place = &engine->cache_place;
	char *copy = strdup(path);
	if (!copy)
		return kr_error(ENOMEM);
	/* While a configuration is tried, the cache may stay open from the one before. */
	const bool is_kept = engine->net.is_staging && !place->path && size == engine->cache_size &&
			     is_open_cache(engine, api, copy);
	free(place->path);
	*place = (struct engine_cache_place){
		.api = api, .path = copy, .size = size, .is_moved = place->is_moved};
	engine->resolver.generation += 1;
	if (is_kept)
		return kr_ok();
	place->is_moved = engine->net.is_staging;
	engine->cache_size = size;
	struct kr_cdb_opts opts = {.path = copy, .maxsize = size, .now = &engine->resolver.now};
	return kr_cache_open(&engine->resolver.cache, api, &opts, engine->pool);
}

void engine_cache_close(struct engine *engine)
{
	struct engine_cache_place *place = &engine->cache_place;
	free(place->path);
	*place = (struct engine_cache_place){.is_moved = engine->net.is_staging};
	engine->cache_size = 0;
	kr_cache_close(&engine->resolver.cache);
	engine->resolver.generation += 1;
}

/* ---- Modules ---- */

static ssize_t module_index(const struct engine *engine, const char *name)
{
	for (size_t i = 0; i < engine->modules.len; ++i)
		if (strcmp(engine->modules.at[i]->name, name) == 0)
			return i;
	return -1;
}

static void module_free(struct engine *engine, struct kr_module *module)
{
	if (ffi_layer_is_lua(module))
		ffi_layer_unload(engine, module);
	else
		kr_module_unload(module);
	free(module->name);
	free(module);
}

static struct kr_module *module_new(struct engine *engine, const char *name, int *ret)
{
	struct kr_module *module = calloc(1, sizeof(*module));
	char *copy = strdup(name);
	if (!module || !copy) {
		free(module);
		free(copy);
		*ret = kr_error(ENOMEM);
		return NULL;
	}
	char path[PATH_MAX];
	snprintf(path, sizeof(path), "%s/kres_modules", kr_libdir());
	module->data = &engine->resolver;
	*ret = kr_module_load(module, copy, path);
	if (!module->name)
		module->name = copy;
	else if (module->name != copy)
		free(copy);
	if (*ret == kr_error(ENOENT))
		*ret = ffi_layer_load(engine, module, name);
	if (*ret == 0)
		return module;
	free(module->name);
	free(module);
	return NULL;
}

/** Places of modules that would do nothing or harm anywhere else; for who gives none. */
static const struct {
	const char *name, *precedence, *ref;
} usual_places[] = {
	{"cookies", "<", "iterate"},
	{"hints", ">", "iterate"},
	{"rebinding", "<", "iterate"},
	{"serve_stale", "<", "cache"},
};

static void usual_place(const char *name, const char **precedence, const char **ref)
{
	for (size_t i = 0; !*precedence && i < KR_COUNT_OF(usual_places); ++i) {
		if (strcmp(name, usual_places[i].name) == 0) {
			*precedence = usual_places[i].precedence;
			*ref = usual_places[i].ref;
		}
	}
}

/** Where a new module goes, or an error. Anything but `<` and `>` means the end. */
static ssize_t wanted_position(const struct engine *engine, const char *precedence, const char *ref)
{
	if (!precedence || !ref || (strcmp(precedence, "<") != 0 && strcmp(precedence, ">") != 0))
		return engine->modules.len;
	ssize_t at = module_index(engine, ref);
	if (at < 0)
		return kr_error(EIDRM);
	return at + (precedence[0] == '>');
}

static void insert_at(module_array_t *modules, size_t at, struct kr_module *module)
{
	memmove(&modules->at[at + 1], &modules->at[at],
		(modules->len - at) * sizeof(modules->at[0]));
	modules->at[at] = module;
	modules->len += 1;
}

int engine_register(
	struct engine *engine, const char *name, const char *precedence, const char *ref)
{
	if (!name || !name[0])
		return kr_error(EINVAL);
	if (ref && strcmp(name, ref) == 0)
		return kr_error(EIDRM);
	usual_place(name, &precedence, &ref);
	ssize_t at = wanted_position(engine, precedence, ref);
	if (at < 0)
		return at;
	engine_unregister(engine, name);
	int ret = kr_ok();
	struct kr_module *module = module_new(engine, name, &ret);
	if (!module)
		return ret;
	at = wanted_position(engine, precedence, ref); /* init may have loaded others */
	if (at < 0)
		at = engine->modules.len;
	ret = array_reserve(engine->modules, engine->modules.len + 1);
	if (ret != 0) {
		module_free(engine, module);
		return ret;
	}
	insert_at(&engine->modules, at, module);
	engine->resolver.generation += 1;
	ret = kr_modules_changed(&engine->resolver);
	if (ret == 0)
		luab_module_table(engine, module);
	return ret;
}

int engine_unregister(struct engine *engine, const char *name)
{
	ssize_t at = module_index(engine, name);
	if (at < 0)
		return kr_error(ENOENT);
	module_array_t *modules = &engine->modules;
	struct kr_module *module = modules->at[at];
	modules->len -= 1;
	memmove(&modules->at[at], &modules->at[at + 1],
		(modules->len - at) * sizeof(modules->at[0]));
	engine->resolver.generation += 1;
	kr_modules_changed(&engine->resolver);
	luab_module_forget(engine, module);
	module_free(engine, module);
	return kr_ok();
}

void kr_uv_free_cb(uv_handle_t *handle)
{
	free(handle->data);
}

/* ---- Root hints, name of the host ---- */

static void on_root_record(zs_scanner_t *s)
{
	struct kr_zonecut *hints = s->process.data;
	const int len = s->r_type == KNOT_RRTYPE_A ? 4 : s->r_type == KNOT_RRTYPE_AAAA ? 16 : 0;
	if (!len || s->r_data_length != (uint32_t)len)
		return;
	knot_dname_to_lower(s->r_owner);
	if (kr_zonecut_add(hints, s->r_owner, s->r_data, len) != 0)
		s->state = ZS_STATE_STOP;
}

/** Read addresses of a zone file. @return NULL or an error text */
static const char *read_root_file(zs_scanner_t *scanner, struct kr_zonecut *hints, const char *file)
{
	if (zs_set_input_file(scanner, file) != 0)
		return "cannot open the file with root hints";
	zs_set_processing(scanner, on_root_record, NULL, hints);
	if (zs_parse_all(scanner) != 0)
		return "cannot parse the file with root hints";
	return kr_zonecut_is_empty(hints) ? "no address in the file with root hints" : NULL;
}

const char *engine_hint_root_file(struct kr_context *ctx, const char *file)
{
	static const knot_dname_t root[] = "";
	zs_scanner_t *scanner = malloc(sizeof(*scanner));
	struct kr_zonecut hints = {0};
	const char *err = "not enough memory";
	if (!scanner || zs_init(scanner, ".", KNOT_CLASS_IN, 0) != 0) {
		free(scanner);
		return err;
	}
	if (kr_zonecut_init(&hints, root, NULL) == 0)
		err = read_root_file(scanner, &hints, file ? file : kr_root_hints_path());
	if (!err) { /* the old ones stay in force unless the new file is good */
		kr_zonecut_set(&ctx->root_hints, root);
		if (kr_zonecut_copy(&ctx->root_hints, &hints) != 0)
			err = "not enough memory";
		ctx->generation += 1;
	}
	kr_zonecut_deinit(&hints);
	zs_deinit(scanner);
	free(scanner);
	return err;
}

const char *engine_hostname(struct engine *engine)
{
	static char name[256];
	if (engine->hostname)
		return engine->hostname;
	if (gethostname(name, sizeof(name) - 1) != 0)
		return NULL;
	return name;
}

int engine_set_hostname(struct engine *engine, const char *hostname)
{
	char *copy = strdup(hostname);
	if (!copy)
		return kr_error(ENOMEM);
	free(engine->hostname);
	engine->hostname = copy;
	return kr_ok();
}
