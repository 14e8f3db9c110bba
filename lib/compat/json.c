/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "lib/compat/json.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "lib/compat/json_impl.h"

/* ---- nodes ---- */

static JsonNode *node_new(JsonTag tag)
{
	JsonNode *node = calloc(1, sizeof(*node));
	if (node)
		node->tag = tag;
	return node;
}

JsonNode *json_mknull(void)
{
	return node_new(JSON_NULL);
}

JsonNode *json_mkbool(bool b)
{
	JsonNode *node = node_new(JSON_BOOL);
	if (node)
		node->bool_ = b;
	return node;
}

JsonNode *json_mkstring(const char *s)
{
	JsonNode *node = node_new(JSON_STRING);
	if (!node)
		return NULL;
	node->string_ = strdup(s);
	if (!node->string_) {
		free(node);
		return NULL;
	}
	return node;
}

JsonNode *json_mknumber(double n)
{
	JsonNode *node = node_new(JSON_NUMBER);
	if (node)
		node->number_ = n;
	return node;
}

JsonNode *json_mkarray(void)
{
	return node_new(JSON_ARRAY);
}

JsonNode *json_mkobject(void)
{
	return node_new(JSON_OBJECT);
}

static bool has_children(const JsonNode *node)
{
	return node->tag == JSON_ARRAY || node->tag == JSON_OBJECT;
}

void json_remove_from_parent(JsonNode *node)
{
	JsonNode *parent = node ? node->parent : NULL;
	if (!parent)
		return;
	*(node->prev ? &node->prev->next : &parent->children.head) = node->next;
	*(node->next ? &node->next->prev : &parent->children.tail) = node->prev;
	free(node->key);
	node->parent = node->prev = node->next = NULL;
	node->key = NULL;
}

/** Next node to free: children before their parent, without recursion. */
static JsonNode *deepest(JsonNode *node)
{
	while (has_children(node) && node->children.head)
		node = node->children.head;
	return node;
}

void json_delete(JsonNode *root)
{
	if (!root)
		return;
	json_remove_from_parent(root);
	for (JsonNode *node = deepest(root), *up; node; node = up ? deepest(up) : NULL) {
		up = node->parent;
		json_remove_from_parent(node);
		if (node->tag == JSON_STRING)
			free(node->string_);
		free(node);
	}
}

/** @param is_first before the others, else after them */
static void adopt(JsonNode *parent, JsonNode *child, bool is_first)
{
	child->parent = parent;
	child->prev = is_first ? NULL : parent->children.tail;
	child->next = is_first ? parent->children.head : NULL;
	*(child->prev ? &child->prev->next : &parent->children.head) = child;
	*(child->next ? &child->next->prev : &parent->children.tail) = child;
}

static void adopt_element(JsonNode *array, JsonNode *element, bool is_first)
{
	if (array && element && array->tag == JSON_ARRAY && !element->parent)
		adopt(array, element, is_first);
}

static void adopt_member(JsonNode *object, const char *key, JsonNode *value, bool is_first)
{
	if (!object || !key || !value || object->tag != JSON_OBJECT || value->parent)
		return;
	value->key = strdup(key);
	if (value->key)
		adopt(object, value, is_first);
}

void json_append_element(JsonNode *array, JsonNode *element)
{
	adopt_element(array, element, false);
}

void json_prepend_element(JsonNode *array, JsonNode *element)
{
	adopt_element(array, element, true);
}

void json_append_member(JsonNode *object, const char *key, JsonNode *value)
{
	adopt_member(object, key, value, false);
}

void json_prepend_member(JsonNode *object, const char *key, JsonNode *value)
{
	adopt_member(object, key, value, true);
}

/* ---- looking ---- */

JsonNode *json_first_child(const JsonNode *node)
{
	return node && has_children(node) ? node->children.head : NULL;
}

JsonNode *json_find_element(JsonNode *array, int index)
{
	if (!array || array->tag != JSON_ARRAY || index < 0)
		return NULL;
	JsonNode *node = array->children.head;
	while (node && index-- > 0)
		node = node->next;
	return node;
}

JsonNode *json_find_member(JsonNode *object, const char *key)
{
	if (!object || !key || object->tag != JSON_OBJECT)
		return NULL;
	JsonNode *node = object->children.head;
	while (node && strcmp(node->key, key) != 0)
		node = node->next;
	return node;
}

static bool problem(char errmsg[256], const char *text)
{
	if (errmsg)
		snprintf(errmsg, 256, "%s", text);
	return false;
}

