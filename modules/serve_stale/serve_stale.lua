-- SPDX-License-Identifier: GPL-3.0-or-later
-- Answer from expired cache entries when the servers do not (RFC 8767).
local ffi = require('ffi')
local kres = require('kres')
local bit = require('bit')
local C = ffi.C

local M = {
	timeout = 1800,          -- ms a client waits before stale data are used, RFC 8767 section 5
	recheck = 10 * sec,      -- ms for which a question that failed is answered by stale data at once
	max_stale = 86400,       -- s for which expired data may be used
	layer = { skippable = true, concerns = {} }, -- stale answers are not repeated
}

local GRP = C.LOG_GRP_SRVSTALE
local STALE_TTL_S = 1
local FAILING_MAX = 10000    -- questions remembered

M.callback = ffi.cast('kr_stale_cb', function (ttl)
	return ttl + M.max_stale > 0 and STALE_TTL_S or -1
end)

-- ---- What fails at present ----

local failing, failing_len = {}, 0 -- key -> time of the next try, ms
local refreshing = {}

local function now_ms()
	return tonumber(C.kr_now())
end

local function key_of(qry)
	return qry.stype .. ' ' .. kres.dname2str(qry:name()):lower()
end

local function forget_old(now)
	for key, till in pairs(failing) do
		if till <= now then
			failing[key] = nil
			failing_len = failing_len - 1
		end
	end
end

local function set_failing(key, till)
	if not failing[key] then
		if failing_len >= FAILING_MAX then forget_old(now_ms()) end
		if failing_len >= FAILING_MAX then return end
		failing_len = failing_len + 1
	end
	failing[key] = till
end

local function set_well(key)
	if failing[key] then failing_len = failing_len - 1 end
	failing[key] = nil
end

local function is_failing(qry)
	if failing_len == 0 then return false end
	local key = key_of(qry)
	return refreshing[key] or (failing[key] or 0) > now_ms()
end

-- Try the servers again, for nobody in particular.
local function refresh(qry)
	local key, name, rtype = key_of(qry), kres.dname2str(qry:name()), qry.stype
	if refreshing[key] or (failing[key] or 0) > now_ms() then return end
	refreshing[key] = true
	set_failing(key, now_ms() + M.recheck)
	event.after(0, function () -- not inside of a walk
		worker.resolve({
			name = name, type = rtype, options = { 'NO_CACHE' },
			finish = function (pkt)
				refreshing[key] = nil
				if pkt ~= nil and (pkt:rcode() == kres.rcode.NOERROR or pkt:rcode() == kres.rcode.NXDOMAIN) then
					set_well(key)
				else
					set_failing(key, now_ms() + M.recheck)
				end
			end,
		})
	end)
end

-- ---- Hooks ----

-- In force until it is time: nothing stale may be used, but it tells the choice of servers that waiting
-- beyond that time is of no use.
local closed = ffi.cast('kr_stale_cb', function () return -1 end)

-- In force afterwards.
local open = ffi.cast('kr_stale_cb', function (ttl, name, rtype, qry)
	local left = M.callback(ttl, name, rtype, qry)
	if left >= 0 then kres.request_t(qry.request):vars().is_stale = true end
	return left
end)

local function is_time(qry)
	return qry.flags.NO_NS_FOUND or now_ms() - tonumber(qry.creation_time_mono) >= M.timeout or is_failing(qry)
end

function M.layer.produce(_, req)
	local qry = req:current()
	if qry == nil or qry.flags.RESOLVED or qry.flags.NO_CACHE or qry.stale_cb == open then return nil end
	if not is_time(qry) then
		qry.stale_cb = closed
		return nil
	end
	log_qry(qry, GRP, '   => servers do not answer, stale data may be used\n')
	qry.stale_cb = open
	qry.flags.CACHE_TRIED = false -- the cache is asked once more
	return nil
end

function M.layer.answer_finalize(state, req)
	if req.vars_ref < 0 or not req:vars().is_stale or bit.band(state, kres.DONE) == 0 then return nil end
	req:set_extended_error(kres.extended_error.STALE, '6Q6X')
	local resolved = req.rplan.resolved
	for i = 0, tonumber(resolved.len) - 1 do
		local qry = resolved.at[i]
		if qry.flags.CACHED and qry.stale_cb == open then refresh(qry) end
	end
	return nil
end

-- ---- Configuration ----

local function number(conf, key, least)
	local value = conf[key]
	if value == nil then return M[key] end
	if type(value) ~= 'number' or value < least then
		error(string.format('[serve_stale] %s must be a number, at least %d', key, least), 3)
	end
	return value
end

--- Set timeout, recheck (ms) and max_stale (s).
function M.config(conf)
	if conf == nil then return end
	if type(conf) ~= 'table' then error('[serve_stale] configuration must be a table', 2) end
	for key in pairs(conf) do
		if key ~= 'timeout' and key ~= 'recheck' and key ~= 'max_stale' then
			error('[serve_stale] there is no option ' .. tostring(key), 2)
		end
	end
	local timeout, recheck = number(conf, 'timeout', 0), number(conf, 'recheck', 0)
	M.max_stale = number(conf, 'max_stale', 0)
	M.timeout, M.recheck = timeout, recheck
end

function M.deinit()
	failing, failing_len, refreshing = {}, 0, {}
end

return M
