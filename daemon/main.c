/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Reads the command line, builds the engine, runs the loop and takes everything down in reverse.
 * The order of the start is the contract of the manual: bind, change directory, check, Lua,
 * configuration, defaults, drop rights, serve.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include "kresconfig.h"
#if ENABLE_LIBSYSTEMD
#include <systemd/sd-daemon.h>
#endif

#include "daemon/args.h"
#include "daemon/clock.h"
#include "daemon/control.h"
#include "daemon/engine.h"
#include "daemon/guard.h"
#include "daemon/netio_uv.h"
#include "daemon/reload.h"
#include "daemon/rights.h"
#include "daemon/rnd.h"
#include "daemon/log_target.h"
#include "lib/log.h"
#include "lib/dnssec.h"

/** Exit status after SIGBUS. */
#define EXIT_SIGBUS 121
/** How long requests in flight may take when we are told to stop. */
#define DRAIN_MAX_MS 5000
/** How often draining looks whether they are done. */
#define DRAIN_STEP_MS 20
/** How often the cache file is looked after. */
#define CACHE_HEALTH_MS 5000
/** Fewer descriptors than that are worth a word. */
#define OPEN_FILES_WANTED 524288
/** Fewer than that can limit even a small installation. */
#define OPEN_FILES_NEEDED 4096

/** What the loop drives besides sockets. */
struct main_loop {
	uv_loop_t *loop;
	struct engine *engine;
	uv_prepare_t turn_end;
	uv_check_t turn_begin;
	uv_timer_t drain, health;
	uint64_t drain_until_ms;
	uv_signal_t sigterm, sigint, sigchld, sighup;
};

/* ---- Signals ---- */

static void write_text(const char *text)
{
	if (write(STDERR_FILENO, text, strlen(text)) < 0)
		return; /* there is nobody left to tell */
}

/** If the cache is at fault, its file goes away, so that the next process starts with a sound one.
 */
static void blame_cache(const void *addr)
{
	const struct kr_cache *cache = the_resolver ? &the_resolver->cache : NULL;
	if (cache && cache->db && cache->api == kr_cdb_lmdb() &&
		kr_cdb_lmdb_on_fault(cache->db, addr))
		write_text("[system] The cache file was damaged or its file system is full; it was "
			   "removed.\n");
}

/** The cache file could not be backed by the file system. Only async-signal-safe calls here. */
static void on_sigbus(int sig, siginfo_t *info, void *context)
{
	write_text("[system] SIGBUS: a page of memory could not be read or written.\n");
	blame_cache(info->si_addr);
	_exit(EXIT_SIGBUS);
}

/** A damaged cache must not crash us again after a restart; then die as we would have. */
static void on_crash(int sig, siginfo_t *info, void *context)
{
	blame_cache(sig == SIGSEGV ? info->si_addr : NULL);
	raise(sig); /* the handler was reset: the default action follows */
}

static void on_drain(uv_timer_t *timer)
{
	struct main_loop *ml = timer->data;
	if (worker_pending(&ml->engine->worker) == 0 || uv_now(ml->loop) >= ml->drain_until_ms)
		engine_stop(ml->engine, EXIT_SUCCESS);
}

/** First: answer what is in flight, then stop. Second: stop at once. */
static void on_stop_signal(uv_signal_t *handle, int signum)
{
	struct main_loop *ml = handle->data;
	if (ml->drain_until_ms != 0) {
		engine_stop(ml->engine, EXIT_SUCCESS);
		return;
	}
	ml->drain_until_ms = uv_now(ml->loop) + DRAIN_MAX_MS;
	network_stop_accepting(&ml->engine->net);
	uv_timer_start(&ml->drain, on_drain, 0, DRAIN_STEP_MS);
}

static void on_sigchld(uv_signal_t *handle, int signum)
{
	int status;
	for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
		reload_on_child(pid, status);
}

static void on_sighup(uv_signal_t *handle, int signum)
{
	const struct main_loop *ml = handle->data;
	if (ml->drain_until_ms == 0)
		reload_start();
}

static void set_plain_handlers(bool is_interactive)
{
	struct sigaction ignore = {.sa_handler = SIG_IGN};
	sigaction(SIGPIPE, &ignore, NULL);
	if (!is_interactive) /* until we can do what it asks for */
		sigaction(SIGHUP, &ignore, NULL);
	struct sigaction bus = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO};
	sigaction(SIGBUS, &bus, NULL);
	struct sigaction crash = {.sa_sigaction = on_crash, .sa_flags = SA_SIGINFO | SA_RESETHAND};
	sigaction(SIGSEGV, &crash, NULL);
	sigaction(SIGABRT, &crash, NULL);
}

static void watch_signal(struct main_loop *ml, uv_signal_t *handle, uv_signal_cb cb, int signum)
{
	uv_signal_init(ml->loop, handle);
	handle->data = ml;
	uv_signal_start(handle, cb, signum);
	uv_unref((uv_handle_t *)handle);
}

/* ---- Loop ---- */

