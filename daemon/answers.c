/* SPDX-License-Identifier: GPL-3.0-or-later */

#include "daemon/answers.h"

#include <string.h>
#include <libknot/descriptor.h>
#include <libknot/dname.h>
#include <libknot/packet/wire.h>

#include "daemon/siphash.h"

#define WAYS 4                /**< places an answer may take */
#define ENTRY_BYTES_GUESS 384 /**< for the number of sets */
#define RECORDS_MAX 64        /**< answers with more records are not kept */
#define END_S 5               /**< keep_off_end: this long before its end, and 1 % of its life */
#define MADE_LIFE_S 3600      /**< hand-made answers are made anew after this */
#define KEY_MAX (KNOT_DNAME_MAXLEN + 12)

/** Addresses of one set, side by side and equally long: they may be rotated. */
struct run {
	uint16_t at, size; /**< first record, bytes of each */
	uint16_t count;
};

struct entry {
	uint64_t hash;
	uint64_t generation;
	uint32_t stored_s;
	uint32_t life_s; /**< from then on */
	struct run run;
	uint16_t key_len, wire_len;
	uint8_t records;   /**< TTLs to count down */
	bool is_used;      /**< since the hand came by */
	uint16_t ttl_at[]; /**< then key, wire */
};

struct answers {
	struct sip_key sip;
	size_t max_bytes, bytes, count;
	size_t mask; /**< sets - 1 */
	size_t hand; /**< next set to make room in */
	uint8_t out[ANSWERS_WIRE_MAX];
	struct {
		uint32_t tags[WAYS]; /**< of hashes; spares looking at most of the others */
		struct entry *at[WAYS];
	} sets[];
};

/** Everything an answer depends on besides the configuration. */
struct key {
	size_t len;
	uint64_t hash;
	uint8_t at[KEY_MAX];
};

struct answers *answers_new(size_t max_bytes, const uint8_t seed[static 16])
{
	size_t sets = 64;
	while (sets * WAYS * ENTRY_BYTES_GUESS < max_bytes)
		sets *= 2;
	struct answers *answers = calloc(1, sizeof(*answers) + sets * sizeof(answers->sets[0]));
	if (!answers)
		return NULL;
	memcpy(&answers->sip, seed, sizeof(answers->sip));
	answers->max_bytes = max_bytes;
	answers->mask = sets - 1;
	return answers;
}

static size_t entry_size(size_t records, size_t key_len, size_t wire_len)
{
	return sizeof(struct entry) + records * sizeof(uint16_t) + key_len + wire_len;
}

static const uint8_t *entry_key(const struct entry *entry)
{
	return (const uint8_t *)&entry->ttl_at[entry->records];
}

static const uint8_t *entry_wire(const struct entry *entry)
{
	return entry_key(entry) + entry->key_len;
}

static void entry_drop(struct answers *answers, struct entry **place)
{
	const struct entry *entry = *place;
	if (!entry)
		return;
	answers->bytes -= entry_size(entry->records, entry->key_len, entry->wire_len);
	answers->count -= 1;
	free(*place);
	*place = NULL;
}

void answers_free(struct answers *answers)
{
	if (!answers)
		return;
	for (size_t i = 0; i <= answers->mask; ++i) {
		for (int j = 0; j < WAYS; ++j)
			entry_drop(answers, &answers->sets[i].at[j]);
	}
	free(answers);
}

size_t answers_count(const struct answers *answers)
{
	return answers->count;
}

size_t answers_bytes(const struct answers *answers)
{
	return answers->bytes;
}

static void key_init(struct answers *answers, struct key *key, const struct inquiry *inq,
	const struct answers_place *place)
{
	uint8_t *at = key->at;
	*at++ = (inq->rd ? 1 : 0) | (inq->ad ? 2 : 0) | (inq->cd ? 4 : 0) |
		(inq->has_edns ? 8 : 0) | (inq->has_do ? 16 : 0);
	*at++ = place->via << 4 | (inq->options & INQUIRY_OPTIONS_ANSWERED);
	knot_wire_write_u16(at, place->limit);
	at += 2;
	knot_wire_write_u32(at, place->client_class);
	at += 4;
	knot_wire_write_u16(at, inq->qtype);
	at += 2;
	memcpy(at, inq->qname, inq->qname_len);
	knot_dname_to_lower(at);
	key->len = at + inq->qname_len - key->at;
	key->hash = siphash24(&answers->sip, key->at, key->len);
}

