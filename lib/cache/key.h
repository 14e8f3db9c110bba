/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Names and kinds of entries as ordered bytes. Byte order of keys is canonical DNS order of names
 * (RFC 4034 section 6.1) and an ancestor's encoding is a prefix of its descendants', so a subtree
 * is a range of keys. The encoding is injective for all names, those with zero octets included.
 *
 * A name is written label by label from the root down, lower-case, each label ended by 0x00; inside
 * of labels 0x00 becomes 01 01 and 0x01 becomes 01 02. A key is: name, 0x00, tag, what the tag asks
 * for. Labels are never empty, so the 0x00 before the tag cannot be taken for one.
 */
#pragma once

#include <libknot/dname.h>
#include <libknot/db/db.h>

#include "lib/defines.h"

/** Longest encoded name: 250 octets in four labels, all escaped. */
#define CACHE_NAME_MAX 504
/** Longest key; LMDB's default limit. */
#define CACHE_KEY_MAX 511
/** Octets of an NSEC3 hash (SHA-1). */
#define CACHE_HASH_LEN 20

/** Kinds of entries at a name. */
enum cache_tag {
	CACHE_TAG_NSEC = '1',   /**< at the zone; rest: owner relative to it, encoded like a name */
	CACHE_TAG_NSEC3 = '3',  /**< at the zone; rest: parameter hash (4), owner hash (20) */
	CACHE_TAG_DELEG = 'D',  /**< delegation with glue, from the parent */
	CACHE_TAG_NODATA = 'N', /**< rest: type (2, big-endian) */
	CACHE_TAG_RR = 'R',     /**< rest: type (2, big-endian) */
	CACHE_TAG_NXNAME = 'X', /**< NXDOMAIN */
	CACHE_TAG_ZONE = 'Z',   /**< which NSEC and NSEC3 chains the zone has */
};

/** An encoded name; ancestors are its prefixes. */
struct cache_name {
	uint8_t data[CACHE_NAME_MAX];
	uint16_t end[KNOT_DNAME_MAXLABELS + 1]; /**< length of the encoding of the first n labels */
	uint8_t labels;
};

struct cache_key {
	uint16_t len;
	uint8_t data[CACHE_KEY_MAX];
};

/** A key taken apart. */
struct cache_key_parts {
	knot_dname_storage_t owner; /**< name the entry is about; the zone for NSEC3 and ZONE */
	uint8_t tag;
	uint16_t type; /**< of the records (NODATA: of those that are not there); 0 = several */
};

/** Encode. @param name valid wire name of either case */
void cache_name_init(struct cache_name *enc, const knot_dname_t *name);
/** Write the name back in wire format. @param labels how many of it, from the root */
int cache_name_unpack(knot_dname_storage_t out, const uint8_t *data, size_t len);

/** Prefix of all keys at and below the ancestor with that many labels. */
void cache_key_subtree(struct cache_key *key, const struct cache_name *enc, unsigned labels);
/** Prefix of all keys at exactly that ancestor. */
void cache_key_exact(struct cache_key *key, const struct cache_name *enc, unsigned labels);
/** Key of a tag without rest: DELEG, NXNAME, ZONE; prefix of the others. */
void cache_key_tag(
	struct cache_key *key, const struct cache_name *enc, unsigned labels, enum cache_tag tag);
/** Key of RR and NODATA. */
void cache_key_type(struct cache_key *key, const struct cache_name *enc, unsigned labels,
	enum cache_tag tag, uint16_t type);
/** Key of an NSEC owned by the whole name in the zone of its first `zone_labels` labels. */
void cache_key_nsec(struct cache_key *key, const struct cache_name *enc, unsigned zone_labels);
/** Prefix of an NSEC3 chain; append the hash by cache_key_append(). */
void cache_key_nsec3(
	struct cache_key *key, const struct cache_name *enc, unsigned zone_labels, uint32_t params);
/** @return 0 or kr_error(ENOSPC) */
int cache_key_append(struct cache_key *key, const void *data, size_t len);
/** Take apart. @return 0 or kr_error(EILSEQ): not a key of ours */
int cache_key_unpack(struct cache_key_parts *parts, const uint8_t *data, size_t len);

static inline knot_db_val_t cache_key_val(const struct cache_key *key)
{
	return (knot_db_val_t){.data = (void *)key->data, .len = key->len};
}
static inline bool cache_key_is_prefix(const struct cache_key *prefix, const knot_db_val_t *of)
{
	return of->len >= prefix->len && __builtin_memcmp(of->data, prefix->data, prefix->len) == 0;
}
