/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The built-in store: one LMDB environment with the unnamed database, shared by processes.
 *
 * How it is opened, and why:
 * - MDB_NOSYNC: the cache may be lost, so nobody waits for the disk. Pages are handed to the kernel
 * at each commit, the meta page last: a process killed at any moment leaves a consistent file.
 * After a power cut the file may be a mixture; values carry checksums, and what LMDB itself cannot
 * stand ends in a new file.
 * - No MDB_WRITEMAP: the map stays read-only, so a stray pointer of one process cannot damage what
 * the others read, and a full disk is an error of a write call instead of SIGBUS. It costs one
 * pwrite() for each run of dirty pages.
 * - No MDB_NOMEMINIT: pages that go to the file must not carry leftovers of our heap.
 * - MDB_NOTLS: the read transaction belongs to the handle, is reset at the end of a loop turn and
 * renewed at the next read, so that no process holds old pages for longer than a turn.
 * - MDB_NORDAHEAD: look-ups are random.
 *
 * Writes of a loop turn wait in memory, where reads of the same turn find them, and go to the file
 * in one short transaction at commit. So the lock that all processes share is never held while
 * anything is being resolved, and a full store can be cleared without losing what is being written.
 *
 * The file is allocated to its full size at once where possible, hence neither sparse nor short of
 * disk later on.
 */

#include "lib/cache/backend.h"

#include <fcntl.h>
#include <limits.h>
#include <lmdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/cache/lmdb_map.h"
#include "lib/check.h"
#include "lib/log.h"
#include "lib/mm.h"
#include "lib/generic/trie.h"

/** Pending writes are sent to the file early when there are that many, or so many bytes of them. */
#define PENDING_MAX 1024
#define PENDING_BYTES_MAX (1024 * 1024)
/** Size of a store that neither configuration nor file has one for. */
#define SIZE_DEFAULT (10 * 1024 * 1024)

#define DATA_FILE "data.mdb"
#define LOCK_FILE "lock.mdb"
#define REPLACE_FILE "krcachelock"

/** A write that waits for commit; value NULL = removal. */
struct pending {
	size_t len;
	uint8_t data[];
};

struct lmdb {
	/* Where it is. */
	char *path;
	char *data_path;
	size_t asked_size; /**< by the configuration; 0 = what the file has */

	/* What is open. */
	MDB_env *env;
	MDB_dbi dbi;
	MDB_txn *reader;
	bool reader_live;   /**< not reset */
	MDB_cursor *cursor; /**< of the reader; kept from turn to turn */
	bool cursor_live;   /**< belongs to the present snapshot */
	size_t size;        /**< of the map */
	dev_t dev;
	ino_t ino;
	pid_t pid;               /**< who opened it: a child must not touch what it inherits */
	struct lmdb_range range; /**< of addresses of the map */
	volatile bool
		is_inside; /**< of LMDB: a fault now is due to the file, wherever it strikes */

	/* What waits. */
	trie_t *pending; /**< key -> struct pending * */
	struct mempool *pool;
	size_t pending_bytes;
	bool was_emptied; /**< since the last commit */
	bool is_damaged;  /**< a read has met structures that cannot be: replace at the next chance
			   */
};

/** A removal that waits. Its address is what counts. */
static const struct pending removal;

/* ---- errors ---- */

static int lmdb_error(int code)
{
	switch (code) {
	case MDB_SUCCESS:
		return kr_ok();
	case MDB_NOTFOUND:
		return kr_error(ENOENT);
	case MDB_MAP_FULL:
	case MDB_TXN_FULL:
	case MDB_PAGE_FULL:
	case ENOSPC:
	case EDQUOT:
		return kr_error(ENOSPC);
	case MDB_MAP_RESIZED:
	case MDB_READERS_FULL:
		return kr_error(EAGAIN);
	case MDB_CORRUPTED:
	case MDB_PAGE_NOTFOUND:
	case MDB_PANIC:
	case MDB_INVALID:
	case MDB_VERSION_MISMATCH:
	case MDB_INCOMPATIBLE:
	case MDB_BAD_TXN:
		return kr_error(EILSEQ);
	case MDB_BAD_VALSIZE:
		return kr_error(EINVAL);
	default:
		return code > 0 ? kr_error(code) : kr_error(EIO);
	}
}

static bool is_broken(int ret)
{
	return ret == kr_error(EILSEQ);
}

/* ---- pending writes ---- */

static void pending_forget(struct lmdb *db)
{
	trie_clear(db->pending);
	mp_flush(db->pool);
	db->pending_bytes = 0;
}

static bool has_pending(const struct lmdb *db)
{
	return trie_weight(db->pending) > 0;
}

