-- SPDX-License-Identifier: GPL-3.0-or-later
-- Rules about client requests: block, rewrite, forward, log, flag. See README.rst for the language.
local kres = require('kres')
local ffi = require('ffi')
local bit = require('bit')
local C = ffi.C

local M = {}

local LOG_GRP_POLICY = C.LOG_GRP_POLICY
local LOG_GRP_REQDBG = C.LOG_GRP_REQDBG

-- RFC 8914 section 4.30: names are exempted from resolution by standards.
local ede = kres.extended_error

local next_id = 0

---------------------------------------------------------------------------------------------------
-- Actions: most are made in C (lib/rules/action.h); a function of Lua stands for each.

-- Actions that need the finished answer.
local late = setmetatable({}, { __mode = 'k' })

-- Action function → what it is in C.
local natives = setmetatable({}, { __mode = 'k' })

local function wrap(act)
	if act == nil then error('policy: out of memory', 3) end
	ffi.gc(act, C.kr_action_unref)
	local function fn(state, req)
		local result = C.kr_action_apply(act, req, state or 0)
		if result ~= 0 then return result end
	end
	natives[fn] = act
	return fn, act
end

local function simple(kind)
	return (wrap(C.kr_action_new(kind)))
end

M.PASS = simple(C.KR_ACTION_PASS)
M.DROP = simple(C.KR_ACTION_DROP)
M.REFUSE = simple(C.KR_ACTION_REFUSE)
M.NO_ANSWER = simple(C.KR_ACTION_NO_ANSWER)
M.TC = simple(C.KR_ACTION_TC)
M.DENY = simple(C.KR_ACTION_DENY)
M.QTRACE = simple(C.KR_ACTION_TRACE)

