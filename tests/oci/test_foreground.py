"""`run` and `exec` with a terminal: their caller's own, or a console socket."""

from __future__ import annotations

import array
import fcntl
import os
import pty
import socket
import struct
import subprocess
import termios
from pathlib import Path
from typing import Any

import pytest

from .conftest import FOREVER, Runtime

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, as the default bundle does")


def with_terminal(document: dict[str, Any]) -> None:
    document["process"]["terminal"] = True


class Terminal:
    """A command on a terminal of its own, and what it shows."""

    def __init__(self, oci: Runtime, *words: str) -> None:
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("4H", 33, 77, 0, 0))
        self.process = subprocess.Popen(
            oci.command(*words), stdin=slave, stdout=slave, stderr=slave, env=oci.env, start_new_session=True
        )
        self.slave = slave  # with nobody on that side, what was shown is lost
        self.shown = b""

    def read_until(self, text: bytes) -> None:
        while text not in self.shown:
            self.shown += os.read(self.master, 4096)

    def end(self) -> int:
        """Waits, and reads what was shown since; the exit code."""
        code = self.process.wait(timeout=60)
        os.close(self.slave)
        try:
            while data := os.read(self.master, 4096):
                self.shown += data
        except OSError:  # EIO: that was all
            pass
        os.close(self.master)
        return code


def receive(server: socket.socket) -> int:
    """The master that a container sends to a console socket."""
    connection, _ = server.accept()
    with connection:
        name, ancillary, _, _ = connection.recvmsg(64, socket.CMSG_SPACE(4))
    assert name == b"/dev/ptmx"
    ((level, kind, data),) = ancillary
    assert (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS)
    (master,) = array.array("i", data)
    return int(master)


@pytest.fixture
def console(tmp_path: Path) -> socket.socket:
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(tmp_path / "console"))
    server.listen()
    server.settimeout(30)
    return server


def test_run_gives_its_terminal_to_the_workload(oci: Runtime) -> None:
    terminal = Terminal(
        oci, "run", "-b", str(oci.bundle("/app.wasm", "stdin", change=with_terminal)), oci.new_id()
    )
    os.write(terminal.master, b"typed\n")
    terminal.read_until(b"typed\r\ntyped\r\n")
    os.write(terminal.master, b"\4")
    assert terminal.end() == 0


def test_the_terminals_modes_are_as_before_afterwards(oci: Runtime) -> None:
    bundle = str(oci.bundle("/app.wasm", "exit", "5", change=with_terminal))
    terminal = Terminal(oci, "run", "-b", bundle, oci.new_id())
    before = termios.tcgetattr(terminal.master)
    assert terminal.process.wait(timeout=60) == 5
    assert termios.tcgetattr(terminal.master) == before
    terminal.end()


def test_a_terminal_needs_no_terminal_outside(oci: Runtime) -> None:
    bundle = str(oci.bundle("/app.wasm", "echo", "shown", change=with_terminal))
    done = oci("run", "-b", bundle, oci.new_id())
    assert (done.code, done.out) == (0, "shown\r\n")


def test_a_console_socket_gets_the_master(oci: Runtime, console: socket.socket, tmp_path: Path) -> None:
    container_id = oci.new_id()
    bundle = str(oci.bundle("/app.wasm", "stdin", change=with_terminal))
    oci.ok("create", "--console-socket", str(tmp_path / "console"), "-b", bundle, container_id)
    master = receive(console)
    oci.ok("start", container_id)
    os.write(master, b"typed\n")
    shown = b""
    while b"typed\r\ntyped\r\n" not in shown:
        shown += os.read(master, 4096)
    os.close(master)
    console.close()
    oci.ok("delete", "--force", container_id)


def test_exec_has_a_terminal_of_its_own(oci: Runtime, console: socket.socket, tmp_path: Path) -> None:
    container_id = oci.running()
    terminal = Terminal(oci, "exec", "-t", container_id, "/app.wasm", "echo", "shown")
    assert terminal.end() == 0
    assert terminal.shown == b"shown\r\n"
    words = (
        "--console-socket",
        str(tmp_path / "console"),
        "-d",
        "-t",
        container_id,
        "/app.wasm",
        "echo",
        "sent",
    )
    oci.ok("exec", *words)
    master = receive(console)
    assert os.read(master, 4096) == b"sent\r\n"
    os.close(master)
    console.close()


def test_C21_a_terminal_that_nobody_takes_is_refused(oci: Runtime) -> None:
    bundle = str(oci.bundle(*FOREVER, change=with_terminal))
    assert "give --console-socket" in oci.refused("create", "-b", bundle, oci.new_id())
    assert "longer than" in oci.refused(
        "create", "--console-socket", "/" + "x" * 200, "-b", bundle, oci.new_id()
    )
    assert "cannot be used" in oci.refused(
        "create", "--console-socket", "/no/such", "-b", bundle, oci.new_id()
    )
    without = str(oci.bundle())
    assert "of use only" in oci.refused("create", "--console-socket", "/no/such", "-b", without, oci.new_id())
    assert oci.ok("list", "-q") == ""


def test_C21_a_peer_that_never_reads_keeps_nobody(
    oci: Runtime, console: socket.socket, tmp_path: Path
) -> None:
    bundle, container_id = (
        str(oci.bundle("/app.wasm", "flood", "10000000", change=with_terminal)),
        oci.new_id(),
    )
    oci.ok("create", "--console-socket", str(tmp_path / "console"), "-b", bundle, container_id)
    oci.ok("start", container_id)
    oci.ok("kill", container_id, "KILL")
    oci.wait_for(container_id, "stopped")
    console.close()
