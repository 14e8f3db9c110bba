/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * What tests of the cache share: a directory that comes and goes, and RRsets made of text.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>
#include <libknot/libknot.h>

#include "lib/cache/chain.h"
#include "lib/cache/peek.h"
#include "lib/cache/stash.h"
#include "lib/mm.h"

#define NOW 1700000000u
#define SECURE (KR_RANK_SECURE | KR_RANK_AUTH)
#define INSECURE (KR_RANK_INSECURE | KR_RANK_AUTH)
#define UNCHECKED (KR_RANK_INITIAL | KR_RANK_AUTH)

struct fixture {
	char dir[64];
	struct kr_cache cache;
	knot_mm_t pool;
};

static inline void fixture_open(struct fixture *f, size_t size)
{
	struct kr_cdb_opts opts = {.path = f->dir, .maxsize = size};
	assert_int_equal(kr_cache_open(&f->cache, NULL, &opts, NULL), 0);
}

static inline int fixture_setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	const char *tmp = getenv("TMPDIR");
	snprintf(f->dir, sizeof(f->dir), "%.40s/kr-cache-XXXXXX", tmp ? tmp : "/tmp");
	assert_non_null(mkdtemp(f->dir));
	mm_ctx_mempool2(&f->pool, 4096);
	fixture_open(f, 4 << 20);
	*state = f;
	return 0;
}

static inline void fixture_file(char *path, size_t len, const struct fixture *f, const char *file)
{
	snprintf(path, len, "%s/%s", f->dir, file);
}

static inline int fixture_teardown(void **state)
{
	static const char *const files[] = {"data.mdb", "lock.mdb", "krcachelock", "usage"};
	struct fixture *f = *state;
	kr_cache_close(&f->cache);
	for (size_t i = 0; i < KR_COUNT_OF(files); ++i) {
		char path[128];
		fixture_file(path, sizeof(path), f, files[i]);
		unlink(path);
	}
	rmdir(f->dir);
	mp_delete(f->pool.ctx);
	free(f);
	return 0;
}

static inline knot_dname_t *dname(struct fixture *f, const char *text)
{
	knot_dname_storage_t buf;
	assert_non_null(knot_dname_from_str(buf, text, sizeof(buf)));
	knot_dname_to_lower(buf);
	return knot_dname_copy(buf, &f->pool);
}

static inline knot_rrset_t *rrset(struct fixture *f, const char *owner, uint16_t type, uint32_t ttl,
	const void *rdata, uint16_t len)
{
	knot_rrset_t *rr = knot_rrset_new(dname(f, owner), type, KNOT_CLASS_IN, ttl, &f->pool);
	assert_int_equal(knot_rrset_add_rdata(rr, rdata, len, &f->pool), 0);
	return rr;
}

static inline knot_rrset_t *rr_a(struct fixture *f, const char *owner, uint32_t ttl, uint8_t last)
{
	const uint8_t addr[] = {192, 0, 2, last};
	return rrset(f, owner, KNOT_RRTYPE_A, ttl, addr, sizeof(addr));
}

/** CNAME, DNAME, NS... */
static inline knot_rrset_t *rr_name(
	struct fixture *f, const char *owner, uint16_t type, uint32_t ttl, const char *target)
{
	knot_dname_t *to = dname(f, target);
	return rrset(f, owner, type, ttl, to, knot_dname_size(to));
}

static inline knot_rrset_t *rr_soa(struct fixture *f, const char *zone, uint32_t ttl)
{
	static const uint8_t soa[] = "\0\0\0\0\0\1\0\0\0\2\0\0\0\3\0\0\0\4\0\0\1\0";
	return rrset(f, zone, KNOT_RRTYPE_SOA, ttl, soa, sizeof(soa) - 1);
}

/** Bitmap of types below 256. @return length */
static inline size_t bitmap(uint8_t *to, const uint16_t *types)
{
	memset(to, 0, 34);
	for (; *types; ++types) {
		to[2 + *types / 8] |= 0x80 >> *types % 8;
		if (*types / 8 >= to[1])
			to[1] = *types / 8 + 1;
	}
	return to[1] ? 2 + to[1] : 0;
}

