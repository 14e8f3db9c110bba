/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Top stage of streams: DNS messages with two octets of length in front (RFC 1035 section 4.2.2,
 * RFC 7766). Whole messages are handed up from the bytes just read; only an unfinished one is
 * copied.
 */
#pragma once

#include "daemon/transport/stage.h"

/** Messages too short to be DNS that a peer may send before it is disconnected (I-50). */
#define DNS_FRAME_RUNTS_MAX 3

extern const struct stage_ops dns_frame_stage;
