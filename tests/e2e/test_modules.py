# SPDX-License-Identifier: GPL-3.0-or-later
"""Modules in a real process and a real network: what their own tests cannot see, and all of them in pairs (M-31)."""
import json
import re
import socket
import struct
import threading
import time
import urllib.request

import dns.rcode
import pytest

import ask

BOGUS, LOCAL = 'www.corrupt-sick.alpha.', 'printer.lan.'


def test_bogus_log(kresd, world_config):
    with kresd(world_config + "modules.load('bogus_log')") as one:
        for _ in range(2):
            assert ask.message(one.server, BOGUS).rcode() == dns.rcode.SERVFAIL
        assert 'validation failure: corrupt-sick.alpha. DNSKEY\n' in one.log  # that is what is wrong there
        assert 'corrupt-sick.alpha.' in one.control('bogus_log.frequent()')[0]


FEATURES = {
    'policy rules': "policy.add(policy.suffix(policy.DENY, policy.todnames({'blocked.example'})))",
    'rpz': "local f = io.open('list.rpz', 'w') "
           "f:write('$ORIGIN r.\\n@ SOA . . 1 2 3 4 5\\nblocked.example CNAME .\\n') f:close() "
           "policy.add(policy.rpz(policy.DENY, 'list.rpz', false))",
    'view': "modules.load('view') view:addr('127.0.0.0/8', policy.suffix(policy.DENY, policy.todnames({'viewed.example'})))",
    'dns64': "modules = { 'dns64' }",
    'hints': "hints['printer.lan'] = '192.0.2.20'",
    'serve_stale': "modules.load('serve_stale')",
    'prefetch': "modules.load('prefetch')",
    'predict': "modules = { predict = { period = 0 } }",
    'rebinding': "modules.load('rebinding') rebinding.config({ allow = { '127.0.0.0/8', '10.0.0.0/8' } })",
    'renumber': "modules = { renumber = { { '198.51.100.0/24', '192.0.2.0' } } }",
    'cookies': "modules.load('cookies')",
    'nsid': "modules.load('nsid') nsid.name('me')",
    'stats': "modules.load('stats')",
    'bogus_log': "modules.load('bogus_log')",
    'dnstap': "modules.load('dnstap') dnstap.config({ socket_path = '/nowhere/tap.sock' })",
    'http': "modules.load('http') net.listen('{address}', 8453, { kind = 'webmgmt' })",
    'fallback': "modules = { fallback = { servers = '127.0.0.253' } }",
    'workarounds': "modules.load('workarounds')",
    'no 0x20': "option('NO_0X20', true)",
    'no minimisation': "option('NO_MINIMIZE', true)",
    'TCP to servers': "option('TCP', true)",
    'no IPv6': 'net.ipv6 = false',
    'no answer cache': 'cache.answers(0)',
    'reordering': 'reorder_RR(true)',
}


def pairs(names, count):
    """Pairs of different features; each feature is in about as many."""
    found, step = [], 1
    while len(found) < count:
        found += [(names[i], names[(i + step) % len(names)]) for i in range(0, len(names), 2)]
        step += 2
    return found[:count]


PAIRS = pairs(list(FEATURES), 20)


@pytest.fixture(scope='module')
def good(world):
    """A question of the world with a secure answer."""
    return next(q for q in world.questions if q['ad'] and q['type'] == 'A' and q['answer'] and q['rcode'] == 'NOERROR')


