/* SPDX-License-Identifier: GPL-3.0-or-later */

#include "daemon/upstream.h"

#include <libknot/packet/wire.h>
#include <libknot/rrtype/opt.h>

#include "lib/budget.h"
#include "lib/check.h"
#include "lib/log.h"
#include "lib/resolve.h"
#include "daemon/siphash.h"
#include "daemon/tally.h"
#include "daemon/worker.h"

#define QUESTION_BUCKETS 4096
#define STREAM_BUCKETS 512
#define STREAMS_MAX 512      /**< upstream connections of a process */
#define STREAM_SILENT_MAX 2  /**< timeouts in a row after which it is taken for dead */
#define STREAM_STRIKES_MAX 3 /**< S-14 unsolicited messages before it is closed */
#define MISS_STREAM_MS 1000  /**< S-10 patience with the stream after a near miss */
#define INFLIGHT_FLOOR 8     /**< B-38 the limit never adapts below this */
#define ID_DRAWS_MAX 64      /**< draws for an id unused on a connection */

#define owner_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

/** How a question is being asked; near misses lead down the list, never up. */
enum phase {
	PHASE_PLAIN,       /**< as selection wanted */
	PHASE_MISS_STREAM, /**< a near miss: by stream */
	PHASE_MISS_UDP,    /**< no stream either: once more by UDP, from another port */
};

/** A ring of questions on a connection. */
struct ring {
	struct ring *prev, *next;
};

struct stream;

struct upstream_question {
	struct ring on_stream; /**< must be first */
	struct upstream *up;
	struct upstream_question *hash_next;
	struct upstream_waiter waiters; /**< sentinel of the ring, oldest first */
	uint32_t waiters_len;

	struct kr_transport via;
	struct netio_udp *udp;
	struct stream *stream;
	struct netio_timer timer;
	uint64_t sent_ms;
	uint64_t tally_cut, tally_addr;
	enum phase phase;
	uint16_t id;
	uint16_t payload; /**< largest UDP answer we asked for */
	bool is_hashed;
	bool is_over;         /**< its waiters are being told */
	bool was_reconnected; /**< asked again after a used connection broke */

	struct upstream_key key;
	size_t question_len; /**< name, type and class */
	size_t wire_len;
	uint8_t ns_name[KNOT_DNAME_MAXLEN];
	uint8_t wire[];
};

/** One connection to a server. */
struct stream {
	struct upstream *up;
	struct stream *hash_next;
	struct netio_stream *io;
	union kr_sockaddr addr;
	enum netio_stream_kind kind;
	struct netio_timer timer; /**< connecting or idle */
	struct ring questions;    /**< sentinel */
	uint32_t questions_len;
	uint32_t abandoned; /**< answers still to come that nobody waits for */
	uint64_t idle_since_ms;
	uint8_t strikes;
	uint8_t silent; /**< questions without answer in a row */
	bool is_open;
	bool was_used; /**< has carried an answer */
};

struct upstream {
	struct worker_ctx *worker;
	upstream_done_f on_done;
	upstream_miss_f on_miss;
	struct sip_key sip;
	struct tally in_flight; /**< per cut and per address */
	struct upstream_question *questions[QUESTION_BUCKETS];
	struct stream *streams[STREAM_BUCKETS];
	size_t streams_len;
};

static void question_timeout(struct netio_timer *timer);
static int ask_stream(struct upstream_question *qn);
static void stream_broken(struct stream *st, enum kr_selection_error error, bool close_it);

/* ---- small things ---- */

static void ring_init(struct ring *ring)
{
	ring->prev = ring->next = ring;
}

static void ring_unlink(struct ring *item)
{
	item->prev->next = item->next;
	item->next->prev = item->prev;
	ring_init(item);
}

static void ring_append(struct ring *ring, struct ring *item)
{
	item->prev = ring->prev;
	item->next = ring;
	ring->prev->next = item;
	ring->prev = item;
}

static void waiter_unlink(struct upstream_waiter *waiter)
{
	waiter->prev->next = waiter->next;
	waiter->next->prev = waiter->prev;
	waiter->prev = waiter->next = NULL;
	waiter->question = NULL;
}

static void waiter_append(struct upstream_question *qn, struct upstream_waiter *waiter)
{
	struct upstream_waiter *ring = &qn->waiters;
	waiter->question = qn;
	waiter->prev = ring->prev;
	waiter->next = ring;
	ring->prev->next = waiter;
	ring->prev = waiter;
	qn->waiters_len += 1;
}

