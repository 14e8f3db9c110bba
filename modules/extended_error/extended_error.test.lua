-- SPDX-License-Identifier: GPL-3.0-or-later
--- Ask with a rule that sets errors. sets = { { code, text }, ... }
local function with_errors(sets, how, expected)
	return function (done)
		local rule = policy.add(policy.all(function (_, req)
			for _, set in ipairs(sets) do req:set_extended_error(unpack(set)) end
		end))
		how.addr = '192.0.2.1'
		ask('localhost', 'A', function (pkt)
			policy.del(rule.id)
			same(ede_of(pkt), expected)
			done()
		end, how)
	end
end

test('code and text', with_errors({ { 22, 'WXYZ: text' } }, {}, '22 WXYZ: text'))
test('a code alone', with_errors({ { 0 } }, {}, '0 '))
test('none', with_errors({}, {}, nil))
test('clients without EDNS', with_errors({ { 22, 'x' } }, { edns = false }, nil))
test('the more telling one stays', with_errors({ { 15, 'first' }, { 0, 'weaker' }, { 18, 'equal' } }, {}, '15 first'))
test('the more telling one replaces',
	with_errors({ { 0, 'first' }, { 3, 'a' }, { 4, 'b' }, { 6, 'c' }, { 7, 'd' } }, {}, '7 d'))
test('cleared', with_errors({ { 6, 'x' }, { -1 } }, {}, nil))
test('long texts are cut', with_errors({ { 0, ('x'):rep(300) } }, {}, '0 ' .. ('x'):rep(64)))
test('unloaded: no option', function (done)
	modules.unload('extended_error')
	with_errors({ { 22, 'x' } }, {}, nil)(done)
end)
