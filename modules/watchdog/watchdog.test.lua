-- SPDX-License-Identifier: GPL-3.0-or-later
local kres = require('kres')

test('idle without a service manager', function ()
	local private = watchdog.config()
	same({ private.interval, private.qname, private.event }, {})
	same(private.qtype, kres.type.A)
	for _, name in ipairs({ 'ok_callback', 'fail_callback', 'check_answer_callback' }) do
		same(type(private[name]), 'function', name)
	end
end)

test('bad intervals are told', function ()
	for _, bad in ipairs({ 0, -1, 0.5, 'x', true }) do
		boom(watchdog.config, { { failures = bad } }, '%[watchdog%] failures must be a whole number >= 1')
		boom(watchdog.config, { { interval = bad } }, '%[watchdog%] interval must be >= 1 ms')
	end
end)

--- Configure, and count what it reports until the first report.
local function expect(conf, report, done)
	watchdog.config(conf)
	local private, is_over = watchdog.config(), false
	for _, name in ipairs({ 'ok_callback', 'fail_callback' }) do
		private[name] = guard(function ()
			if is_over then return end
			is_over = true
			event.cancel(private.event)
			same(name, report)
			done()
		end)
	end
end

test('without a name it just beats', function (done) expect({ interval = 5 }, 'ok_callback', done) end)
test('NOERROR is fine', function (done)
	expect({ qname = 'localhost.', interval = 5 }, 'ok_callback', done)
end)
test('NXDOMAIN is fine', function (done) expect({ qname = 'x.test.', interval = 5 }, 'ok_callback', done) end)
test('the first time is at once', function (done)
	expect({ qname = 'localhost.', qtype = kres.type.AAAA, interval = 1000000 }, 'ok_callback', done)
end)
test('anything else is a failure', function (done)
	local rule = policy.add(policy.all(policy.REFUSE))
	expect({ qname = 'x.example.', interval = 5, failures = 1 }, 'fail_callback', function ()
		policy.del(rule.id)
		done()
	end)
end)
test('no answer is a failure', function (done)
	local rule = policy.add(policy.all(policy.NO_ANSWER))
	expect({ qname = 'x.example.', interval = 5, failures = 1 }, 'fail_callback', function ()
		policy.del(rule.id)
		done()
	end)
end)
test('so many failures in a row', function (done)
	local rule = policy.add(policy.all(policy.REFUSE))
	watchdog.config({ qname = 'x.example.', interval = 1, failures = 4 })
	local private, seen = watchdog.config(), 0
	local real = private.check_answer_callback
	private.check_answer_callback = guard(function (pkt)
		seen = seen + 1
		return real(pkt)
	end)
	private.fail_callback = guard(function ()
		event.cancel(private.event)
		policy.del(rule.id)
		same(seen, 4)
		done()
	end)
end)
test('a good answer in between counts', function (done)
	local refuse, deny = policy.add(policy.all(policy.REFUSE)), policy.add(policy.all(policy.DENY))
	watchdog.config({ qname = 'x.example.', interval = 1, failures = 2 })
	local private, asked, failed = watchdog.config(), 0, 0
	local real = private.check_answer_callback
	private.check_answer_callback = guard(function (pkt)
		asked = asked + 1
		if pkt:rcode() == kres.rcode.REFUSED then failed = failed + 1 end
		real(pkt)
		refuse.suspended = asked % 2 == 1
		if asked < 9 then return end
		event.cancel(private.event)
		policy.del(refuse.id)
		policy.del(deny.id)
		same(failed, 5)
		done()
	end)
	private.ok_callback = function () end
	private.fail_callback = guard(function () check(false, 'stopped') end)
end)
test('settings are inherited', function ()
	watchdog.config({ interval = 1234 })
	same(watchdog.config({ qname = 'localhost' }).interval, 1234)
	modules.unload('watchdog')
end)