static struct netio *io_of(const struct upstream *up)
{
	return up->worker->io;
}

static uint64_t now_of(const struct upstream *up)
{
	return up->worker->resolver->now_ms;
}

static uint64_t addr_hash(const struct upstream *up, const struct sockaddr *addr, uint8_t salt)
{
	uint8_t key[33];
	ssize_t len = kr_sockaddr_key(key, addr);
	if (len < 0)
		return salt;
	key[len] = salt;
	return siphash24(&up->sip, key, len + 1);
}

static uint64_t name_hash(const struct upstream *up, const knot_dname_t *name, uint8_t salt)
{
	uint8_t key[KNOT_DNAME_MAXLEN + 1];
	const size_t len = knot_dname_size(name);
	memcpy(key, name, len);
	knot_dname_to_lower(key);
	key[len] = salt;
	return siphash24(&up->sip, key, len + 1);
}

/* ---- budgets ---- */

/** B-02: packets about one owner name. */
static bool pay_name(const struct upstream_question *qn, const struct upstream_waiter *payer)
{
	struct upstream_ledger *ledger = payer->ledger;
	const uint64_t hash = name_hash(qn->up, qn->wire + KNOT_WIRE_HEADER_SIZE, 0);
	int i = 0;
	while (i < ledger->names_len && ledger->names[i] != hash)
		++i;
	if (i == ledger->names_len) {
		if (i == KR_BUDGET_PACKETS_MAX)
			return false;
		ledger->names[i] = hash;
		ledger->name_packets[i] = 0;
		ledger->names_len += 1;
	}
	if (ledger->name_packets[i] >= KR_BUDGET_NAME_PACKETS_MAX) {
		kr_budget_exhausted(payer->req, KR_BUDGET_NAME_PACKETS);
		return false;
	}
	ledger->name_packets[i] += 1;
	return true;
}

/** B-04: connects to one address. The request goes on if only this address has had its share. */
static bool may_connect(struct upstream_question *qn, const struct upstream_waiter *payer)
{
	struct upstream_ledger *ledger = payer->ledger;
	const uint64_t hash = addr_hash(qn->up, &qn->via.address.ip, 0);
	int i = 0;
	while (i < ledger->addrs_len && ledger->addrs[i] != hash)
		++i;
	if (i == ledger->addrs_len) {
		if (i == KR_BUDGET_CONNECTS_MAX)
			return false;
		ledger->addrs[i] = hash;
		ledger->addr_connects[i] = 0;
		ledger->addrs_len += 1;
	}
	if (ledger->addr_connects[i] >= KR_BUDGET_CONNECTS_ADDR_MAX)
		return false;
	ledger->addr_connects[i] += 1;
	return true;
}

/** The one who has waited longest pays; he is there as long as the question is. */
static struct upstream_waiter *payer_of(struct upstream_question *qn)
{
	return qn->waiters.next;
}

static int pay_packet(struct upstream_question *qn)
{
	struct upstream_waiter *payer = payer_of(qn);
	if (!kr_budget_spend(payer->req, KR_BUDGET_PACKETS, 1) || !pay_name(qn, payer))
		return kr_error(EDQUOT);
	return kr_ok();
}

static int pay_connect(struct upstream_question *qn)
{
	struct upstream_waiter *payer = payer_of(qn);
	if (!may_connect(qn, payer))
		return kr_error(ECONNREFUSED);
	if (!kr_budget_spend(payer->req, KR_BUDGET_CONNECTS, 1) ||
		!kr_budget_spend(payer->req, KR_BUDGET_PACKETS, 1))
		return kr_error(EDQUOT);
	return kr_ok();
}

/* ---- identical questions ---- */

void upstream_key_init(struct upstream *up, struct upstream_key *key, const struct kr_query *qry,
	const struct kr_transport *transport, const knot_dname_t *qname, uint16_t qtype)
{
	const struct kr_qflags *flags = &qry->flags;
	const bool is_forward = flags->STUB || flags->FORWARD;
	const knot_pkt_t *question = qry->request->qsource.packet;
	const bool client_cd = is_forward && question && knot_wire_get_cd(question->wire);
	uint8_t *at = key->at;
	*at++ = transport->protocol;
	*at++ = (flags->NO_EDNS ? 1 : 0) | (flags->STUB ? 2 : 0) | (flags->FORWARD ? 4 : 0) |
		(client_cd ? 8 : 0) | (flags->DNSSEC_WANT ? 16 : 0) | (flags->NO_0X20 ? 32 : 0) |
		(flags->ALLOW_LOCAL ? 64 : 0);
	knot_wire_write_u16(at, qtype);
	knot_wire_write_u16(at + 2, qry->sclass);
	at += 4;
	const size_t name_len = knot_dname_size(qname);
	memcpy(at, qname, name_len);
	knot_dname_to_lower(at);
	at += name_len;
	/* Any server of the same cut gives the same answer; forwarders have nothing in common. */
	if (is_forward || !qry->zone_cut.name) {
		ssize_t len = kr_sockaddr_key(at, &transport->address.ip);
		at += KR_MAX(len, 0);
	} else {
		const size_t cut_len = knot_dname_size(qry->zone_cut.name);
		memcpy(at, qry->zone_cut.name, cut_len);
		knot_dname_to_lower(at);
		at += cut_len;
	}
	key->len = at - key->at;
	key->hash = siphash24(&up->sip, key->at, key->len);
}

