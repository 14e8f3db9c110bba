-- SPDX-License-Identifier: GPL-3.0-or-later
-- Counters of all instances: as JSON, as a stream of differences, and as Prometheus reads them.
local ffi = require('ffi')
local kluautil = require('kluautil')

local M = {
	namespace = '',     -- put before each name of a metric
	instances = false,  -- true: a line for each instance, with the label `instance`, instead of sums
	finalize = function (lines) return lines end,
}

local GRP = ffi.C.LOG_GRP_HTTP
local FRAME_S = 1
local BUCKETS = { 1, 10, 50, 100, 250, 500, 1000, 1500 } -- ms
local SLOW_MS = 3000 -- what `slow` counts for in the estimated sum

-- Of the cache that all share; adding them up would count the same things several times.
local SHARED = { ['cache.usage_percent'] = true, ['cache.count_entries'] = true }
-- Kept as they are in frames of differences.
local ABSOLUTE = { ['worker.concurrent'] = true, ['worker.rss'] = true }
-- What is not a counter.
local GAUGES = {
	['worker.concurrent'] = true, ['worker.rss'] = true, ['cache.usage_percent'] = true,
	['cache.count_entries'] = true, ['predict.epoch'] = true, ['predict.queue'] = true,
	['predict.learned'] = true,
}

-- ---- Collecting ----

-- An instance may have no module stats.
local COMMAND = '{ stats = select(2, pcall(function () return stats.list() end)), cache = cache.stats(), '
	.. 'worker = worker.stats(), pid = worker.pid, id = worker.id }'

local function own()
	return { stats = stats.list(), cache = cache.stats(), worker = worker.stats(), pid = worker.pid, id = worker.id }
end

-- @return list of what each instance says, and whether some did not answer
local function collect()
	local is_good, sockets = pcall(kluautil.list_dir, worker.control_path)
	if not is_good or #sockets == 0 then return { own() }, false end
	local results
	is_good, results = pcall(map, COMMAND)
	if not is_good then
		log_info(GRP, 'metrics of this instance only: %s', tostring(results))
		return { own() }, true
	end
	local list = {}
	for i = 1, results.n do list[i] = results[i] end
	return list, #list < #sockets
end

-- One instance's counters under their full names.
local function flat(facts)
	local all = {}
	for key, value in pairs(type(facts.stats) == 'table' and facts.stats or {}) do all[key] = value end
	for _, group in ipairs({ 'cache', 'worker' }) do
		for key, value in pairs(facts[group]) do
			if type(value) == 'number' then all[group .. '.' .. key] = value end
		end
	end
	return all
end

local function merge(list)
	local sums = {}
	for _, facts in ipairs(list) do
		for key, value in pairs(flat(facts)) do
			if SHARED[key] then
				sums[key] = math.max(sums[key] or 0, value)
			else
				sums[key] = (sums[key] or 0) + value
			end
		end
	end
	return sums
end

local function serve_stats()
	return (merge(collect()))
end

-- ---- Where servers are ----

local geo = nil

--- Open a MaxMind database. Raises an error when it or the library is missing.
function M.open_geoip(path)
	local has_mmdb, mmdb = pcall(require, 'mmdb')
	if not has_mmdb then error('[http] geoip needs the Lua library mmdb (mmdblua)', 0) end
	local is_good, db = pcall(mmdb.open, path)
	if not is_good or not db then
		error(string.format('[http] cannot open the GeoIP database %s: %s', path, tostring(db)), 0)
	end
	geo = db
	return db
end

local function place_of(addr)
	local is_good, found = pcall(addr:find(':', 1, true) and geo.search_ipv6 or geo.search_ipv4, geo, addr)
	return is_good and found or nil
end

--- Round trip times of servers, with their places where a database knows them.
function M.located(upstreams)
	if not geo then return upstreams end
	local out = {}
	for addr, rtts in pairs(upstreams) do
		local place = place_of(addr)
		out[addr] = place and place.location and {
			data = rtts, location = place.location, country = place.country and place.country.iso_code,
		} or rtts
	end
	return out
end

-- ---- Frames of differences ----

local function difference(now, before)
	local delta, is_quiet = {}, true
	for key, value in pairs(now) do
		delta[key] = ABSOLUTE[key] and value or value - (before[key] or 0)
		if delta[key] ~= 0 then is_quiet = false end
	end
	return delta, is_quiet
