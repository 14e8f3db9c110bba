/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/bindings/impl.h"

#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/libdir.h"
#include "daemon/lua/layout.h"
#include "daemon/reload.h"
#include "daemon/rights.h"
#include "kresconfig.h"
#include "lib/log.h"

/** Where the control socket is by default, in the working directory. */
#define CONTROL_FOLDER "control"

static int sys_quit(lua_State *L)
{
	int status = 0;
	if (lua_type(L, 1) == LUA_TNUMBER)
		status = luab_number(L, 1, 0, 255, "the exit status");
	if (!the_engine->is_rehearsal)
		engine_stop(the_engine, status);
	return 0;
}

/** reload(): read the configuration anew; at a control socket the answer comes when that is done.
 */
static int sys_reload(lua_State *L)
{
	if (the_engine->is_rehearsal)
		return luab_true(L);
	reload_start();
	return luab_true(L);
}

static int sys_hostname(lua_State *L)
{
	if (lua_gettop(L) > 0) {
		if (lua_type(L, 1) != LUA_TSTRING || lua_objlen(L, 1) == 0)
			return luab_error(L, "expected hostname() or hostname(string name)");
		int ret = engine_set_hostname(the_engine, lua_tostring(L, 1));
		if (ret != 0)
			return luab_oserror(L, ret);
	}
	const char *name = engine_hostname(the_engine);
	if (!name)
		return luab_error(L, "cannot learn the name of this host");
	lua_pushstring(L, name);
	return 1;
}

static int sys_package_version(lua_State *L)
{
	lua_pushliteral(L, PACKAGE_VERSION);
	return 1;
}

/** The folder of the default control socket must not be left to root alone. */
static void make_control_folder(uid_t uid, gid_t gid)
{
	if (geteuid() != 0)
		return;
	mkdir(CONTROL_FOLDER, 0770);
	int fd = open(CONTROL_FOLDER, O_DIRECTORY | O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;
	if (fd >= 0 && fstat(fd, &st) == 0 && st.st_uid == 0 && fchown(fd, uid, gid) != 0)
		kr_log_warning(SYSTEM, "cannot give the folder '%s' to the new user: %s\n",
			CONTROL_FOLDER, strerror(errno));
	if (fd >= 0)
		close(fd);
}

static int sys_user(lua_State *L)
{
	const int argc = lua_gettop(L);
	if (argc < 1 || argc > 2 || lua_type(L, 1) != LUA_TSTRING ||
		(argc == 2 && lua_type(L, 2) != LUA_TSTRING))
		return luab_error(L, "expected user(string user[, string group])");
	const char *user = lua_tostring(L, 1);
	const struct passwd *pw = getpwnam(user);
	if (!pw)
		return luab_error(L, "unknown user '%s'", user);
	const uid_t uid = pw->pw_uid;
	gid_t gid = getgid();
	if (argc == 2) {
		const struct group *gr = getgrnam(lua_tostring(L, 2));
		if (!gr)
			return luab_error(L, "unknown group '%s'", lua_tostring(L, 2));
		gid = gr->gr_gid;
	}
	if (the_engine->is_rehearsal)
		return luab_true(L);
	make_control_folder(uid, gid);
	int ret = rights_become(user, uid, gid);
	if (ret != 0)
		return luab_oserror(L, ret);
	return luab_true(L);
}

static int sys_list_dir(lua_State *L)
{
	lua_newtable(L);
	DIR *dir = lua_type(L, 1) == LUA_TSTRING ? opendir(lua_tostring(L, 1)) : NULL;
	if (!dir)
		return 1;
	int n = 0;
	for (const struct dirent *entry; (entry = readdir(dir)) != NULL;) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		lua_pushstring(L, entry->d_name);
		lua_rawseti(L, -2, ++n);
	}
	closedir(dir);
	return 1;
}

static int sys_hint_root_file(lua_State *L)
{
	const char *path = lua_gettop(L) > 0 && !lua_isnil(L, 1) ? luaL_checkstring(L, 1) : NULL;
	const char *err = engine_hint_root_file(&the_engine->resolver, path);
	if (err)
		return luab_error(L, "%s (%s)", err, path ? path : kr_root_hints_path());
	return luab_true(L);
}