static struct upstream_question *find_question(struct upstream *up, const struct upstream_key *key)
{
	struct upstream_question *qn = up->questions[key->hash % QUESTION_BUCKETS];
	while (qn && (qn->key.hash != key->hash || qn->key.len != key->len ||
			     memcmp(qn->key.at, key->at, key->len) != 0))
		qn = qn->hash_next;
	return qn;
}

static void hash_question(struct upstream_question *qn)
{
	struct upstream_question **bucket = &qn->up->questions[qn->key.hash % QUESTION_BUCKETS];
	qn->hash_next = *bucket;
	*bucket = qn;
	qn->is_hashed = true;
}

static void unhash_question(struct upstream_question *qn)
{
	if (!qn->is_hashed)
		return;
	struct upstream_question **at = &qn->up->questions[qn->key.hash % QUESTION_BUCKETS];
	while (*at != qn)
		at = &(*at)->hash_next;
	*at = qn->hash_next;
	qn->is_hashed = false;
}

bool upstream_join(
	struct upstream *up, struct upstream_waiter *waiter, const struct upstream_key *key)
{
	struct upstream_question *qn = find_question(up, key);
	if (!qn)
		return false;
	waiter->is_leader = false;
	waiter_append(qn, waiter);
	up->worker->stats.joined += 1;
	return true;
}

/* ---- a question's resources ---- */

static void stream_idle(struct stream *st);

static void leave_network(struct upstream_question *qn)
{
	struct netio *io = io_of(qn->up);
	io->ops->timer_stop(io, &qn->timer);
	if (qn->udp) {
		io->ops->udp_close(qn->udp);
		qn->udp = NULL;
	}
	if (qn->stream) {
		struct stream *st = qn->stream;
		qn->stream = NULL;
		ring_unlink(&qn->on_stream);
		st->questions_len -= 1;
		if (st->questions_len == 0)
			stream_idle(st);
	}
}

/** Take it off all tables; the waiters stay on its ring. */
static void retire_question(struct upstream_question *qn)
{
	leave_network(qn);
	unhash_question(qn);
	tally_give(&qn->up->in_flight, qn->tally_cut);
	tally_give(&qn->up->in_flight, qn->tally_addr);
}

/** It is over: tell everyone who waits. */
static void question_done(struct upstream_question *qn, const struct upstream_outcome *outcome)
{
	struct upstream *up = qn->up;
	struct upstream_outcome told = *outcome;
	told.via = &qn->via;
	told.rtt_ms = now_of(up) - qn->sent_ms;
	if (told.error == KR_SELECTION_OK) {
		tally_grow(&up->in_flight, qn->tally_cut, WORKER_CUT_INFLIGHT_MAX);
		tally_grow(&up->in_flight, qn->tally_addr, WORKER_CUT_INFLIGHT_MAX);
	} else if (told.error == KR_SELECTION_QUERY_TIMEOUT) {
		tally_shrink(&up->in_flight, qn->tally_cut, INFLIGHT_FLOOR, now_of(up));
		tally_shrink(&up->in_flight, qn->tally_addr, INFLIGHT_FLOOR, now_of(up));
	}
	retire_question(qn);
	qn->is_over = true;
	while (qn->waiters.next != &qn->waiters) {
		struct upstream_waiter *waiter = qn->waiters.next;
		waiter_unlink(waiter);
		up->on_done(waiter, &told);
	}
	free(qn);
}

static void question_failed(struct upstream_question *qn, enum kr_selection_error error)
{
	const struct upstream_outcome outcome = {.error = error};
	question_done(qn, &outcome);
}

