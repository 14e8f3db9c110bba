-- SPDX-License-Identifier: GPL-3.0-or-later
local kres = require('kres')

modules.load('view')

local function forged(octet)
	return policy.all(policy.ANSWER({ [kres.type.A] = { rdata = '\192\0\2' .. string.char(octet) } }))
end

--- Last octet of the address that a client gets, or the RCODE.
local function see(fn, how)
	ask('x.example', 'A', function (pkt)
		local rr = pkt:section(kres.section.ANSWER)[1]
		fn(rr and rr.rdata:byte(4) or 'rcode ' .. pkt:rcode())
	end, how)
end

local function reset()
	modules.unload('view')
	modules.load('view')
end

--- Ask as each client in turn. cases = { { how, expected }, ... }
local function expect(cases, done)
	local function nth(i)
		if not cases[i] then
			reset()
			return done()
		end
		see(function (got)
			same(got, cases[i][2], 'case ' .. i)
			nth(i + 1)
		end, cases[i][1])
	end
	nth(1)
end

test('by client address, in order of definition', function (done)
	view:addr('192.0.2.0/25', forged(1))
	view:addr('192.0.2.0/24', forged(2))
	view:addr('192.0.2.7', forged(3)) -- never reached
	view:addr('2001:db8::/33', forged(4))
	view:addr('0.0.0.0/0', forged(5))
	view:addr('::/0', forged(6))
	expect({
		{ { addr = '192.0.2.7' }, 1 }, { { addr = '192.0.2.127' }, 1 }, { { addr = '192.0.2.128' }, 2 },
		{ { addr = '198.51.100.1' }, 5 }, { { addr = '2001:db8:7fff::1' }, 4 },
		{ { addr = '2001:db8:8000::1' }, 6 },
	}, done)
end)

test('host bits beyond the length do not matter', function (done)
	view:addr('192.0.2.77/24', forged(1))
	expect({ { { addr = '192.0.2.1' }, 1 } }, done)
end)

test('by our own address', function (done)
	view:addr('192.0.2.53', forged(1), true)
	view:addr('192.0.2.0/24', forged(2), true)
	expect({ { { addr = '198.51.100.1', dst = '192.0.2.53' }, 1 },
		{ { addr = '198.51.100.1', dst = '192.0.2.54' }, 2 } }, done)
end)

test('sources come before destinations', function (done)
	view:addr('192.0.2.53', forged(1), true)
	view:addr('198.51.100.1', forged(2))
	expect({ { { addr = '198.51.100.1' }, 2 }, { { addr = '198.51.100.2' }, 1 } }, done)
end)

test('chain actions and filters that do not match go on', function (done)
	local count = 0
	view:addr('192.0.2.1', policy.all(function () count = count + 1 end))
	view:addr('192.0.2.1', policy.suffix(policy.DENY, { todname('other') }))
	view:addr('192.0.2.1', forged(9))
	expect({ { { addr = '192.0.2.1' }, 9 } }, function ()
		same(count, 1)
		done()
	end)
end)

test('PASS ends the view', function (done)
	view:addr('192.0.2.1', policy.all(policy.PASS))
	view:addr('192.0.2.1', forged(1))
	ask('localhost', 'A', function (pkt)
		same(records(pkt), { 'localhost. 900 A 127.0.0.1' })
		reset()
		done()
	end, { addr = '192.0.2.1' })
end)

test('policy decides first', function (done)
	local deny = policy.add(policy.all(policy.DENY))
	view:addr('0.0.0.0/0', forged(1))
	expect({ { { addr = '192.0.2.1' }, 'rcode 3' } }, function ()
		policy.del(deny.id)
		done()
	end)
end)

test('internal requests have no address', function (done)
	local count = 0
	view:addr('0.0.0.0/0', policy.all(function () count = count + 1 end))
	view:addr('0.0.0.0/0', policy.all(function () count = count + 1 end), true)
	resolve('localhost', kres.type.A, kres.class.IN, nil, guard(function ()
		same(count, 0)
		reset()
		done()
	end))
end)

test('filters for policy.add()', function (done)
	local src = policy.add(view.rule_src(policy.DENY, '192.0.2.0/24'))
	local dst = policy.add(view.rule_dst(policy.REFUSE, '198.51.100.53'))
	expect({ { { addr = '192.0.2.1' }, 'rcode 3' },
		{ { addr = '203.0.113.1', dst = '198.51.100.53' }, 'rcode 5' } }, function ()
		policy.del(src.id)
		policy.del(dst.id)
		done()
	end)
end)

