/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * A list of small byte strings in one run of memory: each is preceded by its length. Good for a few
 * addresses or names; looking one up is a scan.
 */
#pragma once

#include <string.h>

#include "lib/generic/array.h"

typedef array_t(uint8_t) pack_t;
typedef uint16_t pack_objlen_t;

#define pack_init(pack) array_init(pack)
#define pack_clear(pack) array_clear(pack)
#define pack_clear_mm(pack, mm) array_clear_mm(pack, mm)
/** Make room for `objs` more objects of `len` bytes in all. @return 0 or kr_error(ENOMEM) */
#define pack_reserve(pack, objs, len) pack_reserve_mm(pack, objs, len, NULL)
#define pack_reserve_mm(pack, objs, total, mm)                                                     \
	array_reserve_mm(pack, (pack).len + sizeof(pack_objlen_t) * (objs) + (total), mm)
/** First object, or pack_tail(). */
#define pack_head(pack) ((pack).len > 0 ? &(pack).at[0] : NULL)
/** One beyond the last object. */
#define pack_tail(pack) ((pack).len > 0 ? &(pack).at[(pack).len] : NULL)

static inline pack_objlen_t pack_obj_len(const uint8_t *it)
{
	pack_objlen_t len = 0;
	if (it)
		memcpy(&len, it, sizeof(len));
	return len;
}

static inline uint8_t *pack_obj_val(uint8_t *it)
{
	return it + sizeof(pack_objlen_t);
}

static inline uint8_t *pack_obj_next(uint8_t *it)
{
	return pack_obj_val(it) + pack_obj_len(it);
}

/** Last object or NULL. */
static inline uint8_t *pack_last(pack_t pack)
{
	uint8_t *last = NULL;
	for (uint8_t *it = pack_head(pack); it != pack_tail(pack); it = pack_obj_next(it))
		last = it;
	return last;
}

/** Append; room must have been reserved. @return 0 or kr_error(ENOSPC) */
static inline int pack_obj_push(pack_t *pack, const void *obj, pack_objlen_t len)
{
	if (pack->len + sizeof(len) + len > pack->cap)
		return kr_error(ENOSPC);
	memcpy(pack->at + pack->len, &len, sizeof(len));
	if (len > 0)
		memcpy(pack->at + pack->len + sizeof(len), obj, len);
	pack->len += sizeof(len) + len;
	return kr_ok();
}

/** Find an equal object. @return it or NULL */
static inline uint8_t *pack_obj_find(const pack_t *pack, const void *obj, pack_objlen_t len)
{
	for (uint8_t *it = pack ? pack_head(*pack) : NULL; it && it != pack_tail(*pack);
		it = pack_obj_next(it)) {
		if (pack_obj_len(it) == len && memcmp(pack_obj_val(it), obj, len) == 0)
			return it;
	}
	return NULL;
}

/** Remove an equal object. @return 0 or kr_error(ENOENT) */
static inline int pack_obj_del(pack_t *pack, const void *obj, pack_objlen_t len)
{
	uint8_t *it = pack_obj_find(pack, obj, len);
	if (!it)
		return kr_error(ENOENT);
	const size_t size = sizeof(len) + len;
	memmove(it, it + size, pack->at + pack->len - (it + size));
	pack->len -= size;
	return kr_ok();
}