static bool is_cacheable_question(const struct inquiry *inq)
{
	return inq->verdict == INQUIRY_RESOLVE && !(inq->options & INQUIRY_OPTION_OTHER) &&
	       !inq->has_records;
}

/** @return way of the set, or -1 */
static int find(const struct answers *answers, const struct key *key, size_t set)
{
	const uint32_t tag = key->hash >> 32;
	for (int i = 0; i < WAYS; ++i) {
		const struct entry *entry = answers->sets[set].at[i];
		if (answers->sets[set].tags[i] == tag && entry && entry->hash == key->hash &&
			entry->key_len == key->len &&
			memcmp(entry_key(entry), key->at, key->len) == 0)
			return i;
	}
	return -1;
}

/* ---- serving ---- */

static void rotate_run(uint8_t *out, const uint8_t *wire, const struct run *run, uint32_t rotate)
{
	const uint32_t by = rotate % run->count;
	const size_t head = (size_t)by * run->size;
	const size_t tail = (size_t)(run->count - by) * run->size;
	memcpy(out + run->at, wire + run->at + head, tail);
	memcpy(out + run->at + tail, wire + run->at, head);
}

/** Count down; hand-made answers have no TTLs listed. */
static void age_ttls(uint8_t *out, const struct entry *entry, uint32_t age_s)
{
	for (int i = 0; i < entry->records; ++i) {
		uint8_t *ttl = out + entry->ttl_at[i];
		knot_wire_write_u32(ttl, knot_wire_read_u32(ttl) - age_s);
	}
}

struct bytes answers_find(struct answers *answers, const struct inquiry *inq, struct bytes question,
	const struct answers_place *place, uint32_t rotate)
{
	const struct bytes none = {NULL, 0};
	if (!is_cacheable_question(inq))
		return none;
	struct key key;
	key_init(answers, &key, inq, place);
	const size_t set = key.hash & answers->mask;
	const int way = find(answers, &key, set);
	if (way < 0)
		return none;
	struct entry *entry = answers->sets[set].at[way];
	const uint32_t age_s = place->now_s - entry->stored_s; /* huge if the clock went back */
	const uint32_t end_s = place->keep_off_end ? END_S + entry->life_s / 100 : 0;
	if (entry->generation != place->generation || age_s >= entry->life_s) {
		entry_drop(answers, &answers->sets[set].at[way]);
		return none;
	}
	if (entry->records > 0 && entry->life_s - age_s <= end_s)
		return none;
	entry->is_used = true;
	uint8_t *out = answers->out;
	const uint8_t *wire = entry_wire(entry);
	memcpy(out, wire, entry->wire_len);
	if (rotate && entry->run.count > 1)
		rotate_run(out, wire, &entry->run, rotate);
	knot_wire_set_id(out, inq->id);
	memcpy(out + KNOT_WIRE_HEADER_SIZE, question.at + KNOT_WIRE_HEADER_SIZE, inq->qname_len);
	if (age_s > 0)
		age_ttls(out, entry, age_s);
	return (struct bytes){out, entry->wire_len};
}

/* ---- storing ---- */

/** Where the TTLs are, and what else serving needs to know of the records. */
struct plan {
	uint16_t ttl_at[RECORDS_MAX];
	uint8_t records;
	uint32_t min_ttl; /**< UINT32_MAX without records */
	struct run run;
};

/** Octets of the name at `at`; 0 if it does not end properly. The wire is our own. */
static size_t name_size(const uint8_t *wire, size_t len, size_t at)
{
	const size_t start = at;
	while (at < len) {
		if ((wire[at] & 0xc0) == 0xc0)
			return at + 2 <= len ? at + 2 - start : 0;
		if (wire[at] == 0)
			return at + 1 - start;
		at += 1 + wire[at];
	}
	return 0;
}

