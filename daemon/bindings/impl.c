/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/bindings/impl.h"

#include <libknot/error.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/** Type number of cdata, which lua.h does not know. */
#define LUAB_TCDATA 10
/** Codes at or below are libknot's own, above they are negated errno values. */
#define KNOT_CODES_FROM (-1000)

const char *luab_strerror(int err)
{
	err = kr_error(err);
	return err > KNOT_CODES_FROM ? strerror(-err) : knot_strerror(err);
}

int luab_error(lua_State *L, const char *fmt, ...)
{
	luaL_traceback(L, L, "an error occurred, where it came from is listed below\n", 1);
	lua_pushliteral(L, "\nERROR: ");
	va_list args;
	va_start(args, fmt);
	char text[1024];
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	lua_pushstring(L, text);
	lua_concat(L, 3);
	return lua_error(L);
}

int luab_oserror(lua_State *L, int err)
{
	return luab_error(L, "%s", luab_strerror(err));
}

uint64_t luab_number(lua_State *L, int idx, uint64_t min, uint64_t max, const char *what)
{
	double n = lua_type(L, idx) == LUA_TNUMBER ? lua_tonumber(L, idx) : NAN;
	if (!(n >= (double)min && n < (double)max + 1.0))
		luab_error(L, "%s must be a number from %llu to %llu", what,
			(unsigned long long)min, (unsigned long long)max);
	return (uint64_t)n;
}

void *luab_cdata_ptr(lua_State *L, int idx)
{
	if (lua_type(L, idx) != LUAB_TCDATA)
		return NULL;
	return *(void **)lua_topointer(L, idx);
}

void luab_register(lua_State *L, const char *name, const luaL_Reg *functions)
{
	lua_newtable(L);
	luaL_setfuncs(L, functions, 0);
	lua_setglobal(L, name);
}

void luab_register_all(lua_State *L)
{
	luab_system(L);
	luab_log(L);
	luab_event(L);
	luab_net(L);
	luab_tls(L);
	luab_cache(L);
	luab_modules(L);
	luab_worker(L);
}
