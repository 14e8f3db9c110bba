/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Networks to values: a binary tree that skips bits all networks below have in common, one for each
 * address family.
 */
#pragma once

#include <sys/socket.h>

#include "lib/defines.h"

struct kr_nets;

/** Most networks that one address can be in. */
#define KR_NETS_DEPTH_MAX 129

/** A network and what it is mapped to. */
struct kr_net {
	void *val;   /**< the user's; NULL = not (or no longer) in use */
	uint32_t id; /**< 1… in the order in which networks were added */
	uint8_t bits;
	uint8_t addr[16];
};

/** @return NULL if out of memory */
KR_EXPORT
struct kr_nets *kr_nets_new(void);
/** Values stay the user's. NULL is fine. */
KR_EXPORT
void kr_nets_free(struct kr_nets *nets);
/**
 * Find a network or add it.
 * @param addr  4 or 16 bytes; what is beyond `bits` does not matter
 * @return the network, valid as long as the map; NULL: bad family or length, or out of memory
 */
KR_EXPORT
struct kr_net *kr_nets_add(struct kr_nets *nets, int family, const void *addr, int bits);
/**
 * Find the networks that have an address.
 * @param found  the smallest network last
 * @return how many
 */
KR_EXPORT
size_t kr_nets_find(const struct kr_nets *nets, const struct sockaddr *addr,
	const struct kr_net *found[KR_NETS_DEPTH_MAX]);
KR_EXPORT
size_t kr_nets_find_raw(const struct kr_nets *nets, int family, const uint8_t *addr,
	const struct kr_net *found[KR_NETS_DEPTH_MAX]);
/** Number of networks added. */
KR_EXPORT KR_PURE uint32_t kr_nets_len(const struct kr_nets *nets);
/** Call f for each network in use. */
void kr_nets_each(struct kr_nets *nets, void (*f)(struct kr_net *net, void *data), void *data);
