-- SPDX-License-Identifier: GPL-3.0-or-later
-- Requests, queries and hooks as an extension sees them: the walks, their states, the ways to answer.
local ffi = require('ffi')
local C = ffi.C
local NAME = 'www.example.net'

--- Load a module with these hooks until the test is over. Errors in them end the test.
local function with_hooks(name, layer, where)
	local guarded = {}
	for hook, fn in pairs(layer) do guarded[hook] = guard(fn) end
	package.loaded['kres_modules.' .. name] = { layer = guarded }
	modules.load(name .. (where or ''))
end

--- A test with hooks, whose question is answered by test_zone; fn(answer, request, done) at the end.
local function request_test(title, layer, fn, where)
	test(title, function (done)
		serve({ [NAME .. ' A'] = { '192.0.2.1', '192.0.2.2' }, ['other.example.net AAAA'] = { '2001:db8::1' } })
		with_hooks('mod_request', type(layer) == 'function' and layer() or layer, where)
		ask(NAME, 'A', function (pkt, req)
			modules.unload('mod_request')
			fn(pkt, req, done)
		end, { addr = '192.0.2.99' })
	end)
end

local function is_ours(req)
	return req:initial() ~= nil and req:initial():name() == todname(NAME)
end

local calls = {}
request_test('hooks come in order and with their arguments', function ()
	-- covers: hook.begin hook.produce hook.consume hook.reset hook.answer_finalize hook.finish module.layer
	-- covers: walk.current_query idiom.request_as_key
	local layer = {}
	for _, hook in ipairs({ 'begin', 'produce', 'consume', 'reset', 'answer_finalize', 'finish' }) do
		layer[hook] = function (state, req, pkt, extra)
			if not is_ours(req) then return end
			calls[#calls + 1] = { hook = hook, state = state, has_pkt = pkt ~= nil and pkt or false,
				has_query = req:current() ~= nil, key = tostring(req) }
			same(extra, nil)
			same(req.state, state)
			check(ffi.istype('struct kr_request', req))
			if pkt ~= nil then check(ffi.istype('knot_pkt_t', pkt)) end
		end
	end
	return layer
end, function (_, req, done)
	local names = {}
	for i, call in ipairs(calls) do
		names[i] = call.hook .. ' ' .. call.state .. (call.has_query and ' q' or '') .. (call.has_pkt and ' p' or '')
		same(call.key, tostring(req))
	end
	same(names, { 'begin 2 q', 'produce 4 q p', 'consume 4 q p', 'reset 2 q', 'answer_finalize 4', 'finish 4 p' })
	done()
end)

request_test('methods of a request in begin', { begin = function (state, req)
	-- covers: req:current req:initial req:last req:resolved req:first_resolved req:vars qry:name
	if not is_ours(req) then return state end
	local qry = req:current()
	same(qry:name(), todname(NAME))
	check(req:initial() == qry and req:last() == qry)
	same({ req:resolved(), req:first_resolved() }, {})
	req:vars().here = 'yes'
	check(req:vars() == req:vars())
	same({ tostring(req.qsource.addr), qry.stype, qry.sclass }, { '192.0.2.99#12345', 1, 1 })
	return state
end, finish = function (state, req)
	if not is_ours(req) then return state end
	same(req:current(), nil)
	check(req:resolved() == req:initial() and req:first_resolved() == req:initial())
	check(req:last() == req:initial())
	same(req:vars().here, 'yes')
end }, function (_, _, done) done() end)