/** A later try could not be sent: which is worse, no budget or no way? */
static void question_stuck(struct upstream_question *qn, int ret, enum kr_selection_error error)
{
	const struct upstream_outcome outcome = {
		.error = error, .no_budget = ret == kr_error(EDQUOT)};
	question_done(qn, &outcome);
}

void upstream_cancel(struct upstream_waiter *waiter)
{
	struct upstream_question *qn = waiter->question;
	if (!qn)
		return;
	waiter_unlink(waiter);
	qn->waiters_len -= 1;
	if (qn->waiters_len > 0 || qn->is_over)
		return;
	if (qn->stream)
		qn->stream->abandoned += 1;
	retire_question(qn);
	free(qn);
}

/* ---- UDP ---- */

static void count_packet(struct upstream_question *qn, size_t *kind)
{
	struct worker_stats *stats = &qn->up->worker->stats;
	*kind += 1;
	if (qn->via.address.ip.sa_family == AF_INET6)
		stats->ipv6 += 1;
	else
		stats->ipv4 += 1;
}

static const struct sockaddr *source_for(const struct upstream *up, const struct sockaddr *dst)
{
	return dst->sa_family == AF_INET6 ? up->worker->out_addr6 : up->worker->out_addr4;
}

static void set_id(struct upstream_question *qn, uint16_t id)
{
	qn->id = id;
	knot_wire_set_id(qn->wire, id);
}

static int ask_udp(struct upstream_question *qn)
{
	struct upstream *up = qn->up;
	struct netio *io = io_of(up);
	int ret = pay_packet(qn);
	if (ret != 0)
		return ret;
	const struct sockaddr *dst = &qn->via.address.ip;
	ret = io->ops->udp_open(io, dst, source_for(up, dst), qn, &qn->udp);
	if (ret == 0) {
		uint16_t id;
		kr_ctx_rnd(up->worker->resolver, &id, sizeof(id));
		set_id(qn, id);
		ret = io->ops->udp_send(qn->udp, (struct bytes){qn->wire, qn->wire_len});
	}
	if (ret != 0) {
		up->worker->stats.err_udp += 1;
		return ret;
	}
	count_packet(qn, &up->worker->stats.udp);
	qn->sent_ms = now_of(up);
	return io->ops->timer_start(io, &qn->timer, qn->via.timeout);
}

/* ---- matching ---- */

enum match {
	MATCH_YES,
	MATCH_BARE,   /**< a refusal without question section */
	MATCH_NEAR,   /**< somebody guesses, or the server is odd */
	MATCH_IGNORE, /**< not for us to judge */
};

static uint8_t lower(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? c | 0x20 : c;
}

static bool same_question(const struct upstream_question *qn, const uint8_t *theirs, bool exact)
{
	const uint8_t *ours = qn->wire + KNOT_WIRE_HEADER_SIZE;
	if (exact)
		return memcmp(ours, theirs, qn->question_len) == 0;
	const size_t name_len = qn->question_len - 4;
	for (size_t i = 0; i < name_len; ++i) {
		if (lower(ours[i]) != lower(theirs[i]))
			return false;
	}
	return memcmp(ours + name_len, theirs + name_len, 4) == 0;
}

static bool is_bare_refusal(struct bytes in)
{
	const uint8_t rcode = knot_wire_get_rcode(in.at);
	return rcode == KNOT_RCODE_FORMERR || rcode == KNOT_RCODE_SERVFAIL ||
	       rcode == KNOT_RCODE_NOTIMPL || rcode == KNOT_RCODE_REFUSED;
}

/** S-09, S-10, S-13; addresses and ports were the kernel's to check. */
static enum match judge(const struct upstream_question *qn, struct bytes in, bool exact)
{
	if (in.len < KNOT_WIRE_HEADER_SIZE || !knot_wire_get_qr(in.at) ||
		knot_wire_get_opcode(in.at) != KNOT_OPCODE_QUERY)
		return MATCH_IGNORE;
	if (knot_wire_get_id(in.at) != qn->id)
		return MATCH_NEAR;
	const uint16_t qdcount = knot_wire_get_qdcount(in.at);
	if (qdcount == 0)
		return is_bare_refusal(in) ? MATCH_BARE : MATCH_NEAR;
	if (qdcount != 1 || in.len < KNOT_WIRE_HEADER_SIZE + qn->question_len)
		return MATCH_NEAR;
	return same_question(qn, in.at + KNOT_WIRE_HEADER_SIZE, exact) ? MATCH_YES : MATCH_NEAR;
}

/* ---- answers ---- */

