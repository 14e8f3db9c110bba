/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "lib/cache/test_util.h"

#include <time.h>
#include <sys/wait.h>

#include "lib/cache/usage.h"
#include "utils/cache_gc/round.h"
#include "utils/cache_gc/score.h"

#define A KNOT_RRTYPE_A

/** The collector looks at the real clock. */
static uint32_t wall;

static void insert_at(struct fixture *f, const char *name, uint16_t type, size_t size, uint32_t ttl)
{
	static uint8_t data[8000];
	knot_rrset_t *rr =
		type == A ? rr_a(f, name, ttl, 1) : rrset(f, name, type, ttl, data, size);
	assert_int_equal(kr_cache_insert_rr(&f->cache, rr, NULL, INSECURE, wall, false), 0);
	mp_flush(f->pool.ctx);
}

/** In a process of its own: one must not open an LMDB file twice. */
static void round_in_child(struct fixture *f, unsigned threshold, unsigned free_percent)
{
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		const struct gc_config config = {
			.path = f->dir,
			.threshold = threshold,
			.free_percent = free_percent,
			.write_records = 100,
			.read_records = 200,
		};
		if (!freopen("/dev/null", "w", stdout))
			_exit(1);
		_exit(-gc_round(&config));
	}
	int status;
	waitpid(pid, &status, 0);
	assert_int_equal(status, 0);
	kr_cache_commit(&f->cache);
}

static bool has(struct fixture *f, const char *name, uint16_t type)
{
	const bool found = ttl_of(f, name, type) > 0;
	mp_flush(f->pool.ctx);
	return found;
}

static void cold_names_go_first_hot_ones_stay(void **state)
{
	struct fixture *f = *state;
	char name[64];
	wall = time(NULL);
	insert_at(f, ".", KNOT_RRTYPE_DNSKEY, 500, 3600);
	insert_at(f, "com.", KNOT_RRTYPE_DS, 40, 3600);
	for (int i = 0; i < 100; ++i) {
		snprintf(name, sizeof(name), "hot%d.example.com.", i);
		insert_at(f, name, KNOT_RRTYPE_TXT, 200, 3600);
	}
	for (int i = 0; i < 1000; ++i) {
		snprintf(name, sizeof(name), "n%d.cold.example.com.", i);
		insert_at(f, name, KNOT_RRTYPE_TXT, 200, 3600);
	}
	insert_at(f, "large.example.com.", KNOT_RRTYPE_TXT, 7000, 3600);
	kr_cache_commit(&f->cache);
	for (int round = 0; round < 5; ++round) {
		for (int i = 0; i < 100; ++i) {
			struct cache_answer answer;
			snprintf(name, sizeof(name), "hot%d.example.com.", i);
			assert_int_equal(peek_at(f, name, KNOT_RRTYPE_TXT, wall, 0, &answer), 0);
			mp_flush(f->pool.ctx);
		}
	}
	kr_cache_commit(&f->cache);
	round_in_child(f, 0, 40);
	int hot = 0, cold = 0;
	for (int i = 0; i < 1000; ++i) {
		snprintf(name, sizeof(name), "hot%d.example.com.", i);
		hot += has(f, name, KNOT_RRTYPE_TXT);
		snprintf(name, sizeof(name), "n%d.cold.example.com.", i);
		cold += has(f, name, KNOT_RRTYPE_TXT);
	}
	assert_int_equal(hot, 100);
	assert_in_range(cold, 400, 700);
	assert_true(has(f, ".", KNOT_RRTYPE_DNSKEY));
	assert_true(has(f, "com.", KNOT_RRTYPE_DS));
	assert_false(has(f, "large.example.com.", KNOT_RRTYPE_TXT));
}

static void what_is_over_or_broken_goes(void **state)
{
	struct fixture *f = *state;
	wall = time(NULL) - 1000;
	insert_at(f, "old.", A, 0, 900);
	wall = time(NULL);
	insert_at(f, "new.", A, 0, 900);
	knot_db_val_t k = {.data = "x\0\0R\0\1", .len = 6}, v = {.data = "garbage", .len = 7};
	assert_int_equal(f->cache.api->write(f->cache.db, &f->cache.stats, &k, &v, 1), 0);
	kr_cache_commit(&f->cache);
	round_in_child(f, 0, 0);
	assert_false(has(f, "old.", A));
	assert_true(has(f, "new.", A));
	assert_int_equal(
		f->cache.api->read(f->cache.db, &f->cache.stats, &k, &v, 1), kr_error(ENOENT));
	const uint64_t clears = f->cache.stats.clear;
	kr_cache_close(&f->cache);
	fixture_open(f, 0); /* the store's own records are not garbage */
	assert_int_equal(f->cache.stats.clear, clears);
	assert_true(has(f, "new.", A));
}

