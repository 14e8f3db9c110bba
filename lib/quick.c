/* SPDX-License-Identifier: GPL-3.0-or-later */

#include "lib/quick.h"

#include <libknot/descriptor.h>
#include <libknot/packet/pkt.h>
#include <libknot/rrtype/opt.h>
#include <libknot/rrtype/rdname.h>
#include <libknot/rrtype/soa.h>
#include <libknot/wire.h>

#include "lib/resolve.h"
#include "lib/utils.h"
#include "lib/cache/peek.h"
#include "lib/dnssec/ta.h"

/** Longer chains of aliases, and loops, take the long way. */
#define ALIASES_MAX 8
#define POOL_BYTES 16384

struct kr_quick {
	knot_mm_t pool;
	knot_pkt_t *pkt;
	knot_rrset_t opt;
	uint8_t wire[KR_DNS_WIRE_MAX];
};

struct kr_quick *kr_quick_new(void)
{
	struct kr_quick *quick = calloc(1, sizeof(*quick));
	if (!quick)
		return NULL;
	mm_ctx_mempool2(&quick->pool, POOL_BYTES);
	quick->pkt = knot_pkt_new(quick->wire, sizeof(quick->wire), NULL);
	if (!quick->pool.ctx || !quick->pkt) {
		kr_quick_free(quick);
		return NULL;
	}
	return quick;
}

void kr_quick_free(struct kr_quick *quick)
{
	if (!quick)
		return;
	knot_pkt_free(quick->pkt);
	if (quick->pool.ctx)
		mp_delete(quick->pool.ctx);
	free(quick);
}

const uint8_t *kr_quick_wire(const struct kr_quick *quick)
{
	return quick->wire;
}

bool kr_quick_is_allowed(const struct kr_context *ctx)
{
	const struct kr_qflags *flags = &ctx->options;
	return ctx->layers_quick && !ctx->has_rules && !ctx->answers_vary && !flags->NO_CACHE &&
	       !flags->STUB && !flags->FORWARD && !flags->DNSSEC_CD && !flags->TRACE &&
	       !flags->NO_ANSWER && !flags->DNS64_MARK && kr_cache_is_open(&ctx->cache);
}

/** Types whose answers need more than their records. */
static bool is_plain_type(uint16_t type)
{
	switch (type) {
	case 0:
	case KNOT_RRTYPE_DS:
	case KNOT_RRTYPE_DNSKEY:
	case KNOT_RRTYPE_RRSIG:
	case KNOT_RRTYPE_NSEC:
	case KNOT_RRTYPE_NSEC3:
	case KNOT_RRTYPE_CNAME:
	case KNOT_RRTYPE_DNAME:
		return false;
	default:
		return !knot_rrtype_is_metatype(type);
	}
}

/** Somebody has to do something about this name. */
static bool is_concern(const struct kr_context *ctx, const struct kr_quick_question *question)
{
	for (const kr_layer_api_t **at = ctx->concern_hooks; at && *at; ++at) {
		if ((*at)->concerns(*at, question))
			return true;
	}
	return false;
}

/** One answer in the making. */
struct making {
	struct kr_quick *quick;
	struct kr_context *ctx;
	const struct kr_quick_question *question;
	uint16_t rotate;
	bool all_secure;
	bool has_data;   /**< something else than aliases in ANSWER */
	bool is_trusted; /**< the last name is below a trust anchor, and was validated */
};

/** Ranks that the long way hands on without a second thought. */
static bool is_good_rank(uint8_t rank)
{
	return kr_rank_test(rank, KR_RANK_SECURE) || kr_rank_test(rank, KR_RANK_INSECURE) ||
	       kr_rank_test(rank, KR_RANK_INITIAL);
}

static int peek(struct making *m, const knot_dname_t *name, struct cache_answer *answer)
{
	const uint16_t type = m->question->type;
	const bool is_checked = kr_ta_closest(m->ctx, name, type);
	const struct cache_question question = {
		.name = name,
		.type = type,
		.min_rank = (is_checked ? KR_RANK_INSECURE : KR_RANK_INITIAL) | KR_RANK_AUTH,
		.may_prove = true,
		.now = m->ctx->now.tv_sec,
		.pool = &m->quick->pool,
	};
	int ret = cache_peek(&m->ctx->cache, &question, answer);
	if (ret != 0)
		return ret;
	const uint16_t first = answer->count > 0 ? answer->rr[0].type : 0;
	const bool is_dname =
		answer->answer_count > 0 && first != type && first != KNOT_RRTYPE_CNAME;
	if (is_dname || answer->is_wildcard || answer->is_optout || !is_good_rank(answer->rank) ||
		(answer->is_expiring && m->ctx->wants_expiring))
		return kr_error(ENOENT);
	m->is_trusted = is_checked && kr_rank_test(answer->rank, KR_RANK_SECURE);
	m->all_secure &= kr_rank_test(answer->rank, KR_RANK_SECURE);
	return kr_ok();
}

static bool is_wanted(const struct making *m, uint16_t type)
{
	const bool is_dnssec =
		type == KNOT_RRTYPE_RRSIG || type == KNOT_RRTYPE_NSEC || type == KNOT_RRTYPE_NSEC3;
	return m->question->has_do || !is_dnssec;
}

