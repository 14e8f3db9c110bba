/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * What may leave the parser: the allow-list of (section, type, owner relation) that a matched
 * upstream answer passes once, before any layer sees it (spec C-01 to C-24, S-09). A pure function
 * of the packet, the question and the zone cut it was asked in.
 */
#pragma once

#include <libknot/packet/pkt.h>

#include "lib/defines.h"

/** What the answer is an answer to. */
struct kr_scrub_question {
	const knot_dname_t *name; /**< as sent (after minimisation), any case */
	uint16_t type;
	const knot_dname_t *cut; /**< zone asked; for forwarding: apex of the forwarded subtree */
	bool is_stream;          /**< came over TCP or TLS */
	bool is_forward;         /**< from a forwarder: no referrals, whole alias chains are fine */
	uint16_t payload;   /**< largest UDP answer that was offered to take; 0 = do not mind */
	bool allow_local;   /**< keep glue in loopback and other special ranges */
	bool allow_private; /**< keep glue in private ranges: the server asked is in one itself */
	bool permissive;    /**< mode('permissive'): glue outside of the cut is kept */
	bool strict;        /**< mode('strict'): only mandatory glue is kept */
	uint32_t random;    /**< for choosing which surplus NS to drop */
};

/** What kind of answer is left. */
enum kr_scrub_shape {
	KR_SHAPE_ANSWER,    /**< records of the asked type (maybe at the end of a chain) */
	KR_SHAPE_ALIAS,     /**< CNAME or DNAME without final data */
	KR_SHAPE_BAD_ALIAS, /**< a DNAME, and a CNAME that it does not yield: only the DNAME is left
			     */
	KR_SHAPE_NEGATIVE,  /**< NODATA or NXDOMAIN with SOA */
	KR_SHAPE_REFERRAL,  /**< NS of a deeper cut */
	KR_SHAPE_LAME,      /**< referral to here or upwards */
	KR_SHAPE_EMPTY,     /**< no records: NODATA without SOA */
	KR_SHAPE_NONSENSE,  /**< no usable records, but some about something else */
	KR_SHAPE_FAILURE,   /**< an RCODE other than NOERROR, NXDOMAIN, YXDOMAIN */
};

/**
 * Drop all records that may not be used; the packet's section arrays are compacted in place. Owners
 * are lower-cased, TTLs clamped for RFC 2181 section 8, RRset limits B-05, B-18, B-22, B-24
 * applied.
 * @param pkt     parsed answer whose header and question matched
 * @param shape   may be NULL
 * @return number of records dropped; kr_error(EBADMSG) if the message is unusable (C-06, C-07,
 * C-16)
 */
KR_EXPORT
int kr_scrub(knot_pkt_t *pkt, const struct kr_scrub_question *question, enum kr_scrub_shape *shape);
