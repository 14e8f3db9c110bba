/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/transport/tls.h"

#include <gnutls/gnutls.h>
#include <string.h>
#include <time.h>

#include "daemon/tls/client.h"
#include "daemon/tls/credentials.h"
#include "daemon/transport/turn.h"
#include "lib/log.h"

/** Plaintext that is encrypted at once instead of at the end of the turn: one record. */
#define RECORD_MAX 16384
/** Alerts that are only warnings, tolerated per connection. */
#define WARNINGS_MAX 4

struct tls_state {
	struct stage *st;
	gnutls_session_t session;
	struct tls_credentials *credentials; /**< server: ours */
	struct tls_client_param *client;     /**< client: the server's */
	struct bytes in;                     /**< not yet pulled by the library */
	struct tls_server *server;           /**< we are the server and the handshake goes on */
	struct tls_waiter waiter;            /**< for processor time, see tls_server_wait() */
	uint8_t *held;                       /**< what came while waiting */
	size_t held_len;
	uint8_t *out; /**< plaintext to be sent */
	size_t out_len, out_cap;
	int64_t key_updates_since;
	unsigned key_updates, warnings;
	bool needs_alpn; /**< see tls_param */
	bool is_open;
	bool is_eof;
	bool is_broken; /**< nothing more can be encrypted */
};

/* ---- bytes for the library ---- */

static ssize_t pull(gnutls_transport_ptr_t ptr, void *buf, size_t len)
{
	struct tls_state *tls = ptr;
	if (tls->in.len == 0) {
		gnutls_transport_set_errno(tls->session, EAGAIN);
		return -1;
	}
	len = KR_MIN(len, tls->in.len);
	memcpy(buf, tls->in.at, len);
	tls->in.at += len;
	tls->in.len -= len;
	return len;
}

static int pull_timeout(gnutls_transport_ptr_t ptr, unsigned int ms)
{
	const struct tls_state *tls = ptr;
	return tls->in.len > 0;
}

static ssize_t push(gnutls_transport_ptr_t ptr, const void *buf, size_t len)
{
	struct tls_state *tls = ptr;
	if (stage_down(tls->st, (struct bytes){buf, len}) == 0)
		return len;
	gnutls_transport_set_errno(tls->session, ECONNRESET);
	return -1;
}

/* ---- start ---- */

static int64_t cpu_us(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return ts.tv_sec * 1000000LL + ts.tv_nsec / 1000;
}

/** The peer wants new keys: cheap for it, not for us. */
static int on_key_update(gnutls_session_t session, unsigned int type, unsigned when,
	unsigned int incoming, const gnutls_datum_t *msg)
{
	struct tls_state *tls = gnutls_session_get_ptr(session);
	const int64_t now_s = time(NULL);
	if (!incoming)
		return 0;
	if (tls->key_updates_since != now_s && tls->key_updates > 0) {
		tls->key_updates_since = now_s;
		tls->key_updates -= 1;
	}
	return ++tls->key_updates > TLS_KEY_UPDATES_MAX ? GNUTLS_E_UNEXPECTED_PACKET : 0;
}

static void on_turn_to_work(struct tls_waiter *waiter);

static int start_server(struct tls_state *tls, const struct tls_param *param)
{
	gnutls_datum_t key;
	tls->server = param->server;
	tls->waiter.go = on_turn_to_work;
	tls->credentials = tls_server_credentials(param->server);
	if (!tls->credentials)
		return kr_error(ENOENT);
	int ret = gnutls_init(
		&tls->session, GNUTLS_SERVER | GNUTLS_NONBLOCK | GNUTLS_NO_TICKETS_TLS12);
	if (ret == 0)
		ret = gnutls_credentials_set(
			tls->session, GNUTLS_CRD_CERTIFICATE, tls->credentials->gnutls);
	if (ret == 0 && tls_server_ticket_key(param->server, time(NULL), &key) == 0)
		ret = gnutls_session_ticket_enable_server(tls->session, &key);
	if (ret == 0)
		gnutls_certificate_server_set_request(tls->session, GNUTLS_CERT_IGNORE);
	if (ret == 0)
		gnutls_handshake_set_max_packet_length(tls->session, TLS_HELLO_MAX);
	return ret;
}

