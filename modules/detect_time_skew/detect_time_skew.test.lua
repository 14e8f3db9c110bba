-- SPDX-License-Identifier: GPL-3.0-or-later
for _, name in ipairs({ 'ta_update', 'priming', 'detect_time_skew', 'ta_signal_query' }) do modules.unload(name) end
trust_anchors.remove('.')

local on_line = nil
log_info = function (_, fmt, ...) if on_line then on_line('info', string.format(fmt, ...)) end end
log_warn = function (_, fmt, ...) if on_line then on_line('warning', string.format(fmt, ...)) end end

local answer = nil -- lines of the answer to `. NS`, or an rcode
package.loaded['kres_modules.test_root'] = { layer = { begin = function (_, req)
	local qry = req:current()
	if qry.stype ~= kres.type.NS or not answer then return nil end
	check(req.options.NO_CACHE and req.options.DNSSEC_CD)
	local pkt = req:ensure_answer()
	if type(answer) == 'number' then
		pkt:rcode(answer)
		return kres.DONE
	end
	pkt:begin(kres.section.ANSWER)
	for _, rdata in ipairs(kres.parse_rdata(answer)) do
		local rtype = #rdata > 30 and kres.type.RRSIG or kres.type.NS
		pkt:put('\0', 100, kres.class.IN, rtype, rdata)
	end
	return kres.DONE
end } }
modules.load('test_root < policy')

local function sig(from, till)
	local function stamp(at) return os.date('!%Y%m%d%H%M%S', os.time() + at) end
	return string.format('RRSIG NS 8 0 518400 %s %s 20326 . %s', stamp(till), stamp(from), ('QUJD'):rep(20))
end

local function skew_test(name, lines, kind, pattern)
	test(name, function (done)
		answer = lines
		on_line = guard(function (how, line)
			on_line = nil
			event.after(0, guard(function ()
				modules.unload('detect_time_skew')
				same(how, kind)
				match(line, pattern)
				done()
			end))
		end)
		modules.load('detect_time_skew')
	end)
end

local NS = 'NS a.root-servers.net.'
skew_test('the clock is right', { NS, sig(-1000, 1000) }, 'info', 'local system time .* is within .* interval <.*, .*>')
skew_test('ahead', { NS, sig(-3000, -1000) }, 'warning', 'at least 10%d%d seconds in the future')
skew_test('behind', { NS, sig(1000, 3000) }, 'warning', 'at least %d+ seconds in the past')
skew_test('no signatures', { NS }, 'info', 'no DNSSEC signatures for %. NS: is a trust anchor')
skew_test('no answer', kres.rcode.SERVFAIL, 'warning', "cannot resolve '%.' NS")
