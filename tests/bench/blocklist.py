#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a block list of a million names costs: time to load it, memory, and CPU per cached query with it and without.

The same response policy zone is given to kresd, Knot Resolver 5, unbound and PowerDNS Recursor, as far as they are
installed. Start it in a network namespace of its own:

    unshare --net --pid --fork --kill-child --mount-proc python3 tests/bench/blocklist.py --build build-bench
"""
import argparse
import pathlib
import statistics
import sys
import tempfile
import subprocess

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import bench  # noqa: E402
import resolvers  # noqa: E402
from world.servers import Internet  # noqa: E402


def append(path, text):
    with open(path, 'a', encoding='utf-8') as out:
        out.write(text)


def kresd(peer, zone):
    append(peer.folder / 'kresd.conf', f"policy.add(policy.rpz(policy.DENY, '{zone}', false))\n")


def unbound(peer, zone):
    conf = peer.folder / 'unbound.conf'
    conf.write_text(conf.read_text().replace('module-config: "', 'module-config: "respip '))
    append(conf, f'rpz:\n  name: rpz.\n  zonefile: "{zone}"\n')


def recursor(peer, zone):
    append(peer.folder / 'trust.lua', f'rpzFile("{zone}", {{defpol=Policy.NXDOMAIN}})\n')


resolvers.START_S = 180  # some need long to read a million names
ADD = {'kresd': kresd, 'knot-resolver 5': kresd, 'unbound': unbound, 'pdns_recursor': recursor}


def give_list(peer, zone):
    """From now on the program starts with the list."""
    configure = peer.configure

    def with_list(validate):
        command = configure(validate)
        ADD[peer.name](peer, zone)
        return command
    peer.configure = with_list


def rss_mib(peer):
    status = pathlib.Path(f'/proc/{peer.process.pid}/status').read_text(encoding='ascii')
    if peer.process.poll() is not None:
        raise RuntimeError(f'{peer.name} died: {(peer.folder / "log").read_text(errors="replace")[-2000:]}')
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith('VmRSS')) / 1024


def sample(this, peer, hot):
    """CPU seconds to start, resident MiB, CPU us of a cached query."""
    peer.start(bench.PIN_SERVER)
    try:
        cpu, rss = peer.cpu_s(), rss_mib(peer)
        for _ in range(3):
            this.load(peer, hot, 'once')
        return cpu, rss, statistics.median(this.load(peer, hot, this.args.seconds)['cpu_us']
                                           for _ in range(this.args.rounds))
    finally:
        peer.stop()


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--build', required=True, help='build folder with kresd and the tools')
    p.add_argument('--names', type=int, default=1_000_000)
    p.add_argument('--rounds', type=int, default=5)
    p.add_argument('--seconds', type=float, default=2)
    p.add_argument('--only', help='programs, with commas')
    args = p.parse_args()
    subprocess.run(['ip', 'link', 'set', 'lo', 'up'], check=True)
    with tempfile.TemporaryDirectory(prefix='blocklist-') as folder, Internet(pathlib.Path(folder) / 'world') as world:
        this = bench.Bench(args, pathlib.Path(folder), world)
        zone = pathlib.Path(folder) / 'block.rpz'
        with open(zone, 'w', encoding='ascii') as out:
            out.write('$ORIGIN rpz.\n$TTL 60\n@ SOA a. b. 1 3600 600 86400 60\n@ NS a.\n')
            out.writelines(f'host{i}.tracker{i % 9973}.example CNAME .\n' for i in range(args.names))
        hot = this.questions('hot', lambda q: q['rcode'] == 'NOERROR' and 'beyond a datagram' not in q['why'])
        print(f'{"":16} {"start CPU s":>12} {"more MiB":>9} {"us/query without":>17} {"with":>7} {"times":>6}')
        for peer in [one for one in this.peers if one.name in ADD]:
            _, rss, plain = sample(this, peer, hot)
            give_list(peer, zone)
            cpu, rss_list, listed = sample(this, peer, hot)
            print(f'{peer.name:16} {cpu:12.2f} {rss_list - rss:9.1f} {plain:17.2f} {listed:7.2f} {listed / plain:6.2f}',
                  flush=True)


if __name__ == '__main__':
    main()
