-- SPDX-License-Identifier: GPL-3.0-or-later
-- The way of keys through their states is in scenarios/; here is what can be called and set.
for _, name in ipairs({ 'priming', 'detect_time_skew' }) do modules.unload(name) end
policy.add(policy.all(policy.DENY)) -- nothing is asked outside

test('a zone without anchors cannot be tracked', function ()
	boom(ta_update.start, { todname('example'), true },
		'%[ta_update%] TA must be configured first before tracking it')
	same(ta_update.tracked[todname('example')], nil)
end)

test('start and stop', function ()
	trust_anchors.add('example. DS 20326 8 2 ' .. ('AB'):rep(32))
	ta_update.start(todname('example'), false)
	check(ta_update.tracked[todname('example')])
	ta_update.stop(todname('example'))
	same(ta_update.tracked[todname('example')], nil)
	ta_update.stop(todname('example')) -- twice does no harm
end)

test('settings', function ()
	same(ta_update.hold_down_time, 30 * day)
	same({ ta_update.refresh_time, ta_update.keep_removed }, { nil, 0 })
	same(type(ta_update.cb_unmanagedkey_change), 'function')
end)
