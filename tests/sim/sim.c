/* SPDX-License-Identifier: GPL-3.0-or-later */

#include <dirent.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <libknot/packet/wire.h>

#include "lib/log.h"
#include "tests/sim/house.h"
#include "tests/sim/rpl.h"
#include "tests/sim/simnet.h"

#define ANSWER_TIMEOUT_MS 30000 /**< virtual; a request ends within 8 s */
#define ASK_AGAIN_MAX 2         /**< how often a client repeats what got no answer in time */
#define SCENARIO_SECONDS 60     /**< real time after which one counts as hung */
#define TRACE_INDENT "        "

/** What the command line says. */
struct options {
	uint64_t seed;
	int minimize; /**< 1 on, 0 off, -1 as the scenario says */
	struct sim_faults faults;
	bool trace;
	bool debug;
	bool in_process;
	bool survive; /**< answers do not matter, invariants do */
	bool use_l0;
	const char *extra;
};

/** One run of one scenario. */
struct run {
	struct rpl_scenario *sc;
	const struct options *options;
	struct simnet net;
	struct worker_ctx *worker;
	struct worker_client client;

	long step;
	uint8_t query[KR_DNS_WIRE_MAX];
	size_t query_len;
	bool is_stream;
	uint8_t answer[KR_DNS_WIRE_MAX];
	size_t answer_len;
	bool is_over; /**< answered or dropped */
	int told;     /**< how often the client heard of its query */
	struct rpl_error failure;
};

KR_PRINTF(2, 3)
static void run_failed(struct run *run, const char *fmt, ...)
{
	if (run->failure.text[0])
		return;
	va_list args;
	va_start(args, fmt);
	vsnprintf(run->failure.text, sizeof(run->failure.text), fmt, args);
	va_end(args);
}

/** The scenario did not go as it should: of no interest when things are made to go wrong. */
#define scenario_failed(run, ...)                                                                  \
	do {                                                                                       \
		if (!(run)->options->survive)                                                      \
			run_failed((run), __VA_ARGS__);                                            \
	} while (0)

static void trace_message(const struct run *run, const char *what, const struct sockaddr *addr,
	const char *how, struct bytes msg)
{
	if (!run->options->trace)
		return;
	printf("    [%ld] %6.3f s  %s %s %s\n", run->step, run->net.now_ms / 1000.0, what,
		addr ? kr_straddr(addr) : "", how);
	rpl_print(msg, TRACE_INDENT);
}

/* ---- servers ---- */

static bool range_serves(const struct rpl_range *range, const union kr_sockaddr *addr)
{
	for (size_t i = 0; i < range->addrs.len; ++i) {
		if (kr_sockaddr_cmp(&range->addrs.at[i].ip, &addr->ip) == 0)
			return true;
	}
	return range->addrs.len == 0;
}

static unsigned match_of(const struct rpl_entry *entry)
{
	return entry->has_match ? entry->match : RPL_OPCODE | RPL_QTYPE | RPL_QNAME;
}

static struct rpl_entry *find_in_ranges(struct run *run, const union kr_sockaddr *server,
	const knot_pkt_t *pkt, struct rpl_way way, bool *is_served)
{
	for (size_t i = 0; i < run->sc->ranges.len; ++i) {
		struct rpl_range *range = &run->sc->ranges.at[i];
		if (run->step < range->first || run->step > range->last ||
			!range_serves(range, server))
			continue;
		*is_served = true;
		for (size_t j = 0; j < range->entries.len; ++j) {
			struct rpl_entry *entry = &range->entries.at[j];
			if (rpl_matches(entry, match_of(entry), pkt, way, NULL))
				return entry;
		}
	}
	return NULL;
}

/** The next one-shot answer that fits. */
static struct rpl_entry *find_one_shot(struct run *run, const knot_pkt_t *pkt, struct rpl_way way)
{
	for (size_t i = 0; i < run->sc->steps.len; ++i) {
		struct rpl_step *step = &run->sc->steps.at[i];
		if (step->type != RPL_STEP_REPLY || step->id < run->step || step->is_used ||
			!rpl_matches(&step->entry, match_of(&step->entry), pkt, way, NULL))
			continue;
		step->is_used = true;
		return &step->entry;
	}
	return NULL;
}

