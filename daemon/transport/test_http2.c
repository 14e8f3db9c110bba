/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * The HTTP/2 stage over arrays against nghttp2's client, and against bytes that no client would
 * send.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <nghttp2/nghttp2.h>
#include <stdio.h>

#include "daemon/answer_age.h"
#include "daemon/transport/http2.h"
#include "daemon/transport/test_stack.h"

static struct http2_param param;

/** What became of one request. */
struct result {
	int status;
	char type[64], age[64], origin[8];
	size_t length;
	uint8_t body[70000];
	size_t body_len;
	bool is_closed;
	uint32_t code;
};

struct world {
	struct rig rig;
	nghttp2_session *client;
	struct result results[210]; /**< by stream id / 2 */
	int ret;
	bool is_goaway;
	uint32_t goaway_code;
	const uint8_t *upload;
	size_t upload_len;
};

static struct result *result_of(struct world *w, int32_t id)
{
	assert_in_range(id / 2, 0, KR_COUNT_OF(w->results) - 1);
	return &w->results[id / 2];
}

static int client_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
	size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags, void *user)
{
	struct result *r = result_of(user, frame->hd.stream_id);
	char text[64];
	snprintf(text, sizeof(text), "%.*s", (int)value_len, (const char *)value);
	if (strcmp((const char *)name, ":status") == 0)
		r->status = atoi(text);
	else if (strcmp((const char *)name, "content-type") == 0)
		strcpy(r->type, text);
	else if (strcmp((const char *)name, "cache-control") == 0)
		strcpy(r->age, text);
	else if (strcmp((const char *)name, "content-length") == 0)
		r->length = atoi(text);
	else if (strcmp((const char *)name, "access-control-allow-origin") == 0)
		snprintf(r->origin, sizeof(r->origin), "%.7s", text);
	return 0;
}

static int client_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
	size_t len, void *user)
{
	struct result *r = result_of(user, id);
	memcpy(r->body + r->body_len, data, len);
	r->body_len += len;
	return 0;
}

static int client_closed(nghttp2_session *session, int32_t id, uint32_t code, void *user)
{
	struct result *r = result_of(user, id);
	r->is_closed = true;
	r->code = code;
	return 0;
}

static int client_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
	struct world *w = user;
	if (frame->hd.type == NGHTTP2_GOAWAY) {
		w->is_goaway = true;
		w->goaway_code = frame->goaway.error_code;
	}
	return 0;
}

static ssize_t client_read(nghttp2_session *session, int32_t id, uint8_t *buf, size_t len,
	uint32_t *flags, nghttp2_data_source *source, void *user)
{
	struct world *w = user;
	len = KR_MIN(len, w->upload_len);
	memcpy(buf, w->upload, len);
	w->upload += len;
	w->upload_len -= len;
	if (w->upload_len == 0)
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	return len;
}

static struct world *world_new(void)
{
	struct world *w = calloc(1, sizeof(*w));
	const struct stack_item item = {&http2_stage, &param};
	assert_int_equal(rig_init(&w->rig, &item, 1), 0);
	assert_int_equal(rig_tell(&w->rig, STAGE_OPEN), 0);
	nghttp2_session_callbacks *callbacks;
	nghttp2_session_callbacks_new(&callbacks);
	nghttp2_session_callbacks_set_on_header_callback(callbacks, client_header);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, client_data);
	nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, client_closed);
	nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, client_frame);
	nghttp2_session_client_new(&w->client, callbacks, w);
	nghttp2_session_callbacks_del(callbacks);
	nghttp2_submit_settings(w->client, NGHTTP2_FLAG_NONE, NULL, 0);
	return w;
}

static void world_free(struct world *w)
{
	nghttp2_session_del(w->client);
	rig_deinit(&w->rig);
	free(w);
}

/** Let both talk until they are silent. */
static void talk(struct world *w, size_t step)
{
	for (int i = 0; i < 100; ++i) {
		const uint8_t *data;
		ssize_t len;
		bool is_silent = true;
		while (w->ret == 0 && (len = nghttp2_session_mem_send(w->client, &data)) > 0) {
			is_silent = false;
			for (size_t done = 0; done < (size_t)len && w->ret == 0; done += step)
				w->ret = rig_feed(&w->rig, data + done, KR_MIN(step, len - done));
		}
		if (w->ret == 0)
			w->ret = rig_tell(&w->rig, STAGE_FLUSH);
		if (w->rig.out.len > 0) {
			is_silent = false;
			len = nghttp2_session_mem_recv(w->client, w->rig.out.at, w->rig.out.len);
			assert_int_equal(len, w->rig.out.len);
			w->rig.out.len = 0;
		}
		if (is_silent)
			return;
	}
	fail_msg("they talk for ever");
}

