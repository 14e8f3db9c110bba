#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Server CPU time per query, of kresd and of other resolvers, in one run and in turns. Start it by `./dev bench`.

  cached     names all of them know already, at saturation, beside a program that only echoes datagrams
  cold       no name asked twice, empty cache, validating
  cold, plain    the same without validation

The figures are medians over rounds; every round visits all programs. Compare figures of one run only: another run may
meet another machine, or the same one in another mood.
"""
import argparse
import json
import os
import pathlib
import socket
import statistics
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import dns.rdatatype  # noqa: E402

import resolvers  # noqa: E402
from world.servers import Internet  # noqa: E402

PIN_SERVER, PIN_LOAD = ['taskset', '-c', '0'], ['taskset', '-c', '1']
UNFIT = ('server:', 'delegations in a ring', 'servers whose', 'CNAME loop', 'octets', 'one good server')


class Bench:
    def __init__(self, args, folder, world):
        self.args, self.folder, self.world = args, folder, world
        tools = pathlib.Path(args.build).resolve() / 'tests/bench'
        self.load_tool = str(tools / 'bench_load')
        wanted = [('kresd', resolvers.Kresd, str(pathlib.Path(args.build).resolve() / 'daemon/kresd'))]
        wanted += [(name, *program) for name, program in resolvers.PEERS.items() if os.access(program[1], os.X_OK)]
        wanted = [w for w in wanted if not args.only or w[0] in args.only.split(',')]
        self.peers = [cls(name, binary, folder, world, f'127.0.1.{i + 1}') for i, (name, cls, binary) in enumerate(wanted)]
        self.echo = resolvers.Echo('echo', str(tools / 'bench_echo'), folder, world, '127.0.1.100')
        for peer in [*self.peers, self.echo]:  # some listen only where an interface has the address
            subprocess.run(['ip', 'address', 'add', f'{peer.address}/32', 'dev', 'lo'], check=True)
        self.samples = {}

    def questions(self, name, fits):
        """Write a question file for bench_load."""
        path = self.folder / f'{name}.txt'
        chosen = [q for q in self.world.questions if not q['why'].startswith(UNFIT) and '\\' not in q['name'] and fits(q)]
        path.write_text(''.join(f'{q["name"]} {int(dns.rdatatype.from_text(q["type"]))}\n' for q in chosen))
        return path

    def load(self, peer, path, length):
        before = peer.cpu_s()
        done = subprocess.run([*PIN_LOAD, self.load_tool, peer.address, str(resolvers.PORT), str(path), str(length)],
                              capture_output=True, text=True, check=True)
        sample = json.loads(done.stdout)
        sample['cpu_us'] = (peer.cpu_s() - before) * 1e6 / max(1, sample['answered'])
        sample['qps'] = sample['answered'] / sample['seconds']
        return sample

    def record(self, what, peer, sample):
        self.samples.setdefault(what, {}).setdefault(peer.name, []).append(sample)
        print(f'{what:12} {peer.name:16} {sample["cpu_us"]:8.2f} us  {sample["answered"]} answers, {sample["lost"]} lost, '
              f'{sample["servfail"]} SERVFAIL', file=sys.stderr, flush=True)

    def in_turns(self, peers):
        for number in range(self.args.rounds):
            shift = number % len(peers)
            yield from peers[shift:] + peers[:shift]

    def cached(self):
        hot = self.questions('hot', lambda q: q['rcode'] == 'NOERROR' and 'beyond a datagram' not in q['why'])
        peers = [*self.peers, self.echo]
        try:
            for peer in peers:
                peer.start(PIN_SERVER)
                for _ in range(0 if peer is self.echo else 3):
                    self.load(peer, hot, 'once')
            for peer in self.in_turns(peers):
                self.record('cached', peer, self.load(peer, hot, self.args.seconds))
        finally:
            for peer in peers:
                peer.stop()

    def cold(self, what, validate):
        path = self.questions('cold', lambda q: q['rcode'] != 'SERVFAIL')
        for peer in self.in_turns(self.peers):
            peer.start(PIN_SERVER, validate)
            try:
                self.record(what, peer, self.load(peer, path, 'once'))
            finally:
                peer.stop()

    def summary(self):
        """{workload: {program: {cpu_us, spread, times echo, …}}}, medians over rounds."""
        out = {}
        for what, by_peer in self.samples.items():
            for name, samples in by_peer.items():
                cpu = [s['cpu_us'] for s in samples]
                row = {'cpu_us': statistics.median(cpu), 'spread': (max(cpu) - min(cpu)) / 2 / statistics.median(cpu),
                       'qps': statistics.median(s['qps'] for s in samples),
                       'lost': sum(s['lost'] for s in samples), 'servfail': sum(s['servfail'] for s in samples)}
                ours = by_peer.get('kresd')
                if ours:
                    row['times_kresd'] = statistics.median(a['cpu_us'] / b['cpu_us'] for a, b in zip(samples, ours))
                out.setdefault(what, {})[name] = row
        return out


def table(summary):
    lines = []
    for what, rows in summary.items():
        lines += ['', f'{what:16} {"CPU us/query":>13} {"spread":>8} {"x kresd":>8} {"queries/s":>10} {"lost":>6} '
                      f'{"SERVFAIL":>9}']
        for name, row in sorted(rows.items(), key=lambda item: item[1]['cpu_us']):
            times = f'{row["times_kresd"]:8.2f}' if 'times_kresd' in row else f'{"-":>8}'
            lines.append(f'  {name:14} {row["cpu_us"]:13.2f} {row["spread"]:8.0%} {times} '
                         f'{row["qps"]:10.0f} {row["lost"]:6} {row["servfail"]:9}')
    return '\n'.join(lines)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--build', required=True, help='build folder with kresd and the tools')
    p.add_argument('--rounds', type=int, default=5)
    p.add_argument('--seconds', type=float, default=3, help='length of a sample of cached answers')
    p.add_argument('--only', help='programs, with commas')
    p.add_argument('--json', help='file for all samples')
    args = p.parse_args()
    if [name for _, name in socket.if_nameindex()] != ['lo']:
        sys.exit('start it by `./dev bench`: it wants a network namespace of its own')
    with tempfile.TemporaryDirectory(prefix='bench-') as folder, Internet(pathlib.Path(folder) / 'world') as world:
        bench = Bench(args, pathlib.Path(folder), world)
        bench.cached()
        bench.cold('cold', True)
        bench.cold('cold, plain', False)
    summary = bench.summary()
    if args.json:
        pathlib.Path(args.json).write_text(json.dumps({'summary': summary, 'samples': bench.samples}, indent=1))
    print(table(summary))


if __name__ == '__main__':
    main()
