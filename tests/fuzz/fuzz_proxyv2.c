/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * PROXYv2 headers as datagrams and as streams cut where the first octet says. A header in one piece
 * and the same in many pieces must be understood alike.
 */
#include "daemon/transport/proxyv2.h"
#include "daemon/transport/test_stack.h"
#include "lib/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t signature[12] = {
	0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a};
static const union kr_sockaddr peer = {
	.ip4 = {.sin_family = AF_INET, .sin_port = 1, .sin_addr = {0x0100007f}}};

static int run(const struct stage_ops *ops, const struct proxy_peers *peers, const uint8_t *at,
	size_t len, size_t step, struct rig *rig)
{
	const struct stack_item item = {ops, peers};
	int ret = rig_init(rig, &item, 1);
	rig->stack->facts.addr = &peer.ip;
	for (size_t done = 0; done < len && ret == 0; done += step)
		ret = rig_feed(rig, at + done, KR_MIN(step, len - done));
	return ret;
}

static size_t octets(const struct rig *rig)
{
	size_t sum = 0;
	for (size_t i = 0; i < rig->messages.len; ++i)
		sum += rig->messages.at[i].len;
	return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2 || size > 4096)
		return 0;
	uint8_t wire[4096 + sizeof(signature)];
	size_t len = 0;
	/* Most inputs should get past the signature. */
	if (data[0] & 1) {
		memcpy(wire, signature, sizeof(signature));
		len = sizeof(signature);
	}
	memcpy(wire + len, data + 1, size - 1);
	len += size - 1;
	const size_t step = (data[0] >> 1) % 32 + 1;
	struct proxy_peers peers = {0};
	if (proxy_peers_add(&peers, "127.0.0.0/8") != 0)
		return 0;
	struct rig whole, pieces, dgram;
	const int ret_whole = run(&proxyv2_stream_stage, &peers, wire, len, len, &whole);
	const int ret_pieces = run(&proxyv2_stream_stage, &peers, wire, len, step, &pieces);
	kr_require((ret_whole == 0) == (ret_pieces == 0));
	kr_require(ret_whole != 0 || octets(&whole) == octets(&pieces));
	kr_require(run(&proxyv2_dgram_stage, &peers, wire, len, len, &dgram) == 0);
	rig_deinit(&whole);
	rig_deinit(&pieces);
	rig_deinit(&dgram);
	proxy_peers_clear(&peers);
	return 0;
}
