/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/log_target.h"

#include <endian.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/log.h"

#define JOURNAL_SOCKET "/run/systemd/journal/socket"
#define JOURNAL_SIGN "/run/systemd/system" /**< there when systemd has booted this host */
#define SYSLOG_SOCKET "/dev/log"
#define IDENT "kresd"

static struct {
	int fd;
	bool is_journal;
	uint64_t lost;
} target = {.fd = -1};

static int connect_to(const char *path)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (const struct sockaddr *)&addr, sizeof(addr)) != 0) {
		close(fd);
		fd = -1;
	}
	return fd;
}

static bool open_target(void)
{
	struct stat st;
	if (target.fd >= 0)
		return true;
	target.is_journal = lstat(JOURNAL_SIGN, &st) == 0 && S_ISDIR(st.st_mode);
	target.fd = connect_to(target.is_journal ? JOURNAL_SOCKET : SYSLOG_SOCKET);
	return target.fd >= 0;
}

/** Fields of the journal's own protocol: a value with line breaks has its length in front. */
static bool send_journal(int level, const char *file, const char *line, const char *text)
{
	char head[512];
	const size_t text_len = strlen(text);
	const uint64_t len_le = htole64(text_len);
	const int head_len = snprintf(head, sizeof(head),
		"PRIORITY=%d\nSYSLOG_IDENTIFIER=" IDENT "\n%s%s%s%sMESSAGE\n", level,
		file ? file : "", file ? "\n" : "", line ? line : "", line ? "\n" : "");
	struct iovec parts[] = {
		{.iov_base = head, .iov_len = head_len},
		{.iov_base = (void *)&len_le, .iov_len = sizeof(len_le)},
		{.iov_base = (void *)text, .iov_len = text_len},
		{.iov_base = (void *)"\n", .iov_len = 1},
	};
	const struct msghdr message = {.msg_iov = parts, .msg_iovlen = 4};
	return sendmsg(target.fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
}

static bool send_syslog(int level, const char *text)
{
	char head[64];
	const int head_len = snprintf(
		head, sizeof(head), "<%d>" IDENT "[%d]: ", LOG_DAEMON | level, (int)getpid());
	struct iovec parts[] = {
		{.iov_base = head, .iov_len = head_len},
		{.iov_base = (void *)text, .iov_len = strlen(text)},
	};
	const struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
	return sendmsg(target.fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
}

static bool send_line(int level, const char *file, const char *line, const char *text)
{
	if (!open_target())
		return false;
	if (target.is_journal ? send_journal(level, file, line, text) : send_syslog(level, text))
		return true;
	if (errno != EAGAIN && errno != ENOBUFS && errno != EMSGSIZE) { /* restarted, perhaps */
		close(target.fd);
		target.fd = -1;
	}
	return false;
}

static void take_line(enum kr_log_group group, kr_log_level_t level, const char *file,
	const char *line, const char *func, const char *text)
{
	char copy[8192];
	snprintf(copy, sizeof(copy), "%s", text);
	const size_t len = strlen(copy);
	if (len > 0 && copy[len - 1] == '\n')
		copy[len - 1] = '\0';
	if (target.lost > 0) {
		char told[64];
		snprintf(told, sizeof(told), "[system] %llu log lines were lost",
			(unsigned long long)target.lost);
		if (send_line(LOG_WARNING, NULL, NULL, told))
			target.lost = 0;
	}
	if (!send_line(level, file, line, copy))
		target.lost += 1;
}

void log_target_start(void)
{
	kr_log_set_sink(take_line);
}