#define NV(n, v)                                                                                   \
	{                                                                                          \
		(uint8_t *)(n), (uint8_t *)(v), strlen(n), strlen(v), NGHTTP2_NV_FLAG_NONE         \
	}

/** @param type  content-type or NULL @param body  NULL = none */
static struct result *request(struct world *w, const char *method, const char *path,
	const char *type, const void *body, size_t body_len)
{
	nghttp2_nv headers[6] = {NV(":method", method), NV(":scheme", "https"),
		NV(":authority", "dns.example"), NV(":path", path)};
	size_t len = 4;
	if (type)
		headers[len++] = (nghttp2_nv)NV("content-type", type);
	headers[len++] = (nghttp2_nv)NV("x-forwarded-for", "192.0.2.9");
	const nghttp2_data_provider provider = {.read_callback = client_read};
	w->upload = body;
	w->upload_len = body_len;
	const int32_t id = nghttp2_submit_request(
		w->client, NULL, headers, len, body ? &provider : NULL, NULL);
	assert_true(id > 0);
	talk(w, 1 << 20);
	return result_of(w, id);
}

static void answer(struct world *w, size_t i, size_t len)
{
	uint8_t *wire = malloc(len);
	memset(wire, 0x44, len);
	const struct stage_facts to = {
		.stream_id = w->rig.messages.at[i].stream_id, .max_age_s = 77};
	assert_int_equal(stack_send(w->rig.stack, &to, (struct bytes){wire, len}), 0);
	free(wire);
	talk(w, 1 << 20);
}

static const uint8_t question[] = {0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 'a', 0, 0, 1, 0, 1};
#define QUESTION_64 "AAABAAABAAAAAAAAAWEAAAEAAQ"
#define DNS "application/dns-message"

static void check_answered(struct world *w, const struct result *r, size_t len)
{
	assert_int_equal(w->rig.messages.len, 1);
	assert_int_equal(w->rig.messages.at[0].len, sizeof(question));
	assert_memory_equal(w->rig.messages.at[0].wire, question, sizeof(question));
	assert_true(w->rig.messages.at[0].flags.http);
	answer(w, 0, len);
	assert_int_equal(r->status, 200);
	assert_string_equal(r->type, DNS);
	assert_string_equal(r->age, "max-age=77");
	assert_string_equal(r->origin, "*");
	assert_int_equal(r->length, len);
	assert_true(r->is_closed);
}

static void questions_by_get_post_and_head(void **state)
{
	static const struct {
		const char *method, *path, *type;
		bool has_body;
	} cases[] = {{"GET", "/dns-query?dns=" QUESTION_64, NULL, false},
		{"GET", "/doh?x=1&dns=" QUESTION_64 "&y=", NULL, false},
		{"HEAD", "/dns-query?dns=" QUESTION_64, NULL, false},
		{"POST", "/dns-query", DNS, true}, {"POST", "/doh", NULL, true},
		{"POST", "/doh?whatever", "Application/DNS-Message; q=1", true}};
	for (size_t i = 0; i < KR_COUNT_OF(cases); ++i) {
		struct world *w = world_new();
		struct result *r = request(w, cases[i].method, cases[i].path, cases[i].type,
			cases[i].has_body ? question : NULL, sizeof(question));
		check_answered(w, r, 300);
		assert_int_equal(r->body_len, strcmp(cases[i].method, "HEAD") == 0 ? 0 : 300);
		assert_int_equal(w->ret, 0);
		world_free(w);
	}
}

/** For clients that look at one answer of a TLS record only. */
static void each_answer_is_cut(void **state)
{
	struct world *w = world_new();
	for (int i = 0; i < 3; ++i)
		request(w, "GET", "/dns-query?dns=" QUESTION_64, NULL, NULL, 0);
	assert_int_equal(w->rig.cuts, 0);
	for (int i = 0; i < 3; ++i) {
		const uint8_t wire[300] = {0};
		const struct stage_facts to = {.stream_id = w->rig.messages.at[i].stream_id};
		assert_int_equal(
			stack_send(w->rig.stack, &to, (struct bytes){wire, sizeof(wire)}), 0);
	}
	talk(w, 1 << 20);
	assert_int_equal(w->rig.cuts, 3);
	world_free(w);
}

