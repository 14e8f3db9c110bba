/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The store under faults: F-01 to F-15 as far as they can be had without a daemon. Full numbers of
 * rounds: set KR_TEST_ROUNDS. */
#include "lib/cache/test_util.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>

#include "lib/log.h"

#define A KNOT_RRTYPE_A
#define NAMES 200

static struct kr_cache *fault_cache; /* for signal handlers of children */

static int rounds(int quick)
{
	const char *text = getenv("KR_TEST_ROUNDS");
	return text ? atoi(text) : quick;
}

static uint64_t seed = 3;

static uint32_t rnd(uint32_t below)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (seed >> 33) % below;
}

static void name_of(char *name, size_t len, int i)
{
	snprintf(name, len, "n%d.x.", i);
}

/** Every name has its own truth, so that a wrong answer can be told. */
static void insert_truth(struct fixture *f, int i)
{
	char name[32];
	name_of(name, sizeof(name), i);
	insert(f, rr_a(f, name, 5000, i), INSECURE);
}

#define WRONG_ANSWER 50

/** @return 1 found, 0 not there; a wrong one ends the process */
static int check_truth(struct fixture *f, int i)
{
	struct kr_cache_p p;
	knot_rdataset_t rrs;
	char name[32];
	name_of(name, sizeof(name), i);
	if (kr_cache_peek_exact(&f->cache, dname(f, name), A, &p) != 0)
		return 0;
	if (p.ttl != 5000 || p.rank != INSECURE || kr_cache_materialize(&rrs, &p, &f->pool) != 6 ||
		rrs.rdata->data[3] != (uint8_t)i)
		_exit(WRONG_ANSWER);
	return 1;
}

static int count_truths(struct fixture *f)
{
	int found = 0;
	for (int i = 0; i < NAMES; ++i)
		found += check_truth(f, i);
	mp_flush(f->pool.ctx);
	return found;
}

static void fill(struct fixture *f)
{
	for (int i = 0; i < NAMES; ++i)
		insert_truth(f, i);
	mp_flush(f->pool.ctx);
	assert_int_equal(kr_cache_commit(&f->cache), 0);
}

/* ---- life ---- */

/** H-08; pre-allocated (F-08). */
static void files_have_their_modes(void **state)
{
	struct fixture *f = *state;
	struct stat st;
	char path[128];
	kr_cache_close(&f->cache);
	fixture_teardown(state);
	const mode_t mask = umask(0027);
	f = calloc(1, sizeof(*f));
	snprintf(f->dir, sizeof(f->dir), "/tmp/kr-cache-mode-%d", getpid());
	mm_ctx_mempool2(&f->pool, 4096);
	fixture_open(f, 1 << 20); /* makes the directory */
	umask(mask);
	*state = f;
	assert_int_equal(stat(f->dir, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0750);
	fixture_file(path, sizeof(path), f, "data.mdb");
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0640);
	assert_int_equal(st.st_size, 1 << 20);
	assert_true(st.st_blocks * 512 >= st.st_size); /* not sparse */
}

/** F-09. */
static void bad_places_are_errors(void **state)
{
	struct fixture *f = *state;
	struct kr_cache cache = {0};
	char path[128];
	fixture_file(path, sizeof(path), f, "no/such");
	struct kr_cdb_opts opts = {.path = path, .maxsize = 1 << 20};
	assert_int_equal(kr_cache_open(&cache, NULL, &opts, NULL), kr_error(ENOENT));
	assert_false(kr_cache_is_open(&cache));
	fixture_file(path, sizeof(path), f, "data.mdb");
	assert_int_equal(kr_cache_open(&cache, NULL, &opts, NULL), kr_error(ENOTDIR));
	opts.path = "/proc/self";
	assert_true(kr_cache_open(&cache, NULL, &opts, NULL) < 0);
}

static void contents_survive_reopening(void **state)
{
	struct fixture *f = *state;
	fill(f);
	kr_cache_close(&f->cache);
	fixture_open(f, 4 << 20);
	assert_int_equal(count_truths(f), NAMES);
	kr_cache_close(&f->cache);
	fixture_open(f, 0); /* what the file has */
	assert_int_equal(f->cache.api->get_maxsize(f->cache.db), 4 << 20);
	assert_int_equal(count_truths(f), NAMES);
	kr_cache_close(&f->cache);
	fixture_open(f, 1 << 20); /* larger files keep their size */
	assert_int_equal(f->cache.api->get_maxsize(f->cache.db), 4 << 20);
}