static const struct pending *pending_find(const struct lmdb *db, const knot_db_val_t *key)
{
	if (!has_pending(db))
		return NULL;
	trie_val_t *val = trie_get_try(db->pending, key->data, key->len);
	return val ? *val : NULL;
}

static int pending_add(struct lmdb *db, const knot_db_val_t *key, const struct pending *what)
{
	trie_val_t *val = trie_get_ins(db->pending, key->data, key->len);
	if (!val)
		return kr_error(ENOMEM);
	*val = (void *)what;
	db->pending_bytes += key->len + what->len;
	return kr_ok();
}

/* ---- environment ---- */

static void reader_reset(struct lmdb *db)
{
	if (db->reader && db->reader_live)
		mdb_txn_reset(db->reader);
	db->reader_live = db->cursor_live = false;
}

/** Before the transaction that it belongs to goes away. */
static void cursor_close(struct lmdb *db)
{
	if (db->cursor)
		mdb_cursor_close(db->cursor);
	db->cursor = NULL;
	db->cursor_live = false;
}

static void env_close(struct lmdb *db)
{
	const bool is_ours = db->pid == getpid();
	if (is_ours)
		cursor_close(db);
	db->cursor = NULL;
	if (db->reader && is_ours)
		mdb_txn_abort(db->reader);
	db->reader = NULL;
	db->reader_live = false;
	if (db->env && is_ours)
		mdb_env_close(db->env);
	db->env = NULL;
	db->range = (struct lmdb_range){0};
}

/** LMDB found its own structures damaged and is about to abort(): leave no trap for the next
 * process. */
static void on_lmdb_assert(MDB_env *env, const char *msg)
{
	const struct lmdb *db = mdb_env_get_userctx(env);
	if (db)
		unlink(db->data_path);
	kr_log_crit(CACHE, "the cache file is damaged and was removed; %s\n", msg);
}

/** Size for the map: a larger file keeps its own. @return 0 = there is no file */
static size_t choose_size(const struct lmdb *db)
{
	const size_t page = sysconf(_SC_PAGESIZE);
	const size_t asked = db->asked_size / page * page;
	struct stat st;
	const size_t have = stat(db->data_path, &st) == 0 ? st.st_size / page * page : 0;
	if (have > asked && asked > 0)
		kr_log_warning(CACHE,
			"cache file '%s' has %zu MiB already and keeps that size; remove it while "
			"it is not in use to shrink it\n",
			db->data_path, have / (1024 * 1024));
	const size_t size = KR_MAX(have, asked);
	if (size > 0)
		return size;
	return db->size > 0 ? db->size : SIZE_DEFAULT; /* made anew: as it was */
}

/** Give the file its full size. Failure is no obstacle: it then grows as it is written. */
static void allocate(const struct lmdb *db, int fd)
{
	struct stat st;
	if (fstat(fd, &st) == 0 && (size_t)st.st_size >= db->size)
		return;
	int ret = posix_fallocate(fd, 0, db->size);
	if (ret != 0)
		kr_log_info(CACHE, "cannot allocate %zu bytes for '%s' in advance: %s\n", db->size,
			db->data_path, strerror(ret));
}

/** Does the file hold all the pages that it is said to have? A cut one would end in SIGBUS. */
static int check_length(const struct lmdb *db, int fd)
{
	MDB_envinfo info;
	MDB_stat stat_env;
	struct stat st;
	if (mdb_env_info(db->env, &info) != 0 || mdb_env_stat(db->env, &stat_env) != 0 ||
		fstat(fd, &st) != 0)
		return kr_error(EIO);
	const uint64_t used = ((uint64_t)info.me_last_pgno + 1) * stat_env.ms_psize;
	return info.me_last_pgno < SIZE_MAX / 65536 && used <= (uint64_t)st.st_size
		       ? kr_ok()
		       : kr_error(EILSEQ);
}

static int reader_renew(struct lmdb *db);

