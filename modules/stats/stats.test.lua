-- SPDX-License-Identifier: GPL-3.0-or-later
modules.unload('ta_update')
modules.unload('priming')
modules.unload('detect_time_skew')
modules.load('stats')

local KEYS = 'request.total request.internal request.total4 request.total6 request.udp4 request.udp6 request.tcp4 '
	.. 'request.tcp6 request.dot4 request.dot6 request.doh4 request.doh6 request.xdp4 request.xdp6 request.udp '
	.. 'request.tcp request.dot request.doh request.xdp answer.total answer.noerror answer.nodata answer.nxdomain '
	.. 'answer.servfail answer.cached answer.1ms answer.10ms answer.50ms answer.100ms answer.250ms answer.500ms '
	.. 'answer.1000ms answer.1500ms answer.slow answer.sum_ms answer.aa answer.tc answer.rd answer.ra answer.ad '
	.. 'answer.cd answer.edns0 answer.do query.edns query.dnssec'

test('all counters are there from the start', function ()
	local all = stats.list()
	for key in KEYS:gmatch('%S+') do
		same(all[key], 0, key)
		same(stats.get(key), 0, key)
		all[key] = nil
	end
	same(all, {})
	same(stats.get('no.such'), nil)
	same(stats['no.such'], nil)
	same(stats.get(), nil)
end)

--- Counters that change by a question. fn(changes)
local function changes(name, rtype, how, fn)
	local before = stats.list()
	ask(name, rtype, function ()
		event.after(0, guard(function ()
			local diff = {}
			for key, value in pairs(stats.list()) do
				if value ~= (before[key] or 0) and not key:match('ms$') then diff[key] = value - (before[key] or 0) end
			end
			fn(diff)
		end))
	end, how)
end

local ANSWERED = { ['answer.total'] = 1, ['answer.rd'] = 1, ['answer.ra'] = 1, ['answer.aa'] = 1,
	['answer.edns0'] = 1, ['query.edns'] = 1 }

local function expect(name, rtype, how, more)
	return function (done)
		changes(name, rtype, how, function (diff)
			local want = {}
			for _, tbl in ipairs({ ANSWERED, more }) do
				for key, value in pairs(tbl) do want[key] = value ~= 0 and value or nil end
			end
			same(diff, want)
			done()
		end)
	end
end

local function request(transport, family)
	return { ['request.total'] = 1, ['request.total' .. family] = 1, ['request.' .. transport .. family] = 1,
		['request.' .. transport] = 1, ['answer.noerror'] = 1 }
end

local V4, V6 = '192.0.2.1', '2001:db8::1'
test('UDP, IPv4', expect('localhost', 'A', { addr = V4 }, request('udp', 4)))
test('UDP, IPv6', expect('localhost', 'A', { addr = V6 }, request('udp', 6)))
test('TCP', expect('localhost', 'A', { addr = V4, flags = { 'tcp' } }, request('tcp', 4)))
test('TLS', expect('localhost', 'A', { addr = V6, flags = { 'tcp', 'tls' } }, request('dot', 6)))
test('HTTPS', expect('localhost', 'A', { addr = V4, flags = { 'tcp', 'tls', 'http' } }, request('doh', 4)))
test('XDP', expect('localhost', 'A', { addr = V4, flags = { 'xdp' } }, request('xdp', 4)))
test('internal', expect('localhost', 'A', {},
	{ ['request.total'] = 1, ['request.internal'] = 1, ['answer.noerror'] = 1 }))

local UDP4 = { ['request.total'] = 1, ['request.total4'] = 1, ['request.udp4'] = 1, ['request.udp'] = 1 }
local function udp4(more)
	local tbl = {}
	for _, source in ipairs({ UDP4, more }) do
		for key, value in pairs(source) do tbl[key] = value end
	end
	return tbl
end
test('no data', expect('localhost', 'MX', { addr = V4 }, udp4({ ['answer.nodata'] = 1 })))
test('NXDOMAIN', expect('x.test', 'A', { addr = V4 }, udp4({ ['answer.nxdomain'] = 1 })))
test('REFUSED is in the total only', expect('x.test', 'A', { addr = V4, rd = false },
	udp4({ ['answer.aa'] = 0, ['answer.rd'] = 0 })))
test('header flags, EDNS', expect('localhost', 'A', { addr = V4, cd = true, dobit = true },
	udp4({ ['answer.noerror'] = 1, ['answer.cd'] = 1, ['answer.do'] = 1, ['query.dnssec'] = 1 })))
test('no EDNS', expect('localhost', 'A', { addr = V4, edns = false },
	udp4({ ['answer.noerror'] = 1, ['answer.edns0'] = 0, ['query.edns'] = 0 })))
test('SERVFAIL', function (done)
	local drop = policy.add(policy.all(policy.DROP))
	expect('x.example', 'A', { addr = V4 }, udp4({ ['answer.servfail'] = 1, ['answer.aa'] = 0 }))(function ()
		policy.del(drop.id)
		done()
	end)
end)
test('silence is no answer', function (done)
	local drop = policy.add(policy.all(policy.NO_ANSWER))
	changes('x.example', 'A', { addr = V4 }, function (diff)
		policy.del(drop.id)
		same(diff, UDP4)
		done()
	end)
end)
test('answers out of the cache', function (done)
	serve({ ['cached.example A'] = { '192.0.2.1' } })
	expect('cached.example', 'A', { addr = V4 },
		udp4({ ['answer.noerror'] = 1, ['answer.cached'] = 1, ['answer.aa'] = 0 }))(function ()
		modules.unload('test_zone')
		done()
	end)
end)

test('every answer is in one class of latency', function ()
	local sum = 0
	for key, value in pairs(stats.list('answer.')) do
		if key:match('^answer%.%d+ms$') or key == 'answer.slow' then sum = sum + value end
	end
	same(sum, stats['answer.total'])
end)

test('sums cannot be set', function ()
	local before = stats['request.udp']
	stats.set('request.udp 999999')
	same(stats['request.udp'], before)
end)

test('custom keys', function ()
	stats['lan.blocked'] = 5
	stats['answer.blocked;stype=A'] = (stats['answer.blocked;stype=A'] or 0) + 1
	same({ stats['lan.blocked'], stats.get('answer.blocked;stype=A') }, { 5, 1 })
	same(stats.list('lan.'), { ['lan.blocked'] = 5 })
	stats.set('with space 7')
	same(stats.get('with space'), 7)
	for _, bad in ipairs({ 'lan.blocked -1', 'lan.blocked x', 'lan.blocked 1.5', 'lan.blocked', '' }) do stats.set(bad) end
	same(stats['lan.blocked'], 5)
	stats['answer.total'] = 0
	same(stats['answer.total'], 0)
end)

test('frequent questions and upstreams', function ()
	for _, item in ipairs(stats.frequent()) do -- a sample of what was asked above
		same({ type(item.count), type(item.name), type(item.type) }, { 'number', 'string', 'string' })
	end
	same(stats.clear_frequent(), nil)
	same(stats.frequent(), {})
	same(stats.upstreams(), {})
end)

test('unloading forgets', function ()
	modules.unload('stats')
	same(rawget(_G, 'stats'), nil)
	modules.load('stats')
	same(stats['request.total'], 0)
	same(stats['lan.blocked'], nil)
end)
