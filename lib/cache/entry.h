/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Cache records as bytes. An entry is a head (insertion time, TTL, rank, flags) and a few RRsets
 * with their signatures: one for a positive answer, SOA and proofs for a negative one, NS and glue
 * for a delegation. A checksum covers the key too, so bytes that strayed under another name are
 * noticed. Reading trusts nothing: lengths, counts and the names inside of rdata are checked, as a
 * crashed or hostile neighbour process may have written them. Numbers are in host order; the
 * store's version record tells machines apart.
 */
#pragma once

#include <libknot/rrset.h>

#include "lib/defines.h"
#include "lib/cache/key.h"

/** Part of the store's version: raise it with any change of key.h or of the layout. */
#define CACHE_FORMAT 1
/** Longest entry in bytes: a whole message of records, unpacked. */
#define CACHE_ENTRY_MAX (128 * 1024)
/** RRsets in an entry: SOA and 16 NSEC (B-22), or 13 NS with A and AAAA (B-05) and two markers. */
#define CACHE_SETS_MAX 32

enum cache_entry_flag {
	CACHE_FLAG_OPTOUT = 1 << 0,      /**< the proof used opt-out */
	CACHE_FLAG_WEXPAND = 1 << 1,     /**< positive answer made from a wildcard; proofs follow */
	CACHE_FLAG_SECURE_NODS = 1 << 2, /**< delegation proven to have no DS */
};

/** One RRset of an entry, and its signatures. Pointers lead into the encoded bytes or to the
 * caller's. */
struct cache_set {
	const knot_dname_t *owner; /**< NULL = the name in the key */
	uint16_t type;
	uint32_t ttl; /**< s, at the time of insertion */
	knot_rdataset_t data;
	knot_rdataset_t sigs;
};

struct cache_entry {
	uint32_t time; /**< wall time of insertion */
	uint32_t ttl;  /**< s, of the whole */
	uint8_t rank;
	uint8_t flags;
	uint8_t count;
	struct cache_set sets[CACHE_SETS_MAX];
};

/** The first bytes of an entry. */
struct cache_entry_head {
	uint32_t sum;
	uint32_t len;
	uint32_t time;
	uint32_t ttl;
	uint8_t format;
	uint8_t rank;
	uint8_t flags;
	uint8_t count;
};

/** Bytes the entry takes. @return size or kr_error(ENOSPC) */
ssize_t cache_entry_size(const struct cache_entry *entry);
/** Write into `size` bytes, what cache_entry_size() had said. */
void cache_entry_encode(
	const struct cache_entry *entry, const struct cache_key *key, void *to, size_t size);
/**
 * Read; `entry` then points into the bytes.
 * @return 0 or kr_error(EILSEQ)
 */
int cache_entry_decode(
	struct cache_entry *entry, const knot_db_val_t *key, const knot_db_val_t *val);
/** Read the head only, with its checksum verified. @return 0 or kr_error(EILSEQ) */
int cache_entry_head(
	struct cache_entry_head *head, const knot_db_val_t *key, const knot_db_val_t *val);

/**
 * Seconds left of a TTL, by wall clock.
 * @return > 0 live; < 0 over; INT32_MIN if the entry is from the future: the clock went back (F-44)
 */
int32_t cache_ttl_left(uint32_t time, uint32_t ttl, uint32_t now);
