-- SPDX-License-Identifier: GPL-3.0-or-later
-- Forwarders by domain, changed while running: dyn_forward.set('corp.example', { '192.0.2.1@53' })
local ffi = require('ffi')
local M = { layer = {} }
local routes = {}

function M.set(domain, targets)
	local list = {}
	for i, target in ipairs(targets or {}) do
		local host, port = target:match('^([^@]+)@?(%d*)$')
		list[i] = ffi.gc(ffi.C.kr_straddr_socket(host, tonumber(port) or 53, nil), ffi.C.free)
	end
	routes[todname(domain)] = targets and list or nil
end

function M.routes()
	local out = {}
	for domain, list in pairs(routes) do
		local texts = {}
		for i, sa in ipairs(list) do texts[i] = tostring(sa) end
		out[kres.dname2str(domain)] = texts
	end
	return out
end

function M.layer.begin(state, req)
	local qry = req:current()
	if state == kres.FAIL or state == kres.DONE then return state end
	for domain, list in pairs(routes) do
		if ffi.C.knot_dname_in_bailiwick(qry.sname, domain) >= 0 then
			qry.flags.STUB = true
			qry.flags.ALWAYS_CUT = false
			for _, sa in ipairs(list) do ffi.C.kr_forward_add_target(req, ffi.cast('struct sockaddr *', sa)) end
			return state
		end
	end
	return state
end

return M
