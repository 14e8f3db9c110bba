-- SPDX-License-Identifier: GPL-3.0-or-later
-- What it does with answers of servers is in tests/e2e/test_cookies.py.
for _, name in ipairs({ 'ta_update', 'priming', 'detect_time_skew' }) do modules.unload(name) end
trust_anchors.remove('.')
modules.load('cookies < iterate')

local COOKIE, MINE, BADCOOKIE = 10, '\1\2\3\4\5\6\7\8', 23
local CLIENT = '192.0.2.1'

--- Extended rcode.
local function rcode_of(pkt)
	for _, rr in ipairs(pkt:section(kres.section.ADDITIONAL)) do
		if rr.type == kres.type.OPT then return math.floor(rr.ttl / 2 ^ 24) * 16 + pkt:rcode() % 16 end
	end
	return pkt:rcode()
end

local function shows(cookie, fn, how)
	how = how or {}
	how.addr, how.opt = how.addr or CLIENT, { [COOKIE] = cookie }
	ask('localhost', 'A', function (pkt) fn(option_of(pkt, COOKIE), rcode_of(pkt), pkt) end, how)
end

test('a server cookie for who shows one of his own', function (done)
	shows(MINE, function (cookie, rcode)
		same({ #cookie, cookie:sub(1, 8), cookie:sub(9, 12), rcode }, { 24, MINE, '\1\0\0\0', 0 })
		local a, b, c, d = cookie:byte(13, 16)
		check(math.abs(((a * 256 + b) * 256 + c) * 256 + d - os.time()) <= 2)
		done()
	end)
end)

test('none for who shows none', function (done)
	ask('localhost', 'A', function (pkt)
		same(option_of(pkt, COOKIE), nil)
		done()
	end, { addr = CLIENT })
end)

test('under pressure only good ones are answered over UDP', function (done)
	same(cookies.config({ pressure = 0, server_secret = 'e5e973e5a6b2a43f48e7dc849e37bfcf' }), 0)
	shows(MINE, function (cookie, rcode, pkt)
		same({ rcode, #records(pkt), #cookie }, { BADCOOKIE, 0, 24 })
		shows(cookie, function (_, rcode2, pkt2)
			same({ rcode2, #records(pkt2) }, { 0, 1 })
			shows(cookie, function (_, rcode3) -- somebody else's
				same(rcode3, BADCOOKIE)
				shows(MINE .. ('x'):rep(16), function (_, rcode4)
					same(rcode4, BADCOOKIE)
					shows(MINE, function (_, rcode5) -- nobody else can be there
						same(rcode5, 0)
						done()
					end, { flags = { 'tcp' } })
				end)
			end, { addr = '192.0.2.2' })
		end)
	end)
end)

test('who shows none is answered under pressure, too', function (done)
	ask('localhost', 'A', function (pkt)
		same(pkt:rcode(), 0)
		done()
	end, { addr = CLIENT })
end)

test('after a change of the secret the one before is good, the one before that is not', function (done)
	shows(MINE, function (cookie)
		cookies.config({ server_secret = ('00'):rep(16) })
		shows(cookie, function (_, rcode)
			same(rcode, 0)
			cookies.config({ server_secret = ('11'):rep(16) })
			shows(cookie, function (_, rcode2)
				same(rcode2, BADCOOKIE)
				done()
			end)
		end)
	end)
end)

test('instances with one secret accept the cookies of each other', function (done)
	cookies.config({ server_secret = ('22'):rep(16) })
	shows(MINE, function (cookie)
		modules.unload('cookies')
		modules.load('cookies < iterate')
		cookies.config({ server_secret = ('22'):rep(16), pressure = 0 })
		shows(cookie, function (_, rcode)
			same(rcode, 0)
			done()
		end)
	end)
end)

test('switched off', function (done)
	cookies.config({ server_enabled = false, pressure = 500 })
	shows(MINE, function (cookie)
		same(cookie, nil)
		cookies.config({ server_enabled = true })
		done()
	end)
end)

test('bad settings', function ()
	for _, bad in ipairs({ { server_secret = 'short' }, { client_secret = ('x'):rep(32) }, { client_secret = 5 },
			{ pressure = -1 }, { pressure = 'x' }, { server_enabled = 1 }, { client_enabled = 'yes' } }) do
		same(cookies.config(bad), -22)
	end
	same(cookies.config('nonsense'), -22)
	same(cookies.config(), 0)
end)

test('answers with a cookie are not repeated to others', function ()
	same(kres.context().cookies_vary, true)
end)
