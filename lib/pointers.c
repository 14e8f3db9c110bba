/* SPDX-License-Identifier: GPL-3.0-or-later */

#include "lib/pointers.h"

#include <libknot/descriptor.h>
#include <libknot/packet/wire.h>

#define POINTER 0xc0
#define NAPTR_STRINGS 3

/** What comes of walking one item. */
enum walk {
	GO_ON,
	BROKEN,    /**< the parser will refuse it */
	UNBOUNDED, /**< too many pointers */
};

struct message {
	const uint8_t *wire;
	size_t len;
};

/** Move to the end of the labels: to a root label or a pointer. */
static bool skip_labels(struct message msg, size_t *at)
{
	while (*at < msg.len && msg.wire[*at] > 0 && msg.wire[*at] < POINTER)
		*at += 1 + msg.wire[*at];
	return *at < msg.len;
}

/** Follow the pointer at `at` and those it leads to. */
static enum walk follow(struct message msg, size_t at)
{
	for (unsigned hops = 1; msg.wire[at] >= POINTER; ++hops) {
		if (at + 1 >= msg.len)
			return BROKEN;
		const size_t target = (msg.wire[at] & ~POINTER) << 8 | msg.wire[at + 1];
		if (hops > KR_POINTER_HOPS_MAX || target >= at)
			return UNBOUNDED;
		at = target;
		if (!skip_labels(msg, &at))
			return BROKEN;
	}
	return GO_ON;
}

static enum walk walk_name(struct message msg, size_t *at)
{
	if (!skip_labels(msg, at))
		return BROKEN;
	const size_t end = *at;
	*at += msg.wire[end] >= POINTER ? 2 : 1;
	return follow(msg, end);
}

static enum walk skip_naptr_header(struct message msg, size_t *at)
{
	*at += 4;
	for (int i = 0; i < NAPTR_STRINGS; ++i) {
		if (*at >= msg.len)
			return BROKEN;
		*at += 1 + msg.wire[*at];
	}
	return GO_ON;
}

/** The names in RDATA, of types that the parser knows to have some. */
static enum walk walk_rdata(struct message msg, uint16_t type, size_t at)
{
	const knot_rdata_descriptor_t *descriptor = knot_get_rdata_descriptor(type);
	enum walk ret = GO_ON;
	for (int i = 0; ret == GO_ON && i < KNOT_MAX_RDATA_BLOCKS; ++i) {
		const int block = descriptor->block_types[i];
		if (block == KNOT_RDATA_WF_END || block == KNOT_RDATA_WF_REMAINDER || at >= msg.len)
			break;
		if (block > 0)
			at += block;
		else if (block == KNOT_RDATA_WF_NAPTR_HEADER)
			ret = skip_naptr_header(msg, &at);
		else
			ret = walk_name(msg, &at);
	}
	return ret;
}

static enum walk walk_record(struct message msg, size_t *at)
{
	enum walk ret = walk_name(msg, at);
	if (ret != GO_ON)
		return ret;
	if (*at + 10 > msg.len)
		return BROKEN;
	const uint16_t type = knot_wire_read_u16(msg.wire + *at);
	const uint16_t rdata_len = knot_wire_read_u16(msg.wire + *at + 8);
	*at += 10;
	const size_t rdata = *at;
	*at += rdata_len;
	if (*at > msg.len)
		return BROKEN;
	return walk_rdata(msg, type, rdata) == UNBOUNDED ? UNBOUNDED : GO_ON;
}

bool kr_pointers_are_bounded(const uint8_t *wire, size_t len)
{
	const struct message msg = {wire, len};
	if (len < KNOT_WIRE_HEADER_SIZE)
		return true;
	size_t at = KNOT_WIRE_HEADER_SIZE;
	enum walk ret = GO_ON;
	for (unsigned i = knot_wire_get_qdcount(wire); ret == GO_ON && i > 0; --i) {
		ret = walk_name(msg, &at);
		at += 4;
	}
	for (unsigned i = knot_wire_get_ancount(wire) + knot_wire_get_nscount(wire) +
			  knot_wire_get_arcount(wire);
		ret == GO_ON && i > 0; --i)
		ret = walk_record(msg, &at);
	return ret != UNBOUNDED;
}
