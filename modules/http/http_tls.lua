-- SPDX-License-Identifier: GPL-3.0-or-later
-- Certificates of the HTTP server: those of the operator, or one made here, which processes of one
-- folder share and which is made anew before it ends.
local ffi = require('ffi')
local http_tls = require('http.tls')
local pkey = require('openssl.pkey')
local rand = require('openssl.rand')
local bignum = require('openssl.bignum')
local x509 = require('openssl.x509')
local x509_name = require('openssl.x509.name')
local x509_altname = require('openssl.x509.altname')
local x509_chain = require('openssl.x509.chain')
local ssl_context = require('openssl.ssl.context')

local M = {}

local GRP = ffi.C.LOG_GRP_HTTP
local LIFE_S, RENEW_S = 90 * 86400, 3 * 86400
local PRIVATE_MASK = 63 -- 0077: the key is nobody else's business

pcall(ffi.cdef, 'unsigned int umask(unsigned int mask);')

local timer = nil

-- ---- Files of the operator ----

local function read(path, what)
	local file, err = io.open(path, 'r')
	if not file then error(string.format('[http] unable to %s: %s', what, err), 0) end
	local text = file:read('*a')
	file:close()
	if not text then error(string.format('[http] unable to %s: %s is not a file', what, path), 0) end
	return text
end

--- Read a key and a certificate chain (leaf first). Raises errors that name the file.
-- @return key, leaf, others
function M.load(cert_path, key_path)
	local key_text = read(key_path, 'open TLS key file')
	-- The library's own report of an unreadable key reads memory that it has freed: let it see keys only.
	local is_good, key = key_text:find('%-%-%-%-%-BEGIN [%u ]*PRIVATE KEY%-%-%-%-%-'), nil
	if is_good then is_good, key = pcall(pkey.new, key_text) end
	if not is_good then error('[http] unable to parse TLS key file ' .. key_path, 0) end
	local text = read(cert_path, 'read TLS certificate file')
	local certs = {}
	for pem in text:gmatch('%-%-%-%-%-BEGIN CERTIFICATE%-%-%-%-%-.-%-%-%-%-%-END CERTIFICATE%-%-%-%-%-') do
		local parsed, cert = pcall(x509.new, pem)
		if not parsed then
			error(string.format('[http] unable to parse TLS certificate file %s, certificate number %d',
				cert_path, #certs + 1), 0)
		end
		certs[#certs + 1] = cert
	end
	if #certs == 0 then
		error(string.format('[http] unable to parse TLS certificate file %s, certificate number 1', cert_path), 0)
	end
	return key, table.remove(certs, 1), certs
end

-- ---- A certificate of our own ----

local function write_private(path, text)
	local tmp = string.format('%s.%d', path, worker.pid)
	local mask = ffi.C.umask(PRIVATE_MASK)
	local file, err = io.open(tmp, 'w')
	ffi.C.umask(mask)
	if not file then return nil, err end
	local is_good = file:write(text)
	is_good = file:close() and is_good
	if is_good then is_good, err = os.rename(tmp, path) end
	if not is_good then os.remove(tmp) end
	return is_good, err
end

local function new_certificate(name)
	local key = pkey.new({ type = 'EC', curve = 'prime256v1' })
	local cert = x509.new()
	cert:setVersion(3)
	cert:setSerial(bignum.fromBinary(rand.bytes(16)))
	local subject = x509_name.new()
	subject:add('CN', name)
	cert:setSubject(subject)
	cert:setIssuer(subject)
	local alt = x509_altname.new()
	alt:add('DNS', name)
	cert:setSubjectAlt(alt)
	cert:setLifetime(os.time(), os.time() + LIFE_S)
	cert:setBasicConstraints({ CA = false })
	cert:setBasicConstraintsCritical(true)
	cert:setPublicKey(key)
	cert:sign(key)
	return key, cert
end

-- What another process, or this one before, has left, if it is still good.
local function load_own(cert_path, key_path, name)
	local is_good, key, cert = pcall(M.load, cert_path, key_path)
	if not is_good then return nil end
	local _, ends = cert:getLifetime()
	local has_name = tostring(cert:getSubject()):find(name, 1, true)
	local is_pair = cert:getPublicKey():toPEM('public') == key:toPEM('public')
	if not has_name or not is_pair or ends - RENEW_S <= os.time() then return nil end
	return key, cert, ends
end

local function own_certificate(conf)
	local name = hostname()
	local key, cert, ends = load_own(conf.cert, conf.key, name)
	if key then return key, cert, ends end
	key, cert = new_certificate(name)
	local is_good, err = write_private(conf.key, key:toPEM('private'))
	if is_good then is_good, err = write_private(conf.cert, cert:toPEM()) end
	if not is_good then log_warn(GRP, 'the ephemeral certificate cannot be kept for the next start: %s', tostring(err)) end
	log_info(GRP, 'created new ephemeral TLS certificate')
	return key, cert, os.time() + LIFE_S
end

-- ---- Contexts ----

local function select_protocol(_, offered)
	for _, proto in ipairs(offered) do
		if proto == 'h2' or proto == 'http/1.1' then return proto end
	end
	return nil
end

--- TLS context for the settings of a kind. @return context, end of the certificate (own ones only)
function M.context(conf)
	local key, cert, rest, ends
	if conf.ephemeral then
		key, cert, ends = own_certificate(conf)
	else
		key, cert, rest = M.load(conf.cert, conf.key)
	end
	local ctx = http_tls.new_server_context()
	ctx:setOptions(ssl_context.OP_NO_TLSv1 + ssl_context.OP_NO_TLSv1_1)
	if http_tls.has_alpn then ctx:setAlpnSelect(select_protocol) end
	ctx:setCertificate(cert)
	ctx:setPrivateKey(key)
	if rest and #rest > 0 then
		local chain = x509_chain.new()
		for _, intermediate in ipairs(rest) do chain:add(intermediate) end
		ctx:setCertificateChain(chain)
	end
	return ctx, ends
end

local function renew(servers)
	for _, entry in pairs(servers) do
		if entry.config.ephemeral and entry.server.ctx then entry.server.ctx = M.context(entry.config) end
	end
end

--- Look after certificates made here: once a day is enough for three days of grace.
function M.watch(servers)
	if timer then return end
	timer = event.recurrent(1 * day, function () renew(servers) end)
end

function M.stop()
	if timer then event.cancel(timer) end
	timer = nil
end

M.renew = renew -- for tests

return M
