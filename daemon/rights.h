/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Rights of the process: becoming another user for good, and giving up what a resolver does not
 * need. Called before the loop runs.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

/**
 * Change user and group for good: supplementary groups too, no way back, no capability is kept.
 * @param user  name, for its supplementary groups
 * @return 0 or an error; the process is then what it was or must end
 */
int rights_become(const char *user, uid_t uid, gid_t gid);

/**
 * Give up what is not needed to serve. A plain user loses all capabilities if it may change them
 * (CAP_SETPCAP); root keeps those that configuration may use later (low ports, user(), files of
 * others) and loses the rest. No program that is started gains rights.
 * @param allow_root  do not warn about root
 */
void rights_drop(bool allow_root);
