# SPDX-License-Identifier: GPL-3.0-or-later
"""The control socket, byte for byte."""
import socket

import pytest


def connect(one):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(5)
    s.connect(str(one.folder / 'control' / str(one.process.pid)))
    return s


def read_until(sock, end):
    got = b''
    while not got.endswith(end):
        more = sock.recv(4096)
        assert more, f'closed after {got!r}'
        got += more
    return got


@pytest.fixture(scope='module')
def one(tmp_path_factory, new_address):
    import programs
    with programs.Kresd(tmp_path_factory.mktemp('control'), '', new_address()) as process:
        yield process


@pytest.mark.parametrize('sent, received', [
    (b'1+1\n', b'2\n> '),
    (b'tostring(5)\n', b"'5'\n> "),
    (b'x = 5\n', b'\n> '),
    (b'nil\n', b'nil\n> '),
    (b'return 1,2\n', b'2\n> '),
    (b'{}\n', b'{\n}\n> '),
    (b'tojson({a = {1, 2}})\n', b'\'{"a":[1,2]}\'\n> '),
    (b'1+1\r\n', b'2\n> '),
])
def test_text_mode(one, sent, received):
    with connect(one) as s:
        assert read_until(s, b'> ') == b'> '
        s.sendall(sent)
        assert read_until(s, b'> ') == received


def test_command_in_pieces(one):
    with connect(one) as s:
        read_until(s, b'> ')
        for byte in b'40 + 2':
            s.sendall(bytes([byte]))
        s.sendall(b'\n')
        assert read_until(s, b'> ') == b'42\n> '


def test_commands_of_one_write_run_in_order(one):
    with connect(one) as s:
        read_until(s, b'> ')
        s.sendall(b'y = 1\ny = y + 1\ny\n')
        assert read_until(s, b'2\n> ') == b'\n> \n> 2\n> '


def test_variables_outlive_the_connection(one):
    one.control('kept = 11')
    assert one.control('kept') == ['11']


def test_error_is_the_result(one):
    with connect(one) as s:
        read_until(s, b'> ')
        s.sendall(b"error('mine')\n")
        assert b'mine' in read_until(s, b'> ')
        s.sendall(b'1\n')
        assert read_until(s, b'> ') == b'1\n> '


def test_binary_mode(one):
    with connect(one) as s:
        read_until(s, b'> ')
        s.sendall(b'__binary\n1+1\nz = 1\n')
        assert s.makefile('rb').read(9) == b'\0\0\0\x012' + b'\0\0\0\0'


def test_many_clients_and_rude_ones(one):
    rude = connect(one)
    rude.sendall(b'1 + ')
    others = [connect(one) for _ in range(50)]
    for number, s in enumerate(others):
        s.sendall(b'%d\n' % number)
    for number, s in enumerate(others):
        assert read_until(s, b'%d\n> ' % number)
        s.close()
    rude.close()
    noisy = connect(one)
    noisy.sendall(b'\0\xff' * 3000 + b'\n')
    assert read_until(noisy, b'\n> ')
    noisy.close()
    assert one.control('1') == ['1']


def test_endless_line_does_not_take_memory(one):
    with connect(one) as s:
        try:
            for _ in range(400):
                s.sendall(b'x' * 65536)
        except OSError:
            pass
    assert one.control('2') == ['2']


def test_socket_is_gone_after_the_end(kresd):
    process = kresd().start()
    path = process.folder / 'control' / str(process.process.pid)
    assert path.is_socket()
    assert process.stop() == 0
    assert not path.exists()
