-- SPDX-License-Identifier: GPL-3.0-or-later
-- Fetch the root zone over HTTPS, validate it and put it into the cache (RFC 8806 without a server).
local ffi = require('ffi')
local kluautil = require('kluautil')
local C = ffi.C

local M = {}

local GRP = C.LOG_GRP_PREFILL
local FILE, FILE_FRESH = 'root.zone', 'root.zone.part'
local INTERVAL_DEFAULT_S, INTERVAL_MIN_S = 86400, 3600
local MARGIN_S = 5            -- a file that is about to become too old is not worth reading
local RETRY_S, RETRY_FIRST_S = 600, 1

local conf = nil
local timer = nil
local round = 0               -- what an older configuration began is ignored
local has_imported_badly = false

local step

local function jitter()
	return math.random(1, 10)
end

local function schedule(seconds)
	if timer then event.cancel(timer) end
	timer = event.after(math.max(seconds, 0) * sec, function ()
		timer = nil
		step()
	end)
end

--- Seconds for which the file on the disk is good, or nil.
local function remaining_validity()
	local mtime = tonumber(C.kr_file_mtime(FILE))
	if mtime < 0 then return nil end
	local left = conf.interval - (os.time() - mtime)
	return left > MARGIN_S and left or nil
end

-- ---- Import ----

local function on_imported(state)
	if not conf then return end
	if state ~= 0 then
		local delay = has_imported_badly and RETRY_S - jitter() or RETRY_FIRST_S
		has_imported_badly = true
		log_info(GRP, 'import of the root zone failed: %s, next try in %d seconds',
			ffi.string(C.knot_strerror(state)), delay)
		os.remove(FILE) -- not again the same one
		return schedule(delay)
	end
	has_imported_badly = false
	local delay = math.max(1, (remaining_validity() or MARGIN_S) - MARGIN_S - jitter())
	log_info(GRP, 'root zone successfully parsed, import ended; next refresh in %d seconds', delay)
	schedule(delay)
end

-- One for all times: LuaJIT has few of them.
local import_callback = ffi.cast('zi_callback', function (state) on_imported(state) end)
jit.off(on_imported, true)

local function import_file()
	log_info(GRP, 'import of root zone file "%s" started', FILE)
	local config = ffi.new('zi_config_t')
	config.zone_file = FILE
	config.time_src = C.ZI_STAMP_MTIM
	config.cb = import_callback
	local ret = C.zi_zone_import(config)
	if ret ~= 0 then on_imported(ret) end
end
jit.off(import_file, true)

-- ---- Download ----

local function fetch()
	local file, err = io.open(FILE_FRESH, 'w+')
	if not file then return nil, err end
	local ok, good, why = pcall(kluautil.kr_https_fetch, conf.url, file, conf.ca_file)
	file:close()
	if not ok then good, why = nil, good end
	if good then good, why = os.rename(FILE_FRESH, FILE) end
	if not good then os.remove(FILE_FRESH) end
	return good, why
end

local function download(this_round)
	log_info(GRP, 'downloading root zone to file "%s" ...', FILE)
	local good, why = fetch()
	if this_round ~= round then return end
	if good then return import_file() end
	local delay = RETRY_S - jitter()
	log_info(GRP, 'cannot download the root zone: %s, next try in %d seconds', tostring(why), delay)
	schedule(delay)
end

step = function ()
	local left = remaining_validity()
	if left then
		log_info(GRP, 'root zone file "%s" is valid for %d seconds, reusing data from disk', FILE, left)
		return import_file()
	end
	local this_round = round
	worker.coroutine(function () download(this_round) end)
end

-- ---- Configuration ----

local function bad(fmt, ...)
	error('[prefil] ' .. string.format(fmt, ...), 3)
end

function M.config(zones)
	if zones == nil then return end
	if type(zones) ~= 'table' then bad('configuration must be a table of zones') end
	for name in pairs(zones) do
		if name ~= '.' then bad('only the root zone can be filled in, not %s', tostring(name)) end
	end
	local root = zones['.']
	if type(root) ~= 'table' then bad("the configuration of '.' is missing") end
	if type(root.url) ~= 'string' or not root.url:match('^https://') then
		bad('url must begin with https://')
	end
	local interval = root.interval or INTERVAL_DEFAULT_S
	if type(interval) ~= 'number' or interval < INTERVAL_MIN_S then
		bad('interval must be at least %d seconds', INTERVAL_MIN_S)
	end
	if root.ca_file ~= nil and type(root.ca_file) ~= 'string' then bad('ca_file must be a path') end
	round = round + 1
	conf = { url = root.url, interval = interval, ca_file = root.ca_file }
	schedule(0)
end

function M.deinit()
	round = round + 1
	conf = nil
	if timer then event.cancel(timer) end
	timer = nil
end

return M
