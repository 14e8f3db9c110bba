/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Load over UDP in a closed loop: each of LANES sockets keeps WINDOW questions outstanding and asks
 * the next when an answer comes. Ends after SECONDS, or after every question was asked once.
 * usage: bench_load ADDRESS PORT FILE SECONDS|once    FILE: lines `name type-number`
 * Prints one JSON object.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
	LANES = 16,
	WINDOW = 8, /* 128 in all; more would overflow a socket buffer of default size */
	QUERY_MAX = 288,
	REPLY_MAX = 4096,
};
#define SEC_NS 1000000000ull
#define LOST_NS (5 * SEC_NS)

struct query {
	uint16_t len;
	uint8_t wire[QUERY_MAX];
};

struct lane {
	int fd;
	uint64_t asked_ns[WINDOW]; /* 0: nothing outstanding */
	uint8_t turn[WINDOW]; /* upper half of the message id, so that late answers are told apart
			       */
};

static struct query *queries;
static size_t query_count;
static struct lane lanes[LANES];
static uint64_t sent, answered, lost, authentic, rcodes[16], now_ns;

static uint64_t clock_ns(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * SEC_NS + ts.tv_nsec;
}

static void die(const char *what)
{
	fprintf(stderr, "bench_load: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* RD and AD set, EDNS with 1232 bytes. A name is plain letters; anything else was left out of the
 * file. */
static bool query_make(struct query *q, const char *name, unsigned type)
{
	static const uint8_t head[12] = {0, 0, 0x01, 0x20, 0, 1, 0, 0, 0, 0, 0, 1};
	const uint8_t tail[] = {
		0, type >> 8, type & 255, 0, 1, 0, 0, 41, 1232 >> 8, 1232 & 255, 0, 0, 0, 0, 0, 0};
	if (strlen(name) + sizeof(head) + sizeof(tail) + 1 > QUERY_MAX)
		return false;
	uint8_t *p = q->wire;
	memcpy(p, head, sizeof(head));
	p += sizeof(head);
	for (const char *end; *name && *name != '.'; name = *end ? end + 1 : end) {
		end = strchrnul(name, '.');
		*p++ = end - name;
		memcpy(p, name, end - name);
		p += end - name;
	}
	memcpy(p, tail, sizeof(tail));
	q->len = p + sizeof(tail) - q->wire;
	return true;
}

static void read_queries(const char *path)
{
	FILE *f = fopen(path, "r");
	if (!f)
		die(path);
	char name[256];
	unsigned type;
	while (fscanf(f, "%255s %u", name, &type) == 2) {
		queries = realloc(queries, (query_count + 1) * sizeof(*queries));
		if (!queries)
			die("memory");
		query_count += query_make(&queries[query_count], name, type);
	}
	fclose(f);
	if (query_count == 0)
		die("no questions");
}

static void open_lanes(const char *address, const char *port)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(strtoul(port, NULL, 10))};
	if (inet_pton(AF_INET, address, &to.sin_addr) != 1)
		die(address);
	for (int i = 0; i < LANES; ++i) {
		lanes[i].fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
		if (lanes[i].fd < 0 ||
			connect(lanes[i].fd, (struct sockaddr *)&to, sizeof(to)) != 0)
			die("socket");
	}
}

/* Ask on every free slot of a lane, in one system call. */
static void lane_ask(struct lane *lane, uint64_t limit)
{
	struct mmsghdr mmsg[WINDOW] = {0};
	struct iovec iov[WINDOW];
	static uint8_t out[WINDOW][QUERY_MAX];
	int count = 0;
	for (int slot = 0; slot < WINDOW && sent < limit; ++slot) {
		if (lane->asked_ns[slot])
			continue;
		const struct query *q = &queries[sent++ % query_count];
		memcpy(out[count], q->wire, q->len);
		out[count][0] = ++lane->turn[slot];
		out[count][1] = slot;
		lane->asked_ns[slot] = now_ns;
		iov[count] = (struct iovec){.iov_base = out[count], .iov_len = q->len};
		mmsg[count].msg_hdr = (struct msghdr){.msg_iov = &iov[count], .msg_iovlen = 1};
		count += 1;
	}
	for (int done = 0; done < count;) {
		int ret = sendmmsg(lane->fd, mmsg + done, count - done, 0);
		if (ret > 0)
			done += ret;
		else if (errno != EAGAIN)
			done += 1; /* will count as lost */
	}
}

