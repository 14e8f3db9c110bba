/* SPDX-License-Identifier: GPL-3.0-or-later */

#include "tests/sim/house.h"

#include <stdio.h>
#include <string.h>
#include <libknot/rrtype/opt.h>

#include "lib/dnssec/ta.h"
#include "lib/module.h"
#include "lib/zonecut.h"

struct house {
	struct kr_context ctx;
	struct worker_ctx worker;
	module_array_t modules;
};

static int load_layers(struct house *house)
{
	static const char *const names[] = {"iterate", "validate", "cache"};
	house->ctx.modules = &house->modules;
	for (size_t i = 0; i < KR_COUNT_OF(names); ++i) {
		struct kr_module *module = calloc(1, sizeof(*module));
		module->data = &house->ctx;
		int ret = kr_module_load(module, names[i], NULL);
		if (ret != 0)
			return ret;
		array_push(house->modules, module);
	}
	return kr_modules_changed(&house->ctx);
}

static int set_root(struct house *house, const struct rpl_scenario *sc)
{
	const char *name = rpl_option(sc, "stub-name", 0);
	const char *addr = rpl_option(sc, "stub-addr", 0);
	knot_dname_storage_t ns;
	struct sockaddr *sa = addr ? kr_straddr_socket(addr, 53, NULL) : NULL;
	if (!knot_dname_from_str(ns, name ? name : "k.root-servers.net", sizeof(ns)) || !sa)
		return kr_error(EINVAL);
	kr_zonecut_set(&house->ctx.root_hints, (const uint8_t *)"");
	int ret = kr_zonecut_add(&house->ctx.root_hints, ns, kr_inaddr(sa), kr_inaddr_len(sa));
	free(sa);
	return ret;
}

struct house *house_open(const struct house_params *params, struct rpl_error *error)
{
	struct house *house = calloc(1, sizeof(*house));
	struct kr_context *ctx = &house->ctx;
	const struct rpl_scenario *sc = params->scenario;
	simnet_drive(params->net, ctx);
	int ret = kr_context_init(ctx, NULL);
	struct kr_cdb_opts opts = {.path = params->cache_dir, .maxsize = 2 * 1024 * 1024};
	if (ret == 0)
		ret = kr_cache_open(&ctx->cache, NULL, &opts, NULL);
	if (ret == 0)
		ret = load_layers(house);
	if (ret == 0)
		ret = set_root(house, sc);
	if (ret == 0)
		ret = worker_init(&house->worker, ctx, &params->net->io);
	if (ret != 0) {
		snprintf(error->text, sizeof(error->text), "the resolver does not start: %d", ret);
		return NULL;
	}
	knot_edns_set_payload(ctx->downstream_opt_rr, 4096);
	knot_edns_set_payload(ctx->upstream_opt_rr, 4096);
	ctx->options.NO_MINIMIZE = !params->minimize;
	ctx->options.ALLOW_LOCAL = !rpl_is_on(rpl_option(sc, "do-not-query-localhost", 0), true);
	ctx->options.PERMISSIVE = !rpl_is_on(rpl_option(sc, "harden-glue", 0), true);
	ctx->options.NO_IPV4 = !rpl_is_on(rpl_option(sc, "do-ip4", 0), true);
	ctx->options.NO_IPV6 = !rpl_is_on(rpl_option(sc, "do-ip6", 0), true);
	ctx->options.REORDER_RR = false;
	house->worker.l0_enabled = house->worker.quick_enabled = params->use_l0;
	return house;
}

struct worker_ctx *house_worker(struct house *house)
{
	return &house->worker;
}

void house_close(struct house *house)
{
	worker_deinit(&house->worker);
	while (house->modules.len > 0) {
		struct kr_module *module = array_tail(house->modules);
		array_pop(house->modules);
		kr_module_unload(module);
		free(module);
	}
	array_clear(house->modules);
	kr_context_deinit(&house->ctx);
	free(house);
}
