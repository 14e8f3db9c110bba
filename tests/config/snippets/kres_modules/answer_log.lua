-- SPDX-License-Identifier: GPL-3.0-or-later
-- A line for each answer to a client: address, question, code, milliseconds.
local ffi = require('ffi')
local M = { layer = {}, lines = 0 }
local file

function M.config(path)
	file = assert(io.open(path, 'a'))
	file:setvbuf('line')
end

function M.layer.begin(state, req)
	req:vars().since = tonumber(ffi.C.kr_now())
	return state
end

function M.layer.finish(state, req, answer)
	if not file or req.qsource.addr == nil then return state end
	local first = req:initial()
	file:write(string.format('%s %s %s %s %d\n', tostring(req.qsource.addr),
		first and kres.dname2str(first:name()) or '?',
		first and kres.tostring.type[first.stype] or '?',
		answer ~= nil and kres.tostring.rcode[answer:rcode()] or 'dropped',
		tonumber(ffi.C.kr_now()) - req:vars().since))
	M.lines = M.lines + 1
	return state
end

function M.deinit() if file then file:close() end end

return M