static void lane_take(struct lane *lane)
{
	static uint8_t in[WINDOW][REPLY_MAX];
	struct mmsghdr mmsg[WINDOW] = {0};
	struct iovec iov[WINDOW];
	for (int i = 0; i < WINDOW; ++i) {
		iov[i] = (struct iovec){.iov_base = in[i], .iov_len = REPLY_MAX};
		mmsg[i].msg_hdr = (struct msghdr){.msg_iov = &iov[i], .msg_iovlen = 1};
	}
	int count = recvmmsg(lane->fd, mmsg, WINDOW, 0, NULL);
	for (int i = 0; i < count; ++i) {
		unsigned slot = in[i][1];
		if (mmsg[i].msg_len < 12 || slot >= WINDOW || !lane->asked_ns[slot] ||
			lane->turn[slot] != in[i][0])
			continue;
		lane->asked_ns[slot] = 0;
		answered += 1;
		authentic += (in[i][3] >> 5) & 1;
		rcodes[in[i][3] & 15] += 1;
	}
}

static unsigned give_up(uint64_t older_than_ns)
{
	unsigned waiting = 0;
	for (int i = 0; i < LANES; ++i) {
		for (int slot = 0; slot < WINDOW; ++slot) {
			uint64_t asked = lanes[i].asked_ns[slot];
			if (asked && now_ns - asked >= older_than_ns) {
				lanes[i].asked_ns[slot] = 0;
				lost += 1;
			}
			waiting += lanes[i].asked_ns[slot] != 0;
		}
	}
	return waiting;
}

static void run(double seconds)
{
	struct pollfd fds[LANES];
	for (int i = 0; i < LANES; ++i)
		fds[i] = (struct pollfd){.fd = lanes[i].fd, .events = POLLIN};
	now_ns = clock_ns();
	uint64_t end_ns = now_ns + seconds * SEC_NS;
	uint64_t limit = seconds > 0 ? UINT64_MAX : query_count;
	uint64_t sweep_ns = now_ns;
	while (1) {
		if (seconds > 0 && now_ns >= end_ns)
			limit = sent;
		for (int i = 0; i < LANES; ++i)
			if (fds[i].revents || now_ns >= sweep_ns)
				lane_ask(&lanes[i], limit);
		if (now_ns >= sweep_ns || sent >= limit) {
			sweep_ns = now_ns + SEC_NS / 10;
			if (!give_up(LOST_NS) && sent >= limit)
				break;
		}
		poll(fds, LANES, 20);
		now_ns = clock_ns();
		for (int i = 0; i < LANES; ++i)
			if (fds[i].revents)
				lane_take(&lanes[i]);
	}
}

int main(int argc, char **argv)
{
	if (argc != 5) {
		fprintf(stderr, "usage: bench_load ADDRESS PORT FILE SECONDS|once\n");
		return 2;
	}
	read_queries(argv[3]);
	open_lanes(argv[1], argv[2]);
	uint64_t begin = clock_ns();
	run(strtod(argv[4], NULL));
	double spent = (clock_ns() - begin) / (double)SEC_NS;
	printf("{\"sent\": %llu, \"answered\": %llu, \"lost\": %llu, \"authentic\": %llu, "
	       "\"servfail\": %llu, \"seconds\": %.4f}\n",
		(unsigned long long)sent, (unsigned long long)answered, (unsigned long long)lost,
		(unsigned long long)authentic, (unsigned long long)rcodes[2], spent);
	free(queries);
	return 0;
}
