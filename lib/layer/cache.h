/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * The layer that answers from the cache and keeps what the network said.
 */
#pragma once

struct kr_module;

int cache_init(struct kr_module *self);
