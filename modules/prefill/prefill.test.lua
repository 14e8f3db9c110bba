-- SPDX-License-Identifier: GPL-3.0-or-later
modules.unload('ta_update')
modules.unload('priming')
modules.unload('detect_time_skew')
local logged = {}
_G.log_info = function (_, fmt, ...) logged[#logged + 1] = string.format(fmt, ...) end
modules.load('prefill')

local function root(more)
	local conf = { url = 'https://127.0.0.1:9/root.zone' }
	for key, value in pairs(more or {}) do conf[key] = value end
	return { ['.'] = conf }
end

test('bad configuration is told', function ()
	boom(prefill.config, { 5 }, '%[prefil%].*table')
	boom(prefill.config, { {} }, "%[prefil%].*'.' is missing")
	boom(prefill.config, { { ['cz.'] = {} } }, '%[prefil%].*only the root zone')
	boom(prefill.config, { { ['.'] = {} } }, '%[prefil%].*https')
	boom(prefill.config, { root({ url = 'http://example.net' }) }, '%[prefil%].*https')
	boom(prefill.config, { root({ interval = 3599 }) }, '%[prefil%].*3600')
	boom(prefill.config, { root({ interval = 'x' }) }, '%[prefil%].*3600')
	boom(prefill.config, { root({ ca_file = 5 }) }, '%[prefil%].*ca_file')
	same(prefill.config(), nil)
	same(logged, {})
end)

--- Wait until a line that matches was logged.
local function wait_for(pattern, fn)
	local tries = 0
	local function look()
		for _, line in ipairs(logged) do
			if line:find(pattern) then return fn(line) end
		end
		tries = tries + 1
		check(tries < 150, 'nobody logs ' .. pattern .. ' but ' .. table.concat(logged, '; '))
		event.after(100, guard(look))
	end
	look()
end

test('a download that fails is tried again', function (done)
	prefill.config(root())
	wait_for('next try in %d+ seconds', function (line)
		match(logged[1], 'downloading root zone to file "root.zone"')
		local delay = tonumber(line:match('in (%d+) seconds'))
		check(delay >= 590 and delay < 600)
		same(io.open('root.zone'), nil)
		same(io.open('root.zone.part'), nil)
		done()
	end)
end)

test('a young file is used, a bad one is not kept', function (done)
	logged = {}
	local file = io.open('root.zone', 'w')
	file:write('. 86400 IN SOA a. b. 1 2 3 4 5\n. 86400 IN NS a.\n')
	file:close()
	prefill.config(root({ ca_file = '/nonexistent' }))
	wait_for('import of the root zone failed', function (line)
		match(table.concat(logged, '\n'), 'is valid for 86%d%d%d seconds')
		match(table.concat(logged, '\n'), 'import of root zone file "root.zone" started')
		match(line, 'next try in 1 seconds')
		same(io.open('root.zone'), nil)
		wait_for('cannot download', function () done() end)
	end)
end)

test('unloading stops it', function () modules.unload('prefill') end)
