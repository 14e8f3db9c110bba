-- SPDX-License-Identifier: GPL-3.0-or-later
-- The web page and its files.
local M = {
	snippets = {}, -- path -> { title, HTML }, sections of the page
}

local FOLDER = package.searchpath('kres_modules.http_page', package.path):match('^(.*)/')
local MAX_AGE_S = 86400
local MIME = {
	js = 'application/javascript', css = 'text/css', ico = 'image/x-icon', html = 'text/html',
	svg = 'image/svg+xml', png = 'image/png', json = 'application/json',
}

local function read(path)
	local file, err = io.open(path, 'rb')
	if not file then error('[http] ' .. err, 3) end
	local text = file:read('*a')
	file:close()
	return text
end

--- Endpoint of a file that came with a module (default: http).
function M.static(path, module)
	local full = string.format('%s/%s/%s', FOLDER, module or 'http', path)
	return { MIME[path:match('%.(%w+)$')] or 'text', read(full), nil, MAX_AGE_S }
end

local function escape(text)
	return (tostring(text):gsub('[<>&"]', { ['<'] = '&lt;', ['>'] = '&gt;', ['&'] = '&amp;', ['"'] = '&quot;' }))
end

local function sections()
	local links, bodies = {}, {}
	for _, snippet in pairs(M.snippets) do
		local title, html = snippet[1], snippet[2]
		local id = title:lower():gsub('%s+', '-')
		links[#links + 1] = string.format('<li><a href="#%s">%s</a></li>', escape(id), escape(title))
		bodies[#bodies + 1] = string.format('<section id="%s"><h2>%s</h2>\n%s</section>', escape(id), escape(title), html)
	end
	return table.concat(links), table.concat(bodies, '\n')
end

--- The main page; made anew each time, for snippets come and go.
function M.main()
	local links, bodies = sections()
	local values = { title = 'kresd @ ' .. escape(hostname()), links = links, snippets = bodies }
	return (read(FOLDER .. '/http/main.html'):gsub('{{(%w+)}}', values))
end

return M
