/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#include "lib/addr.h"
#include "lib/utils.h"

static struct sockaddr *addr(const char *text, int port)
{
	struct sockaddr *sa = kr_straddr_socket(text, port, NULL);
	assert_non_null(sa);
	return sa;
}

static void addresses_are_printed_with_five_digits_of_port(void **state)
{
	static const char *const rows[][2] = {{"192.0.2.1", "192.0.2.1#00053"},
		{"2001:db8::1", "2001:db8::1#00053"}, {"/run/x", "/run/x"}};
	for (size_t i = 0; i < KR_COUNT_OF(rows); ++i) {
		auto_free struct sockaddr *sa = addr(rows[i][0], 53);
		assert_string_equal(kr_straddr(sa), rows[i][1]);
		char buf[4];
		size_t len = sizeof(buf);
		assert_int_equal(kr_inaddr_str(sa, buf, &len), kr_error(ENOSPC));
	}
}

static void nonsense_is_no_address(void **state)
{
	static const char *const rows[] = {"", "1.2.3", "1.2.3.4.5", "1.2.3.256", "1.2.3.4/8",
		"::g", "1:2:3:4:5:6:7:8:9", "example", "fe80::1%", "fe80::1%no-such-interface",
		"1.2.3.4@53", " 1.2.3.4", "0x1.2.3.4"};
	for (size_t i = 0; i < KR_COUNT_OF(rows); ++i)
		assert_null(kr_straddr_socket(rows[i], 53, NULL));
	assert_null(kr_straddr_socket(NULL, 53, NULL));
	assert_null(kr_straddr_socket("1.2.3.4", 65536, NULL));
	assert_null(kr_straddr_socket("1.2.3.4", -1, NULL));
	char path[200];
	memset(path, '/', sizeof(path) - 1);
	path[sizeof(path) - 1] = '\0';
	assert_null(kr_straddr_socket(path, 0, NULL));
}

static void subnets_have_a_length(void **state)
{
	static const struct {
		const char *text;
		int bits;
	} rows[] = {{"10.0.0.0/8", 8}, {"192.0.2.1", 32}, {"2001:db8::/32", 32}, {"::", 128},
		{"0.0.0.0/0", 0}, {"10.0.0.0/33", -ERANGE}, {"::/129", -ERANGE},
		{"10.0.0.0/", -ERANGE}, {"10.0.0.0/-1", -ERANGE}, {"10.0.0.0/8x", -ERANGE},
		{"10.0.0/8", -EILSEQ}, {"example", -EINVAL}, {"/8", -EINVAL}, {"", -EINVAL}};
	for (size_t i = 0; i < KR_COUNT_OF(rows); ++i) {
		uint8_t bytes[16];
		if (kr_straddr_subnet(bytes, rows[i].text) != rows[i].bits)
			fail_msg("%s", rows[i].text);
	}
}

static void port_is_split_off(void **state)
{
	static const struct {
		const char *text, *addr;
		int port; /* -1 = refused */
	} rows[] = {{"1.2.3.4@5353", "1.2.3.4", 5353}, {"::1#53", "::1", 53},
		{"1.2.3.4", "1.2.3.4", 7}, {"1.2.3.4@", NULL, -1}, {"1.2.3.4@0", NULL, -1},
		{"1.2.3.4@65536", NULL, -1}, {"1.2.3.4@-1", NULL, -1}, {"1.2.3.4@53x", NULL, -1},
		{"0123456789012345678901234567890123456789012345678901234567890", NULL, -1}};
	for (size_t i = 0; i < KR_COUNT_OF(rows); ++i) {
		char text[KR_ADDR_TEXT_LEN];
		uint16_t port = 7;
		const int ret = kr_straddr_split(rows[i].text, text, &port);
		assert_int_equal(ret, rows[i].port < 0 ? kr_error(EILSEQ) : 0);
		if (ret == 0) {
			assert_string_equal(text, rows[i].addr);
			assert_int_equal(port, rows[i].port);
		}
	}
}

static void keys_are_reversible(void **state)
{
	static const char *const texts[] = {"192.0.2.1", "2001:db8::1", "::"};
	for (size_t i = 0; i < KR_COUNT_OF(texts); ++i) {
		auto_free struct sockaddr *sa = addr(texts[i], 5353);
		auto_free struct sockaddr *other = addr(texts[i], 53);
		uint8_t key[32], other_key[32];
		const ssize_t len = kr_sockaddr_key(key, sa);
		assert_true(len > 0 && kr_sockaddr_key(other_key, other) == len);
		assert_true(kr_sockaddr_key_same_addr(key, other_key));
		assert_memory_not_equal(key, other_key, len);
		union kr_sockaddr back;
		assert_int_equal(kr_sockaddr_from_key(&back, key, len), 0);
		assert_int_equal(kr_sockaddr_cmp(&back.ip, sa), 0);
		assert_int_equal(kr_sockaddr_cmp(&back.ip, other), kr_error(EFAULT));
		assert_int_equal(kr_sockaddr_from_key(&back, key, len - 1), kr_error(EINVAL));
	}
}

static void prefixes_are_compared_by_bits(void **state)
{
	assert_int_equal(kr_bitcmp("\x0a\xff", "\x0a\x00", 8), 0);
	assert_int_equal(kr_bitcmp("\x0a\x80", "\x0a\x00", 9) > 0, 1);
	assert_int_equal(kr_bitcmp("\x0a\x40", "\x0a\x00", 9), 0);
	assert_int_equal(kr_bitcmp(NULL, NULL, 8), 0);
	assert_true(kr_bitcmp(NULL, "x", 8) < 0);
	uint8_t bytes[4] = {255, 255, 255, 255};
	kr_bitmask(bytes, sizeof(bytes), 11);
	assert_memory_equal(bytes, "\xff\xe0\x00\x00", 4);
}

static void special_addresses_are_no_servers(void **state)
{
	static const char *const bad[] = {"0.1.2.3", "127.0.0.1", "127.255.0.1", "169.254.1.1",
		"224.0.0.1", "240.0.0.1", "255.255.255.255", "::", "::1", "::ffff:192.0.2.1",
		"fe80::1", "febf::1", "ff02::1"};
	static const char *const good[] = {"1.1.1.1", "128.0.0.1", "169.253.1.1", "223.255.255.255",
		"2001:db8::1", "::2", "fec0::1", "10.0.0.1"};
	for (size_t i = 0; i < KR_COUNT_OF(bad); ++i) {
		auto_free struct sockaddr *sa = addr(bad[i], 53);
		if (!kr_addr_is_unusable(sa))
			fail_msg("%s", bad[i]);
	}
	for (size_t i = 0; i < KR_COUNT_OF(good); ++i) {
		auto_free struct sockaddr *sa = addr(good[i], 53);
		if (kr_addr_is_unusable(sa))
			fail_msg("%s", good[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_are_printed_with_five_digits_of_port),
		cmocka_unit_test(nonsense_is_no_address),
		cmocka_unit_test(subnets_have_a_length),
		cmocka_unit_test(port_is_split_off),
		cmocka_unit_test(keys_are_reversible),
		cmocka_unit_test(prefixes_are_compared_by_bits),
		cmocka_unit_test(special_addresses_are_no_servers),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
