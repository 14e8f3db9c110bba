-- SPDX-License-Identifier: GPL-3.0-or-later
-- Send counters to Graphite (line protocol) at regular intervals.
local ffi = require('ffi')
local C = ffi.C

local has_cqueues, socket = pcall(require, 'cqueues.socket')

local M = {
	port = 2003,
	prefix = nil,
	interval = 5 * sec,
	tcp = false,
	servers = {}, -- { host, port, tcp, sock, tried_ms }
}

local GRP = C.LOG_GRP_GRAPHITE
local CONNECT_TIMEOUT_S, RECONNECT_INTERVALS = 5, 2
local timer = nil

local function now_ms()
	return tonumber(C.kr_now())
end

-- ---- Connections ----

local function connect(server, word)
	server.tried_ms = now_ms()
	local sock, err = socket.connect({
		host = server.host, port = server.port,
		type = server.tcp and socket.SOCK_STREAM or socket.SOCK_DGRAM,
	})
	if sock then
		sock:setmode('bn', 'bn')
		sock:onerror(function (_, _, code) return code end) -- errors are results, not exceptions
		if server.tcp then
			local ok, why = sock:connect(CONNECT_TIMEOUT_S)
			if not ok then
				sock:close()
				sock, err = nil, why
			end
		end
	end
	server.sock = sock
	log_info(GRP, '%s: %s@%d %s reason: %s', word, server.host, server.port, server.tcp and 'tcp' or 'udp',
		sock and 'ok' or tostring(err))
end

local function send(server, text)
	if not server.sock then
		if server.tried_ms and now_ms() - server.tried_ms < RECONNECT_INTERVALS * M.interval then return end
		connect(server, server.tried_ms and 'reconnecting' or 'connecting')
	end
	if not server.sock then return end
	local ok = server.sock:xwrite(text, 'bn', server.tcp and CONNECT_TIMEOUT_S or 0)
	if not ok and server.tcp then
		server.sock:close()
		server.sock = nil
	end
end

function M.add_server(_, host, port, tcp)
	if type(host) ~= 'string' then error('[graphite] the address of a server must be a string', 2) end
	table.insert(M.servers, { host = host, port = port or M.port, tcp = tcp and true or false })
end

local function drop_servers()
	for _, server in ipairs(M.servers) do
		if server.sock then server.sock:close() end
	end
	M.servers = {}
end

-- ---- Metrics ----

local function add_metrics(lines, prefix, metrics, now)
	for key, value in pairs(metrics) do
		if type(value) == 'number' then
			lines[#lines + 1] = string.format('%s.%s %s %d\n', prefix, key, tostring(value), now)
		end
	end
end

local function metric_lines()
	local now, lines = os.time(), {}
	local has_cache = kres.context().cache.db ~= nil -- it may be opened later in the configuration
	add_metrics(lines, M.prefix .. '.cache', has_cache and cache.stats() or {}, now)
	add_metrics(lines, M.prefix .. '.worker', worker.stats(), now)
	add_metrics(lines, M.prefix, stats.list(), now)
	return lines
end

local DATAGRAM_BYTES = 1400

-- Lines of a stream in one piece; those of datagrams in pieces that fit.
local function pieces(lines, limit)
	local out, piece = {}, ''
	for _, line in ipairs(lines) do
		if #piece > 0 and #piece + #line > limit then
			out[#out + 1] = piece
			piece = ''
		end
		piece = piece .. line
	end
	out[#out + 1] = #piece > 0 and piece or nil
	return out
end

function M.publish()
	local lines = metric_lines()
	for _, server in ipairs(M.servers) do
		worker.coroutine(function ()
			for _, text in ipairs(pieces(lines, server.tcp and math.huge or DATAGRAM_BYTES)) do
				send(server, text)
			end
		end)
	end
	return 0
end

-- ---- Configuration ----

local function stop()
	if timer then event.cancel(timer) end
	timer = nil
	drop_servers()
end

function M.config(conf)
	if conf == nil then
		stop()
		return 0
	end
	if type(conf) ~= 'table' then error('[graphite] configuration must be a table', 2) end
	if not conf.host then error('[graphite] host is missing', 2) end
	local interval = conf.interval or 5 * sec
	if type(interval) ~= 'number' or interval < 1 then error('[graphite] interval must be at least 1 ms', 2) end
	local hosts = type(conf.host) == 'table' and conf.host or { conf.host }
	stop()
	M.port = conf.port or 2003
	M.prefix = conf.prefix or string.format('kresd.%s.%s', hostname(), worker.id)
	M.interval, M.tcp = interval, conf.tcp and true or false
	for _, host in ipairs(hosts) do M.add_server(nil, host, M.port, M.tcp) end
	M.publish()
	timer = event.recurrent(M.interval, M.publish)
	return 0
end

function M.init()
	if not has_cqueues then error('the Lua library cqueues is needed by module graphite') end
	if not stats then modules.load('stats') end
end

function M.deinit()
	stop()
end

return M
