/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/bindings/impl.h"

#include <arpa/inet.h>
#include <libknot/rrtype/opt.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <uv.h>

#include "daemon/control.h"
#include "daemon/kind.h"
#include "lib/addr.h"
#include "lib/log.h"

/** Endpoint kinds outlive the Lua string that named them. */
static const char *keep_kind(const char *kind)
{
	static array_t(char *) kept;
	for (size_t i = 0; i < kept.len; ++i)
		if (strcmp(kept.at[i], kind) == 0)
			return kept.at[i];
	char *copy = strdup(kind);
	if (!copy || array_push(kept, copy) < 0) {
		free(copy);
		return NULL;
	}
	return copy;
}

static int listen_one(
	lua_State *L, const char *addr, uint16_t port, int16_t nic_queue, endpoint_flags_t flags)
{
	const char *why = NULL;
	int ret = network_listen(&the_engine->net, addr, port, nic_queue, flags, &why);
	if (ret == 0)
		return 0;
	if (why)
		return luab_error(L, "failed to bind: %s", why);
	return luab_error(L, "failed to bind: %s@%u: %s", addr, port, luab_strerror(ret));
}

/** net._listen(address, port or nil, kind, freebind, nic_queue): one checked address. */
static int net_listen(lua_State *L)
{
	const char *addr = luaL_checkstring(L, 1);
	const uint16_t port = luaL_optint(L, 2, 0);
	endpoint_flags_t flags = {.freebind = lua_toboolean(L, 4)};
	const int16_t nic_queue = luaL_optint(L, 5, -1);
	if (kind_set(&flags, luaL_checkstring(L, 3)) != 0)
		return luab_error(L, "unknown endpoint kind '%s'", lua_tostring(L, 3));
	if (flags.kind)
		flags.kind = keep_kind(flags.kind);
	if (flags.xdp || strcmp(kind_name(&flags), "dns") == 0) {
		flags.sock_type = SOCK_DGRAM;
		listen_one(L, addr, port, nic_queue, flags);
	}
	if (!flags.xdp) {
		flags.sock_type = SOCK_STREAM;
		listen_one(L, addr, port, nic_queue, flags);
	}
	return luab_true(L);
}

/** net._close(address, port or nil) -> did anything close */
static int net_close(lua_State *L)
{
	const bool has_port = lua_gettop(L) > 1 && !lua_isnil(L, 2);
	if (lua_gettop(L) < 1 || lua_gettop(L) > 2 || lua_type(L, 1) != LUA_TSTRING ||
		(has_port && lua_type(L, 2) != LUA_TNUMBER))
		return luab_error(L, "expected net.close(string address[, number port])");
	const int port = has_port ? (int)luab_number(L, 2, 0, UINT16_MAX, "the port") : -1;
	lua_pushboolean(L, network_close(&the_engine->net, lua_tostring(L, 1), port) > 0);
	return 1;
}

static void push_transport(lua_State *L, const char *key, const struct endpoint *ep)
{
	lua_newtable(L);
	if (ep->family == AF_UNIX) {
		luab_setstr(L, "family", "unix");
		luab_setstr(L, "path", key);
	} else if (ep->flags.xdp) {
		luab_setstr(L, "family", "inet4+inet6");
		luab_setstr(L, "interface", key);
		luab_setnum(L, "nic_queue", ep->nic_queue);
		luab_setnum(L, "port", ep->port);
	} else {
		luab_setstr(L, "family", ep->family == AF_INET6 ? "inet6" : "inet4");
		luab_setstr(L, "ip", key);
		luab_setnum(L, "port", ep->port);
		lua_pushboolean(L, ep->flags.freebind);
		lua_setfield(L, -2, "freebind");
	}
	const char *protocol = ep->family == AF_UNIX                ? "stream"
			       : ep->flags.sock_type == SOCK_STREAM ? "tcp"
								    : "udp";
	luab_setstr(L, "protocol", protocol);
}

