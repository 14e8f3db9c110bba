/* SPDX-License-Identifier: GPL-3.0-or-later */

#include "lib/log.h"

#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/request.h"

/** Longest line; what is longer is cut. */
#define LINE_MAX_LEN 8192

kr_log_level_t kr_log_level = LOG_NOTICE;
uint64_t kr_log_groups_mask = 0;

static kr_log_target_t log_target = LOG_TARGET_DEFAULT;
static kr_log_sink_f log_sink = NULL;

static const char *const level_names[] = {
	[LOG_CRIT] = "crit",
	[LOG_ERR] = "err",
	[LOG_WARNING] = "warning",
	[LOG_NOTICE] = "notice",
	[LOG_INFO] = "info",
	[LOG_DEBUG] = "debug",
};

static const char *const group_names[LOG_GRP_COUNT_] = {
	[LOG_GRP_SYSTEM] = "system",
	[LOG_GRP_CACHE] = "cache",
	[LOG_GRP_IO] = "io",
	[LOG_GRP_NETWORK] = "net",
	[LOG_GRP_TA] = "ta",
	[LOG_GRP_TLS] = "tls",
	[LOG_GRP_GNUTLS] = "gnutls",
	[LOG_GRP_TLSCLIENT] = "tls_cl",
	[LOG_GRP_XDP] = "xdp",
	[LOG_GRP_DOH] = "doh",
	[LOG_GRP_DNSSEC] = "dnssec",
	[LOG_GRP_HINT] = "hint",
	[LOG_GRP_PLAN] = "plan",
	[LOG_GRP_ITERATOR] = "iterat",
	[LOG_GRP_VALIDATOR] = "valdtr",
	[LOG_GRP_RESOLVER] = "resolv",
	[LOG_GRP_SELECTION] = "select",
	[LOG_GRP_ZCUT] = "zoncut",
	[LOG_GRP_COOKIES] = "cookie",
	[LOG_GRP_STATISTICS] = "statis",
	[LOG_GRP_REBIND] = "rebind",
	[LOG_GRP_WORKER] = "worker",
	[LOG_GRP_POLICY] = "policy",
	[LOG_GRP_TASENTINEL] = "tasent",
	[LOG_GRP_TASIGNALING] = "tasign",
	[LOG_GRP_TAUPDATE] = "taupd",
	[LOG_GRP_DAF] = "daf",
	[LOG_GRP_DETECTTIMEJUMP] = "timejm",
	[LOG_GRP_DETECTTIMESKEW] = "timesk",
	[LOG_GRP_GRAPHITE] = "graphi",
	[LOG_GRP_PREFILL] = "prefil",
	[LOG_GRP_PRIMING] = "primin",
	[LOG_GRP_SRVSTALE] = "srvstl",
	[LOG_GRP_WATCHDOG] = "wtchdg",
	[LOG_GRP_NSID] = "nsid",
	[LOG_GRP_DNSTAP] = "dnstap",
	[LOG_GRP_TESTS] = "tests",
	[LOG_GRP_DOTAUTH] = "dotaut",
	[LOG_GRP_HTTP] = "http",
	[LOG_GRP_CONTROL] = "contrl",
	[LOG_GRP_MODULE] = "module",
	[LOG_GRP_DEVEL] = "devel",
	[LOG_GRP_RENUMBER] = "renum",
	[LOG_GRP_EDE] = "exterr",
	[LOG_GRP_REQDBG] = "reqdbg",
};

void kr_log_level_set(kr_log_level_t level)
{
	if (level < LOG_CRIT || level > LOG_DEBUG) {
		kr_log_warning(SYSTEM, "invalid log level\n");
		return;
	}
	kr_log_level = level;
}

const char *kr_log_level2name(kr_log_level_t level)
{
	return level >= LOG_CRIT && level <= LOG_DEBUG ? level_names[level] : NULL;
}

kr_log_level_t kr_log_name2level(const char *name)
{
	for (int i = LOG_CRIT; name && i <= LOG_DEBUG; ++i) {
		if (strcmp(level_names[i], name) == 0)
			return i;
	}
	return -1;
}

const char *kr_log_grp2name(enum kr_log_group group)
{
	return group > 0 && group < LOG_GRP_COUNT_ ? group_names[group] : NULL;
}

enum kr_log_group kr_log_name2grp(const char *name)
{
	for (int i = 1; name && i < LOG_GRP_COUNT_; ++i) {
		if (strcmp(group_names[i], name) == 0)
			return i;
	}
	return LOG_GRP_UNKNOWN;
}

bool kr_log_group_is_set(enum kr_log_group group)
{
	if (group <= 0 || group >= LOG_GRP_COUNT_)
		return false;
	return group == LOG_GRP_REQDBG || (kr_log_groups_mask & (1ULL << group));
}

void kr_log_group_add(enum kr_log_group group)
{
	if (group > 0 && group < LOG_GRP_COUNT_)
		kr_log_groups_mask |= 1ULL << group;
}

void kr_log_group_reset(void)
{
	kr_log_groups_mask = 0;
}

kr_log_target_t kr_log_target_get(void)
{
	return log_target;
}

