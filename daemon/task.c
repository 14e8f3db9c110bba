/* SPDX-License-Identifier: GPL-3.0-or-later */

#include "daemon/task.h"

#include <string.h>
#include <libknot/packet/wire.h>
#include <libknot/rrtype/opt.h>

#include "lib/budget.h"
#include "lib/check.h"
#include "lib/failcache.h"
#include "lib/log.h"
#include "lib/mm.h"
#include "lib/pointers.h"

#define ARENA_BYTES 16384
#define CPU_STEP_US 5000     /**< B-32 a step longer than this lets others run */
#define CPU_SLOW_US 20000    /**< B-31 a request that used this much goes behind */
#define CPU_SLOW_PAUSE_MS 10 /**< ... by pausing between its rounds */
#define CPU_MAX_US 60000     /**< B-31 then it fails */

/* ---- working packets ---- */

static uint8_t *scratch_take(struct task_scratch *scratch)
{
	if (scratch->depth >= TASK_DEPTH_MAX)
		return NULL;
	uint8_t **wire = &scratch->wires[scratch->depth];
	if (!*wire)
		*wire = malloc(KR_DNS_WIRE_MAX);
	if (*wire)
		scratch->depth += 1;
	return *wire;
}

void task_scratch_deinit(struct task_scratch *scratch)
{
	for (int i = 0; i < TASK_DEPTH_MAX; ++i)
		free(scratch->wires[i]);
	memset(scratch, 0, sizeof(*scratch));
}

/* ---- what the server selection asks ---- */

static struct upstream *the_upstream(void)
{
	return the_worker ? worker_upstream(the_worker) : NULL;
}

static bool is_tls_capable(struct sockaddr *addr)
{
	return the_worker && the_worker->tls_params && the_worker->tls_params(the_worker, addr);
}

static bool is_tcp_connected(struct sockaddr *addr)
{
	const struct upstream *up = the_upstream();
	return up && upstream_is_connected(up, addr);
}

static bool is_tcp_waiting(struct sockaddr *addr)
{
	const struct upstream *up = the_upstream();
	return up && upstream_is_connecting(up, addr);
}

/* ---- life ---- */

static void on_deadline(struct netio_timer *timer);
static void on_pause_over(struct netio_timer *timer);

struct qr_task *task_new(struct worker_ctx *worker, struct upstream *up,
	struct task_scratch *scratch, task_end_f on_end)
{
	struct qr_task *task = calloc(1, sizeof(*task));
	if (!task)
		return NULL;
	task->worker = worker;
	task->up = up;
	task->scratch = scratch;
	task->on_end = on_end;
	if (task_dress(task) == 0)
		return task;
	free(task);
	return NULL;
}

int task_dress(struct qr_task *task)
{
	mm_ctx_mempool2(&task->req.pool, ARENA_BYTES);
	return task->req.pool.ctx ? kr_ok() : kr_error(ENOMEM);
}

void task_strip(struct qr_task *task)
{
	task_reset(task);
	mp_delete(task->req.pool.ctx);
	task->req.pool.ctx = NULL;
}

void task_reset(struct qr_task *task)
{
	const struct qr_task old = {
		.req.pool = task->req.pool,
		.worker = task->worker,
		.up = task->up,
		.scratch = task->scratch,
		.on_end = task->on_end,
	};
	mp_flush(task->req.pool.ctx);
	*task = old;
}

void task_free(struct qr_task *task)
{
	if (!task)
		return;
	mp_delete(task->req.pool.ctx);
	free(task);
}

void task_begin(struct qr_task *task)
{
	struct kr_request *req = &task->req;
	req->extended_error.info_code = KR_EDE_NONE;
	req->vars_ref = -2;
	req->daemon_context = task;
	task->waiter.req = req;
	task->waiter.ledger = &task->ledger;
	task->deadline.fire = on_deadline;
	task->pause.fire = on_pause_over;
	task->start_ms = task->worker->resolver->now_ms;
	kr_resolve_begin(req, task->worker->resolver);
	req->selection_context.is_tls_capable = is_tls_capable;
	req->selection_context.is_tcp_connected = is_tcp_connected;
	req->selection_context.is_tcp_waiting = is_tcp_waiting;
}

