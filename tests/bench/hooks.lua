-- SPDX-License-Identifier: GPL-3.0-or-later
-- What one call of a hook costs: the same finish hook forty times over, in turns with none, by questions of our
-- own. Prints microseconds of CPU time for each; whatever else the machine does is divided by forty.
local REQUESTS, MANY, ROUNDS = 4000, 40, 9
local n = 0
local hooks = {
	none = false,
	['state'] = function (state) n = n + 1; return state end,
	['state, req, answer'] = function (state, req, answer) n = n + 1; return state end,
}
local least = {}

local function round(name, fn)
	for i = 1, fn and MANY or 0 do
		package.loaded['kres_modules.bench' .. i] = { layer = { finish = fn } }
		modules.load('bench' .. i)
	end
	local start = os.clock()
	for _ = 1, REQUESTS do resolve('localhost', kres.type.A, kres.class.IN) end
	least[name] = math.min(least[name] or math.huge, (os.clock() - start) / REQUESTS * 1e6)
	for i = 1, fn and MANY or 0 do modules.unload('bench' .. i) end
end

cache.open(10 * MB)
event.after(100, function ()
	for _ = 1, ROUNDS do
		for name, fn in pairs(hooks) do round(name, fn) end
	end
	for name, fn in pairs(hooks) do
		if fn then print(string.format('hook (%s): %.3f', name, (least[name] - least.none) / MANY)) end
	end
	quit()
end)
