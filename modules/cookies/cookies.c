/* SPDX-License-Identifier: GPL-3.0-or-later */
/* DNS cookies (RFC 7873, RFC 9018). To clients: a server cookie for who shows a client cookie, and
 * under pressure BADCOOKIE for who shows no good one over UDP. To servers: a client cookie with
 * each question, and no belief in datagrams without it from who is known to return it. */

#include <jansson.h>
#include <string.h>
#include <libknot/cookies.h>
#include <libknot/packet/pkt.h>
#include <libknot/rrtype/opt.h>
#include <libknot/wire.h>

#include "lib/log.h"
#include "lib/module.h"
#include "lib/resolve.h"
#include "lib/utils.h"
#include "lib/generic/lru.h"

#define SECRET_LEN KNOT_EDNS_COOKIE_SECRET_SIZE
/** Age at which a secret made here is replaced; the one before stays good as long again (S-16). */
#define SECRET_LIFE_S 86400
/** Age of a server cookie that is still accepted, and how far it may be in the future (RFC 9018
 * section 4.3). */
#define COOKIE_BEFORE_S 3600
#define COOKIE_AFTER_S 300
/** A server that returned a good cookie is expected to do so for that long (S-06). */
#define SERVER_MEMORY_S 86400
#define SERVERS_MAX 10000
/** Requests of clients under way from which on cookies are asked for. */
#define PRESSURE_DEFAULT 500

/** What is known of a server. */
struct server {
	uint32_t good_s; /**< wall clock of its last good cookie; 0 = never */
	uint16_t len;
	uint8_t cookie[KNOT_EDNS_COOKIE_SRVR_MAX_SIZE];
};
typedef lru_t(struct server) servers_t;

struct secret {
	uint8_t key[SECRET_LEN];
	bool is_set;
};

struct cookies {
	kr_layer_api_t layer;
	struct kr_context *ctx;
	servers_t *servers;
	struct secret server[2]; /**< in force, and the one before */
	uint8_t client[SECRET_LEN];
	uint32_t made_s;
	bool is_given; /**< the server secret is of the operator: not replaced by itself */
	bool client_enabled, server_enabled;
	uint32_t pressure;
	uint32_t in_flight; /**< requests of clients */
};

static struct cookies *cookies_of(const kr_layer_t *ctx)
{
	const struct kr_module *module = ctx->api->data;
	return module->data;
}

/* ---- secrets ---- */

static void push_secret(struct cookies *ck, const uint8_t *key)
{
	ck->server[1] = ck->server[0];
	memcpy(ck->server[0].key, key, SECRET_LEN);
	ck->server[0].is_set = true;
	ck->made_s = ck->ctx->now.tv_sec;
}

static void rotate(struct cookies *ck)
{
	const uint32_t now = ck->ctx->now.tv_sec;
	if (ck->is_given || (ck->server[0].is_set && now - ck->made_s < SECRET_LIFE_S))
		return;
	uint8_t key[SECRET_LEN];
	kr_ctx_rnd(ck->ctx, key, sizeof(key));
	push_secret(ck, key);
}

/* ---- clients ---- */

static knot_edns_cookie_params_t params_of(const struct cookies *ck, const struct kr_request *req,
	int which, struct sockaddr_storage *room)
{
	knot_edns_cookie_params_t params = {
		.version = 1,
		.timestamp = ck->ctx->now.tv_sec,
		.lifetime_before = COOKIE_BEFORE_S,
		.lifetime_after = COOKIE_AFTER_S,
		.client_addr = room,
	};
	memset(room, 0, sizeof(*room));
	memcpy(room, req->qsource.addr, kr_sockaddr_len(req->qsource.addr));
	memcpy(params.secret, ck->server[which].key, SECRET_LEN);
	return params;
}

/** The client's cookies. @return false if it sent none */
static bool read_cookies(const knot_pkt_t *pkt, knot_edns_cookie_t *cc, knot_edns_cookie_t *sc)
{
	const uint8_t *option = pkt ? knot_pkt_edns_option(pkt, KNOT_EDNS_OPTION_COOKIE) : NULL;
	return option && knot_edns_cookie_parse(cc, sc, knot_edns_opt_get_data((uint8_t *)option),
				 knot_edns_opt_get_length(option)) == KNOT_EOK;
}

