/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * The resolver under test, configured as a scenario says, over a simulated network.
 */
#pragma once

#include "tests/sim/rpl.h"
#include "tests/sim/simnet.h"
#include "daemon/worker.h"

struct house;

struct house_params {
	const struct rpl_scenario *scenario;
	struct simnet *net;
	const char *cache_dir; /**< empty folder */
	bool minimize;
	bool use_l0;       /**< answer cache on */
	const char *extra; /**< additional configuration or NULL */
};

/** @return NULL with an error text */
struct house *house_open(const struct house_params *params, struct rpl_error *error);
struct worker_ctx *house_worker(struct house *house);
void house_close(struct house *house);
