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

M.rules = {}
M.postrules = {}
M.special_names = {}
local next_id = 0

---------------------------------------------------------------------------------------------------
-- Answers made here

local FORGED_SOA_TTL = 10800

local function u32(n)
	return string.char(bit.band(bit.rshift(n, 24), 255), bit.band(bit.rshift(n, 16), 255),
		bit.band(bit.rshift(n, 8), 255), bit.band(n, 255))
end

local SOA_RNAME = '\6nobody\7invalid\0'
local SOA_NUMBERS = u32(1) .. u32(3600) .. u32(1200) .. u32(604800) .. u32(10800)

-- rdata of the SOA of forged answers
local function forged_soa(mname)
	return mname .. SOA_RNAME .. SOA_NUMBERS
end

local function log_applied(req, action)
	if not C.kr_log_is_debug_fun(LOG_GRP_POLICY, req) then return end
	local qry = req:current()
	if qry == nil then return end
	log_qry(qry, LOG_GRP_POLICY, '%s applied for %s %s', action,
		kres.dname2str(qry:name()), kres.tostring.type[qry.stype] or tostring(qry.stype))
end

-- The answer as an empty page. Returns nil if there is none to be had.
local function clean_answer(req)
	local answer = req:ensure_answer()
	if answer == nil then return nil end
	req.answ_selected.len = 0
	req.auth_selected.len = 0
	req.add_selected.len = 0
	answer:clear_payload()
	answer:aa(false)
	answer:ad(false)
	answer:tc(false)
	answer:rcode(kres.rcode.NOERROR)
	req:ensure_edns()
	return answer
end

local function mkauth_soa(answer, dname, mname, ttl)
	return answer:put(dname, ttl or FORGED_SOA_TTL, answer:qclass(), kres.type.SOA,
		forged_soa(mname or dname))
end