#define TYPES(...) ((const uint16_t[]){__VA_ARGS__, 0})

static inline knot_rrset_t *rr_nsec(
	struct fixture *f, const char *owner, const char *next, uint32_t ttl, const uint16_t *types)
{
	uint8_t rdata[KNOT_DNAME_MAXLEN + 34];
	knot_dname_t *to = dname(f, next);
	size_t len = knot_dname_size(to);
	memcpy(rdata, to, len);
	len += bitmap(rdata + len, types);
	return rrset(f, owner, KNOT_RRTYPE_NSEC, ttl, rdata, len);
}

/** A signature that only looks like one. @param labels -1 = those of the owner */
static inline knot_rrset_t *rr_sig_until(struct fixture *f, const knot_rrset_t *rr,
	const char *signer, int labels, uint32_t orig_ttl, uint32_t until)
{
	uint8_t rdata[18 + KNOT_DNAME_MAXLEN + 32] = {0};
	knot_dname_t *zone = dname(f, signer);
	if (labels < 0)
		labels = knot_dname_labels(rr->owner, NULL) - knot_dname_is_wildcard(rr->owner);
	knot_wire_write_u16(rdata, rr->type);
	rdata[2] = 13;
	rdata[3] = labels;
	knot_wire_write_u32(rdata + 4, orig_ttl);
	knot_wire_write_u32(rdata + 8, until);
	knot_wire_write_u32(rdata + 12, NOW - 1000);
	memcpy(rdata + 18, zone, knot_dname_size(zone));
	knot_rrset_t *sig =
		knot_rrset_new(rr->owner, KNOT_RRTYPE_RRSIG, KNOT_CLASS_IN, rr->ttl, &f->pool);
	assert_int_equal(
		knot_rrset_add_rdata(sig, rdata, 18 + knot_dname_size(zone) + 32, &f->pool), 0);
	return sig;
}

static inline knot_rrset_t *rr_sig(struct fixture *f, const knot_rrset_t *rr, const char *signer)
{
	return rr_sig_until(f, rr, signer, -1, 86400, NOW + 1000000);
}

static inline void insert(struct fixture *f, const knot_rrset_t *rr, uint8_t rank)
{
	assert_int_equal(kr_cache_insert_rr(&f->cache, rr, NULL, rank, NOW, false), 0);
}

static inline void insert_signed(struct fixture *f, const knot_rrset_t *rr, const char *zone)
{
	assert_int_equal(
		kr_cache_insert_rr(&f->cache, rr, rr_sig(f, rr, zone), SECURE, NOW, true), 0);
}

/** Ask as a validating client would. @return 0 or kr_error(ENOENT) */
static inline int peek_at(struct fixture *f, const char *name, uint16_t type, uint32_t now,
	uint8_t min_rank, struct cache_answer *answer)
{
	const struct cache_question q = {
		.name = dname(f, name),
		.type = type,
		.min_rank = min_rank,
		.may_prove = true,
		.now = now,
		.pool = &f->pool,
	};
	return cache_peek(&f->cache, &q, answer);
}

static inline int peek(
	struct fixture *f, const char *name, uint16_t type, struct cache_answer *answer)
{
	return peek_at(f, name, type, NOW, INSECURE, answer);
}

static inline const knot_rrset_t *answer_rr(const struct cache_answer *answer, uint16_t type)
{
	for (unsigned i = 0; i < answer->count; ++i) {
		if (answer->rr[i].type == type)
			return &answer->rr[i];
	}
	return NULL;
}

static inline uint32_t ttl_of(struct fixture *f, const char *name, uint16_t type)
{
	struct kr_cache_p p;
	if (kr_cache_peek_exact(&f->cache, dname(f, name), type, &p) != 0)
		return 0;
	return p.ttl;
}
