-- SPDX-License-Identifier: GPL-3.0-or-later
local ffi = require('ffi')

local function kinds_at(port)
	local out = {}
	for _, e in ipairs(net.list()) do
		if e.transport.port == port then
			out[#out + 1] = e.kind .. '/' .. e.transport.protocol .. '/' .. e.transport.ip
		end
	end
	table.sort(out)
	return out
end

test('listen, list, close', function ()
	same(net.listen('127.0.0.1', 20530), true)
	same(kinds_at(20530), { 'dns/tcp/127.0.0.1', 'dns/udp/127.0.0.1' })
	match(boom(net.listen, { '127.0.0.1', 20530 }), 'ERROR: .*127.0.0.1@20530.*Address already in use')
	same(net.listen({ '127.0.0.1', { '127.0.0.2' } }, 20531), true)
	same(#kinds_at(20531), 4)
	same(net.listen({ addr = { '127.0.0.1' } }, 20532, { freebind = true }), true)
	for _, e in ipairs(net.list()) do
		if e.transport.port == 20532 then same(e.transport.freebind, true) end
	end
	same(net.close('127.0.0.1', 20530), true)
	same(kinds_at(20530), {})
	same(net.close('127.0.0.1', 20530), false)
	same(net.close('192.0.2.77'), false)
	same(net.close('127.0.0.1'), true)
	same(net.close('127.0.0.2'), true)
	same(net.list(), {})
	boom(net.close, {}, 'ERROR: ')
	boom(net.close, { 5 }, 'ERROR: ')
end)

test('bad arguments of listen', function ()
	boom(net.listen, {}, 'ERROR: ')
	boom(net.listen, { 5 }, 'ERROR: ')
	boom(net.listen, { '127.0.0.1', 'x' }, 'ERROR: ')
	boom(net.listen, { '127.0.0.1', 65536 }, 'ERROR: ')
	boom(net.listen, { '127.0.0.1', -1 }, 'ERROR: ')
	boom(net.listen, { '127.0.0.1', 5.5 }, 'ERROR: ')
	boom(net.listen, { 'not an address', 20533 }, 'ERROR: ')
	boom(net.listen, { '192.0.2.1', 20533 }, 'ERROR: .*192.0.2.1.*Cannot assign')
	boom(net.listen, { '127.0.0.1', 20533, { kind = 'doh' } }, 'ERROR: .*doh_legacy')
	boom(net.listen, { '127.0.0.1', 20533, { kind = 5 } }, 'ERROR: ')
	boom(net.listen, { '127.0.0.1', 20533, { nic_queue = 1 } }, 'ERROR: .*nic_queue')
	boom(net.listen, { env.TEST_FOLDER .. '/sock' }, 'ERROR: .*kind')
	same(net.list(), {})
end)

test('UNIX sockets', function ()
	local path = env.TEST_FOLDER .. '/sock'
	same(net.listen(path, nil, { kind = 'control' }), true)
	same(net.list(), { { kind = 'control', transport = { family = 'unix', protocol = 'stream', path = path } } })
	check(io.popen('test -S ' .. path .. ' && echo yes'):read('*a') == 'yes\n')
	same(net.close(path), true)
	check(io.popen('test -e ' .. path .. ' || echo gone'):read('*a') == 'gone\n')
end)

test('foreign kinds', function ()
	-- covers: net.register_endpoint_kind
	local calls = {}
	local function serve(open, ud, addr)
		local ep = ffi.cast('struct endpoint **', ud)[0]
		calls[#calls + 1] = { open, ffi.string(ep.flags.kind), addr, ep.fd >= 0 }
	end
	same(net.register_endpoint_kind('mine', serve), nil)
	boom(net.register_endpoint_kind, { 'mine', serve }, 'ERROR: ')
	boom(net.register_endpoint_kind, { 'dns', serve }, 'ERROR: ')
	boom(net.register_endpoint_kind, { 'control', serve }, 'ERROR: ')
	boom(net.register_endpoint_kind, { 'unheard' }, 'ERROR: ')
	boom(net.register_endpoint_kind, { 'x', 5 }, 'ERROR: ')
	net.listen('127.0.0.1', 20534, { kind = 'mine' })
	same(calls[1], { true, 'mine', '127.0.0.1#20534', true })
	net.close('127.0.0.1', 20534)
	same(calls[2], { false, 'mine', '127.0.0.1#20534', true })
	net.register_endpoint_kind('mine')
	boom(net.listen, { '127.0.0.1', 20534, { kind = 'mine' } }, 'ERROR: ')
end)

test('interfaces', function ()
	local lo = net.interfaces().lo
	match(lo.mac, '^%x%x:%x%x:%x%x:%x%x:%x%x:%x%x$')
	check(table.concat(lo.addr, ' '):find('127.0.0.1', 1, true))
	same(net.lo, lo)
	same(net.no_such_interface, nil)
end)

test('switches and numbers', function ()
	same({ net.ipv4, net.ipv6 }, { true, true })
	net.ipv6 = false
	same({ net.ipv6, option('NO_IPV6') }, { false, true })
	net = { ipv6 = true }
	same(net.ipv6, true)
	same({ net.bufsize() }, { 1232, 1232 })
	same(net.bufsize(4096), nil)
	same({ net.bufsize() }, { 4096, 4096 })
	net.bufsize(1232, 1400)
	same({ net.bufsize() }, { 1232, 1400 })
	for _, bad in ipairs({ { 511 }, { 65536 }, { 1232, 0 }, { 'x' }, { 0 / 0 } }) do
		boom(net.bufsize, bad, 'ERROR: ')
	end
	same({ net.bufsize() }, { 1232, 1400 })
	same(net.tcp_pipeline(), 100)
	same(net.tcp_pipeline(50), 50)
	same(net.tcp_pipeline('x'), 50)
	boom(net.tcp_pipeline, { 65536 }, 'ERROR: ')
	boom(net.tcp_pipeline, { -1 }, 'ERROR: ')
	same(net.tcp_in_idle(), 10000)
	same(net.tcp_in_idle(30 * sec), true)
	same(net.tcp_in_idle(), 30000)
	same(tonumber(ffi.C.the_worker.engine.net.tcp.in_idle_timeout), 30000)
	boom(net.tcp_in_idle, { 0 }, 'ERROR: ')
	boom(net.tcp_in_idle, { 'x' }, 'ERROR: ')
	same(net.tls_handshake_timeout(), 6000)
	same(net.tls_handshake_timeout(5000), true)
	boom(net.tls_handshake_timeout, { -5 }, 'ERROR: ')
	same(net.tls_padding(), true)
	same(net.tls_padding(128), true)
	same(net.tls_padding(), 128)
	net.tls_padding(false)
	same(net.tls_padding(), false)
	net.tls_padding(1)
	same(net.tls_padding(), false)
	net.tls_padding(true)
	for _, bad in ipairs({ { 'x' }, { 1233 }, { -1 }, { {} } }) do boom(net.tls_padding, bad, 'ERROR: ') end
end)

test('outgoing addresses', function ()
	same(net.outgoing_v4(), nil)
	same(net.outgoing_v4('192.0.2.53'), true)
	same(net.outgoing_v4(), '192.0.2.53')
	same(net.outgoing_v4(nil), true)
	same(net.outgoing_v4(), nil)
	same(net.outgoing_v6('2001:db8::1'), true)
	same(net.outgoing_v6(), '2001:db8::1')
	net.outgoing_v6(nil)
	boom(net.outgoing_v4, { '2001:db8::1' }, 'ERROR: ')
	boom(net.outgoing_v6, { '192.0.2.1' }, 'ERROR: ')
	boom(net.outgoing_v4, { 5 }, 'ERROR: ')
end)

test('PROXY peers', function ()
	same(net.proxy_allowed(), {})
	same(net.proxy_allowed({ '198.51.100.7/24', '2001:db8:1::1', '192.0.2.1' }), nil)
	local list = net.proxy_allowed()
	table.sort(list)
	same(list, { '192.0.2.1/32', '198.51.100.0/24', '2001:db8:1::1/128' })
	net.proxy_allowed('192.0.2.1/32')
	same(net.proxy_allowed(), { '192.0.2.1/32' })
	net.proxy_allowed({ '0.0.0.0/0', '192.0.2.1' })
	same(net.proxy_allowed(), { '0.0.0.0/0' })
	boom(net.proxy_allowed, { 'x' }, 'ERROR: ')
	boom(net.proxy_allowed, { { '1.2.3.4/33' } }, 'ERROR: ')
	boom(net.proxy_allowed, { 5 }, 'ERROR: ')
	net.proxy_allowed({})
	same(net.proxy_allowed(), {})
end)

test('tunables without a function', function ()
	local n = ffi.C.the_worker.engine.net
	same(n.tcp.user_timeout, 1000)
	same(n.tcp_backlog, 128)
	n.listen_udp_buflens.rcv = 4 * MB
	same(n.listen_udp_buflens.rcv, 4 * MB)
	same(n.listen_tcp_buflens.snd, 0)
end)
