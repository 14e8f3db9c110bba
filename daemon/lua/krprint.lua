-- SPDX-License-Identifier: GPL-3.0-or-later
-- Lua values as text: for people (pprint) and for other instances (serialize_lua).
local M = {}

--- Keys of a table, by type name and then by value.
local function sorted_keys(tbl)
	local keys = {}
	for key in pairs(tbl) do keys[#keys + 1] = key end
	table.sort(keys, function (a, b)
		local ta, tb = type(a), type(b)
		if ta ~= tb then return ta < tb end
		if ta == 'number' or ta == 'string' then return a < b end
		return tostring(a) < tostring(b)
	end)
	return keys
end

-- Bytes that do not stand for themselves between single quotes.
local SPECIAL = "[%c'\\\127-\255]"

local function escape(byte)
	return string.format('\\%03d', byte:byte())
end

--- People may see tabs and line breaks as they are.
local function escape_pretty(byte)
	if byte == '\t' or byte == '\n' then return nil end
	return escape(byte)
end

local function function_text(fn, name)
	local info = debug.getinfo(fn, 'Su')
	local args = {}
	if info.what == 'C' then
		args[1] = '?'
	else
		for i = 1, info.nparams or 0 do args[i] = debug.getlocal(fn, i) or '?' end
		if info.isvararg then args[#args + 1] = '...' end
	end
	local address = tostring(fn):match('^function: (.*)$')
	return string.format('function %s(%s): %s', tostring(name or '?'), table.concat(args, ', '), address)
end

-- ---- For people ----

local pretty

local function comment(text)
	return '--[[ ' .. text:gsub('%]%]', '] ]') .. ' ]]'
end

local function pretty_table(tbl, state, indent)
	local out, keys = { '{\n' }, sorted_keys(tbl)
	local sequence = 0
	while rawget(tbl, sequence + 1) ~= nil do sequence = sequence + 1 end
	local inner = indent .. '    '
	local function add(key, value)
		out[#out + 1] = inner
		if type(value) == 'table' and state.seen[value] then
			out[#out + 1] = comment('[' .. pretty(key, state, inner) .. '] = cyclic reference') .. '\n'
			return
		end
		if key ~= nil and not (type(key) == 'number' and key >= 1 and key <= sequence and key % 1 == 0) then
			out[#out + 1] = '[' .. pretty(key, state, inner) .. '] = '
		end
		out[#out + 1] = pretty(value, state, inner, key) .. ',\n'
	end
	for _, key in ipairs(keys) do add(key, rawget(tbl, key)) end
	out[#out + 1] = indent .. '}'
	return table.concat(out)
end

pretty = function (value, state, indent, name)
	local kind = type(value)
	if kind == 'string' then
		return "'" .. value:gsub(SPECIAL, escape_pretty) .. "'"
	elseif kind == 'table' then
		state.seen[value] = true
		return pretty_table(value, state, indent)
	elseif kind == 'function' then
		return function_text(value, name)
	end
	return tostring(value)
end

--- Readable text of one value.
function M.pprint(value, on_unrep)
	if on_unrep ~= nil and on_unrep ~= 'comment' and on_unrep ~= 'error' then
		error("on_unrep must be 'comment' or 'error'", 2)
	end
	return pretty(value, { seen = {} }, '')
end

-- ---- For machines ----

local serialize

--- What cannot be written: a comment, or an error with the path of keys.
local function unrepresentable(reason, state, path)
	if state.on_unrep == 'error' then
		error('cannot serialize ' .. (path == '' and 'the value' or path) .. ': ' .. reason, 0)
	end
	return nil, comment((path == '' and '' or path .. ': ') .. reason)
end

local function serialize_number(n)
	if n ~= n then return '(0/0)' end
	if n == math.huge then return 'math.huge' end
	if n == -math.huge then return '-math.huge' end
	return string.format('%.60f', n)
end

local function serialize_table(tbl, state, path)
	local out = {}
	for _, key in ipairs(sorted_keys(tbl)) do
		local value = rawget(tbl, key)
		local name = path .. '[' .. tostring(key) .. ']'
		local key_text, key_note = serialize(key, state, name)
		local text, note = nil, key_note
		if key_text then text, note = serialize(value, state, name) end
		if text then
			out[#out + 1] = '[' .. key_text .. '] = ' .. text .. ', '
		elseif note then
			out[#out + 1] = note
		end
	end
	return '{' .. table.concat(out) .. '}'
end

serialize = function (value, state, path)
	local kind = type(value)
	if kind == 'string' then
		return "'" .. value:gsub(SPECIAL, escape) .. "'"
	elseif kind == 'number' then
		return serialize_number(value)
	elseif kind == 'boolean' or kind == 'nil' then
		return tostring(value)
	elseif kind == 'table' then
		if state.seen[value] then
			return unrepresentable('cyclic reference or shared table', state, path)
		end
		if getmetatable(value) ~= nil then
			return unrepresentable('table with a metatable', state, path)
		end
		state.seen[value] = true
		return serialize_table(value, state, path)
	end
	return unrepresentable(tostring(value), state, path)
end

--- One-line Lua expression of a value.
-- @param on_unrep 'comment' (default): what cannot be written becomes a comment; 'error': raises
function M.serialize_lua(value, on_unrep)
	if on_unrep ~= nil and on_unrep ~= 'comment' and on_unrep ~= 'error' then
		error("on_unrep must be 'comment' or 'error'", 2)
	end
	local text, note = serialize(value, { seen = {}, on_unrep = on_unrep or 'comment' }, '')
	return text or 'nil ' .. note
end

--- Value of an expression made by serialize_lua().
function M.deserialize_lua(text)
	if type(text) ~= 'string' then panic('deserialize_lua(): a string is needed') end
	local chunk, err = loadstring('return ' .. text)
	if not chunk then panic('deserialize_lua(): %s', tostring(err)) end
	return chunk()
end

return M
