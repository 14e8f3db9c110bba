/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Among the servers of a zone cut: the fastest known address, now and then another one. Names
 * without address are looked up when no fresh address is left; then those that were silent get
 * their second try; then those that answered badly are asked in the plainest way; then other
 * addresses of known names are looked for. */

#include <string.h>
#include <libknot/descriptor.h>

#include "lib/log.h"
#include "lib/selection/impl.h"

/** One choice in so many explores. */
#define EXPLORE_ONE_IN 20
/** Assumed RTT of an address that nothing is known of: better than a slow known one. */
#define UNKNOWN_RTT_US (60 * 1000)
/** What a family that was not seen working costs: not asked if there is anything else. */
#define FAMILY_UNPROVEN_US (2 * 1000 * 1000)
#define FAMILY_BROKEN_US (8 * 1000 * 1000)
/** What a server that left us without answer, or without sense, costs. */
#define LAME_US (4 * 1000 * 1000)
#define DEAD_US (16 * 1000 * 1000)
/** Wait for an address of a family that was not seen working, while there are others (F-25). */
#define UNPROVEN_TIMEOUT_MS 250
/** Wait for a stream: two round trips and setting up (S-10: it stalls after 1 s). */
#define STREAM_TIMEOUT_MIN_MS 1000
/** After so many timeouts of a question strangers get less time, so that a good one is found
 * (F-22). */
#define PATIENT_TIMEOUTS 3
#define IMPATIENT_TIMEOUT_MS 200
/** Age of a request at which stale data may be used instead (RFC 8767 section 5): no wait lasts
 * longer without a look at them. */
#define STALE_AGE_MS 1800
/** Age of a query at which failing still reaches a client over UDP (B-36). */
#define FAIL_AGE_MS 3600
#define STALE_SLACK_MS 100
/** Failed look-ups after which the other address type is tried. */
#define LOOKUPS_ONE_TYPE 3
/** Look-ups of a request whose servers may be asked in the plainest way, too. */
#define LOOKUPS_WITH_PATIENCE 2

/** A server of the cut. */
struct ns_state {
	const knot_dname_t *name;
	const pack_t *addrs; /**< NULL: the cut has lost it */
	bool is_cache_asked;
	bool is_looked_up[2]; /**< A, AAAA */
	bool is_lame;
};

struct iter_state {
	struct tries tries; /* first: see tries_of() */
	struct ns_state ns[KR_NS_MAX];
	size_t ns_count;
	unsigned lookups;        /**< of this delegation (B-07) */
	unsigned lookups_failed; /**< in a row */
	size_t addrs_len;        /**< of all servers: grows when a look-up succeeds */
	bool are_delegations_asked;
	bool was_cut_short; /**< a wait, for the sake of stale data */
};

/** An address that could be asked now. */
struct candidate {
	const struct ns_state *ns;
	struct addr_try *tried;
	const struct kr_server *server; /**< NULL: unknown */
	enum kr_family_state family;
	bool is_stream;
	bool is_fresh; /**< not tried and nothing speaks against it */
	uint64_t cost; /**< expected µs */
};

struct candidates {
	struct candidate at[KR_CUT_ADDR_MAX];
	size_t len;
	size_t fresh;
	unsigned tries_left; /**< of all of them */
};

static struct iter_state *state_of(const struct kr_query *qry)
{
	return qry->server_selection.local_state->private;
}

/* ---- servers of the cut ---- */

static struct ns_state *find_ns(struct iter_state *state, const knot_dname_t *name)
{
	for (size_t i = 0; i < state->ns_count; ++i) {
		if (knot_dname_is_equal(state->ns[i].name, name))
			return &state->ns[i];
	}
	return NULL;
}

static int note_server(const char *key, uint32_t len, trie_val_t *val, void *baton)
{
	struct kr_query *qry = baton;
	struct iter_state *state = state_of(qry);
	const knot_dname_t *name = (const knot_dname_t *)key;
	struct ns_state *ns = find_ns(state, name);
	if (!ns) {
		if (state->ns_count == KR_NS_MAX)
			return kr_ok();
		ns = &state->ns[state->ns_count];
		*ns = (struct ns_state){.name = knot_dname_copy(name, &qry->request->pool)};
		if (!ns->name)
			return kr_error(ENOMEM);
		state->ns_count += 1;
	}
	ns->addrs = *val;
	return kr_ok();
}

