-- SPDX-License-Identifier: GPL-3.0-or-later
-- Does not like some responses: FAIL from consume rejects the response, not the request.
local M = { layer = {}, rejected = 0 }

function M.layer.consume(state, req, pkt)
	if state == kres.FAIL or not pkt:qname() then return state end
	for _, rr in ipairs(pkt:section(kres.section.ANSWER)) do
		if rr.type == kres.type.A and rr.rdata == '\0\0\0\0' then
			M.rejected = M.rejected + 1
			return kres.FAIL
		end
	end
	return state
end

return M
