-- SPDX-License-Identifier: GPL-3.0-or-later
-- Automated updates of trust anchors (RFC 5011): follow the keys of a zone as they come, stay, are
-- revoked and go. The state of each key is kept in the key file (see trust_anchors).
local ffi = require('ffi')
local kres = require('kres')
local bit = require('bit')
local C = ffi.C

local M = {
	hold_down_time = 30 * day, -- ms a new key is watched before it is trusted
	refresh_time = nil,        -- ms between queries; nil = from the TTL
	keep_removed = 0,          -- removed keys kept in the file
	tracked = {},              -- zone -> { event = id, managed = bool }
}

local GRP = C.LOG_GRP_TAUPDATE
-- RFC 5011 section 2.3
local REFRESH_MIN, REFRESH_MAX, RETRY_MAX = 1 * hour, 15 * day, 1 * day
local MISSING_FACTOR = 4
local CLOCK_SLACK_S = 3600 -- wall clock and monotonic clock may drift apart that far between two answers

local function log_key(key)
	log_info(GRP, 'key: %d state: %s', key.key_tag, key.state)
end

-- Of the key set, of trust_anchors (where manuals have it), of this module.
local function setting(keyset, name)
	if keyset[name] ~= nil then return keyset[name] end
	if trust_anchors[name] ~= nil then return trust_anchors[name] end
	return M[name]
end

local function hold_down_s(keyset)
	return math.floor(setting(keyset, 'hold_down_time') / sec)
end

-- How long a key may stay in a state that ends by itself; nil if it does not.
local function time_limit_s(keyset, key)
	local states = trust_anchors.key_state
	if key.state == states.AddPend or key.state == states.Revoked then return hold_down_s(keyset) end
	if key.state == states.Missing then return MISSING_FACTOR * hold_down_s(keyset) end
	return nil
end

-- A zone key with the SEP bit, revoked or not.
local function is_signing_key(rdata)
	return bit.band(rdata:byte(1), 1) ~= 0 and bit.band(rdata:byte(2), 1) ~= 0
end

