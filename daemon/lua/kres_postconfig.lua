-- SPDX-License-Identifier: GPL-3.0-or-later
-- Defaults for what the configuration left open. Runs after the last configuration file, unless
-- kresd was started with `-c -`.
local ffi = require('ffi')
local C = ffi.C

local dns_kinds = { dns = true, xdp = true, tls = true, doh2 = true, doh_legacy = true }

local function has_endpoint(kinds)
	for _, endpoint in ipairs(net.list()) do
		if kinds[endpoint.kind] then return true end
	end
	return false
end

local function open_control_socket()
	if has_endpoint({ control = true }) then return end
	local path = worker.control_path .. worker.pid
	local is_good, err = pcall(net.listen, path, nil, { kind = 'control' })
	if not is_good then
		log_warn(C.LOG_GRP_NETWORK, 'bind to %q (UNIX) failed, no control socket: %s', path,
			tostring(err):match('ERROR: ([^\n]*)$') or tostring(err))
	end
end

local function listen_on_localhost()
	if has_endpoint(dns_kinds) then return end
	net.listen('127.0.0.1', 53)
	for _, place in ipairs({ { '127.0.0.1', 853 }, { '::1', 53 }, { '::1', 853 } }) do
		local is_good, err = pcall(net.listen, place[1], place[2])
		if not is_good then
			log_info(C.LOG_GRP_NETWORK, 'bind to %s@%d failed: %s', place[1], place[2],
				tostring(err):match('ERROR: ([^\n]*)$') or tostring(err))
		end
	end
end

return function (paths)
	if not worker.control_path then worker.control_path = worker.cwd .. '/control/' end
	if not env.KRESD_NO_LISTEN then
		open_control_socket()
		listen_on_localhost()
	end
	if not cache._is_configured() then cache.size = 100 * MB end
	if C.kr_zonecut_is_empty(kres.context().root_hints) then _hint_root_file(paths.root_hints) end
end
