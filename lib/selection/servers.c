/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Two tables of 64-bit fingerprints in sets of eight; the entry that was touched longest ago makes
 * room. Nobody who does not know the seed can aim at an entry. */

#include "lib/selection/servers.h"

#include <string.h>

#include "lib/addr.h"

#define SET_WAYS 8
/** Nothing is believed longer (C-41). */
#define MEMORY_MS (15 * 60 * 1000)
/** Timeouts in a row after which an address counts as dead, if one of them was long enough. */
#define DEAD_TIMEOUTS 4
#define DEAD_WAIT_MS 800
/** Wait for a server that nothing is known of. */
#define UNKNOWN_TIMEOUT_MS 400
/** Least allowance for variation: even a close server is busy at times. */
#define SLACK_US (50 * 1000)
/** Longest RTT believed. */
#define RTT_MAX_MS 60000
/** Errors of the network within that time that lower the preference of an address (S-12). */
#define UNREACHABLE_COUNT 3
#define UNREACHABLE_MS (10 * 1000)
/** Different addresses that have to fail, with no answer between, before a family is broken (F-25).
 */
#define FAMILY_TIMEOUTS 3
#define FAMILY_UNREACHABLE 2
#define FAMILY_PENALTY_MIN_MS (15 * 1000)
#define FAMILY_PENALTY_MAX_MS (10 * 60 * 1000)
#define STREAM_PENALTY_MS (60 * 1000)
/** Proven near misses after which a server is asked over streams (S-05). */
#define CASE_MISSES 3
#define LAME_ENTRIES 2048
#define LAME_MS (KR_FAIL_TTL_MIN_S * 1000)

/** Health of an address family. */
struct family {
	uint8_t timeouts, unreachable; /**< different addresses in a row, since the last answer */
	uint64_t last_key;
	uint64_t broken_until;
	uint32_t penalty_ms;
	bool works; /**< an answer came, and since then the family was not broken */
};

struct lame {
	uint64_t key; /**< of address and zone, 0 = free */
	uint64_t until;
};

struct kr_servers {
	size_t sets; /**< a power of two */
	uint64_t seed;
	struct family v4, v6;
	struct lame lame[LAME_ENTRIES];
	struct kr_server entries[];
};

struct kr_servers *kr_servers_new(size_t capacity, uint64_t seed)
{
	size_t sets = 1;
	while (sets * SET_WAYS < capacity)
		sets *= 2;
	struct kr_servers *servers =
		calloc(1, sizeof(*servers) + sets * SET_WAYS * sizeof(struct kr_server));
	if (servers) {
		servers->sets = sets;
		servers->seed = seed | 1;
	}
	return servers;
}

void kr_servers_free(struct kr_servers *servers)
{
	free(servers);
}

void kr_servers_clear(struct kr_servers *servers)
{
	memset(servers->entries, 0, servers->sets * SET_WAYS * sizeof(struct kr_server));
	memset(servers->lame, 0, sizeof(servers->lame));
	servers->v4 = servers->v6 = (struct family){0};
}

/* ---- look-up ---- */

