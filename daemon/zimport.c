/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/zimport.h"

#include <gnutls/crypto.h>
#include <libknot/descriptor.h>
#include <libknot/rrtype/rrsig.h>
#include <libzscanner/scanner.h>
#include <string.h>
#include <sys/stat.h>

#include "daemon/engine.h"
#include "lib/dnssec/svldr.h"
#include "lib/dnssec/ta.h"
#include "lib/log.h"

/** Sets judged and stored between two looks at the loop. */
#define SETS_PER_TURN 32
/** ZONEMD: serial, scheme, hash algorithm, then the digest (RFC 8976 section 2). @{ */
#define ZONEMD_HEAD 6
#define ZONEMD_SCHEME_SIMPLE 1
/** @} */

/** An RRset of the file and its signatures. */
struct zi_set {
	knot_rrset_t rr;
	knot_rdataset_t sigs;
};

struct zone_import_ctx {
	struct zone_import_ctx *next; /**< others under way */
	zi_config_t config;
	char *path; /**< config.zone_file; the caller's text may go away before the end */
	knot_mm_t pool;
	trie_t *sets; /**< canonical owner and type -> struct zi_set */
	knot_dname_storage_t origin;
	uint32_t stamp_s;
	int err; /**< of the parser */

	struct kr_svldr_ctx *validator; /**< NULL: downgrade */
	trie_it_t *it;
	const knot_dname_t *cut; /**< delegation whose names come next; NULL = none */
	size_t stored, invalid;
	struct netio_timer timer;
};

/** Imports under way; they have to end before the process does. */
static struct zone_import_ctx *running;

static void import_free(struct zone_import_ctx *zi)
{
	for (struct zone_import_ctx **at = &running; *at; at = &(*at)->next) {
		if (*at == zi) {
			*at = zi->next;
			break;
		}
	}
	free(zi->path);
	trie_it_free(zi->it);
	trie_free(zi->sets);
	kr_svldr_free_ctx(zi->validator);
	if (zi->pool.ctx)
		mp_delete(zi->pool.ctx);
	free(zi);
}

/** Canonical order of owners (RFC 4034 section 6.1), then types. @return length */
static size_t make_key(char key[KNOT_DNAME_MAXLEN + 3], const knot_dname_t *owner, uint16_t type)
{
	knot_dname_storage_t storage;
	const uint8_t *lf = knot_dname_lf(owner, storage);
	const size_t len = lf[0];
	memcpy(key, lf + 1, len);
	key[len] = '\0';
	key[len + 1] = type >> 8;
	key[len + 2] = type & 0xff;
	return len + 3;
}

static struct zi_set *find_set(struct zone_import_ctx *zi, const knot_dname_t *owner, uint16_t type)
{
	char key[KNOT_DNAME_MAXLEN + 3];
	trie_val_t *val = trie_get_try(zi->sets, key, make_key(key, owner, type));
	return val ? *val : NULL;
}

/** The set of a name and type, made if need be; NULL if out of memory. */
static struct zi_set *get_set(
	struct zone_import_ctx *zi, const knot_dname_t *owner, uint16_t type, uint32_t ttl)
{
	char key[KNOT_DNAME_MAXLEN + 3];
	trie_val_t *val = trie_get_ins(zi->sets, key, make_key(key, owner, type));
	if (!val || *val)
		return val ? *val : NULL;
	struct zi_set *set = mm_calloc(&zi->pool, 1, sizeof(*set));
	knot_dname_t *copy = set ? knot_dname_copy(owner, &zi->pool) : NULL;
	if (!copy)
		return NULL;
	knot_rrset_init(&set->rr, copy, type, KNOT_CLASS_IN, ttl);
	*val = set;
	return set;
}

/* ---- Reading ---- */

