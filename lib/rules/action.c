/* SPDX-License-Identifier: GPL-3.0-or-later */

#include "lib/rules/action.h"

#include <string.h>
#include <libknot/descriptor.h>
#include <libknot/wire.h>

#include "lib/check.h"
#include "lib/log.h"
#include "lib/resolve.h"
#include "lib/utils.h"

/** TTL of forged records and of their absence, when none was given. */
#define ANSWER_TTL_S 1
/** Longest TTL (RFC 2181 section 8). */
#define TTL_MAX_S 0x7fffffff

/** A record of ANSWER, in the order in which they were added. */
struct forged {
	uint16_t type;
	uint16_t len;
	uint32_t ttl_s;
	uint8_t *rdata;
};

struct target {
	union kr_sockaddr addr;
	uint8_t group;
};

struct kr_action {
	enum kr_action_kind kind;
	uint32_t refs;
	char *label;
	uint32_t ttl_s; /**< of what is made up */
	bool has_ttl;

	char *text; /**< DENY: explanation */
	uint16_t ede_code;
	array_t(struct forged) records; /**< ANSWER */
	bool nodata;
	struct kr_qflags set, clear;    /**< FLAGS */
	array_t(struct target) targets; /**< FORWARD, STUB */
	bool no_fallback_on_timeout, no_fallback_on_servfail;
	struct kr_action *inner; /**< AUDIT */
	knot_dname_t *alias;
};

static const struct {
	const char *label;
	bool is_chain;
} kinds[] = {
	[KR_ACTION_PASS] = {"PASS", false},
	[KR_ACTION_DENY] = {"DENY", false},
	[KR_ACTION_DROP] = {"DROP", false},
	[KR_ACTION_REFUSE] = {"REFUSE", false},
	[KR_ACTION_NO_ANSWER] = {"NO_ANSWER", false},
	[KR_ACTION_TC] = {"TC", false},
	[KR_ACTION_ANSWER] = {"ANSWER", false},
	[KR_ACTION_FORWARD] = {"FORWARD", false},
	[KR_ACTION_TLS_FORWARD] = {"TLS_FORWARD", false},
	[KR_ACTION_STUB] = {"STUB", false},
	[KR_ACTION_FLAGS] = {"FLAGS", true},
	[KR_ACTION_TRACE] = {"QTRACE", true},
	[KR_ACTION_AUDIT] = {"AUDIT", true},
	[KR_ACTION_ALIAS] = {"ALIAS", false},
};

/* ---- making ---- */

struct kr_action *kr_action_new(enum kr_action_kind kind)
{
	if (kind < KR_ACTION_PASS || (size_t)kind >= KR_COUNT_OF(kinds))
		return NULL;
	struct kr_action *action = calloc(1, sizeof(*action));
	if (!action)
		return NULL;
	action->kind = kind;
	action->refs = 1;
	action->ede_code = KNOT_EDNS_EDE_BLOCKED;
	return action;
}

struct kr_action *kr_action_ref(struct kr_action *action)
{
	if (action)
		action->refs += 1;
	return action;
}

void kr_action_unref(struct kr_action *action)
{
	while (action && --action->refs == 0) {
		struct kr_action *inner = action->inner;
		for (size_t i = 0; i < action->records.len; ++i)
			free(action->records.at[i].rdata);
		array_clear(action->records);
		array_clear(action->targets);
		free(action->label);
		free(action->text);
		free(action->alias);
		free(action);
		action = inner;
	}
}

void kr_action_set_label(struct kr_action *action, const char *label)
{
	free(action->label);
	action->label = label ? strdup(label) : NULL;
}

int kr_action_set_message(struct kr_action *action, const char *text, uint16_t ede_code)
{
	if (text && strlen(text) > KR_ACTION_TEXT_MAX)
		return kr_error(EINVAL);
	char *copy = text ? strdup(text) : NULL;
	if (text && !copy)
		return kr_error(ENOMEM);
	free(action->text);
	action->text = copy;
	action->ede_code = ede_code;
	return kr_ok();
}

void kr_action_set_flags(
	struct kr_action *action, const struct kr_qflags *set, const struct kr_qflags *clear)
{
	action->set = *set;
	action->clear = *clear;
}

