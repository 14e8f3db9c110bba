/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * What NSEC records prove (RFC 4035 section 5.4, RFC 6840 section 4). Pure functions of records
 * that were found secure and of one zone. Records that are no good for a purpose (ancestor
 * delegations, next names outside of the zone) are passed over.
 */
#pragma once

#include <libknot/rrset.h>

#include "lib/defines.h"

/** What a proof says beyond "it holds". */
struct dnssec_proof {
	bool is_optout; /**< an opt-out span was needed: nothing is said about unsigned delegations
			 */
	bool is_delegation; /**< NODATA of DS: there is a delegation here (NS and no SOA) */
	bool is_wildcard;   /**< NODATA of the wildcard that would have answered */
	bool is_insecure; /**< NSEC3 too expensive to look at (RFC 9276): to be taken as unsigned */
};

/** NSEC sets of one zone. */
struct dnssec_nsecs {
	const knot_dname_t *zone;
	const knot_rrset_t *const *rrs; /**< one record each is looked at */
	size_t count;                   /**< beyond KR_NSEC_MSG_MAX they are not looked at (B-22) */
};

/** Is a type in an NSEC or NSEC3 bitmap? Malformed bitmaps hold nothing. */
KR_PURE
bool dnssec_bitmap_has(const uint8_t *bitmap, size_t len, uint16_t type);

/**
 * The name does not exist, nor does a wildcard for it.
 * @return 0 proven; kr_error(ENOENT) not proven
 */
int dnssec_nsec_nxdomain(const struct dnssec_nsecs *nsecs, const knot_dname_t *name);
/** The name (an empty non-terminal, or a wildcard in its place) has no records of the type. @return
 * as above */
int dnssec_nsec_nodata(const struct dnssec_nsecs *nsecs, const knot_dname_t *name, uint16_t type,
	struct dnssec_proof *proof);
/**
 * No name closer than the wildcard whose parent has `labels` labels answers for the name.
 * @return as above
 */
int dnssec_nsec_wildcard(
	const struct dnssec_nsecs *nsecs, const knot_dname_t *name, unsigned labels);
