/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Rules at work: the hooks of modules whose rules are here, and what the answer cache asks. */

#include <string.h>
#include <libknot/wire.h>

#include "lib/log.h"
#include "lib/resolve.h"
#include "lib/rules/rules_impl.h"

/** Longest text that names a rule. */
#define LABEL_MAX 128

static struct kr_query *first_query(const struct kr_request *req)
{
	return req->rplan.initial ? req->rplan.initial : req->current_query;
}

/* ---- applying ---- */

/** Text for the client that names the rule. @return NULL = the usual one */
static const char *ede_text(const struct rule *rule, const struct match *match, char *buf)
{
	if (!rule->label)
		return NULL;
	if (!rule->list || match->hit.is_addr) {
		snprintf(buf, LABEL_MAX, "%s", rule->label);
		return buf;
	}
	KR_DNAME_GET_STR(name, kr_list_entry_name(match->question->name, &match->hit));
	snprintf(buf, LABEL_MAX, "%s: %s", rule->label, name);
	return buf;
}

static void log_listed(struct kr_request *req, const struct rule *rule, const struct match *match)
{
	if (!kr_log_is_debug(POLICY, req))
		return;
	const knot_dname_t *at = match->question->name;
	KR_DNAME_GET_STR(name, match->hit.is_addr ? at : kr_list_entry_name(at, &match->hit));
	kr_log_req(req, 0, 0, POLICY, "list %s, entry %s\n", kr_list_name(rule->list),
		match->hit.is_addr ? "about an address" : name);
}

/** What to do about an entry of a list. @return action with a reference, NULL = ask */
static struct kr_action *action_of(struct kr_request *req, struct rule *rule, struct match *match)
{
	if (!rule->list)
		return kr_action_ref(rule->action);
	match_again(match, rule);
	log_listed(req, rule, match);
	kr_list_count(rule->list, match->question->name, &match->hit);
	if (match->hit.verdict == KR_VERDICT_LISTED)
		return kr_action_ref(rule->action);
	return kr_list_action(rule->list, &match->hit);
}

/** May the answer be given to others who ask the same? */
static void mark_repeat(
	struct kr_request *req, const struct rule *rule, const struct kr_action *action)
{
	/* Those that are found by name are to be counted each time they match. */
	const bool is_always = rule->filter == KR_FILTER_ALL && !rule->key_name;
	kr_request_set_repeat(
		req, is_always && action ? kr_action_repeat(action) : KR_REPEAT_NEVER);
}

static int apply(struct kr_rulebook *book, struct kr_request *req, struct rule *rule,
	struct match *match, int state)
{
	char buf[LABEL_MAX];
	if (rule->pub.is_unsure) {
		book->asked = &rule->pub;
		return KR_RULES_ASK;
	}
	rule->pub.count += 1;
	struct kr_action *action = action_of(req, rule, match);
	mark_repeat(req, rule, action);
	if (!action) {
		book->asked = &rule->pub;
		return KR_RULES_ASK;
	}
	const int ret = kr_action_apply_as(action, req, state, ede_text(rule, match, buf));
	kr_action_unref(action);
	return ret;
}

int kr_rulebook_run(struct kr_rulebook *book, struct kr_request *req, int state, uint64_t from)
{
	const struct kr_query *qry = first_query(req);
	if (!qry)
		return 0;
	const struct kr_rule_question question = {
		.name = qry->sname,
		.source = req->qsource.addr,
		.destination = req->qsource.dst_addr,
	};
	struct match match;
	match_init(&match, &question, req);
	for (unsigned i = from >> PLACE_LIST_BITS; i < book->list_count; ++i) {
		if (book->lists[i].all.len == 0)
			continue;
		match_list(&match, &book->lists[i]);
		struct rule *rule;
		while ((rule = match_next(&match, from))) {
			from = rule->pub.place;
			const int ret = apply(book, req, rule, &match, state);
			if (ret == 0)
				continue;
			if (ret != KR_RULES_ASK)
				req->rules_end = rule->pub.place;
			return ret;
		}
	}
	return 0;
}

/* ---- hooks ---- */

static int begin(kr_layer_t *ctx, enum kr_book which)
{
	struct kr_request *req = ctx->req;
	struct kr_rulebook *book = req->ctx->rulebooks[which];
	if ((ctx->state & (KR_STATE_FAIL | KR_STATE_DONE)) || !book || req->options.NO_RULES)
		return ctx->state;
	const int ret = kr_rulebook_run(book, req, ctx->state, 0);
	return ret == 0 ? ctx->state : ret;
}

