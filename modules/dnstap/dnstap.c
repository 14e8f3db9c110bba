/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Tell a reader on a UNIX socket what clients ask and get (dnstap over Frame Streams). Messages go
 * to a thread of the library, which connects, writes and drops what the reader is too slow for. */

#include <errno.h>
#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include <fstrm.h>

#include "lib/log.h"
#include "lib/module.h"
#include "lib/resolve.h"
#include "dnstap.pb-c.h"

#define SOCKET_DEFAULT "/tmp/dnstap.sock"
#define CONTENT_TYPE "protobuf:dnstap.Dnstap"
#define VERSION "Knot Resolver " KR_VERSION
/** Seconds between attempts to reach the reader. */
#define REOPEN_S 5
/** Longest wait for a reader to take what is left, ms. */
#define STOP_MS 300

struct dnstap {
	kr_layer_api_t layer;
	struct fstrm_iothr *thread; /**< NULL = idle */
	struct fstrm_iothr_queue *queue;
	char *identity;
	char *version;
	bool log_queries;
	bool log_responses;
	bool log_tcp_rtt;
};

/** What a message is about. */
struct exchange {
	const struct sockaddr *client, *local;
	const struct kr_request_qsource_flags *flags;
	const uint8_t *wire; /**< NULL = is not told */
	size_t wire_len;
	const char *extra; /**< NULL = none */
};

/* ---- messages ---- */

static ProtobufCBinaryData binary(const void *data, size_t len)
{
	return (ProtobufCBinaryData){.data = (uint8_t *)data, .len = len};
}

static Dnstap__SocketProtocol protocol_of(const struct kr_request_qsource_flags *flags)
{
	if (flags->http)
		return DNSTAP__SOCKET_PROTOCOL__DOH;
	if (flags->tls)
		return DNSTAP__SOCKET_PROTOCOL__DOT;
	return flags->tcp ? DNSTAP__SOCKET_PROTOCOL__TCP : DNSTAP__SOCKET_PROTOCOL__UDP;
}

static void set_addresses(Dnstap__Message *msg, const struct exchange *ex)
{
	msg->has_socket_family = true;
	msg->socket_family = kr_inaddr_family(ex->client) == AF_INET6 ? DNSTAP__SOCKET_FAMILY__INET6
								      : DNSTAP__SOCKET_FAMILY__INET;
	msg->has_socket_protocol = true;
	msg->socket_protocol = protocol_of(ex->flags);
	msg->has_query_address = true;
	msg->query_address = binary(kr_inaddr(ex->client), kr_inaddr_len(ex->client));
	msg->has_query_port = true;
	msg->query_port = kr_inaddr_port(ex->client);
	if (!ex->local || kr_inaddr_len(ex->local) < 0)
		return;
	msg->has_response_address = true;
	msg->response_address = binary(kr_inaddr(ex->local), kr_inaddr_len(ex->local));
	msg->has_response_port = true;
	msg->response_port = kr_inaddr_port(ex->local);
}

static void set_content(Dnstap__Message *msg, const struct exchange *ex)
{
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	const bool is_query = msg->type == DNSTAP__MESSAGE__TYPE__CLIENT_QUERY;
	const ProtobufCBinaryData wire = binary(ex->wire, ex->wire_len);
	if (is_query) {
		msg->has_query_time_sec = msg->has_query_time_nsec = true;
		msg->query_time_sec = now.tv_sec;
		msg->query_time_nsec = now.tv_nsec;
		msg->has_query_message = ex->wire != NULL;
		msg->query_message = wire;
	} else {
		msg->has_response_time_sec = msg->has_response_time_nsec = true;
		msg->response_time_sec = now.tv_sec;
		msg->response_time_nsec = now.tv_nsec;
		msg->has_response_message = ex->wire != NULL;
		msg->response_message = wire;
	}
}

static void submit(const struct dnstap *tap, Dnstap__Message__Type type, const struct exchange *ex)
{
	Dnstap__Message msg = DNSTAP__MESSAGE__INIT;
	Dnstap__Dnstap frame = DNSTAP__DNSTAP__INIT;
	msg.type = type;
	set_addresses(&msg, ex);
	set_content(&msg, ex);
	frame.type = DNSTAP__DNSTAP__TYPE__MESSAGE;
	frame.message = &msg;
	frame.has_identity = tap->identity != NULL;
	if (tap->identity)
		frame.identity = binary(tap->identity, strlen(tap->identity));
	frame.has_version = true;
	frame.version = binary(tap->version, strlen(tap->version));
	frame.has_extra = ex->extra != NULL;
	if (ex->extra)
		frame.extra = binary(ex->extra, strlen(ex->extra));

	const size_t len = dnstap__dnstap__get_packed_size(&frame);
	uint8_t *packed = malloc(len);
	if (!packed)
		return;
	dnstap__dnstap__pack(&frame, packed);
	if (fstrm_iothr_submit(tap->thread, tap->queue, packed, len, fstrm_free_wrapper, NULL) !=
		fstrm_res_success)
		free(packed); /* the queue is full */
}

