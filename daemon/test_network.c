/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Listeners, client connections and netio_uv over loopback sockets. The worker is replaced by one
 * that answers with the question itself, at once or when the test says so.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <uv.h>

#include "daemon/network.h"
#include "daemon/netio_uv.h"
#include "daemon/tls/client.h"
#include "daemon/worker.h"

/* ---- a worker that echoes ---- */

struct held {
	struct worker_client *client; /**< NULL = gone */
	uint8_t wire[600];
	size_t len;
	union kr_sockaddr addr, dst;
	int32_t stream_id;
};

static struct {
	bool holds;        /**< do not answer before release() */
	size_t answer_len; /**< longer than the question: padded with zeros */
	struct held held[2000];
	size_t held_len;
	size_t submitted;
	size_t most_in_flight;
	union kr_sockaddr last_addr, last_dst;
	struct kr_request_qsource_flags last_flags;
} fake;

static void answer(
	struct worker_client *client, const struct worker_query *query, struct bytes wire)
{
	static uint8_t buf[KR_DNS_WIRE_MAX];
	memset(buf, 0, fake.answer_len);
	memcpy(buf, wire.at, wire.len);
	client->answer(client, query, (struct bytes){buf, KR_MAX(wire.len, fake.answer_len)}, NULL);
}

int worker_submit(
	struct worker_ctx *worker, struct worker_client *client, const struct worker_query *query)
{
	fake.submitted += 1;
	memcpy(&fake.last_addr, query->addr, kr_sockaddr_len(query->addr));
	memcpy(&fake.last_dst, query->dst_addr, kr_sockaddr_len(query->dst_addr));
	fake.last_flags = query->flags;
	if (query->wire.len < 12)
		return kr_error(EBADMSG);
	if (!fake.holds) {
		answer(client, query, query->wire);
		return kr_ok();
	}
	assert_true(fake.held_len < KR_COUNT_OF(fake.held));
	struct held *item = &fake.held[fake.held_len++];
	*item = (struct held){
		.client = client, .len = query->wire.len, .stream_id = query->stream_id};
	memcpy(item->wire, query->wire.at, query->wire.len);
	memcpy(&item->addr, query->addr, kr_sockaddr_len(query->addr));
	memcpy(&item->dst, query->dst_addr, kr_sockaddr_len(query->dst_addr));
	client->in_flight += 1;
	fake.most_in_flight = KR_MAX(fake.most_in_flight, client->in_flight);
	return kr_ok();
}

void worker_client_gone(struct worker_ctx *worker, struct worker_client *client)
{
	for (size_t i = 0; i < fake.held_len; ++i)
		if (fake.held[i].client == client)
			fake.held[i].client = NULL;
}

/** Answer what is held, the latest first. @return number answered */
static size_t release(size_t count)
{
	size_t done = 0;
	for (; done < count && fake.held_len > 0; ++done) {
		struct held *item = &fake.held[--fake.held_len];
		const struct worker_query query = {.addr = &item->addr.ip,
			.comm_addr = &item->addr.ip,
			.dst_addr = &item->dst.ip,
			.stream_id = item->stream_id};
		if (!item->client)
			continue;
		answer(item->client, &query, (struct bytes){item->wire, item->len});
		item->client->in_flight -= 1;
	}
	return done;
}

/* ---- the rig ---- */

static uv_loop_t loop;
static struct network net;
static struct kr_context context;
static struct worker_ctx worker = {.resolver = &context};
static uint16_t port;

static int setup(void **state)
{
	memset(&fake, 0, sizeof(fake));
	assert_int_equal(uv_loop_init(&loop), 0);
	network_init(&net, &loop, 128);
	net.worker = &worker;
	return 0;
}

static int teardown(void **state)
{
	network_deinit(&net);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&loop), 0);
	return 0;
}

static int keep_port(const char *key, struct endpoint *ep, void *baton)
{
	port = ep->port;
	return 0;
}

/** Listen on a free port of an address. */
static void serve(const char *addr, int type)
{
	const char *why = NULL;
	const endpoint_flags_t flags = {.sock_type = type};
	if (network_listen(&net, addr, 0, -1, flags, &why) != 0)
		fail_msg("%s", why);
	network_foreach(&net, keep_port, NULL);
}

static int client(const char *addr, int type)
{
	int fd = socket(strchr(addr, ':') ? AF_INET6 : AF_INET, type, 0);
	struct sockaddr *sa = kr_straddr_socket(addr, port, NULL);
	assert_int_equal(connect(fd, sa, kr_sockaddr_len(sa)), 0);
	free(sa);
	fcntl(fd, F_SETFL, O_NONBLOCK);
	return fd;
}

