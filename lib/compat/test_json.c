/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#include "lib/compat/json.h"

static void texts_survive_a_round_trip(void **state)
{
	static const char *const texts[] = {
		"null",
		"true",
		"false",
		"0",
		"-1",
		"0.1",
		"1e+300",
		"123456789012345",
		"\"\"",
		"\"a\\\"\\\\\\n\\u0001\\u007f\"",
		"\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x8e\x89\"",
		"[]",
		"{}",
		"[1,[2,[3]],{}]",
		"{\"a\":1,\"b\":[true,null],\"\":\"x\"}",
	};
	for (size_t i = 0; i < KR_COUNT_OF(texts); ++i) {
		JsonNode *node = json_decode(texts[i]);
		char err[256] = "";
		assert_true(json_check(node, err));
		char *text = json_encode(node);
		assert_string_equal(text, texts[i]);
		free(text);
		json_delete(node);
	}
}

static void spaces_and_escapes_are_read(void **state)
{
	JsonNode *node = json_decode(" { \"k\" :\t[ 1 , \"\\u00e9\\ud83c\\udf89\\/\" ]\r\n} ");
	JsonNode *list = json_find_member(node, "k");
	assert_non_null(list);
	assert_true(json_find_element(list, 0)->number_ == 1);
	assert_string_equal(json_find_element(list, 1)->string_, "\xc3\xa9\xf0\x9f\x8e\x89/");
	assert_null(json_find_element(list, 2));
	assert_null(json_find_element(list, -1));
	assert_null(json_find_member(node, "x"));
	json_delete(node);
}

static void bad_texts_are_refused(void **state)
{
	static const char *const texts[] = {"", " ", "nul", "truex", "01", "1.", ".5", "+1", "1e",
		"-", "\"", "\"\\", "{\"\\", "{\"a", "\"\\x\"", "\"\\u12\"", "\"\\u0000\"",
		"\"\\ud800\"", "\"\\udc00\"", "\"\\ud800\\u0041\"", "\"\n\"", "\"\xff\"",
		"\"\xc0\x80\"", "\"\xed\xa0\x80\"", "\"\xf5\x80\x80\x80\"", "\"\xe2\x82\"", "[",
		"[1", "[1,", "[1,]", "[,]", "]", "{", "{\"a\"", "{\"a\":", "{\"a\":1", "{\"a\":1,}",
		"{a:1}", "{1:1}", "1 2", "'a'", "NaN", "Infinity", "0x10"};
	for (size_t i = 0; i < KR_COUNT_OF(texts); ++i)
		assert_false(json_validate(texts[i]));
	assert_null(json_decode(NULL));
}

static void nesting_is_limited(void **state)
{
	static char deep[2 * 100000 + 1];
	for (int depth = JSON_DEPTH_MAX; depth <= 100000; depth *= 10) {
		memset(deep, '[', depth);
		memset(deep + depth, ']', depth);
		deep[2 * depth] = '\0';
		assert_int_equal(json_validate(deep), depth <= JSON_DEPTH_MAX);
	}
}

static void trees_are_built(void **state)
{
	JsonNode *root = json_mkobject(), *list = json_mkarray();
	json_append_member(root, "list", list);
	json_prepend_member(root, "name", json_mkstring("x\xffy"));
	json_append_element(list, json_mknumber(2));
	json_prepend_element(list, json_mkbool(true));
	json_append_element(list, json_mknull());
	json_append_element(list, json_mknumber(1.0 / 0.0));
	char *text = json_encode(root);
	assert_string_equal(text, "{\"name\":\"x\xef\xbf\xbdy\",\"list\":[true,2,null,null]}");
	free(text);
	text = json_stringify(list, "\t");
	assert_string_equal(text, "[\n\ttrue,\n\t2,\n\tnull,\n\tnull\n]");
	free(text);
	assert_false(json_check(root, NULL)); /* not UTF-8 */
	JsonNode *two = json_find_element(list, 1);
	json_remove_from_parent(two);
	assert_null(two->parent);
	assert_true(json_find_element(list, 1)->tag == JSON_NULL);
	json_append_element(root, two); /* not an array: nothing happens */
	assert_null(two->parent);
	json_delete(two);
	json_delete(json_first_child(root));
	assert_ptr_equal(json_first_child(root), list);
	int count = 0;
	JsonNode *i;
	json_foreach(i, list) count += 1;
	assert_int_equal(count, 3);
	json_delete(root);
	json_delete(NULL);
	text = json_encode_string("a\"b");
	assert_string_equal(text, "\"a\\\"b\"");
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(texts_survive_a_round_trip),
		cmocka_unit_test(spaces_and_escapes_are_read),
		cmocka_unit_test(bad_texts_are_refused),
		cmocka_unit_test(nesting_is_limited),
		cmocka_unit_test(trees_are_built),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
