/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/netio_uv.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <libknot/dname.h>
#include <uv.h>

#include "daemon/clock.h"
#include "daemon/rnd.h"
#include "daemon/session.h"
#include "daemon/tls/client.h"
#include "daemon/transport/http2_client.h"
#include "daemon/transport/tcp.h"
#include "daemon/transport/tls.h"
#include "daemon/transport/turn.h"
#include "lib/addr.h"
#include "lib/check.h"

/** Draws of a source port before the kernel chooses, S-02. */
#define PORT_DRAWS 32
/** Ports below are left to services. */
#define PORT_MIN 1024
/** Datagrams read in one wake-up of a socket; a good answer comes with the first. */
#define UDP_READS_MAX 8
/** Sockets looked after in one wake-up; the others wait for the next one. */
#define UDP_EVENTS_MAX 64
/** Descriptors kept back for questions to servers when there are no others, F-16. */
#define SPARE_FDS 16
/** Limits of time of streams to servers. @{ */
#define STREAM_CONNECT_MS 2000
#define STREAM_WRITE_MS 5000
/** @} */

/** Ports that firewalls and network cards treat specially (RoCE, memcached). */
static const uint16_t ports_avoided[] = {4791, 11211};

struct netio_udp {
	struct netio_uv *io;
	struct netio_udp *next, *prev; /**< in the list of open ones; next: in the free list */
	void *owner;
	int fd;
	bool is_closing;
};

struct netio_stream {
	struct netio_uv *io;
	struct netio_stream *next, *prev;
	struct session *session;
	void *owner;
};

struct uv_timer_item {
	struct netio_uv *io;
	struct uv_timer_item *next_free;
	struct uv_timer_item *next; /**< of all */
	struct netio_timer *timer;
	uv_timer_t handle;
};

struct netio_uv {
	struct netio netio; /* first */
	uv_loop_t *loop;
	struct turn *turn;
	struct kr_context *ctx;
	const struct netio_events *events;
	bool is_closing;

	int udp_epoll; /**< watches all UDP sockets: one call for each, where a handle takes six */
	uv_poll_t udp_poll;
	bool is_reading_udp;
	struct netio_udp *udp_closed; /**< while reading: may be in the list of events still */
	struct netio_udp *udp_free;
	struct netio_udp udp_open;   /**< sentinel of a ring */
	struct netio_stream streams; /**< sentinel of a ring */
	struct uv_timer_item *timers, *timers_free;
	struct session_timers stream_timers;
	int spare_fds[SPARE_FDS];
	size_t spare_len;
	uint8_t buf[KR_DNS_WIRE_MAX];
};

static struct netio_uv *io_of(struct netio *io)
{
	return (struct netio_uv *)io;
}

static void set_events(struct netio *io, const struct netio_events *events)
{
	io_of(io)->events = events;
}

/* ---- file descriptors ---- */

static void refill_spare(struct netio_uv *io)
{
	while (io->spare_len < SPARE_FDS) {
		int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			return;
		io->spare_fds[io->spare_len++] = fd;
	}
}

static int new_socket(struct netio_uv *io, int family, int type)
{
	const int flags = type | SOCK_NONBLOCK | SOCK_CLOEXEC;
	int fd = socket(family, flags, 0);
	if (fd < 0 && (errno == EMFILE || errno == ENFILE) && io->spare_len > 0) {
		close(io->spare_fds[--io->spare_len]);
		fd = socket(family, flags, 0);
	}
	return fd >= 0 ? fd : kr_error(errno);
}

static void close_socket(struct netio_uv *io, int fd)
{
	close(fd);
	if (unlikely(io->spare_len < SPARE_FDS))
		refill_spare(io);
}

/* ---- datagrams ---- */

static bool is_avoided(uint16_t port)
{
	if (port < PORT_MIN)
		return true;
	for (size_t i = 0; i < KR_COUNT_OF(ports_avoided); ++i)
		if (port == ports_avoided[i])
			return true;
	return false;
}

static uint16_t draw_port(void)
{
	uint16_t port;
	do {
		kr_rnd_buffered(&port, sizeof(port));
	} while (is_avoided(port));
	return port;
}

