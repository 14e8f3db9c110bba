/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Sizes and offsets as C has them, to be compared with what LuaJIT made of the generated
 * declarations.
 */
#pragma once

#include <stddef.h>

/** One fact about a type; a list of them ends with type NULL. */
struct ffi_layout {
	const char *type;
	const char *member; /**< NULL: value is the size of the type */
	size_t value;
};
extern const struct ffi_layout ffi_layouts[];
