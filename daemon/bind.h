/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Sockets to listen on: made, set up and bound. Non-blocking and closed on exec.
 */
#pragma once

#include "daemon/network.h"

/** What bind_ip() and bind_unix() are told besides the address. */
struct bind_param {
	int sock_type; /**< SOCK_DGRAM or SOCK_STREAM */
	bool freebind; /**< the host need not have the address */
	int backlog;
	struct net_buflens buflens;
	unsigned int user_timeout_ms; /**< TCP_USER_TIMEOUT of accepted sockets */
	bool is_dns;                  /**< clients speak first: accept when they did */
	bool is_bind_only;            /**< do not listen: nobody is to come */
};

/** Bind a shared (SO_REUSEPORT) socket; listening if it is a stream. @return file descriptor or
 * error */
int bind_ip(const struct sockaddr *addr, const struct bind_param *param);
/**
 * Bind a listening UNIX stream socket. A socket file nobody listens on is replaced; a missing last
 * folder of the path is made. Both are for owner and group only. @return file descriptor or error
 */
int bind_unix(const char *path, const struct bind_param *param);
/** Could bind_unix() succeed? Leaves nothing behind. @return 0 or an error */
int bind_unix_check(const char *path);
/** Set up an inherited socket. @return 0 or an error */
int bind_inherited(int fd, int family, const struct bind_param *param);
