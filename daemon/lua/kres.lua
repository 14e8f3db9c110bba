-- SPDX-License-Identifier: GPL-3.0-or-later
-- The module `kres`: constants of the DNS, and methods on packets, RRsets, requests and what else Lua
-- sees of the resolver. Declarations come from kres-gen.lua, which is made from the C headers.
-- Nothing here may crash the process on a wrong argument that Lua can check.

local ffi = require('ffi')
local bit = require('bit')
require('kres-gen')
local C = ffi.C
local knot = C

local kres = {}

-- ---- Constants ----

local function invert(tbl)
	local inverted = {}
	for name, number in pairs(tbl) do
		inverted[number] = name
	end
	return inverted
end

kres.CONSUME, kres.PRODUCE, kres.DONE, kres.FAIL, kres.YIELD = 1, 2, 4, 8, 16

kres.class = { IN = 1, CH = 3, NONE = 254, ANY = 255 }
kres.section = { ANSWER = 0, AUTHORITY = 1, ADDITIONAL = 2 }
kres.opcode = { QUERY = 0, IQUERY = 1, STATUS = 2, NOTIFY = 4, UPDATE = 5 }
kres.rcode = {
	NOERROR = 0, FORMERR = 1, SERVFAIL = 2, NXDOMAIN = 3, NOTIMPL = 4, REFUSED = 5, YXDOMAIN = 6,
	YXRRSET = 7, NXRRSET = 8, NOTAUTH = 9, NOTZONE = 10, BADVERS = 16, BADCOOKIE = 23,
}
kres.rank = {
	INITIAL = 0, OMIT = 1, TRY = 2, INDET = 4, BOGUS = 5, MISMATCH = 6, MISSING = 7, INSECURE = 8,
	AUTH = 16, SECURE = 32,
}
kres.extended_error = {
	NONE = -1, OTHER = 0, DNSKEY_ALG = 1, DS_DIGEST = 2, STALE = 3, FORGED = 4, INDETERMINATE = 5,
	BOGUS = 6, SIG_EXPIRED = 7, SIG_NOTYET = 8, DNSKEY_MISS = 9, RRSIG_MISS = 10, DNSKEY_BIT = 11,
	NSEC_MISS = 12, CACHED_ERR = 13, NOT_READY = 14, BLOCKED = 15, CENSORED = 16, FILTERED = 17,
	PROHIBITED = 18, STALE_NXD = 19, NOTAUTH = 20, NOTSUP = 21, NREACH_AUTH = 22, NETWORK = 23,
	INV_DATA = 24,
}
kres.type = {
	A = 1, NS = 2, MD = 3, MF = 4, CNAME = 5, SOA = 6, MB = 7, MG = 8, MR = 9, NULL = 10, WKS = 11,
	PTR = 12, HINFO = 13, MINFO = 14, MX = 15, TXT = 16, RP = 17, AFSDB = 18, X25 = 19, ISDN = 20,
	RT = 21, NSAP = 22, ['NSAP-PTR'] = 23, SIG = 24, KEY = 25, PX = 26, GPOS = 27, AAAA = 28,
	LOC = 29, NXT = 30, EID = 31, NIMLOC = 32, SRV = 33, ATMA = 34, NAPTR = 35, KX = 36, CERT = 37,
	A6 = 38, DNAME = 39, SINK = 40, OPT = 41, APL = 42, DS = 43, SSHFP = 44, IPSECKEY = 45,
	RRSIG = 46, NSEC = 47, DNSKEY = 48, DHCID = 49, NSEC3 = 50, NSEC3PARAM = 51, TLSA = 52,
	SMIMEA = 53, HIP = 55, NINFO = 56, RKEY = 57, TALINK = 58, CDS = 59, CDNSKEY = 60,
	OPENPGPKEY = 61, CSYNC = 62, ZONEMD = 63, SVCB = 64, HTTPS = 65, SPF = 99, UINFO = 100,
	UID = 101, GID = 102, UNSPEC = 103, NID = 104, L32 = 105, L64 = 106, LP = 107, EUI48 = 108,
	EUI64 = 109, TKEY = 249, TSIG = 250, IXFR = 251, AXFR = 252, MAILB = 253, MAILA = 254,
	ANY = 255, URI = 256, CAA = 257, AVC = 258, DOA = 259, TA = 32768, DLV = 32769,
}

