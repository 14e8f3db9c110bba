#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Name servers with bad manners. Each address has one behaviour; most pass questions on to an honest server.

usage: rogue.py FILE, a JSON list of {address, behaviour, to, ms}; prints `ready` when all sockets are open.
"""
import heapq
import itertools
import json
import selectors
import socket
import sys
import time

import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rrset

FORWARD_TIMEOUT = 1


def forward(query, to):
    """Ask the honest server over UDP, or over TCP when the answer is long."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(FORWARD_TIMEOUT)
        s.connect((to, 53))
        s.send(query)
        return s.recv(65535)


def forward_tcp(query, to):
    with socket.create_connection((to, 53), FORWARD_TIMEOUT) as s:
        s.sendall(len(query).to_bytes(2, 'big') + query)
        stream = s.makefile('rb')
        return stream.read(int.from_bytes(stream.read(2), 'big'))


class Server:
    def __init__(self, setting):
        self.to, self.delay, self.seen = setting['to'], setting['ms'] / 1000, set()
        self.react = getattr(self, setting['behaviour'].replace('-', '_'))

    def honest(self, wire, is_tcp):
        return (forward_tcp if is_tcp else forward)(wire, self.to)

    @staticmethod
    def _plain(wire, rcode, section=()):
        reply = dns.message.make_response(dns.message.from_wire(wire))
        reply.set_rcode(rcode)
        reply.authority.extend(section)
        return reply.to_wire()

    # Behaviours: return a list of (seconds to wait, reply); an empty reply closes a TCP connection.

    def slow(self, wire, is_tcp):
        return [(self.delay, self.honest(wire, is_tcp))]

    def silent(self, wire, is_tcp):
        return []

    def refused(self, wire, is_tcp):
        return [(0, self._plain(wire, dns.rcode.REFUSED))]

    def servfail(self, wire, is_tcp):
        return [(0, self._plain(wire, dns.rcode.SERVFAIL))]

    def upward(self, wire, is_tcp):
        """Refers back to the root, as servers did that were never told about the zone."""
        return [(0, self._plain(wire, dns.rcode.NOERROR, [dns.rrset.from_text('.', 3600, 'IN', 'NS', 'a.root-servers.alpha.')]))]

    def truncate(self, wire, is_tcp):
        if is_tcp:
            return [(0, self.honest(wire, True))]
        reply = dns.message.make_response(dns.message.from_wire(wire))
        reply.flags |= dns.flags.TC
        return [(0, reply.to_wire())]

    def truncate_only(self, wire, is_tcp):
        return [(0, b'')] if is_tcp else self.truncate(wire, False)

    def noedns(self, wire, is_tcp):
        query = dns.message.from_wire(wire)
        if query.edns >= 0:
            reply = dns.message.make_response(query)
            reply.use_edns(False)
            reply.set_rcode(dns.rcode.FORMERR)
            return [(0, reply.to_wire())]
        return [(0, self.honest(wire, is_tcp))]

    def wrongid(self, wire, is_tcp):
        """A forgery that fails to guess the id comes first."""
        reply = self.honest(wire, is_tcp)
        forged = (int.from_bytes(reply[:2], 'big') ^ 0x5aa5).to_bytes(2, 'big') + reply[2:]
        return [(0, reply)] if is_tcp else [(0, forged), (0.02, reply)]

    def lossy(self, wire, is_tcp):
        """The first question with some name and type is lost."""
        question = wire[12:].lower()
        if is_tcp or question in self.seen:
            return [(0, self.honest(wire, is_tcp))]
        self.seen.add(question)
        return []

    def lowercase(self, wire, is_tcp):
        """Forgets how the question was spelt; over TCP it does not."""
        reply = self.honest(wire, is_tcp)
        if is_tcp:
            return [(0, reply)]
        end = 12
        while reply[end]:
            end += 1 + reply[end]
        return [(0, reply[:12] + reply[12:end].lower() + reply[end:])]

    def garbage(self, wire, is_tcp):
        return [(0, wire[:2] + bytes(range(7, 90)))]


class Loop:
    """UDP and TCP sockets of all servers, and replies that wait for their time."""

    def __init__(self, settings):
        self.selector, self.later, self.turn = selectors.DefaultSelector(), [], itertools.count()
        for setting in settings:
            server = Server(setting)
            udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            udp.bind((setting['address'], 53))
            self.selector.register(udp, selectors.EVENT_READ, (self.datagram, server))
            tcp = socket.create_server((setting['address'], 53), backlog=50)
            self.selector.register(tcp, selectors.EVENT_READ, (self.accept, server))

    def _react(self, server, wire, is_tcp, send):
        try:
            replies = server.react(wire, is_tcp)
        except (OSError, dns.exception.DNSException):
            return
        for wait, reply in replies:
            if wait:
                heapq.heappush(self.later, (time.monotonic() + wait, next(self.turn), send, reply))
            else:
                send(reply)

    def datagram(self, sock, server):
        wire, peer = sock.recvfrom(65535)
        self._react(server, wire, False, lambda reply: sock.sendto(reply, peer))

    def accept(self, sock, server):
        stream, _ = sock.accept()
        buffer = bytearray()
        self.selector.register(stream, selectors.EVENT_READ, (lambda s, srv: self.stream(s, srv, buffer), server))

    def close(self, sock):
        if sock.fileno() >= 0:
            self.selector.unregister(sock)
            sock.close()

    def stream(self, sock, server, buffer):
        try:
            got = sock.recv(65535)
        except OSError:
            got = b''
        if not got:
            return self.close(sock)
        buffer += got

        def send(reply):
            if not reply:
                return self.close(sock)
            try:
                sock.sendall(len(reply).to_bytes(2, 'big') + reply)
            except OSError:
                self.close(sock)
        while len(buffer) >= 2 and len(buffer) >= 2 + int.from_bytes(buffer[:2], 'big'):
            end = 2 + int.from_bytes(buffer[:2], 'big')
            wire = bytes(buffer[2:end])
            del buffer[:end]
            self._react(server, wire, True, send)

    def run(self):
        while True:
            wait = max(0, self.later[0][0] - time.monotonic()) if self.later else None
            for key, _ in self.selector.select(wait):
                handle, server = key.data
                try:
                    handle(key.fileobj, server)
                except OSError:
                    pass  # a peer went away
            while self.later and self.later[0][0] <= time.monotonic():
                _, _, send, reply = heapq.heappop(self.later)
                try:
                    send(reply)
                except OSError:
                    pass


def main():
    with open(sys.argv[1]) as f:
        loop = Loop(json.load(f))
    print('ready', flush=True)
    loop.run()


if __name__ == '__main__':
    main()
