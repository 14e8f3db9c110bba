/* SPDX-License-Identifier: GPL-3.0-or-later */

#include "lib/utils.h"

#include <dirent.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <libknot/codes.h>
#include <libknot/error.h>
#include <libknot/rrset-dump.h>
#include <libknot/rrtype/opt.h>
#include <libknot/wire.h>

#include "lib/resolve.h"

/* ---- packets ---- */

/** Drop all records of the parsed form. */
static void forget_records(knot_pkt_t *pkt)
{
	for (unsigned i = 0; i < pkt->rrset_count; ++i) {
		if (pkt->rr_info[i].flags & KNOT_PF_FREE)
			knot_rrset_clear(&pkt->rr[i], &pkt->mm);
	}
	pkt->rrset_count = 0;
	pkt->current = KNOT_ANSWER;
	memset(pkt->sections, 0, sizeof(pkt->sections));
	for (int i = 0; i < KNOT_PKT_SECTIONS; ++i)
		pkt->sections[i].pkt = pkt;
	pkt->opt_rr = NULL;
	pkt->edns_opts = NULL;
	pkt->tsig_rr = NULL;
	pkt->reserved = 0;
	memset(&pkt->compr, 0, sizeof(pkt->compr));
	pkt->compr.wire = pkt->wire;
}

int kr_pkt_recycle(knot_pkt_t *pkt)
{
	forget_records(pkt);
	pkt->qname_size = 0;
	pkt->parsed = 0;
	pkt->size = KNOT_WIRE_HEADER_SIZE;
	/* id and flags stay */
	memset(pkt->wire + KNOT_WIRE_OFFSET_QDCOUNT, 0,
		KNOT_WIRE_HEADER_SIZE - KNOT_WIRE_OFFSET_QDCOUNT);
	return kr_ok();
}

int kr_pkt_clear_payload(knot_pkt_t *pkt)
{
	forget_records(pkt);
	if (knot_wire_get_qdcount(pkt->wire) == 0) {
		pkt->qname_size = 0;
		pkt->size = KNOT_WIRE_HEADER_SIZE;
	} else {
		pkt->size = KNOT_WIRE_HEADER_SIZE + pkt->qname_size + 2 * sizeof(uint16_t);
	}
	pkt->parsed = KNOT_WIRE_HEADER_SIZE;
	knot_wire_set_ancount(pkt->wire, 0);
	knot_wire_set_nscount(pkt->wire, 0);
	knot_wire_set_arcount(pkt->wire, 0);
	return knot_pkt_begin(pkt, KNOT_ANSWER) == KNOT_EOK ? kr_ok() : kr_error(EINVAL);
}

int kr_pkt_put(knot_pkt_t *pkt, const knot_dname_t *name, uint32_t ttl, uint16_t rclass,
	uint16_t rtype, const uint8_t *rdata, uint16_t rdlen)
{
	if (!pkt || !name)
		return kr_error(EINVAL);
	knot_dname_t *owner = knot_dname_copy(name, &pkt->mm);
	if (!owner)
		return kr_error(ENOMEM);
	knot_rrset_t rr;
	knot_rrset_init(&rr, owner, rtype, rclass, ttl);
	int ret = knot_rrset_add_rdata(&rr, rdata, rdlen, &pkt->mm);
	if (ret == KNOT_EOK)
		ret = knot_pkt_put(pkt, KNOT_COMPR_HINT_NONE, &rr, KNOT_PF_FREE);
	return ret == KNOT_EOK ? kr_ok() : kr_error(ret);
}

void kr_pkt_make_auth_header(knot_pkt_t *pkt)
{
	if (!pkt || !pkt->wire)
		return;
	knot_wire_clear_ad(pkt->wire);
	knot_wire_set_aa(pkt->wire);
}

bool kr_pkt_has_wire(const knot_pkt_t *pkt)
{
	return pkt->size != KR_PKT_SIZE_NOWIRE;
}

bool kr_pkt_has_dnssec(const knot_pkt_t *pkt)
{
	return knot_pkt_has_dnssec(pkt);
}

uint16_t kr_pkt_qclass(const knot_pkt_t *pkt)
{
	return knot_pkt_qclass(pkt);
}

