-- SPDX-License-Identifier: GPL-3.0-or-later
-- Ask again for records in use shortly before they expire, so that nobody has to wait for them.
local kres = require('kres')
local bit = require('bit')

local M = {
	in_flight = 100,   -- refreshes at one time
	per_second = 100,  -- refreshes begun in a second
	layer = { skippable = true }, -- answers close to their end are not repeated: see init()
}

local refreshing, refreshing_len = {}, 0
local second_begin, second_count = 0, 0
local is_loaded = false

local function may_begin()
	local now = os.time()
	if now ~= second_begin then second_begin, second_count = now, 0 end
	if refreshing_len >= M.in_flight or second_count >= M.per_second then return false end
	second_count = second_count + 1
	return true
end

--- Ask again, past the cache. One question is asked once at a time. @return was it begun
function M.refresh(name, rtype)
	local key = rtype .. ' ' .. name
	if refreshing[key] or not may_begin() then return false end
	refreshing[key], refreshing_len = true, refreshing_len + 1
	event.after(0, function () -- not inside of a walk
		worker.resolve({
			name = name, type = rtype, options = { 'NO_CACHE' },
			finish = function ()
				refreshing[key], refreshing_len = nil, refreshing_len - 1
			end,
		})
	end)
	return true
end

--- Refresh what a request used shortly before its end. Requests that nobody waits for do not count.
function M.refresh_used(req)
	local resolved = req.rplan.resolved
	for i = 0, tonumber(resolved.len) - 1 do
		local qry = resolved.at[i]
		if qry.flags.EXPIRING and qry.flags.CACHED then M.refresh(kres.dname2str(qry:name()), qry.stype) end
	end
end

function M.layer.finish(state, req)
	if bit.band(state, kres.FAIL) == 0 then M.refresh_used(req) end
	return nil
end

local function limit(conf, key)
	local value = conf[key]
	if value == nil then return M[key] end
	if type(value) ~= 'number' or value < 1 or value % 1 ~= 0 then
		error(string.format('[prefetch] %s must be a whole number, at least 1', key), 3)
	end
	return value
end

--- Set in_flight and per_second.
function M.config(conf)
	if conf == nil then return end
	if type(conf) ~= 'table' then error('[prefetch] configuration must be a table or nil', 2) end
	for key in pairs(conf) do
		if key ~= 'in_flight' and key ~= 'per_second' then
			error('[prefetch] there is no option ' .. tostring(key), 2)
		end
	end
	M.in_flight, M.per_second = limit(conf, 'in_flight'), limit(conf, 'per_second')
end

--- Have answers close to their end seen by the layers; counts its callers.
local users = 0
function M.engage(is_on)
	users = users + (is_on and 1 or -1)
	kres.context().wants_expiring = users > 0
end

function M.init()
	is_loaded = true
	M.engage(true)
end

function M.deinit()
	if is_loaded then M.engage(false) end
	is_loaded = false
end

return M
