-- SPDX-License-Identifier: GPL-3.0-or-later
-- Fetch whole zones over HTTPS or from files, check them and put them into the cache (RFC 8806 without a server).
local ffi = require('ffi')
local kluautil = require('kluautil')
local C = ffi.C

local M = {}

local GRP = C.LOG_GRP_PREFILL
local INTERVAL_DEFAULT_S, INTERVAL_MIN_S = 86400, 3600
local MARGIN_S = 5            -- a file that is about to become too old is not worth reading
local RETRY_S, RETRY_FIRST_S = 600, 1
local LOCK_S, LOCKED_RETRY_S = 300, 15

pcall(ffi.cdef, 'int link(const char *from, const char *to);')

-- One for each zone: { id, name, url or source, interval, ca_file, zonemd, file, timer, is_bad, has_failed }
local zones, next_id = {}, 0
local step

local function jitter()
	return math.random(1, 10)
end

local function is_current(zone)
	return zones[zone.id] == zone
end

local function schedule(zone, seconds)
	if zone.timer then event.cancel(zone.timer) end
	zone.timer = event.after(math.max(seconds, 0) * sec, function ()
		zone.timer = nil
		step(zone)
	end)
end

local function title(zone)
	return zone.name == '.' and 'root zone' or 'zone ' .. zone.name
end

--- Seconds for which the file on the disk is good, or nil.
local function remaining_validity(zone)
	local mtime = tonumber(C.kr_file_mtime(zone.file))
	if mtime < 0 then return nil end
	local left = zone.interval - (os.time() - mtime)
	return left > MARGIN_S and left or nil
end

-- ---- Import ----

-- The file that was good before stays what it is; the next try is with another one.
local function import_failed(zone, path, state)
	local delay = zone.has_failed and RETRY_S - jitter() or RETRY_FIRST_S
	zone.has_failed, zone.is_bad = true, true
	if path ~= zone.file then os.remove(path) end
	log_info(GRP, 'import of the %s failed: %s, next try in %d seconds', title(zone),
		ffi.string(C.knot_strerror(state)), delay)
	schedule(zone, delay)
end

local function on_imported(zone, state)
	local path = zone.importing
	zone.importing = nil
	if not is_current(zone) then return end
	if state ~= 0 then return import_failed(zone, path, state) end
	if path ~= zone.file and not zone.source then os.rename(path, zone.file) end
	zone.has_failed, zone.is_bad = false, false
	local delay = math.max(1, (remaining_validity(zone) or MARGIN_S) - MARGIN_S - jitter())
	if zone.source then delay = zone.interval end
	log_info(GRP, '%s successfully parsed, import ended; next refresh in %d seconds', title(zone), delay)
	schedule(zone, delay)
end

-- One for all times: LuaJIT has few of them. The number of the zone comes back as the parameter.
local import_callback = ffi.cast('zi_callback', function (state, param)
	local zone = zones[tonumber(ffi.cast('intptr_t', param))]
	if zone then on_imported(zone, state) end
end)
jit.off(on_imported, true)

local function import_file(zone, path)
	log_info(GRP, 'import of %s file "%s" started', title(zone), path)
	zone.importing = path
	local config = ffi.new('zi_config_t')
	config.zone_file = path
	config.origin = zone.name
	config.time_src = zone.source and C.ZI_STAMP_NOW or C.ZI_STAMP_MTIM
	config.zonemd = zone.zonemd
	config.cb = import_callback
	config.cb_param = ffi.cast('void *', ffi.cast('intptr_t', zone.id))
	local ret = C.zi_zone_import(config)
	if ret ~= 0 then on_imported(zone, ret) end
end
jit.off(import_file, true)

-- ---- Download ----

--- One process of a folder downloads. @return false if another one is at it
local function lock(zone)
	local path, mine = zone.file .. '.lock', string.format('%s.lock.%d', zone.file, worker.pid)
	local mtime = tonumber(C.kr_file_mtime(path))
	if mtime >= 0 and os.time() - mtime > LOCK_S then os.remove(path) end -- its owner is gone
	local file = io.open(mine, 'w')
	if not file then return true end -- the download will tell what is wrong here
	file:close()
	local is_ours = C.link(mine, path) == 0
	os.remove(mine)
	return is_ours