uint16_t kr_pkt_qtype(const knot_pkt_t *pkt)
{
	return knot_pkt_qtype(pkt);
}

static void print_header(FILE *out, const knot_pkt_t *pkt)
{
	static const struct {
		uint8_t byte, mask;
		const char *name;
	} flags[] = {{2, 0x80, "qr"}, {2, 0x04, "aa"}, {2, 0x02, "tc"}, {2, 0x01, "rd"},
		{3, 0x80, "ra"}, {3, 0x20, "ad"}, {3, 0x10, "cd"}};
	const knot_lookup_t *rcode = knot_lookup_by_id(knot_rcode_names, knot_pkt_ext_rcode(pkt));
	const knot_lookup_t *opcode =
		knot_lookup_by_id(knot_opcode_names, knot_wire_get_opcode(pkt->wire));
	fprintf(out, ";; ->>HEADER<<- opcode: %s; status: %s; id: %hu\n;; Flags:",
		opcode ? opcode->name : "UNKNOWN", rcode ? rcode->name : "UNKNOWN",
		knot_wire_get_id(pkt->wire));
	for (size_t i = 0; i < KR_COUNT_OF(flags); ++i) {
		if (pkt->wire[flags[i].byte] & flags[i].mask)
			fprintf(out, " %s", flags[i].name);
	}
	fprintf(out, "; QUERY: %hu; ANSWER: %hu; AUTHORITY: %hu; ADDITIONAL: %hu\n",
		knot_wire_get_qdcount(pkt->wire), pkt->sections[KNOT_ANSWER].count,
		pkt->sections[KNOT_AUTHORITY].count, pkt->sections[KNOT_ADDITIONAL].count);
}

static void print_opt(FILE *out, const knot_rrset_t *opt)
{
	fprintf(out,
		";; EDNS PSEUDOSECTION:\n;; Version: %u; flags: %s; UDP size: %u B; ext-rcode: "
		"%u\n",
		knot_edns_get_version(opt), knot_edns_do(opt) ? "do" : "",
		knot_edns_get_payload(opt), knot_edns_get_ext_rcode(opt));
}

static void print_section(FILE *out, const knot_pktsection_t *section, const char *name)
{
	if (section->count == 0)
		return;
	fprintf(out, "\n;; %s SECTION\n", name);
	for (unsigned i = 0; i < section->count; ++i) {
		const knot_rrset_t *rr = knot_pkt_rr(section, i);
		size_t room = 1024;
		char *text = rr->type == KNOT_RRTYPE_OPT ? NULL : malloc(room);
		if (text && knot_rrset_txt_dump(rr, &text, &room, &KNOT_DUMP_STYLE_DEFAULT) >= 0)
			fputs(text, out);
		free(text);
	}
}

char *kr_pkt_text(const knot_pkt_t *pkt)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = pkt ? open_memstream(&text, &size) : NULL;
	if (!out)
		return NULL;
	print_header(out, pkt);
	if (pkt->opt_rr)
		print_opt(out, pkt->opt_rr);
	if (knot_wire_get_qdcount(pkt->wire) > 0 && pkt->qname_size > 0) {
		KR_DNAME_GET_STR(name, kr_pkt_qname_raw(pkt));
		KR_RRTYPE_GET_STR(type, knot_pkt_qtype(pkt));
		fprintf(out, "\n;; QUESTION SECTION\n%s\t\t%s\n", name, type);
	}
	print_section(out, knot_pkt_section(pkt, KNOT_ANSWER), "ANSWER");
	print_section(out, knot_pkt_section(pkt, KNOT_AUTHORITY), "AUTHORITY");
	print_section(out, knot_pkt_section(pkt, KNOT_ADDITIONAL), "ADDITIONAL");
	fclose(out);
	return text;
}