int kr_action_add_record(struct kr_action *action, uint16_t type, uint32_t ttl_s,
	const uint8_t *rdata, uint16_t rdlen)
{
	if (ttl_s > TTL_MAX_S)
		return kr_error(EINVAL);
	struct forged record = {.type = type, .len = rdlen, .ttl_s = ttl_s};
	record.rdata = malloc(KR_MAX(rdlen, 1));
	if (!record.rdata)
		return kr_error(ENOMEM);
	if (rdlen > 0)
		memcpy(record.rdata, rdata, rdlen);
	if (array_push(action->records, record) >= 0)
		return kr_ok();
	free(record.rdata);
	return kr_error(ENOMEM);
}

void kr_action_set_nodata(struct kr_action *action, bool nodata)
{
	action->nodata = nodata;
}

int kr_action_add_target(struct kr_action *action, const struct sockaddr *addr, unsigned group)
{
	const int family = kr_inaddr_family(addr);
	if ((family != AF_INET && family != AF_INET6) || group >= KR_FORWARD_GROUPS_MAX ||
		action->targets.len >= KR_CUT_ADDR_MAX ||
		(action->targets.len > 0 && array_tail(action->targets).group > group))
		return kr_error(EINVAL);
	struct target target = {.group = group};
	memcpy(&target.addr, addr, kr_sockaddr_len(addr));
	return array_push(action->targets, target) < 0 ? kr_error(ENOMEM) : kr_ok();
}

void kr_action_set_fallback(struct kr_action *action, bool on_timeout, bool on_servfail)
{
	action->no_fallback_on_timeout = !on_timeout;
	action->no_fallback_on_servfail = !on_servfail;
}

void kr_action_set_inner(struct kr_action *action, struct kr_action *inner)
{
	kr_action_unref(action->inner);
	action->inner = kr_action_ref(inner);
}

int kr_action_set_alias(struct kr_action *action, const knot_dname_t *target, uint32_t ttl_s)
{
	knot_dname_t *copy = knot_dname_copy(target, NULL);
	if (!copy)
		return kr_error(ENOMEM);
	free(action->alias);
	action->alias = copy;
	action->ttl_s = ttl_s;
	action->has_ttl = true;
	return kr_ok();
}

static int copy_lists(struct kr_action *copy, const struct kr_action *action)
{
	for (size_t i = 0; i < action->records.len; ++i) {
		const struct forged *it = &action->records.at[i];
		int ret = kr_action_add_record(copy, it->type, copy->ttl_s, it->rdata, it->len);
		if (ret != 0)
			return ret;
	}
	for (size_t i = 0; i < action->targets.len; ++i) {
		const struct target *it = &action->targets.at[i];
		int ret = kr_action_add_target(copy, &it->addr.ip, it->group);
		if (ret != 0)
			return ret;
	}
	return kr_ok();
}

struct kr_action *kr_action_with_ttl(const struct kr_action *action, uint32_t ttl_s)
{
	struct kr_action *copy = ttl_s > TTL_MAX_S ? NULL : kr_action_new(action->kind);
	if (!copy)
		return NULL;
	copy->nodata = action->nodata;
	copy->set = action->set;
	copy->clear = action->clear;
	copy->no_fallback_on_timeout = action->no_fallback_on_timeout;
	copy->no_fallback_on_servfail = action->no_fallback_on_servfail;
	copy->ttl_s = ttl_s;
	copy->has_ttl = true;
	kr_action_set_inner(copy, action->inner);
	kr_action_set_label(copy, action->label);
	int ret = kr_action_set_message(copy, action->text, action->ede_code);
	if (ret == 0 && action->alias)
		ret = kr_action_set_alias(copy, action->alias, ttl_s);
	if (ret == 0)
		ret = copy_lists(copy, action);
	if (ret == 0)
		return copy;
	kr_action_unref(copy);
	return NULL;
}

/* ---- properties ---- */

bool kr_action_is_chain(const struct kr_action *action)
{
	return kinds[action->kind].is_chain;
}

bool kr_action_is_route(const struct kr_action *action)
{
	return action->kind == KR_ACTION_FORWARD || action->kind == KR_ACTION_TLS_FORWARD ||
	       action->kind == KR_ACTION_STUB;
}

