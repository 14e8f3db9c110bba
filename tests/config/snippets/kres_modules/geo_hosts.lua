-- SPDX-License-Identifier: GPL-3.0-or-later
-- Local hosts whose address depends on the client's network; other layers see a usual response.
local ffi = require('ffi')
local M = { layer = {} }
local hosts = {}

function M.add(name, subnet, address)
	local bytes = ffi.new('uint8_t[16]')
	local bits = ffi.C.kr_straddr_subnet(bytes, subnet)
	hosts[todname(name)] = hosts[todname(name)] or {}
	table.insert(hosts[todname(name)], { bytes = bytes, bits = bits, data = kres.str2ip(address) })
end

local function address_for(req, name)
	local addr = req.qsource.addr
	for _, host in ipairs(hosts[name] or {}) do
		if addr ~= nil and addr:len() == 4 and ffi.C.kr_bitcmp(host.bytes, addr:ip(), host.bits) == 0 then
			return host.data
		end
	end
end

function M.layer.produce(state, req, pkt)
	local qry = req:current()
	if state == kres.FAIL or qry == nil or pkt:qr() or not hosts[qry:name()] then return state end
	pkt:recycle()
	pkt:question(qry:name(), qry.sclass, qry.stype)
	pkt:qr(true)
	pkt:aa(true)
	local data = qry.stype == kres.type.A and address_for(req, qry:name())
	if data then
		pkt:begin(kres.section.ANSWER)
		pkt:put(qry:name(), 10, qry.sclass, qry.stype, data)
	end
	pkt.parsed = pkt.size
	qry.flags.CACHED = true
	qry.flags.NO_MINIMIZE = true
	qry.flags.DNSSEC_WANT = false
	return kres.DONE
end

return M
