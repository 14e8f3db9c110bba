/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/bindings/impl.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "lib/cache/cache.h"
#include "lib/log.h"

/** Smallest cache that can hold anything. */
#define ANSWERS_SIZE_MAX (1024.0 * 1024 * 1024)
#define CACHE_SIZE_MIN 8192
/** Longest TTL (RFC 2181 section 8). */
#define TTL_MAX INT32_MAX
/** A cache for kresd --check is no larger. */
#define REHEARSAL_SIZE_MAX ((size_t)10 * 1024 * 1024)

static struct kr_cache *open_cache(lua_State *L)
{
	struct kr_cache *cache = &the_engine->resolver.cache;
	if (!kr_cache_is_open(cache))
		luab_error(L, "the cache is not open");
	return cache;
}

/** Backend of `scheme://path` or `path`. @param[out] path what is behind the scheme */
static const struct kr_cdb_api *find_backend(const char *uri, const char **path)
{
	const char *sep = strstr(uri, "://");
	*path = sep ? sep + 3 : uri;
	for (size_t i = 0; i < the_engine->backends.len; ++i) {
		const struct kr_cdb_api *api = the_engine->backends.at[i];
		if (!sep && i == 0)
			return api;
		if (sep && strlen(api->name) == (size_t)(sep - uri) &&
			strncmp(api->name, uri, sep - uri) == 0)
			return api;
	}
	return NULL;
}

/** Is it a folder we may write to, or can it be made? @return 0 or an error */
static int check_folder(const char *path)
{
	struct stat st;
	if (stat(path, &st) == 0) {
		if (!S_ISDIR(st.st_mode))
			return kr_error(ENOTDIR);
		return access(path, R_OK | W_OK | X_OK) == 0 ? kr_ok() : kr_error(errno);
	}
	if (errno != ENOENT)
		return kr_error(errno);
	char parent[PATH_MAX];
	snprintf(parent, sizeof(parent), "%s", path);
	char *slash = strrchr(parent, '/');
	if (slash == parent)
		slash[1] = '\0';
	else if (slash)
		*slash = '\0';
	else
		strcpy(parent, ".");
	return access(parent, W_OK | X_OK) == 0 ? kr_ok() : kr_error(errno);
}

static void remember_opening(lua_State *L, double size, const char *backend, const char *path)
{
	lua_getglobal(L, "cache");
	lua_pushliteral(L, "current_size");
	lua_pushnumber(L, size);
	lua_rawset(L, -3);
	lua_pushliteral(L, "current_storage");
	lua_pushfstring(L, "%s://%s", backend, path);
	lua_rawset(L, -3);
	lua_pop(L, 1);
}

static void remove_folder(const char *path)
{
	DIR *dir = opendir(path);
	for (const struct dirent *entry; dir && (entry = readdir(dir)) != NULL;)
		unlinkat(dirfd(dir), entry->d_name, 0);
	if (dir)
		closedir(dir);
	rmdir(path);
}

/** A cache in a folder of its own that is gone at once; the one that is meant is only looked at. */
static int rehearse_open(const char *path, size_t size)
{
	char folder[] = "/tmp/kresd-check-XXXXXX";
	int ret = check_folder(path);
	if (ret != 0)
		return ret;
	if (!mkdtemp(folder))
		return kr_error(errno);
	ret = engine_cache_open(
		the_engine, the_engine->backends.at[0], folder, KR_MIN(size, REHEARSAL_SIZE_MAX));
	remove_folder(folder); /* what is open goes on to exist for us alone */
	char *place = strdup(path);
	if (ret == 0 && place) {
		free(the_engine->cache_place.path);
		the_engine->cache_place.path = place;
	}
	return ret;
}

