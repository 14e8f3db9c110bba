/* SPDX-License-Identifier: GPL-3.0-or-later */

#include "lib/rrs.h"

#include <stdio.h>
#include <string.h>
#include <libknot/rrset-dump.h>
#include <libknot/rrtype/rrsig.h>

#include "lib/check.h"

bool kr_rank_check(uint8_t rank)
{
	switch (rank & ~KR_RANK_AUTH) {
	case KR_RANK_INITIAL:
	case KR_RANK_OMIT:
	case KR_RANK_TRY:
	case KR_RANK_INDET:
	case KR_RANK_BOGUS:
	case KR_RANK_MISMATCH:
	case KR_RANK_MISSING:
	case KR_RANK_INSECURE:
	case KR_RANK_SECURE:
		return true;
	default:
		return false;
	}
}

bool kr_rank_test(uint8_t rank, uint8_t kr_flag)
{
	if (kr_flag == KR_RANK_AUTH)
		return rank & KR_RANK_AUTH;
	return (rank & ~KR_RANK_AUTH) == kr_flag;
}

uint16_t kr_rrset_type_maysig(const knot_rrset_t *rr)
{
	if (rr->type != KNOT_RRTYPE_RRSIG || rr->rrs.count == 0)
		return rr->type;
	return knot_rrsig_type_covered(rr->rrs.rdata);
}

void kr_rrset_init(
	knot_rrset_t *rrset, knot_dname_t *owner, uint16_t type, uint16_t rclass, uint32_t ttl)
{
	knot_rrset_init(rrset, owner, type, rclass, ttl);
}

uint32_t kr_rrsig_sig_inception(const knot_rdata_t *rdata)
{
	return knot_rrsig_sig_inception(rdata);
}

uint32_t kr_rrsig_sig_expiration(const knot_rdata_t *rdata)
{
	return knot_rrsig_sig_expiration(rdata);
}

uint16_t kr_rrsig_type_covered(const knot_rdata_t *rdata)
{
	return knot_rrsig_type_covered(rdata);
}

/** RDATA of a set that is still being collected: pointers to where they are. */
typedef array_t(const knot_rdata_t *) collected_t;

/** The `rrs` member is unused while in_progress and keeps the collection. */
static collected_t *collected(knot_rrset_t *rr)
{
	return (collected_t *)rr->additional;
}

static bool is_same_set(const knot_rrset_t *a, const knot_rrset_t *b)
{
	return a->type == b->type && a->rclass == b->rclass &&
	       knot_dname_is_case_equal(a->owner, b->owner);
}

/** RRSIGs make one set per covered type. */
static uint16_t covered_type(const knot_rrset_t *rr)
{
	if (rr->type != KNOT_RRTYPE_RRSIG)
		return 0;
	if (rr->rrs.count > 0)
		return knot_rrsig_type_covered(rr->rrs.rdata);
	const collected_t *rds = (collected_t *)rr->additional;
	return rds && rds->len > 0 ? knot_rrsig_type_covered(rds->at[0]) : 0;
}

static int collect(knot_rrset_t *to, const knot_rrset_t *from, knot_mm_t *pool)
{
	collected_t *rds = collected(to);
	knot_rdata_t *rd = from->rrs.rdata;
	for (uint16_t i = 0; i < from->rrs.count; ++i, rd = knot_rdataset_next(rd)) {
		if (array_push_mm(*rds, rd, pool) < 0)
			return kr_error(ENOMEM);
	}
	to->ttl = KR_MIN(to->ttl, from->ttl); /* RFC 2181 section 5.2 */
	return kr_ok();
}

static int add_entry(ranked_rr_array_t *array, const knot_rrset_t *rr, uint8_t rank, bool to_wire,
	uint32_t qry_uid, knot_mm_t *pool)
{
	ranked_rr_array_entry_t *entry = mm_calloc(pool, 1, sizeof(*entry));
	knot_rrset_t *copy = mm_calloc(pool, 1, sizeof(*copy));
	collected_t *rds = mm_calloc(pool, 1, sizeof(*rds));
	knot_dname_t *owner = knot_dname_copy(rr->owner, pool);
	if (!entry || !copy || !rds || !owner)
		return kr_error(ENOMEM);
	knot_dname_to_lower(owner);
	knot_rrset_init(copy, owner, rr->type, rr->rclass, rr->ttl);
	copy->additional = (void *)rds;
	*entry = (ranked_rr_array_entry_t){
		.qry_uid = qry_uid,
		.rank = rank,
		.to_wire = to_wire,
		.in_progress = true,
		.rr = copy,
	};
	int ret = collect(copy, rr, pool);
	return ret != 0 ? ret : array_push_mm(*array, entry, pool);
}

