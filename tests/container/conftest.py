"""Real containers on private roots: a guest of `examples/` as a plain file, or as a root filesystem."""

import os
import pathlib
import shutil
import signal
import time

import pytest

from sampan.container import ending, reaper, starting, stdio
from sampan.container.logs import STDERR, STDOUT, read_log
from sampan.container.records import Container
from sampan.container.spaces import own_namespaces
from sampan.container.store import Containers, new_id
from sampan.core.roots import Roots
from sampan.core.spec.runtime import OCI_VERSION, Process, Resources, Root, Spec

EXAMPLES = pathlib.Path(__file__).parents[2] / "examples"
TOOLBOX = EXAMPLES / "05-toolbox" / "toolbox.wasm"


@pytest.fixture(scope="session")
def shared_code(tmp_path_factory):
    """Compiled code that the tests of this process share, as containers of one machine do."""
    return tmp_path_factory.mktemp("code")


class World:
    """Private roots with the means to make, run and look at containers."""

    def __init__(self, folder, code):
        self.roots = Roots(str(folder / "data"), str(folder / "run"))
        os.makedirs(self.roots.data, mode=0o700)
        os.makedirs(self.roots.run, mode=0o711)
        os.symlink(code, self.roots.code)
        self.containers = Containers(self.roots)

    def rootfs(self, **files):
        """A root filesystem with the toolbox at /toolbox.wasm and other files."""
        folder = pathlib.Path(self.roots.data) / f"rootfs-{new_id()[:6]}"
        folder.mkdir()
        shutil.copy(TOOLBOX, folder / "toolbox.wasm")
        for name, data in files.items():
            (folder / name).write_bytes(data)
        return folder

    def make(self, *args, module=TOOLBOX, lower="", name="", env=(), mounts=(), read_only=False, resources=None,
             process=None, terminal=False, **fields):  # fmt: skip
        container_id = new_id()
        container = Container(
            container_id,
            name or f"c{container_id[:8]}",
            "toolbox",
            time.time_ns(),
            lower=str(lower),
            module="" if lower else str(module),
            strict=os.geteuid() == 0,
            **fields,
        )
        first = "/toolbox.wasm" if lower else str(module)
        spec = Spec(
            OCI_VERSION,
            process or Process([first, *args], "/", list(env), terminal),
            Root("rootfs", read_only),
            mounts=list(mounts),
            linux=own_namespaces(resources or Resources()),
        )
        return self.containers.create(container, spec)

    def run(self, *args, **fields):
        """Runs a container to its end; its entry and its exit record."""
        entry = self.make(*args, **fields)
        pid = starting.start_here(entry, self.roots, stdio.CAPTURE)
        return entry, reaper.reap(entry, self.roots, pid)

    def start(self, *args, **fields):
        """Starts a container in the background."""
        entry = self.make(*args, **fields)
        starting.start(entry, self.roots)
        return entry

    def output(self, entry, stream=STDOUT):
        return b"".join(line.content for line in read_log(entry.folder) if line.stream == stream)

    def errors(self, entry):
        return self.output(entry, STDERR)

    def until_output(self, entry, text, seconds=20):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if text in self.output(entry):
                return
            time.sleep(0.02)
        raise AssertionError(f"{text!r} never came, but {self.output(entry)!r}")

    def close(self):
        """Ends everything, and checks that nothing is left of it on the machine."""
        entries = self.containers.all()
        for entry in entries:
            ending.stop(entry, self.roots, signal.SIGKILL, 20)
        zygote = zygote_pid(self.roots)
        if zygote:
            end = time.monotonic() + 10
            while children_of(zygote) and time.monotonic() < end:
                time.sleep(0.01)
            os.kill(zygote, signal.SIGKILL)
        for entry in entries:
            ending.discard(entry, self.roots)
        mounts = pathlib.Path("/proc/self/mounts").read_text()
        assert self.roots.data not in mounts
        for controller in ("memory", "pids", "cpu", "freezer", "unified"):
            for entry in entries:
                assert not os.path.exists(f"/sys/fs/cgroup/{controller}/sampan/{entry.container.id}")


def children_of(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []


def zygote_pid(roots):
    """The pid of the zygote that serves these roots, or 0."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            line = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
        if roots.run.encode() in line.split(b"\0") and b"zygote" in line:
            return int(pid)
    return 0


@pytest.fixture
def world(tmp_path, shared_code):
    world = World(tmp_path, shared_code)
    yield world
    world.close()
