/* SPDX-License-Identifier: GPL-3.0-or-later */

#include "daemon/worker.h"

#include <string.h>
#include <libknot/packet/wire.h>
#include <libknot/rrtype/opt.h>

#include "lib/check.h"
#include "lib/log.h"
#include "lib/mm.h"
#include "lib/quick.h"
#include "daemon/answers.h"
#include "daemon/inquiry.h"
#include "daemon/siphash.h"
#include "daemon/tally.h"
#include "daemon/task.h"
#include "daemon/upstream.h"

#define SPARE_TASKS_MAX 256 /**< ended ones kept with their arena */
#define QUESTION_BUCKETS 1024
#define PUSH_OUT_AGE_MS 200  /**< a full house gives no place that was taken this recently */
#define IMPATIENT_PENDING 16 /**< B-36 with more pending a client waits less */
#define IMPATIENT_AGE_MS 1900
#define UID_PROBES 16      /**< ids tried to keep request numbers apart */
#define UID_INTERNAL 65536 /**< numbers of internal requests start here */

struct worker_ctx *the_worker;

struct task_list {
	struct qr_task *oldest, *newest;
};

struct worker_private {
	struct upstream *up;
	struct answers *answers;
	struct kr_quick *quick;
	struct task_scratch scratch;
	struct sip_key sip;
	struct tally prefixes;  /**< B-35 */
	struct tally questions; /**< B-37 */

	struct task_list all;
	struct task_list same[QUESTION_BUCKETS]; /**< clients' ones by question */
	struct qr_task *spare;                   /**< chained by `next` */
	struct qr_task *stripped;                /**< those without an arena */
	size_t spare_len;
	size_t with_client;

	uint8_t uids[65536 / 8]; /**< request numbers in use */
	uint32_t internal_uid;
};

/* ---- lists ---- */

/** One set of links of a task; the three kinds of list differ only in which they use. */
#define LIST_APPEND(list, task, before, after)                                                     \
	do {                                                                                       \
		(task)->before = (list)->newest;                                                   \
		(task)->after = NULL;                                                              \
		if ((list)->newest)                                                                \
			(list)->newest->after = (task);                                            \
		else                                                                               \
			(list)->oldest = (task);                                                   \
		(list)->newest = (task);                                                           \
	} while (0)

#define LIST_REMOVE(list, task, before, after)                                                     \
	do {                                                                                       \
		if ((task)->before)                                                                \
			(task)->before->after = (task)->after;                                     \
		else                                                                               \
			(list)->oldest = (task)->after;                                            \
		if ((task)->after)                                                                 \
			(task)->after->before = (task)->before;                                    \
		else                                                                               \
			(list)->newest = (task)->before;                                           \
	} while (0)

static void client_link(struct worker_client *client, struct qr_task *task)
{
	task->client = client;
	task->client_prev = NULL;
	task->client_next = client->tasks;
	if (client->tasks)
		client->tasks->client_prev = task;
	client->tasks = task;
	client->in_flight += 1;
	task->worker->priv->with_client += 1;
}

static void client_unlink(struct qr_task *task)
{
	struct worker_client *client = task->client;
	if (!client)
		return;
	if (task->client_prev)
		task->client_prev->client_next = task->client_next;
	else
		client->tasks = task->client_next;
	if (task->client_next)
		task->client_next->client_prev = task->client_prev;
	client->in_flight -= 1;
	task->client = NULL;
	task->worker->priv->with_client -= 1;
}

static struct task_list *bucket_of(struct worker_private *priv, uint64_t question_hash)
{
	return &priv->same[question_hash % QUESTION_BUCKETS];
}

/* ---- request numbers ---- */

static bool uid_is_used(const struct worker_private *priv, uint16_t uid)
{
	return priv->uids[uid / 8] & (1 << uid % 8);
}

/** The client's message id, or one close by if another request has it. */
static unsigned uid_take(struct worker_private *priv, uint16_t id)
{
	uint16_t uid = id;
	for (int i = 0; i < UID_PROBES && uid_is_used(priv, uid); ++i)
		uid += 1;
	priv->uids[uid / 8] |= 1 << uid % 8;
	return uid;
}

