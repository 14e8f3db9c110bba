-- SPDX-License-Identifier: GPL-3.0-or-later
-- Options by tenant: decided once in begin, used by later hooks through req:vars().
local M = { layer = {}, answers = {} }
local tenants = {}

function M.config(map) tenants = map end

function M.layer.begin(state, req)
	if req.qsource.addr == nil then return state end
	local tenant = tenants[tostring(req.qsource.addr):match('^[^#]+')]
	req:vars().tenant = tenant and tenant.name or 'unknown'
	for _, flag in ipairs(tenant and tenant.flags or {}) do
		req.options[flag] = true
		req:current().flags[flag] = true
	end
	return state
end

function M.layer.finish(state, req)
	local name = req:vars().tenant
	if name then M.answers[name] = (M.answers[name] or 0) + 1 end
	return state
end

return M