/** Open the environment as it is; everything is closed again on failure. */
static int env_open_once(struct lmdb *db)
{
	int ret = mdb_env_create(&db->env);
	if (ret != 0)
		return lmdb_error(ret);
	db->pid = getpid();
	db->size = choose_size(db);
	ret = mdb_env_set_mapsize(db->env, db->size);
	if (ret == 0)
		ret = mdb_env_set_userctx(db->env, db);
	if (ret == 0)
		ret = mdb_env_set_assert(db->env, on_lmdb_assert);
	if (ret == 0)
		ret = mdb_env_open(db->env, db->path, MDB_NOSYNC | MDB_NOTLS | MDB_NORDAHEAD, 0660);
	if (ret != 0) {
		env_close(db);
		return lmdb_error(ret);
	}
	int fd = -1;
	struct stat st;
	if (mdb_env_get_fd(db->env, &fd) != 0 || fstat(fd, &st) != 0 || check_length(db, fd) != 0) {
		env_close(db);
		return kr_error(EILSEQ);
	}
	db->dev = st.st_dev;
	db->ino = st.st_ino;
	allocate(db, fd);
	lmdb_find_range(&db->range, st.st_dev, st.st_ino);
	int dead = 0;
	mdb_reader_check(db->env, &dead);
	ret = reader_renew(db);
	if (ret == 0)
		ret = lmdb_error(mdb_dbi_open(db->reader, NULL, 0, &db->dbi));
	if (ret != 0)
		env_close(db);
	else
		reader_reset(db);
	return ret;
}

static int remove_in(const struct lmdb *db, const char *file)
{
	char path[PATH_MAX];
	if (snprintf(path, sizeof(path), "%s/%s", db->path, file) >= (int)sizeof(path))
		return kr_error(ENAMETOOLONG);
	return unlink(path) == 0 || errno == ENOENT ? kr_ok() : kr_error(errno);
}

/**
 * Take the lock under which a file is replaced. @return descriptor to be closed; kr_error(EAGAIN):
 * another process is at it
 */
static int lock_replacement(const struct lmdb *db)
{
	char path[PATH_MAX];
	if (snprintf(path, sizeof(path), "%s/" REPLACE_FILE, db->path) >= (int)sizeof(path))
		return kr_error(ENAMETOOLONG);
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0660);
	if (fd < 0)
		return kr_error(errno);
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	if (fcntl(fd, F_SETLK, &lock) == 0)
		return fd;
	const int err = errno == EACCES ? EAGAIN : errno;
	close(fd);
	return kr_error(err);
}

static bool is_still_there(const struct lmdb *db)
{
	struct stat st;
	return stat(db->data_path, &st) == 0 && st.st_dev == db->dev && st.st_ino == db->ino;
}

/** Put an empty file in the place of the present one. The others notice within seconds. */
static int replace(struct lmdb *db, bool only_if_ours)
{
	int lock = lock_replacement(db);
	if (lock < 0) {
		kr_log_error(CACHE, "cannot replace the cache in '%s': %s\n", db->path,
			lock == kr_error(EAGAIN) ? "another process is doing so" : strerror(-lock));
		return lock;
	}
	int ret = kr_ok();
	env_close(db);
	if (!only_if_ours || is_still_there(db)) { /* else somebody was faster */
		ret = remove_in(db, DATA_FILE);
		if (ret == 0)
			ret = remove_in(db, LOCK_FILE);
	}
	if (ret == 0)
		ret = env_open_once(db);
	db->is_damaged = false;
	close(lock); /* frees the lock */
	return ret;
}

static int env_open(struct lmdb *db)
{
	db->is_inside = true;
	int ret = env_open_once(db);
	db->is_inside = false;
	/* Sizes that a damaged header speaks of end in one of these. */
	const bool is_suspect = is_broken(ret) || ret == kr_error(ENOMEM) ||
				ret == kr_error(EINVAL) || ret == kr_error(EOVERFLOW);
	if (!is_suspect)
		return ret;
	kr_log_error(
		CACHE, "'%s' is damaged or of another format; making a new one\n", db->data_path);
	return replace(db, false);
}

/* ---- reading ---- */

/** The map has to grow as another process made the file larger. No transaction may be open. */
static int adopt_size(struct lmdb *db)
{
	struct stat st;
	cursor_close(db);
	if (db->reader)
		mdb_txn_abort(db->reader);
	db->reader = NULL;
	db->reader_live = false;
	const size_t page = sysconf(_SC_PAGESIZE);
	const size_t size = stat(db->data_path, &st) == 0 ? st.st_size / page * page : 0;
	int ret = mdb_env_set_mapsize(db->env, size > db->size ? size : 0);
	if (ret != 0)
		return lmdb_error(ret);
	MDB_envinfo info;
	if (mdb_env_info(db->env, &info) == 0)
		db->size = info.me_mapsize;
	lmdb_find_range(&db->range, db->dev, db->ino);
	return kr_ok();
}

static int reader_begin_once(struct lmdb *db)
{
	int ret = db->reader ? mdb_txn_renew(db->reader)
			     : mdb_txn_begin(db->env, NULL, MDB_RDONLY, &db->reader);
	if (ret != 0 && !db->reader_live && ret != MDB_MAP_RESIZED && ret != MDB_READERS_FULL &&
		db->reader) {
		cursor_close(db);
		mdb_txn_abort(db->reader);
		db->reader = NULL;
	}
	return ret;
}

