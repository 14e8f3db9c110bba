/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * What the two files of the validating layer share: validate.c judges records, validate_chain.c knows
 * zones and what links them.
 */
#pragma once

#include "lib/layer/validate.h"
#include "lib/dnssec/proof.h"
#include "lib/dnssec/signature.h"
#include "lib/resolve.h"

/** Results beyond 0 (go on) and errors. */
enum {
	VLD_YIELD = 1,	  /**< a sub-query was pushed; ask again when it is through */
	VLD_INSECURE = 2, /**< no signatures are to be expected */
};

/** A zone and what this request knows of it. */
struct vld_zone {
	knot_dname_t *name;
	enum kr_zone_fact fact;
	knot_rrset_t *ds;  /**< of KR_ZONE_SECURE */
	knot_rrset_t *key; /**< validated, or NULL */
};

/** What validation found out during a request; on its pool. */
struct kr_validation {
	struct dnssec_memory memory;
	array_t(struct vld_zone *) zones;
};

/** A secure NSEC or NSEC3 set of the message and the zone it is of. */
struct vld_proof {
	const knot_rrset_t *rr;
	const knot_dname_t *zone;
};

/** An RRset that came from a wildcard. */
struct vld_expanded {
	ranked_rr_array_entry_t *entry;
	const knot_dname_t *zone;
	uint8_t labels;
};

#define VLD_EXPANDED_MAX (KR_CNAME_MAX + 1)

/** One message being judged. */
struct vld {
	struct kr_request *req;
	struct kr_query *qry;
	const knot_pkt_t *pkt;
	struct kr_validation *known;

	const struct vld_zone *zone; /**< whose keys are ready */
	struct dnssec_keyset keys;
	struct dnssec_allowance left, given;
	struct dnssec_env env;

	struct vld_proof proofs[KR_NSEC_MSG_MAX + KR_NSEC3_MSG_MAX];
	size_t proof_count;
	struct vld_expanded expanded[VLD_EXPANDED_MAX];
	size_t expanded_count;

	int ede_code;			   /**< why it failed */
	const char *ede_text;
};

/** Memory of the request, made at first use. @return NULL if out of memory */
struct kr_validation *vld_known(struct kr_request *req);

/**
 * Get the keys of a zone ready in v->keys.
 * @return 0, VLD_YIELD, VLD_INSECURE, or an error: it is no zone or its keys cannot be had
 */
int vld_use_zone(struct vld *v, const knot_dname_t *zone);

/**
 * Get the validated DS set of a zone.
 * @return 0, VLD_YIELD, VLD_INSECURE; kr_error(ENOENT) the name is not a zone; or another error
 */
int vld_zone_ds(struct vld *v, const knot_dname_t *zone, knot_rrset_t **ds);

/**
 * Look for an insecure delegation between the zone asked and a name that is unsigned.
 * @param type type of the unsigned data
 * @return VLD_INSECURE, VLD_YIELD, or kr_error(ENOENT): there is none
 */
int vld_find_insecurity(struct vld *v, const knot_dname_t *name, uint16_t type);

/** Nothing about this query can be validated any more. */
void vld_become_insecure(struct kr_query *qry);

/** Note why; the first reason of a message stays. */
KR_PRINTF(3, 4)
void vld_blame(struct vld *v, int ede_code, const char *fmt, ...);