static void on_stop(uv_timer_t *timer)
{
	*(bool *)timer->data = true;
}

/** Let the loop run for a while. */
static void run_for(uint64_t ms)
{
	uv_timer_t timer;
	bool is_over = false;
	uv_timer_init(&loop, &timer);
	timer.data = &is_over;
	uv_timer_start(&timer, on_stop, ms, 1); /* repeated: one turn may fire it and then sleep */
	while (!is_over)
		uv_run(&loop, UV_RUN_ONCE);
	uv_close((uv_handle_t *)&timer, NULL);
	uv_run(&loop, UV_RUN_NOWAIT);
}

/** Read with the loop running. @return octets; 0 at the end of a stream; < 0 nothing came or error
 */
static ssize_t read_for(int fd, void *buf, size_t len, uint64_t ms)
{
	for (uint64_t waited = 0;; ++waited) {
		ssize_t got = recv(fd, buf, len, 0);
		if (got >= 0 || (errno != EAGAIN && errno != EWOULDBLOCK) || waited >= ms)
			return got;
		run_for(1);
	}
}

static void read_all(int fd, uint8_t *buf, size_t len)
{
	for (size_t have = 0; have < len;) {
		ssize_t got = read_for(fd, buf + have, len - have, 2000);
		assert_true(got > 0);
		have += got;
	}
}

static size_t put_query(uint8_t *at, uint16_t id)
{
	memset(at, 0, 16);
	at[1] = 14;
	at[2] = id >> 8;
	at[3] = id & 0xff;
	return 16;
}

/* ---- datagrams ---- */

static void datagrams_in_bulk_are_all_answered(void **state)
{
	serve("127.0.0.1", SOCK_DGRAM);
	int fd = client("127.0.0.1", SOCK_DGRAM);
	bool seen[200] = {0};
	for (int i = 0; i < 200; ++i) {
		uint8_t wire[20] = {i >> 8, i & 0xff};
		assert_int_equal(send(fd, wire, sizeof(wire), 0), sizeof(wire));
	}
	for (int i = 0; i < 200; ++i) {
		uint8_t wire[64];
		assert_int_equal(read_for(fd, wire, sizeof(wire), 1000), 20);
		const int id = wire[0] << 8 | wire[1];
		assert_in_range(id, 0, 199);
		assert_false(seen[id]);
		seen[id] = true;
	}
	assert_int_equal(fake.submitted, 200);
	assert_false(fake.last_flags.tcp);
	close(fd);
}

static void answers_come_from_the_address_asked(void **state)
{
	serve("0.0.0.0", SOCK_DGRAM);
	int fd = client("127.0.0.77", SOCK_DGRAM); /* takes datagrams from there only */
	uint8_t wire[20] = {1, 2, 3};
	assert_int_equal(send(fd, wire, sizeof(wire), 0), sizeof(wire));
	assert_int_equal(read_for(fd, wire, sizeof(wire), 1000), 20);
	assert_int_equal(ntohl(fake.last_dst.ip4.sin_addr.s_addr), 0x7f00004d);
	assert_int_equal(kr_inaddr_port(&fake.last_dst.ip), port);
	close(fd);

	serve("::", SOCK_DGRAM);
	fd = client("::1", SOCK_DGRAM);
	assert_int_equal(send(fd, wire, sizeof(wire), 0), sizeof(wire));
	assert_int_equal(read_for(fd, wire, sizeof(wire), 1000), 20);
	assert_true(IN6_IS_ADDR_LOOPBACK(&fake.last_dst.ip6.sin6_addr));
	close(fd);
}

static void late_datagram_answers_find_their_client(void **state)
{
	serve("127.0.0.1", SOCK_DGRAM);
	fake.holds = true;
	int fds[70];
	for (int i = 0; i < 70; ++i) {
		fds[i] = client("127.0.0.1", SOCK_DGRAM);
		uint8_t wire[20] = {i};
		assert_int_equal(send(fds[i], wire, sizeof(wire), 0), sizeof(wire));
	}
	run_for(20);
	assert_int_equal(release(100), 70);
	for (int i = 0; i < 70; ++i) {
		uint8_t wire[64];
		assert_int_equal(read_for(fds[i], wire, sizeof(wire), 1000), 20);
		assert_int_equal(wire[0], i);
		close(fds[i]);
	}
}

/* ---- streams ---- */

