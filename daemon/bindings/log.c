/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/bindings/impl.h"

#include <string.h>

#include "lib/log.h"

static int log_level(lua_State *L)
{
	const int argc = lua_gettop(L);
	if (argc > 1 || (argc == 1 && lua_type(L, 1) != LUA_TSTRING))
		return luab_error(L, "expected log_level() or log_level(string level)");
	if (argc == 1) {
		const char *name = lua_tostring(L, 1);
		kr_log_level_t level = kr_log_name2level(name);
		if (strcmp(name, "alert") == 0 || strcmp(name, "emerg") == 0)
			kr_log_warning(SYSTEM, "log level '%s' is not available, ignored\n", name);
		else if (level < LOG_CRIT)
			return luab_error(L,
				"unknown log level '%s': expected crit, err, warning, "
				"notice, info or debug",
				name);
		else
			kr_log_level_set(level);
	}
	lua_pushstring(L, kr_log_level2name(kr_log_level));
	return 1;
}

static int log_target(lua_State *L)
{
	static const char *const names[] = {
		[LOG_TARGET_SYSLOG] = "syslog",
		[LOG_TARGET_STDERR] = "stderr",
		[LOG_TARGET_STDOUT] = "stdout",
	};
	const int argc = lua_gettop(L);
	if (argc > 1 || (argc == 1 && lua_type(L, 1) != LUA_TSTRING))
		return luab_error(L, "expected log_target() or log_target(string target)");
	if (argc == 1) {
		unsigned i = 0;
		while (i < KR_COUNT_OF(names) && strcmp(names[i], lua_tostring(L, 1)) != 0)
			++i;
		if (i == KR_COUNT_OF(names))
			return luab_error(L,
				"unknown log target '%s': expected syslog, stderr or "
				"stdout",
				lua_tostring(L, 1));
		if (the_engine->is_rehearsal) { /* who checks wants to see it */
			lua_pushstring(L, names[i]);
			return 1;
		}
		kr_log_target_set(i);
	}
	lua_pushstring(L, names[kr_log_target_get()]);
	return 1;
}

static void set_groups(lua_State *L)
{
	kr_log_group_reset();
	const int len = lua_objlen(L, 1);
	for (int i = 1; i <= len; ++i) {
		lua_rawgeti(L, 1, i);
		const char *name = lua_tostring(L, -1);
		enum kr_log_group group = name ? kr_log_name2grp(name) : LOG_GRP_UNKNOWN;
		if (group == LOG_GRP_UNKNOWN)
			kr_log_warning(SYSTEM, "unknown log group '%s', ignored\n",
				name ? name : luaL_typename(L, -1));
		else
			kr_log_group_add(group);
		lua_pop(L, 1);
	}
}

static int log_groups(lua_State *L)
{
	const int argc = lua_gettop(L);
	if (argc > 1 || (argc == 1 && !lua_istable(L, 1)))
		return luab_error(L, "expected log_groups() or log_groups(table of names)");
	if (argc == 1)
		set_groups(L);
	lua_newtable(L);
	int n = 0;
	for (int group = LOG_GRP_SYSTEM; group < LOG_GRP_REQDBG; ++group) {
		if (!kr_log_group_is_set(group))
			continue;
		lua_pushstring(L, kr_log_grp2name(group));
		lua_rawseti(L, -2, ++n);
	}
	return 1;
}

/** _log(level, group, text): one finished line; friendlier functions are made of it in Lua. */
static int log_line(lua_State *L)
{
	const int level = luaL_checkint(L, 1);
	const int group = luaL_checkint(L, 2);
	const char *text = luaL_checkstring(L, 3);
	if (group <= LOG_GRP_UNKNOWN || group >= LOG_GRP_COUNT_)
		return luab_error(L, "unknown log group %d", group);
	if (level <= kr_log_level || (kr_log_groups_mask & (1ULL << group)))
		kr_log_fmt(group, level, "CODE_FILE=", "CODE_LINE=", "Lua", "%s\n", text);
	return 0;
}

void luab_log(lua_State *L)
{
	lua_register(L, "log_level", log_level);
	lua_register(L, "log_target", log_target);
	lua_register(L, "log_groups", log_groups);
	lua_register(L, "_log", log_line);
}
