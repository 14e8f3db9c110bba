/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Names and addresses told by the operator (hosts files), and the root servers. */

#include <arpa/inet.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <libknot/dname.h>
#include <libknot/wire.h>

#include "lib/module.h"
#include "lib/resolve.h"
#include "lib/utils.h"
#include "lib/generic/pack.h"
#include "lib/generic/trie.h"

#define HINTS_TTL_DEFAULT_S 5
#define HOSTS_FILE "/etc/hosts"

/** What is known; names are lower-case wire form. */
struct hints {
	kr_layer_api_t layer;
	struct kr_context *ctx;
	trie_t *forward; /**< name -> pack_t of raw addresses */
	trie_t *reverse; /**< reverse name -> pack_t of names, the last one counts */
	uint32_t ttl;
	bool use_nodata;
};

/* ---- tables ---- */

static int free_pack(trie_val_t *val, void *baton)
{
	pack_t *pack = *val;
	pack_clear(*pack);
	free(pack);
	return kr_ok();
}

static void table_free(trie_t *table)
{
	if (!table)
		return;
	trie_apply(table, free_pack, NULL);
	trie_free(table);
}

static pack_t *table_get(trie_t *table, const knot_dname_t *name)
{
	trie_val_t *val = trie_get_try(table, (const char *)name, knot_dname_size(name));
	return val ? *val : NULL;
}

/** Append an object unless it is there; with `to_end` it moves to the end. */
static int table_add(
	trie_t *table, const knot_dname_t *name, const void *obj, pack_objlen_t len, bool to_end)
{
	trie_val_t *val = trie_get_ins(table, (const char *)name, knot_dname_size(name));
	if (!val)
		return kr_error(ENOMEM);
	if (!*val)
		*val = calloc(1, sizeof(pack_t));
	pack_t *pack = *val;
	if (!pack)
		return kr_error(ENOMEM);
	if (pack_obj_find(pack, obj, len)) {
		if (!to_end)
			return kr_ok();
		(void)pack_obj_del(pack, obj, len);
	}
	if (pack_reserve(*pack, 1, len) != 0)
		return kr_error(ENOMEM);
	return pack_obj_push(pack, obj, len);
}

static void table_del(trie_t *table, const knot_dname_t *name, const void *obj, pack_objlen_t len)
{
	pack_t *pack = table_get(table, name);
	if (!pack)
		return;
	if (obj)
		(void)pack_obj_del(pack, obj, len);
	if (obj && pack->len > 0)
		return;
	trie_val_t val = NULL;
	if (trie_del(table, (const char *)name, knot_dname_size(name), &val) == 0)
		free_pack(&val, NULL);
}

/* ---- names and addresses ---- */

/** Name under which the PTR of an address is asked. */
static bool reverse_name(knot_dname_t *dst, const uint8_t *addr, size_t len)
{
	char text[16 * 4 + sizeof("ip6.arpa.")];
	char *at = text;
	for (size_t i = len; i > 0; --i) {
		const uint8_t octet = addr[i - 1];
		if (len == 4)
			at += sprintf(at, "%u.", octet);
		else
			at += sprintf(at, "%x.%x.", octet & 0xf, octet >> 4);
	}
	strcpy(at, len == 4 ? "in-addr.arpa." : "ip6.arpa.");
	return knot_dname_from_str(dst, text, KNOT_DNAME_MAXLEN) != NULL;
}

static bool parse_name(knot_dname_t *dst, const char *text)
{
	if (!text || !*text || !knot_dname_from_str(dst, text, KNOT_DNAME_MAXLEN))
		return false;
	knot_dname_to_lower(dst);
	return true;
}

/** @return 4, 16 or 0 */
static size_t parse_addr(uint8_t *dst, const char *text)
{
	union kr_sockaddr addr;
	if (!text || strchr(text, '%')) /* an interface of ours means nothing to clients */
		return 0;
	struct sockaddr *parsed = kr_straddr_socket(text, 0, NULL);
	if (!parsed)
		return 0;
	const int family = kr_inaddr_family(parsed);
	size_t len = 0;
	if (family == AF_INET || family == AF_INET6) {
		memcpy(&addr, parsed, kr_sockaddr_len(parsed));
		len = kr_inaddr_len(&addr.ip);
		memcpy(dst, kr_inaddr(&addr.ip), len);
	}
	free(parsed);
	return len;
}

