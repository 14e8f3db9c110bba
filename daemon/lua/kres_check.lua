-- SPDX-License-Identifier: GPL-3.0-or-later
-- kresd --check: run configuration files without serving, and tell every problem with its place, its
-- cause and what to do. A call of ours that fails is noted and the file goes on behind it, so that one
-- run shows them all. Nothing outside of the process is changed; that is the business of the bindings.
local STDERR = io.stderr

local M = {}
local seen, problems, warnings = {}, 0, 0

-- ---- What to do ----

-- Lua patterns of messages, and advice. The first that fits is printed.
local advice = {
	{ '^net%.tls', 'give a PEM file with the certificate (and its chain) and one with its key, which the user of the '
		.. 'service can read' },
	{ '^modules%.load', 'install the module, or correct its name; what is in the way was logged before' },
	{ 'Cannot assign requested address',
		'add the address to an interface of this host, or pass { freebind = true } as the third argument' },
	{ '^user%(', 'correct the name; who runs this needs the right to become that user' },
	{ 'Permission denied', 'let the user of the service have access: owner, group and mode of the file or folder' },
	{ 'Address already in use', 'remove one of the two lines that listen on it' },
	{ 'No such file or directory', 'create it, or correct the path; relative paths start at the working directory' },
	{ 'Is a directory', 'give the path of a file in it' },
	{ 'Not a directory', 'a part of the path is a file; correct the path' },
	{ 'attempt to index %a+ \'?([%w_]*)',
		'that value is nil: load the module it belongs to first, or correct the name' },
	{ 'attempt to call .*nil value', 'there is no function of that name; see the manual, or load its module first' },
	{ 'unfinished string', 'close the string with the quote it began with' },
	{ "unexpected symbol near '<eof>'", 'something is missing at the end of the file: a bracket, a value, or end' },
	{ "'end' expected", 'close the block with end' },
	{ "'[)}%]]' expected", 'close the bracket that was opened before' },
	{ 'unexpected symbol', 'look at and before this place for a missing comma, quote or bracket' },
	{ '= expected', 'a line by itself must be an assignment or a call' },
	{ 'valid IP', 'write an IPv4 or IPv6 address, followed by @PORT if it is not the usual one' },
	{ 'backend', 'use lmdb://FOLDER' },
	{ 'unknown user', 'create the user, or correct the name' },
	{ 'unknown group', 'create the group, or correct the name' },
	{ 'referenced module not found', 'load the other module first' },
	{ 'runs for too long', 'configuration must come to an end: look for an endless loop' },
	{ 'stack overflow', 'a function calls itself without end' },
	{ 'kind', "kinds are dns, tls, doh2, xdp, control and what modules register" },
	{ 'expected', 'give the arguments as described' },
	{ 'must be', 'give a value as described' },
}

local function advice_for(text)
	for _, item in ipairs(advice) do
		if text:find(item[1]) then return item[2] end
	end
end

-- ---- Names that were meant ----