static void uid_give(struct worker_private *priv, unsigned uid)
{
	if (uid < UID_INTERNAL)
		priv->uids[uid / 8] &= ~(1 << uid % 8);
}

static unsigned uid_internal(struct worker_private *priv)
{
	priv->internal_uid += 1;
	if (priv->internal_uid < UID_INTERNAL)
		priv->internal_uid = UID_INTERNAL;
	return priv->internal_uid;
}

/* ---- the end of a task ---- */

static enum answers_via via_of(const struct kr_request_qsource_flags *flags)
{
	if (flags->http)
		return ANSWERS_HTTPS;
	if (flags->tls)
		return ANSWERS_TLS;
	return flags->tcp ? ANSWERS_STREAM : ANSWERS_UDP;
}

static bool is_udp(const struct worker_query *query)
{
	return via_of(&query->flags) == ANSWERS_UDP;
}

/** Largest answer to this message. */
static uint16_t answer_limit(const struct worker_ctx *worker, const struct inquiry *inq, bool udp)
{
	if (!udp)
		return KR_DNS_WIRE_MAX;
	if (!inq->has_edns)
		return KR_DNS_UDP_PLAIN;
	const uint16_t ours = knot_edns_get_payload(worker->resolver->downstream_opt_rr);
	return KR_MAX(KR_MIN(inq->payload, ours), KR_DNS_UDP_PLAIN);
}

/** B-36: who asked by UDP has given up or asked again; nobody is to be flooded with what he forgot.
 */
static bool is_too_old(const struct qr_task *task)
{
	if (!is_udp(&task->query))
		return false;
	const struct worker_private *priv = task->worker->priv;
	const uint64_t age = task->worker->resolver->now_ms - task->start_ms;
	const bool impatient = task->prefix_key &&
			       tally_count(&priv->prefixes, task->prefix_key) > IMPATIENT_PENDING;
	return age > (impatient ? IMPATIENT_AGE_MS : WORKER_ANSWER_AGE_MAX_MS);
}

static void send_answer(struct qr_task *task)
{
	struct kr_request *req = &task->req;
	struct worker_client *client = task->client;
	if (!client)
		return;
	const bool unwanted = req->options.NO_ANSWER && (req->state & KR_STATE_FAIL);
	struct bytes wire = {NULL, 0};
	if (req->answer && !unwanted && !task->is_silent && !is_too_old(task))
		wire = (struct bytes){req->answer->wire, req->answer->size};
	else
		task->worker->stats.dropped += 1;
	client->answer(client, &task->query, wire, req);
}

/** May finished answers be repeated under the present configuration? */
static bool may_repeat(const struct worker_ctx *worker, const struct inquiry *inq)
{
	const struct kr_context *ctx = worker->resolver;
	return worker->l0_enabled && worker->priv->answers && ctx->layers_skippable &&
	       !ctx->answers_vary && !(ctx->cookies_vary && (inq->options & INQUIRY_OPTION_COOKIE));
}

/** Where in the answer cache the answer to this question is, or would be. */
static struct answers_place place_of(const struct worker_ctx *worker, const struct inquiry *inq,
	const struct worker_query *query, uint32_t client_class)
{
	const struct kr_context *ctx = worker->resolver;
	return (struct answers_place){
		.via = via_of(&query->flags),
		.limit = answer_limit(worker, inq, is_udp(query)),
		.client_class = client_class,
		.generation = ctx->generation,
		.now_s = ctx->now.tv_sec,
		.keep_off_end = ctx->wants_expiring,
	};
}

static void remember_answer(struct qr_task *task)
{
	struct worker_ctx *worker = task->worker;
	if (!may_repeat(worker, &task->inquiry) || task->client_class == KR_CLIENT_UNIQUE ||
		task->generation != worker->resolver->generation || task->req.options.NO_ANSWER ||
		task->req.qsource.flags.internal)
		return;
	const struct answers_place place =
		place_of(worker, &task->inquiry, &task->query, task->client_class);
	answers_store(worker->priv->answers, &task->inquiry, &task->req, &place);
}

