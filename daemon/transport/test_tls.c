/* SPDX-License-Identifier: GPL-3.0-or-later */
/** @file
 * A TLS client and a TLS server, both our own stage over arrays, and what they think of each other.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <gnutls/crypto.h>
#include <gnutls/x509.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/tls/client.h"
#include "daemon/tls/credentials.h"
#include "daemon/transport/dns_frame.h"
#include "daemon/transport/test_stack.h"
#include "daemon/transport/tls.h"

static struct tls_server server;
static char dir[] = "/tmp/kres-tls-XXXXXX";

static const char *hostname(void *baton)
{
	return baton;
}

static int setup(void **state)
{
	strcpy(dir, "/tmp/kres-tls-XXXXXX");
	if (!mkdtemp(dir) || chdir(dir) != 0)
		return -1;
	tls_server_init(&server);
	server.hostname = hostname;
	server.hostname_baton = "dns.example";
	return 0;
}

static int teardown(void **state)
{
	static const char *const files[] = {
		"ephemeral_key.pem", "ephemeral_key.pem.lock", "c.pem", "k.pem", "x.pem"};
	tls_server_deinit(&server);
	for (size_t i = 0; i < KR_COUNT_OF(files); ++i)
		unlink(files[i]);
	rmdir(dir);
	return 0;
}

/** Base64 pin of the key the server uses, spoilt if wanted. */
static const char *pin_of(struct tls_credentials *creds, bool is_wrong)
{
	static char text[64];
	gnutls_x509_crt_t *list = NULL;
	unsigned len = 0;
	size_t size = 32;
	uint8_t id[32];
	assert_int_equal(gnutls_certificate_get_x509_crt(creds->gnutls, 0, &list, &len), 0);
	assert_int_equal(
		gnutls_x509_crt_get_key_id(list[0], GNUTLS_KEYID_USE_SHA256, id, &size), 0);
	for (unsigned i = 0; i < len; ++i)
		gnutls_x509_crt_deinit(list[i]);
	gnutls_free(list);
	id[0] ^= is_wrong;
	gnutls_datum_t raw = {id, sizeof(id)}, out = {0};
	assert_int_equal(gnutls_base64_encode2(&raw, &out), 0);
	snprintf(text, sizeof(text), "%.*s", (int)out.size, out.data);
	gnutls_free(out.data);
	return text;
}

static struct tls_client_param *client_of(const char *pin, const char *name, const char *ca)
{
	const char *why = NULL;
	struct tls_client_param *param = NULL;
	const struct tls_client_spec spec = {
		.addr.ip4 = {.sin_family = AF_INET, .sin_port = htons(853)},
		.hostname = name,
		.ca_files = &ca,
		.ca_files_len = ca != NULL,
		.pins = &pin,
		.pins_len = pin != NULL,
		.insecure = !pin && !name};
	if (tls_client_param_new(&spec, &param, &why) != 0)
		fail_msg("%s", why);
	return param;
}

struct pair {
	struct rig client, server;
	int client_ret, server_ret;
	size_t server_octets; /**< sent by the server in all */
};

static void start(struct pair *pair, struct tls_client_param *param, const char *client_alpn,
	const char *server_alpn)
{
	const struct tls_param cp = {.client = param, .alpn = client_alpn};
	const struct tls_param sp = {.server = &server, .alpn = server_alpn};
	const struct stack_item client[] = {{&tls_stage, &cp}, {&dns_frame_stage, NULL}};
	const struct stack_item srv[] = {{&tls_stage, &sp}, {&dns_frame_stage, NULL}};
	memset(pair, 0, sizeof(*pair));
	assert_int_equal(rig_init(&pair->client, client, 2), 0);
	assert_int_equal(rig_init(&pair->server, srv, 2), 0);
	assert_int_equal(rig_tell(&pair->server, STAGE_OPEN), 0);
	assert_int_equal(rig_tell(&pair->client, STAGE_OPEN), 0);
}

static int carry(struct rig *from, struct rig *to, size_t step)
{
	int ret = 0;
	uint8_t *at = from->out.at;
	const size_t len = from->out.len;
	array_init(from->out);
	for (size_t done = 0; done < len && ret == 0; done += step)
		ret = rig_feed(to, at + done, KR_MIN(step, len - done));
	free(at);
	return ret;
}

