/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/transport/http2_client.h"

#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "lib/log.h"

#define DNS_TYPE "application/dns-message"
#define DNS_HEADER_LEN 12
/** Output waiting in the stages below at which we stop making more. */
#define OUT_MAX (128 * 1024)
/** Bytes that a server may send before we open its window again. */
#define WINDOW (1024 * 1024)
/** First size of an answer's buffer. */
#define BODY_MIN 512

/** One question and what came of its answer. */
struct exchange {
	struct exchange *next;
	int32_t id;
	uint8_t msg_id[2]; /**< of the question; on the wire it is 0 */
	uint16_t status;
	bool is_dns;      /**< the type of the answer's body */
	bool is_unwanted; /**< the answer is not worth keeping */
	size_t header_bytes;
	uint8_t *body; /**< question until it is sent; then the answer */
	size_t len, cap, sent;
	bool is_sent;
};

struct client_state {
	struct stage *st;
	char *authority, *path;
	nghttp2_session *session;
	struct exchange *exchanges;
	struct exchange *done, **done_last; /**< ended, to be told above */
	size_t body_bytes;
	bool is_leaving; /**< the server will answer no new questions */
	bool is_lost;    /**< some questions have to be asked elsewhere */
};

/* ---- exchanges ---- */

static struct exchange *find_exchange(struct client_state *client, int32_t id)
{
	struct exchange *x = client->exchanges;
	while (x && x->id != id)
		x = x->next;
	return x;
}

static void drop_body(struct client_state *client, struct exchange *x)
{
	stage_hold(client->st, x->cap, 0);
	client->body_bytes -= x->cap;
	free(x->body);
	x->body = NULL;
	x->len = x->cap = x->sent = 0;
}

static void unlink_exchange(struct client_state *client, struct exchange *x)
{
	struct exchange **at = &client->exchanges;
	while (*at && *at != x)
		at = &(*at)->next;
	if (*at)
		*at = x->next;
}

static void exchange_free(struct client_state *client, struct exchange *x)
{
	drop_body(client, x);
	free(x);
}

/** @return 0 or an error: there is no room for that */
static int grow_body(struct client_state *client, struct exchange *x, size_t more)
{
	if (more > KR_DNS_WIRE_MAX - x->len)
		return kr_error(EMSGSIZE);
	if (more <= x->cap - x->len)
		return kr_ok();
	size_t cap = x->cap ? x->cap : BODY_MIN;
	while (cap - x->len < more)
		cap *= 2;
	if (client->body_bytes - x->cap + cap > HTTP2_CLIENT_BODIES_MAX)
		return kr_error(ENOBUFS);
	uint8_t *body = realloc(x->body, cap);
	if (!body)
		return kr_error(ENOMEM);
	int ret = stage_hold(client->st, x->cap, cap);
	client->body_bytes += cap - x->cap;
	x->body = body;
	x->cap = cap;
	return ret;
}

/** The server understood HTTP, but gave no DNS message. */
static int tell_failure(struct client_state *client, const struct exchange *x)
{
	const uint8_t servfail[DNS_HEADER_LEN] = {x->msg_id[0], x->msg_id[1], 0x80, 2};
	kr_log_debug(DOH, "%s%s: no answer, HTTP status %u\n", client->authority, client->path,
		x->status);
	return stage_up(client->st, (struct bytes){servfail, sizeof(servfail)});
}

static int tell(struct client_state *client, struct exchange *x)
{
	if (x->status != 200 || !x->is_dns || x->is_unwanted || x->len < DNS_HEADER_LEN)
		return tell_failure(client, x);
	memcpy(x->body, x->msg_id, sizeof(x->msg_id));
	return stage_up(client->st, (struct bytes){x->body, x->len});
}

/** Tell above what has ended. Not while the library calls us: new questions may follow at once. */
static int deliver(struct client_state *client)
{
	int ret = kr_ok();
	while (client->done && ret == 0 && !client->st->stack->is_closing) {
		struct exchange *x = client->done;
		client->done = x->next;
		if (!client->done)
			client->done_last = &client->done;
		if (!client->is_lost || !x->is_unwanted)
			ret = tell(client, x);
		exchange_free(client, x);
	}
	return ret == 0 && client->is_lost ? kr_error(ECONNRESET) : ret;
}

/* ---- the library's callbacks ---- */