/** B-44, I-53. */
static void pipelined_queries_are_limited_and_all_answered(void **state)
{
	serve("127.0.0.1", SOCK_STREAM);
	fake.holds = true;
	int fd = client("127.0.0.1", SOCK_STREAM);
	uint8_t wire[500 * 16];
	size_t len = 0;
	bool seen[500] = {0};
	for (int i = 0; i < 500; ++i)
		len += put_query(wire + len, i);
	assert_int_equal(send(fd, wire, len, 0), len);
	for (size_t answered = 0; answered < 500;) {
		run_for(5);
		assert_in_range(fake.held_len, 1, 100);
		const size_t count = release(70);
		for (size_t i = 0; i < count; ++i) {
			uint8_t got[16];
			read_all(fd, got, sizeof(got));
			const int id = got[2] << 8 | got[3];
			assert_in_range(id, 0, 499);
			assert_false(seen[id]);
			seen[id] = true;
		}
		answered += count;
	}
	assert_int_equal(fake.most_in_flight, 100);
	assert_true(fake.last_flags.tcp);
	close(fd);
	run_for(5);
	assert_int_equal(network_conns(&net), 0);
}

static void reading_pauses_until_half_is_answered(void **state)
{
	serve("127.0.0.1", SOCK_STREAM);
	fake.holds = true;
	net.tcp_pipeline = 4;
	int fd = client("127.0.0.1", SOCK_STREAM);
	uint8_t wire[16];
	for (int i = 0; i < 8; ++i) {
		put_query(wire, i);
		assert_int_equal(send(fd, wire, sizeof(wire), 0), sizeof(wire));
		run_for(3);
	}
	assert_int_equal(fake.submitted, 4);
	release(2);
	run_for(5);
	assert_int_equal(fake.submitted, 4);
	release(1);
	run_for(5);
	assert_int_equal(fake.submitted, 7);
	close(fd);
}

/** I-54. */
static void half_closed_clients_get_their_answer(void **state)
{
	serve("127.0.0.1", SOCK_STREAM);
	fake.holds = true;
	int fd = client("127.0.0.1", SOCK_STREAM);
	uint8_t wire[16];
	put_query(wire, 7);
	assert_int_equal(send(fd, wire, sizeof(wire), 0), sizeof(wire));
	shutdown(fd, SHUT_WR);
	run_for(20);
	assert_int_equal(network_conns(&net), 1);
	release(1);
	read_all(fd, wire, sizeof(wire));
	assert_int_equal(wire[3], 7);
	assert_int_equal(read_for(fd, wire, sizeof(wire), 1000), 0);
	assert_int_equal(network_conns(&net), 0);
	close(fd);
}

/** B-43. */
static void idle_clients_are_closed_in_peace(void **state)
{
	serve("127.0.0.1", SOCK_STREAM);
	net.tcp.in_idle_timeout = 1000;
	int fd = client("127.0.0.1", SOCK_STREAM);
	uint8_t wire[16];
	put_query(wire, 7);
	assert_int_equal(send(fd, wire, sizeof(wire), 0), sizeof(wire));
	read_all(fd, wire, sizeof(wire));
	run_for(500);
	put_query(wire, 8); /* activity prolongs */
	assert_int_equal(send(fd, wire, sizeof(wire), 0), sizeof(wire));
	read_all(fd, wire, sizeof(wire));
	run_for(600);
	assert_int_equal(read_for(fd, wire, sizeof(wire), 0), -1);
	assert_int_equal(read_for(fd, wire, sizeof(wire), 5000), 0);
	close(fd);
}

/** B-43, I-51. */
static void slow_senders_are_closed(void **state)
{
	serve("127.0.0.1", SOCK_STREAM);
	net.tcp.in_idle_timeout = 200;
	int fd = client("127.0.0.1", SOCK_STREAM);
	uint8_t wire[16];
	put_query(wire, 7);
	size_t sent = 0;
	for (; sent < sizeof(wire); ++sent) { /* one octet in 30 ms does not help */
		if (send(fd, wire + sent, 1, MSG_NOSIGNAL) != 1)
			break;
		run_for(30);
		if (recv(fd, wire, 1, MSG_PEEK) == 0)
			break;
	}
	assert_in_range(sent, 5, 12);
	assert_int_equal(fake.submitted, 0);
	close(fd);
}

/** B-43, B-45. */
static void clients_that_do_not_read_are_disconnected(void **state)
{
	net.tcp.user_timeout = 0; /* else the kernel may be the first to lose patience */
	serve("127.0.0.1", SOCK_STREAM);
	int fd = client("127.0.0.1", SOCK_STREAM);
	const int small = 4096;
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	fake.answer_len = 60000;
	uint8_t wire[16 * 90];
	size_t len = 0;
	for (int i = 0; i < 90; ++i)
		len += put_query(wire + len, i);
	for (int i = 0; i < 12; ++i) {
		if (send(fd, wire, len, MSG_NOSIGNAL) < 0)
			break;
		run_for(1);
	}
	run_for(100);
	assert_int_equal(network_conns(&net), 1);
	/* Reading has stopped: what is queued for it is bounded. */
	assert_true(fake.submitted < 1000);
	run_for(2500);
	assert_int_equal(network_conns(&net), 0);
	assert_int_equal(net.stats.conns_timeout, 1);
	close(fd);
}

