-- SPDX-License-Identifier: GPL-3.0-or-later
-- IPv6 addresses for names that only have IPv4 ones (RFC 6147), and their reverse names.
local kres = require('kres')
local ffi = require('ffi')
local bit = require('bit')
local C = ffi.C

local M = {
	proxy = nil,   -- 16 bytes, of which the first 12 count
	rev_ttl = nil, -- s
	rev_suffix = nil,
	exclude_subnets = {},
}

local MAPPED = '::ffff:0:0/96' -- IPv4-mapped addresses, RFC 6147 section 5.1.4
local TTL_WITHOUT_SOA = 600    -- RFC 6147 section 5.1.7
local PREFIX_BYTES = 12
local REVERSE_LABELS = 8       -- nibbles of an IPv4 address

-- ---- Configuration ----

local function parse_prefix(text)
	local addr = type(text) == 'string' and kres.str2ip(text)
	if not addr or #addr ~= 16 then
		error(string.format('[dns64] "%s" is not a valid IPv6 address', tostring(text)), 3)
	end
	return addr
end

local function parse_subnets(list)
	if type(list) ~= 'table' then error('[dns64] .exclude_subnets is not a table', 3) end
	local parsed = {}
	for i, text in ipairs(list) do
		local bytes = ffi.new('char[16]')
		local is_v6 = type(text) == 'string' and text:find(':', 1, true)
		local bitlen = is_v6 and C.kr_straddr_subnet(bytes, text) or -1
		if bitlen < 0 then
			error(string.format('[dns64] failed to parse IPv6 subnet: "%s"', tostring(text)), 3)
		end
		parsed[i] = { bytes = bytes, bitlen = bitlen, text = text }
	end
	return parsed
end