end

local function unlock(zone)
	os.remove(zone.file .. '.lock')
end

--- @return path of the new file, or nil and a message
local function fetch(zone)
	local path = zone.file .. '.part'
	local file, err = io.open(path, 'w+')
	if not file then return nil, err end
	local ok, good, why = pcall(kluautil.kr_https_fetch, zone.url, file, zone.ca_file)
	file:close()
	if not ok then good, why = nil, good end
	if good then return path end
	os.remove(path)
	return nil, why
end

local function download(zone)
	log_info(GRP, 'downloading %s to file "%s" ...', title(zone), zone.file)
	local path, why = fetch(zone)
	unlock(zone)
	if not is_current(zone) then return end
	if path then return import_file(zone, path) end
	local delay = RETRY_S - jitter()
	log_info(GRP, 'cannot download the %s: %s, next try in %d seconds', title(zone), tostring(why), delay)
	schedule(zone, delay)
end

step = function (zone)
	if zone.source then return import_file(zone, zone.source) end
	local left = not zone.is_bad and remaining_validity(zone)
	if left then
		log_info(GRP, '%s file "%s" is valid for %d seconds, reusing data from disk', title(zone), zone.file, left)
		return import_file(zone, zone.file)
	end
	if not lock(zone) then
		zone.is_bad = false -- what the other one gets may be good
		return schedule(zone, LOCKED_RETRY_S)
	end
	worker.coroutine(function () download(zone) end)
end

-- ---- Configuration ----

local function bad(fmt, ...)
	error('[prefil] ' .. string.format(fmt, ...), 4)
end

local OPTIONS = { url = true, file = true, interval = true, ca_file = true, zonemd = true }

local function check_source(name, conf)
	if type(conf) ~= 'table' then bad("the configuration of '%s' is missing", name) end
	for key in pairs(conf) do
		if not OPTIONS[key] then bad("there is no option %s (zone '%s')", tostring(key), name) end
	end
	if conf.file ~= nil and conf.url ~= nil then bad("zone '%s' has a url and a file, one is needed", name) end
	if conf.file ~= nil and type(conf.file) ~= 'string' then bad('file must be a path') end
	if not conf.file and (type(conf.url) ~= 'string' or not conf.url:match('^https://')) then
		bad('url must begin with https://')
	end
end

local function parse(name, conf)
	local wire = type(name) == 'string' and kres.str2dname(name)
	if not wire then bad('%s is not the name of a zone', tostring(name)) end
	check_source(name, conf)
	local interval = conf.interval or INTERVAL_DEFAULT_S
	if type(interval) ~= 'number' or interval < INTERVAL_MIN_S then
		bad('interval must be at least %d seconds', INTERVAL_MIN_S)
	end
	if conf.ca_file ~= nil and type(conf.ca_file) ~= 'string' then bad('ca_file must be a path') end
	if conf.zonemd ~= nil and type(conf.zonemd) ~= 'boolean' then bad('zonemd must be true or false') end
	local text = kres.dname2str(wire):lower()
	return {
		name = text, url = conf.url, source = conf.file, interval = interval, ca_file = conf.ca_file,
		zonemd = conf.zonemd or false, file = text == '.' and 'root.zone' or text:gsub('[^%w.-]', '_') .. 'zone',
	}
end

local function stop()
	for _, zone in pairs(zones) do
		if zone.timer then event.cancel(zone.timer) end
	end
	zones = {}
end

--- Zones to be in the cache: { ['.'] = { url or file, interval, ca_file, zonemd }, … }; replaces what was before.
function M.config(conf)
	if conf == nil then return end
	if type(conf) ~= 'table' then bad('configuration must be a table of zones') end
	if next(conf) == nil then bad("the configuration of '.' is missing") end
	local parsed = {}
	for name, one in pairs(conf) do parsed[#parsed + 1] = parse(name, one) end
	stop()
	for _, zone in ipairs(parsed) do
		next_id = next_id + 1
		zone.id = next_id
		zones[next_id] = zone
		schedule(zone, 0)
	end
end

function M.deinit()
	stop()
end

return M
