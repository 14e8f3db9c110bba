/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Zones and their links: which have keys, which are insecure, what has to be asked to know. */

#include "lib/layer/validate_impl.h"

#include <libknot/consts.h>
#include <libknot/descriptor.h>

#include "lib/log.h"
#include "lib/utils.h"
#include "lib/dnssec/canon.h"
#include "lib/dnssec/ta.h"

#define VERBOSE(qry, ...) kr_log_q((qry), VALIDATOR, __VA_ARGS__)

/** Sub-queries that validation of one question may push. */
#define CHAIN_STEPS_MAX 30

struct kr_validation *vld_known(struct kr_request *req)
{
	if (!req->validation) {
		req->validation = mm_calloc(&req->pool, 1, sizeof(*req->validation));
		if (req->validation)
			req->validation->memory.mm = &req->pool;
	}
	return req->validation;
}

static struct vld_zone *find_zone(const struct kr_validation *known, const knot_dname_t *name)
{
	for (size_t i = 0; i < known->zones.len; ++i) {
		if (knot_dname_is_equal(known->zones.at[i]->name, name))
			return known->zones.at[i];
	}
	return NULL;
}

/** The entry of a name, made if there is none. @return NULL if out of memory */
static struct vld_zone *ensure_zone(struct kr_request *req, const knot_dname_t *name)
{
	struct kr_validation *known = vld_known(req);
	struct vld_zone *zone = known ? find_zone(known, name) : NULL;
	if (zone || !known)
		return zone;
	zone = mm_calloc(&req->pool, 1, sizeof(*zone));
	if (!zone)
		return NULL;
	zone->name = knot_dname_copy(name, &req->pool);
	if (!zone->name || array_push_mm(known->zones, zone, &req->pool) < 0)
		return NULL;
	return zone;
}

void vld_become_insecure(struct kr_query *qry)
{
	if (qry->flags.DNSSEC_WANT)
		VERBOSE(qry, ">< going insecure\n");
	qry->flags.DNSSEC_WANT = false;
	qry->flags.DNSSEC_INSECURE = true;
}

static bool is_parents_cut(const struct kr_query *qry)
{
	return qry->parent && qry->parent->zone_cut.name &&
	       knot_dname_is_equal(qry->parent->zone_cut.name, qry->sname);
}

int kr_validate_deliver_ds(struct kr_query *qry, enum kr_zone_fact fact, knot_rrset_t *ds)
{
	struct vld_zone *zone = ensure_zone(qry->request, qry->sname);
	if (!zone)
		return kr_error(ENOMEM);
	zone->fact = fact;
	zone->ds = ds;
	if (!is_parents_cut(qry))
		return kr_ok();
	struct kr_query *parent = qry->parent;
	switch (fact) {
	case KR_ZONE_SECURE:
		parent->zone_cut.trust_anchor = ds;
		return kr_ok();
	case KR_ZONE_INSECURE:
		vld_become_insecure(parent);
		return kr_ok();
	default: /* we stand in a zone that its parent does not know */
		return kr_error(EBADMSG);
	}
}

int kr_validate_deliver_key(struct kr_query *qry, knot_rrset_t *dnskey)
{
	struct vld_zone *zone = ensure_zone(qry->request, qry->sname);
	if (!zone)
		return kr_error(ENOMEM);
	zone->key = dnskey;
	if (is_parents_cut(qry))
		qry->parent->zone_cut.key = dnskey;
	return kr_ok();
}

/* ---- sub-queries ---- */

/** Was this asked on behalf of the query already? */
static bool was_asked(const struct kr_query *qry, const knot_dname_t *name, uint16_t type)
{
	return kr_rplan_find_resolved(
		&qry->request->rplan, (struct kr_query *)qry, name, KNOT_CLASS_IN, type);
}

/** The question that everything is done for; it owns the count of steps. */
static struct kr_query *origin_of(struct kr_query *qry)
{
	while (qry->parent)
		qry = qry->parent;
	return qry;
}

/** Let a key be asked of the servers that the query itself asks. */
static int share_servers(struct kr_query *next, const struct kr_query *qry)
{
	const struct kr_zonecut *cut = &qry->zone_cut;
	int ret = kr_zonecut_init(&next->zone_cut, next->sname, &qry->request->pool);
	if (ret == 0)
		ret = kr_zonecut_copy(&next->zone_cut, cut);
	next->zone_cut.ttl_s = cut->ttl_s;
	next->zone_cut.depth = cut->depth;
	return ret;
}

/** @return VLD_YIELD or an error */
static int ask(struct vld *v, const struct vld_zone *zone, uint16_t type)
{
	struct kr_query *qry = v->qry;
	struct kr_rplan *plan = &v->req->rplan;
	struct kr_query *origin = origin_of(qry);
	if (was_asked(qry, zone->name, type) || origin->chain_steps >= CHAIN_STEPS_MAX ||
		kr_rplan_satisfies(qry, zone->name, KNOT_CLASS_IN, type)) {
		vld_blame(v, KNOT_EDNS_EDE_BOGUS, "chain of trust does not end");
		return kr_error(EBADMSG);
	}
	struct kr_query *next = kr_rplan_push(plan, qry, zone->name, KNOT_CLASS_IN, type);
	if (!next)
		return kr_error(ENOMEM);
	origin->chain_steps += 1;
	next->flags.DNSSEC_WANT = true;
	if (type == KNOT_RRTYPE_DS || qry->flags.FORWARD || qry->flags.CACHED) {
		next->flags.AWAIT_CUT = true;
		return VLD_YIELD;
	}
	int ret = share_servers(next, qry);
	if (ret != 0)
		return ret;
	next->zone_cut.trust_anchor = zone->ds;
	return VLD_YIELD;
}