/** Modules and look-ups change the cut at any time. */
static void note_servers(struct kr_query *qry)
{
	struct iter_state *state = state_of(qry);
	for (size_t i = 0; i < state->ns_count; ++i)
		state->ns[i].addrs = NULL;
	(void)trie_apply_with_key(qry->zone_cut.nsset, note_server, qry);
	size_t addrs_len = 0;
	for (size_t i = 0; i < state->ns_count; ++i)
		addrs_len += state->ns[i].addrs ? state->ns[i].addrs->len : 0;
	if (addrs_len > state->addrs_len)
		state->lookups_failed = 0;
	state->addrs_len = addrs_len;
}

static bool has_address(const struct ns_state *ns)
{
	return ns->addrs && ns->addrs->len > 0;
}

/** Addresses of the server that the cache knows from elsewhere. */
static bool ask_cache(struct kr_query *qry, struct ns_state *ns)
{
	static const uint16_t types[] = {KNOT_RRTYPE_A, KNOT_RRTYPE_AAAA};
	struct kr_context *ctx = qry->request->ctx;
	bool found = false;
	if (ns->is_cache_asked || !ns->addrs || !kr_cache_is_open(&ctx->cache))
		return false;
	ns->is_cache_asked = true;
	for (size_t i = 0; i < KR_COUNT_OF(types); ++i) {
		knot_rrset_t *rr = NULL;
		if (is_family_off(qry, i == 0 ? AF_INET : AF_INET6) ||
			kr_cache_get_rr(&ctx->cache, ns->name, types[i],
				KR_RANK_INITIAL | KR_RANK_AUTH, qry->timestamp.tv_sec, &rr, NULL,
				&qry->request->pool) != 0)
			continue;
		ns->is_looked_up[i] = true;
		for (int j = 0; j < rr->rrs.count; ++j)
			found = selection_add_address(
					qry, ns->name, knot_rdataset_at(&rr->rrs, j)) == 0 ||
				found;
	}
	return found;
}

/* ---- candidates ---- */

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

/** Expected time of an answer, with some chance in it. */
static uint64_t expected_us(struct kr_query *qry, const struct candidate *it)
{
	struct kr_request *req = qry->request;
	struct kr_context *ctx = req->ctx;
	struct sockaddr *addr = &it->tried->addr.ip;
	const struct kr_server *server = it->server;
	uint64_t us = server && server->srtt_us > 0 ? server->srtt_us : UNKNOWN_RTT_US;
	if (server && server->timeouts > 0)
		us = (us + UNKNOWN_RTT_US) << KR_MIN(server->timeouts, 6);
	us += kr_ctx_rnd32(ctx) % (us / 4 + 1000);
	if (server && ctx->now_ms < server->dead_until)
		us += DEAD_US;
	if (it->family != KR_FAMILY_WORKS)
		us += it->family == KR_FAMILY_BROKEN ? FAMILY_BROKEN_US : FAMILY_UNPROVEN_US;
	if (kr_servers_is_lame(ctx->servers, addr, qry->zone_cut.name, ctx->now_ms))
		us += LAME_US;
	if (it->is_stream && req->selection_context.is_tcp_connected &&
		req->selection_context.is_tcp_connected(addr))
		us /= 2; /* no handshake */
	return us;
}

/** Tries that an address has left on the kind of transport. */
static unsigned tries_left(const struct addr_try *tried, bool is_stream)
{
	if (tried->given_up)
		return 0;
	if (is_stream)
		return KR_TRIES_STREAM_MAX - KR_MIN(tried->stream, KR_TRIES_STREAM_MAX);
	return tried->has_failed ? 0 : KR_TRIES_UDP_MAX - KR_MIN(tried->udp, KR_TRIES_UDP_MAX);
}

/** Who mangles letter case is asked over a stream (S-05), unless streams do not work either. */
static bool is_for_stream(const struct kr_query *qry, const struct candidate *it)
{
	const uint64_t now = qry->request->ctx->now_ms;
	if (selection_needs_stream(qry))
		return true;
	if (it->server && now < it->server->no_stream_until)
		return false;
	return tries_left(it->tried, true) > 0 &&
	       (selection_wants_stream(qry) ||
		       (it->server && now < it->server->stream_until && !qry->flags.NO_0X20));
}

static bool is_listed(const struct candidates *all, const struct addr_try *tried)
{
	for (size_t i = 0; i < all->len; ++i) {
		if (all->at[i].tried == tried)
			return true;
	}
	return false;
}

