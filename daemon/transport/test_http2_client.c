/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * The asking side of HTTP/2 over arrays, against our server's side and against a server of the
 * library's that misbehaves.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <nghttp2/nghttp2.h>

#include "daemon/transport/http2.h"
#include "daemon/transport/http2_client.h"
#include "daemon/transport/test_stack.h"

#define MSG_LEN 40

static struct http2_param server_param;

struct pair {
	struct rig client, server;
	size_t client_sent, server_sent; /**< octets handed over */
	int ret;                         /**< of the client */
};

static void client_start(struct rig *rig, const char *path)
{
	const struct http2_client_param param = {.authority = "dns.example", .path = path};
	const struct stack_item item = {&http2_client_stage, &param};
	assert_int_equal(rig_init(rig, &item, 1), 0);
	assert_int_equal(rig_tell(rig, STAGE_OPEN), 0);
}

static void pair_start(struct pair *p, const char *path)
{
	const struct stack_item item = {&http2_stage, &server_param};
	memset(p, 0, sizeof(*p));
	client_start(&p->client, path);
	assert_int_equal(rig_init(&p->server, &item, 1), 0);
	assert_int_equal(rig_tell(&p->server, STAGE_OPEN), 0);
}

static void pair_stop(struct pair *p)
{
	rig_deinit(&p->client);
	rig_deinit(&p->server);
}

/** Let both talk until they are silent, `step` octets at a time to the client. */
static void talk(struct pair *p, size_t step)
{
	for (int i = 0; i < 20 && p->ret == 0; ++i) {
		p->ret = rig_tell(&p->client, STAGE_FLUSH);
		const size_t len = p->client.out.len - p->client_sent;
		if (len > 0)
			(void)rig_feed(&p->server, p->client.out.at + p->client_sent, len);
		p->client_sent += len;
		(void)rig_tell(&p->server, STAGE_FLUSH);
		while (p->server_sent < p->server.out.len && p->ret == 0) {
			const size_t part = KR_MIN(step, p->server.out.len - p->server_sent);
			p->ret = rig_feed(&p->client, p->server.out.at + p->server_sent, part);
			p->server_sent += part;
		}
	}
}

static int ask(struct rig *client, uint16_t id)
{
	uint8_t wire[MSG_LEN] = {id >> 8, id & 0xff, 1};
	wire[12] = id & 0xff;
	return stack_send(client->stack, NULL, (struct bytes){wire, sizeof(wire)});
}

/** The server answers the question with that place in its list by echoing it. */
static void answer(struct pair *p, size_t i)
{
	const struct rig_message *msg = &p->server.messages.at[i];
	const struct stage_facts to = {.stream_id = msg->stream_id, .max_age_s = 5};
	assert_int_equal(stack_send(p->server.stack, &to, (struct bytes){msg->wire, msg->len}), 0);
}

static uint16_t id_of(const struct rig_message *msg)
{
	return msg->wire[0] << 8 | msg->wire[1];
}

static void questions_go_with_id_zero_and_get_theirs_back(void **state)
{
	for (size_t step = 1; step < 100; step = step * 3 + 1) {
		struct pair p;
		pair_start(&p, "/dns-query");
		assert_int_equal(ask(&p.client, 0x1234), 0);
		talk(&p, step);
		assert_int_equal(p.server.messages.len, 1);
		assert_int_equal(id_of(&p.server.messages.at[0]), 0);
		answer(&p, 0);
		talk(&p, step);
		assert_int_equal(p.ret, 0);
		assert_int_equal(p.client.messages.len, 1);
		assert_int_equal(id_of(&p.client.messages.at[0]), 0x1234);
		assert_int_equal(p.client.messages.at[0].len, MSG_LEN);
		pair_stop(&p);
	}
}

static void answers_may_come_in_any_order(void **state)
{
	struct pair p;
	pair_start(&p, "/dns-query");
	for (uint16_t id = 1; id <= 150; ++id) /* more than the server lets be open at a time */
		assert_int_equal(ask(&p.client, id), 0);
	talk(&p, SIZE_MAX);
	assert_int_equal(p.server.messages.len, HTTP2_STREAMS_MAX);
	for (size_t i = HTTP2_STREAMS_MAX; i-- > 0;)
		answer(&p, i);
	talk(&p, 1000);
	for (size_t i = HTTP2_STREAMS_MAX; i < 150; ++i)
		answer(&p, i);
	talk(&p, 1000);
	assert_int_equal(p.client.messages.len, 150);
	for (size_t i = 0; i < 150; ++i)
		assert_int_equal(p.client.messages.at[i].wire[12], id_of(&p.client.messages.at[i]));
	pair_stop(&p);
}

static void errors_of_http_are_told_as_servfail(void **state)
{
	struct pair p;
	pair_start(&p, "/elsewhere");
	assert_int_equal(ask(&p.client, 7), 0);
	talk(&p, SIZE_MAX);
	assert_int_equal(p.ret, 0);
	assert_int_equal(p.server.messages.len, 0);
	assert_int_equal(p.client.messages.len, 1);
	const uint8_t servfail[12] = {0, 7, 0x80, 2};
	assert_int_equal(p.client.messages.at[0].len, sizeof(servfail));
	assert_memory_equal(p.client.messages.at[0].wire, servfail, sizeof(servfail));
	pair_stop(&p);
}

