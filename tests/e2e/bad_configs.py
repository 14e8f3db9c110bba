# SPDX-License-Identifier: GPL-3.0-or-later
"""Configuration files that must be refused, with the lines that may be blamed: at the start, by --check and by a
reload. {folder} is a folder of the test with what make_files() puts there."""
import os

# name -> (text, line that is wrong, or None if the whole file is)
BAD = {
    # G-01 form
    'syntax error on the first line': ('net.listen(', (1, 2)),
    'syntax error on the last line': ('x = 1\ny = 2\nz = = 3', 3),
    'unclosed string': ("x = 1\ny = 'abc\nz = 2", 2),
    'unclosed table': ('net = {\n', (1, 3)),
    'NUL octet': ('x = 1\n\0y = 2\n', 2),
    'byte order mark and then nonsense': ('\ufeffnet.listen(]', 1),
    'CRLF and then nonsense': ('x = 1\r\ny = }\r\n', 2),
    'latin letters': ('x = 1\nn\u00e4me = { 1\n', (2, 3)),
    # G-02 keys and types
    'call of an unknown function': ('x = 1\nnet.lissten("127.0.0.1")', 2),
    'unknown global function': ('no_such_function()', 1),
    'unknown member of a module': ('policy.add(policy.sufix(policy.DENY, {}))', 1),
    'table replaced by a number': ('cache = 5', 1),
    'wrong type': ('net.bufsize("many")', 1),
    'wrong type of an option': ("net.listen('127.0.0.1', 5353, { kind = 5 })", 1),
    'unknown option': ("option('NO_SUCH', true)", 1),
    'unknown mode': ("mode('lax')", 1),
    'unknown log level': ("log_level('loud')", 1),
    'removed spelling': ("trust_anchors.file = 'root.keys'", 1),
    # G-03 numbers
    'negative size': ('cache.size = -1', 1),
    'size 0': ('cache.size = 0', 1),
    'size NaN': ('cache.size = 0/0', 1),
    'TTL 2^31': ('cache.open(10*MB)\ncache.max_ttl(2^31)', 2),
    'buffer of 2^32': ('net.bufsize(2^32)', 1),
    'buffer below 512': ('net.bufsize(511)', 1),
    'number with a unit as text': ("cache.size = '10MB'", 1),
    'idle time 0': ('net.tcp_in_idle(0)', 1),
    # G-04 addresses
    'three octets': ("net.listen('1.2.3')", 1),
    'brackets': ("net.listen('[127.0.0.1]')", 1),
    'star': ("net.listen('*')", 1),
    'port 65536': ("net.listen('127.0.0.1', 65536)", 1),
    'twice the same': ("net.listen('127.0.0.1', 5358)\nnet.listen('127.0.0.1', 5358)", 2),
    'not ours': ("net.listen('192.0.2.250', 5353)", 1),
    'unknown scope': ("net.listen('fe80::1%nowhere', 5353)", 1),
    'bad address of a view': ("modules.load('view')\nview:addr('1.2.3.4.5', policy.all(policy.DENY))", 2),
    'bad forwarder': ("policy.add(policy.all(policy.FORWARD('not an address')))", 1),
    # G-05 names
    'label too long': ("policy.todname('" + 'a' * 64 + ".example')\ncache.size = -1", (1, 2)),
    'empty label': ("trust_anchors.set_insecure({'a..example'})", 1),
    # G-06 files
    'missing trust anchor file': ("trust_anchors.add_file('{folder}/nowhere.keys', true)", 1),
    'trust anchors in a directory': ("trust_anchors.add_file('{folder}', true)", 1),
    'missing certificate': ("net.tls('{folder}/no.pem', '{folder}/no.key')", 1),
    'certificate that is none': ("net.tls('{folder}/text', '{folder}/text')", 1),
    'cache where none can be': ("cache.open(10*MB, 'lmdb:///proc/nowhere/at/all')", 1),
    'storage of another kind': ("cache.storage = 'redis://localhost'", 1),
    # G-07 includes
    'include that is missing': ("dofile('{folder}/nowhere.conf')", 1),
    'include that includes itself': ("dofile('{folder}/loop.conf')", None),
    # G-08 what does not go together
    'pins and certificates': ("net.tls_client({'192.0.2.1', pin_sha256='" + 'A' * 43 + "=', hostname='a.example'})", 1),
    'forwarding over TLS to a stranger': ("policy.add(policy.all(policy.TLS_FORWARD({{'192.0.2.1'}})))", 1),
    'least TTL above the greatest': ('cache.open(10*MB)\ncache.max_ttl(10)\ncache.min_ttl(20)', 3),
    # G-09 Lua
    'error()': ("x = 1\nerror('mine')", 2),
    'error of no text': ('error({})', None),
    'endless recursion': ('local function f() return 1 + f() end\nf()', None),
    'module that does not exist': ("modules.load('nosuchmodule')", 1),
    'Lua module that does not exist': ("require('no.such.library')", 1),
    'callback that is no function': ("event.after(1, 'soon')", 1),
    'call too early': ('cache.stats()', 1),
    'unknown user': ("user('no-such-user-at-all')", 1),
}

GOOD = {
    'CRLF': 'x = 1\r\ny = 2\r\n',
    'byte order mark': '\ufeffx = 1\n',
    'first line for a shell': '#!/usr/sbin/kresd\nx = 1\n',
    'empty': '',
    'long line': 'x = {' + '1,' * 500000 + '}',
    'bytes that are no UTF-8': b'-- \xff\xfe\nx = "\xc3("\n',
    'spaces in a path': "dofile('{folder}/with space %.conf')",
}


def make_files(folder):
    (folder / 'text').write_text('this is no certificate\n')
    (folder / 'loop.conf').write_text(f"dofile('{folder}/loop.conf')\n")
    (folder / 'with space %.conf').write_text('included = true\n')


def write(path, text, folder):
    if isinstance(text, str):
        text = text.encode()
    path.write_bytes(text.replace(b'{folder}', os.fsencode(folder)))
