/* SPDX-License-Identifier: GPL-3.0-or-later */

#include "tests/sim/rpl.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <libknot/codes.h>
#include <libknot/descriptor.h>
#include <libknot/packet/wire.h>
#include <libzscanner/scanner.h>

/** The file being read, line by line. */
struct reader {
	FILE *file;
	const char *path;
	char *line;
	size_t cap;
	int number;
	struct rpl_error *error;
};

KR_PRINTF(2, 3)
static int fail(struct reader *rd, const char *fmt, ...)
{
	char why[400];
	va_list args;
	va_start(args, fmt);
	vsnprintf(why, sizeof(why), fmt, args);
	va_end(args);
	snprintf(rd->error->text, sizeof(rd->error->text), "%s:%d: %s", rd->path, rd->number, why);
	return kr_error(EINVAL);
}

/** Cut a comment off; quoted text may contain its sign. */
static void strip_comment(char *line, const char *signs)
{
	char quote = 0;
	for (char *at = line; *at; ++at) {
		if (*at == '\\' && at[1])
			++at;
		else if (quote)
			quote = *at == quote ? 0 : quote;
		else if (*at == '"')
			quote = *at;
		else if (strchr(signs, *at)) {
			*at = '\0';
			return;
		}
	}
}

static char *trim(char *text)
{
	while (isspace((unsigned char)*text))
		++text;
	char *end = text + strlen(text);
	while (end > text && isspace((unsigned char)end[-1]))
		--end;
	*end = '\0';
	return text;
}

/** Next line with something on it, or NULL at the end. */
static char *next_line(struct reader *rd, const char *comments)
{
	while (getline(&rd->line, &rd->cap, rd->file) >= 0) {
		rd->number += 1;
		/* The one value in which semicolons separate. */
		const bool is_list =
			strncmp(rd->line + strspn(rd->line, " \t"), "features:", 9) == 0;
		strip_comment(rd->line, is_list ? "#" : comments);
		char *text = trim(rd->line);
		if (*text)
			return text;
	}
	return NULL;
}

/** If the line starts with the word, the rest of it; else NULL. */
static char *after_word(char *line, const char *word)
{
	const size_t len = strlen(word);
	if (strncmp(line, word, len) != 0 || (line[len] && !isspace((unsigned char)line[len])))
		return NULL;
	return trim(line + len);
}

static char *next_token(char **rest)
{
	while (isspace((unsigned char)**rest))
		++*rest;
	if (!**rest)
		return NULL;
	char *token = *rest;
	while (**rest && !isspace((unsigned char)**rest))
		++*rest;
	if (**rest)
		*(*rest)++ = '\0';
	return token;
}

/* ---- words ---- */

struct word {
	const char *text;
	unsigned value;
};

static const struct word match_words[] = {
	{"opcode", RPL_OPCODE},
	{"qtype", RPL_QTYPE},
	{"qname", RPL_QNAME},
	{"qcase", RPL_QCASE},
	{"question", RPL_QTYPE | RPL_QNAME},
	{"subdomain", RPL_SUBDOMAIN},
	{"flags", RPL_FLAGS},
	{"rcode", RPL_RCODE},
	{"answer", RPL_ANSWER},
	{"authority", RPL_AUTHORITY},
	{"additional", RPL_ADDITIONAL},
	{"ttl", RPL_TTL},
	{"edns", RPL_EDNS},
	{"nsid", RPL_NSID},
	{"tcp", RPL_TCP},
	{"udp", RPL_UDP},
	{"all", RPL_ALL},
	{NULL},
};

static const struct word adjust_words[] = {
	{"copy_id", RPL_COPY_ID},
	{"copy_query", RPL_COPY_QUERY},
	{"raw_id", RPL_RAW_ID},
	{"do_not_answer", RPL_DO_NOT_ANSWER},
	{NULL},
};

static const struct word flag_words[] = {
	{"QR", 0x8000},
	{"AA", 0x0400},
	{"TC", 0x0200},
	{"RD", 0x0100},
	{"RA", 0x0080},
	{"AD", 0x0020},
	{"CD", 0x0010},
	{NULL},
};

