-- SPDX-License-Identifier: GPL-3.0-or-later
-- cache.clear(): removes what is at and below a name, in steps.
local ffi = require('ffi')
local C = ffi.C

local CHUNK_DEFAULT = 100

--- Repeat until nothing is left; what cache.clear() does when it is given no callback.
local function continue_later(name, exact, rr_type, chunk, callback, _, step)
	if step.count < chunk then
		if step.round > 1 then
			log_info(C.LOG_GRP_CACHE, 'clearing of %s has finished after %d rounds', name,
				step.round)
		end
		return step
	end
	event.after(1, function ()
		local is_good, err = pcall(cache.clear, name, exact, rr_type, chunk, callback, step)
		if not is_good then
			log_error(C.LOG_GRP_CACHE, 'clearing of %s: %s', name, tostring(err))
		end
	end)
	step.chunk_limit = 'chunk size limit reached; clearing goes on in the background'
	return step
end

local function check_args(exact, rr_type, chunk, callback)
	if exact ~= nil and type(exact) ~= 'boolean' then
		error('cache.clear(): exact must be boolean', 3)
	end
	if rr_type ~= nil and (not exact or chunk ~= nil or callback ~= nil) then
		error('cache.clear(): a type goes with exact = true, without chunk and callback', 3)
	end
	if chunk ~= nil and (type(chunk) ~= 'number' or chunk <= 0) then
		error('cache.clear(): chunk must be a number above 0', 3)
	end
	if callback ~= nil and type(callback) ~= 'function' then
		error('cache.clear(): callback must be a function', 3)
	end
end

--- Note in the result that proofs of non-existence come from a zone above.
local function note_apex(result, dname, store)
	local apex = ffi.new('knot_dname_t *[1]')
	local labels = C.kr_cache_closest_apex(store, dname, false, apex)
	if labels < 0 then
		error('cache.clear(): ' .. ffi.string(C.knot_strerror(labels)), 3)
	end
	if labels > 0 then
		result.subtree = kres.dname2str(apex[0])
		result.not_apex = 'to clear proofs of non-existence call ' ..
			string.format("cache.clear('%s')", result.subtree)
	end
	if apex[0] ~= nil then C.free(apex[0]) end
end

function cache.clear(name, exact, rr_type, chunk, callback, prev)
	if name == nil or name == '.' and not exact then
		local count = cache.count()
		cache.clear_everything()
		return { count = count }
	end
	local dname = kres.str2dname(name)
	if not dname then error('cache.clear(): incorrect name ' .. tostring(name), 2) end
	check_args(exact, rr_type, chunk, callback)
	cache._check_open()
	local store = kres.context().cache
	local result = {}
	if not exact then note_apex(result, dname, store) end

	local count
	if rr_type ~= nil then
		count = C.kr_cache_remove(store, dname, rr_type)
	else
		count = C.kr_cache_remove_subtree(store, dname, exact or false, chunk or CHUNK_DEFAULT)
	end
	C.kr_cache_commit(store)
	cache._changed()
	if count < 0 then error('cache.clear(): ' .. ffi.string(C.knot_strerror(count)), 2) end
	if rr_type ~= nil then return { count = 1 } end

	chunk = chunk or CHUNK_DEFAULT
	callback = callback or continue_later
	result.count = count
	result.round = prev and prev.round + 1 or 1
	return callback(name, exact, rr_type, chunk, callback, prev, result)
end
