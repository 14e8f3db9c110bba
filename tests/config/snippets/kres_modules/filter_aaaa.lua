-- SPDX-License-Identifier: GPL-3.0-or-later
-- IPv6 addresses are withheld from hosts that have IPv4 ones: asks by a sub-query and waits for it.
local M = { layer = {}, dropped = 0 }

local function has_addresses(req, name)
	for _, entry in ipairs(req.answ_selected) do
		if entry.rr.type == kres.type.A and entry.rr:owner() == name then return true end
	end
	return false
end

function M.layer.consume(state, req, pkt)
	local qry = req:current()
	if qry.stype ~= kres.type.AAAA or qry.parent ~= nil then return state end
	if state == kres.YIELD then
		if has_addresses(req, qry:name()) then
			for _, entry in ipairs(req.answ_selected) do
				if entry.rr.type == kres.type.AAAA and entry.to_wire then entry.to_wire = false; M.dropped = M.dropped + 1 end
			end
		end
		return kres.DONE
	end
	if state ~= kres.DONE or not qry.flags.RESOLVED or pkt:ancount() == 0 then return state end
	local sub = req:push(qry:name(), kres.type.A, kres.class.IN, 'AWAIT_CUT', qry)
	return sub ~= nil and kres.YIELD or state
end

return M
