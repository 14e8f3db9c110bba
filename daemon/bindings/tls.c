/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/bindings/impl.h"

#include <stdio.h>
#include <string.h>

#include "daemon/tls/client.h"
#include "lib/addr.h"
#include "lib/log.h"

/** Longest and shortest secret of session tickets, in bytes. */
#define SECRET_MAX 1024
#define SECRET_MIN 32
/** Certificate files or pins of one server. */
#define LIST_MAX 32

/* ---- Our servers ---- */

/** net.tls([cert_file, key_file]) */
static int net_tls(lua_State *L)
{
	struct network *net = &the_engine->net;
	const int argc = lua_gettop(L);
	const char *cert = NULL, *key = NULL, *why = NULL;
	if (argc == 0) {
		if (!network_tls_files(net, &cert, &key))
			return 0;
		lua_newtable(L);
		luab_setstr(L, "cert_file", cert);
		luab_setstr(L, "key_file", key);
		return 1;
	}
	if (argc != 2 || lua_type(L, 1) != LUA_TSTRING || lua_type(L, 2) != LUA_TSTRING)
		return luab_error(L, "expected net.tls(string certificate file, string key file)");
	int ret = network_tls_load(net, lua_tostring(L, 1), lua_tostring(L, 2), &why);
	if (ret == 0)
		return luab_true(L);
	kr_log_error(TLS, "cannot use certificate '%s' with key '%s': %s\n", lua_tostring(L, 1),
		lua_tostring(L, 2), why ? why : luab_strerror(ret));
	return luab_oserror(L, ret);
}

static int set_secret(lua_State *L, const char *secret, size_t len)
{
	if (secret && len < SECRET_MIN)
		return luab_error(L, "the secret must have at least %d bytes", SECRET_MIN);
	if (network_tls_ticket_secret(&the_engine->net, secret, KR_MIN(len, SECRET_MAX)) != 0)
		return luab_error(L, "the secret cannot be used");
	return luab_true(L);
}

/** net.tls_sticket_secret([secret]) */
static int net_tls_sticket_secret(lua_State *L)
{
	size_t len = 0;
	if (lua_gettop(L) > 1 || (lua_gettop(L) == 1 && lua_type(L, 1) != LUA_TSTRING))
		return luab_error(L, "expected net.tls_sticket_secret([string secret])");
	const char *secret = lua_gettop(L) == 1 ? lua_tolstring(L, 1, &len) : NULL;
	return set_secret(L, secret, len);
}

/** net.tls_sticket_secret_file(path) */
static int net_tls_sticket_secret_file(lua_State *L)
{
	if (lua_gettop(L) != 1 || lua_type(L, 1) != LUA_TSTRING || lua_objlen(L, 1) == 0)
		return luab_error(L, "expected net.tls_sticket_secret_file(string path)");
	char secret[SECRET_MAX];
	FILE *file = fopen(lua_tostring(L, 1), "re");
	if (!file)
		return luab_error(L, "cannot open '%s': %s", lua_tostring(L, 1), strerror(errno));
	const size_t len = fread(secret, 1, sizeof(secret), file);
	fclose(file);
	return set_secret(L, secret, len);
}

/** net._doh_headers([list]) */
static int net_doh_headers(lua_State *L)
{
	struct network *net = &the_engine->net;
	if (lua_gettop(L) == 0) {
		lua_newtable(L);
		const char *name;
		for (size_t i = 0; (name = network_doh_header(net, i)) != NULL; ++i) {
			lua_pushstring(L, name);
			lua_rawseti(L, -2, i + 1);
		}
		return 1;
	}
	network_doh_headers_reset(net);
	const int len = lua_objlen(L, 1);
	for (int i = 1; i <= len; ++i) {
		lua_rawgeti(L, 1, i);
		int ret = network_doh_headers_add(net, luaL_checkstring(L, -1));
		if (ret != 0)
			return luab_oserror(L, ret);
		lua_pop(L, 1);
	}
	return 0;
}

/* ---- Servers that we ask ---- */

/** Address of a server out of `ADDR[@PORT]`. */
static void read_addr(lua_State *L, const char *text, uint16_t port, union kr_sockaddr *dst)
{
	char addr[KR_ADDR_TEXT_LEN];
	struct sockaddr *sa = NULL;
	if (kr_straddr_split(text, addr, &port) == 0)
		sa = kr_straddr_socket(addr, port, NULL);
	const int len = kr_sockaddr_len(sa);
	if (!sa || len < 0 || (size_t)len > sizeof(*dst)) {
		free(sa);
		luab_error(L, "not an address: '%s'", text);
	}
	memcpy(dst, sa, len);
	free(sa);
}

