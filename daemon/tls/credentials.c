/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/tls/credentials.h"

#include <fcntl.h>
#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <gnutls/x509.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/log.h"

#define KEY_FILE "ephemeral_key.pem"
#define KEY_LOCK "ephemeral_key.pem.lock"
/** Name in a certificate made without a better one. */
#define NO_HOSTNAME "dns-over-tls.invalid"
#define VALID_S (90 * 86400)   /* a made certificate */
#define VALID_BACK_S (15 * 60) /* clocks differ */
#define RENEW_S (7 * 86400)    /* made anew when less is left */
#define KEY_FILE_MAX 65536
#define RSA_BITS_MIN 1024
#define CHAIN_MAX 10

static int error_of(int ret)
{
	return ret == GNUTLS_E_MEMORY_ERROR ? kr_error(ENOMEM) : kr_error(EINVAL);
}

/* ---- references ---- */

static struct tls_credentials *credentials_new(void)
{
	struct tls_credentials *creds = calloc(1, sizeof(*creds));
	if (!creds)
		return NULL;
	creds->refs = 1;
	if (gnutls_certificate_allocate_credentials(&creds->gnutls) == 0 &&
		gnutls_priority_init2(
			&creds->priority, TLS_VERSIONS, NULL, GNUTLS_PRIORITY_INIT_DEF_APPEND) == 0)
		return creds;
	tls_credentials_unref(creds);
	return NULL;
}

struct tls_credentials *tls_credentials_ref(struct tls_credentials *creds)
{
	if (creds)
		creds->refs += 1;
	return creds;
}

void tls_credentials_unref(struct tls_credentials *creds)
{
	if (!creds || --creds->refs > 0)
		return;
	if (creds->gnutls)
		gnutls_certificate_free_credentials(creds->gnutls);
	if (creds->priority)
		gnutls_priority_deinit(creds->priority);
	free(creds->cert_file);
	free(creds->key_file);
	free(creds->hostname);
	free(creds);
}

/* ---- files ---- */

static void log_pin(gnutls_pubkey_t pubkey)
{
	gnutls_datum_t der = {0}, text = {0};
	uint8_t hash[32];
	if (gnutls_pubkey_export2(pubkey, GNUTLS_X509_FMT_DER, &der) == 0 &&
		gnutls_hash_fast(GNUTLS_DIG_SHA256, der.data, der.size, hash) == 0) {
		const gnutls_datum_t raw = {hash, sizeof(hash)};
		if (gnutls_base64_encode2(&raw, &text) == 0)
			kr_log_info(TLS, "RFC 7858 key pin: pin-sha256=\"%.*s\"\n", (int)text.size,
				text.data);
	}
	gnutls_free(der.data);
	gnutls_free(text.data);
}

/** Refuse what clients would refuse, or what looks like a mistake. */
static int check_leaf(gnutls_x509_crt_t crt, const char **why)
{
	gnutls_pubkey_t pubkey = NULL;
	unsigned bits = 0;
	int ret = gnutls_pubkey_init(&pubkey);
	if (ret == 0)
		ret = gnutls_pubkey_import_x509(pubkey, crt, 0);
	if (ret == 0) {
		const int algorithm = gnutls_pubkey_get_pk_algorithm(pubkey, &bits);
		if (algorithm == GNUTLS_PK_RSA && bits < RSA_BITS_MIN) {
			*why = "the RSA key is too short";
			ret = kr_error(EINVAL);
		} else {
			log_pin(pubkey);
		}
	} else {
		*why = gnutls_strerror(ret);
		ret = error_of(ret);
	}
	gnutls_pubkey_deinit(pubkey);
	return ret;
}

static int check_chain(struct tls_credentials *creds, const char **why)
{
	gnutls_x509_crt_t *list = NULL;
	unsigned len = 0;
	int ret = gnutls_certificate_get_x509_crt(creds->gnutls, 0, &list, &len);
	if (ret != 0 || len == 0) {
		*why = ret != 0 ? gnutls_strerror(ret) : "no certificate";
		return kr_error(EINVAL);
	}
	creds->valid_until = gnutls_x509_crt_get_expiration_time(list[0]);
	if (len > CHAIN_MAX) {
		*why = "the certificate chain is too long";
		ret = kr_error(EINVAL);
	} else {
		ret = check_leaf(list[0], why);
	}
	for (unsigned i = 0; i < len; ++i)
		gnutls_x509_crt_deinit(list[i]);
	gnutls_free(list);
	return ret;
}