/** Make the snapshot of this loop turn. */
static int reader_renew(struct lmdb *db)
{
	if (db->reader_live)
		return kr_ok();
	int ret = reader_begin_once(db);
	if (ret == MDB_MAP_RESIZED) {
		ret = adopt_size(db);
		if (ret != 0)
			return ret;
		ret = reader_begin_once(db);
	} else if (ret == MDB_READERS_FULL) {
		int dead = 0;
		mdb_reader_check(db->env, &dead);
		kr_log_notice(CACHE, "reader table full, %d stale readers removed\n", dead);
		ret = reader_begin_once(db);
	} else if (ret == MDB_BAD_RSLOT) { /* somebody took our slot for a dead one's */
		ret = reader_begin_once(db);
	}
	db->reader_live = ret == 0;
	return lmdb_error(ret);
}

/** What LMDB hands out lies inside of the map, even if lengths in the file were damaged. */
static bool is_sane(const struct lmdb *db, const MDB_val *val)
{
	return lmdb_in_range(&db->range, val->mv_data, val->mv_size);
}

static int flush(struct lmdb *db, struct kr_cdb_stats *stat);

/** The store as a whole has to be looked at: what waits has to be in it. */
static int settle(struct lmdb *db, struct kr_cdb_stats *stat)
{
	int ret = flush(db, stat);
	return ret == 0 ? reader_renew(db) : ret;
}

static int read_failed(struct lmdb *db, int ret)
{
	db->is_damaged |= is_broken(ret);
	return ret;
}

static int read_one(
	struct lmdb *db, struct kr_cdb_stats *stat, const knot_db_val_t *key, knot_db_val_t *val)
{
	stat->read += 1;
	const struct pending *waiting = pending_find(db, key);
	if (waiting == &removal) {
		stat->read_miss += 1;
		return kr_error(ENOENT);
	}
	if (waiting) {
		*val = (knot_db_val_t){.data = (void *)waiting->data, .len = waiting->len};
		return kr_ok();
	}
	int ret = reader_renew(db);
	if (ret != 0)
		return ret;
	MDB_val k = {key->len, key->data}, v;
	db->is_inside = true;
	ret = mdb_get(db->reader, db->dbi, &k, &v);
	db->is_inside = false;
	if (ret == 0 && !is_sane(db, &v))
		ret = MDB_CORRUPTED;
	if (ret != 0) {
		stat->read_miss += 1;
		return read_failed(db, lmdb_error(ret));
	}
	*val = (knot_db_val_t){.data = v.mv_data, .len = v.mv_size};
	return kr_ok();
}

static int cdb_read(kr_cdb_pt handle, struct kr_cdb_stats *stat, const knot_db_val_t *key,
	knot_db_val_t *val, int maxcount)
{
	for (int i = 0; i < maxcount; ++i) {
		int ret = read_one(handle, stat, &key[i], &val[i]);
		if (ret != 0)
			return ret;
	}
	return kr_ok();
}

/** The cursor, in the snapshot of this turn, which has to be there. @return LMDB code */
static int cursor_renew(struct lmdb *db)
{
	if (db->cursor_live)
		return MDB_SUCCESS;
	int ret = db->cursor ? mdb_cursor_renew(db->reader, db->cursor)
			     : mdb_cursor_open(db->reader, db->dbi, &db->cursor);
	db->cursor_live = ret == MDB_SUCCESS;
	return ret;
}

/** Move a cursor to the nearest key at or before. @return 0 equal, 1 smaller, or error */
static int seek_leq(MDB_cursor *cursor, const knot_db_val_t *key, MDB_val *k, MDB_val *v)
{
	*k = (MDB_val){key->len, key->data};
	int ret = mdb_cursor_get(cursor, k, v, MDB_SET_RANGE);
	if (ret == 0 && k->mv_size == key->len && memcmp(k->mv_data, key->data, key->len) == 0)
		return 0;
	if (ret != 0 && ret != MDB_NOTFOUND)
		return lmdb_error(ret);
	ret = mdb_cursor_get(cursor, k, v, ret == 0 ? MDB_PREV : MDB_LAST);
	return ret == 0 ? 1 : lmdb_error(ret);
}