/** A family is only as bad as the other one is better; of two strangers IPv4 is the safer one. */
static enum kr_family_state family_state(const struct kr_context *ctx, int family)
{
	const enum kr_family_state v4 = kr_servers_family(ctx->servers, AF_INET, ctx->now_ms);
	const enum kr_family_state v6 = kr_servers_family(ctx->servers, AF_INET6, ctx->now_ms);
	if (family == AF_INET)
		return v4 == KR_FAMILY_BROKEN && v6 == KR_FAMILY_WORKS ? v4 : KR_FAMILY_WORKS;
	return v4 == KR_FAMILY_BROKEN ? KR_FAMILY_WORKS : v6;
}

static void add_candidate(struct kr_query *qry, const struct ns_state *ns,
	const union kr_sockaddr *addr, struct candidates *all)
{
	struct kr_context *ctx = qry->request->ctx;
	const int family = kr_inaddr_family(&addr->ip);
	struct candidate it = {.ns = ns, .family = KR_FAMILY_WORKS};
	if (is_family_off(qry, family) || all->len == KR_COUNT_OF(all->at))
		return;
	it.tried = tries_of_address(&state_of(qry)->tries, &addr->ip);
	if (!it.tried || is_listed(all, it.tried))
		return; /* servers share addresses */
	it.server = kr_servers_peek(ctx->servers, &addr->ip, ctx->now_ms);
	it.is_stream = is_for_stream(qry, &it);
	const unsigned left = tries_left(it.tried, it.is_stream);
	if (left == 0)
		return;
	it.family = family_state(ctx, family);
	it.cost = expected_us(qry, &it);
	it.is_fresh = it.tried->udp + it.tried->stream == 0 && it.cost < FAMILY_BROKEN_US;
	all->fresh += it.is_fresh;
	all->tries_left += left;
	all->at[all->len++] = it;
}

static void collect(struct kr_query *qry, struct candidates *all)
{
	struct iter_state *state = state_of(qry);
	all->len = all->fresh = all->tries_left = 0;
	note_servers(qry);
	for (size_t i = 0; i < state->ns_count; ++i) {
		struct ns_state *ns = &state->ns[i];
		if (!has_address(ns) && ask_cache(qry, ns))
			note_servers(qry);
		if (ns->is_lame)
			continue;
		for (uint8_t *it = has_address(ns) ? pack_head(*ns->addrs) : NULL;
			it && it != pack_tail(*ns->addrs); it = pack_obj_next(it)) {
			union kr_sockaddr addr;
			if (to_sockaddr(&addr, it))
				add_candidate(qry, ns, &addr, all);
		}
	}
	if (!is_listed(all, state->tries.again))
		state->tries.again = NULL; /* it has no try left */
}

/* ---- choosing ---- */

/** The least tried, of those the cheapest; now and then any other fresh one that may be alive. */
static const struct candidate *choose(struct kr_query *qry, const struct candidates *all)
{
	struct kr_context *ctx = qry->request->ctx;
	const struct candidate *best = NULL;
	for (size_t i = 0; i < all->len; ++i) {
		const struct candidate *it = &all->at[i];
		if (it->tried == state_of(qry)->tries.again)
			return it;
		const int it_tries = it->tried->udp + it->tried->stream;
		const int best_tries = best ? best->tried->udp + best->tried->stream : 0;
		if (!best || it_tries < best_tries ||
			(it_tries == best_tries && it->cost < best->cost))
			best = it;
	}
	if (all->fresh < 2 || kr_ctx_rnd32(ctx) % EXPLORE_ONE_IN != 0)
		return best;
	const struct candidate *other = &all->at[kr_ctx_rnd32(ctx) % all->len];
	return other->is_fresh ? other : best;
}

/**
 * How long to wait. Short while there are others to ask; the last one gets all the time after which
 * anybody still listens, because giving up on it means failing.
 */