/** Let them talk until both are silent. */
static void talk(struct pair *pair, size_t step)
{
	for (int i = 0; i < 50; ++i) {
		rig_tell(&pair->client, STAGE_FLUSH);
		rig_tell(&pair->server, STAGE_FLUSH);
		if (pair->client.out.len + pair->server.out.len == 0)
			return;
		if (pair->client.out.len > 0 && pair->server_ret == 0)
			pair->server_ret = carry(&pair->client, &pair->server, step);
		else
			array_clear(pair->client.out);
		pair->server_octets += pair->server.out.len;
		if (pair->server.out.len > 0 && pair->client_ret == 0)
			pair->client_ret = carry(&pair->server, &pair->client, step);
		else
			array_clear(pair->server.out);
	}
	fail_msg("they talk for ever");
}

static void stop(struct pair *pair)
{
	rig_deinit(&pair->client);
	rig_deinit(&pair->server);
}

static void check_talk(size_t step)
{
	struct tls_credentials *creds = tls_server_credentials(&server);
	struct tls_client_param *param = client_of(pin_of(creds, false), NULL, NULL);
	struct pair pair;
	uint8_t question[100], answer[5000];
	memset(question, 1, sizeof(question));
	memset(answer, 2, sizeof(answer));
	start(&pair, param, "dot", "dot");
	/* May be said before the way is open. */
	assert_int_equal(stack_send(pair.client.stack, NULL, (struct bytes){question, 100}), 0);
	talk(&pair, step);
	assert_true(pair.client.is_open && pair.server.is_open);
	assert_int_equal(pair.server.messages.len, 1);
	assert_int_equal(pair.server.messages.at[0].len, 100);
	assert_true(pair.server.messages.at[0].flags.tls);
	assert_true(pair.server.messages.at[0].comm_flags.tls);
	for (int i = 0; i < 20; ++i)
		assert_int_equal(
			stack_send(pair.server.stack, NULL, (struct bytes){answer, 5000}), 0);
	talk(&pair, step);
	assert_int_equal(pair.client.messages.len, 20);
	assert_int_equal(pair.client.messages.at[19].len, 5000);
	assert_memory_equal(pair.client.messages.at[19].wire, answer, 5000);
	rig_tell(&pair.server, STAGE_SHUTDOWN);
	talk(&pair, step);
	assert_true(pair.client.is_eof);
	stop(&pair);
	tls_client_param_unref(param);
	tls_credentials_unref(creds);
}

static void messages_pass_in_any_portions(void **state)
{
	check_talk(100000);
	check_talk(1);
	check_talk(7);
}

static void one_turn_is_one_record(void **state)
{
	struct tls_client_param *param = client_of(NULL, NULL, NULL);
	struct pair pair;
	uint8_t wire[50] = {0};
	start(&pair, param, "dot", "dot");
	talk(&pair, 100000);
	for (int i = 0; i < 10; ++i)
		stack_send(pair.server.stack, NULL, (struct bytes){wire, sizeof(wire)});
	assert_int_equal(pair.server.out.len, 0);
	rig_tell(&pair.server, STAGE_FLUSH);
	assert_in_range(pair.server.out.len, 520, 560);
	talk(&pair, 100000);
	assert_int_equal(pair.client.messages.len, 10);
	for (int i = 0; i < 2; ++i) { /* unless the stage above wants it otherwise */
		stack_send(pair.server.stack, NULL, (struct bytes){wire, sizeof(wire)});
		rig_tell(&pair.server, STAGE_CUT);
	}
	assert_int_equal(pair.server.out.at[0], 23); /* application data: RFC 8446 section 5.1 */
	assert_true(pair.server.out.len > 100);
	assert_int_equal(pair.server.out.at[pair.server.out.len / 2], 23);
	talk(&pair, 100000);
	assert_int_equal(pair.client.messages.len, 12);
	stop(&pair);
	tls_client_param_unref(param);
}

static void servers_with_another_key_are_refused(void **state)
{
	struct tls_credentials *creds = tls_server_credentials(&server);
	struct tls_client_param *param = client_of(pin_of(creds, true), NULL, NULL);
	struct pair pair;
	uint8_t question[100] = {0};
	start(&pair, param, "dot", "dot");
	stack_send(pair.client.stack, NULL, (struct bytes){question, 100});
	talk(&pair, 100000);
	assert_int_equal(pair.client_ret, kr_error(EPROTO));
	assert_false(pair.client.is_open);
	assert_int_equal(pair.server.messages.len, 0); /* nothing was told to a stranger */
	stop(&pair);
	tls_client_param_unref(param);
	tls_credentials_unref(creds);
}

static void write_file(const char *name, const gnutls_datum_t *data)
{
	FILE *file = fopen(name, "w");
	assert_non_null(file);
	assert_int_equal(fwrite(data->data, 1, data->size, file), data->size);
	fclose(file);
}