static void question_answered(struct upstream_question *qn, struct bytes in)
{
	const struct upstream_outcome outcome = {.error = KR_SELECTION_OK, .answer = in};
	question_done(qn, &outcome);
}

/** Hand on only the header of `in` with our own question, e.g. as a refusal or as truncated. */
static void answered_by_header(struct upstream_question *qn, struct bytes in, bool truncated)
{
	uint8_t msg[KNOT_WIRE_HEADER_SIZE + KNOT_DNAME_MAXLEN + 4];
	memcpy(msg, in.at, KNOT_WIRE_HEADER_SIZE);
	memcpy(msg + KNOT_WIRE_HEADER_SIZE, qn->wire + KNOT_WIRE_HEADER_SIZE, qn->question_len);
	knot_wire_set_qdcount(msg, 1);
	knot_wire_set_ancount(msg, 0);
	knot_wire_set_nscount(msg, 0);
	knot_wire_set_arcount(msg, 0);
	if (truncated)
		knot_wire_set_tc(msg);
	question_answered(qn, (struct bytes){msg, KNOT_WIRE_HEADER_SIZE + qn->question_len});
}

/** S-10: no more UDP from this port; ask by stream, else once more from another port. */
static void near_miss(struct upstream_question *qn)
{
	struct upstream *up = qn->up;
	struct netio *io = io_of(up);
	up->worker->stats.near_miss += 1;
	if (qn->phase == PHASE_MISS_UDP) {
		question_failed(qn, KR_SELECTION_MISMATCHED);
		return;
	}
	up->on_miss(payer_of(qn), &qn->via);
	io->ops->udp_close(qn->udp);
	qn->udp = NULL;
	io->ops->timer_stop(io, &qn->timer);
	qn->phase = PHASE_MISS_STREAM;
	qn->via.protocol = KR_TRANSPORT_TCP;
	qn->via.timeout = MISS_STREAM_MS;
	int ret = ask_stream(qn);
	if (ret != 0)
		question_stuck(qn, ret, KR_SELECTION_MISMATCHED);
}

/** The stream after a near miss did not help. */
static void miss_once_more(struct upstream_question *qn)
{
	leave_network(qn);
	qn->phase = PHASE_MISS_UDP;
	qn->via.protocol = KR_TRANSPORT_UDP;
	int ret = ask_udp(qn);
	if (ret != 0)
		question_stuck(qn, ret, KR_SELECTION_MISMATCHED);
}

static void on_udp(void *owner, struct bytes in, int err)
{
	struct upstream_question *qn = owner;
	if (!in.at || err < 0) { /* an ICMP message for our port pair: this try is lost (S-12) */
		question_failed(qn, KR_SELECTION_QUERY_TIMEOUT);
		return;
	}
	switch (judge(qn, in, true)) {
	case MATCH_YES:
		if (in.len > qn->payload) /* may have been put together from forged fragments */
			answered_by_header(qn, in, true);
		else
			question_answered(qn, in);
		break;
	case MATCH_BARE:
		answered_by_header(qn, in, false);
		break;
	case MATCH_NEAR:
		near_miss(qn);
		break;
	case MATCH_IGNORE:
		break;
	}
}

static void question_timeout(struct netio_timer *timer)
{
	struct upstream_question *qn = owner_of(timer, struct upstream_question, timer);
	if (qn->phase == PHASE_MISS_STREAM) {
		if (qn->stream)
			qn->stream->abandoned += 1;
		miss_once_more(qn);
		return;
	}
	qn->up->worker->stats.timeout += 1;
	struct stream *st = qn->stream;
	if (st) {
		st->abandoned += 1;
		st->silent += 1;
	}
	qn->was_reconnected = true; /* its time is over in any case */
	if (st && st->silent >= STREAM_SILENT_MAX)
		stream_broken(st, KR_SELECTION_QUERY_TIMEOUT, true);
	else
		question_failed(qn, KR_SELECTION_QUERY_TIMEOUT);
}

/* ---- streams ---- */

static enum netio_stream_kind kind_of(const struct kr_transport *transport)
{
	return transport->protocol == KR_TRANSPORT_TLS ? NETIO_TLS : NETIO_TCP;
}

static struct stream **stream_bucket(struct upstream *up, const struct sockaddr *addr)
{
	return &up->streams[addr_hash(up, addr, 1) % STREAM_BUCKETS];
}