static void turn_sees_its_own_writes(void **state)
{
	struct fixture *f = *state;
	fill(f);
	const uint64_t commits = f->cache.stats.commit;
	insert(f, rr_a(f, "new.", 60, 1), INSECURE);
	assert_int_equal(ttl_of(f, "new.", A), 60);
	assert_int_equal(kr_cache_remove(&f->cache, dname(f, "n1.x."), A), 1);
	assert_int_equal(check_truth(f, 1), 0);
	assert_int_equal(f->cache.stats.commit, commits); /* nothing was written so far */
	knot_db_val_t keyval[NAMES + 1][2];
	assert_int_equal(
		kr_cache_match(&f->cache, dname(f, "x."), false, keyval, NAMES + 1), NAMES - 1);
	assert_int_equal(kr_cache_match(&f->cache, dname(f, "new."), false, keyval, 5), 1);
	assert_int_equal(kr_cache_commit(&f->cache), 0);
	assert_int_equal(f->cache.stats.commit, commits + 1);
	assert_int_equal(ttl_of(f, "new.", A), 60);
}

static void reserved_room_is_written(void **state)
{
	struct fixture *f = *state;
	knot_db_val_t key = {.data = "key", .len = 3}, val = {.data = NULL, .len = 5}, got;
	assert_int_equal(f->cache.api->write(f->cache.db, &f->cache.stats, &key, &val, 1), 0);
	memcpy(val.data, "later", 5);
	assert_int_equal(kr_cache_commit(&f->cache), 0);
	assert_int_equal(f->cache.api->read(f->cache.db, &f->cache.stats, &key, &got, 1), 0);
	assert_int_equal(got.len, 5);
	assert_memory_equal(got.data, "later", 5);
	key = (knot_db_val_t){.data = "kez", .len = 3};
	assert_int_equal(f->cache.api->read_leq(f->cache.db, &f->cache.stats, &key, &got), 1);
	assert_memory_equal(key.data, "key", 3);
	key = (knot_db_val_t){.data = "key", .len = 3};
	assert_int_equal(f->cache.api->read_leq(f->cache.db, &f->cache.stats, &key, &got), 0);
	key = (knot_db_val_t){.data = "A", .len = 1};
	assert_int_equal(
		f->cache.api->read_leq(f->cache.db, &f->cache.stats, &key, &got), kr_error(ENOENT));
	assert_in_range(f->cache.api->usage_percent(f->cache.db) * 1000, 1, 100000);
}

/* ---- bad contents ---- */

static void damaged_value_is_dropped_and_counted(void **state)
{
	struct fixture *f = *state;
	struct cache_name enc;
	struct cache_key key;
	fill(f);
	cache_name_init(&enc, dname(f, "n1.x."));
	cache_key_type(&key, &enc, enc.labels, CACHE_TAG_RR, A);
	knot_db_val_t k = cache_key_val(&key), v = {.data = "garbage", .len = 7};
	assert_int_equal(f->cache.api->write(f->cache.db, &f->cache.stats, &k, &v, 1), 0);
	assert_int_equal(check_truth(f, 1), 0);
	assert_int_equal(f->cache.corrupt, 1);
	assert_int_equal(kr_cache_commit(&f->cache), 0);
	assert_int_equal(
		f->cache.api->read(f->cache.db, &f->cache.stats, &k, &v, 1), kr_error(ENOENT));
	assert_int_equal(count_truths(f), NAMES - 1);
}

/** F-43: once, not in turns. */
static void other_version_is_cleared(void **state)
{
	struct fixture *f = *state;
	fill(f);
	knot_db_val_t k = {.data = "\xffVERSION", .len = 8}, v = {.data = "future", .len = 6};
	assert_int_equal(f->cache.api->write(f->cache.db, &f->cache.stats, &k, &v, 1), 0);
	kr_cache_close(&f->cache);
	fixture_open(f, 4 << 20);
	assert_int_equal(count_truths(f), 0);
	fill(f);
	kr_cache_close(&f->cache);
	fixture_open(f, 4 << 20);
	assert_int_equal(count_truths(f), NAMES);
}

