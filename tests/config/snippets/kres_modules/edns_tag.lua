-- SPDX-License-Identifier: GPL-3.0-or-later
-- Adds an EDNS option to every answer of a client that speaks EDNS; declares what it needs by itself.
local ffi = require('ffi')
ffi.cdef([[
	int knot_edns_add_option(knot_rrset_t *opt, uint16_t code, uint16_t size, const uint8_t *data, knot_mm_t *mm);
]])
local knot = ffi.load(libknot_SONAME)
local M = { layer = {}, code = 65001, data = 'tag' }

function M.layer.answer_finalize(state, req)
	local opt = req.answer ~= nil and req:ensure_edns()
	if opt and opt ~= nil then knot.knot_edns_add_option(opt, M.code, #M.data, M.data, req.pool) end
	return state
end

return M
