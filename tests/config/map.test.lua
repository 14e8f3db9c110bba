-- SPDX-License-Identifier: GPL-3.0-or-later
-- Control sockets of several instances, and map() over them.
local folder = env.TEST_FOLDER
local exe = '/proc/' .. worker.pid .. '/exe'

worker.control_path = folder .. '/control/'
net.listen(folder .. '/control/first', nil, { kind = 'control' })

--- Start another instance that ends by itself.
local function start(name, more_args)
	local config = folder .. '/' .. name .. '.conf'
	local f = io.open(config, 'w')
	f:write(string.format([[
		worker.control_path = '%s/control/'
		net.listen('%s/control/%s', nil, { kind = 'control' })
		my_name = '%s'
		event.after(20000, quit)
	]], folder, folder, name, name))
	f:close()
	os.execute('mkdir -p ' .. folder .. '/' .. name)
	os.execute(string.format('env KRESD_NO_LISTEN=1 $(readlink -f %s) -n %s -c %s -c - %s/%s >/dev/null 2>&1 &',
		exe, more_args, config, folder, name))
end

my_name = 'first'
start('second', '')
start('third', '-q')

local function is_up(name)
	return os.execute('test -S ' .. folder .. '/control/' .. name) == 0
end

--- Call fn in the background as soon as all are up.
local function when_up(fn)
	local body = guard(fn)
	event.recurrent(20, function (id)
		if is_up('second') and is_up('third') then
			event.cancel(id)
			event.after(100, function () worker.coroutine(body) end)
		end
	end)
end

test('every instance answers once', function (done)
	when_up(function ()
		local names = map('my_name')
		same(names.n, 3)
		table.sort(names)
		same(names, { 'first', 'second', 'third', n = 3 })
		done()
	end)
end)

test('values travel', function (done)
	when_up(function ()
		for _, value in ipairs(map("{ 1, 'two', { three = 3.5, [false] = true } }")) do
			same(value, { 1, 'two', { three = 3.5, [false] = true } })
		end
		same(map('nil').n, 3)
		same(map("'text with \\010 and \\000'")[1], 'text with \n and \0')
		local kluautil = require('kluautil')
		same(#map("require('kluautil').kr_table_pack(1, nil, 3)"), 3)
		check(kluautil)
		done()
	end)
end)

test('strings format', function (done)
	when_up(function ()
		local all = map('my_name', 'strings')
		table.sort(all)
		same(all, { 'first', 'second', 'third', n = 3 })
		boom(map, { '5', 'strings' })
		done()
	end)
end)

test('what map refuses', function (done)
	when_up(function ()
		boom(map, { '' }, '^ERROR: ')
		boom(map, { 5 }, '^ERROR: ')
		boom(map, { '1\n2' }, '^ERROR: ')
		boom(map, { 'no lua' }, '^ERROR: ')
		boom(map, { '1', 'xml' }, '^ERROR: .*xml')
		boom(map, { '1, 2' }, '^ERROR: ')
		boom(map, { 'print' }, '^ERROR: ')
		boom(map, { "error('as the test wants')" }, '^ERROR: .*as the test wants')
		done()
	end)
end)

test('a dead socket is skipped', function (done)
	when_up(function ()
		os.execute('luajit -e "" 2>/dev/null; cp -a /dev/null ' .. folder .. '/control/dead 2>/dev/null')
		same(map('my_name').n, 3)
		done()
	end)
end)

test('on demand each instance has a result of its own', function (done)
	when_up(function ()
		local good, bad, silent = 0, 0, 0
		local results = map("my_name == 'second' and error('as the test wants') or my_name", 'each')
		for _, one in ipairs(results) do
			match(one.path, '/control/')
			if one.ok then
				good = good + 1
				match(one.path, one.value .. '$')
			elseif one.path:find('second$') then
				bad = bad + 1
				match(one.error, 'as the test wants')
			else
				silent = silent + 1 -- the dead socket
			end
		end
		same({ good, bad }, { 2, 1 })
		same(results.n, good + bad + silent)
		done()
	end)
end)

test('the others can be told to end', function (done)
	when_up(function ()
		map("my_name ~= 'first' and quit()")
		event.recurrent(20, guard(function (id)
			if is_up('second') or is_up('third') then return end
			event.cancel(id)
			done()
		end))
	end)
end)
