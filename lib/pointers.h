/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * A look at the compression pointers of a message before it is parsed. The parser follows any
 * number of them for each name, so a message may hold a long chain and thousands of names that
 * start at its end: work that grows with the square of its size (spec A-24, B-27).
 */
#pragma once

#include "lib/defines.h"

/**
 * Does each name of the message follow at most KR_POINTER_HOPS_MAX pointers, each of them leading
 * backwards (RFC 1035 section 4.1.4: "prior occurrence")? Linear in the size of the message.
 * @return false if not; true also for messages that are broken in other ways, which is the
 * parser's to tell
 */
KR_EXPORT KR_PURE bool kr_pointers_are_bounded(const uint8_t *wire, size_t len);
