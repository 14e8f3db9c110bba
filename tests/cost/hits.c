/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Answers out of the caches, counted in instructions: `hits KIND N` asks a worker N questions whose
 * answers are all in the answer cache (l0) or in LMDB (the others). Nothing in it depends on time
 * or chance, so that two runs under callgrind differ by nothing but N; see cost.py.
 */

#include <gnutls/crypto.h>

#include "lib/cache/test_util.h"
#include "lib/dnssec/ta.h"
#include "lib/module.h"
#include "lib/resolve.h"
#include "daemon/netio.h"
#include "daemon/worker.h"

#define NAMES 64 /**< different questions */

struct rig {
	struct fixture *f;
	struct kr_context ctx;
	struct worker_ctx worker;
	struct netio io;
	module_array_t modules;
	struct worker_client client;
	uint64_t rnd_state;
	unsigned answers, wrong;
	uint8_t rcode;
};

/* ---- what the worker stands on ---- */

static void rnd(void *data, void *buf, size_t len)
{
	struct rig *rig = data;
	for (size_t i = 0; i < len; ++i) {
		rig->rnd_state = rig->rnd_state * 6364136223846793005u + 1442695040888963407u;
		((uint8_t *)buf)[i] = rig->rnd_state >> 56;
	}
}

static void io_listen(struct netio *io, const struct netio_events *events) {}

static int io_timer_start(struct netio *io, struct netio_timer *timer, uint64_t after_ms)
{
	fail_msg("%s", "a question was not answered at once");
	return kr_error(ENOTSUP);
}

static void io_timer_stop(struct netio *io, struct netio_timer *timer) {}

static uint64_t io_cpu_us(struct netio *io)
{
	return 1;
}

static const struct netio_ops io_ops = {
	.listen = io_listen,
	.timer_start = io_timer_start,
	.timer_stop = io_timer_stop,
	.cpu_us = io_cpu_us,
};

static void on_answer(struct worker_client *client, const struct worker_query *query,
	struct bytes wire, const struct kr_request *req)
{
	struct rig *rig = (struct rig *)((char *)client - offsetof(struct rig, client));
	rig->answers += 1;
	rig->wrong += !wire.at || knot_wire_get_rcode(wire.at) != rig->rcode ||
		      !knot_wire_get_ad(wire.at) || knot_wire_get_tc(wire.at);
}

static void load_layers(struct rig *rig)
{
	static const char *const names[] = {"iterate", "validate", "cache"};
	rig->ctx.modules = &rig->modules;
	for (size_t i = 0; i < KR_COUNT_OF(names); ++i) {
		struct kr_module *module = calloc(1, sizeof(*module));
		module->data = &rig->ctx;
		assert_int_equal(kr_module_load(module, names[i], NULL), 0);
		array_push(rig->modules, module);
	}
	assert_int_equal(kr_modules_changed(&rig->ctx), 0);
}

static void rig_open(struct rig *rig)
{
	void *state;
	fixture_setup(&state);
	rig->f = state;
	rig->ctx.rnd = rnd;
	rig->ctx.rnd_data = rig;
	rig->ctx.now_ms = 1000;
	rig->ctx.now.tv_sec = NOW;
	assert_int_equal(kr_context_init(&rig->ctx, NULL), 0);
	rig->ctx.cache = rig->f->cache;
	load_layers(rig);
	static const uint8_t ds[4 + 32] = {0, 1, 13, 2};
	assert_int_equal(kr_ta_add(rig->ctx.trust_anchors, (const uint8_t *)"", KNOT_RRTYPE_DS,
				 3600, ds, sizeof(ds)),
		0);
	rig->io.ops = &io_ops;
	rig->client.answer = on_answer;
	assert_int_equal(worker_init(&rig->worker, &rig->ctx, &rig->io), 0);
}

static void rig_close(struct rig *rig)
{
	worker_deinit(&rig->worker);
	while (rig->modules.len > 0) {
		struct kr_module *module = array_tail(rig->modules);
		array_pop(rig->modules);
		kr_module_unload(module);
		free(module);
	}
	array_clear(rig->modules);
	rig->f->cache = rig->ctx.cache;
	rig->ctx.cache = (struct kr_cache){0};
	kr_context_deinit(&rig->ctx);
	void *state = rig->f;
	fixture_teardown(&state);
}

/* ---- what is in the cache ---- */

