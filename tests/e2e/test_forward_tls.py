# SPDX-License-Identifier: GPL-3.0-or-later
"""Forwarding over TLS to servers that are not who or what they should be: never an answer, never in clear text (F-24, H-15)."""
import datetime
import socket
import ssl
import struct
import threading
import time

import dns.flags
import dns.message
import dns.rrset
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

import ask

NAME, PORT = 'dot.example', 853
DAY = datetime.timedelta(days=1)


class Authority:
    """Signs certificates of whatever kind is asked for."""

    def __init__(self, folder, name='authority'):
        self.folder, self.key = folder, ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        self.path = folder / f'{name}.crt'
        now = datetime.datetime.utcnow()
        self._write(self.path, self._build(self.name, self.key, now - DAY, now + 9 * DAY)
                    .add_extension(x509.BasicConstraints(True, None), True).sign(self.key, hashes.SHA256()))

    def _build(self, who, key, begin, end):
        return (x509.CertificateBuilder().subject_name(who).issuer_name(self.name).public_key(key.public_key())
                .serial_number(x509.random_serial_number()).not_valid_before(begin).not_valid_after(end))

    @staticmethod
    def _write(path, certificate):
        path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, label, name=NAME, begin=-1, end=9, filler=0, in_common_name=None):
        key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.utcnow()
        who = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, in_common_name or label)])
        builder = self._build(who, key, now + begin * DAY, now + end * DAY)
        if name:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), False)
        if filler:
            builder = builder.add_extension(x509.UnrecognizedExtension(x509.ObjectIdentifier('1.3.6.1.4.1.1.1'), b'x' * filler),
                                            False)
        crt, pem = self.folder / f'{label}.crt', self.folder / f'{label}.key'
        self._write(crt, builder.sign(self.key, hashes.SHA256()))
        pem.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                          serialization.NoEncryption()))
        return crt, pem


@pytest.fixture(scope='module')
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp('authority'))


def context_of(pair, **settings):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*map(str, pair))
    for name, value in settings.items():
        setattr(context, name, value)
    return context


class Server:
    """A server of DNS over TLS with one `manner`; counts what comes over TLS, and in clear text at any port."""

    def __init__(self, address, context, manner='good'):
        self.address, self.context, self.manner = address, context, manner
        self.connections = self.resumed = self.questions = self.clear = 0
        self.sockets, self.held, self.is_over = [], [], False
        self._listen(PORT, self._serve_tls)
        self._listen(53, self._serve_clear)
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind((address, 53))
        self.sockets.append(udp)
        threading.Thread(target=self._count_udp, args=(udp,), daemon=True).start()

    def _listen(self, port, serve):
        sock = socket.create_server((self.address, port), backlog=20)
        self.sockets.append(sock)
        threading.Thread(target=self._accept, args=(sock, serve), daemon=True).start()

    def _accept(self, sock, serve):
        while not self.is_over:
            try:
                conn, _ = sock.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(conn,), daemon=True).start()

    def _count_udp(self, sock):
        while not self.is_over:
            try:
                sock.recv(4096)
                self.clear += 1
            except OSError:
                return

    def _serve_clear(self, conn):
        self.clear += 1
        conn.close()

    def _serve_tls(self, raw):
        self.connections += 1
        raw.settimeout(20)
        try:
            if self.manner == 'silent':
                self.held.append(raw)
                return
            if self.manner == 'alert':
                raw.recv(4096)
                raw.sendall(bytes.fromhex('15030300020228'))
                raw.close()
                return
            if self.manner == 'forgetful':
                self.context = context_of(self.pair)
            with self.context.wrap_socket(raw, server_side=True) as tls:
                self.resumed += tls.session_reused
                self._talk(tls)
        except (OSError, EOFError, ValueError):
            pass

    def _talk(self, tls):
        reader = tls.makefile('rb')
        while True:
            length = reader.read(2)
            if len(length) < 2:
                return
            query = reader.read(struct.unpack('!H', length)[0])
            self.questions += 1
            if self.manner == 'mute':
                continue
            if self.manner == 'bye':
                tls.unwrap()
                return
            reply = dns.message.make_response(dns.message.from_wire(query), recursion_available=True)
            if query and reply.question[0].rdtype == 1:
                reply.answer.append(dns.rrset.from_text(reply.question[0].name, 60, 'IN', 'A', '192.0.2.7'))
            wire = reply.to_wire()
            tls.sendall(struct.pack('!H', len(wire)) + wire)
            if self.manner in ('once', 'forgetful'):
                return

    def close(self):
        self.is_over = True
        for sock in self.sockets + self.held:
            sock.close()


@pytest.fixture
def server(new_address):
    made = []

    def make(context, manner='good'):
        made.append(Server(new_address(), context, manner))
        return made[-1]
    yield make
    for one in made:
        one.close()


def target(server, authority, how=None):
    how = how or f"hostname = '{NAME}', ca_file = '{authority.path}'"
    return f"{{ '{server.address}@{PORT}', {how} }}"


def forwarding(*targets):
    return f'policy.add(policy.all(policy.TLS_FORWARD({{ {", ".join(targets)} }})))'


