/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Socket addresses and subnets: making, comparing, printing, reading. Text form is `ADDR#PORT` with
 * five digits of port; `ADDR@PORT` is read too. No name resolution happens here.
 */
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include "lib/defines.h"
#include "lib/mm.h"

/** Large enough for `ADDR%SCOPE#PORT` or a UNIX path, and NUL. */
#define KR_STRADDR_MAXLEN 109
/** Longest address text that may carry a port, with NUL. */
#define KR_ADDR_TEXT_LEN 47

union kr_sockaddr {
	struct sockaddr ip;
	struct sockaddr_in ip4;
	struct sockaddr_in6 ip6;
};

union kr_in_addr {
	struct in_addr ip4;
	struct in6_addr ip6;
};

/** Address bytes inside `addr`, or NULL (NULL, UNIX). */
KR_EXPORT KR_PURE const char *kr_inaddr(const struct sockaddr *addr);
/** AF_*; AF_UNSPEC for NULL. */
KR_EXPORT KR_PURE int kr_inaddr_family(const struct sockaddr *addr);
/** 4, 16, or kr_error(EINVAL). */
KR_EXPORT KR_PURE int kr_inaddr_len(const struct sockaddr *addr);
/** Port in host order; 0 if there is none. */
KR_EXPORT KR_PURE uint16_t kr_inaddr_port(const struct sockaddr *addr);
KR_EXPORT
void kr_inaddr_set_port(struct sockaddr *addr, uint16_t port);
/** sizeof the sockaddr of that family, or kr_error(EINVAL). */
KR_EXPORT KR_PURE int kr_sockaddr_len(const struct sockaddr *addr);
/** 4, 16, or kr_error(EINVAL). */
KR_EXPORT KR_PURE int kr_family_len(int family);

/** Print `addr#port`. @param buf_len in: room, out: length with NUL @return 0, ENOSPC, EINVAL */
KR_EXPORT
int kr_inaddr_str(const struct sockaddr *addr, char *buf, size_t *buf_len);
/** Same from address bytes. @param port host order */
KR_EXPORT
int kr_ntop_str(int family, const void *src, uint16_t port, char *buf, size_t *buf_len);
/** Print into one static buffer: for logs only. */
KR_EXPORT
char *kr_straddr(const struct sockaddr *addr);

/** 0 equal; kr_error(EFAULT) different; kr_error(EINVAL) NULL; kr_error(ENOENT) other families. */
KR_EXPORT KR_PURE int kr_sockaddr_cmp(const struct sockaddr *left, const struct sockaddr *right);

/** Compact key of address and port for tries. @param dst 32 bytes @return length or error */
KR_EXPORT
ssize_t kr_sockaddr_key(uint8_t *dst, const struct sockaddr *addr);
/** The inverse of kr_sockaddr_key(). */
KR_EXPORT
int kr_sockaddr_from_key(union kr_sockaddr *dst, const uint8_t *key, size_t len);
/** True if two keys have the same address, whatever the port. */
KR_EXPORT KR_PURE bool kr_sockaddr_key_same_addr(const uint8_t *a, const uint8_t *b);

/** Family by syntax: `/...` UNIX, with `:` IPv6, with `.` IPv4, else kr_error(EINVAL). */
KR_EXPORT KR_PURE int kr_straddr_family(const char *text);
/** Read an address (with `%scope`) or a UNIX path. @param pool NULL = malloc @return NULL if bad */
KR_EXPORT
struct sockaddr *kr_straddr_socket(const char *text, int port, knot_mm_t *pool);
/**
 * Read `ADDR[/LEN]`. @param dst 4 or 16 bytes, or NULL to check only
 * @return prefix length in bits; kr_error(ERANGE) bad length; kr_error(EILSEQ) bad address;
 *         kr_error(EINVAL) not an address
 */
KR_EXPORT
int kr_straddr_subnet(void *dst, const char *text);
/** Split `ADDR[@#]PORT`. @param addr_buf KR_ADDR_TEXT_LEN @param port kept if there is none */
KR_EXPORT
int kr_straddr_split(const char *text, char *addr_buf, uint16_t *port);
/** Validate an address and print `ADDR#PORT`. @return 0, EINVAL, ENOSPC */
KR_EXPORT
int kr_straddr_join(const char *text, uint16_t port, char *buf, size_t *buf_len);

/** Like memcmp() on the leading bits; NULL sorts first. */
KR_EXPORT KR_PURE int kr_bitcmp(const char *a, const char *b, int bits);
/** Clear all but the leading bits. */
KR_EXPORT
void kr_bitmask(unsigned char *a, size_t a_len, int bits);

/** True for an address that no name server on the Internet can have (spec C-15). */
KR_EXPORT KR_PURE bool kr_addr_is_unusable(const struct sockaddr *addr);
/** True for RFC 1918, RFC 4193 and shared address space. */
KR_EXPORT KR_PURE bool kr_addr_is_private(const struct sockaddr *addr);
