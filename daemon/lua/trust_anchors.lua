-- SPDX-License-Identifier: GPL-3.0-or-later
-- Trust anchors: key files, their states (RFC 5011) and what is published to the validator. Following
-- keys over time is the business of the module ta_update.
local ffi = require('ffi')
local C = ffi.C
local zonefile = require('zonefile')

-- Under names of our own: scripts may declare those of the C library as they like.
ffi.cdef[[
	int trust_anchors_fileno(void *stream) __asm__("fileno");
	int trust_anchors_fsync(int fd) __asm__("fsync");
]]

local GRP = C.LOG_GRP_TA
local context = kres.context()
local is_rehearsal = _paths.is_rehearsal

local M = {
	keysets = {},
	bootstrap_url = 'https://data.iana.org/root-anchors/root-anchors.xml',
}

-- Line that tells when the keys were last seen; a comment to everybody else.
local UPDATED = ';; keys last seen: '

-- What set_insecure() was given last.
local insecure = {}

local key_state = {
	Start = 'Start', AddPend = 'AddPend', Valid = 'Valid', Missing = 'Missing', Revoked = 'Revoked',
	Removed = 'Removed',
}
M.key_state = key_state

local active = { [key_state.Valid] = true, [key_state.Missing] = true }
local anchor_types = { [kres.type.DS] = true, [kres.type.DNSKEY] = true }

local function zone_name(owner)
	return kres.dname2str(owner) or '?'
end

-- ---- Reading ----

--- State and timer out of the comment ` STATE:TIMER ; KeyTag:N`; nil if there is none.
local function parse_comment(comment)
	local state, timer = (comment or ''):match('^%s*(%a+):(%d*)')
	if not state or not key_state[state] then return nil end
	return state, tonumber(timer)
end

