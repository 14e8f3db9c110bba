-- SPDX-License-Identifier: GPL-3.0-or-later
-- What it does with answers is in scenarios/; here is what can be set.
local ffi = require('ffi')
for _, name in ipairs({ 'ta_update', 'priming', 'detect_time_skew' }) do modules.unload(name) end
modules.load('rebinding < iterate')

local function covers(rrtype, addr)
	local bytes = ffi.new('char[16]')
	local raw = kres.str2ip(addr)
	ffi.copy(bytes, raw, #raw)
	for _, range in ipairs(rebinding.blacklist) do
		if range.rrtype == rrtype and ffi.C.kr_bitcmp(range.bytes, bytes, range.bitlen) == 0 then return true end
	end
	return false
end

test('ranges', function ()
	check(covers(kres.type.A, '10.1.2.3'))
	check(covers(kres.type.AAAA, '::ffff:10.1.2.3'))
	check(not covers(kres.type.A, '192.0.2.1'))
	rebinding.config({ ranges = { '192.0.2.0/24' } })
	check(covers(kres.type.A, '192.0.2.1'))
	check(covers(kres.type.AAAA, '64:ff9b::192.0.2.1'))
	check(not covers(kres.type.A, '10.1.2.3'))
	rebinding.config()
	check(covers(kres.type.A, '10.1.2.3'))
end)

test('bad settings', function ()
	boom(rebinding.config, { 5 }, '%[rebinding%] configuration')
	boom(rebinding.config, { { ranges = { '10.0.0.0/33' } } }, '%[rebinding%] "10.0.0.0/33" is not a subnet')
	boom(rebinding.config, { { allow = 5 } }, '%[rebinding%] allow must be a list')
	boom(rebinding.config, { { exempt = { 'a..b' } } }, '%[rebinding%] "a..b" is not a name')
	boom(rebinding.config, { { exmept = {} } }, '%[rebinding%] there is no option exmept')
	check(covers(kres.type.A, '10.1.2.3'))
end)
