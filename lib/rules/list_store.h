/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Files of compiled lists: mapping them, and getting them made. Stays in this folder.
 */
#pragma once

#include <limits.h>
#include <sys/types.h>

#include "lib/rules/list_impl.h"

/** A mapped file. */
struct list_store;

/** @return NULL: it is not there, of another version, or damaged */
struct list_store *list_store_open(const char *path);
/** NULL is fine. */
void list_store_close(struct list_store *store);
const struct list_meta *list_store_meta(const struct list_store *store);
/** @return value or NULL; valid as long as the store */
const uint8_t *list_store_get(
	struct list_store *store, const uint8_t *key, size_t key_len, size_t *len);
/** Call f for each entry of a trigger. */
void list_store_each(struct list_store *store, uint8_t letter,
	void (*f)(const uint8_t *key, size_t key_len, const uint8_t *value, size_t len, void *data),
	void *data);

/** How a list is kept up to date. */
struct list_watch {
	char shared[PATH_MAX];    /**< file for all processes; empty = private */
	struct list_meta in_use;  /**< state of the source that is in force */
	struct list_meta seen;    /**< state of the source when looked at last */
	struct list_meta refused; /**< state of the source that could not be used */
	int memory;               /**< private file being made, or -1 */
	int lock;                 /**< held while we make the shared file, or -1 */
	int report;               /**< pipe from the child, or -1 */
	pid_t child;              /**< that compiles; 0 = none */
};

/** Find or make the first generation. @return store, or NULL with a text in error */
struct list_store *list_watch_start(
	struct list_watch *watch, const struct kr_list_config *config, char *error);
/** @return 1 and a store; 0 nothing new; < 0 see error */
int list_watch_poll(struct list_watch *watch, const struct kr_list_config *config,
	struct list_store **store, char *error);
void list_watch_stop(struct list_watch *watch);
