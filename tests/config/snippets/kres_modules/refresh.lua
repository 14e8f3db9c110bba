-- SPDX-License-Identifier: GPL-3.0-or-later
-- Asks again for names whose cached answer is about to end.
local M = { layer = {}, refreshed = {} }

function M.layer.finish(state, req)
	local qry = req:resolved()
	if not qry or not req:all_from_cache() or not (qry.flags.EXPIRING or qry.stype == kres.type.TXT) then return state end
	local name, rtype = kres.dname2str(qry:name()), qry.stype
	if req.qsource.addr == nil or M.refreshed[name] then return state end
	M.refreshed[name] = 'pending'
	event.after(0, function ()
		resolve({ name = name, type = rtype, options = 'NO_CACHE', finish = function (pkt)
			M.refreshed[name] = pkt and kres.tostring.rcode[pkt:rcode()] or 'dropped'
		end })
	end)
	return state
end

return M