/** A certificate in c.pem with its key in k.pem. */
static void make_files(const char *name, int days, unsigned rsa_bits)
{
	gnutls_x509_privkey_t key;
	gnutls_x509_crt_t crt;
	gnutls_datum_t pem = {0};
	const time_t now = time(NULL);
	gnutls_x509_privkey_init(&key);
	gnutls_x509_crt_init(&crt);
	if (rsa_bits)
		assert_int_equal(gnutls_x509_privkey_generate(key, GNUTLS_PK_RSA, rsa_bits, 0), 0);
	else
		assert_int_equal(gnutls_x509_privkey_generate(key, GNUTLS_PK_EC,
					 GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0),
			0);
	gnutls_x509_crt_set_version(crt, 3);
	gnutls_x509_crt_set_serial(crt, "\1", 1);
	gnutls_x509_crt_set_activation_time(crt, now - 100 * 86400);
	gnutls_x509_crt_set_expiration_time(crt, now + days * 86400);
	gnutls_x509_crt_set_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0, name, strlen(name));
	gnutls_x509_crt_set_subject_alt_name(
		crt, GNUTLS_SAN_DNSNAME, name, strlen(name), GNUTLS_FSAN_SET);
	gnutls_x509_crt_set_basic_constraints(crt, 1, -1);
	gnutls_x509_crt_set_key_usage(crt, GNUTLS_KEY_DIGITAL_SIGNATURE | GNUTLS_KEY_KEY_CERT_SIGN);
	gnutls_x509_crt_set_key(crt, key);
	assert_int_equal(
		gnutls_x509_crt_sign2(crt, crt, key,
			rsa_bits && rsa_bits < 700 ? GNUTLS_DIG_SHA1 : GNUTLS_DIG_SHA256, 0),
		0);
	assert_int_equal(gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_PEM, &pem), 0);
	write_file("c.pem", &pem);
	gnutls_free(pem.data);
	assert_int_equal(gnutls_x509_privkey_export2(key, GNUTLS_X509_FMT_PEM, &pem), 0);
	write_file("k.pem", &pem);
	gnutls_free(pem.data);
	gnutls_x509_crt_deinit(crt);
	gnutls_x509_privkey_deinit(key);
}

static void use_files(void)
{
	const char *why = NULL;
	struct tls_credentials *creds = NULL;
	if (tls_credentials_load("c.pem", "k.pem", &creds, &why) != 0)
		fail_msg("%s", why);
	tls_credentials_unref(server.credentials);
	server.credentials = creds;
}

static void names_and_dates_are_checked(void **state)
{
	static const struct {
		const char *name;
		int days;
		bool is_good;
	} cases[] = {{"dns.example", 30, true}, {"other.example", 30, false},
		{"dns.example", -30, false}};
	for (size_t i = 0; i < KR_COUNT_OF(cases); ++i) {
		make_files(cases[i].name, cases[i].days, 0);
		use_files();
		struct tls_client_param *param = client_of(NULL, "DNS.Example.", "c.pem");
		assert_string_equal(param->hostname, "dns.example");
		struct pair pair;
		start(&pair, param, "dot", "dot");
		talk(&pair, 100000);
		assert_int_equal(pair.client.is_open, cases[i].is_good);
		assert_int_equal(pair.client_ret, cases[i].is_good ? 0 : kr_error(EPROTO));
		stop(&pair);
		tls_client_param_unref(param);
	}
}

static void unknown_authorities_are_refused(void **state)
{
	make_files("dns.example", 30, 0);
	rename("c.pem", "x.pem");
	make_files("dns.example", 30, 0);
	use_files();
	struct tls_client_param *param = client_of(NULL, "dns.example", "x.pem");
	struct pair pair;
	start(&pair, param, "dot", "dot");
	talk(&pair, 100000);
	assert_false(pair.client.is_open);
	stop(&pair);
	tls_client_param_unref(param);
}

static void other_protocols_are_refused_with_an_alert(void **state)
{
	struct tls_client_param *param = client_of(NULL, NULL, NULL);
	struct pair pair;
	start(&pair, param, "h2", "dot");
	talk(&pair, 100000);
	assert_int_equal(pair.server_ret, kr_error(EPROTO));
	assert_int_equal(pair.client_ret, kr_error(EPROTO));
	assert_false(pair.server.is_open);
	stop(&pair);
	tls_client_param_unref(param);
}

