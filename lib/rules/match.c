/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Which rule is next. */

#include <string.h>
#include <libknot/packet/pkt.h>
#include <libknot/tsig-op.h>

#include "lib/rules/rules_impl.h"

void match_init(
	struct match *match, const struct kr_rule_question *question, const struct kr_request *req)
{
	match->question = question;
	match->req = req;
	match->has_name = question->name != NULL;
	match->found_len = 0;
	match->hit.verdict = KR_VERDICT_NONE;
	if (match->has_name)
		kr_name_key(&match->key, question->name);
}

static void find_names(struct match *match, const struct rule_list *list)
{
	const struct kr_name_key *key = &match->key;
	if (!match->has_name || trie_weight(list->by_name) == 0)
		return;
	for (unsigned n = 0; n <= key->labels; ++n) {
		const trie_val_t *val = trie_get_try(list->by_name, key->key, key->ends[n]);
		if (!val)
			continue;
		match->found[match->found_len].slot = *val;
		match->found[match->found_len++].needs_below = n < key->labels;
	}
}

static void find_nets(struct match *match, const struct kr_nets *nets, const struct sockaddr *addr)
{
	const struct kr_net *found[KR_NETS_DEPTH_MAX];
	if (!addr || kr_nets_len(nets) == 0)
		return;
	const size_t count = kr_nets_find(nets, addr, found);
	for (size_t i = 0; i < count; ++i) {
		match->found[match->found_len].slot = found[i]->val;
		match->found[match->found_len++].needs_below = false;
	}
}

void match_list(struct match *match, const struct rule_list *list)
{
	match->list = list;
	match->found_len = 0;
	find_names(match, list);
	find_nets(match, list->sources, match->question->source);
	find_nets(match, list->destinations, match->question->destination);
}

static bool find_in_list(struct match *match, struct kr_list *list)
{
	const struct sockaddr *source = match->question->source;
	if (!match->has_name)
		return false;
	if (source && kr_inaddr(source) &&
		kr_list_find_addr(list, KR_TRIGGER_CLIENT_IP, kr_inaddr_family(source),
			(const uint8_t *)kr_inaddr(source), &match->hit) != KR_VERDICT_NONE)
		return true;
	return kr_list_find_name(list, KR_TRIGGER_QNAME, &match->key, &match->hit) !=
	       KR_VERDICT_NONE;
}

void match_again(struct match *match, const struct rule *rule)
{
	(void)find_in_list(match, rule->list);
}

static bool has_key(const struct match *match, const struct rule *rule)
{
	const knot_pkt_t *question = match->req ? match->req->qsource.packet : NULL;
	if (!question || !question->tsig_rr ||
		!knot_dname_is_case_equal(question->tsig_rr->owner, rule->key_name))
		return false;
	return !rule->key.name || knot_tsig_server_check(question->tsig_rr, question->wire,
					  question->size, &rule->key) == KNOT_EOK;
}

/** All but the network, and the names if they are in the common trie. */
static bool matches(struct match *match, const struct rule *rule)
{
	if (rule->key_name && !has_key(match, rule))
		return false;
	switch (rule->filter) {
	case KR_FILTER_NAMES:
		return rule->is_small ||
		       (match->has_name && kr_names_have_key(rule->names, &match->key));
	case KR_FILTER_LIST:
		return find_in_list(match, rule->list);
	case KR_FILTER_ASK:
		return match->has_name;
	default:
		return true;
	}
}

/** Index of the first rule after that place. */
static size_t first_after(const struct slot *slot, uint64_t after)
{
	size_t from = 0;
	size_t to = slot->len;
	while (from < to) {
		const size_t mid = (from + to) / 2;
		if (slot->at[mid].rule->pub.place <= after)
			from = mid + 1;
		else
			to = mid;
	}
	return from;
}

/** Next rule of a slot that matches and is before `best`. */
static struct rule *slot_next(struct match *match, const struct slot *slot, bool needs_below,
	uint64_t after, struct rule *best)
{
	for (size_t i = first_after(slot, after); i < slot->len; ++i) {
		struct rule *rule = slot->at[i].rule;
		if (best && rule->pub.place >= best->pub.place)
			return best;
		if (!rule->pub.suspended && (!needs_below || slot->at[i].below) &&
			matches(match, rule))
			return rule;
	}
	return best;
}

struct rule *match_next(struct match *match, uint64_t after)
{
	struct rule *best = NULL;
	for (size_t i = 0; i < match->found_len; ++i)
		best = slot_next(
			match, match->found[i].slot, match->found[i].needs_below, after, best);
	return slot_next(match, &match->list->plain, false, after, best);
}

struct kr_rule *kr_rulebook_next(
	struct kr_rulebook *book, const struct kr_rule_question *question, uint64_t from)
{
	struct match match;
	match_init(&match, question, NULL);
	for (unsigned i = from >> PLACE_LIST_BITS; i < book->list_count; ++i) {
		match_list(&match, &book->lists[i]);
		struct rule *rule = match_next(&match, from);
		if (rule)
			return &rule->pub;
	}
	return NULL;
}
