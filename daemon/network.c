/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/network.h"

#include <fcntl.h>
#include <net/if.h>
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <uv.h>

#include "daemon/bind.h"
#include "daemon/clock.h"
#include "daemon/conns.h"
#include "daemon/tls/client.h"
#include "daemon/tls/credentials.h"
#include "daemon/transport/http2.h"
#include "daemon/transport/proxyv2.h"
#include "daemon/transport/stacks.h"
#include "daemon/transport/turn.h"
#include "daemon/transport/udp.h"
#include "daemon/worker.h"
#include "lib/log.h"

/** Connections accepted in one wake-up of a listener. */
#define ACCEPT_MAX 32
/** How long nothing is accepted when there are no file descriptors left. */
#define ACCEPT_REST_MS 100
/** How often waiting handshakes are looked at. */
#define HANDSHAKE_STEP_MS 5
/** How long questions of a socket that is not wanted any more may take, ms. */
#define LEAVE_MAX_MS 2000
/** Size of the error text given out. */
#define ERR_TEXT_LEN 256

/** What a socket is to the configuration that is being tried (network_stage()). */
enum listener_stage {
	STAGE_SETTLED = 0, /**< nothing is being tried, or it came from the command line */
	STAGE_FORMER,      /**< of the configuration before, not wanted so far */
	STAGE_ADOPTED,     /**< wanted by both */
	STAGE_FRESH,       /**< of the new one only */
};

/** One socket we listen on. */
struct network_listener {
	struct endpoint ep; /**< what others see */
	struct network *net;
	struct network_listener *next;
	char *key;  /**< IP address or path */
	char *name; /**< `ADDR#PORT` or path */
	union {
		struct sockaddr sa;
		union kr_sockaddr ip;
		struct sockaddr_un un;
	} addr;
	bool is_inherited;
	bool is_closing;
	enum listener_stage stage;
	uint64_t leave_by_ms; /**< not wanted any more, but questions are in flight; 0 = no */
	enum stack_kind kind;
	uv_poll_t accept;            /**< streams that we serve */
	struct worker_client client; /**< datagrams: where answers come */
	struct stack *udp;
};

struct network_private {
	struct turn *turn;
	struct conns *conns;
	uv_timer_t rest; /**< until accepting goes on */
	uv_timer_t work; /**< wakes the loop while handshakes wait for processor time */
	int spare_fd;    /**< to be able to refuse when there are no more */
	bool is_resting;
	bool is_draining;
	char err_text[ERR_TEXT_LEN];
};

static bool is_foreign(const struct endpoint *ep)
{
	return ep->flags.kind != NULL;
}

/** Part of the configuration in force or being tried? */
static bool is_current(const struct network_listener *ls)
{
	return ls->stage != STAGE_FORMER;
}

/* ---- datagrams ---- */

static int on_datagram(struct stack *stack, struct bytes in)
{
	struct network_listener *ls = stack->owner;
	struct worker_ctx *worker = ls->net->worker;
	const struct stage_facts *facts = &stack->facts;
	const struct worker_query query = {.wire = in,
		.addr = facts->addr,
		.comm_addr = facts->comm_addr,
		.dst_addr = facts->dst_addr,
		.flags = facts->flags,
		.comm_flags = facts->comm_flags,
		.stream_id = -1};
	clock_tick(worker->resolver);
	worker_submit(worker, &ls->client, &query);
	return kr_ok();
}

static void on_udp_answer(struct worker_client *client, const struct worker_query *query,
	struct bytes wire, const struct kr_request *req)
{
	struct network_listener *ls =
		(struct network_listener *)((char *)client -
					    offsetof(struct network_listener, client));
	const struct stage_facts to = {
		.addr = query->addr, .comm_addr = query->comm_addr, .dst_addr = query->dst_addr};
	stack_send(ls->udp, &to, wire);
}

static void listener_free(struct network_listener *ls)
{
	free(ls->key);
	free(ls->name);
	free(ls);
}

static void on_udp_event(struct stack *stack, enum stage_event ev) {}

static void on_udp_failed(struct stack *stack, int err)
{
	struct network_listener *ls = stack->owner;
	kr_log_error(NETWORK, "cannot serve '%s': %s\n", ls->name, strerror(-err));
}