static void load_addresses(struct fixture *f)
{
	for (int i = 0; i < NAMES; ++i) {
		char name[64];
		snprintf(name, sizeof(name), "host%d.zone%d.example.", i, i % 7);
		knot_rrset_t *rr = rr_a(f, name, 3600, i);
		const uint8_t second[] = {198, 51, 100, i};
		assert_int_equal(knot_rrset_add_rdata(rr, second, sizeof(second), &f->pool), 0);
		insert_signed(f, rr, strchr(name, '.') + 1);
	}
}

static void load_aliases(struct fixture *f)
{
	load_addresses(f);
	for (int i = 0; i < NAMES; ++i) {
		char from[64], over[64], to[64];
		snprintf(from, sizeof(from), "alias%d.other.example.", i);
		snprintf(over, sizeof(over), "over%d.third.example.", i);
		snprintf(to, sizeof(to), "host%d.zone%d.example.", i, i % 7);
		insert_signed(f, rr_name(f, from, KNOT_RRTYPE_CNAME, 3600, over), "other.example.");
		insert_signed(f, rr_name(f, over, KNOT_RRTYPE_CNAME, 3600, to), "third.example.");
	}
}

#define DEEP "1.2.3.4.5.6.7.8.9.a.b.c.d.e.f.g.h.i.j.k.l.m.n.o."

static void load_deep(struct fixture *f)
{
	for (int i = 0; i < NAMES; ++i) {
		char name[96];
		snprintf(name, sizeof(name), "host%d." DEEP "example.", i);
		insert_signed(f, rr_a(f, name, 3600, i), "example.");
	}
}

/** A zone of n0 to n9. */
static void load_nsec(struct fixture *f)
{
	const uint16_t *types = TYPES(KNOT_RRTYPE_A, KNOT_RRTYPE_RRSIG, KNOT_RRTYPE_NSEC);
	insert_signed(f, rr_soa(f, "example.", 3600), "example.");
	insert_signed(f, rr_nsec(f, "example.", "n0.example.", 3600, types), "example.");
	for (int i = 0; i < 10; ++i) {
		char owner[32], next[32];
		snprintf(owner, sizeof(owner), "n%d.example.", i);
		snprintf(next, sizeof(next), i < 9 ? "n%d.example." : "example.", i + 1);
		insert_signed(f, rr_nsec(f, owner, next, 3600, types), "example.");
	}
}

static knot_rrset_t *rr_nsec3(
	struct fixture *f, const uint8_t *owner, const uint8_t *next, const uint16_t *types)
{
	static const char digits[] = "0123456789abcdefghijklmnopqrstuv";
	char name[64];
	for (int i = 0; i < 32; ++i) { /* five bits each */
		const int bit = i * 5, at = bit / 8;
		const unsigned two = owner[at] << 8 | (at < 19 ? owner[at + 1] : 0);
		name[i] = digits[two >> (11 - bit % 8) & 31];
	}
	strcpy(name + 32, ".example.");
	uint8_t rdata[26 + 34] = {1, 0, 0, 0, 0, 20};
	memcpy(rdata + 6, next, 20);
	return rrset(f, name, KNOT_RRTYPE_NSEC3, 3600, rdata, 26 + bitmap(rdata + 26, types));
}

static int by_hash(const void *a, const void *b)
{
	return memcmp(a, b, 20);
}

/** The same zone, hashed. */
static void load_nsec3(struct fixture *f)
{
	uint8_t hashes[11][20];
	insert_signed(f, rr_soa(f, "example.", 3600), "example.");
	for (int i = 0; i < 11; ++i) {
		char name[32];
		snprintf(name, sizeof(name), i < 10 ? "n%d.example." : "example.", i);
		const knot_dname_t *wire = dname(f, name);
		gnutls_hash_fast(GNUTLS_DIG_SHA1, wire, knot_dname_size(wire), hashes[i]);
	}
	qsort(hashes, 11, 20, by_hash);
	for (int i = 0; i < 11; ++i)
		insert_signed(f,
			rr_nsec3(f, hashes[i], hashes[(i + 1) % 11],
				TYPES(KNOT_RRTYPE_A, KNOT_RRTYPE_RRSIG)),
			"example.");
}

/* ---- questions ---- */

