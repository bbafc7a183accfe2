"""Attached clients: output, input, terminals, the end; rows W18, W19."""

import os

from sampan.container import control, ending
from sampan.core import strictjson


def attach(entry):
    connection = control.request(entry.folder, {"do": "attach"})
    assert control.receive(connection)[0] == b"{}"
    return connection


def collect(connection):
    """All output of a connection, and the exit record that ends it."""
    output = b""
    while True:
        data, _ = control.receive(connection)
        if not data:
            return output, None
        if data[:1] == control.ENDED:
            return output, strictjson.loads(data[1:])
        output += data[1:]


def test_input_and_output_go_through(world):
    entry = world.start("stdin", keep_stdin=True)
    connection = attach(entry)
    connection.send(control.STDIN + b"hello\n")
    connection.send(control.STDIN_END)
    output, record = collect(connection)
    connection.close()
    assert output == b"hello\n"
    assert record["code"] == 0
    assert world.output(entry) == b"hello\n"


def test_W19_much_input_is_neither_lost_nor_kept_in_memory(world):
    entry = world.start("stdin", keep_stdin=True)
    connection = attach(entry)
    chunk = os.urandom(control.MAX_DATA)
    count = 64
    if os.fork() == 0:
        for _ in range(count):
            connection.send(control.STDIN + chunk)
        connection.send(control.STDIN_END)
        os._exit(0)
    output, record = collect(connection)
    os.wait()
    connection.close()
    assert output == chunk * count
    assert record["code"] == 0


def test_all_output_reaches_a_slow_reader_after_the_end(world):
    entry = world.start("stdin", keep_stdin=True)
    connection = attach(entry)
    connection.send(control.STDIN + b"x" * control.MAX_DATA)
    connection.send(control.STDIN_END)
    output, record = collect(connection)
    connection.close()
    assert len(output) == control.MAX_DATA
    assert record["reason"] == "exited"


def test_two_may_attach_and_one_may_leave(world):
    entry = world.start("stdin", keep_stdin=True)
    first, second = attach(entry), attach(entry)
    first.close()
    second.send(control.STDIN + b"still here\n")
    second.send(control.STDIN_END)
    assert collect(second)[0] == b"still here\n"
    second.close()


def test_a_terminal_echoes_and_ends_at_control_d(world):
    entry = world.start("stdin", keep_stdin=True, terminal=True)
    connection = attach(entry)
    connection.send(control.RESIZE + b'{"rows": 40, "columns": 100}')
    connection.send(control.STDIN + b"typed\n")
    connection.send(control.STDIN_END)
    output, record = collect(connection)
    connection.close()
    assert output.count(b"typed") == 2
    assert record["code"] == 0


def test_garbage_on_the_control_socket_harms_nobody(world):
    entry = world.start("sleep", "100")
    for packet in (b"", b"{", b"[]", b'{"do": "nothing"}', b"\xff" * 1000, b'{"do": "attach"}'):
        connection = control.connect(entry.folder)
        connection.send(packet)
        if b"attach" in packet:
            for more in (
                control.RESIZE + b"{}",
                control.RESIZE + b'{"rows": -1, "columns": 1e9}',
                b"\x99",
                control.STDIN + b"x",
            ):
                connection.send(more)
        connection.close()
    assert control.ask(entry.folder, {"do": "ports"})[0] == []
    assert ending.stop(entry, world.roots, 15, 5).code == 143


def test_K10_many_connections_do_not_lock_others_out_for_good(world):
    entry = world.start("sleep", "100")
    held = [control.connect(entry.folder) for _ in range(60)]
    for connection in held:
        connection.close()
    assert control.ask(entry.folder, {"do": "ports"})[0] == []
