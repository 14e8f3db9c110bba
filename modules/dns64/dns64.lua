-- SPDX-License-Identifier: GPL-3.0-or-later
-- IPv6 addresses for names that only have IPv4 ones (RFC 6147), and their reverse names.
local kres = require('kres')
local ffi = require('ffi')
local bit = require('bit')
local C = ffi.C

local M = {
	proxy = nil,     -- 16 bytes of the first prefix
	prefixes = {},   -- { bytes, len (bits), suffix (reverse name) }
	rev_ttl = nil,   -- s
	rev_suffix = nil,
	exclude_subnets = {},
}

local MAPPED = '::ffff:0:0/96' -- IPv4-mapped addresses, RFC 6147 section 5.1.4
local TTL_WITHOUT_SOA = 600    -- RFC 6147 section 5.1.7
local ADDRESS_NIBBLES = 32

-- Where the bytes of the IPv4 address stand (0 is the first), RFC 6052 section 2.2; octet 8 is zero.
local PLACES = {
	[32] = { 4, 5, 6, 7 }, [40] = { 5, 6, 7, 9 }, [48] = { 6, 7, 9, 10 }, [56] = { 7, 9, 10, 11 },
	[64] = { 9, 10, 11, 12 }, [96] = { 12, 13, 14, 15 },
}

-- ---- Configuration ----

local function bad_prefix(text)
	error(string.format('[dns64] "%s" is not a valid IPv6 address', tostring(text)), 4)
end

