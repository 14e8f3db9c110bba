-- SPDX-License-Identifier: GPL-3.0-or-later
-- Zone files go into the cache if they validate.
local ffi = require('ffi')
local C = ffi.C

local ZONE = [[
zone.example. 3600 IN SOA ns.zone.example. mail.zone.example. 1 1800 900 604800 86400
zone.example. 3600 IN NS ns.zone.example.
ns.zone.example. 3600 IN A 192.0.2.1
www.zone.example. 3600 IN A 192.0.2.2
child.zone.example. 3600 IN NS ns.child.zone.example.
ns.child.zone.example. 3600 IN A 192.0.2.3
]]

local function write(path, text)
	local f = io.open(path, 'w')
	f:write(text)
	f:close()
end

local function read(path)
	local f = io.open(path)
	local text = f:read('*a')
	f:close()
	return text
end

write('plain.zone', ZONE)
local can_sign = os.execute('k=$(ldns-keygen -a ECDSAP256SHA256 -k zone.example 2>/dev/null) && '
	.. 'ldns-signzone -b -z 1:1 -o zone.example -f signed.zone plain.zone $k >/dev/null 2>&1 && '
	.. 'cp $k.ds anchor.ds') == 0

local function import(path, options, fn)
	local config = ffi.new('zi_config_t', { zone_file = path, origin = 'zone.example', ttl = 3600 })
	for key, value in pairs(options or {}) do config[key] = value end
	local callback
	callback = ffi.cast('zi_callback', guard(function (state)
		event.after(0, guard(function ()
			callback:free()
			fn(state)
		end))
	end))
	config.cb = callback
	return C.zi_zone_import(config)
end

test('what cannot be read', function ()
	check(import('missing.zone') < 0)
	write('broken.zone', ZONE .. 'www A 1.2\n')
	check(import('broken.zone') < 0)
	check(import('plain.zone') < 0) -- no trust anchor
end)

test('unsigned data on demand', function (done)
	cache.clear()
	same(import('plain.zone', { downgrade = true }, function (state)
		same(state, 0)
		local count = cache.count()
		check(count > 3)
		check(cache.clear('www.zone.example', true).count > 0)
		done()
	end), 0)
end)

if can_sign then
	test('a signed zone with its digest', function (done)
		cache.clear()
		trust_anchors.add(read('anchor.ds'))
		same(import('signed.zone', { zonemd = true }, function (state)
			same(state, 0)
			resolve('www.zone.example', kres.type.A, kres.class.IN, { 'DNSSEC_WANT' }, guard(function (pkt, req)
				same({ pkt:rcode(), pkt:ad(), pkt:ancount() > 0 }, { 0, true, true })
				check(req:all_from_cache())
				done()
			end))
		end), 0)
	end)

	test('a changed record is not stored', function (done)
		cache.clear()
		write('changed.zone', (read('signed.zone'):gsub('192%.0%.2%.2', '192.0.2.66')))
		check(import('changed.zone', { zonemd = true }) < 0)
		same(import('changed.zone', {}, function (state)
			check(state < 0)
			same(cache.clear('www.zone.example', true, kres.type.A).count, 1)
			done()
		end), 0)
	end)
end

test('imports under way end with the process', function ()
	same(import('plain.zone', { downgrade = true }, function () end), 0)
end)
