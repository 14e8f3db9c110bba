/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "daemon/transport/dns_frame.h"
#include "daemon/transport/test_stack.h"

static const struct stack_item frame_item = {&dns_frame_stage, NULL};

/** Write a message of `len` octets, all `mark`, with its length in front. @return octets written */
static size_t put(uint8_t *at, size_t len, uint8_t mark)
{
	at[0] = len >> 8;
	at[1] = len & 0xff;
	memset(at + 2, mark, len);
	return len + 2;
}

static void assert_message(const struct rig *rig, size_t i, size_t len, uint8_t mark)
{
	assert_true(i < rig->messages.len);
	assert_int_equal(rig->messages.at[i].len, len);
	for (size_t k = 0; k < len; ++k)
		assert_int_equal(rig->messages.at[i].wire[k], mark);
}

static void messages_survive_any_two_cuts(void **state)
{
	uint8_t wire[256];
	size_t len = put(wire, 12, 1);
	len += put(wire + len, 40, 2);
	len += put(wire + len, 17, 3);
	for (size_t first = 0; first <= len; ++first) {
		for (size_t second = first; second <= len; ++second) {
			struct rig rig;
			assert_int_equal(rig_init(&rig, &frame_item, 1), 0);
			assert_int_equal(rig_feed(&rig, wire, first), 0);
			assert_int_equal(rig_feed(&rig, wire + first, second - first), 0);
			assert_int_equal(rig_feed(&rig, wire + second, len - second), 0);
			assert_int_equal(rig.messages.len, 3);
			assert_message(&rig, 0, 12, 1);
			assert_message(&rig, 1, 40, 2);
			assert_message(&rig, 2, 17, 3);
			assert_int_equal(rig.stack->partial, 0);
			assert_int_equal(rig.stack->held_bytes, 0);
			rig_deinit(&rig);
		}
	}
}

static void octet_by_octet_works(void **state)
{
	uint8_t wire[1024];
	size_t len = put(wire, 700, 7);
	struct rig rig;
	assert_int_equal(rig_init(&rig, &frame_item, 1), 0);
	for (size_t i = 0; i < len; ++i) {
		assert_int_equal(rig_feed(&rig, wire + i, 1), 0);
		assert_int_equal(rig.stack->partial != 0, i + 1 < len);
	}
	assert_int_equal(rig.messages.len, 1);
	assert_message(&rig, 0, 700, 7);
	rig_deinit(&rig);
}

static void largest_message_passes(void **state)
{
	uint8_t *wire = malloc(65537);
	size_t len = put(wire, 65535, 9);
	struct rig rig;
	assert_int_equal(rig_init(&rig, &frame_item, 1), 0);
	assert_int_equal(rig_feed(&rig, wire, 16384), 0);
	assert_in_range(rig.stack->held_bytes, 16384, 32768); /* not what was announced */
	assert_int_equal(rig_feed(&rig, wire + 16384, len - 16384), 0);
	assert_message(&rig, 0, 65535, 9);
	rig_deinit(&rig);
	free(wire);
}

static void length_zero_is_an_error(void **state)
{
	const uint8_t wire[] = {0, 0};
	for (size_t cut = 0; cut <= sizeof(wire); ++cut) {
		struct rig rig;
		assert_int_equal(rig_init(&rig, &frame_item, 1), 0);
		int ret = rig_feed(&rig, wire, cut);
		if (ret == 0)
			ret = rig_feed(&rig, wire + cut, sizeof(wire) - cut);
		assert_int_equal(ret, kr_error(EBADMSG));
		assert_int_equal(rig.messages.len, 0);
		rig_deinit(&rig);
	}
}

static void three_runts_are_skipped_a_fourth_is_an_error(void **state)
{
	uint8_t wire[128];
	struct rig rig;
	assert_int_equal(rig_init(&rig, &frame_item, 1), 0);
	size_t len = put(wire, 1, 1);
	len += put(wire + len, 11, 1);
	len += put(wire + len, 12, 2);
	len += put(wire + len, 5, 1);
	assert_int_equal(rig_feed(&rig, wire, len), 0);
	assert_int_equal(rig.messages.len, 1);
	assert_message(&rig, 0, 12, 2);
	len = put(wire, 3, 1);
	assert_int_equal(rig_feed(&rig, wire, len), kr_error(EBADMSG));
	rig_deinit(&rig);
}

static void a_paused_stack_keeps_messages_in_order(void **state)
{
	uint8_t wire[40 * 14];
	size_t len = 0;
	for (int i = 0; i < 40; ++i)
		len += put(wire + len, 12, i);
	for (size_t cut = 0; cut <= len; cut += 3) {
		struct rig rig;
		assert_int_equal(rig_init(&rig, &frame_item, 1), 0);
		rig.pause_after = 7;
		assert_int_equal(rig_feed(&rig, wire, cut), 0);
		assert_true(rig.messages.len <= 7);
		assert_int_equal(rig_feed(&rig, wire + cut, len - cut), 0);
		assert_int_equal(rig.messages.len, 7); /* though bytes came meanwhile */
		for (size_t expected = 14; expected <= 35; expected += 7) {
			assert_int_equal(stack_pause(rig.stack, false), 0);
			assert_int_equal(rig.messages.len, expected);
			assert_true(rig.stack->is_paused);
		}
		assert_int_equal(stack_pause(rig.stack, false), 0);
		assert_false(rig.stack->is_paused);
		assert_int_equal(rig.messages.len, 40);
		for (int i = 0; i < 40; ++i)
			assert_message(&rig, i, 12, i);
		assert_int_equal(rig.stack->held_bytes, 0);
		rig_deinit(&rig);
	}
}

static void sent_messages_get_their_length(void **state)
{
	struct rig rig;
	assert_int_equal(rig_init(&rig, &frame_item, 1), 0);
	uint8_t msg[300];
	memset(msg, 5, sizeof(msg));
	assert_int_equal(stack_send(rig.stack, NULL, (struct bytes){msg, sizeof(msg)}), 0);
	assert_int_equal(rig.out.len, 302);
	assert_int_equal(rig.out.at[0], 1);
	assert_int_equal(rig.out.at[1], 44);
	assert_memory_equal(rig.out.at + 2, msg, sizeof(msg));
	/* No answer: nothing is said. */
	assert_int_equal(stack_send(rig.stack, NULL, (struct bytes){NULL, 0}), 0);
	assert_int_equal(rig.out.len, 302);
	rig_deinit(&rig);
}

static void closing_stops_delivery(void **state)
{
	uint8_t wire[28];
	size_t len = put(wire, 12, 1);
	len += put(wire + len, 12, 2);
	struct rig rig;
	assert_int_equal(rig_init(&rig, &frame_item, 1), 0);
	rig.stack->is_closing = true;
	assert_int_equal(rig_feed(&rig, wire, len), 0);
	assert_int_equal(rig.messages.len, 0);
	rig.stack->is_closing = false;
	rig_deinit(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(messages_survive_any_two_cuts),
		cmocka_unit_test(octet_by_octet_works),
		cmocka_unit_test(largest_message_passes),
		cmocka_unit_test(length_zero_is_an_error),
		cmocka_unit_test(three_runts_are_skipped_a_fourth_is_an_error),
		cmocka_unit_test(a_paused_stack_keeps_messages_in_order),
		cmocka_unit_test(sent_messages_get_their_length),
		cmocka_unit_test(closing_stops_delivery),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
