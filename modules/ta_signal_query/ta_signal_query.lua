-- SPDX-License-Identifier: GPL-3.0-or-later
-- Signal the trusted keys to the zone they belong to (RFC 8145 section 5).
local ffi = require('ffi')
local kres = require('kres')
local bit = require('bit')
local C = ffi.C

local M = { layer = { skippable = true, qtypes = { kres.type.DNSKEY }, concerns = { prefixes = { '_ta-' } } } }
local GRP = C.LOG_GRP_TASIGNALING

-- `_ta-XXXX-YYYY.` and the zone, or nil if nothing is trusted there.
local function signal_name(owner)
	local keyset = trust_anchors.keysets[owner]
	local tags = {}
	for _, key in ipairs(keyset or {}) do
		if key.state == 'Valid' then tags[#tags + 1] = key.key_tag end
	end
	if #tags == 0 then return nil end
	table.sort(tags)
	local hex = {}
	for i, tag in ipairs(tags) do hex[i] = string.format('%04x', tag) end
	local zone = kres.dname2str(owner)
	return '_ta-' .. table.concat(hex, '-') .. '.' .. (zone == '.' and '' or zone)
end

--- Ask, but not inside of the walk.
local function signal(name)
	log_info(GRP, 'signalling query triggered: %s', name)
	event.after(0, function () worker.resolve(name, kres.type.NULL, kres.class.IN, { 'NONAUTH' }) end)
end

function M.layer.consume(state, req)
	if bit.band(state, kres.FAIL) ~= 0 then return state end
	local qry = req:current()
	if qry == nil or qry.stype ~= kres.type.DNSKEY or qry.flags.CACHED then return state end
	local name = signal_name(qry:name())
	if name then signal(name) end -- a closure made here would keep the hook from being compiled
	return state
end

return M