static void on_udp_released(struct stack *stack)
{
	struct network_listener *ls = stack->owner;
	stack_deinit(stack);
	free(stack);
	listener_free(ls);
}

static const struct stack_ops udp_ops = {
	.message = on_datagram,
	.event = on_udp_event,
	.failed = on_udp_failed,
	.released = on_udp_released,
};

/** @return 0 or an error; the listener's fd is closed then, and its memory not ours if *gone */
static int serve_udp(struct network_listener *ls, bool *gone)
{
	struct network_private *priv = ls->net->priv;
	ls->udp = calloc(1, stack_kind_size(STACK_UDP_SERVER));
	if (!ls->udp) {
		close(ls->ep.fd);
		return kr_error(ENOMEM);
	}
	ls->client.answer = on_udp_answer;
	const struct udp_param udp = {.fd = ls->ep.fd, .local = &ls->addr.ip};
	const struct stack_params params = {.udp = &udp, .proxy = ls->net->proxy};
	int ret = stack_start(ls->udp, STACK_UDP_SERVER, &params, &udp_ops, ls, priv->turn);
	if (ret == 0)
		return kr_ok();
	if (ls->udp->len > 0) {
		*gone = true;
		stack_close(ls->udp);
	} else {
		free(ls->udp);
		ls->udp = NULL;
	}
	return ret;
}

/* ---- streams ---- */

static void on_acceptable(uv_poll_t *poll, int status, int events);

static bool is_accepting(const struct network_listener *ls)
{
	return ls->ep.flags.sock_type == SOCK_STREAM && !is_foreign(&ls->ep) && !ls->is_closing;
}

static void on_rest_over(uv_timer_t *timer)
{
	struct network *net = timer->data;
	net->priv->is_resting = false;
	for (struct network_listener *ls = net->listeners; ls; ls = ls->next)
		if (is_accepting(ls))
			uv_poll_start(&ls->accept, UV_READABLE, on_acceptable);
}

/** No file descriptors: waking up again and again would not change that. */
static void rest(struct network *net)
{
	struct network_private *priv = net->priv;
	if (priv->is_resting)
		return;
	priv->is_resting = true;
	for (struct network_listener *ls = net->listeners; ls; ls = ls->next)
		if (is_accepting(ls))
			uv_poll_stop(&ls->accept);
	uv_timer_start(&priv->rest, on_rest_over, ACCEPT_REST_MS, 0);
}

