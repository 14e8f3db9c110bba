/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Sets of names, and the form in which lib/rules looks names up: labels from the root downwards,
 * each with its length before it. All suffixes of a name are then prefixes of one string, and no
 * byte inside of a label can be taken for a border.
 */
#pragma once

#include <libknot/dname.h>

#include "lib/defines.h"
#include "lib/generic/trie.h"

/** A name to be looked up, and all names above it. */
struct kr_name_key {
	uint8_t labels; /**< without the root */
	/** ends[n] = length of the key of the name's last n labels; ends[0] = 0: the root. */
	uint8_t ends[KNOT_DNAME_MAXLABELS + 1];
	char key[KNOT_DNAME_MAXLEN];
};

/** Make the key of a name in wire form; letters are folded to lower case. */
KR_EXPORT
void kr_name_key(struct kr_name_key *key, const knot_dname_t *name);

/** A set of names; each stands for itself, or for itself and everything below. Counted. */
struct kr_names;

/** @return set with one reference; NULL if out of memory */
KR_EXPORT
struct kr_names *kr_names_new(void);
KR_EXPORT
struct kr_names *kr_names_ref(struct kr_names *names);
/** NULL is fine. */
KR_EXPORT
void kr_names_unref(struct kr_names *names);
/** @param below  also everything below the name @return 0 or kr_error(ENOMEM) */
KR_EXPORT
int kr_names_add(struct kr_names *names, const knot_dname_t *name, bool below);
/** Number of names added. */
KR_EXPORT KR_PURE size_t kr_names_len(const struct kr_names *names);
/** Is the name in the set? */
KR_EXPORT
bool kr_names_have(const struct kr_names *names, const knot_dname_t *name);
bool kr_names_have_key(const struct kr_names *names, const struct kr_name_key *key);
/** Call f for each name of the set. @return 0, or the first result of f that is not 0 */
int kr_names_each(struct kr_names *names,
	int (*f)(const char *key, uint32_t len, bool below, void *data), void *data);
