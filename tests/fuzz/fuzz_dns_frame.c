/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Frames cut as the input says. The first octets choose the cuts and pauses; the rest is the
 * stream. What comes out must be what a parser of the whole stream finds.
 */
#include "daemon/transport/dns_frame.h"
#include "daemon/transport/test_stack.h"
#include "lib/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/** Find the messages in one piece. @return false if the stream is broken */
static bool expect(const uint8_t *at, size_t len, size_t *messages, size_t *octets)
{
	int runts = 0;
	while (len >= 2) {
		const size_t msg = (size_t)at[0] << 8 | at[1];
		if (msg == 0)
			return false;
		if (len - 2 < msg)
			break;
		if (msg < 12 && ++runts > DNS_FRAME_RUNTS_MAX)
			return false;
		*messages += msg >= 12;
		*octets += msg >= 12 ? msg : 0;
		at += 2 + msg;
		len -= 2 + msg;
	}
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 3)
		return 0;
	const size_t step = data[0] + 1;
	const size_t pause_after = data[1] % 8;
	const uint8_t *stream = data + 2;
	const size_t len = size - 2;
	const struct stack_item item = {&dns_frame_stage, NULL};
	struct rig rig;
	if (rig_init(&rig, &item, 1) != 0)
		return 0;
	rig.pause_after = pause_after;
	int ret = 0;
	for (size_t at = 0; at < len && ret == 0; at += step)
		ret = rig_feed(&rig, stream + at, KR_MIN(step, len - at));
	while (ret == 0 && rig.stack->is_paused)
		ret = stack_pause(rig.stack, false);
	size_t messages = 0, octets = 0, got = 0;
	const bool is_good = expect(stream, len, &messages, &octets);
	for (size_t i = 0; i < rig.messages.len; ++i)
		got += rig.messages.at[i].len;
	kr_require(is_good == (ret == 0));
	kr_require(!is_good || (messages == rig.messages.len && octets == got));
	rig_deinit(&rig);
	return 0;
}