/** Tell one client that there is no place, using the descriptor kept for this. */
static void refuse_one(struct network *net, int listen_fd)
{
	struct network_private *priv = net->priv;
	if (priv->spare_fd >= 0)
		close(priv->spare_fd);
	int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
	if (fd >= 0) {
		close(fd);
		net->stats.conns_refused += 1;
	}
	priv->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void take_connection(struct network_listener *ls, int fd, const union kr_sockaddr *peer)
{
	union kr_sockaddr local = ls->addr.ip;
	socklen_t len = sizeof(local);
	if (kr_sockaddr_len(&peer->ip) < 0 || getsockname(fd, &local.ip, &len) != 0) {
		close(fd);
		return;
	}
	conns_add(ls->net->priv->conns, fd, ls->kind, &peer->ip, &local.ip);
}

/** @return true if there may be more to accept */
static bool accept_one(struct network_listener *ls)
{
	union kr_sockaddr peer = {0};
	socklen_t len = sizeof(peer);
	int fd = accept4(ls->ep.fd, &peer.ip, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd >= 0) {
		take_connection(ls, fd, &peer);
		return true;
	}
	switch (errno) {
	case EMFILE:
	case ENFILE:
	case ENOBUFS:
	case ENOMEM:
		if (conns_evict(ls->net->priv->conns))
			return true;
		refuse_one(ls->net, ls->ep.fd);
		rest(ls->net);
		return false;
	case EAGAIN:
		return false;
	default:
		return true; /* that connection has failed meanwhile */
	}
}

static void on_acceptable(uv_poll_t *poll, int status, int events)
{
	struct network_listener *ls = poll->data;
	for (int i = 0; i < ACCEPT_MAX && accept_one(ls); ++i)
		;
	if (status < 0 && !ls->net->priv->is_resting) /* libuv has stopped watching */
		uv_poll_start(&ls->accept, UV_READABLE, on_acceptable);
}

static int serve_stream(struct network_listener *ls)
{
	struct network *net = ls->net;
	ls->kind = ls->ep.flags.http  ? STACK_DOH_SERVER
		   : ls->ep.flags.tls ? STACK_TLS_SERVER
				      : STACK_TCP_SERVER;
	int ret = uv_poll_init(net->loop, &ls->accept, ls->ep.fd);
	if (ret < 0) {
		close(ls->ep.fd);
		return ret;
	}
	ls->accept.data = ls;
	if (!net->priv->is_resting)
		uv_poll_start(&ls->accept, UV_READABLE, on_acceptable);
	return kr_ok();
}

static void on_accept_closed(uv_handle_t *handle)
{
	listener_free(handle->data);
}

/* ---- listeners ---- */

static void unlist(struct network_listener *ls)
{
	struct network_listener **at = &ls->net->listeners;
	while (*at && *at != ls)
		at = &(*at)->next;
	if (*at)
		*at = ls->next;
}

/** At the end, so that they are listed in the order of the configuration. */
static void enlist(struct network_listener *ls)
{
	struct network_listener **at = &ls->net->listeners;
	while (*at)
		at = &(*at)->next;
	*at = ls;
}

static void disengage(struct network_listener *ls)
{
	struct network *net = ls->net;
	if (is_foreign(&ls->ep) && ls->ep.engaged && net->kind_handler)
		net->kind_handler(net, &ls->ep, false, ls->name, net->kind_baton);
	ls->ep.engaged = false;
}

static void listener_close(struct network_listener *ls)
{
	unlist(ls);
	disengage(ls);
	ls->is_closing = true;
	if (ls->net->is_rehearsal) {
		listener_free(ls);
		return;
	}
	if (ls->ep.family == AF_UNIX && !ls->is_inherited)
		unlink(ls->key);
	if (ls->udp) {
		worker_client_gone(ls->net->worker, &ls->client);
		stack_close(ls->udp);
	} else if (is_foreign(&ls->ep)) {
		close(ls->ep.fd);
		listener_free(ls);
	} else {
		uv_poll_stop(&ls->accept);
		close(ls->ep.fd);
		uv_close((uv_handle_t *)&ls->accept, on_accept_closed);
	}
}

static int engage_foreign(struct network_listener *ls)
{
	struct network *net = ls->net;
	if (ls->ep.engaged)
		return kr_ok();
	int ret = net->kind_handler
			  ? net->kind_handler(net, &ls->ep, true, ls->name, net->kind_baton)
			  : kr_error(ENOENT);
	ls->ep.engaged = ret == 0;
	return ret;
}

/** Have somebody serve a bound socket. On error the socket is closed and the memory given back. */
static int start(struct network_listener *ls)
{
	bool gone = false;
	int ret;
	if (is_foreign(&ls->ep)) {
		ret = ls->net->missing_kind_is_error ? engage_foreign(ls) : kr_ok();
		if (ret != 0)
			close(ls->ep.fd);
		if (ret != 0 && ls->ep.family == AF_UNIX && !ls->is_inherited)
			unlink(ls->key);
	} else if (ls->ep.flags.sock_type == SOCK_DGRAM) {
		ret = serve_udp(ls, &gone);
	} else {
		ret = serve_stream(ls);
	}
	if (ret == 0) {
		ls->ep.engaged = ls->ep.engaged || !is_foreign(&ls->ep);
		enlist(ls);
	} else if (!gone) {
		listener_free(ls);
	}
	return ret;
}

static int set_names(struct network_listener *ls)
{
	char text[INET6_ADDRSTRLEN + 1 + IF_NAMESIZE] = "";
	char name[sizeof(text) + 6];
	if (ls->ep.family == AF_UNIX) {
		ls->key = strndup(ls->addr.un.sun_path, sizeof(ls->addr.un.sun_path));
		ls->name = strndup(ls->addr.un.sun_path, sizeof(ls->addr.un.sun_path));
		return ls->key && ls->name ? kr_ok() : kr_error(ENOMEM);
	}
	inet_ntop(ls->ep.family, kr_inaddr(&ls->addr.sa), text, INET6_ADDRSTRLEN);
	const unsigned scope = ls->ep.family == AF_INET6 ? ls->addr.ip.ip6.sin6_scope_id : 0;
	char iface[IF_NAMESIZE];
	if (scope && if_indextoname(scope, iface)) {
		strcat(text, "%");
		strcat(text, iface);
	}
	ls->ep.port = kr_inaddr_port(&ls->addr.sa);
	snprintf(name, sizeof(name), "%s#%u", text, ls->ep.port);
	ls->key = strdup(text);
	ls->name = strdup(name);
	return ls->key && ls->name ? kr_ok() : kr_error(ENOMEM);
}

/** Make a listener of a bound socket, which it owns from now on. */
static int listener_new(
	struct network *net, int fd, endpoint_flags_t flags, int16_t nic_queue, bool is_inherited)
{
	struct network_listener *ls = calloc(1, sizeof(*ls));
	if (!ls) {
		close(fd);
		return kr_error(ENOMEM);
	}
	ls->net = net;
	ls->is_inherited = is_inherited;
	ls->stage = net->is_staging && !is_inherited ? STAGE_FRESH : STAGE_SETTLED;
	ls->ep = (struct endpoint){.fd = fd, .nic_queue = nic_queue, .flags = flags};
	socklen_t len = sizeof(ls->addr);
	int ret = getsockname(fd, &ls->addr.sa, &len) == 0 ? kr_ok() : kr_error(errno);
	ls->ep.family = ls->addr.sa.sa_family;
	if (ret == 0)
		ret = set_names(ls);
	if (ret != 0) {
		close(fd);
		listener_free(ls);
		return ret;
	}
	return start(ls);
}

static struct bind_param bind_param_of(const struct network *net, endpoint_flags_t flags)
{
	return (struct bind_param){.sock_type = flags.sock_type,
		.freebind = flags.freebind,
		.backlog = net->tcp_backlog,
		.buflens = flags.sock_type == SOCK_DGRAM ? net->listen_udp_buflens
							 : net->listen_tcp_buflens,
		.user_timeout_ms = net->tcp.user_timeout,
		.is_dns = !flags.kind};
}

/** SO_REUSEPORT would let us listen twice, with half of the clients in each. */
static bool is_taken(const struct network *net, const struct sockaddr *addr, int sock_type)
{
	for (const struct network_listener *ls = net->listeners; ls; ls = ls->next)
		if (is_current(ls) && ls->ep.flags.sock_type == sock_type &&
			ls->ep.family == addr->sa_family &&
			kr_sockaddr_cmp(&ls->addr.sa, addr) == 0)
			return true;
	return false;
}

static int check_flags(endpoint_flags_t flags, int family)
{
	if (flags.xdp)
		return kr_error(ENOTSUP);
	if (family == AF_UNIX && (!flags.kind || flags.sock_type != SOCK_STREAM))
		return kr_error(EPROTONOSUPPORT);
	if (flags.sock_type == SOCK_DGRAM && (flags.kind || flags.tls || flags.http))
		return kr_error(EPROTONOSUPPORT);
	return flags.sock_type == SOCK_DGRAM || flags.sock_type == SOCK_STREAM ? kr_ok()
									       : kr_error(EINVAL);
}

static int open_socket(struct network *net, const char *addr, uint16_t port, endpoint_flags_t flags)
{
	const int family = kr_straddr_family(addr);
	const struct bind_param param = bind_param_of(net, flags);
	int ret = family < 0 && !flags.xdp ? kr_error(EADDRNOTAVAIL) : check_flags(flags, family);
	if (ret != 0)
		return ret;
	if (family == AF_UNIX)
		return bind_unix(addr, &param);
	struct sockaddr *sa = kr_straddr_socket(addr, port, NULL);
	if (!sa)
		return kr_error(EINVAL);
	ret = port && is_taken(net, sa, flags.sock_type) ? kr_error(EADDRINUSE)
							 : bind_ip(sa, &param);
	free(sa);
	return ret;
}

static const char *reason(int ret)
{
	return ret == kr_error(ENOTSUP) ? "not supported by this build" : strerror(-ret);
}

/** Is it the address and, unless it is -1, the port? */
static bool is_meant(const struct network_listener *ls, const char *addr, int port)
{
	if (ls->ep.family == AF_UNIX || kr_straddr_family(addr) == AF_UNIX)
		return strcmp(ls->key, addr) == 0;
	if (port >= 0 && port != ls->ep.port)
		return false;
	struct sockaddr *sa = kr_straddr_socket(addr, ls->ep.port, NULL);
	const bool is_same = sa && kr_sockaddr_cmp(sa, &ls->addr.sa) == 0;
	free(sa);
	return is_same;
}

static bool is_same_kind(const endpoint_flags_t *a, const endpoint_flags_t *b)
{
	if (a->sock_type != b->sock_type || a->tls != b->tls || a->http != b->http ||
		a->xdp != b->xdp || !a->kind != !b->kind)
		return false;
	return !a->kind || strcmp(a->kind, b->kind) == 0;
}

/** Take over a socket of the configuration before. @return false if there is none to take */
static bool adopt(struct network *net, const char *addr, uint16_t port, endpoint_flags_t flags)
{
	for (struct network_listener *ls = net->listeners; ls; ls = ls->next) {
		if (ls->stage != STAGE_FORMER || !is_same_kind(&ls->ep.flags, &flags) ||
			!is_meant(ls, addr, port))
			continue;
		ls->stage = STAGE_ADOPTED;
		ls->leave_by_ms = 0;
		ls->ep.flags.freebind = flags.freebind;
		return true;
	}
	return false;
}

/** Could it be listened on? Nothing that is served at present notices. */
static int try_listen(const struct network *net, const char *addr, const struct sockaddr *sa,
	endpoint_flags_t flags)
{
	struct bind_param param = bind_param_of(net, flags);
	if (!sa)
		return bind_unix_check(addr);
	param.sock_type = SOCK_STREAM; /* a datagram socket would take questions from others */
	param.is_bind_only = true;
	int fd = bind_ip(sa, &param);
	if (fd >= 0)
		close(fd);
	/* Who runs the check may have other rights, and the address may be served just now. */
	return fd >= 0 || fd == kr_error(EACCES) || fd == kr_error(EADDRINUSE) ? kr_ok() : fd;
}

/** For a rehearsal: a listener without a socket. */
static int pretend(struct network *net, const char *addr, uint16_t port, endpoint_flags_t flags)
{
	const int family = kr_straddr_family(addr);
	int ret = family < 0 && !flags.xdp ? kr_error(EADDRNOTAVAIL) : check_flags(flags, family);
	if (ret != 0)
		return ret;
	struct sockaddr *sa = kr_straddr_socket(addr, port, NULL);
	struct network_listener *ls = calloc(1, sizeof(*ls));
	if (!ls || !sa) {
		ret = ls ? kr_error(EINVAL) : kr_error(ENOMEM);
		goto failed;
	}
	ret = family != AF_UNIX && is_taken(net, sa, flags.sock_type) && port
		      ? kr_error(EADDRINUSE)
		      : try_listen(net, addr, family == AF_UNIX ? NULL : sa, flags);
	if (ret != 0)
		goto failed;
	ls->net = net;
	ls->ep = (struct endpoint){.fd = -1, .nic_queue = -1, .flags = flags, .family = family};
	memcpy(&ls->addr, sa, KR_MIN((size_t)kr_sockaddr_len(sa), sizeof(ls->addr)));
	free(sa);
	sa = NULL;
	ret = set_names(ls);
	if (ret == 0) {
		enlist(ls);
		return kr_ok();
	}
	listener_free(ls);
	return ret;
failed:
	free(sa);
	free(ls);
	return ret;
}

int network_listen(struct network *net, const char *addr, uint16_t port, int16_t nic_queue,
	endpoint_flags_t flags, const char **err_text)
{
	if (net->is_staging && adopt(net, addr, port, flags))
		return kr_ok();
	int ret = net->is_rehearsal ? pretend(net, addr, port, flags)
				    : open_socket(net, addr, port, flags);
	if (ret >= 0 && !net->is_rehearsal)
		ret = listener_new(net, ret, flags, nic_queue, false);
	if (ret == 0 || !err_text)
		return ret;
	char *text = net->priv->err_text;
	if (kr_straddr_family(addr) == AF_UNIX)
		snprintf(text, ERR_TEXT_LEN, "bind to '%s' (UNIX): %s", addr, reason(ret));
	else
		snprintf(text, ERR_TEXT_LEN, "bind to '%s@%u' (%s): %s", addr, port,
			flags.xdp                       ? "XDP"
			: flags.sock_type == SOCK_DGRAM ? "UDP"
							: "TCP",
			reason(ret));
	*err_text = text;
	return ret;
}

int network_listen_fd(struct network *net, int fd, endpoint_flags_t flags, const char **err_text)
{
	int type = 0;
	socklen_t len = sizeof(type);
	struct sockaddr_storage addr = {0};
	socklen_t addr_len = sizeof(addr);
	int ret = kr_ok();
	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) != 0 ||
		getsockname(fd, (struct sockaddr *)&addr, &addr_len) != 0)
		ret = kr_error(errno);
	flags.sock_type = type;
	const struct bind_param param = bind_param_of(net, flags);
	if (ret == 0)
		ret = check_flags(flags, addr.ss_family);
	if (ret == 0 && addr.ss_family != AF_UNIX && is_taken(net, (struct sockaddr *)&addr, type))
		ret = kr_error(EADDRINUSE);
	if (ret == 0)
		ret = bind_inherited(fd, addr.ss_family, &param);
	if (ret == 0)
		ret = listener_new(net, fd, flags, -1, true);
	if (ret != 0 && err_text)
		*err_text = reason(ret);
	return ret;
}

