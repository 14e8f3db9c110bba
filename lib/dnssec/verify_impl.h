/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * The engines behind lib/dnssec/verify.h. A key's length and size were checked before key_new().
 */
#pragma once

#include "lib/dnssec/verify.h"

extern const struct dnssec_engine dnssec_engine_libcrypto;
extern const struct dnssec_engine dnssec_engine_libdnssec;
