-- SPDX-License-Identifier: GPL-3.0-or-later
-- Who asks for MX will ask for the addresses of the mail servers: fetch them ahead.
local M = { layer = {}, fetched = {} }

function M.layer.finish(state, req, answer)
	if answer == nil or req.qsource.addr == nil or answer:qtype() ~= kres.type.MX then return state end
	for _, rr in ipairs(answer:section(kres.section.ANSWER)) do
		if rr.type == kres.type.MX then
			local host = kres.dname2str(rr.rdata:sub(3))
			worker.resolve({ name = host, type = kres.type.A, finish = function (pkt)
				M.fetched[host] = pkt and #pkt:section(kres.section.ANSWER) or 0
			end })
		end
	end
	return state
end

return M