static void overwrite(struct fixture *f, off_t at, const void *data, size_t len)
{
	char path[128];
	fixture_file(path, sizeof(path), f, "data.mdb");
	int fd = open(path, O_WRONLY);
	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, data, len, at), len);
	close(fd);
}

static void cut_file(struct fixture *f, off_t len)
{
	char path[128];
	fixture_file(path, sizeof(path), f, "data.mdb");
	assert_int_equal(truncate(path, len), 0);
}

/** F-05, F-06: at the start. */
static void file_that_is_no_cache_is_replaced(void **state)
{
	struct fixture *f = *state;
	static uint8_t noise[64 * 1024];
	for (size_t i = 0; i < sizeof(noise); ++i)
		noise[i] = rnd(256);
	for (int how = 0; how < 9; ++how) {
		fill(f);
		kr_cache_close(&f->cache);
		switch (how) {
		case 0:
			cut_file(f, 0);
			break;
		case 1:
			cut_file(f, 1);
			break;
		case 2:
			cut_file(f, 4095);
			break;
		case 3:
			cut_file(f, 4096);
			break;
		case 4:
			cut_file(f, 8192);
			break;
		case 5:
			cut_file(f, 6 * 4096 - 1);
			break;
		case 6:
			overwrite(f, 0, noise, sizeof(noise));
			break;
		case 7:
			memset(noise, 0, 8192);
			overwrite(f, 0, noise, 8192);
			break;
		case 8: /* version of the LMDB format, in both meta pages */
			overwrite(f, 16 + 4, "\x07", 1);
			overwrite(f, 4096 + 16 + 4, "\x07", 1);
			break;
		}
		fixture_open(f, 4 << 20);
		count_truths(f); /* whatever is found is right */
		fill(f);
		assert_int_equal(count_truths(f), NAMES);
	}
}

static void on_fault(int sig, siginfo_t *info, void *context)
{
	if (kr_cdb_lmdb_on_fault(fault_cache->db, info->si_addr))
		_exit(99);
	_exit(98);
}

/** LMDB's assertions, and damage to our heap that a damaged page made LMDB do. */
static void on_abort(int sig)
{
	kr_cdb_lmdb_on_fault(fault_cache->db, NULL);
	_exit(97);
}

/** What sanitizers find in LMDB has to take the same way out. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "abort_on_error=1";
}

/** Run in a child that may come to grief. @return its exit status */
static int in_child(struct fixture *f, int (*run)(struct fixture *f))
{
	fflush(NULL);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct sigaction sa = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
		fault_cache = &f->cache;
		sigaction(SIGBUS, &sa, NULL);
		sigaction(SIGSEGV, &sa, NULL);
		signal(SIGABRT, on_abort);
		signal(SIGALRM, on_abort); /* pages may lead in a circle: the watchdog's part */
		alarm(3);
		_exit(run(f));
	}
	int status = 0;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 100 + WTERMSIG(status);
}

static int open_and_scan(struct fixture *f)
{
	kr_log_level_set(LOG_CRIT);
	struct kr_cdb_opts opts = {.path = f->dir, .maxsize = 4 << 20};
	int ret = kr_cache_open(&f->cache, NULL, &opts, NULL);
	if (ret != 0)
		return -ret;
	static knot_db_val_t keyval[1000][2];
	count_truths(f);
	kr_cache_match(&f->cache, (knot_dname_t *)"", false, keyval, 1000);
	struct fixture g = *f;
	for (int i = 0; i < 20; ++i)
		insert_truth(&g, i);
	kr_cache_commit(&f->cache);
	count_truths(f);
	kr_cache_close(&f->cache);
	return 0;
}

/** Any damage costs one process at most, and never gives a wrong answer (F-06). */
static void damaged_file_costs_one_process_at_most(void **state)
{
	struct fixture *f = *state;
	int crashes = 0;
	char path[128];
	fixture_file(path, sizeof(path), f, "data.mdb");
	for (int i = 0; i < rounds(60); ++i) {
		kr_cache_close(&f->cache);
		unlink(path);
		fixture_open(f, 4 << 20);
		fill(f);
		kr_cache_close(&f->cache);
		static const int flips[] = {1, 10, 1000};
		for (int n = flips[i % 3]; n > 0; --n) {
			uint8_t byte = rnd(256);
			overwrite(f, rnd(i % 2 ? 16 * 4096 : 40 * 4096), &byte, 1);
		}
		int status = in_child(f, open_and_scan);
		if (status == 0)
			continue;
		crashes += 1;
		assert_int_not_equal(status, WRONG_ANSWER);
		assert_int_equal(in_child(f, open_and_scan), 0);
	}
	print_message("%d rounds with a crash\n", crashes);
}

