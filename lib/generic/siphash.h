/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * SipHash-2-4 (Aumasson and Bernstein): the keyed hash of all tables whose keys strangers choose.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/** 128 bits from the random source, one per table. */
struct sip_key {
	uint64_t k0, k1;
};

static inline uint64_t sip_rotl(uint64_t value, int bits)
{
	return (value << bits) | (value >> (64 - bits));
}

static inline void sip_round(uint64_t v[4])
{
	v[0] += v[1];
	v[1] = sip_rotl(v[1], 13) ^ v[0];
	v[0] = sip_rotl(v[0], 32);
	v[2] += v[3];
	v[3] = sip_rotl(v[3], 16) ^ v[2];
	v[0] += v[3];
	v[3] = sip_rotl(v[3], 21) ^ v[0];
	v[2] += v[1];
	v[1] = sip_rotl(v[1], 17) ^ v[2];
	v[2] = sip_rotl(v[2], 32);
}

/** Hash `len` bytes. */
static inline uint64_t siphash24(const struct sip_key *key, const void *data, size_t len)
{
	uint64_t v[4] = {
		key->k0 ^ 0x736f6d6570736575ULL,
		key->k1 ^ 0x646f72616e646f6dULL,
		key->k0 ^ 0x6c7967656e657261ULL,
		key->k1 ^ 0x7465646279746573ULL,
	};
	const uint8_t *at = data;
	const uint8_t *end = at + (len & ~(size_t)7);
	uint64_t word;
	for (; at != end; at += 8) {
		memcpy(&word, at, 8);
		v[3] ^= word;
		sip_round(v);
		sip_round(v);
		v[0] ^= word;
	}
	word = (uint64_t)len << 56;
	for (size_t i = 0; i < (len & 7); ++i)
		word |= (uint64_t)at[i] << (8 * i);
	v[3] ^= word;
	sip_round(v);
	sip_round(v);
	v[0] ^= word;
	v[2] ^= 0xff;
	for (int i = 0; i < 4; ++i)
		sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}
