-- SPDX-License-Identifier: GPL-3.0-or-later
-- Loading, order and hooks of modules. Modules of this test are made on the spot.

local function provide(name, make)
	package.preload['kres_modules.' .. name] = make
end

local function position(name)
	for i, loaded in ipairs(modules.list()) do
		if loaded == name then return i end
	end
end

--- Ask a question and give its answer to fn. The default name is answered without any server.
local function ask(fn, name)
	resolve(name or 'test.invalid.', kres.type.A, kres.class.IN, {}, guard(fn))
end

provide('mod_a', function ()
	return { calls = {}, init = function (m) _G.mod_a.calls[1] = tostring(m) end,
		config = function (...) _G.mod_a_config = { n = select('#', ...), ... } end,
		deinit = function () mod_a_ended = true end }
end)
provide('mod_b', function () return {} end)
provide('mod_c', function () return {} end)

test('the built-in layers come first', function ()
	same({ modules.list()[1], modules.list()[2], modules.list()[3] }, { 'iterate', 'validate', 'cache' })
	same(rawget(_G, 'iterate'), nil)
	same(type(cache.open), 'function')
end)

test('load, list, unload', function ()
	same(modules.load('mod_a'), true)
	match(mod_a.calls[1], '^cdata<struct kr_module %*>')
	same(position('mod_a'), #modules.list())
	same(modules.unload('mod_a'), true)
	same(position('mod_a'), nil)
	same(mod_a, nil)
	same(mod_a_ended, true)
	boom(modules.unload, { 'mod_a' }, 'ERROR: No such file or directory')
	boom(modules.unload, {}, 'ERROR: ')
end)

test('order', function ()
	modules.load('mod_a')
	modules.load('mod_b < cache')
	modules.load('mod_c > cache')
	same(position('mod_b') + 1, position('cache'))
	same(position('cache') + 1, position('mod_c'))
	modules.unload('mod_b')
	same(position('cache') + 1, position('mod_c'))
	modules.load('mod_a < iterate') -- again: it moves
	same(position('mod_a'), 1)
	boom(modules.load, { 'mod_b > nosuch' }, 'ERROR: .*nosuch')
	boom(modules.load, { 'mod_b > mod_b' }, 'ERROR: ')
	same(position('mod_b'), nil)
	modules.unload('mod_a')
	modules.unload('mod_c')
end)

test('the table gives configuration', function ()
	modules = { 'mod_b > iterate', mod_a = { 5 } }
	same(mod_a_config, { { 5 }, n = 1 })
	same(position('mod_b'), 2)
	modules.unload('mod_a')
	modules = { 'mod_a' }
	same(mod_a_config, { n = 0 })
	modules.unload('mod_a')
	modules.mod_a = 'text'
	same(mod_a_config, { 'text', n = 1 })
	modules.unload('mod_a')
	modules.unload('mod_b')
end)

test('modules that cannot be loaded', function ()
	boom(modules.load, { 'no_such_module' }, 'ERROR: No such file or directory')
	boom(modules.load, { 5 }, 'ERROR: ')
	boom(modules.load, {}, 'ERROR: ')
	boom(modules.load, { '' }, 'ERROR: ')
	boom(modules.load, { ('x'):rep(1000) }, 'ERROR: ')
	provide('mod_bad_init', function () return { init = function () error('not today') end } end)
	boom(modules.load, { 'mod_bad_init' }, 'ERROR: ')
	same(position('mod_bad_init'), nil)
	provide('mod_no_table', function () return 5 end)
	boom(modules.load, { 'mod_no_table' }, 'ERROR: ')
	provide('mod_bad_layer', function () return { layer = { begin = 'x' } } end)
	boom(modules.load, { 'mod_bad_layer' }, 'ERROR: ')
end)

test('modules say whether their hooks may be skipped', function ()
	provide('mod_skip', function () return { layer = { is_skippable = true, begin = function () end } } end)
	modules.load('mod_skip')
	same(modules.set_skippable('mod_skip', false), true)
	same(modules.set_skippable('mod_skip', true), true)
	boom(modules.set_skippable, { 'nosuch', true }, 'ERROR: No such file or directory')
	boom(modules.set_skippable, { 'iterate', true }, 'ERROR: ')
	boom(modules.set_skippable, { 'mod_skip' }, 'ERROR: ')
	modules.unload('mod_skip')
end)

test('a module is reloaded from its file', function ()
	local n = 0
	provide('mod_again', function () n = n + 1; return { n = n } end)
	modules.load('mod_again > iterate')
	modules.reload('mod_again')
	same({ mod_again.n, position('mod_again') }, { 2, 2 })
	modules.unload('mod_again')
end)

test('hooks get what they are promised', function (done)
	local seen = {}
	local function note(name)
		return function (state, req, third, ...)
			seen[#seen + 1] = { name = name, state = state, req = tostring(req), third = third,
				n = select('#', ...) }
		end
	end
	provide('mod_hooks', function ()
		local layer = {}
		for _, hook in ipairs({ 'begin', 'reset', 'produce', 'consume', 'answer_finalize', 'finish' }) do
			layer[hook] = note(hook)
		end
		return { layer = layer }
	end)
	modules.load('mod_hooks < iterate')
	ask(function (pkt, req)
		modules.unload('mod_hooks')
		check(pkt)
		same(seen[1].name, 'begin')
		same(seen[1].state, kres.CONSUME)
		same(seen[1].third, nil)
		same(seen[#seen].name, 'finish')
		for _, call in ipairs(seen) do
			same(call.req, tostring(req))
			match(call.req, '^cdata<struct kr_request %*>: 0x')
		end
		done()
	end)
end)

test('hooks may be for some questions only', function (done)
	local called = {}
	local function counter(name, layer)
		layer.begin = function () called[name] = (called[name] or 0) + 1 end
		layer.finish = layer.begin
		provide(name, function () return { layer = layer } end)
		modules.load(name .. ' < iterate')
	end
	counter('mod_any', {})
	counter('mod_a_type', { qtypes = { kres.type.MX, kres.type.A } })
	counter('mod_other_type', { qtypes = { kres.type.MX } })
	counter('mod_label', { first_label = 'TeS' })
	counter('mod_other_label', { first_label = 'best' })
	counter('mod_long_label', { first_label = 'testtest' })
	provide('mod_bad_types', function () return { layer = { qtypes = 1 } } end)
	boom(modules.load, { 'mod_bad_types' }, 'ERROR: ')
	provide('mod_bad_label', function () return { layer = { first_label = '' } } end)
	boom(modules.load, { 'mod_bad_label' }, 'ERROR: ')
	ask(function ()
		for _, name in ipairs({ 'any', 'a_type', 'other_type', 'label', 'other_label', 'long_label' }) do
			modules.unload('mod_' .. name)
		end
		same(called, { mod_any = 2, mod_a_type = 2, mod_label = 2 })
		done()
	end)
end)

local function answer_with(rcode)
	return function (_, req)
		local answer = req:ensure_answer()
		answer:rcode(rcode)
		return kres.DONE
	end
end

test('a hook answers', function (done)
	provide('mod_answer', function () return { layer = { begin = answer_with(kres.rcode.REFUSED) } } end)
	modules.load('mod_answer < iterate')
	ask(function (pkt)
		modules.unload('mod_answer')
		same(pkt:rcode(), kres.rcode.REFUSED)
		done()
	end)
end)

test('the state is kept by nil and changed by hand', function (done)
	provide('mod_by_hand', function ()
		return { layer = { begin = function (_, req)
			answer_with(kres.rcode.NXDOMAIN)(nil, req)
			req.state = kres.DONE
		end } }
	end)
	modules.load('mod_by_hand < iterate')
	ask(function (pkt)
		modules.unload('mod_by_hand')
		same(pkt:rcode(), kres.rcode.NXDOMAIN)
		done()
	end)
end)

-- Whatever a hook does, one request fails and the process lives.
local mischief = {
	['error()'] = function () error('mischief') end,
	['error with a table'] = function () error({}) end,
	['error with nil'] = function () error() end,
	['nil index'] = function () return no_such_global.y end,
	['FFI type error'] = function () return require('ffi').C.knot_dname_size({}) end,
	['stack overflow'] = function () local function f() return 1 + f() end; return f() end,
	['yield'] = function () coroutine.yield() end,
	['boolean'] = function () return true end,
	['string'] = function () return 'DONE' end,
	['too large'] = function () return 32 end,
	['negative'] = function () return -1 end,
	['fraction'] = function () return 4.5 end,
	['not a number'] = function () return 0 / 0 end,
	['out of memory'] = function () return ('x'):rep(2 ^ 34) end,
}
for what, deed in pairs(mischief) do
	for _, hook in ipairs({ 'begin', 'produce', 'answer_finalize', 'finish' }) do
		test('mischief in ' .. hook .. ': ' .. what, function (done)
			provide('mod_mischief', function ()
				return { layer = { [hook] = function () return deed() end } }
			end)
			package.loaded['kres_modules.mod_mischief'] = nil
			modules.load('mod_mischief < iterate')
			ask(function (pkt)
				modules.unload('mod_mischief')
				check(pkt)
				if hook == 'begin' or hook == 'produce' then same(pkt:rcode(), kres.rcode.SERVFAIL) end
				done()
			end, hook == 'produce' and 'mischief.example.net.' or nil)
		end)
	end
end

test('hooks do not leak memory', function (done)
	provide('mod_vars', function ()
		return { layer = { begin = function (_, req)
			req:vars().mark = ('x'):rep(1000)
			return answer_with(0)(nil, req)
		end, finish = function (_, req) check(req:vars().mark) end } }
	end)
	modules.load('mod_vars < iterate')
	local before
	local left = 3000
	local function again()
		if left == 2000 then
			collectgarbage()
			collectgarbage()
			before = collectgarbage('count')
		end
		if left == 0 then
			modules.unload('mod_vars')
			collectgarbage()
			collectgarbage()
			check(collectgarbage('count') - before < 200, 'memory grew by '
				.. collectgarbage('count') - before .. ' KiB')
			local n = 0
			for _ in pairs(worker.vars) do n = n + 1 end
			check(n < 10, n .. ' tables left')
			return done()
		end
		left = left - 1
		for _ = 1, 9 do resolve('test.invalid.') end
		ask(function () event.after(0, guard(again)) end)
	end
	again()
end)
