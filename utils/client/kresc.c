/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Control client: a line editor over the binary mode of a control socket. Lines come from the
 * terminal with editing, history and completion, or from a pipe one by one.
 */
#include <arpa/inet.h>
#include <ctype.h>
#include <editline/readline.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define PROMPT "kresc> "
#define HISTORY_LINES 800
/** A longer answer is taken for a broken connection. */
#define ANSWER_MAX (64u * 1024 * 1024)

static int control_fd = -1;

static _Noreturn void die(const char *what, const char *why)
{
	fprintf(stderr, "kresc: %s: %s\n", what, why);
	exit(EXIT_FAILURE);
}

/* ---- Connection ---- */

static void send_all(const char *data, size_t len)
{
	while (len > 0) {
		ssize_t n = send(control_fd, data, len, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			die("connection lost", strerror(errno));
		data += n;
		len -= n;
	}
}

static void receive_all(void *dst, size_t len)
{
	char *at = dst;
	while (len > 0) {
		ssize_t n = recv(control_fd, at, len, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			die("connection lost", n == 0 ? "closed by the server" : strerror(errno));
		at += n;
		len -= n;
	}
}

/** Read an answer whose first two bytes may have come already. @return malloc()ed text */
static char *receive_answer(const char head[2])
{
	uint32_t len_be;
	char *len_at = (char *)&len_be;
	if (head)
		memcpy(len_at, head, 2);
	receive_all(len_at + (head ? 2 : 0), head ? 2 : 4);
	const uint32_t len = ntohl(len_be);
	char *text = len <= ANSWER_MAX ? malloc((size_t)len + 1) : NULL;
	if (!text)
		die("bad answer", "too long");
	receive_all(text, len);
	text[len] = '\0';
	return text;
}

/** Run a command. @return malloc()ed text, empty if there was no result */
static char *run_command(const char *line)
{
	send_all(line, strlen(line));
	send_all("\n", 1);
	return receive_answer(NULL);
}

static void connect_to(const char *path)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof(addr.sun_path))
		die(path, "the path is too long");
	strcpy(addr.sun_path, path);
	control_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (control_fd < 0 || connect(control_fd, (struct sockaddr *)&addr, sizeof(addr)) != 0)
		die(path, strerror(errno));
	/* A quiet server sends no greeting; the answer to a first command tells which one it is. */
	send_all("__binary\n1\n", 11);
	char head[2];
	receive_all(head, sizeof(head));
	free(receive_answer(memcmp(head, "> ", 2) == 0 ? NULL : head));
}

/* ---- Completion ---- */

static bool is_name_char(char c)
{
	return isalnum((unsigned char)c) || c == '_' || c == '.' || c == ':';
}

/** Candidates separated by line breaks: globals, or members of the table before the last dot. */
static char *fetch_candidates(const char *word, size_t table_len)
{
	if (table_len == 0)
		return run_command("return _G.__orig_name_list");
	char line[1024];
	int len = snprintf(line, sizeof(line),
		"return (function () local t, n = %.*s, {} if type(t) == 'table' then "
		"for k in pairs(t) do if type(k) == 'string' then n[#n + 1] = k end end end "
		"return table.concat(n, '\\n') end)()",
		(int)table_len, word);
	if (len < 0 || (size_t)len >= sizeof(line))
		return NULL;
	return run_command(line);
}

/** Next match, or NULL; state 0 begins anew. */
static char *next_match(const char *word, int state)
{
	static char *list, *at;
	static size_t prefix_len;
	if (state == 0) {
		const char *dot = strrchr(word, '.');
		const char *colon = strrchr(word, ':');
		const char *sep = dot > colon ? dot : colon;
		free(list);
		prefix_len = sep ? (size_t)(sep - word) + 1 : 0;
		for (const char *c = word; *c; ++c)
			if (!is_name_char(*c))
				prefix_len = strlen(word) + 1; /* nothing we could complete */
		list = prefix_len <= strlen(word)
			       ? fetch_candidates(word, prefix_len ? prefix_len - 1 : 0)
			       : NULL;
		at = list;
	}
	const char *wanted = list ? word + prefix_len : "";
	while (at && *at) {
		char *name = at;
		const size_t len = strcspn(at, "\n");
		at += len + (at[len] == '\n');
		if (strncmp(name, wanted, strlen(wanted)) != 0)
			continue;
		char *match = malloc(prefix_len + len + 1);
		if (!match)
			return NULL;
		memcpy(match, word, prefix_len);
		memcpy(match + prefix_len, name, len);
		match[prefix_len + len] = '\0';
		return match;
	}
	return NULL;
}

static char **complete(const char *word, int start, int end)
{
	rl_attempted_completion_over = 1; /* no file names */
	rl_completion_append_character = '\0';
	if (rl_line_buffer[strspn(rl_line_buffer, " \t")] == '\0') {
		char *text = run_command("return help()");
		printf("\n%s", text);
		free(text);
		rl_forced_update_display();
		return NULL;
	}
	return rl_completion_matches(word, next_match);
}

/* ---- History ---- */

static bool make_folders(char *path)
{
	for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		int ret = mkdir(path, 0700);
		*slash = '/';
		if (ret != 0 && errno != EEXIST)
			return false;
	}
	return true;
}

/** Path of the history file; its folder is made. @return false if there is no place for it */
static bool history_path(char *path, size_t room)
{
	const char *data = getenv("XDG_DATA_HOME");
	const char *home = getenv("HOME");
	int len = -1;
	if (data && data[0] == '/')
		len = snprintf(path, room, "%s/knot-resolver/kresc_history", data);
	else if (home && home[0])
		len = snprintf(path, room, "%s/.local/share/knot-resolver/kresc_history", home);
	return len > 0 && (size_t)len < room && make_folders(path);
}

/* ---- Lines ---- */

static void run_line(const char *line)
{
	if (line[strspn(line, " \t\r")] == '\0')
		return;
	char *text = run_command(line);
	if (text[0])
		puts(text);
	free(text);
	fflush(stdout);
}

static void run_terminal(void)
{
	char path[4096];
	const bool has_history = history_path(path, sizeof(path));
	rl_initialize();
	using_history();
	stifle_history(HISTORY_LINES);
	if (has_history)
		read_history(path);
	rl_attempted_completion_function = complete;
	rl_basic_word_break_characters = " \t\n\"\\'`@$><=;|&{(,+-*/%^#~[]";
	for (char *line; (line = readline(PROMPT)) != NULL; free(line)) {
		if (!line[0])
			continue;
		add_history(line);
		if (has_history)
			write_history(path);
		run_line(line);
	}
	putchar('\n');
}

static void run_pipe(void)
{
	char *line = NULL;
	size_t room = 0;
	for (ssize_t len; (len = getline(&line, &room, stdin)) >= 0;) {
		if (len > 0 && line[len - 1] == '\n')
			line[len - 1] = '\0';
		run_line(line);
	}
	free(line);
}

int main(int argc, char **argv)
{
	fputs("Warning: kresc is experimental, its behaviour may change.\n"
	      "Tell us what you miss.\n",
		stderr);
	if (argc != 2) {
		fprintf(stderr, "Usage: %s SOCKET_PATH\n", argv[0]);
		return EXIT_FAILURE;
	}
	connect_to(argv[1]);
	if (isatty(STDIN_FILENO))
		run_terminal();
	else
		run_pipe();
	close(control_fd);
	return EXIT_SUCCESS;
}
