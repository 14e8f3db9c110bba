-- SPDX-License-Identifier: GPL-3.0-or-later
-- Queries per second, smoothed, from the counters of the worker.
local M = { rate = 0, peak = 0 }
local timer, last

function M.init()
	last = worker.stats().queries
	timer = event.recurrent(50, function ()
		local now = worker.stats().queries
		local rate = (now - last) / 0.05
		M.rate, last = 0.8 * M.rate + 0.2 * rate, now
		M.peak = math.max(M.peak, rate)
	end)
end

function M.deinit() event.cancel(timer) end

return M
