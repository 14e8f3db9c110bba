-- SPDX-License-Identifier: GPL-3.0-or-later
local ffi = require('ffi')
local C = ffi.C

local function rr(owner, rtype, rdata, ttl)
	local set = kres.rrset(todname(owner), rtype, kres.class.IN, ttl or 300)
	for _, one in ipairs(type(rdata) == 'table' and rdata or { rdata }) do check(set:add_rdata(one, #one)) end
	return set
end

test('constants', function ()
	-- covers: kres.tostring
	check(require('kres') == kres)
	same({ kres.CONSUME, kres.PRODUCE, kres.DONE, kres.FAIL, kres.YIELD }, { 1, 2, 4, 8, 16 })
	same(kres.type.AAAA, 28)
	same(kres.type.TYPE1234, 1234)
	same(kres.type.NOSUCH, nil)
	same(kres.type.TYPE65536, nil)
	same(kres.tostring.type[28], 'AAAA')
	same(kres.tostring.type[1234], 'TYPE1234')
	same(kres.tostring.class[1], 'IN')
	same(kres.tostring.rcode[3], 'NXDOMAIN')
	same(kres.tostring.opcode[0], 'QUERY')
	same(kres.tostring.section[2], 'ADDITIONAL')
	same(kres.tostring.rank[32], 'SECURE')
	same(kres.tostring.extended_error[15], 'BLOCKED')
	same(kres.tostring.extended_eror[15], 'BLOCKED')
	same(kres.extended_error.NONE, -1)
	for name, number in pairs(kres.rank) do same(C['KR_RANK_' .. name] + 0, number) end
end)

test('names', function ()
	-- covers: kres.str2dname kres.dname2str kres.dname2wire
	same(kres.str2dname('Example.COM'), '\7example\3com\0')
	same(todname('example.com.'), '\7example\3com\0')
	same(kres.str2dname('.'), '\0')
	same(kres.str2dname('a\\046b.\\255'), '\3a.b\1\255\0')
	for _, bad in ipairs({ '', 'a..b', ('a'):rep(64), ('a.'):rep(128), '..', '\\256', '\\', 'a\\25' }) do
		same(kres.str2dname(bad), nil, bad)
	end
	same(kres.str2dname(nil), nil)
	same(kres.str2dname({}), nil)
	same(kres.dname2str('\7example\3com\0'), 'example.com.')
	same(kres.dname2str('\0'), '.')
	same(kres.dname2str(nil), nil)
	for _, bad in ipairs({ '', '\1', '\64' .. ('a'):rep(64) .. '\0', '\255', ('\1a'):rep(200), '\3com' }) do
		same(kres.dname2str(bad), nil)
	end
	same(kres.dname2wire('\0'), '\0')
	same(kres.dname2wire(nil), nil)
	local set = rr('a.example', kres.type.A, '\1\2\3\4')
	same(kres.dname2wire(set._owner), '\1a\7example\0')
	same(kres.dname2str(set._owner), 'a.example.')
end)

test('addresses', function ()
	-- covers: kres.str2ip kres.sockaddr_t sockaddr:len sockaddr:ip sockaddr:family sockaddr:port
	-- covers: sockaddr:tostring idiom.straddr_socket
	same(kres.str2ip('192.0.2.1'), '\192\0\2\1')
	same(#kres.str2ip('2001:db8::1'), 16)
	for _, bad in ipairs({ '', '1.2.3', '1.2.3.4/8', '1.2.3.4#53', 'x', '::1%lo' }) do
		same(kres.str2ip(bad), nil)
	end
	same(kres.str2ip(nil), nil)
	same(kres.str2ip({}), nil)
	local sa = ffi.gc(C.kr_straddr_socket('192.0.2.1', 53, nil), C.free)
	same({ tostring(sa), sa:len(), sa:family(), sa:port() }, { '192.0.2.1#00053', 4, 2, 53 })
	same(ffi.string(sa:ip(), 4), '\192\0\2\1')
	local six = ffi.gc(C.kr_straddr_socket('2001:db8::1', 853, nil), C.free)
	same({ tostring(six), six:len(), six:family(), six:port() }, { '2001:db8::1#00853', 16, 10, 853 })
	local bytes = ffi.new('char[16]')
	same(C.kr_straddr_subnet(bytes, '192.0.0.0/16'), 16)
	same(C.kr_bitcmp(bytes, sa:ip(), 16), 0)
	check(kres.sockaddr_t(ffi.cast('void *', sa)):port() == 53)
end)

test('rdata from text', function ()
	-- covers: kres.parse_rdata
	same(kres.parse_rdata({ 'A 192.0.2.1', 'TXT "x"', 'MX 10 mail' }),
		{ '\192\0\2\1', '\1x', '\0\10\4mail\0' })
	boom(kres.parse_rdata, { 'A 1.2.3.4' })
	boom(kres.parse_rdata, { { 5 } })
	boom(kres.parse_rdata, { { 'A 1.2.3' } })
	boom(kres.parse_rdata, { {}, 1 })
end)

test('RRsets', function ()
	-- covers: kres.rrset kres.rr2str rr:owner rr:ttl rr:class rr:rdata rr:rdata_pt rr:get rr:tostring
	-- covers: rr:txt_dump rr:rdcount rr:add_rdata rr:merge_rdata rr:type_covered rr:is_covered_by
	-- covers: rr:wire_size rr:txt_fields
	local set = rr('A.example', kres.type.A, { '\192\0\2\2', '\192\0\2\1', '\192\0\2\1' })
	check(ffi.istype('knot_rrset_t', set))
	same({ set:owner(), set:ttl(), set:class(), tonumber(set.type), set:rdcount() },
		{ '\1a\7example\0', 300, 1, 1, 2 })
	same({ set:rdata(0), set:rdata(1) }, { '\192\0\2\1', '\192\0\2\2' })
	same(set:rdata_pt(1).len, 4)
	same(set:get(0), { owner = '\1a\7example\0', ttl = 300, class = 1, type = 1, rdata = '\192\0\2\1' })
	same(set:tostring(0), '192.0.2.1')
	same(set:tostring(), false)
	match(set:txt_dump(), '^a%.example%.%s+300%s+IN%s+A%s+192%.0%.2%.1\n.*192%.0%.2%.2\n$')
	same(tostring(set), set:txt_dump())
	same(set:txt_fields(0), { owner = 'a.example.', ttl = 300, class = 'IN', type = 'A', rdata = '192.0.2.1' })
	same(set:class(3), 3)
	same(set:class(1), 1)
	same(set:wire_size(), 2 * (11 + 10 + 4))
	same(set:type_covered(), nil)
	boom(set.rdata, { set, 2 })
	boom(set.rdata, { set, -1 })
	boom(set.add_rdata, { set, 'x', 1, 300 })
	boom(set.owner, { 5 })
	check(set:merge_rdata(rr('a.example', kres.type.A, '\192\0\2\9')))
	same(set:rdcount(), 3)
	local empty = kres.rrset(nil, 1)
	same({ empty:owner(), empty:txt_dump(), empty:rdcount() }, { nil, '', 0 })
	same(empty:tostring(0), nil)
	local sig = rr('a.example', kres.type.RRSIG, kres.parse_rdata({
		'RRSIG A 13 2 300 20300101000000 20200101000000 12345 example. AAAA' })[1])
	same(sig:type_covered(), kres.type.A)
	check(set:is_covered_by(sig))
	check(not rr('b.example', kres.type.A, '\1\2\3\4'):is_covered_by(sig))
	boom(kres.rrset, { 'not wire' })
	same(kres.rr2str({ owner = '\1a\0', ttl = 60, type = 16, rdata = '\1x', comment = 'why' }),
		'a.\t60\tTXT\t"x" ;why')
end)

test('packets are made', function ()
	-- covers: kres.packet kres.knot_pkt_rr pkt:id pkt:qdcount pkt:ancount pkt:nscount pkt:arcount
	-- covers: pkt:rcode pkt:opcode pkt:tc pkt:aa pkt:qr pkt:rd pkt:cd pkt:ad pkt:ra pkt:dobit pkt:qname
	-- covers: pkt:qtype pkt:qclass pkt:question pkt:begin pkt:put pkt:put_rr pkt:rrsets pkt:section
	-- covers: pkt:clear_payload pkt:recycle pkt:parse pkt:towire pkt:tostring pkt:# pkt:has_wire
	-- covers: pkt:remaining_bytes pkt:resize error:code error:tostring
	local pkt = kres.packet(512)
	same(#pkt, 12)
	check(pkt:question(todname('www.example'), kres.class.IN, kres.type.AAAA))
	same({ pkt:qname(), pkt:qtype(), pkt:qclass() }, { '\3www\7example\0', 28, 1 })
	same(pkt:id(0xabcd), 0xabcd)
	same(pkt:id(), 0xabcd)
	for _, flag in ipairs({ 'rd', 'tc', 'aa', 'qr', 'cd', 'ad', 'ra' }) do
		same(pkt[flag](pkt), false, flag)
		same(pkt[flag](pkt, true), true)
		same(pkt[flag](pkt), true, flag)
	end
	same({ pkt:opcode(5), pkt:opcode(), pkt:qr(), pkt:rd(), pkt:aa(), pkt:tc() }, { 5, 5, true, true, true, true })
	pkt:tc(false)
	same({ pkt:tc(), pkt:aa(), pkt:rd() }, { false, true, true })
	same({ pkt:rcode(3), pkt:rcode(), pkt:ra(), pkt:ad() }, { 3, 3, true, true })
	check(pkt:begin(kres.section.ANSWER))
	check(pkt:put(pkt:qname(), 60, 1, 28, ('\1'):rep(16)))
	check(pkt:begin(kres.section.AUTHORITY))
	local set = rr('example', kres.type.NS, '\2ns\7example\0')
	check(pkt:put_rr(set))
	same({ pkt:qdcount(), pkt:ancount(), pkt:nscount(), pkt:arcount() }, { 1, 1, 1, 0 })
	same(pkt:section(kres.section.ANSWER)[1].rdata, ('\1'):rep(16))
	same(#pkt:rrsets(kres.section.AUTHORITY), 1)
	same(pkt:rrsets(1)[1]:owner(), '\7example\0')
	for one in pkt:each(1) do same(one:rdcount(), 1) end
	local is_good, err = pkt:begin(kres.section.ANSWER)
	same(is_good, nil)
	check(err.code < 0 and #tostring(err) > 0)
	same((pkt:begin(7)), nil)
	check(pkt:has_wire())
	check(pkt:remaining_bytes() > 300 and pkt:remaining_bytes() < 500)
	match(pkt:tostring(), 'www%.example%.')
	same(tostring(pkt), pkt:tostring())
	same(pkt:dobit(), false)
	boom(pkt.dobit, { pkt, true })
	local copy = kres.packet(#pkt, pkt:towire())
	check(copy:parse())
	same({ copy:qname(), copy:ancount(), copy:nscount(), copy:rcode() }, { '\3www\7example\0', 1, 1, 3 })
	same(copy:section(1)[1].rdata, '\2ns\7example\0')
	check(copy:clear_payload())
	same({ copy:ancount(), copy:qdcount() }, { 0, 1 })
	check(pkt:resize(600))
	same(tonumber(pkt.max_size), 600)
	check(pkt:recycle())
	same({ pkt:qdcount(), #pkt }, { 0, 12 })
	boom(kres.knot_pkt_rr, { copy.sections[0], 0 })
	boom(kres.knot_pkt_rr, { nil, 0 })
	copy:begin(kres.section.ANSWER)
	copy:put('\0', 1, 1, kres.type.A, '\1\2\3\4')
	same(kres.knot_pkt_rr(copy.sections[0], 0):rdata(0), '\1\2\3\4')
end)

test('bad packets are errors', function ()
	boom(kres.packet, { 11 })
	boom(kres.packet, { 65536 })
	boom(kres.packet, {})
	boom(kres.packet, { 100, 'short' })
	local pkt = kres.packet(20, ('\255'):rep(20))
	local is_good, err = pkt:parse()
	same(is_good, nil)
	check(#tostring(err) > 0)
	boom(pkt.rcode, { {} })
	boom(pkt.section, { pkt, 3 })
	boom(pkt.put, { pkt, nil, 1, 1, 1, 'x' })
	boom(pkt.put_rr, { pkt, 'x' })
	boom(pkt.question, { pkt, nil, 1, 1 })
	boom(kres.packet(12).rcode, { ffi.cast('knot_pkt_t *', nil) })
end)

test('flags', function ()
	-- covers: kres.mk_qflags qflags:fields
	local flags = kres.mk_qflags({ 'NO_CACHE', 'TCP' })
	same({ flags.NO_CACHE, flags.TCP, flags.STUB }, { true, true, false })
	same(kres.mk_qflags('STUB').STUB, true)
	same(kres.mk_qflags(nil).STUB, false)
	same(kres.mk_qflags(0).STUB, false)
	same(kres.mk_qflags(flags).TCP, true)
	boom(kres.mk_qflags, { 'NOSUCH' }, 'NOSUCH')
	boom(kres.mk_qflags, { 5 })
	boom(function () return flags.NOSUCH end)
	C.kr_qflags_clear(flags, kres.mk_qflags('TCP'))
	same({ flags.NO_CACHE, flags.TCP }, { true, false })
end)

test('context', function ()
	-- covers: kres.context
	local ctx = kres.context()
	same(type(ctx.options.REORDER_RR), 'boolean')
	check(ctx.downstream_opt_rr ~= nil)
	check(ctx.cache.ttl_max > 0)
	boom(function () return ctx.modules end)
end)

test('LRU', function ()
	-- covers: kres.lru lru:set lru:get lru:get_ref
	local lru = kres.lru(100)
	same(lru:get('x'), nil)
	same(lru:set('x', 5), true)
	same(tonumber(lru:get('x')), 5)
	same(lru:get_ref('y'), nil)
	local ref = lru:get_ref('y', nil, true)
	ref[0] = 7
	same(tonumber(lru:get('y')), 7)
	for i = 1, 10000 do lru:set('key ' .. i, i) end
	local kept = 0
	for i = 1, 10000 do kept = kept + (lru:get('key ' .. i) and 1 or 0) end
	check(kept >= 50 and kept <= 200, kept .. ' kept')
	for _, ctype in ipairs({ 'uint8_t', 'int', 'float', 'double', 'struct timeval' }) do
		local other = kres.lru(10, ctype)
		if ctype == 'struct timeval' then
			other:set('t', { tv_sec = 5 })
			same(tonumber(other:get('t').tv_sec), 5)
		else
			other:set('t', 3)
			same(tonumber(other:get('t')), 3, ctype)
		end
	end
	boom(kres.lru, { 0 })
	boom(lru.get, { lru, nil })
	collectgarbage()
end)

test('zone files', function ()
	-- covers: zonefile.new zonefile.file zonefile.string zonefile:parse zonefile:current_rr
	local zonefile = require('zonefile')
	local text = '$TTL 60\nexample.com. IN A 192.0.2.1 ; first\n TXT "a" "b"\n'
	local list = zonefile.string(text)
	same(#list, 2)
	same({ list[1].owner, list[1].ttl, list[1].type, list[1].comment }, { todname('example.com'), 60, 1, ' first' })
	same(list[2].rdata, '\1a\1b')
	same(#zonefile.string('a. A 1.2.3.4\nb. A x\nc. A 1.2.3.4\n'), 1)
	local f = io.open('some.zone', 'w')
	f:write(text)
	f:close()
	same(#zonefile.file('some.zone'), 2)
	local is_good, err = zonefile.file('missing.zone')
	same(is_good, false)
	same(type(err), 'string')
	f = io.open('bad.zone', 'w')
	f:write('a. A 1.2.3.4\nb. A x\n')
	f:close()
	is_good, err = zonefile.file('bad.zone')
	same(is_good, false)
	match(err, 'bad.zone:2')
	local parser = zonefile.new('example.org', 3, 77)
	check(parser:parse('www A 1.2.3.4\n'))
	same(parser:current_rr().owner, todname('www.example.org'))
	same({ tonumber(parser.r_class), tonumber(parser.r_ttl) }, { 3, 77 })
	same((parser:parse()), false)
end)
