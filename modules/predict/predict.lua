-- SPDX-License-Identifier: GPL-3.0-or-later
-- Refresh cached records before they expire: those in use, and those that the same time of day asked for.
local kres = require('kres')
local bit = require('bit')
local prefetch = require('kres_modules.prefetch')

local M = {
	window = 15,   -- minutes
	period = 24,   -- windows of a day pattern; 0 = do not learn
	queue = {},    -- what will be refreshed: key -> { name, type }
	queue_len = 0,
	batch = 0,     -- how many at once
	log = {},      -- window number -> { key = { name, type } }
	layer = { skippable = true, concerns = {} }, -- answers close to their end are not repeated: see init()
}

local DRAIN_STEPS = 20      -- the queue is worked off in so many steps
local process_event, drain_event
local current_epoch = nil

function M.layer.finish(state, req)
	if bit.band(state, kres.FAIL) == 0 then prefetch.refresh_used(req) end
	return nil
end

-- ---- Learning ----

--- Number of the present window, 1 to period; nil if there is nothing to tell apart.
function M.epoch()
	if M.period <= 1 then return nil end
	local now = os.date('*t')
	return math.floor((now.hour * 60 + now.min) / M.window) % M.period + 1
end

--- Remember what is asked often in a window. @return number of samples
function M.sample(epoch)
	if not epoch or not stats then return 0 end
	local seen = M.log[epoch] or {}
	local count = 0
	for _, item in ipairs(stats.frequent() or {}) do
		seen[item.type .. ' ' .. item.name] = { name = item.name, type = item.type }
		count = count + 1
	end
	M.log[epoch] = seen
	stats.clear_frequent()
	return count
end

local function enqueue(items)
	for key, item in pairs(items or {}) do
		if not M.queue[key] then
			M.queue[key] = item
			M.queue_len = M.queue_len + 1
		end
	end
end

local function learned()
	local count = 0
	for _, items in pairs(M.log) do
		for _ in pairs(items) do count = count + 1 end
	end
	return count
end

local function publish()
	stats.set('predict.epoch ' .. (current_epoch or 0))
	stats.set('predict.queue ' .. M.queue_len)
	stats.set('predict.learned ' .. learned())
end

local function stop(id)
	if id then event.cancel(id) end
end

local function drain_interval()
	return math.max(1, math.floor(M.window * min / DRAIN_STEPS / 5))
end

--- Refresh one batch of the queue.
function M.drain()
	drain_event = nil
	local left = M.batch
	for key, item in pairs(M.queue) do
		if left <= 0 then break end
		left = left - 1
		M.queue[key] = nil
		M.queue_len = M.queue_len - 1
		prefetch.refresh(item.name, kres.type[item.type] or kres.type.A)
	end
	if M.queue_len > 0 then drain_event = event.after(drain_interval(), M.drain) end
	if stats then publish() end
	return 0
end

--- Sample, and plan the refreshing of what the coming window is expected to ask.
function M.process()
	process_event = nil
	local epoch = M.epoch()
	if epoch and epoch ~= current_epoch then
		if current_epoch then M.log[epoch] = M.log[epoch] or {} end
		current_epoch = epoch
	end
	M.sample(epoch)
	if epoch then
		enqueue(M.log[epoch % M.period + 1])
		M.batch = math.max(1, math.ceil(M.queue_len / DRAIN_STEPS))
		if M.queue_len > 0 and not drain_event then drain_event = event.after(drain_interval(), M.drain) end
	end
	if stats then publish() end
	local fifth = M.window * min / 5
	process_event = event.after(math.floor(fifth + math.random() * fifth), M.process)
end

-- ---- Configuration ----

local function positive(value, what, least)
	if type(value) ~= 'number' or value < least or value % 1 ~= 0 then
		error(string.format('[predict] %s must be a whole number, at least %d', what, least), 3)
	end
	return value
end

local function reset()
	stop(process_event)
	stop(drain_event)
	process_event, drain_event, current_epoch = nil, nil, nil
	M.queue, M.queue_len, M.batch, M.log = {}, 0, 0, {}
end

function M.config(conf)
	if conf ~= nil and type(conf) ~= 'table' then
		error('[predict] configuration must be a table or nil', 2)
	end
	conf = conf or {}
	local window = positive(conf.window or 15, 'window', 1)
	local period = positive(conf.period or 24, 'period', 0)
	reset()
	M.window, M.period = window, period
	if M.period == 0 then return end
	if not stats then modules.load('stats') end
	M.process()
end

function M.init()
	prefetch.engage(true)
end

function M.deinit()
	prefetch.engage(false)
	reset()
end

return M
