-- SPDX-License-Identifier: GPL-3.0-or-later
-- A client for tests: questions as a client of the network would send them, and what came back.
--
-- ask(name, type, fn[, how])   ask, and call fn(answer packet or nil, request) at the end
--   how = { addr = '192.0.2.1', dst = '192.0.2.53', flags = { 'tcp', 'tls' }, opt = { [CODE] = 'DATA' },
--           edns = false, dobit = true, cd = true, rd = false, options = flags of resolve() }
-- option_of(pkt, code)         data of an EDNS option, or nil
-- ede_of(pkt)                  'CODE TEXT' of the extended error, or nil
-- records(pkt, section)        sorted lines `name TTL TYPE rdata`; section: 'ANSWER' (default), ...
-- serve(zone)                  answer questions as a cache would; zone['some.name TYPE'] = { 'rdata', ... },
--                              zone['some.name'] = an RCODE; names that are not listed are not touched

local ffi = require('ffi')

local function u16(n)
	return string.char(math.floor(n / 256), n % 256)
end

local function opt_record(how)
	if how.edns == false then return '' end
	local options = {}
	for code, data in pairs(how.opt or {}) do
		options[#options + 1] = u16(code) .. u16(#data) .. data
	end
	local data = table.concat(options)
	return '\0' .. u16(kres.type.OPT) .. u16(1232) .. '\0\0' .. (how.dobit and '\128\0' or '\0\0')
		.. u16(#data) .. data
end

local function question(name, rtype, how)
	local opt = opt_record(how)
	local flags = (how.rd == false and '\0' or '\1') .. (how.cd and '\16' or '\0')
	local wire = '\18\52' .. flags .. u16(1) .. u16(0) .. u16(0) .. u16(#opt > 0 and 1 or 0)
		.. todname(name) .. u16(rtype) .. u16(kres.class.IN) .. opt
	local pkt = kres.packet(#wire, wire)
	check(pkt:parse())
	return pkt
end

local function sockaddr(text)
	local sock = ffi.C.kr_straddr_socket(text, 12345, nil)
	check(sock ~= nil, text)
	return ffi.gc(sock, ffi.C.free)
end

local kept = {} -- luacheck: ignore 241 (referenced from C only)

function ask(name, rtype, fn, how)
	how = how or {}
	local addr, dst = how.addr and sockaddr(how.addr), sockaddr(how.dst or '192.0.2.53')
	local id = {}
	kept[id] = { addr, dst }
	local function init(req)
		if not addr then return end
		req.qsource.addr, req.qsource.dst_addr = addr, dst
		req.qsource.flags.internal = false
		for _, flag in ipairs(how.flags or {}) do req.qsource.flags[flag] = true end
	end
	local finish = guard(fn)
	return worker.resolve_pkt(question(name, kres.type[rtype], how), how.options, function (pkt, req)
		finish(pkt, req)
		kept[id] = nil
	end, init)
end

function option_of(pkt, code)
	for _, rr in ipairs(pkt:section(kres.section.ADDITIONAL)) do
		local at = rr.type == kres.type.OPT and 1 or math.huge
		while at + 3 <= #rr.rdata do
			local here = rr.rdata:byte(at) * 256 + rr.rdata:byte(at + 1)
			local len = rr.rdata:byte(at + 2) * 256 + rr.rdata:byte(at + 3)
			if here == code then return rr.rdata:sub(at + 4, at + 3 + len) end
			at = at + 4 + len
		end
	end
	return nil
end

function ede_of(pkt)
	local data = option_of(pkt, 15)
	return data and string.format('%d %s', data:byte(1) * 256 + data:byte(2), data:sub(3))
end

function records(pkt, section)
	local lines = {}
	for _, rr in ipairs(pkt:section(kres.section[section or 'ANSWER'])) do
		if rr.type ~= kres.type.OPT then
			local line = kres.rr2str(rr):gsub('%s+', ' ')
			lines[#lines + 1] = line
		end
	end
	table.sort(lines)
	return lines
end

local function put_zone_answer(zone, qry, pkt)
	local name, rtype = kres.dname2str(qry:name()), kres.tostring.type[qry.stype]
	local data, rcode = zone[name .. ' ' .. rtype], zone[name]
	if not data and not rcode then return false end
	pkt:recycle()
	pkt:question(qry:name(), qry.sclass, qry.stype)
	pkt:qr(true)
	pkt:aa(true)
	pkt:rcode(rcode or 0)
	pkt:begin(kres.section.ANSWER)
	for _, rdata in ipairs(kres.parse_rdata((function ()
		local lines = {}
		for i, text in ipairs(data or {}) do lines[i] = rtype .. ' ' .. text end
		return lines
	end)())) do
		pkt:put(qry:name(), zone.ttl or 100, qry.sclass, qry.stype, rdata)
	end
	if not data or #data == 0 then
		pkt:begin(kres.section.AUTHORITY)
		pkt:put(todname('.'), zone.soa_ttl or 50, qry.sclass, kres.type.SOA,
			kres.parse_rdata({ 'SOA . . 1 2 3 4 ' .. (zone.soa_ttl or 50) })[1])
	end
	pkt.parsed = pkt.size
	return true
end

--- The same table with names as kres.dname2str() writes them.
local function with_dots(zone)
	local fixed = {}
	for key, value in pairs(zone) do
		local name, rest = key:match('^(%S*%.%S*[^.%s])(%s?.*)$')
		fixed[name and name .. '.' .. rest or key] = value
	end
	return fixed
end

function serve(zone)
	zone = with_dots(zone)
	package.loaded['kres_modules.test_zone'] = {
		layer = { produce = function (state, req, pkt)
			local qry = req:current()
			if state == kres.FAIL or pkt:qr() or not put_zone_answer(zone, qry, pkt) then return state end
			qry.flags.CACHED, qry.flags.NO_MINIMIZE, qry.flags.DNSSEC_WANT = true, true, false
			return kres.DONE
		end },
	}
	modules.load('test_zone > iterate')
end
