/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Who is at the other end: reads the address from the socket of a stream client. */
#include <ccan/asprintf/asprintf.h>
#include <uv.h>

#include "daemon/session.h"
#include "daemon/worker.h"
#include "lib/layer.h"
#include "lib/module.h"
#include "lib/request.h"
#include "lib/utils.h"

static int last_type = -1;

static int on_begin(kr_layer_t *ctx)
{
	if (!ctx->req->qsource.addr)
		return ctx->state;
	struct session *session = worker_request_get_source_session(ctx->req);
	uv_handle_t *handle = session ? session_get_handle(session) : NULL;
	uv_os_fd_t fd = -1;
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	last_type = 0;
	if (handle && uv_fileno(handle, &fd) == 0 &&
		getpeername(fd, (struct sockaddr *)&ss, &len) == 0)
		last_type = ss.ss_family;
	return ctx->state;
}

static char *family(void *env, struct kr_module *self, const char *args)
{
	(void)env, (void)self, (void)args;
	return afmt("%d", last_type);
}

KR_EXPORT int peer_init(struct kr_module *module)
{
	static const kr_layer_api_t layer = {.begin = on_begin};
	static const struct kr_prop props[] = {
		{family, "family", "Address family of the last client's connection, 0 = none."},
		{NULL, NULL, NULL}};
	module->layer = &layer;
	module->props = props;
	return kr_ok();
}

KR_MODULE_EXPORT(peer)
