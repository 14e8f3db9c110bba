# SPDX-License-Identifier: GPL-3.0-or-later
"""Instances are replaced one after the other while clients ask over UDP, TCP and TLS (F-38)."""
import socket
import ssl
import struct
import threading
import time

import ask

ROUNDS = 4
TRY_S = 1.5


class Client(threading.Thread):
    """Asks without pause until told to stop."""

    def __init__(self, server, query):
        super().__init__(daemon=True)
        self.server, self.query, self.is_over = server, query, False
        self.asked = self.again = self.lost = self.cut = 0

    def run(self):
        while not self.is_over:
            self.asked += 1
            for attempt in range(2):
                if self.exchange():
                    break
                self.again += attempt == 0
            else:
                self.lost += 1
            time.sleep(0.003)
        self.close()

    def close(self):
        pass

    def stop(self):
        self.is_over = True
        self.join(10)


class Udp(Client):
    def exchange(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.settimeout(TRY_S)
            try:
                s.connect(self.server)
                s.send(self.query)
                return s.recv(4096)[:2] == self.query[:2]
            except OSError:
                return False


class Stream(Client):
    sock = context = None

    def connect(self):
        sock = socket.create_connection(self.server, TRY_S)
        sock.settimeout(TRY_S)
        return self.context.wrap_socket(sock) if self.context else sock

    def exchange(self):
        begun = False
        try:
            if not self.sock:
                self.sock = self.connect()
            self.sock.sendall(struct.pack('!H', len(self.query)) + self.query)
            head = self.sock.recv(2)
            begun = bool(head)
            want = struct.unpack('!H', head)[0]
            while want > 0:
                want -= len(self.sock.recv(want)) or 1 << 20
            if want == 0:
                return True
        except (OSError, struct.error):
            pass
        self.cut += begun  # an answer that ends in the middle
        self.close()
        return False

    def close(self):
        if self.sock:
            self.sock.close()
        self.sock = None


class Tls(Stream):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE


def test_instances_are_replaced_under_load(kresd, world_config, world):
    config = world_config + '''
cache.open(20*MB, 'lmdb://{folder}/../shared')
net.listen('{address}', 853, { kind = 'tls' })
'''
    name = f'www.{world.plan.well[0].name}'
    first = kresd(config).start()
    instances = [first, kresd(config, address=first.address).start()]
    ask.answer(first.server, name)
    query = ask.make(name).to_wire()
    clients = [cls((first.address, port), query) for cls, port in ((Udp, 53), (Stream, 53), (Tls, 853)) for _ in range(3)]
    for client in clients:
        client.start()
    try:
        for _ in range(ROUNDS):
            fresh = kresd(config, address=first.address)
            fresh.spawn()
            path = fresh.folder / 'control' / str(fresh.process.pid)
            end = time.monotonic() + 20
            while not path.exists() and time.monotonic() < end:
                time.sleep(0.05)
            time.sleep(0.5)
            instances.append(fresh)
            assert instances.pop(0).stop() == 0
    finally:
        for client in clients:
            client.stop()
    for client in clients:
        assert client.asked > 50 and client.lost == client.cut == 0, vars(client)
    udp = [client for client in clients if isinstance(client, Udp)]
    assert sum(client.again for client in udp) <= 1 + sum(client.asked for client in udp) // 1000


def test_streams_are_closed_after_their_answers(kresd, world_config):
    query = ask.make('www.slow-odd.alpha.').to_wire()
    for cls, port in (Stream, 53), (Tls, 853):
        one = kresd(world_config + "net.listen('{address}', 853, { kind = 'tls' })").start()
        client = cls((one.address, port), query)
        client.sock = client.connect()
        client.sock.settimeout(10)
        stopper = threading.Timer(0.3, one.stop)
        stopper.start()
        assert client.exchange()
        assert client.sock.recv(1) == b''
        client.close()
        stopper.join()
