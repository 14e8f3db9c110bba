/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * The short way to an answer: a question in, its answer out of the cache as wire, without request,
 * plan or layers. It gives the answer that the long way would give, octet by octet, or none: then
 * the question takes the long way. Aliases are followed, denials proven; whatever is stale,
 * expanded from a wildcard, synthesized from a DNAME or does not fit is left to the long way.
 */
#pragma once

#include <libknot/dname.h>

#include "lib/defines.h"
#include "lib/layer.h"

struct kr_context;
struct kr_quick;

/** @return NULL if out of memory */
KR_EXPORT
struct kr_quick *kr_quick_new(void);
KR_EXPORT
void kr_quick_free(struct kr_quick *quick);

/**
 * May questions take the short way at all now? The configuration and each layer have a say
 * (kr_layer_api::concerns).
 */
KR_EXPORT
bool kr_quick_is_allowed(const struct kr_context *ctx);

/**
 * Answer a question out of the cache.
 * @param question  as it came: RD, no CD, one question of class IN, no records but OPT
 * @param wire      of the question; ID and question are taken from it
 * @param limit     largest answer in octets
 * @return the answer's length; its octets are kr_quick_wire(), valid until the next call. 0: take
 *         the long way
 */
KR_EXPORT
size_t kr_quick_answer(struct kr_quick *quick, struct kr_context *ctx,
	const struct kr_quick_question *question, const uint8_t *wire, uint16_t limit);
KR_EXPORT
const uint8_t *kr_quick_wire(const struct kr_quick *quick);