-- Reverse name of the first `len` bits.
local function reverse_suffix(addr, len)
	local labels = {}
	for i = len / 8, 1, -1 do
		local byte = addr:byte(i)
		labels[#labels + 1] = string.format('\1%x\1%x', byte % 16, math.floor(byte / 16))
	end
	return table.concat(labels) .. '\3ip6\4arpa\0'
end

local function parse_prefix(text)
	if type(text) ~= 'string' then bad_prefix(text) end
	local base, len_text = text:match('^([^/]*)/?(%d*)$')
	local addr = base and kres.str2ip(base)
	local len = len_text == '' and 96 or tonumber(len_text)
	if not addr or #addr ~= 16 or (text:find('/', 1, true) and len_text == '') then bad_prefix(text) end
	if not PLACES[len] then
		error(string.format('[dns64] "%s": the length of a prefix is 32, 40, 48, 56, 64 or 96', text), 3)
	end
	local kept = addr:sub(1, len / 8)
	if len == 96 and kept:byte(9) ~= 0 then
		-- Configurations written for 5.x have such prefixes, its own example among them.
		log_warn(ffi.C.LOG_GRP_MODULE, '[dns64] "%s": bits 64 to 71 of a prefix should be zero (RFC 6052)', text)
	end
	return { bytes = kept .. ('\0'):rep(16 - #kept), len = len, suffix = reverse_suffix(kept, len) }
end

local function parse_prefixes(list)
	local parsed = {}
	for i, text in ipairs(type(list) == 'table' and list or { list }) do parsed[i] = parse_prefix(text) end
	if #parsed == 0 then error('[dns64] .prefix must have at least one prefix', 3) end
	return parsed
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

function M.config(conf)
	if type(conf) ~= 'table' then conf = { prefix = conf } end
	local prefixes = parse_prefixes(conf.prefix or '64:ff9b::')
	local subnets = parse_subnets(conf.exclude_subnets or { MAPPED })
	local rev_ttl = conf.rev_ttl or 60
	if type(rev_ttl) ~= 'number' or rev_ttl < 0 then error('[dns64] .rev_ttl must be a number of seconds', 2) end
	M.prefixes, M.exclude_subnets, M.rev_ttl = prefixes, subnets, rev_ttl
	M.proxy, M.rev_suffix = prefixes[1].bytes, prefixes[1].suffix
	cache._changed()
end

function M.init()
	M.config()
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

-- IPv6 address for an IPv4 one under a prefix.
local function embed(prefix, ipv4)
	local bytes = { prefix.bytes:byte(1, 16) }
	for i, place in ipairs(PLACES[prefix.len]) do bytes[place + 1] = ipv4:byte(i) end
	return string.char(unpack(bytes))
end

-- RRset of IPv6 addresses on the request's pool, all prefixes for each address.
local function translate(req, rr, ttl)
	local set = ffi.gc(kres.rrset(nil, kres.type.AAAA, kres.class.IN, math.min(rr:ttl(), ttl)), nil)
	set._owner = rr._owner
	for i = 0, rr:rdcount() - 1 do
		for _, prefix in ipairs(M.prefixes) do
			if C.knot_rrset_add_rdata(set, embed(prefix, rr:rdata(i)), 16, req.pool) ~= 0 then return nil end
		end
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

-- Labels in front of the suffix, or nil if the name is not there.
local function below_suffix(name, suffix)
	if name:sub(-#suffix) ~= suffix then return nil end
	local labels, at, stop = {}, 1, #name - #suffix
	while at <= stop do
		local len = name:byte(at)
		labels[#labels + 1] = name:sub(at + 1, at + len)
		at = at + 1 + len
	end
	return at == stop + 1 and labels or nil
end

local function are_nibbles(labels, first)
	for i = first, #labels do
		if not labels[i]:match('^%x$') then return false end
	end
	return true
end

-- Name below in-addr.arpa for the address whose last nibbles (lowest first) are given; nil if it embeds none.
local function ipv4_reverse(prefix, labels)
	local bytes, at = { prefix.bytes:byte(1, 16) }, 16
	for i = 1, #labels, 2 do
		bytes[at] = tonumber(labels[i + 1] .. labels[i], 16)
		at = at - 1
	end
	if bytes[9] ~= 0 and prefix.len < 96 then return nil end
	local name = {}
	for i = 4, 1, -1 do
		local octet = tostring(bytes[PLACES[prefix.len][i] + 1])
		name[#name + 1] = string.char(#octet) .. octet
	end
	return table.concat(name) .. '\7in-addr\4arpa\0'
end

-- What is known of a reverse name: 'alias' and its target, 'empty', 'none', or nil.
local function look_up_reverse(name)
	for _, prefix in ipairs(M.prefixes) do
		local labels = below_suffix(name, prefix.suffix)
		local full = ADDRESS_NIBBLES - prefix.len / 4
		if labels and #labels < full then
			return are_nibbles(labels, 1) and 'empty' or nil
		elseif labels and are_nibbles(labels, #labels - full + 1) then
			local target = ipv4_reverse(prefix, { unpack(labels, #labels - full + 1) })
			if target then return #labels == full and 'alias' or 'none', target end
			return nil
		end
	end
	return nil
end

-- ---- The name by which clients find the prefix (RFC 8880) ----

local WELL_KNOWN = todname('ipv4only.arpa')
local WELL_KNOWN_ADDRESSES = { '\192\0\0\170', '\192\0\0\171' }
local WELL_KNOWN_REVERSE = {
	[todname('170.0.0.192.in-addr.arpa')] = true, [todname('171.0.0.192.in-addr.arpa')] = true,
}
local WELL_KNOWN_TTL = 86400

-- @return list of rdata, or nil if the name is another one
local function well_known(name, rtype)
	if WELL_KNOWN_REVERSE[name] then return rtype == kres.type.PTR and { WELL_KNOWN } or {} end
	if name ~= WELL_KNOWN then return nil end
	if rtype == kres.type.A then return WELL_KNOWN_ADDRESSES end
	local list = {}
	for _, addr in ipairs(rtype == kres.type.AAAA and WELL_KNOWN_ADDRESSES or {}) do
		for _, prefix in ipairs(M.prefixes) do list[#list + 1] = embed(prefix, addr) end
	end
	return list
end

-- ---- Answers made here ----

local function begin_answer(qry, pkt)
	pkt:recycle()
	pkt:question(qry:name(), qry.sclass, qry.stype)
	pkt:qr(true)
	pkt:aa(true)
	pkt:begin(kres.section.ANSWER)
end

local function end_answer(qry, pkt)
	pkt.parsed = pkt.size
	qry.flags.CACHED = true
	qry.flags.NO_MINIMIZE = true
	qry.flags.DNSSEC_WANT = false
	return kres.DONE
end

local function answer_well_known(qry, pkt)
	local list = well_known(qry:name():lower(), qry.stype)
	if not list then return nil end
	begin_answer(qry, pkt)
	for _, rdata in ipairs(list) do pkt:put(qry:name(), WELL_KNOWN_TTL, qry.sclass, qry.stype, rdata) end
	return end_answer(qry, pkt)
end

local function answer_reverse(qry, pkt)
	local what, target = look_up_reverse(qry:name())
	if not what then return nil end
	begin_answer(qry, pkt)
	if what == 'none' then pkt:rcode(kres.rcode.NXDOMAIN) end
	if what == 'alias' then pkt:put(qry:name(), M.rev_ttl, qry.sclass, kres.type.CNAME, target) end
	return end_answer(qry, pkt)
end

-- ---- Hooks ----

local function is_off(req, qry)
	return not M.proxy or qry == nil or qry.sclass ~= kres.class.IN or qry.flags.DNS64_DISABLE
		or req.qsource.packet == nil or req.qsource.packet:cd()
end

M.layer = { skippable = true } -- what is done follows from question and configuration

function M.layer.produce(_, req, pkt)
	local qry = req:current()
	if is_off(req, qry) or qry.parent ~= nil or qry.flags.RESOLVED or pkt:qr() then return nil end
	return answer_well_known(qry, pkt) or answer_reverse(qry, pkt)
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