static bool is_good(const struct cookies *ck, const struct kr_request *req,
	const knot_edns_cookie_t *cc, const knot_edns_cookie_t *sc)
{
	struct sockaddr_storage addr;
	for (int i = 0; sc->len > 0 && i < 2; ++i) {
		const knot_edns_cookie_params_t params = params_of(ck, req, i, &addr);
		if (ck->server[i].is_set &&
			knot_edns_cookie_server_check(sc, cc, &params) == KNOT_EOK)
			return true;
	}
	return false;
}

static bool is_client(const struct cookies *ck, const struct kr_request *req)
{
	return ck->server_enabled && req->qsource.addr && req->qsource.packet;
}

static int refuse(struct kr_request *req)
{
	knot_pkt_t *answer = kr_request_ensure_answer(req);
	knot_rrset_t *opt = answer ? kr_request_ensure_edns(req) : NULL;
	if (!opt)
		return KR_STATE_FAIL;
	knot_edns_set_ext_rcode(opt, KNOT_RCODE_BADCOOKIE >> 4);
	knot_wire_set_rcode(answer->wire, KNOT_RCODE_BADCOOKIE & 0xf);
	kr_request_set_repeat(req, KR_REPEAT_NEVER);
	return KR_STATE_DONE;
}

static int cookies_begin(kr_layer_t *ctx)
{
	struct cookies *ck = cookies_of(ctx);
	struct kr_request *req = ctx->req;
	if (!is_client(ck, req))
		return ctx->state;
	ck->in_flight += 1;
	knot_edns_cookie_t cc, sc;
	if (ck->in_flight <= ck->pressure || req->qsource.flags.tcp ||
		(ctx->state & (KR_STATE_DONE | KR_STATE_FAIL)) ||
		!read_cookies(req->qsource.packet, &cc, &sc) || is_good(ck, req, &cc, &sc))
		return ctx->state;
	return refuse(req);
}

static int cookies_finish(kr_layer_t *ctx)
{
	struct cookies *ck = cookies_of(ctx);
	if (is_client(ck, ctx->req) && ck->in_flight > 0)
		ck->in_flight -= 1;
	return ctx->state;
}

static int cookies_answer(kr_layer_t *ctx)
{
	struct cookies *ck = cookies_of(ctx);
	struct kr_request *req = ctx->req;
	knot_edns_cookie_t cc, sc, fresh;
	if (!is_client(ck, req) || !req->answer || !req->answer->opt_rr ||
		!read_cookies(req->qsource.packet, &cc, &sc))
		return ctx->state;
	rotate(ck);
	struct sockaddr_storage addr;
	const knot_edns_cookie_params_t params = params_of(ck, req, 0, &addr);
	uint8_t data[KNOT_EDNS_COOKIE_CLNT_SIZE + KNOT_EDNS_COOKIE_SRVR_MAX_SIZE];
	if (knot_edns_cookie_server_generate(&fresh, &cc, &params) != KNOT_EOK ||
		knot_edns_cookie_write(data, sizeof(data), &cc, &fresh) != KNOT_EOK)
		return ctx->state;
	(void)knot_edns_add_option(req->answer->opt_rr, KNOT_EDNS_OPTION_COOKIE,
		knot_edns_cookie_size(&cc, &fresh), data, &req->pool);
	return ctx->state;
}

/* ---- servers ---- */

/** Our cookie for a server: the same for it each time, another one for each server. */
static int client_cookie(
	const struct cookies *ck, const struct sockaddr *server, knot_edns_cookie_t *cc)
{
	struct sockaddr_storage addr = {0};
	memcpy(&addr, server, kr_sockaddr_len(server));
	knot_edns_cookie_params_t params = {.server_addr = &addr};
	memcpy(params.secret, ck->client, SECRET_LEN);
	return knot_edns_cookie_client_generate(cc, &params) == KNOT_EOK ? kr_ok()
									 : kr_error(EINVAL);
}

static struct server *server_find(struct cookies *ck, const struct sockaddr *addr, bool make)
{
	const char *key = kr_inaddr(addr);
	const int len = kr_inaddr_len(addr);
	if (!key || len <= 0)
		return NULL;
	return make ? lru_get_new(ck->servers, key, len, NULL) : lru_get_try(ck->servers, key, len);
}

