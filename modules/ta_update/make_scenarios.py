#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write scenarios/*.rpl: the life of root keys (RFC 5011) as a resolver on a virtual clock sees it.

Needs python3-dnspython and python3-cryptography. Keys are always the same; signatures are not.
"""
import pathlib

import dns.dnssec
import dns.name
import dns.rdata
import dns.rdatatype
import dns.rrset
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

START = 1750000000
DAY = 86400
TTL = 172800  # asked again every day
REVOKE = 0x80
HERE = pathlib.Path(__file__).parent / 'scenarios'


class Key:
    """One key signing key of the root."""

    def __init__(self, number):
        self.private = ec.derive_private_key(number * 7919 + 12345, ec.SECP256R1())

    def rdata(self, revoked=False):
        numbers = self.private.public_key().public_numbers()
        flags = 257 | (REVOKE if revoked else 0)
        wire = bytes([flags >> 8, flags & 255, 3, 13]) + numbers.x.to_bytes(32, 'big') + numbers.y.to_bytes(32, 'big')
        return dns.rdata.from_wire('IN', 'DNSKEY', wire, 0, len(wire))

    def tag(self, revoked=False):
        return dns.dnssec.key_id(self.rdata(revoked))

    def sign(self, rrset, revoked=False):
        fixed = (dns.rdatatype.DNSKEY.to_bytes(2, 'big') + bytes([13, 0]) + TTL.to_bytes(4, 'big')
                 + (START + 400 * DAY).to_bytes(4, 'big') + (START - DAY).to_bytes(4, 'big')
                 + self.tag(revoked).to_bytes(2, 'big') + b'\0')
        data = fixed
        for wire in sorted(rd.to_digestable() for rd in rrset):
            data += b'\0' + b'\0\x30\0\1' + TTL.to_bytes(4, 'big') + len(wire).to_bytes(2, 'big') + wire
        r, s = utils.decode_dss_signature(self.private.sign(data, ec.ECDSA(hashes.SHA256())))
        wire = fixed + r.to_bytes(32, 'big') + s.to_bytes(32, 'big')
        return dns.rdata.from_wire('IN', 'RRSIG', wire, 0, len(wire))


ONE, TWO, THREE, STRANGER = (Key(number) for number in (1, 2, 3, 99))

# What a client sees of the keys: those in memory, then those in the file. Hash and semicolon begin comments there.
STATE = (
    "policy.add(policy.suffix(function (_, req) "
    "local mem, file = {}, {} "
    "for _, key in ipairs((trust_anchors.keysets['\\0'] or {})) do table.insert(mem, key.key_tag .. ' ' .. key.state) end "
    "for line in io.lines(KEY_FILE) do "
    "table.insert(file, (line:match('KeyTag:(%d+)') or '?') .. ' ' .. (line:match('(%a+):%d* %p KeyTag') or 'new')) end "
    "table.sort(mem) table.sort(file) "
    "local text = table.concat(mem, ', ') .. ' / ' .. table.concat(file, ', ') "
    "return policy.ANSWER({[kres.type.TXT] = {rdata = string.char(text:len()) .. text}})(nil, req) end, "
    "{todname('state.example')}))")


def ds_line(key):
    return '. 172800 IN DS ' + dns.dnssec.make_ds(dns.name.root, key.rdata(), 'SHA256').to_text()


def key_line(key):
    return '. 172800 IN DNSKEY ' + key.rdata().to_text()


def config(trusted, unmanaged=False, extra=''):
    """A resolver that follows the keys of a file of its own."""
    text = '\\n'.join(trusted) + '\\n'
    return '\n'.join([
        f'\tval-override-timestamp: "{START}"', '\tstub-addr: 193.0.14.129', '\tquery-minimization: off',
        '\tfeature-list: policy=KEY_FILE = os.tmpname()',
        f"\tfeature-list: policy=local f = io.open(KEY_FILE, 'w') f:write('{text}') f:close()",
        "\tfeature-list: policy=modules.load('ta_update')" + (' ' + extra if extra else ''),
        f"\tfeature-list: policy=trust_anchors.add_file(KEY_FILE, {'true' if unmanaged else 'false'})",
        f'\tfeature-list: policy={STATE}', 'CONFIG_END'])


class Scenario:
    def __init__(self, name, title, about, trusted, **options):
        self.name, self.title, self.about = name, title, about
        self.config = config(trusted, **options)
        self.ranges, self.steps, self.step, self.first = [], [], 0, 0

    def publish(self, keys, signers=None):
        """From now on the root has these keys; a key is (Key, revoked) or Key."""
        self.close_range()
        pairs = [key if isinstance(key, tuple) else (key, False) for key in keys]
        signing = pairs if signers is None else [key if isinstance(key, tuple) else (key, False) for key in signers]
        rrset = dns.rrset.from_rdata_list(dns.name.root, TTL, [key.rdata(revoked) for key, revoked in pairs])
        lines = [f'. {TTL} IN DNSKEY {rd.to_text()}' for rd in rrset]
        lines += [f'. {TTL} IN RRSIG {key.sign(rrset, revoked).to_text()}' for key, revoked in signing]
        self.records, self.first = lines, self.step + 1
        self.rcode = 'NOERROR'
        return self

    def fail(self):
        """From now on there are errors only."""
        self.close_range()
        self.records, self.first, self.rcode = [], self.step + 1, 'SERVFAIL'
        return self

    def close_range(self):
        if self.step == 0:
            return
        self.ranges.append((self.first, self.step, self.rcode, self.records))

    def after(self, days):
        self.step += 1
        self.steps.append(f'STEP {self.step} TIME_PASSES ELAPSE {int(days * DAY)}')
        return self

    def expect(self, memory, file=None):
        """Keys and states; the file has the same ones unless told otherwise."""
        text = ' / '.join(', '.join(sorted(part)) for part in (memory, memory if file is None else file))
        entry = ['ENTRY_BEGIN', 'REPLY RD', 'SECTION QUESTION', 'state.example. IN TXT', 'ENTRY_END']
        answer = ['ENTRY_BEGIN', 'MATCH rcode answer', 'REPLY QR AA RD RA NOERROR', 'SECTION QUESTION',
                  'state.example. IN TXT', 'SECTION ANSWER', f'state.example. 1 IN TXT "{text}"', 'ENTRY_END']
        self.steps.append('\n'.join([f'STEP {self.step + 1} QUERY'] + entry))
        self.steps.append('\n'.join([f'STEP {self.step + 2} CHECK_ANSWER'] + answer))
        self.step += 2
        return self

    def write(self):
        self.close_range()
        out = ['; SPDX-License-Identifier: GPL-3.0-or-later', '; Written by make_scenarios.py.']
        out += ['; ' + line for line in self.about] + [self.config, f'SCENARIO_BEGIN {self.title}']
        for first, last, rcode, records in self.ranges:
            out += [f'RANGE_BEGIN {first} {last}', '\tADDRESS 193.0.14.129', 'ENTRY_BEGIN', 'MATCH opcode qtype qname',
                    'ADJUST copy_id', f'REPLY QR AA {rcode}', 'SECTION QUESTION', '. IN DNSKEY']
            out += ['SECTION ANSWER'] + records if records else []
            out += ['ENTRY_END', 'RANGE_END']
        out += self.steps + ['SCENARIO_END', '']
        (HERE / (self.name + '.rpl')).write_text('\n'.join(out))


def state(key, word, revoked=False):
    return f'{key.tag(revoked)} {word}'


VALID1, VALID2, PENDING2 = state(ONE, 'Valid'), state(TWO, 'Valid'), state(TWO, 'AddPend')
ONLY_ONE, BOTH = [key_line(ONE)], [key_line(ONE), key_line(TWO)]


def main():
    HERE.mkdir(exist_ok=True)

    Scenario('new_key', 'A new key is trusted after the hold-down time',
             ['RFC 5011 section 2.4.1: thirty days, seen all the time.'], ONLY_ONE
             ).publish([ONE]).after(1.5).expect([VALID1]).publish([ONE, TWO]).after(1).expect([VALID1, PENDING2]
             ).after(28).expect([VALID1, PENDING2]).after(2).expect([VALID1, VALID2]).write()

    Scenario('start_with_ds', 'A DS stands for its key',
             ['The anchor of the file is a DS; the key takes its place when it is seen.'], [ds_line(ONE)]
             ).publish([ONE]).after(0.1).expect([VALID1]).publish([ONE, TWO]).after(1).expect([VALID1, PENDING2]).write()

    Scenario('hold_down_reset', 'A key that goes away before it was trusted starts anew',
             ['RFC 5011 section 2.2.'], ONLY_ONE
             ).publish([ONE, TWO]).after(20).expect([VALID1, PENDING2]).publish([ONE]).after(1.5).expect([VALID1]
             ).publish([ONE, TWO]).after(28).expect([VALID1, PENDING2]).after(4).expect([VALID1, VALID2]).write()

    Scenario('new_key_unsigned', 'Keys that no trusted key signed are not seen',
             ['The set is signed by a key of somebody else: bogus, nothing happens; then it is in order again.'], ONLY_ONE
             ).publish([ONE]).after(0.5).expect([VALID1]).publish([ONE, STRANGER], [STRANGER]).after(40).expect([VALID1]
             ).publish([ONE, TWO]).after(2).expect([VALID1, PENDING2]).write()

    Scenario('revoke', 'A revoked key is not trusted from that moment on',
             ['RFC 5011 section 2.1. It is kept as revoked for the hold-down time, then forgotten.'], BOTH
             ).publish([ONE, TWO]).after(1).expect([VALID1, VALID2]).publish([(ONE, True), TWO]).after(1
             ).expect([state(ONE, 'Revoked', True), VALID2]).publish([TWO]).after(20
             ).expect([state(ONE, 'Revoked', True), VALID2]).after(12).expect([VALID2]).write()

    Scenario('revoke_needs_own_signature', 'Only the key itself can revoke it',
             ['RFC 5011 section 2.1: the revoked key has to sign the set. Here somebody who has the other key tries.'], BOTH
             ).publish([ONE, TWO]).after(1).expect([VALID1, VALID2]).publish([(ONE, True), TWO], [TWO]).after(2
             ).expect([state(ONE, 'Missing'), VALID2]).publish([ONE, TWO]).after(1).expect([VALID1, VALID2]).write()

    Scenario('revoke_last', 'The last trusted key is never taken away',
             ['Nothing would be left to validate with.'], ONLY_ONE
             ).publish([ONE]).after(0.5).expect([VALID1]).publish([(ONE, True)]).after(3).expect([VALID1]).write()

    Scenario('pending_revoked', 'A key that is revoked while it is watched is forgotten', ['RFC 5011 section 4.2.'],
             ONLY_ONE).publish([ONE, TWO]).after(5).expect([VALID1, PENDING2]).publish([ONE, (TWO, True)]).after(1
             ).expect([VALID1]).after(40).expect([VALID1]).write()

    Scenario('missing', 'A trusted key that is not published stays trusted',
             ['RFC 5011 section 4.1: Missing. It comes back; then it stays away for long.'], BOTH
             ).publish([ONE]).after(1).expect([VALID1, state(TWO, 'Missing')]).publish([ONE, TWO], [TWO]).after(1
             ).expect([VALID1, VALID2]).publish([ONE]).after(110).expect([VALID1, state(TWO, 'Missing')]).after(15
             ).expect([VALID1]).write()

    Scenario('rollover', 'The whole way from one key to the next',
             ['New key, trusted, old one revoked, gone; a third one is signed by the second alone.'], ONLY_ONE
             ).publish([ONE, TWO], [ONE]).after(33).expect([VALID1, VALID2]).publish([(ONE, True), TWO]).after(1
             ).expect([state(ONE, 'Revoked', True), VALID2]).publish([TWO]).after(32).expect([VALID2]
             ).publish([TWO, THREE], [TWO]).after(33).expect([VALID2, state(THREE, 'Valid')]).write()

    Scenario('server_fails', 'Servers that fail change nothing', ['The time of waiting goes on.'], ONLY_ONE
             ).publish([ONE, TWO]).after(2).expect([VALID1, PENDING2]).fail().after(10).expect([VALID1, PENDING2]
             ).publish([ONE, TWO]).after(21).expect([VALID1, VALID2]).write()

    Scenario('unmanaged', 'A file that is not ours is not written', ['Nor is what it says changed.'], ONLY_ONE,
             unmanaged=True).publish([ONE, TWO]).after(40).expect([VALID1], ['? new']).write()

    Scenario('hold_down_setting', 'The hold-down time can be set', ['ta_update.hold_down_time, in ms.'], ONLY_ONE,
             extra='ta_update.hold_down_time = 5 * day').publish([ONE, TWO]).after(4).expect([VALID1, PENDING2]).after(2
             ).expect([VALID1, VALID2]).write()

    Scenario('keep_removed', 'Removed keys can be kept in the file', ['ta_update.keep_removed = 1.'], BOTH,
             extra='ta_update.keep_removed = 1 ta_update.hold_down_time = 5 * day').publish([(ONE, True), TWO]).after(1
             ).expect([state(ONE, 'Revoked', True), VALID2]).publish([TWO]).after(7
             ).expect([state(ONE, 'Removed', True), VALID2]).write()


if __name__ == '__main__':
    main()
