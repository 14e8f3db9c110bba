-- SPDX-License-Identifier: GPL-3.0-or-later
for _, name in ipairs({ 'ta_update', 'priming', 'detect_time_skew' }) do modules.unload(name) end

local asked, text = {}, nil
log_info = function (_, fmt, ...) text = string.format(fmt, ...) end
package.loaded['kres_modules.test_asked'] = { layer = { begin = function (_, req)
	local qry = req:current()
	asked[#asked + 1] = kres.dname2str(qry:name()) .. ' ' .. kres.tostring.type[qry.stype]
	if qry.stype == kres.type.NULL then return policy.REFUSE(nil, req) end
end, produce = function (_, req, pkt)
	local qry = req:current()
	if qry.stype ~= kres.type.DNSKEY or pkt:qr() then return nil end
	pkt:recycle()
	pkt:question(qry:name(), qry.sclass, qry.stype)
	pkt:qr(true)
	pkt:aa(true)
	pkt.parsed = pkt.size
	qry.flags.CACHED, qry.flags.NO_MINIMIZE, qry.flags.DNSSEC_WANT = true, true, false
	return kres.DONE
end, consume = function (_, req) -- for ta_signal_query it shall come from the network
	req:current().flags.CACHED = false
end } }
modules.load('test_asked < ta_signal_query')

local function after_dnskey(name, fn)
	asked, text = {}, nil
	ask(name, 'DNSKEY', function () event.after(20, guard(fn)) end)
end

test('tags in order, four digits of hexadecimal', function (done)
	trust_anchors.keysets[todname('signed.example')] = { { key_tag = 38696, state = 'Valid' },
		{ key_tag = 255, state = 'Valid' }, { key_tag = 7, state = 'AddPend' } }
	after_dnskey('signed.example', function ()
		same(asked[#asked], '_ta-00ff-9728.signed.example. NULL')
		match(text, 'signalling query triggered: _ta%-00ff%-9728%.signed%.example%.')
		done()
	end)
end)

test('nothing is trusted there', function (done)
	after_dnskey('plain.example', function ()
		same(asked, { 'plain.example. DNSKEY' })
		done()
	end)
end)
