/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Whatever a server of DNS over HTTPS may send to us, cut where the first octet says. There are
 * always some questions waiting for an answer.
 */
#include "daemon/transport/http2_client.h"
#include "daemon/transport/test_stack.h"
#include "lib/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define QUESTIONS 4

static int ask(struct rig *rig, uint8_t number)
{
	const uint8_t wire[17] = {number, number, 1};
	return stack_send(rig->stack, NULL, (struct bytes){wire, sizeof(wire)});
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct http2_client_param param = {.authority = "dns", .path = "/dns-query"};
	const struct stack_item item = {&http2_client_stage, &param};
	struct rig rig;
	if (size < 2 || size > 65536 || rig_init(&rig, &item, 1) != 0)
		return 0;
	const size_t step = data[0] + 1;
	int ret = rig_tell(&rig, STAGE_OPEN);
	for (uint8_t i = 1; i <= QUESTIONS && ret == 0; ++i)
		ret = ask(&rig, i);
	for (size_t at = 1; at < size && ret == 0; at += step) {
		ret = rig_feed(&rig, data + at, KR_MIN(step, size - at));
		if (ret == 0 && at % 3 == 0)
			ret = ask(&rig, 9);
		if (ret == 0)
			ret = rig_tell(&rig, STAGE_FLUSH);
	}
	(void)rig_tell(&rig, STAGE_SHUTDOWN);
	for (size_t i = 0; i < rig.messages.len; ++i) {
		const struct rig_message *msg = &rig.messages.at[i];
		kr_require(msg->len >= 12 && msg->len <= KR_DNS_WIRE_MAX);
		kr_require(msg->wire[0] == msg->wire[1]); /* an id of ours */
		kr_require(msg->wire[0] <= QUESTIONS || msg->wire[0] == 9);
	}
	rig_deinit(&rig);
	return 0;
}
