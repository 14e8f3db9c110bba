-- SPDX-License-Identifier: GPL-3.0-or-later
-- Who may ask: two subnets and ourselves.
modules = { 'view' }
for _, subnet in ipairs({ '127.0.0.0/8', '192.0.2.0/24', '2001:db8::/32' }) do
	view:addr(subnet, policy.all(policy.PASS))
end
view:addr('0.0.0.0/0', policy.all(policy.REFUSE))
view:addr('::/0', policy.all(policy.REFUSE))
