/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/transport/http2.h"

#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "daemon/transport/frame_guard.h"
#include "lib/log.h"

#define DNS_TYPE "application/dns-message"
#define FRAME_HEAD 9 /**< octets before the payload of a frame */
/** Output waiting in the stages below at which we stop making more. */
#define OUT_MAX (128 * 1024)

enum method {
	METHOD_OTHER,
	METHOD_GET,
	METHOD_HEAD,
	METHOD_POST,
};

/** One request and its answer. */
struct h2_stream {
	struct h2_stream *next;       /**< of all */
	struct h2_stream *next_ready; /**< of complete requests not yet handed up */
	int32_t id;
	enum method method;
	bool is_complete; /**< nothing more will come */
	bool is_ready;    /**< in the list of those */
	bool is_answered;
	bool is_to_be_reset; /**< after the answer, as the rest of the request is not wanted */
	bool has_type;       /**< content-type is given */
	bool is_dns_type;
	int early_status; /**< decided while headers came; 0 = none */
	size_t header_bytes;
	char *path;
	uint8_t *body; /**< question; then the answer */
	size_t body_len, body_cap, body_sent;
	kr_http_header_array_t headers;
};

struct h2_state {
	struct stage *st;
	const struct http2_param *param;
	nghttp2_session *session;
	struct h2_stream *streams;
	struct h2_stream *ready, **ready_last;
	size_t incomplete; /**< requests that are still coming */
	size_t body_bytes; /**< of all questions */
	struct frame_guard guard;
	bool is_goaway;
};

/* ---- streams ---- */

static struct h2_stream *find_stream(struct h2_state *h2, int32_t id)
{
	struct h2_stream *s = h2->streams;
	while (s && s->id != id)
		s = s->next;
	return s;
}

static void note_incomplete(struct h2_state *h2)
{
	stage_set_partial(h2->st, h2->incomplete > 0 || !frame_guard_is_started(&h2->guard));
}

static struct h2_stream *stream_new(struct h2_state *h2, int32_t id)
{
	struct h2_stream *s = calloc(1, sizeof(*s));
	if (!s)
		return NULL;
	s->id = id;
	s->next = h2->streams;
	h2->streams = s;
	h2->incomplete += 1;
	return s;
}

static void drop_body(struct h2_state *h2, struct h2_stream *s)
{
	stage_hold(h2->st, s->body_cap, 0);
	if (!s->is_answered)
		h2->body_bytes -= s->body_cap;
	free(s->body);
	s->body = NULL;
	s->body_len = s->body_cap = s->body_sent = 0;
}

static void unready(struct h2_state *h2, struct h2_stream *s)
{
	if (!s->is_ready)
		return;
	struct h2_stream **at = &h2->ready;
	while (*at && *at != s)
		at = &(*at)->next_ready;
	if (*at)
		*at = s->next_ready;
	if (h2->ready_last == &s->next_ready)
		h2->ready_last = at;
	s->is_ready = false;
}

static void complete(struct h2_state *h2, struct h2_stream *s)
{
	if (!s->is_complete)
		h2->incomplete -= 1;
	s->is_complete = true;
}

static void stream_free(struct h2_state *h2, struct h2_stream *s)
{
	struct h2_stream **at = &h2->streams;
	while (*at && *at != s)
		at = &(*at)->next;
	if (*at)
		*at = s->next;
	unready(h2, s);
	complete(h2, s);
	drop_body(h2, s);
	for (size_t i = 0; i < s->headers.len; ++i) {
		free(s->headers.at[i].name);
		free(s->headers.at[i].value);
	}
	array_clear(s->headers);
	free(s->path);
	free(s);
}

/** @return 0 or an error */
static int grow_body(struct h2_state *h2, struct h2_stream *s, size_t cap)
{
	uint8_t *body = realloc(s->body, cap);
	if (!body)
		return kr_error(ENOMEM);
	int ret = stage_hold(h2->st, s->body_cap, cap);
	s->body = body;
	h2->body_bytes += cap - s->body_cap;
	s->body_cap = cap;
	return ret;
}