/** Keep a value under a name in the registry, for C to find: _registry(key, value). */
static int sys_registry(lua_State *L)
{
	luaL_checkstring(L, 1);
	lua_settop(L, 2);
	lua_setfield(L, LUA_REGISTRYINDEX, lua_tostring(L, 1));
	return 0;
}

/** List of {type, member or false, value} for the check of FFI declarations. */
static int sys_ffi_layouts(lua_State *L)
{
	lua_newtable(L);
	for (int i = 0; ffi_layouts[i].type; ++i) {
		lua_createtable(L, 3, 0);
		lua_pushstring(L, ffi_layouts[i].type);
		lua_rawseti(L, -2, 1);
		if (ffi_layouts[i].member)
			lua_pushstring(L, ffi_layouts[i].member);
		else
			lua_pushboolean(L, false);
		lua_rawseti(L, -2, 2);
		lua_pushinteger(L, ffi_layouts[i].value);
		lua_rawseti(L, -2, 3);
		lua_rawseti(L, -2, i + 1);
	}
	return 1;
}

/** _compile(path) -> function of a configuration file; or nil and why not */
static int sys_compile(lua_State *L)
{
	if (engine_compile(L, luaL_checkstring(L, 1)) == 0)
		return 1;
	lua_pushnil(L);
	lua_insert(L, -2);
	return 2;
}

/** _can_write_beside(path) -> true; or nil and why no file can be made beside that one */
static int sys_can_write_beside(lua_State *L)
{
	char folder[PATH_MAX];
	snprintf(folder, sizeof(folder), "%s", luaL_checkstring(L, 1));
	char *slash = strrchr(folder, '/');
	if (!slash)
		strcpy(folder, ".");
	else
		slash[slash == folder] = '\0';
	if (access(folder, W_OK | X_OK) == 0)
		return luab_true(L);
	lua_pushnil(L);
	lua_pushfstring(L, "%s: %s", folder, strerror(errno));
	return 2;
}

/** _trace_error(message): raise an error of the traced kind. */
static int sys_trace_error(lua_State *L)
{
	return luab_error(L, "%s", luaL_checkstring(L, 1));
}

void luab_system(lua_State *L)
{
	lua_register(L, "quit", sys_quit);
	lua_register(L, "reload", sys_reload);
	lua_register(L, "hostname", sys_hostname);
	lua_register(L, "package_version", sys_package_version);
	lua_register(L, "user", sys_user);
	lua_register(L, "kluautil_list_dir", sys_list_dir);
	lua_register(L, "_hint_root_file", sys_hint_root_file);
	lua_register(L, "_registry", sys_registry);
	lua_register(L, "_ffi_layouts", sys_ffi_layouts);
	lua_register(L, "_trace_error", sys_trace_error);
	lua_register(L, "_compile", sys_compile);
	lua_register(L, "_can_write_beside", sys_can_write_beside);

	lua_newtable(L);
	luab_setstr(L, "libdir", kr_libdir());
	luab_setstr(L, "etcdir", kr_etcdir());
	luab_setstr(L, "rundir", RUNDIR);
	luab_setstr(L, "keyfile", kr_keyfile_path());
	luab_setstr(L, "root_hints", kr_root_hints_path());
	luab_setstr(L, "cache_dir", SYSTEMD_CACHE_DIR);
	lua_pushboolean(L, the_engine->is_rehearsal);
	lua_setfield(L, -2, "is_rehearsal");
	lua_setglobal(L, "_paths");
	lua_pushliteral(L, libknot_SONAME);
	lua_setglobal(L, "libknot_SONAME");
	lua_pushliteral(L, libzscanner_SONAME);
	lua_setglobal(L, "libzscanner_SONAME");
	static const struct {
		const char *name;
		int level;
	} levels[] = {
		{"LOG_CRIT", LOG_CRIT},
		{"LOG_ERR", LOG_ERR},
		{"LOG_WARNING", LOG_WARNING},
		{"LOG_NOTICE", LOG_NOTICE},
		{"LOG_INFO", LOG_INFO},
		{"LOG_DEBUG", LOG_DEBUG},
	};
	for (size_t i = 0; i < KR_COUNT_OF(levels); ++i) {
		lua_pushinteger(L, levels[i].level);
		lua_setglobal(L, levels[i].name);
	}
}