kres.tostring = {
	class = invert(kres.class),
	type = invert(kres.type),
	section = invert(kres.section),
	rcode = invert(kres.rcode),
	opcode = invert(kres.opcode),
	rank = invert(kres.rank),
	extended_error = invert(kres.extended_error),
}
kres.tostring.extended_eror = kres.tostring.extended_error -- the spelling of 5.x

-- RFC 3597 names of types without a mnemonic.
setmetatable(kres.type, { __index = function (_, name)
	local number = type(name) == 'string' and tonumber(name:match('^TYPE(%d+)$'))
	if number and number <= 65535 then return number end
end })
setmetatable(kres.tostring.type, { __index = function (_, number)
	return number ~= nil and 'TYPE' .. tostring(number) or nil
end })

-- ---- Helpers ----

local error_t = ffi.metatype('struct knot_error', {
	__tostring = function (err)
		return ffi.string(C.knot_strerror(err.code))
	end,
})

--- true, or nil and the error
local function result(code)
	if code >= 0 then return true end
	return nil, error_t(code)
end

local packet_t = ffi.typeof('knot_pkt_t')
local packet_p = ffi.typeof('knot_pkt_t *')
local rrset_t = ffi.typeof('knot_rrset_t')
local request_p = ffi.typeof('struct kr_request *')
local sockaddr_p = ffi.typeof('struct sockaddr *')
local dname_p = ffi.typeof('const knot_dname_t *')
local qflags_t = ffi.typeof('struct kr_qflags')
local DNAME_MAX = 255
local dname_buf = ffi.new('knot_dname_t[?]', DNAME_MAX)
local text_buf = ffi.new('char[?]', 4 * 65536)

local function check_packet(pkt)
	if not ffi.istype(packet_t, pkt) then
		error('expected a packet, got ' .. type(pkt), 3)
	end
	if pkt == nil then error('the packet is NULL', 3) end
end

local function check_rrset(rr)
	if not ffi.istype(rrset_t, rr) then
		error('expected an RRset, got ' .. type(rr), 3)
	end
	if rr == nil then error('the RRset is NULL', 3) end
end

local function check_request(req)
	if not ffi.istype('struct kr_request', req) then
		error('expected a request, got ' .. type(req), 3)
	end
	if req == nil then error('the request is NULL', 3) end
	if req.ctx == nil then error('the request has ended', 3) end
end

--- A name in wire format as string must end where its labels say.
local function is_dname(str)
	local at = 1
	while true do
		local len = str:byte(at)
		if not len or len > 63 or at > DNAME_MAX then return false end
		at = at + 1 + len
		if len == 0 then return at - 1 == #str end
	end
end

local function dname2wire(name)
	if name == nil then return nil end
	if type(name) == 'string' then return name end
	return ffi.string(name, knot.knot_dname_size(name))
end

local function dname2str(name)
	if name == nil then return nil end
	if type(name) == 'string' then
		-- tolerate what follows the name, like a pointer would
		local len, at = nil, 1
		while at <= #name and at <= DNAME_MAX do
			local label = name:byte(at)
			if label > 63 then return nil end
			at = at + 1 + label
			if label == 0 then len = at - 1; break end
		end
		if not len then return nil end
	end
	local text = knot.knot_dname_to_str(text_buf, name, ffi.sizeof(text_buf))
	if text == nil then return nil end
	return ffi.string(text)
end

local function str2dname(text)
	if type(text) ~= 'string' or text == '' then return nil end
	local name = knot.knot_dname_from_str(dname_buf, text, DNAME_MAX)
	if name == nil then return nil end
	knot.knot_dname_to_lower(name)
	return ffi.string(name, knot.knot_dname_size(name))
end

local addr_buf = ffi.new('char[16]')
local AF_INET, AF_INET6 = 2, 10

local function str2ip(text)
	if type(text) ~= 'string' then return nil end
	local family = text:find(':', 1, true) and AF_INET6 or AF_INET
	if C.inet_pton(family, text, addr_buf) ~= 1 then return nil end
	return ffi.string(addr_buf, family == AF_INET and 4 or 16)
end

-- ---- Printing records ----