static void garbage_gets_an_alert(void **state)
{
	static const struct {
		const char *what;
		uint8_t wire[64];
		size_t len;
	} cases[] = {{"zeros", {0}, 64}, {"HTTP", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 27},
		{"SSLv2 hello", {0x80, 0x2e, 1, 0, 2, 0, 0x15, 0, 0, 0, 0x10}, 48},
		{"record too long", {22, 3, 1, 0x48, 1}, 64},
		{"unknown type", {99, 3, 3, 0, 4, 1, 2, 3, 4}, 9},
		{"data first", {23, 3, 3, 0, 4, 1, 2, 3, 4}, 9}};
	const struct tls_param sp = {.server = &server, .alpn = "dot"};
	const struct stack_item srv[] = {{&tls_stage, &sp}, {&dns_frame_stage, NULL}};
	for (size_t i = 0; i < KR_COUNT_OF(cases); ++i) {
		struct rig rig;
		assert_int_equal(rig_init(&rig, srv, 2), 0);
		assert_int_equal(rig_tell(&rig, STAGE_OPEN), 0);
		if (rig_feed(&rig, cases[i].wire, cases[i].len) != kr_error(EPROTO))
			fail_msg("%s is tolerated", cases[i].what);
		if (rig.out.len == 0 || rig.out.at[0] != 21)
			fail_msg("%s: no alert", cases[i].what);
		assert_int_equal(rig_feed(&rig, cases[i].wire, 1), kr_error(EPROTO));
		rig_deinit(&rig);
	}
}

static void resumption_works_among_servers_with_one_secret(void **state)
{
	struct tls_client_param *param = client_of(NULL, NULL, NULL);
	param->insecure = false; /* sessions of unknown servers are not kept */
	make_files("dns.example", 30, 0);
	use_files();
	tls_client_param_unref(param);
	param = client_of(NULL, "dns.example", "c.pem");
	uint8_t secret[32] = "shared by all";
	assert_int_equal(tls_server_set_secret(&server, secret, sizeof(secret)), 0);
	size_t full = 0, resumed = 0;
	for (int i = 0; i < 2; ++i) {
		struct pair pair;
		start(&pair, param, "dot", "dot");
		talk(&pair, 100000);
		assert_true(pair.client.is_open);
		uint8_t wire[20] = {0};
		stack_send(pair.server.stack, NULL, (struct bytes){wire, sizeof(wire)});
		talk(&pair, 100000);
		*(i ? &resumed : &full) = pair.server_octets;
		rig_tell(&pair.client, STAGE_SHUTDOWN);
		stop(&pair);
		assert_true(param->session.size > 0);
		if (i == 0) /* another process */
			assert_int_equal(tls_server_set_secret(&server, secret, sizeof(secret)), 0);
	}
	assert_in_range(resumed, 1, full - 300); /* no certificate was sent again */
	gnutls_datum_t a, b;
	assert_int_equal(tls_server_ticket_key(&server, 4096 * 10, &a), 0);
	uint8_t first[64];
	memcpy(first, a.data, 64);
	assert_int_equal(tls_server_ticket_key(&server, 4096 * 11 - 1, &b), 0);
	assert_memory_equal(first, b.data, 64);
	assert_int_equal(tls_server_ticket_key(&server, 4096 * 11, &b), 0);
	assert_memory_not_equal(first, b.data, 64);
	assert_int_equal(tls_server_set_secret(&server, secret, 31), kr_error(EINVAL));
	tls_client_param_unref(param);
}

static void handshakes_wait_for_processor_time(void **state)
{
	struct tls_client_param *param = client_of(NULL, NULL, NULL);
	struct pair pair;
	assert_true(tls_server_may_work(&server, 1));
	tls_server_charge(&server, TLS_HANDSHAKE_SAVED_US + 600);
	start(&pair, param, "dot", "dot");
	talk(&pair, 1);
	assert_false(pair.client.is_open);
	assert_int_equal(pair.server_ret, 0);
	assert_true(tls_server_work(&server, 2)); /* one ms is not enough */
	assert_int_equal(pair.server.out.len, 0);
	assert_false(tls_server_work(&server, 100));
	talk(&pair, 100000);
	assert_true(pair.client.is_open && pair.server.is_open);
	assert_int_equal(pair.server.stack->held_bytes, 0);
	stop(&pair);

	/* Gone while waiting. */
	tls_server_charge(&server, TLS_HANDSHAKE_SAVED_US);
	start(&pair, param, "dot", "dot");
	talk(&pair, 100000);
	assert_non_null(server.waiting);
	stop(&pair);
	assert_null(server.waiting);
	tls_client_param_unref(param);
}

