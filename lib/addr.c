/* SPDX-License-Identifier: GPL-3.0-or-later */

#include "lib/addr.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

const char *kr_inaddr(const struct sockaddr *addr)
{
	if (!addr)
		return NULL;
	switch (addr->sa_family) {
	case AF_INET:
		return (const char *)&((const struct sockaddr_in *)addr)->sin_addr;
	case AF_INET6:
		return (const char *)&((const struct sockaddr_in6 *)addr)->sin6_addr;
	default:
		return NULL;
	}
}

int kr_inaddr_family(const struct sockaddr *addr)
{
	return addr ? addr->sa_family : AF_UNSPEC;
}

int kr_family_len(int family)
{
	switch (family) {
	case AF_INET:
		return sizeof(struct in_addr);
	case AF_INET6:
		return sizeof(struct in6_addr);
	default:
		return kr_error(EINVAL);
	}
}

int kr_inaddr_len(const struct sockaddr *addr)
{
	return addr ? kr_family_len(addr->sa_family) : kr_error(EINVAL);
}

int kr_sockaddr_len(const struct sockaddr *addr)
{
	switch (kr_inaddr_family(addr)) {
	case AF_INET:
		return sizeof(struct sockaddr_in);
	case AF_INET6:
		return sizeof(struct sockaddr_in6);
	case AF_UNIX:
		return sizeof(struct sockaddr_un);
	default:
		return kr_error(EINVAL);
	}
}

uint16_t kr_inaddr_port(const struct sockaddr *addr)
{
	switch (kr_inaddr_family(addr)) {
	case AF_INET:
		return ntohs(((const struct sockaddr_in *)addr)->sin_port);
	case AF_INET6:
		return ntohs(((const struct sockaddr_in6 *)addr)->sin6_port);
	default:
		return 0;
	}
}

void kr_inaddr_set_port(struct sockaddr *addr, uint16_t port)
{
	switch (kr_inaddr_family(addr)) {
	case AF_INET:
		((struct sockaddr_in *)addr)->sin_port = htons(port);
		break;
	case AF_INET6:
		((struct sockaddr_in6 *)addr)->sin6_port = htons(port);
		break;
	default:
		break;
	}
}

int kr_ntop_str(int family, const void *src, uint16_t port, char *buf, size_t *buf_len)
{
	char text[INET6_ADDRSTRLEN];
	if (!src || !buf || !buf_len)
		return kr_error(EINVAL);
	if (!inet_ntop(family, src, text, sizeof(text)))
		return kr_error(errno);
	const int len = snprintf(buf, *buf_len, "%s#%05u", text, port);
	if (len < 0 || (size_t)len >= *buf_len)
		return kr_error(ENOSPC);
	*buf_len = len;
	return kr_ok();
}

int kr_inaddr_str(const struct sockaddr *addr, char *buf, size_t *buf_len)
{
	if (!addr || !buf || !buf_len)
		return kr_error(EINVAL);
	if (addr->sa_family == AF_UNIX) {
		const struct sockaddr_un *un = (const struct sockaddr_un *)addr;
		const int len = snprintf(buf, *buf_len, "%s", un->sun_path);
		if (len < 0 || (size_t)len >= *buf_len)
			return kr_error(ENOSPC);
		*buf_len = len;
		return kr_ok();
	}
	return kr_ntop_str(addr->sa_family, kr_inaddr(addr), kr_inaddr_port(addr), buf, buf_len);
}

char *kr_straddr(const struct sockaddr *addr)
{
	static char text[KR_STRADDR_MAXLEN + 1];
	size_t len = sizeof(text);
	return kr_inaddr_str(addr, text, &len) == 0 ? text : NULL;
}

int kr_sockaddr_cmp(const struct sockaddr *left, const struct sockaddr *right)
{
	if (!left || !right)
		return kr_error(EINVAL);
	if (left->sa_family != right->sa_family)
		return kr_error(EFAULT);
	const int len = kr_inaddr_len(left);
	if (len < 0)
		return kr_error(ENOENT);
	if (memcmp(kr_inaddr(left), kr_inaddr(right), len) != 0 ||
		kr_inaddr_port(left) != kr_inaddr_port(right))
		return kr_error(EFAULT);
	if (left->sa_family == AF_INET6 &&
		((const struct sockaddr_in6 *)left)->sin6_scope_id !=
			((const struct sockaddr_in6 *)right)->sin6_scope_id)
		return kr_error(EFAULT);
	return kr_ok();
}

/** Key: family, port, address, and for IPv6 the scope. */
struct addr_key {
	uint8_t family;
	uint8_t port[2];
	uint8_t addr[16];
	uint8_t scope[4];
} __attribute__((packed));

