-- SPDX-License-Identifier: GPL-3.0-or-later
-- Finds the endpoint of an HTTP request, asks it and writes what it says. Who may ask is decided here.
local ffi = require('ffi')
local http_headers = require('http.headers')
local http_websocket = require('http.websocket')
local http_util = require('http.util')

local M = {}

local GRP = ffi.C.LOG_GRP_HTTP
local READING = { GET = true, HEAD = true, OPTIONS = true }

local function log_access(headers, what)
	log_info(GRP, '%s %s HTTP/%s %s', headers:get(':method') or '?', headers:get(':path') or '?',
		headers.version and tostring(headers.version) or '?', what)
end

-- ---- Answers ----

local function write(stream, headers, status, body, extra)
	local out = http_headers.new()
	out:append(':status', tostring(status))
	for name, value in pairs(extra or {}) do out:append(name, value) end
	out:append('content-length', tostring(#body))
	log_access(headers, tostring(status) .. (status >= 400 and #body > 0 and #body < 200 and ' ' .. body or ''))
	local is_head = headers:get(':method') == 'HEAD' or #body == 0
	if stream:write_headers(out, is_head) and not is_head then stream:write_chunk(body, true) end
end

local function reply_headers(endpoint, mime, max_age)
	return {
		['content-type'] = mime,
		['cache-control'] = max_age and 'max-age=' .. tostring(max_age) or nil,
		['access-control-allow-origin'] = endpoint[5] and '*' or nil,
	}
end

-- ---- Who may ----

-- Comparison whose time does not tell how much of a token was right.
local function is_same(a, b)
	if #a ~= #b then return false end
	local differ = 0
	for i = 1, #a do differ = bit.bor(differ, bit.bxor(a:byte(i), b:byte(i))) end
	return differ == 0
end

local function role_of(tokens, headers)
	local given = (headers:get('authorization') or ''):match('^[Bb]earer%s+(%S+)$')
	local role = nil
	for token, its_role in pairs(tokens) do
		if given and is_same(token, given) then role = its_role end
	end
	return role
end

-- Did a page of another site make the browser send this?
local function is_foreign(headers)
	local origin = headers:get('origin')
	if not origin or headers:get('sec-fetch-site') == 'same-origin' then return false end
	return origin:match('^%w+://(.*)$') ~= headers:get(':authority')
end

-- @return status and text of a refusal, or nil
local function refusal(conf, endpoint, headers, is_socket)
	if endpoint[5] then return nil end -- meant for everybody
	local is_reading = READING[headers:get(':method')] and not is_socket
	if not is_reading and is_foreign(headers) then return 403, 'requests of other sites are refused' end
	if not conf.tokens then return nil end
	local role = role_of(conf.tokens, headers)
	if not role then return 401, 'a token is required' end
	if not READING[headers:get(':method')] and role ~= 'write' then return 403, 'the token allows reading only' end
	return nil
end

-- ---- Endpoints ----

local function lookup(endpoints, target)
	local path = target:match('^[^?#]*')
	return endpoints[target] or endpoints[path] or endpoints[path:match('^/[^/]*') or path]
end

local function serve_text(endpoint, headers, stream)
	local method = headers:get(':method')
	if method ~= 'GET' and method ~= 'HEAD' then return write(stream, headers, 501, '') end
	write(stream, headers, 200, endpoint[2], reply_headers(endpoint, endpoint[1], endpoint[4]))
end

local function serve_function(endpoint, headers, stream)
	local is_good, result, text, mime, max_age = http_util.yieldable_pcall(endpoint[2], headers, stream)
	if not is_good then
		log_info(GRP, 'the handler of %s failed: %s', headers:get(':path'), tostring(result))
		return write(stream, headers, 500, '')
	end
	if result == false then return end -- it has answered itself
	if result == nil then return write(stream, headers, 404, '') end
	if type(result) == 'number' then
		return write(stream, headers, result, text and tostring(text) or '')
	end
	if type(result) == 'table' then result = tojson(result) end
	write(stream, headers, 200, tostring(result),
		reply_headers(endpoint, mime or endpoint[1], max_age or endpoint[4]))
end

local function serve_socket(endpoint, headers, stream)
	local ws = http_websocket.new_from_stream(stream, headers)
	if not ws or not ws:accept({ protocols = { 'json' } }, 5) then
		return write(stream, headers, 400, '')
	end
	log_access(headers, 'web socket open')
	if endpoint[3] then
		local is_good, err = http_util.yieldable_pcall(endpoint[3], headers, ws)
		if not is_good then log_info(GRP, 'the handler of %s failed: %s', headers:get(':path'), tostring(err)) end
	end
	ws:close(1000, nil, 1)
	log_access(headers, 'web socket closed')
end

local function wants_socket(headers)
	local upgrade = headers:get('upgrade')
	return upgrade ~= nil and upgrade:lower() == 'websocket'
end

local function serve(conf, stream, headers)
	local target = headers:get(':path') or '/'
	local is_socket = wants_socket(headers)
	local endpoint
	if is_socket then
		endpoint = conf.endpoints[target:match('^[^?#]*')]
	else
		endpoint = lookup(conf.endpoints, target)
	end
	if not endpoint then return write(stream, headers, 404, '') end
	local status, why = refusal(conf, endpoint, headers, is_socket)
	if status then
		return write(stream, headers, status, why,
			{ ['www-authenticate'] = status == 401 and 'Bearer' or nil })
	end
	if is_socket then return serve_socket(endpoint, headers, stream) end
	if type(endpoint[2]) == 'string' then return serve_text(endpoint, headers, stream) end
	serve_function(endpoint, headers, stream)
end

--- Function for http.server that serves streams by the settings.
function M.handler(conf)
	return function (_, stream)
		local headers = stream:get_headers(conf.client_timeout)
		if not headers then return end
		if stream.connection and stream.connection.version then headers.version = stream.connection.version end
		serve(conf, stream, headers)
		stream:shutdown()
	end
end

return M
