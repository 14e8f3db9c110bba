/* SPDX-License-Identifier: GPL-3.0-or-later */

#include "lib/rules/nets.h"

#include <string.h>

#include "lib/addr.h"

/** A network, or the place where two branches part. */
struct node {
	struct kr_net net; /**< net.id 0 = only a fork */
	struct node *child[2];
};

struct kr_nets {
	struct node *root[2]; /**< IPv4, IPv6 */
	uint32_t len;
};

struct kr_nets *kr_nets_new(void)
{
	return calloc(1, sizeof(struct kr_nets));
}

static void node_free(struct node *node)
{
	if (!node)
		return;
	node_free(node->child[0]); /* as deep as an address has bits at most */
	node_free(node->child[1]);
	free(node);
}

void kr_nets_free(struct kr_nets *nets)
{
	if (!nets)
		return;
	node_free(nets->root[0]);
	node_free(nets->root[1]);
	free(nets);
}

static bool bit_at(const uint8_t *addr, unsigned pos)
{
	return (addr[pos / 8] >> (7 - pos % 8)) & 1;
}

/** Leading bits in common, `max` at most. */
static unsigned common_bits(const uint8_t *a, const uint8_t *b, unsigned max)
{
	unsigned n = 0;
	while (n + 8 <= max && a[n / 8] == b[n / 8])
		n += 8;
	while (n < max && bit_at(a, n) == bit_at(b, n))
		n += 1;
	return n;
}

static struct node *node_new(const uint8_t *addr, size_t len, unsigned bits)
{
	struct node *node = calloc(1, sizeof(*node));
	if (!node)
		return NULL;
	memcpy(node->net.addr, addr, len);
	kr_bitmask(node->net.addr, sizeof(node->net.addr), bits);
	node->net.bits = bits;
	return node;
}

static struct kr_net *in_use(struct kr_nets *nets, struct node *node)
{
	if (node->net.id == 0)
		node->net.id = ++nets->len;
	return &node->net;
}

/** Put a new network in place of the one at *at, from which it parts after `common` bits. */
static struct node *put_beside(
	struct node **at, const uint8_t *addr, size_t len, unsigned bits, unsigned common)
{
	struct node *old = *at;
	struct node *fresh = node_new(addr, len, bits);
	if (!fresh || common == bits) { /* the old one is inside the new one */
		if (!fresh)
			return NULL;
		fresh->child[bit_at(old->net.addr, bits)] = old;
		*at = fresh;
		return fresh;
	}
	struct node *fork = node_new(addr, len, common);
	if (!fork) {
		free(fresh);
		return NULL;
	}
	fork->child[bit_at(old->net.addr, common)] = old;
	fork->child[bit_at(addr, common)] = fresh;
	*at = fork;
	return fresh;
}

struct kr_net *kr_nets_add(struct kr_nets *nets, int family, const void *addr, int bits)
{
	const int len = kr_family_len(family);
	if (len < 0 || bits < 0 || bits > len * 8)
		return NULL;
	const unsigned want = bits;
	struct node **at = &nets->root[family == AF_INET6];
	while (*at) {
		struct node *node = *at;
		const unsigned common =
			common_bits(node->net.addr, addr, KR_MIN(node->net.bits, want));
		if (common < node->net.bits) {
			struct node *fresh = put_beside(at, addr, len, want, common);
			return fresh ? in_use(nets, fresh) : NULL;
		}
		if (want == node->net.bits)
			return in_use(nets, node);
		at = &node->child[bit_at(addr, node->net.bits)];
	}
	*at = node_new(addr, len, want);
	return *at ? in_use(nets, *at) : NULL;
}

size_t kr_nets_find_raw(const struct kr_nets *nets, int family, const uint8_t *addr,
	const struct kr_net *found[KR_NETS_DEPTH_MAX])
{
	const int len = kr_family_len(family);
	size_t count = 0;
	if (len < 0 || !addr)
		return 0;
	const unsigned max = len * 8;
	const struct node *node = nets->root[family == AF_INET6];
	while (node && common_bits(node->net.addr, addr, node->net.bits) == node->net.bits) {
		if (node->net.val)
			found[count++] = &node->net;
		node = node->net.bits < max ? node->child[bit_at(addr, node->net.bits)] : NULL;
	}
	return count;
}

size_t kr_nets_find(const struct kr_nets *nets, const struct sockaddr *addr,
	const struct kr_net *found[KR_NETS_DEPTH_MAX])
{
	return kr_nets_find_raw(
		nets, kr_inaddr_family(addr), (const uint8_t *)kr_inaddr(addr), found);
}

uint32_t kr_nets_len(const struct kr_nets *nets)
{
	return nets->len;
}

static void each(struct node *node, void (*f)(struct kr_net *net, void *data), void *data)
{
	if (!node)
		return;
	if (node->net.val)
		f(&node->net, data);
	each(node->child[0], f, data);
	each(node->child[1], f, data);
}

void kr_nets_each(struct kr_nets *nets, void (*f)(struct kr_net *net, void *data), void *data)
{
	each(nets->root[0], f, data);
	each(nets->root[1], f, data);
}
