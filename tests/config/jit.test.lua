-- SPDX-License-Identifier: GPL-3.0-or-later
-- Hooks of our own modules are compiled and stay so: once warm, no trace is aborted in them. Hooks from elsewhere
-- are interpreted unless they ask for more.
local jutil = require('jit.util')
local ROUNDS, PER_ROUND = 40, 100

--- Ask PER_ROUND questions at a time, ROUNDS times, then call fn.
local function ask_a_lot(rounds, fn, name)
	local left = PER_ROUND
	for _ = 1, PER_ROUND do
		resolve(name or 'www.example.net', kres.type.A, kres.class.IN, {}, function ()
			left = left - 1
			if left > 0 then return end
			event.after(0, function ()
				if rounds > 1 then ask_a_lot(rounds - 1, fn, name) else fn() end
			end)
		end)
	end
end

--- Watch the compiler: what it does with traces that begin or end in files or trampolines that match.
local function watch(pattern)
	local seen = { stop = 0, abort = 0, where = {} }
	local starts = {}
	local function place(func, pc)
		local info = jutil.funcinfo(func, pc)
		return info.loc or '?'
	end
	local function on_trace(what, tr, func, pc, code, reason)
		if what == 'start' then
			starts[tr] = place(func, pc)
			return
		end
		local from, at = starts[tr], func and place(func, pc) or '?'
		if not seen[what] or not (from and from:find(pattern) or at:find(pattern)) then return end
		seen[what] = seen[what] + 1
		if what == 'abort' then
			seen.where[#seen.where + 1] = string.format('%s at %s: %s %s', from, at, tostring(code), tostring(reason))
		end
	end
	jit.attach(on_trace, 'trace')
	return seen, function () jit.attach(on_trace) end
end

local function steady(title, module, pattern, name)
	test(title, function (done)
		serve({ [(name or 'www.example.net') .. ' A'] = { '192.0.2.1' } })
		if module then modules.load(module) end
		jit.flush()
		local seen, stop = watch(pattern)
		ask_a_lot(ROUNDS, guard(function ()
			local warm = { stop = seen.stop, abort = seen.abort }
			ask_a_lot(ROUNDS, guard(function ()
				stop()
				if module then modules.unload(module:match('%S+')) end
				check(warm.stop > 0, 'nothing was compiled in ' .. pattern .. '\n' .. table.concat(seen.where, '\n'))
				same(seen.abort - warm.abort, 0, table.concat(seen.where, '\n'))
				done()
			end), name)
		end), name)
	end)
end

test('the compiler is on', function () same(jit.status(), true) end)
steady('hooks of the trust anchor sentinel', nil, 'ta_sentinel%.', 'root-key-sentinel-not-ta-12345.example.net')
steady('hooks of serve_stale', 'serve_stale < cache', 'serve_stale%.')
steady('hooks of rebinding protection', 'rebinding < iterate', 'rebinding%.')
steady('hooks of DNS64', 'dns64', 'dns64%.')

test('hooks from elsewhere are interpreted', function (done)
	os.execute('mkdir -p kres_modules')
	local file = io.open('kres_modules/elsewhere.lua', 'w')
	file:write([[return { layer = { finish = function (state)
		local sum = 0
		for i = 1, 200 do sum = sum + i end
		return state
	end } }]])
	file:close()
	serve({ ['www.example.net A'] = { '192.0.2.1' } })
	modules.load('elsewhere')
	local seen, stop = watch('elsewhere%.')
	ask_a_lot(5, guard(function ()
		stop()
		same(seen.stop, 0)
		done()
	end))
end)
