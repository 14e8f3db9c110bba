/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Messages for unit tests, written as text: a first line `QNAME TYPE [RCODE] [flags aa tc ...]`,
 * then one record a line behind its section: `AN`, `NS` or `AR`. Records are in zone-file form with
 * TTL and class.
 */
#pragma once

#include <libknot/packet/pkt.h>

/** Parsed answer made from text; aborts the test if the text is wrong. knot_pkt_free() it. */
knot_pkt_t *message_make(const char *text);
/** One record a line as `SECTION OWNER TYPE RDATA`, malloc()ed. */
char *message_text(const knot_pkt_t *pkt);
