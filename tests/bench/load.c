/* SPDX-License-Identifier: GPL-3.0-or-later */
/* load: DNS load generator for one server over UDP, TCP or TLS, with latency percentiles.
 *
 * Closed loop by default: every connection keeps up to `window` questions outstanding and asks the
 * next one when an answer comes, so the server saturates first.  With -r it sends at a fixed rate
 * instead. Prints one JSON object.  Written for bench.py; single-threaded on purpose, so that it
 * can be pinned.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BATCH 32    /* datagrams per system call */
#define MSG_MAX 320 /* a question on the wire, with EDNS */
#define REPLY_MAX 4096
#define SLOT_BITS 10 /* window limit per connection; the rest of the message id is a generation */
#define STREAM_BUF (64 * 1024)
#define SEC 1000000000ull

enum mode { UDP, TCP, TLS };

struct question {
	uint32_t off;
	uint16_t len;
};

struct conn {
	int fd;
	SSL *tls;
	bool open; /* streams: connected and, with TLS, shaken hands */
	bool wants_write;
	uint64_t last_progress;
	unsigned burst_sent; /* questions asked over this very connection */

	uint64_t slot_sent[1 << SLOT_BITS]; /* when asked; 0 = slot is free */
	uint8_t slot_gen[1 << SLOT_BITS];
	uint16_t free_slot[1 << SLOT_BITS];
	unsigned free_count;

	/* UDP batch, or stream buffers */
	uint8_t (*batch)[MSG_MAX];
	uint16_t batch_len[BATCH];
	unsigned batch_count;
	uint8_t *out, *in;
	size_t out_len, in_len;
};

static struct {
	enum mode mode;
	const char *host, *file;
	int port;
	unsigned conns, window, burst;
	double seconds, rate;
	uint64_t limit;
	bool want_do;
	uint64_t timeout;
} opt = {.host = "127.0.0.1", .port = 53, .conns = 8, .window = 32, .timeout = 3 * SEC};

static struct {
	uint64_t sent, answered, lost, truncated, authentic, handshakes, records, bytes;
	uint64_t rcode[16];
	uint64_t lat_sum, lat_max, hist[64 * 32];
} st;

static uint8_t *wire;
static size_t wire_len;
static struct question *quest;
static size_t quest_count;
static int poller;
static SSL_CTX *tls_ctx;
static uint64_t start_ns, now_ns, last_answer_ns;

static uint64_t clock_ns(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * SEC + ts.tv_nsec;
}

