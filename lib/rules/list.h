/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * Big lists of names (block lists, response policy zones): compiled once into a read-only LMDB file
 * that all processes of a working directory map, replaced as a whole by a new generation.
 */
#pragma once

#include "lib/rules/action.h"
#include "lib/rules/names.h"

struct kr_list;

/** What a list says about a name or address. */
enum kr_verdict {
	KR_VERDICT_NONE = 0,
	KR_VERDICT_LISTED, /**< do what the rule says */
	KR_VERDICT_NODATA,
	KR_VERDICT_PASS,
	KR_VERDICT_DROP,
	KR_VERDICT_TC,
	KR_VERDICT_DATA,  /**< records of its own */
	KR_VERDICT_ALIAS, /**< another name */
};

/** An entry that was found; valid until the list is reloaded. */
struct kr_list_hit {
	enum kr_verdict verdict;
	const uint8_t *data; /**< DATA: records; ALIAS: TTL and name */
	size_t len;
	uint8_t labels; /**< of the entry's name */
	bool is_below;  /**< found as something below the entry's name */
	bool is_addr;   /**< found by address */
};

/** What is looked up besides the name of the question (response policy zones). */
enum kr_trigger {
	KR_TRIGGER_QNAME,
	KR_TRIGGER_CLIENT_IP,
	KR_TRIGGER_IP, /**< addresses in the answer */
	KR_TRIGGER_NSDNAME,
	KR_TRIGGER_NSIP,
	KR_TRIGGER_COUNT
};

/** Formats of files. */
enum kr_list_format {
	KR_LIST_RPZ = 1, /**< master file with policies as records */
	KR_LIST_HOSTS,   /**< `0.0.0.0 name…`; the names are listed, the addresses ignored */
	KR_LIST_DOMAINS, /**< a name a line, for itself and all below; `*.name`: only what is below
			  */
	KR_LIST_ADBLOCK, /**< `||name^`: the name and all below; `@@||name^`: let pass */
};

struct kr_list_config {
	const char *path; /**< the file */
	const char *dir;  /**< where big lists are kept for all processes; NULL = nowhere */
	enum kr_list_format format;
	size_t big_bytes; /**< files from this size on are kept in `dir`; 0 = the default */
	bool no_answer;   /**< `rpz-drop.` is silence, not SERVFAIL */
};

/** Size of files from which on they are compiled apart from the process: about 50 000 names. */
#define KR_LIST_BIG_BYTES (1024 * 1024)
/** Longest message about a list. */
#define KR_LIST_ERROR_MAX 512

/** Counters of a list. */
struct kr_list_stats {
	uint64_t entries;
	uint64_t skipped;    /**< lines or records that make no sense */
	uint64_t hits;       /**< questions that it decided */
	uint64_t generation; /**< 1, 2… grows with each load */
	uint32_t serial;     /**< of the SOA, if there is one */
	bool is_shared;      /**< in a file that other processes use, too */
};

/**
 * Load a list: map what another process compiled from the same file, or compile it.
 * @param[out] error  text, KR_LIST_ERROR_MAX bytes
 * @return NULL: see error
 */
KR_EXPORT
struct kr_list *kr_list_open(const struct kr_list_config *config, char *error);
KR_EXPORT
struct kr_list *kr_list_ref(struct kr_list *list);
/** NULL is fine. */
KR_EXPORT
void kr_list_unref(struct kr_list *list);
/**
 * Look after the file; to be called a few times a second. A change is believed when it has been
 * still for one call. Small files are read at once, big ones by a child process.
 * @return 1 a new generation is in force; 0 nothing new; < 0 see error: the old one stays
 */
KR_EXPORT
int kr_list_poll(struct kr_list *list, char *error);
/** Path of the file. */
KR_EXPORT
const char *kr_list_name(const struct kr_list *list);
KR_EXPORT
const struct kr_list_stats *kr_list_stats(const struct kr_list *list);
/**
 * Counted entries, the n-th of them.
 * @param[out] name  text @param len  of the buffer
 * @return hits; 0 = there is no n-th
 */
KR_EXPORT
uint64_t kr_list_top(const struct kr_list *list, size_t n, char *name, size_t len);

/** What is said about a name by QNAME or NSDNAME. @return verdict */
enum kr_verdict kr_list_find_name(struct kr_list *list, enum kr_trigger trigger,
	const struct kr_name_key *key, struct kr_list_hit *hit);
/** What is said about the name of a question. @return verdict */
KR_EXPORT
enum kr_verdict kr_list_find(
	struct kr_list *list, const knot_dname_t *name, struct kr_list_hit *hit);
/** What is said about an address. The smallest network decides. @return verdict */
KR_EXPORT
enum kr_verdict kr_list_find_addr(struct kr_list *list, enum kr_trigger trigger, int family,
	const uint8_t *addr, struct kr_list_hit *hit);
/** Has the list triggers of that kind? */
bool kr_list_has(const struct kr_list *list, enum kr_trigger trigger);
/** Name of the entry by which a name was found. */
const knot_dname_t *kr_list_entry_name(const knot_dname_t *name, const struct kr_list_hit *hit);
/** Count a hit. @param name  what was found; NULL = an address */
void kr_list_count(struct kr_list *list, const knot_dname_t *name, const struct kr_list_hit *hit);
/**
 * Make the action of a verdict other than LISTED.
 * @return action with a reference; NULL if out of memory
 */
KR_EXPORT
struct kr_action *kr_list_action(struct kr_list *list, const struct kr_list_hit *hit);
