/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Stops Lua functions that do not come to an end (spec F-34). A timer that counts CPU time of the
 * process ticks while we are busy; a call that uses up its ticks gets a debug hook, which raises an
 * error in it. Entering and leaving cost no system call. Code compiled by LuaJIT does not look for
 * hooks, so configuration, console commands and modules that are not ours run interpreted.
 */
#pragma once

#include <stdbool.h>

struct lua_State;

/** CPU time a hook of a module may take, ms. */
#define GUARD_HOOK_MS 150
/** ... a timer, socket or control command, ms; below the patience of a service manager's watchdog.
 */
#define GUARD_EVENT_MS 8000
/** ... a configuration file, ms. */
#define GUARD_CONFIG_MS 30000

/** Start the timer. Without it the other functions do nothing. @return 0 or an error */
int guard_start(struct lua_State *L);
/** Watch this Lua state from now on; no function of either may be running. NULL: none. */
void guard_watch(struct lua_State *L);
/** Stop it; before the Lua state is closed. */
void guard_stop(void);

/** A call begins; limits of enclosing calls stay in force. @return to be given to guard_leave() */
int guard_enter(unsigned limit_ms);
/** The call is over, in peace or not. */
void guard_leave(int saved);