static void largest_messages_pass(void **state)
{
	struct world *w = world_new();
	uint8_t *body = calloc(1, 65536);
	struct result *r = request(w, "POST", "/dns-query", DNS, body, 65535);
	assert_int_equal(w->rig.messages.len, 1);
	assert_int_equal(w->rig.messages.at[0].len, 65535);
	answer(w, 0, 65535);
	assert_int_equal(r->status, 200);
	assert_int_equal(r->body_len, 65535);
	r = request(w, "POST", "/dns-query", DNS, body, 65536);
	assert_int_equal(r->status, 413);
	assert_int_equal(w->rig.messages.len, 1);
	free(body);
	world_free(w);
}

static void bad_requests_get_their_status(void **state)
{
	char long_path[9000] = "/dns-query?dns=";
	memset(long_path + 15, 'A', sizeof(long_path) - 16);
	const struct {
		const char *method, *path, *type, *body;
		int status;
	} cases[] = {{"PUT", "/dns-query", DNS, "x", 501}, {"OPTIONS", "/doh", NULL, NULL, 501},
		{"GET", "/", NULL, NULL, 404}, {"GET", "/dns-query/x", NULL, NULL, 404},
		{"GET", "/dns-query", NULL, NULL, 400}, {"GET", "/doh?dns=", NULL, NULL, 400},
		{"GET", "/doh?name=a", NULL, NULL, 400},
		{"GET", "/doh?dns=" QUESTION_64 "==", NULL, NULL, 400},
		{"GET", "/doh?dns=" QUESTION_64 "&dns=" QUESTION_64, NULL, NULL, 400},
		{"GET", "/doh?dns=AAA+", NULL, NULL, 400},
		{"GET", "/doh?dns=AAAAA", NULL, NULL, 400},
		{"GET", "/doh?dns=" QUESTION_64, "text/html", NULL, 415},
		{"POST", "/doh", "text/html", "x", 415}, {"POST", "/doh", DNS, NULL, 400},
		{"GET", long_path, NULL, NULL, 414}};
	struct world *w = world_new();
	for (size_t i = 0; i < KR_COUNT_OF(cases); ++i) {
		struct result *r = request(w, cases[i].method, cases[i].path, cases[i].type,
			cases[i].body, cases[i].body ? strlen(cases[i].body) : 0);
		if (r->status != cases[i].status)
			fail_msg("%s %.40s: %d", cases[i].method, cases[i].path, r->status);
		assert_int_equal(r->body_len, 0);
		assert_string_equal(r->origin, "*");
		assert_true(r->is_closed);
		assert_int_equal(r->code, NGHTTP2_NO_ERROR);
	}
	assert_int_equal(w->rig.messages.len, 0);
	/* The connection is as good as ever. */
	check_answered(w, request(w, "GET", "/doh?dns=" QUESTION_64, NULL, NULL, 0), 40);
	world_free(w);
}

static void no_dns_query_is_a_bad_request(void **state)
{
	struct world *w = world_new();
	struct result *r = request(w, "POST", "/doh", DNS, "xx", 2);
	assert_int_equal(w->rig.messages.len, 1);
	struct stage_facts to = {
		.stream_id = w->rig.messages.at[0].stream_id, .is_malformed = true};
	stack_send(w->rig.stack, &to, (struct bytes){NULL, 0});
	talk(w, 1 << 20);
	assert_int_equal(r->status, 400);
	/* Dropped by policy. */
	r = request(w, "POST", "/doh", DNS, question, sizeof(question));
	to = (struct stage_facts){.stream_id = w->rig.messages.at[1].stream_id};
	stack_send(w->rig.stack, &to, (struct bytes){NULL, 0});
	talk(w, 1 << 20);
	assert_int_equal(r->status, 0);
	assert_true(r->is_closed);
	world_free(w);
}

static void answers_out_of_order_and_for_vanished_streams(void **state)
{
	struct world *w = world_new();
	struct result *r[3];
	for (int i = 0; i < 3; ++i)
		r[i] = request(w, "GET", "/doh?dns=" QUESTION_64, NULL, NULL, 0);
	assert_int_equal(w->rig.messages.len, 3);
	nghttp2_submit_rst_stream(w->client, 0, w->rig.messages.at[1].stream_id, NGHTTP2_CANCEL);
	talk(w, 1 << 20);
	for (int i = 2; i >= 0; --i)
		answer(w, i, 100 + i);
	assert_int_equal(r[0]->body_len, 100);
	assert_int_equal(r[1]->body_len, 0);
	assert_int_equal(r[2]->body_len, 102);
	answer(w, 0, 50); /* a second answer is ignored */
	assert_int_equal(r[0]->body_len, 100);
	assert_int_equal(w->ret, 0);
	world_free(w);
}

