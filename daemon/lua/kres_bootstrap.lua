-- SPDX-License-Identifier: GPL-3.0-or-later
-- Fetch the trust anchors of the root from IANA, when a managed key file is missing. The connection is
-- checked against trust_anchors.bootstrap_ca.
local kluautil = require('kluautil')

--- Seconds since the epoch of an XML date, 2017-02-02T00:00:00+00:00.
local function parse_date(text)
	local y, m, d, h, mi, s, sign, oh, om =
		text:match('^(%d+)%-(%d+)%-(%d+)T(%d+):(%d+):(%d+)([+-]?)(%d*):?(%d*)')
	if not y then return nil end
	local utc = os.time({ year = y, month = m, day = d, hour = h, min = mi, sec = s, isdst = false })
	local here = os.time(os.date('*t', utc))
	local shift = os.difftime(here, os.time(os.date('!*t', utc)))
	local offset = sign ~= '' and ((tonumber(oh) or 0) * 3600 + (tonumber(om) or 0) * 60) or 0
	return utc + shift - (sign == '-' and -offset or offset)
end

local function attribute(tag, name)
	return tag:match('%f[%w]' .. name .. '%s*=%s*"([^"]*)"')
end

local function is_valid_now(tag, now)
	local from, till = attribute(tag, 'validFrom'), attribute(tag, 'validUntil')
	local start, stop = from and parse_date(from), till and parse_date(till)
	if from and (not start or start > now) then return false end
	if till and (not stop or stop < now) then return false end
	return true
end

--- DS lines out of root-anchors.xml, of digests that are valid now; or nil and why.
local function parse_anchors(xml, now)
	if not xml:find('<Zone>%.</Zone>') then return nil, 'the file is not about the root zone' end
	local lines = {}
	for tag, body in xml:gmatch('<KeyDigest%s+([^>]*)>(.-)</KeyDigest>') do
		local function element(name) return body:match('<' .. name .. '>%s*(.-)%s*</' .. name .. '>') end
		local key_tag, algorithm, digest_type, digest =
			tonumber(element('KeyTag')), tonumber(element('Algorithm')),
			tonumber(element('DigestType')), element('Digest')
		if is_valid_now(tag, now) and key_tag and algorithm and digest_type and digest
			and digest:match('^%x+$') then
			lines[#lines + 1] = string.format('. 3600 IN DS %d %d %d %s', key_tag, algorithm,
				digest_type, digest)
		end
	end
	if #lines == 0 then return nil, 'there is no valid trust anchor in the file' end
	return lines
end

local function fetch(url, ca_file)
	local file = io.tmpfile()
	if not file then return nil, 'cannot make a temporary file' end
	local is_good, err = kluautil.kr_https_fetch(url, file, ca_file)
	local text = is_good and file:read('*a')
	file:close()
	if not is_good then return nil, err end
	return text
end

local M = {}
M.parse_anchors = parse_anchors

--- Write the fetched anchors to `path`.
function M.run(trust_anchors, path)
	if trust_anchors.keysets['\0'] then
		error(string.format("'%s' is missing and the root already has trust anchors", path), 0)
	end
	local ca_file = trust_anchors.bootstrap_ca
	local is_there = ca_file and io.open(ca_file)
	if is_there then
		is_there:close()
	else -- not shipped everywhere; the system's certificates know IANA as well
		ca_file = nil
	end
	local xml, err = fetch(trust_anchors.bootstrap_url, ca_file)
	local lines
	if xml then lines, err = parse_anchors(xml, os.time()) end
	if not lines then
		error(string.format('cannot fetch trust anchors of the root from %s: %s',
			trust_anchors.bootstrap_url, tostring(err)), 0)
	end
	local text = table.concat(lines, '\n') .. '\n'
	print('Root trust anchors bootstrapped over https with pinned certificate authority.\n'
		.. 'You SHOULD verify them manually against the original source:\n'
		.. 'https://www.iana.org/dnssec/files\n' .. 'Current root trust anchors are:\n' .. text)
	local file, open_err = io.open(path, 'w')
	if not file then error(string.format('cannot write %s: %s', path, tostring(open_err)), 0) end
	file:write(text)
	file:close()
end

return setmetatable(M, { __call = function (_, ...) return M.run(...) end })