static void task_unlist(struct qr_task *task)
{
	struct worker_ctx *worker = task->worker;
	struct worker_private *priv = worker->priv;
	if (!task->is_listed)
		return;
	task->is_listed = false;
	LIST_REMOVE(&priv->all, task, prev, next);
	worker->stats.concurrent -= 1;
	uid_give(priv, task->req.uid);
	if (task->req.qsource.flags.internal)
		return;
	struct task_list *bucket = bucket_of(priv, task->question_hash);
	LIST_REMOVE(bucket, task, same_prev, same_next);
	tally_give(&priv->questions, task->question_hash);
	worker->stats.rconcurrent -= 1;
	if (task->prefix_key)
		tally_give(&priv->prefixes, task->prefix_key);
}

static void task_recycle(struct qr_task *task)
{
	struct worker_ctx *worker = task->worker;
	struct worker_private *priv = worker->priv;
	if (worker->on_request_free)
		worker->on_request_free(&task->req);
	if (priv->spare_len >= SPARE_TASKS_MAX) {
		task_strip(task);
		task->next = priv->stripped;
		priv->stripped = task;
		return;
	}
	task_reset(task);
	task->next = priv->spare;
	priv->spare = task;
	priv->spare_len += 1;
}

static void on_task_end(struct qr_task *task)
{
	if (task->end_state)
		*task->end_state = task->req.state;
	send_answer(task);
	remember_answer(task);
	client_unlink(task);
	task_unlist(task);
	task_recycle(task);
}

static struct qr_task *spare_task(struct worker_ctx *worker)
{
	struct worker_private *priv = worker->priv;
	struct qr_task *task = priv->spare;
	if (!task && priv->stripped && task_dress(priv->stripped) == 0) {
		task = priv->stripped;
		priv->stripped = task->next;
		task->next = NULL;
		return task;
	}
	if (!task)
		return task_new(worker, priv->up, &priv->scratch, on_task_end);
	priv->spare = task->next;
	priv->spare_len -= 1;
	task->next = NULL;
	return task;
}

/* ---- admission ---- */

/** B-35: a client is a /32 or a /56; datagrams are counted apart from what cannot be forged. */
static uint64_t prefix_key(const struct worker_ctx *worker, const struct worker_query *query)
{
	const struct sockaddr *addr = query->addr;
	const int family = kr_inaddr_family(addr);
	if (family != AF_INET && family != AF_INET6)
		return 0;
	uint8_t key[9] = {0};
	key[0] = (is_udp(query) ? 1 : 0) | (family == AF_INET6 ? 2 : 0);
	memcpy(key + 1, kr_inaddr(addr), family == AF_INET6 ? 7 : 4);
	return siphash24(&worker->priv->sip, key, sizeof(key)) | 1;
}

static uint64_t question_hash(const struct worker_ctx *worker, const struct inquiry *inq)
{
	uint8_t key[KNOT_DNAME_MAXLEN + 2];
	memcpy(key, inq->qname, inq->qname_len);
	knot_dname_to_lower(key);
	knot_wire_write_u16(key + inq->qname_len, inq->qtype);
	return siphash24(&worker->priv->sip, key, inq->qname_len + 2u);
}

/** A full house: the request that is there longest has to go. */
static bool push_out_oldest(struct worker_ctx *worker)
{
	struct qr_task *task = worker->priv->all.oldest;
	while (task && task->is_running)
		task = task->next;
	if (!task || worker->resolver->now_ms - task->start_ms < PUSH_OUT_AGE_MS)
		return false;
	kr_request_set_extended_error(&task->req, KNOT_EDNS_EDE_OTHER, "too busy");
	task_end(task, KR_STATE_FAIL);
	return true;
}

