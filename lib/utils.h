/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Small helpers around packets, names and files, and one include for the ground floor.
 */
#pragma once

#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <libknot/descriptor.h>
#include <libknot/packet/pkt.h>

#include "lib/addr.h"
#include "lib/check.h"
#include "lib/defines.h"
#include "lib/log.h"
#include "lib/mm.h"
#include "lib/rrs.h"

struct kr_context;

/** Free when the scope ends. */
#define auto_free __attribute__((cleanup(kr_cleanup_free)))
static inline void kr_cleanup_free(void *at)
{
	free(*(void **)at);
}

/** Size of a packet that has RRsets but no wire form (answers from the cache). */
#define KR_PKT_SIZE_NOWIRE ((size_t)-1)

/** @name Provided by the driver program, for modules @{ */
/** Monotonic ms of the loop turn. */
KR_EXPORT
uint64_t kr_now(void);
/** Random bytes fit for cryptography. */
KR_EXPORT
void kr_rnd_buffered(void *data, unsigned int size);
/** A number of `size` random bytes, 1 to 8. */
KR_EXPORT
uint64_t kr_rand_bytes(unsigned int size);
/** True with a probability of nomin / denomin. */
static inline bool kr_rand_coin(unsigned int nomin, unsigned int denomin)
{
	return denomin == 0 || kr_rand_bytes(8) % denomin < nomin;
}
struct uv_handle_s;
/** For uv_close(): free what the handle's data points at. */
KR_EXPORT
void kr_uv_free_cb(struct uv_handle_s *handle);
/** @} */

/** Drop question and records; id and flags of the header stay. */
KR_EXPORT
int kr_pkt_recycle(knot_pkt_t *pkt);
/** Keep header and question, drop all records (and the OPT pointer). */
KR_EXPORT
int kr_pkt_clear_payload(knot_pkt_t *pkt);
/** Put one record into the current section; everything is copied. */
KR_EXPORT
int kr_pkt_put(knot_pkt_t *pkt, const knot_dname_t *name, uint32_t ttl, uint16_t rclass,
	uint16_t rtype, const uint8_t *rdata, uint16_t rdlen);
/** AA=1, AD=0. */
KR_EXPORT
void kr_pkt_make_auth_header(knot_pkt_t *pkt);
/** False for pseudo-packets of the cache. */
KR_EXPORT KR_PURE bool kr_pkt_has_wire(const knot_pkt_t *pkt);
/** DO bit. */
KR_EXPORT KR_PURE bool kr_pkt_has_dnssec(const knot_pkt_t *pkt);
KR_EXPORT KR_PURE uint16_t kr_pkt_qclass(const knot_pkt_t *pkt);
KR_EXPORT KR_PURE uint16_t kr_pkt_qtype(const knot_pkt_t *pkt);
/** Question name inside of the wire, in its letter case; NULL without question. */
static inline const knot_dname_t *kr_pkt_qname_raw(const knot_pkt_t *pkt)
{
	return pkt->qname_size > 0 ? pkt->wire + 12 : NULL;
}
/** Text like dig's; malloc()ed. */
KR_EXPORT
char *kr_pkt_text(const knot_pkt_t *pkt);
/**
 * For how long a finished answer may be kept: the smallest TTL of all records but OPT, within the
 * cache limits; failures and empty answers: the lower limit.
 */
KR_EXPORT
uint32_t packet_ttl(const knot_pkt_t *pkt);

/** malloc()ed text of a name; NULL for NULL. */
static inline char *kr_dname_text(const knot_dname_t *name)
{
	return name ? knot_dname_to_str_alloc(name) : NULL;
}
/** malloc()ed mnemonic or TYPEn. */
KR_EXPORT
char *kr_rrtype_text(uint16_t rrtype);

/** Text of a name or type in a buffer of this block: KR_DNAME_GET_STR(text, name); */
#define KR_DNAME_GET_STR(var, name)                                                                \
	char var[KNOT_DNAME_TXT_MAXLEN + 1];                                                       \
	if (!(name) || !knot_dname_to_str((var), (name), sizeof(var)))                             \
	strcpy((var), "?")
#define KR_RRTYPE_GET_STR(var, type)                                                               \
	char var[32];                                                                              \
	if (knot_rrtype_to_string((type), (var), sizeof(var)) < 0)                                 \
	(var)[0] = '\0'

/** Longest text of kr_rrkey(). */
#define KR_RRKEY_LEN (16 + KNOT_DNAME_MAXLEN)
/** Text key of (class, owner, type, additional). @return length or kr_error(EINVAL) */
KR_EXPORT
int kr_rrkey(
	char *key, uint16_t rclass, const knot_dname_t *owner, uint16_t type, uint16_t additional);

/** Text of a kr_error(): errno or libknot. */
KR_EXPORT
const char *kr_strerror(int code);
/** Difference of two times in text form. @return NULL or an error text */
KR_EXPORT
const char *kr_strptime_diff(
	const char *format, const char *time1_str, const char *time0_str, double *diff);
/** Modification time or negative error. */
KR_EXPORT
int64_t kr_file_mtime(const char *path);
/** Bytes of the file system that holds a path, or negative error. */
KR_EXPORT
long long kr_fssize(const char *path);
/** `dir`/`path`, or `path` if it is absolute; malloc()ed. */
KR_EXPORT
char *kr_absolutize_path(const char *dirname, const char *fname);
/** Concatenation of n texts (NULLs are skipped); malloc()ed. */
KR_EXPORT
char *kr_strcatdup(unsigned n, ...);
/** Name of a directory entry (struct dirent *), for Lua. */
KR_EXPORT
const char *kr_dirent_name(const void *entry);
/** array_reserve() for callers without a pool. */
KR_EXPORT
int kr_memreserve(void *baton, void **mem, size_t elm_size, size_t want, size_t *have);

/** @name Stopwatch @{ */
typedef struct timespec kr_timer_t;
static inline void kr_timer_start(kr_timer_t *start)
{
	clock_gettime(CLOCK_MONOTONIC, start);
}
static inline double kr_timer_elapsed(const kr_timer_t *start)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (now.tv_sec - start->tv_sec) + (now.tv_nsec - start->tv_nsec) / 1e9;
}
static inline uint64_t kr_timer_elapsed_us(const kr_timer_t *start)
{
	return kr_timer_elapsed(start) * 1e6;
}
/** @} */
