/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Among the servers of a zone cut: the fastest known address, now and then another one; names without
 * address are looked up when the addresses are used up. */

#include <string.h>
#include <libknot/descriptor.h>

#include "lib/log.h"
#include "lib/selection/impl.h"
#include "lib/utils.h"

/** One choice in so many explores. */
#define EXPLORE_ONE_IN 20
/** Assumed RTT of an address that nothing is known of: better than a slow known one. */
#define UNKNOWN_RTT_US (60 * 1000)
/** Spread of equal candidates. */
#define JITTER_US (20 * 1000)

/** A server of the cut. */
struct ns_state {
	const knot_dname_t *name;
	bool cache_asked;
	bool looked_up[2]; /**< A, AAAA: asked for in this query */
	bool has_address;
};

struct iter_state {
	addr_tries_t tries;
	struct tried_question question;
	struct ns_state ns[KR_NS_MAX];
	size_t ns_count;
	unsigned lookups; /**< B-07 per delegation */
	bool delegations_asked;

	/* The question that the tries are about. */
	const knot_dname_t *asked_name;
	uint16_t asked_type;
};

/** An address that could be asked now. */
struct candidate {
	const knot_dname_t *ns;
	union kr_sockaddr addr;
	struct addr_try *tried;
	uint32_t cost; /**< expected µs, with back-off and jitter */
};

struct candidates {
	struct candidate at[KR_CUT_ADDR_MAX];
	size_t len;
};

static struct iter_state *state_of(const struct kr_query *qry)
{
	return qry->server_selection.local_state->private;
}

static int note_server(const char *key, uint32_t len, trie_val_t *val, void *baton)
{
	struct iter_state *state = baton;
	const pack_t *addrs = *val;
	if (state->ns_count == KR_NS_MAX)
		return kr_ok();
	struct ns_state *ns = &state->ns[state->ns_count++];
	ns->name = (const knot_dname_t *)key;
	ns->has_address = addrs && addrs->len > 0;
	return kr_ok();
}

static bool is_family_off(const struct kr_query *qry, int family)
{
	const struct kr_qflags *flags = &qry->flags;
	return family == AF_INET ? flags->NO_IPV4 : flags->NO_IPV6;
}

/** Address bytes of a pack to a socket address on the DNS port. */
static bool to_sockaddr(union kr_sockaddr *dst, uint8_t *obj)
{
	const size_t len = pack_obj_len(obj);
	memset(dst, 0, sizeof(*dst));
	if (len == 4) {
		dst->ip4.sin_family = AF_INET;
		memcpy(&dst->ip4.sin_addr, pack_obj_val(obj), len);
	} else if (len == 16) {
		dst->ip6.sin6_family = AF_INET6;
		memcpy(&dst->ip6.sin6_addr, pack_obj_val(obj), len);
	} else {
		return false;
	}
	kr_inaddr_set_port(&dst->ip, KR_DNS_PORT);
	return true;
}

/** Expected time of an answer, for comparing. */
static uint32_t expected_us(struct kr_query *qry, const struct candidate *candidate)
{
	struct kr_context *ctx = qry->request->ctx;
	const struct kr_server *server =
			kr_servers_peek(ctx->servers, &candidate->addr.ip, ctx->now_ms);
	uint64_t us = UNKNOWN_RTT_US;
	if (server && server->srtt_us > 0)
		us = server->srtt_us;
	if (server && server->timeouts > 0)
		us = (us + UNKNOWN_RTT_US) << KR_MIN(server->timeouts, 6);
	if (server && ctx->now_ms < server->dead_until)
		us += 8 * 1000 * 1000;
	if (kr_servers_family_is_broken(
			    ctx->servers, kr_inaddr_family(&candidate->addr.ip), ctx->now_ms))
		us += 4 * 1000 * 1000;
	us += kr_ctx_rnd32(ctx) % JITTER_US;
	return KR_MIN(us, UINT32_MAX);
}

static bool is_known(const struct candidates *all, const struct sockaddr *addr)
{
	for (size_t i = 0; i < all->len; ++i) {
		if (kr_sockaddr_cmp(&all->at[i].addr.ip, addr) == 0)
			return true;
	}
	return false;
}

/** Add the usable addresses of one server. */
static void add_candidates(struct kr_query *qry, const struct ns_state *ns, bool is_stream,
		struct candidates *all)
{
	struct iter_state *state = state_of(qry);
	pack_t *addrs = kr_zonecut_find(&qry->zone_cut, ns->name);
	for (uint8_t *it = addrs ? pack_head(*addrs) : NULL; it && it != pack_tail(*addrs);
			it = pack_obj_next(it)) {
		struct candidate candidate = {.ns = ns->name};
		if (all->len == KR_CUT_ADDR_MAX || !to_sockaddr(&candidate.addr, it))
			return;
		const int family = kr_inaddr_family(&candidate.addr.ip);
		if (is_family_off(qry, family) || is_known(all, &candidate.addr.ip))
			continue;
		candidate.tried = selection_tries(
				&state->tries, &candidate.addr.ip, &qry->request->pool);
		if (!candidate.tried || !selection_may_try(candidate.tried, is_stream))
			continue;
		candidate.cost = expected_us(qry, &candidate);
		all->at[all->len++] = candidate;
	}
}