enum kr_repeat kr_action_repeat(const struct kr_action *action)
{
	switch (action->kind) {
	case KR_ACTION_DENY:
	case KR_ACTION_REFUSE:
	case KR_ACTION_TC:
	case KR_ACTION_ANSWER:
		return KR_REPEAT_MADE;
	case KR_ACTION_DROP:
	case KR_ACTION_NO_ANSWER:
	case KR_ACTION_TRACE:
	case KR_ACTION_AUDIT: /* to be logged each time */
		return KR_REPEAT_NEVER;
	default:
		return KR_REPEAT_RESOLVED;
	}
}

const char *kr_action_label(const struct kr_action *action)
{
	return action->label ? action->label : kinds[action->kind].label;
}

/* ---- answers made here ---- */

/** What an action is done with. */
struct deed {
	const struct kr_action *action;
	struct kr_request *req;
	struct kr_query *qry;
	const char *ede_text; /**< NULL = the usual one */
};

static void log_applied(const struct deed *deed, const char *what)
{
	if (!kr_log_is_debug_qry(POLICY, deed->qry))
		return;
	KR_DNAME_GET_STR(name, deed->qry->sname);
	KR_RRTYPE_GET_STR(type, deed->qry->stype);
	kr_log_q(deed->qry, POLICY, "%s applied for %s %s\n", what, name, type);
}

static void set_error(const struct deed *deed, int code, const char *text)
{
	if (deed->ede_text) {
		const char *copy = mm_strdup(&deed->req->pool, deed->ede_text);
		text = copy ? copy : text;
	}
	kr_request_set_extended_error(deed->req, code, text);
}

/** The answer as an empty page. @return NULL if there is none to be had */
static knot_pkt_t *clean_answer(const struct deed *deed)
{
	struct kr_request *req = deed->req;
	knot_pkt_t *answer = kr_request_ensure_answer(req);
	if (!answer)
		return NULL;
	kr_request_clear_selected(req);
	if (kr_pkt_clear_payload(answer) != 0)
		return NULL;
	knot_wire_clear_aa(answer->wire);
	knot_wire_clear_ad(answer->wire);
	knot_wire_clear_tc(answer->wire);
	knot_wire_set_rcode(answer->wire, KNOT_RCODE_NOERROR);
	kr_request_ensure_edns(req);
	return answer;
}

/** Append a name to rdata. */
static size_t put_name(uint8_t *at, const knot_dname_t *name)
{
	const size_t len = knot_dname_size(name);
	memcpy(at, name, len);
	return len;
}

/** The SOA of forged answers; the name of the question is owner and primary server. */
static void put_forged_soa(knot_pkt_t *answer, uint32_t ttl_s)
{
	static const uint8_t rname[] = "\6nobody\7invalid";
	static const uint32_t numbers[] = {1, 3600, 1200, 604800, 10800};
	uint8_t rdata[2 * KNOT_DNAME_MAXLEN + sizeof(numbers)];
	const knot_dname_t *owner = knot_pkt_qname(answer);
	size_t len = put_name(rdata, owner);
	len += put_name(rdata + len, rname);
	for (size_t i = 0; i < KR_COUNT_OF(numbers); ++i, len += 4)
		knot_wire_write_u32(rdata + len, numbers[i]);
	(void)kr_pkt_put(answer, owner, ttl_s, kr_pkt_qclass(answer), KNOT_RRTYPE_SOA, rdata, len);
}

static void put_explanation(knot_pkt_t *answer, const char *text, uint32_t ttl_s)
{
	static const uint8_t owner[] = "\13explanation\7invalid";
	uint8_t rdata[KR_ACTION_TEXT_MAX + 1];
	const size_t len = strlen(text);
	rdata[0] = len;
	memcpy(rdata + 1, text, len);
	if (knot_pkt_begin(answer, KNOT_ADDITIONAL) == KNOT_EOK)
		(void)kr_pkt_put(answer, owner, ttl_s, kr_pkt_qclass(answer), KNOT_RRTYPE_TXT,
			rdata, len + 1);
}

