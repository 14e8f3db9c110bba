/* SPDX-License-Identifier: GPL-3.0-or-later */

#include "lib/rules/list.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <libknot/wire.h>

#include "lib/generic/trie.h"
#include "lib/rules/list_impl.h"
#include "lib/rules/list_store.h"
#include "lib/rules/nets.h"
#include "lib/utils.h"

/** Entries whose hits are counted one by one. */
#define TOP_MAX 1024

struct kr_list {
	uint32_t refs;
	struct kr_list_config config;
	struct list_store *store;
	struct kr_nets *nets[KR_TRIGGER_COUNT]; /**< of address triggers; values point into store */
	struct kr_list_stats stats;
	struct list_watch watch;
	trie_t *top; /**< name → hits */
};

/* ---- loading ---- */

/** An address trigger: its value in the store. */
struct net_value {
	uint32_t len;
	const uint8_t *bytes;
};

static void free_net_value(struct kr_net *net, void *data)
{
	(void)data;
	free(net->val);
	net->val = NULL;
}

static void nets_free(struct kr_nets *nets[KR_TRIGGER_COUNT])
{
	for (unsigned i = 0; i < KR_TRIGGER_COUNT; ++i) {
		if (nets[i])
			kr_nets_each(nets[i], free_net_value, NULL);
		kr_nets_free(nets[i]);
		nets[i] = NULL;
	}
}

struct filling {
	struct kr_nets *nets;
	bool has_failed;
};

static void add_net(
	const uint8_t *key, size_t key_len, const uint8_t *bytes, size_t len, void *data)
{
	struct filling *filling = data;
	const int family = key_len > 2 && key[1] == 4 ? AF_INET : AF_INET6;
	struct net_value *value = calloc(1, sizeof(*value));
	struct kr_net *net = NULL;
	if (value && key_len == 3u + kr_family_len(family))
		net = kr_nets_add(filling->nets, family, key + 3, key[2]);
	if (!net || net->val) {
		free(value);
		filling->has_failed = true;
		return;
	}
	value->bytes = bytes;
	value->len = len;
	net->val = value;
}

/** Read address triggers into memory: they are few. */
static int load_nets(struct list_store *store, struct kr_nets *nets[KR_TRIGGER_COUNT])
{
	static const enum kr_trigger kinds[] = {
		KR_TRIGGER_CLIENT_IP, KR_TRIGGER_IP, KR_TRIGGER_NSIP};
	for (size_t i = 0; i < KR_COUNT_OF(kinds); ++i) {
		const enum kr_trigger kind = kinds[i];
		if (list_store_meta(store)->triggers[kind] == 0)
			continue;
		struct filling filling = {.nets = kr_nets_new()};
		nets[kind] = filling.nets;
		if (!filling.nets)
			return kr_error(ENOMEM);
		list_store_each(store, LIST_LETTERS[kind], add_net, &filling);
		if (filling.has_failed)
			return kr_error(ENOMEM);
	}
	return kr_ok();
}

/** Put a store into force. Takes it over. */
static int install(struct kr_list *list, struct list_store *store)
{
	struct kr_nets *nets[KR_TRIGGER_COUNT] = {NULL};
	int ret = load_nets(store, nets);
	if (ret != 0) {
		nets_free(nets);
		list_store_close(store);
		return ret;
	}
	nets_free(list->nets);
	list_store_close(list->store);
	memcpy(list->nets, nets, sizeof(nets));
	list->store = store;
	const struct list_meta *meta = list_store_meta(store);
	list->stats.entries = meta->entries;
	list->stats.skipped = meta->skipped;
	list->stats.serial = meta->serial;
	list->stats.generation += 1;
	list->stats.is_shared = list->watch.shared[0] != '\0';
	return kr_ok();
}

struct kr_list *kr_list_open(const struct kr_list_config *config, char *error)
{
	error[0] = '\0';
	struct kr_list *list = calloc(1, sizeof(*list));
	if (!list)
		return NULL;
	list->refs = 1;
	list->config = *config;
	list->config.path = strdup(config->path);
	list->config.dir = config->dir ? strdup(config->dir) : NULL;
	list->top = trie_create(NULL);
	struct list_store *store = NULL;
	if (list->config.path && list->top)
		store = list_watch_start(&list->watch, &list->config, error);
	if (store && install(list, store) == 0)
		return list;
	if (!error[0])
		snprintf(error, KR_LIST_ERROR_MAX, "out of memory");
	kr_list_unref(list);
	return NULL;
}

