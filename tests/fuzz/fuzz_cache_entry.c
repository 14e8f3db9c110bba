/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Decoding of cache entries and keys, which a crashed or hostile neighbour process may have
 * written. Input: length of the key (1 byte), key, value. The checksum is made to fit, else nothing
 * gets past it. */
#include <stdio.h>
#include <string.h>

/* The checksum is private to it. */
#include "lib/cache/entry.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned read_all(const knot_rdataset_t *rrs)
{
	unsigned sum = 0;
	const uint8_t *at = (const uint8_t *)rrs->rdata, *end = at + rrs->size;
	while (at < end) {
		uint16_t len;
		memcpy(&len, at, sizeof(len));
		for (unsigned i = 0; i < len; ++i)
			sum += at[sizeof(len) + i];
		at += knot_rdata_size(len);
	}
	return sum;
}

static void decode(const struct cache_key *key, uint8_t *val, size_t len)
{
	static volatile unsigned sink;
	const knot_db_val_t k = cache_key_val(key), v = {.data = val, .len = len};
	struct cache_entry entry;
	(void)cache_entry_decode(&entry, &k, &v);
	if (len >= sizeof(struct cache_entry_head)) {
		const uint32_t now_len = len;
		memcpy(val + offsetof(struct cache_entry_head, len), &now_len, sizeof(now_len));
		val[offsetof(struct cache_entry_head, format)] = CACHE_FORMAT;
		const uint32_t sum = checksum(key->data, key->len, val, len);
		memcpy(val, &sum, sizeof(sum));
	}
	if (cache_entry_decode(&entry, &k, &v) != 0)
		return;
	for (unsigned i = 0; i < entry.count; ++i) {
		sink += read_all(&entry.sets[i].data) + read_all(&entry.sets[i].sigs);
		if (entry.sets[i].owner)
			sink += knot_dname_size(entry.sets[i].owner);
	}
	(void)sink;
	/* What was read can be written, to the same bytes again. */
	const ssize_t again = cache_entry_size(&entry);
	if (again < 0 || (size_t)again > len)
		return;
	uint8_t *copy = malloc(again);
	if (copy)
		cache_entry_encode(&entry, key, copy, again);
	struct cache_entry second;
	const knot_db_val_t w = {.data = copy, .len = again};
	if (copy && cache_entry_decode(&second, &k, &w) != 0)
		abort();
	free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	struct cache_key key;
	struct cache_key_parts parts;
	key.len = KR_MIN((size_t)data[0] * 2, size - 1);
	memcpy(key.data, data + 1, key.len);
	if (cache_key_unpack(&parts, key.data, key.len) == 0 &&
		knot_dname_wire_check(parts.owner, parts.owner + sizeof(parts.owner), NULL) <= 0)
		abort();
	const size_t len = size - 1 - key.len;
	uint8_t *val = malloc(len + !len);
	if (!val)
		return 0;
	memcpy(val, data + 1 + key.len, len);
	decode(&key, val, len);
	free(val);
	return 0;
}

#ifdef FUZZ_STANDALONE
/** Replay files. */
int main(int argc, char **argv)
{
	static uint8_t data[1 << 20];
	for (int i = 1; i < argc; ++i) {
		FILE *file = fopen(argv[i], "rb");
		if (!file)
			return 1;
		const size_t len = fread(data, 1, sizeof(data), file);
		fclose(file);
		LLVMFuzzerTestOneInput(data, len);
	}
	return 0;
}
#endif