static unsigned timeout_of(struct kr_query *qry, const struct candidate *it, bool is_last)
{
	const struct local_state *local = qry->server_selection.local_state;
	unsigned timeout = kr_server_timeout_ms(it->server);
	if (it->is_stream)
		return KR_MIN(KR_MAX(2 * timeout + IMPATIENT_TIMEOUT_MS, STREAM_TIMEOUT_MIN_MS),
			KR_TRY_TIME_MAX_MS);
	if (is_last) {
		const uint64_t now = qry->request->ctx->now_ms;
		const uint64_t end = qry->creation_time_mono + FAIL_AGE_MS;
		const unsigned left = now < end ? end - now : 0;
		return KR_MIN(KR_MAX(left, timeout), KR_TRY_TIME_MAX_MS);
	}
	if (it->family != KR_FAMILY_WORKS)
		timeout = KR_MIN(timeout, UNPROVEN_TIMEOUT_MS);
	const bool is_stranger = !it->server || it->server->srtt_us == 0;
	if (is_stranger && it->is_fresh && local->timeouts >= PATIENT_TIMEOUTS)
		timeout = KR_MIN(timeout, IMPATIENT_TIMEOUT_MS);
	return timeout;
}

/** Cut a wait short that would last beyond the time for stale data; once in a query. */
static bool cut_for_stale(struct kr_query *qry, unsigned *timeout_ms)
{
	const uint64_t now = qry->request->ctx->now_ms;
	const uint64_t look = qry->creation_time_mono + STALE_AGE_MS;
	if (!qry->stale_cb || state_of(qry)->was_cut_short || now + STALE_SLACK_MS >= look ||
		now + *timeout_ms <= look + STALE_SLACK_MS)
		return false;
	state_of(qry)->was_cut_short = true;
	*timeout_ms = look - now + 1;
	return true;
}

/** Would looking the name up only lead back to the servers whose addresses are missing or were
 * tried? */
static bool leads_back(const struct kr_query *qry, const struct ns_state *ns)
{
	return knot_dname_in_bailiwick(ns->name, qry->zone_cut.name) >= 0 &&
	       (has_address(ns) || kr_zonecut_is_empty((struct kr_zonecut *)&qry->zone_cut));
}

/** A name whose address of the type could be looked up; NULL if there is none. */
static struct ns_state *find_lookup(struct kr_query *qry, int which, bool is_known)
{
	struct iter_state *state = state_of(qry);
	if (is_family_off(qry, which == 0 ? AF_INET : AF_INET6))
		return NULL;
	const size_t start = kr_ctx_rnd32(qry->request->ctx) % state->ns_count;
	for (size_t i = 0; i < state->ns_count; ++i) {
		struct ns_state *ns = &state->ns[(start + i) % state->ns_count];
		if (ns->addrs && !ns->is_lame && !ns->is_looked_up[which] &&
			has_address(ns) == is_known && !leads_back(qry, ns))
			return ns;
	}
	return NULL;
}

/** A name and the type of address to look up. */
struct lookup {
	struct ns_state *ns; /**< NULL: none */
	int which;           /**< 0 A, 1 AAAA */
};

/** @param is_known of names that have some address already */
static struct lookup pick_lookup(struct kr_query *qry, bool is_known)
{
	struct iter_state *state = state_of(qry);
	struct kr_context *ctx = qry->request->ctx;
	if (state->lookups >= KR_NS_LOOKUP_CUT_MAX || state->ns_count == 0 ||
		state->lookups_failed >= KR_NS_LOOKUP_FAIL_MAX)
		return (struct lookup){0};
	const bool v4_is_broken = family_state(ctx, AF_INET) == KR_FAMILY_BROKEN;
	struct lookup lookup = {
		.which = v4_is_broken ^ (state->lookups_failed >= LOOKUPS_ONE_TYPE)};
	lookup.ns = find_lookup(qry, lookup.which, is_known);
	if (!lookup.ns) {
		lookup.which = !lookup.which;
		lookup.ns = find_lookup(qry, lookup.which, is_known);
	}
	return lookup;
}

static struct kr_transport *choose_lookup(struct kr_query *qry, bool is_known)
{
	const struct lookup lookup = pick_lookup(qry, is_known);
	if (!lookup.ns)
		return NULL;
	lookup.ns->is_looked_up[lookup.which] = true;
	state_of(qry)->lookups += 1;
	return selection_lookup(qry, lookup.ns->name,
		lookup.which == 0 ? KR_TRANSPORT_RESOLVE_A : KR_TRANSPORT_RESOLVE_AAAA);
}

/**
 * Last resort: addresses that the delegation of the server's own zone brought as glue. They may
 * work when what the zone itself says of its server does not.
 * @return true if there is a new address
 */
