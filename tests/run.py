#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Start kresd from a build tree on the loopback addresses, at port 53 or the first free one from 5353 on.

usage: run.py BUILD [--world] [arguments of kresd]

With --world it lives in the small Internet of tests/world: the servers run in a network namespace of their own, kresd
inherits sockets that were opened outside of it.
"""
import argparse
import itertools
import os
import pathlib
import socket
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ADDRESSES = ('127.0.0.1', '::1')
EXAMPLE = {False: 'example.com', True: 'alpha. SOA'}
INSIDE = ['unshare', '--net', '--pid', '--fork', '--kill-child', '--mount-proc']


def listen_at(port):
    """UDP and TCP sockets on both addresses; None when the port is taken. A host may lack IPv6."""
    sockets = []
    for address in ADDRESSES:
        family = socket.AF_INET6 if ':' in address else socket.AF_INET
        for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
            try:
                s = socket.socket(family, kind)
                if family == socket.AF_INET6:
                    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                if kind == socket.SOCK_STREAM:
                    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                s.bind((address, port))
                if kind == socket.SOCK_STREAM:
                    s.listen(128)
                sockets.append(s)
            except OSError:
                if family == socket.AF_INET:
                    for other in sockets:
                        other.close()
                    return None
    return sockets


def find_port():
    for port in itertools.chain([53], range(5353, 5400)):
        sockets = listen_at(port)
        if sockets:
            return port, sockets
    sys.exit('run: no free port')


def run_in_world(kresd, folder, sockets, more):
    """Still outside: hand the open sockets on to this program's second life, inside a namespace."""
    command = [*INSIDE, sys.executable, __file__, str(kresd), '--inside', str(folder),
               *(str(s.fileno()) for s in sockets), '--', *more]
    if os.geteuid() != 0:
        command[1:1] = ['--user', '--map-root-user']
    return subprocess.call(command, pass_fds=[s.fileno() for s in sockets])


def inside(kresd, folder, fds, more):
    sys.path.insert(0, str(HERE))
    from world.servers import Internet
    with Internet(folder / 'world') as world:
        (folder / 'world.conf').write_text(f"""trust_anchors.remove('.')
trust_anchors.add_file('{world.keys}', true)
modules.load('hints > iterate')
hints.root_file('{world.hints}')
""")
        well = world.plan.well[0].name
        print(f'run: the world is up; ask for www.{well} or www.expired-sick.alpha.; control socket in {folder}/control',
              flush=True)
        return subprocess.call([kresd, '-n', *(f'--fd={fd}' for fd in fds), '-c', str(folder / 'world.conf'), *more, str(folder)],
                               pass_fds=fds)


def main():
    if '--inside' in sys.argv:
        end = sys.argv.index('--')
        kresd, _, folder, *fds = sys.argv[1:end]
        return inside(kresd, pathlib.Path(folder), [int(fd) for fd in fds], sys.argv[end + 1:])
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('build')
    p.add_argument('--world', action='store_true')
    args, more = p.parse_known_args()
    kresd = pathlib.Path(args.build).resolve() / 'daemon/kresd'
    port, sockets = find_port()
    where = ' and '.join(sorted({f'{s.getsockname()[0]}' for s in sockets}))
    print(f'run: kresd on {where}, port {port} (UDP and TCP); try: kdig @127.0.0.1 -p {port} {EXAMPLE[args.world]} +dnssec',
          flush=True)
    if args.world:
        with tempfile.TemporaryDirectory(prefix='kresd-') as folder:
            return run_in_world(kresd, folder, sockets, more)
    folder = kresd.parent.parent / 'run'
    folder.mkdir(exist_ok=True)
    for s in sockets:
        s.close()
    listen = [f'--addr={a}@{port}' for a in sorted({s for s in ADDRESSES if s in where})]
    os.execv(kresd, [str(kresd), '-n', *listen, *more, str(folder)])


if __name__ == '__main__':
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(0)
