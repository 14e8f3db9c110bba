/* SPDX-License-Identifier: GPL-3.0-or-later */

#include "tests/sim/simnet.h"

#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <libknot/packet/wire.h>

#include "daemon/clock.h"
#include "daemon/rnd.h"

struct simnet *the_simnet;

enum event_kind {
	EVENT_TIMER,
	EVENT_AT_SERVER,
	EVENT_DATAGRAM,
	EVENT_OPEN,
	EVENT_MESSAGE,
	EVENT_CLOSED,
};

struct netio_udp {
	struct simnet *net;
	union kr_sockaddr dst;
	void *owner;
};

struct netio_stream {
	struct simnet *net;
	union kr_sockaddr dst;
	void *owner;
	enum netio_stream_kind kind;
	uint64_t last_ms; /**< nothing overtakes on a stream */
};

struct sim_event {
	struct sim_event *next;
	uint64_t due_ms;
	enum event_kind kind;
	struct netio_timer *timer;
	struct netio_udp *udp;
	struct netio_stream *stream;
	int err;
	bool has_data;
	size_t len;
	uint8_t data[];
};

/* ---- randomness and time ---- */

/* xoshiro256**: reproducible, which is all that a simulation needs. */
static uint64_t rotl(uint64_t value, int bits)
{
	return (value << bits) | (value >> (64 - bits));
}

static uint64_t next_random(struct simnet *net)
{
	uint64_t *s = net->rng;
	const uint64_t result = rotl(s[1] * 5, 7) * 9;
	const uint64_t t = s[1] << 17;
	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = rotl(s[3], 45);
	return result;
}

uint32_t simnet_random(struct simnet *net, uint32_t below)
{
	return below ? (next_random(net) >> 32) % below : 0;
}

static void fill_random(void *data, void *buf, size_t len)
{
	struct simnet *net = data;
	uint8_t *at = buf;
	while (len > 0) {
		const uint64_t value = next_random(net);
		const size_t part = KR_MIN(len, sizeof(value));
		memcpy(at, &value, part);
		at += part;
		len -= part;
	}
}

/* The daemon's own are in daemon/rnd.c and daemon/clock.c; a simulation has to be reproducible. */
void kr_rnd_buffered(void *buf, unsigned int len)
{
	fill_random(the_simnet, buf, len);
}

void kr_rnd_source(void *data, void *buf, size_t len)
{
	fill_random(the_simnet, buf, len);
}

uint64_t kr_rand_bytes(unsigned int size)
{
	uint64_t value = 0;
	fill_random(the_simnet, &value, KR_MIN(size, sizeof(value)));
	return value;
}

uint64_t kr_now(void)
{
	return the_simnet ? the_simnet->now_ms : 0;
}

void clock_tick(struct kr_context *ctx)
{
	if (!ctx || !the_simnet)
		return;
	ctx->now_ms = the_simnet->now_ms;
	ctx->now.tv_sec = the_simnet->wall_s + the_simnet->now_ms / 1000;
	ctx->now.tv_usec = the_simnet->now_ms % 1000 * 1000;
}

/* Whatever asks the system for the wall clock gets the virtual one too. */
int gettimeofday(struct timeval *restrict tv, void *restrict tz)
{
	if (!the_simnet)
		return -1;
	tv->tv_sec = the_simnet->wall_s + the_simnet->now_ms / 1000;
	tv->tv_usec = the_simnet->now_ms % 1000 * 1000;
	return 0;
}

time_t time(time_t *out)
{
	struct timeval now = {0};
	gettimeofday(&now, NULL);
	if (out)
		*out = now.tv_sec;
	return now.tv_sec;
}

void clock_set_loop(struct uv_loop_s *loop) {}

static void tell_time(struct simnet *net)
{
	clock_tick(net->ctx);
}

/* ---- the queue ---- */

