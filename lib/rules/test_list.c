/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/addr.h"
#include "lib/rules/list.h"
#include "lib/utils.h"

static char dir[] = "/tmp/kres-list-XXXXXX";
static char path[64], store_dir[64];
static char error[KR_LIST_ERROR_MAX];

static void write_file(const char *text, size_t len)
{
	FILE *file = fopen(path, "we");
	assert_non_null(file);
	assert_int_equal(fwrite(text, 1, len, file), len);
	assert_int_equal(fclose(file), 0);
}

static struct kr_list *load(enum kr_list_format format, const char *text)
{
	write_file(text, strlen(text));
	const struct kr_list_config config = {.path = path, .format = format};
	struct kr_list *list = kr_list_open(&config, error);
	if (!list)
		fail_msg("%s", error);
	return list;
}

static enum kr_verdict find(struct kr_list *list, const char *text)
{
	knot_dname_storage_t name;
	struct kr_list_hit hit;
	assert_non_null(knot_dname_from_str(name, text, sizeof(name)));
	return kr_list_find(list, name, &hit);
}

static enum kr_verdict find_addr(struct kr_list *list, enum kr_trigger trigger, const char *text)
{
	uint8_t addr[16];
	struct kr_list_hit hit;
	assert_true(kr_straddr_subnet(addr, text) >= 0);
	return kr_list_find_addr(list, trigger, kr_straddr_family(text), addr, &hit);
}

static void hosts_files(void **state)
{
	(void)state;
	struct kr_list *list = load(KR_LIST_HOSTS, "127.0.0.1 localhost\n"
						   "0.0.0.0\ta.example  B.example # comment\r\n"
						   "fe80::1%eth0 c.example\n"
						   "no.address d.example\n"
						   "0.0.0.0 bad..name\n"
						   "::1 last.example");
	assert_int_equal(find(list, "a.example"), KR_VERDICT_LISTED);
	assert_int_equal(find(list, "b.example"), KR_VERDICT_LISTED);
	assert_int_equal(find(list, "c.example"), KR_VERDICT_LISTED);
	assert_int_equal(find(list, "last.example"), KR_VERDICT_LISTED);
	assert_int_equal(find(list, "x.a.example"), KR_VERDICT_NONE);
	assert_int_equal(find(list, "d.example"), KR_VERDICT_NONE);
	assert_int_equal(find(list, "localhost"), KR_VERDICT_NONE);
	assert_int_equal(kr_list_stats(list)->entries, 4);
	assert_int_equal(kr_list_stats(list)->skipped, 2);
	kr_list_unref(list);
}

static void plain_names(void **state)
{
	(void)state;
	struct kr_list *list = load(
		KR_LIST_DOMAINS, "; comment\n\na.example\n*.b.example\n.c.example # more\nd e\n");
	assert_int_equal(find(list, "a.example"), KR_VERDICT_LISTED);
	assert_int_equal(find(list, "x.y.a.example"), KR_VERDICT_LISTED);
	assert_int_equal(find(list, "b.example"), KR_VERDICT_NONE);
	assert_int_equal(find(list, "x.b.example"), KR_VERDICT_LISTED);
	assert_int_equal(find(list, "c.example"), KR_VERDICT_LISTED);
	assert_int_equal(find(list, "aa.example"), KR_VERDICT_NONE);
	assert_int_equal(kr_list_stats(list)->skipped, 1);
	kr_list_unref(list);
}

static void adblock_rules(void **state)
{
	(void)state;
	struct kr_list *list = load(KR_LIST_ADBLOCK,
		"[Adblock Plus 2.0]\n! comment\n||a.example^\n@@||good.a.example^\n"
		"||b.example^$third-party\n||c.example^$important\nexample.org##.ad\n");
	assert_int_equal(find(list, "a.example"), KR_VERDICT_LISTED);
	assert_int_equal(find(list, "x.a.example"), KR_VERDICT_LISTED);
	assert_int_equal(find(list, "x.good.a.example"), KR_VERDICT_PASS);
	assert_int_equal(find(list, "b.example"), KR_VERDICT_NONE);
	assert_int_equal(find(list, "c.example"), KR_VERDICT_LISTED);
	assert_int_equal(kr_list_stats(list)->skipped, 2);
	kr_list_unref(list);
}

#define SOA "$ORIGIN z.\n$TTL 60\n@ SOA a. b. 77 2 3 4 5\n"