request_test('selected records', { consume = function (state, req)
	-- covers: array:# array:ipairs array:get array:tostring entry:tostring req:selected_tostring
	local array = req.answ_selected
	if not is_ours(req) or #array == 0 then return state end
	same(#array, 1)
	local n = 0
	for i, entry in ipairs(array) do
		same(i, n)
		n = n + 1
		same(entry.rr:rdcount(), 2)
		match(tostring(entry), '^; ranked rrset to_wire true, rank 0%d%d %(.-omit%), cached %a+, qry_uid %d+, '
			.. 'revalidations 0\nwww%.example%.net%.')
	end
	same(n, 1)
	check(array:get(0).rr == array.at[0].rr)
	same({ array:get(1), array:get(-1) }, {})
	match(tostring(array), 'ranked rrset')
	match(req:selected_tostring(), '^;; selected from ANSW')
	return state
end }, function (_, _, done) done() end)

request_test('an extended error', { begin = function (state, req)
	-- covers: req:set_extended_error lifetime.strings_copied
	req:set_extended_error(kres.extended_error.OTHER, 'first' .. ('!'):rep(3))
	same(req.extended_error.info_code, 0)
	req:set_extended_error(kres.extended_error.FILTERED, 'FILT: second')
	collectgarbage()
	req:set_extended_error(kres.extended_error.STALE, 'weaker')
	same(ffi.string(req.extended_error.extra_text), 'FILT: second')
	req:set_extended_error(kres.extended_error.NONE)
	same(req.extended_error.info_code, -1)
	req:set_extended_error(49152, 'private use')
	same(req.extended_error.info_code, 49152)
	return state
end }, function (pkt, _, done)
	same(ede_of(pkt), '49152 private use')
	done()
end)

local order = {}
request_test('A: the answer from begin', { begin = function (state, req)
	-- covers: answer.A_begin req:ensure_answer req:ensure_edns state.begin_done idiom.responder
	if not is_ours(req) then return state end
	local answer = req:ensure_answer()
	check(answer ~= nil and answer == req.answer)
	check(req:ensure_edns() ~= nil)
	C.kr_pkt_make_auth_header(answer)
	answer:rcode(kres.rcode.NOTIMPL)
	return kres.DONE
end, finish = function (_, req) if is_ours(req) then order[#order + 1] = 'finish' end end }, function (pkt, _, done)
	same({ pkt:rcode(), pkt:aa(), pkt:ancount() }, { kres.rcode.NOTIMPL, true, 0 })
	check(pkt.opt_rr ~= nil)
	same(order, { 'finish' })
	done()
end)

request_test('B: the response from produce', { produce = function (state, req, pkt)
	-- covers: answer.B_produce qry:write
	local qry = req:current()
	if not is_ours(req) then return state end
	check(qry:write(pkt))
	match(todname(NAME), pkt:qname() .. '$') -- minimised
	check(pkt:id() == qry.id and pkt:recycle() and pkt:id() == qry.id)
	check(pkt:question(qry:name(), qry.sclass, qry.stype))
	pkt:qr(true)
	pkt:aa(true)
	pkt:begin(kres.section.ANSWER)
	pkt:put(qry:name(), 77, qry.sclass, qry.stype, '\10\0\0\1')
	pkt.parsed = pkt.size
	qry.flags.CACHED, qry.flags.NO_MINIMIZE, qry.flags.DNSSEC_WANT = true, 1, 0
	return kres.DONE
end }, function (pkt, req, done)
	-- covers: req:all_from_cache
	same(records(pkt), { NAME .. '. 77 A 10.0.0.1' })
	same(req:all_from_cache(), true)
	done()
end, ' > iterate')

test('C: the answer from produce', function (done)
	-- covers: answer.C_produce_resolved
	with_hooks('mod_request', { produce = function (state, req)
		if req.qsource.addr == nil then return state end
		local answer = req:ensure_answer()
		answer:rcode(kres.rcode.REFUSED)
		req:current().flags.RESOLVED = true
		return kres.DONE
	end })
	ask('c.example.net', 'A', function (pkt)
		modules.unload('mod_request')
		same({ pkt:rcode(), pkt:ancount() }, { kres.rcode.REFUSED, 0 })
		done()
	end, { addr = '192.0.2.99' })
end)

request_test('D: records among the selected ones', { consume = function (state, req)
	-- covers: answer.D_selected
	local qry = req:current()
	if not is_ours(req) or not qry.flags.RESOLVED then return state end
	req.answ_selected:get(0).to_wire = false
	local rr = ffi.gc(kres.rrset(nil, kres.type.A, kres.class.IN, 33), nil)
	rr._owner = C.knot_dname_copy(qry.sname, req.pool)
	same(C.knot_rrset_add_rdata(rr, '\1\2\3\4', 4, req.pool), 0)
	check(C.kr_ranked_rrarray_add(req.answ_selected, rr, C.KR_RANK_OMIT, true, qry.uid + 1000, req.pool) >= 0)
	same(C.kr_ranked_rrarray_finalize(req.answ_selected, qry.uid + 1000, req.pool), 0)
	return state
end }, function (pkt, _, done)
	same(records(pkt), { NAME .. '. 33 A 1.2.3.4' })
	done()
end)

request_test('E: a response is rejected in consume', { consume = function (state, req)
	-- covers: answer.E_consume
	if not is_ours(req) then return state end
	local qry = req:current()
	qry.flags.RESOLVED, qry.flags.CACHED = true, true
	req.answ_selected.len, req.auth_selected.len, req.add_selected.len = 0, 0, 0
	local answer = req:ensure_answer()
	answer:clear_payload()
	req:ensure_edns()
	answer:rcode(kres.rcode.REFUSED)
	return kres.DONE
end }, function (pkt, _, done)
	same({ pkt:rcode(), pkt:ancount() }, { kres.rcode.REFUSED, 0 })
	done()
end)

request_test('F: the answer is rewritten in finish', { finish = function (_, req, answer)
	-- covers: answer.F_finish idiom.rewrite_in_finish
	if not is_ours(req) then return end
	local qname, qclass, qtype, id = answer:qname(), answer:qclass(), answer:qtype(), answer:id()
	check(answer:clear_payload())
	check(answer:recycle())
	answer:question(qname, qclass, qtype)
	answer:begin(kres.section.ANSWER)
	answer:put(qname, 5, qclass, qtype, '\5\5\5\5')
	same(answer:id(), id)
end }, function (pkt, _, done)
	same(records(pkt), { NAME .. '. 5 A 5.5.5.5' })
	same(pkt:rcode(), 0)
	done()
end)

request_test('FAIL from begin', { begin = function (_, req)
	-- covers: state.begin_fail
	return is_ours(req) and kres.FAIL or nil
end }, function (pkt, _, done)
	same(pkt:rcode(), kres.rcode.SERVFAIL)
	done()
end)

request_test('FAIL from produce', { produce = function (_, req)
	-- covers: state.produce_fail
	return is_ours(req) and kres.FAIL or nil
end }, function (pkt, _, done)
	same(pkt:rcode(), kres.rcode.SERVFAIL)
	done()
end)

request_test('silence', { begin = function (_, req)
	-- covers: null.is_cdata
	if not is_ours(req) then return nil end
	req.options.NO_ANSWER = true
	return kres.FAIL
end, finish = function (_, req, answer)
	if not is_ours(req) then return nil end
	check(answer == nil and req.answer == nil)
	same(type(answer), 'cdata')
end }, function (pkt, _, done)
	check(pkt == nil)
	done()
end)

test('a walk goes on after DONE, in order; nil keeps the state; Lua sees no FAIL', function (done)
	-- covers: walk.order walk.no_early_stop walk.nil_keeps_state walk.skips_lua_on_fail
	local seen = {}
	local function note(name, result)
		return function (state, req)
			if is_ours(req) then seen[#seen + 1] = name .. ' ' .. state end
			return is_ours(req) and result or nil
		end
	end
	serve({})
	with_hooks('walk_a', { begin = note('a', kres.DONE), produce = note('a') }, ' > test_zone')
	with_hooks('walk_b', { begin = note('b') }, ' > walk_a')
	with_hooks('walk_c', { begin = note('c', kres.PRODUCE) }, ' > walk_b')
	with_hooks('walk_d', { begin = note('d'), produce = note('d', kres.FAIL) }, ' > walk_c')
	with_hooks('walk_e', { produce = note('e'), finish = note('e') }, ' > walk_d')
	ask(NAME, 'A', function (pkt)
		same(seen, { 'a 2', 'b 4', 'c 4', 'd 2', 'a 1', 'd 1', 'e 8' })
		same(pkt:rcode(), kres.rcode.SERVFAIL)
		for c in ('abcde'):gmatch('.') do modules.unload('walk_' .. c) end
		done()
	end)
end)

local resumed = {}
request_test('a hook yields for a sub-query, twice', { consume = function (state, req, pkt)
	-- covers: state.yield state.yield_again req:push plan.stack plan.options_inherited plan.parent_records
	-- covers: idiom.subquery_with_flags
	local qry = req:current()
	if not is_ours(req) then return state end
	if qry.parent ~= nil then
		same(qry.parent:name(), todname(NAME))
		same(qry.flags.NO_CACHE, true)
		same(qry.flags.DNS64_MARK, true)
		resumed[#resumed + 1] = 'sub'
		return state
	end
	if #resumed == 0 or #resumed == 2 then
		same(state, #resumed == 0 and kres.DONE or kres.YIELD)
		req.options.NO_CACHE = true
		local sub = req:push(todname('other.example.net'), kres.type.AAAA, kres.class.IN, { 'AWAIT_CUT', 'DNS64_MARK' }, qry)
		check(sub ~= nil and req:last() == sub)
		same(tonumber(req.rplan.pending.len), 2)
		resumed[#resumed + 1] = 'yield'
		return kres.YIELD
	end
	same(state, kres.YIELD)
	same(pkt:qname(), todname(NAME))
	same(pkt:ancount(), 2)
	resumed[#resumed + 1] = 'again'
	return kres.DONE
end }, function (pkt, req, done)
	same(resumed, { 'yield', 'sub', 'yield', 'sub', 'again' })
	same(#records(pkt), 2) -- records of sub-queries are not for the client
	same(tonumber(req.rplan.resolved.len), 3)
	done()
end)

request_test('a query is taken off the plan', { begin = function (state, req)
	-- covers: req:pop
	if not is_ours(req) then return state end
	local qry = req:push(todname('popped.example'), kres.type.A, kres.class.IN)
	same(tonumber(req.rplan.pending.len), 2)
	same(req:pop(qry), 0)
	same(tonumber(req.rplan.pending.len), 1)
	check(req:resolved() == qry)
	boom(req.push, { req, 'not wire', 1, 1 }, 'wire format')
	return state
end }, function (_, _, done) done() end)

local traced = { lines = 0, finishes = 0, errors = 0 }
request_test('traces are chained', { begin = function (state, req)
	-- covers: req:trace_chain_callbacks
	if not is_ours(req) then return state end
	local as_cast = ffi.cast('trace_log_f', function (_, text)
		jit.off(true, true)
		traced.lines = traced.lines + #ffi.string(text)
	end)
	req:trace_chain_callbacks(as_cast, nil)
	req:trace_chain_callbacks(function () traced.errors = traced.errors + 1; error('as the test wants') end, function (r)
		traced.finishes = traced.finishes + 1
		check(r == req)
	end)
	event.after(100, function () as_cast:free() end)
	return state
end }, function (_, _, done)
	check(traced.lines > 10 and traced.errors > 0)
	event.after(0, guard(function ()
		same(traced.finishes, 1)
		done()
	end))
end)

test('checkout: what leaves for a server', function (done)
	-- covers: hook.checkout idiom.fallback_forwarding
	local seen = {}
	with_hooks('mod_checkout', { begin = function (state, req)
		local qry = req:current()
		for _, set in ipairs({ req.options, qry.flags }) do set.FORWARD, set.NO_MINIMIZE = true, true end
		qry.flags.ALWAYS_CUT, qry.flags.AWAIT_CUT, qry.flags.STUB = false, false, true
		req.selection_context.forwarding_targets.len, req.count_fail_row = 0, 0
		for _, target in ipairs({ '127.0.0.1', '::1' }) do
			local sa = C.kr_straddr_socket(target, 9, req.pool)
			same(C.kr_forward_add_target(req, sa), 0)
		end
		C.kr_server_selection_init(qry)
		return state
	end, checkout = function (state, req, pkt, dst, is_stream)
		seen[#seen + 1] = { tostring(dst), is_stream, pkt:qname() }
		same({ type(is_stream), pkt:qr(), state }, { 'boolean', false, kres.CONSUME })
		check(req:current() ~= nil)
		return kres.FAIL
	end })
	ask('forward.example.org', 'A', function (pkt)
		modules.unload('mod_checkout')
		same(#seen, 1)
		match(seen[1][1], '#00009$')
		same(pkt:rcode(), kres.rcode.SERVFAIL)
		done()
	end)
end)

test('life of a module', function ()
	-- covers: module.init module.deinit module.config module.global
	local told = {}
	package.loaded['kres_modules.mod_life'] = {
		init = function (m)
			check(ffi.istype('struct kr_module', m))
			told[#told + 1] = 'init ' .. ffi.string(m.name)
			check(_G.mod_life)
		end,
		config = function (...) told[#told + 1] = 'config ' .. select('#', ...) .. ' ' .. tostring((...)) end,
		deinit = function () told[#told + 1] = 'deinit' end,
	}
	modules = { mod_life = 5 }
	mod_life.config(6)
	mod_life.config = function () told[#told + 1] = 'replaced' end
	mod_life = nil -- luacheck: ignore
	modules.unload('mod_life')
	same(told, { 'init mod_life', 'config 1 5', 'config 1 6', 'deinit' })
end)

request_test('states that are none fail the request', { begin = function (state, req)
	-- covers: state.invalid
	return is_ours(req) and 99 or state
end }, function (pkt, _, done)
	same(pkt:rcode(), kres.rcode.SERVFAIL)
	done()
end)
