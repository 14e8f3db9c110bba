-- SPDX-License-Identifier: GPL-3.0-or-later
-- The list of entries (entries.data) and what there is.

local listed = {}
for line in io.lines('entries.data') do
	local name = line:match('^([%w_.]+)')
	if name then listed[name] = true end
end

-- Set by the user, or only there when something else is.
local optional = { ['worker.control_path'] = true, ['cache.size'] = true, ['cache.storage'] = true }
local removed = { ['trust_anchors.file'] = true, ['trust_anchors.negative'] = true,
	['trust_anchors.keyfile_default'] = true }

test('everything that is listed is there', function ()
	for name in pairs(listed) do
		if not optional[name] and not removed[name] then
			check(loadstring('return ' .. name)() ~= nil, name)
		end
	end
end)

test('every function of our tables is listed', function ()
	for _, name in ipairs({ 'net', 'cache', 'modules', 'trust_anchors', 'worker', 'event' }) do
		for key, value in pairs(_G[name]) do
			local entry = name .. '.' .. tostring(key)
			if type(value) == 'function' and not tostring(key):find('^_') then check(listed[entry], entry) end
		end
	end
end)

-- Of Lua and LuaJIT, of this test, and modules with their own pages.
local others = {}
for name in ([[_G _VERSION arg assert bit collectgarbage coroutine debug dofile error ffi gcinfo getfenv getmetatable io
ipairs jit load loadfile loadstring math module newproxy next os package pairs pcall print rawequal
rawget rawlen rawset require select setfenv setmetatable string table tonumber tostring type unpack
xpcall kres policy ta_update priming watchdog modules_create_table modules_ffi_wrap_modcb
]]):gmatch('%S+') do others[name] = true end

test('every global name is listed', function ()
	for name in _G.__orig_name_list:gmatch('[^\n]+') do
		check(listed[name] or others[name] or name:find('^_') or name:find('^ta_') or name:find('^detect_time_'), name)
	end
end)
