/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Lists of one line an entry: hosts files, plain names, host rules of ad blockers. */

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "lib/addr.h"
#include "lib/rules/list_impl.h"

/** Longest line that is looked at. */
#define LINE_MAX_BYTES 65536

/** A text file, line by line. */
struct reader {
	FILE *file;
	char line[LINE_MAX_BYTES];
	uint64_t number;
	bool is_long; /**< the line is longer than the buffer: it has been skipped */
	bool is_odd;  /**< it has bytes that text has not */
};

/** @return false at the end */
static bool next_line(struct reader *reader)
{
	size_t len = 0;
	int c;
	reader->is_long = reader->is_odd = false;
	while ((c = getc_unlocked(reader->file)) != EOF && c != '\n') {
		if (len + 1 < sizeof(reader->line))
			reader->line[len++] = c;
		else
			reader->is_long = true;
		reader->is_odd |= c == '\0';
	}
	reader->line[len] = '\0';
	reader->number += 1;
	return c != EOF || len > 0;
}

/** Cut off what is around a text. */
static char *trim(char *text)
{
	while (isspace((unsigned char)*text))
		++text;
	size_t len = strlen(text);
	while (len > 0 && isspace((unsigned char)text[len - 1]))
		text[--len] = '\0';
	return text;
}

/** A host name; letters, digits, `-` and `_`. */
static bool read_name(const char *text, knot_dname_storage_t name)
{
	for (const char *at = text; *at; ++at) {
		if (!isalnum((unsigned char)*at) && !strchr("-_.", *at) && !(*at & 0x80))
			return false;
	}
	return *text && strcmp(text, ".") != 0 &&
	       knot_dname_from_str(name, text, sizeof(knot_dname_storage_t)) != NULL;
}

static void add(struct builder *b, const struct reader *reader, const char *text, uint8_t item)
{
	knot_dname_storage_t name;
	if (read_name(text, name))
		builder_add_name(b, KR_TRIGGER_QNAME, name, item, NULL, 0);
	else
		builder_skip(b, reader->number, "'%.100s' is not a name", text);
}

/** Names that hosts files of all systems have for the system itself. */
static bool is_own_name(const char *text)
{
	static const char *const names[] = {"localhost", "localhost.localdomain", "local",
		"broadcasthost", "ip6-localhost", "ip6-loopback", "ip6-localnet", "ip6-mcastprefix",
		"ip6-allnodes", "ip6-allrouters", "ip6-allhosts", "0.0.0.0"};
	for (size_t i = 0; i < KR_COUNT_OF(names); ++i) {
		if (strcasecmp(text, names[i]) == 0)
			return true;
	}
	return false;
}

static bool is_address(const char *text)
{
	char addr[KR_STRADDR_MAXLEN];
	const char *scope = strchr(text, '%');
	const size_t len = scope ? (size_t)(scope - text) : strlen(text);
	if (len >= sizeof(addr))
		return false;
	memcpy(addr, text, len);
	addr[len] = '\0';
	const int family = kr_straddr_family(addr);
	return !strchr(addr, '/') && (family == AF_INET || family == AF_INET6) &&
	       kr_straddr_subnet(NULL, addr) >= 0;
}

static void read_hosts(struct builder *b, struct reader *reader)
{
	char *save = NULL;
	reader->line[strcspn(reader->line, "#")] = '\0';
	char *word = strtok_r(reader->line, " \t\r\f\v", &save);
	if (!word)
		return;
	if (!is_address(word)) {
		builder_skip(b, reader->number, "'%.100s' is not an address", word);
		return;
	}
	while ((word = strtok_r(NULL, " \t\r\f\v", &save))) {
		if (!is_own_name(word))
			add(b, reader, word, ITEM_ITSELF | KR_VERDICT_LISTED);
	}
}

static void read_domain(struct builder *b, struct reader *reader)
{
	reader->line[strcspn(reader->line, "#;")] = '\0';
	const char *text = trim(reader->line);
	if (!*text)
		return;
	if (strncmp(text, "*.", 2) == 0)
		add(b, reader, text + 2, ITEM_BELOW | KR_VERDICT_LISTED);
	else
		add(b, reader, text + (*text == '.'), ITEM_ITSELF | ITEM_BELOW | KR_VERDICT_LISTED);
}

static void read_adblock(struct builder *b, struct reader *reader)
{
	char *text = trim(reader->line);
	if (!*text || *text == '!' || *text == '#' || *text == '[')
		return;
	const bool is_exception = strncmp(text, "@@", 2) == 0;
	char *name = text + (is_exception ? 2 : 0);
	char *end = strchr(name, '^');
	if (strncmp(name, "||", 2) != 0 || !end ||
		(end[1] && strcmp(end + 1, "$important") != 0 && strcmp(end + 1, "|") != 0)) {
		builder_skip(b, reader->number, "'%.100s' is not a rule about a whole host", text);
		return;
	}
	*end = '\0';
	name += 2;
	const bool only_below = strncmp(name, "*.", 2) == 0;
	add(b, reader, name + (only_below ? 2 : 0),
		(only_below ? ITEM_BELOW : ITEM_ITSELF | ITEM_BELOW) |
			(is_exception ? KR_VERDICT_PASS : KR_VERDICT_LISTED));
}

int list_parse(struct builder *b, enum kr_list_format format)
{
	void (*read_line)(struct builder *, struct reader *) = NULL;
	if (format == KR_LIST_RPZ)
		return list_parse_rpz(b);
	if (format == KR_LIST_HOSTS)
		read_line = read_hosts;
	else if (format == KR_LIST_DOMAINS)
		read_line = read_domain;
	else if (format == KR_LIST_ADBLOCK)
		read_line = read_adblock;
	struct reader *reader = calloc(1, sizeof(*reader));
	if (!reader || !read_line) {
		free(reader);
		snprintf(b->error, KR_LIST_ERROR_MAX, "unknown format or out of memory");
		return kr_error(EINVAL);
	}
	reader->file = fopen(b->path, "re");
	if (!reader->file) {
		const int code = errno;
		snprintf(b->error, KR_LIST_ERROR_MAX, "%s", strerror(code));
		free(reader);
		return kr_error(code);
	}
	while (next_line(reader)) {
		if (reader->is_long)
			builder_skip(b, reader->number, "the line is too long");
		else if (reader->is_odd)
			builder_skip(b, reader->number, "the line is not text");
		else
			read_line(b, reader);
	}
	const bool has_failed = ferror(reader->file);
	(void)fclose(reader->file);
	free(reader);
	if (!has_failed)
		return kr_ok();
	snprintf(b->error, KR_LIST_ERROR_MAX, "cannot be read");
	return kr_error(EIO);
}
