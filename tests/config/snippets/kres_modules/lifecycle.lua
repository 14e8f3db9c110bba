-- SPDX-License-Identifier: GPL-3.0-or-later
-- Counts what begins and what ends; every begin has exactly one finish.
local M = { layer = {}, begun = 0, ended = 0, open = {} }

function M.layer.begin(state, req)
	M.begun = M.begun + 1
	M.open[tostring(req)] = true
	return state
end

function M.layer.finish(state, req)
	M.ended = M.ended + 1
	M.open[tostring(req)] = nil
	return state
end

return M
