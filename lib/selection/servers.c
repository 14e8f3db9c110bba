/* SPDX-License-Identifier: GPL-3.0-or-later */

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
/** Different addresses of a family that have to time out, with no answer between, to call it broken. */
#define FAMILY_FAILURES 6
#define FAMILY_PENALTY_MS (60 * 1000)
#define STREAM_PENALTY_MS (60 * 1000)

/** Health of an address family. */
struct family {
	unsigned failures; /**< addresses that timed out since the last answer */
	uint64_t last_key;
	uint64_t broken_until;
};

struct kr_servers {
	size_t sets; /**< a power of two */
	uint64_t seed;
	struct family v4, v6;
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
	servers->v4 = servers->v6 = (struct family){0};
}

static struct family *family_of(struct kr_servers *servers, int family)
{
	return family == AF_INET6 ? &servers->v6 : &servers->v4;
}

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

static struct kr_server *find(struct kr_servers *servers, uint64_t key, uint64_t now_ms)
{
	struct kr_server *set = &servers->entries[((key >> 20) & (servers->sets - 1)) * SET_WAYS];
	for (int i = 0; i < SET_WAYS; ++i) {
		if (set[i].key == key && now_ms < set[i].seen_ms + MEMORY_MS)
			return &set[i];
	}
	return NULL;
}

const struct kr_server *kr_servers_peek(
		struct kr_servers *servers, const struct sockaddr *addr, uint64_t now_ms)
{
	return kr_inaddr_len(addr) > 0 ? find(servers, make_key(servers, addr), now_ms) : NULL;
}

struct kr_server *kr_servers_get(
		struct kr_servers *servers, const struct sockaddr *addr, uint64_t now_ms)
{
	if (kr_inaddr_len(addr) < 0)
		return NULL;
	const uint64_t key = make_key(servers, addr);
	struct kr_server *server = find(servers, key, now_ms);
	if (server)
		return server;
	struct kr_server *set = &servers->entries[((key >> 20) & (servers->sets - 1)) * SET_WAYS];
	struct kr_server *oldest = &set[0];
	for (int i = 0; i < SET_WAYS; ++i) {
		if (set[i].key == key || set[i].key == 0) { /* outdated or free */
			oldest = &set[i];
			break;
		}
		if (set[i].seen_ms < oldest->seen_ms)
			oldest = &set[i];
	}
	*oldest = (struct kr_server){
			.key = key,
			.seen_ms = now_ms,
			.family = kr_inaddr_family(addr) == AF_INET6 ? 6 : 4,
	};
	return oldest;
}

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
		uint64_t now_ms)
{
	struct kr_server *server = kr_servers_get(servers, addr, now_ms);
	if (!server)
		return;
	smooth(server, KR_MAX(KR_MIN(rtt_ms, 60000), 1) * 1000);
	server->seen_ms = now_ms;
	server->timeouts = 0;
	server->dead_until = 0;
	*family_of(servers, kr_inaddr_family(addr)) = (struct family){0};
}

static void family_timeout(struct family *family, uint64_t key, uint64_t now_ms)
{
	if (family->last_key == key)
		return; /* one silent server says nothing of the family */
	family->last_key = key;
	family->failures += 1;
	if (family->failures >= FAMILY_FAILURES)
		family->broken_until = now_ms + FAMILY_PENALTY_MS;
}

void kr_servers_timeout(struct kr_servers *servers, const struct sockaddr *addr, unsigned waited_ms,
		uint32_t retry_ms, uint64_t now_ms)
{
	struct kr_server *server = kr_servers_get(servers, addr, now_ms);
	if (!server)
		return;
	server->seen_ms = now_ms;
	if (server->timeouts < UINT16_MAX)
		server->timeouts += 1;
	if (server->timeouts >= DEAD_TIMEOUTS && waited_ms >= DEAD_WAIT_MS)
		server->dead_until = now_ms + retry_ms;
	family_timeout(family_of(servers, kr_inaddr_family(addr)), server->key, now_ms);
}

void kr_servers_no_stream(struct kr_servers *servers, const struct sockaddr *addr, uint64_t now_ms)
{
	struct kr_server *server = kr_servers_get(servers, addr, now_ms);
	if (!server)
		return;
	server->seen_ms = now_ms;
	server->no_stream_until = now_ms + STREAM_PENALTY_MS;
}

bool kr_servers_family_is_broken(const struct kr_servers *servers, int family, uint64_t now_ms)
{
	const struct family *f = family == AF_INET6 ? &servers->v6 : &servers->v4;
	return now_ms < f->broken_until;
}

unsigned kr_server_timeout_ms(const struct kr_server *server)
{
	if (!server || server->srtt_us == 0)
		return UNKNOWN_TIMEOUT_MS;
	const unsigned base = (server->srtt_us + 4 * server->var_us) / 1000 + 1;
	const unsigned backed_off = base << KR_MIN(server->timeouts, 6);
	return KR_MIN(KR_MAX(backed_off, KR_TRY_TIME_MIN_MS), KR_TRY_TIME_MAX_MS);
}
