-- SPDX-License-Identifier: GPL-3.0-or-later
local kres = require('kres')

modules.unload('ta_update')
modules.unload('priming')
modules.unload('detect_time_skew')
modules = { 'hints > iterate' }
local CLIENT = { addr = '192.0.2.1' }

local function write(path, text)
	local file = io.open(path, 'w')
	file:write(text)
	file:close()
end

local function sees(name, rtype, expected)
	return function (done)
		ask(name, rtype, function (pkt)
			same({ pkt:rcode(), pkt:aa(), pkt:ad(), ede_of(pkt) }, { 0, false, false, nil })
			same(records(pkt), expected)
			local soa = string.format('%s %d SOA %s nobody.invalid. 1 3600 1200 604800 %d',
				kres.dname2str(todname(name)), hints.ttl(), kres.dname2str(todname(name)), hints.ttl())
			same(records(pkt, 'AUTHORITY'), #expected == 0 and { soa } or {})
			done()
		end, CLIENT)
	end
end

test('set and get', function ()
	same(hints.set('Printer.lan 192.168.1.20'), { result = true })
	hints['printer.lan'] = '2001:db8::20'
	same(hints.get('printer.lan'), { '192.168.1.20', '2001:db8::20' })
	same(hints['PRINTER.lan'], { '192.168.1.20', '2001:db8::20' })
	same(hints.get(), { ['printer.lan.'] = { '192.168.1.20', '2001:db8::20' } })
	same(hints.get('other.lan'), nil)
	same(hints['other.lan'], nil)
	same(hints.set('bad address'), { result = false })
	same(hints.set('a..b 192.0.2.1'), { result = false })
	same(hints.set('x 192.0.2.1/24'), { result = false })
	same(hints.set('alone'), { result = false })
	same(hints.set(), nil)
end)

test('A', sees('printer.lan', 'A', { 'printer.lan. 5 A 192.168.1.20' }))
test('AAAA', sees('printer.lan', 'AAAA', { 'printer.lan. 5 AAAA 2001:db8::20' }))
test('other types of a known name', sees('printer.lan', 'MX', {}))
test('the reverse name', function (done)
	local pass = policy.add(policy.suffix(policy.PASS, { todname('arpa') }))
	sees('20.1.168.192.in-addr.arpa', 'PTR', { '20.1.168.192.in-addr.arpa. 5 PTR printer.lan.' })(function ()
		policy.del(pass.id)
		done()
	end)
end)
test('the last name of an address has its PTR', function (done)
	hints.set('first.lan 198.18.0.1')
	hints.set('second.lan 198.18.0.1')
	hints.set('first.lan 198.18.0.1')
	sees('1.0.18.198.in-addr.arpa', 'PTR', { '1.0.18.198.in-addr.arpa. 5 PTR first.lan.' })(function ()
		sees('1.0.18.198.in-addr.arpa', 'TXT', {})(done)
	end)
end)

test('ttl', function (done)
	same(hints.ttl(), 5)
	same(hints.ttl(60), 60)
	same({ hints.ttl(-1), hints.ttl(1.5), hints.ttl('x'), hints.ttl() }, { 60, 60, 60, 60 })
	same(hints.ttl(0), 0)
	hints.ttl(60)
	sees('printer.lan', 'A', { 'printer.lan. 60 A 192.168.1.20' })(done)
end)

test('use_nodata', function (done)
	same(hints.use_nodata('nonsense'), { result = false })
	same(hints.use_nodata(false), { result = true })
	serve({ ['printer.lan MX'] = { '10 mail.lan.' }, ['onlyfour.lan AAAA'] = { '2001:db8::4' } })
	hints.set('onlyfour.lan 192.0.2.4')
	sees('printer.lan', 'MX', { 'printer.lan. 100 MX 10 mail.lan.' })(function ()
		sees('onlyfour.lan', 'AAAA', { 'onlyfour.lan. 100 AAAA 2001:db8::4' })(function ()
			modules.unload('test_zone')
			same(hints.use_nodata(true), { result = true })
			sees('onlyfour.lan', 'AAAA', {})(done)
		end)
	end)
end)

test('del', function ()
	hints.set('two.lan 192.0.2.1')
	hints.set('two.lan 192.0.2.2')
	same(hints.del('TWO.lan 192.0.2.1'), { result = true })
	same(hints['two.lan'], { '192.0.2.2' })
	same(hints.del('two.lan 192.0.2.1'), { result = false })
	same(hints.del('two.lan'), { result = true })
	same(hints['two.lan'], nil)
	same(hints.del('two.lan'), { result = false })
	same(hints.del(), nil)
end)

test('aliases are followed to hints', function (done)
	serve({ ['alias.example CNAME'] = { 'printer.lan.' } })
	package.loaded['kres_modules.test_alias'] = { layer = { produce = function (_, req, pkt)
		local qry = req:current()
		if pkt:qr() or qry:name() ~= todname('www.example') then return nil end
		pkt:recycle()
		pkt:question(qry:name(), qry.sclass, qry.stype)
		pkt:qr(true)
		pkt:aa(true)
		pkt:begin(kres.section.ANSWER)
		pkt:put(qry:name(), 9, qry.sclass, kres.type.CNAME, todname('printer.lan'))
		pkt.parsed = pkt.size
		qry.flags.CACHED, qry.flags.NO_MINIMIZE, qry.flags.DNSSEC_WANT = true, true, false
		return kres.DONE
	end } }
	modules.load('test_alias > iterate')
	sees('www.example', 'A', { 'printer.lan. 60 A 192.168.1.20', 'www.example. 9 CNAME printer.lan.' })(function ()
		modules.unload('test_alias')
		modules.unload('test_zone')
		done()
	end)
end)

test('hosts files', function ()
	write('hosts', '# comment\n192.0.2.10 host.lan alias.lan\tother.lan # more\n\nnonsense line\n'
		.. '2001:db8::a host.lan\n192.0.2.11\n')
	same(hints.add_hosts('hosts'), { result = true })
	same(hints['host.lan'], { '192.0.2.10', '2001:db8::a' })
	same(hints['other.lan'], { '192.0.2.10' })
	same(hints['line'], nil)
	same(hints.add_hosts('/nonexistent'), { result = false })
	same(hints['printer.lan'], { '192.168.1.20', '2001:db8::20' }) -- nothing is forgotten
end)
test('hosts files that are not', function ()
	local many = {}
	for i = 1, 100 do many[i] = 'n' .. i .. '.lan' end
	write('odd', '192.0.2.20 crlf.lan\r\n192.0.2.21\t\ttabs.lan \tmore.lan\t\n192.0.2.22 ' .. table.concat(many, ' ')
		.. '\nfe80::1%lo scope.lan\n192.0.2.256 bad.lan\n\0\1\2\255 binary\n192.0.2.23 ' .. ('x'):rep(64) .. '.lan\n'
		.. '192.0.2.24 ' .. ('long.'):rep(60) .. 'lan\n' .. ('y'):rep(100000) .. '\n192.0.2.25 last.lan')
	same(hints.add_hosts('odd'), { result = true })
	same({ hints['crlf.lan'], hints['tabs.lan'], hints['more.lan'], hints['n1.lan'], hints['n100.lan'],
		hints['last.lan'] },
		{ { '192.0.2.20' }, { '192.0.2.21' }, { '192.0.2.21' }, { '192.0.2.22' }, { '192.0.2.22' }, { '192.0.2.25' } })
	same({ hints['bad.lan'], hints['binary'], hints['scope.lan'] }, {})
end)
test('the canonical name has the PTR', function (done)
	local pass = policy.add(policy.suffix(policy.PASS, { todname('arpa') }))
	sees('10.2.0.192.in-addr.arpa', 'PTR', { '10.2.0.192.in-addr.arpa. 60 PTR host.lan.' })(function ()
		policy.del(pass.id)
		done()
	end)
end)

test('config starts anew', function ()
	same(hints.config('hosts'), 0)
	same(hints['printer.lan'], nil)
	same(hints['alias.lan'], { '192.0.2.10' })
	same(hints.ttl(), 5)
	same(hints.config('/nonexistent'), -2)
	same(hints.get(), {})
	same(hints.config(), 0)
end)

test('root servers', function ()
	check(hints.root()['a.root-servers.net.'])
	local one = hints.root({ ['x.root.'] = '192.0.2.1', ['y.root.'] = { '192.0.2.2', '2001:db8::2', 'nonsense' } })
	same(one, { ['x.root.'] = { '192.0.2.1' }, ['y.root.'] = { '192.0.2.2', '2001:db8::2' } })
	same(hints.root(), one)
	write('root.hints', '. 3600 NS a.example.\na.example. 3600 A 192.0.2.3\nb.example. AAAA 2001:db8::3\n')
	same(hints.root_file('root.hints'), '')
	same(hints.root(), { ['a.example.'] = { '192.0.2.3' }, ['b.example.'] = { '2001:db8::3' } })
	boom(hints.root_file, { '/nonexistent' }, "error when opening '/nonexistent': failed to open root hints file")
	hints.root_file()
	check(hints.root()['m.root-servers.net.'])
end)

test('loaded in another place', function (done)
	modules.unload('hints')
	modules.load('hints')
	local list = modules.list()
	for i, name in ipairs(list) do
		if name == 'iterate' then same(list[i + 1], 'hints') end
	end
	hints.set('late.lan 192.0.2.12')
	sees('late.lan', 'A', { 'late.lan. 5 A 192.0.2.12' })(done)
end)
