# SPDX-License-Identifier: GPL-3.0-or-later
"""Encrypted transports with programs that others wrote, as our clients and as the servers that we ask."""
import base64
import hashlib
import http.server
import os
import subprocess
import threading

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

import ask
import programs
from test_secure import CONFIG, DOH_PORT, NAME, TLS_PORT, make_certificate

DEBIAN_KRESD = '/usr/sbin/kresd'
CLIENT_OF_VIEW = '127.9.9.9'


def run(*command, data=None, timeout=60):
    done = subprocess.run([str(word) for word in command], input=data, capture_output=True, timeout=timeout)
    return done.returncode, (done.stdout + done.stderr).decode(errors='replace')


def needs(program):
    if not os.path.exists(program):
        pytest.skip(f'{program} is not installed')


@pytest.fixture(scope='module')
def certificate(tmp_path_factory):
    return make_certificate(tmp_path_factory.mktemp('certificate'))


@pytest.fixture(scope='module')
def one(tmp_path_factory, new_address, world_config, certificate):
    """The server under test."""
    config = world_config + CONFIG + f'''
net.tls('{certificate[0]}', '{certificate[1]}')
net.proxy_allowed('127.0.0.0/8')
modules.load('view')
view:addr('{CLIENT_OF_VIEW}/32', policy.suffix(policy.DENY, {{ todname('web.alpha') }}))
hints.set('web.alpha. {{address}}')
'''
    with programs.Kresd(tmp_path_factory.mktemp('peers'), config, new_address()) as process:
        yield process


@pytest.fixture(scope='module')
def known(world):
    return f'www.{world.plan.well[0].name}'


@pytest.fixture
def peer(tmp_path, new_address):
    """Starts a program with a configuration file; in its words and text {address} and {folder} may be used."""
    made = []

    def start(command, config, port=53, name='conf'):
        address, folder = new_address(), tmp_path / f'peer{len(made)}'
        folder.mkdir()

        def fill(text):
            return str(text).replace('{address}', address).replace('{folder}', str(folder))
        (folder / name).write_text(fill(config))
        made.append(programs.Program(folder, [fill(word) for word in command], address, port))
        return made[-1].start()
    yield start
    for program in made:
        program.stop()


def pin_of(certificate):
    public = x509.load_pem_x509_certificate(certificate[0].read_bytes()).public_key()
    der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(der).digest()).decode()


# -- clients of ours --

KDIG_WAYS = {
    'plain': (53, ['+tcp']),
    'tls': (TLS_PORT, ['+tls']),
    'tls-ca': (TLS_PORT, ['+tls-ca={ca}', '+tls-hostname={name}']),
    'tls-pin': (TLS_PORT, ['+tls-pin={pin}']),
    'https': (DOH_PORT, ['+https', '+tls-ca={ca}', '+tls-hostname={name}']),
    'https-get': (DOH_PORT, ['+https-get', '+tls-ca={ca}', '+tls-hostname={name}']),
    'keepalive': (TLS_PORT, ['+tls', '+ednsopt=11']),
}


def kdig(one, certificate, way, *questions, keepopen=True):
    port, options = KDIG_WAYS[way]
    options = [o.format(ca=certificate[0], name=NAME, pin=pin_of(certificate)) for o in options]
    common = [f'@{one.address}', '-p', port, *options, *(['+keepopen'] if keepopen else [])]
    return run('kdig', *common, *questions)


@pytest.mark.parametrize('way', KDIG_WAYS)
def test_kdig(one, certificate, known, way):
    status, text = kdig(one, certificate, way, known, 'A', known, 'AAAA', 'alpha.', 'SOA')
    assert status == 0 and text.count('status: NOERROR') == 3, text
    assert 'EDNS KEEPALIVE' in text.upper() or 'Option (11)' in text or way != 'keepalive', text


def test_kdig_refuses_another_key(one, known):
    wrong = base64.b64encode(bytes(32)).decode()
    status, text = run('kdig', f'@{one.address}', '-p', TLS_PORT, f'+tls-pin={wrong}', '+retry=0', known)
    assert status != 0 and 'NOERROR' not in text


def test_openssl(one, certificate):
    common = ['openssl', 's_client', '-connect', f'{one.address}:{TLS_PORT}', '-servername', NAME, '-CAfile', certificate[0],
              '-verify_return_error', '-verify_hostname', NAME]
    for version in '-tls1_2', '-tls1_3':
        status, text = run(*common, version, '-alpn', 'dot', data=b'')
        assert status == 0 and 'ALPN protocol: dot' in text and 'Verify return code: 0' in text, text
    assert run(*common, '-alpn', 'h2', data=b'')[0] != 0
    assert run(*common, '-tls1_1', '-cipher', 'DEFAULT@SECLEVEL=0', data=b'')[0] != 0


def test_openssl_may_not_renegotiate(one, certificate):
    _, text = run('openssl', 's_client', '-connect', f'{one.address}:{TLS_PORT}', '-tls1_2', '-CAfile', certificate[0],
                  data=b'R\n')
    assert 'Verify return code: 0' in text and 'verify return:1' not in text.partition('RENEGOTIATING')[2], text