static void die(const char *what)
{
	fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* Latency histogram: 32 linear steps in every power of two, so within 3 %. */
static unsigned bucket(uint64_t v)
{
	if (v < 32)
		return v;
	unsigned shift = 63 - __builtin_clzll(v) - 5;
	return (shift + 1) * 32 + ((v >> shift) & 31);
}

static uint64_t bucket_floor(unsigned b)
{
	return b < 32 ? b : (uint64_t)(32 + b % 32) << (b / 32 - 1);
}

static double percentile_us(double share)
{
	uint64_t want = st.answered * share, seen = 0;
	for (unsigned b = 0; b < 64 * 32; ++b) {
		seen += st.hist[b];
		if (seen > want)
			return bucket_floor(b) / 1000.0;
	}
	return st.lat_max / 1000.0;
}

static int type_number(const char *s)
{
	static const struct {
		const char *name;
		int number;
	} known[] = {
		{"A", 1},
		{"NS", 2},
		{"CNAME", 5},
		{"SOA", 6},
		{"PTR", 12},
		{"MX", 15},
		{"TXT", 16},
		{"AAAA", 28},
		{"SRV", 33},
		{"DS", 43},
		{"DNSKEY", 48},
		{"HTTPS", 65},
	};
	for (size_t i = 0; i < sizeof(known) / sizeof(*known); ++i)
		if (strcasecmp(s, known[i].name) == 0)
			return known[i].number;
	return atoi(s);
}

/* One question as bytes: RD and AD set, EDNS with 1232 bytes, id left to the sender. */
static size_t build(uint8_t *p, const char *name, int type)
{
	static const uint8_t header[12] = {0, 0, 0x01, 0x20, 0, 1, 0, 0, 0, 0, 0, 1};
	uint8_t *begin = p;
	memcpy(p, header, 12);
	p += 12;
	while (*name && strcmp(name, ".") != 0) {
		const char *dot = strchrnul(name, '.');
		size_t len = dot - name;
		if (len == 0 || len > 63 || p - begin + len > 267)
			return 0;
		*p++ = len;
		memcpy(p, name, len);
		p += len;
		name = *dot ? dot + 1 : dot;
	}
	const uint8_t tail[] = {
		0, 0, type, 0, 1, 0, 0, 41, 4, 208, 0, 0, opt.want_do ? 0x80 : 0, 0, 0, 0};
	memcpy(p, tail, sizeof(tail));
	return p - begin + sizeof(tail);
}

static void read_questions(void)
{
	FILE *f = fopen(opt.file, "r");
	if (!f)
		die(opt.file);
	size_t room = 0, quest_room = 0;
	char name[300], type[16];
	while (fscanf(f, "%299s %15s", name, type) == 2) {
		if (room - wire_len < MSG_MAX)
			wire = realloc(wire, room = room * 2 + (1 << 20));
		if (quest_count == quest_room)
			quest = realloc(
				quest, (quest_room = quest_room * 2 + 1024) * sizeof(*quest));
		if (!wire || !quest)
			die("memory");
		size_t len = build(wire + wire_len, name, type_number(type));
		if (len == 0)
			continue;
		quest[quest_count++] = (struct question){wire_len, len};
		wire_len += len;
	}
	fclose(f);
	if (quest_count == 0) {
		fprintf(stderr, "load: no questions in %s\n", opt.file);
		exit(1);
	}
}

static void watch(struct conn *c, int op, bool write_too)
{
	struct epoll_event ev = {.events = EPOLLIN | (write_too ? EPOLLOUT : 0), .data.ptr = c};
	if (epoll_ctl(poller, op, c->fd, &ev) != 0)
		die("epoll_ctl");
	c->wants_write = write_too;
}

static void conn_open(struct conn *c)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(opt.port)};
	if (inet_pton(AF_INET, opt.host, &to.sin_addr) != 1)
		die("address");
	c->fd = socket(AF_INET, (opt.mode == UDP ? SOCK_DGRAM : SOCK_STREAM) | SOCK_NONBLOCK, 0);
	if (c->fd < 0)
		die("socket");
	int size = 1 << 20, one = 1;
	setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	if (opt.mode != UDP)
		setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (connect(c->fd, (struct sockaddr *)&to, sizeof(to)) != 0 && errno != EINPROGRESS)
		die("connect");
	c->open = opt.mode == UDP;
	c->burst_sent = c->batch_count = c->out_len = c->in_len = 0;
	c->last_progress = clock_ns();
	if (opt.mode == TLS) {
		c->tls = SSL_new(tls_ctx);
		SSL_set_fd(c->tls, c->fd);
		SSL_set_connect_state(c->tls);
	}
	c->free_count = opt.window;
	for (unsigned i = 0; i < opt.window; ++i) {
		c->free_slot[i] = i;
		c->slot_sent[i] = 0;
	}
	watch(c, EPOLL_CTL_ADD, !c->open);
}

static void conn_reopen(struct conn *c)
{
	st.lost += opt.window - c->free_count;
	if (c->tls) {
		SSL_shutdown(c->tls);
		SSL_free(c->tls);
		c->tls = NULL;
	}
	close(c->fd);
	conn_open(c);
}

static void udp_flush(struct conn *c)
{
	struct mmsghdr mh[BATCH];
	struct iovec iov[BATCH];
	memset(mh, 0, sizeof(mh[0]) * c->batch_count);
	for (unsigned i = 0; i < c->batch_count; ++i) {
		iov[i] = (struct iovec){c->batch[i], c->batch_len[i]};
		mh[i].msg_hdr.msg_iov = &iov[i];
		mh[i].msg_hdr.msg_iovlen = 1;
	}
	for (unsigned done = 0; done < c->batch_count;) {
		int ret = sendmmsg(c->fd, mh + done, c->batch_count - done, 0);
		if (ret < 0 && errno == EAGAIN)
			continue;
		done += ret > 0 ? ret : 1; /* a refused datagram counts as lost, by timeout */
	}
	c->batch_count = 0;
}

/* The four answers of a non-blocking read or write. */
enum { MOVED, BLOCKED, CLOSED };

