-- SPDX-License-Identifier: GPL-3.0-or-later
-- Tests in Lua that run inside a real kresd. A test file registers functions; after the configuration
-- was loaded they run one after the other, and the process ends with status 0 or 1.
--
--     test('numbers add up', function () same(1 + 1, 2) end)
--     test('a timer fires', function (done) event.after(10, done) end)    -- takes an argument: asynchronous
--
-- check(x[, text])              x is neither nil nor false
-- same(got, want[, text])       equal, tables by contents
-- match(text, pattern)          a Lua pattern
-- boom(fn, args, pattern)       fn(unpack(args)) raises an error that matches; returns its text

local LIMIT_MS = tonumber(env.TEST_LIMIT_MS) or 20000
local tests, at, failures, current = {}, 0, 0, nil

cache.size = 1 * MB

function test(name, fn)
	tests[#tests + 1] = { name = name, fn = fn }
end

local function fail(text, level)
	error('FAILED: ' .. text, level + 1)
end

function check(value, text)
	if not value then fail(text or 'not true', 2) end
	return value
end

local function equal(a, b)
	if type(a) ~= 'table' or type(b) ~= 'table' then return a == b end
	for k, v in pairs(a) do
		if not equal(v, b[k]) then return false end
	end
	for k in pairs(b) do
		if a[k] == nil then return false end
	end
	return true
end

function same(got, want, text)
	if not equal(got, want) then
		fail(string.format('%sgot %s, want %s', text and text .. ': ' or '', table_print(got) or '?',
			table_print(want) or '?'), 2)
	end
	return got
end

function match(text, pattern)
	if type(text) ~= 'string' or not text:find(pattern) then
		fail(string.format('%q does not match %q', tostring(text), pattern), 2)
	end
	return text
end

function boom(fn, args, pattern)
	local is_good, err = pcall(fn, unpack(args or {}))
	if is_good then fail('no error was raised', 2) end
	if pattern and not tostring(err):find(pattern) then
		fail(string.format('the error %q does not match %q', tostring(err), pattern), 2)
	end
	return tostring(err)
end

local run_next

local function finish(name, err)
	if err then
		failures = failures + 1
		print('not ok ' .. at .. ' - ' .. name .. '\n' .. tostring(err))
	else
		print('ok ' .. at .. ' - ' .. name)
	end
	event.after(0, run_next)
end

--- Run an asynchronous test: it ends when it calls its argument, fails, or takes too long.
local function run_async(t)
	local is_over = false
	local function once(err)
		if is_over then return end
		is_over = true
		finish(t.name, err)
	end
	current = once
	event.after(LIMIT_MS, function () once('it takes too long') end)
	local is_good, err = xpcall(function () t.fn(function () once(nil) end) end, debug.traceback)
	if not is_good then once(err) end
end

--- Wrap a callback of an asynchronous test, so that a failed check in it ends the test.
function guard(fn)
	local once = current
	return function (...)
		local args, n = { ... }, select('#', ...)
		local is_good, ret = xpcall(function () return fn(unpack(args, 1, n)) end, debug.traceback)
		if not is_good then once(ret) end
		return ret
	end
end

run_next = function ()
	at = at + 1
	local t = tests[at]
	if not t then
		print(string.format('1..%d, %d failed', #tests, failures))
		return quit((failures > 0 or #tests == 0) and 1 or 0)
	end
	if debug.getinfo(t.fn, 'u').nparams > 0 then return run_async(t) end
	local is_good, err = xpcall(t.fn, debug.traceback)
	finish(t.name, not is_good and err or nil)
end

event.after(0, run_next)
