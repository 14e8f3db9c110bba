/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Response triggers of lists: what the answer and the servers behind it tell. */

#include <string.h>
#include <libknot/rrtype/rdname.h>

#include "lib/log.h"
#include "lib/resolve.h"
#include "lib/rules/rules_impl.h"
#include "lib/zonecut.h"

/** Search in progress. */
struct search {
	struct kr_list *list;
	struct kr_list_hit hit;
};

static bool find_addr(
	struct search *search, enum kr_trigger trigger, const uint8_t *addr, size_t len)
{
	return kr_list_find_addr(search->list, trigger, len == 4 ? AF_INET : AF_INET6, addr,
		       &search->hit) != KR_VERDICT_NONE;
}

/** Addresses in the answer (rpz-ip). */
static bool find_in_answer(struct search *search, const struct kr_request *req)
{
	for (size_t i = 0; i < req->answ_selected.len; ++i) {
		const ranked_rr_array_entry_t *entry = req->answ_selected.at[i];
		const knot_rrset_t *rr = entry->rr;
		const size_t len = rr->type == KNOT_RRTYPE_A      ? 4
				   : rr->type == KNOT_RRTYPE_AAAA ? 16
								  : 0;
		if (!entry->to_wire || len == 0)
			continue;
		for (uint16_t j = 0; j < rr->rrs.count; ++j) {
			const knot_rdata_t *rd = knot_rdataset_at(&rr->rrs, j);
			if (rd->len == len && find_addr(search, KR_TRIGGER_IP, rd->data, len))
				return true;
		}
	}
	return false;
}

static int server_matches(const char *name, uint32_t len, trie_val_t *val, void *data)
{
	struct search *search = data;
	struct kr_name_key key;
	(void)len;
	kr_name_key(&key, (const knot_dname_t *)name);
	if (kr_list_find_name(search->list, KR_TRIGGER_NSDNAME, &key, &search->hit) !=
		KR_VERDICT_NONE)
		return 1;
	const pack_t *addrs = *val;
	for (const uint8_t *at = addrs ? pack_head(*addrs) : NULL; at && at != pack_tail(*addrs);
		at = pack_obj_next((uint8_t *)at)) {
		if (find_addr(search, KR_TRIGGER_NSIP, pack_obj_val((uint8_t *)at),
			    pack_obj_len((uint8_t *)at)))
			return 1;
	}
	return 0;
}

/** Servers of the zones that the answer is from (rpz-nsdname, rpz-nsip). */
static bool find_in_servers(struct search *search, struct kr_request *req)
{
	for (size_t i = 0; i < req->rplan.resolved.len; ++i) {
		struct kr_query *qry = req->rplan.resolved.at[i];
		if (qry->parent && qry->parent != req->rplan.initial && !qry->cname_parent)
			continue; /* asked on the way, for servers and keys */
		struct kr_zonecut cut = {0};
		if (kr_zonecut_init(&cut, qry->sname, &req->pool) != 0)
			return false;
		bool secured = false;
		const bool is_known =
			kr_zonecut_find_cached(req->ctx, &cut, qry->sname, qry, &secured) == 0;
		const struct kr_zonecut *at = is_known ? &cut : &qry->zone_cut;
		if (at->nsset && trie_apply_with_key(at->nsset, server_matches, search) != 0)
			return true;
	}
	return false;
}

static bool examine(struct search *search, struct kr_request *req)
{
	if (kr_list_has(search->list, KR_TRIGGER_IP) && find_in_answer(search, req))
		return true;
	return (kr_list_has(search->list, KR_TRIGGER_NSDNAME) ||
		       kr_list_has(search->list, KR_TRIGGER_NSIP)) &&
	       find_in_servers(search, req);
}

static int apply(struct kr_request *req, struct rule *rule, const struct search *search, int state)
{
	struct kr_action *action = search->hit.verdict == KR_VERDICT_LISTED
					   ? kr_action_ref(rule->action)
					   : kr_list_action(rule->list, &search->hit);
	rule->pub.count += 1;
	kr_list_count(rule->list, NULL, &search->hit);
	kr_request_set_repeat(req, KR_REPEAT_NEVER);
	kr_log_req(req, 0, 0, POLICY, "list %s, by the answer or its servers\n",
		kr_list_name(rule->list));
	if (!action) /* a function: there is no way to ask it here, so the answer is withheld */
		action = kr_action_new(KR_ACTION_REFUSE);
	const int ret =
		action ? kr_action_apply_late(action, req, state, rule->label) : KR_STATE_FAIL;
	kr_action_unref(action);
	return ret;
}

static int apply_rule(struct kr_request *req, struct rule *rule, int state)
{
	rule->pub.count += 1;
	if (!kr_action_is_chain(rule->action))
		kr_request_set_repeat(req, KR_REPEAT_NEVER);
	return kr_action_apply_late(rule->action, req, state, rule->label);
}

/** What the rules say about the name that an alias leads to. @return state; 0 = nothing */
static int examine_alias(
	struct kr_rulebook *book, struct kr_request *req, const knot_dname_t *target, int state)
{
	const struct kr_rule_question question = {target, req->qsource.addr, req->qsource.dst_addr};
	struct match match;
	struct rule *rule;
	uint64_t from = 0;
	match_init(&match, &question, req);
	match_list(&match, &book->lists[KR_POLICY_USER]);
	while ((rule = match_next(&match, from))) {
		from = rule->pub.place;
		if (req->rules_end && from >= req->rules_end)
			return 0;
		if (rule->pub.is_unsure || (!rule->list && !rule->action))
			continue; /* functions have been asked about the question already */
		struct search search = {.list = rule->list};
		if (rule->list) {
			match_again(&match, rule);
			search.hit = match.hit;
		}
		const int ret = rule->list ? apply(req, rule, &search, state)
					   : apply_rule(req, rule, state);
		if (ret != 0 || (rule->action && kr_action_is_route(rule->action)))
			return ret ? ret : state;
	}
	return 0;
}

static int examine_aliases(struct kr_rulebook *book, struct kr_request *req, int state)
{
	for (size_t i = 0; i < req->answ_selected.len; ++i) {
		const ranked_rr_array_entry_t *entry = req->answ_selected.at[i];
		if (!entry->to_wire || entry->rr->type != KNOT_RRTYPE_CNAME)
			continue;
		const int ret =
			examine_alias(book, req, knot_cname_name(entry->rr->rrs.rdata), state);
		if (ret != 0)
			return ret;
	}
	return 0;
}

int rules_examine_answer(struct kr_rulebook *book, struct kr_request *req, int state)
{
	const int by_alias = book->checks_aliases ? examine_aliases(book, req, state) : 0;
	if (by_alias != 0)
		return by_alias;
	const struct rule_list *list = &book->lists[KR_POLICY_USER];
	for (size_t i = 0; i < list->all.len; ++i) {
		struct rule *rule = list->all.at[i];
		struct search search = {.list = rule->list};
		if (req->rules_end && rule->pub.place >= req->rules_end)
			return state; /* an earlier rule had the last word */
		if (!rule->list || rule->pub.suspended || !examine(&search, req))
			continue;
		const int ret = apply(req, rule, &search, state);
		if (ret != 0)
			return ret;
	}
	return state;
}