/** I-49. */
static void length_zero_closes(void **state)
{
	serve("127.0.0.1", SOCK_STREAM);
	int fd = client("127.0.0.1", SOCK_STREAM);
	uint8_t wire[2] = {0, 0};
	assert_int_equal(send(fd, wire, sizeof(wire), 0), sizeof(wire));
	assert_true(read_for(fd, wire, sizeof(wire), 1000) == 0 || errno == ECONNRESET);
	assert_int_equal(network_conns(&net), 0);
	close(fd);
}

/** I-55. */
static void clients_that_vanish_are_forgotten(void **state)
{
	serve("127.0.0.1", SOCK_STREAM);
	fake.holds = true;
	const struct linger reset = {1, 0};
	int fd = client("127.0.0.1", SOCK_STREAM);
	uint8_t wire[16];
	put_query(wire, 1);
	assert_int_equal(send(fd, wire, sizeof(wire), 0), sizeof(wire));
	run_for(5);
	assert_int_equal(fake.held_len, 1);
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	close(fd);
	run_for(5);
	assert_int_equal(network_conns(&net), 0);
	assert_null(fake.held[0].client);
	release(1);
}

/** B-42. */
static void connections_of_one_prefix_are_limited(void **state)
{
	serve("127.0.0.1", SOCK_STREAM);
	net.conns_prefix_max = 3;
	int fds[4];
	uint8_t wire[16];
	for (int i = 0; i < 4; ++i) {
		fds[i] = client("127.0.0.1", SOCK_STREAM);
		put_query(wire, i);
		send(fds[i], wire, sizeof(wire), 0);
		run_for(5);
	}
	assert_int_equal(network_conns(&net), 3);
	assert_int_equal(net.stats.conns_refused, 1);
	for (int i = 0; i < 3; ++i)
		assert_int_equal(read_for(fds[i], wire, sizeof(wire), 1000), 16);
	assert_true(read_for(fds[3], wire, sizeof(wire), 1000) <= 0);
	close(fds[0]);
	run_for(5);
	close(fds[3]);
	fds[3] = client("127.0.0.1", SOCK_STREAM);
	send(fds[3], wire, sizeof(wire), 0);
	read_all(fds[3], wire, sizeof(wire));
	for (int i = 1; i < 4; ++i)
		close(fds[i]);
}

/** B-42. */
static void a_full_process_closes_the_longest_idle(void **state)
{
	serve("127.0.0.1", SOCK_STREAM);
	net.conns_max = 3;
	int fds[4];
	uint8_t wire[16];
	for (int i = 0; i < 4; ++i) {
		fds[i] = client("127.0.0.1", SOCK_STREAM);
		put_query(wire, i);
		send(fds[i], wire, sizeof(wire), 0);
		read_all(fds[i], wire, sizeof(wire));
		run_for(250);
	}
	assert_int_equal(network_conns(&net), 3);
	assert_true(read_for(fds[0], wire, sizeof(wire), 0) == 0);
	assert_true(read_for(fds[1], wire, sizeof(wire), 0) < 0);
	for (int i = 0; i < 4; ++i)
		close(fds[i]);
}

/* ---- listening ---- */

static void the_same_endpoint_twice_is_refused(void **state)
{
	serve("127.0.0.1", SOCK_STREAM);
	const char *why = NULL;
	endpoint_flags_t flags = {.sock_type = SOCK_STREAM};
	assert_int_equal(
		network_listen(&net, "127.0.0.1", port, -1, flags, &why), kr_error(EADDRINUSE));
	char expected[100];
	snprintf(expected, sizeof(expected), "bind to '127.0.0.1@%u' (TCP): Address already in use",
		port);
	assert_string_equal(why, expected);
	flags.sock_type = SOCK_DGRAM;
	assert_int_equal(network_listen(&net, "127.0.0.1", port, -1, flags, &why), 0);
	assert_int_equal(network_close(&net, "127.0.0.1", port), 2);
	assert_int_equal(network_close(&net, "127.0.0.1", -1), kr_error(ENOENT));
	assert_int_equal(network_listen(&net, "127.0.0.1", port, -1, flags, &why), 0);
	assert_int_equal(network_close(&net, "127.0.0.1", -1), 1);
}