static int add_pair(struct hints *hints, const char *name_text, const char *addr_text)
{
	knot_dname_storage_t name, ptr;
	uint8_t addr[16];
	const size_t len = parse_addr(addr, addr_text);
	if (!parse_name(name, name_text) || len == 0 || !reverse_name(ptr, addr, len))
		return kr_error(EINVAL);
	int ret = table_add(hints->forward, name, addr, len, false);
	if (ret == 0)
		ret = table_add(hints->reverse, ptr, name, knot_dname_size(name), true);
	return ret;
}

static void del_reverse(
	struct hints *hints, const knot_dname_t *name, const uint8_t *addr, size_t len)
{
	knot_dname_storage_t ptr;
	if (reverse_name(ptr, addr, len))
		table_del(hints->reverse, ptr, name, knot_dname_size(name));
}

/** @param addr_text NULL = all addresses of the name */
static int del_pair(struct hints *hints, const char *name_text, const char *addr_text)
{
	knot_dname_storage_t name;
	if (!parse_name(name, name_text))
		return kr_error(EINVAL);
	pack_t *pack = table_get(hints->forward, name);
	if (!pack)
		return kr_error(ENOENT);
	if (!addr_text) {
		for (uint8_t *it = pack_head(*pack); it != pack_tail(*pack); it = pack_obj_next(it))
			del_reverse(hints, name, pack_obj_val(it), pack_obj_len(it));
		table_del(hints->forward, name, NULL, 0);
		return kr_ok();
	}
	uint8_t addr[16];
	const size_t len = parse_addr(addr, addr_text);
	if (len == 0 || !pack_obj_find(pack, addr, len))
		return kr_error(ENOENT);
	del_reverse(hints, name, addr, len);
	table_del(hints->forward, name, addr, len);
	return kr_ok();
}

/* ---- answering ---- */

static int answer_start(struct kr_query *qry, knot_pkt_t *pkt)
{
	kr_pkt_recycle(pkt);
	if (knot_pkt_put_question(pkt, qry->sname, qry->sclass, qry->stype) != KNOT_EOK)
		return kr_error(ENOSPC);
	knot_wire_set_qr(pkt->wire);
	knot_wire_set_aa(pkt->wire);
	return knot_pkt_begin(pkt, KNOT_ANSWER) == KNOT_EOK ? kr_ok() : kr_error(EINVAL);
}

static int put_addresses(
	const struct hints *hints, struct kr_query *qry, knot_pkt_t *pkt, pack_t *addrs)
{
	const size_t want = qry->stype == KNOT_RRTYPE_A      ? 4
			    : qry->stype == KNOT_RRTYPE_AAAA ? 16
							     : 0;
	for (uint8_t *it = pack_head(*addrs); it != pack_tail(*addrs); it = pack_obj_next(it)) {
		if (pack_obj_len(it) != want)
			continue;
		int ret = kr_pkt_put(pkt, qry->sname, hints->ttl, qry->sclass, qry->stype,
			pack_obj_val(it), want);
		if (ret != 0)
			return ret;
	}
	return kr_ok();
}

static int put_ptr(const struct hints *hints, struct kr_query *qry, knot_pkt_t *pkt, pack_t *names)
{
	if (qry->stype != KNOT_RRTYPE_PTR)
		return kr_ok();
	const uint8_t *last = NULL;
	for (uint8_t *it = pack_head(*names); it != pack_tail(*names); it = pack_obj_next(it))
		last = it;
	return kr_pkt_put(pkt, qry->sname, hints->ttl, qry->sclass, KNOT_RRTYPE_PTR,
		pack_obj_val((uint8_t *)last), pack_obj_len((uint8_t *)last));
}

