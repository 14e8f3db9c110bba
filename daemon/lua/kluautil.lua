-- SPDX-License-Identifier: GPL-3.0-or-later
-- Small helpers of Lua code.
local ffi = require('ffi')

local M = {}

--- Number of keys of a table; nil if it is none.
function M.kr_table_len(t)
	if type(t) ~= 'table' then return nil end
	local n = 0
	for _ in pairs(t) do n = n + 1 end
	return n
end

--- Values as a table with their number in n.
function M.kr_table_pack(...)
	return { n = select('#', ...), ... }
end

--- The values of a table made by kr_table_pack().
function M.kr_table_unpack(t)
	return unpack(t, 1, t.n)
end

M.list_dir = kluautil_list_dir

--- C string on the pool of a request.
function M.kr_string2c(str, pool)
	local copy = ffi.cast('char *', ffi.C.mm_realloc(pool, nil, #str + 1, 0))
	if copy == nil then panic('not enough memory') end
	ffi.copy(copy, str)
	return copy
end

--- Fetch an https:// address into an open file, which is rewound.
-- @param ca_file certificates to trust; nil = those of the system
-- @return true, or nil and a message
function M.kr_https_fetch(url, file, ca_file)
	local has_ossl, ctx_module = pcall(require, 'openssl.ssl.context')
	local has_http, request_module = pcall(require, 'http.request')
	if not has_ossl or not has_http then
		return nil, 'the Lua library http (lua-http) is not installed, it is needed to fetch ' .. url
	end
	local verify = ctx_module.VERIFY_PEER
	if not url:match('^https://') then return nil, 'the address must begin with https://' end
	local request = request_module.new_from_uri(url)
	request.ctx = ctx_module.new()
	if ca_file then
		local store = request.ctx:getStore()
		local is_good, err = pcall(store.add, store, ca_file)
		if not is_good then return nil, err end
	else
		request.ctx:getStore():addDefaults()
	end
	request.ctx:setVerify(verify)
	local headers, stream = request:go(30)
	if not headers then return nil, tostring(stream) end
	if headers:get(':status') ~= '200' then
		return nil, 'the server answered with HTTP status ' .. tostring(headers:get(':status'))
	end
	local is_good, err = stream:save_body_to_file(file)
	if not is_good then return nil, tostring(err) end
	file:seek('set', 0)
	return true
end

return M
