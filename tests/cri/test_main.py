"""`sampan cri` as a process: its options, its start and its end."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from sampan.doors.cli import listing
from sampan.doors.cri.api import runtime_pb2 as api
from sampan.doors.cri.assembly import calls_of
from sampan.doors.cri.main import HANDLERS, handlers_of, settings_of
from sampan.doors.cri.routing.methods import METHODS, snake
from tests.cli.conftest import Sampan


@pytest.fixture
def sampan() -> Iterator[Sampan]:
    """In a folder with a short name: sockets' paths are bounded."""
    with tempfile.TemporaryDirectory(prefix="cri-", dir="/tmp") as folder:
        yield Sampan(Path(folder))


class Served:
    """A server in a process of its own."""

    def __init__(
        self, sampan: Sampan, *words: str, name: str = "s", env: dict[str, str] | None = None
    ) -> None:
        self.path = sampan.folder / name
        self._log = (sampan.folder / f"{name}.log").open("wb+")
        self.process = subprocess.Popen(
            sampan.command("cri", "--listen", f"unix://{self.path}", "--upstream", "", *words),
            stderr=self._log,
            env=sampan.env | (env or {}),
        )

    def __enter__(self) -> Served:
        end = time.monotonic() + 30
        while not self.answers():
            assert self.process.poll() is None and time.monotonic() < end, self.log()
            time.sleep(0.05)
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        self._log.close()

    def answers(self) -> bool:
        with grpc.insecure_channel(f"unix://{self.path}") as channel:
            try:
                raw = channel.unary_unary("/runtime.v1.RuntimeService/Version")(b"", timeout=5)
            except grpc.RpcError:
                return False
        return api.VersionResponse.FromString(raw).runtime_name == "sampan"

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(30)

    def log(self) -> str:
        self._log.seek(0)
        return self._log.read().decode()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_and_its_socket(sampan, number):
    with Served(sampan) as served:
        assert served.end(number) == 0
        assert not served.path.exists()
        assert "ending; the containers go on" in served.log()


def test_X6_a_killed_server_leaves_nothing_in_the_way_of_the_next(sampan):
    with Served(sampan) as served:
        served.end(signal.SIGKILL)
        assert served.path.exists()
    with Served(sampan):
        pass


def test_X12_two_servers_share_neither_a_socket_nor_pods(sampan):
    with Served(sampan) as first:
        for place in ("s", "other"):
            done = sampan("cri", "--listen", f"unix://{sampan.folder}/{place}", "--upstream", "")
            assert done.returncode == 1
            assert f"the process {first.process.pid} has " in done.stderr
        assert first.answers()


def test_systemd_is_told_that_it_is_ready_and_that_it_ends(sampan):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(sampan.folder / "notify"))
        systemd.settimeout(30)
        with Served(sampan, env={"NOTIFY_SOCKET": str(sampan.folder / "notify")}) as served:
            assert systemd.recv(100) == b"READY=1"
            served.end()
            assert systemd.recv(100) == b"STOPPING=1"


def test_an_event_stream_does_not_hold_up_its_end(sampan):
    with Served(sampan) as served, grpc.insecure_channel(f"unix://{served.path}") as channel:
        stream = channel.unary_stream("/runtime.v1.RuntimeService/GetContainerEvents")(b"")
        time.sleep(0.2)  # it is under way
        assert served.end() == 0
        assert next(stream, None) is None


def test_a_call_that_goes_on_does_not_hold_up_its_end(sampan):
    with socket.create_server(("127.0.0.1", 0)) as registry, Served(sampan) as served:
        image = api.ImageSpec(image=f"127.0.0.1:{registry.getsockname()[1]}/never:1")
        with grpc.insecure_channel(f"unix://{served.path}") as channel:
            pull = channel.unary_unary("/runtime.v1.ImageService/PullImage")
            call = pull.future(api.PullImageRequest(image=image).SerializeToString())
            registry.accept()[0].close()
            waiting, _ = registry.accept()  # it tries again, and waits for an answer
            with waiting:
                assert served.end() == 0
            assert call.exception().code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)


def test_X3_a_server_without_descriptors_serves_again_once_there_are_some(sampan):
    with Served(sampan) as served:
        resource.prlimit(served.process.pid, resource.RLIMIT_NOFILE, (64, 64))
        clients = []
        for _ in range(200):
            client = socket.socket(socket.AF_UNIX)
            client.setblocking(False)
            try:
                client.connect(str(served.path))
            except BlockingIOError:  # nobody accepts it any more
                client.close()
                break
            clients.append(client)
        assert len(os.listdir(f"/proc/{served.process.pid}/fd")) <= 64
        for client in clients:
            client.close()
        eventually = time.monotonic() + 30
        while not served.answers():
            assert served.process.poll() is None and time.monotonic() < eventually
        assert served.end() == 0


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--listen", "tcp://127.0.0.1:1"], "'tcp://127.0.0.1:1' is not the address of a socket"),
        (
            ["--listen", "unix:///x", "--upstream", "unix:///x"],
            "the runtime behind unix:///x would be itself",
        ),
        (["--upstream", "http://x"], "'http://x' is not the address of a socket"),
        (["--handler", "wasm"], "--handler 'wasm' is not NAME=ENGINE"),
        (["--handler", "=wasmtime"], "--handler '=wasmtime' is not NAME=ENGINE"),
        (["--handler", "wasm=v8"], "there is no engine 'v8', only wasmtime"),
        (["--log-level", "loud"], "the log level 'loud' is not one of"),
        (["--log-format", "xml"], "the log format 'xml' is not one of"),
        (["--streaming-address", "nowhere"], "nowhere"),
        (["what"], "'sampan cri' needs no arguments, not 1"),
    ],
)
def test_options_that_make_no_sense_are_refused(sampan, words, sentence):
    done = sampan(
        "cri", *(["--listen", f"unix://{sampan.folder}/s"] if "--listen" not in words else []), *words
    )
    assert done.returncode in (1, 125) and sentence in done.stderr and done.stderr.startswith("sampan: ")


def test_handlers_are_given_or_the_usual_ones():
    assert handlers_of([]) == HANDLERS
    assert handlers_of(["a=wasmtime", "a=wasmtime", "b=wasmtime"]) == {"a": "wasmtime", "b": "wasmtime"}


def test_the_defaults_are_those_of_a_node():
    settings = settings_of(listing.load("cri").parse([]))
    assert settings.listen == "unix:///run/sampan/cri.sock"
    assert settings.upstream == "unix:///run/containerd/containerd.sock"
    assert settings.cni_bin_dirs == ["/opt/cni/bin", "/usr/lib/cni"]


def test_help_lists_it_and_says_its_options(sampan):
    assert "\n  cri " in sampan.ok("--help")
    text = sampan.ok("cri", "--help")
    for option in (
        "--listen",
        "--upstream",
        "--handler",
        "--streaming-address",
        "--cni-conf-dir",
        "--log-format",
    ):
        assert option in text


def test_calls_are_found_by_their_names():
    class Part:
        def list_pod_sandbox(self, request):
            return request

    assert snake("ListPodSandbox") == "list_pod_sandbox" and snake("Exec") == "exec"
    assert len({snake(name) for name in METHODS}) == len(METHODS)
    calls = calls_of(Part())
    assert list(calls) == ["ListPodSandbox"] and calls["ListPodSandbox"]("x", None) == "x"
