/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Compiling a list: entries are collected, sorted, merged, and written in one go. */

#include <inttypes.h>
#include <lmdb.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lib/log.h"
#include "lib/rules/list_impl.h"
#include "lib/utils.h"

/** Room that LMDB reserves; the file only has the pages in use. */
#define MAP_BYTES (16ULL << 30)
/** Largest key: trigger and name. */
#define KEY_MAX (1 + KNOT_DNAME_MAXLEN)

static uint8_t *heap_take(struct builder *b, size_t len)
{
	if (b->heap_len + len > b->heap_cap) {
		const size_t cap = KR_MAX(b->heap_cap * 2, b->heap_len + len + 65536);
		uint8_t *heap = cap <= UINT32_MAX ? realloc(b->heap, cap) : NULL;
		if (!heap) {
			b->no_memory = true;
			return NULL;
		}
		b->heap = heap;
		b->heap_cap = cap;
	}
	uint8_t *at = b->heap + b->heap_len;
	b->heap_len += len;
	return at;
}

void builder_add(struct builder *b, enum kr_trigger trigger, const void *key, size_t key_len,
	uint8_t item, const void *data, size_t len)
{
	struct draft draft = {.at = b->heap_len, .key_len = key_len + 1, .item = item};
	uint8_t *at = heap_take(b, 1 + key_len + 4 + len);
	if (!at)
		return;
	at[0] = LIST_LETTERS[trigger];
	memcpy(at + 1, key, key_len);
	uint8_t head[8] = {0};
	memcpy(head, at, KR_MIN(draft.key_len, sizeof(head)));
	for (size_t i = 0; i < sizeof(head); ++i)
		draft.head = draft.head << 8 | head[i];
	const uint32_t size = len;
	memcpy(at + 1 + key_len, &size, sizeof(size));
	if (len > 0)
		memcpy(at + 1 + key_len + 4, data, len);
	if (array_push(b->drafts, draft) < 0)
		b->no_memory = true;
	b->meta.triggers[trigger] += 1;
}

void builder_add_name(struct builder *b, enum kr_trigger trigger, const knot_dname_t *name,
	uint8_t item, const void *data, size_t len)
{
	struct kr_name_key key;
	kr_name_key(&key, name);
	builder_add(b, trigger, key.key, key.ends[key.labels], item, data, len);
}

static void say(struct builder *b, uint64_t line, const char *fmt, va_list args)
{
	char text[256];
	vsnprintf(text, sizeof(text), fmt, args);
	kr_log_warning(POLICY, "%s %s:%" PRIu64 ": %s\n",
		b->meta.format == KR_LIST_RPZ ? "RPZ" : "list", b->path, line, text);
}

void builder_skip(struct builder *b, uint64_t line, const char *fmt, ...)
{
	if (++b->meta.skipped > LIST_WARNINGS_MAX)
		return;
	va_list args;
	va_start(args, fmt);
	say(b, line, fmt, args);
	va_end(args);
}

void builder_warn(struct builder *b, uint64_t line, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	say(b, line, fmt, args);
	va_end(args);
}

/* ---- order ---- */

static int draft_cmp(const void *left, const void *right, void *data)
{
	const struct draft *a = left;
	const struct draft *b = right;
	const uint8_t *heap = data;
	if (a->head != b->head)
		return a->head < b->head ? -1 : 1;
	const int cmp = memcmp(heap + a->at, heap + b->at, KR_MIN(a->key_len, b->key_len));
	if (cmp != 0)
		return cmp;
	if (a->key_len != b->key_len)
		return a->key_len < b->key_len ? -1 : 1;
	return a->at < b->at ? -1 : a->at > b->at; /* as they stood in the file */
}

static bool same_key(const struct builder *b, const struct draft *x, const struct draft *y)
{
	return x->key_len == y->key_len &&
	       memcmp(b->heap + x->at, b->heap + y->at, x->key_len) == 0;
}

/* ---- values ---- */

/** The items of one key. */
struct value {
	uint8_t bytes[2 * (LIST_DATA_MAX + 8)];
	size_t len;
};

static uint32_t data_len(const struct builder *b, const struct draft *draft)
{
	uint32_t len;
	memcpy(&len, b->heap + draft->at + draft->key_len, sizeof(len));
	return len;
}

/** The one among entries of the same kind that counts: data before others, else the last. */
static const struct draft *winner(const struct draft *from, size_t count, uint8_t side)
{
	const struct draft *best = NULL;
	for (size_t i = 0; i < count; ++i) {
		const struct draft *it = &from[i];
		if (!(it->item & side))
			continue;
		if (!best || (best->item & ITEM_VERDICT) != KR_VERDICT_DATA ||
			(it->item & ITEM_VERDICT) == KR_VERDICT_DATA)
			best = it;
	}
	return best;
}

static void put_item(struct value *value, uint8_t item, const void *data, uint32_t len)
{
	value->bytes[value->len++] = item;
	if ((item & ITEM_VERDICT) < KR_VERDICT_DATA)
		return;
	memcpy(value->bytes + value->len, &len, sizeof(len));
	memcpy(value->bytes + value->len + sizeof(len), data, len);
	value->len += sizeof(len) + len;
}

