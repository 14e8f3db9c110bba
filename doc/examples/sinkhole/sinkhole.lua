-- SPDX-License-Identifier: GPL-3.0-or-later
-- Example of a module in Lua: names that do not exist for clients.
--
--     modules = { 'sinkhole' }                          -- put sinkhole.lua into ./kres_modules
--     sinkhole.config({ 'ads.example', 'tracker.example' })
--     sinkhole.add('more.example')
--     sinkhole.hits()                                   -- { ['ads.example.'] = 2 }
local ffi = require('ffi')

local M = {}
local blocked = {} -- wire name -> number of hits

--- Block a name and all below it.
function M.add(name)
	local dname = kres.str2dname(name)
	if not dname then error('sinkhole: invalid name ' .. tostring(name), 2) end
	blocked[dname] = blocked[dname] or 0
end

function M.remove(name)
	blocked[kres.str2dname(name) or ''] = nil
end

--- How often each name kept somebody away.
function M.hits()
	local hits = {}
	for dname, count in pairs(blocked) do
		if count > 0 then hits[kres.dname2str(dname)] = count end
	end
	return hits
end

--- modules = { sinkhole = { 'name', ... } }
function M.config(names)
	for _, name in ipairs(names or {}) do M.add(name) end
end

--- The blocked name that is this one or above it, or nil.
local function covering(dname)
	local at = 1
	while at <= #dname do
		local suffix = dname:sub(at)
		if blocked[suffix] then return suffix end
		at = at + 1 + dname:byte(at)
	end
end

M.layer = {
	-- A question came in; nothing has been looked up yet.
	begin = function (state, req)
		if state == kres.FAIL or req.qsource.addr == nil then return state end -- internal: let it be
		local suffix = covering(req:current():name())
		if not suffix then return state end
		local answer = req:ensure_answer()
		if answer == nil then return kres.FAIL end
		blocked[suffix] = blocked[suffix] + 1
		answer:rcode(kres.rcode.NXDOMAIN)
		answer:begin(kres.section.AUTHORITY)
		answer:put(suffix, 300, kres.class.IN, kres.type.SOA,
			kres.parse_rdata({ 'SOA . . 1 3600 600 86400 300' })[1])
		req:set_extended_error(kres.extended_error.BLOCKED, 'sinkhole')
		return kres.DONE
	end,
}

function M.init()
	log_info(ffi.C.LOG_GRP_MODULE, 'sinkhole is ready')
end

function M.deinit()
	blocked = {}
end

return M
