-- SPDX-License-Identifier: GPL-3.0-or-later
local kres = require('kres')
local ffi = require('ffi')

for _, name in ipairs({ 'ta_update', 'priming', 'detect_time_skew' }) do modules.unload(name) end
trust_anchors.remove('.')
modules.load('serve_stale < cache')
policy.add(policy.all(policy.FORWARD('127.0.0.1@9'))) -- nobody is there

--- Put a record into the cache that expired some seconds ago.
local function put(name, ago)
	local rr = kres.rrset(todname(name), kres.type.A, kres.class.IN, 60)
	check(rr:add_rdata(kres.str2ip('192.0.2.1'), 4))
	local rank = ffi.C.KR_RANK_AUTH + ffi.C.KR_RANK_INSECURE
	check(kres.context().cache:insert(rr, nil, rank, os.time() - 60 - ago))
	kres.context().cache:commit()
end

test('place in the list', function ()
	local at = {}
	for i, name in ipairs(modules.list()) do at[name] = i end
	check(at.serve_stale < at.cache)
end)

test('an expired answer, where the servers fail', function (done)
	put('old.example', 100)
	ask('old.example', 'A', function (pkt)
		same(records(pkt), { 'old.example. 1 A 192.0.2.1' })
		same({ ede_of(pkt), pkt:ad(), pkt:rcode() }, { '3 6Q6X', false, 0 })
		ask('old.example', 'A', function (again) -- at once: the failure is remembered
			same(ede_of(again), '3 6Q6X')
			done()
		end)
	end)
end)

test('what is too old is not used', function (done)
	put('ancient.example', 86401)
	ask('ancient.example', 'A', function (pkt)
		same({ pkt:rcode(), #records(pkt) }, { kres.rcode.SERVFAIL, 0 })
		serve_stale.config({ max_stale = 2 * 86400 })
		ask('ancient.example', 'A', function (later)
			same(records(later), { 'ancient.example. 1 A 192.0.2.1' })
			serve_stale.config({ max_stale = 86400 })
			done()
		end)
	end)
end)

test('a rule of ones own for what is too old', function (done)
	local kept = serve_stale.callback
	serve_stale.callback = ffi.cast('kr_stale_cb', function () return -1 end)
	put('mine.example', 100)
	ask('mine.example', 'A', function (pkt)
		same(pkt:rcode(), kres.rcode.SERVFAIL)
		serve_stale.callback = kept
		done()
	end)
end)

test('not for requests that want no cache', function (done)
	put('fresh.example', 100)
	ask('fresh.example', 'A', function (pkt)
		same({ pkt:rcode(), ede_of(pkt) ~= '3 6Q6X' }, { kres.rcode.SERVFAIL, true })
		done()
	end, { options = { 'NO_CACHE' } })
end)

test('settings', function ()
	same({ serve_stale.timeout, serve_stale.recheck, serve_stale.max_stale }, { 1800, 10000, 86400 })
	serve_stale.config()
	serve_stale.config({ timeout = 500, recheck = 30 * sec })
	same({ serve_stale.timeout, serve_stale.recheck, serve_stale.max_stale }, { 500, 30000, 86400 })
	serve_stale.timeout = 3000
	boom(serve_stale.config, { 5 }, '%[serve_stale%] configuration must be a table')
	boom(serve_stale.config, { { timeout = -1 } }, '%[serve_stale%] timeout')
	boom(serve_stale.config, { { tiemout = 1 } }, '%[serve_stale%] there is no option tiemout')
end)
