/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * One allowance of work per client request (spec B-00): made with the request, shared by all its
 * sub-queries, only ever spent. When one runs out the request ends in SERVFAIL and a counter of the
 * context tells the operator which.
 */
#pragma once

#include "lib/defines.h"

struct kr_request;

/** What is being counted. Limits are in lib/defines.h. */
enum kr_budget_kind {
	KR_BUDGET_PACKETS,      /**< B-01 upstream packets and connects */
	KR_BUDGET_BYTES,        /**< B-03 upstream bytes accepted */
	KR_BUDGET_CONNECTS,     /**< B-04 stream connects */
	KR_BUDGET_NS_LOOKUPS,   /**< B-07 server address look-ups */
	KR_BUDGET_ALIASES,      /**< B-09 CNAME and DNAME steps */
	KR_BUDGET_ROUNDS,       /**< produce rounds */
	KR_BUDGET_TIMEOUTS,     /**< upstream timeouts */
	KR_BUDGET_VERIFY,       /**< B-15 signature checks */
	KR_BUDGET_VERIFY_UNITS, /**< B-15 ... priced */
	KR_BUDGET_VERIFY_FAIL,  /**< B-16 failed signature checks */
	KR_BUDGET_VERIFY_FAIL_UNITS,
	KR_BUDGET_NSEC3_BLOCKS, /**< B-21 SHA-1 blocks */
	KR_BUDGET_TIME,         /**< B-30 wall time; counted only when exhausted */
	KR_BUDGET_NAME_PACKETS, /**< B-02 per owner name; counted only when exhausted */
	KR_BUDGET_NS_DEPTH,     /**< B-08; counted only when exhausted */
	KR_BUDGET_REFERRALS,    /**< B-10; counted only when exhausted */
	KR_BUDGET_COUNT
};

/** What has been spent so far. {0} is a fresh one. */
struct kr_budget {
	uint32_t spent[KR_BUDGET_COUNT];
	bool exhausted[KR_BUDGET_COUNT]; /**< already told */
};

/**
 * Spend. @return true if there was enough; false = stop this work, after counting and logging it
 * once
 */
KR_EXPORT
bool kr_budget_spend(struct kr_request *req, enum kr_budget_kind kind, uint32_t amount);
/** What is left of a budget. */
KR_EXPORT KR_PURE uint32_t kr_budget_left(const struct kr_request *req, enum kr_budget_kind kind);
/** Count and log (at most once a second) that a limit which is counted elsewhere was hit. */
KR_EXPORT KR_COLD void kr_budget_exhausted(struct kr_request *req, enum kr_budget_kind kind);
/** Name as in the statistics, e.g. "packets". */
KR_EXPORT KR_PURE const char *kr_budget_name(enum kr_budget_kind kind);
/** Limit of a budget. */
KR_EXPORT KR_PURE uint32_t kr_budget_limit(enum kr_budget_kind kind);