int network_close(struct network *net, const char *addr, int port)
{
	int count = 0;
	for (struct network_listener *ls = net->listeners, *next; ls; ls = next) {
		next = ls->next;
		if (!is_current(ls) || !is_meant(ls, addr, port))
			continue;
		if (ls->stage == STAGE_ADOPTED) /* the configuration before may need it yet */
			ls->stage = STAGE_FORMER;
		else
			listener_close(ls);
		count += 1;
	}
	return count ? count : kr_error(ENOENT);
}

int network_foreach(struct network *net,
	int (*fn)(const char *key, struct endpoint *ep, void *baton), void *baton)
{
	for (struct network_listener *ls = net->listeners, *next; ls; ls = next) {
		next = ls->next;
		int ret = is_current(ls) ? fn(ls->key, &ls->ep, baton) : kr_ok();
		if (ret != 0)
			return ret;
	}
	return kr_ok();
}

int network_engage_endpoints(struct network *net)
{
	int missing = 0;
	for (struct network_listener *ls = net->listeners; ls; ls = ls->next) {
		if (!is_foreign(&ls->ep) || !is_current(ls) || engage_foreign(ls) == 0)
			continue;
		kr_log_error(
			NETWORK, "nobody serves kind '%s' of '%s'\n", ls->ep.flags.kind, ls->name);
		missing += 1;
	}
	return missing;
}

