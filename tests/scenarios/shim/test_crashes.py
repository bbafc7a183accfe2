"""F1, F3, F4: kills of the shim's server, of the zygote and of containerd, with containerd as the one who cleans up."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from tests.scenarios.conftest import needs, until

from .conftest import HELLO, LINUX, TOOLS, Host

pytestmark = needs("containerd", "ctr", "runc", "busybox")


DELETED = "type=containerd.events.TaskDelete"


def is_there(pid: int) -> bool:
    try:
        return b") Z " not in Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return False


def server_of(host: Host, name: str) -> int:
    """The pid of the server that is a container's parent."""
    return int(Path(f"/proc/{host.pid(name)}/stat").read_text().rpartition(")")[2].split()[1])


@pytest.mark.parametrize(
    ("image", "args"),
    [
        (TOOLS, ("/toolbox.wasm", "sleep", "1000")),
        (LINUX, ("/bin/sh", "-c", "while :; do busybox sleep 1; done")),
    ],
)
def test_F1_a_killed_server_is_reported_once_and_leaves_nothing(
    host: Host, image: str, args: tuple[str, ...]
) -> None:
    host.begin("stays", TOOLS, "/toolbox.wasm", "sleep", "1000")
    host.begin("goes", image, *args)
    pid = host.pid("goes")
    events = host.ctr.start("events")
    deleted = host.log().count(DELETED)
    os.kill(server_of(host, "goes"), signal.SIGKILL)
    until(lambda: host.log().count(DELETED) > deleted)
    assert not is_there(pid)
    until(lambda: "goes" not in host.tasks())
    events.terminate()
    told, _ = events.communicate(timeout=30)
    exits = [line for line in told.splitlines() if "/tasks/exit" in line and '"goes"' in line]
    assert len(exits) == 1 and '"exit_status":137' in exits[0], told
    assert host.tasks() == {"stays": "RUNNING"}
    host.ctr.ok("container", "rm", "goes")
    host.end("stays")
    until(lambda: not host.left())


@pytest.mark.parametrize("moment", [0.02, 0.06, 0.1, 0.15])
def test_F4_containerd_is_killed_at_any_moment_and_finds_what_there_is(host: Host, moment: float) -> None:
    client = host.ctr.start(*host.task(TOOLS, "/toolbox.wasm", "sleep", "1000", name="moment", flags=("-d",)))
    time.sleep(moment)
    host.kill()
    client.communicate(timeout=30)
    host.start()
    running = [pid for name, pid in [(name, host.pid(name)) for name in host.tasks()] if is_there(pid)]
    states = host.tasks()
    assert len(running) == len(states)
    for name in states:
        host.end(name)
    for container in host.ctr.ok("container", "ls", "-q").split():
        host.ctr.ok("container", "rm", container)
    until(lambda: not host.left(), 60)


def test_F4_tasks_and_exits_outlive_containerd(host: Host) -> None:
    host.begin("long", TOOLS, "/toolbox.wasm", "sleep", "1000")
    host.begin("short", TOOLS, "/toolbox.wasm", "tick", "3", "300")
    pid = host.pid("long")
    host.kill()
    time.sleep(1.5)
    host.start()
    assert host.pid("long") == pid and is_there(pid)
    assert host.tasks() == {"long": "RUNNING", "short": "STOPPED"}
    assert host.ctr.ok("task", "exec", "--exec-id", "a", "long", "/toolbox.wasm", "echo", "on") == "on\n"
    host.end("short")
    host.end("long")
    until(lambda: not host.left())


def test_F3_a_killed_zygote_loses_nothing(host: Host) -> None:
    host.begin("held", TOOLS, "/toolbox.wasm", "sleep", "1000")
    for zygote in [
        pid for pid in host._processes() if Path(f"/proc/{pid}/comm").read_text() == "sampan-zygote\n"
    ]:
        os.kill(zygote, signal.SIGKILL)
    assert host.tasks() == {"held": "RUNNING"}
    assert host.ctr.ok(*host.task(HELLO, flags=("--rm",))).startswith("Hello, World!")
    host.end("held")
    until(lambda: not host.left())
