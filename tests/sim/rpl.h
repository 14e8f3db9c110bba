/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Scenarios: the .rpl format read into structures, and messages made of and compared with its
 * entries. The format is that of the testbound and Deckard projects; doc/dev has its description.
 */
#pragma once

#include <libknot/dname.h>
#include <libknot/packet/pkt.h>

#include "daemon/transport/bytes.h"
#include "lib/addr.h"
#include "lib/defines.h"
#include "lib/generic/array.h"

/** MATCH words. */
enum rpl_match {
	RPL_OPCODE = 1 << 0,
	RPL_QTYPE = 1 << 1,
	RPL_QNAME = 1 << 2,
	RPL_QCASE = 1 << 3,
	RPL_SUBDOMAIN = 1 << 4,
	RPL_FLAGS = 1 << 5,
	RPL_RCODE = 1 << 6,
	RPL_ANSWER = 1 << 7,
	RPL_AUTHORITY = 1 << 8,
	RPL_ADDITIONAL = 1 << 9,
	RPL_TTL = 1 << 10,
	RPL_EDNS = 1 << 11,
	RPL_NSID = 1 << 12,
	RPL_TCP = 1 << 13,
	RPL_UDP = 1 << 14,
	RPL_ALL = RPL_OPCODE | RPL_QTYPE | RPL_QNAME | RPL_FLAGS | RPL_RCODE | RPL_ANSWER |
		  RPL_AUTHORITY | RPL_ADDITIONAL,
};

/** ADJUST words. */
enum rpl_adjust {
	RPL_COPY_ID = 1 << 0,
	RPL_COPY_QUERY = 1 << 1,
	RPL_RAW_ID = 1 << 2,
	RPL_DO_NOT_ANSWER = 1 << 3,
};

/** One record. */
struct rpl_rr {
	uint8_t owner[KNOT_DNAME_MAXLEN];
	uint16_t type, rclass;
	uint32_t ttl;
	uint16_t rdlen;
	uint8_t *rdata;
};
typedef array_t(struct rpl_rr) rpl_rrs_t;

/** One message. */
struct rpl_entry {
	int line;
	unsigned match;
	bool has_match;
	unsigned adjust;
	uint16_t flags; /**< header octets 2 and 3 without opcode and rcode */
	uint8_t opcode;
	uint16_t rcode; /**< extended */
	bool dnssec_ok;
	bool has_question;
	uint8_t qname[KNOT_DNAME_MAXLEN];
	uint16_t qtype, qclass;
	rpl_rrs_t sections[3];
	uint8_t *raw;
	size_t raw_len;
	bool is_mandatory; /**< has to be used */
	bool was_used;
};
typedef array_t(struct rpl_entry) rpl_entries_t;

struct rpl_range {
	long first, last;
	int line;
	array_t(union kr_sockaddr) addrs; /**< empty: any */
	rpl_entries_t entries;
};

enum rpl_step_type {
	RPL_STEP_QUERY,
	RPL_STEP_CHECK_ANSWER,
	RPL_STEP_TIME_PASSES,
	RPL_STEP_CLOCK_JUMPS,
	RPL_STEP_REPLY,
};

struct rpl_step {
	long id;
	int line;
	enum rpl_step_type type;
	double elapse_s;
	bool is_used; /**< one-shot answer given */
	struct rpl_entry entry;
};

struct rpl_option {
	char *key, *value;
	int line;
};

struct rpl_scenario {
	char *title;
	array_t(struct rpl_option) options;
	array_t(struct rpl_range) ranges;
	array_t(struct rpl_step) steps; /**< by ascending id */
};

/** Where an error text goes. */
struct rpl_error {
	char text[512];
};

/** @return 0, or kr_error(EINVAL) with a text `file:line: why` */
int rpl_read(struct rpl_scenario *scenario, const char *path, struct rpl_error *error);
void rpl_free(struct rpl_scenario *scenario);

/** Value of a configuration key, or NULL; `nth` counts from 0. */
const char *rpl_option(const struct rpl_scenario *scenario, const char *key, int nth);
/** Meaning of yes, no, on, off, true, false. */
bool rpl_is_on(const char *value, bool by_default);

/** How a message travels, for tcp and udp. */
struct rpl_way {
	bool is_stream;
};

/**
 * Does a message match an entry?
 * @param match  words to check
 * @param why    out: the first difference
 */
bool rpl_matches(const struct rpl_entry *entry, unsigned match, const knot_pkt_t *pkt,
	struct rpl_way way, struct rpl_error *why);

/**
 * Write the message of an entry.
 * @param query  what it answers, for ADJUST; at NULL if it is a question itself
 * @param out    KR_DNS_WIRE_MAX octets
 * @return length, 0 if it does not fit
 */
size_t rpl_write(const struct rpl_entry *entry, struct bytes query, uint8_t *out);
/** Print a message in a readable way. */
void rpl_print(struct bytes msg, const char *indent);
