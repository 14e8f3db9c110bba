-- SPDX-License-Identifier: GPL-3.0-or-later
-- Keeps the log of the last requests for chosen names, without debug logging of all others.
local ffi = require('ffi')
local M = { layer = {}, logs = {} }
local wanted = {}

function M.watch(name) wanted[todname(name)] = true end

function M.layer.begin(state, req)
	local name = req:current():name()
	if not wanted[name] then return state end
	local lines = {}
	req:trace_chain_callbacks(function (_, text)
		lines[#lines + 1] = ffi.string(text)
	end, function ()
		M.logs[#M.logs + 1] = { name = kres.dname2str(name), text = table.concat(lines) }
		if #M.logs > 10 then table.remove(M.logs, 1) end
	end)
	return state
end

return M