static int policy_begin(kr_layer_t *ctx)
{
	return begin(ctx, KR_BOOK_POLICY);
}

static int view_begin(kr_layer_t *ctx)
{
	/* Requests of our own belong to nobody. */
	return ctx->req->qsource.packet ? begin(ctx, KR_BOOK_VIEW) : ctx->state;
}

static int policy_finish(kr_layer_t *ctx)
{
	const struct kr_rulebook *book = ctx->req->ctx->rulebooks[KR_BOOK_POLICY];
	return book && book->has_post ? KR_RULES_ASK : ctx->state;
}

static int policy_answer_finalize(kr_layer_t *ctx)
{
	struct kr_rulebook *book = ctx->req->ctx->rulebooks[KR_BOOK_POLICY];
	if (!book || !book->has_response || ctx->state != KR_STATE_DONE ||
		ctx->req->options.NO_RULES)
		return ctx->state;
	return rules_examine_answer(book, ctx->req, ctx->state);
}

/** Count the rules that matched when the answer was made: names had no part in it. */
static void count_again(struct kr_rulebook *book, const struct kr_repeated *what)
{
	if (!book || !book->has_always)
		return;
	const struct kr_rule_question question = {NULL, what->addr, what->dst_addr};
	struct match match;
	match_init(&match, &question, NULL);
	for (unsigned i = 0; i < book->list_count; ++i) {
		uint64_t from = 0;
		match_list(&match, &book->lists[i]);
		struct rule *rule;
		while ((rule = match_next(&match, from))) {
			from = rule->pub.place;
			rule->pub.count += 1;
			if (rule->action && !kr_action_is_chain(rule->action))
				return;
		}
	}
}

static void policy_repeated(const kr_layer_api_t *api, const struct kr_repeated *what)
{
	(void)api;
	count_again(the_resolver->rulebooks[KR_BOOK_POLICY], what);
}

static void view_repeated(const kr_layer_api_t *api, const struct kr_repeated *what)
{
	(void)api;
	count_again(the_resolver->rulebooks[KR_BOOK_VIEW], what);
}

const kr_layer_api_t *kr_rules_layer(const char *module)
{
	static const kr_layer_api_t policy = {
		.begin = policy_begin,
		.finish = policy_finish,
		.answer_finalize = policy_answer_finalize,
		.repeated = policy_repeated,
	};
	static const kr_layer_api_t view = {
		.begin = view_begin,
		.repeated = view_repeated,
	};
	if (strcmp(module, "policy") == 0)
		return &policy;
	return strcmp(module, "view") == 0 ? &view : NULL;
}

/* ---- classes of clients ---- */

/** Two clients whose smallest networks are the same are in the same networks altogether. */
static bool add_class(uint64_t *class, const struct kr_nets *nets, const struct sockaddr *addr)
{
	const struct kr_net *found[KR_NETS_DEPTH_MAX];
	const size_t count = addr && kr_nets_len(nets) > 0 ? kr_nets_find(nets, addr, found) : 0;
	*class = *class * (kr_nets_len(nets) + 1ULL) + (count > 0 ? found[count - 1]->id : 0);
	return *class < KR_CLIENT_UNIQUE;
}

/** Is the client's own address in a list? */
static bool is_listed(const struct rule_list *list, const struct sockaddr *addr)
{
	struct kr_list_hit hit;
	const uint8_t *raw = (const uint8_t *)kr_inaddr(addr);
	for (size_t i = 0; raw && i < list->all.len; ++i) {
		const struct rule *rule = list->all.at[i];
		if (rule->list && kr_list_find_addr(rule->list, KR_TRIGGER_CLIENT_IP,
					  kr_inaddr_family(addr), raw, &hit) != KR_VERDICT_NONE)
			return true;
	}
	return false;
}

static uint32_t class_of(void *data, const struct kr_client *client)
{
	const struct kr_context *ctx = data;
	uint64_t class = 0;
	for (unsigned i = 0; i < KR_BOOK_COUNT; ++i) {
		const struct kr_rulebook *book = ctx->rulebooks[i];
		for (unsigned j = 0; book && book->has_nets && j < book->list_count; ++j) {
			const struct rule_list *list = &book->lists[j];
			if (!add_class(&class, list->sources, client->addr) ||
				!add_class(&class, list->destinations, client->dst_addr) ||
				is_listed(list, client->addr))
				return KR_CLIENT_UNIQUE;
		}
	}
	return class;
}

void rules_sort_clients(struct kr_context *ctx, bool nets_matter)
{
	ctx->client_class = nets_matter ? class_of : NULL;
	ctx->client_class_data = ctx;
}