/** B-37: too many wait for the same answer: the oldest datagram among them is forgotten. */
static bool push_out_same(struct worker_ctx *worker, uint64_t hash)
{
	struct qr_task *task = bucket_of(worker->priv, hash)->oldest;
	while (task && (task->question_hash != hash || task->is_running || !is_udp(&task->query)))
		task = task->same_next;
	if (!task)
		return false;
	task->is_silent = true;
	task_end(task, KR_STATE_FAIL);
	return true;
}

static bool has_room(struct worker_ctx *worker, const struct worker_query *query, uint64_t prefix,
	uint64_t question)
{
	const struct worker_private *priv = worker->priv;
	const uint32_t limit = is_udp(query) ? WORKER_CLIENT_UDP_MAX : WORKER_CLIENT_STREAM_MAX;
	if (prefix && tally_count(&priv->prefixes, prefix) >= limit)
		return false;
	if (tally_count(&priv->questions, question) >= WORKER_JOINED_MAX &&
		!push_out_same(worker, question) && is_udp(query))
		return false;
	return worker->stats.concurrent < WORKER_REQUESTS_MAX || push_out_oldest(worker);
}

static void task_enlist(struct qr_task *task)
{
	struct worker_ctx *worker = task->worker;
	struct worker_private *priv = worker->priv;
	task->is_listed = true;
	LIST_APPEND(&priv->all, task, prev, next);
	worker->stats.queries += 1;
	worker->stats.concurrent += 1;
	if (task->req.qsource.flags.internal)
		return;
	struct task_list *bucket = bucket_of(priv, task->question_hash);
	LIST_APPEND(bucket, task, same_prev, same_next);
	tally_take(&priv->questions, task->question_hash, UINT32_MAX);
	worker->stats.rconcurrent += 1;
	if (task->prefix_key && tally_take(&priv->prefixes, task->prefix_key, UINT32_MAX) != 0)
		task->prefix_key = 0;
}

/* ---- clients' messages ---- */

static const struct sockaddr *keep_addr(union kr_sockaddr *place, const struct sockaddr *addr)
{
	const int len = addr ? kr_sockaddr_len(addr) : -1;
	if (len < 0 || (size_t)len > sizeof(*place))
		return NULL;
	memcpy(place, addr, len);
	return &place->ip;
}

static int keep_headers(struct qr_task *task, const kr_http_header_array_t *headers)
{
	knot_mm_t *pool = &task->req.pool;
	kr_http_header_array_t *kept = &task->req.qsource.headers;
	for (size_t i = 0; headers && i < headers->len; ++i) {
		const kr_http_header_array_entry_t copy = {
			.name = mm_strdup(pool, headers->at[i].name),
			.value = mm_strdup(pool, headers->at[i].value),
		};
		if (!copy.name || !copy.value || array_push_mm(*kept, copy, pool) < 0)
			return kr_error(ENOMEM);
	}
	return kr_ok();
}

/** Everything the request may want to know about how its question came. */
static int fill_qsource(
	struct qr_task *task, const struct worker_query *query, knot_pkt_t *question)
{
	struct kr_request *req = &task->req;
	task->query = *query;
	task->query.wire = (struct bytes){NULL, 0};
	task->query.headers = NULL;
	task->query.addr = keep_addr(&task->addr, query->addr);
	task->query.comm_addr = keep_addr(&task->comm_addr, query->comm_addr);
	if (!task->query.comm_addr)
		task->query.comm_addr = task->query.addr;
	task->query.dst_addr = keep_addr(&task->dst_addr, query->dst_addr);
	req->qsource.addr = task->query.addr;
	req->qsource.comm_addr = task->query.comm_addr;
	req->qsource.dst_addr = task->query.dst_addr;
	req->qsource.packet = question;
	req->qsource.flags = query->flags;
	req->qsource.comm_flags = query->comm_flags;
	req->qsource.size = query->wire.len;
	req->qsource.stream_id = query->stream_id;
	return keep_headers(task, query->headers);
}

