-- SPDX-License-Identifier: GPL-3.0-or-later
-- Which servers are asked, and how: a checkout hook.
local M = { layer = {}, seen = {} }

function M.layer.checkout(state, req, pkt, dst, is_stream)
	M.seen[#M.seen + 1] = string.format('%s %s %s', tostring(dst), is_stream and 'TCP' or 'UDP',
		kres.tostring.type[pkt:qtype()])
	return state
end

return M
