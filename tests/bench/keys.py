# SPDX-License-Identifier: GPL-3.0-or-later
"""Deterministic DNSSEC keys: the same seed gives the same key, so a world can be rebuilt bit for bit.

Good for benchmarks only: the private keys are predictable by design.  Keys are written in the
private-key file format that ldns-signzone reads.
"""
import base64
import hashlib
import random

ECDSA, RSA = 13, 8  # DNSSEC algorithm numbers

# NIST P-256: y^2 = x^3 - 3x + b over the field of P, base point G of order N.
P = 0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF
N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
G = (0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
     0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5)


def _point_add(a, b):
    if a is None or b is None:
        return a or b
    if a[0] == b[0]:
        if (a[1] + b[1]) % P == 0:
            return None
        slope = (3 * a[0] * a[0] - 3) * pow(2 * a[1], -1, P) % P
    else:
        slope = (b[1] - a[1]) * pow(b[0] - a[0], -1, P) % P
    x = (slope * slope - a[0] - b[0]) % P
    return x, (slope * (a[0] - x) - a[1]) % P


def _point_mul(k, point):
    total = None
    while k:
        if k & 1:
            total = _point_add(total, point)
        point = _point_add(point, point)
        k >>= 1
    return total


def _is_prime(n, rng):
    if any(n % p == 0 for p in (3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47)):
        return False
    odd, twos = n - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    for _ in range(12):  # Miller-Rabin
        x = pow(rng.randrange(2, n - 1), odd, n)
        if x in (1, n - 1):
            continue
        for _ in range(twos - 1):
            x = x * x % n
            if x == n - 1:
                break
        else:
            return False
    return True


def _prime(bits, rng):
    while True:
        n = rng.getrandbits(bits) | (3 << (bits - 2)) | 1
        if n % 65537 != 1 and _is_prime(n, rng):
            return n


def _b64(n, length=None):
    return base64.b64encode(n.to_bytes(length or (n.bit_length() + 7) // 8, 'big')).decode()


class Key:
    """One key pair, usable for any number of zones (each gets its own file and DS)."""

    def __init__(self, alg, seed, flags=257):
        self.alg, self.flags = alg, flags
        rng = random.Random(f'{alg}:{seed}')
        if alg == ECDSA:
            secret = rng.randrange(1, N)
            x, y = _point_mul(secret, G)
            self.public = x.to_bytes(32, 'big') + y.to_bytes(32, 'big')
            self.private = f'Algorithm: 13 (ECDSAP256SHA256)\nPrivateKey: {_b64(secret, 32)}\n'
        else:
            p, q, e = _prime(1024, rng), _prime(1024, rng), 65537
            d = pow(e, -1, (p - 1) * (q - 1))
            self.public = b'\x03\x01\x00\x01' + (p * q).to_bytes(256, 'big')
            fields = (('Modulus', p * q), ('PublicExponent', e), ('PrivateExponent', d), ('Prime1', p), ('Prime2', q),
                      ('Exponent1', d % (p - 1)), ('Exponent2', d % (q - 1)), ('Coefficient', pow(q, -1, p)))
            self.private = 'Algorithm: 8 (RSASHA256)\n' + ''.join(f'{k}: {_b64(v)}\n' for k, v in fields)
        self.rdata = flags.to_bytes(2, 'big') + b'\x03' + bytes([alg]) + self.public
        tag = sum(b << 8 if i % 2 == 0 else b for i, b in enumerate(self.rdata))
        self.tag = (tag + (tag >> 16)) & 0xFFFF

    def dnskey(self, zone):
        return f'{zone} 3600 IN DNSKEY {self.flags} 3 {self.alg} {base64.b64encode(self.public).decode()}'

    def ds(self, zone):
        owner = b''.join(bytes([len(x)]) + x.encode() for x in zone.rstrip('.').split('.') if x) + b'\0'
        return f'{self.tag} {self.alg} 2 {hashlib.sha256(owner + self.rdata).hexdigest()}'

    def write(self, folder, zone):
        """Write the pair as K* files; return the base name that ldns-signzone wants."""
        base = folder / f'K{zone}+{self.alg:03}+{self.tag:05}'
        base.with_name(base.name + '.key').write_text(self.dnskey(zone) + '\n')
        base.with_name(base.name + '.private').write_text('Private-key-format: v1.2\n' + self.private)
        return base