struct kr_list *kr_list_ref(struct kr_list *list)
{
	if (list)
		list->refs += 1;
	return list;
}

void kr_list_unref(struct kr_list *list)
{
	if (!list || --list->refs > 0)
		return;
	list_watch_stop(&list->watch);
	nets_free(list->nets);
	list_store_close(list->store);
	trie_free(list->top);
	free((char *)list->config.path);
	free((char *)list->config.dir);
	free(list);
}

/** A new generation with errors and far fewer entries is rather a broken file than a new list. */
static bool is_suspicious(const struct kr_list *list, const struct list_meta *fresh)
{
	return fresh->skipped > 0 && fresh->entries * 2 < list->stats.entries;
}

int kr_list_poll(struct kr_list *list, char *error)
{
	struct list_store *store = NULL;
	error[0] = '\0';
	int ret = list_watch_poll(&list->watch, &list->config, &store, error);
	if (ret <= 0)
		return ret;
	const struct list_meta *meta = list_store_meta(store);
	if (is_suspicious(list, meta)) {
		snprintf(error, KR_LIST_ERROR_MAX,
			"%" PRIu64 " entries instead of %" PRIu64 ", and %" PRIu64 " errors",
			meta->entries, list->stats.entries, meta->skipped);
		list_store_close(store);
		return kr_error(EBADMSG);
	}
	ret = install(list, store);
	if (ret == 0)
		return 1;
	snprintf(error, KR_LIST_ERROR_MAX, "%s", kr_strerror(ret));
	return ret;
}

/* ---- looking up ---- */

/** Find the item of a value that is for that side. */
static enum kr_verdict read_value(
	const uint8_t *at, size_t len, uint8_t side, struct kr_list_hit *hit)
{
	const uint8_t *end = at + len;
	while (at < end) {
		const uint8_t item = *at++;
		uint32_t size = 0;
		if ((item & ITEM_VERDICT) >= KR_VERDICT_DATA) {
			if ((size_t)(end - at) < sizeof(size))
				return KR_VERDICT_NONE;
			memcpy(&size, at, sizeof(size));
			at += sizeof(size);
			if ((size_t)(end - at) < size)
				return KR_VERDICT_NONE;
		}
		if (item & side) {
			hit->verdict = item & ITEM_VERDICT;
			hit->data = at;
			hit->len = size;
			return hit->verdict;
		}
		at += size;
	}
	return KR_VERDICT_NONE;
}

enum kr_verdict kr_list_find_name(struct kr_list *list, enum kr_trigger trigger,
	const struct kr_name_key *key, struct kr_list_hit *hit)
{
	uint8_t text[1 + KNOT_DNAME_MAXLEN];
	hit->verdict = KR_VERDICT_NONE;
	if (list_store_meta(list->store)->triggers[trigger] == 0)
		return KR_VERDICT_NONE;
	text[0] = LIST_LETTERS[trigger];
	memcpy(text + 1, key->key, key->ends[key->labels]);
	for (int n = key->labels; n >= 0; --n) {
		const uint8_t side = n == key->labels ? ITEM_ITSELF : ITEM_BELOW;
		size_t len = 0;
		const uint8_t *value = list_store_get(list->store, text, 1u + key->ends[n], &len);
		if (!value || read_value(value, len, side, hit) == KR_VERDICT_NONE)
			continue;
		hit->labels = n;
		hit->is_below = side == ITEM_BELOW;
		hit->is_addr = false;
		return hit->verdict;
	}
	return KR_VERDICT_NONE;
}

enum kr_verdict kr_list_find(
	struct kr_list *list, const knot_dname_t *name, struct kr_list_hit *hit)
{
	struct kr_name_key key;
	kr_name_key(&key, name);
	return kr_list_find_name(list, KR_TRIGGER_QNAME, &key, hit);
}

