-- SPDX-License-Identifier: GPL-3.0-or-later
-- Five Lua hooks, many requests: memory stays where it is. SOAK_QUERIES sets how many (and
-- TEST_LIMIT_MS how long it may take); a million take some minutes.
local QUERIES = tonumber(env.SOAK_QUERIES) or 6000
local MARGIN = 2 * MB

local calls = {}
local function count(hook, body)
	return function (state, req, pkt)
		calls[hook] = (calls[hook] or 0) + 1
		body(req, pkt)
		return state
	end
end

package.preload['kres_modules.mod_soak'] = function ()
	local lru = kres.lru(1000, 'uint32_t')
	return { layer = {
		begin = count('begin', function (req)
			req:vars().name = kres.dname2str(req:current():name())
			req:trace_chain_callbacks(nil, function () calls.trace = (calls.trace or 0) + 1 end)
		end),
		produce = count('produce', function (req, pkt)
			local ref = lru:get_ref(req:current():name(), nil, true)
			if ref ~= nil then ref[0] = ref[0] + 1 end
			check(pkt:id())
		end),
		consume = count('consume', function (req, pkt)
			for _, rr in ipairs(pkt:section(kres.section.ANSWER)) do check(#rr.rdata == 4) end
			for _, entry in ipairs(req.answ_selected) do check(entry.rr:owner()) end
		end),
		answer_finalize = count('answer_finalize', function (req)
			req:set_extended_error(kres.extended_error.OTHER, req:vars().name)
		end),
		finish = count('finish', function (req, answer)
			if not req:vars().name then return end -- it was under way before us
			check(req:vars().name == kres.dname2str(answer:qname()):lower())
			check(#tostring(answer) > 10 and #req:selected_tostring() >= 0)
			local copy = kres.packet(#answer, answer:towire())
			check(copy:parse())
		end),
	} }
end

local function memory()
	collectgarbage()
	collectgarbage()
	return { lua = collectgarbage('count') * 1024, rss = worker.stats().rss }
end

test(QUERIES .. ' requests through five hooks', function (done)
	local zone = {}
	for i = 1, 100 do zone[('w%d.example.net A'):format(i)] = { '192.0.2.1', '192.0.2.2' } end
	serve(zone)
	modules.load('mod_soak')
	local before, asked, good = nil, 0, 0
	local function batch()
		if asked >= QUERIES / 4 and not before then before = memory() end
		if asked >= QUERIES then
			local after = memory()
			print(string.format('# Lua %+.0f KiB, resident %+.0f KiB since the first quarter',
				(after.lua - before.lua) / 1024, (after.rss - before.rss) / 1024))
			check(after.lua - before.lua < MARGIN / 8, 'memory of Lua grew')
			-- the address sanitizer keeps freed memory for a while
			check(env.ASAN_OPTIONS or after.rss - before.rss < MARGIN, 'resident memory grew')
			same(good, asked)
			for hook in ('begin produce consume answer_finalize finish trace'):gmatch('%S+') do
				check(calls[hook] >= asked, hook)
			end
			local left = 0
			for _ in pairs(worker.vars or {}) do left = left + 1 end
			check(left < 300, left .. ' tables of requests are left')
			return done()
		end
		for _ = 1, 100 do
			asked = asked + 1
			resolve(('w%d.example.net'):format(asked % 100 + 1), kres.type.A, kres.class.IN, {}, function (pkt)
				good = good + (pkt and pkt:ancount() == 2 and 1 or 0)
			end)
		end
		event.after(0, guard(batch))
	end
	batch()
end)
