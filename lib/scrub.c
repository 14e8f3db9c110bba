/* SPDX-License-Identifier: GPL-3.0-or-later */

#include "lib/scrub.h"

#include <string.h>
#include <libknot/descriptor.h>
#include <libknot/rrtype/nsec3.h>
#include <libknot/rrtype/rdname.h>
#include <libknot/rrtype/rrsig.h>
#include <libknot/wire.h>

#include "lib/addr.h"
#include "lib/rrs.h"

/** Steps of an alias chain that are followed inside one message. */
#define CHAIN_STEPS_MAX (KR_CNAME_MAX + 1)

/** One filtering. */
struct scrub {
	knot_pkt_t *pkt;
	const struct kr_scrub_question *question;
	uint8_t rcode;
	knot_dname_storage_t chain; /**< name that the alias chain has reached */
	bool has_data;              /**< records of the asked type at the end of the chain */
	bool has_alias;             /**< the chain has at least one link */
	bool is_bad_alias;          /**< CNAME and DNAME disagree */
	bool has_soa;
	const knot_dname_t *child; /**< owner of the NS set of a referral; valid until compact() */
	bool is_lame;
	size_t nsec3_kept, nsec_kept;
	const knot_dname_t *servers[KR_NS_MAX]; /**< of the referral */
	uint8_t glue_kept[KR_NS_MAX];           /**< addresses of each (B-06) */
	size_t servers_len, all_glue_kept;
	bool keep[KR_MSG_RRS_MAX];
};

/* ---- names and records ---- */

static bool is_at_or_below(const knot_dname_t *name, const knot_dname_t *zone)
{
	return knot_dname_in_bailiwick(name, zone) >= 0;
}

static bool is_below(const knot_dname_t *name, const knot_dname_t *zone)
{
	return knot_dname_in_bailiwick(name, zone) > 0;
}

static bool is_in_cut(const struct scrub *s, const knot_dname_t *name)
{
	return is_at_or_below(name, s->question->cut);
}

/** Meta types and query types never are data (C-02). */
static bool is_data_type(uint16_t type)
{
	return type != 0 && type != KNOT_RRTYPE_OPT && !(type >= 128 && type <= 255);
}

/** Type bitmap (RFC 4034 section 4.1.2): windows ascending, none of them empty or too long. */
static bool is_good_bitmap(const uint8_t *at, const uint8_t *end)
{
	int last = -1;
	while (at < end) {
		if (end - at < 2 || at[0] <= last || at[1] < 1 || at[1] > 32 ||
			end - at < 2 + at[1])
			return false;
		last = at[0];
		at += 2 + at[1];
	}
	return true;
}

/** Rdata of NSEC3 up to the salt: algorithm, flags, iterations, salt length. */
#define NSEC3_HEAD 5
#define NSEC3_HASH 20
#define NSEC3_LABEL 32 /**< base32hex of the hash */

static bool is_good_nsec3(const knot_rrset_t *rr)
{
	const knot_rdata_t *rd = rr->rrs.rdata;
	if (rd->len < NSEC3_HEAD)
		return false;
	const size_t hash_at = NSEC3_HEAD + knot_nsec3_salt_len(rd) + 1;
	return rd->len >= hash_at + NSEC3_HASH && knot_nsec3_next_len(rd) == NSEC3_HASH &&
	       rr->owner[0] == NSEC3_LABEL &&
	       is_good_bitmap(rd->data + hash_at + NSEC3_HASH, rd->data + rd->len);
}

/** The parser has checked names and what is in front of them, nothing else. */
static bool has_good_rdata(const knot_rrset_t *rr)
{
	const knot_rdata_t *rd = rr->rrs.rdata;
	switch (rr->type) {
	case KNOT_RRTYPE_A:
		return rd->len == 4;
	case KNOT_RRTYPE_AAAA:
		return rd->len == 16;
	case KNOT_RRTYPE_DS:
	case KNOT_RRTYPE_DNSKEY:
		return rd->len > 4;
	case KNOT_RRTYPE_RRSIG:
		return rd->len > 18 + knot_dname_size(knot_rrsig_signer_name(rd));
	case KNOT_RRTYPE_NSEC:
		return is_good_bitmap(rd->data + knot_dname_size(rd->data), rd->data + rd->len);
	case KNOT_RRTYPE_NSEC3:
		return is_good_nsec3(rr);
	default:
		return true;
	}
}

