/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/message.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include <libknot/codes.h>
#include <libknot/libknot.h>
#include <libzscanner/scanner.h>

#include "lib/utils.h"

static void put_record(knot_pkt_t *pkt, const char *line)
{
	static zs_scanner_t scanner; /* too large for a stack */
	char text[2048];
	snprintf(text, sizeof(text), "%s\n", line);
	/* The scanner knows class IN only: another one is set afterwards. */
	char *chaos = strstr(text, " CH ");
	if (chaos)
		memcpy(chaos, " IN ", 4);
	assert_int_equal(zs_init(&scanner, ".", KNOT_CLASS_IN, 3600), 0);
	assert_int_equal(zs_set_input_string(&scanner, text, strlen(text)), 0);
	if (zs_parse_record(&scanner) != 0 || scanner.state != ZS_STATE_DATA)
		fail_msg("bad record: %s", line);
	assert_int_equal(kr_pkt_put(pkt, scanner.r_owner, scanner.r_ttl,
				 chaos ? KNOT_CLASS_CH : scanner.r_class, scanner.r_type,
				 scanner.r_data, scanner.r_data_length),
		0);
	zs_deinit(&scanner);
}

static void put_question(knot_pkt_t *pkt, char *line)
{
	knot_dname_storage_t name;
	uint16_t type = 0;
	char *save = NULL;
	assert_non_null(knot_dname_from_str(name, strtok_r(line, " ", &save), sizeof(name)));
	assert_int_equal(knot_rrtype_from_string(strtok_r(NULL, " ", &save), &type), 0);
	assert_int_equal(knot_pkt_put_question(pkt, name, KNOT_CLASS_IN, type), 0);
	knot_wire_set_qr(pkt->wire);
	for (const char *word; (word = strtok_r(NULL, " ", &save));) {
		const knot_lookup_t *rcode = knot_lookup_by_name(knot_rcode_names, word);
		if (strcmp(word, "aa") == 0)
			knot_wire_set_aa(pkt->wire);
		else if (strcmp(word, "tc") == 0)
			knot_wire_set_tc(pkt->wire);
		else if (rcode)
			knot_wire_set_rcode(pkt->wire, rcode->id);
		else
			fail_msg("unknown word: %s", word);
	}
}

static knot_section_t section_of(const char *line)
{
	static const char *const names[] = {"AN ", "NS ", "AR "};
	for (int i = 0; i < 3; ++i) {
		if (strncmp(line, names[i], 3) == 0)
			return KNOT_ANSWER + i;
	}
	fail_msg("no section: %s", line);
	return KNOT_ANSWER;
}

knot_pkt_t *message_make(const char *text)
{
	knot_pkt_t *made = knot_pkt_new(NULL, 65535, NULL);
	char *copy = strdup(text), *save = NULL;
	put_question(made, strtok_r(copy, "\n", &save));
	int current = KNOT_ANSWER;
	for (char *line; (line = strtok_r(NULL, "\n", &save));) {
		line += strspn(line, " \t");
		if (!*line)
			continue;
		const int section = section_of(line);
		while (current < section)
			assert_int_equal(knot_pkt_begin(made, ++current), 0);
		put_record(made, line + 3);
	}
	free(copy);
	/* Over the wire and back, as an answer would come. */
	knot_pkt_t *pkt = knot_pkt_new(NULL, made->size, NULL);
	memcpy(pkt->wire, made->wire, made->size);
	pkt->size = made->size;
	knot_pkt_free(made);
	assert_int_equal(knot_pkt_parse(pkt, 0), 0);
	return pkt;
}

char *message_text(const knot_pkt_t *pkt)
{
	static const char *const names[] = {"AN", "NS", "AR"};
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);
	for (int s = KNOT_ANSWER; s <= KNOT_ADDITIONAL; ++s) {
		const knot_pktsection_t *section = knot_pkt_section(pkt, s);
		for (unsigned i = 0; i < section->count; ++i) {
			const knot_rrset_t *rr = knot_pkt_rr(section, i);
			char rdata[2048] = "";
			KR_DNAME_GET_STR(owner, rr->owner);
			KR_RRTYPE_GET_STR(type, rr->type);
			if (rr->type == KNOT_RRTYPE_OPT)
				continue;
			knot_rrset_txt_dump_data(
				rr, 0, rdata, sizeof(rdata), &KNOT_DUMP_STYLE_DEFAULT);
			fprintf(out, "%s %s %s %s\n", names[s], owner, type, rdata);
		}
	}
	fclose(out);
	return text;
}
