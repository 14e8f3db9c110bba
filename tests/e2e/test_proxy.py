# SPDX-License-Identifier: GPL-3.0-or-later
"""PROXY protocol version 2 in front of UDP and TCP: who the client is, and who may say so."""
import ipaddress
import socket
import struct

import dns.message
import dns.rcode
import pytest

import ask
import programs

SIGNATURE = b'\r\n\r\n\0\r\nQUIT\n'
PROXY, LOCAL = 1, 0
INSIDER, OUTSIDER = '192.0.2.77', '192.0.2.78'
TRUSTED, STRANGER = '127.9.0.1', '127.9.0.2'
CONFIG = f'''
net.proxy_allowed('{TRUSTED}')
local inside = policy.ANSWER({{[kres.type.A] = {{ rdata = kres.str2ip('192.0.2.111') }}}})
local outside = policy.ANSWER({{[kres.type.A] = {{ rdata = kres.str2ip('192.0.2.222') }}}})
policy.add(function (req)
    return tostring(req.qsource.addr):match('^{INSIDER}#') and inside or outside
end)
'''


def header(client=OUTSIDER, command=PROXY, version=2, tlv=b''):
    addresses = ipaddress.ip_address(client).packed + ipaddress.ip_address('192.0.2.53').packed + struct.pack('!HH', 5555, 53)
    family = 0x11 if len(addresses) == 12 else 0x21
    body = addresses + tlv
    return SIGNATURE + bytes([version << 4 | command, family]) + struct.pack('!H', len(body)) + body


@pytest.fixture(scope='module')
def one(tmp_path_factory, new_address):
    with programs.Kresd(tmp_path_factory.mktemp('proxy'), CONFIG, new_address()) as process:
        yield process


def over_udp(one, head, source=TRUSTED, query=None):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind((source, 0))
        s.settimeout(1)
        s.connect(one.server)
        s.send(head + (ask.make('x.alpha.').to_wire() if query is None else query))
        try:
            return dns.message.from_wire(s.recv(4096))
        except socket.timeout:
            return None


def over_tcp(one, pieces, source=TRUSTED):
    query = ask.make('x.alpha.').to_wire()
    with socket.create_connection(one.server, 5, (source, 0)) as s:
        s.settimeout(5)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        reader = s.makefile('rb')
        try:
            for piece in pieces:
                s.sendall(piece)
            s.sendall(struct.pack('!H', len(query)) + query)
            length = reader.read(2)
            return dns.message.from_wire(reader.read(struct.unpack('!H', length)[0])) if length else None
        except OSError:
            return None


def address(reply):
    return reply.answer[0][0].address if reply and reply.answer else None


INSIDE, OUTSIDE = '192.0.2.111', '192.0.2.222'


CASES = {
    'inside': (header(INSIDER), TRUSTED, INSIDE),
    'outside': (header(OUTSIDER), TRUSTED, OUTSIDE),
    'no header': (b'', TRUSTED, OUTSIDE),
    'LOCAL': (header(INSIDER, LOCAL), TRUSTED, OUTSIDE),
    'with the TLV of TLS': (header(INSIDER, tlv=b'\x20\0\5\1\0\0\0\0'), TRUSTED, INSIDE),
    'a stranger': (header(INSIDER), STRANGER, None),
    'version 1': (header(INSIDER, version=1), TRUSTED, None),
    'command 5': (header(INSIDER, command=5), TRUSTED, None),
}


@pytest.mark.parametrize('case', CASES)
def test_client_of_a_proxy(one, case):
    head, source, answer = CASES[case]
    assert address(over_udp(one, head, source)) == answer
    assert address(over_tcp(one, [head] if head else [], source)) == answer


@pytest.mark.parametrize('length', [12, 15, 16, 20, 27, 28])
def test_header_cut_off(one, length):
    assert over_udp(one, header(INSIDER)[:length], query=b'') is None


def test_header_in_pieces(one):
    head = header(INSIDER)
    assert address(over_tcp(one, [head[:5], head[5:17], head[17:]])) == INSIDE


def test_real_clients_need_no_header(one):
    assert address(over_udp(one, b'', STRANGER)) == OUTSIDE
    assert dns.rcode.NOERROR == ask.message(one.server, 'x.alpha.').rcode()
