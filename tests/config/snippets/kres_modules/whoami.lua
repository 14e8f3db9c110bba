-- SPDX-License-Identifier: GPL-3.0-or-later
-- whoami.lan TXT: how the client reached us.
local M = { layer = {} }

function M.layer.begin(state, req)
	local qry = req:current()
	if qry:name() ~= todname('whoami.lan') or req.qsource.addr == nil then return state end
	local answer = req:ensure_answer()
	if answer == nil then return kres.FAIL end
	local flags = req.qsource.flags
	local text = string.format('%s over %s', tostring(req.qsource.addr),
		flags.http and 'HTTPS' or flags.tls and 'TLS' or flags.tcp and 'TCP' or 'UDP')
	answer:aa(true)
	answer:begin(kres.section.ANSWER)
	answer:put(qry:name(), 0, qry.sclass, kres.type.TXT, string.char(#text) .. text)
	return kres.DONE
end

return M
