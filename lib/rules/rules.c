/* SPDX-License-Identifier: GPL-3.0-or-later */

#include "lib/rules/rules.h"

#include <string.h>

#include "lib/check.h"
#include "lib/resolve.h"
#include "lib/rules/rules_impl.h"

/** A rule's names are put into the common trie unless there are more of them. */
#define NAMES_SHARED_MAX 64

const uint8_t rules_list_count[KR_BOOK_COUNT] = {[KR_BOOK_POLICY] = 2, [KR_BOOK_VIEW] = 3};

/* ---- rules ---- */

struct kr_rule *kr_rule_ref(struct kr_rule *rule)
{
	if (rule)
		rule_of(rule)->refs += 1;
	return rule;
}

void kr_rule_unref(struct kr_rule *pub)
{
	struct rule *rule = pub ? rule_of(pub) : NULL;
	if (!rule || --rule->refs > 0)
		return;
	kr_names_unref(rule->names);
	kr_list_unref(rule->list);
	kr_action_unref(rule->action);
	knot_tsig_key_deinit(&rule->key);
	free(rule->key_name);
	free(rule->label);
	free(rule);
}

static int set_key(struct rule *rule, const struct kr_rule_key *key)
{
	rule->key_name = knot_dname_copy(key->name, NULL);
	if (!rule->key_name)
		return kr_error(ENOMEM);
	knot_dname_to_lower(rule->key_name);
	if (!key->algorithm)
		return kr_ok();
	KR_DNAME_GET_STR(name, key->name);
	return knot_tsig_key_init(&rule->key, key->algorithm, name, key->secret) == KNOT_EOK
		       ? kr_ok()
		       : kr_error(EINVAL);
}

static bool is_sound(const struct kr_rule_def *def)
{
	return (def->filter != KR_FILTER_NAMES || def->names) &&
	       (def->filter != KR_FILTER_LIST || def->list) && def->filter >= KR_FILTER_ALL &&
	       def->filter <= KR_FILTER_ASK && def->side <= KR_SIDE_DESTINATION;
}

static struct rule *rule_new(const struct kr_rule_def *def)
{
	struct rule *rule = is_sound(def) ? calloc(1, sizeof(*rule)) : NULL;
	if (!rule)
		return NULL;
	rule->refs = 1;
	rule->pub.id = def->id;
	rule->filter = def->filter;
	rule->pub.is_unsure = def->filter == KR_FILTER_ASK;
	rule->side = def->side;
	rule->names = kr_names_ref(def->names);
	rule->list = kr_list_ref(def->list);
	rule->action = kr_action_ref(def->action);
	rule->label = def->label ? strdup(def->label) : NULL;
	if (!def->key || set_key(rule, def->key) == 0)
		return rule;
	kr_rule_unref(&rule->pub);
	return NULL;
}

/* ---- slots: rules that share a name or network ---- */

static int slot_add(struct slot *slot, struct rule *rule, bool below)
{
	const struct slot_item item = {rule, below};
	return array_push(*slot, item) < 0 ? kr_error(ENOMEM) : kr_ok();
}

static void slot_del(struct slot *slot, const struct rule *rule)
{
	size_t kept = 0;
	for (size_t i = 0; i < slot->len; ++i) {
		if (slot->at[i].rule != rule)
			slot->at[kept++] = slot->at[i];
	}
	slot->len = kept;
}

static void slot_free(struct slot *slot)
{
	if (!slot)
		return;
	array_clear(*slot);
	free(slot);
}

struct naming {
	struct rule_list *list;
	struct rule *rule;
};

static int name_add(const char *key, uint32_t len, bool below, void *data)
{
	const struct naming *naming = data;
	trie_val_t *val = trie_get_ins(naming->list->by_name, key, len);
	if (val && !*val)
		*val = calloc(1, sizeof(struct slot));
	return val && *val ? slot_add(*val, naming->rule, below) : kr_error(ENOMEM);
}

static int name_del(const char *key, uint32_t len, bool below, void *data)
{
	(void)below;
	const struct naming *naming = data;
	trie_val_t *val = trie_get_try(naming->list->by_name, key, len);
	if (!val || !*val)
		return kr_ok();
	struct slot *slot = *val;
	slot_del(slot, naming->rule);
	if (slot->len == 0) {
		slot_free(slot);
		(void)trie_del(naming->list->by_name, key, len, NULL);
	}
	return kr_ok();
}

/* ---- lists ---- */

static bool is_shared(const struct rule *rule)
{
	return rule->filter == KR_FILTER_NAMES && rule->is_small;
}

