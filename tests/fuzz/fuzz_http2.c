/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Whatever a client may send over an open TLS connection, cut where the first octet says. Every
 * other request is answered at once, the rest when the input is over.
 */
#include "daemon/transport/http2.h"
#include "daemon/transport/test_stack.h"
#include "lib/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
			      "\0\0\0\4\0\0\0\0\0";

static void answer(struct rig *rig, size_t i)
{
	const uint8_t wire[40] = {0};
	const struct stage_facts to = {
		.stream_id = rig->messages.at[i].stream_id, .is_malformed = i % 3 == 0};
	const struct bytes out =
		i % 3 == 0 ? (struct bytes){NULL, 0} : (struct bytes){wire, sizeof(wire)};
	(void)stack_send(rig->stack, &to, out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct http2_param param;
	const struct stack_item item = {&http2_stage, &param};
	struct rig rig;
	if (size < 2 || size > 65536 || rig_init(&rig, &item, 1) != 0)
		return 0;
	const size_t step = data[0] % 64 + 1;
	int ret = rig_tell(&rig, STAGE_OPEN);
	if (ret == 0 && data[0] >= 64) /* most inputs should get past the beginning */
		ret = rig_feed(&rig, preface, sizeof(preface) - 1);
	size_t seen = 0;
	for (size_t at = 1; at < size && ret == 0; at += step) {
		ret = rig_feed(&rig, data + at, KR_MIN(step, size - at));
		for (; seen < rig.messages.len; ++seen)
			if (seen % 2 == 0)
				answer(&rig, seen);
		if (ret == 0)
			ret = rig_tell(&rig, STAGE_FLUSH);
	}
	for (size_t i = 1; i < seen && ret == 0; i += 2)
		answer(&rig, i);
	(void)rig_tell(&rig, STAGE_SHUTDOWN);
	for (size_t i = 0; i < rig.messages.len; ++i)
		kr_require(rig.messages.at[i].len > 0 && rig.messages.at[i].len <= KR_DNS_WIRE_MAX);
	rig_deinit(&rig);
	return 0;
}
