-- SPDX-License-Identifier: GPL-3.0-or-later
-- Where the servers of a name fail, ask resolvers given here. What they say is validated like any other answer.
local ffi = require('ffi')
local kres = require('kres')
local policy = require('kres_modules.policy')
local C = ffi.C

local M = {
	layer = { skippable = true },
	used = 0, -- requests that came here
}

local GRP = C.LOG_GRP_SELECTION
local targets, texts, exempt = nil, {}, {}

-- ---- Hooks ----

local function is_exempt(name)
	for _, suffix in ipairs(exempt) do
		if C.knot_dname_in_bailiwick(name, suffix) >= 0 then return true end
	end
	return false
end

-- Go on with other servers: this query, and those that follow from it.
local function divert(req, qry)
	req.selection_context.forwarding_targets.len = 0
	local added = 0
	for _, sock in ipairs(targets) do
		if C.kr_forward_add_target(req, sock) == 0 then added = added + 1 end
	end
	if added == 0 then return false end
	req.options.FORWARD, req.options.NO_MINIMIZE = true, true
	qry.flags.FORWARD, qry.flags.NO_MINIMIZE = true, true
	qry.flags.AWAIT_CUT, qry.flags.ALWAYS_CUT, qry.flags.NO_NS_FOUND = true, false, false
	qry.server_selection.initialized = false
	return true
end

function M.layer.produce(_, req, pkt)
	local qry = req:current()
	if not targets or qry == nil or not qry.flags.NO_NS_FOUND or pkt:qr() or qry.parent ~= nil
			or req.options.FORWARD or req.options.STUB or qry.flags.STUB or is_exempt(qry:name()) then
		return nil
	end
	if divert(req, qry) then
		M.used = M.used + 1
		log_qry(qry, GRP, '=> its servers fail, going on with %s\n', table.concat(texts, ', '))
	end
	return nil
end

-- ---- Configuration ----

local function parse(list)
	local parsed = {}
	for i, text in ipairs(list) do
		local is_good, sock = pcall(policy.addr2sock, text, 53)
		if not is_good then error(string.format('[fallback] %q is not an address', tostring(text)), 3) end
		parsed[i] = sock
	end
	if #parsed == 0 then error('[fallback] servers: at least one address is needed', 3) end
	return parsed
end

local function parse_names(list)
	local names = {}
	for i, text in ipairs(list) do
		names[i] = kres.str2dname(text)
		if not names[i] then error(string.format('[fallback] %q is not a name', tostring(text)), 3) end
	end
	return names
end

--- Set servers = {ADDR[@PORT], …} and except = {NAME, …}; nil: nobody is asked.
function M.config(conf)
	if conf == nil then
		targets = nil
		return
	end
	if type(conf) == 'string' then conf = { servers = { conf } } end
	if type(conf) ~= 'table' then error('[fallback] configuration must be a table, an address or nil', 2) end
	local list = conf.servers or conf
	if type(list) ~= 'table' then list = { list } end
	local parsed, names = parse(list), parse_names(conf.except or {})
	targets, texts, exempt = parsed, list, names
	cache._changed()
end

return M
