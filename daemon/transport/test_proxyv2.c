/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "daemon/transport/proxyv2.h"
#include "daemon/transport/test_stack.h"

#define SIG 0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a
#define INET_ADDRS 192, 0, 2, 1, 198, 51, 100, 7, 0x30, 0x39, 0, 53

static const uint8_t inet_tcp[] = {SIG, 0x21, 0x11, 0, 12, INET_ADDRS};
static const uint8_t inet_tls[] = {SIG, 0x21, 0x11, 0, 20, INET_ADDRS, 0x20, 0, 5, 1, 0, 0, 0, 0};
static const uint8_t local[] = {SIG, 0x20, 0x00, 0, 3, 1, 2, 3};
static const uint8_t unspec[] = {SIG, 0x21, 0x00, 0, 0};
static const char data[] = "hello, resolver";

static struct proxy_peers peers;
static union kr_sockaddr friend, stranger, listener;

static int setup(void **state)
{
	friend.ip4 = (struct sockaddr_in){.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(0x0a000001),
		.sin_port = htons(4000)};
	stranger = friend;
	stranger.ip4.sin_addr.s_addr = htonl(0x0b000001);
	listener = friend;
	listener.ip4.sin_port = htons(53);
	assert_int_equal(proxy_peers_add(&peers, "10.1.2.3/8"), 0);
	assert_int_equal(proxy_peers_add(&peers, "2001:db8::/32"), 0);
	return 0;
}

static int teardown(void **state)
{
	proxy_peers_clear(&peers);
	return 0;
}

static void start(struct rig *rig, const struct stage_ops *ops, const union kr_sockaddr *peer)
{
	const struct stack_item item = {ops, &peers};
	assert_int_equal(rig_init(rig, &item, 1), 0);
	rig->stack->facts.addr = &peer->ip;
	rig->stack->facts.dst_addr = &listener.ip;
	rig->stack->facts.flags.tcp = rig->stack->facts.comm_flags.tcp = true;
}

static size_t gather(const struct rig *rig, char *buf)
{
	size_t len = 0;
	for (size_t i = 0; i < rig->messages.len; ++i) {
		memcpy(buf + len, rig->messages.at[i].wire, rig->messages.at[i].len);
		len += rig->messages.at[i].len;
	}
	return len;
}

/** Feed header and data cut at every point; the data must come out whole. */
static void check_stream(const uint8_t *header, size_t header_len, bool is_proxied, bool is_tls)
{
	uint8_t wire[256];
	if (header_len > 0)
		memcpy(wire, header, header_len);
	memcpy(wire + header_len, data, sizeof(data));
	const size_t len = header_len + sizeof(data);
	for (size_t cut = 0; cut <= len; ++cut) {
		struct rig rig;
		char buf[256];
		start(&rig, &proxyv2_stream_stage, &friend);
		if (cut > 0)
			assert_int_equal(rig_feed(&rig, wire, cut), 0);
		assert_int_equal(rig_feed(&rig, wire + cut, len - cut), 0);
		assert_int_equal(gather(&rig, buf), sizeof(data));
		assert_memory_equal(buf, data, sizeof(data));
		const struct rig_message *msg = &rig.messages.at[0];
		assert_int_equal(msg->is_proxied, is_proxied);
		assert_int_equal(msg->flags.tls, is_tls);
		assert_true(msg->comm_flags.tcp);
		assert_string_equal(kr_straddr(&msg->addr.ip),
			is_proxied ? "192.0.2.1#12345" : "10.0.0.1#04000");
		if (is_proxied)
			assert_int_equal(kr_inaddr_port(&msg->dst.ip), 53);
		assert_int_equal(rig.stack->partial, 0);
		assert_int_equal(rig.stack->held_bytes, 0);
		rig_deinit(&rig);
	}
}

static void stream_headers_may_be_cut_anywhere(void **state)
{
	check_stream(inet_tcp, sizeof(inet_tcp), true, false);
	check_stream(inet_tls, sizeof(inet_tls), true, true);
	check_stream(local, sizeof(local), false, false);
	check_stream(unspec, sizeof(unspec), false, false);
	check_stream(NULL, 0, false, false);
}

