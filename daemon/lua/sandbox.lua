-- SPDX-License-Identifier: GPL-3.0-or-later
-- The environment of configuration and modules: globals, protected tables, error formats. Runs once at
-- start, after the tables of daemon/bindings were registered, and replaces the globals by a proxy.

local ffi = require('ffi')
local paths = _paths

-- ---- Errors ----

--- Raise an error whose traceback goes to standard output (class [P] of the manual).
function panic(fmt, ...)
	local text = 'ERROR: ' .. string.format(fmt, ...)
	print(debug.traceback(text, 2))
	error(text, 0)
end

--- Raise an error with its traceback (class [T] of the manual).
local function traced(fmt, ...)
	_trace_error(string.format(fmt, ...))
end

-- ---- Constants ----

kB = 1024
MB = 1024 * kB
GB = 1024 * MB
sec = 1000
second = sec
minute = 60 * sec
min = minute
hour = 60 * minute
day = 24 * hour

kres = require('kres')
kres._check_layouts(_ffi_layouts())
_ffi_layouts = nil
todname = kres.str2dname
local C = ffi.C
bit = require('bit')

-- ---- Logging ----

local kluautil = require('kluautil')
local LOG_GRP_MODULE = ffi.cast('int', C.LOG_GRP_MODULE)

local function log_at(level)
	return function (group, fmt, ...)
		if type(fmt) ~= 'string' then error('expected a log group and a format', 2) end
		_log(level, tonumber(group), string.format(fmt, ...)) -- the global: see kres_check.lua
	end
end

log_error = log_at(LOG_ERR)
log_warn = log_at(LOG_WARNING)
log_notice = log_at(LOG_NOTICE)
log_info = log_at(LOG_INFO)
log_debug = log_at(LOG_DEBUG)

function log(fmt, ...)
	log_notice(LOG_GRP_MODULE, fmt, ...)
end

--- One line, whether or not its end was given.
local function as_line(fmt, ...)
	local text = string.format(fmt, ...)
	return text:sub(-1) == '\n' and text or text .. '\n'
end

--- Debug line about a request, also delivered to its trace.
function log_req(req, qry_uid, indent, group, fmt, ...)
	if C.kr_log_is_debug_fun(group, req) then
		C.kr_log_req1(req, qry_uid, indent, group, '%s', as_line(fmt, ...))
	end
end

--- Debug line about a query.
function log_qry(qry, group, fmt, ...)
	if C.kr_log_is_debug_fun(group, qry.request) then
		C.kr_log_q1(qry, group, '%s', as_line(fmt, ...))
	end
end
-- The line may reach a trace function in Lua, which compiled code must not call.
jit.off(log_req)
jit.off(log_qry)

function verbose(value)
	log_warn(C.LOG_GRP_SYSTEM, 'deprecation WARNING: use log_level() instead of verbose()')
	if value ~= nil then log_level(value and 'debug' or 'notice') end
	return log_level() == 'debug'
end

-- ---- Printing and serialisation ----

local krprint = require('krprint')
local json = require('kres_json')

--- Human-readable text of any values.
function table_print(...)
	local n = select('#', ...)
	if n == 0 then return nil end
	if n == 1 then return krprint.pprint((...)) end
	local out = {}
	for i = 1, n do
		out[i] = krprint.pprint((select(i, ...))) .. '\t-- result # ' .. i
	end
	return table.concat(out, '\n')
end

tojson = json.encode

function fromjson(...)
	local text = ...
	if select('#', ...) ~= 1 or type(text) ~= 'string' and type(text) ~= 'number' then
		traced('expected fromjson(string JSON text)')
	end
	local is_good, value = pcall(json.decode, tostring(text))
	if not is_good then traced('invalid JSON: %s', tostring(value)) end
	return value
end

-- ---- env, debugging ----

env = setmetatable({}, { __index = function (_, name) return os.getenv(name) end })

local debug_settings = {
	assertion_abort = { name = 'kr_dbg_assertion_abort', type = 'boolean' },
	assertion_fork = { name = 'kr_dbg_assertion_fork', type = 'number' },
}

local function debug_setting(key)
	return debug_settings[key]
		or panic('debugging.%s: no such key, there are assertion_abort and assertion_fork', tostring(key))
end

debugging = setmetatable({}, {
	__index = function (_, key) return C[debug_setting(key).name] end,
	__newindex = function (_, key, value)
		local setting = debug_setting(key)
		if type(value) ~= setting.type then panic('debugging.%s must be a %s', key, setting.type) end
		C[setting.name] = value
	end,
})

-- ---- Options ----

local context = kres.context()

