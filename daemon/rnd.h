/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * The process's source of random bytes fit for cryptography: message ids, ports, letter case, hash
 * seeds. A buffer over the kernel's generator, so that small requests cost no system call; it is
 * thrown away after fork(), and no byte is handed out twice (S-01).
 */
#pragma once

#include "lib/defines.h"

/** Fill `buf`. Cannot fail: without a kernel source of randomness the process ends. */
KR_EXPORT
void kr_rnd_buffered(void *buf, unsigned int len);
/** The same with the signature of kr_context::rnd; `data` is not used. */
void kr_rnd_source(void *data, void *buf, size_t len);
/** @return a number of `size` random bytes, 1 to 8 */
KR_EXPORT
uint64_t kr_rand_bytes(unsigned int size);
