-- SPDX-License-Identifier: GPL-3.0-or-later
-- Log every failed validation and count the names.
local ffi = require('ffi')
local kres = require('kres')
local bit = require('bit')
local C = ffi.C

local M = { layer = { skippable = true } }
local GRP = C.LOG_GRP_DNSSEC
local FREQUENT_MAX = 1000
local counts = kres.lru(FREQUENT_MAX, 'uint64_t')
local names = {}

-- Most frequent failures since the module was loaded: { {name=, type=, count=}, ... }
function M.frequent()
	local list = {}
	for key in pairs(names) do
		local count = counts:get(key)
		if count ~= nil then
			local name, rtype = key:match('^(.*) (%S+)$')
			list[#list + 1] = { name = name, type = rtype, count = tonumber(count) }
		end
	end
	table.sort(list, function (a, b) return a.count > b.count end)
	return list
end

local function remember(key)
	local old = counts:get(key)
	counts:set(key, old ~= nil and tonumber(old) + 1 or 1)
	names[key] = true
end

function M.layer.consume(state, req)
	if bit.band(state, kres.FAIL) == 0 then return state end
	local qry = req:current()
	if qry == nil or not qry.flags.DNSSEC_BOGUS then return state end
	local name = kres.dname2str(qry:name())
	local rtype = kres.tostring.type[qry.stype]
	remember(name .. ' ' .. rtype)
	log_notice(GRP, 'validation failure: %s %s', name, rtype)
	return state
end

return M
