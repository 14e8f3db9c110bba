/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Zone cuts: the deepest known delegation above a name, the names and addresses of its servers, and
 * what is known of its trust (DS and DNSKEY). Parent-side data only (spec C-30): the cache hands
 * out NS sets of rank "delegation" with the glue bound to them.
 */
#pragma once

#include <libknot/dname.h>
#include <libknot/rrset.h>

#include "lib/defines.h"
#include "lib/mm.h"
#include "lib/generic/pack.h"
#include "lib/generic/trie.h"

struct kr_context;
struct kr_query;
struct sockaddr;

/** A zone cut. Memory is the pool's (NULL: heap). */
struct kr_zonecut {
	knot_dname_t *name;         /**< apex, lower-case */
	knot_rrset_t *key;          /**< validated DNSKEY set or NULL */
	knot_rrset_t *trust_anchor; /**< validated DS set or NULL; empty set = proven insecure */
	struct kr_zonecut *parent;  /**< the cut above that we came through, or NULL */
	trie_t *nsset; /**< server name (wire, lower-case) -> pack_t of raw addresses */
	knot_mm_t *pool;

	uint32_t ttl_s;    /**< what is left of the delegation's life when it was found; caps deeper
			      ones */
	uint16_t depth;    /**< referrals followed to get here (B-10) */
	bool glueless : 1; /**< no server address came with the delegation */
};

/** @return 0 or kr_error(ENOMEM); the name is copied */
KR_EXPORT
int kr_zonecut_init(struct kr_zonecut *cut, const knot_dname_t *name, knot_mm_t *pool);
/** Free the contents (matters for the heap only). */
KR_EXPORT
void kr_zonecut_deinit(struct kr_zonecut *cut);
/** Move the contents; `from` is not usable afterwards. */
KR_EXPORT
void kr_zonecut_move(struct kr_zonecut *to, const struct kr_zonecut *from);
/** Rename and forget the servers; key and trust anchor stay. */
KR_EXPORT
void kr_zonecut_set(struct kr_zonecut *cut, const knot_dname_t *name);
/** Merge servers and addresses of src into dst. */
KR_EXPORT
int kr_zonecut_copy(struct kr_zonecut *dst, const struct kr_zonecut *src);
/** Copy key and trust anchor. */
KR_EXPORT
int kr_zonecut_copy_trust(struct kr_zonecut *dst, const struct kr_zonecut *src);
/**
 * Add an address of a server, or its bare name (data NULL). Duplicates are ignored, limits B-05 and
 * B-06 are kept by dropping the surplus.
 * @param data raw address, 4 or 16 bytes
 * @return 0, kr_error(EINVAL), kr_error(ENOMEM)
 */
KR_EXPORT
int kr_zonecut_add(struct kr_zonecut *cut, const knot_dname_t *ns, const void *data, int len);
/** Remove an address; the last one takes its name along. @return 0 or kr_error(ENOENT) */
KR_EXPORT
int kr_zonecut_del(struct kr_zonecut *cut, const knot_dname_t *ns, const void *data, int len);
KR_EXPORT
int kr_zonecut_del_all(struct kr_zonecut *cut, const knot_dname_t *ns);
/** Addresses of a server or NULL. */
KR_EXPORT KR_PURE pack_t *kr_zonecut_find(struct kr_zonecut *cut, const knot_dname_t *ns);
/** Fill with the root servers of the context ("safety belt"). */
KR_EXPORT
int kr_zonecut_set_sbelt(struct kr_context *ctx, struct kr_zonecut *cut);
/**
 * Find the deepest cached delegation at or above a name; the root hints if there is none.
 * @param qry     consults NO_IPV4/6 and time
 * @param secured in: is a chain of trust wanted; out: false if the cut is provably insecure or
 * below no trust anchor. Validated DS and DNSKEY found in the cache are filled in.
 * @return 0, kr_error(ENOENT) (no delegation and no root hints), kr_error(ENOMEM)
 */
KR_EXPORT
int kr_zonecut_find_cached(struct kr_context *ctx, struct kr_zonecut *cut, const knot_dname_t *name,
	const struct kr_query *qry, bool *restrict secured);
/** No address at all. */
KR_EXPORT KR_PURE bool kr_zonecut_is_empty(struct kr_zonecut *cut);
