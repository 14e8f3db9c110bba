/* SPDX-License-Identifier: GPL-3.0-or-later */
/* An open-addressed table of 64-bit fingerprints in sets of eight; the entry that ends first makes
 * room. Two different questions with one fingerprint would share a failure for some seconds: with a
 * secret seed nobody can arrange that. */

#include "lib/failcache.h"

#include <string.h>

#define SET_WAYS 8

struct failure {
	uint64_t key;    /**< 0 = free */
	uint64_t until;  /**< ms */
	uint32_t span;   /**< ms it was set for */
	uint64_t labels; /**< fingerprint of the name without kind and type, for forgetting */
	int16_t ede;
	uint8_t name[30]; /**< end of the name (its suffix), for forgetting subtrees */
	uint8_t name_len; /**< whole length of the name; > sizeof(name): only the suffix is kept */
};

struct kr_failcache {
	size_t sets; /**< a power of two */
	uint64_t seed;
	struct failure entries[];
};

struct kr_failcache *kr_failcache_new(size_t capacity, uint64_t seed)
{
	size_t sets = 1;
	while (sets * SET_WAYS < capacity)
		sets *= 2;
	struct kr_failcache *fc = calloc(1, sizeof(*fc) + sets * SET_WAYS * sizeof(struct failure));
	if (fc) {
		fc->sets = sets;
		fc->seed = seed | 1;
	}
	return fc;
}

void kr_failcache_free(struct kr_failcache *fc)
{
	free(fc);
}

void kr_failcache_clear(struct kr_failcache *fc)
{
	memset(fc->entries, 0, fc->sets * SET_WAYS * sizeof(struct failure));
}

static uint64_t mix(uint64_t h, uint64_t word, uint64_t seed)
{
	const __uint128_t product = (__uint128_t)(h ^ word) * (seed | 0xa0761d6478bd642full);
	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint8_t lower(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c;
}

static uint64_t hash_name(uint64_t seed, const knot_dname_t *name, size_t len)
{
	uint64_t h = seed;
	for (size_t i = 0; i < len; i += 8) {
		uint8_t word[8] = {0};
		for (size_t j = 0; j < 8 && i + j < len; ++j)
			word[j] = lower(name[i + j]);
		uint64_t value;
		memcpy(&value, word, sizeof(value));
		h = mix(h, value, seed);
	}
	return mix(h, len, seed);
}

/** Fingerprint of what failed; never 0. */
static uint64_t make_key(
	const struct kr_failcache *fc, enum kr_fail_kind kind, uint64_t name_hash, uint16_t type)
{
	if (kind == KR_FAIL_CUT)
		type = 0;
	return mix(name_hash, ((uint64_t)kind << 16 | type) + 1, fc->seed) | 1;
}

static struct failure *set_of(struct kr_failcache *fc, uint64_t key)
{
	return &fc->entries[((key >> 20) & (fc->sets - 1)) * SET_WAYS];
}

static struct failure *find(struct kr_failcache *fc, uint64_t key)
{
	struct failure *set = set_of(fc, key);
	for (int i = 0; i < SET_WAYS; ++i) {
		if (set[i].key == key)
			return &set[i];
	}
	return NULL;
}

/** The slot to be overwritten: a free one, or the one that ends first. */
static struct failure *victim(struct kr_failcache *fc, uint64_t key)
{
	struct failure *set = set_of(fc, key);
	struct failure *oldest = &set[0];
	for (int i = 0; i < SET_WAYS; ++i) {
		if (set[i].key == 0)
			return &set[i];
		if (set[i].until < oldest->until)
			oldest = &set[i];
	}
	return oldest;
}

static void note_name(struct failure *failure, const knot_dname_t *name, size_t len)
{
	const size_t kept = KR_MIN(len, sizeof(failure->name));
	failure->name_len = len;
	for (size_t i = 0; i < kept; ++i)
		failure->name[sizeof(failure->name) - kept + i] = lower(name[len - kept + i]);
}

void kr_failcache_add(struct kr_failcache *fc, enum kr_fail_kind kind, const knot_dname_t *name,
	uint16_t type, int ede, uint64_t now_ms)
{
	const size_t len = knot_dname_size(name);
	const uint64_t labels = hash_name(fc->seed, name, len);
	const uint64_t key = make_key(fc, kind, labels, type);
	struct failure *failure = find(fc, key);
	uint32_t span = KR_FAIL_TTL_MIN_S * 1000;
	if (failure && now_ms < failure->until)
		return; /* still in force: being asked again does not prolong it */
	if (failure && now_ms < failure->until + failure->span)
		span = KR_MIN(failure->span * 2, KR_FAIL_TTL_MAX_S * 1000);
	if (!failure)
		failure = victim(fc, key);
	*failure = (struct failure){
		.key = key,
		.until = now_ms + span,
		.span = span,
		.labels = labels,
		.ede = ede,
	};
	note_name(failure, name, len);
}

uint32_t kr_failcache_check(struct kr_failcache *fc, enum kr_fail_kind kind,
	const knot_dname_t *name, uint16_t type, int *ede, uint64_t now_ms)
{
	const uint64_t labels = hash_name(fc->seed, name, knot_dname_size(name));
	const struct failure *failure = find(fc, make_key(fc, kind, labels, type));
	if (!failure || now_ms >= failure->until)
		return 0;
	if (ede)
		*ede = failure->ede;
	return failure->until - now_ms;
}

void kr_failcache_del(
	struct kr_failcache *fc, enum kr_fail_kind kind, const knot_dname_t *name, uint16_t type)
{
	const uint64_t labels = hash_name(fc->seed, name, knot_dname_size(name));
	struct failure *failure = find(fc, make_key(fc, kind, labels, type));
	if (failure)
		memset(failure, 0, sizeof(*failure));
}

/** Could the failed name be at or below this one? Errs on the side of forgetting. */
static bool may_be_below(const struct failure *failure, const knot_dname_t *name, size_t len)
{
	if (failure->name_len < len)
		return false;
	const size_t kept = KR_MIN(KR_MIN(len, sizeof(failure->name)), failure->name_len);
	for (size_t i = 1; i <= kept; ++i) {
		if (failure->name[sizeof(failure->name) - i] != lower(name[len - i]))
			return false;
	}
	return true;
}

void kr_failcache_forget(struct kr_failcache *fc, const knot_dname_t *name, bool subtree)
{
	const size_t len = knot_dname_size(name);
	const uint64_t labels = hash_name(fc->seed, name, len);
	for (size_t i = 0; i < fc->sets * SET_WAYS; ++i) {
		struct failure *failure = &fc->entries[i];
		if (failure->key == 0)
			continue;
		if (failure->labels == labels || (subtree && may_be_below(failure, name, len)))
			memset(failure, 0, sizeof(*failure));
	}
}