void network_set_kind_handler(struct network *net, network_kind_f fn, void *baton)
{
	net->kind_handler = fn;
	net->kind_baton = baton;
}

void network_disengage_kind(struct network *net, const char *kind)
{
	for (struct network_listener *ls = net->listeners; ls; ls = ls->next)
		if (is_foreign(&ls->ep) && strcmp(ls->ep.flags.kind, kind) == 0)
			disengage(ls);
}

void network_disengage_others(struct network *net, const char *kind)
{
	for (struct network_listener *ls = net->listeners; ls; ls = ls->next)
		if (is_foreign(&ls->ep) && strcasecmp(ls->ep.flags.kind, kind) != 0)
			disengage(ls);
}

void network_stage(struct network *net)
{
	net->is_staging = true;
	net->missing_kind_is_error = false;
	for (struct network_listener *ls = net->listeners; ls; ls = ls->next)
		if (!ls->is_inherited)
			ls->stage = STAGE_FORMER;
}

/** Take in what has come, and close when it is answered. */
static void leave(struct network_listener *ls)
{
	struct network *net = ls->net;
	if (ls->udp) {
		ls->leave_by_ms = uv_now(net->loop) + LEAVE_MAX_MS;
		return;
	}
	for (int i = 0; is_accepting(ls) && i < net->tcp_backlog && accept_one(ls); ++i)
		;
	listener_close(ls);
}

