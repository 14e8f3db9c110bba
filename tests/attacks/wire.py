# SPDX-License-Identifier: GPL-3.0-or-later
"""DNS on the wire, written by hand: an attacker's zone has what no library would write, and it has to be quick."""
import base64
import hashlib
import os
import random
import struct
import time

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa, utils

A, NS, CNAME, SOA, PTR, MX, TXT, AAAA, OPT = 1, 2, 5, 6, 12, 15, 16, 28, 41
DS, RRSIG, NSEC, DNSKEY, NSEC3, NSEC3PARAM, ANY = 43, 46, 47, 48, 50, 51, 255
NOERROR, SERVFAIL, NXDOMAIN = 0, 2, 3
TTL = 300
ALGORITHMS = {'rsa2048': 8, 'rsa4096': 8, 'p256': 13, 'p384': 14, 'ed25519': 15, 'ed448': 16}


def name(text):
    """A name as it is written on the wire; escapes are not known."""
    labels = [label.encode() for label in text.rstrip('.').split('.') if label]
    return b''.join(bytes([len(label)]) + label for label in labels) + b'\0'


def labels_of(wire):
    """Number of labels, the root and a leading asterisk not counted."""
    count, at = 0, 0
    while wire[at]:
        count += not (at == 0 and wire[:2] == b'\1*')
        at += 1 + wire[at]
    return count


def rr(owner, rtype, rdata, ttl=TTL):
    return owner + struct.pack('!HHIH', rtype, 1, ttl, len(rdata)) + rdata


def rrs(owner, rtype, rdatas):
    return [rr(owner, rtype, rdata) for rdata in rdatas]


def bitmap(*types):
    """Types of an NSEC, all below 256."""
    octets = bytearray(32)
    for rtype in types:
        octets[rtype >> 3] |= 0x80 >> (rtype & 7)
    cut = bytes(octets).rstrip(b'\0')
    return bytes([0, len(cut)]) + cut


def base32hex(data):
    table = bytes.maketrans(b'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567', b'0123456789ABCDEFGHIJKLMNOPQRSTUV')
    return base64.b32encode(data).translate(table).lower()


def address(number):
    return bytes([10, number >> 16 & 255, number >> 8 & 255, number & 255])


def key_tag(rdata):
    total = sum(octet << 8 * (1 - i % 2) for i, octet in enumerate(rdata))
    return total + (total >> 16) & 0xffff


class Key:
    """One key pair; `kind` is a word of ALGORITHMS."""

    def __init__(self, kind, flags=257):
        self.kind, self.algorithm = kind, ALGORITHMS[kind]
        make = {'rsa2048': lambda: rsa.generate_private_key(65537, 2048),
                'rsa4096': lambda: rsa.generate_private_key(65537, 4096),
                'p256': lambda: ec.generate_private_key(ec.SECP256R1()),
                'p384': lambda: ec.generate_private_key(ec.SECP384R1()),
                'ed25519': ed25519.Ed25519PrivateKey.generate, 'ed448': ed448.Ed448PrivateKey.generate}
        self.private = make[kind]()
        self.rdata = struct.pack('!HBB', flags, 3, self.algorithm) + self._public()
        self.tag = key_tag(self.rdata)

    def _public(self):
        public = self.private.public_key()
        if self.kind.startswith('rsa'):
            numbers = public.public_numbers()
            return b'\3\1\0\1' + numbers.n.to_bytes(public.key_size // 8, 'big')
        if self.kind.startswith('p'):
            numbers, size = public.public_numbers(), public.key_size // 8
            return numbers.x.to_bytes(size, 'big') + numbers.y.to_bytes(size, 'big')
        return public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)

    def sign(self, data):
        if self.kind.startswith('rsa'):
            return self.private.sign(data, padding.PKCS1v15(), hashes.SHA256())
        if self.kind.startswith('p'):
            digest = hashes.SHA256() if self.kind == 'p256' else hashes.SHA384()
            size = self.private.key_size // 8
            r, s = utils.decode_dss_signature(self.private.sign(data, ec.ECDSA(digest)))
            return r.to_bytes(size, 'big') + s.to_bytes(size, 'big')
        return self.private.sign(data)

    def noise(self):
        """Something as long as a signature."""
        return os.urandom({'rsa2048': 256, 'rsa4096': 512, 'p256': 64, 'p384': 96, 'ed25519': 64, 'ed448': 114}[self.kind])

    def ds(self, apex, digest=None):
        return struct.pack('!HBB', self.tag, self.algorithm, 2) + (digest or hashlib.sha256(apex + self.rdata).digest())

    def twins(self, count, seed=1):
        """Rdata of other keys with the same tag. RSA and Edwards keys look real; points are not on the curve."""
        rnd, head, made = random.Random(seed), self.rdata[:4], []
        fixed = 4 if self.kind.startswith('rsa') else 0  # the exponent
        while len(made) < count:
            body = bytearray(self.rdata[4:4 + fixed] + rnd.randbytes(len(self.rdata) - 4 - fixed))
            if fixed:
                body[fixed] |= 0x80
                body[-1] |= 1
            body[fixed + 2:fixed + 4] = b'\0\0'
            total = sum(octet << 8 * (1 - i % 2) for i, octet in enumerate(head + body))
            word = (self.tag - total) % 65535
            body[fixed + 2:fixed + 4] = struct.pack('!H', word)
            if key_tag(head + body) == self.tag:
                made.append(bytes(head + body))
        return made


def rrsig(key, signer, owner, rtype, rdatas, labels=None, signature=None, salt=0):
    """RRSIG rdata over a set; with `signature` given that is taken instead of a good one."""
    now = int(time.time())
    head = struct.pack('!HBBIIIH', rtype, key.algorithm, labels_of(owner) if labels is None else labels, TTL,
                       now + 86400 + salt, now - 86400, key.tag) + signer
    if signature is not None:
        return head + signature
    data = head + b''.join(rr(owner, rtype, rdata) for rdata in sorted(rdatas))
    return head + key.sign(data)


def signed(key, signer, owner, rtype, rdatas):
    """The records of a set and a good signature."""
    return rrs(owner, rtype, rdatas) + [rr(owner, RRSIG, rrsig(key, signer, owner, rtype, rdatas))]


def message(query, rcode, answer=(), authority=(), additional=(), aa=True):
    """The reply to a query (bytes), nothing compressed."""
    end = 12
    while query[end]:
        end += 1 + query[end]
    question = query[12:end + 5]
    flags = 0x8000 | (0x0400 if aa else 0) | rcode
    head = query[:2] + struct.pack('!HHHHH', flags, 1, len(answer), len(authority), len(additional) + 1)
    return head + question + b''.join([*answer, *authority, *additional]) + b'\0' + struct.pack('!HHIH', OPT, 4096, 0x8000, 0)


def truncated(reply, query):
    end = 12
    while query[end]:
        end += 1 + query[end]
    flags = struct.unpack('!H', reply[2:4])[0] | 0x0200
    return query[:2] + struct.pack('!HHHHH', flags, 1, 0, 0, 0) + query[12:end + 5]


def question_of(query):
    """Lower-case name (wire), type, and the largest UDP answer."""
    end = 12
    while query[end]:
        end += 1 + query[end]
    rtype, = struct.unpack('!H', query[end + 1:end + 3])
    size = 512
    if query[11] and len(query) > end + 5 + 11:  # OPT is the only additional record of a query
        size = struct.unpack('!H', query[end + 5 + 3:end + 5 + 5])[0]
    return query[12:end + 1].lower(), rtype, size
