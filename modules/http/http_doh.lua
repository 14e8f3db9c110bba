-- SPDX-License-Identifier: GPL-3.0-or-later
-- DNS over HTTPS of old (RFC 8484 by this module); net.listen(…, {kind = 'doh2'}) is the better one.
local ffi = require('ffi')
local basexx = require('basexx')
local condition = require('cqueues.condition')
local C = ffi.C

local M = {}

local MIME = 'application/dns-message'
local GET_MAX, POST_MAX = 1368, 1024 -- characters, bytes
local HEADER_BYTES, WAIT_S = 12, 30

-- ---- Questions ----

local function question_of_get(path)
	local query = path:match('%?(.*)$') or ''
	local text = ('&' .. query):match('&dns=([^&#]*)')
	if not text or text == '' then return nil, 400, 'base64url query not found' end
	if #text > GET_MAX then return nil, 414, 'query parameter in URI too long' end
	local wire = text:match('^[%w_-]+$') and basexx.from_url64(text)
	if not wire then return nil, 400, 'invalid base64url' end
	return wire
end

local function question_of_post(headers, stream)
	local length = tonumber(headers:get('content-length'))
	if length and length > POST_MAX then return nil, 413, 'input too long' end
	local mime = headers:get('content-type') or MIME
	if mime:lower() ~= MIME then return nil, 415, 'only Content-Type: application/dns-message is supported' end
	local wire = stream:get_body_chars(POST_MAX + 1, WAIT_S)
	if wire and #wire > POST_MAX then return nil, 413, 'input too long' end
	return wire or ''
end

local function message(headers, stream)
	local method = headers:get(':method')
	if method == 'GET' then return question_of_get(headers:get(':path')) end
	if method == 'POST' then return question_of_post(headers, stream) end
	return nil, 405, 'only HTTP POST and GET are supported'
end

-- @return packet, or nil, status and text
local function question(headers, stream)
	local wire, status, why = message(headers, stream)
	if not wire then return nil, status, why end
	if #wire < HEADER_BYTES then return nil, 400, 'input too short' end
	local pkt = kres.packet(#wire, wire)
	if not pkt:parse() then return nil, 400, 'unparseable DNS message' end
	return pkt
end

-- ---- Answers ----

local function sockaddr(family, ip, port)
	if not ip or not port then return nil end
	local addr = C.kr_straddr_socket(ip, port, nil)
	return addr ~= nil and ffi.gc(addr, C.free) or nil
end

local function resolve(pkt, stream, client, here)
	local done, body, age = condition.new(), nil, nil
	local is_tls = stream:checktls() ~= nil
	local function init(req)
		req.qsource.addr, req.qsource.dst_addr = client, here
		local flags = req.qsource.flags
		flags.internal, flags.tcp, flags.http, flags.tls = false, true, true, is_tls
	end
	local function finish(answer)
		if answer ~= nil then
			body, age = answer:towire(), tonumber(C.packet_ttl(answer))
		end
		done:signal()
	end
	if not worker.resolve_pkt(pkt, {}, finish, init) and not body then return nil end
	if not body then done:wait(WAIT_S) end
	return body, age
end

local function serve(headers, stream)
	local pkt, status, why = question(headers, stream)
	if not pkt then return status, why end
	local client, here = sockaddr(stream:peername()), sockaddr(stream:localname())
	if not client then return 504 end
	local body, age = resolve(pkt, stream, client, here)
	if not body then return 504 end
	return body, nil, MIME, age
end

M.endpoints = {
	['/doh'] = { MIME, serve, nil, nil, true },
	['/dns-query'] = { MIME, serve, nil, nil, true },
}

return M
