-- SPDX-License-Identifier: GPL-3.0-or-later
-- Rules, actions, RPZ files and special names, each by what the client sees.
local ffi = require('ffi')

modules.unload('ta_update')
modules.unload('priming')
modules.unload('detect_time_skew')

local CLIENT = { addr = '192.0.2.1' }

--- Ask a question with one rule in force. fn(pkt, req)
local function with_rule(rule, name, rtype, how, fn, postrule)
	local desc = policy.add(rule, postrule)
	ask(name, rtype, function (pkt, req)
		policy.del(desc.id)
		fn(pkt, req, desc)
	end, how)
end

local function soa(name, ttl, mname)
	return string.format('%s %d SOA %s nobody.invalid. 1 3600 1200 604800 10800', name, ttl, mname or name)
end

-- ---- The list ----

test('rules are added, counted, suspended and deleted', function (done)
	local first = policy.add(policy.all(policy.REFUSE))
	local second = policy:add(policy.all(policy.DENY))
	same(second.id, first.id + 1)
	same({ #policy.rules, #policy.postrules }, { 2, 0 })
	first.suspended = true
	ask('x.example', 'A', function (pkt)
		same({ pkt:rcode(), first.count, second.count }, { kres.rcode.NXDOMAIN, 0, 1 })
		same({ policy.del(first.id), policy.del(second.id), policy.del(first.id) }, { true, true, false })
		same(#policy.rules, 0)
		done()
	end)
end)

test('what is no rule is told at once', function ()
	boom(policy.add, { 5 }, 'rule')
	boom(policy.add, {}, 'rule')
	same(#policy.rules, 0)
end)

test('postrules have the same numbers', function ()
	local a, b = policy.add(policy.all(policy.PASS), true), policy.add(policy.all(policy.PASS))
	same({ b.id - a.id, #policy.rules, #policy.postrules }, { 1, 1, 1 })
	policy.del(a.id)
	policy.del(b.id)
	same({ #policy.rules, #policy.postrules }, { 0, 0 })
end)

test('chain actions go on, others stop', function (done)
	local order = {}
	local function note(name, result)
		return policy.all(function (state) order[#order + 1] = name; return result and state end)
	end
	local ids = {}
	for i, rule in ipairs({ note('a'), note('b', true), note('c') }) do ids[i] = policy.add(rule).id end
	ask('localhost', 'A', function ()
		for _, id in ipairs(ids) do policy.del(id) end
		same(order, { 'a', 'b' })
		done()
	end)
end)

test('finished answers are not repeated while functions have to be asked', function ()
	local function varies(rule, postrule)
		local desc = policy.add(rule, postrule)
		local answers_vary = kres.context().answers_vary
		policy.del(desc.id)
		return answers_vary
	end
	same(kres.context().answers_vary, false)
	same(varies(policy.all(policy.DENY)), false)
	same(varies(policy.suffix(policy.DENY, { 'example' })), false)
	same(varies(policy.suffix(function () end, { 'example' })), false)
	same(varies(policy.all(function () end)), true)
	same(varies(policy.pattern(policy.DENY, 'x')), true)
	same(varies(policy.all(policy.DENY), true), true)
	same(kres.context().answers_vary, false)
	local desc = policy.add(function () end)
	desc.suspended = true
	same({ desc.suspended, kres.context().answers_vary }, { true, false })
	desc.suspended = false
	same({ desc.suspended, kres.context().answers_vary }, { nil, true })
	policy.del(desc.id)
end)

test('lists changed by hand are followed', function (done)
	local function note(name) return { id = name, cb = policy.all(policy.DENY_MSG(name)), count = 7 } end
	local a, b = note('a'), note('b')
	policy.rules = { a, b }
	ask('x.example', 'A', function (pkt)
		same(records(pkt, 'ADDITIONAL'), { 'explanation.invalid. 10800 TXT "a"' })
		same({ a.count, b.count }, { 8, 7 })
		table.insert(policy.rules, table.remove(policy.rules, 1))
		local last = policy.add(policy.all(policy.PASS))
		ask('x.example', 'A', function (pkt2)
			same(records(pkt2, 'ADDITIONAL'), { 'explanation.invalid. 10800 TXT "b"' })
			same({ a.count, b.count, last.count }, { 8, 8, 0 })
			policy.rules = {}
			local special = policy.special_names
			policy.special_names = {}
			ask('localhost', 'A', function (pkt3)
				check(pkt3:rcode() ~= 0 or not pkt3:aa())
				policy.special_names = special
				ask('localhost', 'A', function (pkt4)
					same({ pkt4:rcode(), pkt4:aa() }, { 0, true })
					done()
				end)
			end)
		end)
	end)
end)

test('rules outlive the module', function (done)
	local desc = policy.add(policy.all(policy.REFUSE))
	modules.unload('policy')
	modules.load('policy < refuse_nord')
	ask('x.example', 'A', function (pkt)
		same({ pkt:rcode(), desc.count }, { kres.rcode.REFUSED, 1 })
		check(policy.del(desc.id))
		done()
	end)
end)

test('evaluate() runs a list of ones own', function (done)
	ask('localhost', 'A', function (_, req)
		local rules = { { cb = function () end, count = 0 },
			{ cb = function () return function () return 4 end end, count = 0 } }
		same(policy.evaluate(rules, req, req:initial(), 1), 4)
		same(rules[2].count, 1)
		same(policy.evaluate({}, req, req:initial(), 1), nil)
		done()
	end)
end)

test('a broken rule fails the request and nothing else', function (done)
	with_rule(function () error('mischief') end, 'localhost', 'A', CLIENT, function (pkt)
		same(pkt:rcode(), kres.rcode.SERVFAIL)
		with_rule(policy.all(policy.DENY), 'x', 'A', CLIENT, function (pkt2)
			same(pkt2:rcode(), kres.rcode.NXDOMAIN)
			done()
		end)
	end)
end)

-- ---- Actions ----

test('DENY', function (done)
	with_rule(policy.all(policy.DENY), 'Ads.Example', 'A', CLIENT, function (pkt, _, desc)
		same({ pkt:rcode(), pkt:aa(), pkt:ad(), pkt:ra(), pkt:rd() }, { 3, true, false, true, true })
		same(records(pkt), {})
		same(records(pkt, 'AUTHORITY'), { soa('ads.example.', 10800) })
		same(records(pkt, 'ADDITIONAL'), {})
		same(ede_of(pkt), '15 CR36')
		same(desc.count, 1)
		done()
	end)
end)

test('DENY_MSG', function (done)
	with_rule(policy.all(policy.DENY_MSG('go away')), 'x.example', 'A', CLIENT, function (pkt)
		same(records(pkt, 'ADDITIONAL'), { 'explanation.invalid. 10800 TXT "go away"' })
		same({ pkt:rcode(), ede_of(pkt) }, { 3, '15 CR36' })
		with_rule(policy.all(policy.DENY_MSG(nil, kres.extended_error.CENSORED)), 'x.example', 'A', CLIENT,
			function (pkt2)
				same({ records(pkt2, 'ADDITIONAL'), ede_of(pkt2) }, { {}, '16 CR36' })
				done()
			end)
	end)
	policy.DENY_MSG(('x'):rep(254))
	boom(policy.DENY_MSG, { ('x'):rep(255) }, 'DENY_MSG: optional msg must be string shorter than 256 characters')
	boom(policy.DENY_MSG, { 5 }, 'DENY_MSG: optional msg must be string shorter than 256 characters')
end)

test('DROP is SERVFAIL', function (done)
	with_rule(policy.all(policy.DROP), 'x.example', 'A', CLIENT, function (pkt)
		same({ pkt:rcode(), pkt:aa(), pkt:ancount(), pkt:nscount() }, { 2, false, 0, 0 })
		same(ede_of(pkt), '18 U5KL')
		done()
	end)
end)

test('REFUSE', function (done)
	with_rule(policy.all(policy.REFUSE), 'x.example', 'A', CLIENT, function (pkt)
		same({ pkt:rcode(), pkt:aa(), pkt:ad(), pkt:ancount(), pkt:nscount() }, { 5, false, false, 0, 0 })
		same(ede_of(pkt), '18 EIM4')
		done()
	end)
end)

test('NO_ANSWER is silence', function (done)
	with_rule(policy.all(policy.NO_ANSWER), 'x.example', 'A', CLIENT, function (pkt)
		same(pkt, nil)
		done()
	end)
end)

test('TC over UDP', function (done)
	with_rule(policy.all(policy.TC), 'x.example', 'A', CLIENT, function (pkt)
		same({ pkt:rcode(), pkt:tc(), pkt:aa(), pkt:ancount(), pkt:nscount() }, { 0, true, false, 0, 0 })
		done()
	end)
end)

for what, how in pairs({ TCP = { addr = '192.0.2.1', flags = { 'tcp' } }, internal = {} }) do
	test('TC passes: ' .. what, function (done)
		local tc = policy.add(policy.all(policy.TC))
		local deny = policy.add(policy.all(policy.DENY)) -- never reached
		ask('localhost', 'A', function (pkt)
			policy.del(tc.id)
			policy.del(deny.id)
			check(not pkt:tc())
			check(pkt:rcode() ~= kres.rcode.NXDOMAIN)
			done()
		end, how)
	end)
end

test('PASS lets special names through', function (done)
	serve({ ['a.test A'] = { '192.0.2.7' } })
	with_rule(policy.suffix(policy.PASS, { todname('test') }), 'a.test', 'A', CLIENT, function (pkt)
		modules.unload('test_zone')
		same({ pkt:rcode(), records(pkt) }, { 0, { 'a.test. 100 A 192.0.2.7' } })
		same({ pkt:aa(), ede_of(pkt) }, { false, nil })
		done()
	end)
end)

test('ANSWER forges data', function (done)
	local rdata = kres.parse_rdata({ 'A 192.0.2.2', 'A 192.0.2.1' })
	with_rule(policy.all(policy.ANSWER({ [kres.type.A] = { rdata = rdata, ttl = 300 } })), 'x.example', 'A',
		CLIENT, function (pkt)
			same({ pkt:rcode(), pkt:aa(), pkt:ad() }, { 0, true, false })
			local order = {}
			for i, rr in ipairs(pkt:section(kres.section.ANSWER)) do order[i] = rr.rdata:byte(4) end
			same(order, { 2, 1 })
			same(records(pkt), { 'x.example. 300 A 192.0.2.1', 'x.example. 300 A 192.0.2.2' })
			same(ede_of(pkt), '4 5DO5')
			done()
		end)
end)

test('ANSWER: one rdata, default TTL', function (done)
	with_rule(policy.all(policy.ANSWER({ [kres.type.AAAA] = { rdata = kres.str2ip('2001:db8::1') } })),
		'x.example', 'AAAA', CLIENT, function (pkt)
			same(records(pkt), { 'x.example. 1 AAAA 2001:db8::1' })
			done()
		end)
end)

test('ANSWER without the type is no match', function (done)
	with_rule(policy.all(policy.ANSWER({ [kres.type.A] = { rdata = '\1\2\3\4' } })), 'localhost', 'AAAA', CLIENT,
		function (pkt)
			same(records(pkt), { 'localhost. 900 AAAA ::1' })
			done()
		end)
end)

test('ANSWER with nodata', function (done)
	with_rule(policy.all(policy.ANSWER({}, true)), 'x.example', 'A', CLIENT, function (pkt)
		same({ pkt:rcode(), pkt:aa(), records(pkt) }, { 0, true, {} })
		same(records(pkt, 'AUTHORITY'), { soa('x.example.', 1) })
		same(ede_of(pkt), '4 5DO5')
		local own = kres.parse_rdata({ 'SOA a. b. 1 2 3 4 5' })[1]
		with_rule(policy.all(policy.ANSWER({ [kres.type.SOA] = { rdata = own, ttl = 77 } }, true)), 'x.example',
			'A', CLIENT, function (pkt2)
				same(records(pkt2, 'AUTHORITY'), { 'x.example. 77 SOA a. b. 1 2 3 4 5' })
				done()
			end)
	end)
end)

test('ANSWER checks its table', function ()
	boom(policy.ANSWER, { 5 }, 'ANSWER')
	boom(policy.ANSWER, { { A = {} } }, 'ANSWER')
	boom(policy.ANSWER, { { [1] = {} } }, 'ANSWER')
end)

test('FLAGS', function (done)
	local seen
	policy.add(policy.all(policy.FLAGS({ 'NO_CACHE', 'NO_IPV6' }, 'REORDER_RR')))
	local look = policy.add(policy.all(function (_, req)
		local flags, options = req:current().flags, req.options
		seen = { flags.NO_CACHE, flags.NO_IPV6, flags.REORDER_RR, options.NO_CACHE, options.REORDER_RR }
	end))
	ask('localhost', 'A', function ()
		policy.del(look.id)
		policy.del(look.id - 1)
		same(seen, { true, true, false, true, false })
		done()
	end, CLIENT)
	boom(policy.FLAGS, { 'NO_SUCH_FLAG' }, 'NO_SUCH_FLAG')
	policy.FLAGS(nil, 'NO_CACHE')
end)

test('MIRROR sends the question on', function (done)
	local cqueues_socket = require('cqueues.socket')
	local server = cqueues_socket.listen({ host = '127.0.0.1', port = 0, type = cqueues_socket.SOCK_DGRAM })
	server:setmode('b', 'b')
	local _, host, port = server:localname()
	check(host, 'localname')
	with_rule(policy.all(policy.MIRROR('127.0.0.1@' .. port)), 'localhost', 'A', CLIENT, function (pkt)
		same(records(pkt), { 'localhost. 900 A 127.0.0.1' })
		worker.coroutine(guard(function ()
			local got = server:recv(-512)
			same({ got:sub(1, 2), got:sub(13, 23) }, { '\18\52', todname('localhost') })
			done()
		end))
	end)
	boom(policy.MIRROR, { 'nonsense' }, 'MIRROR target nonsense is not a valid')
	boom(policy.MIRROR, { 5 }, 'MIRROR target 5 is not a valid')
end)

test('bad targets are told at once', function ()
	for _, action in ipairs({ 'FORWARD', 'STUB' }) do
		boom(policy[action], { 'nonsense' }, 'nonsense')
		boom(policy[action], { '192.0.2.1@99999' }, '99999')
		boom(policy[action], { {} }, 'target')
		policy[action]('192.0.2.1')
		policy[action]({ '192.0.2.1@5353', '2001:db8::1#53' })
	end
end)

test('FORWARD and STUB set what the resolver needs', function (done)
	local seen = {}
	local function look(_, req)
		local flags = req:current().flags
		seen[#seen + 1] = { flags.FORWARD, flags.STUB, flags.NO_MINIMIZE, flags.ALWAYS_CUT, req.options.FORWARD,
			tonumber(req.selection_context.forwarding_targets.len) }
		return policy.REFUSE(nil, req)
	end
	local function through(action, fn)
		local target = policy.add(policy.all(function (state, req) action(state, req) end))
		local last = policy.add(policy.all(look))
		ask('x.example', 'A', function ()
			policy.del(target.id)
			policy.del(last.id)
			fn()
		end, CLIENT)
	end
	through(policy.FORWARD({ '192.0.2.1', '192.0.2.2' }), function ()
		through(policy.STUB('192.0.2.1'), function ()
			same(seen, { { true, false, true, false, true, 2 }, { false, true, false, false, false, 1 } })
			done()
		end)
	end)
end)

test('a family that is switched off is no target', function (done)
	net.ipv6 = false
	with_rule(policy.all(policy.FORWARD('2001:db8::1')), 'x.example', 'A', CLIENT, function (pkt)
		net.ipv6 = true
		same(pkt:rcode(), kres.rcode.SERVFAIL)
		done()
	end)
end)

test('TLS_FORWARD checks its targets', function ()
	local PIN = 'N1QR2V13j9YwouuLvTqOqrz4M3uvSb4Saw43G/VyYD8='
	local function bad(targets, pattern) boom(policy.TLS_FORWARD, { targets }, pattern) end
	bad(nil, 'TLS_FORWARD argument must be a non%-empty table')
	bad({}, 'TLS_FORWARD argument must be a non%-empty table')
	bad('192.0.2.1', 'TLS_FORWARD argument must be a non%-empty table')
	bad({ '192.0.2.1' }, 'TLS_FORWARD configuration at position 1 must be a table starting with an IP address')
	bad({ { insecure = true } },
		'TLS_FORWARD configuration at position 1 must be a table starting with an IP address')
	bad({ { '192.0.2.1', foo = 1 } }, "found unexpected key 'foo'")
	bad({ { '192.0.2.1' } }, 'no way to authenticate and not set as insecure')
	bad({ { '192.0.2.1', ca_file = '/x' } }, 'missing hostname but specifying ca_file')
	bad({ { '192.0.2.1', hostname = 'x', ca_file = '/x', pin_sha256 = PIN } },
		'mixing pin_sha256 with ca_file is not supported')
	bad({ { '192.0.2.1', insecure = true, pin_sha256 = PIN } },
		'set as insecure but provided authentication config')
	bad({ { '192.0.2.1', insecure = 'yes' } }, "incorrect value in the 'insecure' field")
	bad({ { '192.0.2.1', hostname = 'a..b' } }, 'invalid hostname')
	bad({ { '192.0.2.1', hostname = 'x', ca_file = '/nonexistent' } },
		"failed to import certificate file '/nonexistent': ")
	bad({ { '192.0.2.1', pin_sha256 = 'short' } }, "not a valid pin_sha256: 'short', ")
	bad({ { '192.0.2.1', pin_sha256 = PIN }, { '192.0.2.1@853', insecure = true } },
		'TLS_FORWARD configuration cannot declare two configs for IP address 192.0.2.1')
	bad({ { 'nonsense', insecure = true } }, 'nonsense')
	bad({ { '192.0.2.1', insecure = true, transport = 'quic' } }, "transport must be 'tls' or 'https'")
	bad({ { '192.0.2.1', insecure = true, path = '/x' } }, "path must begin with a slash and needs transport = 'https'")
	bad({ { '192.0.2.1', insecure = true, transport = 'https', path = 'x' } }, 'path must begin with a slash')
	bad({ { '192.0.2.1', insecure = true, transport = 'https', path = '/x y' } }, 'printable')
	policy.TLS_FORWARD({ { '192.0.2.1', pin_sha256 = { PIN } }, { '192.0.2.1@8853', insecure = true },
		{ '2001:db8::1', hostname = 'Dot.Example.', pin_sha256 = PIN },
		{ '192.0.2.2', hostname = 'doh.example', transport = 'https' } })
	local known = {}
	for _, t in ipairs(net.tls_client()) do known[t[1]:gsub('#0*', '@')] = t end
	same(known['192.0.2.1@853'].pin_sha256, { PIN })
	same(known['192.0.2.1@8853'].insecure, true)
	same(known['2001:db8::1@853'].hostname, 'dot.example')
	same(known['192.0.2.1@853'].path, nil)
	same(known['192.0.2.2@443'].path, '/dns-query')
end)

test('traces say what happened', function (done)
	local lines = {}
	local function capture(_, req)
		req:trace_chain_callbacks(function (_, msg) lines[#lines + 1] = ffi.string(msg) end)
	end
	local ids = {}
	for i, action in ipairs({ capture, policy.REQTRACE, policy.IPTRACE, policy.QTRACE, policy.DEBUG_ALWAYS,
			policy.DEBUG_CACHE_MISS, policy.DEBUG_IF(function () return true end), policy.DENY }) do
		ids[i] = policy.add(policy.all(action)).id
	end
	ask('x.example', 'A', function ()
		for _, id in ipairs(ids) do policy.del(id) end
		event.after(1, guard(function ()
			local text = table.concat(lines)
			match(text, '%[reqdbg%]%[policy%]%[.*request packet:\n.*x%.example')
			match(text, 'request packet arrived from 192%.0%.2%.1#12345 to 192%.0%.2%.53#12345 %(TCP %+ TLS%)\n')
			match(text, 'DENY applied for x.example. A\n')
			done()
		end))
	end, { addr = '192.0.2.1', flags = { 'tcp', 'tls' } })
	boom(policy.DEBUG_IF, { 5 }, 'function')
end)

test('internal requests are traced as such', function (done)
	local lines = {}
	policy.add(policy.all(function (_, req)
		req:trace_chain_callbacks(function (_, msg) lines[#lines + 1] = ffi.string(msg) end)
	end))
	local last = policy.add(policy.all(policy.IPTRACE))
	ask('localhost', 'A', function ()
		policy.del(last.id)
		policy.del(last.id - 1)
		match(table.concat(lines), 'request packet arrived internally\n')
		done()
	end)
end)

test('an action of ones own', function (done)
	with_rule(policy.all(function (_, req)
		local answer = req:ensure_answer()
		ffi.C.kr_pkt_make_auth_header(answer)
		answer:rcode(kres.rcode.NOERROR)
		answer:begin(kres.section.ANSWER)
		answer:put(answer:qname(), 5, answer:qclass(), kres.type.TXT, '\2ok')
		req:set_extended_error(0, 'MINE')
		return kres.DONE
	end), 'x.example', 'TXT', CLIENT, function (pkt)
		same({ records(pkt), ede_of(pkt), pkt:aa() }, { { 'x.example. 5 TXT "ok"' }, '0 MINE', true })
		done()
	end)
end)

-- ---- Filters ----

--- Does a filter match a name? Asked without a resolver.
local function matches(filter, name, rtype)
	local wire = todname(name)
	return filter(nil, { name = function () return wire end, stype = rtype or 1 }) == 'yes'
end

test('domains', function ()
	local filter = policy.domains('yes', policy.todnames({ 'a.example', 'B.example' }))
	check(matches(filter, 'a.example'))
	check(matches(filter, 'b.EXAMPLE'))
	check(not matches(filter, 'x.a.example'))
	check(not matches(filter, 'example'))
end)

test('suffix', function ()
	local filter = policy.suffix('yes', policy.todnames({ 'a.example', 'long.name.test' }))
	check(matches(filter, 'a.example'))
	check(matches(filter, 'x.y.A.example'))
	check(not matches(filter, 'ba.example'))
	check(not matches(filter, 'example'))
	check(matches(policy.suffix('yes', { '\0' }), 'anything'))
	check(not matches(policy.suffix('yes', {}), 'anything'))
	check(matches(policy.suffix('yes', { 'text.example' }), 'a.text.example')) -- text is accepted too
	boom(policy.suffix, { 'yes', { 'a..b' } }, 'domain name')
	boom(policy.suffix, { 'yes', { 5 } }, 'domain name')
end)

test('suffix_common', function ()
	local filter = policy.suffix_common('yes', policy.todnames({ 'a.example', 'b.example' }), todname('example'))
	check(matches(filter, 'x.a.example'))
	check(not matches(filter, 'x.a.test'))
	check(matches(policy.suffix_common('yes', policy.todnames({ 'a.example' })), 'a.example'))
end)

test('pattern looks at the wire format', function ()
	local filter = policy.pattern('yes', '\4ads%d\7example')
	check(matches(filter, 'ads1.Example'))
	check(matches(filter, 'x.ads7.example.com'))
	check(not matches(filter, 'adsx.example'))
	boom(policy.pattern, { 'yes', '[' }, 'malformed')
end)

test('slice', function ()
	local filter = policy.slice(function (query, n) return #query:name() % n + 1 end, 'even', 'odd')
	local picked = {}
	for i = 1, 4 do
		picked[i] = filter(nil, { name = function () return ('x'):rep(i) end })
	end
	same(picked, { 'odd', 'even', 'odd', 'even' })
	boom(policy.slice, { function () end }, 'at least one action must be provided to policy.slice')
end)

test('slice_randomize_psl', function ()
	if not pcall(require, 'psl') then
		boom(policy.slice_randomize_psl, { 0 }, 'lua%-psl is required for policy.slice_randomize_psl')
		return
	end
	local slice = policy.slice_randomize_psl(0)
	local function at(name) return slice({ name = function () return todname(name) end }, 4) end
	same(at('www.example.co.uk'), at('mail.example.co.uk'))
	local used = {}
	for i = 1, 200 do used[at('example' .. i .. '.com')] = true end
	same(#used, 4)
end)

test('todnames changes in place', function ()
	local names = { 'A.b', '.' }
	same(policy.todnames(names), { '\1a\1b\0', '\0' })
	same(names[1], '\1a\1b\0')
	boom(policy.todnames, { { 'a..b' } }, 'a%.%.b')
end)

-- ---- Answer phase ----

test('postrules rewrite and keep EDNS', function (done)
	with_rule(policy.all(policy.DENY_MSG('late')), 'localhost', 'A', CLIENT, function (pkt)
		same({ pkt:rcode(), records(pkt) }, { 3, {} })
		same(records(pkt, 'AUTHORITY'), { soa('localhost.', 10800) })
		same(records(pkt, 'ADDITIONAL'), { 'explanation.invalid. 10800 TXT "late"' })
		same(ede_of(pkt), '15 CR36')
		done()
	end, true)
end)

test('a postrule refuses, drops', function (done)
	with_rule(policy.all(policy.REFUSE), 'localhost', 'A', CLIENT, function (pkt)
		same({ pkt:rcode(), pkt:aa(), records(pkt), ede_of(pkt) }, { 5, false, {}, '18 EIM4' })
		with_rule(policy.all(policy.DROP), 'localhost', 'A', CLIENT, function (pkt2)
			same({ pkt2:rcode(), pkt2:aa(), records(pkt2), ede_of(pkt2) }, { 2, false, {}, '18 U5KL' })
			done()
		end, true)
	end, true)
end)

test('a postrule that keeps silent', function (done)
	with_rule(policy.all(policy.NO_ANSWER), 'localhost', 'A', CLIENT, function (pkt, req)
		same({ req.options.NO_ANSWER, req.state }, { true, kres.FAIL })
		done(pkt)
	end, true)
end)

-- ---- Response policy zones ----

local function write(path, text)
	local file = io.open(path, 'w')
	file:write(text)
	file:close()
end

local RPZ = [[
$ORIGIN rpz.example.
$TTL 600
@ SOA ns.invalid. admin.invalid. 1 2 3 4 5
@ NS ns.invalid.
Denied.example CNAME .
*.denied.example CNAME .
nodata.example CNAME *.
pass.example CNAME rpz-passthru.
drop.example CNAME rpz-drop.
tcp.example CNAME rpz-tcp-only.
data.example 60 A 192.0.2.1
data.example 30 A 192.0.2.2
data.example TXT "text"
custom.example CNAME elsewhere.example.
both.example CNAME rpz-drop.
both.example A 192.0.2.3
many.example CNAME rpz-drop.
many.example CNAME rpz-passthru.
bad.example DS 1 8 2 00
@ SOA ns.invalid. admin.invalid. 1 2 3 4 5
sub NS ns.invalid.
outside.test. A 192.0.2.9
*.wild.example A 192.0.2.4
]]

--- Name of the action that a filter finds, by identity or by what the client sees.
test('RPZ: every right-hand side', function (done)
	write('list.rpz', RPZ)
	local filter = policy.rpz(policy.DENY, 'list.rpz', false)
	local function action(name)
		local wire = todname(name)
		return filter(nil, { name = function () return wire end })
	end
	same({ action('denied.example'), action('x.y.DENIED.example') }, { policy.DENY, policy.DENY })
	same({ action('pass.example'), action('drop.example'), action('tcp.example') },
		{ policy.PASS, policy.DROP, policy.TC })
	same(action('many.example'), policy.PASS)
	for _, name in ipairs({ 'example', 'x.pass.example', 'bad.example', 'sub', 'outside.test',
			'wild.example', '.' }) do
		same(action(name), nil, name)
	end
	local function see(name, rtype, fn)
		with_rule(filter, name, rtype, CLIENT, fn)
	end
	see('data.example', 'A', function (pkt)
		same(records(pkt), { 'data.example. 30 A 192.0.2.1', 'data.example. 30 A 192.0.2.2' })
		same(ede_of(pkt), '4 5DO5')
		see('data.example', 'AAAA', function (pkt2)
			same({ pkt2:rcode(), records(pkt2), records(pkt2, 'AUTHORITY') }, { 0, {}, { soa('data.example.', 1) } })
			see('nodata.example', 'A', function (pkt3)
				same({ pkt3:rcode(), records(pkt3), ede_of(pkt3) }, { 0, {}, '4 5DO5' })
				see('a.b.wild.example', 'A', function (pkt4)
					same(records(pkt4), { 'a.b.wild.example. 600 A 192.0.2.4' })
					see('both.example', 'A', function (pkt5)
						same(records(pkt5), { 'both.example. 600 A 192.0.2.3' })
						done()
					end)
				end)
			end)
		end)
	end)
end)

test('RPZ: a broken record does not hide those after it', function ()
	write('broken.rpz', 'a.example CNAME .\nb.example A nonsense\nc.example CNAME .\n')
	local filter = policy.rpz('yes', 'broken.rpz', false)
	check(matches(filter, 'a.example'))
	check(not matches(filter, 'b.example'))
	check(matches(filter, 'c.example'))
end)

test('RPZ: an origin in the middle of a label is outside', function ()
	write('label.rpz', '$ORIGIN zone.\n@ SOA a. b. 1 2 3 4 5\nx.thezone. CNAME .\ny CNAME .\n')
	local filter = policy.rpz('yes', 'label.rpz', false)
	check(matches(filter, 'y'))
	check(not matches(filter, 'x'))
end)

test('RPZ: the root wildcard', function ()
	write('root.rpz', '$ORIGIN z.\n@ SOA a. b. 1 2 3 4 5\n* CNAME .\n')
	local filter = policy.rpz('yes', 'root.rpz', false)
	check(matches(filter, 'com'))
	check(matches(filter, 'a.b.c'))
	check(not matches(filter, '.'))
end)

test('RPZ: a file that is not there', function ()
	boom(policy.rpz, { policy.DENY, 'nosuch.rpz' }, 'failed to parse "nosuch.rpz"')
	boom(policy.rpz, { policy.DENY }, '')
end)

test('RPZ: changes of the file are noticed', function (done)
	write('watched.rpz', 'a.example CNAME .\n')
	local filter = policy.rpz('yes', 'watched.rpz', true)
	check(matches(filter, 'a.example'))
	local tries = 0
	local function later(fn, is_done)
		event.after(100, guard(function ()
			tries = tries + 1
			if is_done() then tries = 0; return fn() end
			check(tries < 60, 'the change was not noticed')
			later(fn, is_done)
		end))
	end
	event.after(50, guard(function ()
		write('watched.rpz', 'b.example CNAME .\n')
		later(function ()
			check(not matches(filter, 'a.example'))
			write('fresh.rpz', 'c.example CNAME .\n')
			os.rename('fresh.rpz', 'watched.rpz')
			later(function ()
				os.remove('watched.rpz')
				event.after(300, guard(function ()
					check(matches(filter, 'c.example')) -- the old rules stay
					write('watched.rpz', 'd.example CNAME .\n')
					later(done, function () return matches(filter, 'd.example') end)
				end))
			end, function () return matches(filter, 'c.example') end)
		end, function () return matches(filter, 'b.example') end)
	end))
end)

-- ---- Special names ----

local LOCAL_ZONES_URL = 'https://www.iana.org/assignments/locally-served-dns-zones/locally-served-dns-zones.xhtml'
local SPECIAL_URL = 'https://www.iana.org/assignments/special-use-domain-names/special-use-domain-names.xhtml'

for name, url in pairs({
	['1.10.in-addr.arpa'] = LOCAL_ZONES_URL, ['16.172.in-addr.arpa'] = LOCAL_ZONES_URL,
	['x.31.172.in-addr.arpa'] = LOCAL_ZONES_URL, ['127.100.in-addr.arpa'] = LOCAL_ZONES_URL,
	['8.b.d.0.1.0.0.2.ip6.arpa'] = LOCAL_ZONES_URL, ['x.Home.arpa'] = LOCAL_ZONES_URL,
	[('0.'):rep(32) .. 'ip6.arpa'] = LOCAL_ZONES_URL, ['b.e.f.ip6.arpa'] = LOCAL_ZONES_URL,
	['test'] = SPECIAL_URL, ['a.b.onion'] = SPECIAL_URL, ['x.invalid'] = SPECIAL_URL, ['my.local'] = SPECIAL_URL,
}) do
	test('special name ' .. name, function (done)
		ask(name, 'PTR', function (pkt)
			local owner = name:lower() .. '.'
			same({ pkt:rcode(), pkt:aa(), pkt:ad(), ede_of(pkt) }, { 3, true, false, '21 CR36' })
			same(records(pkt, 'AUTHORITY'), { soa(owner, 10800) })
			local text = records(pkt, 'ADDITIONAL')
			same(#text, 1)
			check(text[1]:find('explanation.invalid. 10800 TXT "', 1, true) == 1)
			check(text[1]:find(url, 1, true), text[1])
			done()
		end, CLIENT)
	end)
end

local V6 = '1.' .. ('0.'):rep(31) .. 'ip6.arpa.'
local LOCALHOST_SOA = soa('localhost.', 10800)
local REVERSE_SOA = soa('127.in-addr.arpa.', 10800, 'localhost.')
for _, case in ipairs({
	{ 'localhost', 'A', 0, { 'localhost. 900 A 127.0.0.1' } },
	{ 'A.Localhost', 'AAAA', 0, { 'a.localhost. 900 AAAA ::1' } },
	{ 'localhost', 'SOA', 0, { LOCALHOST_SOA } },
	{ 'localhost', 'NS', 0, { 'localhost. 900 NS localhost.' } },
	{ 'localhost', 'MX', 0, {}, LOCALHOST_SOA },
	{ 'x.localhost', 'NS', 0, {}, LOCALHOST_SOA },
	{ '1.0.0.127.in-addr.arpa', 'PTR', 0, { '1.0.0.127.in-addr.arpa. 900 PTR localhost.' } },
	{ '1.0.0.127.in-addr.arpa', 'TXT', 0, {}, REVERSE_SOA },
	{ '127.in-addr.arpa', 'SOA', 0, { REVERSE_SOA } },
	{ '127.in-addr.arpa', 'NS', 0, { '127.in-addr.arpa. 900 NS localhost.' } },
	{ '0.0.127.in-addr.arpa', 'PTR', 0, {}, REVERSE_SOA },
	{ '0.127.in-addr.arpa', 'A', 0, {}, REVERSE_SOA },
	{ '2.0.0.127.in-addr.arpa', 'PTR', 3, {}, REVERSE_SOA },
	{ V6, 'PTR', 0, { V6 .. ' 900 PTR localhost.' } },
	{ V6, 'A', 0, {}, soa(V6, 10800, 'localhost.') },
	{ 'x.' .. V6, 'PTR', 3, {}, soa(V6, 10800, 'localhost.') },
}) do
	local name, rtype, rcode, answer, authority = unpack(case)
	test('local name ' .. name .. ' ' .. rtype, function (done)
		ask(name, rtype, function (pkt)
			same({ pkt:rcode(), pkt:aa(), ede_of(pkt) }, { rcode, true, nil })
			same(records(pkt), answer)
			same(records(pkt, 'AUTHORITY'), authority and { authority } or {})
			done()
		end, CLIENT)
	end)
end
