/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/transport/udp.h"

#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "daemon/transport/turn.h"

/** Room for answers of one batch; one that does not fit makes the batch leave earlier. */
#define SEND_ARENA (128 * 1024)
/** Most batches that udp_read_all() reads. */
#define READ_ALL_ROUNDS 256

/** Control message that carries our address of a datagram. */
union pktinfo {
	size_t align; /* of struct cmsghdr */
	char v4[CMSG_SPACE(sizeof(struct in_pktinfo))];
	char v6[CMSG_SPACE(sizeof(struct in6_pktinfo))];
};

/** A datagram that has to wait for its socket. */
struct udp_waiting {
	struct udp_waiting *next;
	union kr_sockaddr to;
	union pktinfo info;
	size_t info_len;
	size_t len;
	uint8_t wire[];
};

struct udp_state {
	struct stage *st;
	uv_poll_t poll;
	int fd;
	bool is_wildcard;
	union kr_sockaddr local;
	struct udp_waiting *first, **last;
};

/** Arrays for recvmmsg() and sendmmsg(), shared by all UDP stages of a loop. */
struct udp_batch {
	struct turn *turn;
	size_t out_len;
	size_t out_used; /**< of out_wire */
	struct udp_state *out_owner[UDP_BATCH_MAX];
	struct mmsghdr in[UDP_BATCH_MAX], out[UDP_BATCH_MAX];
	struct iovec in_iov[UDP_BATCH_MAX], out_iov[UDP_BATCH_MAX];
	union kr_sockaddr in_from[UDP_BATCH_MAX], out_to[UDP_BATCH_MAX];
	union pktinfo in_info[UDP_BATCH_MAX], out_info[UDP_BATCH_MAX];
	uint8_t in_wire[UDP_BATCH_MAX][UDP_QUERY_MAX];
	uint8_t out_wire[SEND_ARENA];
};

/* ---- the shared arrays ---- */

static void in_reset(struct udp_batch *batch, size_t len)
{
	for (size_t i = 0; i < len; ++i) {
		struct msghdr *hdr = &batch->in[i].msg_hdr;
		hdr->msg_namelen = sizeof(batch->in_from[i]);
		hdr->msg_controllen = sizeof(batch->in_info[i]);
		hdr->msg_flags = 0;
	}
}

static struct udp_batch *batch_new(struct turn *turn)
{
	struct udp_batch *batch = calloc(1, sizeof(*batch));
	if (!batch)
		return NULL;
	batch->turn = turn;
	for (size_t i = 0; i < UDP_BATCH_MAX; ++i) {
		batch->in_iov[i] = (struct iovec){batch->in_wire[i], UDP_QUERY_MAX};
		batch->in[i].msg_hdr = (struct msghdr){.msg_name = &batch->in_from[i],
			.msg_iov = &batch->in_iov[i],
			.msg_iovlen = 1,
			.msg_control = &batch->in_info[i]};
		batch->out[i].msg_hdr = (struct msghdr){.msg_name = &batch->out_to[i],
			.msg_iov = &batch->out_iov[i],
			.msg_iovlen = 1};
	}
	in_reset(batch, UDP_BATCH_MAX);
	return batch;
}

void udp_batch_free(struct udp_batch *batch)
{
	free(batch);
}

/* ---- sending ---- */

static void on_poll(uv_poll_t *poll, int status, int events);

static void watch(struct udp_state *udp)
{
	uv_poll_start(&udp->poll, UV_READABLE | (udp->first ? UV_WRITABLE : 0), on_poll);
}

/** Keep a datagram for later. @return false if it has to be dropped */
static bool wait_for_socket(struct udp_state *udp, const struct msghdr *hdr)
{
	struct turn *turn = udp->st->stack->turn;
	const struct iovec *iov = hdr->msg_iov;
	const size_t size = sizeof(struct udp_waiting) + iov->iov_len;
	if (turn->udp_backlog_bytes + size > TURN_UDP_BACKLOG_MAX)
		return false;
	struct udp_waiting *item = calloc(1, size);
	if (!item)
		return false;
	memcpy(&item->to, hdr->msg_name, hdr->msg_namelen);
	if (hdr->msg_controllen)
		memcpy(&item->info, hdr->msg_control, hdr->msg_controllen);
	item->info_len = hdr->msg_controllen;
	item->len = iov->iov_len;
	memcpy(item->wire, iov->iov_base, iov->iov_len);
	*udp->last = item;
	udp->last = &item->next;
	turn->udp_backlog_bytes += size;
	return true;
}

