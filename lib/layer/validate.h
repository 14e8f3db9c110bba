/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * The layer that judges answers: verifies what iterate selected, sets ranks, proves what is not
 * there, and finds out whether unsigned data may be unsigned. It sends nothing itself: what it
 * needs to know of other zones it asks for by sub-queries (DS, DNSKEY) and yields meanwhile.
 */
#pragma once

#include <libknot/rrset.h>

#include "lib/defines.h"

struct kr_module;
struct kr_query;

int validate_init(struct kr_module *self);

/** What is known of a name as a zone. */
enum kr_zone_fact {
	KR_ZONE_UNKNOWN = 0,
	KR_ZONE_SECURE,   /**< it has a validated DS set of supported algorithms */
	KR_ZONE_INSECURE, /**< proven to be unsigned, or to be below an unsigned zone */
	KR_ZONE_NO_CUT,   /**< proven not to be a zone of its own */
};

/**
 * Tell what the DS question of a query found out: it is remembered for the request and handed to
 * the waiting parent if its zone cut is that name (trust anchor, or the end of validation).
 * @param ds validated set for KR_ZONE_SECURE, else NULL
 * @return 0; kr_error(EBADMSG) the parent came through a cut that is proven not to be one
 */
int kr_validate_deliver_ds(struct kr_query *qry, enum kr_zone_fact fact, knot_rrset_t *ds);

/** Same with the validated DNSKEY set of zone qry->sname. */
int kr_validate_deliver_key(struct kr_query *qry, knot_rrset_t *dnskey);
