/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * The keyed hash of the tables of the daemon.
 */
#pragma once

#include "lib/generic/siphash.h"
