/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Where the Lua files, modules, root hints and trust anchors lie. Installed programs use the paths
 * given at build time; a program started from a build tree finds the folder `lua/` that the build
 * stages (marked by the file `.kresd-build` in it) in one of the folders above the executable. An
 * installation that was put under another root (DESTDIR) uses its own files.
 */
#pragma once

/** Folder of sandbox.lua, kres.lua and kres_modules/. */
const char *kr_libdir(void);
/** Folder of root.hints, root.keys and icann-ca.pem. */
const char *kr_etcdir(void);
/** File with the root servers. */
const char *kr_root_hints_path(void);
/** File with the root trust anchors. */
const char *kr_keyfile_path(void);
