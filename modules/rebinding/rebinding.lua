-- SPDX-License-Identifier: GPL-3.0-or-later
-- Refuse answers from the Internet that carry addresses of local networks (DNS rebinding).
local ffi = require('ffi')
local kres = require('kres')
local bit = require('bit')
local C = ffi.C

local M = {
	layer = { skippable = true }, -- what was refused is not repeated
	blacklist = {},               -- { bytes, bitlen, rrtype, text }
}

local GRP = C.LOG_GRP_REBIND
local TYPE_SVCB, TYPE_HTTPS = 64, 65
local KEY_IPV4HINT, KEY_IPV6HINT = 4, 6 -- RFC 9460 section 14.3.2
local DEFAULT = {
	'0.0.0.0/8', '10.0.0.0/8', '100.64.0.0/10', '127.0.0.0/8', '169.254.0.0/16', '172.16.0.0/12', '192.168.0.0/16',
	'::/128', '::1/128', 'fc00::/7', 'fe80::/10',
}
-- IPv6 addresses that stand for IPv4 ones: mapped, translated (RFC 6052), compatible (RFC 4291), 6to4.
local EMBEDDINGS = {
	{ prefix = '::ffff:0:0', at = 12 }, { prefix = '64:ff9b::', at = 12 }, { prefix = '::ffff:0:0:0', at = 12 },
	{ prefix = '2002::', at = 2 },
}

local exempt_names, exempt_ranges = {}, {}

-- ---- Ranges ----

local function parse(subnet)
	local bytes = ffi.new('char[16]')
	local family = type(subnet) == 'string' and C.kr_straddr_family(subnet) or -1
	local bitlen = family >= 0 and C.kr_straddr_subnet(bytes, subnet) or -1
	if bitlen < 0 then error('[rebinding] "' .. tostring(subnet) .. '" is not a subnet', 4) end
	local is_v4 = C.kr_family_len(family) == 4
	return { bytes = bytes, bitlen = bitlen, text = subnet, rrtype = is_v4 and kres.type.A or kres.type.AAAA }
end

-- The same IPv4 range inside of an IPv6 address.
local function embedded(range, how)
	local bytes = ffi.new('char[16]')
	ffi.copy(bytes, kres.str2ip(how.prefix), 16)
	ffi.copy(bytes + how.at, range.bytes, 4)
	return { bytes = bytes, bitlen = how.at * 8 + range.bitlen, rrtype = kres.type.AAAA,
		text = how.prefix .. ' of ' .. range.text }
end

