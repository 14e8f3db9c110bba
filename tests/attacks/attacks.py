#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure what hostile zones cost kresd: signatures checked, hashes made, CPU, and whether others are served meanwhile.

Runs in a network namespace of its own: `./dev attacks [--short] [KIND...]`. Counts have bounds, which are checked; times are
printed, to be judged by whoever knows how busy the machine is.
"""
import argparse
import json
import pathlib
import random
import select
import socket
import statistics
import struct
import sys
import tempfile
import time
import xml.etree.ElementTree as xml

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / 'e2e')]
sys.dont_write_bytecode = True

import gallery  # noqa: E402
import programs  # noqa: E402
from hauth import ROOT, Hauth  # noqa: E402
from wire import A, NOERROR, NXDOMAIN, SERVFAIL, name  # noqa: E402

ADDRESS = '127.0.0.53'
ANSWER_S = 12
# Per request (security-reliability: B-01, B-15, B-16, B-21) and per message (B-14), in the order of `struct kr_budget`.
BOUNDS = {'packets': 100, 'checks': 96, 'units': 192, 'fails': 8, 'fail_units': 24, 'blocks': 1024, 'message_checks': 32,
          'message_units': 64}
SYNTHESIS_BLOCKS = 128  # B-23
METER = '''
local peak = {}
local places = { packets = 0, checks = 7, units = 8, fails = 9, fail_units = 10, blocks = 11 }
local function note(what, value) if value > (peak[what] or 0) then peak[what] = value end end
package.preload['kres_modules.meter'] = function ()
    return { layer = {
        reset = function (state, req)
            local query = req:current()
            if query and query.vld_limit_uid == query.uid then
                note('message_checks', 32 - query.vld_limit_crypto_remains)
                note('message_units', 64 - query.vld_units_remain)
            end
            return state
        end,
        finish = function (state, req)
            for what, place in pairs(places) do note(what, tonumber(req.budget.spent[place])) end
            return state
        end,
    } }
end
modules.load('meter')
function meter_read() local out = tojson(peak) peak = {} return out end
'''
CONFIG = '''
modules.load('hints > iterate')
hints.root({{ ['ns.'] = '{root}' }})
trust_anchors.add('{anchor}')
option('NO_MINIMIZE', true)
cache.size = 100 * MB
'''


def query_for(text, qtype, number):
    """DO and AD are set: what is secure shows."""
    return struct.pack('!HHHHHH', number, 0x0120, 1, 0, 0, 1) + name(text) + struct.pack('!HH', qtype, 1) + \
        b'\0' + struct.pack('!HHIH', 41, 1232, 0x8000, 0)


def ask(query, stream):
    """The reply, or None."""
    if stream:
        with socket.create_connection((ADDRESS, 53), ANSWER_S) as s:
            s.sendall(struct.pack('!H', len(query)) + query)
            reader = s.makefile('rb')
            return reader.read(int.from_bytes(reader.read(2), 'big'))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(ANSWER_S)
        s.connect((ADDRESS, 53))
        s.send(query)
        try:
            return s.recv(65535)
        except OSError:
            return None


class Rig:
    """Servers and a resolver."""

    def __init__(self, kinds, folder):
        self.kinds, self.numbers = kinds, iter(range(1, 1 << 20))
        self.servers = Hauth(kinds)
        config = CONFIG.format(root=ROOT, anchor=self.servers.trust_anchor()) + METER
        self.kresd = programs.Kresd(folder, config, ADDRESS)

    def __enter__(self):
        self.servers.__enter__()
        self.kresd.start()
        return self

    def __exit__(self, *_):
        self.kresd.stop()
        self.servers.__exit__()

    def cpu_ms(self):
        """Time on a CPU so far."""
        return int(pathlib.Path(f'/proc/{self.kresd.process.pid}/schedstat').read_text().split()[0]) / 1e6

    def question(self, word):
        kind = self.kinds[word]
        number = next(self.numbers)
        return query_for(kind.question(f'{number}-{word}.atk.'), kind.qtype, number & 0xffff)

    def peaks(self):
        return json.loads(self.kresd.control('meter_read()')[0].strip().strip("'"))

    def measure(self, word, count):
        """Ask for `count` zones of one kind; returns a row of the table."""
        self.peaks()
        faults, costs, packets = set(), [], self.servers.queries.value
        for _ in range(count):
            query, before = self.question(word), self.cpu_ms()
            reply = ask(query, self.kinds[word].stream)
            costs.append(self.cpu_ms() - before)
            fault = self._judge(word, reply)
            if fault:
                faults.add(fault)
        peaks = self.peaks()
        faults |= {f'{what} {peaks[what]} > {bound}' for what, bound in BOUNDS.items() if peaks.get(what, 0) > bound}
        return {'row': self.kinds[word].row, 'kind': word, 'cpu': statistics.median(costs), 'cpu_max': max(costs),
                'upstream': (self.servers.queries.value - packets) / count, 'peaks': peaks, 'faults': sorted(faults)}

    def recovered(self, patience_s=30):
        """When all is over honest zones resolve again, as soon as our own servers have caught up."""
        end = time.monotonic() + patience_s
        while True:
            result = self.measure('benign', 3)
            if not result['faults'] or time.monotonic() > end:
                return {**result, 'kind': 'afterwards'}
            time.sleep(0.5)

    def walk(self, word, count=10000):
        """Ask for a name in every gap of a zone, then for random ones: all of them denied, hardly any asked upstream."""
        kind, apex_text = self.kinds[word], f'{next(self.numbers)}-{word}.atk.'
        apex, rnd, gaps = name(apex_text), random.Random(1), {}
        while len(gaps) < len(kind.chain(apex)):
            label = '%016x' % rnd.getrandbits(64) if len(gaps) % 2 else f'n{len(gaps):04d}x{rnd.getrandbits(20)}'
            if kind.iterations is None:  # right after each name there is
                label = (kind.chain(apex)[len(gaps)] + b'-').decode()
            gaps.setdefault(kind.gap(apex, label.encode()), label)
        self.peaks()
        faults = set()
        for number, label in enumerate(gaps.values()):
            faults |= self._denied(f'{label}.{apex_text}', number)
        asked, cost = self.servers.queries.value, self.cpu_ms()
        for number in range(count):
            faults |= self._denied(f'{rnd.getrandbits(80):020x}.{apex_text}', number & 0xffff)
        asked, cost = self.servers.queries.value - asked, self.cpu_ms() - cost
        peaks = self.peaks()
        faults |= {f'{what} {peaks[what]} > {bound}' for what, bound in BOUNDS.items() if peaks.get(what, 0) > bound}
        is_cheap = not kind.iterations or 3 * (kind.iterations + 1) <= SYNTHESIS_BLOCKS
        if asked >= 100 and is_cheap:
            faults.add(f'{asked} packets upstream for {count} names')
        return {'row': kind.row, 'kind': word, 'cpu': cost / count, 'cpu_max': cost / count, 'upstream': asked / count,
                'peaks': peaks, 'faults': sorted(faults)}

    @staticmethod
    def _denied(text, number):
        reply = ask(query_for(text, A, number), False)
        return set() if reply and reply[3] & 0x2f == 0x23 else {'not a secure NXDOMAIN'}

    def _judge(self, word, reply):
        if self.kresd.process.poll() is not None:
            raise RuntimeError(f'the resolver died at {word}: {self.kresd.log[-4000:]}')
        if not reply:
            return 'no answer'
        rcode, is_secure = reply[3] & 15, bool(reply[3] & 0x20)
        expect = self.kinds[word].expect
        if expect == 'secure' and (rcode != NOERROR or not is_secure):
            return f'honest, but rcode {rcode} AD {is_secure:d}'
        if expect == 'denied' and (rcode != NXDOMAIN or not is_secure):
            return f'honest, but rcode {rcode} AD {is_secure:d}'
        if expect in ('bogus', 'failure') and rcode != SERVFAIL:
            return f'rcode {rcode}'
        if expect == 'insecure' and (rcode != NOERROR or is_secure):
            return f'rcode {rcode} AD {is_secure:d}'
        if is_secure and expect not in ('secure', 'denied') and self.kinds[word].row in ('A-23', 'A-24'):
            return 'AD without signatures'
        return None

    def keep(self, words, seconds, rate, attack_rate):
        """Ask for cached names all the time, and for attacks.

        Returns (share answered within 1 s, p99 in ms, worst in ms, CPU of the resolver in ms a second): where the last is far
        below 1000, what was lost was lost by a machine that is busy with something else.
        """
        names = [f'{n}-benign.atk.' for n in range(900000, 900100)]
        for one in names:
            ask(query_for('www.' + one, A, 1), False)
        good, bad = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        for s in (good, bad):
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
            s.connect((ADDRESS, 53))
            s.setblocking(False)
        sent, took, begin, cpu = {}, [], time.monotonic(), self.cpu_ms()
        next_good = next_bad = begin
        number = 0
        while (now := time.monotonic()) < begin + seconds + 1:
            if now < begin + seconds:
                while next_good <= now:
                    number += 1
                    good.send(query_for('www.' + random.choice(names), A, number & 0xffff))
                    sent[number & 0xffff] = now
                    next_good += 1 / rate
                while attack_rate and next_bad <= now:
                    bad.send(self.question(random.choice(words)))
                    next_bad += 1 / attack_rate
            for s in select.select([good, bad], [], [], 0.002)[0]:
                try:
                    reply = s.recv(65535)
                except OSError:
                    continue
                if s is good and reply[3] & 15 == NOERROR:
                    asked = sent.pop(int.from_bytes(reply[:2], 'big'), None)
                    if asked:
                        took.append(time.monotonic() - asked)
        took.sort()
        in_time = sum(t <= 1 for t in took)
        return (100 * in_time / max(number, 1), 1000 * took[int(len(took) * 0.99)] if took else 0,
                1000 * took[-1] if took else 0, (self.cpu_ms() - cpu) / seconds)


def table(results):
    base = next((r['cpu'] for r in results if r['kind'] == 'benign'), None)
    print(f'{"row":5} {"kind":24} {"CPU ms":>7} {"max":>6} {"CPUx":>5} {"upstr":>5} {"checks":>6} {"fails":>5} {"units":>5} '
          f'{"msg":>4} {"blocks":>6}  verdict')
    for r in results:
        p = r['peaks']
        times = f'{r["cpu"] / base:5.1f}' if base else '    -'
        print(f'{r["row"]:5} {r["kind"]:24} {r["cpu"]:7.2f} {r["cpu_max"]:6.1f} {times} {r["upstream"]:5.1f} '
              f'{p.get("checks", 0):6} {p.get("fails", 0):5} {p.get("units", 0):5} {p.get("message_units", 0):4} '
              f'{p.get("blocks", 0):6}  {", ".join(r["faults"]) or "ok"}')


def junit(path, results):
    suite = xml.Element('testsuite', name='attacks')
    for r in results:
        case = xml.SubElement(suite, 'testcase', classname=r['row'], name=r['kind'])
        if r['faults']:
            xml.SubElement(case, 'failure', message=', '.join(r['faults']))
    xml.ElementTree(suite).write(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('kinds', nargs='*', help='of gallery.py; all by default')
    parser.add_argument('--short', action='store_true', help='few questions of the cheaper kinds, for the test suite')
    parser.add_argument('--count', type=int, help='questions of each kind')
    parser.add_argument('--junit-xml', metavar='FILE')
    args = parser.parse_args()
    kinds = gallery.make(args.short)
    unknown = set(args.kinds) - set(kinds)
    if unknown:
        parser.error(f'no such kinds: {" ".join(sorted(unknown))}')
    words = [w for w in kinds if not args.kinds or w in args.kinds or w == 'benign']
    count = args.count or (2 if args.short else 20)
    with tempfile.TemporaryDirectory() as folder, Rig(kinds, folder) as rig:
        results = [rig.walk(word) if isinstance(kinds[word], gallery.Walked)
                   else rig.measure(word, count if word != 'benign' else 5 * count) for word in words]
        table(results)
        sys.stdout.flush()
        seconds, rate, attacks = (1, 200, 20) if args.short else (10, 2000, 50)
        for row in sorted({r['row'] for r in results} & {'A-20', 'A-21', 'A-22'}):
            attack = [w for w in words if kinds[w].row == row and not kinds[w].stream
                      and kinds[w].expect not in ('secure', 'denied')]
            for attack_rate in ((0, attacks) if row == 'A-20' else (attacks,)) if attack else ():
                share, p99, worst, cpu = rig.keep(attack, seconds, rate, attack_rate)
                print(f'KEEP {row}: {attack_rate} attacks/s beside {rate} cached/s: {share:.1f} % within 1 s, '
                      f'p99 {p99:.1f} ms, worst {worst:.1f} ms, {cpu:.0f} ms of CPU a second')
        alive = rig.recovered()
        results.append(alive)
        print('afterwards:', ', '.join(alive['faults']) or 'ok')
    if args.junit_xml:
        junit(args.junit_xml, results)
    sys.exit(any(r['faults'] for r in results))


if __name__ == '__main__':
    main()