static int deny(const struct deed *deed, int state)
{
	const struct kr_action *action = deed->action;
	const uint32_t ttl_s = action->has_ttl ? action->ttl_s : KR_ACTION_TTL_S;
	knot_pkt_t *answer = clean_answer(deed);
	if (!answer)
		return 0;
	kr_pkt_make_auth_header(answer);
	knot_wire_set_rcode(answer->wire, KNOT_RCODE_NXDOMAIN);
	if (knot_pkt_begin(answer, KNOT_AUTHORITY) == KNOT_EOK)
		put_forged_soa(answer, ttl_s);
	if (action->text)
		put_explanation(answer, action->text, ttl_s);
	set_error(deed, action->ede_code, "CR36");
	log_applied(deed, action->label ? action->label : action->text ? "DENY_MSG" : "DENY");
	return KR_STATE_DONE;
}

static int refuse(const struct deed *deed, int rcode, const char *text, int state)
{
	knot_pkt_t *answer = clean_answer(deed);
	if (!answer)
		return 0;
	knot_wire_set_rcode(answer->wire, rcode);
	set_error(deed, KNOT_EDNS_EDE_PROHIBITED, text);
	log_applied(deed, kr_action_label(deed->action));
	return state;
}

static int no_answer(const struct deed *deed)
{
	deed->req->options.NO_ANSWER = true;
	log_applied(deed, kr_action_label(deed->action));
	return KR_STATE_FAIL;
}

/** Send clients to a stream; those who came by one are let pass. */
static int send_to_stream(const struct deed *deed, int state)
{
	struct kr_request *req = deed->req;
	if (!req->qsource.addr || req->qsource.flags.tcp)
		return state;
	knot_pkt_t *answer = clean_answer(deed);
	if (!answer)
		return 0;
	knot_wire_set_tc(answer->wire);
	log_applied(deed, kr_action_label(deed->action));
	return KR_STATE_DONE;
}

static const struct forged *find_record(const struct kr_action *action, uint16_t type)
{
	for (size_t i = 0; i < action->records.len; ++i) {
		if (action->records.at[i].type == type)
			return &action->records.at[i];
	}
	return NULL;
}

static void put_nodata(const struct deed *deed, knot_pkt_t *answer)
{
	const struct kr_action *action = deed->action;
	const struct forged *soa = find_record(action, KNOT_RRTYPE_SOA);
	if (knot_pkt_begin(answer, KNOT_AUTHORITY) != KNOT_EOK)
		return;
	if (soa)
		(void)kr_pkt_put(answer, knot_pkt_qname(answer), soa->ttl_s, kr_pkt_qclass(answer),
			soa->type, soa->rdata, soa->len);
	else
		put_forged_soa(answer, action->has_ttl ? action->ttl_s : ANSWER_TTL_S);
}

static void put_records(const struct deed *deed, knot_pkt_t *answer)
{
	const struct kr_action *action = deed->action;
	if (knot_pkt_begin(answer, KNOT_ANSWER) != KNOT_EOK)
		return;
	for (size_t i = 0; i < action->records.len; ++i) {
		const struct forged *it = &action->records.at[i];
		if (it->type == deed->qry->stype &&
			kr_pkt_put(answer, knot_pkt_qname(answer), it->ttl_s, kr_pkt_qclass(answer),
				it->type, it->rdata, it->len) == kr_error(KNOT_ESPACE)) {
			knot_wire_set_tc(answer->wire);
			return;
		}
	}
}

static int forge(const struct deed *deed)
{
	const bool has_type = find_record(deed->action, deed->qry->stype);
	if (!has_type && !deed->action->nodata)
		return 0;
	knot_pkt_t *answer = clean_answer(deed);
	if (!answer)
		return 0;
	kr_pkt_make_auth_header(answer);
	if (has_type)
		put_records(deed, answer);
	else
		put_nodata(deed, answer);
	set_error(deed, KNOT_EDNS_EDE_FORGED, "5DO5");
	log_applied(deed, has_type ? "ANSWER (forged)" : "ANSWER (nodata)");
	return KR_STATE_DONE;
}

/* ---- other ways to resolve ---- */