/** F-21. */
static void addresses_we_do_not_have_need_freebind(void **state)
{
	const char *why = NULL;
	endpoint_flags_t flags = {.sock_type = SOCK_DGRAM};
	assert_int_equal(
		network_listen(&net, "192.0.2.1", 0, -1, flags, &why), kr_error(EADDRNOTAVAIL));
	assert_non_null(strstr(why, "'192.0.2.1@0' (UDP): "));
	flags.freebind = true;
	assert_int_equal(network_listen(&net, "192.0.2.1", 0, -1, flags, &why), 0);
	assert_true(network_listen(&net, "no address", 0, -1, flags, &why) < 0);
}

static struct {
	int opened, closed, fd;
	char key[120];
} served;

static int serve_kind(
	struct network *network, struct endpoint *ep, bool is_open, const char *key, void *baton)
{
	if (strcmp(ep->flags.kind, "control") != 0)
		return kr_error(ENOENT);
	served.opened += is_open;
	served.closed += !is_open;
	served.fd = ep->fd;
	snprintf(served.key, sizeof(served.key), "%s", key);
	return 0;
}

static void unix_sockets_are_made_replaced_and_removed(void **state)
{
	char dir[] = "/tmp/kres-test-XXXXXX", path[64];
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/control/1", dir);
	const endpoint_flags_t flags = {.sock_type = SOCK_STREAM, .kind = "control"};
	const char *why = NULL;
	memset(&served, 0, sizeof(served));
	network_set_kind_handler(&net, serve_kind, NULL);

	/* A leftover of a process that has died. */
	char folder[64];
	snprintf(folder, sizeof(folder), "%s/control", dir);
	mkdir(folder, 0700);
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	strcpy(sun.sun_path, path);
	int stale = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(stale, (struct sockaddr *)&sun, sizeof(sun)), 0);
	close(stale);
	assert_int_equal(network_listen(&net, path, 0, -1, flags, &why), 0);
	assert_int_equal(served.opened, 0);
	assert_int_equal(network_engage_endpoints(&net), 0);
	assert_int_equal(served.opened, 1);
	assert_string_equal(served.key, path);

	/* It is alive now. */
	assert_int_equal(network_listen(&net, path, 0, -1, flags, &why), kr_error(EADDRINUSE));
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	int peer = accept(served.fd, NULL, NULL);
	assert_true(peer >= 0);
	close(peer);
	close(fd);
	assert_int_equal(network_close(&net, path, -1), 1);
	assert_int_equal(served.closed, 1);
	assert_int_equal(access(path, F_OK), -1);
	rmdir(folder);

	/* The folder is made; without a kind there is nobody to serve. */
	assert_int_equal(network_listen(&net, path, 0, -1, flags, &why), 0);
	network_close(&net, path, -1);
	const endpoint_flags_t dns = {.sock_type = SOCK_STREAM};
	assert_true(network_listen(&net, path, 0, -1, dns, &why) < 0);
	assert_non_null(strstr(why, "(UNIX): "));
	char longer[200];
	memset(longer, 'x', sizeof(longer));
	longer[0] = '/';
	longer[sizeof(longer) - 1] = '\0';
	assert_int_equal(network_listen(&net, longer, 0, -1, flags, &why), kr_error(ENAMETOOLONG));
	rmdir(folder);
	rmdir(dir);
}

static void unknown_kinds_are_counted_or_refused(void **state)
{
	const char *why = NULL;
	const endpoint_flags_t flags = {.sock_type = SOCK_STREAM, .kind = "nobody"};
	network_set_kind_handler(&net, serve_kind, NULL);
	assert_int_equal(network_listen(&net, "127.0.0.1", 0, -1, flags, &why), 0);
	assert_int_equal(network_engage_endpoints(&net), 1);
	net.missing_kind_is_error = true;
	assert_true(network_listen(&net, "127.0.0.2", 0, -1, flags, &why) < 0);
}

static void inherited_sockets_are_served(void **state)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	assert_int_equal(bind(fd, (struct sockaddr *)&sin, sizeof(sin)), 0);
	const endpoint_flags_t flags = {0};
	const char *why = NULL;
	assert_int_equal(network_listen_fd(&net, fd, flags, &why), 0);
	network_foreach(&net, keep_port, NULL);
	int peer = client("127.0.0.1", SOCK_STREAM);
	uint8_t wire[16];
	put_query(wire, 1);
	send(peer, wire, sizeof(wire), 0);
	read_all(peer, wire, sizeof(wire));
	close(peer);
	assert_true(network_listen_fd(&net, 9999, flags, &why) < 0);
	assert_string_equal(why, "Bad file descriptor");
}

static int count_endpoint(const char *key, struct endpoint *ep, void *baton)
{
	*(int *)baton += 1;
	return 0;
}

