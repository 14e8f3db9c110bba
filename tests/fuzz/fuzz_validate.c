/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Keys, signatures and proofs from foreign bytes. Input: a selector byte, then pieces of two length
 * bytes and as many bytes: rdata of records, in turn owned by a few names of a small zone. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <libknot/descriptor.h>

#include "lib/check.h"
#include "lib/dnssec.h"
#include "lib/dnssec/canon.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/** Reads pieces off the input. */
struct cursor {
	const uint8_t *at, *end;
};

static const uint8_t *take(struct cursor *cursor, uint16_t *len)
{
	if (cursor->end - cursor->at < 2)
		return NULL;
	*len = (cursor->at[0] << 8 | cursor->at[1]) & 0x7ff;
	cursor->at += 2;
	if (*len > cursor->end - cursor->at)
		*len = cursor->end - cursor->at;
	const uint8_t *piece = cursor->at;
	cursor->at += *len;
	return piece;
}

static const uint8_t ZONE[] = "\x07"
			      "example";
static const uint8_t *const OWNERS[] = {
	(const uint8_t *)"\x07"
			 "example",
	(const uint8_t *)"\x03"
			 "www\x07"
			 "example",
	(const uint8_t *)"\x01"
			 "*\x01"
			 "w\x07"
			 "example",
	(const uint8_t *)"\x20"
			 "0p9mhaveqvm6t7vbl5lop2u3t2rp3tom\x07"
			 "example",
	(const uint8_t *)"\x20"
			 "b4um86eghhds6nea196smvmlo4ors995\x07"
			 "example",
	(const uint8_t *)"\x20"
			 "35mthgpgcu1qg68fab165klnsnk3dpvl\x07"
			 "example",
};

static knot_rrset_t *make_set(const uint8_t *owner, uint16_t type, struct cursor *cursor, int count)
{
	knot_rrset_t *rr = knot_rrset_new(owner, type, KNOT_CLASS_IN, 3600, NULL);
	for (int i = 0; rr && i < count; ++i) {
		uint16_t len;
		const uint8_t *rdata = take(cursor, &len);
		if (rdata)
			(void)knot_rrset_add_rdata(rr, rdata, len, NULL);
	}
	return rr;
}

static void fuzz_signatures(struct cursor *cursor, uint16_t type)
{
	knot_rrset_t *dnskey = make_set(ZONE, KNOT_RRTYPE_DNSKEY, cursor, 3);
	knot_rrset_t *ds = make_set(ZONE, KNOT_RRTYPE_DS, cursor, 3);
	knot_rrset_t *sigs = make_set(OWNERS[1], KNOT_RRTYPE_RRSIG, cursor, 3);
	knot_rrset_t *rr = make_set(OWNERS[1], type, cursor, 3);
	struct dnssec_allowance left = {32, 64, 8, 24, 0};
	struct dnssec_memory memory = {0};
	const struct dnssec_env env = {1750000000, &left, &memory};
	struct dnssec_verdict verdict;
	struct dnssec_keyset keys = {0};
	if (dnssec_keyset_init(&keys, dnskey) == 0) {
		(void)dnssec_keyset_verify(&keys, &sigs->rrs, ds, &env, &verdict);
		int ret = dnssec_rrset_verify(rr, &sigs->rrs, &keys, &env, &verdict);
		kr_require(ret != 0 || verdict.faults == 0);
		kr_require(left.checks <= 32 && left.units <= 64 && left.fails <= 8);
	}
	(void)kr_ds_algo_support(ds);
	dnssec_keyset_deinit(&keys);
	array_clear(memory.memos);
	knot_rrset_free(dnskey, NULL);
	knot_rrset_free(ds, NULL);
	knot_rrset_free(sigs, NULL);
	knot_rrset_free(rr, NULL);
}

static void fuzz_proofs(struct cursor *cursor, uint16_t type)
{
	knot_rrset_t *sets[16] = {0};
	uint32_t blocks = KR_NSEC3_BLOCKS_REQ;
	struct dnssec_proofs proofs = {.zone = ZONE, .blocks_left = &blocks};
	for (size_t i = 0; i < KR_COUNT_OF(sets); ++i) {
		sets[i] = make_set(OWNERS[i % KR_COUNT_OF(OWNERS)],
			i % 2 ? KNOT_RRTYPE_NSEC : KNOT_RRTYPE_NSEC3, cursor, 1);
		if (sets[i])
			dnssec_proofs_add(&proofs, sets[i]);
	}
	static const uint8_t *const names[] = {
		(const uint8_t *)"\x01"
				 "a\x01"
				 "c\x01"
				 "x\x01"
				 "w\x07"
				 "example",
		(const uint8_t *)"\x04"
				 "mail\x07"
				 "example",
		(const uint8_t *)"\x07"
				 "example",
		(const uint8_t *)"\x05"
				 "other",
	};
	struct dnssec_proof proof;
	for (size_t i = 0; i < KR_COUNT_OF(names); ++i) {
		(void)dnssec_prove_denial(&proofs, names[i], type, false, &proof);
		int ret = dnssec_prove_denial(&proofs, names[i], type, true, &proof);
		kr_require(ret != 0 || names[i] != names[3]); /* not a name of the zone */
		(void)dnssec_prove_wildcard(&proofs, names[i], i, &proof);
	}
	kr_require(blocks <= KR_NSEC3_BLOCKS_REQ);
	for (size_t i = 0; i < KR_COUNT_OF(sets); ++i)
		knot_rrset_free(sets[i], NULL);
}

static void fuzz_rdata(struct cursor *cursor, uint16_t type)
{
	uint16_t len;
	const uint8_t *piece = take(cursor, &len);
	if (!piece || len == 0)
		return;
	uint8_t *copy = malloc(len); /* exact size: the sanitizer watches both ends */
	memcpy(copy, piece, len);
	(void)dnssec_rdata_canonize(type, copy, len);
	(void)dnssec_bitmap_has(copy, len, type);
	(void)kr_dnssec_key_tag(KNOT_RRTYPE_DNSKEY, copy, len);
	struct dnssec_pubkey *key = NULL;
	if (len > 1 && dnssec_pubkey_new(&key, NULL, copy[0], copy + 1, len - 1) == 0)
		(void)dnssec_pubkey_verify(key, copy, len, copy, len);
	dnssec_pubkey_free(key);
	free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 3)
		return 0;
	struct cursor cursor = {data + 3, data + size};
	const uint16_t type = data[1] << 8 | data[2];
	switch (data[0] % 3) {
	case 0:
		fuzz_signatures(&cursor, type);
		break;
	case 1:
		fuzz_proofs(&cursor, type);
		break;
	default:
		fuzz_rdata(&cursor, type);
		break;
	}
	return 0;
}