static int stream_io(struct conn *c, bool write_it, void *buf, size_t len, size_t *moved)
{
	if (c->tls) {
		int ret = write_it ? SSL_write_ex(c->tls, buf, len, moved)
				   : SSL_read_ex(c->tls, buf, len, moved);
		if (ret == 1)
			return MOVED;
		int err = SSL_get_error(c->tls, ret);
		return err == SSL_ERROR_WANT_READ || err == SSL_ERROR_WANT_WRITE ? BLOCKED : CLOSED;
	}
	ssize_t ret = write_it ? send(c->fd, buf, len, MSG_NOSIGNAL) : recv(c->fd, buf, len, 0);
	if (ret > 0) {
		*moved = ret;
		return MOVED;
	}
	return ret < 0 && (errno == EAGAIN || errno == EINTR) ? BLOCKED : CLOSED;
}

static bool stream_flush(struct conn *c)
{
	size_t moved = 0;
	while (c->open && c->out_len > 0) {
		int ret = stream_io(c, true, c->out, c->out_len, &moved);
		if (ret == CLOSED)
			return false;
		if (ret == BLOCKED)
			break;
		c->out_len -= moved;
		memmove(c->out, c->out + moved, c->out_len);
	}
	bool want = !c->open || c->out_len > 0;
	if (want != c->wants_write)
		watch(c, EPOLL_CTL_MOD, want);
	return true;
}

static bool finished_sending(void)
{
	return (opt.limit && st.sent >= opt.limit) ||
	       (opt.seconds > 0 && now_ns - start_ns >= opt.seconds * SEC);
}

static uint64_t allowance(void)
{
	if (finished_sending())
		return 0;
	uint64_t most = opt.limit ? opt.limit - st.sent : UINT64_MAX;
	if (opt.rate > 0) {
		uint64_t due = (now_ns - start_ns) * (opt.rate / SEC);
		uint64_t may = due > st.sent ? due - st.sent : 0;
		if (may < most)
			most = may;
	}
	return most;
}

static void ask(struct conn *c)
{
	const struct question *q = &quest[st.sent % quest_count];
	unsigned slot = c->free_slot[--c->free_count];
	uint16_t id = slot | (++c->slot_gen[slot] << SLOT_BITS);
	uint8_t *to;
	if (opt.mode == UDP) {
		to = c->batch[c->batch_count];
		c->batch_len[c->batch_count++] = q->len;
	} else {
		to = c->out + c->out_len;
		to[0] = q->len >> 8;
		to[1] = q->len & 255;
		to += 2;
		c->out_len += 2 + q->len;
	}
	memcpy(to, wire + q->off, q->len);
	to[0] = id >> 8;
	to[1] = id & 255;
	c->slot_sent[slot] = now_ns;
	st.sent += 1;
	c->burst_sent += 1;
}

/* Ask as much as the window, the burst and the rate allow. */
static void conn_fill(struct conn *c, uint64_t share)
{
	if (!c->open)
		return;
	while (share > 0 && c->free_count > 0 && (!opt.burst || c->burst_sent < opt.burst)) {
		if (opt.mode != UDP && c->out_len + MSG_MAX + 2 > STREAM_BUF)
			break;
		ask(c);
		share -= 1;
		if (opt.mode == UDP && c->batch_count == BATCH)
			udp_flush(c);
	}
	if (opt.mode == UDP && c->batch_count > 0)
		udp_flush(c);
	else if (opt.mode != UDP && !stream_flush(c))
		conn_reopen(c);
}

static void take_answer(struct conn *c, const uint8_t *msg, size_t len)
{
	if (len < 12 || !(msg[2] & 0x80))
		return;
	uint16_t id = msg[0] << 8 | msg[1];
	unsigned slot = id & ((1 << SLOT_BITS) - 1);
	if (slot >= opt.window || c->slot_sent[slot] == 0 ||
		(c->slot_gen[slot] & 63) != id >> SLOT_BITS)
		return;
	uint64_t lat = now_ns - c->slot_sent[slot];
	c->slot_sent[slot] = 0;
	c->free_slot[c->free_count++] = slot;
	c->last_progress = last_answer_ns = now_ns;
	st.answered += 1;
	st.bytes += len;
	st.truncated += (msg[2] & 0x02) != 0;
	st.authentic += (msg[3] & 0x20) != 0;
	st.records += msg[6] << 8 | msg[7];
	st.rcode[msg[3] & 15] += 1;
	st.lat_sum += lat;
	st.hist[bucket(lat)] += 1;
	if (lat > st.lat_max)
		st.lat_max = lat;
}

