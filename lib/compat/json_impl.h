/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * What reading (json_read.c) and writing (json.c) of JSON share.
 */
#pragma once

#include "lib/compat/json.h"

/** Bytes of the UTF-8 character at the beginning of a NUL-terminated text; 0 = it is none. */
int json_utf8_length(const char *text);
bool json_utf8_is_valid(const char *text);
