# SPDX-License-Identifier: GPL-3.0-or-later
"""DNSSEC keys that follow from a seed, so that a world can be built again. Predictable, hence good for tests only."""
import random
import struct

import dns.dnssec
import dns.name
import dns.rdata
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

RSASHA256, ECDSAP256 = 8, 13
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
SMALL_PRIMES = [p for p in range(3, 2000, 2) if all(p % q for q in range(3, int(p ** 0.5) + 1, 2))]


def _prime(rng, bits):
    """A probable prime; three rounds of Miller-Rabin are plenty at this size."""
    while True:
        n = rng.getrandbits(bits) | 3 << bits - 2 | 1
        if n % 65537 == 1 or any(n % p == 0 for p in SMALL_PRIMES):
            continue
        odd, twos = n - 1, 0
        while odd % 2 == 0:
            odd, twos = odd // 2, twos + 1
        if all(_passes(n, odd, twos, base) for base in (2, 3, 5)):
            return n


def _passes(n, odd, twos, base):
    x = pow(base, odd, n)
    if x in (1, n - 1):
        return True
    for _ in range(twos - 1):
        x = x * x % n
        if x == n - 1:
            return True
    return False


def _rsa_private(rng):
    p, q, e = _prime(rng, 1024), _prime(rng, 1024), 65537
    d = pow(e, -1, (p - 1) * (q - 1))
    numbers = rsa.RSAPrivateNumbers(p, q, d, rsa.rsa_crt_dmp1(d, p), rsa.rsa_crt_dmq1(d, q), rsa.rsa_crt_iqmp(p, q),
                                    rsa.RSAPublicNumbers(e, p * q))
    return numbers.private_key()


class Key:
    """One key pair. The same pair may serve many zones."""

    def __init__(self, algorithm, seed, flags=257):
        self.algorithm, self.flags = algorithm, flags
        rng = random.Random(f'{algorithm}:{seed}')
        if algorithm == ECDSAP256:
            self.private = ec.derive_private_key(rng.randrange(1, P256_ORDER), ec.SECP256R1())
            point = self.private.public_key().public_numbers()
            public = point.x.to_bytes(32, 'big') + point.y.to_bytes(32, 'big')
        else:
            self.private = _rsa_private(rng)
            public = b'\3\1\0\1' + self.private.public_key().public_numbers().n.to_bytes(256, 'big')
        wire = struct.pack('!HBB', flags, 3, algorithm) + public
        self.rdata = dns.rdata.from_wire('IN', 'DNSKEY', wire, 0, len(wire))
        self.tag = dns.dnssec.key_id(self.rdata)

    def ds(self, zone):
        return dns.dnssec.make_ds(dns.name.from_text(zone), self.rdata, 'SHA256').to_text()

    def sign(self, data):
        """The signature field of an RRSIG."""
        if self.algorithm == RSASHA256:
            return self.private.sign(data, padding.PKCS1v15(), hashes.SHA256())
        r, s = decode_dss_signature(self.private.sign(data, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, 'big') + s.to_bytes(32, 'big')
