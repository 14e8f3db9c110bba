-- SPDX-License-Identifier: GPL-3.0-or-later
test('loading it warns, and configurations with it still start', function ()
	local text = nil
	log_warn = function (_, fmt, ...) text = string.format(fmt, ...) end
	modules.load('experimental_dot_auth')
	match(text, 'experimental_dot_auth does nothing.*TLS_FORWARD')
	modules.unload('experimental_dot_auth')
end)