static int set_targets(const struct deed *deed)
{
	const struct kr_action *action = deed->action;
	struct kr_request *req = deed->req;
	const struct kr_qflags options = req->options;
	req->selection_context.forwarding_targets.len = 0;
	memset(req->selection_context.group_ends, 0, sizeof(req->selection_context.group_ends));
	uint8_t added = 0;
	unsigned groups = 0;
	unsigned last = UINT32_MAX;
	for (size_t i = 0; i < action->targets.len; ++i) {
		const struct target *it = &action->targets.at[i];
		if (kr_forward_add_target(req, &it->addr.ip) != 0)
			continue;
		added += 1;
		groups += it->group != last;
		last = it->group;
		req->selection_context.group_ends[groups - 1] = added;
	}
	req->selection_context.no_fallback_on_timeout = action->no_fallback_on_timeout;
	req->selection_context.no_fallback_on_servfail = action->no_fallback_on_servfail;
	if (added > 0)
		return kr_ok();
	kr_log_error(POLICY, "no usable forwarding target (address family disabled): %s%s\n",
		action->targets.len > 0 ? kr_straddr(&action->targets.at[0].addr.ip) : "none",
		options.NO_IPV4 && options.NO_IPV6 ? " (all families are)" : "");
	return kr_error(EADDRNOTAVAIL);
}

static int forward(const struct deed *deed, int state)
{
	struct kr_request *req = deed->req;
	struct kr_qflags *flags = &deed->qry->flags;
	log_applied(deed, kr_action_label(deed->action));
	if (set_targets(deed) != 0)
		return KR_STATE_FAIL;
	flags->ALWAYS_CUT = false;
	if (deed->action->kind == KR_ACTION_STUB) {
		flags->STUB = true;
		return state;
	}
	if (deed->action->kind == KR_ACTION_TLS_FORWARD)
		req->options.TCP = flags->TCP = true;
	req->options.FORWARD = req->options.NO_MINIMIZE = true;
	flags->FORWARD = flags->NO_MINIMIZE = flags->AWAIT_CUT = true;
	return state;
}

/** Name that an alias leads to: for `*.garden` the name itself is put before `garden`. */
static const knot_dname_t *alias_target(const struct deed *deed, knot_dname_storage_t buf)
{
	const knot_dname_t *alias = deed->action->alias;
	if (alias[0] != 1 || alias[1] != '*')
		return alias;
	const size_t own = knot_dname_size(deed->qry->sname) - 1;
	const size_t rest = knot_dname_size(alias + 2);
	if (own + rest > KNOT_DNAME_MAXLEN)
		return NULL;
	memcpy(buf, deed->qry->sname, own);
	memcpy(buf + own, alias + 2, rest);
	return buf;
}

/** The alias is the answer. */
static int put_alias(const struct deed *deed, const knot_dname_t *target)
{
	knot_pkt_t *answer = clean_answer(deed);
	if (!answer || knot_pkt_begin(answer, KNOT_ANSWER) != KNOT_EOK)
		return 0;
	kr_pkt_make_auth_header(answer);
	(void)kr_pkt_put(answer, knot_pkt_qname(answer), deed->action->ttl_s, kr_pkt_qclass(answer),
		KNOT_RRTYPE_CNAME, target, knot_dname_size(target));
	set_error(deed, KNOT_EDNS_EDE_FORGED, "5DO5");
	return KR_STATE_DONE;
}

/** An alias is put into the answer, and the query goes on with the name it leads to. */
static int go_elsewhere(const struct deed *deed, int state)
{
	struct kr_request *req = deed->req;
	struct kr_query *qry = deed->qry;
	knot_dname_storage_t buf;
	const knot_dname_t *target = alias_target(deed, buf);
	knot_dname_t *copy = target ? knot_dname_copy(target, &req->pool) : NULL;
	if (!copy || knot_dname_is_equal(copy, qry->sname))
		return 0;
	knot_rrset_t rr;
	knot_rrset_init(&rr, qry->sname, KNOT_RRTYPE_CNAME, qry->sclass, deed->action->ttl_s);
	if (knot_rrset_add_rdata(&rr, copy, knot_dname_size(copy), &req->pool) != KNOT_EOK)
		return 0;
	const int at = kr_ranked_rrarray_add(
		&req->answ_selected, &rr, KR_RANK_OMIT, true, qry->uid, &req->pool);
	if (at < 0)
		return 0;
	(void)kr_ranked_rrarray_finalize(&req->answ_selected, qry->uid, &req->pool);
	req->answ_selected.at[at]->dont_cache = true;
	set_error(deed, KNOT_EDNS_EDE_FORGED, "5DO5");
	log_applied(deed, kr_action_label(deed->action));
	kr_request_set_repeat(req, KR_REPEAT_NEVER);
	if (qry->stype == KNOT_RRTYPE_CNAME)
		return put_alias(deed, copy);
	knot_dname_to_lower(copy);
	qry->sname = copy;
	return state;
}

