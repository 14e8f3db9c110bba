/* SPDX-License-Identifier: GPL-3.0-or-later */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include <libknot/packet/wire.h>

#include "lib/pointers.h"

#define QUESTION "\3www\7example\0\0\1\0\1"
#define FIXED "\0\1\0\0\0\x3c"

/** A message under construction. */
struct msg {
	uint8_t wire[KR_DNS_WIRE_MAX];
	size_t len;
};

static struct msg msg;

static int begin(void **state)
{
	memset(&msg, 0, sizeof(msg));
	msg.len = KNOT_WIRE_HEADER_SIZE;
	knot_wire_set_qdcount(msg.wire, 1);
	memcpy(msg.wire + msg.len, QUESTION, sizeof(QUESTION) - 1);
	msg.len += sizeof(QUESTION) - 1;
	return 0;
}

static void put(const void *data, size_t len)
{
	memcpy(msg.wire + msg.len, data, len);
	msg.len += len;
}

static void put_pointer(size_t to)
{
	put((uint8_t[]){0xc0 | to >> 8, to & 0xff}, 2);
}

/** Type, class, TTL and length of a record whose owner is written. */
static void put_fixed(uint16_t type, uint16_t len)
{
	put((uint8_t[]){type >> 8, type & 0xff}, 2);
	put(FIXED, 6);
	put((uint8_t[]){len >> 8, len & 0xff}, 2);
	knot_wire_set_ancount(msg.wire, knot_wire_get_ancount(msg.wire) + 1);
}

/** A record full of pointers, each to the one before. @return where the last one is */
static size_t put_chain(unsigned hops)
{
	put_pointer(12);
	put_fixed(65280, 2 * hops);
	size_t last = 12;
	for (unsigned i = 0; i < hops; ++i) {
		const size_t here = msg.len;
		put_pointer(last);
		last = here;
	}
	return last;
}

static bool is_bounded(void)
{
	return kr_pointers_are_bounded(msg.wire, msg.len);
}

static void usual_messages_pass(void **state)
{
	assert_true(is_bounded());
	put_pointer(12);
	put_fixed(1, 4);
	put("\1\2\3\4", 4);
	put_pointer(16);
	put_fixed(2, 5);
	put("\2ns\xc0\x10", 5);
	assert_true(is_bounded());
}

static void b27_chains_of_pointers(void **state)
{
	/* the owner itself is the last of the hops */
	put_pointer(put_chain(KR_POINTER_HOPS_MAX - 1));
	put_fixed(1, 4);
	put("\1\2\3\4", 4);
	assert_true(is_bounded());
	begin(state);
	put_pointer(put_chain(KR_POINTER_HOPS_MAX));
	put_fixed(1, 4);
	put("\1\2\3\4", 4);
	assert_false(is_bounded());
}

/** Names in RDATA: behind 0, 2, 6 octets, and behind the strings of NAPTR. */
static void b27_chains_from_rdata(void **state)
{
	static const struct {
		uint16_t type;
		const char *before;
		size_t len;
	} types[] = {{2, "", 0}, {5, "", 0}, {6, "\1x\0", 3}, {12, "", 0}, {15, "\0\1", 2},
		{33, "\0\1\0\1\0\1", 6}, {35, "\0\1\0\1\1a\2bc\0", 10}, {39, "", 0}};
	for (size_t i = 0; i < KR_COUNT_OF(types); ++i) {
		for (int is_long = 0; is_long < 2; ++is_long) {
			begin(state);
			const size_t end = put_chain(KR_POINTER_HOPS_MAX - 1 + is_long);
			put_pointer(12);
			put_fixed(types[i].type, types[i].len + 2);
			put(types[i].before, types[i].len);
			put_pointer(end);
			assert_int_equal(is_bounded(), !is_long);
		}
	}
}

static void pointers_lead_backwards(void **state)
{
	put_pointer(msg.len); /* to itself */
	put_fixed(1, 0);
	assert_false(is_bounded());
	begin(state);
	put_pointer(msg.len + 12);
	put_fixed(1, 0);
	put("\0", 1);
	assert_false(is_bounded());
}

/** Whatever is cut off: no octet behind the end is read (run with ASan). */
static void every_truncation(void **state)
{
	put_pointer(put_chain(5));
	put_fixed(35, 9);
	put("\0\1\0\1\1a\2bc", 9);
	for (size_t len = 0; len <= msg.len; ++len) {
		uint8_t *copy = malloc(len + 1);
		memcpy(copy, msg.wire, len);
		(void)kr_pointers_are_bounded(copy, len);
		free(copy);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(usual_messages_pass, begin),
		cmocka_unit_test_setup(b27_chains_of_pointers, begin),
		cmocka_unit_test_setup(b27_chains_from_rdata, begin),
		cmocka_unit_test_setup(pointers_lead_backwards, begin),
		cmocka_unit_test_setup(every_truncation, begin),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
