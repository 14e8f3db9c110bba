/* SPDX-License-Identifier: GPL-3.0-or-later */

#include "lib/dnssec/canon.h"

#include <string.h>
#include <libknot/descriptor.h>
#include <libknot/rrtype/rrsig.h>
#include <libknot/wire.h>

#define RRSIG_FIXED 18 /* everything before the signer name */
#define TYPE_MD 3      /* obsolete types that libknot has no names for */
#define TYPE_MF 4
#define TYPE_MB 7
#define TYPE_MG 8
#define TYPE_MR 9
#define TYPE_SIG 24
#define TYPE_PX 26
#define TYPE_NXT 30
#define TYPE_A6 38

/** Where the names are: `skip` bytes, then `names` names. */
struct layout {
	uint8_t skip, names;
};

static struct layout layout_of(uint16_t type)
{
	switch (type) {
	case KNOT_RRTYPE_NS:
	case TYPE_MD:
	case TYPE_MF:
	case KNOT_RRTYPE_CNAME:
	case TYPE_MB:
	case TYPE_MG:
	case TYPE_MR:
	case KNOT_RRTYPE_PTR:
	case KNOT_RRTYPE_DNAME:
	case TYPE_NXT:
		return (struct layout){0, 1};
	case KNOT_RRTYPE_SOA:
	case KNOT_RRTYPE_MINFO:
	case KNOT_RRTYPE_RP:
		return (struct layout){0, 2};
	case KNOT_RRTYPE_MX:
	case KNOT_RRTYPE_AFSDB:
	case KNOT_RRTYPE_RT:
	case KNOT_RRTYPE_KX:
		return (struct layout){2, 1};
	case TYPE_PX:
		return (struct layout){2, 2};
	case KNOT_RRTYPE_SRV:
		return (struct layout){6, 1};
	case TYPE_SIG:
	case KNOT_RRTYPE_RRSIG:
		return (struct layout){RRSIG_FIXED, 1};
	default:
		return (struct layout){0, 0};
	}
}

/** Lower-case one name. @return its length, 0 if it runs past the end or is compressed */
static size_t lower_name(uint8_t *data, const uint8_t *end)
{
	uint8_t *at = data;
	while (at < end && *at != 0) {
		const size_t label = *at++;
		if (label > 63 || label >= (size_t)(end - at))
			return 0;
		for (size_t i = 0; i < label; ++i, ++at) {
			if (*at >= 'A' && *at <= 'Z')
				*at |= 0x20;
		}
	}
	return at < end ? (size_t)(at + 1 - data) : 0;
}

/** NAPTR: two numbers and three texts come first (RFC 3403 section 4.1). */
static size_t naptr_skip(const uint8_t *data, size_t len)
{
	size_t at = 4;
	for (int i = 0; i < 3 && at < len; ++i)
		at += 1 + (size_t)data[at];
	return at;
}

/** A6: prefix length and the rest of the address (RFC 2874 section 3.1); a prefix of 0 has no name.
 */
static bool a6_skip(const uint8_t *data, size_t len, size_t *skip)
{
	if (len < 1 || data[0] == 0 || data[0] > 128)
		return false;
	*skip = 1 + (128 - data[0] + 7) / 8;
	return true;
}

int dnssec_rdata_canonize(uint16_t type, uint8_t *data, size_t len)
{
	struct layout layout = layout_of(type);
	size_t skip = layout.skip;
	if (type == KNOT_RRTYPE_NAPTR) {
		skip = naptr_skip(data, len);
		layout.names = 1;
	} else if (type == TYPE_A6 && a6_skip(data, len, &skip)) {
		layout.names = 1;
	}
	for (int i = 0; i < layout.names; ++i) {
		if (skip >= len)
			return kr_error(EINVAL);
		const size_t name_len = lower_name(data + skip, data + len);
		if (name_len == 0)
			return kr_error(EINVAL);
		skip += name_len;
	}
	return kr_ok();
}

