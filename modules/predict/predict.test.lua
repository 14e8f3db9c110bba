-- SPDX-License-Identifier: GPL-3.0-or-later
local kres = require('kres')

modules.unload('ta_update')
modules.unload('priming')
modules.unload('detect_time_skew')

test('configuration', function ()
	modules = { predict = { period = 0 } }
	same({ predict.window, predict.period, predict.queue_len, predict.epoch() }, { 15, 0, 0, nil })
	same(rawget(_G, 'stats'), nil)
	predict.config({ window = 30, period = 48 })
	same({ predict.window, predict.period }, { 30, 48 })
	check(stats)
	predict.config()
	same({ predict.window, predict.period }, { 15, 24 })
	boom(predict.config, { 5 }, '%[predict%] configuration must be a table or nil')
	boom(predict.config, { { window = 0 } }, '%[predict%] window')
	boom(predict.config, { { period = -1 } }, '%[predict%] period')
end)

test('the window of the day', function ()
	local real_date = os.date
	os.date = function () return { hour = 13, min = 44 } end -- luacheck: ignore
	predict.config({ window = 15, period = 96 })
	same(predict.epoch(), 55)
	predict.config({ window = 15, period = 24 })
	same(predict.epoch(), 7)
	predict.config({ window = 15, period = 1 })
	same(predict.epoch(), nil)
	os.date = real_date -- luacheck: ignore
end)

local asked = {}
package.loaded['kres_modules.test_asked'] = { layer = { begin = function (_, req)
	local qry = req:current()
	asked[#asked + 1] = kres.dname2str(qry:name()) .. ' ' .. kres.tostring.type[qry.stype]
		.. (req.options.NO_CACHE and ' NO_CACHE' or '')
	if req.options.NO_CACHE then return policy.REFUSE(nil, req) end
end } }

test('records in use are refreshed near their end', function (done)
	modules.load('test_asked')
	package.loaded['kres_modules.test_expiring'] = { layer = { produce = function (_, req)
		if req:current().flags.CACHED then req:current().flags.EXPIRING = true end
	end } }
	serve({ ['old.example A'] = { '192.0.2.1' } })
	modules.load('test_expiring > test_zone')
	predict.config({ period = 0 })
	asked = {}
	ask('old.example', 'A', function (pkt)
		same(#records(pkt), 1)
		event.after(5, guard(function ()
			modules.unload('test_expiring')
			same(asked, { 'old.example. A', 'old.example. A NO_CACHE' })
			ask('old.example', 'A', function () -- not near its end now
				event.after(5, guard(function ()
					same(#asked, 3)
					modules.unload('test_zone')
					done()
				end))
			end)
		end))
	end)
end)

test('what was asked at that time of the day is refreshed', function (done)
	if stats then stats.clear_frequent() end -- what other tests asked may be in it, by chance
	predict.config({ window = 1, period = 48 })
	local real_frequent = stats.frequent
	stats.frequent = function () return { { name = 'daily.example.', type = 'AAAA', count = 3 } } end -- luacheck: ignore
	local epoch = predict.epoch()
	same(predict.sample(epoch % 48 + 1), 1)
	stats.frequent = real_frequent -- luacheck: ignore
	asked = {}
	predict.process()
	same(predict.queue_len, 1)
	same({ stats['predict.epoch'], stats['predict.queue'], stats['predict.learned'] }, { epoch, 1, 1 })
	same(predict.drain(), 0)
	same({ predict.queue_len, stats['predict.queue'] }, { 0, 0 })
	event.after(5, guard(function ()
		same(asked, { 'daily.example. AAAA NO_CACHE' })
		done()
	end))
end)

test('unloading stops it', function ()
	modules.unload('predict')
	same(rawget(_G, 'predict'), nil)
end)