static int start_client(struct tls_state *tls, const struct tls_param *param)
{
	tls->client = tls_client_param_ref(param->client);
	int ret = gnutls_init(&tls->session, GNUTLS_CLIENT | GNUTLS_NONBLOCK);
	if (ret == 0)
		ret = gnutls_credentials_set(
			tls->session, GNUTLS_CRD_CERTIFICATE, tls->client->gnutls);
	if (ret == 0 && tls->client->hostname)
		ret = gnutls_server_name_set(tls->session, GNUTLS_NAME_DNS, tls->client->hostname,
			strlen(tls->client->hostname));
	if (ret == 0 && tls->client->session.size > 0)
		gnutls_session_set_data(tls->session, tls->client->session.data,
			tls->client->session.size); /* or a full handshake */
	if (ret == 0)
		gnutls_handshake_set_max_packet_length(tls->session, TLS_SERVER_FLIGHT_MAX);
	return ret;
}

static void release(struct tls_state *tls)
{
	if (tls->session)
		gnutls_deinit(tls->session);
	tls->session = NULL;
	tls_credentials_unref(tls->credentials);
	tls_client_param_unref(tls->client);
}

static int tls_init(struct stage *st, const void *param)
{
	struct tls_state *tls = stage_state(st);
	const struct tls_param *p = param;
	const gnutls_datum_t alpn = {(unsigned char *)p->alpn, strlen(p->alpn)};
	tls->st = st;
	tls->needs_alpn = p->needs_alpn;
	const int64_t before = cpu_us();
	int ret = p->server ? start_server(tls, p) : start_client(tls, p);
	if (ret == 0)
		ret = gnutls_priority_set(tls->session,
			tls->client ? tls->client->priority : tls->credentials->priority);
	/* A server insists on its protocol if the client names any. */
	if (ret == 0)
		ret = gnutls_alpn_set_protocols(
			tls->session, &alpn, 1, p->server ? GNUTLS_ALPN_MANDATORY : 0);
	if (ret != 0) {
		release(tls);
		return kr_error(ENOENT);
	}
	gnutls_session_set_ptr(tls->session, tls);
	gnutls_transport_set_ptr(tls->session, tls);
	gnutls_transport_set_pull_function(tls->session, pull);
	gnutls_transport_set_pull_timeout_function(tls->session, pull_timeout);
	gnutls_transport_set_push_function(tls->session, push);
	gnutls_handshake_set_timeout(tls->session, 0); /* sessions have timers of their own */
	gnutls_handshake_set_hook_function(
		tls->session, GNUTLS_HANDSHAKE_KEY_UPDATE, GNUTLS_HOOK_PRE, on_key_update);
	if (p->server)
		tls_server_charge(p->server, cpu_us() - before);
	return kr_ok();
}

/** Keep what makes the next handshake shorter. */
static void keep_session(struct tls_state *tls)
{
	gnutls_datum_t data = {0};
	if (!tls->client || !tls->is_open || tls->is_broken || tls->client->insecure ||
		!(gnutls_session_get_flags(tls->session) & GNUTLS_SFLAGS_SESSION_TICKET))
		return;
	if (gnutls_session_get_data2(tls->session, &data) != 0)
		return;
	gnutls_free(tls->client->session.data);
	tls->client->session = data;
}

static void drop_held(struct tls_state *tls)
{
	stage_hold(tls->st, tls->held_len, 0);
	free(tls->held);
	tls->held = NULL;
	tls->held_len = 0;
}

static void tls_deinit(struct stage *st)
{
	struct tls_state *tls = stage_state(st);
	keep_session(tls);
	tls_waiter_cancel(&tls->waiter);
	drop_held(tls);
	stage_hold(st, tls->out_cap, 0);
	if (tls->out)
		explicit_bzero(tls->out, tls->out_cap);
	free(tls->out);
	release(tls);
}

/* ---- sending ---- */

/** Send what is gathered as records. */
static int encrypt(struct tls_state *tls)
{
	if (!tls->is_open || tls->is_broken)
		return kr_ok();
	for (size_t done = 0; done < tls->out_len;) {
		ssize_t ret =
			gnutls_record_send(tls->session, tls->out + done, tls->out_len - done);
		if (ret == GNUTLS_E_INTERRUPTED)
			continue;
		if (ret <= 0) {
			tls->is_broken = true;
			return kr_error(ECONNRESET);
		}
		done += ret;
	}
	tls->out_len = 0;
	return kr_ok();
}

