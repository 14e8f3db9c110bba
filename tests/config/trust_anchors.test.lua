-- SPDX-License-Identifier: GPL-3.0-or-later
local ffi = require('ffi')
local C = ffi.C

local KEY = 'DNSKEY 257 3 13 '
	.. 'mdsswUyr3DPW132mOi8V9xESWE8jTo0dxCjjnopKl+GqJxpVXckHAeF+KkxLbxILfDLUT0rAK9iUzy1L53eKGQ=='
local OTHER = 'DNSKEY 257 3 13 '
	.. 'oJMRESz5E4gYzS/q6XDrvU1qMPYIjCWzJaOau8XNEZeqCYKD5ar0IRd8KqXXFJkqmVfRvMGPmM1x8fGAa2XhSA=='
local DS = 'DS 12345 13 2 ' .. ('AB'):rep(32)

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

--- How many DS the validator uses for a name.
local function in_force(name)
	local set = C.kr_ta_get(kres.context().trust_anchors, todname(name))
	return set ~= nil and set:rdcount() or 0
end

test('the root is there from the start', function ()
	same(in_force('.'), 2)
	local root = trust_anchors.keysets['\0']
	same({ root.managed, #root, root[1].key_tag, root[2].key_tag }, { false, 2, 20326, 38696 })
	match(trust_anchors.summary(), '20326')
	match(trust_anchors.summary('\0'), '38696')
end)

test('add extends', function ()
	trust_anchors.add('example. 3600 ' .. KEY)
	same(in_force('example.'), 1)
	trust_anchors.add('Example. ' .. DS)
	same(in_force('example'), 2)
	trust_anchors.add('example. 3600 ' .. KEY)
	same(in_force('example'), 2)
	match(trust_anchors.summary(todname('example')), 'DNSKEY\t257 3 13 .* ; Valid: ; KeyTag:%d+\n.*DS')
	same(trust_anchors.remove('example'), true)
	same(trust_anchors.remove('example'), false)
	same(in_force('example'), 0)
	boom(trust_anchors.remove, { 'a..b' })
end)

test('what cannot be added', function ()
	for _, bad in ipairs({ '', 'garbage', 'example. A 1.2.3.4', 'a. ' .. DS .. '\nb. ' .. DS }) do
		boom(trust_anchors.add, { bad }, '^ERROR: ')
	end
	boom(trust_anchors.add, { nil }, '^ERROR: ')
	-- a key that must not sign, and a revoked one
	boom(trust_anchors.add, { 'x. ' .. KEY:gsub('257', '0', 1) }, '^ERROR: ')
	boom(trust_anchors.add, { 'x. ' .. KEY:gsub('257', '385', 1) }, '^ERROR: ')
	same(in_force('x'), 0)
end)

test('files that are not ours', function ()
	write('plain.keys', '; a comment\nlab.example. 3600 IN ' .. KEY .. '\n')
	trust_anchors.add_file('plain.keys', true)
	same(in_force('lab.example'), 1)
	same(trust_anchors.keysets[todname('lab.example')].managed, false)
	same(trust_anchors.keysets[todname('lab.example')].filename, 'plain.keys')
	write('unbound.keys', 'many.example. 3600 IN DNSKEY 257 3 13 (\n ' .. KEY:match('%S+$') .. ' ) ;{id = 1}\n')
	trust_anchors.add_file('unbound.keys', true)
	same(in_force('many.example'), 1)
	boom(trust_anchors.add_file, { 'missing.keys', true }, '^ERROR: .*missing.keys')
	write('empty.keys', '; nothing\n')
	boom(trust_anchors.add_file, { 'empty.keys', true }, '^ERROR: .*empty.keys')
	write('mixed.keys', 'a. ' .. DS .. '\nb. ' .. DS .. '\n')
	boom(trust_anchors.add_file, { 'mixed.keys', true }, '^ERROR: ')
	write('broken.keys', 'a. DS 1 2\n')
	boom(trust_anchors.add_file, { 'broken.keys', true }, '^ERROR: ')
	boom(trust_anchors.add_file, { '.', true }, '^ERROR: ')
	trust_anchors.remove('lab.example')
	trust_anchors.remove('many.example')
end)

test('files that are no trust anchors (Z-05)', function ()
	local good = 'z5.example. 3600 IN ' .. KEY .. '\n'
	write('good.keys', good)
	trust_anchors.add_file('good.keys', true)
	local key = KEY:match('%S+$')
	for name, text in pairs({
		empty = '',
		blank = '\n\n',
		['unknown algorithm'] = 'z5.example. DS 12345 253 2 ' .. ('AB'):rep(32),
		['unknown digest'] = 'z5.example. DS 12345 13 200 ' .. ('AB'):rep(32),
		['revoked only'] = 'z5.example. DNSKEY 385 3 13 ' .. key,
		['no zone key'] = 'z5.example. DNSKEY 1 3 13 ' .. key,
		['other protocol'] = 'z5.example. DNSKEY 257 2 13 ' .. key,
		['two owners'] = good .. 'y5.example. 3600 IN ' .. OTHER,
		['cut key'] = good:sub(1, -42),
		['cut key, whole groups'] = 'z5.example. DNSKEY 257 3 13 ' .. key:sub(1, 40),
		['private key'] = 'Private-key-format: v1.3\nAlgorithm: 13 (ECDSAP256SHA256)\nPrivateKey: AAAA=\n',
		['private key below'] = good .. 'Private-key-format: v1.3\nAlgorithm: 13\n',
		binary = '\0\1\2\255\254',
		xml = '<?xml version="1.0"?><TrustAnchor><Zone>.</Zone></TrustAnchor>',
	}) do
		write('bad.keys', text)
		boom(trust_anchors.add_file, { 'bad.keys', true }, '^ERROR: .*bad.keys')
		boom(trust_anchors.add_file, { 'bad.keys' }, '^ERROR: .*bad.keys')
		same(in_force('z5.example'), 1, name) -- what was in force stays
		same(trust_anchors.keysets[todname('z5.example')].filename, 'good.keys', name)
	end
	trust_anchors.add('new.example. DS 12345 253 2 ' .. ('AB'):rep(32)) -- asked for by hand
	same(in_force('new.example'), 1)
	trust_anchors.remove('new.example')
	write('twice.keys', good .. good .. 'z5.example. ' .. DS) -- twice the same is once; both types are fine
	trust_anchors.add_file('twice.keys', true)
	same(in_force('z5.example'), 2)
	trust_anchors.remove('z5.example')
end)

test('managed files keep states', function ()
	write('managed.keys', '; a comment stays out\n'
		.. 'own.example.\t3600\t' .. KEY .. ' ; Valid: ; KeyTag:1\n'
		.. '; own.example.\t3600\t' .. OTHER .. ' ; AddPend:1900000000 ; KeyTag:2\n'
		.. '; own.example.\t3600\t' .. DS .. ' ; nonsense\n')
	trust_anchors.add_file('managed.keys')
	local keyset = trust_anchors.keysets[todname('own.example')]
	same({ keyset.managed, #keyset }, { true, 2 })
	same({ keyset[1].state, keyset[2].state, keyset[2].timer }, { 'Valid', 'AddPend', 1900000000 })
	same(in_force('own.example'), 1) -- only the valid one
	boom(trust_anchors.add, { 'own.example. ' .. DS }, '^ERROR: .*managed.keys')
	keyset[1].state = trust_anchors.key_state.Missing
	keyset[1].timer = 1800000000
	same(trust_anchors.keyset_write(keyset), true)
	local text = read('managed.keys')
	match(text, '^own%.example%.\t3600\tDNSKEY\t257 3 13 %S+ ; Missing:1800000000 ; KeyTag:%d+\n')
	match(text, '\n; own%.example%.\t3600\tDNSKEY\t257 3 13 %S+ ; AddPend:1900000000 ; KeyTag:%d+\n$')
	trust_anchors.remove('own.example')
	trust_anchors.add_file('managed.keys')
	keyset = trust_anchors.keysets[todname('own.example')]
	same({ keyset[1].state, keyset[1].timer, keyset[2].state }, { 'Missing', 1800000000, 'AddPend' })
	same(in_force('own.example'), 1)
	for _, name in ipairs(kluautil_list_dir('.')) do check(not name:find('%.lock'), name) end
	trust_anchors.remove('own.example')
end)

test('a managed file needs a writable folder', function ()
	boom(trust_anchors.add_file, { '/proc/nowhere/root.keys' }, 'writable')
end)

test('bootstrap reads what IANA publishes', function ()
	local bootstrap = require('kres_bootstrap')
	local xml = [[<?xml version="1.0" encoding="UTF-8"?>
<TrustAnchor id="X" source="http://data.iana.org/root-anchors/root-anchors.xml">
<Zone>.</Zone>
<KeyDigest id="Kjqmt7v" validFrom="2010-07-15T00:00:00+00:00" validUntil="2019-01-11T00:00:00+00:00">
<KeyTag>19036</KeyTag><Algorithm>8</Algorithm><DigestType>2</DigestType><Digest>49AAC11D</Digest>
</KeyDigest>
<KeyDigest id="Klajeyz" validFrom="2017-02-02T00:00:00+00:00">
<KeyTag>20326</KeyTag><Algorithm>8</Algorithm><DigestType>2</DigestType><Digest>E06D44B8</Digest>
</KeyDigest>
</TrustAnchor>]]
	same(bootstrap.parse_anchors(xml, os.time()), { '. 3600 IN DS 20326 8 2 E06D44B8' })
	same(#bootstrap.parse_anchors(xml, os.time({ year = 2018, month = 1, day = 1 })), 2)
	same((bootstrap.parse_anchors(xml, os.time({ year = 2009, month = 1, day = 1 }))), nil)
	same((bootstrap.parse_anchors('<Zone>com</Zone>', os.time())), nil)
	same((bootstrap.parse_anchors('', os.time())), nil)
end)

test('negative anchors', function ()
	same(trust_anchors.set_insecure({ 'lan.example', '10.in-addr.arpa' }), nil)
	same(trust_anchors.insecure, { 'lan.example', '10.in-addr.arpa' })
	match(trust_anchors.summary(), 'lan%.example%. is negative trust anchor\n')
	check(C.kr_ta_get(kres.context().negative_anchors, todname('lan.example')) ~= nil)
	boom(trust_anchors.set_insecure, { { '.' } })
	boom(trust_anchors.set_insecure, { { 'a..b' } })
	boom(trust_anchors.set_insecure, { 'x' })
	same(trust_anchors.insecure, { 'lan.example', '10.in-addr.arpa' })
	trust_anchors.set_insecure({})
	check(C.kr_ta_get(kres.context().negative_anchors, todname('lan.example')) == nil)
	boom(function () trust_anchors.insecure = {} end)
end)

test('removed spellings ask for an upgrade', function ()
	boom(function () trust_anchors.config('x') end, {}, '^ERROR: .*upgrade required')
	for _, key in ipairs({ 'file', 'negative', 'keyfile_default' }) do
		boom(function () trust_anchors[key] = 'x' end, {}, '^ERROR: .*upgrade required')
	end
	boom(function () trust_anchors = { file = 'x' } end, {}, '^ERROR: ')
	match(trust_anchors.bootstrap_url, '^https://')
	match(trust_anchors.bootstrap_ca, 'icann%-ca%.pem$')
	trust_anchors.bootstrap_ca = '/nowhere.pem'
	same(trust_anchors.bootstrap_ca, '/nowhere.pem')
end)

test('validation can be turned off', function ()
	same(trust_anchors.remove('.'), true)
	same(in_force('.'), 0)
	match(trust_anchors.summary(), 'validation is disabled')
end)