static int cookies_checkout(kr_layer_t *ctx, knot_pkt_t *pkt, struct sockaddr *dst, int type)
{
	struct cookies *ck = cookies_of(ctx);
	knot_edns_cookie_t cc, sc = {0};
	if (!ck->client_enabled || !pkt->opt_rr || !dst || client_cookie(ck, dst, &cc) != 0)
		return ctx->state;
	const struct server *server = server_find(ck, dst, false);
	if (server && server->len > 0) {
		sc.len = server->len;
		memcpy(sc.data, server->cookie, server->len);
	}
	uint8_t data[KNOT_EDNS_COOKIE_CLNT_SIZE + KNOT_EDNS_COOKIE_SRVR_MAX_SIZE];
	const knot_edns_cookie_t *shown = sc.len > 0 ? &sc : NULL;
	if (knot_edns_cookie_write(data, sizeof(data), &cc, shown) == KNOT_EOK)
		(void)knot_edns_add_option(pkt->opt_rr, KNOT_EDNS_OPTION_COOKIE,
			knot_edns_cookie_size(&cc, shown), data, &ctx->req->pool);
	return ctx->state;
}

/** Ask the same server once more, over TCP where nobody can answer in its place. */
static int ask_by_stream(struct kr_query *qry, const struct kr_transport *from, const char *why)
{
	kr_log_q(qry, COOKIES, "<= %s, asking over TCP\n", why);
	qry->server_selection.error(qry, from, KR_SELECTION_TRUNCATED);
	qry->flags.TCP = true;
	return KR_STATE_FAIL;
}

/** Remember the server's part. */
static void learn(struct cookies *ck, const struct kr_transport *from, const knot_edns_cookie_t *sc)
{
	struct server *server = server_find(ck, &from->address.ip, true);
	if (!server)
		return;
	server->good_s = ck->ctx->now.tv_sec;
	server->len = sc->len;
	memcpy(server->cookie, sc->data, sc->len);
}

static bool is_expected(struct cookies *ck, const struct kr_transport *from)
{
	const struct server *server = server_find(ck, &from->address.ip, false);
	return server && server->good_s != 0 &&
	       ck->ctx->now.tv_sec - server->good_s < SERVER_MEMORY_S;
}

/** The server did not like its own cookie: once more with the new one, then by TCP. */
static int bad_cookie(struct kr_query *qry, const struct kr_transport *from)
{
	if (qry->flags.BADCOOKIE_AGAIN || from->protocol != KR_TRANSPORT_UDP)
		return ask_by_stream(qry, from, "BADCOOKIE again");
	kr_log_q(qry, COOKIES, "<= BADCOOKIE, asking with the new one\n");
	qry->flags.BADCOOKIE_AGAIN = true;
	return KR_STATE_FAIL;
}

static int cookies_consume(kr_layer_t *ctx, knot_pkt_t *pkt)
{
	struct cookies *ck = cookies_of(ctx);
	struct kr_query *qry = ctx->req->current_query;
	const struct kr_transport *from = ctx->req->upstream.transport;
	if (!ck->client_enabled || !qry || !from || qry->flags.CACHED ||
		(ctx->state & (KR_STATE_FAIL | KR_STATE_DONE)))
		return ctx->state;
	const bool is_udp = from->protocol == KR_TRANSPORT_UDP;
	knot_edns_cookie_t cc, sc, ours;
	if (client_cookie(ck, &from->address.ip, &ours) != 0)
		return ctx->state;
	if (!read_cookies(pkt, &cc, &sc)) {
		const bool is_missed = is_udp && !qry->flags.NO_EDNS && is_expected(ck, from);
		return is_missed ? ask_by_stream(qry, from, "its cookie is missing") : ctx->state;
	}
	if (cc.len != ours.len || memcmp(cc.data, ours.data, ours.len) != 0)
		return is_udp ? ask_by_stream(qry, from, "a cookie that is not ours") : ctx->state;
	if (sc.len > 0)
		learn(ck, from, &sc);
	return knot_pkt_ext_rcode(pkt) == KNOT_RCODE_BADCOOKIE ? bad_cookie(qry, from) : ctx->state;
}

/* ---- configuration ---- */

static int hex_digit(char c)
{
	const char *digits = "0123456789abcdef", *at = c ? strchr(digits, c | 0x20) : NULL;
	return at ? (int)(at - digits) : -1;
}

/** 32 hexadecimal digits. @return 0, 1 if it is not set, or an error */
static int read_secret(const json_t *conf, const char *key, uint8_t out[SECRET_LEN])
{
	const json_t *value = json_object_get(conf, key);
	if (!value)
		return 1;
	const char *text = json_string_value(value);
	bool is_fine = text && strlen(text) == 2 * (size_t)SECRET_LEN;
	for (size_t i = 0; is_fine && i < SECRET_LEN; ++i) {
		const int high = hex_digit(text[2 * i]), low = hex_digit(text[2 * i + 1]);
		is_fine = high >= 0 && low >= 0;
		out[i] = is_fine ? high << 4 | low : 0;
	}
	if (is_fine)
		return kr_ok();
	kr_log_error(COOKIES, "%s must have %d hexadecimal digits\n", key, 2 * SECRET_LEN);
	return kr_error(EINVAL);
}

