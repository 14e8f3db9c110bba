/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/args.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/kind.h"
#include "kresconfig.h"
#include "lib/addr.h"
#include "lib/log.h"

struct args *the_args;

/** Options without a letter. */
enum {
	OPT_CHECK = 256,
	OPT_ALLOW_ROOT,
};

static void print_help(FILE *out, const char *argv0)
{
	fprintf(out, "Usage: %s [parameters] [rundir]\n", argv0);
	fputs("\nParameters:\n"
	      " -a, --addr=[addr]      Serve plain DNS on ADDR[@PORT] (default port 53); "
	      "repeatable.\n"
	      " -t, --tls=[addr]       Serve DNS over TLS on ADDR[@PORT] (default port 853); "
	      "repeatable.\n"
	      " -S, --fd=[fd:kind]     Serve an inherited socket; kind as in net.listen(), default "
	      "dns.\n"
	      " -c, --config=[path]    Lua configuration, relative to rundir; repeatable. '-' = no "
	      "defaults\n"
	      "                        after the configuration.\n"
	      " -f, --forks=N          Deprecated: start N processes.\n"
	      "\nOptions:\n"
	      "     --check             Check the configuration FILES given instead of rundir and "
	      "end: "
	      "0 = good.\n"
	      "     --allow-root        Do not warn about running as root.\n"
	      " -n, --noninteractive   No console on standard input.\n"
	      " -q, --quiet            No prompt on the console and on control sockets.\n"
	      " -v, --verbose          Log at level debug from the start.\n"
	      " -V, --version          Print the version and end.\n"
	      " -h, --help             Print this text and end.\n"
	      "\n[rundir] is the working directory; the present one if not given.\n",
		out);
}

static bool parse_number(const char *text, const char **rest, long min, long max, long *out)
{
	char *end = NULL;
	errno = 0;
	long n = strtol(text, &end, 10);
	if (errno || end == text || n < min || n > max)
		return false;
	*rest = end;
	*out = n;
	return true;
}

static bool parse_fd(struct args *args, const char *text)
{
	flagged_fd_t entry = {0};
	const char *rest;
	long fd;
	bool is_good = parse_number(text, &rest, 0, INT32_MAX, &fd);
	if (is_good && *rest == ':')
		is_good = kind_set(&entry.flags, rest + 1) == 0;
	else if (is_good)
		is_good = *rest == '\0';
	if (!is_good) {
		kr_log_error(SYSTEM, "-S '%s': expected FD or FD:KIND\n", text);
		return false;
	}
	entry.fd = fd;
	return array_push(args->fds, entry) >= 0;
}

static bool parse_forks(struct args *args, const char *text)
{
	const char *rest;
	long n;
	if (!parse_number(text, &rest, 1, 1024, &n) || *rest) {
		kr_log_error(SYSTEM, "-f '%s': expected a number of processes, at least 1\n", text);
		return false;
	}
	if (n == 1)
		kr_log_deprecate(SYSTEM, "use --noninteractive instead of --forks=1\n");
	else
		kr_log_deprecate(
			SYSTEM, "--forks will be removed: start several instances instead\n");
	args->forks = n;
	args->interactive = false;
	return true;
}

/** One option. @return ARGS_RUN to go on */
static enum args_result parse_option(struct args *args, int opt, const char *argv0)
{
	bool is_good = true;
	switch (opt) {
	case 'a':
		is_good = array_push(args->addrs, optarg) >= 0;
		break;
	case 't':
		is_good = array_push(args->addrs_tls, optarg) >= 0;
		break;
	case 'S':
		is_good = parse_fd(args, optarg);
		break;
	case 'c':
		is_good = array_push(args->config, optarg) >= 0;
		break;
	case 'f':
		is_good = parse_forks(args, optarg);
		break;
	case 'n':
		args->interactive = false;
		break;
	case 'q':
		args->quiet = true;
		break;
	case 'v':
		kr_log_level_set(LOG_DEBUG);
		break;
	case OPT_CHECK:
		args->check = true;
		args->interactive = false;
		break;
	case OPT_ALLOW_ROOT:
		args->allow_root = true;
		break;
	case 'V':
		printf("Knot Resolver, version %s\n", PACKAGE_VERSION);
		return ARGS_EXIT_OK;
	case 'h':
		print_help(stdout, argv0);
		return ARGS_EXIT_OK;
	default:
		print_help(stderr, argv0);
		return ARGS_EXIT_ERROR;
	}
	return is_good ? ARGS_RUN : ARGS_EXIT_ERROR;
}