static const struct word opcode_words[] = {
	{"QUERY", 0},
	{"IQUERY", 1},
	{"STATUS", 2},
	{"NOTIFY", 4},
	{"UPDATE", 5},
	{NULL},
};

static const struct word *find_word(const struct word *words, const char *text)
{
	for (; words->text; ++words) {
		if (strcasecmp(words->text, text) == 0)
			return words;
	}
	return NULL;
}

static int read_words(struct reader *rd, const struct word *words, char *rest, unsigned *out)
{
	for (char *token; (token = next_token(&rest));) {
		const struct word *word = find_word(words, token);
		if (!word)
			return fail(rd, "unknown word '%s'", token);
		*out |= word->value;
	}
	return kr_ok();
}

static int read_reply(struct reader *rd, struct rpl_entry *entry, char *rest)
{
	for (char *token; (token = next_token(&rest));) {
		const struct word *word = find_word(flag_words, token);
		const knot_lookup_t *rcode = knot_lookup_by_name(knot_rcode_names, token);
		if (word)
			entry->flags |= word->value;
		else if (strcasecmp(token, "DO") == 0)
			entry->dnssec_ok = true;
		else if ((word = find_word(opcode_words, token)))
			entry->opcode = word->value;
		else if (strcasecmp(token, "NOTIMPL") == 0)
			entry->rcode = KNOT_RCODE_NOTIMPL;
		else if (rcode)
			entry->rcode = rcode->id;
		else
			return fail(rd, "unknown flag or rcode '%s'", token);
	}
	return kr_ok();
}

/* ---- records ---- */

static void take_record(zs_scanner_t *scanner)
{
	rpl_rrs_t *rrs = scanner->process.data;
	struct rpl_rr rr = {
		.type = scanner->r_type,
		.rclass = scanner->r_class,
		.ttl = scanner->r_ttl,
		.rdlen = scanner->r_data_length,
		.rdata = malloc(scanner->r_data_length + 1),
	};
	memcpy(rr.owner, scanner->r_owner, scanner->r_owner_length);
	memcpy(rr.rdata, scanner->r_data, scanner->r_data_length);
	array_push(*rrs, rr);
}

static void refuse_record(zs_scanner_t *scanner) {}

/** Types whose data end in base64 or hex that may be cut into any pieces, and how much is before
 * it. */
static const struct {
	const char *type;
	int fields;
	bool is_base64;
} blobs[] = {{"RRSIG", 8, true}, {"DNSKEY", 3, true}, {"CDNSKEY", 3, true}, {"DS", 3, false},
	{"CDS", 3, false}};

/** Remove padding that is too much, add what is missing. */
static void fix_padding(char *base64)
{
	size_t len = strlen(base64);
	while (len > 0 && base64[len - 1] == '=')
		--len;
	while (len % 4)
		base64[len++] = '=';
	base64[len] = '\0';
}

/** The library wants the pieces of a blob as one. @return malloc()ed line or NULL */
static char *join_blob(const char *line)
{
	char *copy = strdup(line);
	char *out = calloc(1, strlen(line) + 16);
	if (!copy || !out)
		abort();
	for (char *at = copy; *at; ++at) {
		if (*at == '(' || *at == ')')
			*at = ' ';
	}
	int fields_left = -1, kind = -1;
	bool is_typed = false; /* names of types may follow in the data */
	char *rest = copy;
	size_t blob_at = 0;
	for (char *token; (token = next_token(&rest));) {
		uint16_t type;
		for (int i = 0; !is_typed && out[0] && i < (int)KR_COUNT_OF(blobs); ++i) {
			if (strcasecmp(token, blobs[i].type) == 0) {
				kind = i;
				fields_left = blobs[i].fields + 1;
			}
		}
		is_typed |= out[0] && knot_rrtype_from_string(token, &type) == 0;
		if (kind < 0 || fields_left > 0) {
			if (out[0])
				strcat(out, " ");
			fields_left -= kind >= 0;
		} else if (!blob_at) {
			strcat(out, " ");
			blob_at = strlen(out);
		}
		strcat(out, token);
	}
	free(copy);
	if (kind < 0) {
		free(out);
		return NULL;
	}
	if (blob_at && blobs[kind].is_base64)
		fix_padding(out + blob_at);
	return out;
}