static int push_endpoint(const char *key, struct endpoint *ep, void *baton)
{
	lua_State *L = baton;
	lua_newtable(L);
	luab_setstr(L, "kind", kind_name(&ep->flags));
	push_transport(L, key, ep);
	lua_setfield(L, -2, "transport");
	lua_rawseti(L, -2, lua_objlen(L, -2) + 1);
	return kr_ok();
}

static int net_list(lua_State *L)
{
	lua_newtable(L);
	network_foreach(&the_engine->net, push_endpoint, L);
	return 1;
}

static void push_interface_address(lua_State *L, const uv_interface_address_t *iface)
{
	char text[INET6_ADDRSTRLEN + IF_NAMESIZE + 1] = "";
	if (iface->address.address4.sin_family == AF_INET) {
		uv_ip4_name(&iface->address.address4, text, sizeof(text));
	} else {
		const struct sockaddr_in6 *sa = &iface->address.address6;
		uv_ip6_name(sa, text, sizeof(text));
		if (IN6_IS_ADDR_LINKLOCAL(&sa->sin6_addr)) {
			strcat(text, "%");
			strncat(text, iface->name, IF_NAMESIZE);
		}
	}
	lua_pushstring(L, text);
}

static int net_interfaces(lua_State *L)
{
	uv_interface_address_t *list = NULL;
	int count = 0;
	lua_newtable(L);
	if (uv_interface_addresses(&list, &count) != 0)
		return 1;
	for (int i = 0; i < count; ++i) {
		const uv_interface_address_t *iface = &list[i];
		lua_getfield(L, -1, iface->name);
		if (!lua_istable(L, -1)) {
			lua_pop(L, 1);
			lua_newtable(L);
			const uint8_t *mac = (const uint8_t *)iface->phys_addr;
			char text[18];
			snprintf(text, sizeof(text), "%.2x:%.2x:%.2x:%.2x:%.2x:%.2x", mac[0],
				mac[1], mac[2], mac[3], mac[4], mac[5]);
			luab_setstr(L, "mac", text);
			lua_newtable(L);
			lua_setfield(L, -2, "addr");
			lua_pushvalue(L, -1);
			lua_setfield(L, -3, iface->name);
		}
		lua_getfield(L, -1, "addr");
		push_interface_address(L, iface);
		lua_rawseti(L, -2, lua_objlen(L, -2) + 1);
		lua_pop(L, 2);
	}
	uv_free_interface_addresses(list, count);
	return 1;
}

/** net.bufsize([down[, up]]) */
static int net_bufsize(lua_State *L)
{
	struct kr_context *ctx = &the_engine->resolver;
	const int argc = lua_gettop(L);
	if (argc == 0) {
		lua_pushinteger(L, knot_edns_get_payload(ctx->downstream_opt_rr));
		lua_pushinteger(L, knot_edns_get_payload(ctx->upstream_opt_rr));
		return 2;
	}
	if (argc > 2)
		return luab_error(L, "expected net.bufsize([number clients[, number servers]])");
	static const char what[] = "the buffer size";
	const uint16_t down = luab_number(L, 1, KR_DNS_UDP_PLAIN, UINT16_MAX, what);
	const uint16_t up =
		argc == 2 ? luab_number(L, 2, KR_DNS_UDP_PLAIN, UINT16_MAX, what) : down;
	knot_edns_set_payload(ctx->downstream_opt_rr, down);
	knot_edns_set_payload(ctx->upstream_opt_rr, up);
	ctx->generation += 1;
	return 0;
}

static int net_tcp_pipeline(lua_State *L)
{
	struct network *net = &the_engine->net;
	if (lua_type(L, 1) == LUA_TNUMBER) {
		net->tcp_pipeline = luab_number(L, 1, 0, UINT16_MAX, "tcp_pipeline");
		the_engine->worker.tcp_pipeline_max = net->tcp_pipeline;
	}
	lua_pushinteger(L, net->tcp_pipeline);
	return 1;
}

/** Getter and setter of a time limit in ms. */
static int get_set_timeout(lua_State *L, uint64_t *ms, const char *what)
{
	if (lua_gettop(L) == 0) {
		lua_pushnumber(L, *ms);
		return 1;
	}
	*ms = luab_number(L, 1, 1, INT32_MAX, what);
	return luab_true(L);
}