static struct kr_nets *nets_of(const struct rule_list *list, const struct rule *rule)
{
	return rule->side == KR_SIDE_SOURCE ? list->sources : list->destinations;
}

static int list_put(struct rule_list *list, struct rule *rule, const struct kr_rule_def *def)
{
	if (rule->side != KR_SIDE_ANY) {
		rule->net = kr_nets_add(nets_of(list, rule), def->family, def->net, def->bits);
		if (!rule->net)
			return kr_error(EINVAL);
		if (!rule->net->val)
			rule->net->val = calloc(1, sizeof(struct slot));
		return rule->net->val ? slot_add(rule->net->val, rule, false) : kr_error(ENOMEM);
	}
	rule->is_small =
		rule->names && !rule->key_name && kr_names_len(rule->names) <= NAMES_SHARED_MAX;
	if (is_shared(rule)) {
		struct naming naming = {list, rule};
		return kr_names_each(rule->names, name_add, &naming);
	}
	return slot_add(&list->plain, rule, false);
}

static void list_take(struct rule_list *list, struct rule *rule)
{
	if (rule->net) {
		slot_del(rule->net->val, rule);
	} else if (is_shared(rule)) {
		struct naming naming = {list, rule};
		(void)kr_names_each(rule->names, name_del, &naming);
	} else {
		slot_del(&list->plain, rule);
	}
}

static int free_value(trie_val_t *val, void *data)
{
	(void)data;
	slot_free(*val);
	return 0;
}

static void free_net(struct kr_net *net, void *data)
{
	(void)data;
	slot_free(net->val);
}

static void list_free(struct rule_list *list)
{
	for (size_t i = 0; i < list->all.len; ++i) {
		list->all.at[i]->pub.is_dead = true;
		kr_rule_unref(&list->all.at[i]->pub);
	}
	if (list->by_name)
		trie_apply(list->by_name, free_value, NULL);
	trie_free(list->by_name);
	if (list->sources)
		kr_nets_each(list->sources, free_net, NULL);
	if (list->destinations)
		kr_nets_each(list->destinations, free_net, NULL);
	kr_nets_free(list->sources);
	kr_nets_free(list->destinations);
	array_clear(list->plain);
	array_clear(list->all);
}

static int list_init(struct rule_list *list)
{
	list->by_name = trie_create(NULL);
	list->sources = kr_nets_new();
	list->destinations = kr_nets_new();
	return list->by_name && list->sources && list->destinations ? kr_ok() : kr_error(ENOMEM);
}

/* ---- books ---- */

static void book_free(struct kr_rulebook *book)
{
	if (!book)
		return;
	for (unsigned i = 0; i < KR_BOOK_LISTS_MAX; ++i)
		list_free(&book->lists[i]);
	free(book);
}

struct kr_rulebook *kr_rulebook(struct kr_context *ctx, enum kr_book which)
{
	if ((unsigned)which >= KR_BOOK_COUNT)
		return NULL;
	if (ctx->rulebooks[which])
		return ctx->rulebooks[which];
	struct kr_rulebook *book = calloc(1, sizeof(*book));
	if (!book)
		return NULL;
	book->ctx = ctx;
	for (unsigned i = 0; i < KR_BOOK_LISTS_MAX; ++i) {
		if (list_init(&book->lists[i]) != 0) {
			book_free(book);
			return NULL;
		}
	}
	book->list_count = rules_list_count[which];
	return ctx->rulebooks[which] = book;
}

void kr_rulebooks_free(struct kr_context *ctx)
{
	for (unsigned i = 0; i < KR_BOOK_COUNT; ++i) {
		book_free(ctx->rulebooks[i]);
		ctx->rulebooks[i] = NULL;
	}
}

/** Does the rule need to see each request, whatever is asked? */
static bool sees_all(const struct rule *rule)
{
	return !rule->pub.suspended &&
	       (rule->filter == KR_FILTER_ASK || (rule->filter == KR_FILTER_ALL && !rule->action));
}

/** What the answer cache has to know of a book. */
static void examine(struct kr_rulebook *book)
{
	book->sees_all = book->has_post;
	book->has_nets = false;
	book->has_always = false;
	book->has_response = book->checks_aliases;
	for (unsigned i = 0; i < book->list_count; ++i) {
		const struct rule_list *list = &book->lists[i];
		for (size_t j = 0; j < list->all.len; ++j) {
			const struct rule *rule = list->all.at[j];
			book->sees_all |= sees_all(rule);
			book->has_nets |= rule->net != NULL;
			book->has_always |= rule->filter == KR_FILTER_ALL && !rule->key_name;
			if (!rule->list)
				continue;
			book->has_nets |= kr_list_has(rule->list, KR_TRIGGER_CLIENT_IP);
			for (unsigned t = KR_TRIGGER_IP; t < KR_TRIGGER_COUNT; ++t)
				book->has_response |= kr_list_has(rule->list, t);
		}
	}
}