/** Addresses of the servers that the cache knows from elsewhere. */
static void ask_cache(struct kr_query *qry, struct ns_state *ns)
{
	static const uint16_t types[] = {KNOT_RRTYPE_A, KNOT_RRTYPE_AAAA};
	struct kr_context *ctx = qry->request->ctx;
	if (ns->cache_asked || !kr_cache_is_open(&ctx->cache))
		return;
	ns->cache_asked = true;
	for (size_t i = 0; i < KR_COUNT_OF(types); ++i) {
		knot_rrset_t *rr = NULL;
		if (is_family_off(qry, i == 0 ? AF_INET : AF_INET6) ||
				kr_cache_get_rr(&ctx->cache, ns->name, types[i], KR_RANK_INITIAL | KR_RANK_AUTH,
						qry->timestamp.tv_sec, &rr, NULL, &qry->request->pool) != 0)
			continue;
		ns->looked_up[i] = true;
		for (int j = 0; j < rr->rrs.count; ++j) {
			const knot_rdata_t *rd = knot_rdataset_at(&rr->rrs, j);
			if (selection_add_address(qry, ns->name, rd) == 0)
				ns->has_address = true;
		}
	}
}

/** The best of the least tried. */
static const struct candidate *choose(struct kr_query *qry, const struct candidates *all,
		bool is_stream)
{
	struct kr_context *ctx = qry->request->ctx;
	const struct candidate *best = NULL;
	unsigned best_tries = 0;
	size_t fresh = 0;
	for (size_t i = 0; i < all->len; ++i) {
		const struct candidate *it = &all->at[i];
		const unsigned tries = it->tried->udp + it->tried->stream;
		/* After a truncated answer its sender is the one to ask again. */
		const unsigned rank = is_stream && qry->server_selection.local_state->truncated
						      ? (it->tried->udp > 0 ? 0 : 1)
						      : tries;
		fresh += tries == 0;
		if (!best || rank < best_tries || (rank == best_tries && it->cost < best->cost)) {
			best = it;
			best_tries = rank;
		}
	}
	if (best && best_tries == 0 && !is_stream && fresh > 1 &&
			kr_ctx_rnd32(ctx) % EXPLORE_ONE_IN == 0) {
		const struct candidate *other = &all->at[kr_ctx_rnd32(ctx) % all->len];
		if (other->tried->udp + other->tried->stream == 0)
			return other;
	}
	return best;
}

/** Would looking this name up need the very servers that are missing? */
static bool is_unreachable(struct kr_query *qry, const struct ns_state *ns)
{
	return knot_dname_in_bailiwick(ns->name, qry->zone_cut.name) >= 0 &&
	       kr_zonecut_is_empty(&qry->zone_cut);
}

/** A name and type to look up, or NULL. Names without any address come first. */
static struct kr_transport *choose_lookup(struct kr_query *qry)
{
	struct iter_state *state = state_of(qry);
	struct kr_context *ctx = qry->request->ctx;
	if (state->lookups >= KR_NS_LOOKUP_CUT_MAX || state->ns_count == 0 ||
			qry->request->count_no_nsaddr >= KR_NS_LOOKUP_FAIL_MAX)
		return NULL;
	const size_t start = kr_ctx_rnd32(ctx) % state->ns_count;
	const bool v6_first = kr_servers_family_is_broken(ctx->servers, AF_INET, ctx->now_ms);
	for (int pass = 0; pass < 4; ++pass) {
		const bool want_known = pass >= 2;
		const int which = (pass & 1) ^ v6_first;
		if (is_family_off(qry, which == 0 ? AF_INET : AF_INET6))
			continue;
		for (size_t i = 0; i < state->ns_count; ++i) {
			struct ns_state *ns = &state->ns[(start + i) % state->ns_count];
			/* A name inside of the zone only leads back to servers that were tried. */
			if (ns->has_address != want_known || ns->looked_up[which] ||
					is_unreachable(qry, ns) ||
					(want_known && knot_dname_in_bailiwick(ns->name,
								       qry->zone_cut.name) >= 0))
				continue;
			ns->looked_up[which] = true;
			state->lookups += 1;
			return selection_transport(qry, ns->name, NULL,
					which == 0 ? KR_TRANSPORT_RESOLVE_A : KR_TRANSPORT_RESOLVE_AAAA);
		}
	}
	return NULL;
}

/**
 * Last resort: addresses that the delegation of the server's own zone brought as glue. They may work when
 * what the zone itself says of its server does not.
 * @return true if there is a new address
 */
