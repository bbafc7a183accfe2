"""The shim as containerd starts it, its Task API spoken by hand, and a containerd that only takes events."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sampan.doors.oci.template import default_document
from sampan.doors.shim import messages
from sampan.doors.shim.events import TOPICS
from sampan.doors.shim.service import OWN_SERVICE
from sampan.wire import ttrpc
from sampan.wire.protobuf import Message

from ..waiting import until

ROOT = Path(__file__).parents[2]
START = ROOT / "src" / "sampan" / "doors" / "shim" / "__main__.py"
TOOLBOX = ROOT / "examples" / "05-toolbox" / "toolbox.wasm"
SERVICE = "containerd.task.v2.Task"
EVENTS = {topic: kind for kind, topic in TOPICS.items()}
FOREVER = ("/app.wasm", "sleep", "100000")
_numbers = itertools.count()


class Client:
    """A connection to a server: calls one at a time, or begun now and answered later."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(30)
        try:
            self.socket.connect(address.removeprefix("unix://"))
        except OSError:
            self.socket.close()
            raise
        self._streams = itertools.count(1, 2)
        self._decoder = ttrpc.Decoder()
        self._answers: dict[int, list[bytes]] = {}

    def begin(self, method: str, request: Message, service: str = SERVICE) -> int:
        """Sends a call; its stream."""
        stream = next(self._streams)
        self.socket.sendall(ttrpc.request(stream, service, method, request.encode()))
        return stream

    def answer(self, stream: int) -> bytes:
        """The payload of the answer to a call.

        Raises:
            SampanError: what the server says went wrong. EOFError: it has closed the connection.
        """
        while stream not in self._answers:
            data = self.socket.recv(1 << 16)
            if not data:
                raise EOFError
            for frame in self._decoder.feed(data):
                assert frame.type == ttrpc.RESPONSE
                self._answers.setdefault(frame.stream, []).append(frame.data or b"")
        answer, *others = self._answers.pop(stream)
        if others:
            self._answers[stream] = others
        return ttrpc.read_answer(answer)

    def call(self, method: str, request: Message, service: str = SERVICE) -> bytes:
        return self.answer(self.begin(method, request, service))

    def close(self) -> None:
        self.socket.close()

    # -- the calls of a task's life

    def create(self, task: str, bundle: Path, **more: Any) -> int:
        request = messages.CreateRequest(task, str(bundle), **more)
        return messages.PidResponse.decode(self.call("Create", request)).pid

    def start(self, task: str, exec_id: str = "") -> int:
        return messages.PidResponse.decode(self.call("Start", messages.TaskRequest(task, exec_id))).pid

    def state(self, task: str, exec_id: str = "") -> messages.StateResponse:
        return messages.StateResponse.decode(self.call("State", messages.TaskRequest(task, exec_id)))

    def wait(self, task: str, exec_id: str = "") -> messages.WaitResponse:
        return messages.WaitResponse.decode(self.call("Wait", messages.TaskRequest(task, exec_id)))

    def kill(self, task: str, number: int = 9, exec_id: str = "", *, everyone: bool = False) -> None:
        self.call("Kill", messages.KillRequest(task, exec_id, number, everyone))

    def delete(self, task: str, exec_id: str = "") -> messages.DeleteResponse:
        return messages.DeleteResponse.decode(self.call("Delete", messages.TaskRequest(task, exec_id)))

    def execute(self, task: str, exec_id: str, *args: str, **more: Any) -> None:
        document = {"args": list(args), "cwd": "/", "env": [], "user": {"uid": 0, "gid": 0}}
        url = "types.containerd.io/opencontainers/runtime-spec/1/Process"
        spec = messages.Any(url, json.dumps(document).encode())
        self.call("Exec", messages.ExecRequest(task, exec_id, spec=spec, **more))

    def end(self, task: str) -> messages.DeleteResponse:
        """Kills and removes a task."""
        self.kill(task)
        self.wait(task)
        return self.delete(task)


class Sink:
    """Takes events as containerd does; may be away."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.events: list[Message] = []
        self.namespaces: set[str] = set()
        self._listener: socket.socket | None = None
        self._peers: list[socket.socket] = []
        self._threads: list[threading.Thread] = []

    def open(self) -> None:
        self.path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self._listener.listen()
        self._run(self._accept, self._listener)

    def close(self) -> None:
        """Is away, with all its connections."""
        if self._listener is not None:
            self.path.unlink()
            for each in (self._listener, *self._peers):
                try:
                    each.shutdown(socket.SHUT_RDWR)
                except OSError:  # it has gone by itself
                    pass
                each.close()
        for thread in self._threads:
            thread.join(10)
        self._listener, self._peers, self._threads = None, [], []

    def topics(self, task: str) -> list[str]:
        """What was told of a task, by the events' names."""
        return [type(e).__name__ for e in self.events if getattr(e, "container_id", "") == task]

    def _run(self, work: Callable[[socket.socket], None], given: socket.socket) -> None:
        thread = threading.Thread(target=work, args=(given,))
        thread.start()
        self._threads.append(thread)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            self._peers.append(peer)
            self._run(self._serve, peer)

    def _serve(self, peer: socket.socket) -> None:
        decoder = ttrpc.Decoder()
        try:
            while data := peer.recv(1 << 16):
                for frame in decoder.feed(data):
                    self._take(ttrpc.Request.decode(frame.data or b""))
                    peer.sendall(ttrpc.answer(frame.stream, b""))
        except OSError:
            return

    def _take(self, request: ttrpc.Request) -> None:
        assert (request.service, request.method) == ("containerd.services.events.ttrpc.v1.Events", "Forward")
        envelope = messages.ForwardRequest.decode(request.payload).envelope
        assert envelope is not None and envelope.event is not None and envelope.timestamp is not None
        kind = EVENTS[envelope.topic]
        assert envelope.event.type_url == f"containerd.events.{kind.__name__}"
        self.namespaces.add(envelope.namespace)
        self.events.append(kind.decode(envelope.event.value))


