-- SPDX-License-Identifier: GPL-3.0-or-later
local kres = require('kres')
local ffi = require('ffi')
local basexx = require('basexx')

modules.unload('ta_update')
modules.unload('priming')
modules.unload('detect_time_skew')
modules.load('http')

local request_module = require('http.request')
local websocket = require('http.websocket')
local ssl_context = require('openssl.ssl.context')
local x509 = require('openssl.x509')
local PORT = 20000 + worker.pid % 10000 -- others may be testing, too
local BASE = 'http://127.0.0.1:' .. PORT

local function write(path, text)
	local file = io.open(path, 'w')
	file:write(text)
	file:close()
end

--- An asynchronous test in a coroutine, so that requests may wait.
local function http_test(name, fn)
	test(name, function (done)
		local run = guard(function () fn() done() end)
		worker.coroutine(run)
	end)
end

--- @return status, body, headers
local function call(method, path, how)
	how = how or {}
	local request = request_module.new_from_uri((how.base or BASE) .. '/')
	request.headers:upsert(':path', path)
	request.headers:upsert(':method', method)
	request.follow_redirects = false
	request.version = how.version
	if how.base and how.base:match('^https') then
		request.ctx = ssl_context.new()
		request.ctx:setVerify(ssl_context.VERIFY_NONE)
	end
	for key, value in pairs(how.headers or {}) do request.headers:upsert(key, value) end
	if how.body then request:set_body(how.body) end
	local headers, stream = request:go(10)
	check(headers, tostring(stream))
	local cert = request.tls and stream:checktls():getPeerCertificate()
	local body = stream:get_body_as_string(10)
	stream:shutdown()
	return tonumber(headers:get(':status')), body, headers, cert
end