/** The end of a turn: idle sessions hold no buffer. */
static int encrypt_all(struct tls_state *tls)
{
	int ret = encrypt(tls);
	if (ret < 0 || tls->out_len > 0)
		return ret;
	stage_hold(tls->st, tls->out_cap, 0);
	free(tls->out);
	tls->out = NULL;
	tls->out_cap = 0;
	return kr_ok();
}

static int tls_down(struct stage *st, struct bytes out)
{
	struct tls_state *tls = stage_state(st);
	if (tls->out_cap - tls->out_len < out.len) {
		size_t cap = tls->out_cap ? tls->out_cap : 1024;
		while (cap - tls->out_len < out.len)
			cap *= 2;
		uint8_t *grown = realloc(tls->out, cap);
		if (!grown)
			return kr_error(ENOMEM);
		int ret = stage_hold(st, tls->out_cap, cap);
		tls->out = grown;
		tls->out_cap = cap;
		if (ret != 0)
			return ret;
	}
	if (out.len > 0)
		memcpy(tls->out + tls->out_len, out.at, out.len);
	tls->out_len += out.len;
	stage_want_flush(st);
	return tls->out_len >= RECORD_MAX ? encrypt(tls) : kr_ok();
}

/* ---- receiving ---- */

/** Tell the peer why, then close in order: it should be able to read that. */
static int fail(struct tls_state *tls, int code)
{
	kr_log_debug(TLS, "%s: %s\n", tls->client ? "server" : "client", gnutls_strerror(code));
	if (!tls->is_broken && code != GNUTLS_E_FATAL_ALERT_RECEIVED)
		gnutls_alert_send_appropriate(tls->session, code);
	tls->is_broken = true;
	return kr_error(EPROTO);
}

static int on_authentic(struct tls_state *tls)
{
	struct stage_facts *facts = &tls->st->stack->facts;
	tls->server = NULL;
	if (tls->client && tls_client_verify(tls->client, tls->session) != 0)
		return fail(tls, GNUTLS_E_CERTIFICATE_VERIFICATION_ERROR);
	gnutls_datum_t alpn;
	if (tls->needs_alpn && gnutls_alpn_get_selected_protocol(tls->session, &alpn) != 0)
		return fail(tls, GNUTLS_E_NO_APPLICATION_PROTOCOL);
	tls->is_open = true;
	facts->flags.tls = facts->comm_flags.tls = true;
	if (tls->out_len > 0)
		stage_want_flush(tls->st);
	return stage_event(tls->st, STAGE_OPEN);
}

static int shake_hands(struct tls_state *tls)
{
	for (;;) {
		const int ret = gnutls_handshake(tls->session);
		if (ret == GNUTLS_E_SUCCESS)
			return on_authentic(tls);
		if (ret == GNUTLS_E_AGAIN)
			return kr_ok();
		if (ret == GNUTLS_E_INTERRUPTED)
			continue;
		if (gnutls_error_is_fatal(ret) || ++tls->warnings > WARNINGS_MAX)
			return fail(tls, ret);
	}
}

static int on_end(struct tls_state *tls)
{
	if (tls->is_eof)
		return kr_ok();
	tls->is_eof = true;
	return stage_event(tls->st, STAGE_EOF);
}

/** Hand up what the records hold. */
static int decrypt(struct tls_state *tls)
{
	while (!tls->st->stack->is_closing && !tls->is_eof) {
		gnutls_packet_t packet = NULL;
		gnutls_datum_t data;
		const size_t had = tls->in.len;
		const ssize_t got = gnutls_record_recv_packet(tls->session, &packet);
		if (got > 0) {
			gnutls_packet_get(packet, &data, NULL);
			int ret = stage_up(tls->st, (struct bytes){data.data, data.size});
			gnutls_packet_deinit(packet);
			if (ret < 0)
				return ret;
			continue;
		}
		if (packet)
			gnutls_packet_deinit(packet);
		if (got == 0)
			return on_end(tls);
		/* Also said after a message of the library's own, like a new ticket. */
		if (got == GNUTLS_E_AGAIN && tls->in.len < had)
			continue;
		if (got == GNUTLS_E_AGAIN)
			return kr_ok();
		if (got == GNUTLS_E_REHANDSHAKE)
			return fail(tls, GNUTLS_E_REHANDSHAKE); /* */
		if (gnutls_error_is_fatal(got) || ++tls->warnings > WARNINGS_MAX)
			return fail(tls, got);
	}
	return kr_ok();
}

