/* SPDX-License-Identifier: GPL-3.0-or-later */

#include "lib/check.h"

#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib/log.h"

bool kr_dbg_assertion_abort = false;
int kr_dbg_assertion_fork = 300000;

/** A core dump of a child shows where we were; the process itself goes on. */
static void dump_core_of_child(void)
{
	static struct timespec last;
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	const int64_t since_ms = (now.tv_sec - last.tv_sec) * (int64_t)1000;
	if (last.tv_sec != 0 && since_ms < kr_dbg_assertion_fork)
		return;
	last = now;
	const pid_t pid = fork();
	if (pid == 0)
		abort();
	if (pid > 0)
		(void)waitpid(pid, NULL, 0);
}

void kr_fail(bool is_fatal, const char *expr, const char *func, const char *file, int line)
{
	const int saved = errno;
	if (is_fatal)
		kr_log_crit(
			SYSTEM, "requirement \"%s\" failed in %s@%s:%d\n", expr, func, file, line);
	else
		kr_log_error(
			SYSTEM, "assertion \"%s\" failed in %s@%s:%d\n", expr, func, file, line);
	if (is_fatal || (kr_dbg_assertion_abort && kr_dbg_assertion_fork == 0))
		abort();
	if (kr_dbg_assertion_abort)
		dump_core_of_child();
	errno = saved;
}