int kr_ranked_rrarray_add(ranked_rr_array_t *array, const knot_rrset_t *rr, uint8_t rank,
	bool to_wire, uint32_t qry_uid, knot_mm_t *pool)
{
	if (!array || !rr || rr->rrs.count == 0 || rr->additional)
		return kr_error(EINVAL);
	/* Sets of the same round are at the end; equal ones of other rounds lose their place. */
	for (size_t i = array->len; i > 0; --i) {
		ranked_rr_array_entry_t *entry = array->at[i - 1];
		if (!is_same_set(entry->rr, rr) || covered_type(entry->rr) != covered_type(rr))
			continue;
		if (entry->qry_uid != qry_uid) {
			if (to_wire)
				entry->to_wire = false;
			continue;
		}
		if (!entry->in_progress || kr_fails_assert(entry->rank == rank))
			return entry->in_progress ? kr_error(EEXIST) : (int)(i - 1);
		entry->to_wire = entry->to_wire || to_wire;
		int ret = collect(entry->rr, rr, pool);
		return ret != 0 ? ret : (int)(i - 1);
	}
	return add_entry(array, rr, rank, to_wire, qry_uid, pool);
}

static int compare_rdata(const void *a, const void *b)
{
	return knot_rdata_cmp(*(const knot_rdata_t *const *)a, *(const knot_rdata_t *const *)b);
}

/** Build the set out of what was collected: sorted, unique, in one run of memory. */
static int build_set(knot_rrset_t *rr, knot_mm_t *pool)
{
	collected_t *rds = collected(rr);
	if (rds->len > 1)
		qsort(rds->at, rds->len, sizeof(rds->at[0]), compare_rdata);
	size_t count = 0, size = 0;
	for (size_t i = 0; i < rds->len; ++i) {
		if (count > 0 && knot_rdata_cmp(rds->at[count - 1], rds->at[i]) == 0)
			continue;
		rds->at[count++] = rds->at[i];
		size += knot_rdata_size(rds->at[i]->len);
	}
	if (count > UINT16_MAX || size > UINT32_MAX)
		return kr_error(ENOSPC);
	uint8_t *to = mm_alloc(pool, size);
	if (!to)
		return kr_error(ENOMEM);
	rr->additional = NULL;
	rr->rrs.rdata = (knot_rdata_t *)to;
	rr->rrs.count = count;
	rr->rrs.size = size;
	for (size_t i = 0; i < count; ++i) {
		knot_rdata_init((knot_rdata_t *)to, rds->at[i]->len, rds->at[i]->data);
		to += knot_rdata_size(rds->at[i]->len);
	}
	return kr_ok();
}

int kr_ranked_rrarray_finalize(ranked_rr_array_t *array, uint32_t qry_uid, knot_mm_t *pool)
{
	for (size_t i = 0; i < array->len; ++i) {
		ranked_rr_array_entry_t *entry = array->at[i];
		if (entry->qry_uid != qry_uid || !entry->in_progress)
			continue;
		int ret = build_set(entry->rr, pool);
		if (ret != 0)
			return ret;
		entry->in_progress = false;
	}
	return kr_ok();
}

static void withdraw_equal(ranked_rr_array_t *array, const ranked_rr_array_entry_t *than)
{
	for (size_t i = 0; i < array->len; ++i) {
		ranked_rr_array_entry_t *entry = array->at[i];
		if (entry->qry_uid != than->qry_uid && is_same_set(entry->rr, than->rr) &&
			covered_type(entry->rr) == covered_type(than->rr))
			entry->to_wire = false;
	}
}

int kr_ranked_rrarray_set_wire(ranked_rr_array_t *array, bool to_wire, uint32_t qry_uid,
	bool check_dups, bool (*extra_check)(const ranked_rr_array_entry_t *))
{
	for (size_t i = 0; i < array->len; ++i) {
		ranked_rr_array_entry_t *entry = array->at[i];
		if (entry->qry_uid != qry_uid || (extra_check && !extra_check(entry)))
			continue;
		entry->to_wire = to_wire;
		if (to_wire && check_dups)
			withdraw_equal(array, entry);
	}
	return kr_ok();
}

static const char *rank_name(uint8_t rank)
{
	switch (rank & ~KR_RANK_AUTH) {
	case KR_RANK_INITIAL:
		return "initial";
	case KR_RANK_OMIT:
		return "omit";
	case KR_RANK_TRY:
		return "try";
	case KR_RANK_INDET:
		return "indet";
	case KR_RANK_BOGUS:
		return "bogus";
	case KR_RANK_MISMATCH:
		return "mismatch";
	case KR_RANK_MISSING:
		return "missing";
	case KR_RANK_INSECURE:
		return "insecure";
	case KR_RANK_SECURE:
		return "secure";
	default:
		return "?";
	}
}

char *kr_ranked_rrarray_text(const ranked_rr_array_t *array)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);
	if (!out)
		return NULL;
	for (size_t i = 0; i < array->len; ++i) {
		const ranked_rr_array_entry_t *entry = array->at[i];
		fprintf(out,
			"; ranked rrset to_wire %s, rank %03o (%s%s), cached %s, qry_uid %u, "
			"revalidations %u\n",
			entry->to_wire ? "true" : "false", entry->rank,
			entry->rank & KR_RANK_AUTH ? "auth " : "", rank_name(entry->rank),
			entry->cached ? "true" : "false", entry->qry_uid, entry->revalidation_cnt);
		if (entry->in_progress)
			continue;
		size_t room = 1024;
		char *dump = malloc(room);
		if (dump &&
			knot_rrset_txt_dump(entry->rr, &dump, &room, &KNOT_DUMP_STYLE_DEFAULT) >= 0)
			fputs(dump, out);
		free(dump);
	}
	fclose(out);
	return text;
}
