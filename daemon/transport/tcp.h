/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Bottom stage of a stream socket, accepted or connecting. Bytes are read into the loop's shared
 * buffer; what is to be sent is gathered and leaves by one write at the end of the loop turn.
 */
#pragma once

#include "daemon/transport/stage.h"

struct tcp_param {
	int fd;             /**< non-blocking; ours from now on, also if init fails */
	bool is_connecting; /**< connect() is under way; STAGE_OPEN follows */
};

extern const struct stage_ops tcp_stage;

struct uv_handle_s;
/** Handle of the socket of a stage of this kind, for uv_fileno(). */
struct uv_handle_s *tcp_stage_handle(const struct stage *st);