static void answer_refusal(struct worker_ctx *worker, struct worker_client *client,
	const struct worker_query *query, const struct inquiry *inq, uint16_t rcode)
{
	uint8_t buf[INQUIRY_REFUSAL_MAX];
	const uint16_t payload = knot_edns_get_payload(worker->resolver->downstream_opt_rr);
	const size_t len = inquiry_refusal(inq, query->wire, rcode, payload, buf);
	client->answer(client, query, (struct bytes){buf, len}, NULL);
}

/** I-45, I-46: datagrams that cannot come from a client, or would be echoed for ever. */
static bool is_echo(const struct worker_query *query)
{
	const struct sockaddr *peer = query->comm_addr ? query->comm_addr : query->addr;
	if (!peer || !is_udp(query))
		return false;
	switch (kr_inaddr_port(peer)) {
	case 0:
	case 7:  /* echo */
	case 13: /* daytime */
	case 17: /* quote of the day */
	case 19: /* chargen */
	case 37: /* time */
		return true;
	default:
		break;
	}
	if (query->dst_addr && kr_sockaddr_cmp(peer, query->dst_addr) == 0)
		return true;
	const uint8_t *raw = (const uint8_t *)kr_inaddr(peer);
	if (peer->sa_family == AF_INET)
		return raw[0] >= 224; /* multicast, reserved, broadcast */
	return peer->sa_family == AF_INET6 && raw[0] == 0xff;
}

/** Refuse for lack of room: a datagram gets nothing, a stream an answer. */
static int refuse_full(struct worker_ctx *worker, struct worker_client *client,
	const struct worker_query *query, const struct inquiry *inq)
{
	worker->stats.refused_full += 1;
	if (is_udp(query)) {
		worker->stats.dropped += 1;
		return kr_error(EAGAIN);
	}
	answer_refusal(worker, client, query, inq, KNOT_RCODE_SERVFAIL);
	return kr_error(EAGAIN);
}

/**
 * The question as a packet. Payload sizes below 512 mean 512 (RFC 6891 section 6.2.3); some of them
 * are mistaken by the library for classes of ordinary records.
 */
static knot_pkt_t *parse_question(
	struct qr_task *task, const struct worker_query *query, const struct inquiry *inq)
{
	if (!inq->has_edns || inq->payload >= KR_DNS_UDP_PLAIN)
		return task_parse(task, query->wire);
	uint8_t *copy = mm_memdup(&task->req.pool, query->wire.at, query->wire.len);
	if (!copy)
		return NULL;
	knot_wire_write_u16(copy + inq->payload_at, KR_DNS_UDP_PLAIN);
	return task_parse(task, (struct bytes){copy, query->wire.len});
}

/** A good question that L0 does not know. */
static int admit(struct worker_ctx *worker, struct worker_client *client,
	const struct worker_query *query, const struct inquiry *inq, uint32_t class)
{
	const uint64_t prefix = prefix_key(worker, query);
	const uint64_t hash = question_hash(worker, inq);
	struct qr_task *task = has_room(worker, query, prefix, hash) ? spare_task(worker) : NULL;
	if (!task)
		return refuse_full(worker, client, query, inq);
	knot_pkt_t *question = parse_question(task, query, inq);
	if (!question || fill_qsource(task, query, question) != 0) {
		task_recycle(task);
		answer_refusal(worker, client, query, inq, KNOT_RCODE_FORMERR);
		return kr_ok();
	}
	task->inquiry = *inq;
	task->client_class = class;
	task->generation = worker->resolver->generation;
	task->inquiry.qname = knot_pkt_qname(question);
	task->prefix_key = prefix;
	task->question_hash = hash;
	task->req.uid = uid_take(worker->priv, inq->id);
	task_begin(task);
	task_enlist(task);
	client_link(client, task);
	task_start(task, question);
	return kr_ok();
}

static uint32_t client_class(const struct kr_context *ctx, const struct worker_query *query)
{
	if (query->headers) /* modules may look at them */
		return KR_CLIENT_UNIQUE;
	if (!ctx->client_class)
		return 0;
	const struct kr_client client = {
		.addr = query->addr, .dst_addr = query->dst_addr, .flags = query->flags};
	return ctx->client_class(ctx->client_class_data, &client);
}