static void rpz_actions(void **state)
{
	(void)state;
	struct kr_list *list = load(KR_LIST_RPZ,
		SOA "a CNAME .\n*.a CNAME rpz-passthru.\nb CNAME *.\nc CNAME rpz-drop.\n"
		    "d CNAME rpz-tcp-only.\ne A 192.0.2.1\ne CNAME .\nf CNAME elsewhere.\n"
		    "g CNAME rpz-unknown.\nx.thez. CNAME .\n*.h A 192.0.2.2\n");
	assert_int_equal(find(list, "a"), KR_VERDICT_LISTED);
	assert_int_equal(find(list, "x.y.a"), KR_VERDICT_PASS);
	assert_int_equal(find(list, "b"), KR_VERDICT_NODATA);
	assert_int_equal(find(list, "c"), KR_VERDICT_DROP);
	assert_int_equal(find(list, "d"), KR_VERDICT_TC);
	assert_int_equal(find(list, "e"), KR_VERDICT_DATA);
	assert_int_equal(find(list, "f"), KR_VERDICT_ALIAS);
	assert_int_equal(find(list, "g"), KR_VERDICT_NONE);
	assert_int_equal(find(list, "x"), KR_VERDICT_NONE);
	assert_int_equal(find(list, "y.h"), KR_VERDICT_DATA);
	assert_int_equal(find(list, "h"), KR_VERDICT_NONE);
	assert_int_equal(kr_list_stats(list)->serial, 77);
	kr_list_unref(list);
}

static void rpz_triggers(void **state)
{
	(void)state;
	struct kr_list *list = load(KR_LIST_RPZ,
		SOA "24.0.2.0.192.rpz-ip CNAME .\n32.1.2.0.192.rpz-ip CNAME rpz-passthru.\n"
		    "48.zz.2.db8.2001.rpz-client-ip CNAME .\n"
		    "128.1.zz.rpz-nsip CNAME .\nns.evil.rpz-nsdname CNAME .\n");
	assert_int_equal(find_addr(list, KR_TRIGGER_IP, "192.0.2.7"), KR_VERDICT_LISTED);
	assert_int_equal(find_addr(list, KR_TRIGGER_IP, "192.0.2.1"), KR_VERDICT_PASS);
	assert_int_equal(find_addr(list, KR_TRIGGER_IP, "192.0.3.1"), KR_VERDICT_NONE);
	assert_int_equal(find_addr(list, KR_TRIGGER_IP, "2001:db8:2::1"), KR_VERDICT_NONE);
	assert_int_equal(find_addr(list, KR_TRIGGER_CLIENT_IP, "2001:db8:2::1"), KR_VERDICT_LISTED);
	assert_int_equal(find_addr(list, KR_TRIGGER_NSIP, "::1"), KR_VERDICT_LISTED);
	assert_int_equal(find_addr(list, KR_TRIGGER_NSIP, "::2"), KR_VERDICT_NONE);
	assert_int_equal(find(list, "ns.evil"), KR_VERDICT_NONE);
	assert_int_equal(kr_list_stats(list)->skipped, 0);
	kr_list_unref(list);
}

/** Z-03: nothing malformed is taken for something else. */
static void rpz_malformed_addresses(void **state)
{
	(void)state;
	struct kr_list *list = load(KR_LIST_RPZ,
		SOA "0.0.2.0.192.rpz-ip CNAME .\n33.1.2.0.192.rpz-ip CNAME .\n"
		    "129.1.zz.rpz-ip CNAME .\n24.1.2.0.192.rpz-ip CNAME .\n"
		    "64.zz.1.zz.2001.rpz-ip CNAME .\n32.256.2.0.192.rpz-ip CNAME .\n"
		    "rpz-ip CNAME .\n128.12345.zz.rpz-ip CNAME .\n-1.1.2.0.192.rpz-ip CNAME .\n"
		    "128.1.2.3.4.5.6.7.zz.rpz-ip CNAME .\n");
	assert_int_equal(kr_list_stats(list)->entries, 0);
	assert_int_equal(kr_list_stats(list)->skipped, 10);
	kr_list_unref(list);
}

