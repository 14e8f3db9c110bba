-- SPDX-License-Identifier: GPL-3.0-or-later
-- Root priming (RFC 8109): ask the root servers for the root servers, and use what they say.
local ffi = require('ffi')
local kres = require('kres')
local C = ffi.C

local M = {
	retry_time = 10 * sec, -- after a failure, in ms
}

local GRP = C.LOG_GRP_PRIMING
local timer = nil
local round = 0 -- answers of an older round are ignored

local schedule

local function set_timer(ms)
	if timer then event.cancel(timer) end
	timer = event.after(ms, function ()
		timer = nil
		M.prime()
	end)
end

-- Replace the root hints by what was collected.
local function apply(found)
	if next(found) == nil then return false end
	local hints = kres.context().root_hints
	C.kr_zonecut_set(hints, kres.str2dname('.'))
	for name, addrs in pairs(found) do
		for _, addr in ipairs(addrs) do
			C.kr_zonecut_add(hints, name, addr, #addr)
		end
	end
	return true
end

local function collect_addresses(found, pkt, name, rtype)
	if pkt == nil or pkt:rcode() ~= kres.rcode.NOERROR then
		log_info(GRP, "cannot resolve address '%s', type: %d", kres.dname2str(name), rtype)
		return
	end
	for _, rr in ipairs(pkt:section(kres.section.ANSWER)) do
		if rr.type == rtype then
			found[name] = found[name] or {}
			table.insert(found[name], rr.rdata)
		end
	end
end

local function wanted_types()
	local types = {}
	if net.ipv4 then types[#types + 1] = kres.type.A end
	if net.ipv6 then types[#types + 1] = kres.type.AAAA end
	return types
end

-- Ask for the addresses of all servers; the last answer decides.
local function ask_addresses(names, ttl, this_round)
	local types = wanted_types()
	local left = #names * #types
	local found = {}
	if left == 0 then return schedule(nil) end
	for _, name in ipairs(names) do
		for _, rtype in ipairs(types) do
			worker.resolve({
				name = kres.dname2str(name),
				type = rtype,
				finish = function (pkt)
					if this_round ~= round then return end
					collect_addresses(found, pkt, name, rtype)
					left = left - 1
					if left == 0 then
						schedule(apply(found) and ttl or nil)
					end
				end,
			})
		end
	end
end

-- When to do it again. No TTL: something failed.
schedule = function (ttl)
	local ms = ttl and math.min(ttl, cache.max_ttl()) * sec or M.retry_time
	if ttl then
		log_info(GRP, 'triggered priming query, next in %d seconds', ms / sec)
	end
	set_timer(ms)
end

local function on_ns(pkt, this_round)
	if this_round ~= round then return end
	local names, ttl = {}, nil
	if pkt ~= nil and pkt:rcode() == kres.rcode.NOERROR then
		for _, rr in ipairs(pkt:section(kres.section.ANSWER)) do
			if rr.type == kres.type.NS then
				names[#names + 1] = rr.rdata
				ttl = math.min(ttl or rr.ttl, rr.ttl)
			end
		end
	end
	if #names == 0 then
		log_info(GRP, "cannot resolve '.' NS, next priming query in %d seconds", M.retry_time / sec)
		return schedule(nil)
	end
	ask_addresses(names, ttl, this_round)
end

function M.prime()
	round = round + 1
	local this_round = round
	worker.resolve({
		name = '.',
		type = kres.type.NS,
		finish = function (pkt) on_ns(pkt, this_round) end,
	})
end

function M.init()
	set_timer(0)
end

function M.deinit()
	round = round + 1
	if timer then event.cancel(timer) end
	timer = nil
end

return M
