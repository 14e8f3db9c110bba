/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Compiled lists are never changed, so they are mapped without locks; a new generation is another
 * file that takes the name of the old one, which goes on to exist until nobody maps it. */

#include "lib/rules/list_store.h"

#include <fcntl.h>
#include <lmdb.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/utils.h"

/** What the child reports when all is well. */
#define DONE_TEXT "+"

struct list_store {
	MDB_env *env;
	MDB_txn *txn;
	MDB_dbi dbi;
	MDB_cursor *cursor;
	struct list_meta meta;
};

/* ---- mapping ---- */

static bool is_whole(struct list_store *store, const char *path)
{
	struct stat st;
	MDB_envinfo info;
	MDB_stat stat_db;
	return stat(path, &st) == 0 && mdb_env_info(store->env, &info) == 0 &&
	       mdb_env_stat(store->env, &stat_db) == 0 &&
	       (uint64_t)st.st_size >= ((uint64_t)info.me_last_pgno + 1) * stat_db.ms_psize;
}

static bool read_meta(struct list_store *store)
{
	size_t len = 0;
	const uint8_t *meta =
		list_store_get(store, (const uint8_t *)LIST_META_KEY, sizeof(LIST_META_KEY), &len);
	if (!meta || len != sizeof(store->meta))
		return false;
	memcpy(&store->meta, meta, len);
	return store->meta.version == LIST_VERSION;
}

struct list_store *list_store_open(const char *path)
{
	struct list_store *store = calloc(1, sizeof(*store));
	struct stat st;
	if (!store || stat(path, &st) != 0 || st.st_size == 0 || mdb_env_create(&store->env) != 0)
		goto fail;
	const unsigned flags = MDB_RDONLY | MDB_NOSUBDIR | MDB_NOLOCK | MDB_NORDAHEAD | MDB_NOTLS;
	if (mdb_env_set_mapsize(store->env, st.st_size) != 0 ||
		mdb_env_open(store->env, path, flags, 0644) != 0 || !is_whole(store, path) ||
		mdb_txn_begin(store->env, NULL, MDB_RDONLY, &store->txn) != 0 ||
		mdb_dbi_open(store->txn, NULL, 0, &store->dbi) != 0 ||
		mdb_cursor_open(store->txn, store->dbi, &store->cursor) != 0 || !read_meta(store))
		goto fail;
	return store;
fail:
	list_store_close(store);
	return NULL;
}

void list_store_close(struct list_store *store)
{
	if (!store)
		return;
	if (store->cursor)
		mdb_cursor_close(store->cursor);
	mdb_txn_abort(store->txn);
	if (store->env)
		mdb_env_close(store->env);
	free(store);
}

const struct list_meta *list_store_meta(const struct list_store *store)
{
	return &store->meta;
}

const uint8_t *list_store_get(
	struct list_store *store, const uint8_t *key, size_t key_len, size_t *len)
{
	MDB_val k = {key_len, (void *)key};
	MDB_val v;
	if (mdb_get(store->txn, store->dbi, &k, &v) != 0)
		return NULL;
	*len = v.mv_size;
	return v.mv_data;
}

void list_store_each(struct list_store *store, uint8_t letter,
	void (*f)(const uint8_t *key, size_t key_len, const uint8_t *value, size_t len, void *data),
	void *data)
{
	MDB_val k = {1, &letter};
	MDB_val v;
	int ret = mdb_cursor_get(store->cursor, &k, &v, MDB_SET_RANGE);
	while (ret == 0 && k.mv_size > 0 && *(const uint8_t *)k.mv_data == letter) {
		f(k.mv_data, k.mv_size, v.mv_data, v.mv_size, data);
		ret = mdb_cursor_get(store->cursor, &k, &v, MDB_NEXT);
	}
}

/* ---- making ---- */

static bool same_source(const struct list_meta *a, const struct list_meta *b)
{
	return a->dev == b->dev && a->ino == b->ino && a->size == b->size &&
	       a->mtime_s == b->mtime_s && a->mtime_ns == b->mtime_ns;
}

/** Name of the shared file: the source's own name, and a number for where it is. */
static void name_shared(struct list_watch *watch, const struct kr_list_config *config)
{
	char real[PATH_MAX];
	if (!realpath(config->path, real))
		snprintf(real, sizeof(real), "%s", config->path);
	uint64_t hash = 0xcbf29ce484222325 ^ config->format; /* FNV-1a: only to tell paths apart */
	for (const char *at = real; *at; ++at)
		hash = (hash ^ (uint8_t)*at) * 0x100000001b3;
	const char *base = strrchr(real, '/');
	const int len = snprintf(watch->shared, sizeof(watch->shared), "%s/%.100s-%016llx.mdb",
		config->dir, base ? base + 1 : real, (unsigned long long)hash);
	if (len < 0 || (size_t)len >= sizeof(watch->shared) - sizeof(".lock"))
		watch->shared[0] = '\0';
}

