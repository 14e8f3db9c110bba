#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write scenarios/*.rpl: the life of root keys (RFC 5011) as a resolver on a virtual clock sees it.

Needs python3-dnspython and python3-cryptography. Keys are always the same; ECDSA signatures are not.
"""
import hashlib
import math
import pathlib
import random

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
    """One key signing key of the root, ECDSA P-256."""

    algorithm = 13

    def __init__(self, number):
        self.private = ec.derive_private_key(number * 7919 + 12345, ec.SECP256R1())

    def public(self):
        numbers = self.private.public_key().public_numbers()
        return numbers.x.to_bytes(32, 'big') + numbers.y.to_bytes(32, 'big')

    def mark(self, data):
        r, s = utils.decode_dss_signature(self.private.sign(data, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, 'big') + s.to_bytes(32, 'big')

    def rdata(self, revoked=False):
        flags = 257 | (REVOKE if revoked else 0)
        wire = bytes([flags >> 8, flags & 255, 3, self.algorithm]) + self.public()
        return dns.rdata.from_wire('IN', 'DNSKEY', wire, 0, len(wire))

    def tag(self, revoked=False):
        return dns.dnssec.key_id(self.rdata(revoked))

    def sign(self, rrset, signer, validity):
        since, until = validity
        fixed = (dns.rdatatype.DNSKEY.to_bytes(2, 'big') + bytes([self.algorithm, 0]) + TTL.to_bytes(4, 'big')
                 + until.to_bytes(4, 'big') + since.to_bytes(4, 'big') + signer.tag.to_bytes(2, 'big') + b'\0')
        data = fixed
        for wire in sorted(rd.to_digestable() for rd in rrset):
            data += b'\0' + b'\0\x30\0\1' + TTL.to_bytes(4, 'big') + len(wire).to_bytes(2, 'big') + wire
        wire = fixed + self.mark(data)
        return dns.rdata.from_wire('IN', 'RRSIG', wire, 0, len(wire))


def prime(rnd, bits):
    """A number that is almost certainly prime (Miller and Rabin).

    A key tag fixes the public exponent modulo 65535; that must not be a reason for it not to have an inverse.
    """
    while True:
        n = rnd.getrandbits(bits) | 3 << bits - 2 | 1
        if math.gcd(n - 1, 65535) != 1:
            continue
        d, s = n - 1, 0
        while d % 2 == 0:
            d, s = d // 2, s + 1
        for base in (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37):
            x = pow(base, d, n)
            if x not in (1, n - 1) and all(pow(x, 2 ** i, n) != n - 1 for i in range(1, s)):
                break
        else:
            return n


class RsaKey(Key):
    """RSA with SHA-256. The public exponent is chosen so that the key gets the tag that is wanted."""

    algorithm = 8

    def __init__(self, seed, tag):
        rnd = random.Random(seed)
        p, q = prime(rnd, 512), prime(rnd, 512)
        self.modulus, phi = p * q, (p - 1) * (q - 1)
        self.exponent = 0
        rest = sum(octet << 8 * (1 - i % 2) for i, octet in enumerate(self.rdata().to_wire()))
        for self.exponent in range(65537, 1 << 32, 2):
            b = self.exponent.to_bytes(4, 'big')  # at an odd position
            total = rest + b[0] + (b[1] << 8) + b[2] + (b[3] << 8)
            if (total + (total >> 16)) & 0xffff == tag and math.gcd(self.exponent, phi) == 1:
                break
        self.secret = pow(self.exponent, -1, phi)

    def public(self):
        return b'\4' + self.exponent.to_bytes(4, 'big') + self.modulus.to_bytes(128, 'big')

    def mark(self, data):
        digest = bytes.fromhex('3031300d060960864801650304020105000420') + hashlib.sha256(data).digest()
        block = b'\0\1' + b'\xff' * (125 - len(digest)) + b'\0' + digest
        return pow(int.from_bytes(block, 'big'), self.secret, self.modulus).to_bytes(128, 'big')


class Signer:
    """A key that signs, under the tag it should have or another one."""

    def __init__(self, key, revoked=False, pose=None):
        self.key, self.tag = key, (pose or key).tag(revoked)


ONE, TWO, THREE, STRANGER = (Key(number) for number in (1, 2, 3, 99))
# The keys of the root and its roll of October 2026 in all but their secrets.
KSK2017, KSK2024 = RsaKey(2017, 20326), RsaKey(2024, 38696)
TWIN = RsaKey(1, 20326)

# What a client sees of the keys: those in memory, then those in the file. Hash and semicolon begin comments there.
STATE = (
    "policy.add(policy.suffix(function (_, req) "
    "local mem, file = {}, {} "
    "for _, key in ipairs((trust_anchors.keysets['\\0'] or {})) do table.insert(mem, key.key_tag .. ' ' .. key.state) end "
    "for line in io.lines(KEY_FILE) do if line:sub(1, 2) ~= string.rep(string.char(59), 2) then "
    "table.insert(file, (line:match('KeyTag:(%d+)') or '?') .. ' ' .. (line:match('(%a+):%d* %p KeyTag') or 'new')) end end "
    "table.sort(mem) table.sort(file) "
    "local text = table.concat(mem, ', ') .. ' / ' .. table.concat(file, ', ') "
    "return policy.ANSWER({[kres.type.TXT] = {rdata = string.char(text:len()) .. text}})(nil, req) end, "
    "{todname('state.example')}))")


# Lines of Lua that a scenario runs at some moment, here as a question for NUMBER.do.example.
ACTIONS = (
    "policy.add(policy.suffix(function (_, req) "
    "local number = kres.dname2str(req:initial().sname):match('^%d+') "
    "local good, why = pcall(ACTIONS[tonumber(number)]) "
    "local text = good and 'done' or tostring(why):match('trust anchors of .- cannot') or tostring(why):sub(1, 200) "
    "return policy.ANSWER({[kres.type.TXT] = {rdata = string.char(text:len()) .. text}})(nil, req) end, "
    "{todname('do.example')}))")

RESTART = 'trust_anchors.add_file(KEY_FILE)'
REFUSED = (
    '\tfeature-list: policy=function refused(text) '
    f"if pcall(function () write(text) {RESTART} end) then error('taken') end end")


def ds_line(key):
    return '. 172800 IN DS ' + dns.dnssec.make_ds(dns.name.root, key.rdata(), 'SHA256').to_text()


def key_line(key, word=None, timer=''):
    """A line of a key file; a semicolon is no comment of the scenario if it is written as Lua may."""
    line = '. 172800 IN DNSKEY ' + key.rdata().to_text()
    if word is None:
        return line
    line += f' \\59 {word}:{timer} \\59 KeyTag:{key.tag()}'
    return line if word in ('Valid', 'Missing') else '\\59 ' + line


def config(start, trusted, actions, unmanaged=False, extra=''):
    """A resolver that follows the keys of a file of its own."""
    text = '\\n'.join(trusted) + '\\n'
    return '\n'.join([
        f'\tval-override-timestamp: "{start}"', '\tstub-addr: 193.0.14.129', '\tquery-minimization: off',
        '\tfeature-list: policy=KEY_FILE = os.tmpname()',
        "\tfeature-list: policy=function write(text) local f = io.open(KEY_FILE, 'w') f:write(text) f:close() end",
        f"\tfeature-list: policy=write('{text}')",
        "\tfeature-list: policy=modules.load('ta_update')" + (' ' + extra if extra else ''),
        f"\tfeature-list: policy=trust_anchors.add_file(KEY_FILE, {'true' if unmanaged else 'false'})",
        f'\tfeature-list: policy={STATE}']
        + ([REFUSED, '\tfeature-list: policy=ACTIONS = {}'] if actions else [])
        + [f'\tfeature-list: policy=ACTIONS[{number}] = function () {lua} end'
           for number, lua in enumerate(actions, 1)]
        + ([f'\tfeature-list: policy={ACTIONS}'] if actions else [])
        + ['CONFIG_END'])


class Scenario:
    def __init__(self, name, title, about, trusted, start=START, **options):
        self.name, self.title, self.about = name, title, about
        self.start, self.trusted, self.options, self.actions = start, trusted, options, []
        self.ranges, self.steps, self.step, self.first = [], [], 0, 0

    def publish(self, keys, signers=None, validity=(-1, 400)):
        """From now on the root has these keys; a key is (Key, revoked) or Key. Validity is in days from the start."""
        self.close_range()
        pairs = [key if isinstance(key, tuple) else (key, False) for key in keys]
        signing = [key if isinstance(key, Signer) else Signer(*key) if isinstance(key, tuple) else Signer(key)
                   for key in (keys if signers is None else signers)]
        window = [int(self.start + days * DAY) for days in validity]
        rrset = dns.rrset.from_rdata_list(dns.name.root, TTL, [key.rdata(revoked) for key, revoked in pairs])
        lines = [f'. {TTL} IN DNSKEY {rd.to_text()}' for rd in rrset]
        lines += [f'. {TTL} IN RRSIG {one.key.sign(rrset, one, window).to_text()}' for one in signing]
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

    def jump(self, days):
        """The clock is set."""
        self.step += 1
        self.steps.append(f'STEP {self.step} CLOCK_JUMPS {int(days * DAY)}')
        return self

    def run(self, lua, result='done'):
        """Do something to the resolver."""
        self.actions.append(lua)
        self.ask(f'{len(self.actions)}.do.example.', result)
        return self

    def expect(self, memory, file=None):
        """Keys and states; the file has the same ones unless told otherwise."""
        text = ' / '.join(', '.join(sorted(part)) for part in (memory, memory if file is None else file))
        return self.ask('state.example.', text)

    def ask(self, name, text):
        entry = ['ENTRY_BEGIN', 'REPLY RD', 'SECTION QUESTION', f'{name} IN TXT', 'ENTRY_END']
        answer = ['ENTRY_BEGIN', 'MATCH rcode answer', 'REPLY QR AA RD RA NOERROR', 'SECTION QUESTION',
                  f'{name} IN TXT', 'SECTION ANSWER', f'{name} 1 IN TXT "{text}"', 'ENTRY_END']
        self.steps.append('\n'.join([f'STEP {self.step + 1} QUERY'] + entry))
        self.steps.append('\n'.join([f'STEP {self.step + 2} CHECK_ANSWER'] + answer))
        self.step += 2
        return self

    def write(self):
        self.close_range()
        out = ['; SPDX-License-Identifier: GPL-3.0-or-later', '; Written by make_scenarios.py.']
        out += ['; ' + line for line in self.about]
        out += [config(self.start, self.trusted, self.actions, **self.options), f'SCENARIO_BEGIN {self.title}']
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

    Scenario('revoke_forged', 'A signature that only claims to be of the revoked key is none',
             ['RFC 5011 section 2.1. The right tag, the wrong key: ONE is as good as absent, and comes back.'], BOTH
             ).publish([ONE, TWO]).after(1).expect([VALID1, VALID2]
             ).publish([(ONE, True), TWO], [TWO, Signer(TWO, True, pose=ONE)]).after(2
             ).expect([state(ONE, 'Missing'), VALID2]).publish([ONE, TWO]).after(1).expect([VALID1, VALID2]).write()

    Scenario('missing_revoked', 'A key that is missing can be revoked', ['RFC 5011 section 4.1: Missing to Revoked.'], BOTH
             ).publish([ONE]).after(3).expect([VALID1, state(TWO, 'Missing')]).publish([ONE, (TWO, True)]).after(1
             ).expect([VALID1, state(TWO, 'Revoked', True)]).publish([ONE, TWO], [ONE]).after(1
             ).expect([VALID1, state(TWO, 'Revoked', True)]).publish([ONE]).after(32).expect([VALID1]).write()

    Scenario('ds_other_key', 'A DS stands for the key of its digest, not of its tag',
             ['Another key has the same tag and algorithm: it waits like any new one.'], [ds_line(KSK2017)]
             ).publish([TWIN, KSK2017], [KSK2017]).after(1
             ).expect([state(KSK2017, 'Valid'), state(TWIN, 'AddPend')]).publish([TWIN, KSK2017], [TWIN]).after(5
             ).expect([state(KSK2017, 'Valid'), state(TWIN, 'AddPend')]).write()

    Scenario('algorithm_roll', 'From RSA to ECDSA', ['Both algorithms sign while both keys are there; then ECDSA alone.'],
             [key_line(KSK2017)]).publish([KSK2017]).after(1).expect([state(KSK2017, 'Valid')]
             ).publish([KSK2017, ONE]).after(33).expect([state(KSK2017, 'Valid'), VALID1]
             ).publish([(KSK2017, True), ONE]).after(1).expect([state(KSK2017, 'Revoked', True), VALID1]
             ).publish([ONE]).after(32).expect([VALID1]).publish([ONE, TWO], [ONE]).after(33).expect([VALID1, VALID2]).write()

    old, new = state(KSK2017, 'Valid'), state(KSK2024, 'Valid')
    roll = (-1, 1000)
    Scenario('root_roll', 'The roll of the root key in 2026, followed from the old key',
             ['Key 38696 is published on 2025-01-11, signs from 2026-10-11 on; 20326 is revoked in January 2027.'],
             [key_line(KSK2017)], start=1736467200).publish([KSK2017], validity=roll).after(1).expect([old]
             ).publish([KSK2017, KSK2024], [KSK2017], roll).after(29).expect([old, state(KSK2024, 'AddPend')]
             ).after(3).expect([old, new]).after(606).expect([old, new]
             ).publish([KSK2017, KSK2024], [KSK2024], roll).after(92).expect([old, new]
             ).publish([(KSK2017, True), KSK2024], validity=roll).after(2
             ).expect([state(KSK2017, 'Revoked', True), new]).after(68).expect([new]
             ).publish([KSK2024], validity=roll).after(30).expect([new]).write()

    Scenario('root_roll_both', 'The roll of the root key in 2026, with both anchors from the start',
             ['A machine that was set up with both DS and is turned on for the first time after the roll.'],
             [ds_line(KSK2017), ds_line(KSK2024)], start=1791763200
             ).publish([KSK2017, KSK2024], [KSK2024]).after(1).expect([old, new]
             ).publish([(KSK2017, True), KSK2024]).after(1).expect([state(KSK2017, 'Revoked', True), new]
             ).publish([KSK2024]).after(32).expect([new]).write()

    Scenario('root_roll_missed', 'The roll of the root key in 2026, slept through',
             ['Nobody vouches for the new key: it is not believed, and the old one is not given up.'],
             [key_line(KSK2017)], start=1791763200
             ).publish([KSK2017, KSK2024], [KSK2024]).after(60).expect([old], ['? new']
             ).publish([KSK2017, KSK2024], [KSK2017]).after(33).expect([old, new]).write()

    Scenario('clock_jumps_ahead', 'A new key has to be seen for thirty days, whatever the clock says',
             ['The clock is set a year ahead on the second day: the hold-down time goes on as it was.'], ONLY_ONE
             ).publish([ONE, TWO]).after(2).expect([VALID1, PENDING2]).jump(365).after(20).expect([VALID1, PENDING2]
             ).after(10).expect([VALID1, VALID2]).write()

    Scenario('clock_jumps_back', 'Nor does a clock that was ahead make a key wait for ever',
             ['It ran a year ahead and is set right.'], ONLY_ONE, start=START + 365 * DAY
             ).publish([ONE, TWO], validity=(-400, 400)).after(2).expect([VALID1, PENDING2]).jump(-365).after(20
             ).expect([VALID1, PENDING2]).after(10).expect([VALID1, VALID2]).write()

    Scenario('replay_old_keys', 'Old keys do not come back when their signatures are over',
             ['What the root published before TWO was there, replayed with the right clock: nothing happens.'], BOTH
             ).publish([ONE], validity=(-400, -370)).after(150).expect([VALID1, VALID2], ['? new', '? new']
             ).publish([ONE, TWO]).after(2).expect([VALID1, VALID2]).write()

    Scenario('replay_wrong_clock', 'A replay at a wrong clock never removes a key',
             ['The clock is a year behind and old keys are replayed; it jumps by more than four hold-down times, the old keys',
              'once more; then everything is right. TWO was missing, and trusted all the time.'], BOTH
             ).publish([ONE, TWO]).after(1).expect([VALID1, VALID2]).jump(-365).publish([ONE], validity=(-400, -200)).after(2
             ).expect([VALID1, state(TWO, 'Missing')]).jump(130).after(10).expect([VALID1, state(TWO, 'Missing')]
             ).jump(235).publish([ONE, TWO]).after(2).expect([VALID1, VALID2]).write()

    Scenario('restart', 'The hold-down time goes on after a restart', ['What the file says is where it begins.'], ONLY_ONE
             ).publish([ONE, TWO]).after(20).expect([VALID1, PENDING2]).run(RESTART).after(8).expect([VALID1, PENDING2]
             ).run(RESTART).after(4).expect([VALID1, VALID2]).write()

    Scenario('restart_wrong_clock', 'A clock that was set while nobody looked',
             ['Across a restart there is no other clock: a gap counts for 15 days at most, one backwards for nothing.'],
             ONLY_ONE).publish([ONE, TWO]).after(5).expect([VALID1, PENDING2]).jump(100).run(RESTART).after(7
             ).expect([VALID1, PENDING2]).jump(-200).run(RESTART).publish([ONE, TWO], validity=(-200, 200)).after(28
             ).expect([VALID1, PENDING2]).after(4).expect([VALID1, VALID2]).write()

    Scenario('crash', 'A crash between writing and renaming', ['The old file is there and is what counts.'], ONLY_ONE
             ).publish([ONE]).after(0.5).expect([VALID1]).run("RENAME = os.rename os.rename = function () error('crash') end"
             ).publish([ONE, TWO]).after(1).expect([VALID1]).run('os.rename = RENAME ' + RESTART).after(1
             ).expect([VALID1, PENDING2]).after(31).expect([VALID1, VALID2]).write()

    aside = "KEY_FILE .. '.lock.' .. worker.pid"
    Scenario('disk_full', 'A state that cannot be written',
             ['The disk is full: both states stay as they were; then there is room.'],
             ONLY_ONE).publish([ONE]).after(0.5).expect([VALID1]
             ).run(f"os.execute('ln -s /dev/full ' .. {aside})"
             ).publish([ONE, TWO]).after(0.4).expect([VALID1]).after(1).expect([VALID1, PENDING2]).write()

    Scenario('folder_readonly', 'A folder that cannot be written to', ['As long as that lasts, nothing changes.'], ONLY_ONE
             ).publish([ONE]).after(0.5).expect([VALID1]).run(f"os.execute('mkdir -p ' .. {aside} .. '/x')"
             ).publish([ONE, TWO]).after(40).expect([VALID1]).run(f"os.execute('rm -r ' .. {aside})").after(1
             ).expect([VALID1, PENDING2]).after(31).expect([VALID1, VALID2]).write()

    Scenario('state_damaged', 'A file that was damaged is not taken',
             ['Empty, garbage, cut in the middle of a key: reading it anew fails, what was in force stays and is written again.'],
             ONLY_ONE).publish([ONE, TWO]).after(1).expect([VALID1, PENDING2]
             ).run("refused('')").after(1.1).expect([VALID1, PENDING2]
             ).run("refused('\\1\\2\\255 x')").after(1.1).expect([VALID1, PENDING2]
             ).run("local f = io.open(KEY_FILE) refused(f:read('*a'):match('^.-3 13 .........')) f:close()"
             ).after(1.1).expect([VALID1, PENDING2]).write()

    Scenario('future_stamps', 'Times in the file that cannot be',
             ['Waiting until 2096, or until nobody knows when, is waiting for the hold-down time.'],
             [key_line(ONE, 'Valid'), key_line(TWO, 'AddPend', 4000000000), key_line(THREE, 'AddPend')]
             ).publish([ONE, TWO, THREE]).after(28).expect([VALID1, PENDING2, state(THREE, 'AddPend')]).after(4
             ).expect([VALID1, VALID2, state(THREE, 'Valid')]).write()

    Scenario('future_last_seen', 'Keys were last seen in the future',
             ['The clock is wrong now or it was then: all waiting begins anew, even what seems to be over.'],
             ['\\59\\59 keys last seen: 4000000000', key_line(ONE, 'Valid'), key_line(TWO, 'AddPend', START - DAY)]
             ).publish([ONE, TWO]).after(28).expect([VALID1, PENDING2]).after(4).expect([VALID1, VALID2]).write()


if __name__ == '__main__':
    main()