/** All records of a name in one item. @return false: too much */
static bool put_records(struct builder *b, struct value *value, const struct draft *from,
	size_t count, uint8_t side)
{
	uint8_t *data = value->bytes + value->len + 5;
	uint32_t len = 0;
	for (size_t i = 0; i < count; ++i) {
		const struct draft *it = &from[i];
		if (!(it->item & side) || (it->item & ITEM_VERDICT) != KR_VERDICT_DATA)
			continue;
		const uint32_t more = data_len(b, it);
		if (len + more > LIST_DATA_MAX)
			return false;
		memcpy(data + len, b->heap + it->at + it->key_len + 4, more);
		len += more;
	}
	value->bytes[value->len++] = side | KR_VERDICT_DATA;
	memcpy(value->bytes + value->len, &len, sizeof(len));
	value->len += sizeof(len) + len;
	return true;
}

static void put_side(struct builder *b, struct value *value, const struct draft *from, size_t count,
	uint8_t side)
{
	const struct draft *best = winner(from, count, side);
	if (!best)
		return;
	if ((best->item & ITEM_VERDICT) == KR_VERDICT_DATA) {
		if (!put_records(b, value, from, count, side))
			builder_skip(b, 0, "too many records at one name");
		return;
	}
	put_item(value, side | (best->item & ITEM_VERDICT), b->heap + best->at + best->key_len + 4,
		data_len(b, best));
}

static void make_value(
	struct builder *b, struct value *value, const struct draft *from, size_t count)
{
	value->len = 0;
	put_side(b, value, from, count, ITEM_ITSELF);
	put_side(b, value, from, count, ITEM_BELOW);
	const uint8_t *bytes = value->bytes;
	if (value->len == 2 && (bytes[0] & ITEM_VERDICT) == (bytes[1] & ITEM_VERDICT)) {
		value->bytes[0] |= bytes[1];
		value->len = 1;
	}
}

/* ---- writing ---- */

static int put(
	MDB_txn *txn, MDB_dbi dbi, const void *key, size_t key_len, const void *data, size_t len)
{
	MDB_val k = {key_len, (void *)key};
	MDB_val v = {len, (void *)data};
	return mdb_put(txn, dbi, &k, &v, MDB_APPEND);
}

static int write_entries(struct builder *b, MDB_txn *txn, MDB_dbi dbi)
{
	struct value *value = malloc(sizeof(*value));
	int ret = value ? 0 : ENOMEM;
	for (size_t i = 0; ret == 0 && i < b->drafts.len;) {
		const struct draft *first = &b->drafts.at[i];
		size_t count = 1;
		while (i + count < b->drafts.len && same_key(b, first, &b->drafts.at[i + count]))
			++count;
		make_value(b, value, first, count);
		if (value->len > 0) {
			ret = put(txn, dbi, b->heap + first->at, first->key_len, value->bytes,
				value->len);
			b->meta.entries += 1;
		}
		i += count;
	}
	free(value);
	if (ret == 0)
		ret = put(
			txn, dbi, LIST_META_KEY, sizeof(LIST_META_KEY), &b->meta, sizeof(b->meta));
	return ret;
}

static int write_store(struct builder *b, const char *to)
{
	MDB_env *env = NULL;
	MDB_txn *txn = NULL;
	MDB_dbi dbi;
	int ret = mdb_env_create(&env);
	if (ret == 0)
		ret = mdb_env_set_mapsize(env, MAP_BYTES);
	if (ret == 0)
		ret = mdb_env_open(env, to, MDB_NOSUBDIR | MDB_NOLOCK | MDB_NOSYNC, 0644);
	if (ret == 0)
		ret = mdb_txn_begin(env, NULL, 0, &txn);
	if (ret == 0)
		ret = mdb_dbi_open(txn, NULL, 0, &dbi);
	if (ret == 0)
		ret = write_entries(b, txn, dbi);
	if (ret == 0) {
		ret = mdb_txn_commit(txn);
		txn = NULL;
	}
	if (ret == 0)
		ret = mdb_env_sync(env, 1);
	mdb_txn_abort(txn);
	mdb_env_close(env);
	if (ret != 0)
		snprintf(b->error, KR_LIST_ERROR_MAX, "cannot write '%.300s': %s", to,
			mdb_strerror(ret));
	return ret == 0 ? kr_ok() : kr_error(EIO);
}

void list_stamp(struct list_meta *meta, const struct stat *st)
{
	meta->dev = st->st_dev;
	meta->ino = st->st_ino;
	meta->size = st->st_size;
	meta->mtime_s = st->st_mtim.tv_sec;
	meta->mtime_ns = st->st_mtim.tv_nsec;
}

int list_build(const struct kr_list_config *config, const char *to, char *error)
{
	struct builder b = {.path = config->path, .error = error};
	struct stat st;
	error[0] = '\0';
	if (stat(config->path, &st) != 0) {
		snprintf(error, KR_LIST_ERROR_MAX, "%s", strerror(errno));
		return kr_error(errno);
	}
	b.meta.version = LIST_VERSION;
	b.meta.format = config->format;
	list_stamp(&b.meta, &st);
	int ret = list_parse(&b, config->format);
	if (ret == 0 && b.no_memory) {
		snprintf(error, KR_LIST_ERROR_MAX, "out of memory");
		ret = kr_error(ENOMEM);
	}
	if (ret == 0) {
		if (b.drafts.len > 0)
			qsort_r(b.drafts.at, b.drafts.len, sizeof(b.drafts.at[0]), draft_cmp,
				b.heap);
		ret = write_store(&b, to);
	}
	if (ret == 0 && b.meta.skipped > 0)
		kr_log_warning(POLICY,
			"list %s: %" PRIu64 " entries, %" PRIu64 " lines or records were skipped\n",
			b.path, b.meta.entries, b.meta.skipped);
	array_clear(b.drafts);
	free(b.heap);
	return ret;
}