static int lock_shared(struct list_watch *watch, const struct kr_list_config *config, int how)
{
	char path[PATH_MAX + sizeof(".lock")];
	(void)mkdir(config->dir, 0755); /* what is wrong with it, open() tells */
	snprintf(path, sizeof(path), "%s.lock", watch->shared);
	watch->lock = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0644);
	if (watch->lock < 0)
		return kr_error(errno);
	int ret;
	do {
		ret = flock(watch->lock, how);
	} while (ret != 0 && errno == EINTR);
	if (ret == 0)
		return kr_ok();
	ret = kr_error(errno);
	(void)close(watch->lock);
	watch->lock = -1;
	return ret;
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
	*fd = -1;
}

static void memory_path(const struct list_watch *watch, char *path, size_t len)
{
	snprintf(path, len, "/proc/self/fd/%d", watch->memory);
}

/** Compile into the private or the shared file. */
static int build_into(struct list_watch *watch, const struct kr_list_config *config, char *error)
{
	char to[PATH_MAX + sizeof(".new")];
	if (watch->lock < 0) {
		memory_path(watch, to, sizeof(to));
		return list_build(config, to, error);
	}
	snprintf(to, sizeof(to), "%s.new", watch->shared);
	(void)unlink(to); /* left behind by somebody who was killed */
	int ret = list_build(config, to, error);
	if (ret == 0 && rename(to, watch->shared) != 0) {
		ret = kr_error(errno);
		snprintf(error, KR_LIST_ERROR_MAX, "cannot rename '%.300s': %s", to,
			strerror(errno));
	}
	if (ret != 0)
		(void)unlink(to);
	return ret;
}

/** Close everything but these. */
static void close_others(int a, int b, int c)
{
	const int max = KR_MAX(a, KR_MAX(b, c));
	for (int fd = 3; fd < max; ++fd) {
		if (fd != a && fd != b && fd != c)
			(void)close(fd);
	}
	(void)close_range(max + 1, ~0u, 0);
}

/** The child: compile, report by one text, and nothing else of this process. */
static _Noreturn void run_child(
	struct list_watch *watch, const struct kr_list_config *config, int report, bool is_quiet)
{
	static const int signals[] = {SIGSEGV, SIGBUS, SIGABRT, SIGTERM, SIGINT, SIGHUP};
	char error[KR_LIST_ERROR_MAX];
	for (size_t i = 0; i < KR_COUNT_OF(signals); ++i)
		(void)signal(signals[i], SIG_DFL);
	sigset_t none;
	sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	close_others(report, watch->memory, watch->lock);
	if (is_quiet && nice(10) == -1)
		kr_log_debug(POLICY, "nice: %s\n", strerror(errno));
	const int ret = build_into(watch, config, error);
	(void)fflush(NULL);
	const char *text = ret == 0 ? DONE_TEXT : error;
	const ssize_t done = write(report, text, strlen(text));
	(void)done;
	_exit(ret == 0 ? 0 : 1);
}

/** Have a child compile the list. */
static int start_child(struct list_watch *watch, const struct kr_list_config *config, bool is_quiet)
{
	int ends[2];
	if (pipe2(ends, O_CLOEXEC) != 0)
		return kr_error(errno);
	(void)fflush(NULL);
	const pid_t pid = fork();
	if (pid == 0)
		run_child(watch, config, ends[1], is_quiet);
	(void)close(ends[1]);
	watch->report = ends[0];
	if (pid < 0) {
		const int ret = kr_error(errno);
		close_fd(&watch->report);
		return ret;
	}
	watch->child = pid;
	return kr_ok();
}

/**
 * What became of the child. It says so by the pipe: the program may collect its children itself.
 * @return 1 it has done it; 0 it is at work; < 0 see error
 */
static int end_child(struct list_watch *watch, bool wait, char *error)
{
	struct pollfd report = {.fd = watch->report, .events = POLLIN};
	int ready;
	do {
		ready = poll(&report, 1, wait ? -1 : 0);
	} while (ready < 0 && errno == EINTR);
	if (ready == 0)
		return 0;
	const ssize_t len = read(watch->report, error, KR_LIST_ERROR_MAX - 1);
	error[KR_MAX(len, 0)] = '\0';
	(void)waitpid(watch->child, NULL, 0); /* it is at its end */
	watch->child = 0;
	close_fd(&watch->report);
	close_fd(&watch->lock);
	if (strcmp(error, DONE_TEXT) == 0)
		return 1;
	if (!error[0])
		snprintf(error, KR_LIST_ERROR_MAX, "the process that compiles it died");
	return kr_error(EIO);
}