static void udp_read(struct conn *c)
{
	static uint8_t buf[BATCH][REPLY_MAX];
	struct mmsghdr mh[BATCH];
	struct iovec iov[BATCH];
	memset(mh, 0, sizeof(mh));
	for (int i = 0; i < BATCH; ++i) {
		iov[i] = (struct iovec){buf[i], REPLY_MAX};
		mh[i].msg_hdr.msg_iov = &iov[i];
		mh[i].msg_hdr.msg_iovlen = 1;
	}
	int count = recvmmsg(c->fd, mh, BATCH, 0, NULL);
	for (int i = 0; i < count; ++i)
		take_answer(c, buf[i], mh[i].msg_len);
}

static bool stream_read(struct conn *c)
{
	if (!c->open) {
		int ret = c->tls ? SSL_connect(c->tls) : 1;
		if (ret != 1) {
			int err = SSL_get_error(c->tls, ret);
			bool want_write = err == SSL_ERROR_WANT_WRITE;
			if (err != SSL_ERROR_WANT_READ && !want_write)
				return false;
			if (c->wants_write != want_write)
				watch(c, EPOLL_CTL_MOD, want_write);
			return true;
		}
		c->open = true;
		c->last_progress = now_ns;
		st.handshakes += 1;
		return stream_flush(c);
	}
	size_t moved = 0;
	int ret;
	while ((ret = stream_io(c, false, c->in + c->in_len, STREAM_BUF - c->in_len, &moved)) ==
		MOVED) {
		c->in_len += moved;
		size_t at = 0;
		while (c->in_len - at >= 2) {
			size_t len = c->in[at] << 8 | c->in[at + 1];
			if (c->in_len - at < len + 2)
				break;
			take_answer(c, c->in + at + 2, len);
			at += len + 2;
		}
		c->in_len -= at;
		memmove(c->in, c->in + at, c->in_len);
	}
	return ret != CLOSED && stream_flush(c);
}

static void expire(struct conn *c)
{
	if (opt.mode != UDP) {
		bool waits = !c->open || c->free_count < opt.window;
		if (waits && now_ns - c->last_progress > opt.timeout)
			conn_reopen(c);
		return;
	}
	for (unsigned i = 0; i < opt.window; ++i)
		if (c->slot_sent[i] && now_ns - c->slot_sent[i] > opt.timeout) {
			c->slot_sent[i] = 0;
			c->free_slot[c->free_count++] = i;
			st.lost += 1;
		}
}

static unsigned in_flight(const struct conn *conns)
{
	unsigned n = 0;
	for (unsigned i = 0; i < opt.conns; ++i)
		n += opt.window - conns[i].free_count;
	return n;
}

static void run(struct conn *conns)
{
	uint64_t next_sweep = start_ns + SEC / 4, drain_until = 0;
	unsigned turn = 0;
	while (true) {
		now_ns = clock_ns();
		if (finished_sending()) {
			if (!drain_until)
				drain_until = now_ns + (opt.seconds > 0 ? SEC / 4 : opt.timeout);
			if (in_flight(conns) == 0 || now_ns > drain_until)
				break;
		}
		if (opt.rate > 0) { /* spread what is due over the connections, one after another */
			for (uint64_t due = allowance(); due > 0; --due)
				conn_fill(&conns[turn++ % opt.conns], 1);
		}
		struct epoll_event ev[64];
		int count = epoll_wait(poller, ev, 64, opt.rate > 0 ? 0 : 10);
		now_ns = clock_ns();
		for (int i = 0; i < count; ++i) {
			struct conn *c = ev[i].data.ptr;
			if (opt.mode == UDP)
				udp_read(c);
			else if (!stream_read(c)) {
				conn_reopen(c);
				continue;
			}
			if (opt.burst && c->burst_sent >= opt.burst && c->free_count == opt.window)
				conn_reopen(c);
			else if (opt.rate == 0)
				conn_fill(c, allowance());
		}
		if (now_ns > next_sweep) {
			next_sweep = now_ns + SEC / 4;
			for (unsigned i = 0; i < opt.conns; ++i) {
				expire(&conns[i]);
				if (opt.rate == 0)
					conn_fill(&conns[i], allowance());
			}
		}
	}
	st.lost += in_flight(conns);
}

