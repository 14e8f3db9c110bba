-- SPDX-License-Identifier: GPL-3.0-or-later
-- Answer from expired cache entries when the servers do not (RFC 8767).
local ffi = require('ffi')
local kres = require('kres')
local bit = require('bit')
local C = ffi.C

local M = {
	timeout = 1800, -- ms a client waits before stale data are used, RFC 8767 section 5
	layer = { skippable = true },
}

local GRP = C.LOG_GRP_SRVSTALE
local MAX_STALE_S = 86400
local STALE_TTL_S = 1

M.callback = ffi.cast('kr_stale_cb', function (ttl)
	if ttl + MAX_STALE_S > 0 then return STALE_TTL_S end
	return -1
end)

function M.layer.produce(state, req)
	local qry = req:current()
	if qry == nil or qry.flags.RESOLVED or qry.flags.NO_CACHE or qry.stale_cb ~= nil then
		return state
	end
	local age = tonumber(C.kr_now()) - tonumber(qry.creation_time_mono)
	if age > M.timeout or qry.flags.NO_NS_FOUND then
		log_qry(qry, GRP, '   => no reachable NS, using stale data\n')
		qry.stale_cb = M.callback
		qry.flags.CACHE_TRIED = false -- the cache is asked once more
	end
	return state
end

function M.layer.answer_finalize(state, req)
	local qry = req:resolved()
	if qry == nil or qry.stale_cb == nil then return state end
	if qry.flags.CACHED and bit.band(state, kres.DONE) ~= 0 then
		req:set_extended_error(kres.extended_error.STALE, '6Q6X')
	end
	return state
end

function M.init()
	log_info(GRP, 'stale answers after %d ms', M.timeout)
end

return M