ssize_t kr_sockaddr_key(uint8_t *dst, const struct sockaddr *addr)
{
	const int len = kr_inaddr_len(addr);
	if (len < 0)
		return len;
	struct addr_key key = {.family = addr->sa_family == AF_INET ? 4 : 6};
	const uint16_t port = kr_inaddr_port(addr);
	key.port[0] = port >> 8;
	key.port[1] = port & 0xff;
	memcpy(key.addr, kr_inaddr(addr), len);
	size_t size = offsetof(struct addr_key, addr) + len;
	if (len == 16) {
		memcpy(key.scope, &((const struct sockaddr_in6 *)addr)->sin6_scope_id,
			sizeof(key.scope));
		size = sizeof(key);
	}
	memcpy(dst, &key, size);
	return size;
}

int kr_sockaddr_from_key(union kr_sockaddr *dst, const uint8_t *key, size_t len)
{
	struct addr_key parsed = {0};
	if (!key || len < 1 || len > sizeof(parsed))
		return kr_error(EINVAL);
	memcpy(&parsed, key, len);
	memset(dst, 0, sizeof(*dst));
	if (parsed.family == 4 && len == offsetof(struct addr_key, addr) + 4) {
		dst->ip4.sin_family = AF_INET;
		memcpy(&dst->ip4.sin_addr, parsed.addr, 4);
	} else if (parsed.family == 6 && len == sizeof(parsed)) {
		dst->ip6.sin6_family = AF_INET6;
		memcpy(&dst->ip6.sin6_addr, parsed.addr, 16);
		memcpy(&dst->ip6.sin6_scope_id, parsed.scope, sizeof(parsed.scope));
	} else {
		return kr_error(EINVAL);
	}
	kr_inaddr_set_port(&dst->ip, (parsed.port[0] << 8) | parsed.port[1]);
	return kr_ok();
}

bool kr_sockaddr_key_same_addr(const uint8_t *a, const uint8_t *b)
{
	const size_t at = offsetof(struct addr_key, addr);
	return a[0] == b[0] && memcmp(a + at, b + at, a[0] == 4 ? 4 : 20) == 0;
}

int kr_straddr_family(const char *text)
{
	if (!text || !*text)
		return kr_error(EINVAL);
	if (text[0] == '/')
		return AF_UNIX;
	if (strchr(text, ':'))
		return AF_INET6;
	if (strchr(text, '.'))
		return AF_INET;
	return kr_error(EINVAL);
}

static struct sockaddr *unix_socket(const char *path, knot_mm_t *pool)
{
	struct sockaddr_un *un = mm_calloc(pool, 1, sizeof(*un));
	if (!un)
		return NULL;
	if (strlen(path) >= sizeof(un->sun_path)) {
		mm_free(pool, un);
		return NULL;
	}
	un->sun_family = AF_UNIX;
	strcpy(un->sun_path, path);
	return (struct sockaddr *)un;
}

/** Read `ADDR[%SCOPE]`. */
static bool parse_inet6(struct sockaddr_in6 *ip6, const char *text)
{
	char addr[INET6_ADDRSTRLEN + IF_NAMESIZE + 1];
	if (strlen(text) >= sizeof(addr))
		return false;
	strcpy(addr, text);
	char *scope = strchr(addr, '%');
	if (scope) {
		*scope++ = '\0';
		char *end = NULL;
		unsigned long index = if_nametoindex(scope);
		if (index == 0)
			index = strtoul(scope, &end, 10);
		if (index == 0 || (end && *end))
			return false;
		ip6->sin6_scope_id = index;
	}
	ip6->sin6_family = AF_INET6;
	return inet_pton(AF_INET6, addr, &ip6->sin6_addr) == 1;
}

struct sockaddr *kr_straddr_socket(const char *text, int port, knot_mm_t *pool)
{
	const int family = kr_straddr_family(text);
	if (family == AF_UNIX)
		return unix_socket(text, pool);
	if (family < 0 || port < 0 || port > UINT16_MAX)
		return NULL;
	union kr_sockaddr addr = {0};
	if (family == AF_INET) {
		addr.ip4.sin_family = AF_INET;
		if (inet_pton(AF_INET, text, &addr.ip4.sin_addr) != 1)
			return NULL;
	} else if (!parse_inet6(&addr.ip6, text)) {
		return NULL;
	}
	kr_inaddr_set_port(&addr.ip, port);
	return mm_memdup(pool, &addr, kr_sockaddr_len(&addr.ip));
}

