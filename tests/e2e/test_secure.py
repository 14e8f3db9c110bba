# SPDX-License-Identifier: GPL-3.0-or-later
"""DNS over TLS and over HTTPS, with clients that others wrote: dnspython, kdig, curl, OpenSSL."""
import base64
import datetime
import socket
import ssl
import struct
import subprocess
import time

import dns.message
import dns.query
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

import ask
import programs

TLS_PORT, DOH_PORT = 853, 443
NAME = 'resolver.alpha'


def make_certificate(folder, name=NAME):
    key = ec.generate_private_key(ec.SECP256R1())
    who = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.utcnow()
    certificate = (x509.CertificateBuilder().subject_name(who).issuer_name(who).public_key(key.public_key())
                   .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=1))
                   .not_valid_after(now + datetime.timedelta(days=30))
                   .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), False)
                   .sign(key, hashes.SHA256()))
    crt, pem = folder / f'{name}.crt', folder / f'{name}.key'
    crt.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    pem.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                      serialization.NoEncryption()))
    return crt, pem


CONFIG = f'''
net.listen('{{address}}', {TLS_PORT}, {{ kind = 'tls' }})
net.listen('{{address}}', {DOH_PORT}, {{ kind = 'doh2' }})
'''


@pytest.fixture(scope='module')
def certificate(tmp_path_factory):
    return make_certificate(tmp_path_factory.mktemp('certificate'))


@pytest.fixture(scope='module')
def one(tmp_path_factory, new_address, world_config, certificate):
    config = world_config + CONFIG + f"net.tls('{certificate[0]}', '{certificate[1]}')"
    with programs.Kresd(tmp_path_factory.mktemp('secure'), config, new_address()) as process:
        yield process


@pytest.fixture(scope='module')
def known(world):
    return f'www.{world.plan.well[0].name}'


def context(certificate, alpn=None):
    trusting = ssl.create_default_context(cafile=str(certificate[0]))
    if alpn:
        trusting.set_alpn_protocols(alpn)
    return trusting


def tls_connect(one, certificate, alpn=None):
    raw = socket.create_connection((one.address, TLS_PORT), 5)
    return context(certificate, alpn).wrap_socket(raw, server_hostname=NAME)


def test_dot_answers(one, certificate, known):
    reply = dns.query.tls(ask.make(known), one.address, 10, TLS_PORT, ssl_context=context(certificate), server_hostname=NAME)
    assert reply.answer


def test_dot_with_kdig(one, certificate, known):
    done = subprocess.run(['kdig', '-p', str(TLS_PORT), f'@{one.address}', f'+tls-ca={certificate[0]}', f'+tls-hostname={NAME}',
                           known, 'A'], capture_output=True, text=True, timeout=30)
    assert 'status: NOERROR' in done.stdout, done.stdout + done.stderr
    assert 'PADDING' in done.stdout


def test_dot_pipelines(one, certificate, known):
    with tls_connect(one, certificate) as s:
        stream = b''
        for number in range(200):
            query = ask.make(known)
            query.id = number
            wire = query.to_wire()
            stream += struct.pack('!H', len(wire)) + wire
        s.sendall(stream)
        reader, seen = s.makefile('rb'), set()
        while len(seen) < 200:
            length, = struct.unpack('!H', reader.read(2))
            seen.add(struct.unpack('!H', reader.read(length)[:2])[0])
        assert seen == set(range(200))


def test_answers_over_tls_are_padded(one, certificate, known):
    for name in (known, 'alpha.', 'nothing-here.alpha.'):
        reply = dns.query.tls(ask.make(name), one.address, 10, TLS_PORT, ssl_context=context(certificate), server_hostname=NAME)
        assert len(reply.to_wire()) % 468 == 0 or any(o.otype == 12 for o in reply.options)


@pytest.mark.parametrize('alpn, is_good', [(None, True), (['dot'], True), (['dot', 'h2'], True), (['h2'], False), (['x'], False)])
def test_alpn_of_dot(one, certificate, alpn, is_good):
    try:
        with tls_connect(one, certificate, alpn) as s:
            assert s.selected_alpn_protocol() == ('dot' if alpn else None)
            assert is_good
    except ssl.SSLError:
        assert not is_good


def test_old_tls_is_refused(one, certificate):
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    with socket.create_connection((one.address, TLS_PORT), 5) as raw, pytest.raises((ssl.SSLError, ConnectionError)):
        old.wrap_socket(raw)


def test_garbage_instead_of_a_handshake(one, certificate, known):
    for noise in (b'\0' * 200, b'GET / HTTP/1.1\r\n\r\n', bytes(range(256)) * 20):
        with socket.create_connection((one.address, TLS_PORT), 5) as s:
            s.settimeout(8)
            s.sendall(noise)
            try:
                while s.recv(4096):
                    pass
            except ConnectionResetError:
                pass
    test_dot_answers(one, certificate, known)


def test_sessions_resume(one, certificate):
    trusting, session = context(certificate), None
    for round_number in range(2):
        raw = socket.create_connection((one.address, TLS_PORT), 5)
        with trusting.wrap_socket(raw, server_hostname=NAME, session=session) as s:
            query = ask.make('alpha.', 'SOA').to_wire()
            s.sendall(struct.pack('!H', len(query)) + query)
            s.recv(4096)
            assert s.session_reused == bool(round_number)
            session = s.session