/** There is a name but no such record: say for how long that may be remembered (RFC 2308). */
static int put_soa(const struct hints *hints, struct kr_query *qry, knot_pkt_t *pkt)
{
	static const uint8_t rname[] = "\6nobody\7invalid";
	static const uint32_t timers[] = {1, 3600, 1200, 604800};
	uint8_t rdata[KNOT_DNAME_MAXLEN + sizeof(rname) + 5 * sizeof(uint32_t)];
	size_t at = knot_dname_size(qry->sname);
	memcpy(rdata, qry->sname, at);
	memcpy(rdata + at, rname, sizeof(rname));
	at += sizeof(rname);
	for (size_t i = 0; i < KR_COUNT_OF(timers); ++i, at += sizeof(uint32_t))
		knot_wire_write_u32(rdata + at, timers[i]);
	knot_wire_write_u32(rdata + at, hints->ttl);
	at += sizeof(uint32_t);
	if (knot_pkt_begin(pkt, KNOT_AUTHORITY) != KNOT_EOK)
		return kr_error(EINVAL);
	return kr_pkt_put(pkt, qry->sname, hints->ttl, qry->sclass, KNOT_RRTYPE_SOA, rdata, at);
}

static bool is_reverse(const knot_dname_t *name)
{
	return knot_dname_in_bailiwick(name, (const uint8_t *)"\7in-addr\4arpa") >= 0 ||
	       knot_dname_in_bailiwick(name, (const uint8_t *)"\3ip6\4arpa") >= 0;
}

/** Put what is known about the question. @return 0 answered, 1 not known here, < 0 error */
static int answer_from_hints(const struct hints *hints, struct kr_query *qry, knot_pkt_t *pkt)
{
	const bool is_plain = qry->stype == KNOT_RRTYPE_A || qry->stype == KNOT_RRTYPE_AAAA ||
			      qry->stype == KNOT_RRTYPE_PTR;
	if (!hints->use_nodata && !is_plain)
		return 1;
	const bool reverse = is_reverse(qry->sname);
	pack_t *known = table_get(reverse ? hints->reverse : hints->forward, qry->sname);
	if (!known)
		return 1;
	int ret = answer_start(qry, pkt);
	if (ret == 0)
		ret = reverse ? put_ptr(hints, qry, pkt, known)
			      : put_addresses(hints, qry, pkt, known);
	if (ret != 0)
		return ret;
	if (knot_wire_get_ancount(pkt->wire) > 0)
		return kr_ok();
	return hints->use_nodata ? put_soa(hints, qry, pkt) : 1;
}

static int hints_produce(kr_layer_t *ctx, knot_pkt_t *pkt)
{
	struct kr_query *qry = ctx->req->current_query;
	const struct kr_module *module = ctx->api->data;
	const struct hints *hints = module->data;
	if (!qry || (ctx->state & (KR_STATE_FAIL | KR_STATE_DONE)) || knot_wire_get_qr(pkt->wire) ||
		qry->sclass != KNOT_CLASS_IN)
		return ctx->state;
	int ret = answer_from_hints(hints, qry, pkt);
	if (ret != 0) {
		if (kr_make_query(qry, pkt) != 0)
			return KR_STATE_FAIL;
		return ctx->state;
	}
	kr_log_q(qry, HINT, "<= answered from hints\n");
	qry->flags.DNSSEC_WANT = false;
	qry->flags.CACHED = true;
	qry->flags.NO_MINIMIZE = true;
	pkt->parsed = pkt->size;
	return KR_STATE_DONE;
}

/* ---- hosts files ---- */

/** One line of a hosts file; broken ones are told and skipped. */
static void add_hosts_line(struct hints *hints, char *line, const char *path, unsigned number)
{
	char *comment = strchr(line, '#');
	if (comment)
		*comment = '\0';
	char *save = NULL;
	const char *addr = strtok_r(line, " \t\r\n", &save);
	if (!addr)
		return;
	const char *canonical = strtok_r(NULL, " \t\r\n", &save);
	int ret = canonical ? kr_ok() : kr_error(EINVAL);
	for (const char *alias; ret == 0 && (alias = strtok_r(NULL, " \t\r\n", &save));)
		ret = add_pair(hints, alias, addr);
	if (ret == 0)
		ret = add_pair(hints, canonical, addr); /* last: it is the one for PTR */
	if (ret != 0)
		kr_log_error(HINT, "%s:%u: invalid syntax, line skipped\n", path, number);
}