static void beginnings_of_a_signature_are_data_after_all(void **state)
{
	for (size_t len = 1; len < 12; ++len) {
		uint8_t wire[64] = {SIG};
		memset(wire + len, 0xee, 20);
		for (size_t cut = 0; cut <= len + 20; ++cut) {
			struct rig rig;
			char buf[64];
			start(&rig, &proxyv2_stream_stage, &friend);
			if (cut > 0)
				assert_int_equal(rig_feed(&rig, wire, cut), 0);
			assert_int_equal(rig_feed(&rig, wire + cut, len + 20 - cut), 0);
			assert_int_equal(gather(&rig, buf), len + 20);
			assert_memory_equal(buf, wire, len + 20);
			rig_deinit(&rig);
		}
	}
}

static void strangers_with_a_header_are_disconnected(void **state)
{
	for (size_t cut = 1; cut < sizeof(inet_tcp); ++cut) {
		struct rig rig;
		start(&rig, &proxyv2_stream_stage, &stranger);
		int ret = rig_feed(&rig, inet_tcp, cut);
		if (ret == 0)
			ret = rig_feed(&rig, inet_tcp + cut, sizeof(inet_tcp) - cut);
		assert_int_equal(ret, kr_error(EACCES));
		assert_int_equal(rig.messages.len, 0);
		rig_deinit(&rig);
	}
}

static void strangers_without_a_header_are_served(void **state)
{
	struct rig rig;
	start(&rig, &proxyv2_stream_stage, &stranger);
	assert_int_equal(rig_feed(&rig, data, sizeof(data)), 0);
	assert_int_equal(rig.messages.len, 1);
	rig_deinit(&rig);
}

/** Headers that no peer may send. */
static const struct bad {
	const char *what;
	uint8_t wire[64];
	size_t len;
} bad_headers[] = {
	{"version 1", {SIG, 0x11, 0x11, 0, 12, INET_ADDRS}, 28},
	{"version 3", {SIG, 0x31, 0x11, 0, 12, INET_ADDRS}, 28},
	{"command 2", {SIG, 0x22, 0x11, 0, 12, INET_ADDRS}, 28},
	{"family 4", {SIG, 0x21, 0x41, 0, 12, INET_ADDRS}, 28},
	{"transport 3", {SIG, 0x21, 0x13, 0, 12, INET_ADDRS}, 28},
	{"family without transport", {SIG, 0x21, 0x10, 0, 12, INET_ADDRS}, 28},
	{"transport without family", {SIG, 0x21, 0x01, 0, 0}, 16},
	{"too short for IPv4", {SIG, 0x21, 0x11, 0, 11, INET_ADDRS}, 28},
	{"too short for IPv6", {SIG, 0x21, 0x21, 0, 12, INET_ADDRS}, 28},
	{"too short for UNIX", {SIG, 0x21, 0x31, 0, 12, INET_ADDRS}, 28},
	{"longer than allowed", {SIG, 0x21, 0x11, 1, 241, INET_ADDRS}, 28},
	{"length 65535", {SIG, 0x21, 0x11, 255, 255, INET_ADDRS}, 28},
	{"TLV past the end", {SIG, 0x21, 0x11, 0, 16, INET_ADDRS, 1, 0, 2, 0}, 32},
	{"TLV cut off", {SIG, 0x21, 0x11, 0, 14, INET_ADDRS, 1, 0}, 30},
	{"17 TLVs", {SIG, 0x21, 0x11, 0, 12 + 17 * 3, INET_ADDRS, 4, 0, 0, 4, 0, 0, 4}, 64},
	{"source port 0", {SIG, 0x21, 0x11, 0, 12, 192, 0, 2, 1, 198, 51, 100, 7, 0, 0, 0, 53}, 28},
	{"source 0.0.0.0", {SIG, 0x21, 0x11, 0, 12, 0, 0, 0, 0, 198, 51, 100, 7, 1, 0, 0, 53}, 28},
};

static void bad_headers_close_streams_and_drop_datagrams(void **state)
{
	for (size_t i = 0; i < KR_COUNT_OF(bad_headers); ++i) {
		const struct bad *bad = &bad_headers[i];
		uint8_t wire[600] = {0};
		memcpy(wire, bad->wire, bad->len);
		for (size_t k = bad->len; k + 3 <= 79; k += 3)
			wire[k] = 4; /* more NOOP TLVs */
		struct rig rig;
		start(&rig, &proxyv2_stream_stage, &friend);
		int ret = kr_ok();
		for (size_t k = 0; k < sizeof(wire) && ret == 0; ++k)
			ret = rig_feed(&rig, wire + k, 1);
		if (ret != kr_error(EBADMSG))
			fail_msg("%s over a stream: %d", bad->what, ret);
		assert_int_equal(rig.messages.len, 0);
		rig_deinit(&rig);

		start(&rig, &proxyv2_dgram_stage, &friend);
		assert_int_equal(rig_feed(&rig, wire, sizeof(wire)), 0);
		if (rig.messages.len != 0)
			fail_msg("%s in a datagram", bad->what);
		rig_deinit(&rig);
	}
}

