/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Trust anchors: tries of the context from zone name to DS set. One trie holds positive anchors,
 * another one negative anchors (RFC 7646), whose sets are empty.
 */
#pragma once

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
