-- SPDX-License-Identifier: GPL-3.0-or-later
-- Entries that few meet.
local ffi = require('ffi')
local C = ffi.C

test('what map() sends to others gives results as Lua data', function ()
	local krprint = require('krprint')
	same(krprint.deserialize_lua(_map_luaobj_call_wrapper('1 + 1')), { true, 2, n = 2 })
	local failed = krprint.deserialize_lua(_map_luaobj_call_wrapper('error("mine")'))
	same({ failed[1], failed.n }, { false, 2 })
	match(failed[2], 'mine')
	same(krprint.deserialize_lua(_map_luaobj_call_wrapper('print'))[1], false)
end)

test('a socket filter that is not there can be taken off', function ()
	net.listen('127.0.0.1', 20599)
	same(net.bpf_clear(), true)
	match(boom(net.bpf_set, { 0 }), 'ERROR: failed to attach')
	net.close('127.0.0.1', 20599)
end)

test('keys are published', function ()
	local keyset = trust_anchors.keysets['\0']
	same(trust_anchors.keyset_publish(keyset), true)
	check(C.kr_ta_get(kres.context().trust_anchors, todname('.')) ~= nil)
	local states = {}
	for i, key in ipairs(keyset) do states[i], key.state = key.state, trust_anchors.key_state.Removed end
	same(trust_anchors.keyset_publish(keyset), false)
	for i, key in ipairs(keyset) do key.state = states[i] end
	same(trust_anchors.keyset_publish(keyset), true)
	same(trust_anchors.keyset_write(keyset), true) -- of an unmanaged file: nothing is written
end)

test('the service manager is told, if there is one', function ()
	same(worker.sd_notify('STATUS=test'), env.NOTIFY_SOCKET ~= nil)
	boom(worker.sd_notify)
end)

test('lines about a query', function (done)
	local lines = {}
	local on_line = ffi.cast('trace_log_f', function (_, text)
		jit.off(true, true)
		lines[#lines + 1] = ffi.string(text)
	end)
	package.loaded['kres_modules.test_lines'] = { layer = { produce = function (state, req)
		if req:current() ~= nil then log_qry(req:current(), C.LOG_GRP_DEVEL, 'here %d', 5) end
		return state
	end } }
	modules.load('test_lines')
	resolve({ name = 'nowhere.invalid.net', init = function (req) req:trace_chain_callbacks(on_line, nil) end,
		finish = guard(function ()
			event.after(1, guard(function ()
				match(table.concat(lines), '%[devel *%]%[%d+%.%d%d%] *here 5\n')
				modules.unload('test_lines')
				done()
			end))
		end) })
end)