/** For the net itself, which is no part of what is tested: tests may make one allocation fail. */
static void *get_memory(size_t len)
{
	void *memory = calloc(1, len);
	if (!memory)
		memory = calloc(1, len);
	if (!memory)
		abort();
	return memory;
}

static struct sim_event *event_new(enum event_kind kind, const void *data, size_t len)
{
	struct sim_event *event = get_memory(sizeof(*event) + len);
	event->kind = kind;
	event->has_data = data != NULL;
	event->len = len;
	if (len)
		memcpy(event->data, data, len);
	return event;
}

static void enqueue(struct simnet *net, struct sim_event *event, uint64_t after_ms)
{
	event->due_ms = net->now_ms + after_ms;
	struct sim_event **at = &net->queue;
	while (*at && (*at)->due_ms <= event->due_ms)
		at = &(*at)->next;
	event->next = *at;
	*at = event;
}

/** Remove events of a socket, stream or timer that is gone. */
static void forget(struct simnet *net, const void *of)
{
	struct sim_event **at = &net->queue;
	while (*at) {
		struct sim_event *event = *at;
		if (event->udp == of || event->stream == of || event->timer == of) {
			*at = event->next;
			free(event);
		} else {
			at = &event->next;
		}
	}
}

static uint64_t one_way(struct simnet *net)
{
	const unsigned base = net->faults.delay_ms;
	return net->faults.reorder ? simnet_random(net, 3 * base + 1) : base;
}

static bool chance(struct simnet *net, unsigned percent)
{
	return percent > 0 && simnet_random(net, 100) < percent;
}

/* ---- netio ---- */

static void op_listen(struct netio *io, const struct netio_events *events)
{
	((struct simnet *)io)->events = events;
}

static int op_udp_open(struct netio *io, const struct sockaddr *dst, const struct sockaddr *src,
	void *owner, struct netio_udp **out)
{
	struct netio_udp *udp = calloc(1, sizeof(*udp));
	if (!udp)
		return kr_error(ENOMEM);
	udp->net = (struct simnet *)io;
	udp->owner = owner;
	memcpy(&udp->dst, dst, kr_sockaddr_len(dst));
	udp->net->open += 1;
	*out = udp;
	return kr_ok();
}

static void datagram_leaves(struct netio_udp *udp, enum event_kind kind, const void *data,
	size_t len, uint64_t after_ms)
{
	struct simnet *net = udp->net;
	const int copies = chance(net, net->faults.duplicate) ? 2 : 1;
	for (int i = 0; i < copies; ++i) {
		if (chance(net, net->faults.loss))
			continue;
		struct sim_event *event = event_new(kind, data, len);
		event->udp = udp;
		enqueue(net, event, one_way(net) + after_ms);
	}
}

static int op_udp_send(struct netio_udp *udp, struct bytes in)
{
	udp->net->sent += 1;
	datagram_leaves(udp, EVENT_AT_SERVER, in.at, in.len, 0);
	return kr_ok();
}

static void op_udp_close(struct netio_udp *udp)
{
	forget(udp->net, udp);
	udp->net->open -= 1;
	free(udp);
}

static void on_stream(struct netio_stream *st, enum event_kind kind, const void *data, size_t len,
	int err, uint64_t after_ms)
{
	struct simnet *net = st->net;
	struct sim_event *event = event_new(kind, data, len);
	event->stream = st;
	event->err = err;
	const uint64_t due_ms = KR_MAX(net->now_ms + one_way(net) + after_ms, st->last_ms);
	st->last_ms = due_ms;
	enqueue(net, event, due_ms - net->now_ms);
}

static int op_stream_open(struct netio *io, enum netio_stream_kind kind, const struct sockaddr *dst,
	const struct sockaddr *src, const void *tls_params, void *owner, struct netio_stream **out)
{
	struct simnet *net = (struct simnet *)io;
	struct netio_stream *st = calloc(1, sizeof(*st));
	if (!st)
		return kr_error(ENOMEM);
	st->net = net;
	st->owner = owner;
	st->kind = kind;
	memcpy(&st->dst, dst, kr_sockaddr_len(dst));
	net->open += 1;
	if (net->accepts(net->owner, &st->dst))
		on_stream(st, EVENT_OPEN, NULL, 0, 0, net->faults.delay_ms);
	else
		on_stream(st, EVENT_CLOSED, NULL, 0, kr_error(ECONNREFUSED), net->faults.delay_ms);
	*out = st;
	return kr_ok();
}

