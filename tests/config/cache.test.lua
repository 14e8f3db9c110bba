-- SPDX-License-Identifier: GPL-3.0-or-later
local ffi = require('ffi')
local C = ffi.C

local function insert(name, rtype, rdata, rank)
	local rr = kres.rrset(todname(name), rtype, kres.class.IN, 3600)
	rr:add_rdata(rdata, #rdata)
	local store = kres.context().cache
	check(store:insert(rr, nil, rank or (C.KR_RANK_INSECURE + C.KR_RANK_AUTH)))
	check(store:commit())
end

test('open and what is known of it', function ()
	same(cache.open(4 * MB), true)
	same({ cache.current_size, cache.current_storage }, { 4 * MB, 'lmdb://' })
	same(cache.open(4 * MB, 'lmdb://stored'), true)
	same(cache.current_storage, 'lmdb://stored')
	check(io.open('stored/data.mdb'))
	cache.size = 5 * MB
	same({ cache.current_size, cache.current_storage }, { 5 * MB, 'lmdb://stored' })
	cache.storage = 'lmdb://other'
	same({ cache.current_size, cache.current_storage }, { 5 * MB, 'lmdb://other' })
	same(cache.open(5 * MB, env.TEST_FOLDER .. '/bare'), true)
	same(cache.backends(), { lmdb = true })
	same(cache.fssize() > MB, true)
	cache = { size = 6 * MB }
	same(cache.current_size, 6 * MB)
end)

test('what cannot be opened', function ()
	boom(cache.open, {}, 'ERROR: ')
	boom(cache.open, { 'x' }, 'ERROR: ')
	boom(cache.open, { 8191 }, 'ERROR: ')
	boom(cache.open, { -1 }, 'ERROR: ')
	boom(cache.open, { 0 / 0 }, 'ERROR: ')
	boom(cache.open, { MB, 'redis://x' }, 'ERROR: .*redis')
	boom(cache.open, { MB, '/proc/no/such/place' }, "/proc/no/such/place'.*working directory")
	same(cache.open(4 * MB), true)
end)

test('unknown keys are nil, and may be set', function ()
	same(cache.nosuch, nil)
	cache.sise = 5
	same(cache.sise, 5)
	cache.sise = nil
end)

test('TTL limits survive opening', function ()
	same({ cache.min_ttl(), cache.max_ttl() }, { 5, 86400 })
	same(cache.max_ttl(3600), 3600)
	same(cache.min_ttl(10), 10)
	cache.open(4 * MB)
	same({ cache.min_ttl(), cache.max_ttl() }, { 10, 3600 })
	for _, bad in ipairs({ { 'x' }, { 9 }, { 2 ^ 31 }, { -1 } }) do boom(cache.max_ttl, bad, 'ERROR: ') end
	for _, bad in ipairs({ { 'x' }, { 3601 }, { -1 } }) do boom(cache.min_ttl, bad, 'ERROR: ') end
	cache.max_ttl(86400)
	cache.min_ttl(5)
	same({ cache.answers(), cache.answers(1 * MB), cache.answers(0), cache.answers() }, { 8 * MB, 1 * MB, 0, 0 })
	for _, bad in ipairs({ { 'x' }, { -1 }, { 2 * GB } }) do boom(cache.answers, bad, 'ERROR: ') end
	same(cache.answers(8 * MB), 8 * MB)
	same(cache.ns_tout(), 1000)
	same(cache.ns_tout(500), 500)
	for _, bad in ipairs({ { 'x' }, { 0 }, { 2 ^ 32 - 1 }, { -5 } }) do boom(cache.ns_tout, bad, 'ERROR: ') end
end)

test('counters', function ()
	local names = 'open close count count_entries clear commit read read_miss write remove remove_miss match '
		.. 'match_miss read_leq read_leq_miss usage_percent'
	local stats = cache.stats()
	for name in names:gmatch('%S+') do same(type(stats[name]), 'number', name) end
	local writes = stats.write
	insert('count.example', kres.type.A, '\1\2\3\4')
	check(cache.stats().write > writes)
	check(cache.count() > 0)
	same(cache.stats().count_entries, cache.count())
	fromjson(tojson(cache.stats()))
end)

test('checkpoint', function ()
	same(cache.checkpoint(true), true)
	local point = cache.checkpoint()
	check(math.abs(point.walltime.sec - os.time()) < 3)
	same(type(point.monotime), 'number')
	boom(cache.checkpoint, { 'x' }, 'ERROR: ')
	boom(cache.checkpoint, { false }, 'ERROR: ')
end)

test('clear everything', function ()
	insert('a.example', kres.type.A, '\1\2\3\4')
	local count = cache.count()
	check(count > 0)
	same(cache.clear().count, count)
	same(cache.clear('.').count, cache.count())
	same(cache.clear_everything(), true)
end)

test('clear names', function ()
	cache.clear()
	insert('example', kres.type.SOA, kres.parse_rdata({ 'SOA ns. mail. 1 1 1 1 1' })[1])
	for _, name in ipairs({ 'a.example', 'b.a.example', 'c.example', 'other' }) do
		insert(name, kres.type.A, '\1\2\3\4')
		insert(name, kres.type.TXT, '\1x')
	end
	local before = cache.count()
	same(cache.clear('a.example', true, kres.type.TXT), { count = 1 })
	same(cache.count(), before - 1)
	local result = cache.clear('a.example')
	same({ result.count, result.round }, { 3, 1 })
	same(result.chunk_limit, nil)
	same(cache.count(), before - 4)
	same(cache.clear('c.example', true).count, 2)
	same(cache.clear('nothing.example').count, 0)
	boom(cache.clear, { 'a..b' }, 'a..b')
	boom(cache.clear, { 'x', 5 })
	boom(cache.clear, { 'x', false, kres.type.A })
	boom(cache.clear, { 'x', true, kres.type.A, 5 })
	boom(cache.clear, { 'x', true, nil, 0 })
	boom(cache.clear, { 'x', true, nil, 'x' })
	boom(cache.clear, { 'x', true, nil, 5, 'x' })
end)

test('clear says where proofs come from', function ()
	local result = cache.clear('deep.down.example')
	same(type(result.not_apex), 'string')
	same(type(result.subtree), 'string')
end)

test('clear goes on in the background', function (done)
	cache.clear()
	for i = 1, 25 do insert('n' .. i .. '.big.example', kres.type.A, '\1\2\3\4') end
	local result = cache.clear('big.example', nil, nil, 10)
	same({ result.count, result.round, type(result.chunk_limit) }, { 10, 1, 'string' })
	event.after(100, guard(function ()
		same(cache.clear('big.example').count, 0)
		done()
	end))
end)

test('clear calls back', function ()
	insert('x.example', kres.type.A, '\1\2\3\4')
	local got
	local ret = cache.clear('x.example', true, nil, 5, function (...)
		got = { ... }
		return 'mine'
	end)
	same(ret, 'mine')
	same({ got[1], got[2], got[4], got[7].count, got[7].round }, { 'x.example', true, 5, 1, 1 })
end)

test('closed', function ()
	same(cache.close(), true)
	same(cache.current_size, 0)
	same(select('#', cache.close()), 0)
	for _, name in ipairs({ 'count', 'stats', 'max_ttl', 'min_ttl', 'checkpoint', 'clear_everything' }) do
		boom(cache[name], {}, 'ERROR: ')
	end
	boom(cache.clear, { 'example' }, 'ERROR: ')
	cache.storage = 'lmdb://again'
	same(cache.current_size, 10 * MB)
end)