static struct bytes find_answer(struct worker_ctx *worker, const struct worker_query *query,
	const struct inquiry *inq, uint32_t class)
{
	struct kr_context *ctx = worker->resolver;
	if (class == KR_CLIENT_UNIQUE || !may_repeat(worker, inq))
		return (struct bytes){NULL, 0};
	const uint32_t rotate = ctx->options.REORDER_RR ? kr_ctx_rnd32(ctx) : 0;
	const struct answers_place place = place_of(worker, inq, query, class);
	return answers_find(worker->priv->answers, inq, query->wire, &place, rotate);
}

/** Tell those who count or log. */
static void tell_repeated(struct worker_ctx *worker, const struct worker_query *query,
	const struct inquiry *inq, struct bytes answer)
{
	const struct kr_repeated what = {
		.addr = query->addr,
		.comm_addr = query->comm_addr,
		.dst_addr = query->dst_addr,
		.flags = query->flags,
		.query = query->wire.at,
		.query_len = query->wire.len,
		.answer = answer.at,
		.answer_len = answer.len,
		.has_edns = inq->has_edns,
		.has_do = inq->has_do,
	};
	for (const kr_layer_api_t **at = worker->resolver->repeat_hooks; at && *at; ++at)
		(*at)->repeated(*at, &what);
}

/** Out of the cache without a request? What is logged or traced has to be seen by the layers. */
static bool may_be_quick(const struct worker_ctx *worker, const struct worker_query *query,
	const struct inquiry *inq)
{
	return worker->quick_enabled && inq->rd && !inq->cd &&
	       !(inq->options & ~INQUIRY_OPTION_MUTE) && !inq->has_records && !query->flags.tls &&
	       !query->flags.http && !query->comm_flags.tls && kr_log_level < LOG_DEBUG &&
	       kr_log_groups_mask == 0 && kr_quick_is_allowed(worker->resolver);
}

static struct bytes quick_answer(struct worker_ctx *worker, const struct worker_query *query,
	const struct inquiry *inq, uint32_t class)
{
	struct worker_private *priv = worker->priv;
	knot_dname_storage_t name;
	if (class == KR_CLIENT_UNIQUE || !may_be_quick(worker, query, inq))
		return (struct bytes){NULL, 0};
	memcpy(name, inq->qname, inq->qname_len);
	knot_dname_to_lower(name);
	const struct kr_quick_question question = {
		.name = name,
		.type = inq->qtype,
		.has_edns = inq->has_edns,
		.has_do = inq->has_do,
		.has_ad = inq->ad,
	};
	const struct answers_place place = place_of(worker, inq, query, class);
	const size_t len = kr_quick_answer(
		priv->quick, worker->resolver, &question, query->wire.at, place.limit);
	const struct bytes answer = {len > 0 ? kr_quick_wire(priv->quick) : NULL, len};
	if (answer.at && may_repeat(worker, inq))
		answers_store_wire(priv->answers, inq, answer, &place);
	return answer;
}

int worker_submit(
	struct worker_ctx *worker, struct worker_client *client, const struct worker_query *query)
{
	struct inquiry inq;
	inquiry_examine(&inq, query->wire, !is_udp(query));
	if (inq.verdict == INQUIRY_DROP || is_echo(query)) {
		worker->stats.dropped += 1;
		return kr_error(EBADMSG);
	}
	if (inq.verdict == INQUIRY_REFUSE) {
		answer_refusal(worker, client, query, &inq, inq.rcode);
		return kr_ok();
	}
	const uint32_t class = client_class(worker->resolver, query);
	const struct bytes known = find_answer(worker, query, &inq, class);
	if (known.at) {
		worker->stats.queries += 1;
		worker->stats.l0_hits += 1;
		tell_repeated(worker, query, &inq, known);
		client->answer(client, query, known, NULL);
		return kr_ok();
	}
	const struct bytes quick = quick_answer(worker, query, &inq, class);
	if (quick.at) {
		worker->stats.queries += 1;
		worker->stats.quick += 1;
		tell_repeated(worker, query, &inq, quick);
		client->answer(client, query, quick, NULL);
		return kr_ok();
	}
	return admit(worker, client, query, &inq, class);
}

