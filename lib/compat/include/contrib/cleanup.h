/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Variables that let go of what they hold when their scope ends: auto_free (lib/utils.h),
 * auto_close for file descriptors, auto_fclose for FILE pointers.
 */
#pragma once

#include <stdio.h>
#include <unistd.h>

#include "lib/utils.h"

#define auto_close __attribute__((cleanup(kr_cleanup_close)))
static inline void kr_cleanup_close(const int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

#define auto_fclose __attribute__((cleanup(kr_cleanup_fclose)))
static inline void kr_cleanup_fclose(FILE **file)
{
	if (*file)
		fclose(*file);
}
