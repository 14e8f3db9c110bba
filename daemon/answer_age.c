/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/answer_age.h"

#include <libknot/consts.h>
#include <libknot/descriptor.h>

#define HEADER_LEN 12
#define RR_FIXED_LEN 10 /* type, class, TTL, length */

static uint32_t read16(const uint8_t *at)
{
	return (uint32_t)at[0] << 8 | at[1];
}

/** @return position behind the name, or beyond the end */
static size_t skip_name(struct bytes wire, size_t pos)
{
	while (pos < wire.len) {
		const uint8_t len = wire.at[pos];
		if (len == 0)
			return pos + 1;
		if (len >= 0xc0)
			return pos + 2;
		pos += 1 + len;
	}
	return wire.len + 1;
}

static bool has_lifetime(uint8_t rcode)
{
	return rcode == KNOT_RCODE_NOERROR || rcode == KNOT_RCODE_NXDOMAIN ||
	       rcode == KNOT_RCODE_YXDOMAIN;
}

uint32_t answer_max_age(struct bytes wire, uint32_t ttl_min, uint32_t ttl_max)
{
	if (wire.len < HEADER_LEN || !has_lifetime(wire.at[3] & 0xf))
		return ttl_min;
	size_t pos = HEADER_LEN;
	for (unsigned i = read16(wire.at + 4); i > 0 && pos <= wire.len; --i)
		pos = skip_name(wire, pos) + 4;
	const unsigned count = read16(wire.at + 6) + read16(wire.at + 8) + read16(wire.at + 10);
	uint32_t age = ttl_max;
	bool has_records = false;
	for (unsigned i = 0; i < count; ++i) {
		pos = skip_name(wire, pos);
		if (pos > wire.len || wire.len - pos < RR_FIXED_LEN)
			break;
		const uint8_t *rr = wire.at + pos;
		const uint32_t ttl = read16(rr + 4) << 16 | read16(rr + 6);
		if (read16(rr) != KNOT_RRTYPE_OPT) {
			age = KR_MIN(age, ttl);
			has_records = true;
		}
		pos += RR_FIXED_LEN + read16(rr + 8);
	}
	return has_records ? KR_MAX(age, ttl_min) : ttl_min;
}