static int add_record(struct zone_import_ctx *zi, zs_scanner_t *s)
{
	if (s->r_class != KNOT_CLASS_IN || knot_dname_in_bailiwick(s->r_owner, zi->origin) < 0)
		return kr_ok();
	struct zi_set *set = get_set(zi, s->r_owner, s->r_type, s->r_ttl);
	if (!set)
		return kr_error(ENOMEM);
	int ret = knot_rrset_add_rdata(&set->rr, s->r_data, s->r_data_length, &zi->pool);
	if (ret != KNOT_EOK || s->r_type != KNOT_RRTYPE_RRSIG || s->r_data_length < 18)
		return kr_error(ret);
	const uint16_t covered = s->r_data[0] << 8 | s->r_data[1];
	set = get_set(zi, s->r_owner, covered, s->r_ttl);
	if (!set)
		return kr_error(ENOMEM);
	knot_rrset_t sigs = {.rrs = set->sigs};
	ret = knot_rrset_add_rdata(&sigs, s->r_data, s->r_data_length, &zi->pool);
	set->sigs = sigs.rrs;
	return kr_error(ret);
}

static void on_record(zs_scanner_t *s)
{
	struct zone_import_ctx *zi = s->process.data;
	knot_dname_to_lower(s->r_owner);
	zi->err = add_record(zi, s);
	if (zi->err)
		s->state = ZS_STATE_STOP;
}

static void on_syntax_error(zs_scanner_t *s)
{
	struct zone_import_ctx *zi = s->process.data;
	kr_log_error(PREFILL, "%s:%llu: %s\n", zi->config.zone_file,
		(unsigned long long)s->line_counter, zs_strerror(s->error.code));
	zi->err = kr_error(EILSEQ);
	s->state = ZS_STATE_STOP;
}

/** One record after the other; what comes from elsewhere does not read files of this machine
 * (Z-01). */
static void parse_zone(struct zone_import_ctx *zi, zs_scanner_t *s)
{
	while (zi->err == 0 && zs_parse_record(s) == 0) {
		switch (s->state) {
		case ZS_STATE_DATA:
			on_record(s);
			break;
		case ZS_STATE_ERROR:
			on_syntax_error(s);
			break;
		case ZS_STATE_INCLUDE:
			kr_log_error(PREFILL, "%s:%llu: $INCLUDE is not allowed\n",
				zi->config.zone_file, (unsigned long long)s->line_counter);
			zi->err = kr_error(EPERM);
			break;
		default:
			return;
		}
	}
}

static int read_zone(struct zone_import_ctx *zi)
{
	zs_scanner_t *scanner = malloc(sizeof(*scanner));
	if (!scanner)
		return kr_error(ENOMEM);
	const char *origin = zi->config.origin ? zi->config.origin : ".";
	int ret = kr_error(EINVAL);
	if (zs_init(scanner, origin, KNOT_CLASS_IN, zi->config.ttl) == 0 &&
		zs_set_input_file(scanner, zi->config.zone_file) == 0 &&
		zs_set_processing(scanner, on_record, on_syntax_error, zi) == 0) {
		parse_zone(zi, scanner);
		ret = zi->err;
		if (ret == 0 && scanner->error.fatal)
			ret = kr_error(EILSEQ);
	} else {
		kr_log_error(PREFILL, "%s: %s\n", zi->config.zone_file,
			zs_strerror(scanner->error.code));
	}
	zs_deinit(scanner);
	free(scanner);
	return ret;
}

/* ---- ZONEMD ---- */

static void hash_set(gnutls_hash_hd_t hash, const knot_rrset_t *rr)
{
	const size_t owner_len = knot_dname_size(rr->owner);
	const knot_rdata_t *rd = rr->rrs.rdata;
	for (uint16_t i = 0; i < rr->rrs.count; ++i, rd = knot_rdataset_next((knot_rdata_t *)rd)) {
		const uint8_t fixed[10] = {rr->type >> 8, rr->type & 0xff, 0, KNOT_CLASS_IN,
			rr->ttl >> 24, rr->ttl >> 16 & 0xff, rr->ttl >> 8 & 0xff, rr->ttl & 0xff,
			rd->len >> 8, rd->len & 0xff};
		gnutls_hash(hash, rr->owner, owner_len);
		gnutls_hash(hash, fixed, sizeof(fixed));
		gnutls_hash(hash, rd->data, rd->len);
	}
}

