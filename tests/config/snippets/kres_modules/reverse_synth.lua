-- SPDX-License-Identifier: GPL-3.0-or-later
-- PTR records out of thin air: 11.7.7.7 is host-11-7-7-7.dyn.example.
local ffi = require('ffi')
local M = { layer = {} }
local zone = todname('7.7.11.in-addr.arpa')

function M.layer.produce(state, req, pkt)
	local qry = req:current()
	if state == kres.FAIL or pkt:qr() or qry.stype ~= kres.type.PTR then return state end
	if ffi.C.knot_dname_in_bailiwick(qry.sname, zone) ~= 1 then return state end
	local host = tonumber(kres.dname2str(qry:name()):match('^(%d+)%.'))
	pkt:recycle()
	pkt:question(qry:name(), qry.sclass, qry.stype)
	pkt:qr(1)
	pkt:aa(1)
	if host and host < 256 then
		pkt:begin(kres.section.ANSWER)
		pkt:put(qry:name(), 3600, qry.sclass, qry.stype, todname(('host-11-7-7-%d.dyn.example'):format(host)))
	else
		pkt:rcode(kres.rcode.NXDOMAIN)
	end
	pkt.parsed = pkt.size
	qry.flags.CACHED = true
	qry.flags.NO_MINIMIZE = true
	qry.flags.DNSSEC_WANT = false
	return kres.DONE
end

return M