static int cdb_read_leq(
	kr_cdb_pt handle, struct kr_cdb_stats *stat, knot_db_val_t *key, knot_db_val_t *val)
{
	struct lmdb *db = handle;
	stat->read_leq += 1;
	int ret = settle(db, stat);
	if (ret != 0)
		return ret;
	ret = cursor_renew(db);
	if (ret != 0)
		return lmdb_error(ret);
	MDB_val k, v;
	db->is_inside = true;
	ret = seek_leq(db->cursor, key, &k, &v);
	db->is_inside = false;
	if (ret >= 0 && (!is_sane(db, &k) || !is_sane(db, &v)))
		ret = kr_error(EILSEQ);
	if (ret < 0) {
		stat->read_leq_miss += 1;
		return read_failed(db, ret);
	}
	if (ret > 0)
		*key = (knot_db_val_t){.data = k.mv_data, .len = k.mv_size};
	*val = (knot_db_val_t){.data = v.mv_data, .len = v.mv_size};
	return ret;
}

static bool cdb_is_empty(kr_cdb_pt handle, const knot_db_val_t *prefix)
{
	struct lmdb *db = handle;
	if (has_pending(db) || reader_renew(db) != 0 || cursor_renew(db) != 0)
		return false;
	MDB_val k = {prefix->len, prefix->data}, v;
	db->is_inside = true;
	int ret = mdb_cursor_get(db->cursor, &k, &v, MDB_SET_RANGE);
	db->is_inside = false;
	if (ret != 0)
		return ret == MDB_NOTFOUND;
	return is_sane(db, &k) &&
	       (k.mv_size < prefix->len || memcmp(k.mv_data, prefix->data, prefix->len) != 0);
}

/** Copy out what a cursor meets from here on, as long as keys begin with the prefix. */
static int collect(struct lmdb *db, MDB_cursor *cursor, MDB_val *k, MDB_val *v,
	const knot_db_val_t *prefix, knot_db_val_t keyval[][2], int maxcount)
{
	int found = 0;
	int ret = 0;
	while (ret == 0 && found < maxcount) {
		if (!is_sane(db, k) || !is_sane(db, v) || k->mv_size < prefix->len ||
			memcmp(k->mv_data, prefix->data, prefix->len) != 0)
			break;
		keyval[found][0] = (knot_db_val_t){.data = k->mv_data, .len = k->mv_size};
		keyval[found][1] = (knot_db_val_t){.data = v->mv_data, .len = v->mv_size};
		found += 1;
		ret = mdb_cursor_get(cursor, k, v, MDB_NEXT);
	}
	return ret == 0 || ret == MDB_NOTFOUND ? found : lmdb_error(ret);
}

/** Entries from a key on. @param is_after the key itself is left out */
static int collect_from(struct lmdb *db, const knot_db_val_t *from, bool is_after,
	const knot_db_val_t *prefix, knot_db_val_t keyval[][2], int maxcount)
{
	MDB_cursor *cursor;
	int ret = mdb_cursor_open(db->reader, db->dbi, &cursor);
	if (ret != 0)
		return lmdb_error(ret);
	MDB_val k = {from->len, from->data}, v;
	db->is_inside = true;
	ret = mdb_cursor_get(cursor, &k, &v, from->len > 0 ? MDB_SET_RANGE : MDB_FIRST);
	if (ret == 0 && is_after && k.mv_size == from->len &&
		memcmp(k.mv_data, from->data, from->len) == 0)
		ret = mdb_cursor_get(cursor, &k, &v, MDB_NEXT);
	if (ret == 0)
		ret = collect(db, cursor, &k, &v, prefix, keyval, maxcount);
	else
		ret = ret == MDB_NOTFOUND ? 0 : lmdb_error(ret);
	mdb_cursor_close(cursor);
	db->is_inside = false;
	return read_failed(db, ret);
}

static int cdb_match(kr_cdb_pt handle, struct kr_cdb_stats *stat, knot_db_val_t *key,
	knot_db_val_t keyval[][2], int maxcount)
{
	struct lmdb *db = handle;
	stat->match += 1;
	int ret = settle(db, stat);
	if (ret == 0)
		ret = collect_from(db, key, false, key, keyval, maxcount);
	if (ret == 0)
		stat->match_miss += 1;
	return ret;
}

static int cdb_scan(kr_cdb_pt handle, struct kr_cdb_stats *stat, const knot_db_val_t *after,
	knot_db_val_t keyval[][2], int maxcount)
{
	static const knot_db_val_t none = {.data = "", .len = 0};
	struct lmdb *db = handle;
	int ret = settle(db, stat);
	if (ret != 0)
		return ret;
	return collect_from(db, after ? after : &none, after != NULL, &none, keyval, maxcount);
}

