-- SPDX-License-Identifier: GPL-3.0-or-later
-- Zone files and zone text, read by libzscanner.
--
--     local z = require('zonefile')
--     for _, rr in ipairs(z.file('example.zone')) do print(kres.rr2str(rr)) end
local ffi = require('ffi')
require('kres-gen')
local zs = ffi.load(libzscanner_SONAME)

local CLASS_IN, TTL_DEFAULT = 1, 3600

local methods = {}

--- Open a file. @return true, or false and a message
function methods.open(parser, path)
	if type(path) ~= 'string' then return false, 'expected a path' end
	if zs.zs_set_input_file(parser, path) ~= 0 then return false, parser:strerr() end
	return true
end

--- Read one record, of `text` if given. @return true; false at the end; false and a message
function methods.parse(parser, text)
	if text ~= nil and zs.zs_set_input_string(parser, text, #text) ~= 0 then
		return false, parser:strerr()
	end
	if parser.state == zs.ZS_STATE_STOP or parser.state == zs.ZS_STATE_EOF and text == nil then
		return false
	end
	while true do
		if zs.zs_parse_record(parser) ~= 0 then return false, parser:strerr() end
		local state = parser.state
		if state == zs.ZS_STATE_DATA then return true end
		if state == zs.ZS_STATE_ERROR then return false, parser:strerr() end
		if state == zs.ZS_STATE_EOF or state == zs.ZS_STATE_STOP then return false end
		if state == zs.ZS_STATE_INCLUDE then return false, '$INCLUDE is not supported' end
	end
end

--- The record read last.
function methods.current_rr(parser)
	if parser.state ~= zs.ZS_STATE_DATA then return nil end
	return {
		owner = ffi.string(parser.r_owner, parser.r_owner_length),
		ttl = tonumber(parser.r_ttl),
		class = tonumber(parser.r_class),
		type = tonumber(parser.r_type),
		rdata = ffi.string(parser.r_data, parser.r_data_length),
		comment = parser:current_comment(),
	}
end

--- Comment behind the record read last, without the semicolon; or nil.
function methods.current_comment(parser)
	if parser.buffer_length == 0 then return nil end
	return ffi.string(parser.buffer, parser.buffer_length - 1)
end

--- Text of the last error.
function methods.strerr(parser)
	return ffi.string(zs.zs_strerror(parser.error.code))
end

local parser_t = ffi.metatype('zs_scanner_t', { __index = methods })

local M = {}

function M.new(origin, class, ttl)
	local parser = ffi.gc(parser_t(), zs.zs_deinit)
	if zs.zs_init(parser, origin or '.', class or CLASS_IN, ttl or TTL_DEFAULT) ~= 0 then
		error('cannot make a zone parser: ' .. parser:strerr(), 2)
	end
	return parser
end

--- All records until the first error. @return list, message or nil
local function collect(parser)
	local records = {}
	local is_more, err = parser:parse()
	while is_more do
		records[#records + 1] = parser:current_rr()
		is_more, err = parser:parse()
	end
	return records, err
end

--- Records of a file, or false and a message.
function M.file(path)
	local parser = M.new()
	local is_open, err = parser:open(path)
	if not is_open then return false, err end
	local records
	records, err = collect(parser)
	if err then
		return false, string.format('%s:%d: %s', path, tonumber(parser.line_counter), err)
	end
	return records
end

--- Records of a text, up to the first error.
function M.string(text)
	if type(text) ~= 'string' then error('expected a string', 2) end
	local parser = M.new()
	if zs.zs_set_input_string(parser, text, #text) ~= 0 then return {} end
	return (collect(parser))
end

return M