http_test('a service of ones own, before and behind a query string', function ()
	local seen = {}
	local endpoints = http.configs._builtin.webmgmt.endpoints
	endpoints['/health'] = { 'application/json', function (h)
		seen[#seen + 1] = h:get(':path')
		if h:get(':method') ~= 'GET' then return 405, 'GET only' end
		return { up = true }
	end, nil, 60, true }
	endpoints['/exact?x=1'] = { 'text/plain', 'exact' }
	endpoints['/text'] = { 'text/x-mine', 'hello' }
	endpoints['/boom'] = { 'text/plain', function () error('on purpose') end }
	endpoints['/none'] = { 'text/plain', function () return nil end }
	endpoints['/other'] = { 'text/plain', function () return 'body', nil, 'text/x-other', 5 end }
	endpoints['/self'] = { 'text/plain', function (_, stream)
		local headers = require('http.headers').new()
		headers:append(':status', '202')
		stream:write_headers(headers, false)
		stream:write_chunk('did it', true)
		return false
	end }
	http.config({ endpoints = endpoints }, 'webmgmt')
	same(net.listen('127.0.0.1', PORT, { kind = 'webmgmt' }), true)
	local status, body, headers = call('GET', '/health/more?x')
	same({ status, fromjson(body) }, { 200, { up = true } })
	same({ headers:get('content-type'), headers:get('content-length'), headers:get('cache-control'),
		headers:get('access-control-allow-origin') }, { 'application/json', tostring(#body), 'max-age=60', '*' })
	same(seen, { '/health/more?x' })
	status, body = call('POST', '/health')
	same({ status, body }, { 405, 'GET only' })
	same({ (call('GET', '/exact?x=1')), (call('GET', '/exact?x=2')) }, { 200, 404 })
	status, body, headers = call('GET', '/text?query')
	same({ status, body, headers:get('content-type') }, { 200, 'hello', 'text/x-mine' })
	status, body = call('POST', '/text')
	same({ status, body }, { 501, '' })
	status, body = call('GET', '/nowhere')
	same({ status, body }, { 404, '' })
	same({ (call('GET', '/boom')), (call('GET', '/none')) }, { 500, 404 })
	status, body, headers = call('GET', '/other')
	same({ status, body, headers:get('content-type'), headers:get('cache-control') },
		{ 200, 'body', 'text/x-other', 'max-age=5' })
	status, body = call('GET', '/self')
	same({ status, body }, { 202, 'did it' })
	status, body = call('GET', '/health', { version = 2 })
	same({ status, fromjson(body) }, { 200, { up = true } })
end)

http_test('pages', function ()
	http.snippets['/mine'] = { 'My Part', '<p>mine</p>' }
	local status, body, headers = call('GET', '/')
	same({ status, headers:get('content-type') }, { 200, 'text/html' })
	check(body:find('<title>kresd @ ' .. hostname() .. '</title>', 1, true))
	check(body:find('<section id="my-part"><h2>My Part</h2>\n<p>mine</p></section>', 1, true))
	for path, mime in pairs({ ['/favicon.ico'] = 'image/x-icon', ['/kresd.js'] = 'application/javascript',
			['/kresd.css'] = 'text/css' }) do
		status, body, headers = call('GET', path)
		same({ status, headers:get('content-type'), headers:get('cache-control') }, { 200, mime, 'max-age=86400' })
		check(#body > 100)
	end
end)

http_test('counters as JSON', function ()
	stats['lan.blocked'] = 7
	local status, body = call('GET', '/stats')
	local all = fromjson(body)
	same({ status, all['lan.blocked'] }, { 200, 7 })
	for key in pairs(stats.list()) do check(all[key], key) end
	check(all['cache.usage_percent'])
	check(all['worker.rss'] > 0)
	local real = stats.frequent
	stats.frequent = function () return {} end -- luacheck: ignore
	same((select(2, call('GET', '/frequent'))), '{}')
	stats.frequent = function () return { { count = 1, name = 'a.', type = 'A' } } end -- luacheck: ignore
	same(fromjson((select(2, call('GET', '/frequent')))), { { count = 1, name = 'a.', type = 'A' } })
	stats.frequent = real -- luacheck: ignore
	same((call('GET', '/upstreams')), 200)
	same((call('GET', '/bogus')), 200)
end)

http_test('a frame a second over a web socket', function ()
	local ws = websocket.new_from_uri('ws://127.0.0.1:' .. PORT .. '/stats', { 'json' })
	check(ws:connect(5))
	stats['lan.blocked'] = 10
	worker.sleep(0.3)
	stats['lan.blocked'] = 12
	local frame = fromjson(check(ws:receive(5)))
	check(math.abs(frame.time - os.time()) <= 5)
	check(frame.stats['lan.blocked'] >= 2)
	check(frame.stats['worker.rss'] > 1e6)
	check(frame.workers[tostring(worker.pid)].rss > 0)
	same(frame.upstreams, nil)
	ws:close()
	local lost = websocket.new_from_uri('ws://127.0.0.1:' .. PORT .. '/nowhere', { 'json' })
	same(lost:connect(5), nil)
	same(http.servers ~= nil, true)
end)

--- name{labels} -> value, and name -> type
local function parse_metrics(text)
	local values, types = {}, {}
	for line in text:gmatch('[^\n]+') do
		local name, kind = line:match('^# TYPE (%S+) (%S+)$')
		if name then
			check(not types[name], 'a second TYPE line of ' .. name)
			types[name] = kind
		elseif line:sub(1, 1) ~= '#' then
			local key, value = line:match('^(%S+) (%d+%.%d%d%d%d%d%d)$')
			check(key, line)
			values[key] = tonumber(value)
		end
	end
	return values, types
end

http_test('counters for Prometheus', function ()
	stats['answer.blocked;stype=A'] = 3
	stats['answer.blocked;stype=AA"AA'] = 4
	stats['answer.1ms'], stats['answer.50ms'], stats['answer.slow'], stats['answer.sum_ms'] = 5, 2, 1, 2090
	local status, body, headers = call('GET', '/metrics')
	same({ status, headers:get('content-type'), body:sub(-1) }, { 200, 'text/plain; version=0.0.4', '\n' })
	local values, types = parse_metrics(body)
	same({ values['answer_blocked{stype="A"}'], values['answer_blocked{stype="AA\\"AA"}'] }, { 3, 4 })
	same({ types.answer_total, types.worker_rss, types.latency, types.cache_usage_percent },
		{ 'counter', 'gauge', 'histogram', 'gauge' })
	same({ values['latency_bucket{le="1"}'], values['latency_bucket{le="10"}'], values['latency_bucket{le="50"}'],
		values['latency_bucket{le="1500"}'], values['latency_bucket{le="+Inf"}'], values.latency_count,
		values.latency_sum, values.latency_seconds_total }, { 5, 5, 7, 7, 8, 8, 5 + 100 + 3000, 2.09 })
	same({ values.answer_1ms, values.answer_slow }, {})
	http.prometheus.namespace = 'kresd_'
	http.prometheus.finalize = function (lines)
		lines[#lines + 1] = '# end'
		return lines
	end
	_, body = call('GET', '/metrics')
	check(body:find('\nkresd_request_total ', 1, true))
	match(body, '\n# end\n$')
	http.prometheus.namespace, http.prometheus.finalize = '', function (lines) return lines end
	http.prometheus.instances = true
	_, body = call('GET', '/metrics')
	check(body:find('\nrequest_total{instance="' .. worker.id .. '"} ', 1, true), body)
	http.prometheus.instances = false
	check(http.prometheus.endpoints['/metrics'])
end)

test('every name of a metric', function ()
	local _, serve = unpack(http.prometheus.endpoints['/metrics'])
	local values = parse_metrics(serve())
	for name in ([[answer_total answer_noerror answer_nodata answer_nxdomain answer_servfail answer_cached answer_aa
			answer_tc answer_rd answer_ra answer_ad answer_cd answer_edns0 answer_do answer_sum_ms query_edns query_dnssec
			request_total request_internal request_udp request_tcp request_xdp request_dot request_doh request_total4
			request_total6 request_udp4 request_udp6 request_tcp4 request_tcp6 request_xdp4 request_xdp6 request_dot4
			request_dot6 request_doh4 request_doh6 cache_open cache_close cache_count cache_count_entries cache_clear
			cache_commit cache_read cache_read_miss cache_write cache_remove cache_remove_miss cache_match cache_match_miss
			cache_read_leq cache_read_leq_miss cache_usage_percent worker_queries worker_concurrent worker_dropped
			worker_timeout worker_udp worker_tcp worker_tls worker_ipv4 worker_ipv6 worker_err_udp worker_err_tcp
			worker_err_tls worker_err_http worker_usertime worker_systime worker_pagefaults worker_swaps worker_csw
			worker_rss latency_count latency_sum]]):gmatch('%S+') do
		check(values[name], name)
	end
end)

http_test('how a name was resolved', function ()
	serve({ ['traced.example A'] = { '192.0.2.7' } })
	local status, body = call('GET', '/trace/traced.example')
	same(status, 200)
	check(body:find('traced.example', 1, true))
	check(body:find('192.0.2.7', 1, true), body)
	same((call('GET', '/trace/traced.example/TXT')), 200)
	for path, text in pairs({ ['/trace'] = 'expected /trace/<query name>/<query type>',
			['/trace/a..b'] = 'expected /trace/<query name>/<query type>',
			['/trace/traced.example/NONSENSE'] = 'unexpected query type: NONSENSE' }) do
		status, body = call('GET', path)
		same({ status, body }, { 400, text })
	end
end)

local QUESTION = '\0\0\1\0\0\1\0\0\0\0\0\0\6traced\7example\0\0\1\0\1'

http_test('DNS over HTTPS of old', function ()
	local sources = {}
	package.loaded['kres_modules.test_source'] = { layer = { begin = function (_, req)
		if req.qsource.addr ~= nil then
			local flags = req.qsource.flags
			local addr = tostring(kres.sockaddr_t(req.qsource.addr))
			sources[#sources + 1] = { addr:match('^[^#]*'), flags.http, flags.tcp, flags.tls }
		end
	end } }
	modules.load('test_source')
	for _, path in ipairs({ '/doh', '/dns-query' }) do
		for _, how in ipairs({ { 'GET', path .. '?ct=x&dns=' .. basexx.to_url64(QUESTION) },
				{ 'POST', path, QUESTION, 'application/dns-message' }, { 'POST', path, QUESTION } }) do
			local status, body, headers = call(how[1], how[2], { body = how[3],
				headers = { ['content-type'] = how[4] } })
			same({ status, headers:get('content-type'), headers:get('cache-control'),
				headers:get('access-control-allow-origin') }, { 200, 'application/dns-message', 'max-age=100', '*' })
			local pkt = kres.packet(#body, body)
			check(pkt:parse())
			same(records(pkt), { 'traced.example. 100 A 192.0.2.7' })
		end
	end
	same(sources[1], { '127.0.0.1', true, true, false })
	same(#sources, 6)
	modules.unload('test_source')
	local function fails(expected, method, path, body, mime)
		local status, text = call(method, path, { body = body, headers = { ['content-type'] = mime } })
		same({ status, text }, expected)
	end
	fails({ 405, 'only HTTP POST and GET are supported' }, 'PUT', '/doh', QUESTION)
	fails({ 400, 'base64url query not found' }, 'GET', '/doh')
	fails({ 400, 'invalid base64url' }, 'GET', '/doh?dns=%25%25%25')
	fails({ 400, 'input too short' }, 'GET', '/doh?dns=AAAA')
	fails({ 400, 'unparseable DNS message' }, 'GET', '/doh?dns=' .. basexx.to_url64(QUESTION:sub(1, 20)))
	fails({ 414, 'query parameter in URI too long' }, 'GET', '/doh?dns=' .. ('A'):rep(1369))
	fails({ 413, 'input too long' }, 'POST', '/doh', ('x'):rep(1025), 'application/dns-message')
	fails({ 415, 'only Content-Type: application/dns-message is supported' }, 'POST', '/doh', QUESTION, 'text/plain')
	fails({ 400, 'input too short' }, 'POST', '/doh', 'short', 'application/dns-message')
end)

test('settings', function ()
	boom(http.config, { 5 }, 'config { cert = "...", key = "..." }')
	boom(http.config, { { geoip = '/nowhere' }, 'mine' }, '%[http%]')
	boom(http.config, { { cert = 'x' }, 'mine' }, '%[http%] certificate provided, but missing key')
	boom(http.config, { { cert = 'x', key = '/nowhere' }, 'mine' }, '%[http%] unable to open TLS key file: /nowhere')
	write('bad.key', 'nonsense')
	boom(http.config, { { cert = 'x', key = 'bad.key' }, 'mine' }, '%[http%] unable to parse TLS key file bad.key')
	boom(http.config, { { cert = '/nowhere', key = 'self.key' }, 'mine' },
		'%[http%] unable to read TLS certificate file: /nowhere')
	boom(http.config, { { cert = 'bad.key', key = 'self.key' }, 'mine' },
		'%[http%] unable to parse TLS certificate file bad.key, certificate number 1')
	boom(http.config, { nil, 'unheard' }, '%[http%] endpoint kind "unheard" does not exist, nothing to delete')
	boom(http.config, { nil, 'webmgmt' }, 'nothing to delete')
	boom(http.config, { {}, 'webmgmt' }, '"webmgmt" is in use')
	boom(http.config, { {} }, 'is in use')
	boom(http.config, { { tokens = { short = 'read' } }, 'mine' }, 'tokens')
	boom(http.config, { { tokens = { ['long enough'] = 'god' } }, 'mine' }, 'tokens')
	boom(http.config, { { tls = 'maybe' }, 'mine' }, 'tls')
	http.config()
	same(http.config({ tls = false, endpoints = {} }, 'mine'), nil)
	same(net.listen('127.0.0.1', PORT + 1, { kind = 'mine' }), true)
	boom(http.config, { nil, 'mine' }, '"mine" is in use')
	net.close('127.0.0.1', PORT + 1)
	http.config(nil, 'mine')
	boom(net.listen, { '127.0.0.1', PORT + 1, { kind = 'mine' } }, 'ERROR')
	for _, entry in pairs(http.servers) do
		same(entry.kind, 'webmgmt')
		check(entry.server)
		same(entry.config.client_timeout, 5)
	end
end)

http_test('TLS and plain text on one port; a certificate that stays', function ()
	local tls_base = 'https://127.0.0.1:' .. PORT
	local status, _, _, cert = call('GET', '/text', { base = tls_base })
	same(status, 200)
	match(tostring(cert:getSubject()), hostname():gsub('%p', '%%%0'))
	same(io.popen('stat -c %a self.key'):read('*l'), '600')
	local first = x509.new(io.open('self.crt'):read('*a')):getSerial()
	local from, till = cert:getLifetime()
	same(till - from, 90 * 86400)
	local tls = require('kres_modules.http_tls')
	tls.renew(http.servers) -- still good: kept
	same(tostring(x509.new(io.open('self.crt'):read('*a')):getSerial()), tostring(first))
	write('self.crt', 'broken')
	tls.renew(http.servers)
	check(tostring(x509.new(io.open('self.crt'):read('*a')):getSerial()) ~= tostring(first))
	same((call('GET', '/text', { base = tls_base, version = 2 })), 200)
	net.close('127.0.0.1', PORT)
	http.config({ cert = 'self.crt', key = 'self.key', tls = true,
		endpoints = { ['/'] = { 'text/plain', 'mine' } } }, 'tlsonly')
	net.listen('127.0.0.1', PORT + 1, { kind = 'tlsonly' })
	same((call('GET', '/', { base = 'https://127.0.0.1:' .. PORT + 1 })), 200)
	local request = request_module.new_from_uri('http://127.0.0.1:' .. PORT + 1)
	same(request:go(3), nil)
	net.close('127.0.0.1', PORT + 1)
	http.config(nil, 'tlsonly')
end)

http_test('tokens, and requests that other sites send', function ()
	local endpoints = { ['/it'] = { 'text/plain', function () return 'it' end, function (_, ws) ws:send('x') end } }
	local tokens = { ['reading-token'] = 'read', ['writing-token'] = 'write' }
	http.config({ endpoints = endpoints, tokens = tokens }, 'guarded')
	net.listen('127.0.0.1', PORT + 2, { kind = 'guarded' })
	local base = 'http://127.0.0.1:' .. PORT + 2
	local function status(method, token, more)
		local headers = more or {}
		headers.authorization = token and 'Bearer ' .. token
		return (call(method, '/it', { base = base, headers = headers }))
	end
	same({ status('GET'), status('GET', 'wrong-token-x'), status('GET', 'reading-token'), status('GET', 'writing-token') },
		{ 401, 401, 200, 200 })
	same({ status('POST'), status('POST', 'reading-token'), status('POST', 'writing-token') }, { 401, 403, 200 })
	same(status('POST', 'writing-token', { origin = 'https://evil.example' }), 403)
	same(status('POST', 'writing-token', { origin = base }), 200)
	same(status('GET', 'reading-token', { origin = 'https://evil.example' }), 200)
	net.close('127.0.0.1', PORT + 2)
	http.config(nil, 'guarded')
end)

http_test('a UNIX socket, and listeners from before the module', function ()
	local path = env.TEST_FOLDER .. '/http.sock'
	net.listen(path, nil, { kind = 'webmgmt' })
	local sock = require('cqueues.socket').connect({ path = path })
	sock:setmode('bn', 'bn')
	sock:write('GET /text HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
	match(sock:read('*a'), '^HTTP/1.1 200 OK\r\n.*\r\n\r\nhello$')
	sock:close()
	net.close(path)
end)

test('unloading', function ()
	modules.unload('http')
	same(rawget(_G, 'http'), nil)
	boom(net.listen, { '127.0.0.1', PORT, { kind = 'webmgmt' } }, 'ERROR')
	ffi.C.kr_now() -- the process lives
end)
