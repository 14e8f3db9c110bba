/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/transport/proxyv2.h"

#include <string.h>

static const uint8_t signature[12] = {
	0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a};

#define FIXED_LEN 16 /* signature, version and command, family, length */
#define TLV_SSL 0x20
#define SSL_CLIENT 0x01 /* the client came over TLS */

enum {
	CMD_LOCAL = 0,
	CMD_PROXY = 1,
};
enum {
	FAMILY_UNSPEC = 0,
	FAMILY_INET = 1,
	FAMILY_INET6 = 2,
	FAMILY_UNIX = 3,
};

/* ---- peers ---- */

int proxy_peers_add(struct proxy_peers *peers, const char *subnet)
{
	struct proxy_subnet item = {0};
	int bits = kr_straddr_subnet(&item.addr, subnet);
	if (bits < 0)
		return bits;
	const int family = kr_straddr_family(subnet);
	item.family = family;
	item.bits = bits;
	kr_bitmask((unsigned char *)&item.addr, kr_family_len(family), bits);
	int ret = array_push(peers->subnets, item);
	return ret < 0 ? ret : kr_ok();
}

bool proxy_peers_has(const struct proxy_peers *peers, const struct sockaddr *addr)
{
	const char *bytes = kr_inaddr(addr);
	if (!peers || !bytes)
		return false;
	for (size_t i = 0; i < peers->subnets.len; ++i) {
		const struct proxy_subnet *net = &peers->subnets.at[i];
		if (net->family == addr->sa_family &&
			kr_bitcmp(bytes, (const char *)&net->addr, net->bits) == 0)
			return true;
	}
	return false;
}

void proxy_peers_clear(struct proxy_peers *peers)
{
	array_clear(peers->subnets);
}

/* ---- header ---- */

bool proxyv2_may_begin(struct bytes in)
{
	return in.len > 0 && memcmp(in.at, signature, KR_MIN(in.len, sizeof(signature))) == 0;
}

static void read_inet(struct proxyv2_header *header, const uint8_t *at)
{
	struct sockaddr_in *src = &header->src.ip4, *dst = &header->dst.ip4;
	src->sin_family = dst->sin_family = AF_INET;
	memcpy(&src->sin_addr, at, 4);
	memcpy(&dst->sin_addr, at + 4, 4);
	memcpy(&src->sin_port, at + 8, 2);
	memcpy(&dst->sin_port, at + 10, 2);
}

static void read_inet6(struct proxyv2_header *header, const uint8_t *at)
{
	struct sockaddr_in6 *src = &header->src.ip6, *dst = &header->dst.ip6;
	src->sin6_family = dst->sin6_family = AF_INET6;
	memcpy(&src->sin6_addr, at, 16);
	memcpy(&dst->sin6_addr, at + 16, 16);
	memcpy(&src->sin6_port, at + 32, 2);
	memcpy(&dst->sin6_port, at + 34, 2);
}

static int read_tlvs(struct proxyv2_header *header, struct bytes in)
{
	for (int count = 0; in.len > 0; ++count) {
		if (in.len < 3 || count == PROXYV2_TLV_MAX)
			return kr_error(EBADMSG);
		const size_t len = (size_t)in.at[1] << 8 | in.at[2];
		if (len > in.len - 3)
			return kr_error(EBADMSG);
		if (in.at[0] == TLV_SSL)
			header->is_tls = len == 0 || (in.at[3] & SSL_CLIENT);
		in.at += 3 + len;
		in.len -= 3 + len;
	}
	return kr_ok();
}

static bool is_nobody(const union kr_sockaddr *addr)
{
	if (kr_inaddr_port(&addr->ip) == 0)
		return true;
	if (addr->ip.sa_family == AF_INET)
		return addr->ip4.sin_addr.s_addr == 0;
	return IN6_IS_ADDR_UNSPECIFIED(&addr->ip6.sin6_addr);
}