int kr_straddr_subnet(void *dst, const char *text)
{
	char addr[INET6_ADDRSTRLEN];
	const int family = kr_straddr_family(text);
	if (family != AF_INET && family != AF_INET6)
		return kr_error(EINVAL);
	const char *slash = strchr(text, '/');
	const size_t addr_len = slash ? (size_t)(slash - text) : strlen(text);
	if (addr_len >= sizeof(addr))
		return kr_error(EINVAL);
	memcpy(addr, text, addr_len);
	addr[addr_len] = '\0';
	const int max_bits = kr_family_len(family) * 8;
	long bits = max_bits;
	if (slash) {
		char *end = NULL;
		errno = 0;
		bits = strtol(slash + 1, &end, 10);
		if (errno != 0 || end == slash + 1 || *end || bits < 0 || bits > max_bits)
			return kr_error(ERANGE);
	}
	uint8_t parsed[16];
	if (inet_pton(family, addr, parsed) != 1)
		return kr_error(EILSEQ);
	if (dst)
		memcpy(dst, parsed, max_bits / 8);
	return bits;
}

int kr_straddr_split(const char *text, char *addr_buf, uint16_t *port)
{
	if (!text || !addr_buf || !port)
		return kr_error(EINVAL);
	const size_t len = strcspn(text, "@#");
	if (len >= KR_ADDR_TEXT_LEN)
		return kr_error(EILSEQ);
	if (text[len]) {
		char *end = NULL;
		errno = 0;
		const char *digits = text + len + 1;
		const unsigned long value = strtoul(digits, &end, 10);
		if (errno != 0 || end == digits || *end || *digits == '-' || *digits == '+' ||
			value == 0 || value > UINT16_MAX)
			return kr_error(EILSEQ);
		*port = value;
	}
	memcpy(addr_buf, text, len);
	addr_buf[len] = '\0';
	return kr_ok();
}

int kr_straddr_join(const char *text, uint16_t port, char *buf, size_t *buf_len)
{
	if (!text || !buf || !buf_len)
		return kr_error(EINVAL);
	struct sockaddr *addr = kr_straddr_socket(text, port, NULL);
	if (!addr || addr->sa_family == AF_UNIX) {
		free(addr);
		return kr_error(EINVAL);
	}
	free(addr);
	const int len = snprintf(buf, *buf_len, "%s#%05u", text, port);
	if (len < 0 || (size_t)len >= *buf_len)
		return kr_error(ENOSPC);
	*buf_len = len;
	return kr_ok();
}

int kr_bitcmp(const char *a, const char *b, int bits)
{
	if (!a || !b)
		return (a != NULL) - (b != NULL);
	const int bytes = bits / 8;
	int ret = memcmp(a, b, bytes);
	if (ret != 0 || bits % 8 == 0)
		return ret;
	const int shift = 8 - bits % 8;
	return ((uint8_t)a[bytes] >> shift) - ((uint8_t)b[bytes] >> shift);
}

void kr_bitmask(unsigned char *a, size_t a_len, int bits)
{
	if (bits < 0 || !a)
		return;
	size_t i = bits / 8;
	if (i < a_len && bits % 8 != 0) {
		a[i] &= 0xff << (8 - bits % 8);
		i += 1;
	}
	for (; i < a_len; ++i)
		a[i] = 0;
}

struct prefix {
	const char *bytes;
	int bits;
};

static bool is_in(const char *addr, const struct prefix *list, size_t count)
{
	for (size_t i = 0; i < count; ++i) {
		if (kr_bitcmp(addr, list[i].bytes, list[i].bits) == 0)
			return true;
	}
	return false;
}

bool kr_addr_is_unusable(const struct sockaddr *addr)
{
	static const struct prefix ip4[] = {
		{"\x00\x00\x00\x00", 8},
		{"\x7f\x00\x00\x00", 8},
		{"\xa9\xfe\x00\x00", 16},
		{"\xe0\x00\x00\x00", 3},
	};
	static const struct prefix ip6[] = {
		{"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 127}, /* :: and ::1 */
		{"\0\0\0\0\0\0\0\0\0\0\xff\xff", 96},
		{"\xfe\x80", 10},
		{"\xff", 8},
	};
	const char *bytes = kr_inaddr(addr);
	switch (kr_inaddr_family(addr)) {
	case AF_INET:
		return is_in(bytes, ip4, KR_COUNT_OF(ip4));
	case AF_INET6:
		return is_in(bytes, ip6, KR_COUNT_OF(ip6));
	default:
		return true;
	}
}

bool kr_addr_is_private(const struct sockaddr *addr)
{
	static const struct prefix ip4[] = {
		{"\x0a\x00\x00\x00", 8},
		{"\xac\x10\x00\x00", 12},
		{"\xc0\xa8\x00\x00", 16},
		{"\x64\x40\x00\x00", 10},
	};
	static const struct prefix ip6[] = {{"\xfc", 7}};
	const char *bytes = kr_inaddr(addr);
	switch (kr_inaddr_family(addr)) {
	case AF_INET:
		return is_in(bytes, ip4, KR_COUNT_OF(ip4));
	case AF_INET6:
		return is_in(bytes, ip6, KR_COUNT_OF(ip6));
	default:
		return false;
	}
}
