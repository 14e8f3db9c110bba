-- SPDX-License-Identifier: GPL-3.0-or-later
-- Notice when the wall clock was set: cached TTLs count in it.
local ffi = require('ffi')
local C = ffi.C

local M = {
	threshold = 10 * min, -- backward jumps of at least this many ms empty the cache
}

local GRP = C.LOG_GRP_DETECTTIMEJUMP
local CHECK_INTERVAL = 1 * min
local timer = nil

local function wall_ms(walltime)
	return walltime.sec * 1000 + walltime.usec / 1000
end

-- How far the wall clock went beyond the monotonic one since the checkpoint, in ms.
local function jump_ms()
	local past = cache.checkpoint()
	local now = ffi.new('struct timeval')
	C.gettimeofday(now, nil)
	local wall = tonumber(now.tv_sec) * 1000 + tonumber(now.tv_usec) / 1000
	return (wall - wall_ms(past.walltime)) - (tonumber(C.kr_now()) - past.monotime)
end

function M.check()
	if not cache.current_size or cache.current_size == 0 then return end
	local jump = jump_ms()
	if jump < -M.threshold then
		log_info(GRP, 'detected backwards time jump by %.0f s, clearing the cache', -jump / sec)
		cache.clear()
		cache.checkpoint(true)
	elseif jump > M.threshold then
		log_info(GRP, 'detected forward time jump by %.0f s', jump / sec)
		cache.checkpoint(true)
	end
end

function M.init()
	if timer then error('detect_time_jump is loaded already') end
	timer = event.recurrent(CHECK_INTERVAL, M.check)
end

function M.deinit()
	if timer then event.cancel(timer) end
	timer = nil
end

return M
