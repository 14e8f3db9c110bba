-- SPDX-License-Identifier: GPL-3.0-or-later
for _, name in ipairs({ 'ta_update', 'priming', 'detect_time_skew' }) do modules.unload(name) end
local socket = require('cqueues.socket')
local PATH = env.TEST_FOLDER .. '/tap.sock'

-- ---- A reader of Frame Streams ----

local function be32(n)
	return string.char(math.floor(n / 2 ^ 24) % 256, math.floor(n / 2 ^ 16) % 256, math.floor(n / 256) % 256, n % 256)
end

local function read32(peer)
	local a, b, c, d = check(peer:read(4), 'the writer went away'):byte(1, 4)
	return ((a * 256 + b) * 256 + c) * 256 + d
end

--- @return 'control', type, body or 'data', body
local function read_frame(peer)
	local len = read32(peer)
	if len > 0 then return 'data', peer:read(len) end
	len = read32(peer)
	local body = peer:read(len)
	return 'control', body:byte(4), body
end

local function accept(server)
	local peer = check(server:accept(15), 'nobody connects')
	peer:setmode('bn', 'bn')
	peer:settimeout(15)
	local kind, what, body = read_frame(peer)
	same({ kind, what }, { 'control', 4 }) -- READY
	check(body:find('protobuf:dnstap.Dnstap', 1, true))
	local content = be32(1) .. be32(22) .. 'protobuf:dnstap.Dnstap'
	peer:write(be32(0) .. be32(4 + #content) .. be32(1) .. content) -- ACCEPT
	peer:flush()
	kind, what = read_frame(peer)
	same({ kind, what }, { 'control', 2 }) -- START
	return peer
end

local function listen()
	local server = socket.listen({ path = PATH, unlink = true })
	server:onerror(function (_, _, code) return code end)
	check(server:listen())
	return server
end

-- ---- Protocol buffers ----

local function varint(text, at)
	local value, scale = 0, 1
	repeat
		local byte = text:byte(at)
		value, scale, at = value + byte % 128 * scale, scale * 128, at + 1
	until byte < 128
	return value, at
end

--- Field number -> value (bytes or number).
local function decode(text)
	local fields, at = {}, 1
	while at <= #text do
		local key, len
		key, at = varint(text, at)
		local field, kind = math.floor(key / 8), key % 8
		if kind == 0 then
			fields[field], at = varint(text, at)
		elseif kind == 2 then
			len, at = varint(text, at)
			fields[field], at = text:sub(at, at + len - 1), at + len
		else
			same(kind, 5)
			fields[field], at = text:sub(at, at + 3), at + 4
		end
	end
	return fields
end

local function next_message(peer)
	local kind, body = read_frame(peer)
	same(kind, 'data')
	local frame = decode(body)
	same(frame[15], 1)
	return decode(frame[14]), frame
end

local function tap_test(name, fn)
	test(name, function (done)
		worker.coroutine(guard(function () fn() done() end))
	end)
end

local function ask_and_wait(how)
	local answer = nil
	ask('localhost', 'A', function (pkt) answer = pkt:towire() end, how)
	while not answer do worker.sleep(0.01) end
	return answer
end

tap_test('what is told', function ()
	modules.load('dnstap')
	same(dnstap.config(), 0)
	local server = listen()
	same(dnstap.config({ socket_path = PATH, identity = 'me', version = 'mine 1',
		client = { log_queries = true, log_responses = true } }), 0)
	local peer = accept(server)
	local answer = ask_and_wait({ addr = '192.0.2.1', dst = '192.0.2.53' })
	local now = os.time()
	local msg, frame = next_message(peer)
	same({ frame[1], frame[2], frame[3] }, { 'me', 'mine 1', nil })
	same({ msg[1], msg[2], msg[3], msg[4], msg[5], msg[6], msg[7] },
		{ 5, 1, 1, '\192\0\2\1', '\192\0\2\53', 12345, 12345 })
	check(math.abs(msg[8] - now) <= 2)
	same({ #msg[9], msg[10]:find('\9localhost\0\0\1\0\1', 1, true), msg[12], msg[14] }, { 4, 13 })
	msg = next_message(peer)
	same({ msg[1], msg[8], msg[10], msg[14] }, { 6, nil, nil, answer })
	check(math.abs(msg[12] - now) <= 2)
	peer:close()
	server:close()
	dnstap.config()
end)

tap_test('transports, IPv6, and nothing of the contents unless wanted', function ()
	local server = listen()
	same(dnstap.config({ socket_path = PATH }), 0)
	local peer = accept(server)
	for protocol, flags in ipairs({ {}, { 'tcp' }, { 'tcp', 'tls' }, { 'tcp', 'tls', 'http' } }) do
		ask_and_wait({ addr = '2001:db8::1', dst = '2001:db8::53', flags = flags })
		local msg, frame = next_message(peer)
		same({ msg[1], msg[2], msg[3], #msg[4], msg[10], frame[1] }, { 5, 2, protocol, 16, nil, nil })
		match(frame[2], '^Knot Resolver %d+%.%d+%.%d+$')
		msg = next_message(peer)
		same({ msg[1], msg[3], msg[14] }, { 6, protocol, nil })
	end
	ask_and_wait({}) -- internal: not told
	ask_and_wait({ addr = '192.0.2.7' })
	same(next_message(peer)[4], '\192\0\2\7')
	peer:close()
	server:close()
	dnstap.config()
end)

tap_test('a reader that comes late is found', function ()
	os.remove(PATH)
	same(dnstap.config({ socket_path = PATH }), -22)
	ask_and_wait({ addr = '192.0.2.1' }) -- answered all the same
	local server = listen()
	local peer = accept(server)
	ask_and_wait({ addr = '192.0.2.2' })
	repeat local msg = next_message(peer) until msg[4] == '\192\0\2\2'
	dnstap.config() -- the reader hangs, we do not
	peer:close()
	server:close()
end)

test('bad settings', function ()
	same(dnstap.config({ socket_path = 5 }), -22)
	same(dnstap.config('{ nonsense'), -22)
	same(dnstap.config({ socket_path = ('x'):rep(200) }), -22)
	modules.unload('dnstap')
end)
