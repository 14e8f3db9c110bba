/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Checks of our own invariants. Input from network, configuration or cache is never checked with
 * these: it is an error code.
 */
#pragma once

#include "lib/defines.h"

/** Abort on a failed soft check (debugging.assertion_abort). */
KR_EXPORT extern bool kr_dbg_assertion_abort;
/** Shortest time between two core dumps of soft checks, in ms; 0 = none (debugging.assertion_fork).
 */
KR_EXPORT extern int kr_dbg_assertion_fork;

/** Called by the macros; logs, and dies if `is_fatal` or configured so. */
KR_EXPORT KR_COLD void kr_fail(
	bool is_fatal, const char *expr, const char *func, const char *file, int line);

/** Memory is no longer to be trusted unless x holds: abort. */
#define kr_require(x) (likely(x) ? (void)0 : kr_fail(true, #x, __func__, __FILE__, __LINE__))
/** Our bug if x does not hold: log and survive. */
#define kr_assert(x) ((void)kr_fails_assert(x))
/** True if x does not hold, after logging it: `if (kr_fails_assert(p)) return kr_error(EINVAL);` */
#define kr_fails_assert(x)                                                                         \
	(likely(x) ? false : (kr_fail(false, #x, __func__, __FILE__, __LINE__), true))