/* ---- hooks ---- */

static const struct dnstap *tap_of(const kr_layer_api_t *api)
{
	const struct kr_module *module = api->data;
	return module->data;
}

/** Round trip time of the client's connection as `extra`. @return extra or NULL */
static const char *rtt_text(const struct dnstap *tap, const struct kr_request *req, char extra[32])
{
	if (!tap->log_tcp_rtt || !req->qsource.flags.tcp || !req->ctx->client_rtt)
		return NULL;
	const uint32_t rtt_us = req->ctx->client_rtt(req);
	if (rtt_us == 0)
		return NULL;
	snprintf(extra, 32, "rtt=%u\n", rtt_us);
	return extra;
}

static int dnstap_begin(kr_layer_t *ctx)
{
	const struct dnstap *tap = tap_of(ctx->api);
	const struct kr_request *req = ctx->req;
	if (!tap->thread || !req->qsource.addr)
		return ctx->state;
	const knot_pkt_t *query = req->qsource.packet;
	char extra[32];
	const struct exchange ex = {
		.client = req->qsource.addr,
		.local = req->qsource.dst_addr,
		.flags = &req->qsource.flags,
		.wire = tap->log_queries && query ? query->wire : NULL,
		.wire_len = query ? query->size : 0,
		.extra = rtt_text(tap, req, extra),
	};
	submit(tap, DNSTAP__MESSAGE__TYPE__CLIENT_QUERY, &ex);
	return ctx->state;
}

static int dnstap_finish(kr_layer_t *ctx)
{
	const struct dnstap *tap = tap_of(ctx->api);
	const struct kr_request *req = ctx->req;
	if (!tap->thread || !req->qsource.addr || !req->answer)
		return ctx->state;
	const struct exchange ex = {
		.client = req->qsource.addr,
		.local = req->qsource.dst_addr,
		.flags = &req->qsource.flags,
		.wire = tap->log_responses ? req->answer->wire : NULL,
		.wire_len = req->answer->size,
	};
	submit(tap, DNSTAP__MESSAGE__TYPE__CLIENT_RESPONSE, &ex);
	return ctx->state;
}

/** Answers from the answer cache of the daemon: both messages at once. */
static void dnstap_repeated(const kr_layer_api_t *api, const struct kr_repeated *what)
{
	const struct dnstap *tap = tap_of(api);
	if (!tap->thread || !what->addr)
		return;
	struct exchange ex = {
		.client = what->addr,
		.local = what->dst_addr,
		.flags = &what->flags,
		.wire = tap->log_queries ? what->query : NULL,
		.wire_len = what->query_len,
	};
	submit(tap, DNSTAP__MESSAGE__TYPE__CLIENT_QUERY, &ex);
	ex.wire = tap->log_responses ? what->answer : NULL;
	ex.wire_len = what->answer_len;
	submit(tap, DNSTAP__MESSAGE__TYPE__CLIENT_RESPONSE, &ex);
}

/* ---- the reader ---- */

/** Is somebody there? A datagram socket cannot talk to him, but learns whether he lives. */
static bool is_served(const char *path)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof(addr.sun_path))
		return false;
	strcpy(addr.sun_path, path);
	const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return false;
	const int ret = connect(fd, (struct sockaddr *)&addr, sizeof(addr));
	const bool is_there = ret < 0 && errno == EPROTOTYPE;
	close(fd);
	return is_there;
}

static struct fstrm_writer *writer_new(const char *path)
{
	struct fstrm_unix_writer_options *where = fstrm_unix_writer_options_init();
	struct fstrm_writer_options *how = fstrm_writer_options_init();
	struct fstrm_writer *writer = NULL;
	if (where && how) {
		fstrm_unix_writer_options_set_socket_path(where, path);
		fstrm_writer_options_add_content_type(how, CONTENT_TYPE, strlen(CONTENT_TYPE));
		writer = fstrm_unix_writer_init(where, how);
	}
	fstrm_unix_writer_options_destroy(&where);
	fstrm_writer_options_destroy(&how);
	return writer;
}

static void *finish_thread(void *thread)
{
	struct fstrm_iothr *iothr = thread;
	fstrm_iothr_destroy(&iothr);
	return NULL;
}

/** The library says goodbye and waits for the reader to say so, too; a reader that hangs must not
 * hang us. */
