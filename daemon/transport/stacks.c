/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/transport/stacks.h"

#include "daemon/transport/dns_frame.h"
#include "daemon/transport/http2.h"
#include "daemon/transport/http2_client.h"
#include "daemon/transport/proxyv2.h"
#include "daemon/transport/tcp.h"
#include "daemon/transport/tls.h"
#include "daemon/transport/udp.h"

/** Field of stack_params that a stage gets. */
#define PARAM(name) (offsetof(struct stack_params, name) + 1)

/* Proxies tell who the client is before the handshake or, like dnsdist, first of all in it. */
static const struct row {
	const struct stage_ops *ops;
	size_t param; /**< PARAM() or 0 = none */
} rows[STACK_KIND_COUNT][STACK_MAX] = {
	[STACK_UDP_SERVER] = {{&udp_stage, PARAM(udp)}, {&proxyv2_dgram_stage, PARAM(proxy)}},
	[STACK_TCP_SERVER] = {{&tcp_stage, PARAM(tcp)}, {&proxyv2_stream_stage, PARAM(proxy)},
		{&dns_frame_stage, 0}},
	[STACK_TLS_SERVER] = {{&tcp_stage, PARAM(tcp)}, {&proxyv2_stream_stage, PARAM(proxy)},
		{&tls_stage, PARAM(tls)}, {&proxyv2_stream_stage, PARAM(proxy)},
		{&dns_frame_stage, 0}},
	[STACK_DOH_SERVER] = {{&tcp_stage, PARAM(tcp)}, {&proxyv2_stream_stage, PARAM(proxy)},
		{&tls_stage, PARAM(tls)}, {&proxyv2_stream_stage, PARAM(proxy)},
		{&http2_stage, PARAM(http)}},
	[STACK_TCP_CLIENT] = {{&tcp_stage, PARAM(tcp)}, {&dns_frame_stage, 0}},
	[STACK_TLS_CLIENT] = {{&tcp_stage, PARAM(tcp)}, {&tls_stage, PARAM(tls)},
		{&dns_frame_stage, 0}},
	[STACK_DOH_CLIENT] = {{&tcp_stage, PARAM(tcp)}, {&tls_stage, PARAM(tls)},
		{&http2_client_stage, PARAM(http_client)}},
};

static size_t collect(enum stack_kind kind, const struct stack_params *params,
	struct stack_item items[static STACK_MAX])
{
	const struct row *row = rows[kind];
	size_t len = 0;
	for (; len < STACK_MAX && row[len].ops; ++len) {
		const void *param = NULL;
		if (params && row[len].param)
			param = *(const void *const *)((const char *)params + row[len].param - 1);
		items[len] = (struct stack_item){row[len].ops, param};
	}
	return len;
}

size_t stack_kind_size(enum stack_kind kind)
{
	struct stack_item items[STACK_MAX];
	const size_t len = collect(kind, NULL, items);
	return stack_size(items, len);
}

int stack_start(struct stack *stack, enum stack_kind kind, const struct stack_params *params,
	const struct stack_ops *ops, void *owner, struct turn *turn)
{
	struct stack_item items[STACK_MAX];
	const size_t len = collect(kind, params, items);
	return stack_init(stack, ops, owner, turn, items, len);
}
