/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/reload.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include "daemon/args.h"
#include "daemon/clock.h"
#include "daemon/engine.h"
#include "daemon/setup.h"
#include "lib/log.h"

/** What a failed check has said is cut to that, bytes. */
#define REPORT_MAX 4096

struct waiter {
	reload_done_f done;
	void *baton;
};

static struct {
	struct engine *engine;
	const struct args *args;
	uv_timer_t timer;
	pid_t child;  /**< > 0: a check is running */
	int report;   /**< file with what it says */
	bool is_busy; /**< from reload_start() to the end */
	bool is_again;
	bool was_asked;
	array_t(struct waiter) waiters;
} reload;

/* ---- The end ---- */

static void start_later(void);

static void finish(const char *error)
{
	array_t(struct waiter) waiters = {
		.at = reload.waiters.at, .len = reload.waiters.len, .cap = reload.waiters.cap};
	array_init(reload.waiters);
	reload.is_busy = false;
	for (size_t i = 0; i < waiters.len; ++i)
		waiters.at[i].done(waiters.at[i].baton, error);
	array_clear(waiters);
	if (reload.is_again)
		start_later();
}

static void fail(const char *error)
{
	kr_log_error(SYSTEM, "reload: the old configuration stays in force: %s\n", error);
	finish(error);
}

/* ---- The new setup ---- */

int reload_configure(struct engine *engine, const struct args *args)
{
	bool has_defaults = true;
	for (size_t i = 0; i < args->config.len; ++i) {
		if (strcmp(args->config.at[i], "-") == 0) {
			has_defaults = false;
			continue;
		}
		int ret = engine_loadconf(engine, args->config.at[i]);
		if (ret != 0)
			return ret;
	}
	return has_defaults ? engine_start_defaults(engine) : kr_ok();
}

static int find_unserved(const char *key, struct endpoint *ep, void *baton)
{
	struct engine *engine = baton;
	if (!ep->flags.kind || luab_kind_is_served(engine->L, ep->flags.kind))
		return kr_ok();
	kr_log_error(NETWORK, "nobody serves kind '%s' of '%s'\n", ep->flags.kind, key);
	return kr_error(ENOENT);
}

static const char *try_setup(struct engine *engine)
{
	if (engine_lua_open(engine) != 0)
		return "not enough memory";
	guard_watch(engine->L);
	if (engine_load_sandbox(engine) != 0)
		return "the Lua environment cannot be started";
	if (reload_configure(engine, reload.args) != 0)
		return engine_config_error();
	if (network_foreach(&engine->net, find_unserved, engine) != 0)
		return "there is an endpoint of a kind that nobody serves";
	return NULL;
}

static void apply(void)
{
	struct engine *engine = reload.engine;
	struct setup old;
	clock_tick(&engine->resolver);
	if (setup_begin(engine, &old) != 0) {
		fail("not enough memory");
		return;
	}
	const char *error = try_setup(engine);
	if (error) {
		setup_rollback(engine, &old);
		fail(error);
		return;
	}
	setup_commit(engine, &old);
	kr_log_notice(SYSTEM, "reload: the new configuration is in force\n");
	finish(NULL);
}

/* ---- The check ---- */

/** Environment without what would let the child speak for us to the service manager. */
static char **child_environment(void)
{
	static const char *const secret[] = {"NOTIFY_SOCKET=", "WATCHDOG_USEC=", "WATCHDOG_PID="};
	size_t count = 0, kept = 0;
	while (environ[count])
		count += 1;
	char **env = calloc(count + 1, sizeof(*env));
	for (size_t i = 0; env && i < count; ++i) {
		bool is_secret = false;
		for (size_t j = 0; j < KR_COUNT_OF(secret); ++j)
			is_secret |= strncmp(environ[i], secret[j], strlen(secret[j])) == 0;
		if (!is_secret)
			env[kept++] = environ[i];
	}
	return env;
}

