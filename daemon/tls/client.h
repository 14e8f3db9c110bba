/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * What we demand of TLS servers that we ask: for each address a name and CA, or pins of its key
 * (RFC 7858, RFC 8310), and the last session, so that the next handshake is short.
 */
#pragma once

#include <gnutls/gnutls.h>

#include "lib/addr.h"
#include "lib/generic/array.h"

#define TLS_PIN_LEN 32 /**< SHA-256 of the SubjectPublicKeyInfo */
/** Longest certificate chain accepted, and its octets, A-36. @{ */
#define TLS_CHAIN_MAX 8
#define TLS_CHAIN_BYTES_MAX (64 * 1024)
/** @} */

/** Longest path of DNS over HTTPS. */
#define TLS_CLIENT_PATH_MAX 1024

/** As configured; lent. */
struct tls_client_spec {
	union kr_sockaddr addr;
	const char *hostname;        /**< or NULL */
	const char *const *ca_files; /**< "" = the system's store */
	size_t ca_files_len;
	const char *const *pins; /**< base64 */
	size_t pins_len;
	bool insecure;
	const char *path; /**< of DNS over HTTPS, begins with a slash; NULL: DNS over TLS */
};

/** Of one server; counted references. */
struct tls_client_param {
	union kr_sockaddr addr;
	char *hostname; /**< lower case, without the final dot; or NULL */
	array_t(char *) ca_files;
	array_t(char *) pin_texts;
	uint8_t (*pins)[TLS_PIN_LEN];
	bool insecure;
	char *path; /**< NULL: DNS over TLS */
	gnutls_certificate_credentials_t gnutls;
	gnutls_priority_t priority;
	gnutls_datum_t session; /**< to be resumed */
	unsigned refs;
};

/** All servers. */
struct tls_clients {
	array_t(struct tls_client_param *) list;
};

/**
 * Read and check what was configured.
 * @param[out] why  reason of a failure, static
 * @return 0 or kr_error(EINVAL), kr_error(ENOMEM)
 */
int tls_client_param_new(
	const struct tls_client_spec *spec, struct tls_client_param **out, const char **why);
struct tls_client_param *tls_client_param_ref(struct tls_client_param *param);
/** NULL is fine. */
void tls_client_param_unref(struct tls_client_param *param);
/**
 * Judge the server after the handshake.
 * @return 0; kr_error(EACCES) it is not who it should be. The reason is logged.
 */
int tls_client_verify(const struct tls_client_param *param, gnutls_session_t session);

/**
 * Add; a server of the same address is replaced.
 * @param[out] is_changed  it was known with other parameters
 */
int tls_clients_add(struct tls_clients *clients, struct tls_client_param *param, bool *is_changed);
/** @return NULL if there is none of that address and port */
struct tls_client_param *tls_clients_find(
	const struct tls_clients *clients, const struct sockaddr *addr);
/** @return 0 or kr_error(ENOENT) */
int tls_clients_del(struct tls_clients *clients, const struct sockaddr *addr);
void tls_clients_clear(struct tls_clients *clients);
