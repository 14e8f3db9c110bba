/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Trust anchors: tries of the context from zone name to DS set. One trie holds positive anchors,
 * another one negative anchors (RFC 7646), whose sets are empty.
 */
#pragma once

#include <libknot/packet/pkt.h>
#include <libknot/rrset.h>

#include "lib/defines.h"
#include "lib/generic/trie.h"

struct kr_context;

/** @return DS set, owned by the store and valid until it changes; NULL if there is none */
KR_EXPORT
knot_rrset_t *kr_ta_get(trie_t *trust_anchors, const knot_dname_t *name);

/**
 * Add a record to the anchors of a name.
 * @param name  lower-case
 * @param type  DS, or DNSKEY which becomes a SHA-256 DS; DS with rdlen 0 makes an empty set
 * @return 0; kr_error(EINVAL) other type, malformed, or a key without ZONE bit or revoked;
 *         kr_error(ENOMEM)
 */
KR_EXPORT
int kr_ta_add(trie_t *trust_anchors, const knot_dname_t *name, uint16_t type, uint32_t ttl,
	const uint8_t *rdata, uint16_t rdlen);

/** Forget the anchors of a name. @return 0 */
KR_EXPORT
int kr_ta_del(trie_t *trust_anchors, const knot_dname_t *name);

/** Forget all. @return 0 */
KR_EXPORT
int kr_ta_clear(trie_t *trust_anchors);

/**
 * The positive anchor that covers a question; a negative one at least as close undoes it.
 * @param type  DS belongs to the zone above
 * @return its name, which is part of `name`; NULL if nothing covers it
 */
KR_EXPORT
const knot_dname_t *kr_ta_closest(
	const struct kr_context *ctx, const knot_dname_t *name, uint16_t type);

/**
 * Is a DS record of this key? A key that was revoked since is still the same key.
 * @param owner  name of the zone
 * @return 0 yes; 1 no; kr_error(EINVAL) malformed; kr_error(ENOTSUP) unknown digest type
 */
KR_EXPORT
int kr_ta_ds_matches(const knot_dname_t *owner, const uint8_t *ds, size_t ds_len,
	const uint8_t *key, size_t key_len);

/**
 * Has the owner of a key taken it back: does the key stand in the DNSKEY set of the message with
 * its REVOKE bit, and did it sign that set itself (RFC 5011 section 2.1)?
 * @param zone    owner of the set, which is in ANSWER
 * @param key     DNSKEY rdata as it stands there
 * @param now_s   wall clock
 * @return 0 yes; kr_error(EBADMSG) no; kr_error(ENOENT) it is not there, or not revoked;
 *         kr_error(EINVAL), kr_error(ENOMEM)
 */
KR_EXPORT
int kr_ta_is_revoked(const knot_pkt_t *pkt, const knot_dname_t *zone, const uint8_t *key,
	size_t key_len, uint32_t now_s);
