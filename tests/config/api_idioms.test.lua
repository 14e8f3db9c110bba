-- SPDX-License-Identifier: GPL-3.0-or-later
-- Idioms of modules and configurations in the wild, word by word.
local ffi = require('ffi')
local C = ffi.C

test('rules made of functions', function (done)
	-- covers: idiom.policy_function idiom.policy_suffix
	policy = require('kres_modules.policy')
	local seen
	policy.add(function (req, query)
		seen = kres.dname2str(query:name())
		if query.stype ~= kres.type.MX then return nil end
		return function (state, r)
			same(state, kres.PRODUCE)
			r:ensure_answer():rcode(kres.rcode.YXDOMAIN)
			check(r == req)
			return kres.DONE
		end
	end)
	policy.add(policy.suffix(policy.REFUSE, { todname('refused.example') }))
	policy.add(policy.suffix(policy.DENY, policy.todnames({ 'denied.example', 'd2.example' })))
	ask('www.example.org', 'MX', function (pkt)
		same({ pkt:rcode(), seen }, { kres.rcode.YXDOMAIN, 'www.example.org.' })
		ask('a.refused.example', 'A', function (second)
			same(second:rcode(), kres.rcode.REFUSED)
			ask('d2.example', 'A', function (third)
				same(third:rcode(), kres.rcode.NXDOMAIN)
				done()
			end, { addr = '192.0.2.1' })
		end, { addr = '192.0.2.1' })
	end, { addr = '192.0.2.1' })
end)

--- A request whose begin hook is `fn` and which ends there.
local function in_begin(fn, after, hooks)
	local layer = hooks or {}
	layer.begin = guard(function (state, req)
		if req.qsource.addr == nil then return state end
		return fn(state, req) or state
	end)
	package.loaded['kres_modules.mod_idiom'] = { layer = layer }
	modules.load('mod_idiom > iterate')
	ask('idiom.example.org', 'A', function (pkt, req)
		modules.unload('mod_idiom')
		after(pkt, req)
	end, { addr = '10.1.2.3' })
end

local function refuse(req, rcode)
	local answer = req:ensure_answer()
	if answer == nil then return nil end
	answer:rcode(rcode or kres.rcode.REFUSED)
	return kres.DONE
end

test('who asks?', function (done)
	-- covers: idiom.address_match kres.request_t
	local function bits_of(text)
		local bytes = ffi.new('uint8_t[16]')
		return bytes, C.kr_straddr_subnet(bytes, text)
	end
	in_begin(function (_, req)
		req = kres.request_t(req) -- a habit from former days
		local addr = req.qsource.addr
		local subnet, bits = bits_of('10.0.0.0/8')
		same({ bits, addr:family(), C.kr_straddr_family('10.0.0.0/8') }, { 8, 2, 2 })
		same(C.kr_bitcmp(subnet, addr:ip(), bits), 0)
		subnet, bits = bits_of('192.168.0.0/16')
		check(C.kr_bitcmp(subnet, addr:ip(), bits) ~= 0)
		same(C.kr_straddr_subnet(subnet, '10.0.0.0/33') < 0, true)
		return refuse(req)
	end, function (pkt)
		same(pkt:rcode(), kres.rcode.REFUSED)
		done()
	end)
end)

test("another module's verdict is undone", function (done)
	-- covers: idiom.undo_verdict kres.pkt_t
	in_begin(function (_, req)
		req:set_extended_error(kres.extended_error.BLOCKED, 'not this one')
		return refuse(req, kres.rcode.NXDOMAIN)
	end, function (pkt)
		same({ pkt:rcode(), ede_of(pkt) }, { kres.rcode.NOERROR })
		done()
	end, { answer_finalize = guard(function (state, req)
		if req.qsource.addr == nil then return state end
		local answer = kres.pkt_t(req.answer)
		same(answer:rcode(), kres.rcode.NXDOMAIN)
		answer:rcode(kres.rcode.NOERROR)
		req:set_extended_error(kres.extended_error.NONE)
		return state
	end) })
end)