static int endpoints(void)
{
	int count = 0;
	network_foreach(&net, count_endpoint, &count);
	return count;
}

static void draining_loses_nothing_that_has_come(void **state)
{
	serve("127.0.0.1", SOCK_STREAM);
	int stream = client("127.0.0.1", SOCK_STREAM);
	uint8_t wire[16];
	put_query(wire, 1);
	fake.holds = true;
	send(stream, wire, sizeof(wire), 0);
	run_for(10);
	int queued = client("127.0.0.1", SOCK_STREAM);
	send(queued, wire, sizeof(wire), 0);
	serve("127.0.0.1", SOCK_DGRAM);
	int dgram = client("127.0.0.1", SOCK_DGRAM);
	send(dgram, wire, sizeof(wire), 0);
	usleep(10000); /* all is in queues of the kernel */
	network_stop_accepting(&net);
	run_for(20);
	assert_int_equal(fake.held_len, 3);
	assert_int_equal(endpoints(), 1); /* datagrams are answered from it */
	release(3);
	assert_int_equal(read_for(dgram, wire, sizeof(wire), 1000), 16);
	assert_int_equal(read_for(stream, wire, sizeof(wire), 1000), 16);
	assert_int_equal(read_for(queued, wire, sizeof(wire), 1000), 16);
	assert_int_equal(read_for(stream, wire, sizeof(wire), 1000), 0);
	assert_int_equal(read_for(queued, wire, sizeof(wire), 1000), 0);
	run_for(10);
	assert_int_equal(endpoints(), 0);
	close(stream);
	close(queued);
	close(dgram);
	run_for(10);
	assert_int_equal(network_conns(&net), 0);
}

/* ---- PROXYv2 over real sockets ---- */

static void proxied_datagrams_are_answered_to_the_proxy(void **state)
{
	static const uint8_t header[] = {0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49,
		0x54, 0x0a, 0x21, 0x12, 0, 12, 192, 0, 2, 1, 198, 51, 100, 7, 0x30, 0x39, 0, 53};
	assert_int_equal(network_proxy_allow(&net, "127.0.0.0/8"), 0);
	serve("0.0.0.0", SOCK_DGRAM);
	int fd = client("127.0.0.1", SOCK_DGRAM);
	uint8_t wire[sizeof(header) + 20] = {0};
	memcpy(wire, header, sizeof(header));
	wire[sizeof(header)] = 42;
	send(fd, wire, sizeof(wire), 0);
	assert_int_equal(read_for(fd, wire, sizeof(wire), 1000), 20);
	assert_int_equal(wire[0], 42);
	assert_string_equal(kr_straddr(&fake.last_addr.ip), "192.0.2.1#12345");
	close(fd);
}

/* ---- towards servers ---- */

static struct {
	int udp, udp_err, open, messages, closed, closed_err, fired;
	uint8_t wire[600];
	size_t len;
} seen;

static void on_udp(void *owner, struct bytes in, int err)
{
	seen.udp += in.at != NULL;
	seen.udp_err = err;
	if (in.at)
		memcpy(seen.wire, in.at, seen.len = KR_MIN(in.len, sizeof(seen.wire)));
}

static void on_stream_open(void *owner)
{
	seen.open += 1;
}

static void on_stream_message(void *owner, struct bytes in)
{
	seen.messages += 1;
	memcpy(seen.wire, in.at, seen.len = KR_MIN(in.len, sizeof(seen.wire)));
}

static void on_stream_closed(void *owner, int err)
{
	seen.closed += 1;
	seen.closed_err = err;
}

static void on_fire(struct netio_timer *timer)
{
	seen.fired += 1;
}

static const struct netio_events events = {.udp = on_udp,
	.stream_open = on_stream_open,
	.stream_message = on_stream_message,
	.stream_closed = on_stream_closed};

static struct netio *start_netio(void)
{
	memset(&seen, 0, sizeof(seen));
	struct netio *io = netio_uv_new(&loop);
	io->ops->listen(io, &events);
	netio_uv_set_context(io, &context);
	return io;
}

static void stop_netio(struct netio *io)
{
	netio_uv_close(io);
	run_for(5);
	netio_uv_free(io);
}

