-- SPDX-License-Identifier: GPL-3.0-or-later

test('after fires once with its id', function (done)
	-- covers: event.after
	local id, n = nil, 0
	id = event.after(5, guard(function (got)
		same(got, id)
		n = n + 1
		if n == 1 then event.after(20, guard(function () same(n, 1); done() end)) end
	end))
	same(type(id), 'number')
end)

test('recurrent fires at once and again', function (done)
	-- covers: event.recurrent
	local n = 0
	event.recurrent(5, guard(function (id)
		n = n + 1
		if n == 4 then
			same(event.cancel(id), true)
			done()
		end
	end))
end)

test('cancelled events do not fire', function (done)
	-- covers: event.cancel
	local id = event.after(1, guard(function () check(false, 'it fired') end))
	same(event.cancel(id), true)
	same(event.cancel(id), false)
	event.after(20, done)
end)

test('reschedule', function (done)
	-- covers: event.reschedule
	local at = 0
	local id = event.after(10000, guard(function ()
		at = at + 1
		if at == 1 then event.after(30, guard(function () same(at, 1); done() end)) end
	end))
	same(event.reschedule(id, 5), true)
	same(event.reschedule(123456, 5), false)
end)

test('an event may reschedule itself', function (done)
	local n = 0
	event.after(1, guard(function (id)
		n = n + 1
		if n < 3 then same(event.reschedule(id, 1), true) else done() end
	end))
end)

test('an error ends the event only', function (done)
	local n = 0
	event.recurrent(2, function ()
		n = n + 1
		error('as the test wants')
	end)
	event.after(30, guard(function ()
		same(n, 1)
		done()
	end))
end)

test('an event that cancels itself leaves its place to a new one', function (done)
	local n = 0
	event.recurrent(1, guard(function (id)
		event.cancel(id)
		event.after(5, guard(function ()
			n = n + 1
			if n == 1 then event.after(20, guard(function () same(n, 1); done() end)) end
		end))
	end))
end)

test('sockets', function (done)
	-- covers: event.socket
	local ffi = require('ffi')
	ffi.cdef('int pipe(int fds[2]); long write(int fd, const void *buf, size_t len); '
		.. 'long read(int fd, void *buf, size_t len); int close(int fd);')
	local fds = ffi.new('int[2]')
	same(ffi.C.pipe(fds), 0)
	local got = 0
	event.socket(fds[0], guard(function (id, status, events)
		local buf = ffi.new('char[1]')
		same({ status, events }, { 0, 1 })
		same(tonumber(ffi.C.read(fds[0], buf, 1)), 1)
		got = got + 1
		if got == 3 then
			same(event.cancel(id), true)
			ffi.C.close(fds[1])
			event.after(5, done)
		end
	end))
	ffi.C.write(fds[1], 'abc', 3)
end)

test('bad arguments', function ()
	boom(event.after, {}, 'ERROR: ')
	boom(event.after, { 5 }, 'ERROR: ')
	boom(event.after, { 'x', print }, 'ERROR: ')
	boom(event.after, { -1, print }, 'ERROR: ')
	boom(event.after, { 2 ^ 40, print }, 'ERROR: ')
	boom(event.recurrent, { 0, print }, 'ERROR: ')
	boom(event.cancel, { 'x' }, 'ERROR: ')
	boom(event.cancel, {}, 'ERROR: ')
	boom(event.reschedule, { 1 }, 'ERROR: ')
	boom(event.socket, { 100000, print }, 'ERROR: ')
	boom(event.socket, { 'x', print }, 'ERROR: ')
	same(event.cancel(-5), false)
	same(event.cancel(2 ^ 60), false)
end)
