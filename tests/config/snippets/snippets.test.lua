-- SPDX-License-Identifier: GPL-3.0-or-later
-- Modules and configurations as other people write them (kres_modules/, conf/), in a kresd that finds them in
-- its working folder like a user's.

--- The snippets under test; each has a scenario below.
local scenarios = {}
local ZONE = {
	['www.example.net A'] = { '192.0.2.1' }, ['www.example.net AAAA'] = { '2001:db8::1' },
	['six.example.net AAAA'] = { '2001:db8::6' }, ['six.example.net A'] = {},
	['sly.example.net CNAME'] = { 'a.tracker.example.' }, ['sly.example.net A'] = nil,
	['null.example.net A'] = { '0.0.0.0' }, ['mail.example.net MX'] = { '10 www.example.net.', '20 six.example.net.' },
	['text.example.net TXT'] = { '"old"' }, ['none.example.net'] = kres.rcode.NXDOMAIN, ttl = 5000,
}

--- Each scenario is one test: ask steps one after the other, each with its check.
local function scenario(name, setup, steps)
	scenarios[name] = true
	test(name, function (done)
		serve(ZONE)
		setup()
		local function step(i)
			local s = steps[i]
			if not s then
				if package.loaded['kres_modules.' .. name] then modules.unload(name) end
				return done()
			end
			ask(s[1], s[2], function (pkt, req)
				s[3](pkt, req)
				event.after(s.wait or 0, guard(function ()
					if s[4] then s[4]() end
					step(i + 1)
				end))
			end, s.how or { addr = '192.0.2.99' })
		end
		step(1)
	end)
end

local function module(name, conf, where)
	return function ()
		modules.load(name .. (where or ''))
		if conf ~= nil then _G[name].config(conf) end
	end
end

local function rcode_is(rcode)
	return function (pkt) same(pkt:rcode(), kres.rcode[rcode]) end
end

local function answers(...)
	local want = { ... }
	return function (pkt) same(records(pkt), want) end
end

local function write(path, text)
	local f = io.open(path, 'w')
	f:write(text)
	f:close()
end

local anything = function (pkt) check(pkt) end
local WWW = 'www.example.net. 5000 A 192.0.2.1'

scenario('blocklist', function ()
	write('blocked.txt', '# ads\nads.example.net\n\nbad..name\nwww.example.org # why\n')
	modules = { blocklist = { file = 'blocked.txt', every = 20 } }
	same(blocklist.count, 2)
end, {
	{ 'x.ads.example.net', 'A', function (pkt) same({ pkt:rcode(), ede_of(pkt) }, { 3, '15 listed' }) end },
	{ 'www.example.net', 'A', answers(WWW), function ()
		write('blocked.txt', 'www.example.net\n')
		blocklist.reload()
	end },
	{ 'www.example.net', 'A', rcode_is('NXDOMAIN') },
})

local rewrites = { { clients = '10.0.0.0/8', from = '192.0.2.1', to = '10.9.9.9' } }
scenario('client_rewrite', module('client_rewrite', rewrites), {
	{ 'www.example.net', 'A', answers('www.example.net. 5000 A 10.9.9.9'), how = { addr = '10.1.1.1' } },
	{ 'www.example.net', 'A', answers(WWW), how = { addr = '11.1.1.1' } },
	{ 'www.example.net', 'A', answers(WWW), how = { addr = '2001:db8::1' } },
})

