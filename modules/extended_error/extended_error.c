/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Say in the answer why it is what it is (RFC 8914). */

#include "lib/module.h"
#include "lib/resolve.h"

#include <string.h>
#include <libknot/rrtype/opt.h>
#include <libknot/wire.h>

static int ede_finalize(kr_layer_t *ctx)
{
	struct kr_request *req = ctx->req;
	const struct kr_extended_error *ede = &req->extended_error;
	knot_pkt_t *answer = req->answer;
	if (ede->info_code == KR_EDE_NONE || !answer || !answer->opt_rr)
		return ctx->state;
	const size_t text_len = ede->extra_text ? strnlen(ede->extra_text, KR_EDE_TEXT_MAX) : 0;
	uint8_t value[2 + KR_EDE_TEXT_MAX];
	knot_wire_write_u16(value, ede->info_code);
	if (text_len > 0)
		memcpy(value + 2, ede->extra_text, text_len);
	(void)knot_edns_add_option(
		answer->opt_rr, KNOT_EDNS_OPTION_EDE, 2 + text_len, value, &req->pool);
	return ctx->state;
}

KR_EXPORT
int extended_error_init(struct kr_module *module);

int extended_error_init(struct kr_module *module)
{
	static const kr_layer_api_t layer = {.answer_finalize = ede_finalize,
		.is_skippable = true,
		.concerns = kr_layer_unconcerned};
	module->layer = &layer;
	return kr_ok();
}

KR_MODULE_EXPORT(extended_error)