static int read_bool(const json_t *conf, const char *key, bool *to)
{
	const json_t *value = json_object_get(conf, key);
	if (value && !json_is_boolean(value)) {
		kr_log_error(COOKIES, "%s must be true or false\n", key);
		return kr_error(EINVAL);
	}
	*to = value ? json_is_true(value) : *to;
	return kr_ok();
}

static int read_pressure(const json_t *conf, uint32_t *to)
{
	const json_t *value = json_object_get(conf, "pressure");
	const json_int_t number = value ? json_integer_value(value) : 0;
	if (value && (!json_is_integer(value) || number < 0 || number > INT32_MAX)) {
		kr_log_error(COOKIES, "pressure must be a number of requests\n");
		return kr_error(EINVAL);
	}
	*to = value ? (uint32_t)number : *to;
	return kr_ok();
}

/** All or nothing. */
static int apply(struct cookies *ck, const json_t *conf)
{
	bool client = ck->client_enabled, server = ck->server_enabled;
	uint32_t pressure = ck->pressure;
	uint8_t server_secret[SECRET_LEN], client_secret[SECRET_LEN];
	const int has_server = read_secret(conf, "server_secret", server_secret);
	const int has_client = read_secret(conf, "client_secret", client_secret);
	if (has_server < 0 || has_client < 0 || read_bool(conf, "client_enabled", &client) != 0 ||
		read_bool(conf, "server_enabled", &server) != 0 ||
		read_pressure(conf, &pressure) != 0)
		return kr_error(EINVAL);
	ck->client_enabled = client;
	ck->server_enabled = server;
	ck->pressure = pressure;
	if (has_server == 0) {
		push_secret(ck, server_secret);
		ck->is_given = true;
	}
	if (has_client == 0)
		memcpy(ck->client, client_secret, SECRET_LEN);
	ck->in_flight = 0;
	ck->ctx->cookies_vary = server;
	ck->ctx->generation += 1;
	return kr_ok();
}

KR_EXPORT
int cookies_init(struct kr_module *module);
KR_EXPORT
int cookies_deinit(struct kr_module *module);
KR_EXPORT
int cookies_config(struct kr_module *module, const char *text);

int cookies_config(struct kr_module *module, const char *text)
{
	if (!text || !*text)
		return kr_ok();
	json_error_t err;
	json_t *conf = json_loads(text, 0, &err);
	if (!json_is_object(conf)) {
		kr_log_error(COOKIES, "a table of settings is expected\n");
		json_decref(conf);
		return kr_error(EINVAL);
	}
	const int ret = apply(module->data, conf);
	json_decref(conf);
	return ret;
}

int cookies_init(struct kr_module *module)
{
	static const struct kr_prop props[] = {{NULL, NULL, NULL}};
	struct cookies *ck = calloc(1, sizeof(*ck));
	if (!ck)
		return kr_error(ENOMEM);
	ck->ctx = module->data;
	lru_create(&ck->servers, SERVERS_MAX, NULL, NULL);
	if (!ck->servers) {
		free(ck);
		return kr_error(ENOMEM);
	}
	kr_ctx_rnd(ck->ctx, ck->client, sizeof(ck->client));
	rotate(ck);
	ck->client_enabled = ck->server_enabled = true;
	ck->pressure = PRESSURE_DEFAULT;
	ck->ctx->cookies_vary = true;
	ck->layer = (kr_layer_api_t){
		.begin = cookies_begin,
		.finish = cookies_finish,
		.consume = cookies_consume,
		.checkout = cookies_checkout,
		.answer_finalize = cookies_answer,
		.is_skippable = true, /* who shows a cookie is answered anew: cookies_vary */
		.data = module,
	};
	module->data = ck;
	module->layer = &ck->layer;
	module->props = props;
	return kr_ok();
}

int cookies_deinit(struct kr_module *module)
{
	struct cookies *ck = module->data;
	if (!ck)
		return kr_ok();
	ck->ctx->cookies_vary = false;
	lru_free(ck->servers);
	free(ck);
	module->data = NULL;
	return kr_ok();
}

KR_MODULE_EXPORT(cookies)