void network_stage_end(struct network *net, bool is_good)
{
	for (struct network_listener *ls = net->listeners, *next; ls; ls = next) {
		next = ls->next;
		if (ls->leave_by_ms != 0)
			continue;
		if (is_good && ls->stage == STAGE_FORMER)
			leave(ls);
		else if (!is_good && ls->stage == STAGE_FRESH)
			listener_close(ls);
		else
			ls->stage = STAGE_SETTLED;
	}
	net->is_staging = false;
	net->missing_kind_is_error = true;
}

size_t network_conns(const struct network *net)
{
	return conns_count(net->priv->conns);
}

int network_bpf(struct network *net, int prog_fd)
{
	for (struct network_listener *ls = net->listeners; ls; ls = ls->next) {
		const int value = KR_MAX(prog_fd, 0);
		const int option = prog_fd >= 0 ? SO_ATTACH_BPF : SO_DETACH_BPF;
		if (setsockopt(ls->ep.fd, SOL_SOCKET, option, &value, sizeof(value)) != 0 &&
			!(prog_fd < 0 && errno == ENOENT))
			return kr_error(errno);
	}
	return kr_ok();
}

/* ---- PROXY peers ---- */

void network_proxy_reset(struct network *net)
{
	proxy_peers_clear(net->proxy);
}

