# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds the world in a folder and runs its servers. Needs a network namespace of its own (./dev gives one)."""
import json
import pathlib
import socket
import subprocess
import sys
import time

from . import oracle, plan

HERE = pathlib.Path(__file__).resolve().parent
KNOT_CONF = '''
server:
  rundir: "{home}"
  udp-workers: 1
  tcp-workers: 1
  background-workers: 1
  listen: [{listen}]
  answer-rotation: off
database:
  storage: "{home}"
log:
  - target: stderr
    any: error
template:
  - id: default
    storage: "{zones}"
    journal-content: none
    semantic-checks: off
    zonefile-load: whole
    zonefile-sync: -1
zone:
'''


def zone_file(name):
    return (name.rstrip('.') or 'root') + '.zone'


class Internet:
    """`with Internet(folder) as world:` builds, starts and stops everything.

    Afterwards the folder holds root.hints, root.keys, questions.json and the servers' logs.
    """

    def __init__(self, folder, seed=plan.SEED):
        self.folder = pathlib.Path(folder)
        self.plan = plan.World(seed)
        self.hints, self.keys = self.folder / 'root.hints', self.folder / 'root.keys'
        self._processes = []

    def __enter__(self):
        try:
            self.build()
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    # -- files --

    def build(self):
        zones = self.folder / 'zones'
        zones.mkdir(parents=True, exist_ok=True)
        now = time.time()
        for zone in self.plan.zones.values():
            (zones / zone_file(zone.name)).write_text('\n'.join(zone.signed_lines(now)) + '\n')
        root = self.plan.zones['.']
        self.hints.write_text(''.join(f'. 518400 IN NS {ns}\n{ns} 518400 IN {"AAAA" if ":" in a else "A"} {a}\n'
                                      for ns, a in root.servers))
        self.keys.write_text(''.join(f'. 3600 IN DNSKEY {k.rdata.to_text()}\n' for k in root.keys if k.flags == 257))
        self.questions = self._questions()
        (self.folder / 'questions.json').write_text(json.dumps(self.questions, indent=0))

    def _questions(self):
        """[{name, type, why, rcode, ad, answer}]: what is worth asking, and what must come of it."""
        judge = oracle.Oracle(self.plan)
        return [{'name': name, 'type': rtype, 'why': why, **judge.ask(name, rtype).as_json()}
                for (name, rtype), why in self.plan.questions.items()]

    # -- processes --

    def start(self):
        addresses = self.plan.addresses
        rogues = [r['address'] for r in addresses.rogues]
        self._add_addresses([a for role in addresses.listen.values() for a in role] + rogues + addresses.silent)
        for role in plan.ROLES:
            self._start_knotd(role)
        (self.folder / 'rogues.json').write_text(json.dumps(addresses.rogues))
        rogue = self._spawn('rogue', [sys.executable, str(HERE / 'rogue.py'), str(self.folder / 'rogues.json')],
                            stdout=subprocess.PIPE)
        if rogue.stdout.readline() != b'ready\n':
            raise RuntimeError(f'rogue.py failed: {self._log("rogue").read_text()}')
        for role in plan.ROLES:
            self._wait_for(role)

    def _add_addresses(self, addresses):
        lines = ['link set lo up']
        lines += [f'address add {a}/{128 if ":" in a else 32} dev lo' for a in addresses]
        subprocess.run(['ip', '-force', '-batch', '-'], input='\n'.join(lines), text=True, check=False, stderr=subprocess.DEVNULL)

    def _log(self, name):
        return self.folder / f'{name}.log'

    def _spawn(self, name, command, **how):
        with open(self._log(name), 'wb') as log:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, **{'stdout': log, 'stderr': log, **how})
        self._processes.append(process)
        return process

    def _start_knotd(self, role):
        home = self.folder / f'knot-{role}'
        home.mkdir(exist_ok=True)
        listen = ', '.join(f'{a}@53' for a in self.plan.addresses.listen[role])
        names = [z.name for z in self.plan.zones.values() if z.level == role]
        conf = KNOT_CONF.format(home=home, listen=listen, zones=self.folder / 'zones')
        conf += ''.join(f'  - domain: "{name}"\n    file: "{zone_file(name)}"\n' for name in names)
        (home / 'knot.conf').write_text(conf)
        self._spawn(f'knot-{role}', ['knotd', '-c', str(home / 'knot.conf')])

    def _wait_for(self, role, patience_s=30):
        """Until the last zone of a role is served."""
        name = [z.name for z in self.plan.zones.values() if z.level == role][-1]
        wire = b''.join(bytes([len(x)]) + x.encode() for x in name.rstrip('.').split('.') if x) + b'\0'
        query = b'\0\1\0\0\0\1\0\0\0\0\0\0' + wire + b'\0\6\0\1'
        address = next(a for a in self.plan.addresses.listen[role] if ':' not in a)
        end = time.monotonic() + patience_s
        while time.monotonic() < end:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
                s.settimeout(0.2)
                try:
                    s.connect((address, 53))
                    s.send(query)
                    if s.recv(4096)[3] & 15 == 0:
                        return
                except OSError:
                    pass
            time.sleep(0.02)
        raise RuntimeError(f'knotd for {role} did not start: {self._log("knot-" + role).read_text()}')

    def stop(self):
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout:
                process.stdout.close()
        self._processes = []