-- Deny with a SOA, and an explanation if there is one.
local function deny(msg, code, text, log_name)
	if msg ~= nil and (type(msg) ~= 'string' or #msg >= 255) then
		error('DENY_MSG: optional msg must be string shorter than 256 characters', 3)
	end
	return function (_, req)
		local answer = clean_answer(req)
		if answer == nil then return nil end
		C.kr_pkt_make_auth_header(answer)
		answer:rcode(kres.rcode.NXDOMAIN)
		answer:begin(kres.section.AUTHORITY)
		mkauth_soa(answer, answer:qname())
		if msg then
			answer:begin(kres.section.ADDITIONAL)
			answer:put('\11explanation\7invalid\0', FORGED_SOA_TTL, answer:qclass(),
				kres.type.TXT, string.char(#msg) .. msg)
		end
		req:set_extended_error(code or ede.BLOCKED, text or 'CR36')
		log_applied(req, log_name or (msg and 'DENY_MSG' or 'DENY'))
		return kres.DONE
	end
end

M.DENY = deny()

function M.DENY_MSG(msg, extended_error)
	return deny(msg, extended_error)
end

function M.PASS(state, req)
	log_applied(req, 'PASS')
	return state
end

function M.DROP(_, req)
	local answer = clean_answer(req)
	if answer == nil then return nil end
	answer:rcode(kres.rcode.SERVFAIL)
	req:set_extended_error(ede.PROHIBITED, 'U5KL')
	log_applied(req, 'DROP')
	return kres.FAIL
end

function M.REFUSE(_, req)
	local answer = clean_answer(req)
	if answer == nil then return nil end
	answer:rcode(kres.rcode.REFUSED)
	req:set_extended_error(ede.PROHIBITED, 'EIM4')
	log_applied(req, 'REFUSE')
	return kres.DONE
end

function M.NO_ANSWER(_, req)
	req.options.NO_ANSWER = true
	log_applied(req, 'NO_ANSWER')
	return kres.FAIL
end

-- Send clients to a stream; those who came by one are let pass.
function M.TC(state, req)
	if req.qsource.addr == nil or req.qsource.flags.tcp then
		return state
	end
	local answer = clean_answer(req)
	if answer == nil then return nil end
	answer:tc(true)
	log_applied(req, 'TC')
	return kres.DONE
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
	return function (_, req)
		local qry = req:current()
		if qry == nil then return nil end
		local set = rtable[qry.stype]
		if set == nil and not nodata then return nil end
		local answer = clean_answer(req)
		if answer == nil then return nil end
		C.kr_pkt_make_auth_header(answer)
		answer:rcode(kres.rcode.NOERROR)
		local owner = answer:qname()
		if set == nil then
			answer:begin(kres.section.AUTHORITY)
			local soa = rtable[kres.type.SOA]
			if soa then
				local rdata = type(soa.rdata) == 'table' and soa.rdata[1] or soa.rdata
				answer:put(owner, soa.ttl or 1, answer:qclass(), kres.type.SOA, rdata)
			else
				mkauth_soa(answer, owner, nil, 1)
			end
			log_applied(req, 'ANSWER (nodata)')
		else
			answer:begin(kres.section.ANSWER)
			local rdata = set.rdata
			if type(rdata) ~= 'table' then rdata = { rdata } end
			for _, rd in ipairs(rdata) do
				answer:put(owner, set.ttl or 1, answer:qclass(), qry.stype, rd)
			end
			log_applied(req, 'ANSWER (forged)')
		end
		req:set_extended_error(ede.FORGED, '5DO5')
		return kres.DONE
	end
end

---------------------------------------------------------------------------------------------------
-- Forwarding

-- Text `ADDR[@PORT]` to a socket address that the garbage collector owns.
local function addr2sock(target, default_port)
	if type(target) ~= 'string' then
		error('failed to parse address: a string is expected, got ' .. type(target), 3)
	end
	local addr_buf = ffi.new('char[?]', 47)
	local port = ffi.new('uint16_t[1]', default_port)
	if C.kr_straddr_split(target, addr_buf, port) ~= 0 then
		error('failed to parse address ' .. target, 3)
	end
	local sock = C.kr_straddr_socket(addr_buf, port[0], nil)
	if sock == nil then
		error("target '" .. target .. "' is not a valid IP address", 3)
	end
	return ffi.gc(sock, C.free)
end
M.addr2sock = addr2sock

local function parse_targets(targets, default_port)
	local list = {}
	for _, target in ipairs(type(targets) == 'table' and targets or { targets }) do
		list[#list + 1] = addr2sock(target, default_port)
	end
	if #list == 0 then
		error('at least one forwarding target is needed', 3)
	end
	return list
end

-- Replace the targets of a request.
local function set_targets(req, list)
	req.selection_context.forwarding_targets.len = 0
	local added = 0
	for _, sock in ipairs(list) do
		if C.kr_forward_add_target(req, sock) == 0 then
			added = added + 1
		end
	end
	if added == 0 then
		local names = {}
		for i, sock in ipairs(list) do names[i] = tostring(ffi.cast('struct sockaddr *', sock)) end
		error('no usable forwarding target (address family disabled): ' .. table.concat(names, ', '))
	end
end

local function go_forward(state, req, list)
	local qry = req:current()
	req.options.FORWARD = true
	req.options.NO_MINIMIZE = true
	qry.flags.FORWARD = true
	qry.flags.ALWAYS_CUT = false
	qry.flags.NO_MINIMIZE = true
	qry.flags.AWAIT_CUT = true
	set_targets(req, list)
	return state
end

function M.FORWARD(targets)
	local list = parse_targets(targets, 53)
	return function (state, req)
		log_applied(req, 'FORWARD')
		return go_forward(state, req, list)
	end
end

function M.STUB(targets)
	local list = parse_targets(targets, 53)
	return function (state, req)
		local qry = req:current()
		qry.flags.STUB = true
		qry.flags.ALWAYS_CUT = false
		set_targets(req, list)
		log_applied(req, 'STUB')
		return state
	end
end

local TLS_KEYS = { hostname = true, ca_file = true, pin_sha256 = true, insecure = true }

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
		t.insecure or false)
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
		local sock = addr2sock(target[1], 853)
		local text = tostring(ffi.cast('struct sockaddr *', sock))
		if known[text] then
			error('TLS_FORWARD configuration cannot declare two configs for IP address ' .. target[1]:match('^[^@#]+'), 2)
		end
		known[text] = true
		add_tls_target(target)
		list[#list + 1] = sock
	end
	return function (state, req)
		log_applied(req, 'TLS_FORWARD')
		req.options.TCP = true
		req:current().flags.TCP = true
		return go_forward(state, req, list)
	end
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
	return renumber.rule(rules)
end

---------------------------------------------------------------------------------------------------
-- Flags and traces

function M.FLAGS(opts_set, opts_clear)
	local set, clear = kres.mk_qflags(opts_set or {}), kres.mk_qflags(opts_clear or {})
	return function (_, req)
		local qry = req:current()
		C.kr_qflags_set(qry.flags, set)
		C.kr_qflags_clear(qry.flags, clear)
		C.kr_qflags_set(req.options, set)
		C.kr_qflags_clear(req.options, clear)
		return nil
	end
end

local function log_reqdbg(req, fmt, ...)
	log_req(req, 0, 0, LOG_GRP_REQDBG, fmt, ...)
end

function M.QTRACE(_, req)
	req.options.TRACE = true
	local qry = req:current()
	if qry ~= nil then qry.flags.TRACE = true end
	return nil
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

local function name_set(names)
	local set = {}
	for _, name in ipairs(names) do set[wire_name(name)] = true end
	return set
end

function M.all(action)
	return function () return action end
end

function M.domains(action, dname_list)
	local set = name_set(dname_list)
	return function (_, query)
		if set[query:name()] then return action end
	end
end

-- Is the name, or any ancestor of it, in the set? One look-up a label.
local function has_suffix(set, name)
	local pos = 1
	while true do
		if set[pos == 1 and name or name:sub(pos)] then return true end
		local len = name:byte(pos)
		if not len or len == 0 then return false end
		pos = pos + len + 1
	end
end

function M.suffix(action, dname_list)
	local set = name_set(dname_list)
	if next(set) == nil then return function () end end
	return function (_, query)
		if has_suffix(set, query:name()) then return action end
	end
end

function M.suffix_common(action, suffix_list, common_suffix)
	local matches = M.suffix(action, suffix_list)
	if not common_suffix then return matches end
	local common = wire_name(common_suffix)
	return function (req, query)
		local name = query:name()
		if name:sub(-#common) == common then return matches(req, query) end
	end
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
-- Response policy zones

local function rpz_action_of(target, custom)
	if target == '\0' then return custom end
	if target == '\1*\0' then return M.ANSWER({}, true) end
	if target == '\12rpz-passthru\0' then return M.PASS end
	if target == '\8rpz-drop\0' then return M.DROP end
	if target == '\12rpz-tcp-only\0' then return M.TC end
	return nil
end

local function rpz_warn(path, line, fmt, ...)
	log_warn(LOG_GRP_POLICY, 'RPZ %s:%d ' .. fmt, path, line, ...)
end

local RPZ_BANNED = {}
for _, name in ipairs({ 'DNAME', 'DNSKEY', 'DS', 'RRSIG', 'NSEC', 'NSEC3' }) do
	RPZ_BANNED[kres.type[name]] = name
end

-- Add one record to the rules being collected.
local function rpz_record(zone, parser, action)
	local path, line = zone.path, tonumber(parser.line_counter)
	local owner = ffi.string(parser.r_owner, parser.r_owner_length):lower()
	local rtype = parser.r_type
	local rdata = ffi.string(parser.r_data, parser.r_data_length)
	if rtype == kres.type.SOA then
		if zone.origin_known then
			rpz_warn(path, line, 'warning: RR type SOA is not allowed in RPZ (ignored)')
		else
			zone.origin, zone.origin_known = owner, true
		end
		return
	end
	if not zone.origin_known and not zone.soa_warned then
		zone.soa_warned = true
		rpz_warn(path, line, 'warning: SOA missing as the first record')
	end
	zone.origin = zone.origin or ffi.string(parser.zone_origin, parser.zone_origin_length):lower()
	local origin = zone.origin
	if C.knot_dname_in_bailiwick(owner, origin) < 0 then
		if not zone.outside_warned then
			zone.outside_warned = true
			log_warn(LOG_GRP_POLICY,
				'RPZ %s:%d: RR owner "%s" outside the zone (ignored; reported once per file)',
				path, line, kres.dname2str(owner))
		end
		return
	end
	local name = owner:sub(1, #owner - #origin) .. '\0'
	if rtype == kres.type.NS and name == '\0' then return end
	if RPZ_BANNED[rtype] or rtype == kres.type.NS then
		rpz_warn(path, line, 'warning: RR type %s is not allowed in RPZ (ignored)',
			kres.tostring.type[rtype])
		return
	end
	local rule = zone.rules[name]
	if not rule then
		rule = {}
		zone.rules[name] = rule
		zone.count = zone.count + 1
	end
	if rtype == kres.type.CNAME then
		local found = rpz_action_of(rdata, action)
		if found then
			rule.action = found
		else
			log_warn(LOG_GRP_POLICY,
				'RPZ %s:%d: CNAME with custom target in RPZ is not supported yet (ignored)', path, line)
		end
		return
	end
	rule.sets = rule.sets or {}
	local set = rule.sets[rtype]
	if not set then
		rule.sets[rtype] = { rdata = { rdata }, ttl = parser.r_ttl }
		return
	end
	set.rdata[#set.rdata + 1] = rdata
	if set.ttl ~= parser.r_ttl then
		rpz_warn(path, line, 'warning: different TTLs in a set (minimum taken)')
		set.ttl = math.min(set.ttl, parser.r_ttl)
	end
end

-- Read a file. Broken records are skipped and counted; returns name -> action, or nil and a reason.
local function rpz_read(path, action)
	if type(path) ~= 'string' then return nil, 'a path is expected' end
	local parser = require('zonefile').new()
	local ok, err = parser:open(path)
	if not ok then return nil, err or 'unreadable' end
	local zone = { path = path, rules = {}, count = 0 }
	while true do
		local got, why = parser:parse()
		if got then
			rpz_record(zone, parser, action)
		elseif why then
			log_error(LOG_GRP_POLICY, 'RPZ %s:%d: %s', path, tonumber(parser.line_counter), why)
		else
			break
		end
	end
	local actions = {}
	for name, rule in pairs(zone.rules) do
		actions[name] = rule.sets and M.ANSWER(rule.sets, true) or rule.action
	end
	return actions, zone.count
end

-- The action of the name itself, else of the closest wildcard above it.
local function rpz_lookup(rules, name)
	local found = rules[name]
	if found then return found end
	local pos = 1
	while true do
		local len = name:byte(pos)
		if not len or len == 0 then return nil end
		pos = pos + len + 1
		found = rules['\1*' .. name:sub(pos)]
		if found then return found end
	end
end

local function rpz_watch(path, on_change)
	local ok, notify = pcall(require, 'cqueues.notify')
	local dir, file = path:match('^(.*)/([^/]+)$')
	if not dir then dir, file = '.', path end
	if not ok then
		return false
	end
	local watcher = notify.opendir(dir)
	watcher:add(file)
	worker.coroutine(function ()
		for _, name in watcher:changes() do
			-- one write makes several events: let them settle
			if name == file then
				worker.sleep(0.1)
				local good, err = pcall(on_change)
				if not good then
					log_error(LOG_GRP_POLICY, 'RPZ %s: %s', path, tostring(err))
				end
			end
		end
	end)
	return true
end

function M.rpz(action, path, watch)
	local rules, err = rpz_read(path, action)
	if not rules then
		error(string.format('failed to parse "%s": %s', tostring(path), err), 2)
	end
	if watch ~= false then
		local watched = rpz_watch(path, function ()
			log_info(LOG_GRP_POLICY, 'RPZ reloading: %s', path:match('[^/]+$'))
			local fresh, why = rpz_read(path, action)
			if fresh then
				rules = fresh
			else
				log_error(LOG_GRP_POLICY, 'RPZ %s: %s (the old rules stay)', path, why)
			end
		end)
		if not watched and watch == true then
			error('[poli] lua-cqueues required to watch and reload RPZ file', 2)
		elseif not watched then
			log_info(LOG_GRP_POLICY, 'lua-cqueues required to watch and reload RPZ file, continuing without watching')
		end
	end
	return function (_, query)
		return rpz_lookup(rules, query:name())
	end
end

---------------------------------------------------------------------------------------------------
-- The lists of rules

-- With rules of the user every request has to be seen: they may look at the client, count, or log.
local function rules_changed()
	kres.context().answers_vary = #M.rules > 0 or #M.postrules > 0
end

function M.add(...)
	local rule, postrule = ...
	if rule == M then -- policy:add(rule, postrule)
		rule, postrule = select(2, ...)
	end
	if type(rule) ~= 'function' then
		error('policy.add: a rule (function) is expected, got ' .. type(rule), 2)
	end
	local desc = { id = next_id, cb = rule, count = 0 }
	next_id = next_id + 1
	table.insert(postrule and M.postrules or M.rules, desc)
	rules_changed()
	return desc
end

function M.del(id)
	for _, list in ipairs({ M.rules, M.postrules }) do
		for i, desc in ipairs(list) do
			if desc.id == id then
				table.remove(list, i)
				rules_changed()
				return true
			end
		end
	end
	return false
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
	return deny('Blocking is mandated by standards, see references on ' .. url, ede.NOTSUP, 'CR36', 'DENY_MSG')
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
		mkauth_soa(answer, soa_owner, LOCALHOST)
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

M.layer = {
	skippable = true, -- special names follow from the question; user rules are told to the context
	begin = function (state, req)
		if bit.band(state, bit.bor(kres.FAIL, kres.DONE)) ~= 0 then return state end
		local qry = req:initial()
		if qry == nil then qry = req:current() end
		if qry == nil then return state end
		return M.evaluate(M.rules, req, qry, state)
			or M.evaluate(M.special_names, req, qry, state)
			or state
	end,
	finish = function (state, req)
		if #M.postrules == 0 or bit.band(state, kres.FAIL) ~= 0 then return state end
		local qry = req:initial()
		if qry == nil or req.answer == nil then return state end
		return M.evaluate(M.postrules, req, qry, state) or state
	end,
}

return M
