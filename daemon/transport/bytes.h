/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * A lent run of bytes.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct bytes {
	const uint8_t *at;
	size_t len;
};
