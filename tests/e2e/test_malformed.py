# SPDX-License-Identifier: GPL-3.0-or-later
"""Messages no good client sends, over UDP and TCP. kresd drops them or says what is wrong, and goes on.

`drop`: no answer. FORMERR and so on: an answer with that rcode. `ok`: answered like any other.
"""
import socket
import struct

import dns.flags
import dns.message
import dns.rcode
import pytest

import ask

HEADER = struct.Struct('!HHHHHH')
QNAME = b'\x09localhost\0'
QUESTION = QNAME + b'\0\1\0\1'
OPT = b'\0\0\x29\x04\xd0\0\0\0\0\0\0'


def message(body=QUESTION, qd=1, an=0, ns=0, ar=0, flags=0x0100):
    return HEADER.pack(0x4242, flags, qd, an, ns, ar) + body


def opt(options=b'', owner=b'\0', size=1232, ttl=0, rdlen=None):
    return owner + struct.pack('!HHIH', 41, size, ttl, len(options) if rdlen is None else rdlen) + options


def option(code, data, length=None):
    return struct.pack('!HH', code, len(data) if length is None else length) + data


def asked(qtype, qclass=1):
    return QNAME + struct.pack('!HH', qtype, qclass)


A_RECORD = QNAME + b'\0\1\0\1\0\0\0\1\0\4\1\2\3\4'
LONG_NAME = b''.join(b'\x3f' + b'x' * 63 for _ in range(4)) + b'\0'  # 257 octets
FULL_NAME = b'\1x' * 127 + b'\0'                                     # 255 octets, 127 labels
DROP, FORMERR, NOTIMP, REFUSED, BADVERS, OK = 'drop', 'FORMERR', 'NOTIMP', 'REFUSED', 'BADVERS', 'ok'
BAD = {DROP, FORMERR}

CASES = {
    'I-02 eleven octets': (b'\x42\x42\1\0\0\1\0\0\0\0\0', {DROP}),
    'I-02 one octet': (b'\x42', {DROP}),
    'I-03 header only, no question': (message(b'', qd=0), {FORMERR, 'SERVFAIL'}),
    'I-04 an answer': (message(flags=0x8100), {DROP}),
    'I-05 two equal questions': (message(QUESTION * 2, qd=2), BAD),
    'I-06 two questions': (message(QUESTION + b'\1x\0\0\1\0\1', qd=2), BAD),
    'I-07 65535 questions announced': (message(b'', qd=65535), BAD),
    'I-08 question announced, missing': (message(b''), BAD),
    'I-09 name without end': (message(b'\x09localhost'), BAD),
    'I-10 name of 257 octets': (message(LONG_NAME + b'\0\1\0\1'), BAD),
    'I-12 label type 01': (message(b'\x41x\0\0\1\0\1'), BAD),
    'I-12 label type 10': (message(b'\x81x\0\0\1\0\1'), BAD),
    'I-13 pointer to itself': (message(b'\xc0\x0c\0\1\0\1'), BAD),
    'I-14 pointer forward': (message(b'\xc0\x20\0\1\0\1'), BAD),
    'I-15 pointer into the header': (message(b'\xc0\x04\0\1\0\1'), BAD),
    'I-16 name continued in OPT': (message(b'\3abc\xc0\x16\0\1\0\1' + opt(), ar=1), BAD),
    'I-17 type cut off': (message(QNAME + b'\0'), BAD),
    'I-17 class cut off': (message(QNAME + b'\0\1\0'), BAD),
    'I-18 class CH': (message(asked(1, 3)), {REFUSED, NOTIMP}),
    'I-18 class 0': (message(asked(1, 0)), {REFUSED, NOTIMP}),
    'I-18 class ANY': (message(asked(1, 255)), {REFUSED, NOTIMP}),
    'I-18 class 65535': (message(asked(1, 65535)), {REFUSED, NOTIMP}),
    'I-19 type OPT': (message(asked(41)), {NOTIMP, FORMERR}),
    'I-19 type AXFR': (message(asked(252)), {NOTIMP, REFUSED}),
    'I-19 type IXFR': (message(asked(251)), {NOTIMP, REFUSED}),
    'I-19 type MAILB': (message(asked(253)), {NOTIMP}),
    'I-19 type TSIG': (message(asked(250)), {NOTIMP, FORMERR}),
    'I-20 type 65280': (message(asked(65280)), {OK}),
    'I-21 answer records announced, missing': (message(an=1), BAD),
    'I-21 answer record in a query': (message(QUESTION + A_RECORD, an=1), {OK}),
    'I-22 authority record in a query': (message(QUESTION + A_RECORD, ns=1), {OK}),
    'I-23 65535 additional records announced': (message(QUESTION + opt(), ar=65535), BAD),
    'I-24 one octet too many': (message(QUESTION + b'\0'), BAD),
    'I-24 400 octets too many': (message(QUESTION + b'\0' * 400), BAD),
    'I-25 two OPT records': (message(QUESTION + opt() * 2, ar=2), BAD),
    'I-26 OPT not at the root': (message(QUESTION + opt(owner=b'\1x\0'), ar=1), BAD),
    'I-27 OPT beyond the end': (message(QUESTION + opt(rdlen=9), ar=1), BAD),
    'I-28 option of 65535 octets': (message(QUESTION + opt(option(3, b'', 65535)), ar=1), BAD),
    'I-30 EDNS version 1': (message(QUESTION + opt(ttl=0x00010000), ar=1), {BADVERS}),
    'I-30 EDNS version 255': (message(QUESTION + opt(ttl=0x00ff0000), ar=1), {BADVERS}),
    'I-31 payload 0': (message(QUESTION + opt(size=0), ar=1), {OK}),
    'I-31 payload 65535': (message(QUESTION + opt(size=65535), ar=1), {OK}),
    'I-32 DO and all Z bits': (message(QUESTION + opt(ttl=0x0000ffff), ar=1), {OK}),
    'I-33 extended rcode in a query': (message(QUESTION + opt(ttl=0x0f000000), ar=1), {OK}),
    'I-37 keepalive over UDP': (message(QUESTION + opt(option(11, b'')), ar=1), {OK}),
    'I-39 odd NSID': (message(QUESTION + opt(option(3, b'123')), ar=1), {OK}),
    'I-39 odd EDE': (message(QUESTION + opt(option(15, b'1')), ar=1), {OK}),
    'I-39 unknown option': (message(QUESTION + opt(option(65001, b'12345')), ar=1), {OK}),
    'I-42 RD not set': (message(flags=0), {REFUSED}),
    **{f'I-40 opcode {code}': (message(flags=0x0100 | code << 11), {NOTIMP}) for code in (1, 2, 3, 4, 5, 6, 7, 15)},
    **{f'I-41 flags {flags:04x}': (message(flags=0x0100 | flags), {OK})
       for flags in (0x0400, 0x0200, 0x0080, 0x0040, 0x0020, 0x0010, 0x000f, 0x06ff)},
}


