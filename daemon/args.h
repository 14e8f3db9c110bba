/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * The command line of kresd, parsed. Modules may look at it through the_args.
 */
#pragma once

#include <stdbool.h>

#include "daemon/network.h"
#include "lib/defines.h"
#include "lib/generic/array.h"

/** An inherited or early bound socket and what to serve on it. */
typedef struct {
	int fd;
	endpoint_flags_t flags;
	const char *addr; /**< as given, for messages; NULL = inherited */
} flagged_fd_t;

typedef array_t(const char *) addr_array_t;
typedef array_t(flagged_fd_t) flagged_fd_array_t;
typedef array_t(const char *) config_array_t;

struct args {
	addr_array_t addrs, addrs_tls; /**< -a, -t */
	flagged_fd_array_t fds;        /**< -S and the bound -a, -t */
	int control_fd;                /**< not used, -1 */
	int forks;                     /**< -f, deprecated */
	config_array_t config;         /**< -c */
	const char *rundir;            /**< NULL = stay */
	bool check;                    /**< --check: no service, configuration files are checked */
	bool allow_root;               /**< --allow-root */
	bool interactive;
	bool quiet;
	bool tty_binary_output;
};

/** What args_parse() tells the caller to do. */
enum args_result {
	ARGS_RUN,
	ARGS_EXIT_OK,    /**< -h, -V */
	ARGS_EXIT_ERROR, /**< told the user why */
};

KR_EXPORT extern struct args *the_args;

/** Parse; pointers into argv are kept. */
enum args_result args_parse(int argc, char **argv, struct args *args);
void args_deinit(struct args *args);
/** Bind the sockets of -a and -t into args->fds; every failure is logged. @return 0 or
 * kr_error(EINVAL) */
int args_bind(struct args *args);
