#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure kresd and other recursive resolvers against each other in one run. Start it by `./dev bench`; see doc/benchmarks.rst.

The headline is server CPU time per answered question. All resolvers are measured in turns, so that they meet the same noise;
figures of two runs are not to be compared.
"""
import argparse
import contextlib
import datetime
import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
import bigworld  # noqa: E402
import picture  # noqa: E402
import report  # noqa: E402
import resolvers  # noqa: E402
import workloads  # noqa: E402

PIN_SERVER, PIN_LOAD = ['taskset', '-c', '0'], ['taskset', '-c', '1']


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--build', required=True, help='build folder with kresd and the tools')
    p.add_argument('--peers', default=','.join(resolvers.PROGRAMS), help='with commas; default: %(default)s')
    p.add_argument('--workloads', default=','.join(workloads.ALL), help='with commas; default: %(default)s')
    p.add_argument('--out', help='folder for results.json, results.md and picture.svg (default: a new temporary one)')
    p.add_argument('--names', type=int, default=100_000, help='names in the world')
    p.add_argument('--seed', type=int, default=1)
    p.add_argument('--rounds', type=int, default=5, help='samples per resolver')
    p.add_argument('--cold-rounds', type=int, default=3, help='the same where a sample is expensive')
    p.add_argument('--seconds', type=float, default=3, help='length of one sample')
    p.add_argument('--miss', type=int, default=20_000, help='questions to a cold cache')
    p.add_argument('--fill', type=int, default=1_000_000, help='records in the memory workload')
    p.add_argument('--rules', default='100000,1000000', help='lengths of block lists, with commas')
    p.add_argument('--quick', action='store_true', help='a few minutes: shows that all works, figures are rough')
    args = p.parse_args()
    if args.quick:
        args.names, args.rounds, args.cold_rounds, args.seconds = 5000, 2, 1, 1
        args.miss, args.fill, args.rules = 2000, 20_000, '10000'
    return args


def prepare_network():
    if [name for _, name in socket.if_nameindex()] != ['lo']:
        sys.exit('start it by `./dev bench`: it wants a network namespace of its own')
    subprocess.run(['ip', 'link', 'set', 'lo', 'up'], check=True)
    for i in range(1, 10):  # some listen only on addresses that an interface has
        subprocess.run(['ip', 'address', 'add', f'127.0.1.{i}/32', 'dev', 'lo'], check=True)


def make_certificate(folder):
    subprocess.run(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '365',
                    '-subj', '/CN=bench', '-keyout', str(folder / 'tls.key'), '-out', str(folder / 'tls.crt')],
                   check=True, capture_output=True)


def udp_received():
    """Datagrams delivered in this network namespace so far."""
    lines = [x.split() for x in pathlib.Path('/proc/net/snmp').read_text().splitlines() if x.startswith('Udp:')]
    return int(lines[1][lines[0].index('InDatagrams')])


def busy_seconds():
    fields = [int(x) for x in pathlib.Path('/proc/stat').read_text().split('\n', 1)[0].split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / os.sysconf('SC_CLK_TCK')


class Bench:
    """What workloads work with: the resolvers, the load tool and the meter around it."""

    def __init__(self, args, folder):
        build = pathlib.Path(args.build).resolve()
        self.folder, self.seed = folder, args.seed
        self.rounds, self.cold_rounds, self.seconds = args.rounds, args.cold_rounds, args.seconds
        self.miss, self.fill, self.rules = args.miss, args.fill, [int(x) for x in args.rules.split(',')]
        self.pin_server, self.pin_load = PIN_SERVER, PIN_LOAD
        self.results = {}  # workload -> peer -> samples
        self.load_tool = str(build / 'tests/bench/bench_load')
        started = time.monotonic()
        self.world = bigworld.World(pathlib.Path(tempfile.gettempdir()) / 'kresd-bench-world', args.names, args.seed)
        self.say(f'world ready after {time.monotonic() - started:.0f} s: {self.world.facts["zones"]} zones')
        make_certificate(self.world.folder)
        kresd = str(build / 'daemon/kresd')
        wanted = [('kresd', resolvers.Kresd, kresd), ('kresd, no L0', resolvers.KresdWithoutL0, kresd)]
        for name in filter(None, args.peers.split(',')):
            if os.access(resolvers.PROGRAMS[name][1], os.X_OK):
                wanted.append((name, *resolvers.PROGRAMS[name]))
        self.all_peers = [kind(name, binary, folder, self.world, f'127.0.1.{i + 1}')
                          for i, (name, kind, binary) in enumerate(wanted)]
        self.peers = self.all_peers
        self.echo = resolvers.Echo('echo', str(build / 'tests/bench/bench_echo'), folder, self.world, '127.0.1.9')

    def say(self, text):
        print(f'[{time.strftime("%H:%M:%S")}] {text}', file=sys.stderr, flush=True)

    @contextlib.contextmanager
    def meter(self, peer):
        """Adds to the sample what the peer spent while the block ran; the block fills in the rest."""
        sample = {}
        cpu, udp, busy, begin = peer.cpu_seconds(), udp_received(), busy_seconds(), time.monotonic()
        yield sample
        spent = peer.cpu_seconds() - cpu
        sample['wall_s'] = time.monotonic() - begin
        sample['cpu_us'] = spent * 1e6 / max(1, sample['answered'])
        sample['server_busy'] = spent / sample['wall_s']
        sample['machine_busy'] = (busy_seconds() - busy) / sample['wall_s']  # in cores; all jobs of the machine
        sample['udp_received'] = udp_received() - udp

    def load(self, peer, questions, m='udp', port=resolvers.DNS_PORT, **options):
        """Run the load tool; options are its one-letter switches."""
        cmd = [*self.pin_load, self.load_tool, '-s', peer.address, '-p', str(port), '-m', m, '-d', str(questions)]
        for letter, value in options.items():
            cmd += [f'-{letter}', str(value)]
        with self.meter(peer) as sample:
            done = subprocess.run(cmd, capture_output=True, text=True)
            if done.returncode:
                raise RuntimeError(f'{peer.name}: {done.stderr}')
            sample.update(json.loads(done.stdout))
        if m == 'udp':  # what is left of all datagrams went between the resolver and its servers
            asked = sample['udp_received'] - sample['answered'] - sample['sent']
            sample['upstream'] = max(0, asked) / 2 / max(1, sample['answered'])
        if sample['handshakes'] > options.get('c', 0) and options.get('b'):
            sample['cpu_us_per_connection'] = sample['cpu_us'] * sample['answered'] / sample['handshakes']
        return sample

    def record(self, workload, number, peer, sample):
        sample['round'] = number
        self.results.setdefault(workload, {}).setdefault(peer.name, []).append(sample)
        brief = ' '.join(f'{k}={sample[k]:.1f}' for k in ('cpu_us', 'qps', 'lost', 'rss_mb', 'start_ms') if k in sample)
        self.say(f'{workload} | {number} | {peer.name}: {brief}')


def write_results(out, args, bench, failed):
    result = {'date': datetime.datetime.now(datetime.timezone.utc).isoformat(timespec='seconds'),
              'arguments': {k: v for k, v in vars(args).items() if k not in ('build', 'out')}, 'kernel': os.uname().release,
              'versions': {p.name: p.version() for p in bench.all_peers},
              'world': {k: bench.world.facts[k] for k in ('zones', 'signed', 'rsa', 'nsec3')},
              'failed': failed, 'samples': bench.results, 'summary': report.summarise(bench.results)}
    (out / 'results.json').write_text(json.dumps(result, indent=1))
    (out / 'results.md').write_text(report.markdown(result))
    (out / 'picture.svg').write_text(picture.svg(result))


def main():
    args = arguments()
    prepare_network()
    out = pathlib.Path(args.out or tempfile.mkdtemp(prefix='bench-'))
    (out / 'run').mkdir(parents=True, exist_ok=True)
    bench = Bench(args, out / 'run')
    bench.world.start(out / 'run', PIN_LOAD)
    time.sleep(3 + args.names / 50_000)  # zones load
    failed = {}
    for name in args.workloads.split(','):
        bench.peers = [p for p in bench.all_peers if not p.only or name in p.only]
        try:
            workloads.ALL[name](bench)
        except Exception as problem:  # one workload failing must not cost the results of the others
            failed[name] = f'{type(problem).__name__}: {problem}'
            bench.say(f'{name} FAILED: {failed[name]}')
        write_results(out, args, bench, failed)
    bench.world.stop()
    print((out / 'results.md').read_text())
    print(f'results: {out}/results.json, results.md, picture.svg')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
