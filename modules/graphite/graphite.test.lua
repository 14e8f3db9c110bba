-- SPDX-License-Identifier: GPL-3.0-or-later
local socket = require('cqueues.socket')

modules.load('graphite')

local function listen(kind)
	local server = socket.listen({ host = '127.0.0.1', port = 0, type = socket[kind] })
	server:setmode('b', 'b')
	local _, _, port = server:localname()
	return server, port
end

--- Lines as a table key -> value; checks their form.
local function parse(text)
	local metrics = {}
	for line in text:gmatch('([^\n]*)\n') do
		local key, value, time = line:match('^(%S+) (%S+) (%d+)$')
		check(key and tonumber(value), 'line ' .. line)
		check(math.abs(os.time() - tonumber(time)) < 5)
		metrics[key] = tonumber(value)
	end
	return metrics
end

test('nil is idle', function ()
	same(graphite.config(), 0)
	check(stats)
end)

test('bad configuration is told', function ()
	boom(graphite.config, { 5 }, 'table')
	boom(graphite.config, { {} }, 'host')
	boom(graphite.config, { { host = '127.0.0.1', interval = 0 } }, 'interval')
	boom(graphite.add_server, { nil, 5 }, 'address')
end)

test('over UDP', function (done)
	local server, port = listen('SOCK_DGRAM')
	same(graphite.config({ host = '127.0.0.1', port = port, prefix = 'test.me', interval = 50 }), 0)
	worker.coroutine(guard(function ()
		local all = {}
		repeat
			worker.sleep(0.02)
			local text = server:recv(-65536) or '' -- nothing yet
			server:clearerr()
			check(#text <= 1400)
			for key, value in pairs(parse(text)) do all[key] = value end
		until all['test.me.request.total'] and all['test.me.cache.read'] and all['test.me.worker.rss']
		check(all['test.me.answer.total'])
		for key in pairs(all) do match(key, '^test%.me%.') end
		graphite.config()
		server:close()
		done()
	end))
end)

test('over TCP, with the default prefix; it connects again', function (done)
	local server, port = listen('SOCK_STREAM')
	graphite.config({ host = { '127.0.0.1' }, port = port, tcp = true, interval = 20 })
	worker.coroutine(guard(function ()
		for _ = 1, 2 do
			local peer = server:accept(10)
			check(peer, 'nobody connects')
			peer:setmode('b', 'b')
			local line = peer:read('*l')
			match(line, '^kresd%.' .. hostname():gsub('%p', '%%%0') .. '%.' .. worker.id:gsub('%p', '%%%0') .. '%.%S+ %S+ %d+$')
			peer:close()
		end
		graphite.config()
		server:close()
		done()
	end))
end)

test('a new configuration replaces the old one', function ()
	graphite.config({ host = { '127.0.0.1', '::1' }, interval = 60 * sec })
	same(#graphite.servers, 2)
	same(graphite.publish(), 0)
	graphite.add_server(nil, '127.0.0.2', 2003, true)
	same(#graphite.servers, 3)
	graphite.config({ host = '127.0.0.1', interval = 60 * sec })
	same(#graphite.servers, 1)
	modules.unload('graphite')
end)
