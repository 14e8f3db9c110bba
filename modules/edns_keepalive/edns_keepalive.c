/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Tell clients on streams how long an idle connection is kept (RFC 7828). */

#include "lib/module.h"
#include "lib/resolve.h"

#include <libknot/rrtype/opt.h>
#include <libknot/wire.h>

/** Unit of the option, RFC 7828 section 3.1. */
#define KEEPALIVE_UNIT_MS 100

static int keepalive_finalize(kr_layer_t *ctx)
{
	struct kr_request *req = ctx->req;
	const knot_pkt_t *question = req->qsource.packet;
	knot_pkt_t *answer = req->answer;
	const bool is_wanted = req->qsource.flags.tcp && answer && answer->opt_rr && question &&
			       knot_pkt_edns_option(question, KNOT_EDNS_OPTION_TCP_KEEPALIVE);
	if (!is_wanted)
		return ctx->state;
	const uint64_t units = req->ctx->stream_idle_ms / KEEPALIVE_UNIT_MS;
	uint8_t value[2];
	knot_wire_write_u16(value, KR_MIN(units, UINT16_MAX));
	(void)knot_edns_add_option(
		answer->opt_rr, KNOT_EDNS_OPTION_TCP_KEEPALIVE, sizeof(value), value, &req->pool);
	return ctx->state;
}

KR_EXPORT
int edns_keepalive_init(struct kr_module *module);

int edns_keepalive_init(struct kr_module *module)
{
	static const kr_layer_api_t layer = {.answer_finalize = keepalive_finalize,
		.is_skippable = true,
		.concerns = kr_layer_unconcerned}; /* questions with options go the long way */
	module->layer = &layer;
	return kr_ok();
}

KR_MODULE_EXPORT(edns_keepalive)
