-- SPDX-License-Identifier: GPL-3.0-or-later
-- map(): run a command in all instances through their control sockets (binary mode).
local ffi = require('ffi')
local C = ffi.C
local has_cqueues, socket = pcall(require, 'cqueues.socket')
local krprint = require('krprint')
local kluautil = require('kluautil')

local TIMEOUT_S = 10

local function big_endian32(bytes)
	local a, b, c, d = bytes:byte(1, 4)
	return ((a * 256 + b) * 256 + c) * 256 + d
end

--- Read exactly n bytes.
local function read_all(sock, n)
	local data = ''
	while #data < n do
		local part, err = sock:read(n - #data)
		if not part then
			error('the connection broke: ' .. tostring(err or 'end of data'), 0)
		end
		data = data .. part
	end
	return data
end

--- Switch the connection to binary mode. With -q there is no greeting to be read first.
local function handshake(sock)
	sock:write('__binary\n')
end

--- Result of one instance.
local function call(path, line)
	local sock = socket.connect({ path = path })
	sock:setmode('bn', 'bn')
	sock:settimeout(TIMEOUT_S)
	sock:onerror(function (_, _, code) return code end)
	local is_up, err = sock:connect(TIMEOUT_S)
	if not is_up then return nil, err and require('cqueues.errno').strerror(err) or 'connection refused' end
	handshake(sock)
	sock:write(line .. '\n')
	sock:flush()
	local head = read_all(sock, 2)
	head = head == '> ' and read_all(sock, 4) or head .. read_all(sock, 2)
	local result = read_all(sock, big_endian32(head))
	sock:close()
	return result
end

--- Text between the quotes of a printed string.
local function unquote(text)
	if not text:match("^'.*'$") then return nil end
	local chunk = loadstring('return ' .. text:gsub('\n', '\\n'))
	return chunk and chunk()
end

local formats = { luaobj = true, strings = true, each = true }

local function check_args(cmd, format)
	if type(cmd) ~= 'string' or #cmd == 0 then panic('map(): the command must be a non-empty string') end
	if cmd:find('\n', 1, true) then
		panic('map(): the command must not have line breaks, write \\010 instead')
	end
	if not loadstring('return ' .. cmd) and not loadstring(cmd) then
		panic('map(): the command does not compile: %s', cmd)
	end
	if not formats[format] then panic("map(): unknown format '%s'", tostring(format)) end
end

--- Value out of an answer to a wrapped command; raises what was wrong without a place.
local function convert_quietly(text)
	local inner = unquote(text)
	if not inner then error(text, 0) end
	local packed = krprint.deserialize_lua(inner)
	if type(packed) ~= 'table' or not packed[1] then error(tostring(packed and packed[2]), 0) end
	if packed.n > 2 then error(string.format('%d results instead of one', packed.n - 1), 0) end
	return packed[2]
end

--- Value out of what an instance answered.
local function convert(path, text, format)
	local inner = unquote(text)
	if not inner then error(string.format('map(): unexpected answer from %s: %s', path, text), 2) end
	if format == 'strings' then return inner end
	local packed = krprint.deserialize_lua(inner)
	if type(packed) ~= 'table' then error('map(): unexpected answer from ' .. path, 2) end
	if not packed[1] then panic('map(): error in %s: %s', path, tostring(packed[2])) end
	if packed.n ~= 2 then
		panic('map(): the command gave %d results in %s instead of one; wrap several with '
			.. 'kluautil.kr_table_pack()', packed.n - 1, path)
	end
	return packed[2]
end

--- Result of one instance with its name, good or bad.
local function outcome(path, text, err)
	if not text then return { path = path, ok = false, error = tostring(err) } end
	local is_good, value = pcall(convert_quietly, text)
	if not is_good then return { path = path, ok = false, error = tostring(value) } end
	return { path = path, ok = true, value = value }
end

return function (cmd, format)
	format = format or 'luaobj'
	if not has_cqueues then error('the Lua library cqueues is not installed, map() needs it', 2) end
	check_args(cmd, format)
	local line = cmd
	if format ~= 'strings' then
		line = '_map_luaobj_call_wrapper([=====[' .. cmd .. ']=====])'
	end
	local dir = worker.control_path or (worker.cwd .. '/control/')
	local own = {}
	for _, endpoint in ipairs(net.list()) do
		if endpoint.kind == 'control' and endpoint.transport.path then
			own[endpoint.transport.path] = true
		end
	end
	local results = { n = 0 }
	for _, name in ipairs(kluautil.list_dir(dir)) do
		local path = dir .. name
		local text, err
		if own[path] then
			text = eval_cmd(line, false)
		elseif format == 'each' then -- one that breaks does not hide the others
			local is_good, got, why = pcall(call, path, line)
			text, err = is_good and got or nil, is_good and why or got
		else
			text, err = call(path, line)
		end
		if format == 'each' then
			results.n = results.n + 1
			results[results.n] = outcome(path, text, err)
		elseif text then
			results.n = results.n + 1
			results[results.n] = convert(path, text, format)
		else
			log_error(C.LOG_GRP_NETWORK, 'map(): %s: %s, skipped', path, tostring(err))
		end
	end
	if results.n == 0 then panic('map(): no control sockets found in %s', dir) end
	return results
end