static int bind_random_port(int fd, int family, const struct sockaddr *src)
{
	union kr_sockaddr local = {.ip = {.sa_family = family}};
	if (src)
		memcpy(&local, src, kr_sockaddr_len(src));
	const int len = kr_sockaddr_len(&local.ip);
	for (int i = 0; i <= PORT_DRAWS; ++i) {
		kr_inaddr_set_port(&local.ip, i < PORT_DRAWS ? draw_port() : 0);
		if (bind(fd, &local.ip, len) == 0)
			return kr_ok();
		if (errno != EADDRINUSE && errno != EACCES)
			break;
	}
	return kr_error(errno);
}

static void set_udp_options(int fd, int family)
{
	/* Errors of the path are wanted (S-12), but not its MTU hints. */
	const int on = 1;
	if (family == AF_INET) {
		const int omit = IP_PMTUDISC_OMIT;
		setsockopt(fd, IPPROTO_IP, IP_MTU_DISCOVER, &omit, sizeof(omit));
		setsockopt(fd, IPPROTO_IP, IP_RECVERR, &on, sizeof(on));
	} else {
		const int omit = IPV6_PMTUDISC_OMIT;
		setsockopt(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, &omit, sizeof(omit));
		setsockopt(fd, IPPROTO_IPV6, IPV6_RECVERR, &on, sizeof(on));
	}
}

static int connect_udp(struct netio_uv *io, const struct sockaddr *dst, const struct sockaddr *src)
{
	int fd = new_socket(io, dst->sa_family, SOCK_DGRAM);
	if (fd < 0)
		return fd;
	set_udp_options(fd, dst->sa_family);
	int ret = bind_random_port(fd, dst->sa_family, src);
	if (ret == 0 && connect(fd, dst, kr_sockaddr_len(dst)) != 0)
		ret = kr_error(errno);
	if (ret == 0)
		return fd;
	close_socket(io, fd);
	return ret;
}

/** Take an ICMP error out of the queue; else the socket would wake us for ever. */
static void drop_error_queue(int fd)
{
	char control[256], data[64];
	for (int i = 0; i < UDP_READS_MAX; ++i) {
		struct iovec iov = {data, sizeof(data)};
		struct msghdr msg = {.msg_iov = &iov,
			.msg_iovlen = 1,
			.msg_control = control,
			.msg_controllen = sizeof(control)};
		if (recvmsg(fd, &msg, MSG_ERRQUEUE | MSG_DONTWAIT) < 0)
			return;
	}
}

static void udp_give(struct netio_udp *udp)
{
	struct netio_uv *io = udp->io;
	udp->next = io->udp_free;
	io->udp_free = udp;
}

static void read_udp(struct netio_udp *udp, bool has_error)
{
	struct netio_uv *io = udp->io;
	for (int i = 0; i < UDP_READS_MAX && !udp->is_closing; ++i) {
		ssize_t got = recv(udp->fd, io->buf, sizeof(io->buf), MSG_DONTWAIT);
		if (got >= 0) {
			io->events->udp(udp->owner, (struct bytes){io->buf, got}, 0);
			continue;
		}
		if (errno == EINTR)
			continue;
		if (errno == EAGAIN || errno == EWOULDBLOCK)
			break;
		const int err = kr_error(errno);
		drop_error_queue(udp->fd);
		if (err != kr_error(EMSGSIZE)) /* a hint about the MTU */
			io->events->udp(udp->owner, (struct bytes){NULL, 0}, err);
	}
	if (has_error && !udp->is_closing)
		drop_error_queue(udp->fd);
}

static void on_udp_poll(uv_poll_t *poll, int status, int events)
{
	struct netio_uv *io = poll->data;
	struct epoll_event ready[UDP_EVENTS_MAX];
	clock_tick(io->ctx);
	const int count = epoll_wait(io->udp_epoll, ready, UDP_EVENTS_MAX, 0);
	io->is_reading_udp = true;
	for (int i = 0; i < count; ++i) {
		struct netio_udp *udp = ready[i].data.ptr;
		if (!udp->is_closing)
			read_udp(udp, ready[i].events & EPOLLERR);
	}
	io->is_reading_udp = false;
	while (io->udp_closed) {
		struct netio_udp *udp = io->udp_closed;
		io->udp_closed = udp->next;
		udp_give(udp);
	}
}