local function deny(msg, code, log_name)
	if msg ~= nil and (type(msg) ~= 'string' or #msg >= 255) then
		error('DENY_MSG: optional msg must be string shorter than 256 characters', 3)
	end
	if code ~= nil and (type(code) ~= 'number' or code < 0 or code > 65534) then
		error('DENY_MSG: the code of the extended error must be a number', 3)
	end
	local fn, act = wrap(C.kr_action_new(C.KR_ACTION_DENY))
	C.kr_action_set_message(act, msg, code or ede.BLOCKED)
	if log_name then C.kr_action_set_label(act, log_name) end
	return fn
end

-- Deny with an explanation.
function M.DENY_MSG(msg, extended_error)
	return deny(msg, extended_error)
end

local function check_answer_table(rtable)
	if type(rtable) ~= 'table' then
		error('ANSWER: a table of record types is expected, got ' .. type(rtable), 3)
	end
	for rtype, set in pairs(rtable) do
		if type(rtype) ~= 'number' or type(set) ~= 'table' or set.rdata == nil then
			error('ANSWER: items must look like [kres.type.A] = { rdata = ..., ttl = ... }', 3)
		end
	end
end

-- Forge records for some types; other types are let through, or denied with `nodata`.
function M.ANSWER(rtable, nodata)
	check_answer_table(rtable)
	local fn, act = wrap(C.kr_action_new(C.KR_ACTION_ANSWER))
	C.kr_action_set_nodata(act, nodata and true or false)
	for rtype, set in pairs(rtable) do
		for _, rdata in ipairs(type(set.rdata) == 'table' and set.rdata or { set.rdata }) do
			if type(rdata) ~= 'string' or #rdata > 65535 or
					C.kr_action_add_record(act, rtype, set.ttl or 1, rdata, #rdata) ~= 0 then
				error('ANSWER: data of a record must be a string in wire form, its ttl a number of seconds', 2)
			end
		end
	end
	return fn
end

-- The same action with another TTL for what it makes up.
function M.TTL(seconds, action)
	local act = natives[action]
	if type(seconds) ~= 'number' or seconds < 0 or seconds > 2147483647 or act == nil then
		error('TTL: seconds and one of the actions of policy are expected', 2)
	end
	return (wrap(C.kr_action_with_ttl(act, seconds)))
end

-- Say what an action would do, do nothing.
function M.AUDIT(action)
	if type(action) ~= 'function' then
		error('AUDIT: an action is expected, got ' .. type(action), 2)
	end
	local fn, act = wrap(C.kr_action_new(C.KR_ACTION_AUDIT))
	if natives[action] then
		C.kr_action_set_inner(act, natives[action])
	else
		C.kr_action_set_label(act, 'an own action')
	end
	return fn
end

-- The answer as an empty page. Returns nil if there is none to be had.
local function clean_answer(req)
	local answer = req:ensure_answer()
	if answer == nil then return nil end
	C.kr_request_clear_selected(req)
	answer:clear_payload()
	answer:aa(false)
	answer:ad(false)
	answer:tc(false)
	answer:rcode(kres.rcode.NOERROR)
	req:ensure_edns()
	return answer
end

---------------------------------------------------------------------------------------------------
-- Forwarding

-- Text `ADDR[@PORT]` to a socket address that the garbage collector owns.
local function addr2sock(target, default_port, level)
	level = level or 3
	if type(target) ~= 'string' then
		error('failed to parse address: a string is expected, got ' .. type(target), level)
	end
	local addr_buf = ffi.new('char[?]', 47)
	local port = ffi.new('uint16_t[1]', default_port)
	if C.kr_straddr_split(target, addr_buf, port) ~= 0 then
		error('failed to parse address ' .. target, level)
	end
	local sock = C.kr_straddr_socket(addr_buf, port[0], nil)
	if sock == nil then
		error("target '" .. target .. "' is not a valid IP address", level)
	end
	return ffi.gc(sock, C.free)
end
M.addr2sock = addr2sock

local FALLBACK_ON = { timeout = true, servfail = true }

-- What makes the next group of targets take over: a list of words.
local function fallback_on(words)
	local on = {}
	for _, word in ipairs(type(words) == 'table' and words or { words }) do
		if not FALLBACK_ON[word] then
			error("forwarding: 'on' knows 'timeout' and 'servfail', not " .. tostring(word), 4)
		end
		on[word] = true
	end
	return on
end

-- Targets of a group and of those it falls back on. Socket addresses may be given, too.
local function add_targets(act, targets, default_port, group)
	local list = type(targets) == 'table' and targets or { targets }
	for key in pairs(list) do
		if type(key) ~= 'number' and key ~= 'fallback' and key ~= 'on' then
			error("forwarding: unknown key '" .. tostring(key) .. "'", 4)
		end
	end
	if #list == 0 then error('at least one forwarding target is needed', 4) end
	for _, target in ipairs(list) do
		local sock = type(target) == 'cdata' and target or M.addr2sock(target, default_port, 5)
		if C.kr_action_add_target(act, ffi.cast('struct sockaddr *', sock), group) ~= 0 then
			error('forwarding: too many targets or groups', 4)
		end
	end
	if list.fallback ~= nil then add_targets(act, list.fallback, default_port, group + 1) end
end

local function new_forward(kind, targets, default_port)
	local fn, act = wrap(C.kr_action_new(kind))
	add_targets(act, targets, default_port, 0)
	if type(targets) == 'table' and targets.on ~= nil then
		local on = fallback_on(targets.on)
		C.kr_action_set_fallback(act, on.timeout or false, on.servfail or false)
	end
	return fn
end

function M.FORWARD(targets)
	return new_forward(C.KR_ACTION_FORWARD, targets, 53)
end

function M.STUB(targets)
	return new_forward(C.KR_ACTION_STUB, targets, 53)
end

local TLS_KEYS = { hostname = true, ca_file = true, pin_sha256 = true, insecure = true, transport = true, path = true }

-- A value or a list of values as a list.
local function as_list(value)
	if value == nil then return {} end
	return type(value) == 'table' and value or { value }
end

-- What is wrong with the demands on a TLS server, or nil.
local function tls_target_fault(t, ca_files, pins)
	for key in pairs(t) do
		if key ~= 1 and not TLS_KEYS[key] then return string.format("found unexpected key '%s'", tostring(key)) end
	end
	if t.insecure ~= nil and t.insecure ~= true then return "incorrect value in the 'insecure' field" end
	if t.insecure and (#pins > 0 or #ca_files > 0) then return 'set as insecure but provided authentication config' end
	if not t.insecure and not t.hostname and #pins == 0 and #ca_files == 0 then
		return 'no way to authenticate and not set as insecure'
	end
	if #ca_files > 0 and #pins > 0 then return 'mixing pin_sha256 with ca_file is not supported' end
	if #ca_files > 0 and not t.hostname then return 'missing hostname but specifying ca_file' end
	if t.transport ~= nil and t.transport ~= 'tls' and t.transport ~= 'https' then
		return "transport must be 'tls' or 'https'"
	end
	if t.path ~= nil and (t.transport ~= 'https' or type(t.path) ~= 'string' or t.path:sub(1, 1) ~= '/') then
		return "path must begin with a slash and needs transport = 'https'"
	end
	if t.hostname ~= nil and not kres.str2dname(t.hostname) then return 'invalid hostname' end
	for _, path in ipairs(ca_files) do
		local file, why = io.open(tostring(path), 'r')
		if not file then return string.format("failed to import certificate file '%s': %s", tostring(path), why) end
		file:close()
	end
	for _, pin in ipairs(pins) do
		if type(pin) ~= 'string' or #pin ~= 44 or not pin:match('^[%w+/]+=$') then
			return string.format("not a valid pin_sha256: '%s', expected base64 of 32 bytes", tostring(pin))
		end
	end
	return nil
end

-- Tell the TLS client whom to expect at an address.
local function add_tls_target(t)
	local ca_files, pins = as_list(t.ca_file), as_list(t.pin_sha256)
	local fault = tls_target_fault(t, ca_files, pins)
	if fault then error(fault, 3) end
	local hostname = t.hostname and kres.dname2str(kres.str2dname(t.hostname)):sub(1, -2)
	local wants_store = hostname and #ca_files == 0 and #pins == 0 and not t.insecure
	local ok, err = pcall(net._tls_client, t[1], hostname, wants_store and { '' } or ca_files, pins,
		t.insecure or false, t.transport == 'https' and (t.path or '/dns-query') or nil)
	if ok then return end
	if #ca_files > 0 then
		err = string.format("failed to import certificate file '%s': %s", table.concat(ca_files, "', '"), tostring(err))
	end
	error(err, 3)
end

function M.TLS_FORWARD(targets)
	if type(targets) ~= 'table' or #targets == 0 then
		error('TLS_FORWARD argument must be a non-empty table', 2)
	end
	local list, known = {}, {}
	for i, target in ipairs(targets) do
		if type(target) ~= 'table' or type(target[1]) ~= 'string' then
			error(string.format('TLS_FORWARD configuration at position %d must be a table starting with an IP address',
				i), 2)
		end
		local sock = addr2sock(target[1], target.transport == 'https' and 443 or 853)
		local text = tostring(ffi.cast('struct sockaddr *', sock))
		if known[text] then
			error('TLS_FORWARD configuration cannot declare two configs for IP address ' .. target[1]:match('^[^@#]+'), 2)
		end
		known[text] = true
		add_tls_target(target)
		list[#list + 1] = sock
	end
	list.fallback, list.on = targets.fallback, targets.on
	return new_forward(C.KR_ACTION_TLS_FORWARD, list, 853)
end

-- Send a copy of the question somewhere; what comes back is ignored.
function M.MIRROR(target)
	local ok, socket = pcall(require, 'cqueues.socket')
	if not ok then
		error("missing lua-cqueues library, can't create socket client", 2)
	end
	local addr_buf = ffi.new('char[?]', 47)
	local port = ffi.new('uint16_t[1]', 53)
	if type(target) ~= 'string' or C.kr_straddr_split(target, addr_buf, port) ~= 0 or
			C.kr_straddr_family(addr_buf) < 0 then
		error('MIRROR target ' .. tostring(target) .. ' is not a valid: IP address', 2)
	end
	local sock = socket.connect({ host = ffi.string(addr_buf), port = port[0],
		type = socket.SOCK_DGRAM })
	sock:setmode('bn', 'bn')
	return function (_, req)
		local pkt = req.qsource.packet
		if pkt ~= nil then
			sock:xwrite(ffi.string(pkt.wire, pkt.size), 'bn', 0)
		end
		return nil
	end
end

-- Rewrite addresses of answers; for rules of the answer phase.
function M.REROUTE(targets, names)
	if type(targets) ~= 'table' then
		error('REROUTE: a table { [subnet or name] = address } is expected, got ' .. type(targets), 2)
	end
	local renumber = require('kres_modules.renumber')
	local keys, rules = {}, {}
	for key in pairs(targets) do keys[#keys + 1] = key end
	local function length(key) return tonumber(tostring(key):match('/(%d+)$')) or 128 end
	table.sort(keys, function (a, b) -- the smaller network first
		if length(a) ~= length(b) then return length(a) > length(b) end
		return tostring(a) < tostring(b)
	end)
	for i, key in ipairs(keys) do
		rules[i] = (names and renumber.name or renumber.prefix)(key, targets[key])
	end
	local fn = renumber.rule(rules)
	late[fn] = true
	return fn
end

---------------------------------------------------------------------------------------------------
-- Flags and traces

function M.FLAGS(opts_set, opts_clear)
	local set, clear = kres.mk_qflags(opts_set or {}), kres.mk_qflags(opts_clear or {})
	local fn, act = wrap(C.kr_action_new(C.KR_ACTION_FLAGS))
	C.kr_action_set_flags(act, set, clear)
	return fn
end

local function log_reqdbg(req, fmt, ...)
	log_req(req, 0, 0, LOG_GRP_REQDBG, fmt, ...)
end

local function log_question(req)
	log_reqdbg(req, 'request packet:\n%s', tostring(req.qsource.packet))
end

function M.REQTRACE(_, req)
	log_question(req)
	return nil
end

function M.IPTRACE(_, req)
	if req.qsource.addr == nil then
		log_reqdbg(req, 'request packet arrived internally')
		return nil
	end
	local function on(flags, name)
		return flags[name] and ' + ' .. name:upper() or ''
	end
	local flags = req.qsource.flags
	log_reqdbg(req, 'request packet arrived from %s to %s (%s%s%s%s)',
		tostring(ffi.cast('struct sockaddr *', req.qsource.addr)),
		req.qsource.dst_addr ~= nil and tostring(ffi.cast('struct sockaddr *', req.qsource.dst_addr))
			or 'unknown',
		flags.tcp and 'TCP' or 'UDP', on(flags, 'tls'), on(flags, 'http'), on(flags, 'xdp'))
	return nil
end

local function log_answer(req)
	log_reqdbg(req, 'following rrsets were marked as interesting:\n%s', req:selected_tostring())
	if req.answer ~= nil then
		log_reqdbg(req, 'answer packet:\n%s', tostring(req.answer))
	else
		log_reqdbg(req, 'answer packet DROPPED')
	end
end

-- A line of a traced request. Those of this group were logged already.
local function print_line(text)
	if text:sub(1, 8) == '[reqdbg]' then return end
	C.kr_log_fmt(LOG_GRP_REQDBG, LOG_DEBUG, 'CODE_FILE=policy.lua', 'CODE_LINE=', 'policy', '%s', text)
end

function M.DEBUG_ALWAYS(state, req)
	M.REQTRACE(state, req)
	M.QTRACE(state, req)
	req:trace_chain_callbacks(function (_, msg) print_line(ffi.string(msg)) end, log_answer)
	return nil
end

function M.DEBUG_IF(test)
	if type(test) ~= 'function' then
		error('DEBUG_IF: a function is expected, got ' .. type(test), 2)
	end
	return function (state, req)
		M.QTRACE(state, req)
		local lines = {}
		req:trace_chain_callbacks(function (_, msg)
			lines[#lines + 1] = ffi.string(msg)
		end, function (r)
			if not test(r) then return end
			local collected = lines
			lines = {}
			log_question(r)
			log_answer(r)
			for _, line in ipairs(collected) do print_line(line) end
		end)
		return nil
	end
end

M.DEBUG_CACHE_MISS = M.DEBUG_IF(function (req)
	return not req:all_from_cache()
end)

---------------------------------------------------------------------------------------------------
-- Filters

function M.todnames(names)
	for i, name in ipairs(names) do
		local dname = kres.str2dname(name)
		if not dname then
			error("'" .. tostring(name) .. "' is not a domain name", 2)
		end
		names[i] = dname
	end
	return names
end

-- A name in wire form; text is accepted too.
local function wire_name(name)
	if type(name) ~= 'string' or name == '' then
		error('a domain name is expected, got ' .. type(name), 4)
	end
	if name:byte(-1) == 0 then return name:lower() end
	local dname = kres.str2dname(name)
	if not dname then error("'" .. name .. "' is not a domain name", 4) end
	return dname
end

-- Filter function → what it is made of, for the engine in C (lib/rules/rules.h).
local filters = setmetatable({}, { __mode = 'k' })

local function filter(fn, info)
	filters[fn] = info
	return fn
end
M._filter = filter

local function new_names()
	local names = C.kr_names_new()
	if names == nil then error('policy: out of memory', 3) end
	return ffi.gc(names, C.kr_names_unref)
end

local function name_set(list, below)
	if type(list) ~= 'table' then
		error('a list of domain names is expected, got ' .. type(list), 3)
	end
	local names = new_names()
	for _, name in ipairs(list) do C.kr_names_add(names, wire_name(name), below) end
	return names
end

local function by_names(action, names)
	return filter(function (_, query)
		if C.kr_names_have(names, query:name()) then return action end
	end, { kind = C.KR_FILTER_NAMES, names = names, action = action })
end

-- Does the action of a rule belong into the answer phase?
function M._is_late(rule)
	local info = filters[rule]
	return info ~= nil and late[info.action] == true
end

-- What a filter is made of, or nil.
function M._parts(rule)
	return filters[rule]
end

function M.all(action)
	return filter(function () return action end, { kind = C.KR_FILTER_ALL, action = action })
end

function M.domains(action, dname_list)
	return by_names(action, name_set(dname_list, false))
end

function M.suffix(action, dname_list)
	return by_names(action, name_set(dname_list, true))
end

-- Of both the common suffix and the others, the longer one decides.
function M.suffix_common(action, suffix_list, common_suffix)
	if not common_suffix then return M.suffix(action, suffix_list) end
	local common = wire_name(common_suffix)
	local names = new_names()
	for _, suffix in ipairs(suffix_list) do
		local name = wire_name(suffix)
		if C.knot_dname_in_bailiwick(name, common) >= 0 then
			C.kr_names_add(names, name, true)
		elseif C.knot_dname_in_bailiwick(common, name) >= 0 then
			C.kr_names_add(names, common, true)
		end
	end
	return by_names(action, names)
end

function M.pattern(action, pattern)
	string.find('', pattern) -- a bad pattern is an error here and now
	return function (_, query)
		if string.find(query:name(), pattern) then return action end
	end
end

function M.slice(slice_func, ...)
	local actions = { ... }
	if #actions == 0 then
		error('[poli] at least one action must be provided to policy.slice()', 2)
	end
	return function (_, query)
		return actions[slice_func(query, #actions)]
	end
end

function M.slice_randomize_psl(seed)
	local ok, psl_lib = pcall(require, 'psl')
	if not ok then
		error('[poli] lua-psl is required for policy.slice_randomize_psl()', 2)
	end
	local psl = psl_lib.latest() or psl_lib.builtin()
	seed = seed or math.floor(os.time() / 604800)
	return function (query, length)
		assert(length > 0)
		local domain = kres.dname2str(query:name()):sub(1, -2)
		local key = psl:registrable_domain(domain) or psl:unregistrable_domain(domain) or domain
		local hash = seed % 2147483647
		for i = 1, #key do
			hash = (hash * 31 + key:byte(i)) % 2147483647
		end
		return 1 + hash % length
	end
end

---------------------------------------------------------------------------------------------------
-- Lists of names in files: response policy zones and simpler formats (lib/rules/list.h)

local POLL_MS = 500
local FORMATS = { rpz = C.KR_LIST_RPZ, hosts = C.KR_LIST_HOSTS, domains = C.KR_LIST_DOMAINS,
	adblock = C.KR_LIST_ADBLOCK }
local OPTIONS = { format = 'string', watch = 'boolean', drop = 'string', name = 'string', tell = 'boolean' }

local BY_VERDICT = {
	[tonumber(C.KR_VERDICT_PASS)] = M.PASS,
	[tonumber(C.KR_VERDICT_TC)] = M.TC,
}

-- All lists in use, for M.lists().
local lists = setmetatable({}, { __mode = 'k' })

-- Look after a file for as long as its list is in use.
local function watch_list(list, path)
	local weak = setmetatable({ list = list }, { __mode = 'v' })
	local error_text = ffi.new('char[512]')
	event.recurrent(POLL_MS, function (timer)
		if not weak.list then return event.cancel(timer) end
		local result = C.kr_list_poll(weak.list, error_text)
		if result > 0 then
			local stats = C.kr_list_stats(weak.list)
			log_info(LOG_GRP_POLICY, 'RPZ reloading: %s', path:match('[^/]+$'))
			log_info(LOG_GRP_POLICY, 'list %s: %d entries, serial %d', path, tonumber(stats.entries),
				tonumber(stats.serial))
			M._book:changed()
		elseif result < 0 then
			log_error(LOG_GRP_POLICY, 'RPZ %s: %s (the old rules stay)', path, ffi.string(error_text))
		end
	end)
end

local function open_list(path, opts, level)
	if type(path) ~= 'string' then error('a path is expected, got ' .. type(path), level + 1) end
	local config = ffi.new('struct kr_list_config')
	local error_text = ffi.new('char[512]')
	config.path, config.dir = path, 'rules'
	config.format = FORMATS[opts.format or 'rpz']
	config.no_answer = opts.drop == 'silent'
	local list = C.kr_list_open(config, error_text)
	if list == nil then
		error(string.format('failed to parse "%s": %s', path, ffi.string(error_text)), level + 1)
	end
	return ffi.gc(list, C.kr_list_unref)
end

-- What the rule of a list does about a name.
local function list_filter(list, action, opts)
	local hit = ffi.new('struct kr_list_hit')
	return filter(function (_, query)
		local verdict = tonumber(C.kr_list_find(list, query:name(), hit))
		if verdict == C.KR_VERDICT_NONE then return nil end
		if verdict == C.KR_VERDICT_LISTED then return action end
		if verdict == C.KR_VERDICT_DROP then return opts.drop == 'silent' and M.NO_ANSWER or M.DROP end
		return BY_VERDICT[verdict] or (wrap(C.kr_list_action(list, hit)))
	end, { kind = C.KR_FILTER_LIST, list = list, action = action, label = opts.tell and opts.name or nil })
end

-- A filter for the names of a file.
function M.list(action, path, opts)
	opts = opts or {}
	for key, value in pairs(opts) do
		if type(value) ~= OPTIONS[key] then error("list: bad option '" .. tostring(key) .. "'", 2) end
	end
	if opts.format and not FORMATS[opts.format] then
		error("list: unknown format '" .. opts.format .. "'; there are rpz, hosts, domains and adblock", 2)
	end
	if opts.drop and opts.drop ~= 'servfail' and opts.drop ~= 'silent' then
		error("list: drop is 'servfail' or 'silent'", 2)
	end
	local list = open_list(path, opts, 2)
	local named = { name = opts.name or path:match('[^/]+$'), tell = opts.tell, drop = opts.drop }
	lists[list] = named.name
	if opts.watch ~= false then watch_list(list, path) end
	return list_filter(list, action, named)
end

function M.rpz(action, path, watch, opts)
	local all = { format = 'rpz' }
	for key, value in pairs(opts or {}) do all[key] = value end
	if watch ~= nil then all.watch = watch and true or false end
	local ok, result = pcall(M.list, action, path, all)
	if not ok then error((tostring(result):gsub('^[^:]*:%d+: ', '')), 2) end
	return result
end

-- Lists in use with their counters.
function M.lists()
	local found = {}
	local text = ffi.new('char[1024]')
	for list, name in pairs(lists) do
		local stats = C.kr_list_stats(list)
		local top, i = {}, 0
		while true do
			local hits = tonumber(C.kr_list_top(list, i, text, 1024))
			if hits == 0 then break end
			i = i + 1
			top[i] = { name = ffi.string(text), hits = hits }
		end
		table.sort(top, function (x, y) return x.hits > y.hits end)
		for n = #top, 21, -1 do top[n] = nil end
		found[#found + 1] = { name = name, entries = tonumber(stats.entries), hits = tonumber(stats.hits),
			skipped = tonumber(stats.skipped), generation = tonumber(stats.generation),
			serial = tonumber(stats.serial), shared = stats.is_shared, top = top }
	end
	table.sort(found, function (x, y) return x.name < y.name end)
	return found
end

---------------------------------------------------------------------------------------------------
-- Books: rules in the engine, as tables that Lua sees

local rule_p = ffi.typeof('struct kr_rule *')

local function address(rule)
	return tonumber(ffi.cast('intptr_t', ffi.cast(rule_p, rule)))
end

-- Description → { rule, book }; the counters of a rule are in C.
local handles = setmetatable({}, { __mode = 'k' })

local desc_mt = {
	__index = function (desc, key)
		local handle = handles[desc]
		if not handle then return nil end
		if key == 'count' then return tonumber(handle.rule.count) end
		if key == 'suspended' then return handle.rule.suspended or nil end
	end,
	__newindex = function (desc, key, value)
		local handle = handles[desc]
		if handle and key == 'count' then
			handle.rule.count = value
		elseif handle and key == 'suspended' then
			C.kr_rule_suspend(handle.book, handle.rule, value and true or false)
		else
			rawset(desc, key, value)
		end
	end,
}

local Book = {}
Book.__index = Book

local function new_book(which)
	return setmetatable({ c = C.kr_rulebook(kres.context(), which), descs = {} }, Book)
end

-- Add a rule to the engine; `extra` may have net = { side, family, bytes, bits } and key.
function Book:add(list, desc, extra)
	local cb = desc.cb
	local info = filters[cb]
	local def = ffi.new('struct kr_rule_def')
	local net = extra and extra.net
	if info and (info.action == nil or info.net and net) then info = nil end
	def.id = tonumber(desc.id) or 0
	def.filter = info and info.kind or C.KR_FILTER_ASK
	def.names, def.list = info and info.names, info and info.list
	def.action = info and natives[info.action]
	def.label = info and info.label
	def.key = extra and extra.key
	net = net or info and info.net
	if net then
		def.side, def.family, def.bits = net.side, net.family, net.bits
		ffi.copy(def.net, net.bytes, #net.bytes)
	end
	local rule = C.kr_rule_add(self.c, list, def)
	if rule == nil then error('policy: the rule is not valid', 3) end
	C.kr_rule_ref(rule)
	local count, suspended = rawget(desc, 'count'), rawget(desc, 'suspended')
	desc.count, desc.suspended = nil, nil
	handles[desc] = { rule = ffi.gc(rule, C.kr_rule_unref), book = self.c }
	self.descs[address(rule)] = desc
	setmetatable(desc, desc_mt)
	if count then desc.count = count end
	if suspended then desc.suspended = true end
	return desc
end

function Book:del(desc)
	local handle = handles[desc]
	if not handle then return end
	self.descs[address(handle.rule)] = nil
	C.kr_rule_del(self.c, handle.rule)
end

function Book:changed()
	C.kr_rulebook_changed(self.c)
end

-- The action of a rule: its filter is a function, or has found already that it matches.
local function action_of(desc, is_unsure, req, qry)
	if is_unsure then return desc.cb(req, qry) end
	local info = filters[desc.cb]
	return info and info.action
end

-- Go on where C could not. Returns a state or nil.
function Book:ask(state, req, qry)
	local rule = C.kr_rulebook_asked(self.c)
	while rule ~= nil do
		local place, is_unsure = rule.place, rule.is_unsure
		local desc = self.descs[address(rule)]
		local action = desc and action_of(desc, is_unsure, req, qry)
		if action then
			if is_unsure then desc.count = desc.count + 1 end
			local result = action(state, req)
			if result then
				req.rules_end = place
				return result
			end
		end
		local result = C.kr_rulebook_run(self.c, req, state, place)
		if result >= 0 then return result ~= 0 and result or nil end
		rule = C.kr_rulebook_asked(self.c)
	end
	return nil
end

M._new_book = new_book

---------------------------------------------------------------------------------------------------
-- The lists of rules

local book = new_book(C.KR_BOOK_POLICY)
M._book = book

-- Lists that Lua sees, and what the engine has of them.
local shown = { rules = {}, postrules = {}, special_names = {} }
local known = { rules = {}, special_names = {} }
local PLACES = { rules = C.KR_POLICY_USER, special_names = C.KR_POLICY_SPECIAL }

local function is_same(a, b)
	if #a ~= #b then return false end
	for i = 1, #a do
		if a[i] ~= b[i] then return false end
	end
	return true
end

-- Take a rule out of the engine; its description stays as it is.
local function forget(desc)
	local count, suspended = desc.count, desc.suspended
	book:del(desc)
	handles[desc] = nil
	desc.count, desc.suspended = count, suspended
end

-- Lists may be changed by hand: see to it that the engine has the same.
local function sync()
	for name, list in pairs(known) do
		local now = shown[name]
		if not is_same(now, list) then
			for _, desc in ipairs(list) do forget(desc) end
			known[name] = {}
			for i, desc in ipairs(now) do
				book:add(PLACES[name], desc)
				known[name][i] = desc
			end
		end
	end
	C.kr_rulebook_set_post(book.c, #shown.postrules > 0)
end

setmetatable(M, {
	__index = shown,
	__newindex = function (module, key, value)
		if shown[key] and type(value) == 'table' then
			shown[key] = value
			sync()
		else
			rawset(module, key, value)
		end
	end,
})

function M.add(...)
	local rule, postrule = ...
	if rule == M then -- policy:add(rule, postrule)
		rule, postrule = select(2, ...)
	end
	if type(rule) ~= 'function' then
		error('policy.add: a rule (function) is expected, got ' .. type(rule), 2)
	end
	if not postrule and M._is_late(rule) then
		error('policy.add: an action of the answer phase needs policy.add(RULE, true)', 2)
	end
	local desc = { id = next_id, cb = rule, count = 0 }
	next_id = next_id + 1
	sync()
	if postrule then
		table.insert(shown.postrules, desc)
	else
		book:add(C.KR_POLICY_USER, desc)
		table.insert(shown.rules, desc)
		table.insert(known.rules, desc)
	end
	sync()
	return desc
end

function M.del(id)
	sync()
	for _, name in ipairs({ 'postrules', 'rules' }) do
		local list = shown[name]
		for i, desc in ipairs(list) do
			if desc.id == id then
				table.remove(list, i)
				if name == 'rules' then
					table.remove(known.rules, i)
					book:del(desc)
				end
				sync()
				return true
			end
		end
	end
	return false
end

-- Let rules decide about the names that aliases in answers lead to, too.
function M.check_aliases(wanted)
	C.kr_rulebook_check_aliases(book.c, wanted ~= false)
end

-- Run a list. Returns the state of the first non-chain action, or nil.
function M.evaluate(rules, req, query, state)
	for i = 1, #rules do
		local desc = rules[i]
		if not desc.suspended then
			local action = desc.cb(req, query)
			if action then
				desc.count = desc.count + 1
				local new_state = action(state, req)
				if new_state then return new_state end
			end
		end
	end
	return nil
end

---------------------------------------------------------------------------------------------------
-- Special-use names (RFC 6303, 6761, 7686, 8375 ...)

local function arpa_list()
	local list = { '10.in-addr.arpa', '168.192.in-addr.arpa', '0.in-addr.arpa', '254.169.in-addr.arpa',
		'2.0.192.in-addr.arpa', '100.51.198.in-addr.arpa', '113.0.203.in-addr.arpa',
		'255.255.255.255.in-addr.arpa', string.rep('0.', 32) .. 'ip6.arpa', 'd.f.ip6.arpa',
		'8.e.f.ip6.arpa', '9.e.f.ip6.arpa', 'a.e.f.ip6.arpa', 'b.e.f.ip6.arpa',
		'8.b.d.0.1.0.0.2.ip6.arpa', 'home.arpa' }
	for i = 16, 31 do list[#list + 1] = i .. '.172.in-addr.arpa' end
	for i = 64, 127 do list[#list + 1] = i .. '.100.in-addr.arpa' end
	return list
end

local LOCAL_ZONES = M.todnames(arpa_list())
local SPECIAL_NAMES = M.todnames({ 'test', 'onion', 'invalid', 'local' })

local function deny_by_standard(url)
	return deny('Blocking is mandated by standards, see references on ' .. url, ede.NOTSUP, 'DENY_MSG')
end

local FORGED_SOA_TTL = 10800

local function u32(n)
	return string.char(bit.band(bit.rshift(n, 24), 255), bit.band(bit.rshift(n, 16), 255),
		bit.band(bit.rshift(n, 8), 255), bit.band(n, 255))
end

-- rdata of the SOA of local zones
local function forged_soa(mname)
	return mname .. '\6nobody\7invalid\0' .. u32(1) .. u32(3600) .. u32(1200) .. u32(604800) .. u32(10800)
end

local LOCALHOST = kres.str2dname('localhost')
local LOOPBACK4 = kres.str2dname('127.in-addr.arpa')
local LOOPBACK6 = kres.str2dname('1.' .. string.rep('0.', 31) .. 'ip6.arpa')
local LOCAL_TTL = 900

-- An authoritative answer out of nothing but constants.
local function put_local(req, rcode, records, soa_owner)
	local answer = clean_answer(req)
	if answer == nil then return nil end
	C.kr_pkt_make_auth_header(answer)
	answer:rcode(rcode)
	answer:begin(#records > 0 and kres.section.ANSWER or kres.section.AUTHORITY)
	for _, rr in ipairs(records) do
		answer:put(answer:qname(), rr.ttl or LOCAL_TTL, answer:qclass(), rr.type, rr.rdata)
	end
	if #records == 0 then
		answer:put(soa_owner, FORGED_SOA_TTL, answer:qclass(), kres.type.SOA, forged_soa(LOCALHOST))
	end
	return kres.DONE
end

local LOCALHOST_NS = { type = kres.type.NS, rdata = LOCALHOST }
local LOCALHOST_SOA = { type = kres.type.SOA, rdata = forged_soa(LOCALHOST), ttl = FORGED_SOA_TTL }

local function localhost(_, req)
	local qry = req:current()
	local records = {}
	if qry.stype == kres.type.A then
		records = { { type = kres.type.A, rdata = '\127\0\0\1' } }
	elseif qry.stype == kres.type.AAAA then
		records = { { type = kres.type.AAAA, rdata = kres.str2ip('::1') } }
	elseif qry:name() == LOCALHOST and qry.stype == kres.type.SOA then
		records = { LOCALHOST_SOA }
	elseif qry:name() == LOCALHOST and qry.stype == kres.type.NS then
		records = { LOCALHOST_NS }
	end
	return put_local(req, kres.rcode.NOERROR, records, LOCALHOST)
end

-- Names that exist in the reverse zones of the loopback addresses, and what they have.
local PTR_LOCALHOST = { [kres.type.PTR] = { type = kres.type.PTR, rdata = LOCALHOST } }
local REVERSE = {
	[LOOPBACK4] = { [kres.type.SOA] = LOCALHOST_SOA, [kres.type.NS] = LOCALHOST_NS },
	[kres.str2dname('0.127.in-addr.arpa')] = {},
	[kres.str2dname('0.0.127.in-addr.arpa')] = {},
	[kres.str2dname('1.0.0.127.in-addr.arpa')] = PTR_LOCALHOST,
	[LOOPBACK6] = { [kres.type.PTR] = PTR_LOCALHOST[kres.type.PTR], [kres.type.SOA] = LOCALHOST_SOA,
		[kres.type.NS] = LOCALHOST_NS },
}

local function loopback_reverse(_, req)
	local qry = req:current()
	local name = qry:name()
	local has = REVERSE[name]
	local apex = name:sub(-#LOOPBACK4) == LOOPBACK4 and LOOPBACK4 or LOOPBACK6
	if not has then return put_local(req, kres.rcode.NXDOMAIN, {}, apex) end
	return put_local(req, kres.rcode.NOERROR, { has[qry.stype] }, apex)
end

local IANA = 'https://www.iana.org/assignments/'

M.special_names = {
	{ cb = M.suffix(deny_by_standard(IANA
		.. 'locally-served-dns-zones/locally-served-dns-zones.xhtml'), LOCAL_ZONES), count = 0 },
	{ cb = M.suffix(deny_by_standard(IANA
		.. 'special-use-domain-names/special-use-domain-names.xhtml'), SPECIAL_NAMES), count = 0 },
	{ cb = M.suffix(localhost, { LOCALHOST }), count = 0 },
	{ cb = M.suffix(loopback_reverse, { LOOPBACK4, LOOPBACK6 }), count = 0 },
}

---------------------------------------------------------------------------------------------------
-- Layer

-- The engine goes first; these are called if a function has to be asked (daemon/ffi_layer.c).
M.layer = {
	compiled = true,
	concerns = { tlds = { 'arpa', 'test', 'onion', 'invalid', 'local', 'localhost' } }, -- special names
	begin = function (state, req)
		local qry = req:initial()
		if qry == nil then qry = req:current() end
		return book:ask(state, req, qry) or state
	end,
	finish = function (state, req)
		if #shown.postrules == 0 or bit.band(state, kres.FAIL) ~= 0 then return state end
		local qry = req:initial()
		if qry == nil or req.answer == nil then return state end
		return M.evaluate(shown.postrules, req, qry, state) or state
	end,
}

function M.init()
	sync()
	event.after(0, sync) -- lists changed by hand in the configuration
end

-- The engine forgets; the lists are kept for the next time.
function M.deinit()
	for name, list in pairs(known) do
		for _, desc in ipairs(list) do forget(desc) end
		known[name] = {}
	end
	C.kr_rulebook_set_post(book.c, false)
end

return M
