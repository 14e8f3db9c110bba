-- SPDX-License-Identifier: GPL-3.0-or-later
-- Which domains cause NXDOMAIN? Bounded memory through an LRU.
local M = { layer = {} }
local counts = kres.lru(1000, 'uint32_t')
local names = {}

local function parent_of(name)
	local labels = {}
	local at = 1
	while name:byte(at) ~= 0 do labels[#labels + 1] = at; at = at + 1 + name:byte(at) end
	return name:sub(labels[math.max(1, #labels - 1)] or at)
end

function M.layer.finish(state, req, answer)
	if answer ~= nil and answer:rcode() == kres.rcode.NXDOMAIN and answer:qname() then
		local domain = parent_of(answer:qname():lower())
		local count = counts:get_ref(domain, #domain, true)
		if count ~= nil then count[0] = count[0] + 1; names[domain] = true end
	end
	return state
end

function M.top()
	local list = {}
	for domain in pairs(names) do
		list[#list + 1] = { name = kres.dname2str(domain), count = tonumber(counts:get(domain) or 0) }
	end
	table.sort(list, function (a, b) return a.count > b.count end)
	return list
end

return M
