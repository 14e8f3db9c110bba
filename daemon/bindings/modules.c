/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/bindings/impl.h"

#include <string.h>

#include "daemon/ffi_layer.h"
#include "lib/log.h"

/** Longest name of a module with its place. */
#define SPEC_MAX 256

static struct kr_module *find_module(const char *name)
{
	module_array_t *modules = &the_engine->modules;
	for (size_t i = 0; i < modules->len; ++i)
		if (strcmp(modules->at[i]->name, name) == 0)
			return modules->at[i];
	return NULL;
}

static int modules_list(lua_State *L)
{
	const module_array_t *modules = &the_engine->modules;
	lua_createtable(L, modules->len, 0);
	for (size_t i = 0; i < modules->len; ++i) {
		lua_pushstring(L, modules->at[i]->name);
		lua_rawseti(L, -2, i + 1);
	}
	return 1;
}

/** modules.errors() -> { name = errors in hooks since it was loaded }, without those that had none
 */
static int modules_errors(lua_State *L)
{
	const module_array_t *modules = &the_engine->modules;
	lua_newtable(L);
	for (size_t i = 0; i < modules->len; ++i) {
		const uint64_t count = ffi_layer_errors(modules->at[i]);
		if (count > 0)
			luab_setnum(L, modules->at[i]->name, count);
	}
	return 1;
}

/** modules.load('name'), modules.load('name < other'), modules.load('name > other') */
static int modules_load(lua_State *L)
{
	if (lua_gettop(L) != 1 || lua_type(L, 1) != LUA_TSTRING)
		return luab_error(L, "expected modules.load(string name)");
	char spec[SPEC_MAX];
	if (lua_objlen(L, 1) >= sizeof(spec))
		return luab_error(L, "the name of the module is too long");
	strcpy(spec, lua_tostring(L, 1));
	char *save = NULL;
	const char *name = strtok_r(spec, " \t", &save);
	const char *op = strtok_r(NULL, " \t", &save);
	const char *other = strtok_r(NULL, " \t", &save);
	int ret = engine_register(the_engine, name, op, other);
	if (ret == kr_error(EIDRM))
		return luab_error(L, "referenced module not found: %s", other);
	if (ret != 0)
		return luab_oserror(L, ret);
	return luab_true(L);
}

static int modules_unload(lua_State *L)
{
	if (lua_gettop(L) != 1 || lua_type(L, 1) != LUA_TSTRING)
		return luab_error(L, "expected modules.unload(string name)");
	int ret = engine_unregister(the_engine, lua_tostring(L, 1));
	return ret == 0 ? luab_true(L) : luab_oserror(L, ret);
}

/** modules.set_skippable(name, boolean): may answers be repeated without asking the module's hooks?
 */
static int modules_set_skippable(lua_State *L)
{
	struct kr_module *module =
		lua_type(L, 1) == LUA_TSTRING ? find_module(lua_tostring(L, 1)) : NULL;
	if (lua_gettop(L) != 2 || lua_type(L, 2) != LUA_TBOOLEAN)
		return luab_error(L, "expected modules.set_skippable(string name, boolean)");
	int ret = module ? ffi_layer_set_skippable(the_engine, module, lua_toboolean(L, 2))
			 : kr_error(ENOENT);
	return ret == 0 ? luab_true(L) : luab_oserror(L, ret);
}

/* ---- C modules as tables ---- */

/** Argument of a property: nil, JSON for tables and booleans, else text. Stays on the Lua stack. */
static const char *property_input(lua_State *L, int idx)
{
	switch (lua_type(L, idx)) {
	case LUA_TNONE:
	case LUA_TNIL:
		return NULL;
	case LUA_TTABLE:
	case LUA_TBOOLEAN:
		lua_getglobal(L, "tojson");
		break;
	default:
		lua_getglobal(L, "tostring");
	}
	lua_pushvalue(L, idx);
	lua_call(L, 1, 1);
	return lua_tostring(L, -1);
}

/** Push a property's result: nil, a value read from JSON, or the text as it is. Frees it. */
static int push_property_output(lua_State *L, char *text)
{
	if (!text)
		return 0;
	lua_pushstring(L, text);
	free(text);
	lua_getglobal(L, "fromjson");
	lua_pushvalue(L, -2);
	if (lua_pcall(L, 1, 1, 0) != 0)
		lua_pop(L, 1);
	return 1;
}