/** Canonical rdata inside a buffer that holds them all. */
struct piece {
	const uint8_t *data;
	uint16_t len;
};

static int compare_pieces(const void *a, const void *b)
{
	const struct piece *one = a, *two = b;
	int ret = memcmp(one->data, two->data, KR_MIN(one->len, two->len));
	return ret != 0 ? ret : (int)one->len - (int)two->len;
}

/** Canonical order, without duplicates (RFC 4034 section 6.3). @return number left or an error */
static int sort_rdata(struct piece *pieces, uint8_t *copy, const knot_rrset_t *rr)
{
	const knot_rdata_t *rd = rr->rrs.rdata;
	for (uint16_t i = 0; i < rr->rrs.count; ++i, rd = knot_rdataset_next((knot_rdata_t *)rd)) {
		memcpy(copy, rd->data, rd->len);
		int ret = dnssec_rdata_canonize(rr->type, copy, rd->len);
		if (ret != 0)
			return ret;
		pieces[i] = (struct piece){.data = copy, .len = rd->len};
		copy += rd->len;
	}
	qsort(pieces, rr->rrs.count, sizeof(*pieces), compare_pieces);
	int kept = 0;
	for (uint16_t i = 0; i < rr->rrs.count; ++i) {
		if (kept == 0 || compare_pieces(&pieces[kept - 1], &pieces[i]) != 0)
			pieces[kept++] = pieces[i];
	}
	return kept;
}

/** Owner as signed: lower-case, the wildcard it came from if labels say so (RFC 4035
 * section 5.3.2). */
static size_t signed_owner(uint8_t *out, const knot_dname_t *owner, unsigned labels)
{
	const unsigned have = knot_dname_labels(owner, NULL);
	size_t len = 0;
	if (have - (knot_dname_is_wildcard(owner) ? 1 : 0) > labels) {
		owner = dnssec_ancestor(owner, labels);
		memcpy(out, "\x01*", 2);
		len = 2;
	}
	const size_t name_len = knot_dname_to_wire(out + len, owner, KNOT_DNAME_MAXLEN - len);
	(void)lower_name(out, out + len + name_len);
	return len + name_len;
}

ssize_t dnssec_signed_data(uint8_t **out, const knot_rrset_t *rr, const knot_rdata_t *sig)
{
	uint8_t owner[KNOT_DNAME_MAXLEN + 2];
	const uint16_t count = rr->rrs.count;
	if (count == 0)
		return kr_error(EINVAL);
	const size_t owner_len = signed_owner(owner, rr->owner, knot_rrsig_labels(sig));
	const size_t head_len = RRSIG_FIXED + knot_dname_size(knot_rrsig_signer_name(sig));
	const size_t body_len = (size_t)rr->rrs.size; /* more than all rdata */
	uint8_t *copies = malloc(body_len);
	struct piece *pieces = malloc(count * sizeof(*pieces));
	uint8_t *data = malloc(head_len + count * (owner_len + 10) + body_len);
	ssize_t ret = kr_error(ENOMEM);
	if (!copies || !pieces || !data)
		goto cleanup;
	int kept = sort_rdata(pieces, copies, rr);
	if (kept < 0) {
		ret = kept;
		goto cleanup;
	}
	memcpy(data, sig->data, head_len);
	(void)lower_name(data + RRSIG_FIXED, data + head_len);
	uint8_t *at = data + head_len;
	for (int i = 0; i < kept; ++i) {
		memcpy(at, owner, owner_len);
		at += owner_len;
		knot_wire_write_u16(at, rr->type);
		knot_wire_write_u16(at + 2, rr->rclass);
		knot_wire_write_u32(at + 4, knot_rrsig_original_ttl(sig));
		knot_wire_write_u16(at + 8, pieces[i].len);
		memcpy(at + 10, pieces[i].data, pieces[i].len);
		at += 10 + pieces[i].len;
	}
	*out = data;
	ret = at - data;
	data = NULL;
cleanup:
	free(copies);
	free(pieces);
	free(data);
	return ret;
}