static int op_stream_send(struct netio_stream *st, struct bytes msg)
{
	st->net->sent += 1;
	on_stream(st, EVENT_AT_SERVER, msg.at, msg.len, 0, 0);
	return kr_ok();
}

static void op_stream_close(struct netio_stream *st)
{
	forget(st->net, st);
	st->net->open -= 1;
	free(st);
}

static void op_timer_stop(struct netio *io, struct netio_timer *timer)
{
	if (!timer->due_ms)
		return;
	struct simnet *net = (struct simnet *)io;
	forget(net, timer);
	timer->due_ms = 0;
	net->timers -= 1;
}

static int op_timer_start(struct netio *io, struct netio_timer *timer, uint64_t after_ms)
{
	struct simnet *net = (struct simnet *)io;
	op_timer_stop(io, timer);
	struct sim_event *event = event_new(EVENT_TIMER, NULL, 0);
	event->timer = timer;
	timer->due_ms = net->now_ms + after_ms;
	net->timers += 1;
	enqueue(net, event, after_ms);
	return kr_ok();
}

/** Work costs nothing here: a run must not depend on the machine. */
static uint64_t op_cpu_us(struct netio *io)
{
	return 1;
}

static const struct netio_ops ops = {
	.listen = op_listen,
	.udp_open = op_udp_open,
	.udp_send = op_udp_send,
	.udp_close = op_udp_close,
	.stream_open = op_stream_open,
	.stream_send = op_stream_send,
	.stream_close = op_stream_close,
	.timer_start = op_timer_start,
	.timer_stop = op_timer_stop,
	.cpu_us = op_cpu_us,
};

/* ---- servers ---- */

/** What an attacker or a broken box sends before the answer comes. */
static void send_garbage(struct netio_udp *udp, const uint8_t *reply, size_t len)
{
	struct simnet *net = udp->net;
	uint8_t forged[512];
	const size_t forged_len = KR_MIN(len, sizeof(forged));
	memcpy(forged, reply, forged_len);
	switch (simnet_random(net, 3)) {
	case 0: /* a question, not an answer: has to be ignored */
		if (forged_len > 2)
			forged[2] &= 0x7f;
		datagram_leaves(udp, EVENT_DATAGRAM, forged, forged_len, 0);
		break;
	case 1: /* too short to be anything */
		datagram_leaves(udp, EVENT_DATAGRAM, forged, KR_MIN(forged_len, 11), 0);
		break;
	default: /* a guessed id: a near miss */
		if (forged_len > 1)
			forged[1] ^= 1;
		datagram_leaves(udp, EVENT_DATAGRAM, forged, forged_len, 0);
		break;
	}
}

static void reply_udp(
	struct netio_udp *udp, enum sim_reaction reaction, struct sim_arrival *arrival)
{
	struct simnet *net = udp->net;
	for (unsigned i = 0; i < arrival->noise_count; ++i)
		datagram_leaves(udp, EVENT_DATAGRAM, arrival->noise.at, arrival->noise.len, 0);
	if (reaction == SIM_REPLY) {
		if (chance(net, net->faults.garbage))
			send_garbage(udp, arrival->reply, arrival->reply_len);
		datagram_leaves(
			udp, EVENT_DATAGRAM, arrival->reply, arrival->reply_len, arrival->delay_ms);
	} else if (reaction == SIM_ICMP) {
		datagram_leaves(udp, EVENT_DATAGRAM, NULL, 0, arrival->delay_ms);
	}
}