void worker_client_gone(struct worker_ctx *worker, struct worker_client *client)
{
	while (client->tasks)
		client_unlink(client->tasks);
}

size_t worker_pending(const struct worker_ctx *worker)
{
	return worker->priv ? worker->priv->with_client : 0;
}

void worker_foreach(struct worker_ctx *worker, void (*fn)(struct kr_request *req))
{
	if (!worker->priv)
		return;
	for (struct qr_task *task = worker->priv->all.oldest; task; task = task->next)
		fn(&task->req);
}

void worker_loop_end(struct worker_ctx *worker)
{
	if (kr_cache_is_open(&worker->resolver->cache))
		kr_cache_commit(&worker->resolver->cache);
}

struct upstream *worker_upstream(const struct worker_ctx *worker)
{
	return worker->priv ? worker->priv->up : NULL;
}

/* ---- internal queries ---- */

knot_pkt_t *worker_resolve_mk_pkt_dname(
	knot_dname_t *qname, uint16_t qtype, uint16_t qclass, const struct kr_qflags *options)
{
	knot_pkt_t *pkt = knot_pkt_new(NULL, KR_EDNS_PAYLOAD, NULL);
	if (!pkt)
		return NULL;
	knot_rrset_t *opt = knot_rrset_copy(the_worker->resolver->downstream_opt_rr, NULL);
	int ret = opt ? knot_pkt_put_question(pkt, qname, qclass, qtype) : KNOT_ENOMEM;
	if (ret == KNOT_EOK) {
		kr_ctx_rnd(the_worker->resolver, pkt->wire, sizeof(uint16_t)); /* the id */
		knot_wire_set_rd(pkt->wire);
		knot_wire_set_ad(pkt->wire);
		if (options && options->DNSSEC_CD)
			knot_wire_set_cd(pkt->wire);
		if (options && options->DNSSEC_WANT)
			knot_edns_set_do(opt);
		ret = knot_pkt_begin(pkt, KNOT_ADDITIONAL);
	}
	if (ret == KNOT_EOK)
		ret = knot_pkt_put(pkt, KNOT_COMPR_HINT_NONE, opt, 0);
	/* Parsed in a packet of its own: this one refers to `opt`, and would take a second one for
	 * an error. */
	knot_pkt_t *parsed = ret == KNOT_EOK ? knot_pkt_new(NULL, KR_EDNS_PAYLOAD, NULL) : NULL;
	ret = parsed ? knot_pkt_copy(parsed, pkt) : KNOT_ENOMEM;
	knot_pkt_free(pkt);
	knot_rrset_free(opt, NULL);
	if (ret == KNOT_EOK)
		return parsed;
	knot_pkt_free(parsed);
	return NULL;
}

knot_pkt_t *worker_resolve_mk_pkt(
	const char *qname_str, uint16_t qtype, uint16_t qclass, const struct kr_qflags *options)
{
	knot_dname_storage_t qname;
	if (!qname_str || !knot_dname_from_str(qname, qname_str, sizeof(qname)))
		return NULL;
	return worker_resolve_mk_pkt_dname(qname, qtype, qclass, options);
}

struct qr_task *worker_resolve_start(knot_pkt_t *query, struct kr_qflags options)
{
	struct worker_ctx *worker = the_worker;
	if (!worker || !query)
		return NULL;
	struct qr_task *task = spare_task(worker);
	knot_pkt_t *question =
		task ? task_parse(task, (struct bytes){query->wire, query->size}) : NULL;
	if (!question || question->qname_size == 0) {
		if (task)
			task_recycle(task);
		return NULL;
	}
	struct kr_request *req = &task->req;
	req->uid = uid_internal(worker->priv);
	req->qsource.packet = question;
	req->qsource.flags.internal = true;
	req->qsource.comm_flags.internal = true;
	req->qsource.size = query->size;
	req->qsource.stream_id = -1;
	task_begin(task);
	kr_qflags_set(&req->options, options);
	return task;
}