knot_pkt_t *task_parse(struct qr_task *task, struct bytes wire)
{
	if (!kr_pointers_are_bounded(wire.at, wire.len))
		return NULL;
	knot_mm_t *pool = &task->req.pool;
	uint8_t *copy = mm_memdup(pool, wire.at, wire.len);
	knot_pkt_t *pkt = copy ? knot_pkt_new(copy, wire.len, pool) : NULL;
	if (!pkt || knot_pkt_parse(pkt, 0) != KNOT_EOK || pkt->parsed != pkt->size)
		return NULL;
	return pkt;
}

static void stop_waiting(struct qr_task *task)
{
	struct netio *io = task->worker->io;
	upstream_cancel(&task->waiter);
	if (task->deadline.due_ms)
		io->ops->timer_stop(io, &task->deadline);
	if (task->pause.due_ms)
		io->ops->timer_stop(io, &task->pause);
}

void task_end(struct qr_task *task, int state)
{
	if (task->is_ended)
		return;
	task->is_ended = true;
	stop_waiting(task);
	kr_resolve_finish(&task->req, state);
	task->on_end(task);
}

/* ---- limits of time ---- */

/** The limits which this side of the wall keeps end a request like its own limits do (B-00, B-33).
 */
static void remember_failure(struct qr_task *task)
{
	struct kr_request *req = &task->req;
	const struct kr_query *qry = req->rplan.initial;
	const struct kr_qflags *flags = qry ? &qry->flags : &req->options;
	if (!qry || flags->STUB || flags->FORWARD || flags->NO_CACHE)
		return;
	kr_failcache_add(req->ctx->failures, KR_FAIL_QUESTION, qry->sname, qry->stype,
		req->extended_error.info_code, req->ctx->now_ms);
}

static int give_up(struct qr_task *task, const char *why)
{
	kr_request_set_extended_error(&task->req, KNOT_EDNS_EDE_NREACH_AUTH, why);
	remember_failure(task);
	return KR_STATE_FAIL;
}

static void on_deadline(struct netio_timer *timer)
{
	struct qr_task *task =
		(struct qr_task *)((char *)timer - offsetof(struct qr_task, deadline));
	kr_budget_exhausted(&task->req, KR_BUDGET_TIME);
	task_end(task, give_up(task, "time limit of the request"));
}

static void start_deadline(struct qr_task *task)
{
	struct netio *io = task->worker->io;
	if (task->deadline.due_ms)
		return;
	const uint64_t age = task->worker->resolver->now_ms - task->start_ms;
	io->ops->timer_start(
		io, &task->deadline, age < KR_REQUEST_TIME_MS ? KR_REQUEST_TIME_MS - age : 0);
}

/* ---- the crank ---- */

static struct kr_query *open_query(struct qr_task *task)
{
	struct kr_rplan *plan = &task->req.rplan;
	return kr_rplan_empty(plan) ? NULL : array_tail(plan->pending);
}

static void report_error(
	struct qr_task *task, const struct kr_transport *via, enum kr_selection_error error)
{
	struct kr_query *qry = open_query(task);
	if (qry && qry->server_selection.initialized)
		qry->server_selection.error(qry, via, error);
}

/** The question could not be sent: is there another way? */
static int not_sent(struct qr_task *task, struct kr_transport *transport, int err)
{
	if (err == kr_error(EDQUOT))
		return give_up(task, "too many packets");
	if (err == kr_error(EBUSY))
		kr_request_set_extended_error(&task->req, KNOT_EDNS_EDE_NREACH_AUTH, "too busy");
	if (err == kr_error(EBUSY) || err == kr_error(ENOMEM))
		return KR_STATE_FAIL;
	const bool is_udp = transport->protocol == KR_TRANSPORT_UDP;
	report_error(task, transport,
		is_udp ? KR_SELECTION_QUERY_TIMEOUT : KR_SELECTION_TCP_CONNECT_FAILED);
	return kr_resolve_consume(&task->req, &transport, NULL);
}

