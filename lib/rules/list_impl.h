/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Inside of lists. Stays in this folder.
 *
 * A list file is an LMDB store of one table. Its keys are a letter for the trigger, then the key of
 * a name (names.h) or family, prefix length and bytes of an address. A value is one or two items: a
 * byte with what the entry is for and the verdict, for verdicts with data then their length in four
 * bytes and the data. The last key tells what the file was made from.
 */
#pragma once

#include <sys/stat.h>

#include "lib/generic/array.h"
#include "lib/rules/list.h"

/** Raised whenever files of older versions would be misread. */
#define LIST_VERSION 1
#define LIST_META_KEY "~meta"
/** Largest data of one entry. */
#define LIST_DATA_MAX 60000

/** First byte of keys; in the order of enum kr_trigger. */
#define LIST_LETTERS "qcidn"

/** What an item is for, in its first byte. */
enum { ITEM_ITSELF = 0x10, ITEM_BELOW = 0x20, ITEM_VERDICT = 0x0f };

/** What a list file was made from; native byte order: it never leaves the host. */
struct list_meta {
	uint32_t version;
	uint32_t format;
	uint64_t dev, ino, size;
	int64_t mtime_s, mtime_ns;
	uint64_t entries, skipped;
	uint64_t triggers[KR_TRIGGER_COUNT];
	uint32_t serial;
	uint32_t pages; /**< of the file */
};

/** An entry being collected; its bytes are in the heap of the builder. */
struct draft {
	uint64_t head; /**< first bytes of the key, for sorting */
	uint32_t at;
	uint16_t key_len;
	uint8_t item;
};

/** Everything read from a file. */
struct builder {
	const char *path;
	array_t(struct draft) drafts;
	uint8_t *heap;
	size_t heap_len, heap_cap;
	struct list_meta meta;
	char *error; /**< KR_LIST_ERROR_MAX */
	bool no_memory;
};

/** What was skipped is logged up to this many times a file. */
#define LIST_WARNINGS_MAX 10

/** Add an entry. @param data  NULL unless the verdict needs some */
void builder_add(struct builder *builder, enum kr_trigger trigger, const void *key, size_t key_len,
	uint8_t item, const void *data, size_t len);
void builder_add_name(struct builder *builder, enum kr_trigger trigger, const knot_dname_t *name,
	uint8_t item, const void *data, size_t len);
/** Something is skipped; say where and why. */
KR_PRINTF(3, 4)
void builder_skip(struct builder *builder, uint64_t line, const char *fmt, ...);
/** Something is odd, but taken. */
KR_PRINTF(3, 4)
void builder_warn(struct builder *builder, uint64_t line, const char *fmt, ...);

/** Read a file. @return 0 or an error (text in builder->error) */
int list_parse(struct builder *builder, enum kr_list_format format);
int list_parse_rpz(struct builder *builder);
/** Compile a file into a store at `to`. @return 0 or an error (text in error) */
int list_build(const struct kr_list_config *config, const char *to, char *error);
/** Fill in what tells one state of a file from another. */
void list_stamp(struct list_meta *meta, const struct stat *st);
