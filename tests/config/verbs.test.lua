-- SPDX-License-Identifier: GPL-3.0-or-later
-- The longer verbs of requests: reply, add_answer, elapsed_ms.
local NAME = 'www.example.net'

local function with(hook, fn, after, name)
	return function (done)
		serve({ [NAME .. ' A'] = { '192.0.2.1' } })
		package.loaded['kres_modules.mod_verbs'] = { layer = { [hook] = guard(function (state, req, pkt)
			if req.qsource.addr == nil then return state end
			return fn(state, req, pkt)
		end) } }
		modules.load('mod_verbs' .. (hook == 'consume' and ' < iterate' or ''))
		ask(name or NAME, 'A', function (pkt, req)
			modules.unload('mod_verbs')
			after(pkt, req)
			done()
		end, { addr = '192.0.2.99' })
	end
end

local function soa()
	local data = kres.parse_rdata({ 'SOA . . 1 2 3 4 5' })[1]
	return { owner = todname('example.net'), ttl = 9, type = kres.type.SOA, rdata = data }
end

for hook, name in pairs({ begin = NAME, produce = 'new.example.net', consume = NAME }) do
	test('reply in ' .. hook, with(hook, function (_, req)
		local set = kres.rrset(todname(name), kres.type.A, kres.class.IN, 7)
		set:add_rdata('\1\2\3\4', 4)
		set:add_rdata('\1\2\3\5', 4)
		return req:reply({ aa = true, answer = { set }, authority = { soa() }, ede = 17, ede_text = 'made up' })
	end, function (pkt)
		same(records(pkt), { name .. '. 7 A 1.2.3.4', name .. '. 7 A 1.2.3.5' })
		same({ pkt:rcode(), pkt:aa(), pkt:nscount(), ede_of(pkt) }, { 0, true, 1, '17 made up' })
	end, name))
end

test('reply with a code only', with('begin', function (_, req)
	return req:reply({ rcode = kres.rcode.REFUSED })
end, function (pkt)
	same({ pkt:rcode(), pkt:ancount(), pkt:aa() }, { kres.rcode.REFUSED, 0, false })
	check(pkt.opt_rr ~= nil)
end))

test('a reply that does not fit is truncated', with('begin', function (_, req)
	local many = {}
	for i = 1, 4000 do
		many[i] = { owner = todname(NAME), ttl = 1, type = kres.type.TXT, rdata = '\20' .. ('%020d'):format(i) }
	end
	return req:reply({ answer = many })
end, function (pkt)
	check(pkt:tc())
end))

test('records are added to what was found', with('answer_finalize', function (state, req)
	local set = kres.rrset(todname(NAME), kres.type.TXT, kres.class.IN, 7)
	set:add_rdata('\1x', 2)
	same(req:add_answer(set), true)
	boom(req.add_answer, { req, kres.rrset(todname(NAME), kres.type.TXT) }, 'RRset with records')
	boom(req.add_answer, { req, 5 })
	return state
end, function (pkt)
	same(records(pkt), { NAME .. '. 100 A 192.0.2.1', NAME .. '. 7 TXT "x"' })
end))

test('time', with('finish', function (state, req)
	local ms = req:elapsed_ms()
	check(ms >= 0 and ms < 10000)
	return state
end, function (pkt) check(pkt) end))
