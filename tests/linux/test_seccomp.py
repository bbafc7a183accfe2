"""The filter, tried by the calls that it is there to stop, and by the work that it must not stop."""

from __future__ import annotations

import array
import ctypes
import errno
import json
import mmap
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from sampan.core.errors import Precondition
from sampan.engine.code import wat_to_wasm
from sampan.linux import seccomp, syscalls
from sampan.linux.numbers import ARCHITECTURE, AUDIT_ARCHITECTURES, NUMBERS
from sampan.linux.privileges import close_from, no_new_privileges, set_user

sys.path.insert(0, str(Path(__file__).parent))
from jailed_guest import jail

from escapes import ATTEMPTS, attempt

TOOLBOX = Path(__file__).parents[2] / "examples/05-toolbox/toolbox.wasm"
pytestmark = pytest.mark.skipif(not seccomp.is_available(), reason="needs a kernel with seccomp")


def refused(name):
    return {"clone3": "ENOSYS"}.get(name, "EPERM")


def filtered(network):
    no_new_privileges()
    seccomp.install(network)


def try_all(prepare):
    parent = os.getppid()
    prepare()
    return {name: attempt(name, parent) for name in ATTEMPTS}


def test_the_filter_alone_stops_even_root_with_all_capabilities(as_root, in_child):
    got = in_child(lambda: try_all(lambda: filtered(network=False)))
    assert {n: r for n, r in got.items() if r not in (refused(n), "no such call")} == {}
    assert len(got) >= 90


@pytest.mark.parametrize("user", [None, 65534])
def test_the_whole_jail_stops_everything(as_root, in_child, user, open_folder):
    got = in_child(lambda: try_all(lambda: jail(str(open_folder))), user=user)
    assert {n: r for n, r in got.items() if r not in (refused(n), "no such call")} == {}


def test_without_the_filter_the_same_calls_end_otherwise(as_root, in_child):
    """So that an EPERM above is the filter's doing; the calls that fail so by themselves are listed."""
    own_eperm = {
        "another filter", "type into the terminal", "raise a limit", "ports", "queue a signal",
        "load a module", "load a module file", "load a kernel",  # not in every kernel
    }  # fmt: skip
    got = {name: in_child(lambda name=name: attempt(name, os.getppid())) for name in ATTEMPTS}
    assert {n for n, r in got.items() if r in ("EPERM", "ENOSYS")} <= own_eperm
    assert sum(r == "ok" for r in got.values()) >= 25


PATHS = [
    ("/etc/shadow", os.O_RDONLY), ("/etc/passwd", os.O_RDONLY), ("/etc/cron.d/x", os.O_WRONLY | os.O_CREAT),
    ("/proc/1/mem", os.O_RDWR), ("/proc/self/mem", os.O_RDWR), ("/proc/self/environ", os.O_RDONLY),
    ("/proc/sys/kernel/core_pattern", os.O_WRONLY), ("/proc/sysrq-trigger", os.O_WRONLY), ("/dev/mem", os.O_RDWR),
    ("/dev/kmsg", os.O_WRONLY), ("/dev/null", os.O_RDWR), ("/sys/kernel", os.O_RDONLY), (sys.executable, os.O_RDONLY),
    ("/proc/self/exe", os.O_RDONLY), ("/tmp", os.O_RDONLY), ("/", os.O_RDONLY), ("/var/lib", os.O_RDONLY),
    ("/run", os.O_RDONLY), ("/root", os.O_RDONLY), ("/proc/self/maps", os.O_RDONLY),
]  # fmt: skip


@pytest.mark.parametrize("user", [None, 65534])
def test_W15_no_file_of_the_host_opens(as_root, in_child, user, open_folder):
    def attempts():
        jail(str(open_folder))
        opened = []
        for path, flags in PATHS:
            try:
                os.close(os.open(path, flags, 0o600))
                opened.append(path)
            except OSError as error:
                assert error.errno in (errno.EACCES, errno.ENOENT, errno.EPERM), path
        return opened

    assert in_child(attempts, user=user) == []


def test_another_architectures_calls_kill(in_child):
    if ARCHITECTURE != 0:
        pytest.skip("int 0x80 is x86's")

    def call_old_getpid():
        code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        code.write(b"\xb8\x14\x00\x00\x00\xcd\x80\xc3")  # mov eax, 20; int 0x80; ret
        function = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))
        assert function() == os.getpid()
        pid = os.fork()
        if pid == 0:
            filtered(network=False)
            function()
            os._exit(0)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    assert in_child(call_old_getpid) == -signal.SIGSYS


def test_a_thread_that_is_there_is_filtered_too(in_child):
    def two_threads():
        go, done, seen = threading.Event(), threading.Event(), []

        def wait_and_try():
            go.wait()
            seen.append(attempt("inet socket", os.getppid()))
            done.set()

        threading.Thread(target=wait_and_try).start()
        filtered(network=False)
        go.set()
        done.wait()
        return seen

    assert in_child(two_threads) == ["EPERM"]


