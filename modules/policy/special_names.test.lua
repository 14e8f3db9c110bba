-- SPDX-License-Identifier: GPL-3.0-or-later
-- policy.special_names is a list that can be read, suspended and changed.
local CLIENT = { addr = '192.0.2.1' }
serve({ ['x.test A'] = { '192.0.2.7' } })

local function count()
	local total = 0
	for _, desc in ipairs(policy.special_names) do total = total + desc.count end
	return total
end

test('what is in it', function ()
	check(#policy.special_names > 0)
	for _, desc in ipairs(policy.special_names) do
		same({ type(desc.cb), type(desc.count), desc.id }, { 'function', 'number', nil })
	end
end)

test('hits are counted', function (done)
	local before = count()
	ask('x.test', 'A', function (pkt)
		same({ pkt:rcode(), ede_of(pkt), count() - before }, { 3, '21 CR36', 1 })
		done()
	end, CLIENT)
end)

test('suspended ones do nothing', function (done)
	for _, desc in ipairs(policy.special_names) do desc.suspended = true end
	ask('x.test', 'A', function (pkt)
		for _, desc in ipairs(policy.special_names) do desc.suspended = nil end
		same(records(pkt), { 'x.test. 100 A 192.0.2.7' })
		done()
	end, CLIENT)
end)