static void on_turn_end(uv_prepare_t *handle)
{
	struct main_loop *ml = handle->data;
	clock_tick(&ml->engine->resolver);
	worker_loop_end(&ml->engine->worker);
}

static void on_turn_begin(uv_check_t *handle)
{
	struct main_loop *ml = handle->data;
	clock_tick(&ml->engine->resolver);
}

static void on_health(uv_timer_t *timer)
{
	struct main_loop *ml = timer->data;
	if (kr_cache_is_open(&ml->engine->resolver.cache))
		kr_cache_check_health(&ml->engine->resolver.cache);
}

static void main_loop_init(
	struct main_loop *ml, uv_loop_t *loop, struct engine *engine, bool interactive)
{
	ml->loop = loop;
	ml->engine = engine;
	uv_prepare_init(loop, &ml->turn_end);
	uv_check_init(loop, &ml->turn_begin);
	uv_timer_init(loop, &ml->drain);
	uv_timer_init(loop, &ml->health);
	ml->turn_end.data = ml->turn_begin.data = ml->drain.data = ml->health.data = ml;
	uv_prepare_start(&ml->turn_end, on_turn_end);
	uv_check_start(&ml->turn_begin, on_turn_begin);
	uv_timer_start(&ml->health, on_health, CACHE_HEALTH_MS, CACHE_HEALTH_MS);
	watch_signal(ml, &ml->sigterm, on_stop_signal, SIGTERM);
	watch_signal(ml, &ml->sigint, on_stop_signal, SIGINT);
	watch_signal(ml, &ml->sigchld, on_sigchld, SIGCHLD);
	if (!interactive) /* a lost terminal ends a console */
		watch_signal(ml, &ml->sighup, on_sighup, SIGHUP);
	uv_loop_configure(loop, UV_LOOP_BLOCK_SIGNAL, SIGPROF);
}

static void close_handle(uv_handle_t *handle, void *arg)
{
	if (!uv_is_closing(handle))
		uv_close(handle, NULL);
}

/** Close what is left and let closing callbacks run. */
static void main_loop_deinit(struct main_loop *ml)
{
	uv_handle_t *handles[] = {
		(uv_handle_t *)&ml->turn_end,
		(uv_handle_t *)&ml->turn_begin,
		(uv_handle_t *)&ml->drain,
		(uv_handle_t *)&ml->health,
		(uv_handle_t *)&ml->sigterm,
		(uv_handle_t *)&ml->sigint,
		(uv_handle_t *)&ml->sigchld,
		(uv_handle_t *)&ml->sighup,
	};
	for (size_t i = 0; i < KR_COUNT_OF(handles); ++i)
		if (handles[i]->loop)
			close_handle(handles[i], NULL);
	uv_run(ml->loop, UV_RUN_DEFAULT);
}

/* ---- Start ---- */

static int enter_rundir(const char *rundir)
{
	if (rundir && (access(rundir, W_OK) != 0 || chdir(rundir) != 0)) {
		kr_log_error(SYSTEM, "rundir '%s': %s\n", rundir, strerror(errno));
		return kr_error(errno);
	}
	return kr_ok();
}

/** Every -c file can be read; the implicit `config` is used if it can. */
static int check_configs(struct args *args)
{
	char cwd[4096];
	if (!getcwd(cwd, sizeof(cwd)))
		strcpy(cwd, "?");
	size_t files = 0;
	for (size_t i = 0; i < args->config.len; ++i) {
		const char *path = args->config.at[i];
		if (strcmp(path, "-") == 0)
			continue;
		files += 1;
		if (access(path, R_OK) != 0) {
			kr_log_error(SYSTEM, "config '%s' (workdir '%s'): %s\n", path, cwd,
				strerror(errno));
			return kr_error(errno);
		}
	}
	if (files == 0 && access("config", R_OK) == 0 && array_push(args->config, "config") < 0)
		return kr_error(ENOMEM);
	return kr_ok();
}

static void raise_open_files(void)
{
	struct rlimit limit;
	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	getrlimit(RLIMIT_NOFILE, &limit);
	if (limit.rlim_cur < OPEN_FILES_NEEDED)
		kr_log_warning(SYSTEM, "the limit of open files is %llu, which is little\n",
			(unsigned long long)limit.rlim_cur);
	else if (limit.rlim_cur < OPEN_FILES_WANTED)
		kr_log_info(SYSTEM, "the limit of open files is %llu, at least %d is recommended\n",
			(unsigned long long)limit.rlim_cur, OPEN_FILES_WANTED);
}

/** Deprecated -f: all processes are equal. */
static int fork_all(int count)
{
	for (int i = 1; i < count; ++i) {
		pid_t pid = fork();
		if (pid < 0) {
			kr_log_error(SYSTEM, "cannot fork: %s\n", strerror(errno));
			return kr_error(errno);
		}
		if (pid == 0)
			return kr_ok();
	}
	return kr_ok();
}