static int read_record(struct reader *rd, rpl_rrs_t *rrs, const char *line)
{
	char *text = NULL;
	char *joined = join_blob(line);
	const int len = asprintf(&text, "%s\n", joined ? joined : line);
	free(joined);
	if (len < 0)
		return kr_error(ENOMEM);
	zs_scanner_t *scanner = malloc(sizeof(*scanner));
	int ret = kr_error(ENOMEM);
	if (scanner && zs_init(scanner, ".", KNOT_CLASS_IN, 3600) == 0) {
		const size_t before = rrs->len;
		zs_set_processing(scanner, take_record, refuse_record, rrs);
		zs_set_input_string(scanner, text, strlen(text));
		zs_parse_all(scanner);
		ret = rrs->len == before + 1 ? kr_ok()
					     : fail(rd, "not a record (%s): %s",
						       zs_strerror(scanner->error.code), line);
		zs_deinit(scanner);
	}
	free(scanner);
	free(text);
	return ret;
}

/** A record may go on over several lines between parentheses. */
static int read_long_record(struct reader *rd, rpl_rrs_t *rrs, char *line)
{
	if (!strchr(line, '(') || strchr(line, ')'))
		return read_record(rd, rrs, line);
	char *text = strdup(line);
	while (text && !strchr(text, ')')) {
		char *more = next_line(rd, ";");
		char *longer = NULL;
		if (!more || asprintf(&longer, "%s %s", text, more) < 0)
			break;
		free(text);
		text = longer;
	}
	int ret = text ? read_record(rd, rrs, text) : kr_error(ENOMEM);
	free(text);
	return ret;
}

static int read_question(struct reader *rd, struct rpl_entry *entry, char *line)
{
	char *name = next_token(&line);
	if (!name || !knot_dname_from_str(entry->qname, name, sizeof(entry->qname)))
		return fail(rd, "bad name in question");
	entry->qclass = KNOT_CLASS_IN;
	entry->has_question = true;
	for (char *token; (token = next_token(&line));) {
		if (knot_rrclass_from_string(token, &entry->qclass) == 0 ||
			isdigit((unsigned char)*token))
			continue;
		if (knot_rrtype_from_string(token, &entry->qtype) != 0)
			return fail(rd, "unknown type '%s'", token);
	}
	return kr_ok();
}

/* ---- entries ---- */

static int read_raw(struct reader *rd, struct rpl_entry *entry)
{
	char *hex = next_line(rd, ";");
	const size_t len = hex ? strlen(hex) : 0;
	if (!hex || len % 2)
		return fail(rd, "RAW wants a line of hex");
	entry->raw = malloc(len / 2 + 1);
	entry->raw_len = len / 2;
	for (size_t i = 0; i < len / 2; ++i) {
		unsigned octet;
		if (sscanf(hex + 2 * i, "%2x", &octet) != 1)
			return fail(rd, "RAW wants a line of hex");
		entry->raw[i] = octet;
	}
	return kr_ok();
}

static int read_section_line(struct reader *rd, struct rpl_entry *entry, int section, char *line)
{
	if (section < 0)
		return fail(rd, "unexpected line: %s", line);
	if (section == 0)
		return read_question(rd, entry, line);
	return read_long_record(rd, &entry->sections[section - 1], line);
}

/** Read up to ENTRY_END. */
static int read_entry(struct reader *rd, struct rpl_entry *entry)
{
	static const char *const sections[] = {"QUESTION", "ANSWER", "AUTHORITY", "ADDITIONAL"};
	memset(entry, 0, sizeof(*entry));
	entry->line = rd->number;
	int section = -1;
	int ret = kr_ok();
	for (char *line; ret == 0 && (line = next_line(rd, ";"));) {
		char *rest;
		if (strcmp(line, "ENTRY_END") == 0)
			return kr_ok();
		if ((rest = after_word(line, "MATCH"))) {
			entry->has_match = true;
			ret = read_words(rd, match_words, rest, &entry->match);
		} else if ((rest = after_word(line, "ADJUST"))) {
			ret = read_words(rd, adjust_words, rest, &entry->adjust);
		} else if (strcmp(line, "MANDATORY") == 0) {
			entry->is_mandatory = true;
		} else if ((rest = after_word(line, "REPLY")) ||
			   (rest = after_word(line, "FLAGS"))) {
			ret = read_reply(rd, entry, rest);
		} else if (strcmp(line, "RAW") == 0) {
			ret = read_raw(rd, entry);
		} else if ((rest = after_word(line, "SECTION"))) {
			section = 0;
			while (section < 4 && strcmp(sections[section], rest) != 0)
				++section;
			if (section == 4)
				return fail(rd, "unknown section '%s'", rest);
		} else {
			ret = read_section_line(rd, entry, section, line);
		}
	}
	return ret ? ret : fail(rd, "ENTRY_END is missing");
}

