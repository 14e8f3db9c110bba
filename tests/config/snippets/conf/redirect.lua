-- SPDX-License-Identifier: GPL-3.0-or-later
-- Two names get our own answer, below another the clients get an alias.
policy.add(policy.domains(policy.ANSWER({ [kres.type.A] = { rdata = kres.str2ip('192.0.2.80'), ttl = 7 } }),
	{ todname('intranet.example') }))
policy.add(function (req, query)
	if query.stype == kres.type.HTTPS and query:name():find('\6legacy\7example\0', 1, true) then
		return policy.DENY
	end
end)