static int add_hosts_file(struct hints *hints, const char *path)
{
	FILE *file = fopen(path, "re");
	if (!file) {
		const int ret = kr_error(errno);
		kr_log_error(HINT, "reading '%s' failed: %s\n", path, strerror(-ret));
		return ret;
	}
	char *line = NULL;
	size_t size = 0;
	unsigned number = 0;
	for (ssize_t len; (len = getline(&line, &size, file)) >= 0;) {
		number += 1;
		if (strlen(line) == (size_t)len)
			add_hosts_line(hints, line, path, number);
		else /* an octet 0 */
			kr_log_error(HINT, "%s:%u: invalid syntax, line skipped\n", path, number);
	}
	free(line);
	fclose(file);
	return kr_ok();
}

/* ---- properties ---- */

static char *result(bool is_good)
{
	return strdup(is_good ? "{ \"result\": true }" : "{ \"result\": false }");
}

static void answers_changed(struct hints *hints)
{
	hints->ctx->generation += 1;
}

static char *hints_add_hosts(void *env, struct kr_module *module, const char *path)
{
	struct hints *hints = module->data;
	const int ret = add_hosts_file(hints, path ? path : HOSTS_FILE);
	answers_changed(hints);
	return result(ret == 0);
}

/** Split "NAME ADDR" in place. @return the address or NULL */
static char *split_pair(char *text)
{
	char *space = text + strcspn(text, " \t");
	if (!*space)
		return NULL;
	*space++ = '\0';
	space += strspn(space, " \t");
	return *space ? space : NULL;
}

static char *hints_set(void *env, struct kr_module *module, const char *input)
{
	struct hints *hints = module->data;
	auto_free char *text = input ? strdup(input) : NULL;
	if (!text)
		return NULL;
	char *addr = split_pair(text);
	const bool is_good = addr && add_pair(hints, text, addr) == 0;
	answers_changed(hints);
	return result(is_good);
}

static char *hints_del(void *env, struct kr_module *module, const char *input)
{
	struct hints *hints = module->data;
	auto_free char *text = input ? strdup(input) : NULL;
	if (!text)
		return NULL;
	char *addr = split_pair(text);
	const bool is_good = del_pair(hints, text, addr) == 0;
	answers_changed(hints);
	return result(is_good);
}

static json_t *addresses_json(pack_t *pack)
{
	json_t *list = json_array();
	for (uint8_t *it = pack_head(*pack); it != pack_tail(*pack); it = pack_obj_next(it)) {
		char text[INET6_ADDRSTRLEN];
		const int family = pack_obj_len(it) == 4 ? AF_INET : AF_INET6;
		if (inet_ntop(family, pack_obj_val(it), text, sizeof(text)))
			json_array_append_new(list, json_string(text));
	}
	return list;
}

static int add_name_json(const char *key, uint32_t len, trie_val_t *val, void *baton)
{
	char text[KNOT_DNAME_TXT_MAXLEN + 1];
	if (knot_dname_to_str(text, (const knot_dname_t *)key, sizeof(text)))
		json_object_set_new(baton, text, addresses_json(*val));
	return kr_ok();
}

/** Text of a JSON value; takes the reference. */
static char *json_text(json_t *value)
{
	char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
	json_decref(value);
	return text;
}

static char *hints_get(void *env, struct kr_module *module, const char *name_text)
{
	struct hints *hints = module->data;
	if (name_text) {
		knot_dname_storage_t name;
		pack_t *pack = parse_name(name, name_text) ? table_get(hints->forward, name) : NULL;
		return pack ? json_text(addresses_json(pack)) : NULL;
	}
	json_t *all = json_object();
	trie_apply_with_key(hints->forward, add_name_json, all);
	return json_text(all);
}

static char *hints_ttl(void *env, struct kr_module *module, const char *input)
{
	struct hints *hints = module->data;
	if (input) {
		char *end = NULL;
		errno = 0;
		const unsigned long ttl = strtoul(input, &end, 10);
		if (errno == 0 && *input != '-' && end != input && *end == '\0' &&
			ttl <= INT32_MAX) {
			hints->ttl = ttl;
			answers_changed(hints);
		}
	}
	char text[16];
	snprintf(text, sizeof(text), "%u", hints->ttl);
	return strdup(text);
}

static char *hints_use_nodata(void *env, struct kr_module *module, const char *input)
{
	struct hints *hints = module->data;
	const bool is_true = input && strcmp(input, "true") == 0;
	if (!is_true && (!input || strcmp(input, "false") != 0))
		return result(false);
	hints->use_nodata = is_true;
	answers_changed(hints);
	return result(true);
}

