/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * What the files of this folder share: how errors are told to Lua and how tables are registered.
 * A binding checks types, calls the room it stands for, and returns; friendly shapes are made in
 * daemon/lua/sandbox.lua.
 */
#pragma once

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#include "daemon/engine.h"
#include "daemon/guard.h"
#include "lib/defines.h"
#include "lib/generic/array.h"

/**
 * Raise a traced error: a line that announces the traceback, the traceback, and last `ERROR: ` and
 * the message. Does not return; the type allows `return luab_error(L, ...)`.
 */
KR_PRINTF(2, 3)
int luab_error(lua_State *L, const char *fmt, ...);
/** Raise a traced error whose message is the system's (or libknot's) text for an error code. */
int luab_oserror(lua_State *L, int err);
/** Text for an error code of either kind. */
const char *luab_strerror(int err);

/** Push `true`, for bindings that have nothing else to say. */
static inline int luab_true(lua_State *L)
{
	lua_pushboolean(L, true);
	return 1;
}

/** Whole non-negative number of argument idx up to max, or a traced error that names `what`. */
uint64_t luab_number(lua_State *L, int idx, uint64_t min, uint64_t max, const char *what);

/** Pointer value of a cdata argument (a pointer type), or NULL. */
void *luab_cdata_ptr(lua_State *L, int idx);

/** Set a string field of the table at the top. */
static inline void luab_setstr(lua_State *L, const char *key, const char *value)
{
	lua_pushstring(L, value);
	lua_setfield(L, -2, key);
}
/** Set a number field of the table at the top. */
static inline void luab_setnum(lua_State *L, const char *key, double value)
{
	lua_pushnumber(L, value);
	lua_setfield(L, -2, key);
}

/** Create the global table `name` with these functions. */
void luab_register(lua_State *L, const char *name, const luaL_Reg *functions);

/* One function a file: registers its table; luab_tls() adds to `net`. */
void luab_cache(lua_State *L);
void luab_event(lua_State *L);
void luab_log(lua_State *L);
void luab_modules(lua_State *L);
void luab_net(lua_State *L);
void luab_system(lua_State *L);
void luab_tls(lua_State *L);
void luab_worker(lua_State *L);

struct event;
/** Timers and watched sockets of one Lua state, by id. */
typedef array_t(struct event *) event_array_t;
/** Stop and forget all events; before the Lua state is closed. */
void luab_event_deinit(void);
/** Exchange the events with those of another Lua state; the loop must not run in between. */
void luab_event_swap(event_array_t *other);
/** Does a Lua function, or the daemon itself, serve endpoints of that kind? */
bool luab_kind_is_served(lua_State *L, const char *kind);

/** Give a module that was just loaded its global table, if it has none by itself. */
void luab_module_table(struct engine *engine, struct kr_module *module);
/** Remove the global of a module that is being unloaded. */
void luab_module_forget(struct engine *engine, const struct kr_module *module);

/** Register all tables. */
void luab_register_all(lua_State *L);
