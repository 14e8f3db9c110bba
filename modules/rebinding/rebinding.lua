-- SPDX-License-Identifier: GPL-3.0-or-later
-- Refuse answers from the Internet that carry addresses of local networks.
local ffi = require('ffi')
local kres = require('kres')
local bit = require('bit')
local C = ffi.C

local M = { layer = { skippable = true }, blacklist = {} }
local GRP = C.LOG_GRP_REBIND

local function add(subnet, rrtype)
	local bytes = ffi.new('char[16]')
	local bitlen = C.kr_straddr_subnet(bytes, subnet)
	if bitlen < 0 then error('[rebinding] "' .. subnet .. '" is not a subnet', 2) end
	table.insert(M.blacklist, { bytes = bytes, bitlen = bitlen, rrtype = rrtype, text = subnet })
end

for _, subnet in ipairs({ '0.0.0.0/8', '10.0.0.0/8', '100.64.0.0/10', '127.0.0.0/8', '169.254.0.0/16',
		'172.16.0.0/12', '192.168.0.0/16' }) do
	add(subnet, kres.type.A)
	local addr, len = subnet:match('^(.*)/(%d+)$')
	add(string.format('::ffff:%s/%d', addr, 96 + len), kres.type.AAAA)
end
for _, subnet in ipairs({ '::/128', '::1/128', 'fc00::/7', 'fe80::/10' }) do
	add(subnet, kres.type.AAAA)
end

local function is_blacklisted(rr)
	for i = 0, rr:rdcount() - 1 do
		local rdata = rr:rdata_pt(i)
		for _, prefix in ipairs(M.blacklist) do
			if prefix.rrtype == rr.type and C.kr_bitcmp(prefix.bytes, ffi.cast('char *', rdata.data), prefix.bitlen) == 0 then
				return true
			end
		end
	end
	return false
end

local function find_bad(pkt)
	for section = kres.section.ANSWER, kres.section.ADDITIONAL do
		for _, rr in ipairs(pkt:rrsets(section)) do
			if (rr.type == kres.type.A or rr.type == kres.type.AAAA) and is_blacklisted(rr) then
				return rr
			end
		end
	end
	return nil
end

local EXPLANATION = 'blocked by DNS rebinding protection'

local function refuse(req)
	req.answ_selected.len = 0
	req.auth_selected.len = 0
	req.add_selected.len = 0
	local answer = req:ensure_answer()
	if answer == nil then return kres.FAIL end
	answer:clear_payload()
	req:ensure_edns()
	answer:rcode(kres.rcode.REFUSED)
	answer:ad(false)
	answer:aa(false)
	answer:begin(kres.section.ADDITIONAL)
	answer:put('\11explanation\7invalid\0', 10800, answer:qclass(), kres.type.TXT,
		string.char(#EXPLANATION) .. EXPLANATION)
	req:set_extended_error(kres.extended_error.PROHIBITED, 'EIM4')
	return kres.DONE
end

function M.layer.consume(state, req, pkt)
	if bit.band(state, kres.FAIL) ~= 0 then return state end
	local qry = req:current()
	if qry == nil or qry.flags.CACHED or qry.flags.ALLOW_LOCAL then return state end
	local bad = find_bad(pkt)
	if not bad then return state end
	log_qry(qry, GRP, 'blocking blacklisted IP in RR \'%s\'\n', tostring(bad))
	qry.flags.RESOLVED = true
	qry.flags.CACHED = true
	if qry.parent ~= nil then return kres.FAIL end
	return refuse(req)
end

return M
