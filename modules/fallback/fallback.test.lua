-- SPDX-License-Identifier: GPL-3.0-or-later
-- How it works is in scenarios/; here is what can be set.
test('settings', function ()
	modules = { fallback = { servers = { '192.0.2.53', '2001:db8::53@5353' }, except = { 'lan' } } }
	same(fallback.used, 0)
	fallback.config('192.0.2.1')
	fallback.config({ '192.0.2.1', '192.0.2.2#53' })
	fallback.config()
	boom(fallback.config, { 5 }, '%[fallback%] configuration')
	boom(fallback.config, { {} }, '%[fallback%] servers')
	boom(fallback.config, { { servers = 'nonsense' } }, '%[fallback%] "nonsense" is not an address')
	boom(fallback.config, { { servers = { '192.0.2.1@99999' } } }, '%[fallback%] "192.0.2.1@99999"')
	boom(fallback.config, { { servers = '192.0.2.1', except = { 'a..b' } } }, '%[fallback%] "a..b" is not a name')
	modules.unload('fallback')
	same(rawget(_G, 'fallback'), nil)
end)