static int net_tcp_in_idle(lua_State *L)
{
	int results = get_set_timeout(
		L, &the_engine->net.tcp.in_idle_timeout, "tcp_in_idle in milliseconds");
	the_engine->resolver.stream_idle_ms =
		the_engine->net.tcp.in_idle_timeout; /* told to clients */
	the_engine->resolver.generation += 1;
	return results;
}

static int net_tls_handshake_timeout(lua_State *L)
{
	return get_set_timeout(L, &the_engine->net.tcp.tls_handshake_timeout,
		"tls_handshake_timeout in milliseconds");
}

static int net_tls_padding(lua_State *L)
{
	int32_t *padding = &the_engine->resolver.tls_padding;
	if (lua_gettop(L) > 1)
		return luab_error(L, "expected net.tls_padding([boolean or number])");
	if (lua_gettop(L) == 1) {
		if (lua_type(L, 1) == LUA_TBOOLEAN) {
			*padding = lua_toboolean(L, 1) ? -1 : 0;
		} else {
			*padding = luab_number(L, 1, 0, 1232, "tls_padding");
			if (*padding == 1)
				*padding = 0;
		}
		the_engine->resolver.generation += 1;
		return luab_true(L);
	}
	if (*padding < 0)
		lua_pushboolean(L, true);
	else if (*padding == 0)
		lua_pushboolean(L, false);
	else
		lua_pushinteger(L, *padding);
	return 1;
}

/* ---- PROXYv2 ---- */

static void push_subnet(const char *subnet, void *baton)
{
	lua_State *L = baton;
	lua_pushstring(L, subnet);
	lua_rawseti(L, -2, lua_objlen(L, -2) + 1);
}

static void allow_subnet(lua_State *L, const char *subnet)
{
	int ret = subnet ? network_proxy_allow(&the_engine->net, subnet) : kr_error(EINVAL);
	if (ret == 0)
		return;
	kr_log_error(NETWORK, "invalid address or subnet in net.proxy_allowed(): '%s'\n",
		subnet ? subnet : "?");
	luab_error(L, "invalid argument, expected IP/netmask: '%s'", subnet ? subnet : "?");
}

/** net.proxy_allowed([string or list]) */
static int net_proxy_allowed(lua_State *L)
{
	const int argc = lua_gettop(L);
	if (argc == 0) {
		lua_newtable(L);
		network_proxy_foreach(&the_engine->net, push_subnet, L);
		return 1;
	}
	if (argc > 1 || (lua_type(L, 1) != LUA_TSTRING && !lua_istable(L, 1)))
		return luab_error(L, "expected net.proxy_allowed([string or table of subnets])");
	network_proxy_reset(&the_engine->net);
	if (lua_type(L, 1) == LUA_TSTRING) {
		allow_subnet(L, lua_tostring(L, 1));
		return 0;
	}
	const int len = lua_objlen(L, 1);
	for (int i = 1; i <= len; ++i) {
		lua_rawgeti(L, 1, i);
		allow_subnet(L, lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : NULL);
		lua_pop(L, 1);
	}
	return 0;
}

/* ---- Socket filter ---- */

static int net_bpf_set(lua_State *L)
{
	if (lua_gettop(L) != 1 || lua_type(L, 1) != LUA_TNUMBER)
		return luab_error(L, "expected net.bpf_set(number file descriptor)");
	int ret = network_bpf(&the_engine->net, luab_number(L, 1, 0, INT32_MAX, "the descriptor"));
	if (ret != 0)
		return luab_error(L, "failed to attach the BPF program: %s", luab_strerror(ret));
	return luab_true(L);
}

static int net_bpf_clear(lua_State *L)
{
	int ret = network_bpf(&the_engine->net, -1);
	if (ret != 0)
		return luab_error(L, "failed to detach the BPF program: %s", luab_strerror(ret));
	return luab_true(L);
}

/* ---- Foreign kinds ---- */

/** Registry table: kind -> function that serves it. */
#define KINDS_KEY "kres.endpoint_kinds"

