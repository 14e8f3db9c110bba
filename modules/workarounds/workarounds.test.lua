-- SPDX-License-Identifier: GPL-3.0-or-later
local CLIENT = { addr = '192.0.2.1' }

--- Is the flag set for a name?
local function flag_of(name, fn)
	local seen
	local look = policy.add(policy.all(function (_, req)
		seen = { req:current().flags.NO_0X20, req.options.NO_0X20 }
		return policy.REFUSE(nil, req)
	end))
	ask(name, 'A', function ()
		policy.del(look.id)
		fn(seen)
	end, CLIENT)
end

test('one rule is added, once', function ()
	same(#policy.rules, 0)
	modules = { 'workarounds < iterate' }
	same(#policy.rules, 1)
	workarounds.config()
	same(#policy.rules, 1)
end)

test('the flag is set for names on the list', function (done)
	flag_of('x.y.cdngc.net', function (seen)
		same(seen, { true, true })
		flag_of('example.net', function (seen2)
			same(seen2, { false, false })
			done()
		end)
	end)
end)

test('unloading takes the rule away', function ()
	modules.unload('workarounds')
	same(#policy.rules, 0)
end)
