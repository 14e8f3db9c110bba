-- SPDX-License-Identifier: GPL-3.0-or-later
-- Settings for zones whose servers are known to be broken.
local policy = require('kres_modules.policy')

local M = {}

-- Their servers do not keep the letter case of the question.
local NO_0X20 = { 'avqs.mcafee.com', 'avts.mcafee.com', 'cdnga.com', 'cdngc.com', 'cdngd.com',
	'cdngl.com', 'cdngm.com', 'cdngc.net', 'panthercdn.com', 'magazine-fashion.net' }

local rule = nil

function M.config()
	if rule then return end
	rule = policy.add(policy.suffix(policy.FLAGS('NO_0X20'), policy.todnames(NO_0X20)))
end

function M.init()
	M.config()
end

function M.deinit()
	if rule then policy.del(rule.id) end
	rule = nil
end

return M