static void thread_stop(struct dnstap *tap)
{
	struct fstrm_iothr *thread = tap->thread;
	tap->thread = NULL;
	tap->queue = NULL;
	pthread_t helper;
	if (!thread || pthread_create(&helper, NULL, finish_thread, thread) != 0)
		return;
	struct timespec till;
	clock_gettime(CLOCK_REALTIME, &till);
	till.tv_nsec += STOP_MS * 1000000L;
	if (till.tv_nsec >= 1000000000L) {
		till.tv_sec += 1;
		till.tv_nsec -= 1000000000L;
	}
	if (pthread_timedjoin_np(helper, NULL, &till) != 0)
		pthread_detach(helper);
}

static int thread_start(struct dnstap *tap, const char *path)
{
	struct fstrm_writer *writer = writer_new(path);
	struct fstrm_iothr_options *opt = fstrm_iothr_options_init();
	if (writer && opt) {
		fstrm_iothr_options_set_reopen_interval(opt, REOPEN_S);
		tap->thread = fstrm_iothr_init(opt, &writer);
	}
	fstrm_iothr_options_destroy(&opt);
	if (writer)
		fstrm_writer_destroy(&writer);
	if (!tap->thread)
		return kr_error(ENOMEM);
	tap->queue = fstrm_iothr_get_input_queue(tap->thread);
	if (tap->queue)
		return kr_ok();
	thread_stop(tap);
	return kr_error(ENOMEM);
}

/* ---- configuration ---- */

static int set_text(char **to, const json_t *conf, const char *key, const char *otherwise)
{
	const json_t *value = json_object_get(conf, key);
	if (value && !json_is_string(value)) {
		kr_log_error(DNSTAP, "%s must be a text\n", key);
		return kr_error(EINVAL);
	}
	const char *text = value ? json_string_value(value) : otherwise;
	free(*to);
	*to = text ? strdup(text) : NULL;
	return text && !*to ? kr_error(ENOMEM) : kr_ok();
}

static bool flag(const json_t *conf, const char *key)
{
	return json_is_true(json_object_get(json_object_get(conf, "client"), key));
}

/** Take over the settings; nothing runs meanwhile. */
static int apply(struct dnstap *tap, const json_t *conf)
{
	char *path = NULL;
	int ret = set_text(&path, conf, "socket_path", SOCKET_DEFAULT);
	if (ret == 0)
		ret = set_text(&tap->identity, conf, "identity", NULL);
	if (ret == 0)
		ret = set_text(&tap->version, conf, "version", VERSION);
	tap->log_queries = flag(conf, "log_queries");
	tap->log_responses = flag(conf, "log_responses");
	tap->log_tcp_rtt = flag(conf, "log_tcp_rtt");
	if (ret == 0 && strlen(path) >= sizeof(((struct sockaddr_un *)NULL)->sun_path)) {
		kr_log_error(DNSTAP, "failed to open socket %s: the path is too long\n", path);
		ret = kr_error(EINVAL);
		goto cleanup;
	}
	if (ret == 0)
		ret = thread_start(tap, path);
	if (ret == 0 && !is_served(path)) {
		kr_log_error(DNSTAP,
			"failed to open socket %s: start the reader that makes it, and see to it "
			"that we "
			"may write there; trying again every %d seconds\n",
			path, REOPEN_S);
		ret = kr_error(EINVAL);
	}
cleanup:
	free(path);
	return ret;
}

KR_EXPORT
int dnstap_init(struct kr_module *module);
KR_EXPORT
int dnstap_deinit(struct kr_module *module);
KR_EXPORT
int dnstap_config(struct kr_module *module, const char *text);

int dnstap_config(struct kr_module *module, const char *text)
{
	struct dnstap *tap = module->data;
	if (!text) {
		thread_stop(tap);
		return kr_ok();
	}
	json_error_t err;
	json_t *conf = *text ? json_loads(text, 0, &err) : json_object();
	if (!json_is_object(conf)) {
		kr_log_error(DNSTAP, "error parsing json: %s\n",
			conf ? "a table of settings is expected" : err.text);
		json_decref(conf);
		return kr_error(EINVAL);
	}
	thread_stop(tap);
	const int ret = apply(tap, conf);
	json_decref(conf);
	return ret;
}

int dnstap_init(struct kr_module *module)
{
	static const struct kr_prop props[] = {{NULL, NULL, NULL}};
	struct dnstap *tap = calloc(1, sizeof(*tap));
	if (!tap)
		return kr_error(ENOMEM);
	tap->layer.begin = dnstap_begin;
	tap->layer.finish = dnstap_finish;
	tap->layer.repeated = dnstap_repeated;
	tap->layer.data = module;
	module->data = tap;
	module->layer = &tap->layer;
	module->props = props;
	return kr_ok();
}

int dnstap_deinit(struct kr_module *module)
{
	struct dnstap *tap = module->data;
	if (!tap)
		return kr_ok();
	thread_stop(tap);
	free(tap->identity);
	free(tap->version);
	free(tap);
	module->data = NULL;
	return kr_ok();
}

KR_MODULE_EXPORT(dnstap)