/** @return 0 or an HTTP status */
static int add_body(struct h2_state *h2, struct h2_stream *s, const uint8_t *at, size_t len)
{
	if (len > KR_DNS_WIRE_MAX - s->body_len)
		return 413;
	if (len > s->body_cap - s->body_len) {
		size_t cap = s->body_cap ? s->body_cap : 512;
		while (cap - s->body_len < len)
			cap *= 2;
		if (h2->body_bytes - s->body_cap + cap > HTTP2_BODIES_MAX ||
			grow_body(h2, s, cap) != 0)
			return 413;
	}
	if (len > 0)
		memcpy(s->body + s->body_len, at, len);
	s->body_len += len;
	return 0;
}

/* ---- answers ---- */

static ssize_t read_answer(nghttp2_session *session, int32_t id, uint8_t *buf, size_t len,
	uint32_t *flags, nghttp2_data_source *source, void *user)
{
	struct h2_stream *s = source->ptr;
	len = KR_MIN(len, s->body_len - s->body_sent);
	memcpy(buf, s->body + s->body_sent, len);
	s->body_sent += len;
	if (s->body_sent == s->body_len)
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	return len;
}

#define HEADER(n, v)                                                                               \
	{                                                                                          \
		(uint8_t *)(n), (uint8_t *)(v), strlen(n), strlen(v), NGHTTP2_NV_FLAG_NONE         \
	}

/** Answer without a body. */
static void answer_status(struct h2_state *h2, struct h2_stream *s, int status)
{
	char text[12];
	if (s->is_answered)
		return;
	snprintf(text, sizeof(text), "%d", status);
	const nghttp2_nv headers[] = {
		HEADER(":status", text), HEADER("access-control-allow-origin", "*")};
	const bool is_complete = s->is_complete;
	unready(h2, s);
	complete(h2, s); /* what may still come is of no interest */
	drop_body(h2, s);
	s->is_answered = true;
	s->is_to_be_reset = !is_complete;
	nghttp2_submit_response(h2->session, s->id, headers, KR_COUNT_OF(headers), NULL);
}

static int answer_dns(
	struct h2_state *h2, struct h2_stream *s, struct bytes out, uint32_t max_age_s)
{
	char length[24], age[32];
	snprintf(length, sizeof(length), "%zu", out.len);
	snprintf(age, sizeof(age), "max-age=%u", max_age_s);
	const nghttp2_nv headers[] = {HEADER(":status", "200"), HEADER("content-type", DNS_TYPE),
		HEADER("content-length", length), HEADER("cache-control", age),
		HEADER("access-control-allow-origin", "*")};
	drop_body(h2, s);
	s->is_answered = true;
	if (s->method == METHOD_HEAD)
		return nghttp2_submit_response(
			h2->session, s->id, headers, KR_COUNT_OF(headers), NULL);
	s->body = malloc(out.len);
	if (!s->body)
		return NGHTTP2_ERR_NOMEM;
	memcpy(s->body, out.at, out.len);
	s->body_len = s->body_cap = out.len;
	if (stage_hold(h2->st, 0, out.len) != 0)
		return NGHTTP2_ERR_NOMEM;
	const nghttp2_data_provider provider = {.source.ptr = s, .read_callback = read_answer};
	return nghttp2_submit_response(
		h2->session, s->id, headers, KR_COUNT_OF(headers), &provider);
}

static int http2_down(struct stage *st, struct bytes out)
{
	struct h2_state *h2 = stage_state(st);
	const struct stage_facts *to = st->stack->to;
	struct h2_stream *s = to ? find_stream(h2, to->stream_id) : NULL;
	if (!s || s->is_answered)
		return kr_ok(); /* reset meanwhile */
	stage_want_flush(st);
	if (out.at)
		return answer_dns(h2, s, out, to->max_age_s) == 0 ? kr_ok() : kr_error(ENOMEM);
	if (to->is_malformed) {
		answer_status(h2, s, 400);
		return kr_ok();
	}
	s->is_answered = true;
	nghttp2_submit_rst_stream(h2->session, NGHTTP2_FLAG_NONE, s->id, NGHTTP2_REFUSED_STREAM);
	return kr_ok();
}

/* ---- requests ---- */

static int value_of(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '-' ? 62 : c == '_' ? 63 : -1;
}

/** base64url without padding (RFC 4648 section 5), in place. @return octets or -1 */
static ssize_t decode(char *text, size_t len)
{
	uint8_t *out = (uint8_t *)text;
	size_t done = 0;
	uint32_t bits = 0;
	if (len % 4 == 1)
		return -1;
	for (size_t i = 0; i < len; ++i) {
		const int value = value_of(text[i]);
		if (value < 0)
			return -1;
		bits = bits << 6 | value;
		if (i % 4 != 0)
			out[done++] = bits >> (6 - 2 * (i % 4));
	}
	return done;
}

