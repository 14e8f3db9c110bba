-- SPDX-License-Identifier: GPL-3.0-or-later
-- /trace/NAME[/TYPE]: resolve a name and tell how it went.
local ffi = require('ffi')
local condition = require('cqueues.condition')

local M = {}

local LINES_MAX, WAIT_S = 20000, 30

local function unescape(text)
	return (text:gsub('%%(%x%x)', function (hex) return string.char(tonumber(hex, 16)) end))
end

local function resolve(name, rtype)
	local lines, done, records = {}, condition.new(), nil
	worker.resolve({
		name = name, type = rtype, options = { 'TRACE' },
		init = function (req)
			req:trace_chain_callbacks(function (_, msg)
				if #lines < LINES_MAX then lines[#lines + 1] = ffi.string(msg) end
			end)
		end,
		finish = function (_, req)
			records = req:selected_tostring()
			done:signal()
		end,
	})
	if not records then done:wait(WAIT_S) end
	return table.concat(lines) .. '\n' .. (records or '')
end

local function serve(headers)
	local path = headers:get(':path'):match('^[^?]*')
	local name, rest = path:match('^/trace/([^/]+)/?([^/]*)$')
	local wire = name and kres.str2dname(unescape(name))
	if not wire then return 400, 'expected /trace/<query name>/<query type>' end
	local type_text = rest ~= '' and rest or 'A'
	local rtype = kres.type[type_text:upper()] or tonumber(type_text:upper():match('^TYPE(%d+)$'))
	if not rtype or rtype > 65535 then return 400, 'unexpected query type: ' .. type_text end
	return resolve(unescape(name), rtype)
end

M.endpoints = { ['/trace'] = { 'text/plain', serve } }

return M
