-- SPDX-License-Identifier: GPL-3.0-or-later
local krprint = require('krprint')

test('table_print', function ()
	same(table_print(), nil)
	same(table_print(nil), 'nil')
	same(table_print('a'), "'a'")
	same(table_print("it's\\\0\255\t\n"), "'it\\039s\\092\\000\\255\t\n'")
	same(table_print(1.5), '1.5')
	same(table_print(true), 'true')
	same(table_print({}), '{\n}')
	same(table_print({ 1, x = { true } }), '{\n    1,\n    [\'x\'] = {\n        true,\n    },\n}')
	same(table_print({ [3] = 'c', 'a', 'b', z = 1, [10] = 2 }),
		"{\n    'a',\n    'b',\n    'c',\n    [10] = 2,\n    ['z'] = 1,\n}")
	same(table_print(1, 'b'), "1\t-- result # 1\n'b'\t-- result # 2")
	match(table_print(print), '^function .*%(%?%): ')
	match(table_print(function (a, b, ...) return a, b, ... end), '^function .*%(a, b, %.%.%.%): 0x')
	local t = {}
	t.self = t
	match(table_print(t), "^{\n    %-%-.*%['self'%].*cyclic.*\n}$")
	match(table_print(io.stdout), '^file')
end)

test('tojson', function ()
	same(tojson({ 1, 2 }), '[1,2]')
	same(tojson({ a = true }), '{"a":true}')
	same(tojson({}), '{}')
	same(tojson(nil), 'null')
	same(tojson({ print }), '[null]')
	same(tojson('a/"\\\n\1é'), '"a/\\"\\\\\\n\\u0001é"')
	same(tojson(0.1), '0.1')
	same(tojson(2 ^ 53), '9007199254740992')
	same(tojson(-0.5), '-0.5')
	same(tojson({ [1] = 'a', [3] = 'c' }):match('^%[.*%]$') ~= nil, true)
end)

test('fromjson', function ()
	same(fromjson('{"a":[1,2.5,-3e2,true,false,null,"x"],"n":null}'), { a = { 1, 2.5, -300, true, false, 'x' } })
	same(fromjson(' [ ] '), {})
	same(fromjson('null'), {})
	same(fromjson('"\\u00e9\\ud83d\\ude00\\/"'), 'é😀/')
	same(fromjson('5'), 5)
	for _, bad in ipairs({ '', '{', '[1,]', '{"a"}', '{a:1}', '01', '1 2', 'nope', '"a', '"\\x"', "'a'", '[1',
		'{"a":1,}', '-', '1.', '.5', '\0', '"\\ud800x"', ('['):rep(1000) }) do
		boom(fromjson, { bad }, 'ERROR: ')
	end
	boom(fromjson, {}, 'ERROR: ')
	boom(fromjson, { '1', '2' }, 'ERROR: ')
	boom(fromjson, { {} }, 'ERROR: ')
	local value = { list = { 1, 2, 3 }, text = 'x\ny', deep = { deeper = { yes = true } } }
	same(fromjson(tojson(value)), value)
end)

test('values travel as Lua expressions', function ()
	for _, value in ipairs({ 1, -1.5, 0.1, 2 ^ 60, 'a\0\n\'"\\\255', true, false, { 1, { 2 } }, { a = 'b', [5] = 6 } }) do
		local text = krprint.serialize_lua(value, 'error')
		check(not text:find('[^\32-\126]'), text)
		same(krprint.deserialize_lua(text), value)
	end
	same(krprint.deserialize_lua(krprint.serialize_lua(nil)), nil)
	same(krprint.deserialize_lua(krprint.serialize_lua(math.huge)), math.huge)
	same(krprint.deserialize_lua(krprint.serialize_lua({ print, 1 })), { [2] = 1 })
	local shared = {}
	boom(krprint.serialize_lua, { { a = shared, b = shared }, 'error' }, '%[b%]')
	boom(krprint.serialize_lua, { { x = { y = print } }, 'error' }, '%[x%]%[y%]')
	boom(krprint.deserialize_lua, { 'x x' }, '^ERROR: ')
end)
