/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Logging: groups, levels and targets. A line is written if its level is at least as severe as the
 * set one or its group is being debugged. Lines about a request carry its number and reach its
 * trace whatever the level. Text ends with a newline; one event is one line.
 */
#pragma once

#include <syslog.h>

#include "lib/defines.h"

struct kr_query;
struct kr_request;

typedef int kr_log_level_t;

typedef enum {
	LOG_TARGET_SYSLOG = 0,
	LOG_TARGET_STDERR = 1,
	LOG_TARGET_STDOUT = 2,
	LOG_TARGET_DEFAULT = LOG_TARGET_STDERR,
} kr_log_target_t;

/** Groups; names in lib/log.c. The order is the contract of the extension API. */
enum kr_log_group {
	LOG_GRP_UNKNOWN = -1,
	LOG_GRP_SYSTEM = 1,
	LOG_GRP_CACHE,
	LOG_GRP_IO,
	LOG_GRP_NETWORK,
	LOG_GRP_TA,
	LOG_GRP_TLS,
	LOG_GRP_GNUTLS,
	LOG_GRP_TLSCLIENT,
	LOG_GRP_XDP,
	LOG_GRP_DOH,
	LOG_GRP_DNSSEC,
	LOG_GRP_HINT,
	LOG_GRP_PLAN,
	LOG_GRP_ITERATOR,
	LOG_GRP_VALIDATOR,
	LOG_GRP_RESOLVER,
	LOG_GRP_SELECTION,
	LOG_GRP_ZCUT,
	LOG_GRP_COOKIES,
	LOG_GRP_STATISTICS,
	LOG_GRP_REBIND,
	LOG_GRP_WORKER,
	LOG_GRP_POLICY,
	LOG_GRP_TASENTINEL,
	LOG_GRP_TASIGNALING,
	LOG_GRP_TAUPDATE,
	LOG_GRP_DAF,
	LOG_GRP_DETECTTIMEJUMP,
	LOG_GRP_DETECTTIMESKEW,
	LOG_GRP_GRAPHITE,
	LOG_GRP_PREFILL,
	LOG_GRP_PRIMING,
	LOG_GRP_SRVSTALE,
	LOG_GRP_WATCHDOG,
	LOG_GRP_NSID,
	LOG_GRP_DNSTAP,
	LOG_GRP_TESTS,
	LOG_GRP_DOTAUTH,
	LOG_GRP_HTTP,
	LOG_GRP_CONTROL,
	LOG_GRP_MODULE,
	LOG_GRP_DEVEL,
	LOG_GRP_RENUMBER,
	LOG_GRP_EDE,
	LOG_GRP_REQDBG,
	LOG_GRP_COUNT_
};

/** Current level; read by the macros so that a silent line costs one comparison. */
KR_EXPORT extern kr_log_level_t kr_log_level;
/** Bit per group at debug level. */
KR_EXPORT extern uint64_t kr_log_groups_mask;

KR_EXPORT
void kr_log_level_set(kr_log_level_t level);
KR_EXPORT
const char *kr_log_level2name(kr_log_level_t level);
/** LOG_* or -1. */
KR_EXPORT
kr_log_level_t kr_log_name2level(const char *name);
KR_EXPORT
const char *kr_log_grp2name(enum kr_log_group group);
/** LOG_GRP_UNKNOWN if there is none of that name. */
KR_EXPORT
enum kr_log_group kr_log_name2grp(const char *name);
KR_EXPORT
bool kr_log_group_is_set(enum kr_log_group group);
KR_EXPORT
void kr_log_group_add(enum kr_log_group group);
KR_EXPORT
void kr_log_group_reset(void);
KR_EXPORT
kr_log_target_t kr_log_target_get(void);
/** The target as a value. */
#define kr_log_target kr_log_target_get()
KR_EXPORT
int kr_log_target_set(kr_log_target_t target);

/** Takes finished lines when the target is syslog (journal with fields). file and line: CODE_FILE=,
 * CODE_LINE= or NULL. */
