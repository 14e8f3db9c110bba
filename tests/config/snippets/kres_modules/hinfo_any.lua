-- SPDX-License-Identifier: GPL-3.0-or-later
-- RFC 8482: the smallest useful answer to ANY. Has to see the question before the iterator refuses it.
local M = { layer = {} }

function M.layer.begin(state, req)
	local qry = req:current()
	if qry.stype ~= kres.type.ANY then return state end
	local answer = req:ensure_answer()
	if answer == nil then return kres.FAIL end
	answer:rcode(kres.rcode.NOERROR)
	answer:begin(kres.section.ANSWER)
	answer:put(qry:name(), 3600, qry.sclass, kres.type.HINFO, '\7RFC8482\0')
	return kres.DONE
end

return M
