-- SPDX-License-Identifier: GPL-3.0-or-later
-- What is in the cache, and a function for the console that forgets a domain step by step.
function cache_report()
	local s = cache.stats()
	return string.format('%d entries, %d reads, %d hits, %.1f %% full', cache.count(), s.read, s.read - s.read_miss,
		s.usage_percent)
end
function forget(domain, when_done)
	local total = 0
	local function step(name, exact, rtype, chunk, callback, _, result)
		total = total + (result.count or 0)
		if result.chunk_limit then
			event.after(0, function () cache.clear(name, exact, rtype, chunk, callback, result) end)
		elseif when_done then
			when_done(total)
		end
		return result
	end
	return cache.clear(domain, false, nil, 100, step)
end
