"""A bench on which the functions are called as a guest calls them, and real guests in the background."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from struct import pack, unpack_from
from typing import Any

import pytest

from sampan.engine.code import wat_to_wasm
from sampan.engine.grants import Grants, Network, PortMap
from sampan.engine.sockets.calls import Calls
from sampan.engine.sockets.interface import wasi_errno
from sampan.engine.sockets.memory import GuestMemory
from sampan.engine.sockets.routes import Routes
from sampan.engine.sockets.shared import SharedCalls
from sampan.engine.sockets.table import Table

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "examples"
SIZE = 1 << 17
ANY, LOOPBACK = bytes(4), bytes([127, 0, 0, 1])
LOOPBACK6 = bytes(15) + b"\1"
INET4, INET6, UNIX = 1, 2, 3
DATAGRAM, STREAM = 1, 2


class Bench:
    """One run's world with a memory of 128 KiB; every call gives WASI's errno, as a guest sees it."""

    def __init__(self, network: Network) -> None:
        self.bound: list[tuple[PortMap, int]] = []
        self.memory = GuestMemory()
        self.memory.view = memoryview(bytearray(SIZE))
        self.table = Table()
        self.routes = Routes(network, lambda mapping, port: self.bound.append((mapping, port)))
        self.calls = Calls(self.memory, self.table, self.routes)
        self.shared = SharedCalls(self.calls, self.file_status)
        self._next = 1024

    def file_status(self, descriptor: int, out: int) -> int:
        """The engine's part: here it has one file, descriptor 4."""
        self.memory.slice(out, 24)[:] = bytes(24)
        return 0 if descriptor == 4 else 8

    def call(self, name: str, *numbers: int) -> int:
        home = self.calls if name.startswith("sock_") else self.shared
        try:
            passed_on = getattr(home, name)(*numbers)
        except OSError as error:
            return wasi_errno(error)
        assert not passed_on, f"{name} was left to the engine"
        return 0

    def put(self, data: bytes | int) -> int:
        """Place for some bytes, 8-aligned."""
        data = bytes(data)
        place, self._next = self._next, self._next + len(data) + 7 & ~7
        self.memory.view[place : place + len(data)] = data
        return place

    def get(self, place: int, size: int) -> bytes:
        return bytes(self.memory.view[place : place + size])

    def u32(self, place: int) -> int:
        return unpack_from("<I", self.memory.view, place)[0]

    def address(self, packed: bytes | int) -> int:
        """WasmEdge's address structure, around the bytes or so much room."""
        return self.put(pack("<II", self.put(packed), len(bytes(packed))))

    def vectors(self, *buffers: bytes | int) -> tuple[int, int]:
        """An array of I/O vectors and its length."""
        array = b"".join(pack("<II", self.put(b), len(bytes(b))) for b in buffers)
        return self.put(array), len(buffers)

    def vector_data(self, array: int, index: int = 0) -> bytes:
        return self.get(*unpack_from("<II", self.memory.view, array + 8 * index))

    # The calls that most tests need, checked.

    def open(self, family: int = INET4, kind: int = STREAM) -> int:
        out = self.put(4)
        assert self.call("sock_open", family, kind, out) == 0
        return self.u32(out)

    def bind(self, fd: int, packed: bytes = ANY, port: int = 0) -> int:
        return self.call("sock_bind", fd, self.address(packed), port)

    def listen(self, packed: bytes = LOOPBACK, port: int = 0, family: int = INET4) -> tuple[int, int]:
        """A listening stream socket and its port, as the guest sees it."""
        fd = self.open(family)
        assert self.bind(fd, packed, port) == 0
        assert self.call("sock_listen", fd, 16) == 0
        return fd, self.local(fd)[1]

    def connect(self, fd: int, packed: bytes, port: int) -> int:
        return self.call("sock_connect", fd, self.address(packed), port)

    def accept(self, fd: int) -> int:
        out = self.put(4)
        assert self.call("sock_accept", fd, out) == 0
        return self.u32(out)

    def send(self, fd: int, *data: bytes) -> int:
        out = self.put(4)
        assert self.call("sock_send", fd, *self.vectors(*data), 0, out) == 0
        return self.u32(out)

    def receive(self, fd: int, room: int = 64, flags: int = 0) -> bytes:
        array, count = self.vectors(room)
        size, told = self.put(4), self.put(4)
        assert self.call("sock_recv", fd, array, count, flags, size, told) == 0
        return self.vector_data(array)[: self.u32(size)]

    def local(self, fd: int, name: str = "sock_getlocaladdr") -> tuple[bytes, int]:
        """Address and port by the newer form."""
        storage, port = self.put(128), self.put(4)
        assert self.call(name, fd, self.put(pack("<II", storage, 128)), port) == 0
        family = self.get(storage, 2)[0]
        return self.get(storage + 2, 4 if family == INET4 else 16), self.u32(port)

    def pair(self) -> tuple[int, int]:
        """Two connected stream sockets."""
        listener, port = self.listen()
        client = self.open()
        assert self.connect(client, LOOPBACK, port) == 0
        return client, self.accept(listener)


@pytest.fixture
def bench() -> Iterator[Callable[..., Bench]]:
    """Makes a `Bench` with a network: `bench("host")`, `bench("published", PortMap(...))`."""
    made: list[Bench] = []

    def make(mode: str = "host", *ports: PortMap) -> Bench:
        made.append(Bench(Network(mode, list(ports))))
        return made[-1]

    yield make
    for one in made:
        one.table.close()


class Guest:
    """A workload in a process in the background."""

    def __init__(self, process: subprocess.Popen[bytes], report: int) -> None:
        self.process = process
        self._report = os.fdopen(report, "rb", 0)

    def next_report(self) -> dict[str, Any]:
        """What it says next: a bound port, or its ending."""
        ready, _, _ = select.select([self._report], [], [], 30)
        assert ready, "nothing is heard of the guest"
        line = self._report.readline()
        assert line, self.process.communicate(timeout=10)
        return json.loads(line)

    def read_line(self) -> bytes:
        assert self.process.stdout
        return self.process.stdout.readline()

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()
        self._report.close()


Serve = Callable[..., Guest]


@pytest.fixture
def serve(tmp_path: Path, code_cache: list[str]) -> Iterator[Serve]:
    """Starts a workload (a file, or text) with grants: `serve(file, Grants(...))`; several run at once."""
    guests: list[Guest] = []

    def start(code: Path | str, *grants: Grants) -> Guest:
        file = tmp_path / "guest.wasm"
        file.write_bytes(wat_to_wasm(code.encode()) if isinstance(code, str) else code.read_bytes())
        read, write = os.pipe()
        wish = {
            "file": str(file),
            "grants": [g.to_json() for g in grants],
            "cache": code_cache,
            "report": write,
        }
        process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("serve_guest.py")), json.dumps(wish)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=(write,),
            env={"PYTHONPATH": str(ROOT / "src")},
        )
        os.close(write)
        guests.append(Guest(process, read))
        return guests[-1]

    yield start
    for guest in guests:
        guest.close()