def test_new_certificate_serves_new_connections(kresd, tmp_path, certificate):
    other = make_certificate(tmp_path)
    with kresd(CONFIG + f"net.tls('{certificate[0]}', '{certificate[1]}')") as one:
        tls_connect(one, certificate).close()
        one.control(f"net.tls('{other[0]}', '{other[1]}')")
        tls_connect(one, other).close()
        with pytest.raises(ssl.SSLError):
            tls_connect(one, certificate)


def test_certificate_is_made_if_none_is_given(kresd):
    with kresd(CONFIG) as one:
        blind = ssl.create_default_context()
        blind.check_hostname, blind.verify_mode = False, ssl.CERT_NONE
        assert dns.query.tls(ask.make('localhost.'), one.address, 10, TLS_PORT, ssl_context=blind).answer


# -- HTTPS --

def curl(one, certificate, path, *args, data=None):
    """(status, headers, body)"""
    done = subprocess.run(['curl', '--silent', '--http2', '--include', '--max-time', '10', '--cacert', str(certificate[0]),
                           '--resolve', f'{NAME}:{DOH_PORT}:{one.address}', *args,
                           *(['--data-binary', '@-'] if data is not None else []), f'https://{NAME}:{DOH_PORT}{path}'],
                          input=data, capture_output=True, timeout=20)
    head, _, body = done.stdout.partition(b'\r\n\r\n')
    lines = head.decode().split('\r\n')
    assert lines[0].startswith('HTTP/2'), done
    headers = dict(line.lower().split(': ', 1) for line in lines[1:] if ': ' in line)
    return int(lines[0].split()[1]), headers, body


DNS_TYPE = ('--header', 'content-type: application/dns-message')


def in_url(query):
    return base64.urlsafe_b64encode(query.to_wire()).decode().rstrip('=')


@pytest.mark.parametrize('path', ['/dns-query', '/doh'])
def test_doh_post(one, certificate, known, path):
    query = ask.make(known)
    status, headers, body = curl(one, certificate, path, *DNS_TYPE, data=query.to_wire())
    assert status == 200 and headers['content-type'] == 'application/dns-message'
    reply = dns.message.from_wire(body)
    assert reply.id == query.id and reply.answer
    assert headers['cache-control'] == f'max-age={min(r.ttl for r in reply.answer)}'
    assert headers['access-control-allow-origin'] == '*' and int(headers['content-length']) == len(body)


def test_doh_get(one, certificate, known):
    status, _, body = curl(one, certificate, f'/dns-query?other=1&dns={in_url(ask.make(known))}')
    assert status == 200 and dns.message.from_wire(body).answer


def test_doh_head(one, certificate, known):
    status, headers, body = curl(one, certificate, f'/dns-query?dns={in_url(ask.make(known))}', '--head')
    assert status == 200 and not body and headers['content-type'] == 'application/dns-message'


def test_doh_with_kdig(one, certificate, known):
    for method in ('+https', '+https-get'):
        done = subprocess.run(['kdig', f'@{one.address}', '-p', str(DOH_PORT), method, f'+tls-ca={certificate[0]}',
                               f'+tls-hostname={NAME}', known, 'A'], capture_output=True, text=True, timeout=30)
        assert 'status: NOERROR' in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize('status, path, args, data', [
    (400, '/dns-query', (), None),
    (400, '/dns-query?dns=', (), None),
    (400, '/dns-query?dns=AAAA====', (), None),
    (400, '/dns-query?dns=!!!!', (), None),
    (400, '/dns-query', DNS_TYPE, b'short'),
    (404, '/', (), None),
    (404, '/dns-query/more', (), None),
    (413, '/dns-query', DNS_TYPE, b'x' * 70000),
    (415, '/dns-query', ('--header', 'content-type: text/plain'), b'x' * 20),
    (501, '/dns-query', ('--request', 'PUT'), b'x' * 20),
    (501, '/dns-query', ('--request', 'OPTIONS'), None),
], ids=['no query', 'empty query', 'padded base64', 'bad base64', 'no message', 'other path', 'path below', 'too long',
        'other type', 'PUT', 'OPTIONS'])
def test_doh_refusals(one, certificate, known, status, path, args, data):
    got, headers, body = curl(one, certificate, path, *args, data=data)
    assert got == status and not body
    test_doh_get(one, certificate, known)


def test_errors_of_the_dns_are_fine_for_http(one, certificate):
    for name, rcode in (('nothing-here.alpha.', 3), ('www.expired-sick.alpha.', 2)):
        status, headers, body = curl(one, certificate, '/dns-query', *DNS_TYPE, data=ask.make(name).to_wire())
        assert status == 200 and dns.message.from_wire(body).rcode() == rcode


def test_doh_needs_http2(one, certificate):
    trusting = context(certificate, ['http/1.1'])
    with socket.create_connection((one.address, DOH_PORT), 5) as raw, pytest.raises((ssl.SSLError, ConnectionError)):
        trusting.wrap_socket(raw, server_hostname=NAME)


def test_idle_tls_connection_is_closed(kresd, certificate):
    with kresd(CONFIG + f"net.tls('{certificate[0]}', '{certificate[1]}') net.tcp_in_idle(500)") as one:
        with tls_connect(one, certificate) as s:
            begin = time.monotonic()
            s.settimeout(5)
            assert s.recv(10) == b''
            assert time.monotonic() - begin < 4
