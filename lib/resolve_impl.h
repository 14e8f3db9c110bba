/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * What the three files of the driver (resolve.c, resolve_chain.c, resolve_answer.c) share.
 */
#pragma once

#include "lib/resolve.h"

/**
 * Make sure that trust anchor and key of the query's zone cut are known before it is sent.
 * @return 0 ready to send (or validation not wanted); 1 a sub-query was pushed; < 0 the query must
 * fail
 */
int resolve_chain_check(struct kr_query *qry);

/** Look the zone cut of a query up (AWAIT_CUT). @return 0 or an error */
int resolve_find_cut(struct kr_query *qry);

/** Move to the cut of a consumed referral, taking along what validation found out about it. */
void resolve_follow_referral(struct kr_query *qry);

/** Turn the selected records into the answer packet and set AD, EDNS and padding. */
void resolve_make_answer(struct kr_request *req);
/** Write EDNS of a hand-made or finished answer. */
void resolve_append_edns(struct kr_request *req);
/** The same for a packet rebuilt after that: `opt` was written already, with the error of old_code.
 */
void resolve_renew_edns(struct kr_request *req, const knot_rrset_t *opt, int old_code);

/** Run one hook of all layers; the state is left in req->state. */
int resolve_walk(struct kr_request *req, enum kr_hook hook, knot_pkt_t *pkt);