class Shim:
    """The program, with roots of its own."""

    def __init__(self, folder: Path, data: Path) -> None:
        self.folder = folder
        self.run = folder / "run"
        self.data = data
        self.sink = Sink(folder / "e")
        self.clients: list[Client] = []
        self.bundles: dict[str, Path] = {}

    def command(self, task: str, *words: str, namespace: str = "test", runtime: str = "sampan") -> list[str]:
        program = f"/bin/containerd-shim-{runtime}-v1"
        flags = [
            "-namespace",
            namespace,
            "-address",
            f"{self.folder}/c",
            "-publish-binary",
            "/bin/true",
            "-id",
            task,
        ]
        return [sys.executable, "-I", "-S", str(START), program, *flags, *words]

    def __call__(
        self, task: str, bundle: Path, *words: str, **more: str
    ) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            self.command(task, *words, **more), cwd=bundle, env=self.env, capture_output=True, timeout=60
        )

    @property
    def env(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "SAMPAN_ROOT": str(self.data),
            "SAMPAN_RUN_ROOT": str(self.run),
            "TTRPC_ADDRESS": str(self.sink.path),
        }

    def start(self, task: str, bundle: Path, **more: str) -> str:
        """The address that `start` prints."""
        done = self(task, bundle, "start", **more)
        assert (done.returncode, done.stderr) == (0, b""), done
        self.bundles[task] = bundle
        return done.stdout.decode()

    def connect(self, address: str) -> Client:
        client = Client(address)
        self.clients.append(client)
        return client

    def delete(self, task: str, bundle: Path, **more: str) -> messages.DeleteResponse:
        """What the program answers to `delete`."""
        done = self(task, bundle, "-bundle", str(bundle), "delete", **more)
        assert (done.returncode, done.stderr) == (0, b""), done
        return messages.DeleteResponse.decode(done.stdout)

    def new_id(self) -> str:
        """An id that no other container of this machine has."""
        return f"s{os.getpid()}-{next(_numbers)}"

    def bundle(self, *args: str, change: Callable[[dict[str, Any]], object] | None = None) -> Path:
        """A bundle with the toolbox at /app.wasm; `change` may edit its document."""
        folder = self.folder / f"b{next(_numbers)}"
        (folder / "rootfs").mkdir(parents=True)
        shutil.copy(TOOLBOX, folder / "rootfs" / "app.wasm")
        document = default_document(rootless=False)
        document["process"]["args"] = list(args or FOREVER)
        document["linux"]["cgroupsPath"] = f"/sampan/{folder.parent.name}-{folder.name}"
        if change is not None:
            change(document)
        (folder / "config.json").write_text(json.dumps(document))
        return folder

    def server_pid(self, client: Client) -> int:
        request = messages.TaskRequest("nobody")
        return messages.ConnectResponse.decode(client.call("Connect", request)).shim_pid

    def server_of(self, bundle: Path) -> int:
        """The pid of the server at a bundle's address; 0 where nobody is there."""
        try:
            client = Client((bundle / "address").read_text())
        except OSError:
            return 0
        try:
            return self.server_pid(client)
        except (OSError, EOFError):  # it leaves just now
            return 0
        finally:
            client.close()

    def finish(self) -> None:
        """Kills the servers that a test left, and cleans up as containerd does then."""
        for client in self.clients:
            client.close()
        for pid in {self.server_of(bundle) for bundle in self.bundles.values()} - {0}:
            os.kill(pid, 9)
        for task, bundle in self.bundles.items():
            self.delete(task, bundle)
        self.sink.close()
        shim = self.run / "shim"
        until(lambda: not shim.is_dir() or not list(shim.iterdir()))


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data root: compiled code is shared by all tests of a session."""
    folder = tmp_path_factory.mktemp("data")
    folder.chmod(0o700)
    return folder


@pytest.fixture
def shim(data: Path) -> Iterator[Shim]:
    if os.geteuid() != 0:
        pytest.skip("the shim is root's")
    folder = Path(f"/tmp/st-{os.urandom(4).hex()}")  # paths of sockets are short
    folder.mkdir(mode=0o700)
    shim = Shim(folder, data)
    shim.sink.open()
    try:
        yield shim
    finally:
        try:
            shim.finish()
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def task(shim: Shim) -> tuple[Client, str, Path]:
    """A server with a task that runs for ever: its client, its id, its bundle."""
    bundle, name = shim.bundle(), shim.new_id()
    client = shim.connect(shim.start(name, bundle))
    client.create(name, bundle)
    client.start(name)
    return client, name, bundle


__all__ = ["OWN_SERVICE", "Client", "Shim", "until"]