/** @return 0 or an errno value */
static int spawn_check(const struct args *args)
{
	char **env = child_environment();
	char **argv = calloc(args->config.len + 3, sizeof(*argv));
	posix_spawn_file_actions_t actions;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, reload.report, STDOUT_FILENO);
	posix_spawn_file_actions_adddup2(&actions, reload.report, STDERR_FILENO);
	int ret = ENOMEM;
	if (env && argv) {
		argv[0] = (char *)"kresd";
		argv[1] = (char *)"--check";
		for (size_t i = 0; i < args->config.len; ++i)
			argv[i + 2] = (char *)args->config.at[i];
		ret = posix_spawn(&reload.child, "/proc/self/exe", &actions, NULL, argv, env);
	}
	posix_spawn_file_actions_destroy(&actions);
	free(argv);
	free(env);
	if (ret != 0)
		reload.child = 0;
	return ret;
}

static void on_check_timeout(uv_timer_t *timer)
{
	if (reload.child > 0)
		kill(reload.child, SIGKILL);
}

static void close_report(void)
{
	if (reload.report >= 0)
		close(reload.report);
	reload.report = -1;
}

static void on_start(uv_timer_t *timer)
{
	reload.is_again = false;
	reload.report = memfd_create("kresd-check", MFD_CLOEXEC);
	int ret = reload.report >= 0 ? spawn_check(reload.args) : errno;
	if (ret == 0) {
		uv_timer_start(&reload.timer, on_check_timeout, RELOAD_CHECK_MS, 0);
		return;
	}
	close_report();
	kr_log_info(SYSTEM, "reload: the configuration cannot be checked by another process: %s\n",
		strerror(ret));
	apply();
}

static void start_later(void)
{
	reload.is_busy = true;
	uv_timer_start(&reload.timer, on_start, 0, 0);
}

void reload_on_child(pid_t pid, int status)
{
	if (pid != reload.child || pid <= 0)
		return;
	reload.child = 0;
	uv_timer_stop(&reload.timer);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
		close_report();
		apply();
		return;
	}
	char text[REPORT_MAX + 1];
	ssize_t len = pread(reload.report, text, REPORT_MAX, 0);
	len = KR_MAX(len, 0);
	while (len > 0 && text[len - 1] == '\n')
		len -= 1;
	text[len] = '\0';
	close_report();
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
		fail("the check took too long and was stopped");
	else
		fail(len > 0 ? text : "the check of the new one has failed");
}

/* ---- Who asks ---- */

void reload_start(void)
{
	reload.was_asked = true;
	if (reload.is_busy)
		reload.is_again = true; /* the files may have changed since they were read */
	else if (reload.engine)
		start_later();
}

bool reload_was_asked(void)
{
	const bool was_asked = reload.was_asked;
	reload.was_asked = false;
	return was_asked;
}

bool reload_wait(reload_done_f done, void *baton)
{
	const struct waiter waiter = {done, baton};
	return reload.is_busy && array_push(reload.waiters, waiter) >= 0;
}

void reload_forget(const void *baton)
{
	for (size_t i = reload.waiters.len; i > 0; --i)
		if (reload.waiters.at[i - 1].baton == baton)
			array_del(reload.waiters, i - 1);
}

/* ---- Life ---- */

int reload_init(struct engine *engine, const struct args *args)
{
	reload.engine = engine;
	reload.args = args;
	reload.report = -1;
	return uv_timer_init(engine->net.loop, &reload.timer);
}

void reload_deinit(void)
{
	if (!reload.engine)
		return;
	if (reload.child > 0) {
		kill(reload.child, SIGKILL);
		waitpid(reload.child, NULL, 0);
	}
	reload.child = 0;
	close_report();
	array_clear(reload.waiters);
	uv_close((uv_handle_t *)&reload.timer, NULL);
	reload.engine = NULL;
}