/** Lengthen the run of rotatable records by this one, or start another. */
static void extend_run(
	struct run *run, const uint8_t *wire, uint16_t at, uint16_t size, uint16_t type)
{
	const bool is_address = type == KNOT_RRTYPE_A || type == KNOT_RRTYPE_AAAA;
	const bool follows =
		run->count > 0 && at == run->at + run->count * run->size && size == run->size &&
		memcmp(wire + at, wire + run->at, 4) == 0; /* same owner pointer and type */
	if (!is_address || (wire[at] & 0xc0) != 0xc0) {
		if (run->count < 2)
			run->count = 0;
		return;
	}
	if (follows) {
		run->count += 1;
	} else if (run->count < 2) {
		*run = (struct run){.at = at, .size = size, .count = 1};
	}
}

static bool scan_record(struct plan *plan, const uint8_t *wire, size_t len, size_t *at)
{
	const size_t owner = name_size(wire, len, *at);
	if (owner == 0 || len - *at < owner + 10)
		return false;
	const size_t fixed = *at + owner;
	const uint16_t type = knot_wire_read_u16(wire + fixed);
	const uint16_t rdlen = knot_wire_read_u16(wire + fixed + 8);
	const size_t size = owner + 10 + rdlen;
	if (len - *at < size)
		return false;
	if (type != KNOT_RRTYPE_OPT) {
		if (plan->records == RECORDS_MAX)
			return false;
		plan->ttl_at[plan->records++] = fixed + 4;
		plan->min_ttl = KR_MIN(plan->min_ttl, knot_wire_read_u32(wire + fixed + 4));
		extend_run(&plan->run, wire, *at, size, type);
	}
	*at += size;
	return true;
}

static bool scan(struct plan *plan, const uint8_t *wire, size_t len, size_t question_end)
{
	memset(plan, 0, sizeof(*plan));
	plan->min_ttl = UINT32_MAX;
	const uint32_t total = (uint32_t)knot_wire_get_ancount(wire) + knot_wire_get_nscount(wire) +
			       knot_wire_get_arcount(wire);
	size_t at = question_end;
	for (uint32_t i = 0; i < total; ++i) {
		if (!scan_record(plan, wire, len, &at))
			return false;
	}
	if (plan->run.count < 2)
		plan->run.count = 0;
	return at == len;
}

static bool is_plain_query(const struct kr_query *qry, bool keep_off_end)
{
	const struct kr_qflags *flags = &qry->flags;
	return !flags->NO_CACHE && !flags->DNSSEC_BOGUS && !(flags->EXPIRING && keep_off_end);
}

/** Everything in the answer came from ordinary resolution and may be repeated. */
static bool is_resolved(const struct kr_request *req, bool keep_off_end)
{
	const uint8_t *wire = req->answer->wire;
	const uint8_t rcode = knot_wire_get_rcode(wire);
	const kr_qarray_t *resolved = &req->rplan.resolved;
	if (knot_wire_get_aa(wire) || req->extended_error.info_code != KR_EDE_NONE ||
		(rcode != KNOT_RCODE_NOERROR && rcode != KNOT_RCODE_NXDOMAIN))
		return false;
	for (size_t i = 0; i < resolved->len; ++i) {
		if (!is_plain_query(resolved->at[i], keep_off_end))
			return false;
	}
	return resolved->len > 0;
}

static bool is_fit(const struct kr_request *req, bool keep_off_end)
{
	if (!req->answer || !(req->state & KR_STATE_DONE) || req->repeat == KR_REPEAT_NEVER ||
		req->options.NO_CACHE || req->options.TRACE || req->trace_log)
		return false;
	return req->repeat == KR_REPEAT_MADE || is_resolved(req, keep_off_end);
}

/** Of a truncated answer: what was to be in it counts, too. */
static uint32_t selected_ttl(const ranked_rr_array_t *selected)
{
	uint32_t ttl = UINT32_MAX;
	for (size_t i = 0; i < selected->len; ++i) {
		if (selected->at[i]->to_wire)
			ttl = KR_MIN(ttl, selected->at[i]->rr->ttl);
	}
	return ttl;
}

/** How long the answer may be repeated; 0 = not at all. */
static uint32_t life_of(const struct kr_request *req, const struct plan *plan)
{
	if (req->repeat == KR_REPEAT_MADE)
		return MADE_LIFE_S;
	uint32_t ttl = plan->min_ttl;
	if (knot_wire_get_tc(req->answer->wire))
		ttl = KR_MIN(ttl, KR_MIN(selected_ttl(&req->answ_selected),
					  selected_ttl(&req->auth_selected)));
	return ttl == UINT32_MAX ? 0 : ttl;
}

