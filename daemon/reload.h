/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Reading the configuration anew while we serve (SIGHUP, reload()). First another process checks it
 * (kresd --check), so that nothing it does, be it an endless loop, can hurt; then it runs here on a
 * fresh setup (daemon/setup.h), which replaces the old one only if all of it is good. Sockets of
 * both stay open all the time, requests in flight go on.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

struct args;
struct engine;

/** How long a check may take, ms. */
#define RELOAD_CHECK_MS 60000

/** @param error  NULL: the new configuration is in force; else why the old one still is */
typedef void (*reload_done_f)(void *baton, const char *error);

/** Be able to reload. @param args  lent: files of the configuration */
int reload_init(struct engine *engine, const struct args *args);
/** Forget a reload under way. */
void reload_deinit(void);
/** Begin, or begin again after the one under way. */
void reload_start(void);
/** Was reload_start() called since this was called last? */
bool reload_was_asked(void);
/** Be told the end of the reload that is under way. @return false if there is none */
bool reload_wait(reload_done_f done, void *baton);
/** The waiting one goes away. */
void reload_forget(const void *baton);
/** A child process has ended. */
void reload_on_child(pid_t pid, int status);
/** Configuration files in order, then defaults unless `-c -` was given. @return 0 or an error,
 * which was logged */
int reload_configure(struct engine *engine, const struct args *args);