/** Are there rules besides those for special-use names? */
static bool has_own_rules(const struct kr_rulebook *book)
{
	const bool is_policy = book == book->ctx->rulebooks[KR_BOOK_POLICY];
	for (unsigned i = 0; i < book->list_count; ++i) {
		if (book->lists[i].all.len > 0 && !(is_policy && i == KR_POLICY_SPECIAL))
			return true;
	}
	return book->has_post;
}

void kr_rulebook_changed(struct kr_rulebook *book)
{
	struct kr_context *ctx = book->ctx;
	examine(book);
	bool vary = false;
	bool nets = false;
	bool has_rules = false;
	for (unsigned i = 0; i < KR_BOOK_COUNT; ++i) {
		const struct kr_rulebook *it = ctx->rulebooks[i];
		vary |= it && it->sees_all;
		nets |= it && it->has_nets;
		has_rules |= it && has_own_rules(it);
	}
	ctx->answers_vary = vary;
	ctx->has_rules = has_rules;
	rules_sort_clients(ctx, nets);
	ctx->generation += 1;
}

static uint64_t place_of(
	const struct kr_rulebook *book, unsigned list, uint64_t order, const struct rule *rule)
{
	const uint64_t rank = book->longest && rule->net ? 128 - rule->net->bits : 0;
	return (uint64_t)list << PLACE_LIST_BITS | rank << PLACE_RANK_BITS | order;
}

struct kr_rule *kr_rule_add(
	struct kr_rulebook *book, enum kr_book_list list, const struct kr_rule_def *def)
{
	if (!book || (unsigned)list >= book->list_count)
		return NULL;
	struct rule_list *to = &book->lists[list];
	struct rule *rule = rule_new(def);
	if (!rule || array_reserve(to->all, to->all.len + 1) != 0) {
		kr_rule_unref(rule ? &rule->pub : NULL);
		return NULL;
	}
	rule->order = ++book->orders;
	rule->in_list = list;
	if (list_put(to, rule, def) != 0) {
		list_take(to, rule);
		kr_rule_unref(&rule->pub);
		return NULL;
	}
	rule->pub.place = place_of(book, list, rule->order, rule);
	(void)array_push(to->all, rule); /* there is room */
	kr_rulebook_changed(book);
	return &rule->pub;
}

void kr_rule_del(struct kr_rulebook *book, struct kr_rule *pub)
{
	if (!book || !pub || pub->is_dead)
		return;
	struct rule *rule = rule_of(pub);
	struct rule_list *list = &book->lists[rule->in_list];
	list_take(list, rule);
	size_t kept = 0;
	for (size_t i = 0; i < list->all.len; ++i) {
		if (list->all.at[i] != rule)
			list->all.at[kept++] = list->all.at[i];
	}
	list->all.len = kept;
	pub->is_dead = true;
	if (book->asked == pub)
		book->asked = NULL;
	kr_rule_unref(pub);
	kr_rulebook_changed(book);
}

void kr_rule_suspend(struct kr_rulebook *book, struct kr_rule *rule, bool suspended)
{
	rule->suspended = suspended;
	if (!rule->is_dead)
		kr_rulebook_changed(book);
}

void kr_rulebook_set_longest(struct kr_rulebook *book, bool longest)
{
	book->longest = longest;
	for (unsigned i = 0; i < book->list_count; ++i) {
		for (size_t j = 0; j < book->lists[i].all.len; ++j) {
			struct rule *rule = book->lists[i].all.at[j];
			rule->pub.place = place_of(book, i, rule->order, rule);
		}
	}
	kr_rulebook_changed(book);
}

void kr_rulebook_set_post(struct kr_rulebook *book, bool has_post)
{
	book->has_post = has_post;
	kr_rulebook_changed(book);
}

void kr_rulebook_check_aliases(struct kr_rulebook *book, bool wanted)
{
	book->checks_aliases = wanted;
	kr_rulebook_changed(book);
}

struct kr_rule *kr_rulebook_asked(const struct kr_rulebook *book)
{
	return book->asked;
}
