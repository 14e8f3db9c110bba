/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * What the two files of the validating layer share: validate.c judges records, validate_chain.c
 * knows zones and what links them.
 */
#pragma once

#include "lib/layer/validate.h"
#include "lib/dnssec/proof.h"
#include "lib/dnssec/signature.h"
#include "lib/resolve.h"

/** Results beyond 0 (go on) and errors. */
enum {
	VLD_YIELD = 1,    /**< a sub-query was pushed; ask again when it is through */
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
	bool has_more_units; /**< than `given` has for this step */
	struct dnssec_env env;

	struct vld_proof proofs[KR_NSEC_MSG_MAX + KR_NSEC3_MSG_MAX];
	size_t proof_count;
	struct vld_expanded expanded[VLD_EXPANDED_MAX];
	size_t expanded_count;

	int ede_code; /**< why it failed */
	const char *ede_text;
};

/** Memory of the request, made at first use. @return NULL if out of memory */
struct kr_validation *vld_known(struct kr_request *req);

/**
 * Get the keys of a zone ready in v->keys.
 * @return 0, VLD_YIELD, VLD_INSECURE, or an error: it is no zone or its keys cannot be had
 */
int vld_use_zone(struct vld *v, const knot_dname_t *name);

/**
 * Get the validated DS set of a zone.
 * @return 0, VLD_YIELD, VLD_INSECURE; kr_error(ENOENT) the name is not a zone; or another error
 */
int vld_zone_ds(struct vld *v, const knot_dname_t *name, knot_rrset_t **ds);

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

/** @name Sets of the message (validate_rrset.c) @{ */
/** Selected from this message. */
bool vld_is_ours(const struct vld *v, const ranked_rr_array_entry_t *entry);
/** Still to be validated? RRSIGs share the fate of what they cover. */
bool vld_is_open(const struct vld *v, const ranked_rr_array_entry_t *entry);
ranked_rr_array_entry_t *vld_find_entry(const struct vld *v, const ranked_rr_array_t *array,
	const knot_dname_t *owner, uint16_t type);
/** The RRSIG set over an RRset, or NULL. */
ranked_rr_array_entry_t *vld_find_rrsig(
	const struct vld *v, const ranked_rr_array_t *array, const knot_rrset_t *rr);
/** Set the rank of an entry and of its signatures. */
void vld_set_rank(const struct vld *v, const ranked_rr_array_t *array,
	ranked_rr_array_entry_t *entry, uint8_t rank);
void vld_cap_ttl(const struct vld *v, const ranked_rr_array_t *array,
	ranked_rr_array_entry_t *entry, uint32_t ttl_s);
/** Give everything that is still open a rank. */
void vld_set_open_ranks(struct vld *v, uint8_t rank);
/** Make ready for judging the message anew after a YIELD. */
void vld_reopen(struct vld *v);

/** The zone that claims to have signed a set, or NULL if no signature is of use. */
const knot_dname_t *vld_claimed_signer(
	const struct vld *v, const knot_rrset_t *rr, const knot_rrset_t *sigs);
/** Check a signed set with the keys in v and set its rank. @return 0, EBADMSG, EDQUOT */
int vld_verify_entry(struct vld *v, const ranked_rr_array_t *array, ranked_rr_array_entry_t *entry,
	const ranked_rr_array_entry_t *sigs);
/** Find out the rank of a set. @return 0 (rank is set), VLD_YIELD, EBADMSG, EDQUOT, ENOMEM */
int vld_judge_entry(struct vld *v, const ranked_rr_array_t *array, ranked_rr_array_entry_t *entry);
/** A result after which nothing else of the message is looked at. */
bool vld_is_fatal(int ret);

/** EDE code for faults of signatures. */
int vld_ede_of(uint32_t faults);
const char *vld_fault_name(uint32_t faults);
/** Name what is wrong with a set: why, whose, which key. */
void vld_blame_rrset(struct vld *v, int ede_code, const char *why, const knot_rrset_t *rr,
	uint16_t tag, const knot_dname_t *zone);
/** @} */

/** @name Proofs of the message (validate_proof.c) @{ */
bool vld_is_proof_type(uint16_t type);
/** Take in an NSEC or NSEC3 set that was found secure. */
void vld_note_proof(
	struct vld *v, const ranked_rr_array_t *array, const ranked_rr_array_entry_t *entry);
/**
 * Judge AUTHORITY. A proof that does not verify is not used, anything else that does not verify
 * spoils the message. @return as vld_judge_entry()
 */
int vld_judge_authority(struct vld *v);
/** Try to deny a name with the proofs of each zone above it. @return as dnssec_prove_denial() */
int vld_prove_denial(struct vld *v, const knot_dname_t *name, uint16_t type, bool is_nxdomain,
	struct dnssec_proof *proof);
/** Note that a proof claims less than it could. */
void vld_mark_optout(struct vld *v, const struct dnssec_proof *proof);
/** Show the wildcards of ANSWER to be the closest matches. @return 0, EBADMSG, EDQUOT */
int vld_prove_expanded(struct vld *v);
/** @} */