/* ---- zones ---- */

/** Take in what the query's own cut knows. */
static void learn_from_cut(struct vld *v, struct vld_zone *zone)
{
	const struct kr_zonecut *cut = &v->qry->zone_cut;
	if (!cut->name || !knot_dname_is_equal(cut->name, zone->name))
		return;
	if (zone->fact == KR_ZONE_UNKNOWN && cut->trust_anchor) {
		zone->fact = cut->trust_anchor->rrs.count > 0 ? KR_ZONE_SECURE : KR_ZONE_INSECURE;
		zone->ds = cut->trust_anchor;
	}
	if (!zone->key)
		zone->key = cut->key;
}

static int learn_from_anchor(struct vld *v, struct vld_zone *zone)
{
	const knot_rrset_t *anchor = kr_ta_get(v->req->ctx->trust_anchors, zone->name);
	if (!anchor || anchor->rrs.count == 0 || zone->fact != KR_ZONE_UNKNOWN)
		return kr_ok();
	zone->ds = knot_rrset_copy(anchor, &v->req->pool);
	zone->fact = KR_ZONE_SECURE;
	return zone->ds ? kr_ok() : kr_error(ENOMEM);
}

static int load_keys(struct vld *v, const struct vld_zone *zone)
{
	if (v->zone == zone)
		return kr_ok();
	dnssec_keyset_deinit(&v->keys);
	v->zone = NULL;
	int ret = dnssec_keyset_init(&v->keys, zone->key);
	if (ret == 0)
		v->zone = zone;
	return ret;
}

/** Find out what a name is. @return 0 (not UNKNOWN any more), VLD_YIELD, VLD_INSECURE, or an error
 */
static int find_fact(struct vld *v, const knot_dname_t *name, struct vld_zone **found)
{
	if (!kr_ta_closest(v->req->ctx, name, KNOT_RRTYPE_NS))
		return VLD_INSECURE;
	struct vld_zone *zone = *found = ensure_zone(v->req, name);
	if (!zone)
		return kr_error(ENOMEM);
	learn_from_cut(v, zone);
	int ret = learn_from_anchor(v, zone);
	if (ret != 0)
		return ret;
	if (zone->fact == KR_ZONE_UNKNOWN)
		return ask(v, zone, KNOT_RRTYPE_DS);
	return zone->fact == KR_ZONE_INSECURE ? VLD_INSECURE : kr_ok();
}

int vld_zone_ds(struct vld *v, const knot_dname_t *name, knot_rrset_t **ds)
{
	struct vld_zone *zone = NULL;
	int ret = find_fact(v, name, &zone);
	if (ret != 0)
		return ret;
	*ds = zone->ds;
	return zone->fact == KR_ZONE_NO_CUT ? kr_error(ENOENT) : kr_ok();
}

int vld_use_zone(struct vld *v, const knot_dname_t *name)
{
	if (v->zone && knot_dname_is_equal(v->zone->name, name))
		return kr_ok();
	struct vld_zone *zone = NULL;
	int ret = find_fact(v, name, &zone);
	if (ret != 0)
		return ret;
	if (zone->fact == KR_ZONE_NO_CUT) {
		vld_blame(v, KNOT_EDNS_EDE_BOGUS, "signer is not a zone");
		return kr_error(EBADMSG);
	}
	return zone->key ? load_keys(v, zone) : ask(v, zone, KNOT_RRTYPE_DNSKEY);
}

/** Where to begin looking for an insecure delegation: the deepest place known to be secure. */
static const knot_dname_t *secure_start(const struct vld *v, const knot_dname_t *name)
{
	const knot_dname_t *anchor = kr_ta_closest(v->req->ctx, name, KNOT_RRTYPE_NS);
	const knot_dname_t *cut = v->qry->zone_cut.name;
	if (!anchor)
		return NULL;
	return cut && knot_dname_in_bailiwick(name, cut) >= 0 &&
			       knot_dname_in_bailiwick(cut, anchor) >= 0
		       ? cut
		       : anchor;
}

/** Is one of the zones known to be insecure above (or at) the name, and not above its anchor? */
static bool is_known_insecure(const struct vld *v, const knot_dname_t *name)
{
	const knot_dname_t *anchor = kr_ta_closest(v->req->ctx, name, KNOT_RRTYPE_NS);
	for (size_t i = 0; i < v->known->zones.len; ++i) {
		const struct vld_zone *zone = v->known->zones.at[i];
		if (zone->fact == KR_ZONE_INSECURE &&
			knot_dname_in_bailiwick(name, zone->name) >= 0 &&
			knot_dname_in_bailiwick(zone->name, anchor) >= 0)
			return true;
	}
	return false;
}

int vld_find_insecurity(struct vld *v, const knot_dname_t *name, uint16_t type)
{
	if (type == KNOT_RRTYPE_DS && name[0] != '\0')
		name = dnssec_parent_name(name); /* DS is the parent's */
	const knot_dname_t *start = secure_start(v, name);
	if (!start) /* below a negative anchor */
		return VLD_INSECURE;
	const unsigned last = knot_dname_labels(name, NULL);
	if (is_known_insecure(v, name))
		return VLD_INSECURE;
	for (unsigned labels = knot_dname_labels(start, NULL) + 1; labels <= last; ++labels) {
		const knot_dname_t *at = dnssec_ancestor(name, labels);
		struct vld_zone *zone = ensure_zone(v->req, at);
		if (!zone)
			return kr_error(ENOMEM);
		if (zone->fact == KR_ZONE_UNKNOWN)
			return ask(v, zone, KNOT_RRTYPE_DS);
		if (zone->fact == KR_ZONE_INSECURE)
			return VLD_INSECURE;
	}
	return kr_error(ENOENT);
}
