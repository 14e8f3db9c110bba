/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Where modules expect it; see lib/selection/selection.h.
 */
#pragma once

#include "lib/selection/selection.h"
