/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/tls/client.h"

#include <ctype.h>
#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <gnutls/x509.h>
#include <string.h>

#include "daemon/tls/credentials.h"
#include "lib/log.h"

/** Bits of a key in a chain that we are willing to compute with. */
#define KEY_BITS_MAX 16384

/* ---- configuration ---- */

struct tls_client_param *tls_client_param_ref(struct tls_client_param *param)
{
	if (param)
		param->refs += 1;
	return param;
}

void tls_client_param_unref(struct tls_client_param *param)
{
	if (!param || --param->refs > 0)
		return;
	for (size_t i = 0; i < param->ca_files.len; ++i)
		free(param->ca_files.at[i]);
	for (size_t i = 0; i < param->pin_texts.len; ++i)
		free(param->pin_texts.at[i]);
	array_clear(param->ca_files);
	array_clear(param->pin_texts);
	free(param->pins);
	free(param->hostname);
	free(param->path);
	gnutls_free(param->session.data);
	if (param->gnutls)
		gnutls_certificate_free_credentials(param->gnutls);
	if (param->priority)
		gnutls_priority_deinit(param->priority);
	free(param);
}

static int keep_hostname(struct tls_client_param *param, const char *hostname)
{
	if (!hostname)
		return kr_ok();
	size_t len = strlen(hostname);
	if (len > 0 && hostname[len - 1] == '.')
		len -= 1;
	param->hostname = strndup(hostname, len);
	if (!param->hostname)
		return kr_error(ENOMEM);
	for (char *at = param->hostname; *at; ++at)
		*at = tolower((unsigned char)*at);
	return kr_ok();
}

static int keep_pin(struct tls_client_param *param, size_t i, const char *text, const char **why)
{
	const gnutls_datum_t in = {(unsigned char *)text, strlen(text)};
	gnutls_datum_t raw = {0};
	int ret = gnutls_base64_decode2(&in, &raw);
	if (ret != 0)
		*why = "a pin is not valid base64";
	else if (raw.size != TLS_PIN_LEN)
		*why = "a pin is not 32 octets long";
	else
		memcpy(param->pins[i], raw.data, TLS_PIN_LEN);
	gnutls_free(raw.data);
	if (*why)
		return kr_error(EINVAL);
	char *copy = strdup(text);
	return copy && array_push(param->pin_texts, copy) >= 0 ? kr_ok() : kr_error(ENOMEM);
}

static int keep_pins(
	struct tls_client_param *param, const struct tls_client_spec *spec, const char **why)
{
	if (spec->pins_len == 0)
		return kr_ok();
	param->pins = calloc(spec->pins_len, TLS_PIN_LEN);
	if (!param->pins)
		return kr_error(ENOMEM);
	for (size_t i = 0; i < spec->pins_len; ++i) {
		int ret = keep_pin(param, i, spec->pins[i], why);
		if (ret != 0)
			return ret;
	}
	return kr_ok();
}

static int load_ca(struct tls_client_param *param, const char *file, const char **why)
{
	int ret = file[0] ? gnutls_certificate_set_x509_trust_file(
				    param->gnutls, file, GNUTLS_X509_FMT_PEM)
			  : gnutls_certificate_set_x509_system_trust(param->gnutls);
	if (ret <= 0) {
		*why = ret < 0   ? gnutls_strerror(ret)
		       : file[0] ? "no certificate in the CA file"
				 : "the system's CA store is empty";
		return kr_error(EINVAL);
	}
	char *copy = strdup(file);
	return copy && array_push(param->ca_files, copy) >= 0 ? kr_ok() : kr_error(ENOMEM);
}

static int load_cas(
	struct tls_client_param *param, const struct tls_client_spec *spec, const char **why)
{
	if (spec->pins_len > 0 || spec->insecure)
		return kr_ok();
	if (spec->ca_files_len == 0)
		return load_ca(param, "", why);
	int ret = kr_ok();
	for (size_t i = 0; i < spec->ca_files_len && ret == 0; ++i)
		ret = load_ca(param, spec->ca_files[i], why);
	return ret;
}