def test_what_a_container_process_does_still_works(in_child, open_folder):
    def work():
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(f"{open_folder}/control")
        listening.listen()
        client = socket.socket(socket.AF_UNIX)
        client.connect(f"{open_folder}/control")
        signals = []
        signal.signal(signal.SIGTERM, lambda number, _: signals.append(number))
        jail(str(open_folder))
        served, _ = listening.accept()
        log = os.open(open_folder / "log", os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        client.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [log]))])
        data, extra, _, _ = served.recvmsg(10, socket.CMSG_SPACE(4))
        received = array.array("i", extra[0][2])[0]
        os.write(received, b"line")
        os.fsync(received)
        os.fchmod(received, 0o640)
        os.kill(os.getpid(), signal.SIGTERM)
        thread = threading.Thread(target=lambda: signals.append(time.sleep(0.001)))
        thread.start()
        thread.join()
        epoll, (reading, writing) = select.epoll(), os.pipe()
        epoll.register(reading, select.EPOLLIN)
        os.write(writing, b"y")
        os.mkdir(f"{open_folder}/d")
        os.rename(f"{open_folder}/log", f"{open_folder}/d/log")
        big = bytearray(64 << 20)
        return data, signals, len(epoll.poll(1)), os.read(reading, 1), len(os.urandom(8)), len(big) > 0

    assert in_child(work) == (b"x", [signal.SIGTERM, None], 1, b"y", 8, True)
    assert (open_folder / "d/log").read_text() == "line"


def test_with_network_tcp_and_udp_and_nothing_else(in_child):
    others = ["unix socket", "netlink socket", "packet socket", "crypto socket", "raw socket", "socket pair"]

    def connect():
        filtered(network=True)
        with socket.create_server(("127.0.0.1", 0)) as server:
            client = socket.create_connection(server.getsockname())
            served, _ = server.accept()
            client.sendall(b"hello")
            got = served.recv(5)
            served.close()
            client.close()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.bind(("127.0.0.1", 0))
            udp.sendto(b"self", udp.getsockname())
            got += udp.recv(4)
        assert socket.getaddrinfo("localhost", 80)
        return got, {attempt(name, os.getppid()) for name in others}

    assert in_child(connect) == (b"helloself", {"EPERM"})


def run_jailed(wasm, folder, *runs, user=0, profile="none"):
    """The endings of the guest's runs, [code, reason, message] each, in a process of their own."""
    command = [
        sys.executable,
        Path(__file__).parent / "jailed_guest.py",
        wasm,
        folder,
        str(user),
        profile,
        *runs,
    ]
    done = subprocess.run(command, capture_output=True, timeout=60, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("profile", ["none", "docker_like", "podman_like"])
@pytest.mark.parametrize("user", [0, 65534])
def test_a_wasi_program_runs_inside_all_walls(as_root, open_folder, user, profile):
    """No call of the engine needs executable memory, a process or a path outside once the program is loaded, and the
    default profiles of container tools leave it what it needs.
    """
    (open_folder / "in").write_text("file content")
    endings = run_jailed(
        TOOLBOX, open_folder,
        "toolbox echo hello", "toolbox cat /in", "toolbox write /out written", "toolbox ls /", "toolbox rm /in",
        "toolbox sleep 0.01", "toolbox tick 2 1", "toolbox grow 100", "toolbox exit 7", "toolbox trap",
        "toolbox recurse",
        user=user, profile=profile,
    )  # fmt: skip
    expected = [(0, "exited")] * 8 + [(7, "exited"), (134, "trap"), (134, "trap")]
    assert [(code, reason) for code, reason, _ in endings] == expected
    assert "unreachable" in endings[-2][2]
    assert (open_folder / "stdout").read_text().startswith("hello\nfile content")
    assert (open_folder / "out").read_text() == "written"
    assert not (open_folder / "in").exists()


COMPONENT = b"""(component
  (core module $m (func (export "run") (result i32) (i32.const 0)))
  (core instance $i (instantiate $m))
  (func $run (result (result)) (canon lift (core func $i "run")))
  (instance $command (export "run" (func $run)))
  (export "wasi:cli/run@0.2.3" (instance $command)))"""


def test_a_component_runs_inside_all_walls(tmp_path):
    guest = tmp_path / "guest.wasm"
    guest.write_bytes(wat_to_wasm(COMPONENT))
    assert run_jailed(guest, tmp_path, "x") == [[0, "exited", ""]]


def test_no_new_privs_comes_first(nobody, in_child):
    def too_early():
        try:
            seccomp.install(network=False)
        except Precondition:
            return True
        return False

    assert in_child(too_early, user=nobody)


@pytest.mark.parametrize("architecture", [0, 1])
@pytest.mark.parametrize("network", [False, True])
def test_the_program_of_each_architecture_is_well_formed(monkeypatch, architecture, network):
    """What this machine cannot run is checked by hand: known calls, jumps that land, an end on each way."""
    monkeypatch.setattr(seccomp, "ARCHITECTURE", architecture)
    code = seccomp.program(network, pid=1)
    assert code[1][3] == AUDIT_ARCHITECTURES[architecture]
    assert len(code) < 4096
    for at, (kind, true, false, value) in enumerate(code):
        assert 0 <= value < 1 << 32
        if kind in (0x15, 0x35, 0x45):
            assert at + 1 + max(true, false) < len(code)
            assert max(true, false) < 256
    assert code[-1] == (0x06, 0, 0, 0x00050000 | errno.EPERM)
    numbers = [value for kind, _, _, value in code if kind == 0x15]
    for name in ("read", "openat", "futex", "exit_group", "recvmsg"):
        assert NUMBERS[name][architecture] in numbers


def test_the_steps_of_a_jail_need_no_import(in_child, open_folder):
    """A process that has pivoted away from its Python can still do all of it."""

    def give_up():
        syscalls.load()
        close_from(10_000)
        before = set(sys.modules)
        set_user(os.getuid(), os.getgid(), None)
        jail(str(open_folder))
        return sorted(set(sys.modules) - before)

    assert in_child(give_up) == []