static bool is_usable(const struct scrub *s, const knot_rrset_t *rr)
{
	return rr->rclass == KNOT_CLASS_IN && rr->rrs.count > 0 && is_data_type(rr->type) &&
	       has_good_rdata(rr) && is_in_cut(s, rr->owner);
}

static bool is_set(const knot_rrset_t *rr, const knot_dname_t *owner, uint16_t type)
{
	return rr->type == type && knot_dname_is_equal(rr->owner, owner);
}

/** Walk the indexes of a section: `for_section (s, KNOT_ANSWER, i)`. */
#define for_section(s, section, i)                                                                 \
	for (unsigned i = (s)->pkt->sections[section].pos,                                         \
		      i##_end = i + (s)->pkt->sections[section].count;                             \
		i < i##_end; ++i)

/** Could this signature be one over a set of that owner and type (C-18)? */
static bool is_good_rrsig(const struct scrub *s, const knot_rrset_t *rr)
{
	const knot_rdata_t *rd = rr->rrs.rdata;
	const knot_dname_t *signer = knot_rrsig_signer_name(rd);
	const size_t owner_labels = knot_dname_labels(rr->owner, NULL);
	const size_t labels = knot_rrsig_labels(rd);
	const bool is_wildcard = rr->owner[0] == 1 && rr->owner[1] == '*';
	return is_at_or_below(rr->owner, signer) &&
	       (is_in_cut(s, signer) || is_at_or_below(s->question->cut, signer)) &&
	       labels >= knot_dname_labels(signer, NULL) && labels <= owner_labels - is_wildcard;
}

/** Keep the signatures over a set, at most B-18 of them. */
static void keep_rrsigs(
	struct scrub *s, knot_section_t section, const knot_dname_t *owner, uint16_t type)
{
	unsigned kept = 0;
	for_section(s, section, i)
	{
		const knot_rrset_t *rr = &s->pkt->rr[i];
		if (is_set(rr, owner, KNOT_RRTYPE_RRSIG) && is_usable(s, rr) &&
			knot_rrsig_type_covered(rr->rrs.rdata) == type && is_good_rrsig(s, rr) &&
			kept < KR_RRSIG_KEPT_MAX && !s->keep[i]) {
			s->keep[i] = true;
			kept += 1;
		}
	}
}

/** Keep a set of at most so many records, and its signatures. */
static unsigned keep_some(struct scrub *s, knot_section_t section, const knot_dname_t *owner,
	uint16_t type, unsigned limit)
{
	unsigned kept = 0;
	for_section(s, section, i)
	{
		const knot_rrset_t *rr = &s->pkt->rr[i];
		if (kept == limit)
			break;
		if (!is_set(rr, owner, type) || !is_usable(s, rr))
			continue;
		s->keep[i] = true;
		kept += 1;
	}
	if (kept > 0 && type != KNOT_RRTYPE_RRSIG)
		keep_rrsigs(s, section, owner, type);
	return kept;
}

/** Keep a set and its signatures. @return number of records of the set */
static unsigned keep_set(
	struct scrub *s, knot_section_t section, const knot_dname_t *owner, uint16_t type)
{
	return keep_some(s, section, owner, type, KR_MSG_RRS_MAX);
}

static const knot_rrset_t *find_set(
	const struct scrub *s, knot_section_t section, const knot_dname_t *owner, uint16_t type)
{
	for_section(s, section, i)
	{
		const knot_rrset_t *rr = &s->pkt->rr[i];
		if (is_set(rr, owner, type) && is_usable(s, rr))
			return rr;
	}
	return NULL;
}

/** Are there two different records of a set that may have only one? */
static bool is_ambiguous(const struct scrub *s, const knot_rrset_t *first)
{
	for_section(s, KNOT_ANSWER, i)
	{
		const knot_rrset_t *rr = &s->pkt->rr[i];
		if (rr != first && is_set(rr, first->owner, first->type) &&
			knot_rdata_cmp(rr->rrs.rdata, first->rrs.rdata) != 0)
			return true;
	}
	return false;
}

/* ---- ANSWER ---- */

static const knot_rrset_t *find_dname(const struct scrub *s)
{
	for_section(s, KNOT_ANSWER, i)
	{
		const knot_rrset_t *rr = &s->pkt->rr[i];
		if (rr->type == KNOT_RRTYPE_DNAME && is_usable(s, rr) &&
			is_below(s->chain, rr->owner))
			return rr;
	}
	return NULL;
}

/** Where the DNAME leads from the present chain name. @return false if the name gets too long */
static bool dname_target(const struct scrub *s, const knot_rrset_t *dname, knot_dname_t *target)
{
	const knot_dname_t *to = knot_dname_target(dname->rrs.rdata);
	const size_t prefix = knot_dname_size(s->chain) - knot_dname_size(dname->owner);
	const size_t to_size = knot_dname_size(to);
	if (prefix + to_size > KNOT_DNAME_MAXLEN)
		return false;
	memcpy(target, s->chain, prefix);
	memcpy(target + prefix, to, to_size);
	knot_dname_to_lower(target);
	return true;
}

static void move_chain(struct scrub *s, const knot_dname_t *target)
{
	knot_dname_to_wire(s->chain, target, sizeof(s->chain));
	knot_dname_to_lower(s->chain);
	s->has_alias = true;
}

/** Take a DNAME link. @return 1 go on, 0 stop, < 0 unusable message */
static int take_dname(struct scrub *s, const knot_rrset_t *dname)
{
	if (is_ambiguous(s, dname))
		return kr_error(EBADMSG);
	knot_dname_storage_t target;
	const bool fits = dname_target(s, dname, target);
	const knot_rrset_t *cname = find_set(s, KNOT_ANSWER, s->chain, KNOT_RRTYPE_CNAME);
	keep_set(s, KNOT_ANSWER, dname->owner, KNOT_RRTYPE_DNAME);
	if (cname &&
		(is_ambiguous(s, cname) || !fits ||
			!knot_dname_is_case_equal(knot_cname_name(cname->rrs.rdata), target))) {
		s->is_bad_alias = true; /* C-06: it must be what the DNAME yields */
		return 0;
	}
	if (!fits) {
		s->has_alias = true;
		return 0;
	}
	move_chain(s, target);
	return 1;
}

/** Take a CNAME link. @return as take_dname() */
static int take_cname(struct scrub *s, const knot_rrset_t *cname)
{
	if (is_ambiguous(s, cname))
		return kr_error(EBADMSG);
	keep_set(s, KNOT_ANSWER, cname->owner, KNOT_RRTYPE_CNAME);
	move_chain(s, knot_cname_name(cname->rrs.rdata));
	return 1;
}

/** Follow the chain by one link. @return 1 go on, 0 the end, < 0 unusable message */
static int chain_step(struct scrub *s)
{
	const uint16_t type = s->question->type;
	const knot_rrset_t *cname = find_set(s, KNOT_ANSWER, s->chain, KNOT_RRTYPE_CNAME);
	const knot_rrset_t *dname = find_dname(s);
	if (type == KNOT_RRTYPE_CNAME && dname) {
		const int ret = take_dname(s, dname);
		s->has_data = ret > 0; /* the CNAME will be made out of it */
		return KR_MIN(ret, 0);
	}
	if (find_set(s, KNOT_ANSWER, s->chain, type)) {
		if (cname && type != KNOT_RRTYPE_CNAME && type != KNOT_RRTYPE_RRSIG &&
			type != KNOT_RRTYPE_NSEC)
			return kr_error(EBADMSG); /* C-07 */
		s->has_data = true;
		/* A name that does not exist has no data; and nobody needs that much of it (B-24).
		 */
		const bool is_nonsense =
			s->rcode == KNOT_RCODE_NXDOMAIN ||
			keep_set(s, KNOT_ANSWER, s->chain, type) > KR_RRSET_RRS_MAX;
		return is_nonsense ? kr_error(EBADMSG) : 0;
	}
	if (dname)
		return take_dname(s, dname);
	return cname ? take_cname(s, cname) : 0;
}

static int scrub_answer(struct scrub *s)
{
	int ret = 1;
	for (int i = 0; ret > 0 && i < CHAIN_STEPS_MAX && is_in_cut(s, s->chain); ++i)
		ret = chain_step(s);
	return KR_MIN(ret, 0);
}

/* ---- AUTHORITY ---- */

/** C-16: one SOA, of the zone asked or one below it, above the end of the chain. */
static int find_soa(struct scrub *s)
{
	const knot_rrset_t *soa = NULL;
	for_section(s, KNOT_AUTHORITY, i)
	{
		const knot_rrset_t *rr = &s->pkt->rr[i];
		if (rr->type != KNOT_RRTYPE_SOA || rr->rclass != KNOT_CLASS_IN)
			continue;
		if (soa && (!knot_dname_is_equal(soa->owner, rr->owner) ||
				   knot_rdata_cmp(soa->rrs.rdata, rr->rrs.rdata) != 0))
			return kr_error(EBADMSG);
		soa = rr;
	}
	s->has_soa = soa && is_usable(s, soa) && is_at_or_below(s->chain, soa->owner);
	return kr_ok();
}

/** Is this a referral, and whereto (C-10, C-11)? */
static void find_referral(struct scrub *s)
{
	const bool is_shaped = s->rcode == KNOT_RCODE_NOERROR && !s->has_data && !s->has_alias &&
			       !s->has_soa && !s->question->is_forward;
	if (!is_shaped)
		return;
	bool is_own = false;
	for_section(s, KNOT_AUTHORITY, i)
	{
		const knot_rrset_t *rr = &s->pkt->rr[i];
		if (rr->type != KNOT_RRTYPE_NS || rr->rclass != KNOT_CLASS_IN || rr->rrs.count == 0)
			continue;
		if (is_below(rr->owner, s->question->cut) && is_at_or_below(s->chain, rr->owner)) {
			s->child = rr->owner;
			return;
		}
		is_own = is_own || is_at_or_below(s->question->cut, rr->owner);
	}
	/* With AA it is the server's clumsy way to say "no data". */
	s->is_lame = is_own && !knot_wire_get_aa(s->pkt->wire);
}

/** The zone that a proof speaks of: the signer's, or if nobody signed it, at least part of the cut.
 */
static const knot_dname_t *zone_of_proof(const struct scrub *s, const knot_rrset_t *proof)
{
	for_section(s, KNOT_AUTHORITY, i)
	{
		const knot_rrset_t *rr = &s->pkt->rr[i];
		if (is_set(rr, proof->owner, KNOT_RRTYPE_RRSIG) && is_usable(s, rr) &&
			knot_rrsig_type_covered(rr->rrs.rdata) == proof->type &&
			is_good_rrsig(s, rr))
			return knot_rrsig_signer_name(rr->rrs.rdata);
	}
	return s->question->cut;
}

/** C-17: a proof ends inside of its zone; an NSEC3 is one label below the apex. */
static bool is_proof_in_zone(const struct scrub *s, const knot_rrset_t *rr)
{
	const knot_dname_t *zone = zone_of_proof(s, rr);
	if (rr->type == KNOT_RRTYPE_NSEC3)
		return knot_dname_in_bailiwick(rr->owner, zone) == 1 || zone == s->question->cut;
	knot_dname_storage_t next; /* unlike other names it keeps its letter case */
	if (knot_dname_to_wire(next, rr->rrs.rdata->data, sizeof(next)) <= 0)
		return false;
	knot_dname_to_lower(next);
	return is_at_or_below(next, zone);
}

/** Proofs: NSEC and NSEC3 with their signatures, as many as B-22 allows. */
static void keep_proofs(struct scrub *s)
{
	for_section(s, KNOT_AUTHORITY, i)
	{
		const knot_rrset_t *rr = &s->pkt->rr[i];
		const bool is_nsec = rr->type == KNOT_RRTYPE_NSEC;
		if (!is_nsec && rr->type != KNOT_RRTYPE_NSEC3)
			continue;
		size_t *kept = is_nsec ? &s->nsec_kept : &s->nsec3_kept;
		const size_t kept_max = is_nsec ? KR_NSEC_MSG_MAX : KR_NSEC3_MSG_MAX;
		if (s->keep[i] || *kept == kept_max)
			continue;
		/* What is looked at counts, or else a stranger chooses how often we search. */
		*kept += 1;
		if (!is_usable(s, rr) || !is_proof_in_zone(s, rr))
			continue;
		s->keep[i] = true;
		keep_rrsigs(s, KNOT_AUTHORITY, rr->owner, rr->type);
	}
}

/** At most B-05 names of servers: a random run of them. */
static void keep_servers(struct scrub *s)
{
	unsigned count = 0;
	for_section(s, KNOT_AUTHORITY, i) count += is_set(&s->pkt->rr[i], s->child, KNOT_RRTYPE_NS);
	unsigned skip = count > KR_NS_MAX ? s->question->random % (count - KR_NS_MAX + 1) : 0;
	for_section(s, KNOT_AUTHORITY, j)
	{
		const knot_rrset_t *rr = &s->pkt->rr[j];
		if (!is_set(rr, s->child, KNOT_RRTYPE_NS) || !is_usable(s, rr))
			continue;
		if (skip > 0) {
			skip -= 1;
			continue;
		}
		if (s->servers_len == KR_NS_MAX)
			break;
		s->keep[j] = true;
		s->servers[s->servers_len++] = knot_ns_name(rr->rrs.rdata);
	}
}

static void scrub_authority(struct scrub *s)
{
	if (s->is_lame)
		return;
	if (s->child) {
		keep_servers(s);
		keep_some(s, KNOT_AUTHORITY, s->child, KNOT_RRTYPE_DS, KR_DS_MAX);
	} else if (s->has_soa && !s->has_data && !s->has_alias) {
		for_section(s, KNOT_AUTHORITY, i)
		{
			const knot_rrset_t *rr = &s->pkt->rr[i];
			if (rr->type != KNOT_RRTYPE_SOA || !is_usable(s, rr))
				continue;
			keep_set(s, KNOT_AUTHORITY, rr->owner, KNOT_RRTYPE_SOA);
			/* for the client only */
			keep_some(s, KNOT_AUTHORITY, rr->owner, KNOT_RRTYPE_NS, KR_NS_MAX);
			break;
		}
	}
	keep_proofs(s);
}

/* ---- ADDITIONAL ---- */

/** Index of a server of the referral, or -1. */
static int find_server(const struct scrub *s, const knot_dname_t *name)
{
	for (size_t i = 0; i < s->servers_len; ++i) {
		if (knot_dname_is_case_equal(s->servers[i], name))
			return i;
	}
	return -1;
}

static bool is_good_address(const struct scrub *s, const knot_rrset_t *rr)
{
	const knot_rdata_t *rd = rr->rrs.rdata;
	union kr_sockaddr addr = {0};
	if (s->question->allow_local)
		return true;
	if (rr->type == KNOT_RRTYPE_A) {
		addr.ip4.sin_family = AF_INET;
		memcpy(&addr.ip4.sin_addr, rd->data, 4);
	} else {
		addr.ip6.sin6_family = AF_INET6;
		memcpy(&addr.ip6.sin6_addr, rd->data, 16);
	}
	return !kr_addr_is_unusable(&addr.ip) &&
	       (s->question->allow_private || !kr_addr_is_private(&addr.ip));
}

/** Keep a record if it is the address of a server and there is room for it (B-06). */
static bool keep_glue(struct scrub *s, unsigned i)
{
	const knot_rrset_t *rr = &s->pkt->rr[i];
	if ((rr->type != KNOT_RRTYPE_A && rr->type != KNOT_RRTYPE_AAAA) || s->keep[i] ||
		rr->rclass != KNOT_CLASS_IN || rr->rrs.count == 0 || !has_good_rdata(rr))
		return false;
	const int server = find_server(s, rr->owner);
	if (server < 0 || s->glue_kept[server] == KR_NS_ADDR_MAX ||
		s->all_glue_kept == KR_CUT_ADDR_MAX || !is_good_address(s, rr))
		return false;
	s->keep[i] = true;
	s->glue_kept[server] += 1;
	s->all_glue_kept += 1;
	return true;
}

/** C-13: in-domain glue; sibling glue only where there is no other; nothing from outside of the
 * cut. */
static void scrub_additional(struct scrub *s)
{
	if (!s->child)
		return;
	bool has_in_domain = false;
	for_section(s, KNOT_ADDITIONAL, i)
	{
		const knot_rrset_t *rr = &s->pkt->rr[i];
		if (is_at_or_below(rr->owner, s->child) && keep_glue(s, i))
			has_in_domain = true;
	}
	if (s->question->strict || (has_in_domain && !s->question->permissive))
		return;
	for_section(s, KNOT_ADDITIONAL, j)
	{
		const knot_rrset_t *rr = &s->pkt->rr[j];
		if (s->question->permissive || is_in_cut(s, rr->owner))
			keep_glue(s, j);
	}
}

/* ---- the packet ---- */

/** Put what is kept together; OPT always stays. @return number of records dropped */
static int compact(struct scrub *s)
{
	knot_pkt_t *pkt = s->pkt;
	const knot_rrset_t *opt = pkt->opt_rr, *tsig = pkt->tsig_rr;
	unsigned to = 0;
	int dropped = 0;
	pkt->opt_rr = NULL;
	pkt->tsig_rr = NULL;
	for (int section = KNOT_ANSWER; section <= KNOT_ADDITIONAL; ++section) {
		const unsigned start = to;
		for_section(s, section, i)
		{
			const knot_rrset_t *from = &pkt->rr[i];
			const bool is_special = from == opt || from == tsig;
			if (!s->keep[i] && !is_special) {
				if (pkt->rr_info[i].flags & KNOT_PF_FREE)
					knot_rrset_clear(&pkt->rr[i], &pkt->mm);
				dropped += 1;
				continue;
			}
			if (from == opt)
				pkt->opt_rr = &pkt->rr[to];
			if (from == tsig)
				pkt->tsig_rr = &pkt->rr[to];
			pkt->rr[to] = pkt->rr[i];
			pkt->rr_info[to] = pkt->rr_info[i];
			to += 1;
		}
		pkt->sections[section].pos = start;
		pkt->sections[section].count = to - start;
	}
	/* Parsed OPT and TSIG may live outside of the counted records. */
	if (opt && !pkt->opt_rr)
		pkt->opt_rr = (knot_rrset_t *)opt;
	if (tsig && !pkt->tsig_rr)
		pkt->tsig_rr = (knot_rrset_t *)tsig;
	pkt->rrset_count = to;
	return dropped;
}

static void normalize(knot_pkt_t *pkt)
{
	for (unsigned i = 0; i < pkt->rrset_count; ++i) {
		knot_rrset_t *rr = &pkt->rr[i];
		knot_dname_to_lower(rr->owner);
		if (rr->type != KNOT_RRTYPE_OPT && rr->ttl > INT32_MAX) /* RFC 2181 section 8 */
			rr->ttl = 0;
	}
}

/**
 * Were there records about something else, and nothing else? The NS set of the zone itself is what
 * some servers send for "no data".
 */
static bool is_nonsense(const struct scrub *s)
{
	unsigned seen = 0;
	for (int section = KNOT_ANSWER; section <= KNOT_AUTHORITY; ++section) {
		for_section(s, section, i)
		{
			if (s->keep[i])
				return false;
			seen += section == KNOT_ANSWER ||
				!knot_dname_is_case_equal(s->pkt->rr[i].owner, s->question->cut);
		}
	}
	return seen > 0;
}

static enum kr_scrub_shape shape_of(const struct scrub *s)
{
	if (s->is_bad_alias)
		return KR_SHAPE_BAD_ALIAS;
	if (s->has_data)
		return KR_SHAPE_ANSWER;
	if (s->has_alias)
		return KR_SHAPE_ALIAS;
	if (s->child)
		return KR_SHAPE_REFERRAL;
	if (s->has_soa)
		return KR_SHAPE_NEGATIVE;
	if (s->is_lame)
		return KR_SHAPE_LAME;
	return is_nonsense(s) ? KR_SHAPE_NONSENSE : KR_SHAPE_EMPTY;
}

static int scrub_sections(struct scrub *s)
{
	int ret = scrub_answer(s);
	if (ret == 0)
		ret = find_soa(s);
	if (ret != 0)
		return ret;
	find_referral(s);
	scrub_authority(s);
	scrub_additional(s);
	return kr_ok();
}

int kr_scrub(knot_pkt_t *pkt, const struct kr_scrub_question *question, enum kr_scrub_shape *shape)
{
	if (pkt->rrset_count > KR_MSG_RRS_MAX)
		return kr_error(EBADMSG);
	/* More than was offered comes in fragments, and the tail may be a stranger's. */
	if (!question->is_stream && question->payload > 0 && pkt->size > question->payload)
		return kr_error(EBADMSG);
	struct scrub s = {
		.pkt = pkt,
		.question = question,
		.rcode = knot_wire_get_rcode(pkt->wire),
	};
	if (knot_dname_to_wire(s.chain, question->name, sizeof(s.chain)) <= 0)
		return kr_error(EINVAL);
	knot_dname_to_lower(s.chain);
	normalize(pkt);
	const uint16_t rcode = knot_pkt_ext_rcode(pkt);
	const bool is_failure = rcode != KNOT_RCODE_NOERROR && rcode != KNOT_RCODE_NXDOMAIN &&
				rcode != KNOT_RCODE_YXDOMAIN;
	int ret = kr_ok();
	if (!is_failure && !knot_wire_get_tc(pkt->wire)) /* C-03, C-23 */
		ret = scrub_sections(&s);
	if (ret != 0)
		return ret;
	if (shape)
		*shape = is_failure ? KR_SHAPE_FAILURE : shape_of(&s);
	return compact(&s);
}