static int keep_path(
	struct tls_client_param *param, const struct tls_client_spec *spec, const char **why)
{
	if (!spec->path)
		return kr_ok();
	const size_t len = strlen(spec->path);
	if (spec->path[0] != '/' || len > TLS_CLIENT_PATH_MAX)
		*why = "the path has to begin with a slash and be 1024 octets at most";
	for (size_t i = 0; i < len; ++i)
		if (spec->path[i] <= ' ' || spec->path[i] > '~')
			*why = "the path has to be of printable characters, others as %XX";
	if (*why)
		return kr_error(EINVAL);
	param->path = strdup(spec->path);
	return param->path ? kr_ok() : kr_error(ENOMEM);
}

static int check_spec(const struct tls_client_spec *spec, const char **why)
{
	if (spec->insecure && (spec->hostname || spec->ca_files_len || spec->pins_len))
		*why = "'insecure' excludes hostname, ca_file and pin_sha256";
	else if (spec->pins_len > 0 && spec->ca_files_len > 0)
		*why = "pin_sha256 excludes ca_file";
	else if (!spec->insecure && spec->pins_len == 0 && !spec->hostname)
		*why = spec->ca_files_len > 0 ? "ca_file needs a hostname"
					      : "there is no way to authenticate the server: "
						"hostname or pin_sha256 is missing";
	return *why ? kr_error(EINVAL) : kr_ok();
}

static int fill_param(
	struct tls_client_param *param, const struct tls_client_spec *spec, const char **why)
{
	int ret = check_spec(spec, why);
	if (ret == 0 && (gnutls_certificate_allocate_credentials(&param->gnutls) != 0 ||
				gnutls_priority_init2(&param->priority, TLS_VERSIONS, NULL,
					GNUTLS_PRIORITY_INIT_DEF_APPEND) != 0))
		ret = kr_error(ENOMEM);
	if (ret == 0)
		ret = keep_hostname(param, spec->hostname);
	if (ret == 0)
		ret = keep_path(param, spec, why);
	if (ret == 0)
		ret = keep_pins(param, spec, why);
	if (ret == 0)
		ret = load_cas(param, spec, why);
	if (ret == 0)
		gnutls_certificate_set_verify_limits(param->gnutls, KEY_BITS_MAX, TLS_CHAIN_MAX);
	return ret;
}

int tls_client_param_new(
	const struct tls_client_spec *spec, struct tls_client_param **out, const char **why)
{
	*why = NULL;
	struct tls_client_param *param = calloc(1, sizeof(*param));
	int ret = kr_error(ENOMEM);
	if (param) {
		param->refs = 1;
		param->addr = spec->addr;
		param->insecure = spec->insecure;
		ret = fill_param(param, spec, why);
	}
	if (ret == 0) {
		*out = param;
		return kr_ok();
	}
	if (!*why)
		*why = "out of memory";
	tls_client_param_unref(param);
	return ret;
}

/* ---- authentication ---- */

static bool has_pin(const struct tls_client_param *param, const uint8_t hash[TLS_PIN_LEN])
{
	for (size_t i = 0; i < param->pin_texts.len; ++i)
		if (memcmp(param->pins[i], hash, TLS_PIN_LEN) == 0)
			return true;
	return false;
}

static int hash_key(const gnutls_datum_t *cert, uint8_t hash[static TLS_PIN_LEN])
{
	gnutls_x509_crt_t crt = NULL;
	gnutls_pubkey_t pubkey = NULL;
	gnutls_datum_t der = {0};
	int ret = gnutls_x509_crt_init(&crt);
	if (ret == 0)
		ret = gnutls_x509_crt_import(crt, cert, GNUTLS_X509_FMT_DER);
	if (ret == 0)
		ret = gnutls_pubkey_init(&pubkey);
	if (ret == 0)
		ret = gnutls_pubkey_import_x509(pubkey, crt, 0);
	if (ret == 0)
		ret = gnutls_pubkey_export2(pubkey, GNUTLS_X509_FMT_DER, &der);
	if (ret == 0)
		ret = gnutls_hash_fast(GNUTLS_DIG_SHA256, der.data, der.size, hash);
	gnutls_free(der.data);
	if (pubkey)
		gnutls_pubkey_deinit(pubkey);
	if (crt)
		gnutls_x509_crt_deinit(crt);
	return ret;
}