int kr_log_target_set(kr_log_target_t target)
{
	if (target < LOG_TARGET_SYSLOG || target > LOG_TARGET_STDOUT)
		return kr_error(EINVAL);
	log_target = target;
	return kr_ok();
}

void kr_log_set_sink(kr_log_sink_f sink)
{
	log_sink = sink;
}

/** Is there room for a piece that the kernel takes at once? Files always have. */
static bool is_writable(int fd)
{
	struct pollfd item = {.fd = fd, .events = POLLOUT};
	return poll(&item, 1, 0) != 0 && !(item.revents & (POLLERR | POLLHUP | POLLNVAL));
}

/** A line that cannot be written now is lost rather than waited for (F-42). */
static bool write_now(int fd, const char *line, size_t len)
{
	while (len > 0) {
		/* A pipe that is writable takes that much without blocking. */
		const size_t piece = KR_MIN(len, (size_t)PIPE_BUF);
		if (!is_writable(fd))
			return false;
		const ssize_t done = write(fd, line, piece);
		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return false;
		line += done;
		len -= done;
	}
	return true;
}

static void write_line(int fd, const char *line, size_t len)
{
	static uint64_t lost;
	if (lost > 0) {
		char text[64];
		const int text_len = snprintf(text, sizeof(text),
			"[system] %llu log lines were lost\n", (unsigned long long)lost);
		if (!write_now(fd, text, text_len)) {
			lost += 1;
			return;
		}
		lost = 0;
	}
	if (!write_now(fd, line, len))
		lost += 1;
}

void kr_log_fmt(enum kr_log_group group, kr_log_level_t level, const char *file, const char *line,
	const char *func, const char *fmt, ...)
{
	if (level > kr_log_level && !kr_log_group_is_set(group))
		return;
	const int saved = errno;
	char text[LINE_MAX_LEN];
	const char *name = kr_log_grp2name(group);
	/* Lines of traced requests have a prefix of their own behind this one. */
	const int prefix = snprintf(
		text, sizeof(text), group == LOG_GRP_REQDBG ? "[%s]" : "[%-6s] ", name ? name : "");
	va_list args;
	va_start(args, fmt);
	int len = vsnprintf(text + prefix, sizeof(text) - prefix, fmt, args);
	va_end(args);
	len = KR_MIN(prefix + KR_MAX(len, 0), (int)sizeof(text) - 1);
	if (log_sink && log_target == LOG_TARGET_SYSLOG)
		log_sink(group, level, file, line, func, text);
	else if (log_target == LOG_TARGET_SYSLOG)
		syslog(level, "%s", text);
	else
		write_line(
			log_target == LOG_TARGET_STDOUT ? STDOUT_FILENO : STDERR_FILENO, text, len);
	errno = saved;
}

bool kr_log_is_debug_fun(enum kr_log_group group, const struct kr_request *req)
{
	return (req && req->trace_log) || kr_log_level >= LOG_DEBUG || kr_log_group_is_set(group);
}

/** Format a line about a request and give it to log and trace. */
KR_PRINTF(5, 0)
static void log_request(const struct kr_request *req, uint32_t qry_uid, unsigned indent,
	enum kr_log_group group, const char *fmt, va_list args)
{
	const int saved = errno;
	char text[LINE_MAX_LEN];
	const char *name = kr_log_grp2name(group);
	const bool is_reqdbg = group == LOG_GRP_REQDBG; /* made by a rule of module policy */
	const int prefix =
		snprintf(text, sizeof(text), "%s[%-6s][%05u.%02u] %*s", is_reqdbg ? "[reqdbg]" : "",
			is_reqdbg ? "policy"
			: name    ? name
				  : "",
			req ? req->uid : 0, qry_uid, (int)KR_MIN(indent, 64), "");
	int len = vsnprintf(text + prefix, sizeof(text) - prefix, fmt, args);
	len = KR_MIN(prefix + KR_MAX(len, 0), (int)sizeof(text) - 1);
	if (req && req->trace_log)
		req->trace_log(req, text);
	if (kr_log_level >= LOG_DEBUG || kr_log_group_is_set(group)) {
		if (log_sink && log_target == LOG_TARGET_SYSLOG)
			log_sink(group, LOG_DEBUG, NULL, NULL, NULL, text);
		else if (log_target == LOG_TARGET_SYSLOG)
			syslog(LOG_DEBUG, "%s", text);
		else
			write_line(log_target == LOG_TARGET_STDOUT ? STDOUT_FILENO : STDERR_FILENO,
				text, len);
	}
	errno = saved;
}

void kr_log_req1(const struct kr_request *req, uint32_t qry_uid, unsigned indent,
	enum kr_log_group group, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	log_request(req, qry_uid, indent, group, fmt, args);
	va_end(args);
}

void kr_log_q1(const struct kr_query *qry, enum kr_log_group group, const char *fmt, ...)
{
	unsigned indent = 0;
	for (const struct kr_query *q = qry ? qry->parent : NULL; q; q = q->parent)
		indent += 2;
	va_list args;
	va_start(args, fmt);
	log_request(qry ? qry->request : NULL, qry ? qry->uid : 0, indent, group, fmt, args);
	va_end(args);
}