/** Strings of the table at idx; they stay the table's. */
static size_t read_list(lua_State *L, int idx, const char *dst[LIST_MAX])
{
	const size_t len = lua_objlen(L, idx);
	if (len > LIST_MAX)
		luab_error(L, "more than %d files or pins", LIST_MAX);
	for (size_t i = 0; i < len; ++i) {
		lua_rawgeti(L, idx, i + 1);
		dst[i] = luaL_checkstring(L, -1);
		lua_pop(L, 1);
	}
	return len;
}

/** net._tls_client(address, hostname or nil, table of CA files, table of pins, insecure,
 * path or nil) */
static int net_tls_client(lua_State *L)
{
	const char *ca_files[LIST_MAX], *pins[LIST_MAX];
	struct tls_client_spec spec = {
		.hostname = lua_tostring(L, 2),
		.ca_files = ca_files,
		.ca_files_len = read_list(L, 3, ca_files),
		.pins = pins,
		.pins_len = read_list(L, 4, pins),
		.insecure = lua_toboolean(L, 5),
		.path = lua_tostring(L, 6),
	};
	read_addr(L, luaL_checkstring(L, 1), spec.path ? KR_DNS_DOH_PORT : KR_DNS_TLS_PORT,
		&spec.addr);
	struct tls_client_param *param = NULL;
	const char *why = NULL;
	int ret = tls_client_param_new(&spec, &param, &why);
	if (ret != 0)
		return luab_error(
			L, "TLS to %s: %s", lua_tostring(L, 1), why ? why : luab_strerror(ret));
	bool is_changed = false;
	ret = tls_clients_add(the_engine->net.tls_clients, param, &is_changed);
	if (ret != 0) {
		tls_client_param_unref(param);
		return luab_oserror(L, ret);
	}
	if (is_changed)
		kr_log_warning(
			TLSCLIENT, "parameters of TLS to %s are replaced\n", lua_tostring(L, 1));
	the_engine->resolver.generation += 1;
	return 0;
}

static void push_texts(lua_State *L, const char *key, char *const *at, size_t len)
{
	lua_createtable(L, len, 0);
	for (size_t i = 0; i < len; ++i) {
		lua_pushstring(L, at[i]);
		lua_rawseti(L, -2, i + 1);
	}
	lua_setfield(L, -2, key);
}

/** net._tls_client_list() */
static int net_tls_client_list(lua_State *L)
{
	const struct tls_clients *clients = the_engine->net.tls_clients;
	lua_newtable(L);
	for (size_t i = 0; i < clients->list.len; ++i) {
		const struct tls_client_param *param = clients->list.at[i];
		lua_newtable(L);
		lua_pushstring(L, kr_straddr(&param->addr.ip));
		lua_rawseti(L, -2, 1);
		if (param->hostname)
			luab_setstr(L, "hostname", param->hostname);
		if (param->path)
			luab_setstr(L, "path", param->path);
		push_texts(L, "ca_files", param->ca_files.at, param->ca_files.len);
		push_texts(L, "pin_sha256", param->pin_texts.at, param->pin_texts.len);
		lua_pushboolean(L, param->insecure);
		lua_setfield(L, -2, "insecure");
		lua_rawseti(L, -2, i + 1);
	}
	return 1;
}

/** net.tls_client_clear(address) */
static int net_tls_client_clear(lua_State *L)
{
	if (lua_gettop(L) != 1 || lua_type(L, 1) != LUA_TSTRING)
		return luab_error(L, "expected net.tls_client_clear(string address)");
	union kr_sockaddr addr;
	read_addr(L, lua_tostring(L, 1), KR_DNS_TLS_PORT, &addr);
	int ret = tls_clients_del(the_engine->net.tls_clients, &addr.ip);
	if (ret != 0)
		return luab_oserror(L, ret);
	the_engine->resolver.generation += 1;
	return luab_true(L);
}

static const char *certificate_hostname(void *baton)
{
	return engine_hostname(baton);
}

/** What the worker has to know to ask that server over TLS; NULL: it is not asked over TLS. */
static const void *params_of(struct worker_ctx *worker, const struct sockaddr *addr)
{
	return tls_clients_find(the_engine->net.tls_clients, addr);
}

void luab_tls(lua_State *L)
{
	static const luaL_Reg functions[] = {
		{"tls", net_tls},
		{"tls_server", net_tls},
		{"tls_sticket_secret", net_tls_sticket_secret},
		{"tls_sticket_secret_file", net_tls_sticket_secret_file},
		{"tls_client_clear", net_tls_client_clear},
		{"_doh_headers", net_doh_headers},
		{"_tls_client", net_tls_client},
		{"_tls_client_list", net_tls_client_list},
		{NULL, NULL},
	};
	lua_getglobal(L, "net");
	luaL_setfuncs(L, functions, 0);
	lua_pop(L, 1);
	network_tls_hostname(&the_engine->net, certificate_hostname, the_engine);
	the_engine->worker.tls_params = params_of;
}
