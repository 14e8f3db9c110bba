/* SPDX-License-Identifier: GPL-3.0-or-later */

#include "lib/cache/lmdb_map.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/sysmacros.h>

void lmdb_find_range(struct lmdb_range *range, dev_t dev, ino_t ino)
{
	*range = (struct lmdb_range){0};
	FILE *maps = fopen("/proc/self/maps", "re");
	if (!maps)
		return;
	char line[4500];
	while (fgets(line, sizeof(line), maps)) {
		uintptr_t from, to;
		unsigned major_no, minor_no;
		uintmax_t inode;
		if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %*s %*x %x:%x %" SCNuMAX, &from, &to,
			    &major_no, &minor_no, &inode) != 5)
			continue;
		/* Some file systems show another device number here than in stat(). */
		if (inode != ino || (makedev(major_no, minor_no) != dev && range->from))
			continue;
		if (to - from > range->to - range->from)
			*range = (struct lmdb_range){from, to};
	}
	fclose(maps);
}