static int put(struct making *m, const struct cache_answer *answer, unsigned from, unsigned to)
{
	for (unsigned i = from; i < to; ++i) {
		knot_rrset_t rr = answer->rr[i];
		if (!is_wanted(m, rr.type))
			continue;
		if (rr.type == KNOT_RRTYPE_SOA) /* RFC 2308 section 3 */
			rr.ttl = KR_MIN(rr.ttl, knot_soa_minimum(rr.rrs.rdata));
		int ret =
			knot_pkt_put_rotate(m->quick->pkt, KNOT_COMPR_HINT_NONE, &rr, m->rotate, 0);
		if (ret != KNOT_EOK)
			return kr_error(ENOSPC);
	}
	return kr_ok();
}

/** The alias in an answer that has nothing else. @return its target, or NULL */
static const knot_dname_t *alias_target(const struct cache_answer *answer)
{
	const knot_rrset_t *rr = &answer->rr[0];
	if (answer->answer_count == 0 || rr->type != KNOT_RRTYPE_CNAME)
		return NULL;
	return knot_cname_name(rr->rrs.rdata);
}

/** Write ANSWER and AUTHORITY, following aliases. */
static int put_records(struct making *m)
{
	knot_dname_storage_t target;
	const knot_dname_t *name = m->question->name;
	for (int i = 0; i < ALIASES_MAX; ++i) {
		struct cache_answer answer;
		int ret = peek(m, name, &answer);
		if (ret == 0)
			ret = put(m, &answer, 0, answer.answer_count);
		if (ret != 0)
			return ret;
		const knot_dname_t *alias = alias_target(&answer);
		if (!alias) {
			knot_wire_set_rcode(m->quick->wire, answer.rcode);
			m->has_data = answer.answer_count > 0;
			ret = knot_pkt_begin(m->quick->pkt, KNOT_AUTHORITY);
			return ret == KNOT_EOK ? put(m, &answer, answer.answer_count, answer.count)
					       : kr_error(EINVAL);
		}
		if (answer.answer_count < answer.count || answer.rr[0].rrs.count != 1)
			return kr_error(ENOTSUP);
		/* Names of queries are lower-case; the record keeps its own. */
		knot_dname_copy_lower(target, alias);
		name = target;
		const struct kr_quick_question next = {.name = name, .type = m->question->type};
		if (is_concern(m->ctx, &next))
			return kr_error(ENOTSUP);
	}
	return kr_error(ELOOP);
}

/** Header and question, as in any answer. */
static int start(struct making *m, const uint8_t *wire, uint16_t limit)
{
	knot_pkt_t *pkt = m->quick->pkt;
	const struct kr_quick_question *q = m->question;
	knot_pkt_clear(pkt);
	pkt->max_size = limit;
	/* The letter case is the client's. */
	int ret = knot_pkt_put_question(pkt, wire + KNOT_WIRE_HEADER_SIZE, KNOT_CLASS_IN, q->type);
	if (ret != KNOT_EOK)
		return kr_error(ENOSPC);
	memcpy(pkt->wire, wire, sizeof(uint16_t)); /* the id */
	knot_wire_set_qr(pkt->wire);
	knot_wire_set_rd(pkt->wire);
	knot_wire_set_ra(pkt->wire);
	if (q->has_edns) {
		m->quick->opt = *m->ctx->downstream_opt_rr;
		if (q->has_do)
			knot_edns_set_do(&m->quick->opt);
		ret = knot_pkt_reserve(pkt, knot_edns_wire_size(&m->quick->opt));
	}
	if (ret == KNOT_EOK)
		ret = knot_pkt_begin(pkt, KNOT_ANSWER);
	return ret == KNOT_EOK ? kr_ok() : kr_error(ENOSPC);
}

/** AD and OPT. */
static int finish(struct making *m)
{
	knot_pkt_t *pkt = m->quick->pkt;
	const struct kr_quick_question *q = m->question;
	const bool is_negative =
		knot_wire_get_rcode(pkt->wire) != KNOT_RCODE_NOERROR || !m->has_data;
	if (m->all_secure && (!is_negative || m->is_trusted) && (q->has_ad || q->has_do))
		knot_wire_set_ad(pkt->wire);
	if (!q->has_edns)
		return kr_ok();
	int ret = knot_pkt_reclaim(pkt, knot_edns_wire_size(&m->quick->opt));
	if (ret == KNOT_EOK)
		ret = knot_pkt_begin(pkt, KNOT_ADDITIONAL);
	if (ret == KNOT_EOK)
		ret = knot_pkt_put(pkt, KNOT_COMPR_HINT_NONE, &m->quick->opt, 0);
	return ret == KNOT_EOK ? kr_ok() : kr_error(EINVAL);
}

size_t kr_quick_answer(struct kr_quick *quick, struct kr_context *ctx,
	const struct kr_quick_question *question, const uint8_t *wire, uint16_t limit)
{
	struct making m = {.quick = quick, .ctx = ctx, .question = question, .all_secure = true};
	if (!is_plain_type(question->type) || is_concern(ctx, question))
		return 0;
	if (ctx->options.REORDER_RR)
		m.rotate = kr_ctx_rnd32(ctx) & 0xffff;
	int ret = start(&m, wire, limit);
	if (ret == 0)
		ret = put_records(&m);
	if (ret == 0)
		ret = finish(&m);
	mp_flush(quick->pool.ctx);
	return ret == 0 ? quick->pkt->size : 0;
}