static void ask_hot_names(struct fixture *f, int count, unsigned *asked, unsigned *hits)
{
	for (int i = 0; i < count; ++i) {
		char name[64];
		struct cache_answer answer;
		snprintf(name, sizeof(name), "hot%d.example.com.", i);
		*asked += 1;
		if (peek_at(f, name, KNOT_RRTYPE_TXT, wall, 0, &answer) == 0)
			*hits += 1;
		else /* asked upstream and cached again */
			insert_at(f, name, KNOT_RRTYPE_TXT, 200, 3600);
		mp_flush(f->pool.ctx);
	}
}

/** names that are asked for once a second outlast a minute of 500 large answers a second. */
static void flush_attack_does_not_reach_hot_names(void **state)
{
	enum { HOT = 200, WARM_S = 10, ATTACK_S = 60, PER_S = 500, SIZE = 3900 };
	struct fixture *f = *state;
	unsigned asked = 0, hits = 0, stored = 0;
	kr_cache_close(&f->cache);
	fixture_open(f, 16 << 20);
	wall = time(NULL);
	for (int second = 0; second < WARM_S; ++second)
		ask_hot_names(f, HOT, &asked, &hits);
	kr_cache_commit(&f->cache);
	asked = hits = 0;
	for (int second = 0; second < ATTACK_S; ++second) {
		ask_hot_names(f, HOT, &asked, &hits);
		for (int i = 0; i < PER_S; ++i) {
			static uint8_t data[SIZE];
			char name[64];
			snprintf(name, sizeof(name), "n%d-%d.attack.example.", second, i);
			knot_rrset_t *rr =
				rrset(f, name, KNOT_RRTYPE_TXT, 86400, data, sizeof(data));
			/* A full cache drops what is new (F-07); nothing else may happen. */
			int ret = kr_cache_insert_rr(&f->cache, rr, NULL, INSECURE, wall, false);
			assert_true(ret == 0 || ret == kr_error(ENOSPC));
			stored += ret == 0;
			mp_flush(f->pool.ctx);
			if (i % 250 == 249) { /* the collector goes round */
				kr_cache_commit(&f->cache);
				round_in_child(f, 80, 10);
			}
		}
	}
	assert_in_range(100 * hits / asked, 90, 100);
	assert_in_range(stored, ATTACK_S * PER_S / 2, ATTACK_S * PER_S);
}

/** one name whose records change all the time does not fill the cache for good. */
static void churn_below_one_name_is_collected(void **state)
{
	struct fixture *f = *state;
	wall = time(NULL);
	for (int round = 0; round < 40; ++round) {
		for (int type = 300; type < 500; ++type)
			insert_at(f, "churn.example.", type, 1000 + round, 5 + round);
		kr_cache_commit(&f->cache);
		round_in_child(f, 80, 10);
	}
	assert_in_range(f->cache.api->usage_percent(f->cache.db), 0, 85);
}

static void below_the_threshold_nothing_is_touched(void **state)
{
	struct fixture *f = *state;
	wall = time(NULL) - 1000;
	insert_at(f, "old.", A, 0, 900);
	kr_cache_commit(&f->cache);
	round_in_child(f, 80, 50);
	assert_true(has(f, "old.", A));
}

static void other_version_is_left_alone(void **state)
{
	struct fixture *f = *state;
	wall = time(NULL) - 1000;
	insert_at(f, "old.", A, 0, 900);
	knot_db_val_t k = {.data = "\xffVERSION", .len = 8}, v = {.data = "future", .len = 6};
	assert_int_equal(f->cache.api->write(f->cache.db, &f->cache.stats, &k, &v, 1), 0);
	kr_cache_commit(&f->cache);
	round_in_child(f, 0, 100);
	assert_true(has(f, "old.", A));
}

static void missing_cache_is_no_error(void **state)
{
	const struct gc_config config = {.path = "/nonexistent"};
	assert_int_equal(gc_round(&config), 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(cold_names_go_first_hot_ones_stay),
		TEST(what_is_over_or_broken_goes),
		TEST(flush_attack_does_not_reach_hot_names),
		TEST(churn_below_one_name_is_collected),
		TEST(below_the_threshold_nothing_is_touched),
		TEST(other_version_is_left_alone),
		cmocka_unit_test(missing_cache_is_no_error),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
