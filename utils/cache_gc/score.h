/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * How dispensable an entry is. Records that cannot be read or are over come first, then large
 * answers and deep names that nobody asks for; TLD and root data, and what resolution itself needs,
 * stay longest.
 */
#pragma once

#include <libknot/db/db.h>

#include "lib/defines.h"

/** Scores are 0 (keep) to SCORE_MAX (remove first). */
#define SCORE_MAX 99
/** Never to be removed: records of the store itself. */
#define SCORE_NEVER (-1)

/** What is looked at. */
struct score_facts {
	uint32_t now;  /**< wall clock, s */
	unsigned uses; /**< counted lately */
};

/** @param[out] type of the records, 0 = several @return score or SCORE_NEVER */
int score_entry(const knot_db_val_t *key, const knot_db_val_t *val, const struct score_facts *facts,
	uint16_t *type);
