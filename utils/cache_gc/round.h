/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * One round of the garbage collector: look at all entries, choose the most dispensable ones, remove
 * them in small transactions so that resolvers are not kept waiting for the lock.
 */
#pragma once

#include <signal.h>

#include "lib/defines.h"

struct gc_config {
	const char *path;
	unsigned interval_ms;   /**< between rounds; 0 = one round only */
	unsigned threshold;     /**< percent of usage to act from */
	unsigned free_percent;  /**< of the contents, to free in a round */
	unsigned write_records; /**< removals per transaction; 0 = no limit */
	unsigned read_records;  /**< reads per transaction; 0 = no limit */
	unsigned write_us;      /**< longest write transaction; 0 = no limit */
	unsigned pause_us;      /**< between write transactions */
	size_t keys_bytes;      /**< memory for collected keys; 0 = no limit */
	bool is_dry;
	bool is_verbose;
	volatile sig_atomic_t *stop; /**< give up as soon as it is > 1 */
};

/**
 * Do one round.
 * @return 0 (also if there is no cache now); kr_error(EAGAIN) try again; kr_error(ENOSPC); other
 * errors
 */
int gc_round(const struct gc_config *config);
