/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * asprintf() and vasprintf() are the system's; afmt() returns the text itself.
 */
#pragma once

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/** Formatted text; malloc()ed, NULL if out of memory. */
__attribute__((format(printf, 1, 2))) static inline char *afmt(const char *fmt, ...)
{
	char *text = NULL;
	va_list args;
	va_start(args, fmt);
	const int len = vasprintf(&text, fmt, args);
	va_end(args);
	return len < 0 ? NULL : text;
}
