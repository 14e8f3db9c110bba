-- SPDX-License-Identifier: GPL-3.0-or-later
-- Says in an extended error why an answer is SERVFAIL, if nobody has said it.
local M = { layer = {} }

function M.layer.answer_finalize(state, req)
	if state == kres.FAIL and req.extended_error.info_code == kres.extended_error.NONE then
		local qry = req:last()
		req:set_extended_error(kres.extended_error.OTHER, 'stuck at '
			.. (qry and kres.dname2str(qry:name()) or 'the beginning'))
	end
	return state
end

return M