scenario('answer_log', module('answer_log', 'answers.log'), {
	{ 'www.example.net', 'A', anything },
	{ 'none.example.net', 'A', rcode_is('NXDOMAIN'), function ()
		local lines = {}
		for line in io.lines('answers.log') do lines[#lines + 1] = line end
		same(answer_log.lines, 2)
		match(lines[1], '^192%.0%.2%.99#12345 www%.example%.net%. A NOERROR %d+$')
		match(lines[2], 'none%.example%.net%. A NXDOMAIN %d+$')
	end },
})

scenario('qps_meter', module('qps_meter'), {
	{ 'www.example.net', 'A', anything, function () check(qps_meter.rate > 0 and qps_meter.peak > 0) end, wait = 200 },
})

scenario('poller', module('poller', { names = { 'www.example.net', 'none.example.net' }, every = 0.02 }), {
	{ 'www.example.net', 'A', anything, function ()
		check(poller.rounds >= 2, poller.rounds)
		same(poller.seen, { ['www.example.net'] = '\192\0\2\1', ['none.example.net'] = false })
	end, wait = 400 },
})

scenario('nx_counter', module('nx_counter'), {
	{ 'none.example.net', 'A', anything },
	{ 'none.example.net', 'AAAA', anything, function ()
		same(nx_counter.top(), { { name = 'example.net.', count = 2 } })
	end },
})

scenario('hinfo_any', module('hinfo_any', nil, ' < iterate'), {
	{ 'www.example.net', 'ANY', answers('www.example.net. 3600 HINFO "RFC8482" ""') },
	{ 'www.example.net', 'A', answers(WWW) },
})

scenario('geo_hosts', function ()
	modules.load('geo_hosts > iterate')
	geo_hosts.add('printer.example.net', '10.1.0.0/16', '10.1.0.9')
	geo_hosts.add('printer.example.net', '10.2.0.0/16', '10.2.0.9')
end, {
	{ 'printer.example.net', 'A', answers('printer.example.net. 10 A 10.1.0.9'), how = { addr = '10.1.7.7' } },
	{ 'printer.example.net', 'A', answers('printer.example.net. 10 A 10.2.0.9'), how = { addr = '10.2.7.7' } },
	{ 'printer.example.net', 'A', answers(), how = { addr = '10.3.7.7' } },
})

scenario('ttl_cap', module('ttl_cap', 30), { { 'www.example.net', 'A', answers('www.example.net. 30 A 192.0.2.1') } })

scenario('filter_aaaa', module('filter_aaaa'), {
	{ 'www.example.net', 'AAAA', answers(), function () same(filter_aaaa.dropped, 1) end },
	{ 'six.example.net', 'AAAA', answers('six.example.net. 5000 AAAA 2001:db8::6') },
	{ 'www.example.net', 'A', answers(WWW) },
})

scenario('cname_cloak', function ()
	modules.load('cname_cloak < iterate')
	cname_cloak.config({ 'tracker.example' })
end, {
	{ 'sly.example.net', 'CNAME', function (pkt)
		same({ pkt:rcode(), pkt:ancount(), ede_of(pkt) }, { kres.rcode.REFUSED, 0, '17 cloaked tracker' })
	end },
	{ 'www.example.net', 'A', answers(WWW) },
})

scenario('dyn_forward', function ()
	modules = { 'dyn_forward', 'servers_seen' }
	dyn_forward.set('corp.example.org', { '127.0.0.1@9', '::1@9' })
	same(dyn_forward.routes(), { ['corp.example.org.'] = { '127.0.0.1#00009', '::1#00009' } })
end, {
	{ 'www.example.net', 'A', answers(WWW) },
	{ 'www.corp.example.org', 'A', rcode_is('SERVFAIL'), function ()
		check(#servers_seen.seen > 0)
		for _, line in ipairs(servers_seen.seen) do match(line, '#00009 %u+ A$') end
		dyn_forward.set('corp.example.org', nil)
		same(dyn_forward.routes(), {})
		modules.unload('servers_seen')
	end },
})
scenarios.servers_seen = true

scenario('no_dnssec', function ()
	modules.load('no_dnssec')
	no_dnssec.except('example.net', 100)
	no_dnssec.except('example.org', -1)
end, {
	{ 'www.example.net', 'A', function (pkt, req)
		same(records(pkt), { WWW })
		same(req:initial().flags.DNSSEC_WANT, false)
	end, how = { addr = '192.0.2.1', dobit = true } },
})

scenario('minimal', module('minimal'), {
	{ 'www.example.net', 'A', function (pkt) same({ pkt:ancount(), pkt:nscount() }, { 1, 0 }) end },
	{ 'none.example.net', 'A', function (pkt) same(pkt:nscount(), 1) end },
})

scenario('explain', module('explain'), {
	{ 'nowhere.example.org', 'A', function (pkt)
		same(pkt:rcode(), kres.rcode.SERVFAIL)
		check(ede_of(pkt))
	end },
})

scenario('whoami', module('whoami', nil, ' > iterate'), {
	{ 'whoami.lan', 'TXT', answers('whoami.lan. 0 TXT "192.0.2.5#12345 over UDP"'), how = { addr = '192.0.2.5' } },
	{ 'whoami.lan', 'TXT', answers('whoami.lan. 0 TXT "2001:db8::5#12345 over TLS"'),
		how = { addr = '2001:db8::5', flags = { 'tcp', 'tls' } } },
})

scenario('edns_tag', module('edns_tag'), {
	{ 'www.example.net', 'A', function (pkt) same(option_of(pkt, 65001), 'tag') end },
	{ 'www.example.net', 'A', function (pkt) same(option_of(pkt, 65001), nil) end,
		how = { addr = '192.0.2.1', edns = false } },
})

scenario('trace_names', function ()
	modules.load('trace_names')
	trace_names.watch('www.example.net')
end, {
	{ 'six.example.net', 'AAAA', anything },
	{ 'www.example.net', 'A', anything, function ()
		same(#trace_names.logs, 1)
		same(trace_names.logs[1].name, 'www.example.net.')
		match(trace_names.logs[1].text, 'NOERROR')
	end, wait = 5 },
})

scenario('refresh', module('refresh'), {
	{ 'text.example.net', 'TXT', answers('text.example.net. 5000 TXT "old"'), function ()
		same(refresh.refreshed['text.example.net.'], 'NOERROR')
	end, wait = 50 },
})

scenario('quota', module('quota'), (function ()
	local steps = {}
	for i = 1, 20 do steps[i] = { 'www.example.net', 'A', answers(WWW) } end
	steps[21] = { 'www.example.net', 'A', anything, function () quota.rate = 0 end }
	for i = 22, 24 do steps[i] = { 'www.example.net', 'A', anything } end
	steps[25] = { 'www.example.net', 'A', function (pkt)
		same({ pkt:tc(), pkt:ancount() }, { true, 0 })
		check(quota.limited > 0)
	end }
	for _ = 1, 20 do table.insert(steps, 22, { 'www.example.net', 'A', anything }) end
	steps[#steps + 1] = { 'www.example.net', 'A', answers(WWW), how = { addr = '192.0.2.98' } }
	return steps
end)())

scenario('tenants', module('tenants', { ['192.0.2.10'] = { name = 'acme', flags = { 'NO_CACHE', 'NO_IPV6' } } }), {
	{ 'www.example.net', 'A', function (_, req)
		same({ req.options.NO_CACHE, req:initial().flags.NO_IPV6 }, { true, true })
	end, how = { addr = '192.0.2.10' } },
	{ 'www.example.net', 'A', anything, function () same(tenants.answers, { acme = 1, unknown = 1 }) end },
})

scenario('companion', module('companion'), {
	{ 'mail.example.net', 'MX', anything, function ()
		same(companion.fetched, { ['www.example.net.'] = 1, ['six.example.net.'] = 0 })
	end, wait = 50 },
})

scenario('reverse_synth', module('reverse_synth', nil, ' > iterate'), {
	{ '7.7.7.11.in-addr.arpa', 'PTR', answers('7.7.7.11.in-addr.arpa. 3600 PTR host-11-7-7-7.dyn.example.') },
	{ 'x.7.7.11.in-addr.arpa', 'PTR', rcode_is('NXDOMAIN') },
})

scenario('picky', module('picky', nil, ' < iterate'), {
	{ 'null.example.net', 'A', rcode_is('SERVFAIL'), function () check(picky.rejected > 0) end },
	{ 'www.example.net', 'A', answers(WWW) },
})

scenario('lifecycle', module('lifecycle', nil, ' < iterate'), {
	{ 'www.example.net', 'A', anything },
	{ 'nowhere.example.org', 'A', anything },
	{ 'www.example.net', 'ANY', anything, function ()
		check(lifecycle.begun >= 3)
		local open = 0
		for _ in pairs(lifecycle.open) do open = open + 1 end
		same(lifecycle.begun - lifecycle.ended, open)
	end },
})

-- ---- configurations ----

scenario('warm_up', function ()
	write('names.txt', 'www.example.net A\nnone.example.net A\nbroken line here\nsix.example.net AAAA\nx NOTYPE\n')
	dofile('conf/warm_up.lua')
end, { { 'www.example.net', 'A', anything, function () same(warm, { asked = 3, good = 2 }) end, wait = 50 } })

scenario('pin_records', function ()
	write('pinned.zone', 'pinned.example.com. 600 A 192.0.2.33\npinned.example.com. 600 TXT "mine"\n')
	dofile('conf/pin_records.lua')
	same(pinned, 2)
end, { { 'pinned.example.com', 'TXT', answers('pinned.example.com. 600 TXT "mine"') } })

scenario('cache_script', function () dofile('conf/cache_script.lua') end, {
	{ 'pinned.example.com', 'A', anything, function ()
		match(cache_report(), '^%d+ entries, %d+ reads, %d+ hits, %d+%.%d %% full$')
		local total
		forget('example.com', function (n) total = n end)
		event.after(30, guard(function () check(total == nil or total >= 0) end))
	end, wait = 60 },
	{ 'pinned.example.com', 'A', answers() },
})

scenario('night', function () dofile('conf/night.lua') end, {
	{ 'chess.games.example', 'A', anything, function () is_night = true; tick() end },
	{ 'chess.games.example', 'A', rcode_is('NXDOMAIN'), function () is_night = false; tick() end },
	{ 'chess.games.example', 'A', function (pkt) check(pkt:rcode() ~= kres.rcode.NXDOMAIN) end },
})

scenario('redirect', function () dofile('conf/redirect.lua') end, {
	{ 'intranet.example', 'A', answers('intranet.example. 7 A 192.0.2.80') },
	{ 'a.legacy.example', 'HTTPS', rcode_is('NXDOMAIN') },
})

scenario('guests', function () dofile('conf/guests.lua') end, {
	{ 'www.example.net', 'A', function (_, req) same(req.options.NO_CACHE, true) end, how = { addr = '198.51.100.7' } },
	{ 'www.example.net', 'A', function (_, req) same(req.options.NO_CACHE, false) end },
})

scenario('acl', function () dofile('conf/acl.lua') end, {
	{ 'www.example.net', 'A', answers(WWW) },
	{ 'www.example.net', 'A', rcode_is('REFUSED'), how = { addr = '203.0.113.5' } },
	{ 'www.example.net', 'A', answers(WWW), how = { addr = '2001:db8:7::1' } },
	{ 'www.example.net', 'A', rcode_is('REFUSED'), how = { addr = '2001:db9::1' } },
})

-- ---- other processes: property calls over the control socket, and all instances at once ----

test('properties over the control socket, map()', function (done)
	scenarios.control, scenarios.map = true, true
	modules = { 'stats', 'nx_counter' }
	worker.control_path = env.TEST_FOLDER .. '/control/'
	local path = worker.control_path .. 'me'
	os.execute('mkdir -p control')
	net.listen(path, nil, { kind = 'control' })
	worker.coroutine(guard(function ()
		local socket = require('cqueues.socket').connect({ path = path })
		socket:setmode('bn', 'bn')
		same(socket:read(2), '> ')
		local function call(line)
			socket:write(line .. '\n')
			local head = socket:read(4)
			return socket:read(head:byte(3) * 256 + head:byte(4))
		end
		socket:write('__binary\n')
		match(call("stats.set('mine 5')"), '^[^\n]*$')
		same(call("stats['mine']"), '5')
		match(call('tojson(nx_counter.top())'), '^\'')
		match(call('nx_counter.no_such()'), 'nil value')
		socket:close()
		same(map('worker.pid'), { worker.pid, n = 1 })
		done()
	end))
end)

test('every snippet has a scenario, and there are enough of them', function ()
	local count = 0
	for path in io.popen('ls kres_modules/*.lua conf/*.lua'):lines() do
		local name = path:match('([%w_]+)%.lua$')
		check(scenarios[name], name)
		count = count + 1
	end
	check(count + 2 >= 30, count)
end)
