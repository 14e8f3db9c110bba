-- SPDX-License-Identifier: GPL-3.0-or-later
-- kres.lru(max[, ctype]): a bounded, lossy table of strings to values of one C type. The frequency of
-- use decides what stays (lib/generic/lru.h).
local ffi = require('ffi')
local C = ffi.C

local methods = {}

--- Pointer to the value of a key, or nil.
function methods.get_ref(self, key, len, insert)
	if key == nil then error('an LRU key must not be nil', 2) end
	if type(key) ~= 'string' and not len then error('an LRU key by pointer needs a length', 2) end
	local ptr = C.lru_get_impl(self.lru, key, len or #key, self.value_size, insert and true or false, nil)
	if ptr == nil then return nil end
	return ffi.cast(self.pointer_t, ptr)
end

--- Value of a key, or nil.
function methods.get(self, key, len)
	local ref = self:get_ref(key, len)
	if ref == nil then return nil end
	return ref[0]
end

--- Store a value; it may be refused. @return true or nil
function methods.set(self, key, value, len)
	local ref = self:get_ref(key, len, true)
	if ref == nil then return nil end
	ref[0] = value
	return true
end

local meta = { __index = methods }
local pointer_types = {}

return function (max_slots, ctype)
	if type(max_slots) ~= 'number' or max_slots < 1 then
		error('expected kres.lru(number of slots[, type of values])', 2)
	end
	local value_t = ffi.typeof(ctype or 'uint64_t')
	local id = tonumber(value_t)
	pointer_types[id] = pointer_types[id] or ffi.typeof('$ *', value_t)
	local lru = C.lru_create_impl(max_slots, ffi.alignof(value_t), nil, nil)
	if lru == nil then error('not enough memory for an LRU', 2) end
	return setmetatable({
		lru = ffi.gc(lru, C.lru_free_impl),
		value_size = ffi.sizeof(value_t),
		pointer_t = pointer_types[id],
	}, meta)
end