/** Forget a stream that netio has closed or is to close. Nothing may wait on it any more. */
static void stream_free(struct stream *st, bool close_it)
{
	struct upstream *up = st->up;
	struct netio *io = io_of(up);
	struct stream **at = stream_bucket(up, &st->addr.ip);
	while (*at != st)
		at = &(*at)->hash_next;
	*at = st->hash_next;
	up->streams_len -= 1;
	io->ops->timer_stop(io, &st->timer);
	if (close_it)
		io->ops->stream_close(st->io);
	free(st);
}

static void stream_idle(struct stream *st)
{
	struct netio *io = io_of(st->up);
	st->idle_since_ms = now_of(st->up);
	if (st->is_open)
		io->ops->timer_start(io, &st->timer, WORKER_STREAM_IDLE_MS);
}

static void retry_or_fail(
	struct upstream_question *qn, bool may_retry, enum kr_selection_error error)
{
	if (may_retry &&
		!qn->was_reconnected) { /* the server had closed it as idle, we just did not know */
		qn->was_reconnected = true;
		int ret = ask_stream(qn);
		if (ret != 0)
			question_stuck(qn, ret, error);
	} else if (qn->phase == PHASE_MISS_STREAM) {
		miss_once_more(qn);
	} else {
		question_failed(qn, error);
	}
}

/** The stream is gone; its questions go on without it. */
static void stream_broken(struct stream *st, enum kr_selection_error error, bool close_it)
{
	const bool may_retry = st->is_open && st->was_used;
	struct ring orphans;
	ring_init(&orphans);
	while (st->questions.next != &st->questions) {
		struct upstream_question *qn = (struct upstream_question *)st->questions.next;
		ring_unlink(&qn->on_stream);
		qn->stream = NULL;
		ring_append(&orphans, &qn->on_stream);
		io_of(st->up)->ops->timer_stop(io_of(st->up), &qn->timer);
	}
	stream_free(st, close_it);
	while (orphans.next != &orphans) {
		struct upstream_question *qn = (struct upstream_question *)orphans.next;
		ring_unlink(&qn->on_stream);
		retry_or_fail(qn, may_retry, error);
	}
}

static void stream_timeout(struct netio_timer *timer)
{
	struct stream *st = owner_of(timer, struct stream, timer);
	if (st->is_open && st->questions_len > 0)
		return;
	stream_broken(st, KR_SELECTION_TCP_CONNECT_TIMEOUT, true);
}

static void on_stream_open(void *owner)
{
	struct stream *st = owner;
	struct netio *io = io_of(st->up);
	st->is_open = true;
	io->ops->timer_stop(io, &st->timer);
	if (st->questions_len == 0)
		stream_idle(st);
}

static void on_stream_closed(void *owner, int err)
{
	struct stream *st = owner;
	enum kr_selection_error error = KR_SELECTION_TCP_CONNECT_FAILED;
	if (!st->is_open && st->kind == NETIO_TLS && err != kr_error(ETIMEDOUT) &&
		err != kr_error(ECONNREFUSED))
		error = KR_SELECTION_TLS_HANDSHAKE_FAILED;
	else if (!st->is_open && err == kr_error(ETIMEDOUT))
		error = KR_SELECTION_TCP_CONNECT_TIMEOUT;
	stream_broken(st, error, false);
}

static struct upstream_question *question_on(struct stream *st, uint16_t id)
{
	for (struct ring *at = st->questions.next; at != &st->questions; at = at->next) {
		struct upstream_question *qn = (struct upstream_question *)at;
		if (qn->id == id)
			return qn;
	}
	return NULL;
}

/** S-14: a message that nobody asked for. */
static void stream_strike(struct stream *st)
{
	if (st->abandoned > 0) {
		st->abandoned -= 1;
		return;
	}
	st->strikes += 1;
	if (st->strikes >= STREAM_STRIKES_MAX)
		stream_broken(st, KR_SELECTION_MISMATCHED, true);
}

static void on_stream_message(void *owner, struct bytes in)
{
	struct stream *st = owner;
	struct upstream_question *qn =
		in.len >= KNOT_WIRE_HEADER_SIZE ? question_on(st, knot_wire_get_id(in.at)) : NULL;
	const enum match match = qn ? judge(qn, in, false) : MATCH_NEAR;
	if (match == MATCH_YES || match == MATCH_BARE)
		st->was_used = true;
	st->silent = 0;
	if (match == MATCH_YES)
		question_answered(qn, in);
	else if (match == MATCH_BARE)
		answered_by_header(qn, in, false);
	else
		stream_strike(st);
}

