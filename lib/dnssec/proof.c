/* SPDX-License-Identifier: GPL-3.0-or-later */

#include "lib/dnssec/proof.h"

#include <libknot/descriptor.h>

void dnssec_proofs_add(struct dnssec_proofs *proofs, const knot_rrset_t *rr)
{
	if (rr->type == KNOT_RRTYPE_NSEC && proofs->nsec_count < KR_NSEC_MSG_MAX)
		proofs->nsec[proofs->nsec_count++] = rr;
	else if (rr->type == KNOT_RRTYPE_NSEC3 && proofs->nsec3_count < KR_NSEC3_MSG_MAX)
		proofs->nsec3[proofs->nsec3_count++] = rr;
}

static struct dnssec_nsecs nsecs_of(const struct dnssec_proofs *proofs)
{
	return (struct dnssec_nsecs){proofs->zone, proofs->nsec, proofs->nsec_count};
}

static struct dnssec_nsec3s nsec3s_of(const struct dnssec_proofs *proofs)
{
	return (struct dnssec_nsec3s){
		proofs->zone, proofs->nsec3, proofs->nsec3_count, proofs->blocks_left};
}

int dnssec_prove_denial(const struct dnssec_proofs *proofs, const knot_dname_t *name, uint16_t type,
	bool is_nxdomain, struct dnssec_proof *proof)
{
	const struct dnssec_nsecs nsecs = nsecs_of(proofs);
	const struct dnssec_nsec3s nsec3s = nsec3s_of(proofs);
	*proof = (struct dnssec_proof){0};
	int ret = is_nxdomain ? dnssec_nsec_nxdomain(&nsecs, name)
			      : dnssec_nsec_nodata(&nsecs, name, type, proof);
	if (ret == 0 || proofs->nsec3_count == 0)
		return ret;
	return is_nxdomain ? dnssec_nsec3_nxdomain(&nsec3s, name, proof)
			   : dnssec_nsec3_nodata(&nsec3s, name, type, proof);
}

int dnssec_prove_wildcard(const struct dnssec_proofs *proofs, const knot_dname_t *name,
	unsigned labels, struct dnssec_proof *proof)
{
	const struct dnssec_nsecs nsecs = nsecs_of(proofs);
	const struct dnssec_nsec3s nsec3s = nsec3s_of(proofs);
	*proof = (struct dnssec_proof){0};
	int ret = dnssec_nsec_wildcard(&nsecs, name, labels);
	if (ret == 0 || proofs->nsec3_count == 0)
		return ret;
	return dnssec_nsec3_wildcard(&nsec3s, name, labels, proof);
}
