/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * What our TLS servers show: a certificate with key, from files or made on the spot, and the keys
 * of session tickets, which processes with the same secret derive alike without talking (RFC 5077,
 * RFC 8446 section 4.6.1). Credentials in use by a connection outlive their replacement.
 */
#pragma once

#include <gnutls/gnutls.h>

#include "lib/defines.h"

/** Appended to the library's or the system's own policy: no version before 1.2. */
#define TLS_VERSIONS "-VERS-SSL3.0:-VERS-TLS1.0:-VERS-TLS1.1:-VERS-DTLS-ALL"

/** A loaded pair of certificate and key; counted references. */
struct tls_credentials {
	gnutls_certificate_credentials_t gnutls;
	gnutls_priority_t priority; /**< TLS_VERSIONS, shared by the connections */
	char *cert_file, *key_file; /**< NULL: made on the spot */
	char *hostname;             /**< of a made one */
	int64_t valid_until;        /**< Unix time */
	bool is_expiry_told;
	unsigned refs;
};

/** Lifetime of a ticket key, seconds of wall time. */
#define TLS_TICKET_EPOCH_S 4096
/** Shortest secret from which ticket keys are derived. */
#define TLS_TICKET_SECRET_MIN 32
#define TLS_TICKET_SECRET_MAX 1024

/** Share of one processor that handshakes may take, per mille, and how much may be saved up, A-36.
 * @{ */
#define TLS_HANDSHAKE_SHARE 300
#define TLS_HANDSHAKE_SAVED_US (300 * 1000)
/** @} */

struct tls_server;

/** A handshake that has to wait for its turn; embedded in its owner. {0} does not wait. */
struct tls_waiter {
	struct tls_waiter *prev, *next;
	struct tls_server *server; /**< NULL = not waiting */
	void (*go)(struct tls_waiter *waiter);
};

/** All that a server endpoint needs. */
struct tls_server {
	struct tls_credentials *credentials;  /**< NULL: made at first use */
	const char *(*hostname)(void *baton); /**< name in a made certificate; NULL: none */
	void *hostname_baton;
	uint8_t secret[TLS_TICKET_SECRET_MAX];
	size_t secret_len;
	uint8_t ticket_key[64]; /**< of ticket_epoch */
	int64_t ticket_epoch;   /**< 0 = no key yet */

	int64_t saved_us;     /**< processor time that handshakes may use */
	uint64_t saved_at_ms; /**< when it was reckoned up */
	struct tls_waiter
		*waiting; /**< the latest first: under a flood the oldest are lost anyway */
};

/**
 * Load PEM files. @param[out] why  reason of a failure, static or the library's
 * @return 0 or an error; *out untouched then
 */
int tls_credentials_load(const char *cert_file, const char *key_file, struct tls_credentials **out,
	const char **why);
/**
 * Make a self-signed certificate for the key in ephemeral_key.pem of the working directory, which
 * is created if it does not exist.
 * @return 0; kr_error(EBUSY) another process is just making the key; another error
 */
int tls_credentials_make(const char *hostname, struct tls_credentials **out);
struct tls_credentials *tls_credentials_ref(struct tls_credentials *creds);
/** NULL is fine. */
void tls_credentials_unref(struct tls_credentials *creds);

/** Fill the defaults into a zeroed structure. */
void tls_server_init(struct tls_server *server);
void tls_server_deinit(struct tls_server *server);
/** Credentials for a new connection: a reference, or NULL if there are none at present. */
struct tls_credentials *tls_server_credentials(struct tls_server *server);
/** @param secret  NULL = random @return 0 or kr_error(EINVAL) for a bad length */
int tls_server_set_secret(struct tls_server *server, const void *secret, size_t len);
/** @return true if there is processor time for handshakes left */
bool tls_server_may_work(struct tls_server *server, uint64_t now_ms);
/** A handshake has used processor time. */
void tls_server_charge(struct tls_server *server, int64_t used_us);
/** Have `go` called by tls_server_work() when there is time. */
void tls_server_wait(struct tls_server *server, struct tls_waiter *waiter);
void tls_waiter_cancel(struct tls_waiter *waiter);
/** Let waiting handshakes go on. @return true if some still wait */
bool tls_server_work(struct tls_server *server, uint64_t now_ms);
/** Ticket key of the present epoch, 64 octets owned by the server. */
int tls_server_ticket_key(struct tls_server *server, int64_t now_s, gnutls_datum_t *key);
