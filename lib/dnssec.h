/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * DNSSEC in one include: keys, signatures, proofs, trust anchors, and validation of zone data.
 */
#pragma once

#include "lib/dnssec/key.h"
#include "lib/dnssec/proof.h"
#include "lib/dnssec/signature.h"
#include "lib/dnssec/svldr.h"
#include "lib/dnssec/ta.h"
#include "lib/dnssec/verify.h"
