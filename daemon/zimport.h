/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Fill the cache from a zone file (module prefill). The file is parsed and checked in slices
 * between other work of the loop; only what validates against the given trust anchors is stored.
 */
#pragma once

#include <libknot/rrset.h>

#include "lib/defines.h"

struct zone_import_ctx;

/** @param state 0 = done, < 0 = error @param param as given */
typedef void (*zi_callback)(int state, void *param);

/** Time from which TTLs and signatures are counted. */
typedef enum {
	ZI_STAMP_NOW = 0,
	ZI_STAMP_MTIM = 1, /**< modification time of the file */
} zi_stamp_t;

typedef struct {
	const char *zone_file;
	const char *origin; /**< NULL = root */
	uint32_t ttl;       /**< for records without one */
	zi_stamp_t time_src;
	bool downgrade;         /**< do not validate; records are stored as insecure */
	bool zonemd;            /**< check ZONEMD (RFC 8976) */
	const knot_rrset_t *ds; /**< NULL = the trust anchors of the context */
	zi_callback cb;         /**< told the end; NULL = nobody */
	void *cb_param;
} zi_config_t;

/** Start. @return 0 or an error of reading or parsing; later trouble comes through config->cb */
KR_EXPORT
int zi_zone_import(const zi_config_t config);
struct zone_import_ctx;
/** Exchange the imports under way with another list. */
void zi_swap(struct zone_import_ctx **other);
/** Forget imports that are under way, without telling anybody. */
void zi_deinit(void);
