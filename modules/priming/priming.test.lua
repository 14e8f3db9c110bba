-- SPDX-License-Identifier: GPL-3.0-or-later
for _, name in ipairs({ 'ta_update', 'priming', 'detect_time_skew', 'ta_signal_query' }) do modules.unload(name) end
trust_anchors.remove('.')
modules.load('hints > iterate')

local lines, on_line = {}, nil
log_info = function (_, fmt, ...)
	lines[#lines + 1] = string.format(fmt, ...)
	if on_line then on_line(lines[#lines]) end
end

--- Load priming while the root is as told; fn(line) at the line that tells how it went.
local function prime(zone, fn)
	serve(zone)
	on_line = guard(function (line)
		if not line:find('next', 1, true) then return end
		on_line = nil
		event.after(0, guard(function ()
			modules.unload('priming')
			modules.unload('test_zone')
			fn(line)
		end))
	end)
	modules.load('priming')
end

local ROOT = {
	ttl = 3600, ['. NS'] = { 'a.root.example.', 'b.root.example.' },
	['a.root.example A'] = { '192.0.2.1' }, ['a.root.example AAAA'] = { '2001:db8::1' },
	['b.root.example A'] = { '192.0.2.2', '192.0.2.3' }, ['b.root.example AAAA'] = {},
}

test('what the root servers say is used', function (done)
	prime(ROOT, function (line)
		same(line, 'triggered priming query, next in 3600 seconds')
		same(hints.root(), { ['a.root.example.'] = { '192.0.2.1', '2001:db8::1' },
			['b.root.example.'] = { '192.0.2.2', '192.0.2.3' } })
		done()
	end)
end)

test('with one address family only', function (done)
	net.ipv6 = false
	hints.root_file()
	prime(ROOT, function (line)
		net.ipv6 = true
		same(line, 'triggered priming query, next in 3600 seconds')
		same(hints.root(), { ['a.root.example.'] = { '192.0.2.1' }, ['b.root.example.'] = { '192.0.2.2', '192.0.2.3' } })
		done()
	end)
end)

test('it is repeated no later than what the cache keeps', function (done)
	cache.max_ttl(600)
	prime(ROOT, function (line)
		cache.max_ttl(86400)
		match(line, 'next in 600 seconds')
		done()
	end)
end)

test('a server without address', function (done)
	lines = {}
	prime({ ttl = 60, ['. NS'] = { 'a.root.example.', 'c.root.example.' }, ['a.root.example A'] = { '192.0.2.1' },
		['a.root.example AAAA'] = {}, ['c.root.example'] = kres.rcode.SERVFAIL }, function (line)
		match(line, 'triggered priming query, next in 60 seconds')
		match(table.concat(lines, '\n'), "cannot resolve address 'c.root.example.', type: 1")
		same(hints.root(), { ['a.root.example.'] = { '192.0.2.1' } })
		done()
	end)
end)

test('no answer', function (done)
	modules.load('priming')
	same(priming.retry_time, 10000)
	priming.retry_time = 7000
	modules.unload('priming')
	local before = hints.root()
	prime({ ['.'] = kres.rcode.SERVFAIL }, function (line)
		match(line, "cannot resolve '.' NS, next priming query in 7 seconds")
		same(hints.root(), before)
		done()
	end)
end)