end

local function workers_of(list)
	local workers = {}
	for _, facts in ipairs(list) do
		local w = facts.worker
		workers[tostring(facts.pid)] = {
			rss = w.rss, usertime = w.usertime, systime = w.systime, pagefaults = w.pagefaults, queries = w.queries,
		}
	end
	return workers
end

local function stream_stats(_, ws)
	local before = merge(collect())
	repeat
		worker.sleep(FRAME_S)
		local list = collect()
		local now = merge(list)
		local delta, is_quiet = difference(now, before)
		before = now
		local frame = 'null'
		if not is_quiet then
			frame = tojson({
				time = os.time(), stats = delta, workers = workers_of(list),
				upstreams = geo and M.located(stats.upstreams()) or nil,
			})
		end
	until not ws:send(frame, 'text')
end

-- ---- Prometheus ----

local function escape(value)
	return (value:gsub('[\\"\n]', { ['\\'] = '\\\\', ['"'] = '\\"', ['\n'] = '\\n' }))
end

-- `answer.blocked;stype=A` -> name and labels
local function split_key(key)
	local name, tags = key:match('^([^;]*);?(.*)$')
	local labels = {}
	for tag, value in tags:gmatch('([^;=]+)=([^;]*)') do
		labels[#labels + 1] = string.format('%s="%s"', tag:gsub('[^%w_]', '_'), escape(value))
	end
	return M.namespace .. name:gsub('[^%w_:]', '_'), labels
end

local function with_labels(name, labels)
	return #labels > 0 and string.format('%s{%s}', name, table.concat(labels, ',')) or name
end

local LATENCY = { ['answer.slow'] = true }
for _, bound in ipairs(BUCKETS) do LATENCY[string.format('answer.%dms', bound)] = true end

-- Add the lines of a set of counters. `families` keeps lines of one name together (name -> lines).
local function add_counters(families, order, counters, instance)
	for key, value in pairs(counters) do
		if not LATENCY[key] then
			local name, labels = split_key(key)
			if instance then table.insert(labels, 1, string.format('instance="%s"', escape(instance))) end
			if not families[name] then
				families[name] = { string.format('# TYPE %s %s', name, GAUGES[key] and 'gauge' or 'counter') }
				order[#order + 1] = name
			end
			table.insert(families[name], string.format('%s %f', with_labels(name, labels), value))
		end
	end
end

local function add_latency(lines, counters)
	local name, count, sum = M.namespace .. 'latency', 0, 0
	lines[#lines + 1] = string.format('# TYPE %s histogram', name)
	local function bucket(label, key, ms)
		local here = counters[key] or 0
		count, sum = count + here, sum + here * ms
		lines[#lines + 1] = string.format('%s_bucket{le="%s"} %f', name, label, count)
	end
	for _, bound in ipairs(BUCKETS) do bucket(tostring(bound), string.format('answer.%dms', bound), bound) end
	bucket('+Inf', 'answer.slow', SLOW_MS)
	lines[#lines + 1] = string.format('%s_count %f', name, count)
	lines[#lines + 1] = string.format('%s_sum %f', name, sum)
	lines[#lines + 1] = string.format('# TYPE %s_seconds_total counter', name)
	lines[#lines + 1] = string.format('%s_seconds_total %f', name, (counters['answer.sum_ms'] or 0) / 1000)
end

local function serve_metrics()
	local list, is_partial = collect()
	local sums = merge(list)
	local families, order, lines = {}, {}, {}
	if M.instances then
		for _, facts in ipairs(list) do add_counters(families, order, flat(facts), tostring(facts.id)) end
	else
		add_counters(families, order, sums)
	end
	table.sort(order)
	for _, name in ipairs(order) do
		for _, line in ipairs(families[name]) do lines[#lines + 1] = line end
	end
	add_latency(lines, sums)
	if is_partial then lines[#lines + 1] = '# some instances did not answer' end
	lines = M.finalize(lines) or lines
	return table.concat(lines, '\n') .. '\n'
end

M.endpoints = {
	['/stats'] = { 'application/json', serve_stats, stream_stats },
	['/metrics'] = { 'text/plain; version=0.0.4', serve_metrics },
}

return M