static void hostile_text(void **state)
{
	(void)state;
	static char text[200000];
	memset(text, 'a', sizeof(text));
	memcpy(text + sizeof(text) - 12, "\n\0\1\2\nok.ex\n", 12);
	for (enum kr_list_format format = KR_LIST_RPZ; format <= KR_LIST_ADBLOCK; ++format) {
		write_file(text, sizeof(text));
		const struct kr_list_config config = {.path = path, .format = format};
		struct kr_list *list = kr_list_open(&config, error);
		assert_non_null(list);
		assert_true(kr_list_stats(list)->skipped >= 1);
		if (format == KR_LIST_DOMAINS)
			assert_int_equal(find(list, "ok.ex"), KR_VERDICT_LISTED);
		kr_list_unref(list);
	}
}

static void what_is_not_there(void **state)
{
	(void)state;
	(void)unlink(path);
	const struct kr_list_config config = {.path = path, .format = KR_LIST_RPZ};
	assert_null(kr_list_open(&config, error));
	assert_non_null(strstr(error, "No such file"));
}

/** Poll until something happens. */
static int poll_long(struct kr_list *list)
{
	int ret = 0;
	for (int i = 0; i < 1000 && ret == 0; ++i) {
		ret = kr_list_poll(list, error);
		nanosleep(&(struct timespec){.tv_nsec = 10 * 1000 * 1000}, NULL);
	}
	return ret;
}

static void changes_are_noticed_and_broken_ones_refused(void **state)
{
	(void)state;
	struct kr_list *list = load(KR_LIST_DOMAINS, "a.ex\nb.ex\nc.ex\nd.ex\n");
	assert_int_equal(kr_list_poll(list, error), 0);
	const char *fresh = "b.ex\nc.ex\nd.ex\n";
	write_file(fresh, strlen(fresh));
	assert_int_equal(kr_list_poll(list, error), 0); /* may still be written */
	assert_int_equal(kr_list_poll(list, error), 1);
	assert_int_equal(find(list, "a.ex"), KR_VERDICT_NONE);
	const char *broken = "b.ex\n!! ?? !!\n";
	write_file(broken, strlen(broken));
	assert_int_equal(kr_list_poll(list, error), 0);
	assert_true(kr_list_poll(list, error) < 0);
	assert_int_equal(find(list, "c.ex"), KR_VERDICT_LISTED);
	assert_int_equal(kr_list_poll(list, error), 0); /* told once */
	(void)unlink(path);
	assert_int_equal(kr_list_poll(list, error), 0);
	assert_int_equal(find(list, "c.ex"), KR_VERDICT_LISTED);
	kr_list_unref(list);
}

static void big_lists_are_shared(void **state)
{
	(void)state;
	const char *text = "a.ex\n";
	write_file(text, strlen(text));
	const struct kr_list_config config = {
		.path = path, .dir = store_dir, .format = KR_LIST_DOMAINS, .big_bytes = 1};
	struct kr_list *first = kr_list_open(&config, error);
	if (!first)
		fail_msg("%s", error);
	struct kr_list *second = kr_list_open(&config, error);
	assert_non_null(second);
	assert_true(kr_list_stats(first)->is_shared && kr_list_stats(second)->is_shared);
	const char *fresh = "b.ex\nc.ex\n";
	write_file(fresh, strlen(fresh));
	assert_int_equal(poll_long(first), 1);
	assert_int_equal(find(first, "b.ex"), KR_VERDICT_LISTED);
	assert_int_equal(find(second, "a.ex"), KR_VERDICT_LISTED); /* the old one serves on */
	assert_int_equal(poll_long(second), 1);
	assert_int_equal(find(second, "c.ex"), KR_VERDICT_LISTED);
	kr_list_unref(first);
	kr_list_unref(second);
}

static int set_up(void **state)
{
	(void)state;
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/list", dir);
	snprintf(store_dir, sizeof(store_dir), "%s/rules", dir);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	char command[128];
	snprintf(command, sizeof(command), "rm -r %s", dir);
	return system(command); /* NOLINT(cert-env33-c): our own folder */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hosts_files),
		cmocka_unit_test(plain_names),
		cmocka_unit_test(adblock_rules),
		cmocka_unit_test(rpz_actions),
		cmocka_unit_test(rpz_triggers),
		cmocka_unit_test(rpz_malformed_addresses),
		cmocka_unit_test(hostile_text),
		cmocka_unit_test(what_is_not_there),
		cmocka_unit_test(changes_are_noticed_and_broken_ones_refused),
		cmocka_unit_test(big_lists_are_shared),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
