/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * The layer between requests and the cache: answers questions from it, stores what was validated.
 */
#pragma once

#include "lib/defines.h"

struct kr_module;

int cache_init(struct kr_module *self);