class Hello(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'hello')

    def log_message(self, *_):
        pass


def test_curl_resolves_by_us(one, certificate):
    with http.server.HTTPServer((one.address, 8080), Hello) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        status, text = run('curl', '-sS', '--max-time', 20, '--cacert', certificate[0], '--resolve',
                           f'{NAME}:{DOH_PORT}:{one.address}', '--doh-url', f'https://{NAME}:{DOH_PORT}/dns-query',
                           'http://web.alpha:8080/')
        server.shutdown()
    assert status == 0 and text == 'hello', text


def test_h2load(one, known, tmp_path):
    (tmp_path / 'question').write_bytes(ask.make(known).to_wire())
    status, text = run('h2load', '-n', 2000, '-c', 4, '-m', 20, '-d', tmp_path / 'question', '-H',
                       'content-type: application/dns-message', f'https://{one.address}:{DOH_PORT}/dns-query')
    assert status == 0 and '2000 succeeded, 0 failed' in text and '2000 2xx' in text, text


def test_stubby(one, certificate, known, peer):
    needs('/usr/bin/stubby')
    stubby = peer(['stubby', '-C', '{folder}/conf.yml'], f'''
resolution_type: GETDNS_RESOLUTION_STUB
dns_transport_list:
  - GETDNS_TRANSPORT_TLS
tls_authentication: GETDNS_AUTHENTICATION_REQUIRED
tls_ca_file: "{certificate[0]}"
tls_query_padding_blocksize: 128
edns_client_subnet_private: 1
idle_timeout: 2000
listen_addresses:
  - {{address}}@53
appdata_dir: "{{folder}}"
upstream_recursive_servers:
  - address_data: {one.address}
    tls_port: {TLS_PORT}
    tls_auth_name: "{NAME}"
''', name='conf.yml')
    for rtype in 'A', 'AAAA', 'A':
        assert ask.answer(stubby.server, known, rtype).rcode == 'NOERROR'


DNSDIST_WAYS = {
    'udp': '',
    'tcp': ', tcpOnly=true',
    'proxy': ', useProxyProtocol=true',
    'proxy-tcp': ', useProxyProtocol=true, tcpOnly=true',
    'tls': ", tls='openssl', subjectName='{name}', caStore='{ca}'",
    'proxy-tls': ", tls='gnutls', subjectName='{name}', caStore='{ca}', useProxyProtocol=true",
    'https': ", tls='openssl', subjectName='{name}', caStore='{ca}', dohPath='/dns-query'",
    'proxy-https': ", tls='openssl', subjectName='{name}', caStore='{ca}', dohPath='/dns-query', useProxyProtocol=true",
}
DNSDIST = ['dnsdist', '--supervised', '--disable-syslog', '-C', '{folder}/conf']


@pytest.mark.parametrize('way', DNSDIST_WAYS)
def test_dnsdist(one, certificate, known, peer, way):
    needs('/usr/bin/dnsdist')
    port = DOH_PORT if 'https' in way else TLS_PORT if 'tls' in way else 53
    how = DNSDIST_WAYS[way].format(name=NAME, ca=certificate[0])
    dnsdist = peer(DNSDIST, f'''
setLocal('{{address}}:53')
setACL('127.0.0.0/8')
newServer({{address='{one.address}:{port}', checkName='localhost.', checkInterval=1, healthCheckMode='up'{how}}})
''')
    for rtype in 'A', 'AAAA', 'A':
        assert ask.answer(dnsdist.server, known, rtype).rcode == 'NOERROR'
    # Who the client is, is known by the header alone.
    query = ask.make('web.alpha.')
    for source in CLIENT_OF_VIEW, '127.9.9.8':
        reply = ask.dns.query.udp(query, dnsdist.address, 20, source=source)
        assert (reply.rcode() == 3) == ('proxy' in way and source == CLIENT_OF_VIEW)


def test_unbound_forwards_to_us(one, certificate, known, world, peer):
    unbound = peer([programs.UNBOUND, '-c', '{folder}/conf'], f'''
server:
  do-daemonize: no
  use-syslog: no
  chroot: ""
  username: ""
  directory: "{{folder}}"
  pidfile: ""
  interface: {{address}}
  do-not-query-localhost: no
  tls-cert-bundle: "{certificate[0]}"
  trust-anchor-file: "{world.keys}"
forward-zone:
  name: "."
  forward-tls-upstream: yes
  forward-addr: {one.address}@{TLS_PORT}#{NAME}
remote-control:
  control-enable: no
''')
    for rtype in 'A', 'AAAA':
        answer = ask.answer(unbound.server, known, rtype)
        assert answer.rcode == 'NOERROR' and answer.ad


def debian_kresd(peer, config):
    needs(DEBIAN_KRESD)
    return peer([DEBIAN_KRESD, '-n', '-c', '{folder}/conf', '{folder}'], f'''
net.listen('{{address}}', 53)
cache.size = 20 * MB
trust_anchors.remove('.')
{config}''')