/** @param in  what follows the fixed part */
static int read_addresses(struct proxyv2_header *header, unsigned family, struct bytes in)
{
	static const uint8_t need[] = {
		[FAMILY_UNSPEC] = 0, [FAMILY_INET] = 12, [FAMILY_INET6] = 36, [FAMILY_UNIX] = 216};
	if (family >= KR_COUNT_OF(need) || in.len < need[family])
		return kr_error(EBADMSG);
	if (family == FAMILY_UNSPEC || family == FAMILY_UNIX)
		return kr_ok();
	if (family == FAMILY_INET)
		read_inet(header, in.at);
	else
		read_inet6(header, in.at);
	if (is_nobody(&header->src))
		return kr_error(EBADMSG);
	header->is_proxied = true;
	return read_tlvs(header, (struct bytes){in.at + need[family], in.len - need[family]});
}

ssize_t proxyv2_parse(struct bytes in, struct proxyv2_header *header)
{
	memset(header, 0, sizeof(*header));
	if (!proxyv2_may_begin(in))
		return in.len == 0 ? kr_error(EAGAIN) : kr_error(EBADMSG);
	if (in.len < FIXED_LEN)
		return kr_error(EAGAIN);
	const unsigned version = in.at[12] >> 4, command = in.at[12] & 0xf;
	const unsigned family = in.at[13] >> 4, transport = in.at[13] & 0xf;
	const size_t len = (size_t)in.at[14] << 8 | in.at[15];
	if (version != 2 || command > CMD_PROXY || len > PROXYV2_HEADER_MAX - FIXED_LEN)
		return kr_error(EBADMSG);
	if (command == CMD_PROXY &&
		(transport > 2 || (transport == 0) != (family == FAMILY_UNSPEC)))
		return kr_error(EBADMSG);
	if (in.len - FIXED_LEN < len)
		return kr_error(EAGAIN);
	if (command == CMD_PROXY) {
		header->is_stream = transport == 1;
		int ret = read_addresses(header, family, (struct bytes){in.at + FIXED_LEN, len});
		if (ret != 0)
			return ret;
	}
	return FIXED_LEN + len;
}

/** The header's word replaces the peer's. */
static void apply(struct stage_facts *facts, const struct proxyv2_header *header)
{
	if (!header->is_proxied)
		return;
	if (!header->is_stream || !facts->comm_addr) /* of several proxies: the nearest */
		facts->comm_addr = facts->addr;
	facts->addr = &header->src.ip;
	facts->dst_addr = &header->dst.ip;
	facts->flags.tcp = header->is_stream;
	facts->flags.tls = header->is_tls;
}

/* ---- datagrams ---- */

struct dgram_state {
	const struct proxy_peers *peers;
	struct proxyv2_header header; /**< of the datagram on its way up */
};

static int dgram_init(struct stage *st, const void *param)
{
	struct dgram_state *proxy = stage_state(st);
	proxy->peers = param;
	return kr_ok();
}

static int dgram_up(struct stage *st, struct bytes in)
{
	if (in.len < sizeof(signature) || in.at[0] != signature[0] || !proxyv2_may_begin(in))
		return stage_up(st, in);
	struct dgram_state *proxy = stage_state(st);
	struct stage_facts *facts = &st->stack->facts;
	ssize_t len = proxy_peers_has(proxy->peers, facts->addr) ? proxyv2_parse(in, &proxy->header)
								 : kr_error(EACCES);
	if (len < 0 || (size_t)len == in.len)
		return kr_ok(); /* drop this datagram, not the socket */
	apply(facts, &proxy->header);
	return stage_up(st, (struct bytes){in.at + len, in.len - len});
}

const struct stage_ops proxyv2_dgram_stage = {
	.name = "proxyv2",
	.state_size = sizeof(struct dgram_state),
	.init = dgram_init,
	.up = dgram_up,
};

/* ---- streams ---- */

struct stream_state {
	const struct proxy_peers *peers;
	struct proxyv2_header header;
	bool is_done;
	uint8_t *buf; /**< an unfinished header */
	size_t len;
};