static void entry_free(struct rpl_entry *entry)
{
	for (int i = 0; i < 3; ++i) {
		for (size_t j = 0; j < entry->sections[i].len; ++j)
			free(entry->sections[i].at[j].rdata);
		array_clear(entry->sections[i]);
	}
	free(entry->raw);
}

/* ---- ranges and steps ---- */

static int range_add_addr(struct reader *rd, struct rpl_range *range, const char *text)
{
	union kr_sockaddr addr = {0};
	struct sockaddr *parsed = kr_straddr_socket(text, KR_DNS_PORT, NULL);
	if (!parsed)
		return fail(rd, "bad address '%s'", text);
	memcpy(&addr, parsed, kr_sockaddr_len(parsed));
	free(parsed);
	return array_push(range->addrs, addr) < 0 ? kr_error(ENOMEM) : kr_ok();
}

static int read_range(struct reader *rd, struct rpl_range *range, char *rest)
{
	memset(range, 0, sizeof(*range));
	range->line = rd->number;
	char *first = next_token(&rest);
	char *last = next_token(&rest);
	if (!first || !last)
		return fail(rd, "RANGE_BEGIN wants two numbers");
	range->first = atol(first);
	range->last = atol(last);
	int ret = kr_ok();
	for (char *token; ret == 0 && (token = next_token(&rest));)
		ret = range_add_addr(rd, range, token);
	for (char *line; ret == 0 && (line = next_line(rd, ";"));) {
		if (strcmp(line, "RANGE_END") == 0)
			return kr_ok();
		struct rpl_entry entry;
		if ((rest = after_word(line, "ADDRESS"))) {
			ret = range_add_addr(rd, range, rest);
		} else if (strcmp(line, "ENTRY_BEGIN") == 0) {
			ret = read_entry(rd, &entry);
			array_push(range->entries, entry);
		} else {
			return fail(rd, "unexpected line: %s", line);
		}
	}
	return ret ? ret : fail(rd, "RANGE_END is missing");
}

static int read_step(struct reader *rd, struct rpl_step *step, char *rest)
{
	memset(step, 0, sizeof(*step));
	step->line = rd->number;
	const char *id = next_token(&rest);
	const char *type = next_token(&rest);
	if (!id || !type)
		return fail(rd, "STEP wants a number and a type");
	step->id = atol(id);
	if (strcmp(type, "TIME_PASSES") == 0) {
		const char *word = next_token(&rest);
		const char *seconds = next_token(&rest);
		if (!word || strcmp(word, "ELAPSE") != 0 || !seconds)
			return fail(rd, "TIME_PASSES wants ELAPSE seconds");
		step->type = RPL_STEP_TIME_PASSES;
		step->elapse_s = atof(seconds);
		return kr_ok();
	}
	if (strcmp(type, "CLOCK_JUMPS") == 0) {
		const char *seconds = next_token(&rest);
		if (!seconds)
			return fail(rd, "CLOCK_JUMPS wants seconds");
		step->type = RPL_STEP_CLOCK_JUMPS;
		step->elapse_s = atof(seconds);
		return kr_ok();
	}
	if (strcmp(type, "QUERY") == 0)
		step->type = RPL_STEP_QUERY;
	else if (strcmp(type, "CHECK_ANSWER") == 0)
		step->type = RPL_STEP_CHECK_ANSWER;
	else if (strcmp(type, "REPLY") == 0)
		step->type = RPL_STEP_REPLY;
	else
		return fail(rd, "unknown step '%s'", type);
	char *line = next_line(rd, ";");
	if (!line || strcmp(line, "ENTRY_BEGIN") != 0)
		return fail(rd, "ENTRY_BEGIN is missing");
	return read_entry(rd, &step->entry);
}