int network_proxy_allow(struct network *net, const char *subnet)
{
	return proxy_peers_add(net->proxy, subnet);
}

static bool is_hidden(const struct proxy_peers *peers, const struct proxy_subnet *item)
{
	for (size_t i = 0; i < peers->subnets.len; ++i) {
		const struct proxy_subnet *other = &peers->subnets.at[i];
		if (other->bits == 0 && other->family == item->family)
			return other != item;
	}
	return false;
}

void network_proxy_foreach(
	struct network *net, void (*fn)(const char *subnet, void *baton), void *baton)
{
	const struct proxy_peers *peers = net->proxy;
	for (size_t i = 0; i < peers->subnets.len; ++i) {
		const struct proxy_subnet *item = &peers->subnets.at[i];
		char addr[INET6_ADDRSTRLEN], text[INET6_ADDRSTRLEN + 4];
		if (is_hidden(peers, item))
			continue;
		inet_ntop(item->family, &item->addr, addr, sizeof(addr));
		snprintf(text, sizeof(text), "%s/%u", addr, item->bits);
		fn(text, baton);
	}
}

/* ---- TLS, HTTP ---- */

int network_tls_load(
	struct network *net, const char *cert_file, const char *key_file, const char **why)
{
	struct tls_credentials *creds = NULL;
	int ret = tls_credentials_load(cert_file, key_file, &creds, why);
	if (ret != 0)
		return ret;
	tls_credentials_unref(net->tls_server->credentials);
	net->tls_server->credentials = creds;
	return kr_ok();
}

bool network_tls_files(const struct network *net, const char **cert_file, const char **key_file)
{
	const struct tls_credentials *creds = net->tls_server->credentials;
	if (!creds || !creds->cert_file)
		return false;
	*cert_file = creds->cert_file;
	*key_file = creds->key_file;
	return true;
}

int network_tls_ticket_secret(struct network *net, const void *secret, size_t len)
{
	return tls_server_set_secret(net->tls_server, secret, len);
}

void network_tls_hostname(struct network *net, const char *(*hostname)(void *baton), void *baton)
{
	net->tls_server->hostname = hostname;
	net->tls_server->hostname_baton = baton;
}

void network_doh_headers_reset(struct network *net)
{
	for (size_t i = 0; i < net->http->headers.len; ++i)
		free(net->http->headers.at[i]);
	array_clear(net->http->headers);
}

int network_doh_headers_add(struct network *net, const char *name)
{
	char *copy = strdup(name);
	if (copy && array_push(net->http->headers, copy) >= 0)
		return kr_ok();
	free(copy);
	return kr_error(ENOMEM);
}

const char *network_doh_header(const struct network *net, size_t i)
{
	return i < net->http->headers.len ? net->http->headers.at[i] : NULL;
}

/* ---- draining ---- */

/** What there is to do is done at the end of the turn. */
static void on_work(uv_timer_t *timer) {}

/** A socket of our port that is not read would swallow what others could answer. */
static void drain_udp(struct network_listener *ls)
{
	if (ls->client.in_flight > 0)
		return;
	udp_read_all(ls->udp);
	if (ls->client.in_flight == 0)
		listener_close(ls);
}

