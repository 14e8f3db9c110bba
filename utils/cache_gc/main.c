/* SPDX-License-Identifier: GPL-3.0-or-later */
/* kres-cache-gc: keeps the shared cache from getting full. See kres-cache-gc -h. */

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kresconfig.h"
#include "lib/log.h"
#include "utils/cache_gc/round.h"

/** Exit codes. */
enum { EXIT_HELP = 1, EXIT_NUMBER = 2, EXIT_STOPPED = 5, EXIT_FATAL = 10 };

/** Signals received; the second one stops at once. */
static volatile sig_atomic_t stop;

static void on_signal(int sig)
{
	stop += 1;
}

static void print_help(const char *name)
{
	printf("Usage: %s -c DIR [options]\n"
	       "  -c DIR  directory of the cache (where data.mdb is)\n"
	       "  -d N    pause between rounds, ms; 0 = one round (default 0)\n"
	       "  -u N    usage to act from, %% (default 80)\n"
	       "  -f N    how much to free in a round, %% of the contents (default 10)\n"
	       "  -l N    removals per write transaction, 0 = unlimited (default 100)\n"
	       "  -L N    reads per read transaction, 0 = unlimited (default 200)\n"
	       "  -m N    time limit of a write transaction, us, 0 = unlimited (default 0)\n"
	       "  -w N    pause between write transactions, us (default 0)\n"
	       "  -t N    memory for collected keys, MiB, 0 = unlimited (default 0)\n"
	       "  -n      dry run: print the usage only\n"
	       "  -v      verbose\n"
	       "  -h      this help\n",
		name);
}

/** A whole number from 0 to `max`; ends the process if it is none. */
static unsigned long number(char option, const char *text, unsigned long max)
{
	char *end;
	errno = 0;
	const long long value = strtoll(text, &end, 10);
	if (errno == 0 && end != text && *end == '\0' && value >= 0 &&
		(unsigned long long)value <= max)
		return value;
	fprintf(stderr, "Error: option -%c: '%s' is not a number from 0 to %lu\n", option, text,
		max);
	exit(EXIT_NUMBER);
}

static int read_options(int argc, char **argv, struct gc_config *config)
{
	int opt;
	while ((opt = getopt(argc, argv, "c:d:u:f:l:L:m:w:t:nvh")) != -1) {
		switch (opt) {
		case 'c':
			config->path = optarg;
			break;
		case 'd':
			config->interval_ms = number(opt, optarg, INT_MAX);
			break;
		case 'u':
			config->threshold = number(opt, optarg, 100);
			break;
		case 'f':
			config->free_percent = number(opt, optarg, 100);
			break;
		case 'l':
			config->write_records = number(opt, optarg, INT_MAX);
			break;
		case 'L':
			config->read_records = number(opt, optarg, INT_MAX);
			break;
		case 'm':
			config->write_us = number(opt, optarg, INT_MAX);
			break;
		case 'w':
			config->pause_us = number(opt, optarg, INT_MAX);
			break;
		case 't':
			config->keys_bytes = number(opt, optarg, SIZE_MAX >> 21) << 20;
			break;
		case 'n':
			config->is_dry = true;
			break;
		case 'v':
			config->is_verbose = true;
			break;
		default:
			print_help(argv[0]);
			return EXIT_HELP;
		}
	}
	if (config->path && optind == argc)
		return 0;
	print_help(argv[0]);
	return EXIT_HELP;
}

/** Rounds that may fail, or not: running out of space is fatal only twice in a row. */
static bool is_fatal(int ret, bool *had_no_space)
{
	const bool no_space = ret == kr_error(ENOSPC);
	const bool again = no_space && *had_no_space;
	*had_no_space = no_space;
	if (ret == 0 || ret == kr_error(EAGAIN) || ret == kr_error(EINTR))
		return false;
	fprintf(stderr, "Error: %s\n", strerror(-ret));
	return !no_space || again;
}

int main(int argc, char **argv)
{
	struct gc_config config = {
		.threshold = 80,
		.free_percent = 10,
		.write_records = 100,
		.read_records = 200,
		.stop = &stop,
	};
	setvbuf(stdout, NULL, _IONBF, 0);
	printf("Knot Resolver Cache Garbage Collector, version %s\n", PACKAGE_VERSION);
	int ret = read_options(argc, argv, &config);
	if (ret != 0)
		return ret;
	const struct sigaction action = {.sa_handler = on_signal};
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	kr_log_level_set(config.is_verbose ? LOG_DEBUG : LOG_NOTICE);
	bool had_no_space = false;
	do {
		ret = gc_round(&config);
		if (stop > 1)
			return EXIT_STOPPED;
		if (is_fatal(ret, &had_no_space))
			return EXIT_FATAL;
		if (config.interval_ms > 0 && !stop)
			usleep(config.interval_ms * 1000ull); /* a signal ends it */
	} while (config.interval_ms > 0 && !stop);
	return 0;
}
