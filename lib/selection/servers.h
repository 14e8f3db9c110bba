/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * What this process remembers of server addresses: smoothed RTT and variance, back-off after
 * timeouts, which transports work, lameness per zone, 0x20 and EDNS manners, and whether an address
 * family works at all (broken IPv6). Bounded table, lossy; nothing is kept longer than 15 minutes.
 */
#pragma once

#include "lib/defines.h"

struct kr_context;
struct kr_servers;

/** @param seed secret for hashing @return NULL if out of memory */
KR_EXPORT
struct kr_servers *kr_servers_new(size_t capacity, uint64_t seed);
KR_EXPORT
void kr_servers_free(struct kr_servers *servers);
/** Forget everything. */
KR_EXPORT
void kr_servers_clear(struct kr_servers *servers);
