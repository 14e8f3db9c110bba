#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Lua hooks cost: CPU time per cached query of one kresd in several configurations, in turns. `./dev bench hooks`.

The answer cache is off unless the name says otherwise, so that every query makes a request. The limit for a finish
hook that only counts is 0.5 microseconds, measured without the noise of sockets (hooks.lua). Figures are the least of
all rounds: whatever else the machine does only adds to them.
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import bench  # noqa: E402
import resolvers  # noqa: E402
from world.servers import Internet  # noqa: E402

LIMIT_US = 0.5
COUNTER = '''
package.preload['kres_modules.counter'] = function ()
    local n = 0
    return { layer = { %s finish = function (state) n = n + 1; return state end } }
end
modules.load('counter')
'''
ALL_HOOKS = '''
package.preload['kres_modules.all_hooks'] = function ()
    local function pass(state) return state end
    return { layer = { begin = pass, produce = pass, consume = pass, reset = pass, answer_finalize = pass, finish = pass } }
end
modules.load('all_hooks')
'''
VARIANTS = {
    'no hook': 'cache.answers(0)',
    'counting finish': 'cache.answers(0)' + COUNTER % '',
    'six empty hooks': 'cache.answers(0)' + ALL_HOOKS,
    'answer cache': '',
    'answer cache, skippable': COUNTER % 'skippable = true,',
}


class Variant(resolvers.Kresd):
    def configure(self, validate):
        command = super().configure(validate)
        with open(self.folder / 'kresd.conf', 'a', encoding='ascii') as file:
            file.write(VARIANTS[self.name])
        return command


def measure(args, folder, world):
    tools = pathlib.Path(args.build).resolve()
    names = folder / 'names.txt'
    names.write_text(''.join(f'{q["name"]} 1\n' for q in world.questions if q['type'] == 'A' and q['rcode'] == 'NOERROR'
                             and '\\' not in q['name'] and not q['why'].startswith(bench.UNFIT)))
    kresds = [Variant(name, str(tools / 'daemon/kresd'), folder, world, f'127.0.1.{i + 1}')
              for i, name in enumerate(VARIANTS)]
    samples = {name: [] for name in VARIANTS}

    def load(one, length):
        before = one.cpu_s()
        done = subprocess.run(['taskset', '-c', '1', str(tools / 'tests/bench/bench_load'), one.address,
                               str(resolvers.PORT), str(names), str(length)], capture_output=True, text=True, check=True)
        return (one.cpu_s() - before) * 1e6 / max(1, json.loads(done.stdout)['answered'])
    try:
        for one in kresds:
            one.start(['taskset', '-c', '0'])
            for _ in range(3):
                load(one, 'once')
            load(one, 0.5)
        for number in range(args.rounds):
            shift = number % len(kresds)
            for one in kresds[shift:] + kresds[:shift]:
                samples[one.name].append(load(one, args.seconds))
    finally:
        for one in kresds:
            one.stop()
    return samples


def one_call(args):
    """CPU time of one call of a hook, by its arguments; see hooks.lua."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run([str(pathlib.Path(args.build).resolve() / 'daemon/kresd'), '-n', '-c', str(HERE / 'hooks.lua')],
                              cwd=folder, capture_output=True, text=True, check=True, env={'KRESD_NO_LISTEN': '1'})
    return {line[5:line.index(':')]: float(line.split()[-1]) for line in done.stdout.splitlines() if line.startswith('hook ')}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--build', required=True)
    parser.add_argument('--rounds', type=int, default=9)
    parser.add_argument('--seconds', type=float, default=1)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / 'world').mkdir()
        with Internet(folder / 'world') as world:
            samples = measure(args, folder, world)
    least = {name: min(values) for name, values in samples.items()}
    print(f'{"":26} {"CPU us/query":>13} {"beyond no hook":>15} {"median":>8}')
    for name, value in least.items():
        print(f'{name:26} {value:13.2f} {value - least["no hook"]:15.2f} {statistics.median(samples[name]):8.2f}')
    print('a finish hook that counts, us by what it takes:')
    costs = one_call(args)
    for what, cost in costs.items():
        print(f'  {what:24} {cost:6.2f}  (the limit is {LIMIT_US})')
    return 0 if max(costs.values()) <= LIMIT_US else 1


if __name__ == '__main__':
    sys.exit(main())