/** Take the question out of the query string. @return 0 or an HTTP status */
static int read_query(struct h2_state *h2, struct h2_stream *s, char *query)
{
	char *dns = NULL;
	for (char *item = query, *next; item; item = next) {
		next = strchr(item, '&');
		if (next)
			*next++ = '\0';
		if (strncmp(item, "dns=", 4) != 0)
			continue;
		if (dns)
			return 400;
		dns = item + 4;
	}
	if (!dns || !dns[0])
		return 400;
	const ssize_t len = decode(dns, strlen(dns));
	if (len <= 0)
		return 400;
	drop_body(h2, s); /* a GET with a body: the body means nothing */
	return add_body(h2, s, (uint8_t *)dns, len);
}

/** @return 0: s->body is the question; or an HTTP status */
static int judge(struct h2_state *h2, struct h2_stream *s)
{
	if (s->early_status)
		return s->early_status;
	if (s->method == METHOD_OTHER)
		return 501;
	if (!s->path)
		return 400;
	char *query = strchr(s->path, '?');
	if (query)
		*query++ = '\0';
	if (strcmp(s->path, "/dns-query") != 0 && strcmp(s->path, "/doh") != 0)
		return 404;
	if (s->has_type && !s->is_dns_type)
		return 415;
	if (s->method == METHOD_POST)
		return s->body_len > 0 ? 0 : 400;
	return query ? read_query(h2, s, query) : 400;
}

/** All of the request is there. */
static void request_complete(struct h2_state *h2, struct h2_stream *s)
{
	if (s->is_complete)
		return;
	complete(h2, s);
	const int status = judge(h2, s);
	free(s->path);
	s->path = NULL;
	if (status) {
		answer_status(h2, s, status);
		return;
	}
	s->is_ready = true;
	s->next_ready = NULL;
	*h2->ready_last = s;
	h2->ready_last = &s->next_ready;
}

/** Hand complete requests up as far as we may. */
static int deliver(struct h2_state *h2)
{
	struct stage_facts *facts = &h2->st->stack->facts;
	while (h2->ready && !stage_is_held(h2->st)) {
		struct h2_stream *s = h2->ready;
		unready(h2, s);
		facts->stream_id = s->id;
		facts->headers = s->headers.len > 0 ? &s->headers : NULL;
		/* The answer may replace the body while it is being looked at. */
		uint8_t *body = s->body;
		const size_t len = s->body_len;
		stage_hold(h2->st, s->body_cap, 0);
		h2->body_bytes -= s->body_cap;
		s->body = NULL;
		s->body_len = s->body_cap = 0;
		int ret = stage_up(h2->st, (struct bytes){body, len});
		free(body);
		facts->headers = NULL;
		if (ret < 0)
			return ret;
	}
	return kr_ok();
}

/* ---- the library's callbacks ---- */

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
	struct h2_state *h2 = user;
	if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
		return 0; /* trailers */
	return stream_new(h2, frame->hd.stream_id) ? 0 : NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

static bool is_name(const uint8_t *name, size_t len, const char *wanted)
{
	return len == strlen(wanted) && strncasecmp((const char *)name, wanted, len) == 0;
}

static int keep_header(struct h2_state *h2, struct h2_stream *s, const uint8_t *name,
	size_t name_len, const uint8_t *value, size_t value_len)
{
	for (size_t i = 0; i < h2->param->headers.len; ++i) {
		if (!is_name(name, name_len, h2->param->headers.at[i]))
			continue;
		if (value_len > HTTP2_KEPT_HEADER_MAX)
			return 431;
		kr_http_header_array_entry_t entry = {strndup((const char *)name, name_len),
			strndup((const char *)value, value_len)};
		if (entry.name && entry.value && array_push(s->headers, entry) >= 0)
			return 0;
		free(entry.name);
		free(entry.value);
		return 431;
	}
	return 0;
}

