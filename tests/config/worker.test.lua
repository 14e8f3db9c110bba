-- SPDX-License-Identifier: GPL-3.0-or-later
local ffi = require('ffi')

test('facts', function ()
	same(worker.id, env.SYSTEMD_INSTANCE or tostring(worker.pid))
	same(type(worker.id), 'string')
	same(worker.count, 1)
	same(worker.cwd, env.TEST_FOLDER)
	same(worker.control_path, env.TEST_FOLDER .. '/control/')
	local stats = worker.stats()
	for name in ('queries concurrent dropped timeout udp tcp tls ipv4 ipv6 err_udp err_tcp err_tls err_http '
		.. 'usertime systime pagefaults swaps csw rss'):gmatch('%S+') do
		same(type(stats[name]), 'number', name)
	end
	check(stats.rss > MB)
	same(worker.info().pid, worker.pid)
end)

test('resolve in all its forms', function (done)
	-- covers: resolve worker.resolve worker.resolve_pkt
	local left = 5
	local function one_less(pkt, req)
		check(ffi.istype('knot_pkt_t', pkt))
		check(ffi.istype('struct kr_request', req))
		check(req.qsource.addr == nil)
		check(req.qsource.flags.internal)
		same(pkt:qname(), todname('localhost'))
		left = left - 1
		if left == 0 then done() end
	end
	local finish = guard(one_less)
	same(resolve('localhost', kres.type.A, kres.class.IN, 0, finish), true)
	same(worker.resolve('localhost', nil, nil, nil, finish), true)
	same(resolve({ name = 'localhost.', type = kres.type.AAAA, options = { 'DNSSEC_WANT' }, finish = finish }), true)
	same(resolve('localhost', kres.type.A, kres.class.IN, kres.mk_qflags('NO_CACHE'), finish), true)
	local pkt = kres.packet(512)
	pkt:question(todname('localhost'), kres.class.IN, kres.type.A)
	pkt:rd(true)
	same(worker.resolve_pkt(pkt, nil, finish), true)
end)

test('init comes before everything', function (done)
	local order = {}
	resolve({ name = 'localhost', init = function (req)
		order[#order + 1] = 'init'
		same(req:current(), nil)
		same(req:initial(), nil)
		req:vars().mark = 7
	end, finish = guard(function (_, req)
		order[#order + 1] = 'finish'
		same(req:vars().mark, 7)
		same(order, { 'init', 'finish' })
		done()
	end) })
end)

test('bad arguments', function ()
	boom(resolve, { 5 }, '^ERROR: ')
	boom(resolve, { 'bad..name' }, '^ERROR: ')
	boom(resolve, { 'localhost', 1, 1, { 'NO_SUCH_FLAG' } }, 'NO_SUCH_FLAG')
	boom(worker.resolve_pkt, { {} }, 'packet')
end)

test('errors in callbacks are logged only', function (done)
	resolve('localhost', 1, 1, 0, function () error('as the test wants') end, function () error('this too') end)
	event.after(5, done)
end)

test('queries may be started from finish', function (done)
	local depth = 0
	local function again()
		depth = depth + 1
		if depth == 20 then return done() end
		resolve('localhost', 1, 1, 0, guard(again))
	end
	again()
end)

test('the answer says what was asked', function (done)
	resolve('localhost', kres.type.A, kres.class.IN, {}, guard(function (pkt)
		same(pkt:rcode(), kres.rcode.NOERROR)
		same({ pkt:qr(), pkt:rd(), pkt:ra() }, { true, true, true })
		same(pkt:section(kres.section.ANSWER)[1].rdata, '\127\0\0\1')
		done()
	end))
end)

test('coroutines', function (done)
	-- covers: worker.coroutine worker.sleep worker.bg_worker.cq
	local cqueues = require('cqueues')
	local condition = require('cqueues.condition')
	local steps = {}
	worker.coroutine(function () error('as the test wants') end)
	worker.coroutine(guard(function ()
		steps[#steps + 1] = 'a'
		worker.sleep(0.02)
		steps[#steps + 1] = 'c'
		local cond, is_done = condition.new(), false
		resolve('localhost', 1, 1, 0, function () is_done = true; cond:signal() end)
		if not is_done then cond:wait() end
		check(cqueues.running())
		match(table.concat(steps), '^[ab][ab]c$') -- others ran while this one slept
		done()
	end))
	worker.bg_worker.cq:wrap(function () steps[#steps + 1] = 'b' end)
end)
