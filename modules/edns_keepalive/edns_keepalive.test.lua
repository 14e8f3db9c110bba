-- SPDX-License-Identifier: GPL-3.0-or-later
-- edns_keepalive is loaded by default.
local function sees(how, expected)
	return function (done)
		how.addr = '192.0.2.1'
		ask('localhost', 'A', function (pkt)
			same(option_of(pkt, 11), expected)
			done()
		end, how)
	end
end

test('over a stream, asked for', sees({ flags = { 'tcp' }, opt = { [11] = '' } }, '\0\100'))
test('over TLS', sees({ flags = { 'tcp', 'tls' }, opt = { [11] = '' } }, '\0\100'))
test('not asked for', sees({ flags = { 'tcp' } }, nil))
test('over UDP', sees({ opt = { [11] = '' } }, nil))
test('without EDNS', sees({ flags = { 'tcp' }, edns = false }, nil))
test('the time is that of net.tcp_in_idle()', function (done)
	net.tcp_in_idle(1250)
	sees({ flags = { 'tcp' }, opt = { [11] = '' } }, '\0\12')(function ()
		net.tcp_in_idle(10000000)
		sees({ flags = { 'tcp' }, opt = { [11] = '' } }, '\255\255')(done)
	end)
end)
