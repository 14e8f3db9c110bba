-- SPDX-License-Identifier: GPL-3.0-or-later
-- At start compare the clock with the signatures of the root zone: DNSSEC needs a clock that is right.
local ffi = require('ffi')
local kres = require('kres')
local C = ffi.C

local M = {}
local GRP = C.LOG_GRP_DETECTTIMESKEW
local timer = nil

local function time_text(seconds)
	return os.date('!%Y-%m-%d %H:%M:%S UTC', seconds)
end

local function compare(inception, expiration, now)
	if now > expiration then
		log_warn(GRP, 'local system time %s seems to be at least %d seconds in the future. DNSSEC '
			.. 'signatures for . NS were valid until %s', time_text(now), now - expiration,
			time_text(expiration))
	elseif now < inception then
		log_warn(GRP, 'local system time %s seems to be at least %d seconds in the past. DNSSEC '
			.. 'signatures for . NS are valid from %s', time_text(now), inception - now,
			time_text(inception))
	else
		log_info(GRP, 'local system time %s is within DNSSEC signature validity interval <%s, %s>',
			time_text(now), time_text(inception), time_text(expiration))
	end
end

local function check(pkt)
	if pkt == nil or pkt:rcode() ~= kres.rcode.NOERROR then
		log_warn(GRP, "cannot resolve '.' NS")
		return
	end
	for _, rr in ipairs(pkt:rrsets(kres.section.ANSWER)) do
		if rr.type == kres.type.RRSIG and rr:type_covered() == kres.type.NS then
			local rdata = rr:rdata_pt(0)
			return compare(C.kr_rrsig_sig_inception(rdata), C.kr_rrsig_sig_expiration(rdata),
				os.time())
		end
	end
	log_info(GRP, 'no DNSSEC signatures for . NS: is a trust anchor for the root configured?')
end

function M.init()
	if timer then error('detect_time_skew is loaded already') end
	timer = event.after(0, function ()
		worker.resolve({
			name = '.',
			type = kres.type.NS,
			options = { 'DNSSEC_WANT', 'DNSSEC_CD', 'NO_CACHE' },
			finish = check,
		})
	end)
end

function M.deinit()
	if timer then event.cancel(timer) end
	timer = nil
end

return M
