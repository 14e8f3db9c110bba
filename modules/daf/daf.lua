-- SPDX-License-Identifier: GPL-3.0-or-later
-- Rules in a language close to English, and their management over HTTP.
local ffi = require('ffi')
local kluautil = require('kluautil')
local C = ffi.C

if not view then modules.load('view') end
if not policy then modules.load('policy') end

local M = { rules = {} }

local GRP = C.LOG_GRP_DAF

-- ---- Language ----

-- Filters: function(word reader) -> function(action) -> rule
local filters, actions = {}, {}

local function expect(tokens, after)
	local token = tokens()
	if not token then error(string.format('expected filter after "%s"', after), 0) end
	return token
end

function filters.qname(tokens)
	local op = expect(tokens, 'qname')
	local name = expect(tokens, 'qname ' .. op)
	if op == '~' then
		-- a pattern is searched in wire format: what stands before its first label is not known
		local pattern = todname(name)
		if not pattern then error(string.format('"%s" is not a domain name', name), 0) end
		pattern = pattern:sub(2)
		string.find('', pattern)
		return function (action) return policy.pattern(action, pattern) end
	elseif op == '=' then
		local names = policy.todnames({ name })
		return function (action) return policy.suffix(action, names) end
	end
	error(string.format('invalid operator "%s" on qname', op), 0)
end

local function address_filter(make)
	return function (tokens, word)
		local op = expect(tokens, word)
		if op ~= '=' then error('address supports only "=" operator', 0) end
		local subnet = expect(tokens, word .. ' =')
		make(policy.PASS, subnet) -- a bad one is told now
		return function (action) return make(action, subnet) end
	end
end

filters.src = address_filter(function (...) return view.rule_src(...) end)
filters.dst = address_filter(function (...) return view.rule_dst(...) end)