int worker_resolve_exec(struct qr_task *task, knot_pkt_t *query)
{
	int end_state = KR_STATE_CONSUME;
	if (!task)
		return kr_error(EINVAL);
	task->end_state = &end_state;
	task_enlist(task);
	task_start(task, (knot_pkt_t *)task->req.qsource.packet);
	if (end_state == KR_STATE_CONSUME) { /* it goes on without us */
		task->end_state = NULL;
		return kr_ok();
	}
	return end_state == KR_STATE_DONE ? kr_ok() : kr_error(EIO);
}

struct session *worker_request_get_source_session(const struct kr_request *req)
{
	const struct qr_task *task = req ? req->daemon_context : NULL;
	return task && task->client ? task->client->session : NULL;
}

struct kr_request *worker_task_request(struct qr_task *task)
{
	return task ? &task->req : NULL;
}

/* ---- life ---- */

int worker_set_l0(struct worker_ctx *worker, size_t max_bytes)
{
	struct worker_private *priv = worker->priv;
	struct answers *fresh = NULL;
	if (max_bytes > 0) {
		uint8_t seed[16];
		kr_ctx_rnd(worker->resolver, seed, sizeof(seed));
		fresh = answers_new(max_bytes, seed);
		if (!fresh)
			return kr_error(ENOMEM);
	}
	answers_free(priv->answers);
	priv->answers = fresh;
	worker->l0_enabled = fresh;
	worker->l0_max_bytes = max_bytes;
	return kr_ok();
}

int worker_init(struct worker_ctx *worker, struct kr_context *resolver, struct netio *io)
{
	struct worker_private *priv = calloc(1, sizeof(*priv));
	if (!priv)
		return kr_error(ENOMEM);
	worker->resolver = resolver;
	worker->io = io;
	worker->priv = priv;
	worker->count = 1;
	if (worker->tcp_pipeline_max == 0)
		worker->tcp_pipeline_max = 100;
	if (worker->l0_max_bytes == 0)
		worker->l0_max_bytes = ANSWERS_BYTES_DEFAULT;
	the_worker = worker;
	kr_ctx_rnd(resolver, &priv->sip, sizeof(priv->sip));
	priv->internal_uid = UID_INTERNAL;
	priv->up = upstream_new(worker, task_answered, task_near_miss);
	const bool is_l0_wanted = worker->l0_enabled;
	const int ret = worker_set_l0(worker, worker->l0_max_bytes);
	worker->l0_enabled = is_l0_wanted;
	priv->quick = kr_quick_new();
	if (!priv->up || !priv->quick || ret != 0 ||
		tally_init(&priv->prefixes, WORKER_REQUESTS_MAX) != 0 ||
		tally_init(&priv->questions, WORKER_REQUESTS_MAX) != 0) {
		worker_deinit(worker);
		return kr_error(ENOMEM);
	}
	return kr_ok();
}

static void free_tasks(struct qr_task *task)
{
	while (task) {
		struct qr_task *next = task->next;
		task_free(task);
		task = next;
	}
}

void worker_deinit(struct worker_ctx *worker)
{
	struct worker_private *priv = worker->priv;
	if (!priv)
		return;
	while (priv->all.oldest)
		task_end(priv->all.oldest, KR_STATE_FAIL);
	free_tasks(priv->spare);
	free_tasks(priv->stripped);
	upstream_free(priv->up);
	answers_free(priv->answers);
	kr_quick_free(priv->quick);
	task_scratch_deinit(&priv->scratch);
	tally_deinit(&priv->prefixes);
	tally_deinit(&priv->questions);
	free(priv);
	worker->priv = NULL;
	if (the_worker == worker)
		the_worker = NULL;
}