/** RRSIGs without those of the apex ZONEMD set. */
static int hash_signatures(
	struct zone_import_ctx *zi, gnutls_hash_hd_t hash, const knot_rrset_t *rr)
{
	knot_rrset_t kept = *rr;
	knot_rdataset_init(&kept.rrs);
	const bool is_apex = knot_dname_is_equal(rr->owner, zi->origin);
	knot_rdata_t *rd = rr->rrs.rdata;
	for (uint16_t i = 0; i < rr->rrs.count; ++i, rd = knot_rdataset_next(rd)) {
		if (is_apex && knot_rrsig_type_covered(rd) == KNOT_RRTYPE_ZONEMD)
			continue;
		int ret = knot_rdataset_add(&kept.rrs, rd, &zi->pool);
		if (ret != KNOT_EOK)
			return kr_error(ret);
	}
	hash_set(hash, &kept);
	return kr_ok();
}

static int hash_zone(
	struct zone_import_ctx *zi, gnutls_digest_algorithm_t algorithm, uint8_t *digest)
{
	gnutls_hash_hd_t hash;
	if (gnutls_hash_init(&hash, algorithm) < 0)
		return kr_error(ENOTSUP);
	int ret = kr_ok();
	trie_it_t *it = trie_it_begin(zi->sets);
	for (; it && !trie_it_finished(it) && ret == 0; trie_it_next(it)) {
		struct zi_set *set = *trie_it_val(it);
		if (set->rr.type == KNOT_RRTYPE_ZONEMD &&
			knot_dname_is_equal(set->rr.owner, zi->origin))
			continue;
		if (set->rr.type == KNOT_RRTYPE_RRSIG)
			ret = hash_signatures(zi, hash, &set->rr);
		else
			hash_set(hash, &set->rr);
	}
	trie_it_free(it);
	gnutls_hash_deinit(hash, digest);
	return it ? ret : kr_error(ENOMEM);
}

/** Does any digest of the zone fit (RFC 8976 section 4)? */
static int check_zonemd(struct zone_import_ctx *zi)
{
	const struct zi_set *md = find_set(zi, zi->origin, KNOT_RRTYPE_ZONEMD);
	const struct zi_set *soa = find_set(zi, zi->origin, KNOT_RRTYPE_SOA);
	if (!md || !soa || soa->rr.rrs.count != 1 || soa->rr.rrs.rdata->len < 20)
		return kr_error(ENOENT);
	const knot_rdata_t *soa_rd = soa->rr.rrs.rdata;
	const uint8_t *serial = soa_rd->data + soa_rd->len - 20;
	knot_rdata_t *rd = md->rr.rrs.rdata;
	for (uint16_t i = 0; i < md->rr.rrs.count; ++i, rd = knot_rdataset_next(rd)) {
		if (rd->len < ZONEMD_HEAD || memcmp(rd->data, serial, 4) != 0 ||
			rd->data[4] != ZONEMD_SCHEME_SIMPLE)
			continue;
		const gnutls_digest_algorithm_t algorithm = rd->data[5] == 1   ? GNUTLS_DIG_SHA384
							    : rd->data[5] == 2 ? GNUTLS_DIG_SHA512
									       : GNUTLS_DIG_NULL;
		uint8_t digest[64];
		const size_t len =
			algorithm == GNUTLS_DIG_NULL ? 0 : gnutls_hash_get_len(algorithm);
		if (len == 0 || len != (size_t)rd->len - ZONEMD_HEAD)
			continue;
		int ret = hash_zone(zi, algorithm, digest);
		if (ret != 0)
			return ret;
		return memcmp(digest, rd->data + ZONEMD_HEAD, len) == 0 ? kr_ok()
									: kr_error(EBADMSG);
	}
	return kr_error(ENOTSUP);
}

/* ---- Judging and storing ---- */

