-- SPDX-License-Identifier: GPL-3.0-or-later
-- Each error has its class (entries.data), and its message says what was expected.

local wanted = {}
for line in io.lines('entries.data') do
	local name, classes = line:match('^([%w_.]+)%s+(.+)$')
	for class in (classes or ''):gmatch('%u+') do wanted[name .. ' ' .. class] = true end
end

local function class_of(text)
	local message = text:match('^[^\n]+\n.*stack traceback.*\nERROR: ([^\n]*)$')
	if message then
		local is_plain = message == 'No such file or directory' or message == 'Invalid argument'
			or message == 'Operation not permitted'
		return is_plain and 'OS' or 'T'
	end
	if text:match('^ERROR: [^\n]*$') then return 'P' end
	if text:match('^[^\n]-:%d+: [^\n]+$') then return 'L' end
	return 'none'
end

local function set(name)
	local tbl, key = name:match('^(.*)%.([%w_]+)$')
	return function (value) _G[tbl][key] = value end
end

local function get(name)
	local value = loadstring('return ' .. name)()
	return value
end

local C = require('ffi').C

-- name, class, arguments, what the message has
local rows = {
	{ 'quit', 'T', { 256 }, 'exit status' },
	{ 'hostname', 'T', { {} }, 'hostname' },
	{ 'user', 'T', {}, 'expected user' },
	{ 'user', 'T', { 5 }, 'expected user' },
	{ 'user', 'T', { 'no_such_user_here' }, 'no_such_user_here' },
	{ 'user', 'T', { 'root', 'no_such_group_here' }, 'no_such_group_here' },
	{ 'mode', 'L', { 'lax' }, 'lax.*strict' },
	{ 'option', 'L', { 'NO_SUCH' }, 'NO_SUCH' },
	{ 'option', 'L', { 5 }, 'expected' },
	{ 'option', 'P', { 'TRACE', 'yes' }, 'boolean' },
	{ 'reorder_RR', 'P', { 1 }, 'boolean' },
	{ 'resolve', 'P', { 'a..b' }, 'a%.%.b' },
	{ 'resolve', 'P', { nil }, 'name' },
	{ 'resolve', 'L', { 'localhost', 1, 1, { 'NO_SUCH' } }, 'NO_SUCH' },
	{ 'fromjson', 'T', { '{' }, 'JSON' },
	{ 'fromjson', 'T', {}, 'fromjson' },
	{ 'map', 'P', { '' }, 'command' },
	{ 'map', 'P', { '1', 'xml' }, 'xml' },
	{ 'log_level', 'T', { 'loud' }, 'loud.*notice' },
	{ 'log_level', 'T', { 'info', 'x' }, 'expected' },
	{ 'log_target', 'T', { 'paper' }, 'paper.*stderr' },
	{ 'log_groups', 'T', { 'tls' }, 'expected' },
	{ 'log', 'L', {}, 'format' },
	{ 'log_error', 'L', { C.LOG_GRP_MODULE }, 'format' },
	{ 'log_error', 'T', { 9999, 'x' }, '9999' },
	{ 'log_warn', 'L', { C.LOG_GRP_MODULE }, 'format' },
	{ 'log_warn', 'T', { 9999, 'x' }, '9999' },
	{ 'log_notice', 'L', { C.LOG_GRP_MODULE }, 'format' },
	{ 'log_notice', 'T', { 9999, 'x' }, '9999' },
	{ 'log_info', 'L', { C.LOG_GRP_MODULE }, 'format' },
	{ 'log_info', 'T', { 9999, 'x' }, '9999' },
	{ 'log_debug', 'L', { C.LOG_GRP_MODULE }, 'format' },
	{ 'log_debug', 'T', { 9999, 'x' }, '9999' },
	{ 'panic', 'P', { 'number %d', 5 }, 'number 5' },
	{ 'eval_cmd', 'L', { 'no lua' }, '' },
	{ 'eval_cmd', 'L', { 'no lua', true }, '' },
	{ '_hint_root_file', 'T', { 'missing.zone' }, 'missing.zone' },

	{ 'net.listen', 'T', {}, 'expected net.listen' },
	{ 'net.listen', 'T', { '192.0.2.250' }, '192%.0%.2%.250@53.*UDP.*Cannot assign' },
	{ 'net.listen', 'T', { '127.0.0.1', 65536 }, '65535' },
	{ 'net.listen', 'T', { '127.0.0.1', 'x' }, 'expected' },
	{ 'net.listen', 'T', { '127.0.0.1', 5353, { kind = 'doh' } }, 'doh_legacy' },
	{ 'net.listen', 'T', { '127.0.0.1', 5353, { kind = 'doh' } }, 'doh2' },
	{ 'net.listen', 'T', { '127.0.0.1', 5353, { nic_queue = 0 } }, 'xdp' },
	{ 'net.listen', 'T', { '/tmp/no-kind' }, 'kind' },
	{ 'net.close', 'T', {}, 'net.close' },
	{ 'net.close', 'T', { '127.0.0.1', 65536 }, '65535' },
	{ 'net.bufsize', 'T', { 511 }, '512' },
	{ 'net.bufsize', 'T', { 65536 }, '65535' },
	{ 'net.bufsize', 'T', { 'x' }, 'number' },
	{ 'net.tcp_pipeline', 'T', { 65536 }, '65535' },
	{ 'net.tcp_in_idle', 'T', { 0 }, 'milliseconds' },
	{ 'net.tcp_in_idle', 'T', { 'x' }, 'milliseconds' },
	{ 'net.tls_handshake_timeout', 'T', { -1 }, 'milliseconds' },
	{ 'net.tls', 'T', { 'one' }, 'expected net.tls' },
	{ 'net.tls', 'OS', { 'missing.pem', 'missing.key' }, '' },
	{ 'net.tls_server', 'T', { 1, 2, 3 }, 'expected' },
	{ 'net.tls_server', 'OS', { 'missing.pem', 'missing.key' }, '' },
	{ 'net.tls_padding', 'T', { 1233 }, '1232' },
	{ 'net.tls_padding', 'T', { 'x' }, 'tls_padding' },
	{ 'net.tls_sticket_secret', 'T', { ('x'):rep(31) }, '32' },
	{ 'net.tls_sticket_secret_file', 'T', { 'missing' }, 'missing.*No such file' },
	{ 'net.tls_client', 'T', { { '192.0.2.1' } }, 'authenticate' },
	{ 'net.tls_client', 'T', { { '192.0.2.1', hostnam = 'x' } }, 'hostnam' },
	{ 'net.tls_client', 'T', { { '192.0.2.1', pin_sha256 = 'YQ==' } }, 'pin' },
	{ 'net.tls_client', 'T', { { '192.0.2.1', ca_file = 'x' } }, 'hostname' },
	{ 'net.tls_client', 'OS', { 5 }, '' },
	{ 'net.tls_client_clear', 'T', { 'x' }, 'address' },
	{ 'net.tls_client_clear', 'OS', { '192.0.2.1' }, '' },
	{ 'net.outgoing_v4', 'T', { '::1' }, 'IPv4' },
	{ 'net.outgoing_v6', 'T', { '192.0.2.1' }, 'IPv6' },
	{ 'net.proxy_allowed', 'T', { '192.0.2.0/33' }, '192.0.2.0/33' },
	{ 'net.proxy_allowed', 'T', { 5 }, 'expected' },
	{ 'net.doh_headers', 'T', { 5 }, 'expected' },
	{ 'net.register_endpoint_kind', 'T', { 'dns', print }, 'built in' },
	{ 'net.register_endpoint_kind', 'T', { 'unheard-of' }, 'not registered' },
	{ 'net.bpf_set', 'T', { 'x' }, 'expected' },

	{ 'cache.open', 'T', {}, 'expected cache.open' },
	{ 'cache.open', 'T', { 8191 }, '8192' },
	{ 'cache.open', 'T', { MB, 'redis://x' }, 'unsupported.*redis' },
	{ 'cache.size', 'T', { 1 }, '8192', set },
	{ 'cache.storage', 'T', { 'memcached://x' }, 'unsupported.*memcached', set },
	{ 'cache.max_ttl', 'T', { 0 }, 'max_ttl' },
	{ 'cache.max_ttl', 'T', { 2 ^ 31 }, 'seconds' },
	{ 'cache.min_ttl', 'T', { -1 }, 'min_ttl' },
	{ 'cache.ns_tout', 'T', { 0 }, 'milliseconds' },
	{ 'cache.answers', 'T', { -1 }, 'answer cache' },
	{ 'cache.checkpoint', 'T', { 5 }, 'expected' },
	{ 'cache.clear', 'L', { 'a..b' }, 'a%.%.b' },
	{ 'cache.clear', 'L', { 'x.example', 5 }, 'exact' },
	{ 'cache.clear', 'L', { 'x.example', true, kres.type.A, 5 }, 'type' },
	{ 'cache.clear', 'L', { 'x.example', true, nil, 0 }, 'chunk' },

	{ 'cache.open', 'L', { MB, '/proc/no/such/place' }, '/proc/no/such/place.*working directory' },
	{ 'cache.storage', 'L', { 'lmdb:///proc/no/such/place' }, 'working directory', set },
	{ 'trust_anchors.add', 'P', { 'garbage' }, 'DS or DNSKEY' },
	{ 'trust_anchors.add', 'P', { 5 }, 'text' },
	{ 'trust_anchors.add_file', 'P', { 'missing.keys', true }, 'missing.keys' },
	{ 'trust_anchors.add_file', 'L', { '/proc/keys/root.keys' }, 'writable' },
	{ 'trust_anchors.remove', 'L', { 'a..b' }, 'a%.%.b' },
	{ 'trust_anchors.set_insecure', 'L', { 'x' }, 'table' },
	{ 'trust_anchors.set_insecure', 'L', { { '.' } }, 'anchor' },
	{ 'trust_anchors.config', 'P', {}, 'configuration upgrade required' },
	{ 'trust_anchors.file', 'P', { 'root.keys' }, 'configuration upgrade required.*https://', set },
	{ 'trust_anchors.negative', 'P', { {} }, 'configuration upgrade required', set },
	{ 'trust_anchors.keyfile_default', 'P', { 'x' }, 'configuration upgrade required', set },

	{ 'worker.resolve', 'P', { 5 }, 'name' },
	{ 'worker.resolve', 'L', { 'localhost', 1, 1, 'NO_SUCH' }, 'NO_SUCH' },
	{ 'worker.resolve_pkt', 'L', { 5 }, 'packet' },
	{ 'worker.coroutine', 'L', { 5 }, 'function' },

	{ 'event.after', 'T', {}, 'milliseconds' },
	{ 'event.after', 'T', { 5, 'x' }, 'function' },
	{ 'event.recurrent', 'T', { 0, print }, 'milliseconds' },
	{ 'event.reschedule', 'T', { 'x', 1 }, 'expected' },
	{ 'event.cancel', 'T', { 'x' }, 'expected' },
	{ 'event.socket', 'T', { 99999, print }, 'cannot watch' },

	{ 'modules.load', 'T', { 5 }, 'expected' },
	{ 'modules.load', 'T', { 'stats < nosuch' }, 'nosuch' },
	{ 'modules.load', 'OS', { 'nosuchmodule' }, '' },
	{ 'modules.unload', 'T', { 5 }, 'expected' },
	{ 'modules.unload', 'OS', { 'nosuchmodule' }, '' },
	{ 'modules.set_skippable', 'T', { 'policy' }, 'expected' },
	{ 'modules.set_skippable', 'OS', { 'nosuchmodule', true }, '' },
	{ 'modules.reload', 'OS', { 'nosuchmodule' }, '' },
	{ 'debugging.assertion_abort', 'P', { 5 }, 'boolean', set },
	{ 'debugging.assertion_fork', 'P', { 'x' }, 'number', set },
}