static bool ask_delegations(struct kr_query *qry)
{
	struct iter_state *state = state_of(qry);
	struct kr_context *ctx = qry->request->ctx;
	bool found = false;
	if (state->are_delegations_asked || !kr_cache_is_open(&ctx->cache))
		return false;
	state->are_delegations_asked = true;
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
			found = kr_zonecut_add(&qry->zone_cut, name, glue->addr, glue->addr_len) ==
					0 ||
				found;
		}
	}
	return found;
}

/** Ask those that answered badly once more, in the plainest way there is. @return false: no use */
static bool give_up_habits(struct kr_query *qry)
{
	struct tries *tries = tries_of(qry);
	bool has_failed = false;
	for (size_t i = 0; i < tries->len; ++i) {
		const struct addr_try *it = &tries->at[i];
		has_failed = has_failed || (it->has_failed && tries_left(it, true) > 0);
	}
	/* who makes us look for many servers gets no second chance for each of them */
	const bool is_one_of_many =
		qry->parent &&
		qry->request->budget.spent[KR_BUDGET_NS_LOOKUPS] > LOOKUPS_WITH_PATIENCE;
	if (!has_failed || is_one_of_many || tries->habit == HABIT_PLAIN_STREAM)
		return false;
	tries->habit = HABIT_PLAIN_STREAM;
	qry->flags.NO_MINIMIZE = qry->flags.NO_0X20 = qry->flags.TCP = true;
	qry->server_selection.local_state->force_udp = false;
	return true;
}

/** The next address to ask by what is known now, or NULL. */
static struct kr_transport *choose_address(struct kr_query *qry, const struct candidates *all)
{
	const struct candidate *best = choose(qry, all);
	if (!best)
		return NULL;
	const bool is_last = all->tries_left == 1 && !pick_lookup(qry, true).ns;
	unsigned timeout_ms = timeout_of(qry, best, is_last);
	const bool is_cut = !best->is_stream && cut_for_stale(qry, &timeout_ms);
	struct kr_transport *transport = selection_take(qry, best->tried, best->ns->name,
		best->is_stream ? KR_TRANSPORT_TCP : KR_TRANSPORT_UDP, timeout_ms);
	if (transport && is_cut) { /* it was no fair try: there will be another one */
		transport->timeout_capped = true;
		best->tried->udp -= 1;
	}
	return transport;
}

static struct kr_transport *choose_any(struct kr_query *qry)
{
	struct candidates all;
	collect(qry, &all);
	struct kr_transport *transport = NULL;
	if (all.fresh == 0 && !state_of(qry)->tries.again)
		transport = choose_lookup(qry, false);
	if (!transport)
		transport = choose_address(qry, &all);
	if (!transport && give_up_habits(qry)) {
		collect(qry, &all);
		transport = choose_address(qry, &all);
	}
	if (!transport)
		transport = choose_lookup(qry, true);
	if (!transport && ask_delegations(qry)) {
		collect(qry, &all);
		transport = choose_address(qry, &all);
	}
	return transport;
}

static void iter_choose(struct kr_query *qry, struct kr_transport **transport)
{
	struct local_state *local = qry->server_selection.local_state;
	struct iter_state *state = state_of(qry);
	tries_mind_question(qry);
	/* HABIT_PLAIN_STREAM outlives the flag, which belongs to one round. */
	if (state->tries.habit == HABIT_PLAIN_STREAM && !local->force_udp)
		qry->flags.TCP = true;
	*transport = choose_any(qry);
}

/* ---- feedback ---- */

void iter_no_address(struct kr_query *qry, const knot_dname_t *ns_name, uint16_t type)
{
	struct iter_state *state = state_of(qry);
	struct ns_state *ns = find_ns(state, ns_name);
	state->lookups_failed += 1;
	if (ns)
		ns->is_looked_up[type == KNOT_RRTYPE_AAAA] = true;
}

void iter_name_is_lame(struct kr_query *qry, const knot_dname_t *ns_name)
{
	struct ns_state *ns = find_ns(state_of(qry), ns_name);
	if (ns)
		ns->is_lame = true;
}

void iter_selection_init(struct kr_query *qry)
{
	struct kr_server_selection *selection = &qry->server_selection;
	selection->choose_transport = iter_choose;
	selection->update_rtt = selection_update_rtt;
	selection->error = selection_error;
	selection->local_state->private =
		mm_calloc(&qry->request->pool, 1, sizeof(struct iter_state));
}
