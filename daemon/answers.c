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
#define END_MS 5000           /**< this long before its end an answer is not used any more */
#define KEY_MAX (KNOT_DNAME_MAXLEN + 8)

/** Addresses of one set, side by side and equally long: they may be rotated. */
struct run {
	uint16_t at, size; /**< first record, bytes of each */
	uint16_t count;
};

struct entry {
	uint64_t hash;
	uint64_t generation;
	uint64_t stored_ms;
	uint64_t fresh_until_ms;
	size_t bytes;
	struct run run;
	uint16_t key_len, wire_len;
	uint16_t records; /**< number of TTLs */
	uint16_t ttl_at[RECORDS_MAX];
	uint8_t data[]; /**< key, wire */
};

struct answers {
	struct sip_key sip;
	size_t max_bytes, bytes, count;
	size_t mask; /**< sets - 1 */
	size_t hand; /**< next set to make room in */
	uint8_t out[ANSWERS_WIRE_MAX];
	struct entry *sets[][WAYS];
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

static void entry_drop(struct answers *answers, struct entry **place)
{
	if (!*place)
		return;
	answers->bytes -= (*place)->bytes;
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
			entry_drop(answers, &answers->sets[i][j]);
	}
	free(answers);
}

size_t answers_count(const struct answers *answers)
{
	return answers->count;
}

/** Sizes of answers differ by what fits; clients fall into few classes. */
static uint8_t size_class(uint16_t limit)
{
	static const uint16_t classes[] = {KR_DNS_UDP_PLAIN, KR_EDNS_PAYLOAD, 4096};
	uint8_t i = 0;
	while (i < KR_COUNT_OF(classes) && limit > classes[i])
		++i;
	return i;
}

static void key_init(struct answers *answers, struct key *key, const struct inquiry *inq,
	enum answers_via via, uint16_t limit)
{
	uint8_t *at = key->at;
	*at++ = (inq->rd ? 1 : 0) | (inq->ad ? 2 : 0) | (inq->cd ? 4 : 0) |
		(inq->has_edns ? 8 : 0) | (inq->has_do ? 16 : 0);
	*at++ = via;
	*at++ = size_class(limit);
	knot_wire_write_u16(at, inq->qtype);
	at += 2;
	memcpy(at, inq->qname, inq->qname_len);
	knot_dname_to_lower(at);
	key->len = at + inq->qname_len - key->at;
	key->hash = siphash24(&answers->sip, key->at, key->len);
}

static bool is_cacheable_question(const struct inquiry *inq)
{
	return inq->verdict == INQUIRY_RESOLVE && !inq->has_options && !inq->has_records;
}

