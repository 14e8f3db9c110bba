/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * How long an HTTP cache may keep an answer, RFC 8484 section 5.1.
 */
#pragma once

#include "daemon/transport/bytes.h"
#include "lib/defines.h"

/**
 * @param wire     finished answer; a broken one is tolerated
 * @param ttl_min  s; also the age of answers without records and of failures
 * @return smallest TTL of all records but OPT, within the limits
 */
uint32_t answer_max_age(struct bytes wire, uint32_t ttl_min, uint32_t ttl_max);