local function key_tag(rr)
	return C.kr_dnssec_key_tag(rr.type, rr.rdata, #rr.rdata)
end

-- The same key, whatever its flags; a DS stands for the key that has its digest.
local function is_same_key(known, rr)
	if known.type == kres.type.DS then
		return C.kr_ta_ds_matches(known.owner, known.rdata, #known.rdata, rr.rdata, #rr.rdata) == 0
	end
	return known.rdata:sub(3) == rr.rdata:sub(3)
end

local function find_key(keyset, rr)
	for _, key in ipairs(keyset) do
		if is_same_key(key, rr) then return key end
	end
	return nil
end

-- A key that is not known yet: watch it for the hold-down time.
local function new_key(keyset, rr, now)
	local key = {
		owner = rr.owner, type = rr.type, class = rr.class, ttl = rr.ttl, rdata = rr.rdata,
		key_tag = key_tag(rr),
		state = trust_anchors.key_state.Start,
	}
	if #keyset == 0 then
		key.state = trust_anchors.key_state.Valid
	else
		key.state = trust_anchors.key_state.AddPend
		key.timer = now + hold_down_s(keyset)
	end
	table.insert(keyset, key)
	log_key(key)
end

-- A known key is in the answer.
local function key_present(keyset, key, rr, now)
	local states = trust_anchors.key_state
	local revoked = C.kr_dnssec_key_revoked(rr.rdata)
	if revoked then
		if key.state == states.Valid or key.state == states.Missing then
			key.state = states.Revoked
			key.type, key.rdata = rr.type, rr.rdata
			key.key_tag = key_tag(rr)
			key.timer = now + hold_down_s(keyset)
			log_key(key)
		elseif key.state == states.AddPend then
			key.state = states.Start -- never was trusted: forgotten
		elseif key.state == states.Revoked and now >= (key.timer or 0) then
			key.state, key.timer = states.Removed, nil
			log_key(key)
		end
		return
	end
	if key.state == states.AddPend and now >= (key.timer or 0) then
		key.state, key.timer = states.Valid, nil
		log_key(key)
	elseif key.state == states.Missing then
		key.state, key.timer = states.Valid, nil
		log_key(key)
	end
	if key.state == states.Valid and key.type == kres.type.DS then
		key.type, key.rdata, key.ttl = rr.type, rr.rdata, rr.ttl
	end
end

-- A known key is not in the answer.
local function key_absent(keyset, key, now)
	local states = trust_anchors.key_state
	if key.state == states.Valid then
		key.state, key.timer = states.Missing, now + MISSING_FACTOR * hold_down_s(keyset)
		log_key(key)
	elseif key.state == states.Missing and now >= (key.timer or now) then
		key.state, key.timer = states.Removed, nil
		log_key(key)
	elseif key.state == states.AddPend then
		key.state = states.Start
		log_key(key)
	elseif key.state == states.Revoked and now >= (key.timer or 0) then
		key.state, key.timer = states.Removed, nil
		log_key(key)
	end
end

local function forget_keys(keyset)
	local states = trust_anchors.key_state
	local kept, removed = {}, 0
	for i = #keyset, 1, -1 do
		local key = keyset[i]
		local keep = key.state ~= states.Start
		if key.state == states.Removed then
			removed = removed + 1
			keep = removed <= setting(keyset, 'keep_removed')
		end
		if keep then table.insert(kept, 1, key) end
		keyset[i] = nil
	end
	for i, key in ipairs(kept) do keyset[i] = key end
end

local function copy_keys(keyset)
	local copy = {}
	for k, v in pairs(keyset) do copy[k] = v end
	for i, key in ipairs(keyset) do
		local key_copy = {}
		for k, v in pairs(key) do key_copy[k] = v end
		copy[i] = key_copy
	end
	return copy
end

local function has_trusted(keyset)
	for _, key in ipairs(keyset) do
		if key.state == trust_anchors.key_state.Valid or key.state == trust_anchors.key_state.Missing then
			return true
		end
	end
	return false
end

-- Key signing keys of the zone in an answer. A revocation counts only if the key itself signed it
-- (RFC 5011 section 2.1); otherwise the key is as good as absent.
local function published_keys(keyset, pkt, now)
	local keys = {}
	for _, rr in ipairs(pkt:section(kres.section.ANSWER)) do
		if rr.type == kres.type.DNSKEY and kres.str2dname(kres.dname2str(rr.owner)) == keyset.owner
				and is_signing_key(rr.rdata) and (not C.kr_dnssec_key_revoked(rr.rdata)
				or C.kr_ta_is_revoked(pkt, keyset.owner, rr.rdata, #rr.rdata, now) == 0) then
			keys[#keys + 1] = rr
		end
	end
	return keys
end

-- Seconds that passed since the keys were last seen, by a clock that nobody sets; across a restart
-- there is none, so a gap counts no more than two questions may lie apart.
local function passed_s(keyset, now, now_mono)
	if keyset.updated_mono then return now_mono - keyset.updated_mono end
	return math.max(0, math.min(now - keyset.updated, REFRESH_MAX / sec))
end

-- A key waits for the time it was watched, not for a date: what the clock jumped is taken off, and
-- nobody waits longer than from now on.
local function correct_timers(keyset, now)
	local now_mono = math.floor(tonumber(C.kr_now()) / sec)
	local jump = keyset.updated and now - keyset.updated - passed_s(keyset, now, now_mono) or 0
	if math.abs(jump) <= CLOCK_SLACK_S then jump = 0 end
	local is_unsure = jump < 0 and not keyset.updated_mono -- the clock or the file is wrong
	if jump ~= 0 then
		log_warn(GRP, 'the clock is %d s off since the keys of %s were last seen: %s', jump,
			kres.dname2str(keyset.owner),
			is_unsure and 'all times of waiting begin anew' or 'that time does not count')
	end
	for _, key in ipairs(keyset) do
		local limit = time_limit_s(keyset, key)
		if limit and (is_unsure or not key.timer) then
			key.timer = now + limit
		elseif limit then
			key.timer = key.timer + jump
			if key.timer > now + limit then
				log_warn(GRP, 'the timer of key %d is too far in the future: it begins anew',
					key.key_tag)
				key.timer = now + limit
			end
		end
	end
	keyset.updated, keyset.updated_mono = now, now_mono
end

-- Apply a validated DNSKEY set. The old state stays in force if the new one cannot be written.
local function update(keyset, pkt, now)
	local fresh = copy_keys(keyset)
	local seen = {}
	correct_timers(fresh, now)
	for _, rr in ipairs(published_keys(keyset, pkt, now)) do
		local key = find_key(fresh, rr)
		if key then
			key_present(fresh, key, rr, now)
			seen[key] = true
		elseif not C.kr_dnssec_key_revoked(rr.rdata) then
			new_key(fresh, rr, now)
			seen[fresh[#fresh]] = true
		end
	end
	for _, key in ipairs(fresh) do
		if not seen[key] then key_absent(fresh, key, now) end
	end
	forget_keys(fresh)
	if not has_trusted(fresh) then
		log_error(GRP, 'no trusted key of %s would be left: the update is not applied',
			kres.dname2str(keyset.owner))
		return false
	end
	if not trust_anchors.keyset_write(fresh) then return false end
	for i = #keyset, 1, -1 do keyset[i] = nil end
	for k, v in pairs(fresh) do keyset[k] = v end
	return trust_anchors.keyset_publish(keyset)
end

function M.cb_unmanagedkey_change(filename)
	log_warn(GRP, 'you need to update package with trust anchors in "%s" before it breaks', filename)
end

-- Do the published keys differ from a file that is not ours to write?
local function unmanaged_differs(keyset, pkt, now)
	local seen = {}
	for _, rr in ipairs(published_keys(keyset, pkt, now)) do
		local key = find_key(keyset, rr)
		if not key or C.kr_dnssec_key_revoked(rr.rdata) then return true end
		seen[key] = true
	end
	for _, key in ipairs(keyset) do
		if not seen[key] then return true end
	end
	return false
end

local function min_ttl(pkt)
	local ttl = nil
	for _, rr in ipairs(pkt:section(kres.section.ANSWER)) do
		if rr.type == kres.type.DNSKEY then ttl = math.min(ttl or rr.ttl, rr.ttl) end
	end
	return (ttl or 0) * sec
end

local function clamp(value, low, high)
	return math.max(low, math.min(value, high))
end

-- When to ask again, RFC 5011 section 2.3.
local function next_refresh(keyset, ttl_ms, failed)
	local fixed = setting(keyset, 'refresh_time')
	if fixed then return fixed end
	if failed then return clamp(ttl_ms / 10, REFRESH_MIN, RETRY_MAX) end
	return clamp(ttl_ms / 2, REFRESH_MIN, REFRESH_MAX)
end

local function report_failure(keyset, pkt)
	local zone = kres.dname2str(keyset.owner)
	if pkt == nil then
		log_warn(GRP, 'active refresh failed, no answer to %s DNSKEY', zone)
	elseif pkt:rcode() == kres.rcode.SERVFAIL then
		log_warn(GRP, 'active refresh failed for %s with rcode: %d; if the keys in "%s" are out of '
			.. 'date, replace the file', zone, pkt:rcode(), tostring(keyset.filename))
	else
		log_warn(GRP, 'active refresh failed for %s with rcode: %d', zone, pkt:rcode())
	end
end

local refresh

local function schedule(zone, ms)
	local track = M.tracked[zone]
	if not track then return end
	log_info(GRP, 'next refresh for %s in %.3f hours', kres.dname2str(zone), ms / hour)
	if track.event then event.cancel(track.event) end
	track.event = event.after(ms, function ()
		track.event = nil
		refresh(zone)
	end)
end

local function on_answer(zone, pkt, req)
	local track, keyset = M.tracked[zone], trust_anchors.keysets[zone]
	if not track or not keyset then return end
	local good = pkt ~= nil and pkt:rcode() == kres.rcode.NOERROR and pkt:ancount() > 0
		and req.rank == C.KR_RANK_SECURE
	if not good then
		report_failure(keyset, pkt)
		return schedule(zone, next_refresh(keyset, track.ttl_ms or 0, true))
	end
	track.ttl_ms = min_ttl(pkt)
	local now = tonumber(req:initial().timestamp.tv_sec)
	if track.managed then
		update(keyset, pkt, now)
	elseif unmanaged_differs(keyset, pkt, now) then
		M.cb_unmanagedkey_change(tostring(keyset.filename))
	end
	schedule(zone, next_refresh(keyset, track.ttl_ms, false))
end

refresh = function (zone)
	log_info(GRP, 'refreshing TA for %s', kres.dname2str(zone))
	worker.resolve({
		name = kres.dname2str(zone),
		type = kres.type.DNSKEY,
		options = { 'DNSSEC_WANT', 'NO_CACHE' },
		finish = function (pkt, req) on_answer(zone, pkt, req) end,
	})
end

-- Follow the keys of a zone that has anchors.
function M.start(zone, managed)
	if not trust_anchors.keysets[zone] then
		error('[ta_update] TA must be configured first before tracking it', 2)
	end
	M.stop(zone)
	M.tracked[zone] = { managed = managed and true or false }
	M.tracked[zone].event = event.after(0, function ()
		local track = M.tracked[zone]
		if track then
			track.event = nil
			refresh(zone)
		end
	end)
end

function M.stop(zone)
	local track = M.tracked[zone]
	if track and track.event then event.cancel(track.event) end
	M.tracked[zone] = nil
end

function M.init()
	for zone, keyset in pairs(trust_anchors.keysets) do
		if keyset.filename then M.start(zone, keyset.managed) end
	end
end

function M.deinit()
	for zone in pairs(M.tracked) do M.stop(zone) end
end

return M
