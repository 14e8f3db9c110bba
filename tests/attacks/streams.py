#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Thousands of idle and hundreds of hostile connections; are polite clients still served?

  unshare --net --pid --fork --kill-child --mount-proc tests/attacks/streams.py [--idle N] [--hostile N] [--seconds S]

Hostile ones drip octets, do not read what they asked for, pipeline without end, stall in the handshake, or connect and
reset. Polite ones ask over TCP, DNS over TLS and DNS over HTTPS, each from an address of its own. The last line is JSON."""
import argparse
import asyncio
import json
import multiprocessing
import os
import pathlib
import random
import resource
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import time

TREE = pathlib.Path(__file__).resolve().parents[2]
SERVER = '127.0.0.1'
PORTS = {'tcp': 53, 'tls': 853, 'https': 443}
QUESTION = b'\0\7\1\0\0\1\0\0\0\0\0\0\x09localhost\0\0\1\0\1'
FRAMED = struct.pack('!H', len(QUESTION)) + QUESTION
CONFIG = '''
trust_anchors.remove('.')
cache.size = 10 * MB
'''
LISTEN = f'''
net.listen('{SERVER}', 53)
net.listen('{SERVER}', 853, {{ kind = 'tls' }})
net.listen('{SERVER}', 443, {{ kind = 'doh2' }})
'''
PATIENCE_S = 2


def blind():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def prefix(number, net):
    """Addresses of a hundred prefixes, as of so many customers."""
    return f'127.{net}.{number % 100 + 1}.1'


def connect(port, source, timeout=2):
    s = socket.socket()
    s.settimeout(timeout)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
    s.bind((source, 0))
    s.connect((SERVER, port))
    return s


# -- HTTP/2 as far as a client needs it: no compression, one request after the other --

H2_START = b'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n' + bytes.fromhex('000000040000000000')


def literal(name, value):
    return b'\0' + bytes([len(name)]) + name + bytes([len(value)]) + value


def h2_request(stream, body):
    block = b''.join(literal(*pair) for pair in (
        (b':method', b'POST'), (b':scheme', b'https'), (b':authority', b'dns'), (b':path', b'/dns-query'),
        (b'content-type', b'application/dns-message')))

    def frame(kind, flags, payload):
        return struct.pack('!I', len(payload))[1:] + bytes([kind, flags]) + struct.pack('!I', stream) + payload
    return frame(1, 4, block) + frame(0, 1, body)


# -- polite clients --

class Polite:
    def __init__(self, kind, number):
        self.kind, self.source = kind, f'127.200.{number}.1'
        self.reader = self.writer = None
        self.stream, self.times, self.lost = 1, [], 0

    async def open(self):
        context = None
        if self.kind != 'tcp':
            context = blind()
            context.set_alpn_protocols(['h2' if self.kind == 'https' else 'dot'])
        self.reader, self.writer = await asyncio.open_connection(
            SERVER, PORTS[self.kind], ssl=context, local_addr=(self.source, 0))
        self.stream = 1
        if self.kind == 'https':
            self.writer.write(H2_START)

    def close(self):
        if self.writer:
            self.writer.transport.abort()
        self.reader = self.writer = None

    async def exchange(self):
        if self.kind != 'https':
            self.writer.write(FRAMED)
            length, = struct.unpack('!H', await self.reader.readexactly(2))
            return await self.reader.readexactly(length)
        self.writer.write(h2_request(self.stream, QUESTION))
        while True:
            head = await self.reader.readexactly(9)
            payload = await self.reader.readexactly(int.from_bytes(head[:3], 'big'))
            if head[3] == 4 and not head[4]:
                self.writer.write(bytes.fromhex('000000040100000000'))
            if head[3] in (3, 7):
                raise ConnectionError('reset')
            if head[3] == 0 and int.from_bytes(head[5:], 'big') == self.stream and payload:
                self.stream += 2
                return payload

    async def ask(self):
        """One question; whoever finds the connection closed as idle or full opens another one, as clients do."""
        begin = time.monotonic()
        for _ in range(2):
            try:
                if not self.writer:
                    await asyncio.wait_for(self.open(), PATIENCE_S)
                    begin = time.monotonic()
                answer = await asyncio.wait_for(self.exchange(), PATIENCE_S)
                if answer[3] & 15 == 0:
                    self.times.append(time.monotonic() - begin)
                    return
            except (OSError, EOFError, asyncio.TimeoutError):
                self.close()
        self.lost += 1

    async def run(self, end):
        while time.monotonic() < end:
            await self.ask()
            if random.random() < 0.05:
                self.close()
            await asyncio.sleep(random.uniform(0.02, 0.08))
        self.close()


async def all_polite(count, seconds):
    end = time.monotonic() + seconds
    clients = [Polite(kind, i * 3 + k + 1) for i in range(count) for k, kind in enumerate(PORTS)]
    await asyncio.gather(*(c.run(end) for c in clients))
    result = {}
    for kind in PORTS:
        times = sorted(t for c in clients if c.kind == kind for t in c.times)
        lost = sum(c.lost for c in clients if c.kind == kind)
        result[kind] = {'asked': len(times) + lost, 'answered_pct': round(100 * len(times) / max(1, len(times) + lost), 2),
                        'p50_ms': round(1000 * times[len(times) // 2], 2) if times else None,
                        'p99_ms': round(1000 * times[len(times) * 99 // 100], 2) if times else None}
    return result


# -- the others; each a generator that does one step whenever it is asked to --

def drip(port, source):
    with connect(port, source) as s:
        data = FRAMED if port == 53 else bytes.fromhex('16030100fa010000f60303') + b'\0' * 240
        for octet in data:
            s.send(bytes([octet]))
            yield 1


def mute(port, source):
    """Asks for much and reads nothing."""
    with connect(port, source) as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        s.setblocking(False)
        data = FRAMED * 500 if port == 53 else bytes(range(256)) * 60
        while True:
            try:
                s.send(data)
            except BlockingIOError:
                pass
            yield 0.2


def pipeline(port, source):
    """A hundred thousand questions, and reads the answers."""
    with connect(53, source) as s:
        s.setblocking(False)
        left = 100000
        while left > 0:
            try:
                left -= s.send(FRAMED * 200) // len(FRAMED)
            except BlockingIOError:
                pass
            try:
                if not s.recv(1 << 16):
                    return
            except BlockingIOError:
                pass
            yield 0.1


def stall(port, source):
    """Half of a handshake."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = blind().wrap_bio(incoming, outgoing)
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        pass
    with connect(853, source) as s:
        s.send(outgoing.read())
        for _ in range(100):
            yield 1


