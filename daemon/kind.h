/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Names of endpoint kinds, as net.listen() and `-S` take them, and what they mean.
 */
#pragma once

#include "daemon/network.h"

/** Name that was replaced; callers tell the user about doh_legacy and doh2. */
#define KIND_RENAMED "doh"

/**
 * Set tls, http, xdp and kind of the flags. Built-in kinds are compared without case.
 * @param kind  borrowed; foreign kinds keep the pointer in flags->kind
 * @return 0; kr_error(EINVAL) empty or KIND_RENAMED
 */
int kind_set(endpoint_flags_t *flags, const char *kind);
/** Name of the kind. */
const char *kind_name(const endpoint_flags_t *flags);
/** True for kinds that answer DNS: dns, xdp, tls, doh2, doh_legacy. */
bool kind_is_dns(const endpoint_flags_t *flags);
