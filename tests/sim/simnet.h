/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * A network without sockets: daemon/netio.h on a virtual clock. Everything that happens is an event
 * in one queue, ordered by virtual time; randomness comes from one seeded generator. The same seed
 * gives the same run. Servers are one callback.
 */
#pragma once

#include <sys/time.h>

#include "daemon/netio.h"
#include "lib/addr.h"
#include "lib/resolve.h"

struct simnet;

/** How a server reacts to a message. */
enum sim_reaction {
	SIM_REPLY,   /**< with the bytes given */
	SIM_SILENCE, /**< not at all */
	SIM_CLOSE,   /**< by closing the stream; like silence over UDP */
	SIM_ICMP,    /**< port unreachable; like closing over streams */
};

/** One message that arrived at a server. */
struct sim_arrival {
	const union kr_sockaddr *server;
	enum netio_stream_kind kind; /**< of streams */
	bool is_stream;
	struct bytes query;
	uint8_t *reply; /**< room for KR_DNS_WIRE_MAX */
	size_t reply_len;
	uint64_t delay_ms;  /**< additional delay of the reply */
	struct bytes noise; /**< a datagram that arrives before the reply */
	unsigned noise_count;
};
typedef enum sim_reaction (*sim_server_f)(void *owner, struct sim_arrival *arrival);
/** Does anybody accept streams at this address? */
typedef bool (*sim_accepts_f)(void *owner, const union kr_sockaddr *server);

/** What goes wrong. Probabilities are in percent. */
struct sim_faults {
	unsigned loss;      /**< datagrams lost, each way */
	unsigned duplicate; /**< datagrams that arrive twice */
	unsigned delay_ms;  /**< one-way delay */
	bool reorder;       /**< delays vary from none to three times delay_ms */
	unsigned garbage;   /**< datagrams that are preceded by a forged or broken one */
};

struct sim_event;

struct simnet {
	struct netio io; /**< must be first */
	const struct netio_events *events;
	struct kr_context *ctx;        /**< whose clock is driven */
	void (*turn_end)(void *owner); /**< end of each loop turn; may be NULL */

	sim_server_f server;
	sim_accepts_f accepts;
	void *owner;
	struct sim_faults faults;
	bool trace;

	uint64_t now_ms;
	int64_t wall_s; /**< wall clock at virtual time 0 */
	uint64_t rng[4];
	struct sim_event *queue; /**< ordered by time, then by age */
	uint64_t sent;           /**< messages sent to servers */
	uint64_t open;           /**< sockets and streams open now */
	uint64_t timers;         /**< timers running now */
};

/** Virtual time starts at 1 s so that no timer is due at 0. @param seed 0 is as good as any */
void simnet_init(struct simnet *net, uint64_t seed, int64_t wall_s);
/** Drop all events; sockets left open are reported by simnet.open. */
void simnet_deinit(struct simnet *net);
/** Make the context tell virtual time and draw our random numbers. */
void simnet_drive(struct simnet *net, struct kr_context *ctx);
/** A random number below `below`. */
uint32_t simnet_random(struct simnet *net, uint32_t below);

/**
 * Run until `is_done` says so, virtual time `until_ms` is reached, or nothing is left to happen.
 * @return true if is_done said so
 */
bool simnet_run(struct simnet *net, uint64_t until_ms, bool (*is_done)(void *owner), void *owner);
/** Let virtual time pass; what is due happens. */
void simnet_pass(struct simnet *net, uint64_t ms);
/** Somebody sets the wall clock: it moves, nothing else does. */
void simnet_set_clock(struct simnet *net, int64_t by_s);

/** The net whose time kr_now() tells and whose numbers kr_rnd_buffered() gives. */
extern struct simnet *the_simnet;
