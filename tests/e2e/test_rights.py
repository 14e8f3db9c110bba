# SPDX-License-Identifier: GPL-3.0-or-later
"""What the process may do once it serves (H-01), and who may read its files (H-08)."""
import os
import stat

import pytest

pytestmark = pytest.mark.skipif(os.geteuid() != 0 or len(open('/proc/self/uid_map').read().split('\n')) > 2
                                or '4294967295' not in open('/proc/self/uid_map').read(), reason='only root can become another')


def status(one):
    lines = open(f'/proc/{one.process.pid}/status').read().splitlines()
    return dict(line.split(':\t', 1) for line in lines if ':\t' in line)


@pytest.fixture
def folder_for_all(tmp_path):
    """The new user has to reach it."""
    for path in [tmp_path, *tmp_path.parents]:
        if path.stat().st_uid == os.geteuid() and str(path).startswith('/tmp/'):
            path.chmod(0o777)
    return tmp_path


def test_another_user_for_good(kresd, folder_for_all):
    one = kresd("user('nobody', 'nogroup')\ncache.open(MB, 'lmdb://{folder}/cache')\n",
                base="net.listen('{address}', {port}) trust_anchors.remove('.')\n")
    one.folder.chmod(0o777)
    with one:
        now = status(one)
        assert set(now['Uid'].split()) == set(now['Gid'].split()) == {'65534'} and now['Groups'].split() == ['65534']
        for which in ('CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb'):
            assert int(now[which], 16) == 0, which
        assert now['NoNewPrivs'] == '1'
        assert one.control('1') == ['1'], 'the folder of control sockets is the new user\'s'
        assert 'Permission' not in one.log
        assert one.control('reload()') == ['true']


def test_root_keeps_what_configuration_needs(kresd):
    with kresd() as one:
        now = status(one)
        kept = int(now['CapEff'], 16)
        sys_admin, sys_ptrace, sys_module, net_bind = 21, 19, 16, 10
        assert not kept & (1 << sys_admin | 1 << sys_ptrace | 1 << sys_module)
        assert kept & 1 << net_bind and int(now['CapBnd'], 16) == kept and now['NoNewPrivs'] == '1'
        assert 'running as root' in one.log
    with kresd(args=['--allow-root']) as one:
        assert 'running as root' not in one.log


@pytest.mark.parametrize('umask', [0o000, 0o022, 0o077])
def test_control_socket_is_for_owner_and_group(kresd, umask):
    before = os.umask(umask)
    try:
        one = kresd().start()
    finally:
        os.umask(before)
    mode = stat.S_IMODE((one.folder / 'control' / str(one.process.pid)).stat().st_mode)
    assert mode == 0o660
