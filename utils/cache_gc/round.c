/* SPDX-License-Identifier: GPL-3.0-or-later */

#include "utils/cache_gc/round.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <libknot/descriptor.h>

#include "lib/cache/backend.h"
#include "lib/cache/cache_impl.h"
#include "lib/cache/usage.h"
#include "lib/generic/array.h"
#include "utils/cache_gc/score.h"

/** Entries taken in one step of a scan. */
#define STEP 100
/** Pages of LMDB that an entry takes beyond its bytes, roughly. */
#define OVERHEAD 32
/** Types counted one by one in the report. */
#define TYPES_MAX 65536
/** Keys are at most that long. */
#define KEY_MAX 511
/** Counters of use are halved that often, in s. */
#define AGE_S 60

/** Keys to be removed, one after the other: length (2 bytes), bytes. */
typedef array_t(uint8_t) keys_t;

struct gc {
	const struct gc_config *config;
	const struct kr_cdb_api *api;
	kr_cdb_pt db;
	struct kr_cdb_stats stats;
	uint8_t *usage;
	uint32_t now;

	uint64_t bytes_by_score[SCORE_MAX + 1];
	uint64_t bytes;
	uint64_t entries;

	int limit;      /**< scores above go, all of them */
	uint64_t quota; /**< bytes of exactly that score that go too */
	keys_t keys;
	bool is_out_of_memory; /**< of the memory allowed for keys */
	uint64_t removed;
	uint64_t *removed_by_type;
};

