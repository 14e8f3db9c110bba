/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * A resolver on a simulated network for fuzz targets: made once, without cache file, asked again
 * and again. What must hold whatever the input: at most one answer, an end within the time limit,
 * nothing left open.
 */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/house.h"

struct rig {
	struct simnet net;
	struct house *house;
	struct worker_ctx *worker;
	struct worker_client client;
	int told;
	size_t answer_len;
	uint8_t answer[KR_DNS_WIRE_MAX];
};

static struct rig rig;

static void rig_take_answer(struct worker_client *client, const struct worker_query *query,
	struct bytes wire, const struct kr_request *req)
{
	rig.told += 1;
	rig.answer_len = wire.at ? wire.len : 0;
	if (wire.at)
		memcpy(rig.answer, wire.at, wire.len);
}

static char rig_dir[] = "/tmp/kres-fuzz-XXXXXX";

static void rig_remove_dir(void)
{
	char command[64];
	snprintf(command, sizeof(command), "rm -r %s", rig_dir);
	if (system(command) != 0)
		fprintf(stderr, "%s stays\n", rig_dir);
}

static void rig_open(
	sim_server_f server, sim_accepts_f accepts, struct rpl_option *options, size_t options_len)
{
	struct rpl_scenario sc = {.options = {.at = (void *)options, .len = options_len}};
	struct rpl_error error = {""};
	if (rig.house)
		return;
	if (!mkdtemp(rig_dir))
		abort();
	simnet_init(&rig.net, 1, 1700000000);
	rig.net.server = server;
	rig.net.accepts = accepts;
	rig.client.answer = rig_take_answer;
	const struct house_params params = {
		.scenario = &sc, .net = &rig.net, .cache_dir = rig_dir, .minimize = false};
	rig.house = house_open(&params, &error);
	if (!rig.house) {
		fprintf(stderr, "%s\n", error.text);
		abort();
	}
	rig.worker = house_worker(rig.house);
	atexit(rig_remove_dir);
}

/** Hand in a message and let everything happen that happens. */
static void rig_ask(const uint8_t *wire, size_t len, bool is_stream)
{
	static const union kr_sockaddr client = {
		.ip4 = {.sin_family = AF_INET, .sin_port = 0x409c, .sin_addr.s_addr = 0x0700007f}};
	const struct worker_query query = {
		.wire = {wire, len},
		.addr = &client.ip,
		.flags.tcp = is_stream,
		.comm_flags.tcp = is_stream,
		.stream_id = -1,
	};
	rig.told = 0;
	rig.answer_len = 0;
	worker_submit(rig.worker, &rig.client, &query);
	worker_loop_end(rig.worker);
	simnet_pass(&rig.net, KR_REQUEST_TIME_MS + 1);
	if (rig.told > 1 || rig.worker->stats.concurrent != 0 || rig.client.in_flight != 0)
		abort();
	simnet_pass(&rig.net, 2 * WORKER_STREAM_IDLE_MS);
	if (rig.net.open != 0 || rig.net.timers != 0)
		abort();
}
