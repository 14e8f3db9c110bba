/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Puts cases to the validating layer and prints its verdicts, for comparison with oracle.py.
 *
 * A case is a block of lines: `case ID`, `now SECONDS`, `zone NAME`, `question NAME TYPE RCODE`,
 * then sections `[anchor]`, `[key]`, `[answer]`, `[authority]` of zone-file lines, then `end`. One
 * line per case comes out: ID, verdict (secure, insecure, bogus), opt-out (0 or 1), EDE code. When
 * the layer asks whether a name is a zone, the answer is that it is proven not to be one. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <libknot/libknot.h>

#include "lib/dnssec.h"
#include "lib/dnssec/test_text.h"
#include "lib/layer/validate.h"
#include "lib/module.h"
#include "lib/resolve.h"
#include "lib/utils.h"

#define LINE_MAX_LEN 65536
#define SECTION_MAX_LEN (1 << 20)

enum section { ANCHOR, KEY, ANSWER, AUTHORITY, SECTION_COUNT };
static const char *const section_names[] = {"[anchor]", "[key]", "[answer]", "[authority]"};

/** A case as read. */
struct trial {
	char id[64];
	uint32_t now_s;
	knot_dname_t *zone, *name;
	uint16_t type;
	uint8_t rcode;
	char *text[SECTION_COUNT];
};

static const kr_layer_api_t *layer;

static void give_up(const char *why, const char *what)
{
	fprintf(stderr, "judge: %s: %s\n", why, what);
	exit(2);
}

static knot_dname_t *read_name(const char *text)
{
	knot_dname_t *name = knot_dname_from_str_alloc(text);
	if (!name)
		give_up("not a name", text);
	knot_dname_to_lower(name);
	return name;
}

static void read_question(struct trial *trial, const char *line)
{
	char name[1024], type[32], rcode[32];
	if (sscanf(line, "question %1023s %31s %31s", name, type, rcode) != 3 ||
		knot_rrtype_from_string(type, &trial->type) != 0)
		give_up("not a question", line);
	trial->name = read_name(name);
	trial->rcode = strcmp(rcode, "NXDOMAIN") == 0 ? KNOT_RCODE_NXDOMAIN : KNOT_RCODE_NOERROR;
}

static int find_section(const char *line)
{
	for (int i = 0; i < SECTION_COUNT; ++i) {
		if (strncmp(line, section_names[i], strlen(section_names[i])) == 0)
			return i;
	}
	return -1;
}

static void append(char **text, const char *line)
{
	const size_t len = *text ? strlen(*text) : 0;
	if (len + strlen(line) >= SECTION_MAX_LEN)
		give_up("too much text", line);
	*text = realloc(*text, len + strlen(line) + 1);
	strcpy(*text + len, line);
}

/** @return false at the end of input */
static bool read_trial(struct trial *trial)
{
	static char line[LINE_MAX_LEN];
	int section = -1;
	memset(trial, 0, sizeof(*trial));
	while (fgets(line, sizeof(line), stdin)) {
		const int named = find_section(line);
		char word[1024];
		if (strncmp(line, "end", 3) == 0)
			return true;
		if (named >= 0)
			section = named;
		else if (section >= 0)
			append(&trial->text[section], line);
		else if (sscanf(line, "case %63s", trial->id) == 1 ||
			 sscanf(line, "now %u", &trial->now_s) == 1)
			continue;
		else if (sscanf(line, "zone %1023s", word) == 1)
			trial->zone = read_name(word);
		else
			read_question(trial, line);
	}
	return false;
}

static void free_trial(struct trial *trial)
{
	knot_dname_free(trial->zone, NULL);
	knot_dname_free(trial->name, NULL);
	for (int i = 0; i < SECTION_COUNT; ++i)
		free(trial->text[i]);
}

static void no_error(
	struct kr_query *qry, const struct kr_transport *transport, enum kr_selection_error error)
{
}

static void random_bytes(void *data, void *buf, size_t len)
{
	memset(buf, 0x5a, len);
}

/** A context whose only contents are time and the anchor of the zone. */
static void open_context(
	struct kr_context *ctx, const struct trial *trial, const struct text_sets *anchors)
{
	memset(ctx, 0, sizeof(*ctx));
	ctx->now.tv_sec = trial->now_s;
	ctx->rnd = random_bytes;
	ctx->vld_limit_crypto = KR_VERIFY_MSG_MAX;
	ctx->trust_anchors = trie_create(NULL);
	ctx->negative_anchors = trie_create(NULL);
	/* The root covers the zone; its own anchor is what the chain of trust found. */
	static const uint8_t any[4 + 32] = {0, 1, 8, 2};
	kr_ta_add(ctx->trust_anchors, (const uint8_t *)"", KNOT_RRTYPE_DS, 0, any, sizeof(any));
}

static void close_context(struct kr_context *ctx)
{
	kr_ta_clear(ctx->trust_anchors);
	trie_free(ctx->trust_anchors);
	trie_free(ctx->negative_anchors);
}

