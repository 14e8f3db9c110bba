-- SPDX-License-Identifier: GPL-3.0-or-later
local kres = require('kres')
local basexx = require('basexx')

modules.unload('ta_update')
modules.unload('priming')
modules.unload('detect_time_skew')
policy.add(policy.suffix(policy.PASS, { todname('arpa') })) -- documentation prefixes are special
modules = { 'dns64' }
serve({
	ttl = 700, soa_ttl = 300,
	['four.example A'] = { '192.0.2.1', '192.0.2.255' }, ['four.example AAAA'] = {},
	['both.example A'] = { '192.0.2.2' }, ['both.example AAAA'] = { '2001:db8::1' },
	['none.example A'] = {}, ['none.example AAAA'] = {},
	['mapped.example A'] = { '192.0.2.3' }, ['mapped.example AAAA'] = { '::ffff:192.0.2.9' },
	['mixed.example A'] = { '192.0.2.4' }, ['mixed.example AAAA'] = { '2001:db8::1', '::ffff:192.0.2.9' },
	['form.example A'] = { '192.0.2.33' }, ['form.example AAAA'] = { '::ffff:192.0.2.9' },
	['gone.example'] = kres.rcode.NXDOMAIN,
	['9.2.0.192.in-addr.arpa PTR'] = { 'host.example.' },
})
local CLIENT = { addr = '192.0.2.1' }

local function sees(name, rtype, how, expected, ede)
	return function (done)
		ask(name, rtype, function (pkt)
			same(pkt:rcode(), expected.rcode or 0)
			same(records(pkt), { unpack(expected) })
			same(ede_of(pkt), ede)
			done()
		end, how)
	end
end

test('names without AAAA get them', sees('four.example', 'AAAA', CLIENT,
	{ 'four.example. 300 AAAA 64:ff9b::c000:201', 'four.example. 300 AAAA 64:ff9b::c000:2ff' },
	'4 BHD4: DNS64 synthesis'))