uint32_t packet_ttl(const knot_pkt_t *pkt)
{
	const struct kr_cache *cache = &the_resolver->cache;
	const uint8_t rcode = knot_wire_get_rcode(pkt->wire);
	uint32_t ttl = UINT32_MAX;
	for (int i = KNOT_ANSWER; i <= KNOT_ADDITIONAL; ++i) {
		const knot_pktsection_t *section = knot_pkt_section(pkt, i);
		for (unsigned j = 0; j < section->count; ++j) {
			const knot_rrset_t *rr = knot_pkt_rr(section, j);
			if (rr->type != KNOT_RRTYPE_OPT && rr->type != KNOT_RRTYPE_TSIG)
				ttl = KR_MIN(ttl, rr->ttl);
		}
	}
	const bool is_good = rcode == KNOT_RCODE_NOERROR || rcode == KNOT_RCODE_NXDOMAIN ||
			     rcode == KNOT_RCODE_YXDOMAIN;
	if (!is_good || ttl == UINT32_MAX)
		return cache->ttl_min;
	return KR_MIN(KR_MAX(ttl, cache->ttl_min), cache->ttl_max);
}

/* ---- texts ---- */

char *kr_rrtype_text(uint16_t rrtype)
{
	KR_RRTYPE_GET_STR(text, rrtype);
	return strdup(text);
}

int kr_rrkey(
	char *key, uint16_t rclass, const knot_dname_t *owner, uint16_t type, uint16_t additional)
{
	if (!key || !owner)
		return kr_error(EINVAL);
	uint8_t *name = (uint8_t *)key + 12;
	const int prefix = snprintf(key, 13, "%04x%04x%04x", rclass, type, additional);
	const int len = knot_dname_to_wire(name, owner, KNOT_DNAME_MAXLEN);
	if (prefix != 12 || len <= 0)
		return kr_error(EINVAL);
	knot_dname_to_lower(name);
	key[prefix + len] = '\0';
	return prefix + len;
}

const char *kr_strerror(int code)
{
	const int positive = code < 0 ? -code : code;
	return positive < -KNOT_ERROR_MIN ? strerror(positive) : knot_strerror(-positive);
}

const char *kr_strptime_diff(
	const char *format, const char *time1_str, const char *time0_str, double *diff)
{
	if (!format || !time1_str || !time0_str || !diff)
		return "missing argument";
	struct tm tm1 = {0}, tm0 = {0};
	const char *end = strptime(time1_str, format, &tm1);
	if (!end)
		return "strptime failed for time1";
	if (*end)
		return "garbage after time1";
	end = strptime(time0_str, format, &tm0);
	if (!end)
		return "strptime failed for time0";
	if (*end)
		return "garbage after time0";
	*diff = difftime(timegm(&tm1), timegm(&tm0));
	return NULL;
}

char *kr_strcatdup(unsigned n, ...)
{
	va_list args;
	size_t total = 1;
	va_start(args, n);
	for (unsigned i = 0; i < n; ++i) {
		const char *item = va_arg(args, const char *);
		total += item ? strlen(item) : 0;
	}
	va_end(args);
	char *text = malloc(total);
	if (!text)
		return NULL;
	char *at = text;
	va_start(args, n);
	for (unsigned i = 0; i < n; ++i) {
		const char *item = va_arg(args, const char *);
		if (item)
			at = stpcpy(at, item);
	}
	va_end(args);
	*at = '\0';
	return text;
}

/* ---- files ---- */

int64_t kr_file_mtime(const char *path)
{
	struct stat st;
	return stat(path, &st) == 0 ? (int64_t)st.st_mtime : kr_error(errno);
}

long long kr_fssize(const char *path)
{
	struct statvfs buf;
	if (!path || statvfs(path, &buf) != 0)
		return kr_error(path ? errno : EINVAL);
	return (long long)buf.f_frsize * buf.f_blocks;
}

char *kr_absolutize_path(const char *dirname, const char *fname)
{
	if (!dirname || !fname)
		return NULL;
	return fname[0] == '/' ? strdup(fname) : kr_strcatdup(3, dirname, "/", fname);
}

const char *kr_dirent_name(const void *entry)
{
	return entry ? ((const struct dirent *)entry)->d_name : NULL;
}

int kr_memreserve(void *baton, void **mem, size_t elm_size, size_t want, size_t *have)
{
	return kr_array_reserve(baton, mem, have, want, elm_size);
}
