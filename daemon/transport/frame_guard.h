/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Counts HTTP/2 frames as they pass, without understanding more than their headers: the cheap ones
 * of which a flood costs the server more than the client (B-47, CVE-2023-44487 and its kin).
 */
#pragma once

#include "daemon/transport/bytes.h"
#include "lib/defines.h"

/** Kinds that are counted per window. */
enum frame_guard_kind {
	GUARD_RESET,
	GUARD_SETTINGS,
	GUARD_PING,
	GUARD_EMPTY_DATA,
	GUARD_PRIORITY,
	GUARD_WINDOW_UPDATE,
	GUARD_UNKNOWN,
	GUARD_KIND_COUNT
};

/** {0} is a good start. */
struct frame_guard {
	uint32_t preface; /**< octets of the client's preface seen */
	uint32_t payload; /**< octets of the present frame to come */
	uint8_t header[9];
	uint8_t header_len;
	uint8_t continuations; /**< in the present header block */
	bool is_flooded;
	int64_t window_s; /**< when the window began */
	uint32_t counts[GUARD_KIND_COUNT];
};

/** Look at bytes from the client. @return false: enough of it */
bool frame_guard_see(struct frame_guard *guard, struct bytes in, int64_t now_s);
/** We had to reset a stream. */
void frame_guard_count_reset(struct frame_guard *guard, int64_t now_s);
/** The preface is complete. */
bool frame_guard_is_started(const struct frame_guard *guard);
bool frame_guard_is_flooded(const struct frame_guard *guard);