static struct stream *find_stream(const struct upstream *up, const struct sockaddr *addr, int kind)
{
	struct stream *st = *stream_bucket((struct upstream *)up, addr);
	for (; st; st = st->hash_next) {
		if ((kind < 0 || st->kind == (enum netio_stream_kind)kind) &&
			kr_sockaddr_cmp(&st->addr.ip, addr) == 0)
			break;
	}
	return st;
}

/** A connection with room for one more question. */
static struct stream *usable_stream(struct upstream *up, const struct kr_transport *via)
{
	struct stream *st = *stream_bucket(up, &via->address.ip);
	for (; st; st = st->hash_next) {
		if (st->kind == kind_of(via) &&
			kr_sockaddr_cmp(&st->addr.ip, &via->address.ip) == 0 &&
			st->questions_len < up->worker->tcp_pipeline_max)
			break;
	}
	return st;
}

bool upstream_is_connected(const struct upstream *up, const struct sockaddr *addr)
{
	const struct stream *st = find_stream(up, addr, -1);
	return st && st->is_open;
}

bool upstream_is_connecting(const struct upstream *up, const struct sockaddr *addr)
{
	const struct stream *st = find_stream(up, addr, -1);
	return st && !st->is_open;
}

/** Too many connections: the one idle longest goes. @return false if all are busy */
static bool close_idlest(struct upstream *up)
{
	struct stream *idlest = NULL;
	for (size_t i = 0; i < STREAM_BUCKETS; ++i) {
		for (struct stream *st = up->streams[i]; st; st = st->hash_next) {
			if (st->questions_len == 0 &&
				(!idlest || st->idle_since_ms < idlest->idle_since_ms))
				idlest = st;
		}
	}
	if (idlest)
		stream_free(idlest, true);
	return idlest != NULL;
}

static int stream_connect(struct upstream_question *qn, struct stream **out)
{
	struct upstream *up = qn->up;
	struct netio *io = io_of(up);
	const struct sockaddr *dst = &qn->via.address.ip;
	if (up->streams_len >= STREAMS_MAX && !close_idlest(up))
		return kr_error(EMFILE);
	int ret = pay_connect(qn);
	if (ret != 0)
		return ret;
	struct stream *st = calloc(1, sizeof(*st));
	if (!st)
		return kr_error(ENOMEM);
	st->up = up;
	st->addr = qn->via.address;
	st->kind = kind_of(&qn->via);
	st->timer.fire = stream_timeout;
	ring_init(&st->questions);
	const void *tls = NULL;
	if (st->kind == NETIO_TLS && up->worker->tls_params)
		tls = up->worker->tls_params(up->worker, dst);
	ret = io->ops->stream_open(io, st->kind, dst, source_for(up, dst), tls, st, &st->io);
	if (ret != 0) {
		free(st);
		return ret;
	}
	struct stream **bucket = stream_bucket(up, dst);
	st->hash_next = *bucket;
	*bucket = st;
	up->streams_len += 1;
	io->ops->timer_start(io, &st->timer, WORKER_CONNECT_TIMEOUT_MS);
	*out = st;
	return kr_ok();
}

/** An id that no other question on the connection has. */
static int unused_id(struct stream *st, uint16_t *id)
{
	for (int i = 0; i < ID_DRAWS_MAX; ++i) {
		kr_ctx_rnd(st->up->worker->resolver, id, sizeof(*id));
		if (!question_on(st, *id))
			return kr_ok();
	}
	return kr_error(EAGAIN);
}

static int ask_stream(struct upstream_question *qn)
{
	struct upstream *up = qn->up;
	struct netio *io = io_of(up);
	struct worker_stats *stats = &up->worker->stats;
	const bool is_tls = kind_of(&qn->via) == NETIO_TLS;
	int ret = kr_ok();
	struct stream *st = usable_stream(up, &qn->via);
	if (!st)
		ret = stream_connect(qn, &st);
	if (ret == 0)
		ret = pay_packet(qn);
	uint16_t id = 0;
	if (ret == 0)
		ret = unused_id(st, &id);
	if (ret == 0) {
		set_id(qn, id);
		ret = io->ops->stream_send(st->io, (struct bytes){qn->wire, qn->wire_len});
	}
	if (ret != 0) {
		if (ret != kr_error(EDQUOT))
			*(is_tls ? &stats->err_tls : &stats->err_tcp) += 1;
		return ret;
	}
	count_packet(qn, is_tls ? &stats->tls : &stats->tcp);
	qn->stream = st;
	ring_append(&st->questions, &qn->on_stream);
	st->questions_len += 1;
	if (st->is_open)
		io->ops->timer_stop(io, &st->timer);
	qn->sent_ms = now_of(up);
	return io->ops->timer_start(io, &qn->timer, qn->via.timeout);
}

