-- SPDX-License-Identifier: GPL-3.0-or-later
-- Choose policy rules by who asks: client address, address asked at, name of the TSIG key.
local kres = require('kres')
local ffi = require('ffi')
local bit = require('bit')
local C = ffi.C

local M = {}

-- Rules by key name; by address of the client; by address of ours.
local keys = {}

-- ---- Subnets ----

local function parse_subnet(text)
	local bytes = ffi.new('char[16]')
	local family = type(text) == 'string' and C.kr_straddr_family(text) or -1
	local bitlen = family >= 0 and C.kr_straddr_subnet(bytes, text) or -1
	if bitlen < 0 then error('failed to parse subnet ' .. tostring(text), 3) end
	return ffi.string(bytes, C.kr_family_len(family)), bitlen
end

-- The first bits of an address.
local function masked(addr, bitlen)
	local whole, rest = math.floor(bitlen / 8), bitlen % 8
	local head = addr:sub(1, whole)
	if rest == 0 then return head end
	return head .. string.char(bit.band(addr:byte(whole + 1), bit.band(0xff, bit.lshift(0xff, 8 - rest))))
end

-- A table of subnets: one look-up for each prefix length in use, whatever the number of subnets.
local function new_table()
	return { lengths = { [4] = {}, [16] = {} }, rules = {} }
end

local function table_add(tbl, subnet, bitlen, rule)
	local lengths = tbl.lengths[#subnet]
	lengths[bitlen] = lengths[bitlen] or {}
	local at = masked(subnet, bitlen)
	lengths[bitlen][at] = lengths[bitlen][at] or {}
	table.insert(tbl.rules, rule)
	table.insert(lengths[bitlen][at], #tbl.rules)
end

-- Numbers of the rules whose subnet has the address, in order of definition.
local function table_find(tbl, addr)
	local found = {}
	for bitlen, subnets in pairs(tbl.lengths[#addr]) do
		for _, number in ipairs(subnets[masked(addr, bitlen)] or {}) do found[#found + 1] = number end
	end
	table.sort(found)
	return found
end

local sources, destinations = new_table(), new_table()

local function addr_bytes(sockaddr)
	if sockaddr == nil then return nil end
	local addr = ffi.cast('struct sockaddr *', sockaddr)
	local ip = C.kr_inaddr(addr)
	if ip == nil then return nil end
	return ffi.string(ip, C.kr_inaddr_len(addr))
end

-- ---- Definition ----

local function check_rule(rule, level)
	if type(rule) ~= 'function' then
		error('view: a rule such as policy.all(policy.DENY) is expected, got ' .. type(rule), level + 1)
	end
end

function M.addr(_, subnet, rule, dst)
	local bytes, bitlen = parse_subnet(subnet)
	check_rule(rule, 2)
	local desc = { subnet = subnet, rule = rule, dst = dst and true or false }
	table_add(dst and destinations or sources, bytes, bitlen, desc)
	return desc
end

function M.tsig(_, keyname, rule)
	local name = type(keyname) == 'string' and (keyname:byte(-1) == 0 and keyname:lower() or kres.str2dname(keyname))
	if not name then error('view: the name of a key is expected, got ' .. tostring(keyname), 2) end
	check_rule(rule, 2)
	keys[name] = keys[name] or {}
	table.insert(keys[name], rule)
end

-- Filters for policy.add(): the same test without a place in the view.
local function address_filter(action, subnet, field)
	local bytes, bitlen = parse_subnet(subnet)
	local prefix = masked(bytes, bitlen)
	return function (req)
		local addr = addr_bytes(req.qsource[field])
		if addr and #addr == #bytes and masked(addr, bitlen) == prefix then return action end
	end
end

function M.rule_src(action, subnet)
	return address_filter(action, subnet, 'addr')
end

function M.rule_dst(action, subnet)
	return address_filter(action, subnet, 'dst_addr')
end

-- ---- Evaluation ----

local function apply(rule, state, req, qry)
	local action = rule(req, qry)
	return action and action(state, req) or nil
end

local function try_key(state, req, qry)
	local tsig = req.qsource.packet.tsig_rr
	if next(keys) == nil or tsig == nil then return nil end
	for _, rule in ipairs(keys[tsig:owner():lower()] or {}) do
		local result = apply(rule, state, req, qry)
		if result then return result end
	end
	return nil
end

local function try_address(tbl, sockaddr, state, req, qry)
	local addr = #tbl.rules > 0 and addr_bytes(sockaddr)
	if not addr then return nil end
	for _, number in ipairs(table_find(tbl, addr)) do
		local result = apply(tbl.rules[number].rule, state, req, qry)
		if result then return result end
	end
	return nil
end

-- Not skippable: the same question of another client may have another answer.
M.layer = {
	begin = function (state, req)
		if bit.band(state, bit.bor(kres.FAIL, kres.DONE)) ~= 0 then return state end
		local qry = req:current()
		if qry == nil or req.qsource.packet == nil then return state end
		return try_key(state, req, qry)
			or try_address(sources, req.qsource.addr, state, req, qry)
			or try_address(destinations, req.qsource.dst_addr, state, req, qry)
			or state
	end,
}

function M.deinit()
	keys, sources, destinations = {}, new_table(), new_table()
end

return M
