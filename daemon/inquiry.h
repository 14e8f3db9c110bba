/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * A client's message looked at before anything is allocated for it: is it answered at all, with
 * which early refusal, or is it a question to be resolved? The reactions are rows I-01 to I-60 of
 * the requirements; RFC 1035 section 4.1, RFC 6891, RFC 7873 section 5.2, RFC 9619. Pure functions.
 */
#pragma once

#include "daemon/transport/bytes.h"
#include "lib/defines.h"

/** What to do with a message. */
enum inquiry_verdict {
	INQUIRY_RESOLVE, /**< a good question */
	INQUIRY_DROP,    /**< no answer at all */
	INQUIRY_REFUSE,  /**< answer with inquiry::rcode */
};

/** EDNS options of a question, as far as answers may differ by them. */
enum inquiry_option {
	INQUIRY_OPTION_NSID = 1 << 0,
	INQUIRY_OPTION_KEEPALIVE = 1 << 1,
	INQUIRY_OPTION_MUTE = 1 << 2,   /**< padding, subnet: we answer as if not there */
	INQUIRY_OPTION_OTHER = 1 << 3,  /**< some module may know what to do */
	INQUIRY_OPTION_COOKIE = 1 << 4, /**< as MUTE, unless kr_context::cookies_vary */
};
/** Those which answers differ by in a way known here. */
#define INQUIRY_OPTIONS_ANSWERED (INQUIRY_OPTION_NSID | INQUIRY_OPTION_KEEPALIVE)

/** Facts of a message; pointers lead into it. */
struct inquiry {
	enum inquiry_verdict verdict;
	uint16_t rcode; /**< of the refusal, may be extended (BADVERS) */
	uint16_t id;
	uint8_t opcode;
	bool rd, ad, cd;

	const uint8_t *qname; /**< NULL if there is no readable question */
	uint8_t qname_len;
	uint16_t qtype, qclass;
	size_t question_end; /**< octets up to the end of the question */

	bool has_edns, has_do;
	uint8_t options;   /**< EDNS options, enum inquiry_option */
	bool has_records;  /**< records other than OPT */
	uint16_t payload;  /**< as sent, 0 without EDNS */
	size_t payload_at; /**< where it stands in the message */
};

/** Examine a message. @param is_stream it came over TCP, TLS, HTTP */
void inquiry_examine(struct inquiry *inq, struct bytes msg, bool is_stream);

/** Longest early refusal: header, question, OPT. */
#define INQUIRY_REFUSAL_MAX (12 + 255 + 4 + 11)
/**
 * Write the refusal for a message whose verdict is INQUIRY_REFUSE (or another rcode of the
 * caller's).
 * @param payload  UDP payload size we offer
 * @return octets written
 */
size_t inquiry_refusal(const struct inquiry *inq, struct bytes msg, uint16_t rcode,
	uint16_t payload, uint8_t buf[static INQUIRY_REFUSAL_MAX]);