static ssize_t read_question(nghttp2_session *session, int32_t id, uint8_t *buf, size_t len,
	uint32_t *flags, nghttp2_data_source *source, void *user)
{
	struct exchange *x = source->ptr;
	len = KR_MIN(len, x->len - x->sent);
	memcpy(buf, x->body + x->sent, len);
	x->sent += len;
	if (x->sent == x->len) {
		*flags |= NGHTTP2_DATA_FLAG_EOF;
		drop_body(user, x);
		x->is_sent = true;
	}
	return len;
}

static bool is_text(const uint8_t *at, size_t len, const char *wanted)
{
	return len == strlen(wanted) && strncasecmp((const char *)at, wanted, len) == 0;
}

/** Media type without parameters. */
static bool is_dns_type(const uint8_t *value, size_t len)
{
	const uint8_t *end = memchr(value, ';', len);
	if (end)
		len = end - value;
	while (len > 0 && (value[len - 1] == ' ' || value[len - 1] == '\t'))
		len -= 1;
	return is_text(value, len, DNS_TYPE);
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
	size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags, void *user)
{
	struct exchange *x = find_exchange(user, frame->hd.stream_id);
	if (!x)
		return 0;
	x->header_bytes += name_len + value_len + 32; /* RFC 9113 section 6.5.2 */
	if (x->header_bytes > HTTP2_CLIENT_HEADERS_MAX)
		x->is_unwanted = true;
	if (is_text(name, name_len, ":status")) {
		x->status = 0; /* three digits, as the library has seen to */
		for (size_t i = 0; i < value_len && i < 3; ++i)
			x->status = x->status * 10 + (value[i] - '0');
	} else if (is_text(name, name_len, "content-type")) {
		x->is_dns = is_dns_type(value, value_len);
	}
	return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
	size_t len, void *user)
{
	struct client_state *client = user;
	struct exchange *x = find_exchange(client, id);
	if (!x || !x->is_sent || x->is_unwanted || x->status != 200)
		return 0;
	if (grow_body(client, x, len) != 0) {
		x->is_unwanted = true;
		return 0;
	}
	if (len > 0)
		memcpy(x->body + x->len, data, len);
	x->len += len;
	return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
	struct client_state *client = user;
	if (frame->hd.type == NGHTTP2_GOAWAY)
		client->is_leaving = true;
	return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t code, void *user)
{
	struct client_state *client = user;
	struct exchange *x = find_exchange(client, id);
	if (!x)
		return 0;
	if (code != NGHTTP2_NO_ERROR)
		x->is_unwanted = true;
	/* What a leaving server has refused goes to the next connection. */
	if (code == NGHTTP2_REFUSED_STREAM && client->is_leaving)
		client->is_lost = true;
	unlink_exchange(client, x);
	x->next = NULL;
	*client->done_last = x;
	client->done_last = &x->next;
	return 0;
}

static int make_session(struct client_state *client)
{
	nghttp2_session_callbacks *callbacks = NULL;
	nghttp2_option *options = NULL;
	int ret = nghttp2_session_callbacks_new(&callbacks);
	if (ret == 0)
		ret = nghttp2_option_new(&options);
	if (ret == 0) {
		nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
		nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
		nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
		nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
		ret = nghttp2_session_client_new2(&client->session, callbacks, client, options);
	}
	nghttp2_session_callbacks_del(callbacks);
	nghttp2_option_del(options);
	if (ret != 0)
		return kr_error(ENOMEM);
	const nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
		{NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, HTTP2_CLIENT_HEADERS_MAX}};
	ret = nghttp2_submit_settings(
		client->session, NGHTTP2_FLAG_NONE, settings, KR_COUNT_OF(settings));
	if (ret == 0)
		ret = nghttp2_session_set_local_window_size(
			client->session, NGHTTP2_FLAG_NONE, 0, WINDOW);
	return ret == 0 ? kr_ok() : kr_error(ENOMEM);
}

/* ---- stage ---- */

#define HEADER(n, v)                                                                               \
	{                                                                                          \
		(uint8_t *)(n), (uint8_t *)(v), strlen(n), strlen(v), NGHTTP2_NV_FLAG_NONE         \
	}

static int submit(struct client_state *client, struct exchange *x)
{
	char length[24];
	snprintf(length, sizeof(length), "%zu", x->len);
	const nghttp2_nv headers[] = {HEADER(":method", "POST"), HEADER(":scheme", "https"),
		HEADER(":authority", client->authority), HEADER(":path", client->path),
		HEADER("accept", DNS_TYPE), HEADER("content-type", DNS_TYPE),
		HEADER("content-length", length)};
	const nghttp2_data_provider provider = {.source.ptr = x, .read_callback = read_question};
	x->id = nghttp2_submit_request(
		client->session, NULL, headers, KR_COUNT_OF(headers), &provider, NULL);
	return x->id > 0 ? kr_ok() : kr_error(ECONNRESET);
}