/** Map what was made. */
static struct list_store *take_result(struct list_watch *watch, char *error)
{
	char path[PATH_MAX];
	if (watch->memory >= 0)
		memory_path(watch, path, sizeof(path));
	struct list_store *store = list_store_open(watch->memory >= 0 ? path : watch->shared);
	close_fd(&watch->memory);
	close_fd(&watch->lock);
	if (store)
		watch->in_use = store->meta;
	else
		snprintf(error, KR_LIST_ERROR_MAX, "the compiled list cannot be mapped");
	return store;
}

/** Somebody else may have compiled this state of the source. */
static struct list_store *find_shared(struct list_watch *watch, const struct list_meta *now)
{
	struct list_store *store = list_store_open(watch->shared);
	if (store && same_source(&store->meta, now)) {
		watch->in_use = store->meta;
		return store;
	}
	list_store_close(store);
	return NULL;
}

static bool look(const char *path, struct list_meta *now)
{
	struct stat st;
	if (stat(path, &st) != 0 || !S_ISREG(st.st_mode))
		return false;
	list_stamp(now, &st);
	return true;
}

static bool is_big(const struct kr_list_config *config, const struct list_meta *now)
{
	return now->size >= (config->big_bytes ? config->big_bytes : KR_LIST_BIG_BYTES);
}

static int use_memory(struct list_watch *watch)
{
	watch->shared[0] = '\0';
	watch->memory = memfd_create("kres-list", MFD_CLOEXEC);
	return watch->memory >= 0 ? kr_ok() : kr_error(errno);
}

/** Begin to make a generation. @return 1 done; 0 a child is at work; < 0 see error */
static int make(struct list_watch *watch, const struct kr_list_config *config, bool big,
	bool is_quiet, char *error)
{
	int ret = watch->lock < 0 ? use_memory(watch) : kr_ok();
	if (ret == 0 && !big) {
		ret = build_into(watch, config, error);
		return ret == 0 ? 1 : ret;
	}
	if (ret == 0)
		ret = start_child(watch, config, is_quiet);
	if (ret != 0)
		snprintf(error, KR_LIST_ERROR_MAX, "%s", kr_strerror(ret));
	return ret;
}

struct list_store *list_watch_start(
	struct list_watch *watch, const struct kr_list_config *config, char *error)
{
	struct list_meta now = {0};
	struct list_store *store = NULL;
	watch->memory = watch->lock = watch->report = -1;
	if (!look(config->path, &now)) {
		snprintf(error, KR_LIST_ERROR_MAX, "%s",
			errno ? strerror(errno) : "not a regular file");
		return NULL;
	}
	const bool big = is_big(config, &now);
	if (big && config->dir) {
		name_shared(watch, config);
		store = find_shared(watch, &now);
		/* Whoever is first compiles it, all others wait for that. */
		if (!store && lock_shared(watch, config, LOCK_EX) == 0)
			store = find_shared(watch, &now);
		if (store) {
			close_fd(&watch->lock);
			return store;
		}
	}
	int ret = make(watch, config, big, false, error);
	if (ret == 0)
		ret = end_child(watch, true, error);
	if (ret > 0)
		return take_result(watch, error);
	close_fd(&watch->memory);
	close_fd(&watch->lock);
	return NULL;
}

/** The source has changed and is still: get its present state. */
static int renew(struct list_watch *watch, const struct kr_list_config *config,
	const struct list_meta *now, struct list_store **store, char *error)
{
	const bool big = is_big(config, now);
	watch->shared[0] = '\0';
	if (big && config->dir) {
		name_shared(watch, config);
		*store = find_shared(watch, now);
		if (*store)
			return 1;
		const int ret = lock_shared(watch, config, LOCK_EX | LOCK_NB);
		if (ret == kr_error(EWOULDBLOCK))
			return 0; /* another process is at it */
	}
	return make(watch, config, big, true, error);
}

int list_watch_poll(struct list_watch *watch, const struct kr_list_config *config,
	struct list_store **store, char *error)
{
	struct list_meta now = {0};
	int ret;
	if (watch->child > 0) {
		ret = end_child(watch, false, error);
	} else {
		if (!look(config->path, &now) || same_source(&now, &watch->in_use) ||
			same_source(&now, &watch->refused))
			return 0;
		if (!same_source(&now, &watch->seen)) {
			watch->seen = now; /* it may still be written */
			return 0;
		}
		ret = renew(watch, config, &now, store, error);
		if (ret > 0 && *store)
			return ret;
	}
	if (ret > 0) {
		*store = take_result(watch, error);
		ret = *store ? 1 : kr_error(EIO);
	}
	if (ret < 0) {
		watch->refused = watch->seen;
		close_fd(&watch->memory);
		close_fd(&watch->lock);
	}
	return ret;
}

void list_watch_stop(struct list_watch *watch)
{
	char error[KR_LIST_ERROR_MAX];
	if (watch->child > 0) {
		(void)kill(watch->child, SIGKILL);
		(void)end_child(watch, true, error);
	}
	close_fd(&watch->memory);
	close_fd(&watch->lock);
	close_fd(&watch->report);
}