CASES = {
    # name: (arguments of issue(), settings of the context, manner)
    'expired': ({'begin': -9, 'end': -1}, {}, 'good'),
    'not yet valid': ({'begin': 2}, {}, 'good'),
    'wrong name': ({'name': 'other.example'}, {}, 'good'),
    'name of the zone above': ({'name': 'example'}, {}, 'good'),
    'no name but the common one of an address': ({'name': None, 'in_common_name': '127.0.1.1'}, {}, 'good'),
    'certificate of 100 KiB': ({'filler': 100 * 1024}, {}, 'good'),
    'TLS 1.1 only': ({}, {'maximum_version': ssl.TLSVersion.TLSv1_1, 'minimum_version': ssl.TLSVersion.TLSv1_1}, 'good'),
    'alert instead of a handshake': ({}, {}, 'alert'),
    'silent after the first flight': ({}, {}, 'silent'),
    'silent after the handshake': ({}, {}, 'mute'),
    'goodbye instead of an answer': ({}, {}, 'bye'),
}


@pytest.mark.parametrize('case', CASES, ids=lambda c: c.replace(' ', '-'))
def test_bad_server_is_not_believed(kresd, authority, server, case):
    how, settings, manner = CASES[case]
    bad = server(context_of(authority.issue(case.replace(' ', '-'), **how), **settings), manner)
    with kresd(forwarding(target(bad, authority))) as one:
        reply = ask.message(one.server, 'www.test-name.example.', tcp=True)
        assert reply.rcode() == 2 and not reply.answer
        assert any(o.otype == 15 for o in reply.options), 'no reason is given'
    assert bad.clear == 0
    assert bad.connections > 0
    assert bad.questions == 0 or manner in ('mute', 'bye')


@pytest.mark.parametrize('case', ['expired', 'wrong name', 'silent after the first flight'], ids=lambda c: c.replace(' ', '-'))
def test_the_next_server_is_asked(kresd, authority, server, case):
    how, settings, manner = CASES[case]
    bad = server(context_of(authority.issue('bad', **how), **settings), manner)
    good = server(context_of(authority.issue('good')))
    with kresd(forwarding(target(bad, authority), target(good, authority))) as one:
        begin = time.monotonic()
        assert ask.answer(one.server, 'www.test-name.example.').rcode == 'NOERROR'
        assert time.monotonic() - begin < 15
    assert bad.clear == good.clear == bad.questions == 0


def test_unknown_authority(kresd, authority, server, tmp_path):
    stranger = Authority(tmp_path, 'stranger')
    bad = server(context_of(stranger.issue('strange')))
    with kresd(forwarding(target(bad, authority))) as one:
        assert ask.answer(one.server, 'www.test-name.example.').rcode == 'SERVFAIL'
    assert bad.clear == bad.questions == 0


def test_other_pin(kresd, authority, server):
    bad = server(context_of(authority.issue('unpinned')))
    pin = 'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA='
    with kresd(forwarding(target(bad, authority, f"pin_sha256 = '{pin}'"))) as one:
        assert ask.answer(one.server, 'www.test-name.example.').rcode == 'SERVFAIL'
    assert bad.clear == bad.questions == 0


def test_other_protocol(kresd, authority, server):
    bad = server(context_of(authority.issue('http')))
    how = f"transport = 'https', hostname = '{NAME}', ca_file = '{authority.path}'"
    with kresd(forwarding(target(bad, authority, how))) as one:
        assert ask.answer(one.server, 'www.test-name.example.').rcode == 'SERVFAIL'
    assert bad.clear == bad.questions == 0


def test_one_connection_serves_many_and_sessions_resume(kresd, authority, server):
    good = server(context_of(authority.issue('many')))
    with kresd(forwarding(target(good, authority))) as one:
        got = ask.answers(one.server, [(f'n{i}.test-name.example.', 'A') for i in range(40)])
        assert {a.rcode for a in got} == {'NOERROR'}
        assert good.questions >= 40 and good.connections <= 3
    brief = server(context_of(authority.issue('brief')), 'once')
    with kresd(forwarding(target(brief, authority))) as one:
        for i in range(4):
            assert ask.answer(one.server, f'n{i}.test-name.example.').rcode == 'NOERROR'
            time.sleep(0.2)
        assert brief.resumed > 0


def test_session_that_is_not_known_any_more(kresd, authority, server, new_address):
    """A server that has lost its ticket keys gets a full handshake, not a failure."""
    pair = authority.issue('forgetful')
    forgetful = server(context_of(pair), 'forgetful')
    forgetful.pair = pair
    with kresd(forwarding(target(forgetful, authority))) as one:
        for i in range(4):
            assert ask.answer(one.server, f'n{i}.test-name.example.').rcode == 'NOERROR'
            time.sleep(0.2)
        assert forgetful.resumed == 0 and forgetful.connections >= 4


def test_new_demands_hold_at_once(kresd, authority, server):
    """Neither the connection nor the session of laxer times is used on (H-15)."""
    bad = server(context_of(authority.issue('lax', name='other.example')), 'once')
    with kresd(forwarding(target(bad, authority, 'insecure = true'))) as one:
        assert ask.answer(one.server, 'n1.test-name.example.').rcode == 'NOERROR'
        one.control(f'net.tls_client({target(bad, authority)})')
        time.sleep(0.2)
        asked = bad.questions
        assert ask.answer(one.server, 'n2.test-name.example.').rcode == 'SERVFAIL'
        assert bad.questions == asked