static double seconds(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

static bool should_stop(const struct gc *gc)
{
	return gc->config->stop && *gc->config->stop > 1;
}

/* ---- looking ---- */

typedef int (*visit_f)(
	struct gc *gc, const knot_db_val_t *key, size_t size, int score, uint16_t type);

static int visit_step(struct gc *gc, knot_db_val_t keyval[][2], int count, visit_f visit)
{
	for (int i = 0; i < count; ++i) {
		const knot_db_val_t *key = &keyval[i][0], *val = &keyval[i][1];
		struct score_facts facts = {.now = gc->now};
		uint16_t type;
		if (gc->usage)
			facts.uses = *cache_usage_slot(gc->usage, key->data, key->len);
		const int score = score_entry(key, val, &facts, &type);
		if (score == SCORE_NEVER)
			continue;
		int ret = visit(gc, key, key->len + val->len + OVERHEAD, score, type);
		if (ret != 0)
			return ret;
	}
	return kr_ok();
}

/** Visit all entries; snapshots are let go of as configured. */
static int scan(struct gc *gc, visit_f visit)
{
	uint8_t last[KEY_MAX];
	knot_db_val_t after = {.data = last, .len = 0};
	knot_db_val_t keyval[STEP][2];
	unsigned in_snapshot = 0;
	while (!should_stop(gc)) {
		int count =
			gc->api->scan(gc->db, &gc->stats, after.len ? &after : NULL, keyval, STEP);
		if (count <= 0)
			return count;
		int ret = visit_step(gc, keyval, count, visit);
		if (ret != 0)
			return ret;
		const knot_db_val_t *key = &keyval[count - 1][0];
		if (key->len > sizeof(last))
			return kr_error(EILSEQ);
		memcpy(last, key->data, key->len);
		after.len = key->len;
		in_snapshot += count;
		if (gc->config->read_records > 0 && in_snapshot >= gc->config->read_records) {
			gc->api->commit(gc->db, &gc->stats);
			in_snapshot = 0;
		}
	}
	return kr_error(EINTR);
}

static int weigh(struct gc *gc, const knot_db_val_t *key, size_t size, int score, uint16_t type)
{
	gc->bytes_by_score[score] += size;
	gc->bytes += size;
	gc->entries += 1;
	return kr_ok();
}

/** Find the score from which entries have to go so that enough is freed. */
static void choose_limit(struct gc *gc)
{
	const uint64_t wanted = gc->bytes / 100.0 * gc->config->free_percent;
	uint64_t freed = gc->bytes_by_score[SCORE_MAX]; /* what is over goes in any case */
	gc->limit = SCORE_MAX - 1;
	gc->quota = 0;
	for (int score = SCORE_MAX - 1; score >= 0 && freed < wanted; --score) {
		const uint64_t here = gc->bytes_by_score[score];
		gc->limit = score;
		gc->quota = KR_MIN(here, wanted - freed);
		freed += here;
	}
}

static int choose(struct gc *gc, const knot_db_val_t *key, size_t size, int score, uint16_t type)
{
	const bool is_at_limit = score == gc->limit && gc->quota > 0;
	if (score <= gc->limit && !is_at_limit)
		return kr_ok();
	const size_t need = key->len + sizeof(uint16_t);
	if (gc->config->keys_bytes > 0 && gc->keys.len + need > gc->config->keys_bytes) {
		gc->is_out_of_memory = true;
		return kr_ok();
	}
	if (array_reserve(gc->keys, gc->keys.len + need) != 0)
		return kr_error(ENOMEM);
	const uint16_t len = key->len;
	memcpy(gc->keys.at + gc->keys.len, &len, sizeof(len));
	memcpy(gc->keys.at + gc->keys.len + sizeof(len), key->data, len);
	gc->keys.len += need;
	if (is_at_limit)
		gc->quota -= KR_MIN(gc->quota, size);
	gc->removed_by_type[type] += 1;
	return kr_ok();
}

/* ---- removing ---- */

/** Send removals so far to the file. @param[in,out] batch how many to send at a time */
static int send_removals(struct gc *gc, unsigned *batch)
{
	const double start = seconds();
	int ret = gc->api->commit(gc->db, &gc->stats);
	const double us = (seconds() - start) * 1e6;
	if (ret > 0) /* there was no room even for removing: the store has been emptied */
		return kr_error(ENOSPC);
	if (gc->config->write_us > 0 && us > gc->config->write_us)
		*batch = KR_MAX(*batch / 2, 1);
	if (gc->config->pause_us > 0)
		usleep(gc->config->pause_us);
	return ret;
}

static int remove_chosen(struct gc *gc)
{
	unsigned batch = gc->config->write_records ? gc->config->write_records : UINT32_MAX;
	unsigned waiting = 0;
	int ret = kr_ok();
	for (size_t at = 0; ret == 0 && at < gc->keys.len && !should_stop(gc);) {
		uint16_t len;
		memcpy(&len, gc->keys.at + at, sizeof(len));
		knot_db_val_t key = {.data = gc->keys.at + at + sizeof(len), .len = len};
		at += sizeof(len) + len;
		int removed = gc->api->remove(gc->db, &gc->stats, &key, 1);
		if (removed < 0)
			return removed;
		gc->removed += removed;
		waiting += 1;
		if (waiting >= batch) {
			ret = send_removals(gc, &batch);
			waiting = 0;
		}
	}
	return ret == 0 && waiting > 0 ? send_removals(gc, &batch) : ret;
}

/* ---- the round ---- */

static void report_types(const struct gc *gc)
{
	printf("Deleted records: %llu", (unsigned long long)gc->removed);
	for (unsigned type = 0; type < TYPES_MAX; ++type) {
		char text[32] = "other";
		if (gc->removed_by_type[type] == 0)
			continue;
		if (type != 0 && knot_rrtype_to_string(type, text, sizeof(text)) < 0)
			continue;
		printf(" %s:%llu", text, (unsigned long long)gc->removed_by_type[type]);
	}
	printf("\n");
}

static int collect_garbage(struct gc *gc)
{
	const double start = seconds();
	int ret = scan(gc, weigh);
	if (ret != 0)
		return ret;
	choose_limit(gc);
	printf("Cache analyzed in %.3f s: %llu records, %llu bytes; removing scores above %d\n",
		seconds() - start, (unsigned long long)gc->entries, (unsigned long long)gc->bytes,
		gc->limit);
	ret = scan(gc, choose);
	gc->api->commit(gc->db, &gc->stats); /* no snapshot while pages are being freed */
	if (ret == 0)
		ret = remove_chosen(gc);
	report_types(gc);
	if (gc->is_out_of_memory)
		printf("Keys beyond the memory limit are left for the next round\n");
	printf("Round took %.3f s, usage is %.2f%% now\n", seconds() - start,
		gc->api->usage_percent(gc->db));
	return ret;
}

/** Let what was in demand long ago fade, about once a minute whoever does it. */
static void age_usage(struct gc *gc)
{
	char path[4096];
	struct stat st;
	snprintf(path, sizeof(path), "%s/" CACHE_USAGE_FILE, gc->config->path);
	/* The mapping does not change the time of modification; we do, as the mark of the last
	 * halving. */
	if (!gc->usage || stat(path, &st) != 0 || st.st_mtime + AGE_S > (time_t)gc->now)
		return;
	cache_usage_age(gc->usage);
	const struct timespec times[2] = {{.tv_sec = gc->now}, {.tv_sec = gc->now}};
	utimensat(AT_FDCWD, path, times, 0);
}

static int run(struct gc *gc)
{
	const struct gc_config *config = gc->config;
	int version = cache_version_read(gc->api, gc->db, &gc->stats);
	if (version <= 0) {
		gc->api->commit(gc->db, &gc->stats);
		printf("The cache is of another version, leaving it alone\n");
		return version == kr_error(ENOENT) ? kr_ok() : version;
	}
	const double usage = gc->api->usage_percent(gc->db);
	gc->api->commit(gc->db, &gc->stats);
	const bool is_due = usage >= config->threshold && !config->is_dry;
	if (is_due || config->is_verbose || config->is_dry)
		printf("Usage: %.2f%%\n", usage);
	age_usage(gc);
	if (!is_due)
		return kr_ok();
	gc->removed_by_type = calloc(TYPES_MAX, sizeof(*gc->removed_by_type));
	if (!gc->removed_by_type)
		return kr_error(ENOMEM);
	int ret = collect_garbage(gc);
	free(gc->removed_by_type);
	array_clear(gc->keys);
	return ret;
}

int gc_round(const struct gc_config *config)
{
	char path[4096];
	struct stat st;
	if (snprintf(path, sizeof(path), "%s/data.mdb", config->path) >= (int)sizeof(path))
		return kr_error(ENAMETOOLONG);
	if (stat(path, &st) != 0) {
		if (config->is_verbose)
			printf("There is no cache in '%s' yet\n", config->path);
		return kr_ok();
	}
	struct gc *gc = calloc(1, sizeof(*gc));
	if (!gc)
		return kr_error(ENOMEM);
	gc->config = config;
	gc->api = kr_cdb_lmdb();
	gc->now = time(NULL);
	struct kr_cdb_opts opts = {.path = config->path};
	int ret = gc->api->open(&gc->db, &gc->stats, &opts, NULL);
	if (ret == 0) {
		gc->usage = cache_usage_open(config->path);
		ret = run(gc);
		cache_usage_close(gc->usage);
		gc->api->close(gc->db, &gc->stats);
	}
	free(gc);
	return ret;
}
