-- SPDX-License-Identifier: GPL-3.0-or-later
-- Rewrite addresses in answers: whole networks, or those of one name. Also behind policy.REROUTE.
local kres = require('kres')
local ffi = require('ffi')
local bit = require('bit')
local C = ffi.C

local M = {}

local GRP = C.LOG_GRP_RENUMBER
local TYPE_OF = { [4] = kres.type.A, [16] = kres.type.AAAA }
local ADDRESS_BYTES = { [kres.type.A] = 4, [kres.type.AAAA] = 16 }

-- Rules of config(), in order.
local prefixes = {}

-- ---- Rules ----

local function parse_target(text)
	if type(text) ~= 'string' then error('[renumber] invalid address: ' .. tostring(text), 3) end
	local plain, is_exact = text:gsub('!$', '')
	if plain:find('!', 1, true) then
		error('[renumber] "!" symbol in target is only accepted at the end of address', 3)
	end
	local addr = kres.str2ip(plain)
	if not addr then error('[renumber] invalid address: ' .. text, 3) end
	return addr, is_exact > 0
end

local function parse_subnet(text)
	local bytes = ffi.new('char[16]')
	local family = type(text) == 'string' and C.kr_straddr_family(text) or -1
	local bitlen = family >= 0 and C.kr_straddr_subnet(bytes, text) or -1
	if bitlen < 0 then error('[renumber] invalid subnet: ' .. tostring(text), 3) end
	return bytes, bitlen, C.kr_family_len(family)
end

-- Network bits of `target`, the rest of `addr`.
local function join_bits(target, addr, bitlen)
	local whole, rest = math.floor(bitlen / 8), bitlen % 8
	local joined = target:sub(1, whole)
	if rest > 0 then
		local mask = bit.band(0xff, bit.lshift(0xff, 8 - rest))
		joined = joined .. string.char(bit.bor(bit.band(target:byte(whole + 1), mask),
			bit.band(addr:byte(whole + 1), bit.band(0xff, bit.bnot(mask)))))
	end
	return joined .. addr:sub(#joined + 1)
end

-- Is an address of that type in the subnet?
function M.match_subnet(subnet, bitlen, addrtype, rrtype, rdata)
	return rrtype == addrtype and C.kr_bitcmp(subnet, ffi.cast('const char *', rdata), bitlen) == 0
end

--- A rule for the addresses of a network: function(record) -> new address or nil
function M.prefix(subnet, target)
	local addr, is_exact = parse_target(target)
	local bytes, bitlen, len = parse_subnet(subnet)
	if #addr ~= len then error('[renumber] ' .. subnet .. ' and ' .. target .. ' are of different families', 2) end
	local addrtype = TYPE_OF[len]
	return function (rr)
		if #rr.rdata ~= len or not M.match_subnet(bytes, bitlen, addrtype, rr.type, rr.rdata) then return nil end
		return is_exact and addr or join_bits(addr, rr.rdata, bitlen)
	end
end

--- A rule for the addresses of one name.
function M.name(name, target)
	local addr = parse_target(target)
	local owner = kres.str2dname(name)
	if not owner then error('[renumber] invalid name: ' .. tostring(name), 2) end
	return function (rr)
		if rr.type == TYPE_OF[#addr] and rr.owner:lower() == owner then return addr end
	end
end

-- ---- Answers ----

local function rewrite(rules, rr)
	if #rr.rdata ~= ADDRESS_BYTES[rr.type] then return nil end
	for _, rule in ipairs(rules) do
		local addr = rule(rr)
		if addr then return addr end
	end
	return nil
end

-- Records of ANSWER with new addresses, or nil if none changes. Signatures cannot be kept.
local function renumbered(rules, answer)
	local records, is_changed = {}, false
	for _, rr in ipairs(answer:section(kres.section.ANSWER)) do
		local addr = ADDRESS_BYTES[rr.type] and rewrite(rules, rr)
		if addr then
			rr.rdata = addr
			is_changed = true
		end
		if rr.type ~= kres.type.RRSIG then records[#records + 1] = rr end
	end
	return is_changed and records or nil
end

-- The core writes EDNS once more for a packet that was rebuilt.
local function apply(rules, req)
	local answer = req.answer
	if answer == nil or answer:ancount() == 0 then return end
	local records = renumbered(rules, answer)
	if not records then return end
	answer:clear_payload()
	answer:ad(false)
	answer:begin(kres.section.ANSWER)
	for _, rr in ipairs(records) do
		if not answer:put(rr.owner, rr.ttl, rr.class, rr.type, rr.rdata) then answer:tc(true) end
	end
	req:set_extended_error(kres.extended_error.FORGED, 'DUQR')
	log_req(req, 0, 0, GRP, 'addresses of the answer were rewritten')
end

--- An action for policy.add(..., true). The rules after it are tried, too.
function M.rule(rules)
	return function (_, req)
		if req:current() ~= nil then
			error('policy.REROUTE works on answers: policy.add(rule, true)')
		end
		apply(rules, req)
		return nil
	end
end

function M.config(conf)
	if conf == nil then return end
	if type(conf) ~= 'table' or type(conf[1]) ~= 'table' or type(conf[1][1]) ~= 'string'
			or type(conf[1][2]) ~= 'string' then
		error('[renumber] expected { {prefix, target}, ... }', 2)
	end
	local parsed = {}
	for i, pair in ipairs(conf) do
		if type(pair) ~= 'table' then error('[renumber] expected { {prefix, target}, ... }', 2) end
		parsed[i] = M.prefix(pair[1], pair[2])
	end
	for _, rule in ipairs(parsed) do prefixes[#prefixes + 1] = rule end
	cache._changed()
end

M.layer = {
	skippable = true, -- the rewritten answer is the one that is repeated
	finish = function (state, req)
		if #prefixes > 0 and bit.band(state, kres.FAIL) == 0 then apply(prefixes, req) end
	end,
}

function M.deinit()
	prefixes = {}
	cache._changed()
end

return M
