/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * JSON for C modules: a tree of nodes, read from and written as UTF-8 text (RFC 8259). The names
 * are those that modules of the 5.x line include as <ccan/json/json.h>. Reading is strict and
 * limits nesting to JSON_DEPTH_MAX; the tree owns its keys, strings and children.
 */
#pragma once

#include "lib/defines.h"

/** Deepest nesting that is read. */
#define JSON_DEPTH_MAX 200

typedef enum {
	JSON_NULL,
	JSON_BOOL,
	JSON_STRING,
	JSON_NUMBER,
	JSON_ARRAY,
	JSON_OBJECT,
} JsonTag;

typedef struct JsonNode JsonNode;
struct JsonNode {
	JsonNode *parent; /**< NULL: this is a root */
	JsonNode *prev, *next;
	char *key; /**< members of objects only */
	JsonTag tag;
	union {
		bool bool_;
		char *string_;
		double number_;
		struct {
			JsonNode *head, *tail;
		} children;
	};
};

/* libjansson has a function of this name, and both may live in one process. */
#define json_delete kr_json_delete

/** @return the tree, or NULL: no valid JSON text, too deep, or out of memory */
KR_EXPORT
JsonNode *json_decode(const char *json);
/** Text without spaces; malloc()ed, NULL if out of memory. Numbers that JSON lacks become null. */
KR_EXPORT
char *json_encode(const JsonNode *node);
/** A string with its quotes and escapes; malloc()ed. Bytes that are not UTF-8 become U+FFFD. */
KR_EXPORT
char *json_encode_string(const char *str);
/** Text over several lines. @param space one level of indentation; NULL = json_encode() */
KR_EXPORT
char *json_stringify(const JsonNode *node, const char *space);
/** Take a node off its parent and free it with all below. NULL is fine. */
KR_EXPORT
void json_delete(JsonNode *node);
/** Would json_decode() read it? */
KR_EXPORT
bool json_validate(const char *json);

/** Element of an array, 0-based, or NULL. */
KR_EXPORT
JsonNode *json_find_element(JsonNode *array, int index);
/** First member of that key, or NULL. */
KR_EXPORT
JsonNode *json_find_member(JsonNode *object, const char *key);
/** First element or member; NULL if there is none. */
KR_EXPORT
JsonNode *json_first_child(const JsonNode *node);
#define json_foreach(i, object_or_array)                                                           \
	for ((i) = json_first_child(object_or_array); (i) != NULL; (i) = (i)->next)

/** @name Making nodes; NULL if out of memory. Text is copied. @{ */
KR_EXPORT JsonNode *json_mknull(void);
KR_EXPORT JsonNode *json_mkbool(bool b);
KR_EXPORT JsonNode *json_mkstring(const char *s);
KR_EXPORT JsonNode *json_mknumber(double n);
KR_EXPORT JsonNode *json_mkarray(void);
KR_EXPORT JsonNode *json_mkobject(void);
/** @} */

/** @name Building trees. The node must be a root; it belongs to the tree afterwards. @{ */
KR_EXPORT void json_append_element(JsonNode *array, JsonNode *element);
KR_EXPORT void json_prepend_element(JsonNode *array, JsonNode *element);
KR_EXPORT void json_append_member(JsonNode *object, const char *key, JsonNode *value);
KR_EXPORT void json_prepend_member(JsonNode *object, const char *key, JsonNode *value);
/** Make a node a root again; it is the caller's then. */
KR_EXPORT void json_remove_from_parent(JsonNode *node);
/** @} */

/** Are links, tags and strings of a tree in order? @param errmsg what is wrong, or NULL */
KR_EXPORT
bool json_check(const JsonNode *node, char errmsg[256]);
