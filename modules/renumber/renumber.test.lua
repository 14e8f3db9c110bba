-- SPDX-License-Identifier: GPL-3.0-or-later
local kres = require('kres')

modules.unload('ta_update')
modules.unload('priming')
modules.unload('detect_time_skew')
modules.load('renumber')
serve({
	['a.example A'] = { '198.51.100.77', '203.0.113.5' },
	['a.example AAAA'] = { '2001:db8:1::77' },
	['b.example A'] = { '192.0.2.1' },
})
local CLIENT = { addr = '192.0.2.1' }

local function sees(name, rtype, expected, ede)
	return function (done)
		ask(name, rtype, function (pkt)
			same(records(pkt), expected)
			same(ede_of(pkt), ede)
			same({ pkt:ad(), pkt:rcode(), pkt:qname() }, { false, 0, todname(name) })
			done()
		end, CLIENT)
	end
end

test('nothing is done without configuration', sees('a.example', 'A',
	{ 'a.example. 100 A 198.51.100.77', 'a.example. 100 A 203.0.113.5' }))
test('configuration', function ()
	renumber.config()
	renumber.config({ { '198.51.100.0/24', '192.168.7.0' }, { '203.0.113.0/28', '10.0.0.1!' } })
	renumber.config({ { '2001:db8:1::/48', 'fd00::' } })
end)
test('networks', sees('a.example', 'A', { 'a.example. 100 A 10.0.0.1', 'a.example. 100 A 192.168.7.77' }, '4 DUQR'))
test('IPv6', sees('a.example', 'AAAA', { 'a.example. 100 AAAA fd00::77' }, '4 DUQR'))
test('other addresses', sees('b.example', 'A', { 'b.example. 100 A 192.0.2.1' }))
test('unloading forgets', function (done)
	modules.unload('renumber')
	modules.load('renumber')
	sees('a.example', 'A', { 'a.example. 100 A 198.51.100.77', 'a.example. 100 A 203.0.113.5' })(done)
end)

test('prefixes that end inside of an octet', function ()
	local rule = renumber.prefix('10.0.0.0/12', '172.16.0.0')
	same(rule({ type = 1, rdata = '\10\15\2\3' }), '\172\31\2\3')
	same(rule({ type = 1, rdata = '\10\16\2\3' }), nil)
	same(renumber.prefix('10.1.2.3', '10.9.9.9')({ type = 1, rdata = '\10\1\2\3' }), '\10\9\9\9')
	same(renumber.prefix('0.0.0.0/0', '10.9.9.9')({ type = 1, rdata = '\10\1\2\3' }), '\10\1\2\3')
end)

test('names, lists and subnets', function ()
	local rule = renumber.name('b.example', '10.9.9.9')
	same(rule({ owner = todname('B.example'), type = 1, rdata = '\192\0\2\1' }), '\10\9\9\9')
	same(rule({ owner = todname('c.example'), type = 1, rdata = '\192\0\2\1' }), nil)
	same(rule({ owner = todname('b.example'), type = 28, rdata = ('\1'):rep(16) }), nil)
	boom(renumber.name, { 'a..b', '10.9.9.9' }, '%[renumber%] invalid name')
	same(type(renumber.rule({ rule })), 'function')
	local subnet = require('ffi').new('char[4]', { 10, 0, 0, 0 })
	same(renumber.match_subnet(subnet, 8, 1, 1, '\10\1\2\3'), true)
	same(renumber.match_subnet(subnet, 8, 1, 1, '\11\1\2\3'), false)
	same(renumber.match_subnet(subnet, 8, 1, 28, '\10\1\2\3'), false)
end)

test('bad configuration is told', function ()
	for _, bad in ipairs({ 5, { 5 }, { { '192.0.2.0/24' } }, {}, { { 1, 2 } } }) do
		boom(renumber.config, { bad }, '%[renumber%] expected { {prefix, target}, ... }')
	end
	boom(renumber.config, { { { '192.0.2.0/24', 'x' } } }, '%[renumber%] invalid address: x')
	boom(renumber.config, { { { '192.0.2.0/40', '10.0.0.0' } } }, '%[renumber%] invalid subnet: 192.0.2.0/40')
	boom(renumber.config, { { { '192.0.2.0/24', '10!.0.0.0' } } },
		'%[renumber%] "!" symbol in target is only accepted at the end of address')
	boom(renumber.config, { { { '192.0.2.0/24', '2001:db8::' } } }, 'families')
end)

-- ---- policy.REROUTE ----

local function with_rules(rules, fn)
	local ids = {}
	for i, rule in ipairs(rules) do ids[i] = policy.add(policy.all(rule), true).id end
	return function (done)
		fn(function ()
			for _, id in ipairs(ids) do policy.del(id) end
			done()
		end)
	end
end

test('REROUTE', function (done)
	with_rules({ policy.REROUTE({ ['198.51.100.0/24'] = '192.168.7.0', ['198.51.100.64/26'] = '10.0.0.0' }) },
		sees('a.example', 'A', { 'a.example. 100 A 10.0.0.13', 'a.example. 100 A 203.0.113.5' }, '4 DUQR'))(done)
end)

test('REROUTE by name', function (done)
	with_rules({ policy.REROUTE({ ['A.example'] = '10.0.0.9' }, true) },
		sees('a.example', 'A', { 'a.example. 100 A 10.0.0.9', 'a.example. 100 A 10.0.0.9' }, '4 DUQR'))(function ()
		with_rules({ policy.REROUTE({ ['a.example'] = '10.0.0.9' }, true) },
			sees('b.example', 'A', { 'b.example. 100 A 192.0.2.1' }))(done)
	end)
end)

test('rules after REROUTE are tried, too', function (done)
	with_rules({ policy.REROUTE({ ['198.51.100.0/24'] = '10.0.0.0' }),
		policy.REROUTE({ ['203.0.113.0/24'] = '10.1.0.0' }) },
		sees('a.example', 'A', { 'a.example. 100 A 10.0.0.77', 'a.example. 100 A 10.1.0.5' }, '4 DUQR'))(done)
end)

test('forged answers are rewritten, too', function (done)
	local forge = policy.add(policy.all(policy.ANSWER({ [kres.type.A] = { rdata = '\198\51\100\1' } })))
	with_rules({ policy.REROUTE({ ['198.51.100.0/24'] = '10.0.0.0' }) },
		sees('f.example', 'A', { 'f.example. 1 A 10.0.0.1' }, '4 5DO5'))(function ()
		policy.del(forge.id)
		done()
	end)
end)

test('REROUTE belongs into the answer phase', function ()
	local rule = policy.all(policy.REROUTE({ ['198.51.100.0/24'] = '10.0.0.0' }))
	boom(policy.add, { rule }, 'answer phase')
	check(policy.del(policy.add(rule, true).id))
end)

test('bad targets of REROUTE', function ()
	boom(policy.REROUTE, { 5 }, 'REROUTE')
	boom(policy.REROUTE, { { ['192.0.2.0/24'] = 'x' } }, 'invalid address: x')
	boom(policy.REROUTE, { { nonsense = '10.0.0.1' } }, 'invalid subnet: nonsense')
	boom(policy.REROUTE, { { ['a..b'] = '10.0.0.1' }, true }, 'invalid name: a..b')
end)