-- Reverse name of the prefix.
local function reverse_suffix(addr)
	local labels = {}
	for i = PREFIX_BYTES, 1, -1 do
		local byte = addr:byte(i)
		labels[#labels + 1] = string.format('\1%x\1%x', byte % 16, math.floor(byte / 16))
	end
	return table.concat(labels) .. '\3ip6\4arpa\0'
end

function M.config(conf)
	if type(conf) ~= 'table' then conf = { prefix = conf } end
	local proxy = parse_prefix(conf.prefix or '64:ff9b::')
	local subnets = parse_subnets(conf.exclude_subnets or { MAPPED })
	local rev_ttl = conf.rev_ttl or 60
	if type(rev_ttl) ~= 'number' or rev_ttl < 0 then error('[dns64] .rev_ttl must be a number of seconds', 2) end
	M.proxy, M.exclude_subnets, M.rev_ttl = proxy, subnets, rev_ttl
	M.rev_suffix = reverse_suffix(proxy)
	cache._changed()
end

function M.deinit()
	M.proxy = nil
	cache._changed()
end

-- ---- Synthesis ----

local function is_excluded(rr)
	for i = 0, rr:rdcount() - 1 do
		local addr = ffi.cast('char *', rr:rdata_pt(i).data)
		for _, subnet in ipairs(M.exclude_subnets) do
			if C.kr_bitcmp(subnet.bytes, addr, subnet.bitlen) == 0 then return true end
		end
	end
	return false
end

-- Keep a set and its signatures out of the answer.
local function withdraw(req, qry, rrtype)
	for _, entry in ipairs(req.answ_selected) do
		local rr = entry.rr
		if entry.qry_uid == qry.uid and (rr.type == rrtype
				or (rr.type == kres.type.RRSIG and rr:type_covered() == rrtype)) then
			entry.to_wire = false
		end
	end
end

-- Name for which A has to be asked, or nil when there are addresses to be used.
local function lacks_addresses(req, qry)
	local name = qry.sname
	for _, entry in ipairs(req.answ_selected) do
		local rr = entry.rr
		if entry.qry_uid == qry.uid and rr.type == kres.type.AAAA then
			if not is_excluded(rr) then return nil end
			name = rr._owner
		end
	end
	return name
end

local function ask_ipv4(req, qry, name)
	withdraw(req, qry, kres.type.AAAA)
	local sub = req:push(name, kres.type.A, kres.class.IN, nil, qry)
	if sub == nil then return kres.FAIL end
	sub.flags.DNS64_MARK = true
	sub.flags.AWAIT_CUT = not qry.flags.STUB
	for _, flag in ipairs({ 'STUB', 'FORWARD', 'TCP', 'NO_MINIMIZE', 'NO_CACHE', 'DNSSEC_WANT', 'TRACE' }) do
		sub.flags[flag] = qry.flags[flag]
	end
	return kres.DONE
end

-- TTL of the SOA that came with the denial of AAAA.
local function soa_ttl(req, qry)
	for _, entry in ipairs(req.auth_selected) do
		if entry.qry_uid == qry.uid and entry.rr.type == kres.type.SOA then return entry.rr:ttl() end
	end
	return TTL_WITHOUT_SOA
end

-- RRset of IPv6 addresses on the request's pool.
local function translate(req, rr, ttl)
	local set = ffi.gc(kres.rrset(nil, kres.type.AAAA, kres.class.IN, math.min(rr:ttl(), ttl)), nil)
	set._owner = rr._owner
	local prefix = M.proxy:sub(1, PREFIX_BYTES)
	for i = 0, rr:rdcount() - 1 do
		if C.knot_rrset_add_rdata(set, prefix .. rr:rdata(i), 16, req.pool) ~= 0 then return nil end
	end
	return set
end

local function add_answer(req, qry, set, rank)
	local index = C.kr_ranked_rrarray_add(req.answ_selected, set, rank, true, qry.uid, req.pool)
	if index < 0 then return false end
	req.answ_selected.at[index].dont_cache = true
	return C.kr_ranked_rrarray_finalize(req.answ_selected, qry.uid, req.pool) == 0
end

-- The answer to the A sub-query: its aliases are shown, its addresses translated.
local function synthesise(req, qry)
	local origin = qry.parent
	local ttl = origin ~= nil and soa_ttl(req, origin) or TTL_WITHOUT_SOA
	local sets = {}
	for _, entry in ipairs(req.answ_selected) do
		local rr = entry.rr
		if entry.qry_uid == qry.uid and rr.type == kres.type.CNAME then entry.to_wire = true end
		if entry.qry_uid == qry.uid and rr.type == kres.type.A then
			entry.to_wire = false -- forwarded stub answers are meant for the client
			local set = translate(req, rr, ttl)
			if not set then return kres.FAIL end
			sets[#sets + 1] = { set, entry.rank }
		end
	end
	for _, found in ipairs(sets) do
		if not add_answer(req, qry, found[1], found[2]) then return kres.FAIL end
	end
	if #sets > 0 then req:set_extended_error(kres.extended_error.FORGED, 'BHD4: DNS64 synthesis') end
	return nil
end

-- ---- Reverse names ----

-- Nibbles below the suffix, or nil if the name is not there.
local function below_suffix(name)
	local suffix = M.rev_suffix
	if name:sub(-#suffix) ~= suffix then return nil end
	local labels, at, stop = {}, 1, #name - #suffix
	while at <= stop do
		local len = name:byte(at)
		labels[#labels + 1] = name:sub(at + 1, at + len)
		at = at + 1 + len
	end
	return at == stop + 1 and labels or nil
end

-- in-addr.arpa name of eight nibbles, lowest first; nil if one is none.
local function ipv4_reverse(labels)
	local name = {}
	for i = #labels - REVERSE_LABELS + 1, #labels, 2 do
		if not labels[i]:match('^%x$') or not labels[i + 1]:match('^%x$') then return nil end
		local octet = tostring(tonumber(labels[i + 1] .. labels[i], 16))
		name[#name + 1] = string.char(#octet) .. octet
	end
	return table.concat(name) .. '\7in-addr\4arpa\0'
end

local function are_nibbles(labels)
	for _, label in ipairs(labels) do
		if not label:match('^%x$') then return false end
	end
	return true
end

local function answer_reverse(qry, pkt)
	local labels = below_suffix(qry:name())
	if not labels then return nil end
	local target = #labels >= REVERSE_LABELS and ipv4_reverse(labels)
	if not target and (#labels >= REVERSE_LABELS or not are_nibbles(labels)) then return nil end
	pkt:recycle()
	pkt:question(qry:name(), qry.sclass, qry.stype)
	pkt:qr(true)
	pkt:aa(true)
	if #labels > REVERSE_LABELS then
		pkt:rcode(kres.rcode.NXDOMAIN)
	elseif target then
		pkt:begin(kres.section.ANSWER)
		pkt:put(qry:name(), M.rev_ttl, qry.sclass, kres.type.CNAME, target)
	end
	pkt.parsed = pkt.size
	qry.flags.CACHED = true
	qry.flags.NO_MINIMIZE = true
	qry.flags.DNSSEC_WANT = false
	return kres.DONE
end

-- ---- Hooks ----

local function is_off(req, qry)
	return not M.proxy or qry == nil or qry.sclass ~= kres.class.IN or qry.flags.DNS64_DISABLE
		or req.qsource.packet == nil or req.qsource.packet:cd()
end

M.layer = { skippable = true } -- what is done follows from question and configuration

function M.layer.produce(_, req, pkt)
	local qry = req:current()
	if is_off(req, qry) or qry.parent ~= nil or qry.flags.RESOLVED then return nil end
	return answer_reverse(qry, pkt)
end

function M.layer.consume(state, req, pkt)
	if bit.band(state, kres.DONE) == 0 then return nil end
	local qry = req:current()
	if is_off(req, qry) or not qry.flags.RESOLVED or qry.flags.CNAME or qry.flags.DNSSEC_BOGUS then return nil end
	if qry.flags.DNS64_MARK and qry.stype == kres.type.A and qry.parent ~= nil then return synthesise(req, qry) end
	if qry.stype ~= kres.type.AAAA or qry.parent ~= nil or pkt:rcode() ~= kres.rcode.NOERROR then return nil end
	local name = lacks_addresses(req, qry)
	if name == nil then return nil end
	return ask_ipv4(req, qry, name)
end

return M
