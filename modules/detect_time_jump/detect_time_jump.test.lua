-- SPDX-License-Identifier: GPL-3.0-or-later
local ffi = require('ffi')

local logged = {}
_G.log_info = function (_, fmt, ...) logged[#logged + 1] = string.format(fmt, ...) end
local cleared = 0
local real_clear = cache.clear
rawset(cache, 'clear', function (...) cleared = cleared + 1; return real_clear(...) end)

--- Let the clock seem to be set by so many seconds since the checkpoint.
local function jump(seconds)
	local point = kres.context().cache.checkpoint_walltime
	cache.checkpoint(true)
	point.tv_sec = point.tv_sec - seconds
	logged, cleared = {}, 0
	detect_time_jump.check()
	return table.concat(logged, '\n')
end

test('no jump', function ()
	same(jump(0), '')
	same(jump(-60), '')
	same(jump(60), '')
	same(cleared, 0)
end)
test('backwards', function ()
	match(jump(-3600), 'backwards time jump')
	same(cleared, 1)
	logged = {}
	detect_time_jump.check()
	same(logged, {}) -- once
end)
test('forward', function ()
	match(jump(3600), 'forward time jump')
	same(cleared, 0)
	logged = {}
	detect_time_jump.check()
	same(logged, {})
end)
test('the threshold', function ()
	detect_time_jump.threshold = 2 * hour
	same(jump(-3600), '')
	match(jump(-7300), 'backwards')
	detect_time_jump.threshold = 10 * min
end)
test('twice is refused', function ()
	boom(require('kres_modules.detect_time_jump').init, {}, 'loaded already')
	check(ffi)
end)
