/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * For tests: records from zone-file text. RRSIGs of one owner make one set, whatever they cover.
 */
#pragma once

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <libknot/descriptor.h>
#include <libknot/rrset.h>
#include <libzscanner/scanner.h>

#define TEXT_SETS_MAX 64

/** Sets of a text, in the order of their first records. */
struct text_sets {
	knot_rrset_t *at[TEXT_SETS_MAX];
	size_t len;
};

static inline void text_record(zs_scanner_t *s)
{
	struct text_sets *sets = s->process.data;
	knot_dname_t owner[KNOT_DNAME_MAXLEN];
	memcpy(owner, s->r_owner, s->r_owner_length);
	knot_dname_to_lower(owner);
	knot_rrset_t *rr = NULL;
	for (size_t i = 0; i < sets->len && !rr; ++i) {
		if (sets->at[i]->type == s->r_type &&
			knot_dname_is_equal(sets->at[i]->owner, owner))
			rr = sets->at[i];
	}
	if (!rr) {
		assert(sets->len < TEXT_SETS_MAX);
		rr = knot_rrset_new(owner, s->r_type, s->r_class, s->r_ttl, NULL);
		sets->at[sets->len++] = rr;
	}
	int ret = knot_rrset_add_rdata(rr, s->r_data, s->r_data_length, NULL);
	assert(ret == KNOT_EOK);
	(void)ret;
}

/** @return false if the text is not a zone file */
static inline bool text_parse(struct text_sets *sets, const char *text, size_t len)
{
	memset(sets, 0, sizeof(*sets));
	zs_scanner_t *s = malloc(sizeof(*s));
	bool is_good = zs_init(s, ".", KNOT_CLASS_IN, 3600) == 0 &&
		       zs_set_input_string(s, text, len) == 0 &&
		       zs_set_processing(s, text_record, NULL, sets) == 0 && zs_parse_all(s) == 0;
	is_good = is_good && s->error.counter == 0;
	zs_deinit(s);
	free(s);
	return is_good;
}

static inline void text_free(struct text_sets *sets)
{
	for (size_t i = 0; i < sets->len; ++i)
		knot_rrset_free(sets->at[i], NULL);
	sets->len = 0;
}

static inline knot_rrset_t *text_find(const struct text_sets *sets, uint16_t type)
{
	for (size_t i = 0; i < sets->len; ++i) {
		if (sets->at[i]->type == type)
			return sets->at[i];
	}
	return NULL;
}
