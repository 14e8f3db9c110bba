-- SPDX-License-Identifier: GPL-3.0-or-later
modules.unload('ta_update')
modules.unload('priming')
modules.unload('detect_time_skew')
local logged = {}
_G.log_info = function (_, fmt, ...) logged[#logged + 1] = string.format(fmt, ...) end
modules.load('prefill')

local function root(more)
	local conf = { url = 'https://127.0.0.1:9/root.zone' }
	for key, value in pairs(more or {}) do conf[key] = value end
	return { ['.'] = conf }
end

test('bad configuration is told', function ()
	boom(prefill.config, { 5 }, '%[prefil%].*table')
	boom(prefill.config, { {} }, "%[prefil%].*'.' is missing")
	boom(prefill.config, { { ['a..b'] = {} } }, '%[prefil%].*not the name of a zone')
	boom(prefill.config, { { ['cz.'] = {} } }, '%[prefil%].*https')
	boom(prefill.config, { root({ file = 'x' }) }, '%[prefil%].*one is needed')
	boom(prefill.config, { root({ zonemd = 'yes' }) }, '%[prefil%].*zonemd')
	boom(prefill.config, { root({ intervall = 5 }) }, '%[prefil%].*no option intervall')
	boom(prefill.config, { { ['.'] = {} } }, '%[prefil%].*https')
	boom(prefill.config, { root({ url = 'http://example.net' }) }, '%[prefil%].*https')
	boom(prefill.config, { root({ interval = 3599 }) }, '%[prefil%].*3600')
	boom(prefill.config, { root({ interval = 'x' }) }, '%[prefil%].*3600')
	boom(prefill.config, { root({ ca_file = 5 }) }, '%[prefil%].*ca_file')
	same(prefill.config(), nil)
	same(logged, {})
end)

--- Wait until a line that matches was logged.
local function wait_for(pattern, fn)
	local tries = 0
	local function look()
		for _, line in ipairs(logged) do
			if line:find(pattern) then return fn(line) end
		end
		tries = tries + 1
		check(tries < 150, 'nobody logs ' .. pattern .. ' but ' .. table.concat(logged, '; '))
		event.after(100, guard(look))
	end
	look()
end

test('a download that fails is tried again', function (done)
	prefill.config(root())
	wait_for('next try in %d+ seconds', function (line)
		match(logged[1], 'downloading root zone to file "root.zone"')
		local delay = tonumber(line:match('in (%d+) seconds'))
		check(delay >= 590 and delay < 600)
		same(io.open('root.zone'), nil)
		same(io.open('root.zone.part'), nil)
		done()
	end)
end)

test('a young file is used; one that was kept is not lost to a failure', function (done)
	logged = {}
	local file = io.open('root.zone', 'w')
	file:write('. 86400 IN SOA a. b. 1 2 3 4 5\n. 86400 IN NS a.\n')
	file:close()
	prefill.config(root({ ca_file = '/nonexistent' }))
	wait_for('import of the root zone failed', function (line)
		match(table.concat(logged, '\n'), 'is valid for 86%d%d%d seconds')
		match(table.concat(logged, '\n'), 'import of root zone file "root.zone" started')
		match(line, 'next try in 1 seconds')
		check(io.open('root.zone'))
		wait_for('cannot download', function () done() end)
	end)
end)

local ZONE = [[
zone.example. 3600 IN SOA ns.zone.example. mail.zone.example. 1 1800 900 604800 86400
zone.example. 3600 IN NS ns.zone.example.
ns.zone.example. 3600 IN A 192.0.2.1
www.zone.example. 3600 IN A 192.0.2.2
www.elsewhere.example. 3600 IN A 192.0.2.66
]]

local function write(path, text)
	local file = io.open(path, 'w')
	file:write(text)
	file:close()
end

write('plain.zone', ZONE)
local can_sign = os.execute('k=$(ldns-keygen -a ECDSAP256SHA256 -k zone.example 2>/dev/null) && '
	.. 'grep -v elsewhere plain.zone > ours.zone && '
	.. 'ldns-signzone -b -z 1:1 -o zone.example -f signed.zone ours.zone $k >/dev/null 2>&1 && '
	.. 'grep elsewhere plain.zone >> signed.zone && cp $k.ds anchor.ds') == 0

local function read(path)
	local file = io.open(path)
	local text = file:read('*a')
	file:close()
	return text
end

if can_sign then
	test('another zone out of a file, with its digest', function (done)
		logged = {}
		trust_anchors.add(read('anchor.ds'))
		prefill.config({ ['Zone.example'] = { file = 'signed.zone', zonemd = true } })
		wait_for('zone zone%.example%. successfully parsed', function (line)
			match(line, 'next refresh in 86400 seconds')
			resolve('www.zone.example', kres.type.A, kres.class.IN, { 'DNSSEC_WANT' }, guard(function (pkt, req)
				same({ pkt:rcode(), pkt:ad(), req:all_from_cache() }, { 0, true, true })
				same(cache.clear('www.elsewhere.example', true).count, 0) -- not of the zone
				check(io.open('signed.zone'))
				done()
			end))
		end)
	end)

	local function refused(name, text)
		test(name, function (done)
			logged = {}
			cache.clear()
			local empty = cache.count()
			write('bad.zone', text(read('signed.zone')))
			prefill.config({ ['zone.example'] = { file = 'bad.zone', zonemd = true } })
			wait_for('import of the zone zone%.example%. failed', function ()
				same(cache.count(), empty)
				done()
			end)
		end)
	end
	refused('a changed record', function (text) return (text:gsub('192%.0%.2%.2', '192.0.2.3')) end)
	refused('a truncated file', function (text) return text:sub(1, math.floor(#text / 2)) end)
	refused('a digest of a wrong length', function (text) return (text:gsub('(ZONEMD%s+%d+ %d+ %d+ %x%x)%x+', '%1')) end)
	refused('no SOA', function (text) return (text:gsub('[^\n]+%sSOA%s[^\n]+\n', '', 1)) end)
	refused('nothing at all', function () return '' end)
	refused('$INCLUDE', function (text)
		write('more.zone', '')
		return text .. '$INCLUDE more.zone\n'
	end)
	refused('$GENERATE', function (text) return text .. '$GENERATE 0-4294967295 n$ A 192.0.2.1\n' end)
end

test('unloading stops it', function () modules.unload('prefill') end)
