-- SPDX-License-Identifier: GPL-3.0-or-later
-- Real failures of validation: modules/bogus_log/scenarios.
modules.load('bogus_log')

test('nothing at first', function () same(bogus_log.frequent(), {}) end)

test('answers that are fine are not counted', function (done)
	ask('localhost', 'A', function ()
		same(bogus_log.frequent(), {})
		done()
	end)
end)

test('unloading', function ()
	modules.unload('bogus_log')
	same(rawget(_G, 'bogus_log'), nil)
end)