static void report(double seconds)
{
	printf("{\"sent\":%lu,\"answered\":%lu,\"lost\":%lu,\"seconds\":%.6f,\"qps\":%.1f,"
	       "\"truncated\":%lu,"
	       "\"authentic\":%lu,\"handshakes\":%lu,\"records\":%lu,\"bytes\":%lu,\"rcode\":{",
		st.sent, st.answered, st.lost, seconds, st.answered / seconds, st.truncated,
		st.authentic, st.handshakes, st.records, st.bytes);
	const char *comma = "";
	for (int i = 0; i < 16; ++i)
		if (st.rcode[i]) {
			printf("%s\"%d\":%lu", comma, i, st.rcode[i]);
			comma = ",";
		}
	printf("},\"lat_us\":{\"mean\":%.1f,\"p50\":%.1f,\"p90\":%.1f,\"p99\":%.1f,\"p999\":%.1f,"
	       "\"max\":%.1f}}\n",
		st.answered ? st.lat_sum / 1000.0 / st.answered : 0, percentile_us(0.5),
		percentile_us(0.9), percentile_us(0.99), percentile_us(0.999), st.lat_max / 1000.0);
}

int main(int argc, char **argv)
{
	int c;
	while ((c = getopt(argc, argv, "s:p:m:d:c:w:l:n:r:b:t:D")) != -1)
		switch (c) {
		case 's':
			opt.host = optarg;
			break;
		case 'p':
			opt.port = atoi(optarg);
			break;
		case 'm':
			opt.mode = strcmp(optarg, "tls") == 0   ? TLS
				   : strcmp(optarg, "tcp") == 0 ? TCP
								: UDP;
			break;
		case 'd':
			opt.file = optarg;
			break;
		case 'c':
			opt.conns = atoi(optarg);
			break;
		case 'w':
			opt.window = atoi(optarg);
			break;
		case 'l':
			opt.seconds = atof(optarg);
			break;
		case 'n':
			opt.limit = strtoull(optarg, NULL, 10);
			break;
		case 'r':
			opt.rate = atof(optarg);
			break;
		case 'b':
			opt.burst = atoi(optarg);
			break;
		case 't':
			opt.timeout = atof(optarg) * SEC;
			break;
		case 'D':
			opt.want_do = true;
			break;
		default:
			opt.file = NULL;
			break;
		}
	if (!opt.file || opt.conns < 1 || opt.window < 1 || opt.window > 1 << SLOT_BITS ||
		(!opt.limit && opt.seconds <= 0)) {
		fprintf(stderr, "usage: load -d questions (-l seconds | -n count) [-s address] [-p "
				"port] [-m udp|tcp|tls]\n"
				"  [-c connections] [-w window per connection] [-r questions/s] "
				"[-b questions per connection]\n"
				"  [-t timeout] [-D set DO]\n");
		return 2;
	}
	read_questions();
	if (opt.mode == TLS) {
		tls_ctx = SSL_CTX_new(TLS_client_method());
		SSL_CTX_set_mode(tls_ctx,
			SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
		SSL_CTX_set_session_cache_mode(tls_ctx, SSL_SESS_CACHE_OFF);
	}
	poller = epoll_create1(0);
	struct conn *conns = calloc(opt.conns, sizeof(*conns));
	if (!conns)
		die("memory");
	for (unsigned i = 0; i < opt.conns; ++i) {
		if (opt.mode == UDP)
			conns[i].batch = malloc(BATCH * MSG_MAX);
		else
			conns[i].out = malloc(STREAM_BUF), conns[i].in = malloc(STREAM_BUF);
		conn_open(&conns[i]);
	}
	start_ns = now_ns = clock_ns();
	for (unsigned i = 0; i < opt.conns && opt.rate == 0; ++i)
		conn_fill(&conns[i], allowance());
	run(conns);
	report(last_answer_ns > start_ns ? (last_answer_ns - start_ns) / 1e9
					 : 1); /* not the wait for lost answers */
	return 0;
}