-- Words up to the end.
local function rest_of(tokens, what)
	local words = {}
	for word in tokens do words[#words + 1] = word end
	if #words == 0 then error(string.format('expected arguments after "%s"', what), 0) end
	return words
end

local function plain(name)
	return function () return policy[name] end
end

actions.pass, actions.deny, actions.drop = plain('PASS'), plain('DENY'), plain('DROP')
actions.tc, actions.truncate = plain('TC'), plain('TC')

function actions.forward(tokens)
	local targets = {}
	for addr in table.concat(rest_of(tokens, 'forward'), ','):gmatch('[^,]+') do targets[#targets + 1] = addr end
	return policy.FORWARD(targets)
end

function actions.mirror(tokens)
	return policy.MIRROR(rest_of(tokens, 'mirror')[1])
end

function actions.reroute(tokens)
	local targets = {}
	for _, word in ipairs(rest_of(tokens, 'reroute')) do
		local from, to = word:match('^([^-]+)%-([^-]+)$')
		if not from then error(string.format('expected FROM-TO, got "%s"', word), 0) end
		targets[from] = to
	end
	return policy.REROUTE(targets), true
end

function actions.rewrite(tokens)
	local words, targets = rest_of(tokens, 'rewrite'), {}
	if #words % 3 ~= 0 then error('expected OWNER TYPE ADDRESS after "rewrite"', 0) end
	for i = 1, #words, 3 do targets[words[i]] = words[i + 2] end
	return policy.REROUTE(targets, true), true
end

-- All of the filters so far and this one, or any of them.
local function join(op, left, right)
	if op == 'and' then
		return function (req, qry) return left(req, qry) and right(req, qry) end
	end
	return function (req, qry) return left(req, qry) or right(req, qry) end
end

-- What the engine of policy can match by itself: a network, names, or both. Else nil.
local function join_parts(op, left, right)
	if op ~= 'and' or not left or not right or left.net and right.net or left.names and right.names then
		return nil
	end
	return { kind = left.names and left.kind or right.kind, names = left.names or right.names,
		net = left.net or right.net }
end

-- The rule: filters that are met, then the action.
local function rule_of(matches, parts, action)
	if not matches then return policy.all(action) end
	local function rule(req, qry)
		if matches(req, qry) then return action end
	end
	if not parts then return rule end
	return policy._filter(rule, { kind = parts.kind, names = parts.names, net = parts.net, action = action })
end

-- Filters are joined as predicates; the action is chosen once they are all known.
local function parse_rule(text)
	local tokens = text:gmatch('%S+')
	local matches, parts, op = nil, nil, nil
	while true do
		local token = tokens()
		if not token then
			error(op and string.format('expected filter after "%s"', op) or 'empty rule is not allowed', 0)
		end
		local word = token:lower()
		if filters[word] then
			local filter = filters[word](tokens, word)(true)
			local own = policy._parts(filter)
			parts = not matches and own or matches and join_parts(op or 'and', parts, own) or nil
			matches = matches and join(op or 'and', matches, filter) or filter
			op = nil
		elseif (word == 'and' or word == 'or') and matches and not op then
			op = word
		elseif actions[word] and not op then
			local action, is_postrule = actions[word](tokens)
			if tokens() then error(string.format('unexpected text after "%s"', word), 0) end
			return rule_of(matches, parts, action), is_postrule
		elseif matches and not op then
			error(string.format('invalid action "%s"', token), 0)
		else
			error(string.format(matches and 'invalid filter "%s"' or 'invalid action "%s"', token), 0)
		end
	end
end

-- ---- Rules ----

local function find(id)
	for i, rule in ipairs(M.rules) do
		if rule.rule.id == id then return rule, i end
	end
	return nil
end

--- Add a rule; a text that is known already gives the rule there is.
function M.add(text)
	if type(text) ~= 'string' then error('empty rule is not allowed', 2) end
	for _, rule in ipairs(M.rules) do
		if rule.info == text then return rule end
	end
	local is_good, matches, is_postrule = pcall(parse_rule, text)
	if not is_good then error(tostring(matches):gsub('^.-:%d+: ', ''), 2) end
	local rule = { info = text, policy = matches, rule = policy.add(matches, is_postrule) }
	table.insert(M.rules, rule)
	return rule
end

function M.del(id)
	local rule, at = find(id)
	if not rule then return nil end
	policy.del(id)
	table.remove(M.rules, at)
	return true
end

function M.clear()
	for _, rule in ipairs(M.rules) do policy.del(rule.rule.id) end
	M.rules = {}
	return true
end

function M.get(id)
	return (find(id))
end

function M.toggle(id, is_enabled)
	local rule = find(id)
	if not rule then return nil end
	rule.rule.suspended = not is_enabled and true or nil
	return true
end

function M.enable(id)
	return M.toggle(id, true)
end

function M.disable(id)
	return M.toggle(id, false)
end

-- ---- HTTP ----

-- Lua source of a text, of harmless characters only: it goes to other instances in a command.
local function quote(text)
	return '"' .. text:gsub('[^%w ]', function (c) return string.format('\\%03d', c:byte()) end) .. '"'
end

local function facts(rule)
	return { id = rule.rule.id, info = rule.info, active = not rule.rule.suspended, count = rule.rule.count }
end

-- Results of a command on all instances; of this one alone where there are no control sockets.
local function run_on_all(command)
	local is_good, sockets = pcall(kluautil.list_dir, worker.control_path)
	if is_good and #sockets > 0 then return map(command) end
	return { assert(loadstring('return ' .. command))(), n = 1 }
end

local function on_all(command)
	local results = run_on_all(command)
	for i = 1, results.n do
		if not results[i] then return false end
	end
	return results.n > 0
end

local methods = {}

function methods.GET(id, _, path)
	if not path:match('^/daf/?[^/]*$') then return 404, '"No such rule"' end
	if path:match('^/daf/?$') then
		local list = {}
		for i, rule in ipairs(M.rules) do list[i] = facts(rule) end
		return list
	end
	local rule = id and find(id)
	if not rule then return 404, '"No such rule"' end
	return facts(rule)
end

function methods.POST(_, stream)
	local text = stream:get_body_as_string():gsub('^%s+', ''):gsub('%s+$', '')
	local is_good, rule = pcall(M.add, text)
	if not is_good then return 500, tojson(tostring(rule)) end
	-- a rule that is known already is not added twice, neither here nor elsewhere
	run_on_all(string.format('daf.add(%s) and true', quote(text)))
	return facts(rule)
end

function methods.DELETE(id)
	if not id then return 400 end
	local rule = find(id)
	if not rule then return 404, '"No such rule"' end
	if not on_all(string.format('daf._del(%s)', quote(rule.info))) then return 404, '"No such rule"' end
	return 200, 'true'
end

function methods.PATCH(id, _, path)
	local action, value = path:match('^/daf/%d+/([^/]+)/([^/]+)$')
	if not id or not action then return 400 end
	if action ~= 'active' then return 501, '"Action not implemented"' end
	local rule = find(id)
	if not rule then return 404, '"No such rule"' end
	local command = string.format('daf._toggle(%s, %s)', quote(rule.info), tostring(value == 'true'))
	if not on_all(command) then return 404, '"No such rule"' end
	return 200, 'true'
end

-- Numbers differ between instances; texts do not.
local function by_text(text)
	for _, rule in ipairs(M.rules) do
		if rule.info == text then return rule.rule.id end
	end
	return nil
end

function M._del(text)
	return M.del(by_text(text)) or false
end

function M._toggle(text, is_enabled)
	return M.toggle(by_text(text), is_enabled) or false
end

function M._counts()
	local counts = {}
	for _, rule in ipairs(M.rules) do counts[rule.info] = rule.rule.count end
	return counts
end

local function api(headers, stream)
	local path = headers:get(':path'):match('^[^?]*')
	local method = methods[headers:get(':method')]
	if not method then return 404 end
	return method(tonumber(path:match('^/daf/(%d+)')), stream, path)
end

-- Counts of all instances by our numbers.
local function total_counts()
	local totals = {}
	local results = run_on_all('daf._counts()')
	for i = 1, results.n do
		for text, count in pairs(results[i] or {}) do
			local id = by_text(text)
			if id then totals[tostring(id)] = (totals[tostring(id)] or 0) + count end
		end
	end
	return totals
end

local function publish(_, ws)
	local known = {}
	local is_open = ws:send_ping()
	while is_open do
		local changed = {}
		for id, count in pairs(total_counts()) do
			if count > (known[id] or 0) then changed[id] = count end
			known[id] = count
		end
		if next(changed) then
			is_open = ws:send(tojson(changed))
		else
			is_open = ws:send_ping()
		end
		worker.sleep(1)
	end
end

function M.init()
	if not http then
		log_warn(GRP, 'module http is not loaded: rules can be managed from Lua only')
		return
	end
	local endpoints = http.configs._builtin.webmgmt.endpoints
	endpoints['/daf'] = { 'application/json', api, publish }
	endpoints['/daf.js'] = http.page('daf.js', 'daf')
	http.snippets['/daf'] = { 'Application Firewall', '<div id="daf-rules"></div><script src="daf.js"></script>' }
end

function M.deinit()
	if http then
		local endpoints = http.configs._builtin.webmgmt.endpoints
		endpoints['/daf'], endpoints['/daf.js'], http.snippets['/daf'] = nil, nil, nil
	end
	M.clear()
end

M.api = api -- for tests and services of ones own

return M