local function try(row, how)
	local name, class, args, pattern, as = unpack(row)
	local fn = as and as(name) or get(name)
	local is_good, err = pcall(function ()
		local result = fn(unpack(args, 1, table.maxn(args))) -- no tail call: this is the place that errors name
		return result
	end)
	local label = how .. name .. ' ' .. class
	check(not is_good, label .. ': no error')
	local got = class_of(tostring(err))
	same(got, class, label .. ': ' .. tostring(err))
	match(tostring(err):match('ERROR: ([^\n]*)$') or tostring(err), pattern)
	wanted[name .. ' ' .. class] = nil
end

test('every error has its class', function ()
	local wrong = {}
	for _, row in ipairs(rows) do
		local is_good, err = pcall(try, row, '')
		if not is_good then wrong[#wrong + 1] = err end
	end
	same(table.concat(wrong, '\n'), '')
end)

test('the system refuses what it must', function ()
	if io.popen('id -u'):read('*l') == '0' then -- root may all
		wanted['user OS'] = nil
		return
	end
	try({ 'user', 'OS', { 'root' }, '' }, '')
end)

test('without a cache', function ()
	cache.close()
	for _, name in ipairs({ 'count', 'stats', 'max_ttl', 'min_ttl', 'clear', 'clear_everything', 'checkpoint' }) do
		try({ 'cache.' .. name, 'T', {}, 'not open' }, 'closed: ')
	end
	cache.open(MB)
end)

test('map: what comes back is checked', function (done)
	worker.coroutine(guard(function ()
		worker.control_path = worker.cwd .. '/control/'
		net.listen(worker.control_path .. 'me', nil, { kind = 'control' })
		try({ 'map', 'L', { '5', 'strings' }, 'unexpected' }, '')
		done()
	end))
end)

test('no class is forgotten', function ()
	same(wanted, {})
end)

test('an error of a configuration file names its line', function ()
	local f = io.open('bad.conf', 'w')
	f:write('-- one\nnet.bufsize(5)\n')
	f:close()
	match(boom(loadfile('bad.conf')), 'bad.conf:2: in main chunk')
end)