static void reply_stream(
	struct netio_stream *st, enum sim_reaction reaction, struct sim_arrival *arrival)
{
	if (reaction == SIM_REPLY)
		on_stream(st, EVENT_MESSAGE, arrival->reply, arrival->reply_len, 0,
			arrival->delay_ms);
	else if (reaction != SIM_SILENCE)
		on_stream(st, EVENT_CLOSED, NULL, 0, 0, arrival->delay_ms);
}

static void at_server(struct simnet *net, struct sim_event *event)
{
	uint8_t *reply = get_memory(KR_DNS_WIRE_MAX);
	struct sim_arrival arrival = {
		.server = event->udp ? &event->udp->dst : &event->stream->dst,
		.kind = event->stream ? event->stream->kind : NETIO_TCP,
		.is_stream = event->stream != NULL,
		.query = {event->data, event->len},
		.reply = reply,
	};
	const enum sim_reaction reaction = net->server(net->owner, &arrival);
	if (event->udp)
		reply_udp(event->udp, reaction, &arrival);
	else
		reply_stream(event->stream, reaction, &arrival);
	free(reply);
}

/* ---- the loop ---- */

static void happen(struct simnet *net, struct sim_event *event)
{
	const struct bytes in = {event->has_data ? event->data : NULL, event->len};
	switch (event->kind) {
	case EVENT_TIMER:
		event->timer->due_ms = 0;
		net->timers -= 1;
		event->timer->fire(event->timer);
		break;
	case EVENT_AT_SERVER:
		at_server(net, event);
		break;
	case EVENT_DATAGRAM:
		net->events->udp(event->udp->owner, in, in.at ? 0 : kr_error(ECONNREFUSED));
		break;
	case EVENT_OPEN:
		net->events->stream_open(event->stream->owner);
		break;
	case EVENT_MESSAGE:
		net->events->stream_message(event->stream->owner, in);
		break;
	case EVENT_CLOSED: {
		struct netio_stream *st = event->stream;
		void *owner = st->owner;
		forget(net, st);
		net->open -= 1;
		free(st);
		net->events->stream_closed(owner, event->err);
		break;
	}
	}
}

bool simnet_run(struct simnet *net, uint64_t until_ms, bool (*is_done)(void *owner), void *owner)
{
	for (;;) {
		if (is_done && is_done(owner))
			return true;
		struct sim_event *event = net->queue;
		if (!event || event->due_ms > until_ms)
			return false;
		net->queue = event->next;
		net->now_ms = event->due_ms;
		tell_time(net);
		happen(net, event);
		free(event);
		if (net->turn_end)
			net->turn_end(net->owner);
	}
}

void simnet_pass(struct simnet *net, uint64_t ms)
{
	const uint64_t until_ms = net->now_ms + ms;
	simnet_run(net, until_ms, NULL, NULL);
	net->now_ms = until_ms;
	tell_time(net);
}

void simnet_set_clock(struct simnet *net, int64_t by_s)
{
	net->wall_s += by_s;
	tell_time(net);
}

/* ---- life ---- */

void simnet_init(struct simnet *net, uint64_t seed, int64_t wall_s)
{
	memset(net, 0, sizeof(*net));
	net->io.ops = &ops;
	net->now_ms = 1000;
	net->wall_s = wall_s - 1;
	net->faults.delay_ms = 5;
	for (int i = 0; i < 4; ++i) { /* splitmix64 */
		uint64_t z = seed += 0x9e3779b97f4a7c15ULL;
		z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
		z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
		net->rng[i] = z ^ (z >> 31);
	}
	the_simnet = net;
}

void simnet_drive(struct simnet *net, struct kr_context *ctx)
{
	net->ctx = ctx;
	ctx->rnd = fill_random;
	ctx->rnd_data = net;
	tell_time(net);
}

void simnet_deinit(struct simnet *net)
{
	while (net->queue) {
		struct sim_event *event = net->queue;
		net->queue = event->next;
		free(event);
	}
	if (the_simnet == net)
		the_simnet = NULL;
}