static void octet_by_octet_works(void **state)
{
	struct world *w = world_new();
	nghttp2_nv headers[] = {NV(":method", "GET"), NV(":scheme", "https"),
		NV(":authority", "dns.example"), NV(":path", "/doh?dns=" QUESTION_64)};
	nghttp2_submit_request(w->client, NULL, headers, 4, NULL, NULL);
	assert_true(w->rig.stack->partial != 0);
	talk(w, 1);
	assert_int_equal(w->rig.messages.len, 1);
	assert_int_equal(w->rig.stack->partial, 0);
	world_free(w);
}

static void a_paused_stack_keeps_requests(void **state)
{
	struct world *w = world_new();
	w->rig.pause_after = 2;
	for (int i = 0; i < 5; ++i)
		request(w, "GET", "/doh?dns=" QUESTION_64, NULL, NULL, 0);
	assert_int_equal(w->rig.messages.len, 2);
	assert_int_equal(stack_pause(w->rig.stack, false), 0);
	assert_int_equal(w->rig.messages.len, 4);
	assert_int_equal(stack_pause(w->rig.stack, false), 0);
	assert_int_equal(w->rig.messages.len, 5);
	world_free(w);
}

static const kr_http_header_array_t *last_headers;
static char last_value[64];

static int look_at_headers(struct stack *stack, struct bytes in)
{
	last_headers = stack->facts.headers;
	if (last_headers)
		snprintf(last_value, sizeof(last_value), "%s=%s", last_headers->at[0].name,
			last_headers->at[0].value);
	return 0;
}

static void chosen_headers_are_kept(void **state)
{
	static const struct stack_ops ops = {.message = look_at_headers,
		.event = rig_event,
		.failed = rig_failed,
		.released = rig_released};
	char name[] = "X-Forwarded-For";
	(void)array_push(param.headers, name);
	struct world *w = world_new();
	w->rig.stack->ops = &ops;
	request(w, "GET", "/doh?dns=" QUESTION_64, NULL, NULL, 0);
	assert_non_null(last_headers);
	assert_string_equal(last_value, "x-forwarded-for=192.0.2.9");
	world_free(w);
	array_clear(param.headers);
}

static void floods_end_the_connection(void **state)
{
	static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
	static const struct {
		const char *what;
		uint8_t frame[9 + 8];
		size_t len;
		int tolerated;
	} cases[] = {{"PING", {0, 0, 8, 6, 0, 0, 0, 0, 0}, 17, HTTP2_PINGS_MAX},
		{"SETTINGS", {0, 0, 0, 4, 0, 0, 0, 0, 0}, 9, HTTP2_SETTINGS_MAX - 1},
		{"PRIORITY", {0, 0, 5, 2, 0, 0, 0, 0, 1, 0, 0, 0, 3, 7}, 14, HTTP2_PRIORITIES_MAX},
		{"unknown", {0, 0, 0, 99, 0, 0, 0, 0, 0}, 9, HTTP2_UNKNOWN_MAX},
		{"WINDOW_UPDATE", {0, 0, 4, 8, 0, 0, 0, 0, 0, 0, 0, 0, 1}, 13,
			HTTP2_WINDOW_UPDATES_MAX}};
	for (size_t i = 0; i < KR_COUNT_OF(cases); ++i) {
		struct world *w = world_new();
		static const uint8_t settings[] = {0, 0, 0, 4, 0, 0, 0, 0, 0};
		assert_int_equal(rig_feed(&w->rig, preface, 24), 0);
		assert_int_equal(rig_feed(&w->rig, settings, 9), 0);
		for (int k = 0; k < cases[i].tolerated && w->ret == 0; ++k) {
			w->ret = rig_feed(&w->rig, cases[i].frame, cases[i].len);
			rig_tell(&w->rig, STAGE_FLUSH);
		}
		if (w->ret != 0)
			fail_msg("%s is not tolerated", cases[i].what);
		if (rig_feed(&w->rig, cases[i].frame, cases[i].len) != kr_error(EPROTO))
			fail_msg("a flood of %s is tolerated", cases[i].what);
		/* The last frame says why: GOAWAY, ENHANCE_YOUR_CALM. */
		assert_true(w->rig.out.len > 17);
		const uint8_t *goaway = w->rig.out.at + w->rig.out.len - 17;
		assert_int_equal(goaway[3], 7);
		assert_int_equal(goaway[16], NGHTTP2_ENHANCE_YOUR_CALM);
		world_free(w);
	}
}