--- Get or set a default flag of all requests.
function option(name, value)
	if type(name) ~= 'string' then error('expected option(string name[, boolean value])', 2) end
	local flags, key = context.options, name:upper()
	local is_known, current = pcall(function () return flags[key] end)
	if not is_known then error('invalid option name: ' .. name, 2) end
	if value ~= nil then
		if type(value) ~= 'boolean' then panic('option %s: the value must be boolean', name) end
		flags[key] = value
		cache._changed()
		current = value
	end
	return current
end

function reorder_RR(value)
	return option('REORDER_RR', value)
end

local modes = { strict = 'STRICT', normal = false, permissive = 'PERMISSIVE' }

--- How tolerant to be of glue and lameness.
function mode(name)
	if name == nil then
		if option('STRICT') then return 'strict' end
		return option('PERMISSIVE') and 'permissive' or 'normal'
	end
	if modes[name] == nil then
		error('invalid mode ' .. tostring(name) .. ': expected strict, normal or permissive', 2)
	end
	for _, flag in pairs(modes) do
		if flag then option(flag, flag == modes[name]) end
	end
	return true
end

-- ---- Unknown keys of our own tables ----

--- Tell the user about a key that nothing reads, and keep it.
local function accept_unknown_key(table_name, tbl, key, value)
	if type(value) ~= 'function' and rawget(tbl, key) == nil then
		log_warn(C.LOG_GRP_SYSTEM, '%s.%s is not a known setting', table_name, tostring(key))
	end
	rawset(tbl, key, value)
end

-- ---- net ----

local listen_defaults = { [853] = 'tls', [443] = 'doh2' }
local listen_keys = { kind = 'string', freebind = 'boolean', tls = 'boolean', nic_queue = 'number' }

local function listen_kind(port, opts)
	if opts.kind ~= nil then
		if opts.kind:lower() == 'doh' then
			traced("kind='doh' was renamed: use 'doh2' or 'doh_legacy'")
		end
		return opts.kind
	end
	if opts.tls ~= nil then return opts.tls and 'tls' or 'dns' end
	return listen_defaults[port] or 'dns'
end

local function check_listen_opts(opts)
	for key, value in pairs(opts) do
		if not listen_keys[key] then
			log_warn(C.LOG_GRP_SYSTEM, 'net.listen: unknown option %s', tostring(key))
		elseif type(value) ~= listen_keys[key] then
			traced('net.listen: option %s must be a %s', key, listen_keys[key])
		end
	end
	if opts.nic_queue and (type(opts.kind) ~= 'string' or opts.kind:lower() ~= 'xdp') then
		traced("net.listen: nic_queue goes with kind='xdp' only")
	end
end

local listen_tree
local function listen_one(addr, port, opts)
	if type(addr) == 'table' then
		listen_tree(addr, port, opts)
	elseif type(addr) ~= 'string' or addr == '' then
		traced('net.listen: an address must be a string or a table of strings')
	else
		local kind = listen_kind(port, opts)
		local is_path = addr:sub(1, 1) == '/'
		if is_path and opts.kind == nil then
			traced("net.listen: a UNIX socket needs a kind, such as { kind = 'control' }")
		end
		local queue = opts.nic_queue
		if kind:lower() == 'xdp' and not queue then
			queue = (tonumber(os.getenv('SYSTEMD_INSTANCE')) or 1) - 1
		end
		net._listen(addr, not is_path and (port or 53) or nil, kind, opts.freebind or false, queue)
	end
end

listen_tree = function (addrs, port, opts)
	if addrs.addr ~= nil then return listen_one(addrs.addr, port, opts) end
	for _, addr in ipairs(addrs) do listen_one(addr, port, opts) end
end

function net.listen(...)
	local addr, port, opts = ...
	if select('#', ...) < 1 or select('#', ...) > 3 or port ~= nil and type(port) ~= 'number'
		or opts ~= nil and type(opts) ~= 'table' then
		traced('expected net.listen(string or table of addresses[, number port[, table options]])')
	end
	if port and (port < 0 or port > 65535 or port % 1 ~= 0) then
		traced('net.listen: the port must be a whole number from 0 to 65535')
	end
	check_listen_opts(opts or {})
	if type(addr) ~= 'table' and type(addr) ~= 'string' then
		traced('net.listen: an address must be a string or a table of strings')
	end
	listen_one(addr, port, opts or {})
	return true
end

-- A value or a list of values as a list.
local function as_list(value)
	if value == nil then return {} end
	return type(value) == 'table' and value or { value }
end

local tls_client_keys = {
	hostname = true, ca_file = true, pin_sha256 = true, insecure = true, transport = true, path = true,
}

