-- SPDX-License-Identifier: GPL-3.0-or-later
-- Every function, method, hook, behaviour and idiom of extension_api.data is claimed by a test (`-- covers:
-- NAME…` in its body), and whoever claims a method uses it.

--- Tests of this folder: { title =, body =, file = }.
local function all_tests()
	local found = {}
	for path in io.popen('ls ' .. env.TEST_SOURCE .. '/*.test.lua'):lines() do
		local file = io.open(path)
		local text = '\n' .. file:read('*a') .. '\nlocal function'
		file:close()
		local at = text:find('\n%l*_?test%(')
		while at do
			local next_at = text:find('\n%l*_?test%(', at + 1) or #text
			local body = text:sub(at, next_at)
			found[#found + 1] = { file = path:match('[^/]*$'), title = body:match("test%('([^']*)") or '?', body = body }
			at = next_at < #text and next_at or nil
		end
	end
	check(#found > 100)
	return found
end

--- The words by which an entry is used: `pkt:id` by `:id(`, `pkt.id` or `'id'`; others by their last part.
local function is_used(name, body)
	local code = body:gsub('%-%- covers:[^\n]*', '')
	local object, method = name:match('^(%l+):(.+)$')
	if object and method == '#' then return code:find('#%l') ~= nil end
	if object and method == 'fields' then return true end
	local word = method or name:match('^kres%.([%w_]+)$') or name:match('^worker%.([%w_]+)') or name:match('^event%.(%w+)')
	return not word or code:find('%f[%w_]' .. word .. '%f[^%w_]') ~= nil
end

test('every entry has a test', function ()
	local known, claimed = {}, {}
	for _, e in ipairs(entries('fn')) do
		same(known[e.name], nil, e.name .. ' is listed twice')
		known[e.name] = true
	end
	for _, t in ipairs(all_tests()) do
		for line in t.body:gmatch('%-%- covers:([^\n]*)') do
			for name in line:gmatch('%S+') do
				check(known[name], t.file .. ': ' .. name .. ' is no entry')
				check(is_used(name, t.body), t.file .. ', ' .. t.title .. ': does not use ' .. name)
				claimed[name] = true
			end
		end
	end
	local missing = {}
	for name in pairs(known) do
		if not claimed[name] then missing[#missing + 1] = name end
	end
	table.sort(missing)
	same(missing, {})
end)

test('kinds of entries are all looked at', function ()
	local kinds = { const = 1, enum = 1, flag = 1, field = 1, ctype = 1, undeclared = 1, cvar = 1, cfunc = 1, fn = 1 }
	local marks = { must = 1, should = 1, may = 1 }
	for line in io.lines('extension_api.data') do
		local kind, mark = line:match('^(%l+) (%l+)')
		check(line == '' or line:sub(1, 1) == '#' or kinds[kind] and marks[mark], line)
	end
end)