/** cache.open(bytes[, uri]) */
static int cache_open(lua_State *L)
{
	if (lua_gettop(L) < 1 || lua_type(L, 1) != LUA_TNUMBER)
		return luab_error(L, "expected cache.open(number bytes[, string storage])");
	const uint64_t size =
		luab_number(L, 1, CACHE_SIZE_MIN, SIZE_MAX / 2, "the size of the cache in bytes");
	const char *uri = lua_gettop(L) > 1 && !lua_isnil(L, 2) ? luaL_checkstring(L, 2) : "";
	const char *path;
	const struct kr_cdb_api *api = find_backend(uri, &path);
	if (!api)
		return luab_error(L, "unsupported cache backend: '%s'", uri);
	struct kr_cache *cache = &the_engine->resolver.cache;
	const char *dir = path[0] ? path : ".";
	int ret = the_engine->is_rehearsal ? rehearse_open(dir, size)
					   : engine_cache_open(the_engine, api, dir, size);
	if (ret != 0) {
		char cwd[PATH_MAX];
		return luaL_error(L, "can't open cache path '%s'; working directory '%s'; %s", dir,
			getcwd(cwd, sizeof(cwd)) ? cwd : "?", luab_strerror(ret));
	}
	kr_cache_make_checkpoint(cache, &the_engine->resolver.now, the_engine->resolver.now_ms);
	remember_opening(L, size, api->name, path);
	return luab_true(L);
}

static int cache_close(lua_State *L)
{
	struct kr_cache *cache = &the_engine->resolver.cache;
	if (!kr_cache_is_open(cache))
		return 0;
	engine_cache_close(the_engine);
	lua_getglobal(L, "cache");
	lua_pushliteral(L, "current_size");
	lua_pushinteger(L, 0);
	lua_rawset(L, -3);
	return luab_true(L);
}

static int cache_backends(lua_State *L)
{
	const struct kr_cache *cache = &the_engine->resolver.cache;
	lua_newtable(L);
	for (size_t i = 0; i < the_engine->backends.len; ++i) {
		const struct kr_cdb_api *api = the_engine->backends.at[i];
		lua_pushboolean(L, api == cache->api);
		lua_setfield(L, -2, api->name);
	}
	return 1;
}

static int cache_count(lua_State *L)
{
	struct kr_cache *cache = open_cache(L);
	int count = cache->api->count(cache->db, &cache->stats);
	if (count < 0)
		return luab_oserror(L, count);
	lua_pushinteger(L, count);
	return 1;
}

static int cache_stats(lua_State *L)
{
	struct kr_cache *cache = open_cache(L);
	struct kr_cdb_stats *stats = &cache->stats;
	int count = cache->api->count(cache->db, stats);
	stats->count_entries = count < 0 ? 0 : count;
	stats->usage_percent = cache->api->usage_percent(cache->db);
	lua_newtable(L);
#define STAT(name) luab_setnum(L, #name, stats->name)
	STAT(open);
	STAT(close);
	STAT(count);
	STAT(count_entries);
	STAT(clear);
	STAT(commit);
	STAT(read);
	STAT(read_miss);
	STAT(write);
	STAT(remove);
	STAT(remove_miss);
	STAT(match);
	STAT(match_miss);
	STAT(read_leq);
	STAT(read_leq_miss);
	STAT(usage_percent);
#undef STAT
	return 1;
}

static int cache_max_ttl(lua_State *L)
{
	struct kr_cache *cache = open_cache(L);
	if (lua_gettop(L) > 0) {
		cache->ttl_max =
			luab_number(L, 1, KR_MAX(1, cache->ttl_min), TTL_MAX, "max_ttl in seconds");
		the_engine->resolver.generation += 1;
	}
	lua_pushinteger(L, cache->ttl_max);
	return 1;
}

static int cache_min_ttl(lua_State *L)
{
	struct kr_cache *cache = open_cache(L);
	if (lua_gettop(L) > 0) {
		cache->ttl_min = luab_number(L, 1, 0, cache->ttl_max, "min_ttl in seconds");
		the_engine->resolver.generation += 1;
	}
	lua_pushinteger(L, cache->ttl_min);
	return 1;
}