local function add_range(list, subnet)
	local range = parse(subnet)
	list[#list + 1] = range
	if range.rrtype == kres.type.AAAA then return end
	for _, how in ipairs(EMBEDDINGS) do list[#list + 1] = embedded(range, how) end
end

local function ranges(subnets)
	local list = {}
	for _, subnet in ipairs(subnets) do add_range(list, subnet) end
	return list
end

local function is_in(list, rrtype, addr)
	for _, range in ipairs(list) do
		if range.rrtype == rrtype and C.kr_bitcmp(range.bytes, addr, range.bitlen) == 0 then return true end
	end
	return false
end

local function is_bad_address(rrtype, addr)
	return is_in(M.blacklist, rrtype, addr) and not is_in(exempt_ranges, rrtype, addr)
end

-- ---- Records ----

local function u16(bytes, at)
	return bytes[at] * 256 + bytes[at + 1]
end

-- Is there a bad address among the hints of an SVCB or HTTPS record? Its form was checked by nobody.
local function has_bad_hint(bytes, len)
	local at = 2
	while at < len and bytes[at] ~= 0 do at = at + 1 + bytes[at] end -- target
	at = at + 1
	while at + 4 <= len do
		local key, size = u16(bytes, at), u16(bytes, at + 2)
		at = at + 4
		if at + size > len then return false end
		local rrtype = key == KEY_IPV4HINT and kres.type.A or key == KEY_IPV6HINT and kres.type.AAAA
		local step = rrtype == kres.type.A and 4 or 16
		for i = at, rrtype and at + size - step or 0, step do
			if is_bad_address(rrtype, ffi.cast('char *', bytes + i)) then return true end
		end
		at = at + size
	end
	return false
end

local LENGTHS = { [kres.type.A] = 4, [kres.type.AAAA] = 16 }

local function is_bad(rr)
	for i = 0, rr:rdcount() - 1 do
		local rdata = rr:rdata_pt(i)
		local len = tonumber(rdata.len)
		if LENGTHS[rr.type] == len then
			if is_bad_address(rr.type, ffi.cast('char *', rdata.data)) then return true end
		elseif rr.type == TYPE_SVCB or rr.type == TYPE_HTTPS then
			if has_bad_hint(ffi.cast('uint8_t *', rdata.data), len) then return true end
		end
	end
	return false
end

local WATCHED = { [kres.type.A] = true, [kres.type.AAAA] = true, [TYPE_SVCB] = true, [TYPE_HTTPS] = true }

-- Only what answers the question: addresses of name servers are none of the client's business, and we send no others.
local function find_bad(pkt)
	for _, rr in ipairs(pkt:rrsets(kres.section.ANSWER)) do
		if WATCHED[rr.type] and is_bad(rr) then return rr end
	end
	return nil
end

-- ---- Answers ----

local EXPLANATION = 'blocked by DNS rebinding protection'

local function refuse(req)
	C.kr_request_clear_selected(req)
	local answer = req:ensure_answer()
	if answer == nil then return kres.FAIL end
	answer:clear_payload()
	req:ensure_edns()
	answer:rcode(kres.rcode.REFUSED)
	answer:ad(false)
	answer:aa(false)
	answer:begin(kres.section.ADDITIONAL)
	answer:put('\11explanation\7invalid\0', 10800, answer:qclass(), kres.type.TXT,
		string.char(#EXPLANATION) .. EXPLANATION)
	req:set_extended_error(kres.extended_error.PROHIBITED, 'EIM4')
	return kres.DONE
end

local function is_exempt(name)
	for _, suffix in ipairs(exempt_names) do
		if C.knot_dname_in_bailiwick(name, suffix) >= 0 then return true end
	end
	return false
end

function M.layer.consume(state, req, pkt)
	if bit.band(state, kres.FAIL) ~= 0 then return nil end
	local qry = req:current()
	if qry == nil or qry.flags.CACHED or qry.flags.ALLOW_LOCAL then return nil end
	local bad = find_bad(pkt)
	if not bad or is_exempt(qry:name()) then return nil end
	log_qry(qry, GRP, 'blocking blacklisted IP in RR \'%s\'\n', tostring(bad))
	qry.flags.RESOLVED = true
	qry.flags.CACHED = true
	if qry.parent ~= nil then return kres.FAIL end
	return refuse(req)
end

-- ---- Configuration ----

local function list_of(conf, key)
	local value = conf[key]
	if value == nil then return {} end
	if type(value) == 'string' then value = { value } end
	if type(value) ~= 'table' then error('[rebinding] ' .. key .. ' must be a list', 4) end
	return value
end

local function parse_names(list)
	local names = {}
	for i, text in ipairs(list) do
		names[i] = kres.str2dname(text)
		if not names[i] then error('[rebinding] "' .. tostring(text) .. '" is not a name', 3) end
	end
	return names
end

--- Set ranges (instead of the usual ones), allow (ranges that may be in answers) and exempt (names).
function M.config(conf)
	conf = conf or {}
	if type(conf) ~= 'table' then error('[rebinding] configuration must be a table or nil', 2) end
	for key in pairs(conf) do
		if key ~= 'ranges' and key ~= 'allow' and key ~= 'exempt' then
			error('[rebinding] there is no option ' .. tostring(key), 2)
		end
	end
	local bad = ranges(conf.ranges and list_of(conf, 'ranges') or DEFAULT)
	local allowed, names = ranges(list_of(conf, 'allow')), parse_names(list_of(conf, 'exempt'))
	M.blacklist, exempt_ranges, exempt_names = bad, allowed, names
	cache._changed()
end

M.blacklist = ranges(DEFAULT)

return M