/** Send what the library has to say, as long as it is taken. */
static int send_frames(struct client_state *client)
{
	while (client->st->stack->out_bytes < OUT_MAX) {
		const uint8_t *data = NULL;
		const ssize_t len = nghttp2_session_mem_send(client->session, &data);
		if (len < 0)
			return kr_error(EPROTO);
		if (len == 0)
			break;
		int ret = stage_down(client->st, (struct bytes){data, len});
		if (ret < 0)
			return ret;
	}
	return kr_ok();
}

static int client_down(struct stage *st, struct bytes out)
{
	struct client_state *client = stage_state(st);
	if (!out.at)
		return kr_ok();
	if (out.len < DNS_HEADER_LEN || out.len > KR_DNS_WIRE_MAX)
		return kr_error(EMSGSIZE);
	if (client->is_leaving)
		return kr_error(ECONNRESET);
	struct exchange *x = calloc(1, sizeof(*x));
	if (!x)
		return kr_error(ENOMEM);
	x->next = client->exchanges;
	client->exchanges = x;
	int ret = grow_body(client, x, out.len);
	if (ret == 0) {
		memcpy(x->body, out.at, out.len);
		memcpy(x->msg_id, out.at, sizeof(x->msg_id));
		memset(x->body, 0, sizeof(x->msg_id)); /* RFC 8484 section 4.1 */
		x->len = out.len;
		ret = submit(client, x);
	}
	if (ret != 0) {
		unlink_exchange(client, x);
		exchange_free(client, x);
		return ret;
	}
	/* Right now, as some servers want the frames of a request to be neighbours. */
	stage_want_flush(st);
	return send_frames(client);
}

static int client_up(struct stage *st, struct bytes in)
{
	struct client_state *client = stage_state(st);
	const ssize_t ret = nghttp2_session_mem_recv(client->session, in.at, in.len);
	if (ret < 0) {
		kr_log_debug(DOH, "%s: %s\n", client->authority, nghttp2_strerror(ret));
		return kr_error(EBADMSG);
	}
	stage_want_flush(st);
	return deliver(client);
}

static int flush(struct client_state *client)
{
	int ret = send_frames(client);
	if (ret == 0)
		ret = deliver(client);
	if (ret < 0)
		return ret;
	const bool is_over = !nghttp2_session_want_read(client->session) &&
			     !nghttp2_session_want_write(client->session);
	return is_over ? kr_error(ECONNRESET) : kr_ok();
}

static int client_event(struct stage *st, enum stage_event ev)
{
	struct client_state *client = stage_state(st);
	int ret = kr_ok();
	switch (ev) {
	case STAGE_OPEN:
		st->stack->facts.flags.http = st->stack->facts.comm_flags.http = true;
		stage_want_flush(st);
		break;
	case STAGE_FLUSH:
		ret = flush(client);
		break;
	case STAGE_SHUTDOWN:
		nghttp2_session_terminate_session(client->session, NGHTTP2_NO_ERROR);
		send_frames(client);
		break;
	default:
		break;
	}
	return ret < 0 ? ret : stage_event(st, ev);
}

static void client_deinit(struct stage *st)
{
	struct client_state *client = stage_state(st);
	for (struct exchange *x = client->exchanges, *next; x; x = next) {
		next = x->next;
		exchange_free(client, x);
	}
	for (struct exchange *x = client->done, *next; x; x = next) {
		next = x->next;
		exchange_free(client, x);
	}
	nghttp2_session_del(client->session);
	free(client->authority);
	free(client->path);
}

static int client_init(struct stage *st, const void *param)
{
	const struct http2_client_param *p = param;
	struct client_state *client = stage_state(st);
	client->st = st;
	client->done_last = &client->done;
	client->authority = strdup(p->authority);
	client->path = strdup(p->path);
	int ret = client->authority && client->path ? make_session(client) : kr_error(ENOMEM);
	if (ret != 0)
		client_deinit(st);
	return ret;
}

const struct stage_ops http2_client_stage = {
	.name = "http2_client",
	.state_size = sizeof(struct client_state),
	.init = client_init,
	.up = client_up,
	.down = client_down,
	.event = client_event,
	.deinit = client_deinit,
};
