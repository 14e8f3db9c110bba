-- SPDX-License-Identifier: GPL-3.0-or-later
local kres = require('kres')

modules.unload('ta_update')
modules.unload('priming')
modules.unload('detect_time_skew')
modules.load('daf')

--- Does a rule with one condition match a question of a client?
local function rcode_of(text, name, how, fn)
	local rule = daf.add(text)
	ask(name, 'A', function (pkt, req)
		daf.del(rule.rule.id)
		fn(pkt and pkt:rcode(), req, pkt)
	end, how)
end

local NXDOMAIN = kres.rcode.NXDOMAIN
for _, case in ipairs({
	{ 'deny', 'x.example', true },
	{ 'qname = example.org deny', 'a.example.org', true },
	{ 'QNAME = Example.ORG Deny', 'example.org', true },
	{ 'qname = example.org deny', 'example.net', false },
	{ 'qname ~ %w+.example.com deny', 'abc.example.com', true },
	{ 'qname ~ %w+.example.com deny', 'abc.example.net', false },
	{ 'src = 192.0.2.0/24 deny', 'x.example', true },
	{ 'src = 198.51.100.0/24 deny', 'x.example', false },
	{ 'dst = 192.0.2.53 deny', 'x.example', true },
	{ 'dst = 192.0.2.54 deny', 'x.example', false },
	{ 'src = 192.0.2.0/24 AND qname = example.org deny', 'example.org', true },
	{ 'src = 192.0.2.0/24 AND qname = example.org deny', 'example.net', false },
	{ 'src = 198.51.100.1 OR qname = example.org deny', 'example.org', true },
	{ 'src = 198.51.100.1 OR qname = example.org AND dst = 192.0.2.54 deny', 'example.org', false },
}) do
	local text, name, is_match = unpack(case)
	test(text .. ': ' .. name, function (done)
		local last = policy.add(policy.all(policy.REFUSE))
		-- the rule has to come first
		policy.del(last.id)
		rcode_of(text, name, { addr = '192.0.2.1' }, function (rcode)
			same(rcode == NXDOMAIN, is_match)
			done()
		end)
	end)
end

test('other actions', function (done)
	rcode_of('drop', 'x.example', { addr = '192.0.2.1' }, function (rcode)
		same(rcode, kres.rcode.SERVFAIL)
		rcode_of('truncate', 'x.example', { addr = '192.0.2.1' }, function (_, _, pkt)
			check(pkt:tc())
			rcode_of('rewrite localhost A 192.0.2.9', 'localhost', { addr = '192.0.2.1' }, function (_, _, pkt2)
				same(records(pkt2), { 'localhost. 900 A 192.0.2.9' })
				rcode_of('reroute 127.0.0.0/8-10.0.0.0 192.0.2.0/24-10.1.0.0', 'localhost', { addr = '192.0.2.1' },
					function (_, _, pkt3)
						same(records(pkt3), { 'localhost. 900 A 10.0.0.1' })
						done()
					end)
			end)
		end)
	end)
	for _, text in ipairs({ 'pass', 'tc', 'forward 192.0.2.1', 'forward 192.0.2.1@5353,2001:db8::1',
			'mirror 127.0.0.1@9' }) do
		daf.del(daf.add(text).rule.id)
	end
end)

test('what cannot be understood is told', function ()
	for text, pattern in pairs({
		[''] = 'empty rule is not allowed', ['nonsense'] = 'invalid action "nonsense"',
		['qname < x deny'] = 'invalid operator "<" on qname', ['src ~ 192.0.2.1 deny'] = 'address supports only "=" operator',
		['qname = x AND'] = 'expected filter after "and"', ['qname = x AND foo = y deny'] = 'invalid filter "foo"',
		['qname = x nonsense'] = 'invalid action "nonsense"', ['qname'] = 'expected filter after "qname"',
		['src = 127.0.0.1/99 deny'] = 'failed to parse subnet 127.0.0.1/99', ['forward'] = 'forward',
		['forward nonsense'] = 'nonsense', ['reroute x'] = 'FROM%-TO', ['rewrite a A'] = 'OWNER TYPE ADDRESS',
		['qname = x'] = 'empty rule is not allowed', ['deny now'] = 'unexpected',
	}) do
		boom(daf.add, { text }, pattern)
	end
	boom(daf.add, {}, 'empty rule')
	same({ #daf.rules, #policy.rules }, { 0, 0 })
end)

test('the list', function ()
	local a, b = daf.add('qname = a deny'), daf.add('qname = b deny')
	same({ a.info, type(a.policy), a.rule.id + 1 }, { 'qname = a deny', 'function', b.rule.id })
	check(daf.add('qname = a deny') == a)
	check(daf.get(b.rule.id) == b)
	same({ daf.get(999), daf.del(999), daf.disable(999) }, {})
	same({ daf.disable(a.rule.id), a.rule.suspended }, { true, true })
	same({ daf.enable(a.rule.id), a.rule.suspended }, { true, nil })
	same({ daf.toggle(a.rule.id, false), a.rule.suspended }, { true, true })
	same({ #daf.rules, daf.del(a.rule.id), #daf.rules }, { 2, true, 1 })
	same({ daf.clear(), #daf.rules, #policy.rules }, { true, 0, 0 })
end)

-- ---- HTTP ----

--- Call the service like module http would.
local function call(method, path, body)
	local headers = { get = function (_, name) return ({ [':method'] = method, [':path'] = path })[name] end }
	return daf.api(headers, { get_body_as_string = function () return body end })
end

test('the service', function ()
	same(call('GET', '/daf'), {})
	local rule = call('POST', '/daf', ' qname = svc.example deny\n')
	same({ rule.info, rule.active, rule.count }, { 'qname = svc.example deny', true, 0 })
	same(call('POST', '/daf', 'qname = svc.example deny').id, rule.id)
	local path = '/daf/' .. rule.id
	same(call('GET', path), rule)
	same(call('GET', '/daf/'), { rule })
	same({ call('GET', '/daf/999') }, { 404, '"No such rule"' })
	same({ call('PATCH', path .. '/active/false') }, { 200, 'true' })
	same(call('GET', path).active, false)
	same({ call('PATCH', path .. '/active/true') }, { 200, 'true' })
	same(call('GET', path).active, true)
	same({ call('PATCH', path .. '/color/red') }, { 501, '"Action not implemented"' })
	same({ call('PATCH', path) }, { 400 })
	same({ call('PATCH', '/daf/999/active/true') }, { 404, '"No such rule"' })
	same({ call('DELETE', '/daf/x') }, { 400 })
	same({ call('DELETE', '/daf/999') }, { 404, '"No such rule"' })
	same({ call('DELETE', path) }, { 200, 'true' })
	same(#daf.rules, 0)
	same({ call('PUT', '/daf') }, { 404 })
	local status, text = call('POST', '/daf', 'nonsense')
	same(status, 500)
	match(text, '^".*invalid action .*nonsense')
end)

test('text of a rule is never code', function ()
	mischief = false
	call('POST', '/daf', 'qname = x") mischief=true --\\ deny')
	call('POST', '/daf', '") mischief = true --')
	same(mischief, false)
	daf.clear()
end)

test('unloading takes the rules away', function ()
	daf.add('deny')
	modules.unload('daf')
	same(#policy.rules, 0)
end)
