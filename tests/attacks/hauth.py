# SPDX-License-Identifier: GPL-3.0-or-later
"""Every name server of the rig in one process: the root, `atk.`, and a zone of its own for each question.

`N-KIND.atk.` is delegated for every number and every kind of gallery.py, so that no two questions share anything that
could be cached but the way down to atk. Addresses: the root, atk., everything below.
"""
import base64
import multiprocessing
import selectors
import socket
import subprocess

from wire import (A, DNSKEY, DS, NOERROR, NS, NSEC, NXDOMAIN, RRSIG, SOA, Key, bitmap, message, name, question_of, rr, rrs,
                  signed, truncated)

ROOT, ATK, BELOW = '192.0.2.1', '192.0.2.2', '192.0.2.3'
UDP_MAX = 1232
ATK_NAME = name('atk.')


def soa(apex):
    return b'\2ns' + apex + b'\4host' + apex + b'\0\0\0\1' + b'\0\0\x0e\x10' * 3 + b'\0\0\1\x2c'


def denial(key, signer, owner, types):
    """There is nothing else at a name."""
    return signed(key, signer, owner, NSEC, [b'\1\0' + owner + bitmap(*types, RRSIG, NSEC)])


class Hauth:
    def __init__(self, gallery):
        self.gallery = gallery
        self.key = Key('p256')
        self.queries = multiprocessing.Value('L', 0)
        self._process, self._kept = None, {}

    def trust_anchor(self):
        return '. DNSKEY 257 3 13 ' + base64.b64encode(self.key.rdata[4:]).decode()

    # -- the honest part --

    def _apex(self, query, apex, qname, qtype):
        """Answers about the root and atk. themselves."""
        key = self.key
        records = {DNSKEY: [key.rdata], SOA: [soa(apex)], NS: [b'\2ns' + apex]}
        if qname == apex and qtype in records:
            return message(query, NOERROR, signed(key, apex, apex, qtype, records[qtype]))
        if qname == b'\2ns' + apex and qtype == A:
            return message(query, NOERROR, signed(key, apex, qname, A, [socket.inet_aton(ROOT if apex == b'\0' else ATK)]))
        proof = denial(key, apex, qname, [A] if qname != apex else [NS, SOA, DNSKEY])
        return message(query, NOERROR, [], signed(key, apex, apex, SOA, [soa(apex)]) + proof)

    def _referral(self, query, parent, child, address, ds):
        key = self.key
        proof = signed(key, parent, child, DS, ds) if ds else denial(key, parent, child, [NS])
        server = b'\2ns' + child
        return message(query, NOERROR, [], [rr(child, NS, server)] + proof, [rr(server, A, socket.inet_aton(address))], aa=False)

    def _ds(self, query, parent, child, ds):
        if ds:
            return message(query, NOERROR, signed(self.key, parent, child, DS, ds))
        return message(query, NOERROR, [], signed(self.key, parent, parent, SOA, [soa(parent)])
                       + denial(self.key, parent, child, [NS]))

    def _at_root(self, query, qname, qtype):
        if qname == b'\0' or not qname.endswith(ATK_NAME):
            return self._apex(query, b'\0', qname, qtype)
        ds = [self.key.ds(ATK_NAME)]
        if qname == ATK_NAME and qtype == DS:
            return self._ds(query, b'\0', ATK_NAME, ds)
        return self._referral(query, b'\0', ATK_NAME, ATK, ds)

    def _zone_of(self, qname):
        """(apex, kind) of the zone below atk. that a name is in."""
        at, starts = 0, []
        while qname[at]:
            starts.append(at)
            at += 1 + qname[at]
        if len(starts) < 2:
            return None, None
        apex = qname[starts[-2]:]
        kind = apex[1:1 + apex[0]].decode('latin').partition('-')[2]
        return apex, self.gallery.get(kind)

    def _at_atk(self, query, qname, qtype):
        apex, kind = self._zone_of(qname)
        if kind is None:
            return self._apex(query, ATK_NAME, qname, qtype)
        if qname == apex and qtype == DS:
            return self._ds(query, ATK_NAME, apex, kind.ds(apex))
        return self._referral(query, ATK_NAME, apex, BELOW, kind.ds(apex))

    def _below(self, query, qname, qtype):
        apex, kind = self._zone_of(qname)
        if kind is None:
            return message(query, NXDOMAIN)
        whole = kind.reply(query)
        if whole:
            return whole
        server = b'\2ns' + apex
        if qname == apex and qtype == DNSKEY:
            return message(query, NOERROR, kind.dnskey(apex))
        if qname == server:
            return message(query, NOERROR, rrs(qname, A, [socket.inet_aton(BELOW)]) if qtype == A else [])
        rcode, answer, authority = kind.answer(apex, qname, qtype)
        return message(query, rcode, answer, authority)

    def reply(self, query, address):
        qname, qtype, size = question_of(query)
        known = (address, qname, qtype, query[11])  # with EDNS or without
        if known not in self._kept:  # asked again over TCP
            react = {ROOT: self._at_root, ATK: self._at_atk, BELOW: self._below}[address]
            self._kept = {known: react(query, qname, qtype)}
        kept = self._kept[known]
        return query[:2] + kept[2:12] + query[12:12 + len(qname)] + kept[12 + len(qname):], size

    # -- sockets --

    def _serve(self, ready):
        selector = selectors.DefaultSelector()
        for address in (ROOT, ATK, BELOW):
            udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
            udp.bind((address, 53))
            selector.register(udp, selectors.EVENT_READ, (self._datagram, address))
            selector.register(socket.create_server((address, 53), backlog=100), selectors.EVENT_READ, (self._accept, address))
        self._selector = selector
        ready.send(True)
        while True:
            for key, _ in selector.select():
                handle, address = key.data
                try:
                    handle(key.fileobj, address)
                except OSError:
                    pass

    def _datagram(self, sock, address):
        query, peer = sock.recvfrom(65535)
        self.queries.value += 1
        reply, size = self.reply(query, address)
        sock.sendto(reply if len(reply) <= min(size, UDP_MAX) else truncated(reply, query), peer)

    def _accept(self, sock, address):
        stream, _ = sock.accept()
        stream.settimeout(5)
        buffer = bytearray()
        self._selector.register(stream, selectors.EVENT_READ, (lambda s, a: self._stream(s, a, buffer), address))

    def _stream(self, sock, address, buffer):
        try:
            got = sock.recv(65535)
        except OSError:
            got = b''
        buffer += got
        while len(buffer) >= 2 and len(buffer) >= 2 + int.from_bytes(buffer[:2], 'big'):
            end = 2 + int.from_bytes(buffer[:2], 'big')
            query = bytes(buffer[2:end])
            del buffer[:end]
            self.queries.value += 1
            reply, _ = self.reply(query, address)
            assert len(reply) < 65536, 'a reply does not fit'
            try:
                sock.sendall(len(reply).to_bytes(2, 'big') + reply)
            except OSError:
                got = b''
        if not got:
            self._selector.unregister(sock)
            sock.close()

    def __enter__(self):
        lines = ['link set lo up'] + [f'address add {a}/32 dev lo' for a in (ROOT, ATK, BELOW)]
        subprocess.run(['ip', '-force', '-batch', '-'], input='\n'.join(lines), text=True, check=False, stderr=subprocess.DEVNULL)
        ours, theirs = multiprocessing.Pipe()
        self._process = multiprocessing.get_context('fork').Process(target=self._serve, args=(theirs,), daemon=True)
        self._process.start()
        if not ours.poll(20):
            raise RuntimeError('the name servers do not start')
        return self

    def __exit__(self, *_):
        self._process.terminate()
        self._process.join()
