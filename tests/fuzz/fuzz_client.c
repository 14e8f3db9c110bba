/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Any message from a client, over a network on which nobody answers. Input: one byte (odd: over a
 * stream), then the message. */

#include <libknot/packet/wire.h>

#include "tests/fuzz/resolver_rig.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum sim_reaction silence(void *owner, struct sim_arrival *arrival)
{
	return SIM_SILENCE;
}

static bool refuse(void *owner, const union kr_sockaddr *server)
{
	return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rpl_option options[] = {{"stub-addr", "192.0.2.53", 0}};
	rig_open(silence, refuse, options, KR_COUNT_OF(options));
	if (size < 1 || size > KR_DNS_WIRE_MAX)
		return 0;
	rig_ask(data + 1, size - 1, data[0] & 1);
	if (rig.answer_len > 0 &&
		(rig.answer_len < KNOT_WIRE_HEADER_SIZE || !knot_wire_get_qr(rig.answer) ||
			memcmp(rig.answer, data + 1, 2) != 0))
		abort();
	return 0;
}
