-- SPDX-License-Identifier: GPL-3.0-or-later
test('loading it fails, and the process goes on', function ()
	boom(modules.load, { 'etcd' }, '.')
	same(rawget(_G, 'etcd'), nil)
	for _, name in ipairs(modules.list()) do check(name ~= 'etcd') end
end)