static int cdb_count(kr_cdb_pt handle, struct kr_cdb_stats *stat)
{
	struct lmdb *db = handle;
	stat->count += 1;
	int ret = settle(db, stat);
	if (ret != 0)
		return ret;
	MDB_stat st;
	ret = mdb_stat(db->reader, db->dbi, &st);
	return ret == 0 ? (int)KR_MIN(st.ms_entries, INT_MAX) : lmdb_error(ret);
}

/** Pages on LMDB's free list, which is a database of its own: number 0. @param max a sound file has
 * less */
static size_t free_pages(MDB_txn *txn, size_t max)
{
	MDB_cursor *cursor;
	if (mdb_cursor_open(txn, 0, &cursor) != 0)
		return 0;
	size_t pages = 0;
	MDB_val k, v;
	while (pages <= max && mdb_cursor_get(cursor, &k, &v, MDB_NEXT) == 0) {
		size_t count = 0;
		if (v.mv_size >= sizeof(count))
			memcpy(&count, v.mv_data, sizeof(count));
		pages += count;
	}
	mdb_cursor_close(cursor);
	return pages;
}

static double cdb_usage_percent(kr_cdb_pt handle)
{
	struct lmdb *db = handle;
	MDB_envinfo info;
	MDB_stat st;
	if (reader_renew(db) != 0 || mdb_env_info(db->env, &info) != 0 ||
		mdb_env_stat(db->env, &st) != 0 || info.me_mapsize == 0)
		return 0;
	const size_t used = info.me_last_pgno + 1;
	db->is_inside = true;
	const size_t unused = free_pages(db->reader, used);
	db->is_inside = false;
	const double bytes = (double)(used > unused ? used - unused : 0) * st.ms_psize;
	return bytes / info.me_mapsize * 100;
}

static size_t cdb_get_maxsize(kr_cdb_pt handle)
{
	const struct lmdb *db = handle;
	return db->size;
}

static const char *cdb_path(kr_cdb_pt handle)
{
	const struct lmdb *db = handle;
	return db->path;
}

/* ---- writing ---- */

struct writer {
	MDB_txn *txn;
	MDB_dbi dbi;
};

static int put_pending(const char *key, uint32_t len, trie_val_t *val, void *baton)
{
	const struct writer *w = baton;
	const struct pending *what = *val;
	MDB_val k = {len, (void *)key};
	if (what == &removal) {
		int ret = mdb_del(w->txn, w->dbi, &k, NULL);
		return ret == MDB_NOTFOUND ? 0 : ret;
	}
	MDB_val v = {what->len, (void *)what->data};
	return mdb_put(w->txn, w->dbi, &k, &v, 0);
}

/** Begin a write transaction; waits for the process that is in one. @return LMDB code */
static int writer_begin(struct lmdb *db, MDB_txn **txn)
{
	reader_reset(db); /* this process sees the file anew afterwards */
	int ret = mdb_txn_begin(db->env, NULL, 0, txn);
	if (ret == MDB_MAP_RESIZED && adopt_size(db) == 0)
		ret = mdb_txn_begin(db->env, NULL, 0, txn);
	return ret;
}

static int write_pending_inside(struct lmdb *db)
{
	struct writer w = {.dbi = db->dbi};
	int ret = writer_begin(db, &w.txn);
	if (ret != 0)
		return lmdb_error(ret);
	ret = trie_apply_with_key(db->pending, put_pending, &w);
	if (ret != 0) {
		mdb_txn_abort(w.txn);
		return lmdb_error(ret);
	}
	return lmdb_error(mdb_txn_commit(w.txn));
}

static int write_pending(struct lmdb *db)
{
	db->is_inside = true;
	int ret = write_pending_inside(db);
	db->is_inside = false;
	return ret;
}

static int drop_all_inside(struct lmdb *db)
{
	MDB_txn *txn;
	int ret = writer_begin(db, &txn);
	if (ret != 0)
		return lmdb_error(ret);
	ret = mdb_drop(txn, db->dbi, 0);
	if (ret != 0) {
		mdb_txn_abort(txn);
		return lmdb_error(ret);
	}
	return lmdb_error(mdb_txn_commit(txn));
}

static int drop_all(struct lmdb *db)
{
	db->is_inside = true;
	int ret = drop_all_inside(db);
	db->is_inside = false;
	return ret;
}

/** Empty the store: drop the records, or if even that does not fit, the file. */
static int empty(struct lmdb *db)
{
	if (!db->is_damaged && drop_all(db) == 0)
		return kr_ok();
	return replace(db, true);
}

