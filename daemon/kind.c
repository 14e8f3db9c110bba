/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/kind.h"

#include <string.h>
#include <strings.h>

int kind_set(endpoint_flags_t *flags, const char *kind)
{
	if (!kind || !kind[0] || strcasecmp(kind, KIND_RENAMED) == 0)
		return kr_error(EINVAL);
	flags->kind = NULL;
	flags->tls = strcasecmp(kind, "tls") == 0 || strcasecmp(kind, "doh2") == 0;
	flags->http = strcasecmp(kind, "doh2") == 0;
	flags->xdp = strcasecmp(kind, "xdp") == 0;
	if (!flags->tls && !flags->xdp && strcasecmp(kind, "dns") != 0)
		flags->kind = kind;
	return kr_ok();
}

const char *kind_name(const endpoint_flags_t *flags)
{
	if (flags->kind)
		return flags->kind;
	if (flags->xdp)
		return "xdp";
	if (flags->http)
		return "doh2";
	return flags->tls ? "tls" : "dns";
}

bool kind_is_dns(const endpoint_flags_t *flags)
{
	return !flags->kind || strcasecmp(flags->kind, "doh_legacy") == 0;
}
