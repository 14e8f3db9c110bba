/* SPDX-License-Identifier: GPL-3.0-or-later */

#include "lib/cache/usage.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/** Bring the file to its size. @return false if there is no room */
static bool make_size(int fd)
{
	struct stat st;
	if (fstat(fd, &st) != 0)
		return false;
	return st.st_size == CACHE_USAGE_SLOTS ||
	       (ftruncate(fd, CACHE_USAGE_SLOTS) == 0 &&
		       posix_fallocate(fd, 0, CACHE_USAGE_SLOTS) == 0);
}

uint8_t *cache_usage_open(const char *dir)
{
	char path[PATH_MAX];
	if (!dir || snprintf(path, sizeof(path), "%s/" CACHE_USAGE_FILE, dir) >= (int)sizeof(path))
		return NULL;
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0660);
	if (fd < 0)
		return NULL;
	void *map = MAP_FAILED;
	if (make_size(fd))
		map = mmap(NULL, CACHE_USAGE_SLOTS, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	return map == MAP_FAILED ? NULL : map;
}

void cache_usage_close(uint8_t *usage)
{
	if (usage)
		munmap(usage, CACHE_USAGE_SLOTS);
}

uint8_t *cache_usage_slot(uint8_t *usage, const void *key, size_t len)
{
	uint64_t sum = len, word;
	const uint8_t *at = key;
	for (; len >= sizeof(word); at += sizeof(word), len -= sizeof(word)) {
		memcpy(&word, at, sizeof(word));
		sum = (sum ^ word) * 0x9e3779b97f4a7c15u;
		sum ^= sum >> 32;
	}
	word = 0;
	memcpy(&word, at, len);
	sum = (sum ^ word) * 0x9e3779b97f4a7c15u;
	return &usage[(sum >> 40) % CACHE_USAGE_SLOTS];
}

void cache_usage_age(uint8_t *usage)
{
	for (size_t i = 0; usage && i < CACHE_USAGE_SLOTS; ++i)
		usage[i] /= 2;
}
