-- SPDX-License-Identifier: GPL-3.0-or-later
-- HTTP server for management, metrics, legacy DoH and services of the operator. This file keeps the
-- configuration and the listeners; http_dispatch answers requests, http_tls has the certificates.
local ffi = require('ffi')

local has_http, http_server = pcall(require, 'http.server')
if not has_http then
	error('module http needs the Lua library http (package lua-http)', 0)
end
local cqueues = require('cqueues')
local cqsocket = require('cqueues.socket')
local dispatch = require('kres_modules.http_dispatch')
local tls = require('kres_modules.http_tls')

if not stats then modules.load('stats') end
if not bogus_log then modules.load('bogus_log') end

local page = require('kres_modules.http_page')

local M = {
	configs = { _builtin = {}, _all = {} },
	servers = {},  -- descriptor of the endpoint -> { kind, server, config }
	snippets = page.snippets,
	page = page.static,
	prometheus = require('kres_modules.http_stats'),
	trace = require('kres_modules.http_trace'),
	doh = require('kres_modules.http_doh'),
	geoip = nil,
}

local GRP = ffi.C.LOG_GRP_HTTP
local BUILTIN_KINDS = { 'webmgmt', 'doh_legacy' }
-- What one process serves at a time; a scraper needs one, an attacker gets no more.
local CONNECTIONS_MAX = 100

pcall(ffi.cdef, 'int dup(int fd);')

-- ---- Built-in settings ----

local function webmgmt_endpoints()
	local endpoints = {
		['/'] = { 'text/html', page.main },
		['/favicon.ico'] = page.static('favicon.ico'),
		['/kresd.js'] = page.static('kresd.js'),
		['/kresd.css'] = page.static('kresd.css'),
		['/frequent'] = { 'application/json', function ()
			local list = stats.frequent()
			return #list > 0 and list or '{}'
		end },
		['/upstreams'] = { 'application/json', function () return M.prometheus.located(stats.upstreams()) end },
		['/bogus'] = { 'application/json', function () return bogus_log.frequent() end },
	}
	for _, part in ipairs({ M.prometheus.endpoints, M.trace.endpoints, M.doh.endpoints }) do
		for path, endpoint in pairs(part) do endpoints[path] = endpoint end
	end
	return endpoints
end

M.configs._builtin._all = { cert = 'self.crt', key = 'self.key', ephemeral = true, client_timeout = 5 }
M.configs._builtin.webmgmt = { endpoints = webmgmt_endpoints() }
M.configs._builtin.doh_legacy = { endpoints = M.doh.endpoints }

local function is_builtin(kind)
	return M.configs._builtin[kind] ~= nil
end

-- Settings in force for a kind: the more particular table wins, key by key.
local function effective(kind)
	local all = {}
	for _, conf in ipairs({ M.configs._builtin._all, M.configs._builtin[kind] or {}, M.configs._all,
			M.configs[kind] or {} }) do
		for key, value in pairs(conf) do all[key] = value end
	end
	return all
end

-- ---- Listeners ----

local OURS = { endpoints = true, cert = true, key = true, ephemeral = true, geoip = true, tokens = true,
	client_timeout = true }

local function on_error(_, context, what, err)
	log_debug(GRP, '%s failed on %s: %s', tostring(what), tostring(context), tostring(err))
end

-- A server has a controller of its own, which lives inside of ours until the last connection is over.
local function run(server)
	local is_good, err
	repeat
		is_good, err = server:loop()
		if not is_good then log_info(GRP, 'a connection failed: %s', tostring(err)) end
	until is_good
end

local function open_server(kind, fd)
	local conf = effective(kind)
	local copy = ffi.C.dup(fd) -- the endpoint keeps its own
	if copy < 0 then error('[http] no more file descriptors') end
	local socket, err = cqsocket.fdopen({ fd = copy, nodelay = true })
	if not socket then error('[http] cannot use the socket: ' .. tostring(err)) end
	local setup = {
		socket = socket, onerror = on_error,
		max_concurrent = CONNECTIONS_MAX, connection_setup_timeout = conf.client_timeout,
		intra_stream_timeout = conf.client_timeout,
		onstream = dispatch.handler(conf),
	}
	for key, value in pairs(conf) do
		if not OURS[key] then setup[key] = value end
	end
	if conf.tls ~= false then setup.ctx = tls.context(conf) end
	local server = http_server.new(setup)
	M.servers[fd] = { kind = kind, server = server, config = conf }
	tls.watch(M.servers)
	worker.coroutine(function () run(server) end)
end

local function close_server(fd)
	local entry = M.servers[fd]
	if not entry then return end
	M.servers[fd] = nil
	local socket = entry.server.socket
	entry.server.socket = nil -- requests under way come to their end
	entry.server:pause()
	worker.coroutine(function ()
		cqueues.sleep(0)
		socket:close()
	end)
end

local function serve(kind)
	return function (is_open, endpoint)
		local fd = ffi.cast('struct endpoint **', endpoint)[0].fd
		if is_open then return open_server(kind, fd) end
		close_server(fd)
	end
end

-- ---- Configuration ----

local function in_use(kind)
	for _, entry in pairs(M.servers) do
		if kind == '_all' or entry.kind == kind then return true end
	end
	return false
end

local function check_tokens(tokens)
	if tokens == nil then return end
	if type(tokens) ~= 'table' then error('[http] tokens must be a table { TOKEN = "read" or "write" }', 4) end
	for token, role in pairs(tokens) do
		if type(token) ~= 'string' or #token < 8 or (role ~= 'read' and role ~= 'write') then
			error('[http] tokens: a token of at least 8 characters with the role "read" or "write" is expected', 4)
		end
	end
end

local function check_config(conf)
	if conf.cert and not conf.key then error('[http] certificate provided, but missing key', 3) end
	if conf.cert then
		conf.ephemeral = false
		tls.load(conf.cert, conf.key)
	end
	if conf.tls ~= nil and type(conf.tls) ~= 'boolean' then error('[http] tls must be true, false or nil', 3) end
	check_tokens(conf.tokens)
	if conf.geoip then M.geoip = M.prometheus.open_geoip(conf.geoip) end
end

--- Change the settings of a kind of endpoint (nil: of all); a table for an unknown kind makes it known,
-- nil for a kind of the user removes it.
function M.config(conf, kind)
	if conf == nil and kind == nil then return end
	kind = kind or '_all'
	if conf ~= nil and type(conf) ~= 'table' then error('config { cert = "...", key = "..." }', 2) end
	if conf == nil and (is_builtin(kind) or not M.configs[kind]) then
		error(string.format('[http] endpoint kind "%s" does not exist, nothing to delete', kind), 2)
	end
	if in_use(kind) then
		error(string.format('[http] endpoint kind "%s" is in use: close its listeners first', kind), 2)
	end
	if conf ~= nil then check_config(conf) end
	local is_new = conf ~= nil and not is_builtin(kind) and not M.configs[kind]
	if is_new then net.register_endpoint_kind(kind, serve(kind)) end
	if conf == nil then net.register_endpoint_kind(kind) end
	M.configs[kind] = conf
end

function M.init()
	for _, kind in ipairs(BUILTIN_KINDS) do net.register_endpoint_kind(kind, serve(kind)) end
end

function M.deinit()
	for fd in pairs(M.servers) do close_server(fd) end
	tls.stop()
	for _, kind in ipairs(BUILTIN_KINDS) do net.register_endpoint_kind(kind) end
	for kind in pairs(M.configs) do
		if kind:sub(1, 1) ~= '_' and not is_builtin(kind) then net.register_endpoint_kind(kind) end
	end
end

return M