static void drop_first_waiting(struct udp_state *udp)
{
	struct udp_waiting *item = udp->first;
	udp->st->stack->turn->udp_backlog_bytes -= sizeof(*item) + item->len;
	udp->first = item->next;
	if (!udp->first)
		udp->last = &udp->first;
	free(item);
}

/** The socket takes datagrams again. */
static void send_waiting(struct udp_state *udp)
{
	for (int i = 0; i < UDP_BATCH_MAX && udp->first; ++i) {
		struct udp_waiting *item = udp->first;
		struct iovec iov = {item->wire, item->len};
		const struct msghdr hdr = {.msg_name = &item->to,
			.msg_namelen = kr_sockaddr_len(&item->to.ip),
			.msg_iov = &iov,
			.msg_iovlen = 1,
			.msg_control = item->info_len ? &item->info : NULL,
			.msg_controllen = item->info_len};
		ssize_t ret = sendmsg(udp->fd, &hdr, MSG_NOSIGNAL);
		if (ret < 0 && errno == EINTR)
			continue;
		if (ret < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			break;
		if (ret < 0)
			udp->st->stack->turn->udp_drops += 1;
		drop_first_waiting(udp);
	}
	watch(udp);
}

/** Send a run of datagrams of one socket. */
static void send_run(struct udp_state *udp, struct mmsghdr *msgs, size_t len)
{
	struct turn *turn = udp->st->stack->turn;
	size_t sent = 0;
	while (sent < len && !udp->first) {
		int ret = sendmmsg(udp->fd, msgs + sent, len - sent, MSG_NOSIGNAL);
		if (ret > 0) {
			sent += ret;
		} else if (errno == EAGAIN || errno == EWOULDBLOCK) {
			break;
		} else if (errno != EINTR) {
			/* This one cannot be sent (unreachable, filtered); the next may. */
			turn->udp_drops += 1;
			sent += 1;
		}
	}
	if (sent == len)
		return;
	const bool was_waiting = udp->first;
	for (; sent < len; ++sent)
		if (!wait_for_socket(udp, &msgs[sent].msg_hdr))
			turn->udp_drops += 1;
	if (!was_waiting && udp->first)
		watch(udp);
}

void udp_batch_flush(struct udp_batch *batch)
{
	for (size_t i = 0, end; i < batch->out_len; i = end) {
		struct udp_state *udp = batch->out_owner[i];
		for (end = i + 1; end < batch->out_len && batch->out_owner[end] == udp; ++end)
			;
		if (udp)
			send_run(udp, batch->out + i, end - i);
	}
	batch->out_len = 0;
	batch->out_used = 0;
}

/** Answer from the address that was asked. */
static void set_source(struct udp_state *udp, struct msghdr *hdr, union pktinfo *info,
	const struct sockaddr *source)
{
	hdr->msg_control = NULL;
	hdr->msg_controllen = 0;
	if (!udp->is_wildcard || !source || source->sa_family != udp->local.ip.sa_family)
		return;
	memset(info, 0, sizeof(*info));
	hdr->msg_control = info;
	hdr->msg_controllen = sizeof(*info);
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(hdr);
	if (source->sa_family == AF_INET) {
		const struct in_pktinfo v4 = {
			.ipi_spec_dst = ((const struct sockaddr_in *)source)->sin_addr};
		cmsg->cmsg_level = IPPROTO_IP;
		cmsg->cmsg_type = IP_PKTINFO;
		cmsg->cmsg_len = CMSG_LEN(sizeof(v4));
		memcpy(CMSG_DATA(cmsg), &v4, sizeof(v4));
		hdr->msg_controllen = CMSG_SPACE(sizeof(v4));
	} else {
		const struct sockaddr_in6 *sin6 = (const struct sockaddr_in6 *)source;
		const struct in6_pktinfo v6 = {
			.ipi6_addr = sin6->sin6_addr, .ipi6_ifindex = sin6->sin6_scope_id};
		cmsg->cmsg_level = IPPROTO_IPV6;
		cmsg->cmsg_type = IPV6_PKTINFO;
		cmsg->cmsg_len = CMSG_LEN(sizeof(v6));
		memcpy(CMSG_DATA(cmsg), &v6, sizeof(v6));
		hdr->msg_controllen = CMSG_SPACE(sizeof(v6));
	}
}

static int udp_down(struct stage *st, struct bytes out)
{
	struct udp_state *udp = stage_state(st);
	struct udp_batch *batch = st->stack->turn->udp;
	const struct stage_facts *to = st->stack->to;
	if (!out.at)
		return kr_ok(); /* nothing to be said */
	if (!to || out.len > SEND_ARENA)
		return kr_error(EINVAL);
	/* Answers go to the peer. Behind a proxy dst_addr is not an address of ours. */
	const struct sockaddr *peer = to->comm_addr ? to->comm_addr : to->addr;
	const bool is_proxied = peer != to->addr;
	const int peer_len = peer ? kr_sockaddr_len(peer) : -1;
	if (peer_len < 0)
		return kr_error(EINVAL);
	if (batch->out_len == UDP_BATCH_MAX || batch->out_used + out.len > SEND_ARENA)
		udp_batch_flush(batch);
	const size_t i = batch->out_len++;
	struct msghdr *hdr = &batch->out[i].msg_hdr;
	memcpy(&batch->out_to[i], peer, peer_len);
	hdr->msg_namelen = peer_len;
	memcpy(batch->out_wire + batch->out_used, out.at, out.len);
	batch->out_iov[i] = (struct iovec){batch->out_wire + batch->out_used, out.len};
	batch->out_used += out.len;
	batch->out_owner[i] = udp;
	set_source(udp, hdr, &batch->out_info[i], is_proxied ? NULL : to->dst_addr);
	return kr_ok();
}

/* ---- receiving ---- */

/** Our address of a datagram that came to a wildcard socket. */
static void read_destination(struct udp_state *udp, struct msghdr *hdr, union kr_sockaddr *dst)
{
	*dst = udp->local;
	for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(hdr); cmsg; cmsg = CMSG_NXTHDR(hdr, cmsg)) {
		if (cmsg->cmsg_level == IPPROTO_IP && cmsg->cmsg_type == IP_PKTINFO) {
			struct in_pktinfo v4;
			memcpy(&v4, CMSG_DATA(cmsg), sizeof(v4));
			dst->ip4.sin_addr = v4.ipi_spec_dst;
		} else if (cmsg->cmsg_level == IPPROTO_IPV6 && cmsg->cmsg_type == IPV6_PKTINFO) {
			struct in6_pktinfo v6;
			memcpy(&v6, CMSG_DATA(cmsg), sizeof(v6));
			dst->ip6.sin6_addr = v6.ipi6_addr;
			dst->ip6.sin6_scope_id =
				IN6_IS_ADDR_LINKLOCAL(&v6.ipi6_addr) ? v6.ipi6_ifindex : 0;
		}
	}
}