static int listen_fds(struct engine *engine, struct args *args)
{
	for (size_t i = 0; i < args->fds.len; ++i) {
		flagged_fd_t *entry = &args->fds.at[i];
		const char *why = NULL;
		int ret = network_listen_fd(&engine->net, entry->fd, entry->flags, &why);
		if (ret != 0) {
			kr_log_error(NETWORK, "listen on fd=%d%s%s: %s\n", entry->fd,
				entry->addr ? " " : "", entry->addr ? entry->addr : "",
				why ? why : strerror(-ret));
			return ret;
		}
	}
	array_clear(args->fds);
	return kr_ok();
}

static void notify_ready(void)
{
#if ENABLE_LIBSYSTEMD
	sd_notify(0, "READY=1");
#endif
}

/** From the Lua environment to the end of the loop. @return exit status */
static int serve(struct engine *engine, struct args *args)
{
	if (engine_load_sandbox(engine) != 0 || listen_fds(engine, args) != 0 ||
		reload_configure(engine, args) != 0)
		return EXIT_FAILURE;
	rights_drop(args->allow_root);
	engine->net.missing_kind_is_error = true;
	if (network_engage_endpoints(&engine->net) != 0)
		return EXIT_FAILURE;
	if (args->interactive && control_console(engine) != 0)
		return EXIT_FAILURE;
	notify_ready();
	if (!engine->is_stopping)
		uv_run(engine->net.loop, UV_RUN_DEFAULT);
	return engine->exit_status;
}

/** The engine over libuv with everything that it needs. @return NULL if there is no memory */
static struct netio *prepare(struct engine *engine, uv_loop_t *loop, const struct args *args)
{
	if (uv_loop_init(loop) != 0)
		return NULL;
	clock_set_loop(loop);
	struct netio *io = netio_uv_new(loop);
	if (!io)
		return NULL;
	engine->net.loop = loop;
	engine->worker.count = args->forks;
	engine->is_quiet = args->quiet;
	engine->is_rehearsal = args->check;
	engine->resolver.rnd = kr_rnd_source;
	netio_uv_set_context(io, &engine->resolver);
	clock_tick(&engine->resolver);
	kr_crypto_init();
	engine->worker.l0_enabled = true;
	engine->worker.quick_enabled = true;
	return io;
}

/** Build the engine, serve, take it down. @return exit status */
static int run(struct args *args)
{
	static struct engine engine;
	struct main_loop ml = {0};
	uv_loop_t loop;
	struct netio *io = prepare(&engine, &loop, args);
	if (!io)
		return EXIT_FAILURE;
	int status = EXIT_FAILURE;
	if (engine_init(&engine, io) == 0) {
		main_loop_init(&ml, &loop, &engine, args->interactive);
		reload_init(&engine, args);
		if (guard_start(engine.L) != 0)
			kr_log_warning(SYSTEM, "endless Lua functions will not be stopped: %s\n",
				strerror(errno));
		status = serve(&engine, args);
	} else {
		kr_log_error(SYSTEM, "cannot start: not enough memory\n");
		ml.loop = &loop;
	}
	control_deinit();
	reload_deinit();
	engine_deinit(&engine);
	netio_uv_close(io);
	main_loop_deinit(&ml);
	netio_uv_free(io);
	uv_loop_close(&loop);
	return status;
}

/** Run the configuration without serving it, and tell what is wrong. @return exit status */
static int run_check(struct args *args)
{
	static struct engine engine;
	struct main_loop ml = {0};
	uv_loop_t loop;
	int problems = 1;
	struct netio *io = prepare(&engine, &loop, args);
	if (!io)
		return EXIT_FAILURE;
	ml.loop = &loop;
	if (engine_init(&engine, io) == 0) {
		engine.net.is_rehearsal = true;
		guard_start(engine.L);
		if (args->config.len == 0 && access("config", R_OK) == 0)
			array_push(args->config, "config");
		if (engine_load_sandbox(&engine) == 0)
			problems = engine_check(&engine, args->config.at, args->config.len);
	}
	engine_deinit(&engine);
	netio_uv_close(io);
	main_loop_deinit(&ml);
	netio_uv_free(io);
	uv_loop_close(&loop);
	return problems == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/** Whoever started us may have closed them; a socket must not end up in their place. */
static void open_standard_files(void)
{
	int fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO)
		fd = dup(fd);
	if (fd >= 0)
		close(fd);
}

int main(int argc, char **argv)
{
	struct args args;
	open_standard_files();
	setvbuf(stdout, NULL, _IONBF, 0);
	setvbuf(stderr, NULL, _IONBF, 0);
	the_args = &args;
	log_target_start();
	const enum args_result parsed = args_parse(argc, argv, &args);
	int status = parsed == ARGS_EXIT_OK ? EXIT_SUCCESS : EXIT_FAILURE;
	if (parsed != ARGS_RUN)
		goto cleanup;
	if (args.check) {
		status = run_check(&args);
		goto cleanup;
	}
	set_plain_handlers(args.interactive);
	if (args_bind(&args) != 0 || enter_rundir(args.rundir) != 0 || check_configs(&args) != 0)
		goto cleanup;
	raise_open_files();
	if (fork_all(args.forks) != 0)
		goto cleanup;
	status = run(&args);
cleanup:
	args_deinit(&args);
	return status;
}
