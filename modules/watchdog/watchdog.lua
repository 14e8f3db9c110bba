-- SPDX-License-Identifier: GPL-3.0-or-later
-- Tell the service manager that we are alive, after asking ourselves if configured so.
local ffi = require('ffi')
local kres = require('kres')
local C = ffi.C

local M = {}
local GRP = C.LOG_GRP_WATCHDOG
local FAILURES = 3 -- in a row, before the process is stopped

-- What the service manager understands.
local function notify(state)
	local path = os.getenv('NOTIFY_SOCKET')
	if not path then return false end
	return worker.sd_notify and worker.sd_notify(state) or false
end

local private = {}

local function ok_callback()
	notify('WATCHDOG=1')
end

local function fail_callback()
	log_error(GRP, 'test query failed, the process is stopped')
	C.abort()
end

-- A single loss on the network is no reason to die.
local function count_failure()
	private.failed = private.failed + 1
	if private.failed >= private.failures then return private.fail_callback() end
	log_warn(GRP, 'test query failed %d times in a row, the process is stopped at %d', private.failed, private.failures)
end

local function check_answer(pkt)
	if pkt ~= nil and (pkt:rcode() == kres.rcode.NOERROR or pkt:rcode() == kres.rcode.NXDOMAIN) then
		private.failed = 0
		return private.ok_callback()
	end
	log_error(GRP, 'unexpected answer to the test query %s %s: %s', private.qname,
		kres.tostring.type[private.qtype], pkt ~= nil and tostring(pkt) or 'none')
	count_failure()
end

local function beat()
	if not private.qname then return private.ok_callback() end
	worker.resolve({
		name = private.qname,
		type = private.qtype,
		finish = function (pkt) private.check_answer_callback(pkt) end,
	})
end

local function reset()
	if private.event then event.cancel(private.event) end
	private = {
		qtype = kres.type.A,
		failures = FAILURES,
		failed = 0,
		ok_callback = ok_callback,
		fail_callback = fail_callback,
		check_answer_callback = check_answer,
	}
end

local function start(interval)
	private.interval = interval
	private.event = event.recurrent(interval, beat)
end

-- Without argument: the present state. With a table: test with a query of our own.
function M.config(conf)
	if conf == nil then return private end
	local interval = conf.interval or private.interval or 10000
	if type(interval) ~= 'number' or interval < 1 then
		error('[watchdog] interval must be >= 1 ms', 2)
	end
	local failures = conf.failures or FAILURES
	if type(failures) ~= 'number' or failures < 1 or failures % 1 ~= 0 then
		error('[watchdog] failures must be a whole number >= 1', 2)
	end
	reset()
	private.qname = conf.qname
	private.failures = failures
	private.qtype = conf.qtype or kres.type.A
	start(interval)
	return private
end

function M.init()
	reset()
	local timeout_us = tonumber(os.getenv('WATCHDOG_USEC') or '')
	local pid = tonumber(os.getenv('WATCHDOG_PID') or '')
	if not timeout_us or timeout_us <= 0 or (pid and pid ~= worker.pid) then
		log_info(GRP, 'disabled, the service manager did not ask for it')
		return
	end
	local timeout = timeout_us / 1000
	local interval = math.max(1, math.floor(timeout / 2))
	log_info(GRP, 'systemd watchdog enabled, interval: %d ms, timeout: %d ms', interval, timeout)
	start(interval)
end

function M.deinit()
	if private.event then event.cancel(private.event) end
	private = {}
end

return M