static const struct kr_prop *find_prop(const struct kr_module *module, const char *name)
{
	for (const struct kr_prop *p = module->props; p && p->name; ++p)
		if (strcmp(p->name, name) == 0)
			return p;
	return NULL;
}

/** Module of a closure; it may have been unloaded since. */
static struct kr_module *closure_module(lua_State *L)
{
	const char *name = lua_tostring(L, lua_upvalueindex(1));
	struct kr_module *module = find_module(name);
	if (!module)
		luab_error(L, "module '%s' is not loaded", name);
	return module;
}

static int call_property(lua_State *L)
{
	struct kr_module *module = closure_module(L);
	const struct kr_prop *prop = find_prop(module, lua_tostring(L, lua_upvalueindex(2)));
	if (!prop)
		return luab_error(L, "module '%s' has no such property", module->name);
	const char *input = property_input(L, 1);
	return push_property_output(L, prop->cb(&the_engine->resolver, module, input));
}

static int call_config(lua_State *L)
{
	struct kr_module *module = closure_module(L);
	lua_pushinteger(L, module->config(module, property_input(L, 1)));
	return 1;
}

static int index_property(lua_State *L)
{
	struct kr_module *module = closure_module(L);
	const struct kr_prop *get = find_prop(module, "get");
	if (!get)
		return luaL_error(
			L, "module %s does not support indexing syntax sugar", module->name);
	return push_property_output(
		L, get->cb(&the_engine->resolver, module, luaL_checkstring(L, 2)));
}

static int newindex_property(lua_State *L)
{
	struct kr_module *module = closure_module(L);
	const struct kr_prop *set = find_prop(module, "set");
	if (!set)
		return luaL_error(
			L, "module %s does not support assignment syntax sugar", module->name);
	luaL_checkstring(L, 2);
	const char *value = property_input(L, 3);
	const char *input = lua_pushfstring(L, "%s %s", lua_tostring(L, 2), value ? value : "");
	return push_property_output(L, set->cb(&the_engine->resolver, module, input));
}

static void set_closure(
	lua_State *L, const char *field, lua_CFunction fn, const char *module, const char *prop)
{
	lua_pushstring(L, module);
	lua_pushstring(L, prop);
	lua_pushcclosure(L, fn, 2);
	lua_setfield(L, -2, field);
}

void luab_module_table(struct engine *engine, struct kr_module *module)
{
	lua_State *L = engine->L;
	if (!L || ffi_layer_is_lua(module) || (!module->config && !module->props))
		return;
	lua_newtable(L);
	for (const struct kr_prop *p = module->props; p && p->name; ++p)
		set_closure(L, p->name, call_property, module->name, p->name);
	if (module->config)
		set_closure(L, "config", call_config, module->name, "");
	lua_newtable(L);
	set_closure(L, "__index", index_property, module->name, "");
	set_closure(L, "__newindex", newindex_property, module->name, "");
	lua_setmetatable(L, -2);
	/* Let Lua add what C properties cannot do, such as raising errors. */
	lua_getfield(L, LUA_REGISTRYINDEX, "kres.module_loader");
	lua_getfield(L, -1, "adopt");
	lua_pushstring(L, module->name);
	lua_pushvalue(L, -4);
	if (engine_pcall(L, 2, 0, GUARD_CONFIG_MS) != 0) {
		kr_log_error(SYSTEM, "module %s: %s\n", module->name, lua_tostring(L, -1));
		lua_pop(L, 1);
	}
	lua_pop(L, 1);
	lua_setglobal(L, module->name);
}

void luab_module_forget(struct engine *engine, const struct kr_module *module)
{
	lua_State *L = engine->L;
	const bool has_table = ffi_layer_is_lua(module) || module->config || module->props;
	if (!L || !has_table)
		return;
	lua_pushnil(L);
	lua_setglobal(L, module->name);
}

void luab_modules(lua_State *L)
{
	static const luaL_Reg functions[] = {
		{"list", modules_list},
		{"load", modules_load},
		{"unload", modules_unload},
		{"errors", modules_errors},
		{"set_skippable", modules_set_skippable},
		{NULL, NULL},
	};
	luab_register(L, "modules", functions);
}
