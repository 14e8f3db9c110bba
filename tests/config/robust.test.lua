-- SPDX-License-Identifier: GPL-3.0-or-later
-- F-33: whatever goes wrong in a hook or a timer, it costs that request and nothing else: no memory, no place on
-- the Lua stack (which would be full after some thousand errors), no other module. ROBUST_REQUESTS sets how many
-- requests each pair of hook and error gets.
local ffi = require('ffi')
local COUNT = tonumber(env.ROBUST_REQUESTS) or 150
local SLOW = { ['stack overflow'] = true, ['out of memory'] = true }

local errors = {
	['error()'] = function () error('mischief') end,
	['error with a table'] = function () error(setmetatable({}, { __tostring = function () error('twice') end })) end,
	['nil index'] = function () return no_such_global.y end,
	['FFI type error'] = function () return ffi.C.knot_dname_size({}) end,
	['stack overflow'] = function () local function f() return 1 + f() end; return f() end,
	['out of memory'] = function () return ('x'):rep(2 ^ 34) end,
	['yielding'] = function () coroutine.yield(4) end,
	['wrong type'] = function () return {} end,
	['a boolean'] = function () return false end,
	['number out of range'] = function () return 2 ^ 40 end,
}

local ZONE = { ['www.example.net A'] = { '192.0.2.1' } }
local SERVFAIL_AFTER = { begin = true, produce = true, checkout = true, answer_finalize = true, finish = false }

--- Ask COUNT times, then call fn(list of answers' codes).
local function ask_often(name, count, fn)
	local codes, left = {}, count
	local function again()
		for _ = 1, math.min(50, left) do
			left = left - 1
			resolve(name, kres.type.A, kres.class.IN, {}, function (pkt)
				local code = pkt and pkt:rcode() or 'dropped'
				codes[code] = (codes[code] or 0) + 1
				codes.n = (codes.n or 0) + 1
			end)
		end
		if left > 0 or codes.n ~= count then return event.after(1, guard(again)) end
		fn(codes)
	end
	again()
end

local function provide(hook, deed, how)
	local layer = { on_error = how, [hook] = function (_, req)
		local first = req:initial()
		if first and first:name():find('\7example', 1, true) then return deed() end
	end }
	if hook == 'checkout' then
		layer.begin = function (state, req)
			local qry = req:current()
			qry.flags.STUB, qry.flags.ALWAYS_CUT = true, false
			ffi.C.kr_forward_add_target(req, ffi.C.kr_straddr_socket('127.0.0.1', 9, req.pool))
			return state
		end
	end
	package.loaded['kres_modules.mod_bad'] = { layer = layer }
	modules.load('mod_bad')
end

for hook in ('begin produce consume reset answer_finalize finish checkout'):gmatch('%S+') do
	for what, deed in pairs(errors) do
		test(hook .. ': ' .. what, function (done)
			serve(ZONE)
			provide(hook, deed)
			local count = SLOW[what] and 5 or COUNT
			ask_often(hook == 'checkout' and 'far.example.org' or 'www.example.net', count, guard(function (codes)
				same(codes.n, count)
				if SERVFAIL_AFTER[hook] then same(codes[kres.rcode.SERVFAIL], count) end
				check(modules.errors().mod_bad >= count, hook)
				modules.unload('mod_bad')
				ask_often('www.example.net', 1, guard(function (after)
					same(after[kres.rcode.NOERROR], 1)
					done()
				end))
			end))
		end)
	end
end

test('timer: all of them', function (done)
	for _, deed in pairs(errors) do
		for _ = 1, 10 do event.after(0, deed) end
	end
	event.after(50, done)
end)

for hook in ('begin produce consume reset answer_finalize finish'):gmatch('%S+') do
	test('a module that only watches does no harm in ' .. hook, function (done)
		serve(ZONE)
		provide(hook, errors['nil index'], 'skip')
		ask_often('www.example.net', 20, guard(function (codes)
			same(codes, { [kres.rcode.NOERROR] = 20, n = 20 })
			same(modules.errors().mod_bad >= 20, true)
			modules.unload('mod_bad')
			done()
		end))
	end)
end

test('a module that is always wrong is switched off, if it says so', function (done)
	serve(ZONE)
	local calls = 0
	package.loaded['kres_modules.mod_bad'] = { layer = { on_error = 'skip', max_errors = 10, finish = function ()
		calls = calls + 1
		error('always')
	end } }
	modules.load('mod_bad')
	ask_often('www.example.net', 30, guard(function (codes)
		same(codes[kres.rcode.NOERROR], 30)
		same(calls, 10)
		modules.unload('mod_bad')
		done()
	end))
end)

test('what on_error may be', function ()
	package.loaded['kres_modules.mod_bad'] = { layer = { on_error = 'panic' } }
	boom(modules.load, { 'mod_bad' }, 'ERROR: ')
	package.loaded['kres_modules.mod_bad'] = { layer = { max_errors = -1 } }
	boom(modules.load, { 'mod_bad' }, 'ERROR: ')
end)

test('hooks that see failures', function (done)
	local seen = {}
	package.loaded['kres_modules.mod_fails'] = { layer = { begin = function () return nil end,
		produce = function () return kres.FAIL end } }
	package.loaded['kres_modules.mod_sees'] = { layer = { sees_failures = true, produce = function (state)
		seen[#seen + 1] = state
		return state
	end } }
	package.loaded['kres_modules.mod_sees_not'] = { layer = { produce = function (state)
		seen[#seen + 1] = 'not ' .. state
		return state
	end } }
	modules = { 'mod_fails', 'mod_sees', 'mod_sees_not' }
	ask_often('www.example.net', 1, guard(function (codes)
		same(codes[kres.rcode.SERVFAIL], 1)
		same(seen, { kres.FAIL })
		for _, name in ipairs({ 'mod_fails', 'mod_sees', 'mod_sees_not' }) do modules.unload(name) end
		done()
	end))
end)

test('modules come and go while hooks run', function (done)
	serve(ZONE)
	local function provide_all()
		for i = 1, 4 do
			package.loaded['kres_modules.mod_go' .. i] = { layer = { finish = function () end, begin = function () end } }
			modules.load('mod_go' .. i)
		end
	end
	package.loaded['kres_modules.mod_goes'] = { layer = { begin = function (state, req)
		if req.qsource.addr ~= nil then return state end
		for i = 1, 4 do modules.unload('mod_go' .. i) end
		for i = 1, 4 do modules.load('mod_go' .. i) end
		for i = 1, 4 do modules.unload('mod_go' .. i) end
		modules.unload('mod_goes')
		error('gone')
	end } }
	local n = 0
	local function again()
		n = n + 1
		if n == 20 then return done() end
		modules.load('mod_goes > iterate')
		provide_all()
		ask_often('www.example.net', 1, guard(again))
	end
	again()
end)

test('requests that have ended', function (done)
	local kept
	serve(ZONE)
	resolve('www.example.net', kres.type.A, kres.class.IN, {}, guard(function (_, req)
		kept = req
		check(req:initial())
	end))
	event.after(20, guard(function ()
		for _, call in ipairs({ 'current', 'initial', 'last', 'resolved', 'vars', 'ensure_answer', 'selected_tostring' }) do
			boom(function () return kept[call](kept) end, {}, 'has ended')
		end
		same({ kept.state, kept.qsource.addr == nil, kept.answer == nil }, { 0, true, true })
		done()
	end))
end)
