/* SPDX-License-Identifier: GPL-3.0-or-later */

#include "lib/dnssec/nsec.h"

#include <string.h>
#include <libdnssec/nsec.h>
#include <libknot/descriptor.h>

#include "lib/dnssec/canon.h"

/** An NSEC record taken apart; names are lower-case. */
struct nsec {
	knot_dname_storage_t owner;
	knot_dname_storage_t next;
	const uint8_t *bitmap;
	size_t bitmap_len;
};

bool dnssec_bitmap_has(const uint8_t *bitmap, size_t len, uint16_t type)
{
	size_t at = 0;
	while (at + 2 <= len) {
		const uint8_t window = bitmap[at], size = bitmap[at + 1];
		at += 2;
		if (size == 0 || size > 32 || at + size > len)
			return false;
		if (window == type >> 8) {
			const uint8_t byte = (type & 0xff) / 8;
			return byte < size && (bitmap[at + byte] & (0x80 >> (type & 7)));
		}
		at += size;
	}
	return false;
}

static bool has(const struct nsec *nsec, uint16_t type)
{
	return dnssec_bitmap_has(nsec->bitmap, nsec->bitmap_len, type);
}

/** Parent's side of a zone cut. */
static bool is_delegation(const struct nsec *nsec)
{
	return has(nsec, KNOT_RRTYPE_NS) && !has(nsec, KNOT_RRTYPE_SOA);
}

static bool is_below(const knot_dname_t *name, const knot_dname_t *ancestor)
{
	return knot_dname_in_bailiwick(name, ancestor) > 0;
}

/** Take record number i apart. @return false: not usable in this zone (C-17) */
static bool load(const struct dnssec_nsecs *nsecs, size_t i, struct nsec *nsec)
{
	const knot_rrset_t *rr = nsecs->rrs[i];
	if (rr->type != KNOT_RRTYPE_NSEC || rr->rrs.count != 1)
		return false;
	const knot_rdata_t *rd = rr->rrs.rdata;
	int next_len = knot_dname_wire_check(rd->data, rd->data + rd->len, NULL);
	if (next_len <= 0)
		return false;
	knot_dname_copy_lower(nsec->owner, rr->owner);
	knot_dname_copy_lower(nsec->next, rd->data);
	nsec->bitmap = rd->data + next_len;
	nsec->bitmap_len = rd->len - next_len;
	return knot_dname_in_bailiwick(nsec->owner, nsecs->zone) >= 0 &&
	       knot_dname_in_bailiwick(nsec->next, nsecs->zone) >= 0;
}

static size_t usable_count(const struct dnssec_nsecs *nsecs)
{
	return KR_MIN(nsecs->count, KR_NSEC_MSG_MAX);
}

/** The name lies strictly between owner and next; the last record of a zone leads back to its apex.
 */
static bool spans(const struct nsec *nsec, const knot_dname_t *name, const knot_dname_t *zone)
{
	if (knot_dname_cmp(nsec->owner, name) >= 0)
		return false;
	return knot_dname_cmp(name, nsec->next) < 0 || knot_dname_is_equal(nsec->next, zone);
}

/**
 * The name is in a span that may speak of it. Records of a cut or DNAME say nothing of names below
 * their owner (RFC 6840 section 4.1, RFC 6672 section 5.3.4.1).
 */
static bool covers(const struct nsec *nsec, const knot_dname_t *name, const knot_dname_t *zone)
{
	if (!spans(nsec, name, zone))
		return false;
	return !is_below(name, nsec->owner) ||
	       (!is_delegation(nsec) && !has(nsec, KNOT_RRTYPE_DNAME));
}

/** The record that covers the name. An empty non-terminal is covered, too. */
static bool find_cover(
	const struct dnssec_nsecs *nsecs, const knot_dname_t *name, struct nsec *nsec)
{
	for (size_t i = 0; i < usable_count(nsecs); ++i) {
		if (load(nsecs, i, nsec) && covers(nsec, name, nsecs->zone))
			return true;
	}
	return false;
}

static bool find_match(
	const struct dnssec_nsecs *nsecs, const knot_dname_t *name, struct nsec *nsec)
{
	for (size_t i = 0; i < usable_count(nsecs); ++i) {
		if (load(nsecs, i, nsec) && knot_dname_is_equal(nsec->owner, name))
			return true;
	}
	return false;
}

