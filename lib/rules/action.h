/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * What a rule does to a request. Actions are made once, when rules are defined, and never change
 * when in use; they are counted, as several rules and requests may hold the same one.
 */
#pragma once

#include "lib/request.h"

/** Seconds that clients may keep a forged negative answer, unless told otherwise. */
#define KR_ACTION_TTL_S 10800
/** Longest text of an explanation: one string of a TXT record. */
#define KR_ACTION_TEXT_MAX 254

enum kr_action_kind {
	KR_ACTION_PASS = 1,
	KR_ACTION_DENY,
	KR_ACTION_DROP, /**< SERVFAIL */
	KR_ACTION_REFUSE,
	KR_ACTION_NO_ANSWER, /**< silence */
	KR_ACTION_TC,
	KR_ACTION_ANSWER,
	KR_ACTION_FORWARD,
	KR_ACTION_TLS_FORWARD,
	KR_ACTION_STUB,
	KR_ACTION_FLAGS, /**< chain */
	KR_ACTION_TRACE, /**< chain */
	KR_ACTION_AUDIT, /**< chain: say what another action would do */
	KR_ACTION_ALIAS, /**< the answer is an alias, which is then resolved */
};

struct kr_action;

/** @return action with one reference; NULL: no such kind, or out of memory */
KR_EXPORT
struct kr_action *kr_action_new(enum kr_action_kind kind);
KR_EXPORT
struct kr_action *kr_action_ref(struct kr_action *action);
/** NULL is fine. */
KR_EXPORT
void kr_action_unref(struct kr_action *action);
/** A copy with another TTL for what the action makes up. @return NULL if out of memory */
KR_EXPORT
struct kr_action *kr_action_with_ttl(const struct kr_action *action, uint32_t ttl_s);

/** Name in the log, e.g. DENY. Not copied. */
KR_EXPORT
void kr_action_set_label(struct kr_action *action, const char *label);
/** DENY: explanation for the client (NULL = none) and EDE code. @return 0, EINVAL, ENOMEM */
KR_EXPORT
int kr_action_set_message(struct kr_action *action, const char *text, uint16_t ede_code);
/** FLAGS: what to set and to clear. */
KR_EXPORT
void kr_action_set_flags(
	struct kr_action *action, const struct kr_qflags *set, const struct kr_qflags *clear);
/** ANSWER: add a record of that type, its owner being the name asked for. @return 0, EINVAL, ENOMEM
 */
KR_EXPORT
int kr_action_add_record(struct kr_action *action, uint16_t type, uint32_t ttl_s,
	const uint8_t *rdata, uint16_t rdlen);
/** ANSWER: types without records do not exist (instead of being left to other rules). */
KR_EXPORT
void kr_action_set_nodata(struct kr_action *action, bool nodata);
/** FORWARD, STUB: a server of group 0… @return 0, EINVAL, ENOMEM */
KR_EXPORT
int kr_action_add_target(struct kr_action *action, const struct sockaddr *target, unsigned group);
/** FORWARD, STUB: what makes the next group take over. */
KR_EXPORT
void kr_action_set_fallback(struct kr_action *action, bool on_timeout, bool on_servfail);
/** AUDIT: the action that is not done; ALIAS: none. Takes a reference. */
KR_EXPORT
void kr_action_set_inner(struct kr_action *action, struct kr_action *inner);
/** ALIAS: where to; `*.name` puts what was asked for before it. @return 0, EINVAL, ENOMEM */
KR_EXPORT
int kr_action_set_alias(struct kr_action *action, const knot_dname_t *target, uint32_t ttl_s);

/** Does the next rule have its say, too? */
KR_EXPORT KR_PURE bool kr_action_is_chain(const struct kr_action *action);
/** Does it only choose who is asked? */
KR_PURE bool kr_action_is_route(const struct kr_action *action);
/** Is what it does the same for everybody who asks the same question over the same transport? */
KR_PURE enum kr_repeat kr_action_repeat(const struct kr_action *action);
KR_EXPORT KR_PURE const char *kr_action_label(const struct kr_action *action);

/**
 * Do it.
 * @param state  of the request
 * @return new state; 0 = the next rule is to be asked
 */
KR_EXPORT
int kr_action_apply(const struct kr_action *action, struct kr_request *req, int state);
/** Same, with the name of the rule for the EDE text (NULL = the usual text). */
int kr_action_apply_as(
	const struct kr_action *action, struct kr_request *req, int state, const char *ede_text);
/** Same, when the answer is finished: what changes the way to it has no effect any more. */
int kr_action_apply_late(
	const struct kr_action *action, struct kr_request *req, int state, const char *ede_text);
/** ANSWER: records of a type have one TTL, the smallest (RFC 2181 section 5.2). */
void kr_action_even_ttls(struct kr_action *action);