static void bad_files_are_refused(void **state)
{
	const char *why = NULL;
	struct tls_credentials *creds = NULL;
	assert_true(tls_credentials_load("c.pem", "k.pem", &creds, &why) < 0); /* missing */
	assert_non_null(why);
	make_files("dns.example", 30, 0);
	rename("k.pem", "x.pem");
	make_files("dns.example", 30, 0);
	assert_true(tls_credentials_load("c.pem", "x.pem", &creds, &why) < 0); /* another's key */
	const gnutls_datum_t nothing = {(unsigned char *)"", 0};
	write_file("x.pem", &nothing);
	assert_true(tls_credentials_load("x.pem", "k.pem", &creds, &why) < 0);
	assert_true(tls_credentials_load("k.pem", "k.pem", &creds, &why) < 0);
	assert_null(creds);
	assert_int_equal(tls_credentials_load("c.pem", "k.pem", &creds, &why), 0);
	tls_credentials_unref(creds);
}

static void made_certificates_share_a_key_file(void **state)
{
	struct stat st;
	struct tls_credentials *a = tls_server_credentials(&server);
	assert_non_null(a);
	assert_int_equal(stat("ephemeral_key.pem", &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	char pin[64];
	strcpy(pin, pin_of(a, false));
	struct tls_credentials *same = tls_server_credentials(&server);
	assert_ptr_equal(a, same);
	server.hostname_baton = "new.example";
	struct tls_credentials *b = tls_server_credentials(&server);
	assert_ptr_not_equal(a, b);
	assert_string_equal(b->hostname, "new.example");
	assert_string_equal(pin, pin_of(b, false));
	assert_true(b->valid_until > time(NULL) + 80 * 86400);
	b->valid_until = time(NULL) + 6 * 86400; /* soon over: another is made */
	struct tls_credentials *c = tls_server_credentials(&server);
	assert_ptr_not_equal(b, c);
	tls_credentials_unref(a);
	tls_credentials_unref(same);
	tls_credentials_unref(b);
	tls_credentials_unref(c);
}

static void nonsense_about_servers_is_refused(void **state)
{
	const char *pin = "AAAA", *long_pin = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
	const char *good = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", *bad = "!!!";
	const char *file = "missing.pem";
	const struct tls_client_spec specs[] = {{.insecure = false}, {.pins = &pin, .pins_len = 1},
		{.pins = &long_pin, .pins_len = 1}, {.pins = &bad, .pins_len = 1},
		{.pins = &good, .pins_len = 1, .ca_files = &file, .ca_files_len = 1},
		{.ca_files = &file, .ca_files_len = 1},
		{.hostname = "a", .ca_files = &file, .ca_files_len = 1},
		{.insecure = true, .hostname = "a"}};
	for (size_t i = 0; i < KR_COUNT_OF(specs); ++i) {
		struct tls_client_param *param = NULL;
		const char *why = NULL;
		assert_int_equal(tls_client_param_new(&specs[i], &param, &why), kr_error(EINVAL));
		assert_non_null(why);
		assert_null(param);
	}
	struct tls_clients clients = {0};
	bool is_changed = true;
	assert_int_equal(tls_clients_add(&clients, client_of(good, NULL, NULL), &is_changed), 0);
	assert_false(is_changed);
	assert_int_equal(tls_clients_add(&clients, client_of(good, NULL, NULL), &is_changed), 0);
	assert_false(is_changed);
	assert_int_equal(tls_clients_add(&clients, client_of(NULL, NULL, NULL), &is_changed), 0);
	assert_true(is_changed);
	assert_int_equal(clients.list.len, 1);
	union kr_sockaddr addr = clients.list.at[0]->addr;
	assert_non_null(tls_clients_find(&clients, &addr.ip));
	assert_int_equal(tls_clients_del(&clients, &addr.ip), 0);
	assert_int_equal(tls_clients_del(&clients, &addr.ip), kr_error(ENOENT));
	tls_clients_clear(&clients);
}

#define tls_test(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		tls_test(messages_pass_in_any_portions),
		tls_test(one_turn_is_one_record),
		tls_test(servers_with_another_key_are_refused),
		tls_test(names_and_dates_are_checked),
		tls_test(unknown_authorities_are_refused),
		tls_test(other_protocols_are_refused_with_an_alert),
		tls_test(garbage_gets_an_alert),
		tls_test(resumption_works_among_servers_with_one_secret),
		tls_test(handshakes_wait_for_processor_time),
		tls_test(bad_files_are_refused),
		tls_test(made_certificates_share_a_key_file),
		tls_test(nonsense_about_servers_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
