-- SPDX-License-Identifier: GPL-3.0-or-later
-- Answers without authority and additional records (but OPT).
local M = { layer = {} }

function M.layer.answer_finalize(state, req)
	if state ~= kres.DONE or #req.answ_selected == 0 then return state end
	for _, array in ipairs({ req.auth_selected, req.add_selected }) do
		for _, entry in ipairs(array) do entry.to_wire = false end
	end
	return state
end

return M