/** The way for a new answer: its old one, a free one, or that of the oldest that nobody used. */
static int way_for(struct answers *answers, const struct key *key, size_t set)
{
	const int old = find(answers, key, set);
	if (old >= 0)
		return old;
	struct entry *const *at = answers->sets[set].at;
	int way = 0;
	for (int i = 0; i < WAYS; ++i) {
		if (!at[i])
			return i;
		const bool is_better = at[i]->is_used == at[way]->is_used
					       ? at[i]->stored_s < at[way]->stored_s
					       : !at[i]->is_used;
		if (is_better)
			way = i;
	}
	return way;
}

/** Drop what nobody used since the last round, until there is room. */
static void make_room(struct answers *answers, size_t bytes)
{
	while (answers->count > 0 && answers->bytes + bytes > answers->max_bytes) {
		for (int i = 0; i < WAYS; ++i) {
			struct entry **place = &answers->sets[answers->hand].at[i];
			if (*place && (*place)->is_used)
				(*place)->is_used = false;
			else
				entry_drop(answers, place);
		}
		answers->hand = (answers->hand + 1) & answers->mask;
	}
}

static struct entry *entry_new(const struct key *key, const struct plan *plan, struct bytes answer)
{
	struct entry *entry = malloc(entry_size(plan->records, key->len, answer.len));
	if (!entry)
		return NULL;
	*entry = (struct entry){
		.hash = key->hash,
		.run = plan->run,
		.key_len = key->len,
		.wire_len = answer.len,
		.records = plan->records,
	};
	memcpy(entry->ttl_at, plan->ttl_at, plan->records * sizeof(entry->ttl_at[0]));
	memcpy((uint8_t *)entry_key(entry), key->at, key->len);
	memcpy((uint8_t *)entry_wire(entry), answer.at, answer.len);
	return entry;
}

static void keep(struct answers *answers, const struct inquiry *inq, struct bytes answer,
	const struct plan *plan, uint32_t life_s, const struct answers_place *place)
{
	struct key key;
	key_init(answers, &key, inq, place);
	struct entry *entry = entry_new(&key, plan, answer);
	if (!entry)
		return;
	entry->generation = place->generation;
	entry->stored_s = place->now_s;
	entry->life_s = life_s;
	const size_t bytes = entry_size(plan->records, key.len, answer.len);
	make_room(answers, bytes);
	const size_t set = key.hash & answers->mask;
	const int way = way_for(answers, &key, set);
	entry_drop(answers, &answers->sets[set].at[way]);
	answers->sets[set].at[way] = entry;
	answers->sets[set].tags[way] = key.hash >> 32;
	answers->bytes += bytes;
	answers->count += 1;
}

/** @return is the answer of a size and shape that can be kept? */
static bool make_plan(struct plan *plan, const struct inquiry *inq, struct bytes answer,
	const struct answers_place *place)
{
	const size_t question_end = KNOT_WIRE_HEADER_SIZE + inq->qname_len + 4;
	return answer.len <= ANSWERS_WIRE_MAX && answer.len >= question_end &&
	       answer.len <= place->limit && scan(plan, answer.at, answer.len, question_end);
}

void answers_store(struct answers *answers, const struct inquiry *inq, const struct kr_request *req,
	const struct answers_place *place)
{
	struct plan plan;
	if (!is_cacheable_question(inq) || !is_fit(req, place->keep_off_end))
		return;
	const struct bytes answer = {req->answer->wire, req->answer->size};
	if (!make_plan(&plan, inq, answer, place))
		return;
	const uint32_t life_s = life_of(req, &plan);
	if (req->repeat == KR_REPEAT_MADE) { /* the same octets each time */
		plan.records = 0;
		plan.run.count = 0;
	}
	if (life_s > 0)
		keep(answers, inq, answer, &plan, life_s, place);
}

void answers_store_wire(struct answers *answers, const struct inquiry *inq, struct bytes answer,
	const struct answers_place *place)
{
	struct plan plan;
	if (is_cacheable_question(inq) && make_plan(&plan, inq, answer, place) &&
		plan.records > 0 && plan.min_ttl > 0)
		keep(answers, inq, answer, &plan, plan.min_ttl, place);
}
