/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * L0: finished answers by question, in this process, bounded. A hit copies the wire and patches id,
 * letter case of the question and TTLs: no request, no arena, no Lua, no LMDB. What is in it was
 * answered to the same question with the same flags and options over the same kind of transport to
 * a client of the same class under the same configuration generation; it is never served beyond its
 * TTL. Where a module wants to see questions whose records near their end, it is not served then
 * either.
 */
#pragma once

#include "daemon/inquiry.h"
#include "daemon/transport/bytes.h"
#include "lib/request.h"

#define ANSWERS_BYTES_DEFAULT (8 * 1024 * 1024)
#define ANSWERS_WIRE_MAX 4096 /**< larger answers are not kept */

struct answers;

/** How the question travelled, as far as answers differ by it. */
enum answers_via {
	ANSWERS_UDP,
	ANSWERS_STREAM,
	ANSWERS_TLS,
	ANSWERS_HTTPS,
};

/** What an answer depends on besides the question. */
struct answers_place {
	enum answers_via via;
	uint16_t limit;        /**< largest answer the client takes */
	uint32_t client_class; /**< kr_context::client_class */
	uint64_t generation;   /**< of the configuration; what is of another one is gone */
	uint32_t now_s;        /**< wall clock, as the cache counts TTLs */
	bool keep_off_end;     /**< leave the end of a TTL to the layers */
};

/** @param max_bytes of memory in all @param seed 16 random bytes @return NULL if out of memory */
struct answers *answers_new(size_t max_bytes, const uint8_t seed[static 16]);
void answers_free(struct answers *answers);

/**
 * Find the answer to a question.
 * @param rotate  random number for rotating addresses, 0 = keep the order
 * @return the answer, valid until the next call; at = NULL if there is none
 */
struct bytes answers_find(struct answers *answers, const struct inquiry *inq, struct bytes question,
	const struct answers_place *place, uint32_t rotate);

/** Keep the answer of a finished request if it is fit for it. */
void answers_store(struct answers *answers, const struct inquiry *inq, const struct kr_request *req,
	const struct answers_place *place);

/** Keep an answer that was made of cached records only. */
void answers_store_wire(struct answers *answers, const struct inquiry *inq, struct bytes answer,
	const struct answers_place *place);

/** Answers kept now. */
size_t answers_count(const struct answers *answers);
/** Memory they take, octets. */
size_t answers_bytes(const struct answers *answers);