def test_debian_kresd_forwards_to_us(one, certificate, known, world, peer):
    other = debian_kresd(peer, f'''
trust_anchors.add_file('{world.keys}', true)
policy.add(policy.all(policy.TLS_FORWARD({{{{
   '{one.address}@{TLS_PORT}', hostname = '{NAME}', ca_file = '{certificate[0]}'
}}}})))
''')
    for rtype in 'A', 'AAAA':
        answer = ask.answer(other.server, known, rtype)
        assert answer.rcode == 'NOERROR' and answer.ad


# -- servers that we ask --

def serve_unbound(peer, certificate, world):
    return peer([programs.UNBOUND, '-c', '{folder}/conf'], f'''
server:
  do-daemonize: no
  use-syslog: no
  chroot: ""
  username: ""
  directory: "{{folder}}"
  pidfile: ""
  interface: {{address}}@53
  interface: {{address}}@{TLS_PORT}
  interface: {{address}}@{DOH_PORT}
  tls-port: {TLS_PORT}
  https-port: {DOH_PORT}
  tls-service-pem: "{certificate[0]}"
  tls-service-key: "{certificate[1]}"
  root-hints: "{world.hints}"
  trust-anchor-file: "{world.keys}"
remote-control:
  control-enable: no
''')


def serve_debian_kresd(peer, certificate, world):
    return debian_kresd(peer, f'''
net.listen('{{address}}', {TLS_PORT}, {{ kind = 'tls' }})
net.listen('{{address}}', {DOH_PORT}, {{ kind = 'doh2' }})
net.tls('{certificate[0]}', '{certificate[1]}')
modules.load('hints > iterate')
hints.root_file('{world.hints}')
trust_anchors.add_file('{world.keys}', true)
''')


@pytest.fixture
def serve_dnsdist(one):
    def serve(peer, certificate, world):
        needs('/usr/bin/dnsdist')
        return peer(DNSDIST, f'''
setLocal('{{address}}:53')
setACL('127.0.0.0/8')
addTLSLocal('{{address}}:{TLS_PORT}', '{certificate[0]}', '{certificate[1]}')
addDOHLocal('{{address}}:{DOH_PORT}', '{certificate[0]}', '{certificate[1]}', '/dns-query')
newServer({{address='{one.address}:53', healthCheckMode='up'}})
''')
    return serve


def serve_ourselves(peer, certificate, world):
    return peer([programs.KRESD, '-n', '-c', '{folder}/conf', '{folder}'], f'''
net.listen('{{address}}', 53)
net.listen('{{address}}', {TLS_PORT}, {{ kind = 'tls' }})
net.listen('{{address}}', {DOH_PORT}, {{ kind = 'doh2' }})
net.tls('{certificate[0]}', '{certificate[1]}')
cache.size = 20 * MB
modules.load('hints > iterate')
hints.root_file('{world.hints}')
trust_anchors.remove('.')
trust_anchors.add_file('{world.keys}', true)
''')


TARGETS = {
    'tls': ("@{tls}', hostname = '{name}', ca_file = '{ca}'", True),
    'tls-pin': ("@{tls}', pin_sha256 = '{pin}'", True),
    'https': ("', transport = 'https', hostname = '{name}', ca_file = '{ca}'", True),
    'https-path': ("@{doh}', transport = 'https', path = '/dns-query', pin_sha256 = '{pin}'", True),
    'https-elsewhere': ("', transport = 'https', path = '/nothing', pin_sha256 = '{pin}'", False),
    'https-on-tls': ("@{tls}', transport = 'https', pin_sha256 = '{pin}'", False),
}


@pytest.mark.parametrize('way', TARGETS)
@pytest.mark.parametrize('kind', ['unbound', 'debian_kresd', 'dnsdist', 'ourselves'])
def test_forwarding_to(kresd, certificate, known, world, peer, serve_dnsdist, kind, way):
    server = serve_dnsdist if kind == 'dnsdist' else globals()[f'serve_{kind}']
    other = server(peer, certificate, world)
    how, is_good = TARGETS[way]
    how = how.format(tls=TLS_PORT, doh=DOH_PORT, name=NAME, ca=certificate[0], pin=pin_of(certificate))
    config = f'''
trust_anchors.add_file('{world.keys}', true)
policy.add(policy.all(policy.TLS_FORWARD({{{{ '{other.address}{how} }}}})))
'''
    with kresd(config) as forwarder:
        names = [f'www.{zone.name}' for zone in world.plan.well[:12]] if is_good else [known]
        answers = ask.answers(forwarder.server, [(name, rtype) for name in names for rtype in ('A', 'AAAA')],
                              tcp=not is_good)
        assert {answer.rcode for answer in answers} == {'NOERROR' if is_good else 'SERVFAIL'}
        udp, tcp, tls = (int(text) for text in forwarder.control(*[f'worker.stats().{way}' for way in ('udp', 'tcp', 'tls')]))
    assert udp == tcp == 0 and tls > 0
