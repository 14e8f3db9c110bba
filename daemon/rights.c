/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/rights.h"

#include <grp.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "kresconfig.h"
#if ENABLE_CAP_NG
#include <cap-ng.h>
#endif

#include "lib/defines.h"
#include "lib/log.h"

#if ENABLE_CAP_NG
/** What functions of the configuration may need later in a process of root. */
static const int kept_by_root[] = {
	CAP_NET_BIND_SERVICE, /* net.listen() */
	CAP_SETUID,           /* user() */
	CAP_SETGID,
	CAP_SETPCAP,
	CAP_DAC_OVERRIDE, /* files of the service's user */
	CAP_CHOWN,
	CAP_FOWNER,
	CAP_NET_ADMIN, /* net.bpf_set(), XDP */
	CAP_NET_RAW,
	CAP_IPC_LOCK,
};

static void keep_only(const int *caps, size_t count)
{
	capng_clear(CAPNG_SELECT_BOTH);
	for (size_t i = 0; i < count; ++i)
		capng_update(
			CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED | CAPNG_BOUNDING_SET, caps[i]);
	if (capng_apply(CAPNG_SELECT_BOTH) < 0)
		kr_log_error(SYSTEM, "cannot drop capabilities: %s\n", strerror(errno));
}
#endif

static void forbid_gains(void)
{
#ifdef PR_SET_NO_NEW_PRIVS
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
#endif
}

int rights_become(const char *user, uid_t uid, gid_t gid)
{
	const bool is_root = geteuid() == 0;
	/* Supplementary groups of root would outlive the change of user. */
	if (is_root && initgroups(user, gid) != 0)
		return kr_error(errno);
#if ENABLE_CAP_NG
	/* Those outside of the bounding set cannot come back, whatever is executed. */
	if (is_root && uid != 0) {
		capng_get_caps_process();
		capng_clear(CAPNG_SELECT_BOUNDS);
		capng_apply(CAPNG_SELECT_BOUNDS);
	}
#endif
	if (setresgid(gid, gid, gid) != 0 || setresuid(uid, uid, uid) != 0)
		return kr_error(errno);
	if (uid != 0 && is_root && (setuid(0) == 0 || seteuid(0) == 0)) {
		kr_log_error(
			SYSTEM, "the user was changed to '%s', but the way back is open\n", user);
		return kr_error(EPERM);
	}
	if (is_root && uid != 0)
		forbid_gains();
	return kr_ok();
}

void rights_drop(bool allow_root)
{
	const bool is_root = geteuid() == 0;
	if (is_root && !allow_root)
		kr_log_warning(SYSTEM,
			"running as root: start as a plain user, or name one in the configuration "
			"by user('NAME', 'GROUP'); --allow-root silences this\n");
#if ENABLE_CAP_NG
	if (!capng_have_capability(CAPNG_EFFECTIVE, CAP_SETPCAP))
		return;
	if (is_root)
		keep_only(kept_by_root, KR_COUNT_OF(kept_by_root));
	else
		keep_only(NULL, 0);
#endif
	forbid_gains();
}
