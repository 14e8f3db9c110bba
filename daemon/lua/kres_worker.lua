-- SPDX-License-Identifier: GPL-3.0-or-later
-- worker.*: internal queries, and coroutines over the library cqueues.
local ffi = require('ffi')
local C = ffi.C
local args = C.kr_layer_t_static

--- Calls the finish function of a query.
function kres._finish_trampoline(finish)
	local pkt = args.pkt
	finish(pkt ~= nil and pkt or nil, args.req)
end

--- Start a query given as a packet. @return did it start, or end well
function worker.resolve_pkt(pkt, options, finish, init)
	if not ffi.istype('knot_pkt_t', pkt) then
		error('expected worker.resolve_pkt(packet, options[, finish[, init]])', 2)
	end
	local flags = ffi.new('struct kr_qflags[1]')
	C.kr_qflags_set(flags, kres.mk_qflags(options))
	local init_call = init and function () init(args.req) end or nil
	return worker._start(ffi.cast('knot_pkt_t *', pkt), ffi.cast('struct kr_qflags *', flags), finish,
		init_call)
end

--- Start a query. @return did it start, or end well
function worker.resolve(name, rtype, class, options, finish, init)
	if type(name) == 'table' then
		local t = name
		name, rtype, class, options, finish, init =
			t.name, t.type, t.class, t.options, t.finish, t.init
	end
	if type(name) ~= 'string' then panic('resolve(): the name must be a string') end
	local flags = kres.mk_qflags(options)
	local pkt = C.worker_resolve_mk_pkt(name, rtype or kres.type.A, class or kres.class.IN, flags)
	if pkt == nil then panic('resolve(): invalid name %s', name) end
	local is_good, ret = pcall(worker.resolve_pkt, pkt, flags, finish, init)
	C.knot_pkt_free(pkt)
	if not is_good then error(ret, 0) end
	return ret
end

function worker.info()
	local info = worker.stats()
	info.pid = worker.pid
	return info
end

-- ---- Coroutines ----

local has_cqueues, cqueues = pcall(require, 'cqueues')

if not has_cqueues then
	local function missing()
		error('the Lua library cqueues is not installed, it is needed for coroutines', 2)
	end
	worker.sleep = missing
	worker.coroutine = missing
	worker.bg_worker = setmetatable({}, { __index = missing })
	return
end

local controller = cqueues.new()
local poll_event, timer_event
local is_stepping = false

local function step()
	if is_stepping then return end
	is_stepping = true
	local is_good, err, _, co = controller:step(0)
	while not is_good do
		log_warn(C.LOG_GRP_SYSTEM, 'error in a background function: %s',
			debug.traceback(co, tostring(err)))
		is_good, err, _, co = controller:step(0)
	end
	is_stepping = false
	if timer_event then
		event.cancel(timer_event)
		timer_event = nil
	end
	local timeout = controller:timeout()
	if timeout then
		timer_event = event.after(math.min(math.ceil(timeout * sec), day), function ()
			timer_event = nil
			step()
		end)
	end
end

--- Let the loop drive the controller; a socket event can only be had with a loop.
local function engage()
	if not poll_event then
		local is_good, id = pcall(event.socket, controller:pollfd(), step)
		poll_event = is_good and id or nil
	end
	-- not at once: the caller's own work comes first, as it was with timers
	if not timer_event then
		timer_event = event.after(0, function ()
			timer_event = nil
			step()
		end)
	end
end

worker.bg_worker = {
	cq = {
		wrap = function (_, fn, ...)
			controller:wrap(fn, ...)
			engage()
			return worker.bg_worker.cq
		end,
	},
}
setmetatable(worker.bg_worker.cq, { __index = function (_, key)
	local member = controller[key]
	if type(member) ~= 'function' then return member end
	return function (_, ...) return member(controller, ...) end
end })

function worker.coroutine(fn)
	if type(fn) ~= 'function' then error('expected worker.coroutine(function)', 2) end
	worker.bg_worker.cq:wrap(fn)
end

function worker.sleep(seconds)
	cqueues.sleep(seconds)
end