static int make_validator(struct zone_import_ctx *zi)
{
	const knot_rrset_t *ds =
		zi->config.ds ? zi->config.ds : kr_ta_get(the_resolver->trust_anchors, zi->origin);
	struct zi_set *keys = find_set(zi, zi->origin, KNOT_RRTYPE_DNSKEY);
	if (!ds || !keys || keys->rr.rrs.count == 0) {
		kr_log_error(PREFILL, "there is no trust anchor or no DNSKEY of the zone\n");
		return kr_error(ENOENT);
	}
	zi->validator = kr_svldr_new_ctx(ds, &keys->rr, &keys->sigs, zi->stamp_s, NULL);
	if (zi->validator)
		return kr_ok();
	kr_log_error(PREFILL, "the keys of the zone do not validate\n");
	return kr_error(EBADMSG);
}

static bool is_secure(struct zone_import_ctx *zi, struct zi_set *set)
{
	return set && set->rr.rrs.count > 0 && zi->validator &&
	       kr_svldr_rrset(&set->rr, &set->sigs, zi->validator) == 0;
}

static void store_set(struct zone_import_ctx *zi, struct zi_set *set)
{
	const bool secure = is_secure(zi, set);
	if (zi->validator && !secure) {
		zi->invalid += 1;
		return;
	}
	knot_rrset_t sigs;
	knot_rrset_init(&sigs, set->rr.owner, KNOT_RRTYPE_RRSIG, KNOT_CLASS_IN, set->rr.ttl);
	sigs.rrs = set->sigs;
	const uint8_t rank = KR_RANK_AUTH | (secure ? KR_RANK_SECURE : KR_RANK_INSECURE);
	if (kr_cache_insert_rr(&the_resolver->cache, &set->rr, sigs.rrs.count ? &sigs : NULL, rank,
		    zi->stamp_s, secure) == 0)
		zi->stored += 1;
}

static void add_glue(
	struct zone_import_ctx *zi, struct kr_deleg *deleg, knot_dname_t *ns, uint16_t type)
{
	const struct zi_set *set = find_set(zi, ns, type);
	const uint16_t len = type == KNOT_RRTYPE_A ? 4 : 16;
	knot_rdata_t *rd = set ? set->rr.rrs.rdata : NULL;
	for (uint16_t i = 0; set && i < set->rr.rrs.count; ++i, rd = knot_rdataset_next(rd)) {
		if (rd->len != len)
			continue;
		struct kr_deleg_glue glue = {.ns = ns, .addr_len = len};
		memcpy(glue.addr, rd->data, len);
		(void)array_push_mm(deleg->glue, glue, &zi->pool);
	}
}

static void store_delegation(struct zone_import_ctx *zi, struct zi_set *set)
{
	struct zi_set *nsec = find_set(zi, set->rr.owner, KNOT_RRTYPE_NSEC);
	const struct zi_set *ds = find_set(zi, set->rr.owner, KNOT_RRTYPE_DS);
	struct kr_deleg deleg = {
		.name = set->rr.owner,
		.parent = zi->origin,
		.ttl = set->rr.ttl,
		.is_secure_nods = (!ds || ds->rr.rrs.count == 0) && is_secure(zi, nsec),
	};
	deleg.nods_ttl = deleg.is_secure_nods ? nsec->rr.ttl : 0;
	knot_rdata_t *rd = set->rr.rrs.rdata;
	for (uint16_t i = 0; i < set->rr.rrs.count; ++i, rd = knot_rdataset_next(rd)) {
		knot_dname_t *ns = knot_dname_copy(rd->data, &zi->pool);
		if (!ns || array_push_mm(deleg.ns, ns, &zi->pool) < 0)
			return;
		knot_dname_to_lower(ns);
		add_glue(zi, &deleg, ns, KNOT_RRTYPE_A);
		add_glue(zi, &deleg, ns, KNOT_RRTYPE_AAAA);
	}
	if (kr_cache_deleg_insert(&the_resolver->cache, &deleg, 0, zi->stamp_s) == 0)
		zi->stored += 1;
}

