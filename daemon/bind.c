/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/bind.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/** Seconds for which a connection without data is not even accepted. */
#define DEFER_ACCEPT_S 2
/** Connections with data in their SYN waiting to be accepted. */
#define FASTOPEN_QUEUE 256
/** UNIX sockets are for owner and group, whatever the umask of the process. */
#define SOCKET_UMASK 0117

static int set_int(int fd, int level, int option, int value)
{
	return setsockopt(fd, level, option, &value, sizeof(value)) == 0 ? kr_ok()
									 : kr_error(errno);
}

/** Options without which the socket can do its work; a kernel may lack any of them. */
static void set_tcp_comforts(int fd, const struct bind_param *param)
{
	set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
#ifdef TCP_USER_TIMEOUT
	if (param->user_timeout_ms)
		set_int(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, param->user_timeout_ms);
#endif
#ifdef TCP_DEFER_ACCEPT
	if (param->is_dns)
		set_int(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, DEFER_ACCEPT_S);
#endif
#ifdef TCP_FASTOPEN
	if (param->is_dns)
		set_int(fd, IPPROTO_TCP, TCP_FASTOPEN, FASTOPEN_QUEUE);
#endif
}

static void set_buffers(int fd, const struct net_buflens *lens)
{
	if (lens->snd > 0)
		set_int(fd, SOL_SOCKET, SO_SNDBUF, lens->snd);
	if (lens->rcv > 0)
		set_int(fd, SOL_SOCKET, SO_RCVBUF, lens->rcv);
}

static int set_freebind(int fd, int family)
{
#if defined(IP_FREEBIND) && defined(IPV6_FREEBIND)
	return family == AF_INET6 ? set_int(fd, IPPROTO_IPV6, IPV6_FREEBIND, 1)
				  : set_int(fd, IPPROTO_IP, IP_FREEBIND, 1);
#else
	return kr_error(ENOTSUP);
#endif
}

static int set_sharing(int fd)
{
	int ret = set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);
#if defined(SO_REUSEPORT_LB)
	if (ret == 0)
		ret = set_int(fd, SOL_SOCKET, SO_REUSEPORT_LB, 1);
#elif defined(SO_REUSEPORT)
	if (ret == 0)
		ret = set_int(fd, SOL_SOCKET, SO_REUSEPORT, 1);
#endif
	return ret;
}

static int bind_and_listen(int fd, const struct sockaddr *addr, const struct bind_param *param)
{
	int ret = set_sharing(fd);
	if (ret == 0 && addr->sa_family == AF_INET6)
		ret = set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
	if (ret == 0 && param->freebind)
		ret = set_freebind(fd, addr->sa_family);
	if (ret != 0)
		return ret;
	set_buffers(fd, &param->buflens);
	if (bind(fd, addr, kr_sockaddr_len(addr)) != 0)
		return kr_error(errno);
	if (param->sock_type != SOCK_STREAM || param->is_bind_only)
		return kr_ok();
	set_tcp_comforts(fd, param);
	return listen(fd, param->backlog) == 0 ? kr_ok() : kr_error(errno);
}

int bind_ip(const struct sockaddr *addr, const struct bind_param *param)
{
	int fd = socket(addr->sa_family, param->sock_type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return kr_error(errno);
	int ret = bind_and_listen(fd, addr, param);
	if (ret == 0)
		return fd;
	close(fd);
	return ret;
}

/** @return true if somebody listens there */
static bool is_alive(const struct sockaddr_un *addr)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return true; /* cannot tell: do no harm */
	const int ret = connect(fd, (const struct sockaddr *)addr, sizeof(*addr));
	const bool is_refused = ret != 0 && errno == ECONNREFUSED;
	close(fd);
	return !is_refused;
}

static void remove_stale(const struct sockaddr_un *addr)
{
	struct stat st;
	if (lstat(addr->sun_path, &st) == 0 && S_ISSOCK(st.st_mode) && !is_alive(addr))
		unlink(addr->sun_path);
}

static void make_folder(const char *path)
{
	char folder[sizeof(((struct sockaddr_un *)0)->sun_path)];
	snprintf(folder, sizeof(folder), "%s", path);
	char *slash = strrchr(folder, '/');
	if (!slash || slash == folder)
		return;
	*slash = '\0';
	mkdir(folder, 0770); /* if this fails, bind() tells why */
}

int bind_unix(const char *path, const struct bind_param *param)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof(addr.sun_path))
		return kr_error(ENAMETOOLONG);
	memcpy(addr.sun_path, path, strlen(path) + 1);
	if (param->sock_type != SOCK_STREAM)
		return kr_error(EPROTONOSUPPORT);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return kr_error(errno);
	remove_stale(&addr);
	make_folder(path);
	const mode_t umask_was = umask(SOCKET_UMASK);
	int ret = bind(fd, (const struct sockaddr *)&addr, sizeof(addr)) == 0 ? kr_ok()
									      : kr_error(errno);
	umask(umask_was);
	if (ret == 0 && listen(fd, param->backlog) == 0)
		return fd;
	if (ret == 0)
		ret = kr_error(errno);
	close(fd);
	return ret;
}

int bind_unix_check(const char *path)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof(addr.sun_path))
		return kr_error(ENAMETOOLONG);
	strcpy(addr.sun_path, path);
	/* The last folder would be made if it is missing. */
	for (int i = 0; i < 2; ++i) {
		char *slash = strrchr(addr.sun_path, '/');
		if (!slash || slash == addr.sun_path)
			return kr_ok();
		*slash = '\0';
		struct stat st;
		if (stat(addr.sun_path, &st) == 0)
			return S_ISDIR(st.st_mode) ? kr_ok() : kr_error(ENOTDIR);
		if (errno != ENOENT)
			return kr_error(errno);
	}
	return kr_error(ENOENT);
}

static int is_listening(int fd)
{
	int yes = 0;
	socklen_t len = sizeof(yes);
	return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &yes, &len) == 0 && yes;
}

int bind_inherited(int fd, int family, const struct bind_param *param)
{
	const int flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0 ||
		fcntl(fd, F_SETFD, FD_CLOEXEC) != 0)
		return kr_error(errno);
	set_buffers(fd, &param->buflens);
	if (param->sock_type != SOCK_STREAM)
		return kr_ok();
	if (family != AF_UNIX)
		set_tcp_comforts(fd, param);
	if (is_listening(fd))
		return kr_ok();
	return listen(fd, param->backlog) == 0 ? kr_ok() : kr_error(errno);
}
