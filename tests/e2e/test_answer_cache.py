# SPDX-License-Identifier: GPL-3.0-or-later
"""The cache of finished answers and the short way past requests change nothing but the price: the same questions with and
without them, octet by octet.

Two processes share one cache in LMDB, one of them without answer cache and with a layer that has to see all requests.
ANSWER_CACHE_QUESTIONS sets how many questions are compared; the default is for every day, a million for when the code in
question was changed.
"""
import os
import random
import socket
import struct

import dns.message
import dns.rdatatype

import ask

QUESTIONS = int(os.environ.get('ANSWER_CACHE_QUESTIONS', 6000))
NAMES = 60           # few enough to be asked again and again, in all variants; more of them in a long run
DRIFT_S = 3          # TTLs may differ by what passes between two questions
OPTIONS = [b'', b'', b'', b'',
           b'\0\x0a\0\x08COOKIE!!', b'\0\x03\0\0', b'\0\x0c\0\x04\0\0\0\0', b'\0\x08\0\x07\0\1\x18\0\xc0\0\2', b'\xfd\xe9\0\x01x']

CONFIG = '''
cache.open(50 * MB, 'lmdb://{shared}')
modules.load('nsid')
nsid.name('one of two')
modules.load('stats')
reorder_RR({reorder})
net.ipv6 = false
cache.answers({bytes})
'''

THE_LONG_WAY = '''
package.loaded['kres_modules.long_way'] = { layer = { begin = function (state) return state end } }
modules.load('long_way')
'''


class Client:
    def __init__(self, server):
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.settimeout(10)
        self.udp.connect(server)
        self.server, self.tcp = server, None

    def ask(self, wire, is_tcp):
        if not is_tcp:
            self.udp.send(wire)
            while True:
                reply = self.udp.recv(65535)
                if reply[:2] == wire[:2]:
                    return reply
        if self.tcp is None:
            self.tcp = socket.create_connection(self.server, 10)
            self.stream = self.tcp.makefile('rb')
        try:
            self.tcp.sendall(struct.pack('!H', len(wire)) + wire)
            return self.stream.read(struct.unpack('!H', self.stream.read(2))[0])
        except (OSError, struct.error):  # the connection has been served for long enough
            self.tcp.close()
            self.tcp = None
            return self.ask(wire, is_tcp)


def mixed_case(rng, name):
    return ''.join(rng.choice((c.upper(), c.lower())) for c in name)


def question(rng, name, rtype):
    flags = rng.choice((0x0100, 0x0100, 0x0120, 0x0110, 0x0130))  # RD, AD, CD
    qname = dns.name.from_text(mixed_case(rng, name)).to_wire()
    opt = b''
    if rng.random() < 0.7:
        options = rng.choice(OPTIONS)
        opt = b'\0' + struct.pack('!HHIH', 41, rng.choice((512, 1232, 4096)), rng.choice((0, 0x8000)), len(options)) + options
    head = struct.pack('!HHHHHH', rng.getrandbits(16), flags, 1, 0, 0, 1 if opt else 0)
    return head + qname + struct.pack('!HH', int(dns.rdatatype.from_text(rtype)), 1) + opt


def skip_name(wire, at):
    while wire[at]:
        if wire[at] >= 0xc0:
            return at + 2
        at += 1 + wire[at]
    return at + 1


def without_ttls(wire):
    """(octets with TTLs blanked, TTLs)"""
    at, out, ttls = skip_name(wire, 12) + 4, bytearray(wire), []
    for _ in range(sum(struct.unpack('!HHH', wire[6:12]))):
        fixed = skip_name(wire, at)
        rtype, _, ttl, length = struct.unpack('!HHIH', wire[fixed:fixed + 10])
        if rtype != dns.rdatatype.OPT:
            ttls.append(ttl)
            out[fixed + 4:fixed + 8] = bytes(4)
        at = fixed + 10 + length
    assert at == len(wire)
    return bytes(out), ttls


def record_sets(wire):
    message = dns.message.from_wire(wire)
    return wire[:12], message.ednsflags, message.options, [[(r.name, r.rdtype, set(r)) for r in s] for s in message.sections[1:]]


def agree(one, other, in_order):
    (a, ttls_a), (b, ttls_b) = without_ttls(one), without_ttls(other)
    same = a == b if in_order else record_sets(one) == record_sets(other)
    return same and all(abs(x - y) <= DRIFT_S for x, y in zip(sorted(ttls_a), sorted(ttls_b)))


def compare(kresd, world, world_config, tmp_path, count, reorder):
    shared = tmp_path / f'shared-{reorder}'
    config = CONFIG.replace('{shared}', str(shared)).replace('{reorder}', reorder)
    with_it = kresd(world_config + config.replace('{bytes}', '8 * MB'))
    without = kresd(world_config + config.replace('{bytes}', '0') + THE_LONG_WAY)
    rng = random.Random(7)
    chosen = [q for q in world.questions if q['rcode'] in ('NOERROR', 'NXDOMAIN') and '\\' not in q['name']
              and not q['why'].startswith('server:')]
    chosen = [(q['name'], q['type']) for q in rng.sample(chosen, min(len(chosen), max(NAMES, count // 500)))]
    with with_it, without:
        ask.answers(with_it.server, chosen, do=True)
        ask.answers(with_it.server, chosen, cd=True)
        # What came fresh from servers may say more than what is kept of it: only answers out of the shared cache compare.
        with_it.control('cache._changed()')
        clients = Client(with_it.server), Client(without.server)
        for number in range(count):
            name, rtype = rng.choice(chosen)
            wire, is_tcp = question(rng, name, rtype), rng.random() < 0.2
            for attempt in range(3):  # a record may end between the two, or be learned by one of them
                got = [client.ask(wire, is_tcp) for client in clients]
                if agree(*got, in_order=reorder == 'false'):
                    break
            else:
                shown = '\n'.join(str(dns.message.from_wire(x)) for x in got)
                raise AssertionError(f'question {number}, {name} {rtype}, {wire.hex()}:\n{shown}\n{got[0].hex()}\n{got[1].hex()}')
        hits, total, udp = with_it.control('worker.stats().l0_hits', "stats['answer.total']", "stats['request.udp']")
        none, = without.control('worker.stats().l0_hits + worker.stats().quick')
        quick, = with_it.control('worker.stats().quick')
    assert int(quick) > 0
    return int(hits), int(none), int(total.strip("'")), int(udp.strip("'"))


def test_answers_are_the_same_to_the_octet(kresd, world, world_config, tmp_path):
    hits, none, total, udp = compare(kresd, world, world_config, tmp_path, QUESTIONS, 'false')
    assert hits > QUESTIONS // 3 and none == 0
    assert total >= QUESTIONS and udp >= QUESTIONS // 2  # repeated answers are counted


def test_records_only_change_places_when_they_take_turns(kresd, world, world_config, tmp_path):
    hits, none, _, _ = compare(kresd, world, world_config, tmp_path, QUESTIONS // 4, 'true')
    assert hits > 0 and none == 0


def test_addresses_take_turns_in_repeated_answers(resolver, world):
    asked = [q for q in world.questions if q['rcode'] == 'NOERROR' and q['type'] == 'A' and not q['why'].startswith('server:')]
    for q in asked:
        addresses = [r for r in ask.message(resolver.server, q['name']).answer if r.rdtype == dns.rdatatype.A]
        if addresses and len(addresses[0]) > 1:
            firsts = {ask.message(resolver.server, q['name']).answer[-1][0].to_text() for _ in range(40)}
            assert len(firsts) > 1
            return
    raise AssertionError('the world has no name with two addresses')