static int cache_ns_tout(lua_State *L)
{
	uint32_t *ms = &the_engine->resolver.cache_rtt_tout_retry_interval;
	if (lua_gettop(L) > 0)
		*ms = luab_number(L, 1, 1, UINT32_MAX - 1, "ns_tout in milliseconds");
	lua_pushnumber(L, *ms);
	return 1;
}

/** cache.answers([bytes]): size of the cache of finished answers in the memory of this process */
static int cache_answers(lua_State *L)
{
	struct worker_ctx *worker = &the_engine->worker;
	if (lua_gettop(L) > 0) {
		const size_t bytes =
			luab_number(L, 1, 0, ANSWERS_SIZE_MAX, "the size of the answer cache");
		int ret = worker_set_l0(worker, bytes);
		if (ret != 0)
			return luab_oserror(L, ret);
	}
	lua_pushnumber(L, worker->l0_enabled ? worker->l0_max_bytes : 0);
	return 1;
}

static int cache_fssize(lua_State *L)
{
	const char *path = the_engine->cache_place.path;
	struct statvfs st;
	if (statvfs(path ? path : ".", &st) != 0 && !(errno == ENOENT && statvfs(".", &st) == 0))
		return luab_oserror(L, errno);
	lua_pushnumber(L, (double)st.f_frsize * st.f_blocks);
	return 1;
}

static int cache_checkpoint(lua_State *L)
{
	struct kr_cache *cache = open_cache(L);
	if (lua_gettop(L) == 0) {
		lua_newtable(L);
		luab_setnum(L, "monotime", cache->checkpoint_monotime);
		lua_newtable(L);
		luab_setnum(L, "sec", cache->checkpoint_walltime.tv_sec);
		luab_setnum(L, "usec", cache->checkpoint_walltime.tv_usec);
		lua_setfield(L, -2, "walltime");
		return 1;
	}
	if (lua_gettop(L) != 1 || lua_type(L, 1) != LUA_TBOOLEAN || !lua_toboolean(L, 1))
		return luab_error(L, "expected cache.checkpoint() or cache.checkpoint(true)");
	kr_cache_make_checkpoint(cache, &the_engine->resolver.now, the_engine->resolver.now_ms);
	return luab_true(L);
}

static int cache_clear_everything(lua_State *L)
{
	struct kr_cache *cache = open_cache(L);
	int ret = kr_cache_clear(cache);
	if (ret != 0)
		return luab_oserror(L, ret);
	the_engine->resolver.generation += 1;
	return luab_true(L);
}

/** Entries are removed by FFI calls in cache.clear(); what was derived from them has to go as well.
 */
static int cache_changed(lua_State *L)
{
	the_engine->resolver.generation += 1;
	return 0;
}

/** Has the present configuration opened it? */
static int cache_is_configured(lua_State *L)
{
	lua_pushboolean(L, the_engine->cache_place.path != NULL);
	return 1;
}

static int cache_check_open(lua_State *L)
{
	open_cache(L);
	return 0;
}

void luab_cache(lua_State *L)
{
	static const luaL_Reg functions[] = {
		{"open", cache_open},
		{"close", cache_close},
		{"backends", cache_backends},
		{"count", cache_count},
		{"stats", cache_stats},
		{"max_ttl", cache_max_ttl},
		{"min_ttl", cache_min_ttl},
		{"ns_tout", cache_ns_tout},
		{"answers", cache_answers},
		{"fssize", cache_fssize},
		{"checkpoint", cache_checkpoint},
		{"clear_everything", cache_clear_everything},
		{"_changed", cache_changed},
		{"_check_open", cache_check_open},
		{"_is_configured", cache_is_configured},
		{NULL, NULL},
	};
	luab_register(L, "cache", functions);
}
