"""What a Wasm guest tries through WASI, in a bundle of `sampan-oci` and under `sampan run`: nothing succeeds (T4)."""

from __future__ import annotations

import os
import shutil
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ..cli.conftest import Harbour
from ..oci.conftest import Runtime
from .places import GUESTS, KERNEL, Places, verdicts

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0, reason="the image has device nodes, which root alone can make"
)

FAR_AWAY = [
    "huge-vector", "vector-over-the-end", "most-vectors", "vectors-at-the-end", "random", "huge-random", "arguments",
    "folder", "result", "link", "write-out", "poll",
]  # fmt: skip
TRAP = 134
SET_ID = stat.S_ISUID | stat.S_ISGID
NOT_IN_IMAGES = ["nodes", "fifo", "socket", "masked", "masked-file", "environ-of-1"]
SHIFT = 200_000
USERS = {"root": (0, False), "a-user": (1000, False), "a-user-namespace": (0, True)}
"""Their id, and whether they have a user namespace, whose root is nobody on the host."""


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    """Something of the host that a guest could reach if it had its network."""
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as server:
        server.setblocking(False)
        yield server


def bundle(oci: Runtime, places: Places, guest: str, *args: str, user: str = "root") -> Path:
    uid, mapped = USERS[user]

    def change(document: dict[str, Any]) -> None:
        document["process"] |= {"user": {"uid": uid, "gid": uid}, "capabilities": _every_capability()}
        document["mounts"] += places.mounts(recursive=mapped)
        linux = document["linux"]
        linux["maskedPaths"] += ["/masked", "/masked-file"]
        linux["readonlyPaths"] += ["/fixed"]
        if mapped:
            ids = [{"containerID": 0, "hostID": SHIFT, "size": 65536}]
            linux["namespaces"].append({"type": "user"})
            linux |= {"uidMappings": ids, "gidMappings": ids}

    shutil.copy(GUESTS / f"{guest}.wasm", places.rootfs / "guest.wasm")
    folder = oci.bundle("/guest.wasm", *args, change=change)
    shutil.rmtree(folder / "rootfs")
    (folder / "rootfs").symlink_to(places.rootfs)
    owner = SHIFT if mapped else uid
    for path in (places.rw, *places.rw.iterdir()):
        os.chown(path, owner, owner, follow_symlinks=False)
    os.chmod(places.rw / "set-id", 0o6755)  # a change of owner takes the bits away
    places.prepared()
    return folder


def _every_capability() -> dict[str, list[str]]:
    names = ["CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_SYS_ADMIN", "CAP_MKNOD", "CAP_SYS_PTRACE", "CAP_NET_RAW"]
    return dict.fromkeys(("bounding", "effective", "permitted"), names)


def judge(output: str, least: int) -> None:
    found = verdicts(output)
    assert found["escaped"] + found["broken"] == []
    assert found["end"] == [""], output[-2000:]
    assert len(found["refused"]) >= least


@pytest.mark.parametrize("user", USERS)
def test_W13_W14_W15_W16_no_attempt_through_wasi_leaves_a_bundle(
    oci: Runtime, places: Places, user: str
) -> None:
    oci.env["HOST_SECRET"] = "HOST_SECRET"
    folder = bundle(oci, places, "files", str(places.outside), user=user)
    done = oci("run", "-b", str(folder), oci.new_id())
    assert done.code == 0, done.err
    judge(done.out, 300)
    places.assert_untouched()
    assert not (places.rw / "set-id").stat().st_mode & SET_ID


def test_W13_W14_W15_W16_no_attempt_through_wasi_leaves_sampan_run(harbour: Harbour, places: Places) -> None:
    harbour.env["HOST_SECRET"] = "HOST_SECRET"
    shutil.copy(GUESTS / "files.wasm", places.rootfs / "guest.wasm")
    image = harbour.folder / "image"
    shutil.copytree(places.rootfs, image, symlinks=True, ignore=lambda *_: NOT_IN_IMAGES)
    (image / "Dockerfile").write_text('FROM scratch\nCOPY . /\nENTRYPOINT ["/guest.wasm"]\n')
    harbour.ok("build", "-q", "-t", "guest", str(image))
    places.prepared()
    volumes = [
        f"{places.rw}:/rw",
        f"{places.ro}:/ro:ro",
        *(f"{s}:/{name}" for name, (s, _) in KERNEL.items() if name != "c"),
    ]
    flags = [word for volume in volumes for word in ("-v", volume)]
    done = harbour("run", "--rm", "--read-only", *flags, "guest", str(places.outside))
    assert done.returncode == 0, done.stderr
    judge(done.stdout, 300)
    places.assert_untouched()


@pytest.mark.parametrize("which", FAR_AWAY)
def test_W17_addresses_outside_of_its_memory_end_the_guest_alone(
    oci: Runtime, places: Places, which: str
) -> None:
    folder = bundle(oci, places, "files", str(places.outside), which)
    done = oci("run", "-b", str(folder), oci.new_id())
    refused = done.code == 0 and done.out.startswith(f"refused {which}: ")
    assert refused or (done.code == TRAP and not done.out), (done.code, done.out, done.err)
    places.assert_untouched()


def test_no_socket_of_a_bundle_reaches_the_host(
    oci: Runtime, places: Places, listening: socket.socket
) -> None:
    folder = bundle(oci, places, "sockets", str(listening.getsockname()[1]), "granted")
    done = oci("run", "-b", str(folder), oci.new_id())
    judge(done.out, 14)
    with pytest.raises(BlockingIOError):
        listening.accept()


def test_no_socket_is_given_to_a_guest_of_sampan_run_without_a_network(
    harbour: Harbour, listening: socket.socket
) -> None:
    done = harbour("run", "--rm", str(GUESTS / "sockets.wasm"), str(listening.getsockname()[1]))
    judge(done.stdout, 16)
    with pytest.raises(BlockingIOError):
        listening.accept()
