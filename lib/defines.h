/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * The ground everything stands on: error convention, export marks, compiler hints and the numbers
 * that the DNS itself fixes. Included by every other header; includes nothing of ours.
 */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <libknot/errcode.h>

/** Symbols visible to modules, FFI and embedding programs. */
#define KR_EXPORT __attribute__((visibility("default")))
/** Callers have to look at the result. */
#define KR_MUST_CHECK __attribute__((warn_unused_result))
#define KR_PRINTF(fmt, first) __attribute__((format(printf, fmt, first)))
#define KR_COLD __attribute__((cold))
#define KR_PURE __attribute__((pure))

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/** Success; every function that can fail returns this or a negative kr_error(). */
#define kr_ok() 0
/** Negative error code from an errno or libknot code of either sign. */
static inline int kr_error(int code)
{
	return code > 0 ? -code : code;
}

#define KR_COUNT_OF(arr) (sizeof(arr) / sizeof((arr)[0]))
#define KR_MIN(a, b) ((a) < (b) ? (a) : (b))
#define KR_MAX(a, b) ((a) > (b) ? (a) : (b))

/** @name Limits of the DNS @{ */
#define KR_DNS_PORT 53        /**< RFC 1035 section 4.2 */
#define KR_DNS_TLS_PORT 853   /**< RFC 7858 section 3.1 */
#define KR_DNS_DOH_PORT 443   /**< RFC 8484 */
#define KR_DNS_WIRE_MAX 65535 /**< largest message on a stream, RFC 1035 section 4.2.2 */
#define KR_DNS_UDP_PLAIN 512  /**< largest UDP answer without EDNS, RFC 1035 section 4.2.1 */
#define KR_EDNS_PAYLOAD 1232  /**< default EDNS payload: fits IPv6 minimum MTU, B-34 */
#define KR_EDNS_VERSION 0     /**< RFC 6891 section 6.1.3 */
/** @} */

/** @name Limits on work per request and per message (the B- rows of the requirements) @{ */
#define KR_BUDGET_PACKETS_MAX 100        /**< B-01 upstream packets per client request */
#define KR_BUDGET_NAME_PACKETS_MAX 50    /**< B-02 upstream packets per owner name */
#define KR_BUDGET_BYTES_MAX (256 * 1024) /**< B-03 upstream bytes per client request */
#define KR_BUDGET_CONNECTS_MAX 8         /**< B-04 stream connects per client request */
#define KR_BUDGET_CONNECTS_ADDR_MAX 2    /**< B-04 ... per server address */
#define KR_NS_MAX 13                     /**< B-05 NS names considered per delegation */
#define KR_NS_ADDR_MAX 6                 /**< B-06 addresses kept per NS name */
#define KR_CUT_ADDR_MAX 32               /**< B-06 addresses kept per delegation */
#define KR_NS_LOOKUP_FAIL_MAX 5          /**< B-07 failed address look-ups in a row */
#define KR_NS_LOOKUP_CUT_MAX 12          /**< B-07 address look-ups per delegation */
#define KR_NS_LOOKUP_MAX 24              /**< B-07 address look-ups per request */
#define KR_NS_DEPTH_MAX 5                /**< B-08 nesting of address look-ups */
#define KR_CNAME_MAX 12                  /**< B-09 CNAME and DNAME steps per request */
#define KR_REFERRAL_MAX 40               /**< B-10 referrals per name */
#define KR_MINIMIZE_MAX 10               /**< B-11 minimised questions per name */
#define KR_MINIMIZE_ONE_LABEL 4          /**< B-11 of them growing by a single label */
#define KR_CONSUME_FAIL_ROW_MAX 4        /**< B-12 consecutive failed answers */
#define KR_TRIES_UDP_MAX 2               /**< B-13 UDP tries per question and address */
#define KR_TRIES_STREAM_MAX 1            /**< B-13 stream tries per question and address */
#define KR_VERIFY_MSG_MAX 32             /**< B-14 signature checks per message */
#define KR_VERIFY_MSG_UNITS 64           /**< B-14 ... in units of about 0.2 ms */
#define KR_VERIFY_STEP_UNITS 24          /**< B-32 ... before others get their turn */
#define KR_VERIFY_REQ_MAX 96             /**< B-15 signature checks per client request */
#define KR_VERIFY_REQ_UNITS 192          /**< B-15 ... in units */
#define KR_VERIFY_FAIL_MAX 8             /**< B-16 failed signature checks per request */
#define KR_VERIFY_FAIL_UNITS 24          /**< B-16 ... in units */
#define KR_VERIFY_YIELD_UNITS 24         /**< B-32 units between two yields to the loop */
#define KR_KEYTAG_KEYS_MAX 4             /**< B-17 keys tried per tag and algorithm */
#define KR_RRSIG_KEPT_MAX 8              /**< B-18 RRSIGs kept per RRset */
#define KR_RRSIG_TRIED_MAX 4             /**< B-18 RRSIGs tried per RRset */
#define KR_DS_MAX 8                      /**< B-19 DS records considered per zone */
#define KR_DS_MISMATCH_MAX 4             /**< B-19 digest mismatches tolerated */
#define KR_NSEC3_ITERATIONS_MAX 50       /**< B-20 RFC 9276; above: insecure */
#define KR_NSEC3_PRICE_MAX 51            /**< B-20 (iterations + 1) * SHA-1 blocks per round */
#define KR_NSEC3_BLOCKS_PROOF 256        /**< B-21 SHA-1 blocks per proof */
#define KR_NSEC3_BLOCKS_REQ 1024         /**< B-21 SHA-1 blocks per client request */
#define KR_NSEC3_MSG_MAX 8               /**< B-22 NSEC3 records looked at per message */
#define KR_NSEC_MSG_MAX 16               /**< B-22 NSEC records looked at per message */
#define KR_NSEC3_AGGR_BLOCKS 128         /**< B-23 blocks for synthesis from cached NSEC3 */
#define KR_RRSET_RRS_MAX 1000            /**< B-24 records per RRset */
#define KR_POINTER_HOPS_MAX 32           /**< B-27 compression pointers followed for one name */
#define KR_MSG_RRS_MAX 4096              /**< B-24 records per message */
#define KR_MSG_RRSETS_MAX 512            /**< B-24 RRsets per message */
#define KR_EDNS_OPTIONS_MAX 32           /**< B-28 options parsed per OPT */
#define KR_EDE_TEXT_MAX 64               /**< B-29 bytes of EDE text sent */
#define KR_REQUEST_TIME_MS 8000          /**< B-30 wall time of a client request */
#define KR_TRY_TIME_MIN_MS 50            /**< B-30 shortest upstream timeout */
#define KR_TRY_TIME_MAX_MS 3000          /**< B-30 longest upstream timeout */
#define KR_FAIL_TTL_MIN_S 5              /**< B-33 failure cache: first */
#define KR_FAIL_TTL_MAX_S 60             /**< B-33 failure cache: after growth */
#define KR_FAIL_CACHE_MAX 10000          /**< B-33 entries of the failure cache */
#define KR_TTL_MIN_S 5                   /**< B-41 default cache.min_ttl */
#define KR_TTL_MAX_S 86400               /**< B-41 default cache.max_ttl */
#define KR_TTL_NEG_MAX_S 3600            /**< B-41 negative answers */
#define KR_TTL_DELEG_MAX_S 86400         /**< B-41 delegations */
#define KR_ROUNDS_MAX 100                /**< produce rounds per request */
#define KR_TIMEOUTS_MAX 10               /**< upstream timeouts per request */
/** @} */