/** Send the working packet, or wait with others for the same. @return CONSUME = waiting */
static int ask(struct qr_task *task, struct kr_transport *transport)
{
	struct kr_request *req = &task->req;
	struct kr_query *qry = open_query(task);
	if (kr_fails_assert(qry && transport))
		return KR_STATE_FAIL;
	struct upstream_key key;
	upstream_key_init(task->up, &key, qry, transport, knot_pkt_qname(task->pkt),
		knot_pkt_qtype(task->pkt));
	task->transport = transport;
	if (!upstream_join(task->up, &task->waiter, &key)) {
		const int family = transport->address.ip.sa_family;
		const struct sockaddr *src =
			family == AF_INET6 ? task->worker->out_addr6 : task->worker->out_addr4;
		if (kr_resolve_checkout(req, src, transport, task->pkt) != 0)
			return KR_STATE_FAIL;
		int ret = upstream_ask(task->up, &task->waiter, &key, qry, transport, task->pkt);
		if (ret != 0)
			return not_sent(task, transport, ret);
	}
	start_deadline(task);
	return KR_STATE_CONSUME;
}

/** @return KR_STATE_YIELD: others first; FAIL: too much; else go on */
static int mind_cpu(struct qr_task *task, uint64_t since_us)
{
	struct netio *io = task->worker->io;
	const uint64_t step_us = io->ops->cpu_us(io) - since_us;
	if (task->cpu_us + step_us > CPU_MAX_US) {
		kr_request_set_extended_error(&task->req, KNOT_EDNS_EDE_OTHER, "too much work");
		remember_failure(task);
		return KR_STATE_FAIL;
	}
	const bool is_slow = task->cpu_us + step_us > CPU_SLOW_US;
	if (step_us < CPU_STEP_US && !is_slow)
		return KR_STATE_PRODUCE;
	io->ops->timer_start(io, &task->pause, is_slow ? CPU_SLOW_PAUSE_MS : 1);
	start_deadline(task);
	return KR_STATE_YIELD;
}

/**
 * Turn the crank until a packet is under way, the loop has to breathe, or it is over.
 * @param since_us  CPU clock when this step began; 0 = a new question: what the cache answers at
 * once is not worth a look at the clock
 */
static int crank(struct qr_task *task, int state, uint64_t since_us)
{
	struct kr_request *req = &task->req;
	struct netio *io = task->worker->io;
	for (int round = 0; state == KR_STATE_PRODUCE; ++round) {
		if (since_us)
			state = mind_cpu(task, since_us);
		else if (round > 0)
			since_us = io->ops->cpu_us(io);
		if (state != KR_STATE_PRODUCE)
			break;
		struct kr_transport *transport = NULL;
		knot_pkt_clear(task->pkt);
		state = kr_resolve_produce(req, &transport, task->pkt);
		if (state == KR_STATE_CONSUME)
			state = ask(task, transport);
	}
	if (since_us)
		task->cpu_us += io->ops->cpu_us(io) - since_us;
	return state;
}

/** One step: take a packet in (unless resumed), then crank. */
static void step(struct qr_task *task, bool resumed, struct kr_transport *via, knot_pkt_t *packet)
{
	struct netio *io = task->worker->io;
	uint8_t *wire = scratch_take(task->scratch);
	if (!wire) {
		task_end(task, KR_STATE_FAIL);
		return;
	}
	if (!task->pkt)
		task->pkt = knot_pkt_new(wire, KR_DNS_WIRE_MAX, &task->req.pool);
	int state = KR_STATE_FAIL;
	if (task->pkt) {
		const uint64_t since_us = resumed || via ? io->ops->cpu_us(io) : 0;
		task->pkt->wire = wire;
		task->is_running = true;
		state = resumed ? KR_STATE_PRODUCE : kr_resolve_consume(&task->req, &via, packet);
		state = crank(task, state, since_us);
		task->is_running = false;
	}
	task->scratch->depth -= 1;
	if (state == KR_STATE_DONE || state == KR_STATE_FAIL)
		task_end(task, state);
}