static struct entry **find(struct answers *answers, const struct key *key)
{
	struct entry **set = answers->sets[key->hash & answers->mask];
	for (int i = 0; i < WAYS; ++i) {
		const struct entry *entry = set[i];
		if (entry && entry->hash == key->hash && entry->key_len == key->len &&
			memcmp(entry->data, key->at, key->len) == 0)
			return &set[i];
	}
	return NULL;
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

struct bytes answers_find(struct answers *answers, const struct inquiry *inq, struct bytes question,
	enum answers_via via, uint16_t limit, uint64_t generation, uint64_t now_ms, uint32_t rotate)
{
	const struct bytes none = {NULL, 0};
	if (!is_cacheable_question(inq))
		return none;
	struct key key;
	key_init(answers, &key, inq, via, limit);
	struct entry **place = find(answers, &key);
	if (!place)
		return none;
	const struct entry *entry = *place;
	if (entry->generation != generation || now_ms >= entry->fresh_until_ms) {
		entry_drop(answers, place);
		return none;
	}
	if (entry->wire_len > limit)
		return none;
	uint8_t *out = answers->out;
	const uint8_t *wire = entry->data + entry->key_len;
	memcpy(out, wire, entry->wire_len);
	if (rotate && entry->run.count > 1)
		rotate_run(out, wire, &entry->run, rotate);
	knot_wire_set_id(out, inq->id);
	memcpy(out + KNOT_WIRE_HEADER_SIZE, question.at + KNOT_WIRE_HEADER_SIZE, inq->qname_len);
	const uint32_t age_s = (now_ms - entry->stored_ms) / 1000;
	for (int i = 0; i < entry->records; ++i) {
		uint8_t *ttl = out + entry->ttl_at[i];
		knot_wire_write_u32(ttl, knot_wire_read_u32(ttl) - age_s);
	}
	return (struct bytes){out, entry->wire_len};
}

/* ---- storing ---- */

/** Where the TTLs are, and what else serving needs to know of the records. */
struct plan {
	uint16_t ttl_at[RECORDS_MAX];
	uint16_t records;
	uint32_t min_ttl;
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
	return at == len && plan->records > 0;
}

/** Everything in the answer came from ordinary resolution and may be repeated. */
static bool is_fit(const struct kr_request *req)
{
	const knot_pkt_t *answer = req->answer;
	if (!answer || !(req->state & KR_STATE_DONE) ||
		req->extended_error.info_code != KR_EDE_NONE || req->options.NO_CACHE ||
		req->options.TRACE || req->trace_log)
		return false;
	const uint8_t *wire = answer->wire;
	const uint8_t rcode = knot_wire_get_rcode(wire);
	if (knot_wire_get_tc(wire) || knot_wire_get_aa(wire) ||
		(rcode != KNOT_RCODE_NOERROR && rcode != KNOT_RCODE_NXDOMAIN))
		return false;
	const kr_qarray_t *resolved = &req->rplan.resolved;
	for (size_t i = 0; i < resolved->len; ++i) {
		const struct kr_qflags *flags = &resolved->at[i]->flags;
		if (flags->NO_CACHE || flags->EXPIRING || flags->DNSSEC_BOGUS)
			return false;
	}
	return resolved->len > 0;
}

/** The place for a new answer: its old one, a free one, or that of the oldest. */
static struct entry **place_for(struct answers *answers, const struct key *key)
{
	struct entry **place = find(answers, key);
	if (place)
		return place;
	struct entry **set = answers->sets[key->hash & answers->mask];
	place = &set[0];
	for (int i = 0; i < WAYS && *place; ++i) {
		if (!set[i] || set[i]->stored_ms < (*place)->stored_ms)
			place = &set[i];
	}
	return place;
}

static void make_room(struct answers *answers, size_t bytes)
{
	while (answers->count > 0 && answers->bytes + bytes > answers->max_bytes) {
		for (int i = 0; i < WAYS; ++i)
			entry_drop(answers, &answers->sets[answers->hand][i]);
		answers->hand = (answers->hand + 1) & answers->mask;
	}
}

void answers_store(struct answers *answers, const struct inquiry *inq, const struct kr_request *req,
	enum answers_via via, uint16_t limit, uint64_t generation, uint64_t now_ms)
{
	if (!is_cacheable_question(inq) || !is_fit(req))
		return;
	const knot_pkt_t *answer = req->answer;
	const size_t question_end = KNOT_WIRE_HEADER_SIZE + inq->qname_len + 4;
	struct plan plan;
	if (answer->size > ANSWERS_WIRE_MAX || answer->size < question_end ||
		!scan(&plan, answer->wire, answer->size, question_end))
		return;
	const uint64_t life_ms = (uint64_t)plan.min_ttl * 1000;
	const uint64_t end_ms = KR_MAX(END_MS, life_ms / 10);
	if (life_ms <= end_ms)
		return;
	struct key key;
	key_init(answers, &key, inq, via, limit);
	const size_t bytes = sizeof(struct entry) + key.len + answer->size;
	struct entry *entry = malloc(bytes);
	if (!entry)
		return;
	*entry = (struct entry){
		.hash = key.hash,
		.generation = generation,
		.stored_ms = now_ms,
		.fresh_until_ms = now_ms + life_ms - end_ms,
		.bytes = bytes,
		.run = plan.run,
		.key_len = key.len,
		.wire_len = answer->size,
		.records = plan.records,
	};
	memcpy(entry->ttl_at, plan.ttl_at, sizeof(entry->ttl_at));
	memcpy(entry->data, key.at, key.len);
	memcpy(entry->data + key.len, answer->wire, answer->size);
	make_room(answers, bytes);
	struct entry **place = place_for(answers, &key);
	entry_drop(answers, place);
	*place = entry;
	answers->bytes += bytes;
	answers->count += 1;
}
