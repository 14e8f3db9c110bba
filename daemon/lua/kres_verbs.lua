-- SPDX-License-Identifier: GPL-3.0-or-later
-- Longer verbs of requests, made of the short ones in kres.lua: what most modules would write themselves.
-- (The table kres is looked up when they are called: it is still being made when this file is read.)
local ffi = require('ffi')
local C = ffi.C

local verbs = {}

local function put_records(answer, section, records)
	answer:begin(section)
	for _, rr in ipairs(records) do
		local is_good, err
		if ffi.istype('knot_rrset_t', rr) then
			is_good, err = true, nil
			for i = 0, rr:rdcount() - 1 do
				is_good, err = answer:put(rr:owner(), rr:ttl(), rr:class(), tonumber(rr.type), rr:rdata(i))
				if not is_good then break end
			end
		else
			is_good, err = answer:put(rr.owner, rr.ttl or 0, rr.class or kres.class.IN, rr.type, rr.rdata)
		end
		if not is_good then return nil, err end
	end
	return true
end

--- Answer at once and forget what was collected: req:reply{ rcode =, answer =, authority =, additional =, aa =,
-- ede =, ede_text = }. The lists hold RRsets or tables like those of packet:section(). The result is to be
-- returned from the hook.
function verbs.reply(req, what)
	local qry = req:current()
	local answer = req:ensure_answer()
	if answer == nil then return kres.FAIL end
	C.kr_request_clear_selected(req)
	answer:clear_payload()
	req:ensure_edns()
	answer:rcode(what.rcode or kres.rcode.NOERROR)
	answer:aa(what.aa == true)
	answer:ad(false)
	for section, name in pairs({ [0] = 'answer', 'authority', 'additional' }) do
		if what[name] and not put_records(answer, section, what[name]) then answer:tc(true) end
	end
	if what.ede then req:set_extended_error(what.ede, what.ede_text) end
	if qry then qry.flags.RESOLVED, qry.flags.CACHED = true, true end
	return kres.DONE
end

--- Add a set to the answer, as in `consume` of DNS64: it is copied. @param rank  enum kr_rank, default OMIT
-- @return true; or nil and the error
function verbs.add_answer(req, rr, rank)
	local qry = req:current() or req:resolved()
	if not ffi.istype('knot_rrset_t', rr) or rr:rdcount() == 0 then
		error('expected add_answer(RRset with records[, rank])', 2)
	end
	if not qry then error('the request has no query to which the records could belong', 2) end
	local copy = ffi.gc(kres.rrset(nil, tonumber(rr.type), rr:class(), rr:ttl()), nil) -- the pool's, not Lua's
	copy._owner = C.knot_dname_copy(rr._owner, req.pool)
	for i = 0, rr:rdcount() - 1 do
		local rd = rr:rdata_pt(i)
		local ret = C.knot_rrset_add_rdata(copy, rd.data, rd.len, req.pool)
		if ret < 0 then return nil, ffi.new('struct knot_error', ret) end
	end
	local ret = C.kr_ranked_rrarray_add(req.answ_selected, copy, rank or kres.rank.OMIT, true, qry.uid, req.pool)
	if ret >= 0 then ret = C.kr_ranked_rrarray_finalize(req.answ_selected, qry.uid, req.pool) end
	if ret < 0 then return nil, ffi.new('struct knot_error', ret) end
	return true
end

--- Milliseconds since the question came.
function verbs.elapsed_ms(req)
	local first = req:initial()
	return first and tonumber(C.kr_now() - first.creation_time_mono) or 0
end

return verbs
