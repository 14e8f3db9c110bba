/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * The proofs of one message, of whichever kind they are: NSEC or NSEC3.
 */
#pragma once

#include <libknot/rrset.h>

#include "lib/defines.h"
#include "lib/dnssec/nsec.h"
#include "lib/dnssec/nsec3.h"

/** Secure NSEC and NSEC3 sets of one zone. */
struct dnssec_proofs {
	const knot_dname_t *zone;
	const knot_rrset_t *nsec[KR_NSEC_MSG_MAX];
	const knot_rrset_t *nsec3[KR_NSEC3_MSG_MAX];
	uint8_t nsec_count, nsec3_count;
	uint32_t *blocks_left; /**< SHA-1 blocks; counted down */
};

/** Take a set in; others than NSEC and NSEC3, and those beyond B-22, are passed over. */
void dnssec_proofs_add(struct dnssec_proofs *proofs, const knot_rrset_t *rr);

/**
 * The name does not exist (`is_nxdomain`) or has no records of the type.
 * @return 0 proven, see *proof; kr_error(ENOENT) not proven; kr_error(EDQUOT) out of allowance
 */
int dnssec_prove_denial(const struct dnssec_proofs *proofs, const knot_dname_t *name, uint16_t type,
	bool is_nxdomain, struct dnssec_proof *proof);
/** The wildcard whose parent has `labels` labels is the one to answer for the name. @return as
 * above */
int dnssec_prove_wildcard(const struct dnssec_proofs *proofs, const knot_dname_t *name,
	unsigned labels, struct dnssec_proof *proof);
