-- SPDX-License-Identifier: GPL-3.0-or-later
local kres = require('kres')
local ffi = require('ffi')

for _, name in ipairs({ 'ta_update', 'priming', 'detect_time_skew' }) do modules.unload(name) end
trust_anchors.remove('.')
modules.load('prefetch')

local asked = {}
package.loaded['kres_modules.test_asked'] = { layer = { begin = function (_, req)
	local qry = req:current()
	asked[#asked + 1] = kres.dname2str(qry:name()) .. ' ' .. kres.tostring.type[qry.stype]
		.. (req.options.NO_CACHE and ' NO_CACHE' or '')
	if req.options.NO_CACHE then return policy.REFUSE(nil, req) end
end } }
modules.load('test_asked')

--- A record in the cache that is `left` seconds from its end.
local function put(name, left)
	local rr = kres.rrset(todname(name), kres.type.A, kres.class.IN, 100)
	check(rr:add_rdata(kres.str2ip('192.0.2.1'), 4))
	local cached = kres.context().cache
	check(cached:insert(rr, nil, ffi.C.KR_RANK_AUTH + ffi.C.KR_RANK_INSECURE, os.time() - 100 + left))
	cached:commit()
end

--- Ask, then see what was asked for in the background.
local function then_asked(name, expected, done)
	asked = {}
	ask(name, 'A', function (pkt)
		same(#records(pkt), 1)
		event.after(20, guard(function ()
			same(asked, expected)
			done()
		end))
	end)
end

test('near its end', function (done)
	put('old.example', 4)
	then_asked('old.example', { 'old.example. A', 'old.example. A NO_CACHE' }, done)
end)

test('not while there is time', function (done)
	put('young.example', 60)
	then_asked('young.example', { 'young.example. A' }, done)
end)

test('limits', function ()
	same({ prefetch.in_flight, prefetch.per_second }, { 100, 100 })
	prefetch.config({ in_flight = 2, per_second = 1000 })
	same({ prefetch.refresh('a.example.', 1), prefetch.refresh('a.example.', 1), prefetch.refresh('b.example.', 1),
		prefetch.refresh('c.example.', 1) }, { true, false, true, false })
	boom(prefetch.config, { 5 }, '%[prefetch%] configuration')
	boom(prefetch.config, { { in_flight = 0 } }, '%[prefetch%] in_flight')
	boom(prefetch.config, { { per_second = 1.5 } }, '%[prefetch%] per_second')
	boom(prefetch.config, { { inflight = 1 } }, '%[prefetch%] there is no option inflight')
	prefetch.config()
end)

test('as many a second as allowed', function (done)
	event.after(1100, guard(function () -- another second
		prefetch.config({ in_flight = 1000, per_second = 3 })
		local begun = 0
		for i = 1, 20 do
			if prefetch.refresh('n' .. i .. '.example.', 1) then begun = begun + 1 end
		end
		check(begun >= 1 and begun <= 6, begun) -- a second may have ended meanwhile
		done()
	end))
end)

test('finished answers are left to the layers near their end', function ()
	same(kres.context().wants_expiring, true)
	modules.load('predict')
	modules.unload('prefetch')
	same(kres.context().wants_expiring, true)
	modules.unload('predict')
	same(kres.context().wants_expiring, false)
end)