void task_start(struct qr_task *task, knot_pkt_t *question)
{
	step(task, false, NULL, question);
}

static void on_pause_over(struct netio_timer *timer)
{
	struct qr_task *task = (struct qr_task *)((char *)timer - offsetof(struct qr_task, pause));
	step(task, true, NULL, NULL);
}

/* ---- answers ---- */

/** The way the answer really came, on the arena. */
static struct kr_transport *way_of(struct qr_task *task, const struct kr_transport *via)
{
	if (task->waiter.is_leader && task->transport->protocol == via->protocol)
		return task->transport;
	struct kr_transport *way = mm_memdup(&task->req.pool, via, sizeof(*via));
	if (!way)
		return task->transport;
	const size_t name_len = via->ns_name ? knot_dname_size(via->ns_name) : 0;
	way->ns_name = name_len ? mm_memdup(&task->req.pool, via->ns_name, name_len) : NULL;
	if (!way->ns_name)
		way->ns_name = task->transport->ns_name;
	way->deduplicated = !task->waiter.is_leader;
	return way;
}

/** A truncated message may end anywhere; what is in it does not count anyway (C-23). */
static knot_pkt_t *parse_truncated(struct qr_task *task, struct bytes wire)
{
	if (!knot_wire_get_tc(wire.at))
		return NULL;
	const size_t name_len = knot_dname_size(wire.at + KNOT_WIRE_HEADER_SIZE);
	uint8_t head[KNOT_WIRE_HEADER_SIZE + KNOT_DNAME_MAXLEN + 4];
	const size_t len = KNOT_WIRE_HEADER_SIZE + name_len + 4;
	memcpy(head, wire.at, len);
	knot_wire_set_ancount(head, 0);
	knot_wire_set_nscount(head, 0);
	knot_wire_set_arcount(head, 0);
	return task_parse(task, (struct bytes){head, len});
}

static knot_pkt_t *parse_answer(struct qr_task *task, struct bytes wire)
{
	knot_pkt_t *pkt = task_parse(task, wire);
	if (!pkt)
		pkt = parse_truncated(task, wire);
	if (pkt) /* the letter case was between us and the server */
		knot_dname_to_lower(pkt->wire + KNOT_WIRE_HEADER_SIZE);
	return pkt;
}

void task_answered(struct upstream_waiter *waiter, const struct upstream_outcome *outcome)
{
	struct qr_task *task = task_of(waiter);
	if (outcome->no_budget) {
		task_end(task, give_up(task, "too many packets"));
		return;
	}
	struct kr_transport *way = way_of(task, outcome->via);
	if (outcome->error != KR_SELECTION_OK) {
		report_error(task, way, outcome->error);
		step(task, false, way, NULL);
		return;
	}
	if (!kr_budget_spend(&task->req, KR_BUDGET_BYTES, outcome->answer.len)) {
		task_end(task, give_up(task, "too many bytes"));
		return;
	}
	knot_pkt_t *pkt = parse_answer(task, outcome->answer);
	struct kr_query *qry = open_query(task);
	if (!pkt)
		report_error(task, way, KR_SELECTION_MALFORMED);
	else if (qry && qry->server_selection.initialized)
		qry->server_selection.update_rtt(qry, way, outcome->rtt_ms);
	step(task, false, way, pkt);
}

void task_near_miss(struct upstream_waiter *waiter, const struct kr_transport *via)
{
	struct qr_task *task = task_of(waiter);
	report_error(task, waiter->is_leader ? task->transport : via, KR_SELECTION_MISMATCHED);
}
