-- SPDX-License-Identifier: GPL-3.0-or-later
-- Root key sentinel (RFC 8509): tells testers which root keys are trusted here.
local ffi = require('ffi')
local kres = require('kres')
local bit = require('bit')
local C = ffi.C

local M = { layer = { skippable = true, first_label = 'root-key-sentinel-',
	concerns = { prefixes = { 'root-key-sentinel-' } } } }
local GRP = C.LOG_GRP_TASENTINEL

-- Is a key of that tag trusted for the root?
local function is_trusted(tag)
	local keyset = trust_anchors.keysets['\0']
	for _, key in ipairs(keyset or {}) do
		if key.key_tag == tag and (key.state == 'Valid' or key.state == 'Missing') then
			return true
		end
	end
	return false
end

-- @return kind ('is' or 'not') and key tag, or nil
local function parse_label(qname)
	local label = qname:sub(2, 1 + qname:byte()):lower()
	local kind, tag = label:match('^root%-key%-sentinel%-(%a+)%-ta%-(%d%d%d%d%d)$')
	if kind ~= 'is' and kind ~= 'not' then return nil end
	return kind, tonumber(tag)
end

function M.layer.finish(state, req, answer)
	if answer == nil then return state end
	local qry = req:initial()
	if qry == nil or (qry.stype ~= kres.type.A and qry.stype ~= kres.type.AAAA) then return state end
	local kind, tag = parse_label(qry:name())
	if not kind or bit.band(state, kres.DONE) == 0 or req.rank ~= C.KR_RANK_SECURE
			or req.qsource.packet:cd() then
		return state
	end
	local trusted = is_trusted(tag)
	if (kind == 'is') == trusted then return state end
	log_qry(qry, GRP, 'key %d is %s, answering SERVFAIL\n', tag, trusted and 'trusted' or 'not trusted')
	answer:clear_payload()
	answer:rcode(kres.rcode.SERVFAIL)
	answer:ad(false)
	return kres.FAIL
end

return M