int tls_credentials_load(
	const char *cert_file, const char *key_file, struct tls_credentials **out, const char **why)
{
	struct tls_credentials *creds = credentials_new();
	*why = "out of memory";
	if (!creds)
		return kr_error(ENOMEM);
	creds->cert_file = strdup(cert_file);
	creds->key_file = strdup(key_file);
	int ret = creds->cert_file && creds->key_file ? kr_ok() : kr_error(ENOMEM);
	if (ret == 0) {
		ret = gnutls_certificate_set_x509_key_file2(
			creds->gnutls, cert_file, key_file, GNUTLS_X509_FMT_PEM, NULL, 0);
		if (ret < 0) {
			*why = gnutls_strerror(ret);
			ret = error_of(ret);
		} else {
			ret = check_chain(creds, why);
		}
	}
	if (ret != 0) {
		tls_credentials_unref(creds);
		return ret;
	}
	*out = creds;
	return kr_ok();
}

/* ---- made on the spot ---- */

static int read_key(gnutls_x509_privkey_t key)
{
	int fd = open(KEY_FILE, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return kr_error(errno);
	char *buf = malloc(KEY_FILE_MAX);
	ssize_t len = buf ? read(fd, buf, KEY_FILE_MAX) : -1;
	close(fd);
	int ret = kr_error(EINVAL);
	if (len > 0) {
		const gnutls_datum_t pem = {(unsigned char *)buf, len};
		ret = gnutls_x509_privkey_import(key, &pem, GNUTLS_X509_FMT_PEM);
		explicit_bzero(buf, len);
	}
	free(buf);
	return ret == 0 ? kr_ok() : kr_error(EINVAL);
}

static int write_key(gnutls_x509_privkey_t key)
{
	gnutls_datum_t pem = {0};
	if (gnutls_x509_privkey_export2(key, GNUTLS_X509_FMT_PEM, &pem) != 0)
		return kr_error(ENOMEM);
	const char *tmp = KEY_FILE ".new"; /* guarded by the lock; siblings see whole files only */
	unlink(tmp);
	int fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	int ret = kr_ok();
	if (fd < 0 || write(fd, pem.data, pem.size) != (ssize_t)pem.size)
		ret = kr_error(errno);
	if (fd >= 0 && close(fd) != 0 && ret == 0)
		ret = kr_error(errno);
	if (ret == 0 && rename(tmp, KEY_FILE) != 0)
		ret = kr_error(errno);
	explicit_bzero(pem.data, pem.size);
	gnutls_free(pem.data);
	return ret;
}

static int make_key(gnutls_x509_privkey_t key)
{
	int ret = gnutls_x509_privkey_generate(
		key, GNUTLS_PK_EC, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0);
	if (ret != 0)
		return error_of(ret);
	ret = write_key(key);
	if (ret != 0) /* good for this process at least */
		kr_log_notice(TLS, "cannot store '%s': %s\n", KEY_FILE, strerror(-ret));
	return kr_ok();
}

/** The key that this process and its siblings share. */
static int obtain_key(gnutls_x509_privkey_t key)
{
	if (read_key(key) == 0)
		return kr_ok();
	int lock = open(KEY_LOCK, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (lock >= 0 && flock(lock, LOCK_EX | LOCK_NB) != 0) {
		close(lock);
		return kr_error(EBUSY);
	}
	int ret = read_key(key); /* another process may have been faster */
	if (ret != 0)
		ret = make_key(key);
	if (lock >= 0)
		close(lock);
	return ret;
}

static int fill_certificate(gnutls_x509_crt_t crt, gnutls_x509_privkey_t key, const char *hostname)
{
	const time_t now = time(NULL);
	const uint64_t serial = __builtin_bswap64((uint64_t)now);
	int ret = gnutls_x509_crt_set_version(crt, 3);
	if (ret == 0)
		ret = gnutls_x509_crt_set_serial(crt, &serial, sizeof(serial));
	if (ret == 0)
		ret = gnutls_x509_crt_set_activation_time(crt, now - VALID_BACK_S);
	if (ret == 0)
		ret = gnutls_x509_crt_set_expiration_time(crt, now - VALID_BACK_S + VALID_S);
	if (ret == 0)
		ret = gnutls_x509_crt_set_dn_by_oid(
			crt, GNUTLS_OID_X520_COMMON_NAME, 0, hostname, strlen(hostname));
	if (ret == 0)
		ret = gnutls_x509_crt_set_subject_alt_name(
			crt, GNUTLS_SAN_DNSNAME, hostname, strlen(hostname), GNUTLS_FSAN_SET);
	if (ret == 0)
		ret = gnutls_x509_crt_set_basic_constraints(crt, 0, -1);
	if (ret == 0)
		ret = gnutls_x509_crt_set_key_usage(crt, GNUTLS_KEY_DIGITAL_SIGNATURE);
	if (ret == 0)
		ret = gnutls_x509_crt_set_key_purpose_oid(crt, GNUTLS_KP_TLS_WWW_SERVER, 0);
	if (ret == 0)
		ret = gnutls_x509_crt_set_key_purpose_oid(crt, GNUTLS_KP_TLS_WWW_CLIENT, 0);
	if (ret == 0)
		ret = gnutls_x509_crt_set_key(crt, key);
	if (ret == 0)
		ret = gnutls_x509_crt_sign2(crt, crt, key, GNUTLS_DIG_SHA256, 0);
	return ret;
}

static int make_into(struct tls_credentials *creds, const char *hostname, gnutls_x509_privkey_t key,
	gnutls_x509_crt_t crt)
{
	int ret = obtain_key(key);
	if (ret != 0)
		return ret;
	ret = fill_certificate(crt, key, hostname);
	if (ret == 0)
		ret = gnutls_certificate_set_x509_key(creds->gnutls, &crt, 1, key);
	if (ret < 0) {
		kr_log_error(TLS, "cannot make a certificate for '%s': %s\n", hostname,
			gnutls_strerror(ret));
		return error_of(ret);
	}
	creds->valid_until = gnutls_x509_crt_get_expiration_time(crt);
	const char *why = NULL;
	return check_leaf(crt, &why);
}

int tls_credentials_make(const char *hostname, struct tls_credentials **out)
{
	gnutls_x509_privkey_t key = NULL;
	gnutls_x509_crt_t crt = NULL;
	struct tls_credentials *creds = credentials_new();
	if (!hostname || !hostname[0])
		hostname = NO_HOSTNAME;
	int ret = kr_error(ENOMEM);
	if (creds && (creds->hostname = strdup(hostname)) && gnutls_x509_privkey_init(&key) == 0 &&
		gnutls_x509_crt_init(&crt) == 0)
		ret = make_into(creds, hostname, key, crt);
	if (crt)
		gnutls_x509_crt_deinit(crt);
	if (key)
		gnutls_x509_privkey_deinit(key);
	if (ret != 0) {
		tls_credentials_unref(creds);
		return ret;
	}
	*out = creds;
	return kr_ok();
}

/* ---- server ---- */

void tls_server_init(struct tls_server *server)
{
	memset(server, 0, sizeof(*server));
	server->saved_us = TLS_HANDSHAKE_SAVED_US;
	tls_server_set_secret(server, NULL, 0);
}

void tls_server_deinit(struct tls_server *server)
{
	while (server->waiting)
		tls_waiter_cancel(server->waiting);
	tls_credentials_unref(server->credentials);
	explicit_bzero(server, sizeof(*server));
}

/** Is it one that we made, and is it time to make another? */
static bool is_outdated(const struct tls_credentials *creds, const char *hostname, int64_t now_s)
{
	return !creds->cert_file &&
	       (creds->valid_until - now_s < RENEW_S || strcmp(creds->hostname, hostname) != 0);
}

struct tls_credentials *tls_server_credentials(struct tls_server *server)
{
	const int64_t now_s = time(NULL);
	const char *hostname = server->hostname ? server->hostname(server->hostname_baton) : NULL;
	if (!hostname || !hostname[0])
		hostname = NO_HOSTNAME;
	struct tls_credentials *creds = server->credentials;
	if (!creds || is_outdated(creds, hostname, now_s)) {
		struct tls_credentials *made = NULL;
		int ret = tls_credentials_make(hostname, &made);
		if (ret == 0) {
			tls_credentials_unref(server->credentials);
			server->credentials = creds = made;
		} else {
			kr_log_info(TLS, "no certificate at present: %s\n", strerror(-ret));
		}
	} else if (creds->cert_file && creds->valid_until < now_s && !creds->is_expiry_told) {
		creds->is_expiry_told = true;
		kr_log_error(TLS, "the certificate in '%s' has expired\n", creds->cert_file);
	}
	return tls_credentials_ref(creds);
}

int tls_server_set_secret(struct tls_server *server, const void *secret, size_t len)
{
	if (secret && (len < TLS_TICKET_SECRET_MIN || len > TLS_TICKET_SECRET_MAX))
		return kr_error(EINVAL);
	explicit_bzero(server->secret, sizeof(server->secret));
	if (secret) {
		memcpy(server->secret, secret, len);
		server->secret_len = len;
	} else {
		server->secret_len = TLS_TICKET_SECRET_MIN;
		if (gnutls_rnd(GNUTLS_RND_KEY, server->secret, server->secret_len) != 0)
			abort();
	}
	server->ticket_epoch = 0;
	return kr_ok();
}

/* ---- admission of handshakes ---- */

bool tls_server_may_work(struct tls_server *server, uint64_t now_ms)
{
	if (now_ms > server->saved_at_ms) {
		const int64_t passed_ms = KR_MIN(now_ms - server->saved_at_ms, 10000);
		server->saved_us += passed_ms * TLS_HANDSHAKE_SHARE;
		server->saved_us = KR_MIN(server->saved_us, TLS_HANDSHAKE_SAVED_US);
		server->saved_at_ms = now_ms;
	}
	return server->saved_us > 0;
}

void tls_server_charge(struct tls_server *server, int64_t used_us)
{
	server->saved_us -= used_us;
}

void tls_server_wait(struct tls_server *server, struct tls_waiter *waiter)
{
	if (waiter->server)
		return;
	waiter->server = server;
	waiter->prev = NULL;
	waiter->next = server->waiting;
	if (waiter->next)
		waiter->next->prev = waiter;
	server->waiting = waiter;
}

void tls_waiter_cancel(struct tls_waiter *waiter)
{
	if (!waiter->server)
		return;
	if (waiter->prev)
		waiter->prev->next = waiter->next;
	else
		waiter->server->waiting = waiter->next;
	if (waiter->next)
		waiter->next->prev = waiter->prev;
	waiter->server = NULL;
}

bool tls_server_work(struct tls_server *server, uint64_t now_ms)
{
	while (server->waiting && tls_server_may_work(server, now_ms)) {
		struct tls_waiter *waiter = server->waiting;
		tls_waiter_cancel(waiter);
		waiter->go(waiter);
	}
	return server->waiting != NULL;
}

int tls_server_ticket_key(struct tls_server *server, int64_t now_s, gnutls_datum_t *key)
{
	const int64_t epoch = now_s / TLS_TICKET_EPOCH_S + 1;
	if (epoch != server->ticket_epoch) {
		/* HMAC as the extracting and expanding function at once: one block is enough. */
		char info[32] = "kresd session ticket";
		for (int i = 0; i < 8; ++i)
			info[24 + i] = (uint64_t)epoch >> (8 * i);
		int ret = gnutls_hmac_fast(GNUTLS_MAC_SHA512, server->secret, server->secret_len,
			info, sizeof(info), server->ticket_key);
		if (ret != 0)
			return kr_error(EINVAL);
		server->ticket_epoch = epoch;
	}
	*key = (gnutls_datum_t){server->ticket_key, sizeof(server->ticket_key)};
	return kr_ok();
}
