-- SPDX-License-Identifier: GPL-3.0-or-later
-- Games are closed at night; the rule comes and goes by a timer.
local rule
is_night = false
function tick()
	if is_night and not rule then
		rule = policy.add(policy.suffix(policy.DENY_MSG('it is late'), policy.todnames({ 'games.example' })))
	elseif not is_night and rule then
		policy.del(rule.id)
		rule = nil
	end
end
event.recurrent(20, tick)