/* ---- asking ---- */

static struct upstream_question *question_new(struct upstream *up, const struct upstream_key *key,
	const struct kr_transport *transport, const knot_pkt_t *pkt)
{
	struct upstream_question *qn = calloc(1, sizeof(*qn) + pkt->size);
	if (!qn)
		return NULL;
	qn->up = up;
	ring_init(&qn->on_stream);
	qn->waiters.prev = qn->waiters.next = &qn->waiters;
	qn->timer.fire = question_timeout;
	qn->key = *key;
	qn->via = *transport;
	if (transport->ns_name) {
		memcpy(qn->ns_name, transport->ns_name, knot_dname_size(transport->ns_name));
		qn->via.ns_name = qn->ns_name;
	}
	qn->wire_len = pkt->size;
	qn->question_len = pkt->qname_size + 4;
	memcpy(qn->wire, pkt->wire, pkt->size);
	const knot_rrset_t *opt = up->worker->resolver->upstream_opt_rr;
	const bool has_edns = knot_wire_get_arcount(qn->wire) > 0;
	qn->payload = KR_DNS_UDP_PLAIN;
	if (has_edns)
		qn->payload = KR_MAX(qn->payload, knot_edns_get_payload(opt));
	return qn;
}

/** B-38: room for one more question to this cut and this address? */
static int take_place(struct upstream_question *qn, const struct kr_query *qry)
{
	struct upstream *up = qn->up;
	const knot_dname_t *cut = qry->zone_cut.name ? qry->zone_cut.name : (const uint8_t *)"";
	const bool is_forward = qry->flags.STUB || qry->flags.FORWARD;
	qn->tally_addr = addr_hash(up, &qn->via.address.ip, 2);
	qn->tally_cut = is_forward ? addr_hash(up, &qn->via.address.ip, 3) : name_hash(up, cut, 3);
	if (tally_take(&up->in_flight, qn->tally_addr, WORKER_CUT_INFLIGHT_MAX) != 0)
		return kr_error(EBUSY);
	if (tally_take(&up->in_flight, qn->tally_cut, WORKER_CUT_INFLIGHT_MAX) != 0) {
		tally_give(&up->in_flight, qn->tally_addr);
		return kr_error(EBUSY);
	}
	return kr_ok();
}

int upstream_ask(struct upstream *up, struct upstream_waiter *waiter,
	const struct upstream_key *key, const struct kr_query *qry,
	const struct kr_transport *transport, const knot_pkt_t *pkt)
{
	if (pkt->size < KNOT_WIRE_HEADER_SIZE + pkt->qname_size + 4u || pkt->qname_size == 0)
		return kr_error(EINVAL);
	struct upstream_question *qn = question_new(up, key, transport, pkt);
	if (!qn)
		return kr_error(ENOMEM);
	int ret = take_place(qn, qry);
	if (ret != 0) {
		free(qn);
		return ret;
	}
	waiter->is_leader = true;
	waiter_append(qn, waiter);
	hash_question(qn);
	ret = transport->protocol == KR_TRANSPORT_UDP ? ask_udp(qn) : ask_stream(qn);
	if (ret != 0) {
		waiter_unlink(waiter);
		retire_question(qn);
		free(qn);
	}
	return ret;
}

/* ---- life ---- */

static const struct netio_events events = {
	.udp = on_udp,
	.stream_open = on_stream_open,
	.stream_message = on_stream_message,
	.stream_closed = on_stream_closed,
};

struct upstream *upstream_new(
	struct worker_ctx *worker, upstream_done_f on_done, upstream_miss_f on_miss)
{
	struct upstream *up = calloc(1, sizeof(*up));
	/* A question has a cut and an address; waiting requests bound the number of questions. */
	if (!up || tally_init(&up->in_flight, 2 * WORKER_REQUESTS_MAX) != 0) {
		free(up);
		return NULL;
	}
	up->worker = worker;
	up->on_done = on_done;
	up->on_miss = on_miss;
	kr_ctx_rnd(worker->resolver, &up->sip, sizeof(up->sip));
	worker->io->ops->listen(worker->io, &events);
	return up;
}

void upstream_free(struct upstream *up)
{
	if (!up)
		return;
	for (size_t i = 0; i < STREAM_BUCKETS; ++i) {
		while (up->streams[i])
			stream_free(up->streams[i], true);
	}
	tally_deinit(&up->in_flight);
	free(up);
}