/** S-02, S-03. */
static void questions_by_udp_have_ports_of_their_own(void **state)
{
	serve("127.0.0.1", SOCK_DGRAM);
	struct netio *io = start_netio();
	struct sockaddr *dst = kr_straddr_socket("127.0.0.1", port, NULL);
	uint16_t ports[50];
	for (int i = 0; i < 50; ++i) {
		struct netio_udp *udp = NULL;
		assert_int_equal(io->ops->udp_open(io, dst, NULL, NULL, &udp), 0);
		const uint8_t wire[20] = {i, 5};
		assert_int_equal(io->ops->udp_send(udp, (struct bytes){wire, sizeof(wire)}), 0);
		for (int k = 0; k < 1000 && seen.udp <= i; ++k)
			run_for(1);
		assert_int_equal(seen.udp, i + 1);
		assert_int_equal(seen.len, 20);
		assert_int_equal(seen.wire[0], i);
		ports[i] = kr_inaddr_port(&fake.last_addr.ip);
		io->ops->udp_close(udp);
	}
	int same = 0;
	for (int i = 0; i < 50; ++i) {
		assert_in_range(ports[i], 1024, 65535);
		for (int k = 0; k < i; ++k)
			same += ports[i] == ports[k];
	}
	assert_true(same <= 1); /* by chance */
	free(dst);
	stop_netio(io);
}

/** S-03, S-12. */
static void refused_datagrams_are_an_error(void **state)
{
	serve("127.0.0.1", SOCK_DGRAM);
	network_close(&net, "127.0.0.1", -1);
	run_for(2);
	struct netio *io = start_netio();
	struct sockaddr *dst = kr_straddr_socket("127.0.0.1", port, NULL);
	struct netio_udp *udp = NULL;
	assert_int_equal(io->ops->udp_open(io, dst, NULL, NULL, &udp), 0);
	const uint8_t wire[20] = {1};
	assert_int_equal(io->ops->udp_send(udp, (struct bytes){wire, sizeof(wire)}), 0);
	run_for(20);
	assert_int_equal(seen.udp_err, kr_error(ECONNREFUSED));
	/* It stays open, and does not wake us for ever. */
	seen.udp_err = 0;
	run_for(20);
	assert_int_equal(seen.udp_err, 0);
	io->ops->udp_close(udp);
	free(dst);
	stop_netio(io);
}

static void streams_carry_whole_messages(void **state)
{
	serve("127.0.0.1", SOCK_STREAM);
	struct netio *io = start_netio();
	struct sockaddr *dst = kr_straddr_socket("127.0.0.1", port, NULL);
	struct netio_stream *stream = NULL;
	assert_int_equal(io->ops->stream_open(io, NETIO_TCP, dst, NULL, NULL, NULL, &stream), 0);
	uint8_t wire[300] = {9, 9};
	assert_int_equal(seen.open, 0);
	assert_int_equal(io->ops->stream_send(stream, (struct bytes){wire, 300}), 0);
	assert_int_equal(io->ops->stream_send(stream, (struct bytes){wire, 20}), 0);
	for (int k = 0; k < 1000 && seen.messages < 2; ++k)
		run_for(1);
	assert_int_equal(seen.open, 1);
	assert_int_equal(seen.messages, 2);
	assert_int_equal(seen.len, 20);
	io->ops->stream_close(stream);
	run_for(10);
	assert_int_equal(seen.closed, 0);
	assert_int_equal(network_conns(&net), 0);

	/* Closed by the server: told once. */
	net.tcp.in_idle_timeout = 50;
	assert_int_equal(io->ops->stream_open(io, NETIO_TCP, dst, NULL, NULL, NULL, &stream), 0);
	assert_int_equal(io->ops->stream_send(stream, (struct bytes){wire, 20}), 0);
	run_for(200);
	assert_int_equal(seen.messages, 3);
	assert_int_equal(seen.closed, 1);
	assert_int_equal(seen.closed_err, 0);

	/* Nobody listens. */
	network_close(&net, "127.0.0.1", -1);
	assert_int_equal(io->ops->stream_open(io, NETIO_TCP, dst, NULL, NULL, NULL, &stream), 0);
	run_for(20);
	assert_int_equal(seen.closed, 2);
	assert_int_equal(seen.closed_err, kr_error(ECONNREFUSED));
	free(dst);
	stop_netio(io);
}

/** Serve TLS with a key made in a folder of its own. */
static void serve_tls(char dir[static 32])
{
	strcpy(dir, "/tmp/kres-test-XXXXXX");
	assert_non_null(mkdtemp(dir));
	assert_int_equal(chdir(dir), 0);
	const endpoint_flags_t flags = {.sock_type = SOCK_STREAM, .tls = true};
	const char *why = NULL;
	if (network_listen(&net, "127.0.0.1", 0, -1, flags, &why) != 0)
		fail_msg("%s", why);
	network_foreach(&net, keep_port, NULL);
}

static void remove_tls(const char *dir)
{
	unlink("ephemeral_key.pem");
	unlink("ephemeral_key.pem.lock");
	assert_int_equal(chdir("/"), 0);
	rmdir(dir);
}

