-- SPDX-License-Identifier: GPL-3.0-or-later
-- Tokens per client: 20 questions at once, 10 more each second; then truncated answers.
local ffi = require('ffi')
ffi.cdef('struct quota_bucket { double tokens; double at; };')
local M = { layer = {}, limited = 0, burst = 20, rate = 10 }
local buckets = kres.lru(4096, 'struct quota_bucket')

function M.layer.begin(state, req)
	local addr = req.qsource.addr
	if addr == nil or req.qsource.flags.tcp then return state end
	local key = ffi.string(addr:ip(), addr:len())
	local b = buckets:get_ref(key, #key, true)
	if b == nil then return state end
	local now = tonumber(ffi.C.kr_now()) / 1000
	if b.at == 0 then b.tokens = M.burst else b.tokens = math.min(M.burst, b.tokens + (now - b.at) * M.rate) end
	b.at = now
	if b.tokens >= 1 then b.tokens = b.tokens - 1; return state end
	M.limited = M.limited + 1
	local answer = req:ensure_answer()
	if answer == nil then return kres.FAIL end
	answer:tc(1)
	return kres.DONE
end

return M
