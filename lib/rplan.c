/* SPDX-License-Identifier: GPL-3.0-or-later */

#include "lib/rplan.h"

#include <libknot/consts.h>

#include "lib/log.h"
#include "lib/resolve.h"
#include "lib/utils.h"

void kr_qflags_set(struct kr_qflags *dst, struct kr_qflags src)
{
	uint8_t *to = (uint8_t *)dst;
	const uint8_t *from = (const uint8_t *)&src;
	for (size_t i = 0; i < sizeof(src); ++i)
		to[i] |= from[i];
}

void kr_qflags_clear(struct kr_qflags *dst, struct kr_qflags src)
{
	uint8_t *to = (uint8_t *)dst;
	const uint8_t *from = (const uint8_t *)&src;
	for (size_t i = 0; i < sizeof(src); ++i)
		to[i] &= ~from[i];
}

int kr_rplan_init(struct kr_rplan *rplan, struct kr_request *request, knot_mm_t *pool)
{
	if (!rplan || !pool)
		return kr_error(EINVAL);
	memset(rplan, 0, sizeof(*rplan));
	rplan->request = request;
	rplan->pool = pool;
	return kr_ok();
}

void kr_rplan_deinit(struct kr_rplan *rplan)
{
	if (!rplan)
		return;
	array_init(rplan->pending); /* memory is the pool's */
	array_init(rplan->resolved);
	rplan->initial = NULL;
}

bool kr_rplan_empty(const struct kr_rplan *rplan)
{
	return !rplan || rplan->pending.len == 0;
}

static struct kr_query *query_new(
	struct kr_rplan *rplan, struct kr_query *parent, const knot_dname_t *name)
{
	struct kr_query *qry = mm_calloc(rplan->pool, 1, sizeof(*qry));
	if (!qry)
		return NULL;
	struct kr_request *req = rplan->request;
	if (name) {
		qry->sname = knot_dname_copy(name, rplan->pool);
		if (!qry->sname)
			return NULL;
		knot_dname_to_lower(qry->sname);
	}
	qry->request = req;
	qry->parent = parent;
	qry->flags = req->options;
	qry->uid = ++rplan->next_uid;
	qry->timestamp = req->ctx->now;
	qry->timestamp_mono = req->ctx->now_ms;
	qry->creation_time_mono = parent ? parent->creation_time_mono : req->ctx->now_ms;
	if (parent) {
		qry->ns_depth = parent->ns_depth;
		qry->stale_cb = parent->stale_cb;
	}
	if (qry->flags.REORDER_RR)
		qry->reorder = kr_ctx_rnd32(req->ctx) & 0xffff;
	qry->vld_limit_crypto_remains = req->ctx->vld_limit_crypto;
	if (kr_zonecut_init(&qry->zone_cut, (const knot_dname_t *)"", rplan->pool) != 0)
		return NULL;
	return qry;
}

static struct kr_query *push(struct kr_rplan *rplan, struct kr_query *qry)
{
	if (!qry)
		return NULL;
	/* Room in `resolved` is made now so that popping cannot fail. */
	size_t total = rplan->pending.len + rplan->resolved.len + 1;
	if (array_reserve_mm(rplan->resolved, total, rplan->pool) != 0 ||
		array_push_mm(rplan->pending, qry, rplan->pool) < 0)
		return NULL;
	if (!rplan->initial)
		rplan->initial = qry;
	return qry;
}

struct kr_query *kr_rplan_push_empty(struct kr_rplan *rplan, struct kr_query *parent)
{
	return rplan ? push(rplan, query_new(rplan, parent, NULL)) : NULL;
}

struct kr_query *kr_rplan_push(struct kr_rplan *rplan, struct kr_query *parent,
	const knot_dname_t *name, uint16_t cls, uint16_t type)
{
	if (!rplan || !name)
		return NULL;
	struct kr_query *qry = query_new(rplan, parent, name);
	if (!qry)
		return NULL;
	qry->sclass = cls;
	qry->stype = type;
	if (!push(rplan, qry))
		return NULL;
	if (kr_log_is_debug_qry(PLAN, qry)) {
		KR_DNAME_GET_STR(name_str, name);
		KR_RRTYPE_GET_STR(type_str, type);
		kr_log_q(qry, PLAN, "plan '%s' type '%s'\n", name_str, type_str);
	}
	return qry;
}

int kr_rplan_pop(struct kr_rplan *rplan, struct kr_query *qry)
{
	if (!rplan || !qry)
		return kr_error(EINVAL);
	for (size_t i = rplan->pending.len; i > 0; --i) {
		if (rplan->pending.at[i - 1] != qry)
			continue;
		memmove(&rplan->pending.at[i - 1], &rplan->pending.at[i],
			(rplan->pending.len - i) * sizeof(qry));
		rplan->pending.len -= 1;
		rplan->resolved.at[rplan->resolved.len++] = qry;
		return kr_ok();
	}
	return kr_ok();
}

static bool asks(const struct kr_query *qry, const knot_dname_t *name, uint16_t cls, uint16_t type)
{
	return qry->stype == type && qry->sclass == cls && qry->sname &&
	       knot_dname_is_equal(qry->sname, name);
}

bool kr_rplan_satisfies(
	const struct kr_query *closure, const knot_dname_t *name, uint16_t cls, uint16_t type)
{
	for (; name && closure; closure = closure->parent) {
		if (asks(closure, name, cls, type))
			return true;
	}
	return false;
}

struct kr_query *kr_rplan_resolved(struct kr_rplan *rplan)
{
	return rplan && rplan->resolved.len > 0 ? array_tail(rplan->resolved) : NULL;
}

struct kr_query *kr_rplan_last(struct kr_rplan *rplan)
{
	if (!rplan)
		return NULL;
	return rplan->pending.len > 0 ? array_tail(rplan->pending) : kr_rplan_resolved(rplan);
}

struct kr_query *kr_rplan_find_resolved(struct kr_rplan *rplan, struct kr_query *parent,
	const knot_dname_t *name, uint16_t cls, uint16_t type)
{
	for (size_t i = 0; rplan && name && i < rplan->resolved.len; ++i) {
		struct kr_query *qry = rplan->resolved.at[i];
		if (asks(qry, name, cls, type) && (!parent || qry->parent == parent))
			return qry;
	}
	return NULL;
}
