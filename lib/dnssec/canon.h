/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Canonical form of RRsets (RFC 4034 section 6, RFC 6840 section 5.1): what a signature is made
 * over.
 */
#pragma once

#include <libknot/rrset.h>

#include "lib/defines.h"

/**
 * Lower-case the names inside rdata of the types that RFC 4034 section 6.2 lists.
 * @return 0 or kr_error(EINVAL): names run past the end (nothing beyond it is touched)
 */
int dnssec_rdata_canonize(uint16_t type, uint8_t *data, size_t len);

/** The name without its first label; the root stays the root. */
static inline const knot_dname_t *dnssec_parent_name(const knot_dname_t *name)
{
	return name[0] ? name + 1 + name[0] : name;
}

/** The ancestor (or self) of a name that has that many labels, at most as many as the name. */
static inline const knot_dname_t *dnssec_ancestor(const knot_dname_t *name, unsigned labels)
{
	for (unsigned have = knot_dname_labels(name, NULL); have > labels; --have)
		name = dnssec_parent_name(name);
	return name;
}

/**
 * The bytes that an RRSIG signs.
 * @param sig  rdata whose signer name was found well-formed
 * @param out  malloc()ed; the caller frees it
 * @return length or an error
 */
ssize_t dnssec_signed_data(uint8_t **out, const knot_rrset_t *rr, const knot_rdata_t *sig);
