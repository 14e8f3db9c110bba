/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Questions without recursion desired are refused: nobody may snoop in the cache. */

#include "lib/module.h"
#include "lib/resolve.h"
#include "lib/utils.h"

#include <libknot/wire.h>

static int refuse_begin(kr_layer_t *ctx)
{
	struct kr_request *req = ctx->req;
	const knot_pkt_t *question = req->qsource.packet;
	if (!question || knot_wire_get_rd(question->wire))
		return ctx->state;
	knot_pkt_t *answer = kr_request_ensure_answer(req);
	if (!answer)
		return ctx->state;
	/* An earlier module may have put records in; a refusal has none. */
	knot_rrset_t *opt = answer->opt_rr;
	kr_request_clear_selected(req);
	kr_pkt_clear_payload(answer);
	answer->opt_rr = opt;
	knot_wire_set_rcode(answer->wire, KNOT_RCODE_REFUSED);
	knot_wire_clear_ad(answer->wire);
	knot_wire_clear_aa(answer->wire);
	kr_request_set_extended_error(req, KNOT_EDNS_EDE_NOTAUTH, "ABC4");
	return KR_STATE_DONE;
}

KR_EXPORT
int refuse_nord_init(struct kr_module *module);

int refuse_nord_init(struct kr_module *module)
{
	static const kr_layer_api_t layer = {.begin = refuse_begin,
		.is_skippable = true,
		.concerns = kr_layer_unconcerned}; /* the short way is for RD only */
	module->layer = &layer;
	return kr_ok();
}

KR_MODULE_EXPORT(refuse_nord)
