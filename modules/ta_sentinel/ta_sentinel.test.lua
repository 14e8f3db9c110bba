-- SPDX-License-Identifier: GPL-3.0-or-later
-- Answers are made secure here without signatures: what counts is the rank of the request.
local ffi = require('ffi')
for _, name in ipairs({ 'ta_update', 'priming', 'detect_time_skew' }) do modules.unload(name) end

local KEYS = { { key_tag = 20326, state = 'Valid' },
	{ key_tag = 38696, state = 'AddPend' }, { key_tag = 1, state = 'Missing' } }
local is_secure = true
package.loaded['kres_modules.test_rank'] = { layer = { finish = function (_, req)
	req.rank = is_secure and ffi.C.KR_RANK_SECURE or ffi.C.KR_RANK_INSECURE
end } }
modules.load('test_rank < ta_sentinel')

local zone = {}
for _, label in ipairs({ 'is-ta-20326', 'not-ta-20326', 'is-ta-38696', 'not-ta-38696', 'is-ta-00001', 'is-ta-2032' }) do
	zone['root-key-sentinel-' .. label .. '.example A'] = { '192.0.2.1' }
	zone['root-key-sentinel-' .. label .. '.example AAAA'] = { '2001:db8::1' }
	zone['root-key-sentinel-' .. label .. '.example TXT'] = { '"x"' }
end
zone['www.root-key-sentinel-is-ta-38696.example A'] = { '192.0.2.1' }
serve(zone)

local function sees(label, rtype, fails, how)
	return function (done)
		local kept = trust_anchors.keysets['\0']
		trust_anchors.keysets['\0'] = KEYS
		how = how or {}
		how.addr = '192.0.2.9'
		ask(label .. '.example', rtype, function (pkt)
			trust_anchors.keysets['\0'] = kept
			same({ pkt:rcode(), #records(pkt), pkt:ad() }, { fails and 2 or 0, fails and 0 or 1, false })
			done()
		end, how)
	end
end

test('is, and it is', sees('root-key-sentinel-is-ta-20326', 'A', false))
test('is, and it is not', sees('root-key-sentinel-is-ta-38696', 'A', true))
test('not, and it is not', sees('root-key-sentinel-not-ta-38696', 'A', false))
test('not, and it is', sees('root-key-sentinel-not-ta-20326', 'A', true))
test('AAAA', sees('root-key-sentinel-not-ta-20326', 'AAAA', true))
test('upper case', sees('ROOT-key-sentinel-NOT-ta-20326', 'A', true))
test('a missing key is trusted', sees('root-key-sentinel-is-ta-00001', 'A', false))
test('other types', sees('root-key-sentinel-not-ta-20326', 'TXT', false))
test('four digits', sees('root-key-sentinel-is-ta-2032', 'A', false))
test('not the first label', sees('www.root-key-sentinel-is-ta-38696', 'A', false))
test('CD', sees('root-key-sentinel-is-ta-38696', 'A', false, { cd = true }))
test('insecure answers', function (done)
	is_secure = false
	sees('root-key-sentinel-is-ta-38696', 'A', false)(done)
end)
