-- SPDX-License-Identifier: GPL-3.0-or-later
-- Formerly: pins of DNS over TLS out of names of servers. The experiment has ended; configurations that
-- load the module still start.
local ffi = require('ffi')

local M = {}

function M.init()
	log_warn(ffi.C.LOG_GRP_DOTAUTH, 'experimental_dot_auth does nothing: the experiment has ended. '
		.. 'Servers to be asked over TLS are configured with net.tls_client() and policy.TLS_FORWARD()')
end

return M
