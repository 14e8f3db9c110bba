/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Ordered rules, compiled: names are found in a trie, addresses in a prefix tree, big lists in a
 * store on disk; what cannot be compiled (functions of the configuration) stands between them at
 * its place. The first matching rule in the order of definition has its say, then the next if its
 * action is a chain action, whatever structure it was found in.
 *
 * A book has several lists of rules, which are gone through one after the other. There is one book
 * for each module whose rules are compiled (policy, view); its hooks are run here, and the module's
 * own ones only if a function has to be asked.
 */
#pragma once

#include "lib/request.h"
#include "lib/rules/action.h"
#include "lib/rules/names.h"

struct kr_list;
struct kr_rulebook;

/** The books of a process. */
enum kr_book { KR_BOOK_POLICY, KR_BOOK_VIEW, KR_BOOK_COUNT };

/** Lists of the books, in the order in which they are gone through. */
enum kr_book_list {
	KR_POLICY_USER = 0,
	KR_POLICY_SPECIAL = 1, /**< special-use names */
	KR_VIEW_KEY = 0,
	KR_VIEW_SOURCE = 1,
	KR_VIEW_DESTINATION = 2,
	KR_BOOK_LISTS_MAX = 3
};

/** How a rule is matched. */
enum kr_filter_kind {
	KR_FILTER_ALL = 1,
	KR_FILTER_NAMES,
	KR_FILTER_LIST,
	KR_FILTER_ASK, /**< a function of the configuration knows */
};

/** Which address has to be in the network of the rule. */
enum kr_filter_side {
	KR_SIDE_ANY = 0, /**< no network */
	KR_SIDE_SOURCE,
	KR_SIDE_DESTINATION,
};

/** Key of transaction signatures that a message must have (RFC 8945). */
struct kr_rule_key {
	const knot_dname_t *name;
	const char *algorithm; /**< e.g. "hmac-sha256"; NULL: the name is believed */
	const char *secret;    /**< base64 */
};

/** What a rule is made of; nothing of it is kept but copies and references. */
struct kr_rule_def {
	uint32_t id;
	enum kr_filter_kind filter;
	struct kr_names *names;
	struct kr_list *list;
	struct kr_action *action; /**< NULL: a function of the configuration */
	enum kr_filter_side side;
	int family; /**< of the network */
	uint8_t net[16];
	int bits;
	const struct kr_rule_key *key; /**< NULL = none is needed */
	const char *label;             /**< for EDE texts; NULL = the usual ones */
};

/** A rule. Counted: its list has a reference, whoever looks at it may have another. */
struct kr_rule {
	uint64_t count; /**< how often it matched */
	uint64_t place; /**< in its book; grows with the order of definition */
	uint32_t id;
	bool suspended; /**< skipped; written by kr_rule_suspend() */
	bool is_unsure; /**< when asked about: the function has to say whether it matches at all */
	bool is_dead;   /**< was removed */
};

/** The process has to ask a function about kr_rulebook_asked(). */
#define KR_RULES_ASK (-1)

/** The book of a process; made at first use. @return NULL if out of memory */
KR_EXPORT
struct kr_rulebook *kr_rulebook(struct kr_context *ctx, enum kr_book which);
void kr_rulebooks_free(struct kr_context *ctx);

/** Add a rule at the end of a list. @return NULL: bad definition or out of memory */
KR_EXPORT
struct kr_rule *kr_rule_add(
	struct kr_rulebook *book, enum kr_book_list list, const struct kr_rule_def *def);
/** Take a rule out. */
KR_EXPORT
void kr_rule_del(struct kr_rulebook *book, struct kr_rule *rule);
/** Skip a rule, or do not any more. */
KR_EXPORT
void kr_rule_suspend(struct kr_rulebook *book, struct kr_rule *rule, bool suspended);
KR_EXPORT
struct kr_rule *kr_rule_ref(struct kr_rule *rule);
KR_EXPORT
void kr_rule_unref(struct kr_rule *rule);
/** Let the smallest network that has an address decide before larger ones. */
KR_EXPORT
void kr_rulebook_set_longest(struct kr_rulebook *book, bool longest);
/** There are functions in the answer phase: they see every request. */
KR_EXPORT
void kr_rulebook_set_post(struct kr_rulebook *book, bool has_post);
/** Let rules decide about the names that aliases in answers lead to, too. */
KR_EXPORT
void kr_rulebook_check_aliases(struct kr_rulebook *book, bool wanted);
/** Contents of a list or the like have changed: finished answers are not to be repeated. */
KR_EXPORT
void kr_rulebook_changed(struct kr_rulebook *book);

/**
 * Go through the rules.
 * @param from  kr_rule::place to begin after; 0 = from the first
 * @return state; 0 = no rule had its say; KR_RULES_ASK
 */
KR_EXPORT
int kr_rulebook_run(struct kr_rulebook *book, struct kr_request *req, int state, uint64_t from);
/** The rule that KR_RULES_ASK is about. */
KR_EXPORT KR_PURE struct kr_rule *kr_rulebook_asked(const struct kr_rulebook *book);

/** What a question is matched against, for tests: rules in order, one after the other. */
struct kr_rule_question {
	const knot_dname_t *name;
	const struct sockaddr *source;
	const struct sockaddr *destination;
};
/** Next rule after a place that matches, or that has to be asked. @return NULL: none */
KR_EXPORT
struct kr_rule *kr_rulebook_next(
	struct kr_rulebook *book, const struct kr_rule_question *question, uint64_t from);

/** Hooks in C of the modules whose rules are here: called first; KR_RULES_ASK = call the module's.
 * NULL: the module has none. */
KR_EXPORT
const kr_layer_api_t *kr_rules_layer(const char *module);