static void take_datagram(struct udp_state *udp, struct udp_batch *batch, size_t i)
{
	struct stack *stack = udp->st->stack;
	struct msghdr *hdr = &batch->in[i].msg_hdr;
	if (kr_sockaddr_len(&batch->in_from[i].ip) < 0)
		return;
	union kr_sockaddr dst;
	stack->facts = (struct stage_facts){
		.addr = &batch->in_from[i].ip, .dst_addr = &udp->local.ip, .stream_id = -1};
	if (udp->is_wildcard) {
		read_destination(udp, hdr, &dst);
		stack->facts.dst_addr = &dst.ip;
	}
	stage_up(udp->st, (struct bytes){batch->in_wire[i], batch->in[i].msg_len});
}

/** @return number of datagrams read */
static int read_batch(struct udp_state *udp)
{
	struct udp_batch *batch = udp->st->stack->turn->udp;
	int got = recvmmsg(udp->fd, batch->in, UDP_BATCH_MAX, MSG_DONTWAIT, NULL);
	if (got <= 0)
		return 0; /* errors here are ICMP echoes of earlier answers: nobody to tell */
	for (int i = 0; i < got && !udp->st->stack->is_closing; ++i)
		take_datagram(udp, batch, i);
	in_reset(batch, got);
	return got;
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
	struct udp_state *udp = poll->data;
	if (status < 0 || (events & UV_READABLE))
		read_batch(udp);
	if (udp->st->stack->is_closing)
		return;
	if (events & UV_WRITABLE)
		send_waiting(udp);
	else if (status < 0)
		watch(udp); /* libuv stops watching after an error of the socket, which is gone now
			     */
}