static int verify_pins(const struct tls_client_param *param, gnutls_session_t session)
{
	unsigned len = 0;
	const gnutls_datum_t *list = gnutls_certificate_get_peers(session, &len);
	uint8_t hash[TLS_PIN_LEN];
	/* Without a CA nothing vouches for the rest of the chain: the first certificate counts. */
	if (list && len > 0 && hash_key(&list[0], hash) == 0 && has_pin(param, hash))
		return kr_ok();
	kr_log_notice(TLSCLIENT, "%s: the key of the server is none of those pinned\n",
		kr_straddr(&param->addr.ip));
	return kr_error(EACCES);
}

int tls_client_verify(const struct tls_client_param *param, gnutls_session_t session)
{
	unsigned status = 0, len = 0;
	if (param->insecure)
		return kr_ok();
	gnutls_certificate_get_peers(session, &len);
	if (len > TLS_CHAIN_MAX) {
		kr_log_notice(TLSCLIENT, "%s: the certificate chain is too long\n",
			kr_straddr(&param->addr.ip));
		return kr_error(EACCES);
	}
	if (param->pin_texts.len > 0)
		return verify_pins(param, session);
	int ret = gnutls_certificate_verify_peers3(session, param->hostname, &status);
	if (ret == 0 && status == 0)
		return kr_ok();
	gnutls_datum_t text = {0};
	if (ret == 0)
		gnutls_certificate_verification_status_print(status, GNUTLS_CRT_X509, &text, 0);
	kr_log_notice(TLSCLIENT, "%s (%s): %s\n", kr_straddr(&param->addr.ip), param->hostname,
		text.data ? (char *)text.data : gnutls_strerror(ret));
	gnutls_free(text.data);
	return kr_error(EACCES);
}

/* ---- all servers ---- */

static size_t find(const struct tls_clients *clients, const struct sockaddr *addr)
{
	size_t i = 0;
	while (i < clients->list.len && kr_sockaddr_cmp(&clients->list.at[i]->addr.ip, addr) != 0)
		++i;
	return i;
}

static bool same_text(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

static bool same_param(const struct tls_client_param *a, const struct tls_client_param *b)
{
	if (a->insecure != b->insecure || !same_text(a->hostname, b->hostname) ||
		!same_text(a->path, b->path) || a->ca_files.len != b->ca_files.len ||
		a->pin_texts.len != b->pin_texts.len)
		return false;
	for (size_t i = 0; i < a->ca_files.len; ++i)
		if (!same_text(a->ca_files.at[i], b->ca_files.at[i]))
			return false;
	return a->pin_texts.len == 0 ||
	       memcmp(a->pins, b->pins, a->pin_texts.len * TLS_PIN_LEN) == 0;
}

int tls_clients_add(struct tls_clients *clients, struct tls_client_param *param, bool *is_changed)
{
	const size_t i = find(clients, &param->addr.ip);
	*is_changed = false;
	if (i == clients->list.len)
		return array_push(clients->list, param) < 0 ? kr_error(ENOMEM) : kr_ok();
	*is_changed = !same_param(clients->list.at[i], param);
	tls_client_param_unref(clients->list.at[i]);
	clients->list.at[i] = param;
	return kr_ok();
}

struct tls_client_param *tls_clients_find(
	const struct tls_clients *clients, const struct sockaddr *addr)
{
	const size_t i = find(clients, addr);
	return i < clients->list.len ? clients->list.at[i] : NULL;
}

int tls_clients_del(struct tls_clients *clients, const struct sockaddr *addr)
{
	const size_t i = find(clients, addr);
	if (i == clients->list.len)
		return kr_error(ENOENT);
	tls_client_param_unref(clients->list.at[i]);
	for (size_t k = i + 1; k < clients->list.len; ++k)
		clients->list.at[k - 1] = clients->list.at[k];
	clients->list.len -= 1;
	return kr_ok();
}

void tls_clients_clear(struct tls_clients *clients)
{
	for (size_t i = 0; i < clients->list.len; ++i)
		tls_client_param_unref(clients->list.at[i]);
	array_clear(clients->list);
}