test('the SOA of the denial stays', function (done)
	ask('four.example', 'AAAA', function (pkt)
		same(#records(pkt, 'AUTHORITY'), 1)
		check(not pkt:ad())
		done()
	end, CLIENT)
end)
test('names with AAAA keep them', sees('both.example', 'AAAA', CLIENT, { 'both.example. 700 AAAA 2001:db8::1' }))
test('other types are not touched', sees('four.example', 'A', CLIENT,
	{ 'four.example. 700 A 192.0.2.1', 'four.example. 700 A 192.0.2.255' }))
test('no address at all', sees('none.example', 'AAAA', CLIENT, {}))
test('NXDOMAIN is passed on', sees('gone.example', 'AAAA', CLIENT, { rcode = 3 }))
test('CD gets the plain answer', sees('four.example', 'AAAA', { addr = '192.0.2.1', cd = true }, {}))
test('DNS64_DISABLE', sees('four.example', 'AAAA', { addr = '192.0.2.1', options = { 'DNS64_DISABLE' } }, {}))
test('mapped addresses count as none', sees('mapped.example', 'AAAA', CLIENT,
	{ 'mapped.example. 600 AAAA 64:ff9b::c000:203' }, '4 BHD4: DNS64 synthesis'))
test('one excluded address excludes the set', sees('mixed.example', 'AAAA', CLIENT,
	{ 'mixed.example. 600 AAAA 64:ff9b::c000:204' }, '4 BHD4: DNS64 synthesis'))

local PREFIX = '0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.b.9.f.f.4.6.0.0.ip6.arpa.'
local HOST = '9.0.2.0.0.0.0.c.' .. PREFIX
test('reverse names lead to those of IPv4', sees(HOST, 'PTR', CLIENT,
	{ HOST .. ' 60 CNAME 9.2.0.192.in-addr.arpa.', '9.2.0.192.in-addr.arpa. 700 PTR host.example.' }))
test('the alias itself', sees(HOST, 'CNAME', CLIENT, { HOST .. ' 60 CNAME 9.2.0.192.in-addr.arpa.' }))
test('shorter reverse names exist', sees('0.c.' .. PREFIX, 'PTR', CLIENT, {}))
test('longer reverse names do not', sees('1.' .. HOST, 'PTR', CLIENT, { rcode = 3 }))

test('hints are translated, too', function (done)
	modules.load('hints > iterate')
	hints.set('hint.example 192.0.2.8')
	ask('hint.example', 'AAAA', function (pkt)
		modules.unload('hints')
		same(records(pkt), { 'hint.example. 5 AAAA 64:ff9b::c000:208' })
		done()
	end, CLIENT)
end)

test('configuration', function (done)
	dns64.config({ prefix = '2001:db8:64::', rev_ttl = 300, exclude_subnets = { '2001:db8::/32' } })
	same({ #dns64.proxy, dns64.rev_ttl, #dns64.exclude_subnets }, { 16, 300, 1 })
	same(dns64.rev_suffix, todname('0.0.0.0.0.0.0.0.0.0.0.0.4.6.0.0.8.b.d.0.1.0.0.2.ip6.arpa'))
	ask('both.example', 'AAAA', function (pkt)
		same(records(pkt), { 'both.example. 600 AAAA 2001:db8:64::c000:202' })
		dns64.config('2001:db8:65::')
		ask('four.example', 'AAAA', function (pkt2)
			same(records(pkt2)[1], 'four.example. 300 AAAA 2001:db8:65::c000:201')
			dns64.config()
			done()
		end, CLIENT)
	end, CLIENT)
end)

test('bad configuration is told', function ()
	boom(dns64.config, { '192.0.2.1' }, '%[dns64%] "192.0.2.1" is not a valid IPv6 address')
	boom(dns64.config, { { prefix = 'x' } }, '%[dns64%] "x" is not a valid IPv6 address')
	boom(dns64.config, { { exclude_subnets = 'x' } }, '%[dns64%] .exclude_subnets is not a table')
	boom(dns64.config, { { exclude_subnets = { '192.0.2.0/24' } } },
		'%[dns64%] failed to parse IPv6 subnet: "192.0.2.0/24"')
	boom(dns64.config, { { exclude_subnets = { '::/129' } } }, '%[dns64%] failed to parse IPv6 subnet: "::/129"')
	same(dns64.rev_ttl, 60) -- nothing of it came in force
end)

-- RFC 6052 section 2.4
local FORMS = {
	['2001:db8::/32'] = '2001:db8:c000:221::', ['2001:db8:100::/40'] = '2001:db8:1c0:2:21::',
	['2001:db8:122::/48'] = '2001:db8:122:c000:2:2100::', ['2001:db8:122:300::/56'] = '2001:db8:122:3c0:0:221::',
	['2001:db8:122:344::/64'] = '2001:db8:122:344:c0:2:2100:0', ['2001:db8:122:344::/96'] = '2001:db8:122:344::c000:221',
	['2001:db8:122:344::'] = '2001:db8:122:344::c000:221',
}

local function reverse_of(text)
	local labels = {}
	for hex in basexx.to_hex(kres.str2ip(text)):lower():gmatch('%x') do table.insert(labels, 1, hex) end
	return table.concat(labels, '.') .. '.ip6.arpa.'
end

for prefix, addr in pairs(FORMS) do
	test('the form of RFC 6052, ' .. prefix, function (done)
		dns64.config(prefix)
		ask('form.example', 'AAAA', function (pkt)
			same(records(pkt)[1], kres.rr2str({ owner = todname('form.example'), ttl = 600, class = 1,
				type = kres.type.AAAA, rdata = kres.str2ip(addr) }):gsub('%s+', ' '))
			local name = reverse_of(addr)
			ask(name, 'CNAME', function (back)
				same(records(back), { name .. ' 60 CNAME 33.2.0.192.in-addr.arpa.' })
				ask('1.' .. name, 'PTR', function (longer)
					same(longer:rcode(), kres.rcode.NXDOMAIN)
					ask(name:sub(5), 'PTR', function (shorter)
						same({ shorter:rcode(), #records(shorter) }, { 0, 0 })
						done()
					end, CLIENT)
				end, CLIENT)
			end, CLIENT)
		end, CLIENT)
	end)
end

test('several prefixes', function (done)
	dns64.config({ prefix = { '64:ff9b::', '2001:db8:122::/48' } })
	ask('form.example', 'AAAA', function (pkt)
		same(records(pkt), { 'form.example. 600 AAAA 2001:db8:122:c000:2:2100::',
			'form.example. 600 AAAA 64:ff9b::c000:221' })
		same(#dns64.prefixes, 2)
		ask(reverse_of('2001:db8:122:c000:2:2100::'), 'CNAME', function (back)
			same(#records(back), 1)
			done()
		end, CLIENT)
	end, CLIENT)
end)

test('how clients find the prefix (RFC 8880)', function (done)
	dns64.config({ prefix = '64:ff9b::' })
	ask('IPv4only.arpa', 'AAAA', function (pkt)
		same(records(pkt), { 'ipv4only.arpa. 86400 AAAA 64:ff9b::c000:aa', 'ipv4only.arpa. 86400 AAAA 64:ff9b::c000:ab' })
		ask('ipv4only.arpa', 'A', function (pkt2)
			same(records(pkt2), { 'ipv4only.arpa. 86400 A 192.0.0.170', 'ipv4only.arpa. 86400 A 192.0.0.171' })
			ask('170.0.0.192.in-addr.arpa', 'PTR', function (pkt3)
				same(records(pkt3), { '170.0.0.192.in-addr.arpa. 86400 PTR ipv4only.arpa.' })
				ask('ipv4only.arpa', 'MX', function (pkt4)
					same({ pkt4:rcode(), #records(pkt4) }, { 0, 0 })
					done()
				end, CLIENT)
			end, CLIENT)
		end, CLIENT)
	end, CLIENT)
end)

test('bad prefixes are told', function ()
	boom(dns64.config, { '64:ff9b::/95' }, '32, 40, 48, 56, 64 or 96')
	boom(dns64.config, { '64:ff9b::/' }, 'not a valid IPv6 address')
	boom(dns64.config, { { prefix = {} } }, 'at least one prefix')
end)

test('loading it is enough', function (done)
	modules.unload('dns64')
	modules.load('dns64')
	ask('four.example', 'AAAA', function (pkt)
		same(#records(pkt), 2)
		done()
	end, CLIENT)
end)
