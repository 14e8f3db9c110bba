-- SPDX-License-Identifier: GPL-3.0-or-later
std = 'luajit'
max_line_length = 120
ignore = { '212' } -- unused arguments are often the shape of a callback
exclude_files = { 'build*', '**/kres-gen*.lua' }

-- What the configuration environment offers.
new_read_globals = {
	'cache', 'env', 'event', 'fromjson', 'hostname', 'kres', 'log', 'log_debug', 'log_error', 'log_groups',
	'log_info', 'log_level', 'log_notice', 'log_qry', 'log_req', 'log_target', 'log_warn', 'map', 'mode', 'modules',
	'net', 'option', 'package_version', 'panic', 'reorder_RR', 'resolve', 'table_print', 'todname', 'tojson',
	'trust_anchors', 'user', 'verbose', 'worker', 'eval_cmd', 'quit', 'help',
	'kB', 'MB', 'GB', 'sec', 'second', 'min', 'minute', 'hour', 'day',
	'LOG_CRIT', 'LOG_ERR', 'LOG_WARNING', 'LOG_NOTICE', 'LOG_INFO', 'LOG_DEBUG',
	'libknot_SONAME', 'libzscanner_SONAME', 'kluautil_list_dir', '_hint_root_file',
	'modules_create_table_for_c', '_map_luaobj_call_wrapper', 'modules_ffi_layer_wrap1', 'modules_ffi_layer_wrap2',
	'modules_ffi_wrap_modcb', 'debugging',
}
-- Modules are globals under their names.
new_globals = {
	'policy', 'view', 'hints', 'stats', 'predict', 'ta_update', 'http', 'dns64', 'renumber', 'daf', 'graphite',
	'prefill', 'bogus_log', 'prefetch', 'fallback', 'cookies', 'dnstap', 'serve_stale', 'rebinding', 'priming',
}

files['daemon/lua/'] = { ignore = { '111', '112', '113', '121', '122', '142', '143', '212' } } -- they build the environment
files['tests/config/'] = { ignore = { '111', '112', '113', '121', '122', '142', '143', '212' } }
files['**/*.test.lua'] = { ignore = { '111', '112', '113', '121', '122', '142', '143', '212' } } -- tests/config/assert.lua
