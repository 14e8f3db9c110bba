-- SPDX-License-Identifier: GPL-3.0-or-later
-- Reads extension_api.data: entries(kind) -> list of { name =, value =, of = table or struct, mark = }.
local with_owner = { const = true, field = true }

function entries(kind)
	local found = {}
	for line in io.lines('extension_api.data') do
		local words = {}
		for word in line:gmatch('%S+') do words[#words + 1] = word end
		if line:sub(1, 1) ~= '#' and words[1] == kind then
			local first = with_owner[kind] and 4 or 3
			for i = first, #words do
				local name, value = words[i]:match('^(.-)=(.+)$')
				found[#found + 1] = { name = name or words[i], value = tonumber(value) or value,
					of = first == 4 and words[3] or nil, mark = words[2] }
			end
		end
	end
	check(#found > 0, 'no entries of kind ' .. kind)
	return found
end