/** Nobody freed space in time. Start over rather than be of no use (F-07). */
static int write_after_emptying(struct lmdb *db, struct kr_cdb_stats *stat)
{
	kr_log_info(CACHE, "cache is full, clearing it\n");
	stat->clear += 1;
	db->was_emptied = true;
	int ret = empty(db);
	if (ret != 0)
		return ret;
	ret = write_pending(db);
	if (ret != kr_error(ENOSPC))
		return ret;
	/* Dropped pages are still held by another process's snapshot. */
	ret = replace(db, true);
	return ret == 0 ? write_pending(db) : ret;
}

/** Send what waits to the file. It is forgotten even if that fails: it is only a cache. */
static int flush(struct lmdb *db, struct kr_cdb_stats *stat)
{
	if (!has_pending(db) && !db->is_damaged)
		return kr_ok();
	stat->commit += 1;
	int ret = db->is_damaged ? kr_error(EILSEQ) : write_pending(db);
	if (ret == kr_error(ENOSPC)) {
		ret = write_after_emptying(db, stat);
	} else if (is_broken(ret)) {
		kr_log_error(CACHE, "'%s' is damaged, making a new one\n", db->data_path);
		db->was_emptied = true;
		ret = replace(db, true);
	}
	pending_forget(db);
	return ret;
}

static int write_one(
	struct lmdb *db, struct kr_cdb_stats *stat, const knot_db_val_t *key, knot_db_val_t *val)
{
	stat->write += 1;
	if (db->pending_bytes + val->len > PENDING_BYTES_MAX ||
		trie_weight(db->pending) >= PENDING_MAX) {
		int ret = flush(db, stat);
		if (ret != 0)
			return ret;
	}
	struct pending *what = mp_alloc(db->pool, sizeof(*what) + val->len);
	if (!what)
		return kr_error(ENOMEM);
	what->len = val->len;
	if (val->data)
		memcpy(what->data, val->data, val->len);
	val->data = what->data;
	return pending_add(db, key, what);
}

static int cdb_write(kr_cdb_pt handle, struct kr_cdb_stats *stat, const knot_db_val_t *key,
	knot_db_val_t *val, int maxcount)
{
	for (int i = 0; i < maxcount; ++i) {
		int ret = write_one(handle, stat, &key[i], &val[i]);
		if (ret != 0)
			return ret;
	}
	return kr_ok();
}

static bool exists(struct lmdb *db, const knot_db_val_t *key)
{
	const struct pending *waiting = pending_find(db, key);
	if (waiting)
		return waiting != &removal;
	MDB_val k = {key->len, key->data}, v;
	return reader_renew(db) == 0 && mdb_get(db->reader, db->dbi, &k, &v) == 0;
}

static int cdb_remove(
	kr_cdb_pt handle, struct kr_cdb_stats *stat, knot_db_val_t keys[], int maxcount)
{
	struct lmdb *db = handle;
	int removed = 0;
	for (int i = 0; i < maxcount; ++i) {
		stat->remove += 1;
		if (!exists(db, &keys[i])) {
			stat->remove_miss += 1;
			continue;
		}
		int ret = pending_add(db, &keys[i], &removal);
		if (ret != 0)
			return ret;
		removed += 1;
	}
	return removed;
}

static int cdb_commit(kr_cdb_pt handle, struct kr_cdb_stats *stat)
{
	struct lmdb *db = handle;
	int ret = flush(db, stat);
	reader_reset(db);
	if (ret == 0 && db->was_emptied)
		ret = 1;
	db->was_emptied = false;
	return ret;
}

static int cdb_clear(kr_cdb_pt handle, struct kr_cdb_stats *stat)
{
	struct lmdb *db = handle;
	stat->clear += 1;
	pending_forget(db);
	return empty(db);
}

/* ---- life ---- */

static int cdb_check_health(kr_cdb_pt handle, struct kr_cdb_stats *stats)
{
	struct lmdb *db = handle;
	int dead = 0;
	mdb_reader_check(db->env, &dead);
	struct stat st;
	if (stat(db->data_path, &st) != 0) /* missing: go on with what we have */
		return errno == ENOENT || errno == ENOTDIR ? kr_ok() : kr_error(errno);
	if (st.st_dev != db->dev || st.st_ino != db->ino) {
		kr_log_info(CACHE, "cache file '%s' was replaced, reopening\n", db->data_path);
		pending_forget(db);
		env_close(db);
		int ret = env_open(db);
		return ret == 0 ? 1 : ret;
	}
	if ((size_t)st.st_size > db->size) {
		int ret = flush(db, stats);
		return ret == 0 ? adopt_size(db) : ret;
	}
	return kr_ok();
}