static bool ask_delegations(struct kr_query *qry)
{
	struct iter_state *state = state_of(qry);
	struct kr_context *ctx = qry->request->ctx;
	bool found = false;
	if (state->delegations_asked || !kr_cache_is_open(&ctx->cache))
		return false;
	state->delegations_asked = true;
	for (size_t i = 0; i < state->ns_count; ++i) {
		const knot_dname_t *name = state->ns[i].name;
		struct kr_deleg deleg = {0};
		if (kr_cache_deleg_find(&ctx->cache, name, qry->timestamp.tv_sec, &deleg,
				    &qry->request->pool) != 0)
			continue;
		for (size_t j = 0; j < deleg.glue.len; ++j) {
			const struct kr_deleg_glue *glue = &deleg.glue.at[j];
			const pack_t *known = kr_zonecut_find(&qry->zone_cut, name);
			if (!knot_dname_is_equal(glue->ns, name) ||
					pack_obj_find(known, glue->addr, glue->addr_len))
				continue;
			found = kr_zonecut_add(&qry->zone_cut, name, glue->addr, glue->addr_len) == 0 ||
				found;
		}
	}
	return found;
}

static void collect(struct kr_query *qry, bool is_stream, struct candidates *all)
{
	struct iter_state *state = state_of(qry);
	for (size_t i = 0; i < state->ns_count; ++i) {
		struct ns_state *ns = &state->ns[i];
		if (!ns->has_address) {
			const pack_t *addrs = kr_zonecut_find(&qry->zone_cut, ns->name);
			ns->has_address = addrs && addrs->len > 0;
		}
		if (!ns->has_address)
			ask_cache(qry, ns);
		add_candidates(qry, ns, is_stream, all);
	}
	/* The list of tries may have moved while it grew. */
	for (size_t i = 0; i < all->len; ++i)
		all->at[i].tried = selection_tries(
				&state->tries, &all->at[i].addr.ip, &qry->request->pool);
}

/** Tries are counted per question (B-13): minimisation asks several. */
static void forget_tries_of_other_question(struct kr_query *qry)
{
	struct iter_state *state = state_of(qry);
	if (state->asked_name == qry->asked_name && state->asked_type == qry->asked_type)
		return;
	state->asked_name = qry->asked_name;
	state->asked_type = qry->asked_type;
	for (size_t i = 0; i < state->tries.len; ++i) {
		struct addr_try *tried = &state->tries.at[i];
		tried->udp = tried->stream = 0;
		tried->given_up = false;
	}
	qry->server_selection.local_state->truncated = false;
}

static void iter_choose(struct kr_query *qry, struct kr_transport **transport)
{
	const struct local_state *local = qry->server_selection.local_state;
	forget_tries_of_other_question(qry);
	const bool is_stream = (qry->flags.TCP || local->truncated) && !local->force_udp;
	struct candidates all = {.len = 0};
	selection_mind_question(qry, &state_of(qry)->question, &state_of(qry)->tries);
	collect(qry, is_stream, &all);
	const struct candidate *best = choose(qry, &all, is_stream);
	*transport = NULL;
	if (!best) {
		*transport = choose_lookup(qry);
		if (*transport)
			selection_log(qry, "looking up", *transport);
		else if (ask_delegations(qry))
			iter_choose(qry, transport);
		return;
	}
	if (is_stream)
		best->tried->stream += 1;
	else
		best->tried->udp += 1;
	*transport = selection_transport(qry, best->ns, &best->addr.ip,
			is_stream ? KR_TRANSPORT_TCP : KR_TRANSPORT_UDP);
	if (*transport)
		selection_log(qry, "choosing", *transport);
}

static void iter_error(struct kr_query *qry, const struct kr_transport *transport,
		enum kr_selection_error error)
{
	if (!transport || !qry->server_selection.initialized)
		return;
	struct addr_try *tried = selection_tries(
			&state_of(qry)->tries, &transport->address.ip, &qry->request->pool);
	const bool give_up = selection_learn_error(qry, transport, error);
	if (tried && give_up)
		tried->given_up = true;
}

void iter_no_address(struct kr_query *qry, const knot_dname_t *ns_name, uint16_t type)
{
	struct iter_state *state = state_of(qry);
	for (size_t i = 0; i < state->ns_count; ++i) {
		if (knot_dname_is_equal(state->ns[i].name, ns_name))
			state->ns[i].looked_up[type == KNOT_RRTYPE_AAAA] = true;
	}
}

void iter_selection_init(struct kr_query *qry)
{
	struct kr_server_selection *selection = &qry->server_selection;
	selection->choose_transport = iter_choose;
	selection->update_rtt = selection_update_rtt;
	selection->error = iter_error;
	struct iter_state *state = mm_calloc(&qry->request->pool, 1, sizeof(*state));
	if (state)
		trie_apply_with_key(qry->zone_cut.nsset, note_server, state);
	selection->local_state->private = state;
}
