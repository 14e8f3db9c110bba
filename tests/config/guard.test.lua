-- SPDX-License-Identifier: GPL-3.0-or-later
-- Functions that do not come to an end are stopped; the process and other requests go on.

local function provide(name, layer)
	package.preload['kres_modules.' .. name] = function () return { layer = layer } end
	package.loaded['kres_modules.' .. name] = nil
end

local endless = {
	['empty loop'] = function () while true do end end,
	['calls'] = function () local function f() end; while true do f() end end,
	['caught'] = function () while true do pcall(function () while true do end end) end end,
	['strings'] = function () while true do ('x'):rep(100):gsub('x', 'y') end end,
}
for what, deed in pairs(endless) do
	test('hook: ' .. what, function (done)
		provide('mod_endless', { begin = deed })
		modules.load('mod_endless < iterate')
		local start = os.clock()
		resolve('test.invalid.', 1, 1, 0, guard(function (pkt)
			modules.unload('mod_endless')
			same(pkt:rcode(), kres.rcode.SERVFAIL)
			check(os.clock() - start < 0.6, 'it took ' .. os.clock() - start .. ' s')
			local n = 0
			for i = 1, 1e6 do n = n + i end -- nothing of the guard is left
			check(n > 0)
			done()
		end))
	end)
end

test('a hook may take its time', function (done)
	provide('mod_slow', { begin = function ()
		local till = os.clock() + 0.05
		while os.clock() < till do end
	end })
	modules.load('mod_slow < iterate')
	resolve('test.invalid.', 1, 1, 0, guard(function (pkt)
		modules.unload('mod_slow')
		same(pkt:rcode(), kres.rcode.NXDOMAIN)
		done()
	end))
end)