static void describe_question(const knot_pkt_t *pkt, char *buf, size_t size)
{
	char name[KNOT_DNAME_TXT_MAXLEN + 1] = "?", type[16] = "?";
	if (pkt->qname_size > 0) {
		knot_dname_to_str(name, pkt->wire + KNOT_WIRE_HEADER_SIZE, sizeof(name));
		knot_rrtype_to_string(knot_pkt_qtype(pkt), type, sizeof(type));
	}
	snprintf(buf, size, "%s %s", name, type);
}

static struct rpl_entry *find_entry(
	struct run *run, const struct sim_arrival *arrival, const knot_pkt_t *pkt)
{
	const struct rpl_way way = {.is_stream = arrival->is_stream};
	bool is_served = false;
	struct rpl_entry *entry = NULL;
	if (kr_inaddr_port(&arrival->server->ip) == KR_DNS_PORT)
		entry = find_in_ranges(run, arrival->server, pkt, way, &is_served);
	if (!entry)
		entry = find_one_shot(run, pkt, way);
	if (!entry) {
		char question[KNOT_DNAME_TXT_MAXLEN + 32];
		describe_question(pkt, question, sizeof(question));
		scenario_failed(run, "step %ld: nobody answered the upstream query %s at %s (%s)",
			run->step, question, kr_straddr(&arrival->server->ip),
			is_served ? "no entry matches" : "no range has this address");
	}
	return entry;
}

static enum sim_reaction serve(void *owner, struct sim_arrival *arrival)
{
	struct run *run = owner;
	const char *how = arrival->is_stream ? "(stream)" : "";
	trace_message(run, "->", &arrival->server->ip, how, arrival->query);
	knot_pkt_t *pkt = knot_pkt_new((void *)arrival->query.at, arrival->query.len, NULL);
	if (!pkt || knot_pkt_parse(pkt, KNOT_PF_KEEPWIRE) != 0) {
		run_failed(run, "step %ld: malformed upstream query", run->step);
		knot_pkt_free(pkt);
		return SIM_SILENCE;
	}
	struct rpl_entry *entry = find_entry(run, arrival, pkt);
	knot_pkt_free(pkt);
	if (entry)
		entry->was_used = true;
	if (!entry || (entry->adjust & RPL_DO_NOT_ANSWER))
		return SIM_SILENCE;
	arrival->reply_len = rpl_write(entry, arrival->query, arrival->reply);
	trace_message(run, "<-", &arrival->server->ip, how,
		(struct bytes){arrival->reply, arrival->reply_len});
	return SIM_REPLY;
}

static bool accepts(void *owner, const union kr_sockaddr *server)
{
	return kr_inaddr_port(&server->ip) == KR_DNS_PORT;
}

/* ---- the client ---- */

static void take_answer(struct worker_client *client, const struct worker_query *query,
	struct bytes wire, const struct kr_request *req)
{
	struct run *run = (struct run *)((char *)client - offsetof(struct run, client));
	run->is_over = true;
	run->told += 1;
	run->answer_len = wire.at ? wire.len : 0;
	if (wire.at)
		memcpy(run->answer, wire.at, wire.len);
}

static bool is_over(void *owner)
{
	return ((struct run *)owner)->is_over;
}

