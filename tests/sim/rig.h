/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * One resolver on a simulated network, one client, and servers that are a function: for what
 * scenarios cannot say, such as zones made up on the fly, raw octets and counting packets.
 */
#pragma once

#include "tests/sim/house.h"

#define RIG_ROOT "192.0.2.1" /**< the only root server */
#define RIG_ADDRS_MAX 64

struct rig;

/** A question that arrived at a server, and the reply under construction. */
struct rig_question {
	struct rig *rig;
	struct sim_arrival *arrival;
	char server[64];                      /**< address as text, no port */
	char name[KNOT_DNAME_TXT_MAXLEN + 1]; /**< lower case, with the final dot */
	uint16_t type;
	bool is_stream;
	bool has_edns;

	uint8_t *reply; /**< room for KR_DNS_WIRE_MAX */
	size_t len;     /**< of the reply so far */
};

/** Fill in q->reply. */
typedef enum sim_reaction (*rig_server_f)(struct rig_question *q);

/** How many questions an address got. */
struct rig_count {
	char server[64];
	unsigned datagrams;
	unsigned stream_queries;
};

struct rig {
	struct simnet net;
	struct house *house;
	struct worker_ctx *worker;
	struct worker_client client;
	struct rpl_scenario sc;
	struct rpl_option options[1];
	char dir[32];

	rig_server_f server;
	const void *server_data;
	bool refuses_streams;
	unsigned connects;
	struct rig_count counts[RIG_ADDRS_MAX];
	size_t counts_len;

	int answers; /**< of the last question: 1 when all is well */
	uint8_t answer[KR_DNS_WIRE_MAX];
	size_t answer_len;
	uint64_t took_ms;
};

/** What a client asks. */
struct rig_ask {
	const char *name;
	uint16_t type; /**< 0 = A */
	bool is_stream;
	bool no_edns;
	bool want_dnssec; /**< DO */
	bool cd;
};

struct rig *rig_open(rig_server_f server, const void *data, bool minimize);
/** Everything has to be given back; removes the cache. */
void rig_close(struct rig *rig);

/** Ask and wait for the end. @return RCODE, or -1 if there was no answer */
int rig_ask(struct rig *rig, struct rig_ask ask);
/** Ask for an A record by TCP. */
int rig_ask_a(struct rig *rig, const char *name);
/** Ask without waiting, each time as another client of 10/8. @return what worker_submit said */
int rig_submit(struct rig *rig, struct rig_ask ask, unsigned client);
/** Packets sent to this server, or to all whose address starts so; "" = all. */
unsigned rig_packets(const struct rig *rig, const char *server_prefix);
/** Forget what was counted. */
void rig_reset_counts(struct rig *rig);
/** Does the answer hold a record of this type in ANSWER whose RDATA is (or for A: is the address)?
 */
bool rig_answer_has_a(const struct rig *rig, const char *addr);
unsigned rig_answer_count(const struct rig *rig, uint16_t type);

/** @name Replies @{ */
#define R_AA 0x0400
#define R_TC 0x0200
enum rig_section { R_ANSWER, R_AUTHORITY, R_ADDITIONAL };

/** Is the question's name this one or below? @param suffix "." or "atk." */
bool q_under(const struct rig_question *q, const char *suffix);
bool q_is(const struct rig_question *q, const char *name, uint16_t type);
/** Header and question as asked. @param flags_rcode QR is added */
void q_begin(struct rig_question *q, uint16_t flags_rcode);
void q_rr_raw(struct rig_question *q, enum rig_section section, const char *owner, uint16_t type,
	uint32_t ttl, const void *rdata, size_t len);
void q_a(struct rig_question *q, enum rig_section section, const char *owner, const char *addr);
/** NS, CNAME, DNAME, MX (preference 10) … : RDATA is one name. */
void q_name(struct rig_question *q, enum rig_section section, const char *owner, uint16_t type,
	const char *target);
void q_soa(struct rig_question *q, const char *zone);
void q_opt(struct rig_question *q);
/** Append octets without any accounting. */
void q_raw(struct rig_question *q, const void *data, size_t len);
/** A whole referral with one server and its glue. */
enum sim_reaction q_refer(
	struct rig_question *q, const char *zone, const char *ns, const char *addr);
/** Authoritative: one address, or NODATA for other types than A. */
enum sim_reaction q_address(struct rig_question *q, const char *zone, const char *addr);
enum sim_reaction q_nxdomain(struct rig_question *q, const char *zone);
enum sim_reaction q_nodata(struct rig_question *q, const char *zone);
/** Nothing but an RCODE. */
enum sim_reaction q_rcode(struct rig_question *q, uint16_t rcode);
/** @} */
