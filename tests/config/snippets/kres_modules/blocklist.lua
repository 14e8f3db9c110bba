-- SPDX-License-Identifier: GPL-3.0-or-later
-- A block list in a file, one name a line, read again when the file has changed.
local ffi = require('ffi')
local M = { names = {}, count = 0, layer = {} }
local path, mtime, timer

local function read()
	local now = tonumber(ffi.C.kr_file_mtime(path))
	if now < 0 then log_warn(ffi.C.LOG_GRP_MODULE, 'blocklist: cannot read %s', path) return end
	if now == mtime then return end
	local names, count = {}, 0
	for line in io.lines(path) do
		local name = kres.str2dname(line:match('^%s*([^#%s]+)') or '')
		if name then names[name] = true; count = count + 1 end
	end
	M.names, M.count, mtime = names, count, now
end

function M.layer.begin(state, req)
	if state == kres.FAIL or state == kres.DONE then return state end
	local name, at = req:current():name(), 1
	while at < #name do
		if M.names[name:sub(at)] then
			local answer = req:ensure_answer()
			if answer == nil then return kres.FAIL end
			ffi.C.kr_pkt_make_auth_header(answer)
			answer:rcode(kres.rcode.NXDOMAIN)
			req:set_extended_error(kres.extended_error.BLOCKED, 'listed')
			return kres.DONE
		end
		at = at + 1 + name:byte(at)
	end
	return state
end

function M.reload() mtime = nil; read(); return M.count end

function M.config(conf)
	path = conf.file
	M.reload()
	if timer then event.cancel(timer) end
	timer = event.recurrent(conf.every or minute, read)
end

function M.deinit() if timer then event.cancel(timer) end end

return M