static void on_turn_end(void *baton)
{
	struct network *net = baton;
	struct network_private *priv = net->priv;
	net->stats.udp_send_drops = priv->turn->udp_drops;
	if (net->tls_server->waiting && tls_server_work(net->tls_server, uv_now(net->loop)) &&
		!uv_is_active((uv_handle_t *)&priv->work))
		uv_timer_start(&priv->work, on_work, HANDSHAKE_STEP_MS, 0);
	for (struct network_listener *ls = net->listeners, *next; ls; ls = next) {
		next = ls->next;
		if (!ls->udp || !(priv->is_draining || ls->leave_by_ms))
			continue;
		if (ls->leave_by_ms && uv_now(net->loop) >= ls->leave_by_ms)
			listener_close(ls);
		else
			drain_udp(ls);
	}
}

void network_stop_accepting(struct network *net)
{
	struct network_private *priv = net->priv;
	if (priv->is_draining)
		return;
	for (struct network_listener *ls = net->listeners, *next; ls; ls = next) {
		next = ls->next;
		if (!is_accepting(ls))
			continue;
		for (int i = 0; i < net->tcp_backlog && accept_one(ls); ++i)
			;
		listener_close(ls);
	}
	priv->is_draining = true;
	conns_finish(priv->conns);
	on_turn_end(net);
}

/* ---- life ---- */

void network_defaults(struct net_tcp_param *tcp, size_t *tcp_pipeline, size_t *conns_max,
	size_t *conns_prefix_max)
{
	*tcp = (struct net_tcp_param){
		.in_idle_timeout = 10000, .tls_handshake_timeout = 6000, .user_timeout = 1000};
	*tcp_pipeline = 100;
	*conns_max = NETWORK_CONNS_MAX;
	*conns_prefix_max = NETWORK_CONNS_PREFIX_MAX;
}

void network_init(struct network *net, struct uv_loop_s *loop, int tcp_backlog)
{
	memset(net, 0, sizeof(*net));
	net->loop = loop;
	net->worker = NULL;
	net->tcp_backlog = tcp_backlog;
	network_defaults(&net->tcp, &net->tcp_pipeline, &net->conns_max, &net->conns_prefix_max);
	net->proxy = calloc(1, sizeof(*net->proxy));
	net->tls_server = calloc(1, sizeof(*net->tls_server));
	net->tls_clients = calloc(1, sizeof(*net->tls_clients));
	net->http = calloc(1, sizeof(*net->http));
	struct network_private *priv = net->priv = calloc(1, sizeof(*priv));
	if (!net->proxy || !net->tls_server || !net->tls_clients || !net->http || !priv)
		abort();
	tls_server_init(net->tls_server);
	if (!loop) /* nothing can be listened on: tests without sockets */
		return;
	priv->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	priv->turn = turn_new(loop);
	priv->conns = priv->turn ? conns_new(net, priv->turn) : NULL;
	if (!priv->conns)
		abort();
	priv->turn->on_end = on_turn_end;
	priv->turn->on_end_baton = net;
	uv_timer_init(loop, &priv->rest);
	priv->rest.data = net;
	uv_timer_init(loop, &priv->work);
	priv->work.data = priv;
}

static void on_work_closed(uv_handle_t *handle)
{
	free(handle->data);
}

static void on_rest_closed(uv_handle_t *handle)
{
	struct network_private *priv = handle->data;
	uv_close((uv_handle_t *)&priv->work, on_work_closed);
}

void network_deinit(struct network *net)
{
	struct network_private *priv = net->priv;
	if (!priv)
		return;
	while (net->listeners)
		listener_close(net->listeners);
	conns_free(priv->conns);
	proxy_peers_clear(net->proxy);
	free(net->proxy);
	net->proxy = NULL;
	/* Stacks that are still being closed do not look at these any more. */
	tls_server_deinit(net->tls_server);
	free(net->tls_server);
	tls_clients_clear(net->tls_clients);
	free(net->tls_clients);
	network_doh_headers_reset(net);
	free(net->http);
	net->priv = NULL;
	if (!net->loop) {
		free(priv);
		return;
	}
	turn_flush(priv->turn);
	turn_free(priv->turn);
	if (priv->spare_fd >= 0)
		close(priv->spare_fd);
	priv->rest.data = priv;
	uv_close((uv_handle_t *)&priv->rest, on_rest_closed);
}