--- Demands on a TLS server that we ask.
local function add_tls_client(t)
	if type(t) ~= 'table' then traced('Invalid argument') end
	for key in pairs(t) do
		if key ~= 1 and not tls_client_keys[key] then
			traced('net.tls_client: unknown parameter %s', tostring(key))
		end
	end
	if type(t[1]) ~= 'string' then traced('net.tls_client: the address is missing') end
	local ca_files, pins = as_list(t.ca_file), as_list(t.pin_sha256)
	for _, list in ipairs({ ca_files, pins }) do
		for _, value in ipairs(list) do
			if type(value) ~= 'string' then
				traced('net.tls_client: ca_file and pin_sha256 must be strings or lists of them')
			end
		end
	end
	if t.hostname ~= nil and (type(t.hostname) ~= 'string' or t.hostname == '') then
		traced('net.tls_client: hostname must be a non-empty string')
	end
	local has_auth = t.hostname ~= nil or #ca_files > 0 or #pins > 0
	if t.insecure == true and has_auth then
		traced('net.tls_client: insecure goes with nothing else')
	elseif not t.insecure and not has_auth then
		traced('net.tls_client: there is no way to authenticate the server')
	elseif #pins > 0 and (t.hostname or #ca_files > 0) then
		traced('net.tls_client: pins do not go with hostname and ca_file')
	elseif #ca_files > 0 and not t.hostname then
		traced('net.tls_client: ca_file needs a hostname')
	end
	if t.transport ~= nil and t.transport ~= 'tls' and t.transport ~= 'https' then
		traced("net.tls_client: transport must be 'tls' or 'https'")
	elseif t.path ~= nil and (t.transport ~= 'https' or type(t.path) ~= 'string') then
		traced("net.tls_client: path needs transport = 'https'")
	end
	if t.hostname and #ca_files == 0 then ca_files = { '' } end -- the system's
	net._tls_client(t[1], t.hostname, ca_files, pins, t.insecure or false,
		t.transport == 'https' and (t.path or '/dns-query') or nil)
end

function net.tls_client(...)
	if select('#', ...) == 0 then return net._tls_client_list() end
	if select('#', ...) > 1 then traced('expected net.tls_client([table parameters])') end
	add_tls_client((...))
end

function net.doh_headers(...)
	if select('#', ...) == 0 then return net._doh_headers() end
	local names = ...
	if select('#', ...) > 1 or type(names) ~= 'string' and type(names) ~= 'table' then
		traced('expected net.doh_headers([string or table of header names])')
	end
	for _, name in ipairs(as_list(names)) do
		if type(name) ~= 'string' then traced('net.doh_headers: a name must be a string') end
	end
	net._doh_headers(as_list(names))
end

net.outgoing_v4 = worker._outgoing_v4
net.outgoing_v6 = worker._outgoing_v6

local families = { ipv4 = 'NO_IPV4', ipv6 = 'NO_IPV6' }
setmetatable(net, {
	__index = function (_, key)
		if families[key] then return not option(families[key]) end
		return net.interfaces()[key]
	end,
	__newindex = function (tbl, key, value)
		if families[key] then
			if type(value) ~= 'boolean' then panic('net.%s must be boolean', key) end
			option(families[key], not value)
		elseif type(value) == 'function' then
			rawset(tbl, key, value)
		else
			local iface = type(value) == 'string' and net.interfaces()[value]
			net.listen(iface or value)
		end
	end,
})

-- ---- cache ----

require('kres_cache')

setmetatable(cache, {
	__newindex = function (tbl, key, value)
		if key == 'size' then
			cache.open(value, rawget(tbl, 'current_storage') or 'lmdb://')
		elseif key == 'storage' then
			local size = rawget(tbl, 'current_size') or 0
			cache.open(size > 0 and size or 10 * MB, value)
		elseif key == 'current_size' or key == 'current_storage' then
			rawset(tbl, key, value) -- the defaults of the next cache.size and cache.storage
		else
			accept_unknown_key('cache', tbl, key, value)
		end
	end,
})

-- ---- worker, internal queries ----

worker.id = os.getenv('SYSTEMD_INSTANCE') or tostring(worker.pid)
worker.vars = kres._vars
require('kres_worker')
resolve = worker.resolve

-- ---- modules ----

require('kres_loader')

--- Load a module and call its config().
local function load_with_config(spec, config, has_config)
	modules.load(spec)
	local name = spec:match('^%s*(%S+)')
	local module = _G[name]
	local fn = type(module) == 'table' and rawget(module, 'config')
	if fn then
		if has_config then fn(config) else fn() end
	end
end

setmetatable(modules, {
	__newindex = function (_, key, value)
		if type(key) == 'number' then
			if type(value) ~= 'string' then error('expected the name of a module', 2) end
			load_with_config(value, nil, false)
		else
			load_with_config(key, value, true)
		end
	end,
})

-- ---- Trust anchors ----

trust_anchors = require('trust_anchors')

-- ---- Other instances ----

map = require('kres_map')

-- ---- Console ----

