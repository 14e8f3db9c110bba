-- SPDX-License-Identifier: GPL-3.0-or-later
local ffi = require('ffi')

test('constants', function ()
	same({ kB, MB, GB }, { 1024, 1024 ^ 2, 1024 ^ 3 })
	same({ sec, second, min, minute, hour, day }, { 1000, 1000, 60000, 60000, 3600000, 86400000 })
	same({ LOG_CRIT, LOG_ERR, LOG_WARNING, LOG_NOTICE, LOG_INFO, LOG_DEBUG }, { 2, 3, 4, 5, 6, 7 })
	check(ffi.load(libknot_SONAME))
	check(ffi.load(libzscanner_SONAME))
end)

test('unknown globals are nil, names are listed', function ()
	same(no_such_name_at_all, nil)
	local n = 0
	for _ in pairs(_G) do n = n + 1 end
	same(n, 0)
	for _, name in ipairs({ 'net', 'cache', 'worker', 'print', 'kres', 'todname' }) do
		match(_G.__orig_name_list, '\n' .. name .. '\n')
	end
	some_new_global = 5
	same(_G.some_new_global, 5)
end)

test('protected tables keep their identity', function ()
	for _, name in ipairs({ 'worker', 'env', 'debugging', 'modules', 'cache', 'net', 'trust_anchors' }) do
		local before = _G[name]
		_G[name] = {}
		check(_G[name] == before, name)
		boom(function () _G[name] = 5 end, {}, name)
	end
	worker = { my_mark = 'here' }
	same(worker.my_mark, 'here')
	env = { MY_VAR = 'x' }
	same(env.MY_VAR, 'x')
	same(os.getenv('MY_VAR'), nil)
end)

test('env', function ()
	same(env.KRESD_NO_LISTEN, '1')
	same(env.NOT_THERE, nil)
end)

test('errors have their formats', function ()
	local text = boom(net.bufsize, { 1 })
	match(text, '^[^\n]*\n')
	match(text, 'stack traceback')
	match(text, '\nERROR: [^\n]*$')
	same(boom(panic, { 'with %s %d', 'number', 5 }), 'ERROR: with number 5')
	match(boom(modules.unload, { 'nosuch' }), '\nERROR: No such file or directory$')
	-- where it was called, not where it is written
	match(boom(function () mode('nosuch') end), '^.*globals.test.lua:%d+: ')
end)

test('hostname, version, help', function ()
	check(#hostname() > 0)
	same(hostname('unit.example'), 'unit.example')
	same(hostname(), 'unit.example')
	boom(hostname, { {} }, 'ERROR: ')
	match(package_version(), '^%d+%.%d+%.%d+')
	match(help(), 'quit')
	boom(user, {}, 'ERROR: ')
	boom(user, { 'no_such_user_here' }, 'ERROR: .*no_such_user_here')
	boom(user, { 'root', 'no_such_group_here' }, 'ERROR: .*no_such_group_here')
end)

test('mode and options', function ()
	same(mode(), 'normal')
	same(mode('strict'), true)
	same({ mode(), option('STRICT'), option('PERMISSIVE') }, { 'strict', true, false })
	mode('permissive')
	same({ mode(), option('STRICT'), option('PERMISSIVE') }, { 'permissive', false, true })
	mode('normal')
	same({ mode(), option('STRICT'), option('PERMISSIVE') }, { 'normal', false, false })
	boom(mode, { 'nosuch' }, 'nosuch')
	same(option('no_minimize'), false)
	same(option('NO_MINIMIZE', true), true)
	same(option('NO_MINIMIZE', false), false)
	boom(option, { 'NO_SUCH' }, 'NO_SUCH')
	boom(option, { 'TRACE', 1 }, '^ERROR: ')
	same(reorder_RR(), true)
	same(reorder_RR(false), false)
	same(option('REORDER_RR'), false)
	same(reorder_RR(true), true)
	local all = 'NO_MINIMIZE NO_IPV4 NO_IPV6 TCP NO_EDNS NO_CACHE NO_0X20 ALLOW_LOCAL STRICT PERMISSIVE '
		.. 'DNSSEC_WANT DNSSEC_CD STUB FORWARD ALWAYS_CUT TRACE NO_ANSWER DNS64_DISABLE RESOLVED '
		.. 'AWAIT_IPV4 AWAIT_IPV6 AWAIT_CUT CACHED EXPIRING DNSSEC_BOGUS DNSSEC_INSECURE '
		.. 'DNSSEC_WEXPAND DNSSEC_NODS DNSSEC_OPTOUT BADCOOKIE_AGAIN CNAME NONAUTH DNS64_MARK '
		.. 'CACHE_TRIED NO_NS_FOUND PKT_IS_SANE'
	for name in all:gmatch('%S+') do same(option(name), false, name) end
end)

test('debugging', function ()
	same(type(debugging.assertion_abort), 'boolean')
	same(type(debugging.assertion_fork), 'number')
	debugging.assertion_fork = 1000
	same(debugging.assertion_fork, 1000)
	boom(function () debugging.nosuch = 1 end, {}, '^ERROR: ')
	boom(function () return debugging.nosuch end, {}, '^ERROR: ')
end)

test('lists of files', function ()
	local f = io.open('listed', 'w')
	f:close()
	local found = false
	for _, name in ipairs(kluautil_list_dir('.')) do
		check(name ~= '.' and name ~= '..')
		found = found or name == 'listed'
	end
	check(found)
	same(kluautil_list_dir('/no/such/folder'), {})
	local kluautil = require('kluautil')
	same(kluautil.kr_table_len({ 1, 2, a = 3 }), 3)
	same(kluautil.kr_table_len('x'), nil)
	same(kluautil.kr_table_pack(nil, 2, nil), { n = 3, [2] = 2 })
	same(select('#', kluautil.kr_table_unpack({ n = 3 })), 3)
	same({ kluautil.kr_https_fetch('http://example.com/', nil) }, { nil, 'the address must begin with https://' })
end)

test('root hints', function ()
	local f = io.open('hints.zone', 'w')
	f:write('. NS a.root.\na.root. A 192.0.2.1\na.root. AAAA 2001:db8::1\n')
	f:close()
	same(_hint_root_file('hints.zone'), true)
	boom(_hint_root_file, { 'missing.zone' }, 'ERROR: .*missing.zone')
	f = io.open('broken.zone', 'w')
	f:write('. NS\n. A 1.2.3\n')
	f:close()
	boom(_hint_root_file, { 'broken.zone' }, 'ERROR: ')
	check(not ffi.C.kr_zonecut_is_empty(kres.context().root_hints))
	same(_hint_root_file(), true)
end)

test('random numbers differ between processes', function ()
	local pipe = io.popen('luajit -e "print(math.random(1, 2^31))" 2>/dev/null')
	local plain = tonumber(pipe:read('*l'))
	pipe:close()
	check(math.random(1, 2 ^ 31) ~= plain)
end)