static uint64_t mix(uint64_t h, uint64_t word, uint64_t seed)
{
	const __uint128_t product = (__uint128_t)(h ^ word) * (seed | 0x8ebc6af09c88c6e3ull);
	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint64_t make_key(const struct kr_servers *servers, const struct sockaddr *addr)
{
	uint64_t words[2] = {0};
	memcpy(words, kr_inaddr(addr), kr_inaddr_len(addr));
	uint64_t h = mix(servers->seed, words[0], servers->seed);
	h = mix(h, words[1], servers->seed);
	return mix(h, kr_inaddr_port(addr), servers->seed) | 1;
}

static uint64_t make_lame_key(
	const struct kr_servers *servers, const struct sockaddr *addr, const knot_dname_t *zone)
{
	uint64_t h = make_key(servers, addr);
	const size_t len = knot_dname_size(zone);
	for (size_t i = 0; i < len; i += 8) {
		uint64_t word = 0;
		memcpy(&word, zone + i, KR_MIN(len - i, sizeof(word)));
		h = mix(h, word, servers->seed);
	}
	return h | 1;
}

static bool has_address(const struct sockaddr *addr)
{
	return addr && kr_inaddr_len(addr) > 0;
}

static struct kr_server *set_of(struct kr_servers *servers, uint64_t key)
{
	return &servers->entries[((key >> 20) & (servers->sets - 1)) * SET_WAYS];
}

static struct kr_server *find(struct kr_servers *servers, uint64_t key, uint64_t now_ms)
{
	struct kr_server *set = set_of(servers, key);
	for (int i = 0; i < SET_WAYS; ++i) {
		if (set[i].key == key && now_ms < set[i].seen_ms + MEMORY_MS)
			return &set[i];
	}
	return NULL;
}

const struct kr_server *kr_servers_peek(
	struct kr_servers *servers, const struct sockaddr *addr, uint64_t now_ms)
{
	return has_address(addr) ? find(servers, make_key(servers, addr), now_ms) : NULL;
}

/** The entry of an address, touched; made if there is none. */
static struct kr_server *touch(
	struct kr_servers *servers, const struct sockaddr *addr, uint64_t now_ms)
{
	if (!has_address(addr))
		return NULL;
	const uint64_t key = make_key(servers, addr);
	struct kr_server *server = find(servers, key, now_ms);
	if (server) {
		server->seen_ms = now_ms;
		return server;
	}
	struct kr_server *set = set_of(servers, key);
	server = &set[0];
	for (int i = 0; i < SET_WAYS; ++i) {
		if (set[i].key == key || set[i].key == 0) { /* outdated or free */
			server = &set[i];
			break;
		}
		if (set[i].seen_ms < server->seen_ms)
			server = &set[i];
	}
	*server = (struct kr_server){.key = key, .seen_ms = now_ms};
	return server;
}

/* ---- families ---- */

static struct family *family_of(struct kr_servers *servers, const struct sockaddr *addr)
{
	return kr_inaddr_family(addr) == AF_INET6 ? &servers->v6 : &servers->v4;
}

static void family_answered(struct family *family)
{
	*family = (struct family){.works = true};
}

/** Another address of the family failed. Each time it breaks again it is left alone for longer. */
static void family_failed(struct kr_servers *servers, const struct sockaddr *addr, uint64_t key,
	bool is_unreachable, uint64_t now_ms)
{
	struct family *family = family_of(servers, addr);
	if (family->last_key == key || now_ms < family->broken_until)
		return; /* one silent server says nothing of the family */
	family->last_key = key;
	uint8_t *count = is_unreachable ? &family->unreachable : &family->timeouts;
	*count += 1;
	/* What was broken, and IPv6 that was never seen working, get one chance only. */
	const bool is_doubtful = family->penalty_ms > 0 || family == &servers->v6;
	const uint8_t limit = !family->works && is_doubtful ? 1
			      : is_unreachable              ? FAMILY_UNREACHABLE
							    : FAMILY_TIMEOUTS;
	if (*count < limit)
		return;
	family->penalty_ms = family->penalty_ms
				     ? KR_MIN(family->penalty_ms * 2, FAMILY_PENALTY_MAX_MS)
				     : FAMILY_PENALTY_MIN_MS;
	family->broken_until = now_ms + family->penalty_ms;
	family->timeouts = family->unreachable = 0;
	family->works = false;
}

enum kr_family_state kr_servers_family(
	const struct kr_servers *servers, int family, uint64_t now_ms)
{
	const struct family *f = family == AF_INET6 ? &servers->v6 : &servers->v4;
	if (now_ms < f->broken_until)
		return KR_FAMILY_BROKEN;
	return f->works ? KR_FAMILY_WORKS : KR_FAMILY_UNPROVEN;
}

/* ---- reports ---- */

/** Smoothing as TCP does it (RFC 6298 section 2). */
static void smooth(struct kr_server *server, uint32_t sample_us)
{
	if (server->srtt_us == 0) {
		server->srtt_us = sample_us;
		server->var_us = sample_us / 2;
		return;
	}
	const uint32_t diff = server->srtt_us > sample_us ? server->srtt_us - sample_us
							  : sample_us - server->srtt_us;
	server->var_us = server->var_us - server->var_us / 4 + diff / 4;
	server->srtt_us = server->srtt_us - server->srtt_us / 8 + sample_us / 8;
	server->srtt_us = KR_MAX(server->srtt_us, 1);
}

void kr_servers_answered(struct kr_servers *servers, const struct sockaddr *addr, unsigned rtt_ms,
	bool is_stream, uint64_t now_ms)
{
	struct kr_server *server = touch(servers, addr, now_ms);
	if (!server)
		return;
	if (server->is_stream_rtt && !is_stream)
		server->srtt_us = 0; /* the better measure replaces the other */
	if (server->srtt_us == 0)
		server->is_stream_rtt = is_stream;
	if (server->is_stream_rtt == is_stream)
		smooth(server, KR_MAX(KR_MIN(rtt_ms, RTT_MAX_MS), 1) * 1000);
	if (is_stream)
		server->no_stream_until = 0;
	server->timeouts = server->longest_ms = 0;
	server->unreachable_count = 0;
	server->dead_until = 0;
	family_answered(family_of(servers, addr));
}

void kr_servers_timeout(struct kr_servers *servers, const struct sockaddr *addr, unsigned waited_ms,
	uint32_t retry_ms, uint64_t now_ms)
{
	struct kr_server *server = touch(servers, addr, now_ms);
	if (!server)
		return;
	if (server->timeouts < UINT16_MAX)
		server->timeouts += 1;
	server->longest_ms = KR_MAX(server->longest_ms, KR_MIN(waited_ms, UINT16_MAX));
	if (server->timeouts >= DEAD_TIMEOUTS && server->longest_ms >= DEAD_WAIT_MS)
		server->dead_until = now_ms + retry_ms;
	family_failed(servers, addr, server->key, false, now_ms);
}

void kr_servers_unreachable(
	struct kr_servers *servers, const struct sockaddr *addr, uint64_t now_ms)
{
	struct kr_server *server = touch(servers, addr, now_ms);
	if (!server)
		return;
	if (server->unreachable_count == 0 || now_ms >= server->unreachable_ms + UNREACHABLE_MS) {
		server->unreachable_ms = now_ms;
		server->unreachable_count = 0;
	}
	server->unreachable_count += server->unreachable_count < UINT8_MAX;
	if (server->unreachable_count >= UNREACHABLE_COUNT)
		server->dead_until = now_ms + UNREACHABLE_MS;
	family_failed(servers, addr, server->key, true, now_ms);
}

void kr_servers_no_stream(struct kr_servers *servers, const struct sockaddr *addr, uint64_t now_ms)
{
	struct kr_server *server = touch(servers, addr, now_ms);
	if (!server)
		return;
	server->no_stream_until = now_ms + STREAM_PENALTY_MS;
	server->stream_until = 0;
}

void kr_servers_case_missed(
	struct kr_servers *servers, const struct sockaddr *addr, uint64_t now_ms)
{
	struct kr_server *server = touch(servers, addr, now_ms);
	if (!server)
		return;
	server->case_misses += 1;
	if (server->case_misses < CASE_MISSES)
		return;
	server->case_misses = 0;
	server->stream_until = now_ms + MEMORY_MS;
}

static struct lame *lame_slot(struct kr_servers *servers, uint64_t key)
{
	return &servers->lame[(key >> 20) % LAME_ENTRIES];
}

void kr_servers_lame(struct kr_servers *servers, const struct sockaddr *addr,
	const knot_dname_t *zone, uint64_t now_ms)
{
	if (!has_address(addr))
		return;
	const uint64_t key = make_lame_key(servers, addr, zone);
	*lame_slot(servers, key) = (struct lame){.key = key, .until = now_ms + LAME_MS};
}

bool kr_servers_is_lame(struct kr_servers *servers, const struct sockaddr *addr,
	const knot_dname_t *zone, uint64_t now_ms)
{
	if (!has_address(addr))
		return false;
	const uint64_t key = make_lame_key(servers, addr, zone);
	const struct lame *lame = lame_slot(servers, key);
	return lame->key == key && now_ms < lame->until;
}

unsigned kr_server_timeout_ms(const struct kr_server *server)
{
	if (!server)
		return UNKNOWN_TIMEOUT_MS;
	unsigned base_ms = UNKNOWN_TIMEOUT_MS;
	if (server->srtt_us > 0)
		base_ms = (server->srtt_us + KR_MAX(4 * server->var_us, SLACK_US)) / 1000;
	const unsigned backed_off = base_ms << KR_MIN(server->timeouts, 6);
	return KR_MIN(KR_MAX(backed_off, KR_TRY_TIME_MIN_MS), KR_TRY_TIME_MAX_MS);
}