static void streams_may_be_encrypted(void **state)
{
	char dir[32];
	serve_tls(dir);
	struct netio *io = start_netio();
	struct sockaddr *dst = kr_straddr_socket("127.0.0.1", port, NULL);
	struct netio_stream *stream = NULL;
	const struct tls_client_spec spec = {.insecure = true};
	struct tls_client_param *param = NULL;
	const char *why = NULL;
	assert_int_equal(tls_client_param_new(&spec, &param, &why), 0);
	/* Never in clear text by mistake. */
	assert_true(io->ops->stream_open(io, NETIO_TLS, dst, NULL, NULL, NULL, &stream) < 0);
	assert_int_equal(io->ops->stream_open(io, NETIO_TLS, dst, NULL, param, NULL, &stream), 0);
	tls_client_param_unref(param); /* the stream has its own reference */
	uint8_t wire[500] = {3, 3};
	assert_int_equal(io->ops->stream_send(stream, (struct bytes){wire, 500}), 0);
	for (int k = 0; k < 1000 && seen.messages < 1; ++k)
		run_for(1);
	assert_int_equal(seen.open, 1);
	assert_int_equal(seen.messages, 1);
	assert_int_equal(seen.len, 500);
	assert_true(fake.last_flags.tls && fake.last_flags.tcp);
	io->ops->stream_close(stream);
	free(dst);
	stop_netio(io);
	remove_tls(dir);
}

static void whoever_speaks_no_tls_gets_an_alert(void **state)
{
	char dir[32];
	serve_tls(dir);
	int fd = client("127.0.0.1", SOCK_STREAM);
	uint8_t wire[64];
	put_query(wire, 1);
	send(fd, wire, 16, 0);
	assert_int_equal(read_for(fd, wire, sizeof(wire), 2000), 7);
	assert_int_equal(wire[0], 21); /* alert */
	assert_int_equal(read_for(fd, wire, sizeof(wire), 2000), 0);
	assert_int_equal(fake.submitted, 0);
	close(fd);
	run_for(20);
	assert_int_equal(network_conns(&net), 0);
	remove_tls(dir);
}

static void timers_fire_once_and_can_be_moved(void **state)
{
	struct netio *io = start_netio();
	struct netio_timer a = {.fire = on_fire}, b = {.fire = on_fire};
	assert_int_equal(io->ops->timer_start(io, &a, 10), 0);
	assert_int_equal(io->ops->timer_start(io, &b, 10), 0);
	assert_int_equal(io->ops->timer_start(io, &a, 60), 0);
	io->ops->timer_stop(io, &b);
	assert_int_equal(b.due_ms, 0);
	run_for(30);
	assert_int_equal(seen.fired, 0);
	run_for(50);
	assert_int_equal(seen.fired, 1);
	assert_int_equal(a.due_ms, 0);
	run_for(80);
	assert_int_equal(seen.fired, 1);
	assert_int_equal(io->ops->timer_start(io, &a, 1), 0);
	assert_true(io->ops->cpu_us(io) > 0);
	io->ops->timer_start(io, &b, 60000); /* still running when all is closed */
	run_for(3);
	stop_netio(io);
	assert_int_equal(seen.fired, 2);
}

#define network_test(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		network_test(datagrams_in_bulk_are_all_answered),
		network_test(answers_come_from_the_address_asked),
		network_test(late_datagram_answers_find_their_client),
		network_test(pipelined_queries_are_limited_and_all_answered),
		network_test(reading_pauses_until_half_is_answered),
		network_test(half_closed_clients_get_their_answer),
		network_test(idle_clients_are_closed_in_peace),
		network_test(slow_senders_are_closed),
		network_test(clients_that_do_not_read_are_disconnected),
		network_test(length_zero_closes),
		network_test(clients_that_vanish_are_forgotten),
		network_test(connections_of_one_prefix_are_limited),
		network_test(a_full_process_closes_the_longest_idle),
		network_test(the_same_endpoint_twice_is_refused),
		network_test(addresses_we_do_not_have_need_freebind),
		network_test(unix_sockets_are_made_replaced_and_removed),
		network_test(unknown_kinds_are_counted_or_refused),
		network_test(inherited_sockets_are_served),
		network_test(draining_loses_nothing_that_has_come),
		network_test(proxied_datagrams_are_answered_to_the_proxy),
		network_test(questions_by_udp_have_ports_of_their_own),
		network_test(refused_datagrams_are_an_error),
		network_test(streams_carry_whole_messages),
		network_test(streams_may_be_encrypted),
		network_test(whoever_speaks_no_tls_gets_an_alert),
		network_test(timers_fire_once_and_can_be_moved),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
