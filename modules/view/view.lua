-- SPDX-License-Identifier: GPL-3.0-or-later
-- Choose policy rules by who asks: client address, address asked at, name of the TSIG key.
local kres = require('kres')
local ffi = require('ffi')
local policy = require('kres_modules.policy')
local C = ffi.C

local M = {}

local book = policy._new_book(C.KR_BOOK_VIEW)
local next_id = 0

-- All entries, in order of definition.
M.rules = {}

-- ---- Definition ----

local function parse_subnet(text, level)
	local bytes = ffi.new('char[16]')
	local family = type(text) == 'string' and C.kr_straddr_family(text) or -1
	local bitlen = family >= 0 and C.kr_straddr_subnet(bytes, text) or -1
	if bitlen < 0 then error('failed to parse subnet ' .. tostring(text), level + 1) end
	return { family = family, bits = bitlen, bytes = ffi.string(bytes, C.kr_family_len(family)) }
end

local function check_rule(rule, level)
	if type(rule) ~= 'function' then
		error('view: a rule such as policy.all(policy.DENY) is expected, got ' .. type(rule), level + 1)
	end
	if policy._is_late(rule) then
		error('view: an action of the answer phase (REROUTE) belongs into policy.add(RULE, true)', level + 1)
	end
end

local function add(list, desc, extra)
	desc.id, desc.cb = next_id, desc.rule
	book:add(list, desc, extra)
	next_id = next_id + 1
	table.insert(M.rules, desc)
	return desc
end

function M.addr(_, subnet, rule, dst)
	local net = parse_subnet(subnet, 2)
	check_rule(rule, 2)
	net.side = dst and C.KR_SIDE_DESTINATION or C.KR_SIDE_SOURCE
	return add(dst and C.KR_VIEW_DESTINATION or C.KR_VIEW_SOURCE,
		{ subnet = subnet, rule = rule, dst = dst and true or false }, { net = net })
end

-- Rules for a key; with `secret` (base64) and `algorithm` the signature has to be right, too.
function M.tsig(_, keyname, rule, opts)
	local name = type(keyname) == 'string' and (keyname:byte(-1) == 0 and keyname:lower() or kres.str2dname(keyname))
	if not name then error('view: the name of a key is expected, got ' .. tostring(keyname), 2) end
	check_rule(rule, 2)
	local key = ffi.new('struct kr_rule_key')
	key.name = name
	if opts then
		if type(opts) ~= 'table' or type(opts.secret) ~= 'string' then
			error("view: the third argument is { secret = 'base64', algorithm = 'hmac-sha256' }", 2)
		end
		key.algorithm, key.secret = opts.algorithm or 'hmac-sha256', opts.secret
	end
	local is_good, desc = pcall(add, C.KR_VIEW_KEY, { key = keyname, rule = rule }, { key = key })
	if not is_good then error('view: algorithm or secret of the key is not valid', 2) end
	return desc
end

function M.del(id)
	for i, desc in ipairs(M.rules) do
		if desc.id == id then
			book:del(desc)
			table.remove(M.rules, i)
			return true
		end
	end
	return false
end

-- true: the smallest network that has the address decides, whatever was defined first.
function M.longest_prefix(is_longest)
	C.kr_rulebook_set_longest(book.c, is_longest and true or false)
end

-- ---- Filters for policy.add(): the same test without a place in the view ----

local function address_filter(action, subnet, field, side)
	local net = parse_subnet(subnet, 3)
	net.side = side
	local bytes = net.bytes
	local function fn(req)
		local addr = req.qsource[field]
		if addr == nil or C.kr_inaddr_family(addr) ~= net.family then return nil end
		if C.kr_bitcmp(bytes, C.kr_inaddr(addr), net.bits) == 0 then return action end
	end
	return policy._filter(fn, { kind = C.KR_FILTER_ALL, action = action, net = net })
end

function M.rule_src(action, subnet)
	return address_filter(action, subnet, 'addr', C.KR_SIDE_SOURCE)
end

function M.rule_dst(action, subnet)
	return address_filter(action, subnet, 'dst_addr', C.KR_SIDE_DESTINATION)
end

-- ---- Evaluation ----

-- The engine goes first; this is called if a function has to be asked (daemon/ffi_layer.c).
M.layer = {
	compiled = true,
	begin = function (state, req)
		local qry = req:current()
		return qry ~= nil and book:ask(state, req, qry) or state
	end,
}

function M.deinit()
	for _, desc in ipairs(M.rules) do book:del(desc) end
	M.rules = {}
	M.longest_prefix(false)
end

return M
