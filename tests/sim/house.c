/* SPDX-License-Identifier: GPL-3.0-or-later */

#include "tests/sim/house.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "daemon/engine.h"

struct house {
	struct engine engine;
	uv_loop_t loop; /**< what event.* of the configuration hangs on; it never runs */
};

/** A configuration being written. */
struct config {
	char *text;
	size_t len;
	FILE *file;
};

KR_PRINTF(2, 3)
static void line(struct config *cfg, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	vfprintf(cfg->file, fmt, args);
	va_end(args);
	fputc('\n', cfg->file);
}

static const char *boolean(bool value)
{
	return value ? "true" : "false";
}

static void basic_lines(struct config *cfg, const struct house_params *params)
{
	const struct rpl_scenario *sc = params->scenario;
	/* Nobody has scripted answers to questions of their own. */
	line(cfg, "for _, name in ipairs({'ta_update', 'ta_signal_query', 'priming', "
		  "'detect_time_skew'}) do");
	line(cfg, "  for _, loaded in ipairs(modules.list()) do");
	line(cfg, "    if loaded == name then modules.unload(name) end");
	line(cfg, "  end");
	line(cfg, "end");
	line(cfg, "trust_anchors.remove('.')");
	line(cfg, "cache.open(2*MB, 'lmdb://%s')", params->cache_dir);
	line(cfg, "net.bufsize(4096)");
	line(cfg, "net.ipv4 = %s", boolean(rpl_is_on(rpl_option(sc, "do-ip4", 0), true)));
	line(cfg, "net.ipv6 = %s", boolean(rpl_is_on(rpl_option(sc, "do-ip6", 0), true)));
	line(cfg, "option('NO_MINIMIZE', %s)", boolean(!params->minimize));
	if (!rpl_is_on(rpl_option(sc, "do-not-query-localhost", 0), true))
		line(cfg, "option('ALLOW_LOCAL', true)");
	line(cfg, "mode('%s')",
		rpl_is_on(rpl_option(sc, "harden-glue", 0), true) ? "normal" : "permissive");
	line(cfg, "for _, name in ipairs({'stats', 'policy', 'hints'}) do modules.load(name) end");
	line(cfg, "policy.add(policy.suffix(policy.PASS, {todname('test.')}))");
}

static void root_lines(struct config *cfg, const struct rpl_scenario *sc)
{
	const char *name = rpl_option(sc, "stub-name", 0);
	const char *addr = rpl_option(sc, "stub-addr", 0);
	if (addr)
		line(cfg, "hints.root({['%s'] = '%s'})", name ? name : "k.root-servers.net.", addr);
	const char *forward = rpl_option(sc, "forward-addr", 0);
	if (forward)
		line(cfg, "policy.add(policy.all(policy.FORWARD('%s')))", forward);
}

static void anchor_lines(struct config *cfg, const struct rpl_scenario *sc)
{
	const char *value;
	for (int i = 0; (value = rpl_option(sc, "trust-anchor", i)); ++i) {
		char text[4096];
		snprintf(text, sizeof(text), "%s", value);
		for (char *at = text; *at;
			++at) /* parentheses join lines where there is only one */
			*at = *at == '(' || *at == ')' ? ' ' : *at;
		line(cfg, "trust_anchors.add([[%s]])", text);
	}
	if (!rpl_option(sc, "domain-insecure", 0))
		return;
	fputs("trust_anchors.set_insecure({", cfg->file);
	for (int i = 0; (value = rpl_option(sc, "domain-insecure", i)); ++i)
		fprintf(cfg->file, "[[%s]],", value);
	line(cfg, "})");
}

/** Value of one feature in `a=b; c=d`, or NULL. */
static const char *feature(const struct rpl_scenario *sc, const char *key, char *buf, size_t size)
{
	const char *all;
	for (int i = 0; (all = rpl_option(sc, "features", i)); ++i) {
		for (const char *at = all; *at;) {
			const size_t len = strcspn(at, ";");
			char name[64] = "", value[192] = "";
			char item[320];
			snprintf(item, sizeof(item), "%.*s", (int)len, at);
			if (sscanf(item, " %63[^= ] = %191[^;]", name, value) == 2 &&
				strcmp(name, key) == 0) {
				for (size_t n = strlen(value); n > 0 && value[n - 1] == ' '; --n)
					value[n - 1] = '\0';
				snprintf(buf, size, "%s", value);
				return buf;
			}
			at += len + (at[len] == ';');
		}
	}
	return NULL;
}

static void feature_lines(struct config *cfg, const struct rpl_scenario *sc)
{
	char a[192], b[192];
	if (feature(sc, "min_ttl", a, sizeof(a)))
		line(cfg, "cache.min_ttl(%s)", a);
	if (feature(sc, "max_ttl", a, sizeof(a)))
		line(cfg, "cache.max_ttl(%s)", a);
	if (feature(sc, "dns64_prefix", a, sizeof(a)))
		line(cfg, "modules = { dns64 = '%s' }", a);
	if (feature(sc, "static_hint_name", a, sizeof(a)) &&
		feature(sc, "static_hint_addr", b, sizeof(b)))
		line(cfg, "hints['%s'] = '%s'", a, b);
	if (feature(sc, "renumber_src", a, sizeof(a)) && feature(sc, "renumber_dst", b, sizeof(b)))
		line(cfg, "modules = { renumber = {{'%s', '%s'}} }", a, b);
	if (feature(sc, "workarounds", a, sizeof(a)))
		line(cfg, "modules.load('workarounds < iterate')");
	const char *value;
	for (int i = 0; (value = rpl_option(sc, "feature-list", i)); ++i) {
		if (strncmp(value, "view=", 5) == 0)
			line(cfg, "modules.load('view') %s", value + 5);
		else if (strncmp(value, "policy=", 7) == 0)
			line(cfg, "%s", value + 7);
		else
			line(cfg, "%s", value);
	}
}

/** @return malloc()ed Lua text */
static char *write_config(const struct house_params *params)
{
	struct config cfg = {0};
	cfg.file = open_memstream(&cfg.text, &cfg.len);
	if (!cfg.file)
		return NULL;
	basic_lines(&cfg, params);
	root_lines(&cfg, params->scenario);
	anchor_lines(&cfg, params->scenario);
	feature_lines(&cfg, params->scenario);
	if (params->extra)
		line(&cfg, "%s", params->extra);
	fclose(cfg.file);
	return cfg.text;
}

struct house *house_open(const struct house_params *params, struct rpl_error *error)
{
	struct house *house = calloc(1, sizeof(*house));
	char *config = write_config(params);
	if (!house || !config || uv_loop_init(&house->loop) != 0)
		abort();
	struct engine *engine = &house->engine;
	simnet_drive(params->net, &engine->resolver);
	engine->net.loop = &house->loop;
	int ret = engine_init(engine, &params->net->io);
	if (ret == 0)
		ret = engine_load_sandbox(engine);
	if (ret == 0)
		ret = engine_loadstr(engine, config, "scenario");
	free(config);
	if (ret != 0) {
		snprintf(error->text, sizeof(error->text), "the resolver does not start: error %d",
			ret);
		house_close(house);
		return NULL;
	}
	engine->worker.l0_enabled = engine->worker.quick_enabled = params->use_l0;
	return house;
}

struct worker_ctx *house_worker(struct house *house)
{
	return &house->engine.worker;
}

void house_close(struct house *house)
{
	engine_deinit(&house->engine);
	while (uv_run(&house->loop, UV_RUN_NOWAIT) != 0)
		;
	uv_loop_close(&house->loop);
	free(house);
}