static void cdb_close(kr_cdb_pt handle, struct kr_cdb_stats *stat)
{
	struct lmdb *db = handle;
	if (!db)
		return;
	stat->close += 1;
	if (db->env && db->pending && db->pid == getpid())
		(void)flush(db, stat);
	env_close(db);
	if (db->pending)
		trie_free(db->pending);
	mp_delete(db->pool);
	free(db->data_path);
	free(db->path);
	free(db);
}

/** Processes that cannot see each other's locks and ids must not share a file (F-04). */
static int check_namespace(struct lmdb *db, bool others_alive)
{
	static const char key_text[] = "\xffPIDNS"; /* no name's key: those have a zero octet */
	struct stat st;
	if (stat("/proc/self/ns/pid", &st) != 0)
		return kr_ok();
	const uint64_t ours = st.st_ino;
	uint64_t theirs = 0;
	knot_db_val_t key = {.data = (void *)key_text, .len = sizeof(key_text) - 1};
	knot_db_val_t val = {0};
	struct kr_cdb_stats stats = {0};
	if (read_one(db, &stats, &key, &val) == 0 && val.len == sizeof(theirs))
		memcpy(&theirs, val.data, sizeof(theirs));
	if (theirs == ours)
		return kr_ok();
	if (theirs != 0 && others_alive) {
		kr_log_error(CACHE,
			"cache '%s' is in use by processes of another PID namespace, which cannot "
			"be shared safely\n",
			db->path);
		return kr_error(EBUSY);
	}
	val = (knot_db_val_t){.data = (void *)&ours, .len = sizeof(ours)};
	return write_one(db, &stats, &key, &val);
}

/** Is another process using the environment? LMDB keeps a lock on the first byte of its lock file.
 */
static bool is_in_use(const struct lmdb *db)
{
	char path[PATH_MAX];
	if (snprintf(path, sizeof(path), "%s/" LOCK_FILE, db->path) >= (int)sizeof(path))
		return false;
	int fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return false;
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1};
	const bool in_use = fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
	close(fd);
	return in_use;
}

static int make_directory(const char *path)
{
	if (mkdir(path, 0770) == 0)
		return kr_ok();
	struct stat st;
	if (errno != EEXIST)
		return kr_error(errno);
	if (stat(path, &st) != 0)
		return kr_error(errno);
	return S_ISDIR(st.st_mode) ? kr_ok() : kr_error(ENOTDIR);
}

static int cdb_open(
	kr_cdb_pt *handle, struct kr_cdb_stats *stat, struct kr_cdb_opts *opts, knot_mm_t *mm)
{
	if (!handle || !opts || !opts->path)
		return kr_error(EINVAL);
	int ret = make_directory(opts->path);
	if (ret != 0)
		return ret;
	struct lmdb *db = calloc(1, sizeof(*db));
	if (!db)
		return kr_error(ENOMEM);
	db->asked_size = opts->maxsize;
	db->path = strdup(opts->path);
	if (asprintf(&db->data_path, "%s/" DATA_FILE, opts->path) < 0)
		db->data_path = NULL;
	db->pending = trie_create(NULL);
	db->pool = mp_new(64 * 1024);
	ret = kr_error(ENOMEM);
	if (!db->path || !db->data_path || !db->pending || !db->pool)
		goto failed;
	const bool others_alive = is_in_use(db);
	*handle = db; /* for kr_cdb_lmdb_on_fault() */
	ret = env_open(db);
	if (ret == 0)
		ret = check_namespace(db, others_alive);
	if (ret != 0)
		goto failed;
	stat->open += 1;
	return kr_ok();
failed:
	*handle = NULL;
	cdb_close(db, &(struct kr_cdb_stats){0});
	return ret;
}

bool kr_cdb_lmdb_on_fault(kr_cdb_pt handle, const void *addr)
{
	const struct lmdb *db = handle;
	if (!db || !db->data_path)
		return false;
	if (!db->is_inside && (!db->range.from || !lmdb_in_range(&db->range, addr, 1)))
		return false;
	unlink(db->data_path);
	return true;
}

const struct kr_cdb_api *kr_cdb_lmdb(void)
{
	static const struct kr_cdb_api api = {
		.name = "lmdb",
		.open = cdb_open,
		.close = cdb_close,
		.count = cdb_count,
		.clear = cdb_clear,
		.commit = cdb_commit,
		.read = cdb_read,
		.write = cdb_write,
		.remove = cdb_remove,
		.match = cdb_match,
		.read_leq = cdb_read_leq,
		.is_empty = cdb_is_empty,
		.scan = cdb_scan,
		.usage_percent = cdb_usage_percent,
		.get_maxsize = cdb_get_maxsize,
		.check_health = cdb_check_health,
		.path = cdb_path,
	};
	return &api;
}
