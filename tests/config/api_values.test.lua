-- SPDX-License-Identifier: GPL-3.0-or-later
-- Every constant, flag, field and declaration of the extension interface (extension_api.data).
local ffi = require('ffi')
local C = ffi.C

test('constants', function ()
	for _, e in ipairs(entries('const')) do
		local at = e.of == '.' and kres or kres[e.of]
		same(at[e.name], e.value, e.of .. '.' .. e.name)
		if e.of ~= '.' then same(kres.tostring[e.of][e.value], e.name) end
	end
	same(kres.tostring.extended_eror[15], 'BLOCKED')
	for _, name in ipairs({ 'class', 'section', 'opcode', 'rcode', 'rank', 'extended_error', 'type' }) do
		same(kres[name].NO_SUCH_NAME, nil)
	end
	same(kres.section.QUESTION, nil)
end)

test('enumerators', function ()
	for _, e in ipairs(entries('enum')) do same(tonumber(C[e.name]), e.value, e.name) end
end)

test('flags', function ()
	local sets = { kres.mk_qflags(), kres.context().options }
	for _, e in ipairs(entries('flag')) do
		same(kres.mk_qflags(e.name)[e.name], true, e.name)
		for _, set in ipairs(sets) do
			local before = set[e.name]
			set[e.name] = 1
			same(set[e.name], true, e.name)
			set[e.name] = false
			same(set[e.name], false, e.name)
			set[e.name] = before
		end
	end
	boom(function () return sets[1].NO_SUCH_FLAG end)
	boom(function () sets[1].NO_SUCH_FLAG = true end)
end)

--- The type that an entry calls `struct:NAME`, a pointer if it ends with a star.
local function type_of(name)
	return (name:gsub(':', ' '))
end

test('declared types', function ()
	for _, e in ipairs(entries('ctype')) do
		check(pcall(ffi.typeof, type_of(e.name)), e.name)
		if not e.name:find('*', 1, true) then
			check(pcall(ffi.sizeof, ffi.typeof(type_of(e.name))), e.name .. ' is incomplete')
		end
	end
	same(ffi.sizeof('knot_dname_storage_t'), 255)
	same(ffi.sizeof('knot_dname_t'), 1)
end)

test('names that modules declare themselves are free', function ()
	for _, e in ipairs(entries('undeclared')) do
		local code = e.name:find(':') and type_of(e.name) .. ' { int x; };' or 'typedef int ' .. e.name .. ';'
		local is_free, err = pcall(ffi.cdef, code)
		check(is_free, e.name .. ': ' .. tostring(err))
	end
	ffi.cdef('int kr_server_selection_init(void *qry); int kr_rank_check(uint8_t rank);') -- functions may be repeated
	check(C.kr_rank_check ~= nil)
end)

test('declared variables and functions', function ()
	for _, e in ipairs(entries('cvar')) do check(pcall(function () return C[e.name] end), e.name) end
	local libs = { zs_ = ffi.load(libzscanner_SONAME), knot_ = ffi.load(libknot_SONAME) }
	for _, e in ipairs(entries('cfunc')) do
		local is_there, fn = pcall(function () return C[e.name] end)
		check(is_there, e.name .. ': ' .. tostring(fn))
		match(tostring(ffi.typeof(fn)), '%(')
		for prefix, lib in pairs(libs) do
			if e.name:sub(1, #prefix) == prefix then check(pcall(function () return lib[e.name] end), e.name) end
		end
	end
	check(C.the_worker.engine.net ~= nil)
	check(C.kr_now() > 0)
end)

local function look(object, of)
	local n = 0
	for _, e in ipairs(entries('field')) do
		if e.of == of then
			n = n + 1
			local at = object
			for part in e.name:gmatch('[^.]+') do
				local is_there, value = pcall(function () return at[part] end)
				check(is_there, of .. '.' .. e.name)
				at = value
			end
			same(type(at), e.value, of .. '.' .. e.name)
			if e.value == 'number' or e.value == 'boolean' then
				local head, last = e.name:match('^(.-)%.?([^.]+)$')
				local owner = object
				for part in head:gmatch('[^.]+') do owner = owner[part] end
				if not e.name:find('usage_percent') then check(pcall(function () owner[last] = at end), e.name) end
			end
		end
	end
	check(n > 0, of)
end

test('declarations that do not fit are found', function ()
	kres._check_layouts({ { 'struct kr_rplan', nil, ffi.sizeof('struct kr_rplan') } })
	boom(kres._check_layouts, { { { 'struct kr_rplan', 'resolved', 9999 } } },
		'struct kr_rplan.resolved is at %d+ in Lua and at 9999')
	boom(kres._check_layouts, { { { 'struct kr_query', nil, 1 } } }, 'FFI: struct kr_query %(size%)')
end)

test('fields of the process', function ()
	look(kres.context(), 'context')
	look(kres.context().cache, 'cache')
	look(C.the_worker.engine.net, 'net')
	look(kres.context().root_hints, 'zonecut')
	boom(function () return kres.context().modules end)
	local parser = require('zonefile').new('.')
	check(parser:parse('a. A 192.0.2.1\n'))
	look(parser, 'zonefile')
end)

test('fields of a request', function (done)
	serve({ ['fields.example.net A'] = { '192.0.2.1' } })
	local is_seen = false
	package.loaded['kres_modules.looker'] = { layer = { consume = guard(function (state, req, pkt)
		if is_seen or req.answ_selected.len == 0 then return state end
		is_seen = true
		look(req, 'request')
		look(req:current(), 'query')
		look(req.rplan, 'rplan')
		look(pkt, 'packet')
		look(pkt:rrsets(0)[1], 'rrset')
		look(req.answ_selected, 'array')
		look(req.answ_selected:get(0), 'entry')
		return state
	end) } }
	modules.load('looker')
	ask('fields.example.net.', 'A', function (pkt)
		check(is_seen)
		same(pkt:rcode(), 0)
		modules.unload('looker')
		done()
	end)
end)