/** Labels of the closest encloser of a covered name: what it shares with one of the span's ends. */
static unsigned encloser_labels(const struct nsec *cover, const knot_dname_t *name)
{
	const unsigned a = knot_dname_matched_labels(cover->owner, name);
	const unsigned b = knot_dname_matched_labels(cover->next, name);
	return KR_MAX(a, b);
}

/** Lower-case copy, checked to be in the zone. */
static bool prepare(
	const struct dnssec_nsecs *nsecs, const knot_dname_t *name, knot_dname_storage_t copy)
{
	knot_dname_copy_lower(copy, name);
	return knot_dname_in_bailiwick(copy, nsecs->zone) >= 0;
}

/** The wildcard child of the ancestor with that many labels. @return false if too long for a name
 */
static bool wildcard_of(knot_dname_storage_t out, const knot_dname_t *name, unsigned labels)
{
	const knot_dname_t *encloser = dnssec_ancestor(name, labels);
	const size_t len = knot_dname_size(encloser);
	if (len + 2 > KNOT_DNAME_MAXLEN)
		return false;
	memcpy(out, "\x01*", 2);
	memcpy(out + 2, encloser, len);
	return true;
}

/** A record covers the name and the name is not an empty non-terminal. */
static bool find_denial(
	const struct dnssec_nsecs *nsecs, const knot_dname_t *name, struct nsec *nsec)
{
	return find_cover(nsecs, name, nsec) && !is_below(nsec->next, name);
}

int dnssec_nsec_nxdomain(const struct dnssec_nsecs *nsecs, const knot_dname_t *name)
{
	knot_dname_storage_t qname, wildcard;
	struct nsec cover, wild_cover;
	if (!prepare(nsecs, name, qname) || !find_denial(nsecs, qname, &cover))
		return kr_error(ENOENT);
	if (!wildcard_of(wildcard, qname, encloser_labels(&cover, qname)))
		return kr_ok(); /* no wildcard can be that long */
	/* A name of its own may be the wildcard: `*.example` denied is denied. */
	return find_denial(nsecs, wildcard, &wild_cover) ? kr_ok() : kr_error(ENOENT);
}

/** Does a record at the very name deny the type? */
static bool denies_type(const struct nsec *nsec, uint16_t type, const knot_dname_t *zone)
{
	if (has(nsec, type) || has(nsec, KNOT_RRTYPE_CNAME))
		return false;
	if (type == KNOT_RRTYPE_DS) /* child's side knows nothing of it (RFC 6840 section 4.4) */
		return !has(nsec, KNOT_RRTYPE_SOA) || zone[0] == '\0';
	return !is_delegation(nsec);
}

int dnssec_nsec_nodata(const struct dnssec_nsecs *nsecs, const knot_dname_t *name, uint16_t type,
	struct dnssec_proof *proof)
{
	knot_dname_storage_t qname, wildcard;
	struct nsec nsec, wild;
	*proof = (struct dnssec_proof){0};
	if (!prepare(nsecs, name, qname))
		return kr_error(ENOENT);
	if (find_match(nsecs, qname, &nsec)) {
		proof->is_delegation = is_delegation(&nsec);
		return denies_type(&nsec, type, nsecs->zone) ? kr_ok() : kr_error(ENOENT);
	}
	if (!find_cover(nsecs, qname, &nsec))
		return kr_error(ENOENT);
	if (is_below(nsec.next, qname))
		return kr_ok(); /* empty non-terminal */
	if (!wildcard_of(wildcard, qname, encloser_labels(&nsec, qname)) ||
		!find_match(nsecs, wildcard, &wild) || !denies_type(&wild, type, nsecs->zone))
		return kr_error(ENOENT);
	proof->is_wildcard = true;
	return kr_ok();
}

int dnssec_nsec_wildcard(
	const struct dnssec_nsecs *nsecs, const knot_dname_t *name, unsigned labels)
{
	knot_dname_storage_t qname;
	struct nsec cover;
	if (!prepare(nsecs, name, qname) || !find_denial(nsecs, qname, &cover))
		return kr_error(ENOENT);
	/* Another encloser would have had another wildcard. */
	return encloser_labels(&cover, qname) == labels ? kr_ok() : kr_error(ENOENT);
}