def verdict(reply):
    if reply is None:
        return DROP
    rcode = reply[3] & 15
    if rcode == 0 and len(reply) > 12:
        parsed = dns.message.from_wire(reply, ignore_trailing=False)
        rcode = parsed.rcode()
    return OK if rcode in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN) else dns.rcode.to_text(rcode)


def over_udp(one, wire, timeout=0.4):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(timeout)
        s.connect(one.server)
        s.send(wire)
        try:
            return s.recv(65535)
        except socket.timeout:
            return None


def over_tcp(one, wire, good):
    """The answer to `wire`, found before the answer to the good query sent right after it on the same connection."""
    with socket.create_connection(one.server, 5) as s:
        s.settimeout(5)
        stream = s.makefile('rb')
        s.sendall(struct.pack('!H', len(wire)) + wire)
        s.sendall(struct.pack('!H', len(good)) + good)
        answers = []
        while not answers or answers[-1][:2] != good[:2]:
            head = stream.read(2)
            if len(head) < 2:
                break
            answers.append(stream.read(struct.unpack('!H', head)[0]))
        assert answers and answers[-1][:2] == good[:2], 'the connection did not survive'
    return answers[0] if len(answers) > 1 else None


@pytest.fixture(scope='module')
def one(tmp_path_factory, new_address):
    import programs
    with programs.Kresd(tmp_path_factory.mktemp('malformed'), 'policy.add(policy.all(policy.ANSWER({[kres.type.A] = '
                        "{rdata = kres.str2ip('192.0.2.1')}})))", new_address()) as process:
        yield process


def good_query():
    query = ask.make('localhost.')
    query.id = 0x1717
    return query.to_wire()


def check(reply, allowed, wire):
    got = verdict(reply)
    assert got in allowed, f'{got}, {reply and reply.hex()}'
    if reply is not None:
        assert reply[:2] == wire[:2] and reply[2] & 0x80, 'id echoed, QR set'
        assert not reply[3] & 0x40, 'Z not echoed'


@pytest.mark.parametrize('case', CASES)
def test_over_udp(one, case):
    wire, allowed = CASES[case]
    check(over_udp(one, wire), allowed, wire)
    assert verdict(over_udp(one, good_query(), 5)) == OK


@pytest.mark.parametrize('case', [c for c in CASES if not c.startswith('I-37')])
def test_over_tcp(one, case):
    wire, allowed = CASES[case]
    check(over_tcp(one, wire, good_query()), allowed, wire)


def test_empty_datagram(one):
    assert over_udp(one, b'') is None
    assert verdict(over_udp(one, good_query(), 5)) == OK


def test_huge_datagram(one):
    assert verdict(over_udp(one, message(QUESTION + b'\0' * 65000))) in BAD
    assert verdict(over_udp(one, good_query(), 5)) == OK


def test_thousands_of_empty_options(one):
    wire = message(QUESTION + opt(option(65001, b'') * 16000), ar=1)
    assert verdict(over_tcp(one, wire, good_query())) in {OK, FORMERR, DROP}


def test_full_length_name(one):
    assert verdict(over_udp(one, message(FULL_NAME + b'\0\1\0\1'), 5)) == OK


def test_every_truncation_of_a_query(one):
    query = ask.make('localhost.', do=True).to_wire()
    for end in range(len(query)):
        over_udp(one, query[:end], 0.001)
    assert verdict(over_udp(one, good_query(), 5)) == OK


def test_random_mutations(one):
    import random
    rng, query = random.Random(4), ask.make('www.localhost.', do=True).to_wire()
    for _ in range(3000):
        wire = bytearray(query)
        for _ in range(rng.choice((1, 1, 2, 5))):
            wire[rng.randrange(len(wire))] = rng.randrange(256)
        over_udp(one, bytes(wire), 0.00001)
    assert verdict(over_udp(one, good_query(), 5)) == OK
    assert one.process.poll() is None


def test_socket_errors_of_clients_do_not_matter(one):
    """Answers to a closed port come back as ICMP errors."""
    for _ in range(50):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.connect(one.server)
            s.send(good_query())
    assert verdict(over_udp(one, good_query(), 5)) == OK
