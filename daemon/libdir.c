/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/libdir.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kresconfig.h"

/** How far above the executable a build tree may begin: daemon/kresd, tests/sim/runner. */
#define CLIMB_MAX 3

/* Paths are looked up once and stay for the life of the process. */
static struct paths {
	bool is_known;
	char lib[PATH_MAX], etc[PATH_MAX], hints[PATH_MAX], keys[PATH_MAX];
} paths;

static bool join(char *dst, const char *dir, const char *tail)
{
	int len = snprintf(dst, PATH_MAX, "%s/%s", dir, tail);
	return len > 0 && len < PATH_MAX;
}

/** Folder of a staged build tree that holds the executable. */
static bool find_build_tree(char dir[PATH_MAX])
{
	ssize_t len = readlink("/proc/self/exe", dir, PATH_MAX - 1);
	if (len <= 0)
		return false;
	dir[len] = '\0';
	for (int i = 0; i < CLIMB_MAX; ++i) {
		char *slash = strrchr(dir, '/');
		if (!slash || slash == dir)
			return false;
		const size_t room = PATH_MAX - (slash - dir);
		const bool is_here = snprintf(slash, room, "/lua/.kresd-build") < (int)room &&
				     access(dir, R_OK) == 0;
		*slash = '\0';
		if (is_here)
			return true;
	}
	return false;
}

/** Folder under which the whole installation was staged (DESTDIR); empty if it is in its place. */
static void find_root(char root[PATH_MAX])
{
	static const char place[] = SBINDIR "/kresd";
	ssize_t len = readlink("/proc/self/exe", root, PATH_MAX - 1);
	const ssize_t root_len = len - (ssize_t)strlen(place);
	root[len > 0 ? len : 0] = '\0';
	if (root_len <= 0 || strcmp(root + root_len, place) != 0)
		root[0] = '\0';
	else
		root[root_len] = '\0';
}

static const struct paths *get_paths(void)
{
	if (paths.is_known)
		return &paths;
	paths.is_known = true;
	char tree[PATH_MAX];
	if (find_build_tree(tree) && join(paths.lib, tree, "lua") &&
		join(paths.etc, tree, "lua/etc") && join(paths.hints, tree, "lua/etc/root.hints") &&
		join(paths.keys, tree, "lua/etc/root.keys"))
		return &paths;
	char root[PATH_MAX], staged[PATH_MAX];
	find_root(root);
	if (!root[0] || !join(staged, root, &LIBDIR[1]) || access(staged, R_OK) != 0)
		root[0] = '\0';
	if (snprintf(paths.lib, PATH_MAX, "%s%s", root, LIBDIR) >= PATH_MAX ||
		snprintf(paths.etc, PATH_MAX, "%s%s", root, ETCDIR) >= PATH_MAX ||
		snprintf(paths.hints, PATH_MAX, "%s%s", root, ROOTHINTS) >= PATH_MAX ||
		snprintf(paths.keys, PATH_MAX, "%s%s", root, KEYFILE_DEFAULT) >= PATH_MAX)
		paths.lib[0] = '\0'; /* nothing can be found there */
	return &paths;
}

const char *kr_libdir(void)
{
	return get_paths()->lib;
}

const char *kr_etcdir(void)
{
	return get_paths()->etc;
}

const char *kr_root_hints_path(void)
{
	return get_paths()->hints;
}

const char *kr_keyfile_path(void)
{
	return get_paths()->keys;
}
