/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * The store behind the cache: bytes to bytes in lexicographic key order. One implementation is
 * built in (lmdb.c, the only file that sees lmdb.h); a module may bring another. Every call counts
 * itself in struct kr_cdb_stats.
 */
#pragma once

#include <libknot/db/db.h>

#include "lib/defines.h"
#include "lib/mm.h"

/** Opaque handle of an open store. */
typedef void *kr_cdb_pt;

struct kr_cdb_opts {
	const char *path;          /**< directory */
	size_t maxsize;            /**< bytes; 0 = keep what the file has */
	const struct timeval *now; /**< wall clock of the caller, may be NULL */
};

/** Operation counters; all but count_entries and usage_percent only grow. */
struct kr_cdb_stats {
	uint64_t open;
	uint64_t close;
	uint64_t count;
	uint64_t count_entries;
	uint64_t clear;
	uint64_t commit;
	uint64_t read;
	uint64_t read_miss;
	uint64_t write;
	uint64_t remove;
	uint64_t remove_miss;
	uint64_t match;
	uint64_t match_miss;
	uint64_t read_leq;
	uint64_t read_leq_miss;
	double usage_percent;
};

/** Verbs of a store. Values that are read stay valid until the next commit, write or clear. */
struct kr_cdb_api {
	const char *name;

	int (*open)(
		kr_cdb_pt *db, struct kr_cdb_stats *stat, struct kr_cdb_opts *opts, knot_mm_t *mm);
	void (*close)(kr_cdb_pt db, struct kr_cdb_stats *stat);
	/** Entries, or an error. */
	int (*count)(kr_cdb_pt db, struct kr_cdb_stats *stat);
	int (*clear)(kr_cdb_pt db, struct kr_cdb_stats *stat);
	/**
	 * Write what is pending, let go of the read snapshot.
	 * @return 0; 1 the store was full or broken and has been emptied on the way; < 0 error
	 */
	int (*commit)(kr_cdb_pt db, struct kr_cdb_stats *stat);

	int (*read)(kr_cdb_pt db, struct kr_cdb_stats *stat, const knot_db_val_t *key,
		knot_db_val_t *val, int maxcount);
	/** val->data NULL with val->len > 0: reserve; the place is returned and filled before
	 * commit. */
	int (*write)(kr_cdb_pt db, struct kr_cdb_stats *stat, const knot_db_val_t *key,
		knot_db_val_t *val, int maxcount);
	/** @return number removed; a missing key is no error */
	int (*remove)(kr_cdb_pt db, struct kr_cdb_stats *stat, knot_db_val_t keys[], int maxcount);
	/** Entries whose key begins with `key`. @return how many, <= maxcount */
	int (*match)(kr_cdb_pt db, struct kr_cdb_stats *stat, knot_db_val_t *key,
		knot_db_val_t keyval[][2], int maxcount);
	/** Nearest entry at or before *key. @return 0 equal, > 0 smaller, < 0 error (ENOENT) */
	int (*read_leq)(
		kr_cdb_pt db, struct kr_cdb_stats *stat, knot_db_val_t *key, knot_db_val_t *val);
	/** Entries after a key (NULL: from the first) in order. NULL: not provided. @return how
	 * many */
	int (*scan)(kr_cdb_pt db, struct kr_cdb_stats *stat, const knot_db_val_t *after,
		knot_db_val_t keyval[][2], int maxcount);
	double (*usage_percent)(kr_cdb_pt db);
	size_t (*get_maxsize)(kr_cdb_pt db);
	/** Is the file still the one we opened, with the size we know? @return 0 ok, 1 reopened, <
	 * 0 error */
	int (*check_health)(kr_cdb_pt db, struct kr_cdb_stats *stat);
	/** Directory of the store. */
	const char *(*path)(kr_cdb_pt db);
	/** Is there no entry whose key begins with `prefix`, by a single look? NULL: not provided.
	 * @return false: there is, or it takes more to tell */
	bool (*is_empty)(kr_cdb_pt db, const knot_db_val_t *prefix);
};

/** The built-in store over LMDB. */
KR_EXPORT
const struct kr_cdb_api *kr_cdb_lmdb(void);
/**
 * For handlers of SIGBUS, SIGSEGV and SIGABRT (address NULL): if the address lies in the map of
 * that LMDB store, or LMDB was at work on it, remove its file, so that the next process starts with
 * a sound one. Async-signal-safe.
 * @return true if it was ours
 */
KR_EXPORT
bool kr_cdb_lmdb_on_fault(kr_cdb_pt db, const void *addr);