static void datagrams_carry_their_own_header(void **state)
{
	uint8_t wire[128];
	memcpy(wire, inet_tcp, sizeof(inet_tcp));
	wire[13] = 0x12; /* the client came by UDP */
	memcpy(wire + sizeof(inet_tcp), data, sizeof(data));
	struct rig rig;
	start(&rig, &proxyv2_dgram_stage, &friend);
	assert_int_equal(rig_feed(&rig, wire, sizeof(inet_tcp) + sizeof(data)), 0);
	assert_int_equal(rig.messages.len, 1);
	assert_int_equal(rig.messages.at[0].len, sizeof(data));
	assert_true(rig.messages.at[0].is_proxied);
	assert_false(rig.messages.at[0].flags.tcp);
	assert_string_equal(kr_straddr(&rig.messages.at[0].addr.ip), "192.0.2.1#12345");
	rig_deinit(&rig);

	/* Nothing behind the header: nothing to answer. Cut off: dropped. */
	for (size_t len = 12; len <= sizeof(inet_tcp); ++len) {
		start(&rig, &proxyv2_dgram_stage, &friend);
		assert_int_equal(rig_feed(&rig, wire, len), 0);
		assert_int_equal(rig.messages.len, 0);
		rig_deinit(&rig);
	}
	/* Not from strangers. */
	start(&rig, &proxyv2_dgram_stage, &stranger);
	assert_int_equal(rig_feed(&rig, wire, sizeof(inet_tcp) + sizeof(data)), 0);
	assert_int_equal(rig.messages.len, 0);
	rig_deinit(&rig);
}

static void inet6_addresses_are_read(void **state)
{
	uint8_t wire[16 + 36 + 4] = {SIG, 0x21, 0x21, 0, 36};
	memcpy(wire + 16, "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1", 16);
	memcpy(wire + 32, "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\2", 16);
	memcpy(wire + 48, "\x10\x00\x00\x35", 4);
	memcpy(wire + 52, "data", 4);
	struct rig rig;
	start(&rig, &proxyv2_stream_stage, &friend);
	assert_int_equal(rig_feed(&rig, wire, sizeof(wire)), 0);
	assert_int_equal(rig.messages.len, 1);
	assert_string_equal(kr_straddr(&rig.messages.at[0].addr.ip), "2001:db8::1#04096");
	assert_string_equal(kr_straddr(&rig.messages.at[0].dst.ip), "2001:db8::2#00053");
	rig_deinit(&rig);
}

static void peers_are_subnets(void **state)
{
	union kr_sockaddr v6 = {.ip6 = {.sin6_family = AF_INET6}};
	memcpy(&v6.ip6.sin6_addr, "\x20\x01\x0d\xb8\xff", 5);
	assert_true(proxy_peers_has(&peers, &v6.ip));
	v6.ip6.sin6_addr.s6_addr[3] = 0xb9;
	assert_false(proxy_peers_has(&peers, &v6.ip));
	assert_true(proxy_peers_has(&peers, &friend.ip));
	assert_false(proxy_peers_has(&peers, &stranger.ip));
	assert_false(proxy_peers_has(NULL, &friend.ip));
	struct proxy_peers other = {0};
	assert_true(proxy_peers_add(&other, "10.0.0.0/33") < 0);
	assert_true(proxy_peers_add(&other, "nonsense") < 0);
	assert_int_equal(other.subnets.len, 0);
	proxy_peers_clear(&other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(stream_headers_may_be_cut_anywhere),
		cmocka_unit_test(beginnings_of_a_signature_are_data_after_all),
		cmocka_unit_test(strangers_with_a_header_are_disconnected),
		cmocka_unit_test(strangers_without_a_header_are_served),
		cmocka_unit_test(bad_headers_close_streams_and_drop_datagrams),
		cmocka_unit_test(datagrams_carry_their_own_header),
		cmocka_unit_test(inet6_addresses_are_read),
		cmocka_unit_test(peers_are_subnets),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