static void rapid_resets_end_the_connection(void **state)
{
	struct world *w = world_new();
	int requests = 0;
	for (; requests < 150 && w->ret == 0; ++requests) {
		request(w, "GET", "/doh?dns=" QUESTION_64, NULL, NULL, 0);
		nghttp2_submit_rst_stream(w->client, 0, 2 * requests + 1, NGHTTP2_CANCEL);
		talk(w, 1 << 20);
	}
	assert_int_equal(requests, HTTP2_RESETS_MAX + 1);
	assert_true(w->is_goaway);
	assert_int_equal(w->goaway_code, NGHTTP2_ENHANCE_YOUR_CALM);
	world_free(w);
}

static void endless_headers_end_the_connection(void **state)
{
	static const uint8_t start[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
				       "\0\0\0\4\0\0\0\0\0"
				       "\0\0\1\1\0\0\0\0\1\x82";
	static const uint8_t more[] = {0, 0, 0, 9, 0, 0, 0, 0, 1};
	struct world *w = world_new();
	assert_int_equal(rig_feed(&w->rig, start, sizeof(start) - 1), 0);
	for (int i = 0; i < HTTP2_CONTINUATIONS_MAX; ++i)
		assert_int_equal(rig_feed(&w->rig, more, sizeof(more)), 0);
	assert_int_equal(rig_feed(&w->rig, more, sizeof(more)), kr_error(EPROTO));
	world_free(w);
}

static void other_protocols_are_disconnected(void **state)
{
	static const char *const cases[] = {"GET /doh HTTP/1.1\r\nHost: dns.example\r\n\r\n",
		"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n\0\0\0\4\0\0\0\0\0"};
	for (size_t i = 0; i < KR_COUNT_OF(cases); ++i) {
		struct world *w = world_new();
		assert_int_equal(rig_feed(&w->rig, cases[i], 30), kr_error(EPROTO));
		world_free(w);
	}
}

static void too_many_headers_are_too_large(void **state)
{
	struct world *w = world_new();
	char value[3000];
	memset(value, 'x', sizeof(value) - 1);
	value[sizeof(value) - 1] = '\0';
	nghttp2_nv headers[10] = {NV(":method", "GET"), NV(":scheme", "https"),
		NV(":authority", "dns.example"), NV(":path", "/doh?dns=" QUESTION_64)};
	for (int i = 4; i < 10; ++i)
		headers[i] = (nghttp2_nv)NV("x-junk", value);
	const int32_t id = nghttp2_submit_request(w->client, NULL, headers, 10, NULL, NULL);
	talk(w, 1 << 20);
	assert_int_equal(result_of(w, id)->status, 431);
	assert_int_equal(w->rig.messages.len, 0);
	world_free(w);
}

static void the_age_is_the_smallest_ttl(void **state)
{
	uint8_t wire[] = {0, 0, 0x81, 0x80, 0, 1, 0, 2, 0, 0, 0, 1, 1, 'a', 0, 0, 1, 0, 1, 0xc0, 12,
		0, 1, 0, 1, 0, 0, 1, 44, 0, 4, 1, 2, 3, 4, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 100, 0, 4,
		1, 2, 3, 5, 0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0};
	const struct bytes all = {wire, sizeof(wire)};
	assert_int_equal(answer_max_age(all, 5, 1000), 100);
	assert_int_equal(answer_max_age(all, 5, 60), 60);
	assert_int_equal(answer_max_age(all, 200, 1000), 200);
	wire[3] = 0x82; /* SERVFAIL */
	assert_int_equal(answer_max_age(all, 5, 1000), 5);
	wire[3] = 0x83;
	assert_int_equal(answer_max_age(all, 5, 1000), 100);
	for (size_t len = 0; len < sizeof(wire); ++len) {
		uint8_t *cut = malloc(len + 1);
		memcpy(cut, wire, len);
		assert_in_range(answer_max_age((struct bytes){cut, len}, 5, 1000), 5, 300);
		free(cut);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(questions_by_get_post_and_head),
		cmocka_unit_test(each_answer_is_cut),
		cmocka_unit_test(largest_messages_pass),
		cmocka_unit_test(bad_requests_get_their_status),
		cmocka_unit_test(no_dns_query_is_a_bad_request),
		cmocka_unit_test(answers_out_of_order_and_for_vanished_streams),
		cmocka_unit_test(octet_by_octet_works),
		cmocka_unit_test(a_paused_stack_keeps_requests),
		cmocka_unit_test(chosen_headers_are_kept),
		cmocka_unit_test(floods_end_the_connection),
		cmocka_unit_test(rapid_resets_end_the_connection),
		cmocka_unit_test(endless_headers_end_the_connection),
		cmocka_unit_test(other_protocols_are_disconnected),
		cmocka_unit_test(too_many_headers_are_too_large),
		cmocka_unit_test(the_age_is_the_smallest_ttl),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
