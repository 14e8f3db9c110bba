-- SPDX-License-Identifier: GPL-3.0-or-later
-- Names whose CNAME points into one of the listed domains are refused.
local M = { layer = {} }
local trackers = {}

function M.config(names)
	for _, name in ipairs(names) do trackers[#trackers + 1] = todname(name) end
end

local function is_tracker(name)
	for _, suffix in ipairs(trackers) do
		if name:sub(-#suffix) == suffix then return true end
	end
	return false
end

function M.layer.consume(state, req, pkt)
	if state == kres.FAIL then return state end
	for _, rr in ipairs(pkt:section(kres.section.ANSWER)) do
		if rr.type == kres.type.CNAME and is_tracker(rr.rdata) then
			local qry = req:current()
			qry.flags.RESOLVED = true
			qry.flags.CACHED = true
			qry.flags.CNAME = false
			req.answ_selected.len, req.auth_selected.len, req.add_selected.len = 0, 0, 0
			local answer = req:ensure_answer()
			answer:clear_payload()
			req:ensure_edns()
			answer:rcode(kres.rcode.REFUSED)
			req:set_extended_error(kres.extended_error.FILTERED, 'cloaked tracker')
			return kres.DONE
		end
	end
	return state
end

return M