/** Have the loop watch what watches the sockets. */
static int udp_watch(struct netio_uv *io)
{
	if (io->udp_epoll >= 0)
		return kr_ok();
	int fd = epoll_create1(EPOLL_CLOEXEC);
	if (fd < 0)
		return kr_error(errno);
	int ret = uv_poll_init(io->loop, &io->udp_poll, fd);
	if (ret == 0) {
		io->udp_poll.data = io;
		ret = uv_poll_start(&io->udp_poll, UV_READABLE, on_udp_poll);
	}
	if (ret != 0) {
		close(fd);
		return ret;
	}
	io->udp_epoll = fd;
	return kr_ok();
}

static struct netio_udp *udp_take(struct netio_uv *io)
{
	struct netio_udp *udp = io->udp_free;
	if (udp)
		io->udp_free = udp->next;
	else
		udp = malloc(sizeof(*udp));
	if (udp)
		memset(udp, 0, sizeof(*udp));
	return udp;
}

static int udp_open(struct netio *netio, const struct sockaddr *dst, const struct sockaddr *src,
	void *owner, struct netio_udp **out)
{
	struct netio_uv *io = io_of(netio);
	if (io->is_closing || kr_sockaddr_len(dst) < 0)
		return kr_error(EINVAL);
	int ret = udp_watch(io);
	if (ret != 0)
		return ret;
	int fd = connect_udp(io, dst, src);
	if (fd < 0)
		return fd;
	struct netio_udp *udp = udp_take(io);
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = udp};
	if (!udp || epoll_ctl(io->udp_epoll, EPOLL_CTL_ADD, fd, &event) != 0) {
		ret = kr_error(udp ? errno : ENOMEM);
		close_socket(io, fd);
		free(udp);
		return ret;
	}
	udp->io = io;
	udp->fd = fd;
	udp->owner = owner;
	udp->next = &io->udp_open;
	udp->prev = io->udp_open.prev;
	udp->prev->next = udp->next->prev = udp;
	*out = udp;
	return kr_ok();
}

static int udp_send(struct netio_udp *udp, struct bytes in)
{
	ssize_t ret;
	do {
		ret = send(udp->fd, in.at, in.len, MSG_DONTWAIT | MSG_NOSIGNAL);
	} while (ret < 0 && errno == EINTR);
	return ret < 0 ? kr_error(errno) : kr_ok();
}

static void udp_close(struct netio_udp *udp)
{
	if (udp->is_closing)
		return;
	udp->is_closing = true;
	udp->prev->next = udp->next;
	udp->next->prev = udp->prev;
	close_socket(udp->io, udp->fd); /* which ends the watch as well */
	if (udp->io->is_reading_udp) {
		udp->next = udp->io->udp_closed;
		udp->io->udp_closed = udp;
	} else {
		udp_give(udp);
	}
}

/* ---- streams ---- */

static void stream_unlink(struct netio_stream *stream)
{
	stream->prev->next = stream->next;
	stream->next->prev = stream->prev;
}

static void on_stream_open(struct session *session)
{
	struct netio_stream *stream = session_owner(session);
	clock_tick(stream->io->ctx);
	stream->io->events->stream_open(stream->owner);
}

static void on_stream_message(
	struct session *session, const struct stage_facts *facts, struct bytes msg)
{
	struct netio_stream *stream = session_owner(session);
	clock_tick(stream->io->ctx);
	stream->io->events->stream_message(stream->owner, msg);
}

static void on_stream_closed(struct session *session, int err)
{
	struct netio_stream *stream = session_owner(session);
	struct netio_uv *io = stream->io;
	void *owner = stream->owner;
	stream_unlink(stream);
	free(stream);
	clock_tick(io->ctx);
	io->events->stream_closed(owner, err);
}

static const struct session_ops stream_session_ops = {
	.open = on_stream_open,
	.message = on_stream_message,
	.closed = on_stream_closed,
};

/** @return file descriptor that is connecting, or an error */
static int connect_stream(
	struct netio_uv *io, const struct sockaddr *dst, const struct sockaddr *src)
{
	const int on = 1;
	int fd = new_socket(io, dst->sa_family, SOCK_STREAM);
	if (fd < 0)
		return fd;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
#ifdef TCP_FASTOPEN_CONNECT
	/* The question travels with the SYN if the server gave us a cookie before (RFC 7413). */
	setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &on, sizeof(on));