--- Make a record of a key set from a parsed one.
local function make_key(rr, state, timer)
	rr.state = state
	rr.timer = timer
	rr.key_tag = C.kr_dnssec_key_tag(rr.type, rr.rdata, #rr.rdata)
	return rr
end

--- The tag in the comment is for people; one that does not fit means that a record was damaged.
local function check_noted_tag(rr)
	local noted = tonumber((rr.comment or ''):match('KeyTag:(%d+)'))
	if noted and noted ~= rr.key_tag then
		log_warn(GRP, 'a key of %s has the tag %d, not %d as noted: was the file damaged?',
			zone_name(rr.owner), rr.key_tag, noted)
	end
end

--- Lines that count: records, and commented records which carry a state other than those in force.
local function parse_line(line)
	local commented = line:match('^; (.*)$')
	if not commented and line:match('^%s*;') then return nil end
	local records = zonefile.string((commented or line) .. '\n')
	local rr = records[1]
	if not rr then return nil end
	local state, timer = parse_comment(rr.comment)
	if commented and not state then return nil end
	make_key(rr, state or key_state.Valid, timer)
	check_noted_tag(rr)
	return rr
end

local function owner_to_lower(owner)
	return kres.str2dname(kres.dname2str(owner))
end

--- Check a list of records that shall become the anchors of one name. @return key set, or nil and why
local function to_keyset(records)
	local keyset = {}
	for _, rr in ipairs(records) do
		if anchor_types[rr.type] then
			rr.owner = owner_to_lower(rr.owner)
			keyset.owner = keyset.owner or rr.owner
			if rr.owner ~= keyset.owner then return nil, 'the records have different owners' end
			keyset[#keyset + 1] = rr
		end
	end
	if #keyset == 0 then return nil, 'there is no valid DS or DNSKEY record' end
	return keyset
end

--- Records of a managed file: comments carry states, so lines are looked at one by one. Records over
-- several lines (parentheses) are not written by us, but read.
local function read_file(path)
	local file, err = io.open(path, 'r')
	if not file then return nil, err end
	local text = file:read('*a')
	file:close()
	if not text then return nil, path .. ': cannot be read' end
	local records, broken = {}, {}
	for line in text:gmatch('[^\r\n]+') do
		local rr = parse_line(line)
		if rr then
			records[#records + 1] = rr
		elseif not line:match('^%s*;') and line:match('%S') then
			broken[#broken + 1] = line
		end
	end
	if #broken > 0 then -- multi-line records, $TTL and the like
		records = {}
		local all, why = zonefile.file(path)
		if not all then return nil, why end
		for _, rr in ipairs(all) do
			local state, timer = parse_comment(rr.comment)
			if anchor_types[rr.type] then
				records[#records + 1] = make_key(rr, state or key_state.Valid, timer)
			end
		end
	end
	return records, nil, tonumber(('\n' .. text):match('\n' .. UPDATED .. '(%d+)'))
end

local function parse_text(text)
	local records = {}
	for _, rr in ipairs(zonefile.string(text .. '\n')) do
		if anchor_types[rr.type] then records[#records + 1] = make_key(rr, key_state.Valid) end
	end
	return records
end

-- ---- Writing ----

local style = ffi.new('knot_dump_style_t', C.KNOT_DUMP_STYLE_DEFAULT)

local function key_line(key)
	local line = string.format('%s\t%d\t%s\t%s ; %s:%s ; KeyTag:%d', zone_name(key.owner), key.ttl,
		kres.tostring.type[key.type], kres.rr2str({
			owner = key.owner, ttl = key.ttl, type = key.type, rdata = key.rdata,
		}, style):match('^[^\t]*\t[^\t]*\t[^\t]*\t(.*)$'), key.state, key.timer or '', key.key_tag)
	return active[key.state] and line or '; ' .. line
end

local function keyset_text(keyset)
	local lines = {}
	for i, key in ipairs(keyset) do lines[i] = key_line(key) .. '\n' end
	return table.concat(lines)
end

local function file_text(keyset)
	local stamp = keyset.updated and string.format('%s%d\n', UPDATED, keyset.updated) or ''
	return stamp .. keyset_text(keyset)
end

--- Get what was written to an open file (or folder) onto the disk. @return true, or nil and why
local function sync(file)
	if C.trust_anchors_fsync(C.trust_anchors_fileno(file)) == 0 then return true end
	return nil, 'fsync: error ' .. ffi.errno()
end

--- @return true, or nil and why
local function write_file(path, text)
	local file, err = io.open(path, 'w')
	if not file then return nil, err end
	local is_good
	is_good, err = file:write(text)
	if is_good then is_good, err = file:flush() end
	if is_good then is_good, err = sync(file) end
	local is_closed, close_err = file:close()
	if is_good and is_closed then return true end
	return nil, err or close_err
end

--- A rename that outlives a loss of power; where folders cannot be synchronised it is still atomic.
local function sync_folder(path)
	local folder = io.open(path:match('^(.*/)[^/]*$') or '.', 'r')
	if not folder then return end
	sync(folder)
	folder:close()
end

--- Write the file of a managed key set: aside, then renamed over it. Whatever goes wrong, the file
-- is the old one or the new one. @return true or false
function M.keyset_write(keyset)
	if not keyset.managed then return true end
	local aside = string.format('%s.lock.%s', keyset.filename, worker.pid)
	local is_good, err = write_file(aside, file_text(keyset))
	if is_good then is_good, err = os.rename(aside, keyset.filename) end
	if is_good then
		sync_folder(keyset.filename)
		return true
	end
	os.remove(aside)
	log_error(GRP, "cannot write the trust anchors of %s, '%s' stays as it was: %s",
		zone_name(keyset.owner), keyset.filename, tostring(err))
	return false
end

-- ---- Publishing ----

--- Let the validator use the keys in force. @return true if there is any
function M.keyset_publish(keyset)
	local store = context.trust_anchors
	local owner = keyset.owner
	local count = 0
	C.kr_ta_del(store, owner)
	for _, key in ipairs(keyset) do
		if active[key.state] then
			local ret = C.kr_ta_add(store, owner, key.type, key.ttl, key.rdata, #key.rdata)
			if ret == 0 then
				count = count + 1
			else
				log_error(GRP, 'the key %d of %s cannot be used: %s', key.key_tag or 0,
					zone_name(owner), ffi.string(C.knot_strerror(ret)))
			end
		end
	end
	cache._changed()
	if count == 0 then
		log_error(GRP, 'there is no usable trust anchor of %s', zone_name(owner))
		return false
	end
	return true
end

--- With anchors that cannot be used nothing below them would be.
local function is_usable(keyset)
	local set = C.kr_ta_get(context.trust_anchors, keyset.owner)
	if set ~= nil and C.kr_ds_algo_support(set) then return true end
	log_error(GRP, 'no trust anchor of %s has a supported algorithm and digest: nothing validates there',
		zone_name(keyset.owner))
	return false
end

--- Make a key set the one of its owner; what was there stays if that fails. A file has to be of use,
-- what is written in the configuration is what somebody wanted.
local function install(keyset)
	local old = M.keysets[keyset.owner]
	M.keysets[keyset.owner] = keyset
	if not M.keyset_publish(keyset) or not is_usable(keyset) and keyset.filename then
		M.keysets[keyset.owner] = old
		C.kr_ta_del(context.trust_anchors, keyset.owner)
		if old then M.keyset_publish(old) end
		return false
	end
	for _, key in ipairs(keyset) do
		log_info(GRP, 'installed trust anchors for domain %s: %s', zone_name(keyset.owner), key_line(key))
	end
	return true
end

-- ---- Files ----

--- The directory of a managed file has to be writable: try it.
local function check_writable(path)
	if is_rehearsal then
		local is_good, err = _can_write_beside(path)
		if not is_good then
			error('the directory of a managed trust anchor file must be writable: ' .. err, 3)
		end
		return
	end
	local lock = path .. '.lock'
	local file, err = io.open(lock, 'w')
	if not file then
		error(string.format('the directory of a managed trust anchor file must be writable: %s',
			tostring(err)), 3)
	end
	file:close()
	os.remove(lock)
end

local function file_exists(path)
	local file = io.open(path, 'r')
	if file then file:close() end
	return file ~= nil
end

local function track(keyset)
	if ta_update then ta_update.start(keyset.owner, keyset.managed) end
end

function M.add_file(path, unmanaged)
	if type(path) ~= 'string' then panic('trust_anchors.add_file(): expected a path') end
	local managed = not unmanaged
	if managed then
		check_writable(path)
		if not file_exists(path) then
			if is_rehearsal then
				return log_warn(GRP, "trust anchor file '%s' is missing, it would be fetched from %s", path,
					M.bootstrap_url)
			end
			log_error(GRP, "trust anchor file '%s' is missing, bootstrapping", path)
			require('kres_bootstrap')(M, path)
		end
	end
	local records, err, updated = read_file(path)
	if not records then panic("trust anchors of '%s' cannot be read: %s", path, tostring(err)) end
	local keyset
	keyset, err = to_keyset(records)
	if not keyset then panic("trust anchors of '%s' cannot be read: %s", path, err) end
	keyset.filename = path
	keyset.managed = managed
	keyset.updated = updated
	local old = M.keysets[keyset.owner]
	if old then
		log_warn(GRP, 'replacing the trust anchors of %s, which came from %s', zone_name(keyset.owner),
			old.filename and "'" .. old.filename .. "'" or 'the configuration')
	end
	if not install(keyset) then panic("trust anchors of '%s' cannot be used", path) end
	track(keyset)
end

function M.add(text)
	if type(text) ~= 'string' then panic('trust_anchors.add(): expected records as text') end
	local keyset, err = to_keyset(parse_text(text))
	if not keyset then panic('trust_anchors.add(): %s', err) end
	local old = M.keysets[keyset.owner]
	if old and old.managed then
		panic("trust_anchors.add(): the anchors of %s come from the managed file '%s'",
			zone_name(keyset.owner), old.filename)
	end
	if old then -- extend; the same key twice is one key
		local merged, known = { owner = old.owner, filename = old.filename, managed = old.managed }, {}
		for _, list in ipairs({ old, keyset }) do
			for _, key in ipairs(list) do
				local id = key.type .. ' ' .. key.rdata
				if not known[id] then merged[#merged + 1] = key end
				known[id] = true
			end
		end
		keyset = merged
	end
	if not install(keyset) then panic('trust_anchors.add(): the keys cannot be used') end
end

function M.remove(name)
	local owner = kres.str2dname(name)
	if not owner then error('trust_anchors.remove(): invalid name ' .. tostring(name), 2) end
	if not M.keysets[owner] and C.kr_ta_get(context.trust_anchors, owner) == nil then return false end
	if ta_update then ta_update.stop(owner) end
	M.keysets[owner] = nil
	C.kr_ta_del(context.trust_anchors, owner)
	cache._changed()
	return true
end

-- ---- Negative anchors ----

function M.set_insecure(names)
	if type(names) ~= 'table' then error('set_insecure(): expected a table of names', 2) end
	local owners = {}
	for i, name in ipairs(names) do
		local owner = kres.str2dname(name)
		if not owner then error('set_insecure(): invalid name ' .. tostring(name), 2) end
		if M.keysets[owner] then
			error('set_insecure(): ' .. name .. ' has a trust anchor; remove that first', 2)
		end
		owners[i] = owner
	end
	C.kr_ta_clear(context.negative_anchors)
	for _, owner in ipairs(owners) do
		C.kr_ta_add(context.negative_anchors, owner, kres.type.DS, 0, nil, 0)
	end
	insecure = names
	cache._changed()
end

-- ---- Text for people ----

local function sorted_owners()
	local owners = {}
	for owner in pairs(M.keysets) do owners[#owners + 1] = owner end
	table.sort(owners)
	return owners
end

function M.summary(owner)
	local out = {}
	for _, name in ipairs(owner and { owner } or sorted_owners()) do
		if M.keysets[name] then out[#out + 1] = keyset_text(M.keysets[name]) end
	end
	for _, name in ipairs(insecure) do
		if not owner or owner == kres.str2dname(name) then
			out[#out + 1] = zone_name(kres.str2dname(name)) .. ' is negative trust anchor\n'
		end
	end
	if next(M.keysets) == nil then
		out[#out + 1] = 'No valid trust anchors, DNSSEC validation is disabled\n'
	end
	return table.concat(out)
end

-- ---- Start ----

--- The built-in key file; a failure ends the start.
function M._load_default(paths)
	M.bootstrap_ca = paths.etcdir .. '/icann-ca.pem'
	M.add_file(paths.keyfile, true)
end

-- ---- Removed spellings ----

local function removed(what, instead)
	panic('configuration upgrade required: trust_anchors.%s was removed, use %s instead; see '
		.. 'https://knot-resolver.readthedocs.io/en/stable/upgrading.html', what, instead)
end

function M.config()
	removed('config()', 'trust_anchors.add_file()')
end

local replaced = {
	file = 'trust_anchors.add_file()',
	negative = 'trust_anchors.set_insecure()',
	keyfile_default = "trust_anchors.add_file() or trust_anchors.remove('.')",
}

return setmetatable(M, {
	__index = function (_, key)
		return key == 'insecure' and insecure or nil
	end,
	__newindex = function (_, key, value)
		if replaced[key] then removed(key, replaced[key]) end
		if key == 'insecure' then
			error('trust_anchors.insecure can only be read, use trust_anchors.set_insecure()', 2)
		end
		rawset(M, key, value)
	end,
})
