-- SPDX-License-Identifier: GPL-3.0-or-later
-- The examples of doc/extending.rst are modules that work.

--- Examples by name: literal blocks after a comment `.. example: NAME`.
local function read_examples(path)
	local found, name, lines, is_inside = {}, nil, {}, false
	for line in io.lines(path) do
		local marked = line:match('^%.%. example: ([%w_]+)$')
		if marked then name, lines = marked, {} end
		if name and line == '::' then
			is_inside = true
		elseif is_inside and line:match('^%S') then
			found[name] = table.concat(lines, '\n')
			name, is_inside = nil, false
		elseif is_inside then
			lines[#lines + 1] = line:sub(4)
		end
	end
	return found
end

local examples = read_examples(env.TEST_SOURCE .. '/../../doc/extending.rst')
os.execute('mkdir -p kres_modules')
for name, text in pairs(examples) do
	local file = io.open('kres_modules/' .. name .. '.lua', 'w')
	file:write(text .. '\n')
	file:close()
end

local ZONE = { ['www.example.net A'] = { '192.0.2.1' }, ['www.example.net AAAA'] = { '2001:db8::1' } }
local checks = {
	hello = { spec = { hello = 'good morning' }, name = 'www.example.net', type = 'A', fn = function ()
		same(hello.greeting, 'good morning')
		event.after(0, guard(function () check(hello.answered >= 1) end))
	end },
	slow_log = { setup = function () slow_log.limit_ms = 0 end, name = 'www.example.net', type = 'A', fn = function ()
		check(slow_log.slow >= 1)
	end },
	teapot = { name = 'teapot.lan', type = 'TXT', fn = function (pkt)
		same(records(pkt), { 'teapot.lan. 60 TXT "short"' })
	end },
	local_data = { spec = { 'local_data > iterate' }, name = 'nas.example.org', type = 'A',
		setup = function () local_data.add('nas.example.org', '192.0.2.8') end,
		fn = function (pkt) same(records(pkt), { 'nas.example.org. 300 A 192.0.2.8' }) end },
	closed = { name = 'www.example.net', type = 'MX', fn = function (pkt)
		same({ pkt:rcode(), ede_of(pkt) }, { kres.rcode.REFUSED, '18 no mail here' })
	end },
	no_extras = { name = 'none.example.net', type = 'A', fn = function (pkt)
		same(pkt:nscount(), 0)
	end },
	both_families = { name = 'www.example.net', type = 'AAAA', fn = function (pkt, req)
		same(#records(pkt), 1)
		same({ both_families.waited, tonumber(req.rplan.resolved.len) }, { 1, 2 })
	end },
	watch_names = { spec = { watch_names = { 'www.example.net', 'none.example.net' } },
		name = 'www.example.net', type = 'A', wait = 300, fn = function () end, after = function ()
			same(watch_names.up, { ['www.example.net'] = true, ['none.example.net'] = false })
			same(watch_names.is_over, true)
		end },
}
ZONE['none.example.net'] = kres.rcode.NXDOMAIN

for name in pairs(examples) do
	test('example ' .. name, function (done)
		local c = check(checks[name], 'there is no check of the example ' .. name)
		serve(ZONE)
		modules = c.spec or { name }
		if c.setup then c.setup() end
		ask(c.name, c.type, function (pkt, req)
			c.fn(pkt, req)
			event.after(c.wait or 1, guard(function ()
				if c.after then c.after() end
				modules.unload(name)
				done()
			end))
		end, { addr = '192.0.2.99' })
	end)
end

test('all examples were found', function ()
	for name in pairs(checks) do check(examples[name], name) end
end)
