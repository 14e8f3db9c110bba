/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include "lib/cache/api.h"
#include "lib/cache/entry.h"
#include "lib/cache/key.h"