test('queries of a finished request', function (done)
	-- covers: idiom.walk_resolved
	serve({ ['a.example.org A'] = { '192.0.2.1' } })
	local names = {}
	package.loaded['kres_modules.mod_walker'] = { layer = { finish = function (_, req)
		if req.qsource.addr == nil then return nil end
		for i = 0, tonumber(req.rplan.resolved.len) - 1 do
			local qry = req.rplan.resolved.at[i]
			names[#names + 1] = kres.dname2str(qry:name()) .. (qry.flags.EXPIRING == true and ' old' or '')
				.. (qry.flags.CACHED and ' cached' or '')
		end
	end } }
	modules.load('mod_walker')
	ask('a.example.org', 'A', function ()
		modules.unload('mod_walker')
		same(names, { 'a.example.org. cached' })
		done()
	end, { addr = '192.0.2.1' })
end)

test('the cache is filled and cleared by hand', function (done)
	-- covers: idiom.cache_insert idiom.cache_clear_later cache:insert cache:commit
	local owner = todname('by-hand.example.org')
	local set = kres.rrset(owner, kres.type.A, kres.class.IN, 300)
	check(set:add_rdata('\192\0\2\7', 4))
	local store = kres.context().cache
	check(store:insert(set, nil, C.KR_RANK_SECURE + C.KR_RANK_AUTH))
	check(store:commit())
	local chaos = kres.rrset(owner, kres.type.A, kres.class.CH, 300)
	chaos:add_rdata('\192\0\2\7', 4)
	local is_good, err = store:insert(chaos)
	same(is_good, nil)
	check(err.code < 0)
	ask('by-hand.example.org', 'A', function (pkt)
		same(records(pkt), { 'by-hand.example.org. 300 A 192.0.2.7' })
		event.after(0, guard(function ()
			check(cache.clear('by-hand.example.org', true))
			ask('by-hand.example.org', 'A', function (again)
				same(records(again), {})
				done()
			end)
		end))
	end)
end)

test('root hints are replaced', function ()
	-- covers: idiom.root_hints idiom.rdata_pointers
	local hints = kres.context().root_hints
	C.kr_zonecut_set(hints, kres.str2dname('.'))
	check(C.kr_zonecut_is_empty(hints))
	local set = kres.rrset(todname('a.root-servers.net'), kres.type.A)
	set:add_rdata('\198\41\0\4', 4)
	for j = 0, set:rdcount() - 1 do
		local rd = set:rdata_pt(j)
		same({ tonumber(rd.len), rd.data[0] }, { 4, 198 })
		same(C.kr_zonecut_add(hints, set:owner(), rd.data, rd.len), 0)
	end
	check(not C.kr_zonecut_is_empty(hints))
	local name = todname('www.example.com')
	same(name:byte(), 3)
	same(string.find(name, '\7example\3com\0', -13, true), 5)
end)

test('trust anchors as tables', function ()
	-- covers: idiom.keysets
	trust_anchors.add('. IN DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D')
	local keyset = trust_anchors.keysets['\0']
	check(#keyset >= 1)
	local is_there = false
	for _, key in ipairs(keyset) do
		same(type(key.rdata), 'string')
		is_there = is_there or key.key_tag == 20326
		check(key.state)
	end
	check(is_there)
	check(C.kr_ta_get(kres.context().trust_anchors, '\0') ~= nil)
end)

test('globals without require', function ()
	-- covers: idiom.globals
	local names = [[kres policy todname resolve log_error log_warn log_notice log_info log_debug panic bit jit event
		worker cache net modules trust_anchors user hostname verbose env tojson fromjson table_print]]
	for name in names:gmatch('%S+') do check(_G[name], name) end
	check(require('kres') == kres and todname == kres.str2dname)
	same(type(bit.band), 'function')
end)

test('zone files piece by piece', function ()
	-- covers: zonefile:open zonefile:parse zonefile:current_comment zonefile:strerr zonefile:current_rr
	local z = require('zonefile')
	local file = io.open('some.zone', 'w')
	file:write('$ORIGIN example.\n$TTL 9\n@ NS ns ; the server\nns A 192.0.2.1\nbad A x\nlast A 192.0.2.2\n')
	file:close()
	local parser = z.new()
	same(parser:open('some.zone'), true)
	same({ parser:parse(), parser:current_comment(), parser:current_rr().type }, { true, ' the server', kres.type.NS })
	same({ parser:parse(), parser:current_rr().owner, parser:current_rr().ttl }, { true, todname('ns.example'), 9 })
	local is_good, err = parser:parse()
	same({ is_good, err }, { false, parser:strerr() })
	check(#err > 0)
	is_good, err = z.new():open('no.such.zone')
	same({ is_good, type(err) }, { false, 'string' })
end)

test('records of an answer one by one', function ()
	-- covers: pkt:ipairs
	local pkt = kres.packet(512)
	pkt:question(todname('x.example'), kres.class.IN, kres.type.A)
	pkt:begin(kres.section.ANSWER)
	for i = 1, 3 do pkt:put(pkt:qname(), 60, kres.class.IN, kres.type.A, '\1\2\3' .. string.char(i)) end
	local seen = {}
	for i, rr in ipairs(pkt) do seen[i] = rr.rdata:byte(4) end
	same(seen, { 1, 2, 3 })
end)