#endif
	int ret = kr_ok();
	if (src && bind(fd, src, kr_sockaddr_len(src)) != 0)
		ret = kr_error(errno);
	if (ret == 0 && connect(fd, dst, kr_sockaddr_len(dst)) != 0 && errno != EINPROGRESS)
		ret = kr_error(errno);
	if (ret == 0)
		return fd;
	close_socket(io, fd);
	return ret;
}

/** Longest `NAME:PORT` of a URL. */
#define AUTHORITY_LEN (KR_ADDR_TEXT_LEN + KNOT_DNAME_TXT_MAXLEN)

/** What the server is called in requests: by its name, else by its address. */
static void print_authority(const struct tls_client_param *param, char *text, size_t len)
{
	char addr[INET6_ADDRSTRLEN] = "";
	const struct sockaddr *sa = &param->addr.ip;
	const uint16_t port = kr_inaddr_port(sa);
	const char *name = param->hostname;
	if (!name)
		name = inet_ntop(sa->sa_family, kr_inaddr(sa), addr, sizeof(addr));
	const bool is_v6 = !param->hostname && sa->sa_family == AF_INET6;
	const int used =
		snprintf(text, len, "%s%s%s", is_v6 ? "[" : "", name ? name : "", is_v6 ? "]" : "");
	if (port != KR_DNS_DOH_PORT && used > 0 && (size_t)used < len)
		snprintf(text + used, len - used, ":%u", port);
}

static int stream_open(struct netio *netio, enum netio_stream_kind kind, const struct sockaddr *dst,
	const struct sockaddr *src, const void *tls_params, void *owner, struct netio_stream **out)
{
	struct netio_uv *io = io_of(netio);
	if (io->is_closing || kr_sockaddr_len(dst) < 0)
		return kr_error(EINVAL);
	if (kind == NETIO_TLS && !tls_params)
		return kr_error(ENOTSUP); /* never in clear text instead */
	struct netio_stream *stream = calloc(1, sizeof(*stream));
	if (!stream)
		return kr_error(ENOMEM);
	int fd = connect_stream(io, dst, src);
	if (fd < 0) {
		free(stream);
		return fd;
	}
	stream->io = io;
	stream->owner = owner;
	const struct tcp_param tcp = {.fd = fd, .is_connecting = true};
	/* The parameters are counted; the stage keeps a reference. */
	struct tls_client_param *client = (struct tls_client_param *)tls_params;
	const bool is_https = kind == NETIO_TLS && client->path;
	const struct tls_param tls = {
		.client = client, .alpn = is_https ? "h2" : "dot", .needs_alpn = is_https};
	char authority[AUTHORITY_LEN];
	struct http2_client_param http = {.authority = authority};
	if (is_https) {
		print_authority(client, authority, sizeof(authority));
		http.path = client->path;
	}
	const struct stack_params stages = {.tcp = &tcp, .tls = &tls, .http_client = &http};
	const struct session_param param = {.kind = is_https            ? STACK_DOH_CLIENT
						    : kind == NETIO_TLS ? STACK_TLS_CLIENT
									: STACK_TCP_CLIENT,
		.stages = &stages,
		.ops = &stream_session_ops,
		.owner = stream,
		.turn = io->turn,
		.timers = &io->stream_timers,
		.peer = dst,
		.is_outgoing = true};
	int ret = session_new(&param, &stream->session);
	if (ret != 0) {
		free(stream);
		return ret;
	}
	stream->next = &io->streams;
	stream->prev = io->streams.prev;
	stream->prev->next = stream->next->prev = stream;
	*out = stream;
	return kr_ok();
}

static int stream_send(struct netio_stream *stream, struct bytes msg)
{
	return session_send(stream->session, NULL, msg);
}

static void stream_close(struct netio_stream *stream)
{
	stream_unlink(stream);
	session_close(stream->session);
	free(stream);
}

/* ---- timers ---- */

