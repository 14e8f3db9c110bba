/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * PROXY protocol, version 2 (haproxy's proxy-protocol.txt): a header ahead of everything else that
 * says for whom the peer speaks. Only peers of a list may send one; they may also send none. After
 * the header the stage is out of the way. Limits: B-49.
 */
#pragma once

#include "daemon/transport/stage.h"
#include "lib/addr.h"
#include "lib/generic/array.h"

#define PROXYV2_HEADER_MAX 512 /**< octets of a header, B-49 */
#define PROXYV2_TLV_MAX 16     /**< B-49 */

struct proxy_subnet {
	uint8_t family; /**< AF_INET or AF_INET6 */
	uint8_t bits;
	union kr_in_addr addr;
};

/** Who may speak for others. */
struct proxy_peers {
	array_t(struct proxy_subnet) subnets;
};

/** @return 0; errors of kr_straddr_subnet(); kr_error(ENOMEM) */
int proxy_peers_add(struct proxy_peers *peers, const char *subnet);
bool proxy_peers_has(const struct proxy_peers *peers, const struct sockaddr *addr);
void proxy_peers_clear(struct proxy_peers *peers);

/** What a header says. */
struct proxyv2_header {
	bool is_proxied; /**< false: the peer speaks for itself, or for somebody it does not tell */
	bool is_stream;  /**< the client came over a stream */
	bool is_tls;     /**< the client came encrypted */
	union kr_sockaddr src, dst;
};

/** True if the bytes are a header's signature or may become one with more bytes. */
bool proxyv2_may_begin(struct bytes in);
/**
 * Read a header.
 * @return octets of the header; kr_error(EAGAIN) more bytes are needed; kr_error(EBADMSG)
 */
ssize_t proxyv2_parse(struct bytes in, struct proxyv2_header *header);

/** For datagrams, each with its own header; param: const struct proxy_peers *. */
extern const struct stage_ops proxyv2_dgram_stage;
/** For streams, once at their beginning; param: const struct proxy_peers *. */
extern const struct stage_ops proxyv2_stream_stage;
