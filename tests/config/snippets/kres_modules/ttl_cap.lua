-- SPDX-License-Identifier: GPL-3.0-or-later
-- No record leaves with a TTL above the cap; a layer over what was selected for the answer.
local M = { layer = {}, cap = 60 }

function M.config(cap) M.cap = tonumber(cap) or M.cap end

function M.layer.answer_finalize(state, req)
	for _, array in ipairs({ req.answ_selected, req.auth_selected, req.add_selected }) do
		for _, entry in ipairs(array) do
			if entry.to_wire and entry.rr._ttl > M.cap then entry.rr._ttl = M.cap end
		end
	end
	return state
end

return M
