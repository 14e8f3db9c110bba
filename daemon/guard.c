/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/guard.h"

#include <lauxlib.h>
#include <lua.h>
#include <signal.h>
#include <sys/time.h>

#include "lib/defines.h"

/** Distance of ticks in ms of CPU time. */
#define TICK_MS 25
/** Value of ticks_left once the hook is set. */
#define STOPPING (-1)

/* Shared with the signal handler. */
static lua_State *volatile guarded;
/** Ticks left for the innermost call; 0 = nothing is limited. */
static volatile sig_atomic_t ticks_left;

static void stop_function(lua_State *L, lua_Debug *ar)
{
	/* The hook stays until guard_leave(): it is raised again if the function catches it. */
	luaL_error(L, "the function was stopped because it runs for too long");
}

/** lua_sethook() is the one call of Lua that a signal handler may make. */
static void on_tick(int sig)
{
	if (ticks_left <= 0)
		return; /* idle, or stopping already */
	ticks_left -= 1;
	if (ticks_left == 0 && guarded) {
		ticks_left = STOPPING;
		lua_sethook(guarded, stop_function, LUA_MASKCALL | LUA_MASKRET | LUA_MASKCOUNT, 1);
	}
}

static int set_timer(int ms)
{
	const struct timeval step = {.tv_usec = ms * 1000};
	const struct itimerval timer = {.it_interval = step, .it_value = step};
	return setitimer(ITIMER_PROF, &timer, NULL) == 0 ? kr_ok() : kr_error(errno);
}

int guard_start(lua_State *L)
{
	struct sigaction action = {.sa_handler = on_tick, .sa_flags = SA_RESTART};
	guarded = L;
	ticks_left = 0;
	if (sigaction(SIGPROF, &action, NULL) != 0)
		return kr_error(errno);
	return set_timer(TICK_MS);
}

void guard_watch(lua_State *L)
{
	ticks_left = 0;
	guarded = L;
}

void guard_stop(void)
{
	if (!guarded)
		return;
	set_timer(0);
	guarded = NULL;
}

int guard_enter(unsigned limit_ms)
{
	const int saved = ticks_left;
	/* One more, because the first tick may come at once. */
	const int wanted = limit_ms / TICK_MS + 1;
	if (saved == 0 || (saved > 0 && wanted < saved))
		ticks_left = wanted;
	return saved;
}

void guard_leave(int saved)
{
	const bool is_stopping = ticks_left == STOPPING;
	ticks_left = saved;
	if (is_stopping && guarded) /* the hook must not meet whoever runs next */
		lua_sethook(guarded, NULL, 0, 0);
}