def reset(port, source):
    while True:
        s = connect(port, source)
        s.send(FRAMED)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        s.close()
        yield 0.05


HOSTILE = {f.__name__: f for f in (drip, mute, pipeline, stall, reset)}


def attack(idle, hostile, seconds, modes):
    """Runs in a process of its own."""
    end, sleepers, waiting = time.monotonic() + seconds, [], []
    ports = list(PORTS.values())
    for i in range(hostile):
        waiting.append([time.monotonic(), i, None])
    refused = 0
    while time.monotonic() < end:
        for _ in range(min(50, idle - len(sleepers))):
            try:
                s = connect(ports[len(sleepers) % 3], prefix(len(sleepers), 50))
                s.send(FRAMED[:2] if len(sleepers) % 2 else FRAMED)
                sleepers.append(s)
            except OSError:
                refused += 1
                idle -= 1
        now = time.monotonic()
        for item in waiting:
            if item[0] > now:
                continue
            number = item[1]
            try:
                if item[2] is None:
                    port = ports[number // len(modes) % len(ports)]
                    item[2] = HOSTILE[modes[number % len(modes)]](port, prefix(number, 60))
                item[0] = now + next(item[2])
            except (OSError, StopIteration):
                item[0], item[2] = now + 0.5, None
        time.sleep(0.01)


def rss_kib(pid):
    with open(f'/proc/{pid}/status') as f:
        return next(int(line.split()[1]) for line in f if line.startswith('RssAnon'))


def cpu_s(pid):
    fields = pathlib.Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


def start(kresd, folder, config):
    (folder / 'conf').write_text(config)
    with open(folder / 'log', 'wb') as log:
        process = subprocess.Popen([kresd, '-n', '-c', str(folder / 'conf'), str(folder)], stdout=log, stderr=log)
    end = time.monotonic() + 30
    while time.monotonic() < end and process.poll() is None:
        try:
            with connect(53, '127.0.0.1') as s:
                s.send(FRAMED)
                if s.recv(100):
                    return process
        except OSError:
            time.sleep(0.05)
    process.kill()
    sys.exit('kresd did not come up:\n' + (folder / 'log').read_text())


def measure(kresd, idle, hostile, seconds, polite, modes):
    with tempfile.TemporaryDirectory(prefix='attack-') as name:
        process = start(kresd, pathlib.Path(name), CONFIG + LISTEN)
        before = rss_kib(process.pid)
        calm = asyncio.run(all_polite(polite, min(3, seconds)))
        attacker = multiprocessing.Process(target=attack, args=(idle, hostile, seconds + 2, modes))
        attacker.start()
        time.sleep(1)
        begin = cpu_s(process.pid)
        result = asyncio.run(all_polite(polite, seconds))
        result['cpu_pct'] = round(100 * (cpu_s(process.pid) - begin) / seconds)
        result['rss_mib'] = round(rss_kib(process.pid) / 1024, 1)
        result['rss_before_mib'] = round(before / 1024, 1)
        attacker.join()
        result['calm'] = calm
        result['alive'] = process.poll() is None
        process.terminate()
        process.wait(20)
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--kresd', default=str(TREE / 'build/daemon/kresd'))
    parser.add_argument('--idle', type=int, default=5000)
    parser.add_argument('--hostile', type=int, default=500)
    parser.add_argument('--polite', type=int, default=4, help='clients of each transport')
    parser.add_argument('--seconds', type=float, default=20)
    parser.add_argument('--mode', action='append', choices=list(HOSTILE), help='of hostile ones; default: all')
    args = parser.parse_args()
    if [name for _, name in socket.if_nameindex()] != ['lo']:
        sys.exit("needs a network namespace of its own; see --help")
    subprocess.run(['ip', 'link', 'set', 'lo', 'up'], check=True)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 20000), hard))
    print(json.dumps(measure(args.kresd, args.idle, args.hostile, args.seconds, args.polite, args.mode or list(HOSTILE))))


if __name__ == '__main__':
    main()