static int stream_init(struct stage *st, const void *param)
{
	struct stream_state *proxy = stage_state(st);
	proxy->peers = param;
	return kr_ok();
}

static void drop_buffer(struct stage *st)
{
	struct stream_state *proxy = stage_state(st);
	if (proxy->buf)
		stage_hold(st, PROXYV2_HEADER_MAX, 0);
	free(proxy->buf);
	proxy->buf = NULL;
	proxy->len = 0;
}

/** Keep the beginning of `in` that belongs to an unfinished header. */
static int collect(struct stage *st, struct bytes in)
{
	struct stream_state *proxy = stage_state(st);
	if (!proxy->buf) {
		proxy->buf = malloc(PROXYV2_HEADER_MAX);
		if (!proxy->buf)
			return kr_error(ENOMEM);
		int ret = stage_hold(st, 0, PROXYV2_HEADER_MAX);
		if (ret != 0)
			return ret;
	}
	if (in.len > PROXYV2_HEADER_MAX - proxy->len)
		return kr_error(EBADMSG);
	memcpy(proxy->buf + proxy->len, in.at, in.len);
	proxy->len += in.len;
	stage_set_partial(st, true);
	return kr_ok();
}

/** What was collected and what has come now is no header, or a whole one of `len` octets. */
static int get_out_of_the_way(struct stage *st, size_t len, struct bytes in)
{
	struct stream_state *proxy = stage_state(st);
	proxy->is_done = true;
	stage_set_partial(st, false);
	int ret = kr_ok();
	if (proxy->len > len)
		ret = stage_up(st, (struct bytes){proxy->buf + len, proxy->len - len});
	const size_t skip = len > proxy->len ? len - proxy->len : 0;
	drop_buffer(st);
	if (ret == 0 && in.len > skip)
		ret = stage_up(st, (struct bytes){in.at + skip, in.len - skip});
	return ret;
}

static int header_complete(struct stage *st, size_t len, struct bytes in)
{
	struct stream_state *proxy = stage_state(st);
	apply(&st->stack->facts, &proxy->header);
	return get_out_of_the_way(st, len, in);
}

static int stream_up(struct stage *st, struct bytes in)
{
	struct stream_state *proxy = stage_state(st);
	if (proxy->is_done)
		return stage_up(st, in);
	/* Usually the header is in one piece. A split one is put together octet by octet up to its
	 * end, so that nothing of the data behind it is kept. */
	if (proxy->len == 0 && !proxyv2_may_begin(in))
		return get_out_of_the_way(st, 0, in);
	if (!proxy_peers_has(proxy->peers, st->stack->facts.addr) && in.len >= sizeof(signature) &&
		proxy->len == 0)
		return kr_error(EACCES);
	ssize_t len = proxy->len == 0 ? proxyv2_parse(in, &proxy->header) : kr_error(EAGAIN);
	if (len >= 0)
		return header_complete(st, len, in);
	for (; len == kr_error(EAGAIN) && in.len > 0; ++in.at, --in.len) {
		int ret = collect(st, (struct bytes){in.at, 1});
		if (ret != 0)
			return ret;
		const struct bytes have = {proxy->buf, proxy->len};
		if (!proxyv2_may_begin(have))
			return get_out_of_the_way(st, 0, (struct bytes){in.at + 1, in.len - 1});
		if (proxy->len == sizeof(signature) &&
			!proxy_peers_has(proxy->peers, st->stack->facts.addr))
			return kr_error(EACCES);
		len = proxyv2_parse(have, &proxy->header);
		if (len >= 0)
			return header_complete(st, len, (struct bytes){in.at + 1, in.len - 1});
	}
	return len == kr_error(EAGAIN) ? kr_ok() : len;
}

static void stream_deinit(struct stage *st)
{
	drop_buffer(st);
}

const struct stage_ops proxyv2_stream_stage = {
	.name = "proxyv2",
	.state_size = sizeof(struct stream_state),
	.init = stream_init,
	.up = stream_up,
	.deinit = stream_deinit,
};