enum kr_verdict kr_list_find_addr(struct kr_list *list, enum kr_trigger trigger, int family,
	const uint8_t *addr, struct kr_list_hit *hit)
{
	const struct kr_net *found[KR_NETS_DEPTH_MAX];
	hit->verdict = KR_VERDICT_NONE;
	if (!list->nets[trigger])
		return KR_VERDICT_NONE;
	const size_t count = kr_nets_find_raw(list->nets[trigger], family, addr, found);
	if (count == 0)
		return KR_VERDICT_NONE;
	const struct net_value *value = found[count - 1]->val;
	hit->is_addr = true;
	return read_value(value->bytes, value->len, ITEM_ITSELF, hit);
}

bool kr_list_has(const struct kr_list *list, enum kr_trigger trigger)
{
	return list_store_meta(list->store)->triggers[trigger] > 0;
}

/* ---- what to do ---- */

static struct kr_action *data_action(const struct kr_list_hit *hit)
{
	struct kr_action *action = kr_action_new(KR_ACTION_ANSWER);
	if (!action)
		return NULL;
	kr_action_set_nodata(action, true);
	const uint8_t *end = hit->data + hit->len;
	for (const uint8_t *at = hit->data; end - at >= 8;) {
		const uint16_t len = knot_wire_read_u16(at + 6);
		if (end - at < 8 + len || kr_action_add_record(action, knot_wire_read_u16(at),
						  knot_wire_read_u32(at + 2), at + 8, len) != 0)
			break;
		at += 8 + len;
	}
	kr_action_even_ttls(action);
	return action;
}

static struct kr_action *alias_action(const struct kr_list_hit *hit)
{
	struct kr_action *action = kr_action_new(KR_ACTION_ALIAS);
	if (!action || hit->len < 5 ||
		knot_dname_wire_check(hit->data + 4, hit->data + hit->len, NULL) <= 0 ||
		kr_action_set_alias(action, hit->data + 4, knot_wire_read_u32(hit->data)) != 0) {
		kr_action_unref(action);
		return NULL;
	}
	return action;
}

struct kr_action *kr_list_action(struct kr_list *list, const struct kr_list_hit *hit)
{
	switch (hit->verdict) {
	case KR_VERDICT_NODATA:
		return data_action(&(struct kr_list_hit){.data = hit->data});
	case KR_VERDICT_PASS:
		return kr_action_new(KR_ACTION_PASS);
	case KR_VERDICT_DROP:
		return kr_action_new(list->config.no_answer ? KR_ACTION_NO_ANSWER : KR_ACTION_DROP);
	case KR_VERDICT_TC:
		return kr_action_new(KR_ACTION_TC);
	case KR_VERDICT_DATA:
		return data_action(hit);
	case KR_VERDICT_ALIAS:
		return alias_action(hit);
	default:
		return NULL;
	}
}

/* ---- counters ---- */

const knot_dname_t *kr_list_entry_name(const knot_dname_t *name, const struct kr_list_hit *hit)
{
	const size_t labels = knot_dname_labels(name, NULL);
	for (size_t skip = labels > hit->labels ? labels - hit->labels : 0; skip > 0; --skip)
		name += 1 + *name;
	return name;
}

void kr_list_count(struct kr_list *list, const knot_dname_t *name, const struct kr_list_hit *hit)
{
	list->stats.hits += 1;
	if (!name || hit->is_addr)
		return;
	name = kr_list_entry_name(name, hit);
	const uint32_t len = knot_dname_size(name);
	trie_val_t *val = trie_weight(list->top) < TOP_MAX
				  ? trie_get_ins(list->top, (const char *)name, len)
				  : trie_get_try(list->top, (const char *)name, len);
	if (val)
		*val = (uint8_t *)*val + 1; /* a number in the place of a pointer */
}

const char *kr_list_name(const struct kr_list *list)
{
	return list->config.path;
}

const struct kr_list_stats *kr_list_stats(const struct kr_list *list)
{
	return &list->stats;
}

uint64_t kr_list_top(const struct kr_list *list, size_t n, char *name, size_t len)
{
	uint64_t hits = 0;
	trie_it_t *it = trie_it_begin(list->top);
	if (!it)
		return 0;
	for (; n > 0 && !trie_it_finished(it); --n)
		trie_it_next(it);
	if (!trie_it_finished(it)) {
		size_t key_len = 0;
		const knot_dname_t *key = (const knot_dname_t *)trie_it_key(it, &key_len);
		if (knot_dname_to_str(name, key, len))
			hits = (uintptr_t)*trie_it_val(it);
	}
	trie_it_free(it);
	return hits;
}