static void on_timer(uv_timer_t *handle)
{
	struct uv_timer_item *item = handle->data;
	struct netio_uv *io = item->io;
	struct netio_timer *timer = item->timer;
	item->timer = NULL;
	item->next_free = io->timers_free;
	io->timers_free = item;
	timer->impl = NULL;
	timer->due_ms = 0;
	clock_tick(io->ctx);
	timer->fire(timer);
}

static int timer_start(struct netio *netio, struct netio_timer *timer, uint64_t after_ms)
{
	struct netio_uv *io = io_of(netio);
	struct uv_timer_item *item = timer->impl;
	if (io->is_closing)
		return kr_error(ECANCELED);
	if (!item && (item = io->timers_free)) {
		io->timers_free = item->next_free;
	} else if (!item) {
		item = calloc(1, sizeof(*item));
		if (!item)
			return kr_error(ENOMEM);
		uv_timer_init(io->loop, &item->handle);
		item->handle.data = item;
		item->io = io;
		item->next = io->timers;
		io->timers = item;
	}
	item->timer = timer;
	timer->impl = item;
	timer->due_ms = uv_now(io->loop) + after_ms;
	return uv_timer_start(&item->handle, on_timer, after_ms, 0);
}

static void timer_stop(struct netio *netio, struct netio_timer *timer)
{
	struct netio_uv *io = io_of(netio);
	struct uv_timer_item *item = io->is_closing ? NULL : timer->impl;
	timer->impl = NULL;
	timer->due_ms = 0;
	if (!item)
		return;
	uv_timer_stop(&item->handle);
	item->timer = NULL;
	item->next_free = io->timers_free;
	io->timers_free = item;
}

static uint64_t cpu_us(struct netio *netio)
{
	struct timespec ts;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return ts.tv_sec * 1000000ULL + ts.tv_nsec / 1000;
}

/* ---- life ---- */

static const struct netio_ops ops = {
	.listen = set_events,
	.udp_open = udp_open,
	.udp_send = udp_send,
	.udp_close = udp_close,
	.stream_open = stream_open,
	.stream_send = stream_send,
	.stream_close = stream_close,
	.timer_start = timer_start,
	.timer_stop = timer_stop,
	.cpu_us = cpu_us,
};

struct netio *netio_uv_new(uv_loop_t *loop)
{
	struct netio_uv *io = calloc(1, sizeof(*io));
	if (!io)
		return NULL;
	io->netio.ops = &ops;
	io->loop = loop;
	io->udp_epoll = -1;
	io->turn = turn_new(loop);
	if (!io->turn) {
		free(io);
		return NULL;
	}
	io->udp_open.next = io->udp_open.prev = &io->udp_open;
	io->streams.next = io->streams.prev = &io->streams;
	io->stream_timers =
		(struct session_timers){.open_ms = STREAM_CONNECT_MS, .write_ms = STREAM_WRITE_MS};
	refill_spare(io);
	return &io->netio;
}

void netio_uv_set_context(struct netio *netio, struct kr_context *ctx)
{
	io_of(netio)->ctx = ctx;
}

static void on_timer_closed(uv_handle_t *handle)
{
	free(handle->data);
}

void netio_uv_close(struct netio *netio)
{
	if (!netio)
		return;
	struct netio_uv *io = io_of(netio);
	io->is_closing = true;
	while (io->udp_open.next != &io->udp_open)
		udp_close(io->udp_open.next);
	if (io->udp_epoll >= 0) {
		uv_poll_stop(&io->udp_poll);
		close(io->udp_epoll);
		uv_close((uv_handle_t *)&io->udp_poll, NULL);
	}
	while (io->streams.next != &io->streams)
		stream_close(io->streams.next);
	for (struct uv_timer_item *item = io->timers; item; item = item->next)
		uv_close((uv_handle_t *)&item->handle, on_timer_closed);
	io->timers = io->timers_free = NULL;
	while (io->spare_len > 0)
		close(io->spare_fds[--io->spare_len]);
	turn_free(io->turn);
	io->turn = NULL;
}

void netio_uv_free(struct netio *netio)
{
	if (!netio)
		return;
	struct netio_uv *io = io_of(netio);
	while (io->udp_free) {
		struct netio_udp *udp = io->udp_free;
		io->udp_free = udp->next;
		free(udp);
	}
	free(io);
}
