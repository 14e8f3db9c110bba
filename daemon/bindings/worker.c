/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/bindings/impl.h"

#include <limits.h>
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "kresconfig.h"
#if ENABLE_LIBSYSTEMD
#include <systemd/sd-daemon.h>
#endif

#include "daemon/ffi_layer.h"
#include "lib/log.h"

static double timeval_seconds(const struct timeval *tv)
{
	return tv->tv_sec + tv->tv_usec / 1e6;
}

/** Resident memory in bytes; ru_maxrss would be its peak. */
static double resident_bytes(void)
{
	char text[128];
	FILE *file = fopen("/proc/self/statm", "re");
	if (!file)
		return 0;
	const char *line = fgets(text, sizeof(text), file);
	fclose(file);
	const char *second = line ? strchr(line, ' ') : NULL;
	return second ? (double)strtoul(second, NULL, 10) * sysconf(_SC_PAGESIZE) : 0;
}

static int worker_stats(lua_State *L)
{
	const struct worker_stats *stats = &the_engine->worker.stats;
	lua_newtable(L);
#define STAT(name) luab_setnum(L, #name, stats->name)
	STAT(queries);
	STAT(concurrent);
	STAT(dropped);
	STAT(timeout);
	STAT(udp);
	STAT(tcp);
	STAT(tls);
	STAT(ipv4);
	STAT(ipv6);
	STAT(err_udp);
	STAT(err_tcp);
	STAT(err_tls);
	STAT(err_http);
	STAT(near_miss);
	STAT(joined);
	STAT(refused_full);
	STAT(l0_hits);
	STAT(quick);
#undef STAT
	struct rusage usage;
	if (getrusage(RUSAGE_SELF, &usage) == 0) {
		luab_setnum(L, "usertime", timeval_seconds(&usage.ru_utime));
		luab_setnum(L, "systime", timeval_seconds(&usage.ru_stime));
		luab_setnum(L, "pagefaults", usage.ru_majflt);
		luab_setnum(L, "swaps", usage.ru_nswap);
		luab_setnum(L, "csw", usage.ru_nvcsw + usage.ru_nivcsw);
	}
	luab_setnum(L, "rss", resident_bytes());
	return 1;
}

/**
 * worker._start(packet, flags, finish function or nil, init function or nil): begin an internal
 * query. Not an FFI call because hooks run inside. @return did it start or end well
 */
static int worker_start(lua_State *L)
{
	knot_pkt_t *packet = luab_cdata_ptr(L, 1);
	const struct kr_qflags *options = luab_cdata_ptr(L, 2);
	lua_settop(L, 4);
	struct qr_task *task =
		packet ? worker_resolve_start(packet, options ? *options : (struct kr_qflags){0})
		       : NULL;
	if (!task)
		return luab_error(L, "cannot start a query");
	struct kr_request *req = worker_task_request(task);
	if (lua_isfunction(L, 3)) {
		lua_pushvalue(L, 3);
		ffi_request_on_finish(L, req);
	}
	if (lua_isfunction(L, 4)) {
		kr_layer_t_static = (kr_layer_t){.state = req->state, .req = req};
		lua_pushvalue(L, 4);
		if (engine_pcall(L, 0, 0, GUARD_HOOK_MS) != 0) {
			kr_log_error(SYSTEM, "error: init of a query: %s\n", lua_tostring(L, -1));
			lua_pop(L, 1);
		}
	}
	lua_pushboolean(L, worker_resolve_exec(task, packet) == 0);
	return 1;
}

static int set_out_addr(lua_State *L, int family, const struct sockaddr **slot)
{
	if (lua_gettop(L) > 0 && lua_isnil(L, 1)) {
		free((void *)*slot);
		*slot = NULL;
		return luab_true(L);
	}
	if (lua_gettop(L) > 0) {
		struct sockaddr *sa =
			lua_type(L, 1) == LUA_TSTRING &&
					kr_straddr_family(lua_tostring(L, 1)) == family
				? kr_straddr_socket(lua_tostring(L, 1), 0, NULL)
				: NULL;
		if (!sa)
			return luab_error(L, "expected an IPv%c address or nil",
				family == AF_INET ? '4' : '6');
		free((void *)*slot);
		*slot = sa;
		return luab_true(L);
	}
	if (!*slot) {
		lua_pushnil(L);
		return 1;
	}
	char text[INET6_ADDRSTRLEN];
	inet_ntop(family, kr_inaddr(*slot), text, sizeof(text));
	lua_pushstring(L, text);
	return 1;
}

static int outgoing_v4(lua_State *L)
{
	return set_out_addr(L, AF_INET, &the_engine->worker.out_addr4);
}

static int outgoing_v6(lua_State *L)
{
	return set_out_addr(L, AF_INET6, &the_engine->worker.out_addr6);
}

/** worker.sd_notify(state) -> was there a service manager to be told? */
static int worker_sd_notify(lua_State *L)
{
	const char *state = luaL_checkstring(L, 1);
	int ret = 0;
#if ENABLE_LIBSYSTEMD
	ret = sd_notify(0, state);
#else
	(void)state;
#endif
	lua_pushboolean(L, ret > 0);
	return 1;
}

void luab_worker(lua_State *L)
{
	static const luaL_Reg functions[] = {
		{"stats", worker_stats},
		{"sd_notify", worker_sd_notify},
		{"_start", worker_start},
		{"_outgoing_v4", outgoing_v4},
		{"_outgoing_v6", outgoing_v6},
		{NULL, NULL},
	};
	luab_register(L, "worker", functions);
	lua_getglobal(L, "worker");
	luab_setnum(L, "count", the_engine->worker.count);
	luab_setnum(L, "pid", getpid());
	char cwd[PATH_MAX];
	luab_setstr(L, "cwd", getcwd(cwd, sizeof(cwd)) ? cwd : ".");
	lua_pop(L, 1);
}