static bool take_files(struct args *args, int count, char **files)
{
	for (int i = 0; i < count; ++i)
		if (array_push(args->config, files[i]) < 0)
			return false;
	return true;
}

enum args_result args_parse(int argc, char **argv, struct args *args)
{
	static const struct option options[] = {
		{"addr", required_argument, NULL, 'a'},
		{"tls", required_argument, NULL, 't'},
		{"fd", required_argument, NULL, 'S'},
		{"config", required_argument, NULL, 'c'},
		{"forks", required_argument, NULL, 'f'},
		{"noninteractive", no_argument, NULL, 'n'},
		{"quiet", no_argument, NULL, 'q'},
		{"verbose", no_argument, NULL, 'v'},
		{"check", no_argument, NULL, OPT_CHECK},
		{"allow-root", no_argument, NULL, OPT_ALLOW_ROOT},
		{"version", no_argument, NULL, 'V'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	*args = (struct args){.control_fd = -1, .forks = 1, .interactive = true};
	int opt;
	while ((opt = getopt_long(argc, argv, "a:t:S:c:f:nqvVh", options, NULL)) != -1) {
		enum args_result ret = parse_option(args, opt, argv[0]);
		if (ret != ARGS_RUN)
			return ret;
	}
	if (args->check)
		return take_files(args, argc - optind, argv + optind) ? ARGS_RUN : ARGS_EXIT_ERROR;
	if (optind < argc)
		args->rundir = argv[optind];
	return ARGS_RUN;
}

void args_deinit(struct args *args)
{
	array_clear(args->addrs);
	array_clear(args->addrs_tls);
	array_clear(args->fds);
	array_clear(args->config);
}

static int bind_socket(const struct sockaddr *sa, int type)
{
	int fd = socket(sa->sa_family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return kr_error(errno);
	const int on = 1;
	int ret = setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
#if defined(SO_REUSEPORT_LB)
	if (!ret)
		ret = setsockopt(fd, SOL_SOCKET, SO_REUSEPORT_LB, &on, sizeof(on));
#elif defined(SO_REUSEPORT)
	if (!ret)
		ret = setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
#endif
	if (!ret && sa->sa_family == AF_INET6)
		ret = setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	if (!ret)
		ret = bind(fd, sa, kr_sockaddr_len(sa));
	if (!ret)
		return fd;
	ret = kr_error(errno);
	close(fd);
	return ret;
}

static int bind_one(
	struct args *args, const struct sockaddr *sa, int type, bool tls, const char *text)
{
	int fd = bind_socket(sa, type);
	if (fd < 0) {
		kr_log_error(
			NETWORK, "bind to '%s'%s: %s\n", text, tls ? " (TLS)" : "", strerror(-fd));
		return fd;
	}
	flagged_fd_t entry = {.fd = fd, .addr = text, .flags = {.sock_type = type, .tls = tls}};
	if (array_push(args->fds, entry) < 0) {
		close(fd);
		return kr_error(ENOMEM);
	}
	return kr_ok();
}

static int bind_address(struct args *args, const char *text, bool tls)
{
	char addr[KR_ADDR_TEXT_LEN];
	uint16_t port = tls ? KR_DNS_TLS_PORT : KR_DNS_PORT;
	int family = kr_straddr_family(text);
	struct sockaddr *sa = NULL;
	if ((family == AF_INET || family == AF_INET6) && kr_straddr_split(text, addr, &port) == 0)
		sa = kr_straddr_socket(addr, port, NULL);
	if (!sa) {
		kr_log_error(NETWORK, "bind to '%s'%s: not an address ADDR[@PORT]\n", text,
			tls ? " (TLS)" : "");
		return kr_error(EINVAL);
	}
	int ret = tls ? kr_ok() : bind_one(args, sa, SOCK_DGRAM, tls, text);
	if (!ret)
		ret = bind_one(args, sa, SOCK_STREAM, tls, text);
	free(sa);
	return ret;
}

int args_bind(struct args *args)
{
	int result = kr_ok();
	for (size_t i = 0; i < args->addrs.len; ++i)
		if (bind_address(args, args->addrs.at[i], false) != 0)
			result = kr_error(EINVAL);
	for (size_t i = 0; i < args->addrs_tls.len; ++i)
		if (bind_address(args, args->addrs_tls.at[i], true) != 0)
			result = kr_error(EINVAL);
	return result;
}