static void add_root(struct kr_zonecut *root, const char *name_text, const json_t *addr_json)
{
	knot_dname_storage_t name;
	uint8_t addr[16];
	const char *text = json_string_value(addr_json);
	const size_t len = text ? parse_addr(addr, text) : 0;
	if (len > 0 && parse_name(name, name_text))
		(void)kr_zonecut_add(root, name, addr, len);
}

static void set_roots(struct kr_zonecut *root, json_t *table)
{
	const char *name = NULL;
	json_t *addrs = NULL;
	kr_zonecut_set(root, (const knot_dname_t *)"");
	json_object_foreach(table, name, addrs)
	{
		if (json_is_string(addrs))
			add_root(root, name, addrs);
		size_t i = 0;
		json_t *addr = NULL;
		json_array_foreach(addrs, i, addr) add_root(root, name, addr);
	}
}

static char *hints_root(void *env, struct kr_module *module, const char *input)
{
	struct hints *hints = module->data;
	struct kr_zonecut *root = &hints->ctx->root_hints;
	if (input) {
		json_t *table = json_loads(input, 0, NULL);
		if (!json_is_object(table)) {
			json_decref(table);
			return NULL;
		}
		set_roots(root, table);
		json_decref(table);
	}
	json_t *all = json_object();
	trie_apply_with_key(root->nsset, add_name_json, all);
	return json_text(all);
}

/* ---- module ---- */

static int tables_reset(struct hints *hints)
{
	table_free(hints->forward);
	table_free(hints->reverse);
	hints->forward = trie_create(NULL);
	hints->reverse = trie_create(NULL);
	hints->ttl = HINTS_TTL_DEFAULT_S;
	hints->use_nodata = true;
	return hints->forward && hints->reverse ? kr_ok() : kr_error(ENOMEM);
}

/** Any name may be in the tables. */
static bool hints_concerns(const kr_layer_api_t *api, const struct kr_quick_question *question)
{
	const struct kr_module *module = api->data;
	const struct hints *hints = module->data;
	return trie_weight(hints->forward) > 0 || trie_weight(hints->reverse) > 0;
}

KR_EXPORT
int hints_init(struct kr_module *module);
KR_EXPORT
int hints_deinit(struct kr_module *module);
KR_EXPORT
int hints_config(struct kr_module *module, const char *path);

int hints_config(struct kr_module *module, const char *path)
{
	struct hints *hints = module->data;
	int ret = tables_reset(hints);
	if (ret == 0 && path && *path)
		ret = add_hosts_file(hints, path);
	answers_changed(hints);
	return ret;
}

int hints_init(struct kr_module *module)
{
	static const struct kr_prop props[] = {
		{hints_set, "set", "Set {name, address} hint"},
		{hints_del, "del", "Delete one {name, address} hint or all addresses of a name"},
		{hints_get, "get", "Addresses of a name, or all hints"},
		{hints_ttl, "ttl", "Get or set the TTL of hints, in seconds"},
		{hints_add_hosts, "add_hosts", "Add hints from a hosts file"},
		{hints_root, "root", "Get or replace the addresses of root servers"},
		{hints_use_nodata, "use_nodata", "Deny other types of known names"},
		{NULL, NULL, NULL},
	};
	struct hints *hints = calloc(1, sizeof(*hints));
	if (!hints)
		return kr_error(ENOMEM);
	hints->ctx = the_resolver;
	if (tables_reset(hints) != 0) {
		free(hints);
		return kr_error(ENOMEM);
	}
	hints->layer.produce = hints_produce;
	hints->layer.is_skippable = true;
	hints->layer.concerns = hints_concerns;
	hints->layer.data = module;
	module->data = hints;
	module->layer = &hints->layer;
	module->props = props;
	answers_changed(hints);
	return kr_ok();
}

int hints_deinit(struct kr_module *module)
{
	struct hints *hints = module->data;
	if (!hints)
		return kr_ok();
	table_free(hints->forward);
	table_free(hints->reverse);
	answers_changed(hints);
	free(hints);
	module->data = NULL;
	return kr_ok();
}

KR_MODULE_EXPORT(hints)