@pytest.mark.parametrize('first,second', PAIRS, ids=[' + '.join(pair) for pair in PAIRS])
def test_pair(kresd, world_config, good, first, second):
    """Secure data stay secure, bogus data do not pass, local names are local; twice, for the caches."""
    with kresd(world_config + FEATURES[first] + '\n' + FEATURES[second]) as one:
        for _ in range(2):
            reply = ask.Answer.of(ask.message(one.server, good['name']))
            assert reply.rcode == 'NOERROR' and reply.ad and {r for _, _, r in reply.records} >= {good['answer'][-1][2]}
            bad = ask.message(one.server, BOGUS)
            assert bad.rcode() == dns.rcode.SERVFAIL and not bad.answer
            assert ask.Answer.of(ask.message(one.server, 'localhost.')).records == {('localhost.', 'A', '127.0.0.1')}
            assert ask.message(one.server, good['name'], tcp=True).rcode() == dns.rcode.NOERROR
            assert ask.message(one.server, BOGUS, cd=True).rcode() == dns.rcode.NOERROR
            if {first, second} & {'policy rules', 'rpz'}:
                assert ask.message(one.server, 'blocked.example.').rcode() == dns.rcode.NXDOMAIN
            if {first, second} & {'view'}:
                assert ask.message(one.server, 'viewed.example.').rcode() == dns.rcode.NXDOMAIN
            if {first, second} & {'hints'}:
                assert ask.Answer.of(ask.message(one.server, LOCAL)).records == {(LOCAL, 'A', '192.0.2.20')}
        assert 'error:' not in one.log and 'assertion' not in one.log


class Tap(threading.Thread):
    """A reader of Frame Streams; keeps the frames as they are."""

    def __init__(self, path):
        super().__init__(daemon=True)
        self.frames = []
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(str(path))
        self.socket.listen()
        self.start()

    def run(self):
        conn, _ = self.socket.accept()
        with conn.makefile('rb') as reader:
            while head := reader.read(4):
                length = struct.unpack('!I', head)[0]
                if length:
                    self.frames.append(reader.read(length))
                    continue
                control = reader.read(struct.unpack('!I', reader.read(4))[0])
                if control[:4] == struct.pack('!I', 4):  # READY: ACCEPT the same content type
                    body = struct.pack('!I', 1) + control[4:]
                    conn.sendall(struct.pack('!II', 0, len(body)) + body)

    def wait(self, count):
        end = time.monotonic() + 20
        while len(self.frames) < count and time.monotonic() < end:
            time.sleep(0.02)
        return self.frames


def test_dnstap_sees_the_answer_cache_and_connections(kresd, tmp_path):
    tap = Tap(tmp_path / 'tap.sock')
    config = f'''
modules.load('hints') hints.ttl(600) hints['printer.lan'] = '192.0.2.20'
modules = {{ dnstap = {{ socket_path = '{tmp_path}/tap.sock', identity = 'e2e', version = 'v',
    client = {{ log_queries = true, log_responses = true, log_tcp_rtt = true }} }} }}
'''
    with kresd(config) as one:
        before = len(tap.wait(2))  # the start was awaited by a question
        for _ in range(3):
            assert ask.message(one.server, LOCAL).answer
        frames = tap.wait(before + 6)[before:]
        assert len(frames) == 6 and not [f for f in frames if b'rtt=' in f]
        assert len([f for f in frames if b'\7printer\3lan\0' in f]) == 6
        assert ask.message(one.server, LOCAL, tcp=True).answer
        query, answer = tap.wait(before + 8)[before + 6:]
        assert re.search(rb'rtt=\d+\n', query) and b'rtt=' not in answer


def get(one, path):
    with urllib.request.urlopen(f'http://{one.address}:8453{path}', timeout=30) as reply:
        return reply.read().decode()


def test_metrics_of_all_instances_and_of_no_dead_one(kresd):
    listen = "modules.load('http') net.listen('{address}', 8453, { kind = 'webmgmt' })"
    with kresd(listen, name='both') as one, kresd(listen, name='both') as two, kresd('', name='both'):
        for _ in range(5):
            assert ask.message(two.server, 'localhost.').answer
        own = [int(i.control("stats['request.udp4']")[0]) for i in (one, two)]
        assert own[1] >= 5
        for instance in one, two:
            assert json.loads(get(instance, '/stats'))['request.udp4'] == sum(own)
        lines = get(one, '/metrics').splitlines()
        assert f'request_udp4 {sum(own)}.000000' in lines and '# some instances did not answer' not in lines
        with socket.socket(socket.AF_UNIX) as dead:  # a socket file that nobody serves
            dead.bind(str(one.folder / 'control' / 'dead'))
        lines = get(one, '/metrics').splitlines()
        assert f'request_udp4 {sum(own)}.000000' in lines and '# some instances did not answer' in lines