static void a_leaving_server_gets_no_more_questions(void **state)
{
	struct pair p;
	pair_start(&p, "/dns-query");
	assert_int_equal(ask(&p.client, 1), 0);
	talk(&p, SIZE_MAX);
	answer(&p, 0);
	(void)rig_tell(&p.server, STAGE_SHUTDOWN);
	talk(&p, SIZE_MAX);
	assert_true(ask(&p.client, 2) < 0);
	pair_stop(&p);
}

/* ---- a server that does as it likes ---- */

struct script {
	const char *status, *type;
	size_t body_len;
	size_t left;
	uint32_t reset; /**< or reset the stream instead */
};

static ssize_t script_body(nghttp2_session *session, int32_t id, uint8_t *buf, size_t len,
	uint32_t *flags, nghttp2_data_source *source, void *user)
{
	struct script *script = user;
	len = KR_MIN(len, script->left);
	memset(buf, 'x', len);
	script->left -= len;
	if (script->left == 0)
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	return len;
}

static int script_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
	struct script *script = user;
	if (!(frame->hd.flags & NGHTTP2_FLAG_END_STREAM) || frame->hd.type != NGHTTP2_DATA)
		return 0;
	if (script->reset)
		return nghttp2_submit_rst_stream(
			session, NGHTTP2_FLAG_NONE, frame->hd.stream_id, script->reset);
	const nghttp2_nv headers[] = {
		{(uint8_t *)":status", (uint8_t *)script->status, 7, strlen(script->status), 0},
		{(uint8_t *)"content-type", (uint8_t *)script->type, 12, strlen(script->type), 0}};
	const nghttp2_data_provider provider = {.read_callback = script_body};
	script->left = script->body_len;
	return nghttp2_submit_response(session, frame->hd.stream_id, headers, 2, &provider);
}

/** One question to a server that follows the script. @return of the client */
static int follow(struct rig *client, struct script *script)
{
	nghttp2_session_callbacks *callbacks;
	nghttp2_session *server;
	const uint8_t *data;
	ssize_t len;
	int ret = 0;
	nghttp2_session_callbacks_new(&callbacks);
	nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, script_frame);
	nghttp2_session_server_new(&server, callbacks, script);
	nghttp2_session_callbacks_del(callbacks);
	nghttp2_submit_settings(server, NGHTTP2_FLAG_NONE, NULL, 0);
	client_start(client, "/dns-query");
	assert_int_equal(ask(client, 9), 0);
	for (size_t sent = 0, i = 0; i < 20 && ret == 0; ++i) {
		ret = rig_tell(client, STAGE_FLUSH);
		assert_true(nghttp2_session_mem_recv(
				    server, client->out.at + sent, client->out.len - sent) >= 0);
		sent = client->out.len;
		while (ret == 0 && (len = nghttp2_session_mem_send(server, &data)) > 0)
			ret = rig_feed(client, data, len);
	}
	nghttp2_session_del(server);
	return ret;
}

static void only_dns_messages_come_up(void **state)
{
	const struct {
		struct script script;
		bool is_dns;
	} cases[] = {
		{{"200", "application/dns-message", 12}, true},
		{{"200", "Application/DNS-Message; charset=x", 65535}, true},
		{{"200", "application/dns-message", 65536}, false},
		{{"200", "application/dns-message", 11}, false},
		{{"200", "text/html", 100}, false},
		{{"500", "application/dns-message", 100}, false},
		{{"302", "application/dns-message", 100}, false},
		{{.reset = NGHTTP2_INTERNAL_ERROR}, false},
		{{.reset = NGHTTP2_REFUSED_STREAM}, false},
	};
	for (size_t i = 0; i < KR_COUNT_OF(cases); ++i) {
		struct script script = cases[i].script;
		struct rig client;
		assert_int_equal(follow(&client, &script), 0);
		assert_int_equal(client.messages.len, 1);
		assert_int_equal(id_of(&client.messages.at[0]), 9);
		assert_int_equal(client.messages.at[0].len, cases[i].is_dns ? script.body_len : 12);
		assert_int_equal(client.messages.at[0].wire[2], cases[i].is_dns ? 'x' : 0x80);
		rig_deinit(&client);
	}
}

static void who_does_not_speak_http2_is_left(void **state)
{
	struct rig client;
	client_start(&client, "/dns-query");
	assert_true(rig_feed(&client, "HTTP/1.1 400 Bad Request\r\n\r\n", 28) < 0 ||
		    rig_tell(&client, STAGE_FLUSH) < 0);
	rig_deinit(&client);
}

static void a_waiting_question_ends_with_the_connection(void **state)
{
	struct pair p;
	pair_start(&p, "/dns-query");
	for (uint16_t id = 1; id <= 5; ++id)
		assert_int_equal(ask(&p.client, id), 0);
	talk(&p, SIZE_MAX);
	pair_stop(&p); /* leaks would be seen */
	assert_int_equal(p.client.messages.len, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(questions_go_with_id_zero_and_get_theirs_back),
		cmocka_unit_test(answers_may_come_in_any_order),
		cmocka_unit_test(errors_of_http_are_told_as_servfail),
		cmocka_unit_test(a_leaving_server_gets_no_more_questions),
		cmocka_unit_test(only_dns_messages_come_up),
		cmocka_unit_test(who_does_not_speak_http2_is_left),
		cmocka_unit_test(a_waiting_question_ends_with_the_connection),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
