#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Put thousands of cases to the resolver's validator and to the oracle: they have to agree, and both with the truth."""
import collections
import subprocess
import sys

import cases
import oracle
import dns.rdatatype

MIN_CASES = 3000


def lines_of(records):
    for owner, rdata in records:
        wire = rdata.to_wire()
        yield f'{owner} 3600 IN {dns.rdatatype.to_text(rdata.rdtype)} \\# {len(wire)} {wire.hex()}'


def text_of(number, m):
    yield f'case {number}'
    yield f'now {m.now}'
    yield f'zone {m.zone}'
    yield f'question {m.qname} {dns.rdatatype.to_text(m.qtype)} {m.rcode}'
    for title, records in (('anchor', m.anchor), ('key', m.key), ('answer', m.answer), ('authority', m.authority)):
        yield f'[{title}]'
        yield from lines_of(records)
    yield 'end'


def judge(program, messages):
    text = '\n'.join(line for i, m in enumerate(messages) for line in text_of(i, m)) + '\n'
    done = subprocess.run([program], input=text, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f'{program} failed ({done.returncode}):\n{done.stderr}')
    return [line.split()[1] for line in done.stdout.splitlines()]


def main():
    program, seed, rounds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    names, musts, messages = zip(*cases.generate(seed, rounds))
    verdicts = judge(program, messages)
    count, wrong = collections.Counter(), 0
    for i, (name, must, message, verdict) in enumerate(zip(names, musts, messages, verdicts, strict=True)):
        expected = oracle.Validator(message).judge()
        count[verdict] += 1
        if verdict != expected or (must and expected not in must):
            wrong += 1
            if wrong <= 10:
                print(f'{name}: layer says {verdict}, oracle {expected}, truth {must}')
                print('\n'.join(text_of(i, message)))
    print(f'{len(names)} cases: {dict(count)}, {wrong} wrong')
    if len(names) < MIN_CASES:
        sys.exit(f'only {len(names)} cases')
    if min(count['secure'], count['insecure'], count['bogus']) < 100:
        sys.exit('a kind of verdict is missing')
    sys.exit(1 if wrong else 0)


main()