static void submit(struct run *run)
{
	const char *stub = rpl_option(run->sc, "stub-addr", 0);
	const bool is_v6 = stub && strchr(stub, ':');
	union kr_sockaddr client = {0}, server = {0};
	if (is_v6) {
		client.ip6 = (struct sockaddr_in6){.sin6_family = AF_INET6,
			.sin6_port = htons(40000),
			.sin6_addr = IN6ADDR_LOOPBACK_INIT};
		server.ip6 = client.ip6;
		server.ip6.sin6_port = htons(KR_DNS_PORT);
	} else {
		client.ip4 = (struct sockaddr_in){.sin_family = AF_INET,
			.sin_port = htons(40000),
			.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
		server.ip4 = client.ip4;
		server.ip4.sin_port = htons(KR_DNS_PORT);
	}
	const struct worker_query query = {
		.wire = {run->query, run->query_len},
		.addr = &client.ip,
		.dst_addr = &server.ip,
		.flags.tcp = run->is_stream,
		.comm_flags.tcp = run->is_stream,
		.stream_id = -1,
	};
	run->is_over = false;
	run->told = 0;
	run->answer_len = 0;
	const int ret = worker_submit(run->worker, &run->client, &query);
	worker_loop_end(run->worker);
	if (ret == kr_error(EBADMSG) || ret == kr_error(EAGAIN))
		run->is_over = true;
}

/** What holds whatever happens: one answer, in time, for a bounded number of packets. */
static void check_limits(
	struct run *run, const struct rpl_step *step, uint64_t asked_ms, uint64_t sent)
{
	const uint64_t took_ms = run->net.now_ms - asked_ms;
	if (run->told > 1)
		run_failed(run, "step %ld (line %d): %d answers", step->id, step->line, run->told);
	if (took_ms > KR_REQUEST_TIME_MS)
		run_failed(run, "step %ld (line %d): took %u ms", step->id, step->line,
			(unsigned)took_ms);
	if (run->net.sent - sent > KR_BUDGET_PACKETS_MAX)
		run_failed(run, "step %ld (line %d): %u packets", step->id, step->line,
			(unsigned)(run->net.sent - sent));
}

static void play_query(struct run *run, const struct rpl_step *step)
{
	run->query_len = rpl_write(&step->entry, (struct bytes){NULL, 0}, run->query);
	run->is_stream = step->entry.match & RPL_TCP;
	if (!step->entry.raw)
		knot_wire_set_id(run->query, simnet_random(&run->net, UINT16_MAX));
	trace_message(run, "client asks", NULL, "", (struct bytes){run->query, run->query_len});
	for (int i = 0; i <= ASK_AGAIN_MAX; ++i) {
		const uint64_t asked_ms = run->net.now_ms;
		const uint64_t sent = run->net.sent;
		submit(run);
		if (!simnet_run(&run->net, asked_ms + ANSWER_TIMEOUT_MS, is_over, run)) {
			run_failed(run, "step %ld (line %d): the request does not end", step->id,
				step->line);
			return;
		}
		check_limits(run, step, asked_ms, sent);
		if (run->answer_len > 0 || run->net.now_ms == asked_ms)
			break;
	}
	if (run->answer_len > 0)
		trace_message(
			run, "client gets", NULL, "", (struct bytes){run->answer, run->answer_len});
	else if (run->options->trace)
		printf("    [%ld] client gets nothing\n", run->step);
}

static void play_check(struct run *run, const struct rpl_step *step)
{
	struct rpl_error why = {""};
	if (run->answer_len == 0) {
		scenario_failed(run, "step %ld (line %d): there is no answer to check", step->id,
			step->line);
		return;
	}
	knot_pkt_t *pkt = knot_pkt_new(run->answer, run->answer_len, NULL);
	if (!pkt || knot_pkt_parse(pkt, KNOT_PF_KEEPWIRE) != 0 || pkt->parsed != pkt->size)
		run_failed(
			run, "step %ld (line %d): the answer is malformed", step->id, step->line);
	else if (knot_wire_get_id(pkt->wire) != knot_wire_get_id(run->query))
		run_failed(run, "step %ld (line %d): wrong id in the answer", step->id, step->line);
	else if (!rpl_matches(&step->entry, match_of(&step->entry), pkt,
			 (struct rpl_way){run->is_stream}, &why))
		scenario_failed(run, "step %ld (line %d): %s", step->id, step->line, why.text);
	knot_pkt_free(pkt);
}

/* ---- a scenario ---- */

static void play_step(struct run *run, const struct rpl_step *step)
{
	switch (step->type) {
	case RPL_STEP_QUERY:
		run->step = step->id;
		play_query(run, step);
		break;
	case RPL_STEP_CHECK_ANSWER:
		run->step = step->id;
		play_check(run, step);
		break;
	case RPL_STEP_TIME_PASSES:
		run->step = step->id;
		simnet_pass(&run->net, step->elapse_s * 1000);
		break;
	case RPL_STEP_CLOCK_JUMPS:
		run->step = step->id;
		simnet_set_clock(&run->net, step->elapse_s);
		break;
	case RPL_STEP_REPLY: /* waits for a query that no range answers */
		break;
	}
}

static void turn_end(void *owner)
{
	struct run *run = owner;
	if (run->worker)
		worker_loop_end(run->worker);
}

static bool is_quiet(void *owner)
{
	return ((struct run *)owner)->worker->stats.concurrent == 0;
}

static void check_mandatory(struct run *run)
{
	for (size_t i = 0; i < run->sc->ranges.len; ++i) {
		const struct rpl_range *range = &run->sc->ranges.at[i];
		for (size_t j = 0; j < range->entries.len; ++j) {
			const struct rpl_entry *entry = &range->entries.at[j];
			if (entry->is_mandatory && !entry->was_used)
				scenario_failed(run,
					"end: the mandatory entry of line %d was not used",
					entry->line);
		}
	}
}

/** The resolver has to come to rest and to give everything back. */
static void check_end(struct run *run, struct house *house)
{
	if (!simnet_run(&run->net, run->net.now_ms + ANSWER_TIMEOUT_MS, is_quiet, run))
		run_failed(run, "end: a request does not end");
	worker_client_gone(run->worker, &run->client);
	run->worker = NULL;
	house_close(house);
	if (run->net.open > 0)
		run_failed(run, "end: %d sockets are left open", (int)run->net.open);
	if (run->net.timers > 0)
		run_failed(run, "end: %d timers are left running", (int)run->net.timers);
}

static int64_t start_time(const struct rpl_scenario *sc)
{
	const char *date = rpl_option(sc, "val-override-date", 0);
	const char *stamp = rpl_option(sc, "val-override-timestamp", 0);
	struct tm tm = {0};
	if (stamp)
		return atoll(stamp);
	if (date && strptime(date, "%Y%m%d%H%M%S", &tm))
		return timegm(&tm);
	return time(NULL);
}

static void play(struct run *run, const char *cache_dir, bool minimize)
{
	simnet_init(&run->net, run->options->seed, start_time(run->sc));
	run->net.server = serve;
	run->net.accepts = accepts;
	run->net.owner = run;
	run->net.turn_end = turn_end;
	const unsigned delay_ms = run->net.faults.delay_ms;
	run->net.faults = run->options->faults;
	if (run->net.faults.delay_ms == 0)
		run->net.faults.delay_ms = delay_ms;
	run->client.answer = take_answer;
	const struct house_params params = {
		.scenario = run->sc,
		.net = &run->net,
		.cache_dir = cache_dir,
		.minimize = minimize,
		.use_l0 = run->options->use_l0,
		.extra = run->options->extra,
	};
	struct house *house = house_open(&params, &run->failure);
	if (house) {
		run->worker = house_worker(house);
		for (size_t i = 0; i < run->sc->steps.len && !run->failure.text[0]; ++i)
			play_step(run, &run->sc->steps.at[i]);
		check_end(run, house);
		check_mandatory(run);
	}
	simnet_deinit(&run->net);
}

static void remove_dir(const char *path)
{
	DIR *dir = opendir(path);
	for (struct dirent *item; dir && (item = readdir(dir));)
		unlinkat(dirfd(dir), item->d_name, 0);
	if (dir)
		closedir(dir);
	rmdir(path);
}

/** @return 0 if it passed */
static int play_file(const char *path, const struct options *options, bool minimize)
{
	char cache_dir[] = "/tmp/kres-sim-XXXXXX";
	struct rpl_scenario sc;
	struct run *run = calloc(1, sizeof(*run));
	if (!run || !mkdtemp(cache_dir)) {
		free(run);
		return 1;
	}
	run->sc = &sc;
	run->options = options;
	if (options->debug)
		kr_log_level_set(LOG_DEBUG);
	if (rpl_read(&sc, path, &run->failure) == 0)
		play(run, cache_dir, minimize);
	rpl_free(&sc);
	remove_dir(cache_dir);
	const bool is_failed = run->failure.text[0];
	printf("%s %s (minimize %s)%s%s\n", is_failed ? "FAIL" : "ok  ", path,
		minimize ? "on" : "off", is_failed ? ": " : "", run->failure.text);
	fflush(stdout);
	free(run);
	return is_failed;
}

/** Each scenario has a process of its own: a crash is one failure. */
static int play_apart(const char *path, const struct options *options, bool minimize)
{
	if (options->in_process)
		return play_file(path, options, minimize);
	fflush(stdout);
	const pid_t pid = fork();
	if (pid == 0) {
		alarm(SCENARIO_SECONDS);
		_exit(play_file(path, options, minimize));
	}
	int status = 1;
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		return 1;
	if (!WIFEXITED(status)) {
		printf("FAIL %s (minimize %s): died of signal %d (%s)\n", path,
			minimize ? "on" : "off", WTERMSIG(status), strsignal(WTERMSIG(status)));
		return 1;
	}
	return WEXITSTATUS(status) != 0;
}

/** Which of the two ways does a scenario want to be run? */
static bool wants(const char *path, const struct options *options, bool minimize)
{
	if (options->minimize >= 0)
		return minimize == (options->minimize == 1);
	struct rpl_scenario sc;
	struct rpl_error error;
	const int ret = rpl_read(&sc, path, &error);
	const char *value = ret == 0 ? rpl_option(&sc, "query-minimization", 0) : "off";
	const bool wanted = !value || rpl_is_on(value, false) == minimize;
	rpl_free(&sc);
	return wanted;
}

static void usage(void)
{
	printf("usage: sim [options] scenario.rpl...\n"
	       "  --seed N             seed of the run\n"
	       "  --minimize on|off|both|scenario   QNAME minimisation (default: as the scenario "
	       "says)\n"
	       "  --loss P --duplicate P --garbage P   percent of datagrams\n"
	       "  --delay MS --reorder one-way delay, constant or varying\n"
	       "  --survive            check only what holds whatever goes wrong\n"
	       "  --l0                 with the answer cache\n"
	       "  --lua CODE           appended to the configuration\n"
	       "  --in-process         no process of its own for each scenario\n"
	       "  --debug              debug log\n"
	       "  -v                   print each message\n");
}

enum long_option {
	OPT_SEED = 256,
	OPT_MINIMIZE,
	OPT_LOSS,
	OPT_DUPLICATE,
	OPT_GARBAGE,
	OPT_DELAY,
	OPT_REORDER,
	OPT_SURVIVE,
	OPT_L0,
	OPT_LUA,
	OPT_IN_PROCESS,
	OPT_DEBUG,
	OPT_HELP,
};

static const struct option long_options[] = {
	{"seed", required_argument, NULL, OPT_SEED},
	{"minimize", required_argument, NULL, OPT_MINIMIZE},
	{"loss", required_argument, NULL, OPT_LOSS},
	{"duplicate", required_argument, NULL, OPT_DUPLICATE},
	{"garbage", required_argument, NULL, OPT_GARBAGE},
	{"delay", required_argument, NULL, OPT_DELAY},
	{"reorder", no_argument, NULL, OPT_REORDER},
	{"survive", no_argument, NULL, OPT_SURVIVE},
	{"l0", no_argument, NULL, OPT_L0},
	{"lua", required_argument, NULL, OPT_LUA},
	{"in-process", no_argument, NULL, OPT_IN_PROCESS},
	{"debug", no_argument, NULL, OPT_DEBUG},
	{"help", no_argument, NULL, OPT_HELP},
	{0},
};

static int read_minimize(const char *text)
{
	if (strcmp(text, "scenario") == 0)
		return -1;
	return strcmp(text, "both") == 0 ? -2 : strcmp(text, "on") == 0;
}

static bool take_option(struct options *options, int opt)
{
	switch (opt) {
	case OPT_SEED:
		options->seed = strtoull(optarg, NULL, 0);
		return true;
	case OPT_MINIMIZE:
		options->minimize = read_minimize(optarg);
		return true;
	case OPT_LOSS:
		options->faults.loss = atoi(optarg);
		return true;
	case OPT_DUPLICATE:
		options->faults.duplicate = atoi(optarg);
		return true;
	case OPT_GARBAGE:
		options->faults.garbage = atoi(optarg);
		return true;
	case OPT_DELAY:
		options->faults.delay_ms = atoi(optarg);
		return true;
	case OPT_REORDER:
		options->faults.reorder = true;
		return true;
	case OPT_SURVIVE:
		options->survive = true;
		return true;
	case OPT_L0:
		options->use_l0 = true;
		return true;
	case OPT_LUA:
		options->extra = optarg;
		return true;
	case OPT_IN_PROCESS:
		options->in_process = true;
		return true;
	case OPT_DEBUG:
		options->debug = true;
		return true;
	case 'v':
		options->trace = true;
		return true;
	default:
		return false;
	}
}

int main(int argc, char **argv)
{
	struct options options = {.minimize = -1, .seed = 1};
	for (int opt; (opt = getopt_long(argc, argv, "v", long_options, NULL)) != -1;) {
		if (!take_option(&options, opt)) {
			usage();
			return opt == OPT_HELP ? 0 : 2;
		}
	}
	setlinebuf(stdout); /* in order with the log */
	int passed = 0, failed = 0;
	for (int i = optind; i < argc; ++i) {
		for (int minimize = 1; minimize >= 0; --minimize) {
			if (options.minimize != -2 && !wants(argv[i], &options, minimize))
				continue;
			if (play_apart(argv[i], &options, minimize) == 0)
				passed += 1;
			else
				failed += 1;
		}
	}
	printf("%d passed, %d failed\n", passed, failed);
	return failed > 0;
}