/** Endpoints of kind "control" are served by us, others by Lua functions. */
static int serve_kind(
	struct network *net, struct endpoint *ep, bool is_open, const char *key, void *baton)
{
	struct engine *engine = baton;
	if (strcasecmp(ep->flags.kind, "control") == 0) {
		if (is_open)
			return control_listen(
				engine, ep->fd, (struct control_listener **)&ep->handle);
		control_listener_close(ep->handle);
		ep->handle = NULL;
		return kr_ok();
	}
	lua_State *L = engine->L;
	const int top = lua_gettop(L);
	int ret = kr_error(ENOENT);
	lua_getfield(L, LUA_REGISTRYINDEX, KINDS_KEY);
	lua_getfield(L, -1, ep->flags.kind);
	if (lua_isfunction(L, -1)) {
		lua_pushboolean(L, is_open);
		*(struct endpoint **)lua_newuserdata(L, sizeof(ep)) = ep;
		lua_pushstring(L, key);
		ret = kr_ok();
		if (engine_pcall(L, 3, 0, GUARD_EVENT_MS) != 0) {
			kr_log_error(NETWORK, "error: endpoint kind '%s', %s: %s\n", ep->flags.kind,
				key, lua_tostring(L, -1));
			ret = kr_error(EINVAL);
		}
	}
	lua_settop(L, top);
	return ret;
}

static bool is_builtin_kind(const char *kind)
{
	endpoint_flags_t flags = {0};
	return kind_set(&flags, kind) != 0 || !flags.kind || strcasecmp(kind, "control") == 0;
}

bool luab_kind_is_served(lua_State *L, const char *kind)
{
	if (is_builtin_kind(kind))
		return true;
	lua_getfield(L, LUA_REGISTRYINDEX, KINDS_KEY);
	lua_getfield(L, -1, kind);
	const bool is_served = lua_isfunction(L, -1);
	lua_pop(L, 2);
	return is_served;
}

/** net.register_endpoint_kind(kind[, function]) */
static int net_register_endpoint_kind(lua_State *L)
{
	const int argc = lua_gettop(L);
	if (argc < 1 || argc > 2 || lua_type(L, 1) != LUA_TSTRING || lua_objlen(L, 1) == 0 ||
		(argc == 2 && !lua_isfunction(L, 2)))
		return luab_error(
			L, "expected net.register_endpoint_kind(string kind[, function])");
	const char *kind = lua_tostring(L, 1);
	if (is_builtin_kind(kind))
		return luab_error(L, "endpoint kind '%s' is built in", kind);
	lua_getfield(L, LUA_REGISTRYINDEX, KINDS_KEY);
	lua_getfield(L, -1, kind);
	const bool is_known = !lua_isnil(L, -1);
	lua_pop(L, 1);
	if (argc == 2 && is_known)
		return luab_error(L, "endpoint kind '%s' is registered already", kind);
	if (argc == 1 && !is_known)
		return luab_error(L, "endpoint kind '%s' is not registered", kind);
	if (argc == 1)
		network_disengage_kind(&the_engine->net, kind);
	if (argc == 2)
		lua_pushvalue(L, 2);
	else
		lua_pushnil(L);
	lua_setfield(L, -2, kind);
	return 0;
}

void luab_net(lua_State *L)
{
	static const luaL_Reg functions[] = {
		{"_listen", net_listen},
		{"close", net_close},
		{"list", net_list},
		{"interfaces", net_interfaces},
		{"bufsize", net_bufsize},
		{"tcp_pipeline", net_tcp_pipeline},
		{"tcp_in_idle", net_tcp_in_idle},
		{"tls_handshake_timeout", net_tls_handshake_timeout},
		{"tls_padding", net_tls_padding},
		{"proxy_allowed", net_proxy_allowed},
		{"bpf_set", net_bpf_set},
		{"bpf_clear", net_bpf_clear},
		{"register_endpoint_kind", net_register_endpoint_kind},
		{NULL, NULL},
	};
	luab_register(L, "net", functions);
	lua_newtable(L);
	lua_setfield(L, LUA_REGISTRYINDEX, KINDS_KEY);
	network_set_kind_handler(&the_engine->net, serve_kind, the_engine);
}