void udp_read_all(struct stack *stack)
{
	struct udp_state *udp = stage_state(&stack->stages[0]);
	for (int i = 0; i < READ_ALL_ROUNDS && !stack->is_closing; ++i)
		if (read_batch(udp) == 0)
			break;
}

/* ---- life ---- */

static int set_options(int fd, int family, bool wants_pktinfo)
{
	const int on = 1;
	int ret = 0;
	/* Hints about the path MTU are not to be trusted (RFC 9715); an old kernel does without. */
	if (family == AF_INET) {
		const int omit = IP_PMTUDISC_OMIT;
		setsockopt(fd, IPPROTO_IP, IP_MTU_DISCOVER, &omit, sizeof(omit));
		if (wants_pktinfo)
			ret = setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof(on));
	} else {
		const int omit = IPV6_PMTUDISC_OMIT;
		setsockopt(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, &omit, sizeof(omit));
		if (wants_pktinfo)
			ret = setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof(on));
	}
	return ret == 0 ? kr_ok() : kr_error(errno);
}

static bool is_wildcard(const union kr_sockaddr *addr)
{
	if (addr->ip.sa_family == AF_INET)
		return addr->ip4.sin_addr.s_addr == htonl(INADDR_ANY);
	return IN6_IS_ADDR_UNSPECIFIED(&addr->ip6.sin6_addr);
}

static int start(struct udp_state *udp, struct turn *turn)
{
	if (!turn->udp)
		turn->udp = batch_new(turn);
	if (!turn->udp)
		return kr_error(ENOMEM);
	int ret = set_options(udp->fd, udp->local.ip.sa_family, udp->is_wildcard);
	if (ret == 0)
		ret = uv_poll_init(turn->loop, &udp->poll, udp->fd);
	if (ret < 0)
		return ret;
	udp->poll.data = udp;
	watch(udp);
	return kr_ok();
}

static int udp_init(struct stage *st, const void *param)
{
	const struct udp_param *p = param;
	struct udp_state *udp = stage_state(st);
	struct turn *turn = st->stack->turn;
	udp->st = st;
	udp->fd = p->fd;
	udp->local = *p->local;
	udp->is_wildcard = is_wildcard(p->local);
	udp->last = &udp->first;
	int ret = start(udp, turn);
	if (ret < 0)
		close(udp->fd);
	return ret;
}

static void on_closed(uv_handle_t *handle)
{
	struct udp_state *udp = handle->data;
	stack_released(udp->st->stack);
}

static int udp_event(struct stage *st, enum stage_event ev)
{
	struct udp_state *udp = stage_state(st);
	if (ev != STAGE_CLOSE)
		return kr_ok();
	udp_batch_flush(st->stack->turn->udp); /* what was said so far */
	while (udp->first)
		drop_first_waiting(udp);
	uv_poll_stop(&udp->poll);
	close(udp->fd);
	uv_close((uv_handle_t *)&udp->poll, on_closed);
	return kr_ok();
}

const struct stage_ops udp_stage = {
	.name = "udp",
	.state_size = sizeof(struct udp_state),
	.init = udp_init,
	.down = udp_down,
	.event = udp_event,
};
