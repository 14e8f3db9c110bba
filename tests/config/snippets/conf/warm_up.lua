-- SPDX-License-Identifier: GPL-3.0-or-later
-- Fill the cache at start from a list of names.
warm = { asked = 0, good = 0 }
for line in io.lines('names.txt') do
	local name, rtype = line:match('^(%S+)%s+(%S+)$')
	if name and kres.type[rtype] then
		warm.asked = warm.asked + 1
		resolve({ name = name, type = kres.type[rtype], class = kres.class.IN, options = { 'AWAIT_CUT' },
			finish = function (pkt)
				if pkt and pkt:rcode() == kres.rcode.NOERROR then warm.good = warm.good + 1 end
			end })
	end
end