static const struct kind {
	const char *name;
	void (*load)(struct fixture *f);
	const char *question; /**< with a number in it */
	uint8_t rcode;
	bool use_l0;
} kinds[] = {
	{"l0", load_addresses, "host%d.zone%d.example.", KNOT_RCODE_NOERROR, true},
	{"address", load_addresses, "host%d.zone%d.example.", KNOT_RCODE_NOERROR, false},
	{"alias", load_aliases, "alias%d.other.example.", KNOT_RCODE_NOERROR, false},
	{"deep", load_deep, "host%d." DEEP "example.", KNOT_RCODE_NOERROR, false},
	{"nsec", load_nsec, "missing%d.example.", KNOT_RCODE_NXDOMAIN, false},
	{"nsec3", load_nsec3, "missing%d.example.", KNOT_RCODE_NXDOMAIN, false},
};

struct question {
	uint8_t wire[KNOT_WIRE_HEADER_SIZE + KNOT_DNAME_MAXLEN + 4 + 11];
	size_t len;
};

/** RD, AD, OPT with 1232. */
static void make_question(struct question *q, const struct kind *kind, int number)
{
	char text[128];
	int len = snprintf(text, sizeof(text), kind->question, number, number % 7);
	assert_in_range(len, 1, sizeof(text) - 1);
	memset(q, 0, sizeof(*q));
	knot_wire_set_id(q->wire, number);
	knot_wire_set_rd(q->wire);
	knot_wire_set_ad(q->wire);
	knot_wire_set_qdcount(q->wire, 1);
	knot_wire_set_arcount(q->wire, 1);
	uint8_t *at = q->wire + KNOT_WIRE_HEADER_SIZE;
	assert_non_null(knot_dname_from_str(at, text, KNOT_DNAME_MAXLEN));
	at += knot_dname_size(at);
	knot_wire_write_u16(at, KNOT_RRTYPE_A);
	knot_wire_write_u16(at + 2, KNOT_CLASS_IN);
	at += 4;
	knot_wire_write_u16(at + 1, KNOT_RRTYPE_OPT);
	knot_wire_write_u16(at + 3, 1232);
	q->len = at + 11 - q->wire;
}

static void ask(struct rig *rig, const struct kind *kind, int count)
{
	static struct question questions[NAMES];
	union kr_sockaddr client = {.ip4 = {.sin_family = AF_INET, .sin_port = htons(5353)}};
	union kr_sockaddr local = {.ip4 = {.sin_family = AF_INET, .sin_port = htons(53)}};
	client.ip4.sin_addr.s_addr = htonl(0xc0000202);
	local.ip4.sin_addr.s_addr = htonl(0xc0000201);
	for (int i = 0; i < NAMES; ++i)
		make_question(&questions[i], kind, i);
	for (int i = 0; i < count; ++i) {
		const struct question *q = &questions[i % NAMES];
		const struct worker_query query = {.wire = {q->wire, q->len},
			.addr = &client.ip,
			.dst_addr = &local.ip,
			.stream_id = -1};
		assert_int_equal(worker_submit(&rig->worker, &rig->client, &query), 0);
		if (i % 32 == 31)
			worker_loop_end(&rig->worker);
	}
}

static const struct kind *find_kind(const char *name)
{
	for (size_t i = 0; i < KR_COUNT_OF(kinds); ++i) {
		if (strcmp(kinds[i].name, name) == 0)
			return &kinds[i];
	}
	return NULL;
}

int main(int argc, char **argv)
{
	const struct kind *kind = argc == 3 ? find_kind(argv[1]) : NULL;
	const int count = kind ? atoi(argv[2]) : 0;
	if (count < 1) {
		fprintf(stderr, "usage: %s l0|address|alias|deep|nsec|nsec3 COUNT\n", argv[0]);
		return 2;
	}
	static struct rig rig;
	rig_open(&rig);
	rig.rcode = kind->rcode;
	rig.worker.l0_enabled = kind->use_l0;
	rig.worker.quick_enabled = true;
	kind->load(rig.f);
	kr_cache_commit(&rig.ctx.cache);
	ask(&rig, kind, count);
	const unsigned hits = rig.worker.stats.l0_hits;
	const bool is_good = rig.answers == (unsigned)count && rig.wrong == 0 &&
			     hits == (kind->use_l0 && count > NAMES ? (unsigned)count - NAMES : 0);
	if (!is_good)
		fprintf(stderr, "%u answers, %u of them wrong, %u repeated\n", rig.answers,
			rig.wrong, hits);
	rig_close(&rig);
	return is_good ? 0 : 1;
}