local style = C.KR_DUMP_STYLE_DEFAULT

local function print_rdata(rr, i, dump_style)
	local len = knot.knot_rrset_txt_dump_data(rr, i, text_buf, ffi.sizeof(text_buf),
		dump_style or style)
	if len < 0 then return nil end
	return ffi.string(text_buf, len)
end

local function rr2str(rr, dump_style)
	local owner = dname2str(rr.owner) or '?'
	local scratch = kres.rrset(nil, rr.type, kres.class.IN, rr.ttl)
	scratch:add_rdata(rr.rdata, #rr.rdata)
	local rdata = print_rdata(scratch, 0, dump_style) or ''
	local line = string.format('%s\t%d\t%s\t%s', owner, rr.ttl, kres.tostring.type[rr.type], rdata)
	if rr.comment then line = line .. ' ;' .. rr.comment end
	return line
end

-- ---- RRset ----

local function rrset_get(rr, i)
	return {
		owner = rr:owner(), ttl = rr:ttl(), class = tonumber(rr.rclass),
		type = tonumber(rr.type), rdata = rr:rdata(i),
	}
end

local rrset_methods = {
	owner = function (rr)
		check_rrset(rr)
		return dname2wire(rr._owner)
	end,
	ttl = function (rr)
		check_rrset(rr)
		return tonumber(rr._ttl)
	end,
	class = function (rr, value)
		check_rrset(rr)
		if value ~= nil then rr.rclass = value end
		return tonumber(rr.rclass)
	end,
	rdcount = function (rr)
		check_rrset(rr)
		return tonumber(rr.rrs.count)
	end,
	rdata_pt = function (rr, i)
		check_rrset(rr)
		if type(i) ~= 'number' or i < 0 or i >= rr:rdcount() then
			error('there is no record ' .. tostring(i) .. ' in the RRset', 2)
		end
		return knot.knot_rdataset_at(rr.rrs, i)
	end,
	rdata = function (rr, i)
		local rd = rr:rdata_pt(i)
		return ffi.string(rd.data, rd.len)
	end,
	get = function (rr, i)
		check_rrset(rr)
		return rrset_get(rr, i)
	end,
	tostring = function (rr, i)
		check_rrset(rr)
		if i == nil then return false end
		if rr:rdcount() == 0 then return nil end
		if type(i) ~= 'number' or i < 0 or i >= rr:rdcount() then return nil end
		return print_rdata(rr, i)
	end,
	txt_dump = function (rr, dump_style)
		check_rrset(rr)
		if rr:rdcount() == 0 then return '' end
		local size = ffi.new('size_t[1]', 512)
		local text = ffi.new('char *[1]', C.malloc(512))
		local len = knot.knot_rrset_txt_dump(rr, text, size, dump_style or style)
		local out = len > 0 and ffi.string(text[0], len) or ''
		C.free(text[0])
		return out
	end,
	txt_fields = function (rr, i)
		check_rrset(rr)
		if type(i) ~= 'number' or i < 0 or i >= rr:rdcount() then
			error('there is no record ' .. tostring(i) .. ' in the RRset', 2)
		end
		return {
			owner = dname2str(rr:owner()), ttl = rr:ttl(),
			class = kres.tostring.class[rr:class()], type = kres.tostring.type[tonumber(rr.type)],
			rdata = print_rdata(rr, i),
		}
	end,
	add_rdata = function (rr, rdata, len, extra)
		check_rrset(rr)
		if extra ~= nil then
			error('add_rdata() takes the data and their length; a TTL belongs to the RRset', 2)
		end
		return result(knot.knot_rrset_add_rdata(rr, rdata, tonumber(len), nil))
	end,
	merge_rdata = function (rr, other)
		check_rrset(rr)
		check_rrset(other)
		return result(knot.knot_rdataset_merge(rr.rrs, other.rrs, nil))
	end,
	type_covered = function (rr, i)
		check_rrset(rr)
		i = i or 0
		if rr.type ~= kres.type.RRSIG or i < 0 or i >= rr:rdcount() then return nil end
		return tonumber(C.kr_rrsig_type_covered(rr:rdata_pt(i)))
	end,
	is_covered_by = function (rr, rrsig)
		check_rrset(rr)
		check_rrset(rrsig)
		return rrsig:type_covered() == tonumber(rr.type)
			and rr._owner ~= nil and rrsig._owner ~= nil
			and knot.knot_dname_is_equal(rr._owner, rrsig._owner)
	end,
	wire_size = function (rr)
		check_rrset(rr)
		return tonumber(knot.knot_rrset_size(rr))
	end,
}

ffi.metatype(rrset_t, {
	__index = rrset_methods,
	__tostring = function (rr) return rr:txt_dump() end,
})

local function rrset_free(rr)
	if rr._owner ~= nil then C.free(rr._owner) end
	if rr.rrs.rdata ~= nil then C.free(rr.rrs.rdata) end
end

local new_rrset_raw = ffi.typeof('knot_rrset_t')

--- New RRset whose memory is Lua's.
local function new_rrset(owner, rrtype, rrclass, ttl)
	local rr = new_rrset_raw()
	ffi.fill(rr, ffi.sizeof(rr))
	if owner ~= nil and type(owner) == 'string' and not is_dname(owner) then
		error('the owner is not a name in wire format', 2)
	end
	local copy = owner ~= nil and knot.knot_dname_copy(owner, nil) or nil
	C.kr_rrset_init(rr, ffi.cast('knot_dname_t *', copy), rrtype or 0, rrclass or kres.class.IN,
		ttl or 0)
	return ffi.gc(rr, rrset_free)
end

-- ---- Packet ----

local function be16(pkt, at)
	return pkt.wire[at] * 256 + pkt.wire[at + 1]
end

local function set_be16(pkt, at, value)
	pkt.wire[at] = bit.rshift(bit.band(value, 0xff00), 8)
	pkt.wire[at + 1] = bit.band(value, 0xff)
end

--- Getter and setter of a number of the header.
local function header_number(at)
	return function (pkt, value)
		check_packet(pkt)
		if value ~= nil then set_be16(pkt, at, value) end
		return be16(pkt, at)
	end
end

--- Getter and setter of a flag of the header.
local function header_flag(at, mask)
	return function (pkt, value)
		check_packet(pkt)
		if value == nil then
			return bit.band(pkt.wire[at], mask) ~= 0
		end
		local rest = bit.band(pkt.wire[at], bit.bnot(mask))
		pkt.wire[at] = bit.bor(rest, value and mask or 0)
		return true
	end
end

local function section_of(pkt, section)
	section = tonumber(section)
	if not section or section < 0 or section > 2 then
		error('there is no such section', 3)
	end
	return pkt.sections[section]
end

--- RRset number i of a section, 0-based; knot_pktsection_t is what libknot gives out.
local function section_rr(section, i)
	if section == nil or type(i) ~= 'number' or i < 0 or i >= section.count then
		error('there is no RRset ' .. tostring(i) .. ' in the section', 2)
	end
	return section.pkt.rr + (section.pos + i)
end

local function packet_ipairs(pkt)
	return ipairs(pkt:section(kres.section.ANSWER))
end

local packet_methods = {
	id = header_number(0),
	qdcount = header_number(4),
	ancount = header_number(6),
	nscount = header_number(8),
	arcount = header_number(10),
	rd = header_flag(2, 0x01),
	tc = header_flag(2, 0x02),
	aa = header_flag(2, 0x04),
	qr = header_flag(2, 0x80),
	cd = header_flag(3, 0x10),
	ad = header_flag(3, 0x20),
	ra = header_flag(3, 0x80),
	rcode = function (pkt, value)
		check_packet(pkt)
		if value ~= nil then
			pkt.wire[3] = bit.bor(bit.band(pkt.wire[3], 0xf0), bit.band(value, 0x0f))
		end
		return bit.band(pkt.wire[3], 0x0f)
	end,
	opcode = function (pkt, value)
		check_packet(pkt)
		if value ~= nil then
			pkt.wire[2] = bit.bor(bit.band(pkt.wire[2], 0x87),
				bit.lshift(bit.band(value, 0x0f), 3))
		end
		return bit.band(bit.rshift(pkt.wire[2], 3), 0x0f)
	end,
	dobit = function (pkt, value)
		check_packet(pkt)
		if value ~= nil then error('the DO bit can only be read', 2) end
		return C.kr_pkt_has_dnssec(pkt)
	end,
	qname = function (pkt)
		check_packet(pkt)
		if pkt.qname_size == 0 then return nil end
		return ffi.string(pkt.wire + 12, pkt.qname_size)
	end,
	qtype = function (pkt)
		check_packet(pkt)
		return tonumber(C.kr_pkt_qtype(pkt))
	end,
	qclass = function (pkt)
		check_packet(pkt)
		return tonumber(C.kr_pkt_qclass(pkt))
	end,
	question = function (pkt, qname, qclass, qtype)
		check_packet(pkt)
		if qname == nil then error('the question needs a name', 2) end
		return result(knot.knot_pkt_put_question(pkt, qname, qclass, qtype))
	end,
	begin = function (pkt, section)
		check_packet(pkt)
		if type(section) ~= 'number' or section < 0 or section > 2 then
			return nil, error_t(-22)
		end
		if section < tonumber(pkt.current) then return nil, error_t(-22) end
		return result(knot.knot_pkt_begin(pkt, section))
	end,
	put = function (pkt, owner, ttl, rclass, rtype, rdata)
		check_packet(pkt)
		if owner == nil or type(rdata) ~= 'string' then
			error('expected put(owner, ttl, class, type, rdata)', 2)
		end
		return result(C.kr_pkt_put(pkt, owner, ttl, rclass, rtype, rdata, #rdata))
	end,
	put_rr = function (pkt, rr, rotate, flags)
		check_packet(pkt)
		check_rrset(rr)
		return result(knot.knot_pkt_put_rotate(pkt, 0, rr, rotate or 0, flags or 0))
	end,
	rrsets = function (pkt, section_id)
		check_packet(pkt)
		local section, sets = section_of(pkt, section_id), {}
		for i = 0, section.count - 1 do
			sets[i + 1] = section.pkt.rr + (section.pos + i)
		end
		return sets
	end,
	section = function (pkt, section_id)
		check_packet(pkt)
		local section, records = section_of(pkt, section_id), {}
		for i = 0, section.count - 1 do
			local rr = section.pkt.rr + (section.pos + i)
			for k = 0, rr:rdcount() - 1 do
				records[#records + 1] = rrset_get(rr, k)
			end
		end
		return records
	end,
	--- Iterate over the RRsets of a section without making tables.
	each = function (pkt, section_id)
		check_packet(pkt)
		local section, i = section_of(pkt, section_id), -1
		return function ()
			i = i + 1
			if i < section.count then return section.pkt.rr + (section.pos + i) end
		end
	end,
	clear_payload = function (pkt)
		check_packet(pkt)
		return result(C.kr_pkt_clear_payload(pkt))
	end,
	recycle = function (pkt)
		check_packet(pkt)
		return result(C.kr_pkt_recycle(pkt))
	end,
	parse = function (pkt)
		check_packet(pkt)
		return result(knot.knot_pkt_parse(pkt, 0))
	end,
	has_wire = function (pkt)
		check_packet(pkt)
		return C.kr_pkt_has_wire(pkt)
	end,
	towire = function (pkt)
		check_packet(pkt)
		if not C.kr_pkt_has_wire(pkt) then
			error('the packet comes from the cache and has no wire format', 2)
		end
		return ffi.string(pkt.wire, pkt.size)
	end,
	tostring = function (pkt)
		check_packet(pkt)
		local text = C.kr_pkt_text(pkt)
		if text == nil then return '' end
		local out = ffi.string(text)
		C.free(text)
		return out
	end,
	remaining_bytes = function (pkt)
		check_packet(pkt)
		return tonumber(pkt.max_size - pkt.size - pkt.reserved)
	end,
	resize = function (pkt, size)
		check_packet(pkt)
		if type(size) ~= 'number' or size < 12 or size > 65535 then
			error('the size of a packet is 12 to 65535', 2)
		end
		if not C.kr_pkt_has_wire(pkt) or size < pkt.size then return nil end
		local wire = C.mm_realloc(pkt.mm, pkt.wire, size, pkt.size)
		if wire == nil then return nil end
		pkt.wire = wire
		pkt.max_size = size
		return true
	end,
}

ffi.metatype(packet_t, {
	__index = packet_methods,
	__tostring = function (pkt) return pkt:tostring() end,
	__len = function (pkt) return tonumber(pkt.size) end,
	__ipairs = packet_ipairs,
})

--- New packet whose memory is Lua's.
local function new_packet(size, wire)
	if type(size) ~= 'number' or size < 12 or size > 65535 then
		error('the size of a packet is 12 to 65535', 2)
	end
	if wire ~= nil and type(wire) == 'string' and #wire < size then
		error('there are fewer bytes than the size says', 2)
	end
	local pkt = knot.knot_pkt_new(nil, size, nil)
	if pkt == nil then error('not enough memory for a packet', 2) end
	pkt = ffi.gc(pkt[0], knot.knot_pkt_free)
	if wire ~= nil then
		ffi.copy(pkt.wire, wire, size)
		pkt.size = size
	else
		pkt:id(math.random(0, 65535))
	end
	return pkt
end

-- ---- Flags, addresses ----

local function set_flag(flags, name)
	local is_known = type(name) == 'string' and pcall(function () flags[name] = true end)
	if not is_known then error('unknown flag ' .. tostring(name), 3) end
end

local function mk_qflags(names)
	local flags = qflags_t()
	if names == nil or names == 0 then return flags end
	if ffi.istype(qflags_t, names) then
		C.kr_qflags_set(flags, names)
	elseif type(names) == 'string' then
		set_flag(flags, names)
	elseif type(names) == 'table' then
		for _, name in pairs(names) do set_flag(flags, name) end
	else
		error('expected a flag name, a list of them, or struct kr_qflags', 2)
	end
	return flags
end

ffi.metatype('struct sockaddr', {
	__index = {
		len = function (sa) return C.kr_inaddr_len(sa) end,
		ip = function (sa) return C.kr_inaddr(sa) end,
		family = function (sa) return C.kr_inaddr_family(sa) end,
		port = function (sa) return C.kr_inaddr_port(sa) end,
	},
	__tostring = function (sa)
		local len = ffi.new('size_t[1]', 108)
		local buf = ffi.new('char[108]')
		if C.kr_inaddr_str(sa, buf, len) ~= 0 then return '?' end
		return ffi.string(buf)
	end,
})

-- ---- Ranked arrays ----

local function entry_tostring(entry)
	local head = string.format(
		'; ranked rrset to_wire %s, rank 0%.2o (%s%s), cached %s, qry_uid %s, revalidations %s',
		tostring(entry.to_wire), entry.rank,
		bit.band(entry.rank, kres.rank.AUTH) ~= 0 and 'auth ' or '',
		(kres.tostring.rank[bit.band(entry.rank, bit.bnot(kres.rank.AUTH))] or '?'):lower(),
		tostring(entry.cached), tostring(entry.qry_uid), tostring(entry.revalidation_cnt))
	if entry.in_progress then return head .. '\n' end
	return head .. '\n' .. entry.rr:txt_dump()
end

ffi.metatype('ranked_rr_array_entry_t', { __tostring = entry_tostring })

local function ranked_next(array, i)
	i = i + 1
	if i < tonumber(array.len) then return i, array.at[i][0] end
end

ffi.metatype('ranked_rr_array_t', {
	__len = function (array) return tonumber(array.len) end,
	__ipairs = function (array) return ranked_next, array, -1 end,
	__index = {
		get = function (array, i)
			if type(i) ~= 'number' or i < 0 or i >= tonumber(array.len) then return nil end
			return array.at[i][0]
		end,
	},
	__tostring = function (array)
		local out = {}
		for i = 0, tonumber(array.len) - 1 do
			out[#out + 1] = entry_tostring(array.at[i][0])
		end
		return table.concat(out)
	end,
})

-- ---- Query ----

ffi.metatype('struct kr_query', {
	__index = {
		name = function (qry) return dname2wire(qry.sname) end,
		write = function (qry, pkt)
			check_packet(pkt)
			return result(C.kr_make_query(qry, pkt))
		end,
	},
})

-- ---- Request ----

-- Private tables of requests. References work like luaL_ref(), because C lets go of them.
local vars_refs = {}
kres._vars = vars_refs

local function vars_ref_new()
	local free = vars_refs[0]
	if free and free ~= 0 then
		vars_refs[0] = vars_refs[free]
		return free
	end
	return #vars_refs + 1
end

--- NULL to nil.
local function or_nil(ptr)
	if ptr == nil then return nil end
	return ptr
end

local function plan_get(array, i)
	if i < 0 or i >= tonumber(array.len) then return nil end
	return or_nil(array.at[i])
end

--- Call each function; an error in one is logged and does not keep the others from being called.
local function call_each(functions, ...)
	jit.off(true, true)
	for _, fn in ipairs(functions) do
		local is_good, err = pcall(fn, ...)
		if not is_good then log_error(C.LOG_GRP_SYSTEM, 'error: %s', tostring(err)) end
	end
end

-- Who listens to a request: address -> { logs = functions or C pointers, finishes = the same }.
local listeners = {}

local function request_key(req)
	return tostring(ffi.cast('uintptr_t', ffi.cast('void *', req)))
end

local function is_ours(fn)
	return fn == C.ffi_trace_log or fn == C.ffi_trace_finish
end

function kres._trace_log(msg)
	local req = C.kr_layer_t_static.req
	local mine = listeners[request_key(req)]
	if mine then call_each(mine.logs, req, ffi.cast('const char *', msg)) end
end

function kres._trace_finish()
	local req = C.kr_layer_t_static.req
	local key = request_key(req)
	local mine = listeners[key]
	if mine then call_each(mine.finishes, req) end
	listeners[key] = nil
end

local request_methods = {
	current = function (req)
		check_request(req)
		return or_nil(req.current_query)
	end,
	initial = function (req)
		check_request(req)
		return or_nil(req.rplan.initial)
	end,
	last = function (req)
		check_request(req)
		return or_nil(C.kr_rplan_last(req.rplan))
	end,
	resolved = function (req)
		check_request(req)
		return or_nil(C.kr_rplan_resolved(req.rplan))
	end,
	first_resolved = function (req)
		check_request(req)
		return plan_get(req.rplan.resolved, 0)
	end,
	push = function (req, qname, qtype, qclass, flags, parent)
		check_request(req)
		if type(qname) == 'string' and not is_dname(qname) then
			error('the name of a query must be in wire format', 2)
		end
		local qry = C.kr_rplan_push(req.rplan, parent, qname, qclass, qtype)
		if qry ~= nil and flags ~= nil then
			C.kr_qflags_set(qry.flags, mk_qflags(flags))
		end
		return qry
	end,
	pop = function (req, qry)
		check_request(req)
		return C.kr_rplan_pop(req.rplan, qry)
	end,
	ensure_answer = function (req)
		check_request(req)
		return C.kr_request_ensure_answer(req)
	end,
	ensure_edns = function (req)
		check_request(req)
		return C.kr_request_ensure_edns(req)
	end,
	set_extended_error = function (req, code, text)
		check_request(req)
		local copy = nil
		if text ~= nil then
			text = tostring(text)
			copy = ffi.cast('char *', C.mm_realloc(req.pool, nil, #text + 1, 0))
			if copy ~= nil then ffi.copy(copy, text) end
		end
		C.kr_request_set_extended_error(req, code, copy)
	end,
	-- May the finished answer be given to others who ask the same? 'made': yes, though it is hand-made;
	-- 'never': it depends on more than the question.
	set_repeat = function (req, how)
		check_request(req)
		local value = ({ made = C.KR_REPEAT_MADE, never = C.KR_REPEAT_NEVER })[how]
		if not value then error("set_repeat: 'made' or 'never' is expected", 2) end
		C.kr_request_set_repeat(req, value)
	end,
	vars = function (req)
		check_request(req)
		if req.vars_ref < 0 then
			local ref = vars_ref_new()
			vars_refs[ref] = {}
			req.vars_ref = ref
		end
		return vars_refs[req.vars_ref]
	end,
	all_from_cache = function (req)
		check_request(req)
		local plan = req.rplan
		if plan.pending.len > 0 then return false end
		for i = 0, tonumber(plan.resolved.len) - 1 do
			if not plan.resolved.at[i].flags.CACHED then return false end
		end
		return true
	end,
	selected_tostring = function (req)
		check_request(req)
		local out = {}
		for _, name in ipairs({ 'answ', 'auth', 'add' }) do
			local array = req[name .. '_selected']
			if array.len > 0 then
				out[#out + 1] = ';; selected from ' .. name:upper() .. ' sections:\n'
				out[#out + 1] = tostring(array)
			end
		end
		return table.concat(out)
	end,
	trace_chain_callbacks = function (req, log_cb, finish_cb)
		check_request(req)
		local key = request_key(req)
		local mine = listeners[key] or { logs = {}, finishes = {} }
		for list, callbacks in pairs({ logs = { log_cb, req.trace_log }, finishes = { finish_cb, req.trace_finish } }) do
			for i = 1, 2 do
				local fn = callbacks[i]
				if fn ~= nil and not is_ours(fn) then table.insert(mine[list], i == 1 and 1 or #mine[list] + 1, fn) end
			end
		end
		listeners[key] = mine
		if #mine.logs > 0 then req.trace_log = C.ffi_trace_log end
		req.trace_finish = C.ffi_trace_finish
	end,
}
-- These reach C code that may call back into Lua (traces); compiled code must not do that.
for _, name in ipairs({ 'set_extended_error', 'ensure_answer', 'push' }) do
	jit.off(request_methods[name])
end

for name, verb in pairs(require('kres_verbs')) do request_methods[name] = verb end
ffi.metatype('struct kr_request', { __index = request_methods })

-- ---- Cache ----

ffi.metatype('struct kr_cache', {
	__index = {
		insert = function (cache, rr, rrsig, rank, timestamp)
			check_rrset(rr)
			if rr.rclass ~= kres.class.IN then return nil, error_t(-22) end
			if not timestamp then
				local now = ffi.new('struct timeval')
				C.gettimeofday(now, nil)
				timestamp = tonumber(now.tv_sec)
			end
			return result(C.kr_cache_insert_rr(cache, rr, rrsig, rank or 0, timestamp, true))
		end,
		commit = function (cache)
			return result(C.kr_cache_commit(cache))
		end,
	},
})

-- ---- LRU ----

kres.lru = require('kres_lru')

-- ---- The module ----

kres.str2dname = str2dname
kres.dname2str = dname2str
kres.dname2wire = dname2wire
kres.str2ip = str2ip
kres.rr2str = rr2str
kres.mk_qflags = mk_qflags
kres.packet = new_packet
-- Callable like a function, and a type for ffi.istype().
kres.rrset = setmetatable({}, { __call = function (_, ...) return new_rrset(...) end })
kres.knot_pkt_rr = section_rr

function kres.context()
	return C.the_resolver[0]
end

function kres.pkt_t(ptr) return ffi.cast(packet_p, ptr) end
function kres.request_t(ptr) return ffi.cast(request_p, ptr) end
function kres.sockaddr_t(ptr) return ffi.cast(sockaddr_p, ptr) end

local rdata_parser -- kept, because it is large

local function parse_line(line)
	rdata_parser = rdata_parser or require('zonefile').new()
	if rdata_parser:parse('. IN 0 ' .. line .. '\n') then return rdata_parser:current_rr().rdata end
	rdata_parser = nil -- its state is not worth keeping
	error('cannot parse rdata: ' .. line, 3)
end

--- Rdata in wire format of lines `TYPE rdata`.
function kres.parse_rdata(lines, extra)
	if type(lines) ~= 'table' or extra ~= nil then
		error('expected one table of strings `TYPE rdata`', 2)
	end
	local out = {}
	for _, line in ipairs(lines) do
		if type(line) ~= 'string' then error('rdata must be a string `TYPE rdata`', 2) end
		out[#out + 1] = parse_line(line)
	end
	return out
end

kres._dname_p = dname_p
kres._is_dname = is_dname

--- Compare what LuaJIT made of the declarations with C; an error names the first difference.
function kres._check_layouts(layouts)
	for _, row in ipairs(layouts) do
		local name, member, value = row[1], row[2], row[3]
		local ctype = ffi.typeof(name)
		local mine = member and ffi.offsetof(ctype, member) or not member and ffi.sizeof(ctype)
		if not mine and not member then mine = ffi.sizeof(ctype, 0) end
		if tonumber(mine) ~= value then
			error(string.format('FFI: %s%s is at %s in Lua and at %s in C', name,
				member and '.' .. member or ' (size)', tostring(mine), tostring(value)))
		end
	end
end

return kres
