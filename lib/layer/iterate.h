/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * The layer that makes questions and follows answers: referrals, aliases, minimisation, failures.
 */
#pragma once

#include <libknot/packet/pkt.h>

#include "lib/defines.h"

struct kr_module;

/** Classes of an answer (bit set). */
enum {
	PKT_NOERROR = 1 << 0,
	PKT_NODATA = 1 << 1,
	PKT_NXDOMAIN = 1 << 2,
	PKT_REFUSED = 1 << 3,
	PKT_ERROR = 1 << 4,
};

/** Class of an answer by RCODE and number of records. */
KR_EXPORT KR_PURE int kr_response_classify(const knot_pkt_t *pkt);

int iterate_init(struct kr_module *self);