/** Select records as iterate does: one RRSIG set per covered type. */
static void select_records(
	struct kr_query *qry, ranked_rr_array_t *array, const struct text_sets *sets)
{
	struct kr_request *req = qry->request;
	for (size_t i = 0; i < sets->len; ++i) {
		const knot_rdata_t *rd = sets->at[i]->rrs.rdata;
		for (uint16_t j = 0; j < sets->at[i]->rrs.count; ++j) {
			knot_rrset_t one = *sets->at[i];
			one.rrs.count = 1;
			one.rrs.size = knot_rdata_size(rd->len);
			one.rrs.rdata = (knot_rdata_t *)rd;
			const uint8_t rank =
				one.type == KNOT_RRTYPE_NS && array == &req->auth_selected
					? KR_RANK_TRY
					: KR_RANK_INITIAL | KR_RANK_AUTH;
			if (kr_ranked_rrarray_add(array, &one, rank, true, qry->uid, &req->pool) <
				0)
				give_up("cannot select", "record");
			rd = knot_rdataset_next((knot_rdata_t *)rd);
		}
	}
	if (kr_ranked_rrarray_finalize(array, qry->uid, &req->pool) != 0)
		give_up("cannot finalize", "records");
}

/** Pauses in the work on one message, which is bounded by B-14. */
#define PAUSES_MAX 8

/** Put one message to the layer. @return its state */
static int judge_message(struct kr_query *qry, const struct trial *trial,
	const struct text_sets *answer, const struct text_sets *authority)
{
	struct kr_request *req = qry->request;
	knot_pkt_t *pkt = knot_pkt_new(NULL, 512, &req->pool);
	knot_pkt_put_question(pkt, qry->sname, KNOT_CLASS_IN, qry->stype);
	knot_wire_set_qr(pkt->wire);
	knot_wire_set_rcode(pkt->wire, qry->stype == KNOT_RRTYPE_DNSKEY ? 0 : trial->rcode);
	select_records(qry, &req->answ_selected, answer);
	select_records(qry, &req->auth_selected, authority);
	kr_layer_t call = {.state = KR_STATE_DONE, .req = req, .api = layer};
	req->current_query = qry;
	int state, pauses = 0;
	while ((state = layer->consume(&call, pkt)) == KR_STATE_YIELD) {
		struct kr_query *asked = array_tail(req->rplan.pending);
		if (asked == qry && ++pauses <= PAUSES_MAX) { /* to let the loop breathe (B-32) */
			call.state = KR_STATE_YIELD;
			continue;
		}
		if (asked == qry || asked->stype != KNOT_RRTYPE_DS)
			give_up("yielded without a question", trial->id);
		kr_validate_deliver_ds(asked, KR_ZONE_NO_CUT, NULL);
		kr_rplan_pop(&req->rplan, asked);
		call.state = KR_STATE_YIELD;
	}
	req->current_query = NULL;
	return state;
}

static struct kr_query *push(struct kr_request *req, struct kr_query *parent,
	const knot_dname_t *name, uint16_t type, const struct trial *trial)
{
	struct kr_query *qry = kr_rplan_push(&req->rplan, parent, name, KNOT_CLASS_IN, type);
	qry->flags.DNSSEC_WANT = true;
	qry->server_selection.error = no_error;
	kr_zonecut_init(&qry->zone_cut, trial->zone, &req->pool);
	return qry;
}

/** The keys of the zone first, then the message itself. */
static const char *judge(struct kr_request *req, struct trial *trial, struct text_sets sets[])
{
	static const struct text_sets none;
	struct kr_query *qry = push(req, NULL, trial->name, trial->type, trial);
	struct kr_query *key = push(req, qry, trial->zone, KNOT_RRTYPE_DNSKEY, trial);
	qry->zone_cut.trust_anchor = key->zone_cut.trust_anchor =
		text_find(&sets[ANCHOR], KNOT_RRTYPE_DS);
	int state = judge_message(key, trial, &sets[KEY], &none);
	kr_rplan_pop(&req->rplan, key);
	if (state != KR_STATE_DONE)
		return "bogus";
	if (!qry->flags.DNSSEC_WANT)
		return "insecure";
	state = judge_message(qry, trial, &sets[ANSWER], &sets[AUTHORITY]);
	if (state != KR_STATE_DONE)
		return "bogus";
	return qry->flags.DNSSEC_INSECURE ? "insecure" : "secure";
}

static void run(struct trial *trial)
{
	struct text_sets sets[SECTION_COUNT] = {0};
	struct kr_context ctx;
	struct kr_request req = {.ctx = &ctx, .extended_error.info_code = KR_EDE_NONE};
	for (int i = 0; i < SECTION_COUNT; ++i) {
		const char *text = trial->text[i] ? trial->text[i] : "";
		if (!text_parse(&sets[i], text, strlen(text)))
			give_up("not a zone file", trial->id);
	}
	open_context(&ctx, trial, &sets[ANCHOR]);
	mm_ctx_mempool2(&req.pool, 16384);
	kr_rplan_init(&req.rplan, &req, &req.pool);
	const char *verdict = judge(&req, trial, sets);
	printf("%s %s %d %d\n", trial->id, verdict, req.rplan.initial->flags.DNSSEC_OPTOUT,
		req.extended_error.info_code);
	mp_delete(req.pool.ctx);
	close_context(&ctx);
	for (int i = 0; i < SECTION_COUNT; ++i)
		text_free(&sets[i]);
}

int main(void)
{
	struct kr_module module = {0};
	struct trial trial;
	kr_crypto_init();
	validate_init(&module);
	layer = module.layer;
	while (read_trial(&trial)) {
		run(&trial);
		free_trial(&trial);
	}
	kr_crypto_cleanup();
	return 0;
}