static enum method method_of(const uint8_t *value, size_t len)
{
	static const char *const names[] = {
		[METHOD_GET] = "GET", [METHOD_HEAD] = "HEAD", [METHOD_POST] = "POST"};
	for (enum method m = METHOD_GET; m <= METHOD_POST; ++m)
		if (len == strlen(names[m]) && memcmp(value, names[m], len) == 0)
			return m;
	return METHOD_OTHER;
}

/** Media type without parameters. */
static bool is_dns_type(const uint8_t *value, size_t len)
{
	const uint8_t *end = memchr(value, ';', len);
	if (end)
		len = end - value;
	while (len > 0 && (value[len - 1] == ' ' || value[len - 1] == '\t'))
		len -= 1;
	return is_name(value, len, DNS_TYPE);
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
	size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags, void *user)
{
	struct h2_state *h2 = user;
	struct h2_stream *s = find_stream(h2, frame->hd.stream_id);
	if (!s || s->is_complete)
		return 0;
	s->header_bytes += name_len + value_len + 32; /* RFC 9113 section 6.5.2 */
	if (s->header_bytes > HTTP2_HEADER_LIST_MAX) {
		s->early_status = 431;
		return 0;
	}
	if (is_name(name, name_len, ":method")) {
		s->method = method_of(value, value_len);
	} else if (is_name(name, name_len, ":path")) {
		if (value_len > HTTP2_PATH_MAX)
			s->early_status = 414;
		else if (!s->path)
			s->path = strndup((const char *)value, value_len);
	} else if (is_name(name, name_len, "content-type")) {
		s->has_type = true;
		s->is_dns_type = is_dns_type(value, value_len);
	}
	const int status = keep_header(h2, s, name, name_len, value, value_len);
	if (status)
		s->early_status = status;
	return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
	size_t len, void *user)
{
	struct h2_state *h2 = user;
	struct h2_stream *s = find_stream(h2, id);
	if (!s || s->is_answered || s->early_status)
		return 0;
	const int status = add_body(h2, s, data, len);
	if (status)
		answer_status(h2, s, status);
	return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
	struct h2_state *h2 = user;
	if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA)
		return 0;
	struct h2_stream *s = find_stream(h2, frame->hd.stream_id);
	if (s && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
		request_complete(h2, s);
	return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t code, void *user)
{
	struct h2_state *h2 = user;
	struct h2_stream *s = find_stream(h2, id);
	if (s)
		stream_free(h2, s);
	return 0;
}

static int on_frame_sent(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
	struct h2_state *h2 = user;
	if (frame->hd.type == NGHTTP2_HEADERS) {
		/* Asked for earlier, the reset would overtake the answer. */
		struct h2_stream *s = find_stream(h2, frame->hd.stream_id);
		if (s && s->is_to_be_reset)
			nghttp2_submit_rst_stream(
				session, NGHTTP2_FLAG_NONE, s->id, NGHTTP2_NO_ERROR);
	}
	/* Errors that we were made to say count like those said to us. */
	if (frame->hd.type == NGHTTP2_RST_STREAM &&
		frame->rst_stream.error_code != NGHTTP2_NO_ERROR)
		frame_guard_count_reset(&h2->guard, time(NULL));
	return 0;
}

static int make_session(struct h2_state *h2)
{
	nghttp2_session_callbacks *callbacks = NULL;
	nghttp2_option *options = NULL;
	int ret = nghttp2_session_callbacks_new(&callbacks);
	if (ret == 0)
		ret = nghttp2_option_new(&options);
	if (ret == 0) {
		nghttp2_session_callbacks_set_on_begin_headers_callback(
			callbacks, on_begin_headers);
		nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
		nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
		nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
		nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_sent);
		nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
		nghttp2_option_set_max_outbound_ack(options, 2 * HTTP2_SETTINGS_MAX);
		ret = nghttp2_session_server_new2(&h2->session, callbacks, h2, options);
	}
	nghttp2_session_callbacks_del(callbacks);
	nghttp2_option_del(options);
	if (ret != 0)
		return kr_error(ENOMEM);
	const nghttp2_settings_entry settings[] = {
		{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, HTTP2_STREAMS_MAX},
		{NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, HTTP2_HEADER_LIST_MAX}};
	ret = nghttp2_submit_settings(
		h2->session, NGHTTP2_FLAG_NONE, settings, KR_COUNT_OF(settings));
	return ret == 0 ? kr_ok() : kr_error(ENOMEM);
}

/* ---- stage ---- */

