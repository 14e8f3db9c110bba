/* SPDX-License-Identifier: GPL-3.0-or-later */

#include "lib/budget.h"

#include "lib/log.h"
#include "lib/resolve.h"

/** Time between two log lines about the same budget. */
#define LOG_INTERVAL_MS 1000

static const struct {
	const char *name;
	uint32_t limit;
} budgets[KR_BUDGET_COUNT] = {
	[KR_BUDGET_PACKETS] = {"packets", KR_BUDGET_PACKETS_MAX},
	[KR_BUDGET_BYTES] = {"bytes", KR_BUDGET_BYTES_MAX},
	[KR_BUDGET_CONNECTS] = {"connects", KR_BUDGET_CONNECTS_MAX},
	[KR_BUDGET_NS_LOOKUPS] = {"ns_lookups", KR_NS_LOOKUP_MAX},
	[KR_BUDGET_ALIASES] = {"aliases", KR_CNAME_MAX},
	[KR_BUDGET_ROUNDS] = {"rounds", KR_ROUNDS_MAX},
	[KR_BUDGET_TIMEOUTS] = {"timeouts", KR_TIMEOUTS_MAX},
	[KR_BUDGET_VERIFY] = {"verify", KR_VERIFY_REQ_MAX},
	[KR_BUDGET_VERIFY_UNITS] = {"verify_units", KR_VERIFY_REQ_UNITS},
	[KR_BUDGET_VERIFY_FAIL] = {"verify_fail", KR_VERIFY_FAIL_MAX},
	[KR_BUDGET_VERIFY_FAIL_UNITS] = {"verify_fail_units", KR_VERIFY_FAIL_UNITS},
	[KR_BUDGET_NSEC3_BLOCKS] = {"nsec3_blocks", KR_NSEC3_BLOCKS_REQ},
	[KR_BUDGET_TIME] = {"time", KR_REQUEST_TIME_MS},
	[KR_BUDGET_NAME_PACKETS] = {"name_packets", KR_BUDGET_NAME_PACKETS_MAX},
	[KR_BUDGET_NS_DEPTH] = {"ns_depth", KR_NS_DEPTH_MAX},
	[KR_BUDGET_REFERRALS] = {"referrals", KR_REFERRAL_MAX},
};

const char *kr_budget_name(enum kr_budget_kind kind)
{
	return budgets[kind].name;
}

uint32_t kr_budget_limit(enum kr_budget_kind kind)
{
	return budgets[kind].limit;
}

void kr_budget_exhausted(struct kr_request *req, enum kr_budget_kind kind)
{
	struct kr_context *ctx = req->ctx;
	if (req->budget.exhausted[kind])
		return;
	req->budget.exhausted[kind] = true;
	ctx->budget_hits[kind] += 1;
	const uint64_t last = ctx->budget_logged_ms[kind];
	if (last != 0 && ctx->now_ms < last + LOG_INTERVAL_MS)
		return;
	ctx->budget_logged_ms[kind] = ctx->now_ms;
	kr_log_info(RESOLVER, "budget '%s' (%u) of a request is used up\n", budgets[kind].name,
		budgets[kind].limit);
}

bool kr_budget_spend(struct kr_request *req, enum kr_budget_kind kind, uint32_t amount)
{
	uint32_t *spent = &req->budget.spent[kind];
	if (unlikely(amount > budgets[kind].limit - KR_MIN(*spent, budgets[kind].limit))) {
		*spent = budgets[kind].limit;
		kr_budget_exhausted(req, kind);
		return false;
	}
	*spent += amount;
	return true;
}

uint32_t kr_budget_left(const struct kr_request *req, enum kr_budget_kind kind)
{
	const uint32_t spent = req->budget.spent[kind];
	return spent < budgets[kind].limit ? budgets[kind].limit - spent : 0;
}
