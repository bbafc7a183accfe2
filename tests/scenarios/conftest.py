"""Real peers on private roots: a registry with TLS and a password, containerd, dockerd, podman. All end by pid."""

import json
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile

import pytest

from tests.cli.conftest import Sampan
from tests.image.registry.test_real_registry import Server, server  # noqa: F401 - a fixture

from ..waiting import until

EXAMPLES = pathlib.Path(__file__).parents[2] / "examples"


def needs(*programs):
    """Skips a test where a program, or root, is missing."""
    missing = [p for p in programs if shutil.which(p) is None]
    reason = f"needs {', '.join(missing)}" if missing else "needs root"
    return pytest.mark.skipif(bool(missing) or os.geteuid() != 0, reason=reason)


class Machine(Sampan):
    """A machine of its own: other roots, other credentials."""

    def trust(self, server):  # noqa: F811
        """Makes a registry's CA known, as a user would."""
        host = server.host
        settings = self.folder / "registries.toml"
        settings.write_text(f'[registries."{host}"]\nca = "{server.certificates}/{host}/ca.crt"\n')
        self.env["SAMPAN_REGISTRIES"] = str(settings)

    def login(self, server):  # noqa: F811
        self.ok("login", "-u", "ann", "--password-stdin", server.host, stdin=b"secret")

    def close(self):
        ids = self.ok("ps", "-aq").split()
        if ids:
            self.ok("rm", "-f", *ids)


@pytest.fixture
def machines(tmp_path):
    """Makes machines by name."""
    made = {}

    def machine(name):
        if name not in made:
            (tmp_path / name).mkdir()
            made[name] = Machine(tmp_path / name)
            made[name].env["SAMPAN_ZYGOTE_IDLE"] = "0.5"
        return made[name]

    yield machine
    for one in made.values():
        one.close()


@pytest.fixture
def machine(machines):
    return machines("here")


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


class Daemon:
    """A process that is ended by its pid, with everything it wrote in one folder."""

    def __init__(self, folder, command, env=None):
        self.folder = folder
        self.log = (folder / "log").open("wb")
        self.process = subprocess.Popen(
            command, stdout=self.log, stderr=self.log, env=env, start_new_session=True
        )

    def wait_for(self, condition):
        def ready():
            assert self.process.poll() is None, (self.folder / "log").read_text()[-2000:]
            return condition()

        until(ready, 60)

    def end(self):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(20)
        self.log.close()
        for line in reversed(pathlib.Path("/proc/self/mounts").read_text().splitlines()):
            if str(self.folder) in line:
                subprocess.run(["umount", "-l", line.split()[1]], check=False)


@pytest.fixture
def short():
    """A folder with a short name: sockets' paths are bounded, and podman's own too."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="sp-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def containerd(short):
    """`ctr`, talking to a containerd of its own."""
    folder = short
    address = f"{folder}/c.sock"
    (folder / "config.toml").write_text(
        f'version = 2\nroot = "{folder}/root"\nstate = "{folder}/state"\n'
        'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
        f'[grpc]\naddress = "{address}"\n[ttrpc]\naddress = "{address}.ttrpc"\n[debug]\naddress = "{folder}/d.sock"\n'
    )
    daemon = Daemon(folder, ["containerd", "--config", str(folder / "config.toml")])

    def ctr(*words):
        return subprocess.run(
            ["ctr", "--address", address, *words], capture_output=True, text=True, timeout=120
        )

    try:
        daemon.wait_for(lambda: ctr("version").returncode == 0)
        yield ctr
    finally:
        daemon.end()


@pytest.fixture
def docker(short):
    """`docker`, talking to a dockerd (and its containerd) of its own."""
    folder = short
    (folder / "empty.json").write_text("{}")
    socket_path = f"unix://{folder}/d.sock"
    daemon = Daemon(
        folder,
        ["dockerd", "--data-root", f"{folder}/data", "--exec-root", f"{folder}/exec", "-H", socket_path,
         "-p", f"{folder}/pid", "--iptables=false", "--ip6tables=false", "--bridge=none",
         "--oom-score-adjust", "0", "--config-file", f"{folder}/empty.json"],
    )  # fmt: skip
    env = {**os.environ, "DOCKER_HOST": socket_path, "DOCKER_CONFIG": f"{folder}/config"}

    def docker(*words, stdin=None):
        return subprocess.run(
            ["docker", *words], input=stdin, capture_output=True, text=True, env=env, timeout=120
        )

    try:
        daemon.wait_for(lambda: docker("version").returncode == 0)
        yield docker
    finally:
        daemon.end()


@pytest.fixture
def podman(short):
    """`podman` with a storage of its own."""
    folder = short

    def podman(*words):
        return subprocess.run(
            ["podman", "--root", f"{folder}/root", "--runroot", f"{folder}/run", "--storage-driver", "vfs",
             "--cgroup-manager", "cgroupfs", "--events-backend", "file", *words],
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip

    yield podman
    podman("rmi", "-af")


def inspect(machine, name):
    return json.loads(machine.ok("inspect", name))[0]