static uint64_t now_ms(const struct tls_state *tls)
{
	const struct turn *turn = tls->st->stack->turn;
	return turn ? uv_now(turn->loop) : 0;
}

/** A server's part of a handshake, within the share of the processor that all of them have. */
static int shake_hands_paid(struct tls_state *tls)
{
	struct tls_server *server = tls->server;
	const int64_t before = cpu_us();
	int ret = shake_hands(tls);
	tls_server_charge(server, cpu_us() - before);
	return ret;
}

/** Keep what cannot be looked at yet. */
static int hold(struct tls_state *tls, struct bytes in)
{
	if (in.len > TLS_HELLO_MAX - tls->held_len)
		return kr_error(ENOBUFS);
	uint8_t *held = realloc(tls->held, tls->held_len + in.len);
	if (!held)
		return kr_error(ENOMEM);
	int ret = stage_hold(tls->st, tls->held_len, tls->held_len + in.len);
	memcpy(held + tls->held_len, in.at, in.len);
	tls->held = held;
	tls->held_len += in.len;
	tls_server_wait(tls->server, &tls->waiter);
	return ret;
}

static int take(struct tls_state *tls, struct bytes in)
{
	int ret = kr_ok();
	tls->in = in;
	if (!tls->is_open)
		ret = tls->server ? shake_hands_paid(tls) : shake_hands(tls);
	if (ret == 0 && tls->is_open)
		ret = decrypt(tls);
	tls->in = (struct bytes){NULL, 0};
	return ret;
}

static void on_turn_to_work(struct tls_waiter *waiter)
{
	struct tls_state *tls =
		(struct tls_state *)((char *)waiter - offsetof(struct tls_state, waiter));
	struct stack *stack = tls->st->stack;
	const struct bytes in = {tls->held, tls->held_len};
	if (stack->is_closing || tls->is_broken)
		return;
	tls->held = NULL; /* it may be filled again meanwhile */
	tls->held_len = 0;
	int ret = take(tls, in);
	stage_hold(tls->st, in.len, 0);
	free((void *)in.at);
	if (ret < 0)
		stack_failed(stack, ret);
}

static int tls_up(struct stage *st, struct bytes in)
{
	struct tls_state *tls = stage_state(st);
	if (tls->is_broken)
		return kr_error(EPROTO);
	if (tls->server && in.len > 0 &&
		(tls->waiter.server || !tls_server_may_work(tls->server, now_ms(tls))))
		return hold(tls, in);
	return take(tls, in);
}

static int tls_event(struct stage *st, enum stage_event ev)
{
	struct tls_state *tls = stage_state(st);
	int ret = kr_ok();
	switch (ev) {
	case STAGE_OPEN: /* the way is open; whether the peer is who it should be is to be seen */
		return shake_hands(tls);
	case STAGE_EOF:
		return tls->is_open ? on_end(tls) : kr_error(ECONNRESET);
	case STAGE_CUT:
		return encrypt(tls);
	case STAGE_FLUSH:
		ret = encrypt_all(tls);
		break;
	case STAGE_SHUTDOWN:
		ret = encrypt_all(tls);
		keep_session(tls);
		if (tls->is_open && !tls->is_broken)
			gnutls_bye(tls->session, GNUTLS_SHUT_WR);
		tls->is_broken = true;
		break;
	default:
		break;
	}
	return ret < 0 ? ret : stage_event(st, ev);
}

const struct stage_ops tls_stage = {
	.name = "tls",
	.state_size = sizeof(struct tls_state),
	.init = tls_init,
	.up = tls_up,
	.down = tls_down,
	.event = tls_event,
	.deinit = tls_deinit,
};