local function distance(a, b)
	local row = {}
	for j = 0, #b do row[j] = j end
	for i = 1, #a do
		local corner
		corner, row[0] = row[0], i
		for j = 1, #b do
			local cost = a:byte(i) == b:byte(j) and 0 or 1
			corner, row[j] = row[j], math.min(row[j] + 1, row[j - 1] + 1, corner + cost)
		end
	end
	return row[#b]
end

--- The nearest of some names, or nil if none is near.
function M.nearest(name, names)
	local best, best_distance = nil, #name > 4 and 3 or 2
	for _, other in ipairs(names) do
		local d = distance(name:lower(), other:lower())
		if d < best_distance then best, best_distance = other, d end
	end
	return best
end

-- ---- Places and reports ----

local libdir, runner

--- Nearest place of a configuration in the call stack, and whether its errors are caught there.
local function place_of_call()
	local is_caught, place = false, nil
	for level = 3, 250 do
		local info = debug.getinfo(level, 'Slf')
		if not info then break end
		if info.func == pcall or info.func == xpcall then
			local caller = debug.getinfo(level + 1, 'f')
			if caller and caller.func == runner then break end
			is_caught = true
		end
		local is_ours = info.source:sub(1, #libdir + 1) == '@' .. libdir
		if not place and info.currentline > 0 and not is_ours then
			place = info.short_src .. ':' .. info.currentline
		end
	end
	return place, is_caught
end

local function report(kind, place, text, fix)
	local key = kind .. (place or text)
	if seen[key] then return end
	seen[key] = true
	STDERR:write(place and place .. ': ' or '', kind == 'problem' and '' or kind .. ': ', text, '\n')
	fix = fix or advice_for(text)
	if fix then STDERR:write('    fix: ', fix, '\n') end
	if kind == 'problem' then
		problems = problems + 1
	else
		warnings = warnings + 1
	end
end

--- The message of an error of any class, without its traceback.
local function message_of(err)
	local text = tostring(err)
	return text:match('\nERROR: ([^\n]*)$') or text:match('^ERROR: (.*)$') or text:match('^([^\n]*)\nstack traceback')
		or text
end

--- Text without a place in front of it, and that place.
local function split_place(text)
	local place, rest = text:match('^([^\n:]+:%d+): (.*)$')
	if place then return place, rest end
	return nil, text
end

-- ---- Functions that do not stop the file ----

local wrapped = setmetatable({}, { __mode = 'k' })

--- A message that is the system's alone does not tell what it is about.
local function with_call(text, name, arg)
	if text:find('[:\'"(]') then return text end
	return string.format('%s(%s): %s', name, type(arg) == 'string' and "'" .. arg .. "'" or arg == nil and '' or '...',
		text)
end

local function wrap(fn, name)
	if wrapped[fn] then return fn end
	local function tried(...)
		local results = { n = select('#', ...), ... }
		local place, is_caught = place_of_call()
		if is_caught then return fn(...) end
		results = { pcall(fn, unpack(results, 1, results.n)) }
		if results[1] then return unpack(results, 2, table.maxn(results)) end
		local own, text = split_place(message_of(results[2]))
		report('problem', place or own, with_call(text, name, (...)))
		return nil
	end
	wrapped[tried] = true
	return tried
end

-- Members of module policy that are values as well as functions stay what they are.
local policy_actions = { PASS = true, DENY = true, DROP = true, REFUSE = true, TC = true, QTRACE = true,
	NO_CACHE = true, DEBUG_ALWAYS = true, DEBUG_CACHE_MISS = true, IPTRACE = true, REQTRACE = true }

local function wrap_members(tbl, name)
	for key, value in pairs(tbl) do
		if type(value) == 'function' and type(key) == 'string' and not policy_actions[key] then
			rawset(tbl, key, wrap(value, name .. '.' .. key))
		end
	end
	local mt = getmetatable(tbl)
	if type(mt) == 'table' and type(mt.__newindex) == 'function' then mt.__newindex = wrap(mt.__newindex, name) end
end

local standard = { 'assert', 'error', 'getfenv', 'getmetatable', 'ipairs', 'loadstring', 'load', 'loadfile', 'dofile',
	'module', 'newproxy', 'next', 'pairs', 'pcall', 'print', 'rawequal', 'rawget', 'rawset', 'require', 'select',
	'setfenv', 'setmetatable', 'tonumber', 'tostring', 'type', 'unpack', 'xpcall', 'collectgarbage', 'gcinfo', 'panic',
	'quit', 'eval_cmd', 'table_print', 'tojson', 'todname', 'rawlen' }
for _, name in ipairs(standard) do standard[name] = true end

local function wrap_all(real)
	for name, value in pairs(real) do
		if type(value) == 'function' and name:sub(1, 1) ~= '_' and not standard[name] then
			real[name] = wrap(value, name)
		end
	end
	for _, name in ipairs({ 'net', 'cache', 'modules', 'trust_anchors', 'event', 'worker', 'policy', 'env', 'debugging',
		'watchdog', 'ta_update' }) do
		if type(real[name]) == 'table' then wrap_members(real[name], name) end
	end
	local load = modules.load
	rawset(modules, 'load', function (spec)
		local result = load(spec)
		local name = type(spec) == 'string' and spec:match('^%s*(%S+)')
		if result and type(real[name]) == 'table' then wrap_members(real[name], name) end
		return result
	end)
	os.exit = function () -- luacheck: ignore 122
		report('problem', (place_of_call()), 'os.exit() would end the server while it starts', 'remove it, or use quit()')
	end
end

--- Tell of names that nothing has defined; they are nil, which is seldom what was meant.
local function watch_names(real)
	local names = {}
	for name in pairs(real) do names[#names + 1] = name end
	getmetatable(_G).__index = function (_, name)
		local value = real[name]
		if value == nil and type(name) == 'string' then
			local place, is_caught = place_of_call()
			if place and not is_caught then
				local near = M.nearest(name, names)
				report('warning', place, string.format('there is nothing named %s here, its value is nil', name),
					near and 'did you mean ' .. near .. '?'
					or 'define it first, or load the module of that name')
			end
		end
		return value
	end
end

--- Warnings that functions of ours log, with their place.
local function watch_log(real)
	local log = real._log
	return function (level, group, text)
		local place = level <= LOG_WARNING and place_of_call()
		if place then return report(level < LOG_WARNING and 'error' or 'warning', place, text) end
		return log(level, group, text)
	end
end

-- ---- Rules about more than one setting ----

local function check_whole()
	if next(trust_anchors.keysets) == nil then
		report('warning', nil, 'there is no trust anchor: answers are not validated',
			"do not remove '.', or add the anchors of your own root")
		if #trust_anchors.insecure > 0 then
			report('warning', nil, 'negative trust anchors have no effect without a positive one',
				'remove set_insecure(), or keep a trust anchor')
		end
	end
	local size, room = cache.current_size, cache.fssize and cache.fssize()
	if size and room and size > room then
		report('warning', nil, string.format('the cache may grow to %.0f MiB, its file system has %.0f MiB',
			size / MB, room / MB), 'make cache.size smaller, or move cache.storage')
	end
	for _, endpoint in ipairs(net.list()) do
		local kind = endpoint.kind:lower()
		if (kind == 'tls' or kind == 'doh2') and not net.tls() and endpoint.transport.ip ~= '127.0.0.1'
			and endpoint.transport.ip ~= '::1' then
			report('warning', nil, string.format('%s on %s uses a certificate made on the spot, which clients cannot '
				.. 'check', kind, endpoint.transport.ip), 'give a certificate: net.tls(CERT_FILE, KEY_FILE)')
		end
	end
end

-- ---- The run ----

local function on_error(err)
	local own, text = split_place(message_of(err))
	local place = place_of_call()
	return { place = own or place, text = text }
end

runner = function (fn)
	local is_good, err = xpcall(fn, on_error)
	if not is_good then report('problem', err.place, err.text) end
end

local function check_file(path)
	local chunk, err = _compile(path)
	if not chunk then
		local place, text = split_place(tostring(err))
		return report('problem', place or path, place and text or tostring(err):sub(#path + 3))
	end
	jit.off(chunk, true)
	runner(chunk)
end

--- Let the sandbox be one that reports.
function M.install(real, paths)
	libdir = paths.libdir
	wrap_all(real)
	watch_names(real)
	real._log = watch_log(real)
end

--- Check files in their order. @return number of problems
function M.run(files)
	local has_defaults = true
	if #files == 0 then STDERR:write('no configuration file was given; the defaults are checked\n') end
	for _, path in ipairs(files) do
		if path == '-' then
			has_defaults = false
		else
			check_file(path)
		end
	end
	if problems == 0 and has_defaults then runner(_postconfig_defaults) end
	if problems == 0 then runner(check_whole) end
	print(string.format('%d problem%s, %d warning%s', problems, problems == 1 and '' or 's', warnings,
		warnings == 1 and '' or 's'))
	return problems
end

return M
