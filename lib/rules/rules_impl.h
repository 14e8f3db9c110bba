/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Inside of books of rules. Stays in this folder.
 */
#pragma once

#include <libknot/tsig.h>

#include "lib/generic/array.h"
#include "lib/generic/trie.h"
#include "lib/rules/list.h"
#include "lib/rules/nets.h"
#include "lib/rules/rules.h"
#include "lib/utils.h"

/** Where in kr_rule::place the number of the list and the rank by network length are. */
#define PLACE_LIST_BITS 60
#define PLACE_RANK_BITS 48

struct rule {
	struct kr_rule pub; /**< first */
	uint32_t refs;
	uint64_t order;
	uint8_t in_list;
	enum kr_filter_kind filter;
	enum kr_filter_side side;
	bool is_small; /**< names are in the common trie */
	struct kr_names *names;
	struct kr_list *list;
	struct kr_action *action;
	struct kr_net *net;     /**< of the list's map, or NULL */
	knot_dname_t *key_name; /**< NULL = no signature is needed */
	knot_tsig_key_t key;    /**< secret empty = not verified */
	char *label;
};

struct slot_item {
	struct rule *rule;
	bool below; /**< also for names below */
};
/** Rules that share a name or network, or that share nothing; by place. */
struct slot {
	struct slot_item *at;
	size_t len, cap;
};

struct rule_list {
	array_t(struct rule *) all;
	struct slot plain; /**< tested one after the other */
	trie_t *by_name;   /**< to struct slot */
	struct kr_nets *sources, *destinations;
};

struct kr_rulebook {
	struct kr_context *ctx;
	struct rule_list lists[KR_BOOK_LISTS_MAX];
	uint8_t list_count;
	uint64_t orders; /**< given out */
	bool longest;
	bool has_post;
	bool checks_aliases; /**< rules are about the names that aliases lead to, too */

	/* What follows from the rules. */
	bool sees_all;     /**< a function has to be asked about everything */
	bool has_nets;     /**< addresses matter */
	bool has_always;   /**< some rules match whatever name is asked for */
	bool has_response; /**< some lists look at answers */

	struct kr_rule *asked;
};

static inline struct rule *rule_of(struct kr_rule *rule)
{
	return (struct rule *)rule;
}

/** A question, and where in a list its rules can be. */
struct match {
	const struct kr_rule_question *question;
	const struct kr_request *req; /**< NULL: no message, so no signature */
	struct kr_name_key key;       /**< unless names are left out */
	bool has_name;
	struct kr_list_hit hit; /**< of the rule found last, if that has a list */

	const struct rule_list *list;
	struct {
		const struct slot *slot;
		bool needs_below;
	} found[KNOT_DNAME_MAXLABELS + 1 + 2 * KR_NETS_DEPTH_MAX];
	size_t found_len;
};

void match_init(
	struct match *match, const struct kr_rule_question *question, const struct kr_request *req);
/** Look a list's structures through. */
void match_list(struct match *match, const struct rule_list *list);
/** First rule of the list after that place. */
struct rule *match_next(struct match *match, uint64_t after);
/** Look the rule's list up again: another one may have been looked at since. */
void match_again(struct match *match, const struct rule *rule);

/** Have the answer cache tell clients apart by the networks of rules, or not. */
void rules_sort_clients(struct kr_context *ctx, bool nets_matter);
/** Apply response triggers of lists to the finished answer. */
int rules_examine_answer(struct kr_rulebook *book, struct kr_request *req, int state);
