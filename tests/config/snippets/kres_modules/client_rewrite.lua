-- SPDX-License-Identifier: GPL-3.0-or-later
-- Clients of a subnet see another address of a host (split horizon after the fact).
local ffi = require('ffi')
local M = { layer = {} }
local rules = {}

function M.config(list)
	rules = {}
	for _, r in ipairs(list) do
		local bytes = ffi.new('uint8_t[16]')
		local bits = ffi.C.kr_straddr_subnet(bytes, r.clients)
		if bits < 0 then error('client_rewrite: bad subnet ' .. tostring(r.clients)) end
		rules[#rules + 1] = { bytes = bytes, bits = bits, family = ffi.C.kr_straddr_family(r.clients),
			from = kres.str2ip(r.from), to = kres.str2ip(r.to) }
	end
end

local function rule_for(addr)
	if addr == nil then return nil end
	for _, r in ipairs(rules) do
		if r.family == addr:family() and ffi.C.kr_bitcmp(r.bytes, addr:ip(), r.bits) == 0 then return r end
	end
end

function M.layer.finish(state, req, answer)
	local rule = rule_for(req.qsource.addr)
	if not rule or answer == nil or answer:ancount() == 0 then return state end
	local records, is_changed = answer:section(kres.section.ANSWER), false
	for _, rr in ipairs(records) do
		if rr.type == kres.type.A and rr.rdata == rule.from then rr.rdata, is_changed = rule.to, true end
	end
	if not is_changed then return state end
	local qname, qclass, qtype = answer:qname(), answer:qclass(), answer:qtype()
	answer:recycle()
	answer:question(qname, qclass, qtype)
	answer:begin(kres.section.ANSWER)
	for _, rr in ipairs(records) do answer:put(rr.owner, rr.ttl, rr.class, rr.type, rr.rdata) end
	return state
end

return M
