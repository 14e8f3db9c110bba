/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Modules that fail in one way each, by -D; see test_extension.py. */
#include "lib/module.h"
#include "lib/layer.h"

#if defined(BAD_ABI)
KR_EXPORT uint32_t broken_api(void);
KR_EXPORT uint32_t broken_api(void)
{
	return 0x20210125; /* of the 5.x line */
}
#elif !defined(NO_ABI)
KR_MODULE_EXPORT(broken)
#endif

#if defined(INIT_FAILS)
KR_EXPORT int broken_init(struct kr_module *module)
{
	(void)module;
	return kr_error(EIO);
}
KR_EXPORT int broken_deinit(struct kr_module *module)
{
	(void)module; /* called after a failed init, too */
	return kr_ok();
}
#elif defined(DEINIT_FAILS)
KR_EXPORT int broken_deinit(struct kr_module *module)
{
	(void)module;
	return kr_error(EIO);
}
#elif defined(CONFIG_FAILS)
KR_EXPORT int broken_config(struct kr_module *module, const char *conf)
{
	(void)module, (void)conf;
	return kr_error(EINVAL);
}
#elif defined(OLD_LAYER)
KR_EXPORT const kr_layer_api_t *broken_layer(struct kr_module *module);
KR_EXPORT const kr_layer_api_t *broken_layer(struct kr_module *module)
{
	(void)module;
	return NULL;
}
#elif defined(UNDEFINED_SYMBOL)
extern int symbol_that_nobody_has(void);
KR_EXPORT int broken_init(struct kr_module *module)
{
	(void)module;
	return symbol_that_nobody_has();
}
#elif defined(BAD_STATE)
static int on_begin(kr_layer_t *ctx)
{
	(void)ctx;
	return 4096;
}
KR_EXPORT int broken_init(struct kr_module *module)
{
	static const kr_layer_api_t layer = {.begin = on_begin};
	module->layer = &layer;
	return kr_ok();
}
#endif
