/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <ctype.h>
#include <string.h>

#include "lib/compat/json_impl.h"

/* ---- UTF-8, RFC 3629 ---- */

static bool is_tail(char c)
{
	return ((uint8_t)c & 0xc0) == 0x80;
}

int json_utf8_length(const char *text)
{
	const uint8_t c = text[0];
	if (c < 0x80)
		return 1;
	if (c < 0xc2 || c > 0xf4 || !is_tail(text[1]))
		return 0;
	if (c < 0xe0)
		return 2;
	const uint8_t second = text[1];
	if (!is_tail(text[2]) || (c == 0xe0 && second < 0xa0) || (c == 0xed && second > 0x9f))
		return 0; /* overlong, or a surrogate */
	if (c < 0xf0)
		return 3;
	if (!is_tail(text[3]) || (c == 0xf0 && second < 0x90) || (c == 0xf4 && second > 0x8f))
		return 0;
	return 4;
}

bool json_utf8_is_valid(const char *text)
{
	while (*text) {
		const int len = json_utf8_length(text);
		if (len == 0)
			return false;
		text += len;
	}
	return true;
}

static int put_utf8(char *out, uint32_t code)
{
	if (code < 0x80) {
		out[0] = code;
		return 1;
	}
	if (code < 0x800) {
		out[0] = 0xc0 | code >> 6;
		out[1] = 0x80 | (code & 0x3f);
		return 2;
	}
	if (code < 0x10000) {
		out[0] = 0xe0 | code >> 12;
		out[1] = 0x80 | (code >> 6 & 0x3f);
		out[2] = 0x80 | (code & 0x3f);
		return 3;
	}
	out[0] = 0xf0 | code >> 18;
	out[1] = 0x80 | (code >> 12 & 0x3f);
	out[2] = 0x80 | (code >> 6 & 0x3f);
	out[3] = 0x80 | (code & 0x3f);
	return 4;
}

/* ---- the parser: each function moves `at` behind what it has read ---- */

static void skip_space(const char **at)
{
	*at += strspn(*at, " \t\r\n");
}

/** Never moves behind the end of the text. */
static bool read_char(const char **at, char wanted)
{
	const bool is_there = **at == wanted;
	*at += is_there;
	return is_there;
}

static bool read_word(const char **at, const char *word)
{
	const size_t len = strlen(word);
	if (strncmp(*at, word, len) != 0)
		return false;
	*at += len;
	return true;
}

static bool read_hex4(const char **at, uint32_t *code)
{
	*code = 0;
	for (int i = 0; i < 4; ++i, ++*at) {
		const char c = **at;
		if (!isxdigit((unsigned char)c))
			return false;
		*code = *code << 4 | (isdigit((unsigned char)c) ? c - '0' : (c | 0x20) - 'a' + 10);
	}
	return true;
}

/** After `\u`. NUL cannot be in a C string, so it is refused. @return bytes written or 0 */
static int read_unicode(const char **at, char *out)
{
	uint32_t code, low;
	if (!read_hex4(at, &code) || code == 0 || (code >= 0xdc00 && code <= 0xdfff))
		return 0;
	if (code >= 0xd800 && code <= 0xdbff) {
		if (!read_word(at, "\\u") || !read_hex4(at, &low) || low < 0xdc00 || low > 0xdfff)
			return 0;
		code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
	}
	return put_utf8(out, code);
}

/** After a backslash. @return bytes written or 0 */
static int read_escape(const char **at, char *out)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	const char c = **at;
	if (c == '\0')
		return 0;
	*at += 1;
	if (c == 'u')
		return read_unicode(at, out);
	const char *known = strchr(from, c);
	if (!known)
		return 0;
	*out = to[known - from];
	return 1;
}

/** @return malloc()ed contents or NULL */
static char *read_string(const char **at)
{
	if (**at != '"')
		return NULL;
	*at += 1;
	char *text = malloc(strlen(*at) + 1); /* never longer than its escaped form */
	size_t len = 0;
	while (text && **at != '"') {
		int n;
		if (**at == '\\') {
			*at += 1;
			n = read_escape(at, text + len);
		} else {
			n = (uint8_t) * *at < ' ' ? 0 : json_utf8_length(*at);
			memcpy(text + len, *at, n);
			*at += n;
		}
		len += n;
		if (n == 0) {
			free(text);
			return NULL;
		}
	}
	if (!text)
		return NULL;
	*at += 1;
	text[len] = '\0';
	return realloc(text, len + 1);
}

static size_t digits(const char *at)
{
	return strspn(at, "0123456789");
}

/** Bytes of the number at the beginning, as the grammar of RFC 8259 section 6 has it; 0 = none. */
static size_t number_length(const char *text)
{
	const char *at = text + (*text == '-');
	const size_t whole = digits(at);
	if (whole == 0 || (*at == '0' && whole > 1))
		return 0;
	at += whole;
	if (*at == '.') {
		if (digits(at + 1) == 0)
			return 0;
		at += 1 + digits(at + 1);
	}
	if (*at == 'e' || *at == 'E') {
		at += 1 + (at[1] == '+' || at[1] == '-');
		if (digits(at) == 0)
			return 0;
		at += digits(at);
	}
	return at - text;
}

static JsonNode *read_value(const char **at, int depth);

/** Elements or members, after the opening bracket. */
static bool read_children(const char **at, JsonNode *parent, int depth)
{
	const bool is_object = parent->tag == JSON_OBJECT;
	const char end = is_object ? '}' : ']';
	skip_space(at);
	bool is_over = **at == end;
	while (!is_over) {
		char *key = NULL;
		skip_space(at);
		if (is_object) {
			key = read_string(at);
			skip_space(at);
			if (!key || !read_char(at, ':')) {
				free(key);
				return false;
			}
		}
		JsonNode *child = read_value(at, depth);
		if (child && is_object)
			json_append_member(parent, key, child);
		else if (child)
			json_append_element(parent, child);
		free(key);
		if (!child || !child->parent) {
			json_delete(child);
			return false;
		}
		skip_space(at);
		is_over = **at == end;
		if (!is_over && !read_char(at, ','))
			return false;
	}
	*at += 1;
	return true;
}

static JsonNode *read_container(const char **at, int depth)
{
	JsonNode *node = **at == '{' ? json_mkobject() : json_mkarray();
	*at += 1;
	if (node && depth < JSON_DEPTH_MAX && read_children(at, node, depth + 1))
		return node;
	json_delete(node);
	return NULL;
}

static JsonNode *read_value(const char **at, int depth)
{
	skip_space(at);
	if (**at == '{' || **at == '[')
		return read_container(at, depth);
	if (**at == '"') {
		char *text = read_string(at);
		JsonNode *node = text ? json_mkstring(text) : NULL;
		free(text);
		return node;
	}
	if (read_word(at, "null"))
		return json_mknull();
	if (read_word(at, "true"))
		return json_mkbool(true);
	if (read_word(at, "false"))
		return json_mkbool(false);
	const size_t len = number_length(*at);
	if (len == 0)
		return NULL;
	JsonNode *node = json_mknumber(strtod(*at, NULL));
	*at += len;
	return node;
}

JsonNode *json_decode(const char *json)
{
	if (!json)
		return NULL;
	JsonNode *node = read_value(&json, 0);
	skip_space(&json);
	if (!node || !*json)
		return node;
	json_delete(node);
	return NULL;
}

bool json_validate(const char *json)
{
	JsonNode *node = json_decode(json);
	json_delete(node);
	return node != NULL;
}
