/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Name this instance in answers to those who ask (RFC 5001). */

#include "lib/module.h"
#include "lib/resolve.h"
#include "lib/log.h"

#include <string.h>
#include <libknot/rrtype/opt.h>

/** Longest name; it has to leave room in a small answer. */
#define NSID_MAX 255

struct nsid {
	kr_layer_api_t layer;
	char name[NSID_MAX + 1];
};

static int nsid_finalize(kr_layer_t *ctx)
{
	const struct kr_module *module = ctx->api->data;
	const struct nsid *nsid = module->data;
	struct kr_request *req = ctx->req;
	const knot_pkt_t *question = req->qsource.packet;
	knot_pkt_t *answer = req->answer;
	if (!nsid->name[0] || !question || !answer || !answer->opt_rr ||
		!knot_pkt_edns_option(question, KNOT_EDNS_OPTION_NSID))
		return ctx->state;
	(void)knot_edns_add_option(answer->opt_rr, KNOT_EDNS_OPTION_NSID, strlen(nsid->name),
		(const uint8_t *)nsid->name, &req->pool);
	return ctx->state;
}

/** nsid.name([text]): set it if given, return what is set. */
static char *nsid_name(void *env, struct kr_module *module, const char *input)
{
	struct nsid *nsid = module->data;
	if (input && strlen(input) > NSID_MAX) {
		kr_log_error(NSID, "name is longer than %d bytes and was not set\n", NSID_MAX);
		return NULL;
	}
	if (input) {
		struct kr_context *ctx = env;
		memcpy(nsid->name, input, strlen(input) + 1);
		ctx->generation += 1; /* it is in answers that are repeated */
	}
	return nsid->name[0] ? strdup(nsid->name) : NULL;
}

KR_EXPORT
int nsid_init(struct kr_module *module);
KR_EXPORT
int nsid_deinit(struct kr_module *module);

int nsid_init(struct kr_module *module)
{
	static const struct kr_prop props[] = {
		{nsid_name, "name", "Get or set the name of this instance"},
		{NULL, NULL, NULL},
	};
	struct nsid *nsid = calloc(1, sizeof(*nsid));
	if (!nsid)
		return kr_error(ENOMEM);
	nsid->layer.answer_finalize = nsid_finalize;
	nsid->layer.concerns = kr_layer_unconcerned;
	nsid->layer.is_skippable = true; /* answers to those who ask for it are kept apart */
	nsid->layer.data = module;
	module->data = nsid;
	module->layer = &nsid->layer;
	module->props = props;
	return kr_ok();
}

int nsid_deinit(struct kr_module *module)
{
	free(module->data);
	module->data = NULL;
	return kr_ok();
}

KR_MODULE_EXPORT(nsid)