static int by_id(const void *a, const void *b)
{
	const struct rpl_step *x = a, *y = b;
	if (x->id != y->id)
		return x->id < y->id ? -1 : 1;
	return x->line - y->line;
}

/* ---- the file ---- */

static int read_option(struct reader *rd, struct rpl_scenario *sc, char *line)
{
	char *colon = strchr(line, ':');
	if (!colon)
		return fail(rd, "key: value wanted, not: %s", line);
	*colon = '\0';
	char *value = trim(colon + 1);
	const size_t len = strlen(value);
	if (len >= 2 && value[0] == '"' && value[len - 1] == '"') {
		value[len - 1] = '\0';
		value += 1;
	}
	struct rpl_option option = {strdup(trim(line)), strdup(value), rd->number};
	return array_push(sc->options, option) < 0 ? kr_error(ENOMEM) : kr_ok();
}

static int read_config(struct reader *rd, struct rpl_scenario *sc)
{
	for (char *line; (line = next_line(rd, ";#"));) {
		if (strcmp(line, "CONFIG_END") == 0)
			return kr_ok();
		int ret = read_option(rd, sc, line);
		if (ret != 0)
			return ret;
	}
	return fail(rd, "CONFIG_END is missing");
}

static int read_body(struct reader *rd, struct rpl_scenario *sc)
{
	for (char *line; (line = next_line(rd, ";"));) {
		char *rest;
		int ret = kr_ok();
		if ((rest = after_word(line, "SCENARIO_BEGIN"))) {
			sc->title = strdup(rest);
		} else if (strcmp(line, "SCENARIO_END") == 0) {
			return kr_ok();
		} else if ((rest = after_word(line, "RANGE_BEGIN"))) {
			struct rpl_range range;
			ret = read_range(rd, &range, rest);
			array_push(sc->ranges, range);
		} else if ((rest = after_word(line, "STEP"))) {
			struct rpl_step step;
			ret = read_step(rd, &step, rest);
			array_push(sc->steps, step);
		} else {
			ret = fail(rd, "unexpected line: %s", line);
		}
		if (ret != 0)
			return ret;
	}
	return fail(rd, "SCENARIO_END is missing");
}

int rpl_read(struct rpl_scenario *sc, const char *path, struct rpl_error *error)
{
	memset(sc, 0, sizeof(*sc));
	struct reader rd = {.path = path, .error = error, .file = fopen(path, "r")};
	if (!rd.file)
		return fail(&rd, "cannot be opened: %s", strerror(errno));
	int ret = read_config(&rd, sc);
	if (ret == 0)
		ret = read_body(&rd, sc);
	if (ret == 0)
		qsort(sc->steps.at, sc->steps.len, sizeof(*sc->steps.at), by_id);
	fclose(rd.file);
	free(rd.line);
	return ret;
}

void rpl_free(struct rpl_scenario *sc)
{
	for (size_t i = 0; i < sc->options.len; ++i) {
		free(sc->options.at[i].key);
		free(sc->options.at[i].value);
	}
	array_clear(sc->options);
	for (size_t i = 0; i < sc->ranges.len; ++i) {
		struct rpl_range *range = &sc->ranges.at[i];
		for (size_t j = 0; j < range->entries.len; ++j)
			entry_free(&range->entries.at[j]);
		array_clear(range->entries);
		array_clear(range->addrs);
	}
	array_clear(sc->ranges);
	for (size_t i = 0; i < sc->steps.len; ++i)
		entry_free(&sc->steps.at[i].entry);
	array_clear(sc->steps);
	free(sc->title);
}

const char *rpl_option(const struct rpl_scenario *sc, const char *key, int nth)
{
	for (size_t i = 0; i < sc->options.len; ++i) {
		if (strcmp(sc->options.at[i].key, key) == 0 && nth-- == 0)
			return sc->options.at[i].value;
	}
	return NULL;
}

bool rpl_is_on(const char *value, bool by_default)
{
	if (!value)
		return by_default;
	return strcasecmp(value, "yes") == 0 || strcasecmp(value, "on") == 0 ||
	       strcasecmp(value, "true") == 0 || strcmp(value, "1") == 0;
}