/** Sets come in canonical order, so a delegation comes before the names below it. */
static void import_set(struct zone_import_ctx *zi, struct zi_set *set)
{
	const uint16_t type = set->rr.type;
	if (set->rr.rrs.count == 0 || type == KNOT_RRTYPE_RRSIG)
		return;
	if (zi->cut && knot_dname_in_bailiwick(set->rr.owner, zi->cut) > 0)
		return; /* glue, or hidden below a delegation */
	const struct zi_set *ns = knot_dname_is_equal(set->rr.owner, zi->origin)
					  ? NULL
					  : find_set(zi, set->rr.owner, KNOT_RRTYPE_NS);
	if (!ns || ns->rr.rrs.count == 0) {
		store_set(zi, set);
		return;
	}
	zi->cut = set->rr.owner;
	if (type == KNOT_RRTYPE_NS)
		store_delegation(zi, set);
	else if (type == KNOT_RRTYPE_DS || type == KNOT_RRTYPE_NSEC)
		store_set(zi, set);
}

static void import_end(struct zone_import_ctx *zi)
{
	kr_log_info(PREFILL, "%s: %zu sets and delegations stored, %zu not valid\n",
		zi->config.zone_file, zi->stored, zi->invalid);
	the_resolver->generation += 1;
	if (zi->config.cb)
		zi->config.cb(zi->invalid > 0 ? kr_error(EBADMSG) : kr_ok(), zi->config.cb_param);
	import_free(zi);
}

static void on_turn(struct netio_timer *timer)
{
	struct zone_import_ctx *zi =
		(struct zone_import_ctx *)((char *)timer - offsetof(struct zone_import_ctx, timer));
	struct netio *io = the_engine->io;
	for (int i = 0; i < SETS_PER_TURN && !trie_it_finished(zi->it); ++i, trie_it_next(zi->it))
		import_set(zi, *trie_it_val(zi->it));
	if (!trie_it_finished(zi->it) && io->ops->timer_start(io, timer, 0) == 0)
		return;
	io->ops->timer_stop(io, timer);
	import_end(zi);
}

static int import_begin(struct zone_import_ctx *zi)
{
	struct stat st;
	if (!zi->config.zone_file || stat(zi->config.zone_file, &st) != 0)
		return kr_error(errno ? errno : EINVAL);
	const char *origin = zi->config.origin ? zi->config.origin : ".";
	if (!knot_dname_from_str(zi->origin, origin, sizeof(zi->origin)))
		return kr_error(EINVAL);
	knot_dname_to_lower(zi->origin);
	zi->stamp_s = zi->config.time_src == ZI_STAMP_MTIM ? (uint32_t)st.st_mtime
							   : (uint32_t)the_resolver->now.tv_sec;
	int ret = read_zone(zi);
	if (ret == 0 && zi->config.zonemd) {
		ret = check_zonemd(zi);
		if (ret != 0)
			kr_log_error(PREFILL, "%s: ZONEMD: %s\n", zi->config.zone_file,
				ret == kr_error(EBADMSG) ? "the digest does not fit"
							 : "no digest that could be checked");
	}
	if (ret == 0 && !zi->config.downgrade)
		ret = make_validator(zi);
	if (ret != 0)
		return ret;
	zi->it = trie_it_begin(zi->sets);
	zi->timer.fire = on_turn;
	zi->path = zi->it ? strdup(zi->config.zone_file) : NULL;
	if (!zi->path)
		return kr_error(ENOMEM);
	zi->config.zone_file = zi->path;
	zi->next = running;
	running = zi;
	return the_engine->io->ops->timer_start(the_engine->io, &zi->timer, 0);
}

int zi_zone_import(const zi_config_t config)
{
	if (!the_engine || !kr_cache_is_open(&the_resolver->cache))
		return kr_error(EINVAL);
	struct zone_import_ctx *zi = calloc(1, sizeof(*zi));
	if (!zi)
		return kr_error(ENOMEM);
	zi->config = config;
	mm_ctx_mempool2(&zi->pool, 64 * 1024);
	zi->sets = trie_create(NULL);
	int ret = zi->pool.ctx && zi->sets ? import_begin(zi) : kr_error(ENOMEM);
	if (ret != 0)
		import_free(zi);
	return ret;
}

void zi_swap(struct zone_import_ctx **other)
{
	struct zone_import_ctx *was = running;
	running = *other;
	*other = was;
}

void zi_deinit(void)
{
	while (running) {
		the_engine->io->ops->timer_stop(the_engine->io, &running->timer);
		import_free(running);
	}
}