/* ---- flags ---- */

static int change_flags(const struct deed *deed)
{
	const struct kr_action *action = deed->action;
	kr_qflags_set(&deed->qry->flags, action->set);
	kr_qflags_clear(&deed->qry->flags, action->clear);
	kr_qflags_set(&deed->req->options, action->set);
	kr_qflags_clear(&deed->req->options, action->clear);
	return 0;
}

static int audit(const struct deed *deed)
{
	const struct kr_action *inner = deed->action->inner;
	const char *label = inner ? kr_action_label(inner) : kr_action_label(deed->action);
	if (!kr_log_is_on_(POLICY, LOG_INFO))
		return 0;
	KR_DNAME_GET_STR(name, deed->qry->sname);
	KR_RRTYPE_GET_STR(type, deed->qry->stype);
	kr_log_info(POLICY, "AUDIT: %s would be applied for %s %s\n", label, name, type);
	return 0;
}

int kr_action_apply_as(
	const struct kr_action *action, struct kr_request *req, int state, const char *ede_text)
{
	struct kr_query *qry = req->current_query ? req->current_query : req->rplan.initial;
	const struct deed deed = {action, req, qry, ede_text};
	if (!qry)
		return 0;
	switch (action->kind) {
	case KR_ACTION_PASS:
		log_applied(&deed, kr_action_label(action));
		return state;
	case KR_ACTION_DENY:
		return deny(&deed, state);
	case KR_ACTION_DROP:
		return refuse(&deed, KNOT_RCODE_SERVFAIL, "U5KL", KR_STATE_FAIL);
	case KR_ACTION_REFUSE:
		return refuse(&deed, KNOT_RCODE_REFUSED, "EIM4", KR_STATE_DONE);
	case KR_ACTION_NO_ANSWER:
		return no_answer(&deed);
	case KR_ACTION_TC:
		return send_to_stream(&deed, state);
	case KR_ACTION_ANSWER:
		return forge(&deed);
	case KR_ACTION_FORWARD:
	case KR_ACTION_TLS_FORWARD:
	case KR_ACTION_STUB:
		return forward(&deed, state);
	case KR_ACTION_FLAGS:
		return change_flags(&deed);
	case KR_ACTION_TRACE:
		req->options.TRACE = qry->flags.TRACE = true;
		return 0;
	case KR_ACTION_AUDIT:
		return audit(&deed);
	case KR_ACTION_ALIAS:
		return go_elsewhere(&deed, state);
	}
	return 0;
}

int kr_action_apply(const struct kr_action *action, struct kr_request *req, int state)
{
	return kr_action_apply_as(action, req, state, NULL);
}

int kr_action_apply_late(
	const struct kr_action *action, struct kr_request *req, int state, const char *ede_text)
{
	const struct deed deed = {action, req, req->rplan.initial, ede_text};
	knot_dname_storage_t buf;
	const knot_dname_t *target;
	switch (action->kind) {
	case KR_ACTION_FORWARD:
	case KR_ACTION_TLS_FORWARD:
	case KR_ACTION_STUB:
	case KR_ACTION_FLAGS:
	case KR_ACTION_TRACE:
		return 0;
	case KR_ACTION_ALIAS:
		target = deed.qry ? alias_target(&deed, buf) : NULL;
		return target ? put_alias(&deed, target) : 0;
	default:
		return kr_action_apply_as(action, req, state, ede_text);
	}
}

void kr_action_even_ttls(struct kr_action *action)
{
	for (size_t i = 0; i < action->records.len; ++i) {
		struct forged *a = &action->records.at[i];
		for (size_t j = 0; j < i; ++j) {
			struct forged *b = &action->records.at[j];
			if (a->type == b->type)
				a->ttl_s = b->ttl_s = KR_MIN(a->ttl_s, b->ttl_s);
		}
	}
}