/** F-05, F-14: while it runs. */
static void process_on_a_cut_file_removes_it_and_goes(void **state)
{
	struct fixture *f = *state;
	struct stat st;
	char path[128];
	kr_cache_close(&f->cache);
	fixture_file(path, sizeof(path), f, "data.mdb");
	int ready[2], go[2];
	assert_int_equal(pipe(ready) | pipe(go), 0);
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		char c;
		struct sigaction sa = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
		fault_cache = &f->cache;
		sigaction(SIGBUS, &sa, NULL);
		fixture_open(f, 4 << 20);
		fill(f);
		(void)!write(ready[1], "x", 1);
		(void)!read(go[0], &c, 1);
		count_truths(f);
		_exit(0);
	}
	char c;
	assert_int_equal(read(ready[0], &c, 1), 1);
	cut_file(f, 4096);
	assert_int_equal(write(go[1], "x", 1), 1);
	int status = 0;
	waitpid(pid, &status, 0);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 99);
	assert_int_equal(stat(path, &st), -1);
	fixture_open(f, 4 << 20);
	fill(f);
	assert_int_equal(count_truths(f), NAMES);
}

/* ---- space ---- */

/** F-07: without a collector. */
static void full_store_is_emptied_and_goes_on(void **state)
{
	struct fixture *f = *state;
	kr_cache_close(&f->cache);
	char path[128];
	fixture_file(path, sizeof(path), f, "data.mdb");
	unlink(path);
	fixture_open(f, 256 * 1024);
	uint8_t big[2000] = {0};
	uint64_t last_full = 0;
	for (int i = 0; i < 2000; ++i) {
		char name[32];
		snprintf(name, sizeof(name), "big%d.", i);
		insert(f, rrset(f, name, 65280, 60, big, sizeof(big)), INSECURE);
		assert_int_equal(kr_cache_commit(&f->cache), 0);
		assert_int_equal(
			ttl_of(f, name, 65280), 60); /* what was being written is not lost */
		if (f->cache.full != last_full) {
			last_full = f->cache.full;
			/* the version is there again */
			knot_db_val_t k = {.data = "\xffVERSION", .len = 8}, v;
			assert_int_equal(
				f->cache.api->read(f->cache.db, &f->cache.stats, &k, &v, 1), 0);
		}
		mp_flush(f->pool.ctx);
	}
	assert_true(f->cache.full > 5);
	assert_true(f->cache.api->usage_percent(f->cache.db) <= 100);
}

static _Noreturn void hold_snapshot(struct fixture *f, int ready)
{
	fixture_open(f, 0);
	count_truths(f); /* and no commit */
	(void)!write(ready, "x", 1);
	for (;;)
		pause();
}

/** A stopped reader keeps all pages it sees: the file has to be replaced then. */
static void full_store_with_a_stopped_reader_is_replaced(void **state)
{
	struct fixture *f = *state;
	kr_cache_close(&f->cache);
	char path[128];
	fixture_file(path, sizeof(path), f, "data.mdb");
	unlink(path);
	fixture_open(f, 256 * 1024);
	fill(f);
	kr_cache_close(&f->cache);
	int ready[2];
	char c;
	assert_int_equal(pipe(ready), 0);
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0)
		hold_snapshot(f, ready[1]);
	assert_int_equal(read(ready[0], &c, 1), 1);
	kill(pid, SIGSTOP);
	fixture_open(f, 0);
	uint8_t big[2000] = {0};
	int kept = 0;
	for (int i = 0; i < 300; ++i) {
		char name[32];
		snprintf(name, sizeof(name), "big%d.", i);
		insert(f, rrset(f, name, 65280, 60, big, sizeof(big)), INSECURE);
		assert_int_equal(kr_cache_commit(&f->cache), 0);
		kept += ttl_of(f, name, 65280) == 60;
	}
	assert_in_range(kept, 290, 300);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/** F-04. */
