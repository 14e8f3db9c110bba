-- SPDX-License-Identifier: GPL-3.0-or-later
-- A coroutine that asks for names again and again and remembers the answers.
local condition = require('cqueues.condition')
local M = { seen = {}, rounds = 0 }
local is_stopped = false

--- Ask and wait; only in a coroutine.
local function ask(name, rtype)
	local cond, result = condition.new(), nil
	resolve(name, rtype, kres.class.IN, 0, function (pkt)
		result = pkt and pkt:rcode() == 0 and pkt:section(kres.section.ANSWER) or {}
		cond:signal()
	end)
	if not result then cond:wait() end
	return result
end

function M.config(conf)
	worker.coroutine(function ()
		while not is_stopped do
			for _, name in ipairs(conf.names) do
				local records = ask(name, kres.type.A)
				M.seen[name] = records[1] and records[1].rdata or false
			end
			M.rounds = M.rounds + 1
			worker.sleep(conf.every)
		end
	end)
end

function M.deinit() is_stopped = true end

return M