static bool check_node(const JsonNode *node, char errmsg[256])
{
	if (node->tag > JSON_OBJECT)
		return problem(errmsg, "the tag of a node is unknown");
	if (node->tag == JSON_STRING && (!node->string_ || !json_utf8_is_valid(node->string_)))
		return problem(errmsg, "a string is missing or not UTF-8");
	if (!has_children(node))
		return true;
	const JsonNode *last = NULL;
	for (const JsonNode *i = node->children.head; i; last = i, i = i->next) {
		if (i->parent != node || i->prev != last)
			return problem(errmsg, "the links of a node are broken");
		if ((node->tag == JSON_OBJECT) != (i->key != NULL))
			return problem(errmsg, "members have keys and elements have none");
		if (i->key && !json_utf8_is_valid(i->key))
			return problem(errmsg, "a key is not UTF-8");
		if (!check_node(i, errmsg))
			return false;
	}
	return last == node->children.tail ||
	       problem(errmsg, "the last child of a node is not its tail");
}

bool json_check(const JsonNode *node, char errmsg[256])
{
	return node ? check_node(node, errmsg) : problem(errmsg, "there is no node");
}

/* ---- writing ---- */

struct out {
	char *at;
	size_t len, cap;
	bool is_broken; /**< out of memory */
};

static void put(struct out *out, const char *text, size_t len)
{
	if (out->is_broken)
		return;
	if (out->len + len + 1 > out->cap) {
		const size_t cap = (out->len + len + 1) * 2;
		char *fresh = realloc(out->at, cap);
		if (!fresh) {
			out->is_broken = true;
			return;
		}
		out->at = fresh;
		out->cap = cap;
	}
	memcpy(out->at + out->len, text, len);
	out->len += len;
	out->at[out->len] = '\0';
}

static void put_text(struct out *out, const char *text)
{
	put(out, text, strlen(text));
}

static void put_escaped(struct out *out, uint8_t c)
{
	static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";
	const char *at = strchr(from, c);
	char text[8];
	if (at && c)
		snprintf(text, sizeof(text), "\\%c", to[at - from]);
	else
		snprintf(text, sizeof(text), "\\u%04x", c);
	put_text(out, text);
}

static void put_string(struct out *out, const char *str)
{
	put_text(out, "\"");
	while (*str) {
		const uint8_t c = *str;
		const int len = json_utf8_length(str);
		if (len == 0)
			put_text(out, "\xef\xbf\xbd");
		else if (c < ' ' || c == '"' || c == '\\' || c == 0x7f)
			put_escaped(out, c);
		else
			put(out, str, len);
		str += len > 0 ? len : 1;
	}
	put_text(out, "\"");
}

static void put_number(struct out *out, double n)
{
	char text[40] = "null";
	if (isfinite(n)) { /* the shortest text that gives the same number */
		snprintf(text, sizeof(text), "%.15g", n);
		if (strtod(text, NULL) != n)
			snprintf(text, sizeof(text), "%.17g", n);
	}
	put_text(out, text);
}

static void put_break(struct out *out, const char *space, int depth)
{
	if (!space)
		return;
	put_text(out, "\n");
	while (depth-- > 0)
		put_text(out, space);
}

static void put_node(struct out *out, const JsonNode *node, const char *space, int depth);

static void put_children(struct out *out, const JsonNode *node, const char *space, int depth)
{
	const bool is_object = node->tag == JSON_OBJECT;
	put_text(out, is_object ? "{" : "[");
	for (const JsonNode *i = node->children.head; i; i = i->next) {
		put_break(out, space, depth + 1);
		if (is_object) {
			put_string(out, i->key);
			put_text(out, space ? ": " : ":");
		}
		put_node(out, i, space, depth + 1);
		if (i->next)
			put_text(out, ",");
	}
	if (node->children.head)
		put_break(out, space, depth);
	put_text(out, is_object ? "}" : "]");
}

static void put_node(struct out *out, const JsonNode *node, const char *space, int depth)
{
	switch (node->tag) {
	case JSON_BOOL:
		put_text(out, node->bool_ ? "true" : "false");
		break;
	case JSON_STRING:
		put_string(out, node->string_);
		break;
	case JSON_NUMBER:
		put_number(out, node->number_);
		break;
	case JSON_ARRAY:
	case JSON_OBJECT:
		put_children(out, node, space, depth);
		break;
	default:
		put_text(out, "null");
	}
}

static char *result_of(struct out *out)
{
	if (!out->is_broken)
		return out->at;
	free(out->at);
	return NULL;
}

char *json_stringify(const JsonNode *node, const char *space)
{
	struct out out = {0};
	if (!node)
		return NULL;
	put_node(&out, node, space, 0);
	return result_of(&out);
}

char *json_encode(const JsonNode *node)
{
	return json_stringify(node, NULL);
}

char *json_encode_string(const char *str)
{
	struct out out = {0};
	if (!str)
		return NULL;
	put_string(&out, str);
	return result_of(&out);
}