static void dead_readers_are_cleared(void **state)
{
	struct fixture *f = *state;
	fill(f);
	kr_cache_close(&f->cache);
	for (int i = 0; i < 140; ++i) { /* more than the reader table has */
		int ready[2];
		char c;
		assert_int_equal(pipe(ready), 0);
		fflush(NULL);
		pid_t pid = fork();
		if (pid == 0)
			hold_snapshot(f, ready[1]);
		assert_int_equal(read(ready[0], &c, 1), 1);
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		close(ready[0]);
		close(ready[1]);
	}
	fixture_open(f, 0);
	assert_int_equal(count_truths(f), NAMES);
}

/* ---- several processes ---- */

static _Noreturn void write_forever(struct fixture *f)
{
	kr_log_level_set(LOG_CRIT);
	fixture_open(f, 4 << 20);
	seed = getpid();
	for (unsigned i = 0;; ++i) {
		insert_truth(f, rnd(NAMES));
		check_truth(f, rnd(NAMES));
		if (i % 7 == 0)
			kr_cache_commit(&f->cache);
		if (i % 100 == 0) {
			mp_flush(f->pool.ctx);
			kr_cache_check_health(&f->cache);
		}
	}
}

/** F-01, F-02. */
static void kill_at_any_moment_does_no_harm(void **state)
{
	struct fixture *f = *state;
	kr_cache_close(&f->cache);
	for (int i = 0; i < rounds(100); ++i) {
		pid_t pid[2];
		fflush(NULL);
		for (int j = 0; j < 2; ++j) {
			pid[j] = fork();
			if (pid[j] == 0)
				write_forever(f);
		}
		usleep(1000 + rnd(15000));
		for (int j = 0; j < 2; ++j) {
			int status;
			/* the survivor has to go on in spite of locks that are left */
			kill(pid[j], SIGKILL);
			waitpid(pid[j], &status, 0);
			assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
			if (j == 0)
				usleep(2000);
		}
		fixture_open(f, 4 << 20);
		count_truths(f);
		insert_truth(f, 5);
		assert_int_equal(kr_cache_commit(&f->cache), 0);
		assert_int_equal(check_truth(f, 5), 1);
		assert_int_equal(f->cache.corrupt, 0);
		kr_cache_close(&f->cache);
	}
	fixture_open(f, 4 << 20);
	assert_true(count_truths(f) > NAMES / 2);
}

static int insert_and_leave(struct fixture *f)
{
	fixture_open(f, 4 << 20);
	insert_truth(f, 77);
	kr_cache_close(&f->cache);
	return 0;
}

static int replace_it(struct fixture *f)
{
	char path[128];
	fixture_file(path, sizeof(path), f, "data.mdb");
	unlink(path);
	fixture_file(path, sizeof(path), f, "lock.mdb");
	unlink(path);
	return insert_and_leave(f);
}

static int enlarge_it(struct fixture *f)
{
	fixture_open(f, 16 << 20);
	static uint8_t big[30000];
	for (int i = 0; i < 300; ++i) {
		char name[32];
		snprintf(name, sizeof(name), "big%d.", i);
		insert(f, rrset(f, name, 65280, 60, big, sizeof(big)), INSECURE);
		kr_cache_commit(&f->cache);
	}
	insert_truth(f, 77);
	kr_cache_close(&f->cache);
	return 0;
}

/** F-03. */
static void others_see_what_is_written(void **state)
{
	struct fixture *f = *state;
	kr_cache_close(&f->cache); /* no handle may be inherited */
	int ready[2], go[2], seen[2];
	char c;
	assert_int_equal(pipe(ready) | pipe(go) | pipe(seen), 0);
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		fixture_open(f, 4 << 20);
		check_truth(f, 77);
		(void)!write(ready[1], "x", 1);
		(void)!read(go[0], &c, 1);
		kr_cache_commit(&f->cache); /* next turn */
		_exit(check_truth(f, 77) ? 0 : 1);
	}
	assert_int_equal(read(ready[0], &c, 1), 1);
	assert_int_equal(in_child(f, insert_and_leave), 0);
	assert_int_equal(write(go[1], "x", 1), 1);
	int status;
	waitpid(pid, &status, 0);
	assert_int_equal(status, 0);
}