function help()
	return [=[
quit([status])
    stop the server
hostname([name])
    get or set the name of this host
package_version()
    version of the server
user(name[, group])
    change user and group
mode([mode])
    get or set how tolerant to be: strict, normal, permissive
option(name[, boolean])
    get or set a flag of all requests
resolve(name[, type[, class[, flags[, callback]]]])
    start a query
todname(name)
    convert text to a name in wire format
tojson(value), fromjson(text)
    convert to and from JSON
map(expression)
    run an expression in all instances
log_level([level]), log_target([target]), log_groups([groups])
    get or set what is logged and where to
net, cache, modules, trust_anchors, worker, event, kres
    tables with functions and settings: see the manual
]=]
end

--- Compile a console line: an expression if it is one, else a chunk.
local function compile(line, wrapper)
	local chunk = loadstring('return ' .. wrapper .. '(' .. line .. '\n)', '=console')
	local err
	if not chunk then chunk, err = loadstring(line, '=console') end
	if not chunk then error(err, 0) end
	jit.off(chunk, true) -- so that it can be stopped
	return chunk
end

function eval_cmd(line, raw)
	if raw then
		local chunk, err = loadstring('return ' .. line, '=console')
		if not chunk then chunk, err = loadstring(line, '=console') end
		if not chunk then error(err, 0) end
		jit.off(chunk, true)
		return chunk()
	end
	return compile(line, 'table_print')()
end

--- Same for the JSON mode of control sockets.
function _eval_cmd_json(line)
	local is_good, value = pcall(eval_cmd, line, true)
	if is_good then return tojson({ ok = true, result = value }) end
	return tojson({ ok = false, error = tostring(value) })
end

--- What map() of another instance sends.
function _map_luaobj_call_wrapper(cmd)
	local results = kluautil.kr_table_pack(xpcall(function () return eval_cmd(cmd, true) end,
		debug.traceback))
	local is_good, text = pcall(krprint.serialize_lua, results, 'error')
	if is_good then return text end
	log_error(C.LOG_GRP_SYSTEM, 'failed to serialize the result of map(): %s', tostring(text))
	return krprint.serialize_lua({ false, text, n = 2 })
end

-- ---- Defaults after configuration ----

local postconfig = require('kres_postconfig')

function _postconfig_defaults()
	postconfig(paths)
end

-- ---- Errors of configuration ----

--- Nearest place of the configuration in the call stack, or nil.
local function config_place()
	for level = 3, 200 do
		local info = debug.getinfo(level, 'Sl')
		if not info then return nil end
		local is_ours = info.source:sub(1, #paths.libdir + 1) == '@' .. paths.libdir
		if info.currentline > 0 and not is_ours then
			return info.short_src .. ':' .. info.currentline
		end
	end
end

--- Message handler of configuration files: puts their own file and line into the message.
_registry('kres.config_error', function (err)
	local text = tostring(err)
	local place = config_place()
	if not place then return text end
	local head, message = text:match('^(.*\n)ERROR: ([^\n]*)$')
	if not head then head, message = '', text:match('^ERROR: (.*)$') end
	if message then return head .. 'ERROR: ' .. place .. ': ' .. message end
	local own = text:match('^([^\n]-):%d+: ')
	if not own or own:sub(1, #paths.libdir) == paths.libdir then return place .. ': ' .. text end
	return text
end)
_registry('kres.request_finish_call', kres._finish_trampoline)

-- ---- The global environment ----

_paths = nil

local real = _G
local protected = {
	worker = true, env = true, debugging = true, modules = true, cache = true, net = true,
	trust_anchors = true,
}
local internal = {
	_log = true, _registry = true, _trace_error = true, _G = true, _compile = true, _can_write_beside = true,
}

local names = {}
for name in pairs(real) do
	if not internal[name] then names[#names + 1] = name end
end
table.sort(names)

local proxy = setmetatable({}, {
	__index = real,
	__newindex = function (_, key, value)
		if protected[key] then
			if type(value) ~= 'table' then
				error(string.format('%s is a built-in table, assign a table to it or set its fields',
					key), 2)
			end
			for k, v in pairs(value) do real[key][k] = v end
		else
			rawset(real, key, value)
		end
	end,
})
real.__orig_name_list = table.concat(names, '\n') .. '\n'
real._G = proxy
setfenv(0, proxy)

-- ---- Modules of every instance, in this order ----

-- iterate, validate and cache are built in; the others come from modules/.
local default_modules = {
	'iterate', 'validate', 'cache', 'ta_update', 'ta_signal_query', 'policy', 'priming',
	'detect_time_skew', 'detect_time_jump', 'ta_sentinel', 'edns_keepalive', 'refuse_nord', 'watchdog',
	'extended_error',
}

for _, name in ipairs(default_modules) do
	modules.load(name)
end

trust_anchors._load_default(paths)

-- ---- kresd --check ----

if paths.is_rehearsal then
	local check = require('kres_check')
	check.install(real, paths)
	rawset(real, '_check', check.run)
end
