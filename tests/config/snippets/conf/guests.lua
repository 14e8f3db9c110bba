-- SPDX-License-Identifier: GPL-3.0-or-later
-- Guests: no IPv6 upstream, no caching of what they ask, a flag for all of a subnet.
modules = { 'view' }
view:addr('198.51.100.0/24', policy.all(policy.FLAGS({ 'NO_CACHE', 'NO_IPV6' })))