test('a key', function (done)
	local tsig = '\5mykey\0' .. '\0\250' .. '\0\255' .. '\0\0\0\0' .. '\0\58'
		.. '\8hmac-md5\7sig-alg\3reg\3int\0' .. '\0\0\0\0\0\0' .. '\1\44' .. '\0\16' .. ('x'):rep(16)
		.. '\18\52' .. '\0\0' .. '\0\0'
	local wire = '\18\52\1\0\0\1\0\0\0\0\0\1' .. todname('x.example') .. '\0\1\0\1' .. tsig
	local pkt = kres.packet(#wire, wire)
	view:tsig('\5MyKey\0', forged(7))
	view:tsig('other', forged(8))
	worker.resolve_pkt(pkt, nil, guard(function (answer)
		same(answer:section(kres.section.ANSWER)[1].rdata, '\192\0\2\7')
		reset()
		done()
	end))
end)

test('bad subnets and rules are told at once', function ()
	for _, bad in ipairs({ '192.0.2.0/33', '127.0.0.1/99', 'nonsense', '2001:db8::/129', '192.0.2.0/-1', '' }) do
		boom(view.addr, { view, bad, forged(1) }, 'failed to parse subnet')
		boom(view.rule_src, { policy.DENY, bad }, 'failed to parse subnet')
		boom(view.rule_dst, { policy.DENY, bad }, 'failed to parse subnet')
	end
	boom(view.addr, { view, nil, forged(1) }, 'failed to parse subnet')
	boom(view.addr, { view, '192.0.2.0/24' }, 'rule')
	boom(view.tsig, { view, 5, forged(1) }, 'key')
	boom(view.tsig, { view, 'key' }, 'rule')
end)

test('an action of the answer phase is refused', function ()
	local reroute = policy.all(policy.REROUTE({ ['192.0.2.0/24'] = '192.0.2.1' }))
	boom(view.addr, { view, '0.0.0.0/0', reroute }, 'answer phase')
	boom(policy.add, { reroute }, 'answer phase')
	check(policy.del(policy.add(reroute, true).id))
end)

test('entries have numbers and counters, are suspended and removed', function (done)
	local first = view:addr('192.0.2.0/24', forged(1))
	local second = view:addr('192.0.2.1', forged(2))
	same({ second.id - first.id, #view.rules }, { 1, 2 })
	see(function (got)
		same({ got, first.count, second.count }, { 1, 1, 0 })
		first.suspended = true
		see(function (got2)
			same({ got2, first.count, second.count }, { 2, 1, 1 })
			first.suspended = nil
			same({ view.del(first.id), view.del(first.id), #view.rules }, { true, false, 1 })
			expect({ { { addr = '192.0.2.1' }, 2 } }, done)
		end, { addr = '192.0.2.1' })
	end, { addr = '192.0.2.1' })
end)

test('the longest prefix, if wanted', function (done)
	view:addr('0.0.0.0/0', forged(1))
	view:addr('192.0.2.0/24', forged(2))
	view:addr('192.0.2.1', policy.suffix(policy.DENY, { 'other' }))
	view:addr('192.0.2.128/25', forged(3))
	view.longest_prefix(true)
	expect({ { { addr = '192.0.2.1' }, 2 }, { { addr = '192.0.2.129' }, 3 }, { { addr = '198.51.100.1' }, 1 } }, done)
end)

test('a key has to be right if there is a secret', function (done)
	boom(view.tsig, { view, 'key', forged(1), { secret = 5 } }, 'secret')
	boom(view.tsig, { view, 'key', forged(1), { secret = 'c2VjcmV0', algorithm = 'rot13' } }, 'not valid')
	local tsig = '\5mykey\0' .. '\0\250' .. '\0\255' .. '\0\0\0\0' .. '\0\61'
		.. '\11hmac-sha256\0' .. '\0\0\0\0\0\0' .. '\1\44' .. '\0\32' .. ('x'):rep(32)
		.. '\18\52' .. '\0\0' .. '\0\0'
	local wire = '\18\52\1\0\0\1\0\0\0\0\0\1' .. todname('x.example') .. '\0\1\0\1' .. tsig
	view:tsig('mykey', forged(7), { secret = 'c2VjcmV0' })
	worker.resolve_pkt(kres.packet(#wire, wire), nil, guard(function (answer)
		same(#answer:section(kres.section.ANSWER), 0)
		reset()
		done()
	end))
end)