/** F-15. */
static void replaced_file_is_noticed(void **state)
{
	struct fixture *f = *state;
	char path[128];
	fill(f);
	assert_int_equal(kr_cache_check_health(&f->cache), 0);
	fixture_file(path, sizeof(path), f, "data.mdb");
	assert_int_equal(unlink(path), 0);
	assert_int_equal(kr_cache_check_health(&f->cache), 0); /* missing is tolerated */
	assert_int_equal(count_truths(f), NAMES);
	assert_int_equal(in_child(f, replace_it), 0);
	assert_int_equal(kr_cache_check_health(&f->cache), 1);
	assert_int_equal(count_truths(f), 1);
	assert_int_equal(check_truth(f, 77), 1);
	assert_int_equal(kr_cache_check_health(&f->cache), 0);
}

/** F-12. */
static void enlarged_file_is_adopted(void **state)
{
	struct fixture *f = *state;
	fill(f);
	assert_int_equal(in_child(f, enlarge_it), 0);
	assert_int_equal(
		count_truths(f), NAMES); /* does not see the size yet, must not fall over */
	kr_cache_commit(&f->cache);
	assert_int_equal(kr_cache_check_health(&f->cache), 0);
	assert_int_equal(f->cache.api->get_maxsize(f->cache.db), 16 << 20);
	assert_int_equal(check_truth(f, 77), 1);
	insert(f, rr_a(f, "after.", 60, 1), INSECURE);
	assert_int_equal(kr_cache_commit(&f->cache), 0);
	assert_int_equal(ttl_of(f, "after.", A), 60);
}

/** F-10. */
static void removed_directory_is_survived(void **state)
{
	struct fixture *f = *state;
	static const char *const files[] = {"data.mdb", "lock.mdb", "krcachelock", "usage"};
	fill(f);
	for (size_t i = 0; i < KR_COUNT_OF(files); ++i) {
		char path[128];
		fixture_file(path, sizeof(path), f, files[i]);
		unlink(path);
	}
	assert_int_equal(rmdir(f->dir), 0);
	assert_int_equal(kr_cache_check_health(&f->cache), 0);
	insert(f, rr_a(f, "after.", 60, 1), INSECURE);
	assert_int_equal(kr_cache_commit(&f->cache), 0);
	assert_int_equal(count_truths(f), NAMES);
}

static int open_in_new_namespace(struct fixture *f)
{
	kr_log_level_set(LOG_CRIT);
	if (unshare(CLONE_NEWUSER | CLONE_NEWPID) != 0)
		return 77; /* not allowed here */
	pid_t pid = fork();
	if (pid == 0) {
		struct kr_cdb_opts opts = {.path = f->dir, .maxsize = 4 << 20};
		/* /proc is that of the old namespace unless it is mounted anew, but ns links are
		 * right */
		_exit(kr_cache_open(&f->cache, NULL, &opts, NULL) == kr_error(EBUSY) ? 0 : 1);
	}
	int status;
	waitpid(pid, &status, 0);
	return WEXITSTATUS(status);
}

/** F-04. */
static void other_pid_namespace_is_refused(void **state)
{
	struct fixture *f = *state;
	fill(f);
	struct fixture other = *f;
	memset(&other.cache, 0, sizeof(other.cache));
	const int status = in_child(&other, open_in_new_namespace);
	if (status == 77)
		skip();
	assert_int_equal(status, 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(files_have_their_modes),
		TEST(bad_places_are_errors),
		TEST(contents_survive_reopening),
		TEST(turn_sees_its_own_writes),
		TEST(reserved_room_is_written),
		TEST(damaged_value_is_dropped_and_counted),
		TEST(other_version_is_cleared),
		TEST(file_that_is_no_cache_is_replaced),
		TEST(damaged_file_costs_one_process_at_most),
		TEST(process_on_a_cut_file_removes_it_and_goes),
		TEST(full_store_is_emptied_and_goes_on),
		TEST(full_store_with_a_stopped_reader_is_replaced),
		TEST(dead_readers_are_cleared),
		TEST(kill_at_any_moment_does_no_harm),
		TEST(others_see_what_is_written),
		TEST(replaced_file_is_noticed),
		TEST(enlarged_file_is_adopted),
		TEST(removed_directory_is_survived),
		TEST(other_pid_namespace_is_refused),
	};
	kr_log_level_set(getenv("V") ? LOG_DEBUG : LOG_CRIT);
	cmocka_set_test_filter(getenv("T"));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