typedef void (*kr_log_sink_f)(enum kr_log_group group, kr_log_level_t level, const char *file,
	const char *line, const char *func, const char *text);
/** @param sink NULL = syslog(3) */
KR_EXPORT
void kr_log_set_sink(kr_log_sink_f sink);

/** Write one line; use the macros. */
KR_EXPORT KR_PRINTF(6, 7) void kr_log_fmt(enum kr_log_group group, kr_log_level_t level,
	const char *file, const char *line, const char *func, const char *fmt, ...);

/** Does anybody want debug lines of the group about this request (NULL: about none)? */
KR_EXPORT
bool kr_log_is_debug_fun(enum kr_log_group group, const struct kr_request *req);
/** A debug line `[group ][RRRRR.QQ] indent text` about a request. */
KR_EXPORT KR_PRINTF(5, 6) void kr_log_req1(const struct kr_request *req, uint32_t qry_uid,
	unsigned indent, enum kr_log_group group, const char *fmt, ...);
/** Same, taking numbers and indentation from the query. */
KR_EXPORT KR_PRINTF(3, 4) void kr_log_q1(
	const struct kr_query *qry, enum kr_log_group group, const char *fmt, ...);

#define KR_LOG_STR_(x) #x
#define KR_LOG_STR(x) KR_LOG_STR_(x)
#define KR_LOG_LINE_ "CODE_LINE=" KR_LOG_STR(__LINE__)

#define kr_log_is_on_(grp, level)                                                                  \
	((level) <= kr_log_level || unlikely(kr_log_groups_mask & (1ULL << LOG_GRP_##grp)))
#define kr_log_at_(grp, level, ...)                                                                \
	(kr_log_is_on_(grp, level) ? kr_log_fmt(LOG_GRP_##grp, (level), "CODE_FILE=" __FILE__,     \
					     KR_LOG_LINE_, __func__, __VA_ARGS__)                  \
				   : (void)0)

#define kr_log_debug(grp, ...) kr_log_at_(grp, LOG_DEBUG, __VA_ARGS__)
#define kr_log_info(grp, ...) kr_log_at_(grp, LOG_INFO, __VA_ARGS__)
#define kr_log_notice(grp, ...) kr_log_at_(grp, LOG_NOTICE, __VA_ARGS__)
#define kr_log_warning(grp, ...) kr_log_at_(grp, LOG_WARNING, __VA_ARGS__)
#define kr_log_error(grp, ...) kr_log_at_(grp, LOG_ERR, __VA_ARGS__)
#define kr_log_crit(grp, ...) kr_log_at_(grp, LOG_CRIT, __VA_ARGS__)
#define kr_log_deprecate(grp, fmt, ...)                                                            \
	kr_log_at_(grp, LOG_WARNING, "deprecation WARNING: " fmt, ##__VA_ARGS__)
#define kr_log(...) kr_log_at_(MODULE, LOG_INFO, __VA_ARGS__)

#define kr_log_is_debug(grp, req)                                                                  \
	(unlikely(kr_log_is_on_(grp, LOG_DEBUG)) || kr_log_is_debug_fun(LOG_GRP_##grp, (req)))
#define kr_log_is_debug_qry(grp, qry) kr_log_is_debug(grp, (qry) ? (qry)->request : NULL)

/** Debug line about a query; arguments are evaluated only if it is wanted. */
#define kr_log_q(qry, grp, ...)                                                                    \
	(kr_log_is_debug_fun(LOG_GRP_##grp, (qry) ? (qry)->request : NULL)                         \
			? kr_log_q1((qry), LOG_GRP_##grp, __VA_ARGS__)                             \
			: (void)0)
/** Debug line about a request. */
#define kr_log_req(req, qry_uid, indent, grp, ...)                                                 \
	(kr_log_is_debug_fun(LOG_GRP_##grp, (req))                                                 \
			? kr_log_req1((req), (qry_uid), (indent), LOG_GRP_##grp, __VA_ARGS__)      \
			: (void)0)
