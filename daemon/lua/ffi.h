/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Everything from which daemon/lua/gen_ffi.py takes declarations for Lua (see ffi.names). Not
 * included by anything else but the layout check that the same script writes.
 */
#pragma once

#include <arpa/inet.h>
#include <stdlib.h>
#include <sys/time.h>

#include <libknot/libknot.h>
#include <libzscanner/scanner.h>

#include "daemon/args.h"
#include "daemon/engine.h"
#include "daemon/ffi_layer.h"
#include "daemon/worker.h"
#include "daemon/zimport.h"
#include "lib/addr.h"
#include "lib/cache/cache.h"
#include "lib/check.h"
#include "lib/dnssec/key.h"
#include "lib/dnssec/ta.h"
#include "lib/generic/lru.h"
#include "lib/log.h"
#include "lib/mm.h"
#include "lib/module.h"
#include "lib/request.h"
#include "lib/resolve.h"
#include "lib/rplan.h"
#include "lib/rrs.h"
#include "lib/rules/action.h"
#include "lib/rules/list.h"
#include "lib/rules/rules.h"
#include "lib/utils.h"
#include "lib/zonecut.h"
