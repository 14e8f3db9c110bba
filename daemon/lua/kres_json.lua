-- SPDX-License-Identifier: GPL-3.0-or-later
-- JSON with the conventions of tojson() and fromjson(): nulls inside arrays and objects are left out
-- when reading, what JSON cannot say becomes null when writing.
local M = {}

-- ---- Writing ----

local short = {
	['"'] = '\\"', ['\\'] = '\\\\', ['\b'] = '\\b', ['\f'] = '\\f', ['\n'] = '\\n', ['\r'] = '\\r',
	['\t'] = '\\t',
}

local function quote(str)
	return '"' .. str:gsub('[%c"\\\127]', function (c)
		return short[c] or string.format('\\u%04x', c:byte())
	end) .. '"'
end

local function number(n)
	if n ~= n or n == math.huge or n == -math.huge then return 'null' end
	if n % 1 == 0 and math.abs(n) < 1e15 then return string.format('%d', n) end
	return string.format('%.17g', n):gsub('^(.-)$', function (long)
		local brief = string.format('%.14g', n)
		return tonumber(brief) == n and brief or long
	end)
end

local encode

local function encode_table(value, open)
	if open[value] then return 'null' end -- a cycle
	open[value] = true
	local out, first = {}, next(value)
	local is_array = type(first) == 'number'
	for k, v in pairs(value) do
		local text = encode(v, open)
		out[#out + 1] = is_array and text or quote(tostring(k)) .. ':' .. text
	end
	open[value] = nil
	local body = table.concat(out, ',')
	return is_array and '[' .. body .. ']' or '{' .. body .. '}'
end

encode = function (value, open)
	local kind = type(value)
	if kind == 'table' then return encode_table(value, open) end
	if kind == 'string' then return quote(value) end
	if kind == 'number' then return (number(value)) end
	if kind == 'boolean' then return tostring(value) end
	if kind == 'cdata' and tonumber(value) then return (number(tonumber(value))) end
	return 'null'
end

--- JSON text of a value.
function M.encode(value)
	return encode(value, {})
end

-- ---- Reading ----

local DEPTH_MAX = 200
local escapes = {
	['"'] = '"', ['\\'] = '\\', ['/'] = '/', b = '\b', f = '\f', n = '\n', r = '\r', t = '\t',
}
local NULL = {}

local function fail(at, what)
	error(string.format('%s at byte %d', what, at), 0)
end

local function skip(text, at)
	return text:find('[^ \t\r\n]', at) or #text + 1
end

local function utf8_char(code)
	if code < 0x80 then return string.char(code) end
	if code < 0x800 then
		return string.char(0xc0 + math.floor(code / 0x40), 0x80 + code % 0x40)
	end
	if code < 0x10000 then
		return string.char(0xe0 + math.floor(code / 0x1000), 0x80 + math.floor(code / 0x40) % 0x40,
			0x80 + code % 0x40)
	end
	return string.char(0xf0 + math.floor(code / 0x40000), 0x80 + math.floor(code / 0x1000) % 0x40,
		0x80 + math.floor(code / 0x40) % 0x40, 0x80 + code % 0x40)
end

--- Character written as \uXXXX, or two of them for one beyond the basic plane.
local function unicode(text, at)
	local hex = text:match('^%x%x%x%x', at)
	if not hex then fail(at, 'four hexadecimal digits expected') end
	local code = tonumber(hex, 16)
	if code >= 0xd800 and code < 0xdc00 then
		local low = text:match('^\\u([dD][c-fC-F]%x%x)', at + 4)
		if not low then fail(at, 'second half of a character expected') end
		code = 0x10000 + (code - 0xd800) * 0x400 + tonumber(low, 16) - 0xdc00
		return utf8_char(code), at + 10
	end
	return utf8_char(code), at + 4
end

local function read_string(text, at)
	local out, start = {}, at + 1
	while true do
		local stop = text:find('["\\%c]', start)
		if not stop then fail(at, 'string without end') end
		out[#out + 1] = text:sub(start, stop - 1)
		local c = text:sub(stop, stop)
		if c == '"' then return table.concat(out), stop + 1 end
		if c ~= '\\' then
			if c ~= '\127' then fail(stop, 'control character in a string') end
			out[#out + 1] = c
			start = stop + 1
		else
			local escape = text:sub(stop + 1, stop + 1)
			if escape == 'u' then
				out[#out + 1], start = unicode(text, stop + 2)
			else
				out[#out + 1] = escapes[escape] or fail(stop, 'unknown escape')
				start = stop + 2
			end
		end
	end
end

local read_value

local function read_array(text, at, depth)
	local out = {}
	at = skip(text, at + 1)
	if text:sub(at, at) == ']' then return out, at + 1 end
	while true do
		local value
		value, at = read_value(text, at, depth)
		if value ~= NULL then out[#out + 1] = value end
		at = skip(text, at)
		local c = text:sub(at, at)
		if c == ']' then return out, at + 1 end
		if c ~= ',' then fail(at, 'comma or ] expected') end
		at = skip(text, at + 1)
	end
end

local function read_object(text, at, depth)
	local out = {}
	at = skip(text, at + 1)
	if text:sub(at, at) == '}' then return out, at + 1 end
	while true do
		if text:sub(at, at) ~= '"' then fail(at, 'a quoted key expected') end
		local key, value
		key, at = read_string(text, at)
		at = skip(text, at)
		if text:sub(at, at) ~= ':' then fail(at, 'colon expected') end
		value, at = read_value(text, skip(text, at + 1), depth)
		if value ~= NULL then out[key] = value end
		at = skip(text, at)
		local c = text:sub(at, at)
		if c == '}' then return out, at + 1 end
		if c ~= ',' then fail(at, 'comma or } expected') end
		at = skip(text, at + 1)
	end
end

local words = { ['true'] = true, ['false'] = false, null = NULL }

read_value = function (text, at, depth)
	if depth > DEPTH_MAX then fail(at, 'nested too deep') end
	local c = text:sub(at, at)
	if c == '"' then return read_string(text, at) end
	if c == '{' then return read_object(text, at, depth + 1) end
	if c == '[' then return read_array(text, at, depth + 1) end
	local word = text:match('^%a+', at)
	if word then
		if words[word] == nil then fail(at, 'unknown word') end
		return words[word], at + #word
	end
	local digits = text:match('^-?%d+%.?%d*[eE]?[+-]?%d*', at)
	local n = digits and not digits:find('^-?0%d') and not digits:find('%.$')
		and not digits:find('%.[eE]') and tonumber(digits)
	if not n then fail(at, 'a value expected') end
	return n, at + #digits
end

--- Value of a JSON text; raises a message.
function M.decode(text)
	local value, at = read_value(text, skip(text, 1), 0)
	at = skip(text, at)
	if at <= #text then fail(at, 'end expected') end
	if value == NULL then return {} end
	return value
end

return M
