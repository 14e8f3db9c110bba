-- SPDX-License-Identifier: GPL-3.0-or-later
-- Finds Lua modules and gives C one function per hook (daemon/ffi_layer.c). A trampoline is called with
-- the state only; it takes typed pointers from kr_layer_t_static before anything else can run.
local ffi = require('ffi')
local C = ffi.C
local args = C.kr_layer_t_static
local libdir = _paths.libdir
local module_p = ffi.typeof('struct kr_module *')

-- Each hook gets a trampoline of its own make: functions of one source would share what the compiler knows, and
-- one that cannot be compiled would keep the others from it.
local arguments = {
	begin = { 'args.req' },
	reset = { 'args.req' },
	answer_finalize = { 'args.req' },
	finish = { 'args.req', 'args.pkt' },
	consume = { 'args.req', 'args.pkt' },
	produce = { 'args.req', 'args.pkt' },
	checkout = { 'args.req', 'args.pkt', 'args.dst', 'args.is_stream' },
}

--- Function of the state only, for C. What the hook does not take is not made: each pointer is a new object.
local function trampoline(name, hook, fn)
	local info = debug.getinfo(fn, 'u')
	local taken = { 'state' }
	for i, arg in ipairs(arguments[hook]) do
		if info.isvararg or i < info.nparams then taken[i + 1] = arg end
	end
	if #taken == 1 then return fn end
	local code = 'local hook, args = ...; return function (state) return hook(' .. table.concat(taken, ', ') .. ') end'
	return assert(loadstring(code, '=' .. name .. '.' .. hook))(fn, args)
end

--- Words in the table of hooks that are no hooks.
local options = {
	skippable = function (bound, value) bound.skippable = value == true end,
	qtypes = function (bound, value, name)
		if type(value) ~= 'table' or #value < 1 or #value > 8 then
			error(string.format('module %s: layer.qtypes must be a list of one to eight types', name), 0)
		end
		bound.qtypes = value
	end,
	first_label = function (bound, value, name)
		if type(value) ~= 'string' or #value < 1 or #value > 63 then
			error(string.format('module %s: layer.first_label must be the beginning of a label', name), 0)
		end
		bound.first_label = value:lower()
	end,
	compiled = function (bound, value) bound.compiled = value == true end, -- its rules are in C (lib/rules)
	concerns = function (bound, value) -- all that the layer cares for among what is cached
		bound.concerns = { tlds = value.tlds or {}, prefixes = value.prefixes or {} }
	end,
	sees_failures = function (bound, value) bound.sees_failures = value == true end,
	on_error = function (bound, value, name)
		if value ~= 'fail' and value ~= 'skip' then
			error(string.format("module %s: layer.on_error must be 'fail' or 'skip'", name), 0)
		end
		bound.skips_errors = value == 'skip'
	end,
	max_errors = function (bound, value, name)
		if type(value) ~= 'number' or value < 1 or value > 2 ^ 31 then
			error(string.format('module %s: layer.max_errors must be a number from 1', name), 0)
		end
		bound.max_errors = value
	end,
}

local function bind_hooks(name, layer)
	local bound = {}
	for hook, fn in pairs(layer) do
		if options[hook] then
			options[hook](bound, fn, name)
		elseif not arguments[hook] then
			log_warn(C.LOG_GRP_SYSTEM, 'module %s: there is no hook %s', name, tostring(hook))
		elseif type(fn) ~= 'function' then
			error(string.format('module %s: hook %s must be a function', name, hook), 0)
		else
			bound[hook] = trampoline(name, hook, fn)
		end
	end
	return bound
end

-- Modules from elsewhere run interpreted: compiled code could not be stopped (daemon/guard.h).
table.insert(package.loaders, 2, function (full)
	if not full:match('^kres_modules%.') then return nil end
	local path = package.searchpath(full, package.path)
	if not path or path:sub(1, #libdir + 1) == libdir .. '/' then return nil end
	local chunk, err = loadfile(path)
	if not chunk then error(err, 0) end
	jit.off(chunk, true)
	return chunk
end)

local loader = {}

--- Find a module and set its global. @return table, hooks or nil; or nil and a message
function loader.load(name)
	local full = 'kres_modules.' .. name
	if not package.loaded[full] and not package.preload[full]
		and not package.searchpath(full, package.path)
		and not package.searchpath(full, package.cpath) then
		return nil, 'there is no such module'
	end
	local module = require(full)
	if type(module) ~= 'table' then
		error(string.format('module %s: the file must return a table', name), 0)
	end
	_G[name] = module
	return module, type(module.layer) == 'table' and bind_hooks(name, module.layer) or nil
end

function loader.init(module, handle)
	if module.init then module.init(ffi.cast(module_p, handle)) end
end

function loader.deinit(module, handle)
	if module.deinit then module.deinit(ffi.cast(module_p, handle)) end
end

local adopted = {}

--- Members that modules written in C cannot bring.
function adopted.hints(hints)
	rawset(hints, 'root_file', function (path)
		local is_good, err = pcall(_hint_root_file, path ~= '' and path or nil)
		if not is_good then
			error(string.format("error when opening '%s': failed to open root hints file (%s)",
				path or 'built-in', tostring(err):match('ERROR: ([^\n]*)$') or tostring(err)), 2)
		end
		return ''
	end)
end

function loader.adopt(name, module)
	if adopted[name] then adopted[name](module) end
end

_registry('kres.module_loader', loader)
_registry('kres.trace_log', kres._trace_log)
_registry('kres.trace_finish', kres._trace_finish)

--- Load a module anew from its file.
function modules.reload(name)
	package.loaded['kres_modules.' .. name] = nil
	local list, at = modules.list(), nil
	for i, loaded in ipairs(list) do
		if loaded == name then at = i end
	end
	local place = name
	if at and list[at + 1] then place = name .. ' < ' .. list[at + 1] end
	return modules.load(place)
end
