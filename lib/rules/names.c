/* SPDX-License-Identifier: GPL-3.0-or-later */

#include "lib/rules/names.h"

#include "lib/check.h"

/** What a name of the set stands for; kept in the pointer that the trie has for it. */
enum { NAME_ITSELF = 1, NAME_BELOW = 2 };

struct kr_names {
	trie_t *trie;
	uint32_t refs;
	bool has_below; /**< names above the one asked for matter */
};

static inline char fold(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c;
}

void kr_name_key(struct kr_name_key *key, const knot_dname_t *name)
{
	const uint8_t *labels[KNOT_DNAME_MAXLABELS];
	uint8_t count = 0;
	for (const uint8_t *at = name; *at && count < KNOT_DNAME_MAXLABELS; at += 1 + *at)
		labels[count++] = at;
	key->labels = count;
	key->ends[0] = 0;
	size_t len = 0;
	for (uint8_t n = 1; n <= count; ++n) {
		const uint8_t *label = labels[count - n];
		key->key[len++] = *label;
		for (uint8_t i = 1; i <= *label; ++i)
			key->key[len++] = fold(label[i]);
		key->ends[n] = len;
	}
}

struct kr_names *kr_names_new(void)
{
	struct kr_names *names = calloc(1, sizeof(*names));
	if (!names)
		return NULL;
	names->refs = 1;
	names->trie = trie_create(NULL);
	if (names->trie)
		return names;
	free(names);
	return NULL;
}

struct kr_names *kr_names_ref(struct kr_names *names)
{
	if (names)
		names->refs += 1;
	return names;
}

void kr_names_unref(struct kr_names *names)
{
	if (!names || --names->refs > 0)
		return;
	trie_free(names->trie);
	free(names);
}

int kr_names_add(struct kr_names *names, const knot_dname_t *name, bool below)
{
	struct kr_name_key key;
	kr_name_key(&key, name);
	trie_val_t *val = trie_get_ins(names->trie, key.key, key.ends[key.labels]);
	if (!val)
		return kr_error(ENOMEM);
	const uintptr_t flags = NAME_ITSELF | (below ? NAME_BELOW : 0);
	*val = (void *)((uintptr_t)*val | flags); /* NOLINT(performance-no-int-to-ptr) */
	names->has_below |= below;
	return kr_ok();
}

size_t kr_names_len(const struct kr_names *names)
{
	return trie_weight(names->trie);
}

bool kr_names_have_key(const struct kr_names *names, const struct kr_name_key *key)
{
	if (trie_get_try(names->trie, key->key, key->ends[key->labels]))
		return true;
	for (unsigned n = names->has_below ? key->labels : 0; n-- > 0;) {
		const trie_val_t *val = trie_get_try(names->trie, key->key, key->ends[n]);
		if (val && ((uintptr_t)*val & NAME_BELOW))
			return true;
	}
	return false;
}

bool kr_names_have(const struct kr_names *names, const knot_dname_t *name)
{
	struct kr_name_key key;
	kr_name_key(&key, name);
	return kr_names_have_key(names, &key);
}

int kr_names_each(struct kr_names *names,
	int (*f)(const char *key, uint32_t len, bool below, void *data), void *data)
{
	trie_it_t *it = trie_it_begin(names->trie);
	if (!it)
		return kr_error(ENOMEM);
	int ret = kr_ok();
	for (; ret == 0 && !trie_it_finished(it); trie_it_next(it)) {
		size_t len = 0;
		const char *key = trie_it_key(it, &len);
		ret = f(key, len, (uintptr_t)*trie_it_val(it) & NAME_BELOW, data);
	}
	trie_it_free(it);
	return ret;
}