/** Is this the last frame of a stream? RFC 9113 section 4.1 */
static bool ends_stream(const uint8_t *frame, size_t len)
{
	return len >= FRAME_HEAD && frame[3] <= NGHTTP2_HEADERS &&
	       (frame[4] & NGHTTP2_FLAG_END_STREAM);
}

/**
 * Send what the library has to say, as long as the peer takes it. Each answer ends its TLS record:
 * there are clients that look at one answer only of what they read at a time.
 */
static int send_frames(struct h2_state *h2)
{
	struct stack *stack = h2->st->stack;
	while (stack->out_bytes < OUT_MAX) {
		const uint8_t *data = NULL;
		const ssize_t len = nghttp2_session_mem_send(h2->session, &data);
		if (len < 0)
			return kr_error(EPROTO);
		if (len == 0)
			break;
		int ret = stage_down(h2->st, (struct bytes){data, len});
		if (ret == 0 && ends_stream(data, len))
			ret = stage_event(h2->st, STAGE_CUT);
		if (ret < 0)
			return ret;
	}
	return kr_ok();
}

/** Say why, and have the session closed. */
static int break_off(struct h2_state *h2, uint32_t code)
{
	if (!h2->is_goaway) {
		h2->is_goaway = true;
		nghttp2_session_terminate_session(h2->session, code);
		send_frames(h2);
	}
	return kr_error(EPROTO);
}

static int http2_up(struct stage *st, struct bytes in)
{
	struct h2_state *h2 = stage_state(st);
	if (h2->is_goaway)
		return kr_error(EPROTO);
	stage_want_flush(st);
	if (!frame_guard_see(&h2->guard, in, time(NULL)))
		return break_off(h2, NGHTTP2_ENHANCE_YOUR_CALM);
	const ssize_t ret = nghttp2_session_mem_recv(h2->session, in.at, in.len);
	if (ret < 0) {
		kr_log_debug(DOH, "client: %s\n", nghttp2_strerror(ret));
		return break_off(h2, NGHTTP2_PROTOCOL_ERROR);
	}
	int err = deliver(h2);
	note_incomplete(h2);
	return err;
}

static int flush(struct h2_state *h2)
{
	int ret = send_frames(h2);
	if (ret < 0)
		return ret;
	if (frame_guard_is_flooded(&h2->guard))
		return break_off(h2, NGHTTP2_ENHANCE_YOUR_CALM);
	/* The library has closed the connection for an error of the peer, or the peer has. */
	if (!nghttp2_session_want_read(h2->session) && !nghttp2_session_want_write(h2->session))
		return kr_error(EPROTO);
	return kr_ok();
}

static int http2_event(struct stage *st, enum stage_event ev)
{
	struct h2_state *h2 = stage_state(st);
	int ret = kr_ok();
	switch (ev) {
	case STAGE_OPEN:
		st->stack->facts.flags.http = st->stack->facts.comm_flags.http = true;
		note_incomplete(h2);
		stage_want_flush(st);
		break;
	case STAGE_FLUSH:
		ret = flush(h2);
		break;
	case STAGE_RESUME:
		ret = deliver(h2);
		if (ret < 0 || stage_is_held(st))
			return ret;
		break;
	case STAGE_SHUTDOWN:
		if (!h2->is_goaway) {
			h2->is_goaway = true;
			nghttp2_session_terminate_session(h2->session, NGHTTP2_NO_ERROR);
			send_frames(h2);
		}
		break;
	default:
		break;
	}
	return ret < 0 ? ret : stage_event(st, ev);
}

static void http2_deinit(struct stage *st)
{
	struct h2_state *h2 = stage_state(st);
	while (h2->streams)
		stream_free(h2, h2->streams);
	nghttp2_session_del(h2->session);
}

static int http2_init(struct stage *st, const void *param)
{
	struct h2_state *h2 = stage_state(st);
	h2->st = st;
	h2->param = param;
	h2->ready_last = &h2->ready;
	int ret = make_session(h2);
	if (ret != 0)
		nghttp2_session_del(h2->session);
	return ret;
}

const struct stage_ops http2_stage = {
	.name = "http2",
	.state_size = sizeof(struct h2_state),
	.init = http2_init,
	.up = http2_up,
	.down = http2_down,
	.event = http2_event,
	.deinit = http2_deinit,
};
