-- SPDX-License-Identifier: GPL-3.0-or-later
local PIN = 'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA='

test('certificates', function ()
	same(select('#', net.tls()), 0)
	boom(net.tls, { 'one.pem' }, 'ERROR: ')
	boom(net.tls, { 5, 6 }, 'ERROR: ')
	boom(net.tls, { 'missing.pem', 'missing.key' }, 'ERROR: ')
	same(select('#', net.tls()), 0)
	local made = os.execute('certtool --generate-privkey --key-type=ecdsa --outfile k.pem >/dev/null 2>&1 && '
		.. 'echo cn=x > t && certtool --generate-self-signed --load-privkey k.pem --template t --outfile c.pem '
		.. '>/dev/null 2>&1')
	if made == 0 then
		same(net.tls('c.pem', 'k.pem'), true)
		same(net.tls(), { cert_file = 'c.pem', key_file = 'k.pem' })
		boom(net.tls, { 'c.pem', 'c.pem' }, 'ERROR: ')
		same(net.tls(), { cert_file = 'c.pem', key_file = 'k.pem' })
	end
end)

test('secret of session tickets', function ()
	same(net.tls_sticket_secret(), true)
	same(net.tls_sticket_secret(('x'):rep(32)), true)
	boom(net.tls_sticket_secret, { ('x'):rep(31) }, 'ERROR: .*32')
	boom(net.tls_sticket_secret, { {} }, 'ERROR: ')
	local f = io.open('secret', 'w')
	f:write(('\0s'):rep(600))
	f:close()
	same(net.tls_sticket_secret_file('secret'), true)
	boom(net.tls_sticket_secret_file, { 'missing' }, 'ERROR: .*missing')
	boom(net.tls_sticket_secret_file, {}, 'ERROR: ')
end)

test('servers that we ask', function ()
	same(net.tls_client(), {})
	net.tls_client({ '192.0.2.1', pin_sha256 = PIN })
	net.tls_client({ '2001:db8::1@8853', pin_sha256 = { PIN } })
	net.tls_client({ '192.0.2.2', insecure = true })
	local by_addr = {}
	for _, entry in ipairs(net.tls_client()) do by_addr[entry[1]] = entry end
	same(by_addr['192.0.2.1#00853'].pin_sha256, { PIN })
	same(by_addr['2001:db8::1#08853'].pin_sha256, { PIN })
	same(by_addr['192.0.2.2#00853'].insecure, true)
	for _, bad in ipairs({
		{ '192.0.2.9' }, { '192.0.2.9', nosuch = true, insecure = true }, { 'x', insecure = true }, { insecure = true },
		{ '192.0.2.9', pin_sha256 = 'AAAA' }, { '192.0.2.9', pin_sha256 = '****' }, { '192.0.2.9', pin_sha256 = 5 },
		{ '192.0.2.9', pin_sha256 = PIN, hostname = 'a' }, { '192.0.2.9', ca_file = 'x.pem' },
		{ '192.0.2.9', ca_file = 'missing.pem', hostname = 'a' }, { '192.0.2.9', hostname = '' },
		{ '192.0.2.9', insecure = true, hostname = 'a' },
	}) do
		boom(net.tls_client, { bad }, 'ERROR: ')
	end
	boom(net.tls_client, { 'x' }, 'ERROR: Invalid argument$')
	same(#net.tls_client(), 3)
	same(net.tls_client_clear('192.0.2.1'), true)
	boom(net.tls_client_clear, { '192.0.2.1' }, 'ERROR: No such file or directory$')
	boom(net.tls_client_clear, { 'x' }, 'ERROR: ')
	same(#net.tls_client(), 2)
end)

test('headers of DoH', function ()
	same(net.doh_headers(), {})
	same(net.doh_headers({ 'X-Forwarded-For', ':path' }), nil)
	same(#net.doh_headers(), 2)
	net.doh_headers('user-agent')
	same(#net.doh_headers(), 1)
	boom(net.doh_headers, { 5 }, 'ERROR: ')
	boom(net.doh_headers, { { 5 } }, 'ERROR: ')
	net.doh_headers({})
	same(net.doh_headers(), {})
end)

test('TLS endpoints', function ()
	net.listen('127.0.0.1', 20853, { kind = 'tls' })
	net.listen('127.0.0.1', 20443, { kind = 'doh2' })
	net.listen('127.0.0.1', 20854, { tls = true })
	local kinds = {}
	for _, e in ipairs(net.list()) do kinds[e.transport.port] = e.kind .. '/' .. e.transport.protocol end
	same(kinds, { [20853] = 'tls/tcp', [20443] = 'doh2/tcp', [20854] = 'tls/tcp' })
end)
